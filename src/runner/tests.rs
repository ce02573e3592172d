//! The order of rounds, what interrupts and failures leave behind, and the sharing of time: real
//! models, by a clock that goes on by a fixed step with every reading.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::case::{CudaGraphs, DeviceSpec, Kernels, Operands, Placement};
use crate::kernels::Instructions;
use crate::measure::ManualClock;
use crate::model::ModelSpec;
use crate::plan::{Axes, Resources, Settings};
use crate::result::file::{
    CaseFile, OutcomeFile, ReferenceFile, ResultFile, StopFile, WarningKindFile,
};
use crate::result::{Assembly, Entry};

fn settings() -> Settings {
    Settings {
        device: DeviceSpec::Cpu,
        placement: Placement::Anywhere,
        seed: 0,
        repetitions: 3,
        warm_up_passes: 1,
        min_time_ns: 0,
        max_time_ns: None,
        injected_slowdown: None,
    }
}

fn plan_of(n_prompts: &[u32], n_gens: &[u32], settings: Settings) -> Plan {
    let axes = Axes {
        models: vec![ModelSpec::resolve("tiny").unwrap()],
        dtypes: vec![Dtype::F32],
        kernels: vec![Kernels::Fused],
        cuda_graphs: vec![CudaGraphs::Off],
        n_threads: vec![1],
        n_prompts: n_prompts.to_vec(),
        n_gens: n_gens.to_vec(),
        requests: vec![],
        n_depths: vec![0, 3],
        batch_sizes: vec![1],
        ceilings: false,
    };
    Plan::new(axes, settings, Resources::default()).unwrap()
}

/// The file of a plan before anything was measured.
fn unmeasured(plan: &Plan) -> ResultFile {
    recorded::unmeasured(plan, vec!["benchinf".into()], &mut |_| {}).unwrap()
}

/// Runs by a clock that goes on by 1 µs with every reading, from `file` on; gives the result and
/// the order of rounds. Interrupts after `interrupt_at` rounds have begun.
fn run_from(
    plan: &Plan,
    file: ResultFile,
    interrupt_at: Option<usize>,
) -> (ResultFile, Assembly, Vec<String>) {
    let interrupted = AtomicBool::new(false);
    let mut rounds = Vec::new();
    let mut assembly = Assembly::new(file.clone()).unwrap();
    let mut watch = |event: Event| {
        if let Event::Round { id, round_idx, .. } = event {
            rounds.push(format!("{round_idx} {}", id.rsplit('/').next().unwrap()));
            let stop_now = interrupt_at.is_some_and(|n| rounds.len() > n);
            interrupted.store(stop_now, Ordering::Relaxed);
        }
    };
    let mut record = |at_ns, record| {
        assembly.apply(&Entry { at_ns, record }).unwrap();
        Ok(())
    };
    let clock = ManualClock::stepping(1_000);
    let observers = Observers { interrupted: &interrupted, watch: &mut watch, record: &mut record };
    let ended = run(plan, items(plan, Some(&file)), &clock, observers).unwrap();
    let result = assembly.clone().finish(ended, "2026-01-01T00:00:00Z".into(), 0);
    (result, assembly, rounds)
}

fn run_stepping(plan: &Plan, interrupt_at: Option<usize>) -> (ResultFile, Vec<String>) {
    let (result, _, rounds) = run_from(plan, unmeasured(plan), interrupt_at);
    (result, rounds)
}

/// Probes that take no time.
fn make_small(plan: &mut Plan) {
    for planned in &mut plan.probes {
        planned.sizes.gemm_size = 96;
        planned.sizes.working_set = crate::units::Bytes(4 * 6 * 8 * 1000);
    }
}

fn n_rounds(result: &ResultFile) -> Vec<usize> {
    result.cases.iter().map(|case| case.rounds.len()).collect()
}

#[test]
fn rounds_are_interleaved_checked_and_all_measured() {
    let (result, rounds) = run_stepping(&plan_of(&[2, 4], &[], settings()), None);
    let once = ["pp2@d0", "pp4@d0", "pp2@d3", "pp4@d3"];
    let want: Vec<String> =
        (0..3).flat_map(|round| once.map(|test| format!("{round} {test}"))).collect();
    assert_eq!(rounds, want);
    assert_eq!(result.run.ended, RunEnd::Completed);
    for case in &result.cases {
        // One reading before and one after the only iteration of the only pass.
        assert!(case.rounds.iter().all(|r| (r.passes, r.total_ns) == (1, 1_000)));
        assert_eq!(case.kernel.as_deref(), Some(Instructions::detect().of_floats().name()));
        let warm_up = case.warm_up.unwrap();
        assert_eq!((case.rounds.len(), warm_up.cold_start_ns), (3, 1_000));
        // Without a minimum time there is none to get steady in.
        assert_eq!((warm_up.passes, warm_up.steady), (1, Some(false)));
        let check = case.check.as_ref().unwrap();
        assert_eq!((check.passes, check.values), (3, 512));
        assert!(check.max_error <= check.tolerance);
        assert_eq!(check.reference, ReferenceFile::ChunkedPrefill);
        for round in &case.rounds {
            let conditions = serde_json::to_value(round.conditions.as_ref().unwrap()).unwrap();
            for (key, value) in conditions.as_object().unwrap() {
                let never = result.environment.unavailable.get(&format!("conditions.{key}"));
                let here = conditions.get("absent").and_then(|absent| absent.get(key));
                let reasons = usize::from(never.is_some()) + usize::from(here.is_some());
                assert_eq!(reasons, usize::from(value.is_null()), "{key}: {conditions}");
            }
        }
    }
}

#[test]
fn an_interrupt_keeps_finished_rounds_and_the_rest_can_follow() {
    let plan = plan_of(&[2], &[3], settings());
    let (result, assembly, rounds) = run_from(&plan, unmeasured(&plan), Some(5));
    assert_eq!(rounds.len(), 6);
    assert_eq!(result.run.ended, RunEnd::Interrupted);
    assert_eq!(n_rounds(&result), [2, 1, 1, 1]);
    // Going on measures what is missing, and only that.
    let (result, _, rounds) = run_from(&plan, assembly.file().clone(), None);
    assert_eq!(rounds[0], "1 tg3@d0");
    assert_eq!(rounds.len(), 12 - 5);
    assert_eq!(result.run.ended, RunEnd::Completed);
    assert_eq!(n_rounds(&result), [3; 4]);
}

#[test]
fn a_round_that_was_interrupted_is_flagged_or_measured_anew() {
    let plan = plan_of(&[], &[2], Settings { min_time_ns: 30_000, ..settings() });
    let interrupted = AtomicBool::new(false);
    let mut assembly = Assembly::new(unmeasured(&plan)).unwrap();
    let mut n_rounds_seen = 0;
    // Stops the second round after its first passes, which take 2 µs each.
    struct Stopping<'a>(ManualClock, &'a AtomicBool, std::sync::atomic::AtomicU64);
    impl crate::measure::Clock for Stopping<'_> {
        fn now_ns(&self) -> u64 {
            let left = self.2.load(Ordering::Relaxed);
            self.2.store(left.saturating_sub(1), Ordering::Relaxed);
            if left == 1 {
                self.1.store(true, Ordering::Relaxed);
            }
            self.0.now_ns()
        }
    }
    let clock = Stopping(ManualClock::stepping(1_000), &interrupted, Default::default());
    let mut watch = |event: Event| {
        if let Event::Round { .. } = event {
            n_rounds_seen += 1;
            if n_rounds_seen == 2 {
                clock.2.store(40, Ordering::Relaxed);
            }
        }
    };
    let mut record = |at_ns, record| {
        assembly.apply(&Entry { at_ns, record }).unwrap();
        Ok(())
    };
    let observers = Observers { interrupted: &interrupted, watch: &mut watch, record: &mut record };
    let ended = run(&plan, items(&plan, Some(&unmeasured(&plan))), &clock, observers).unwrap();
    assert_eq!(ended, RunEnd::Interrupted);
    let partial = assembly.clone().finish(ended, "2026-01-01T00:00:00Z".into(), 0);
    assert_eq!(n_rounds(&partial), [1, 1]);
    let round = &partial.cases[1].rounds[0];
    assert_eq!(round.stop, StopFile::Interrupted);
    assert!((1..15).contains(&round.passes), "{}", round.passes);
    let kinds = |case: &CaseFile| case.warnings.iter().map(|w| w.kind.clone()).collect::<Vec<_>>();
    assert!(kinds(&partial.cases[1]).contains(&WarningKindFile::PartialRound));
    assert_eq!(partial.cases[1].latencies[0].count, round.iterations);

    // Whoever goes on measures it whole.
    let at = "2026-01-01T00:00:01Z".to_owned();
    assembly
        .apply(&Entry { at_ns: 1_000_000, record: Record::Resumed { at, binary_sha256: None } })
        .unwrap();
    assert_eq!(assembly.file().cases[1].rounds.len(), 0);
    let (whole, _, rounds) = run_from(&plan, assembly.file().clone(), None);
    assert_eq!(rounds[0], "0 tg2@d3");
    assert_eq!(n_rounds(&whole), [3, 3]);
    assert!(whole.cases[1].rounds.iter().all(|round| round.stop == StopFile::MinimaMet));
}

#[test]
fn the_time_for_all_is_shared_and_kept() {
    let max_time_ns = Some(20_000_000);
    let endless = Settings { min_time_ns: u64::MAX, max_time_ns, ..settings() };
    let (result, _) = run_stepping(&plan_of(&[], &[20, 30], endless), None);
    let cases = &result.cases;
    // Twelve rounds and four warm-ups, none of which could reach its minimum: each got a
    // share, all were measured, and the last one ended within a few of its passes.
    assert_eq!(result.run.ended, RunEnd::Completed);
    assert!(cases.iter().all(|case| case.rounds.len() == 3));
    let rounds = || cases.iter().flat_map(|case: &CaseFile| &case.rounds);
    assert!(rounds().all(|round| round.stop == StopFile::MaxTime));
    let end_ns = rounds().map(|round| round.start_ns + round.total_ns).max().unwrap();
    assert!((18_000_000..20_400_000).contains(&end_ns), "{end_ns}");

    let none = Settings { max_time_ns: Some(0), ..settings() };
    let (result, rounds) = run_stepping(&plan_of(&[2], &[], none), None);
    assert_eq!((result.run.ended, rounds.len()), (RunEnd::TimeUp, 0));
}

#[test]
fn a_case_that_panics_or_does_not_fit_is_a_row_and_the_others_run() {
    let mut plan = plan_of(&[2], &[3], settings());
    plan.cases[1].skip = Some("too large".into());
    // A cache that is too small for this case: writing beyond it fails in the engine.
    plan.cases[2].case.n_depth = 5_000;
    let (result, _) = run_stepping(&plan, None);
    let outcomes: Vec<_> = result.cases.iter().map(|case| &case.outcome).collect();
    assert_eq!(*outcomes[0], OutcomeFile::Measured);
    assert_eq!(*outcomes[1], OutcomeFile::Skipped { reason: "too large".into() });
    assert!(matches!(outcomes[2], OutcomeFile::Failed { .. }), "{outcomes:?}");
    assert_eq!(*outcomes[3], OutcomeFile::Measured);
    assert!(result.cases[2].rounds.is_empty() && result.cases[2].latencies.is_empty());
}

#[test]
fn probes_take_turns_with_cases_and_prove_what_they_did() {
    let mut plan = plan_of(&[2], &[], settings());
    plan.settings.repetitions = 2;
    let axes = Axes {
        models: plan.models.clone(),
        dtypes: vec![Dtype::F32, Dtype::BF16],
        kernels: vec![Kernels::Fused],
        cuda_graphs: vec![CudaGraphs::Off],
        n_threads: vec![2],
        n_prompts: vec![2],
        n_gens: vec![],
        requests: vec![],
        n_depths: vec![0],
        batch_sizes: vec![1],
        ceilings: true,
    };
    let mut plan = Plan::new(axes, plan.settings, Resources::default()).unwrap();
    make_small(&mut plan);
    let (result, rounds) = run_stepping(&plan, None);
    assert_eq!(rounds.len(), 2 * (5 + 2));
    assert_eq!(result.ceilings.len(), 5);
    for ceiling in &result.ceilings {
        assert_eq!(ceiling.outcome, OutcomeFile::Measured, "{}", ceiling.id);
        assert!(ceiling.kernel.is_some() && ceiling.rate.as_ref().unwrap().best_per_s > 0.0);
        let check = ceiling.check.as_ref().unwrap();
        // Three passes in each of two rounds.
        assert!(check.passes == 6 && check.max_error <= check.tolerance);
    }
    let roofline = result.cases[0].roofline.as_ref().unwrap();
    assert_eq!(roofline.compute_ceiling.as_deref(), Some("gemm/f32/cpu/t2"));
    assert!(roofline.compute_share.is_some());
}

#[test]
fn probes_that_memory_does_not_hold_at_once_are_made_anew_for_each_round() {
    let of_probes = |keeps_probes| {
        let two = Settings { repetitions: 2, ..settings() };
        let operands = [Operands::F32, Operands::F16];
        let mut plan = Plan::of_probes(&operands, &[], &[1, 2], two, Resources::default()).unwrap();
        assert!(plan.keeps_probes);
        plan.keeps_probes = keeps_probes;
        make_small(&mut plan);
        let (result, rounds) = run_stepping(&plan, None);
        assert_eq!(rounds.len(), 2 * 10);
        result
    };
    for result in [of_probes(true), of_probes(false)] {
        assert_eq!(result.ceilings.len(), 10);
        for ceiling in &result.ceilings {
            assert_eq!(ceiling.outcome, OutcomeFile::Measured, "{}", ceiling.id);
            // A pass that only touches new memory is in no round.
            assert!(ceiling.rounds.iter().all(|round| round.passes == 3));
        }
    }
}
