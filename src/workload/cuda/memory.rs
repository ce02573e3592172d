//! Walks through a device's memory, more of it than its caches hold.

use std::sync::Arc;

use rayon::prelude::*;

use super::{N_SAMPLES, word};
use crate::error::Result;
use crate::kernels::cuda::{
    Context, Memory, Span, copy_words, draw_words, n_sums, read_sum, triad,
};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;
use crate::probe::{Access, N_BUFFERS};
use crate::units::Bytes;

/// The scale of the triad: a power of two, so that fused and separate rounding agree.
const SCALE: f32 = 0.5;

/// Memory that the walks of one run share.
#[derive(Debug)]
pub(super) struct WalkMemory {
    words: Memory,
    /// What blocks of a reading walk found, for each buffer.
    sums: Memory,
    /// Words of a buffer.
    len: usize,
    stream: Stream,
    /// Of each buffer, what its words add up to; counted by the host when it is first needed.
    wanted: Option<Vec<u64>>,
}

impl WalkMemory {
    /// Takes memory.
    pub fn new(context: &Context, working_set: Bytes, seed: u64) -> Result<Self> {
        let len = (working_set.0 / 8) as usize / N_BUFFERS;
        Ok(Self {
            words: context.allocate(len * N_BUFFERS * 8)?,
            sums: context.allocate(n_sums(context.n_multiprocessors()) * N_BUFFERS * 8)?,
            len,
            stream: Stream::new(seed, "memory"),
            wanted: None,
        })
    }

    fn buffer(&self, idx: usize) -> Span<'_> {
        self.words.span().part(idx * self.len * 8, self.len * 8)
    }

    /// Part `part` of a buffer that is cut into `parts`.
    fn part(&self, idx: usize, parts: usize, part: usize) -> Span<'_> {
        let n_bytes = self.len / parts * 8;
        self.buffer(idx).part(part * n_bytes, n_bytes)
    }

    /// Word `at` of a buffer, as it was drawn.
    fn word(&self, idx: usize, at: usize) -> u64 {
        word(self.stream, idx * self.len + at)
    }
}

/// A walk through memory; a pass is all of its buffers, each byte once.
#[derive(Debug)]
pub(super) struct DeviceWalk<'a> {
    context: Arc<Context>,
    memory: &'a WalkMemory,
    access: Access,
    samples: Stream,
    passes: u64,
}

impl<'a> DeviceWalk<'a> {
    /// A walk through all of `memory`, which is drawn anew.
    pub fn new(
        context: &Arc<Context>,
        memory: &'a mut WalkMemory,
        access: Access,
        seed: u64,
    ) -> Result<Self> {
        for idx in 0..N_BUFFERS {
            let first = (idx * memory.len) as u64;
            context.launch(&draw_words(memory.buffer(idx), memory.stream.key(), first))?;
        }
        if access == Access::Read && memory.wanted.is_none() {
            let sum = |idx| {
                let words = (0..memory.len).into_par_iter().map(|at| memory.word(idx, at));
                words.reduce(|| 0, u64::wrapping_add)
            };
            memory.wanted = Some((0..N_BUFFERS).map(sum).collect());
        }
        context.synchronize()?;
        let samples = Stream::new(seed, "memory.samples");
        Ok(Self { context: Arc::clone(context), memory, access, samples, passes: 0 })
    }

    /// Parts of a buffer, of which the first is written, if any is.
    fn parts(&self) -> usize {
        match self.access {
            Access::Read => 1,
            Access::Copy => 2,
            Access::Triad => 3,
        }
    }

    /// Sums of the buffers as the device found them.
    fn found(&self) -> Result<Vec<u64>> {
        let mut bytes = vec![0; self.memory.sums.span().n_bytes()];
        self.context.download(self.memory.sums.span(), &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let of_buffers = words.chunks_exact(words.len() / N_BUFFERS);
        let sum = |words: &[[u8; 8]]| {
            words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
        };
        Ok(of_buffers.map(sum).collect())
    }

    fn wrong_samples(&self) -> Result<usize> {
        let len = self.memory.len / self.parts();
        let mut wrong = 0;
        for i in 0..N_SAMPLES {
            let idx = i as usize % N_BUFFERS;
            let at = self.samples.below(self.passes * N_SAMPLES + i, len as u32) as usize;
            let mut bytes = [0; 8];
            let from = self.memory.buffer(idx).part(at * 8, 8);
            self.context.download(from, &mut bytes)?;
            let drawn = |part: usize| self.memory.word(idx, part * len + at);
            let wanted = match self.access {
                Access::Read => continue,
                Access::Copy => drawn(1),
                Access::Triad => scaled_sum(drawn(1), drawn(2)),
            };
            wrong += usize::from(u64::from_le_bytes(bytes) != wanted);
        }
        Ok(wrong)
    }
}

/// `b + s·c` of the two f32 of a word.
fn scaled_sum(b: u64, c: u64) -> u64 {
    let of = |shift: u32| {
        let float = |word: u64| f32::from_bits((word >> shift) as u32);
        u64::from((float(b) + SCALE * float(c)).to_bits()) << shift
    };
    of(0) | of(32)
}

impl Workload for DeviceWalk<'_> {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        // Neither a copy of anything here, nor a number, nor a sum that blocks are likely to find.
        match self.access {
            Access::Read => self.context.set_bytes(self.memory.sums.span(), 0xff)?,
            Access::Copy | Access::Triad => {
                for idx in 0..N_BUFFERS {
                    self.context.set_bytes(self.memory.part(idx, self.parts(), 0), 0xff)?;
                }
            }
        }
        self.context.synchronize()
    }

    fn iterate(&mut self) -> Result<()> {
        let n = self.context.n_multiprocessors();
        let memory = self.memory;
        for idx in 0..N_BUFFERS {
            let part = |i| memory.part(idx, self.parts(), i);
            let launch = match self.access {
                Access::Read => {
                    let n_bytes = n_sums(n) * 8;
                    read_sum(n, part(0), memory.sums.span().part(idx * n_bytes, n_bytes))
                }
                Access::Copy => copy_words(n, part(1), part(0)),
                Access::Triad => triad(n, part(0), part(1), part(2), SCALE),
            };
            self.context.launch(&launch)?;
        }
        self.context.synchronize()
    }

    fn check(&mut self) -> Result<Check> {
        let (reference, values, wrong) = match (self.access, &self.memory.wanted) {
            (Access::Read, Some(wanted)) => {
                let found = self.found()?;
                let wrong = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
                (Reference::WordSum, (self.memory.len * N_BUFFERS) as u64, wrong)
            }
            _ => (Reference::SpoiledWords, N_SAMPLES, self.wrong_samples()?),
        };
        self.passes += 1;
        Ok(Check { reference, values, error: wrong as f64, tolerance: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_floats_of_a_word_are_added() {
        let pair = |low: f32, high: f32| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32;
        assert_eq!(scaled_sum(pair(1.5, 1.25), pair(1.0, 1.5)), pair(2.0, 2.0));
    }
}
