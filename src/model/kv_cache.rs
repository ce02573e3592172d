//! Keys and values of the positions already computed.

use candle_core::{DType, Device, Result, Tensor};

/// Positions that are spoiled at a time.
const SPOILED_AT_ONCE: usize = 128;

use crate::model::DecoderConfig;

/// Memory for the keys and values of every layer, allocated once.
#[derive(Debug)]
pub struct StockCache {
    layers: Vec<LayerCache>,
    batch_size: usize,
    n_positions: usize,
    len: usize,
    /// Positions from 0 on that may hold something.
    n_written: usize,
}

/// One layer's part: `(batch, n_kv_heads, n_positions, head_dim)` each.
#[derive(Debug)]
pub(super) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    #[cfg(test)]
    ignores_writes: std::sync::atomic::AtomicBool,
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
            .map(|_| {
                Ok(LayerCache {
                    keys: unwritten()?,
                    values: unwritten()?,
                    #[cfg(test)]
                    ignores_writes: false.into(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers, batch_size, n_positions, len: 0, n_written: 0 })
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

    /// Forgets the positions from `len` on: what was ever written there is NaN again, so that
    /// whoever reads it, or does not write it anew, is found out.
    ///
    /// # Errors
    /// The engine's.
    pub fn forget_from(&mut self, len: usize) -> Result<()> {
        self.len = self.len.min(len);
        let mut start = self.len;
        while start < self.n_written {
            let n = SPOILED_AT_ONCE.min(self.n_written - start);
            for layer in &self.layers {
                let (batch, n_kv_heads, _, head_dim) = layer.keys.dims4()?;
                let nan = Tensor::full(f32::NAN, (), layer.keys.device())?
                    .to_dtype(layer.keys.dtype())?
                    .broadcast_as((batch, n_kv_heads, n, head_dim))?
                    .contiguous()?;
                layer.keys.slice_set(&nan, 2, start)?;
                layer.values.slice_set(&nan, 2, start)?;
            }
            start += n;
        }
        self.n_written = self.n_written.min(self.len);
        Ok(())
    }

    /// From now on, what is appended is not written.
    #[cfg(test)]
    pub(crate) fn ignore_writes(&self) {
        for layer in &self.layers {
            layer.ignores_writes.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Counts `n_tokens` more positions as filled, once every layer has written them.
    pub(super) fn advance(&mut self, n_tokens: usize) {
        self.len += n_tokens;
        self.n_written = self.n_written.max(self.len);
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
        #[cfg(test)]
        if self.ignores_writes.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok((self.keys.narrow(2, 0, end)?, self.values.narrow(2, 0, end)?));
        }
        self.keys.slice_set(keys, 2, start)?;
        self.values.slice_set(values, 2, start)?;
        Ok((self.keys.narrow(2, 0, end)?, self.values.narrow(2, 0, end)?))
    }
}
