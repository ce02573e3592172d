//! The rules of the house as data: `docs/architecture.md` explains them.

use std::path::Path;

use crate::{repository, walk};

/// Rooms and what their files may name with `crate::`. A room not listed here fails the test.
const IMPORTS: &[(&str, &[&str])] = &[
    ("axis", &[]),
    ("units", &[]),
    ("stats", &[]),
    ("error", &["units"]),
    ("histogram", &["stats"]),
    ("machine", &["units"]),
    ("telemetry", &["machine"]),
    ("case", &[]),
    ("measure", &["error", "stats", "histogram", "case"]),
    ("probe", &["case", "units"]),
    ("plan", &["error", "case", "probe", "units", "measure", "model"]),
    ("kernels", &["error"]),
    ("device", &["error", "case", "kernels"]),
    ("model", &["error", "case", "units", "kernels", "device"]),
    ("workload", &["error", "case", "probe", "units", "measure", "model", "kernels", "device"]),
    (
        "runner",
        &[
            "error",
            "case",
            "probe",
            "units",
            "measure",
            "plan",
            "model",
            "kernels",
            "device",
            "workload",
            "telemetry",
            "result",
            "stats",
        ],
    ),
    (
        "result",
        &[
            "error",
            "case",
            "probe",
            "units",
            "stats",
            "histogram",
            "machine",
            "measure",
            "model",
            "plan",
        ],
    ),
    ("import", &["error", "case", "measure", "model", "result", "units"]),
    ("classify", &["error", "case", "measure", "result"]),
    ("ab", &["error", "compare", "result"]),
    ("compare", &["error", "stats", "measure", "result"]),
    ("report", &["error", "case", "units", "stats", "histogram", "result", "classify", "compare"]),
    (
        "cli",
        &[
            "axis", "error", "case", "units", "plan", "probe", "kernels", "model", "device",
            "workload", "runner", "result", "classify", "compare", "ab", "import", "report", "cli",
        ],
    ),
];

/// Words that may stand only in some places.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "candle_core",
        &[
            "device/",
            "kernels/",
            "workload/",
            "model/checkpoint.rs",
            "model/decoder.rs",
            "model/engine.rs",
            "model/fused.rs",
            "model/fused_cuda.rs",
            "model/fused_cuda_absent.rs",
            "model/kv_cache.rs",
            "model/rope.rs",
            "model/weights.rs",
        ],
    ),
    ("candle_nn", &["kernels/", "model/decoder.rs", "model/rope.rs"]),
    // The reference of tests, and nothing else.
    ("hdrhistogram::", &[]),
    ("flate2::", &["histogram/codec.rs"]),
    ("toml::", &["classify/"]),
    ("clap::", &["cli/"]),
    ("maud::", &["report/html/"]),
    ("plotters", &["report/html/chart/"]),
    ("println!", &["cli/"]),
    ("print!(", &["cli/"]),
    // The driver's graphs are instantiated.
    (
        "Instant",
        &["measure/clock.rs", "kernels/cuda/driver_functions.s", "kernels/cuda/context.rs"],
    ),
    ("SystemTime", &[]),
    ("Timestamp::now", &["measure/clock.rs"]),
    ("eprintln!", &[]),
    ("unsafe {", &["kernels/"]),
    ("unsafe fn", &["kernels/"]),
    ("allow(unsafe_code)", &["kernels/"]),
    ("dbg!", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
];

/// The only file-level switches; everything else is the same in every build.
const FEATURE_SWITCHES: &[&str] = &[
    "lib.rs",
    "main.rs",
    "model/mod.rs",
    "cli/mod.rs",
    "cli/list.rs",
    "device/mod.rs",
    "kernels/mod.rs",
    "result/tool.rs",
    "workload/mod.rs",
];

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let room = name.split(['/', '.']).next().unwrap_or_default();
        if matches!(room, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(listed, _)| *listed == room) else {
            wrong.push(format!("{name}: room `{room}` is not in the import table"));
            continue;
        };
        for import in imports(&text) {
            if import != room && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{name}: `{room}` must not import `{import}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn confined_words_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (word, places) in CONFINED {
            let is_confined_here = places.iter().any(|place| name.starts_with(place));
            if !is_confined_here && code(&text).any(|line| line.contains(word)) {
                wrong.push(format!("{name}: `{word}` may stand only in {places:?}"));
            }
        }
        let switches = code(&text).any(|line| line.contains("feature = \""));
        if switches && !FEATURE_SWITCHES.contains(&name.as_str()) {
            wrong.push(format!("{name}: feature switches stand only in {FEATURE_SWITCHES:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        // Files of other kinds beside the code say it in their own way.
        let opening = match name.rsplit('.').next() {
            Some("toml") => "# ",
            Some("css") => "/* ",
            Some("js" | "cu" | "h") => "// ",
            Some("s") => "# ",
            _ => "//! ",
        };
        assert!(text.starts_with(opening), "{name} does not say what it is for");
    }
}

#[test]
fn the_scanner_stops_at_tests_and_nowhere_else() {
    let inline = "use crate::plan;\n#[cfg(test)]\npub(crate) mod tests {\nuse crate::ghost;";
    assert_eq!(imports(inline), ["plan"]);
    let beside = "#[cfg(test)]\nmod tests;\nuse crate::plan;\n#[cfg(test)]\n#[path = \"x\"]\nmod x {\ncrate::ghost";
    assert_eq!(imports(beside), ["plan"]);
    // Files whose tests are declared at their head.
    for (name, known) in [("runner/mod.rs", "workload"), ("kernels/linear/mod.rs", "kernels")] {
        let (_, text) = sources().into_iter().find(|(file, _)| file == name).expect("it is there");
        assert!(imports(&text).iter().any(|import| import == known), "{name}");
    }
}

#[test]
fn the_import_scanner_sees_every_form() {
    let text = "use crate::error::{Error, Result};\nuse crate::{report, result};\n\
                // use crate::ghost;\nlet x = crate::units::Bytes(1);\nuse crate::plan;";
    let mut found = imports(text);
    found.sort();
    assert_eq!(found, ["error", "plan", "report", "result", "units"]);
}

/// Every source file's path under `src/`, with its text.
fn sources() -> Vec<(String, String)> {
    let root = repository("src");
    let name =
        |path: &Path| path.strip_prefix(&root).expect("it is under src").display().to_string();
    let files = walk(&root);
    assert!(files.len() > 30, "the sources have moved");
    files
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).expect("sources are text")))
        .collect()
}

/// Lines that are neither comments nor tests: all up to the first test module that stands in the
/// file itself. One that has a file of its own takes its line alone.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let is_inline = |rest: &str| {
        let next =
            rest.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        next.is_some_and(|line| {
            line.trim_start_matches("pub(crate) ").starts_with("mod ") && line.ends_with('{')
        })
    };
    let tests = text.match_indices("#[cfg(test)]");
    let end = tests.map(|(at, it)| (at, &text[at + it.len()..])).find(|(_, rest)| is_inline(rest));
    let body = end.map_or(text, |(at, _)| &text[..at]);
    body.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

/// The rooms that a file names after `crate::`, braces included.
fn imports(text: &str) -> Vec<String> {
    let code = code(text).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => found.extend(first_word(after)),
            Some(list) => {
                let list = list.split(';').next().unwrap_or_default();
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.extend(first_word(&std::mem::take(&mut item))),
                        _ if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                found.extend(first_word(&item));
            }
        }
    }
    // `crate::Error` and `crate::Result` are re-exports of one room.
    found.retain(|word| word.starts_with(char::is_lowercase));
    found
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
