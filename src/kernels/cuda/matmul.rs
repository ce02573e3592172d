//! Square products by cuBLASLt, which offers several algorithms for one: the fastest of them runs.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::{MaybeUninit, size_of};

use candle_core::cuda::cudarc::cublas::sys::cublasOperation_t;
use candle_core::cuda::cudarc::cublaslt::result::{self, CublasError};
use candle_core::cuda::cudarc::cublaslt::sys;
use candle_core::cuda::cudarc::driver::sys::CUevent_flags;

use super::context::{Context, Memory};
use super::launch::Span;
use super::probes::{Factors, draw};
use crate::error::{Error, Result};
use crate::kernels::linear::FloatFormat;

/// Memory that an algorithm may work in.
const WORKSPACE_BYTES: usize = 64 << 20;
/// Algorithms that are asked for.
const N_CANDIDATES: usize = 16;
/// Products that each of them is timed by.
const N_TRIALS: usize = 3;

const MULTIPLYING: &str = "multiplying by cuBLASLt";

/// `Y = X·Wᵀ` of random factors, all of them on the device: x (size, size), w (size, size), and y
/// (size, size) in the format that [`Factors::result_bytes`] tells.
pub struct Matmul {
    factors: Factors,
    x: Memory,
    w: Memory,
    y: Memory,
    workspace: Memory,
    call: Call,
    algorithm: sys::cublasLtMatmulAlgo_t,
    n_candidates: usize,
}

impl std::fmt::Debug for Matmul {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matmul")
            .field("factors", &self.factors)
            .field("n_candidates", &self.n_candidates)
            .finish_non_exhaustive()
    }
}

// SAFETY: what it points to is its own, and bound to no thread; cuBLASLt may be called from any.
unsafe impl Send for Matmul {}

impl Matmul {
    /// Takes memory, draws the factors from the streams with these keys (x, w), and tries what
    /// algorithms there are.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is too little memory, or no algorithm for it on this device.
    pub fn new(
        context: &Context,
        factors: Factors,
        size: usize,
        (x_key, w_key): (u64, u64),
    ) -> Result<Self> {
        let n = size * size;
        let x = context.allocate(n * factors.bytes())?;
        let w = context.allocate(n * factors.bytes())?;
        let y = context.allocate(n * factors.result_bytes())?;
        let workspace = context.allocate(WORKSPACE_BYTES)?;
        context.launch(&draw(factors, x.span(), x_key))?;
        context.launch(&draw(factors, w.span(), w_key))?;
        let call = Call::new(factors, size).map_err(Error::engine(MULTIPLYING))?;
        let candidates = call.candidates().map_err(Error::engine(MULTIPLYING))?;
        let Some(&algorithm) = candidates.first() else {
            return Err(none(factors));
        };
        let n_candidates = candidates.len();
        let mut matmul = Self { factors, x, w, y, workspace, call, algorithm, n_candidates };
        matmul.algorithm = matmul.fastest(context, &candidates)?;
        Ok(matmul)
    }

    /// Gives the product to the device.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn multiply(&self, context: &Context) -> Result<()> {
        self.multiply_by(context, &self.algorithm)
    }

    /// The product.
    pub fn y(&self) -> Span<'_> {
        self.y.span()
    }

    /// The fastest of several algorithms, by the device's own clock.
    fn fastest(
        &self,
        context: &Context,
        candidates: &[sys::cublasLtMatmulAlgo_t],
    ) -> Result<sys::cublasLtMatmulAlgo_t> {
        const TIMING: &str = "trying algorithms of cuBLASLt";
        let stream = context.stream();
        let event = || {
            let timed = Some(CUevent_flags::CU_EVENT_DEFAULT);
            stream.context().new_event(timed).map_err(Error::engine(TIMING))
        };
        let (begin, end) = (event()?, event()?);
        let mut best: Option<(f32, sys::cublasLtMatmulAlgo_t)> = None;
        for algorithm in candidates {
            // What it refuses when it is called is no candidate; the first call is not timed.
            if self.multiply_by(context, algorithm).is_err() {
                continue;
            }
            begin.record(stream).map_err(Error::engine(TIMING))?;
            for _ in 0..N_TRIALS {
                self.multiply_by(context, algorithm)?;
            }
            end.record(stream).map_err(Error::engine(TIMING))?;
            let took_ms = begin.elapsed_ms(&end).map_err(Error::engine(TIMING))?;
            if best.is_none_or(|(best_ms, _)| took_ms < best_ms) {
                best = Some((took_ms, *algorithm));
            }
        }
        best.map(|(_, algorithm)| algorithm).ok_or_else(|| none(self.factors))
    }

    fn multiply_by(&self, context: &Context, algorithm: &sys::cublasLtMatmulAlgo_t) -> Result<()> {
        let Call { handle, operation, factor, product, one, .. } = &self.call;
        let zero = 0_u32;
        let stream = context.stream();
        stream.context().bind_to_thread().map_err(Error::engine(MULTIPLYING))?;
        // SAFETY: all of it lives until this returns, and the memory, which was taken for these
        // layouts, until what is launched here is done: it is freed in the order of this stream.
        // By columns, as the library counts, W is (size, size) and transposed, X is not, and the
        // product is Y by rows. Both scales have the 32 bits that the operation was made with.
        unsafe {
            result::matmul(
                handle.0,
                operation.0,
                (&raw const *one).cast(),
                (&raw const zero).cast(),
                self.w.span().address() as *const c_void,
                factor.0,
                self.x.span().address() as *const c_void,
                factor.0,
                self.y.span().address() as *const c_void,
                product.0,
                self.y.span().address() as *mut c_void,
                product.0,
                algorithm,
                self.workspace.span().address() as *mut c_void,
                WORKSPACE_BYTES,
                stream.cu_stream().cast(),
            )
        }
        .map_err(Error::engine(MULTIPLYING))
    }
}

fn none(factors: Factors) -> Error {
    let problem = format!("there is no algorithm for {factors:?} on this device");
    Error::engine(MULTIPLYING)(candle_core::Error::Msg(problem))
}

/// A product of one format and size, as the library knows it.
struct Call {
    handle: Handle,
    operation: Operation,
    factor: Layout,
    product: Layout,
    /// The scale of the product, in the format of sums.
    one: u32,
}

/// How the library calls the numbers of a product.
struct Numbers {
    factor: sys::cudaDataType,
    product: sys::cudaDataType,
    compute: sys::cublasComputeType_t,
    scale: sys::cudaDataType,
}

impl Numbers {
    fn of(factors: Factors) -> Self {
        use sys::cublasComputeType_t as Compute;
        use sys::cudaDataType as Type;
        let floats =
            |factor, product, compute| Self { factor, product, compute, scale: Type::CUDA_R_32F };
        let (full, tf32) = (Compute::CUBLAS_COMPUTE_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32);
        match factors {
            Factors::Floats(FloatFormat::F32) => floats(Type::CUDA_R_32F, Type::CUDA_R_32F, full),
            Factors::Tf32 => floats(Type::CUDA_R_32F, Type::CUDA_R_32F, tf32),
            Factors::Floats(FloatFormat::F16) => floats(Type::CUDA_R_16F, Type::CUDA_R_16F, full),
            Factors::Floats(FloatFormat::Bf16) => {
                floats(Type::CUDA_R_16BF, Type::CUDA_R_16BF, full)
            }
            Factors::Fp8 => floats(Type::CUDA_R_8F_E4M3, Type::CUDA_R_16BF, full),
            Factors::Int8 => Self {
                factor: Type::CUDA_R_8I,
                product: Type::CUDA_R_32I,
                compute: Compute::CUBLAS_COMPUTE_32I,
                scale: Type::CUDA_R_32I,
            },
        }
    }
}

impl Call {
    fn new(factors: Factors, size: usize) -> std::result::Result<Self, CublasError> {
        let numbers = Numbers::of(factors);
        let one = match factors {
            Factors::Int8 => 1,
            _ => 1.0_f32.to_bits(),
        };
        let operation = Operation(result::create_matmul_desc(numbers.compute, numbers.scale)?);
        // The first factor by columns is W transposed, in every format: bytes know no other way.
        operation.set(
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
            &cublasOperation_t::CUBLAS_OP_T,
        )?;
        if factors == Factors::Fp8 {
            // Sums stay in the tensor cores, which keep fewer of their bits; scales are one.
            operation
                .set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &1_i8)?;
        }
        Ok(Self {
            handle: Handle(result::create_handle()?),
            operation,
            factor: Layout::square(numbers.factor, size)?,
            product: Layout::square(numbers.product, size)?,
            one,
        })
    }

    /// The algorithms that the library thinks best, the best of them first.
    fn candidates(&self) -> std::result::Result<Vec<sys::cublasLtMatmulAlgo_t>, CublasError> {
        let preference = Preference(result::create_matmul_pref()?);
        let limit: usize = WORKSPACE_BYTES;
        // SAFETY: the preference was just made, and the attribute is a size.
        unsafe {
            result::set_matmul_pref_attribute(
                preference.0,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const limit).cast(),
                size_of::<usize>(),
            )?;
        }
        let mut found =
            [const { MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit() }; N_CANDIDATES];
        let mut n_found = 0;
        // SAFETY: everything lives until this returns, and there is room for as many as are asked
        // for.
        unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle.0,
                self.operation.0,
                self.factor.0,
                self.factor.0,
                self.product.0,
                self.product.0,
                preference.0,
                N_CANDIDATES as i32,
                found.as_mut_ptr().cast(),
                &mut n_found,
            )
        }
        .result()?;
        let found = found.into_iter().take(usize::try_from(n_found).unwrap_or(0));
        // SAFETY: the library has written as many as it says.
        let found = found.map(|found| unsafe { found.assume_init() });
        let works = |found: &sys::cublasLtMatmulHeuristicResult_t| {
            found.state.result().is_ok() && found.workspaceSize <= WORKSPACE_BYTES
        };
        Ok(found.filter(works).map(|found| found.algo).collect())
    }
}

struct Handle(sys::cublasLtHandle_t);

struct Operation(sys::cublasLtMatmulDesc_t);

struct Layout(sys::cublasLtMatrixLayout_t);

struct Preference(sys::cublasLtMatmulPreference_t);

impl Operation {
    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> std::result::Result<(), CublasError> {
        // SAFETY: the operation lives, and the value is read while this is called. A value of a
        // wrong size is refused.
        unsafe {
            result::set_matmul_desc_attribute(
                self.0,
                attribute,
                (&raw const *value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Layout {
    fn square(numbers: sys::cudaDataType, size: usize) -> std::result::Result<Self, CublasError> {
        result::create_matrix_layout(numbers, size as u64, size as u64, size as i64).map(Self)
    }
}

// What could fail, leaves a leak at worst.

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more; here and below.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
