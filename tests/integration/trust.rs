//! Result files that survive: digests, signatures, merging, the schema, and runs that were killed.

use std::path::Path;

use benchinf::case::{DeviceSpec, Operands};
use benchinf::probe::{Probe, ProbeKind, ProbeSizes};
use benchinf::result::{self, Verdict};

use crate::{Sandbox, repository};

fn fixture() -> Vec<u8> {
    std::fs::read(repository("tests/data/results/valid/v1.1.json")).unwrap()
}

fn says(sandbox: &Sandbox, args: &str, code: i32, words: &str) {
    let output = sandbox.benchinf(args).assert().code(code);
    let output = output.get_output();
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains(words), "{args}: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn one_changed_byte_anywhere_is_found() {
    let good = fixture();
    assert!(matches!(result::verify(&good), Verdict::Intact { .. }));
    let (mut altered, mut unreadable) = (0, 0);
    // Every seventh place with one bit, and some with another byte that JSON allows there.
    for at in (0..good.len()).step_by(7) {
        for change in [good[at] ^ (1 << (at % 8)), b' ', b'0', b'"'] {
            if change == good[at] {
                continue;
            }
            let mut spoiled = good.clone();
            spoiled[at] = change;
            match result::verify(&spoiled) {
                Verdict::Intact { .. } => panic!("byte {at} as {change:#x} goes unnoticed"),
                Verdict::Altered { records } => {
                    assert!(!records.is_empty());
                    altered += 1;
                }
                Verdict::Unreadable { .. } => unreadable += 1,
                Verdict::NoDigests => panic!("byte {at} as {change:#x} takes the digests away"),
            }
        }
    }
    assert!(altered > 1_000 && unreadable > 1_000, "{altered} {unreadable}");
}

#[test]
fn verify_names_the_record_that_was_altered() {
    let sandbox = Sandbox::new();
    let good = String::from_utf8(fixture()).unwrap();
    let write = |text: &str| std::fs::write(sandbox.path("x.json"), text).unwrap();
    let check = |text: &str, code, words: &str| {
        write(text);
        says(&sandbox, "verify x.json", code, words);
    };
    check(&good, 0, "x.json: intact, not signed");
    check(&good.replacen("\"seed\": 0", "\"seed\": 1", 1), 1, "altered (plan)");
    check(
        &good.replacen("\"ended\": \"completed\"", "\"ended\": \"time_up\"", 1),
        1,
        "altered (run)",
    );
    check(
        &good.replacen("\"n_prompt\": 16", "\"n_prompt\": 17", 1),
        1,
        "altered (cases/tiny/f32/cpu/t2/b1/pp16@d0)",
    );
    check(
        &good.replacen("\"gemm_size\": 2048", "\"gemm_size\": 2049", 1),
        1,
        "altered (ceilings/gemm/",
    );
    check(&good.replacen("{\n", "{\n\"extra\": 1,\n", 1), 1, "altered (extra");
    check(&format!("{good}\n"), 1, "layout: every record is intact");
    check(&good.replacen("\"head\": \"", "\"head\": \"0", 1), 1, "altered (integrity");
    let start = good.find("  \"integrity\"").unwrap();
    let cut = format!("{}\n}}\n", good[..start].trim_end().trim_end_matches(','));
    check(&cut, 1, "altered (integrity)");
    check("{}", 2, "unreadable");
    check(&good[..good.len() / 2], 2, "unreadable");
    check(&good.replacen("\"1.1\"", "\"2.0\"", 1), 2, "newer than this benchinf reads");
    check(&good.replacen("\"seed\": 0", "\"seed\": NaN", 1), 2, "unreadable");
    check(&good.replacen("\"seed\": 0", "\"seed\": 1e999", 1), 2, "unreadable");
    says(&sandbox, "verify missing.json", 2, "cannot read missing.json");
    write(&good.replacen("\"seed\": 0", "\"seed\": 1", 1));
    says(&sandbox, "report x.json", 0, "warning: x.json: altered since it was written (plan)");
    std::fs::write(sandbox.path("y.json"), &good).unwrap();
    says(&sandbox, "merge x.json y.json --out z.json", 2, "was altered since it was written");
}

#[test]
fn signatures_tell_whose_file_it_is() {
    let sandbox = Sandbox::new();
    says(&sandbox, "keygen a.key", 0, "public key: a.key.pub");
    says(&sandbox, "keygen b.key", 0, "public key: b.key.pub");
    says(&sandbox, "keygen a.key", 2, "exists already");
    let run = "-m tiny -p 4 -n 0 -r 1 --min-time 0 --no-ceilings -q --out";
    sandbox.benchinf(&format!("{run} signed.json --sign-key a.key")).assert().success();
    sandbox.benchinf(&format!("{run} plain.json")).assert().success();
    says(&sandbox, "verify signed.json", 0, "intact, signed with the key ");
    says(&sandbox, "verify signed.json --public-key a.key.pub", 0, "intact, signed with that key");
    says(&sandbox, "verify signed.json --public-key b.key.pub", 1, "signed with another key");
    says(&sandbox, "verify plain.json --public-key a.key.pub", 1, "but not signed");
    says(&sandbox, "verify signed.json --public-key a.key", 2, "not an Ed25519 public key");
    says(&sandbox, &format!("{run} x.json --sign-key a.key.pub"), 2, "not an Ed25519 private key");
    says(&sandbox, &format!("{run} x.json --sign-key no.key"), 2, "cannot read no.key");
    assert!(!sandbox.path("x.json").exists() && !sandbox.path("x.json.journal").exists());
    // A case that is moved out of the list, under its old name, is not there any more.
    let text = std::fs::read_to_string(sandbox.path("signed.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let case = value["cases"].as_array_mut().unwrap().pop().unwrap();
    let name = format!("cases/{}", case["id"].as_str().unwrap());
    value[name] = case;
    std::fs::write(sandbox.path("moved.json"), value.to_string()).unwrap();
    says(&sandbox, "verify moved.json", 1, "altered (cases");
    // What the digests do not cover, the signature does.
    let remark = text.replacen("\"algorithm\"", "\"remark\": 1, \"algorithm\"", 1);
    std::fs::write(sandbox.path("remark.json"), remark).unwrap();
    says(&sandbox, "verify remark.json", 1, "altered (integrity/signature)");
    // A signature of something else is not one of this.
    let text = std::fs::read_to_string(sandbox.path("signed.json")).unwrap();
    let at = text.find("\"signature\": \"").unwrap() + 14;
    let other = if &text[at..=at] == "0" { "1" } else { "0" };
    let forged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    std::fs::write(sandbox.path("forged.json"), forged).unwrap();
    says(&sandbox, "verify forged.json", 1, "altered (integrity/signature)");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(sandbox.path("a.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn merging_adds_rounds_and_histograms_up() {
    let sandbox = Sandbox::new();
    let run = "-m tiny -p 4 -n 3 --min-time 0 --no-ceilings -q -r";
    sandbox.benchinf(&format!("{run} 2 --out a.json")).assert().success();
    sandbox.benchinf(&format!("{run} 3 --out b.json")).assert().success();
    sandbox.benchinf("merge a.json b.json --out ab.json -o json").assert().success();
    let read = |name: &str| result::read(&sandbox.path(name)).unwrap();
    let (a, b, ab) = (read("a.json"), read("b.json"), read("ab.json"));
    assert!(matches!(result::verify_file(&sandbox.path("ab.json")), Ok(Verdict::Intact { .. })));
    let ids: Vec<&str> = ab.run.merged.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, [a.run.id.as_str(), b.run.id.as_str()]);
    for ((a, b), ab) in a.cases.iter().zip(&b.cases).zip(&ab.cases) {
        assert_eq!(ab.rounds.len(), 5);
        assert_eq!(ab.rounds[1], a.rounds[1]);
        assert_eq!((ab.rounds[2].run_idx, ab.rounds[2].total_ns), (1, b.rounds[0].total_ns));
        assert_eq!(ab.throughput.as_ref().unwrap().interval.as_ref().unwrap().coverage, 0.9375);
        let latency = |case: &result::file::CaseFile| case.latencies[0].clone();
        assert_eq!(latency(ab).count, latency(a).count + latency(b).count);
        assert_eq!(latency(ab).sum_ns, latency(a).sum_ns + latency(b).sum_ns);
        assert_eq!(latency(ab).min_ns, latency(a).min_ns.min(latency(b).min_ns));
        let claim = &ab.claims.as_ref().unwrap().existence[0];
        let best = ab.rounds.iter().map(|round| round.min_pass_ns).min().unwrap();
        assert_eq!(claim.bracket_ns, best);
    }
    // A merged file merges again, in the same order of rounds.
    sandbox.benchinf(&format!("{run} 1 --out c.json")).assert().success();
    sandbox.benchinf("merge ab.json c.json --out abc.json -o json").assert().success();
    sandbox.benchinf("merge a.json b.json c.json --out all.json -o json").assert().success();
    let (abc, all) = (read("abc.json"), read("all.json"));
    assert_eq!((&abc.cases, &abc.plan), (&all.cases, &all.plan));

    let refused = |files: &str, words: &str| {
        says(&sandbox, &format!("merge {files} --out no.json"), 2, words);
        assert!(!sandbox.path("no.json").exists());
    };
    refused("a.json a.json", "its rounds would count twice");
    refused("ab.json a.json", "its rounds would count twice");
    sandbox
        .benchinf("-m tiny -p 5 -n 3 --min-time 0 --no-ceilings -q -r 2 --out p5.json")
        .assert()
        .success();
    refused("a.json p5.json", "differs in n_prompt (4 and 5)");
    sandbox.benchinf(&format!("{run} 2 --seed 1 --out seed.json")).assert().success();
    refused("a.json seed.json", "plan.seed differs: 0 and 1");
    refused("a.json missing.json", "cannot read missing.json");
    says(&sandbox, "merge a.json --out no.json", 2, "2 values required");
    says(&sandbox, "merge a.json b.json --out ab.json", 2, "exists already");
}

#[test]
fn files_of_another_machine_build_or_precision_are_not_merged() {
    let sandbox = Sandbox::new();
    let good = String::from_utf8(fixture()).unwrap();
    let file = result::parse(&good).unwrap();
    let altered = |change: &dyn Fn(&mut result::ResultFile), words: &str| {
        let mut other = file.clone();
        other.run.id += "2";
        change(&mut other);
        std::fs::write(sandbox.path("a.json"), &good).unwrap();
        std::fs::write(sandbox.path("b.json"), result::seal(&mut other, None)).unwrap();
        says(&sandbox, "merge a.json b.json --out c.json --force", 2, words);
    };
    altered(&|f| f.environment.cpu.model = Some("other".into()), "environment.cpu.model differs");
    altered(&|f| f.tool.version += "9", "tool.version differs");
    altered(&|f| f.plan.models[0].config_sha256 = None, "config_sha256 differs");
    altered(&|f| f.cases[0].work.flops.0 += 1, "its work is not that of its model's shape");
    altered(
        &|f| f.cases[0].latencies[0].histogram.significant_figures = 2,
        "histograms of different precision: 2 significant figures",
    );
    altered(&|f| f.cases[0].latencies[0].definition += "x", "is defined as");
    altered(&|f| f.environment.cpu.quota_cpus = Some(1.5), "environment.cpu.quota_cpus differs");
    altered(&|f| f.environment.cpu.affinity = Some("1".into()), "environment.cpu.affinity differs");
    altered(&|f| f.environment.cpu.boost = Some(true), "environment.cpu.boost differs");
    // Two builds of one clean commit: the merged file names both, and neither as its own.
    let mut files = [file.clone(), file.clone()];
    for (i, file) in files.iter_mut().enumerate() {
        file.run.id += &i.to_string();
        file.tool.dirty = Some(false);
        file.tool.binary_sha256 = Some(i.to_string().repeat(64));
    }
    let [a, b] = files;
    let merged = result::merge(vec![("a".into(), a), ("b".into(), b)], vec![]).unwrap();
    assert_eq!(merged.tool.binary_sha256, None);
    let of_runs = merged.run.merged.iter().map(|run| run.binary_sha256.as_deref().unwrap());
    assert!(of_runs.eq(["0".repeat(64), "1".repeat(64)]));
}

#[test]
fn the_schema_is_the_committed_one_and_fits_every_file() {
    let sandbox = Sandbox::new();
    let schema = result::schema();
    let committed = std::fs::read_to_string(repository("docs/result.schema.json"));
    assert!(
        committed.is_ok_and(|text| text == schema),
        "docs/result.schema.json is old: write it anew with `benchinf schema > docs/result.schema.json`"
    );
    says(&sandbox, "schema", 0, "\"$schema\"");
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let check = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&file).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    };
    let args = "-m tiny -p 4 -n 3 -pg 3,2 -r 2 --min-time 0 --no-ceilings -q --out new.json";
    sandbox.benchinf(args).assert().success();
    check(&sandbox.path("new.json"));
    for name in ["v1.0.json", "v1.1.json", "v1.2.json", "v1.3.json"] {
        check(&repository("tests/data/results/valid").join(name));
    }
    // Every committed run too, and none of those was altered.
    for path in crate::walk(&repository("results")) {
        let is_committed = path.parent() != Some(&repository("results"));
        // A comparison with peers has a table of its own beside the runs that it is made of.
        let is_run = path.extension().is_some_and(|e| e == "json") && !path.ends_with("peers.json");
        if is_committed && is_run {
            check(&path);
            assert!(matches!(result::verify_file(&path), Ok(Verdict::Intact { .. })), "{path:?}");
            assert!(result::read(&path).is_ok());
        }
    }
    let mut wrong: serde_json::Value = serde_json::from_slice(&fixture()).unwrap();
    wrong["plan"]["seed"] = "x".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
#[cfg(unix)]
fn a_run_killed_three_times_and_resumed_has_the_same_cases() {
    let sandbox = Sandbox::new();
    let args = "-m tiny -p 4,8 -n 3,6 -r 150 --min-time 1ms --no-ceilings";
    let path = sandbox.path("killed.json.journal");
    let len = || std::fs::metadata(&path).map_or(0, |meta| meta.len());
    // Three kills, each in the middle of it, at lengths that no line ends at on purpose.
    for until_len in [30_011, 90_007, 200_003] {
        let args = match path.exists() {
            false => format!("{args} --out killed.json"),
            true => "--resume killed.json.journal".to_owned(),
        };
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_benchinf"))
            .current_dir(sandbox.path(""))
            .args(args.split(' '))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while len() < until_len && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(path.exists() && !sandbox.path("killed.json").exists());
    }
    sandbox.benchinf("--resume killed.json -q").assert().success();
    sandbox.benchinf(&format!("{args} --out whole.json -q")).assert().success();
    assert_eq!(sandbox.files(), ["killed.json", "whole.json"]);
    let read = |name: &str| result::read(&sandbox.path(name)).unwrap();
    let (killed, whole) = (read("killed.json"), read("whole.json"));
    assert!(!killed.run.resumed.is_empty());
    assert_eq!(killed.run.ended, result::file::RunEnd::Completed);
    let cases = |file: &result::ResultFile| -> Vec<_> {
        file.cases
            .iter()
            .map(|c| (c.id.clone(), c.axes.clone(), c.work, c.outcome.clone(), c.rounds.len()))
            .collect()
    };
    assert_eq!(cases(&killed), cases(&whole));
    assert_eq!(killed.plan, whole.plan);
    for case in &killed.cases {
        let starts: Vec<u64> = case.rounds.iter().map(|round| round.start_ns).collect();
        assert!(starts.is_sorted(), "time goes on where it stopped");
        let iterations: u64 = case.rounds.iter().map(|round| round.iterations).sum();
        assert_eq!(case.latencies[0].count, iterations);
        let passes: u64 = case.rounds.iter().map(|round| round.passes).sum();
        assert_eq!(case.check.as_ref().unwrap().passes, passes);
    }
    assert!(matches!(
        result::verify_file(&sandbox.path("killed.json")),
        Ok(Verdict::Intact { .. })
    ));
    says(&sandbox, "--resume killed.json", 2, "cannot read killed.json.journal");
}

/// A journal of a short run that was interrupted.
#[cfg(unix)]
fn journal(sandbox: &Sandbox) -> Vec<u8> {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_benchinf"))
        .current_dir(sandbox.path(""))
        .args("-m tiny -p 4 -n 0 -r 1000000 --min-time 0 --no-ceilings --out j.json".split(' '))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let path = sandbox.path("j.json.journal");
    // Until some rounds are in it.
    while std::fs::metadata(&path).map_or(0, |meta| meta.len()) < 20_000 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::read(path).unwrap()
}

#[test]
#[cfg(unix)]
fn a_journal_cut_anywhere_is_replayed_or_refused_in_plain_words() {
    let sandbox = Sandbox::new();
    let mut journal = journal(&sandbox);
    journal.truncate(20_000);
    let first_line = journal.iter().position(|byte| *byte == b'\n').unwrap();
    let mut rounds = 0;
    for len in 0..=journal.len() {
        match result::replay(&journal[..len]) {
            Ok(replayed) => {
                assert!(len > first_line);
                let n = replayed.assembly.file().cases[0].rounds.len();
                assert!(n == rounds || n == rounds + 1, "one line is one round at most");
                rounds = n;
            }
            Err(problem) => {
                assert!(len <= first_line && problem.contains("nothing was recorded"), "{problem}");
            }
        }
    }
    assert!(rounds >= 3);
    // A changed byte in a whole line is found, and so is a line that is missing.
    for at in (0..journal.len() - 3_000).step_by(97) {
        let mut changed = journal.clone();
        changed[at] ^= 1;
        assert!(result::replay(changed.as_slice()).is_err(), "byte {at}");
    }
    let lines: Vec<&[u8]> = journal.split_inclusive(|byte| *byte == b'\n').collect();
    let without_second = [&lines[..1], &lines[2..]].concat().concat();
    let problem = result::replay(without_second.as_slice()).unwrap_err();
    assert!(problem.contains("a line before it was taken out"), "{problem}");
}

#[test]
#[cfg(unix)]
fn what_cannot_be_resumed_is_refused_in_plain_words() {
    let sandbox = Sandbox::new();
    let journal = journal(&sandbox);
    let run = "-m tiny -p 4 -n 0 -r 1 --min-time 0 --no-ceilings -q";
    says(&sandbox, &format!("{run} --out j.json"), 2, "from a run that was cut off: go on with");
    let first_line = journal.iter().position(|byte| *byte == b'\n').unwrap();
    let write = |bytes: &[u8]| std::fs::write(sandbox.path("j.json.journal"), bytes).unwrap();
    write(&journal[..first_line]);
    says(&sandbox, "--resume j.json", 2, "nothing was recorded in it");
    write(b"{\"entry\":{},\"sha256\":\"\"}\n");
    says(&sandbox, "--resume j.json", 2, "line 1: it was changed");
    let text = String::from_utf8(journal[..=first_line].to_vec()).unwrap();
    let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Two products that would be one, in a journal that is whole.
    let sized = |(n_threads, gemm_size)| {
        let kind = ProbeKind::Gemm { operands: Operands::F32 };
        let sizes = ProbeSizes { gemm_size, ..ProbeSizes::for_cache(None) };
        result::ceiling_file(&Probe { kind, device: DeviceSpec::Cpu, n_threads }, &sizes)
    };
    let ceilings = [(1, 2048), (2, 4096)].map(sized);
    line["entry"]["record"]["file"]["ceilings"] = serde_json::to_value(ceilings).unwrap();
    write(result::journal_line("", &line["entry"]).0.as_bytes());
    says(&sandbox, "--resume j.json", 2, "ceiling gemm/f32/cpu/t2 is not as large as another");
    // A product of nothing.
    line["entry"]["record"]["file"]["ceilings"][0]["gemm_size"] = 0.into();
    write(result::journal_line("", &line["entry"]).0.as_bytes());
    says(&sandbox, "--resume j.json", 2, "its sizes are not those of its probe");
    // Another machine.
    line["entry"]["record"]["file"]["environment"]["cpu"]["model"] = "other".into();
    write(result::journal_line("", &line["entry"]).0.as_bytes());
    says(&sandbox, "--resume j.json", 2, "environment.cpu.model differs");
    line["entry"]["record"]["file"]["tool"]["version"] = "0.0.1".into();
    write(result::journal_line("", &line["entry"]).0.as_bytes());
    says(&sandbox, "--resume j.json", 2, "tool.version differs");
    write(&journal);
    std::fs::write(sandbox.path("j.json"), "precious").unwrap();
    says(&sandbox, "--resume j.json", 2, "j.json exists already");
    says(&sandbox, "--resume j.json -m tiny", 2, "cannot be used with");
    says(&sandbox, "--resume nothing.json", 2, "cannot read nothing.json.journal");
}

/// Runs under a shell that lets no file grow beyond so many blocks of 512 bytes, as if the disk were
/// full.
#[cfg(unix)]
fn on_a_full_disk(sandbox: &Sandbox, blocks: u64, args: &str) -> (i32, String) {
    let output = std::process::Command::new("sh")
        .current_dir(sandbox.path(""))
        .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &blocks.to_string()])
        .arg(env!("CARGO_BIN_EXE_benchinf"))
        .args(args.split(' '))
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
#[cfg(unix)]
fn a_full_disk_is_an_error_that_keeps_what_was_measured() {
    let sandbox = Sandbox::new();
    let args = "-m tiny -p 4 -n 0 -r 60 --min-time 0 --no-ceilings -q --out full.json";
    let (code, said) = on_a_full_disk(&sandbox, 60, args);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("error: cannot write the journal full.json.journal"), "{said}");
    assert!(said.contains("--resume full.json.journal` goes on from there"), "{said}");
    let journal = std::fs::read(sandbox.path("full.json.journal")).unwrap();
    assert!(journal.ends_with(b"\n") && journal.len() <= 60 * 512);
    let n_rounds = |name: &str| {
        let file = result::read(&sandbox.path(name)).unwrap();
        (file.run.ended, file.cases[0].rounds.len())
    };
    let recorded = result::replay(journal.as_slice()).unwrap();
    let recorded = recorded.assembly.file().cases[0].rounds.len();
    assert!((1..60).contains(&recorded));
    // While the disk is full, what there is goes elsewhere; then the run goes on.
    let (_, said) = on_a_full_disk(&sandbox, 60, "--resume full.json -q --out elsewhere.json");
    assert_eq!(n_rounds("elsewhere.json"), (result::file::RunEnd::Interrupted, recorded), "{said}");
    sandbox.benchinf("--resume full.json -q --out full.json --force").assert().success();
    assert_eq!(n_rounds("full.json"), (result::file::RunEnd::Completed, 60));
    assert_eq!(sandbox.files(), ["elsewhere.json", "full.json"]);
}

/// The lines of a journal, the first `n` of them, and these events.
#[cfg(unix)]
fn with_events(journal: &[u8], n: usize, events: &[serde_json::Value]) -> Vec<u8> {
    let lines: Vec<&[u8]> = journal.split_inclusive(|byte| *byte == b'\n').take(n).collect();
    let last: serde_json::Value = serde_json::from_slice(lines[n - 1]).unwrap();
    let mut sha256 = last["sha256"].as_str().unwrap().to_owned();
    let mut journal = lines.concat();
    for event in events {
        let entry = serde_json::json!({"at_ns": 1_000_000_000, "record": event});
        let (line, digest) = result::journal_line(&sha256, &entry);
        journal.extend(line.into_bytes());
        sha256 = digest;
    }
    journal
}

#[test]
#[cfg(unix)]
fn a_run_whose_time_was_up_is_written_without_touching_the_journal() {
    let sandbox = Sandbox::new();
    let whole = journal(&sandbox);
    let n_lines = whole.split(|byte| *byte == b'\n').count() - 1;
    let finished =
        serde_json::json!({"event": "finished", "ended": "time_up", "at": "2026-01-01T00:00:00Z"});
    let ended = with_events(&whole, n_lines, &[finished]);
    std::fs::write(sandbox.path("j.json.journal"), &ended).unwrap();
    let rounds = result::replay(ended.as_slice()).unwrap().assembly.file().cases[0].rounds.len();
    // Not a byte more fits into the journal.
    let blocks = ended.len() as u64 / 512;
    let (code, said) = on_a_full_disk(&sandbox, blocks, "--resume j.json -q --out elsewhere.json");
    assert_eq!(code, 0, "{said}");
    let file = result::read(&sandbox.path("elsewhere.json")).unwrap();
    assert_eq!(
        (file.run.ended, file.cases[0].rounds.len()),
        (result::file::RunEnd::TimeUp, rounds)
    );
    assert_eq!((file.run.finished.as_str(), file.run.resumed.len()), ("2026-01-01T00:00:00Z", 0));
    assert!(!sandbox.path("j.json.journal").exists());
}

#[test]
#[cfg(unix)]
fn what_ends_the_process_twice_is_not_tried_again() {
    let sandbox = Sandbox::new();
    let whole = journal(&sandbox);
    let replayed = result::replay(whole.as_slice()).unwrap();
    let id = replayed.assembly.file().cases[0].id.clone();
    let began = serde_json::json!({"event": "began", "id": id});
    let resumed = serde_json::json!({"event": "resumed", "at": "2026-01-01T00:00:00Z"});
    let deaths = |n_lines, events: &[serde_json::Value]| {
        let journal = with_events(&whole, n_lines, events);
        result::replay(journal.as_slice()).unwrap().assembly.n_deaths(&id)
    };
    assert_eq!(deaths(1, &[]), 0);
    assert_eq!(deaths(1, &[began.clone(), resumed.clone()]), 1);
    // Rounds that came to their end in between do not count, nor does an end by Ctrl-C.
    let lines = whole.split_inclusive(|byte| *byte == b'\n');
    let is_round = |line: &[u8]| line.windows(15).any(|text| text == b"\"event\":\"round\"");
    let first_round = lines.clone().position(is_round).unwrap();
    assert_eq!(deaths(first_round, &[]), 1);
    assert_eq!(deaths(first_round + 1, &[]), 0);
    let finished = serde_json::json!({"event": "finished", "ended": "interrupted", "at": ""});
    assert_eq!(deaths(1, &[began.clone(), finished]), 0);

    let twice = [began.clone(), resumed, began];
    std::fs::write(sandbox.path("j.json.journal"), with_events(&whole, 1, &twice)).unwrap();
    sandbox.benchinf("--resume j.json -q").assert().code(1);
    let file = result::read(&sandbox.path("j.json")).unwrap();
    let result::file::OutcomeFile::Failed { reason } = &file.cases[0].outcome else {
        panic!("{:?}", file.cases[0].outcome);
    };
    assert!(reason.contains("twice in a row"), "{reason}");
    assert_eq!(sandbox.files(), ["j.json"]);
}
