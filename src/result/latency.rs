//! Latencies of a file: what a histogram and exact figures beside it say, and how two of them
//! become one.

use std::collections::BTreeMap;

use crate::histogram::{self, Buckets, Histogram};
use crate::measure::Metric;
use crate::result::convert::histogram_file;
use crate::result::file::{HistogramFile, LatencyFile, OutliersFile};
use crate::stats::{self, Moments};

/// Percentiles that a latency is asked for.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// The largest sum of squared distances from their mean that values between two extremes have, half
/// of them at each (Popoviciu, 1935), with room for rounding.
fn largest_spread(file: &LatencyFile) -> f64 {
    let half_range = file.max_ns.saturating_sub(file.min_ns) as f64 / 2.0;
    let rounding = file.max_ns as f64 * 1e-9;
    file.count as f64 * (half_range * half_range * (1.0 + 1e-9) + rounding * rounding)
}

/// The values of one metric, with nothing derived from them.
#[derive(Clone, Debug)]
pub struct Series {
    metric: String,
    definition: String,
    description: String,
    histogram: Histogram,
}

impl Series {
    /// What was recorded live.
    pub fn live(metric: Metric, histogram: &Histogram) -> Self {
        let (definition, description) = metric.definition();
        Self {
            metric: metric.name().into(),
            definition: definition.into(),
            description: description.into(),
            histogram: histogram.clone(),
        }
    }

    /// What a file holds.
    ///
    /// # Errors
    /// What is wrong with the histogram or the figures beside it.
    pub fn of_file(file: &LatencyFile) -> Result<Self, String> {
        if file.histogram.encoding != histogram::ENCODING {
            return Err(format!("unknown encoding `{}`", file.histogram.encoding));
        }
        let ours = (histogram::SIGNIFICANT_FIGURES, histogram::MAX_NS);
        let theirs = (file.histogram.significant_figures, file.histogram.max_ns);
        if ours != theirs {
            return Err(format!(
                "histograms of different precision: {} significant figures up to {} ns, not {} up \
                 to {} ns",
                theirs.0, theirs.1, ours.0, ours.1
            ));
        }
        let buckets = Buckets::decode(&file.histogram.data)?;
        if buckets.count() != file.count || file.count == 0 {
            return Err(format!(
                "count is {}, but the histogram holds {} values",
                file.count,
                buckets.count()
            ));
        }
        if file.min_ns > file.max_ns
            || !(file.min_ns..=file.max_ns).contains(&(file.sum_ns / file.count))
        {
            return Err("the mean is not between the extremes".into());
        }
        let spread = file.sum_of_squares_ns2;
        if !(0.0..=largest_spread(file)).contains(&spread) {
            return Err("the sum of squares is not one of values between the extremes".into());
        }
        let moments =
            Moments::from_parts(file.count, file.sum_ns, file.min_ns, file.max_ns, spread);
        Ok(Self {
            metric: file.metric.clone(),
            definition: file.definition.clone(),
            description: file.description.clone(),
            histogram: Histogram::from_parts(buckets, moments, file.histogram.saturated)?,
        })
    }

    /// Takes the values of `other` in, as if they had been recorded here.
    ///
    /// # Errors
    /// In which definition the two differ, or that there are too many values.
    pub fn merge(&mut self, other: &Self) -> Result<(), String> {
        if self.definition != other.definition {
            return Err(format!(
                "{} is defined as {} in one and as {} in the other",
                self.metric, self.definition, other.definition
            ));
        }
        self.histogram.merge(&other.histogram)
    }

    /// The buckets as files have them.
    pub fn histogram(&self) -> HistogramFile {
        histogram_file(self.histogram.encode(), self.histogram.saturated())
    }

    /// The values, written as `histogram`, and all that they say; absent when there are none.
    pub fn file(&self, histogram: HistogramFile) -> Option<LatencyFile> {
        let moments = self.histogram.moments();
        let mut percentiles_ns = BTreeMap::new();
        let mut percentiles_absent = BTreeMap::new();
        for (name, q) in PERCENTILES {
            let is_carried = moments.count >= stats::min_count_for_quantile(q);
            match self.histogram.quantile(q).filter(|_| is_carried) {
                Some(ns) => drop(percentiles_ns.insert(name.into(), ns)),
                None => {
                    let needed = stats::min_count_for_quantile(q);
                    let reason = format!("needs {needed} values, has {}", moments.count);
                    percentiles_absent.insert(name.into(), reason);
                }
            }
        }
        Some(LatencyFile {
            metric: self.metric.clone(),
            definition: self.definition.clone(),
            description: self.description.clone(),
            count: moments.count,
            sum_ns: moments.sum,
            min_ns: moments.min,
            max_ns: moments.max,
            mean_ns: moments.mean()?,
            stddev_ns: moments.stddev(),
            sum_of_squares_ns2: moments.sum_of_squares(),
            mad_ns: self.histogram.median_absolute_deviation()?,
            percentiles_ns,
            percentiles_absent,
            outliers: self.histogram.outliers().map(|o| OutliersFile {
                low_fence_ns: o.low_fence_ns,
                high_fence_ns: o.high_fence_ns,
                low: o.low,
                high: o.high,
            }),
            histogram,
        })
    }
}
