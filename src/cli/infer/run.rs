//! `benchinf run`, and `benchinf` alone.

use std::path::Path;
use std::process::ExitCode;

use super::args::{RunArgs, nanoseconds, values};
use super::{place, session};
use crate::axis::Axis;
use crate::case::{CudaGraphs, DeviceSpec, Dtype, Kernels};
use crate::cli::print;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Instructions;
use crate::model::ModelSpec;
use crate::model::weights::Weights;
use crate::plan::{Axes, Plan, PlannedCase, Processor, Resources, Settings};
use crate::result::{self, Destination};
use crate::units::Bytes;
use crate::workload;

pub(in crate::cli) fn run(args: RunArgs) -> Result<ExitCode> {
    if let Some(path) = &args.resume {
        return session::resume(path, &args.result);
    }
    let plan = plan(&args)?;
    if args.dry_run {
        print(&dry_run(&plan, &session::destination(&plan, &args.result)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    session::start(&plan, &args.result, dtypes(&args).1)
}

fn plan(args: &RunArgs) -> Result<Plan> {
    let placement = place(&args.placement)?;
    // Opening the device first: without it nothing else matters.
    let device = Device::open(args.device)?;
    let models: Vec<ModelSpec> = args
        .model
        .iter()
        .flat_map(|names| split_models(names))
        .map(ModelSpec::resolve)
        .collect::<Result<_>>()?;
    models.iter().try_for_each(Weights::check)?;
    let axes = Axes {
        models,
        dtypes: dtypes(args).0,
        kernels: kernels(&args.kernels, args.device, &dtypes(args).0),
        cuda_graphs: cuda_graphs(args)?,
        n_threads: threads(&args.threads),
        n_prompts: values(&args.n_prompt),
        n_gens: values(&args.n_gen),
        requests: args.request.iter().map(|r| (r.n_prompt, r.n_gen)).collect(),
        n_depths: values(&args.n_depth),
        batch_sizes: values(&args.batch_size),
        ceilings: !args.no_ceilings,
    };
    let settings = Settings {
        device: args.device,
        placement,
        seed: args.seed,
        repetitions: args.repetitions,
        warm_up_passes: if args.no_warmup { 0 } else { u64::from(args.warmup) },
        min_time_ns: nanoseconds(args.min_time),
        max_time_ns: args.max_time.map(nanoseconds),
        injected_slowdown: injected_slowdown(),
    };
    let plan = Plan::new(axes, settings, resources(&device))?;
    let replays = |planned: &PlannedCase| planned.case.cuda_graphs == CudaGraphs::On;
    match args.cuda_graphs.contains(&CudaGraphs::On) && !plan.cases.iter().any(replays) {
        true => Err(no_graphs("on", "no case has decode steps of our own kernels; use off")),
        false => Ok(plan),
    }
}

/// The formats asked for, or the one that the processor is best at, with the reason.
fn dtypes(args: &RunArgs) -> (Vec<Dtype>, Option<String>) {
    if !args.dtype.is_empty() {
        return (args.dtype.clone(), None);
    }
    let (dtype, reason) = match args.device {
        DeviceSpec::Cpu if Instructions::Avx512Bf16.is_available() => {
            (Dtype::BF16, "this processor has instructions for bf16")
        }
        DeviceSpec::Cpu => (Dtype::F32, "this processor has no instructions for bf16"),
        DeviceSpec::Cuda { .. } => (Dtype::BF16, "every supported GPU multiplies bf16"),
    };
    (vec![dtype], Some(format!("dtype {dtype}: {reason}; --dtype chooses another")))
}

/// Makes every iteration slower by the share in `BENCHINF_TEST_SLOWDOWN`, so that a test can see a
/// comparison find it. Nobody is told of it, and every case of the result says that it was done.
fn injected_slowdown() -> Option<f64> {
    let share: f64 = std::env::var("BENCHINF_TEST_SLOWDOWN").ok()?.parse().ok()?;
    (share > 0.0 && share <= 10.0).then_some(share)
}

/// The kernels asked for, or the fastest ones that the device has.
pub(super) fn kernels(given: &[Kernels], device: DeviceSpec, dtypes: &[Dtype]) -> Vec<Kernels> {
    let in_blocks = dtypes.iter().any(|dtype| matches!(dtype, Dtype::Q8_0 | Dtype::Q4K));
    match (given, device) {
        ([], DeviceSpec::Cuda { .. }) if in_blocks => vec![Kernels::Stock],
        ([], _) => vec![Kernels::Fused],
        (given, _) => given.to_vec(),
    }
}

/// How decode steps are launched: replayed where they can be, unless something else is asked for.
/// Stock kernels allocate in each step, so theirs cannot be captured.
fn cuda_graphs(args: &RunArgs) -> Result<Vec<CudaGraphs>> {
    match (args.cuda_graphs.first(), args.device) {
        (None, _) => Ok(vec![CudaGraphs::On]),
        (Some(asked), DeviceSpec::Cpu) => Err(no_graphs(
            asked.name(),
            "a processor has no CUDA graphs; leave it out, or use --device cuda",
        )),
        (Some(_), DeviceSpec::Cuda { .. }) => Ok(args.cuda_graphs.clone()),
    }
}

fn no_graphs(asked: &str, problem: &str) -> Error {
    let problem = problem.to_owned();
    Error::BadValue { flag: "--cuda-graphs", value: asked.to_owned(), problem }
}

/// The threads asked for, or one for each core.
pub(super) fn threads(given: &[Axis]) -> Vec<u32> {
    match given {
        [] => vec![result::physical_cores()],
        given => values(given),
    }
}

/// What the plan must fit.
pub(super) fn resources(device: &Device) -> Resources {
    // On another device, memory of the host decides nothing.
    match (device.free_bytes(), device.last_level_cache_bytes()) {
        (None, _) => Resources {
            free_memory: result::available_memory(),
            last_level_cache: result::last_level_cache(),
            capability: None,
            n_devices: 0,
            processor: Some(Processor {
                n_cores: result::physical_cores(),
                memory: result::total_memory(),
                flops_per_cycle: workload::flops_per_cycle,
            }),
        },
        (Some(free), cache) => Resources {
            free_memory: Some(Bytes(free)),
            last_level_cache: cache.map(Bytes),
            capability: device.capability(),
            n_devices: device.n_devices(),
            processor: None,
        },
    }
}

/// A list of models, unless the whole text is the path of one.
fn split_models(names: &str) -> Vec<&str> {
    match Path::new(names).exists() {
        true => vec![names],
        false => names.split(',').collect(),
    }
}

fn dry_run(plan: &Plan, destination: &Destination) -> String {
    let mut text = String::new();
    for planned in &plan.cases {
        text += &planned.case.id();
        if let Some(reason) = &planned.skip {
            text += &format!("  skipped: {reason}");
        }
        text.push('\n');
    }
    text += &format!(
        "{} case(s) and {} probe(s), {} round(s) each; about {} of memory; result file {}\n",
        plan.cases.len(),
        plan.probes.len(),
        plan.settings.repetitions,
        plan.memory.total(),
        destination.path().display(),
    );
    text
}
