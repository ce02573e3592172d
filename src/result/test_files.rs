//! Parts of result files that tests start from.

use crate::result::file::*;

/// A round of four passes, of which one was twice as fast as the slowest.
pub(super) fn round(min_pass_ns: u64, min_pass_idx: u64) -> RoundFile {
    RoundFile {
        start_ns: 0,
        passes: 4,
        iterations: 4,
        total_ns: min_pass_ns * 5,
        min_pass_ns,
        max_pass_ns: min_pass_ns * 2,
        stop: StopFile::MinimaMet,
        min_pass_idx: Some(min_pass_idx),
        block_pass_ns: vec![],
        device_time: None,
        conditions: None,
        ttft_total_ns: None,
        run_idx: 0,
    }
}
