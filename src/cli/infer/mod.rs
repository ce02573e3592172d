//! The commands that run models.

mod args;
mod logits;
mod probe;
mod progress;
mod run;
mod session;

use crate::case::{CpuMask, Placement};
use crate::error::{Error, Result};
use crate::kernels::{Instructions, affinity};

/// The variable that keeps kernels below what the machine has.
const ISA: &str = "BENCHINF_ISA";

/// Limits kernels to the instruction set that the user's environment names, if it does.
pub(super) fn limit_instructions() -> Result<()> {
    let Some(name) = std::env::var_os(ISA) else { return Ok(()) };
    let value = name.to_string_lossy().into_owned();
    let limited = value.parse().and_then(Instructions::limit);
    limited.map_err(|problem| Error::BadValue { flag: ISA, value, problem })
}

/// The hardware threads asked for. From here on this process computes on no others, so that what
/// the machine offers is what it may use.
fn place(args: &PlacementArgs) -> Result<Placement> {
    let &PlacementArgs { cpu_mask, cpu_strict } = args;
    let asked = cpu_mask.cpus();
    if asked.is_empty() && !cpu_strict {
        return Ok(Placement::Anywhere);
    }
    let bad = |problem: String| match asked.is_empty() {
        true => Error::BadValue { flag: "--cpu-strict", value: "1".into(), problem },
        false => Error::BadValue { flag: "--cpu-mask", value: cpu_mask.to_string(), problem },
    };
    let usable = affinity::usable().map_err(bad)?;
    if let Some(cpu) = asked.iter().find(|cpu| !usable.contains(cpu)) {
        return Err(bad(format!(
            "this process may not use hardware thread {cpu}; it may use those of {}",
            CpuMask::of(&usable).unwrap_or_default()
        )));
    }
    if asked.is_empty() {
        let all = CpuMask::of(&usable).ok_or_else(|| bad("there are too many to pin".into()))?;
        return Ok(Placement::Pinned(all));
    }
    affinity::keep_on(&asked)?;
    Ok(match cpu_strict {
        true => Placement::Pinned(cpu_mask),
        false => Placement::Within(cpu_mask),
    })
}

use args::PlacementArgs;
pub(super) use args::{LogitsArgs, ProbeArgs, RunArgs, with_long_requests};
pub(super) use logits::run as logits;
pub(super) use probe::run as probe;
pub(super) use run::run;
