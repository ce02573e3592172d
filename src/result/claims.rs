//! What a measurement proves: the device did at least this, once, in this window.
//!
//! The window is the fastest pass: a wall-clock bracket opened before its first operation is given
//! out and closed after its last is done. Work in it is an exact integer, and every pass's output
//! stood its check, or there would be no figures. What the device *usually* does is another claim,
//! from the rounds, and the two are never mixed.

use std::collections::BTreeMap;

use crate::case::{DeviceSpec, Operands};
use crate::probe::{CACHE_MULTIPLE, stores_past_caches};
use crate::result::derive::{Caches, Context, operand_bits, rates};
use crate::result::file::*;
use crate::result::rating;
use crate::stats;
use crate::units::Bytes;

/// Operations that any correct implementation of the executed shapes must do.
const OPERATIONS: &str = "dense_operations.v1";

/// Bytes of a working set that no cache can hold, each once per walk through it, less all that
/// caches could have kept from the walk before, and all that they could hold back at the end.
const BYTES: &str = "bytes_beyond_caches.v2";

/// Whether this build counts by that definition.
pub(super) fn is_known(definition: &str) -> bool {
    matches!(definition, OPERATIONS | BYTES)
}

/// Where what a pass writes is when the pass ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stores {
    /// In memory: nothing was written, or past the caches.
    InMemory,
    /// Perhaps still in the caches.
    InCaches,
}

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
            .filter(|check| {
                check.reference.is_known() && check.reference != ReferenceFile::Repeated
            })
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

/// What claims are made from.
struct Measured<'a> {
    rounds: &'a [RoundFile],
    check: Option<&'a CheckFile>,
    device: &'a str,
    clock: Option<&'a ClockFile>,
    rating: Option<&'a RatingFile>,
    /// Its name, and the work of a pass.
    typical: (UnitFile, u64),
}

/// What a case proves; absent without rounds.
pub(super) fn of_case(case: &CaseFile, context: &Context) -> Option<ClaimsFile> {
    let work = &case.work;
    let bytes = work
        .forward_passes
        .ok_or_else(|| "the number of forward passes is not in the file".to_owned())
        .and_then(|walks| {
            let caches = context.caches_of(&case.axes.device);
            beyond_caches(work.bytes_min, walks, Stores::InCaches, caches)
        });
    let bits = claimed_bits(&case.axes.dtype, &case.axes.device);
    let bits = bits.map(|bits| (bits, work.flops.0));
    let measured = Measured {
        rounds: &case.rounds,
        check: case.check.as_ref(),
        device: &case.axes.device,
        clock: case.clock.as_ref(),
        rating: case.roofline.as_ref().and_then(|roofline| roofline.rating.as_ref()),
        typical: (UnitFile::TokensPerS, work.tokens),
    };
    claims(&measured, bits, bytes, context)
}

/// What a ceiling proves; absent without rounds.
pub(super) fn of_ceiling(ceiling: &CeilingFile, context: &Context) -> Option<ClaimsFile> {
    let measured = |typical| Measured {
        rounds: &ceiling.rounds,
        check: ceiling.check.as_ref(),
        device: &ceiling.device,
        clock: ceiling.clock.as_ref(),
        rating: ceiling.rating.as_ref(),
        typical,
    };
    match ceiling.dtype.as_ref().and_then(|dtype| claimed_bits(dtype, &ceiling.device)) {
        Some(bits) => {
            let bytes = Err("a product's factors may sit in a cache".into());
            let operations = (bits, ceiling.flops.0);
            let typical = (UnitFile::FlopsPerS, ceiling.flops.0);
            claims(&measured(typical), Some(operations), bytes, context)
        }
        None if crosses_the_link(&ceiling.probe) => {
            let bytes = Err("a transfer crosses the link between two memories".into());
            claims(&measured((UnitFile::BytesPerS, ceiling.bytes.0)), None, bytes, context)
        }
        None => {
            let only_reads = ceiling.probe == ProbeFile::MemoryRead;
            let are_past_caches = ceiling.kernel.as_deref().is_some_and(stores_past_caches);
            let stores = match only_reads || are_past_caches {
                true => Stores::InMemory,
                false => Stores::InCaches,
            };
            let caches = context.caches_of(&ceiling.device);
            let bytes = beyond_caches(ceiling.bytes, 1, stores, caches);
            let typical = (UnitFile::BytesPerS, ceiling.bytes.0);
            claims(&measured(typical), None, bytes, context)
        }
    }
}

/// Bits of the operands that a multiplication is claimed at. A product in f32 that a device's library
/// did may have cut them to TF32, or made them of several products in bf16, and no check of its result
/// tells: so it counts as TF32.
fn claimed_bits(dtype: &DtypeFile, device: &str) -> Option<u32> {
    let bits = operand_bits(dtype)?;
    Some(if is_processor(device) { bits } else { bits.min(Operands::Tf32.bits()) })
}

fn is_processor(device: &str) -> bool {
    device.parse() == Ok(DeviceSpec::Cpu)
}

/// Whether a probe says nothing of a device's own memory.
fn crosses_the_link(probe: &ProbeFile) -> bool {
    matches!(
        probe,
        ProbeFile::TransferHostToDevice
            | ProbeFile::TransferDeviceToHost
            | ProbeFile::TransferBidirectional
            | ProbeFile::TransferDeviceToDevice
    )
}

/// Why nothing can be proved of a device, if so. Work on a GPU is bracketed by the host's clock,
/// which is read before it is given out and when it is done; an old file that does not say so may
/// have been timed in another way.
fn unknown_clock(device: &str, clock: Option<&ClockFile>) -> Option<String> {
    match (device.parse(), clock) {
        (Ok(DeviceSpec::Cpu), _) => None,
        (Ok(DeviceSpec::Cuda { .. }), Some(ClockFile::HostMonotonic)) => None,
        _ => Some(format!("the clock that work on {device} is timed by is not known")),
    }
}

fn claims(
    measured: &Measured,
    operations: Option<(u32, u64)>,
    bytes: Result<u64, String>,
    context: &Context,
) -> Option<ClaimsFile> {
    let Measured { rounds, check, device, clock, rating, typical: (ref unit, work) } = *measured;
    if rounds.is_empty() {
        return None;
    }
    let invalid = rating::invalid(rating);
    let window = match unknown_clock(device, clock).or_else(|| invalid.clone()) {
        Some(reason) => Err(reason),
        None => Window::best(rounds, check, context),
    };
    let mut existence = Vec::new();
    let mut absent = BTreeMap::new();
    match window {
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
            if operations.is_some() {
                absent.insert("operations".to_owned(), reason.clone());
            }
            absent.insert("bytes".to_owned(), reason);
        }
    }
    let typical = typical(unit.clone(), work, rounds).filter(|_| invalid.is_none());
    let provisos = match existence.is_empty() {
        true => Vec::new(),
        false => provisos(device, context.hypervisor),
    };
    Some(ClaimsFile { existence, absent, typical, provisos })
}

/// What the machine does not show of itself. Memory traffic is claimed beyond the caches that it
/// tells, and a hypervisor may tell fewer of a processor's than there are. Those of a GPU are told by
/// its driver.
fn provisos(device: &str, hypervisor: Option<bool>) -> Vec<ProvisoFile> {
    if !is_processor(device) {
        return vec![];
    }
    match hypervisor {
        Some(false) => vec![],
        Some(true) => vec![ProvisoFile::VirtualMachine],
        None => vec![ProvisoFile::HypervisorUnknown],
    }
}

fn typical(unit: UnitFile, work: u64, rounds: &[RoundFile]) -> Option<TypicalFile> {
    let rates = rates(work, rounds);
    let confidence = stats::lower_bound_confidence(rates.len()).filter(|_| rates.len() > 1)?;
    Some(TypicalFile {
        unit,
        per_second_at_least: rates.iter().copied().min_by(f64::total_cmp)?,
        confidence,
        n_rounds: rates.len() as u32,
    })
}

/// Bytes of a pass of `walks` walks that must have crossed: what caches could have kept from one
/// walk to the next is taken off each, and what written lines could still be in them at the end is
/// taken off once more. Lines written in one walk and replaced in another have crossed.
fn beyond_caches(
    bytes: Bytes,
    walks: u64,
    stores: Stores,
    caches: Option<Caches>,
) -> Result<u64, String> {
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
    let times = match stores {
        Stores::InMemory => walks,
        Stores::InCaches => walks.saturating_add(1),
    };
    Ok(bytes.0.saturating_sub(caches.all_bytes.saturating_mul(times)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::test_files::round;

    fn check() -> CheckFile {
        CheckFile {
            reference: ReferenceFile::TeacherForced,
            description: String::new(),
            passes: 4,
            values: 10,
            max_error: 0.0,
            tolerance: 0.1,
        }
    }

    fn context() -> Context {
        let caches = Some(Caches { last_level_bytes: 1_000, all_bytes: 1_200 });
        Context {
            clock_resolution_ns: Some(50),
            caches,
            device_caches: None,
            hypervisor: Some(false),
        }
    }

    fn measured<'a>(rounds: &'a [RoundFile], check: Option<&'a CheckFile>) -> Measured<'a> {
        Measured {
            rounds,
            check,
            device: "cpu",
            clock: None,
            rating: None,
            typical: (UnitFile::TokensPerS, 4),
        }
    }

    #[test]
    fn f32_of_a_device_counts_as_tf32() {
        let dtype = |text: &str| serde_json::from_value::<DtypeFile>(text.into()).unwrap();
        for (name, device, bits) in [
            ("f32", "cpu", Some(32)),
            ("f32", "cuda:0", Some(19)),
            ("tf32", "cuda:0", Some(19)),
            ("bf16", "cuda:1", Some(16)),
            ("fp8_e4m3", "cuda:0", Some(8)),
            ("f32", "a device of later", Some(19)),
            ("a format of later", "cuda:0", None),
        ] {
            assert_eq!(claimed_bits(&dtype(name), device), bits, "{name} on {device}");
        }
    }

    #[test]
    fn the_best_window_and_the_clock_make_the_floor() {
        let rounds = [round(2_000, 1), round(950, 3), round(1_000, 0)];
        let bytes = beyond_caches(Bytes(5_000), 1, Stores::InMemory, context().caches);
        let check = check();
        let measured = measured(&rounds, Some(&check));
        let claims = claims(&measured, Some((16, 3_000)), bytes, &context()).unwrap();
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
        assert_eq!(claims.provisos, []);
    }

    #[test]
    fn what_is_not_proved_is_not_claimed() {
        let rounds = [round(1_000, 0)];
        let of = |rounds: &[RoundFile], check: Option<&CheckFile>, context: &Context| {
            let bytes = beyond_caches(Bytes(3_999), 1, Stores::InMemory, context.caches);
            claims(&measured(rounds, check), Some((32, 7)), bytes, context)
        };
        assert_eq!(of(&[], Some(&check()), &context()), None);
        let in_cache = of(&rounds, Some(&check()), &context()).unwrap();
        assert_eq!(in_cache.existence.len(), 1);
        assert!(in_cache.absent["bytes"].contains("may sit in the caches"));
        let unchecked = of(&rounds, None, &context()).unwrap();
        assert!(unchecked.existence.is_empty());
        assert!(unchecked.absent["operations"].contains("not checked"));
        let unknown = Context {
            clock_resolution_ns: None,
            caches: None,
            device_caches: None,
            hypervisor: None,
        };
        assert!(of(&rounds, Some(&check()), &unknown).unwrap().existence.is_empty());
        let short = of(&[round(400, 0)], Some(&check()), &context()).unwrap();
        assert!(short.absent["operations"].contains("too short"));
        assert!(short.typical.is_none());
        // A file of format 1.0 does not know which pass was the fastest.
        let old = RoundFile { min_pass_idx: None, ..round(1_000, 0) };
        assert!(of(&[old], Some(&check()), &context()).unwrap().existence.is_empty());
        // A walk through memory claims no operations, and so lacks none.
        let walk = claims(&measured(&rounds, None), None, Ok(1), &context()).unwrap();
        assert_eq!(walk.absent.keys().collect::<Vec<_>>(), ["bytes"]);
    }

    #[test]
    fn an_unknown_clock_and_an_impossible_figure_prove_nothing() {
        let (rounds, check) = ([round(1_000, 0), round(1_000, 0)], check());
        let timed = |device: &str, clock: Option<&ClockFile>, rating: Option<&RatingFile>| {
            let measured = Measured { device, clock, rating, ..measured(&rounds, Some(&check)) };
            claims(&measured, Some((32, 7)), Ok(9_000), &context()).unwrap()
        };
        let of = |device, rating: Option<&RatingFile>| timed(device, None, rating);
        assert_eq!(of("cpu", None).existence.len(), 2);
        let on_device = timed("cuda:0", Some(&ClockFile::HostMonotonic), None);
        assert_eq!((on_device.existence.len(), on_device.provisos.len()), (2, 0));
        let later = ClockFile::Other("device_events".into());
        for (device, clock) in
            [("cuda:0", None), ("cuda:0", Some(&later)), ("npu", Some(&ClockFile::HostMonotonic))]
        {
            let unknown = timed(device, clock, None);
            assert!(unknown.existence.is_empty() && unknown.provisos.is_empty());
            assert!(unknown.typical.is_some() && unknown.absent["operations"].contains(device));
            assert!(unknown.absent["bytes"].contains("clock"));
        }
        let rating = |share| RatingFile::Known {
            n_cores: 1,
            flops_per_cycle: 32,
            frequency_hz: 1,
            flops_per_s: 32.0,
            share,
        };
        assert_eq!(of("cpu", Some(&rating(1.0))).existence.len(), 2);
        let invalid = of("cpu", Some(&rating(1.01)));
        assert!(invalid.existence.is_empty() && invalid.typical.is_none());
        assert!(invalid.absent.values().all(|reason| reason.starts_with("INVALID")));
    }

    #[test]
    fn claims_say_what_they_take_on_trust() {
        let (rounds, check) = ([round(1_000, 0)], check());
        let of = |hypervisor| {
            let context = Context { hypervisor, ..context() };
            claims(&measured(&rounds, Some(&check)), Some((32, 7)), Ok(1), &context)
                .unwrap()
                .provisos
        };
        assert_eq!(of(Some(false)), []);
        assert_eq!(of(Some(true)), [ProvisoFile::VirtualMachine]);
        assert_eq!(of(None), [ProvisoFile::HypervisorUnknown]);
        let later: ProvisoFile = serde_json::from_str("\"something_new\"").unwrap();
        assert_eq!(later.name(), "something_new");
    }

    #[test]
    fn every_walk_may_have_found_something_in_the_caches() {
        let caches = context().caches;
        let of = |bytes, walks, stores| beyond_caches(Bytes(bytes), walks, stores, caches);
        assert_eq!(of(40_000, 10, Stores::InMemory), Ok(40_000 - 10 * 1_200));
        // And what was written may not have left them.
        assert_eq!(of(40_000, 10, Stores::InCaches), Ok(40_000 - 11 * 1_200));
        assert_eq!(of(4_000, 1, Stores::InCaches), Ok(4_000 - 2 * 1_200));
        assert!(of(40_000, 11, Stores::InMemory).is_err());
        assert!(beyond_caches(Bytes(40_000), 1, Stores::InMemory, None).is_err());
    }
}
