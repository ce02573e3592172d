//! Writing a result file whole or not at all, and reading one back.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::histogram::{self, Histogram};
use crate::result::FormatVersion;
use crate::result::file::{CaseFile, ResultFile};

/// Where a result file will go: checked before the run, written after it.
#[derive(Clone, Debug)]
pub struct Destination {
    path: PathBuf,
    replace: bool,
}

impl Destination {
    /// Makes sure that `path` can be written, creating its directory. Unless `replace` is set,
    /// a file that is already there is an error.
    ///
    /// # Errors
    /// [`Error::OutputExists`] or [`Error::Write`].
    pub fn prepare(path: PathBuf, replace: bool) -> Result<Self> {
        if path.exists() && !path.is_file() {
            // Renaming over a device or a pipe would remove it.
            let source = std::io::Error::other("it is not a regular file");
            return Err(Error::Write { path, source });
        }
        if !replace && path.exists() {
            return Err(Error::OutputExists { path });
        }
        let directory = directory(&path);
        std::fs::create_dir_all(directory).map_err(Error::write(&path))?;
        // Dropped at once: only a try shows what permissions, mounts and quotas allow.
        tempfile::NamedTempFile::new_in(directory).map_err(Error::write(&path))?;
        Ok(Self { path, replace })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `result` beside its place, flushes it to the disk, and renames it into place.
    ///
    /// # Errors
    /// [`Error::Write`], and nothing is left behind; or [`Error::OutputExists`] if a file has
    /// appeared since.
    pub fn write(&self, result: &ResultFile) -> Result<()> {
        let failed = || Error::write(&self.path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".benchinf-");
        // A temporary file is private by default; a result is for others to read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(directory(&self.path)).map_err(failed())?;
        // Through the file itself: the wrapper's errors name the temporary path.
        file.as_file_mut().write_all(to_json(result).as_bytes()).map_err(failed())?;
        file.as_file().sync_all().map_err(failed())?;
        let persisted = match self.replace {
            true => file.persist(&self.path),
            false => file.persist_noclobber(&self.path),
        };
        match persisted {
            Ok(_) => Ok(()),
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::OutputExists { path: self.path.clone() })
            }
            Err(e) => Err(failed()(e.error)),
        }
    }
}

/// The file as text, ending in a newline.
pub fn to_json(result: &ResultFile) -> String {
    let mut json = serde_json::to_string_pretty(result)
        .expect("keys are strings and no type of the wire format can fail to serialise");
    json.push('\n');
    json
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads a result file of any version that this build knows.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened, [`Error::ResultFile`] if it is not a result file, is
/// of a newer major version, or contradicts itself.
pub fn read(path: &Path) -> Result<ResultFile> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    parse(&text).map_err(|problem| Error::ResultFile { path: path.into(), problem })
}

fn parse(text: &str) -> std::result::Result<ResultFile, String> {
    // The version alone first: a newer file may fail to parse in ways that would only confuse.
    #[derive(Deserialize)]
    struct Head {
        format_version: FormatVersion,
    }
    let head: Head =
        serde_json::from_str(text).map_err(|e| format!("this is not a result file: {e}"))?;
    head.format_version.check_readable()?;
    let file: ResultFile = serde_json::from_str(text)
        .map_err(|e| format!("this result file is damaged or was edited: {e}"))?;
    let mut seen = std::collections::HashSet::new();
    for case in &file.cases {
        if !seen.insert(case.id.as_str()) {
            return Err(format!("case {} appears twice", case.id));
        }
        check_case(case).map_err(|problem| format!("case {}: {problem}", case.id))?;
    }
    Ok(file)
}

/// What must agree inside a case, whoever wrote it.
fn check_case(case: &CaseFile) -> std::result::Result<(), String> {
    for latency in &case.latencies {
        let of = |problem: String| format!("{}: {problem}", latency.metric);
        if latency.histogram.encoding != histogram::ENCODING {
            return Err(of(format!("unknown encoding `{}`", latency.histogram.encoding)));
        }
        let count = Histogram::decoded_count(&latency.histogram.data).map_err(of)?;
        if count != latency.count {
            return Err(of(format!(
                "count is {}, but the histogram holds {count} values",
                latency.count
            )));
        }
    }
    Ok(())
}
