//! Copies between pinned memory of the host and a device.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::context::{Context, Memory};
use super::launch::Span;
use crate::error::{Error, Result};

const COPYING: &str = "copying between host and device";

/// Memory of the host that the device reads and writes by itself, and as much of the device's.
pub struct Link {
    host: Pinned,
    device: Memory,
    /// Ways do not wait for each other: to the device on the stream of everything else, to the host
    /// on this one.
    to_host: Arc<CudaStream>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("n_words", &self.host.n_words).finish_non_exhaustive()
    }
}

impl Link {
    /// Takes memory of so many words of 8 bytes on both sides. That of the host is zero.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is too little of it.
    pub fn new(context: &Context, n_words: usize) -> Result<Self> {
        let host = Pinned::new(context.stream().context(), n_words)
            .map_err(Error::engine(format!("pinning {} bytes of the host", n_words * 8)))?;
        let device = context.allocate(n_words * 8)?;
        let to_host = context.stream().context().new_stream().map_err(Error::engine(COPYING))?;
        // The other stream may use it from here on.
        context.synchronize()?;
        Ok(Self { host, device, to_host })
    }

    /// The host's memory.
    pub fn host(&self) -> &[u64] {
        self.host.words()
    }

    /// The host's memory.
    pub fn host_mut(&mut self) -> &mut [u64] {
        self.host.words_mut()
    }

    /// The device's memory.
    pub fn device(&self) -> Span<'_> {
        self.device.span()
    }

    /// Copies words to the device and others from there, each to where they are on the other side,
    /// both at once, and returns when that is done. What was launched before must be done.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If a word is to go both ways.
    pub fn copy(
        &mut self,
        context: &Context,
        to_device: Range<usize>,
        to_host: Range<usize>,
    ) -> Result<()> {
        let is_apart = to_device.end <= to_host.start || to_host.end <= to_device.start;
        assert!(is_apart || to_device.is_empty() || to_host.is_empty(), "a word goes one way");
        context.stream().context().bind_to_thread().map_err(Error::engine(COPYING))?;
        let device = self.device.span();
        let part = |words: &Range<usize>| device.part(words.start * 8, words.len() * 8).address();
        let (target, source) = (part(&to_device), part(&to_host));
        let words = self.host.words_mut();
        let begun = begin(context.stream(), !to_device.is_empty(), |stream| {
            // SAFETY: both sides have that many words there, and the host's live, and are not
            // written by anybody, until the copy was waited for below.
            unsafe { result::memcpy_htod_async(target, &words[to_device.clone()], stream) }
        });
        let begun = begun.and_then(|()| {
            begin(&self.to_host, !to_host.is_empty(), |stream| {
                // SAFETY: as above, and nobody reads the host's words until then.
                unsafe { result::memcpy_dtoh_async(&mut words[to_host.clone()], source, stream) }
            })
        });
        // Whatever was begun is waited for, since the host's memory is the caller's again.
        let ended = [context.stream().synchronize(), self.to_host.synchronize()];
        let done = ended.into_iter().fold(begun, |done, ended| done.and(ended));
        done.map_err(Error::engine(COPYING))
    }
}

fn begin(
    stream: &CudaStream,
    is_any: bool,
    copy: impl FnOnce(sys::CUstream) -> std::result::Result<(), DriverError>,
) -> std::result::Result<(), DriverError> {
    if is_any { copy(stream.cu_stream()) } else { Ok(()) }
}

/// Words of the host that stay where they are.
struct Pinned {
    words: NonNull<u64>,
    n_words: usize,
    context: Arc<CudaContext>,
}

// SAFETY: the memory is this value's own, and bound to no thread.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Arc<CudaContext>, n_words: usize) -> std::result::Result<Self, DriverError> {
        context.bind_to_thread()?;
        // SAFETY: the memory is written before anybody sees it.
        let memory = unsafe { result::malloc_host((n_words * 8).max(8), 0) }?;
        let no_memory = DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        let words = NonNull::new(memory.cast::<u64>()).ok_or(no_memory)?;
        // SAFETY: there are that many words, which begin at a page.
        unsafe { words.as_ptr().write_bytes(0, n_words) };
        Ok(Self { words, n_words, context: Arc::clone(context) })
    }

    fn words(&self) -> &[u64] {
        // SAFETY: they were written when they were taken, and live as long as this; no copy is
        // under way while anybody has this.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.n_words) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_ptr(), self.n_words) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What could fail, leaves a leak at worst.
        let _ = self.context.bind_to_thread();
        // SAFETY: it was taken there, and nobody has it any more.
        let _ = unsafe { result::free_host(self.words.as_ptr().cast::<c_void>()) };
    }
}
