//! What a page costs: `cargo bench --no-default-features --bench report`.
//!
//! A result file of 1,000 cases becomes a page. `-- --files DIR` writes that file and a second side
//! of it instead of timing, for the browser test.

mod synthetic;

use std::path::{Path, PathBuf};

use benchinf::Result;
use benchinf::measure::{Clock, MonotonicClock};
use benchinf::report::{NamedReading, page};
use benchinf::result::file::{AxesFile, ResultFile};
use benchinf::result::{self, AnyReading};
use benchinf::stats;

// As the binary has it.
#[cfg(feature = "infer")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_CASES: usize = 1_000;
const N_ROUNDS: u32 = 5;
const REPEATS: usize = 9;
const TARGET_S: f64 = 2.0;
const TARGET_MB: f64 = 5.0;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/results/valid/v1.1.json");
    let small = result::read(&fixture)?;
    let mut arguments = std::env::args().skip(1).filter(|arg| arg != "--bench");
    if let Some("--files") = arguments.next().as_deref() {
        let directory = PathBuf::from(arguments.next().expect("--files needs a directory"));
        for (name, n) in [("sweep", 60), ("sweep-new", 60), ("large", N_CASES)] {
            write(&small, name, n, &directory)?;
        }
        return Ok(());
    }
    let directory = tempfile::tempdir().expect("the system has a temporary directory");
    let path = write(&small, "large", N_CASES, directory.path())?;
    let clock = MonotonicClock::default();
    let (mut reading_s, mut page_s, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..REPEATS {
        let begin_ns = clock.now_ns();
        let reading: AnyReading = result::read_any(&path)?;
        let read_ns = clock.now_ns();
        bytes = page(&[NamedReading { name: "large.json", reading: &reading }], None).len();
        reading_s.push((read_ns - begin_ns) as f64 / 1e9);
        page_s.push((clock.now_ns() - read_ns) as f64 / 1e9);
    }
    let median = |values: &[f64]| stats::median(values).unwrap_or(f64::NAN);
    let (reading_s, page_s, mb) = (median(&reading_s), median(&page_s), bytes as f64 / 1e6);
    let verdict = |met: bool| if met { "met" } else { "missed" };
    println!("{N_CASES} cases of {N_ROUNDS} rounds; medians of {REPEATS}");
    println!("read and verify: {reading_s:.3} s");
    println!("page: {page_s:.3} s (target {TARGET_S} s, {})", verdict(page_s < TARGET_S));
    println!("size: {mb:.2} MB (target {TARGET_MB} MB, {})", verdict(mb < TARGET_MB));
    Ok(())
}

/// A file of the first `n` cases of a sweep over dtypes, batches, depths, prompts and tests.
fn write(small: &ResultFile, name: &str, n: usize, directory: &Path) -> Result<PathBuf> {
    let template = &small.cases[1].axes;
    let tests = [(64, 0), (0, 16), (64, 8), (128, 0), (256, 0)];
    let axes = (0..).flat_map(|depth: u32| {
        [1, 2, 4, 8].into_iter().flat_map(move |batch_size| {
            tests.into_iter().map(move |(n_prompt, n_gen)| AxesFile {
                n_depth: depth * 64,
                batch_size,
                n_prompt,
                n_gen,
                ..template.clone()
            })
        })
    });
    let mut file = synthetic::file(small, name, N_ROUNDS, axes.take(n))?;
    let path = directory.join(format!("{name}.json"));
    std::fs::write(&path, result::seal(&mut file, None)).expect("the directory can be written to");
    Ok(path)
}
