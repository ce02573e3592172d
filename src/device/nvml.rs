//! What NVIDIA's management library tells of a device. It comes with the driver and is looked for
//! when it is needed; without it, everything else still runs.

use std::sync::{Arc, OnceLock};

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::facts::{DeviceFacts, DeviceSample, ThrottleReason};

/// A device as the library sees it.
#[derive(Clone, Debug)]
pub struct Monitor {
    pci_bus_id: Arc<str>,
}

/// The library, started once; what it said if it could not be.
fn library() -> Result<&'static Nvml, &'static str> {
    static LIBRARY: OnceLock<Result<Nvml, String>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| Nvml::init().map_err(|e| e.to_string()));
    library.as_ref().map_err(String::as_str)
}

impl Monitor {
    /// The device in that place.
    pub fn new(pci_bus_id: &str) -> Self {
        Self { pci_bus_id: pci_bus_id.into() }
    }

    fn device(&self) -> Result<Device<'static>, String> {
        let library = library().map_err(|problem| format!("NVML cannot be used: {problem}"))?;
        library
            .device_by_pci_bus_id(&*self.pci_bus_id)
            .map_err(|problem| format!("NVML does not know the device: {problem}"))
    }

    /// Completes what the driver told.
    pub fn complete(&self, facts: &mut DeviceFacts) {
        let device = match self.device() {
            Ok(device) => device,
            Err(reason) => {
                let keys = [
                    "ecc",
                    "mig",
                    "max_sm_clock_hz",
                    "max_memory_clock_hz",
                    "power_limit_mw",
                    "other_processes",
                    "driver",
                ];
                facts.unavailable.extend(keys.map(|key| (key.to_owned(), reason.clone())));
                return;
            }
        };
        let unavailable = &mut facts.unavailable;
        let mut no = |key: &str, problem: String| {
            unavailable.insert(key.to_owned(), problem);
        };
        let mut told = |key: &str, value: Result<u32, NvmlError>| {
            value.map_err(|problem| no(key, problem.to_string())).ok()
        };
        let mhz = |mhz: u32| u64::from(mhz) * 1_000_000;
        let clock = |clock| device.max_clock_info(clock);
        facts.max_sm_clock_hz = told("max_sm_clock_hz", clock(Clock::SM)).map(mhz);
        facts.max_memory_clock_hz = told("max_memory_clock_hz", clock(Clock::Memory)).map(mhz);
        facts.power_limit_mw = told("power_limit_mw", device.enforced_power_limit()).map(u64::from);
        let ecc = device.is_ecc_enabled().map(|state| u32::from(state.currently_enabled));
        facts.ecc = told("ecc", ecc).map(|on| on == 1);
        facts.mig = told("mig", device.mig_mode().map(|mode| mode.current)).map(|on| on == 1);
        // This process has the device open, so it is one of them.
        match device.running_compute_processes() {
            Ok(all) if all.iter().any(|process| process.pid == std::process::id()) => {
                facts.other_processes = Some(all.len() as u32 - 1);
            }
            Ok(_) => no(
                "other_processes",
                "the driver's numbers of processes are not those of this namespace".to_owned(),
            ),
            Err(problem) => no("other_processes", problem.to_string()),
        }
        match library().map(Nvml::sys_driver_version) {
            Ok(Ok(version)) => facts.driver = Some(version),
            Ok(Err(problem)) => no("driver", problem.to_string()),
            Err(_) => {}
        }
    }

    /// The device now.
    pub fn sample(&self) -> DeviceSample {
        let Ok(device) = self.device() else { return DeviceSample::default() };
        let clock = |clock| device.clock_info(clock).ok().map(|mhz| u64::from(mhz) * 1_000_000);
        DeviceSample {
            sm_clock_hz: clock(Clock::SM),
            memory_clock_hz: clock(Clock::Memory),
            power_mw: device.power_usage().ok().map(u64::from),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
            throttle_reasons: device.current_throttle_reasons().ok().map(reasons),
        }
    }
}

fn reasons(bits: ThrottleReasons) -> Vec<ThrottleReason> {
    [
        (ThrottleReasons::GPU_IDLE, ThrottleReason::Idle),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, ThrottleReason::ApplicationClocks),
        (ThrottleReasons::SW_POWER_CAP, ThrottleReason::PowerCap),
        (ThrottleReasons::HW_SLOWDOWN, ThrottleReason::HardwareSlowdown),
        (ThrottleReasons::SYNC_BOOST, ThrottleReason::SyncBoost),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, ThrottleReason::SoftwareThermal),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, ThrottleReason::HardwareThermal),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, ThrottleReason::PowerBrake),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, ThrottleReason::DisplayClocks),
    ]
    .into_iter()
    .filter(|(bit, _)| bits.contains(*bit))
    .map(|(_, reason)| reason)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_reasons_are_told_apart() {
        assert_eq!(reasons(ThrottleReasons::empty()), []);
        let hot = ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_THERMAL_SLOWDOWN;
        assert_eq!(reasons(hot), [ThrottleReason::PowerCap, ThrottleReason::HardwareThermal]);
        assert_eq!(reasons(ThrottleReasons::all()).len(), 9);
    }

    #[test]
    fn without_the_library_all_that_it_would_tell_has_a_reason() {
        if library().is_ok() {
            eprintln!("skipped: there is an NVIDIA driver here");
            return;
        }
        let mut facts = DeviceFacts::default();
        let monitor = Monitor::new("0000:00:00.0");
        monitor.complete(&mut facts);
        assert_eq!(facts.unavailable.len(), 7);
        assert!(facts.unavailable.values().all(|reason| reason.starts_with("NVML cannot be used")));
        assert_eq!(monitor.sample(), DeviceSample::default());
    }
}
