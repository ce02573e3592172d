//! The tier line of a run: what its file proves under the rules of its day.

use jiff::civil::Date;

use crate::classify::evidence::{Evidence, Source};
use crate::classify::interval::Interval;
use crate::classify::ladder;
use crate::classify::metric::Metric;
use crate::classify::rules;
use crate::classify::verdict::When;
use crate::result::ResultFile;

/// Where a run stands on one ladder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunTier {
    /// What was compared.
    pub metric: Metric,
    /// The highest threshold that the run proves; absent if none.
    pub proved: Option<f64>,
    /// The lowest that it does not.
    pub next: Option<f64>,
    /// That by what it proves.
    pub factor_to_next: Option<f64>,
}

/// The tiers that a run proves of one package, under the rules in force on the day it ended, and
/// that day. Absent where it proves nothing, does not say when it was, or was merged from runs that
/// may be of several devices.
pub fn tiers_of_run(file: &ResultFile) -> Option<(Date, Vec<RunTier>)> {
    let finished: jiff::Timestamp = file.run.finished.parse().ok()?;
    let day = jiff::tz::Offset::UTC.to_datetime(finished).date();
    let mut sets = rules::embedded().ok()?;
    sets.retain(|set| !set.is_optional);
    let evidence = Evidence::by_device(&[Source { name: "", file }], None).ok()?.pop()?;
    let ladders = ladder::ladders(&sets, When::On(day));
    let tiers = evidence.floors.iter().filter_map(|(metric, floor)| {
        let ladder = ladders.iter().find(|ladder| ladder.metric == *metric)?;
        let interval = Interval { lower: Some(floor.clone()), ..Interval::default() };
        let standing = ladder.standing(&interval, true);
        let at = |i: usize| ladder.rungs.get(i).map(|rung| rung.threshold);
        Some(RunTier {
            metric: *metric,
            proved: standing.n_proved.checked_sub(1).and_then(at),
            next: at(standing.n_proved),
            factor_to_next: standing.factor_to_next,
        })
    });
    let tiers: Vec<RunTier> = tiers.collect();
    (!tiers.is_empty()).then_some((day, tiers))
}
