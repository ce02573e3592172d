//! Tiles for x86-64.
//!
//! While a multiply-add unit is busy every cycle, what limits a core is how many other
//! instructions it must start beside: loads of A and B. The fewer, the more is left to whoever
//! shares the core (a sibling thread, or another guest on it).

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;

use super::tile::Operands;

/// Asks for the cache lines of a tile of C, which is wanted only at the end, when they have come,
/// and for what the caller wants to come into the second cache.
///
/// # Safety
/// The tile lies in C.
#[inline(always)]
unsafe fn prefetch<const ROWS: usize, const COLUMNS: usize>(operands: &Operands) {
    for row in 0..ROWS {
        // SAFETY: inside of the tile, by the caller.
        let row = unsafe { operands.c.add(row * operands.c_stride) };
        for line in 0..COLUMNS / 16 {
            // SAFETY: as above; and a prefetch reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.add(16 * line).cast()) };
        }
        // A tile that does not begin with a cache line ends in one more.
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.add(COLUMNS - 1).cast()) };
    }
    for line in 0..operands.ahead_lines_per_tile {
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(operands.ahead.wrapping_add(16 * line).cast()) };
    }
}

/// 12 rows of two vectors.
///
/// # Safety
/// As [`super::tile::Tile::multiply`] asks.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512(mut operands: Operands) {
    for _ in 0..operands.n_tiles {
        // SAFETY: one of the caller's tiles.
        unsafe { avx512_one(operands) };
        operands = operands.below(12);
    }
}

/// # Safety
/// As [`super::tile::Tile::multiply`] asks, for the first tile.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn avx512_one(operands: Operands) {
    let Operands { depth, a, b, c, c_stride, accumulate, .. } = operands;
    let mut sums = [[_mm512_setzero_ps(); 2]; 12];
    // SAFETY: the caller's panels hold `depth` groups of 12 and of 32 floats, and the tile is writable; loads and
    // stores need no alignment.
    unsafe {
        prefetch::<12, 32>(&operands);
        for position in 0..depth {
            let (a, b) = (a.add(position * 12), b.add(position * 32));
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(row));
                sums[0] = _mm512_fmadd_ps(a, b0, sums[0]);
                sums[1] = _mm512_fmadd_ps(a, b1, sums[1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (half, sum) in sums.into_iter().enumerate() {
                let c = c.add(row * c_stride + 16 * half);
                let sum = if accumulate { _mm512_add_ps(_mm512_loadu_ps(c), sum) } else { sum };
                _mm512_storeu_ps(c, sum);
            }
        }
    }
}

/// One position of the depth, at these distances in bytes from where the pointers stand: three
/// values of A stay in ymm12 to ymm14 while the four vectors of B pass through ymm15.
macro_rules! position {
    ($a0:literal, $a1:literal, $a2:literal, $b0:literal, $b1:literal, $b2:literal, $b3:literal) => {
        concat!(
            "vbroadcastss ymm12, [{a} + ",
            $a0,
            "]\n",
            "vbroadcastss ymm13, [{a} + ",
            $a1,
            "]\n",
            "vbroadcastss ymm14, [{a} + ",
            $a2,
            "]\n",
            "vmovups ymm15, [{b} + ",
            $b0,
            "]\n",
            "vfmadd231ps ymm0, ymm12, ymm15\n",
            "vfmadd231ps ymm4, ymm13, ymm15\n",
            "vfmadd231ps ymm8, ymm14, ymm15\n",
            "vmovups ymm15, [{b} + ",
            $b1,
            "]\n",
            "vfmadd231ps ymm1, ymm12, ymm15\n",
            "vfmadd231ps ymm5, ymm13, ymm15\n",
            "vfmadd231ps ymm9, ymm14, ymm15\n",
            "vmovups ymm15, [{b} + ",
            $b2,
            "]\n",
            "vfmadd231ps ymm2, ymm12, ymm15\n",
            "vfmadd231ps ymm6, ymm13, ymm15\n",
            "vfmadd231ps ymm10, ymm14, ymm15\n",
            "vmovups ymm15, [{b} + ",
            $b3,
            "]\n",
            "vfmadd231ps ymm3, ymm12, ymm15\n",
            "vfmadd231ps ymm7, ymm13, ymm15\n",
            "vfmadd231ps ymm11, ymm14, ymm15\n",
        )
    };
}

/// 3 rows of four vectors. Every register is taken, which a compiler answers by moving one of
/// the sums to memory and back in each step (a third slower); hence the loop by hand.
///
/// # Safety
/// As [`super::tile::Tile::multiply`] asks.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(mut operands: Operands) {
    for _ in 0..operands.n_tiles {
        // SAFETY: one of the caller's tiles.
        unsafe { avx2_one(operands) };
        operands = operands.below(3);
    }
}

/// # Safety
/// As [`super::tile::Tile::multiply`] asks, for the first tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_one(operands: Operands) {
    let Operands { depth, a, b, c, c_stride, accumulate, .. } = operands;
    let mut sums = [_mm256_setzero_ps(); 12];
    // SAFETY: inside of the tile.
    unsafe { prefetch::<3, 32>(&operands) };
    // SAFETY: the loops read `depth` groups of 3 floats of A and of 32 floats of B, which the
    // caller has; they write nothing but the registers named.
    unsafe {
        asm!(
            "test {fours}, {fours}",
            "jz 3f",
            ".p2align 5",
            "2:",
            position!(0, 4, 8, 0, 32, 64, 96),
            position!(12, 16, 20, 128, 160, 192, 224),
            position!(24, 28, 32, 256, 288, 320, 352),
            position!(36, 40, 44, 384, 416, 448, 480),
            "add {a}, 48",
            "add {b}, 512",
            "dec {fours}",
            "jnz 2b",
            "3:",
            "test {ones}, {ones}",
            "jz 5f",
            "4:",
            position!(0, 4, 8, 0, 32, 64, 96),
            "add {a}, 12",
            "add {b}, 128",
            "dec {ones}",
            "jnz 4b",
            "5:",
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            fours = inout(reg) depth / 4 => _,
            ones = inout(reg) depth % 4 => _,
            inout("ymm0") sums[0],
            inout("ymm1") sums[1],
            inout("ymm2") sums[2],
            inout("ymm3") sums[3],
            inout("ymm4") sums[4],
            inout("ymm5") sums[5],
            inout("ymm6") sums[6],
            inout("ymm7") sums[7],
            inout("ymm8") sums[8],
            inout("ymm9") sums[9],
            inout("ymm10") sums[10],
            inout("ymm11") sums[11],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(readonly, nostack),
        );
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: vector `i % 4` of row `i / 4` of the tile; no alignment is needed.
        unsafe {
            let c = c.add(i / 4 * c_stride + i % 4 * 8);
            let sum = if accumulate { _mm256_add_ps(_mm256_loadu_ps(c), sum) } else { sum };
            _mm256_storeu_ps(c, sum);
        }
    }
}
