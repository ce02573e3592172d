//! The innermost product: one tile of C, held in registers while the depth passes by.

#![allow(unsafe_code)]

use crate::kernels::Instructions;

/// Floats of the largest tile of any instruction set.
pub(super) const TILE_MAX: usize = 12 * 32;

/// Where a column of tiles reads and writes. Many tiles in one call, since entering a call takes
/// as long as a noticeable part of a tile.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub depth: usize,
    /// Tiles, one below the other.
    pub n_tiles: usize,
    /// A panel of A for each tile: for each position of the depth as many floats as it has rows.
    pub a: *const f32,
    /// A panel of B: for each position of the depth as many floats as a tile has columns.
    pub b: *const f32,
    /// The first tile's first element of C, whose rows are `c_stride` floats apart.
    pub c: *mut f32,
    pub c_stride: usize,
    /// Add to C instead of overwriting it.
    pub accumulate: bool,
    /// What to fetch into the second cache meanwhile, a part with each tile; any address will do.
    pub ahead: *const f32,
    pub ahead_lines_per_tile: usize,
}

impl Operands {
    /// The same one tile further down.
    #[inline]
    pub fn below(self, rows: usize) -> Self {
        Self {
            a: self.a.wrapping_add(rows * self.depth),
            c: self.c.wrapping_add(rows * self.c_stride),
            ahead: self.ahead.wrapping_add(16 * self.ahead_lines_per_tile),
            ..self
        }
    }
}

/// A tile's extent and the code for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub rows: usize,
    pub columns: usize,
    /// # Safety
    /// The machine has the instructions of the tile, what `Operands` says of A and B can be read,
    /// and all of the tiles of C can be read and written.
    pub multiply: unsafe fn(Operands),
}

impl Tile {
    /// The tile of `instructions`, which this machine must have.
    pub fn new(instructions: Instructions) -> Self {
        instructions.assert_available();
        match instructions {
            // 24 sums, 2 vectors of B and one value of A, of 32 registers.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => {
                Self { rows: 12, columns: 32, multiply: super::x86::avx512 }
            }
            // 12 sums, 3 values of A and one vector of B: all 16 registers.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Self { rows: 3, columns: 32, multiply: super::x86::avx2 },
            #[cfg(target_arch = "aarch64")]
            Instructions::Portable => Self { rows: 8, columns: 8, multiply: portable::<8, 8> },
            #[cfg(not(target_arch = "aarch64"))]
            Instructions::Portable => Self { rows: 4, columns: 8, multiply: portable::<4, 8> },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("asserted above"),
        }
    }
}

/// # Safety
/// As [`Tile::multiply`] asks.
unsafe fn portable<const ROWS: usize, const COLUMNS: usize>(mut operands: Operands) {
    for _ in 0..operands.n_tiles {
        // SAFETY: one of the caller's tiles.
        unsafe { portable_one::<ROWS, COLUMNS>(operands) };
        operands = operands.below(ROWS);
    }
}

/// # Safety
/// As [`Tile::multiply`] asks, for the first tile.
unsafe fn portable_one<const ROWS: usize, const COLUMNS: usize>(operands: Operands) {
    let Operands { depth, a, b, c, c_stride, accumulate, .. } = operands;
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for position in 0..depth {
        // SAFETY: the caller's panels hold `depth` groups of these lengths, and an array of
        // floats is aligned like a float.
        let (a, b) = unsafe {
            (
                &*a.add(position * ROWS).cast::<[f32; ROWS]>(),
                &*b.add(position * COLUMNS).cast::<[f32; COLUMNS]>(),
            )
        };
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = multiply_add(*a, *b, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: row `row` of the caller's tile.
        let c = unsafe { &mut *c.add(row * c_stride).cast::<[f32; COLUMNS]>() };
        for (c, sum) in c.iter_mut().zip(sums) {
            *c = if accumulate { *c + sum } else { *sum };
        }
    }
}

/// Fused where every machine of the target has it; elsewhere a fused product would be a call of
/// the mathematical library.
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    if cfg!(target_arch = "aarch64") { a.mul_add(b, sum) } else { a * b + sum }
}
