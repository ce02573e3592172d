//! What `benchinf compare` says of two sides, and when it says nothing.

use benchinf::result::file::{
    AxesFile, CudaGraphsFile, DtypeFile, KernelsFile, OutcomeFile, ResultFile, RunEnd,
};
use serde_json::Value;

use crate::made::{Made, around};
use crate::{Sandbox, repository};

const MS: f64 = 1e6;

/// What a comparison answered.
struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stderr))
    }

    fn verdicts(&self) -> Vec<String> {
        let json = self.json();
        let pairs = json["pairs"].as_array().unwrap();
        pairs.iter().map(|pair| pair["verdict"].as_str().unwrap().to_owned()).collect()
    }

    fn difference(&self, kind: &str) -> Option<Value> {
        let json = self.json();
        let differences = json["differences"].as_array().unwrap();
        differences.iter().find(|difference| difference["kind"] == kind).cloned()
    }
}

fn compare(sandbox: &Sandbox, args: &str) -> Answer {
    let output = sandbox.benchinf(&format!("compare {args}")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    Answer { code: output.status.code().unwrap(), stdout, stderr }
}

fn write(sandbox: &Sandbox, name: &str, text: &str) {
    std::fs::write(sandbox.path(name), text).unwrap();
}

/// A comparison of one prefill, `n` rounds on each side, whose new passes take `ratio` of the time.
fn pair_of_files(sandbox: &Sandbox, n: usize, ratio: f64) {
    write(sandbox, "a.json", &Made::new("a").prefill(16, &around(MS, n, 0)).text());
    write(sandbox, "b.json", &Made::new("b").prefill(16, &around(ratio * MS, n, 1)).text());
}

#[test]
fn verdicts_and_exit_statuses() {
    for (n, ratio, args, verdict, code) in [
        (8, 1.0, "", "same", 0),
        (8, 1.01, "", "same", 0),
        (8, 1.10, "", "slower", 1),
        (8, 1.10, "--fail-on never", "slower", 0),
        (8, 1.10, "--fail-on unsure", "slower", 1),
        (8, 1.10, "--margin 20%", "same", 0),
        (8, 0.90, "", "faster", 0),
        (8, 0.90, "--fail-on unsure", "faster", 0),
        // Latencies: less is faster.
        (8, 1.10, "--metric prefill_pass", "slower", 1),
        (8, 0.90, "--metric prefill_pass", "faster", 0),
        (8, 1.0, "--metric prefill_pass", "same", 0),
        // Between margin and certainty.
        (8, 1.029, "--margin 2.8%", "slower", 1),
        (4, 1.0, "--margin 0.1%", "unsure", 0),
        (4, 1.0, "--margin 0.1% --fail-on unsure", "unsure", 3),
        // Three and three cannot show anything, whatever they are; nor can less.
        (3, 1.0, "", "unsure", 0),
        (3, 5.0, "", "unsure", 0),
        (3, 5.0, "--fail-on unsure", "unsure", 3),
        (3, 0.2, "--margin 50%", "unsure", 0),
        (1, 2.0, "", "unsure", 0),
        (4, 1.5, "", "slower", 1),
    ] {
        let sandbox = Sandbox::new();
        pair_of_files(&sandbox, n, ratio);
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json {args}"));
        assert_eq!(answer.verdicts(), [verdict], "{n} {ratio} {args}");
        assert_eq!(answer.code, code, "{n} {ratio} {args}");
        let pair = &answer.json()["pairs"][0];
        assert_eq!(pair["reasons"].as_array().unwrap().is_empty(), verdict != "unsure");
        if n == 3 {
            assert!(pair["p_value"].is_null() && pair["smallest_detectable"].is_null());
            assert!((pair["ratio"]["coverage"].as_f64().unwrap() - 0.9).abs() < 1e-9);
            let reason = pair["reasons"][0].as_str().unwrap();
            assert!(reason.contains("3 and 3 rounds cannot show anything: 4 and 4"), "{reason}");
        }
    }
}

#[test]
fn a_family_needs_more_rounds_than_a_pair() {
    let sandbox = Sandbox::new();
    let many = |run: &str, n_rounds: usize, ratio: f64, seed: usize| {
        let made = (0..20).fold(Made::new(run), |made, i| {
            made.prefill(16 + i, &around(ratio * MS, n_rounds, seed + i as usize))
        });
        made.text()
    };
    for (n_rounds, verdict) in [(5, "unsure"), (6, "slower")] {
        write(&sandbox, "a.json", &many("a", n_rounds, 1.0, 0));
        write(&sandbox, "b.json", &many("b", n_rounds, 1.2, 3));
        let answer = compare(&sandbox, "a.json --with b.json -o json");
        assert_eq!(answer.verdicts(), [verdict; 20]);
        let text = compare(&sandbox, "a.json --with b.json").stdout;
        let words =
            "5 and 5 rounds cannot show anything when 20 cases are tested together: 6 and 6";
        assert_eq!(text.contains(words), n_rounds == 5, "{text}");
    }
}

#[test]
fn every_output_says_the_same() {
    let sandbox = Sandbox::new();
    pair_of_files(&sandbox, 8, 1.10);
    let text = compare(&sandbox, "a.json --with b.json").stdout;
    for words in ["pp16", "slower", "0.909", "1 slower; geometric mean", "`benchinf ab`"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let md = compare(&sandbox, "a.json --with b.json -o md").stdout;
    assert!(md.contains("| **slower** |") && md.contains("**1 slower**"), "{md}");
    let json = compare(&sandbox, "a.json --with b.json -o json").json();
    let schema: Value = serde_json::from_str(&benchinf::compare::schema()).unwrap();
    let problems: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&json)
        .map(|e| e.to_string())
        .collect();
    assert_eq!(problems, [""; 0]);
    let typed: benchinf::compare::Comparison = serde_json::from_value(json).unwrap();
    assert_eq!((typed.counts.slower, typed.n_tested), (1, 1));
}

#[test]
fn the_committed_schema_is_the_one_of_this_build() {
    let committed = std::fs::read_to_string(repository("docs/comparison.schema.json"));
    assert!(
        committed.unwrap() == benchinf::compare::schema(),
        "docs/comparison.schema.json is old: write it anew with `benchinf schema comparison > \
         docs/comparison.schema.json`"
    );
}

/// Steps that were replayed are other cases than steps launched kernel by kernel, wherever cases are
/// named; and what the device's own clock says stands beside them.
#[test]
fn graphs_are_an_axis() {
    let sandbox = Sandbox::new();
    let of = |graphs| AxesFile {
        device: "cuda:0".into(),
        kernels: Some(KernelsFile::Fused),
        cuda_graphs: Some(graphs),
        ..Made::new("x").axes(1)
    };
    let side = |run: &str, all: &[CudaGraphsFile], seed: usize, launch: f64| {
        let made = Made::new(run).edit(|file| file.plan.device = "cuda:0".into());
        let made = made.device_shares(launch, 0.75);
        let made = all.iter().fold(made, |m, graphs| m.case(of(*graphs), &around(MS, 8, seed)));
        write(&sandbox, &format!("{run}.json"), &made.text());
    };
    let (on, off) = (CudaGraphsFile::On, CudaGraphsFile::Off);
    side("on", &[on], 0, 0.03125);
    side("off", &[off], 1, 0.5);
    side("both", &[on, off], 3, 0.25);
    // A file of the time before there was a choice.
    side("old", &[off], 2, 0.5);
    let old = std::fs::read_to_string(sandbox.path("old.json")).unwrap();
    let without = old.replacen("\"cuda_graphs\": \"off\", ", "", 1);
    assert!(!without.contains("cuda_graphs"), "{without}");
    write(&sandbox, "old.json", &without);

    let answer = compare(&sandbox, "old.json --with off.json -o json");
    assert_eq!(answer.verdicts().len(), 1);
    let answer = compare(&sandbox, "off.json --with on.json");
    assert!(answer.stderr.contains("differs in cuda_graphs (off and on)"), "{}", answer.stderr);
    let answer = compare(&sandbox, "off.json --with on.json --across cuda_graphs -o json");
    assert_eq!(answer.verdicts(), ["same"]);
    assert_eq!(answer.json()["across"][0]["new"], "on");

    // By the device's own clock, of which every value is three quarters of the host's.
    let by = "off.json --with on.json --across cuda_graphs -o json --metric decode_step_device";
    let answer = compare(&sandbox, by);
    assert_eq!(answer.verdicts(), ["same"]);
    let step_ns = answer.json()["pairs"][0]["base"]["median"].as_f64().unwrap();
    let expected_ns = 0.75 * MS / 8.0;
    assert!((step_ns / expected_ns - 1.0).abs() < 0.01, "{step_ns} ns, not {expected_ns}");
    let answer = compare(&sandbox, "off.json --with on.json --metric itl_device");
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("`itl_device` is not one of throughput"), "{}", answer.stderr);

    let report = |args: &str| {
        let output = sandbox.benchinf(&format!("report {args}")).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let rows = report("both.json old.json -o jsonl");
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let ids: Vec<&Value> = rows.iter().map(|row| &row["case_id"]).collect();
    let id = |code: &str| format!("tiny/f32/cuda:0/{code}/t2/b1/tg8@d0");
    assert_eq!(ids, [&id("fused/graphs"), &id("fused"), &id("fused")]);
    let graphs: Vec<&Value> = rows.iter().map(|row| &row["cuda_graphs"]).collect();
    assert_eq!(graphs, [&Value::from("on"), &Value::from("off"), &Value::Null]);
    let shares = ["launch_share", "device_share"].map(|key| rows[0][key].as_f64().unwrap());
    // Each of a pass's eight iterations is rounded to a nanosecond.
    let rounding = 8.0 / MS;
    let is_near = |share: f64, expected: f64| (share - expected).abs() < rounding;
    assert!(is_near(shares[0], 0.25) && is_near(shares[1], 0.75), "{shares:?}");
    let text = report("both.json");
    for words in [
        "fused+graphs",
        "the host gave work out for 25.0 % of the time, and by its own clock the device took 75.0 %",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    // On a processor there is nothing to replay.
    let text = std::fs::read_to_string(sandbox.path("on.json")).unwrap();
    write(&sandbox, "cpu.json", &text.replace("cuda:0", "cpu"));
    let error = benchinf::result::read(&sandbox.path("cpu.json")).unwrap_err().to_string();
    assert!(error.contains("its axes name CUDA graphs where there are none"), "{error}");
}

#[test]
fn cases_pair_by_all_of_their_axes() {
    let sandbox = Sandbox::new();
    let stock = Made::new("x").axes(0);
    let fused = AxesFile { kernels: Some(KernelsFile::Fused), ..stock.clone() };
    let deep = AxesFile { n_depth: 64, ..stock.clone() };
    let bf16 = AxesFile { dtype: DtypeFile::Bf16, ..stock.clone() };
    let side = |run: &str, all: &[&AxesFile], seed: usize| {
        let made = Made::new(run);
        let made =
            all.iter().fold(made, |made, axes| made.case((*axes).clone(), &around(MS, 8, seed)));
        write(&sandbox, &format!("{run}.json"), &made.text());
    };
    side("stock", &[&stock, &deep], 0);
    side("fused", &[&fused], 1);
    side("bf16", &[&bf16, &stock], 2);
    side("both", &[&stock, &fused], 3);

    // Nothing pairs: the nearest is named.
    let answer = compare(&sandbox, "stock.json --with fused.json");
    assert_eq!(answer.code, 2);
    for words in ["no case is on both sides", "differs in kernels (stock and fused)", "--across"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    // Kernels on purpose.
    let answer = compare(&sandbox, "stock.json --with fused.json --across kernels -o json");
    assert_eq!(answer.verdicts(), ["same"]);
    let json = answer.json();
    assert_eq!(json["across"][0]["base"], "stock");
    assert_eq!(json["across"][0]["new"], "fused");
    assert_eq!(json["unpaired"][0]["id"], "tiny/f32/cpu/t2/b1/pp16@d64");
    assert_eq!(json["unpaired"][0]["side"], "base");
    assert_eq!(json["unpaired"][0]["nearest"]["differs_in"][0]["axis"], "n_depth");
    // A case of the base that is gone is not passed over.
    for (fail_on, code) in [("slower", 0), ("unsure", 3)] {
        let args = format!("stock.json --with fused.json --across kernels --fail-on {fail_on}");
        assert_eq!(compare(&sandbox, &args).code, code);
    }
    let answer = compare(&sandbox, "stock.json --with bf16.json");
    for words in
        ["1 case is only in the base side", "1 case is only in the new side", "n_depth (64 and 0)"]
    {
        assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
    }
    for (args, words) in [
        ("stock.json --with both.json --across kernels", "are the same case"),
        ("stock.json --with bf16.json --across kernel", "there is no such axis; cases have model"),
        (
            "stock.json --with bf16.json --metric e2el",
            "no case has e2el on both sides; of tiny/f32/cpu/t2/b1/pp16@d0, it has no e2el",
        ),
        ("stock.json --with bf16.json --metric speed", "is not one of throughput, prefill_pass"),
        ("stock.json --with bf16.json --margin 0", "is not a share"),
        ("stock.json stock.json --with bf16.json", "hold the same run, stock"),
        ("stock.json --with none.json", "none.json"),
    ] {
        let answer = compare(&sandbox, args);
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""), "{args}");
        assert!(answer.stderr.contains(words), "{args}: {}", answer.stderr);
    }
}

#[test]
fn differences_cost_the_verdict_unless_allowed() {
    type Edit = fn(&mut ResultFile);
    let cases: [(Edit, &str, &str); 13] = [
        (|f| f.environment.cpu.model = Some("another".into()), "machine", "cpu.model is `"),
        (|f| f.environment.cpu.model = None, "machine", "and absent in the new side"),
        (|f| f.environment.cpu.governor = Some("powersave".into()), "", ""),
        (|f| f.environment.memory_bytes = Some(benchinf::units::Bytes(1)), "machine", "memory"),
        (|f| f.environment.kernel = Some("7.0".into()), "system", "environment.kernel"),
        (|f| f.environment.load_average_1min = Some(9.0), "", ""),
        (|f| f.tool.commit = Some("abc".into()), "tool", "tool.commit"),
        (|f| f.tool.binary_sha256 = Some("0".repeat(64)), "", ""),
        (|f| f.tool.debug_build = true, "debug", "a debug build"),
        (|f| f.plan.seed = 9, "settings", "plan.seed is 0 in the base and 9 in the new side"),
        (|f| f.plan.warm_up = None, "settings", "and absent in the new side"),
        (|f| f.plan.models[0].weights_sha256 = Some("1".repeat(64)), "", ""),
        (|f| f.plan.models[0].origin = "elsewhere".into(), "", ""),
    ];
    for (i, (edit, kind, words)) in cases.into_iter().enumerate() {
        let sandbox = Sandbox::new();
        write(&sandbox, "a.json", &Made::new("a").prefill(16, &around(MS, 8, 0)).text());
        let other = Made::new("b").prefill(16, &around(1.2 * MS, 8, 1)).edit(edit);
        write(&sandbox, "b.json", &other.text());
        let answer = compare(&sandbox, "a.json --with b.json -o json");
        let expected = if kind.is_empty() { ("slower", 1) } else { ("unsure", 0) };
        assert_eq!((answer.verdicts()[0].as_str(), answer.code), expected, "{i}");
        if kind.is_empty() {
            continue;
        }
        let difference = answer.difference(kind).unwrap();
        assert_eq!(difference["effect"], "costs_verdict", "{i}");
        assert!(difference["message"].as_str().unwrap().contains(words), "{difference}");
        let reason = answer.json()["pairs"][0]["reasons"][0].to_string();
        assert!(reason.contains(&format!("the sides differ: {kind}")), "{reason}");
        // In words as well, and with leave the verdict is given.
        let text = compare(&sandbox, "a.json --with b.json -o md").stdout;
        assert!(text.contains(&format!("**{kind}** (costs the verdict)")), "{text}");
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json --allow {kind}"));
        assert_eq!((answer.verdicts()[0].as_str(), answer.code), ("slower", 1), "{i}");
        assert_eq!(answer.difference(kind).unwrap()["effect"], "allowed");
    }
}

#[test]
fn clocks_and_load_are_looked_at() {
    // Time of the new side, its clock and its other load by those of the base.
    for (ratio, clock, load, args, verdict, kind) in [
        (1.1, 1.0, 0.0, "", "slower", ""),
        (1.1, 0.995, 0.0, "", "slower", ""),
        // A clock that is 9 % slower explains it.
        (1.1, 0.91, 0.0, "", "unsure", "clocks"),
        (1.1, 0.91, 0.0, "--allow clocks", "slower", "clocks"),
        (1.1, 0.91, 0.0, "--metric prefill_pass", "unsure", "clocks"),
        // One that is 5 % slower explains only half of it, and a faster one nothing.
        (1.1, 0.95, 0.0, "", "slower", "clocks"),
        (1.1, 1.10, 0.0, "", "slower", "clocks"),
        (0.91, 1.10, 0.0, "", "unsure", "clocks"),
        (0.91, 1.10, 0.0, "--metric prefill_pass", "unsure", "clocks"),
        (0.9, 0.91, 0.0, "--metric prefill_pass", "faster", "clocks"),
        // Nor are they the same if only the clocks made them so.
        (1.0, 1.10, 0.0, "", "unsure", "clocks"),
        (1.1, 1.0, 0.04, "", "slower", ""),
        (1.1, 1.0, 0.06, "", "unsure", "load"),
        (1.1, 1.0, 0.06, "--allow load", "slower", "load"),
    ] {
        let sandbox = Sandbox::new();
        let base = Made::new("a").prefill(16, &around(MS, 8, 0)).other_load(0.0);
        let new = Made::new("b").prefill(16, &around(ratio * MS, 8, 1));
        write(&sandbox, "a.json", &base.text());
        write(&sandbox, "b.json", &new.core_speed(6e8 * clock).other_load(load).text());
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json {args}"));
        assert_eq!(answer.verdicts(), [verdict], "{ratio} {clock} {load} {args}");
        for other in ["clocks", "load"] {
            assert_eq!(answer.difference(other).is_some(), other == kind, "{ratio} {clock}");
        }
    }
}

#[test]
fn threads_that_are_far_on_one_side_cost_the_verdict() {
    let near = [40.0, 45.0, 60.0, 40.0, 50.0, 45.0, 55.0, 41.0];
    let far = [190.0, 200.0, 210.0, 180.0, 200.0, 190.0, 170.0, 205.0];
    // Half of the new side's rounds are as those of the base: by chance, as far as eight can tell.
    let both = [190.0, 45.0, 60.0, 180.0, 50.0, 190.0, 55.0, 205.0];
    for (base, new, args, verdict, is_found) in [
        (near, near, "", "slower", false),
        (near, both, "", "slower", false),
        (near, far, "", "unsure", true),
        (far, near, "", "unsure", true),
        (near, far, "--allow handover", "slower", true),
    ] {
        let sandbox = Sandbox::new();
        let made = |id, ratio: f64, ns: [f64; 8], i| {
            Made::new(id).prefill(16, &around(ratio * MS, 8, i)).handover(&ns).text()
        };
        write(&sandbox, "a.json", &made("a", 1.0, base, 0));
        write(&sandbox, "b.json", &made("b", 1.1, new, 1));
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json {args}"));
        assert_eq!(answer.verdicts(), [verdict], "{new:?} {args}");
        assert_eq!(answer.difference("handover").is_some(), is_found, "{new:?}");
    }
}

#[test]
fn altered_files_are_named_and_cost_the_verdict() {
    let sandbox = Sandbox::new();
    pair_of_files(&sandbox, 8, 1.2);
    let text = std::fs::read_to_string(sandbox.path("b.json")).unwrap();
    write(&sandbox, "b.json", &text.replacen("\"os\": \"", "\"os\": \"x", 1));
    let answer = compare(&sandbox, "a.json --with b.json --allow system");
    assert_eq!(answer.code, 0);
    assert!(answer.stdout.contains("unsure"), "{}", answer.stdout);
    let words =
        "altered (costs the verdict): new: b.json was altered since it was written (environment)";
    assert!(answer.stdout.contains(words), "{}", answer.stdout);
    let answer = compare(&sandbox, "a.json --with b.json --allow system --allow-altered -o json");
    assert_eq!(answer.verdicts(), ["slower"]);
    assert_eq!(answer.json()["new"]["files"][0]["integrity"], "altered");
}

#[test]
fn parts_of_requests_are_compared_by_their_rounds() {
    let sandbox = Sandbox::new();
    // The rest of the division goes to the first token of four: it alone takes longer.
    let request = |run: &str, first_ns: u64, rest_ns: u64| {
        let made = Made::new(run);
        let axes = made.axes(2);
        let jitter = |i: u64| i * 7 % 5 * 100;
        let rounds: Vec<[u64; 4]> =
            (0..8).map(|i| [first_ns + jitter(i), rest_ns, rest_ns, rest_ns]).collect();
        made.iterations(axes, &rounds).text()
    };
    write(&sandbox, "a.json", &request("a", 1_000_000, 500_000));
    write(&sandbox, "b.json", &request("b", 1_200_000, 400_000));
    for (metric, verdict, base_ns) in [
        ("ttft", "slower", 1_000_200.0),
        ("itl", "faster", 500_000.0),
        ("tpot", "faster", 500_000.0),
        ("e2el", "faster", 2_500_200.0),
    ] {
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json --metric {metric}"));
        assert_eq!(answer.verdicts(), [verdict], "{metric}");
        let pair = &answer.json()["pairs"][0];
        assert_eq!((&pair["unit"], &pair["better"]), (&"ns".into(), &"lower".into()));
        assert_eq!(pair["base"]["median"].as_f64(), Some(base_ns), "{metric}");
        assert_eq!(pair["definition"], format!("{metric}.v1"));
    }
    let old = repository("tests/data/results/valid/v1.1.json");
    std::fs::copy(old, sandbox.path("old.json")).unwrap();
    let answer = compare(&sandbox, "old.json --with a.json --metric ttft");
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("its rounds do not keep ttft"), "{}", answer.stderr);
}

#[test]
fn a_run_is_not_compared_with_itself() {
    let sandbox = Sandbox::new();
    pair_of_files(&sandbox, 8, 1.0);
    let answer = compare(&sandbox, "a.json --with a.json -o json");
    assert_eq!(answer.verdicts(), ["unsure"]);
    assert!(answer.difference("same_run").is_some());
}

#[test]
fn several_files_on_a_side_are_runs_and_one_value_each() {
    let sandbox = Sandbox::new();
    // Rounds of a run are alike, and runs differ by more than the two sides do.
    let of_runs = [1.00, 1.06, 0.97, 1.03];
    let mut names = [const { Vec::new() }; 2];
    for (side, names) in names.iter_mut().enumerate() {
        for (i, of_run) in of_runs.iter().enumerate() {
            let name = format!("{}{i}.json", ["a", "b"][side]);
            let side_ratio = [1.0, 1.02][side];
            let rounds = around(of_run * side_ratio * MS, 8, i + side);
            write(&sandbox, &name, &Made::new(&name).prefill(16, &rounds).text());
            names.push(name);
        }
    }
    // One run on each side: the difference between the runs passes for one of the sides.
    let answer = compare(&sandbox, "a2.json --with b1.json -o json");
    assert_eq!(answer.verdicts(), ["slower"]);
    // All of them: it does not.
    let all = format!("{} --with {} -o json", names[0].join(" "), names[1].join(" "));
    let answer = compare(&sandbox, &all);
    assert_eq!(answer.verdicts(), ["unsure"]);
    let json = answer.json();
    assert_eq!(json["replicate"], "run");
    assert_eq!(json["pairs"][0]["base"]["values"].as_array().unwrap().len(), 4);
    // Runs that were merged are still runs.
    for (side, names) in ["a", "b"].iter().zip(&names) {
        let args = format!("merge {} --out {side}.json", names.join(" "));
        sandbox.benchinf(&args).assert().success();
    }
    let merged = compare(&sandbox, "a.json --with b.json -o json").json();
    assert_eq!(merged["pairs"], json["pairs"]);
    // Two runs and one cannot show anything.
    let answer = compare(&sandbox, "a0.json a1.json --with b0.json");
    assert!(
        answer.stdout.contains("2 and 1 runs cannot show anything: 4 and 4"),
        "{}",
        answer.stdout
    );
}

#[test]
fn what_failed_or_was_cut_off_is_said() {
    let sandbox = Sandbox::new();
    let two = |run: &str, seed: usize| {
        let made = Made::new(run).prefill(16, &around(MS, 8, seed));
        made.prefill(32, &around(2.0 * MS, 8, seed))
    };
    write(&sandbox, "a.json", &two("a", 0).text());
    let mut file = benchinf::result::parse(&two("b", 1).text()).unwrap();
    let failed = OutcomeFile::Failed { reason: "output check: NaN".into() };
    let case = &mut file.cases[1];
    case.outcome = failed;
    case.rounds.clear();
    case.latencies.clear();
    (case.throughput, case.check, case.roofline, case.claims) = (None, None, None, None);
    case.warnings.clear();
    (case.warm_up, case.kernel) = (None, None);
    file.run.ended = RunEnd::TimeUp;
    write(&sandbox, "b.json", &benchinf::result::seal(&mut file, None));
    let answer = compare(&sandbox, "a.json --with b.json -o json");
    assert_eq!(answer.verdicts(), ["same", "unsure"]);
    let json = answer.json();
    assert_eq!(json["pairs"][1]["reasons"][0], "new: it failed: output check: NaN");
    assert_eq!(answer.difference("unfinished").unwrap()["effect"], "noted");
    // What fails is no answer to how fast it is: a gate stays shut, but not for what failed before.
    for (args, code) in [
        ("a.json --with b.json", 1),
        ("a.json --with b.json --fail-on unsure", 1),
        ("a.json --with b.json --fail-on never", 0),
        ("b.json --with a.json", 0),
        ("b.json --with a.json --fail-on unsure", 3),
    ] {
        assert_eq!(compare(&sandbox, args).code, code, "{args}");
    }
    assert_eq!(json["pairs"][1]["failed_in"][0], "new");
    // A failed case has no part in the family.
    assert_eq!(json["n_tested"], 1);
}

#[test]
fn files_of_every_version_are_compared() {
    let sandbox = Sandbox::new();
    for version in ["v1.0", "v1.1"] {
        let name = format!("{version}.json");
        let path = repository("tests/data/results/valid").join(&name);
        std::fs::copy(path, sandbox.path(&name)).unwrap();
    }
    let answer = compare(&sandbox, "v1.0.json --with v1.1.json -o json");
    let json = answer.json();
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(!json["pairs"].as_array().unwrap().is_empty());
    assert!(answer.verdicts().iter().all(|verdict| verdict == "unsure"));
    let altered = answer.difference("altered").unwrap();
    assert_eq!(altered["effect"], "noted");
    assert!(altered["message"].as_str().unwrap().contains("has no digests"));
}

#[test]
fn hostile_names_stay_text() {
    let sandbox = Sandbox::new();
    let hostile = "<script>alert(1)</script>|\u{1b}[31m\u{202e}`**x";
    let made = |run: &str, seed: usize| {
        let made = Made::new(run).edit(|file| {
            file.plan.models[0].label = hostile.into();
            file.environment.cpu.model = Some(format!("{hostile}{}", file.run.id));
            file.tool.commit = Some(hostile.into());
        });
        let axes = AxesFile { model: hostile.into(), ..made.axes(0) };
        made.case(axes, &around(MS, 8, seed)).text()
    };
    write(&sandbox, "a.json", &made("a", 0));
    write(&sandbox, "b.json", &made(hostile, 1));
    for format in ["text", "md", "json"] {
        let answer = compare(&sandbox, &format!("a.json --with b.json -o {format}"));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(!answer.stdout.contains('\u{1b}'), "{}", answer.stdout);
        let turns = answer.stdout.contains('\u{202e}');
        assert!(!turns || format == "json", "{}", answer.stdout);
        match format {
            "json" => assert!(answer.json()["pairs"][0]["axes"][0]["value"] == hostile),
            "md" => assert!(!answer.stdout.contains("<script>"), "{}", answer.stdout),
            _ => {}
        }
    }
    for text in ["", "{}", "[1]", "\u{0}"] {
        write(&sandbox, "x.json", text);
        let answer = compare(&sandbox, "a.json --with x.json");
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""));
        assert!(answer.stderr.contains("x.json: this is not a result file"), "{}", answer.stderr);
    }
}

/// An import of llama-bench's fixture, with other times and texts of its own.
fn import(sandbox: &Sandbox, name: &str, fixture: &str, edit: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(repository("tests/data/import").join(fixture)).unwrap();
    write(sandbox, "source", &edit(text));
    let args = format!("import -m smollm2-135m source --force --out {name}");
    sandbox.benchinf(&args).assert().success();
}

/// Rows of eight repetitions around a time, whose rates are left out.
fn rows(edit: &[(&str, &str)], centre_ns: f64, seed: usize) -> String {
    let path = repository("tests/data/import/llama-bench.json");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&text).unwrap();
    rows.truncate(1);
    let row = &mut rows[0];
    for key in ["avg_ts", "stddev_ts", "samples_ts", "avg_ns", "stddev_ns"] {
        row.remove(key);
    }
    row.insert("samples_ns".into(), around(centre_ns, 8, seed).into());
    for (key, value) in edit {
        row.insert((*key).into(), (*value).into());
    }
    serde_json::to_string(&rows).unwrap()
}

#[test]
fn imported_rounds_are_compared_as_ours_as_far_as_they_tell_enough() {
    for (edit, ratio, args, verdict, kind) in [
        // The same tool on the same machine: rounds are rounds.
        (&[][..], 1.2, "", "slower", "imported"),
        (&[], 0.8, "", "faster", "imported"),
        (&[], 1.0, "", "same", "imported"),
        (&[("cpu_info", "another")], 1.2, "", "unsure", "machine"),
        (&[("cpu_info", "another")], 1.2, "--allow machine", "slower", "machine"),
        // A machine that nobody names may be any.
        (&[("cpu_info", "")], 1.2, "", "unsure", "machine"),
        // What stands beside a processor does not matter to it.
        (&[("gpu_info", "H100")], 1.2, "", "slower", "imported"),
        (&[("build_commit", "another")], 1.2, "", "unsure", "tool"),
        (&[("build_commit", "another")], 1.2, "--allow tool", "slower", "tool"),
        (&[("split_mode", "row")], 1.2, "--across split_mode", "slower", "imported"),
    ] {
        let sandbox = Sandbox::new();
        import(&sandbox, "a.json", "llama-bench.json", |_| rows(&[], 1e9, 0));
        import(&sandbox, "b.json", "llama-bench.json", |_| rows(edit, ratio * 1e9, 1));
        let answer = compare(&sandbox, &format!("a.json --with b.json -o json {args}"));
        assert_eq!(answer.verdicts(), [verdict], "{edit:?} {args}");
        assert!(answer.difference(kind).is_some(), "{edit:?}");
        let json = answer.json();
        assert_eq!(json["base"]["files"][0]["origin"], "imported");
        assert!(json["base"]["files"][0]["run_id"].is_null());
        let validator = benchinf::compare::schema();
        let validator: Value = serde_json::from_str(&validator).unwrap();
        assert!(jsonschema::is_valid(&validator, &json));
        for format in ["text", "md"] {
            let args = format!("a.json --with b.json -o {format} {args}");
            let text = compare(&sandbox, &args).stdout;
            assert!(text.contains("a.json (imported, 1 run), llama-bench 5163"), "{text}");
        }
    }
    // A setting that differs is another case.
    let sandbox = Sandbox::new();
    import(&sandbox, "a.json", "llama-bench.json", |_| rows(&[], 1e9, 0));
    import(&sandbox, "b.json", "llama-bench.json", |_| rows(&[("split_mode", "row")], 1e9, 1));
    let answer = compare(&sandbox, "a.json --with b.json");
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("differs in split_mode (layer and row)"), "{}", answer.stderr);
    // What was translated twice is one run.
    let answer = compare(&sandbox, "a.json --with a.json -o json");
    assert_eq!(answer.verdicts(), ["unsure"]);
    assert!(answer.difference("same_run").is_some());
    assert_eq!(compare(&sandbox, "a.json a.json --with b.json --across split_mode").code, 2);
}

/// A hyperfine export of commands, each with eight times around as many seconds.
fn hyperfine(commands: &[(&str, f64)], exit_code: i32) -> String {
    let entry = |(i, (command, seconds)): (usize, &(&str, f64))| {
        let times: Vec<f64> =
            around(seconds * 1e9, 8, i).into_iter().map(|ns| ns as f64 / 1e9).collect();
        let mut exit_codes = vec![0; 8];
        exit_codes[3] = exit_code;
        serde_json::json!({
            "command": command, "mean": seconds, "times": times, "exit_codes": exit_codes
        })
    };
    let entries: Vec<Value> = commands.iter().enumerate().map(entry).collect();
    serde_json::json!({ "results": entries }).to_string()
}

fn import_text(sandbox: &Sandbox, name: &str, text: &str) {
    write(sandbox, "source", text);
    sandbox.benchinf(&format!("import source --force --out {name}")).assert().success();
}

#[test]
fn runs_of_another_tool_that_failed_have_no_verdict() {
    let sandbox = Sandbox::new();
    for (base_code, new_code, side, code) in
        [(0, 0, None, 1), (0, 1, Some("new"), 1), (1, 0, Some("base"), 0)]
    {
        import_text(&sandbox, "a.json", &hyperfine(&[("x", 1.0)], base_code));
        import_text(&sandbox, "b.json", &hyperfine(&[("x", 1.2)], new_code));
        let answer = compare(&sandbox, "a.json --with b.json -o json --allow tool,machine");
        let verdict = if side.is_some() { "unsure" } else { "slower" };
        assert_eq!((answer.verdicts(), answer.code), (vec![verdict.into()], code));
        let pair = &answer.json()["pairs"][0];
        let Some(side) = side else { continue };
        let words = format!("{side}: 1 of 8 runs failed or were killed");
        assert_eq!((&pair["reasons"][0], &pair["failed_in"][0]), (&words.into(), &side.into()));
        assert!(pair["p_value"].is_null(), "{pair}");
    }
}

#[test]
fn commands_that_are_alike_without_their_directories_need_leave() {
    for (base, new, is_other) in [
        ("sort /data/10k/in.txt", "sort /data/1M/in.txt", true),
        ("sort in.txt", "sort /data/1M/in.txt", true),
        ("sort /data/1M/in.txt", "sort /data/1M/in.txt", false),
        ("sort in.txt", "sort in.txt", false),
    ] {
        let sandbox = Sandbox::new();
        import_text(&sandbox, "a.json", &hyperfine(&[(base, 1.0)], 0));
        import_text(&sandbox, "b.json", &hyperfine(&[(new, 1.2)], 0));
        let answer = compare(&sandbox, "a.json --with b.json -o json --allow tool,machine");
        assert_eq!(answer.verdicts(), [if is_other { "unsure" } else { "slower" }], "{base} {new}");
        let axes = answer.difference("axes");
        assert_eq!(axes.is_some(), is_other, "{axes:?}");
        if let Some(axes) = axes {
            let message = axes["message"].as_str().unwrap();
            assert!(message.starts_with("the commands of sort in.txt are alike"), "{message}");
        }
        let answer = compare(&sandbox, "a.json --with b.json -o json --allow tool,machine,axes");
        assert_eq!(answer.verdicts(), ["slower"]);
    }
}

#[test]
fn figures_of_several_runs_of_another_tool_show_a_spread() {
    let sandbox = Sandbox::new();
    let mut sides = ["a", "b"].map(|side| {
        let names = around(if side == "a" { 1e9 } else { 1.2e9 }, 6, 0).into_iter().enumerate();
        let import = |(i, ns): (usize, u64)| {
            let name = format!("{side}{i}.json");
            let one = vec![ns; 1];
            import(&sandbox, &name, "llama-bench.json", |_| {
                let mut rows: Value = serde_json::from_str(&rows(&[], 1e9, 0)).unwrap();
                rows[0]["samples_ns"] = one.clone().into();
                rows.to_string()
            });
            name
        };
        names.map(import).collect::<Vec<_>>()
    });
    let text = |sides: &[Vec<String>; 2]| {
        format!("{} --with {} -o json", sides[0].join(" "), sides[1].join(" "))
    };
    let answer = compare(&sandbox, &text(&sides));
    assert_eq!(answer.verdicts(), ["slower"]);
    // One against six is still one figure.
    sides[1].truncate(1);
    let answer = compare(&sandbox, &text(&sides));
    assert_eq!(answer.verdicts(), ["unsure"]);
    let reason = answer.json()["pairs"][0]["reasons"][0].to_string();
    assert!(reason.contains("new: llama-bench tells one figure"), "{reason}");
}

#[test]
fn every_machine_of_a_file_is_held_against_the_others() {
    for (second, is_alike) in [("AMD EPYC; H100", true), ("another", false)] {
        let sandbox = Sandbox::new();
        import(&sandbox, "a.json", "llama-bench.json", |text| text);
        let text = std::fs::read_to_string(sandbox.path("a.json")).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        json["cases"][1]["machine"] = second.into();
        write(&sandbox, "b.json", &json.to_string());
        for args in ["a.json --with b.json", "b.json --with a.json"] {
            let answer = compare(&sandbox, &format!("{args} -o json"));
            assert_eq!(answer.difference("machine").is_none(), is_alike, "{second} {args}");
        }
        // Two machines on both sides: which case was on which is not known to be the same.
        let answer = compare(&sandbox, "b.json --with b.json -o json");
        assert_eq!(answer.difference("machine").is_none(), is_alike, "{second}");
        let ours = repository("results/2026-11-24-amd-epyc-2-cores/smollm2-135m.json");
        std::fs::copy(ours, sandbox.path("ours.json")).unwrap();
        let answer = compare(&sandbox, "ours.json --with b.json -o json");
        assert_eq!(answer.difference("machine").is_none(), is_alike, "{second}");
    }
}

#[test]
fn settings_and_remarks_without_end_are_refused_or_cut() {
    let sandbox = Sandbox::new();
    import(&sandbox, "a.json", "llama-bench.json", |text| text);
    let text = std::fs::read_to_string(sandbox.path("a.json")).unwrap();
    let spoiled = |n_cases: usize, n_settings: usize, is_of_case: bool, n_remarks: usize| {
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let case = json["cases"][0].clone();
        let cases = (0..n_cases).map(|i| {
            let mut case = case.clone();
            case["id"] = i.to_string().into();
            let first = if is_of_case { i * n_settings } else { 0 };
            let names = (first..first + n_settings).map(|j| (format!("s{j}"), Value::from("1")));
            case["axes"]["other"] = Value::Object(names.collect());
            case["axes"]["other"]["case"] = i.to_string().into();
            case["remarks"] = (0..n_remarks).map(|j| format!("{i} and {j}")).collect();
            case
        });
        json["cases"] = cases.collect();
        write(&sandbox, "b.json", &json.to_string());
        compare(&sandbox, "b.json --with b.json -o json")
    };
    for (n_cases, n_settings, is_of_case, words) in [
        (1, 256, false, "257 settings, and 256 are the most that one may have"),
        (10, 200, true, "settings of more than 1000 names"),
        (25_000, 200, false, "25000 cases with settings of 201 names are too many together"),
    ] {
        let answer = spoiled(n_cases, n_settings, is_of_case, 0);
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""));
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
    let answer = spoiled(40, 20, true, 100);
    let json = answer.json();
    let differences = json["differences"].as_array().unwrap();
    let messages: Vec<&str> = differences.iter().filter_map(|d| d["message"].as_str()).collect();
    assert_eq!(messages.iter().filter(|m| m.contains(": 0 and ")).count(), 40, "{messages:?}");
    assert!(messages.iter().any(|m| m.contains("cases/19 and 24 more)")), "{messages:?}");
    assert!(messages.contains(&"new: b.json has 3980 more remarks"), "{messages:?}");
    // What one side alone tells is named as far as anybody reads it.
    let answer = compare(&sandbox, "a.json --with b.json -o json --across case");
    assert!(answer.stderr.contains("--across case: there is no such axis"), "{}", answer.stderr);
    // Nor is such a file written.
    import(&sandbox, "a.json", "llama-bench.json", |text| text);
    let many = |_| {
        let mut rows: Value = serde_json::from_str(&rows(&[], 1e9, 0)).unwrap();
        (0..300).for_each(|i| rows[0][format!("s{i}")] = "1".into());
        rows.to_string()
    };
    write(&sandbox, "source", &many(()));
    let output = sandbox.benchinf("import source --out c.json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("a case of pp512 has") && stderr.contains("settings"), "{stderr}");
}

#[test]
fn cases_that_only_kernels_tell_apart_are_refused_beside_another_tool() {
    let sandbox = Sandbox::new();
    let made = Made::new("a");
    let stock = made.axes(0);
    let fused = AxesFile { kernels: Some(KernelsFile::Fused), ..stock.clone() };
    let stock = AxesFile { kernels: None, ..stock };
    let times = around(MS, 8, 0);
    write(&sandbox, "ours.json", &made.case(stock, &times).case(fused, &times).text());
    import(&sandbox, "theirs.json", "llama-bench.json", |text| text);
    let answer = compare(&sandbox, "ours.json --with theirs.json");
    assert_eq!(answer.code, 2);
    let words = "the same case without kernels: `kernels` is what files of two tools are compared \
                 by, so give it a file with one of them alone";
    assert!(answer.stderr.contains(words), "{}", answer.stderr);
}

#[test]
fn one_figure_of_another_tool_gives_a_ratio_and_no_verdict() {
    let sandbox = Sandbox::new();
    import(&sandbox, "a.json", "llama-bench.json", |text| text);
    import(&sandbox, "b.json", "llama-bench.csv", |text| text);
    let answer = compare(&sandbox, "a.json --with b.json -o json");
    assert_eq!(answer.verdicts(), ["unsure"; 4]);
    let pair = &answer.json()["pairs"][0];
    assert!(pair["ratio"]["estimate"].is_number() && pair["p_value"].is_null(), "{pair}");
    let reason = pair["reasons"][0].as_str().unwrap();
    assert!(reason.contains("new: llama-bench tells one figure for all"), "{reason}");
    assert!(answer.json()["overall"].is_null());
    // However many rounds the other side has.
    import(&sandbox, "a.json", "llama-bench.json", |_| {
        rows(&[], 1e9, 0)
            .replace("samples_ns\":[", &format!("samples_ns\":[{}", "1000000,".repeat(60)))
    });
    let answer = compare(&sandbox, "a.json --with b.json -o json");
    assert_eq!(answer.verdicts(), ["unsure"]);
    // Two single figures have no interval.
    let text = compare(&sandbox, "b.json --with b.json").stdout;
    assert!(text.contains("1.000 ┆        – ┆"), "{text}");
    // Times that tell no work are passes per second; others do not have it.
    import_plain(&sandbox, "h.json", "hyperfine.json");
    let answer = compare(&sandbox, "h.json --with h.json -o json");
    assert_eq!(answer.json()["pairs"][0]["unit"], "passes_per_s");
    let answer = compare(&sandbox, "h.json --with h.json --metric ttft");
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("no case has ttft on both sides"), "{}", answer.stderr);
    import_plain(&sandbox, "v.json", "vllm-serve.json");
    let answer = compare(&sandbox, "v.json --with v.json --metric ttft -o json");
    assert_eq!(answer.verdicts(), ["unsure"]);
}

fn import_plain(sandbox: &Sandbox, name: &str, fixture: &str) {
    let path = repository("tests/data/import").join(fixture);
    sandbox.benchinf(&format!("import --out {name}")).arg(path).assert().success();
}

#[test]
fn ours_and_another_tools_pair_by_what_both_tell() {
    let sandbox = Sandbox::new();
    let ours = repository("results/2026-11-24-amd-epyc-2-cores/smollm2-135m.json");
    std::fs::copy(ours, sandbox.path("ours.json")).unwrap();
    import(&sandbox, "theirs.json", "llama-bench.json", |text| text);
    let answer = compare(&sandbox, "ours.json --with theirs.json -o json");
    let json = answer.json();
    // Prefill is defined alike; decoding is not, and has a ratio alone.
    assert_eq!(answer.verdicts(), ["unsure", "unsure"]);
    assert!(json["pairs"][1]["ratio"]["estimate"].is_number());
    assert!(json["pairs"][1]["reasons"][0].as_str().unwrap().contains("defined differently"));
    assert_eq!(json["across"][0]["axis"], "kernels");
    assert_eq!(json["across"][0]["new"], "llama.cpp");
    let axes = answer.difference("axes").unwrap()["message"].to_string();
    assert!(axes.contains("only the new side tells") && axes.contains("split_mode"), "{axes}");
    assert_eq!(answer.difference("tool").unwrap()["effect"], "costs_verdict");
    assert!(answer.difference("machine").is_none(), "both name the same processor");
    assert!(json["overall"]["reasons"][0].as_str().unwrap().contains("the sides differ"));
    let answer = compare(&sandbox, "ours.json --with theirs.json -o json --allow axes,tool");
    assert_eq!(answer.verdicts(), ["faster", "unsure"]);
    // Without a declared shape the models have different names.
    import_plain(&sandbox, "undeclared.json", "llama-bench.json");
    let answer = compare(&sandbox, "ours.json --with undeclared.json");
    assert!(answer.stderr.contains("differs in model"), "{}", answer.stderr);
}

#[test]
fn the_mean_is_of_moments_that_all_cases_have_and_says_what_casts_doubt_on_it() {
    let sandbox = Sandbox::new();
    // The second case lacks the first rounds' successors: five rounds against eight.
    let side = |run: &str, ratio: f64, n_second: usize| {
        let drift = |n: usize| (0..n).map(|i| (ratio * MS * (1.0 + 0.1 * i as f64)) as u64);
        let made = Made::new(run).prefill(16, &drift(8).collect::<Vec<_>>());
        made.prefill(32, &drift(n_second).collect::<Vec<_>>())
    };
    write(&sandbox, "a.json", &side("a", 1.0, 8).text());
    write(&sandbox, "b.json", &side("b", 1.0, 5).text());
    let json = compare(&sandbox, "a.json --with b.json -o json").json();
    // Eight moments of the base, the five of the new side that both cases have.
    let overall = &json["overall"];
    assert_eq!(overall["n_pairs"], 2);
    let coverage = overall["ratio"]["coverage"].as_f64().unwrap();
    let alone = json["pairs"][1]["ratio"]["coverage"].as_f64().unwrap();
    assert_eq!(coverage, alone, "8 and 5 values on both");
    assert_eq!(overall["reasons"], serde_json::json!([]));
    let other = side("b", 1.0, 5).edit(|file| file.tool.commit = Some("abc".into()));
    write(&sandbox, "b.json", &other.core_speed(5e8).text());
    let text = compare(&sandbox, "a.json --with b.json").stdout;
    let words =
        ", which is no verdict: the sides differ: tool; the difference of clocks is not taken off";
    assert!(text.contains(words), "{text}");
}

#[test]
fn without_a_moment_that_all_cases_have_there_is_no_mean_and_it_is_said() {
    let sandbox = Sandbox::new();
    // Two exports: the rounds of one are of other moments than those of the other.
    for (side, seconds) in [("a", 1.0), ("b", 1.1)] {
        for command in ["x", "y"] {
            write(&sandbox, command, &hyperfine(&[(command, seconds)], 0));
        }
        sandbox.benchinf(&format!("import x y --out {side}.json")).assert().success();
    }
    let args = "a.json --with b.json --allow tool,machine";
    let json = compare(&sandbox, &format!("{args} -o json")).json();
    assert!(json["overall"]["ratio"].is_null(), "{json}");
    let words = "no round of the base side has all of these cases";
    assert_eq!(json["overall"]["reasons"][0], words);
    let text = compare(&sandbox, args).stdout;
    assert!(text.contains(&format!("no geometric mean of new / base: {words}")), "{text}");
}

#[test]
fn probes_are_compared_where_there_are_no_cases() {
    let sandbox = Sandbox::new();
    let path = repository("tests/data/results/valid/v1.1.json");
    let probes = |run: &str| {
        let mut file = benchinf::result::read(&path).unwrap();
        file.cases.clear();
        file.run.id = run.into();
        write(&sandbox, &format!("{run}.json"), &benchinf::result::seal(&mut file, None));
    };
    probes("a");
    probes("b");
    let answer = compare(&sandbox, "a.json --with b.json -o json");
    let json = answer.json();
    assert_eq!(json["pairs"].as_array().unwrap().len(), 4);
    assert_eq!(json["pairs"][0]["unit"], "flops_per_s");
    assert_eq!(json["pairs"][1]["unit"], "bytes_per_s");
    assert_eq!(json["pairs"][0]["ratio"]["estimate"], 1.0);
    let text = compare(&sandbox, "a.json --with b.json").stdout;
    assert!(text.contains("gemm/f32/cpu/t2") && text.contains("GFLOP/s"), "{text}");
}
