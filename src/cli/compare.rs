//! `benchinf compare`, and the flags of every command that compares.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::baseline::BaselineName;
use super::exit;
use crate::compare::record::SideName;
use crate::compare::{self, Across, Comparison, DifferenceKind, Metric, Options, Verdict};
use crate::error::Result;
use crate::report::{ComparisonFormat, render_comparison};

pub(super) const AFTER_HELP: &str = "\
Exit status: 0 nothing is shown to be slower; 1 something is, or a case fails that did not; 2 the command line or a file it names cannot be used; \
3 something is unsure, with --fail-on unsure.";

#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Result files of the base: what was measured before.
    #[arg(value_name = "BASE", required_unless_present = "baseline")]
    base: Vec<PathBuf>,

    /// The base is what `benchinf run --save-baseline NAME` kept.
    #[arg(long, value_name = "NAME", conflicts_with = "base")]
    baseline: Option<BaselineName>,

    /// Result files of the new side. Several on a side are its runs, and one value each.
    #[arg(long, value_name = "NEW", required = true, num_args = 1..)]
    with: Vec<PathBuf>,

    /// Axes that differ between the sides on purpose, such as kernels or n_threads: cases are
    /// paired without them.
    #[arg(long, value_name = "AXIS", value_delimiter = ',')]
    across: Vec<String>,

    #[command(flatten)]
    judging: JudgingArgs,

    /// What standard output shows.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: ComparisonOutput,
}

/// How verdicts are reached, and what follows from them.
#[derive(Debug, clap::Args)]
pub(super) struct JudgingArgs {
    #[command(flatten)]
    verdicts: VerdictArgs,

    /// Which verdicts make the exit status other than 0.
    #[arg(long, value_name = "VERDICT", value_enum, default_value = "slower")]
    fail_on: FailOn,
}

/// How verdicts are reached.
#[derive(Debug, clap::Args)]
pub(super) struct VerdictArgs {
    /// What is compared: throughput, or the mean of prefill_pass, decode_step, ttft, tpot, itl,
    /// e2el, prefill_pass_device or decode_step_device.
    #[arg(long, value_name = "NAME", default_value = "throughput")]
    metric: Metric,

    /// The change that is too small to matter, such as 3% or 0.03: `same` says that it is smaller.
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = share)]
    margin: f64,

    /// Differences between the sides that do not cost the verdict.
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    allow: Vec<Allowance>,

    /// Give verdicts on altered files too.
    #[arg(long)]
    allow_altered: bool,
}

/// What may differ.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Allowance {
    /// The class of machine.
    Machine,
    /// The operating system and its settings.
    System,
    /// The benchinf that measured.
    Tool,
    /// Limits, warm-up and seed.
    Settings,
    /// Shapes or weights of models of one name.
    Model,
    /// How fast cores ran.
    Clocks,
    /// How near each other two threads ran.
    Handover,
    /// Throttling.
    Throttling,
    /// What other programs took.
    Load,
    /// Debug builds.
    Debug,
    /// Axes that nobody named, or that one side does not tell.
    Axes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum FailOn {
    /// Exit with 0 whatever the verdicts.
    Never,
    /// Exit with 1 if anything is slower, or a case fails on the new side alone.
    Slower,
    /// The same, and exit with 3 if anything is unsure or a case of the base has no partner.
    Unsure,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ComparisonOutput {
    /// For a terminal.
    Text,
    /// Markdown.
    Md,
    /// One JSON object.
    Json,
}

impl From<ComparisonOutput> for ComparisonFormat {
    fn from(output: ComparisonOutput) -> Self {
        match output {
            ComparisonOutput::Text => ComparisonFormat::Text,
            ComparisonOutput::Md => ComparisonFormat::Md,
            ComparisonOutput::Json => ComparisonFormat::Json,
        }
    }
}

impl From<Allowance> for DifferenceKind {
    fn from(allowance: Allowance) -> Self {
        match allowance {
            Allowance::Machine => DifferenceKind::Machine,
            Allowance::System => DifferenceKind::System,
            Allowance::Tool => DifferenceKind::Tool,
            Allowance::Settings => DifferenceKind::Settings,
            Allowance::Model => DifferenceKind::Model,
            Allowance::Clocks => DifferenceKind::Clocks,
            Allowance::Handover => DifferenceKind::Handover,
            Allowance::Throttling => DifferenceKind::Throttling,
            Allowance::Load => DifferenceKind::Load,
            Allowance::Debug => DifferenceKind::Debug,
            Allowance::Axes => DifferenceKind::Axes,
        }
    }
}

impl VerdictArgs {
    pub(super) fn options(&self, across: Across) -> Options {
        let mut allowed: std::collections::BTreeSet<DifferenceKind> =
            self.allow.iter().map(|allowance| (*allowance).into()).collect();
        if self.allow_altered {
            allowed.insert(DifferenceKind::Altered);
        }
        Options { metric: self.metric, margin: self.margin, allowed, across, replicate: None }
    }
}

impl JudgingArgs {
    pub(super) fn options(&self, across: Across) -> Options {
        self.verdicts.options(across)
    }

    /// The exit status that the verdicts ask for.
    pub(super) fn exit_code(&self, comparison: &Comparison) -> ExitCode {
        // What went wrong is no answer to how fast it is, and must not pass for one.
        let is_broken = comparison.pairs.iter().any(|pair| pair.failed_in == [SideName::New]);
        let any = |verdict| comparison.pairs.iter().any(|pair| pair.verdict == verdict);
        let is_lost = comparison.unpaired.iter().any(|unpaired| unpaired.side == SideName::Base);
        ExitCode::from(match self.fail_on {
            FailOn::Slower | FailOn::Unsure if any(Verdict::Slower) || is_broken => exit::SLOWER,
            FailOn::Unsure if any(Verdict::Unsure) || is_lost => exit::UNSURE,
            _ => 0,
        })
    }
}

pub(super) fn run(args: CompareArgs) -> Result<ExitCode> {
    let base = match &args.baseline {
        Some(name) => vec![name.path()?],
        None => args.base,
    };
    let (base, new) = compare::read_sides(&base, &args.with)?;
    let options = args.judging.options(Across::Named(args.across));
    let comparison = compare::compare(&base, &new, &options)?;
    super::print(&render_comparison(&comparison, args.output.into()))?;
    Ok(args.judging.exit_code(&comparison))
}

/// `3%` or `0.03`: above 0 and below 1.
fn share(text: &str) -> std::result::Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err(format!("`{text}` is not a share between 0 and 1, such as 3% or 0.03")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, expected) in [("3%", 0.03), ("0.03", 0.03), ("12.5 %", 0.125), ("0.5", 0.5)] {
            assert_eq!(share(text), Ok(expected), "{text}");
        }
        assert_eq!(share("3%"), Ok(compare::DEFAULT_MARGIN), "the default of --margin");
        for text in ["0", "1", "100%", "-3%", "nan", "inf", "", "%", "three"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
