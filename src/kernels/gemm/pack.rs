//! Copying matrices into the order in which a tile reads them.
//!
//! The depth is cut into steps. Packed memory holds step after step, in a step panel after panel
//! (a tile's rows of A, or a tile's columns of B), and in a panel one group of a tile's rows or
//! columns for each position of the depth: a tile reads both from front to back. What the last
//! panel lacks is zero.

use std::ops::Range;

use rayon::prelude::*;

use super::element::Element;
use super::prefetch::prefetch;

/// Depth of one step: a panel of B of this depth (24 KiB with 32 columns) stays in a core's first
/// cache while the panels of A pass by.
pub(super) const STEP: usize = 192;

/// Rows or columns that one task packs: enough to read whole cache lines and pages.
const GROUP: usize = 256;

/// Rows of B that are asked for before they are packed.
const ROWS_AHEAD: usize = 4;

/// A row-major matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub elements: &'a [T],
    pub columns: usize,
}

impl<'a, T> Matrix<'a, T> {
    fn row(self, row: usize, columns: &Range<usize>) -> &'a [T] {
        &self.elements[row * self.columns..][..self.columns][columns.clone()]
    }
}

/// One task: `across` (rows of A, columns of B) and `depth` of the matrix, and where they go.
struct Chunk<'a> {
    across: Range<usize>,
    depth: Range<usize>,
    packed: &'a mut [f32],
}

/// Packs the block `rows` × `depth` of A into panels of `WIDTH` rows.
pub(super) fn pack_rows<T: Element, const WIDTH: usize>(
    a: Matrix<'_, T>,
    rows: &Range<usize>,
    depth: &Range<usize>,
    packed: &mut [f32],
) {
    chunks(rows, depth, WIDTH, packed).into_par_iter().for_each(|chunk| {
        let length = chunk.depth.len();
        let mut room = [[0.0; STEP]; WIDTH];
        let panels = chunk.packed.chunks_exact_mut(WIDTH * length);
        for (first, packed) in chunk.across.clone().step_by(WIDTH).zip(panels) {
            for row in (first + WIDTH..chunk.across.end).take(WIDTH) {
                prefetch(a.row(row, &chunk.depth));
            }
            let mut rows = [&[][..]; WIDTH];
            for ((row, values), room) in (first..).zip(&mut rows).zip(&mut room) {
                *values = if row < chunk.across.end {
                    T::widened(a.row(row, &chunk.depth), &mut room[..length])
                } else {
                    &[0.0; STEP][..length]
                };
            }
            interleave(rows, packed);
        }
    });
}

/// Writes the first values of all rows, then the second ones, and so on.
fn interleave<const WIDTH: usize>(rows: [&[f32]; WIDTH], packed: &mut [f32]) {
    let groups = packed.as_chunks_mut::<WIDTH>().0;
    // Spares the loop its checks.
    let rows = rows.map(|row| &row[..groups.len()]);
    for position in 0..groups.len() {
        groups[position] = std::array::from_fn(|row| rows[row][position]);
    }
}

/// Packs the block `depth` × `columns` of B into panels of `WIDTH` columns.
pub(super) fn pack_columns<T: Element, const WIDTH: usize>(
    b: Matrix<'_, T>,
    columns: &Range<usize>,
    depth: &Range<usize>,
    packed: &mut [f32],
) {
    chunks(columns, depth, WIDTH, packed).into_par_iter().for_each(|chunk| {
        let panel = WIDTH * chunk.depth.len();
        for (position, row) in chunk.depth.clone().enumerate() {
            if row + ROWS_AHEAD < chunk.depth.end {
                prefetch(b.row(row + ROWS_AHEAD, &chunk.across));
            }
            let row = b.row(row, &chunk.across);
            for (packed, values) in chunk.packed.chunks_exact_mut(panel).zip(row.chunks(WIDTH)) {
                let to = &mut packed[position * WIDTH..][..WIDTH];
                // Nearly always so, and then the compiler knows the length.
                if let Some(values) = values.first_chunk::<WIDTH>() {
                    T::widen(values, to);
                } else {
                    let (to, missing) = to.split_at_mut(values.len());
                    T::widen(values, to);
                    missing.fill(0.0);
                }
            }
        }
    });
}

/// Cuts a block into tasks of one step and at most [`GROUP`] rows or columns.
fn chunks<'a>(
    across: &Range<usize>,
    depth: &Range<usize>,
    width: usize,
    packed: &'a mut [f32],
) -> Vec<Chunk<'a>> {
    let group = GROUP / width * width;
    let mut rest = packed;
    let mut chunks = Vec::new();
    for step in depth.clone().step_by(STEP) {
        let step = step..depth.end.min(step + STEP);
        for first in across.clone().step_by(group) {
            let across = first..across.end.min(first + group);
            let length = across.len().next_multiple_of(width) * step.len();
            let (packed, after) = rest.split_at_mut(length);
            rest = after;
            chunks.push(Chunk { across, depth: step.clone(), packed });
        }
    }
    chunks
}
