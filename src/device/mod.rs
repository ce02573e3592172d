//! Opening a device, waiting for it, and what it tells of itself.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
mod cuda;
mod facts;
#[cfg(feature = "cuda")]
mod nvml;
mod watch;

use candle_core as candle;

use crate::case::{DeviceSpec, Dtype};
use crate::error::{Error, Result};
use crate::kernels;
use cuda::Gpu;

pub use cuda::Events;
pub use facts::{DeviceConditions, DeviceFacts, DeviceSample, ThrottleReason};
pub use watch::Watch;

/// A device that computes.
#[derive(Clone, Debug)]
pub struct Device {
    inner: candle::Device,
    /// What it is, where it is not the processor.
    gpu: Option<Gpu>,
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// What is missing: CUDA in this build, the driver, or the device.
    pub fn open(spec: DeviceSpec) -> Result<Self> {
        let gpu = match spec {
            DeviceSpec::Cpu => None,
            DeviceSpec::Cuda { ordinal } => {
                kernels::reserve_engine_settings();
                Some(Gpu::open(ordinal, &spec.to_string())?)
            }
        };
        let inner = gpu.as_ref().map_or(candle::Device::Cpu, Gpu::engine);
        Ok(Self { inner, gpu })
    }

    /// What it tells of itself; absent for the processor.
    pub fn facts(&self) -> Option<DeviceFacts> {
        self.gpu.as_ref().map(Gpu::facts)
    }

    /// Watches its state from now on; absent for the processor.
    pub fn watch(&self) -> Option<Watch> {
        let gpu = self.gpu.clone()?;
        Some(Watch::start(move || gpu.sample()))
    }

    /// Events for as many intervals on its own clock; absent for the processor, which has the host's.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn events(&self, n_intervals: usize) -> Result<Option<Events>> {
        self.gpu.as_ref().map(|gpu| gpu.events(n_intervals)).transpose()
    }

    /// Bytes of its own memory that were free when it was opened; absent for the processor.
    pub fn free_bytes(&self) -> Option<u64> {
        self.gpu.as_ref().map(Gpu::free_bytes)
    }

    /// Bytes of the cache before its own memory; absent for the processor.
    pub fn last_level_cache_bytes(&self) -> Option<u64> {
        self.gpu.as_ref().map(Gpu::last_level_cache_bytes)
    }

    /// Its compute capability; absent for the processor.
    pub fn capability(&self) -> Option<(u32, u32)> {
        self.gpu.as_ref().map(Gpu::capability)
    }

    /// Devices of its kind that there are; none where it is the processor.
    pub fn n_devices(&self) -> u32 {
        self.gpu.as_ref().map_or(0, Gpu::n_devices)
    }

    /// Returns when everything submitted so far is done.
    ///
    /// # Errors
    /// [`Error::Engine`] if something submitted before has failed.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.synchronize().map_err(Error::engine("waiting for the device"))
    }

    /// The engine's own handle.
    pub fn engine(&self) -> &candle::Device {
        &self.inner
    }
}

#[cfg(test)]
impl Device {
    /// A device for a test, which has it for itself until it drops what comes with it. Absent where it
    /// cannot be had, which is said.
    pub(crate) fn for_test(spec: DeviceSpec) -> Option<(Self, std::sync::MutexGuard<'static, ()>)> {
        use std::io::Write;
        use std::sync::PoisonError;

        let turn = crate::kernels::DEVICE_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        match Self::open(spec) {
            Ok(device) => Some((device, turn)),
            Err(problem) => {
                let _ = writeln!(std::io::stderr(), "skipped: {problem}");
                None
            }
        }
    }
}

/// Each test once on the processor and once on the first NVIDIA device.
#[cfg(test)]
macro_rules! on_every_device {
    ($($name:ident),+ $(,)?) => {
        mod cpu {
            $(#[test] fn $name() {
                let device = crate::device::Device::open(crate::case::DeviceSpec::Cpu).unwrap();
                super::$name(&device, crate::case::DeviceSpec::Cpu);
            })+
        }
        mod cuda {
            $(#[test] fn $name() {
                let spec = crate::case::DeviceSpec::Cuda { ordinal: 0 };
                if let Some((device, _turn)) = crate::device::Device::for_test(spec) {
                    super::$name(&device, spec);
                }
            })+
        }
    };
}
#[cfg(test)]
pub(crate) use on_every_device;

/// The engine's word for the format of activations where weights have `dtype`.
pub fn engine_dtype(dtype: Dtype) -> candle::DType {
    match dtype {
        Dtype::F32 | Dtype::Q8_0 | Dtype::Q4K => candle::DType::F32,
        Dtype::F16 => candle::DType::F16,
        Dtype::BF16 => candle::DType::BF16,
    }
}
