//! Models: their configuration, what they must compute, their weights, and the decoder itself.
//! Nothing here knows about time.

pub mod builtin;
pub mod config;
pub mod cost;
mod source;

#[cfg(feature = "infer")]
mod checkpoint;
#[cfg(feature = "infer")]
mod decoder;
#[cfg(feature = "infer")]
mod engine;
#[cfg(feature = "infer")]
mod fused;
#[cfg(feature = "cuda")]
mod fused_cuda;
#[cfg(all(feature = "infer", not(feature = "cuda")))]
#[path = "fused_cuda_absent.rs"]
mod fused_cuda;
#[cfg(feature = "infer")]
mod kv_cache;
#[cfg(feature = "infer")]
pub mod random;
#[cfg(feature = "infer")]
mod rope;
#[cfg(feature = "infer")]
pub mod weights;

#[cfg(feature = "infer")]
pub use engine::{Decoder, KvCache};

pub use config::DecoderConfig;
pub use source::{ModelSource, ModelSpec};
