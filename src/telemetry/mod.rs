//! What the machine did while something was measured: who else computed, whether cores were
//! throttled, how fast they ran.
//!
//! A [`Sampler`] is asked between rounds, never inside a timed region. Everything it reads counts
//! from some start that does not matter; two [`Sample`]s make [`Conditions`]. No clock is read
//! here: the machine's own counters of busy and idle time add up to the time that passed.

mod sampler;
mod speed;

pub use sampler::Sampler;
pub use speed::core_speed;

/// Time that each processor must have counted before shares of it are told.
///
/// A kernel credits running time when its timer ticks, every 1 to 10 ms, so that a difference of
/// two readings is off by up to one tick of each processor. Over 20 counter steps of 10 ms that is
/// at most a twentieth. Shorter rounds are told by taking samples further apart.
const TICKS_MIN: u64 = 20;

/// Counters at one moment. What is absent is not told by the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Time of all processors.
    pub processors: Option<ProcessorTicks>,
    /// What this process used.
    pub process: Option<ProcessUse>,
    /// Times that cores and packages were throttled for heat.
    pub throttle_events: Option<u64>,
    /// Mean frequency at this moment; no counter.
    pub frequency_hz: Option<u64>,
}

/// What all processors of the machine did since it started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTicks {
    /// Running any process, the kernel, or guests of this machine.
    pub busy: u64,
    /// Idle, including waits for input and output.
    pub idle: u64,
    /// Ready to run while the hypervisor ran others.
    pub stolen: u64,
    /// Processors in operation.
    pub n_processors: u64,
    /// Ticks that one processor counts in a second.
    pub ticks_per_s: u64,
}

/// What this process used since it started, all of its threads together, ended ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUse {
    /// Processor time, in user mode and in the kernel.
    pub cpu_ns: u64,
    /// Times that a thread was taken off a processor although it could have gone on.
    pub involuntary_switches: u64,
    /// Page faults that had to wait for a disk.
    pub major_faults: u64,
}

/// What happened between two samples. What is absent is unknown, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Share of the time of all processors of the machine that others than this process took,
    /// the kernel's interrupts included, 0 to 1. It is about the whole machine even where this
    /// process may use only a part of it: others compete for memory and power from anywhere.
    /// Absent when the interval is too short for the counters, fewer than 20 ticks (200 ms) of
    /// each processor.
    pub other_load_share: Option<f64>,
    /// Share of the time of all processors that the hypervisor gave to other machines, 0 to 1.
    /// Zero on a real machine, and on a virtual one whose hypervisor does not tell. Absent like
    /// the other share.
    pub steal_share: Option<f64>,
    /// Times that a core or a package was throttled for heat. One cause may count several times.
    pub throttle_events: Option<u64>,
    /// Mean frequency over the usable processors at the end of the interval, in hertz, as the
    /// frequency driver tells it.
    pub frequency_hz: Option<u64>,
    /// Times that a thread of this process was taken off a processor although it could have gone
    /// on: somebody else wanted it, or a quota was used up.
    pub involuntary_switches: Option<u64>,
    /// Page faults of this process that had to wait for a disk.
    pub major_faults: Option<u64>,
}

impl Sample {
    /// What happened from this sample to a `later` one.
    pub fn until(&self, later: &Sample) -> Conditions {
        let process = self.process.zip(later.process).map(|(from, to)| from.until(to));
        let ticks = self.processors.zip(later.processors).map(|(from, to)| from.until(to));
        let ticks = ticks.filter(ProcessorTicks::are_enough);
        let throttled = self.throttle_events.zip(later.throttle_events);
        Conditions {
            other_load_share: ticks.zip(process).map(|(t, p)| t.others(p.cpu_ns) / t.total()),
            steal_share: ticks.map(|t| t.stolen as f64 / t.total()),
            throttle_events: throttled.map(|(from, to)| to.saturating_sub(from)),
            frequency_hz: later.frequency_hz,
            involuntary_switches: process.map(|p| p.involuntary_switches),
            major_faults: process.map(|p| p.major_faults),
        }
    }
}

impl ProcessorTicks {
    /// The difference. Single counters may run backwards, when a processor is switched off or a
    /// virtual machine moves to another host; that counts as standing still.
    fn until(self, later: Self) -> Self {
        Self {
            busy: later.busy.saturating_sub(self.busy),
            idle: later.idle.saturating_sub(self.idle),
            stolen: later.stolen.saturating_sub(self.stolen),
            ..later
        }
    }

    fn total(&self) -> f64 {
        self.busy as f64 + self.idle as f64 + self.stolen as f64
    }

    fn are_enough(&self) -> bool {
        self.total() >= TICKS_MIN.saturating_mul(self.n_processors.max(1)) as f64
    }

    /// Busy ticks less those of a process that used `own_ns`.
    ///
    /// A process's own time is counted to the nanosecond, the machine's by ticks, and stolen time
    /// may be in the first and is never in the second. So a machine without other load gives
    /// small differences of either sign, and one below zero means none.
    fn others(&self, own_ns: u64) -> f64 {
        let own_ticks = own_ns as f64 / 1e9 * self.ticks_per_s as f64;
        (self.busy as f64 - own_ticks).max(0.0)
    }
}

impl ProcessUse {
    fn until(self, later: Self) -> Self {
        Self {
            cpu_ns: later.cpu_ns.saturating_sub(self.cpu_ns),
            involuntary_switches: later
                .involuntary_switches
                .saturating_sub(self.involuntary_switches),
            major_faults: later.major_faults.saturating_sub(self.major_faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A sample of a machine with two processors and ticks of 10 ms.
    fn sample(busy: u64, idle: u64, stolen: u64, own_ms: u64) -> Sample {
        Sample {
            processors: Some(ProcessorTicks {
                busy,
                idle,
                stolen,
                n_processors: 2,
                ticks_per_s: 100,
            }),
            process: Some(ProcessUse {
                cpu_ns: own_ms * MS,
                involuntary_switches: own_ms,
                major_faults: 3,
            }),
            throttle_events: Some(busy / 10),
            frequency_hz: Some(2_000_000_000 + busy),
        }
    }

    #[test]
    fn shares_are_of_the_time_of_all_processors() {
        let from = sample(1_000, 5_000, 20, 4_000);
        // One second of two processors: 120 ticks busy, 70 of them ours, 20 stolen.
        let to = sample(1_120, 5_060, 40, 4_700);
        let conditions = from.until(&to);
        assert_eq!(conditions.other_load_share, Some(0.25));
        assert_eq!(conditions.steal_share, Some(0.1));
        assert_eq!(conditions.throttle_events, Some(12));
        assert_eq!(conditions.frequency_hz, Some(2_000_001_120));
        assert_eq!(conditions.involuntary_switches, Some(700));
        assert_eq!(conditions.major_faults, Some(0));
    }

    #[test]
    fn more_own_time_than_busy_time_is_no_other_load() {
        let conditions = sample(0, 0, 0, 0).until(&sample(100, 100, 0, 1_013));
        assert_eq!(conditions.other_load_share, Some(0.0));
    }

    #[test]
    fn a_short_interval_has_no_shares_and_keeps_its_counts() {
        // 20 ticks for each of two processors, and one fewer.
        assert_eq!(sample(0, 0, 0, 0).until(&sample(30, 10, 0, 0)).steal_share, Some(0.0));
        let conditions = sample(0, 0, 0, 0).until(&sample(29, 10, 0, 5));
        assert_eq!((conditions.other_load_share, conditions.steal_share), (None, None));
        assert_eq!(conditions.involuntary_switches, Some(5));
        let nothing = sample(7, 7, 7, 7);
        let conditions = nothing.until(&nothing);
        assert_eq!((conditions.other_load_share, conditions.steal_share), (None, None));
        assert_eq!(conditions.throttle_events, Some(0));
    }

    #[test]
    fn counters_that_run_backwards_stand_still() {
        let conditions = sample(900, 900, 900, 900).until(&sample(500, 1_000, 800, 100));
        assert_eq!(conditions.other_load_share, Some(0.0));
        assert_eq!(conditions.steal_share, Some(0.0));
        assert_eq!(conditions.throttle_events, Some(0));
        assert_eq!(conditions.involuntary_switches, Some(0));
    }

    #[test]
    fn what_one_sample_lacks_is_absent() {
        let whole = sample(1_000, 1_000, 0, 0);
        let nothing = Sample::default();
        assert_eq!(nothing.until(&nothing), Conditions::default());
        assert_eq!(whole.until(&nothing), Conditions::default());
        let begin = Sample { process: None, ..sample(0, 0, 0, 0) };
        let conditions = begin.until(&whole);
        assert_eq!(conditions.other_load_share, None);
        assert_eq!(conditions.steal_share, Some(0.0));
        assert_eq!(conditions.major_faults, None);
    }

    #[test]
    fn absurd_counters_give_shares_all_the_same() {
        let ticks = ProcessorTicks {
            busy: u64::MAX,
            idle: u64::MAX,
            stolen: u64::MAX,
            n_processors: 0,
            ticks_per_s: u64::MAX,
        };
        let odd = Sample { processors: Some(ticks), ..sample(0, 0, 0, u64::MAX / MS) };
        let conditions = sample(0, 0, 0, 0).until(&odd);
        assert!((0.0..=1.0).contains(&conditions.other_load_share.unwrap()));
        assert!((0.0..=1.0).contains(&conditions.steal_share.unwrap()));
    }
}
