//! What measuring itself costs: `cargo bench --bench overhead`.
//!
//! A workload that does nothing shows the price of one recorded iteration: two looks at the
//! clock, the interrupt flag, the histogram and the moments. A workload of one millisecond shows
//! what the harness adds to it: the time of whole rounds less the time they recorded. Looking at
//! the machine between rounds is outside all timed regions, and has a price of its own.

use std::hint::black_box;

use benchinf::Result;
use benchinf::case::Test;
use benchinf::measure::{
    self, Check, Clock, Limits, MonotonicClock, PassTimes, Recorder, Reference, Workload,
};
use benchinf::stats;
use benchinf::telemetry::{Sampler, core_speed};

const TARGET_NULL_NS: f64 = 200.0;
const TARGET_SHARE: f64 = 0.001;
const TARGET_SAMPLE_NS: f64 = 500_000.0;
const ROUNDS: usize = 9;
const SAMPLES: usize = 1_000;

/// Waits by the clock; 0 for a workload that does nothing.
struct Wait<'a> {
    clock: &'a MonotonicClock,
    iteration_ns: u64,
    iterations_per_pass: usize,
}

impl Workload for Wait<'_> {
    fn iterations_per_pass(&self) -> usize {
        self.iterations_per_pass
    }

    fn reset(&mut self) -> Result<()> {
        black_box(());
        Ok(())
    }

    fn iterate(&mut self) -> Result<()> {
        if self.iteration_ns > 0 {
            let end = self.clock.now_ns() + self.iteration_ns;
            while self.clock.now_ns() < end {
                std::hint::spin_loop();
            }
        }
        black_box(());
        Ok(())
    }

    fn check(&mut self) -> Result<Check> {
        Ok(Check { reference: Reference::WordSum, values: 0, error: 0.0, tolerance: 0.0 })
    }
}

/// Wall time of one round per iteration, and the share of it that was not recorded.
fn round(workload: &mut Wait, passes: u64) -> Result<(f64, f64)> {
    let clock = workload.clock;
    let limits = Limits { min_ns: 0, min_passes: passes, max_ns: u64::MAX, max_passes: u64::MAX };
    let mut recorder = Recorder::new(Test::Decode { n_gen: workload.iterations_per_pass as u32 });
    let begin = clock.now_ns();
    let record = |pass: PassTimes<'_>| recorder.record_pass(pass);
    let round = measure::run_round(workload, clock, &limits, &|| black_box(false), record)?
        .expect("nothing interrupts it");
    let wall_ns = (clock.now_ns() - begin) as f64;
    Ok((wall_ns / round.iterations as f64, 1.0 - round.total_ns as f64 / wall_ns))
}

fn main() -> Result<()> {
    let clock = MonotonicClock::default();
    let mut null = Wait { clock: &clock, iteration_ns: 0, iterations_per_pass: 128 };
    let mut one_ms = Wait { clock: &clock, iteration_ns: 1_000_000, iterations_per_pass: 128 };
    round(&mut null, 1_000)?;

    let (mut null_ns, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        null_ns.push(round(&mut null, 10_000)?.0);
        shares.push(round(&mut one_ms, 2)?.1);
    }
    let median = |values: &[f64]| stats::median(values).unwrap_or(f64::NAN);
    let (null_ns, share) = (median(&null_ns), median(&shares));
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    println!("medians of {ROUNDS} rounds");
    println!(
        "one recorded iteration that does nothing: {null_ns:.0} ns (target {TARGET_NULL_NS} ns, {})",
        verdict(null_ns < TARGET_NULL_NS)
    );
    println!(
        "  of a 1 ms iteration that is {:.4} % (target {} %, {})",
        null_ns / 1e4,
        TARGET_SHARE * 100.0,
        verdict(null_ns / 1e6 < TARGET_SHARE)
    );
    println!(
        "time of rounds of 1 ms iterations that was not recorded: {:.4} % (target {} %, {})",
        share * 100.0,
        TARGET_SHARE * 100.0,
        verdict(share < TARGET_SHARE)
    );
    between_rounds(&clock);
    Ok(())
}

/// What is done between two rounds, each time: a sample of the machine, the speed of the core.
fn between_rounds(clock: &MonotonicClock) {
    let mut sampler = Sampler::new();
    let median_ns = |work: &mut dyn FnMut()| {
        let times: Vec<f64> = (0..SAMPLES)
            .map(|_| {
                let begin = clock.now_ns();
                work();
                (clock.now_ns() - begin) as f64
            })
            .collect();
        stats::median(&times).unwrap_or(f64::NAN)
    };
    let sample_ns = median_ns(&mut || {
        black_box(sampler.sample());
    });
    let speed_ns = median_ns(&mut || {
        black_box(core_speed(&|| clock.now_ns()));
    });
    let verdict = if sample_ns < TARGET_SAMPLE_NS { "met" } else { "MISSED" };
    println!("medians of {SAMPLES}, between rounds");
    println!(
        "one sample of the machine: {:.1} µs (target {:.0} µs, {verdict})",
        sample_ns / 1e3,
        TARGET_SAMPLE_NS / 1e3
    );
    println!("the speed of the core: {:.1} µs", speed_ns / 1e3);
}
