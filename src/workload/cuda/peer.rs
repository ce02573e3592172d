//! Transfers from one device to the next.

use std::sync::Arc;

use super::{N_SAMPLES, word};
use crate::error::Result;
use crate::kernels::cuda::{Context, PeerLink, PeerRoute, draw_words};
use crate::measure::{Check, Reference, Workload};
use crate::model::random::Stream;
use crate::units::Bytes;

/// Memory on both devices, with words on the first.
#[derive(Debug)]
pub(super) struct PeerMemory {
    link: PeerLink,
    stream: Stream,
}

impl PeerMemory {
    /// Takes memory on both devices, and fills the first one's.
    pub fn new(context: &Context, n_bytes: Bytes, seed: u64) -> Result<Self> {
        let (stream, n_words) = (Stream::new(seed, "transfer.peer"), (n_bytes.0 / 8) as usize);
        let link = PeerLink::new(context, n_words * 8)?;
        context.launch(&draw_words(link.source(), stream.key(), 0))?;
        context.synchronize()?;
        Ok(Self { link, stream })
    }

    /// How it is copied, as files have it.
    pub fn kernel(&self) -> &'static str {
        match self.link.route() {
            PeerRoute::Direct => "cuda_peer_direct",
            PeerRoute::ThroughHost => "cuda_peer_through_host",
        }
    }
}

/// A copy of all of it.
#[derive(Debug)]
pub(super) struct PeerTransfer<'a> {
    context: Arc<Context>,
    memory: &'a mut PeerMemory,
    samples: Stream,
    passes: u64,
}

impl<'a> PeerTransfer<'a> {
    /// A copy to the next device.
    pub fn new(context: &Arc<Context>, memory: &'a mut PeerMemory, seed: u64) -> Self {
        let samples = Stream::new(seed, "transfer.samples");
        Self { context: Arc::clone(context), memory, samples, passes: 0 }
    }
}

impl Workload for PeerTransfer<'_> {
    fn iterations_per_pass(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Result<()> {
        self.memory.link.set_target(0xff)
    }

    fn iterate(&mut self) -> Result<()> {
        self.memory.link.copy(&self.context)
    }

    fn check(&mut self) -> Result<Check> {
        let PeerMemory { link, stream } = &*self.memory;
        let (first, n_words) = (self.passes * N_SAMPLES, link.source().n_bytes() as u32 / 8);
        let mut n_wrong = 0;
        for i in 0..N_SAMPLES {
            let at = self.samples.below(first + i, n_words) as usize;
            n_wrong += usize::from(link.target_word(at)? != word(*stream, at));
        }
        self.passes += 1;
        Ok(Check {
            reference: Reference::SpoiledWords,
            values: N_SAMPLES,
            error: n_wrong as f64,
            tolerance: 0.0,
        })
    }
}
