//! Results of other tools, translated into files of ours: what a tool told is carried over under
//! our names where they mean the same, what it did not tell stays absent, and nothing is claimed.

mod criterion;
mod draft;
mod hyperfine;
mod llama_bench;
mod vllm;

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::measure;
use crate::model::ModelSpec;
use crate::result::imported::{
    ImportedCaseFile, ImportedFile, OriginFile, SourceFile, check_settings, settings_apart,
};
use crate::result::{self, FORMAT_VERSION};
use crate::units::Bytes;
use draft::Draft;

/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Cases of all files together.
const MAX_CASES: usize = 100_000;

/// A tool whose files are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// llama.cpp's `llama-bench`: `-o json`, `jsonl` or `csv`.
    LlamaBench,
    /// `vllm bench serve`, `latency` or `throughput`.
    Vllm,
    /// `cargo criterion --message-format=json`, or criterion's `raw.csv`.
    Criterion,
    /// `hyperfine --export-json`.
    Hyperfine,
}

impl Tool {
    /// Every tool, with its name.
    pub const NAMES: [(&str, Tool); 4] = [
        ("llama-bench", Tool::LlamaBench),
        ("vllm", Tool::Vllm),
        ("criterion", Tool::Criterion),
        ("hyperfine", Tool::Hyperfine),
    ];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        Tool::NAMES.iter().find(|(_, tool)| *tool == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Tool {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Tool::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, tool)| *tool).ok_or_else(|| {
            let names: Vec<&str> = Tool::NAMES.iter().map(|(name, _)| *name).collect();
            format!("`{text}` is not one of {}", names.join(", "))
        })
    }
}

/// What is wrong with a file of another tool.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// Line or key; empty where the file as a whole is meant.
    at: String,
    /// What is wrong, and what to do.
    text: String,
}

impl Problem {
    fn new(at: impl Into<String>, text: impl Into<String>) -> Self {
        Self { at: at.into(), text: text.into() }
    }
}

type Read<T> = std::result::Result<T, Problem>;

/// What a file of another tool holds.
struct Found {
    tool: Tool,
    tool_version: Option<String>,
    format: &'static str,
    drafts: Vec<Draft>,
}

/// Translates files. Without `tool`, each file shows what it is. `model` declares the shape of what
/// was run, so that work can be counted.
///
/// # Errors
/// [`Error::Read`], [`Error::Import`] naming the line or key, or what is wrong with the model.
pub fn import(
    paths: &[impl AsRef<Path>],
    tool: Option<Tool>,
    model: Option<&ModelSpec>,
) -> Result<ImportedFile> {
    let mut sources = Vec::new();
    let mut cases: Vec<ImportedCaseFile> = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let refused = |problem: Problem| Error::Import {
            path: path.into(),
            at: problem.at,
            problem: problem.text,
        };
        let bytes = bytes(path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| refused(Problem::new("", "it is not UTF-8 text")))?;
        let name = file_name(path);
        let found = read(text.trim_start_matches('\u{feff}'), tool, &name).map_err(refused)?;
        for (i, draft) in found.drafts.into_iter().enumerate() {
            let at = draft.at.clone();
            let case = draft.finish(sources.len() as u32, model);
            cases.push(case.map_err(|text| refused(Problem::new(at, text)))?);
            if cases.len() > MAX_CASES {
                let text = format!("there are more than {MAX_CASES} cases: import fewer at a time");
                return Err(refused(Problem::new(format!("case {}", i + 1), text)));
            }
        }
        sources.push(SourceFile {
            tool: found.tool.name().into(),
            tool_version: found.tool_version,
            format: found.format.into(),
            name,
            size_bytes: Bytes(bytes.len() as u64),
            sha256: hex::encode(Sha256::digest(&bytes)),
        });
        // What is written must be read again.
        check_settings(&cases).map_err(|text| refused(Problem::new("", text)))?;
    }
    let settings = settings_apart(cases.iter().map(|case| &case.axes.other));
    for (case, settings) in cases.iter_mut().zip(settings) {
        case.id = draft::id(&case.axes, &settings);
    }
    name_apart(&mut cases);
    Ok(ImportedFile {
        format_version: FORMAT_VERSION,
        origin: OriginFile::Imported,
        importer: result::tool(),
        imported: measure::utc_now().to_string(),
        sources,
        cases,
        integrity: None,
    })
}

/// Cases that are alike in all axes are told apart by a number: the tool may have been run twice.
fn name_apart(cases: &mut [ImportedCaseFile]) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut taken: HashSet<String> = cases.iter().map(|case| case.id.clone()).collect();
    for case in cases {
        let n = seen.entry(case.id.clone()).or_insert(0);
        *n += 1;
        if *n > 1 {
            // The next number that no case goes by already.
            let mut numbered = (*n..).map(|n| (n, format!("{}#{n}", case.id)));
            let free = numbered.find(|(_, id)| !taken.contains(id));
            let (number, id) = free.unwrap_or_default();
            *n = number;
            taken.insert(id.clone());
            case.id = id;
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let refused = |text: String| Error::read(path)(std::io::Error::other(text));
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !path.metadata().map_err(Error::read(path))?.is_file() {
        return Err(refused("it is not a regular file".into()));
    }
    let file = std::fs::File::open(path).map_err(Error::read(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(refused(format!("it has more than {}", Bytes(MAX_BYTES)))),
        false => Ok(bytes),
    }
}

fn read(text: &str, tool: Option<Tool>, name: &str) -> Read<Found> {
    let tool = match tool.or_else(|| detect(text)) {
        Some(tool) => tool,
        None => {
            return Err(Problem::new(
                "",
                "it is no file that is known here; say what wrote it with --from \
                 llama-bench|vllm|criterion|hyperfine, and in which of the formats that \
                 docs/import.md lists",
            ));
        }
    };
    let found = match tool {
        Tool::LlamaBench => llama_bench::read(text),
        Tool::Vllm => vllm::read(text, name),
        Tool::Criterion => criterion::read(text),
        Tool::Hyperfine => hyperfine::read(text),
    }?;
    match found.drafts.is_empty() {
        true => Err(Problem::new("", format!("it has no result of {}", tool.name()))),
        false => Ok(found),
    }
}

/// What a file is, by keys that no other tool has. A beginning is enough: what is wrong with the
/// rest is better said by whoever reads it.
fn detect(text: &str) -> Option<Tool> {
    let head: String = text.chars().take(64 << 10).collect();
    let has = |key: &str| head.contains(key);
    if has("\"model_filename\"") || head.starts_with("build_commit,") {
        Some(Tool::LlamaBench)
    } else if has("\"reason\"") || head.starts_with("group,function,value,") {
        Some(Tool::Criterion)
    } else if has("\"results\"") && has("\"command\"") {
        Some(Tool::Hyperfine)
    } else if has("\"avg_latency\"") || has("\"elapsed_time\"") || has("\"request_throughput\"") {
        Some(Tool::Vllm)
    } else {
        None
    }
}

/// What serde says of a text that is no JSON, or not of the right shape, with its line.
fn json_problem(error: &serde_json::Error, line_offset: usize) -> Problem {
    let line = error.line() + line_offset;
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default().to_owned();
    Problem::new(format!("line {line}"), text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIXTURES: [&str; 7] = [
        include_str!("../../tests/data/import/llama-bench.jsonl"),
        include_str!("../../tests/data/import/llama-bench.csv"),
        include_str!("../../tests/data/import/vllm-serve.json"),
        include_str!("../../tests/data/import/vllm-latency.json"),
        include_str!("../../tests/data/import/criterion-messages.json"),
        include_str!("../../tests/data/import/criterion-raw.csv"),
        include_str!("../../tests/data/import/hyperfine.json"),
    ];

    /// What is read becomes a case, and a case that is written can be read again.
    fn try_all(text: &str) {
        for tool in [None].into_iter().chain(Tool::NAMES.map(|(_, tool)| Some(tool))) {
            for draft in read(text, tool, "x").into_iter().flat_map(|found| found.drafts) {
                let case = draft.finish(0, None).expect("without a shape nothing can disagree");
                let json = serde_json::to_string(&case).expect("keys are strings");
                let again: ImportedCaseFile = serde_json::from_str(&json).expect("it was written");
                assert_eq!(again, case);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\PC\n]{0,200}") {
            try_all(&text);
        }

        #[test]
        fn a_spoiled_file_is_read_or_refused(
            fixture in prop::sample::select(&FIXTURES[..]),
            at in any::<prop::sample::Index>(),
            to in prop::sample::select(
                &["", "-", "1e308", "NaN", "\"", ",", "[", "null", "18446744073709551615", "0"][..]
            ),
        ) {
            let at = at.index(fixture.len());
            prop_assume!(fixture.is_char_boundary(at) && fixture.is_char_boundary(at + 1));
            try_all(&format!("{}{to}{}", &fixture[..at], &fixture[at + 1..]));
        }
    }

    #[test]
    fn tools_have_one_name() {
        for (name, tool) in Tool::NAMES {
            assert_eq!((tool.name(), name.parse()), (name, Ok(tool)));
        }
        assert!("vLLM".parse::<Tool>().is_err());
    }
}
