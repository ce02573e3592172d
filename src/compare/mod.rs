//! Two sides held against each other: which cases belong together, what differs beside what is
//! compared, and what the rounds or runs of both show. It sees result files and prints nothing;
//! `docs/comparison.md` explains what it does and why.

mod difference;
pub mod honesty;
pub mod judge;
mod metric;
mod pairing;
pub mod rank;
pub mod record;
mod side;

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use judge::{ERROR_RATE, Finding, Judgement, Samples};
use pairing::Pairing;
use rank::RankSums;
use side::Item;

pub use metric::Metric;
pub use record::{Comparison, DifferenceKind, Replicate, Verdict, schema};
pub use side::{Input, read_sides};

use record::{
    Axis, Better, Counts, Difference, Effect, FORMAT_VERSION, Pair, Ratio, SideName, Unpaired,
};

/// Changes below this share are of no interest unless the user says otherwise.
pub const DEFAULT_MARGIN: f64 = 0.03;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is compared.
    pub metric: Metric,
    /// The share below which a change is of no interest: between 0 and 1, without both.
    pub margin: f64,
    /// Differences that do not cost the verdict.
    pub allowed: BTreeSet<DifferenceKind>,
    /// Which axes pairing leaves out.
    pub across: Across,
    /// What counts as one value, where that is not to follow from the number of runs.
    pub replicate: Option<Replicate>,
}

/// Which axes pairing leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Across {
    /// Those of these names.
    Named(Vec<String>),
    /// Those that have one value on each side, and not the same: what two arms were told to
    /// differ in.
    Constant,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metric: Metric::default(),
            margin: DEFAULT_MARGIN,
            allowed: BTreeSet::new(),
            across: Across::Named(Vec::new()),
            replicate: None,
        }
    }
}

/// Compares the files of two sides.
///
/// # Errors
/// [`Error::NothingToCompare`] where no case is on both sides, [`Error::RunTwice`],
/// [`Error::AmbiguousPair`] or [`Error::NoSuchAxis`].
pub fn compare(base: &[Input], new: &[Input], options: &Options) -> Result<Comparison> {
    side::check_runs(base)?;
    side::check_runs(new)?;
    let n_runs = side::n_runs(base).max(side::n_runs(new));
    // Rounds of one run are more alike than those of several.
    let of_files = if n_runs > 1 { Replicate::Run } else { Replicate::Round };
    let replicate = options.replicate.unwrap_or(of_files);
    let of_cases = side::has_cases(base) || side::has_cases(new);
    let items = |inputs| side::items(inputs, of_cases, options.metric, replicate);
    let (base_items, new_items) = (items(base), items(new));
    let across = match &options.across {
        Across::Named(axes) => axes.clone(),
        Across::Constant => pairing::constant_changes(&base_items, &new_items),
    };
    pairing::check_axes(&base_items, &across)?;
    let Pairing { pairs, unpaired } = pairing::pair(&base_items, &new_items, &across)?;
    let pairs: Vec<(&Item, &Item)> =
        pairs.into_iter().map(|(b, n)| (&base_items[b], &new_items[n])).collect();
    check_any(&pairs, &unpaired, options.metric)?;

    let mut sums = RankSums::default();
    let differences = difference::find(base, new, &across, &options.allowed, &mut sums);
    let explained = match options.metric.better() {
        Better::Higher => differences.explained_by_clocks,
        Better::Lower => -differences.explained_by_clocks,
    };
    let family: Vec<Samples> = pairs.iter().map(|pair| samples(*pair, explained)).collect();
    let judgements = judge::judge(&family, options.margin, &mut sums);
    let n_tested = judgements.iter().filter(|judgement| judgement.tests.is_some()).count();
    let judged =
        Judged { replicate, n_tested, differences: &differences.all, across: &across, options };
    let pairs_of_record: Vec<Pair> = pairs
        .iter()
        .zip(family.iter().zip(&judgements))
        .map(|(pair, (samples, judgement))| judged.pair(*pair, samples, judgement, &mut sums))
        .collect();
    Ok(Comparison {
        format_version: FORMAT_VERSION.into(),
        metric: options.metric.name().into(),
        replicate,
        margin: options.margin,
        error_rate: ERROR_RATE,
        n_tested,
        base: side::describe(base),
        new: side::describe(new),
        across: pairing::changes(&base_items, &new_items, &across),
        counts: counts(&pairs_of_record),
        overall: overall(&family, &mut sums),
        differences: differences.all,
        pairs: pairs_of_record,
        unpaired,
    })
}

/// That there is a pair, and one that has what is compared.
fn check_any(pairs: &[(&Item, &Item)], unpaired: &[Unpaired], metric: Metric) -> Result<()> {
    let refuse = |problem: String| Err(Error::NothingToCompare { problem });
    if pairs.is_empty() {
        let Some(first) = unpaired.first() else { return refuse("both sides are empty".into()) };
        let Some(nearest) = &first.nearest else {
            return refuse(format!("only the {} side has any case", first.side.name()));
        };
        let differs: Vec<String> = nearest
            .differs_in
            .iter()
            .map(|change| format!("{} ({} and {})", change.axis, change.base, change.new))
            .collect();
        return refuse(format!(
            "no case is on both sides; nearest to {} is {}, which differs in {}; --across pairs cases \
             that differ in an axis on purpose",
            first.id,
            nearest.id,
            differs.join(", ")
        ));
    }
    let has_values =
        |(base, new): &(&Item, &Item)| !base.values.is_empty() && !new.values.is_empty();
    if pairs.iter().any(has_values) {
        return Ok(());
    }
    let (base, new) = pairs[0];
    let problem = base.problem.as_ref().or(new.problem.as_ref());
    refuse(format!(
        "no case has {} on both sides; of {}, {}",
        metric.name(),
        base.id,
        problem.map_or("there are no values", String::as_str)
    ))
}

/// Why the values of a pair say nothing about each other, whatever they are.
fn bar((base, new): (&Item, &Item)) -> Option<String> {
    for (side, item) in [(SideName::Base, base), (SideName::New, new)] {
        if let Some(problem) = &item.problem {
            return Some(format!("{}: {problem}", side.name()));
        }
    }
    let (a, b) = (base.definition.as_ref()?, new.definition.as_ref()?);
    (a != b).then(|| {
        format!(
            "what is compared is defined differently: {} in the base, {} in the new side",
            a.0, b.0
        )
    })
}

fn samples(pair: (&Item, &Item), explained: f64) -> Samples {
    match bar(pair) {
        Some(_) => Samples::default(),
        None => Samples { base: pair.0.logs(), new: pair.1.logs(), explained },
    }
}

/// What is known of all pairs when each of them is written down.
struct Judged<'a> {
    replicate: Replicate,
    n_tested: usize,
    differences: &'a [Difference],
    across: &'a [String],
    options: &'a Options,
}

impl Judged<'_> {
    fn pair(
        &self,
        pair: (&Item, &Item),
        samples: &Samples,
        judgement: &Judgement,
        sums: &mut RankSums,
    ) -> Pair {
        let (base, new) = pair;
        let better = self.options.metric.better();
        let is_shared = |axis: &&str| !self.across.iter().any(|name| name == axis);
        let shared = base.axes.iter().filter(|(axis, _)| is_shared(axis));
        let definition = base.definition.as_ref().or(new.definition.as_ref());
        let (verdict, reasons) = self.verdict(pair, samples, judgement);
        Pair {
            base_id: base.id.clone(),
            new_id: new.id.clone(),
            axes: shared
                .map(|(axis, value)| Axis { axis: (*axis).into(), value: value.clone() })
                .collect(),
            definition: definition.map_or_else(String::new, |(definition, _)| definition.clone()),
            unit: definition.map_or(record::Unit::TokensPerS, |(_, unit)| *unit),
            better,
            base: base.sample(),
            new: new.sample(),
            ratio: ratio(&samples.base, &samples.new, sums),
            p_value: judgement.tests.map(|tests| tests.p_value),
            p_adjusted: judgement.tests.map(|tests| tests.p_adjusted),
            p_same: judgement.tests.map(|tests| tests.p_same),
            p_same_adjusted: judgement.tests.map(|tests| tests.p_same_adjusted),
            smallest_detectable: judgement.detectable.map(f64::exp_m1),
            verdict,
            reasons,
            failed_in: [(SideName::Base, base), (SideName::New, new)]
                .into_iter()
                .filter(|(_, item)| item.is_failed)
                .map(|(side, _)| side)
                .collect(),
        }
    }

    fn verdict(
        &self,
        pair: (&Item, &Item),
        samples: &Samples,
        judgement: &Judgement,
    ) -> (Verdict, Vec<String>) {
        if let Some(problem) = bar(pair) {
            return (Verdict::Unsure, vec![problem]);
        }
        let mut kinds: Vec<&str> = self
            .differences
            .iter()
            .filter(|difference| difference.effect == Effect::CostsVerdict)
            .map(|difference| difference.kind.name())
            .collect();
        kinds.dedup();
        let mut reasons: Vec<String> = self.too_few(samples).into_iter().collect();
        if !kinds.is_empty() {
            reasons.push(format!("the sides differ: {}", kinds.join(", ")));
            return (Verdict::Unsure, reasons);
        }
        let better = self.options.metric.better();
        let verdict = match (judgement.finding, better) {
            (Finding::Within, _) => Verdict::Same,
            (Finding::Higher, Better::Higher) | (Finding::Lower, Better::Lower) => Verdict::Faster,
            (Finding::Higher, Better::Lower) | (Finding::Lower, Better::Higher) => Verdict::Slower,
            (Finding::Open, _) => Verdict::Unsure,
        };
        match verdict {
            Verdict::Unsure if reasons.is_empty() => reasons.push(open_reason(samples)),
            Verdict::Unsure => {}
            _ => reasons.clear(),
        }
        (verdict, reasons)
    }

    /// That so few values cannot show anything, and how many would.
    fn too_few(&self, samples: &Samples) -> Option<String> {
        let (n_base, n_new) = (samples.base.len(), samples.new.len());
        let level = ERROR_RATE / self.n_tested.max(1) as f64;
        if rank::smallest_p(n_base, n_new) <= level {
            return None;
        }
        let wanted = rank::size_wanted(level);
        let word = self.replicate.word(2);
        let family = match self.n_tested {
            0 | 1 => String::new(),
            n => format!(" when {n} cases are tested together"),
        };
        Some(format!(
            "{n_base} and {n_new} {word} cannot show anything{family}: {wanted} and {wanted} are needed"
        ))
    }
}

fn open_reason(samples: &Samples) -> String {
    match samples.explained == 0.0 {
        true => "neither a difference nor that it is within the margin is shown".into(),
        false => "what is shown does not stand once the difference of clocks is taken off".into(),
    }
}

fn ratio(base: &[f64], new: &[f64], sums: &mut RankSums) -> Option<Ratio> {
    let shift = sums.shift(base, new, ERROR_RATE)?;
    Some(Ratio {
        estimate: shift.estimate.exp(),
        lower: shift.lower.exp(),
        upper: shift.upper.exp(),
        coverage: shift.coverage,
    })
}

/// The geometric mean of all pairs' ratios. Rounds are interleaved over cases, so what a moment does
/// to one case it does to all: the mean over cases is made of each round (or run) before the two
/// sides are held against each other, and its interval has that in it.
fn overall(family: &[Samples], sums: &mut RankSums) -> Option<Ratio> {
    let usable = || family.iter().filter(|s| !s.base.is_empty() && !s.new.is_empty());
    let n_pairs = usable().count() as f64;
    let means = |side: fn(&Samples) -> &Vec<f64>| -> Vec<f64> {
        let n = usable().map(|samples| side(samples).len()).min().unwrap_or(0);
        (0..n).map(|i| usable().map(|samples| side(samples)[i]).sum::<f64>() / n_pairs).collect()
    };
    ratio(&means(|samples| &samples.base), &means(|samples| &samples.new), sums)
}

fn counts(pairs: &[Pair]) -> Counts {
    let of = |verdict| pairs.iter().filter(|pair| pair.verdict == verdict).count();
    Counts {
        faster: of(Verdict::Faster),
        slower: of(Verdict::Slower),
        same: of(Verdict::Same),
        unsure: of(Verdict::Unsure),
    }
}
