//! What a device that is not the processor told, as result files have it.

use crate::device::{DeviceConditions, DeviceFacts, ThrottleReason};
use crate::result::file::{GpuConditionsFile, GpuFile, ThrottleFile};
use crate::units::Bytes;

/// A device.
pub(super) fn gpu_file(facts: DeviceFacts) -> GpuFile {
    GpuFile {
        model: facts.name,
        uuid_sha256: facts.uuid_sha256,
        compute_capability: facts.capability,
        n_multiprocessors: facts.n_multiprocessors,
        l2_cache_bytes: facts.l2_cache_bytes.map(Bytes),
        memory_bytes: facts.memory_bytes.map(Bytes),
        memory_available_bytes: facts.memory_available_bytes.map(Bytes),
        ecc: facts.ecc,
        mig: facts.mig,
        max_sm_clock_hz: facts.max_sm_clock_hz,
        max_memory_clock_hz: facts.max_memory_clock_hz,
        power_limit_mw: facts.power_limit_mw,
        other_processes: facts.other_processes,
        driver: facts.driver,
        driver_cuda: facts.driver_cuda,
        runtime_cuda: facts.runtime_cuda,
        event_tracking: facts.event_tracking,
        keeps_memory: facts.keeps_memory,
        unavailable: facts.unavailable,
    }
}

/// Its state during a round.
pub(super) fn gpu_conditions_file(conditions: DeviceConditions) -> GpuConditionsFile {
    let DeviceConditions { n_busy, last, sm_clock_hz, power_mw, throttle_reasons } = conditions;
    GpuConditionsFile {
        samples: Some(n_busy),
        sm_clock_hz: last.sm_clock_hz,
        sm_clock_hz_min: sm_clock_hz.map(|(min, _)| min),
        sm_clock_hz_max: sm_clock_hz.map(|(_, max)| max),
        memory_clock_hz: last.memory_clock_hz,
        power_mw: last.power_mw,
        power_mw_min: power_mw.map(|(min, _)| min),
        power_mw_max: power_mw.map(|(_, max)| max),
        temperature_c: last.temperature_c,
        throttle_reasons: throttle_reasons
            .map(|reasons| reasons.into_iter().map(throttle_file).collect()),
    }
}

fn throttle_file(reason: ThrottleReason) -> ThrottleFile {
    match reason {
        ThrottleReason::Idle => ThrottleFile::Idle,
        ThrottleReason::ApplicationClocks => ThrottleFile::ApplicationClocks,
        ThrottleReason::PowerCap => ThrottleFile::PowerCap,
        ThrottleReason::HardwareSlowdown => ThrottleFile::HardwareSlowdown,
        ThrottleReason::SyncBoost => ThrottleFile::SyncBoost,
        ThrottleReason::SoftwareThermal => ThrottleFile::SoftwareThermal,
        ThrottleReason::HardwareThermal => ThrottleFile::HardwareThermal,
        ThrottleReason::PowerBrake => ThrottleFile::PowerBrake,
        ThrottleReason::DisplayClocks => ThrottleFile::DisplayClocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_its_state_are_written_and_read_back() {
        let facts = DeviceFacts {
            name: Some("NVIDIA H200".into()),
            capability: Some("9.0".into()),
            l2_cache_bytes: Some(60 << 20),
            mig: Some(false),
            unavailable: [("ecc".to_owned(), "not told".to_owned())].into(),
            ..DeviceFacts::default()
        };
        let file = gpu_file(facts);
        let json = serde_json::to_value(&file).unwrap();
        assert_eq!(json["l2_cache_bytes"], 60 << 20);
        assert_eq!(json["unavailable"]["ecc"], "not told");
        assert_eq!(serde_json::from_value::<GpuFile>(json).unwrap(), file);
        let conditions = gpu_conditions_file(DeviceConditions {
            n_busy: 7,
            sm_clock_hz: Some((1_755_000_000, 1_980_000_000)),
            throttle_reasons: Some(vec![ThrottleReason::PowerCap, ThrottleReason::SyncBoost]),
            ..DeviceConditions::default()
        });
        let json = serde_json::to_value(&conditions).unwrap();
        assert_eq!(
            (&json["samples"], &json["sm_clock_hz_min"]),
            (&7.into(), &1_755_000_000.into())
        );
        assert_eq!(json["throttle_reasons"], serde_json::json!(["power_cap", "sync_boost"]));
        assert_eq!(serde_json::from_value::<GpuConditionsFile>(json).unwrap(), conditions);
    }
}
