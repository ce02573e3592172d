//! The only home of `unsafe`. Each block says why it holds.

pub mod affinity;
pub mod attention;
mod chunks;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(test)]
mod drawn;
mod file_map;
mod handover;
mod instructions;
pub mod linear;
pub mod memory;
mod pool;
pub mod rows;
mod simd;
mod threads;

/// Who has the NVIDIA device, of tests that run at once: a capture would take in what others launch.
#[cfg(test)]
pub(crate) static DEVICE_TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

pub use file_map::FileMap;
pub use instructions::Instructions;
pub use pool::Pool;
pub use threads::{Threads, reserve_engine_settings};
