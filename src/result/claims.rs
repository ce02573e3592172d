//! What a measurement proves: the device did at least this, once, in this window.
//!
//! The window is the fastest pass: a wall-clock bracket opened before its first operation is given
//! out and closed after its last is done. Work in it is an exact integer, and every pass's output
//! stood its check, or there would be no figures. What the device *usually* does is another claim,
//! from the rounds, and the two are never mixed.

use std::collections::BTreeMap;

use crate::measure::Reference;
use crate::probe::CACHE_MULTIPLE;
use crate::result::derive::{Caches, Context, operand_bits, rates};
use crate::result::file::*;
use crate::stats;
use crate::units::Bytes;

/// Operations that any correct implementation of the executed shapes must do.
const OPERATIONS: &str = "dense_operations.v1";

/// Bytes of a working set that no cache can hold, each once per walk through it, less all that
/// caches could have kept from the walk before.
const BYTES: &str = "bytes_beyond_caches.v1";

/// The fastest pass of all rounds.
struct Window<'a> {
    round_idx: u32,
    pass_idx: u64,
    bracket_ns: u64,
    resolution_ns: u64,
    check: &'a CheckFile,
}

impl<'a> Window<'a> {
    fn best(
        rounds: &[RoundFile],
        check: Option<&'a CheckFile>,
        context: &Context,
    ) -> Result<Self, String> {
        let check = check
            .filter(|check| check.reference != Reference::Repeated.id())
            .ok_or("its output was not checked against a reference")?;
        let resolution_ns =
            context.clock_resolution_ns.ok_or("the clock's resolution is not known")?;
        let with_pass = (0_u32..).zip(rounds).filter_map(|(i, r)| Some((i, r, r.min_pass_idx?)));
        let (round_idx, round, pass_idx) = with_pass
            .min_by_key(|(_, round, _)| round.min_pass_ns)
            .ok_or("the fastest pass is not known")?;
        if round.min_pass_ns < resolution_ns.saturating_mul(10) {
            return Err("its passes are too short for the clock".into());
        }
        Ok(Self { round_idx, pass_idx, bracket_ns: round.min_pass_ns, resolution_ns, check })
    }

    fn claim(&self, quantity: QuantityFile, operand_bits: Option<u32>, work: u64) -> ExistenceFile {
        let seconds = self.bracket_ns.saturating_add(self.resolution_ns) as f64 / 1e9;
        let per_second = work as f64 / seconds;
        ExistenceFile {
            quantity,
            definition: match quantity {
                QuantityFile::Operations => OPERATIONS.into(),
                QuantityFile::Bytes => BYTES.into(),
            },
            operand_bits,
            work,
            bracket_ns: self.bracket_ns,
            clock_resolution_ns: self.resolution_ns,
            round_idx: self.round_idx,
            pass_idx: self.pass_idx,
            check: self.check.reference.clone(),
            per_second_at_least: per_second,
            tpp_at_least: operand_bits.map(|bits| per_second / 1e12 * f64::from(bits)),
        }
    }
}

/// What a case proves; absent without rounds.
pub(super) fn of_case(case: &CaseFile, context: &Context) -> Option<ClaimsFile> {
    let work = &case.work;
    let bytes = work
        .forward_passes
        .ok_or_else(|| "the number of forward passes is not in the file".to_owned())
        .and_then(|walks| beyond_caches(work.bytes_min, walks, context.caches));
    let bits = operand_bits(&case.axes.dtype).map(|bits| (bits, work.flops.0));
    claims(&case.rounds, case.check.as_ref(), bits, bytes, ("tokens_per_s", work.tokens), context)
}

/// What a ceiling proves; absent without rounds.
pub(super) fn of_ceiling(ceiling: &CeilingFile, context: &Context) -> Option<ClaimsFile> {
    let (check, rounds) = (ceiling.check.as_ref(), &ceiling.rounds);
    match ceiling.dtype.as_deref().and_then(operand_bits) {
        Some(bits) => {
            let bytes = Err("a product's factors may sit in a cache".into());
            let operations = (bits, ceiling.flops.0);
            let typical = ("flops_per_s", ceiling.flops.0);
            claims(rounds, check, Some(operations), bytes, typical, context)
        }
        None => {
            let bytes = beyond_caches(ceiling.bytes, 1, context.caches);
            let typical = ("bytes_per_s", ceiling.bytes.0);
            claims(rounds, check, None, bytes, typical, context)
        }
    }
}

fn claims(
    rounds: &[RoundFile],
    check: Option<&CheckFile>,
    operations: Option<(u32, u64)>,
    bytes: Result<u64, String>,
    (unit, work): (&str, u64),
    context: &Context,
) -> Option<ClaimsFile> {
    if rounds.is_empty() {
        return None;
    }
    let mut existence = Vec::new();
    let mut absent = BTreeMap::new();
    match Window::best(rounds, check, context) {
        Ok(window) => {
            if let Some((bits, work)) = operations {
                existence.push(window.claim(QuantityFile::Operations, Some(bits), work));
            }
            match bytes {
                Ok(work) => existence.push(window.claim(QuantityFile::Bytes, None, work)),
                Err(reason) => drop(absent.insert("bytes".to_owned(), reason)),
            }
        }
        Err(reason) => {
            absent.insert("operations".to_owned(), reason.clone());
            absent.insert("bytes".to_owned(), reason);
        }
    }
    Some(ClaimsFile { existence, absent, typical: typical(unit, work, rounds) })
}

fn typical(unit: &str, work: u64, rounds: &[RoundFile]) -> Option<TypicalFile> {
    let rates = rates(work, rounds);
    let confidence = stats::lower_bound_confidence(rates.len()).filter(|_| rates.len() > 1)?;
    Some(TypicalFile {
        unit: unit.into(),
        per_second_at_least: rates.iter().copied().min_by(f64::total_cmp)?,
        confidence,
        n_rounds: rates.len() as u32,
    })
}

/// Bytes of a pass of `walks` walks that must have come from memory: what caches could have kept
/// from one walk to the next is taken off each.
fn beyond_caches(bytes: Bytes, walks: u64, caches: Option<Caches>) -> Result<u64, String> {
    let caches = caches.ok_or("the size of the last-level cache is not known")?;
    let needed = caches.last_level_bytes.saturating_mul(CACHE_MULTIPLE);
    let per_walk = bytes.0 / walks.max(1);
    if per_walk < needed {
        return Err(format!(
            "a working set of {} may sit in the caches; it must be {} at least",
            Bytes(per_walk),
            Bytes(needed)
        ));
    }
    Ok(bytes.0.saturating_sub(caches.all_bytes.saturating_mul(walks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(min_pass_ns: u64, min_pass_idx: u64) -> RoundFile {
        RoundFile {
            start_ns: 0,
            passes: 4,
            iterations: 4,
            total_ns: min_pass_ns * 5,
            min_pass_ns,
            max_pass_ns: min_pass_ns * 2,
            stop: StopFile::MinimaMet,
            min_pass_idx: Some(min_pass_idx),
            block_pass_ns: vec![],
            conditions: None,
            run_idx: 0,
        }
    }

    fn check() -> CheckFile {
        CheckFile {
            reference: "teacher_forced.v1".into(),
            description: String::new(),
            passes: 4,
            values: 10,
            max_error: 0.0,
            tolerance: 0.1,
        }
    }

    fn context() -> Context {
        let caches = Some(Caches { last_level_bytes: 1_000, all_bytes: 1_200 });
        Context { clock_resolution_ns: Some(50), caches }
    }

    #[test]
    fn the_best_window_and_the_clock_make_the_floor() {
        let rounds = [round(2_000, 1), round(950, 3), round(1_000, 0)];
        let bytes = beyond_caches(Bytes(5_000), 1, context().caches);
        let claims = claims(
            &rounds,
            Some(&check()),
            Some((16, 3_000)),
            bytes,
            ("tokens_per_s", 4),
            &context(),
        )
        .unwrap();
        let operations = &claims.existence[0];
        assert_eq!((operations.round_idx, operations.pass_idx), (1, 3));
        assert_eq!((operations.bracket_ns, operations.work), (950, 3_000));
        // 3,000 operations in 1,000 ns are 3·10⁹ per second, and at 16 bits a TPP of 0.048.
        assert_eq!(operations.per_second_at_least, 3e9);
        assert!((operations.tpp_at_least.unwrap() - 0.048).abs() < 1e-12);
        // Of 5,000 bytes, 1,200 may have been in a cache.
        assert_eq!(claims.existence[1].work, 3_800);
        assert_eq!(claims.existence[1].per_second_at_least, 3.8e9);
        let typical = claims.typical.unwrap();
        assert_eq!((typical.n_rounds, typical.confidence), (3, 0.875));
        assert_eq!(typical.per_second_at_least, 4.0 * 4.0 / 10_000e-9);
    }

    #[test]
    fn what_is_not_proved_is_not_claimed() {
        let rounds = [round(1_000, 0)];
        let of = |rounds: &[RoundFile], check: Option<&CheckFile>, context: &Context| {
            let bytes = beyond_caches(Bytes(3_999), 1, context.caches);
            claims(rounds, check, Some((32, 7)), bytes, ("tokens_per_s", 4), context)
        };
        assert_eq!(of(&[], Some(&check()), &context()), None);
        let in_cache = of(&rounds, Some(&check()), &context()).unwrap();
        assert_eq!(in_cache.existence.len(), 1);
        assert!(in_cache.absent["bytes"].contains("may sit in the caches"));
        let unchecked = of(&rounds, None, &context()).unwrap();
        assert!(unchecked.existence.is_empty());
        assert!(unchecked.absent["operations"].contains("not checked"));
        let unknown = Context { clock_resolution_ns: None, caches: None };
        assert!(of(&rounds, Some(&check()), &unknown).unwrap().existence.is_empty());
        let short = of(&[round(400, 0)], Some(&check()), &context()).unwrap();
        assert!(short.absent["operations"].contains("too short"));
        assert!(short.typical.is_none());
        // A file of format 1.0 does not know which pass was the fastest.
        let old = RoundFile { min_pass_idx: None, ..round(1_000, 0) };
        assert!(of(&[old], Some(&check()), &context()).unwrap().existence.is_empty());
    }

    #[test]
    fn every_walk_may_have_found_something_in_the_caches() {
        let caches = context().caches;
        assert_eq!(beyond_caches(Bytes(40_000), 10, caches), Ok(40_000 - 10 * 1_200));
        assert!(beyond_caches(Bytes(40_000), 11, caches).is_err());
        assert!(beyond_caches(Bytes(40_000), 1, None).is_err());
    }
}
