//! From axes to the list of cases, wholly validated before anything runs.

use std::collections::{HashMap, HashSet};

use crate::case::{Case, DeviceSpec, Dtype, Test};
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::measure::{Limits, Recorder};
use crate::model::{DecoderConfig, ModelSpec, cost};
use crate::units::Bytes;

/// The axes of a sweep. A count of 0 tokens leaves that test out.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Models.
    pub models: Vec<ModelSpec>,
    /// Number formats.
    pub dtypes: Vec<Dtype>,
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
}

impl Axes {
    /// The product of all axes, repeated values included; absent when it overflows.
    fn n_cases_at_most(&self) -> Option<usize> {
        let n_tests = self.n_prompts.len() + self.n_gens.len() + self.requests.len();
        [
            self.models.len(),
            self.dtypes.len(),
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
}

impl Settings {
    /// Limits of a round.
    pub fn round(&self) -> Limits {
        Limits { min_ns: self.min_time_ns, min_passes: 1, max_ns: u64::MAX, max_passes: u64::MAX }
    }

    /// Limits of a warm-up; absent when it is switched off.
    pub fn warm_up(&self) -> Option<Limits> {
        let min_passes = self.warm_up_passes;
        (min_passes > 0).then_some(Limits { min_passes, ..self.round() })
    }
}

/// A case of a plan, with the model it runs.
#[derive(Clone, Debug)]
pub struct PlannedCase {
    /// The case.
    pub case: Case,
    /// Index into [`Plan::models`].
    pub model_idx: usize,
}

/// What will run: every case fits its model and, together, the memory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The models, each label once.
    pub models: Vec<ModelSpec>,
    /// The cases, in the order of their axes.
    pub cases: Vec<PlannedCase>,
    /// How they are measured.
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
    /// Latency histograms of all cases.
    pub histograms: Bytes,
}

impl MemoryNeed {
    /// All of it.
    pub fn total(&self) -> Bytes {
        self.weights + self.kv_cache + self.activations + self.histograms
    }
}

impl Plan {
    /// Multiplies the axes out and checks every case. `memory_present` is what the device has
    /// free, if that is known.
    ///
    /// # Errors
    /// The first thing that could not run, naming the flag or the case.
    pub fn new(axes: Axes, settings: Settings, memory_present: Option<Bytes>) -> Result<Self> {
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
        let cache_positions = cache_positions(&cases);
        let (memory, largest) = memory_need(&models, &cases, &cache_positions);
        if let Some(present) = memory_present.filter(|present| memory.total() > *present) {
            return Err(Error::OutOfMemory {
                needed: memory.total(),
                weights: memory.weights,
                cache: memory.kv_cache,
                step: memory.activations,
                case: largest,
                present,
            });
        }
        Ok(Self { models, cases, settings, memory, cache_positions })
    }

    /// Positions of the one KV cache that serves `planned` and every case of the same model,
    /// dtype and batch size.
    pub fn cache_positions(&self, planned: &PlannedCase) -> u64 {
        self.cache_positions[&cache_key(planned)]
    }

    /// The pairs of model and dtype whose weights the plan needs, each once.
    pub fn weight_sets(&self) -> Vec<(usize, Dtype)> {
        weight_sets(&self.cases)
    }
}

/// Most cases of one plan.
pub const MAX_CASES: usize = 10_000;

/// More threads than any machine runs at once, and few enough that a system can start them.
pub const MAX_THREADS: u32 = 4096;

fn check_axes(axes: &Axes, settings: &Settings) -> Result<()> {
    let zero = |flag, problem: &str| {
        Err(Error::BadValue { flag, value: "0".into(), problem: problem.into() })
    };
    if axes.batch_sizes.contains(&0) {
        return zero("--batch-size", "a batch has at least 1 sequence");
    }
    if axes.n_threads.contains(&0) {
        return zero("--threads", "a run needs at least 1 thread");
    }
    if let Some(n) = axes.n_threads.iter().find(|n| **n > MAX_THREADS) {
        return Err(Error::BadValue {
            flag: "--threads",
            value: n.to_string(),
            problem: format!("at most {MAX_THREADS} threads can be asked for"),
        });
    }
    if settings.repetitions == 0 {
        return zero("--repetitions", "a case needs at least 1 round");
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
        for &dtype in &axes.dtypes {
            for &n_threads in &axes.n_threads {
                for &batch_size in &axes.batch_sizes {
                    for &n_depth in &axes.n_depths {
                        for &test in &tests {
                            let model = model.label.clone();
                            let case =
                                Case { model, dtype, device, n_threads, test, n_depth, batch_size };
                            if seen.insert(case.clone()) {
                                cases.push(PlannedCase { case, model_idx });
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

fn weight_sets(cases: &[PlannedCase]) -> Vec<(usize, Dtype)> {
    let mut sets = Vec::new();
    for planned in cases {
        let set = (planned.model_idx, planned.case.dtype);
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

/// What cases share a KV cache by: model, dtype and batch size.
type CacheKey = (usize, Dtype, u32);

fn cache_key(planned: &PlannedCase) -> CacheKey {
    (planned.model_idx, planned.case.dtype, planned.case.batch_size)
}

/// Positions of each KV cache: what the most demanding of its cases needs.
fn cache_positions(cases: &[PlannedCase]) -> HashMap<CacheKey, u64> {
    let mut positions = HashMap::new();
    for planned in cases {
        let most = positions.entry(cache_key(planned)).or_insert(0);
        *most = planned.case.n_positions().max(*most);
    }
    positions
}

/// What is needed at the peak, and the id of the case that decides it. Weights of all cases are
/// held together, because their rounds are interleaved; caches and activations come and go.
fn memory_need(
    models: &[ModelSpec],
    cases: &[PlannedCase],
    cache_positions: &HashMap<CacheKey, u64>,
) -> (MemoryNeed, String) {
    let weights = weight_sets(cases)
        .into_iter()
        .map(|(model_idx, dtype)| cost::weight_bytes(&models[model_idx].config, dtype))
        .sum();
    let n_series = cases.iter().map(|p| Recorder::new(p.case.test).series().len() as u64);
    let histograms = Bytes(n_series.sum::<u64>() * Histogram::TYPICAL_BYTES);
    let needs = cases.iter().map(|planned| {
        let PlannedCase { case, model_idx } = planned;
        let config = &models[*model_idx].config;
        let (dtype, batch) = (case.dtype, case.batch_size);
        let n_cached = cache_positions[&cache_key(planned)];
        let n_tokens = case.test.n_prompt().max(case.n_depth.min(cost::FILL_CHUNK)).max(1);
        let need = MemoryNeed {
            weights,
            kv_cache: cost::kv_cache_bytes(config, dtype, batch, n_cached),
            activations: cost::activation_bytes(config, dtype, batch, case.n_positions(), n_tokens),
            histograms,
        };
        (need, case)
    });
    needs
        .max_by_key(|(need, _)| need.total())
        .map(|(need, case)| (need, case.id()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            device: DeviceSpec::Cpu,
            seed: 0,
            repetitions: 5,
            warm_up_passes: 0,
            min_time_ns: 0,
            max_time_ns: None,
        }
    }

    fn axes(model: &str) -> Axes {
        Axes {
            models: vec![ModelSpec::resolve(model).unwrap()],
            dtypes: vec![Dtype::F32],
            n_threads: vec![2],
            n_prompts: vec![512],
            n_gens: vec![128],
            requests: vec![],
            n_depths: vec![0],
            batch_sizes: vec![1],
        }
    }

    fn ids(axes: Axes) -> Vec<String> {
        let plan = Plan::new(axes, settings(), None).unwrap();
        plan.cases.iter().map(|p| p.case.id()).collect()
    }

    fn refusal(axes: Axes, present: Option<Bytes>) -> String {
        Plan::new(axes, settings(), present).unwrap_err().to_string()
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
        let plan = Plan::new(Axes { models, ..axes("tiny") }, settings(), None).unwrap();
        let labels: Vec<_> = plan.models.iter().map(|m| m.label.as_str()).collect();
        assert_eq!(labels, ["tiny", "tiny-2"]);
        assert_eq!(plan.weight_sets(), [(0, Dtype::F32), (1, Dtype::F32)]);
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
        let plan = Plan::new(two.clone(), settings(), None).unwrap();
        assert_eq!(plan.memory.weights, Bytes(125_248 * 6));
        // The prefill's 512 positions in f32: 2 layers × (K and V) × 32 × 4 B each.
        assert_eq!(plan.memory.kv_cache, Bytes(512 * 2 * 2 * 32 * 4));
        assert!(Plan::new(two.clone(), settings(), Some(plan.memory.total())).is_ok());
        let message = refusal(two, Some(Bytes(plan.memory.total().0 - 1)));
        assert!(message.contains("tiny/f32/cpu/t2/b1/pp512@d0"), "{message}");
        let absurd = Axes { batch_sizes: vec![u32::MAX], ..axes("llama-3.1-8b") };
        assert!(refusal(absurd, Some(Bytes(1 << 40))).contains("lower -b"));
    }
}
