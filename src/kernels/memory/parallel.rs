//! Passes over memory on all threads of the current rayon pool.
//!
//! Slices of one length are always cut alike and thread number i always gets part number i: the
//! thread that first wrote a page, and near whose core it therefore lies, is the one that reads
//! it later.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::stream;
use crate::kernels::Instructions;

const PAGE_BYTES: usize = 4 << 10;
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Huge pages in a thread's part from which on parts end between huge pages; below, one thread
/// would have too much more than another.
const HUGE_PAGES_MIN: usize = 64;

/// Writes `value(index)` to every element.
pub fn fill_parallel<T: Send>(elements: &mut [T], value: impl Fn(usize) -> T + Sync) {
    on_parts_mut(elements, |part, range| {
        for (index, element) in range.zip(part) {
            *element = value(index);
        }
    });
}

/// [`read_sum`](super::read_sum) on all threads.
///
/// # Panics
/// If this machine does not have `instructions`.
pub fn read_sum_parallel(instructions: Instructions, words: &[u64]) -> u64 {
    let sums = rayon::broadcast(|thread| {
        let part = part::<u64>(words.len(), thread.index(), thread.num_threads());
        stream::read_sum(instructions, &words[part])
    });
    sums.into_iter().fold(0, u64::wrapping_add)
}

/// [`copy`](super::copy) on all threads.
///
/// # Panics
/// If the slices are not of one length, or this machine does not have `instructions`.
pub fn copy_parallel(instructions: Instructions, from: &[u64], to: &mut [u64]) {
    assert_eq!(from.len(), to.len(), "a copy has the length of what is copied");
    on_parts_mut(to, |to, range| stream::copy(instructions, &from[range], to));
}

/// [`triad`](super::triad) on all threads.
///
/// # Panics
/// If the slices are not of one length, or this machine does not have `instructions`.
pub fn triad_parallel(instructions: Instructions, a: &mut [f32], b: &[f32], c: &[f32], scale: f32) {
    assert!(a.len() == b.len() && a.len() == c.len(), "a triad's slices are of one length");
    on_parts_mut(a, |a, range| {
        stream::triad(instructions, a, &b[range.clone()], &c[range], scale);
    });
}

/// Gives each thread its part, and where in the whole it lies.
fn on_parts_mut<T: Send>(elements: &mut [T], work: impl Fn(&mut [T], Range<usize>) + Sync) {
    let (length, n_threads) = (elements.len(), rayon::current_num_threads());
    let mut rest = elements;
    let mut parts = Vec::with_capacity(n_threads);
    for thread in 0..n_threads {
        let range = part::<T>(length, thread, n_threads);
        let (part, after) = rest.split_at_mut(range.len());
        rest = after;
        // Nobody waits for a lock: each thread takes its own.
        parts.push(Mutex::new((part, range)));
    }
    rayon::broadcast(|thread| {
        let mut part = parts[thread.index()].lock().unwrap_or_else(PoisonError::into_inner);
        let (part, range) = &mut *part;
        work(part, range.clone());
    });
}

/// Part number `thread` of `length` elements: as even as whole pages can be.
fn part<T>(length: usize, thread: usize, n_threads: usize) -> Range<usize> {
    let bytes = size_of::<T>().max(1);
    let is_large = length / n_threads >= HUGE_PAGES_MIN * HUGE_PAGE_BYTES / bytes;
    let page = (if is_large { HUGE_PAGE_BYTES } else { PAGE_BYTES } / bytes).max(1);
    let n_pages = length.div_ceil(page);
    let begin = |thread: usize| {
        // The first threads get one page more where pages do not come out even.
        let pages = n_pages / n_threads * thread + (n_pages % n_threads).min(thread);
        (pages * page).min(length)
    };
    begin(thread)..begin(thread + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On pools of one to three threads, lengths around pages and lines.
    fn for_each_length(check: impl Fn(Instructions, usize) + Sync) {
        for n_threads in 1..=3 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            for instructions in Instructions::available() {
                for length in [0, 1, 511, 512, 513, 1025, 5000, 12_289] {
                    pool.install(|| check(instructions, length));
                }
            }
        }
    }

    #[test]
    fn parts_cover_everything_in_whole_pages_and_evenly() {
        for length in [0, 1, 511, 512, 513, 4096, 99_999, 1 << 26, (1 << 26) + 1] {
            for n_threads in [1, 2, 3, 7, 64] {
                let parts: Vec<_> =
                    (0..n_threads).map(|thread| part::<u64>(length, thread, n_threads)).collect();
                assert_eq!((parts[0].start, parts[n_threads - 1].end), (0, length));
                for pair in parts.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start);
                    assert!(pair[0].end % 512 == 0 || pair[0].end == length);
                }
                let longest = parts.iter().map(Range::len).max().unwrap();
                let even = length.div_ceil(n_threads);
                assert!(longest <= even + (even / HUGE_PAGES_MIN).max(512), "{length} {n_threads}");
            }
        }
    }

    #[test]
    fn filling_and_reading_see_every_word() {
        for_each_length(|instructions, length| {
            let mut words = vec![0; length];
            fill_parallel(&mut words, |index| (index as u64 + 1).wrapping_mul(0x9e37_79b9));
            let expected = (1..=length as u64)
                .fold(0_u64, |sum, i| sum.wrapping_add(i.wrapping_mul(0x9e37_79b9)));
            assert_eq!(read_sum_parallel(instructions, &words), expected);
        });
    }

    #[test]
    fn copies_are_whole() {
        for_each_length(|instructions, length| {
            let from: Vec<u64> = (1..=length as u64).collect();
            let mut to = vec![0; length];
            copy_parallel(instructions, &from, &mut to);
            assert_eq!(to, from);
        });
    }

    #[test]
    fn triads_are_whole() {
        for_each_length(|instructions, length| {
            let b: Vec<f32> = (0..length).map(|i| i as f32 / 7.0).collect();
            let c: Vec<f32> = (0..length).map(|i| i as f32 / 3.0 - 1.0).collect();
            let mut a = vec![f32::NAN; length];
            triad_parallel(instructions, &mut a, &b, &c, 1.7);
            let expected: Vec<f32> = b.iter().zip(&c).map(|(b, c)| b + 1.7 * c).collect();
            assert_eq!(a, expected);
        });
    }
}
