//! All tests that see benchinf from outside, in one binary. Where to put a new one:

/// Bad input of every kind, each with its message.
#[cfg(feature = "infer")]
mod bad_input;
/// What `benchinf classify` answers.
mod classification;
/// What the command line answers: exit status, standard output, files left behind.
#[cfg(feature = "infer")]
mod commands;
/// What `benchinf compare` says of two sides, and when it says nothing.
mod comparison;
/// What must hold inside the decoder, whatever the weights.
#[cfg(feature = "infer")]
mod decoder;
/// Result files of every version ever written are still read.
mod fixtures;
/// Our logits against transformers', from `tests/data/golden`.
#[cfg(feature = "infer")]
mod golden;
/// The rules of the house: who may import whom, where `unsafe` and printing may stand.
mod house;
/// What `benchinf import` makes of other tools' files.
mod importing;
/// What `benchinf list` shows.
mod listing;
/// Pages of results.
mod pages;

/// Result files with the rounds that a test wants.
mod made;
/// Result files that survive: digests, signatures, merging, the schema, and runs that were killed.
#[cfg(feature = "infer")]
mod trust;
/// Two arms in turns, and baselines.
#[cfg(feature = "infer")]
mod turns;

use std::path::PathBuf;

/// A fresh command in a fresh directory.
struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("the system has a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `benchinf` with arguments split at spaces, to run in this directory.
    fn benchinf(&self, args: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_benchinf"));
        command.current_dir(self.directory.path()).args(args.split_whitespace());
        command
    }

    /// Names of everything that lies in this directory, sorted.
    #[cfg(feature = "infer")]
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = walk(self.directory.path())
            .iter()
            .map(|p| p.strip_prefix(self.directory.path()).unwrap_or(p).display().to_string())
            .collect();
        names.sort();
        names
    }
}

/// Every file under `directory`.
fn walk(directory: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("the directory can be read").path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

/// A path inside this repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
