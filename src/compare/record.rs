//! A comparison as data: what [`super::compare`] answers, and the wire format of
//! `benchinf compare -o json`. `docs/comparison.md` explains it and `docs/comparison.schema.json` is
//! its schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of this format, `"major.minor"`.
pub const FORMAT_VERSION: &str = "2.0";

/// Two sides held against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this format.
    pub format_version: String,
    /// What is compared of each case: `throughput`, or a latency.
    pub metric: String,
    /// What counts as one value: rounds, or runs as soon as a side has several.
    pub replicate: Replicate,
    /// Changes smaller than this share are of no interest: `same` says that the change is.
    pub margin: f64,
    /// Chance at most that any `faster` or `slower` of the family is wrong, and that any `same` is.
    pub error_rate: f64,
    /// Cases that were tested together: the family whose p-values are adjusted.
    pub n_tested: usize,
    /// What was measured before.
    pub base: Side,
    /// What was measured after.
    pub new: Side,
    /// Axes that differ between the sides on purpose, and are left out of pairing.
    pub across: Vec<AxisChange>,
    /// What else differs between the sides, or casts doubt on one of them.
    pub differences: Vec<Difference>,
    /// How many cases have which verdict.
    pub counts: Counts,
    /// The geometric mean of the pairs' ratios; absent where none can be compared whole.
    pub overall: Option<Overall>,
    /// Cases that both sides have.
    pub pairs: Vec<Pair>,
    /// Cases that have no partner.
    pub unpaired: Vec<Unpaired>,
}

/// What counts as one value. Values within one are correlated, and never taken for independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replicate {
    /// A round. What differs between runs is not in the intervals.
    Round,
    /// A run: the median of its rounds.
    Run,
}

impl Replicate {
    /// The word for so many of them.
    pub fn word(self, n: usize) -> &'static str {
        match (self, n) {
            (Replicate::Round, 1) => "round",
            (Replicate::Round, _) => "rounds",
            (Replicate::Run, 1) => "run",
            (Replicate::Run, _) => "runs",
        }
    }
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its files.
    pub files: Vec<SideFile>,
    /// Runs in them.
    pub n_runs: usize,
}

/// A file of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SideFile {
    /// Its path as given.
    pub path: String,
    /// Who measured.
    pub origin: Origin,
    /// Id of its run; absent where another tool measured.
    pub run_id: Option<String>,
    /// When that began, in UTC; absent where another tool does not tell.
    pub started: Option<String>,
    /// What measured: version and commit, as far as they are told.
    pub tool: String,
    /// The processor, or whatever another tool tells of the machine; absent if nothing.
    pub processor: Option<String>,
    /// Whether it is as it was written.
    pub integrity: Integrity,
}

/// Who measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// We did.
    Measured,
    /// Another tool did, and its file was translated: nothing in it is proved.
    Imported,
}

/// Whether a file is as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Not a byte has changed.
    Intact,
    /// Its digests do not fit.
    Altered,
    /// It is of a format without digests.
    NoDigests,
}

/// An axis that differs between the sides on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AxisChange {
    /// Its name.
    pub axis: String,
    /// Its values in the base, one after another.
    pub base: String,
    /// Its values in the new side.
    pub new: String,
}

/// Something that differs between the sides, or casts doubt on one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Which kind.
    pub kind: DifferenceKind,
    /// What it does to the verdicts.
    pub effect: Effect,
    /// What was seen, in words.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// A kind of difference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// A file is not as it was written, or nothing shows that it is.
    Altered,
    /// A run is on both sides.
    SameRun,
    /// A file was translated from another tool's.
    Imported,
    /// Cases are paired although they differ in axes that nobody named, or that one side does not
    /// tell.
    Axes,
    /// A file is of a debug build.
    Debug,
    /// A file is of a run that was slowed down on purpose, to try out comparisons.
    InjectedSlowdown,
    /// The machines are not of one class.
    Machine,
    /// The operating systems or their settings are not alike.
    System,
    /// The benchinf that measured is not the same.
    Tool,
    /// What was asked for differs beside the axes: limits, warm-up, seed.
    Settings,
    /// Models of one name have other shapes or weights.
    Model,
    /// Cores ran at different speeds.
    Clocks,
    /// Two threads were nearer each other on one side than on the other.
    Handover,
    /// A processor throttled.
    Throttling,
    /// Other programs took more of one side's time than of the other's.
    Load,
    /// A run ended before all of its rounds were measured.
    Unfinished,
}

impl DifferenceKind {
    /// Every kind.
    pub const ALL: [DifferenceKind; 16] = [
        DifferenceKind::Altered,
        DifferenceKind::SameRun,
        DifferenceKind::Imported,
        DifferenceKind::Axes,
        DifferenceKind::Debug,
        DifferenceKind::InjectedSlowdown,
        DifferenceKind::Machine,
        DifferenceKind::System,
        DifferenceKind::Tool,
        DifferenceKind::Settings,
        DifferenceKind::Model,
        DifferenceKind::Clocks,
        DifferenceKind::Handover,
        DifferenceKind::Throttling,
        DifferenceKind::Load,
        DifferenceKind::Unfinished,
    ];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            DifferenceKind::Altered => "altered",
            DifferenceKind::SameRun => "same_run",
            DifferenceKind::Imported => "imported",
            DifferenceKind::Axes => "axes",
            DifferenceKind::Debug => "debug",
            DifferenceKind::InjectedSlowdown => "injected_slowdown",
            DifferenceKind::Machine => "machine",
            DifferenceKind::System => "system",
            DifferenceKind::Tool => "tool",
            DifferenceKind::Settings => "settings",
            DifferenceKind::Model => "model",
            DifferenceKind::Clocks => "clocks",
            DifferenceKind::Handover => "handover",
            DifferenceKind::Throttling => "throttling",
            DifferenceKind::Load => "load",
            DifferenceKind::Unfinished => "unfinished",
        }
    }

    /// What it is, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            DifferenceKind::Altered => {
                "a file is not as it was written, or has no digests that would show it"
            }
            DifferenceKind::SameRun => "a run is on both sides, and cannot differ from itself",
            DifferenceKind::Imported => {
                "a file was translated from another tool's: nothing shows that it was measured so"
            }
            DifferenceKind::Axes => {
                "cases are paired although they differ in an axis that nobody named, or that one \
                 side does not tell"
            }
            DifferenceKind::Debug => {
                "a file is of a debug build, which says nothing about the hardware"
            }
            DifferenceKind::InjectedSlowdown => {
                "a file is of a run that was slowed down on purpose, to try out comparisons"
            }
            DifferenceKind::Machine => {
                "processor, caches, rated frequencies, governor, affinity, quota or memory are not \
                 the same, or not told"
            }
            DifferenceKind::System => {
                "operating system, kernel, huge pages, swap or clock source are not the same"
            }
            DifferenceKind::Tool => {
                "what measured is not the same: version, commit, features, compiler, instruction \
                 sets, or another tool"
            }
            DifferenceKind::Settings => {
                "seed, hardware threads, warm-up or limits of rounds are not the same"
            }
            DifferenceKind::Model => "models of one name have other shapes or weights",
            DifferenceKind::Clocks => {
                "cores were shown to run at another speed on the new side, by more than 1 %"
            }
            DifferenceKind::Handover => {
                "a word took more than 2.5 times as long between the two threads of one side, and not \
                 by chance: they were farther from each other, and may read memory at another rate"
            }
            DifferenceKind::Throttling => {
                "a processor throttled during a round, or another device held its clocks down"
            }
            DifferenceKind::Load => {
                "other programs, or other guests of the machine, took 5 points more of the \
                 processors' time on one side"
            }
            DifferenceKind::Unfinished => "a run ended before all of its rounds were measured",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            DifferenceKind::Altered => {
                "use the file that the run wrote, or allow it with --allow-altered"
            }
            DifferenceKind::SameRun => "name another run, or measure again",
            DifferenceKind::Imported => "take its figures as what somebody tells",
            DifferenceKind::Axes => {
                "name the axis on both sides, or allow it with --allow axes if that is what you compare"
            }
            DifferenceKind::Debug => "build with --release, or allow it with --allow debug",
            DifferenceKind::InjectedSlowdown => {
                "this is a trial of the comparison and no measurement"
            }
            DifferenceKind::Machine => {
                "measure both sides on one machine, or allow it with --allow machine if that is what you compare"
            }
            DifferenceKind::System => {
                "measure both sides under one system, or allow it with --allow system if that is what you compare"
            }
            DifferenceKind::Tool => {
                "measure both sides with one build, or allow it with --allow tool if that is what you compare"
            }
            DifferenceKind::Settings => {
                "measure both sides alike, or allow it with --allow settings"
            }
            DifferenceKind::Model => {
                "give both sides one model, or allow it with --allow model if that is what you compare"
            }
            DifferenceKind::Clocks => {
                "fix the frequency and measure both sides in turns (`benchinf ab`), or allow it with \
                 --allow clocks"
            }
            DifferenceKind::Handover => {
                "measure both sides in turns (`benchinf ab`), or allow it with --allow handover if no \
                 case depends on memory"
            }
            DifferenceKind::Throttling => {
                "improve cooling or lower the power target, or allow it with --allow throttling"
            }
            DifferenceKind::Load => {
                "stop other programs and measure both sides in turns (`benchinf ab`), or allow it with \
                 --allow load"
            }
            DifferenceKind::Unfinished => {
                "go on with `benchinf run --resume`, or give it more time"
            }
        }
    }
}

/// What a difference does to the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: it is said.
    Noted,
    /// It would have made every verdict `unsure`, but was allowed.
    Allowed,
    /// Verdicts stand only where they would with all that it explains taken off.
    TakenOff,
    /// Every verdict is `unsure`.
    CostsVerdict,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Effect; 4] =
        [Effect::Noted, Effect::Allowed, Effect::TakenOff, Effect::CostsVerdict];

    /// The name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Noted => "noted",
            Effect::Allowed => "allowed",
            Effect::TakenOff => "taken off before a verdict is given",
            Effect::CostsVerdict => "costs the verdict",
        }
    }
}

/// How many pairs have which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// `faster`.
    pub faster: usize,
    /// `slower`.
    pub slower: usize,
    /// `same`.
    pub same: usize,
    /// `unsure`.
    pub unsure: usize,
}

/// New by base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// The Hodges–Lehmann estimate.
    pub estimate: f64,
    /// Lower end of its interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Chance that such an interval holds the true ratio.
    pub coverage: f64,
}

/// The geometric mean of pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overall {
    /// New by base, from the rounds (or runs) that have all pairs in it; absent where a side has none
    /// that do.
    pub ratio: Option<Ratio>,
    /// Pairs in it: all that have a verdict or could have one.
    pub n_pairs: usize,
    /// Why it is no verdict: what could explain it beside what is compared.
    pub reasons: Vec<String>,
}

/// A case that both sides have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// Its id in the base.
    pub base_id: String,
    /// Its id in the new side; another one only where axes differ on purpose.
    pub new_id: String,
    /// The axes that both share, with their values.
    pub axes: Vec<Axis>,
    /// What is compared, with its definition: `decode_tokens_per_s.v1`.
    pub definition: String,
    /// In what.
    pub unit: Unit,
    /// Which is better.
    pub better: Better,
    /// What the base measured.
    pub base: Sample,
    /// What the new side measured.
    pub new: Sample,
    /// New by base; absent where one of them has no value.
    pub ratio: Option<Ratio>,
    /// Chance of as clear a difference where there is none, two-sided; absent if nothing was tested.
    pub p_value: Option<f64>,
    /// The same, adjusted for all cases tested together. `faster` and `slower` need
    /// `error_rate` at most.
    pub p_adjusted: Option<f64>,
    /// Chance of values as close to each other where the change is as large as `margin` or larger.
    pub p_same: Option<f64>,
    /// The same, adjusted. `same` needs `error_rate` at most.
    pub p_same_adjusted: Option<f64>,
    /// The smallest change, as a share, that these very values would have shown had all new ones
    /// been off by it. Absent where they are too few to show any.
    pub smallest_detectable: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is `unsure`.
    pub reasons: Vec<String>,
    /// Sides on which the case was tried and went wrong.
    pub failed_in: Vec<SideName>,
}

/// An axis and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Axis {
    /// Its name.
    pub axis: String,
    /// Its value.
    pub value: String,
}

/// What values are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens per second.
    TokensPerS,
    /// Passes per second, of tools that tell no work.
    PassesPerS,
    /// Dense operations per second.
    FlopsPerS,
    /// Bytes per second.
    BytesPerS,
    /// Nanoseconds.
    Ns,
}

/// Which of two values is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The higher one: rates.
    Higher,
    /// The lower one: latencies.
    Lower,
}

/// What a side measured of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// One value for each replicate, in order.
    pub values: Vec<f64>,
    /// Their median; absent without any.
    pub median: Option<f64>,
}

/// What is said of a pair.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new side is shown to be faster.
    Faster,
    /// It is shown to be slower.
    Slower,
    /// It is shown to differ by less than the margin.
    Same,
    /// None of that is shown.
    Unsure,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 4] =
        [Verdict::Faster, Verdict::Slower, Verdict::Same, Verdict::Unsure];

    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Same => "same",
            Verdict::Unsure => "unsure",
        }
    }
}

/// A case without a partner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unpaired {
    /// Which side has it.
    pub side: SideName,
    /// Its id.
    pub id: String,
    /// Why it has none.
    pub reason: String,
    /// The case of the other side that is most like it; absent where there is none, and beyond the
    /// first thousand.
    pub nearest: Option<Nearest>,
}

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SideName {
    /// What was measured before.
    Base,
    /// What was measured after.
    New,
}

impl SideName {
    /// The name in files and texts.
    pub fn name(self) -> &'static str {
        match self {
            SideName::Base => "base",
            SideName::New => "new",
        }
    }
}

/// The most alike case of the other side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nearest {
    /// Its id.
    pub id: String,
    /// The axes in which it differs.
    pub differs_in: Vec<AxisChange>,
}

/// The JSON Schema (draft 2020-12) of a comparison, ending in a newline.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Comparison))
        .expect("a schema has string keys only");
    text.push('\n');
    text
}
