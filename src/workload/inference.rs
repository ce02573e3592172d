//! Prefill, decode and whole requests on a decoder.

use candle_core::{DType, Tensor};

use super::TokenStream;
use crate::case::{Case, CudaGraphs, Dtype, Test};
use crate::device::{Device, Events};
use crate::error::{Error, Result};
use crate::measure::{Check, Reference, Workload};
use crate::model::cost::FILL_CHUNK;
use crate::model::{Decoder, KvCache};
use crate::units::Bytes;

/// A KV cache that cases of one model and batch size take turns with.
#[derive(Debug)]
pub struct Session {
    cache: KvCache,
    /// Positions from 0 on that hold the token stream's own keys and values.
    n_prefix: usize,
}

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for the cache.
    pub fn new(decoder: &Decoder, batch_size: u32, n_positions: u64) -> Result<Self> {
        let cache = decoder.cache(batch_size as usize, n_positions as usize)?;
        Ok(Self { cache, n_prefix: 0 })
    }

    /// Makes the first `n_depth` positions hold the token stream, computing what is missing.
    /// `false` when interrupted before that was done.
    fn fill(
        &mut self,
        decoder: &Decoder,
        device: &Device,
        tokens: TokenStream,
        n_depth: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<bool> {
        self.n_prefix = self.n_prefix.min(n_depth);
        self.cache.forget_from(self.n_prefix)?;
        let batch = self.cache.batch_size() as u32;
        while self.n_prefix < n_depth {
            if interrupted() {
                return Ok(false);
            }
            let n = (n_depth - self.n_prefix).min(FILL_CHUNK as usize);
            let chunk = tokens.rows(batch, self.n_prefix as u32, n as u32);
            let chunk = Tensor::from_vec(chunk, (batch as usize, n), device.engine())
                .map_err(Error::engine("filling the KV cache up to the depth"))?;
            decoder.forward(&chunk, &mut self.cache)?;
            self.n_prefix += n;
        }
        device.synchronize()?;
        Ok(true)
    }
}

/// A case ready to run: weights loaded, cache filled up to the depth, prompt on the device.
#[derive(Debug)]
pub struct Inference<'a> {
    decoder: &'a Decoder,
    session: &'a mut Session,
    device: &'a Device,
    test: Test,
    cuda_graphs: CudaGraphs,
    n_depth: usize,
    /// `(batch, n_prompt)`; for decoding, the `(batch, 1)` tokens that the first step consumes.
    first: Tensor,
    /// What the next iteration consumes.
    next: Tensor,
    /// The device's own clock, and iterations of this pass that were marked on it.
    events: Option<Events>,
    n_marked: usize,
    /// The greedy picks of this pass, `(batch, 1)` each.
    picks: Vec<Tensor>,
    /// What the passes are held against, once it has been computed.
    expected: Option<Expected>,
    /// `(batch, vocabulary)` of the last iteration.
    logits: Option<Tensor>,
}

/// The logits that must follow some tokens.
#[derive(Debug)]
pub struct Expected {
    /// What was generated and consumed again, one row per sequence after another.
    consumed: Vec<u32>,
    logits: Vec<f32>,
}

impl Expected {
    /// Memory that it takes.
    pub fn size(&self) -> Bytes {
        Bytes((self.logits.len() + self.consumed.len()) as u64 * 4)
    }
}

impl<'a> Inference<'a> {
    /// Prepares a case; untimed. `expected` is what an earlier round of it was held against, if it
    /// was kept. `None` when interrupted before it was ready.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn new(
        case: &Case,
        seed: u64,
        decoder: &'a Decoder,
        session: &'a mut Session,
        device: &'a Device,
        expected: Option<Expected>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let tokens = TokenStream::new(seed, decoder.config().vocab_size);
        let n_depth = case.n_depth as usize;
        if !session.fill(decoder, device, tokens, n_depth, interrupted)? {
            return Ok(None);
        }
        let n_first = case.test.n_prompt().max(1);
        let rows = tokens.rows(case.batch_size, case.n_depth, n_first);
        let shape = (case.batch_size as usize, n_first as usize);
        let first = Tensor::from_vec(rows, shape, device.engine())
            .map_err(Error::engine("uploading the prompt"))?;
        let next = first.clone();
        let test = case.test;
        let events = device.events(test.forward_passes() as usize)?;
        Ok(Some(Self {
            decoder,
            session,
            device,
            test,
            cuda_graphs: case.cuda_graphs,
            n_depth,
            first,
            next,
            events,
            n_marked: 0,
            picks: Vec::new(),
            expected,
            logits: None,
        }))
    }

    /// `(batch, vocabulary)` of the last iteration, if there was one.
    pub fn logits(&self) -> Option<&Tensor> {
        self.logits.as_ref()
    }

    /// What the passes were held against, for the next round.
    pub fn into_expected(self) -> Option<Expected> {
        self.expected
    }

    /// The logits after the prompt and `consumed` tokens, by another way than the timed one: a
    /// prompt in chunks that attend to the cached ones before them; generated tokens all at once
    /// instead of one by one.
    fn reference(&mut self, consumed: &[u32]) -> Result<Vec<f32>> {
        const REFERENCE: &str = "computing the reference of a pass";
        let tokens = self.with_consumed(consumed).map_err(Error::engine(REFERENCE))?;
        let n_tokens = tokens.dims()[1];
        // Never in the steps of the timed way, which are the whole prompt and single tokens.
        let n_chunk = n_tokens.div_ceil(2);
        let cache = &mut self.session.cache;
        cache.forget_from(self.n_depth)?;
        let mut logits = None;
        let mut start = 0;
        while start < n_tokens {
            let n = n_chunk.min(FILL_CHUNK as usize).min(n_tokens - start);
            let chunk = tokens
                .narrow(1, start, n)
                .and_then(|chunk| chunk.contiguous())
                .map_err(Error::engine(REFERENCE))?;
            logits = Some(self.decoder.forward(&chunk, cache)?);
            start += n;
        }
        logits.as_ref().map_or(Ok(Vec::new()), values_of)
    }

    /// The first tokens and those consumed after them, `(batch, first + consumed)`.
    fn with_consumed(&self, consumed: &[u32]) -> candle_core::Result<Tensor> {
        let batch = self.first.dim(0)?;
        match consumed.len() / batch {
            0 => Ok(self.first.clone()),
            n => {
                let consumed = Tensor::from_slice(consumed, (batch, n), self.device.engine())?;
                Tensor::cat(&[&self.first, &consumed], 1)
            }
        }
    }

    /// The picks of this pass, and those of them that it consumed again, one row per sequence
    /// after another.
    fn picked(&self) -> candle_core::Result<(Vec<u32>, Vec<u32>)> {
        let Some((last, consumed)) = self.picks.split_last() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let consumed = match consumed {
            [] => Vec::new(),
            consumed => Tensor::cat(consumed, 1)?.flatten_all()?.to_vec1()?,
        };
        Ok((last.flatten_all()?.to_vec1()?, consumed))
    }

    /// Captures a decode step if there is none for this cache, which a longer pass than ever before
    /// takes away.
    fn capture_step(&mut self) -> Result<()> {
        let token = self.first.narrow(1, 0, 1).and_then(|token| token.contiguous());
        let token = token.map_err(Error::engine("preparing a decode step"))?;
        let n_tokens = self.first.dims()[1];
        self.decoder.capture_step(&token, n_tokens, &mut self.session.cache)
    }

    fn forward_and_pick(&mut self) -> Result<()> {
        let is_prompt = self.test.n_prompt() > 0 && self.picks.is_empty();
        if self.cuda_graphs == CudaGraphs::On && !is_prompt {
            let step = self.decoder.step(&self.next, &mut self.session.cache)?;
            self.next = step.pick;
            self.picks.push(self.next.clone());
            self.logits = Some(step.logits);
            return Ok(());
        }
        let logits = self.decoder.forward(&self.next, &mut self.session.cache)?;
        if !matches!(self.test, Test::Prefill { .. }) {
            self.next = self.decoder.pick(&logits)?; // (batch, 1)
            self.picks.push(self.next.clone());
        }
        self.logits = Some(logits);
        Ok(())
    }
}

/// The logits after `prompt`'s last token, one per token id.
///
/// # Errors
/// [`Error::OutputNotFinite`], or the engine's.
pub fn last_logits(decoder: &Decoder, device: &Device, prompt: &[u32]) -> Result<Vec<f32>> {
    let mut cache = decoder.cache(1, prompt.len())?;
    let tokens = Tensor::new(prompt, device.engine())
        .and_then(|tokens| tokens.unsqueeze(0))
        .map_err(Error::engine("uploading the prompt"))?;
    let values = values_of(&decoder.forward(&tokens, &mut cache)?)?;
    check_finite(&values)?;
    Ok(values)
}

fn values_of(logits: &Tensor) -> Result<Vec<f32>> {
    logits
        .to_dtype(DType::F32)
        .and_then(|logits| logits.flatten_all()?.to_vec1())
        .map_err(Error::engine("reading the logits"))
}

fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().filter(|v| !v.is_finite()).count() {
        0 => Ok(()),
        count => Err(Error::OutputNotFinite { count, of: values.len() }),
    }
}

impl Workload for Inference<'_> {
    fn iterations_per_pass(&self) -> usize {
        match self.test {
            Test::Prefill { .. } => 1,
            Test::Decode { n_gen } | Test::Generate { n_gen, .. } => n_gen as usize,
        }
    }

    fn reset(&mut self) -> Result<()> {
        // Keys and values of the pass before are what this one must write anew.
        self.session.cache.forget_from(self.n_depth)?;
        if self.cuda_graphs == CudaGraphs::On {
            self.capture_step()?;
        }
        self.next = self.first.clone();
        self.picks.clear();
        self.logits = None;
        self.n_marked = 0;
        // None of that is left for the device to do when the clock starts.
        self.device.synchronize()
    }

    fn iterate(&mut self) -> Result<()> {
        let idx = self.n_marked;
        self.events.as_ref().map_or(Ok(()), |events| events.begin(idx))?;
        self.forward_and_pick()?;
        self.events.as_ref().map_or(Ok(()), |events| events.end(idx))?;
        self.n_marked += 1;
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.device.synchronize()
    }

    fn has_device_clock(&self) -> bool {
        self.events.is_some()
    }

    fn device_iteration_ns(&mut self) -> Result<Option<Vec<u64>>> {
        self.events.as_ref().map(Events::interval_ns).transpose()
    }

    fn check(&mut self) -> Result<Check> {
        const READING: &str = "reading the output of a pass";
        let logits = self.logits.as_ref().map_or(Ok(Vec::new()), values_of)?;
        check_finite(&logits)?;
        let (last_picks, consumed) = self.picked().map_err(Error::engine(READING))?;
        // The same tokens as in the pass before, unless two logits are all but equal.
        if self.expected.as_ref().is_none_or(|expected| expected.consumed != consumed) {
            let logits = self.reference(&consumed)?;
            check_finite(&logits)?;
            self.expected = Some(Expected { consumed, logits });
        }
        let expected = self.expected.as_ref().map_or(&[][..], |expected| &expected.logits);
        Ok(Check {
            reference: match self.test {
                // A single token can be computed in one way only.
                Test::Prefill { n_prompt: 1 } | Test::Decode { n_gen: 1 } => Reference::Repeated,
                // The second of two single tokens is computed alone either way.
                Test::Decode { n_gen: 2 } | Test::Generate { n_prompt: 1, n_gen: 1 | 2 } => {
                    Reference::Repeated
                }
                Test::Prefill { .. } => Reference::ChunkedPrefill,
                Test::Decode { .. } | Test::Generate { .. } => Reference::TeacherForced,
            },
            values: logits.len() as u64,
            error: error(&logits, expected, &last_picks),
            tolerance: tolerance(self.decoder.dtype()),
        })
    }
}

/// The largest difference of logits, or the largest lead over a pick that should be the greatest,
/// as a share of the largest expected logit. Infinite where there is nothing to compare.
fn error(logits: &[f32], expected: &[f32], picks: &[u32]) -> f64 {
    if logits.is_empty() || logits.len() != expected.len() {
        return f64::INFINITY;
    }
    let scale = expected.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let apart = logits.iter().zip(expected).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    let rows = logits.chunks_exact(logits.len() / picks.len().max(1));
    let lead = rows.zip(picks).fold(0.0_f32, |lead, (row, &pick)| {
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        lead.max(row.get(pick as usize).map_or(f32::INFINITY, |picked| greatest - picked))
    });
    f64::from(apart.max(lead)) / f64::from(scale)
}

/// What rounding explains between two ways of computing the same logits, as a share of the largest.
fn tolerance(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F32 => 1e-3,
        Dtype::F16 => 2e-2,
        // Activations rounded to bytes have as few digits as those in bf16.
        Dtype::BF16 | Dtype::Q8_0 | Dtype::Q4K => 1e-1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{DeviceSpec, Kernels};
    use crate::model::ModelSpec;
    use crate::model::weights::Weights;

    crate::device::on_every_device!(passes_stand_their_check_by_every_code_and_way_to_launch);

    /// Decoders of `tiny` with either code, on the same weights.
    fn decoders(device: &Device) -> [(Kernels, Decoder); 2] {
        let spec = ModelSpec::resolve("tiny").unwrap();
        let weights = Weights::open(&spec, 0, Dtype::F32, device.engine()).unwrap();
        [Kernels::Fused, Kernels::Stock]
            .map(|kernels| (kernels, Decoder::new(kernels, &spec.config, &weights, 32).unwrap()))
    }

    fn case(device: DeviceSpec, kernels: Kernels, cuda_graphs: CudaGraphs, test: Test) -> Case {
        Case {
            model: "tiny".into(),
            dtype: Dtype::F32,
            device,
            kernels,
            cuda_graphs,
            n_threads: 1,
            test,
            n_depth: 3,
            batch_size: 2,
        }
    }

    const TESTS: [Test; 3] = [
        Test::Prefill { n_prompt: 8 },
        Test::Decode { n_gen: 6 },
        Test::Generate { n_prompt: 5, n_gen: 4 },
    ];

    fn pass(workload: &mut Inference) -> Result<Check> {
        workload.reset()?;
        for _ in 0..workload.iterations_per_pass() {
            workload.iterate()?;
            workload.wait()?;
        }
        workload.check().and_then(Check::passed)
    }

    /// One session after another, as a run has them: a graph that was captured must stand a longer
    /// pass in between, and passes launched kernel by kernel.
    fn passes_stand_their_check_by_every_code_and_way_to_launch(device: &Device, spec: DeviceSpec) {
        for (kernels, decoder) in &decoders(device) {
            let mut session = Session::new(decoder, 2, 32).unwrap();
            let of_all = [CudaGraphs::On, CudaGraphs::Off, CudaGraphs::On].into_iter();
            for (graphs, test) in of_all.flat_map(|graphs| TESTS.map(|test| (graphs, test))) {
                let mut case = case(spec, *kernels, graphs, test);
                if !case.can_replay() {
                    case.cuda_graphs = CudaGraphs::Off;
                }
                let workload =
                    Inference::new(&case, 0, decoder, &mut session, device, None, &|| false);
                let mut workload = workload.unwrap().unwrap();
                for _ in 0..3 {
                    pass(&mut workload).unwrap_or_else(|e| panic!("{}: {e}", case.id()));
                    let device_ns = workload.device_iteration_ns().unwrap();
                    assert_eq!(device_ns.is_some(), spec != DeviceSpec::Cpu);
                    let n_iterations = workload.iterations_per_pass();
                    let all_took_time = device_ns
                        .is_none_or(|ns| ns.len() == n_iterations && ns.iter().all(|ns| *ns > 0));
                    assert!(all_took_time, "{}", case.id());
                }
            }
        }
    }

    /// A pass after which the cache holds the right keys and values must not make a later one look
    /// right that writes none.
    #[test]
    fn a_pass_that_writes_no_keys_and_values_is_found_out() {
        let device = Device::open(DeviceSpec::Cpu).unwrap();
        for (kernels, decoder) in &decoders(&device) {
            for test in TESTS {
                let case = case(DeviceSpec::Cpu, *kernels, CudaGraphs::Off, test);
                let mut session = Session::new(decoder, 2, 32).unwrap();
                let workload =
                    Inference::new(&case, 0, decoder, &mut session, &device, None, &|| false);
                let mut workload = workload.unwrap().unwrap();
                for _ in 0..2 {
                    pass(&mut workload).unwrap();
                }
                workload.session.cache.ignore_writes();
                assert!(pass(&mut workload).is_err(), "{kernels} {test:?}");
            }
        }
    }

    #[test]
    fn errors_are_shares_of_the_largest_logit() {
        let expected = [1.0, -4.0, 2.0, 0.5];
        assert_eq!(error(&expected, &expected, &[]), 0.0);
        assert_eq!(error(&[1.0, -4.0, 2.0, 1.5], &expected, &[]), 0.25);
        // Two sequences of two logits; the second pick is not the greatest by 1.5.
        assert_eq!(error(&expected, &expected, &[0, 0]), 0.0);
        assert_eq!(error(&expected, &expected, &[0, 1]), 1.5 / 4.0);
        assert_eq!(error(&expected, &expected, &[0, 9]), f64::INFINITY);
        assert_eq!(error(&[], &[], &[]), f64::INFINITY);
        assert_eq!(error(&expected, &expected[..2], &[]), f64::INFINITY);
        assert!(error(&[0.0], &[0.0], &[]).is_nan());
    }
}
