//! What the driver tells of an opened device, and the settings that a run needs of it.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda::cudarc::driver::{DriverError, result, sys};
use sys::CUdevice_attribute as Attribute;

use super::driver::{self, Obstacle, Version};

/// What the driver tells of a device.
#[derive(Clone, Debug)]
pub struct DriverFacts {
    /// Its name.
    pub name: String,
    /// Differs between any two devices or slices of one.
    pub uuid: [u8; 16],
    /// Where it sits, as `nvidia-smi` writes it.
    pub pci_bus_id: String,
    /// Its generation.
    pub capability: Version,
    /// Devices that the driver shows, this one among them.
    pub n_devices: u32,
    /// Multiprocessors.
    pub n_multiprocessors: u32,
    /// Level 2 cache.
    pub l2_bytes: u64,
    /// All of its memory.
    pub memory_bytes: u64,
    /// The newest CUDA that the driver knows.
    pub driver_cuda: Version,
    /// The runtime that is loaded.
    pub runtime_cuda: Version,
    /// Whether every allocation is followed by events.
    pub event_tracking: bool,
    /// Whether freed memory stays with the process.
    pub keeps_memory: bool,
}

unsafe extern "C" {
    /// Of the runtime that the engine's kernels are linked to.
    fn cudaRuntimeGetVersion(version: *mut c_int) -> c_int;
}

/// Opens a device and makes it fit for timing. There is one handle to each, kept to the end of the
/// process, so that whoever opens it again has the same stream, memory and kernels.
///
/// # Errors
/// What the driver says.
pub fn open(ordinal: usize) -> Result<CudaDevice, Obstacle> {
    static OPEN: Mutex<BTreeMap<usize, CudaDevice>> = Mutex::new(BTreeMap::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = open.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = CudaDevice::new_with_stream(ordinal)
        .map_err(|problem| Obstacle::Failed(problem.to_string()))?;
    prepare(&device)?;
    open.insert(ordinal, device.clone());
    Ok(device)
}

/// Makes a device fit for timing: allocations are not followed by events, since one stream has all
/// launches, and freed memory stays with the process instead of being mapped anew in every pass.
///
/// # Errors
/// What the driver says.
fn prepare(device: &CudaDevice) -> Result<(), Obstacle> {
    // SAFETY: all allocations and launches of this process are on the device's one stream, so that
    // nothing is freed or read before what was asked for earlier is done. Copies of the transfer
    // probe are on another one too, and both are waited for before and after (`transfer.rs`).
    unsafe { device.disable_event_tracking() };
    let stream = device.cuda_stream();
    if !stream.context().has_async_alloc() {
        return Ok(());
    }
    let mut all = u64::MAX;
    // SAFETY: the device is the context's own, and the attribute is a number of 64 bits.
    unsafe {
        let pool = result::device::get_default_mem_pool(stream.context().cu_device())
            .map_err(driver::failed)?;
        result::mem_pool::set_attribute(pool, THRESHOLD, (&raw mut all).cast::<c_void>())
    }
    .map_err(driver::failed)
}

/// Bytes that a pool keeps.
const THRESHOLD: sys::CUmemPool_attribute =
    sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;

/// Asks the driver about a device.
///
/// # Errors
/// What the driver says instead.
pub fn facts(device: &CudaDevice) -> Result<DriverFacts, Obstacle> {
    read(device).map_err(driver::failed)
}

fn read(device: &CudaDevice) -> Result<DriverFacts, DriverError> {
    let stream = device.cuda_stream();
    let context = stream.context();
    let number = |attribute| Ok(u32::try_from(context.attribute(attribute)?).unwrap_or(0));
    let (major, minor) = context.compute_capability()?;
    let mut runtime = 0;
    // SAFETY: the runtime writes one number there, and needs no device for it.
    let told = unsafe { cudaRuntimeGetVersion(&mut runtime) };
    Ok(DriverFacts {
        name: context.name()?,
        uuid: context.uuid()?.bytes.map(|byte| byte as u8),
        pci_bus_id: pci_bus_id(context.cu_device())?,
        capability: Version { major: major as u32, minor: minor as u32 },
        n_devices: u32::try_from(result::device::get_count()?).unwrap_or(1),
        n_multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: number(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        memory_bytes: context.total_mem()? as u64,
        driver_cuda: driver::version()?,
        runtime_cuda: Version::of_number(if told == 0 { runtime } else { 0 }),
        event_tracking: device.is_event_tracking(),
        keeps_memory: context.has_async_alloc() && kept_bytes(context.cu_device())? == u64::MAX,
    })
}

fn kept_bytes(device: sys::CUdevice) -> Result<u64, DriverError> {
    let mut bytes = 0_u64;
    // SAFETY: the device is that of an open context, and the attribute is a number of 64 bits.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        result::mem_pool::get_attribute(pool, THRESHOLD, (&raw mut bytes).cast::<c_void>())?;
    }
    Ok(bytes)
}

fn pci_bus_id(device: sys::CUdevice) -> Result<String, DriverError> {
    let mut text = [0 as c_char; 32];
    // SAFETY: the driver writes no more than it is told there is room for, with a zero at the end.
    unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr(), text.len() as c_int, device) }.result()?;
    // SAFETY: as above.
    Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
}

/// Memory of a device that is free now.
///
/// # Errors
/// What the driver says instead.
pub fn free_memory(device: &CudaDevice) -> Result<u64, Obstacle> {
    let free = device.cuda_stream().context().mem_get_info().map_err(driver::failed)?;
    Ok(free.0 as u64)
}
