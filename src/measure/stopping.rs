//! When a round ends: a value fed with numbers.

/// Limits of one round. It ends when *both* minima are met, or *either* maximum is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Measured time to reach.
    pub min_ns: u64,
    /// Passes to reach.
    pub min_passes: u64,
    /// Measured time not to exceed; a pass that is under way is finished.
    pub max_ns: u64,
    /// Passes not to exceed.
    pub max_passes: u64,
}

/// What a round has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Passes finished.
    pub passes: u64,
    /// Sum of their times.
    pub total_ns: u64,
}

/// Why a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Minimum time and minimum count were both reached.
    MinimaMet,
    /// The maximum time was hit first.
    MaxTime,
    /// The maximum count was hit first.
    MaxPasses,
    /// The user asked to stop.
    Interrupted,
}

impl Progress {
    /// With one more pass.
    pub fn and_pass(self, pass_ns: u64) -> Self {
        Self { passes: self.passes + 1, total_ns: self.total_ns + pass_ns }
    }
}

impl Limits {
    /// Why to stop now, if it is time to.
    pub fn stop(&self, progress: Progress) -> Option<StopReason> {
        if progress.total_ns >= self.min_ns && progress.passes >= self.min_passes {
            Some(StopReason::MinimaMet)
        } else {
            self.maximum_hit(progress)
        }
    }

    /// Which maximum is hit, if one is.
    pub fn maximum_hit(&self, progress: Progress) -> Option<StopReason> {
        if progress.total_ns >= self.max_ns {
            Some(StopReason::MaxTime)
        } else if progress.passes >= self.max_passes {
            Some(StopReason::MaxPasses)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_minima_or_either_maximum() {
        let limits = Limits { min_ns: 100, min_passes: 3, max_ns: 1000, max_passes: 10 };
        for (passes, total_ns, stop) in [
            (0, 0, None),
            (2, 500, None),
            (3, 99, None),
            (3, 100, Some(StopReason::MinimaMet)),
            (2, 1000, Some(StopReason::MaxTime)),
            (10, 50, Some(StopReason::MaxPasses)),
            (10, 2000, Some(StopReason::MinimaMet)),
        ] {
            assert_eq!(limits.stop(Progress { passes, total_ns }), stop, "{passes} {total_ns}");
        }
    }
}
