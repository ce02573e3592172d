//! Result files as a run would have written them, of any cases, for benches that need large ones.

use benchinf::Result;
use benchinf::case::Case;
use benchinf::measure::{PassTimes, Recorder};
use benchinf::model::DecoderConfig;
use benchinf::result::file::{
    AxesFile, CaseFile, CheckFile, ResultFile, RoundFile, RunEnd, WorkFile,
};
use benchinf::result::{self, Assembly, Entry, Record};

/// Passes of a round.
const N_PASSES: u64 = 16;

/// Rates that times are made from.
const FLOPS_PER_S: f64 = 60e9;
const BYTES_PER_S: f64 = 20e9;

/// A file of these cases of the small one's first model: rounds of 16 passes each, no two of which
/// took the same time, with all that follows from them.
pub fn file(
    small: &ResultFile,
    name: &str,
    n_rounds: u32,
    axes: impl Iterator<Item = AxesFile>,
) -> Result<ResultFile> {
    let mut file = small.clone();
    file.run.id = name.into();
    file.plan.repetitions = n_rounds;
    let config = DecoderConfig::parse(&file.plan.models[0].config.to_string(), "the fixture")?;
    let template = small.cases[1].clone();
    let live: Vec<Case> =
        axes.map(|axes| result::case_of(&axes).expect("the axes name a case")).collect();
    file.cases = live.iter().map(|case| result::case_file(case, &config)).collect();
    let works: Vec<WorkFile> = file.cases.iter().map(|case| case.work).collect();
    let mut assembly = Assembly::new(file).expect("no id is there twice");
    let mut at_ns = 0;
    for (i, (case, work)) in (0_u64..).zip(live.iter().zip(works)) {
        let warm_up = template.warm_up.expect("the fixture's cases were warmed up");
        let mut records = vec![Record::WarmUp { id: case.id(), warm_up }];
        let seed = |n| (i * 8 + u64::from(n)) ^ u64::from(name.as_bytes()[0]) << 32;
        records.extend((0..n_rounds).map(|n| round(case, &work, &template, seed(n), n)));
        for record in records {
            at_ns += 1;
            assembly.apply(&Entry { at_ns, record }).expect("it can have happened");
        }
    }
    Ok(assembly.finish(RunEnd::Completed, small.run.finished.clone(), at_ns))
}

/// A round whose times are drawn from `seed` around those that the work would take.
fn round(case: &Case, work: &WorkFile, template: &CaseFile, seed: u64, n: u32) -> Record {
    let mut recorder = Recorder::new(case.test);
    let mut state = seed;
    let n_iterations = case.test.forward_passes();
    let pass_ns = (work.flops.0 as f64 / FLOPS_PER_S + work.bytes_min.0 as f64 / BYTES_PER_S) * 1e9;
    let typical_ns = (pass_ns / n_iterations as f64).max(100.0) as u64;
    let mut passes = Vec::new();
    for _ in 0..N_PASSES {
        let iteration = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            typical_ns + (state >> 33) % (typical_ns / 5)
        };
        let iteration_ns: Vec<u64> = (0..n_iterations).map(iteration).collect();
        passes.push(iteration_ns.iter().sum::<u64>());
        recorder.record_pass(PassTimes { host_ns: &iteration_ns, device_ns: None });
    }
    let (min_pass_idx, min_pass_ns) =
        (0..).zip(passes.iter().copied()).min_by_key(|(_, ns)| *ns).expect("there are passes");
    let round = RoundFile {
        start_ns: u64::from(n) * 20_000_000_000 + seed % 1_000 * 17_000_000,
        passes: N_PASSES,
        iterations: N_PASSES * n_iterations,
        total_ns: passes.iter().sum(),
        min_pass_ns,
        min_pass_idx: Some(min_pass_idx),
        max_pass_ns: passes.iter().copied().max().expect("there are passes"),
        block_pass_ns: passes,
        ..template.rounds[0].clone()
    };
    let check = template.check.clone().expect("the fixture's cases were checked");
    Record::Round {
        id: case.id(),
        round: Box::new(round),
        check: CheckFile { passes: N_PASSES, ..check },
        kernel: None,
        latencies: result::latency_files(&recorder),
    }
}
