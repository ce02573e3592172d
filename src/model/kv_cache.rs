//! Keys and values of the positions already computed.

use candle_core::{DType, Device, Result, Tensor};

use crate::model::DecoderConfig;

/// Memory for the keys and values of every layer, allocated once.
#[derive(Debug)]
pub struct StockCache {
    layers: Vec<LayerCache>,
    batch_size: usize,
    n_positions: usize,
    len: usize,
}

/// One layer's part: `(batch, n_kv_heads, n_positions, head_dim)` each.
#[derive(Debug)]
pub(super) struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl StockCache {
    /// An empty cache for `batch_size` sequences of up to `n_positions`.
    ///
    /// Its memory is touched here, so that no run pays for the page faults, and holds NaN, so
    /// that reading a position before it is written shows in the logits.
    pub fn new(
        config: &DecoderConfig,
        batch_size: usize,
        n_positions: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let shape = (batch_size, config.n_kv_heads, n_positions, config.head_dim);
        let unwritten = || {
            Tensor::full(f32::NAN, (), device)?.to_dtype(dtype)?.broadcast_as(shape)?.contiguous()
        };
        let layers = (0..config.n_layers)
            .map(|_| Ok(LayerCache { keys: unwritten()?, values: unwritten()? }))
            .collect::<Result<_>>()?;
        Ok(Self { layers, batch_size, n_positions, len: 0 })
    }

    /// Sequences.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Positions there is memory for, per sequence.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Positions that are filled, per sequence.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the positions from `len` on. Cheap: nothing is freed or erased.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Counts `n_tokens` more positions as filled, once every layer has written them.
    pub(super) fn advance(&mut self, n_tokens: usize) {
        self.len += n_tokens;
    }

    pub(super) fn layer(&self, layer_idx: usize) -> &LayerCache {
        &self.layers[layer_idx]
    }
}

impl LayerCache {
    /// Writes `keys` and `values` of shape `(batch, n_kv_heads, n_tokens, head_dim)` from
    /// position `start` on, and gives back all keys and values up to the end of them, as views
    /// `(batch, n_kv_heads, start + n_tokens, head_dim)`.
    pub(super) fn append(
        &self,
        start: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let end = start + keys.dims4()?.2;
        self.keys.slice_set(keys, 2, start)?;
        self.values.slice_set(values, 2, start)?;
        Ok((self.keys.narrow(2, 0, end)?, self.values.narrow(2, 0, end)?))
    }
}
