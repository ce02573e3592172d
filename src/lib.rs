//! `benchinf` runs small transformer inference workloads on a CPU or a CUDA device, records
//! latency histograms, and writes result files that say how each figure came about.
//!
//! The library is cut by what each part must *not* know; `docs/architecture.md` has the map and
//! `tests/integration/house.rs` holds it as a test. Data goes one way:
//!
//! ```text
//! cli → plan → runner → workload → model → kernels → device      what runs
//!               │  └──→ measure                                  how it is timed
//!               └─────→ result → classify, compare → report      what it means
//! ```
//!
//! Without the default feature `infer` the upper row is left out: what remains reads and
//! reports result files and compiles in seconds.

pub mod ab;
pub mod axis;
pub mod case;
pub mod classify;
pub mod cli;
pub mod compare;
pub mod error;
pub mod histogram;
pub mod import;
pub mod machine;
pub mod measure;
pub mod model;
pub mod plan;
pub mod probe;
pub mod report;
pub mod result;
pub mod stats;
pub mod telemetry;
pub mod units;

#[cfg(feature = "infer")]
pub mod device;
#[cfg(feature = "infer")]
pub mod kernels;
#[cfg(feature = "infer")]
pub mod runner;
#[cfg(feature = "infer")]
pub mod workload;

pub use error::{Error, Result};
