//! `scripts/golden-logits` made the checkpoints and what transformers computes from them.

use serde::Deserialize;

use crate::{Sandbox, repository};

/// f32 carries seven digits; the rest is the order of summation.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    logits: Vec<f64>,
}

#[derive(Deserialize)]
struct Logits {
    tokens: Vec<u32>,
    logits: Vec<f64>,
}

#[test]
fn logits_are_those_of_transformers() {
    let mut families = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(repository("tests/data/golden")).unwrap() {
        let directory = entry.unwrap().path();
        let golden = std::fs::read_to_string(directory.join("golden.json")).unwrap();
        let golden: Golden = serde_json::from_str(&golden).unwrap();
        for kernels in ["fused", "stock"] {
            let error = |dtype| {
                let model = directory.display().to_string();
                let ours = logits(&model, &golden.tokens, dtype, kernels);
                difference(&ours, &golden.logits)
            };
            let f32_error = error("f32");
            let place = format!("{}, {kernels} kernels", directory.display());
            assert!(f32_error < TOLERANCE, "{place}: {f32_error:e}");

            // Half formats differ by their own rounding, and still by little.
            for (dtype, tolerance) in [("f16", 2e-2), ("bf16", 2e-1)] {
                let error = error(dtype);
                assert!((1e-6..tolerance).contains(&error), "{place} in {dtype}: {error:e}");
            }
        }
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        families.insert(name.split('-').next().unwrap().to_owned());
    }
    assert_eq!(families.into_iter().collect::<Vec<_>>(), ["llama", "mistral", "qwen2", "qwen3"]);
}

fn logits(model: &str, tokens: &[u32], dtype: &str, kernels: &str) -> Vec<f64> {
    let tokens_text = tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let output = Sandbox::new()
        .benchinf(&format!(
            "logits --tokens {tokens_text} --dtype {dtype} --kernels {kernels} --model"
        ))
        .arg(model)
        .assert()
        .success();
    let printed: Logits = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(printed.tokens, tokens);
    printed.logits
}

/// ‖a − b‖ / ‖b‖.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}
