//! What classifying costs: `cargo bench --bench classify`.
//!
//! 10,000 result records, each a device of the catalogue with floors of its own, are held against
//! every rule set there ever was, bills included, on one core: verdicts with every comparison,
//! tiers and contradictions. Then the same as JSON. Then a result file of 10,000 cases, each with
//! its own ladder. And what reading the embedded rule files takes.

use std::path::Path;

use benchinf::Result;
use benchinf::classify::evidence::{Evidence, Source};
use benchinf::classify::interval::{Basis, BasisKind, End};
use benchinf::classify::metric::Metric;
use benchinf::classify::request::catalogue;
use benchinf::classify::rules;
use benchinf::classify::specification::Declarations;
use benchinf::classify::verdict::When;
use benchinf::classify::{Matching, References, Subject, Terms, classify, record};
use benchinf::measure::{Clock, MonotonicClock};
use benchinf::report::{ClassificationFormat, render_classifications};
use benchinf::result::{self, ResultFile};
use benchinf::stats;

const N_RECORDS: usize = 10_000;
const REPEATS: usize = 5;
const TARGET_S: f64 = 1.0;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/results/valid/v1.1.json");
    let small = result::read(&fixture)?;
    let terms = Terms::new(
        rules::embedded()?,
        When::Timeline(jiff::civil::Date::constant(2026, 11, 24)),
        Declarations::default(),
    );
    let n_paragraphs: usize = terms.sets.iter().map(|set| set.paragraphs.len()).sum();
    println!(
        "{N_RECORDS} records, {} rule sets, {n_paragraphs} paragraphs; medians of {REPEATS}, one thread",
        terms.sets.len()
    );
    let clock = MonotonicClock::default();
    let subjects = subjects(&small);
    let mut undetermined = 0;
    time(&clock, "verdicts, tiers", || {
        undetermined = 0;
        for subject in &subjects {
            let answer = classify(subject, &terms);
            undetermined += answer.verdicts.iter().filter(|v| v.by_specification.is_some()).count();
        }
    });
    assert_eq!(undetermined, N_RECORDS * n_paragraphs);
    let mut bytes = 0;
    time(&clock, "the same, written as JSON", || {
        bytes = 0;
        for subject in &subjects {
            let one = [record(&classify(subject, &terms), References::Nearest)];
            bytes += render_classifications(&one, ClassificationFormat::Json).len();
        }
    });
    println!("  ({:.0} MB)", bytes as f64 / 1e6);
    let large = large(&small);
    let mut terms = terms;
    terms.references = catalogue();
    let source = Source { name: "large.json", file: &large };
    let mut rungs = 0;
    time(&clock, "one file of as many cases, with rooflines of the catalogue", || {
        let evidence = Evidence::by_device(&[source], Some(1)).ok().and_then(|mut all| all.pop());
        let subject = subject("large", evidence, None);
        rungs = classify(&subject, &terms).cases.iter().map(|(case, _)| case.rungs.len()).sum();
    });
    assert!(rungs >= N_RECORDS);
    time(&clock, "reading the embedded rule files", || {
        assert!(rules::embedded().is_ok());
    });
    Ok(())
}

fn time(clock: &MonotonicClock, name: &str, mut work: impl FnMut()) {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begin_ns = clock.now_ns();
        work();
        times.push((clock.now_ns() - begin_ns) as f64 / 1e9);
    }
    let median = stats::median(&times).unwrap_or(f64::NAN);
    let verdict = if median < TARGET_S { "met" } else { "MISSED" };
    println!("{name}: {median:.3} s (target {TARGET_S} s, {verdict})");
}

fn subject<'a>(
    name: &str,
    evidence: Option<Evidence<'a>>,
    specification: Option<benchinf::classify::specification::Specification>,
) -> Subject<'a> {
    Subject {
        name: name.into(),
        evidence,
        specification,
        matching: Matching::Named,
        taint: Vec::new(),
    }
}

/// Devices of the catalogue in turn, each with floors somewhere below what it can do.
fn subjects(small: &ResultFile) -> Vec<Subject<'_>> {
    let devices = catalogue();
    let floor = |metric, value: f64| {
        let text = "gemm/f16/cpu/t2, 17179869184 operations in 108820361 + 29 ns × 16 bits".into();
        let basis = Basis { kind: BasisKind::Measured, text, grade: None };
        End::new(value, basis).map(|end| (metric, end))
    };
    (0..N_RECORDS)
        .map(|i| {
            let device = devices[i % devices.len()].clone();
            let share = (i as f64 * 0.618).fract();
            let source = Source { name: "small.json", file: small };
            let one = Evidence::of_one_device(&[source], Some(1));
            let mut evidence = one.expect("a file is of one device");
            let floors = [
                floor(Metric::Tpp, device.tpp.at_least() * share),
                floor(Metric::DramBandwidth, device.dram_bandwidth.at_least() * share),
            ];
            evidence.floors = floors.into_iter().flatten().collect();
            // One record each: its cases are another matter.
            evidence.packages = None;
            let name = device.name.clone();
            subject(&name, Some(evidence), Some(device))
        })
        .collect()
}

/// A file of many cases with claims.
fn large(small: &ResultFile) -> ResultFile {
    let mut file = small.clone();
    let with_claims = file.cases.iter().find(|case| case.claims.is_some());
    let template = with_claims.expect("the fixture has claims").clone();
    file.cases = (0..N_RECORDS)
        .map(|i| {
            let mut case = template.clone();
            case.id = format!("{}-{i}", case.id);
            case
        })
        .collect();
    file
}
