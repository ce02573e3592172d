//! What a specification and a user's declarations say of a device.

use crate::classify::catalogue::Grade;
use crate::classify::facts::Facts;
use crate::classify::interval::{Basis, BasisKind, End, Interval};
use crate::classify::kleene::Truth;
use crate::classify::metric::{Flag, Metric};
use crate::classify::rules::Circuit;

/// A dense peak rate, for upper bounds on other work than the rules ask about.
#[derive(Clone, Debug, PartialEq)]
pub struct PeakRate {
    /// `f16`, `fp8`, …
    pub format: &'static str,
    /// Bits of the multiply's wider input.
    pub bits: u32,
    /// Dense operations per second ÷ 10¹², two per multiply-accumulate.
    pub tera_ops_per_s: f64,
}

/// A device as its maker and others describe it: what the rules ask about, each figure with its
/// basis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Specification {
    /// The device's name.
    pub name: String,
    /// `catalogue`, or the file it stands in.
    pub origin: String,
    /// Total processing performance.
    pub tpp: Interval,
    /// Area of the logic dies that count, mm². More than one reading makes an interval.
    pub die_area_mm2: Interval,
    /// Memory bandwidth, GB/s.
    pub dram_bandwidth: Interval,
    /// Links between devices, both directions, GB/s.
    pub io_bandwidth: Interval,
    /// 64-bit floating-point operations per second ÷ 10¹².
    pub fp64_tera_ops_per_s: Interval,
    /// What is known of flags.
    pub flags: Vec<(Flag, Truth, Basis)>,
    /// Every rate, for rooflines.
    pub rates: Vec<PeakRate>,
    /// The year it came out.
    pub year: Option<u32>,
    /// What else should be known.
    pub note: Option<String>,
}

/// What the user says of the devices, which takes precedence over specifications.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Declarations {
    /// Metrics: `--declare transistors=28e9`.
    pub metrics: Vec<(Metric, f64)>,
    /// Flags: `--datacenter yes`, `--declare is_hbm=no`.
    pub flags: Vec<(Flag, bool)>,
    /// Flags that are not known, whatever a specification says: `--datacenter unknown`.
    pub unknown: Vec<Flag>,
    /// `--die-area`, mm².
    pub die_area_mm2: Option<f64>,
    /// Devices that share memory by hardware coherence in one computer: what APP adds up. Unless
    /// declared it is one at least, and nothing bounds it from above.
    pub coherent_devices: Option<u32>,
    /// Packages on one circuit board, for rule sets that add those up.
    pub packages_per_board: Option<u32>,
}

/// What one host interface adds to the links at most, both directions, GB/s: PCI Express 5.0 and
/// 6.0 with 16 lanes.
const HOST_INTERFACE_GB_PER_S: [(u32, f64); 2] = [(2024, 128.0), (u32::MAX, 256.0)];

/// The weight of a vector processor in APP, and of any other (technical note on APP).
const APP_WEIGHTS: (f64, f64) = (0.9, 0.3);

/// Puts together what is known of a device. `floors` are lower ends that runs proved; where there
/// were runs, a specification only bounds from above, and otherwise it stands for the device.
pub fn facts(
    specification: Option<&Specification>,
    declared: &Declarations,
    floors: Option<&[(Metric, End)]>,
    circuit: Circuit,
) -> Facts {
    let mut facts = Facts::default();
    if let Some(specification) = specification {
        for (flag, truth, basis) in &specification.flags {
            facts.set_flag(*flag, *truth, basis.clone());
        }
    }
    for (flag, truth) in &declared.flags {
        facts.set_flag(*flag, Truth::from(*truth), Basis::declared(format!("--declare {flag}")));
    }
    for flag in &declared.unknown {
        facts.set_flag(*flag, Truth::Unknown, Basis::declared("declared unknown"));
    }
    let empty = Specification::default();
    let specification = specification.unwrap_or(&empty);
    let mut tpp = of_metric(Metric::Tpp, &specification.tpp, declared, floors);
    let area = match declared.die_area_mm2 {
        Some(mm2) => Interval::point(End::new(mm2, Basis::declared("--die-area"))),
        None => specification.die_area_mm2.clone(),
    };
    let density = match declared_value(Metric::PerformanceDensity, declared) {
        Some(end) => Interval::point(Some(end)),
        None => tpp.divided_by(&area),
    };
    facts.set_metric(Metric::PerformanceDensity, density);
    if circuit == Circuit::Board {
        tpp = on_a_board(tpp, declared.packages_per_board, floors.is_some());
    }
    facts.set_metric(Metric::Tpp, tpp);
    let all_io = all_io(&specification.io_bandwidth, specification.year);
    let device = app(&specification.fp64_tera_ops_per_s, facts.flag(Flag::VectorProcessor).truth);
    let app = match declared.coherent_devices {
        Some(devices) => device.times(f64::from(devices), "devices in one coherent computer"),
        None => Interval { upper: None, ..device },
    };
    for (metric, specified) in [
        (Metric::DramBandwidth, &specification.dram_bandwidth),
        (Metric::IoBandwidth, &specification.io_bandwidth),
        (Metric::IoBandwidthAll, &all_io),
        (Metric::AppWt, &app),
    ] {
        let package = of_metric(metric, specified, declared, floors);
        let interval = match (circuit, metric) {
            (Circuit::Package, _) | (_, Metric::AppWt) => package,
            (Circuit::Board, Metric::DramBandwidth) => {
                on_a_board(package, declared.packages_per_board, floors.is_some())
            }
            // Links between packages of a board are not links of the board, and how many of them
            // those are is not known.
            (Circuit::Board, _) => Interval { lower: None, upper: None, ..package },
        };
        facts.set_metric(metric, interval);
    }
    for (metric, _) in &declared.metrics {
        if facts.metric(*metric) == &Interval::default() {
            facts.set_metric(*metric, Interval::point(declared_value(*metric, declared)));
        }
    }
    facts
}

/// What one package did, its board did; what the others did was not measured. Without their number
/// nothing bounds them.
fn on_a_board(package: Interval, packages: Option<u32>, is_measured: bool) -> Interval {
    match packages {
        None => Interval { upper: None, ..package },
        Some(packages) => {
            let board = package.times(f64::from(packages), "packages on one circuit board");
            Interval { lower: if is_measured { package.lower } else { board.lower }, ..board }
        }
    }
}

fn declared_value(metric: Metric, declared: &Declarations) -> Option<End> {
    let (_, value) = declared.metrics.iter().rev().find(|(known, _)| *known == metric)?;
    End::new(*value, Basis::declared(format!("--declare {metric}")))
}

fn of_metric(
    metric: Metric,
    specified: &Interval,
    declared: &Declarations,
    floors: Option<&[(Metric, End)]>,
) -> Interval {
    let specified = match declared_value(metric, declared) {
        Some(end) => Interval::point(Some(end)),
        None => specified.clone(),
    };
    match floors {
        None => specified,
        Some(floors) => Interval {
            lower: floors.iter().find(|(known, _)| *known == metric).map(|(_, end)| end.clone()),
            ..specified
        },
    }
}

/// Makers quote their links; a host interface beside them may add to all inputs and outputs.
fn all_io(links: &Interval, year: Option<u32>) -> Interval {
    let latest = year.unwrap_or(u32::MAX);
    let added = HOST_INTERFACE_GB_PER_S.iter().find(|(until, _)| latest <= *until);
    let upper = links.upper.as_ref().zip(added).and_then(|(end, (_, added))| {
        let text = format!("{} and a host interface of {added} GB/s at most", end.basis.text);
        let grade = end.basis.grade.max(Some(Grade::Calculated));
        End::new(end.value + added, Basis { kind: BasisKind::Computed, text, grade })
    });
    Interval { lower: links.lower.clone(), upper, ..Interval::default() }
}

/// Adjusted peak performance. What is not known to be a vector processor may be one.
fn app(fp64: &Interval, vector: Truth) -> Interval {
    let (high, low) = APP_WEIGHTS;
    let (low, high) = match vector {
        Truth::True => (high, high),
        Truth::False => (low, low),
        Truth::Unknown => (low, high),
    };
    let (lower, upper) = (fp64.times(low, "weight"), fp64.times(high, "weight"));
    Interval { lower: lower.lower, upper: upper.upper, ..Interval::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(value: f64) -> Interval {
        let basis =
            Basis { kind: BasisKind::Specified, text: "t".into(), grade: Some(Grade::Secondary) };
        Interval::point(End::new(value, basis))
    }

    fn ends(facts: &Facts, metric: Metric) -> (f64, f64) {
        (facts.metric(metric).at_least(), facts.metric(metric).at_most())
    }

    #[test]
    fn a_specification_stands_for_the_device_until_it_was_measured() {
        let specification =
            Specification { tpp: point(2000.0), die_area_mm2: point(400.0), ..Default::default() };
        let declared = Declarations::default();
        let alone = facts(Some(&specification), &declared, None, Circuit::Package);
        assert_eq!(ends(&alone, Metric::Tpp), (2000.0, 2000.0));
        assert_eq!(ends(&alone, Metric::PerformanceDensity), (5.0, 5.0));
        let floor = End::new(800.0, Basis::declared("x")).unwrap();
        let measured =
            facts(Some(&specification), &declared, Some(&[(Metric::Tpp, floor)]), Circuit::Package);
        assert_eq!(ends(&measured, Metric::Tpp), (800.0, 2000.0));
        assert_eq!(ends(&measured, Metric::PerformanceDensity), (2.0, 5.0));
        assert_eq!(ends(&measured, Metric::DramBandwidth), (0.0, f64::INFINITY));
    }

    /// Vectors of adjusted peak performance: 67, 19.5, 1.0, 1.2 and 163.4 TFLOPS of 64 bits.
    #[test]
    fn adjusted_peak_performance() {
        for (fp64, n, expected) in [
            (67.0, 1, 60.3),
            (67.0, 2, 120.6),
            (19.5, 1, 17.55),
            (1.0, 1, 0.9),
            (1.2, 1, 1.08),
            (163.4, 1, 147.06),
        ] {
            let specification =
                Specification { fp64_tera_ops_per_s: point(fp64), ..Default::default() };
            let mut declared = Declarations { coherent_devices: Some(n), ..Default::default() };
            let open = facts(Some(&specification), &declared, None, Circuit::Package);
            let (low, high) = ends(&open, Metric::AppWt);
            assert!((low - expected / 3.0).abs() < 1e-9 && (high - expected).abs() < 1e-9);
            declared.flags = vec![(Flag::VectorProcessor, true)];
            let (low, high) = ends(
                &facts(Some(&specification), &declared, None, Circuit::Package),
                Metric::AppWt,
            );
            assert!(low == high && (high - expected).abs() < 1e-9, "{fp64}: {high}");
        }
    }

    #[test]
    fn a_computer_may_have_more_devices_than_one() {
        let specification =
            Specification { fp64_tera_ops_per_s: point(67.0), ..Default::default() };
        let flags = vec![(Flag::VectorProcessor, true)];
        let declared = Declarations { flags, ..Default::default() };
        let facts = facts(Some(&specification), &declared, None, Circuit::Package);
        let (low, high) = ends(&facts, Metric::AppWt);
        assert!((low - 60.3).abs() < 1e-9 && high == f64::INFINITY, "{low} {high}");
    }

    #[test]
    fn a_board_adds_its_packages_up_where_a_rule_asks_for_that() {
        let specification = Specification { tpp: point(2368.0), ..Default::default() };
        let mut declared = Declarations::default();
        let of = |declared: &Declarations, floors: Option<&[(Metric, End)]>| {
            ends(&facts(Some(&specification), declared, floors, Circuit::Board), Metric::Tpp)
        };
        assert_eq!(of(&declared, None), (2368.0, f64::INFINITY));
        declared.packages_per_board = Some(8);
        assert_eq!(of(&declared, None), (18944.0, 18944.0));
        let floor = End::new(800.0, Basis::declared("x")).unwrap();
        assert_eq!(of(&declared, Some(&[(Metric::Tpp, floor)])), (800.0, 18944.0));
        // Memory adds up as well; links do not, and what leaves the board is not known.
        let (dram_bandwidth, io_bandwidth) = (point(4000.0), point(900.0));
        let both = Specification { dram_bandwidth, io_bandwidth, ..Default::default() };
        let board = facts(Some(&both), &declared, None, Circuit::Board);
        assert_eq!(ends(&board, Metric::DramBandwidth), (32_000.0, 32_000.0));
        assert_eq!(ends(&board, Metric::IoBandwidth), (0.0, f64::INFINITY));
    }

    #[test]
    fn a_host_interface_may_add_to_what_makers_quote() {
        let links = point(400.0);
        let all = all_io(&links, Some(2022));
        assert_eq!((all.at_least(), all.at_most()), (400.0, 528.0));
        assert_eq!(all_io(&links, None).at_most(), 656.0);
        assert_eq!(all_io(&Interval::default(), Some(2022)), Interval::default());
    }
}
