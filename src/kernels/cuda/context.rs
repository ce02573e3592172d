//! A device with its compiled kernels and its memory.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::cudarc::cublas::{result as cublas, sys as cublas_sys};
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaGraph, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys,
};
use candle_core::cuda::cudarc::nvrtc::Ptx;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Storage, Tensor};
use half::{bf16, f16};

use super::driver::Version;
use super::launch::{Launch, Span};
use super::operations::{self, Product, bytes_of};
use super::program::{Variant, compile};
use crate::error::{Error, Result};
use crate::kernels::linear::FloatFormat;

const LAUNCHING: &str = "launching a kernel";
const ALLOCATING: &str = "allocating memory of the device";
const CAPTURING: &str = "capturing a CUDA graph";

/// What cuBLAS works in, as large as NVIDIA recommends for Hopper. Its own would be allocated in the
/// stream's order, which a graph would do again with every replay.
pub const WORKSPACE_BYTES: usize = 32 << 20;

/// A device that computes with our own kernels.
pub struct Context {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    capability: Version,
    n_multiprocessors: u32,
    /// Where cuBLAS works, as long as the device's handle lives.
    _workspace: Memory,
    modules: Mutex<HashMap<Variant, Arc<CudaModule>>>,
    functions: Mutex<HashMap<(Variant, &'static str), CudaFunction>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("capability", &self.capability).finish_non_exhaustive()
    }
}

/// Memory of the device, freed when dropped.
pub struct Memory {
    slice: CudaSlice<u8>,
    address: u64,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("n_bytes", &self.slice.len()).finish_non_exhaustive()
    }
}

impl Memory {
    /// All of it.
    pub fn span(&self) -> Span<'_> {
        Span::new(self.address, self.slice.len())
    }
}

/// Launches that were captured, with the memory that they use.
pub struct Graph<T> {
    // First, since fields are dropped in this order.
    graph: CudaGraph,
    of: T,
}

// SAFETY: the driver's functions may be called from any thread, though not on one graph at once; each
// of them here takes the graph for itself alone.
unsafe impl<T: Send> Send for Graph<T> {}

impl<T> std::fmt::Debug for Graph<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

impl<T> Graph<T> {
    /// What it works on.
    pub fn of(&self) -> &T {
        &self.of
    }

    /// Gives it to the device, which runs it after all that it was given before.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn replay(&mut self) -> Result<()> {
        self.graph.launch().map_err(Error::engine("replaying a CUDA graph"))
    }
}

/// A capture under way, which ends even where what is captured panics.
struct OpenCapture<'a>(&'a Arc<CudaStream>);

impl OpenCapture<'_> {
    fn end(self) -> std::result::Result<Option<CudaGraph>, DriverError> {
        let stream = self.0;
        std::mem::forget(self);
        stream.end_capture(sys::CUgraphInstantiate_flags(0))
    }
}

impl Drop for OpenCapture<'_> {
    fn drop(&mut self) {
        // A graph of half a step, or none: nobody replays it.
        let _ = self.0.end_capture(sys::CUgraphInstantiate_flags(0));
    }
}

impl Context {
    /// The kernels of an NVIDIA device; absent for another one. There is one of them for each open
    /// device, kept to the end of the process with all that it compiled.
    ///
    /// # Errors
    /// [`Error::Engine`] with what the driver says.
    pub fn of(device: &Device) -> Result<Option<Arc<Self>>> {
        static ALL: Mutex<Vec<Arc<Context>>> = Mutex::new(Vec::new());
        let Device::Cuda(device) = device else { return Ok(None) };
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = all.iter().find(|context| context.device.id() == device.id()) {
            return Ok(Some(Arc::clone(context)));
        }
        let context = Arc::new(Self::new(device)?);
        all.push(Arc::clone(&context));
        Ok(Some(context))
    }

    fn new(device: &CudaDevice) -> Result<Self> {
        const ASKING: &str = "asking the device what it is";
        let stream = device.cuda_stream();
        let context = stream.context();
        let (major, minor) = context.compute_capability().map_err(Error::engine(ASKING))?;
        let n_multiprocessors = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(Error::engine(ASKING))?;
        let workspace = allocate(&stream, WORKSPACE_BYTES)?;
        // SAFETY: the handle is the device's own. The memory is aligned as all that the driver gives
        // (256 bytes), and nothing else of this stream uses it. It is never freed, since what is kept
        // of a device stays to the end of the process (`of`).
        unsafe {
            cublas_sys::cublasSetWorkspace_v2(
                *device.cublas_handle().handle(),
                workspace.address as *mut c_void,
                WORKSPACE_BYTES,
            )
        }
        .result()
        .map_err(Error::engine("giving cuBLAS its workspace"))?;
        Ok(Self {
            device: device.clone(),
            capability: Version { major: major as u32, minor: minor as u32 },
            n_multiprocessors: n_multiprocessors as u32,
            _workspace: workspace,
            modules: Mutex::default(),
            functions: Mutex::default(),
            stream,
        })
    }

    /// Multiprocessors of the device.
    pub fn n_multiprocessors(&self) -> usize {
        self.n_multiprocessors as usize
    }

    /// Takes memory, whose content is arbitrary.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is too little of it.
    pub fn allocate(&self, n_bytes: usize) -> Result<Memory> {
        allocate(&self.stream, n_bytes)
    }

    /// What a contiguous tensor of this device holds.
    ///
    /// # Errors
    /// [`Error::Engine`] if it is not one.
    pub fn span_of<'a>(&self, tensor: &'a Tensor) -> Result<Span<'a>> {
        const WRONG: &str = "the tensor is not one of this device, in rows without gaps";
        let wrong = || Error::engine(LAUNCHING)(candle_core::Error::Msg(WRONG.into()));
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { return Err(wrong()) };
        if !layout.is_contiguous() {
            return Err(wrong());
        }
        let address = self.address_of(storage, tensor.dtype()).map_err(Error::engine(LAUNCHING))?;
        let size = tensor.dtype().size_in_bytes();
        let n_bytes = tensor.elem_count() * size;
        Ok(Span::new(address + (layout.start_offset() * size) as u64, n_bytes))
    }

    fn address_of(&self, storage: &CudaStorage, dtype: DType) -> candle_core::Result<u64> {
        let stream = &self.stream;
        Ok(match dtype {
            DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(stream).0,
            DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(stream).0,
            DType::F16 => storage.as_cuda_slice::<f16>()?.device_ptr(stream).0,
            DType::BF16 => storage.as_cuda_slice::<bf16>()?.device_ptr(stream).0,
            other => candle_core::bail!("no kernel reads {other:?}"),
        })
    }

    /// An f32 tensor whose content is arbitrary, for a kernel to write.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for it.
    pub fn floats(&self, shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: any bits are a number, and the caller's kernel writes all of them.
        let slice = unsafe { self.stream.alloc::<f32>(shape.0 * shape.1) };
        let slice = slice.map_err(Error::engine(ALLOCATING))?;
        Ok(tensor(CudaStorage::wrap_cuda_slice(slice, self.device.clone()), shape))
    }

    /// The same of u32.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for it.
    pub fn indices(&self, shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: as above.
        let slice = unsafe { self.stream.alloc::<u32>(shape.0 * shape.1) };
        let slice = slice.map_err(Error::engine(ALLOCATING))?;
        Ok(tensor(CudaStorage::wrap_cuda_slice(slice, self.device.clone()), shape))
    }

    /// Gives a kernel to the device, which runs it after all that it was given before.
    ///
    /// # Errors
    /// [`Error::Engine`] if it cannot be compiled or launched.
    pub fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        if launch.grid.contains(&0) {
            return Ok(());
        }
        // Looking a function up needs the device, too.
        self.stream.context().bind_to_thread().map_err(Error::engine(LAUNCHING))?;
        let function = self.function(launch.variant, launch.name)?;
        let mut values = launch.arguments.clone();
        let mut arguments: Vec<*mut c_void> =
            values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the function lives as long as its module, which this keeps. Values are in the
        // order and of the kinds that the kernel takes, and memory is as large as it says
        // (`operations.rs`, held against the sources by tests); it lives until the launch is given
        // to the stream, and what is freed later is freed in the stream's order.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.n_threads, 1, 1),
                0,
                self.stream.cu_stream(),
                &mut arguments,
            )
        }
        .map_err(Error::engine(format!("{LAUNCHING} ({})", launch.name)))
    }

    fn function(&self, variant: Variant, name: &'static str) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(&(variant, name)) {
            return Ok(function.clone());
        }
        let module = self.module(variant)?;
        let load = format!("loading kernel `{name}`");
        let function = module.load_function(name).map_err(Error::engine(load))?;
        functions.insert((variant, name), function.clone());
        Ok(function)
    }

    fn module(&self, variant: Variant) -> Result<Arc<CudaModule>> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&variant) {
            return Ok(Arc::clone(module));
        }
        let operation = format!("compiling kernels ({:?})", variant.source);
        let compiled = compile(&variant, self.capability)
            .map_err(candle_core::Error::Msg)
            .map_err(Error::engine(operation))?;
        let module = self
            .stream
            .context()
            .load_module(Ptx::from_binary(compiled.image))
            .map_err(Error::engine("loading kernels"))?;
        modules.insert(variant, Arc::clone(&module));
        Ok(module)
    }

    /// The same product as [`operations::product`] for any number of rows: few by our own kernels,
    /// many by cuBLAS. It knows no bias and no gates there, so `kind` is any but gated.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn product(
        &self,
        format: FloatFormat,
        kind: Product,
        w: Span<'_>,
        x: Span<'_>,
        y: Span<'_>,
        (n_rows, n_out, n_in): (usize, usize, usize),
    ) -> Result<()> {
        if n_rows <= operations::PRODUCT_ROWS_MAX && operations::can_multiply(format, n_in) {
            let size = (n_rows, n_out, n_in);
            return self.launch(&operations::product(format, kind, w, x, None, y, size));
        }
        let bytes_of_y = match kind {
            Product::Wide | Product::Added => 4,
            Product::Narrowed => bytes_of(format),
            Product::Gated => panic!("cuBLAS has no gated product"),
        };
        assert!(w.n_bytes() >= n_out * n_in * bytes_of(format));
        assert!(x.n_bytes() >= n_rows * n_in * bytes_of(format));
        assert!(y.n_bytes() >= n_rows * n_out * bytes_of_y);
        let of_format = match format {
            FloatFormat::F32 => cublas_sys::cudaDataType::CUDA_R_32F,
            FloatFormat::F16 => cublas_sys::cudaDataType::CUDA_R_16F,
            FloatFormat::Bf16 => cublas_sys::cudaDataType::CUDA_R_16BF,
        };
        let of_y = if bytes_of_y == 4 { cublas_sys::cudaDataType::CUDA_R_32F } else { of_format };
        let (one, beta) = (1.0_f32, if kind == Product::Added { 1.0_f32 } else { 0.0 });
        let size = |n: usize| c_int::try_from(n).expect("sides of products are below 2^31");
        self.stream.context().bind_to_thread().map_err(Error::engine(LAUNCHING))?;
        // SAFETY: the handle is the device's own. By columns, as cuBLAS counts, W is (n_in, n_out)
        // and x (n_in, rows), so their memory, which was measured above, is all that is read, and
        // y (n_out, rows) all that is written.
        unsafe {
            cublas::gemm_ex(
                *self.device.cublas_handle().handle(),
                cublas_sys::cublasOperation_t::CUBLAS_OP_T,
                cublas_sys::cublasOperation_t::CUBLAS_OP_N,
                size(n_out),
                size(n_rows),
                size(n_in),
                (&raw const one).cast(),
                w.address() as *const c_void,
                of_format,
                size(n_in),
                x.address() as *const c_void,
                of_format,
                size(n_in),
                (&raw const beta).cast(),
                y.address() as *mut c_void,
                of_y,
                size(n_out),
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(Error::engine("multiplying by cuBLAS"))
    }

    /// Copies a span to the start of another, after all that was launched before.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn copy(&self, from: Span<'_>, to: Span<'_>) -> Result<()> {
        const COPYING: &str = "copying on the device";
        assert!(from.n_bytes() <= to.n_bytes());
        self.stream.context().bind_to_thread().map_err(Error::engine(COPYING))?;
        // SAFETY: both are memory of this device and there is room, as was just looked at; what holds
        // of a launch holds of a copy in the stream's order.
        unsafe {
            result::memcpy_dtod_async(
                to.address(),
                from.address(),
                from.n_bytes(),
                self.stream.cu_stream(),
            )
        }
        .map_err(Error::engine(COPYING))
    }

    /// Waits for all that was launched.
    ///
    /// # Errors
    /// [`Error::Engine`] if something of it failed.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(Error::engine("waiting for the device"))
    }

    /// Keeps what `launches` asks for instead of running it, to be run again and again. It is a function
    /// that brings nothing along, so that the memory it uses is what `of` owns, as long as the graph.
    /// The same must have been launched once already, so that nothing is compiled, loaded or allocated
    /// meanwhile.
    ///
    /// # Errors
    /// Those of `launches`, or [`Error::Engine`] if the driver makes no graph of it.
    pub fn capture<T>(&self, of: T, launches: fn(&Self, &T) -> Result<()>) -> Result<Graph<T>> {
        // Of this thread: what would break the capture is refused, and others do as they like.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(Error::engine(CAPTURING))?;
        let capture = OpenCapture(&self.stream);
        let launched = launches(self, &of);
        let graph = capture.end();
        // What went wrong first says more than that the capture is void.
        launched?;
        let graph = graph
            .map_err(Error::engine(CAPTURING))?
            .ok_or_else(|| candle_core::Error::Msg("the driver gives none".into()))
            .map_err(Error::engine(CAPTURING))?;
        graph.upload().map_err(Error::engine(CAPTURING))?;
        Ok(Graph { graph, of })
    }

    /// Sets every byte of a span, after all that was launched before.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn set_bytes(&self, to: Span<'_>, byte: u8) -> Result<()> {
        const SETTING: &str = "setting memory of the device";
        if to.n_bytes() == 0 {
            return Ok(());
        }
        self.stream.context().bind_to_thread().map_err(Error::engine(SETTING))?;
        // SAFETY: the span is memory of this device, taken in the order of this stream.
        unsafe {
            result::memset_d8_async(to.address(), byte, to.n_bytes(), self.stream.cu_stream())
        }
        .map_err(Error::engine(SETTING))
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Copies to the start of a span, and returns when the source is not needed any more.
    ///
    /// # Errors
    /// [`Error::Engine`].
    #[cfg(test)]
    pub(super) fn upload(&self, bytes: &[u8], to: Span<'_>) -> Result<()> {
        assert!(bytes.len() <= to.n_bytes());
        self.copied(|stream| {
            // SAFETY: there is room, as was just looked at; the source lives until the copy is done,
            // which is waited for.
            unsafe { result::memcpy_htod_async(to.address(), bytes, stream) }
        })
    }

    /// Copies from the start of a span, when all that was launched before is done.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn download(&self, from: Span<'_>, bytes: &mut [u8]) -> Result<()> {
        assert!(bytes.len() <= from.n_bytes());
        self.copied(|stream| {
            // SAFETY: as above, the other way round.
            unsafe { result::memcpy_dtoh_async(bytes, from.address(), stream) }
        })
    }

    fn copied(
        &self,
        copy: impl FnOnce(sys::CUstream) -> std::result::Result<(), DriverError>,
    ) -> Result<()> {
        const COPYING: &str = "copying";
        self.stream.context().bind_to_thread().map_err(Error::engine(COPYING))?;
        copy(self.stream.cu_stream()).map_err(Error::engine(COPYING))?;
        self.stream.synchronize().map_err(Error::engine(COPYING))
    }
}

fn allocate(stream: &Arc<CudaStream>, n_bytes: usize) -> Result<Memory> {
    // SAFETY: a byte may be anything, and every kernel writes what another reads.
    let slice = unsafe { stream.alloc::<u8>(n_bytes.max(1)) }
        .map_err(Error::engine(format!("{ALLOCATING} ({n_bytes} bytes)")))?;
    let address = slice.device_ptr(stream).0;
    Ok(Memory { slice, address })
}

fn tensor(storage: CudaStorage, shape: (usize, usize)) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
