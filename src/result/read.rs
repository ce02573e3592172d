//! Reading a result file back, and holding it against itself.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::result::file::*;
use crate::result::format::FormatVersion;
use crate::result::integrity::{self, Verdict};
use crate::result::latency::Series;
use crate::result::{convert, derive};

/// Reads a result file of any version that this build knows.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened, [`Error::ResultFile`] if it is not a result file, is
/// of a newer major version, or contradicts itself.
pub fn read(path: &Path) -> Result<ResultFile> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    parse(&text).map_err(|problem| Error::ResultFile { path: path.into(), problem })
}

/// Reads a result file that must be as it was written. A file of a version without digests is
/// taken as it is.
///
/// # Errors
/// As [`read`], or [`Error::Altered`].
pub fn read_intact(path: &Path) -> Result<ResultFile> {
    let file = read(path)?;
    match verify_file(path)? {
        Verdict::Altered { records } => Err(Error::Altered { path: path.into(), records }),
        Verdict::Unreadable { problem } => Err(Error::ResultFile { path: path.into(), problem }),
        Verdict::Intact { .. } | Verdict::NoDigests => Ok(file),
    }
}

/// Holds a file against its digests.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened.
pub fn verify_file(path: &Path) -> Result<Verdict> {
    Ok(integrity::verify(&std::fs::read(path).map_err(Error::read(path))?))
}

/// Reads a result file's text.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub fn parse(text: &str) -> std::result::Result<ResultFile, String> {
    // The version alone first: a newer file may fail to parse in ways that would only confuse.
    #[derive(Deserialize)]
    struct Head {
        format_version: FormatVersion,
    }
    let head: Head =
        serde_json::from_str(text).map_err(|e| format!("this is not a result file: {e}"))?;
    head.format_version.check_readable()?;
    let file: ResultFile = serde_json::from_str(text)
        .map_err(|e| format!("this result file is damaged or was edited: {e}"))?;
    let is_before_digests = (file.format_version.major, file.format_version.minor) < (1, 1);
    let proves = |case: &CaseFile| case.claims.is_some() || case.check.is_some();
    if is_before_digests
        && (file.integrity.is_some() || !file.ceilings.is_empty() || file.cases.iter().any(proves))
    {
        return Err(format!(
            "format version {} has neither ceilings nor claims nor digests, but this file has",
            file.format_version
        ));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(case) = file.cases.iter().find(|case| !seen.insert(case.id.as_str())) {
        return Err(format!("case {} appears twice", case.id));
    }
    let ceilings = file.ceilings.iter();
    let mut seen = std::collections::HashSet::new();
    for ceiling in ceilings {
        let of = |problem| format!("ceiling {}: {problem}", ceiling.id);
        if !seen.insert(ceiling.id.as_str()) {
            return Err(of("it appears twice".into()));
        }
        check_ceiling(ceiling).map_err(of)?;
        ceiling.claims.iter().try_for_each(|c| check_claims(c, &ceiling.rounds)).map_err(of)?;
    }
    for case in &file.cases {
        let of = |problem| format!("case {}: {problem}", case.id);
        if !file.plan.models.iter().any(|model| model.label == case.axes.model) {
            return Err(of("it is of a model that the plan does not have".into()));
        }
        check_case(case).map_err(of)?;
    }
    Ok(file)
}

/// What must agree inside a case, whoever wrote it.
fn check_case(case: &CaseFile) -> std::result::Result<(), String> {
    check_axes(case)?;
    let is_measured = case.outcome == OutcomeFile::Measured;
    if is_measured == case.rounds.is_empty() || is_measured == case.latencies.is_empty() {
        return Err(format!(
            "its outcome does not fit its {} rounds and {} latencies",
            case.rounds.len(),
            case.latencies.len()
        ));
    }
    check_rounds(&case.rounds)?;
    check_throughput(case)?;
    case.claims.iter().try_for_each(|claims| check_claims(claims, &case.rounds))?;
    for latency in &case.latencies {
        check_latency(latency).map_err(|problem| format!("{}: {problem}", latency.metric))?;
    }
    Ok(())
}

fn check_rounds(rounds: &[RoundFile]) -> std::result::Result<(), String> {
    for round in rounds {
        let within = |ns: u64| (round.min_pass_ns..=round.max_pass_ns).contains(&ns);
        if round.passes == 0 || !within(round.total_ns / round.passes) {
            return Err("the mean pass of a round is not between its extremes".into());
        }
    }
    Ok(())
}

/// Id, test name and tokens follow from the axes.
fn check_axes(case: &CaseFile) -> std::result::Result<(), String> {
    let live = convert::case_of(&case.axes)?;
    let found = (case.id.as_str(), case.axes.test.as_str(), case.work.tokens);
    match found == (&live.id(), &live.test_name(), live.tokens_per_pass()) {
        true => Ok(()),
        false => Err("its id, test or tokens are not those of its axes".into()),
    }
}

fn check_ceiling(ceiling: &CeilingFile) -> std::result::Result<(), String> {
    if convert::probe_of(ceiling)?.id() != ceiling.id {
        return Err("its id is not that of its axes".into());
    }
    let is_measured = ceiling.outcome == OutcomeFile::Measured;
    if is_measured == ceiling.rounds.is_empty() || (ceiling.rate.is_some() && !is_measured) {
        return Err("its outcome does not fit its rounds".into());
    }
    check_rounds(&ceiling.rounds)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn check_throughput(case: &CaseFile) -> std::result::Result<(), String> {
    let all_close =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b));
    let agree = match (derive::throughput(case), &case.throughput) {
        (None, None) => true,
        (Some(found), Some(stated)) => {
            let centre = |t: &ThroughputFile| [t.mean_tokens_per_s, t.median_tokens_per_s];
            let (stddev, stated_stddev) = (found.stddev_tokens_per_s, stated.stddev_tokens_per_s);
            let ends = |t: &ThroughputFile| t.interval.as_ref().map(|i| [i.lower, i.upper]);
            all_close(&found.rounds_tokens_per_s, &stated.rounds_tokens_per_s)
                && all_close(&centre(&found), &centre(stated))
                && stddev.is_some() == stated_stddev.is_some()
                && stddev
                    .zip(stated_stddev)
                    .is_none_or(|(a, b)| (a - b).abs() <= 1e-6 * found.mean_tokens_per_s)
                && ends(&found).zip(ends(stated)).is_none_or(|(a, b)| all_close(&a, &b))
        }
        _ => false,
    };
    match agree {
        true => Ok(()),
        false => Err("its throughput is not its tokens by the time of its rounds".into()),
    }
}

fn check_latency(latency: &LatencyFile) -> std::result::Result<(), String> {
    let found = Series::of_file(latency)?;
    if !found.mean_ns().is_some_and(|mean_ns| close(latency.mean_ns, mean_ns)) {
        return Err("the mean is not the sum by the count".into());
    }
    for (name, ns) in &latency.percentiles_ns {
        if found.percentile_ns(name) != Some(*ns) {
            return Err(format!(
                "{name} is not {ns} ns by the histogram, or it has too few values"
            ));
        }
    }
    Ok(())
}

/// A claim's floor is its work by its bracket and the clock's resolution, and its window a round.
fn check_claims(claims: &ClaimsFile, rounds: &[RoundFile]) -> std::result::Result<(), String> {
    for claim in &claims.existence {
        let window_ns = claim.bracket_ns.saturating_add(claim.clock_resolution_ns);
        let found = claim.work as f64 / (window_ns as f64 / 1e9);
        let bits = claim.operand_bits.map(|bits| found / 1e12 * f64::from(bits));
        let round = rounds.get(claim.round_idx as usize);
        let tpp_agrees = match (bits, claim.tpp_at_least) {
            (Some(found), Some(stated)) => close(found, stated),
            (found, stated) => found.is_none() && stated.is_none(),
        };
        let window_agrees = round.is_some_and(|round| {
            round.min_pass_ns == claim.bracket_ns && round.min_pass_idx == Some(claim.pass_idx)
        });
        if window_ns == 0 || !close(found, claim.per_second_at_least) || !tpp_agrees {
            return Err("a claim is not its work by its time".into());
        }
        if !window_agrees {
            return Err("a claim's window is not the fastest pass of its round".into());
        }
    }
    Ok(())
}
