//! Every bad input: one sentence on standard error, exit status 2, nothing left behind.

use std::path::{Path, PathBuf};

use crate::{Sandbox, repository};

/// Runs with `args` (and a path at their end, if any) and expects a refusal that contains `words`.
fn refused(sandbox: &Sandbox, args: &str, path: Option<&Path>, words: &str) {
    let before = sandbox.files();
    let mut command = sandbox.benchinf(args);
    if let Some(path) = path {
        command.arg(path);
    }
    let output = command.assert();
    let output = output.get_output();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args}: {stderr}");
    // A debug build says so first; nothing else may precede the error.
    let said = stderr.lines().find(|line| !line.starts_with("warning: this is a debug build"));
    assert!(said.is_some_and(|line| line.starts_with("error: ")), "{args}: {stderr}");
    assert!(stderr.contains(words), "{args}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    assert!(output.stdout.is_empty(), "{args}");
    assert_eq!(sandbox.files(), before, "{args} left something behind");
}

#[test]
fn command_lines() {
    let sandbox = Sandbox::new();
    for (args, words) in [
        ("-m smolm2-135m", "unknown model `smolm2-135m`: did you mean `smollm2-135m`?"),
        ("-m resnet50", "unknown model `resnet50`: `benchinf list models`"),
        ("-m no/such/dir", "cannot read no/such/dir"),
        ("-m tiny -p 0 -n 0", "nothing to run: give at least one of -p, -n or -pg"),
        ("-m tiny -d 2000", "pp512 @ d2000 needs 2512 positions, but tiny has 2048"),
        ("-m tiny -b 100000000", "of memory"),
        ("-m tiny -b 0", "--batch-size 0: a batch has at least 1 sequence"),
        ("-m tiny -t 0", "--threads 0"),
        ("-m tiny -t 4294967295", "--threads 4294967295: at most 4096 threads"),
        ("-m tiny -C 0-3", "`0-3` is not a mask such as 0x3"),
        ("-m tiny --cpu-strict 2", "invalid value '2' for '--cpu-strict <0|1>'"),
        ("-m tiny -r 0", "--repetitions 0"),
        ("-m tiny -p 1-8*1", "never ends"),
        ("-m tiny -p x", "`x` is not a whole number"),
        ("-m tiny -p 5-1", "runs downwards"),
        ("-m tiny -pg 5", "`5` is not two numbers such as 512,128"),
        ("-m tiny -pg 0,4", "-pg 0,4: a request has at least 1 prompt token"),
        ("-m tiny --dtype q5", "`q5` is not one of f32, f16, bf16, q8_0, q4_k"),
        ("-m tiny --device tpu", "`tpu` is not one of cpu, cuda, cuda:N"),
        ("-m tiny --cuda-graphs maybe", "`maybe` is not one of on, off"),
        ("-m tiny --cuda-graphs on", "--cuda-graphs on: a processor has no CUDA graphs"),
        ("-m tiny --min-time 5x", "`5x` is not a time"),
        ("-m tiny --frobnicate", "unexpected argument"),
        ("logits -m tiny --tokens 1,512", "id 512 is not below the vocabulary size 512"),
        ("-m tiny -p 1-1000 -d 0-999", "the axes multiply to more than 10000 cases"),
        ("-m tiny -w 3 --no-warmup", "cannot be used with"),
        ("logits -m llama-3.1-8b -t 1 --tokens 1,2", "of memory"),
        ("logits -m tiny --tokens 1 -t 0", "--threads"),
        ("logits -m tiny", "--tokens"),
        ("report missing.json", "cannot read missing.json"),
        ("probe --only memory", "`memory` is not one of gemm, memory_read, memory_copy"),
        ("probe --only gemm,transfer_bidirectional", "there is no such probe on cpu"),
        (
            "probe --only memory_read --dtype f32",
            "--dtype f32: formats are those of matrix products",
        ),
    ] {
        refused(&sandbox, args, None, words);
    }
    // No machine of today has the last hardware thread that a mask can name.
    let args = format!("-m tiny -C 0x8{}", "0".repeat(255));
    refused(&sandbox, &args, None, "this process may not use hardware thread 1023");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn cuda_on_a_build_without_it() {
    let words = "--device cuda:0: this benchinf was built without CUDA";
    refused(&Sandbox::new(), "-m tiny --device cuda", None, words);
}

#[test]
fn output_paths() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("there.json"), "precious").unwrap();
    refused(&sandbox, "-m tiny --out there.json", None, "there.json exists already");
    assert_eq!(std::fs::read(sandbox.path("there.json")).unwrap(), b"precious");
    refused(&sandbox, "-m tiny --out there.json/x.json", None, "cannot write there.json/x.json");
    refused(&sandbox, "-m tiny --out", Some(Path::new("/proc/no/result.json")), "cannot write");
    refused(&sandbox, "-m tiny --out new/", None, "cannot write new/: this names a directory");
    refused(&sandbox, "-m tiny --out new/..", None, "this names a directory");
    let long = format!("-m tiny --out {}.json", "x".repeat(300));
    refused(&sandbox, &long, None, "File name too long");
    refused(&sandbox, "-m tiny --out -", None, "-o prints to standard output");
    refused(&sandbox, "-m tiny --dry-run --out there.json", None, "there.json exists already");
    std::os::unix::fs::symlink("nowhere", sandbox.path("link.json")).unwrap();
    refused(&sandbox, "-m tiny --out link.json", None, "a symbolic link that leads nowhere");
    std::fs::create_dir(sandbox.path("directory")).unwrap();
    for other in ["directory", "/dev/null", "/dev/full"] {
        let words = format!("cannot write {other}: it is not a regular file");
        refused(&sandbox, &format!("-m tiny --force --out {other}"), None, &words);
    }

    let args = "-m tiny -p 2 -n 0 -r 1 --min-time 0 --no-ceilings --out there.json --force -q";
    sandbox.benchinf(args).assert().success();
    assert!(benchinf::result::read(&sandbox.path("there.json")).is_ok());
    // A link's target is replaced, and the link stays.
    std::fs::remove_file(sandbox.path("link.json")).unwrap();
    std::os::unix::fs::symlink("there.json", sandbox.path("link.json")).unwrap();
    let args = args.replace("there.json", "link.json");
    sandbox.benchinf(&args).assert().success();
    assert!(sandbox.path("link.json").is_symlink());
}

/// A copy of a golden checkpoint to spoil.
fn checkpoint(sandbox: &Sandbox, name: &str) -> PathBuf {
    let (from, to) = (repository("tests/data/golden").join(name), sandbox.path("checkpoint"));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    to
}

const RUN: &str = "-p 2 -n 0 -r 1 --min-time 0 --no-ceilings --out out.json -m";

#[test]
fn checkpoints_cut_anywhere() {
    let sandbox = Sandbox::new();
    let directory = checkpoint(&sandbox, "llama-untied-biases");
    let file = directory.join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for len in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..len]).unwrap();
        refused(&sandbox, RUN, Some(&directory), "model.safetensors");
    }
    // A dry run finds it too, and so does naming the weights instead of the directory.
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    refused(&sandbox, "-n 0 --dry-run -m", Some(&directory), "cut short or damaged");
    refused(&sandbox, "-n 0 -m", Some(&file), "give the directory that holds config.json");
    let mut longer = whole.clone();
    longer.push(0);
    std::fs::write(&file, &longer).unwrap();
    refused(&sandbox, RUN, Some(&directory), "cut short or damaged");
    let mut noise = whole;
    noise[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&file, &noise).unwrap();
    refused(&sandbox, RUN, Some(&directory), "cut short or damaged");
}

#[test]
fn checkpoints_that_do_not_match_their_configuration() {
    let sandbox = Sandbox::new();
    let directory = checkpoint(&sandbox, "llama-untied-biases");
    let config_path = directory.join("config.json");
    let config = std::fs::read_to_string(&config_path).unwrap();
    for (from, to, words) in [
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "tensor `model.layers.2.input_layernorm.weight` is missing",
        ),
        (
            "\"vocab_size\": 61",
            "\"vocab_size\": 62",
            "tensor `model.embed_tokens.weight` has shape [61, 24], but config.json asks for [62, 24]",
        ),
        (
            "\"model_type\": \"llama\"",
            "\"model_type\": \"gpt_neox\"",
            "model_type `gpt_neox` is not covered",
        ),
        ("\"hidden_size\": 24,", "", "missing field `hidden_size`"),
        ("{", "[", "config.json: "),
    ] {
        assert!(config.contains(from), "{from}");
        std::fs::write(&config_path, config.replacen(from, to, 1)).unwrap();
        refused(&sandbox, RUN, Some(&directory), words);
    }
    std::fs::remove_file(&config_path).unwrap();
    refused(&sandbox, RUN, Some(&directory), "cannot read");
}

#[test]
fn checkpoints_with_missing_or_foreign_shards() {
    let sandbox = Sandbox::new();
    let directory = checkpoint(&sandbox, "qwen3-untied-shards");
    let index = directory.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::remove_file(directory.join("model-00003-of-00008.safetensors")).unwrap();
    refused(&sandbox, RUN, Some(&directory), "cannot read");
    std::fs::write(&index, text.replace("model-00003-of", "../model-00003-of")).unwrap();
    refused(&sandbox, RUN, Some(&directory), "is not the name of a file in this directory");
    std::fs::write(&index, "{").unwrap();
    refused(&sandbox, RUN, Some(&directory), "this is not a safetensors index");
    std::fs::remove_file(&index).unwrap();
    refused(&sandbox, RUN, Some(&directory), "there is neither model.safetensors nor");
}

#[test]
fn a_model_that_computes_nonsense_fails_and_has_no_figures() {
    let sandbox = Sandbox::new();
    let directory = checkpoint(&sandbox, "llama-untied-biases");
    let file = directory.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    // The last tensor's last weight becomes NaN.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, &bytes).unwrap();
    let output = sandbox.benchinf(RUN).arg(&directory).assert().code(1);
    let table = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(table.contains("failed: output check: "), "{table}");
    let result = benchinf::result::read(&sandbox.path("out.json")).unwrap();
    assert!(result.cases[0].rounds.is_empty() && result.cases[0].latencies.is_empty());
    sandbox.benchinf("logits --tokens 1,2 -m").arg(&directory).assert().code(1);
}
