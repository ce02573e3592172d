//! Products of activations with weights that were packed once: `Y = X · Wᵀ`.
//!
//! A few rows of X (decoding) are multiplied panel after panel, each read once from front to
//! back: as fast as memory gives them. Many rows (prefill) are cut into blocks that stay in a
//! core's second cache while steps of a few panels pass through the first; the cutting is that of
//! Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3),
//! 2008. What follows a product (bias, residual, SwiGLU) is done while its sums are in cache.

#![allow(unsafe_code)]

mod blocks;
mod panel;
#[cfg(test)]
mod tests;
pub(super) mod tile;

use std::cell::RefCell;
use std::ops::Range;

use half::bf16;

use self::blocks::BLOCK;
pub use self::blocks::BlockFormat;
pub(super) use self::panel::PANEL;
use self::panel::Panels;
pub use self::panel::{FloatFormat, Rows, WeightFormat};
use self::tile::{
    Activations, Ahead, BYTE_BLOCK_WORDS, Bf16, F16, F32, INTEGER_BLOCK_WORDS, INTEGERS, Int8,
    Operands, Q4K, Q8_0, ROWS_MAX, Spacing, Step, row_words, rows_max, tile_of_rows,
};
use crate::kernels::Instructions;
use crate::kernels::chunks::Chunks;
use crate::kernels::pool::{Pool, Team};
use crate::kernels::simd::{Kernel, Products, Simd, dispatch, exp, has_bf16_dot};

/// Bytes of a panel that pass through the first cache at a time, while rows go by: half of the
/// smallest first cache that processors with these instructions have.
const STEP_BYTES: usize = 16 << 10;
/// Positions of a panel that are widened at a time: as many bytes as a step of f32.
const WIDENED_DEPTH: usize = STEP_BYTES / (PANEL * 4);
/// Tiles of rows from which on it pays to widen a step of a panel before they pass.
const TILES_TO_WIDEN: usize = 3;
/// Rows of a block: a step of activations in f32 is some 200 KiB, which 16 panels read again while
/// their sums take 800.
const BLOCK_ROWS: usize = 384;
/// Panels whose sums a block holds.
const BLOCK_PANELS: usize = 16;
/// Panels that a thread takes together with a few rows, at most.
const TASK_PANELS: usize = 64;
/// Tasks per thread that even out threads of different speed.
const TASKS_PER_THREAD: usize = 8;

/// How the outputs of a product follow from the rows of its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// The outputs of one matrix after those of the other.
    Stacked,
    /// Two matrices, gate and up, of as many rows: the product gives `silu(gate) · up`
    /// (Shazeer, *GLU variants improve transformer*, 2020).
    SwiGlu,
}

/// Weights `(out, in)` in panels.
#[derive(Debug)]
pub struct Linear {
    panels: Panels,
    outputs: Outputs,
    n_out: usize,
    /// In the order of the panels, as many as they have outputs; empty when there are none.
    bias: Vec<f32>,
}

/// Activations in the order in which products read them; kept from one to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    activations: Vec<u32>,
    n_rows: usize,
}

/// A vector of sums of the widest instruction set; one that is stored across two lines of the
/// cache would take twice as long.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    /// Sums of the task under way, which stay in the caches of the thread's core; and a step of a
    /// panel in f32.
    static WORK: RefCell<(Vec<Line>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// The most inputs of whole numbers whose sums of products fit 32 bits.
const INTEGER_INPUTS_MAX: usize = 1 << 17;
const _: () = assert!(INTEGER_INPUTS_MAX * 127 * 127 <= i32::MAX as usize);

/// What becomes of the outputs of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// They replace what is there.
    Overwrite,
    /// They are added to it.
    Add,
}

/// Does something with `F`, the [`Step`] of a product's format.
macro_rules! by_format {
    ($linear:expr, $F:ident => $body:expr) => {{
        use {BlockFormat as Blocks, FloatFormat as Float};
        match $linear.panels.format {
            WeightFormat::Float(Float::F32) => by_format!(as $F = F32 => $body),
            WeightFormat::Float(Float::F16) => by_format!(as $F = F16 => $body),
            WeightFormat::Float(Float::Bf16) => by_format!(as $F = Bf16<true> => $body),
            WeightFormat::Blocks(Blocks::Q8_0) => by_format!(as $F = Q8_0 => $body),
            WeightFormat::Blocks(Blocks::Q4K) => by_format!(as $F = Q4K => $body),
            WeightFormat::Blocks(Blocks::Int8) => by_format!(as $F = Int8 => $body),
        }
    }};
    (as $F:ident = $format:ty => $body:expr) => {{
        type $F = $format;
        $body
    }};
}

impl Linear {
    /// Packs `matrices`, each `(rows, n_in)` row by row, with the bias of each row if there is
    /// any. They are in the format wanted, or f32 where that is one of blocks.
    ///
    /// # Errors
    /// If the system refuses the memory.
    ///
    /// # Panics
    /// If matrices have no whole rows or different formats, biases another length, SwiGLU
    /// anything but two matrices of as many rows, or [`BlockFormat::Int8`] more than 2¹⁷ inputs.
    pub fn pack(
        pool: &mut Pool,
        matrices: &[Rows<'_>],
        bias: Option<&[&[f32]]>,
        n_in: usize,
        outputs: Outputs,
        format: WeightFormat,
    ) -> std::io::Result<Self> {
        let is_deep =
            format == WeightFormat::Blocks(BlockFormat::Int8) && n_in > INTEGER_INPUTS_MAX;
        assert!(!is_deep, "sums of {n_in} products of bytes need more than 32 bits");
        let n_rows: Vec<usize> = matrices.iter().map(|rows| rows.len() / n_in).collect();
        let mut order = Vec::new();
        let n_out = match outputs {
            Outputs::Stacked => {
                for (source, &n_rows) in n_rows.iter().enumerate() {
                    order.extend((0..n_rows).map(|row| Some((source, row))));
                }
                order.len()
            }
            Outputs::SwiGlu => {
                let [n_out, n_up] = n_rows[..] else { panic!("SwiGLU has two matrices") };
                assert_eq!(n_out, n_up, "gate and up have as many rows");
                // A panel has 16 outputs of both.
                for first in (0..n_out).step_by(PANEL / 2) {
                    for source in [0, 1] {
                        let rows = first..first + PANEL / 2;
                        order.extend(rows.map(|row| (row < n_out).then_some((source, row))));
                    }
                }
                n_out
            }
        };
        order.resize(order.len().next_multiple_of(PANEL), None);
        let of_bias = |biases: &[&[f32]]| {
            let ordered =
                order.iter().map(|at| at.map_or(0.0, |(source, row)| biases[source][row]));
            ordered.collect()
        };
        let panels = Panels::pack(pool, matrices, n_in, &order, format)?;
        Ok(Self { panels, outputs, n_out, bias: bias.map(of_bias).unwrap_or_default() })
    }

    /// Outputs of a row.
    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// Inputs of a row.
    pub fn n_in(&self) -> usize {
        self.panels.n_in
    }

    /// The part of an instruction set that products of these weights use.
    pub fn instructions(&self, of: Instructions) -> Instructions {
        self.panels.format.instructions(of)
    }

    /// Row `output` of stacked matrices, as floats.
    ///
    /// # Panics
    /// If there is no such row, or `to` has another length.
    pub fn read_row(&self, output: usize, to: &mut [f32]) {
        assert!(output < self.n_out && self.outputs == Outputs::Stacked, "no row {output}");
        self.panels.read_row(output, to);
    }

    /// `y (rows, n_out)` from `x (rows, n_in)`.
    ///
    /// Activations are rounded to bf16 where weights are bf16 and the machine multiplies pairs
    /// of them, and to bytes with a scale for each 32 where weights are in blocks; those of
    /// [`BlockFormat::Int8`] must be whole numbers from −127 to 127 already. Otherwise weights are
    /// widened to f32. Sums are f32, and integers of [`BlockFormat::Int8`].
    ///
    /// # Panics
    /// If a slice does not have the length that follows from the other, or this machine does not
    /// have `instructions`.
    pub fn forward(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        scratch: &mut Scratch,
        x: &[f32],
        y: &mut [f32],
        store: Store,
    ) {
        self.pack_activations(instructions, pool, scratch, x);
        self.multiply_packed(instructions, pool, scratch, y, store);
    }

    /// The first half of [`Linear::forward`]: brings `x (rows, n_in)` into the order in which
    /// products of these weights read it.
    ///
    /// # Panics
    /// If rows are not whole, or this machine does not have `instructions`.
    pub fn pack_activations(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        scratch: &mut Scratch,
        x: &[f32],
    ) {
        by_format!(self, F => {
            let n_in = self.n_in();
            let n_rows = x.len() / n_in;
            assert_eq!(x.len(), n_rows * n_in, "x is not (rows, {n_in})");
            let (tile_rows, row_words) = (tile_rows::<F>(instructions), self.row_words::<F>(instructions));
            // Tiles of rows, one after another.
            scratch.n_rows = n_rows;
            scratch.activations.resize(n_rows * row_words, 0);
            let packed = Chunks::new(&mut scratch.activations);
            let team = Team::for_work(0, n_rows * (4 * n_in + 4 * row_words));
            pool.run(team, n_rows.div_ceil(tile_rows), &|i| {
                let rows = i * tile_rows..n_rows.min((i + 1) * tile_rows);
                // SAFETY: each task writes the tile of its own number.
                let packed = unsafe { packed.part(rows.start * row_words..rows.end * row_words) };
                let x = &x[rows.start * n_in..rows.end * n_in];
                dispatch(instructions, PackActivations { x, n_in, order: F::ACTIVATIONS, packed });
            });
        });
    }

    /// The second half of [`Linear::forward`]: `y (rows, n_out)` from rows that were packed for
    /// these weights and instructions.
    ///
    /// # Panics
    /// If `y` or what was packed has another length, or this machine does not have
    /// `instructions`.
    pub fn multiply_packed(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        packed: &Scratch,
        y: &mut [f32],
        store: Store,
    ) {
        by_format!(self, F => self.product::<F>(instructions, pool, packed, y, store));
    }

    /// Positions that a product of format `F` passes by.
    fn depth<F: Step>(&self) -> usize {
        self.n_in().next_multiple_of(F::DEPTH_UNIT)
    }

    /// Words of a packed row.
    fn row_words<F: Step>(&self, instructions: Instructions) -> usize {
        row_words(F::ACTIVATIONS, self.depth::<F>(), has_bf16_dot(instructions))
    }

    fn product<F: Step>(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        packed: &Scratch,
        y: &mut [f32],
        store: Store,
    ) {
        let (n_in, n_out, n_rows) = (self.n_in(), self.n_out, packed.n_rows);
        assert_eq!(y.len(), n_rows * n_out, "y is not ({n_rows}, {n_out})");
        let (tile_rows, row_words) =
            (tile_rows::<F>(instructions), self.row_words::<F>(instructions));
        assert_eq!(packed.activations.len(), n_rows * row_words, "packed for other weights");
        let n_panels = self.panels.n_panels;
        let n_products = n_rows * n_in * n_panels * PANEL;
        let team = Team::for_work(n_products, n_panels * self.panels.format.panel_bytes(n_in));
        let n_threads = if team == Team::All { pool.n_threads() } else { 1 };
        let cut = Cut::new(n_rows, n_panels, tile_rows, n_threads);
        let n_sums = cut.rows * cut.panels * cut.n_at_once * PANEL;
        let (activations, depth, y) = (&packed.activations, self.depth::<F>(), Chunks::new(y));
        pool.run_ranges(team, cut.n_tasks(), cut.n_at_once, &|tasks| {
            let (rows, panels) = cut.part(tasks);
            WORK.with_borrow_mut(|(sums, widened)| {
                // A panel's sums are whole lines.
                let n_lines = n_sums / 16;
                if sums.len() < n_lines {
                    sums.resize(n_lines, Line([0.0; 16]));
                }
                // SAFETY: a line is 16 floats and nothing else.
                let (_, sums, _) = unsafe { sums[..n_lines].align_to_mut::<f32>() };
                if F::WIDENS {
                    widened.resize(WIDENED_DEPTH * PANEL, 0.0);
                }
                let block = Block::<F> {
                    linear: self,
                    activations,
                    row_words,
                    tile_rows,
                    depth,
                    rows,
                    panels,
                    sums,
                    widened,
                    y: &y,
                    store,
                    format: std::marker::PhantomData,
                };
                dispatch(instructions, block);
            });
        });
    }
}

/// How a product is cut into tasks.
struct Cut {
    n_rows: usize,
    n_panels: usize,
    /// Rows and panels of a task, at most.
    rows: usize,
    panels: usize,
    /// Tasks that a thread takes together, at most; more than one only where all have the same
    /// rows.
    n_at_once: usize,
}

impl Cut {
    fn new(n_rows: usize, n_panels: usize, tile_rows: usize, n_threads: usize) -> Self {
        if n_rows <= tile_rows {
            // Panels pass by once, as fast as memory gives them: most of them one after another.
            let n_at_once = n_panels.clamp(1, TASK_PANELS);
            return Self { n_rows, n_panels, rows: n_rows, panels: 1, n_at_once };
        }
        let n_blocks = n_rows.div_ceil(BLOCK_ROWS);
        let rows = n_rows.div_ceil(n_blocks).next_multiple_of(tile_rows).min(n_rows);
        let n_blocks = n_rows.div_ceil(rows);
        let wanted = TASKS_PER_THREAD * n_threads;
        let panels = match n_blocks {
            // A few rows: as many panels as give every thread its tasks.
            1 => n_panels.div_ceil(wanted).clamp(1, TASK_PANELS),
            _ => n_panels.div_ceil(wanted.div_ceil(n_blocks)).clamp(1, BLOCK_PANELS),
        };
        Self { n_rows, n_panels, rows, panels, n_at_once: 1 }
    }

    fn n_blocks(&self) -> usize {
        self.n_rows.div_ceil(self.rows.max(1))
    }

    fn n_tasks(&self) -> usize {
        self.n_blocks() * self.n_panels.div_ceil(self.panels.max(1))
    }

    /// Rows and panels of neighbours, of [`Cut::n_at_once`] at most. Tasks that follow one another
    /// use the same panels.
    fn part(&self, tasks: Range<usize>) -> (Range<usize>, Range<usize>) {
        let (row, panel) = (
            tasks.start % self.n_blocks() * self.rows,
            tasks.start / self.n_blocks() * self.panels,
        );
        let end = tasks.end.div_ceil(self.n_blocks()) * self.panels;
        (row..self.n_rows.min(row + self.rows), panel..self.n_panels.min(end))
    }
}

/// [`rows_max`] of `instructions`.
fn tile_rows<F: Step>(instructions: Instructions) -> usize {
    struct TileRows<F>(std::marker::PhantomData<F>);
    impl<F: Step> Kernel for TileRows<F> {
        type Output = usize;

        const PRODUCTS: Products = F::ACTIVATIONS.products();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> usize {
            rows_max::<S, F>()
        }
    }
    dispatch(instructions, TileRows::<F>(std::marker::PhantomData))
}

/// Lays the rows of a tile side by side, word by word.
struct PackActivations<'a> {
    x: &'a [f32],
    n_in: usize,
    order: Activations,
    packed: &'a mut [u32],
}

impl Kernel for PackActivations<'_> {
    type Output = ();

    const PRODUCTS: Products = Products::Pairs;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let row = |row: usize| &self.x[row * self.n_in..][..self.n_in];
        let n_rows = self.x.len() / self.n_in;
        match self.order {
            Activations::Bf16Pairs if S::HAS_BF16_DOT => {
                side_by_side::<16>(n_rows, self.packed, |i, first, words| {
                    let pairs = row(i)[2 * first..].chunks(2);
                    words.iter_mut().zip(pairs).for_each(|(word, pair)| {
                        let second = pair.get(1).map_or(0, |&x| round_to_bf16(x));
                        *word = round_to_bf16(pair[0]) | second << 16;
                    });
                });
            }
            Activations::Floats | Activations::Bf16Pairs => {
                // What is beyond the last position is 0, as are the weights there.
                side_by_side::<16>(n_rows, self.packed, |i, first, words| {
                    let values = row(i)[first.min(self.n_in)..].iter();
                    words.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits());
                });
            }
            Activations::Bytes => {
                side_by_side::<BYTE_BLOCK_WORDS>(n_rows, self.packed, |i, first, words| {
                    let values = &row(i)[first / BYTE_BLOCK_WORDS * BLOCK..];
                    // SAFETY: by the caller.
                    unsafe { quantise::<S>(&values[..values.len().min(BLOCK)], words) };
                });
            }
            Activations::Integers => {
                side_by_side::<INTEGER_BLOCK_WORDS>(n_rows, self.packed, |i, first, words| {
                    let values = &row(i)[first / INTEGER_BLOCK_WORDS * INTEGERS..];
                    let [start, bytes @ ..] = words;
                    // SAFETY: by the caller; there is room for a block.
                    let sum = unsafe {
                        let values = &values[..values.len().min(INTEGERS)];
                        store_whole::<S>(values, 1.0, bytes.as_mut_ptr().cast())
                    };
                    *start = (-128 * sum as i32) as u32;
                });
            }
        }
    }
}

/// Writes word after word of `n_rows` rows, those of all rows beside each other. `words_of` gives
/// `WORDS` words of a row from a word on, over zeros.
#[inline(always)]
fn side_by_side<const WORDS: usize>(
    n_rows: usize,
    packed: &mut [u32],
    words_of: impl Fn(usize, usize, &mut [u32; WORDS]),
) {
    let mut block = [[0; WORDS]; ROWS_MAX];
    for (i, packed) in packed.chunks_mut(WORDS * n_rows).enumerate() {
        for (row, words) in block.iter_mut().take(n_rows).enumerate() {
            words.fill(0);
            // The only call: a closure that is not inlined is not compiled for a kernel's
            // instructions.
            words_of(row, i * WORDS, words);
        }
        if n_rows == 1 {
            packed.copy_from_slice(&block[0][..packed.len()]);
            continue;
        }
        for (at, words) in packed.chunks_exact_mut(n_rows).enumerate() {
            words.iter_mut().zip(&block).for_each(|(word, row)| *word = row[at]);
        }
    }
}

/// Rounds a block of activations to bytes from −127 to 127 with a common scale, and writes them
/// as [`BYTE_BLOCK_WORDS`] says.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
unsafe fn quantise<S: Simd>(values: &[f32], block: &mut [u32; BYTE_BLOCK_WORDS]) {
    let mut padded = [0.0_f32; BLOCK];
    let values = match values.first_chunk::<BLOCK>() {
        Some(whole) => whole,
        None => {
            padded[..values.len()].copy_from_slice(values);
            &padded
        }
    };
    let [scale_bits, scaled_sum, start, bytes @ ..] = block;
    // SAFETY: by the caller; blocks are whole vectors.
    unsafe {
        let zero = S::splat(0.0);
        let (mut max, mut doubt) = (zero, zero);
        for at in (0..BLOCK).step_by(S::LANES) {
            let x = S::load(values[at..].as_ptr());
            max = S::max(max, S::max(x, S::sub(zero, x)));
            // Whatever is not finite must not become a number: then so is the scale.
            doubt = S::multiply_add(x, zero, doubt);
        }
        let max = S::greatest(max);
        // What is 0, or so small that its inverse is no number, becomes 0.
        let inverse = Some(127.0 / max).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);
        let (scale, sum) = (
            max / 127.0 + S::sum(doubt),
            store_whole::<S>(values, inverse, bytes.as_mut_ptr().cast()),
        );
        *scale_bits = scale.to_bits();
        *scaled_sum = (scale * sum).to_bits();
        *start = (-128 * sum as i32) as u32;
    }
}

/// Writes the whole numbers that are nearest to `factor` times each value, −127 to 127, as bytes,
/// up to a whole vector with zeros, and gives their sum, which is exact up to 2²⁴.
///
/// # Safety
/// The machine has the instructions of `S`, and `to` can hold them.
#[inline(always)]
unsafe fn store_whole<S: Simd>(values: &[f32], factor: f32, to: *mut i8) -> f32 {
    const LANES_MAX: usize = 16;
    // SAFETY: by the caller.
    unsafe {
        let (mut sums, factor) = (S::splat(0.0), S::splat(factor));
        for (i, values) in values.chunks(S::LANES).enumerate() {
            let x = if values.len() == S::LANES {
                S::load(values.as_ptr())
            } else {
                let mut padded = [0.0; LANES_MAX];
                padded[..values.len()].copy_from_slice(values);
                S::load(padded.as_ptr())
            };
            let whole = S::round(S::mul(x, factor));
            S::store_i8(to.add(i * S::LANES), whole);
            sums = S::add(sums, whole);
        }
        S::sum(sums)
    }
}

/// The bits of the nearest bf16, ties to even.
#[inline(always)]
fn round_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    match value.is_nan() {
        true => u32::from(bf16::NAN.to_bits()),
        false => (bits + 0x7fff + (bits >> 16 & 1)) >> 16,
    }
}

/// One task of a product.
struct Block<'a, F> {
    linear: &'a Linear,
    activations: &'a [u32],
    row_words: usize,
    tile_rows: usize,
    depth: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    /// At least `panels × rows × 32`: the rows of one panel after those of another.
    sums: &'a mut [f32],
    /// Room for [`WIDENED_DEPTH`] positions of a panel, if the format is widened.
    widened: &'a mut [f32],
    y: &'a Chunks<'a, f32>,
    store: Store,
    format: std::marker::PhantomData<F>,
}

impl<F: Step> Kernel for Block<'_, F> {
    type Output = ();

    const PRODUCTS: Products = F::ACTIVATIONS.products();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const { assert!(F::BYTES <= STEP_BYTES, "parts of a panel have a step at least") };
        let (n_tiles, ahead) = (self.rows.len().div_ceil(self.tile_rows), Ahead::here());
        const {
            assert!(WIDENED_DEPTH.is_multiple_of(F::DEPTH) || !F::WIDENS, "whole steps are widened")
        };
        let widens = F::is_widened::<S>() && n_tiles >= TILES_TO_WIDEN;
        // A single tile of rows has nothing to keep a part of a panel for.
        let step = match n_tiles {
            0 | 1 => self.depth,
            _ if widens => WIDENED_DEPTH.min(self.depth),
            _ => (STEP_BYTES / F::BYTES * F::DEPTH).min(self.depth),
        };
        for begin in (0..self.depth).step_by(step) {
            let depth = step.min(self.depth - begin);
            let step_bytes = |depth: usize| depth.div_ceil(F::DEPTH) * F::BYTES;
            for (i, panel) in self.panels.clone().enumerate() {
                // What comes next is brought near, a part with each tile.
                let (next, at) = match panel + 1 < self.panels.end {
                    true => (panel + 1, begin),
                    false => (self.panels.start, begin + depth),
                };
                let mut asked =
                    self.linear.panels.panel(next).as_ptr().wrapping_add(step_bytes(at));
                let lines_per_tile = match n_tiles {
                    0 | 1 => 0,
                    _ => step_bytes(depth).div_ceil(64 * n_tiles),
                };
                let panel = &self.linear.panels.panel(panel)[step_bytes(begin)..];
                if widens {
                    // SAFETY: the panel reaches over the depth, and there is room for a step.
                    unsafe { F::widen::<S>(panel.as_ptr(), depth, self.widened.as_mut_ptr()) };
                }
                // The first panel meets activations that come from farther than those of the others:
                // each tile asks for most lines of the next one's as it goes.
                let ahead = match i {
                    0 if n_tiles > 1 => {
                        Ahead { activations_bytes: 4 * self.tile_rows * self.row_words, ..ahead }
                    }
                    _ => ahead,
                };
                for first in (self.rows.clone()).step_by(self.tile_rows) {
                    let rows = self.tile_rows.min(self.rows.end - first);
                    let words = row_words(F::ACTIVATIONS, begin, S::HAS_BF16_DOT);
                    let a = first * self.row_words + words * rows;
                    let c = (i * self.rows.len() + first - self.rows.start) * PANEL;
                    let operands = Operands {
                        a: self.activations[a..].as_ptr(),
                        b: if widens { self.widened.as_ptr().cast() } else { panel.as_ptr() },
                        depth,
                        c: self.sums[c..].as_mut_ptr(),
                        c_stride: PANEL,
                        accumulate: begin > 0,
                        ahead,
                    };
                    // SAFETY: the packed rows of the tile reach over the depth, and the sums over
                    // all of its rows and columns; `dispatch` saw to the instructions.
                    unsafe {
                        for _ in 0..lines_per_tile {
                            S::prefetch(asked);
                            asked = asked.wrapping_add(64);
                        }
                        let spacing = |rows| Spacing { row: 1, depth: rows };
                        if widens {
                            tile_of_rows::<S, F32>(rows, operands, spacing);
                        } else {
                            tile_of_rows::<S, F>(rows, operands, spacing);
                        }
                    }
                }
            }
        }
        // SAFETY: by the caller.
        unsafe { self.finish::<S>() };
    }
}

impl<F: Step> Block<'_, F> {
    /// From the sums to outputs.
    ///
    /// # Safety
    /// The machine has the instructions of `S`.
    #[inline(always)]
    unsafe fn finish<S: Simd>(self) {
        let Linear { outputs, n_out, ref bias, .. } = *self.linear;
        let panel_outputs = match outputs {
            Outputs::Stacked => PANEL,
            Outputs::SwiGlu => PANEL / 2,
        };
        for (i, row) in self.rows.clone().enumerate() {
            for (j, panel) in self.panels.clone().enumerate() {
                let sums = &mut self.sums[(j * self.rows.len() + i) * PANEL..][..PANEL];
                if F::SUMS_ARE_INTEGERS {
                    // SAFETY: by the caller; a panel's sums are there.
                    unsafe { to_floats::<S>(sums) };
                }
                if let Some(bias) = bias.get(panel * PANEL..(panel + 1) * PANEL) {
                    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
                }
                if outputs == Outputs::SwiGlu {
                    // SAFETY: by the caller; a panel's sums are there.
                    unsafe { swiglu::<S>(sums) };
                }
                let (first, end) = (panel * panel_outputs, (panel + 1) * panel_outputs);
                // SAFETY: no other task has this row and this panel.
                let y = unsafe { self.y.part(row * n_out + first..row * n_out + end.min(n_out)) };
                // Outputs come from far; those of the next row, if there is one, are brought near.
                // SAFETY: reads nothing.
                unsafe {
                    let next = y.as_ptr().wrapping_add(n_out);
                    S::prefetch(next.cast());
                    S::prefetch(next.wrapping_add(y.len() - 1).cast());
                }
                // SAFETY: by the caller.
                unsafe { deliver::<S>(sums, self.store, y) };
            }
        }
    }
}

/// A panel's sums of integers as floats.
///
/// # Safety
/// The machine has the instructions of `S`; the sums are those of a panel.
#[inline(always)]
unsafe fn to_floats<S: Simd>(sums: &mut [f32]) {
    for at in (0..PANEL).step_by(S::LANES) {
        // SAFETY: panels are whole vectors.
        unsafe {
            let sums = sums[at..].as_mut_ptr();
            S::store(sums, S::floats(S::integers_of_bits(S::load(sums))));
        }
    }
}

/// Brings the first sums to where outputs are.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
unsafe fn deliver<S: Simd>(sums: &[f32], store: Store, y: &mut [f32]) {
    let sums = &sums[..y.len()];
    let in_vectors = y.len() / S::LANES * S::LANES;
    for at in (0..in_vectors).step_by(S::LANES) {
        // SAFETY: by the caller; vectors end before the outputs do.
        unsafe {
            let (to, sum) = (y[at..].as_mut_ptr(), S::load(sums[at..].as_ptr()));
            let output = match store {
                Store::Overwrite => sum,
                Store::Add => S::add(S::load(to), sum),
            };
            S::store(to, output);
        }
    }
    for (y, sum) in y.iter_mut().zip(sums).skip(in_vectors) {
        match store {
            Store::Overwrite => *y = *sum,
            Store::Add => *y += sum,
        }
    }
}

/// `silu(gate) · up` in the first half of a panel's sums.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
unsafe fn swiglu<S: Simd>(sums: &mut [f32]) {
    let (gate, up) = sums.split_at_mut(PANEL / 2);
    for at in (0..PANEL / 2).step_by(S::LANES) {
        // SAFETY: halves of a panel are whole vectors.
        unsafe {
            let gate = gate[at..].as_mut_ptr();
            let value = S::load(gate);
            // e^−|x| never overflows: 1 / (1 + e^−x) is e^x / (1 + e^x).
            let positive = S::max(value, S::splat(0.0));
            let negative = S::sub(value, positive);
            let e = exp::<S>(S::sub(negative, positive));
            let share = S::div(exp::<S>(negative), S::add(S::splat(1.0), e));
            S::store(gate, S::mul(S::mul(value, share), S::load(up[at..].as_ptr())));
        }
    }
}
