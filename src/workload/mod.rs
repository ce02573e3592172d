//! What one timed iteration is. Nothing here knows of files or statistics.

mod gemm;
mod inference;
mod memory;
mod tokens;

pub use gemm::GemmProbe;
pub use inference::{Expected, Inference, Session, last_logits};
pub use memory::{MemoryProbe, ProbeMemory};
pub use tokens::TokenStream;
