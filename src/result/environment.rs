//! What the machine tells about itself.

use std::collections::BTreeMap;

use sysinfo::System;

use crate::machine::{Cache, Machine};
use crate::measure::{self, MonotonicClock};
use crate::result::file::{CacheFile, CpuFile, EnvironmentFile};
use crate::units::Bytes;

/// Physical cores that this process may use: what a run takes when `--threads` is not given.
pub fn physical_cores() -> u32 {
    // An affinity mask or a control group may leave fewer than the machine has.
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    num_cpus::get_physical().clamp(1, usable) as u32
}

/// Hardware threads, given by their numbers, in the order in which threads are bound to them: the
/// first of each core, then those that share a core with one before.
pub fn cores_first(mut cpus: Vec<u32>) -> Vec<u32> {
    // Without a word about cores, each counts as one.
    let firsts = Machine::default().first_of_cores().unwrap_or_default();
    cpus.sort_by_key(|cpu| (!firsts.contains(cpu), *cpu));
    cpus
}

/// Memory that a new allocation can use without swapping.
pub fn available_memory() -> Option<Bytes> {
    memory().map(|memory| memory.available)
}

/// All memory of the machine, or of the control group that limits this process.
pub fn total_memory() -> Option<Bytes> {
    memory().map(|memory| memory.total)
}

/// All instances of the last-level cache, if the system tells.
pub fn last_level_cache() -> Option<Bytes> {
    Machine::default().cache_totals().ok().map(|totals| totals.last_level_bytes)
}

/// The machine, as result files describe it. What the system does not tell is absent and listed
/// with the reason, never guessed. Nothing here names a person, a host or one single device.
pub fn environment() -> EnvironmentFile {
    let mut told = Told::default();
    let machine = Machine::default();
    let cpu = cpu(&machine, &mut told);
    let memory = told.ask("memory", memory().ok_or_else(|| "the system gives no total".into()));
    EnvironmentFile {
        os: told.ask("os", System::long_os_version().map_err(|e| e.to_string())),
        kernel: told.ask("kernel", System::kernel_version().map_err(|e| e.to_string())),
        cpu,
        load_average_1min: told.ask("load_average_1min", load_average()),
        memory_bytes: memory.map(|memory| memory.total),
        memory_available_bytes: memory.map(|memory| memory.available),
        swap_total_bytes: memory.map(|memory| memory.swap),
        transparent_hugepages: told.ask("transparent_hugepages", machine.transparent_hugepages()),
        clocksource: told.ask("clocksource", machine.clocksource()),
        clock_resolution_ns: told.ask("clock_resolution_ns", clock_resolution_ns()),
        gpu: None,
        unavailable: told.unavailable,
    }
}

fn cpu(machine: &Machine, told: &mut Told) -> CpuFile {
    let (model, vendor) = cpu_names();
    let caches_together = machine.cache_totals();
    CpuFile {
        model: told.ask("cpu.model", model),
        vendor: told.ask("cpu.vendor", vendor),
        microcode: told.ask("cpu.microcode", machine.microcode()),
        hypervisor: told.ask("cpu.hypervisor", machine.hypervisor()),
        architecture: System::cpu_arch(),
        physical_cores: num_cpus::get_physical() as u32,
        logical_cores: num_cpus::get() as u32,
        sockets: told.ask("cpu.sockets", machine.n_sockets()),
        threads_per_core: told.ask("cpu.threads_per_core", machine.threads_per_core()),
        features: cpu_features(),
        caches: told.ask("cpu.caches", caches(machine)).unwrap_or_default(),
        last_level_cache_bytes: told.ask(
            "cpu.last_level_cache_bytes",
            caches_together.clone().map(|totals| totals.last_level_bytes),
        ),
        all_caches_bytes: told
            .ask("cpu.all_caches_bytes", caches_together.map(|totals| totals.all_levels_bytes)),
        smt_active: told
            .ask("cpu.smt_active", machine.text("sys/devices/system/cpu/smt/active"))
            .map(|text| text == "1"),
        governor: told.ask(
            "cpu.governor",
            machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ),
        base_frequency_hz: told.ask("cpu.base_frequency_hz", machine.base_frequency_hz()),
        max_frequency_hz: told.ask("cpu.max_frequency_hz", machine.max_frequency_hz()),
        min_frequency_hz: told.ask("cpu.min_frequency_hz", machine.min_frequency_hz()),
        boost: told.ask("cpu.boost", machine.boost()),
        numa_nodes: told.ask("cpu.numa_nodes", machine.text("sys/devices/system/node/online")),
        affinity: told.ask("cpu.affinity", machine.affinity()),
        quota_cpus: told.ask("cpu.quota_cpus", machine.quota_cpus()),
    }
}

/// Collects why the system does not tell something.
#[derive(Default)]
struct Told {
    unavailable: BTreeMap<String, String>,
}

impl Told {
    fn ask<T>(&mut self, key: &str, answer: Result<T, String>) -> Option<T> {
        answer.map_err(|reason| self.unavailable.insert(key.to_owned(), reason)).ok()
    }
}

/// The names of the processor's model and of its maker.
fn cpu_names() -> (Result<String, String>, Result<String, String>) {
    let mut system = match System::new() {
        Ok(system) => system,
        Err(e) => return (Err(e.to_string()), Err(e.to_string())),
    };
    system.refresh_cpu_all();
    let name = |of: fn(&sysinfo::Cpu) -> &str| {
        let name = system.cpus().first().map(|cpu| of(cpu).trim().to_owned());
        name.filter(|name| !name.is_empty()).ok_or_else(|| "the system gives no name".into())
    };
    (name(sysinfo::Cpu::brand), name(sysinfo::Cpu::vendor_id))
}

/// The caches of the first core.
fn caches(machine: &Machine) -> Result<Vec<CacheFile>, String> {
    let file = |cache: Cache| CacheFile {
        level: cache.level,
        kind: cache.kind.as_str().into(),
        size_bytes: cache.size_bytes,
        shared_by_threads: cache.shared_by_threads,
    };
    Ok(machine.caches_of(0)?.into_iter().map(file).collect())
}

/// Of the clock that measures.
fn clock_resolution_ns() -> Result<u64, String> {
    match measure::resolution_ns(&MonotonicClock::default()) {
        0 => Err("the clock did not move while it was read".into()),
        ns => Ok(ns),
    }
}

/// How many threads wanted to run, on average, before this run began.
fn load_average() -> Result<f64, String> {
    let one = System::load_average().map_err(|e| e.to_string())?.one;
    match one.is_finite() {
        true => Ok(one),
        false => Err(format!("the system says {one}")),
    }
}

#[derive(Clone, Copy)]
struct Memory {
    total: Bytes,
    available: Bytes,
    swap: Bytes,
}

/// Memory of the machine, or under the control group's limit if that is lower.
fn memory() -> Option<Memory> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let (mut total, mut available) = (system.total_memory(), system.available_memory());
    if let Some(limits) = system.cgroup_limits() {
        total = total.min(limits.total_memory);
        available = available.min(limits.free_memory);
    }
    // A system that cannot tell says 0.
    (total > 0).then_some(Memory {
        total: Bytes(total),
        available: Bytes(available),
        swap: Bytes(system.total_swap()),
    })
}

/// The extensions that decide how fast products and conversions run, in ascending order of age.
fn cpu_features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
        ("avx512fp16", std::is_x86_feature_detected!("avx512fp16")),
        ("avxvnni", std::is_x86_feature_detected!("avxvnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn everything_is_told_or_has_a_reason() {
        let environment = serde_json::to_value(environment()).unwrap();
        let reasons = environment["unavailable"].as_object().unwrap();
        let mut absent = Vec::new();
        for (prefix, part) in [("", &environment), ("cpu.", &environment["cpu"])] {
            for (key, value) in part.as_object().unwrap() {
                // Three figures come from one answer.
                let is_memory = key.starts_with("memory_") || key == "swap_total_bytes";
                let key = if is_memory { "memory".into() } else { format!("{prefix}{key}") };
                let is_absent =
                    value.is_null() || (key == "cpu.caches" && *value == Value::Array(vec![]));
                assert_eq!(is_absent, reasons.contains_key(&key), "{key}");
                absent.extend(is_absent.then_some(key));
            }
        }
        // A later key is left out where it is absent.
        if environment["cpu"].get("all_caches_bytes").is_none() {
            absent.push("cpu.all_caches_bytes".into());
        }
        // Every reason is about a key of the file.
        assert!(reasons.keys().all(|key| absent.contains(key)), "{reasons:?}");
        assert!(reasons.values().all(|reason| !reason.as_str().unwrap().is_empty()));
    }

    #[test]
    fn an_environment_without_later_keys_is_read() {
        let old = serde_json::json!({
            "os": null, "kernel": null, "load_average_1min": null,
            "memory_bytes": null, "memory_available_bytes": null, "unavailable": {},
            "cpu": {
                "model": null, "architecture": "x86_64", "physical_cores": 1,
                "logical_cores": 1, "features": [], "caches": [], "smt_active": null,
                "governor": null, "numa_nodes": null, "affinity": null,
            },
        });
        let environment: EnvironmentFile = serde_json::from_value(old).unwrap();
        assert_eq!(environment.cpu.last_level_cache_bytes, None);
        assert_eq!(environment.clocksource, None);
    }
}
