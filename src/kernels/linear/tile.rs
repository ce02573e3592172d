//! The innermost product: some rows of activations times one panel of weights, with the sums in
//! registers while the depth passes by.

#![allow(unsafe_code)]

use super::panel::PANEL;
use crate::kernels::simd::Simd;

/// Rows of the tallest tile of any instruction set.
pub(in crate::kernels) const ROWS_MAX: usize = 12;

/// Where a tile reads and writes.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Operands {
    /// Activations at the first position of the depth: 4-byte words, a float or a pair of bf16
    /// as the format's `dot` says.
    pub a: *const u32,
    /// A panel of weights at the same position.
    pub b: *const u8,
    /// Positions of the depth; whole steps of the format.
    pub depth: usize,
    /// The first sum; rows are `c_stride` floats apart, of 32 each.
    pub c: *mut f32,
    pub c_stride: usize,
    /// Add to what is there instead of overwriting it.
    pub accumulate: bool,
}

/// How words of activations lie: `row` words between rows, `depth` words between steps.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Spacing {
    pub row: usize,
    pub depth: usize,
}

/// A format of weights in panels, as the innermost loop sees it.
pub(in crate::kernels) trait Step {
    /// Positions of the depth in a step.
    const DEPTH: usize;
    /// Bytes of a panel in a step.
    const BYTES: usize;
    /// Whether activations are pairs of bf16, one word for a step, when a machine multiplies
    /// those; else they are one float for each position.
    const DOT: bool;

    /// Adds the products of one step to `sums`: rows of activations at `a` times the two vectors
    /// of weights that begin `column` columns into the panel's step at `b`.
    ///
    /// # Safety
    /// As [`tile`] asks.
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        b: *const u8,
        column: usize,
        sums: &mut [[S::V; 2]; ROWS],
    );
}

/// Words of a row of activations in a step of `F` on `S`.
#[inline(always)]
pub(in crate::kernels) const fn words_per_step<S: Simd, F: Step>() -> usize {
    if F::DOT && S::HAS_BF16_DOT { F::DEPTH / 2 } else { F::DEPTH }
}

/// `ROWS` rows of C.
///
/// # Safety
/// The machine has the instructions of `S`; activations and the panel reach over the depth, and
/// rows of C can be read and written.
#[inline(always)]
pub(in crate::kernels) unsafe fn tile<S: Simd, F: Step, const ROWS: usize>(
    operands: Operands,
    spacing: Spacing,
) {
    let Operands { a, b, depth, c, c_stride, accumulate } = operands;
    let a_step = spacing.depth * words_per_step::<S, F>();
    for column in (0..PANEL).step_by(2 * S::LANES) {
        // SAFETY: by the caller; columns end with the panel.
        unsafe {
            let mut sums = [[S::splat(0.0); 2]; ROWS];
            let (mut a, mut b) = (a, b);
            for _ in 0..depth / F::DEPTH {
                F::step::<S, ROWS>(a, spacing, b, column, &mut sums);
                a = a.add(a_step);
                b = b.add(F::BYTES);
            }
            for (row, sums) in sums.into_iter().enumerate() {
                for (i, sum) in sums.into_iter().enumerate() {
                    let c = c.add(row * c_stride + column + i * S::LANES);
                    S::store(c, if accumulate { S::add(S::load(c), sum) } else { sum });
                }
            }
        }
    }
}

/// [`tile`] for a number of rows that is known only now, from 1 to [`Simd::TILE_ROWS`].
///
/// # Safety
/// As [`tile`] asks.
#[inline(always)]
pub(in crate::kernels) unsafe fn tile_of_rows<S: Simd, F: Step>(
    rows: usize,
    operands: Operands,
    spacing: impl Fn(usize) -> Spacing,
) {
    macro_rules! by_rows {
        ($($rows:literal)*) => {
            match rows {
                // The condition is known when compiling, so tiles that do not fit are left out.
                // SAFETY: by the caller.
                $($rows if $rows <= S::TILE_ROWS => unsafe {
                    tile::<S, F, $rows>(operands, spacing($rows));
                },)*
                _ => unreachable!("no tile has {rows} rows"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// Adds to each row of sums an activation times two vectors of weights.
///
/// # Safety
/// As [`tile`] asks.
#[inline(always)]
unsafe fn add_products<S: Simd, const ROWS: usize>(
    a: *const u32,
    spacing: Spacing,
    b: [S::V; 2],
    sums: &mut [[S::V; 2]; ROWS],
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: by the caller.
        unsafe {
            let a = S::splat(*a.cast::<f32>().add(row * spacing.row));
            sums[0] = S::multiply_add(a, b[0], sums[0]);
            sums[1] = S::multiply_add(a, b[1], sums[1]);
        }
    }
}

/// f32: for each position of the depth 32 floats.
pub(in crate::kernels) struct F32;

impl Step for F32 {
    const DEPTH: usize = 1;
    const BYTES: usize = PANEL * 4;
    const DOT: bool = false;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        b: *const u8,
        column: usize,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        // SAFETY: by the caller.
        unsafe {
            let b = b.cast::<f32>().add(column);
            add_products::<S, ROWS>(a, spacing, [S::load(b), S::load(b.add(S::LANES))], sums);
        }
    }
}

/// f16, widened: for each position of the depth 32 of them.
pub(in crate::kernels) struct F16;

impl Step for F16 {
    const DEPTH: usize = 1;
    const BYTES: usize = PANEL * 2;
    const DOT: bool = false;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        b: *const u8,
        column: usize,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        // SAFETY: by the caller.
        unsafe {
            let b = b.cast::<u16>().add(column);
            let b = [S::load_f16(b), S::load_f16(b.add(S::LANES))];
            add_products::<S, ROWS>(a, spacing, b, sums);
        }
    }
}

/// bf16 in pairs: for each two positions of the depth 32 pairs. Multiplied as pairs where
/// activations may be rounded to bf16 and the machine can, else widened.
pub(in crate::kernels) struct Bf16<const DOT: bool>;

impl<const DOT: bool> Step for Bf16<DOT> {
    const DEPTH: usize = 2;
    const BYTES: usize = PANEL * 4;
    const DOT: bool = DOT;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        b: *const u8,
        column: usize,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        // SAFETY: by the caller.
        unsafe {
            let b = b.cast::<u16>().add(2 * column);
            if DOT && S::HAS_BF16_DOT {
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = a.add(row * spacing.row).cast::<u16>();
                    sums[0] = S::dot_bf16(a, b, sums[0]);
                    sums[1] = S::dot_bf16(a, b.add(2 * S::LANES), sums[1]);
                }
                return;
            }
            let (even0, odd0) = S::load_bf16_pairs(b);
            let (even1, odd1) = S::load_bf16_pairs(b.add(2 * S::LANES));
            add_products::<S, ROWS>(a, spacing, [even0, even1], sums);
            add_products::<S, ROWS>(a.add(spacing.depth), spacing, [odd0, odd1], sums);
        }
    }
}
