//! `benchinf logits`.

use std::process::ExitCode;

use serde::Serialize;

use super::args::LogitsArgs;
use crate::cli::print;
use crate::error::Result;
use crate::model::ModelSpec;
use crate::{result, workload};

#[derive(Serialize)]
struct Logits<'a> {
    model: &'a str,
    dtype: &'a str,
    tokens: &'a [u32],
    logits: &'a [f32],
}

pub(in crate::cli) fn run(args: LogitsArgs) -> Result<ExitCode> {
    let spec = ModelSpec::resolve(&args.model)?;
    let n_threads = args.threads.unwrap_or_else(result::physical_cores);
    let logits =
        workload::last_logits(&spec, args.device, args.dtype, args.seed, n_threads, &args.tokens)?;
    let object = Logits {
        model: &spec.label,
        dtype: args.dtype.name(),
        tokens: &args.tokens,
        logits: &logits,
    };
    let mut text = serde_json::to_string(&object).expect("keys are strings");
    text.push('\n');
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
