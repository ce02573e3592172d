//! The kernels of probes: random numbers that the host draws alike, and walks through memory.

use super::launch::{Launch, Span};
use super::operations::bytes_of;
use super::program::{Source, Variant};
use crate::kernels::linear::FloatFormat;

/// Threads of a block that draws.
const DRAWING_THREADS: u32 = 256;
/// Threads of a block that walks, and such blocks of a multiprocessor (`probe.cu`).
const WALKING_THREADS: u32 = 512;
const WALKING_BLOCKS: usize = 2;
/// Bytes that a thread takes at once.
const TAKEN: usize = 16;

/// What a product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// Floating-point numbers, as they are.
    Floats(FloatFormat),
    /// f32, of which the first 19 bits are multiplied.
    Tf32,
    /// E4M3.
    Fp8,
    /// Integers of a byte.
    Int8,
}

impl Factors {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Factors::Floats(format) => bytes_of(format),
            Factors::Tf32 => 4,
            Factors::Fp8 | Factors::Int8 => 1,
        }
    }

    /// Bytes of an entry of the product: of the factors' own format, but bf16 for E4M3, and 32 bits
    /// for integers.
    pub fn result_bytes(self) -> usize {
        match self {
            Factors::Floats(format) => bytes_of(format),
            Factors::Fp8 => 2,
            Factors::Tf32 | Factors::Int8 => 4,
        }
    }
}

fn variant(format: FloatFormat) -> Variant {
    Variant { source: Source::Probes, format, heads: None }
}

/// Blocks for `n` elements on a device, each thread with several of them.
fn drawing_blocks(n: usize) -> usize {
    n.div_ceil(DRAWING_THREADS as usize).min(1 << 16)
}

/// Fills a span with the first numbers of the stream that has this key. A float is the stream's bell
/// of mean 0 and deviation 1, in its format or cut to TF32.
pub fn draw(factors: Factors, to: Span<'_>, key: u64) -> Launch<'_> {
    let (name, format) = match factors {
        Factors::Floats(format) => ("draw_elements", format),
        Factors::Tf32 => ("draw_tf32", FloatFormat::F32),
        Factors::Fp8 => ("draw_e4m3", FloatFormat::F32),
        Factors::Int8 => ("draw_int8", FloatFormat::F32),
    };
    let n = to.n_bytes() / factors.bytes();
    let grid = [drawing_blocks(n), 1, 1];
    let launch = Launch::new(variant(format), name, grid, DRAWING_THREADS);
    launch.span(to, n * factors.bytes()).long(n as u64).long(key)
}

/// Fills a span with words of two f32 between 1 and 2, from element `first` of a stream on.
pub fn draw_words(to: Span<'_>, key: u64, first: u64) -> Launch<'_> {
    let n = to.n_bytes() / 8;
    let grid = [drawing_blocks(n), 1, 1];
    let launch = Launch::new(variant(FloatFormat::F32), "draw_words", grid, DRAWING_THREADS);
    launch.span(to, n * 8).long(n as u64).long(key).long(first)
}

/// Sums that [`read_sum`] leaves, on a device of so many multiprocessors.
pub fn n_sums(n_multiprocessors: usize) -> usize {
    n_multiprocessors * WALKING_BLOCKS
}

fn walk<'a>(name: &'static str, n_multiprocessors: usize) -> Launch<'a> {
    let grid = [n_sums(n_multiprocessors), 1, 1];
    Launch::new(variant(FloatFormat::F32), name, grid, WALKING_THREADS)
}

/// Adds all words of 8 bytes of `from` up, which are a whole number of 16 bytes: [`n_sums`] words
/// that add up to their wrapping sum.
pub fn read_sum<'a>(n_multiprocessors: usize, from: Span<'a>, sums: Span<'a>) -> Launch<'a> {
    let n = whole(from.n_bytes());
    walk("read_sum", n_multiprocessors)
        .span(from, n * TAKEN)
        .span(sums, n_sums(n_multiprocessors) * 8)
        .long(n as u64)
}

/// Copies a span to another of its size, a whole number of 16 bytes.
pub fn copy_words<'a>(n_multiprocessors: usize, from: Span<'a>, to: Span<'a>) -> Launch<'a> {
    let n = whole(from.n_bytes());
    walk("copy_words", n_multiprocessors).span(from, n * TAKEN).span(to, n * TAKEN).long(n as u64)
}

/// `a = b + scale·c` of f32, spans of one size that is a whole number of 16 bytes. Sums are those of
/// the host where `scale` is a power of two.
pub fn triad<'a>(
    n_multiprocessors: usize,
    a: Span<'a>,
    b: Span<'a>,
    c: Span<'a>,
    scale: f32,
) -> Launch<'a> {
    let n = whole(a.n_bytes());
    walk("triad", n_multiprocessors)
        .span(a, n * TAKEN)
        .span(b, n * TAKEN)
        .span(c, n * TAKEN)
        .float(scale)
        .long(n as u64)
}

fn whole(n_bytes: usize) -> usize {
    assert_eq!(n_bytes % TAKEN, 0, "walks take 16 bytes at once");
    n_bytes / TAKEN
}
