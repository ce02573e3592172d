//! A workload that is slower than it is, so that a test can see a comparison find it.

use crate::error::Result;
use crate::measure::{Check, Clock, Workload};

/// Adds a share of its own time to every iteration; nothing at all where that is 0.
pub(super) struct Slowed<'a, W: ?Sized, C> {
    pub workload: &'a mut W,
    pub clock: &'a C,
    pub share: f64,
}

impl<W: Workload + ?Sized, C: Clock> Workload for Slowed<'_, W, C> {
    fn iterations_per_pass(&self) -> usize {
        self.workload.iterations_per_pass()
    }

    fn reset(&mut self) -> Result<()> {
        self.workload.reset()
    }

    fn iterate(&mut self) -> Result<()> {
        if self.share == 0.0 {
            return self.workload.iterate();
        }
        let begin_ns = self.clock.now_ns();
        self.workload.iterate()?;
        self.workload.wait()?;
        let own_ns = self.clock.now_ns() - begin_ns;
        let end_ns = begin_ns + own_ns + (own_ns as f64 * self.share) as u64;
        // Awake: a sleep is longer than asked for by as much as an iteration of a small model.
        while self.clock.now_ns() < end_ns {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        match self.share == 0.0 {
            true => self.workload.wait(),
            false => Ok(()),
        }
    }

    fn has_device_clock(&self) -> bool {
        // What was slowed down on the host says nothing of its launches.
        self.share == 0.0 && self.workload.has_device_clock()
    }

    fn device_iteration_ns(&mut self) -> Result<Option<Vec<u64>>> {
        match self.has_device_clock() {
            true => self.workload.device_iteration_ns(),
            false => Ok(None),
        }
    }

    fn check(&mut self) -> Result<Check> {
        self.workload.check()
    }
}
