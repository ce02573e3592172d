//! What a build without CUDA has instead of a decoder for NVIDIA devices: none.

use std::sync::Arc;

use candle_core::Tensor;

use super::weights::Weights;
use crate::case::Dtype;
use crate::error::Result;
use crate::model::DecoderConfig;

/// A decoder, of which there is none.
#[derive(Debug)]
pub enum CudaDecoder {}

/// What a step gives, of which there is none.
#[derive(Debug)]
pub struct Step {
    /// Its logits.
    pub logits: Tensor,
    /// Its pick.
    pub pick: Tensor,
}

/// Its cache, of which there is none.
#[derive(Debug)]
pub enum CudaCache {}

impl CudaDecoder {
    /// Never there.
    ///
    /// # Errors
    /// None.
    pub fn new(_: &DecoderConfig, _: &Weights, _n_positions: usize) -> Result<Option<Self>> {
        Ok(None)
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        match *self {}
    }

    /// Positions this decoder is prepared for.
    pub fn n_positions(&self) -> usize {
        match *self {}
    }

    /// The format of weights.
    pub fn dtype(&self) -> Dtype {
        match *self {}
    }

    /// An empty cache.
    ///
    /// # Errors
    /// None.
    pub fn cache(&self, _batch_size: usize, _n_positions: usize) -> Result<CudaCache> {
        match *self {}
    }

    /// The logits of `tokens`.
    ///
    /// # Errors
    /// None.
    pub fn forward(&self, _tokens: &Tensor, _cache: &mut CudaCache) -> Result<Tensor> {
        match *self {}
    }

    /// Captures a step.
    ///
    /// # Errors
    /// None.
    pub fn capture_step(
        self: &Arc<Self>,
        _tokens: &Tensor,
        _n_tokens: usize,
        _cache: &mut CudaCache,
    ) -> Result<()> {
        match **self {}
    }

    /// A captured step.
    ///
    /// # Errors
    /// None.
    pub fn step(self: &Arc<Self>, _tokens: &Tensor, _cache: &mut CudaCache) -> Result<Step> {
        match **self {}
    }

    /// The greedy pick of logits.
    ///
    /// # Errors
    /// None.
    pub fn pick(&self, _logits: &Tensor) -> Result<Tensor> {
        match *self {}
    }
}

impl CudaCache {
    /// Sequences.
    pub fn batch_size(&self) -> usize {
        match *self {}
    }

    /// Positions that are filled, per sequence.
    pub fn len(&self) -> usize {
        match *self {}
    }

    /// Forgets positions.
    ///
    /// # Errors
    /// None.
    pub fn forget_from(&mut self, _len: usize) -> Result<()> {
        match *self {}
    }
}
