//! Two samples held against each other by the order of their values alone: no distribution is
//! assumed, only that values are exchangeable where nothing differs.
//!
//! The test is Wilcoxon's rank sum (1945), exact by counting; estimate and interval are those of
//! Hodges and Lehmann (1963), who invert the same test, so that the interval leaves zero out exactly
//! where the test says that there is a difference.

use std::collections::HashMap;

use crate::stats;

/// Exact counting up to this many steps, about 20 values on each side; beyond it the normal
/// approximation is close to the truth.
const MAX_STEPS: usize = 700_000;

/// Differences that are written out and sorted.
const MAX_WRITTEN_OUT: usize = 1 << 12;

/// Distributions that are kept.
const MAX_KEPT: usize = 1_000;

/// Orders of `n` values, of which `k` are of one sample, as likely as each other: how many there
/// are. Exact up to 2⁵³.
pub fn n_orders(k: usize, n: usize) -> f64 {
    let k = k.min(n - k.min(n));
    (1..=k).fold(1.0, |product, i| product * (n - k + i) as f64 / i as f64)
}

/// The smallest two-sided p that samples of these sizes can have: 0.1 for three and three.
pub fn smallest_p(n_base: usize, n_new: usize) -> f64 {
    match n_base.min(n_new) {
        0 => 1.0,
        _ => (2.0 / n_orders(n_base, n_base + n_new)).min(1.0),
    }
}

/// Values that each side must have so that a p of `level` is possible.
pub fn size_wanted(level: f64) -> usize {
    (1..).find(|n| smallest_p(*n, *n) <= level).unwrap_or(usize::MAX)
}

/// The chances of a rank sum below and above what was seen, both with what was seen itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// As low a sum of the new sample's ranks, or lower.
    pub lower: f64,
    /// As high a sum, or higher.
    pub upper: f64,
}

impl Tails {
    /// Chance of as clear a difference in either direction.
    pub fn two_sided(self) -> f64 {
        (2.0 * self.lower.min(self.upper)).min(1.0)
    }
}

/// Distributions of rank sums, each counted once.
#[derive(Debug, Default)]
pub struct RankSums {
    /// By size of the sample that is summed, and twice the mid-rank of every value.
    counted: HashMap<(usize, Vec<u32>), Vec<f64>>,
}

impl RankSums {
    /// The rank sum of `new` among all values, with `new` moved by `shift` before.
    pub fn tails(&mut self, base: &[f64], new: &[f64], shift: f64) -> Tails {
        let ranks = Ranks::of(base, new, shift);
        if !is_countable(base.len(), new.len()) {
            return normal_tails(base.len(), new.len(), &ranks);
        }
        // Both rank sums say the same, and that of the smaller sample is counted sooner.
        match base.len() < new.len() {
            true => {
                let base_sum =
                    ranks.doubled.iter().map(|rank| *rank as usize).sum::<usize>() - ranks.new_sum;
                let Tails { lower, upper } =
                    self.counted_tails(base.len(), ranks.doubled, base_sum);
                Tails { lower: upper, upper: lower }
            }
            false => self.counted_tails(new.len(), ranks.doubled, ranks.new_sum),
        }
    }

    /// Of all choices of `k` of these ranks: how many have that sum or less, and that sum or more.
    fn counted_tails(&mut self, k: usize, doubled: Vec<u32>, sum: usize) -> Tails {
        let sums = self.sums(k, doubled);
        let all = sums[sums.len() - 1];
        let below = if sum == 0 { 0.0 } else { sums[sum - 1] };
        Tails { lower: sums[sum] / all, upper: (all - below) / all }
    }

    /// How many of all orders have that doubled rank sum or a lower one.
    fn sums(&mut self, k: usize, doubled: Vec<u32>) -> &[f64] {
        // Patterns of ties may differ from case to case, and each takes some kilobytes.
        if self.counted.len() >= MAX_KEPT {
            self.counted.clear();
        }
        self.counted.entry((k, doubled)).or_insert_with_key(|(k, doubled)| {
            // No choice has a larger sum than that of the last ones.
            let n_sums =
                doubled.iter().rev().take(*k).map(|rank| *rank as usize).sum::<usize>() + 1;
            // Of the values so far, in how many ways some of them have a sum: one row for each
            // number of them.
            let mut ways = vec![vec![0.0_f64; n_sums]; k + 1];
            ways[0][0] = 1.0;
            for (done, rank) in doubled.iter().enumerate() {
                let rank = *rank as usize;
                for taken in (1..=(*k).min(done + 1)).rev() {
                    let (fewer, these) = ways.split_at_mut(taken);
                    let (fewer, these) = (&fewer[taken - 1], &mut these[0]);
                    let these = these.iter_mut().skip(rank);
                    these.zip(fewer).for_each(|(these, fewer)| *these += fewer);
                }
            }
            let mut sums = ways.swap_remove(*k);
            (1..n_sums).for_each(|sum| sums[sum] += sums[sum - 1]);
            sums
        })
    }

    /// The largest k for which the k-th smallest and k-th largest of all differences leave the
    /// true one out with a chance of `level` at most, and the chance that they hold it. Absent
    /// where samples are too small for that.
    fn interval_rank(&mut self, n_base: usize, n_new: usize, level: f64) -> Option<(usize, f64)> {
        // U, the number of differences below zero, is at most k − 1 with this chance.
        let mut outside = |k: usize| 2.0 * self.u_at_most(n_base, n_new, k - 1);
        if outside(1) > level {
            return None;
        }
        // It grows with k, and reaches 1 in the middle.
        let (mut inside, mut beyond) = (1, n_base * n_new / 2 + 1);
        while beyond - inside > 1 {
            let middle = inside + (beyond - inside) / 2;
            match outside(middle) <= level {
                true => inside = middle,
                false => beyond = middle,
            }
        }
        Some((inside, 1.0 - outside(inside)))
    }

    /// P(U ≤ u) without ties.
    fn u_at_most(&mut self, n_base: usize, n_new: usize, u: usize) -> f64 {
        let n = n_base + n_new;
        if !is_countable(n_base, n_new) {
            return normal_u_at_most(n_base, n_new, u as f64, 0.0);
        }
        // Without ties U is distributed alike for both samples, so the smaller one is counted.
        let k = n_base.min(n_new);
        let sums = self.sums(k, (1..=n as u32).map(|rank| 2 * rank).collect());
        // The doubled rank sum is 2U more than the least one.
        let sum = 2 * u + k * (k + 1);
        sums[sum.min(sums.len() - 1)] / sums[sums.len() - 1]
    }

    /// By how much `new` lies above `base`, with the narrowest interval that leaves the truth out
    /// with a chance of `level` at most, or else the widest there is. Absent without values.
    pub fn shift(&mut self, base: &[f64], new: &[f64], level: f64) -> Option<Shift> {
        let differences = Differences::of(base, new)?;
        let (n_base, n_new) = (base.len(), new.len());
        let n = n_base * n_new;
        let (k, coverage) = self
            .interval_rank(n_base, n_new, level)
            .unwrap_or_else(|| (1, 1.0 - smallest_p(n_base, n_new)));
        Some(Shift {
            estimate: (differences.nth(n.div_ceil(2)) + differences.nth(n / 2 + 1)) / 2.0,
            lower: differences.nth(k),
            upper: differences.nth(n + 1 - k),
            coverage,
        })
    }

    /// The smallest difference that the test would have found at `level`, had every value of
    /// `new` lain as far from `base`: what is between the estimate and the farther end of the
    /// interval. Absent where samples are too small.
    pub fn detectable(&mut self, base: &[f64], new: &[f64], level: f64) -> Option<f64> {
        self.interval_rank(base.len(), new.len(), level)?;
        let Shift { estimate, lower, upper, .. } = self.shift(base, new, level)?;
        Some((upper - estimate).max(estimate - lower))
    }
}

/// By how much one sample lies above another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The median of all differences.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Chance that such an interval holds the truth.
    pub coverage: f64,
}

/// p-values of a family such that a claim is made for each that is `level` at most, and with a
/// chance of `level` at most any of those is wrong (Holm, 1979). In the order of `p_values`.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (done, idx) in order.into_iter().enumerate() {
        highest = highest.max((p_values.len() - done) as f64 * p_values[idx]).min(1.0);
        adjusted[idx] = highest;
    }
    adjusted
}

/// Mid-ranks of two samples among all their values, doubled so that they are whole.
struct Ranks {
    /// Of all values, ascending.
    doubled: Vec<u32>,
    /// Sum of those of the new sample.
    new_sum: usize,
}

impl Ranks {
    fn of(base: &[f64], new: &[f64], shift: f64) -> Self {
        let mut all: Vec<(f64, bool)> = base.iter().map(|value| (*value, false)).collect();
        all.extend(new.iter().map(|value| (value + shift, true)));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut doubled = Vec::with_capacity(all.len());
        let mut new_sum = 0;
        for ties in all.chunk_by(|a, b| a.0 == b.0) {
            let rank = 2 * doubled.len() + ties.len() + 1;
            new_sum += rank * ties.iter().filter(|(_, is_new)| *is_new).count();
            doubled.extend(ties.iter().map(|_| rank as u32));
        }
        Self { doubled, new_sum }
    }
}

/// Whether all orders are counted: `n` ranks into `k` rows of at most `2 n k` sums. Of the two
/// samples the smaller one is summed, so it does not matter which is called the base.
fn is_countable(n_base: usize, n_new: usize) -> bool {
    let (n, k) = (n_base + n_new, n_base.min(n_new));
    n.saturating_mul(n).saturating_mul(k).saturating_mul(k) <= MAX_STEPS
}

/// Both tails by the normal approximation, with correction for ties and for continuity.
fn normal_tails(n_base: usize, n_new: usize, ranks: &Ranks) -> Tails {
    let least = n_new * (n_new + 1);
    let u = (ranks.new_sum - least) as f64 / 2.0;
    let cubes = |ties: &[u32]| (ties.len() as f64).powi(3) - ties.len() as f64;
    let ties = ranks.doubled.chunk_by(|a, b| a == b).map(cubes).sum();
    let all = (n_base * n_new) as f64;
    Tails {
        lower: normal_u_at_most(n_base, n_new, u, ties),
        upper: normal_u_at_most(n_base, n_new, all - u, ties),
    }
}

/// P(U ≤ u) by the normal approximation; `ties` is the sum of t³ − t over groups of equal values.
fn normal_u_at_most(n_base: usize, n_new: usize, u: f64, ties: f64) -> f64 {
    let (m, n) = (n_base as f64, n_new as f64);
    let all = m + n;
    let variance = m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    let distance = u + 0.5 - m * n / 2.0;
    match variance > 0.0 {
        true => stats::normal_at_most(distance / variance.sqrt()),
        false => 1.0,
    }
}

/// All differences between two samples, written out only where they are few.
struct Differences {
    base: Vec<f64>,
    new: Vec<f64>,
    /// All of them, ascending.
    few: Option<Vec<f64>>,
}

impl Differences {
    fn of(base: &[f64], new: &[f64]) -> Option<Self> {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let (base, new) = (sorted(base), sorted(new));
        let all = || new.iter().flat_map(|new| base.iter().map(move |base| new - base));
        let few = (base.len() * new.len() <= MAX_WRITTEN_OUT).then(|| {
            let mut few: Vec<f64> = all().collect();
            few.sort_by(f64::total_cmp);
            few
        });
        (!base.is_empty() && !new.is_empty()).then_some(Self { base, new, few })
    }

    /// The n-th smallest, counted from 1.
    fn nth(&self, n: usize) -> f64 {
        self.few.as_ref().map_or_else(|| self.nth_of_many(n), |few| few[n - 1])
    }

    /// The same, found by halving the range of all numbers, since how many differences are at most
    /// some number is counted in one walk.
    fn nth_of_many(&self, n: usize) -> f64 {
        let (first, last) = (&self.base, &self.new);
        let mut low = key(last[0] - first[first.len() - 1]);
        let mut high = key(last[last.len() - 1] - first[0]);
        while low < high {
            let middle = low + ((high as i128 - low as i128) / 2) as i64;
            match self.n_at_most(number(middle)) >= n {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        number(low)
    }

    fn n_at_most(&self, bound: f64) -> usize {
        let (mut n_base, mut count) = (0, 0);
        // The smaller a new value is, the more base values are large enough.
        for new in self.new.iter().rev() {
            let larger = self.base.iter().rev().skip(n_base);
            n_base += larger.take_while(|base| new - **base <= bound).count();
            count += n_base;
        }
        count
    }
}

/// Numbers as integers of the same order.
fn key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn number(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tails(base: &[f64], new: &[f64]) -> Tails {
        RankSums::default().tails(base, new, 0.0)
    }

    #[test]
    fn smallest_p_values_are_those_of_the_books() {
        for (n, p) in [(3, 0.1), (4, 2.0 / 70.0), (5, 2.0 / 252.0), (8, 2.0 / 12870.0)] {
            assert!((smallest_p(n, n) - p).abs() < 1e-15, "{n}");
            let low: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let high: Vec<f64> = low.iter().map(|v| v + 100.0).collect();
            assert!((tails(&low, &high).two_sided() - p).abs() < 1e-15, "{n}");
        }
        assert_eq!((smallest_p(1, 39), smallest_p(0, 5)), (0.05, 1.0));
        for (level, n) in [(0.05, 4), (0.025, 5), (0.05 / 7.0, 6), (0.0025, 6), (5e-6, 11)] {
            assert_eq!(size_wanted(level), n, "{level}");
        }
    }

    #[test]
    fn the_critical_values_are_those_of_the_tables() {
        // Two-sided 5 % points of U (Mann and Whitney, 1947).
        for (m, n, u) in [(4, 4, 0), (5, 5, 2), (6, 6, 5), (8, 8, 13), (5, 8, 6), (10, 10, 23)] {
            let (k, coverage) = RankSums::default().interval_rank(m, n, 0.05).unwrap();
            assert_eq!(k - 1, u, "{m} {n}");
            assert!(coverage >= 0.95);
        }
        assert_eq!(RankSums::default().interval_rank(3, 3, 0.05), None);
    }

    #[test]
    fn an_interval_by_hand() {
        // Differences: 9, 10, 11, 18, 19, 20, 27, 28, 29.
        let shift = RankSums::default().shift(&[1.0, 2.0, 3.0], &[12.0, 21.0, 30.0], 0.05);
        let shift = shift.unwrap();
        assert_eq!((shift.lower, shift.estimate, shift.upper), (9.0, 19.0, 29.0));
        assert!((shift.coverage - 0.9).abs() < 1e-12);
        assert_eq!(RankSums::default().shift(&[], &[1.0], 0.05), None);
    }

    #[test]
    fn equal_values_show_nothing() {
        let same = [7.0; 6];
        assert_eq!(tails(&same, &same), Tails { lower: 1.0, upper: 1.0 });
        let many = vec![7.0; 400];
        assert_eq!(tails(&many, &many).two_sided(), 1.0);
    }

    #[test]
    fn approximation_and_count_agree_where_they_meet() {
        let value = |i: usize| (i * 37 % 101) as f64;
        let base: Vec<f64> = (0..20).map(value).collect();
        let mut sums = RankSums::default();
        for shift in [0.0, 10.0, 18.0, 25.0, -20.0] {
            let new: Vec<f64> = (20..40).map(|i| value(i) + shift).collect();
            let counted = sums.tails(&base, &new, 0.0);
            let approximate = normal_tails(20, 20, &Ranks::of(&base, &new, 0.0));
            for (counted, approximate) in
                [(counted.lower, approximate.lower), (counted.upper, approximate.upper)]
            {
                let error = (counted - approximate).abs();
                assert!(error < 2e-3, "{shift}: {counted} {approximate}");
            }
        }
    }

    #[test]
    fn which_side_is_called_the_base_does_not_matter() {
        let value = |i: usize| (i * 37 % 101) as f64;
        for (m, n) in [(3, 200), (5, 60), (8, 9), (20, 20), (20, 200)] {
            assert_eq!(is_countable(m, n), is_countable(n, m), "{m} {n}");
            assert_eq!(is_countable(m, n), (m, n) != (20, 200), "{m} {n}");
            let base: Vec<f64> = (0..m).map(value).collect();
            let new: Vec<f64> = (m..m + n).map(|i| value(i) + 15.0).collect();
            let there = tails(&base, &new);
            let back = tails(&new, &base);
            assert!((there.lower - back.upper).abs() < 1e-12, "{there:?} {back:?}");
            assert!((there.upper - back.lower).abs() < 1e-12, "{there:?} {back:?}");
            let mut sums = RankSums::default();
            let there = sums.shift(&base, &new, 0.05).unwrap();
            let back = sums.shift(&new, &base, 0.05).unwrap();
            assert_eq!((there.lower, there.upper), (-back.upper, -back.lower), "{m} {n}");
            assert_eq!(there.coverage, back.coverage, "{m} {n}");
        }
    }

    #[test]
    fn holm_by_hand() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.5]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn p_values_are_those_of_all_orders(
            base in prop::collection::vec(0_i32..6, 1..6),
            new in prop::collection::vec(0_i32..6, 1..6),
        ) {
            let all: Vec<f64> = base.iter().chain(&new).map(|v| f64::from(*v)).collect();
            let found = tails(&all[..base.len()], &all[base.len()..]);
            // Every choice of as many values for the new sample.
            let rank = |v: f64| {
                let below = all.iter().filter(|other| **other < v).count();
                let equal = all.iter().filter(|other| **other == v).count();
                2 * below + equal + 1
            };
            let ranks: Vec<usize> = all.iter().map(|v| rank(*v)).collect();
            let seen: usize = ranks[base.len()..].iter().sum();
            let (mut lower, mut upper, mut n) = (0, 0, 0);
            for choice in 0_u32..1 << all.len() {
                if choice.count_ones() as usize == new.len() {
                    let chosen = ranks.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1);
                    let sum: usize = chosen.map(|(_, rank)| rank).sum();
                    lower += u32::from(sum <= seen);
                    upper += u32::from(sum >= seen);
                    n += 1;
                }
            }
            prop_assert!((found.lower - f64::from(lower) / f64::from(n)).abs() < 1e-12);
            prop_assert!((found.upper - f64::from(upper) / f64::from(n)).abs() < 1e-12);
        }

        #[test]
        fn differences_are_found_by_rank(
            base in prop::collection::vec(-1e3_f64..1e3, 1..9),
            new in prop::collection::vec(-1e3_f64..1e3, 1..9),
        ) {
            let mut all: Vec<f64> =
                new.iter().flat_map(|n| base.iter().map(move |b| n - b)).collect();
            all.sort_by(f64::total_cmp);
            let differences = Differences::of(&base, &new).unwrap();
            for (i, expected) in all.iter().enumerate() {
                prop_assert_eq!(differences.nth(i + 1), *expected);
                prop_assert_eq!(differences.nth_of_many(i + 1), *expected);
            }
        }

        #[test]
        fn interval_and_test_say_the_same(
            base in prop::collection::vec(0_f64..10.0, 4..9),
            new in prop::collection::vec(0_f64..10.0, 4..9),
            shift in 0_f64..8.0,
        ) {
            let new: Vec<f64> = new.iter().map(|v| v + shift).collect();
            let mut sums = RankSums::default();
            let interval = sums.shift(&base, &new, 0.05).unwrap();
            let p = sums.tails(&base, &new, 0.0).two_sided();
            let leaves_zero_out = interval.lower > 0.0 || interval.upper < 0.0;
            prop_assert_eq!(leaves_zero_out, p <= 0.05, "{:?} {}", interval, p);
        }

        #[test]
        fn adjusted_p_values_are_in_order_and_no_smaller(
            p_values in prop::collection::vec(0_f64..1.0, 1..30),
        ) {
            let adjusted = holm(&p_values);
            for (i, p) in p_values.iter().enumerate() {
                prop_assert!(adjusted[i] >= *p && adjusted[i] <= 1.0);
                for (j, other) in p_values.iter().enumerate() {
                    prop_assert!(p > other || adjusted[i] <= adjusted[j]);
                }
            }
        }
    }
}
