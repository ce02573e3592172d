//! Two arms measured in turns, A B B A …, each session in a process of its own, so that drift of the
//! machine falls on both and what differs from process to process is in the result. It starts
//! processes and waits for them; what they measured is compared by [`crate::compare`].

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::compare::judge::ERROR_RATE;
use crate::compare::{Asked, rank};
use crate::error::{Error, Result};
use crate::result;
use crate::result::file::OutcomeFile;

/// Sessions of each arm at least, unless the user says how many.
const MIN_SESSIONS: usize = 6;

/// Sessions beyond those without which nothing could be shown, so that not every one of an arm must
/// be on the same side of all of the other's.
const SPARE_SESSIONS: usize = 2;

/// How often a child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked at after it was asked to end, before it is killed: five seconds.
const LOOKS_BEFORE_KILL: u32 = 250;

/// Flags that would keep a session from leaving its result where it is looked for.
const TAKEN_FLAGS: [&str; 6] =
    ["--out", "--resume", "--dry-run", "--save-baseline", "--baseline", "--force"];

/// Axes, and the flags of `benchinf run` that name them.
const AXIS_FLAGS: [(&str, &[&str]); 10] = [
    ("model", &["-m", "--model"]),
    ("dtype", &["--dtype"]),
    ("device", &["--device"]),
    ("kernels", &["--kernels"]),
    ("cuda_graphs", &["--cuda-graphs"]),
    ("n_threads", &["-t", "--threads"]),
    ("n_prompt", &["-p", "--n-prompt", "--input-len", "--isl", "-pg", "--pg"]),
    ("n_gen", &["-n", "--n-gen", "--output-len", "--osl", "-pg", "--pg"]),
    ("n_depth", &["-d", "--n-depth"]),
    ("batch_size", &["-b", "--batch-size"]),
];

/// One of the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its name, which its files have too.
    pub name: &'static str,
    /// The benchinf that runs it.
    pub program: PathBuf,
    /// Arguments of `benchinf run`.
    pub args: Vec<OsString>,
}

/// Which axes the arms were told to differ in. Arms of one program differ in nothing but what they
/// were told; two programs may have other defaults.
pub fn asked(arms: &[Arm; 2]) -> Asked {
    if arms[0].program == arms[1].program {
        return Asked::All;
    }
    let names = |arm: &Arm, flags: &[&str]| {
        let mut args = arm.args.iter().filter_map(|arg| arg.to_str());
        args.any(|arg| flags.iter().any(|flag| names(arg, flag)))
    };
    let by_both = AXIS_FLAGS.into_iter().filter(|(_, f)| arms.iter().all(|arm| names(arm, f)));
    Asked::Named(by_both.map(|(axis, _)| axis).collect())
}

/// Whether an argument is that flag, with or without its value.
fn names(arg: &str, flag: &str) -> bool {
    match arg.strip_prefix(flag) {
        Some("") => true,
        Some(rest) if flag.starts_with("--") => rest.starts_with('='),
        // `-p16`, but not `-pg`.
        Some(rest) => rest.starts_with(|c: char| c == '=' || flag == "-m" || c.is_ascii_digit()),
        None => false,
    }
}

/// How many sessions each arm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// So many.
    Exactly(usize),
    /// As many as the number of cases asks for, and six at least.
    Enough,
}

impl Sessions {
    /// How many, for a family of `n_cases`.
    pub fn of_each(self, n_cases: usize) -> usize {
        match self {
            Sessions::Exactly(n) => n,
            Sessions::Enough => {
                let wanted = rank::size_wanted(ERROR_RATE / n_cases.max(1) as f64);
                MIN_SESSIONS.max(wanted + SPARE_SESSIONS)
            }
        }
    }
}

/// A session that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Of which arm.
    pub arm: &'static str,
    /// The how many-th session of all, from 1.
    pub n: usize,
    /// Of how many.
    pub of: usize,
}

/// Which arm's turn it is: A B B A A B B A …
pub fn turn(n: usize) -> usize {
    usize::from(matches!(n % 4, 1 | 2))
}

/// That arguments leave the result to us.
///
/// # Errors
/// [`Error::ArmArguments`].
pub fn check_args(flag: &'static str, args: &[String]) -> Result<()> {
    match args.iter().find(|arg| TAKEN_FLAGS.iter().any(|taken| names(arg, taken))) {
        Some(arg) => Err(Error::ArmArguments {
            flag,
            problem: format!("`{arg}` is not for a session: `ab` says itself where results go"),
        }),
        None => Ok(()),
    }
}

/// Measures both arms in turns and gives their result files, which lie in `directory`.
///
/// # Errors
/// [`Error::ArmFailed`] if a session leaves no result, [`Error::Interrupted`], that a file is in the
/// way, or what `check` says of the first file of both arms: that they have nothing in common, for
/// instance.
pub fn measure(
    arms: &[Arm; 2],
    sessions: Sessions,
    directory: &Path,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(Begun),
    check: &dyn Fn(&[Vec<PathBuf>; 2]) -> Result<()>,
) -> Result<[Vec<PathBuf>; 2]> {
    std::fs::create_dir_all(directory).map_err(Error::write(directory))?;
    let mut files: [Vec<PathBuf>; 2] = Default::default();
    // Until the first session tells how many cases there are.
    let mut of_each = sessions.of_each(1);
    let mut n = 0;
    while n < 2 * of_each {
        let arm_idx = turn(n);
        let arm = &arms[arm_idx];
        let path = directory.join(format!("{}-{}.json", arm.name, files[arm_idx].len() + 1));
        if path.exists() {
            return Err(Error::OutputExists { path });
        }
        watch(Begun { arm: arm.name, n: n + 1, of: 2 * of_each });
        session(arm, &path, interrupted)?;
        if n == 0 {
            of_each = sessions.of_each(n_measured(&path)?);
        }
        files[arm_idx].push(path);
        n += 1;
        if n == 2 {
            // Before the time of all others is spent.
            check(&files)?;
        }
    }
    Ok(files)
}

/// Cases that were measured.
fn n_measured(path: &Path) -> Result<usize> {
    let file = result::read(path)?;
    Ok(file.cases.iter().filter(|case| case.outcome == OutcomeFile::Measured).count())
}

/// Runs a session to its end. What an interrupted one leaves behind is removed.
///
/// # Errors
/// [`Error::ArmFailed`] if it leaves no result, or [`Error::Interrupted`].
pub fn session(arm: &Arm, path: &Path, interrupted: &AtomicBool) -> Result<()> {
    let failed = |problem: String| Error::ArmFailed { arm: arm.name, problem };
    // A pipe that nobody reads would stop a child that has much to say.
    let mut said = tempfile::tempfile().map_err(|e| failed(e.to_string()))?;
    let stderr = said.try_clone().map_err(|e| failed(e.to_string()))?;
    let mut child = Command::new(&arm.program)
        .arg("run")
        .args(&arm.args)
        .args(["--quiet", "--output", "json", "--out"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|e| failed(format!("{} cannot be started: {e}", arm.program.display())))?;
    let status = match wait(&mut child, interrupted) {
        Ok(status) => status,
        Err(error) => {
            remove_leftovers(path);
            return Err(error);
        }
    };
    if path.exists() {
        // A case of it may have failed, which the comparison says.
        return Ok(());
    }
    remove_leftovers(path);
    Err(failed(format!("it ended with {status} and left no result: {}", last_words(&mut said))))
}

/// Waits for a child, and ends it when the user wants to stop.
fn wait(child: &mut Child, interrupted: &AtomicBool) -> Result<std::process::ExitStatus> {
    let mut looks_left = None;
    loop {
        match child.try_wait() {
            Ok(Some(_)) if interrupted.load(Ordering::Relaxed) => return Err(Error::Interrupted),
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(e) => return Err(Error::engine("waiting for a session")(e)),
        }
        if interrupted.load(Ordering::Relaxed) {
            // Ctrl-C reaches the whole group of processes, but a signal may have come to us alone.
            match looks_left {
                None => {
                    ask_to_end(child);
                    looks_left = Some(LOOKS_BEFORE_KILL);
                }
                Some(0) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error::Interrupted);
                }
                Some(n) => looks_left = Some(n - 1),
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(unix)]
fn ask_to_end(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Elsewhere a child can only be killed, which follows.
#[cfg(not(unix))]
fn ask_to_end(_: &Child) {}

fn remove_leftovers(path: &Path) {
    for path in [path.to_owned(), result::journal_path(path)] {
        let _ = std::fs::remove_file(path);
    }
}

/// The end of what a child said.
fn last_words(said: &mut File) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const LONGEST: u64 = 4_000;
    let mut bytes = Vec::new();
    let length = said.seek(SeekFrom::End(0)).unwrap_or(0);
    let begin = said.seek(SeekFrom::Start(length.saturating_sub(LONGEST)));
    let _ = begin.and_then(|_| said.take(LONGEST).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let words = text.trim().trim_start_matches("error: ");
    if words.is_empty() { "it said nothing".into() } else { words.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_take_turns_so_that_drift_falls_on_both() {
        let order: String = (0..12).map(|n| ["A", "B"][turn(n)]).collect();
        assert_eq!(order, "ABBAABBAABBA");
        // Over whole blocks of four, places of both arms have the same sum.
        let sum = |arm| (0..24).filter(|n| turn(*n) == arm).sum::<usize>();
        assert_eq!(sum(0), sum(1));
    }

    #[test]
    fn sessions_grow_with_cases() {
        for (n_cases, n) in [(0, 6), (1, 6), (2, 7), (6, 7), (20, 8), (1000, 11)] {
            assert_eq!(Sessions::Enough.of_each(n_cases), n, "{n_cases}");
        }
        assert_eq!(Sessions::Exactly(4).of_each(20), 4);
    }

    #[test]
    fn axes_are_asked_for_where_both_arms_name_them() {
        let arm = |program: &str, args: &str| Arm {
            name: "base",
            program: program.into(),
            args: args.split_whitespace().map(OsString::from).collect(),
        };
        for (base, new, axes) in [
            ("--dtype f32", "--dtype=bf16", &["dtype"][..]),
            ("--dtype f32", "", &[]),
            ("--dtypes f32", "--dtype bf16", &[]),
            ("-m tiny -p16 -n 0", "-mtiny --isl 16 -n8", &["model", "n_gen", "n_prompt"]),
            ("-pg 8,8", "-pg 8,8", &["n_gen", "n_prompt"]),
            ("-pg 8,8", "-p 8", &["n_prompt"]),
            ("-t 1 -d 0 -b 1", "-t2 -d1 -b2", &["batch_size", "n_depth", "n_threads"]),
        ] {
            let asked_for = asked(&[arm("a", base), arm("b", new)]);
            assert_eq!(asked_for, Asked::Named(axes.iter().copied().collect()), "{base} | {new}");
        }
        assert_eq!(asked(&[arm("a", ""), arm("a", "--dtype f32")]), Asked::All);
    }

    #[test]
    fn arguments_that_are_ours_are_refused() {
        let check = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            check_args("--base", &args)
        };
        assert!(check("-m tiny -p 16 --min-time 1ms").is_ok());
        for args in ["--out x", "--out=x", "-m tiny --resume x", "--baseline main", "--dry-run"] {
            let message = check(args).unwrap_err().to_string();
            assert!(message.starts_with("--base: `"), "{message}");
        }
    }
}
