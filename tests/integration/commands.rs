//! What the commands do when all is well.

use std::collections::HashSet;

use benchinf::case::CpuMask;
use benchinf::result;
use benchinf::result::file::{OutcomeFile, ResultFile, RunEnd, StopFile};
use serde_json::Value;

use crate::{Sandbox, repository, walk};

/// Runs that end in a moment: two rounds, no minimum time.
const SHORT: &str = "-m tiny -r 2 --min-time 0 -p 8 -n 4 --no-ceilings";

fn stdout(command: &mut assert_cmd::Command) -> String {
    let output = command.assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

fn result_in(sandbox: &Sandbox, file: &str) -> ResultFile {
    result::read(&sandbox.path(file)).unwrap()
}

#[test]
fn a_run_leaves_one_result_file_and_prints_its_table() {
    let sandbox = Sandbox::new();
    let table = stdout(&mut sandbox.benchinf(SHORT));
    assert!(table.contains("| tiny "), "{table}");
    assert!(table.contains(" pp8 ") && table.contains(" tg4 "), "{table}");

    let files = sandbox.files();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].starts_with("results/2") && files[0].ends_with("Z-cpu-tiny.json"));
    let file = result_in(&sandbox, &files[0]);
    assert_eq!(file.run.ended, RunEnd::Completed);
    assert_eq!(file.tool.debug_build, cfg!(debug_assertions));
    assert!(file.run.time_to_first_iteration_ns.unwrap() < file.run.duration_ns);
    // The system told it, or the file says why not.
    let environment = serde_json::to_value(&file.environment).unwrap();
    for key in [
        "os",
        "kernel",
        "load_average_1min",
        "transparent_hugepages",
        "clocksource",
        "clock_resolution_ns",
    ] {
        let told = !environment[key].is_null();
        assert!(told != environment["unavailable"][key].is_string(), "{key}");
    }
    for key in [
        "model",
        "vendor",
        "microcode",
        "hypervisor",
        "sockets",
        "threads_per_core",
        "last_level_cache_bytes",
        "smt_active",
        "governor",
        "base_frequency_hz",
        "max_frequency_hz",
        "min_frequency_hz",
        "boost",
        "numa_nodes",
        "affinity",
        "quota_cpus",
    ] {
        let told = !environment["cpu"][key].is_null();
        assert!(told != environment["unavailable"][format!("cpu.{key}")].is_string(), "{key}");
    }
    for key in ["memory_bytes", "memory_available_bytes", "swap_total_bytes"] {
        let told = !environment[key].is_null();
        assert!(told != environment["unavailable"]["memory"].is_string(), "{key}");
    }
    assert_eq!(file.cases.len(), 2);
    for case in &file.cases {
        assert_eq!(case.outcome, OutcomeFile::Measured);
        assert_eq!(case.rounds.len(), 2);
        assert!(case.rounds.iter().all(|r| r.stop == StopFile::MinimaMet && r.passes == 1));
        let warm_up = case.warm_up.unwrap();
        assert!(warm_up.passes == 1 && warm_up.cold_start_ns <= warm_up.total_ns);
        let latency = &case.latencies[0];
        assert_eq!(latency.sum_ns, case.rounds.iter().map(|r| r.total_ns).sum::<u64>());
        assert!(latency.percentiles_absent["p99"].starts_with("needs 299 values"));
    }
    // Interleaved: both first rounds before either second one.
    let starts = |i: usize| file.cases[i].rounds.iter().map(|r| r.start_ns).collect::<Vec<_>>();
    let (prefill, decode) = (starts(0), starts(1));
    assert!(prefill[0] < decode[0] && decode[0] < prefill[1] && prefill[1] < decode[1]);
}

#[test]
fn every_axis_multiplies_and_every_format_tells_it() {
    let sandbox = Sandbox::new();
    let args = "-m tiny -r 1 --min-time 0 --no-warmup --no-ceilings -p 4,6 -n 3 -pg 5,2 -b 1,2 -d 0,7 \
                --dtype f32,bf16 -t 1,2 --out out.json -o jsonl";
    let rows: Vec<Value> = stdout(&mut sandbox.benchinf(args))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4 * 2 * 2 * 2 * 2);
    let ids: HashSet<&str> = rows.iter().map(|row| row["case_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rows.len());
    for row in &rows {
        assert_eq!(row["outcome"], "measured");
        assert!(row["avg_ts"].as_f64().unwrap() > 0.0);
        assert_eq!(row["samples_ns"].as_array().unwrap().len(), 1);
        assert_eq!(row["stddev_ns"], Value::Null);
        let tokens = row["n_prompt"].as_u64().unwrap() + row["n_gen"].as_u64().unwrap();
        let tokens = (tokens * row["batch_size"].as_u64().unwrap()) as f64;
        let rate = tokens / (row["samples_ns"][0].as_f64().unwrap() / 1e9);
        assert!((rate / row["samples_ts"][0].as_f64().unwrap() - 1.0).abs() < 1e-3);
        let is_request = row["n_prompt"] == 5;
        assert_eq!(row["mean_ttft_ms"].is_number(), is_request, "{row}");
        assert_eq!(row["mean_tpot_ms"].is_number(), is_request);
    }
    assert!(rows.iter().any(|row| row["test"] == "pp5+tg2 @ d7" && row["n_threads"] == 2));

    let report =
        |format: &str| stdout(&mut sandbox.benchinf(&format!("report out.json -o {format}")));
    assert_eq!(report("jsonl").lines().count(), 64);
    let csv = report("csv");
    let mut csv = csv.lines();
    let header = csv.next().unwrap();
    for name in [
        "n_prompt",
        "n_gen",
        "n_depth",
        "avg_ns",
        "stddev_ns",
        "avg_ts",
        "stddev_ts",
        "model_type",
        "n_threads",
        "build_commit",
        "test_time",
        "n_gpu_layers",
        "n_batch",
        "n_ubatch",
        "embeddings",
        "cpu_mask",
        "cpu_strict",
        "poll",
        "use_mmap",
        "no_kv_offload",
        "split_mode",
        "main_gpu",
        "tensor_split",
        "tensor_buft_overrides",
        "flash_attn",
    ] {
        assert!(header.split(',').any(|h| h == name), "{name}");
    }
    assert_eq!(csv.count(), 64);
    let whole: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(whole["format_version"], "1.3");
    assert!(report("md").contains("pp5+tg2 @ d7"));
}

#[test]
#[cfg(target_os = "linux")]
fn threads_stay_on_the_hardware_threads_asked_for() {
    let sandbox = Sandbox::new();
    let run = |args: &str, out: &str| -> (ResultFile, Value) {
        let args = format!("{SHORT} -q -o jsonl --out {out} {args}");
        let rows = stdout(&mut sandbox.benchinf(&args));
        let first = rows.lines().next().unwrap();
        (result_in(&sandbox, out), serde_json::from_str(first).unwrap())
    };
    // All that this process may use, and the last of those alone.
    let (all, row) = run("--cpu-strict 1 -t 2", "all.json");
    let placement = all.plan.placement.unwrap();
    assert_eq!((&row["cpu_mask"], &row["cpu_strict"]), (&json(&placement.cpu_mask), &true.into()));
    let mask: CpuMask = placement.cpu_mask.parse().unwrap();
    let last = *mask.cpus().last().unwrap();
    let one = CpuMask::of(&[last]).unwrap().to_string();
    for (strict, n_threads) in [("0", 1), ("1", 3)] {
        let args = format!("-C {one} --cpu-strict {strict} -t {n_threads} --force");
        let (file, row) = run(&args, "one.json");
        assert_eq!(file.environment.cpu.affinity, Some(last.to_string()));
        assert_eq!((&row["cpu_mask"], &row["cpu_strict"]), (&json(&one), &(strict == "1").into()));
    }
    // Nothing asked for, nothing recorded.
    let (anywhere, row) = run("-C 0x0", "anywhere.json");
    assert_eq!(anywhere.plan.placement, None);
    assert_eq!((&row["cpu_mask"], &row["cpu_strict"]), (&json("0x0"), &false.into()));
}

fn json(text: &str) -> Value {
    text.into()
}

#[test]
fn the_same_seed_is_the_same_model_and_another_is_not() {
    let sandbox = Sandbox::new();
    let logits = |args: &str| {
        stdout(&mut sandbox.benchinf(&format!("logits -m tiny --tokens 5,9,2 {args}")))
    };
    assert_eq!(logits("--seed 3 -t 1"), logits("--seed 3 -t 2"));
    assert_ne!(logits("--seed 3"), logits("--seed 4"));
    assert!(sandbox.files().is_empty());
}

#[test]
fn a_config_alone_runs_with_random_weights_and_a_checkpoint_with_its_own() {
    let golden = repository("tests/data/golden");
    for (path, weights) in
        [("qwen3-untied-shards", "checkpoint"), ("qwen3-untied-shards/config.json", "random")]
    {
        let sandbox = Sandbox::new();
        let args = "-p 4 -n 2 -b 1,3 -r 1 --min-time 0 --no-ceilings --out out.json -m";
        stdout(sandbox.benchinf(args).arg(golden.join(path)));
        let file: Value =
            serde_json::from_slice(&std::fs::read(sandbox.path("out.json")).unwrap()).unwrap();
        assert_eq!(file["plan"]["models"][0]["weights"], weights);
        assert_eq!(file["plan"]["models"][0]["label"], "qwen3-untied-shards");
        assert_eq!(file["plan"]["models"][0]["n_params"], 17_496);
        assert_eq!(file["plan"]["models"][0]["config"]["head_dim"], 12);
    }
}

#[test]
fn a_dry_run_lists_the_plan_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let text =
        stdout(&mut sandbox.benchinf("-m llama-3.2-1b --dtype bf16 -p 16 -n 4 --dry-run -t 1"));
    assert!(text.starts_with("llama-3.2-1b/bf16/cpu/fused/t1/b1/pp16@d0\n"), "{text}");
    assert!(text.contains("2 case(s) and 4 probe(s), 5 round(s) each"), "{text}");
    assert!(sandbox.files().is_empty());
}

#[test]
fn time_is_bounded_when_asked() {
    let sandbox = Sandbox::new();
    let args =
        "-m tiny -p 8 -n 4 -r 1000000 --min-time 0 --max-time 300ms --no-ceilings --out out.json";
    stdout(&mut sandbox.benchinf(args));
    let file = result_in(&sandbox, "out.json");
    assert_eq!(file.run.ended, RunEnd::TimeUp);
    assert!(file.cases.iter().all(|case| case.outcome == OutcomeFile::Measured));
    assert!(file.cases[0].rounds.len() < 1_000_000);
    // No time at all: nothing is measured, and that is no success.
    sandbox.benchinf("-m tiny --max-time 0 --out none.json").assert().code(1);
    assert!(result_in(&sandbox, "none.json").cases.iter().all(|case| case.rounds.is_empty()));
}

#[test]
fn what_becomes_of_the_file_is_said_even_if_nobody_reads_the_table() {
    let sandbox = Sandbox::new();
    let args = format!("benchinf {SHORT} -q --out out.json | true; echo ${{PIPESTATUS[0]}}");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_benchinf")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = assert_cmd::Command::new("bash");
    let output = shell.current_dir(sandbox.path("")).env("PATH", path).args(["-c", &args]).assert();
    assert_eq!(String::from_utf8_lossy(&output.get_output().stdout).trim(), "0");
    assert_eq!(result_in(&sandbox, "out.json").cases.len(), 2);
}

#[test]
fn runs_in_the_same_second_leave_a_file_each() {
    let sandbox = Sandbox::new();
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_benchinf"))
            .current_dir(sandbox.path(""))
            .args(SHORT.split(' '))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut child in [start(), start(), start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sandbox.files().len(), 4);
}

#[test]
fn several_reports_are_one_json_document() {
    let sandbox = Sandbox::new();
    for name in ["a.json", "b.json"] {
        stdout(&mut sandbox.benchinf(&format!("{SHORT} --out {name}")));
    }
    let both = stdout(&mut sandbox.benchinf("report a.json b.json -o json"));
    let both: Vec<ResultFile> = serde_json::from_str(&both).unwrap();
    assert_eq!(both, [result_in(&sandbox, "a.json"), result_in(&sandbox, "b.json")]);
}

#[test]
#[cfg(unix)]
fn an_interrupt_keeps_what_was_measured() {
    let sandbox = Sandbox::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_benchinf"))
        .current_dir(sandbox.path(""))
        .args("-m tiny -p 8 -n 4 -r 100000000 --min-time 0 --no-ceilings --out out.json".split(' '))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Long enough to be under way on a slow machine; the run itself would take hours.
    std::thread::sleep(std::time::Duration::from_secs(3));
    // Twice at once, as `timeout` does; that is one request.
    let kill = format!("kill -INT {0} && kill -INT {0}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let file = result_in(&sandbox, "out.json");
    assert_eq!(file.run.ended, RunEnd::Interrupted);
    assert!(file.cases.iter().all(|case| !case.rounds.is_empty()));
    // The journal stays, to go on from.
    assert_eq!(sandbox.files(), ["out.json", "out.json.journal"]);
}

#[test]
fn lists_and_completions() {
    let sandbox = Sandbox::new();
    let models = stdout(&mut sandbox.benchinf("list models"));
    for json in
        walk(&repository("models")).iter().filter(|p| p.extension().is_some_and(|e| e == "json"))
    {
        let name = json.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(models.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    assert!(stdout(&mut sandbox.benchinf("list devices")).starts_with("cpu "));
    assert!(stdout(&mut sandbox.benchinf("completions bash")).contains("_benchinf"));
    assert!(stdout(&mut sandbox.benchinf("list metrics")).contains("median_ts  "));
    assert!(stdout(&mut sandbox.benchinf("list warnings")).contains("other_load  "));
}

#[test]
fn progress_and_paths_go_to_standard_error_only() {
    let sandbox = Sandbox::new();
    let output = sandbox.benchinf(&format!("{SHORT} -o json --out out.json")).assert().success();
    let stdout: ResultFile = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(stdout, result_in(&sandbox, "out.json"));
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(stderr.ends_with("result file: out.json\n"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "no control sequences without a terminal: {stderr:?}");
    // Without a terminal a line says which round of all begins, unless nobody wants to know.
    assert!(
        stderr.contains("round 1: 0 of 4 done") && stderr.contains("round 2: 2 of 4 done"),
        "{stderr}"
    );
    let output = sandbox.benchinf(&format!("{SHORT} --quiet --out quiet.json")).assert().success();
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(!stderr.contains("round") && !stderr.contains("result file"), "{stderr}");
}
