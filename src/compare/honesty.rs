//! How often comparisons are wrong, found out by making up rounds whose truth is known. Everything is
//! drawn from a seed, so that the same figures come out everywhere; `docs/comparison.md` has them.

use crate::compare::DEFAULT_MARGIN;
use crate::compare::judge::{self, ERROR_RATE, Finding, Samples};
use crate::compare::rank::RankSums;

/// How the rounds of both sides come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// Normal around the true value.
    Normal,
    /// Log-normal.
    LogNormal,
    /// A floor and log-normal delays above it: most rounds are close to the fastest, and some lie
    /// far off.
    Delays,
    /// Normal, while the machine gets slower by 5 % from the first round to the last, in the runs
    /// of both sides alike.
    Drifting,
    /// Normal, while the machine gets slower by 5 % over runs that take turns: A B B A …
    DriftingInTurns,
}

impl Noise {
    /// All of them.
    pub const ALL: [Noise; 5] =
        [Noise::Normal, Noise::LogNormal, Noise::Delays, Noise::Drifting, Noise::DriftingInTurns];

    /// The name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Noise::Normal => "normal",
            Noise::LogNormal => "log-normal",
            Noise::Delays => "delays",
            Noise::Drifting => "drifting",
            Noise::DriftingInTurns => "drifting, in turns",
        }
    }
}

/// What is made up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// How rounds come about.
    pub noise: Noise,
    /// Standard deviation of rounds as a share of their mean; of delays, their median as a share of
    /// the floor.
    pub spread: f64,
    /// New by base, in truth.
    pub ratio: f64,
    /// Cases of a family.
    pub n_cases: usize,
    /// Rounds on each side.
    pub n_rounds: usize,
    /// Families.
    pub n_families: usize,
    /// Where the numbers come from.
    pub seed: u64,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            noise: Noise::Normal,
            spread: 0.01,
            ratio: 1.0,
            n_cases: 20,
            n_rounds: 8,
            n_families: 1_000,
            seed: 1,
        }
    }
}

/// What was said of what was made up, as shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// Families of which any case was called faster or slower.
    pub families_with_difference: f64,
    /// Cases that were called different in the true direction.
    pub found: f64,
    /// Cases that were called different in the wrong direction, or in any where nothing differs.
    pub wrong_direction: f64,
    /// Families of which any case was called the same.
    pub families_with_same: f64,
    /// Cases that were called the same.
    pub same: f64,
    /// Intervals that held the true ratio.
    pub covered: f64,
    /// Cases without a verdict.
    pub unsure: f64,
}

/// Makes families up and judges them as a comparison would.
pub fn tally(trial: &Trial) -> Tally {
    let mut sums = RankSums::default();
    let mut draw = Draw(trial.seed);
    let truth = trial.ratio.ln();
    let [mut with_difference, mut found, mut wrong, mut with_same, mut same, mut covered] = [0; 6];
    let mut unsure = 0;
    for _ in 0..trial.n_families {
        let family: Vec<Samples> = (0..trial.n_cases).map(|_| trial.samples(&mut draw)).collect();
        let judgements = judge::judge(&family, DEFAULT_MARGIN, &mut sums);
        let count = |wanted: &dyn Fn(Finding) -> bool| {
            judgements.iter().filter(|judgement| wanted(judgement.finding)).count()
        };
        let higher = count(&|finding| finding == Finding::Higher);
        let lower = count(&|finding| finding == Finding::Lower);
        let within = count(&|finding| finding == Finding::Within);
        let right = match trial.ratio {
            ratio if ratio > 1.0 => higher,
            ratio if ratio < 1.0 => lower,
            _ => 0,
        };
        found += right;
        wrong += higher + lower - right;
        same += within;
        unsure += count(&|finding| finding == Finding::Open);
        with_difference += usize::from(higher + lower > 0);
        with_same += usize::from(within > 0);
        for samples in &family {
            let shift = sums.shift(&samples.base, &samples.new, ERROR_RATE);
            covered += usize::from(shift.is_some_and(|s| s.lower <= truth && truth <= s.upper));
        }
    }
    let of_families = |n: usize| n as f64 / trial.n_families as f64;
    let of_cases = |n: usize| of_families(n) / trial.n_cases as f64;
    Tally {
        families_with_difference: of_families(with_difference),
        found: of_cases(found),
        wrong_direction: of_cases(wrong),
        families_with_same: of_families(with_same),
        same: of_cases(same),
        covered: of_cases(covered),
        unsure: of_cases(unsure),
    }
}

impl Trial {
    fn samples(&self, draw: &mut Draw) -> Samples {
        let side = |is_new: bool, draw: &mut Draw| -> Vec<f64> {
            (0..self.n_rounds).map(|i| self.round(i, is_new, draw)).collect()
        };
        Samples { base: side(false, draw), new: side(true, draw), explained: 0.0 }
    }

    /// The logarithm of a round's rate.
    fn round(&self, i: usize, is_new: bool, draw: &mut Draw) -> f64 {
        const DRIFT: f64 = 0.05;
        let standard = draw.normal();
        let of_side = if is_new { self.ratio.ln() } else { 0.0 };
        let last = (self.n_rounds - 1).max(1) as f64;
        let normal = (self.spread * standard).ln_1p();
        of_side
            + match self.noise {
                Noise::Normal => normal,
                Noise::LogNormal => self.spread * standard,
                Noise::Delays => -(self.spread * standard.exp()).ln_1p(),
                Noise::Drifting => normal - DRIFT * i as f64 / last,
                Noise::DriftingInTurns => {
                    // A B B A: the base comes first in every other pair.
                    let comes_second = is_new != (i % 2 == 1);
                    let place = 2 * i + usize::from(comes_second);
                    normal - DRIFT * place as f64 / (2.0 * last + 1.0)
                }
            }
    }
}

/// Numbers from a seed, by SplitMix64 (Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    /// Above 0, and 1 at most.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ z >> 31) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Of mean 0 and standard deviation 1 (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a test has time for. The bench `comparison` makes up more.
    fn few() -> Trial {
        Trial { n_families: 1_000, ..Trial::default() }
    }

    #[test]
    fn families_without_a_difference_are_seldom_called_different() {
        for noise in Noise::ALL {
            // With more noise, few cases are shown to be the same, which would hide the others.
            for spread in [0.01, 0.1] {
                let found = tally(&Trial { noise, spread, ..few() });
                assert!(found.families_with_difference <= ERROR_RATE, "{noise:?} {found:?}");
            }
        }
    }

    #[test]
    fn a_difference_of_five_per_cent_is_found_and_never_called_the_same() {
        for ratio in [1.05, 1.0 / 1.05] {
            let found = tally(&Trial { ratio, n_families: 100, ..few() });
            assert!(found.found >= 0.9, "{found:?}");
            assert!(found.wrong_direction == 0.0 && found.same <= 0.001, "{found:?}");
        }
    }

    #[test]
    fn a_difference_of_the_margin_is_seldom_called_the_same() {
        for ratio in [1.0 + DEFAULT_MARGIN, 1.0 / (1.0 + DEFAULT_MARGIN)] {
            let found = tally(&Trial { ratio, n_families: 4_000, ..few() });
            assert!(found.families_with_same <= ERROR_RATE, "{found:?}");
        }
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        for noise in Noise::ALL {
            for n_rounds in [5, 8] {
                let trial = Trial { noise, n_rounds, ratio: 1.02, n_families: 200, ..few() };
                let found = tally(&trial);
                assert!(found.covered >= 0.94, "{noise:?} {n_rounds} {found:?}");
            }
        }
    }

    #[test]
    fn three_rounds_never_give_a_verdict() {
        for (ratio, n_cases) in [(1.0, 1), (1.5, 1), (10.0, 1), (1.5, 20)] {
            let trial = Trial { ratio, n_cases, n_rounds: 3, n_families: 200, ..few() };
            assert_eq!(tally(&trial).unsure, 1.0, "{ratio}");
        }
    }
}
