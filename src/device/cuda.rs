//! Opening an NVIDIA device.

use candle_core as candle;
use sha2::{Digest, Sha256};

use super::facts::{DeviceConditions, DeviceFacts};
use super::nvml::Monitor;
use crate::error::{Error, Result};
use crate::kernels::cuda::{self, DriverFacts, Obstacle};

/// An open device.
#[derive(Clone, Debug)]
pub struct Gpu {
    inner: candle::CudaDevice,
    told: DriverFacts,
    free_bytes: u64,
    monitor: Monitor,
}

impl Gpu {
    /// Opens a device, with all of its memory and launches in one order, whichever thread they come
    /// from.
    ///
    /// # Errors
    /// What is missing: the driver, the device, or what it takes to run this build's kernels on it.
    pub fn open(ordinal: usize, device: &str) -> Result<Self> {
        let refused = |obstacle| refusal(obstacle, device);
        cuda::check(ordinal).map_err(refused)?;
        let inner = candle::CudaDevice::new_with_stream(ordinal).map_err(|e| {
            Error::DeviceUnavailable { device: device.to_owned(), problem: e.to_string() }
        })?;
        cuda::prepare(&inner).map_err(refused)?;
        let told = cuda::facts(&inner).map_err(refused)?;
        let free_bytes = cuda::free_memory(&inner).map_err(refused)?;
        let monitor = Monitor::new(&told.pci_bus_id);
        Ok(Self { inner, told, free_bytes, monitor })
    }

    /// The engine's own handle.
    pub fn engine(&self) -> candle::Device {
        candle::Device::Cuda(self.inner.clone())
    }

    /// Its level 2 cache, in bytes.
    pub fn last_level_cache_bytes(&self) -> u64 {
        self.told.l2_bytes
    }

    /// Memory that was free when it was opened, in bytes.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// All that is told of it.
    pub fn facts(&self) -> DeviceFacts {
        let told = &self.told;
        let mut facts = DeviceFacts {
            name: Some(told.name.clone()),
            uuid_sha256: Some(hex::encode(Sha256::digest(told.uuid))),
            capability: Some(told.capability.to_string()),
            n_multiprocessors: Some(told.n_multiprocessors),
            l2_cache_bytes: Some(told.l2_bytes),
            memory_bytes: Some(told.memory_bytes),
            memory_available_bytes: Some(self.free_bytes),
            driver_cuda: Some(told.driver_cuda.to_string()),
            runtime_cuda: Some(told.runtime_cuda.to_string()),
            event_tracking: Some(told.event_tracking),
            keeps_memory: Some(told.keeps_memory),
            ..DeviceFacts::default()
        };
        self.monitor.complete(&mut facts);
        facts
    }

    /// Its clocks, power and temperature now.
    pub fn conditions(&self) -> DeviceConditions {
        self.monitor.conditions()
    }
}

/// An obstacle in words.
fn refusal(obstacle: Obstacle, device: &str) -> Error {
    let unavailable =
        |problem: String| Error::DeviceUnavailable { device: device.to_owned(), problem };
    match obstacle {
        Obstacle::NoDriver(problem) => Error::NoCudaDriver { device: device.to_owned(), problem },
        Obstacle::NoDevice => Error::NoCudaDevice { device: device.to_owned() },
        Obstacle::NoSuchDevice { n_devices: 1 } => {
            unavailable("there is one device, cuda:0".into())
        }
        Obstacle::NoSuchDevice { n_devices } => unavailable(format!(
            "there are {n_devices} devices, cuda:0 to cuda:{}",
            n_devices.saturating_sub(1)
        )),
        Obstacle::DriverTooOld { driver, built } => unavailable(format!(
            "the NVIDIA driver knows CUDA up to {driver}, and this benchinf was built with CUDA {built}; \
             update the driver, or build with a toolkit of CUDA {driver} or earlier"
        )),
        Obstacle::DeviceTooOld(capability) => unavailable(format!(
            "its compute capability is {capability}, and kernels need 8.0 (Ampere) or later"
        )),
        Obstacle::BuiltForAnother { device: capability, target } => unavailable(format!(
            "this benchinf's kernels were compiled for {target}, and the device has compute capability \
             {capability}; build with CUDA_COMPUTE_CAP={}{}",
            capability.major, capability.minor
        )),
        Obstacle::Failed(problem) => unavailable(format!("the NVIDIA driver says: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::Version;

    #[test]
    fn every_obstacle_says_what_is_missing_and_what_to_do() {
        let version = |major, minor| Version { major, minor };
        let text = |obstacle| refusal(obstacle, "cuda:3").to_string();
        for (obstacle, words) in [
            (
                Obstacle::NoDriver("libcuda.so.1: no such file".into()),
                "has no NVIDIA driver (libcuda",
            ),
            (Obstacle::NoDevice, "there is an NVIDIA driver, but no device"),
            (Obstacle::NoSuchDevice { n_devices: 1 }, "there is one device, cuda:0"),
            (Obstacle::NoSuchDevice { n_devices: 3 }, "there are 3 devices, cuda:0 to cuda:2"),
            (
                Obstacle::DriverTooOld { driver: version(12, 4), built: version(13, 0) },
                "knows CUDA up to 12.4, and this benchinf was built with CUDA 13.0; update",
            ),
            (Obstacle::DeviceTooOld(version(7, 5)), "is 7.5, and kernels need 8.0"),
            (
                Obstacle::BuiltForAnother { device: version(8, 9), target: "sm_90a".into() },
                "compiled for sm_90a, and the device has compute capability 8.9; build with CUDA_COMPUTE_CAP=89",
            ),
            (Obstacle::Failed("unknown error".into()), "the NVIDIA driver says: unknown error"),
        ] {
            let text = text(obstacle);
            assert!(text.starts_with("--device cuda:3: ") && text.contains(words), "{text}");
        }
    }
}
