//! The grammar of all commands but those that run models.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::compare::VerdictArgs;
use super::infer::{LogitsArgs, ProbeArgs, RunArgs};
use crate::import::Tool;
use crate::report::Format;

const EXIT_STATUSES: &str = "\
Exit status: 0 measured; 1 a case or the engine failed, or nothing was measured; 2 the command line or a file it names \
cannot be used; 130 interrupted, what was measured is kept.";

const VERIFY_STATUSES: &str = "\
Exit status: 0 every file is intact, and signed as asked; 1 one was altered, or is not signed as asked; \
2 one is unreadable.";

const CLASSIFY_HELP: &str = "\
Each verdict is the outcome of a technical-parameter test, not a licence determination and not legal advice.

Exit status: 0 answered, whatever the verdicts; 2 the command line or a file it names cannot be used.";

/// Small transformer inference benchmarks whose numbers are proved, or say that they are not.
///
/// Without a command, runs a benchmark.
#[derive(Debug, Parser)]
#[command(name = "benchinf", version, after_help = EXIT_STATUSES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: Box<RunArgs>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a benchmark: the same as no command.
    #[command(after_help = EXIT_STATUSES)]
    Run(Box<RunArgs>),
    /// Measure what the machine can do at most: matrix products and memory, without any model.
    #[command(after_help = EXIT_STATUSES)]
    Probe(Box<ProbeArgs>),
    /// Print the logits of a prompt's last position, to check our numerics against another engine.
    Logits(LogitsArgs),
    /// Print result files again, in any format.
    Report(ReportArgs),
    /// Translate results of other tools, so that they stand beside ours. They prove nothing.
    Import(ImportArgs),
    /// Find out whether result files are as they were written.
    #[command(after_help = VERIFY_STATUSES)]
    Verify(VerifyArgs),
    /// Add up result files of the same cases on the same class of machine, exactly.
    Merge(MergeArgs),
    /// Make a key pair for --sign-key and `verify --public-key`.
    Keygen(KeygenArgs),
    /// Hold devices against export thresholds: what is proved, what is possible, what is unknown.
    #[command(after_help = CLASSIFY_HELP)]
    Classify(Box<ClassifyArgs>),
    /// Compare result files of two sides: what is faster, slower, the same, or open.
    #[command(after_help = super::compare::AFTER_HELP)]
    Compare(super::compare::CompareArgs),
    /// Find out whether a change helped: measure both arms in turns, and compare.
    #[command(after_help = super::compare::AFTER_HELP)]
    Ab(Box<super::ab::AbArgs>),
    /// Print the JSON Schema of result files, or of what other commands print as JSON.
    Schema {
        /// Of what.
        #[arg(value_enum, default_value = "result")]
        of: SchemaOf,
    },
    /// Say what a metric, a column or a warning means, how it is computed and what to do about it.
    Explain {
        /// Names as tables, rows and result files have them.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// List what is built in or present.
    List(ListArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write one for each command into a directory.
    Man {
        /// The directory; without it the page of benchinf itself goes to standard output.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
    },
}

// How verdicts are reached says nothing where there are none.
#[derive(Debug, clap::Args)]
#[command(mut_group("VerdictArgs", |group| group.requires("with")))]
pub(super) struct ReportArgs {
    /// Result files.
    #[arg(value_name = "RESULT", required = true)]
    pub(super) results: Vec<PathBuf>,

    /// Result files of the other side: the page shows both, and says what `benchinf compare` does.
    #[arg(long, value_name = "NEW", num_args = 1.., requires = "html")]
    pub(super) with: Vec<PathBuf>,

    /// Axes that differ between the sides on purpose, as `benchinf compare` has them.
    #[arg(long, value_name = "AXIS", value_delimiter = ',', requires = "with")]
    pub(super) across: Vec<String>,

    #[command(flatten, next_help_heading = "Two sides")]
    pub(super) verdicts: VerdictArgs,

    /// What standard output shows; Markdown, unless something goes to a file.
    #[arg(short, long, alias = "format", value_name = "FORMAT", value_enum)]
    pub(super) output: Option<OutputFormat>,

    /// Write one self-contained page with tables and charts: it needs no network.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,

    /// Write the Markdown tables to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) md: Option<PathBuf>,

    /// Write one line per case to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,

    /// Replace files that are there already.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Files of other tools.
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,

    /// What wrote the files: llama-bench, vllm, criterion or hyperfine. Without it, each file shows
    /// what it is.
    #[arg(long, value_name = "TOOL")]
    pub(super) from: Option<Tool>,

    /// The shape of the model that was run, built in or as a config.json: its work is counted, and
    /// its cases stand under the roofline.
    #[arg(short, long, value_name = "NAME|PATH")]
    pub(super) model: Option<String>,

    /// The imported file; without it, it goes to standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,

    /// Replace the file of --out if it exists.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ClassifyArgs {
    /// Result files. They seldom tell one device from another of its kind, so each run is a device
    /// of its own, unless --one-device says otherwise.
    #[arg(value_name = "RESULT")]
    pub(super) results: Vec<PathBuf>,

    /// All result files are of one device: the best floor that any of them proves counts. The
    /// answer says that you said so. Files that describe their machines differently are refused.
    #[arg(long)]
    pub(super) one_device: bool,

    /// Classify a device by its specification: a name of `benchinf list devices`, or a file of
    /// your own. May be given several times.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) device_spec: Vec<String>,

    /// The device that was measured, where its reported name does not tell or tells wrong.
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "no_match")]
    pub(super) r#match: Option<String>,

    /// Use no specification for what was measured.
    #[arg(long)]
    pub(super) no_match: bool,

    /// The day whose rules are asked about, such as 2023-11-17; today if not given.
    #[arg(long, value_name = "DATE", value_parser = super::classify::day)]
    pub(super) as_of: Option<jiff::civil::Date>,

    /// Every version of the rules instead of one day's, each with what had become of it by then.
    #[arg(long)]
    pub(super) timeline: bool,

    /// Rule sets of these jurisdictions only.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(super) jurisdiction: Vec<String>,

    /// Rule files, or directories of them: they add to the built-in ones, or replace those of the
    /// same id.
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) rules: Vec<PathBuf>,

    /// Look at bills as well. They are not law.
    #[arg(long)]
    pub(super) with_bills: bool,

    /// Whether the device is designed or marketed for data centres. No run can show it.
    #[arg(long, value_name = "ANSWER", value_enum)]
    pub(super) datacenter: Option<Answer>,

    /// Area of all logic dies on nodes with non-planar transistors.
    #[arg(long, value_name = "MM2", value_parser = super::classify::area)]
    pub(super) die_area: Option<f64>,

    /// Another fact, such as transistors=28e9 or is_hbm=no.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) declare: Vec<super::classify::Declaration>,

    /// Packages that the runs used, where their files do not tell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) packages: Option<u32>,

    /// Devices that share memory by hardware coherence in one computer, for adjusted peak
    /// performance; without it nothing bounds that from above.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) coherent_devices: Option<u32>,

    /// What counts as an integrated circuit, whatever rule sets say.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(super) integrated_circuit: Option<CircuitName>,

    /// Packages on a circuit board, where that counts as an integrated circuit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) packages_per_board: Option<u32>,

    /// Which devices' rooflines to print beside measured cases.
    #[arg(long, value_name = "WHICH", value_enum, default_value = "nearest")]
    pub(super) references: ReferenceRange,

    /// Classify altered files too. The answer is tainted and says so.
    #[arg(long)]
    pub(super) allow_altered: bool,

    /// What standard output shows.
    #[arg(
        short = 'o',
        long,
        alias = "output",
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub(super) format: ClassificationOutput,
}

/// What a user says of a fact.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Answer {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Nobody knows, whatever a specification says.
    Unknown,
}

/// What counts as an integrated circuit.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CircuitName {
    /// One package.
    Package,
    /// Everything on one circuit board.
    Board,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReferenceRange {
    /// Those nearest to the case.
    Nearest,
    /// All.
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ClassificationOutput {
    /// For people.
    Text,
    /// One JSON object per device and line.
    Json,
    /// A header and one line per device.
    Csv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SchemaOf {
    /// Result files.
    Result,
    /// What `classify --format json` prints.
    Classification,
    /// What `compare -o json` prints.
    Comparison,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Result files.
    #[arg(value_name = "RESULT", required = true)]
    pub(super) results: Vec<PathBuf>,

    /// Ask for a signature by the private half of this key.
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Result files: the first sets the terms.
    #[arg(value_name = "RESULT", required = true, num_args = 2..)]
    pub(super) results: Vec<PathBuf>,

    /// The merged file.
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) out: PathBuf,

    /// Replace the file of --out if it exists.
    #[arg(long)]
    pub(super) force: bool,

    /// Sign the merged file with this key, as `benchinf keygen` makes it.
    #[arg(long, value_name = "FILE")]
    pub(super) sign_key: Option<PathBuf>,

    /// What standard output shows.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "md")]
    pub(super) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(super) struct KeygenArgs {
    /// Where the private key goes; the public one goes to FILE.pub.
    #[arg(value_name = "FILE")]
    pub(super) path: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// What to list.
    #[arg(value_enum)]
    pub(super) what: Listing,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Listing {
    /// Built-in model shapes.
    Models,
    /// Devices that `--device` can name here, and the catalogue of devices.
    Devices,
    /// Built-in rule sets of `classify`.
    Rules,
    /// Metrics and columns that `benchinf explain` knows.
    Metrics,
    /// Warnings that `benchinf explain` knows.
    Warnings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    /// Markdown tables.
    Md,
    /// The result file itself.
    Json,
    /// One JSON object per case and line, in llama-bench's names.
    Jsonl,
    /// One line per case under a header, in llama-bench's names.
    Csv,
}

impl From<OutputFormat> for Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Md => Format::Md,
            OutputFormat::Json => Format::Json,
            OutputFormat::Jsonl => Format::Jsonl,
            OutputFormat::Csv => Format::Csv,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn grammar_is_consistent() {
        Args::command().debug_assert();
    }
}
