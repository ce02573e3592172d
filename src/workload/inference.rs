//! Prefill, decode and whole requests on a decoder.

use candle_core::{D, DType, Tensor};

use super::TokenStream;
use crate::case::{Case, Test};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::measure::Workload;
use crate::model::cost::FILL_CHUNK;
use crate::model::{Decoder, KvCache};

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
        let cache = decoder
            .cache(batch_size as usize, n_positions as usize)
            .map_err(Error::engine("allocating the KV cache"))?;
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
        self.cache.truncate(self.n_prefix);
        let batch = self.cache.batch_size() as u32;
        while self.n_prefix < n_depth {
            if interrupted() {
                return Ok(false);
            }
            let n = (n_depth - self.n_prefix).min(FILL_CHUNK as usize);
            let chunk = tokens.rows(batch, self.n_prefix as u32, n as u32);
            Tensor::from_vec(chunk, (batch as usize, n), device.engine())
                .and_then(|chunk| decoder.forward(&chunk, &mut self.cache))
                .map_err(Error::engine("filling the KV cache up to the depth"))?;
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
    n_depth: usize,
    /// `(batch, n_prompt)`; for decoding, the `(batch, 1)` tokens that the first step consumes.
    first: Tensor,
    /// What the next iteration consumes.
    next: Tensor,
    /// `(batch, vocabulary)` of the last iteration.
    logits: Option<Tensor>,
}

impl<'a> Inference<'a> {
    /// Prepares a case; untimed. `None` when interrupted before it was ready.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn new(
        case: &Case,
        seed: u64,
        decoder: &'a Decoder,
        session: &'a mut Session,
        device: &'a Device,
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
        Ok(Some(Self { decoder, session, device, test, n_depth, first, next, logits: None }))
    }

    /// `(batch, vocabulary)` of the last iteration, if there was one.
    pub fn logits(&self) -> Option<&Tensor> {
        self.logits.as_ref()
    }

    /// Checks what the last iteration computed.
    ///
    /// # Errors
    /// [`Error::OutputNotFinite`] if a logit is NaN or infinite.
    pub fn check_output(&self) -> Result<()> {
        let Some(logits) = &self.logits else { return Ok(()) };
        check_finite(&values_of(logits)?)
    }

    fn forward_and_pick(&mut self) -> candle_core::Result<()> {
        let logits = self.decoder.forward(&self.next, &mut self.session.cache)?;
        if !matches!(self.test, Test::Prefill { .. }) {
            self.next = logits.argmax(D::Minus1)?.unsqueeze(1)?; // (batch, 1)
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
    let logits = || {
        let mut cache = decoder.cache(1, prompt.len())?;
        let tokens = Tensor::new(prompt, device.engine())?.unsqueeze(0)?;
        decoder.forward(&tokens, &mut cache)
    };
    let values = values_of(&logits().map_err(Error::engine("running the model"))?)?;
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
        self.session.cache.truncate(self.n_depth);
        self.next = self.first.clone();
        Ok(())
    }

    fn iterate(&mut self) -> Result<()> {
        self.forward_and_pick().map_err(Error::engine("running the model"))?;
        self.device.synchronize()
    }
}
