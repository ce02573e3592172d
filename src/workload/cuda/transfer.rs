//! Transfers between pinned memory of the host and a device.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::{N_SAMPLES, word};
use crate::error::Result;
use crate::kernels::cuda::{Context, Link, draw_words};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;
use crate::probe::Direction;
use crate::units::Bytes;

/// Memory that all transfers of a run share. Both sides have the same words, so that whatever is
/// copied leaves them as they were; what a pass is to write is spoiled before it.
#[derive(Debug)]
pub(super) struct TransferMemory {
    link: Link,
    stream: Stream,
}

impl TransferMemory {
    /// Takes memory on both sides, and fills it.
    pub fn new(context: &Context, n_bytes: Bytes, seed: u64) -> Result<Self> {
        let stream = Stream::new(seed, "transfer");
        let mut link = Link::new(context, (n_bytes.0 / 8) as usize)?;
        link.host_mut().par_iter_mut().enumerate().for_each(|(i, to)| *to = word(stream, i));
        context.launch(&draw_words(link.device(), stream.key(), 0))?;
        context.synchronize()?;
        Ok(Self { link, stream })
    }
}

/// A transfer.
#[derive(Debug)]
pub(super) struct DeviceTransfer<'a> {
    context: Arc<Context>,
    memory: &'a mut TransferMemory,
    to_device: Range<usize>,
    to_host: Range<usize>,
    samples: Stream,
    passes: u64,
}

impl<'a> DeviceTransfer<'a> {
    /// A transfer of all of `memory`, half of it each way where both are used.
    pub fn new(
        context: &Arc<Context>,
        memory: &'a mut TransferMemory,
        direction: Direction,
        seed: u64,
    ) -> Self {
        let (to_device, to_host) = ways(direction, memory.link.host().len());
        let samples = Stream::new(seed, "transfer.samples");
        Self { context: Arc::clone(context), memory, to_device, to_host, samples, passes: 0 }
    }

    /// Words of a range that are looked at after the pass under way.
    fn sampled(&self, range: &Range<usize>) -> Vec<usize> {
        if range.is_empty() {
            return Vec::new();
        }
        let first = self.passes * N_SAMPLES;
        let word = |i| range.start + self.samples.below(first + i, range.len() as u32) as usize;
        (0..N_SAMPLES).map(word).collect()
    }
}

/// Words that go to the device, and words that go to the host, of so many.
fn ways(direction: Direction, n_words: usize) -> (Range<usize>, Range<usize>) {
    match direction {
        Direction::HostToDevice => (0..n_words, 0..0),
        Direction::DeviceToHost => (0..0, 0..n_words),
        Direction::Bidirectional => (0..n_words / 2, n_words / 2..n_words),
    }
}

impl Workload for DeviceTransfer<'_> {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        let spoiled = self.to_device.clone();
        let part = self.memory.link.device().part(spoiled.start * 8, spoiled.len() * 8);
        self.context.set_bytes(part, 0xff)?;
        for at in self.sampled(&self.to_host) {
            self.memory.link.host_mut()[at] = u64::MAX;
        }
        self.context.synchronize()
    }

    fn iterate(&mut self) -> Result<()> {
        self.memory.link.copy(&self.context, self.to_device.clone(), self.to_host.clone())
    }

    fn check(&mut self) -> Result<Check> {
        let mut wrong = 0;
        let (on_device, on_host) = (self.sampled(&self.to_device), self.sampled(&self.to_host));
        let memory = &*self.memory;
        for &at in &on_device {
            let mut bytes = [0; 8];
            self.context.download(memory.link.device().part(at * 8, 8), &mut bytes)?;
            wrong += usize::from(u64::from_le_bytes(bytes) != word(memory.stream, at));
        }
        for &at in &on_host {
            wrong += usize::from(memory.link.host()[at] != word(memory.stream, at));
        }
        self.passes += 1;
        Ok(Check {
            reference: Reference::SpoiledWords,
            values: (on_device.len() + on_host.len()) as u64,
            error: wrong as f64,
            tolerance: 0.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_goes_one_way() {
        for direction in Direction::ALL {
            let (to_device, to_host) = ways(direction, 1000);
            assert_eq!(to_device.len() + to_host.len(), 1000);
            assert_eq!(to_device.is_empty(), direction == Direction::DeviceToHost);
            assert_eq!(to_host.is_empty(), direction == Direction::HostToDevice);
        }
        assert_eq!(ways(Direction::Bidirectional, 10), (0..5, 5..10));
    }
}
