//! Whether times stay the same while they are taken.

use crate::stats;

/// How far two halves of a warm-up's end may differ, as a share.
const STEADY_WITHIN: f64 = 0.05;

/// A drift smaller than this share is not worth a warning, however sure.
const DRIFT_WORTH_SAYING: f64 = 0.05;

/// Chance of calling a series that does not drift a drifting one. Five rounds can show a trend
/// at 1 in 60 at best, and nothing less sure should be said.
const FALSE_ALARM: f64 = 0.017;

/// Points of a series that are looked at; longer ones are averaged down to as many, since every
/// pair of them is compared.
const MAX_POINTS: usize = 48;

/// Whether the last third of a series is like the third before it: their medians differ by less
/// than 5 %. Needs two values.
pub fn is_steady(series_ns: &[u64]) -> bool {
    let n = series_ns.len();
    let width = (n / 3).max(1);
    if n < 2 {
        return false;
    }
    let median = |values: &[u64]| {
        let values: Vec<f64> = values.iter().map(|&ns| ns as f64).collect();
        stats::median(&values).unwrap_or(0.0)
    };
    let last = median(&series_ns[n - width..]);
    let before = median(&series_ns[n - 2 * width..n - width]);
    (last - before).abs() <= STEADY_WITHIN * before
}

/// A change of speed inside a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drift {
    /// Times grow or shrink all the way.
    Trend {
        /// From the first to the last, as a share of the median; positive is slower.
        change: f64,
        /// Chance of as clear a trend without any.
        p_value: f64,
    },
    /// Times are of one size before some point, and of another after it.
    Step {
        /// Position of the first value after the step, counted from 0; in a series that was
        /// averaged down, of the first value of the first mean after it.
        index: usize,
        /// Median after by median before, less 1; positive is slower.
        change: f64,
        /// Chance of as clear a step without any.
        p_value: f64,
    },
}

/// The drift of a series of times, if it is both sure (p < 0.017) and large (5 %): a step where
/// Pettitt's test sees one more surely than Mann and Kendall's sees a trend.
pub fn drift(series_ns: &[u64]) -> Option<Drift> {
    let per_point = series_ns.len().div_ceil(MAX_POINTS).max(1);
    let mean =
        |points: &[u64]| points.iter().map(|&ns| ns as f64).sum::<f64>() / points.len() as f64;
    let values: Vec<f64> = series_ns.chunks(per_point).map(mean).collect();
    let is_large = |change: f64| change.is_finite() && change.abs() >= DRIFT_WORTH_SAYING;
    let trend = stats::mann_kendall(&values)
        .filter(|trend| trend.p_value < FALSE_ALARM && is_large(trend.change))
        .map(|trend| Drift::Trend { change: trend.change, p_value: trend.p_value });
    let step = stats::pettitt(&values)
        .filter(|step| step.p_value < FALSE_ALARM && is_large(step.change))
        .map(|step| {
            let index = step.index * per_point;
            Drift::Step { index, change: step.change, p_value: step.p_value }
        });
    match (trend, step) {
        (
            Some(Drift::Trend { p_value: of_trend, .. }),
            Some(Drift::Step { p_value: of_step, .. }),
        ) if of_trend <= of_step => trend,
        (trend, step) => step.or(trend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_when_the_end_is_like_what_came_before() {
        for (series, steady) in [
            (&[][..], false),
            (&[10], false),
            (&[10, 10], true),
            (&[100, 10], false),
            (&[100, 10, 10], true),
            (&[50, 40, 30, 20, 15, 10], false),
            (&[50, 20, 11, 10, 10, 10], true),
        ] {
            assert_eq!(is_steady(series), steady, "{series:?}");
        }
    }

    #[test]
    fn drifts_are_told_apart_from_noise() {
        // A fixed jitter below 1 %, without order.
        let jitter = |i: u64| (i * 7919 % 13) * 5;
        let flat: Vec<u64> = (0..40).map(|i| 10_000 + jitter(i)).collect();
        assert_eq!(drift(&flat), None);
        let growing: Vec<u64> = (0..40).map(|i| 10_000 + 100 * i + jitter(i)).collect();
        assert!(matches!(drift(&growing), Some(Drift::Trend { change, .. }) if change > 0.2));
        let stepping: Vec<u64> =
            (0..40).map(|i| if i < 25 { 10_000 } else { 12_000 } + jitter(i)).collect();
        let Some(Drift::Step { index, change, .. }) = drift(&stepping) else {
            panic!("{:?}", drift(&stepping));
        };
        assert_eq!(index, 25);
        assert!((0.15..0.25).contains(&change), "{change}");
        // Of a long series, means are looked at; the position is that in the series.
        let long: Vec<u64> =
            (0..1_000).map(|i| if i < 700 { 10_000 } else { 12_000 } + jitter(i)).collect();
        let Some(Drift::Step { index, .. }) = drift(&long) else { panic!("{:?}", drift(&long)) };
        assert!(index.abs_diff(700) <= 1_000_usize.div_ceil(MAX_POINTS), "{index}");
        // Sure, but too small to matter.
        let creeping: Vec<u64> = (0..40).map(|i| 10_000 + i).collect();
        assert_eq!(drift(&creeping), None);
        assert_eq!(drift(&[]), None);
    }
}
