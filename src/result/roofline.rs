//! A case against the measured ceilings (Williams, Waterman and Patterson, *Roofline*, 2009).

use crate::probe::CACHE_MULTIPLE;
use crate::result::derive::{Caches, rates};
use crate::result::file::*;
use crate::stats;
use crate::units::{Bytes, bytes_per_s_text, flops_per_s_text};

/// Where a case stands; absent without rounds.
pub(super) fn of_case(
    case: &CaseFile,
    ceilings: &[CeilingFile],
    caches: Option<Caches>,
) -> Option<RooflineFile> {
    let flops_per_s = stats::median(&rates(case.work.flops.0, &case.rounds))?;
    let bytes_per_s = stats::median(&rates(case.work.bytes_min.0, &case.rounds))?;
    let axes = &case.axes;
    let ceiling_of = |probe: &str, dtype: Option<&str>| {
        ceilings.iter().find_map(|ceiling| {
            let is_its = ceiling.probe == probe
                && ceiling.dtype.as_deref() == dtype
                && (&ceiling.device, ceiling.n_threads) == (&axes.device, axes.n_threads);
            let rate = ceiling.rate.as_ref().filter(|rate| rate.best_per_s > 0.0)?;
            is_its.then_some((ceiling, rate.best_per_s))
        })
    };
    let compute = ceiling_of("gemm", Some(&axes.dtype));
    let walk = Bytes(case.work.bytes_min.0 / case.work.forward_passes.unwrap_or(1).max(1));
    // Where the machine does not tell its caches, they may serve anything.
    let in_cache =
        caches.is_none_or(|caches| walk.0 < caches.last_level_bytes.saturating_mul(CACHE_MULTIPLE));
    let memory = ceiling_of("memory_read", None).filter(|_| !in_cache);

    let compute_share = compute.map(|(_, best)| flops_per_s / best);
    let memory_share = memory.map(|(_, best)| bytes_per_s / best);
    let bound = match (compute_share, memory_share) {
        (None, None) => None,
        (compute, memory) if memory > compute => Some(BoundFile::Memory),
        _ => Some(BoundFile::Compute),
    };
    let mut roofline = RooflineFile {
        flops_per_s,
        bytes_per_s,
        compute_ceiling: compute.map(|(ceiling, _)| ceiling.id.clone()),
        compute_share,
        memory_ceiling: memory.map(|(ceiling, _)| ceiling.id.clone()),
        memory_share,
        bound,
        ceiling_share: match bound? {
            BoundFile::Compute => compute_share,
            BoundFile::Memory => memory_share,
        },
        sentence: String::new(),
    };
    roofline.sentence = sentence(
        &roofline,
        &axes.dtype,
        compute.map(|(_, best)| best),
        memory.map(|(_, best)| best),
        in_cache.then_some(walk),
    );
    Some(roofline)
}

fn sentence(
    roofline: &RooflineFile,
    dtype: &str,
    compute_best: Option<f64>,
    memory_best: Option<f64>,
    in_cache: Option<Bytes>,
) -> String {
    let (Some(bound), Some(share)) = (roofline.bound, roofline.ceiling_share) else {
        return "no ceiling was measured".into();
    };
    let (name, of, achieved, best) = match bound {
        BoundFile::Memory => (
            "memory-bound",
            "read bandwidth".to_owned(),
            bytes_per_s_text(roofline.bytes_per_s),
            bytes_per_s_text(memory_best.unwrap_or(f64::NAN)),
        ),
        BoundFile::Compute => (
            "compute-bound",
            format!("{dtype} product rate"),
            flops_per_s_text(roofline.flops_per_s),
            flops_per_s_text(compute_best.unwrap_or(f64::NAN)),
        ),
    };
    let percent = percent(share);
    let mut sentence = if share > 1.0 {
        format!(
            "at {percent} of the measured {of} ({achieved} of {best}): the ceiling is under-measured"
        )
    } else {
        format!("{name} at {percent} of the measured {of} ({achieved} of {best})")
    };
    if let Some(walk) = in_cache {
        sentence += &format!(
            "; {walk} per forward pass may come from caches, so no memory ceiling applies"
        );
    }
    sentence
}

/// Two digits, for shares that people compare by eye.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 9.95 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}
