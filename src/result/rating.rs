//! What a processor is rated for: cores × operations per cycle × frequency. It is known for few
//! machines, and high on purpose: a figure above it is invalid, and nothing else follows from it.

use crate::case::{DeviceSpec, Operands};
use crate::result::file::*;
use crate::stats;
use crate::units::{Flops, flops_per_s_text};

/// Multiply-add units of a core: no x86 core has more of the widest kind.
const UNITS: u32 = 2;

/// The rating for a format on some threads, and the share of it that the fastest pass of `rounds`
/// reached; absent without rounds.
pub(super) fn of(
    cpu: &CpuFile,
    (device, dtype, n_threads): (&str, &DtypeFile, u32),
    flops: Flops,
    rounds: &[RoundFile],
) -> Option<RatingFile> {
    let best = stats::max(&super::derive::pass_rates(flops.0, rounds))?;
    let known = || {
        if device.parse() != Ok(DeviceSpec::Cpu) {
            return Err(format!("no rating of {device} is known"));
        }
        let flops_per_cycle = flops_per_cycle(cpu, dtype.operands()?)?;
        let frequency_hz = frequency_hz(cpu)?;
        // Hardware threads of a core share its units.
        let n_cores = n_threads.min(cpu.physical_cores);
        let flops_per_s = f64::from(n_cores) * f64::from(flops_per_cycle) * frequency_hz as f64;
        match flops_per_s > 0.0 {
            true => Ok(RatingFile::Known {
                n_cores,
                flops_per_cycle,
                frequency_hz,
                flops_per_s,
                share: best / flops_per_s,
            }),
            false => Err("the processor is said to have no cores or no frequency".to_owned()),
        }
    };
    Some(known().unwrap_or_else(|reason| RatingFile::Absent { reason }))
}

/// What is wrong with a figure above its rating; absent where there is nothing.
pub(super) fn invalid(rating: Option<&RatingFile>) -> Option<String> {
    match rating? {
        RatingFile::Known { flops_per_s, share, .. } if *share > 1.0 => Some(format!(
            "INVALID: its fastest pass is at {:.0} % of the {} that the processor is rated for; suspect the \
             count of operations, the format, sparsity, or a clock that was read before the work was done",
            share * 100.0,
            flops_per_s_text(*flops_per_s)
        )),
        _ => None,
    }
}

/// Operations of a core in a cycle, two per multiply-accumulate, by the widest instructions that
/// this processor has for a format, whether or not they were used. x86 alone: cores of other
/// architectures differ in the number of their units.
fn flops_per_cycle(cpu: &CpuFile, operands: Operands) -> Result<u32, String> {
    let has = |feature: &str| cpu.features.iter().any(|known| known == feature);
    let lanes = match operands {
        Operands::F16 if has("avx512fp16") => 32,
        // An instruction takes 32 pairs of them and sums each two.
        Operands::BF16 if has("avx512bf16") => 32,
        // Sums each four; where it takes several instructions, the first of them does as many.
        Operands::Int8 if has("avx512f") => 64,
        Operands::Int8 if has("avx2") => 32,
        _ if has("avx512f") => 16,
        _ if has("fma") => 8,
        _ => {
            return Err("operations per cycle are known for x86 with AVX2 or AVX-512 only".into());
        }
    };
    Ok(UNITS * lanes * 2)
}

/// The highest frequency. Some drivers leave boost out of it, so one that may be above is none.
fn frequency_hz(cpu: &CpuFile) -> Result<u64, String> {
    let max_hz = cpu.max_frequency_hz.ok_or("the system tells no maximum frequency")?;
    let is_whole = match (cpu.boost, cpu.base_frequency_hz) {
        (Some(false), _) => true,
        (_, Some(base_hz)) => base_hz < max_hz,
        (_, None) => false,
    };
    match is_whole {
        true => Ok(max_hz),
        false => Err("the maximum frequency that the system tells may leave boost out".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::test_files::round;

    fn cpu(features: &[&str], boost: Option<bool>, hz: [Option<u64>; 2]) -> CpuFile {
        let cpu = serde_json::json!({
            "model": null, "architecture": "x86_64", "physical_cores": 4, "logical_cores": 8,
            "features": features, "caches": [], "smt_active": null, "governor": null,
            "numa_nodes": null, "affinity": null, "boost": boost,
            "base_frequency_hz": hz[0], "max_frequency_hz": hz[1],
        });
        serde_json::from_value(cpu).unwrap()
    }

    fn flops_per_s(cpu: &CpuFile, dtype: &str, n_threads: u32) -> Result<f64, String> {
        let dtype = serde_json::from_value(dtype.into()).unwrap();
        match of(cpu, ("cpu", &dtype, n_threads), Flops(1_000), &[round(1_000, 0)]).unwrap() {
            RatingFile::Known { flops_per_s, .. } => Ok(flops_per_s),
            RatingFile::Absent { reason } => Err(reason),
        }
    }

    #[test]
    fn ratings_by_hand() {
        const GHZ: u64 = 1_000_000_000;
        let hz = [Some(2 * GHZ), Some(3 * GHZ)];
        let avx2 = cpu(&["avx2", "fma"], Some(true), hz);
        assert_eq!(flops_per_s(&avx2, "f32", 1), Ok(96e9));
        // Eight threads on four cores.
        assert_eq!(flops_per_s(&avx2, "bf16", 8), Ok(4.0 * 96e9));
        let avx512 = cpu(&["fma", "avx512f", "avx512bf16"], None, hz);
        assert_eq!(flops_per_s(&avx512, "f16", 2), Ok(2.0 * 192e9));
        assert_eq!(flops_per_s(&avx512, "bf16", 2), Ok(2.0 * 384e9));
        assert_eq!(flops_per_s(&avx512, "q4_k", 2), Ok(2.0 * 768e9));
        assert_eq!(flops_per_s(&avx2, "int8", 1), Ok(4.0 * 96e9));
        // Without boost the maximum is one, whatever the base.
        let fixed = cpu(&["fma"], Some(false), [None, Some(GHZ)]);
        assert_eq!(flops_per_s(&fixed, "f32", 1), Ok(32e9));
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let none = |cpu: &CpuFile, words: &str| {
            let reason = flops_per_s(cpu, "f32", 1).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        };
        none(&cpu(&["fma"], None, [None, None]), "no maximum frequency");
        none(&cpu(&["fma"], Some(true), [None, Some(5)]), "may leave boost out");
        none(&cpu(&["fma"], Some(true), [Some(5), Some(5)]), "may leave boost out");
        none(&cpu(&["neon"], Some(false), [None, Some(5)]), "x86");
        none(&cpu(&["fma"], Some(false), [None, Some(0)]), "no frequency");
        let cuda = of(
            &cpu(&[], None, [None; 2]),
            ("cuda:0", &DtypeFile::F32, 1),
            Flops(1),
            &[round(1, 0)],
        );
        assert!(matches!(cuda, Some(RatingFile::Absent { .. })));
        assert_eq!(
            of(&cpu(&[], None, [None; 2]), ("cpu", &DtypeFile::F32, 1), Flops(1), &[]),
            None
        );
    }

    #[test]
    fn above_the_rating_is_invalid() {
        let cpu = cpu(&["fma"], Some(false), [None, Some(1_000_000_000)]);
        // 32 operations in a nanosecond are all of it.
        let of = |flops| {
            let rating = of(&cpu, ("cpu", &DtypeFile::F32, 1), Flops(flops), &[round(1_000, 0)]);
            invalid(rating.as_ref())
        };
        assert_eq!(of(32_000), None);
        assert!(
            of(48_000)
                .unwrap()
                .starts_with("INVALID: its fastest pass is at 150 % of the 32.0 GFLOP/s")
        );
        assert_eq!(invalid(None), None);
    }
}
