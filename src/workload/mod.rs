//! What one timed iteration is. Nothing here knows of files or statistics.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
mod cuda;
mod gemm;
mod inference;
mod memory;
mod tokens;

pub use cuda::DeviceProbes;
pub use gemm::{GemmProbe, flops_per_cycle};
pub use inference::{Expected, Inference, Session, last_logits};
pub use memory::{MemoryProbe, ProbeMemory};
pub use tokens::TokenStream;
