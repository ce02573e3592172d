//! The one error type. Each message is a sentence without its full stop that names the path,
//! flag or key, and says what to do where there is something to do.

use std::path::PathBuf;

use crate::units::Bytes;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why axes are left out of pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Somebody asked for it, or none is.
    Asked,
    /// Files of two tools are compared by what computed.
    OtherTools,
}

impl std::fmt::Display for LeftOut {
    /// What to do where cases cannot be told apart without them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LeftOut::Asked => "leave one of them out",
            LeftOut::OtherTools => {
                "`kernels` is what files of two tools are compared by, so give it a file with one of \
                 them alone"
            }
        })
    }
}

/// Everything that can go wrong, in the user's words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--model` names neither a built-in model nor a path that exists.
    #[error(
        "unknown model `{name}`: {}`benchinf list models` shows the built-in ones, and a path may \
         name a config.json or a checkpoint directory",
        .nearest.as_ref().map(|n| format!("did you mean `{n}`? ")).unwrap_or_default()
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The built-in name closest to it, if one is close.
        nearest: Option<String>,
    },

    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file could not be written.
    #[error("cannot write {}: {source}; choose another place with --out", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The file named by `--out` is already there. Result files are never overwritten unasked.
    #[error("{} exists already: choose another --out, or add --force to replace it", path.display())]
    OutputExists {
        /// The file in the way.
        path: PathBuf,
    },

    /// A model configuration is unreadable or describes something this decoder cannot run.
    #[error("{origin}: {problem}")]
    ModelConfig {
        /// The path of the `config.json`, or the built-in name.
        origin: String,
        /// What is wrong, naming the key.
        problem: String,
    },

    /// A checkpoint file is damaged or of a kind that cannot be read.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },

    /// The checkpoint lacks a tensor that the configuration asks for.
    #[error("{}: tensor `{tensor}` is missing; the checkpoint does not match its config.json", path.display())]
    MissingTensor {
        /// The checkpoint directory.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },

    /// A tensor of the checkpoint has another shape than the configuration asks for.
    #[error("{}: tensor `{tensor}` has shape {found:?}, but config.json asks for {expected:?}", path.display())]
    TensorShape {
        /// The checkpoint file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape the configuration gives.
        expected: Vec<usize>,
    },

    /// The axes multiply to no case at all.
    #[error("nothing to run: give at least one of -p, -n or -pg a value above 0")]
    NothingToRun,

    /// An axis or option has a value that can never run.
    #[error("{flag} {value}: {problem}")]
    BadValue {
        /// The flag as typed.
        flag: &'static str,
        /// The value as typed.
        value: String,
        /// Why it cannot be used, and what can.
        problem: String,
    },

    /// The system does not run a thread where it was asked to.
    #[error("cannot keep a thread on hardware threads {cpus:?}: {problem}")]
    Affinity {
        /// Numbers of hardware threads.
        cpus: Vec<u32>,
        /// What the system said.
        problem: String,
    },

    /// A device has no kernels of ours for a shape or a format.
    #[error("--kernels fused: {problem}; use stock")]
    NoKernels {
        /// What there are none for.
        problem: String,
    },

    /// The axes multiply to more cases than one run can hold.
    #[error(
        "the axes multiply to more than {max} cases: shorten one of -m, --dtype, -t, -b, -d, -p, -n or -pg"
    )]
    TooManyCases {
        /// Most cases of one plan.
        max: usize,
    },

    /// A case needs more positions than the model has.
    #[error(
        "{case} needs {needed} positions, but {model} has {limit}: lower -d, -p or -n so that \
         their sum fits, or give fewer --tokens"
    )]
    ContextTooLong {
        /// The case's name.
        case: String,
        /// Positions it would use.
        needed: u64,
        /// The model's label.
        model: String,
        /// Positions the model has.
        limit: u64,
    },

    /// The plan needs more memory than there is.
    #[error(
        "the plan needs about {needed} of memory ({weights} weights, {cache} KV cache, {step} \
         activations of the largest case, {case}), but {present} is free: lower -b, -d or -p, or \
         choose a smaller model or --dtype"
    )]
    OutOfMemory {
        /// Total.
        needed: Bytes,
        /// Weights of all models and dtypes in the plan.
        weights: Bytes,
        /// Key and value cache of the largest case.
        cache: Bytes,
        /// Activations of the largest case.
        step: Bytes,
        /// The case that decides.
        case: String,
        /// Memory that is free.
        present: Bytes,
    },

    /// `--device cuda` on a build without CUDA.
    #[error(
        "--device {device}: this benchinf was built without CUDA; build it with `cargo build \
         --release --features cuda` on a machine with a CUDA toolkit, or use --device cpu"
    )]
    CudaNotBuilt {
        /// The device as asked for.
        device: String,
    },

    /// `--device cuda` on a machine without a driver.
    #[error(
        "--device {device}: this machine has no NVIDIA driver ({problem}); install one of CUDA 13.0 or \
         later (driver 580), or use --device cpu"
    )]
    NoCudaDriver {
        /// The device as asked for.
        device: String,
        /// What the loader said.
        problem: String,
    },

    /// `--device cuda` where a driver is, and no device.
    #[error(
        "--device {device}: there is an NVIDIA driver, but no device that it shows to this process; \
         see whether `nvidia-smi` lists one and CUDA_VISIBLE_DEVICES hides none, or use --device cpu"
    )]
    NoCudaDevice {
        /// The device as asked for.
        device: String,
    },

    /// The device cannot be opened.
    #[error("--device {device}: {problem}")]
    DeviceUnavailable {
        /// The device as asked for.
        device: String,
        /// What the driver said.
        problem: String,
    },

    /// A build without the feature `infer` was asked to run a model.
    #[error(
        "this benchinf was built without the feature `infer` and cannot run models; build it with \
         default features"
    )]
    InferNotBuilt,

    /// A result file cannot be read or is of a version this build does not know.
    #[error("{}: {problem}", path.display())]
    ResultFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The journal of a run cannot be written.
    #[error(
        "cannot write the journal {}: {source}; what was measured before is kept in it, and \
         `benchinf run --resume {}` goes on from there once that is mended",
        path.display(), path.display()
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A run was measured, but its result file could not be written.
    #[error(
        "{source}; everything measured is kept in {}: `benchinf run --resume {} --out FILE` writes \
         it elsewhere",
        journal.display(), journal.display()
    )]
    ResultNotWritten {
        /// The journal.
        journal: PathBuf,
        /// What was wrong.
        source: Box<Error>,
    },

    /// A run to the same file was cut off, and its journal is still there.
    #[error(
        "{} is there already, from a run that was cut off: go on with `benchinf run --resume {}`, \
         or remove it",
        path.display(), path.display()
    )]
    JournalExists {
        /// The journal.
        path: PathBuf,
    },

    /// A journal cannot be used.
    #[error("{}: {problem}", path.display())]
    JournalFile {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A run cannot be taken up again here.
    #[error("cannot resume {}: {problem}", path.display())]
    CannotResume {
        /// The journal.
        path: PathBuf,
        /// What has changed, and what to do.
        problem: String,
    },

    /// A key file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A key is already there. Keys are never replaced.
    #[error("{} exists already: choose another place for the key", path.display())]
    KeyExists {
        /// The file in the way.
        path: PathBuf,
    },

    /// `merge` without files.
    #[error("nothing to merge: name two result files at least")]
    NothingToMerge,

    /// Result files cannot be merged.
    #[error("cannot merge {} with {}: {problem}", first.display(), other.display())]
    CannotMerge {
        /// The file that sets the terms.
        first: PathBuf,
        /// The file that does not meet them.
        other: PathBuf,
        /// The field that differs, or what else is wrong.
        problem: String,
    },

    /// A run is in two files of one side of a comparison.
    #[error(
        "{} and {} hold the same run, {run}: its rounds would count twice",
        first.display(), other.display()
    )]
    RunTwice {
        /// The file that has it.
        first: PathBuf,
        /// The file that has it as well.
        other: PathBuf,
        /// The run's id.
        run: String,
    },

    /// Two sides have nothing in common that could be compared.
    #[error("there is nothing to compare: {problem}")]
    NothingToCompare {
        /// Why, and what is nearest.
        problem: String,
    },

    /// Cases of one side cannot be told apart by the axes that they are paired by.
    #[error(
        "{first} and {other} of the {side} side are the same case{}: {cause}",
        if across.is_empty() { String::new() } else { format!(" without {across}") }
    )]
    AmbiguousPair {
        /// The side.
        side: &'static str,
        /// A case.
        first: String,
        /// Another one.
        other: String,
        /// The axes that are left out; empty where there are none.
        across: String,
        /// Why they are, and so what to do.
        cause: LeftOut,
    },

    /// `--across` names an axis that cases do not have.
    #[error("--across {axis}: there is no such axis; cases have {known}")]
    NoSuchAxis {
        /// What was asked for.
        axis: String,
        /// Those that there are.
        known: String,
    },

    /// No baseline of a name was saved.
    #[error(
        "there is no baseline `{name}` ({}): save one with `benchinf run --save-baseline {name}`",
        path.display()
    )]
    NoBaseline {
        /// The name.
        name: String,
        /// Where it would lie.
        path: PathBuf,
    },

    /// `ab` was asked to compare an arm with itself.
    #[error(
        "both arms are the same: give --base or --new arguments of their own, or --base-bin or \
         --new-bin; --noise-floor measures the base against itself before"
    )]
    SameArms,

    /// Arguments of an arm cannot be used.
    #[error("{flag}: {problem}")]
    ArmArguments {
        /// Which.
        flag: &'static str,
        /// What is wrong with them.
        problem: String,
    },

    /// A session of an arm left nothing to compare.
    #[error("a session of the {arm} arm failed: {problem}")]
    ArmFailed {
        /// Which arm.
        arm: &'static str,
        /// What happened, with the session's own last words.
        problem: String,
    },

    /// The user stopped a command that keeps nothing.
    #[error("interrupted")]
    Interrupted,

    /// A file that must be intact is not.
    #[error("{}: it was altered since it was written ({}); see `benchinf verify`", path.display(), records.join(", "))]
    Altered {
        /// The file.
        path: PathBuf,
        /// What was.
        records: Vec<String>,
    },

    /// A rule file is not what it should be.
    #[error(
        "{origin}{}: {}{problem}",
        if *line > 0 { format!(":{line}") } else { String::new() },
        if key.is_empty() { String::new() } else { format!("{key}: ") }
    )]
    RuleFile {
        /// The file, or the name of an embedded one.
        origin: String,
        /// The line, counted from 1; 0 where the file as a whole is meant.
        line: usize,
        /// The key; empty where there is none.
        key: String,
        /// What is wrong.
        problem: String,
    },

    /// Rule sets were asked for that there are none of.
    #[error("{flag} {value}: {problem}")]
    NoRules {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What there is instead.
        problem: String,
    },

    /// A result file that proves nothing was to be classified.
    #[error(
        "{}: it has no existence claims, so it proves nothing to classify; measure again with this \
         benchinf, or classify a specification with --device-spec",
        path.display()
    )]
    NoClaims {
        /// The file.
        path: PathBuf,
    },

    /// A merged file whose runs may be of several devices, to be classified as one.
    #[error(
        "{} is merged from {n_runs} runs, and nothing in it shows that they were of one device: \
         classify the files of the runs, or say that it was one with --one-device",
        path.display()
    )]
    PerhapsSeveralDevices {
        /// The file.
        path: PathBuf,
        /// How many runs went into it.
        n_runs: usize,
    },

    /// Files that are said to be of one device and cannot be.
    #[error(
        "--one-device: {} and {} cannot be of one device: {fact}; leave --one-device out, and each is \
         a device of its own",
        first.display(),
        other.display()
    )]
    NotOneDevice {
        /// The first file.
        first: PathBuf,
        /// The one that differs.
        other: PathBuf,
        /// What differs.
        fact: String,
    },

    /// `classify` without anything to classify.
    #[error("nothing to classify: name a result file, or a device with --device-spec")]
    NothingToClassify,

    /// A device file is not what it should be.
    #[error("{}:{line}: {problem}", path.display())]
    DeviceFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, naming device and key.
        problem: String,
    },

    /// No device of the catalogue has that name.
    #[error(
        "unknown device `{name}`: {}`benchinf list devices` shows the catalogue",
        did_you_mean(nearest)
    )]
    UnknownCatalogueDevice {
        /// What was asked for.
        name: String,
        /// The names closest to it, if any are close.
        nearest: Vec<String>,
    },

    /// Nothing that has a definition is called that.
    #[error(
        "nothing is called `{name}`: {}`benchinf list metrics` and `benchinf list warnings` show what \
         has a definition",
        did_you_mean(nearest)
    )]
    UnknownTerm {
        /// What was asked for.
        name: String,
        /// The names closest to it, if any are close.
        nearest: Vec<String>,
    },

    /// More than one device of the catalogue may be meant.
    #[error("the device `{name}` may be any of {}: give the full name", quoted(candidates, "and"))]
    AmbiguousDevice {
        /// What was asked for.
        name: String,
        /// The devices' full names.
        candidates: Vec<String>,
    },

    /// A file of another tool cannot be imported.
    #[error(
        "{}{}: {problem}",
        path.display(),
        if at.is_empty() { String::new() } else { format!(", {at}") }
    )]
    Import {
        /// The file.
        path: PathBuf,
        /// The line or key; empty where the file as a whole is meant.
        at: String,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// Something failed while a model was loaded or run.
    #[error("{operation}: {source}")]
    Engine {
        /// What was being done.
        operation: String,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The weights of some cases could not be put on a device, for want of memory most likely.
    #[error("its weights could not be loaded: {reason}")]
    NotLoaded {
        /// What the engine said.
        reason: String,
    },

    /// A run computed something that no working model computes.
    #[error("output check: {count} of {of} logits are NaN or infinite")]
    OutputNotFinite {
        /// Logits that are not finite.
        count: usize,
        /// Logits looked at.
        of: usize,
    },

    /// A pass computed something else than its reference.
    #[error(
        "output check: off by {error:.2e} of the largest value, more than rounding explains \
         ({tolerance:.0e}), from {reference}"
    )]
    OutputWrong {
        /// What it was held against.
        reference: &'static str,
        /// Largest difference by largest value.
        error: f64,
        /// What rounding explains.
        tolerance: f64,
    },

    /// A token id outside the vocabulary was given to `logits`.
    #[error("--tokens: id {token} is not below the vocabulary size {vocab_size} of {model}")]
    TokenOutOfRange {
        /// The offending id.
        token: u32,
        /// Number of ids the model knows.
        vocab_size: usize,
        /// The model's label.
        model: String,
    },

    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[source] std::io::Error),
}

impl Error {
    /// A [`Error::Read`] for `path`.
    pub fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Read { path, source }
    }

    /// A [`Error::Write`] for `path`.
    pub fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Write { path, source }
    }

    /// An [`Error::Engine`] that says what was being done.
    pub fn engine<E>(operation: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let operation = operation.into();
        move |source| Error::Engine { operation, source: without_backtrace(source) }
    }
}

/// What an error of the engine says. Where `RUST_BACKTRACE` is set it goes on with a backtrace, which
/// would stand in the middle of a row's reason and in the result file.
fn without_backtrace<E>(error: E) -> Box<dyn std::error::Error + Send + Sync>
where
    E: std::error::Error + Send + Sync + 'static,
{
    /// How the first frame of a backtrace is printed, by std.
    const FIRST_FRAME: &str = "\n   0: ";
    match error.to_string().split_once(FIRST_FRAME) {
        Some((said, _)) => said.into(),
        None => Box::new(error),
    }
}

fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("did you mean {}? ", quoted(names, "or")),
    }
}

/// `a`, `b` or `c`.
fn quoted(names: &[String], last: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((end, start)) if !start.is_empty() => format!("{} {last} {end}", start.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_engine_says_is_one_sentence() {
        let backtrace = Backtrace::force_capture();
        let traced = std::io::Error::other(format!("the block is odd\n{backtrace}"));
        assert!(traced.to_string().lines().count() > 2, "else nothing is tested");
        let error = Error::engine("quantising weights")(traced);
        assert_eq!(error.source().unwrap().to_string(), "the block is odd");
        let other = Error::engine("opening")(std::io::Error::other("the lid is stuck"));
        assert_eq!(other.source().unwrap().to_string(), "the lid is stuck");
    }
}
