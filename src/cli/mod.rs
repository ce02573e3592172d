//! The command line: the grammar, and one thin file per command. A command parses, calls the
//! library and prints; whatever it can do, the library can do.

mod ab;
mod args;
mod baseline;
mod classify;
mod compare;
mod exit;
mod import;
#[cfg(feature = "infer")]
mod infer;
#[cfg(not(feature = "infer"))]
#[path = "infer_absent.rs"]
mod infer;
mod interrupt;
mod keygen;
mod list;
mod man;
mod merge;
mod report;
mod verify;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::error::{Error, Result};
use crate::report::Format;
use args::{Args, Command, SchemaOf};

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
    infer::limit_instructions()?;
    match args.command.unwrap_or(Command::Run(args.run)) {
        Command::Run(args) => infer::run(*args),
        Command::Probe(args) => infer::probe(*args),
        Command::Logits(args) => infer::logits(args),
        Command::Verify(args) => verify::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Classify(args) => classify::run(*args),
        Command::Compare(args) => compare::run(args),
        Command::Ab(args) => ab::run(*args),
        Command::Schema { of } => {
            print(&match of {
                SchemaOf::Result => crate::result::schema(),
                SchemaOf::Classification => crate::classify::schema(),
                SchemaOf::Comparison => crate::compare::schema(),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Report(args) => report::run(args),
        Command::Import(args) => import::run(&args),
        Command::List(args) => list::run(args),
        Command::Explain { names } => {
            let explained = names.iter().map(|name| crate::report::explain(name));
            print(&explained.collect::<Result<Vec<_>>>()?.join("\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { out_dir } => man::run(out_dir),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "benchinf", &mut script);
            print_bytes(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A line on standard error. Nobody can be told when it cannot be written.
fn say(line: &str) {
    let lines: Vec<String> = line.lines().map(plain).collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}

/// Text without the control characters that a file may smuggle in.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The arguments as typed, after the program's name: where it is installed is nobody's business.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("benchinf".to_owned()).chain(arguments).collect()
}

/// Data goes to standard output, whole, and a failure to take it is an error.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// A report goes to standard output in the format asked for; on a terminal Markdown is shown with
/// bars, and with colours unless `NO_COLOR` or the like says no.
fn print_report(
    format: Format,
    text: impl Fn(Format) -> Result<String>,
    shown: impl Fn() -> String,
) -> Result<()> {
    let stdout = std::io::stdout();
    if format != Format::Md || !stdout.is_terminal() {
        return print(&text(format)?);
    }
    let mut stream = anstream::AutoStream::auto(stdout.lock());
    stream.write_all(shown().as_bytes()).and_then(|()| stream.flush()).map_err(Error::Stdout)
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::Stdout)
}
