//! The commands that run models.

mod args;
mod logits;
mod probe;
mod progress;
mod run;
mod session;

pub(super) use args::{LogitsArgs, ProbeArgs, RunArgs, with_long_requests};
pub(super) use logits::run as logits;
pub(super) use probe::run as probe;
pub(super) use run::run;
