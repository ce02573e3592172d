//! `benchinf ab`, and baselines: comparisons of what is measured here. How long anything takes decides
//! nothing but where a slowdown is several times what the machine can make of it.

use benchinf::result;
use serde_json::Value;

use crate::Sandbox;

/// A run of a moment. Tests run a debug build beside other programs.
const QUICK: &str = "-m tiny -p 16 -n 0 -t 1 -r 3 --min-time 2ms --no-ceilings";
const ALLOW: &str = "--allow debug,load,clocks,throttling";

fn run(sandbox: &Sandbox, args: &str, code: i32) -> (String, String) {
    let output = sandbox.benchinf(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args}: {stdout}{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (stdout, stderr)
}

/// A benchinf whose every iteration takes four times as long again.
#[cfg(unix)]
fn slowed(sandbox: &Sandbox) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = sandbox.path("slowed");
    let binary = env!("CARGO_BIN_EXE_benchinf");
    let script = format!("#!/bin/sh\nBENCHINF_TEST_SLOWDOWN=4 exec '{binary}' \"$@\"\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
#[cfg(unix)]
fn an_injected_slowdown_is_found_and_can_never_pass_for_a_measurement() {
    let sandbox = Sandbox::new();
    slowed(&sandbox);
    let args = format!("ab --new-bin ./slowed --sessions 4 --out-dir s {ALLOW} -o json -- {QUICK}");
    let (stdout, stderr) = run(&sandbox, &args, 1);
    let json: Value = serde_json::from_str(&stdout).unwrap();
    let pair = &json["pairs"][0];
    assert_eq!((&pair["verdict"], &json["replicate"]), (&"slower".into(), &"run".into()));
    let estimate = pair["ratio"]["estimate"].as_f64().unwrap();
    assert!((0.1..0.5).contains(&estimate), "{estimate}");
    assert_eq!(pair["base"]["values"].as_array().unwrap().len(), 4);
    // In turns: A B B A A B B A.
    let order: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("session ").and_then(|rest| rest.split(": ").nth(1)))
        .collect();
    assert_eq!(order, ["base", "new", "new", "base", "base", "new", "new", "base"]);
    // Each session left its file, and what was slowed down says so wherever it is shown.
    assert_eq!(sandbox.files().iter().filter(|name| name.starts_with("s/")).count(), 8);
    let kinds: Vec<&str> =
        json["differences"].as_array().unwrap().iter().filter_map(|d| d["kind"].as_str()).collect();
    assert!(kinds.contains(&"injected_slowdown"), "{kinds:?}");
    let file = result::read(&sandbox.path("s/new-1.json")).unwrap();
    assert_eq!(file.plan.injected_slowdown, Some(4.0));
    let (text, _) = run(&sandbox, "report s/new-1.json", 0);
    let words = ["**injected_slowdown** in tiny/", ": NOT A MEASUREMENT"];
    assert!(words.iter().all(|words| text.contains(words)), "{text}");
    let (rows, _) = run(&sandbox, "report s/new-1.json -o csv", 0);
    assert!(rows.contains("injected_slowdown"), "{rows}");
    let (text, _) = run(&sandbox, "report s/base-1.json", 0);
    assert!(!text.contains("injected_slowdown"), "{text}");
    // A second time the files are in the way.
    let (_, stderr) = run(&sandbox, &args, 2);
    assert!(stderr.contains("s/base-1.json exists already"), "{stderr}");
}

#[test]
fn what_arms_were_told_to_differ_in_is_what_is_compared() {
    let sandbox = Sandbox::new();
    let args = format!(
        "ab --base=--kernels=stock --new=--kernels=fused --sessions 3 --noise-floor -q {ALLOW} \
         --fail-on unsure -- {QUICK}"
    );
    // Three sessions of each cannot show anything, and nothing is left behind.
    let (stdout, stderr) = run(&sandbox, &args, 3);
    for words in [
        "Noise floor: the base against itself",
        "kernels: stock → fused",
        "base: base-1.json and 2 more (3 runs)",
        "3 and 3 runs cannot show anything: 4 and 4 are needed",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    assert!(!stdout.contains("only in the"), "{stdout}");
    assert_eq!(stderr, "");
    assert_eq!(sandbox.files(), [""; 0]);
    // What is kept are sessions, and no rehearsal.
    let args = format!(
        "ab --base=--kernels=stock --new=--kernels=fused --sessions 1 --noise-floor -q --out-dir s \
         {ALLOW} -- {QUICK}"
    );
    run(&sandbox, &args, 0);
    let kept = ["base-1.json", "new-1.json", "noise-floor/again-1.json", "noise-floor/base-1.json"];
    assert_eq!(sandbox.files(), kept.map(|name| format!("s/{name}")));
}

#[test]
fn arms_that_cannot_run_are_refused() {
    let sandbox = Sandbox::new();
    for (args, code, words) in [
        ("ab -- -m tiny", 2, "both arms are the same"),
        ("ab --base=-p1 --new=-p1", 2, "both arms are the same"),
        ("ab --new='-p", 2, "--new: `'-p`: missing closing quote"),
        ("ab --new=--out=x", 2, "--new: `--out=x` is not for a session"),
        ("ab --new=-p4 -- --resume x", 2, "--: `--resume` is not for a session"),
        ("ab --new-bin ./none -- -m tiny", 2, "cannot read ./none"),
        ("ab --new=-p4 --sessions 0", 2, "--sessions"),
        ("ab --new=-p4 -- -m no-such-model", 1, "a session of the base arm failed"),
        ("ab --new=-p4 -- -m no-such-model", 1, "unknown model `no-such-model`"),
    ] {
        let (stdout, stderr) = run(&sandbox, args, code);
        assert!(stderr.contains(words), "{args}: {stderr}");
        assert_eq!((stdout.as_str(), sandbox.files().len()), ("", 0), "{args}");
    }
}

#[test]
#[cfg(unix)]
fn a_default_that_changed_is_no_answer_to_what_was_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    // A build whose default is another dtype, unless it is told one.
    let binary = env!("CARGO_BIN_EXE_benchinf");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--dtype*) exec '{binary}' \"$@\";; esac\n\
         exec '{binary}' \"$@\" --dtype f16\n"
    );
    std::fs::write(sandbox.path("newer"), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path("newer"), executable).unwrap();
    let ab = |own: &str| {
        let args = format!(
            "ab --new-bin ./newer {own} --sessions 1 -q {ALLOW},system,tool -o json -- {QUICK}"
        );
        let (stdout, _) = run(&sandbox, &args, 0);
        let json: Value = serde_json::from_str(&stdout).unwrap();
        let all = json["differences"].as_array().unwrap().clone();
        let axes = all.into_iter().find(|difference| difference["kind"] == "axes");
        (axes, json["pairs"][0]["reasons"].to_string())
    };
    let (axes, reasons) = ab("--base=--dtype=f32");
    let axes = axes.unwrap();
    let words = "dtype is f32 in the base and f16 in the new side, and not both arms name it";
    assert!(axes["message"].as_str().unwrap().contains(words), "{axes}");
    assert!(reasons.contains("the sides differ: axes"), "{reasons}");
    let (axes, reasons) = ab("--base=--dtype=f32 --new=--dtype=f16");
    assert!(axes.is_none() && !reasons.contains("axes"), "{axes:?} {reasons}");
}

#[test]
fn arms_and_baselines_without_a_common_case_are_refused_before_time_is_spent() {
    let sandbox = Sandbox::new();
    let quick = "-m tiny -n 0 -t 1 -r 1 --min-time 1ms --no-ceilings";
    for floor in ["", "--noise-floor"] {
        let args = format!("ab --base=-p16,32 --new=-p8,64 {floor} -- {quick}");
        let (stdout, stderr) = run(&sandbox, &args, 2);
        assert_eq!(stdout, "");
        assert!(
            stderr.contains("there is nothing to compare: no case is on both sides"),
            "{stderr}"
        );
        let begun = stderr.lines().filter(|line| line.contains("session ")).count();
        assert_eq!(begun, if floor.is_empty() { 2 } else { 0 }, "{stderr}");
        assert_eq!(sandbox.files(), [""; 0]);
    }
    run(&sandbox, &format!("run {quick} -p 16 --save-baseline main --out a.json -q"), 0);
    let files = sandbox.files();
    // A minute of rounds would show that it did not wait for them.
    let args =
        format!("run {} -p 8 --min-time 1m --baseline main", quick.replace("--min-time 1ms", ""));
    let (stdout, stderr) = run(&sandbox, &args, 2);
    assert!(stderr.contains("differs in n_prompt (16 and 8)"), "{stderr}");
    assert_eq!((stdout.as_str(), sandbox.files()), ("", files));
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_the_session_under_way_and_leaves_nothing_of_it() {
    use nix::sys::signal::{Signal, kill};
    let sandbox = Sandbox::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_benchinf"));
    let args = "ab --new=-p4 --out-dir s -q -- -m tiny -p 16 -n 0 --min-time 10m --no-ceilings";
    let mut child =
        command.current_dir(sandbox.path("")).args(args.split_whitespace()).spawn().unwrap();
    while !sandbox.path("s/base-1.json.journal").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // To the parent alone: it has to tell the session.
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.files(), [""; 0]);
}

#[test]
fn a_run_is_kept_as_a_baseline_and_compared_with_it() {
    let sandbox = Sandbox::new();
    let (_, stderr) = run(&sandbox, &format!("run {QUICK} --baseline main"), 2);
    assert!(stderr.contains("there is no baseline `main`"), "{stderr}");
    assert_eq!(sandbox.files(), [""; 0]);
    let (_, stderr) = run(&sandbox, &format!("run {QUICK} --save-baseline main --out a.json"), 0);
    assert!(stderr.contains("baseline: results/baselines/main.json"), "{stderr}");
    let kept = std::fs::read(sandbox.path("results/baselines/main.json")).unwrap();
    assert_eq!(kept, std::fs::read(sandbox.path("a.json")).unwrap());
    // Three rounds cannot show anything; with leave to be open the status is that of the run.
    let args = format!("run {QUICK} --baseline main --save-baseline main --out b.json {ALLOW}");
    let (stdout, _) = run(&sandbox, &args, 0);
    for words in ["## Compared with the baseline", "results/baselines/main.json", "3 and 3 rounds"]
    {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    // It was compared with the old one, and then took its place.
    let kept = std::fs::read(sandbox.path("results/baselines/main.json")).unwrap();
    assert_eq!(kept, std::fs::read(sandbox.path("b.json")).unwrap());
    let args = format!("run {QUICK} --baseline main --out c.json -o json --fail-on unsure");
    let (stdout, stderr) = run(&sandbox, &args, 3);
    assert!(serde_json::from_str::<Value>(&stdout).is_ok(), "{stdout}");
    assert!(stderr.contains("unsure"), "{stderr}");
    let (stdout, _) = run(&sandbox, "compare --baseline main --with c.json", 0);
    assert!(stdout.contains("debug (costs the verdict)"), "{stdout}");
    for (args, words) in [
        ("compare --baseline main c.json --with c.json", "cannot be used with"),
        ("compare --baseline ../main --with c.json", "is not a name of letters"),
        ("compare --with c.json", "BASE"),
    ] {
        let (_, stderr) = run(&sandbox, args, 2);
        assert!(stderr.contains(words), "{args}: {stderr}");
    }
}
