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
pub struct DeviceSample {
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

/// A device over some time, by samples. What is absent is not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceConditions {
    /// Samples taken while it was busy; 0 if all found it idle.
    pub n_busy: u32,
    /// The last sample, of those while it was busy if there are any.
    pub last: DeviceSample,
    /// Least and greatest clock of its multiprocessors.
    pub sm_clock_hz: Option<(u64, u64)>,
    /// Least and greatest power.
    pub power_mw: Option<(u64, u64)>,
    /// All that kept its clocks down, each once.
    pub throttle_reasons: Option<Vec<ThrottleReason>>,
}

impl DeviceConditions {
    /// With another sample. One that found the device idle, between two passes, says nothing of the
    /// others, and is kept until there is one that did not.
    pub fn add(&mut self, sample: DeviceSample) {
        let reasons = sample.throttle_reasons.as_deref();
        let is_idle = reasons.is_some_and(|reasons| reasons.contains(&ThrottleReason::Idle));
        if is_idle && self.n_busy > 0 {
            return;
        }
        if !is_idle && self.n_busy == 0 {
            *self = Self::default();
        }
        self.n_busy += u32::from(!is_idle);
        let widen = |range: Option<(u64, u64)>, value: Option<u64>| match (range, value) {
            (Some((least, greatest)), Some(value)) => Some((least.min(value), greatest.max(value))),
            (None, value) => value.map(|value| (value, value)),
            (range, None) => range,
        };
        self.sm_clock_hz = widen(self.sm_clock_hz, sample.sm_clock_hz);
        self.power_mw = widen(self.power_mw, sample.power_mw);
        if let Some(reasons) = reasons {
            let all = self.throttle_reasons.get_or_insert_default();
            for reason in reasons {
                if !all.contains(reason) {
                    all.push(*reason);
                }
            }
        }
        self.last = sample;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_an_idle_device_give_way_to_others() {
        let sample = |mhz: u64, mw, reasons: &[ThrottleReason]| DeviceSample {
            sm_clock_hz: Some(mhz * 1_000_000),
            power_mw: Some(mw),
            throttle_reasons: Some(reasons.to_vec()),
            ..DeviceSample::default()
        };
        let mut conditions = DeviceConditions::default();
        conditions.add(sample(345, 70_000, &[ThrottleReason::Idle]));
        assert_eq!((conditions.n_busy, conditions.power_mw), (0, Some((70_000, 70_000))));
        conditions.add(sample(1980, 500_000, &[]));
        conditions.add(sample(345, 70_000, &[ThrottleReason::Idle]));
        conditions.add(sample(1755, 699_000, &[ThrottleReason::PowerCap]));
        conditions.add(sample(1800, 690_000, &[ThrottleReason::PowerCap]));
        assert_eq!(conditions.n_busy, 3);
        assert_eq!(conditions.sm_clock_hz, Some((1_755_000_000, 1_980_000_000)));
        assert_eq!(conditions.power_mw, Some((500_000, 699_000)));
        assert_eq!(conditions.throttle_reasons, Some(vec![ThrottleReason::PowerCap]));
        assert_eq!(conditions.last.sm_clock_hz, Some(1_800_000_000));
        // What is not told stays untold.
        let mut silent = DeviceConditions::default();
        silent.add(DeviceSample::default());
        assert_eq!((silent.sm_clock_hz, silent.throttle_reasons), (None, None));
    }
}
