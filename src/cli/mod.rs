//! The command line: the grammar, and one thin file per command. A command parses, calls the
//! library and prints; whatever it can do, the library can do.

mod args;
mod exit;
#[cfg(feature = "infer")]
mod infer;
#[cfg(not(feature = "infer"))]
#[path = "infer_absent.rs"]
mod infer;
mod list;
mod report;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::error::{Error, Result};
use args::{Args, Command};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = Args::parse_from(infer::with_long_requests(std::env::args_os()));
    match dispatch(args) {
        Ok(code) => code,
        // Whoever read the output has seen enough: not an error.
        Err(Error::Stdout(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            exit::code_of(&error)
        }
    }
}

fn dispatch(args: Args) -> Result<ExitCode> {
    match args.command.unwrap_or(Command::Run(args.run)) {
        Command::Run(args) => infer::run(*args),
        Command::Logits(args) => infer::logits(args),
        Command::Report(args) => report::run(args),
        Command::List(args) => list::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "benchinf", &mut script);
            print_bytes(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A line on standard error, without the control characters that a file's text may smuggle in.
/// Nobody can be told when it cannot be written.
fn say(line: &str) {
    let line: String =
        line.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Data goes to standard output, whole, and a failure to take it is an error.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::Stdout)
}
