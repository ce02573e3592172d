//! `benchinf ab`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::value_parser;

use super::compare::{ComparisonOutput, JudgingArgs};
use super::infer::with_long_requests;
use crate::ab::{self, Arm, Begun, Sessions};
use crate::compare::{self, Across, Comparison, DifferenceKind, Options, Replicate};
use crate::error::{Error, Result};
use crate::report::{ComparisonFormat, render_comparison};

/// A change is shown by sessions of both arms that take turns, each in a process of its own: A B B A …
#[derive(Debug, clap::Args)]
pub(super) struct AbArgs {
    /// Arguments of `benchinf run` for the base alone, such as '--kernels stock'.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, default_value = "")]
    base: String,

    /// Arguments of `benchinf run` for the new arm alone.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, default_value = "")]
    new: String,

    /// The benchinf that runs the base [default: this one].
    #[arg(long, value_name = "PATH")]
    base_bin: Option<PathBuf>,

    /// The benchinf that runs the new arm [default: this one].
    #[arg(long, value_name = "PATH")]
    new_bin: Option<PathBuf>,

    /// Sessions of each arm [default: as many as the cases ask for, 6 at least].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1000))]
    sessions: Option<u32>,

    /// Measure the base against itself before, to see what passes for a change here.
    #[arg(long)]
    noise_floor: bool,

    /// Keep the sessions' result files here.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    #[command(flatten)]
    judging: JudgingArgs,

    /// What standard output shows.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: ComparisonOutput,

    /// No progress on standard error.
    #[arg(short, long)]
    quiet: bool,

    /// Arguments of `benchinf run` for both arms.
    #[arg(value_name = "ARGS", last = true)]
    common: Vec<String>,
}

pub(super) fn run(args: AbArgs) -> Result<ExitCode> {
    if (&args.base, &args.base_bin) == (&args.new, &args.new_bin) {
        return Err(Error::SameArms);
    }
    let base = arm("base", "--base", &args.base, args.base_bin.as_ref(), &args.common)?;
    let new = arm("new", "--new", &args.new, args.new_bin.as_ref(), &args.common)?;
    // Gone with everything in it when this function ends, however it does.
    let scratch;
    let directory = match &args.out_dir {
        Some(directory) => directory.as_path(),
        None => {
            scratch = tempfile::tempdir().map_err(Error::write(std::env::temp_dir()))?;
            scratch.path()
        }
    };
    let interrupted = super::interrupt::stop_on_ctrl_c()?;
    let format = ComparisonFormat::from(args.output);
    if args.noise_floor {
        let directory = directory.join("noise-floor");
        // Whether the arms have anything in common should not wait for the noise floor. Of what shows
        // it nothing is kept: it is no session of either.
        let scratch = tempfile::tempdir().map_err(Error::write(std::env::temp_dir()))?;
        let rehearsed = [&base, &new].map(|arm| scratch.path().join(format!("{}.json", arm.name)));
        for (arm, path) in [&base, &new].into_iter().zip(&rehearsed) {
            tell(&args, &format!("rehearsal: {}", arm.name));
            ab::session(arm, path, &interrupted)?;
        }
        let options = options(&args, &[base.clone(), new.clone()]);
        check(&rehearsed.map(|path| vec![path]), &options)?;
        let again = Arm { name: "again", ..base.clone() };
        let floor = session(&args, [base.clone(), again], &directory, &interrupted)?;
        tell_noise_floor(&floor, format)?;
    }
    let comparison = session(&args, [base, new], directory, &interrupted)?;
    super::print(&render_comparison(&comparison, format))?;
    if args.out_dir.is_some() {
        super::say(&format!("result files: {}", directory.display()));
    }
    Ok(args.judging.exit_code(&comparison))
}

fn arm(
    name: &'static str,
    flag: &'static str,
    own: &str,
    program: Option<&PathBuf>,
    common: &[String],
) -> Result<Arm> {
    let own = shell_words::split(own)
        .map_err(|e| Error::ArmArguments { flag, problem: format!("`{own}`: {e}") })?;
    ab::check_args(flag, &own)?;
    ab::check_args("--", common)?;
    let program = match program {
        // A bare name would be looked for elsewhere.
        Some(path) => path.canonicalize().map_err(Error::read(path))?,
        None => std::env::current_exe().map_err(Error::engine("finding this program"))?,
    };
    let args = common.iter().chain(&own).map(OsString::from);
    Ok(Arm { name, program, args: with_long_requests(args) })
}

/// Measures both arms and compares what they left.
fn session(
    args: &AbArgs,
    arms: [Arm; 2],
    directory: &Path,
    interrupted: &AtomicBool,
) -> Result<Comparison> {
    let sessions = args.sessions.map_or(Sessions::Enough, |n| Sessions::Exactly(n as usize));
    let mut watch = |begun: Begun| {
        tell(args, &format!("session {} of {}: {}", begun.n, begun.of, begun.arm));
    };
    let options = options(args, &arms);
    let check = |files: &[Vec<PathBuf>; 2]| check(files, &options);
    let [base, new] = ab::measure(&arms, sessions, directory, interrupted, &mut watch, &check)?;
    let (mut base, mut new) = compare::read_sides(&base, &new)?;
    if args.out_dir.is_none() {
        // Where they lay is of no use to anyone: they are gone when the comparison is read.
        for input in base.iter_mut().chain(&mut new) {
            input.path = input.path.file_name().map_or_else(PathBuf::new, PathBuf::from);
        }
    }
    compare::compare(&base, &new, &options)
}

fn options(args: &AbArgs, arms: &[Arm; 2]) -> Options {
    // What the arms were told to differ in is what is compared.
    let mut options = args.judging.options(Across::Constant(ab::asked(arms)));
    // Also of a single session, whose rounds would know nothing of the next one's.
    options.replicate = Some(Replicate::Run);
    if arms[0].program != arms[1].program {
        options.allowed.insert(DifferenceKind::Tool);
    }
    options
}

/// That files of both arms have something in common.
fn check([base, new]: &[Vec<PathBuf>; 2], options: &Options) -> Result<()> {
    let (base, new) = compare::read_sides(base, new)?;
    compare::compare(&base, &new, options).map(drop)
}

fn tell(args: &AbArgs, line: &str) {
    if !args.quiet {
        super::say(line);
    }
}

/// The base against itself. Only one comparison is JSON, so the other goes to people.
fn tell_noise_floor(floor: &Comparison, format: ComparisonFormat) -> Result<()> {
    let title = "Noise floor: the base against itself";
    match format {
        ComparisonFormat::Text => {
            super::print(&format!("{title}\n\n{}\n", render_comparison(floor, format)))?;
        }
        ComparisonFormat::Md => {
            super::print(&format!(
                "## {title}\n\n{}\n## The comparison\n\n",
                render_comparison(floor, format)
            ))?;
        }
        ComparisonFormat::Json => {
            super::say(&format!("{title}\n\n{}", render_comparison(floor, ComparisonFormat::Text)));
        }
    }
    if floor.counts.faster + floor.counts.slower > 0 {
        super::say(
            "warning: the base differs from itself, so this machine may make changes where there are \
             none (one family in twenty does so by chance): do not trust the verdicts below; quieten \
             it, or give it more --sessions",
        );
    }
    Ok(())
}
