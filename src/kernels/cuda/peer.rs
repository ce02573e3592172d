//! Copies from one device to another.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{CudaContext, DriverError, result, sys};

use super::context::Context;
use super::launch::Span;
use crate::error::{Error, Result};

const COPYING: &str = "copying from device to device";

/// How what is copied gets from one device to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRoute {
    /// The devices reach each other's memory.
    Direct,
    /// They do not: the driver takes it through memory of the host.
    ThroughHost,
}

/// Memory of a device, and as much of another one.
#[derive(Debug)]
pub struct PeerLink {
    source: OwnMemory,
    target: OwnMemory,
    route: PeerRoute,
}

impl PeerLink {
    /// Takes memory of so many bytes, whose content is arbitrary, of a device and of the next one
    /// by number, the first after the last.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is too little of it, or no other device.
    pub fn new(context: &Context, n_bytes: usize) -> Result<Self> {
        const OPENING: &str = "opening the next device";
        let here = context.stream().context();
        let n_devices = CudaContext::device_count().map_err(Error::engine(OPENING))? as usize;
        if n_devices < 2 {
            let problem = candle_core::Error::Msg("there is no other device".into());
            return Err(Error::engine(OPENING)(problem));
        }
        let next = (here.ordinal() + 1) % n_devices;
        let there = CudaContext::new(next).map_err(Error::engine(OPENING))?;
        let route = connect(here, &there).map_err(Error::engine(OPENING))?;
        Ok(Self {
            source: OwnMemory::new(here, n_bytes)?,
            target: OwnMemory::new(&there, n_bytes)?,
            route,
        })
    }

    /// How it is copied.
    pub fn route(&self) -> PeerRoute {
        self.route
    }

    /// The memory that is copied from.
    pub fn source(&self) -> Span<'_> {
        Span::new(self.source.address, self.source.n_bytes)
    }

    /// Copies all of it, and returns when that is done. What was launched before must be done.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn copy(&mut self, context: &Context) -> Result<()> {
        let (source, target) = (&self.source, &self.target);
        source.context.bind_to_thread().map_err(Error::engine(COPYING))?;
        // SAFETY: both are memory of that size of the device named with it, which lives as long as
        // this; nothing else writes or reads it until the copy was waited for below.
        unsafe {
            sys::cuMemcpyPeerAsync(
                target.address,
                target.context.cu_ctx(),
                source.address,
                source.context.cu_ctx(),
                source.n_bytes,
                context.stream().cu_stream(),
            )
        }
        .result()
        .and_then(|()| context.stream().synchronize())
        .map_err(Error::engine(COPYING))
    }

    /// Sets every byte that is copied to, and returns when that is done.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn set_target(&mut self, byte: u8) -> Result<()> {
        const SETTING: &str = "setting memory of the next device";
        let OwnMemory { context, address, n_bytes } = &self.target;
        context.bind_to_thread().map_err(Error::engine(SETTING))?;
        // SAFETY: it is memory of that size of the device that was bound.
        unsafe { result::memset_d8_sync(*address, byte, *n_bytes) }
            .and_then(|()| context.synchronize())
            .map_err(Error::engine(SETTING))
    }

    /// Word `index` of 8 bytes of what is copied to.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If there is no such word.
    pub fn target_word(&self, index: usize) -> Result<u64> {
        const READING: &str = "reading memory of the next device";
        let OwnMemory { context, address, n_bytes } = &self.target;
        assert!(index < n_bytes / 8, "the word lies inside");
        context.bind_to_thread().map_err(Error::engine(READING))?;
        let mut word = [0; 8];
        // SAFETY: it has that many bytes there, and is of the device that was bound.
        unsafe { result::memcpy_dtoh_sync(&mut word, address + index as u64 * 8) }
            .map_err(Error::engine(READING))?;
        Ok(u64::from_le_bytes(word))
    }
}

/// Lets either device reach the other's memory, where they can.
fn connect(here: &CudaContext, there: &CudaContext) -> std::result::Result<PeerRoute, DriverError> {
    let reaches = |from: &CudaContext, to: &CudaContext| {
        let mut can: c_int = 0;
        // SAFETY: the driver writes one number there.
        unsafe { sys::cuDeviceCanAccessPeer(&mut can, from.cu_device(), to.cu_device()) }
            .result()
            .map(|()| can != 0)
    };
    if !(reaches(here, there)? && reaches(there, here)?) {
        return Ok(PeerRoute::ThroughHost);
    }
    for (from, to) in [(here, there), (there, here)] {
        from.bind_to_thread()?;
        // SAFETY: both are open, and stay so while anybody has memory there.
        let enabled = unsafe { sys::cuCtxEnablePeerAccess(to.cu_ctx(), 0) };
        // From an earlier call.
        if enabled != sys::CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED {
            enabled.result()?;
        }
    }
    Ok(PeerRoute::Direct)
}

/// Memory that is taken by itself, not out of a pool: what [`connect`] allows is not said of pools.
#[derive(Debug)]
struct OwnMemory {
    context: Arc<CudaContext>,
    address: u64,
    n_bytes: usize,
}

impl OwnMemory {
    fn new(context: &Arc<CudaContext>, n_bytes: usize) -> Result<Self> {
        let taken = context.bind_to_thread().and_then(|()| {
            // SAFETY: a byte may be anything; what is read was written before.
            unsafe { result::malloc_sync(n_bytes.max(8)) }
        });
        let ordinal = context.ordinal();
        let address = taken
            .map_err(Error::engine(format!("allocating {n_bytes} bytes of device {ordinal}")))?;
        Ok(Self { context: Arc::clone(context), address, n_bytes })
    }
}

impl Drop for OwnMemory {
    fn drop(&mut self) {
        // What could fail, leaves a leak at worst.
        let _ = self.context.bind_to_thread();
        // SAFETY: it was taken there, and nobody has it any more.
        let _ = unsafe { result::free_sync(self.address) };
    }
}
