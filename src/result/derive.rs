//! All that follows from rounds and latencies: one way for a run that ended, one that was taken up
//! again, and files that were merged.

use crate::case::{DeviceSpec, Operands, Test};
use crate::result::file::*;
use crate::result::{claims, rating, roofline, warnings};
use crate::stats;
use crate::units::Bytes;

/// Chance at least that an interval holds the median, as far as the number of rounds allows.
const COVERAGE: f64 = 0.9;

/// A round is flagged beyond this many scaled deviations (Iglewicz and Hoaglin, 1993).
const OUTLIER_SCORE: f64 = 3.5;

/// Scales a median absolute deviation to the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;

/// What is known beside the rounds themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Of the clock that measured.
    pub clock_resolution_ns: Option<u64>,
    /// The processor's caches that could have served memory traffic; absent when the machine does
    /// not tell.
    pub caches: Option<Caches>,
    /// The same of the device that is not the processor, if there is one.
    pub device_caches: Option<Caches>,
    /// Whether a hypervisor runs the processor, if that is known.
    pub hypervisor: Option<bool>,
}

/// Caches of the whole machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caches {
    /// All instances of the last level.
    pub last_level_bytes: u64,
    /// All instances of all levels.
    pub all_bytes: u64,
}

impl Context {
    fn of(file: &ResultFile) -> Self {
        let cpu = &file.environment.cpu;
        let caches = cpu.last_level_cache_bytes.map(|last_level| {
            // The levels below are private to a core or shared by a few; each core counts one.
            let top = cpu.caches.iter().map(|cache| cache.level).max().unwrap_or(0);
            let holds_data =
                |cache: &&CacheFile| cache.kind != CacheKindFile::Instruction && cache.level < top;
            let sizes = cpu.caches.iter().filter(holds_data).map(|cache| cache.size_bytes.0);
            let per_core = sizes.fold(0, u64::saturating_add);
            let lower = per_core.saturating_mul(cpu.physical_cores.into());
            // Files that do not tell them all describe the first core's, and cores may differ.
            let all = cpu.all_caches_bytes.map(|all| all.0);
            let all_bytes = all.unwrap_or_else(|| last_level.0.saturating_add(lower));
            Caches { last_level_bytes: last_level.0, all_bytes: all_bytes.max(last_level.0) }
        });
        Self {
            clock_resolution_ns: file.environment.clock_resolution_ns,
            caches,
            device_caches: device_caches(file.environment.gpu.as_ref()),
            hypervisor: cpu.hypervisor,
        }
    }

    /// Caches before the memory of a device.
    pub(super) fn caches_of(&self, device: &str) -> Option<Caches> {
        match device.parse() {
            Ok(DeviceSpec::Cpu) => self.caches,
            Ok(DeviceSpec::Cuda { .. }) => self.device_caches,
            Err(_) => None,
        }
    }
}

/// Level 2 of a GPU. Level 1 keeps nothing from one kernel to the next that depends on it: the
/// driver must invalidate it between them (NVIDIA, *Parallel Thread Execution ISA*, cache
/// operators), and within a kernel a walk reads every byte once.
fn device_caches(gpu: Option<&GpuFile>) -> Option<Caches> {
    let Bytes(level_2) = gpu?.l2_cache_bytes.filter(|bytes| bytes.0 > 0)?;
    Some(Caches { last_level_bytes: level_2, all_bytes: level_2 })
}

/// Fills in everything that is derived, whatever stood there before.
pub(super) fn complete(file: &mut ResultFile) {
    let context = Context::of(file);
    let planned_rounds = file.plan.repetitions;
    let injected_slowdown = file.plan.injected_slowdown;
    for ceiling in &mut file.ceilings {
        ceiling.rate = rate(ceiling);
        ceiling.rating = ceiling.dtype.as_ref().and_then(|dtype| {
            let axes = (ceiling.device.as_str(), dtype, ceiling.n_threads);
            rating::of(&file.environment, axes, ceiling.flops, &ceiling.rounds)
        });
        ceiling.claims = claims::of_ceiling(ceiling, &context);
        ceiling.warnings = warnings::of_rounds(&ceiling.rounds, planned_rounds, &context);
        ceiling.warnings.extend(ceiling.warm_up.as_ref().and_then(warnings::of_warm_up));
        ceiling.warnings.extend(warnings::of_rating(ceiling.rating.as_ref()));
        ceiling.warnings.extend(warnings::of_injected_slowdown(injected_slowdown));
    }
    for case in &mut file.cases {
        case.throughput = throughput(case);
        let caches = context.caches_of(&case.axes.device);
        case.roofline = roofline::of_case(case, &file.ceilings, caches, &file.environment);
        case.claims = claims::of_case(case, &context);
        case.warnings = warnings::of_rounds(&case.rounds, planned_rounds, &context);
        case.warnings.extend(case.warm_up.as_ref().and_then(warnings::of_warm_up));
        case.warnings.extend(case.roofline.as_ref().and_then(warnings::of_roofline));
        let rating = case.roofline.as_ref().and_then(|roofline| roofline.rating.as_ref());
        case.warnings.extend(warnings::of_rating(rating));
        case.warnings.extend(warnings::of_injected_slowdown(injected_slowdown));
    }
}

/// Work of a round per second, one value for each round that the clock could see.
pub(super) fn rates(work_per_pass: u64, rounds: &[RoundFile]) -> Vec<f64> {
    rounds
        .iter()
        .filter(|round| round.total_ns > 0)
        .map(|round| work_per_pass as f64 * round.passes as f64 / (round.total_ns as f64 / 1e9))
        .collect()
}

/// Work of the fastest pass of a round per second, one value for each round that the clock could
/// see.
pub(super) fn pass_rates(work: u64, rounds: &[RoundFile]) -> Vec<f64> {
    let passes_ns = rounds.iter().map(|round| round.min_pass_ns).filter(|ns| *ns > 0);
    passes_ns.map(|ns| work as f64 / (ns as f64 / 1e9)).collect()
}

/// Tokens per second over rounds; absent without any.
pub(super) fn throughput(case: &CaseFile) -> Option<ThroughputFile> {
    let definition = match super::convert::case_of(&case.axes).ok()?.test {
        Test::Prefill { .. } => "prefill_tokens_per_s.v1",
        Test::Decode { .. } => "decode_tokens_per_s.v1",
        Test::Generate { .. } => "request_total_tokens_per_s.v1",
    };
    let rates = rates(case.work.tokens, &case.rounds);
    Some(ThroughputFile {
        definition: definition.into(),
        mean_tokens_per_s: stats::mean(&rates)?,
        stddev_tokens_per_s: stats::stddev(&rates),
        median_tokens_per_s: stats::median(&rates)?,
        interval: interval(&rates),
        outlier_rounds: outliers(&rates),
        rounds_tokens_per_s: rates,
    })
}

fn rate(ceiling: &CeilingFile) -> Option<RateFile> {
    let (unit, work) = match ceiling.gemm_size {
        Some(_) => (UnitFile::FlopsPerS, ceiling.flops.0),
        None => (UnitFile::BytesPerS, ceiling.bytes.0),
    };
    let rates = rates(work, &ceiling.rounds);
    Some(RateFile {
        unit,
        median_per_s: stats::median(&rates)?,
        best_per_s: stats::max(&[rates.clone(), pass_rates(work, &ceiling.rounds)].concat())?,
        interval: interval(&rates),
        rounds_per_s: rates,
    })
}

/// The interval for the median that the order of the values gives; absent below two.
pub fn interval(values: &[f64]) -> Option<IntervalFile> {
    let ranks = stats::median_interval(values.len(), COVERAGE)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(IntervalFile {
        lower: sorted[ranks.lower_rank - 1],
        upper: sorted[ranks.upper_rank - 1],
        coverage: ranks.coverage,
        lower_rank: ranks.lower_rank as u32,
        upper_rank: ranks.upper_rank as u32,
    })
}

/// Positions of values far from the others. Below five nothing is far.
fn outliers(values: &[f64]) -> Vec<u32> {
    let Some(median) = stats::median(values).filter(|_| values.len() >= 5) else {
        return Vec::new();
    };
    let distances: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    let sigma = stats::median(&distances).unwrap_or(0.0) * MAD_TO_SIGMA;
    // Values that are all but equal have no outliers of note.
    let far = (OUTLIER_SCORE * sigma).max(1e-3 * median.abs());
    (0_u32..).zip(distances).filter(|(_, distance)| *distance > far).map(|(i, _)| i).collect()
}

/// Bits of the wider input of a product's multiply. Attention may multiply wider ones; they count
/// no more.
pub(super) fn operand_bits(dtype: &DtypeFile) -> Option<u32> {
    dtype.operands().ok().map(Operands::bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::{Access, Direction, Probe, ProbeKind, ProbeSizes};
    use crate::result::test_files::round;
    use crate::units::Flops;

    #[test]
    fn intervals_say_what_they_cover() {
        let of = |n: u32| interval(&(1..=n).map(f64::from).collect::<Vec<_>>());
        assert_eq!(of(1), None);
        let five = of(5).unwrap();
        assert_eq!((five.lower, five.upper, five.coverage), (1.0, 5.0, 0.9375));
        let three = of(3).unwrap();
        assert_eq!((three.lower, three.upper, three.coverage), (1.0, 3.0, 0.75));
        let eight = of(8).unwrap();
        assert_eq!((eight.lower, eight.upper), (2.0, 7.0));
        assert!((0.92..0.93).contains(&eight.coverage));
    }

    proptest! {
        /// A ceiling below what its own claim proves would be known to be wrong.
        #[test]
        fn a_ceiling_is_never_below_its_own_claim(
            rounds in prop::collection::vec((1_u64..1 << 40, 0_u64..8, 0_u64..1 << 40), 1..6),
            (work, caches, resolution_ns) in (1_u64..1 << 60, 0_u64..1 << 40, 1_u64..1_000),
            is_product in any::<bool>(),
        ) {
            let text = include_str!("../../tests/data/results/valid/v1.1.json");
            let mut file = crate::result::parse(text).unwrap();
            file.environment.clock_resolution_ns = Some(resolution_ns);
            file.environment.cpu.all_caches_bytes = Some(Bytes(caches));
            file.environment.cpu.last_level_cache_bytes = Some(Bytes(caches / 2));
            file.ceilings.retain(|ceiling| ceiling.gemm_size.is_some() == is_product);
            for ceiling in &mut file.ceilings {
                (ceiling.flops, ceiling.bytes) = (Flops(work), Bytes(work));
                let round_of = |&(min_ns, slower, extra_ns): &(u64, u64, u64)| RoundFile {
                    passes: slower + 1,
                    total_ns: min_ns + slower * (min_ns + extra_ns),
                    max_pass_ns: min_ns + extra_ns,
                    ..round(min_ns, 0)
                };
                ceiling.rounds = rounds.iter().map(round_of).collect();
            }
            complete(&mut file);
            prop_assert!(!file.ceilings.is_empty());
            for ceiling in &file.ceilings {
                let best_per_s = ceiling.rate.as_ref().unwrap().best_per_s;
                let rounds_per_s = &ceiling.rate.as_ref().unwrap().rounds_per_s;
                prop_assert!(rounds_per_s.iter().all(|rate| *rate <= best_per_s));
                for claim in &ceiling.claims.as_ref().unwrap().existence {
                    prop_assert!(claim.per_second_at_least <= best_per_s);
                }
            }
        }
    }

    /// The fixture as if a GPU had run it, with a sealed text that is read back.
    #[test]
    fn a_file_of_a_device_proves_what_its_own_caches_cannot_have_served() {
        let text = include_str!("../../tests/data/results/valid/v1.1.json");
        let mut file = crate::result::parse(text).unwrap();
        let gpu = serde_json::json!({ "model": "NVIDIA H200", "l2_cache_bytes": 50 << 20 });
        file.format_version = crate::result::format::FORMAT_VERSION;
        file.environment.gpu = Some(serde_json::from_value(gpu).unwrap());
        // The processor's caches have nothing to do with it.
        file.environment.cpu.last_level_cache_bytes = Some(Bytes(1 << 50));
        file.plan.device = "cuda:0".into();
        file.cases.clear();
        let cuda = DeviceSpec::Cuda { ordinal: 0 };
        let sizes =
            ProbeSizes { gemm_size: 8192, working_set: Bytes(4 << 30), transfer: Bytes(512 << 20) };
        let template = file.ceilings[0].clone();
        let kinds = [
            ProbeKind::Gemm { operands: Operands::Tf32 },
            ProbeKind::Gemm { operands: Operands::Fp8E4M3 },
            ProbeKind::Memory { access: Access::Read },
            ProbeKind::Memory { access: Access::Copy },
            ProbeKind::Transfer { direction: Direction::HostToDevice },
        ];
        file.ceilings = kinds
            .map(|kind| {
                let probe = Probe { kind, device: cuda, n_threads: 2 };
                CeilingFile {
                    outcome: OutcomeFile::Measured,
                    rounds: vec![RoundFile { run_idx: 0, ..round(1_000_000, 0) }],
                    check: template.check.clone().map(|check| CheckFile { passes: 4, ..check }),
                    kernel: Some("cuda".into()),
                    ..crate::result::ceiling_file(&probe, &sizes)
                }
            })
            .into();
        complete(&mut file);
        let sealed = crate::result::seal(&mut file, None);
        let file = crate::result::parse(&sealed).unwrap();
        let claims = |i: usize| file.ceilings[i].claims.clone().unwrap();
        let bits = |i: usize| claims(i).existence[0].operand_bits;
        assert_eq!((bits(0), bits(1)), (Some(19), Some(8)));
        // Level 2 may have kept that much of a walk, and as much of what was written.
        assert_eq!(claims(2).existence[0].work, (4 << 30) - (50 << 20));
        assert_eq!(claims(3).existence[0].work, (4 << 30) - (100 << 20));
        assert!(claims(4).existence.is_empty() && claims(4).absent["bytes"].contains("link"));
        // A device that does not tell its level 2 may serve anything from there.
        let mut silent = file.clone();
        silent.environment.gpu.as_mut().unwrap().l2_cache_bytes = None;
        complete(&mut silent);
        let of_read = silent.ceilings[2].claims.as_ref().unwrap();
        assert!(of_read.existence.is_empty() && of_read.absent["bytes"].contains("last-level"));
    }

    #[test]
    fn a_round_far_from_the_others_is_flagged() {
        assert_eq!(outliers(&[10.0, 10.1, 9.9, 10.05, 5.0]), [4]);
        assert_eq!(outliers(&[10.0, 10.0, 10.0, 10.0, 10.001]), [0; 0]);
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 5.0]), [0; 0]);
        assert_eq!(outliers(&[10.0, 10.0, 1.0]), [0; 0]);
    }
}
