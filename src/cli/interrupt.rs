//! Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::exit;
use crate::error::{Error, Result};

/// The first Ctrl-C ends the run after the iteration under way and keeps what was measured. The
/// second may be the same request, since wrappers such as `timeout` signal both the process and
/// its group; the third ends the process.
pub(super) fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let n_requests = AtomicU8::new(0);
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        if n_requests.fetch_add(1, Ordering::Relaxed) >= 2 {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    })
    .map_err(Error::engine("listening for Ctrl-C"))?;
    Ok(interrupted)
}
