//! `tests/data/results` holds a file of every format version ever written, and files that must
//! be refused, each with its message.

use benchinf::result;

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
            "format version 2.0 is newer than this benchinf reads (1.1)",
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
        (good.replacen("\"mean_ns\": ", "\"mean_ns\": 1", 1), "the mean is not the sum"),
        (good.replacen("\"p50\": ", "\"p50\": 1", 1), "p50 is not"),
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

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let path = repository("tests/data/results/valid/v1.1.json");
    let good = std::fs::read_to_string(path).unwrap();
    let escape = r"\u001b[31m|";
    let hostile = good
        .replace("tiny", &format!("tiny{escape}"))
        .replace("\"commit\": \"", &format!("\"commit\": \"{escape}"))
        .replace("\"metric\": \"", &format!("\"metric\": \"{escape}"));
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
