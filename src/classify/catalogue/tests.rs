//! The embedded catalogue against hand-checked figures, and the loader against bad files.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

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
        assert!(apart <= file::TPP_TOLERANCE, "{}: {apart}", device.name);
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

mod loader {
    use super::*;

    #[test]
    fn takes_what_the_format_allows() {
        let text = one_device(
            "year = 2026\naliases = [\"x one\"]\nmarketed_for_datacenters = \"no\"\n\
             die_area = { mm2 = [100, \"data\", \"rough\"], includes = \"all\", alternatives = [{ mm2 = [80, \"data\"], includes = \"one\" }] }\n\
             memory = { kind = \"none\", source = \"data\" }\n\
             io_bidirectional_gb_per_s = { value = 64, source = \"data\", grade = \"unverified\", note = \"PCIe\", alternatives = [{ value = 32, source = \"data\" }] }\n\
             tdp_w = [1.5, \"data\"]\n[device.dense_tera_ops_per_s]\n\
             fp16 = { value = 10, source = \"data\", sparse = false }\nbf16 = [11, \"data\", \"at_least\"]\n\
             int8 = { cores = 2, ops_per_core_and_cycle = 500, clock_ghz = 3, clock = \"maximum\", source = \"data\", unit = \"other\" }",
        );
        let catalogue = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let device = catalogue.match_device("X One").expect("its alias is known");
        assert_eq!((device.year, device.marketing), (Some(2026), Marketing::NotDatacenter));
        let area = device.die_area.as_ref().unwrap();
        assert_eq!((area.mm2.range(), area.mm2.precision), ((80.0, 100.0), Precision::Rough));
        assert_eq!(area.mm2.alternatives[0].note.as_deref(), Some("one"));
        let bandwidth = device.memory_bandwidth_gb_per_s.as_ref().unwrap();
        assert_eq!((bandwidth.value, bandwidth.grade), (0.0, Grade::Official));
        let io = device.io_bandwidth_gb_per_s.as_ref().unwrap();
        assert_eq!((io.grade, io.range()), (Grade::Unverified, (32.0, 64.0)));
        let tpp = device.tpp_computed().unwrap();
        assert_eq!(tpp.arithmetic(), "11 x 16 bits (bf16) + 3 x 8 bits (int8)");
        assert_eq!((tpp.value, tpp.grade(), tpp.is_rough()), (200.0, Grade::Official, true));
        assert_eq!(device.tpp_upper(), None, "11 is at least");
        let int8 = device.rate(OperandFormat::Int8).unwrap();
        assert_eq!(
            int8.dense_tera_ops_per_s.note.as_deref(),
            Some("2 cores x 500 operations per core and cycle x 3 GHz, the maximum clock")
        );
        assert_eq!(device.rate(OperandFormat::Fp16).unwrap().dense_tera_ops_per_s.value, 10.0);
    }

    /// Lines of a device, and what the file is refused with. The device's first line is line 8.
    const REFUSED: &[(&str, &str)] = &[
        (
            "tdp = [1, \"data\"]",
            "mine.toml:8: `tdp = [1, \"data\"]`: unknown field `tdp`, expected one of \
             `name`, `vendor`, `year`, `aliases`, `marketed_for_datacenters`, `die_area`, \
             `memory`, `memory_gb_per_s`, `io_bidirectional_gb_per_s`, `tdp_w`, \
             `tpp_published`, `notes`, `dense_tera_ops_per_s`",
        ),
        (
            "tdp_w = 700",
            "mine.toml:8: `tdp_w = 700`: invalid type: integer `700`, expected [value, \
             \"source\"], [value, \"source\", \"precision\"] or a table of these",
        ),
        (
            "tdp_w = [700]",
            "mine.toml:8: `tdp_w = [700]`: invalid length 1, expected [value, \"source\"], \
             [value, \"source\", \"precision\"] or a table of these",
        ),
        (
            "tdp_w = [\"fast\", \"data\"]",
            "mine.toml:8: `tdp_w = [\"fast\", \"data\"]`: invalid type: string \"fast\", \
             expected f64",
        ),
        (
            "tdp_w = [700, \"data\", \"rougly\"]",
            "mine.toml:8: `tdp_w = [700, \"data\", \"rougly\"]`: unknown variant `rougly`, \
             expected one of `stated`, `rough`, `at_most`, `at_least`",
        ),
        (
            "tdp_w = [700, \"data\", \"rough\", 3]",
            "mine.toml:8: `tdp_w = [700, \"data\", \"rough\", 3]`: invalid length 4, \
             expected [value, \"source\"], [value, \"source\", \"precision\"] or a table of \
             these",
        ),
        (
            "tdp_w = { value = 700 }",
            "mine.toml:8: `tdp_w = { value = 700 }`: missing field `source`",
        ),
        (
            "tdp_w = { value = 700, source = \"data\", unit = \"W\" }",
            "mine.toml:8: `tdp_w = { value = 700, source = \"data\", unit = \"W\" }`: \
             unknown field `unit`, expected one of `value`, `source`, `grade`, `precision`, \
             `note`, `alternatives`",
        ),
        (
            "tdp_w = [0, \"data\"]",
            "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is 0",
        ),
        (
            "\ntdp_w = [-5, \"data\"]",
            "mine.toml:9: device `X`: `tdp_w` must be above 0 and below 1e12, but is -5",
        ),
        (
            "tdp_w = [nan, \"data\"]",
            "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is NaN",
        ),
        (
            "tdp_w = [inf, \"data\"]",
            "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is inf",
        ),
        (
            "tdp_w = [700, \"brochure\"]",
            "mine.toml:8: device `X`: `tdp_w`: no [[source]] of this file has the id \
             `brochure`",
        ),
        (
            "tdp_w = { value = 7, source = \"data\", alternatives = [{ value = 0, source = \"data\" }] }",
            "mine.toml:8: device `X`: `tdp_w.alternatives` must be above 0 and below 1e12, \
             but is 0",
        ),
        ("aliases = [\"Y\", \"x\"]", "mine.toml:8: the name `x` is taken on line 6"),
        ("aliases = [\" \"]", "mine.toml:8: a device or an alias has an empty name"),
        ("year = -1", "mine.toml:8: `year = -1`: invalid value: integer `-1`, expected u16"),
        (
            "marketed_for_datacenters = true",
            "mine.toml:8: `marketed_for_datacenters = true`: wanted string or table",
        ),
        (
            "marketed_for_datacenters = \"maybe\"",
            "mine.toml:8: `marketed_for_datacenters = \"maybe\"`: unknown variant `maybe`, \
             expected one of `yes`, `no`, `unknown`",
        ),
        (
            "memory = { kind = \"none\" }",
            "mine.toml:8: device `X`: `memory.kind = \"none\"` needs a `source` and stands \
             without `gb`",
        ),
        (
            "memory = { kind = \"HBM3\", source = \"data\" }",
            "mine.toml:8: device `X`: `memory.source` is for `kind = \"none\"` alone",
        ),
        (
            "memory = { kind = \"none\", source = \"data\" }\nmemory_gb_per_s = [1, \"data\"]",
            "mine.toml:6: device `X`: `memory_gb_per_s` stands beside `memory.kind = \
             \"none\"`",
        ),
        (
            "die_area = { mm2 = [814, \"data\"] }",
            "mine.toml:8: `die_area = { mm2 = [814, \"data\"] }`: missing field `includes`",
        ),
        (
            "tpp_published = [15840, \"data\"]\n[device.dense_tera_ops_per_s]\nfp8 = [3958, \"data\"]",
            "mine.toml:6: device `X`: `tpp_published` is 15840, but the rates give 31664 \
             (3958 x 8 bits (fp8)), more than 6 % away: one of them is wrong, such as a rate \
             with sparsity, and must be corrected or left out",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp9 = [1, \"data\"]",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp9` is of no known format; \
             these are: fp64, fp32, tf32, fp16, bf16, fp16_bf16, fp8, fp6, fp4, int8, int4",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8_sparse = [3958, \"data\"]",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8_sparse` is a rate with \
             sparsity, which no rule counts; give the dense rate, which is half of it where \
             two of four operands are zero",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = { value = 3958, source = \"data\", sparse = true }",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` is a rate with sparsity, \
             which no rule counts; give the dense rate, which is half of it where two of \
             four operands are zero",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = [-1, \"data\"]",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` must be above 0 and below \
             1e12, but is -1",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp16 = [1, \"data\"]\nfp16_bf16 = [1, \"data\"]",
            "mine.toml:10: device `X`: `dense_tera_ops_per_s.fp16_bf16` is the rate of both, \
             so neither can stand beside it",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = { cores = 4, source = \"data\" }",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` needs either `value`, or \
             `cores`, `ops_per_core_and_cycle`, `clock_ghz` and `clock` all together",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = { value = 1, cores = 4, ops_per_core_and_cycle = 1, clock_ghz = 1.0, clock = \"base\", source = \"data\" }",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` needs either `value`, or \
             `cores`, `ops_per_core_and_cycle`, `clock_ghz` and `clock` all together",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = { cores = 4, ops_per_core_and_cycle = 1, clock_ghz = nan, clock = \"base\", source = \"data\" }",
            "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` must be above 0 and below \
             1e12, but is NaN",
        ),
        (
            "[device.dense_tera_ops_per_s]\nfp8 = [1, \"data\"]\nfp8 = [2, \"data\"]",
            "mine.toml:10: `fp8 = [2, \"data\"]`: duplicate key",
        ),
        (
            "tpp = 15840",
            "mine.toml:8: `tpp = 15840`: unknown field `tpp`, expected one of `name`, \
             `vendor`, `year`, `aliases`, `marketed_for_datacenters`, `die_area`, `memory`, \
             `memory_gb_per_s`, `io_bidirectional_gb_per_s`, `tdp_w`, `tpp_published`, \
             `notes`, `dense_tera_ops_per_s`",
        ),
        (
            "tdp_w = [700, \"data\"",
            "mine.toml:8: `tdp_w = [700, \"data\"`: unclosed array, expected `]`",
        ),
    ];

    #[test]
    fn refuses_what_it_must() {
        let refused = |text: &str| match parse(text) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        for (lines, message) in REFUSED {
            assert_eq!(refused(&one_device(lines)), *message, "{lines}");
        }
        for (text, message) in [
            ("", "mine.toml:1: there is no [[device]] in this file"),
            (
                "device = 3",
                "mine.toml:1: `device = 3`: invalid type: integer `3`, expected a sequence",
            ),
            ("[[device]]\nname = \"X\"", "mine.toml:1: `[[device]]`: missing field `vendor`"),
            (
                "[[source]]\nid = \"a\"\ntitle = \"A\"",
                "mine.toml:1: `[[source]]`: missing field `grade`",
            ),
            (
                "[[source]]\nid = \"a\"\ntitle = \"A\"\ngrade = \"good\"",
                "mine.toml:4: `grade = \"good\"`: unknown variant `good`, expected one of \
             `official`, `quoted`, `secondary`, `calculated`, `unverified`",
            ),
        ] {
            assert_eq!(refused(text), message, "{text}");
        }
    }
}

/// Errors that lists of such figures are known to have: here none of them can come about.
mod common_errors {
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
                    "NVIDIA B300" | "NVIDIA GB300 (per GPU)" | "NVIDIA B30A (rumoured)" => {
                        times < 3.2
                    }
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

    /// A device file with any stretch of bytes replaced is read or refused, with a line that it has.
    #[test]
    fn a_damaged_file_never_panics(
        at in 0..EMBEDDED.len(),
        length in 0..60_usize,
        patch in "[ -~\\n]{0,12}",
    ) {
        let keep = |byte: &usize| EMBEDDED.is_char_boundary(*byte);
        let start = (at..).find(keep).unwrap_or(EMBEDDED.len());
        let end = (start + length..).find(keep).unwrap_or(EMBEDDED.len());
        let text = format!("{}{patch}{}", &EMBEDDED[..start], &EMBEDDED[end..]);
        if let Err(error) = parse(&text) {
            let Error::DeviceFile { line, problem, .. } = error else { panic!("{error}") };
            prop_assert!((1..=text.lines().count() + 1).contains(&line));
            prop_assert!(!problem.is_empty());
        }
    }
}
