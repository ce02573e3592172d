//! Statistics on plain numbers. Nothing here knows where they come from.

/// Exact count, sum and extremes, with the spread by Welford's method.
///
/// Welford's update keeps full precision where the textbook one-pass variance cancels
/// (B. P. Welford, Technometrics 4(3), 1962); [`Moments::merge`] is the pairwise form of
/// Chan, Golub and LeVeque (1979).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub count: u64,
    /// Exact sum, up to `u64::MAX`, where it stays: 584 years of nanoseconds.
    pub sum: u64,
    /// Smallest value, 0 when empty.
    pub min: u64,
    /// Largest value, 0 when empty.
    pub max: u64,
    /// The sum by the count: kept because every value's distance from it is needed twice.
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    /// From the exact figures of a file. What of them contradicts itself is for the reader of
    /// the file to refuse; here only a spread below zero is taken as none.
    pub fn from_parts(count: u64, sum: u64, min: u64, max: u64, sum_of_squares: f64) -> Self {
        let mean = if count > 0 { sum as f64 / count as f64 } else { 0.0 };
        Self { count, sum, min, max, mean, squares: sum_of_squares.max(0.0) }
    }

    /// Takes one value in.
    pub fn record(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        let delta = value as f64 - self.mean;
        self.mean = self.sum as f64 / self.count as f64;
        self.squares += delta * (value as f64 - self.mean);
    }

    /// Takes all of `other` in, as if each of its values had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.squares += other.squares + delta * delta * n * m / (n + m);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.mean = self.sum as f64 / self.count as f64;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Arithmetic mean: the exact sum by the count; absent when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Sum of squared distances from the mean.
    pub fn sum_of_squares(&self) -> f64 {
        self.squares
    }

    /// Sample standard deviation (n − 1); absent below two values.
    pub fn stddev(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

/// Mean of a slice; absent when empty.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (n − 1), in two passes; absent below two values.
pub fn stddev(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    (values.len() > 1).then(|| {
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (squares / (values.len() - 1) as f64).sqrt()
    })
}

/// The greatest value; absent without any.
pub fn max(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// Median of a slice (mean of the two middle values when even); absent when empty.
pub fn median(values: &[f64]) -> Option<f64> {
    median_of(&mut values.to_vec())
}

/// The same, putting the values into another order; no more of them are sorted than must be.
fn median_of(values: &mut [f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| n.is_multiple_of(2));
    Some(lower.map_or(upper, |lower| (lower + upper) / 2.0))
}

/// Smallest sample that carries a one-sided 95 % bound on quantile `q`: the least n with
/// qⁿ ≤ 0.05, since all n values fall below the quantile with probability qⁿ.
///
/// Gives 5, 29, 59, 299 and 2,995 for p50, p90, p95, p99 and p99.9.
pub fn min_count_for_quantile(q: f64) -> u64 {
    (0.05_f64.ln() / q.ln()).ceil() as u64
}

/// An interval between two order statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankInterval {
    /// Rank of the lower end among the sorted values, counted from 1.
    pub lower_rank: usize,
    /// Rank of the upper end.
    pub upper_rank: usize,
    /// Chance that the interval holds the median.
    pub coverage: f64,
}

/// The narrowest symmetric pair of order statistics that holds the median with a chance of
/// `target` at least, or else the extremes with the chance they have. Absent below two values.
///
/// The k-th smallest of n and its mirror image hold the median with 1 − 2·P(Bin(n, ½) < k),
/// whatever the distribution (W. R. Thompson, 1936): 93.75 % for the extremes of five.
pub fn median_interval(n: usize, target: f64) -> Option<RankInterval> {
    if n < 2 {
        return None;
    }
    let mut chosen = None;
    // The logarithm of P(Bin(n, ½) = k − 1), which itself would vanish, and their sum up to k − 1.
    let mut log_term = n as f64 * 0.5_f64.ln();
    let mut below = log_term.exp();
    for k in 1..=n / 2 {
        let coverage = 1.0 - 2.0 * below;
        if chosen.is_some() && coverage < target {
            break;
        }
        chosen = Some(RankInterval { lower_rank: k, upper_rank: n + 1 - k, coverage });
        log_term += ((n + 1 - k) as f64 / k as f64).ln();
        below += log_term.exp();
    }
    chosen
}

/// Chance that the smallest of `n` values lies below the median: 1 − 2⁻ⁿ. Absent for none.
pub fn lower_bound_confidence(n: usize) -> Option<f64> {
    (n > 0).then(|| 1.0 - 0.5_f64.powi(n.min(1000) as i32))
}

/// A monotone trend in a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Chance of as clear a trend, in either direction, in a series without any.
    pub p_value: f64,
    /// Change from the first value to the last as a share of the median: Theil's and Sen's median
    /// slope, over the whole series.
    pub change: f64,
}

/// The test of Mann (1945) and Kendall (1975): how many pairs grow and how many shrink. Exact up
/// to ten values without ties, by the normal approximation with Kendall's correction for ties
/// beyond. Absent below three values.
pub fn mann_kendall(values: &[f64]) -> Option<Trend> {
    let n = values.len();
    if n < 3 {
        return None;
    }
    let pairs = || (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let score: i64 = pairs().map(|(i, j)| values[j].total_cmp(&values[i]) as i64).sum();
    let mut slopes: Vec<f64> =
        pairs().map(|(i, j)| (values[j] - values[i]) / (j - i) as f64).collect();
    let ties = tie_sizes(values);
    let p_value = match (n, ties.is_empty()) {
        (..=10, true) => exact_kendall_p(n, score),
        _ => {
            let variance = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64 / 18.0;
            let spread = variance(n) - ties.into_iter().map(variance).sum::<f64>();
            match score {
                0 => 1.0,
                _ => normal_two_sided((score.abs() - 1) as f64 / spread.sqrt()),
            }
        }
    };
    let change = median_of(&mut slopes)? * (n - 1) as f64 / median(values)?;
    Some(Trend { p_value, change })
}

/// How many values each group of equal ones has.
fn tie_sizes(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).filter(|len| *len > 1).collect()
}

/// Two-sided chance of a score of `score` or beyond over all orders of `n` different values. Of
/// them, as many have i inversions as there are ways to insert one value after another.
fn exact_kendall_p(n: usize, score: i64) -> f64 {
    let mut orders = vec![1.0_f64];
    for len in 2..=n {
        let mut next = vec![0.0; orders.len() + len - 1];
        for (inversions, count) in orders.iter().enumerate() {
            (0..len).for_each(|more| next[inversions + more] += count);
        }
        orders = next;
    }
    let n_pairs = (n * (n - 1) / 2) as i64;
    let all: f64 = orders.iter().sum();
    let beyond = (0_i64..).zip(&orders).filter(|(i, _)| (n_pairs - 2 * i).abs() >= score.abs());
    beyond.map(|(_, count)| count).sum::<f64>() / all
}

/// Chance that a normal value is at most `z`.
pub fn normal_at_most(z: f64) -> f64 {
    let beyond = normal_two_sided(z) / 2.0;
    if z < 0.0 { beyond } else { 1.0 - beyond }
}

/// Chance that a normal value is farther than `z` from its mean, on either side: the complementary
/// error function by Chebyshev fitting, right within 1.2·10⁻⁷ (Numerical Recipes, 6.2).
fn normal_two_sided(z: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.26551223,
        1.00002368,
        0.37409196,
        0.09678418,
        -0.18628806,
        0.27886807,
        -1.13520398,
        1.48851587,
        -0.82215223,
        0.17087277,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let fitted = FIT.iter().rev().fold(0.0, |sum, c| sum * t + c);
    (t * (-x * x + fitted).exp()).min(1.0)
}

/// A step in a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Position of the first value after the step, counted from 0.
    pub index: usize,
    /// Chance of as clear a step in a series without any.
    pub p_value: f64,
    /// Median after by median before, less 1.
    pub change: f64,
}

/// Pettitt's test for a change of level (1979), with his approximation p ≈ 2·exp(−6K²/(n³ + n²)).
/// Absent below twelve values, where it cannot be sure of anything.
pub fn pettitt(values: &[f64]) -> Option<Step> {
    let n = values.len();
    if n < 12 {
        return None;
    }
    // What the statistic gains when a value moves from the right side to the left.
    let gain =
        |i: usize| -> i64 { values.iter().map(|other| values[i].total_cmp(other) as i64).sum() };
    let mut statistic = 0;
    let (mut largest, mut index) = (0, 1);
    for i in 0..n - 1 {
        statistic += gain(i);
        if statistic.abs() > largest {
            (largest, index) = (statistic.abs(), i + 1);
        }
    }
    let (k, n) = (largest as f64, n as f64);
    let p_value = (2.0 * (-6.0 * k * k / (n * n * n + n * n)).exp()).min(1.0);
    let change = median(&values[index..])? / median(&values[..index])? - 1.0;
    Some(Step { index, p_value, change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_need_these_many_values() {
        for (q, n) in [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)] {
            assert_eq!(min_count_for_quantile(q), n, "q = {q}");
        }
    }

    #[test]
    fn small_slices() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(mean(&[]), None);
        assert_eq!(stddev(&[1.0]), None);
        assert_eq!(stddev(&[1.0, 3.0]), Some(2.0_f64.sqrt()));
        let empty = Moments::default();
        assert_eq!((empty.mean(), empty.stddev()), (None, None));
    }

    #[test]
    fn large_offset_keeps_its_spread() {
        // A one-pass Σx² − n·mean² loses everything here: 10¹⁵ squared needs 100 bits.
        let mut moments = Moments::default();
        for value in [0, 2, 4, 6, 8] {
            moments.record(1_000_000_000_000_000 + value);
        }
        let stddev = moments.stddev().unwrap();
        assert!((stddev - 10.0_f64.sqrt()).abs() < 1e-6, "{stddev}");
    }

    #[test]
    fn intervals_of_the_median() {
        for (n, target, lower, upper, coverage) in [
            (2, 0.9, 1, 2, 0.5),
            (3, 0.9, 1, 3, 0.75),
            (5, 0.9, 1, 5, 0.9375),
            (6, 0.9, 1, 6, 0.96875),
            (8, 0.9, 2, 7, 1.0 - 2.0 * 9.0 / 256.0),
            (10, 0.95, 2, 9, 1.0 - 2.0 * 11.0 / 1024.0),
        ] {
            let got = median_interval(n, target).unwrap();
            assert_eq!((got.lower_rank, got.upper_rank), (lower, upper), "{n}");
            assert!((got.coverage - coverage).abs() < 1e-9, "{n}");
        }
        assert_eq!(median_interval(1, 0.9), None);
        let many = median_interval(10_000, 0.95).unwrap();
        assert!((4_890..4_910).contains(&many.lower_rank) && many.coverage >= 0.95, "{many:?}");
        assert_eq!(lower_bound_confidence(5), Some(0.96875));
        assert_eq!(lower_bound_confidence(0), None);
    }

    #[test]
    fn trends_by_hand() {
        // Of 120 orders of five values, two are monotone.
        let up = mann_kendall(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((up.p_value - 2.0 / 120.0).abs() < 1e-12);
        assert_eq!(up.change, 4.0 / 3.0);
        // One swap: score 8 of 10; beyond it lie 2 + 2·4 orders.
        let nearly = mann_kendall(&[1.0, 2.0, 3.0, 5.0, 4.0]).unwrap();
        assert!((nearly.p_value - 10.0 / 120.0).abs() < 1e-12);
        assert_eq!(mann_kendall(&[1.0; 8]).unwrap(), Trend { p_value: 1.0, change: 0.0 });
        assert_eq!(mann_kendall(&[1.0, 2.0]), None);
        // A normal value is beyond 1.96 with a chance of 5 %.
        assert!((normal_two_sided(1.959964) - 0.05).abs() < 1e-6);
        assert!((normal_two_sided(0.0) - 1.0).abs() < 1e-6);
        assert!((normal_at_most(-1.644854) - 0.05).abs() < 1e-6);
        assert!((normal_at_most(1.644854) - 0.95).abs() < 1e-6);
    }

    #[test]
    fn steps_by_hand() {
        let step: Vec<f64> = (0..12).map(|i| if i < 6 { 10.0 } else { 12.0 }).collect();
        let got = pettitt(&step).unwrap();
        assert_eq!(got.index, 6);
        assert!((got.change - 0.2).abs() < 1e-12);
        // K = 36 and n = 12.
        let p = 2.0 * (-6.0 * 1296.0 / (1728.0 + 144.0_f64)).exp();
        assert!((got.p_value - p).abs() < 1e-12);
        assert_eq!(pettitt(&step[..11]), None);
    }

    #[test]
    fn series_without_order_are_rarely_flagged() {
        let mut state = 1_u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64
        };
        let (mut trends, mut steps) = (0, 0);
        for n in [5, 8, 16, 40, 80] {
            for _ in 0..200 {
                let series: Vec<f64> = (0..n).map(|_| draw()).collect();
                trends += u32::from(mann_kendall(&series).unwrap().p_value < 0.017);
                steps += u32::from(pettitt(&series).is_some_and(|step| step.p_value < 0.017));
            }
        }
        // 17 of 1,000 are expected at most.
        assert!(trends < 34 && steps < 34, "{trends} {steps}");
    }

    proptest! {
        #[test]
        fn tests_of_order_know_nothing_but_order(
            values in prop::collection::vec(1_u32..50, 3..40),
        ) {
            let series: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            let cubed: Vec<f64> = series.iter().map(|v| v * v * v).collect();
            let reversed: Vec<f64> = series.iter().rev().copied().collect();
            let p = |series: &[f64]| mann_kendall(series).unwrap().p_value;
            prop_assert!((0.0..=1.0).contains(&p(&series)));
            prop_assert_eq!(p(&series), p(&cubed));
            prop_assert_eq!(p(&series), p(&reversed));
            let step = |series: &[f64]| pettitt(series).map(|step| step.p_value);
            prop_assert_eq!(step(&series), step(&cubed));
            prop_assert_eq!(step(&series), step(&reversed));
        }

        #[test]
        fn moments_agree_with_two_passes_and_merge_anywhere(
            values in prop::collection::vec(0_u64..1 << 40, 2..200),
            cut in 0_usize..200,
        ) {
            let mut whole = Moments::default();
            values.iter().for_each(|&v| whole.record(v));
            let (left, right) = values.split_at(cut.min(values.len()));
            let (mut a, mut b) = (Moments::default(), Moments::default());
            left.iter().for_each(|&v| a.record(v));
            right.iter().for_each(|&v| b.record(v));
            a.merge(&b);

            let floats: Vec<f64> = values.iter().map(|&v| v as f64).collect();
            let want = (mean(&floats).unwrap(), stddev(&floats).unwrap());
            for got in [whole, a] {
                prop_assert_eq!(got.count, values.len() as u64);
                prop_assert_eq!(got.sum, values.iter().sum::<u64>());
                prop_assert_eq!(Some(got.min), values.iter().copied().min());
                prop_assert_eq!(Some(got.max), values.iter().copied().max());
                prop_assert!((got.mean().unwrap() - want.0).abs() <= 1e-9 * (1.0 + want.0));
                prop_assert!((got.stddev().unwrap() - want.1).abs() <= 1e-6 * (1.0 + want.1));
            }
        }
    }
}
