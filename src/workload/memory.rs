//! The probes of memory: walks through more of it than caches hold.

use crate::error::{Error, Result};
use crate::kernels::Instructions;
use crate::kernels::memory::{
    Buffer, copy_parallel, fill_parallel, read_sum_parallel, triad_parallel,
};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;
use crate::probe::{Access, N_BUFFERS};
use crate::units::Bytes;

/// Words spoiled before a pass and looked at after it.
const N_SAMPLES: u64 = 1024;

/// The scale of the triad: a power of two, so that fused and separate rounding agree.
const SCALE: f32 = 0.5;

/// Memory that the walks of one run share.
#[derive(Debug)]
pub struct ProbeMemory {
    words: Buffer,
}

impl ProbeMemory {
    /// Takes memory and fills it with random numbers: each word is two f32 between 1 and 2. Each
    /// thread of the current pool fills, and so places, what it will walk through.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system refuses the memory.
    pub fn new(working_set: Bytes, seed: u64) -> Result<Self> {
        let n_words = (working_set.0 / 8) as usize;
        let mut words = Buffer::new(n_words)
            .map_err(Error::engine(format!("allocating {working_set} for the memory probes")))?;
        let stream = Stream::new(seed, "memory");
        const FRACTIONS: u64 = 0x007f_ffff_007f_ffff;
        const ONES: u64 = 0x3f80_0000_3f80_0000;
        let len = n_words / N_BUFFERS;
        for (idx, part) in words.as_mut_slice().chunks_exact_mut(len).enumerate() {
            fill_parallel(part, |i| stream.bits((idx * len + i) as u64) & FRACTIONS | ONES);
        }
        Ok(Self { words })
    }
}

/// A walk through memory. An iteration walks through one of its buffers, and the next through
/// another; a pass is all of them, each byte once.
#[derive(Debug)]
pub struct MemoryProbe<'a> {
    words: &'a mut Buffer,
    access: Access,
    instructions: Instructions,
    /// Of each buffer, what its words add up to.
    sums: Vec<u64>,
    /// What the pass under way found them to add up to.
    found: Vec<u64>,
    next: usize,
    samples: Stream,
    passes: u64,
}

impl<'a> MemoryProbe<'a> {
    /// A walk through all of `memory`.
    pub fn new(memory: &'a mut ProbeMemory, access: Access, seed: u64) -> Self {
        let words = &mut memory.words;
        let sums = match access {
            // By a loop that has nothing to do with the one to be measured.
            Access::Read => buffers(words.as_slice())
                .map(|buffer| buffer.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)))
                .collect(),
            Access::Copy | Access::Triad => Vec::new(),
        };
        Self {
            words,
            access,
            instructions: Instructions::detect().of_floats(),
            sums,
            found: Vec::new(),
            next: 0,
            samples: Stream::new(seed, access_name(access)),
            passes: 0,
        }
    }

    /// The instruction set that runs.
    pub fn kernel(&self) -> &'static str {
        self.instructions.name()
    }

    fn buffer(&mut self, idx: usize) -> &mut [u64] {
        let words = self.words.as_mut_slice();
        let len = words.len() / N_BUFFERS;
        &mut words[idx * len..(idx + 1) * len]
    }

    /// Buffer and word of it that a sample of the pass under way looks at: below the first half of
    /// a buffer for a copy, below the first third for a triad.
    fn sampled(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let parts = match self.access {
            Access::Read => 1,
            Access::Copy => 2,
            Access::Triad => 3,
        };
        let len = (self.words.as_slice().len() / N_BUFFERS / parts) as u32;
        let (samples, first) = (self.samples, self.passes * N_SAMPLES);
        (0..N_SAMPLES)
            .map(move |i| (i as usize % N_BUFFERS, samples.below(first + i, len) as usize))
    }

    fn wrong_samples(&mut self) -> usize {
        let access = self.access;
        let sampled: Vec<_> = self.sampled().collect();
        let is_wrong = |buffer: &[u64], at: usize| match access {
            Access::Read => false,
            Access::Copy => buffer[at] != buffer[buffer.len() / 2 + at],
            Access::Triad => {
                let third = buffer.len() / 3;
                let (a, b, c) = (buffer[at], buffer[third + at], buffer[2 * third + at]);
                [0, 32].into_iter().any(|shift| {
                    let float = |word: u64| f32::from_bits((word >> shift) as u32);
                    float(a) != float(b) + SCALE * float(c)
                })
            }
        };
        sampled.into_iter().filter(|&(idx, at)| is_wrong(self.buffer(idx), at)).count()
    }
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "memory.read.samples",
        Access::Copy => "memory.copy.samples",
        Access::Triad => "memory.triad.samples",
    }
}

fn buffers(words: &[u64]) -> impl Iterator<Item = &[u64]> {
    words.chunks_exact(words.len() / N_BUFFERS)
}

impl Workload for MemoryProbe<'_> {
    fn iterations_per_pass(&self) -> usize {
        N_BUFFERS
    }

    fn reset(&mut self) -> Result<()> {
        self.found.clear();
        self.next = 0;
        if self.access != Access::Read {
            for (idx, at) in self.sampled() {
                // Neither a copy of anything here, nor a number.
                self.buffer(idx)[at] = u64::MAX;
            }
        }
        Ok(())
    }

    fn iterate(&mut self) -> Result<()> {
        let (access, instructions) = (self.access, self.instructions);
        let idx = self.next;
        self.next = (idx + 1) % N_BUFFERS;
        match access {
            Access::Read => {
                let sum = read_sum_parallel(instructions, self.buffer(idx));
                self.found.push(sum);
            }
            Access::Copy => {
                let buffer = self.buffer(idx);
                let half = buffer.len() / 2;
                let (to, from) = buffer.split_at_mut(half);
                copy_parallel(instructions, from, to);
            }
            Access::Triad => {
                let floats = self.words.as_f32_mut_slice();
                let len = floats.len() / N_BUFFERS;
                let buffer = &mut floats[idx * len..(idx + 1) * len];
                let third = len / 3;
                let (a, rest) = buffer.split_at_mut(third);
                let (b, c) = rest.split_at(third);
                triad_parallel(instructions, a, b, c, SCALE);
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<Check> {
        let (reference, values, wrong) = match self.access {
            Access::Read => {
                let pairs = self.found.iter().zip(&self.sums);
                let wrong = pairs.filter(|(found, sum)| found != sum).count();
                let missing = self.sums.len() - self.found.len();
                (Reference::WordSum, self.words.as_slice().len() as u64, wrong + missing)
            }
            Access::Copy | Access::Triad => {
                (Reference::SpoiledWords, N_SAMPLES, self.wrong_samples())
            }
        };
        self.passes += 1;
        Ok(Check { reference, values, error: wrong as f64, tolerance: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bytes = Bytes((N_BUFFERS * 6 * 8 * 1000) as u64);

    /// Claims rest on it.
    #[test]
    fn it_is_known_whose_stores_go_past_the_caches() {
        for instructions in [Instructions::Avx512, Instructions::Avx2, Instructions::Portable] {
            let streams = instructions != Instructions::Portable;
            assert_eq!(crate::probe::stores_past_caches(instructions.name()), streams);
        }
    }

    #[test]
    fn walks_are_checked() {
        let mut memory = ProbeMemory::new(SMALL, 5).unwrap();
        for access in [Access::Triad, Access::Copy, Access::Read, Access::Triad, Access::Read] {
            let mut probe = MemoryProbe::new(&mut memory, access, 5);
            for _ in 0..2 {
                probe.reset().unwrap();
                (0..N_BUFFERS).for_each(|_| probe.iterate().unwrap());
                let check = probe.check().unwrap().passed().unwrap();
                assert_eq!(check.error, 0.0);
            }
            // A pass that leaves a buffer out is found out.
            probe.reset().unwrap();
            (1..N_BUFFERS).for_each(|_| probe.iterate().unwrap());
            assert!(probe.check().unwrap().passed().is_err(), "{access:?}");
            probe.reset().unwrap();
            (0..N_BUFFERS).for_each(|_| probe.iterate().unwrap());
            probe.check().unwrap().passed().unwrap();
        }
    }
}
