//! One thread's passes over memory.

#![allow(unsafe_code)]

use crate::kernels::Instructions;

/// Wrapping sum of all words: every byte is read.
///
/// # Panics
/// If this machine does not have `instructions`.
pub fn read_sum(instructions: Instructions, words: &[u64]) -> u64 {
    instructions.assert_available();
    let (head, lines, tail) = lines(words);
    let sum = match instructions {
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => unsafe {
            x86::avx512::sum(lines)
        },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { x86::avx2::sum(lines) },
        _ => portable_sum(lines),
    };
    head.iter().chain(tail).fold(sum, |sum, word| sum.wrapping_add(*word))
}

/// `to = from`, past the caches where the instructions can: a line of `to` is not read before it
/// is written.
///
/// # Panics
/// If the slices are not of one length, or this machine does not have `instructions`.
pub fn copy(instructions: Instructions, from: &[u64], to: &mut [u64]) {
    instructions.assert_available();
    assert_eq!(from.len(), to.len(), "a copy has the length of what is copied");
    if instructions == Instructions::Portable {
        to.copy_from_slice(from);
        return;
    }
    let (head, lines, tail) = lines_mut(to);
    let (from_head, from) = from.split_at(head.len());
    let (from_lines, from_tail) = from.split_at(from.len() - tail.len());
    head.copy_from_slice(from_head);
    tail.copy_from_slice(from_tail);
    match instructions {
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => unsafe {
            x86::avx512::copy(from_lines, lines)
        },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { x86::avx2::copy(from_lines, lines) },
        _ => unreachable!("portable is done"),
    }
}

/// `a = b + scale · c`, each product and sum rounded by itself; writes past the caches where the
/// instructions can.
///
/// # Panics
/// If the slices are not of one length, or this machine does not have `instructions`.
pub fn triad(instructions: Instructions, a: &mut [f32], b: &[f32], c: &[f32], scale: f32) {
    instructions.assert_available();
    assert!(a.len() == b.len() && a.len() == c.len(), "a triad's slices are of one length");
    let portable = |a: &mut [f32], b: &[f32], c: &[f32]| {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a = b + scale * c;
        }
    };
    if instructions == Instructions::Portable {
        return portable(a, b, c);
    }
    let (head, lines, tail) = float_lines_mut(a);
    let (b_head, b) = b.split_at(head.len());
    let (c_head, c) = c.split_at(head.len());
    let (b_lines, b_tail) = b.split_at(b.len() - tail.len());
    let (c_lines, c_tail) = c.split_at(c.len() - tail.len());
    portable(head, b_head, c_head);
    portable(tail, b_tail, c_tail);
    match instructions {
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => unsafe {
            x86::avx512::triad(lines, b_lines, c_lines, scale)
        },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { x86::avx2::triad(lines, b_lines, c_lines, scale) },
        _ => unreachable!("portable is done"),
    }
}

/// A cache line, so that each is written whole.
#[repr(C, align(64))]
struct Line<T, const N: usize>([T; N]);
type Words = Line<u64, 8>;
type Floats = Line<f32, 16>;

fn lines(words: &[u64]) -> (&[u64], &[Words], &[u64]) {
    // SAFETY: a line is words and nothing else.
    unsafe { words.align_to() }
}

fn lines_mut(words: &mut [u64]) -> (&mut [u64], &mut [Words], &mut [u64]) {
    // SAFETY: as in `lines`.
    unsafe { words.align_to_mut() }
}

fn float_lines_mut(floats: &mut [f32]) -> (&mut [f32], &mut [Floats], &mut [f32]) {
    // SAFETY: as in `lines`.
    unsafe { floats.align_to_mut() }
}

fn portable_sum(lines: &[Words]) -> u64 {
    let mut sums = [0_u64; 8];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.0) {
            *sum = sum.wrapping_add(word);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    /// Places in memory that a read goes on from in turn. Each is another stream to the hardware,
    /// which fetches more ahead for several than for one: measured, four read faster by 8 % than
    /// one, and hints by the program make one slower.
    const STREAMS: usize = 4;
    /// Lines that are read from a stream at a time.
    const TURN: usize = 4;

    macro_rules! kernels {
        (
            $name:ident, $features:literal, vectors per line: $per_line:literal, words: $words:ty,
            zero: $zero:ident, add: $add:ident, load: $load:ident, stream: $stream:ident,
            splat: $splat:ident, load_floats: $load_floats:ident, add_floats: $add_floats:ident,
            multiply: $multiply:ident, stream_floats: $stream_floats:ident
        ) => {
            pub mod $name {
                use std::arch::x86_64::*;

                use super::super::{Floats, Words};

                #[target_feature(enable = $features)]
                pub fn sum(lines: &[Words]) -> u64 {
                    let mut sums = [[$zero(); $per_line]; super::TURN];
                    let (turns, _) = lines.as_chunks::<{ super::TURN }>();
                    let length = turns.len() / super::STREAMS;
                    let rest = &lines[length * super::STREAMS * super::TURN..];
                    for turn in 0..length {
                        for stream in 0..super::STREAMS {
                            let turn = &turns[stream * length + turn];
                            for (line, sums) in turn.iter().zip(&mut sums) {
                                let words = line.0.as_ptr().cast::<$words>();
                                for (i, sum) in sums.iter_mut().enumerate() {
                                    // SAFETY: a line holds this many vectors and is aligned to
                                    // them.
                                    *sum = unsafe { $add(*sum, $load(words.add(i))) };
                                }
                            }
                        }
                    }
                    let mut all = super::super::portable_sum(rest);
                    for sum in sums.into_iter().flatten() {
                        let mut words = [0_u64; 8 / $per_line];
                        // SAFETY: as many words as a vector has.
                        unsafe { words.as_mut_ptr().cast::<$words>().write_unaligned(sum) };
                        all = words.into_iter().fold(all, u64::wrapping_add);
                    }
                    all
                }

                #[target_feature(enable = $features)]
                pub fn copy(from: &[u64], to: &mut [Words]) {
                    for (from, to) in from.chunks_exact(8).zip(to) {
                        let from = from.as_ptr().cast::<$words>();
                        let to = to.0.as_mut_ptr().cast::<$words>();
                        for i in 0..$per_line {
                            // SAFETY: both hold a line of vectors, of which `to` is aligned.
                            unsafe { $stream(to.add(i), from.add(i).read_unaligned()) };
                        }
                    }
                    // Streamed stores may be seen late by other threads; not after this.
                    _mm_sfence();
                }

                #[target_feature(enable = $features)]
                pub fn triad(a: &mut [Floats], b: &[f32], c: &[f32], scale: f32) {
                    const LANES: usize = 16 / $per_line;
                    let scale = $splat(scale);
                    for ((a, b), c) in a.iter_mut().zip(b.chunks_exact(16)).zip(c.chunks_exact(16))
                    {
                        for i in 0..$per_line {
                            // SAFETY: each holds a line of vectors, of which `a` is aligned.
                            unsafe {
                                let product =
                                    $multiply(scale, $load_floats(c.as_ptr().add(i * LANES)));
                                let sum =
                                    $add_floats($load_floats(b.as_ptr().add(i * LANES)), product);
                                $stream_floats(a.0.as_mut_ptr().add(i * LANES), sum);
                            }
                        }
                    }
                    _mm_sfence();
                }
            }
        };
    }

    kernels!(avx512, "avx512f", vectors per line: 1, words: __m512i, zero: _mm512_setzero_si512,
        add: _mm512_add_epi64, load: _mm512_load_si512, stream: _mm512_stream_si512,
        splat: _mm512_set1_ps, load_floats: _mm512_loadu_ps, add_floats: _mm512_add_ps,
        multiply: _mm512_mul_ps, stream_floats: _mm512_stream_ps);
    kernels!(avx2, "avx2", vectors per line: 2, words: __m256i, zero: _mm256_setzero_si256,
        add: _mm256_add_epi64, load: _mm256_load_si256, stream: _mm256_stream_si256,
        splat: _mm256_set1_ps, load_floats: _mm256_loadu_ps, add_floats: _mm256_add_ps,
        multiply: _mm256_mul_ps, stream_floats: _mm256_stream_ps);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 700;
    const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 15, 31, 64, 65, 257, 600, 683];

    fn words(seed: u64) -> Vec<u64> {
        (0..LENGTH as u64).map(|i| (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }

    /// Every instruction set on parts that begin anywhere in a line and end anywhere.
    fn for_each_part(mut check: impl FnMut(Instructions, std::ops::Range<usize>)) {
        for instructions in Instructions::available() {
            for offset in 0..17 {
                for length in LENGTHS {
                    check(instructions, offset..offset + length);
                }
            }
        }
    }

    #[test]
    fn a_read_sums_every_word() {
        let words = words(0);
        for_each_part(|instructions, part| {
            let expected =
                words[part.clone()].iter().fold(0, |sum: u64, word| sum.wrapping_add(*word));
            assert_eq!(read_sum(instructions, &words[part]), expected);
        });
    }

    #[test]
    fn a_copy_writes_every_word_and_no_other() {
        let (from, before) = (words(1), words(2));
        for_each_part(|instructions, part| {
            for shift in [0, 3] {
                let mut to = before.clone();
                let source = part.start + shift..part.end + shift;
                let source = source.start.min(LENGTH - part.len())..source.end.min(LENGTH);
                copy(instructions, &from[source.clone()], &mut to[part.clone()]);
                assert_eq!(to[..part.start], before[..part.start]);
                assert_eq!(to[part.clone()], from[source]);
                assert_eq!(to[part.end..], before[part.end..]);
            }
        });
    }

    #[test]
    fn a_triad_rounds_like_a_plain_loop() {
        let floats = |seed: u64| -> Vec<f32> {
            words(seed).iter().map(|word| (word >> 40) as f32 / 1e3 - 5e3).collect()
        };
        let (before, b, c) = (floats(1), floats(2), floats(3));
        for_each_part(|instructions, part| {
            let mut a = before.clone();
            triad(instructions, &mut a[part.clone()], &b[part.clone()], &c[part.clone()], 0.3);
            for i in 0..LENGTH {
                let expected = if part.contains(&i) { b[i] + 0.3 * c[i] } else { before[i] };
                assert_eq!(a[i].to_bits(), expected.to_bits());
            }
        });
    }

    #[test]
    fn slices_of_different_lengths_are_refused() {
        let copied = || copy(Instructions::Portable, &[1, 2], &mut [0]);
        assert!(std::panic::catch_unwind(copied).is_err());
        let summed = || triad(Instructions::Portable, &mut [0.0], &[1.0], &[], 1.0);
        assert!(std::panic::catch_unwind(summed).is_err());
    }
}
