//! Latencies of a file: what a histogram and exact figures beside it say, and how two of them
//! become one.

use std::collections::BTreeMap;

use crate::histogram::{self, Buckets, Histogram};
use crate::measure::Metric;
use crate::result::convert::histogram_file;
use crate::result::file::{LatencyFile, OutliersFile};
use crate::stats::{self, Moments};

/// Percentiles that a latency is asked for.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

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
        if !spread.is_finite() || spread < 0.0 {
            return Err("the sum of squares is no sum of squares".into());
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

    /// Which metric it is.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// The exact mean; absent when there are no values.
    pub fn mean_ns(&self) -> Option<f64> {
        self.histogram.moments().mean()
    }

    /// A percentile by its name, if it is one that files have and the sample carries it.
    pub fn percentile_ns(&self, name: &str) -> Option<u64> {
        let (_, q) = PERCENTILES.into_iter().find(|(known, _)| *known == name)?;
        let is_carried = self.histogram.moments().count >= stats::min_count_for_quantile(q);
        self.histogram.quantile(q).filter(|_| is_carried)
    }

    /// The values and all that they say; absent when there are none.
    pub fn file(&self) -> Option<LatencyFile> {
        let moments = self.histogram.moments();
        let mut percentiles_ns = BTreeMap::new();
        let mut percentiles_absent = BTreeMap::new();
        for (name, q) in PERCENTILES {
            match self.percentile_ns(name) {
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
            histogram: histogram_file(self.histogram.encode(), self.histogram.saturated()),
        })
    }
}
