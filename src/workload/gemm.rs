//! The probe of arithmetic: a square matrix product.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::case::Operands;
use crate::error::{Error, Result};
use crate::kernels::linear::{
    BlockFormat, FloatFormat, Linear, Outputs, Rows, Scratch, Store, WeightFormat,
};
use crate::kernels::memory::Buffer;
use crate::kernels::{Instructions, Pool};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;

/// Entries looked at after each pass.
const N_SAMPLES: u64 = 64;

/// `Y = X·Wᵀ` of random factors, on all threads of the current pool, by the kernels that models
/// are computed with. Both factors are packed beforehand, since a ceiling is what the arithmetic
/// reaches; models pack theirs of activations on every pass.
#[derive(Debug)]
pub struct GemmProbe {
    size: usize,
    instructions: Instructions,
    linear: Linear,
    x: Vec<f32>,
    w: Vec<f32>,
    /// In memory that begins with a line of the cache and has few pages: what a pass takes to write
    /// it is a part of what the probe measures.
    y: Buffer,
    /// X, as products read it.
    packed: Scratch,
    samples: Stream,
    passes: u64,
    /// Whether the whole product was looked at in this round.
    is_whole_checked: bool,
}

impl GemmProbe {
    /// Draws the factors and packs them.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory, [`Error::BadValue`] for a format that the processor
    /// does not multiply.
    pub fn new(operands: Operands, size: u32, seed: u64) -> Result<Self> {
        let size = size as usize;
        let factor = |name| {
            let stream = Stream::new(seed, name);
            (0..(size * size) as u64).into_par_iter().map(|i| number(operands, stream, i)).collect()
        };
        let (x, w): (Vec<f32>, Vec<f32>) = (factor("gemm.x"), factor("gemm.w"));
        let format = format_of(operands).ok_or_else(|| Error::BadValue {
            flag: "--dtype",
            value: operands.to_string(),
            problem: "the processor has no product of it".into(),
        })?;
        let pack = |rows| {
            Pool::with_current(|pool| {
                Linear::pack(pool, &[rows], None, size, Outputs::Stacked, format)
            })
        };
        let linear = match operands {
            Operands::F16 => {
                let halves: Vec<f16> = w.par_iter().map(|&w| f16::from_f32(w)).collect();
                pack(Rows::F16(&halves))
            }
            Operands::BF16 => {
                let halves: Vec<bf16> = w.par_iter().map(|&w| bf16::from_f32(w)).collect();
                pack(Rows::Bf16(&halves))
            }
            _ => pack(Rows::F32(&w)),
        };
        let linear = linear.map_err(Error::engine("allocating a matrix product"))?;
        let (instructions, mut packed) = (Instructions::detect(), Scratch::default());
        Pool::with_current(|pool| linear.pack_activations(instructions, pool, &mut packed, &x));
        let mut y = Buffer::new((size * size).div_ceil(2))
            .map_err(Error::engine("allocating a matrix product"))?;
        y.as_f32_mut_slice().fill(f32::NAN);
        Ok(Self {
            size,
            instructions,
            linear,
            x,
            w,
            y,
            packed,
            samples: Stream::new(seed, "gemm.samples"),
            passes: 0,
            is_whole_checked: false,
        })
    }

    /// A new round on the memory of those before: the whole product is looked at once more.
    pub fn begin_round(&mut self) {
        self.is_whole_checked = false;
    }

    /// The instruction set that runs.
    pub fn kernel(&self) -> &'static str {
        self.linear.instructions(self.instructions).name()
    }

    /// The product, row by row.
    fn y(&self) -> &[f32] {
        &self.y.as_f32_slice()[..self.size * self.size]
    }

    /// The entries looked at after the pass under way.
    fn sampled(&self) -> impl Iterator<Item = usize> + use<> {
        let (samples, first) = (self.samples, self.passes * N_SAMPLES);
        let n_entries = (self.size * self.size) as u32;
        (0..N_SAMPLES).map(move |i| samples.below(first + i, n_entries) as usize)
    }

    fn entry(&self, index: usize) -> f64 {
        let (row, column) = (index / self.size, index % self.size);
        let row_of = |matrix: &'_ [f32], i: usize| -> Vec<f64> {
            matrix[i * self.size..][..self.size].iter().map(|&v| v.into()).collect()
        };
        row_of(&self.x, row).iter().zip(row_of(&self.w, column)).map(|(x, w)| x * w).sum()
    }

    /// Rounding of sums of `size` products in f32, in the worst case.
    fn tolerance(&self) -> f64 {
        self.size as f64 * f64::from(f32::EPSILON)
    }

    /// Freivalds' test of the whole product: `Y·s` against `X·(Wᵀ·s)` for a random s of ±1.
    fn whole_product_error(&self) -> f64 {
        let signs = Stream::new(self.passes, "gemm.signs");
        let s: Vec<f64> = (0..self.size as u64)
            .map(|i| if signs.bits(i) & 1 == 0 { 1.0 } else { -1.0 })
            .collect();
        // Wᵀ·s is the sum of the rows of W, each with its sign.
        let ws = self.w.par_chunks_exact(self.size).zip(&s).fold(
            || vec![0.0; self.size],
            |mut sum, (row, s)| {
                sum.iter_mut().zip(row).for_each(|(sum, &w)| *sum += f64::from(w) * s);
                sum
            },
        );
        let ws = ws.reduce(
            || vec![0.0; self.size],
            |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            },
        );
        let wanted = self.rows_times(&self.x, &ws);
        let found = self.rows_times(self.y(), &s);
        relative_error(found.iter().copied().zip(wanted))
    }

    fn rows_times(&self, matrix: &[f32], vector: &[f64]) -> Vec<f64> {
        matrix
            .par_chunks_exact(self.size)
            .map(|row| row.iter().zip(vector).map(|(&m, v)| f64::from(m) * v).sum())
            .collect()
    }
}

/// How the processor holds weights of a number format; absent where it has no product of it.
fn format_of(operands: Operands) -> Option<WeightFormat> {
    match operands {
        Operands::F32 => Some(WeightFormat::Float(FloatFormat::F32)),
        Operands::F16 => Some(WeightFormat::Float(FloatFormat::F16)),
        Operands::BF16 => Some(WeightFormat::Float(FloatFormat::Bf16)),
        Operands::Int8 => Some(WeightFormat::Blocks(BlockFormat::Int8)),
        Operands::Tf32 | Operands::Fp8E4M3 => None,
    }
}

/// Operations of a core in a cycle, at most, by the kernel that multiplies a number format here; 0
/// where there is none.
pub fn flops_per_cycle(operands: Operands) -> u32 {
    format_of(operands).map_or(0, |format| format.flops_per_cycle(Instructions::detect()))
}

/// Number `i` of a random factor, which the format has without rounding.
pub(super) fn number(operands: Operands, stream: Stream, i: u64) -> f32 {
    match operands {
        Operands::F32 => stream.bell(i, 0.0, 1.0),
        Operands::Tf32 => f32::from_bits(stream.bell(i, 0.0, 1.0).to_bits() & TF32_MASK),
        Operands::F16 => f16::from_f32(stream.bell(i, 0.0, 1.0)).to_f32(),
        Operands::BF16 => bf16::from_f32(stream.bell(i, 0.0, 1.0)).to_f32(),
        Operands::Fp8E4M3 => e4m3(stream.bits(i)),
        Operands::Int8 => stream.below(i, 255) as f32 - 127.0,
    }
}

/// The bits of an f32 that a product of TF32 looks at: sign, exponent and 10 of the mantissa.
const TF32_MASK: u32 = 0xffff_e000;

/// A number of E4M3 from random bits: of both signs, from a quarter up to almost four.
fn e4m3(bits: u64) -> f32 {
    let mantissa = 1.0 + (bits & 7) as f32 / 8.0;
    let size = mantissa * [0.25, 0.5, 1.0, 2.0][(bits >> 8 & 3) as usize];
    if bits & 0x80 == 0 { size } else { -size }
}

/// The largest difference as a share of the largest wanted value; not a number if any is not.
pub(super) fn relative_error(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut difference, mut scale) = (0.0_f64, 0.0_f64);
    for (found, wanted) in pairs {
        if !found.is_finite() {
            return f64::NAN;
        }
        difference = difference.max((found - wanted).abs());
        scale = scale.max(wanted.abs());
    }
    difference / scale
}

impl Workload for GemmProbe {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        // What the pass does not write stays what it must not be.
        for index in self.sampled() {
            self.y.as_f32_mut_slice()[index] = f32::NAN;
        }
        Ok(())
    }

    fn iterate(&mut self) -> Result<()> {
        let Self { size, instructions, linear, packed, y, .. } = self;
        let y = &mut y.as_f32_mut_slice()[..*size * *size];
        Pool::with_current(|pool| {
            linear.multiply_packed(*instructions, pool, packed, y, Store::Overwrite);
        });
        Ok(())
    }

    fn check(&mut self) -> Result<Check> {
        let whole = if self.is_whole_checked { 0.0 } else { self.whole_product_error() };
        self.is_whole_checked = true;
        let entries = self.sampled().map(|i| (f64::from(self.y()[i]), self.entry(i)));
        let entries = relative_error(entries);
        self.passes += 1;
        Ok(Check {
            reference: Reference::ProductEntries,
            values: N_SAMPLES,
            // The larger one, and not a number if either is not.
            error: if whole > entries || whole.is_nan() { whole } else { entries },
            tolerance: self.tolerance(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::DeviceSpec;

    #[test]
    fn products_of_every_format_are_checked() {
        for operands in Operands::of_device(DeviceSpec::Cpu) {
            let name = operands.name();
            let probe = || GemmProbe::new(operands, 70, 3).unwrap();
            let mut right = probe();
            for _ in 0..2 {
                right.reset().unwrap();
                right.iterate().unwrap();
                right.check().unwrap().passed().unwrap();
            }
            // A pass that does nothing leaves what it was to overwrite.
            right.reset().unwrap();
            assert!(right.check().unwrap().passed().is_err(), "{name}");
            // One wrong entry shows in the first look at the whole product.
            let mut wrong = probe();
            let scale = 1e-3 * wrong.x.iter().fold(0.0_f32, |max, x| max.max(x.abs())).powi(2);
            wrong.iterate().unwrap();
            wrong.y.as_f32_mut_slice()[1234] += 100.0 * scale;
            assert!(wrong.check().unwrap().passed().is_err(), "{name}");
            // And in that of every later round.
            wrong.iterate().unwrap();
            wrong.y.as_f32_mut_slice()[1234] += 100.0 * scale;
            assert!(wrong.check().unwrap().passed().is_ok(), "{name}");
            wrong.begin_round();
            assert!(wrong.check().unwrap().passed().is_err(), "{name}");
        }
    }
}
