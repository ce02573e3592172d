//! Rotary position embedding (Su et al., *RoFormer*, 2021): tables of cosines and sines.

use std::f64::consts::TAU;

use candle_core::{DType, Device, Result, Tensor};

use crate::model::config::{DecoderConfig, RopeConfig, RopeScaling};

/// Cosines and sines for every position up to a limit, each `(n_positions, head_dim / 2)`.
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// Tables for positions `0..n_positions`.
    ///
    /// Angles are computed in double precision and rounded once.
    pub fn new(
        config: &DecoderConfig,
        n_positions: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (cos, sin) = Self::tables(config, n_positions);
        let shape = (n_positions, config.head_dim / 2);
        let table = |values| Tensor::from_vec(values, shape, device)?.to_dtype(dtype);
        Ok(Self { cos: table(cos)?, sin: table(sin)? })
    }

    /// The numbers of both tables: cosines and sines, each `(n_positions, head_dim / 2)`.
    pub fn tables(config: &DecoderConfig, n_positions: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = inverse_frequencies(&config.rope, config.head_dim);
        let table = |of: fn(f64) -> f64| {
            (0..n_positions)
                .flat_map(|position| frequencies.iter().map(move |f| position as f64 * f))
                .map(|angle| of(angle) as f32)
                .collect()
        };
        (table(f64::cos), table(f64::sin))
    }

    /// Positions in the table.
    pub fn n_positions(&self) -> usize {
        self.cos.dims()[0]
    }

    /// Rotates `x` of shape `(batch, n_heads, n_tokens, head_dim)`, whose first token stands at
    /// position `start`. A head's first half pairs with its second, as Hugging Face's weights
    /// expect.
    pub fn apply(&self, x: &Tensor, start: usize) -> Result<Tensor> {
        let n_tokens = x.dims4()?.2;
        let cos = self.cos.narrow(0, start, n_tokens)?;
        let sin = self.sin.narrow(0, start, n_tokens)?;
        candle_nn::rotary_emb::rope(x, &cos, &sin)
    }
}

/// Radians per position for each pair of a head, from fast to slow.
fn inverse_frequencies(rope: &RopeConfig, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2)
        .map(|pair| rope.theta.powf(-2.0 * pair as f64 / head_dim as f64))
        .map(|frequency| match rope.scaling {
            RopeScaling::Default => frequency,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_positions,
            } => {
                // Turns within the original context: many are kept, few are stretched.
                let turns = original_positions * frequency / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = kept.clamp(0.0, 1.0);
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_fast_and_stretches_slow_frequencies() {
        let plain = RopeConfig { theta: 500_000.0, scaling: RopeScaling::Default };
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_positions: 8192.0,
        };
        let before = inverse_frequencies(&plain, 128);
        let after = inverse_frequencies(&RopeConfig { scaling, ..plain }, 128);
        assert_eq!(before[0], 1.0);
        for (before, after) in before.iter().zip(&after) {
            let wavelength = TAU / before;
            if wavelength < 8192.0 / 4.0 {
                assert_eq!(after, before);
            } else if wavelength > 8192.0 {
                assert_eq!(*after, before / 8.0);
            } else {
                assert!(before / 8.0 < *after && after < before);
            }
        }
    }
}
