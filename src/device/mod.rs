//! Opening a device and waiting for it.

use candle_core as candle;

use crate::case::{DeviceSpec, Dtype};
use crate::error::{Error, Result};

/// A device that computes.
#[derive(Clone, Debug)]
pub struct Device {
    inner: candle::Device,
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::CudaNotBuilt`] or [`Error::DeviceUnavailable`].
    pub fn open(spec: DeviceSpec) -> Result<Self> {
        let inner = match spec {
            DeviceSpec::Cpu => candle::Device::Cpu,
            DeviceSpec::Cuda { .. } if !cfg!(feature = "cuda") => {
                return Err(Error::CudaNotBuilt { device: spec.to_string() });
            }
            DeviceSpec::Cuda { ordinal } => candle::Device::new_cuda(ordinal).map_err(|e| {
                Error::DeviceUnavailable { device: spec.to_string(), problem: e.to_string() }
            })?,
        };
        Ok(Self { inner })
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
