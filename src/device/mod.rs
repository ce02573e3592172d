//! Opening a device, waiting for it, and what it tells of itself.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
mod cuda;
mod facts;
#[cfg(feature = "cuda")]
mod nvml;

use candle_core as candle;

use crate::case::{DeviceSpec, Dtype};
use crate::error::{Error, Result};
use cuda::Gpu;

pub use facts::{DeviceConditions, DeviceFacts, ThrottleReason};

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
            DeviceSpec::Cuda { ordinal } => Some(Gpu::open(ordinal, &spec.to_string())?),
        };
        let inner = gpu.as_ref().map_or(candle::Device::Cpu, Gpu::engine);
        Ok(Self { inner, gpu })
    }

    /// What it tells of itself; absent for the processor.
    pub fn facts(&self) -> Option<DeviceFacts> {
        self.gpu.as_ref().map(Gpu::facts)
    }

    /// Its state at this moment; absent for the processor.
    pub fn conditions(&self) -> Option<DeviceConditions> {
        self.gpu.as_ref().map(Gpu::conditions)
    }

    /// Bytes of its own memory that were free when it was opened; absent for the processor.
    pub fn free_bytes(&self) -> Option<u64> {
        self.gpu.as_ref().map(Gpu::free_bytes)
    }

    /// Bytes of the cache before its own memory; absent for the processor.
    pub fn last_level_cache_bytes(&self) -> Option<u64> {
        self.gpu.as_ref().map(Gpu::last_level_cache_bytes)
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

/// The engine's word for the format of activations where weights have `dtype`.
pub fn engine_dtype(dtype: Dtype) -> candle::DType {
    match dtype {
        Dtype::F32 | Dtype::Q8_0 | Dtype::Q4K => candle::DType::F32,
        Dtype::F16 => candle::DType::F16,
        Dtype::BF16 => candle::DType::BF16,
    }
}
