//! Matrix products near the limit of a machine's multiply-add units.
//!
//! Both matrices are first copied into panels (`pack.rs`), shared by all threads; then blocks of
//! C, each worked on by one thread alone from the first to the last step of the depth, are
//! multiplied tile by tile (`tile.rs`). Between the two phases stands the only wait. The cutting
//! into register tiles, cache blocks and panels is that of Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.

#![allow(unsafe_code)]

mod element;
mod pack;
mod prefetch;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use rayon::prelude::*;

pub use self::element::Element;
use self::pack::{Matrix, STEP};
use self::tile::{Operands, TILE_MAX, Tile};
use crate::kernels::Instructions;
use crate::kernels::memory::Buffer;

/// Rows, columns and depth that are packed at a time: two buffers of at most 64 MiB each.
const PACKED_MAX: usize = 4096;
/// Rows and columns of C that one task computes: a step of A's part of it (192 KiB) stays in a
/// core's second cache.
const ROWS_MAX: usize = 256;
const COLUMNS_MAX: usize = 256;
/// Tasks per thread that even out threads of different speed.
const TASKS_PER_THREAD: usize = 16;

/// The extent of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmShape {
    /// Rows of A and of C.
    pub m: usize,
    /// Columns of B and of C.
    pub n: usize,
    /// Columns of A and rows of B.
    pub k: usize,
}

/// `C (m×n) = A (m×k) · B (k×n)`: row-major, dense, accumulated in f32, on all threads of the
/// current rayon pool.
///
/// f16 and bf16 are widened to f32 while packing and multiplied as f32, so every format computes
/// at the rate of f32. Memory for packing is kept from one [`Gemm::run`] to the next.
#[derive(Debug)]
pub struct Gemm {
    instructions: Instructions,
    tile: Tile,
    shape: GemmShape,
    packed_a: Buffer,
    packed_b: Buffer,
}

impl Gemm {
    /// Takes memory for products of `shape`: at most 128 MiB, filled by the first run.
    ///
    /// # Errors
    /// If the system refuses the memory.
    ///
    /// # Panics
    /// If this machine does not have `instructions`.
    pub fn new(instructions: Instructions, shape: GemmShape) -> std::io::Result<Self> {
        let tile = Tile::new(instructions);
        let GemmShape { m, n, k } = shape;
        let depth = part_max(k, PACKED_MAX, STEP);
        // A word holds two floats.
        let words = |across: usize, width: usize| {
            (part_max(across, PACKED_MAX, width).next_multiple_of(width) * depth).div_ceil(2)
        };
        let packed_a = Buffer::new(words(m, tile.rows))?;
        let packed_b = Buffer::new(words(n, tile.columns))?;
        Ok(Self { instructions, tile, shape, packed_a, packed_b })
    }

    /// The instructions this product runs with.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// The extent of the product.
    pub fn shape(&self) -> GemmShape {
        self.shape
    }

    /// Overwrites `c` (m×n) with `a` (m×k) times `b` (k×n).
    ///
    /// # Panics
    /// If a slice does not have the length that the shape says.
    pub fn run<T: Element>(&mut self, a: &[T], b: &[T], c: &mut [f32]) {
        let GemmShape { m, n, k } = self.shape;
        assert_eq!(Some(a.len()), m.checked_mul(k), "A is not {m}×{k}");
        assert_eq!(Some(b.len()), k.checked_mul(n), "B is not {k}×{n}");
        assert_eq!(Some(c.len()), m.checked_mul(n), "C is not {m}×{n}");
        if k == 0 {
            c.fill(0.0);
        }
        let (a, b) = (Matrix { elements: a, columns: k }, Matrix { elements: b, columns: n });
        let (tile_rows, tile_columns) = (self.tile.rows, self.tile.columns);
        let (pack_a, pack_b): (Pack<T>, Pack<T>) = match (tile_rows, tile_columns) {
            (3, 32) => (pack::pack_rows::<T, 3>, pack::pack_columns::<T, 32>),
            (4, 8) => (pack::pack_rows::<T, 4>, pack::pack_columns::<T, 8>),
            (8, 8) => (pack::pack_rows::<T, 8>, pack::pack_columns::<T, 8>),
            (12, 32) => (pack::pack_rows::<T, 12>, pack::pack_columns::<T, 32>),
            tile => unreachable!("no tile is {tile:?}"),
        };
        for columns in parts(0..n, PACKED_MAX, tile_columns) {
            for depth in parts(0..k, PACKED_MAX, STEP) {
                for rows in parts(0..m, PACKED_MAX, tile_rows) {
                    let packed_a = self.packed_a.as_f32_mut_slice();
                    let packed_b = self.packed_b.as_f32_mut_slice();
                    rayon::join(
                        || pack_a(a, &rows, &depth, packed_a),
                        || {
                            // Later rows meet the same part of B.
                            if rows.start == 0 {
                                pack_b(b, &columns, &depth, packed_b);
                            }
                        },
                    );
                    let product = Product {
                        tile: self.tile,
                        a: self.packed_a.as_f32_slice(),
                        b: self.packed_b.as_f32_slice(),
                        rows,
                        columns: columns.clone(),
                        depth: depth.clone(),
                    };
                    product.run(c, n);
                }
            }
        }
    }
}

/// Packs a block (rows or columns, depth) of a matrix.
type Pack<T> = fn(Matrix<'_, T>, &Range<usize>, &Range<usize>, &mut [f32]);

/// The product of what is packed.
struct Product<'a> {
    tile: Tile,
    a: &'a [f32],
    b: &'a [f32],
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
}

/// The first element of C. Threads write to parts of C that do not overlap.
#[derive(Clone, Copy)]
struct Destination {
    c: *mut f32,
    stride: usize,
}

// SAFETY: a pointer to floats that `Product::run` borrows for as long as the threads work, each
// on elements of its own.
unsafe impl Send for Destination {}
// SAFETY: as above.
unsafe impl Sync for Destination {}

impl Product<'_> {
    /// Writes, or from the second part of the depth on adds, the block of `c`, whose rows have
    /// `stride` elements.
    fn run(&self, c: &mut [f32], stride: usize) {
        assert!(self.rows.end * stride <= c.len() && self.columns.end <= stride);
        let destination = Destination { c: c.as_mut_ptr(), stride };
        let (mut rows_max, mut columns_max) = (ROWS_MAX, COLUMNS_MAX);
        let n_tasks = |rows_max: usize, columns_max: usize| {
            self.rows.len().div_ceil(rows_max) * self.columns.len().div_ceil(columns_max)
        };
        while n_tasks(rows_max, columns_max) < TASKS_PER_THREAD * rayon::current_num_threads()
            && rows_max.min(columns_max) > 48
        {
            *if rows_max > columns_max { &mut rows_max } else { &mut columns_max } /= 2;
        }
        let mut tasks = Vec::new();
        for rows in parts(self.rows.clone(), rows_max, self.tile.rows) {
            for columns in parts(self.columns.clone(), columns_max, self.tile.columns) {
                tasks.push((rows.clone(), columns));
            }
        }
        tasks.into_par_iter().with_max_len(1).for_each(|(rows, columns)| {
            // SAFETY: `parts` cuts rows and columns without overlap, and all of them lie in `c`
            // by the assertion above.
            unsafe { self.block(&rows, &columns, destination) };
        });
    }

    /// One task: the block `rows` × `columns` of C over all of the depth.
    ///
    /// # Safety
    /// The block lies in C and nobody else uses it.
    unsafe fn block(&self, rows: &Range<usize>, columns: &Range<usize>, to: Destination) {
        let Tile { rows: tile_rows, columns: tile_columns, .. } = self.tile;
        let padded_rows = self.rows.len().next_multiple_of(tile_rows);
        let padded_columns = self.columns.len().next_multiple_of(tile_columns);
        for begin in (0..self.depth.len()).step_by(STEP) {
            let depth = STEP.min(self.depth.len() - begin);
            let accumulate = self.depth.start + begin > 0;
            for column in columns.clone().step_by(tile_columns) {
                let across = column - self.columns.start;
                let (b, after) = self.b[begin * padded_columns + across * depth..]
                    .split_at(tile_columns * depth);
                let across = rows.start - self.rows.start;
                let a = &self.a[begin * padded_rows + across * depth..]
                    [..rows.len().next_multiple_of(tile_rows) * depth];
                let n_tiles = rows.len().div_ceil(tile_rows);
                let operands = Operands {
                    depth,
                    n_tiles,
                    a: a.as_ptr(),
                    b: b.as_ptr(),
                    // SAFETY: row and column lie in C.
                    c: unsafe { to.c.add(rows.start * to.stride + column) },
                    c_stride: to.stride,
                    accumulate,
                    // After a panel comes, most often, the next that this task uses.
                    ahead: after.as_ptr(),
                    ahead_lines_per_tile: b.len().div_ceil(16 * n_tiles),
                };
                let n_columns = tile_columns.min(columns.end - column);
                // SAFETY: the panels are as long as `Operands` says, and so many rows and columns
                // of C exist and are this task's.
                unsafe { self.column(operands, rows.len(), n_columns) };
            }
        }
    }

    /// A column of tiles, of which `n_rows` × `n_columns` elements of C exist.
    ///
    /// # Safety
    /// As [`Tile::multiply`] asks, but for elements of C that do not exist.
    unsafe fn column(&self, mut operands: Operands, n_rows: usize, n_columns: usize) {
        let Tile { rows, columns, multiply } = self.tile;
        let n_whole = if n_columns == columns { n_rows / rows } else { 0 };
        // SAFETY: these tiles exist in full; `Tile::new` saw to the instructions.
        unsafe { multiply(Operands { n_tiles: n_whole, ..operands }) };
        operands = operands.below(n_whole * rows);
        for first in (n_whole * rows..n_rows).step_by(rows) {
            // SAFETY: by the caller.
            unsafe { self.part(operands, rows.min(n_rows - first), n_columns) };
            operands = operands.below(rows);
        }
    }

    /// One tile, of which `n_rows` × `n_columns` elements of C exist.
    ///
    /// # Safety
    /// As [`Tile::multiply`] asks, but for elements of C that do not exist.
    unsafe fn part(&self, operands: Operands, n_rows: usize, n_columns: usize) {
        let Tile { columns, multiply, .. } = self.tile;
        let mut whole = [0.0; TILE_MAX];
        let Operands { c, c_stride, accumulate, .. } = operands;
        let c_whole = whole.as_mut_ptr();
        // SAFETY: as the caller says, with a tile of our own, which none is larger than.
        unsafe {
            multiply(Operands {
                n_tiles: 1,
                c: c_whole,
                c_stride: columns,
                accumulate: false,
                ..operands
            });
        }
        for (row, whole) in whole.chunks_exact(columns).take(n_rows).enumerate() {
            // SAFETY: this part of the row exists, and nobody else uses it.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * c_stride), n_columns) };
            for (c, sum) in c.iter_mut().zip(whole) {
                *c = if accumulate { *c + sum } else { *sum };
            }
        }
    }
}

/// Cuts `range` into as few parts of at most `max` as possible, of about the same length; all
/// but the last are a multiple of `unit`.
fn parts(range: Range<usize>, max: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let length = part_max(range.len(), max, unit).max(1);
    range.clone().step_by(length).map(move |begin| begin..range.end.min(begin + length))
}

/// The length of the longest of the [`parts`] of `length`.
fn part_max(length: usize, max: usize, unit: usize) -> usize {
    let n_parts = length.div_ceil(max).max(1);
    if n_parts == 1 { length } else { length.div_ceil(n_parts).next_multiple_of(unit) }
}
