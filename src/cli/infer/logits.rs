//! `benchinf logits`.

use std::process::ExitCode;

use serde::Serialize;

use super::args::LogitsArgs;
use super::run::{kernels, resources};
use crate::case::{CudaGraphs, Placement};
use crate::cli::print;
use crate::device::Device;
use crate::error::Result;
use crate::model::ModelSpec;
use crate::model::weights::Weights;
use crate::plan::{Axes, Plan, Settings};
use crate::{result, runner};

#[derive(Serialize)]
struct Logits<'a> {
    model: &'a str,
    dtype: &'a str,
    tokens: &'a [u32],
    logits: &'a [f32],
}

pub(in crate::cli) fn run(args: LogitsArgs) -> Result<ExitCode> {
    let plan = plan(&args)?;
    let object = Logits {
        model: &plan.models[0].label,
        dtype: args.dtype.name(),
        tokens: &args.tokens,
        logits: &runner::last_logits(&plan, &args.tokens)?,
    };
    let mut text = serde_json::to_string(&object).expect("keys are strings");
    text.push('\n');
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A single prefill, so that context and memory are checked as for any run.
fn plan(args: &LogitsArgs) -> Result<Plan> {
    let spec = ModelSpec::resolve(&args.model)?;
    Weights::check(&spec)?;
    let n_tokens = u32::try_from(args.tokens.len()).unwrap_or(u32::MAX);
    let axes = Axes {
        models: vec![spec],
        dtypes: vec![args.dtype],
        kernels: kernels(args.kernels.as_slice(), args.device, &[args.dtype]),
        cuda_graphs: vec![CudaGraphs::Off],
        n_threads: vec![args.threads.unwrap_or_else(result::physical_cores)],
        n_prompts: vec![n_tokens],
        n_gens: vec![],
        requests: vec![],
        n_depths: vec![0],
        batch_sizes: vec![1],
        ceilings: false,
    };
    let settings = Settings {
        device: args.device,
        placement: Placement::Anywhere,
        seed: args.seed,
        repetitions: 1,
        warm_up_passes: 0,
        min_time_ns: 0,
        max_time_ns: None,
        injected_slowdown: None,
    };
    Plan::new(axes, settings, resources(&Device::open(args.device)?))
}
