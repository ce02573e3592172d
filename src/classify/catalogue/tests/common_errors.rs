//! Errors that lists of such figures are known to have: here none of them can come about.

use super::*;
use OperandFormat::*;

fn rate(device: &Device, format: OperandFormat) -> f64 {
    device.rate(format).expect("the format is listed").dense_tera_ops_per_s.value
}

fn tpp_of_lines(lines: &str) -> f64 {
    let text = one_device(&format!("[device.dense_tera_ops_per_s]\n{lines}"));
    let catalogue = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    catalogue.devices()[0].tpp_computed().expect("it has a rate").value
}

#[test]
fn error_1_a_sparse_figure() {
    assert_eq!(tpp("NVIDIA H100 SXM5"), 15_832.0);
    assert_eq!(rate(device("NVIDIA RTX 5090"), Fp4), 1_676.0);
    assert_eq!(rate(device("NVIDIA RTX 5090 D"), Fp4), 1_187.5);
    // Half as wide, at most about twice as fast: a sparse figure among dense ones is faster.
    // FP4 of Blackwell Ultra is, by design.
    for device in Catalogue::embedded().devices() {
        for (wide, narrow) in [(Fp16, Fp8), (Fp16, Int8), (Fp8, Fp4), (Int8, Int4)] {
            let (Some(wide), Some(narrow)) = (device.rate(wide), device.rate(narrow)) else {
                continue;
            };
            let times = narrow.dense_tera_ops_per_s.value / wide.dense_tera_ops_per_s.value;
            let is_known = match device.name.as_str() {
                "NVIDIA B300" | "NVIDIA GB300 (per GPU)" | "NVIDIA B30A (rumoured)" => times < 3.2,
                "Cambricon MLU370-X8" => times < 2.7,
                _ => times < 2.03,
            };
            assert!(is_known, "{}: {times} times as fast", device.name);
        }
    }
}

#[test]
fn error_2_the_factor_of_two_applied_again() {
    assert_eq!(tpp_of_lines("fp16 = [989, \"data\"]"), 15_824.0, "and not 31,648");
}

#[test]
fn error_3_the_factor_of_two_dropped() {
    assert_eq!(tpp_of_lines("fp16 = [300, \"data\"]"), 4_800.0);
    assert_eq!(tpp_of_lines("int8 = [600, \"data\"]"), 4_800.0);
    assert_eq!(tpp_of_lines("fp16 = [150, \"data\"]"), 2_400.0);
}

#[test]
fn error_7_stopping_at_fp16_and_int8() {
    // FP8 with FP16 accumulation counts at its full rate on GeForce, as NVIDIA itself counts.
    let geforce = device("NVIDIA RTX 5090");
    assert_eq!(rate(geforce, Fp8) * 8.0, 6_704.0);
    assert!(geforce.tpp_published.as_ref().unwrap().value >= 6_704.0);
    // FP6 runs as fast as FP4 on the MI355X and is half as long again.
    let mi355x = device("AMD MI355X").tpp_computed().unwrap();
    assert_eq!(mi355x.terms[0].rate.format, Fp6);
    assert_eq!(mi355x.grade(), Grade::Unverified);
    assert!(mi355x.value > 60_000.0 && rate(device("AMD MI355X"), Fp16) * 16.0 < 40_266.0);
}

#[test]
fn error_8_vector_units_alone() {
    assert_eq!(tpp("Intel Max 1550 (PVC)"), 13_424.0);
    assert!(tpp("NVIDIA V100 SXM2 32GB") > 15.67 * 32.0);
}

#[test]
fn error_9_the_package_as_die_area() {
    for device in Catalogue::embedded().devices() {
        let Some(area) = &device.die_area else { continue };
        let counts = area.includes.to_lowercase();
        assert!(!["package", "interposer", "hbm"].iter().any(|part| counts.contains(part)));
        assert!(area.mm2.value < 2_500.0, "{}", device.name);
    }
    // Not the 1,228 that add dummy dies and memory: kept beside it, since it flips the answer.
    let ascend = &device("Huawei Ascend 910 (2019)").die_area.as_ref().unwrap().mm2;
    assert_eq!((ascend.value, ascend.range()), (456.25, (456.25, 1_228.0)));
}

#[test]
fn error_10_a_copied_row() {
    assert_eq!(rate(device("AMD MI300X"), Bf16), 1_307.4, "and not the 312 of an A100");
    let rows = |device: &Device| -> Vec<(OperandFormat, u64)> {
        let bits = |rate: &Rate| (rate.format, rate.dense_tera_ops_per_s.value.to_bits());
        device.rates.iter().map(bits).collect()
    };
    // Rates told of two makers' parts alike, in the sources themselves.
    const KNOWN: &[(&str, &str)] = &[
        ("Huawei Ascend 910B4", "MetaX C500 (OAM)"),
        ("Cambricon MLU590 / Siyuan 590", "Baidu Kunlun P800"),
    ];
    let mut alike = Vec::new();
    let devices = Catalogue::embedded().devices();
    for (i, a) in devices.iter().enumerate() {
        for b in &devices[i + 1..] {
            if a.vendor != b.vendor && rows(a) == rows(b) {
                alike.push((a.name.as_str(), b.name.as_str()));
            }
        }
    }
    assert_eq!(alike, KNOWN);
}
