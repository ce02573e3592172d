//! A square product by the library of the device's maker.

use std::sync::Arc;

use half::{bf16, f16};

use crate::case::Operands;
use crate::error::Result;
use crate::kernels::cuda::{Context, Factors, Matmul};
use crate::kernels::linear::FloatFormat;
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;
use crate::workload::gemm::{number, relative_error};

/// Rows and columns whose crossings are looked at after each pass.
const N_LINES: u64 = 8;

/// `Y = X·Wᵀ` of random factors.
#[derive(Debug)]
pub(super) struct DeviceGemm {
    context: Arc<Context>,
    operands: Operands,
    size: usize,
    matmul: Matmul,
    x: Stream,
    w: Stream,
    samples: Stream,
    passes: u64,
}

fn factors(operands: Operands) -> Factors {
    match operands {
        Operands::F32 => Factors::Floats(FloatFormat::F32),
        Operands::Tf32 => Factors::Tf32,
        Operands::F16 => Factors::Floats(FloatFormat::F16),
        Operands::BF16 => Factors::Floats(FloatFormat::Bf16),
        Operands::Fp8E4M3 => Factors::Fp8,
        Operands::Int8 => Factors::Int8,
    }
}

impl DeviceGemm {
    /// Draws the factors on the device, and finds the fastest way to multiply them.
    pub fn new(context: &Arc<Context>, operands: Operands, size: u32, seed: u64) -> Result<Self> {
        let (x, w) = (Stream::new(seed, "gemm.x"), Stream::new(seed, "gemm.w"));
        let size = size as usize;
        let matmul = Matmul::new(context, factors(operands), size, (x.key(), w.key()))?;
        Ok(Self {
            context: Arc::clone(context),
            operands,
            size,
            matmul,
            x,
            w,
            samples: Stream::new(seed, "gemm.samples"),
            passes: 0,
        })
    }

    /// Rows and columns that are looked at after the pass under way.
    fn sampled(&self) -> (Vec<usize>, Vec<usize>) {
        let first = self.passes * 2 * N_LINES;
        let line = |i| self.samples.below(first + i, self.size as u32) as usize;
        ((0..N_LINES).map(line).collect(), (N_LINES..2 * N_LINES).map(line).collect())
    }

    /// Row `row` of a factor, which the host draws as the device does.
    fn row(&self, factor: Stream, row: usize) -> Vec<f64> {
        let first = row * self.size;
        let numbers = (first..first + self.size).map(|i| number(self.operands, factor, i as u64));
        numbers.map(f64::from).collect()
    }

    /// An entry of the product.
    fn entry(&self, row: usize, column: usize) -> Result<f64> {
        let n_bytes = factors(self.operands).result_bytes();
        let mut bytes = [0; 4];
        let bytes = &mut bytes[..n_bytes];
        let from = self.matmul.y().part((row * self.size + column) * n_bytes, n_bytes);
        self.context.download(from, bytes)?;
        Ok(result_number(self.operands, bytes))
    }
}

/// An entry of a product of these operands, from its bytes.
fn result_number(operands: Operands, bytes: &[u8]) -> f64 {
    let half = || [bytes[0], bytes[1]];
    let word = || [bytes[0], bytes[1], bytes[2], bytes[3]];
    match operands {
        Operands::F32 | Operands::Tf32 => f32::from_le_bytes(word()).into(),
        Operands::F16 => f16::from_le_bytes(half()).into(),
        Operands::BF16 | Operands::Fp8E4M3 => bf16::from_le_bytes(half()).into(),
        Operands::Int8 => i32::from_le_bytes(word()).into(),
    }
}

/// What a product is filled with before a pass: not a number, or one that no sum of products of
/// bytes can be.
fn spoiled(operands: Operands) -> u8 {
    match operands {
        Operands::Int8 => 0x80,
        _ => 0xff,
    }
}

/// The largest error that rounding explains, as a share of the largest entry.
///
/// Integers have none. f32 sums of `size` products round each time, in the worst case, and entries
/// are rounded once more to their format; errors that are not all alike grow with the root of the
/// number of sums (Higham and Mary, *A New Approach to Probabilistic Rounding Error Analysis*, 2019),
/// which f32 is held to. For E4M3 the tensor cores of Hopper keep sums of 32
/// products at 14 bits (DeepSeek-AI, *DeepSeek-V3 Technical Report*, 2024, section 3.3.2).
fn tolerance(operands: Operands, size: usize) -> f64 {
    let n = size as f64;
    let of_sums = match operands {
        Operands::Int8 => 0.0,
        Operands::Fp8E4M3 => n / 32.0 * 2.0_f64.powi(-13),
        // Below what factors cut to TF32 are off by, so that f32 is found to be another product.
        Operands::F32 => 4.0 * n.sqrt() * f64::from(f32::EPSILON),
        _ => n * f64::from(f32::EPSILON),
    };
    let of_entries = match operands {
        Operands::F16 => 2.0_f64.powi(-11),
        Operands::BF16 | Operands::Fp8E4M3 => 2.0_f64.powi(-8),
        Operands::F32 | Operands::Tf32 | Operands::Int8 => 0.0,
    };
    of_sums + of_entries
}

impl Workload for DeviceGemm {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        self.context.set_bytes(self.matmul.y(), spoiled(self.operands))?;
        self.context.synchronize()
    }

    fn iterate(&mut self) -> Result<()> {
        self.matmul.multiply(&self.context)?;
        self.context.synchronize()
    }

    fn check(&mut self) -> Result<Check> {
        let (rows, columns) = self.sampled();
        let x: Vec<Vec<f64>> = rows.iter().map(|&row| self.row(self.x, row)).collect();
        let w: Vec<Vec<f64>> = columns.iter().map(|&column| self.row(self.w, column)).collect();
        let mut pairs = Vec::new();
        for (row, x) in rows.iter().zip(&x) {
            for (column, w) in columns.iter().zip(&w) {
                let wanted: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                pairs.push((self.entry(*row, *column)?, wanted));
            }
        }
        self.passes += 1;
        Ok(Check {
            reference: Reference::SampledEntries,
            values: pairs.len() as u64,
            error: relative_error(pairs.into_iter()),
            tolerance: tolerance(self.operands, self.size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spoils_a_product_is_no_entry_of_one() {
        for (name, operands) in Operands::NAMES {
            let spoiled = [spoiled(operands); 4];
            let n_bytes = factors(operands).result_bytes();
            let found = result_number(operands, &spoiled[..n_bytes]);
            match operands {
                Operands::Int8 => assert!(found < -127.0 * 127.0 * f64::from(1 << 16)),
                _ => assert!(found.is_nan(), "{name}"),
            }
            let error = relative_error([(found, 1000.0)].into_iter());
            assert!(error.is_nan() || error > 1.0, "{name}");
            assert_eq!(factors(operands).bytes() as u64, operands.stored_bytes());
        }
    }

    #[test]
    fn factors_cut_to_tf32_are_no_product_of_f32() {
        let cut = |x: f32| f32::from_bits((x.to_bits() + 0x1000) & 0xffff_e000);
        for size in [256, 2048] {
            let factors = [Stream::new(1, "gemm.x"), Stream::new(1, "gemm.w")];
            let dot = |line: usize, of: &dyn Fn(f32) -> f32| -> f64 {
                let product = |k: usize| {
                    let i = (line * size + k) as u64;
                    let [x, y] = factors.map(|factor| number(Operands::F32, factor, i));
                    f64::from(of(x)) * f64::from(of(y))
                };
                (0..size).map(product).sum()
            };
            let pairs: Vec<(f64, f64)> =
                (0..64).map(|line| (dot(line, &|x| x), dot(line, &cut))).collect();
            let largest = pairs.iter().map(|(exact, _)| exact.abs()).fold(0.0, f64::max);
            let error = pairs.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest;
            assert!(error > 2.0 * tolerance(Operands::F32, size), "{size}: {error}");
        }
    }

    #[test]
    fn tolerances_are_below_what_a_wrong_entry_is_off_by() {
        for (name, operands) in Operands::NAMES {
            let tolerance = tolerance(operands, 8192);
            assert!(tolerance < 0.04, "{name}");
            assert_eq!(tolerance == 0.0, operands == Operands::Int8, "{name}");
        }
    }
}
