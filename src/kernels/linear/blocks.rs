//! Panels of quantised weights, in GGUF's block formats with their parts in another order.
//!
//! Positions of the depth come in blocks of 32. For each, a panel has the scales of its 32
//! outputs, then groups of four positions for every output, which are what the machine's byte
//! products take. The numbers are those that GGUF stores, to the bit.

#![allow(unsafe_code)]

use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0, GgmlType};
use half::f16;

use super::panel::PANEL;

/// Positions that share a scale.
pub(super) const BLOCK: usize = 32;
/// Positions whose scales share a scale in [`BlockFormat::Q4K`].
const SUPER_BLOCK: usize = 256;
/// Four positions of all outputs.
const GROUP_BYTES: usize = 4 * PANEL;

/// Number formats of weights that share scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockFormat {
    /// Bytes, 32 of them with one scale in binary16: `w = d·q`.
    Q8_0,
    /// Halves of bytes, 32 of them with a scale and a least value of 6 bits each, which are
    /// themselves scaled in binary16 for 256 of them: `w = d·s·q − e·m`.
    Q4K,
    /// Whole numbers from −127 to 127 without a scale, which no model has: what a product of
    /// integers reaches alone.
    Int8,
}

/// [`BlockFormat::Int8`] in a panel: groups alone, in bytes as those of `q8_0`.
pub(super) mod int8 {
    use super::*;

    /// Bytes of a block.
    pub const BLOCK_BYTES: usize = BLOCK * PANEL;
}

/// [`BlockFormat::Q8_0`] in a panel: 32 scales, and for each of 8 groups its bytes, each 128
/// above the number that it stands for.
pub(super) mod q8_0 {
    use super::*;

    /// Where the groups of a block begin.
    pub const GROUPS_AT: usize = 2 * PANEL;
    /// Bytes of a block.
    pub const BLOCK_BYTES: usize = GROUPS_AT + BLOCK * PANEL;
}

/// [`BlockFormat::Q4K`] in a panel: for 256 positions 32 `d` and 32 `e`, and then for each block
/// of 32 positions, as far as there are any, 32 scales, 32 least values, and four times the bytes
/// of two groups, the first in the lower halves.
pub(super) mod q4_k {
    use super::*;

    /// Where the blocks of a super-block begin.
    pub const BLOCKS_AT: usize = 4 * PANEL;
    /// Where the groups of a block begin.
    pub const GROUPS_AT: usize = 2 * PANEL;
    /// Bytes of a block.
    pub const BLOCK_BYTES: usize = GROUPS_AT + BLOCK * PANEL / 2;
    /// Bytes of a super-block.
    pub const SUPER_BLOCK_BYTES: usize = BLOCKS_AT + SUPER_BLOCK / BLOCK * BLOCK_BYTES;
}

impl BlockFormat {
    /// Bytes of a panel for `n_in` positions of the depth. What is missing of the last block is
    /// filled with zeros.
    pub(super) fn panel_bytes(self, n_in: usize) -> usize {
        let n_blocks = n_in.div_ceil(BLOCK);
        match self {
            Self::Int8 => n_blocks * int8::BLOCK_BYTES,
            Self::Q8_0 => n_blocks * q8_0::BLOCK_BYTES,
            Self::Q4K => {
                n_in.div_ceil(SUPER_BLOCK) * q4_k::BLOCKS_AT + n_blocks * q4_k::BLOCK_BYTES
            }
        }
    }

    /// Quantises a row of weights and writes it into column `column` of a panel, whose bytes are
    /// zero there.
    pub(super) fn pack_row(self, row: &[f32], column: usize, panel: &mut [u8]) {
        match self {
            Self::Int8 => {
                for (group, numbers) in panel.chunks_exact_mut(GROUP_BYTES).zip(row.chunks(4)) {
                    let to = &mut group[4 * column..][..4];
                    to.iter_mut().zip(numbers).for_each(|(to, &x)| *to = x as i8 as u8 ^ 0x80);
                }
            }
            Self::Q8_0 => {
                let blocks = quantise::<BlockQ8_0>(row);
                let of_panel = panel.chunks_exact_mut(q8_0::BLOCK_BYTES);
                for (block, to) in bytes_of(&blocks).chunks_exact(2 + BLOCK).zip(of_panel) {
                    to[2 * column..][..2].copy_from_slice(&block[..2]);
                    let groups = to[q8_0::GROUPS_AT..].chunks_exact_mut(GROUP_BYTES);
                    for (group, numbers) in groups.zip(block[2..].chunks_exact(4)) {
                        let to = &mut group[4 * column..][..4];
                        to.iter_mut().zip(numbers).for_each(|(to, number)| *to = number ^ 0x80);
                    }
                }
            }
            Self::Q4K => {
                let blocks = quantise::<BlockQ4K>(row);
                let bytes = bytes_of(&blocks);
                let of_panel = panel.chunks_mut(q4_k::SUPER_BLOCK_BYTES);
                for (block, to) in bytes.chunks_exact(GGUF_Q4K_BYTES).zip(of_panel) {
                    pack_q4_k(block, column, to);
                }
            }
        }
    }

    /// Column `column` of a panel as floats.
    pub(super) fn read_row(self, panel: &[u8], column: usize, to: &mut [f32]) {
        match self {
            Self::Int8 => {
                for (group, to) in panel.chunks_exact(GROUP_BYTES).zip(to.chunks_mut(4)) {
                    let numbers = &group[4 * column..][..4];
                    to.iter_mut()
                        .zip(numbers)
                        .for_each(|(to, byte)| *to = (byte ^ 0x80) as i8 as f32);
                }
            }
            Self::Q8_0 => {
                let blocks = panel.chunks_exact(q8_0::BLOCK_BYTES);
                for (block, to) in blocks.zip(to.chunks_mut(BLOCK)) {
                    let scale = half_at(block, column);
                    for (i, to) in to.iter_mut().enumerate() {
                        let at = q8_0::GROUPS_AT + i / 4 * GROUP_BYTES + 4 * column + i % 4;
                        *to = scale * f32::from((block[at] ^ 0x80) as i8);
                    }
                }
            }
            Self::Q4K => {
                let all = panel.chunks(q4_k::SUPER_BLOCK_BYTES);
                for (super_block, to) in all.zip(to.chunks_mut(SUPER_BLOCK)) {
                    let (d, e) =
                        (half_at(super_block, column), half_at(super_block, PANEL + column));
                    let blocks = super_block[q4_k::BLOCKS_AT..].chunks_exact(q4_k::BLOCK_BYTES);
                    for (block, to) in blocks.zip(to.chunks_mut(BLOCK)) {
                        let scale = d * f32::from(block[column]);
                        let least = e * f32::from(block[PANEL + column]);
                        for (i, to) in to.iter_mut().enumerate() {
                            let at = q4_k::GROUPS_AT + i / 8 * GROUP_BYTES + 4 * column + i % 4;
                            let number = block[at] >> (i / 4 % 2 * 4) & 15;
                            *to = scale * f32::from(number) - least;
                        }
                    }
                }
            }
        }
    }
}

/// GGUF's block: `d`, `e`, 12 bytes of scales and least values, and for each 64 positions 32
/// bytes, the first 32 positions in their lower halves.
const GGUF_Q4K_BYTES: usize = 2 + 2 + 12 + SUPER_BLOCK / 2;

/// Moves one of GGUF's blocks into a super-block of a panel, which may end before it does.
fn pack_q4_k(block: &[u8], column: usize, to: &mut [u8]) {
    to[2 * column..][..2].copy_from_slice(&block[..2]);
    to[2 * (PANEL + column)..][..2].copy_from_slice(&block[2..4]);
    let (scales, numbers) = (&block[4..16], &block[16..]);
    for (i, to) in to[q4_k::BLOCKS_AT..].chunks_exact_mut(q4_k::BLOCK_BYTES).enumerate() {
        // Of the last four, the upper two bits stand above those of the first four.
        let (scale, least) = match i {
            0..4 => (scales[i] & 63, scales[i + 4] & 63),
            _ => (
                scales[i + 4] & 15 | scales[i - 4] >> 6 << 4,
                scales[i + 4] >> 4 | scales[i] >> 6 << 4,
            ),
        };
        (to[column], to[PANEL + column]) = (scale, least);
        for (position, number) in numbers[i / 2 * BLOCK..][..BLOCK].iter().enumerate() {
            let number = number >> (i % 2 * 4) & 15;
            let at = q4_k::GROUPS_AT + position / 8 * GROUP_BYTES + 4 * column + position % 4;
            to[at] |= number << (position / 4 % 2 * 4);
        }
    }
}

/// The half-word `i` of a block's scales.
fn half_at(block: &[u8], i: usize) -> f32 {
    f16::from_ne_bytes([block[2 * i], block[2 * i + 1]]).to_f32()
}

/// A row in the engine's blocks, which are GGUF's.
fn quantise<B: GgmlType>(row: &[f32]) -> Vec<B> {
    let mut padded = row.to_vec();
    padded.resize(row.len().next_multiple_of(B::BLCK_SIZE), 0.0);
    let mut blocks = vec![B::zeros(); padded.len() / B::BLCK_SIZE];
    B::from_float(&padded, &mut blocks);
    blocks
}

/// Blocks as GGUF has them in files.
fn bytes_of<B: GgmlType>(blocks: &[B]) -> &[u8] {
    // SAFETY: the engine's blocks are what it reads from files and writes to them, plain numbers
    // without anything between; any of their bytes may be read, and live as long.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), std::mem::size_of_val(blocks)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::drawn::drawn;
    use proptest::prelude::*;

    /// A row through a panel, beside other columns.
    fn through_panel(format: BlockFormat, row: &[f32], column: usize) -> Vec<f32> {
        let mut panel = vec![0; format.panel_bytes(row.len())];
        for other in (0..PANEL).filter(|&other| other != column) {
            format.pack_row(&drawn(&format!("column {other}"), row.len()), other, &mut panel);
        }
        format.pack_row(row, column, &mut panel);
        let mut read = vec![f32::NAN; row.len()];
        format.read_row(&panel, column, &mut read);
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn panels_hold_the_numbers_of_gguf(n_in in 1_usize..700, column in 0..PANEL) {
            let row = drawn("row", n_in);
            let wanted = |blocks: usize, to_float: &dyn Fn(&mut [f32])| {
                let mut wanted = vec![0.0; blocks];
                to_float(&mut wanted);
                wanted.truncate(n_in);
                wanted
            };
            let blocks = quantise::<BlockQ8_0>(&row);
            let q8_0 = wanted(n_in.next_multiple_of(32), &|to| BlockQ8_0::to_float(&blocks, to));
            prop_assert_eq!(through_panel(BlockFormat::Q8_0, &row, column), q8_0);
            let blocks = quantise::<BlockQ4K>(&row);
            let q4_k = wanted(n_in.next_multiple_of(256), &|to| BlockQ4K::to_float(&blocks, to));
            prop_assert_eq!(through_panel(BlockFormat::Q4K, &row, column), q4_k);
        }

        #[test]
        fn quantised_numbers_are_near_the_numbers(n_in in 1_usize..700) {
            let row = drawn("row", n_in);
            // A step of the scale, and its own rounding.
            for (format, steps) in [(BlockFormat::Q8_0, 127.0 * 2.0), (BlockFormat::Q4K, 15.0)] {
                let read = through_panel(format, &row, 5);
                for (block, read) in row.chunks(BLOCK).zip(read.chunks(BLOCK)) {
                    let max = block.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                    for (x, read) in block.iter().zip(read) {
                        // Scales of 6 bits may be off by a share of the greatest of the 256.
                        let slack = if format == BlockFormat::Q4K { 0.15 } else { 0.001 };
                        prop_assert!((x - read).abs() <= max / steps * 1.1 + slack);
                    }
                }
            }
        }
    }
}
