//! The commands that run models.

mod args;
mod logits;
mod probe;
mod progress;
mod run;
mod session;

use crate::error::{Error, Result};
use crate::kernels::Instructions;

/// The variable that keeps kernels below what the machine has.
const ISA: &str = "BENCHINF_ISA";

/// Limits kernels to the instruction set that the user's environment names, if it does.
pub(super) fn limit_instructions() -> Result<()> {
    let Some(name) = std::env::var_os(ISA) else { return Ok(()) };
    let value = name.to_string_lossy().into_owned();
    let limited = value.parse().and_then(Instructions::limit);
    limited.map_err(|problem| Error::BadValue { flag: ISA, value, problem })
}

pub(super) use args::{LogitsArgs, ProbeArgs, RunArgs, with_long_requests};
pub(super) use logits::run as logits;
pub(super) use probe::run as probe;
pub(super) use run::run;
