//! Weights in the order in which tiles read them.
//!
//! 32 rows of a weight matrix, which are 32 outputs, are a *panel*. A panel holds, for each step
//! of the depth, what all of its outputs need: one position for f32 and f16, a pair of them for
//! bf16. So a decode step reads a panel from front to back, and a prefill reads parts of it that
//! fit a core's first cache: one layout serves both, and weights are held once. Quantised weights
//! come in blocks of the depth (`blocks.rs`).

#![allow(unsafe_code)]

use half::{bf16, f16};

use super::blocks::BlockFormat;
use crate::kernels::Instructions;
use crate::kernels::chunks::Chunks;
use crate::kernels::memory::Buffer;
use crate::kernels::pool::{Pool, Team};

/// Outputs of a panel.
pub(in crate::kernels) const PANEL: usize = 32;

/// Rows of weights that are packed, in their own number format.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// IEEE 754 binary32.
    F32(&'a [f32]),
    /// IEEE 754 binary16.
    F16(&'a [f16]),
    /// bfloat16.
    Bf16(&'a [bf16]),
}

/// The number format of packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// Each number for itself.
    Float(FloatFormat),
    /// In blocks that share scales.
    Blocks(BlockFormat),
}

impl WeightFormat {
    /// Bytes of a panel for `n_in` positions of the depth.
    pub fn panel_bytes(self, n_in: usize) -> usize {
        match self {
            Self::Float(format) => format.panel_bytes(n_in),
            Self::Blocks(format) => format.panel_bytes(n_in),
        }
    }

    /// The part of an instruction set that products of such weights use.
    pub fn instructions(self, of: Instructions) -> Instructions {
        match (self, of) {
            (Self::Float(FloatFormat::Bf16), Instructions::Avx512Bf16) => of,
            (Self::Blocks(_), Instructions::Avx512Bf16) => Instructions::Avx512Vnni,
            (Self::Blocks(_), _) => of,
            (Self::Float(_), _) => of.of_floats(),
        }
    }

    /// Operations of a core in a cycle by products with `instructions`, at most: two of them at
    /// once, each of one multiply-accumulate for a lane of 32 bits or of several.
    pub fn flops_per_cycle(self, instructions: Instructions) -> u32 {
        let used = self.instructions(instructions);
        let lanes = match used {
            Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => 16,
            Instructions::Avx2 => 8,
            Instructions::Portable => 1,
        };
        let products = match (self, used) {
            (_, Instructions::Portable) => 1,
            (Self::Float(FloatFormat::Bf16), Instructions::Avx512Bf16) => 2,
            (Self::Float(_), _) => 1,
            (Self::Blocks(_), Instructions::Avx512Vnni) => 4,
            // Four in two instructions and more.
            (Self::Blocks(_), _) => 2,
        };
        2 * 2 * lanes * products
    }
}

/// Formats in which each number stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatFormat {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl FloatFormat {
    /// Bytes of a panel for `n_in` positions of the depth; an odd last position of bf16 has a
    /// zero beside it.
    pub(in crate::kernels) fn panel_bytes(self, n_in: usize) -> usize {
        match self {
            Self::F32 => n_in * PANEL * 4,
            Self::F16 => n_in * PANEL * 2,
            Self::Bf16 => n_in.next_multiple_of(2) * PANEL * 2,
        }
    }
}

impl Rows<'_> {
    /// Their format.
    pub fn format(self) -> FloatFormat {
        match self {
            Self::F32(_) => FloatFormat::F32,
            Self::F16(_) => FloatFormat::F16,
            Self::Bf16(_) => FloatFormat::Bf16,
        }
    }

    /// Numbers in them.
    pub fn len(self) -> usize {
        match self {
            Self::F32(rows) => rows.len(),
            Self::F16(rows) => rows.len(),
            Self::Bf16(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Panels in memory, one after another.
#[derive(Debug)]
pub(super) struct Panels {
    buffer: Buffer,
    pub format: WeightFormat,
    pub n_in: usize,
    pub n_panels: usize,
}

impl Panels {
    /// Packs the rows that `sources` give: `order` has, for each output, the index of its source
    /// and its row there; outputs without one are zero.
    pub fn pack(
        pool: &mut Pool,
        sources: &[Rows<'_>],
        n_in: usize,
        order: &[Option<(usize, usize)>],
        format: WeightFormat,
    ) -> std::io::Result<Self> {
        let are_packable = sources.iter().all(|rows| match format {
            WeightFormat::Float(format) => rows.format() == format,
            WeightFormat::Blocks(_) => rows.format() == FloatFormat::F32,
        });
        assert!(are_packable, "rows are in the format of the panels, or f32 to be quantised");
        assert!(sources.iter().all(|rows| rows.len() % n_in == 0), "rows are whole");
        assert!(order.len().is_multiple_of(PANEL), "panels are whole");
        let (n_panels, bytes) = (order.len() / PANEL, format.panel_bytes(n_in));
        let mut buffer = Buffer::new((n_panels * bytes).div_ceil(8))?;
        let columns = |i: usize| {
            let columns = order[i * PANEL..][..PANEL].iter().enumerate();
            columns.filter_map(|(column, source)| {
                source.map(|(source, row)| (column, sources[source], row))
            })
        };
        match format {
            WeightFormat::Float(_) => {
                let words = bytes / 4;
                let panels = Chunks::new(buffer.as_u32_mut_slice());
                pool.run(Team::All, n_panels, &|i| {
                    // SAFETY: each task takes the panel of its own number.
                    let panel = unsafe { panels.part(i * words..(i + 1) * words) };
                    for (column, rows, row) in columns(i) {
                        pack_row(rows, row, n_in, column, panel);
                    }
                });
            }
            WeightFormat::Blocks(format) => {
                let panels = Chunks::new(buffer.as_u8_mut_slice());
                pool.run(Team::All, n_panels, &|i| {
                    // SAFETY: as above.
                    let panel = unsafe { panels.part(i * bytes..(i + 1) * bytes) };
                    for (column, rows, row) in columns(i) {
                        if let Rows::F32(rows) = rows {
                            format.pack_row(&rows[row * n_in..][..n_in], column, panel);
                        }
                    }
                });
            }
        }
        Ok(Self { buffer, format, n_in, n_panels })
    }

    /// Panel `i`.
    pub fn panel(&self, i: usize) -> &[u8] {
        let bytes = self.format.panel_bytes(self.n_in);
        &self.buffer.as_u8_slice()[i * bytes..][..bytes]
    }

    /// Row `output` as floats.
    pub fn read_row(&self, output: usize, to: &mut [f32]) {
        assert_eq!(to.len(), self.n_in, "a row has {} numbers", self.n_in);
        let (i, column) = (output / PANEL, output % PANEL);
        let format = match self.format {
            WeightFormat::Float(format) => format,
            WeightFormat::Blocks(format) => return format.read_row(self.panel(i), column, to),
        };
        let words = format.panel_bytes(self.n_in) / 4;
        let panel = &self.buffer.as_u32_slice()[i * words..][..words];
        match format {
            FloatFormat::F32 => {
                for (to, step) in to.iter_mut().zip(panel.chunks_exact(PANEL)) {
                    *to = f32::from_bits(step[column]);
                }
            }
            FloatFormat::F16 => {
                for (to, step) in to.iter_mut().zip(panel.chunks_exact(PANEL / 2)) {
                    let bits = step[column / 2] >> (16 * (column % 2));
                    *to = f16::from_bits(bits as u16).to_f32();
                }
            }
            FloatFormat::Bf16 => {
                for (pair, step) in to.chunks_mut(2).zip(panel.chunks_exact(PANEL)) {
                    pair[0] = f32::from_bits(step[column] << 16);
                    if let Some(second) = pair.get_mut(1) {
                        *second = f32::from_bits(step[column] & 0xffff_0000);
                    }
                }
            }
        }
    }
}

/// Writes row `row` of `rows` into column `column` of a panel, whose words are zero there.
fn pack_row(rows: Rows<'_>, row: usize, n_in: usize, column: usize, panel: &mut [u32]) {
    let range = row * n_in..(row + 1) * n_in;
    match rows {
        Rows::F32(rows) => {
            for (value, step) in rows[range].iter().zip(panel.chunks_exact_mut(PANEL)) {
                step[column] = value.to_bits();
            }
        }
        Rows::F16(rows) => {
            for (value, step) in rows[range].iter().zip(panel.chunks_exact_mut(PANEL / 2)) {
                step[column / 2] |= u32::from(value.to_bits()) << (16 * (column % 2));
            }
        }
        Rows::Bf16(rows) => {
            for (pair, step) in rows[range].chunks(2).zip(panel.chunks_exact_mut(PANEL)) {
                let second = pair.get(1).map_or(0, |second| second.to_bits());
                step[column] = u32::from(pair[0].to_bits()) | u32::from(second) << 16;
            }
        }
    }
}
