//! What a model must compute and move, from its configuration alone.
//!
//! Operations are exact and dense: two per multiply-accumulate that any correct implementation
//! of these shapes must do. Causal attention counts the triangle, never the square; the last
//! layer counts its keys and values for every token and the rest for the last token only, since
//! nothing else depends on the others. Bytes are what a forward pass must at least read and write
//! if it finds nothing in cache: every weight once, every cached key and value once, every new
//! one written once; activations may stay in cache and count nothing.
//!
//! The derivation follows the appendix of Chowdhery et al., *PaLM* (2022), made exact. Sums run
//! in 128 bits and saturate, so that an absurd shape is refused by its size, not wrapped.

use crate::case::{Case, Dtype, Test};
use crate::model::DecoderConfig;
use crate::units::{Bytes, Flops};

/// What one pass must do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Dense floating-point operations.
    pub flops: Flops,
    /// Bytes that its forward passes must at least move, each starting from cold caches.
    pub bytes_min: Bytes,
}

impl std::ops::Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes_min: self.bytes_min + other.bytes_min }
    }
}

/// What a pass of `case` must do, all sequences together.
pub fn of_case(config: &DecoderConfig, case: &Case) -> Work {
    let (dtype, batch, depth) = (case.dtype, case.batch_size, case.n_depth);
    match case.test {
        Test::Prefill { n_prompt } => forward(config, dtype, batch, depth, n_prompt),
        Test::Decode { n_gen } => decode(config, dtype, batch, depth, n_gen),
        // The prefill picks the first token; the last token is never fed back.
        Test::Generate { n_prompt, n_gen } => {
            forward(config, dtype, batch, depth, n_prompt)
                + decode(
                    config,
                    dtype,
                    batch,
                    depth.saturating_add(n_prompt),
                    n_gen.saturating_sub(1),
                )
        }
    }
}

/// One forward pass of `n_tokens` per sequence on top of `n_cached` positions, with the logits
/// of the last position.
pub fn forward(
    config: &DecoderConfig,
    dtype: Dtype,
    batch_size: u32,
    n_cached: u32,
    n_tokens: u32,
) -> Work {
    let batch = u128::from(batch_size);
    let (cached, tokens) = (u128::from(n_cached), u128::from(n_tokens));
    let whole_layers = config.n_layers as u128 - 1;
    let (weights, kv_weights) = (linear_weights_per_layer(config), kv_weights_per_layer(config));

    // Every layer but the last computes every token. The last one computes the keys and values
    // of every token, which later passes need, and all else for the last token alone.
    let linear_macs = whole_layers * tokens * weights
        + tokens * kv_weights
        + tokens.min(1) * (weights - kv_weights);
    // Token i attends to the cached positions, the tokens before it, and itself.
    let attended = tokens * cached + tokens * (tokens + 1) / 2;
    let attended_by_last = tokens.min(1) * (cached + tokens);
    // Scores and weighted sum: head_dim multiply-accumulates each, per query head.
    let attention_macs = 2 * config.q_size() as u128 * (whole_layers * attended + attended_by_last);
    let head_macs = tokens.min(1) * vocab_by_hidden(config);
    let macs = linear_macs + attention_macs + head_macs;
    let flops = (2 * batch).saturating_mul(macs);

    let layers = config.n_layers as u128;
    let kv_elements =
        (layers * 2 * config.kv_size() as u128 * (cached + tokens)).saturating_mul(batch);
    let bytes_min = bytes(streamed_weights(config), dtype) + bytes(kv_elements, dtype.of_cache());
    Work { flops: Flops(saturate(flops)), bytes_min }
}

/// `n` forward passes of one token per sequence, each on one position more than the one before. In
/// closed form, since a file may state any number of them.
fn decode(config: &DecoderConfig, dtype: Dtype, batch_size: u32, n_cached: u32, n: u32) -> Work {
    let (batch, n) = (u128::from(batch_size), u128::from(n));
    // The k-th pass attends to n_cached + k positions, itself among them.
    let positions = n * u128::from(n_cached) + n * (n + 1) / 2;
    let layers = config.n_layers as u128;
    let macs_per_pass = layers * linear_weights_per_layer(config) + vocab_by_hidden(config);
    let macs_per_position = 2 * layers * config.q_size() as u128;
    let macs =
        n.saturating_mul(macs_per_pass).saturating_add(positions.saturating_mul(macs_per_position));
    let kv_per_position = layers * 2 * config.kv_size() as u128;
    let kv_elements = positions.saturating_mul(kv_per_position).saturating_mul(batch);
    let weights = bytes(n.saturating_mul(streamed_weights(config)), dtype);
    Work {
        flops: Flops(saturate(macs.saturating_mul(2 * batch))),
        bytes_min: weights + bytes(kv_elements, dtype.of_cache()),
    }
}

/// Number of weights.
pub fn n_params(config: &DecoderConfig) -> u64 {
    let head = if config.tied_head { 0 } else { vocab_by_hidden(config) };
    saturate(vocab_by_hidden(config) + head + body_weights(config))
}

/// Memory of the weights.
pub fn weight_bytes(config: &DecoderConfig, dtype: Dtype) -> Bytes {
    bytes(u128::from(n_params(config)), dtype)
}

/// Memory of the KV cache in a format.
pub fn kv_cache_bytes(
    config: &DecoderConfig,
    dtype: Dtype,
    batch_size: u32,
    n_positions: u64,
) -> Bytes {
    let per_position = config.n_layers as u128 * 2 * config.kv_size() as u128;
    let positions = u128::from(batch_size) * u128::from(n_positions);
    bytes(per_position.saturating_mul(positions), dtype)
}

/// Memory of the largest set of activations that this crate's decoder holds at one time, in a
/// forward pass of `n_tokens` per sequence up to position `n_positions`. An estimate for
/// planning, on the safe side; it enters no result.
pub fn activation_bytes(
    config: &DecoderConfig,
    dtype: Dtype,
    batch_size: u32,
    n_positions: u64,
    n_tokens: u32,
) -> Bytes {
    let dtype = dtype.of_engine();
    let batch = u128::from(batch_size);
    let rows = batch * u128::from(n_tokens);
    // The residual stream, its norm, and in the feed-forward block gate, activated gate, up and
    // their product; or in attention the projections twice over, as copies change their layout.
    let feed_forward = 4 * config.intermediate_size as u128;
    let attention = 3 * config.q_size() as u128 + 4 * config.kv_size() as u128;
    let per_row = 3 * config.hidden_size as u128 + feed_forward.max(attention);
    let stream = rows.saturating_mul(per_row);
    let logits = batch * config.vocab_size as u128;
    // Scores of one block of queries, in f32, and their masked and normalised copies; the mask
    // and a block's part of it; and for every position the rotary cosines and sines.
    let block = u128::from(n_tokens).min(ATTENTION_BLOCK as u128);
    let per_position =
        3 * batch * config.n_heads as u128 * block + 2 * block + 2 * config.head_dim as u128;
    let scores = per_position.saturating_mul(n_positions.into());
    // On a processor, half formats attend in f32: queries, results, and all keys and values.
    let widened_attention = match dtype {
        Dtype::F16 | Dtype::BF16 => {
            let kv = 2 * batch * config.kv_size() as u128;
            kv.saturating_mul(n_positions.into())
                .saturating_add(rows.saturating_mul(2 * config.q_size() as u128))
        }
        _ => 0,
    };
    // candle widens both operands of a bf16 product to f32: the head for several sequences, a
    // layer's largest matrix for several tokens. Single rows are widened in small parts.
    let widened_product = match dtype {
        Dtype::BF16 if batch_size > 1 => vocab_by_hidden(config) + logits,
        Dtype::BF16 if n_tokens > 1 => {
            let largest = config.intermediate_size.max(config.q_size()) as u128;
            largest * (config.hidden_size as u128 + rows)
        }
        Dtype::BF16 => 1 << 20,
        _ => 0,
    };
    let in_f32 = scores.saturating_add(widened_attention).saturating_add(widened_product);
    bytes(stream.saturating_add(logits), dtype) + bytes(in_f32, Dtype::F32)
}

/// Tokens per forward pass when a cache is filled up to a depth: enough to keep the matrix
/// products efficient, few enough that a deep cache needs no deep activations.
pub const FILL_CHUNK: u32 = 512;

/// Query positions whose attention scores the decoder holds at one time.
pub const ATTENTION_BLOCK: usize = 128;

/// Weights of one block's matrix products.
fn linear_weights_per_layer(config: &DecoderConfig) -> u128 {
    let hidden = config.hidden_size as u128;
    let (q, kv) = (config.q_size() as u128, config.kv_size() as u128);
    let attention = hidden * q + 2 * hidden * kv + q * hidden;
    let feed_forward = 3 * hidden * config.intermediate_size as u128;
    attention + feed_forward
}

/// Those of them that make keys and values.
fn kv_weights_per_layer(config: &DecoderConfig) -> u128 {
    2 * config.hidden_size as u128 * config.kv_size() as u128
}

/// The same for the decoder on our own kernels, whose activations are f32.
pub fn fused_activation_bytes(
    config: &DecoderConfig,
    batch_size: u32,
    n_positions: u64,
    n_tokens: u32,
) -> Bytes {
    let batch = u128::from(batch_size);
    let rows = batch * u128::from(n_tokens);
    let (hidden, inner) = (config.hidden_size as u128, config.intermediate_size as u128);
    let (q, kv) = (config.q_size() as u128, config.kv_size() as u128);
    // The residual stream and its norm; queries, keys and values; what was attended; what was
    // gated; the operand of a product in the order that it is multiplied in.
    let per_row = 2 * hidden + (q + 2 * kv) + q + inner + hidden.max(q).max(inner);
    let logits = 2 * batch * config.vocab_size as u128;
    let rotary = u128::from(n_positions) * config.head_dim as u128;
    let elements = rows.saturating_mul(per_row).saturating_add(logits).saturating_add(rotary);
    bytes(elements, Dtype::F32)
}

/// Splits of attention of single queries at most, on an NVIDIA device.
pub const SPLITS_MAX: usize = 64;

/// What cuBLAS works in, as `kernels/cuda/context.rs` gives it.
pub const CUBLAS_WORKSPACE: Bytes = Bytes(32 << 20);

/// The same for our own kernels on an NVIDIA device, which keep the residual stream in f32 and what
/// products read in the format of weights. `fused_cuda.rs` allocates this, its splits as many as a
/// large device has.
pub fn fused_cuda_activation_bytes(
    config: &DecoderConfig,
    dtype: Dtype,
    batch_size: u32,
    n_positions: u64,
    n_tokens: u32,
) -> Bytes {
    let batch = u128::from(batch_size);
    let rows = batch * u128::from(n_tokens);
    let (hidden, inner) = (config.hidden_size as u128, config.intermediate_size as u128);
    let (q, kv, dim) = (config.q_size() as u128, config.kv_size() as u128, config.head_dim as u128);
    // Norms; queries, keys and values; queries turned; what was attended; gates; what they let through.
    let of_format = rows
        .saturating_mul(hidden + (q + 2 * kv) + q + q + 2 * inner + inner)
        .saturating_add(batch * hidden);
    // Parts of attention: those of steps, or one of each query where blocks of them cannot be had.
    let in_blocks = dtype != Dtype::F32 && config.head_dim.is_multiple_of(16) && dim <= 128;
    let single = if in_blocks { batch } else { rows };
    let parts = single.max(batch * SPLITS_MAX as u128) * config.n_heads as u128;
    // The residual stream, whole and of last tokens; logits of a step and of a pass; picks; turns.
    let wide = rows
        .saturating_mul(hidden)
        .saturating_add(batch * hidden)
        .saturating_add(parts.saturating_mul(dim + 2))
        .saturating_add(3 * batch * config.vocab_size as u128)
        .saturating_add(u128::from(n_positions) * (batch + dim));
    bytes(of_format, dtype) + bytes(wide, Dtype::F32) + CUBLAS_WORKSPACE
}

/// All weights except embedding and head.
fn body_weights(config: &DecoderConfig) -> u128 {
    let hidden = config.hidden_size as u128;
    let (q, kv) = (config.q_size() as u128, config.kv_size() as u128);
    let when = |yes: bool, n: u128| if yes { n } else { 0 };
    let per_layer = linear_weights_per_layer(config)
        + 2 * hidden
        + when(config.qkv_bias, q + 2 * kv)
        + when(config.o_bias, hidden)
        + when(config.mlp_bias, 2 * config.intermediate_size as u128 + hidden)
        + when(config.qk_norm, 2 * config.head_dim as u128);
    config.n_layers as u128 * per_layer + hidden
}

/// Weights that a pass must read: all but the embedding, of which it needs the rows of its
/// tokens. Those may all be the same one, and are part of the head when it is tied.
fn streamed_weights(config: &DecoderConfig) -> u128 {
    let embedding_row = if config.tied_head { 0 } else { config.hidden_size as u128 };
    body_weights(config) + vocab_by_hidden(config) + embedding_row
}

fn vocab_by_hidden(config: &DecoderConfig) -> u128 {
    config.vocab_size as u128 * config.hidden_size as u128
}

fn bytes(elements: u128, dtype: Dtype) -> Bytes {
    Bytes(saturate(dtype.bytes_of(elements)))
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;

    fn config(name: &str) -> DecoderConfig {
        DecoderConfig::parse(builtin::find(name).unwrap().config_json, name).unwrap()
    }

    #[test]
    fn published_parameter_counts() {
        // The sums that the model cards and safetensors indices give.
        for (name, params) in [
            ("smollm2-135m", 134_515_008),
            ("qwen2.5-0.5b", 494_032_768),
            ("qwen3-0.6b", 596_049_920),
            ("llama-3.2-1b", 1_235_814_400),
            ("llama-3.1-8b", 8_030_261_248),
        ] {
            assert_eq!(n_params(&config(name)), params, "{name}");
        }
    }

    /// `tiny` by hand: hidden 64, feed-forward 176, 2 layers, 4 query heads and 2 KV heads of 16,
    /// vocabulary 512, tied. One layer's products hold q 64·64 + k 64·32 + v 64·32 + o 64·64
    /// + 3·64·176 = 46,080 weights; its norms 128.
    #[test]
    fn tiny_by_hand() {
        let tiny = config("tiny");
        assert_eq!(n_params(&tiny), 512 * 64 + 2 * (46_080 + 128) + 64);

        // One token on 10 cached positions attends to 11: 2 layers × 2 products × 64 × 11 MACs.
        let step = forward(&tiny, Dtype::F32, 1, 10, 1);
        let macs = 2 * 46_080 + 2 * 2 * 64 * 11 + 512 * 64;
        assert_eq!(step.flops, Flops(2 * macs));
        // All 125,248 weights once; 2 layers × (K and V) × 32 × (10 read + 1 written).
        assert_eq!(step.bytes_min, Bytes(4 * (125_248 + 2 * 2 * 32 * 11)));

        // Three prompt tokens attend to 1 + 2 + 3 positions in the first layer. In the second,
        // two of them are needed for keys and values only (2·64·32 weights), and the last attends
        // to 3. The head runs for the last only.
        let prefill = forward(&tiny, Dtype::F32, 1, 0, 3);
        let macs = 3 * 46_080 + (46_080 + 2 * 4_096) + 2 * 64 * 6 + 2 * 64 * 3 + 512 * 64;
        assert_eq!(prefill.flops, Flops(2 * macs));
    }

    /// What `fused_cuda.rs` allocates for 2 sequences of `tiny` in a cache of 10 positions. A row's norm
    /// has 64 numbers, its queries, keys and values 64 + 2·32, turned queries and what was attended 64
    /// each, gates 2·176, what they let through 176: 848. A part of attention has 16 + 2, of each of 4
    /// heads.
    #[test]
    fn memory_of_the_device_by_hand() {
        let tiny = config("tiny");
        let of = |dtype, n_tokens| {
            let all = fused_cuda_activation_bytes(&tiny, dtype, 2, 10, n_tokens);
            all.0 - CUBLAS_WORKSPACE.0
        };
        let of_format = |n_rows: u64| n_rows * 848 + 2 * 64;
        let of_both = 2 * 64 + 3 * 2 * 512 + 10 * (2 + 16);
        let wide = |n_rows: u64, n_single: u64| n_rows * 64 + n_single * 4 * 18 + of_both;
        // Steps are split in 64 for each of 2 sequences at most; in f32 each of many queries has a part.
        assert_eq!(of(Dtype::F32, 3), 4 * (of_format(6) + wide(6, 128)));
        assert_eq!(of(Dtype::F32, 100), 4 * (of_format(200) + wide(200, 200)));
        assert_eq!(of(Dtype::BF16, 100), 2 * of_format(200) + 4 * wide(200, 128));
    }

    #[test]
    fn parts_add_up() {
        let llama = config("llama-3.2-1b");
        // A prefill is its tokens one by one, but for the four heads it leaves out, and in the
        // last layer all of the first four but their keys and values.
        let whole = forward(&llama, Dtype::F16, 1, 7, 5);
        let steps = decode(&llama, Dtype::F16, 1, 7, 5);
        let (q, kv, hidden, inner) = (2048, 512, 2048, 8192);
        let head = 128_256 * hidden;
        let last_layer = hidden * q + q * hidden + 3 * hidden * inner;
        let attended = 2 * q * (8 + 9 + 10 + 11);
        let left_out = 4 * head + 4 * last_layer + attended;
        assert_eq!(llama.kv_size(), kv);
        assert_eq!(whole.flops.0 + 2 * left_out as u64, steps.flops.0);
        // Sequences of a batch share the weights and nothing else.
        let one = forward(&llama, Dtype::F16, 1, 100, 1);
        let four = forward(&llama, Dtype::F16, 4, 100, 1);
        assert_eq!(four.flops.0, 4 * one.flops.0);
        let weights = weight_bytes(&llama, Dtype::F16).0;
        assert_eq!(four.bytes_min.0 - weights, 4 * (one.bytes_min.0 - weights));
        // An untied head adds its own weights, and one embedding row.
        let big = config("llama-3.1-8b");
        let step = forward(&big, Dtype::BF16, 1, 0, 1);
        let kv = 2 * 32 * 2 * 1024;
        let embedding = 2 * 128_256 * 4096;
        let row = 2 * 4096;
        assert_eq!(step.bytes_min.0, weight_bytes(&big, Dtype::BF16).0 - embedding + row + kv);
    }

    #[test]
    fn a_request_is_its_prefill_and_steps() {
        let tiny = config("tiny");
        let mut case = Case {
            model: "tiny".into(),
            dtype: Dtype::F32,
            device: crate::case::DeviceSpec::Cpu,
            kernels: crate::case::Kernels::Stock,
            cuda_graphs: crate::case::CudaGraphs::Off,
            n_threads: 1,
            test: Test::Generate { n_prompt: 5, n_gen: 3 },
            n_depth: 2,
            batch_size: 2,
        };
        let want = forward(&tiny, Dtype::F32, 2, 2, 5)
            + forward(&tiny, Dtype::F32, 2, 7, 1)
            + forward(&tiny, Dtype::F32, 2, 8, 1);
        assert_eq!(of_case(&tiny, &case), want);
        case.test = Test::Decode { n_gen: 0 };
        assert_eq!(of_case(&tiny, &case), Work::default());
    }

    #[test]
    fn decoding_is_the_sum_of_its_steps() {
        for (name, n_cached, n) in [("tiny", 0, 1), ("tiny", 10, 7), ("llama-3.1-8b", 511, 128)] {
            let config = config(name);
            let steps = (0..n)
                .map(|step| forward(&config, Dtype::BF16, 3, n_cached + step, 1))
                .fold(Work::default(), |sum, step| sum + step);
            assert_eq!(decode(&config, Dtype::BF16, 3, n_cached, n), steps, "{name}");
        }
        let endless = decode(&config("tiny"), Dtype::F32, u32::MAX, u32::MAX, u32::MAX);
        assert_eq!(endless.flops, Flops(u64::MAX));
    }

    #[test]
    fn absurd_sizes_saturate() {
        let mut huge = config("tiny");
        huge.hidden_size = 1 << 24;
        huge.intermediate_size = 1 << 24;
        huge.n_layers = 1 << 12;
        let work = forward(&huge, Dtype::F32, u32::MAX, u32::MAX, u32::MAX);
        assert_eq!(work.flops, Flops(u64::MAX));
        assert_eq!(kv_cache_bytes(&huge, Dtype::F32, u32::MAX, u64::MAX), Bytes(u64::MAX));
    }
}
