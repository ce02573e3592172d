//! What a device is rated for: cores × operations per cycle × frequency. It is known for few of
//! them, and high on purpose: a figure above it is invalid, and nothing else follows from it.

use crate::case::{DeviceSpec, Operands};
use crate::result::file::*;
use crate::stats;
use crate::units::{Flops, flops_per_s_text};

/// Multiply-add units of a core: no x86 core has more of the widest kind.
const UNITS: u32 = 2;

/// The factors of a rating.
struct Factors {
    n_cores: u32,
    flops_per_cycle: u32,
    frequency_hz: u64,
}

/// The rating for a format on some threads, and the share of it that the fastest pass of `rounds`
/// reached; absent without rounds.
pub(super) fn of(
    environment: &EnvironmentFile,
    (device, dtype, n_threads): (&str, &DtypeFile, u32),
    flops: Flops,
    rounds: &[RoundFile],
) -> Option<RatingFile> {
    let best = stats::max(&super::derive::pass_rates(flops.0, rounds))?;
    let known = || {
        let operands = dtype.operands()?;
        let Factors { n_cores, flops_per_cycle, frequency_hz } = match device.parse() {
            Ok(DeviceSpec::Cpu) => of_processor(&environment.cpu, operands, n_threads),
            Ok(DeviceSpec::Cuda { .. }) => of_gpu(environment.gpu.as_ref(), operands),
            Err(_) => Err(format!("no rating of {device} is known")),
        }?;
        let flops_per_s = f64::from(n_cores) * f64::from(flops_per_cycle) * frequency_hz as f64;
        match flops_per_s > 0.0 {
            true => Ok(RatingFile::Known {
                n_cores,
                flops_per_cycle,
                frequency_hz,
                flops_per_s,
                share: best / flops_per_s,
            }),
            false => Err("the device is said to have no cores or no frequency".to_owned()),
        }
    };
    Some(known().unwrap_or_else(|reason| RatingFile::Absent { reason }))
}

/// What is wrong with a figure above its rating; absent where there is nothing.
pub(super) fn invalid(rating: Option<&RatingFile>) -> Option<String> {
    match rating? {
        RatingFile::Known { flops_per_s, share, .. } if *share > 1.0 => Some(format!(
            "INVALID: its fastest pass is at {:.0} % of the {} that the device is rated for; suspect the \
             count of operations, the format, sparsity, or a clock that was read before the work was done",
            share * 100.0,
            flops_per_s_text(*flops_per_s)
        )),
        _ => None,
    }
}

fn of_processor(cpu: &CpuFile, operands: Operands, n_threads: u32) -> Result<Factors, String> {
    Ok(Factors {
        // Hardware threads of a core share its units.
        n_cores: n_threads.min(cpu.physical_cores),
        flops_per_cycle: flops_per_cycle(cpu, operands)?,
        frequency_hz: frequency_hz(cpu)?,
    })
}

fn of_gpu(gpu: Option<&GpuFile>, operands: Operands) -> Result<Factors, String> {
    let gpu = gpu.ok_or("nothing is told of the device")?;
    let capability = gpu.compute_capability.as_deref().and_then(|it| {
        let (major, minor) = it.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let capability = capability.ok_or("the device tells no compute capability")?;
    Ok(Factors {
        n_cores: gpu.n_multiprocessors.ok_or("the device tells no number of multiprocessors")?,
        flops_per_cycle: tensor_flops_per_cycle(capability, operands)?,
        frequency_hz: gpu.max_sm_clock_hz.ok_or("the device tells no highest clock")?,
    })
}

/// Dense operations of a multiprocessor in a cycle, by its tensor cores, which no other unit of it
/// exceeds. Sums in f16 are as fast as any, so where those in f32 are slower (GeForce) this is
/// twice what a product of ours reaches. They follow from
/// published peaks (`docs/measurement.md`).
fn tensor_flops_per_cycle(capability: (u32, u32), operands: Operands) -> Result<u32, String> {
    let of_f16 = match capability {
        (8, 0 | 7) => 2048,
        (8, _) | (12, _) => 1024,
        (9, 0) => 4096,
        (10, _) => 8192,
        (major, minor) => {
            return Err(format!(
                "operations per cycle are not known for compute capability {major}.{minor}"
            ));
        }
    };
    Ok(match operands {
        // Libraries may cut numbers of f32 to TF32.
        Operands::F32 | Operands::Tf32 => of_f16 / 2,
        Operands::F16 | Operands::BF16 => of_f16,
        Operands::Fp8E4M3 | Operands::Int8 => of_f16 * 2,
    })
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

    /// A machine with such a processor and no GPU.
    fn cpu(features: &[&str], boost: Option<bool>, hz: [Option<u64>; 2]) -> EnvironmentFile {
        let cpu = serde_json::json!({
            "model": null, "architecture": "x86_64", "physical_cores": 4, "logical_cores": 8,
            "features": features, "caches": [], "smt_active": null, "governor": null,
            "numa_nodes": null, "affinity": null, "boost": boost,
            "base_frequency_hz": hz[0], "max_frequency_hz": hz[1],
        });
        let fixture = include_str!("../../tests/data/results/valid/v1.1.json");
        let environment = crate::result::parse(fixture).unwrap().environment;
        EnvironmentFile { cpu: serde_json::from_value(cpu).unwrap(), ..environment }
    }

    /// A machine with such a GPU.
    fn gpu(capability: &str, n_multiprocessors: u32, mhz: u64) -> EnvironmentFile {
        let gpu = serde_json::json!({
            "compute_capability": capability, "n_multiprocessors": n_multiprocessors,
            "max_sm_clock_hz": mhz * 1_000_000,
        });
        let gpu = serde_json::from_value(gpu).unwrap();
        EnvironmentFile { gpu: Some(gpu), ..cpu(&[], None, [None; 2]) }
    }

    fn flops_per_s(machine: &EnvironmentFile, dtype: &str, n_threads: u32) -> Result<f64, String> {
        let dtype = serde_json::from_value(dtype.into()).unwrap();
        let device = if machine.gpu.is_some() { "cuda:0" } else { "cpu" };
        match of(machine, (device, &dtype, n_threads), Flops(1_000), &[round(1_000, 0)]).unwrap() {
            RatingFile::Known { flops_per_s, .. } => Ok(flops_per_s),
            RatingFile::Absent { reason } => Err(reason),
        }
    }

    /// Multiprocessors and boost clocks with the dense peaks that NVIDIA publishes for them (white
    /// papers of A100, H100, GA102, Ada and RTX Blackwell).
    #[test]
    fn ratings_of_gpus_are_the_published_peaks_at_the_published_clocks() {
        for (capability, n, mhz, peaks) in [
            ("8.0", 108, 1410, [("bf16", 312.0), ("tf32", 156.0), ("int8", 624.0)]),
            ("8.6", 84, 1740, [("f16", 149.7), ("tf32", 74.8), ("int8", 299.3)]),
            ("8.9", 142, 2490, [("f16", 362.0), ("tf32", 181.0), ("fp8_e4m3", 724.0)]),
            ("9.0", 132, 1830, [("bf16", 989.4), ("tf32", 494.7), ("fp8_e4m3", 1978.9)]),
            ("12.0", 170, 2407, [("f16", 419.0), ("fp8_e4m3", 838.0), ("int8", 838.0)]),
        ] {
            let machine = gpu(capability, n, mhz);
            for (dtype, tflops) in peaks {
                let found = flops_per_s(&machine, dtype, 1).unwrap() / 1e12;
                assert!((found / tflops - 1.0).abs() < 1e-3, "{capability} {dtype}: {found}");
            }
            assert_eq!(flops_per_s(&machine, "f32", 1), flops_per_s(&machine, "tf32", 1));
        }
    }

    #[test]
    fn what_is_not_told_of_a_gpu_has_a_reason() {
        let none = |change: fn(&mut GpuFile), words: &str| {
            let mut machine = gpu("9.0", 132, 1980);
            change(machine.gpu.as_mut().unwrap());
            let reason = flops_per_s(&machine, "bf16", 1).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        };
        none(|gpu| gpu.compute_capability = None, "no compute capability");
        none(|gpu| gpu.compute_capability = Some("nine".into()), "no compute capability");
        none(|gpu| gpu.compute_capability = Some("7.5".into()), "compute capability 7.5");
        none(|gpu| gpu.n_multiprocessors = None, "multiprocessors");
        none(|gpu| gpu.n_multiprocessors = Some(0), "no cores");
        none(|gpu| gpu.max_sm_clock_hz = None, "highest clock");
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
        let none = |cpu: &EnvironmentFile, words: &str| {
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
