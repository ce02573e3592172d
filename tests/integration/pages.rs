//! Pages of results, as far as they can be looked at without a browser; `tests/browser` opens them.

use crate::{Sandbox, repository};

const VALID: &str = "tests/data/results/valid";

fn page_of(sandbox: &Sandbox, args: &[&str]) -> String {
    let mut command = sandbox.benchinf("report --force --html page.html");
    let paths = args.iter().map(|arg| match arg.starts_with("--") {
        true => std::path::PathBuf::from(arg),
        false => repository(arg),
    });
    command.args(paths).assert().success().stdout("");
    std::fs::read_to_string(sandbox.path("page.html")).unwrap()
}

#[test]
fn a_page_is_whole_and_needs_nothing() {
    let sandbox = Sandbox::new();
    for name in ["v1.0.json", "v1.1.json", "v1.2.json"] {
        let page = page_of(&sandbox, &[&format!("{VALID}/{name}")]);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{name}");
        assert!(page.contains(
            "Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"
        ));
        for loaded in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(loaded), "{name}: {loaded}");
        }
        // Nothing that is no number stands where a number should.
        let (body, _script) = page.split_once("<script>").unwrap();
        for broken in ["NaN", ">inf", " inf ", "Infinity"] {
            assert!(!body.contains(broken), "{name}: {broken}");
        }
    }
}

#[test]
fn an_altered_file_is_named_and_proves_nothing() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository(VALID).join("v1.1.json")).unwrap();
    let altered = text.replacen("\"run\": {\n    \"id\": \"", "\"run\": {\n    \"id\": \"<b>x", 1);
    assert_ne!(text, altered);
    std::fs::write(sandbox.path("a.json"), altered).unwrap();
    sandbox.benchinf("report a.json --html page.html").assert().success();
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert!(page.contains("a.json was altered since it was written."), "no alert");
    assert!(page.contains("<code>run</code>"), "the record is not named");
    assert!(
        !page.contains("id=\"tiers\"") && !page.contains("<b>x") && page.contains("&lt;b&gt;x")
    );
}

#[test]
fn two_sides_stand_beside_each_other_without_a_verdict() {
    let sandbox = Sandbox::new();
    let (base, new) = (format!("{VALID}/v1.1.json"), format!("{VALID}/v1.2.json"));
    let page = page_of(&sandbox, &[&base, "--with", &new]);
    let table = page.split("Both sides of each case").nth(1).unwrap().split("</table>").next();
    let table = table.unwrap();
    assert!(table.matches("<tr>").count() > 2, "no pair");
    for verdict in ["faster", "slower", "same", "unsure"] {
        assert!(!table.contains(verdict), "{verdict}");
    }
}

#[test]
fn files_are_written_as_asked_and_never_over_others() {
    let sandbox = Sandbox::new();
    let result = repository(VALID).join("v1.1.json");
    let run = |args: &str| {
        let mut command = sandbox.benchinf(&format!("report {args}"));
        command.arg(&result).assert()
    };
    run("--html p.html --md t.md --csv r.csv").success().stdout("");
    let [html, md, csv] = ["p.html", "t.md", "r.csv"]
        .map(|name| std::fs::read_to_string(sandbox.path(name)).unwrap());
    assert!(html.starts_with("<!DOCTYPE") && md.contains("| ") && csv.starts_with("build_commit,"));
    run("--md t.md").code(2);
    run("--md t.md --force").success();
    // Both: to a file and to standard output.
    let output = run("--csv r2.csv -o md").success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(output).unwrap(), md);
    run("--html .").code(2);
    run("--html no/such/directory/p.html").code(2);
}
