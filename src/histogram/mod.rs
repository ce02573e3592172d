//! Latency histograms: log-linear buckets (HDR) that merge exactly, with exact moments beside
//! them, since a bucket only knows its edges.

mod buckets;
mod codec;
mod layout;

pub use buckets::{Buckets, Outliers};

use crate::stats::Moments;
use buckets::{add_counts, value_at};
use layout::{OCTAVE, highest, index_of};

/// Largest value that is told apart: one hour in nanoseconds.
pub const MAX_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits a bucket keeps: a percentile is right within 0.1 %.
pub const SIGNIFICANT_FIGURES: u8 = 3;

/// How [`Histogram::encode`] writes the buckets.
pub const ENCODING: &str = "hdr-v2-deflate-base64";

/// Durations in nanoseconds. Memory is taken with the first one, and grows by octaves (doublings)
/// to hold the smallest and the largest.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Index of the bucket that `counts` starts with: the first of an octave.
    first: usize,
    /// How many durations fell into each bucket; whole octaves.
    counts: Vec<u64>,
    moments: Moments,
    saturated: u64,
}

impl Histogram {
    /// Memory of a histogram from a microsecond to a second, in bytes.
    pub const TYPICAL_BYTES: u64 = 20 * 1024 * 8;

    /// Takes one duration in. Above [`MAX_NS`] it is counted there and as saturated; the moments
    /// stay exact either way.
    pub fn record(&mut self, ns: u64) {
        let index = index_of(ns.min(MAX_NS));
        // An index below the first wraps around to one beyond the last.
        if index.wrapping_sub(self.first) >= self.counts.len() {
            self.grow(index);
        }
        self.counts[index - self.first] += 1;
        self.saturated += u64::from(ns > MAX_NS);
        self.moments.record(ns);
    }

    /// Back from a file: buckets, and the exact figures beside them.
    ///
    /// # Errors
    /// A sentence, if the two are not of the same durations: other counts, extremes that the
    /// outermost buckets do not hold, or more durations above [`MAX_NS`] than can be.
    pub fn from_parts(buckets: Buckets, moments: Moments, saturated: u64) -> Result<Self, String> {
        let count = buckets.count();
        if count != moments.count {
            return Err(format!(
                "the histogram holds {count} values, but the figures are of {}",
                moments.count
            ));
        }
        let &[(first, _), ..] = buckets.entries() else {
            return match saturated {
                0 => Ok(Self::default()),
                _ => Err("an empty histogram cannot be saturated".into()),
            };
        };
        let &(last, n_last) = buckets.entries().last().expect("it has a first entry");
        let held = [moments.min, moments.max].map(|ns| index_of(ns.min(MAX_NS)) as u32);
        if held != [first, last] || moments.min > moments.max {
            return Err(format!(
                "the extremes {} and {} ns are not in the outermost buckets of the histogram",
                moments.min, moments.max
            ));
        }
        if saturated > n_last || (saturated > 0) != (moments.max > MAX_NS) {
            return Err(format!(
                "{saturated} values above {MAX_NS} ns do not fit the largest, {} ns",
                moments.max
            ));
        }
        let mut histogram = Self { moments, saturated, ..Self::default() };
        histogram.grow(first as usize);
        histogram.grow(last as usize);
        for &(index, n) in buckets.entries() {
            histogram.counts[index as usize - histogram.first] = n;
        }
        Ok(histogram)
    }

    /// Takes all of `other` in, as if each duration had been recorded here.
    ///
    /// # Errors
    /// A sentence, and nothing is changed, if the counts exceed 2⁶²: only an edited file can say
    /// so.
    pub fn merge(&mut self, other: &Self) -> Result<(), String> {
        add_counts(self.moments.count, other.moments.count)?;
        if !other.counts.is_empty() {
            self.grow(other.first);
            self.grow(other.first + other.counts.len() - 1);
            let ours = &mut self.counts[other.first - self.first..];
            ours.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        }
        self.saturated += other.saturated;
        self.moments.merge(&other.moments);
        Ok(())
    }

    /// Makes room for the octave of `index`.
    #[cold]
    fn grow(&mut self, index: usize) {
        let octave = index / OCTAVE * OCTAVE;
        if self.counts.is_empty() {
            self.first = octave;
        }
        if octave < self.first {
            let mut grown = vec![0; self.first - octave];
            grown.append(&mut self.counts);
            self.counts = grown;
            self.first = octave;
        }
        let needed = octave + OCTAVE - self.first;
        if needed > self.counts.len() {
            self.counts.resize(needed, 0);
        }
    }

    /// Exact count, sum, extremes, and spread.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// How many durations exceeded [`MAX_NS`].
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The value at quantile `q` in 0..=1 in nanoseconds, within the bucket's precision and never
    /// outside the exact extremes; absent when empty.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let Moments { count, min, max, .. } = self.moments;
        (count > 0).then(|| value_at(self.occupied(), count, q).clamp(min, max))
    }

    /// Median absolute deviation from the median in nanoseconds, within the buckets' precision;
    /// absent when empty.
    pub fn median_absolute_deviation(&self) -> Option<u64> {
        let median = self.quantile(0.5)?;
        let Moments { count, min, max, .. } = self.moments;
        let mut distances: Vec<(u64, u64)> = self
            .occupied()
            .map(|(index, n)| (highest(index).clamp(min, max).abs_diff(median), n))
            .collect();
        distances.sort_unstable();
        let half = count.div_ceil(2);
        let mut seen = 0;
        distances
            .into_iter()
            .find(|(_, n)| {
                seen += n;
                seen >= half
            })
            .map(|(distance, _)| distance)
    }

    /// Counts the values beyond Tukey's far fences, as [`Buckets::outliers`] of the same buckets
    /// does; absent below [`Outliers::MIN_COUNT`] values.
    pub fn outliers(&self) -> Option<Outliers> {
        self.buckets().outliers()
    }

    /// The buckets alone, as a file has them.
    pub fn buckets(&self) -> Buckets {
        let entries = self.occupied().map(|(index, n)| (index as u32, n)).collect();
        Buckets::try_from_entries(entries)
            .expect("a histogram cannot record more than 2^62 durations in a machine's life")
    }

    /// The buckets in HdrHistogram's V2 deflate format, as base64: any HdrHistogram library
    /// reads it. The same content gives the same text, however it was recorded or merged.
    pub fn encode(&self) -> String {
        self.buckets().encode()
    }

    /// Indexes and counts of the buckets in use, ascending.
    fn occupied(&self) -> impl Iterator<Item = (usize, u64)> {
        // Between the extremes alone: they are exact, and the octaves around them may be empty.
        let Moments { count, min, max, .. } = self.moments;
        let offset = |ns: u64| index_of(ns.min(MAX_NS)) - self.first;
        let span = if count > 0 { offset(min)..offset(max) + 1 } else { 0..0 };
        let first = self.first + span.start;
        let counts = self.counts[span].iter().enumerate().filter(|(_, n)| **n > 0);
        counts.map(move |(offset, n)| (first + offset, *n))
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
    fn a_long_tail_stays_in_its_octaves() {
        let mut histogram = of(&[14_000_000]);
        assert_eq!(histogram.counts.len(), OCTAVE);
        histogram.record(15_000_000);
        assert_eq!(histogram.counts.len(), OCTAVE);
        histogram.record(40_000_000);
        assert_eq!(histogram.counts.len(), 3 * OCTAVE);
        histogram.record(0);
        histogram.record(u64::MAX);
        assert_eq!(histogram.counts.len(), 33 * OCTAVE);
        assert_eq!(histogram.moments().count, 5);
        assert_eq!(histogram.quantile(0.5), Some(highest(index_of(15_000_000))));
    }

    #[test]
    fn parts_of_different_durations_are_refused() {
        let beyond = MAX_NS + 5;
        let histogram = of(&[10, 5_000, 5_000, beyond]);
        let (buckets, moments) = (histogram.buckets(), *histogram.moments());
        let with = |count, min, max, saturated| {
            let moments = Moments::from_parts(count, moments.sum, min, max, 1.0);
            Histogram::from_parts(buckets.clone(), moments, saturated).map(|it| it.encode())
        };
        assert_eq!(with(4, 10, beyond, 1), Ok(histogram.encode()));
        for (count, min, max, saturated, part) in [
            (3, 10, beyond, 1, "the histogram holds 4 values, but the figures are of 3"),
            (4, 11, beyond, 1, "not in the outermost buckets"),
            (4, 10, 5_000, 1, "not in the outermost buckets"),
            (4, 10, MAX_NS, 1, "do not fit the largest"),
            (4, 10, beyond, 0, "do not fit the largest"),
            (4, 10, beyond, 2, "do not fit the largest"),
        ] {
            let problem = with(count, min, max, saturated).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        let empty =
            |saturated| Histogram::from_parts(Buckets::default(), Moments::default(), saturated);
        assert_eq!(empty(0).unwrap().quantile(0.5), None);
        assert!(empty(1).is_err());
    }

    #[test]
    fn extremes_in_the_wrong_order_are_refused() {
        // Both within the one bucket, as an edited file may have them.
        let buckets = of(&[14_000_000]).buckets();
        let moments = Moments::from_parts(1, 14_000_000, 14_000_001, 14_000_000, 0.0);
        assert!(Histogram::from_parts(buckets, moments, 0).is_err());
    }

    #[test]
    fn counts_beyond_all_are_not_merged() {
        let half = Buckets::try_from_entries(vec![(5, 1 << 61)]).unwrap();
        let moments = Moments::from_parts(1 << 61, u64::MAX, 5, 5, 0.0);
        let mut histogram = Histogram::from_parts(half.clone(), moments, 0).unwrap();
        let one = histogram.clone();
        histogram.merge(&one).unwrap();
        assert!(histogram.merge(&one).is_err());
        assert_eq!(histogram.moments().count, 1 << 62);
        let mut buckets = histogram.buckets();
        assert!(buckets.merge(&half).is_err());
        assert_eq!(buckets, histogram.buckets());
    }

    #[test]
    fn outliers_of_known_sets() {
        assert_eq!(of(&[5; 11]).outliers(), None);
        let out = |values: &[u64]| {
            let it = of(values).outliers().unwrap();
            (it.low_fence_ns, it.high_fence_ns, it.low, it.high)
        };
        assert_eq!(out(&[5; 12]), (5, 5, 0, 0));
        // Below 2,048 ns nothing is rounded: Q1 103, Q3 109, IQR 6.
        let mut values: Vec<u64> = (101..=112).collect();
        assert_eq!(out(&values), (85, 127, 0, 0));
        values.extend([85, 84, 127, 128]);
        // Q1 102, Q3 110, IQR 8.
        assert_eq!(out(&values), (78, 134, 0, 0));
        values.extend([77, 78, 134, 135]);
        // Q1 101, Q3 111 of 20 values, IQR 10.
        assert_eq!(out(&values), (71, 141, 0, 0));
        values.extend([20, 3_000_000]);
        assert_eq!(of(&values).outliers().map(|it| (it.low, it.high)), Some((1, 1)));
        // Neighbouring buckets are no outliers, however narrow the rest.
        let mut values = vec![14_000_000; 50];
        values.extend([13_990_000, 14_010_000]);
        assert_eq!(of(&values).outliers().map(|it| (it.low, it.high)), Some((0, 0)));
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
            merged.merge(&of(&right)).unwrap();
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

        #[test]
        fn a_file_gives_back_what_was_recorded(
            values in prop::collection::vec(0_u64..2 * MAX_NS, 0..100),
        ) {
            let live = of(&values);
            let buckets = Buckets::decode(&live.encode()).unwrap();
            prop_assert_eq!(&buckets, &live.buckets());
            prop_assert_eq!(buckets.outliers(), live.outliers());
            let it = live.moments();
            let moments =
                Moments::from_parts(it.count, it.sum, it.min, it.max, it.sum_of_squares());
            prop_assert_eq!(&moments, it);
            let mut back = Histogram::from_parts(buckets, moments, live.saturated()).unwrap();
            prop_assert_eq!(back.encode(), live.encode());
            prop_assert_eq!(back.median_absolute_deviation(), live.median_absolute_deviation());
            // It goes on as the live one would.
            back.merge(&of(&[1, 14_000_000])).unwrap();
            back.record(MAX_NS);
            let all = of(&[&values[..], &[1, 14_000_000, MAX_NS]].concat());
            prop_assert_eq!(back.encode(), all.encode());
        }

        #[test]
        fn outliers_are_outliers_of_the_exact_values(
            mut values in prop::collection::vec(14_000_000_u64..14_200_000, 12..200),
            far in prop::collection::vec(0_u64..40_000_000, 0..5),
        ) {
            values.extend(far);
            values.sort_unstable();
            let rank = |q: f64| values[(q * values.len() as f64).ceil() as usize - 1];
            let (q1, q3) = (rank(0.25), rank(0.75));
            let (low_fence, high_fence) = (q1.saturating_sub(3 * (q3 - q1)), q3 + 3 * (q3 - q1));
            let slack = q3 / 125;
            let below = |fence: u64| values.iter().filter(|v| **v < fence).count() as u64;
            let above = |fence: u64| values.iter().filter(|v| **v > fence).count() as u64;
            let got = of(&values).outliers().unwrap();
            prop_assert!(got.low <= below(low_fence) && got.high <= above(high_fence));
            prop_assert!(got.low >= below(low_fence.saturating_sub(slack)));
            prop_assert!(got.high >= above(high_fence + slack));
        }
    }
}
