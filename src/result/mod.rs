//! Result files: what a run leaves behind, readable on any machine by any build.
//!
//! The types of [`mod@file`] are the wire format and nothing else; the live types stand where the
//! work is done. Nothing here runs a model or prints.

mod environment;
pub mod file;
mod format;
mod store;
mod summary;
mod tool;

pub use environment::{available_memory, environment, physical_cores};
pub use file::ResultFile;
pub use format::{FORMAT_VERSION, FormatVersion};
pub use store::{Destination, read, to_json};
pub use summary::{CaseSummary, case_result, model_file, plan_file};
pub use tool::{TARGET_FEATURES, is_debug_build, tool};
