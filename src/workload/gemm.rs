//! The probe of arithmetic: a square matrix product.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::kernels::{Element, Gemm, GemmShape, Instructions};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::{FromF32, Stream};

/// Entries looked at after each pass.
const N_SAMPLES: u64 = 64;

/// `C = A·B` of random factors, on all threads of the current pool.
#[derive(Debug)]
pub struct GemmProbe<T> {
    size: usize,
    kernel: Gemm,
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<f32>,
    samples: Stream,
    passes: u64,
    /// Whether the whole product was looked at in this round.
    is_whole_checked: bool,
}

impl<T: Element + FromF32 + Into<f64>> GemmProbe<T> {
    /// Draws the factors.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory.
    pub fn new(size: u32, seed: u64) -> Result<Self> {
        let size = size as usize;
        let shape = GemmShape { m: size, n: size, k: size };
        let kernel = Gemm::new(Instructions::detect(), shape)
            .map_err(Error::engine("allocating a matrix product"))?;
        let factor = |name| Stream::new(seed, name).bells::<T>(size * size, 0.0, 1.0);
        Ok(Self {
            size,
            kernel,
            a: factor("gemm.a"),
            b: factor("gemm.b"),
            c: vec![f32::NAN; size * size],
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
        self.kernel.instructions().name()
    }

    /// The entries looked at after the pass under way.
    fn sampled(&self) -> impl Iterator<Item = usize> + use<T> {
        let (samples, first) = (self.samples, self.passes * N_SAMPLES);
        let n_entries = (self.size * self.size) as u32;
        (0..N_SAMPLES).map(move |i| samples.below(first + i, n_entries) as usize)
    }

    fn entry(&self, index: usize) -> f64 {
        let (row, column) = (index / self.size, index % self.size);
        let factors = self.a[row * self.size..].iter().take(self.size);
        factors
            .zip(self.b[column..].iter().step_by(self.size))
            .map(|(&a, &b)| a.into() * b.into())
            .sum()
    }

    /// Rounding of sums of `size` products in f32, in the worst case.
    fn tolerance(&self) -> f64 {
        self.size as f64 * f64::from(f32::EPSILON)
    }

    /// Freivalds' test of the whole product: `C·x` against `A·(B·x)` for a random x of ±1.
    fn whole_product_error(&self) -> f64 {
        let signs = Stream::new(self.passes, "gemm.signs");
        let x: Vec<f64> = (0..self.size as u64)
            .map(|i| if signs.bits(i) & 1 == 0 { 1.0 } else { -1.0 })
            .collect();
        let bx = self.rows_times(&self.b, &x);
        let abx = self.rows_times(&self.a, &bx);
        let cx = self.rows_times(&self.c, &x);
        relative_error(cx.iter().copied().zip(abx))
    }

    fn rows_times<U: Copy + Into<f64> + Sync>(&self, matrix: &[U], x: &[f64]) -> Vec<f64> {
        matrix
            .par_chunks_exact(self.size)
            .map(|row| row.iter().zip(x).map(|(&m, x)| m.into() * x).sum())
            .collect()
    }
}

/// The largest difference as a share of the largest wanted value; not a number if any is not.
fn relative_error(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
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

impl<T: Element + FromF32 + Into<f64>> Workload for GemmProbe<T> {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        // What the pass does not write stays what it must not be.
        for index in self.sampled() {
            self.c[index] = f32::NAN;
        }
        Ok(())
    }

    fn iterate(&mut self) -> Result<()> {
        self.kernel.run(&self.a, &self.b, &mut self.c);
        Ok(())
    }

    fn check(&mut self) -> Result<Check> {
        let whole = if self.is_whole_checked { 0.0 } else { self.whole_product_error() };
        self.is_whole_checked = true;
        let entries = self.sampled().map(|i| (f64::from(self.c[i]), self.entry(i)));
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
    use half::{bf16, f16};

    fn right_and_wrong<T: Element + FromF32 + Into<f64>>() {
        let mut probe = GemmProbe::<T>::new(70, 3).unwrap();
        for _ in 0..2 {
            probe.reset().unwrap();
            probe.iterate().unwrap();
            probe.check().unwrap().passed().unwrap();
        }
        // A pass that does nothing leaves what it was to overwrite.
        probe.reset().unwrap();
        assert!(probe.check().unwrap().passed().is_err());
        // One wrong entry shows in the first look at the whole product.
        let mut probe = GemmProbe::<T>::new(70, 3).unwrap();
        probe.iterate().unwrap();
        probe.c[1234] += 0.5;
        assert!(probe.check().unwrap().passed().is_err());
        // And in that of every later round.
        probe.iterate().unwrap();
        probe.c[1234] += 0.5;
        assert!(probe.check().unwrap().passed().is_ok());
        probe.begin_round();
        assert!(probe.check().unwrap().passed().is_err());
    }

    #[test]
    fn products_of_every_format_are_checked() {
        right_and_wrong::<f32>();
        right_and_wrong::<f16>();
        right_and_wrong::<bf16>();
    }
}
