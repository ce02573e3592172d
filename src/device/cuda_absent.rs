//! What a build without CUDA says of NVIDIA devices.

use candle_core as candle;

use super::facts::{DeviceFacts, DeviceSample};
use crate::error::{Error, Result};

/// An open device, of which there is none.
#[derive(Clone, Debug)]
pub enum Gpu {}

impl Gpu {
    /// Opens nothing.
    ///
    /// # Errors
    /// [`Error::CudaNotBuilt`], always.
    pub fn open(_ordinal: usize, device: &str) -> Result<Self> {
        Err(Error::CudaNotBuilt { device: device.to_owned() })
    }

    /// The engine's own handle.
    pub fn engine(&self) -> candle::Device {
        match *self {}
    }

    /// Its level 2 cache, in bytes.
    pub fn last_level_cache_bytes(&self) -> u64 {
        match *self {}
    }

    /// Its compute capability.
    pub fn capability(&self) -> (u32, u32) {
        match *self {}
    }

    /// Devices that the driver shows.
    pub fn n_devices(&self) -> u32 {
        match *self {}
    }

    /// Memory that was free when it was opened, in bytes.
    pub fn free_bytes(&self) -> u64 {
        match *self {}
    }

    /// All that is told of it.
    pub fn facts(&self) -> DeviceFacts {
        match *self {}
    }

    /// Its clocks, power and temperature now.
    pub fn sample(&self) -> DeviceSample {
        match *self {}
    }

    /// Events for intervals on its own clock.
    ///
    /// # Errors
    /// None.
    pub fn events(&self, _n_intervals: usize) -> Result<Events> {
        match *self {}
    }
}

/// Moments on its clock, of which there is none.
#[derive(Debug)]
pub enum Events {}

impl Events {
    /// Marks nothing.
    ///
    /// # Errors
    /// None.
    pub fn begin(&self, _idx: usize) -> Result<()> {
        match *self {}
    }

    /// Marks nothing.
    ///
    /// # Errors
    /// None.
    pub fn end(&self, _idx: usize) -> Result<()> {
        match *self {}
    }

    /// What no intervals took.
    ///
    /// # Errors
    /// None.
    pub fn interval_ns(&self) -> Result<Vec<u64>> {
        match *self {}
    }
}
