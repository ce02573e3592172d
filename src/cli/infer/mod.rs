//! The commands that run models.

mod args;
mod logits;
mod progress;
mod run;

pub(super) use args::{LogitsArgs, RunArgs, with_long_requests};
pub(super) use logits::run as logits;
pub(super) use run::run;
