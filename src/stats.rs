//! Statistics on plain numbers. Nothing here knows where they come from.

/// Exact extremes and count, with mean and spread by Welford's method.
///
/// Welford's update keeps full precision where the textbook one-pass variance cancels
/// (B. P. Welford, Technometrics 4(3), 1962); [`Moments::merge`] is the pairwise form of
/// Chan, Golub and LeVeque (1979).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub count: u64,
    /// Exact sum; 584 years of nanoseconds fit.
    pub sum: u64,
    /// Smallest value, 0 when empty.
    pub min: u64,
    /// Largest value, 0 when empty.
    pub max: u64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    /// Takes one value in.
    pub fn record(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += value;
        let delta = value as f64 - self.mean;
        self.mean += delta / self.count as f64;
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
        self.mean += delta * m / (n + m);
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Arithmetic mean; absent when empty.
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

/// Median of a slice (mean of the two middle values when even); absent when empty.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// Smallest sample that carries a one-sided 95 % bound on quantile `q`: the least n with
/// qⁿ ≤ 0.05, since all n values fall below the quantile with probability qⁿ.
///
/// Gives 5, 29, 59, 299 and 2,995 for p50, p90, p95, p99 and p99.9.
pub fn min_count_for_quantile(q: f64) -> u64 {
    (0.05_f64.ln() / q.ln()).ceil() as u64
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

    proptest! {
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
