//! The embedded catalogue against hand-checked figures, and the loader against bad files.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod common_errors;
mod loader;

fn device(name: &str) -> &'static Device {
    Catalogue::embedded().find(name).unwrap_or_else(|error| panic!("{error}"))
}

fn tpp(name: &str) -> f64 {
    device(name).tpp_computed().unwrap_or_else(|| panic!("{name} has no rates")).value
}

fn parse(text: &str) -> Result<Catalogue> {
    Catalogue::parse(text, Path::new("mine.toml"))
}

/// A file with one source and one device of these lines.
fn one_device(lines: &str) -> String {
    let source = "[[source]]\nid = \"data\"\ntitle = \"A datasheet\"\ngrade = \"official\"\n";
    format!("{source}[[device]]\nname = \"X\"\nvendor = \"V\"\n{lines}")
}

fn figures(device: &Device) -> Vec<&Figure> {
    let rates = device.rates.iter().map(|rate| &rate.dense_tera_ops_per_s);
    let others = [
        device.die_area.as_ref().map(|area| &area.mm2),
        device.memory_gb.as_ref(),
        device.memory_bandwidth_gb_per_s.as_ref(),
        device.io_bandwidth_gb_per_s.as_ref(),
        device.tdp_w.as_ref(),
        device.tpp_published.as_ref(),
    ];
    let first: Vec<&Figure> = rates.chain(others.into_iter().flatten()).collect();
    first
        .into_iter()
        .flat_map(|figure| std::iter::once(figure).chain(&figure.alternatives))
        .collect()
}

#[test]
fn every_device_is_there_and_every_figure_has_a_source() {
    let catalogue = Catalogue::parse(EMBEDDED, Path::new(EMBEDDED_PATH)).unwrap();
    assert_eq!(catalogue.devices().len(), 72);
    let mut used = BTreeSet::new();
    for device in catalogue.devices() {
        assert!(device.name.starts_with(&device.vendor), "{}", device.name);
        assert!(!device.rates.is_empty() || device.name == "NVIDIA RTX 6000D (China)");
        for figure in figures(device) {
            let source = catalogue.source(&figure.source).expect("the loader looks it up");
            // What comes from memory is never dressed up as anything better.
            assert_eq!(
                figure.grade == Grade::Unverified,
                source.id == "unverified",
                "{}: {figure:?}",
                device.name
            );
            if figure.grade == Grade::Calculated {
                assert!(figure.note.is_some(), "{}: {figure:?}", device.name);
            }
            used.insert(source.id.as_str());
        }
    }
    let listed: BTreeSet<&str> = catalogue.sources().iter().map(|s| s.id.as_str()).collect();
    assert_eq!(used, listed, "a source that nothing uses");
    assert!(!EMBEDDED.contains("official"), "nothing was read at its own place so far");
}

/// What the definition gives, worked out by hand from datasheets.
#[test]
fn computed_performance() {
    for (name, expected) in [
        ("NVIDIA V100 SXM2 32GB", 2_000.0),
        ("NVIDIA T4", 1_041.6),
        ("NVIDIA A100 SXM 80GB", 4_992.0),
        ("NVIDIA A40", 2_395.2),
        ("NVIDIA H100 SXM5", 15_832.0),
        ("NVIDIA H100 PCIe", 12_104.0),
        ("NVIDIA H200 NVL", 13_368.0),
        ("NVIDIA H20 (HGX)", 2_368.0),
        ("NVIDIA B200 SXM (180GB)", 36_000.0),
        ("NVIDIA GB300 (per GPU)", 60_000.0),
        ("NVIDIA L4", 1_936.0),
        ("NVIDIA L40S", 5_864.0),
        ("NVIDIA RTX 4090", 5_284.8),
        ("NVIDIA RTX 4090 D", 4_720.0),
        ("NVIDIA RTX 5090", 6_704.0),
        ("NVIDIA RTX 5090 D", 4_750.0),
        ("AMD MI250X", 6_128.0),
        ("AMD MI300X", 20_919.2),
        ("AMD MI355X", 60_397.8),
        ("Intel Gaudi 3 (OAM)", 29_360.0),
        ("Intel Max 1550 (PVC)", 13_424.0),
        ("Google TPU v5e", 3_152.0),
        ("Huawei Ascend 910 (2019)", 4_096.0),
        ("Huawei Ascend 910C", 12_480.0),
        ("Huawei Ascend 950PR (Atlas 350)", 6_800.0),
        ("Cambricon MLU370-X8", 2_048.0),
        ("Baidu Kunlun II (R200)", 2_048.0),
        ("Moore Threads MTT S4000", 1_600.0),
        ("MetaX C500 (OAM)", 4_480.0),
        // 60 cores x 1,024 x 3.5 GHz x 16 bits.
        ("Intel Xeon 8490H", 3_440.64),
        // 96 cores x 16 FP64 operations x 3.7 GHz x 64 bits.
        ("AMD EPYC 9654", 363.7248),
        // Two processing units: 17.2 x 32 bits and 38 x 8 bits.
        ("Apple M4 Max", 854.4),
    ] {
        let value = tpp(name);
        assert!((value / expected - 1.0).abs() < 1e-12, "{name}: {value}, by hand {expected}");
    }
    assert_eq!(tpp("Moore Threads MTT S4000"), 1_600.0, "an edge that must be met exactly");
    assert_eq!(device("NVIDIA RTX 6000D").tpp_computed(), None);
    assert_eq!(
        device("Apple M4 Max").tpp_computed().unwrap().arithmetic(),
        "17.2 x 32 bits (fp32) + 38 x 8 bits (int8)"
    );
}

/// NVIDIA's own figures for one GPU.
#[test]
fn published_performance() {
    for (name, published) in [
        ("NVIDIA H100 SXM5", 15_840.0),
        ("NVIDIA H200 SXM", 15_840.0),
        ("NVIDIA H800 SXM5", 15_840.0),
        ("NVIDIA H100 PCIe", 12_224.0),
        ("NVIDIA H100 NVL", 14_144.0),
        ("NVIDIA H200 NVL", 14_144.0),
        ("NVIDIA A100 SXM 80GB", 4_989.0),
        ("NVIDIA A800 SXM 80GB", 4_989.0),
        ("NVIDIA A40", 2_392.0),
        ("NVIDIA L4", 1_952.0),
        ("NVIDIA L40", 2_912.0),
        ("NVIDIA L40S", 5_872.0),
        ("NVIDIA RTX 6000 Ada", 5_840.0),
        ("NVIDIA RTX 5090", 6_720.0),
        ("NVIDIA RTX PRO 6000 Blackwell WS", 8_064.0),
        ("NVIDIA RTX PRO 6000 Blackwell Server", 7_488.0),
        ("NVIDIA RTX PRO 4500 Blackwell Server", 3_200.0),
        ("NVIDIA B200", 37_248.0),
        ("NVIDIA GB200", 40_200.0),
        ("NVIDIA B300", 55_432.0),
        ("NVIDIA GB300", 58_484.0),
    ] {
        let device = device(name);
        let figure = device.tpp_published.as_ref().unwrap_or_else(|| panic!("{name}"));
        assert_eq!((figure.value, device.tpp()), (published, Some(published)), "{name}");
        let upper = device.tpp_upper().unwrap();
        assert_eq!((upper.value(), upper.grade()), (published, Grade::Quoted), "{name}");
    }
    // An anomaly of the maker's table is not passed on.
    assert_eq!(device("NVIDIA A100 SXM 40GB").tpp_published, None);
}

#[test]
fn computed_performance_is_near_the_published() {
    let mut both = 0;
    for device in Catalogue::embedded().devices() {
        let (Some(computed), Some(published)) = (device.tpp_computed(), &device.tpp_published)
        else {
            continue;
        };
        let apart = (computed.value / published.value - 1.0).abs();
        assert!(apart <= load::TPP_TOLERANCE, "{}: {apart}", device.name);
        both += 1;
    }
    assert_eq!(both, 21);
}

#[test]
fn performance_density() {
    for (name, expected) in [
        ("NVIDIA L4", 1_952.0 / 294.0),
        ("NVIDIA H20", 2.909),
        ("NVIDIA A40", 3.809),
        ("AMD MI300X", 8.716),
        ("Huawei Ascend 910 (2019)", 8.977),
        ("Huawei Ascend 910C", 9.375),
        ("Intel Xeon 8490H", 2.191),
    ] {
        let density = device(name).performance_density().unwrap();
        assert!((density - expected).abs() < 1e-3, "{name}: {density}, by hand {expected}");
    }
    for name in ["Intel Gaudi 3", "AMD MI355X", "Google TPU v5p", "Moore Threads MTT S4000"] {
        let device = device(name);
        assert!(device.tpp().is_some() && device.performance_densities().is_none(), "{name}");
    }
    // Readings of the area that change an answer are all there.
    let near = |name: &str, low: f64, high: f64| {
        let (lowest, highest) = device(name).performance_densities().unwrap();
        assert!((lowest - low).abs() < 0.01 && (highest - high).abs() < 0.01, "{name}: {lowest}");
    };
    near("Huawei Ascend 910 (2019)", 3.335, 8.978);
    near("AMD MI300X", 8.716, 20.57);
    near("AMD MI250X", 3.878, 8.464);
    near("NVIDIA H20", 2.909, 2.909);
    assert_eq!(
        device("Google TPU v4").performance_densities(),
        Some((4_400.0 / 600.0, f64::INFINITY))
    );
}

/// TF32 counts 19 bits. At 32 it would lift two devices by what their datasheets round, and
/// nowhere past anything that a rule asks for.
#[test]
fn tf32_never_decides() {
    const THRESHOLDS: [f64; 8] =
        [1_600.0, 2_400.0, 4_800.0, 14_000.0, 17_500.0, 20_800.0, 21_000.0, 21_100.0];
    let mut with_tf32 = 0;
    for device in Catalogue::embedded().devices() {
        let Some(tf32) = device.rate(OperandFormat::Tf32) else { continue };
        with_tf32 += 1;
        let tpp = device.tpp_computed().unwrap();
        assert!(tpp.terms.iter().all(|t| t.rate.format != OperandFormat::Tf32), "{}", device.name);
        let widest = tf32.dense_tera_ops_per_s.value * 32.0;
        assert!(widest < tpp.value * 1.0011, "{}: {widest} against {}", device.name, tpp.value);
        for threshold in THRESHOLDS {
            assert_eq!(widest.max(tpp.value) >= threshold, tpp.value >= threshold);
        }
    }
    assert!(with_tf32 > 20);
    let lifted =
        parse(&one_device("[device.dense_tera_ops_per_s]\ntf32 = [100, \"data\"]")).unwrap();
    let lifted = &lifted.devices()[0];
    assert_eq!(lifted.tpp_computed().unwrap().value, 1_900.0);
    assert_eq!(lifted.tpp_upper().unwrap().value(), 3_200.0);
}

#[test]
fn an_upper_end_needs_a_rate_that_cannot_be_exceeded() {
    for (name, upper) in [
        ("NVIDIA H20", Some(2_368.0)),
        ("AMD MI300X", Some(20_919.2)),
        ("Intel Xeon 8490H", Some(3_440.64)),
        // At the base clock.
        ("Intel Xeon 8480+", None),
        ("Intel Xeon 8592+", None),
        // "More than 900".
        ("Huawei Ascend 920/920C", None),
        ("NVIDIA RTX 6000D", None),
    ] {
        let found = device(name).tpp_upper().map(|upper| upper.value());
        let is_near = found.zip(upper).is_none_or(|(a, b)| (a / b - 1.0).abs() < 1e-12);
        assert!(found.is_some() == upper.is_some() && is_near, "{name}: {found:?}");
    }
}

#[test]
fn names_that_drivers_report() {
    for (reported, expected) in [
        ("NVIDIA H200", Some("NVIDIA H200 SXM")),
        ("NVIDIA H200 NVL", Some("NVIDIA H200 NVL")),
        ("NVIDIA H100 80GB HBM3", Some("NVIDIA H100 SXM5")),
        ("NVIDIA L4", Some("NVIDIA L4")),
        ("NVIDIA A100-SXM4-80GB", Some("NVIDIA A100 SXM 80GB")),
        ("Tesla T4", Some("NVIDIA T4")),
        ("NVIDIA GeForce RTX 4090", Some("NVIDIA RTX 4090")),
        ("AMD EPYC 9654 96-Core Processor", Some("AMD EPYC 9654 (Genoa, 96c @3.7 GHz)")),
        (
            "AMD EPYC 9654 96-Core Processor                ",
            Some("AMD EPYC 9654 (Genoa, 96c @3.7 GHz)"),
        ),
        ("Intel(R) Xeon(R) Platinum 8480+", Some("Intel Xeon 8480+ (SPR, 56c, AMX @2.0 GHz base)")),
        ("INTEL(R) XEON(R) PLATINUM 8592+", Some("Intel Xeon 8592+ (EMR, 64c @1.9 GHz base)")),
        // Another part, or any of several.
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100 80GB PCIe", None),
        ("NVIDIA A100", None),
        ("NVIDIA H100", None),
        ("NVIDIA H20-3e", None),
        ("NVIDIA GH200 480GB", None),
        ("Intel(R) Xeon(R) Platinum 8480C", None),
        ("AMD EPYC 9654P 96-Core Processor", None),
        ("Apple M4 Max", None),
        ("L4", None),
        ("", None),
    ] {
        let found = Catalogue::embedded().match_device(reported).map(|d| d.name.as_str());
        assert_eq!(found, expected, "{reported}");
    }
}

#[test]
fn names_that_people_type() {
    for (typed, expected) in [
        ("NVIDIA L4", "NVIDIA L4"),
        ("l4", "NVIDIA L4"),
        ("h100 sxm5", "NVIDIA H100 SXM5"),
        ("NVIDIA H20", "NVIDIA H20 (HGX)"),
        ("Gaudi 3", "Intel Gaudi 3 (OAM)"),
        ("AMD EPYC 9654", "AMD EPYC 9654 (Genoa, 96c @3.7 GHz)"),
        ("Apple M4 Max", "Apple M4 Max (40c GPU + ANE)"),
        ("  huawei  ascend 910c ", "Huawei Ascend 910C"),
        ("Tesla T4", "NVIDIA T4"),
    ] {
        assert_eq!(device(typed).name, expected, "{typed}");
    }
    for (typed, message) in [
        (
            "NVIDIA H100",
            "unknown device `NVIDIA H100`: did you mean `NVIDIA H100 SXM5`, `NVIDIA H100 PCIe` or \
             `NVIDIA H100 NVL (per GPU)`? `benchinf list devices` shows the catalogue",
        ),
        (
            "AMD MI300",
            "unknown device `AMD MI300`: did you mean `AMD MI300X`? `benchinf list devices` shows \
             the catalogue",
        ),
        (
            "Gaudy 3",
            "unknown device `Gaudy 3`: did you mean `Intel Gaudi 3 (OAM)` or `Intel Gaudi 2`? \
             `benchinf list devices` shows the catalogue",
        ),
        ("NVIDIA Foo", "unknown device `NVIDIA Foo`: `benchinf list devices` shows the catalogue"),
        ("", "unknown device ``: `benchinf list devices` shows the catalogue"),
    ] {
        let error = Catalogue::embedded().find(typed).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let twins =
        "[[device]]\nname = \"A P1\"\nvendor = \"A\"\n[[device]]\nname = \"B P1\"\nvendor = \"B\"";
    assert_eq!(
        parse(twins).unwrap().find("p1").unwrap_err().to_string(),
        "the device `p1` may be any of `A P1` and `B P1`: give the full name"
    );
}

proptest! {
    /// Rates of any formats: the performance is the highest product, and more rates never lower it.
    #[test]
    fn performance_is_the_maximum_over_rates(
        rates in prop::collection::btree_map(0..OperandFormat::ALL.len(), 1e-3..1e6_f64, 1..6),
    ) {
        let mut rates: Vec<(OperandFormat, f64)> =
            rates.into_iter().map(|(i, value)| (OperandFormat::ALL[i], value)).collect();
        let has = |format| rates.iter().any(|(other, _)| *other == format);
        if has(OperandFormat::Fp16Bf16) {
            rates.retain(|(f, _)| !matches!(f, OperandFormat::Fp16 | OperandFormat::Bf16));
        }
        let tpp_of = |rates: &[(OperandFormat, f64)]| {
            let line = |(format, value): &(OperandFormat, f64)| {
                format!("{} = [{value:?}, \"data\"]\n", format.name())
            };
            let lines: String = rates.iter().map(line).collect();
            let text = one_device(&format!("[device.dense_tera_ops_per_s]\n{lines}"));
            let catalogue = parse(&text).unwrap_or_else(|error| panic!("{error}"));
            let device = &catalogue.devices()[0];
            let computed = device.tpp_computed().expect("it has rates").value;
            (computed, device.tpp_upper().expect("it has rates").value())
        };
        let (computed, upper) = tpp_of(&rates);
        let products = rates.iter().map(|(format, value)| value * f64::from(format.bits()));
        prop_assert_eq!(computed, products.fold(0.0, f64::max));
        prop_assert!(upper >= computed);
        if rates.len() > 1 {
            prop_assert!(tpp_of(&rates[1..]).0 <= computed);
        }
    }
}
