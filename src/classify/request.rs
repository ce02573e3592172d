//! From what a user asks for to the answer: files are read, devices found, rule sets chosen.

use std::path::{Path, PathBuf};

use crate::classify::catalogue::Catalogue;
use crate::classify::classification::{Matching, Subject, Terms, classify};
use crate::classify::described;
use crate::classify::evidence::{self, Evidence, Source};
use crate::classify::load;
use crate::classify::record::{ClassificationRecord, References, record};
use crate::classify::rules::{self, Circuit, RuleSet};
use crate::classify::specification::{Declarations, Specification};
use crate::classify::verdict::When;
use crate::error::{Error, Result};
use crate::result::{self, ResultFile, Verdict};

/// How a measured device comes to its specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MatchRequest {
    /// By the name that the machine reports, if the catalogue has it.
    #[default]
    Reported,
    /// The user names it.
    Named(String),
    /// Not at all.
    Refused,
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Result files.
    pub results: Vec<PathBuf>,
    /// Devices by name, or files of them.
    pub devices: Vec<String>,
    /// How measured devices come to a specification.
    pub matching: MatchRequest,
    /// Rule files and directories.
    pub rules: Vec<PathBuf>,
    /// Only these jurisdictions; all if empty.
    pub jurisdictions: Vec<String>,
    /// Whether bills are looked at.
    pub with_bills: bool,
    /// Which texts.
    pub when: When,
    /// What the user says of the devices.
    pub declared: Declarations,
    /// Packages that runs used, where files do not tell.
    pub packages: Option<u32>,
    /// Whether the user says that all result files are of one device.
    pub one_device: bool,
    /// What counts as an integrated circuit, whatever rule sets say.
    pub circuit: Option<Circuit>,
    /// Whether altered files are classified, with a taint.
    pub allow_altered: bool,
    /// Which rooflines are kept.
    pub references: References,
}

impl Request {
    /// A request for what was in force on a day, and nothing else.
    pub fn new(when: When) -> Self {
        Request {
            results: Vec::new(),
            devices: Vec::new(),
            matching: MatchRequest::default(),
            rules: Vec::new(),
            jurisdictions: Vec::new(),
            with_bills: false,
            when,
            declared: Declarations::default(),
            packages: None,
            one_device: false,
            circuit: None,
            allow_altered: false,
            references: References::Nearest,
        }
    }
}

/// Answers a request: one record for each device, those with measurements first.
///
/// # Errors
/// Whatever is wrong with a file, a name or a rule set, in its own words.
pub fn answer(request: &Request) -> Result<Vec<ClassificationRecord>> {
    if request.results.is_empty() && request.devices.is_empty() {
        return Err(Error::NothingToClassify);
    }
    let mut terms = Terms::new(rule_sets(request)?, request.when, request.declared.clone());
    let files = request
        .results
        .iter()
        .map(|path| read(path, request.allow_altered))
        .collect::<Result<Vec<_>>>()?;
    if !files.is_empty() {
        terms.references = catalogue();
    }
    let sources: Vec<Source> =
        files.iter().map(|read| Source { name: &read.name, file: &read.file }).collect();
    let mut subjects = Vec::new();
    let devices = match request.one_device {
        true => vec![Evidence::of_one_device(&sources, request.packages)?],
        false => Evidence::by_device(&sources, request.packages)?,
    };
    for evidence in devices {
        subjects.push(measured(evidence, &files, &request.matching)?);
    }
    for device in &request.devices {
        for specification in specifications(device)? {
            subjects.push(Subject {
                name: specification.name.clone(),
                evidence: None,
                specification: Some(specification),
                matching: Matching::Named,
                taint: Vec::new(),
            });
        }
    }
    Ok(subjects.iter().map(|s| record(&classify(s, &terms), request.references)).collect())
}

/// The embedded catalogue as specifications.
pub fn catalogue() -> Vec<Specification> {
    let catalogue = Catalogue::embedded();
    let of = |device| described::specification(catalogue, device, "catalogue");
    catalogue.devices().iter().map(of).collect()
}

/// The devices that a name or a file stands for.
fn specifications(text: &str) -> Result<Vec<Specification>> {
    let path = Path::new(text);
    let is_file =
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) || path.is_file();
    if is_file {
        let read = Catalogue::read(path)?;
        let of = |device| described::specification(&read, device, text);
        let devices: Vec<Specification> = read.devices().iter().map(of).collect();
        return match devices.is_empty() {
            false => Ok(devices),
            true => Err(Error::DeviceFile {
                path: path.into(),
                line: 1,
                problem: "there is no [[device]] in it".into(),
            }),
        };
    }
    let catalogue = Catalogue::embedded();
    Ok(vec![described::specification(catalogue, catalogue.find(text)?, "catalogue")])
}

/// The rule sets that a request is about.
fn rule_sets(request: &Request) -> Result<Vec<RuleSet>> {
    let mut sets = rules::embedded()?;
    let mut asked_for: Vec<String> = Vec::new();
    for path in &request.rules {
        let read = load::read(path)?;
        asked_for.extend(read.iter().map(|set| set.id.clone()));
        load::add(&mut sets, read);
    }
    // A file that was named is looked at, whatever it says of itself.
    sets.retain(|set| !set.is_optional || request.with_bills || asked_for.contains(&set.id));
    for jurisdiction in &request.jurisdictions {
        if !sets.iter().any(|set| set.jurisdiction.eq_ignore_ascii_case(jurisdiction)) {
            let mut known: Vec<&str> = sets.iter().map(|set| set.jurisdiction.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            return Err(Error::NoRules {
                flag: "--jurisdiction",
                value: jurisdiction.clone(),
                problem: format!("there are rule sets of {} only", known.join(", ")),
            });
        }
    }
    let is_asked = |set: &RuleSet| {
        request.jurisdictions.is_empty()
            || request.jurisdictions.iter().any(|j| j.eq_ignore_ascii_case(&set.jurisdiction))
    };
    sets.retain(is_asked);
    if let When::On(day) = request.when
        && !sets.iter().any(|set| set.period_on(day).is_some())
    {
        let first = sets.iter().map(|set| set.span().from).min();
        return Err(Error::NoRules {
            flag: "--as-of",
            value: day.to_string(),
            problem: first.map_or_else(
                || "there is no rule set".into(),
                |first| {
                    format!(
                        "none of these rule sets goes back that far; the first begins on {first}"
                    )
                },
            ),
        });
    }
    if let Some(circuit) = request.circuit {
        sets.iter_mut().for_each(|set| set.circuit = circuit);
    }
    Ok(sets)
}

/// A result file that was read.
struct Read {
    name: String,
    file: ResultFile,
    taint: Option<String>,
}

fn read(path: &Path, allow_altered: bool) -> Result<Read> {
    let file = result::read(path)?;
    let name = path.display().to_string();
    let taint = match result::verify_file(path)? {
        Verdict::Intact { .. } => None,
        Verdict::Altered { records } if allow_altered => {
            Some(format!("{name} was altered since it was written ({})", records.join(", ")))
        }
        Verdict::Altered { records } => return Err(Error::Altered { path: path.into(), records }),
        Verdict::Unreadable { problem } => {
            return Err(Error::ResultFile { path: path.into(), problem });
        }
        // A file of that version has no claims either.
        Verdict::NoDigests => None,
    };
    if evidence::records(&file).all(|record| record.claims.existence.is_empty()) {
        return Err(Error::NoClaims { path: path.into() });
    }
    Ok(Read { name, file, taint })
}

/// A measured device with its specification.
fn measured<'a>(
    evidence: Evidence<'a>,
    files: &[Read],
    matching: &MatchRequest,
) -> Result<Subject<'a>> {
    let reported = evidence.reported_name.map(str::to_owned);
    let catalogue = Catalogue::embedded();
    let (specification, matching) = match (matching, &reported) {
        (MatchRequest::Refused, _) => (None, Matching::Refused),
        (MatchRequest::Named(name), _) => (Some(only(name)?), Matching::Named),
        (MatchRequest::Reported, Some(name)) => match catalogue.match_device(name) {
            Some(device) => {
                let found = described::specification(catalogue, device, "catalogue");
                (Some(found), Matching::Matched { reported: name.clone() })
            }
            None => (None, Matching::NotFound { reported: reported.clone() }),
        },
        (MatchRequest::Reported, None) => (None, Matching::NotFound { reported: None }),
    };
    let of_it = |read: &&Read| evidence.sources.iter().any(|source| source.name == read.name);
    let taint = files.iter().filter(of_it).filter_map(|read| read.taint.clone()).collect();
    Ok(Subject { name: evidence.name(), evidence: Some(evidence), specification, matching, taint })
}

/// The one device that a name or a file stands for.
fn only(text: &str) -> Result<Specification> {
    let mut found = specifications(text)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        n => Err(Error::BadValue {
            flag: "--match",
            value: text.into(),
            problem: format!("the file has {n} devices; keep the one that was measured"),
        }),
    }
}
