//! The kernels against the limits of the machine: `cargo bench --bench ceilings`.
//!
//! Products are held against a loop of multiply-adds that never leaves the registers, the read
//! kernel against a plain loop of vector loads. The arms of a pair alternate within one run, all
//! on as many threads as the pool has; what counts is the median of the ratios of neighbours, so
//! that a machine whose clock or load drifts moves both sides.

#![allow(unsafe_code)]

use std::hint::black_box;

use benchinf::case::Operands;
use benchinf::kernels::linear::{
    BlockFormat, FloatFormat, Linear, Outputs, Rows, Scratch, Store, WeightFormat,
};
use benchinf::kernels::memory::{self, Buffer};
use benchinf::kernels::{Instructions, Pool};
use benchinf::measure::{Clock, MonotonicClock};
use benchinf::stats;
use half::{bf16, f16};

const ROUNDS: usize = 9;
const TARGET_GEMM: f64 = 0.90;
const TARGET_READ: f64 = 0.95;
const GEMM_EXTENTS: [usize; 3] = [1024, 2048, 4096];
const MEMORY_WORDS: usize = 64 << 20;
const FORMATS_TO_DECODE: [WeightFormat; 5] = [
    WeightFormat::Float(FloatFormat::F32),
    WeightFormat::Float(FloatFormat::F16),
    WeightFormat::Float(FloatFormat::Bf16),
    WeightFormat::Blocks(BlockFormat::Q8_0),
    WeightFormat::Blocks(BlockFormat::Q4K),
];
/// Those of a projection of attention and of a feed-forward block of Llama-3.2-1B, and of its head.
const DECODE_OUTPUTS: [usize; 3] = [2048, 16384, 128256];
/// Of the matrices of one format.
const DECODE_BYTES: usize = 512 << 20;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    println!("medians of {ROUNDS} rounds on {} threads", rayon::current_num_threads());
    // A word picks arms by name.
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| name.contains(wanted));
    for arm in arms() {
        for extent in GEMM_EXTENTS {
            // The largest products of the slow path would take minutes.
            let is_short = arm.instructions != Instructions::Portable || extent == GEMM_EXTENTS[0];
            if is_short && is_wanted(&format!("{:?}", arm.format)) {
                products(arm, extent)?;
            }
        }
    }
    for instructions in Instructions::available() {
        if instructions.of_floats() == instructions && is_wanted("memory") {
            passes(instructions)?;
        }
    }
    for format in FORMATS_TO_DECODE {
        if is_wanted(&format!("decoding {format:?}")) {
            for n_out in DECODE_OUTPUTS {
                lone_rows(format, n_out)?;
            }
        }
    }
    Ok(())
}

/// Products of one row with weights that no cache holds, one matrix after another as a decode step
/// has them, and a walk through as many bytes.
fn lone_rows(format: WeightFormat, n_out: usize) -> Fallible<()> {
    const N_IN: usize = 2048;
    let mut pool = Pool::new(rayon::current_num_threads())?;
    let mut w = vec![0.0; n_out * N_IN];
    memory::fill_parallel(&mut w, |index| unit(index as u64));
    let n_bytes = format.panel_bytes(N_IN) * n_out.div_ceil(32);
    let n_matrices = (DECODE_BYTES / n_bytes).max(2);
    let (f16s, bf16s): (Vec<f16>, Vec<bf16>) =
        w.iter().map(|&w| (f16::from_f32(w), bf16::from_f32(w))).unzip();
    let rows = match format {
        WeightFormat::Float(FloatFormat::F16) => Rows::F16(&f16s),
        WeightFormat::Float(FloatFormat::Bf16) => Rows::Bf16(&bf16s),
        _ => Rows::F32(&w),
    };
    let matrices = (0..n_matrices)
        .map(|_| Linear::pack(&mut pool, &[rows], None, N_IN, Outputs::Stacked, format))
        .collect::<std::io::Result<Vec<Linear>>>()?;
    let (x, mut y) = (&w[..N_IN], vec![0.0; n_out]);
    let mut scratch = Scratch::default();
    let instructions = Instructions::detect();
    let mut products = || {
        for linear in &matrices {
            linear.forward(instructions, &mut pool, &mut scratch, x, &mut y, Store::Overwrite);
        }
    };
    let mut words = Buffer::new(n_matrices * n_bytes / 8)?;
    memory::fill_parallel(words.as_f32_mut_slice(), |index| unit(index as u64));
    let mut read = || {
        black_box(memory::read_sum_parallel(instructions.of_floats(), words.as_slice()));
    };
    let pair = alternate(&mut products, &mut read);
    let gigabytes = (n_matrices * n_bytes) as f64 / 1e9;
    let name = format!("{} {format:?} one row of {N_IN}, {n_out} outputs", instructions.name());
    pair.print(&name, "read", [gigabytes; 2], "GB/s", None);
    Ok(())
}

/// A product of cubes and the loop of registers.
fn products(arm: Arm, extent: usize) -> Fallible<()> {
    let Arm { format, operands, instructions, target } = arm;
    let (mut x, mut w) = (vec![0.0; extent * extent], vec![0.0; extent * extent]);
    let mut y = Buffer::new((extent * extent).div_ceil(2))?;
    for (seed, matrix) in [(1, &mut x), (2, &mut w)] {
        memory::fill_parallel(matrix, |index| match format {
            WeightFormat::Blocks(BlockFormat::Int8) => {
                (127.0 * unit(index as u64 ^ seed << 40)).round()
            }
            _ => unit(index as u64 ^ seed << 40),
        });
    }
    let n_threads = rayon::current_num_threads();
    let mut pool = Pool::new(n_threads)?;
    let halves: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
    let rows = match format {
        WeightFormat::Float(FloatFormat::Bf16) => Rows::Bf16(&halves),
        _ => Rows::F32(&w),
    };
    let linear = Linear::pack(&mut pool, &[rows], None, extent, Outputs::Stacked, format)?;
    let operations = 2.0 * (extent as f64).powi(3);
    // Both arms of a pair take about as long.
    let per_step = registers::operations_per_step(operands, instructions);
    let steps = operations / n_threads as f64 / per_step;
    // As in the probe, both factors are packed beforehand.
    let mut packed = Scratch::default();
    linear.pack_activations(instructions, &mut pool, &mut packed, &x);
    let mut product = || {
        let y = &mut y.as_f32_mut_slice()[..extent * extent];
        linear.multiply_packed(instructions, &mut pool, &packed, y, Store::Overwrite);
    };
    let mut limit = || {
        rayon::broadcast(|_| black_box(registers::run(operands, instructions, steps as u64)));
    };
    let pair = alternate(&mut product, &mut limit);
    let name = format!("{} {format:?} gemm {extent}", instructions.name());
    pair.print(&name, "register loop", [operations / 1e9; 2], "GFLOP/s", target);
    Ok(())
}

/// A format of weights, and the loop that its products are held against.
#[derive(Clone, Copy)]
struct Arm {
    format: WeightFormat,
    operands: Operands,
    instructions: Instructions,
    target: Option<f64>,
}

/// What this machine can run. Targets are those of the products that probes are made of; the
/// portable path is there to run anywhere, and formats of blocks scale their sums beside.
fn arms() -> Vec<Arm> {
    use Instructions::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, Portable};
    let float = WeightFormat::Float;
    let blocks = WeightFormat::Blocks;
    let gemm = Some(TARGET_GEMM);
    let all = [
        (float(FloatFormat::F32), Operands::F32, Avx512, gemm),
        (float(FloatFormat::F32), Operands::F32, Avx2, gemm),
        (float(FloatFormat::F32), Operands::F32, Portable, None),
        (float(FloatFormat::Bf16), Operands::BF16, Avx512Bf16, gemm),
        (blocks(BlockFormat::Int8), Operands::Int8, Avx512Vnni, gemm),
        (blocks(BlockFormat::Q8_0), Operands::Int8, Avx512Vnni, None),
        (blocks(BlockFormat::Q4K), Operands::Int8, Avx512Vnni, None),
        // The loop has three instructions for a vector, of which q4_k needs two.
        (blocks(BlockFormat::Int8), Operands::Int8, Avx2, None),
        (blocks(BlockFormat::Q8_0), Operands::Int8, Avx2, None),
        (blocks(BlockFormat::Q4K), Operands::Int8, Avx2, None),
    ];
    all.into_iter()
        .map(|(format, operands, instructions, target)| Arm {
            format,
            operands,
            instructions,
            target,
        })
        .filter(|arm| arm.instructions.is_available())
        .collect()
}

/// The passes over memory: reading and the plain loop, and for information the writers.
fn passes(instructions: Instructions) -> Fallible<()> {
    let (mut a, mut b, mut c) =
        (Buffer::new(MEMORY_WORDS)?, Buffer::new(MEMORY_WORDS)?, Buffer::new(MEMORY_WORDS)?);
    for buffer in [&mut a, &mut b, &mut c] {
        memory::fill_parallel(buffer.as_f32_mut_slice(), |index| unit(index as u64));
    }
    let gigabytes = 8.0 * MEMORY_WORDS as f64 / 1e9;
    let name = instructions.name();
    let part = MEMORY_WORDS / rayon::current_num_threads();

    let mut read = || {
        black_box(memory::read_sum_parallel(instructions, b.as_slice()));
    };
    let mut plain = || {
        rayon::broadcast(|thread| {
            let words = &b.as_slice()[thread.index() * part..][..part];
            black_box(loads::run(instructions, words))
        });
    };
    let pair = alternate(&mut read, &mut plain);
    pair.print(&format!("{name} read"), "plain loop", [gigabytes; 2], "GB/s", Some(TARGET_READ));
    // Cores that share a cache, or not: where each group of cores has its own way to memory, two
    // groups read more than one.
    let clock = MonotonicClock::default();
    if let Some(ns) = Pool::new(rayon::current_num_threads())?.handover_ns(&|| clock.now_ns()) {
        println!("a word goes from one of two threads to the other in {ns:.0} ns");
    }

    let mut copy = || memory::copy_parallel(instructions, b.as_slice(), c.as_mut_slice());
    let pair = alternate(&mut copy, &mut read);
    pair.print(
        &format!("{name} copy (read + written)"),
        "read",
        [2.0 * gigabytes, gigabytes],
        "GB/s",
        None,
    );

    let mut triad = || {
        let (b, c) = (b.as_f32_slice(), c.as_f32_slice());
        memory::triad_parallel(instructions, a.as_f32_mut_slice(), b, c, 0.3);
    };
    let pair = alternate(&mut triad, &mut read);
    pair.print(
        &format!("{name} triad (read + written)"),
        "read",
        [3.0 * gigabytes, gigabytes],
        "GB/s",
        None,
    );
    Ok(())
}

/// Seconds of both arms, round by round.
struct Pair {
    ours_s: Vec<f64>,
    limit_s: Vec<f64>,
}

/// Runs both arms once unmeasured, then in alternating order.
fn alternate(ours: &mut dyn FnMut(), limit: &mut dyn FnMut()) -> Pair {
    let clock = MonotonicClock::default();
    let time = |work: &mut dyn FnMut()| {
        let begin_ns = clock.now_ns();
        work();
        (clock.now_ns() - begin_ns) as f64 / 1e9
    };
    ours();
    limit();
    let mut pair = Pair { ours_s: Vec::new(), limit_s: Vec::new() };
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            pair.ours_s.push(time(ours));
            pair.limit_s.push(time(limit));
        } else {
            pair.limit_s.push(time(limit));
            pair.ours_s.push(time(ours));
        }
    }
    pair
}

impl Pair {
    /// One line: both rates, of which the `work` of each arm is the amount, and their ratio.
    fn print(&self, ours: &str, limit: &str, work: [f64; 2], unit: &str, target: Option<f64>) {
        let rates = |amount: f64, seconds: &[f64]| -> Vec<f64> {
            seconds.iter().map(|seconds| amount / seconds).collect()
        };
        let (ours_rates, limit_rates) =
            (rates(work[0], &self.ours_s), rates(work[1], &self.limit_s));
        let ratios: Vec<f64> =
            ours_rates.iter().zip(&limit_rates).map(|(ours, limit)| ours / limit).collect();
        let median = |values: &[f64]| stats::median(values).unwrap_or(f64::NAN);
        let ratio = median(&ratios);
        let verdict = match target {
            Some(target) if ratio >= target => format!(" (target {target:.2}, met)"),
            Some(target) => format!(" (target {target:.2}, MISSED)"),
            None => String::new(),
        };
        println!(
            "{ours}: {:.1} {unit}, {limit} {:.1} {unit}, ratio {ratio:.3}{verdict}",
            median(&ours_rates),
            median(&limit_rates),
        );
    }
}

/// A number in [-1, 1) that looks random.
fn unit(index: u64) -> f32 {
    let mixed = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Multiply-adds on registers alone: what no product can exceed.
mod registers {
    use benchinf::case::Operands;
    use benchinf::kernels::Instructions;

    /// Chains that do not wait for each other: more than the latency of a multiply-add (4 cycles)
    /// on two units, and with both constants no more than there are registers.
    const CHAINS_512: usize = 24;
    const CHAINS_256: usize = 12;
    /// Of four floats each; x86-64 alone has no fused multiply-add.
    const CHAINS_PORTABLE: usize = 12;

    /// Operations of one thread in one step.
    pub fn operations_per_step(operands: Operands, instructions: Instructions) -> f64 {
        let lanes = match instructions {
            Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => {
                16 * CHAINS_512
            }
            Instructions::Avx2 => 8 * CHAINS_256,
            Instructions::Portable => 4 * CHAINS_PORTABLE,
        };
        let products = match operands {
            // The processor multiplies the last two in no other way.
            Operands::F32 | Operands::F16 | Operands::Tf32 | Operands::Fp8E4M3 => 1,
            Operands::BF16 => 2,
            Operands::Int8 => 4,
        };
        2.0 * f64::from(products * lanes as u32)
    }

    /// Runs `steps` steps on this thread. Every chain of multiply-adds tends to 2 and stays a
    /// normal number; sums of pairs and of quadruples begin with 0.
    pub fn run(operands: Operands, instructions: Instructions, steps: u64) -> f32 {
        assert!(instructions.is_available());
        let [start, factor, summand] = std::hint::black_box([1.5, 0.5, 1.0]);
        match (operands, instructions) {
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            (Operands::BF16, Instructions::Avx512Bf16) => unsafe { x86::pairs(steps) },
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            (Operands::Int8, Instructions::Avx512Vnni) => unsafe { x86::quadruples(steps) },
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            (Operands::Int8, Instructions::Avx2) => unsafe { x86::quadruples_by_pairs(steps) },
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            (Operands::F32, Instructions::Avx512) => unsafe {
                x86::avx512(steps, start, factor, summand)
            },
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            (Operands::F32, Instructions::Avx2) => unsafe {
                x86::avx2(steps, start, factor, summand)
            },
            _ => portable(steps, start, factor, summand),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn portable(steps: u64, start: f32, factor: f32, summand: f32) -> f32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { x86::sse2(steps, start, factor, summand) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn portable(steps: u64, start: f32, factor: f32, summand: f32) -> f32 {
        let mut chains = [start; 4 * CHAINS_PORTABLE];
        for _ in 0..steps {
            for value in &mut chains {
                *value = value.mul_add(factor, summand);
            }
        }
        chains.iter().sum()
    }

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::asm;
        use std::arch::x86_64::*;

        use super::{CHAINS_256, CHAINS_512, CHAINS_PORTABLE};

        #[target_feature(enable = "sse2")]
        pub fn sse2(steps: u64, start: f32, factor: f32, summand: f32) -> f32 {
            let (factor, summand) = (_mm_set1_ps(factor), _mm_set1_ps(summand));
            let mut chains = [_mm_set1_ps(start); CHAINS_PORTABLE];
            for _ in 0..steps {
                for chain in &mut chains {
                    *chain = _mm_add_ps(_mm_mul_ps(*chain, factor), summand);
                }
            }
            let sum =
                chains.into_iter().fold(_mm_setzero_ps(), |sum, chain| _mm_add_ps(sum, chain));
            let mut lanes = [0.0_f32; 4];
            // SAFETY: four floats.
            unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), sum) };
            lanes.iter().sum()
        }

        /// One instruction for each of the registers with these numbers.
        macro_rules! each {
            ($before:literal, $after:literal: $($number:literal)*) => {
                concat!($($before, $number, $after, "\n"),*)
            };
            ($before:literal, $between:literal, $after:literal: $($number:literal)*) => {
                concat!($($before, $number, $between, $number, $after, "\n"),*)
            };
        }

        /// A loop of one instruction that adds products of what `$operand` repeats to 24 sums.
        macro_rules! sums {
            ($name:ident, $features:literal, $instruction:literal, $operand:literal) => {
                #[target_feature(enable = $features)]
                pub fn $name(steps: u64) -> f32 {
                    const { assert!(CHAINS_512 == 24) };
                    let sum: __m512i;
                    let operand = _mm512_set1_epi32(std::hint::black_box($operand));
                    // SAFETY: the loop uses the registers named and no memory.
                    unsafe {
                        asm!(
                            each!("vpxorq zmm", ", zmm26, zmm26":
                                0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23),
                            "test {steps}, {steps}",
                            "jz 3f",
                            ".p2align 5",
                            "2:",
                            each!($instruction, ", zmm24, zmm25":
                                0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23),
                            "dec {steps}",
                            "jnz 2b",
                            "3:",
                            steps = inout(reg) steps => _,
                            in("zmm24") operand,
                            in("zmm25") operand,
                            in("zmm26") operand,
                            out("zmm0") sum, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                            out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                            options(nomem, nostack),
                        );
                    }
                    _mm512_reduce_add_epi32(sum) as f32
                }
            };
        }
        // Pairs of 1.0 in bf16, and quadruples of 1.
        sums!(pairs, "avx512f,avx512bf16", "vdpbf16ps zmm", 0x3f80_3f80);
        sums!(quadruples, "avx512f,avx512vnni", "vpdpbusd zmm", 0x0101_0101);

        /// By hand: of 24 chains a compiler keeps some in memory, and the loop is a third slower.
        #[target_feature(enable = "avx512f")]
        pub fn avx512(steps: u64, start: f32, factor: f32, summand: f32) -> f32 {
            const { assert!(CHAINS_512 == 24) };
            let chain: __m512;
            // SAFETY: the loop uses the registers named and no memory.
            unsafe {
                asm!(
                    each!("vmovaps zmm", ", zmm26":
                        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23),
                    "test {steps}, {steps}",
                    "jz 3f",
                    ".p2align 5",
                    "2:",
                    each!("vfmadd213ps zmm", ", zmm24, zmm25":
                        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23),
                    "dec {steps}",
                    "jnz 2b",
                    "3:",
                    steps = inout(reg) steps => _,
                    in("zmm24") _mm512_set1_ps(factor),
                    in("zmm25") _mm512_set1_ps(summand),
                    in("zmm26") _mm512_set1_ps(start),
                    out("zmm0") chain, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                    out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                    out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                    out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                    out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                    out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                    options(nomem, nostack),
                );
            }
            _mm512_reduce_add_ps(chain)
        }

        /// Quadruples of 1 to 12 sums, where pairs of bytes and then pairs of 16 bits are summed.
        #[target_feature(enable = "avx2")]
        pub fn quadruples_by_pairs(steps: u64) -> f32 {
            const { assert!(CHAINS_256 == 12) };
            let sum: __m256i;
            let ones = _mm256_set1_epi8(std::hint::black_box(1));
            // SAFETY: the loop uses the registers named and no memory.
            unsafe {
                asm!(
                    each!("vpxor ymm", ", ymm14, ymm14": 0 1 2 3 4 5 6 7 8 9 10 11),
                    "test {steps}, {steps}",
                    "jz 3f",
                    ".p2align 5",
                    "2:",
                    each!("vpmaddubsw ymm14, ymm12, ymm12
                           vpmaddwd ymm14, ymm14, ymm13
                           vpaddd ymm", ", ymm14, ymm", "": 0 1 2 3 4 5 6 7 8 9 10 11),
                    "dec {steps}",
                    "jnz 2b",
                    "3:",
                    steps = inout(reg) steps => _,
                    in("ymm12") ones,
                    in("ymm13") _mm256_set1_epi16(1),
                    inout("ymm14") _mm256_setzero_si256() => _,
                    out("ymm0") sum, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                    out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                    out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                    options(nomem, nostack),
                );
            }
            let mut lanes = [0_i32; 8];
            // SAFETY: eight integers.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
            lanes.into_iter().fold(0, i32::wrapping_add) as f32
        }

        #[target_feature(enable = "avx2,fma")]
        pub fn avx2(steps: u64, start: f32, factor: f32, summand: f32) -> f32 {
            const { assert!(CHAINS_256 == 12) };
            let chain: __m256;
            // SAFETY: the loop uses the registers named and no memory.
            unsafe {
                asm!(
                    each!("vmovaps ymm", ", ymm14": 0 1 2 3 4 5 6 7 8 9 10 11),
                    "test {steps}, {steps}",
                    "jz 3f",
                    ".p2align 5",
                    "2:",
                    each!("vfmadd213ps ymm", ", ymm12, ymm13": 0 1 2 3 4 5 6 7 8 9 10 11),
                    "dec {steps}",
                    "jnz 2b",
                    "3:",
                    steps = inout(reg) steps => _,
                    in("ymm12") _mm256_set1_ps(factor),
                    in("ymm13") _mm256_set1_ps(summand),
                    in("ymm14") _mm256_set1_ps(start),
                    out("ymm0") chain, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                    out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                    out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                    options(nomem, nostack),
                );
            }
            let mut lanes = [0.0_f32; 8];
            // SAFETY: eight floats.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), chain) };
            lanes.iter().sum()
        }
    }
}

/// Plain vector loads, one after the other, without hints.
mod loads {
    use benchinf::kernels::Instructions;

    /// Sums the words on this thread; a number of them that is no multiple of 32 is cut off.
    pub fn run(instructions: Instructions, words: &[u64]) -> u64 {
        assert!(instructions.is_available());
        match instructions {
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => unsafe {
                x86::avx512(words)
            },
            // SAFETY: asserted to be available.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { x86::avx2(words) },
            _ => words.iter().fold(0, |sum, word| sum.wrapping_add(*word)),
        }
    }

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::x86_64::*;

        #[target_feature(enable = "avx512f")]
        pub fn avx512(words: &[u64]) -> u64 {
            let mut sums = [_mm512_setzero_si512(); 4];
            for group in words.chunks_exact(32) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the group has 32 words, four vectors.
                    let load = unsafe { _mm512_loadu_si512(group.as_ptr().add(8 * i).cast()) };
                    *sum = _mm512_add_epi64(*sum, load);
                }
            }
            sums.into_iter()
                .map(|sum| _mm512_reduce_add_epi64(sum) as u64)
                .fold(0, u64::wrapping_add)
        }

        #[target_feature(enable = "avx2")]
        pub fn avx2(words: &[u64]) -> u64 {
            let mut sums = [_mm256_setzero_si256(); 8];
            for group in words.chunks_exact(32) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the group has 32 words, eight vectors.
                    let load = unsafe { _mm256_loadu_si256(group.as_ptr().add(4 * i).cast()) };
                    *sum = _mm256_add_epi64(*sum, load);
                }
            }
            let mut all = _mm256_setzero_si256();
            for sum in sums {
                all = _mm256_add_epi64(all, sum);
            }
            let mut words = [0_u64; 4];
            // SAFETY: four words.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), all) };
            words.into_iter().fold(0, u64::wrapping_add)
        }
    }
}
