//! The probes of an NVIDIA device, of which a build without CUDA has none.

use crate::device::Device;
use crate::error::Result;
use crate::measure::Workload;
use crate::probe::{ProbeKind, ProbeSizes};

/// Probes of a device, of which there is none.
#[derive(Debug)]
pub enum DeviceProbes {}

impl DeviceProbes {
    /// Absent, for any device that could be opened.
    ///
    /// # Errors
    /// None.
    pub fn new(_device: &Device) -> Result<Option<Self>> {
        Ok(None)
    }

    /// No probe.
    ///
    /// # Errors
    /// None.
    pub fn workload(
        &mut self,
        _kind: ProbeKind,
        _sizes: ProbeSizes,
        _seed: u64,
    ) -> Result<(Box<dyn Workload + '_>, &'static str, bool)> {
        match *self {}
    }

    /// Nothing.
    pub fn keep_only(&mut self, _kinds: &[ProbeKind]) {
        match *self {}
    }
}
