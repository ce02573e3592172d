//! A case on its way into a file of ours.

use std::collections::BTreeMap;

use crate::case::{Case, CudaGraphs, DeviceSpec, Dtype, Kernels, Test};
use crate::import::{Problem, Read};
use crate::model::{ModelSpec, cost};
use crate::result::imported::{
    ImportedAxesFile, ImportedCaseFile, ImportedLatencyFile, ImportedRoundFile, ImportedWorkFile,
    MAX_NS, imported_throughput, without_depth,
};

/// What a tool told of a case.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Where it stands in the file.
    pub at: String,
    pub axes: ImportedAxesFile,
    pub measured: Option<String>,
    pub machine: Option<String>,
    /// Tokens of a pass, and the definition of the rate that they give.
    pub tokens: Option<(u64, &'static str)>,
    /// Weights of the model, as told.
    pub n_params: Option<u64>,
    pub rounds: Vec<ImportedRoundFile>,
    pub stated_stddev_per_s: Option<f64>,
    pub latencies: Vec<ImportedLatencyFile>,
    pub remarks: Vec<String>,
    /// What of it went wrong.
    pub failure: Option<String>,
    /// What was run, where `axes` have less of it.
    pub command_sha256: Option<String>,
}

impl Draft {
    /// The case, with its work counted if `model` declares a shape, and without an id: what tells it
    /// from others is known when all are there.
    ///
    /// # Errors
    /// What does not fit.
    pub fn finish(
        self,
        source_idx: u32,
        model: Option<&ModelSpec>,
    ) -> Result<ImportedCaseFile, String> {
        let (tokens, definition) = self.tokens.unzip();
        let throughput = tokens.and_then(|tokens| {
            let definition = definition.unwrap_or_default();
            imported_throughput(definition, tokens, &self.rounds, self.stated_stddev_per_s)
        });
        let mut work = ImportedWorkFile { tokens, ..ImportedWorkFile::default() };
        if let Some(model) = model {
            count_work(&mut work, &self.axes, self.n_params, model)?;
        }
        Ok(ImportedCaseFile {
            id: String::new(),
            source_idx,
            axes: self.axes,
            work,
            measured: self.measured,
            machine: self.machine,
            rounds: self.rounds,
            throughput,
            latencies: self.latencies,
            remarks: self.remarks,
            failure: self.failure,
            command_sha256: self.command_sha256,
        })
    }
}

/// The axes in one word, as ids of our own cases have them; what is not told is `?`. Of other settings
/// those that tell cases of a file apart.
pub(super) fn id(axes: &ImportedAxesFile, settings: &str) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".into());
    let number =
        |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let mut words = Vec::new();
    if axes.model.is_some() || axes.dtype.is_some() || axes.device.is_some() {
        words.extend([text(&axes.model), text(&axes.dtype), text(&axes.device)]);
    }
    words.extend(axes.kernels.clone());
    if axes.n_threads.is_some() || axes.batch_size.is_some() {
        words.push(format!("t{}", number(axes.n_threads)));
        words.push(format!("b{}", number(axes.batch_size)));
    }
    words.push(match axes.n_depth {
        Some(depth) => format!("{}@d{depth}", without_depth(&axes.test)),
        None => axes.test.clone(),
    });
    words.extend(settings.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
    words.join("/")
}

/// Counts operations and bytes from a declared shape, if the case is one that we could run.
fn count_work(
    work: &mut ImportedWorkFile,
    axes: &ImportedAxesFile,
    n_params: Option<u64>,
    model: &ModelSpec,
) -> Result<(), String> {
    let of_shape = cost::n_params(&model.config);
    if let Some(told) = n_params.filter(|told| *told != of_shape) {
        return Err(format!(
            "--model {} has {of_shape} weights, but the model that was run has {told}: name its \
             own config.json, or leave --model out",
            model.label
        ));
    }
    let test = match (axes.n_prompt, axes.n_gen) {
        (Some(n_prompt), Some(0)) if n_prompt > 0 => Test::Prefill { n_prompt },
        (Some(0), Some(n_gen)) if n_gen > 0 => Test::Decode { n_gen },
        (Some(n_prompt), Some(n_gen)) if n_prompt > 0 && n_gen > 0 => {
            Test::Generate { n_prompt, n_gen }
        }
        _ => return Ok(()),
    };
    let dtype: Option<Dtype> = axes.dtype.as_deref().and_then(|dtype| dtype.parse().ok());
    let case = Case {
        model: model.label.clone(),
        // Operations do not depend on the format; bytes do, and are left out where it is not ours.
        dtype: dtype.unwrap_or(Dtype::F32),
        device: DeviceSpec::Cpu,
        kernels: Kernels::Stock,
        cuda_graphs: CudaGraphs::Off,
        n_threads: axes.n_threads.unwrap_or(1),
        test,
        n_depth: axes.n_depth.unwrap_or(0),
        batch_size: axes.batch_size.unwrap_or(1),
    };
    if case.n_positions() > model.config.n_positions() as u64 {
        return Err(format!(
            "--model {} has {} positions, but the case needs {}",
            model.label,
            model.config.n_positions(),
            case.n_positions()
        ));
    }
    let counted = cost::of_case(&model.config, &case);
    work.flops = Some(counted.flops);
    work.bytes_min = dtype.map(|_| counted.bytes_min);
    work.declared_model = Some(model.label.clone());
    Ok(())
}

/// A time in seconds as nanoseconds.
pub(super) fn ns_of_s(at: &str, seconds: f64) -> Read<u64> {
    ns(at, seconds * 1e9)
}

/// A time in nanoseconds.
pub(super) fn ns(at: &str, ns: f64) -> Read<u64> {
    let possible = ns.is_finite() && (0.5..MAX_NS).contains(&ns);
    match possible {
        true => Ok(ns.round() as u64),
        false => Err(Problem::new(at, "this is no time that something took: it must be above 0")),
    }
}

/// A figure in milliseconds as nanoseconds, if it is one.
pub(super) fn figure(at: &str, value: Option<f64>, factor: f64) -> Read<Option<f64>> {
    let Some(value) = value else { return Ok(None) };
    let ns = value * factor;
    match ns.is_finite() && (0.0..MAX_NS).contains(&ns) {
        true => Ok(Some(ns)),
        false => Err(Problem::new(at, format!("{value} is no time that something took"))),
    }
}

/// Settings under the tool's own names.
pub(super) fn other<const N: usize>(
    settings: [(&str, Option<String>); N],
) -> BTreeMap<String, String> {
    let told = settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    told.collect()
}
