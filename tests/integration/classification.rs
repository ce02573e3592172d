//! `benchinf classify` from outside: formats, dates, rule files, and bad input of every kind.

use serde_json::Value;

use benchinf::classify;
use benchinf::result;
use benchinf::result::file::{AxesFile, GpuFile, KernelsFile};
use benchinf::units::Bytes;

use crate::made::{Made, around};
use crate::{Sandbox, repository};

/// A real run on two cores of a virtual machine.
fn committed_run() -> String {
    repository("results/2026-11-24-intel-xeon-2-cores/smollm2-135m.json").display().to_string()
}

/// One on another processor, by a build that counted bytes by an older definition.
fn older_run() -> String {
    repository("results/2026-11-24-amd-epyc-2-cores/smollm2-135m.json").display().to_string()
}

/// A committed run, changed and sealed anew.
fn write_changed(sandbox: &Sandbox, name: &str, change: impl Fn(&mut result::ResultFile)) {
    let mut file = result::read(std::path::Path::new(&committed_run())).unwrap();
    change(&mut file);
    std::fs::write(sandbox.path(name), result::seal(&mut file, None)).unwrap();
}

fn stdout(sandbox: &Sandbox, args: &str) -> String {
    let output = sandbox.benchinf(args).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

fn json(sandbox: &Sandbox, args: &str) -> Vec<Value> {
    let text = stdout(sandbox, &format!("classify --format json {args}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verdict<'a>(record: &'a Value, rule_set: &str, paragraph: &str) -> &'a Value {
    let mut all = record["verdicts"].as_array().unwrap().iter();
    all.find(|v| v["rule_set"] == rule_set && v["paragraph"] == paragraph).unwrap()
}

fn refused(sandbox: &Sandbox, args: &[&str], words: &str) {
    let output = sandbox.benchinf("classify").args(args).assert().code(2);
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(stderr.contains(words), "{args:?}: {stderr}");
    assert!(output.get_output().stdout.is_empty() && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_real_run_proves_no_tier_and_says_how_far_the_next_is() {
    let sandbox = Sandbox::new();
    let records = json(&sandbox, &format!("--as-of 2026-11-24 {}", committed_run()));
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(
        (record["device"].as_str(), record["as_of"].as_str()),
        (Some("Intel(R) Xeon(R) Processor"), Some("2026-11-24"))
    );
    assert_eq!(record["tainted"], false);
    let tpp = &record["metrics"]["tpp"];
    assert!((tpp["lower"].as_f64().unwrap() - 9.525381201602999).abs() < 1e-9);
    // Never above the claim.
    assert!(tpp["lower"].as_f64().unwrap() < 9.525381201602999);
    assert_eq!(tpp["upper"], Value::Null);
    assert_eq!(tpp["basis"]["lower"]["kind"], "measured");
    let tier = &record["tiers"]["tpp"];
    assert_eq!((&tier["proved"], &tier["next"]), (&Value::Null, &Value::from(1600.0)));
    assert!((tier["factor_to_next"].as_f64().unwrap() - 1600.0 / 9.5253812).abs() < 1e-3);
    for verdict in record["verdicts"].as_array().unwrap() {
        if verdict["paragraph"].as_str().unwrap().starts_with("3A090.a") {
            assert_eq!(verdict["verdict"], "undetermined", "{verdict}");
            assert!(!verdict["settled_by"].as_array().unwrap().is_empty());
        }
    }
    // Tokens per second that would prove a threshold are the claim's, scaled.
    let case = &record["cases"][1];
    assert_eq!(case["id"], "smollm2-135m/f32/cpu/fused/t2/b1/tg128@d0");
    let rung = case["rungs"].as_array().unwrap().iter().find(|r| r["threshold"] == 1600.0).unwrap();
    let factor = 1600.0 / 0.450801437886478;
    assert!((rung["factor"].as_f64().unwrap() / factor - 1.0).abs() < 1e-9);
    let expected = case["tokens_per_s_at_least"].as_f64().unwrap() * factor;
    assert!((rung["tokens_per_s"].as_f64().unwrap() / expected - 1.0).abs() < 1e-9);
    // Its weights are too few to prove a bandwidth, and it says so.
    assert!(case["absent"]["dram_bandwidth"].as_str().unwrap().contains("may sit in the caches"));
    assert!(
        (record["metrics"]["dram_bandwidth"]["lower"].as_f64().unwrap() - 24.917_147_668).abs()
            < 1e-6
    );
    assert!(case["references"]["model"].as_str().unwrap().contains("not a measurement"));
}

#[test]
fn every_format_says_what_it_is_not() {
    let sandbox = Sandbox::new();
    for format in ["text", "json", "csv"] {
        let args = format!("classify --device-spec L4 --format {format} {}", committed_run());
        let text = stdout(&sandbox, &args);
        assert!(text.contains("not a licence determination"), "{format}: {text}");
    }
    assert!(stdout(&sandbox, "classify --help").contains("technical-parameter test"));
}

#[test]
fn json_fits_its_schema_and_csv_has_a_row_for_each_device() {
    let sandbox = Sandbox::new();
    let schema = classify::schema();
    let committed = std::fs::read_to_string(repository("docs/classification.schema.json"));
    assert!(
        committed.is_ok_and(|text| text == schema),
        "docs/classification.schema.json is old: write it anew with `benchinf schema classification \
         > docs/classification.schema.json`"
    );
    assert_eq!(stdout(&sandbox, "schema classification"), schema);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let devices = "--device-spec H20 --device-spec L4 --with-bills --references all";
    for when in ["--as-of 2024-01-01", "--timeline", ""] {
        let args = format!("{devices} {when} {}", committed_run());
        let records = json(&sandbox, &args);
        assert_eq!(records.len(), 3);
        for record in &records {
            let errors: Vec<String> =
                validator.iter_errors(record).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
        let text = stdout(&sandbox, &format!("classify --format csv {args}"));
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        let column =
            |name: &str| header.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name}"));
        for (row, record) in rows.iter().zip(&records) {
            assert_eq!(row[column("device")], *record["device"].as_str().unwrap());
            for verdict in record["verdicts"].as_array().unwrap() {
                let text = |key: &str| verdict[key].as_str().unwrap();
                let name = format!("{}: {}", text("rule_set"), text("paragraph"));
                assert_eq!(row[column(&name)], *text("verdict"));
            }
            let upper = row[column("tpp_upper")].parse::<f64>().ok();
            assert_eq!(upper, record["metrics"]["tpp"]["upper"].as_f64());
        }
    }
}

#[test]
fn every_fixed_csv_column_is_documented() {
    let sandbox = Sandbox::new();
    let docs = std::fs::read_to_string(repository("docs/classification.md")).unwrap();
    let text = stdout(&sandbox, "classify --device-spec L4 --format csv");
    for name in text.lines().next().unwrap().split(',') {
        let is_metric = classify::metric::Metric::ALL.iter().any(|m| name.starts_with(m.name()));
        if !is_metric && !name.contains(": ") {
            assert!(docs.contains(&format!("`{name}`")), "{name}");
        }
    }
    for metric in classify::metric::Metric::ALL {
        assert!(docs.contains(&format!("`{metric}`")), "{metric}");
    }
    for flag in classify::metric::Flag::ALL {
        assert!(docs.contains(&format!("`{flag}`")), "{flag}");
    }
}

#[test]
fn a_day_picks_its_rules_and_a_timeline_shows_all() {
    let sandbox = Sandbox::new();
    let sets = |args: &str| -> Vec<String> {
        let records = json(&sandbox, &format!("--device-spec L4 {args}"));
        let verdicts = records[0]["verdicts"].as_array().unwrap();
        let mut sets: Vec<String> =
            verdicts.iter().map(|v| v["rule_set"].as_str().unwrap().to_owned()).collect();
        sets.dedup();
        sets
    };
    assert_eq!(sets("--as-of 2022-10-07"), ["US-APP-2006", "US-2022-10-07"]);
    assert_eq!(sets("--as-of 2023-11-17"), ["US-APP-2006", "US-2023-11-17"]);
    assert!(!sets("--as-of 2026-11-01").contains(&"US-2022-10-07".to_owned()));
    assert_eq!(sets("--as-of 2010-01-01"), ["US-APP-2006"]);
    assert_eq!(sets("--timeline").len(), 12);
    assert_eq!(sets("--timeline --with-bills").len(), 15);
    assert_eq!(sets("--timeline --jurisdiction eu"), ["EU-APP"]);
    let records = json(&sandbox, "--device-spec l4 --timeline");
    assert_eq!(records[0]["as_of"], Value::Null);
    let text = stdout(&sandbox, "classify --device-spec l4 --timeline");
    for words in ["enforced", "tariff, not an export control", "unpublished letter"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let later = json(&sandbox, "--device-spec l4 --as-of 2026-11-01");
    let diffusion = verdict(&later[0], "US-2025-01-13", "3A090.a");
    assert_eq!(diffusion["status"], "not_enforced");
}

/// What a timeline says of a version follows from the day, and not from whether it has an end.
#[test]
fn statuses_of_a_timeline_follow_the_day() {
    let sandbox = Sandbox::new();
    for (day, expected) in [
        ("2006-04-23", ["not_yet", "not_yet", "not_yet"]),
        ("2023-01-01", ["enforced", "enforced", "not_yet"]),
        ("2023-11-16", ["enforced", "enforced", "not_yet"]),
        ("2023-11-17", ["enforced", "ended", "not_yet"]),
        ("2025-05-12", ["ended", "ended", "enforced"]),
        ("2025-05-13", ["ended", "ended", "not_enforced"]),
    ] {
        let args = format!("--device-spec l4 --timeline --as-of {day}");
        let record = &json(&sandbox, &args)[0];
        assert_eq!((&record["as_of"], &record["status_day"]), (&Value::Null, &day.into()));
        let of = |set, paragraph| verdict(record, set, paragraph)["status"].clone();
        let found = [
            of("US-APP-2006", "4A003.b"),
            of("US-2022-10-07", "3A090.a"),
            of("US-2025-01-13", "3A090.a"),
        ];
        assert_eq!(found, expected, "{day}");
        let text = stdout(&sandbox, &format!("classify {args}"));
        assert!(text.contains(&format!("as it stood on {day}")), "{text}");
        assert_eq!(text.contains("ended on 2023-11-16"), expected[1] == "ended", "{day}: {text}");
        // The rules of 2026 are still to come on all of these days.
        assert!(text.contains("not yet in force"), "{day}: {text}");
    }
}

/// What decides a verdict is said in text too, with how good it is.
#[test]
fn text_says_why_something_is_not_reached_and_on_what_evidence() {
    let sandbox = Sandbox::new();
    let text = stdout(&sandbox, "classify --device-spec L4 --as-of 2026-11-24");
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {text}")).to_owned()
    };
    assert_eq!(line("- US-2023-11-17 Red Flag 19:"), "- US-2023-11-17 Red Flag 19: has_hbm: false");
    // Half of the letter's verdict rests on a link's figure that nobody has seen.
    assert_eq!(
        line("- US-2025-04 letter:"),
        "- US-2025-04 letter: dram_bandwidth >= 1400: false, in [300, 300] [secondary]; \
         io_bandwidth >= 1100: false, in [64, 64] [unverified]; \
         dram_bandwidth + io_bandwidth >= 1700: false, in [364, 364] [unverified]"
    );
    let row = line("| US-2025-04 ");
    assert!(row.contains("| not reached  | unverified"), "{row}");
    let record = &json(&sandbox, "--device-spec L4 --as-of 2026-11-24")[0];
    let letter = verdict(record, "US-2025-04", "letter");
    assert_eq!(letter["weakest_figure"], "unverified");
    // What was not needed for a verdict does not weaken it.
    let a = verdict(record, "US-2023-11-17", "3A090.a.1");
    assert_eq!((&a["verdict"], &a["weakest_figure"]), (&"not_reached".into(), &"quoted".into()));
    for verdict in record["verdicts"].as_array().unwrap() {
        let mut reasons = verdict["reasons"].as_array().unwrap().iter();
        let is_decided = verdict["verdict"] != "undetermined";
        assert_eq!(reasons.any(|reason| reason["decides"] == true), is_decided, "{verdict}");
    }
}

/// Whether the bill's exclusion reaches what 3A090 covers all the same is left open by its text.
#[test]
fn a_bill_that_may_be_read_either_way_is_undetermined_where_that_decides() {
    let sandbox = Sandbox::new();
    let of = |name: &str| {
        let mut command = sandbox.benchinf("classify --format json --with-bills --device-spec");
        let output = command.arg(name).assert().success();
        let record: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        verdict(&record, "US-BILL-S3374", "S. 3374").clone()
    };
    let open = of("RTX 4090");
    assert_eq!(open["verdict"], "undetermined");
    let settles = open["settled_by"].to_string();
    assert!(settles.contains("may be read either way"), "{settles}");
    assert!(settles.contains("a TPP of 4800 or more"), "{settles}");
    // Below 4800, 3A090 leaves out what is not for datacenters, and so does the bill.
    assert_eq!(of("RTX 4090 D")["verdict"], "not_reached");
    assert_eq!(of("H100 SXM5")["verdict"], "reached");
}

#[test]
fn declarations_decide_what_no_run_can_show() {
    let sandbox = Sandbox::new();
    let own = "[[source]]\nid = \"s\"\ntitle = \"S\"\ngrade = \"official\"\n[[device]]\nname = \"Acme X1\"\n\
               vendor = \"Acme\"\ntpp_published = [1600, \"s\"]\n";
    std::fs::write(sandbox.path("own.toml"), own).unwrap();
    let a = |args: &str| {
        let records = json(&sandbox, &format!("--device-spec own.toml --as-of 2026-11-01 {args}"));
        assert_eq!(records[0]["device"], "Acme X1");
        verdict(&records[0], "US-2023-11-17", "3A090.a")["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(a(""), "undetermined");
    assert_eq!(a("--die-area 270"), "undetermined");
    assert_eq!(a("--die-area 270 --datacenter yes"), "reached");
    assert_eq!(a("--die-area 270 --datacenter no"), "not_reached");
    assert_eq!(a("--die-area 271 --datacenter yes"), "not_reached");
    assert_eq!(a("--die-area 270 --datacenter unknown"), "undetermined");
    assert_eq!(a("--declare performance_density=5.92 --declare datacenter=yes"), "reached");
    assert_eq!(a("--integrated-circuit board --packages-per-board 3"), "reached");
}

#[test]
fn a_measured_device_can_be_matched_by_hand_or_not_at_all() {
    let sandbox = Sandbox::new();
    let run = committed_run();
    let matched = &json(&sandbox, &format!("--match L4 {run}"))[0];
    assert_eq!(matched["specification"]["how"], "named");
    assert_eq!(matched["metrics"]["tpp"]["upper"], 1952.0);
    let a = verdict(matched, "US-2023-11-17", "3A090.a");
    // What was shown leaves it open; the specification alone would not.
    assert_eq!(
        (&a["verdict"], &a["by_specification"]),
        (&"undetermined".into(), &"reached".into())
    );
    let a1 = verdict(matched, "US-2023-11-17", "3A090.a.1");
    assert_eq!(a1["verdict"], "not_reached");
    let refused = &json(&sandbox, &format!("--no-match {run}"))[0];
    assert_eq!(refused["specification"], Value::Null);
    // A specification below what was measured is one too many.
    let own = "[[source]]\nid = \"s\"\ntitle = \"S\"\ngrade = \"official\"\n[[device]]\nname = \"Acme X2\"\n\
               vendor = \"Acme\"\ntpp_published = [1, \"s\"]\n";
    std::fs::write(sandbox.path("own.toml"), own).unwrap();
    let wrong = &json(&sandbox, &format!("--match own.toml {run}"))[0];
    assert!(wrong["contradictions"][0].as_str().unwrap().contains("is wrong"), "{wrong}");
    let a1 = verdict(wrong, "US-2023-11-17", "3A090.a.1");
    assert_eq!(a1["verdict"], "undetermined");
}

/// Files seldom tell one device from another of its kind, so only one run, or the user, makes
/// them one.
#[test]
fn several_files_are_one_device_only_if_they_are_of_one_run_or_the_user_says_so() {
    let sandbox = Sandbox::new();
    let run = committed_run();
    let text = std::fs::read_to_string(&run).unwrap();
    std::fs::write(sandbox.path("copy.json"), text).unwrap();
    let records = json(&sandbox, &format!("copy.json {run}"));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["files"].as_array().unwrap().len(), 2);
    assert_eq!(records[0]["one_device"], "one_run");
    // Another run on what describes itself alike: a virtual machine's generic name, or `cuda:0` of
    // another host, is no identity.
    write_changed(&sandbox, "other.json", |file| file.run.id = "another-run".into());
    let records = json(&sandbox, &format!("other.json {run}"));
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record["files"].as_array().unwrap().len(), 1);
        assert_eq!(record["one_device"], "one_run");
    }
    let text = stdout(&sandbox, &format!("classify other.json {run}"));
    assert!(text.contains("| Intel(R) Xeon(R) Processor (other.json) |"), "{text}");
    let args = format!("--one-device other.json {run}");
    let records = json(&sandbox, &args);
    assert_eq!((records.len(), &records[0]["one_device"]), (1, &"declared".into()));
    let words = "2 runs are taken as one device because --one-device says so";
    assert!(records[0]["notes"].to_string().contains(words), "{}", records[0]["notes"]);
    let text = stdout(&sandbox, &format!("classify {args}"));
    assert!(text.contains("Taken as one device because --one-device says so."), "{text}");
    let csv = stdout(&sandbox, &format!("classify --format csv {args}"));
    assert!(csv.lines().next().unwrap().contains(",one_device,") && csv.contains(",declared,"));
    // A run's name on another machine is no identity either.
    write_changed(&sandbox, "moved.json", |file| file.environment.cpu.physical_cores = 64);
    assert_eq!(json(&sandbox, &format!("moved.json {run}")).len(), 2);
    // What cannot be one device is not made one.
    refused(
        &sandbox,
        &["--one-device", &run, &older_run()],
        "cpu.model is Intel(R) Xeon(R) Processor in one and AMD EPYC in the other",
    );
    // Rounds of a merged file may be of several devices.
    sandbox.benchinf(&format!("merge other.json {run} --out merged.json")).assert().success();
    refused(&sandbox, &["merged.json"], "merged.json is merged from 2 runs");
    let records = json(&sandbox, "--one-device merged.json");
    assert!(records[0]["notes"].to_string().contains(words), "{}", records[0]["notes"]);
}

/// A run on a GPU is matched by the name that the driver gives, and what two UUIDs tell apart is not
/// one device.
#[test]
fn a_gpu_is_called_by_its_drivers_name() {
    let sandbox = Sandbox::new();
    let write = |run: &str, uuid: &str| {
        let axes = AxesFile {
            device: "cuda:0".into(),
            kernels: Some(KernelsFile::Fused),
            ..Made::new(run).axes(1)
        };
        let gpu = GpuFile {
            model: Some("NVIDIA H200".into()),
            uuid_sha256: Some(uuid.into()),
            l2_cache_bytes: Some(Bytes(50 << 20)),
            ..serde_json::from_str(r#"{"unavailable": {}}"#).unwrap()
        };
        let made = Made::new(run).edit(|file| {
            file.plan.device = "cuda:0".into();
            file.environment.cpu.hypervisor = Some(true);
            file.environment.gpu = Some(gpu);
        });
        let text = made.case(axes, &around(1e6, 3, 0)).text();
        std::fs::write(sandbox.path(&format!("{run}.json")), text).unwrap();
    };
    write("one", "aa");
    write("again", "aa");
    write("other", "bb");
    let record = &json(&sandbox, "one.json")[0];
    assert_eq!(record["device"], "NVIDIA H200");
    assert_eq!(record["specification"]["name"], "NVIDIA H200 SXM");
    assert_eq!(record["specification"]["how"], "matched");
    assert!(record["metrics"]["tpp"]["lower"].as_f64().unwrap() > 0.0);
    // What a hypervisor tells of the processor does not limit what is proved of the GPU.
    assert!(!record["notes"].to_string().contains("virtual machine"), "{}", record["notes"]);
    let report = stdout(&sandbox, "report one.json");
    assert!(report.contains("Proved, at least") && !report.contains("virtual machine"), "{report}");

    let records = json(&sandbox, "--one-device one.json again.json");
    assert_eq!(records.len(), 1);
    let words = "--one-device says so; their driver gives the same UUID in all of them";
    assert!(records[0]["notes"].to_string().contains(words), "{}", records[0]["notes"]);
    // Rounds of two cards may be merged, and the file then tells the UUID of one.
    sandbox.benchinf("merge one.json other.json --out merged.json").assert().success();
    let records = json(&sandbox, "--one-device merged.json");
    let words = "--one-device says so; nothing in the files shows it";
    assert!(records[0]["notes"].to_string().contains(words), "{}", records[0]["notes"]);
    refused(
        &sandbox,
        &["--one-device", "one.json", "other.json"],
        "gpu.uuid_sha256 is aa in one and bb in the other",
    );
}

/// Bytes as an older version counted them are read and not taken as proved.
#[test]
fn claims_by_an_older_definition_prove_nothing() {
    let sandbox = Sandbox::new();
    let record = &json(&sandbox, &older_run())[0];
    assert_eq!(record["metrics"]["dram_bandwidth"]["lower"], Value::Null);
    assert!(record["metrics"]["tpp"]["lower"].as_f64().unwrap() > 5.0);
    let words =
        "claim(s) count by bytes_beyond_caches.v1, which this version does not take as proof";
    assert!(record["notes"].to_string().contains(words), "{}", record["notes"]);
    let report = stdout(&sandbox, &format!("report {}", older_run()));
    assert!(report.contains("Proved, at least: TPP 5.05"), "{report}");
    assert!(!report.contains("memory bandwidth 43.3"), "{report}");
    let rows = stdout(&sandbox, &format!("report -o jsonl {}", older_run()));
    assert!(!rows.contains("\"bytes_per_s_at_least\":4"), "{rows}");
}

#[test]
fn altered_files_are_refused_or_taint_every_format() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(committed_run()).unwrap();
    let altered = text.replacen("\"GenuineIntel\"", "\"OtherIntel\"", 1);
    assert_ne!(text, altered);
    std::fs::write(sandbox.path("altered.json"), altered).unwrap();
    refused(&sandbox, &["altered.json"], "altered since it was written (environment)");
    let args = "classify --allow-altered altered.json --format";
    assert!(stdout(&sandbox, &format!("{args} text")).contains("**TAINTED**"));
    let record = &json(&sandbox, "--allow-altered altered.json")[0];
    assert_eq!(record["tainted"], true);
    let csv = stdout(&sandbox, &format!("{args} csv"));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let column = reader.headers().unwrap().iter().position(|h| h == "tainted").unwrap();
    assert_eq!(&reader.records().next().unwrap().unwrap()[column], "true");
    let output = sandbox.benchinf(&format!("{args} json")).assert().success();
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("the answer is tainted"));
    // What an intact file proves, an altered one does not.
    let rule = r#"
        id = "LOW"
        title = "t"
        jurisdiction = "X"
        kind = "export_control"
        citation = "c"
        source = "s"
        grade = "official"
        [[period]]
        from = 2020-01-01
        status = "enforced"
        [[paragraph]]
        id = "p"
        title = "t"
        test = "tpp >= 1"
        [[vector]]
        paragraph = "p"
        facts = { tpp = 1 }
        verdict = "reached"
        [[vector]]
        paragraph = "p"
        facts = { tpp = 0.9 }
        verdict = "not_reached"
    "#;
    std::fs::write(sandbox.path("low.toml"), rule).unwrap();
    let proved = |args: String| json(&sandbox, &args)[0]["tiers"]["tpp"]["proved"].clone();
    let run = committed_run();
    assert_eq!(proved(format!("--jurisdiction X --rules low.toml {run}")), 1.0);
    let tainted = "--jurisdiction X --rules low.toml --allow-altered altered.json";
    assert_eq!(proved(tainted.into()), Value::Null);
}

#[test]
fn bad_input_is_refused_in_clear_words() {
    let sandbox = Sandbox::new();
    let run = committed_run();
    let old = repository("tests/data/results/valid/v1.0.json").display().to_string();
    let rules =
        std::fs::read_to_string(repository("src/classify/rules/us-2023-11-17.toml")).unwrap();
    for (name, from, to) in [
        (
            "overlap.toml",
            "status = \"enforced\"",
            "status = \"enforced\"\n[[period]]\nfrom = 2024-01-01\nstatus = \"enforced\"",
        ),
        ("backwards.toml", "from = 2023-11-17", "from = 2023-11-17\nto = 2023-11-16"),
        ("contradiction.toml", "test = \"tpp >= 4800\"", "test = \"tpp >= 4801\""),
        ("word.toml", "test = \"tpp >= 4800\"", "test = \"tops >= 4800\""),
    ] {
        std::fs::write(sandbox.path(name), rules.replacen(from, to, 1)).unwrap();
    }
    for (args, words) in [
        (
            &["--device-spec", "NVIDIA H100"][..],
            "unknown device `NVIDIA H100`: did you mean `NVIDIA H100 SXM5`",
        ),
        (&["--device-spec", "NVIDIA L5"], "unknown device `NVIDIA L5`"),
        (&["--device-spec", "missing.toml"], "cannot read missing.toml"),
        (&["--match", "L5", &run], "unknown device `L5`"),
        (&[], "nothing to classify: name a result file, or a device with --device-spec"),
        (&[&old], "it has no existence claims"),
        (&["missing.json"], "cannot read missing.json"),
        (
            &["--device-spec", "L4", "--as-of", "1990-01-01"],
            "--as-of 1990-01-01: none of these rule sets goes back that far; the first begins on 2006-04-24",
        ),
        (&["--device-spec", "L4", "--as-of", "2026-13-01"], "--as-of"),
        (&["--device-spec", "L4", "--as-of", "2010"], "a day is wanted, such as 2023-11-17"),
        (
            &["--device-spec", "L4", "--jurisdiction", "XX"],
            "--jurisdiction XX: there are rule sets of EU, US only",
        ),
        (&["--device-spec", "L4", "--die-area", "0"], "--die-area"),
        (&["--device-spec", "L4", "--die-area", "nan"], "--die-area"),
        (&["--device-spec", "L4", "--declare", "tppp=1"], "did you mean `tpp`?"),
        (
            &["--device-spec", "L4", "--rules", "overlap.toml"],
            "period.from: the period before it never ends",
        ),
        (
            &["--device-spec", "L4", "--rules", "backwards.toml"],
            "it ends on 2023-11-16, before it begins on 2023-11-17",
        ),
        (&["--device-spec", "L4", "--rules", "contradiction.toml"], "contradict each other"),
        (&["--device-spec", "L4", "--rules", "word.toml"], "`tops` is not a metric"),
        (&["--device-spec", "L4", "--rules", "missing"], "cannot read missing"),
    ] {
        refused(&sandbox, args, words);
    }
}

#[test]
fn rule_files_add_and_replace() {
    let sandbox = Sandbox::new();
    let own = "id = \"LAB-1\"\ntitle = \"house rule\"\njurisdiction = \"LAB\"\nkind = \"export_control\"\n\
               citation = \"none\"\nsource = \"ourselves\"\ngrade = \"official\"\n[[period]]\nfrom = 2020-01-01\n\
               status = \"enforced\"\n[[paragraph]]\nid = \"fast\"\ntitle = \"fast\"\ntest = \"tpp >= 5\"\n\
               [[vector]]\nparagraph = \"fast\"\nfacts = { tpp = 5 }\nverdict = \"reached\"\n";
    std::fs::write(sandbox.path("own.toml"), own).unwrap();
    let args = format!("--rules own.toml --jurisdiction LAB {}", committed_run());
    let record = &json(&sandbox, &args)[0];
    assert_eq!(record["verdicts"].as_array().unwrap().len(), 1);
    assert_eq!(verdict(record, "LAB-1", "fast")["verdict"], "reached");
    assert_eq!(record["tiers"]["tpp"]["proved"], 5.0);
    assert!(record["tiers"]["tpp"]["factor_to_next"].is_null());
}

#[test]
fn a_report_ends_with_the_tiers_of_its_day() {
    let sandbox = Sandbox::new();
    let text = stdout(&sandbox, &format!("report {}", committed_run()));
    let line = "Tiers proved, by the rules of 2026-11-24: TPP none (next 1600, 168 times as much); \
                memory bandwidth none (next 1400 GB/s, 56.2 times as much).";
    assert!(text.contains(line), "{text}");
}

/// Claims are proved of what a file says and no more, however it was edited and sealed anew.
#[test]
fn hostile_claims_prove_nothing_and_break_nothing() {
    let sandbox = Sandbox::new();
    let seal = |name: &str, change: &dyn Fn(&mut result::ResultFile)| {
        write_changed(&sandbox, name, change);
    };
    // Bits that no multiplication of f32 has.
    seal("bits.json", &|file| {
        for ceiling in &mut file.ceilings {
            for claim in ceiling.claims.iter_mut().flat_map(|c| &mut c.existence) {
                if let Some(bits) = &mut claim.operand_bits {
                    *bits = 64;
                    claim.tpp_at_least = Some(claim.per_second_at_least / 1e12 * 64.0);
                }
            }
        }
    });
    let refused = sandbox.benchinf("classify bits.json").assert().code(2);
    let words = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(
        words.contains("operand_bits is 64, but 32 follows from the rest of the file"),
        "{words}"
    );
    // Two packages: one of them did half at least.
    seal("two.json", &|file| file.environment.cpu.sockets = Some(2));
    let record = &json(&sandbox, "two.json")[0];
    assert!(
        (record["metrics"]["tpp"]["lower"].as_f64().unwrap() - 9.525381201602999 / 2.0).abs()
            < 1e-9
    );
    seal("none.json", &|file| file.environment.cpu.sockets = None);
    let record = &json(&sandbox, "none.json")[0];
    assert_eq!(record["metrics"]["tpp"]["lower"], Value::Null);
    let record = &json(&sandbox, "none.json --packages 1")[0];
    assert!(record["metrics"]["tpp"]["lower"].as_f64().unwrap() > 5.0);
    // Names with control characters and columns of their own.
    seal("name.json", &|file| file.environment.cpu.model = Some("\u{1b}[31m|a,\"b\n".into()));
    for format in ["text", "json", "csv"] {
        let text = stdout(&sandbox, &format!("classify name.json --format {format}"));
        assert!(!text.contains('\u{1b}') || format == "csv", "{format}: {text:?}");
    }
}
