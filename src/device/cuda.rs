//! Opening an NVIDIA device.

use std::sync::Arc;

use candle_core as candle;
use candle_core::cuda::cudarc::driver::sys::CUevent_flags;
use candle_core::cuda::cudarc::driver::{CudaEvent, CudaStream};
use sha2::{Digest, Sha256};

use super::facts::{DeviceFacts, DeviceSample};
use super::nvml::Monitor;
use crate::error::{Error, Result};
use crate::kernels::cuda::{self, DriverFacts, Obstacle};

const RECORDING: &str = "recording an event";
const READING: &str = "reading the time between events";

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
        let inner = cuda::open(ordinal).map_err(refused)?;
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

    /// Its compute capability.
    pub fn capability(&self) -> (u32, u32) {
        (self.told.capability.major, self.told.capability.minor)
    }

    /// Devices that the driver shows.
    pub fn n_devices(&self) -> u32 {
        self.told.n_devices
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
    pub fn sample(&self) -> DeviceSample {
        self.monitor.sample()
    }

    /// Events for intervals on its own clock.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn events(&self, n_intervals: usize) -> Result<Events> {
        let stream = self.inner.cuda_stream();
        // The default is one that keeps the time.
        let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
        let event = || {
            let event = stream.context().new_event(flags);
            event.map_err(Error::engine("making events"))
        };
        let intervals =
            (0..n_intervals).map(|_| Ok((event()?, event()?))).collect::<Result<_>>()?;
        Ok(Events { stream, intervals })
    }
}

/// Moments on a device's own clock, of as many intervals as a pass has iterations.
#[derive(Debug)]
pub struct Events {
    stream: Arc<CudaStream>,
    intervals: Vec<(CudaEvent, CudaEvent)>,
}

impl Events {
    /// Marks where the device is when it comes to what is launched next.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn begin(&self, idx: usize) -> Result<()> {
        self.intervals[idx].0.record(&self.stream).map_err(Error::engine(RECORDING))
    }

    /// Marks where it has done all that was launched before.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn end(&self, idx: usize) -> Result<()> {
        self.intervals[idx].1.record(&self.stream).map_err(Error::engine(RECORDING))
    }

    /// What each interval took, all of which were marked. The clock's step is about half a
    /// microsecond.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn interval_ns(&self) -> Result<Vec<u64>> {
        let of = |(begin, end): &(CudaEvent, CudaEvent)| {
            let ms = begin.elapsed_ms(end).map_err(Error::engine(READING))?;
            Ok((f64::from(ms) * 1e6).round() as u64)
        };
        self.intervals.iter().map(of).collect()
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
