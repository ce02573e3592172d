//! Pages of results, as far as they can be looked at without a browser; `tests/browser` opens them.

use benchinf::measure::Metric;
use benchinf::result::file::AxesFile;

use crate::made::{Made, around};
use crate::{Sandbox, repository};

const VALID: &str = "tests/data/results/valid";

fn page_of(sandbox: &Sandbox, args: &[&str]) -> String {
    let mut command = sandbox.benchinf("report --force --html page.html");
    let paths = args.iter().map(|arg| match arg.starts_with("--") {
        true => std::path::PathBuf::from(arg),
        false => repository(arg),
    });
    command.args(paths).assert().success().stdout("");
    std::fs::read_to_string(sandbox.path("page.html")).unwrap()
}

#[test]
fn a_page_is_whole_and_needs_nothing() {
    let sandbox = Sandbox::new();
    for name in ["v1.0.json", "v1.1.json", "v1.2.json", "v1.3.json"] {
        let page = page_of(&sandbox, &[&format!("{VALID}/{name}")]);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{name}");
        assert!(page.contains(
            "Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"
        ));
        for loaded in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(loaded), "{name}: {loaded}");
        }
        // Nothing that is no number stands where a number should.
        let (body, _script) = page.split_once("<script>").unwrap();
        for broken in ["NaN", ">inf", " inf ", "Infinity"] {
            assert!(!body.contains(broken), "{name}: {broken}");
        }
    }
}

/// All nine latencies of a run on a device that has a clock of its own.
#[test]
fn every_latency_has_its_chart() {
    let sandbox = Sandbox::new();
    let mut made = Made::new("x").edit(|file| file.plan.device = "cuda:0".into());
    made = made.device_shares(0.25, 0.75);
    for idx in 0..3 {
        let axes = AxesFile { device: "cuda:0".into(), ..made.axes(idx) };
        made = made.case(axes, &around(2e6, 3, idx));
    }
    std::fs::write(sandbox.path("a.json"), made.text()).unwrap();
    sandbox.benchinf("report a.json --html page.html").assert().success();
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    let (_, charts) = page.split_once("Latency by percentile").expect("it has the charts");
    for metric in Metric::ALL {
        let heading = format!("<h3>{}</h3>", metric.name());
        assert!(charts.contains(&heading), "no chart of {}", metric.name());
    }
}

#[test]
fn an_altered_file_is_named_and_proves_nothing() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository(VALID).join("v1.1.json")).unwrap();
    let altered = text.replacen("\"run\": {\n    \"id\": \"", "\"run\": {\n    \"id\": \"<b>x", 1);
    assert_ne!(text, altered);
    std::fs::write(sandbox.path("a.json"), altered).unwrap();
    sandbox.benchinf("report a.json --html page.html").assert().success();
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert!(page.contains("a.json was altered since it was written."), "no alert");
    assert!(page.contains("<code>run</code>"), "the record is not named");
    assert!(
        !page.contains("id=\"tiers\"") && !page.contains("<b>x") && page.contains("&lt;b&gt;x")
    );
}

#[test]
fn two_sides_have_the_verdicts_of_compare() {
    let sandbox = Sandbox::new();
    let write = |run: &str, ratio: f64, seed: usize| {
        let made = Made::new(run).prefill(16, &around(ratio * 1e6, 8, seed));
        let made = made.prefill(32, &around(2e6, 8, seed));
        std::fs::write(sandbox.path(&format!("{run}.json")), made.text()).unwrap();
    };
    write("old", 1.0, 0);
    write("new", 1.2, 1);
    let page = |args: &str| {
        let args = format!("report {args} --force --html p.html");
        sandbox.benchinf(&args).assert().success().stdout("");
        std::fs::read_to_string(sandbox.path("p.html")).unwrap()
    };
    let shown = page("old.json --with new.json");
    let compared = sandbox.benchinf("compare old.json --with new.json").output().unwrap();
    let compared = String::from_utf8(compared.stdout).unwrap();
    // What the terminal says stands there, cell by cell.
    let row = compared.lines().find(|line| line.contains("slower ")).unwrap();
    let cells: Vec<&str> = row.split(['│', '┆']).map(str::trim).collect();
    assert_eq!(cells.iter().filter(|cell| !cell.is_empty()).count(), 9, "{row}");
    for cell in cells {
        assert!(shown.contains(cell), "{cell}");
    }
    for words in [
        "<strong>1 slower, 1 same</strong>",
        "geometric mean of new / base 0.9",
        "class=\"verdict slower\"",
        "by the exact rank sum",
        "href=\"#sides\"",
    ] {
        assert!(shown.contains(words), "{words}");
    }
    // With leave and margin of the user.
    assert!(page("old.json --with new.json --margin 30%").contains("<strong>2 same</strong>"));
    // What is in the way of a verdict, and of any comparison.
    let import = repository("tests/data/import/hyperfine.json");
    sandbox.benchinf("import --out other.json").arg(import).assert().success();
    let shown = page("old.json --with other.json");
    assert!(shown.contains("No verdict: </strong>there is nothing to compare: no case is on both"));
    // What is wrong with the command line is no page, and no flag is ignored.
    for args in [
        "old.json --across kernels",
        "old.json --metric ttft --html q.html",
        "old.json --margin 10% --html q.html",
        "old.json --allow tool --html q.html",
        "old.json --allow-altered --html q.html",
        "old.json --with new.json --across nonsense --html q.html",
        "old.json old.json --with new.json --html q.html",
    ] {
        sandbox.benchinf(&format!("report {args}")).assert().code(2).stdout("");
        assert!(!sandbox.path("q.html").exists(), "{args}");
    }
}

#[test]
fn files_are_written_as_asked_and_never_over_others() {
    let sandbox = Sandbox::new();
    let result = repository(VALID).join("v1.1.json");
    let run = |args: &str| {
        let mut command = sandbox.benchinf(&format!("report {args}"));
        command.arg(&result).assert()
    };
    run("--html p.html --md t.md --csv r.csv").success().stdout("");
    let [html, md, csv] = ["p.html", "t.md", "r.csv"]
        .map(|name| std::fs::read_to_string(sandbox.path(name)).unwrap());
    assert!(html.starts_with("<!DOCTYPE") && md.contains("| ") && csv.starts_with("build_commit,"));
    run("--md t.md").code(2);
    run("--md t.md --force").success();
    // Both: to a file and to standard output.
    let output = run("--csv r2.csv -o md").success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(output).unwrap(), md);
    run("--html .").code(2);
    run("--html no/such/directory/p.html").code(2);
}
