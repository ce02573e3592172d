//! Latency histograms: log-linear buckets (HDR) that merge exactly, with exact moments beside
//! them, since a bucket only knows its edges.

use base64::Engine as _;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use crate::stats::Moments;

/// Largest value that is told apart: one hour in nanoseconds.
pub const MAX_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits a bucket keeps: a percentile is right within 0.1 %.
pub const SIGNIFICANT_FIGURES: u8 = 3;

/// How [`Histogram::encode`] writes the buckets.
pub const ENCODING: &str = "hdr-v2-deflate-base64";

/// Durations in nanoseconds. Buckets are allocated with the first one, and grow with the largest.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Option<Hdr<u64>>,
    moments: Moments,
    saturated: u64,
}

fn no_buckets() -> Hdr<u64> {
    Hdr::new(SIGNIFICANT_FIGURES).expect("the constant is within the crate's 0 to 5")
}

impl Histogram {
    /// Memory of a histogram whose largest value is a second, in bytes.
    pub const TYPICAL_BYTES: u64 = 20 * 1024 * 8;

    /// Takes one duration in. Above [`MAX_NS`] it is counted there and as saturated; the moments
    /// stay exact either way.
    pub fn record(&mut self, ns: u64) {
        self.buckets
            .get_or_insert_with(no_buckets)
            .record(ns.min(MAX_NS))
            .expect("buckets grow up to an hour without overflow");
        self.saturated += u64::from(ns > MAX_NS);
        self.moments.record(ns);
    }

    /// Takes all of `other` in, as if each duration had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if let Some(theirs) = &other.buckets {
            self.buckets
                .get_or_insert_with(no_buckets)
                .add(theirs)
                .expect("histograms of this type have one precision and grow");
        }
        self.saturated += other.saturated;
        self.moments.merge(&other.moments);
    }

    /// Exact count, sum, extremes, and spread.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// How many durations exceeded [`MAX_NS`].
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The value at quantile `q` in 0..=1, within the bucket's precision and never outside the
    /// exact extremes; absent when empty.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let buckets = self.buckets.as_ref()?;
        Some(buckets.value_at_quantile(q).clamp(self.moments.min, self.moments.max))
    }

    /// Median absolute deviation from the median, within the buckets' precision; absent when
    /// empty.
    pub fn median_absolute_deviation(&self) -> Option<u64> {
        let median = self.quantile(0.5)?;
        let mut distances: Vec<(u64, u64)> = self
            .buckets
            .as_ref()?
            .iter_recorded()
            .map(|it| {
                let value = it.value_iterated_to().clamp(self.moments.min, self.moments.max);
                (value.abs_diff(median), it.count_at_value())
            })
            .collect();
        distances.sort_unstable();
        let half = self.moments.count.div_ceil(2);
        let mut seen = 0;
        distances
            .into_iter()
            .find(|(_, count)| {
                seen += count;
                seen >= half
            })
            .map(|(distance, _)| distance)
    }

    /// The buckets in HdrHistogram's V2 deflate format, as base64: any HdrHistogram library
    /// reads it.
    pub fn encode(&self) -> String {
        // As many buckets as the largest value needs, however they came to grow: the same
        // content gives the same text.
        let max = self.moments.max.clamp(2, MAX_NS);
        let mut buckets = Hdr::new_with_bounds(1, max, SIGNIFICANT_FIGURES)
            .expect("bounds between 2 ns and an hour satisfy the crate's conditions");
        if let Some(ours) = &self.buckets {
            buckets.add(ours).expect("no value exceeds the largest");
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&buckets, &mut bytes)
            .expect("writing to memory cannot fail");
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}

/// What an encoded histogram holds.
#[derive(Clone, Debug)]
pub struct Buckets(Hdr<u64>);

impl Buckets {
    /// Reads what [`Histogram::encode`] wrote.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text.
    pub fn decode(text: &str) -> std::result::Result<Self, String> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|e| format!("the histogram is not base64: {e}"))?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map(Self)
            .map_err(|e| format!("the histogram cannot be read: {e}"))
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value at quantile `q` in 0..=1, as far as the buckets know; 0 when empty.
    pub fn quantile(&self, q: f64) -> u64 {
        self.0.value_at_quantile(q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| histogram.record(v));
        histogram
    }

    #[test]
    fn beyond_an_hour_is_counted_not_lost() {
        let histogram = of(&[5, MAX_NS + 1, 2 * MAX_NS]);
        assert_eq!(histogram.saturated(), 2);
        assert_eq!(histogram.moments().max, 2 * MAX_NS);
        assert_eq!(histogram.moments().count, 3);
    }

    #[test]
    fn deviation_of_a_known_set() {
        // Median 5; distances 4 3 1 0 1 3 95, sorted 0 1 1 3 3 4 95: the fourth is 3.
        let histogram = of(&[1, 2, 4, 5, 6, 8, 100]);
        assert_eq!(histogram.quantile(0.5), Some(5));
        assert_eq!(histogram.median_absolute_deviation(), Some(3));
        assert_eq!(of(&[]).median_absolute_deviation(), None);
    }

    #[test]
    fn damaged_text_is_refused() {
        for text in ["%%%", "", "AAAA"] {
            assert!(Buckets::decode(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thousandth_and_ordered(
            mut values in prop::collection::vec(0_u64..MAX_NS, 1..300),
        ) {
            let histogram = of(&values);
            values.sort_unstable();
            let mut last = 0;
            for q in [0.0, 0.1, 0.5, 0.9, 0.99, 1.0] {
                let rank = ((q * values.len() as f64).ceil() as usize).max(1);
                let exact = values[rank - 1];
                let got = histogram.quantile(q).unwrap();
                prop_assert!(got >= last);
                prop_assert!(got.abs_diff(exact) as f64 <= exact as f64 / 1000.0 + 1.0);
                last = got;
            }
        }

        #[test]
        fn merging_is_recording_all(
            left in prop::collection::vec(0_u64..2 * MAX_NS, 0..100),
            right in prop::collection::vec(0_u64..2 * MAX_NS, 0..100),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let all = of(&[left, right].concat());
            prop_assert_eq!(merged.encode(), all.encode());
            prop_assert_eq!(merged.saturated(), all.saturated());
            prop_assert_eq!(merged.moments().sum, all.moments().sum);
            let decoded = Buckets::decode(&all.encode()).unwrap();
            prop_assert_eq!(decoded.count(), all.moments().count);
            let (min, max) = (all.moments().min, all.moments().max);
            for q in [0.01, 0.5, 0.99] {
                let read = Some(decoded.quantile(q).clamp(min, max));
                prop_assert_eq!(read.filter(|_| decoded.count() > 0), all.quantile(q));
            }
        }
    }
}
