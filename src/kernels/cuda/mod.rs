//! Everything that an NVIDIA device computes, and what it needs of the driver. Compiled with the
//! feature `cuda` alone.

mod context;
mod device;
mod driver;
#[cfg(test)]
mod emulator;
mod launch;
mod operations;
mod program;
#[cfg(test)]
mod tests;

pub use context::{Context, Graph, Memory, WORKSPACE_BYTES};
pub use device::{DriverFacts, facts, free_memory, open};
pub use driver::{Obstacle, Version, check};
pub use launch::{Launch, Span};
pub use operations::*;
pub use program::{HeadShape, Source, Variant, compile};
