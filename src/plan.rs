//! From axes to the list of cases, wholly validated before anything runs.

use std::collections::{HashMap, HashSet};

use crate::case::{Case, CudaGraphs, DeviceSpec, Dtype, Kernels, Operands, Placement, Test};
use crate::error::{Error, Result};
use crate::measure::Limits;
use crate::model::{DecoderConfig, ModelSpec, cost};
use crate::probe::{Access, Direction, Probe, ProbeKind, ProbeName, ProbeSizes};
use crate::units::Bytes;

/// The axes of a sweep. A count of 0 tokens leaves that test out.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Models.
    pub models: Vec<ModelSpec>,
    /// Number formats.
    pub dtypes: Vec<Dtype>,
    /// The code that computes.
    pub kernels: Vec<Kernels>,
    /// How decode steps are launched where they can be replayed; no matter for other cases.
    pub cuda_graphs: Vec<CudaGraphs>,
    /// Processor threads.
    pub n_threads: Vec<u32>,
    /// Prompt lengths of prefill tests.
    pub n_prompts: Vec<u32>,
    /// Lengths of decode tests.
    pub n_gens: Vec<u32>,
    /// Prompt and output lengths of whole requests.
    pub requests: Vec<(u32, u32)>,
    /// Cached positions before a pass.
    pub n_depths: Vec<u32>,
    /// Sequences computed together.
    pub batch_sizes: Vec<u32>,
    /// Whether to measure, between the cases, what the machine can do at most.
    pub ceilings: bool,
}

impl Axes {
    /// The product of all axes, repeated values included; absent when it overflows.
    fn n_cases_at_most(&self) -> Option<usize> {
        let n_tests = self.n_prompts.len() + self.n_gens.len() + self.requests.len();
        [
            self.models.len(),
            self.dtypes.len(),
            self.kernels.len(),
            self.cuda_graphs.len(),
            self.n_threads.len(),
            self.n_depths.len(),
            self.batch_sizes.len(),
            n_tests,
        ]
        .into_iter()
        .try_fold(1_usize, usize::checked_mul)
    }
}

/// How each case is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where to compute.
    pub device: DeviceSpec,
    /// On which hardware threads of the processor.
    pub placement: Placement,
    /// Seed of random weights and tokens.
    pub seed: u64,
    /// Rounds per case.
    pub repetitions: u32,
    /// Passes of a warm-up at least; 0 for no warm-up.
    pub warm_up_passes: u64,
    /// Time that a round, and a warm-up, measures at least.
    pub min_time_ns: u64,
    /// Time for the whole run, if it is bounded.
    pub max_time_ns: Option<u64>,
    /// Time that is added to every iteration, as a share of it, to try comparisons out. Results say
    /// so wherever they show a figure.
    pub injected_slowdown: Option<f64>,
}

impl Settings {
    /// Limits of a round.
    pub fn round(&self) -> Limits {
        Limits { min_ns: self.min_time_ns, min_passes: 1, max_ns: u64::MAX, max_passes: u64::MAX }
    }

    /// Limits of a probe's round: several passes however long they are, since a ceiling is the
    /// fastest of them, and the first one after other work finds caches and clocks as that left
    /// them.
    pub fn probe_round(&self) -> Limits {
        Limits { min_passes: PROBE_PASSES, ..self.round() }
    }

    /// Limits of a warm-up; absent when it is switched off. Passes that do not get steady end it
    /// after ten times its minima.
    pub fn warm_up(&self) -> Option<Limits> {
        let min_passes = self.warm_up_passes;
        (min_passes > 0).then_some(Limits {
            min_passes,
            max_ns: self.min_time_ns.saturating_mul(10),
            max_passes: min_passes.saturating_mul(1000),
            ..self.round()
        })
    }
}

/// What a plan must know of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resources {
    /// Memory of the device that is free, if that is known.
    pub free_memory: Option<Bytes>,
    /// All instances of the last-level cache, if that is known.
    pub last_level_cache: Option<Bytes>,
    /// Compute capability of an NVIDIA device.
    pub capability: Option<(u32, u32)>,
    /// NVIDIA devices that there are.
    pub n_devices: u32,
    /// What the processor is expected to do, if products are to be measured on it.
    pub processor: Option<Processor>,
}

/// What a processor is expected to do, to choose the size of its products by.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Its cores.
    pub n_cores: u32,
    /// All memory of the machine, if that is known.
    pub memory: Option<Bytes>,
    /// Operations of a core in a cycle, at most, by the kernel that multiplies a format.
    pub flops_per_cycle: fn(Operands) -> u32,
}

impl Processor {
    /// Of a core that computes; it is known of few machines, and decides the size of products
    /// alone.
    const CLOCK_HZ: f64 = 3e9;

    /// What `n_threads` are expected to do in a second at most.
    fn flops_per_s(&self, operands: Operands, n_threads: u32) -> f64 {
        let per_core = f64::from((self.flops_per_cycle)(operands)) * Self::CLOCK_HZ;
        per_core * f64::from(n_threads.min(self.n_cores))
    }
}

/// A case of a plan, with the model it runs.
#[derive(Clone, Debug)]
pub struct PlannedCase {
    /// The case.
    pub case: Case,
    /// Index into [`Plan::models`].
    pub model_idx: usize,
    /// Why it cannot be run here, if so.
    pub skip: Option<String>,
}

/// A probe of a plan.
#[derive(Clone, Debug)]
pub struct PlannedProbe {
    /// The probe.
    pub probe: Probe,
    /// How large it is: the same for all that share a [holder](ProbeKind::holder).
    pub sizes: ProbeSizes,
    /// Why it cannot be run here, if so.
    pub skip: Option<String>,
}

/// What will run: every case fits its model and, but for those to be skipped, the memory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The models, each label once.
    pub models: Vec<ModelSpec>,
    /// The cases, in the order of their axes.
    pub cases: Vec<PlannedCase>,
    /// The probes: each product once for its format and threads, each walk once for its threads.
    pub probes: Vec<PlannedProbe>,
    /// Whether there is memory for what all probes hold at once, so that it is kept from round to
    /// round.
    pub keeps_probes: bool,
    /// How all that is measured.
    pub settings: Settings,
    /// What the plan needs at its peak.
    pub memory: MemoryNeed,
    cache_positions: HashMap<CacheKey, u64>,
}

/// An estimate of peak memory, for planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Weights of every model in every dtype.
    pub weights: Bytes,
    /// KV cache of the case that needs the most.
    pub kv_cache: Bytes,
    /// Activations of that case.
    pub activations: Bytes,
    /// What the probes hold.
    pub probes: Bytes,
}

impl MemoryNeed {
    /// All of it.
    pub fn total(&self) -> Bytes {
        self.weights + self.kv_cache + self.activations + self.probes
    }
}

impl Plan {
    /// Multiplies the axes out and checks every case. A case that needs more memory than is free
    /// is planned as skipped.
    ///
    /// # Errors
    /// The first thing that could not run, naming the flag or the case; memory only if no case
    /// fits.
    pub fn new(axes: Axes, settings: Settings, resources: Resources) -> Result<Self> {
        check_axes(&axes, &settings)?;
        let models = with_distinct_labels(axes.models.clone());
        if axes.n_cases_at_most().is_none_or(|n| n > MAX_CASES) {
            return Err(Error::TooManyCases { max: MAX_CASES });
        }
        let cases = multiply(&axes, &models, settings.device);
        if cases.is_empty() {
            return Err(Error::NothingToRun);
        }
        for planned in &cases {
            check_context(&planned.case, &models[planned.model_idx].config)?;
        }
        let operands = axes.dtypes.iter().map(|d| d.operands());
        let kinds: Vec<ProbeKind> = ceilings(operands).filter(|_| axes.ceilings).collect();
        Self::with_probes(models, cases, (&kinds, &axes.n_threads), settings, resources)
    }

    /// A plan of probes alone: of those that the device has, or of the ones named in `only` where
    /// there are any.
    ///
    /// # Errors
    /// A setting that can never run; a probe that the device does not have.
    pub fn of_probes(
        operands: &[Operands],
        only: &[ProbeName],
        n_threads: &[u32],
        settings: Settings,
        resources: Resources,
    ) -> Result<Self> {
        check_settings(n_threads, &settings)?;
        let mut kinds: Vec<ProbeKind> = ceilings(operands.iter().copied()).collect();
        if settings.device != DeviceSpec::Cpu {
            kinds.extend(Direction::ALL.map(|direction| ProbeKind::Transfer { direction }));
            kinds.push(ProbeKind::PeerTransfer);
        }
        if let Some(name) = only.iter().find(|name| kinds.iter().all(|k| k.kind_name() != **name)) {
            return Err(Error::BadValue {
                flag: "--only",
                value: name.to_string(),
                problem: format!("there is no such probe on {}", settings.device),
            });
        }
        kinds.retain(|kind| only.is_empty() || only.contains(&kind.kind_name()));
        Self::with_probes(vec![], vec![], (&kinds, n_threads), settings, resources)
    }

    /// A plan with probes of these kinds, as large as suits the machine, or as any has room for
    /// where there is none for those.
    fn with_probes(
        models: Vec<ModelSpec>,
        cases: Vec<PlannedCase>,
        (kinds, n_threads): (&[ProbeKind], &[u32]),
        settings: Settings,
        resources: Resources,
    ) -> Result<Self> {
        let of = |resources: Resources| {
            let probes = probes(kinds, n_threads, settings.device, resources);
            let (models, cases) = (models.clone(), cases.clone());
            Self::from_parts(models, cases, probes, settings, resources.free_memory)
        };
        let plan = of(resources)?;
        let lacks_memory = |it: &PlannedProbe| {
            it.skip != it.probe.obstacle(resources.capability, resources.n_devices)
        };
        match !plan.keeps_probes || plan.probes.iter().any(lacks_memory) {
            true => of(Resources { processor: None, ..resources }),
            false => Ok(plan),
        }
    }

    /// A plan of models, cases and probes that belong together. Cases and probes that do not fit
    /// into `free_memory` are skipped.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there are cases and none of them fits.
    pub fn from_parts(
        models: Vec<ModelSpec>,
        mut cases: Vec<PlannedCase>,
        mut probes: Vec<PlannedProbe>,
        settings: Settings,
        free_memory: Option<Bytes>,
    ) -> Result<Self> {
        if let Some(free) = free_memory {
            skip_what_does_not_fit(&models, &mut cases, free)?;
        }
        let cache_positions = cache_positions(&cases);
        let (memory, _) = memory_need(&models, &cases, &cache_positions);
        let left = free_memory.map(|free| Bytes(free.0.saturating_sub(memory.total().0)));
        // One product of each format, one working set for all walks, and one for all transfers
        // between host and device, on any number of threads.
        let (mut seen, mut largest, mut all) = (HashSet::new(), Bytes(0), Bytes(0));
        for planned in probes.iter_mut().filter(|planned| planned.skip.is_none()) {
            let needed = planned.sizes.memory(&planned.probe);
            if let Some(left) = left.filter(|left| needed > *left) {
                planned.skip = Some(format!("needs {needed} of memory, and {left} is left"));
                continue;
            }
            largest = largest.max(needed);
            if seen.insert(planned.probe.kind.holder()) {
                all = all + needed;
            }
        }
        let keeps_probes = left.is_none_or(|left| all <= left);
        let memory = MemoryNeed { probes: if keeps_probes { all } else { largest }, ..memory };
        Ok(Self { models, cases, probes, keeps_probes, settings, memory, cache_positions })
    }

    /// Positions of the one KV cache that serves `planned` and every case of the same model,
    /// dtype and batch size.
    pub fn cache_positions(&self, planned: &PlannedCase) -> u64 {
        self.cache_positions[&cache_key(planned)]
    }

    /// The sets of weights that the plan needs, each once.
    pub fn weight_sets(&self) -> Vec<WeightSet> {
        weight_sets(&self.cases)
    }
}

/// Passes that a round of a probe measures at least.
const PROBE_PASSES: u64 = 3;

/// Weights that cases share: each code keeps them in an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightSet {
    /// Index into [`Plan::models`].
    pub model_idx: usize,
    /// Their format.
    pub dtype: Dtype,
    /// The code that uses them.
    pub kernels: Kernels,
}

impl PlannedCase {
    /// The weights that the case needs.
    pub fn weight_set(&self) -> WeightSet {
        let Case { dtype, kernels, .. } = self.case;
        WeightSet { model_idx: self.model_idx, dtype, kernels }
    }
}

/// Most cases of one plan.
pub const MAX_CASES: usize = 10_000;

/// More threads than any machine runs at once, and few enough that a system can start them.
pub const MAX_THREADS: u32 = 4096;

fn zero(flag: &'static str, problem: &str) -> Result<()> {
    Err(Error::BadValue { flag, value: "0".into(), problem: problem.into() })
}

fn check_settings(n_threads: &[u32], settings: &Settings) -> Result<()> {
    if n_threads.contains(&0) {
        return zero("--threads", "a run needs at least 1 thread");
    }
    if let Some(n) = n_threads.iter().find(|n| **n > MAX_THREADS) {
        return Err(Error::BadValue {
            flag: "--threads",
            value: n.to_string(),
            problem: format!("at most {MAX_THREADS} threads can be asked for"),
        });
    }
    if settings.repetitions == 0 {
        return zero("--repetitions", "a case needs at least 1 round");
    }
    Ok(())
}

/// What cases are held against: a product of each format, and every walk.
fn ceilings(operands: impl Iterator<Item = Operands>) -> impl Iterator<Item = ProbeKind> {
    let gemms = operands.map(|operands| ProbeKind::Gemm { operands });
    gemms.chain(Access::ALL.map(|access| ProbeKind::Memory { access }))
}

fn probe_sizes(device: DeviceSpec, resources: Resources) -> ProbeSizes {
    match device {
        DeviceSpec::Cpu => ProbeSizes::for_cache(resources.last_level_cache),
        DeviceSpec::Cuda { .. } => {
            ProbeSizes::for_device(resources.last_level_cache, resources.free_memory)
        }
    }
}

/// Every kind of probe for each number of threads.
fn probes(
    kinds: &[ProbeKind],
    n_threads: &[u32],
    device: DeviceSpec,
    resources: Resources,
) -> Vec<PlannedProbe> {
    let sizes = probe_sizes(device, resources);
    // Products of a format are of one size, so that different numbers of threads can be compared.
    let most_threads = n_threads.iter().copied().max().unwrap_or(1);
    let sizes_of = |kind| match (kind, resources.processor) {
        (ProbeKind::Gemm { operands }, Some(processor)) => {
            let flops_per_s = processor.flops_per_s(operands, most_threads);
            sizes.with_product_for(flops_per_s, processor.memory)
        }
        _ => sizes,
    };
    let mut seen = HashSet::new();
    n_threads
        .iter()
        .flat_map(|&n_threads| kinds.iter().map(move |&kind| Probe { kind, device, n_threads }))
        .filter(|probe| seen.insert(*probe))
        .map(|probe| PlannedProbe {
            probe,
            sizes: sizes_of(probe.kind),
            skip: probe.obstacle(resources.capability, resources.n_devices),
        })
        .collect()
}

fn check_axes(axes: &Axes, settings: &Settings) -> Result<()> {
    if axes.batch_sizes.contains(&0) {
        return zero("--batch-size", "a batch has at least 1 sequence");
    }
    check_settings(&axes.n_threads, settings)?;
    let in_blocks = axes.dtypes.iter().find(|dtype| matches!(dtype, Dtype::Q8_0 | Dtype::Q4K));
    let is_fused_elsewhere =
        settings.device != DeviceSpec::Cpu && axes.kernels.contains(&Kernels::Fused);
    if let (true, Some(dtype)) = (is_fused_elsewhere, in_blocks) {
        return Err(Error::BadValue {
            flag: "--kernels",
            value: Kernels::Fused.to_string(),
            problem: format!("there are none for {dtype} on {}; use stock", settings.device),
        });
    }
    if let Some((p, g)) = axes.requests.iter().find(|(p, g)| *p == 0 || *g == 0) {
        return Err(Error::BadValue {
            flag: "-pg",
            value: format!("{p},{g}"),
            problem: "a request has at least 1 prompt token and 1 generated token; use -p or -n \
                      for one phase alone"
                .into(),
        });
    }
    Ok(())
}

/// Two models whose paths end alike get their number, so that no two cases share an id.
fn with_distinct_labels(models: Vec<ModelSpec>) -> Vec<ModelSpec> {
    let mut distinct: Vec<ModelSpec> = Vec::new();
    for model in models {
        if distinct.iter().any(|m| m.source == model.source && m.config == model.config) {
            continue;
        }
        let mut label = model.label.clone();
        let mut n = 2;
        while distinct.iter().any(|m| m.label == label) {
            label = format!("{}-{n}", model.label);
            n += 1;
        }
        distinct.push(ModelSpec { label, ..model });
    }
    distinct
}

fn multiply(axes: &Axes, models: &[ModelSpec], device: DeviceSpec) -> Vec<PlannedCase> {
    let prefills = axes.n_prompts.iter().filter(|p| **p > 0);
    let decodes = axes.n_gens.iter().filter(|n| **n > 0);
    let tests: Vec<Test> = prefills
        .map(|&n_prompt| Test::Prefill { n_prompt })
        .chain(decodes.map(|&n_gen| Test::Decode { n_gen }))
        .chain(axes.requests.iter().map(|&(n_prompt, n_gen)| Test::Generate { n_prompt, n_gen }))
        .collect();

    let mut cases = Vec::new();
    let mut seen = HashSet::new();
    for (model_idx, model) in models.iter().enumerate() {
        let codes = axes.dtypes.iter().flat_map(|&d| axes.kernels.iter().map(move |&k| (d, k)));
        let codes = codes.flat_map(|code| axes.cuda_graphs.iter().map(move |&g| (code, g)));
        for ((dtype, kernels), cuda_graphs) in codes {
            for &n_threads in &axes.n_threads {
                for &batch_size in &axes.batch_sizes {
                    for &n_depth in &axes.n_depths {
                        for &test in &tests {
                            let mut case = Case {
                                model: model.label.clone(),
                                dtype,
                                device,
                                kernels,
                                cuda_graphs,
                                n_threads,
                                test,
                                n_depth,
                                batch_size,
                            };
                            if !case.can_replay() {
                                case.cuda_graphs = CudaGraphs::Off;
                            }
                            if seen.insert(case.clone()) {
                                cases.push(PlannedCase { case, model_idx, skip: None });
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

fn check_context(case: &Case, config: &DecoderConfig) -> Result<()> {
    let (needed, limit) = (case.n_positions(), config.n_positions() as u64);
    if needed > limit {
        return Err(Error::ContextTooLong {
            case: case.test_name(),
            needed,
            model: case.model.clone(),
            limit,
        });
    }
    Ok(())
}

fn runnable(cases: &[PlannedCase]) -> impl Iterator<Item = &PlannedCase> {
    cases.iter().filter(|planned| planned.skip.is_none())
}

fn weight_sets(cases: &[PlannedCase]) -> Vec<WeightSet> {
    let mut sets = Vec::new();
    for planned in runnable(cases) {
        let set = planned.weight_set();
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

/// What cases share a KV cache by: weights and batch size.
type CacheKey = (WeightSet, u32);

fn cache_key(planned: &PlannedCase) -> CacheKey {
    (planned.weight_set(), planned.case.batch_size)
}

/// Positions of each KV cache: what the most demanding of its cases needs.
fn cache_positions(cases: &[PlannedCase]) -> HashMap<CacheKey, u64> {
    let mut positions = HashMap::new();
    for planned in runnable(cases) {
        let most = positions.entry(cache_key(planned)).or_insert(0);
        *most = planned.case.n_positions().max(*most);
    }
    positions
}

/// Marks the cases that need more than is free, with a reason.
fn skip_what_does_not_fit(
    models: &[ModelSpec],
    cases: &mut [PlannedCase],
    free: Bytes,
) -> Result<()> {
    let mut largest = None;
    // First those that would not fit alone; then, since weights are held together and caches are
    // shared, the most demanding one at a time until the rest fits.
    for idx in 0..cases.len() {
        let need = case_need(&models[cases[idx].model_idx], &cases[idx].case);
        if need.total() > free && cases[idx].skip.is_none() {
            cases[idx].skip = Some(too_large(&need, free));
            largest = Some((need, idx));
        }
    }
    while runnable(cases).next().is_some() {
        let (need, idx) = memory_need(models, cases, &cache_positions(cases));
        let Some(idx) = idx.filter(|_| need.total() > free) else { return Ok(()) };
        cases[idx].skip = Some(too_large(&need, free));
        largest = Some((need, idx));
    }
    match largest {
        None => Ok(()),
        Some((need, idx)) => Err(Error::OutOfMemory {
            needed: need.total(),
            weights: need.weights,
            cache: need.kv_cache,
            step: need.activations,
            case: cases[idx].case.id(),
            present: free,
        }),
    }
}

fn too_large(need: &MemoryNeed, free: Bytes) -> String {
    let MemoryNeed { weights, kv_cache, activations, .. } = need;
    format!(
        "needs about {} of memory ({weights} weights, {kv_cache} KV cache, {activations} \
         activations), but {free} is free",
        need.total()
    )
}

/// What a case needs when it runs alone.
fn case_need(model: &ModelSpec, case: &Case) -> MemoryNeed {
    let (config, dtype, batch) = (&model.config, case.dtype, case.batch_size);
    // A depth is filled, and generated tokens are checked, in chunks.
    let n_chunk = case.n_depth.max(case.test.n_gen()).min(cost::FILL_CHUNK);
    let n_tokens = case.test.n_prompt().max(n_chunk).max(1);
    let n_positions = case.n_positions();
    let activation_bytes = match (case.kernels, case.device) {
        (Kernels::Fused, DeviceSpec::Cpu) => {
            cost::fused_activation_bytes(config, batch, n_positions, n_tokens)
        }
        (Kernels::Fused, DeviceSpec::Cuda { .. }) => {
            cost::fused_cuda_activation_bytes(config, dtype, batch, n_positions, n_tokens)
        }
        (Kernels::Stock, _) => cost::activation_bytes(config, dtype, batch, n_positions, n_tokens),
    };
    MemoryNeed {
        weights: cost::weight_bytes(config, dtype),
        kv_cache: cost::kv_cache_bytes(config, case.cache_dtype(), batch, case.n_positions()),
        activations: activation_bytes,
        probes: Bytes(0),
    }
}

/// What is needed at the peak, and the index of the case that decides it. Weights of all cases are
/// held together, because their rounds are interleaved; caches and activations come and go.
fn memory_need(
    models: &[ModelSpec],
    cases: &[PlannedCase],
    cache_positions: &HashMap<CacheKey, u64>,
) -> (MemoryNeed, Option<usize>) {
    let weights = weight_sets(cases)
        .into_iter()
        .map(|set| cost::weight_bytes(&models[set.model_idx].config, set.dtype))
        .sum();
    let planned = cases.iter().enumerate().filter(|(_, planned)| planned.skip.is_none());
    let needs = planned.map(|(idx, planned)| {
        let PlannedCase { case, model_idx, .. } = planned;
        let model = &models[*model_idx];
        let n_cached = cache_positions[&cache_key(planned)];
        let kv_cache =
            cost::kv_cache_bytes(&model.config, case.cache_dtype(), case.batch_size, n_cached);
        (MemoryNeed { weights, kv_cache, ..case_need(model, case) }, Some(idx))
    });
    needs.max_by_key(|(need, _)| need.total()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            device: DeviceSpec::Cpu,
            placement: Placement::Anywhere,
            seed: 0,
            repetitions: 5,
            warm_up_passes: 0,
            min_time_ns: 0,
            max_time_ns: None,
            injected_slowdown: None,
        }
    }

    fn axes(model: &str) -> Axes {
        Axes {
            models: vec![ModelSpec::resolve(model).unwrap()],
            dtypes: vec![Dtype::F32],
            kernels: vec![Kernels::Stock],
            cuda_graphs: vec![CudaGraphs::Off],
            n_threads: vec![2],
            n_prompts: vec![512],
            n_gens: vec![128],
            requests: vec![],
            n_depths: vec![0],
            batch_sizes: vec![1],
            ceilings: false,
        }
    }

    fn free(free_memory: Option<Bytes>) -> Resources {
        Resources { free_memory, ..Resources::default() }
    }

    fn ids(axes: Axes) -> Vec<String> {
        let plan = Plan::new(axes, settings(), free(None)).unwrap();
        plan.cases.iter().map(|p| p.case.id()).collect()
    }

    fn refusal(axes: Axes, present: Option<Bytes>) -> String {
        Plan::new(axes, settings(), free(present)).unwrap_err().to_string()
    }

    #[test]
    fn the_product_of_all_axes_once_each() {
        assert_eq!(
            ids(axes("tiny")),
            ["tiny/f32/cpu/t2/b1/pp512@d0", "tiny/f32/cpu/t2/b1/tg128@d0"]
        );
        let wide = Axes {
            dtypes: vec![Dtype::F32, Dtype::BF16, Dtype::F32],
            n_prompts: vec![0, 16, 16],
            n_gens: vec![8],
            requests: vec![(4, 2)],
            n_depths: vec![0, 32],
            batch_sizes: vec![1, 3],
            ..axes("tiny")
        };
        let ids = ids(wide);
        assert_eq!(ids.len(), 2 * 3 * 2 * 2);
        assert_eq!(ids[3], "tiny/f32/cpu/t2/b1/pp16@d32");
        assert_eq!(ids[23], "tiny/bf16/cpu/t2/b3/pp4+tg2@d32");
    }

    #[test]
    fn labels_become_distinct() {
        let tiny = ModelSpec::resolve("tiny").unwrap();
        let mut other = tiny.clone();
        other.config.n_layers = 1;
        let models = vec![tiny.clone(), tiny, other];
        let plan = Plan::new(Axes { models, ..axes("tiny") }, settings(), free(None)).unwrap();
        let labels: Vec<_> = plan.models.iter().map(|m| m.label.as_str()).collect();
        assert_eq!(labels, ["tiny", "tiny-2"]);
        let set = |model_idx| WeightSet { model_idx, dtype: Dtype::F32, kernels: Kernels::Stock };
        assert_eq!(plan.weight_sets(), [set(0), set(1)]);
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let none = Axes { n_prompts: vec![0], n_gens: vec![0], ..axes("tiny") };
        assert!(refusal(none, None).starts_with("nothing to run"));
        let deep = Axes { n_depths: vec![1537], ..axes("tiny") };
        assert_eq!(
            refusal(deep, None),
            "pp512 @ d1537 needs 2049 positions, but tiny has 2048: lower -d, -p or -n so that \
             their sum fits, or give fewer --tokens"
        );
        let empty_batch = Axes { batch_sizes: vec![1, 0], ..axes("tiny") };
        assert!(refusal(empty_batch, None).starts_with("--batch-size 0"));
        let half_request = Axes { requests: vec![(4, 0)], ..axes("tiny") };
        assert!(refusal(half_request, None).starts_with("-pg 4,0"));
        let many = Axes { n_prompts: vec![1; 101], n_depths: vec![0; 100], ..axes("tiny") };
        assert!(refusal(many, None).starts_with("the axes multiply to more than 10000 cases"));
        let long = vec![1; 1000];
        let absurd = Axes {
            n_prompts: long.clone(),
            n_depths: long.clone(),
            batch_sizes: long.clone(),
            n_threads: long,
            ..axes("tiny")
        };
        assert!(refusal(absurd, None).starts_with("the axes multiply"));
        let no_threads = Axes { n_threads: vec![0], ..axes("tiny") };
        assert!(refusal(no_threads, None).starts_with("--threads 0"));
    }

    #[test]
    fn memory_counts_all_weights_and_the_largest_case() {
        let two = Axes { dtypes: vec![Dtype::F32, Dtype::F16], ..axes("tiny") };
        let plan = Plan::new(two.clone(), settings(), free(None)).unwrap();
        assert_eq!(plan.memory.weights, Bytes(125_248 * 6));
        // The prefill's 512 positions in f32: 2 layers × (K and V) × 32 × 4 B each.
        assert_eq!(plan.memory.kv_cache, Bytes(512 * 2 * 2 * 32 * 4));
        let enough = Plan::new(two.clone(), settings(), free(Some(plan.memory.total()))).unwrap();
        assert!(enough.cases.iter().all(|planned| planned.skip.is_none()));
        // A byte less, and the largest case is left out with its reason; the others run.
        let tight = free(Some(Bytes(plan.memory.total().0 - 1)));
        let tight = Plan::new(two, settings(), tight).unwrap();
        let skipped: Vec<_> = tight.cases.iter().filter(|p| p.skip.is_some()).collect();
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].case.id(), "tiny/f32/cpu/t2/b1/pp512@d0");
        assert!(skipped[0].skip.as_deref().unwrap().starts_with("needs about "));
        assert!(tight.memory.total() <= Bytes(plan.memory.total().0 - 1));
        // Where nothing fits, nothing is planned.
        let absurd = Axes { batch_sizes: vec![u32::MAX], ..axes("llama-3.1-8b") };
        assert!(refusal(absurd, Some(Bytes(1 << 40))).contains("lower -b"));
        // A format whose cases are all skipped needs no weights.
        let wide = Axes {
            dtypes: vec![Dtype::F32, Dtype::F16],
            batch_sizes: vec![1, 1 << 30],
            ..axes("tiny")
        };
        let plan = Plan::new(wide, settings(), free(Some(Bytes(64 << 20)))).unwrap();
        assert_eq!(plan.cases.iter().filter(|p| p.skip.is_none()).count(), 4);
    }

    #[test]
    fn probes_of_every_format_and_number_of_threads_once() {
        let wide = Axes {
            dtypes: vec![Dtype::F32, Dtype::F16, Dtype::F32],
            n_threads: vec![1, 2, 1],
            ceilings: true,
            ..axes("tiny")
        };
        let plan = Plan::new(wide, settings(), free(None)).unwrap();
        let ids: Vec<String> = plan.probes.iter().map(|p| p.probe.id()).collect();
        let of_one = ["gemm/f32/cpu/t1", "gemm/f16/cpu/t1", "memory_read/cpu/t1"];
        assert_eq!(ids[..3], of_one);
        assert_eq!(ids.len(), 2 * 5);
        // Without room beside the cases a probe is skipped, and the cases are not.
        let plan = Plan::new(
            Axes { ceilings: true, ..axes("tiny") },
            settings(),
            free(Some(Bytes(300 << 20))),
        );
        let skips: Vec<bool> = plan.unwrap().probes.iter().map(|p| p.skip.is_some()).collect();
        assert_eq!(skips, [false, true, true, true]);
    }

    #[test]
    fn probes_are_kept_where_all_of_them_fit() {
        let operands = [Operands::F32, Operands::F16];
        let of = |free_memory| {
            Plan::of_probes(&operands, &[], &[1, 2], settings(), free(free_memory)).unwrap()
        };
        let plan = of(None);
        // Two products and one working set, on however many threads.
        let (product, set) = (Bytes(2048 * 2048 * 4 * 5), plan.probes[2].sizes.working_set);
        assert!(plan.keeps_probes && plan.memory.probes == product + product + set);
        assert!(of(Some(plan.memory.probes)).keeps_probes);
        let tight = of(Some(Bytes(plan.memory.probes.0 - 1)));
        assert!(!tight.keeps_probes && tight.memory.probes == set);
        assert!(tight.probes.iter().all(|planned| planned.skip.is_none()));
    }

    #[test]
    fn products_are_of_one_size_for_any_number_of_threads() {
        let flops_per_cycle = |operands| match operands {
            Operands::Int8 => 256,
            _ => 64,
        };
        let sizes = |n_cores, n_threads: &[u32], free_memory| -> Vec<(Operands, u32)> {
            let memory = Some(Bytes(64 << 30));
            let processor = Some(Processor { n_cores, memory, flops_per_cycle });
            let resources = Resources { processor, ..free(free_memory) };
            let operands = [Operands::F32, Operands::Int8];
            let only = [ProbeName::Gemm];
            let plan = Plan::of_probes(&operands, &only, n_threads, settings(), resources);
            let size = |planned: &PlannedProbe| match planned.probe.kind {
                ProbeKind::Gemm { operands } => (operands, planned.sizes.gemm_size),
                kind => panic!("{kind:?} was not asked for"),
            };
            plan.unwrap().probes.iter().map(size).collect()
        };
        let (f32, int8) = (Operands::F32, Operands::Int8);
        assert_eq!(sizes(2, &[1], None), [(f32, 2048), (int8, 2048)]);
        assert_eq!(sizes(2, &[1, 2], None), [(f32, 2048), (int8, 4096), (f32, 2048), (int8, 4096)]);
        assert_eq!(sizes(16, &[16], None), [(f32, 4096), (int8, 8192)]);
        // More threads than cores do not more.
        assert_eq!(sizes(2, &[16], None), [(f32, 2048), (int8, 4096)]);
        // Where there is no room for them, they are as elsewhere.
        let product = |size: u64| size * size * 4 * 5;
        let all = product(4096) + product(8192);
        assert_eq!(sizes(16, &[16], Some(Bytes(all))), [(f32, 4096), (int8, 8192)]);
        assert_eq!(sizes(16, &[16], Some(Bytes(all - 1))), [(f32, 2048), (int8, 2048)]);
    }

    #[test]
    fn probes_can_be_chosen() {
        let operands = [Operands::F32, Operands::F16];
        let ids = |only: &[&str]| -> std::result::Result<Vec<String>, String> {
            let only: Vec<ProbeName> = only.iter().map(|name| name.parse().unwrap()).collect();
            let plan = Plan::of_probes(&operands, &only, &[2], settings(), free(None));
            let plan = plan.map_err(|e| e.to_string())?;
            Ok(plan.probes.iter().map(|p| p.probe.id()).collect())
        };
        assert_eq!(ids(&["memory_read"]).unwrap(), ["memory_read/cpu/t2"]);
        let of_two = ["gemm/f32/cpu/t2", "gemm/f16/cpu/t2", "memory_copy/cpu/t2"];
        assert_eq!(ids(&["memory_copy", "gemm"]).unwrap(), of_two);
        assert_eq!(
            ids(&["gemm", "transfer_bidirectional"]).unwrap_err(),
            "--only transfer_bidirectional: there is no such probe on cpu"
        );
    }

    #[test]
    fn blocks_have_no_fused_kernels_on_another_device() {
        let device = DeviceSpec::Cuda { ordinal: 0 };
        let plan = |kernels, dtype| {
            let axes = Axes { kernels: vec![kernels], dtypes: vec![dtype], ..axes("tiny") };
            Plan::new(axes, Settings { device, ..settings() }, free(None))
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            plan(Kernels::Fused, Dtype::Q8_0).unwrap_err(),
            "--kernels fused: there are none for q8_0 on cuda:0; use stock"
        );
        assert!(plan(Kernels::Stock, Dtype::Q8_0).is_ok());
        let fused = plan(Kernels::Fused, Dtype::BF16).unwrap();
        assert_eq!(fused.cases[0].case.id(), "tiny/bf16/cuda:0/fused/t2/b1/pp512@d0");
    }

    #[test]
    fn steps_are_replayed_where_there_are_any() {
        let kernels = vec![Kernels::Fused, Kernels::Stock];
        let cuda_graphs = vec![CudaGraphs::On, CudaGraphs::Off];
        let ids = |device| -> Vec<String> {
            let axes =
                Axes { kernels: kernels.clone(), cuda_graphs: cuda_graphs.clone(), ..axes("tiny") };
            let plan = Plan::new(axes, Settings { device, ..settings() }, free(None)).unwrap();
            let ids = plan.cases.iter().map(|planned| planned.case.id());
            ids.map(|id| id.replacen("tiny/f32/", "", 1)).collect()
        };
        assert_eq!(
            ids(DeviceSpec::Cuda { ordinal: 0 }),
            [
                "cuda:0/fused/t2/b1/pp512@d0",
                "cuda:0/fused/graphs/t2/b1/tg128@d0",
                "cuda:0/fused/t2/b1/tg128@d0",
                "cuda:0/t2/b1/pp512@d0",
                "cuda:0/t2/b1/tg128@d0",
            ]
        );
        assert_eq!(ids(DeviceSpec::Cpu).len(), 4);
    }

    #[test]
    fn a_device_has_ceilings_of_its_own() {
        let cuda = Settings { device: DeviceSpec::Cuda { ordinal: 0 }, ..settings() };
        let resources = Resources {
            free_memory: Some(Bytes(70 << 30)),
            last_level_cache: Some(Bytes(50 << 20)),
            capability: Some((8, 0)),
            n_devices: 1,
            processor: None,
        };
        let axes = Axes { ceilings: true, ..axes("tiny") };
        let plan = Plan::new(axes, cuda, resources).unwrap();
        let ids: Vec<String> = plan.probes.iter().map(|p| p.probe.id()).collect();
        assert_eq!(ids[..2], ["gemm/f32/cuda:0/t2", "memory_read/cuda:0/t2"]);
        assert_eq!((ids.len(), plan.probes[0].sizes.gemm_size), (4, 8192));
        assert!(plan.probes.iter().all(|planned| planned.skip.is_none()));
        // Transfers are no ceilings of cases; and what a generation lacks is skipped.
        let operands = Operands::of_device(cuda.device);
        let plan = Plan::of_probes(&operands, &[], &[1], cuda, resources).unwrap();
        assert_eq!(plan.probes.len(), 6 + 3 + 4);
        let skipped: Vec<String> =
            plan.probes.iter().filter(|p| p.skip.is_some()).map(|p| p.probe.id()).collect();
        assert_eq!(skipped, ["gemm/fp8_e4m3/cuda:0/t1", "transfer_device_to_device/cuda:0/t1"]);
        assert!(plan.keeps_probes);
    }
}
