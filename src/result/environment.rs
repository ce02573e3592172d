//! What the machine tells about itself.

use std::collections::BTreeMap;

use sysinfo::System;

use crate::result::file::{CacheFile, CpuFile, EnvironmentFile};
use crate::units::Bytes;

/// Physical cores that this process may use: what a run takes when `--threads` is not given.
pub fn physical_cores() -> u32 {
    // An affinity mask or a control group may leave fewer than the machine has.
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    num_cpus::get_physical().clamp(1, usable) as u32
}

/// Memory that a new allocation can use without swapping.
pub fn available_memory() -> Option<Bytes> {
    memory().map(|memory| memory.available)
}

/// The machine, as result files describe it. What the system does not tell is absent and listed
/// with the reason, never guessed.
pub fn environment() -> EnvironmentFile {
    let mut told = Told::default();
    let memory = told.ask("memory", memory().ok_or_else(|| "the system gives no total".into()));
    let cpu = CpuFile {
        model: told.ask("cpu.model", cpu_model()),
        architecture: System::cpu_arch(),
        physical_cores: num_cpus::get_physical() as u32,
        logical_cores: num_cpus::get() as u32,
        features: cpu_features(),
        caches: told.ask("cpu.caches", caches()).unwrap_or_default(),
        smt_active: told
            .ask("cpu.smt_active", sysfs("/sys/devices/system/cpu/smt/active"))
            .map(|text| text == "1"),
        governor: told
            .ask("cpu.governor", sysfs("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        numa_nodes: told.ask("cpu.numa_nodes", sysfs("/sys/devices/system/node/online")),
        affinity: told.ask("cpu.affinity", affinity()),
    };
    EnvironmentFile {
        os: told.ask("os", System::long_os_version().map_err(|e| e.to_string())),
        kernel: told.ask("kernel", System::kernel_version().map_err(|e| e.to_string())),
        cpu,
        load_average_1min: told.ask("load_average_1min", load_average()),
        memory_bytes: memory.map(|memory| memory.total),
        memory_available_bytes: memory.map(|memory| memory.available),
        unavailable: told.unavailable,
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

/// A one-line file of the kernel's.
fn sysfs(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    Ok(text.trim().to_owned())
}

fn cpu_model() -> Result<String, String> {
    let mut system = System::new().map_err(|e| e.to_string())?;
    system.refresh_cpu_all();
    let model = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    model.filter(|model| !model.is_empty()).ok_or_else(|| "the system gives no name".into())
}

/// The caches of the first core.
fn caches() -> Result<Vec<CacheFile>, String> {
    let root = "/sys/devices/system/cpu/cpu0/cache";
    let mut caches = Vec::new();
    for index in 0.. {
        let of = |name: &str| sysfs(&format!("{root}/index{index}/{name}"));
        let level = match of("level") {
            Ok(level) => level,
            Err(_) if index > 0 => break,
            Err(reason) => return Err(reason),
        };
        let size = of("size")?;
        let kib = size.strip_suffix('K').and_then(|kib| kib.parse::<u64>().ok());
        caches.push(CacheFile {
            level: level.parse().map_err(|_| format!("a cache has level `{level}`"))?,
            kind: of("type")?.to_lowercase(),
            size_bytes: Bytes(kib.ok_or_else(|| format!("a cache has size `{size}`"))? * 1024),
            shared_by_threads: of("shared_cpu_list")?,
        });
    }
    Ok(caches)
}

/// Hardware threads that this process may run on, as the kernel lists them.
fn affinity() -> Result<String, String> {
    let status = sysfs("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .map(|list| list.trim().to_owned())
        .ok_or_else(|| "the kernel does not list it".into())
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
    (total > 0).then_some(Memory { total: Bytes(total), available: Bytes(available) })
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
