//! A decoder by one code or the other, behind the same calls.

use std::sync::Arc;

use candle_core::{D, Device, Tensor};

use super::decoder::StockDecoder;
use super::fused::{FusedCache, FusedDecoder};
use super::fused_cuda::{CudaCache, CudaDecoder, Step};
use super::kv_cache::StockCache;
use super::weights::Weights;
use crate::case::{Dtype, Kernels};
use crate::error::{Error, Result};
use crate::model::DecoderConfig;

const RUNNING: &str = "running the model";
const NO_GRAPHS: &str = "graphs are those of our own kernels on NVIDIA devices";

/// A decoder with its weights, in the order that its code needs them in.
#[derive(Debug)]
pub enum Decoder {
    /// Our own kernels for the processor.
    Fused(Box<FusedDecoder>),
    /// Our own kernels for NVIDIA devices.
    Cuda(Arc<CudaDecoder>),
    /// The engine's operations.
    Stock(Box<StockDecoder>),
}

/// Keys and values of the positions already computed.
#[derive(Debug)]
pub enum KvCache {
    /// As our own kernels for the processor keep them.
    Fused(FusedCache),
    /// As those for NVIDIA devices do.
    Cuda(Box<CudaCache>),
    /// As the engine does.
    Stock(StockCache),
}

impl Decoder {
    /// Loads or draws every weight, and prepares positions `0..n_positions`.
    ///
    /// # Errors
    /// What is wrong with a tensor.
    pub fn new(
        kernels: Kernels,
        config: &DecoderConfig,
        weights: &Weights,
        n_positions: usize,
    ) -> Result<Self> {
        match kernels {
            Kernels::Fused => match CudaDecoder::new(config, weights, n_positions)? {
                Some(decoder) => Ok(Self::Cuda(Arc::new(decoder))),
                None => FusedDecoder::new(config, weights, n_positions)
                    .map(|decoder| Self::Fused(Box::new(decoder))),
            },
            Kernels::Stock => StockDecoder::new(config, weights, n_positions)
                .map(|decoder| Self::Stock(Box::new(decoder))),
        }
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        match self {
            Self::Fused(decoder) => decoder.config(),
            Self::Cuda(decoder) => decoder.config(),
            Self::Stock(decoder) => decoder.config(),
        }
    }

    /// Positions this decoder is prepared for.
    pub fn n_positions(&self) -> usize {
        match self {
            Self::Fused(decoder) => decoder.n_positions(),
            Self::Cuda(decoder) => decoder.n_positions(),
            Self::Stock(decoder) => decoder.n_positions(),
        }
    }

    /// An empty cache for this decoder.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for it.
    pub fn cache(&self, batch_size: usize, n_positions: usize) -> Result<KvCache> {
        match self {
            Self::Fused(decoder) => decoder.cache(batch_size, n_positions).map(KvCache::Fused),
            Self::Cuda(decoder) => {
                decoder.cache(batch_size, n_positions).map(|cache| KvCache::Cuda(Box::new(cache)))
            }
            Self::Stock(decoder) => decoder
                .cache(batch_size, n_positions)
                .map(KvCache::Stock)
                .map_err(Error::engine("allocating the KV cache")),
        }
    }

    /// Computes `tokens (B, S)` on top of what `cache` holds, adds them to it, and gives the
    /// logits `(B, V)` of the last token of each sequence.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If the cache is not one of this decoder.
    pub fn forward(&self, tokens: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        match (self, cache) {
            (Self::Fused(decoder), KvCache::Fused(cache)) => {
                let tokens = tokens
                    .flatten_all()
                    .and_then(|tokens| tokens.to_vec1())
                    .map_err(Error::engine(RUNNING))?;
                let logits = decoder.forward(&tokens, cache);
                let shape = (cache.batch_size(), decoder.config().vocab_size);
                Tensor::from_vec(logits, shape, &Device::Cpu).map_err(Error::engine(RUNNING))
            }
            (Self::Cuda(decoder), KvCache::Cuda(cache)) => decoder.forward(tokens, cache),
            (Self::Stock(decoder), KvCache::Stock(cache)) => {
                decoder.forward(tokens, cache).map_err(Error::engine(RUNNING))
            }
            _ => panic!("the cache belongs to a decoder of another kind"),
        }
    }

    /// The greedy pick `(B, 1)` of each row of `logits (B, V)`.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn pick(&self, logits: &Tensor) -> Result<Tensor> {
        let picks = match self {
            Self::Fused(decoder) => {
                let (storage, layout) = logits.storage_and_layout();
                let (begin, end) = (layout.start_offset(), layout.shape().elem_count());
                match &*storage {
                    candle_core::Storage::Cpu(values) => values
                        .as_slice()
                        .map(|values| decoder.greatest(&values[begin..begin + end])),
                    _ => panic!("our own kernels compute in this machine's memory"),
                }
                .and_then(|picks| Tensor::from_vec(picks, (logits.dims()[0], 1), &Device::Cpu))
            }
            Self::Cuda(decoder) => return decoder.pick(logits),
            Self::Stock(_) => logits.argmax(D::Minus1).and_then(|picks| picks.unsqueeze(1)),
        };
        picks.map_err(Error::engine(RUNNING))
    }

    /// Makes ready for [`Self::step`] on top of what `cache` holds, between passes of up to
    /// `n_tokens` tokens: captures a decode step as a CUDA graph, if none was captured for the cache
    /// yet. `tokens (B, 1)` are any.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If it is not our own kernels on an NVIDIA device, or the cache is not one of this decoder.
    pub fn capture_step(
        &self,
        tokens: &Tensor,
        n_tokens: usize,
        cache: &mut KvCache,
    ) -> Result<()> {
        match (self, cache) {
            (Self::Cuda(decoder), KvCache::Cuda(cache)) => {
                decoder.capture_step(tokens, n_tokens, cache)
            }
            _ => panic!("{NO_GRAPHS}"),
        }
    }

    /// A decode step by the graph that was captured: the logits after `tokens (B, 1)`, and what
    /// follows them.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If none was captured.
    pub fn step(&self, tokens: &Tensor, cache: &mut KvCache) -> Result<Step> {
        match (self, cache) {
            (Self::Cuda(decoder), KvCache::Cuda(cache)) => decoder.step(tokens, cache),
            _ => panic!("{NO_GRAPHS}"),
        }
    }

    /// The instruction set that our own kernels use on a processor, or the word for those of
    /// NVIDIA devices.
    pub fn kernel(&self) -> Option<&'static str> {
        match self {
            Self::Fused(decoder) => Some(decoder.instructions().name()),
            Self::Cuda(_) => Some("cuda"),
            Self::Stock(_) => None,
        }
    }

    /// The format of its weights.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Fused(decoder) => decoder.dtype(),
            Self::Cuda(decoder) => decoder.dtype(),
            Self::Stock(decoder) => decoder.dtype(),
        }
    }
}

impl KvCache {
    /// Sequences.
    pub fn batch_size(&self) -> usize {
        match self {
            Self::Fused(cache) => cache.batch_size(),
            Self::Cuda(cache) => cache.batch_size(),
            Self::Stock(cache) => cache.batch_size(),
        }
    }

    /// Positions that are filled, per sequence.
    pub fn len(&self) -> usize {
        match self {
            Self::Fused(cache) => cache.len(),
            Self::Cuda(cache) => cache.len(),
            Self::Stock(cache) => cache.len(),
        }
    }

    /// Whether no position is filled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the positions from `len` on: what was ever written there is spoiled, so that
    /// whoever reads it, or does not write it anew, is found out.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn forget_from(&mut self, len: usize) -> Result<()> {
        match self {
            Self::Fused(cache) => {
                cache.forget_from(len);
                Ok(())
            }
            Self::Cuda(cache) => cache.forget_from(len),
            Self::Stock(cache) => {
                cache.forget_from(len).map_err(Error::engine("emptying the KV cache"))
            }
        }
    }

    /// From now on, what is appended is not written.
    #[cfg(test)]
    pub(crate) fn ignore_writes(&mut self) {
        match self {
            Self::Fused(cache) => cache.ignore_writes(),
            Self::Cuda(_) => panic!("the test of this is one of the processor's decoders"),
            Self::Stock(cache) => cache.ignore_writes(),
        }
    }
}
