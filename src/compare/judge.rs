//! From two samples for each case of a family to what they show. Pure numbers: nothing here knows
//! what was measured.

use crate::compare::rank::{self, RankSums};

/// Chance at most that any claim of one kind in a family is wrong.
pub const ERROR_RATE: f64 = 0.05;

/// Two samples, as natural logarithms.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Of the base.
    pub base: Vec<f64>,
    /// Of the new side.
    pub new: Vec<f64>,
    /// How much of the difference something else than what is compared could explain: the
    /// logarithm of the ratio that it alone would make. What is claimed stands with and without it.
    pub explained: f64,
}

impl Samples {
    /// Whether samples of these sizes can show anything at all: three and three cannot.
    pub fn can_show(&self) -> bool {
        rank::smallest_p(self.base.len(), self.new.len()) <= ERROR_RATE
    }
}

/// What two samples show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The new values are higher.
    Higher,
    /// The new values are lower.
    Lower,
    /// They differ by less than the margin.
    Within,
    /// None of that.
    Open,
}

/// What was found out about a pair of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What they show.
    pub finding: Finding,
    /// Both p-values as they are and adjusted; absent where the samples cannot show anything.
    pub tests: Option<Tests>,
    /// The smallest difference of logarithms that they would have shown.
    pub detectable: Option<f64>,
}

/// The p-values of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tests {
    /// Of no difference.
    pub p_value: f64,
    /// The same among its family.
    pub p_adjusted: f64,
    /// Of a difference of the margin or more.
    pub p_same: f64,
    /// The same among its family.
    pub p_same_adjusted: f64,
}

/// Whether the new values lie higher, with what chance if nothing differs.
#[derive(Clone, Copy)]
struct Direction {
    is_higher: bool,
    p_value: f64,
}

/// Judges the pairs of a family together. With a chance of [`ERROR_RATE`] at most any `Higher` or
/// `Lower` is said where nothing differs, and any `Within` where the difference is `margin` (a share)
/// or more. Pairs that cannot show anything do not count for the family.
pub fn judge(family: &[Samples], margin: f64, sums: &mut RankSums) -> Vec<Judgement> {
    let mut testable = Vec::new();
    let mut directions = Vec::new();
    let mut within = Vec::new();
    for (idx, samples) in family.iter().enumerate().filter(|(_, samples)| samples.can_show()) {
        testable.push(idx);
        directions.push(direction(samples, sums));
        within.push(p_within(samples, margin.ln_1p(), sums));
    }
    let p_values: Vec<f64> = directions.iter().map(|direction| direction.p_value).collect();
    let (p_adjusted, p_same_adjusted) = (rank::holm(&p_values), rank::holm(&within));
    let untested = Judgement { finding: Finding::Open, tests: None, detectable: None };
    let mut judgements = vec![untested; family.len()];
    let level = ERROR_RATE / testable.len().max(1) as f64;
    for (i, idx) in testable.into_iter().enumerate() {
        let tests = Tests {
            p_value: p_values[i],
            p_adjusted: p_adjusted[i],
            p_same: within[i],
            p_same_adjusted: p_same_adjusted[i],
        };
        judgements[idx] = Judgement {
            finding: finding(&tests, directions[i]),
            tests: Some(tests),
            detectable: sums.detectable(&family[idx].base, &family[idx].new, level),
        };
    }
    judgements
}

/// A change that is shown to be smaller than the margin is of no interest, even if it is shown to
/// be one.
fn finding(tests: &Tests, direction: Direction) -> Finding {
    match (tests.p_same_adjusted <= ERROR_RATE, tests.p_adjusted <= ERROR_RATE) {
        (true, _) => Finding::Within,
        (false, false) => Finding::Open,
        (false, true) if direction.is_higher => Finding::Higher,
        (false, true) => Finding::Lower,
    }
}

fn direction(samples: &Samples, sums: &mut RankSums) -> Direction {
    let mut at = |shift: f64| {
        let tails = sums.tails(&samples.base, &samples.new, shift);
        Direction { is_higher: tails.upper < tails.lower, p_value: tails.two_sided() }
    };
    let seen = at(0.0);
    if samples.explained == 0.0 {
        return seen;
    }
    let rest = at(-samples.explained);
    let p_value = match seen.is_higher == rest.is_higher {
        true => seen.p_value.max(rest.p_value),
        false => 1.0,
    };
    Direction { p_value, ..seen }
}

/// Two one-sided tests (Schuirmann, 1987): that the difference is above −`margin`, and below it.
fn p_within(samples: &Samples, margin: f64, sums: &mut RankSums) -> f64 {
    let mut at = |shift: f64| {
        let above = sums.tails(&samples.base, &samples.new, shift + margin).upper;
        let below = sums.tails(&samples.base, &samples.new, shift - margin).lower;
        above.max(below)
    };
    match samples.explained == 0.0 {
        true => at(0.0),
        false => at(0.0).max(at(-samples.explained)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` values around `centre`, in a different order for each seed.
    fn around(centre: f64, n: usize, seed: usize) -> Vec<f64> {
        (0..n).map(|i| (centre * (1.0 + 0.001 * ((i * 7 + seed * 3) % 11) as f64)).ln()).collect()
    }

    fn samples(n: usize, change: f64, explained: f64) -> Samples {
        Samples { base: around(100.0, n, 0), new: around(100.0 * change, n, 1), explained }
    }

    fn findings(family: &[Samples]) -> Vec<Finding> {
        let judgements = judge(family, 0.03, &mut RankSums::default());
        judgements.iter().map(|judgement| judgement.finding).collect()
    }

    #[test]
    fn findings_of_single_pairs() {
        for (n, change, explained, expected) in [
            (8, 1.10, 0.0, Finding::Higher),
            (8, 0.90, 0.0, Finding::Lower),
            (8, 1.0, 0.0, Finding::Within),
            (8, 1.01, 0.0, Finding::Within),
            // Three and three cannot show anything, whatever they are.
            (3, 2.0, 0.0, Finding::Open),
            (3, 1.0, 0.0, Finding::Open),
            (4, 2.0, 0.0, Finding::Higher),
            (1, 9.0, 0.0, Finding::Open),
            (0, 1.0, 0.0, Finding::Open),
            // Clocks explain all of it, or half of it, or the opposite.
            (8, 1.10, 0.0953, Finding::Open),
            (8, 1.10, 0.05, Finding::Higher),
            (8, 0.90, 0.05, Finding::Lower),
            (8, 1.0, 0.05, Finding::Open),
        ] {
            assert_eq!(findings(&[samples(n, change, explained)]), [expected], "{n} {change}");
        }
    }

    #[test]
    fn a_family_asks_for_more_than_a_pair() {
        let pair = samples(5, 1.2, 0.0);
        assert_eq!(findings(std::slice::from_ref(&pair)), [Finding::Higher]);
        assert_eq!(findings(&vec![pair.clone(); 6]), [Finding::Higher; 6]);
        // 2 / 252 is more than 0.05 / 7.
        assert_eq!(findings(&vec![pair.clone(); 7]), [Finding::Open; 7]);
        // Pairs that cannot show anything do not count.
        let mut family = vec![pair; 6];
        family.extend(vec![samples(3, 1.2, 0.0); 20]);
        assert_eq!(findings(&family)[..6], [Finding::Higher; 6]);
    }

    #[test]
    fn what_is_detectable_grows_with_the_family() {
        let detectable = |n: usize| {
            let family = vec![samples(8, 1.0, 0.0); n];
            judge(&family, 0.03, &mut RankSums::default())[0].detectable
        };
        let (one, many) = (detectable(1).unwrap(), detectable(100).unwrap());
        assert!(0.001 < one && one < many && many < 0.02, "{one} {many}");
        assert_eq!(detectable(1000), None);
    }
}
