//! All that is known of one device: an interval for each metric, and a truth for each flag.

use crate::classify::interval::{Basis, Interval};
use crate::classify::kleene::Truth;
use crate::classify::metric::{Flag, Metric};

/// A flag's truth, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Yes, no, or not known.
    pub truth: Truth,
    /// Who says so; absent when nobody does.
    pub basis: Option<Basis>,
}

/// What is known of one device. To begin with, nothing is.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    metrics: [Interval; Metric::COUNT],
    flags: [Fact; Flag::COUNT],
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            metrics: std::array::from_fn(|_| Interval::default()),
            flags: std::array::from_fn(|_| Fact { truth: Truth::Unknown, basis: None }),
        }
    }
}

impl Facts {
    /// What is known of a metric.
    pub fn metric(&self, metric: Metric) -> &Interval {
        &self.metrics[metric.index()]
    }

    /// What is known of a flag.
    pub fn flag(&self, flag: Flag) -> &Fact {
        &self.flags[flag.index()]
    }

    /// Says what is known of a metric.
    pub fn set_metric(&mut self, metric: Metric, interval: Interval) {
        self.metrics[metric.index()] = interval;
    }

    /// Says what is known of a flag.
    pub fn set_flag(&mut self, flag: Flag, truth: Truth, basis: Basis) {
        self.flags[flag.index()] = Fact { truth, basis: Some(basis) };
    }

    /// Metrics whose figures contradict each other.
    pub fn contradictions(&self) -> impl Iterator<Item = (Metric, &Interval)> {
        let all = Metric::ALL.into_iter().map(|metric| (metric, self.metric(metric)));
        all.filter(|(_, interval)| interval.is_contradiction())
    }
}
