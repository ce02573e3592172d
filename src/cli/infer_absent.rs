//! What stands in for the commands that run models in a build without the feature `infer`: they
//! are known, and say what to do.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{Error, Result};

/// Not in this build.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

/// Not in this build.
#[derive(Debug, clap::Args)]
pub(super) struct LogitsArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

/// Not in this build.
#[derive(Debug, clap::Args)]
pub(super) struct ProbeArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

pub(super) fn probe(_: ProbeArgs) -> Result<ExitCode> {
    Err(Error::InferNotBuilt)
}

pub(super) fn run(_: RunArgs) -> Result<ExitCode> {
    Err(Error::InferNotBuilt)
}

pub(super) fn logits(_: LogitsArgs) -> Result<ExitCode> {
    Err(Error::InferNotBuilt)
}

pub(super) fn limit_instructions() -> Result<()> {
    Ok(())
}

pub(super) fn with_long_requests(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    args.collect()
}
