//! Whole classifications: soundness, the makers' own answers, and errors that others make.

use proptest::prelude::*;

use super::catalogue::Catalogue;
use super::classification::{Matching, Subject, Terms, classify};
use super::facts::Facts;
use super::interval::{Basis, BasisKind, End, Interval};
use super::kleene::Truth;
use super::metric::{Flag, Metric};
use super::request::catalogue;
use super::rules::{self, Circuit, RuleSet};
use super::specification::{Declarations, Specification, facts};
use super::verdict::{Known, When, verdicts};

/// Every version, as it stood on this day.
const TIMELINE: When = When::Timeline(jiff::civil::Date::constant(2026, 11, 24));

fn all_sets() -> Vec<RuleSet> {
    rules::embedded().unwrap_or_else(|error| panic!("{error}"))
}

fn point(value: f64) -> Interval {
    let basis = Basis { kind: BasisKind::Specified, text: "t".into(), grade: None };
    Interval::point(End::new(value, basis))
}

fn floor(value: f64) -> End {
    let basis = Basis { kind: BasisKind::Measured, text: "m".into(), grade: None };
    End::new(value, basis).expect("floors are positive")
}

fn device(name: &str) -> Specification {
    let found = Catalogue::embedded().find(name).unwrap_or_else(|error| panic!("{error}"));
    super::described::specification(Catalogue::embedded(), found, "catalogue")
}

/// What a paragraph says of a specification, whenever it applied.
fn verdict_with(
    specification: &Specification,
    declared: &Declarations,
    set: &str,
    paragraph: &str,
) -> Truth {
    let sets = all_sets();
    let known = Known {
        package: facts(Some(specification), declared, None, Circuit::Package),
        board: Some(facts(Some(specification), declared, None, Circuit::Board)),
    };
    let all = verdicts(&sets, TIMELINE, &known, None);
    let found = all.iter().find(|v| v.rule_set.id == set && v.paragraph.id == paragraph);
    found.unwrap_or_else(|| panic!("{set} {paragraph}")).truth
}

fn verdict(specification: &Specification, set: &str, paragraph: &str) -> Truth {
    verdict_with(specification, &Declarations::default(), set, paragraph)
}

fn made(tpp: f64, area: f64) -> Specification {
    let datacenter = (Flag::Datacenter, Truth::True, Basis::declared("x"));
    Specification {
        tpp: point(tpp),
        die_area_mm2: point(area),
        flags: vec![datacenter],
        ..Specification::default()
    }
}

const LINES: &str = "US-2023-11-17";

// Soundness.

/// An exact device, with figures around the lines that rules draw.
fn exact() -> impl Strategy<Value = Specification> {
    let near = |lines: &'static [f64]| {
        let factor = prop_oneof![Just(1.0), 0.99..1.01_f64, 0.2..3.0_f64];
        (proptest::sample::select(lines), factor).prop_map(|(line, factor)| line * factor)
    };
    let figures = (
        near(&[1600.0, 2400.0, 4800.0, 14_000.0, 17_500.0, 20_800.0, 21_000.0]),
        prop_oneof![near(&[1.6, 3.2, 5.92, 21.0]), 0.1..50.0_f64],
        near(&[1400.0, 4100.0, 4500.0, 5000.0, 6000.0, 6500.0]),
        near(&[600.0, 700.0, 1100.0]),
        0.0..200.0_f64,
    );
    let flags = proptest::array::uniform14(any::<bool>());
    (figures, flags).prop_map(|((tpp, density, dram, io, fp64), flags)| Specification {
        tpp: point(tpp),
        die_area_mm2: point(tpp / density),
        dram_bandwidth: point(dram),
        io_bandwidth: point(io),
        fp64_tera_ops_per_s: point(fp64),
        flags: Flag::ALL
            .into_iter()
            .map(|flag| (flag, flags[flag.index()].into(), Basis::declared("x")))
            .collect(),
        year: Some(2024),
        ..Specification::default()
    })
}

/// What is left of an exact device when some of it is not known: ends open, areas with more than
/// one reading, flags unknown.
fn blurred(exact: &Specification, hide: &[bool; 24], width: f64) -> Specification {
    let blur = |interval: &Interval, lower: bool, upper: bool, wide: bool| {
        let scale = |end: &Option<End>, factor: f64| {
            let end = end.as_ref()?;
            End::new(end.value * factor, end.basis.clone())
        };
        let (low, high) = if wide { (1.0 / width, width) } else { (1.0, 1.0) };
        Interval {
            lower: scale(&interval.lower, low).filter(|_| !lower),
            upper: scale(&interval.upper, high).filter(|_| !upper),
            ..Interval::default()
        }
    };
    Specification {
        tpp: blur(&exact.tpp, hide[0], hide[1], hide[2]),
        die_area_mm2: blur(&exact.die_area_mm2, hide[3], hide[4], hide[5]),
        dram_bandwidth: blur(&exact.dram_bandwidth, hide[6], hide[7], hide[8]),
        io_bandwidth: blur(&exact.io_bandwidth, hide[9], hide[10], false),
        fp64_tera_ops_per_s: blur(&exact.fp64_tera_ops_per_s, hide[9], hide[10], false),
        flags: exact
            .flags
            .iter()
            .filter(|(flag, ..)| !hide[(10 + flag.index()).min(23)])
            .cloned()
            .collect(),
        ..exact.clone()
    }
}

/// No verdict on less knowledge may contradict the verdict on exact knowledge.
fn agree(less: &Facts, exact: &Facts) -> Result<(), TestCaseError> {
    for set in all_sets() {
        for paragraph in &set.paragraphs {
            let (less, exact) = (paragraph.truth(less), paragraph.truth(exact));
            prop_assert!(
                less == Truth::Unknown || less == exact,
                "{} {}: {less:?} although {exact:?}",
                set.id,
                paragraph.id
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Measurements below an exact specification, with all, some or nothing of it known.
    #[test]
    fn no_verdict_contradicts_that_of_the_exact_specification(
        exact in exact(),
        hide in proptest::array::uniform24(any::<bool>()),
        width in 1.0..2.0_f64,
        shares in (0.0..=1.0_f64, 0.0..=1.0_f64),
        is_board in any::<bool>(),
    ) {
        let declared = Declarations { packages_per_board: Some(8), ..Declarations::default() };
        let circuit = if is_board { Circuit::Board } else { Circuit::Package };
        let truth = facts(Some(&exact), &declared, None, circuit);
        // What runs prove is never above what the device can do.
        let floors = [
            (Metric::Tpp, floor(exact.tpp.at_least() * shares.0)),
            (Metric::DramBandwidth, floor(exact.dram_bandwidth.at_least() * shares.1)),
        ];
        let blurred = blurred(&exact, &hide, width);
        for known in [Some(&exact), Some(&blurred), None] {
            let measured = facts(known, &declared, Some(&floors), circuit);
            prop_assert_eq!(measured.contradictions().count(), 0);
            agree(&measured, &truth)?;
            agree(&facts(known, &declared, None, circuit), &truth)?;
        }
    }

    /// A run below every line settles nothing without a specification, however slow it was.
    #[test]
    fn a_measurement_alone_never_says_not_reached(tpp in 0.0..50_000.0_f64) {
        let floors = [(Metric::Tpp, floor(tpp))];
        let known = facts(None, &Declarations::default(), Some(&floors), Circuit::Package);
        for set in all_sets() {
            for paragraph in &set.paragraphs {
                let asks_at_least = paragraph.unless.is_none()
                    && paragraph.test.leaves().len() == 1
                    && paragraph.test.to_string().starts_with("tpp >=");
                if asks_at_least {
                    prop_assert_ne!(paragraph.truth(&known), Truth::False);
                }
            }
        }
    }
}

// The makers' own answers.

#[test]
fn makers_own_paragraphs() {
    use Truth::{False, True};
    for (name, a, b) in [
        ("NVIDIA H100 SXM5", True, False),
        ("NVIDIA A100 SXM 80GB", True, False),
        ("NVIDIA A800 SXM 80GB", True, False),
        ("NVIDIA H800 SXM5", True, False),
        ("NVIDIA L4", True, False),
        ("NVIDIA L40", False, True),
        ("NVIDIA L20", False, False),
        ("NVIDIA H20 (HGX)", False, False),
        ("NVIDIA T4", False, False),
        ("NVIDIA RTX 4090", True, False),
        ("NVIDIA RTX 4090 D", False, False),
    ] {
        let device = device(name);
        let found = (verdict(&device, LINES, "3A090.a"), verdict(&device, LINES, "3A090.b"));
        assert_eq!(found, (a, b), "{name}");
    }
    let l4 = device("NVIDIA L4");
    assert_eq!(verdict(&l4, LINES, "3A090.a.1"), False);
    assert_eq!(verdict(&l4, LINES, "3A090.a.2"), True);
}

/// Five devices under every version.
#[test]
fn a_timeline_of_five_devices() {
    use Truth::{False, True, Unknown};
    let rows: [(&str, &str, [Truth; 5]); 8] = [
        ("US-2022-10-07", "3A090.a", [False, True, False, False, True]),
        (LINES, "3A090.a", [False, True, True, True, True]),
        (LINES, "3A090.b", [False, False, False, False, False]),
        ("US-2024-04-04", "NAC/ACA (§740.8)", [False, False, False, False, False]),
        ("US-2024-12-02", "3A090.c", [False, False, False, False, False]),
        ("US-2025-01-13", "3A090.a", [False, True, True, True, True]),
        ("US-2025-04", "letter", [True, True, False, True, True]),
        ("US-2026-01-15", "§742.6(b)(10)(iii)(A)(1)", [True, True, True, True, True]),
    ];
    let names = [
        "NVIDIA H20 (HGX)",
        "NVIDIA H100 SXM5",
        "NVIDIA L4",
        "NVIDIA A800 SXM 80GB",
        "Huawei Ascend 910C",
    ];
    for (set, paragraph, expected) in rows {
        for (name, expected) in names.iter().zip(expected) {
            assert_eq!(
                verdict(&device(name), set, paragraph),
                expected,
                "{set} {paragraph} {name}"
            );
        }
    }
    // What a link's figure leaves out may decide: as announced, and as cut.
    assert_eq!(verdict(&device("Biren BR100"), "US-2022-10-07", "3A090.a"), Unknown);
}

/// Where the area decides and is not known, or may be read in two ways, so is the verdict.
#[test]
fn an_area_that_flips_the_paragraph_leaves_it_open() {
    for name in ["Huawei Ascend 910 (2019)", "MetaX C500 (OAM)", "Moore Threads MTT S4000"] {
        assert_eq!(verdict(&device(name), LINES, "3A090.a"), Truth::Unknown, "{name}");
    }
    let declared = Declarations { die_area_mm2: Some(456.25), ..Declarations::default() };
    let ascend = device("Huawei Ascend 910 (2019)");
    assert_eq!(verdict_with(&ascend, &declared, LINES, "3A090.a.2"), Truth::True);
    // The edge: a TPP of exactly 1600.
    let declared = Declarations { die_area_mm2: Some(1600.0 / 5.92), ..Declarations::default() };
    let s4000 = device("Moore Threads MTT S4000");
    assert_eq!(verdict_with(&s4000, &declared, LINES, "3A090.a.2"), Truth::True);
    // Where TPP alone decides, nobody needs the area.
    assert_eq!(verdict(&device("Intel Gaudi 3"), LINES, "3A090.a"), Truth::True);
}

#[test]
fn tariff_bands_by_published_and_by_computed_performance() {
    let band = |device: &Specification| verdict(device, "US-S232-2026-01-15", "note 39(b)");
    assert_eq!(band(&device("NVIDIA H200 SXM")), Truth::True);
    assert_eq!(band(&device("AMD MI325X")), Truth::True);
    let mut h200_nvl = device("NVIDIA H200 NVL");
    assert_eq!(band(&h200_nvl), Truth::True);
    h200_nvl.tpp = point(13_368.0);
    assert_eq!(band(&h200_nvl), Truth::False);
}

#[test]
fn a_measurement_above_its_specification_is_a_contradiction() {
    let sets = all_sets();
    let mut subject = Subject {
        name: "x".into(),
        evidence: None,
        specification: Some(device("NVIDIA L4")),
        matching: Matching::Named,
        taint: Vec::new(),
    };
    let terms = Terms::new(sets, TIMELINE, Declarations::default());
    let floors = [(Metric::Tpp, floor(5000.0))];
    let facts =
        facts(subject.specification.as_ref(), &terms.declared, Some(&floors), Circuit::Package);
    let found: Vec<Metric> = facts.contradictions().map(|(metric, _)| metric).collect();
    assert_eq!(found, [Metric::Tpp, Metric::PerformanceDensity]);
    for set in &terms.sets {
        for paragraph in
            set.paragraphs.iter().filter(|p| p.id.starts_with("3A090.a") && p.unless.is_none())
        {
            let asks = paragraph.test.to_string();
            assert!(
                !asks.contains("tpp")
                    || asks.contains("io_")
                    || paragraph.truth(&facts) == Truth::Unknown
            );
        }
    }
    // Without measurement there is none.
    subject.name = "L4".into();
    assert_eq!(classify(&subject, &terms).shown.package.contradictions().count(), 0);
}

/// Errors that others make, each by its name.
mod common_errors {
    use super::*;

    /// One device in the user's own file.
    fn parsed(rates: &str) -> Result<Catalogue, crate::Error> {
        let text = format!(
            "[[source]]\nid = \"s\"\ntitle = \"S\"\ngrade = \"official\"\n[[device]]\n\
             name = \"A X\"\nvendor = \"A\"\n[device.dense_tera_ops_per_s]\n{rates}\n"
        );
        Catalogue::parse(&text, std::path::Path::new("x.toml"))
    }

    fn tpp(rates: &str) -> f64 {
        parsed(rates).unwrap_or_else(|e| panic!("{e}")).devices()[0].tpp().expect("it has rates")
    }

    #[test]
    fn error_01_sparse_figures_are_refused_by_the_loader() {
        assert!(parsed("fp8 = { value = 3958, source = \"s\", sparse = true }").is_err());
        assert!(parsed("fp8_sparse = [3958, \"s\"]").is_err());
        assert!(device("NVIDIA H100 SXM5").tpp.at_most() < 16_000.0);
    }

    #[test]
    fn error_02_tflops_already_contain_the_factor_2() {
        assert_eq!(tpp("fp8 = [1979, \"s\"]"), 15_832.0);
    }

    #[test]
    fn error_03_4800_are_300_tflops_of_16_bits_and_not_150() {
        assert_eq!(tpp("fp16 = [300, \"s\"]"), 4800.0);
        assert_eq!(
            verdict(&made(tpp("fp16 = [300, \"s\"]"), 3000.0), LINES, "3A090.a"),
            Truth::True
        );
        assert_eq!(
            verdict(&made(tpp("fp16 = [150, \"s\"]"), 3000.0), LINES, "3A090.a"),
            Truth::False
        );
    }

    #[test]
    fn error_04_the_width_is_that_of_inputs_and_not_of_the_accumulator() {
        use super::super::catalogue::OperandFormat;
        assert_eq!(OperandFormat::Fp8.bits(), 8);
        assert_eq!(tpp("fp8 = [242, \"s\"]"), 1936.0);
    }

    #[test]
    fn error_05_weight_only_formats_count_their_multiply_and_not_their_container() {
        assert!(parsed("w4a16 = [1000, \"s\"]").is_err());
        assert_eq!(super::super::evidence::counted_bits(16, "f16"), Some(16));
    }

    #[test]
    fn error_06_totals_of_boards_and_nodes_are_not_a_package() {
        let h20 = device("NVIDIA H20 (HGX)");
        let declared = Declarations { packages_per_board: Some(8), ..Declarations::default() };
        // Eight of them on a board change nothing, unless the board is asked about.
        assert_eq!(verdict_with(&h20, &declared, LINES, "3A090.a"), Truth::False);
        let board = facts(Some(&h20), &declared, None, Circuit::Board);
        assert_eq!(board.metric(Metric::Tpp).at_least(), 8.0 * 2368.0);
    }

    #[test]
    fn error_07_fp8_and_fp6_may_raise_the_maximum() {
        let rates = "fp16_bf16 = [2516.6, \"s\"]\nfp8 = [5033.2, \"s\"]\nfp6 = [10066.3, \"s\"]\nfp4 = [10066.3, \"s\"]";
        assert!((tpp(rates) - 10_066.3 * 6.0).abs() < 1e-6);
        assert!(device("AMD MI355X").tpp.at_most() > 60_000.0);
        assert_eq!(device("NVIDIA RTX 5090").tpp.at_most(), 6720.0);
    }

    #[test]
    fn error_08_matrix_units_count_and_not_vector_units_alone() {
        assert!(device("Intel Max 1550 (PVC)").tpp.at_most() > 13_000.0);
    }

    #[test]
    fn error_09_the_area_is_that_of_logic_dies_and_not_of_the_package() {
        // A package of 1,228 mm² with memory and dummies would make it 3.3.
        let ascend = device("Huawei Ascend 910 (2019)");
        let known = facts(Some(&ascend), &Declarations::default(), None, Circuit::Package);
        let density = known.metric(Metric::PerformanceDensity);
        assert!(density.at_most() > 8.9 && density.at_least() < 3.4);
        assert_ne!(verdict(&ascend, LINES, "3A090.a"), Truth::False);
    }

    #[test]
    fn error_10_rows_are_not_copied_from_another_device() {
        let f16 = |name: &str| {
            let rates = device(name).rates;
            rates.iter().find(|rate| rate.bits == 16).map(|rate| rate.tera_ops_per_s)
        };
        assert_ne!(f16("AMD MI300X"), f16("NVIDIA A100 SXM 80GB"));
        assert!(Catalogue::embedded().find("AMD MI308X").is_err());
    }

    #[test]
    fn error_11_known_slips_of_other_tables_are_not_in_ours() {
        assert!((device("Intel Gaudi 2").tpp.at_most() - 6920.0).abs() < 1e-9);
        assert!((device("Intel Gaudi 3").tpp.at_most() - 29_360.0).abs() < 1e-9);
        assert_eq!(device("NVIDIA GB300").tpp.at_most(), 58_484.0);
        assert_eq!(device("NVIDIA B300").tpp.at_most(), 55_432.0);
        let c500 = device("MetaX C500 (OAM)");
        assert_eq!(c500.dram_bandwidth.at_most(), 1800.0);
    }

    #[test]
    fn error_12_a_measurement_is_a_lower_bound_only() {
        let floors = [(Metric::Tpp, floor(900.0))];
        let known = facts(None, &Declarations::default(), Some(&floors), Circuit::Package);
        let sets = all_sets();
        let all = verdicts(&sets, TIMELINE, &Known::from(known), None);
        let lines: Vec<Truth> = all
            .iter()
            .filter(|v| v.rule_set.id == LINES && v.paragraph.id.starts_with("3A090"))
            .map(|v| v.truth)
            .collect();
        assert_eq!(lines, [Truth::Unknown; 6]);
    }

    // And what other texts say of the rules.

    #[test]
    fn density_alone_is_not_enough() {
        // "Either TPP or performance density" drops the TPP of 1600.
        assert_eq!(verdict(&made(1500.0, 100.0), LINES, "3A090.a"), Truth::False);
    }

    #[test]
    fn the_review_lane_asks_for_both_limits() {
        let mut device = made(20_000.0, 1000.0);
        device.dram_bandwidth = point(8000.0);
        let lane = |d: &Specification| verdict(d, "US-2026-01-15", "§742.6(b)(10)(iii)(A)(1)");
        assert_eq!(lane(&device), Truth::False);
        device.dram_bandwidth = point(6000.0);
        assert_eq!(lane(&device), Truth::True);
    }

    #[test]
    fn the_h20_is_not_3a090_b_2() {
        assert_eq!(verdict(&device("NVIDIA H20 (HGX)"), LINES, "3A090.b.2"), Truth::False);
    }

    #[test]
    fn ai_diffusion_is_codified_and_not_enforced() {
        let sets = all_sets();
        let set = sets.iter().find(|set| set.id == "US-2025-01-13").unwrap();
        let period = set.period_on("2026-11-01".parse().unwrap()).unwrap();
        assert_eq!(period.enforcement, rules::Enforcement::NotEnforced);
    }
}

/// Every device of the catalogue has a verdict under every version, without a contradiction.
#[test]
fn the_whole_catalogue_is_classified() {
    let terms = Terms::new(all_sets(), TIMELINE, Declarations::default());
    let n_paragraphs: usize = terms.sets.iter().map(|set| set.paragraphs.len()).sum();
    let devices = catalogue();
    assert!(devices.len() > 60);
    for specification in devices {
        let subject = Subject {
            name: specification.name.clone(),
            evidence: None,
            specification: Some(specification),
            matching: Matching::Named,
            taint: Vec::new(),
        };
        let answer = classify(&subject, &terms);
        assert_eq!(answer.verdicts.len(), n_paragraphs);
        assert_eq!(answer.shown.package.contradictions().count(), 0, "{}", subject.name);
        assert!(answer.standings.iter().all(|(_, standing)| standing.n_proved == 0));
    }
}
