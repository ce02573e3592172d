//! What is built in, as people see it: the catalogue, definitions, man pages.

use crate::Sandbox;

#[test]
fn devices_with_what_is_in_doubt() {
    let output = Sandbox::new().benchinf("list devices").output().expect("benchinf starts");
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).expect("it is text");
    let (here, catalogue) = text.split_once("\n\n").expect("this machine, then the catalogue");
    assert!(here.starts_with("cpu "), "{here}");
    let row = |name: &str| {
        let line = catalogue.lines().find(|line| line.starts_with(&format!("{name}  ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{catalogue}"));
        line[name.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, expected) in [
        ("NVIDIA H100 SXM5", "2022 15832 15840 19.46 3350 900 yes"),
        ("NVIDIA L4", "2023 1936 1952 6.64 300 64? yes"),
        ("NVIDIA RTX 4090", "2022 5285 - 8.69 1008 64? no"),
        ("NVIDIA RTX 6000D (China)", "2025 - - - 1398 128? yes"),
        // FP6 from memory; two readings of an area; more than 900; no memory; the base clock.
        ("AMD MI355X", "2025 60398? - - 8000 1075 yes"),
        ("Huawei Ascend 910 (2019)", "2019 4096 - 8.98~ 1288 270 yes"),
        ("Huawei Ascend 920/920C (announced)", "2025 14400~ - - 4000 - yes"),
        ("Alibaba Hanguang 800", "2019 6600 - 9.31? 0 64? yes"),
        ("Intel Xeon 8480+ (SPR, 56c, AMX @2.0 GHz base)", "2023 1835~ - 1.17? 307? - yes"),
    ] {
        assert_eq!(row(name), expected, "{name}");
    }
    let (rows, legend) = catalogue.split_once("\n\n").expect("a legend");
    assert_eq!(rows.lines().count(), 1 + 72);
    assert!(legend.contains("unverified"), "{legend}");
}

fn stdout(sandbox: &Sandbox, args: &str) -> String {
    let output = sandbox.benchinf(args).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).expect("it is text")
}

#[test]
fn every_latency_is_explained_in_whole_sentences() {
    let sandbox = Sandbox::new();
    for metric in benchinf::measure::Metric::ALL {
        let text = stdout(&sandbox, &format!("explain {}", metric.name()));
        assert!(text.contains("(metric)"), "{text}");
        let is_torn = |line: &str| line.trim_start().contains("   ");
        assert!(!text.lines().any(is_torn), "{text}");
    }
}

#[test]
fn names_are_explained_and_commands_have_man_pages() {
    let sandbox = Sandbox::new();
    let text = stdout(&sandbox, "explain tpot noisy");
    assert!(
        text.starts_with("tpot (metric)\n") && text.contains("\n\nnoisy (warning)\n"),
        "{text}"
    );
    let refused = sandbox.benchinf("explain noisyy").assert().code(2);
    let words = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(words.contains("nothing is called `noisyy`: did you mean `noisy`?"), "{words}");
    assert!(refused.get_output().stdout.is_empty());
    assert!(stdout(&sandbox, "man").contains(".TH benchinf 1"));
    sandbox.benchinf("man --out-dir man").assert().success();
    let pages = std::fs::read_dir(sandbox.path("man")).unwrap().count();
    let help = stdout(&sandbox, "--help");
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    // One for each command but `help`, and one for benchinf itself.
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    assert_eq!(pages, commands.lines().filter(is_name).count(), "{commands}");
}
