//! What files cost: `cargo bench --bench files`.
//!
//! A result file of 10,000 cases is read, held against its digests, and merged with another, each
//! on one thread; two are read and compared, each side on a thread of its own; and records are
//! appended to a journal, which waits for the disk after each.

mod synthetic;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use benchinf::Result;
use benchinf::compare;
use benchinf::measure::{Clock, MonotonicClock};
use benchinf::report::{self, ComparisonFormat};
use benchinf::result::file::{AxesFile, ResultFile};
use benchinf::result::{self, Entry, Journal, Record, Verdict};
use benchinf::stats;

// As the binary has it.
#[cfg(feature = "infer")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_CASES: u32 = 10_000;
const N_ROUNDS: u32 = 5;
const REPEATS: usize = 5;
const TARGET_S: f64 = 1.0;
const TARGET_COMPARE_S: f64 = 2.0;
const N_RECORDS: usize = 200;
const TARGET_RECORD_MS: f64 = 1.0;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/results/valid/v1.1.json");
    let small = result::read(&fixture)?;
    let directory = tempfile::tempdir().expect("the system has a temporary directory");
    let make = |name: &str| {
        let mut file = large(&small, name)?;
        let path = directory.path().join(format!("{name}.json"));
        let text = result::seal(&mut file, None);
        std::fs::write(&path, &text).expect("the temporary directory takes it");
        Ok((path, text.len()))
    };
    let (a, b): ((PathBuf, usize), (PathBuf, usize)) = (make("a")?, make("b")?);
    println!(
        "{N_CASES} cases of {N_ROUNDS} rounds of 16 blocks, {:.1} MB; medians of {REPEATS}",
        a.1 as f64 / 1e6
    );
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
    compare_two(&a.0, &b.0, &clock)?;
    journal(&small, &clock)
}

/// From two files on the disk to the text of their comparison, as the command does it.
fn compare_two(a: &Path, b: &Path, clock: &MonotonicClock) -> Result<()> {
    let (mut whole_s, mut judged_s) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let begin_ns = clock.now_ns();
        let (base, new) = compare::read_sides(&[a.to_owned()], &[b.to_owned()])?;
        let read_ns = clock.now_ns();
        let comparison = compare::compare(&base, &new, &compare::Options::default())?;
        assert_eq!(comparison.pairs.len(), N_CASES as usize);
        judged_s.push((clock.now_ns() - read_ns) as f64 / 1e9);
        let text = report::render_comparison(&comparison, ComparisonFormat::Text);
        assert!(text.len() > N_CASES as usize);
        whole_s.push((clock.now_ns() - begin_ns) as f64 / 1e9);
    }
    let [whole, judged] = [&whole_s, &judged_s].map(|s| stats::median(s).unwrap_or(f64::NAN));
    println!(
        "compare two, read and printed: {whole:.2} s (target {TARGET_COMPARE_S} s, {}); {judged:.2} s \
         for pairing and tests",
        verdict(whole < TARGET_COMPARE_S)
    );
    Ok(())
}

/// As many depths as cases.
fn large(small: &ResultFile, name: &str) -> Result<ResultFile> {
    let template = &small.cases[1].axes;
    let depths = (0..N_CASES).map(|n_depth| AxesFile { n_depth, ..template.clone() });
    synthetic::file(small, name, N_ROUNDS, depths)
}

/// Appends rounds as a run does.
fn journal(small: &ResultFile, clock: &MonotonicClock) -> Result<()> {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("target can be written to");
    let mut journal = Journal::create(&directory.path().join("x.json.journal"))?;
    let case = &small.cases[1];
    // What the disk takes for as many bytes, whoever writes them, in turns with the journal.
    let mut file = std::fs::File::create(directory.path().join("bytes")).expect("it can be made");
    let (mut times_ms, mut disk_ms) = (Vec::new(), Vec::new());
    let mut written = 0;
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

        let len = std::fs::metadata(journal.path()).expect("it is there").len() - written;
        let begin_ns = clock.now_ns();
        file.write_all(&vec![b'x'; len as usize])
            .and_then(|()| file.sync_data())
            .expect("target can be written to");
        disk_ms.push((clock.now_ns() - begin_ns) as f64 / 1e6);
        written += len;
    }
    let [median, disk] = [&times_ms, &disk_ms].map(|ms| stats::median(ms).unwrap_or(f64::NAN));
    println!(
        "a round in the journal, on the disk: {median:.2} ms, median of {N_RECORDS} (target \
         {TARGET_RECORD_MS} ms, {}); {disk:.2} ms for the disk alone",
        verdict(median < TARGET_RECORD_MS)
    );
    Ok(())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
