//! Records what this binary was built from, so that every result file can say it.

use std::process::Command;

fn main() {
    // The dirty flag is a statement about the sources, so it is taken again whenever they change.
    for path in ["src", "models", "build.rs", "Cargo.toml", "Cargo.lock", ".git/HEAD", ".git/index"]
    {
        println!("cargo::rerun-if-changed={path}");
    }

    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).map(|s| !s.is_empty());
    set("BENCHINF_COMMIT", commit.as_deref().unwrap_or(""));
    set("BENCHINF_DIRTY", dirty.map_or("", |d| if d { "true" } else { "false" }));

    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    set("BENCHINF_RUSTC", &output(&rustc, &["--version"]).unwrap_or_default());
    for (ours, cargos) in [
        ("BENCHINF_TARGET", "TARGET"),
        ("BENCHINF_PROFILE", "PROFILE"),
        ("BENCHINF_OPT_LEVEL", "OPT_LEVEL"),
        ("BENCHINF_TARGET_FEATURES", "CARGO_CFG_TARGET_FEATURE"),
    ] {
        set(ours, &std::env::var(cargos).unwrap_or_default());
    }

    // A program carried to another machine finds the libraries of CUDA that lie in `lib` beside it.
    // As RPATH and not RUNPATH, since what those libraries open themselves must be found there too.
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() && is_linux {
        println!("cargo::rustc-link-arg-bins=-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib");
    }
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}

fn git(args: &[&str]) -> Option<String> {
    // A source archive unpacked inside somebody else's repository must not take its commit.
    std::path::Path::new(".git").exists().then_some(())?;
    // Else `status` may write the index anew, and the next build would compile everything again.
    let all: Vec<&str> =
        std::iter::once("--no-optional-locks").chain(args.iter().copied()).collect();
    output("git", &all)
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    out.status.success().then(|| text.trim().to_owned())
}
