//! The grammar of all commands but those that run models.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::infer::{LogitsArgs, ProbeArgs, RunArgs};
use crate::report::Format;

const EXIT_STATUSES: &str = "\
Exit status: 0 measured; 1 a case or the engine failed, or nothing was measured; 2 the command line or a file it names \
cannot be used; 130 interrupted, what was measured is kept.";

const VERIFY_STATUSES: &str = "\
Exit status: 0 every file is intact, and signed as asked; 1 one was altered, or is not signed as asked; \
2 one is unreadable.";

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
    /// Find out whether result files are as they were written.
    #[command(after_help = VERIFY_STATUSES)]
    Verify(VerifyArgs),
    /// Add up result files of the same cases on the same class of machine, exactly.
    Merge(MergeArgs),
    /// Make a key pair for --sign-key and `verify --public-key`.
    Keygen(KeygenArgs),
    /// Print the JSON Schema of result files.
    Schema,
    /// List what is built in or present.
    List(ListArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Result files.
    #[arg(value_name = "RESULT", required = true)]
    pub(super) results: Vec<PathBuf>,

    /// What standard output shows.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "md")]
    pub(super) output: OutputFormat,
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
