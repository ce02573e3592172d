//! Peak memory of a run against what it must hold: `cargo bench --bench memory`, on Linux.
//!
//! Each row is a process of its own that runs one round of a plan and reads its own peak
//! (`VmHWM`). What it must hold is weights, KV cache, and one step's activations, by
//! `model::cost`.

use std::process::Command;
use std::sync::atomic::AtomicBool;

use benchinf::case::{CudaGraphs, DeviceSpec, Kernels};
use benchinf::measure::MonotonicClock;
use benchinf::model::ModelSpec;
use benchinf::plan::{Axes, Plan, Resources, Settings};
use benchinf::result;
use benchinf::runner::{self, Observers};

// The allocator that benchinf itself uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TARGET: f64 = 1.3;

/// Model, dtype, prompt, generated, depth, batch.
const ROWS: &[&str] = &[
    "smollm2-135m f32 512 8 0 1",
    "smollm2-135m f32 4096 1 0 1",
    "smollm2-135m f16 512 8 0 1",
    "smollm2-135m bf16 64 2 0 1",
    "smollm2-135m bf16 16 2 512 8",
    "smollm2-135m f16 64 2 2048 8",
    "smollm2-135m f32 512 8 2048 8",
    "qwen2.5-0.5b f32 512 2 0 1",
    "qwen3-0.6b f16 128 2 0 4",
    "llama-3.2-1b f32 512 2 0 1",
];

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "row") {
        return row(&args[1..]);
    }
    if args.is_empty() {
        args = ROWS.iter().map(|row| (*row).to_owned()).collect();
    }
    println!(
        "model dtype prompt generated depth batch: peak / (weights + cache + activations + histograms)"
    );
    let mut all_met = true;
    for row in args {
        let status =
            Command::new(std::env::current_exe()?).arg("row").args(row.split(' ')).status()?;
        all_met &= status.success();
    }
    if all_met { Ok(()) } else { Err("a row missed the target or failed".into()) }
}

fn row(args: &[String]) -> Fallible<()> {
    let number = |i: usize| args.get(i).map_or(Ok(0), |text| text.parse::<u32>());
    let model = args.first().ok_or("a row needs a model")?;
    let axes = Axes {
        models: vec![ModelSpec::resolve(model)?],
        dtypes: vec![args.get(1).ok_or("a row needs a dtype")?.parse()?],
        kernels: vec![Kernels::Fused],
        cuda_graphs: vec![CudaGraphs::Off],
        n_threads: vec![result::physical_cores()],
        n_prompts: vec![number(2)?],
        n_gens: vec![number(3)?],
        requests: vec![],
        n_depths: vec![number(4)?],
        batch_sizes: vec![number(5)?],
        ceilings: false,
    };
    let settings = Settings {
        placement: Default::default(),
        device: DeviceSpec::Cpu,
        seed: 0,
        repetitions: 1,
        warm_up_passes: 1,
        min_time_ns: 0,
        max_time_ns: None,
        injected_slowdown: None,
    };
    let free_memory = result::available_memory();
    let resources = Resources { free_memory, ..Resources::default() };
    let plan = Plan::new(axes, settings, resources)?;
    let observers = Observers {
        interrupted: &AtomicBool::new(false),
        watch: &mut |_| {},
        record: &mut |_, _| Ok(()),
    };
    runner::run(&plan, runner::items(&plan, None), &MonotonicClock::default(), observers)?;

    let (need, peak) = (plan.memory, peak_bytes()?);
    let ratio = peak as f64 / need.total().0 as f64;
    let verdict = if ratio < TARGET { "met" } else { "MISSED" };
    println!(
        "{}: {} / ({} + {} + {}) = {ratio:.2} (target {TARGET}, {verdict})",
        args.join(" "),
        benchinf::units::Bytes(peak),
        need.weights,
        need.kv_cache,
        need.activations,
    );
    if ratio < TARGET {
        Ok(())
    } else {
        Err(format!("{} missed the target", args.join(" ")).into())
    }
}

/// The kernel's high-water mark of this process's resident memory.
fn peak_bytes() -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
