//! What casts doubt on a figure: each with what was seen, and what to do.

use std::collections::BTreeMap;

use crate::measure::{self, Drift};
use crate::result::derive::{Context, rates};
use crate::result::file::*;
use crate::stats;

/// Shares from which others' use of the processors is worth saying.
const LOAD_WORTH_SAYING: f64 = 0.05;
/// A clock that changes less than this is as steady as clocks are.
const CLOCK_STEADY_WITHIN: f64 = 0.05;
/// Words that take so many times as long between threads went another way: on EPYC of Zen 3 they took
/// 35 to 58 ns or 202 to 252 (`docs/performance.md`).
pub const HANDOVER_FAR_BEYOND: f64 = 2.5;
/// Rounds whose standard deviation is beyond this share of their mean are noisy.
const NOISY_BEYOND: f64 = 0.1;
/// Rounds from which an interval for the median covers it with more than 90 %.
const ROUNDS_WANTED: u32 = 5;
/// A pass of fewer clock steps than this is not well measured.
const CLOCK_STEPS_WANTED: u64 = 1_000;

/// Something that casts doubt on a figure.
#[derive(Clone, Debug, PartialEq)]
enum Warning {
    Drift(Drift),
    ClockChange { slowest: f64, fastest: f64 },
    ThreadsMoved { shortest_ns: f64, longest_ns: f64 },
    Throttled { events: u64 },
    GpuThrottled { rounds: u32, of: u32, reasons: Vec<ThrottleFile> },
    OtherLoad { share: f64 },
    Steal { share: f64 },
    Noisy { share: f64 },
    FewRounds { rounds: u32, planned: u32 },
    ShortPasses { pass_ns: u64, resolution_ns: u64 },
    WarmUpCutShort,
    CeilingUnderMeasured { share: f64 },
    AboveRating { share: f64 },
    PartialRound { passes: u64 },
    InjectedSlowdown { share: f64 },
}

/// Warnings from rounds alone, so that they can be found again from a file.
pub(super) fn of_rounds(rounds: &[RoundFile], planned: u32, context: &Context) -> Vec<WarningFile> {
    if rounds.is_empty() {
        return Vec::new();
    }
    let blocks: Vec<u64> = rounds.iter().flat_map(|r| r.block_pass_ns.iter().copied()).collect();
    let conditions = || rounds.iter().filter_map(|round| round.conditions.as_ref());
    let mean_share = |share: fn(&ConditionsFile) -> Option<f64>| {
        stats::mean(&conditions().filter_map(share).collect::<Vec<_>>())
            .filter(|share| *share > LOAD_WORTH_SAYING)
    };
    let throttled: u64 =
        conditions().filter_map(|c| c.throttle_events).fold(0, u64::saturating_add);
    let n_rounds = rounds.len() as u32;
    let per_pass = rates(1, rounds);
    let variation = stats::stddev(&per_pass).zip(stats::mean(&per_pass)).map(|(sd, m)| sd / m);
    let pass_ns = rounds.iter().map(|round| round.min_pass_ns).min().unwrap_or(0);
    let too_coarse =
        context.clock_resolution_ns.filter(|ns| pass_ns < ns.saturating_mul(CLOCK_STEPS_WANTED));

    let partial = rounds.iter().find(|round| round.stop == StopFile::Interrupted);

    let warnings = [
        measure::drift(&blocks).map(Warning::Drift),
        clock_change(conditions()),
        threads_moved(conditions()),
        (throttled > 0).then_some(Warning::Throttled { events: throttled }),
        gpu_throttled(conditions(), n_rounds),
        mean_share(|c| c.other_load_share).map(|share| Warning::OtherLoad { share }),
        mean_share(|c| c.steal_share).map(|share| Warning::Steal { share }),
        variation.filter(|v| *v > NOISY_BEYOND).map(|share| Warning::Noisy { share }),
        (n_rounds < ROUNDS_WANTED).then_some(Warning::FewRounds { rounds: n_rounds, planned }),
        too_coarse.map(|resolution_ns| Warning::ShortPasses { pass_ns, resolution_ns }),
        partial.map(|round| Warning::PartialRound { passes: round.passes }),
    ];
    warnings.into_iter().flatten().map(|warning| warning.file()).collect()
}

/// A warm-up that a maximum ended before its passes were steady.
pub(super) fn of_warm_up(warm_up: &WarmUpFile) -> Option<WarningFile> {
    let cut_short = warm_up.steady == Some(false) && warm_up.passes > 1;
    cut_short.then(|| Warning::WarmUpCutShort.file())
}

/// A case above a ceiling.
pub(super) fn of_roofline(roofline: &RooflineFile) -> Option<WarningFile> {
    let share = roofline.ceiling_share.filter(|share| *share > 1.0)?;
    Some(Warning::CeilingUnderMeasured { share }.file())
}

/// A figure above what the device is rated for.
pub(super) fn of_rating(rating: Option<&RatingFile>) -> Option<WarningFile> {
    match rating? {
        RatingFile::Known { share, .. } if *share > 1.0 => {
            Some(Warning::AboveRating { share: *share }.file())
        }
        _ => None,
    }
}

/// What was slowed down on purpose.
pub(super) fn of_injected_slowdown(share: Option<f64>) -> Option<WarningFile> {
    share.map(|share| Warning::InjectedSlowdown { share }.file())
}

fn clock_change<'a>(conditions: impl Iterator<Item = &'a ConditionsFile>) -> Option<Warning> {
    let speeds: Vec<f64> = conditions
        .flat_map(|c| [c.core_speed_before_per_s, c.core_speed_after_per_s])
        .flatten()
        .filter(|speed| *speed > 0.0)
        .collect();
    let slowest = speeds.iter().copied().min_by(f64::total_cmp)?;
    let fastest = speeds.iter().copied().max_by(f64::total_cmp)?;
    let changed = fastest / slowest - 1.0 > CLOCK_STEADY_WITHIN;
    changed.then_some(Warning::ClockChange { slowest, fastest })
}

fn threads_moved<'a>(conditions: impl Iterator<Item = &'a ConditionsFile>) -> Option<Warning> {
    let times_ns: Vec<f64> =
        conditions.flat_map(|c| [c.handover_before_ns, c.handover_ns]).flatten().collect();
    let shortest_ns = times_ns.iter().copied().min_by(f64::total_cmp)?;
    let longest_ns = times_ns.iter().copied().max_by(f64::total_cmp)?;
    let moved = longest_ns > HANDOVER_FAR_BEYOND * shortest_ns;
    moved.then_some(Warning::ThreadsMoved { shortest_ns, longest_ns })
}

fn gpu_throttled<'a>(
    conditions: impl Iterator<Item = &'a ConditionsFile>,
    of: u32,
) -> Option<Warning> {
    let (mut rounds, mut seen) = (0, Vec::new());
    for gpu in conditions.filter_map(|c| c.gpu.as_ref()) {
        let reasons: Vec<&ThrottleFile> = gpu.held_back_by().collect();
        rounds += u32::from(!reasons.is_empty());
        for reason in reasons {
            if !seen.contains(reason) {
                seen.push(reason.clone());
            }
        }
    }
    (rounds > 0).then_some(Warning::GpuThrottled { rounds, of, reasons: seen })
}

impl Warning {
    fn kind(&self) -> WarningKindFile {
        match self {
            Warning::Drift(Drift::Trend { .. }) => WarningKindFile::Trend,
            Warning::Drift(Drift::Step { .. }) => WarningKindFile::Step,
            Warning::ClockChange { .. } => WarningKindFile::ClockChange,
            Warning::ThreadsMoved { .. } => WarningKindFile::ThreadsMoved,
            Warning::Throttled { .. } => WarningKindFile::Throttled,
            Warning::GpuThrottled { .. } => WarningKindFile::GpuThrottled,
            Warning::OtherLoad { .. } => WarningKindFile::OtherLoad,
            Warning::Steal { .. } => WarningKindFile::Steal,
            Warning::Noisy { .. } => WarningKindFile::Noisy,
            Warning::FewRounds { .. } => WarningKindFile::FewRounds,
            Warning::ShortPasses { .. } => WarningKindFile::ShortPasses,
            Warning::WarmUpCutShort => WarningKindFile::WarmUpCutShort,
            Warning::CeilingUnderMeasured { .. } => WarningKindFile::CeilingUnderMeasured,
            Warning::AboveRating { .. } => WarningKindFile::AboveRating,
            Warning::PartialRound { .. } => WarningKindFile::PartialRound,
            Warning::InjectedSlowdown { .. } => WarningKindFile::InjectedSlowdown,
        }
    }

    /// What was seen, with its figures.
    fn seen(&self) -> String {
        let percent = |share: &f64| format!("{:.1} %", share.abs() * 100.0);
        let slower = |change: &f64| if *change > 0.0 { "slower" } else { "faster" };
        match self {
            Warning::Drift(Drift::Trend { change, .. }) => {
                format!("passes became {} {} from first to last", percent(change), slower(change))
            }
            Warning::Drift(Drift::Step { index, change, .. }) => format!(
                "passes became {} {} at once, at block {index} of the series",
                percent(change),
                slower(change)
            ),
            Warning::ClockChange { slowest, fastest } => format!(
                "a core ran {} faster around some rounds than around others",
                percent(&(fastest / slowest - 1.0))
            ),
            Warning::ThreadsMoved { shortest_ns, longest_ns } => format!(
                "a word took {shortest_ns:.0} ns from one thread to another at one time and \
                 {longest_ns:.0} ns at another"
            ),
            Warning::Throttled { events } => format!("the processor throttled {events} times"),
            Warning::GpuThrottled { rounds, of, reasons } => {
                let reasons: Vec<&str> = reasons.iter().map(ThrottleFile::as_str).collect();
                format!(
                    "the device held its clocks down in {rounds} of {of} rounds ({})",
                    reasons.join(", ")
                )
            }
            Warning::OtherLoad { share } => {
                format!("other processes took {} of the processors' time", percent(share))
            }
            Warning::Steal { share } => {
                format!("the hypervisor gave {} of the processors' time to others", percent(share))
            }
            Warning::Noisy { share } => {
                format!("the standard deviation of rounds is {} of their mean", percent(share))
            }
            Warning::FewRounds { rounds, planned } => {
                format!(
                    "{rounds} of {planned} planned rounds were measured, and {ROUNDS_WANTED} are wanted"
                )
            }
            Warning::ShortPasses { pass_ns, resolution_ns } => {
                format!("a pass of {pass_ns} ns is short for a clock of {resolution_ns} ns")
            }
            Warning::WarmUpCutShort => "warm-up ended before passes were steady".into(),
            Warning::CeilingUnderMeasured { share } => {
                format!("the case reached {} of the ceiling it was held against", percent(share))
            }
            Warning::AboveRating { share } => {
                format!(
                    "INVALID: the fastest pass is at {} of what the device is rated for",
                    percent(share)
                )
            }
            Warning::InjectedSlowdown { share } => {
                format!(
                    "NOT A MEASUREMENT: every iteration was slowed down by {} on purpose",
                    percent(share)
                )
            }
            Warning::PartialRound { passes } => {
                format!("a round was interrupted after {passes} of its passes")
            }
        }
    }

    fn figures(&self) -> BTreeMap<String, f64> {
        let figures: Vec<(&str, f64)> = match *self {
            Warning::Drift(Drift::Trend { change, p_value }) => {
                vec![("change", change), ("p_value", p_value)]
            }
            Warning::Drift(Drift::Step { index, change, p_value }) => {
                vec![("block", index as f64), ("change", change), ("p_value", p_value)]
            }
            Warning::ClockChange { slowest, fastest } => {
                vec![("slowest_per_s", slowest), ("fastest_per_s", fastest)]
            }
            Warning::ThreadsMoved { shortest_ns, longest_ns } => {
                vec![("shortest_ns", shortest_ns), ("longest_ns", longest_ns)]
            }
            Warning::Throttled { events } => vec![("events", events as f64)],
            Warning::GpuThrottled { rounds, of, .. } => {
                vec![("rounds", rounds.into()), ("of", of.into())]
            }
            Warning::OtherLoad { share }
            | Warning::Steal { share }
            | Warning::Noisy { share }
            | Warning::AboveRating { share }
            | Warning::InjectedSlowdown { share }
            | Warning::CeilingUnderMeasured { share } => vec![("share", share)],
            Warning::PartialRound { passes } => vec![("passes", passes as f64)],
            Warning::FewRounds { rounds, planned } => {
                vec![("rounds", rounds.into()), ("planned", planned.into())]
            }
            Warning::ShortPasses { pass_ns, resolution_ns } => {
                vec![("pass_ns", pass_ns as f64), ("resolution_ns", resolution_ns as f64)]
            }
            Warning::WarmUpCutShort => vec![],
        };
        figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn file(&self) -> WarningFile {
        WarningFile {
            kind: self.kind(),
            message: match self.kind().explained() {
                Some(explained) => format!("{}, so {}", self.seen(), explained.consequence),
                None => self.seen(),
            },
            advice: self.kind().explained().map_or("", |explained| explained.advice).into(),
            figures: self.figures(),
        }
    }
}

/// What a kind of warning means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// When it is said.
    pub meaning: &'static str,
    /// What follows for the figures, as the end of a sentence that begins with "so".
    pub consequence: &'static str,
    /// What to do.
    pub advice: &'static str,
}

impl WarningKindFile {
    /// What it means; absent for a kind that a newer version added.
    pub fn explained(&self) -> Option<Explained> {
        let (meaning, consequence, advice) = match self {
            Self::Trend => (
                "pass times grew or shrank by 5 % or more from the first to the last (Mann's and \
                 Kendall's test, p < 0.017)",
                "the median depends on how long was measured",
                "let the machine settle, warm up longer (-w), or find what changed",
            ),
            Self::Step => (
                "pass times changed by 5 % or more at one moment (Pettitt's test, p < 0.017)",
                "the median depends on when in the run that came",
                "let the machine settle, warm up longer (-w), or find what changed",
            ),
            Self::ClockChange => (
                "the speed of a core, as dependent integer steps per second, differed by more than 5 % \
                 between moments around the rounds",
                "differences of that size to another run say nothing of the software",
                "fix the frequency (governor `performance`, no boost) and compare within one run only",
            ),
            Self::ThreadsMoved => (
                "a word took more than 2.5 times as long from one of two threads to the other at one \
                 time as at another",
                "the two threads were near each other at one time and far at another, and if \
                 they were so in them, those may differ in what they reach of memory, too",
                "bind threads to cores (--cpu-strict 1); in a virtual machine use one whose processors \
                 have cores of their own, and compare rounds of like times only",
            ),
            Self::Throttled => (
                "the processor counted throttling during rounds",
                "the figures are those of a processor that held itself back",
                "improve cooling or lower the power target",
            ),
            Self::GpuThrottled => (
                "a sample of a busy device said that its power limit, heat or a brake from outside held \
                 its clocks down",
                "the figures are those of a device that held itself back, and change with its \
                 temperature and its neighbours",
                "improve cooling, raise the power limit, or fix lower clocks (`nvidia-smi -lgc`) and say \
                 so",
            ),
            Self::OtherLoad => (
                "other processes took more than 5 % of the processors' time during rounds",
                "the figures are lower than those of an idle machine, and differ from run to run",
                "stop other programs, or leave them a core with -t",
            ),
            Self::Steal => (
                "the hypervisor gave more than 5 % of the processors' time to other machines during \
                 rounds",
                "the figures are those of what was left, and change with the neighbours",
                "use a machine or an instance with processors of its own",
            ),
            Self::Noisy => (
                "the standard deviation of rounds is more than 10 % of their mean",
                "a difference to another run that is no larger may be none",
                "measure longer rounds (--min-time) or more of them (-r)",
            ),
            Self::FewRounds => (
                "fewer than five rounds were measured",
                "the interval of the median holds it with less than 90 %, or there is none",
                "give it -r 5 or more, and more --max-time",
            ),
            Self::ShortPasses => (
                "the fastest pass is shorter than a thousand steps of the clock",
                "the clock's own step may be more than a thousandth of a time",
                "give it more work per pass (-p, -n, -b)",
            ),
            Self::WarmUpCutShort => (
                "warm-up reached its maximum before passes were steady",
                "the first rounds may still be slower than the others",
                "warm up longer (-w, --min-time)",
            ),
            Self::CeilingUnderMeasured => (
                "a case did more per second than the ceiling that it was held against",
                "that ceiling is not the most that the machine can do",
                "do not trust the share: measure the ceilings alone with `benchinf probe`",
            ),
            Self::AboveRating => (
                "the fastest pass is above what the device can do at most by its rating",
                "it cannot be right, and nothing is claimed from it",
                "do not use the figure: suspect the count of operations, the format, sparsity, or a \
                 clock that was read before the work was done",
            ),
            Self::InjectedSlowdown => (
                "BENCHINF_TEST_SLOWDOWN was set, which makes every iteration slower on purpose",
                "the figures are no measurement",
                "measure again without BENCHINF_TEST_SLOWDOWN",
            ),
            Self::PartialRound => (
                "a round was interrupted and is shorter than the others",
                "it counts like the others and says less",
                "go on with `benchinf run --resume`, which measures it anew",
            ),
            Self::Other(_) => return None,
        };
        Some(Explained { meaning, consequence, advice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_were_near_and_far_are_a_warning_and_those_of_one_way_are_not() {
        let warned = |times_ns: &[Option<f64>]| -> Option<String> {
            let conditions = |ns: &Option<f64>| -> ConditionsFile {
                serde_json::from_value(serde_json::json!({ "handover_ns": ns })).unwrap()
            };
            let rounds: Vec<ConditionsFile> = times_ns.iter().map(conditions).collect();
            Some(threads_moved(rounds.iter())?.seen())
        };
        let within = serde_json::json!({ "handover_before_ns": 190.0, "handover_ns": 40.0 });
        let within: ConditionsFile = serde_json::from_value(within).unwrap();
        assert!(threads_moved(std::iter::once(&within)).is_some());
        assert_eq!(warned(&[]), None);
        assert_eq!(warned(&[None, Some(21.0), None]), None);
        assert_eq!(warned(&[Some(21.0), Some(45.0), Some(30.0)]), None);
        assert_eq!(
            warned(&[Some(45.0), None, Some(167.4), Some(21.2)]).as_deref(),
            Some("a word took 21 ns from one thread to another at one time and 167 ns at another")
        );
    }

    #[test]
    fn what_holds_a_busy_device_back_is_a_warning_and_what_was_chosen_is_not() {
        let conditions = |samples: u32, reasons: &[&str]| -> ConditionsFile {
            let gpu = serde_json::json!({ "samples": samples, "throttle_reasons": reasons });
            serde_json::from_value(serde_json::json!({ "gpu": gpu })).unwrap()
        };
        let warned = |rounds: &[ConditionsFile]| -> Option<String> {
            Some(gpu_throttled(rounds.iter(), rounds.len() as u32)?.seen())
        };
        let free = conditions(7, &["application_clocks", "sync_boost"]);
        let idle = conditions(0, &["idle", "power_cap"]);
        assert_eq!(warned(&[free.clone(), idle.clone(), conditions(3, &[])]), None);
        let capped = conditions(7, &["power_cap", "application_clocks"]);
        let hot = conditions(1, &["hardware_slowdown", "hardware_thermal", "power_cap"]);
        assert_eq!(
            warned(&[capped, free, hot, idle]).as_deref(),
            Some(
                "the device held its clocks down in 2 of 4 rounds (power_cap, hardware_slowdown, \
                 hardware_thermal)"
            )
        );
        // One sample after the round, as files before 1.3 have it, shows nothing of it.
        let old = serde_json::json!({ "gpu": { "throttle_reasons": ["power_cap"] } });
        assert_eq!(warned(&[serde_json::from_value(old).unwrap()]), None);
    }
}
