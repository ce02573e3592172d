//! The innermost product: some rows of activations times one panel of weights, with the sums in
//! registers while the depth passes by.

#![allow(unsafe_code)]

use super::blocks::{BLOCK, int8, q4_k, q8_0};
use super::panel::PANEL;
use crate::kernels::instructions;
use crate::kernels::simd::{NIBBLE_GROUPS, Products, Simd};

/// How far ahead of a lone tile its panel is asked for, since what a machine brings near by itself
/// ends with a page, and is few steps ahead of the arithmetic.
const PANEL_AHEAD_BYTES: usize = 4096;

/// How far ahead of a tall tile its activations are asked for, where they come from the second
/// cache, since they pass by once for each panel.
const ACTIVATIONS_AHEAD_BYTES: usize = 384;

/// How far ahead of a tile what it reads is asked for.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Ahead {
    /// Its panel, where it is not full. At 0 the lines that are about to be read are asked for.
    pub panel_bytes: usize,
    /// Its activations, where it has many rows.
    pub activations_bytes: usize,
}

impl Ahead {
    /// That of tiles whose activations are in the second cache, on this machine. Cores of Zen 3 and
    /// Zen 4 bring enough of a panel near by themselves: asked for more, the second reads q4_k
    /// slower by a quarter and the first no format faster, where one of Zen 5 gains as much
    /// (`docs/performance.md`).
    pub fn here() -> Self {
        let panel_bytes = if instructions::is_amd_until_zen_4() { 0 } else { PANEL_AHEAD_BYTES };
        Self { panel_bytes, activations_bytes: ACTIVATIONS_AHEAD_BYTES }
    }
}

/// Rows of the tallest tile of any instruction set.
pub(in crate::kernels) const ROWS_MAX: usize = 12;

/// Where a tile reads and writes.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Operands {
    /// Activations at the first position of the depth, in words as the format's
    /// [`Step::ACTIVATIONS`] says.
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
    pub ahead: Ahead,
}

/// What a step reads of a panel.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct PanelStep {
    /// Where it begins.
    pub b: *const u8,
    /// The first column of those that are multiplied.
    pub column: usize,
    /// Positions of the depth.
    pub depth: usize,
    pub ahead: Ahead,
}

/// How words of activations lie: `row` words between rows, `depth` words between steps.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Spacing {
    pub row: usize,
    pub depth: usize,
}

/// How the innermost loop finds the activations of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) enum Activations {
    /// One float for each position.
    Floats,
    /// Pairs of bf16, one word for two positions, when a machine multiplies those; else floats.
    Bf16Pairs,
    /// Bytes in blocks of 32 positions that share a scale: [`BYTE_BLOCK_WORDS`].
    Bytes,
    /// Whole numbers from −127 to 127 as bytes, in blocks of 512: [`INTEGER_BLOCK_WORDS`].
    Integers,
}

impl Activations {
    /// What they are multiplied by.
    pub(super) const fn products(self) -> Products {
        match self {
            Self::Floats => Products::Floats,
            Self::Bf16Pairs => Products::Pairs,
            Self::Bytes | Self::Integers => Products::Bytes,
        }
    }
}

/// Words of a block of [`Activations::Bytes`]: the scale; the scale times the sum of the bytes;
/// −128 times that sum, as an integer; and the bytes.
pub(super) const BYTE_BLOCK_WORDS: usize = 3 + BLOCK / 4;
/// Positions in a block of [`Activations::Integers`].
pub(super) const INTEGERS: usize = 512;
/// Words of a block of [`Activations::Integers`]: −128 times the sum of the bytes, and the bytes.
pub(super) const INTEGER_BLOCK_WORDS: usize = 1 + INTEGERS / 4;

/// A format of weights in panels, as the innermost loop sees it.
pub(in crate::kernels) trait Step {
    /// Positions of the depth in a step.
    const DEPTH: usize;
    /// Bytes of a panel in a step.
    const BYTES: usize;
    /// Positions of the depth come in multiples of these; the last step may have fewer than others.
    const DEPTH_UNIT: usize = Self::DEPTH;
    const ACTIVATIONS: Activations;
    /// Whether many rows of activations are better multiplied by a copy of the weights in f32, as
    /// long as pairs of bf16 are not multiplied as such.
    const WIDENS: bool = false;
    /// Whether sums are integers, by their bits, until all of the depth has passed.
    const SUMS_ARE_INTEGERS: bool = false;

    /// Whether that is so with the instructions of `S`.
    #[inline(always)]
    fn is_widened<S: Simd>() -> bool {
        Self::WIDENS
    }

    /// Writes `depth` positions of the panel's step at `b` as f32, 32 for each.
    ///
    /// # Safety
    /// As [`tile`] asks, and `to` can hold them.
    unsafe fn widen<S: Simd>(_b: *const u8, _depth: usize, _to: *mut f32) {
        unreachable!("only formats that say so are widened")
    }

    /// Adds the products of one step to `sums`: rows of activations at `a` times the two vectors of
    /// weights from the panel's column on.
    ///
    /// # Safety
    /// As [`tile`] asks.
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    );
}

/// Words of a row of activations for `depth` positions, where pairs of bf16 are multiplied or not.
#[inline(always)]
pub(super) const fn row_words(activations: Activations, depth: usize, has_dot: bool) -> usize {
    match activations {
        Activations::Bf16Pairs if has_dot => depth / 2,
        Activations::Floats | Activations::Bf16Pairs => depth,
        Activations::Bytes => depth / BLOCK * BYTE_BLOCK_WORDS,
        Activations::Integers => depth.div_ceil(INTEGERS) * INTEGER_BLOCK_WORDS,
    }
}

/// Rows of the tallest tile of `F`.
#[inline(always)]
pub(super) const fn rows_max<S: Simd, F: Step>() -> usize {
    match F::ACTIVATIONS {
        Activations::Bytes | Activations::Integers => S::BYTE_TILE_ROWS,
        Activations::Floats | Activations::Bf16Pairs => S::TILE_ROWS,
    }
}

/// Parts of a panel, of two vectors each, at most.
const PARTS_MAX: usize = 2;

/// Parts of a panel that a tile of `rows` rows multiplies in turns, step by step: as many as sums have
/// registers for. A lone row reads all lines of a step before those of the next then, instead of every
/// other line of a panel and the others after that.
#[inline(always)]
const fn n_parts<S: Simd, F: Step>(rows: usize) -> usize {
    let n_parts = PANEL / (2 * S::LANES);
    assert!(n_parts <= PARTS_MAX, "there are sums for all parts of a panel");
    if rows * n_parts <= rows_max::<S, F>() { n_parts } else { 1 }
}

/// Sets of sums of a tile, at most.
const SETS_MAX: usize = 4;

/// Sets of sums among which the steps of a tile of `rows` rows take turns. With one, a few rows of
/// words would wait for the multiply-add before, while registers are free; steps of bytes have
/// sums of their own.
#[inline(always)]
const fn n_sets<S: Simd, F: Step>(rows: usize) -> usize {
    let wanted = match (F::ACTIVATIONS, rows) {
        (Activations::Bytes | Activations::Integers, _) => 1,
        (_, 1) => SETS_MAX,
        (_, 2 | 3) => 2,
        _ => 1,
    };
    // As many registers as the tallest tile has.
    match rows_max::<S, F>() / (rows * n_parts::<S, F>(rows)) {
        // A tile that does not fit is never run.
        0 => 1,
        n_fitting if n_fitting < wanted => n_fitting,
        _ => wanted,
    }
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
    let Operands { a, b, depth, c, c_stride, accumulate, ahead } = operands;
    let a_step = spacing.depth * row_words(F::ACTIVATIONS, F::DEPTH, S::HAS_BF16_DOT);
    let is_tall = ROWS == const { rows_max::<S, F>() };
    let is_in_words = matches!(F::ACTIVATIONS, Activations::Floats | Activations::Bf16Pairs);
    // Sets are added to each other as floats.
    const { assert!(!F::SUMS_ARE_INTEGERS || n_sets::<S, F>(ROWS) == 1) };
    let (n_parts, n_sets) = const { (n_parts::<S, F>(ROWS), n_sets::<S, F>(ROWS)) };
    for first in (0..PANEL).step_by(n_parts * 2 * S::LANES) {
        // SAFETY: by the caller; columns end with the panel.
        unsafe {
            let mut sums = [[[[S::splat(0.0); 2]; ROWS]; SETS_MAX]; PARTS_MAX];
            if accumulate {
                for (part, [sums, ..]) in sums.iter_mut().enumerate().take(n_parts) {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let c = c.add(row * c_stride + first + part * 2 * S::LANES);
                        *sums = [S::load(c), S::load(c.add(S::LANES))];
                    }
                }
            }
            let (mut a, mut b) = (a, b);
            // Not a closure, which would not be compiled for the instructions of `S`.
            macro_rules! step {
                ($set:literal, $depth:expr) => {
                    if is_tall && is_in_words {
                        S::prefetch_nearest(a.cast::<u8>().wrapping_add(ahead.activations_bytes));
                    }
                    for (part, sums) in sums.iter_mut().enumerate().take(n_parts) {
                        let column = first + part * 2 * S::LANES;
                        let panel = PanelStep { b, column, depth: $depth, ahead };
                        F::step::<S, ROWS>(a, spacing, panel, &mut sums[$set % n_sets]);
                    }
                    // Beyond the end after a last step that is shorter than others, and not read.
                    a = a.wrapping_add(a_step);
                    b = b.wrapping_add(F::BYTES);
                };
            }
            let mut left = depth;
            // Counting takes ports that multiply as well, and sets take turns.
            while (is_tall || n_sets > 1) && is_in_words && left >= 4 * F::DEPTH {
                step!(0, F::DEPTH);
                step!(1, F::DEPTH);
                step!(2, F::DEPTH);
                step!(3, F::DEPTH);
                left -= 4 * F::DEPTH;
            }
            while left > 0 {
                let depth = F::DEPTH.min(left);
                step!(0, depth);
                left -= depth;
            }
            for (part, [mut sums, others @ ..]) in sums.into_iter().enumerate().take(n_parts) {
                for other in others.into_iter().take(n_sets - 1) {
                    for (sums, other) in sums.iter_mut().zip(other) {
                        *sums = [S::add(sums[0], other[0]), S::add(sums[1], other[1])];
                    }
                }
                for (row, sums) in sums.into_iter().enumerate() {
                    let c = c.add(row * c_stride + first + part * 2 * S::LANES);
                    for (i, sum) in sums.into_iter().enumerate() {
                        S::store(c.add(i * S::LANES), sum);
                    }
                }
            }
        }
    }
}

/// Asks for the part of a panel that lies ahead of `n_bytes` at `b`, for tiles that are not full:
/// they are most often alone, and then nothing was brought near before. Formats do so bit by bit,
/// since many requests at once wait for each other.
///
/// # Safety
/// None that [`Simd::prefetch`] does not have.
#[inline(always)]
unsafe fn ask_ahead<S: Simd, F: Step, const ROWS: usize>(
    panel: PanelStep,
    b: *const u8,
    n_bytes: usize,
) {
    if ROWS < const { rows_max::<S, F>() } && panel.column == 0 {
        for line in (0..n_bytes).step_by(64) {
            // SAFETY: by the caller.
            unsafe { S::prefetch(b.wrapping_add(panel.ahead.panel_bytes + line)) };
        }
    }
}

/// [`tile`] for a number of rows that is known only now, from 1 to [`rows_max`].
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
                $($rows if $rows <= rows_max::<S, F>() => unsafe {
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
    const ACTIVATIONS: Activations = Activations::Floats;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            ask_ahead::<S, Self, ROWS>(panel, b, Self::BYTES);
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
    const ACTIVATIONS: Activations = Activations::Floats;
    const WIDENS: bool = true;

    #[inline(always)]
    unsafe fn widen<S: Simd>(b: *const u8, depth: usize, to: *mut f32) {
        for at in (0..depth * PANEL).step_by(S::LANES) {
            // SAFETY: by the caller.
            unsafe { S::store(to.add(at), S::load_f16(b.cast::<u16>().add(at))) };
        }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            ask_ahead::<S, Self, ROWS>(panel, b, Self::BYTES);
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
    const ACTIVATIONS: Activations = if DOT { Activations::Bf16Pairs } else { Activations::Floats };
    const WIDENS: bool = true;

    /// Only where the sums of the tallest tile leave no registers for both halves of pairs.
    #[inline(always)]
    fn is_widened<S: Simd>() -> bool {
        !S::HAS_BF16_DOT && S::TILE_ROWS < ROWS_MAX
    }

    #[inline(always)]
    unsafe fn widen<S: Simd>(b: *const u8, depth: usize, to: *mut f32) {
        for first in (0..depth * PANEL).step_by(2 * PANEL) {
            for at in (first..first + PANEL).step_by(S::LANES) {
                // SAFETY: by the caller, who has whole pairs.
                unsafe {
                    let pairs = b.cast::<u16>().add(first + 2 * (at - first));
                    let (even, odd) = S::load_bf16_pairs(pairs);
                    S::store(to.add(at), even);
                    S::store(to.add(at + PANEL), odd);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            ask_ahead::<S, Self, ROWS>(panel, b, Self::BYTES);
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

/// Sums of the products of `n_groups` groups of four positions: rows of activations in bytes,
/// after the word at `a` that `start` makes the first sums of each row from, times what `weights`
/// gives for each group, by `add`. `UNROLLED` takes four groups at a time where there are many: of
/// more than a hundred single ones a processor does not foresee the end.
///
/// # Safety
/// As [`tile`] asks.
#[inline(always)]
unsafe fn block_sums<S: Simd, const ROWS: usize, const UNROLLED: bool>(
    a: *const u32,
    spacing: Spacing,
    n_groups: usize,
    ahead: Ahead,
    start: impl Fn(usize, *const u32) -> [S::I; 2],
    weights: impl Fn(usize) -> [S::I; 2],
    add: impl Fn(S::I, S::I, S::I) -> S::I,
) -> [[S::I; 2]; ROWS] {
    // SAFETY: by the caller.
    unsafe {
        let mut sums: [[S::I; 2]; ROWS] =
            std::array::from_fn(|row| start(row, a.add(row * spacing.row)));
        let mut group = 0;
        // Not a closure, as in `tile`.
        macro_rules! add_group {
            () => {
                let a = a.add((1 + group) * spacing.depth);
                // As in `tile`; fewer rows leave nothing to be asked for at most groups.
                if ROWS > 8 {
                    S::prefetch_nearest(a.cast::<u8>().wrapping_add(ahead.activations_bytes));
                }
                let weights = weights(group);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let bytes = S::splat_bytes(a.add(row * spacing.row));
                    sums[0] = add(weights[0], bytes, sums[0]);
                    sums[1] = add(weights[1], bytes, sums[1]);
                }
                group += 1;
            };
        }
        while UNROLLED && ROWS > 8 && group + 4 <= n_groups {
            add_group!();
            add_group!();
            add_group!();
            add_group!();
        }
        while group < n_groups {
            add_group!();
        }
        sums
    }
}

/// A word of activations that is a float, in all lanes.
///
/// # Safety
/// As [`tile`] asks.
#[inline(always)]
unsafe fn splat_at<S: Simd>(a: *const u32) -> S::V {
    // SAFETY: by the caller.
    unsafe { S::splat(*a.cast::<f32>()) }
}

/// Bytes with a scale for each 32 of them.
pub(super) struct Q8_0;

impl Step for Q8_0 {
    const DEPTH: usize = BLOCK;
    const BYTES: usize = q8_0::BLOCK_BYTES;
    const ACTIVATIONS: Activations = Activations::Bytes;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            ask_ahead::<S, Self, ROWS>(panel, b, q8_0::GROUPS_AT);
            let scales = b.cast::<u16>().add(column);
            let scales = [S::load_f16(scales), S::load_f16(scales.add(S::LANES))];
            let weights = b.add(q8_0::GROUPS_AT + 4 * column);
            let of_block = block_sums::<S, ROWS, false>(
                a.add(2 * spacing.depth),
                spacing,
                BLOCK / 4,
                panel.ahead,
                |_, offset| [S::start_of_offset_sums(offset); 2],
                |group| {
                    let weights = weights.add(4 * PANEL * group);
                    ask_ahead::<S, Self, ROWS>(panel, weights, 4 * PANEL);
                    [S::load_bytes(weights), S::load_bytes(weights.add(4 * S::LANES))]
                },
                |weights, bytes, sums| S::add_offset_products(weights, bytes, sums),
            );
            for (row, (sums, of_block)) in sums.iter_mut().zip(of_block).enumerate() {
                let scale = splat_at::<S>(a.add(row * spacing.row));
                for i in 0..2 {
                    let scaled = S::mul(S::floats(of_block[i]), scales[i]);
                    sums[i] = S::multiply_add(scaled, scale, sums[i]);
                }
            }
        }
    }
}

/// Halves of bytes with a scale and a least value for each 32 of them.
pub(super) struct Q4K;

const _: () = assert!(BLOCK / 4 == NIBBLE_GROUPS, "a block is a sum of products of nibbles");

impl Step for Q4K {
    const DEPTH: usize = 256;
    const BYTES: usize = q4_k::SUPER_BLOCK_BYTES;
    const DEPTH_UNIT: usize = BLOCK;
    const ACTIVATIONS: Activations = Activations::Bytes;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, depth, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            ask_ahead::<S, Self, ROWS>(panel, b, q4_k::BLOCKS_AT);
            let halves = b.cast::<u16>().add(column);
            let d = [S::load_f16(halves), S::load_f16(halves.add(S::LANES))];
            let halves = halves.add(PANEL);
            let e = [S::load_f16(halves), S::load_f16(halves.add(S::LANES))];
            for block in 0..depth / BLOCK {
                let a = a.add(block * spacing.depth * BYTE_BLOCK_WORDS);
                let b = b.add(q4_k::BLOCKS_AT + block * q4_k::BLOCK_BYTES);
                ask_ahead::<S, Self, ROWS>(panel, b, q4_k::GROUPS_AT);
                let of_block = block_sums::<S, ROWS, false>(
                    a.add(2 * spacing.depth),
                    spacing,
                    NIBBLE_GROUPS,
                    panel.ahead,
                    |_, _| [S::splat_i32(0); 2],
                    |group| {
                        let b = b.add(q4_k::GROUPS_AT + 4 * PANEL * (group / 2) + 4 * column);
                        let both = [S::load_bytes(b), S::load_bytes(b.add(4 * S::LANES))];
                        if group % 2 == 0 {
                            ask_ahead::<S, Self, ROWS>(panel, b, 4 * PANEL);
                        }
                        match group % 2 {
                            0 => both.map(|bytes| S::low_nibbles(bytes)),
                            _ => both.map(|bytes| S::high_nibbles(bytes)),
                        }
                    },
                    |nibbles, bytes, sums| S::add_nibble_products(nibbles, bytes, sums),
                );
                for i in 0..2 {
                    let scales = b.add(column + i * S::LANES);
                    let scale_of_weights = S::mul(S::load_u8(scales), d[i]);
                    let least = S::mul(S::load_u8(scales.add(PANEL)), e[i]);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let a = a.add(row * spacing.row);
                        let whole = S::floats(S::whole_nibble_sums(of_block[row][i]));
                        let scaled = S::mul(whole, scale_of_weights);
                        let sum = S::multiply_add(scaled, splat_at::<S>(a), sums[i]);
                        sums[i] = S::sub(sum, S::mul(least, splat_at::<S>(a.add(spacing.depth))));
                    }
                }
            }
        }
    }
}

/// Bytes without a scale.
pub(super) struct Int8;

impl Step for Int8 {
    const DEPTH: usize = INTEGERS;
    const BYTES: usize = INTEGERS / BLOCK * int8::BLOCK_BYTES;
    const DEPTH_UNIT: usize = BLOCK;
    const ACTIVATIONS: Activations = Activations::Integers;
    const SUMS_ARE_INTEGERS: bool = true;

    #[inline(always)]
    unsafe fn step<S: Simd, const ROWS: usize>(
        a: *const u32,
        spacing: Spacing,
        panel: PanelStep,
        sums: &mut [[S::V; 2]; ROWS],
    ) {
        let PanelStep { b, column, depth, .. } = panel;
        // SAFETY: by the caller.
        unsafe {
            let of_block = block_sums::<S, ROWS, true>(
                a,
                spacing,
                depth / 4,
                panel.ahead,
                |row, offset| {
                    let start = S::start_of_offset_sums(offset);
                    sums[row].map(|sum| S::add_i32(S::integers_of_bits(sum), start))
                },
                |group| {
                    let weights = b.add(4 * (PANEL * group + column));
                    ask_ahead::<S, Self, ROWS>(panel, weights, 4 * PANEL);
                    [S::load_bytes(weights), S::load_bytes(weights.add(4 * S::LANES))]
                },
                |weights, bytes, sums| S::add_offset_products(weights, bytes, sums),
            );
            for (sums, of_block) in sums.iter_mut().zip(of_block) {
                *sums = of_block.map(|sum| S::bits_of_integers(sum));
            }
        }
    }
}
