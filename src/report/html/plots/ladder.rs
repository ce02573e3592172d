//! The ladders of thresholds: what was proved of each device, and the rungs of the rules.

use jiff::civil::Date;

use crate::classify::evidence::{Evidence, Source};
use crate::classify::ladder::{Ladder, ladders};
use crate::classify::metric::Metric;
use crate::classify::rules;
use crate::classify::verdict::When;
use crate::report::Integrity;
use crate::report::html::chart::{Axis, Chart, Kind, Point, Series};
use crate::report::html::view::{View, text};
use crate::units::significant;

/// Devices that have ladders of their own.
const MAX_DEVICES: usize = 4;

/// One device on one ladder.
pub(in crate::report::html) struct Standing {
    pub(in crate::report::html) device: String,
    pub(in crate::report::html) metric: Metric,
    /// What was proved.
    pub(in crate::report::html) floor: f64,
    /// By what.
    pub(in crate::report::html) basis: String,
    /// How many times as much the next rung asks for.
    pub(in crate::report::html) factor_to_next: Option<f64>,
    pub(in crate::report::html) next: Option<f64>,
    pub(in crate::report::html) n_proved: usize,
    pub(in crate::report::html) chart: Option<Chart>,
}

/// Where each device stands by the rules of the day on which the last of its runs ended, and that
/// day. Nothing that was altered proves anything.
pub(in crate::report::html) fn standings(view: &View) -> Option<(Date, Vec<Standing>)> {
    let intact = view.files.iter().filter(|file| file.integrity == Integrity::Intact);
    // Rounds of several runs may be those of several devices.
    let sources: Vec<Source> = intact
        .filter_map(|file| Some(Source { name: &file.name, file: file.result()? }))
        .filter(|source| source.file.run.merged.len() <= 1)
        .collect();
    let day = sources.iter().filter_map(|source| day_of(&source.file.run.finished)).max()?;
    let mut sets = rules::embedded().ok()?;
    sets.retain(|set| !set.is_optional);
    let ladders = ladders(&sets, When::On(day));
    let devices = Evidence::by_device(&sources, None).ok()?;
    let standings: Vec<Standing> = devices
        .iter()
        .take(MAX_DEVICES)
        .flat_map(|device| {
            device.floors.iter().filter_map(|(metric, floor)| {
                let ladder = ladders.iter().find(|ladder| ladder.metric == *metric)?;
                Some(standing(&device.name(), ladder, floor.value, &floor.basis.text, floor))
            })
        })
        .collect();
    (!standings.is_empty()).then_some((day, standings))
}

fn day_of(time: &str) -> Option<Date> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(time).date())
}

fn standing(
    device: &str,
    ladder: &Ladder,
    floor: f64,
    basis: &str,
    end: &crate::classify::interval::End,
) -> Standing {
    let interval =
        crate::classify::interval::Interval { lower: Some(end.clone()), ..Default::default() };
    let standing = ladder.standing(&interval, true);
    Standing {
        device: text(device),
        metric: ladder.metric,
        floor,
        basis: text(basis),
        factor_to_next: standing.factor_to_next,
        next: ladder.rungs.get(standing.n_proved).map(|rung| rung.threshold),
        n_proved: standing.n_proved,
        chart: chart(device, ladder, floor),
    }
}

/// An amount with its unit.
pub(in crate::report::html) fn amount(metric: Metric, value: f64) -> String {
    format!("{} {}", number(value), metric.unit()).trim_end().to_owned()
}

fn number(value: f64) -> String {
    if value >= 1_000.0 { format!("{value:.0}") } else { significant(value) }
}

fn chart(device: &str, ladder: &Ladder, floor: f64) -> Option<Chart> {
    let metric = ladder.metric;
    let rungs = ladder.rungs.iter().map(|rung| rung.threshold);
    let title = match metric.unit() {
        "" => metric.title().to_owned(),
        unit => format!("{}, {unit}", metric.title()),
    };
    let x = Axis::log(&title, rungs.chain([floor]), number)?;
    let y = Axis {
        title: String::new(),
        ticks: Vec::new(),
        ..Axis::around("", [0.0, 1.0].into_iter(), |_| String::new())?
    };
    let mut series: Vec<Series> = ladder
        .rungs
        .iter()
        .enumerate()
        .map(|(i, rung)| {
            // Names of neighbouring rungs stand below each other.
            let top = 1.0 - 0.2 * (i % 3) as f64;
            let at = |y| Point { x: rung.threshold, y, ..Point::default() };
            let sign = if rung.includes_threshold { "" } else { "> " };
            Series {
                name: format!("{sign}{}", number(rung.threshold)),
                look: 0,
                kind: Kind::Limit,
                points: vec![at(0.0), at(top)],
            }
        })
        .collect();
    let tip = |at: &str| Some(format!("{}: {} {at}", text(device), amount(metric, floor)));
    let point = Point { x: floor, y: 0.12, tip: tip("proved at least"), ..Point::default() };
    let start = Point { x: 10_f64.powf(x.range.0), y: 0.12, ..Point::default() };
    let points = vec![start, point];
    series.push(Series { name: String::new(), look: 0, kind: Kind::Joined, points });
    Some(Chart {
        title: format!("{} of {}", metric.title(), text(device)),
        caption: String::new(),
        x,
        y,
        series,
        height: 150,
    })
}
