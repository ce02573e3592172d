//! What `benchinf import` makes of files of other tools, and what may be done with the result.

use benchinf::import::{self, Tool};
use benchinf::model::ModelSpec;
use benchinf::result::imported::ImportedFile;
use benchinf::result::{self, AnyReading, Verdict};

use crate::{Sandbox, repository};

fn fixture(name: &str) -> std::path::PathBuf {
    repository("tests/data/import").join(name)
}

fn imported(name: &str) -> ImportedFile {
    import::import(&[fixture(name)], None, None).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_format_is_known_by_itself_and_carried_over() {
    for (name, tool, format, cases, rounds, rate) in [
        ("llama-bench.json", "llama-bench", "json", 4, 5, Some(311.9)),
        ("llama-bench.jsonl", "llama-bench", "jsonl", 4, 5, Some(311.9)),
        ("llama-bench.csv", "llama-bench", "csv", 4, 1, Some(311.9)),
        ("vllm-serve.json", "vllm", "serve", 1, 1, Some(610.8)),
        ("vllm-latency.json", "vllm", "latency", 1, 30, None),
        ("vllm-throughput.json", "vllm", "throughput", 1, 1, Some(7107.3)),
        ("criterion-messages.json", "criterion", "message-format=json", 2, 10, None),
        ("criterion-raw.csv", "criterion", "raw.csv", 2, 10, None),
        ("hyperfine.json", "hyperfine", "export-json", 2, 6, None),
    ] {
        let file = imported(name);
        let source = &file.sources[0];
        assert_eq!((source.tool.as_str(), source.format.as_str()), (tool, format), "{name}");
        assert_eq!(file.cases.len(), cases, "{name}");
        assert_eq!(file.cases[0].rounds.len(), rounds, "{name}");
        let found = file.cases[0].throughput.as_ref().map(|t| t.mean_per_s);
        match (found, rate) {
            (Some(found), Some(rate)) => assert!((found - rate).abs() < 0.1, "{name}: {found}"),
            (found, rate) => assert_eq!(found, rate, "{name}"),
        }
    }
}

#[test]
fn names_mean_what_they_mean_here_and_the_rest_is_absent() {
    let llama = imported("llama-bench.json");
    let axes = &llama.cases[3].axes;
    assert_eq!(axes.test, "tg128 @ d512");
    assert_eq!((axes.n_prompt, axes.n_gen, axes.n_depth), (Some(0), Some(128), Some(512)));
    assert_eq!(axes.model.as_deref(), Some("SmolLM2-135M-F16.gguf"));
    assert_eq!((axes.dtype.as_deref(), axes.device.as_deref()), (Some("f16"), Some("cpu")));
    assert_eq!(axes.other["n_ubatch"], "512");
    assert_eq!(llama.cases[3].work.flops, None);
    // The aggregate of CSV is one round without a spread; what is stated stays stated.
    let csv = imported("llama-bench.csv");
    let throughput = csv.cases[0].throughput.as_ref().unwrap();
    assert_eq!((throughput.stddev_per_s, throughput.interval.as_ref()), (None, None));
    assert!(throughput.stated_stddev_per_s.is_some());
    let vllm = imported("vllm-serve.json");
    let case = &vllm.cases[0];
    assert_eq!((case.axes.n_threads, case.axes.batch_size, case.axes.n_prompt), (None, None, None));
    assert_eq!(case.work.tokens, Some(25_472));
    let ttft = case.latencies.iter().find(|l| l.metric == "ttft").unwrap();
    assert_eq!(ttft.percentiles_ns["p99"], 433e6);
    assert!(!case.latencies.iter().any(|l| l.metric == "e2el"), "it was not asked for");
    assert_eq!(case.failure.as_deref(), Some("1 requests were not answered"));
    let criterion = imported("criterion-messages.json");
    assert_eq!(criterion.cases[0].rounds[1].passes, 60);
    assert_eq!(criterion.cases[0].axes.model, None);
}

#[test]
fn every_setting_of_llama_bench_tells_cases_apart() {
    for name in ["llama-bench.json", "llama-bench.jsonl", "llama-bench.csv"] {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        let file = imported(name);
        let other = &file.cases[0].axes.other;
        for (setting, value) in
            [("split_mode", "layer"), ("no_kv_offload", "0"), ("use_mmap", "1"), ("poll", "50")]
        {
            assert_eq!(other[setting], value, "{name}");
        }
        // What was measured, on what and with what result is no setting.
        let is_result =
            |key: &str| ["avg_", "stddev_", "samples_"].iter().any(|b| key.starts_with(b));
        let told = ["model_size", "test_time", "build_commit", "n_prompt", "n_threads", "cpu_info"];
        assert!(
            !other.keys().any(|key| is_result(key) || told.contains(&key.as_str())),
            "{other:?}"
        );
        // Two runs that differ in one setting are two cases, whose ids say in which.
        let sandbox = Sandbox::new();
        std::fs::write(sandbox.path("a"), &text).unwrap();
        std::fs::write(sandbox.path("b"), text.replace("\"layer\"", "\"row\"")).unwrap();
        let both = import::import(&[sandbox.path("a"), sandbox.path("b")], None, None).unwrap();
        let ids: Vec<&str> = both.cases.iter().map(|case| case.id.as_str()).collect();
        assert!(ids[0].ends_with("pp512@d0/split_mode=layer"), "{ids:?}");
        assert!(ids[4].ends_with("pp512@d0/split_mode=row"), "{ids:?}");
        // Alone, nothing needs to be told apart.
        assert!(file.cases[0].id.ends_with("/pp512@d0"), "{}", file.cases[0].id);
    }
}

#[test]
fn times_that_nothing_took_are_refused() {
    let sandbox = Sandbox::new();
    let serve = fixture("vllm-serve.json");
    sandbox.benchinf("import --out a.json").arg(serve).assert().success();
    let text = std::fs::read_to_string(sandbox.path("a.json")).unwrap();
    let spoil = |value: &str| {
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["cases"][0]["latencies"][0]["mean_ns"] = serde_json::from_str(value).unwrap();
        std::fs::write(sandbox.path("b.json"), json.to_string()).unwrap();
        let output = sandbox.benchinf("report b.json").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for value in ["1e308", "-1", "1.1e18"] {
        let (code, stderr) = spoil(value);
        assert_eq!(code, 2, "{value}");
        assert!(stderr.contains("ttft: ") && stderr.contains("is no time that"), "{stderr}");
    }
    assert_eq!(spoil("0").0, 0);
}

#[test]
fn work_is_counted_from_a_declared_shape_and_only_from_the_right_one() {
    let smol = ModelSpec::resolve("smollm2-135m").unwrap();
    let file = import::import(&[fixture("llama-bench.json")], None, Some(&smol)).unwrap();
    let work = &file.cases[0].work;
    assert_eq!(work.declared_model.as_deref(), Some("smollm2-135m"));
    assert!(work.flops.is_some() && work.bytes_min.is_some());
    let tiny = ModelSpec::resolve("tiny").unwrap();
    let error = import::import(&[fixture("llama-bench.json")], None, Some(&tiny)).unwrap_err();
    assert!(error.to_string().contains("weights, but the model that was run has 134515008"));
}

#[test]
fn what_was_imported_is_intact_and_proves_nothing() {
    let sandbox = Sandbox::new();
    let source = fixture("llama-bench.jsonl");
    let import = |out: &str| {
        let mut command = sandbox.benchinf("import --from llama-bench");
        command.arg(&source).args(["--out", out]).assert()
    };
    import("a.json").success();
    import("a.json").code(2);
    let reading = result::read_any(&sandbox.path("a.json")).unwrap();
    assert!(matches!(reading.verdict(), Verdict::Intact { .. }));
    assert!(matches!(reading, AnyReading::Imported(_)));
    let says = |args: &str, code: i32, text: &str| {
        let output = sandbox.benchinf(args).assert().code(code).get_output().clone();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert!(all.contains(text), "{args}: {all}");
    };
    says("verify a.json", 0, "imported from llama-bench: it was not measured here");
    says("classify a.json", 2, "proves nothing and cannot be merged or classified");
    says(
        "merge a.json a.json --out b.json",
        2,
        "proves nothing and cannot be merged or classified",
    );
    says("report a.json", 0, "not measured here, and nothing is proved");
    says("report a.json -o csv", 0, "\nimported,llama-bench,");
    says("report a.json -o jsonl", 0, "\"origin\":\"imported\"");
    says("report a.json -o json", 0, "\"origin\": \"imported\"");
    let text = std::fs::read_to_string(sandbox.path("a.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&result::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&serde_json::from_str(&text).unwrap()));
    for (from, to, code, word) in [
        // Nobody makes a claim out of it by hand.
        ("\"remarks\": ", "\"claims\": {\"existence\": []}, \"remarks\": ", 2, "has `claims`"),
        ("\"importer\": ", "\"environment\": {}, \"importer\": ", 2, "has `environment`"),
        ("\"mean_per_s\": ", "\"mean_per_s\": 1", 2, "its throughput is not its tokens"),
        ("\"1.3\"", "\"1.1\"", 2, "format version 1.1 has no imported results"),
        ("\"1.3\"", "\"2.0\"", 2, "newer than this benchinf reads"),
        ("\"source_idx\": 0", "\"source_idx\": 7", 2, "a source that the file does not have"),
        ("AMD EPYC", "AMD EPIC", 0, "**Altered** since it was written"),
    ] {
        let spoiled = text.replacen(from, to, 1);
        assert_ne!(spoiled, text, "{from}");
        std::fs::write(sandbox.path("spoiled.json"), spoiled).unwrap();
        says("report spoiled.json", code, word);
    }
}

#[test]
fn imported_files_of_every_version_are_still_read() {
    for path in crate::walk(&repository("tests/data/results/imported")) {
        let reading = result::read_any(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(matches!(reading.verdict(), Verdict::Intact { .. }), "{}", path.display());
    }
}

#[test]
fn what_cannot_be_imported_is_refused_with_its_place() {
    let sandbox = Sandbox::new();
    let llama = std::fs::read_to_string(fixture("llama-bench.json")).unwrap();
    let jsonl = std::fs::read_to_string(fixture("llama-bench.jsonl")).unwrap();
    let csv = std::fs::read_to_string(fixture("llama-bench.csv")).unwrap();
    let serve = std::fs::read_to_string(fixture("vllm-serve.json")).unwrap();
    let messages = std::fs::read_to_string(fixture("criterion-messages.json")).unwrap();
    let raw = std::fs::read_to_string(fixture("criterion-raw.csv")).unwrap();
    let hyperfine = std::fs::read_to_string(fixture("hyperfine.json")).unwrap();
    let with = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let first = llama.split("\"samples_ns\": [ ").nth(1).unwrap().split(',').next().unwrap();
    let cases: Vec<(String, Option<Tool>, &str)> = vec![
        (String::new(), None, "it is no file that is known here; say what wrote it with --from"),
        ("{}".into(), Some(Tool::Vllm), "it has none of request_throughput (serve)"),
        ("[]".into(), Some(Tool::LlamaBench), "it has no result of llama-bench"),
        (with(&llama, "\"n_prompt\": 512", "\"n_prompt\": -1"), None, "line 34: invalid value"),
        (
            with(&llama, "\"n_prompt\": 512", "\"n_prompt\": 0"),
            None,
            "[0]: n_prompt and n_gen are both 0",
        ),
        (with(&llama, first, "0"), None, "[0], samples_ns[0]: this is no time"),
        (with(&llama, first, "1e300"), None, "[0], samples_ns[0]: this is no time"),
        (with(&llama, first, "NaN"), None, "line 42: expected value"),
        (with(&llama, "\"avg_ts\": ", "\"avg_ts\": 9"), None, "[0], avg_ts: 9"),
        (format!("{jsonl}{{\"model_filename\": 3}}\n"), None, "line 5: invalid type"),
        (
            jsonl.replace("5163", "5164").replacen("5164", "5163", 1),
            None,
            "line 2: its build is 5164 (",
        ),
        (with(&csv, "\"128\"", "\"x\""), None, "line 3: "),
        (with(&csv, "\"512\",\"0\"", "\"512\""), None, "fields, not"),
        (
            with(&serve, "\"duration\": 41.7", "\"duration\": -41.7"),
            None,
            "duration: this is no time",
        ),
        (with(&serve, "433.0", "\"soon\""), None, "p99_ttft_ms: it is not a number"),
        (
            with(&serve, "\"completed\": 199", "\"completed\": 0"),
            None,
            "completed: no request was answered",
        ),
        (
            with(&messages, "[30, ", "["),
            None,
            "line 1: iteration_count has 9 entries, measured_values 10",
        ),
        (
            with(
                &messages,
                "\"unit\": \"ns\", \"throughput\"",
                "\"unit\": \"cycles\", \"throughput\"",
            ),
            None,
            "`cycles`, which is no time",
        ),
        (
            "{\"sampling_mode\":\"Linear\",\"iters\":[1.0],\"times\":[2.0]}".into(),
            Some(Tool::Criterion),
            "give it `cargo criterion --message-format=json`",
        ),
        (with(&raw, ",ns,30\n", ",ns,0\n"), None, "benchmark 1, sample 1: it has no iteration"),
        (with(&hyperfine, "\"mean\": ", "\"mean\": -"), None, "results[0].mean: -"),
        (with(&hyperfine, "\"results\": [", "\"results\": [3, "), None, "line 2: invalid type"),
    ];
    for (text, tool, message) in cases {
        let path = sandbox.path("other.json");
        std::fs::write(&path, &text).unwrap();
        let error = import::import(&[&path], tool, None).expect_err(message).to_string();
        assert!(error.contains(message), "`{error}` does not say `{message}`");
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
    assert!(import::import(&[sandbox.directory.path()], None, None).is_err());
}

#[test]
fn hostile_texts_are_data() {
    let sandbox = Sandbox::new();
    let evil = "<script>alert(1)</script>\\u001b[31m|\\n";
    let text = std::fs::read_to_string(fixture("hyperfine.json")).unwrap();
    std::fs::write(sandbox.path("h.json"), text.replace("seq 100000", evil)).unwrap();
    sandbox.benchinf("import h.json --out i.json").assert().success();
    sandbox.benchinf("report i.json --html i.html").assert().success();
    let page = std::fs::read_to_string(sandbox.path("i.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
    let output = sandbox.benchinf("report i.json").assert().success().get_output().clone();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(!table.contains('\u{1b}') && table.contains("\\|"), "{table}");
}
