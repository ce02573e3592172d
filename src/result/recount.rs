//! A file held against itself: work counted anew from the shapes, and everything that follows from
//! rounds and histograms derived anew, and compared with what the file states.
//!
//! A file of this commit of benchinf must state all of it, to the word. Another may derive other
//! things and put them in other words, so of its files the figures are compared that every one of
//! them states by the same definitions: throughput, latencies, rates, shares and claims.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use crate::case::DeviceSpec;
use crate::measure::Metric;
use crate::model::DecoderConfig;
use crate::probe::ProbeKind;
use crate::result::file::*;
use crate::result::format::FORMAT_VERSION;
use crate::result::latency::Series;
use crate::result::{claims, convert, derive, sha256_of};
use crate::units::Bytes;

type Outcome = Result<(), String>;

/// A core's steps per second are far below this; beyond it, ratios would leave what files can hold.
const MAX_STEPS_PER_S: f64 = 1e15;

/// The largest product that a probe could have run: its entries are numbered in 32 bits.
const MAX_GEMM_SIZE: u32 = 1 << 15;

/// Whether everything in a file is what this build derives, or is to be held against definitions
/// alone.
pub(super) fn is_of_this_build(file: &ResultFile) -> bool {
    let of_commit = file.tool.commit.as_deref().unwrap_or_default() == env!("BENCHINF_COMMIT");
    let of_version = file.tool.version == env!("CARGO_PKG_VERSION");
    file.format_version == FORMAT_VERSION && of_version && of_commit
}

/// Counts the work of every case and ceiling anew.
///
/// # Errors
/// What does not agree.
pub(super) fn check_work(file: &ResultFile) -> Outcome {
    let mut configs = HashMap::new();
    for model in &file.plan.models {
        let of = |problem: String| format!("plan.models `{}`: {problem}", model.label);
        match DecoderConfig::parse(&model.config.to_string(), "config") {
            Ok(config) => {
                if model.n_params != crate::model::cost::n_params(&config) {
                    return Err(of("n_params is not that of its config".into()));
                }
                configs.insert(model.label.as_str(), config);
            }
            // A newer version may know more families.
            Err(_) if file.format_version.minor > FORMAT_VERSION.minor => {}
            Err(error) => return Err(of(error.to_string())),
        }
        if model.config_sha256.as_ref().is_some_and(|sha| *sha != sha256_of(&model.config)) {
            return Err(of("config_sha256 is not that of its config".into()));
        }
    }
    for case in &file.cases {
        let Some(config) = configs.get(case.axes.model.as_str()) else { continue };
        let found = convert::case_file(&convert::case_of(&case.axes)?, config).work;
        let forward_passes = case.work.forward_passes.or(found.forward_passes);
        if (WorkFile { forward_passes, ..case.work }) != found {
            return Err(format!("case {}: its work is not that of its model's shape", case.id));
        }
    }
    file.ceilings.iter().try_for_each(|ceiling| {
        check_probe_work(ceiling).map_err(|problem| format!("ceiling {}: {problem}", ceiling.id))
    })
}

/// That a ceiling has the sizes of its probe, and the work that follows from them.
///
/// # Errors
/// What does not agree.
pub fn check_probe_work(ceiling: &CeilingFile) -> Outcome {
    let probe = convert::probe_of(ceiling)?;
    let is_gemm = matches!(probe.kind, ProbeKind::Gemm { .. });
    if ceiling.gemm_size.is_some() != is_gemm
        || ceiling.working_set_bytes.is_some() == is_gemm
        || ceiling.gemm_size.is_some_and(|size| size == 0 || size > MAX_GEMM_SIZE)
        || ceiling.working_set_bytes == Some(Bytes(0))
    {
        return Err("its sizes are not those of its probe".into());
    }
    // Before 1.3 no probe ran on a device, and what a product there would have written was another
    // size.
    if ceiling.rounds.is_empty() && probe.device != DeviceSpec::Cpu {
        return Ok(());
    }
    let work = convert::probe_sizes(ceiling).work(&probe);
    match (work.flops, work.bytes) == (ceiling.flops, ceiling.bytes) {
        true => Ok(()),
        false => Err("its work is not that of its size".into()),
    }
}

/// What must agree among rounds.
///
/// # Errors
/// What does not.
pub(super) fn check_rounds(rounds: &[RoundFile], iterations_per_pass: Option<u64>) -> Outcome {
    for round in rounds {
        let within = |ns: u64| (round.min_pass_ns..=round.max_pass_ns).contains(&ns);
        if round.passes == 0 || !within(round.total_ns / round.passes) {
            return Err("the mean pass of a round is not between its extremes".into());
        }
        if !round.block_pass_ns.iter().all(|ns| within(*ns)) {
            return Err("a block of a round is not between its extremes".into());
        }
        if round.ttft_total_ns.is_some_and(|ns| ns > round.total_ns) {
            return Err("first tokens of a round took longer than the whole of it".into());
        }
        if round.device_time.is_some_and(|device| device.launch_ns > round.total_ns) {
            return Err("giving the work of a round out took longer than the whole of it".into());
        }
        // The device's clock is another, and its events have half a microsecond each.
        let slack_ns = round.iterations.saturating_mul(1_000).saturating_add(round.total_ns / 100);
        let longest_ns = round.total_ns.saturating_add(slack_ns);
        if round.device_time.is_some_and(|device| device.device_ns > longest_ns) {
            return Err("the device took longer for a round than the whole of it".into());
        }
        if round.min_pass_idx.is_some_and(|idx| idx >= round.passes) {
            return Err("the fastest pass of a round is not one of its passes".into());
        }
        let expected = iterations_per_pass.map(|n| round.passes.saturating_mul(n));
        if expected.is_some_and(|expected| expected != round.iterations) {
            return Err("the iterations of a round are not those of its passes".into());
        }
        round.conditions.as_ref().map_or(Ok(()), check_conditions)?;
    }
    Ok(())
}

fn check_conditions(conditions: &ConditionsFile) -> Outcome {
    let shares = [conditions.other_load_share, conditions.steal_share];
    if !shares.iter().flatten().all(|share| (0.0..=1.0).contains(share)) {
        return Err("a share of the processors' time is not between 0 and 1".into());
    }
    let speeds = [conditions.core_speed_before_per_s, conditions.core_speed_after_per_s];
    let possible = |speed: &f64| (1.0..=MAX_STEPS_PER_S).contains(speed);
    if !speeds.iter().flatten().all(possible) {
        return Err("a core's speed is not one that a core can have".into());
    }
    // Light goes three centimetres in a tenth of a nanosecond.
    let handovers_ns = [conditions.handover_before_ns, conditions.handover_ns];
    match handovers_ns.iter().flatten().all(|ns| *ns > 0.1) {
        true => Ok(()),
        false => Err("a word from one thread to another took no time".into()),
    }
}

/// That a check is one that was stood, by every pass.
///
/// # Errors
/// What does not agree.
pub(super) fn check_check(check: Option<&CheckFile>, rounds: &[RoundFile]) -> Outcome {
    let Some(check) = check else {
        return match rounds.is_empty() {
            true => Ok(()),
            false => Err("its passes were held against nothing".into()),
        };
    };
    // An error that is not a number is not small, and one of 100 % is no rounding.
    if !(check.max_error >= 0.0 && check.max_error <= check.tolerance && check.tolerance < 1.0) {
        return Err(format!(
            "an error of {} does not stand a check with the tolerance {}",
            check.max_error, check.tolerance
        ));
    }
    let passes = rounds.iter().fold(0_u64, |sum, round| sum.saturating_add(round.passes));
    match check.passes == passes {
        true => Ok(()),
        false => Err(format!("{} passes were checked, of {passes}", check.passes)),
    }
}

/// That latencies are those that the test has, of as many values as the rounds had iterations, and
/// say what their histograms say.
///
/// # Errors
/// What does not agree, naming the metric.
pub(super) fn check_latencies(case: &CaseFile, of_this_build: bool) -> Outcome {
    let test = convert::case_of(&case.axes)?.test;
    let of_device = Metric::of_device(test);
    let metrics = || Metric::of_test(test).iter().copied().chain(of_device);
    let sum = |of: fn(&RoundFile) -> u64| {
        case.rounds.iter().fold(0_u64, |sum, round| sum.saturating_add(of(round)))
    };
    let (passes, iterations) = (sum(|r| r.passes), sum(|r| r.iterations));
    let total_ns = sum(|r| r.total_ns);
    let ttft_total_ns = case
        .rounds
        .iter()
        .try_fold(0_u64, |sum, round| Some(sum.saturating_add(round.ttft_total_ns?)));
    let device_ns = case
        .rounds
        .iter()
        .try_fold(0_u64, |sum, round| Some(sum.saturating_add(round.device_time?.device_ns)));
    for (i, latency) in case.latencies.iter().enumerate() {
        let of = |problem: String| format!("{}: {problem}", latency.metric);
        if case.latencies[..i].iter().any(|other| other.metric == latency.metric) {
            return Err(of("it is there twice".into()));
        }
        let metric = metrics().find(|metric| metric.name() == latency.metric);
        let metric = metric.ok_or_else(|| of("its test has no such latency".into()))?;
        if Some(metric) == of_device && device_ns.is_none_or(|ns| ns < latency.sum_ns) {
            return Err(of("its rounds have less time of the device than that".into()));
        }
        let (count, sum_ns) = match metric {
            Metric::PrefillPass | Metric::DecodeStep => (iterations, Some(total_ns)),
            Metric::E2el => (passes, Some(total_ns)),
            Metric::Ttft => (passes, ttft_total_ns),
            Metric::Tpot => (passes, None),
            Metric::Itl | Metric::ItlDevice => (iterations.saturating_sub(passes), None),
            Metric::PrefillPassDevice | Metric::DecodeStepDevice => (iterations, device_ns),
        };
        check_latency(latency, &metric, of_this_build).map_err(of)?;
        if latency.count != count || sum_ns.is_some_and(|sum_ns| sum_ns != latency.sum_ns) {
            return Err(of(format!(
                "{} values of {} ns together are not those of its rounds",
                latency.count, latency.sum_ns
            )));
        }
    }
    Ok(())
}

fn check_latency(latency: &LatencyFile, metric: &Metric, of_this_build: bool) -> Outcome {
    let series = Series::of_file(latency)?;
    let found = series.file(latency.histogram.clone()).ok_or("it has no values")?;
    if of_this_build {
        let (definition, description) = metric.definition();
        same(&latency.definition, &definition.to_owned(), "definition")?;
        same(&latency.description, &description.to_owned(), "description")?;
        return same(latency, &found, "");
    }
    if !close(latency.mean_ns, found.mean_ns) {
        return Err("the mean is not the sum by the count".into());
    }
    for (name, ns) in &latency.percentiles_ns {
        if found.percentiles_ns.get(name) != Some(ns) {
            return Err(format!(
                "{name} is not {ns} ns by the histogram, or it has too few values"
            ));
        }
    }
    Ok(())
}

/// Derives everything that follows from rounds anew.
///
/// # Errors
/// What does not agree, naming the case or ceiling and the key.
pub(super) fn check_derived(file: &ResultFile) -> Outcome {
    let found = derived_anew(file);
    let all = is_of_this_build(file);
    for (stated, found) in file.ceilings.iter().zip(&found.ceilings) {
        let of = |problem| format!("ceiling {}: {problem}", stated.id);
        if all {
            same(&stated.rate, &found.rate, "rate")
                .and_then(|()| same(&stated.claims, &found.claims, "claims"))
                .and_then(|()| same(&stated.warnings, &found.warnings, "warnings"))
        } else {
            check_rate(stated, found.rate.as_ref())
                .and_then(|()| check_claims(stated.claims.as_ref(), found.claims.as_ref()))
        }
        .map_err(of)?;
    }
    for (stated, found) in file.cases.iter().zip(&found.cases) {
        let of = |problem| format!("case {}: {problem}", stated.id);
        check_throughput(stated.throughput.as_ref(), found.throughput.as_ref()).map_err(of)?;
        if all {
            same(&stated.throughput, &found.throughput, "throughput")
                .and_then(|()| same(&stated.roofline, &found.roofline, "roofline"))
                .and_then(|()| same(&stated.claims, &found.claims, "claims"))
                .and_then(|()| same(&stated.warnings, &found.warnings, "warnings"))
        } else {
            check_roofline(stated.roofline.as_ref(), found.roofline.as_ref(), &file.ceilings)
                .and_then(|()| check_claims(stated.claims.as_ref(), found.claims.as_ref()))
        }
        .map_err(of)?;
    }
    Ok(())
}

/// The file without its latencies, from which nothing else follows, and with all that follows from
/// the rest.
fn derived_anew(file: &ResultFile) -> ResultFile {
    let bare = |case: &CaseFile| CaseFile {
        latencies: Vec::new(),
        id: String::new(),
        axes: case.axes.clone(),
        outcome: case.outcome.clone(),
        kernel: case.kernel.clone(),
        rounds: case.rounds.clone(),
        check: case.check.clone(),
        throughput: None,
        roofline: None,
        claims: None,
        warnings: Vec::new(),
        clock: case.clock.clone(),
        ..*case
    };
    let mut found = ResultFile {
        format_version: file.format_version,
        tool: file.tool.clone(),
        run: file.run.clone(),
        environment: file.environment.clone(),
        plan: file.plan.clone(),
        ceilings: file.ceilings.clone(),
        cases: file.cases.iter().map(bare).collect(),
        integrity: None,
    };
    derive::complete(&mut found);
    found
}

fn all_close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b))
}

/// A rate of another build: its rounds are known, and its best is that of a round or of a pass.
fn check_rate(ceiling: &CeilingFile, found: Option<&RateFile>) -> Outcome {
    let agree = match (&ceiling.rate, found) {
        (None, None) => true,
        (Some(stated), Some(found)) => {
            let work = if ceiling.gemm_size.is_some() { ceiling.flops.0 } else { ceiling.bytes.0 };
            let fastest_ns = ceiling.rounds.iter().map(|round| round.min_pass_ns).min();
            let of_pass = work as f64 / (fastest_ns.unwrap_or(0) as f64 / 1e9);
            let of_round = found.rounds_per_s.iter().copied().fold(0.0, f64::max);
            stated.unit == found.unit
                && all_close(&stated.rounds_per_s, &found.rounds_per_s)
                && close(stated.median_per_s, found.median_per_s)
                && stated.best_per_s >= of_round * (1.0 - 1e-9)
                && stated.best_per_s <= of_pass.max(of_round) * (1.0 + 1e-9)
        }
        _ => false,
    };
    match agree {
        true => Ok(()),
        false => Err("its rate is not its work by the time of its rounds".into()),
    }
}

/// A roofline of another build: its rates are known, and its shares are of the ceilings it names.
fn check_roofline(
    stated: Option<&RooflineFile>,
    found: Option<&RooflineFile>,
    ceilings: &[CeilingFile],
) -> Outcome {
    let Some(stated) = stated else { return Ok(()) };
    let is_share = |share: Option<f64>, achieved: f64, id: &Option<String>| match (share, id) {
        (None, None) => true,
        (Some(share), Some(id)) => ceilings
            .iter()
            .find(|ceiling| ceiling.id == *id)
            .and_then(|ceiling| ceiling.rate.as_ref())
            .is_some_and(|rate| close(share * rate.best_per_s, achieved)),
        _ => false,
    };
    let RooflineFile { flops_per_s, bytes_per_s, .. } = *stated;
    let agree = found.is_some_and(|found| {
        close(flops_per_s, found.flops_per_s) && close(bytes_per_s, found.bytes_per_s)
    }) && is_share(stated.compute_share, flops_per_s, &stated.compute_ceiling)
        && is_share(stated.memory_share, bytes_per_s, &stated.memory_ceiling)
        && stated
            .ceiling_share
            .is_none_or(|share| [stated.compute_share, stated.memory_share].contains(&Some(share)));
    match agree {
        true => Ok(()),
        false => Err("its roofline is not its work by the time of its rounds and ceilings".into()),
    }
}

fn check_throughput(stated: Option<&ThroughputFile>, found: Option<&ThroughputFile>) -> Outcome {
    let agree = match (found, stated) {
        (None, None) => true,
        (Some(found), Some(stated)) => {
            let centre = |t: &ThroughputFile| [t.mean_tokens_per_s, t.median_tokens_per_s];
            let (stddev, stated_stddev) = (found.stddev_tokens_per_s, stated.stddev_tokens_per_s);
            let ends = |t: &ThroughputFile| t.interval.as_ref().map(|i| [i.lower, i.upper]);
            all_close(&found.rounds_tokens_per_s, &stated.rounds_tokens_per_s)
                && all_close(&centre(found), &centre(stated))
                && stddev.is_some() == stated_stddev.is_some()
                && stddev
                    .zip(stated_stddev)
                    .is_none_or(|(a, b)| (a - b).abs() <= 1e-6 * found.mean_tokens_per_s)
                && ends(found).zip(ends(stated)).is_none_or(|(a, b)| all_close(&a, &b))
        }
        _ => false,
    };
    match agree {
        true => Ok(()),
        false => Err("its throughput is not its tokens by the time of its rounds".into()),
    }
}

/// Claims of another build: those of a definition that this one knows must be found again.
fn check_claims(stated: Option<&ClaimsFile>, found: Option<&ClaimsFile>) -> Outcome {
    let Some(stated) = stated else { return Ok(()) };
    if stated.typical.is_some() {
        same(&stated.typical, &found.and_then(|found| found.typical.clone()), "claims.typical")?;
    }
    for claim in stated.existence.iter().filter(|claim| claims::is_known(&claim.definition)) {
        let same_kind = |other: &&ExistenceFile| {
            (other.quantity, &other.definition) == (claim.quantity, &claim.definition)
        };
        let found = found.and_then(|found| found.existence.iter().find(same_kind));
        let found = found.ok_or("a claim does not follow from its rounds")?;
        same(claim, found, "claims.existence")?;
    }
    Ok(())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// That two values are the same but for the rounding of another machine's arithmetic.
fn same<T: PartialEq + Serialize>(stated: &T, found: &T, name: &str) -> Outcome {
    if stated == found {
        return Ok(());
    }
    let value = |it: &T| serde_json::to_value(it).expect("keys are strings");
    match difference(&value(stated), &value(found), name) {
        None => Ok(()),
        Some(difference) => Err(difference),
    }
}

/// Where two values differ, and how.
fn difference(stated: &Value, found: &Value, path: &str) -> Option<String> {
    match (stated, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            let absent = &Value::Null;
            keys.into_iter().find_map(|key| {
                let of = |map: &serde_json::Map<_, _>| map.get(key).unwrap_or(absent).clone();
                let dot = if path.is_empty() { "" } else { "." };
                difference(&of(a), &of(b), &format!("{path}{dot}{key}"))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]"))),
        (Value::Number(a), Value::Number(b))
            if a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| close(a, b))
                && (a == b || a.is_f64() || b.is_f64()) =>
        {
            None
        }
        _ if stated == found => None,
        _ => Some(format!("{path} is {stated}, but {found} follows from the rest of the file")),
    }
}
