//! Every kernel against its definition in double precision, on the processor that plays the device
//! and on a device where there is one.

use std::cell::Cell;
use std::io::Write;
use std::sync::{Arc, PoisonError};

use half::{bf16, f16};

use super::context::{Context, Memory};
use super::launch::{Launch, Span};
use super::matmul::Matmul;
use super::operations::*;
use super::probes::*;
use super::program::HeadShape;
use super::{device, driver, emulator};
use crate::kernels::DEVICE_TURN;
use crate::kernels::linear::FloatFormat;

const FORMATS: [FloatFormat; 3] = [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16];

/// What runs kernels.
enum Machine {
    Emulated,
    Gpu(Arc<Context>),
}

/// Memory of a machine, a multiple of 16 bytes from a multiple of 16 on.
enum Held {
    Host(Vec<Cell<u128>>, usize),
    Device(Memory, usize),
}

impl Machine {
    /// A device; absent, with a word about it, where there is none.
    fn gpu() -> Option<Self> {
        if let Err(obstacle) = driver::check(0) {
            // Past what captures the output of tests, so that nobody takes it for a pass.
            let _ = writeln!(std::io::stderr(), "skipped, no CUDA device: {obstacle:?}");
            return None;
        }
        let opened = device::open(0).unwrap();
        Context::of(&candle_core::Device::Cuda(opened)).unwrap().map(Self::Gpu)
    }

    fn hold(&self, bytes: &[u8]) -> Held {
        match self {
            Self::Emulated => {
                let word = |part: &[u8]| {
                    let mut whole = [0; 16];
                    whole[..part.len()].copy_from_slice(part);
                    Cell::new(u128::from_le_bytes(whole))
                };
                Held::Host(bytes.chunks(16).map(word).collect(), bytes.len())
            }
            Self::Gpu(context) => {
                let memory = context.allocate(bytes.len()).unwrap();
                context.upload(bytes, memory.span()).unwrap();
                Held::Device(memory, bytes.len())
            }
        }
    }

    fn run(&self, launch: &Launch<'_>) {
        match self {
            Self::Emulated => emulator::run(launch),
            Self::Gpu(context) => context.launch(launch).unwrap(),
        }
    }

    fn read(&self, held: &Held) -> Vec<u8> {
        match (self, held) {
            (Self::Gpu(context), Held::Device(memory, n)) => {
                let mut bytes = vec![0; *n];
                context.download(memory.span(), &mut bytes).unwrap();
                bytes
            }
            (_, Held::Host(words, n)) => {
                let bytes = words.iter().flat_map(|word| word.get().to_le_bytes());
                bytes.take(*n).collect()
            }
            _ => panic!("memory of another machine"),
        }
    }

    /// Memory of floats in a format.
    fn floats(&self, format: FloatFormat, values: &[f32]) -> Held {
        let bytes: Vec<u8> = match format {
            FloatFormat::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            FloatFormat::F16 => {
                values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
            }
            FloatFormat::Bf16 => {
                values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()
            }
        };
        self.hold(&bytes)
    }

    fn read_floats(&self, format: FloatFormat, held: &Held) -> Vec<f64> {
        let bytes = self.read(held);
        let halves = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        match format {
            FloatFormat::F32 => {
                let words = bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
                words.map(|b| f32::from_le_bytes(b).into()).collect()
            }
            FloatFormat::F16 => halves().map(|b| f16::from_le_bytes(b).to_f64()).collect(),
            FloatFormat::Bf16 => halves().map(|b| bf16::from_le_bytes(b).to_f64()).collect(),
        }
    }

    fn words(&self, values: &[u32]) -> Held {
        self.hold(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    fn read_words(&self, held: &Held) -> Vec<u32> {
        let bytes = self.read(held);
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

impl Held {
    fn span(&self) -> Span<'_> {
        match self {
            Self::Host(words, n) => Span::new(words.as_ptr() as u64, *n),
            Self::Device(memory, _) => memory.span(),
        }
    }
}

/// Numbers between −1 and 1 that a format has without rounding, differing with the seed.
fn drawn(format: FloatFormat, n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let mut bits = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd1b5);
            bits = (bits ^ bits >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let value = ((bits >> 40) as f32 / (1_u32 << 23) as f32) - 1.0;
            match format {
                FloatFormat::F32 => value,
                FloatFormat::F16 => f16::from_f32(value).to_f32(),
                FloatFormat::Bf16 => bf16::from_f32(value).to_f32(),
            }
        })
        .collect()
}

/// What rounding to a format, and sums in f32 of many numbers, explain of values of this size.
fn tolerance(format: FloatFormat) -> f64 {
    match format {
        FloatFormat::F32 => 1e-5,
        FloatFormat::F16 => 2e-3,
        FloatFormat::Bf16 => 1.6e-2,
    }
}

#[track_caller]
fn alike(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    let scale = wanted.iter().fold(0.0_f64, |max, v| max.max(v.abs())).max(1e-30);
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let off = (found - wanted).abs() / scale;
        assert!(off <= tolerance, "at {i}: {found} instead of {wanted}");
    }
}

fn embed_looks_rows_up(machine: &Machine) {
    for format in FORMATS {
        let (n_rows, width, vocab) = (5, 40, 9);
        let table = drawn(format, vocab * width, 1);
        let tokens = [8_u32, 0, 3, 3, 7];
        let x = machine.floats(FloatFormat::F32, &vec![f32::NAN; n_rows * width]);
        let (of_tokens, of_table) = (machine.words(&tokens), machine.floats(format, &table));
        let size = (n_rows, width);
        machine.run(&embed(format, of_tokens.span(), of_table.span(), x.span(), size));
        let wanted: Vec<f64> = tokens
            .iter()
            .flat_map(|&t| &table[t as usize * width..][..width])
            .map(|&v| v.into())
            .collect();
        alike(&machine.read_floats(FloatFormat::F32, &x), &wanted, 0.0);
    }
}

fn rms_norm_of_chosen_rows(machine: &Machine) {
    for format in FORMATS {
        let (n_rows, width, eps) = (6, 300, 1e-5_f32);
        let (x, weight) = (drawn(FloatFormat::F32, n_rows * width, 2), drawn(format, width, 3));
        let (of_x, of_weight) =
            (machine.floats(FloatFormat::F32, &x), machine.floats(FloatFormat::F32, &weight));
        for rows in [RowChoice::all(6), RowChoice::last_of(2, 3), RowChoice::last_of(3, 2)] {
            let y = machine.floats(format, &vec![f32::NAN; rows.n * width]);
            let size = (rows, width);
            machine.run(&rms_norm(format, of_x.span(), of_weight.span(), y.span(), size, eps));
            let wanted: Vec<f64> = (0..rows.n)
                .flat_map(|i| {
                    let row = &x[(rows.first + i * rows.step) * width..][..width];
                    let squares: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
                    let scale = 1.0 / (squares / width as f64 + f64::from(eps)).sqrt();
                    let weighted = row.iter().zip(&weight);
                    weighted.map(move |(&v, &w)| f64::from(v) * scale * f64::from(w))
                })
                .collect();
            alike(&machine.read_floats(format, &y), &wanted, tolerance(format));
        }
    }
}

fn rows_are_kept(machine: &Machine) {
    let (width, rows) = (37, RowChoice::last_of(3, 4));
    for format in FORMATS {
        let x = drawn(format, 12 * width, 4);
        let wanted: Vec<f64> =
            [3, 7, 11].iter().flat_map(|r| &x[r * width..][..width]).map(|&v| v.into()).collect();
        let (from, to) =
            (machine.floats(format, &x), machine.floats(format, &vec![0.0; 3 * width]));
        machine.run(&keep_elements(format, from.span(), to.span(), (rows, width)));
        alike(&machine.read_floats(format, &to), &wanted, 0.0);
        if format == FloatFormat::F32 {
            let to = machine.floats(format, &vec![0.0; 3 * width]);
            machine.run(&keep_rows(from.span(), to.span(), (rows, width)));
            alike(&machine.read_floats(format, &to), &wanted, 0.0);
        }
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn swiglu_with_and_without_bias(machine: &Machine) {
    let (n_rows, width) = (3, 270);
    for format in FORMATS {
        let x: Vec<f32> = drawn(format, n_rows * 2 * width, 5).iter().map(|v| v * 8.0).collect();
        let bias = drawn(FloatFormat::F32, 2 * width, 6);
        for with_bias in [false, true] {
            let (from, of_bias) =
                (machine.floats(format, &x), machine.floats(FloatFormat::F32, &bias));
            let y = machine.floats(format, &vec![f32::NAN; n_rows * width]);
            let given = with_bias.then(|| of_bias.span());
            machine.run(&swiglu(format, from.span(), given, y.span(), (n_rows, width)));
            let at = |row: usize, i: usize| {
                let bias = if with_bias { bias[i] } else { 0.0 };
                f64::from(x[row * 2 * width + i]) + f64::from(bias)
            };
            let wanted: Vec<f64> = (0..n_rows)
                .flat_map(|r| (0..width).map(move |i| (r, i)))
                .map(|(r, i)| silu(at(r, i)) * at(r, width + i))
                .collect();
            alike(&machine.read_floats(format, &y), &wanted, tolerance(format));
        }
    }
}

fn biases_are_added(machine: &Machine) {
    let (n_rows, width) = (4, 300);
    let (x, bias) = (drawn(FloatFormat::F32, n_rows * width, 7), drawn(FloatFormat::F32, width, 8));
    let (of_x, of_bias) =
        (machine.floats(FloatFormat::F32, &x), machine.floats(FloatFormat::F32, &bias));
    machine.run(&add_bias(of_x.span(), of_bias.span(), (n_rows, width)));
    let wanted: Vec<f64> = x.iter().zip(bias.iter().cycle()).map(|(x, b)| (x + b).into()).collect();
    alike(&machine.read_floats(FloatFormat::F32, &of_x), &wanted, 0.0);
}

fn the_greatest_is_the_first_of_equals(machine: &Machine) {
    let width = 3001;
    let mut logits = drawn(FloatFormat::F32, 4 * width, 9);
    logits[1234] = 5.0;
    (logits[width + 17], logits[width + 2900], logits[width + 16]) = (5.0, 5.0, 4.9);
    logits[2 * width + 3000] = 5.0;
    logits[3 * width] = 5.0;
    let (from, picks) = (machine.floats(FloatFormat::F32, &logits), machine.words(&[99; 4]));
    machine.run(&greatest(from.span(), picks.span(), (4, width)));
    assert_eq!(machine.read_words(&picks), [1234, 17, 3000, 0]);
}

fn positions_are_set_and_spoiled(machine: &Machine) {
    let start = machine.words(&[7]);
    machine.run(&stand_at(start.span(), 42));
    assert_eq!(machine.read_words(&start), [42]);
    for format in FORMATS {
        let cache = machine.floats(format, &[1.0; 2 * 5 * 8]);
        machine.run(&spoil(format, cache.span(), (2, 5, 8), 1..4));
        let values = machine.read_floats(format, &cache);
        for (i, value) in values.iter().enumerate() {
            assert_eq!(value.is_nan(), (1..4).contains(&(i / 8 % 5)), "{i}");
        }
    }
}

/// What a replayed step leaves to the next one, whose launches are the same to the bit.
fn steps_go_on_by_themselves(machine: &Machine) {
    let (n_positions, n) = (5, 200);
    let start = machine.words(&[2]);
    let history = machine.words(&vec![7; n_positions * n]);
    let mut wanted = vec![7; n_positions * n];
    for position in 2..4 {
        let picks: Vec<u32> = (0..n as u32).map(|i| 1000 * position + i).collect();
        let of_picks = machine.words(&picks);
        let size = (n_positions, n);
        machine.run(&advance_step(start.span(), of_picks.span(), history.span(), size));
        wanted[position as usize * n..][..n].copy_from_slice(&picks);
        assert_eq!(machine.read_words(&start), [position + 1]);
        assert_eq!(machine.read_words(&history), wanted);
    }
}

/// Heads of rows, turned, and what joins the cache; the rest of it stays as it was.
fn rotate_places_heads(machine: &Machine) {
    let (n_sequences, n_tokens, n_positions, start, eps) = (2, 3, 9, 4, 1e-6_f32);
    for format in FORMATS {
        for (n_q, n_kv, dim, first, extras) in
            [(6, 2, 16, 0, false), (3, 1, 64, 0, true), (0, 2, 32, 0, true), (4, 0, 48, 2, false)]
        {
            let n_heads = n_q + 2 * n_kv;
            let (n_rows, half) = (n_sequences * n_tokens, dim / 2);
            let x = drawn(format, n_rows * n_heads * dim, 10);
            let bias = drawn(FloatFormat::F32, n_heads * dim, 11);
            let norms = [drawn(FloatFormat::F32, dim, 12), drawn(FloatFormat::F32, dim, 13)];
            let angle = |p: usize, i: usize| p as f64 / f64::from(1 + i as u32);
            let turns = |of: fn(f64) -> f64| -> Vec<f32> {
                let all = (0..n_positions).flat_map(|p| (0..half).map(move |i| (p, i)));
                all.map(|(p, i)| of(angle(p, i)) as f32).collect()
            };
            let n_cache = n_sequences * n_kv.max(1) * n_positions * dim;
            let of = |values: &[f32]| machine.floats(FloatFormat::F32, values);
            let (of_x, of_bias) = (machine.floats(format, &x), of(&bias));
            let (of_q_norm, of_k_norm) = (of(&norms[0]), of(&norms[1]));
            let (cosines, sines) = (of(&turns(f64::cos)), of(&turns(f64::sin)));
            let of_start = machine.words(&[start as u32]);
            let blank = |n| machine.floats(format, &vec![7.0; n]);
            let (q, keys, values) = (blank(n_rows * n_q * dim + 1), blank(n_cache), blank(n_cache));
            let rows = HeadRows { n_sequences, n_tokens, n_q, n_kv, dim, first };
            let given_norms = HeadNorms { q: of_q_norm.span(), k: of_k_norm.span(), eps };
            let cache = LayerCache {
                keys: keys.span(),
                values: values.span(),
                n_sequences,
                n_kv: n_kv.max(1),
                n_positions,
            };
            machine.run(&rotate(
                format,
                of_x.span(),
                rows,
                extras.then(|| of_bias.span()),
                extras.then_some(given_norms),
                Turns { cosines: cosines.span(), sines: sines.span() },
                of_start.span(),
                Some(q.span()),
                cache,
            ));

            let mut wanted_q = vec![7.0; n_rows * n_q * dim + 1];
            let mut wanted_kv = [vec![7.0; n_cache], vec![7.0; n_cache]];
            for (row, head) in (0..n_rows).flat_map(|r| (0..n_heads).map(move |h| (r, h))) {
                let position = start + first + row % n_tokens;
                let mut v: Vec<f64> = (0..dim)
                    .map(|i| {
                        let bias = if extras { bias[head * dim + i] } else { 0.0 };
                        f64::from(x[(row * n_heads + head) * dim + i]) + f64::from(bias)
                    })
                    .collect();
                let is_value = head >= n_q + n_kv;
                if !is_value {
                    if extras {
                        let squares: f64 = v.iter().map(|v| v * v).sum();
                        let scale = 1.0 / (squares / dim as f64 + f64::from(eps)).sqrt();
                        let norm = &norms[usize::from(head >= n_q)];
                        v.iter_mut().zip(norm).for_each(|(v, n)| *v *= scale * f64::from(*n));
                    }
                    for i in 0..half {
                        let (sin, cos) = angle(position, i).sin_cos();
                        let (a, b) = (v[i], v[half + i]);
                        (v[i], v[half + i]) = (a * cos - b * sin, b * cos + a * sin);
                    }
                }
                let to = if head < n_q {
                    &mut wanted_q[(row * n_q + head) * dim..]
                } else {
                    let of_kv = (head - n_q) % n_kv;
                    let block = row / n_tokens * n_kv + of_kv;
                    &mut wanted_kv[usize::from(is_value)][(block * n_positions + position) * dim..]
                };
                to[..dim].copy_from_slice(&v);
            }
            let tolerance = tolerance(format);
            alike(&machine.read_floats(format, &q), &wanted_q, tolerance);
            alike(&machine.read_floats(format, &keys), &wanted_kv[0], tolerance);
            alike(&machine.read_floats(format, &values), &wanted_kv[1], tolerance);
        }
    }
}

fn products_of_every_kind_and_number_of_rows(machine: &Machine) {
    for format in FORMATS {
        for (n_out, n_in) in [(7, 16), (10, 520)] {
            let w = drawn(format, 2 * n_out * n_in, 14);
            let bias = drawn(FloatFormat::F32, 2 * n_out, 15);
            let (of_w, of_bias) =
                (machine.floats(format, &w), machine.floats(FloatFormat::F32, &bias));
            for n_rows in 1..=PRODUCT_ROWS_MAX {
                let x = drawn(format, n_rows * n_in, 16);
                let of_x = machine.floats(format, &x);
                let sum = |n: usize, row: usize| -> f64 {
                    let (w, x) = (&w[row * n_in..][..n_in], &x[n * n_in..][..n_in]);
                    let sum: f64 =
                        w.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    sum + f64::from(bias[row])
                };
                for kind in [Product::Narrowed, Product::Wide, Product::Added, Product::Gated] {
                    let of_y = match kind {
                        Product::Narrowed | Product::Gated => format,
                        Product::Wide | Product::Added => FloatFormat::F32,
                    };
                    let y = machine.floats(of_y, &vec![0.5; n_rows * n_out]);
                    let (w, x, bias) = (of_w.span(), of_x.span(), Some(of_bias.span()));
                    let size = (n_rows, n_out, n_in);
                    machine.run(&product(format, kind, w, x, bias, y.span(), size));
                    let wanted: Vec<f64> = (0..n_rows)
                        .flat_map(|n| (0..n_out).map(move |row| (n, row)))
                        .map(|(n, row)| match kind {
                            Product::Narrowed | Product::Wide => sum(n, row),
                            Product::Added => 0.5 + sum(n, row),
                            Product::Gated => silu(sum(n, row)) * sum(n, n_out + row),
                        })
                        .collect();
                    alike(&machine.read_floats(of_y, &y), &wanted, tolerance(of_y));
                }
            }
        }
    }
}

/// A cache with a few positions written, and the rest not a number, as decoders have it.
struct AttentionCase {
    format: FloatFormat,
    heads: HeadShape,
    n_sequences: usize,
    n_kv: usize,
    n_positions: usize,
    start: usize,
    n_tokens: usize,
    q: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl AttentionCase {
    fn new(format: FloatFormat, (dim, group): (u32, u32), start: usize, n_tokens: usize) -> Self {
        let (n_sequences, n_kv) = (2, 2);
        let n_positions = start + n_tokens + 3;
        let n_cache = n_sequences * n_kv * n_positions * dim as usize;
        let written = |seed| {
            let mut cache = drawn(format, n_cache, seed);
            for (i, value) in cache.iter_mut().enumerate() {
                if i / dim as usize % n_positions >= start + n_tokens {
                    *value = f32::NAN;
                }
            }
            cache
        };
        let n_queries = n_sequences * n_tokens * n_kv * group as usize * dim as usize;
        // Large enough that some positions matter much more than others.
        let q = drawn(format, n_queries, 17).iter().map(|q| q * 4.0).collect();
        let (keys, values) = (written(18), written(19));
        let heads = HeadShape { dim, group };
        Self { format, heads, n_sequences, n_kv, n_positions, start, n_tokens, q, keys, values }
    }

    fn wanted(&self) -> Vec<f64> {
        let (dim, group) = (self.heads.dim as usize, self.heads.group as usize);
        let n_heads = self.n_kv * group;
        let mut wanted = Vec::new();
        for row in 0..self.n_sequences * self.n_tokens {
            let (sequence, token) = (row / self.n_tokens, row % self.n_tokens);
            for head in 0..n_heads {
                let block = (sequence * self.n_kv + head / group) * self.n_positions;
                let at = |cache: &[f32], position: usize, d: usize| {
                    f64::from(cache[(block + position) * dim + d])
                };
                let q = &self.q[(row * n_heads + head) * dim..][..dim];
                let scores: Vec<f64> = (0..=self.start + token)
                    .map(|p| (0..dim).map(|d| f64::from(q[d]) * at(&self.keys, p, d)).sum::<f64>())
                    .map(|score| score / (dim as f64).sqrt())
                    .collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
                let all: f64 = shares.iter().sum();
                wanted.extend((0..dim).map(|d| {
                    let weighted = shares.iter().enumerate();
                    weighted.map(|(p, share)| share * at(&self.values, p, d)).sum::<f64>() / all
                }));
            }
        }
        wanted
    }

    /// By single queries where there are splits, else in blocks.
    fn check(&self, machine: &Machine, n_splits: Option<usize>) {
        let Self { format, heads, n_sequences, n_kv, n_positions, n_tokens, .. } = *self;
        let (keys, values) =
            (machine.floats(format, &self.keys), machine.floats(format, &self.values));
        let cache =
            LayerCache { keys: keys.span(), values: values.span(), n_sequences, n_kv, n_positions };
        let start = machine.words(&[self.start as u32]);
        let q = machine.floats(format, &self.q);
        let to = machine.floats(format, &vec![f32::NAN; self.q.len()]);
        let queries = Queries { q: q.span(), to: to.span(), n_tokens, first: 0 };
        match n_splits {
            None => machine.run(&attend_block(format, heads, queries, cache, start.span())),
            Some(n_splits) => {
                let n_parts = self.q.len() / heads.dim as usize * n_splits;
                let blank = |n| machine.floats(FloatFormat::F32, &vec![f32::NAN; n]);
                let (sums, scales) = (blank(n_parts * heads.dim as usize), blank(n_parts * 2));
                let parts = Parts { sums: sums.span(), scales: scales.span(), n_splits };
                for launch in attend_single(format, heads, queries, cache, start.span(), parts) {
                    machine.run(&launch);
                }
            }
        }
        // Shares of positions are rounded to the format where they are multiplied.
        let tolerance = 2.0 * tolerance(format);
        alike(&machine.read_floats(format, &to), &self.wanted(), tolerance);
    }
}

fn single_queries_attend_over_splits(machine: &Machine) {
    for format in FORMATS {
        for (heads, start, n_tokens) in
            [((16, 2), 0, 1), ((16, 2), 200, 1), ((64, 3), 37, 2), ((64, 3), 0, 5)]
        {
            let case = AttentionCase::new(format, heads, start, n_tokens);
            for n_splits in [1, 3, 7] {
                case.check(machine, Some(n_splits));
            }
        }
    }
    // More query heads than a block takes.
    AttentionCase::new(FloatFormat::Bf16, (128, 11), 70, 1).check(machine, Some(2));
}

fn blocks_of_queries_attend_to_their_past(machine: &Machine) {
    for format in [FloatFormat::F16, FloatFormat::Bf16] {
        for (heads, start, n_tokens) in [
            ((16, 2), 0, 1),
            ((16, 2), 0, 64),
            ((16, 2), 5, 130),
            ((64, 3), 0, 65),
            ((64, 3), 100, 63),
        ] {
            AttentionCase::new(format, heads, start, n_tokens).check(machine, None);
        }
    }
    AttentionCase::new(FloatFormat::Bf16, (128, 1), 17, 70).check(machine, None);
}

/// The sources' own arithmetic, as a test can write it once more.
fn stream(key: u64, index: u64) -> u64 {
    let mut z = key.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bell(bits: u64) -> f32 {
    let sum: i32 = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as i32).sum();
    (sum - 2 * 0xffff) as f32 * (1.0 / 37_837.227)
}

fn random_numbers_are_those_of_the_host(machine: &Machine) {
    const N: u64 = 1000;
    let drawn = |factors: Factors| {
        let to = machine.hold(&vec![0xaa; N as usize * factors.bytes()]);
        machine.run(&draw(factors, to.span(), 77));
        machine.read(&to)
    };
    let bytes = |of: &dyn Fn(u64) -> Vec<u8>| -> Vec<u8> { (0..N).flat_map(of).collect() };
    let number = |i| bell(stream(77, i));
    for (factors, wanted) in [
        (Factors::Floats(FloatFormat::F32), bytes(&|i| number(i).to_le_bytes().into())),
        (Factors::Tf32, bytes(&|i| (number(i).to_bits() & 0xffff_e000).to_le_bytes().into())),
        (
            Factors::Floats(FloatFormat::F16),
            bytes(&|i| f16::from_f32(number(i)).to_le_bytes().into()),
        ),
        (
            Factors::Floats(FloatFormat::Bf16),
            bytes(&|i| bf16::from_f32(number(i)).to_le_bytes().into()),
        ),
        (
            Factors::Fp8,
            bytes(&|i| {
                let bits = stream(77, i);
                vec![(bits & 0x87 | (5 + (bits >> 8 & 3)) << 3) as u8]
            }),
        ),
        (
            Factors::Int8,
            bytes(&|i| vec![((((stream(77, i) >> 32) * 255) >> 32) as i32 - 127) as i8 as u8]),
        ),
    ] {
        assert_eq!(drawn(factors), wanted, "{factors:?}");
    }
}

/// Two multiprocessors, and as many words as leave some threads one more turn than others.
fn walks_take_every_word_once(machine: &Machine) {
    const N_MULTIPROCESSORS: usize = 2;
    for n_words in [2, 4096, 2 * (5 * 2048 + 77)] {
        let word = |at: u64| stream(9, 3 + at) & 0x007f_ffff_007f_ffff | 0x3f80_0000_3f80_0000;
        let words = machine.hold(&vec![0; n_words * 8]);
        machine.run(&draw_words(words.span(), 9, 3));
        let wanted: Vec<u8> = (0..n_words as u64).flat_map(|at| word(at).to_le_bytes()).collect();
        assert_eq!(machine.read(&words), wanted);

        let sums = machine.hold(&vec![0xff; n_sums(N_MULTIPROCESSORS) * 8]);
        machine.run(&read_sum(N_MULTIPROCESSORS, words.span(), sums.span()));
        let sums = machine.read(&sums);
        let sums = sums.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let found = sums.fold(0, u64::wrapping_add);
        assert_eq!(found, (0..n_words as u64).map(word).fold(0, u64::wrapping_add));

        // One word more, which is left alone.
        let blank = vec![0xff; n_words * 8 + 16];
        let to = machine.hold(&blank);
        machine.run(&copy_words(N_MULTIPROCESSORS, words.span(), to.span()));
        assert_eq!(machine.read(&to)[..n_words * 8], wanted);
        assert_eq!(machine.read(&to)[n_words * 8..], [0xff; 16]);

        let n = n_words * 2;
        let (b, c) = (drawn(FloatFormat::F32, n, 4), drawn(FloatFormat::F32, n, 5));
        let (of_b, of_c) =
            (machine.floats(FloatFormat::F32, &b), machine.floats(FloatFormat::F32, &c));
        let a = machine.hold(&vec![0xff; n * 4]);
        machine.run(&triad(N_MULTIPROCESSORS, a.span(), of_b.span(), of_c.span(), 0.5));
        let wanted: Vec<f64> = b.iter().zip(&c).map(|(b, c)| f64::from(b + 0.5 * c)).collect();
        assert_eq!(machine.read_floats(FloatFormat::F32, &a), wanted);
    }
}

/// A test for each machine.
macro_rules! on_every_machine {
    ($($name:ident,)+) => {
        mod emulated {
            $(#[test] fn $name() { super::$name(&super::Machine::Emulated) })+
        }
        mod gpu {
            $(#[test] fn $name() {
                let _turn = super::DEVICE_TURN.lock().unwrap_or_else(super::PoisonError::into_inner);
                if let Some(machine) = super::Machine::gpu() {
                    super::$name(&machine);
                }
            })+
        }
    };
}

on_every_machine!(
    embed_looks_rows_up,
    rms_norm_of_chosen_rows,
    rows_are_kept,
    swiglu_with_and_without_bias,
    biases_are_added,
    the_greatest_is_the_first_of_equals,
    positions_are_set_and_spoiled,
    steps_go_on_by_themselves,
    rotate_places_heads,
    products_of_every_kind_and_number_of_rows,
    single_queries_attend_over_splits,
    blocks_of_queries_attend_to_their_past,
    random_numbers_are_those_of_the_host,
    walks_take_every_word_once,
);

mod gpu_graphs {
    use super::*;

    const SIZE: (usize, usize) = (6, 3);

    fn step(context: &Context, [start, picks, history]: &[Memory; 3]) -> crate::error::Result<()> {
        context.launch(&advance_step(start.span(), picks.span(), history.span(), SIZE))
    }

    /// A graph of one step, replayed, does what the step did each time, with launches before and after
    /// it; and a capture that fails leaves the stream as it was.
    #[test]
    fn captured_launches_are_replayed() {
        let _turn = DEVICE_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Machine::Gpu(context)) = Machine::gpu() else { return };
        let of_words = |values: &[u32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let memory = context.allocate(bytes.len()).unwrap();
            context.upload(&bytes, memory.span()).unwrap();
            memory
        };
        let held = [of_words(&[0]), of_words(&[1, 2, 3]), of_words(&vec![9; SIZE.0 * SIZE.1])];
        step(&context, &held).unwrap();
        let error =
            context.capture((), |_, ()| Err(crate::error::Error::NothingToRun)).unwrap_err();
        assert!(matches!(error, crate::error::Error::NothingToRun));
        let mut graph = context.capture(held, step).unwrap();
        context.launch(&stand_at(graph.of()[0].span(), 2)).unwrap();
        for _ in 0..3 {
            graph.replay().unwrap();
        }
        let mut bytes = vec![0; SIZE.0 * SIZE.1 * 4];
        context.download(graph.of()[2].span(), &mut bytes).unwrap();
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let wanted = [[1, 2, 3], [9; 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [9; 3]].concat();
        assert_eq!(words, wanted);
    }
}

/// Every product of the library but that of fp8, whose probe checks it, against one in double
/// precision. It needs a device.
#[test]
fn gpu_products_by_cublaslt() {
    const SIZE: usize = 256;
    let _turn = DEVICE_TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Machine::Gpu(context)) = Machine::gpu() else { return };
    for factors in [
        Factors::Floats(FloatFormat::F32),
        Factors::Floats(FloatFormat::F16),
        Factors::Floats(FloatFormat::Bf16),
        Factors::Tf32,
        Factors::Int8,
    ] {
        let matmul = Matmul::new(&context, factors, SIZE, (1, 2)).unwrap();
        matmul.multiply(&context).unwrap();
        let mut bytes = vec![0; SIZE * SIZE * factors.result_bytes()];
        context.download(matmul.y(), &mut bytes).unwrap();
        let entry = |i: usize| -> f64 {
            let at = &bytes[i * factors.result_bytes()..];
            match factors {
                Factors::Floats(FloatFormat::F16) => f16::from_le_bytes([at[0], at[1]]).into(),
                Factors::Floats(FloatFormat::Bf16) => bf16::from_le_bytes([at[0], at[1]]).into(),
                Factors::Int8 => i32::from_le_bytes([at[0], at[1], at[2], at[3]]).into(),
                _ => f32::from_le_bytes([at[0], at[1], at[2], at[3]]).into(),
            }
        };
        let number = |key: u64, i: usize| -> f64 {
            let bits = stream(key, i as u64);
            match factors {
                Factors::Floats(FloatFormat::F16) => f16::from_f32(bell(bits)).into(),
                Factors::Floats(FloatFormat::Bf16) => bf16::from_f32(bell(bits)).into(),
                Factors::Int8 => (((bits >> 32) * 255) >> 32) as f64 - 127.0,
                Factors::Tf32 => f32::from_bits(bell(bits).to_bits() & 0xffff_e000).into(),
                _ => bell(bits).into(),
            }
        };
        let wanted = |i: usize| -> f64 {
            let (row, column) = (i / SIZE * SIZE, i % SIZE * SIZE);
            (0..SIZE).map(|k| number(1, row + k) * number(2, column + k)).sum()
        };
        let some = || (0..SIZE * SIZE).step_by(97);
        let tolerance = match factors {
            Factors::Int8 => 0.0,
            Factors::Floats(format) => tolerance(format),
            _ => tolerance(FloatFormat::F32),
        };
        let (found, wanted): (Vec<f64>, Vec<f64>) =
            (some().map(entry).collect(), some().map(wanted).collect());
        alike(&found, &wanted, tolerance);
    }
}
