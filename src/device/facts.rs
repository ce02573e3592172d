//! What a device that is not the processor tells of itself, and of its state at a moment.

use std::collections::BTreeMap;

/// A device. What is absent has its reason in `unavailable`, under the field's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceFacts {
    /// Its name.
    pub name: Option<String>,
    /// SHA-256 of what tells it from all others, in hexadecimal: two files show that they are of one
    /// device, and nobody learns which.
    pub uuid_sha256: Option<String>,
    /// Compute capability, such as `9.0`.
    pub capability: Option<String>,
    /// Multiprocessors.
    pub n_multiprocessors: Option<u32>,
    /// Level 2 cache.
    pub l2_cache_bytes: Option<u64>,
    /// All of its memory.
    pub memory_bytes: Option<u64>,
    /// Memory that was free when it was opened.
    pub memory_available_bytes: Option<u64>,
    /// Whether its memory corrects errors.
    pub ecc: Option<bool>,
    /// Whether it is split into slices.
    pub mig: Option<bool>,
    /// The highest clock of its multiprocessors.
    pub max_sm_clock_hz: Option<u64>,
    /// The highest clock of its memory.
    pub max_memory_clock_hz: Option<u64>,
    /// The power that it may draw.
    pub power_limit_mw: Option<u64>,
    /// Other processes that compute on it.
    pub other_processes: Option<u32>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// The newest CUDA that the driver knows.
    pub driver_cuda: Option<String>,
    /// Version of the CUDA runtime in use.
    pub runtime_cuda: Option<String>,
    /// Whether allocations are followed by events, which costs each of them four calls.
    pub event_tracking: Option<bool>,
    /// Whether freed memory stays with the process.
    pub keeps_memory: Option<bool>,
    /// What is absent, each with the reason.
    pub unavailable: BTreeMap<String, String>,
}

/// A device at one moment. What is absent is not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceConditions {
    /// Clock of its multiprocessors.
    pub sm_clock_hz: Option<u64>,
    /// Clock of its memory.
    pub memory_clock_hz: Option<u64>,
    /// Power it draws.
    pub power_mw: Option<u64>,
    /// Temperature.
    pub temperature_c: Option<u32>,
    /// What keeps its clocks below the highest.
    pub throttle_reasons: Option<Vec<ThrottleReason>>,
}

/// Why a device's clocks are below the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleReason {
    /// Nothing runs.
    Idle,
    /// Clocks that were set for applications.
    ApplicationClocks,
    /// Its power limit.
    PowerCap,
    /// A slowdown by hardware: heat, power, or a brake from outside.
    HardwareSlowdown,
    /// Another device that it keeps in step with.
    SyncBoost,
    /// Heat, by software.
    SoftwareThermal,
    /// Heat, by hardware.
    HardwareThermal,
    /// A brake from the power supply.
    PowerBrake,
    /// Clocks that were set for a display.
    DisplayClocks,
}
