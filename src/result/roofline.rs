//! A case against the measured ceilings (Williams, Waterman and Patterson, *Roofline*, 2009).

use crate::probe::CACHE_MULTIPLE;
use crate::result::derive::{Caches, rates};
use crate::result::file::*;
use crate::result::rating;
use crate::stats;
use crate::units::{Bytes, bytes_per_s_text, flops_per_s_text};

/// Where a case stands; absent without rounds.
pub(super) fn of_case(
    case: &CaseFile,
    ceilings: &[CeilingFile],
    caches: Option<Caches>,
    environment: &EnvironmentFile,
) -> Option<RooflineFile> {
    let flops_per_s = stats::median(&rates(case.work.flops.0, &case.rounds))?;
    let bytes_per_s = stats::median(&rates(case.work.bytes_min.0, &case.rounds))?;
    let axes = &case.axes;
    let ceiling_of = |probe: ProbeFile, dtype: Option<&DtypeFile>| {
        ceilings.iter().find_map(|ceiling| {
            let is_its = ceiling.probe == probe
                && ceiling.dtype.as_ref() == dtype
                && (&ceiling.device, ceiling.n_threads) == (&axes.device, axes.n_threads);
            let rate = ceiling.rate.as_ref().filter(|rate| rate.best_per_s > 0.0)?;
            is_its.then_some((ceiling, rate.best_per_s))
        })
    };
    let operands = axes.dtype.operands().map_or_else(|_| axes.dtype.clone(), DtypeFile::from);
    let compute = ceiling_of(ProbeFile::Gemm, Some(&operands));
    let walk = Bytes(case.work.bytes_min.0 / case.work.forward_passes.unwrap_or(1).max(1));
    // Where the machine does not tell its caches, they may serve anything.
    let in_cache =
        caches.is_none_or(|caches| walk.0 < caches.last_level_bytes.saturating_mul(CACHE_MULTIPLE));
    let read = ceiling_of(ProbeFile::MemoryRead, None);
    let memory = read.filter(|_| !in_cache);

    let compute_share = compute.map(|(_, best)| flops_per_s / best);
    let share_if_all_crossed = read.map(|(_, best)| bytes_per_s / best);
    let memory_share = share_if_all_crossed.filter(|_| !in_cache);
    let bound = match (compute_share, share_if_all_crossed) {
        (Some(compute), Some(memory)) if memory <= compute => Some(BoundFile::Compute),
        // What caches served did not cross, so memory may be further away than that.
        (Some(_), Some(_)) if !in_cache => Some(BoundFile::Memory),
        _ => None,
    };
    let shares: Vec<f64> = [compute_share, memory_share].into_iter().flatten().collect();
    let rated = (axes.device.as_str(), &axes.dtype, axes.n_threads);
    let rating = rating::of(environment, rated, case.work.flops, &case.rounds);
    let mut roofline = RooflineFile {
        flops_per_s,
        bytes_per_s,
        compute_ceiling: compute.map(|(ceiling, _)| ceiling.id.clone()),
        compute_share,
        memory_ceiling: memory.map(|(ceiling, _)| ceiling.id.clone()),
        memory_share,
        bound,
        ceiling_share: stats::max(&shares),
        rating,
        sentence: String::new(),
    };
    let best =
        Best { compute: compute.map(|(_, best)| best), memory: memory.map(|(_, best)| best) };
    let caches = in_cache.then_some((walk, share_if_all_crossed));
    roofline.sentence = sentence(&roofline, &operands, &best, caches);
    Some(roofline)
}

/// Rates of the ceilings that apply.
struct Best {
    compute: Option<f64>,
    memory: Option<f64>,
}

/// `caches` has the bytes of a forward pass, if caches may hold them, and the share of the read
/// bandwidth that they would be if all of them crossed.
fn sentence(
    roofline: &RooflineFile,
    operands: &DtypeFile,
    best: &Best,
    caches: Option<(Bytes, Option<f64>)>,
) -> String {
    if let Some(invalid) = rating::invalid(roofline.rating.as_ref()) {
        return invalid;
    }
    let Some(share) = roofline.ceiling_share else {
        return "no ceiling was measured".into();
    };
    let (of, achieved, best_text) = match (roofline.memory_share, best.memory) {
        (Some(of_memory), Some(best)) if of_memory == share => (
            "read bandwidth".to_owned(),
            bytes_per_s_text(roofline.bytes_per_s),
            bytes_per_s_text(best),
        ),
        _ => (
            format!("{operands} product rate"),
            flops_per_s_text(roofline.flops_per_s),
            flops_per_s_text(best.compute.unwrap_or(f64::NAN)),
        ),
    };
    let at = format!("at {} of the measured {of} ({achieved} of {best_text})", percent(share));
    let bound = match roofline.bound {
        // What is nearest to a ceiling that is too low is not known.
        _ if share > 1.0 => "",
        Some(BoundFile::Memory) => "memory-bound ",
        Some(BoundFile::Compute) => "compute-bound ",
        None => "",
    };
    let remark = match (caches, roofline.bound) {
        _ if share > 1.0 => ": the ceiling is under-measured".to_owned(),
        (Some((walk, Some(crossed))), Some(_)) => format!(
            "; {walk} per forward pass may come from caches, and would be {} of the read bandwidth if \
             they did not",
            percent(crossed)
        ),
        (Some((walk, _)), None) => {
            format!("; {walk} per forward pass may come from caches, so what binds is not known")
        }
        (_, Some(_)) => String::new(),
        (None, None) => {
            let missing = if best.compute.is_none() { "product rate" } else { "read bandwidth" };
            format!("; no {missing} was measured, so what binds is not known")
        }
    };
    format!("{bound}{at}{remark}")
}

/// Two digits, for shares that people compare by eye.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 9.95 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decode case of the fixture in 1 s passes, against ceilings of these rates.
    fn roofline(
        flops: u64,
        bytes: u64,
        gemm: Option<f64>,
        read: Option<f64>,
        cache: u64,
    ) -> RooflineFile {
        let text = include_str!("../../tests/data/results/valid/v1.1.json");
        let mut file = crate::result::parse(text).unwrap();
        let case = &mut file.cases[0];
        case.work.flops.0 = flops;
        (case.work.bytes_min, case.work.forward_passes) = (Bytes(bytes), Some(1));
        for round in &mut case.rounds {
            (round.total_ns, round.passes) = (1_000_000_000, 1);
            (round.min_pass_ns, round.max_pass_ns) = (1_000_000_000, 1_000_000_000);
        }
        for ceiling in &mut file.ceilings {
            let best = match ceiling.probe.as_str() {
                "gemm" => gemm,
                "memory_read" => read,
                _ => None,
            };
            let best_of = |mut rate: RateFile, best_per_s| {
                rate.best_per_s = best_per_s;
                rate
            };
            ceiling.rate = ceiling.rate.take().zip(best).map(|(rate, best)| best_of(rate, best));
        }
        let caches = Caches { last_level_bytes: cache, all_bytes: cache };
        of_case(&file.cases[0], &file.ceilings, Some(caches), &file.environment).unwrap()
    }

    #[test]
    fn what_binds_is_said_only_where_both_ceilings_can_be_compared() {
        use BoundFile::{Compute, Memory};
        let (g, r) = (Some(1e10), Some(1e10));
        for (flops, bytes, gemm, read, cache, bound, share, words) in [
            (4_000_000_000, 2_000_000_000, g, r, 1, Some(Compute), 0.4, "compute-bound at 40 %"),
            (2_000_000_000, 6_000_000_000, g, r, 1, Some(Memory), 0.6, "memory-bound at 60 %"),
            // One ceiling alone says nothing of the other.
            (600_000_000, 6_000_000_000, g, None, 1, None, 0.06, "no read bandwidth was measured"),
            (6_000_000_000, 600_000_000, None, r, 1, None, 0.06, "no product rate was measured"),
            // Caches may have served it: memory is nearest to nothing, and arithmetic is only if
            // it is nearer than memory could be.
            (600_000_000, 6_000_000_000, g, r, 1 << 40, None, 0.06, "what binds is not known"),
            (6_000_000_000, 600_000_000, g, r, 1 << 40, Some(Compute), 0.6, "would be 6.0 %"),
            (600_000_000, 6_000_000_000, g, None, 1 << 40, None, 0.06, "what binds is not known"),
            (20_000_000_000, 600_000_000, g, r, 1, Some(Compute), 2.0, "under-measured"),
        ] {
            let roofline = roofline(flops, bytes, gemm, read, cache);
            let sentence = &roofline.sentence;
            assert_eq!(roofline.bound, bound, "{sentence}");
            assert!((roofline.ceiling_share.unwrap() - share).abs() < 1e-9, "{sentence}");
            assert!(sentence.contains(words), "{sentence}");
            assert_eq!(sentence.contains("-bound"), bound.is_some() && share <= 1.0, "{sentence}");
        }
        let none = roofline(1, 1, None, None, 1);
        assert_eq!((none.bound, none.ceiling_share), (None, None));
        assert_eq!(none.sentence, "no ceiling was measured");
        let cached = roofline(1, 1_000, None, r, 1 << 40);
        assert_eq!((cached.bound, cached.ceiling_share), (None, None));
    }
}
