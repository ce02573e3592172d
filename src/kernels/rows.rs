//! Operations on rows of activations between the products: RMSNorm, rotary embedding, and the
//! greatest of a row.

#![allow(unsafe_code)]

use crate::kernels::Instructions;
use crate::kernels::chunks::Chunks;
use crate::kernels::pool::{Pool, Team};
use crate::kernels::simd::{Kernel, Products, Simd, dispatch};

/// Numbers below which an operation is not worth a second thread.
const ALONE: usize = 1 << 14;

/// Runs `work` on ranges of `n_rows` rows of `width` numbers each, on as many threads as they
/// are worth.
fn in_parts(pool: &mut Pool, n_rows: usize, width: usize, work: &(dyn Fn(usize, usize) + Sync)) {
    let worth = (n_rows * width).div_ceil(ALONE);
    let n_parts = worth.min(4 * pool.n_threads()).clamp(1, n_rows.max(1));
    pool.run(Team::All, n_parts, &|part| {
        work(n_rows * part / n_parts, n_rows * (part + 1) / n_parts)
    });
}

/// RMSNorm (Zhang and Sennrich, 2019) of every row of `x (rows, width)` into `to`, where the width
/// is that of `weight`.
///
/// # Panics
/// If lengths do not fit, or this machine does not have `instructions`.
pub fn rms_norm(
    instructions: Instructions,
    pool: &mut Pool,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    to: &mut [f32],
) {
    let width = weight.len();
    assert!(x.len() == to.len() && x.len().is_multiple_of(width), "rows of {width}");
    let to = Chunks::new(to);
    in_parts(pool, x.len() / width, width, &|first, end| {
        // SAFETY: parts do not overlap.
        let to = unsafe { to.part(first * width..end * width) };
        let x = &x[first * width..end * width];
        let n_rows = end - first;
        dispatch(instructions, RmsNorm { n_rows, x: x.as_ptr(), weight, eps, to: to.as_mut_ptr() });
    });
}

/// The same in place, for heads of queries and keys.
///
/// # Panics
/// As [`rms_norm`].
pub fn rms_norm_in_place(instructions: Instructions, x: &mut [f32], weight: &[f32], eps: f32) {
    assert!(x.len().is_multiple_of(weight.len()), "rows of {}", weight.len());
    let (n_rows, to) = (x.len() / weight.len(), x.as_mut_ptr());
    dispatch(instructions, RmsNorm { n_rows, x: to, weight, eps, to });
}

struct RmsNorm<'a> {
    n_rows: usize,
    x: *const f32,
    weight: &'a [f32],
    eps: f32,
    /// Either elsewhere or where `x` is.
    to: *mut f32,
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    const PRODUCTS: Products = Products::Floats;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.weight.len();
        let whole = width / S::LANES * S::LANES;
        for row in 0..self.n_rows {
            // SAFETY: `dispatch` saw to the instructions; positions are inside of rows that are
            // there, and each is read before it is written.
            unsafe {
                let x = self.x.add(row * width);
                let mut squares = S::splat(0.0);
                for at in (0..whole).step_by(S::LANES) {
                    let x = S::load(x.add(at));
                    squares = S::multiply_add(x, x, squares);
                }
                let rest: f32 = (whole..width).map(|at| *x.add(at) * *x.add(at)).sum();
                let mean = (S::sum(squares) + rest) / width as f32;
                let scale = 1.0 / (mean + self.eps).sqrt();
                let to = self.to.add(row * width);
                for at in (0..whole).step_by(S::LANES) {
                    let scaled = S::mul(S::load(x.add(at)), S::splat(scale));
                    S::store(to.add(at), S::mul(scaled, S::load(self.weight.as_ptr().add(at))));
                }
                for at in whole..width {
                    *to.add(at) = *x.add(at) * scale * self.weight[at];
                }
            }
        }
    }
}

/// Some heads in rows of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Numbers in a row before the first head.
    pub offset: usize,
    /// Heads, one after another.
    pub n_heads: usize,
    /// The weight of an RMSNorm over each head before it is rotated, if there is one.
    pub norm: Option<&'a [f32]>,
}

/// Cosines and sines of the angles of every position, each `(positions, head_dim / 2)`.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
    /// Numbers of a head.
    pub head_dim: usize,
}

impl Rotary {
    /// Positions in the tables.
    pub fn n_positions(&self) -> usize {
        self.cos.len() / (self.head_dim / 2)
    }

    /// Normalises and rotates `heads` of every row of `rows`, which are `stride` apart. The rows
    /// are those of sequences of `n_tokens` that begin at position `start`.
    ///
    /// # Panics
    /// If a position or a head is not there, or this machine does not have `instructions`.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    pub fn apply(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        rows: &mut [f32],
        stride: usize,
        heads: &[Heads<'_>],
        (start, n_tokens): (usize, usize),
        eps: f32,
    ) {
        let (dim, half) = (self.head_dim, self.head_dim / 2);
        let n_rows = rows.len() / stride;
        let all = Chunks::new(rows);
        in_parts(pool, n_rows, stride, &|first, end| {
            for row in first..end {
                let position = start + row % n_tokens;
                let angles = position * half..(position + 1) * half;
                let (cos, sin) = (&self.cos[angles.clone()], &self.sin[angles]);
                for heads in heads {
                    let begin = row * stride + heads.offset;
                    // SAFETY: parts have rows of their own.
                    let numbers = unsafe { all.part(begin..begin + heads.n_heads * dim) };
                    if let Some(weight) = heads.norm {
                        rms_norm_in_place(instructions, numbers, weight, eps);
                    }
                    numbers.chunks_exact_mut(dim).for_each(|head| rotate(head, cos, sin));
                }
            }
        });
    }
}

/// Rotates the first half of a head against its second, as Hugging Face's weights expect, by
/// the angles whose cosines and sines are given (Su et al., *RoFormer*, 2021).
///
/// # Panics
/// If halves of `head` are not as long as `cos` and `sin`.
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    assert!(first.len() == second.len() && second.len() == sin.len(), "halves of a head");
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// The index of the greatest number of each row of `x (rows, width)`; of equal ones the first.
/// A row in which none compares greater than −∞ gives 0.
///
/// # Panics
/// If `x` has no whole rows, or this machine does not have `instructions`.
pub fn greatest(instructions: Instructions, pool: &mut Pool, x: &[f32], width: usize) -> Vec<u32> {
    assert!(x.len().is_multiple_of(width), "rows of {width}");
    const PART: usize = 1 << 12;
    let parts_per_row = width.div_ceil(PART);
    let n_parts = x.len() / width * parts_per_row;
    let mut found = vec![(f32::NEG_INFINITY, 0); n_parts];
    let slots = Chunks::new(&mut found);
    in_parts(pool, n_parts, PART, &|first, end| {
        for part in first..end {
            let begin = part % parts_per_row * PART;
            let row = &x[part / parts_per_row * width..][..width];
            let values = &row[begin..width.min(begin + PART)];
            let (value, index) = dispatch(instructions, Greatest { values });
            // SAFETY: each part has a slot of its own.
            unsafe { slots.part(part..part + 1)[0] = (value, begin + index) };
        }
    });
    let of_row = |parts: &[(f32, usize)]| {
        let first = (f32::NEG_INFINITY, 0);
        parts.iter().fold(first, |best, part| if part.0 > best.0 { *part } else { best }).1 as u32
    };
    found.chunks_exact(parts_per_row).map(of_row).collect()
}

struct Greatest<'a> {
    values: &'a [f32],
}

impl Kernel for Greatest<'_> {
    /// The greatest value and where it first stands.
    type Output = (f32, usize);

    const PRODUCTS: Products = Products::Floats;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (f32, usize) {
        let whole = self.values.len() / S::LANES * S::LANES;
        // SAFETY: `dispatch` saw to the instructions; positions are inside of the values.
        let mut greatest = unsafe {
            let mut greatest = S::splat(f32::NEG_INFINITY);
            for at in (0..whole).step_by(S::LANES) {
                greatest = S::max(S::load(self.values.as_ptr().add(at)), greatest);
            }
            S::greatest(greatest)
        };
        for &value in &self.values[whole..] {
            if value > greatest {
                greatest = value;
            }
        }
        (greatest, self.values.iter().position(|&value| value == greatest).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::drawn::drawn;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn norms_are_those_of_the_definition(n_rows in 1_usize..5, width in 1_usize..200) {
            let (x, weight) = (drawn("x", n_rows * width), drawn("weight", width));
            let wanted: Vec<f32> = x
                .chunks_exact(width)
                .flat_map(|row| {
                    let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                    let scale = 1.0 / (squares / width as f64 + 1e-5).sqrt();
                    row.iter()
                        .zip(&weight)
                        .map(move |(&x, &w)| (f64::from(x) * scale * f64::from(w)) as f32)
                })
                .collect();
            let mut pool = Pool::new(2).unwrap();
            for instructions in Instructions::available() {
                let mut to = vec![f32::NAN; x.len()];
                rms_norm(instructions, &mut pool, &x, &weight, 1e-5, &mut to);
                let mut in_place = x.clone();
                rms_norm_in_place(instructions, &mut in_place, &weight, 1e-5);
                prop_assert_eq!(&to, &in_place);
                for (found, wanted) in to.iter().zip(&wanted) {
                    prop_assert!((found - wanted).abs() <= 1e-5 * wanted.abs().max(1.0));
                }
            }
        }

        #[test]
        fn the_greatest_is_the_first_of_the_greatest(
            n_rows in 1_usize..3,
            width in 1_usize..9000,
        ) {
            // Few different values, so that there are equal ones.
            let x: Vec<f32> =
                drawn("x", n_rows * width).iter().map(|x| (x * 20.0).round() - 50.0).collect();
            let wanted: Vec<u32> = x
                .chunks_exact(width)
                .map(|row| {
                    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    row.iter().position(|&x| x == greatest).unwrap() as u32
                })
                .collect();
            let mut pool = Pool::new(2).unwrap();
            for instructions in Instructions::available() {
                prop_assert_eq!(greatest(instructions, &mut pool, &x, width), wanted.clone());
            }
        }
    }

    #[test]
    fn a_rotation_keeps_lengths_and_turns_by_its_angle() {
        let mut head = [1.0, 2.0, 0.0, 0.0];
        let (sin, cos): (Vec<f32>, Vec<f32>) = [0.5_f32, 2.0].iter().map(|a| a.sin_cos()).unzip();
        rotate(&mut head, &cos, &sin);
        assert_eq!(head, [cos[0], 2.0 * cos[1], sin[0], 2.0 * sin[1]]);
    }
}
