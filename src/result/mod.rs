//! Result files: what a run leaves behind, readable on any machine by any build.
//!
//! The types of [`mod@file`] are the wire format and nothing else; the live types stand where the
//! work is done. Nothing here runs a model or prints.

mod claims;
mod convert;
mod derive;
mod environment;
mod evidence;
pub mod file;
mod format;
pub mod imported;
mod integrity;
mod journal;
mod latency;
mod merge;
mod names;
mod rating;
mod read;
mod record;
mod recount;
mod roofline;
mod schema;
mod signature;
mod store;
#[cfg(test)]
mod test_files;
mod tool;
mod warnings;

pub use convert::{
    BUILTIN, axes_file, case_file, case_of, ceiling_file, check_file, is_not_yet, latency_files,
    placement_of, plan_file, probe_of, probe_sizes, round_file, settings_of, warm_up_file,
};
pub use derive::interval as median_interval;
pub use environment::{
    available_memory, cores_first, environment, last_level_cache, physical_cores, total_memory,
};
pub use file::ResultFile;
pub use format::{FORMAT_VERSION, FormatVersion};
pub use imported::ImportedFile;
pub use integrity::{LAYOUT, Sealed, Signature, Verdict, seal, sha256_of, verify};
pub use journal::{
    Journal, Recovered, Replayed, journal_line, journal_path, recover, replay, result_path,
};
pub use merge::{check_same_build, check_same_machine, merge};
pub use read::{
    AnyReading, ImportedReading, Reading, imported_from, parse, read, read_any, read_intact,
    read_verified, verify_file,
};
pub use record::{Assembly, Entry, Record};
pub use recount::check_probe_work;
pub use schema::schema;
pub use signature::{SigningKey, read_public_key};
pub use store::{Destination, to_json};
pub use tool::{TARGET_FEATURES, is_debug_build, tool};
pub use warnings::{Explained, HANDOVER_FAR_BEYOND};
