//! `tests/data/results` holds a file of every format version ever written, and files that must
//! be refused, each with its message.

use benchinf::result;
use benchinf::result::file::{AxesFile, CaseFile};

use crate::made::Made;
use crate::{Sandbox, repository};

#[test]
fn every_version_is_still_read_and_reported() {
    let sandbox = Sandbox::new();
    let mut n = 0;
    for entry in std::fs::read_dir(repository("tests/data/results/valid")).unwrap() {
        let path = entry.unwrap().path();
        let file = result::read(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(!file.cases.is_empty());
        for format in ["md", "json", "jsonl", "csv"] {
            let mut command = sandbox.benchinf(&format!("report -o {format}"));
            let output = command.arg(&path).assert().success();
            assert!(!output.get_output().stdout.is_empty(), "{format}");
        }
        n += 1;
    }
    assert!(n >= 1);
}

#[test]
fn what_is_read_is_written_again_to_the_byte() {
    let path = repository("tests/data/results/valid/v1.1.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let again = result::to_json(&result::read(&path).unwrap());
    let first_difference = text.lines().zip(again.lines()).find(|(a, b)| a != b);
    assert_eq!(first_difference, None);
    assert_eq!(text.len(), again.len());
}

#[test]
fn spoiled_files_are_refused_in_plain_words() {
    let sandbox = Sandbox::new();
    let path = repository("tests/data/results/valid/v1.1.json");
    let good = std::fs::read_to_string(path).unwrap();
    let (first_id, second_id) = (nth_case_id(&good, 0), nth_case_id(&good, 1));
    let count = good.split("\"count\": ").nth(1).unwrap().split(',').next().unwrap();
    let total = good.split("\"total_ns\": ").nth(2).unwrap().split(',').next().unwrap();
    let cases: [(String, &str); 18] = [
        (String::new(), "this is not a result file"),
        ("{}".into(), "missing field `format_version`"),
        ("\u{feff}[1,2]".into(), "this is not a result file"),
        (good[..good.len() / 2].into(), "this is not a result file"),
        (
            good.replacen("\"1.1\"", "\"2.0\"", 1),
            "format version 2.0 is newer than this benchinf reads (1.3)",
        ),
        (good.replacen("\"1.1\"", "\"one\"", 1), "`one` is not a format version"),
        (good.replacen("\"seed\"", "\"sead\"", 1), "damaged or was edited: missing field `seed`"),
        (good.replacen(&first_id, &second_id, 1), "appears twice"),
        (
            good.replacen(&format!("\"count\": {count}"), "\"count\": 7", 1),
            "count is 7, but the histogram holds",
        ),
        (
            good.replacen(&format!("\"total_ns\": {total}"), "\"total_ns\": 1", 1),
            "the mean pass of a round is not between its extremes",
        ),
        (
            good.replacen("\"mean_tokens_per_s\": ", "\"mean_tokens_per_s\": 9", 1),
            "its throughput is not",
        ),
        (
            good.replacen("\"measured\"", "\"failed\", \"reason\": \"x\"", 1),
            "its outcome does not fit",
        ),
        (
            good.replacen("\"stddev_tokens_per_s\": ", "\"stddev_tokens_per_s\": 1", 1),
            "its throughput is not",
        ),
        (
            good.replacen("\"median_tokens_per_s\": ", "\"median_tokens_per_s\": 1", 1),
            "its throughput is not",
        ),
        (
            good.replacen("\"mean_ns\": ", "\"mean_ns\": 1", 1),
            "prefill_pass: the mean is not the sum by the count",
        ),
        (good.replacen("\"p50\": ", "\"p50\": 1", 1), "prefill_pass: p50 is not 1"),
        (good.replacen("\"n_prompt\": 16", "\"n_prompt\": 17", 1), "are not those of its axes"),
        (
            good.replacen("\"label\": \"tiny\"", "\"label\": \"huge\"", 1),
            "a model that the plan does not have",
        ),
    ];
    for (text, words) in cases {
        std::fs::write(sandbox.path("spoiled.json"), text).unwrap();
        let output = sandbox.benchinf("report spoiled.json").assert().code(2);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(stderr.starts_with("error: spoiled.json: "), "{stderr}");
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
}

/// A file that was made anew as a whole is intact, and refused where it contradicts itself.
#[test]
fn what_contradicts_itself_is_refused_whoever_sealed_it() {
    // Everything in it is derived by this build: that is what merging does.
    let one = result::read(&repository("tests/data/results/valid/v1.1.json")).unwrap();
    let mut other = one.clone();
    other.run.id.push('2');
    let merged = result::merge(vec![("a".into(), one), ("b".into(), other)], vec![]).unwrap();
    let ours = result::ResultFile { tool: result::tool(), ..merged };
    let good = serde_json::to_value(&ours).unwrap();
    assert!(result::parse(&good.to_string()).is_ok());
    let claim = "/ceilings/0/claims/existence/0";
    let thousandfold = |path: String| {
        let value = good.pointer(&path).unwrap();
        let times = value.as_u64().map(|n| (n * 1000).into());
        (path, times.unwrap_or_else(|| (value.as_f64().unwrap() * 1e3).into()))
    };
    let at = |path: &str, value: serde_json::Value| vec![(path.to_owned(), value)];
    let product =
        ["work", "per_second_at_least", "tpp_at_least"].map(|key| format!("{claim}/{key}"));
    let with_flops = product.iter().cloned().chain(["/ceilings/0/flops".to_owned()]);
    let counted = ["forward_passes", "bytes_min", "flops"].map(|key| {
        let path = ["", "cases", "1", "work", key].join("/");
        (at(&path, 1.into()), "its work is not that of its model")
    });
    let timeless = |key: &str| {
        let mut conditions = good["cases"][0]["rounds"][0]["conditions"].clone();
        conditions[key] = 0.0.into();
        (at("/cases/0/rounds/0/conditions", conditions), "took no time")
    };
    let mut edits: Vec<(Vec<(String, serde_json::Value)>, &str)> = vec![
        (product.iter().cloned().map(thousandfold).collect(), "claims.existence[0]"),
        (with_flops.map(thousandfold).collect(), "its work is not that of its size"),
        (at(&format!("{claim}/operand_bits"), 64.into()), "claims.existence[0].operand_bits is 64"),
        (at(&format!("{claim}/check"), "sworn".into()), "claims.existence[0].check is \"sworn\""),
        (at("/ceilings/0/check/reference", "sworn".into()), "claims"),
        (at("/cases/0/check/max_error", 5.0.into()), "an error of 5 does not stand a check"),
        (at("/cases/0/check/tolerance", 5.0.into()), "does not stand a check"),
        (at("/cases/0/check/passes", 1.into()), "1 passes were checked, of"),
        (at("/cases/0/check", serde_json::Value::Null), "held against nothing"),
        (at("/cases/0/claims/typical/per_second_at_least", 1e9.into()), "claims.typical"),
        (at("/ceilings/1/rate/best_per_s", 9e15.into()), "rate.best_per_s is 9000000000000000.0"),
        (at("/cases/0/roofline/sentence", "at its best".into()), "roofline.sentence"),
        (at("/cases/0/warnings", serde_json::json!([])), "warnings"),
        (at("/plan/models/0/n_params", 1.into()), "n_params is not"),
        (at("/plan/models/0/config/hidden_size", 128.into()), "plan.models `tiny`"),
        (at("/cases/0/latencies/0/stddev_ns", 1.0.into()), "prefill_pass: stddev_ns is 1.0"),
        (at("/cases/0/latencies/0/mad_ns", 1.into()), "prefill_pass: mad_ns is 1"),
        (at("/cases/0/latencies/0/metric", "itl".into()), "its test has no such latency"),
        (
            at("/cases/0/latencies/0/sum_of_squares_ns2", 1.7e308.into()),
            "not one of values between the extremes",
        ),
        (at("/cases/0/throughput/interval/coverage", 1.0.into()), "throughput.interval.coverage"),
        (at("/cases/0/rounds/0/min_pass_idx", 1_000_000.into()), "is not one of its passes"),
        (at("/cases/0/rounds/0/iterations", 1.into()), "are not those of its passes"),
        (at("/cases/0/rounds/0/block_pass_ns", serde_json::json!([1])), "a block of a round"),
        (at("/cases/0/rounds/0/conditions/steal_share", 1e308.into()), "is not between 0 and 1"),
        (
            at("/cases/0/rounds/0/conditions/core_speed_after_per_s", 1e300.into()),
            "not one that a core can have",
        ),
        timeless("handover_before_ns"),
        timeless("handover_ns"),
    ];
    edits.extend(counted);
    for (edit, words) in edits {
        let mut spoiled = good.clone();
        for (path, value) in &edit {
            assert_ne!(spoiled.pointer(path), Some(value), "{path} is that already");
            *spoiled.pointer_mut(path).unwrap() = value.clone();
        }
        let mut file: result::ResultFile = serde_json::from_value(spoiled).unwrap();
        let sealed = result::seal(&mut file, None);
        assert!(matches!(result::verify(sealed.as_bytes()), result::Verdict::Intact { .. }));
        let problem = result::parse(&sealed).expect_err(words);
        assert!(problem.contains(words), "{edit:?}: {problem}");
    }
    // Of another build, what has a definition is compared, and its words are its own.
    let of_older = |path: &str, value: serde_json::Value| {
        let mut older = good.clone();
        older["tool"]["commit"] = "0123456789ab".into();
        *older.pointer_mut(path).unwrap() = value;
        result::parse(&older.to_string())
    };
    assert!(of_older("/cases/0/roofline/sentence", "in other words".into()).is_ok());
    assert!(of_older(&format!("{claim}/work"), 1.into()).is_err());
    assert!(of_older(&format!("{claim}/definition"), "later.v9".into()).is_ok());
    for (path, value) in [
        ("/cases/0/throughput/mean_tokens_per_s", 1.0),
        ("/cases/0/claims/typical/per_second_at_least", 1e9),
        ("/cases/0/roofline/compute_share", 0.99),
        ("/cases/0/roofline/ceiling_share", 0.99),
        ("/cases/0/roofline/flops_per_s", 9e15),
        ("/ceilings/0/rate/best_per_s", 9e15),
        ("/ceilings/0/rate/best_per_s", 1.0),
        ("/ceilings/0/rate/median_per_s", 1.0),
    ] {
        assert!(of_older(path, value.into()).is_err(), "{path}");
    }
}

/// What a device's own clock says of iterations is part of what it says of rounds, and of nothing else.
#[test]
fn latencies_of_a_device_are_held_against_its_rounds() {
    let made = || {
        let made = Made::new("x").edit(|file| file.plan.device = "cuda:0".into());
        let on_device = |axes| AxesFile { device: "cuda:0".into(), ..axes };
        let (step, request) = (on_device(made.axes(1)), on_device(made.axes(2)));
        made.device_shares(0.25, 0.75).case(step, &[1_000_000; 3]).case(request, &[2_000_000; 3])
    };
    let good = result::parse(&made().text()).unwrap();
    let names = |case: &CaseFile| -> Vec<String> {
        case.latencies.iter().map(|latency| latency.metric.clone()).collect()
    };
    assert_eq!(names(&good.cases[0]), ["decode_step", "decode_step_device"]);
    assert_eq!(names(&good.cases[1]), ["ttft", "tpot", "itl", "e2el", "itl_device"]);
    let of_device = |case: &CaseFile| case.latencies.last().unwrap().clone();
    let (step, itl) = (of_device(&good.cases[0]), of_device(&good.cases[1]));
    assert_eq!((step.count, step.sum_ns), (3 * 4 * 8, 3 * 4 * 750_000));
    assert_eq!((itl.count, itl.sum_ns), (3 * 4 * 3, 3 * 4 * 3 * 375_000));

    let without_clock = |case: &mut CaseFile| {
        case.rounds.iter_mut().for_each(|round| round.device_time = None);
    };
    let one_without = |case: &mut CaseFile| case.rounds[1].device_time = None;
    let less = |case: &mut CaseFile| {
        case.rounds.iter_mut().for_each(|round| round.device_time.as_mut().unwrap().device_ns /= 2);
    };
    let more = |case: &mut CaseFile| {
        let device_time = case.rounds[0].device_time.as_mut().unwrap();
        device_time.device_ns += 1;
    };
    let other_test = |case: &mut CaseFile| {
        case.latencies.last_mut().unwrap().metric = "prefill_pass_device".into();
    };
    type Edit = fn(&mut CaseFile);
    let edits: [(usize, Edit, &str); 7] = [
        (0, without_clock, "decode_step_device: its rounds have less time of the device"),
        (0, one_without, "decode_step_device: its rounds have less time of the device"),
        (0, less, "decode_step_device: its rounds have less time of the device"),
        (0, more, "are not those of its rounds"),
        (0, other_test, "its test has no such latency"),
        (1, without_clock, "itl_device: its rounds have less time of the device"),
        (1, less, "itl_device: its rounds have less time of the device"),
    ];
    for (idx, edit, words) in edits {
        let mut file = good.clone();
        edit(&mut file.cases[idx]);
        let problem = result::parse(&result::seal(&mut file, None)).expect_err(words);
        assert!(problem.contains(words), "{words}: {problem}");
    }
}

#[test]
fn a_file_that_is_not_intact_says_so_in_the_data() {
    let sandbox = Sandbox::new();
    let good = std::fs::read_to_string(repository("tests/data/results/valid/v1.1.json")).unwrap();
    let old = std::fs::read_to_string(repository("tests/data/results/valid/v1.0.json")).unwrap();
    let altered = good.replacen("\"seed\": 0", "\"seed\": 1", 1);
    for (text, name, first_line) in [
        (&good, "intact", "benchinf "),
        (&altered, "altered", "**Altered** since it was written (plan): nothing here is proved."),
        (&old, "no_digests", "**Without digests**"),
    ] {
        std::fs::write(sandbox.path("x.json"), text).unwrap();
        let report = |format: &str| {
            let output = sandbox.benchinf(&format!("report -o {format} x.json")).assert().success();
            String::from_utf8(output.get_output().stdout.clone()).unwrap()
        };
        let is_intact = name == "intact";
        let markdown = report("md");
        assert!(markdown.starts_with(first_line), "{markdown}");
        assert_eq!(markdown.contains("Proved, at least"), is_intact, "{markdown}");
        for line in report("jsonl").lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["integrity"], name);
            assert_eq!(row["tpp_at_least"].is_number(), is_intact);
        }
        let csv = report("csv");
        assert!(csv.lines().next().unwrap().ends_with(",integrity"));
        assert!(csv.lines().skip(1).all(|line| line.ends_with(&format!(",{name}"))), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&report("json")).unwrap();
        let verdict = json.get("integrity_verdict").and_then(serde_json::Value::as_str);
        assert_eq!(verdict.unwrap_or("intact"), name);
    }
}

#[test]
#[cfg(unix)]
fn what_is_not_a_regular_file_is_not_read() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("d")).unwrap();
    for args in ["report", "verify", "merge --out y.json d", "verify --public-key"] {
        for path in ["/dev/zero", "/dev/full", "d"] {
            let file = if args.contains("key") { format!("{path} d") } else { path.to_owned() };
            let output = sandbox.benchinf(&format!("{args} {file}")).assert().code(2);
            let output = output.get_output();
            let text = [output.stdout.clone(), output.stderr.clone()].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains("it is not a regular file"), "{args} {path}: {text}");
        }
    }
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let path = repository("tests/data/results/valid/v1.1.json");
    let good = std::fs::read_to_string(path).unwrap();
    let escape = r"\u001b[31m|";
    let hostile = good
        .replace("tiny", &format!("tiny{escape}"))
        .replace("\"commit\": \"", &format!("\"commit\": \"{escape}"))
        .replace("\"run\": {", &format!("\"{escape}\": 1, \"run\": {{"));
    for (text, code) in
        [(hostile.clone(), 0), (hostile.replacen("\"count\": ", "\"count\": 1", 1), 2)]
    {
        std::fs::write(sandbox.path("hostile.json"), text).unwrap();
        let output = sandbox.benchinf("report hostile.json").assert().code(code);
        let output = output.get_output();
        for stream in [&output.stdout, &output.stderr] {
            assert!(!stream.contains(&0x1b), "{}", String::from_utf8_lossy(stream));
        }
        assert!(output.stdout.len() + output.stderr.len() > 50);
    }
}

#[test]
fn a_newer_minor_version_with_more_keys_is_read() {
    let sandbox = Sandbox::new();
    let path = repository("tests/data/results/valid/v1.1.json");
    let good = std::fs::read_to_string(path).unwrap();
    let newer = good.replacen(
        "\"format_version\": \"1.1\"",
        "\"news\": {}, \"format_version\": \"1.9\"",
        1,
    );
    std::fs::write(sandbox.path("newer.json"), newer).unwrap();
    sandbox.benchinf("report newer.json").assert().success();
}

/// The id of a case, as the text has it.
fn nth_case_id(text: &str, n: usize) -> String {
    let line = text.lines().filter(|line| line.contains("\"id\": \"tiny/")).nth(n).unwrap();
    line.trim().to_owned()
}
