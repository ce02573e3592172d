//! What the machine tells about itself.

use sysinfo::System;

use crate::result::file::{CpuFile, EnvironmentFile};
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

/// The machine, as result files describe it.
pub fn environment() -> EnvironmentFile {
    let memory = memory();
    let unknown = || "unknown".to_owned();
    EnvironmentFile {
        os: System::long_os_version().unwrap_or_else(|_| unknown()),
        kernel: System::kernel_version().ok(),
        cpu: CpuFile {
            model: cpu_model().unwrap_or_else(unknown),
            architecture: System::cpu_arch(),
            physical_cores: num_cpus::get_physical() as u32,
            logical_cores: num_cpus::get() as u32,
            features: cpu_features(),
        },
        memory_bytes: memory.map(|memory| memory.total),
        memory_available_bytes: memory.map(|memory| memory.available),
    }
}

fn cpu_model() -> Option<String> {
    let mut system = System::new().ok()?;
    system.refresh_cpu_all();
    let model = system.cpus().first()?.brand().trim().to_owned();
    (!model.is_empty()).then_some(model)
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
