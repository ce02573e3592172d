//! Everything that an NVIDIA device computes, and what it needs of the driver. Compiled with the
//! feature `cuda` alone.

mod context;
mod device;
mod driver;
#[cfg(test)]
mod emulator;
mod launch;
mod matmul;
mod operations;
mod peer;
mod probes;
mod program;
#[cfg(test)]
mod tests;
mod transfer;

pub use context::{Context, Graph, Memory, WORKSPACE_BYTES};
pub use device::{DriverFacts, facts, free_memory, open};
pub use driver::{Obstacle, Version, check};
pub use launch::{Launch, Span};
pub use matmul::Matmul;
pub use operations::*;
pub use peer::{PeerLink, PeerRoute};
pub use probes::*;
pub use program::{HeadShape, Source, Variant, compile};
pub use transfer::Link;
