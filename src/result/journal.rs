//! The journal of a run: one line for each record, written and flushed to the disk as it happens,
//! so that a crash, a kill or a full disk loses at most the round in progress.
//!
//! A line is `{"entry":…,"sha256":…}`; its digest covers the entry's canonical form and the digest
//! of the line before, so that lines can be neither changed nor taken out of the middle. A line
//! that was cut off is no line: what was written before it counts.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::result::read::check_regular;
use crate::result::record::{Assembly, Entry, Record};

/// What a journal's name has at its end.
const SUFFIX: &str = ".journal";

/// Longest line of a journal. The first holds a whole plan, of 10,000 cases at most and some 10 MB.
const MAX_LINE_BYTES: u64 = 1 << 28;

/// Where the journal of a result file lies: beside it.
pub fn journal_path(result: &Path) -> PathBuf {
    let mut name = result.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// The result file that a journal belongs to.
pub fn result_path(journal: &Path) -> Option<PathBuf> {
    let name = journal.to_str()?.strip_suffix(SUFFIX)?;
    (!name.is_empty()).then(|| name.into())
}

#[derive(Serialize, Deserialize)]
struct Line {
    entry: Entry,
    sha256: String,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    last_sha256: String,
    /// Length up to the last whole line.
    len: u64,
    has_results: bool,
    /// Length and last digest before the turn that has begun and not ended.
    before_turn: Option<(u64, String)>,
}

impl Journal {
    /// A new journal, which must not exist yet. It is locked as long as the run lives.
    ///
    /// # Errors
    /// [`Error::JournalExists`] or [`Error::Journal`].
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |source| Error::Journal { path: path.into(), source };
        let file = loop {
            let open = OpenOptions::new().read(true).append(true).create_new(true).open(path);
            match open {
                // Until it is locked, another run may take it for one that records nothing.
                Ok(file) if is_locked_in_place(&file, path) => break file,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    if !removed_without_line(path) {
                        return Err(Error::JournalExists { path: path.into() });
                    }
                }
                Err(source) => return Err(failed(source)),
            }
        };
        // The name itself must be on the disk too.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        let last_sha256 = String::new();
        Ok(Self {
            path: path.into(),
            file,
            last_sha256,
            len: 0,
            has_results: false,
            before_turn: None,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything in it is worth going on from: a round, or that something failed.
    pub fn has_results(&self) -> bool {
        self.has_results
    }

    /// Writes a record and waits until the disk has it. That a turn begins is not waited for: it is
    /// for the case that the process ends, which what was written survives.
    ///
    /// # Errors
    /// [`Error::Journal`]; what was written before still counts.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        let value = serde_json::to_value(entry).expect("keys are strings");
        let (line, sha256) = journal_line(&self.last_sha256, &value);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| match entry.record {
            Record::Began { .. } => Ok(()),
            _ => self.file.sync_data(),
        });
        if let Err(source) = written {
            // Half a line would be dropped by any reader; without it the file is tidy as well. And a
            // turn that could not be recorded did not end the process.
            if let Some((len, sha256)) = self.before_turn.take() {
                (self.len, self.last_sha256) = (len, sha256);
            }
            let _ = self.file.set_len(self.len);
            return Err(Error::Journal { path: self.path.clone(), source });
        }
        self.before_turn = match entry.record {
            Record::Began { .. } => Some((self.len, self.last_sha256.clone())),
            Record::WarmUp { .. } => self.before_turn.take(),
            _ => None,
        };
        self.len += line.len() as u64;
        self.last_sha256 = sha256;
        self.has_results |= is_result(&entry.record);
        Ok(())
    }

    /// Removes the journal of a run whose result file is in its place.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path)
            .map_err(|source| Error::Journal { path: self.path.clone(), source })
    }
}

fn is_result(record: &Record) -> bool {
    matches!(record, Record::Round { .. } | Record::Ended { .. })
}

/// A journal's line for an entry, and the line's digest, after a line with the digest
/// `last_sha256`; that is empty for the first line.
pub fn journal_line(last_sha256: &str, entry: &serde_json::Value) -> (String, String) {
    let canonical = entry.to_string();
    let sha256 = link(last_sha256, &canonical);
    (format!("{{\"entry\":{canonical},\"sha256\":\"{sha256}\"}}\n"), sha256)
}

/// Whether a new file could be locked, and is still the one that has that name.
fn is_locked_in_place(file: &File, path: &Path) -> bool {
    !matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) && is_same_file(file, path)
}

/// Whether a name leads to an open file.
fn is_same_file(file: &File, path: &Path) -> bool {
    let opened = file.try_clone().and_then(same_file::Handle::from_file);
    opened.is_ok_and(|opened| same_file::Handle::from_path(path).is_ok_and(|now| now == opened))
}

/// Removes a journal that has not a whole line and so records no run, if nobody is writing it.
fn removed_without_line(path: &Path) -> bool {
    if !path.metadata().is_ok_and(|meta| meta.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    // From here on, whoever made it can no longer begin to write.
    if file.try_lock().is_err() {
        return false;
    }
    let mut first = Vec::new();
    let read = BufReader::new(&file).take(MAX_LINE_BYTES).read_until(b'\n', &mut first);
    let is_empty = read.is_ok() && !first.ends_with(b"\n") && first.len() < MAX_LINE_BYTES as usize;
    is_empty && is_same_file(&file, path) && std::fs::remove_file(path).is_ok()
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::JournalFile {
            path: path.into(),
            problem: "another benchinf is writing it".into(),
        }),
        // A file system without locks: nothing can be said, and nothing is lost.
        Err(std::fs::TryLockError::Error(_)) => Ok(()),
    }
}

fn link(last_sha256: &str, canonical: &str) -> String {
    hex::encode(Sha256::new().chain_update(last_sha256).chain_update(canonical).finalize())
}

/// A journal read back.
#[derive(Debug)]
pub struct Recovered {
    /// Everything that was recorded.
    pub assembly: Assembly,
    /// The journal, ready to go on; the line that was cut off is gone.
    pub journal: Journal,
}

/// Reads a journal back, to go on where it ends.
///
/// # Errors
/// [`Error::Read`], or [`Error::JournalFile`] if it was changed or holds no run.
pub fn recover(path: &Path) -> Result<Recovered> {
    check_regular(path)?;
    let mut file =
        OpenOptions::new().read(true).append(true).open(path).map_err(Error::read(path))?;
    lock(&file, path)?;
    let read = replay(BufReader::new(&file));
    let replayed = read.map_err(|problem| Error::JournalFile { path: path.into(), problem })?;
    let failed = |source| Error::Journal { path: path.into(), source };
    file.set_len(replayed.len).map_err(failed)?;
    file.seek(std::io::SeekFrom::End(0)).map_err(failed)?;
    Ok(Recovered {
        assembly: replayed.assembly,
        journal: Journal {
            path: path.into(),
            file,
            last_sha256: replayed.last_sha256,
            len: replayed.len,
            has_results: replayed.has_results,
            before_turn: None,
        },
    })
}

/// What the whole lines of a journal add up to.
#[derive(Debug)]
pub struct Replayed {
    /// The run so far.
    pub assembly: Assembly,
    last_sha256: String,
    len: u64,
    has_results: bool,
}

/// Replays a journal's lines.
///
/// # Errors
/// Which line was changed, or that there is no run in it.
pub fn replay(mut reader: impl std::io::BufRead) -> std::result::Result<Replayed, String> {
    let mut replayed: Option<Replayed> = None;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let of_line = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        let len = of_line.map_err(|e| format!("line {number}: {e}"))?;
        if len as u64 == MAX_LINE_BYTES {
            return Err(format!("line {number}: this is no journal: the line has no end"));
        }
        // Without its end, a line was cut off while it was written.
        let Some(text) = line.strip_suffix(b"\n") else { break };
        let of = |problem: String| format!("line {number}: {problem}");
        let last_sha256 = replayed.as_ref().map_or("", |replayed| &replayed.last_sha256);
        let Line { entry, sha256 } = parse_line(text, last_sha256).map_err(of)?;
        match (&mut replayed, entry) {
            (None, Entry { record: Record::Begin { file }, .. }) => {
                file.format_version.check_readable().map_err(of)?;
                let assembly = Assembly::new(*file).map_err(of)?;
                replayed =
                    Some(Replayed { assembly, last_sha256: sha256, len: 0, has_results: false });
            }
            (None, _) => return Err(of("a journal starts with the record `begin`".into())),
            (Some(replayed), entry) => {
                replayed.assembly.apply(&entry).map_err(of)?;
                replayed.last_sha256 = sha256;
                replayed.has_results |= is_result(&entry.record);
            }
        }
        if let Some(replayed) = &mut replayed {
            replayed.len += line.len() as u64;
        }
    }
    replayed.ok_or_else(|| "nothing was recorded in it: start the run anew".into())
}

fn parse_line(text: &[u8], last_sha256: &str) -> std::result::Result<Line, String> {
    let damaged = |e: serde_json::Error| format!("this is no journal, or it was changed: {e}");
    let value: serde_json::Value = serde_json::from_slice(text).map_err(damaged)?;
    let canonical = value.get("entry").map(serde_json::Value::to_string).unwrap_or_default();
    let stated = value.get("sha256").and_then(serde_json::Value::as_str);
    if stated != Some(link(last_sha256, &canonical).as_str()) {
        return Err("it was changed, or a line before it was taken out".into());
    }
    serde_json::from_value(value).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_begin_at_once_one_has_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        for n in 0..50 {
            let path = directory.path().join(n.to_string());
            // Left behind by a run that died before its first line was whole.
            if n % 2 == 0 {
                std::fs::write(&path, "{\"entry\"").unwrap();
            }
            let journals: Vec<Result<Journal>> = std::thread::scope(|scope| {
                let create = || Journal::create(&path);
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let mut held = journals.iter().filter_map(|journal| journal.as_ref().ok());
            assert!(held.next().is_some_and(|journal| is_same_file(&journal.file, &path)), "{n}");
            assert!(held.next().is_none(), "{n}");
            let refused = journals.iter().filter(|journal| journal.is_err());
            assert!(refused.clone().all(|r| matches!(r, Err(Error::JournalExists { .. }))));
        }
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let endless = std::io::repeat(b'x').take(MAX_LINE_BYTES + 5);
        let problem = replay(BufReader::new(endless)).unwrap_err();
        assert!(problem.contains("the line has no end"), "{problem}");
    }
}
