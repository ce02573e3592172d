//! Time for the rounds still to come.

use crate::measure::Limits;

/// What is left of `--max-time`, and for how many rounds.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// On the run's clock; absent when unbounded.
    pub max_ns: Option<u64>,
    pub rounds_left: u64,
}

impl Budget {
    /// `limits` with one round's share of the time left at `now_ns` as their maximum.
    pub fn share(self, limits: Limits, now_ns: u64) -> Limits {
        let Some(max_ns) = self.max_ns else { return limits };
        let share_ns = max_ns.saturating_sub(now_ns) / self.rounds_left.max(1);
        Limits { max_ns: limits.max_ns.min(share_ns), ..limits }
    }
}

/// What a round took, without the warm-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundCost {
    /// All of it, with resets, checks and the filling of the cache.
    pub(super) whole_ns: u64,
    /// The least a round can take: its untimed parts, and one pass.
    pub(super) least_ns: u64,
}
