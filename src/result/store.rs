//! Writing a result file whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::measure;
use crate::plan::Plan;
use crate::result::journal::{Journal, journal_path};
use crate::result::read::check_text;

/// Where a result file will go.
#[derive(Clone, Debug)]
pub struct Destination {
    path: PathBuf,
    conflict: Conflict,
}

/// What to do if the file is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    Refuse,
    Replace,
    /// Take the next free name: `x.json`, `x-2.json`, …
    Number,
}

impl Destination {
    /// The file that the user named. Unless `replace` is set, a file that is already there is an
    /// error.
    ///
    /// # Errors
    /// [`Error::OutputExists`], or [`Error::Write`] for what can never be a result file.
    pub fn named(path: PathBuf, replace: bool) -> Result<Self> {
        let refuse = |why: &str| {
            let source = std::io::Error::other(why.to_owned());
            Err(Error::Write { path: path.clone(), source })
        };
        if path.as_os_str() == "-" {
            return refuse("this needs a name; -o prints to standard output");
        }
        if path.as_os_str().to_string_lossy().ends_with(std::path::MAIN_SEPARATOR) {
            return refuse("this names a directory");
        }
        if path.file_name().is_none() {
            return refuse("this names a directory");
        }
        match (path.symlink_metadata(), path.metadata()) {
            (Err(e), _) if e.kind() == std::io::ErrorKind::NotFound => {}
            (Err(source), _) => return Err(Error::Write { path, source }),
            (Ok(_), Err(_)) => return refuse("it is a symbolic link that leads nowhere"),
            // Renaming over a device or a pipe would remove it.
            (Ok(_), Ok(target)) if !target.is_file() => return refuse("it is not a regular file"),
            _ if !replace => return Err(Error::OutputExists { path }),
            _ => {}
        }
        // A link is followed, so that the file it leads to is replaced and not the link.
        let path = path.canonicalize().unwrap_or(path);
        let conflict = if replace { Conflict::Replace } else { Conflict::Refuse };
        Ok(Self { path, conflict })
    }

    /// `results/<UTC>-<device>-<model>.json`, numbered if that is taken by the time of writing.
    pub fn default_for(plan: &Plan) -> Self {
        let time = measure::utc_now().strftime("%Y%m%dT%H%M%SZ");
        let device = plan.settings.device.to_string().replace(':', "");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let first = plan.models.first().map_or("probe", |model| model.label.as_str());
        // A file name has 255 bytes.
        let model: String =
            first.chars().map(|c| if plain(c) { c } else { '_' }).take(100).collect();
        let others = match plan.models.len() {
            0 | 1 => String::new(),
            n => format!("+{}", n - 1),
        };
        let path = PathBuf::from(format!("results/{time}-{device}-{model}{others}.json"));
        Self { path, conflict: Conflict::Number }
    }

    /// The file's path, before any numbering.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of a result that was begun there before; whatever lies in it by now is of the
    /// same run.
    pub fn resumed(path: PathBuf) -> Self {
        Self { path, conflict: Conflict::Replace }
    }

    /// Makes sure that the file can be written, creating its directory, and begins its journal.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::JournalExists`], or [`Error::Journal`].
    pub fn prepare(&mut self) -> Result<Journal> {
        let directory = directory(&self.path);
        std::fs::create_dir_all(directory).map_err(Error::write(&self.path))?;
        // Dropped at once: only a try shows what permissions, mounts and quotas allow.
        tempfile::NamedTempFile::new_in(directory).map_err(Error::write(&self.path))?;
        let mut n = 1;
        loop {
            let path = self.path_numbered(n);
            match (Journal::create(&journal_path(&path)), self.conflict) {
                // Another run of the same second has that name.
                (Err(Error::JournalExists { .. }), Conflict::Number) => n += 1,
                (Ok(journal), Conflict::Number) if path.exists() => {
                    journal.remove()?;
                    n += 1;
                }
                (journal, _) => {
                    self.path = path;
                    return journal;
                }
            }
        }
    }

    /// Writes `text` beside its place, flushes it to the disk, and renames it into place. Gives
    /// the path it has. What could not be read again is not written.
    ///
    /// # Errors
    /// [`Error::ResultFile`] or [`Error::Write`], and nothing is left behind; or [`Error::OutputExists`] if a file has
    /// appeared since.
    pub fn write(&self, text: &str) -> Result<PathBuf> {
        check_text(text).map_err(|problem| Error::ResultFile {
            path: self.path.clone(),
            problem: format!("it is not written, since it could not be read again: {problem}"),
        })?;
        self.write_text(text)
    }

    /// The same for text that is no result file.
    ///
    /// # Errors
    /// [`Error::Write`], and nothing is left behind; or [`Error::OutputExists`] if a file has
    /// appeared since.
    pub fn write_text(&self, text: &str) -> Result<PathBuf> {
        let failed = || Error::write(&self.path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".benchinf-");
        // A temporary file is private by default; a result is for others to read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(directory(&self.path)).map_err(failed())?;
        // Through the file itself: the wrapper's errors name the temporary path.
        file.as_file_mut().write_all(text.as_bytes()).map_err(failed())?;
        file.as_file().sync_all().map_err(failed())?;
        let mut n = 1;
        loop {
            let path = self.path_numbered(n);
            let persisted = match self.conflict {
                Conflict::Replace => file.persist(&path),
                Conflict::Refuse | Conflict::Number => file.persist_noclobber(&path),
            };
            let error = match persisted {
                Ok(_) => {
                    // The name itself must be on the disk before the journal goes.
                    let synced = std::fs::File::open(directory(&path)).and_then(|d| d.sync_all());
                    return synced.map(|()| path).map_err(failed());
                }
                Err(error) => error,
            };
            let taken = error.error.kind() == std::io::ErrorKind::AlreadyExists;
            match self.conflict {
                Conflict::Number if taken => n += 1,
                Conflict::Refuse if taken => return Err(Error::OutputExists { path }),
                _ => return Err(failed()(error.error)),
            }
            file = error.file;
        }
    }

    fn path_numbered(&self, n: u32) -> PathBuf {
        match (n, self.path.file_stem()) {
            (2.., Some(stem)) => {
                self.path.with_file_name(format!("{}-{n}.json", stem.to_string_lossy()))
            }
            _ => self.path.clone(),
        }
    }
}

/// One or several files as text, ending in a newline: a line for each key of a case and for each
/// round, and everything below in one.
pub fn to_json(result: &impl Serialize) -> String {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Lines::default());
    result
        .serialize(&mut serializer)
        .expect("keys are strings and no type of the wire format can fail to serialise");
    json.push(b'\n');
    String::from_utf8(json).expect("the serializer writes UTF-8")
}

/// Breaks lines down to the keys of a case and to the elements of lists in it.
#[derive(Default)]
struct Lines {
    /// Of each open list or object, whether it breaks lines, and whether it has anything.
    open: Vec<(bool, bool)>,
}

impl Lines {
    fn begin(
        &mut self,
        breaks: bool,
        out: &mut (impl std::io::Write + ?Sized),
        c: &[u8],
    ) -> std::io::Result<()> {
        self.open.push((breaks, false));
        out.write_all(c)
    }

    fn next(
        &mut self,
        first: bool,
        out: &mut (impl std::io::Write + ?Sized),
    ) -> std::io::Result<()> {
        let depth = self.open.len();
        let Some((breaks, has_any)) = self.open.last_mut() else { return Ok(()) };
        *has_any = true;
        match (*breaks, first) {
            (true, first) => {
                out.write_all(if first { b"\n" } else { b",\n" })?;
                (0..depth).try_for_each(|_| out.write_all(b"  "))
            }
            (false, true) => Ok(()),
            (false, false) => out.write_all(b", "),
        }
    }

    fn end(&mut self, out: &mut (impl std::io::Write + ?Sized), c: &[u8]) -> std::io::Result<()> {
        if let Some((true, true)) = self.open.pop() {
            out.write_all(b"\n")?;
            (0..self.open.len()).try_for_each(|_| out.write_all(b"  "))?;
        }
        out.write_all(c)
    }
}

impl serde_json::ser::Formatter for Lines {
    fn begin_array<W: std::io::Write + ?Sized>(&mut self, out: &mut W) -> std::io::Result<()> {
        self.begin(self.open.len() < 4, out, b"[")
    }

    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.next(first, out)
    }

    fn end_array<W: std::io::Write + ?Sized>(&mut self, out: &mut W) -> std::io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_object<W: std::io::Write + ?Sized>(&mut self, out: &mut W) -> std::io::Result<()> {
        self.begin(self.open.len() < 3, out, b"{")
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.next(first, out)
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(
        &mut self,
        out: &mut W,
    ) -> std::io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object<W: std::io::Write + ?Sized>(&mut self, out: &mut W) -> std::io::Result<()> {
        self.end(out, b"}")
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
