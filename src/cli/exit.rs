//! Exit statuses, one place for all commands.

use std::process::ExitCode;

use crate::error::Error;

/// The run finished, but a case of it failed or none was measured; or the engine itself failed.
pub(super) const FAILED: u8 = 1;
/// A comparison shows that something is slower, or has a case that fails on the new side alone.
pub(super) const SLOWER: u8 = 1;
/// The command line, or a file it names, cannot be used.
pub(super) const USAGE: u8 = 2;
/// A comparison leaves something open, and was told to fail on that.
pub(super) const UNSURE: u8 = 3;
/// Stopped by Ctrl-C; what a run measured is in its result file. 128 + SIGINT, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// The status for an error that ended the command.
pub(super) fn code_of(error: &Error) -> ExitCode {
    ExitCode::from(match error {
        Error::Interrupted => INTERRUPTED,
        Error::Engine { .. }
        | Error::NotLoaded { .. }
        | Error::OutputNotFinite { .. }
        | Error::OutputWrong { .. }
        | Error::Journal { .. }
        | Error::ArmFailed { .. }
        | Error::Stdout(_) => FAILED,
        _ => USAGE,
    })
}
