//! Runs a plan: probes and cases in interleaved rounds (A B C A B C …), so that drift of the
//! machine does not look like a difference between cases. Whatever happens goes at once to whoever
//! records it.

mod budget;
mod gpu;
mod items;
mod probes;
mod recorded;
mod rounds;
mod slowed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::case::{DeviceSpec, Dtype, Kernels, Placement};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Threads;
use crate::measure::Clock;
use crate::model::Decoder;
use crate::model::weights::Weights;
use crate::plan::{Plan, PlannedCase, WeightSet};
use crate::result::file::{IntervalFile, RunEnd, UnitFile};
use crate::result::{self, Record};
use crate::workload;

pub use items::{Item, ItemState, items};
pub use recorded::{begin, is_open, note_resumed, recorded, resume, run_recorded};

/// What a case or probe does per second, as far as its rounds show.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// What is counted.
    pub unit: UnitFile,
    /// The median of the rounds.
    pub median_per_s: f64,
    /// The interval that holds it; absent for one round.
    pub interval: Option<IntervalFile>,
}

/// What is going on, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A checkpoint's files are being digested.
    Digesting {
        /// The model's label.
        model: &'a str,
    },
    /// Weights are being loaded or drawn.
    Loading {
        /// The model's label.
        model: &'a str,
        /// The format.
        dtype: Dtype,
        /// The code that they are for.
        kernels: Kernels,
    },
    /// The warm-up of a case or probe begins.
    WarmUp {
        /// Its id.
        id: &'a str,
    },
    /// A round begins.
    Round {
        /// The id of the case or probe.
        id: &'a str,
        /// Counted from 0.
        round_idx: u32,
        /// Rounds finished, over all cases and probes.
        done: u64,
        /// Rounds planned, over all cases and probes.
        planned: u64,
        /// What the rest will take, as far as is known.
        remaining_ns: Option<u64>,
        /// What its earlier rounds show; absent before the second.
        so_far: Option<&'a Estimate>,
    },
    /// A case or probe failed; the run goes on without it.
    Failed {
        /// Its id.
        id: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Who watches a run, and who keeps what happens in it.
pub struct Observers<'a> {
    /// Set to end the run after the iteration under way.
    pub interrupted: &'a AtomicBool,
    /// Told about progress.
    pub watch: &'a mut (dyn FnMut(Event) + Send),
    /// Given every record with the time it was made. An error ends the run.
    pub record: &'a mut (dyn FnMut(u64, Record) -> Result<()> + Send),
}

/// Runs what `items` say is still to be done of `plan`. Interrupting ends the run after the pass
/// under way; what was measured until then was recorded.
///
/// # Errors
/// What keeps the run from starting (the device, the weights), or from being recorded. A case that
/// fails is a record.
pub fn run<'a>(
    plan: &'a Plan,
    items: Vec<ItemState>,
    clock: &'a (impl Clock + Sync),
    observers: Observers<'a>,
) -> Result<RunEnd> {
    let device = Device::open(plan.settings.device)?;
    let mut threads = threads(plan);
    // A system that refuses threads does so here, and not in the middle of a run.
    for item in items.iter().filter(|item| !item.is_done(plan)) {
        threads.run(item.n_threads, || ())?;
    }
    let needed = |planned: &PlannedCase| {
        let id = planned.case.id();
        items.iter().any(|item| item.id == id && !item.is_done(plan))
    };
    let cases: Vec<&PlannedCase> = plan.cases.iter().filter(|planned| needed(planned)).collect();
    let decoders = load(plan, &cases, &device, &mut threads, observers.watch)?;
    rounds::Run::new(plan, items, clock, device, decoders, observers).all_rounds(&mut threads)
}

/// Pools for the threads of a plan.
fn threads(plan: &Plan) -> Threads {
    match plan.settings.placement {
        Placement::Anywhere | Placement::Within(_) => Threads::default(),
        Placement::Pinned(mask) => Threads::pinned(result::cores_first(mask.cpus())),
    }
}

/// The logits after the last token of `prompt`, on a plan whose only case is a prefill of as
/// many tokens: what the numerics are checked by.
///
/// # Errors
/// [`Error::TokenOutOfRange`], or what is wrong with device, weights or logits.
pub fn last_logits(plan: &Plan, prompt: &[u32]) -> Result<Vec<f32>> {
    let planned = &plan.cases[0];
    let PlannedCase { case, model_idx, .. } = planned;
    let spec = &plan.models[*model_idx];
    let vocab_size = spec.config.vocab_size;
    if let Some(&token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
        return Err(Error::TokenOutOfRange { token, vocab_size, model: spec.label.clone() });
    }
    let device = Device::open(case.device)?;
    let mut threads = Threads::default();
    let decoders = load(plan, &[planned], &device, &mut threads, &mut |_| {})?;
    let decoder = decoders[&planned.weight_set()].as_ref();
    let decoder = decoder.map_err(|reason| Error::NotLoaded { reason: reason.clone() })?;
    threads.run(case.n_threads, || workload::last_logits(decoder, &device, prompt))?
}

/// Weights that are loaded, or why they could not be.
type Decoders = HashMap<WeightSet, std::result::Result<Arc<Decoder>, String>>;

/// Every set of weights that the cases need, on as many threads as any of them uses. What does not
/// fit a device's memory costs the cases that need it, and no others.
fn load(
    plan: &Plan,
    cases: &[&PlannedCase],
    device: &Device,
    threads: &mut Threads,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<Decoders> {
    let n_threads = cases.iter().map(|p| p.case.n_threads).max().unwrap_or(1);
    let mut decoders = HashMap::new();
    for set in plan.weight_sets() {
        let WeightSet { model_idx, dtype, kernels } = set;
        let alike = cases.iter().filter(|planned| planned.weight_set() == set);
        let Some(n_positions) = alike.map(|planned| planned.case.n_positions()).max() else {
            continue;
        };
        let spec = &plan.models[model_idx];
        watch(Event::Loading { model: &spec.label, dtype, kernels });
        let decoder = threads.run(n_threads, || {
            let weights = Weights::open(spec, plan.settings.seed, dtype, device.engine())?;
            Decoder::new(kernels, &spec.config, &weights, n_positions as usize)
        })?;
        let decoder = match decoder {
            Ok(decoder) => Ok(Arc::new(decoder)),
            // Memory that is not there, or a shape or format that the kernels of the device lack.
            Err(error @ (Error::Engine { .. } | Error::NoKernels { .. }))
                if plan.settings.device != DeviceSpec::Cpu =>
            {
                Err(error.to_string())
            }
            Err(error) => return Err(error),
        };
        decoders.insert(set, decoder);
    }
    device.synchronize()?;
    Ok(decoders)
}
