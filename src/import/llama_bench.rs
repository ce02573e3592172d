//! llama.cpp's `llama-bench -o json`, `jsonl` and `csv`: one row for each test, with the time of
//! each repetition but in CSV.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::import::draft::{Draft, ns};
use crate::import::{Found, Problem, Read, Tool, json_problem};
use crate::result::imported::{ImportedAxesFile, ImportedRoundFile};

/// Rates that a row states may differ from its times by so much: it rounds them.
const ROUNDING: f64 = 0.02;

/// What is read of a row by name. All other keys are settings, but for [`TOLD_OTHERWISE`].
#[derive(Debug, Deserialize)]
struct Row {
    build_commit: Option<String>,
    build_number: Option<Value>,
    cpu_info: Option<String>,
    gpu_info: Option<String>,
    backends: Option<String>,
    model_filename: Option<String>,
    model_type: Option<String>,
    model_n_params: Option<u64>,
    n_threads: Option<u32>,
    n_gpu_layers: Option<i64>,
    main_gpu: Option<u32>,
    n_prompt: u32,
    n_gen: u32,
    #[serde(default)]
    n_depth: u32,
    test_time: Option<String>,
    avg_ns: Option<f64>,
    avg_ts: Option<f64>,
    stddev_ts: Option<f64>,
    #[serde(default)]
    samples_ns: Vec<f64>,
    /// As text, whatever their type.
    #[serde(skip)]
    settings: BTreeMap<String, String>,
}

/// Keys that are no settings: what was measured, on what, by what, and what came out.
const TOLD_OTHERWISE: [&str; 14] = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_threads",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
];

/// How keys of results begin, those of later versions too.
const RESULTS: [&str; 3] = ["avg_", "stddev_", "samples_"];

/// Columns of CSV that are numbers here.
const NUMBERS: [&str; 10] = [
    "model_n_params",
    "n_threads",
    "n_gpu_layers",
    "main_gpu",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ns",
    "avg_ts",
    "stddev_ts",
];

impl Row {
    /// With the settings of the object that it was read from.
    fn with_settings(mut self, object: &Map<String, Value>) -> Self {
        let is_setting = |key: &str| {
            !TOLD_OTHERWISE.contains(&key) && !RESULTS.iter().any(|begin| key.starts_with(begin))
        };
        let settings = object.iter().filter(|(key, value)| is_setting(key) && !value.is_null());
        self.settings = settings.map(|(key, value)| (key.clone(), setting(value))).collect();
        self
    }

    /// Number and commit of the build that measured, as far as they are told.
    fn version(&self) -> Option<String> {
        let number = self.build_number.as_ref().map(setting);
        match (&self.build_commit, number) {
            (Some(commit), Some(number)) => Some(format!("{number} ({commit})")),
            (Some(commit), None) => Some(commit.clone()),
            (None, number) => number,
        }
    }
}

pub(super) fn read(text: &str) -> Read<Found> {
    let (format, rows) = match text.trim_start().chars().next() {
        Some('[') => {
            let rows: Vec<Row> = serde_json::from_str(text).map_err(|e| json_problem(&e, 0))?;
            let objects: Vec<Map<String, Value>> =
                serde_json::from_str(text).map_err(|e| json_problem(&e, 0))?;
            let both = rows.into_iter().zip(&objects).enumerate();
            let rows = both.map(|(i, (row, object))| (format!("[{i}]"), row.with_settings(object)));
            ("json", rows.collect())
        }
        Some('{') => ("jsonl", jsonl(text)?),
        _ => ("csv", csv(text)?),
    };
    let version = version(&rows)?;
    let drafts = rows.into_iter().map(|(at, row)| draft(at, row)).collect::<Read<Vec<_>>>()?;
    Ok(Found { tool: Tool::LlamaBench, tool_version: version, format, drafts })
}

/// The build that measured all rows. Rows of several builds are refused: a file has one version, and
/// which of its cases is of which could not be told.
fn version(rows: &[(String, Row)]) -> Read<Option<String>> {
    let Some((_, first)) = rows.first() else { return Ok(None) };
    let version = first.version();
    let text = |version: &Option<String>| version.clone().unwrap_or_else(|| "untold".into());
    match rows.iter().find(|(_, row)| row.version() != version) {
        Some((at, row)) => Err(Problem::new(
            at,
            format!(
                "its build is {}, and that of the first row {}: give each build a file of its own",
                text(&row.version()),
                text(&version)
            ),
        )),
        None => Ok(version),
    }
}

fn jsonl(text: &str) -> Read<Vec<(String, Row)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            let row: Row = serde_json::from_str(line).map_err(|e| json_problem(&e, i))?;
            let object: Map<String, Value> =
                serde_json::from_str(line).map_err(|e| json_problem(&e, i))?;
            Ok((format!("line {}", i + 1), row.with_settings(&object)))
        })
        .collect()
}

/// CSV has no types: columns that are numbers here must be, and the others are text.
fn csv(text: &str) -> Read<Vec<(String, Row)>> {
    let at_line = |line: u64| format!("line {line}");
    let of = |error: csv::Error| {
        Problem::new(at_line(error.position().map_or(0, csv::Position::line)), csv_text(&error))
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(of)?.clone();
    let rows = reader.records().enumerate().map(|(i, record)| {
        let record = record.map_err(of)?;
        let line = at_line(record.position().map_or(0, csv::Position::line));
        let mut object = Map::new();
        for (key, field) in header.iter().zip(&record) {
            let value = match NUMBERS.contains(&key) {
                false => Value::String(field.to_owned()),
                true if field.is_empty() => Value::Null,
                true => serde_json::from_str::<serde_json::Number>(field)
                    .map(Value::Number)
                    .map_err(|_| Problem::new(&line, format!("{key}: `{field}` is no number")))?,
            };
            object.insert(key.to_owned(), value);
        }
        let row: Row = serde_json::from_value(Value::Object(object.clone()))
            .map_err(|e| Problem::new(&line, e.to_string()))?;
        Ok((format!("row {}", i + 1), row.with_settings(&object)))
    });
    rows.collect()
}

fn csv_text(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, not {expected_len} as the header")
        }
        _ => "it is no CSV".into(),
    }
}

fn draft(at: String, row: Row) -> Read<Draft> {
    let tokens = u64::from(row.n_prompt) + u64::from(row.n_gen);
    if tokens == 0 {
        return Err(Problem::new(at, "n_prompt and n_gen are both 0: that is no test"));
    }
    let mut remarks = Vec::new();
    let rounds = rounds(&at, &row, tokens, &mut remarks)?;
    let is_aggregate = row.samples_ns.is_empty();
    let device = device(&row, &mut remarks);
    let definition = match (row.n_prompt, row.n_gen) {
        (_, 0) => "prefill_tokens_per_s.v1",
        (0, _) => {
            remarks.push(
                "llama-bench's decode step feeds random tokens and picks none, ours feeds its own \
                 pick"
                    .into(),
            );
            "llama_bench_tg_tokens_per_s"
        }
        _ => "llama_bench_pg_tokens_per_s",
    };
    let test = match (row.n_prompt, row.n_gen) {
        (n, 0) => format!("pp{n}"),
        (0, n) => format!("tg{n}"),
        (p, g) => format!("pp{p}+tg{g}"),
    };
    let depth = if row.n_depth > 0 { format!(" @ d{}", row.n_depth) } else { String::new() };
    let path = row.model_filename.as_deref().unwrap_or_default();
    let file = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let model = if file.is_empty() { row.model_type.clone() } else { Some(file.to_owned()) };
    let machine: Vec<String> = [row.cpu_info.clone(), row.gpu_info.clone()]
        .into_iter()
        .flatten()
        .filter(|t| !t.is_empty())
        .collect();
    Ok(Draft {
        axes: ImportedAxesFile {
            model,
            dtype: row.model_type.as_deref().and_then(dtype),
            device,
            kernels: Some("llama.cpp".into()),
            n_threads: row.n_threads,
            test: format!("{test}{depth}"),
            n_prompt: Some(row.n_prompt),
            n_gen: Some(row.n_gen),
            n_depth: Some(row.n_depth),
            batch_size: Some(1),
            other: row.settings,
        },
        measured: row.test_time,
        machine: (!machine.is_empty()).then(|| machine.join("; ")),
        tokens: Some((tokens, definition)),
        n_params: row.model_n_params,
        rounds,
        stated_stddev_per_s: row
            .stddev_ts
            .filter(|sd| is_aggregate && sd.is_finite() && *sd >= 0.0),
        latencies: Vec::new(),
        remarks,
        at,
        ..Draft::default()
    })
}

/// The repetitions, or their mean as one where the format has no more.
fn rounds(
    at: &str,
    row: &Row,
    tokens: u64,
    remarks: &mut Vec<String>,
) -> Read<Vec<ImportedRoundFile>> {
    let at_key = |key: &str| format!("{at}, {key}");
    let times = match row.samples_ns.as_slice() {
        [] => {
            let mean = row.avg_ns.ok_or_else(|| Problem::new(at, "it has no avg_ns"))?;
            remarks.push("only the mean of its repetitions is known, as one round".into());
            vec![(at_key("avg_ns"), mean)]
        }
        samples => (0..)
            .zip(samples)
            .map(|(i, ns): (usize, _)| (at_key(&format!("samples_ns[{i}]")), *ns))
            .collect(),
    };
    let rounds = times
        .into_iter()
        .map(|(at, time)| Ok(ImportedRoundFile { passes: 1, total_ns: ns(&at, time)? }))
        .collect::<Read<Vec<_>>>()?;
    let rates = rounds.iter().map(|round| tokens as f64 / (round.total_ns as f64 / 1e9));
    let mean = rates.sum::<f64>() / rounds.len() as f64;
    if let Some(stated) =
        row.avg_ts.filter(|stated| (mean / stated - 1.0).abs() > ROUNDING || !stated.is_finite())
    {
        // The mean of rates and the rate of the mean time differ where repetitions do.
        if !row.samples_ns.is_empty() || stated < mean * (1.0 - ROUNDING) {
            return Err(Problem::new(
                at_key("avg_ts"),
                format!("{stated} tokens/s do not follow from its times, which give {mean:.3}"),
            ));
        }
    }
    Ok(rounds)
}

/// `cpu`, `cuda:N`, or the backend's name.
fn device(row: &Row, remarks: &mut Vec<String>) -> Option<String> {
    let backends = row.backends.as_deref()?;
    let on_processor = ["CPU", "BLAS"].iter().any(|name| backends.starts_with(name));
    match row.n_gpu_layers {
        _ if on_processor && !backends.contains("CUDA") => Some("cpu".into()),
        Some(0) => {
            remarks.push(
                "no layer was kept on the device, but large products may have been computed there"
                    .into(),
            );
            Some(accelerator(backends, row.main_gpu))
        }
        Some(layers) if (1..99).contains(&layers) => {
            remarks.push(format!(
                "at most {layers} layers ran on the device, the others on the processor"
            ));
            Some(accelerator(backends, row.main_gpu))
        }
        _ => Some(accelerator(backends, row.main_gpu)),
    }
}

fn accelerator(backends: &str, main_gpu: Option<u32>) -> String {
    match backends.contains("CUDA") {
        true => format!("cuda:{}", main_gpu.unwrap_or(0)),
        false => backends.to_lowercase(),
    }
}

/// The format of the weights from llama.cpp's description `qwen2 7B Q4_K - Medium`.
fn dtype(model_type: &str) -> Option<String> {
    let mut words = model_type.splitn(3, ' ');
    let format = words.nth(2)?.trim();
    let format = format.trim_start_matches("all ").trim_start_matches("mostly ");
    let format = format.replace(" - ", "_").replace(' ', "_").to_lowercase();
    (!format.is_empty()).then_some(format)
}

/// A setting as text, whatever its type.
fn setting(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(is) => u8::from(*is).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_weights() {
        for (text, want) in [
            ("qwen2 7B Q4_K - Medium", Some("q4_k_medium")),
            ("llama ?B all F32", Some("f32")),
            ("llama 1B F16", Some("f16")),
            ("llama 7B mostly Q4_0", Some("q4_0")),
            ("llama", None),
        ] {
            assert_eq!(dtype(text).as_deref(), want, "{text}");
        }
    }
}
