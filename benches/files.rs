//! What files cost: `cargo bench --bench files`.
//!
//! A result file of 10,000 cases is read, held against its digests, and merged with another, each
//! on one thread; and records are appended to a journal, which waits for the disk after each.

use std::path::Path;

use benchinf::Result;
use benchinf::histogram::Histogram;
use benchinf::measure::{Clock, MonotonicClock};
use benchinf::result::file::{CaseFile, ResultFile};
use benchinf::result::{self, Entry, Journal, Record, Verdict};
use benchinf::stats;

// As the binary has it.
#[cfg(feature = "infer")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_CASES: u32 = 10_000;
const REPEATS: usize = 5;
const TARGET_S: f64 = 1.0;
const N_RECORDS: usize = 200;
const TARGET_RECORD_MS: f64 = 1.0;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/results/valid/v1.1.json");
    let small = result::read(&fixture)?;
    let directory = tempfile::tempdir().expect("the system has a temporary directory");
    let [a, b] = ["a", "b"].map(|name| {
        let mut file = large(&small, name);
        let path = directory.path().join(format!("{name}.json"));
        let text = result::seal(&mut file, None);
        std::fs::write(&path, &text).expect("the temporary directory takes it");
        (path, text.len())
    });
    println!("{N_CASES} cases of 5 rounds, {:.1} MB; medians of {REPEATS}", a.1 as f64 / 1e6);
    let clock = MonotonicClock::default();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..REPEATS {
        let begin_ns = clock.now_ns();
        let file = result::read(&a.0)?;
        times[0].push((clock.now_ns() - begin_ns) as f64 / 1e9);

        let begin_ns = clock.now_ns();
        let verdict = result::verify_file(&a.0)?;
        times[1].push((clock.now_ns() - begin_ns) as f64 / 1e9);
        assert!(matches!(verdict, Verdict::Intact { .. }), "{verdict:?}");

        let other = result::read(&b.0)?;
        let files = vec![(a.0.clone(), file), (b.0.clone(), other)];
        let begin_ns = clock.now_ns();
        let merged = result::merge(files, vec!["benchinf".into()])?;
        times[2].push((clock.now_ns() - begin_ns) as f64 / 1e9);
        assert_eq!(merged.cases[0].rounds.len(), 10);
    }
    for (name, times) in ["read", "verify", "merge two, once read"].into_iter().zip(&times) {
        let median = stats::median(times).unwrap_or(f64::NAN);
        println!("{name}: {median:.2} s (target {TARGET_S} s, {})", verdict(median < TARGET_S));
    }
    journal(&small, &clock, Path::new(env!("CARGO_MANIFEST_DIR")))
}

/// A file of many cases, each with latencies of 640 values.
fn large(small: &ResultFile, name: &str) -> ResultFile {
    let mut file = small.clone();
    file.run.id = name.into();
    file.plan.repetitions = 5;
    let template = file.cases[1].clone();
    file.cases = (0..N_CASES).map(|i| case(&template, i)).collect();
    file
}

fn case(template: &CaseFile, i: u32) -> CaseFile {
    let mut case = template.clone();
    // As many depths as cases; the work is that of the template, which no reader recounts.
    case.axes.n_depth = i;
    let live = result::case_of(&case.axes).expect("the fixture's axes name a case");
    (case.id, case.axes.test) = (live.id(), live.test_name());
    let mut histogram = Histogram::default();
    for k in 0..640_u64 {
        let spread = (k.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(i)) % 2_800_000;
        histogram.record(12_600_000 + spread);
    }
    case.rounds = (0..5).map(|_| case.rounds[0].clone()).collect();
    let (moments, latency) = (*histogram.moments(), &mut case.latencies[0]);
    latency.count = moments.count;
    (latency.sum_ns, latency.min_ns, latency.max_ns) = (moments.sum, moments.min, moments.max);
    latency.mean_ns = moments.mean().unwrap_or(0.0);
    latency.stddev_ns = moments.stddev();
    latency.sum_of_squares_ns2 = moments.sum_of_squares();
    let at = |q| histogram.quantile(q).unwrap_or(0);
    latency.percentiles_ns = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
        .map(|(name, q)| (name.into(), at(q)))
        .into();
    latency.histogram.data = histogram.encode();
    let rates = vec![rate(&case); 5];
    let throughput = case.throughput.as_mut().expect("the fixture's cases were measured");
    (throughput.mean_tokens_per_s, throughput.median_tokens_per_s) = (rates[0], rates[0]);
    throughput.stddev_tokens_per_s = Some(0.0);
    throughput.interval = None;
    throughput.rounds_tokens_per_s = rates;
    case.claims = None;
    case
}

fn rate(case: &CaseFile) -> f64 {
    let round = &case.rounds[0];
    case.work.tokens as f64 * round.passes as f64 / (round.total_ns as f64 / 1e9)
}

/// Appends rounds as a run does.
fn journal(small: &ResultFile, clock: &MonotonicClock, beside: &Path) -> Result<()> {
    let directory = tempfile::tempdir_in(beside.join("target")).expect("target can be written to");
    let mut journal = Journal::create(&directory.path().join("x.json.journal"))?;
    let case = &small.cases[1];
    let mut times_ms = Vec::new();
    for at_ns in 0..N_RECORDS as u64 {
        let record = Record::Round {
            id: case.id.clone(),
            round: Box::new(case.rounds[0].clone()),
            check: case.check.clone().expect("the fixture's cases were checked"),
            kernel: None,
            latencies: case.latencies.clone(),
        };
        let begin_ns = clock.now_ns();
        journal.append(&Entry { at_ns, record })?;
        times_ms.push((clock.now_ns() - begin_ns) as f64 / 1e6);
    }
    let median = stats::median(&times_ms).unwrap_or(f64::NAN);
    println!(
        "a round in the journal, on the disk: {median:.2} ms, median of {N_RECORDS} (target \
         {TARGET_RECORD_MS} ms, {})",
        verdict(median < TARGET_RECORD_MS)
    );
    Ok(())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
