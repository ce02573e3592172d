//! Causal attention over cached keys and values, in which `G` query heads share one of each.
//!
//! Keys lie in panels of 32 positions, values in panels of 32 numbers of a head, each panel as
//! weights do (`linear/panel.rs`): scores are a product of queries with panels of keys, results
//! one of shares with panels of values. Positions pass by in chunks whose scores stay in a core's
//! first cache, and shares are corrected when a greater score comes (Milakov and Gimelshein,
//! *Online normalizer calculation for softmax*, 2018; Dao et al., *FlashAttention*, 2022). Only
//! the causal triangle is computed, chunk by chunk. With few queries, ranges of positions are
//! computed apart and put together.

#![allow(unsafe_code)]

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::linear::tile::{
    Activations, Ahead, Bf16, F16, F32, Operands, ROWS_MAX, Spacing, Step, tile_of_rows,
};
use super::linear::{FloatFormat, PANEL};
use crate::kernels::Instructions;
use crate::kernels::chunks::Chunks;
use crate::kernels::memory::Buffer;
use crate::kernels::pool::{Pool, Team};
use crate::kernels::simd::{Kernel, Products, Simd, dispatch, exp, tile_rows};

/// Positions whose scores are held at a time.
const CHUNK: usize = 128;
/// Positions below which a range is not computed apart from others.
const RANGE_MIN: usize = 512;
/// What it takes to write a number of keys and values to its place, as moving so many bytes.
const WRITTEN_AS_BYTES: usize = 30;
/// Tasks per thread that even out threads of different speed.
const TASKS_PER_THREAD: usize = 4;

/// The keys and values of one layer.
#[derive(Debug)]
pub struct KvPanels {
    format: FloatFormat,
    n_kv_heads: usize,
    head_dim: usize,
    n_positions: usize,
    keys: Buffer,
    values: Buffer,
    /// Half-words of one head of one sequence.
    key_len: usize,
    value_len: usize,
    #[cfg(test)]
    ignores_writes: bool,
}

/// Queries and where their results go, both `(batch, n_queries, n_heads, head_dim)`.
#[derive(Debug)]
pub struct Queries<'a> {
    /// The queries.
    pub q: Strided<'a>,
    /// The results, without anything between rows.
    pub to: &'a mut [f32],
    /// Sequences.
    pub batch_size: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Position of the last query. The ones before it stand at the positions before.
    pub last_position: usize,
}

impl KvPanels {
    /// Memory for `n_positions` positions of `batch_size` sequences.
    ///
    /// Keys begin as NaN, so that one that is read before it is written shows in the result.
    /// Values begin as 0, since a position that is not seen yet is multiplied by 0.
    ///
    /// # Errors
    /// If the system refuses the memory.
    ///
    /// # Panics
    /// If `head_dim` is odd; rotary embeddings pair its numbers.
    pub fn new(
        format: FloatFormat,
        batch_size: usize,
        n_kv_heads: usize,
        n_positions: usize,
        head_dim: usize,
    ) -> std::io::Result<Self> {
        assert!(head_dim.is_multiple_of(2), "heads are pairs of numbers");
        let n_positions = n_positions.next_multiple_of(PANEL);
        let key_len = n_positions / PANEL * format.panel_bytes(head_dim) / 2;
        let value_len = head_dim.div_ceil(PANEL) * format.panel_bytes(n_positions) / 2;
        let n_heads = batch_size * n_kv_heads;
        let mut keys = Buffer::new((n_heads * key_len).div_ceil(4))?;
        let mut values = Buffer::new((n_heads * value_len).div_ceil(4))?;
        let nan = match format {
            FloatFormat::F32 => f32::NAN.to_bits(),
            FloatFormat::F16 => 0x7e00_7e00,
            FloatFormat::Bf16 => 0x7fc0_7fc0,
        };
        // Both are written, so that no run pays for page faults.
        keys.as_u32_mut_slice().fill(nan);
        values.as_u32_mut_slice().fill(0);
        Ok(Self {
            format,
            n_kv_heads,
            head_dim,
            n_positions,
            keys,
            values,
            key_len,
            value_len,
            #[cfg(test)]
            ignores_writes: false,
        })
    }

    /// Positions there is memory for.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// From now on, what is appended is not written.
    #[cfg(test)]
    pub(crate) fn ignore_writes(&mut self) {
        self.ignores_writes = true;
    }

    /// Makes keys of these positions NaN again, in every sequence, and their values absurd.
    ///
    /// # Panics
    /// If a position is not there.
    pub fn forget(&mut self, positions: Range<usize>) {
        let (format, dim) = (self.format, self.head_dim);
        for head in self.keys.as_u16_mut_slice().chunks_exact_mut(self.key_len) {
            for position in positions.clone() {
                for i in 0..dim {
                    put(format, &[f32::NAN], key_at(format, dim, position, i), head);
                }
            }
        }
        // Not NaN, which 0 times would still be; the greatest power of 2 that every format has.
        const ABSURD: f32 = 32_768.0;
        let n_positions = self.n_positions;
        for head in self.values.as_u16_mut_slice().chunks_exact_mut(self.value_len) {
            for position in positions.clone() {
                for i in 0..dim {
                    put(format, &[ABSURD], value_at(format, n_positions, position, i), head);
                }
            }
        }
    }

    /// Writes the keys and values of tokens from position `start` on: both
    /// `(batch, n_tokens, n_kv_heads, head_dim)` at the beginning of rows of `stride` numbers.
    ///
    /// # Panics
    /// If there is no memory for these positions, or a slice is too short.
    pub fn append(
        &mut self,
        pool: &mut Pool,
        start: usize,
        n_tokens: usize,
        k: Strided<'_>,
        v: Strided<'_>,
    ) {
        assert!(start + n_tokens <= self.n_positions, "no room for {n_tokens} more positions");
        #[cfg(test)]
        if self.ignores_writes {
            return;
        }
        let (format, dim, n_kv_heads) = (self.format, self.head_dim, self.n_kv_heads);
        let (key_len, value_len, n_positions) = (self.key_len, self.value_len, self.n_positions);
        let n_heads = self.keys.as_u16_slice().len() / key_len.max(1);
        let n_heads = n_heads.min(self.values.as_u16_slice().len() / value_len.max(1));
        let keys = Chunks::new(self.keys.as_u16_mut_slice());
        let values = Chunks::new(self.values.as_u16_mut_slice());
        let n_numbers = 2 * n_heads * n_tokens * dim;
        pool.run(Team::for_work(0, n_numbers * WRITTEN_AS_BYTES), n_heads, &|head| {
            // SAFETY: each task writes the head of its own number.
            let (keys, values) = unsafe {
                (
                    keys.part(head * key_len..(head + 1) * key_len),
                    values.part(head * value_len..(head + 1) * value_len),
                )
            };
            let (sequence, kv_head) = (head / n_kv_heads, head % n_kv_heads);
            for token in 0..n_tokens {
                let (row, position) = (sequence * n_tokens + token, start + token);
                for (i, number) in k.head(row, kv_head, dim).chunks(1).enumerate() {
                    put(format, number, key_at(format, dim, position, i), keys);
                }
                for (i, number) in v.head(row, kv_head, dim).chunks(1).enumerate() {
                    put(format, number, value_at(format, n_positions, position, i), values);
                }
            }
        });
    }

    /// Attends: every query to all positions up to its own.
    ///
    /// # Panics
    /// If lengths do not fit, a position is not there, or this machine does not have
    /// `instructions`.
    pub fn attend(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        scratch: &mut Vec<f32>,
        queries: Queries<'_>,
    ) {
        match self.format {
            FloatFormat::F32 => self.attend_as::<F32>(instructions, pool, scratch, queries),
            FloatFormat::F16 => self.attend_as::<F16>(instructions, pool, scratch, queries),
            FloatFormat::Bf16 => {
                self.attend_as::<Bf16<false>>(instructions, pool, scratch, queries);
            }
        }
    }

    fn attend_as<F: Step>(
        &self,
        instructions: Instructions,
        pool: &mut Pool,
        scratch: &mut Vec<f32>,
        queries: Queries<'_>,
    ) {
        let Queries { q, to, batch_size, n_heads, last_position } = queries;
        let (dim, n_kv_heads) = (self.head_dim, self.n_kv_heads);
        assert!(n_heads.is_multiple_of(n_kv_heads), "heads in whole groups");
        assert!(last_position < self.n_positions, "no position {last_position}");
        let n_queries = to.len() / (batch_size * n_heads * dim).max(1);
        assert_eq!(to.len(), batch_size * n_queries * n_heads * dim, "results are not whole");
        assert!(n_queries <= last_position + 1, "queries stand at positions");

        let group = n_heads / n_kv_heads;
        let (n_rows, tile_rows) = (n_queries * group, tile_rows(instructions));
        let n_tiles = n_rows.div_ceil(tile_rows);
        let n_whole = batch_size * n_kv_heads * n_tiles;
        let wanted = TASKS_PER_THREAD * pool.n_threads();
        // Few tasks are cut into ranges of positions.
        let n_ranges = match n_whole < wanted {
            true => wanted.div_ceil(n_whole.max(1)).min((last_position + 1) / RANGE_MIN).max(1),
            false => 1,
        };
        let range_len = (last_position + 1).div_ceil(n_ranges).next_multiple_of(CHUNK);
        let n_ranges = (last_position + 1).div_ceil(range_len);
        let part_len = tile_rows * (dim.next_multiple_of(PANEL) + 2);
        scratch.resize(n_whole * n_ranges * part_len, 0.0);
        let (parts, results) = (Chunks::new(scratch), Chunks::new(to));
        let head = |task: usize| {
            let (tile, head) = (task % n_tiles, task / n_tiles);
            let rows = tile * tile_rows..n_rows.min((tile + 1) * tile_rows);
            HeadRows {
                kv: self,
                q,
                sequence: head / n_kv_heads,
                kv_head: head % n_kv_heads,
                n_queries,
                group,
                rows,
                first_position: last_position + 1 - n_queries,
            }
        };
        // The triangle is taken for a whole; bytes are those of keys and values.
        let n_pairs = n_heads * batch_size * n_queries * (last_position + 1);
        let n_bytes =
            batch_size * n_kv_heads * (last_position + 1) * 2 * dim * F::BYTES / (F::DEPTH * PANEL);
        let team = Team::for_work(2 * n_pairs * dim, n_bytes);
        pool.run(team, n_whole * n_ranges, &|i| {
            let (range, task) = (i % n_ranges, i / n_ranges);
            let head = head(task);
            let begin = range * range_len;
            let positions = begin..(begin + range_len).min(last_position + 1);
            // SAFETY: each task has a part of its own.
            let part = unsafe { parts.part(i * part_len..(i + 1) * part_len) };
            let part = Part::of(part, tile_rows);
            let format = std::marker::PhantomData::<F>;
            dispatch(instructions, Attend { head: &head, positions, part, format });
        });
        let team = Team::for_work(0, n_whole * n_ranges * part_len * 4);
        pool.run(team, n_whole, &|task| {
            let head = head(task);
            // SAFETY: as above, and what the tasks before wrote is only read by the task of the
            // same number.
            let parts =
                unsafe { parts.part(task * n_ranges * part_len..(task + 1) * n_ranges * part_len) };
            head.put_together(parts, part_len, tile_rows, &results);
        });
    }
}

/// Rows of which a part is read: `offset` numbers into every `stride`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// All rows.
    pub rows: &'a [f32],
    /// Numbers from one row to the next.
    pub stride: usize,
    /// Numbers before the part.
    pub offset: usize,
}

impl<'a> Strided<'a> {
    fn head(self, row: usize, head: usize, dim: usize) -> &'a [f32] {
        &self.rows[row * self.stride + self.offset + head * dim..][..dim]
    }
}

/// Where number `i` of a key stands in its head's panels, in half-words.
fn key_at(format: FloatFormat, dim: usize, position: usize, i: usize) -> usize {
    let panel = position / PANEL * format.panel_bytes(dim) / 2;
    panel + at(format, i, position % PANEL)
}

/// Where number `i` of a value stands in its head's panels, in half-words.
fn value_at(format: FloatFormat, n_positions: usize, position: usize, i: usize) -> usize {
    let panel = i / PANEL * format.panel_bytes(n_positions) / 2;
    panel + at(format, position, i % PANEL)
}

/// Where a column stands in a panel at `depth`, in half-words.
fn at(format: FloatFormat, depth: usize, column: usize) -> usize {
    match format {
        FloatFormat::F32 => 2 * (depth * PANEL + column),
        FloatFormat::F16 => depth * PANEL + column,
        FloatFormat::Bf16 => 2 * (depth / 2 * PANEL + column) + depth % 2,
    }
}

/// Writes one number, rounded to the format.
fn put(format: FloatFormat, number: &[f32], at: usize, to: &mut [u16]) {
    match format {
        FloatFormat::F32 => {
            let bits = number[0].to_bits();
            // The lower half first, on a machine that stores it first.
            let halves: [u8; 4] = bits.to_ne_bytes();
            to[at] = u16::from_ne_bytes([halves[0], halves[1]]);
            to[at + 1] = u16::from_ne_bytes([halves[2], halves[3]]);
        }
        FloatFormat::F16 => {
            let mut half = [f16::ZERO];
            half.convert_from_f32_slice(number);
            to[at] = half[0].to_bits();
        }
        FloatFormat::Bf16 => to[at] = half::bf16::from_f32(number[0]).to_bits(),
    }
}

/// Some rows (queries of the heads of a group) that attend to one head's keys and values.
struct HeadRows<'a> {
    kv: &'a KvPanels,
    q: Strided<'a>,
    sequence: usize,
    kv_head: usize,
    n_queries: usize,
    group: usize,
    /// Row `r` is query `r / group` of head `r % group` of the group.
    rows: Range<usize>,
    first_position: usize,
}

/// What rows found in a range of positions: results not yet divided by their weights' sum.
struct Part<'a> {
    results: &'a mut [f32],
    /// The greatest score of each row, −∞ where it saw nothing.
    greatest: &'a mut [f32],
    /// The sum of each row's weights.
    sums: &'a mut [f32],
}

impl<'a> Part<'a> {
    fn of(memory: &'a mut [f32], tile_rows: usize) -> Self {
        let at = memory.len() - 2 * tile_rows;
        let (results, rest) = memory.split_at_mut(at);
        let (greatest, sums) = rest.split_at_mut(tile_rows);
        Self { results, greatest, sums }
    }
}

impl HeadRows<'_> {
    /// The token and the head that row `row` of the group is.
    fn token_and_head(&self, row: usize) -> (usize, usize) {
        let (query, head) = (row / self.group, row % self.group);
        (self.sequence * self.n_queries + query, self.kv_head * self.group + head)
    }

    /// Where row `row` of the group stands in the results.
    fn result_at(&self, row: usize) -> Range<usize> {
        let (token, head) = self.token_and_head(row);
        let first = (token * self.kv.n_kv_heads * self.group + head) * self.kv.head_dim;
        first..first + self.kv.head_dim
    }

    /// Positions that a row sees.
    fn n_seen(&self, row: usize) -> usize {
        self.first_position + row / self.group + 1
    }

    /// Results from the parts that ranges of positions gave.
    fn put_together(
        &self,
        parts: &mut [f32],
        part_len: usize,
        tile_rows: usize,
        results: &Chunks<'_, f32>,
    ) {
        let width = self.kv.head_dim.next_multiple_of(PANEL);
        let parts: Vec<Part<'_>> =
            parts.chunks_exact_mut(part_len).map(|part| Part::of(part, tile_rows)).collect();
        for (i, row) in self.rows.clone().enumerate() {
            let greatest =
                parts.iter().fold(f32::NEG_INFINITY, |max, part| max.max(part.greatest[i]));
            // SAFETY: no other task has this row.
            let to = unsafe { results.part(self.result_at(row)) };
            to.fill(0.0);
            let mut sum = 0.0;
            for part in &parts {
                if part.greatest[i] == f32::NEG_INFINITY {
                    continue;
                }
                let weight = (part.greatest[i] - greatest).exp();
                sum += weight * part.sums[i];
                for (to, result) in to.iter_mut().zip(&part.results[i * width..]) {
                    *to += weight * result;
                }
            }
            to.iter_mut().for_each(|to| *to /= sum);
        }
    }
}

struct Attend<'a, F> {
    head: &'a HeadRows<'a>,
    /// Begins with a panel.
    positions: Range<usize>,
    part: Part<'a>,
    format: std::marker::PhantomData<F>,
}

impl<F: Step> Kernel for Attend<'_, F> {
    type Output = ();

    const PRODUCTS: Products = Products::Floats;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const {
            assert!(matches!(F::ACTIVATIONS, Activations::Floats), "queries and shares stay f32");
        }
        let Self { head, positions, part, .. } = self;
        let kv = head.kv;
        let (dim, n_rows) = (kv.head_dim, head.rows.len());
        let width = dim.next_multiple_of(PANEL);
        let kv_head = head.sequence * kv.n_kv_heads + head.kv_head;
        let keys = &kv.keys.as_u16_slice()[kv_head * kv.key_len..][..kv.key_len];
        let values = &kv.values.as_u16_slice()[kv_head * kv.value_len..][..kv.value_len];
        let (key_panel, value_panel) =
            (kv.format.panel_bytes(dim) / 2, kv.format.panel_bytes(kv.n_positions) / 2);

        // The rows of queries side by side, scaled, at every number of a head.
        let scale = 1.0 / (dim as f32).sqrt();
        let mut q = vec![0_u32; dim * n_rows];
        for (i, row) in head.rows.clone().enumerate() {
            let (token, query_head) = head.token_and_head(row);
            for (at, query) in head.q.head(token, query_head, dim).iter().enumerate() {
                q[at * n_rows + i] = (query * scale).to_bits();
            }
        }
        part.results.fill(0.0);
        part.greatest.fill(f32::NEG_INFINITY);
        part.sums.fill(0.0);
        let mut scores = [0.0_f32; ROWS_MAX * CHUNK];

        let (last_seen, ahead) = (head.n_seen(head.rows.end - 1), Ahead::here());
        for begin in (positions.start..positions.end.min(last_seen)).step_by(CHUNK) {
            let n = CHUNK.min(positions.end.min(last_seen) - begin);
            for first in (0..n).step_by(PANEL) {
                let operands = Operands {
                    a: q.as_ptr(),
                    b: keys[(begin + first) / PANEL * key_panel..].as_ptr().cast(),
                    depth: dim,
                    c: scores[first..].as_mut_ptr(),
                    c_stride: CHUNK,
                    accumulate: false,
                    ahead,
                };
                // SAFETY: queries and the panel reach over a head, and scores over the rows and a
                // panel's positions; `dispatch` saw to the instructions.
                unsafe {
                    tile_of_rows::<S, F>(n_rows, operands, |rows| Spacing { row: 1, depth: rows });
                }
            }
            for (i, row) in head.rows.clone().enumerate() {
                let scores = &mut scores[i * CHUNK..(i + 1) * CHUNK];
                let n_seen = head.n_seen(row).saturating_sub(begin).min(n);
                let results = &mut part.results[i * width..(i + 1) * width];
                // SAFETY: `dispatch` saw to the instructions.
                unsafe {
                    shares::<S>(scores, n_seen, &mut part.greatest[i], &mut part.sums[i], results);
                }
            }
            for first in (0..dim).step_by(PANEL) {
                let panel = first / PANEL * value_panel + begin / F::DEPTH * F::BYTES / 2;
                let operands = Operands {
                    a: scores.as_ptr().cast(),
                    b: values[panel..].as_ptr().cast(),
                    // Shares beyond the last position are 0.
                    depth: n.next_multiple_of(F::DEPTH),
                    c: part.results[first..].as_mut_ptr(),
                    c_stride: width,
                    accumulate: true,
                    ahead,
                };
                // SAFETY: shares and the panel reach over the chunk, and results over the rows
                // and a panel's numbers.
                unsafe {
                    tile_of_rows::<S, F>(n_rows, operands, |_| Spacing { row: CHUNK, depth: 1 });
                }
            }
        }
    }
}

/// From the scores of a chunk, of which a row sees the first `n_seen`, to its weights, and the
/// row's results so far to what they are under the greatest score.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
unsafe fn shares<S: Simd>(
    scores: &mut [f32],
    n_seen: usize,
    greatest: &mut f32,
    sum: &mut f32,
    results: &mut [f32],
) {
    // Whatever stands where nothing is seen gets no weight.
    scores[n_seen..].fill(f32::NEG_INFINITY);
    if n_seen == 0 {
        scores.fill(0.0);
        return;
    }
    // SAFETY: by the caller; chunks and results are whole vectors.
    unsafe {
        let mut max = S::splat(*greatest);
        for at in (0..scores.len()).step_by(S::LANES) {
            max = S::max(max, S::load(scores[at..].as_ptr()));
        }
        let max = S::greatest(max);
        let mut new = S::splat(0.0);
        for at in (0..scores.len()).step_by(S::LANES) {
            let at = scores[at..].as_mut_ptr();
            let weight = exp::<S>(S::sub(S::load(at), S::splat(max)));
            S::store(at, weight);
            new = S::add(new, weight);
        }
        // There `exp` came out as the least that it gives, which is not 0.
        scores[n_seen..].fill(0.0);
        let kept = if *greatest == f32::NEG_INFINITY { 0.0 } else { (*greatest - max).exp() };
        *sum = *sum * kept + S::sum(new);
        *greatest = max;
        for at in (0..results.len()).step_by(S::LANES) {
            let at = results[at..].as_mut_ptr();
            S::store(at, S::mul(S::load(at), S::splat(kept)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::drawn;
    use proptest::prelude::*;

    /// Scores, shares and their sum by the definition, in double precision.
    fn reference(
        (batch, n_heads, n_kv_heads, dim): (usize, usize, usize, usize),
        (n_queries, n_seen): (usize, usize),
        (q, k, v): (&[f32], &[f32], &[f32]),
    ) -> Vec<f32> {
        let mut results = Vec::new();
        for (row, q) in q.chunks_exact(dim).enumerate() {
            let (sequence, query) = (row / n_heads / n_queries, row / n_heads % n_queries);
            let kv_head = row % n_heads / (n_heads / n_kv_heads);
            let visible = n_seen - n_queries + query + 1;
            let of = |all: &[f32], position: usize| -> Vec<f64> {
                let row = (sequence * n_seen + position) * n_kv_heads + kv_head;
                all[row * dim..][..dim].iter().map(|&x| f64::from(x)).collect()
            };
            let scores: Vec<f64> = (0..visible)
                .map(|p| {
                    let dot: f64 = of(k, p).iter().zip(q).map(|(k, &q)| k * f64::from(q)).sum();
                    dot / (dim as f64).sqrt()
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut result = vec![0.0; dim];
            for (p, weight) in weights.iter().enumerate() {
                for (result, v) in result.iter_mut().zip(of(v, p)) {
                    *result += weight / sum * v;
                }
            }
            results.extend(result.into_iter().map(|x| x as f32));
        }
        assert_eq!(results.len(), batch * n_queries * n_heads * dim);
        results
    }

    fn drawn(name: &str, len: usize, format: FloatFormat) -> Vec<f32> {
        // Numbers that the format has, so that storing them changes nothing.
        let round = |x: f32| match format {
            FloatFormat::F32 => x,
            FloatFormat::F16 => f16::from_f32(x).to_f32(),
            FloatFormat::Bf16 => half::bf16::from_f32(x).to_f32(),
        };
        drawn::drawn(name, len).into_iter().map(|x| round(2.0 * x)).collect()
    }

    fn check(
        format: FloatFormat,
        (batch, n_kv_heads, group, dim): (usize, usize, usize, usize),
        (n_cached, n_queries): (usize, usize),
    ) {
        let (n_heads, n_seen) = (n_kv_heads * group, n_cached + n_queries);
        let q = drawn("q", batch * n_queries * n_heads * dim, FloatFormat::F32);
        let k = drawn("k", batch * n_seen * n_kv_heads * dim, format);
        let v = drawn("v", batch * n_seen * n_kv_heads * dim, format);
        let wanted =
            reference((batch, n_heads, n_kv_heads, dim), (n_queries, n_seen), (&q, &k, &v));
        let mut pool = Pool::new(3).unwrap();
        let width = n_kv_heads * dim;
        for instructions in Instructions::available() {
            let mut kv = KvPanels::new(format, batch, n_kv_heads, n_seen + 3, dim).unwrap();
            // In two parts, the first position alone.
            for (start, n) in [(0, 1), (1, n_seen - 1)] {
                let of = |all: &[f32]| -> Vec<f32> {
                    let rows = all.chunks_exact(n_seen * width);
                    rows.flat_map(|rows| rows[start * width..(start + n) * width].to_vec())
                        .collect()
                };
                let (k, v) = (of(&k), of(&v));
                let part = |rows| Strided { rows, stride: width, offset: 0 };
                kv.append(&mut pool, start, n, part(&k), part(&v));
            }
            let mut to = vec![f32::NAN; q.len()];
            let last_position = n_seen - 1;
            let q = Strided { rows: &q, stride: n_heads * dim, offset: 0 };
            let queries = Queries { q, to: &mut to, batch_size: batch, n_heads, last_position };
            kv.attend(instructions, &mut pool, &mut Vec::new(), queries);
            for (found, wanted) in to.iter().zip(&wanted) {
                let name = instructions.name();
                assert!((found - wanted).abs() < 2e-5, "{found} is not {wanted} with {name}");
            }
            // A key that was never written, or is forgotten, shows.
            kv.forget(n_seen - 1..n_seen);
            let queries = Queries { q, to: &mut to, batch_size: batch, n_heads, last_position };
            kv.attend(instructions, &mut pool, &mut Vec::new(), queries);
            assert!(to[to.len() - 1].is_nan());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn attention_is_that_of_the_definition(
            format in prop::sample::select(vec![FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16]),
            batch in 1_usize..3,
            n_kv_heads in 1_usize..4,
            group in 1_usize..6,
            half_dim in 1_usize..50,
            n_cached in 0_usize..300,
            n_queries in 1_usize..40,
        ) {
            check(format, (batch, n_kv_heads, group, 2 * half_dim), (n_cached, n_queries));
        }
    }

    #[test]
    fn positions_are_cut_into_ranges_where_queries_are_few() {
        for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
            check(format, (1, 1, 3, 64), (2100, 1));
            check(format, (1, 2, 15, 32), (1700, 2));
        }
    }
}
