//! Reading a result file back, and holding it against itself.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::result::file::*;
use crate::result::format::FormatVersion;
use crate::result::imported::{self, ImportedFile, OriginFile};
use crate::result::integrity::{self, Verdict};
use crate::result::{convert, recount};

/// A result file and whether it is as it was written.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What it says.
    pub file: ResultFile,
    /// What its digests say of it.
    pub verdict: Verdict,
}

/// An imported file and whether it is as it was written.
#[derive(Clone, Debug)]
pub struct ImportedReading {
    /// What it says.
    pub file: ImportedFile,
    /// What its digests say of it.
    pub verdict: Verdict,
}

/// A file of either origin.
#[derive(Clone, Debug)]
pub enum AnyReading {
    /// Measured by benchinf.
    Measured(Box<Reading>),
    /// Translated from another tool's file.
    Imported(Box<ImportedReading>),
}

impl AnyReading {
    /// What its digests say of it.
    pub fn verdict(&self) -> &Verdict {
        match self {
            AnyReading::Measured(reading) => &reading.verdict,
            AnyReading::Imported(reading) => &reading.verdict,
        }
    }
}

/// Reads a file of either origin and holds it against its digests.
///
/// # Errors
/// As [`read`].
pub fn read_any(path: &Path) -> Result<AnyReading> {
    let bytes = bytes(path)?;
    let verdict = integrity::verify(&bytes);
    let refused = |problem| Error::ResultFile { path: path.into(), problem };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    match head(text) {
        Ok(Head { origin: Some(OriginFile::Imported), .. }) => {
            let file = imported::parse(text).map_err(refused)?;
            Ok(AnyReading::Imported(Box::new(ImportedReading { file, verdict })))
        }
        _ => {
            let file = parse_bytes(path, &bytes)?;
            Ok(AnyReading::Measured(Box::new(Reading { file, verdict })))
        }
    }
}

/// Reads a result file of any version that this build knows. One that was imported is none.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened, [`Error::ResultFile`] if it is not a result file, is
/// of a newer major version, or contradicts itself.
pub fn read(path: &Path) -> Result<ResultFile> {
    parse_bytes(path, &bytes(path)?)
}

/// Reads a result file and holds it against its digests, both by the same bytes.
///
/// # Errors
/// As [`read`].
pub fn read_verified(path: &Path) -> Result<Reading> {
    let bytes = bytes(path)?;
    Ok(Reading { file: parse_bytes(path, &bytes)?, verdict: integrity::verify(&bytes) })
}

/// Reads a result file that must be as it was written. A file of a version without digests is
/// taken as it is.
///
/// # Errors
/// As [`read`], or [`Error::Altered`].
pub fn read_intact(path: &Path) -> Result<ResultFile> {
    let Reading { file, verdict } = read_verified(path)?;
    match verdict {
        Verdict::Altered { records } => Err(Error::Altered { path: path.into(), records }),
        Verdict::Unreadable { problem } => Err(Error::ResultFile { path: path.into(), problem }),
        Verdict::Intact { .. } | Verdict::NoDigests => Ok(file),
    }
}

/// Holds a file against its digests.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened.
pub fn verify_file(path: &Path) -> Result<Verdict> {
    Ok(integrity::verify(&bytes(path)?))
}

fn parse_bytes(path: &Path, bytes: &[u8]) -> Result<ResultFile> {
    std::str::from_utf8(bytes)
        .map_err(|_| "this is not a result file: it is not UTF-8 text".to_owned())
        .and_then(parse)
        .map_err(|problem| Error::ResultFile { path: path.into(), problem })
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    check_regular(path)?;
    std::fs::read(path).map_err(Error::read(path))
}

/// Refuses what may never end or never begin: pipes, devices, directories.
///
/// # Errors
/// [`Error::Read`].
pub(super) fn check_regular(path: &Path) -> Result<()> {
    match path.metadata().map_err(Error::read(path))?.is_file() {
        true => Ok(()),
        false => Err(Error::read(path)(std::io::Error::other("it is not a regular file"))),
    }
}

/// What is read first: a newer file may fail to parse in ways that would only confuse.
#[derive(Deserialize)]
struct Head {
    format_version: FormatVersion,
    #[serde(default)]
    origin: Option<OriginFile>,
    #[serde(default)]
    sources: Vec<HeadSource>,
}

#[derive(Deserialize)]
struct HeadSource {
    tool: String,
}

impl Head {
    /// The tools that an imported file comes from.
    fn tools(&self) -> String {
        let mut tools: Vec<&str> = self.sources.iter().map(|s| s.tool.as_str()).collect();
        tools.dedup();
        tools.truncate(4);
        if tools.is_empty() { "another tool".into() } else { tools.join(", ") }
    }
}

fn head(text: &str) -> std::result::Result<Head, String> {
    let head: Head =
        serde_json::from_str(text).map_err(|e| format!("this is not a result file: {e}"))?;
    head.format_version.check_readable()?;
    Ok(head)
}

/// The tools that a file was imported from; absent for one of our own, and for what is no result
/// file.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened.
pub fn imported_from(path: &Path) -> Result<Option<String>> {
    let bytes = bytes(path)?;
    let head = std::str::from_utf8(&bytes).ok().and_then(|text| head(text).ok());
    Ok(head.filter(|head| head.origin.is_some()).map(|head| head.tools()))
}

/// Reads the text of a result file of our own, or of an imported one, to find out whether it can be
/// read.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub(super) fn check_text(text: &str) -> std::result::Result<(), String> {
    match head(text)?.origin {
        Some(OriginFile::Imported) => imported::parse(text).map(drop),
        None => parse(text).map(drop),
    }
}

/// Reads a result file's text.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub fn parse(text: &str) -> std::result::Result<ResultFile, String> {
    let head = head(text)?;
    if head.origin == Some(OriginFile::Imported) {
        return Err(format!(
            "it was imported from {}: nothing in it was measured here, so it proves nothing and \
             cannot be merged or classified; `benchinf report` shows it, and `benchinf compare` \
             takes it",
            head.tools()
        ));
    }
    let file: ResultFile = serde_json::from_str(text)
        .map_err(|e| format!("this result file is damaged or was edited: {e}"))?;
    let is_before_digests = (file.format_version.major, file.format_version.minor) < (1, 1);
    let proves = |case: &CaseFile| case.claims.is_some() || case.check.is_some();
    if is_before_digests
        && (file.integrity.is_some() || !file.ceilings.is_empty() || file.cases.iter().any(proves))
    {
        return Err(format!(
            "format version {} has neither ceilings nor claims nor digests, but this file has",
            file.format_version
        ));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(case) = file.cases.iter().find(|case| !seen.insert(case.id.as_str())) {
        return Err(format!("case {} appears twice", case.id));
    }
    for case in &file.cases {
        if !file.plan.models.iter().any(|model| model.label == case.axes.model) {
            return Err(format!("case {}: it is of a model that the plan does not have", case.id));
        }
        check_axes(case).map_err(|problem| format!("case {}: {problem}", case.id))?;
    }
    let ceilings = file.ceilings.iter();
    let mut seen = std::collections::HashSet::new();
    for ceiling in ceilings {
        let of = |problem| format!("ceiling {}: {problem}", ceiling.id);
        if !seen.insert(ceiling.id.as_str()) {
            return Err(of("it appears twice".into()));
        }
        check_ceiling(ceiling).map_err(of)?;
    }
    recount::check_work(&file)?;
    let of_this_build = recount::is_of_this_build(&file);
    for case in &file.cases {
        let of = |problem| format!("case {}: {problem}", case.id);
        check_case(case, of_this_build).map_err(of)?;
        if !is_before_digests {
            recount::check_check(case.check.as_ref(), &case.rounds).map_err(of)?;
        }
    }
    recount::check_derived(&file)?;
    Ok(file)
}

/// What must agree inside a case, whoever wrote it.
fn check_case(case: &CaseFile, of_this_build: bool) -> std::result::Result<(), String> {
    let is_measured = case.outcome == OutcomeFile::Measured;
    if is_measured == case.rounds.is_empty() || is_measured == case.latencies.is_empty() {
        return Err(format!(
            "its outcome does not fit its {} rounds and {} latencies",
            case.rounds.len(),
            case.latencies.len()
        ));
    }
    let per_pass = convert::case_of(&case.axes)?.test.forward_passes();
    recount::check_rounds(&case.rounds, Some(per_pass))?;
    recount::check_latencies(case, of_this_build)
}

/// Id, test name and tokens follow from the axes.
fn check_axes(case: &CaseFile) -> std::result::Result<(), String> {
    let live = convert::case_of(&case.axes)?;
    let found = (case.id.as_str(), case.axes.test.as_str(), case.work.tokens);
    match found == (&live.id(), &live.test_name(), live.tokens_per_pass()) {
        true => Ok(()),
        false => Err("its id, test or tokens are not those of its axes".into()),
    }
}

fn check_ceiling(ceiling: &CeilingFile) -> std::result::Result<(), String> {
    if convert::probe_of(ceiling)?.id() != ceiling.id {
        return Err("its id is not that of its axes".into());
    }
    let is_measured = ceiling.outcome == OutcomeFile::Measured;
    if is_measured == ceiling.rounds.is_empty() || (ceiling.rate.is_some() && !is_measured) {
        return Err("its outcome does not fit its rounds".into());
    }
    recount::check_rounds(&ceiling.rounds, None)?;
    recount::check_check(ceiling.check.as_ref(), &ceiling.rounds)
}
