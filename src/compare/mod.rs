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

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, LeftOut, Result};
use crate::result::file::AxesFile;
use difference::Compared;
use judge::{ERROR_RATE, Finding, Judgement, Samples};
use pairing::Pairing;
use rank::RankSums;
use side::{Beside, Item, Moment, Taken};

pub use metric::Metric;
pub use record::{Comparison, DifferenceKind, Replicate, Verdict, schema};
pub use side::{Input, read_sides};

use record::{
    Axis, AxisChange, Better, Counts, Difference, Effect, FORMAT_VERSION, Overall, Pair, Ratio,
    SideName, Unpaired,
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
    /// Those that have one value on each side, and not the same: what two arms differ in.
    Constant(Asked),
}

/// Which of those axes the arms were told to differ in. Others may come from defaults that changed
/// from one build to the next, and cost the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Every one: nothing but the arguments of the arms differs.
    All,
    /// Those that each arm names.
    Named(BTreeSet<&'static str>),
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
    let beside = Beside::of(base, new);
    let taken = Taken { of_cases, metric: options.metric, replicate, beside };
    let (mut base_items, mut new_items) = (side::items(base, taken), side::items(new, taken));
    let untold = match beside {
        Beside::Nothing => Vec::new(),
        Beside::Measured | Beside::Imported => side::align(&mut base_items, &mut new_items),
    };
    let mut across = match &options.across {
        Across::Named(axes) => axes.clone(),
        Across::Constant(_) => pairing::constant_changes(&base_items, &new_items),
    };
    pairing::check_axes(&base_items, &across)?;
    let mut cause = LeftOut::Asked;
    let is_asked = across.iter().any(|axis| axis == KERNELS);
    if are_of_other_tools(base, new) && pairing::has_axis(&base_items, KERNELS) && !is_asked {
        // Whoever names files of two tools compares what computed.
        across.push(KERNELS.to_owned());
        cause = LeftOut::OtherTools;
    }
    let across_changes = pairing::changes(&base_items, &new_items, &across);
    let Pairing { pairs, unpaired } = pairing::pair(&base_items, &new_items, &across, cause)?;
    let pairs: Vec<(&Item, &Item)> =
        pairs.into_iter().map(|(b, n)| (&base_items[b], &new_items[n])).collect();
    check_any(&pairs, &unpaired, options.metric)?;

    let mut unasked = unasked(&across_changes, &options.across);
    unasked.extend(untold.iter().map(|untold| {
        format!(
            "only the {} side tells {}: cases are paired without",
            untold.told_by.name(),
            side::listed(untold.axes.iter().map(String::as_str), ", ")
        )
    }));
    unasked.extend(other_commands(&pairs));
    let is_processor_alone = pairs.iter().all(|(base, new)| base.is_on_cpu() && new.is_on_cpu());
    let mut sums = RankSums::default();
    let compared = Compared {
        base,
        new,
        across: &across,
        unasked,
        is_processor_alone,
        allowed: &options.allowed,
    };
    let differences = difference::find(compared, &mut sums);
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
        across: across_changes,
        counts: counts(&pairs_of_record),
        overall: overall(&pairs, replicate, &differences.all, &mut sums),
        differences: differences.all,
        pairs: pairs_of_record,
        unpaired,
    })
}

/// That cases which are about to be measured have partners in the base, so that nobody measures for a
/// comparison that there cannot be.
///
/// # Errors
/// [`Error::NothingToCompare`], naming the nearest case.
pub fn check_planned(base: &[Input], planned: &[AxesFile]) -> Result<()> {
    if planned.is_empty() && !side::has_cases(base) {
        // Probes: every machine has the same.
        return Ok(());
    }
    let beside = match Beside::of(base, &[]) {
        Beside::Nothing => Beside::Nothing,
        Beside::Measured | Beside::Imported => Beside::Measured,
    };
    let metric = Metric::default();
    let taken = Taken { of_cases: true, metric, replicate: Replicate::Round, beside };
    let mut base_items = side::items(base, taken);
    let mut new_items: Vec<Item> = planned.iter().map(|axes| Item::planned(axes, beside)).collect();
    let (mut across, mut cause) = (Vec::new(), LeftOut::Asked);
    if beside != Beside::Nothing {
        side::align(&mut base_items, &mut new_items);
        across.push(KERNELS.to_owned());
        cause = LeftOut::OtherTools;
    }
    let Pairing { pairs, unpaired } = pairing::pair(&base_items, &new_items, &across, cause)?;
    if pairs.is_empty() { Err(no_pair(&unpaired)) } else { Ok(()) }
}

/// That there is a pair, and one that has what is compared.
fn check_any(pairs: &[(&Item, &Item)], unpaired: &[Unpaired], metric: Metric) -> Result<()> {
    if pairs.is_empty() {
        return Err(no_pair(unpaired));
    }
    let has_values =
        |(base, new): &(&Item, &Item)| !base.values.is_empty() && !new.values.is_empty();
    if pairs.iter().any(has_values) {
        return Ok(());
    }
    let (base, new) = pairs[0];
    let problem = base.problem.as_ref().or(new.problem.as_ref());
    Err(Error::NothingToCompare {
        problem: format!(
            "no case has {} on both sides; of {}, {}",
            metric.name(),
            base.id,
            problem.map_or("there are no values", String::as_str)
        ),
    })
}

/// Why nothing pairs, and what is nearest.
fn no_pair(unpaired: &[Unpaired]) -> Error {
    let refuse = |problem: String| Error::NothingToCompare { problem };
    let Some(first) = unpaired.first() else { return refuse("both sides are empty".into()) };
    let Some(nearest) = &first.nearest else {
        return refuse(format!("only the {} side has any case", first.side.name()));
    };
    let differs: Vec<String> = nearest
        .differs_in
        .iter()
        .map(|change| format!("{} ({} and {})", change.axis, change.base, change.new))
        .collect();
    refuse(format!(
        "no case is on both sides; nearest to {} is {}, which differs in {}; --across pairs cases \
         that differ in an axis on purpose",
        first.id,
        nearest.id,
        side::listed(differs.iter().map(String::as_str), ", ")
    ))
}

/// The axis that says what computed.
const KERNELS: &str = "kernels";

/// Whether no tool measured on both sides.
fn are_of_other_tools(base: &[Input], new: &[Input]) -> bool {
    let of = |inputs| -> BTreeSet<&str> { Iterator::flat_map(inputs, Input::tools).collect() };
    of(base.iter()).is_disjoint(&of(new.iter()))
}

/// Axes that differ between the sides although nobody named them.
fn unasked(changes: &[AxisChange], across: &Across) -> Vec<String> {
    let Across::Constant(Asked::Named(named)) = across else { return Vec::new() };
    let unnamed = changes.iter().filter(|change| !named.contains(change.axis.as_str()));
    unnamed
        .map(|change| {
            format!(
                "{} is {} in the base and {} in the new side, and not both arms name it: a default \
                 may have changed",
                change.axis, change.base, change.new
            )
        })
        .collect()
}

/// That commands which are alike without directories are not the same.
fn other_commands(pairs: &[(&Item, &Item)]) -> Option<String> {
    let mut unlike = pairs.iter().filter(|(base, new)| base.commands != new.commands);
    let (first, _) = unlike.next()?;
    let more = match unlike.count() {
        0 => String::new(),
        n => format!(" (and of {n} more)"),
    };
    Some(format!(
        "the commands of {}{more} are alike only without the directories of their paths",
        first.id
    ))
}

/// What the values of a pair can say about each other.
enum Standing {
    /// All that their numbers allow.
    Whole,
    /// A ratio and no verdict, with the reason.
    RatioAlone(String),
    /// Nothing, with the reason.
    Nothing(String),
}

fn standing((base, new): (&Item, &Item)) -> Standing {
    let sides = [(SideName::Base, base), (SideName::New, new)];
    for (side, item) in sides {
        if let Some(problem) = &item.problem {
            return Standing::Nothing(format!("{}: {problem}", side.name()));
        }
    }
    if let (Some(a), Some(b)) = (&base.definition, &new.definition)
        && a != b
    {
        let reason = format!(
            "what is compared is defined differently: {} in the base, {} in the new side",
            a.0, b.0
        );
        // Of another tool there is no nearer figure, and its ratio is what was asked for.
        let is_like = a.1 == b.1 && (base.is_imported || new.is_imported);
        return if is_like { Standing::RatioAlone(reason) } else { Standing::Nothing(reason) };
    }
    for (side, item) in sides {
        if let Some(tool) = item.single_figure_of() {
            return Standing::RatioAlone(format!(
                "{}: {tool} tells one figure for all that it measured, which shows no spread: there \
                 is a ratio, and no verdict",
                side.name()
            ));
        }
    }
    Standing::Whole
}

/// What is tested of a pair: nothing where its values cannot carry a verdict.
fn samples(pair: (&Item, &Item), explained: f64) -> Samples {
    match standing(pair) {
        Standing::Whole => Samples { base: pair.0.logs(), new: pair.1.logs(), explained },
        Standing::RatioAlone(_) | Standing::Nothing(_) => Samples::default(),
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
        let is_shared = |axis: &str| !self.across.iter().any(|name| name == axis);
        let shared = base.axes.iter().filter(|(axis, _)| is_shared(axis));
        let definition = base.definition.as_ref().or(new.definition.as_ref());
        let (verdict, reasons) = self.verdict(pair, samples, judgement);
        Pair {
            base_id: base.id.clone(),
            new_id: new.id.clone(),
            axes: shared
                .map(|(axis, value)| Axis { axis: axis.to_string(), value: value.clone() })
                .collect(),
            definition: definition.map_or_else(String::new, |(definition, _)| definition.clone()),
            unit: definition.map_or(record::Unit::TokensPerS, |(_, unit)| *unit),
            better,
            base: base.sample(),
            new: new.sample(),
            ratio: match standing(pair) {
                Standing::Nothing(_) => None,
                Standing::RatioAlone(_) => ratio(&base.logs(), &new.logs(), sums),
                Standing::Whole => ratio(&samples.base, &samples.new, sums),
            },
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
        let sides_differ = sides_differ(self.differences);
        let mut reasons: Vec<String> = match standing(pair) {
            Standing::Nothing(reason) => return (Verdict::Unsure, vec![reason]),
            Standing::RatioAlone(reason) => {
                let reasons = std::iter::once(reason).chain(sides_differ).collect();
                return (Verdict::Unsure, reasons);
            }
            Standing::Whole => self.too_few(samples).into_iter().collect(),
        };
        if let Some(sides_differ) = sides_differ {
            reasons.push(sides_differ);
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

/// That something costs every verdict, and what.
fn sides_differ(differences: &[Difference]) -> Option<String> {
    let costly = differences.iter().filter(|found| found.effect == Effect::CostsVerdict);
    let mut kinds: Vec<&str> = costly.map(|found| found.kind.name()).collect();
    kinds.dedup();
    (!kinds.is_empty()).then(|| format!("the sides differ: {}", kinds.join(", ")))
}

/// The geometric mean of pairs' ratios. Rounds are interleaved over cases, so what a moment does to one
/// case it does to all: the mean over cases is made of each round (or run) before the two sides are
/// held against each other, and its interval has that in it. A moment that not all cases have counts
/// for none, or the mean would be one of other cases there.
fn overall(
    pairs: &[(&Item, &Item)],
    replicate: Replicate,
    differences: &[Difference],
    sums: &mut RankSums,
) -> Option<Overall> {
    let whole: Vec<&(&Item, &Item)> =
        pairs.iter().filter(|pair| matches!(standing(**pair), Standing::Whole)).collect();
    let means = |items: &[&Item]| -> Vec<f64> {
        let mut of_moments: BTreeMap<Moment, (usize, f64)> = BTreeMap::new();
        for (moment, value) in items.iter().flat_map(|item| &item.values) {
            let (n, sum) = of_moments.entry(*moment).or_default();
            (*n, *sum) = (*n + 1, *sum + value.ln());
        }
        let shared = of_moments.values().filter(|(n, _)| *n == whole.len());
        shared.map(|(n, sum)| sum / *n as f64).collect()
    };
    let (base, new): (Vec<&Item>, Vec<&Item>) = whole.iter().copied().copied().unzip();
    let (base, new) = (means(&base), means(&new));
    let mut reasons: Vec<String> = sides_differ(differences).into_iter().collect();
    if differences.iter().any(|found| found.effect == Effect::TakenOff) {
        reasons.push("the difference of clocks is not taken off".into());
    }
    if whole.len() < pairs.len() {
        let n_left_out = pairs.len() - whole.len();
        reasons.push(format!("{n_left_out} of {} pairs are not in it", pairs.len()));
    }
    let ratio = ratio(&base, &new, sums);
    if whole.is_empty() {
        return None;
    }
    if ratio.is_none() {
        let side = if base.is_empty() { SideName::Base } else { SideName::New };
        let word = replicate.word(1);
        reasons.push(format!("no {word} of the {} side has all of these cases", side.name()));
    }
    Some(Overall { ratio, n_pairs: whole.len(), reasons })
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
