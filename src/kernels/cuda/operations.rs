//! The kernels, each as a function of what it works on. Sizes are held against the memory that is
//! given; formats are the caller's word.

use std::ops::Range;

use super::launch::{Launch, Span};
use super::program::{HeadShape, Source, Variant};
use crate::kernels::linear::FloatFormat;

/// Threads of a block that works on one row.
const ROW_THREADS: u32 = 256;
/// Bytes of an f32.
const WIDE: usize = 4;

/// Bytes of a number.
pub fn bytes_of(format: FloatFormat) -> usize {
    match format {
        FloatFormat::F32 => 4,
        FloatFormat::F16 | FloatFormat::Bf16 => 2,
    }
}

/// Numbers that a thread reads at once.
fn per_load(format: FloatFormat) -> usize {
    16 / bytes_of(format)
}

fn plain(source: Source, format: FloatFormat) -> Variant {
    Variant { source, format, heads: None }
}

fn row_launch<'a>(format: FloatFormat, name: &'static str, n_rows: usize) -> Launch<'a> {
    Launch::new(plain(Source::Rows, format), name, [n_rows, 1, 1], ROW_THREADS)
}

/// Rows of a matrix: `n` of them, from `first` on, each `step` further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowChoice {
    /// The first.
    pub first: usize,
    /// From one to the next.
    pub step: usize,
    /// How many.
    pub n: usize,
}

impl RowChoice {
    /// The first `n`.
    pub fn all(n: usize) -> Self {
        Self { first: 0, step: 1, n }
    }

    /// The last row of each of `n` sequences that have `n_rows` each.
    pub fn last_of(n: usize, n_rows: usize) -> Self {
        Self { first: n_rows - 1, step: n_rows, n }
    }

    /// Rows that a matrix must have for it.
    fn end(self) -> usize {
        self.first + self.step * self.n.saturating_sub(1) + usize::from(self.n > 0)
    }
}

/// `x (rows, width)` f32 from rows of `table`, one for each of `tokens` u32, which are below its
/// number of rows.
pub fn embed<'a>(
    format: FloatFormat,
    tokens: Span<'a>,
    table: Span<'a>,
    x: Span<'a>,
    (n_rows, width): (usize, usize),
) -> Launch<'a> {
    row_launch(format, "embed", n_rows)
        .span(tokens, n_rows * 4)
        .span(table, width * bytes_of(format))
        .span(x, n_rows * width * WIDE)
        .number(width)
}

/// RMSNorm of chosen rows of `x (…, width)` f32 by `weight (width)` f32 into `y (n, width)`.
pub fn rms_norm<'a>(
    format: FloatFormat,
    x: Span<'a>,
    weight: Span<'a>,
    y: Span<'a>,
    (rows, width): (RowChoice, usize),
    eps: f32,
) -> Launch<'a> {
    row_launch(format, "rms_norm", rows.n)
        .span(x, rows.end() * width * WIDE)
        .span(weight, width * WIDE)
        .span(y, rows.n * width * bytes_of(format))
        .number(width)
        .float(eps)
        .number(rows.first)
        .number(rows.step)
}

/// Chosen rows of `x (…, width)` f32 into `y (n, width)` f32.
pub fn keep_rows<'a>(x: Span<'a>, y: Span<'a>, (rows, width): (RowChoice, usize)) -> Launch<'a> {
    row_launch(FloatFormat::F32, "keep_rows", rows.n)
        .span(x, rows.end() * width * WIDE)
        .span(y, rows.n * width * WIDE)
        .number(width)
        .number(rows.first)
        .number(rows.step)
}

/// The same for rows in the format of products.
pub fn keep_elements<'a>(
    format: FloatFormat,
    x: Span<'a>,
    y: Span<'a>,
    (rows, width): (RowChoice, usize),
) -> Launch<'a> {
    row_launch(format, "keep_elements", rows.n)
        .span(x, rows.end() * width * bytes_of(format))
        .span(y, rows.n * width * bytes_of(format))
        .number(width)
        .number(rows.first)
        .number(rows.step)
}

/// `silu(gate)·up` of `gate_up (rows, 2·width)` into `y (rows, width)`, after `bias (2·width)` f32.
pub fn swiglu<'a>(
    format: FloatFormat,
    gate_up: Span<'a>,
    bias: Option<Span<'a>>,
    y: Span<'a>,
    (n_rows, width): (usize, usize),
) -> Launch<'a> {
    let grid = [n_rows, width.div_ceil(ROW_THREADS as usize), 1];
    Launch::new(plain(Source::Rows, format), "swiglu", grid, ROW_THREADS)
        .span(gate_up, n_rows * 2 * width * bytes_of(format))
        .optional(bias, 2 * width * WIDE)
        .span(y, n_rows * width * bytes_of(format))
        .number(width)
}

/// Adds `bias (width)` f32 to every row of `x (rows, width)` f32.
pub fn add_bias<'a>(x: Span<'a>, bias: Span<'a>, (n_rows, width): (usize, usize)) -> Launch<'a> {
    row_launch(FloatFormat::F32, "add_bias", n_rows)
        .span(x, n_rows * width * WIDE)
        .span(bias, width * WIDE)
        .number(width)
}

/// The index of the greatest of each row of `logits (rows, width)` f32 into `picks (rows)` u32.
pub fn greatest<'a>(
    logits: Span<'a>,
    picks: Span<'a>,
    (n_rows, width): (usize, usize),
) -> Launch<'a> {
    let variant = plain(Source::Rows, FloatFormat::F32);
    Launch::new(variant, "greatest", [n_rows, 1, 1], 1024)
        .span(logits, n_rows * width * WIDE)
        .span(picks, n_rows * 4)
        .number(width)
}

/// Sets `start`, an i32 on the device: where the pass that follows begins.
pub fn stand_at(start: Span<'_>, position: usize) -> Launch<'_> {
    let variant = plain(Source::Rows, FloatFormat::F32);
    Launch::new(variant, "stand_at", [1, 1, 1], 32).span(start, 4).number(position)
}

/// Ends a step: keeps its `picks (n)` u32 as a row of `history (n_positions, n)` u32, that of the
/// position `start`, which is one of them, and moves `start` on.
pub fn advance_step<'a>(
    start: Span<'a>,
    picks: Span<'a>,
    history: Span<'a>,
    (n_positions, n): (usize, usize),
) -> Launch<'a> {
    let variant = plain(Source::Rows, FloatFormat::F32);
    Launch::new(variant, "advance_step", [1, 1, 1], 128)
        .span(start, 4)
        .span(picks, n * 4)
        .span(history, n_positions * n * 4)
        .number(n)
}

/// Makes positions of a `cache (blocks, n_positions, width)` not a number.
pub fn spoil<'a>(
    format: FloatFormat,
    cache: Span<'a>,
    (n_blocks, n_positions, width): (usize, usize, usize),
    positions: Range<usize>,
) -> Launch<'a> {
    assert!(positions.start <= positions.end && positions.end <= n_positions);
    Launch::new(plain(Source::Rows, format), "spoil", [n_blocks, 1, 1], 1024)
        .span(cache, n_blocks * n_positions * width * bytes_of(format))
        .number(n_positions)
        .number(width)
        .number(positions.start)
        .number(positions.end)
}

/// Rows of heads before attention: `(sequences · n_tokens)` rows, each `n_q` heads of queries and
/// `n_kv` each of keys and values, all of `dim` numbers.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows {
    /// Sequences.
    pub n_sequences: usize,
    /// Tokens of each.
    pub n_tokens: usize,
    /// Query heads in a row.
    pub n_q: usize,
    /// Heads of keys in a row, and of values.
    pub n_kv: usize,
    /// Numbers of a head.
    pub dim: usize,
    /// Position of the first token after that of the pass.
    pub first: usize,
}

/// The turns of every position, `(n_positions, dim / 2)` f32 each.
#[derive(Clone, Copy, Debug)]
pub struct Turns<'a> {
    /// Cosines.
    pub cosines: Span<'a>,
    /// Sines.
    pub sines: Span<'a>,
}

/// RMSNorms of heads, `(dim)` f32 each.
#[derive(Clone, Copy, Debug)]
pub struct HeadNorms<'a> {
    /// Of queries.
    pub q: Span<'a>,
    /// Of keys.
    pub k: Span<'a>,
    /// What is added to mean squares.
    pub eps: f32,
}

/// Keys and values of a layer, `(sequences, n_kv, n_positions, dim)` each.
#[derive(Clone, Copy, Debug)]
pub struct LayerCache<'a> {
    /// Keys.
    pub keys: Span<'a>,
    /// Values.
    pub values: Span<'a>,
    /// Sequences.
    pub n_sequences: usize,
    /// Heads of each.
    pub n_kv: usize,
    /// Positions that there is room for.
    pub n_positions: usize,
}

impl LayerCache<'_> {
    fn n_bytes(&self, format: FloatFormat, dim: usize) -> usize {
        self.n_sequences * self.n_kv * self.n_positions * dim * bytes_of(format)
    }
}

/// Biases, norms and turns of `x`, whose rows hold heads: queries into `q (rows, n_q, dim)`, keys
/// and values into the cache, from the position `start` on. The cache and the turns have room for
/// all positions.
#[expect(clippy::too_many_arguments, reason = "one launch does all of it")]
pub fn rotate<'a>(
    format: FloatFormat,
    x: Span<'a>,
    rows: HeadRows,
    bias: Option<Span<'a>>,
    norms: Option<HeadNorms<'a>>,
    turns: Turns<'a>,
    start: Span<'a>,
    q: Option<Span<'a>>,
    cache: LayerCache<'a>,
) -> Launch<'a> {
    const WARPS: usize = 4;
    let HeadRows { n_sequences, n_tokens, n_q, n_kv, dim, first } = rows;
    assert!(n_kv == 0 || (n_kv == cache.n_kv && n_sequences == cache.n_sequences));
    assert!(q.is_some() || n_q == 0, "queries go somewhere");
    let (n_rows, n_heads) = (n_sequences * n_tokens, n_q + 2 * n_kv);
    let grid = [n_rows, n_heads.div_ceil(WARPS), 1];
    let of_cache = cache.n_bytes(format, dim);
    let n_turns = cache.n_positions * (dim / 2) * WIDE;
    Launch::new(plain(Source::Rotary, format), "rotate", grid, WARPS as u32 * 32)
        .span(x, n_rows * n_heads * dim * bytes_of(format))
        .optional(bias, n_heads * dim * WIDE)
        .optional(norms.map(|norms| norms.q), dim * WIDE)
        .optional(norms.map(|norms| norms.k), dim * WIDE)
        .span(turns.cosines, n_turns)
        .span(turns.sines, n_turns)
        .span(start, 4)
        .optional(q, n_rows * n_q * dim * bytes_of(format))
        .span(cache.keys, of_cache)
        .span(cache.values, of_cache)
        .number(n_heads)
        .number(n_q)
        .number(n_kv)
        .number(dim)
        .number(n_tokens)
        .number(first)
        .number(cache.n_positions)
        .float(norms.map_or(0.0, |norms| norms.eps))
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Rounded to the format.
    Narrowed,
    /// In f32.
    Wide,
    /// Added to the residual stream, in f32.
    Added,
    /// Of gates and what they let through, `silu(gate)·up`, rounded to the format.
    Gated,
}

/// Most rows of [`product`].
pub const PRODUCT_ROWS_MAX: usize = 8;

/// Whether [`product`] can read rows of `n_in` numbers.
pub fn can_multiply(format: FloatFormat, n_in: usize) -> bool {
    n_in.is_multiple_of(per_load(format))
}

/// `y (rows, n_out) = x (rows, n_in)·Wᵀ` with `bias (n_out)` f32, for at most
/// [`PRODUCT_ROWS_MAX`] rows. W is `(n_out, n_in)`; where it is gated, `(2·n_out, n_in)` with its
/// bias as long, gates first.
pub fn product<'a>(
    format: FloatFormat,
    kind: Product,
    w: Span<'a>,
    x: Span<'a>,
    bias: Option<Span<'a>>,
    y: Span<'a>,
    (n_rows, n_out, n_in): (usize, usize, usize),
) -> Launch<'a> {
    const WARPS: usize = 4;
    assert!(can_multiply(format, n_in) && (1..=PRODUCT_ROWS_MAX).contains(&n_rows));
    let (names, n_rows_of_w, bytes_of_y, n_warps) = match kind {
        Product::Narrowed => (NARROWED, n_out, bytes_of(format), n_out.div_ceil(2)),
        Product::Wide => (PRODUCT_WIDE, n_out, WIDE, n_out.div_ceil(2)),
        Product::Added => (ADDED, n_out, WIDE, n_out.div_ceil(2)),
        Product::Gated => (GATED, 2 * n_out, bytes_of(format), n_out),
    };
    let grid = [n_warps.div_ceil(WARPS), 1, 1];
    let variant = plain(Source::Products, format);
    Launch::new(variant, names[n_rows - 1], grid, WARPS as u32 * 32)
        .span(w, n_rows_of_w * n_in * bytes_of(format))
        .span(x, n_rows * n_in * bytes_of(format))
        .optional(bias, n_rows_of_w * WIDE)
        .span(y, n_rows * n_out * bytes_of_y)
        .number(n_out)
        .number(n_in)
}

/// The kernels of one kind, by their number of rows.
macro_rules! names {
    ($prefix:literal) => {
        [
            concat!($prefix, "_1"),
            concat!($prefix, "_2"),
            concat!($prefix, "_3"),
            concat!($prefix, "_4"),
            concat!($prefix, "_5"),
            concat!($prefix, "_6"),
            concat!($prefix, "_7"),
            concat!($prefix, "_8"),
        ]
    };
}
const NARROWED: [&str; PRODUCT_ROWS_MAX] = names!("product_narrowed");
const PRODUCT_WIDE: [&str; PRODUCT_ROWS_MAX] = names!("product_wide");
const ADDED: [&str; PRODUCT_ROWS_MAX] = names!("product_added");
const GATED: [&str; PRODUCT_ROWS_MAX] = names!("product_gated");

/// Whether [`attend_single`] has code for heads of a width: a power of two of loads, a warp's lanes
/// at most.
pub fn can_attend(format: FloatFormat, dim: usize) -> bool {
    let lanes = dim / per_load(format);
    dim.is_multiple_of(per_load(format)) && lanes.is_power_of_two() && lanes <= 32
}

/// Whether [`attend_block`] has code for heads of a width.
pub fn can_attend_in_blocks(format: FloatFormat, dim: usize) -> bool {
    format != FloatFormat::F32 && dim.is_multiple_of(16) && dim <= 128
}

/// Queries of attention, `(sequences · n_tokens, heads, dim)`.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// The queries.
    pub q: Span<'a>,
    /// Where what they attended to goes, shaped alike.
    pub to: Span<'a>,
    /// Queries of each sequence.
    pub n_tokens: usize,
    /// Position of the first after that of the pass.
    pub first: usize,
}

/// Memory for [`attend_single`] to leave parts in.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `(rows, heads, splits, dim)` f32.
    pub sums: Span<'a>,
    /// `(rows, heads, splits, 2)` f32.
    pub scales: Span<'a>,
    /// Into how many parts positions are split.
    pub n_splits: usize,
}

/// Attention of single queries, split over the positions that each sees; a query sees all up to its
/// own. Two launches, one after the other.
pub fn attend_single<'a>(
    format: FloatFormat,
    heads: HeadShape,
    queries: Queries<'a>,
    cache: LayerCache<'a>,
    start: Span<'a>,
    parts: Parts<'a>,
) -> [Launch<'a>; 2] {
    const HEADS_OF_BLOCK: usize = 8;
    let (dim, group) = (heads.dim as usize, heads.group as usize);
    assert!(can_attend(format, dim), "heads of {dim}");
    let (n_heads, n_rows) = (cache.n_kv * group, cache.n_sequences * queries.n_tokens);
    let n_parts = n_rows * n_heads * parts.n_splits;
    let of_queries = n_rows * n_heads * dim * bytes_of(format);
    let of_cache = cache.n_bytes(format, dim);
    let variant = Variant { source: Source::SingleAttention, format, heads: Some(heads) };
    let grid = [n_rows, cache.n_kv * group.div_ceil(HEADS_OF_BLOCK), parts.n_splits];
    let attend = Launch::new(variant, "attend_single", grid, 128)
        .span(queries.q, of_queries)
        .span(cache.keys, of_cache)
        .span(cache.values, of_cache)
        .span(start, 4)
        .span(parts.sums, n_parts * dim * WIDE)
        .span(parts.scales, n_parts * 2 * WIDE)
        .number(cache.n_kv)
        .number(cache.n_positions)
        .number(queries.n_tokens)
        .number(queries.first)
        .float(1.0 / (dim as f32).sqrt());
    let n_threads = heads.dim.next_multiple_of(32);
    let join = Launch::new(variant, "join_splits", [n_rows, n_heads, 1], n_threads)
        .span(parts.sums, n_parts * dim * WIDE)
        .span(parts.scales, n_parts * 2 * WIDE)
        .span(queries.to, of_queries)
        .number(parts.n_splits);
    [attend, join]
}

/// Causal attention of many queries, by the tensor cores.
pub fn attend_block<'a>(
    format: FloatFormat,
    heads: HeadShape,
    queries: Queries<'a>,
    cache: LayerCache<'a>,
    start: Span<'a>,
) -> Launch<'a> {
    const QUERIES_OF_BLOCK: usize = 64;
    let (dim, group) = (heads.dim as usize, heads.group as usize);
    assert!(can_attend_in_blocks(format, dim), "heads of {dim}");
    assert!(queries.first == 0, "all queries of a pass");
    let n_heads = cache.n_kv * group;
    let of_queries = cache.n_sequences * queries.n_tokens * n_heads * dim * bytes_of(format);
    let of_cache = cache.n_bytes(format, dim);
    let variant = Variant { source: Source::BlockAttention, format, heads: Some(heads) };
    let grid = [queries.n_tokens.div_ceil(QUERIES_OF_BLOCK), n_heads, cache.n_sequences];
    Launch::new(variant, "attend_block", grid, 128)
        .span(queries.q, of_queries)
        .span(cache.keys, of_cache)
        .span(cache.values, of_cache)
        .span(start, 4)
        .span(queries.to, of_queries)
        .number(cache.n_kv)
        .number(cache.n_positions)
        .number(queries.n_tokens)
        .float(1.0 / (dim as f32).sqrt())
}
