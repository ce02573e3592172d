//! The JSON that `vllm bench serve --save-result`, `latency --output-json` and `throughput
//! --output-json` leave. Times of `serve` are in milliseconds, those of the others in seconds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::import::draft::{Draft, figure, ns_of_s, other};
use crate::import::{Found, Problem, Read, Tool, json_problem};
use crate::result::imported::{ImportedAxesFile, ImportedLatencyFile, ImportedRoundFile};

/// Latencies of `serve`: vLLM's name, ours, and what it is. Seen by the client, so that they hold
/// the network and the server's queue.
const LATENCIES: [(&str, &str); 4] = [
    ("ttft", "request sent to first output token, as the client sees it"),
    ("tpot", "time per output token after the first, as the client sees it"),
    ("itl", "gap between answers of the server, each of one token or more"),
    ("e2el", "request sent to last output token, as the client sees it"),
];

pub(super) fn read(text: &str, name: &str) -> Read<Found> {
    let value: Value = serde_json::from_str(text).map_err(|e| json_problem(&e, 0))?;
    let Value::Object(object) = &value else {
        return Err(Problem::new("", "it is not one JSON object, as vLLM writes"));
    };
    let of = |error: serde_json::Error| Problem::new("", error.to_string());
    let (format, draft) = if object.contains_key("avg_latency") {
        ("latency", latency(serde_json::from_value(value.clone()).map_err(of)?, name)?)
    } else if object.contains_key("elapsed_time") {
        ("throughput", throughput(&serde_json::from_value(value.clone()).map_err(of)?, name)?)
    } else if object.contains_key("request_throughput") {
        ("serve", serve(&serde_json::from_value(value.clone()).map_err(of)?, object)?)
    } else {
        return Err(Problem::new(
            "",
            "it has none of request_throughput (serve), avg_latency (latency) and elapsed_time \
             (throughput)",
        ));
    };
    Ok(Found { tool: Tool::Vllm, tool_version: None, format, drafts: vec![draft] })
}

#[derive(Debug, Deserialize)]
struct Latency {
    avg_latency: f64,
    latencies: Vec<f64>,
    #[serde(default)]
    percentiles: BTreeMap<String, f64>,
}

fn latency(file: Latency, name: &str) -> Read<Draft> {
    let round = |(i, seconds): (usize, &f64)| {
        let total_ns = ns_of_s(&format!("latencies[{i}]"), *seconds)?;
        Ok(ImportedRoundFile { passes: 1, total_ns })
    };
    let rounds = file.latencies.iter().enumerate().map(round).collect::<Read<Vec<_>>>()?;
    if rounds.is_empty() {
        return Err(Problem::new("latencies", "it is empty"));
    }
    let mut percentiles_ns = BTreeMap::new();
    for (q, seconds) in &file.percentiles {
        let ns = figure(&format!("percentiles.{q}"), Some(*seconds), 1e9)?;
        percentiles_ns.extend(ns.map(|ns| (format!("p{q}"), ns)));
    }
    Ok(Draft {
        axes: named("latency", name),
        latencies: vec![ImportedLatencyFile {
            metric: "e2el".into(),
            description: "a whole batch, from its prompts to its last token".into(),
            count: Some(rounds.len() as u64),
            mean_ns: figure("avg_latency", Some(file.avg_latency), 1e9)?,
            stddev_ns: None,
            min_ns: None,
            max_ns: None,
            percentiles_ns,
        }],
        rounds,
        remarks: vec![
            "vLLM's file has neither the model nor the lengths and the size of the batch, so that \
             no rate is known"
                .into(),
        ],
        ..Draft::default()
    })
}

#[derive(Debug, Deserialize)]
struct Throughput {
    elapsed_time: f64,
    num_requests: u64,
    total_num_tokens: u64,
}

fn throughput(file: &Throughput, name: &str) -> Read<Draft> {
    if file.total_num_tokens == 0 {
        return Err(Problem::new("total_num_tokens", "no token was computed"));
    }
    let total_ns = ns_of_s("elapsed_time", file.elapsed_time)?;
    Ok(Draft {
        axes: ImportedAxesFile {
            other: other([("num_requests", Some(file.num_requests.to_string()))]),
            ..named("throughput", name)
        },
        tokens: Some((file.total_num_tokens, "vllm_total_tokens_per_s")),
        rounds: vec![ImportedRoundFile { passes: 1, total_ns }],
        remarks: vec![
            "tokens are of prompts and of answers together, over the whole run as one round".into(),
        ],
        ..Draft::default()
    })
}

/// Axes of a file that does not name its model: its own name is all that tells it from others.
fn named(test: &str, name: &str) -> ImportedAxesFile {
    let other = other([("file", Some(name.to_owned()))]);
    ImportedAxesFile {
        test: test.into(),
        kernels: Some("vllm".into()),
        other,
        ..ImportedAxesFile::default()
    }
}

#[derive(Debug, Deserialize)]
struct Serve {
    date: Option<String>,
    model_id: Option<String>,
    duration: f64,
    completed: u64,
    failed: Option<u64>,
    num_prompts: Option<u64>,
    request_rate: Option<Value>,
    burstiness: Option<f64>,
    max_concurrency: Option<Value>,
    total_output_tokens: u64,
}

fn serve(file: &Serve, object: &Map<String, Value>) -> Read<Draft> {
    if file.completed == 0 || file.total_output_tokens == 0 {
        return Err(Problem::new("completed", "no request was answered"));
    }
    let remarks = vec![
        "tokens are those of the answers alone, over the whole run as one round".to_owned(),
        "latencies are the client's, with the network and the server's queue".into(),
    ];
    let unanswered = file.failed.or_else(|| Some(file.num_prompts?.saturating_sub(file.completed)));
    let unanswered = unanswered.filter(|n| *n > 0);
    let failure = unanswered.map(|n| format!("{n} requests were not answered"));
    let latencies = LATENCIES
        .iter()
        .map(|(metric, description)| served_latency(file, object, metric, description))
        .collect::<Read<Vec<_>>>()?;
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(value) => Some(value.to_string()),
    };
    let model = file.model_id.as_deref().map(|id| id.rsplit('/').next().unwrap_or(id).to_owned());
    Ok(Draft {
        axes: ImportedAxesFile {
            model,
            test: "serve".into(),
            kernels: Some("vllm".into()),
            other: other([
                ("num_prompts", file.num_prompts.map(|n| n.to_string())),
                ("request_rate", text(&file.request_rate)),
                ("burstiness", file.burstiness.map(|b| b.to_string())),
                ("max_concurrency", text(&file.max_concurrency)),
            ]),
            ..ImportedAxesFile::default()
        },
        measured: file.date.clone(),
        tokens: Some((file.total_output_tokens, "vllm_output_tokens_per_s")),
        rounds: vec![ImportedRoundFile {
            passes: 1,
            total_ns: ns_of_s("duration", file.duration)?,
        }],
        latencies: latencies.into_iter().flatten().collect(),
        remarks,
        failure,
        ..Draft::default()
    })
}

/// The figures of one latency; absent if the run was not asked for it.
fn served_latency(
    file: &Serve,
    object: &Map<String, Value>,
    metric: &str,
    description: &str,
) -> Read<Option<ImportedLatencyFile>> {
    let ms = |key: String| match object.get(&key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_f64().ok_or_else(|| Problem::new(&key, "it is not a number"))?;
            figure(&key, Some(number), 1e6)
        }
    };
    let Some(mean_ns) = ms(format!("mean_{metric}_ms"))? else { return Ok(None) };
    let mut percentiles_ns = BTreeMap::new();
    percentiles_ns.extend(ms(format!("median_{metric}_ms"))?.map(|ns| ("p50".to_owned(), ns)));
    let end = format!("_{metric}_ms");
    for key in object.keys() {
        let percentile = key.strip_suffix(&end).and_then(|key| key.strip_prefix('p'));
        if let Some(percentile) = percentile.filter(|p| p.parse::<f64>().is_ok()) {
            percentiles_ns.extend(ms(key.clone())?.map(|ns| (format!("p{percentile}"), ns)));
        }
    }
    let is_per_request = metric != "itl";
    Ok(Some(ImportedLatencyFile {
        metric: metric.into(),
        description: description.into(),
        count: is_per_request.then_some(file.completed),
        mean_ns: Some(mean_ns),
        stddev_ns: ms(format!("std_{metric}_ms"))?,
        min_ns: None,
        max_ns: None,
        percentiles_ns,
    }))
}
