//! The decoder on our own kernels, top to bottom. Shapes stand in comments:
//!
//! `B` sequences, `S` tokens of each in this pass, `H` query heads, `K` key and value heads, `D`
//! head width, `N = B · S` rows, `C` residual width, `F` feed-forward width, `V` vocabulary.
//!
//! It computes what `decoder.rs` does in the engine's operations, from the same weights. Between
//! products activations are f32; each product rounds them to what it multiplies. Weights are
//! packed once and not kept in another order.

use candle_core::{CpuStorage, DType, Storage, Tensor};

use super::rope::RopeTable;
use super::weights::{Role, Weights};
use crate::case::Dtype;
use crate::error::{Error, Result};
use crate::kernels::attention::{KvPanels, Queries, Strided};
use crate::kernels::linear::{
    BlockFormat, FloatFormat, Linear, Outputs, Rows, Scratch, Store, WeightFormat,
};
use crate::kernels::rows::{self, Heads, Rotary};
use crate::kernels::{Instructions, Pool};
use crate::model::DecoderConfig;

/// A decoder with its weights, packed.
#[derive(Debug)]
pub struct FusedDecoder {
    config: DecoderConfig,
    dtype: Dtype,
    instructions: Instructions,
    /// `(V, C)`, of which rows are looked up; absent when the head is the embedding itself.
    embedding: Option<Linear>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Linear, // (V, C)
    rotary: Rotary,
}

#[derive(Debug)]
struct Block {
    attention_norm: Vec<f32>,
    qkv: Qkv,
    qk_norm: Option<(Vec<f32>, Vec<f32>)>, // (D), (D)
    o: Linear,                             // (C, H·D)
    mlp_norm: Vec<f32>,
    gate_up: Linear, // (2·F, C), gives F
    down: Linear,    // (C, F)
}

/// The projections before attention.
#[derive(Debug)]
enum Qkv {
    /// For the same tokens: `((H + 2·K)·D, C)`.
    Joined(Linear),
    /// Queries for the last token of each sequence alone: `(H·D, C)` and `(2·K·D, C)`.
    Apart { q: Linear, kv: Linear },
}

/// Keys and values of the positions already computed, and what a pass works in.
#[derive(Debug)]
pub struct FusedCache {
    layers: Vec<KvPanels>,
    batch_size: usize,
    n_positions: usize,
    len: usize,
    /// Positions from here on may hold keys of a pass before.
    n_written: usize,
    work: Work,
}

/// Activations, kept from one pass to the next.
#[derive(Debug, Default)]
struct Work {
    x: Vec<f32>,        // (N, C)
    normed: Vec<f32>,   // (N, C)
    q: Vec<f32>,        // (B, H·D)
    qkv: Vec<f32>,      // (N, (H + 2·K)·D)
    attended: Vec<f32>, // (N, H·D)
    gated: Vec<f32>,    // (N, F)
    products: Scratch,
    attention: Vec<f32>,
}

impl FusedDecoder {
    /// Loads or draws every weight, packs it, and prepares positions `0..n_positions`, with the
    /// best instructions of this machine on the current pool.
    ///
    /// # Errors
    /// What is wrong with a tensor, or [`Error::Engine`] if there is no memory.
    pub fn new(config: &DecoderConfig, weights: &Weights, n_positions: usize) -> Result<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let dtype = weights.dtype();
        let embedding =
            weights.tensor("model.embed_tokens.weight", &[vocab, hidden], Role::Embedding)?;
        let embedding = pack(&[&embedding], None, hidden, Outputs::Stacked, dtype)?;
        let blocks =
            (0..config.n_layers).map(|i| Block::new(config, weights, i)).collect::<Result<_>>()?;
        let norm = floats(weights, "model.norm.weight", hidden, Role::Norm)?;
        let (head, embedding) = match config.tied_head {
            true => (embedding, None),
            false => {
                let shape = [vocab, hidden];
                let head = weights.tensor("lm_head.weight", &shape, Role::Linear)?;
                (pack(&[&head], None, hidden, Outputs::Stacked, dtype)?, Some(embedding))
            }
        };
        let (cos, sin) = RopeTable::tables(config, n_positions);
        let rotary = Rotary { cos, sin, head_dim: config.head_dim };
        let instructions = Instructions::detect();
        let config = config.clone();
        Ok(Self { config, dtype, instructions, embedding, blocks, norm, head, rotary })
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Positions this decoder is prepared for.
    pub fn n_positions(&self) -> usize {
        self.rotary.n_positions()
    }

    /// The format of weights.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The part of the instruction set that its products use.
    pub fn instructions(&self) -> Instructions {
        self.head.instructions(self.instructions)
    }

    /// An empty cache for this decoder.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for it.
    pub fn cache(&self, batch_size: usize, n_positions: usize) -> Result<FusedCache> {
        let DecoderConfig { n_kv_heads, head_dim, n_layers, .. } = self.config;
        let format = match self.dtype.of_cache() {
            Dtype::F32 => FloatFormat::F32,
            Dtype::BF16 => FloatFormat::Bf16,
            Dtype::F16 | Dtype::Q8_0 | Dtype::Q4K => FloatFormat::F16,
        };
        let layers = (0..n_layers)
            .map(|_| KvPanels::new(format, batch_size, n_kv_heads, n_positions, head_dim))
            .collect::<std::io::Result<_>>()
            .map_err(Error::engine("allocating the KV cache"))?;
        let work = Work::default();
        Ok(FusedCache { layers, batch_size, n_positions, len: 0, n_written: 0, work })
    }

    /// Computes `tokens`, the rows `(B, S)` one after another, on top of what `cache` holds, adds
    /// them to it, and gives the logits `(B, V)` of the last token of each sequence.
    ///
    /// # Panics
    /// If the cache has no room for the tokens, or a token is not in the vocabulary.
    pub fn forward(&self, tokens: &[u32], cache: &mut FusedCache) -> Vec<f32> {
        let batch = cache.batch_size;
        let n_tokens = tokens.len() / batch;
        assert!(cache.len + n_tokens <= cache.n_positions, "no room for {n_tokens} more tokens");
        let pass = Pass { batch, n_tokens, start: cache.len };
        let mut x = std::mem::take(&mut cache.work.x);
        self.embed(tokens, &mut x); // (N, C)
        let mut logits = vec![0.0; batch * self.config.vocab_size];
        Pool::with_current(|pool| {
            for (block, kv) in self.blocks.iter().zip(&mut cache.layers) {
                self.attention(block, pool, &pass, kv, &mut x, &mut cache.work);
                self.feed_forward(block, pool, &mut x, &mut cache.work);
            }
            let Work { normed, products, .. } = &mut cache.work;
            self.normed(pool, &x, &self.norm, normed); // (B, C)
            let instructions = self.instructions;
            self.head.forward(instructions, pool, products, normed, &mut logits, Store::Overwrite);
        });
        cache.work.x = x;
        cache.len += n_tokens;
        cache.n_written = cache.n_written.max(cache.len);
        logits
    }

    /// The greedy pick of each row of logits `(B, V)`.
    pub fn greatest(&self, logits: &[f32]) -> Vec<u32> {
        let width = self.config.vocab_size;
        Pool::with_current(|pool| rows::greatest(self.instructions, pool, logits, width))
    }

    fn embed(&self, tokens: &[u32], x: &mut Vec<f32>) {
        let hidden = self.config.hidden_size;
        x.resize(tokens.len() * hidden, 0.0);
        let embedding = self.embedding.as_ref().unwrap_or(&self.head);
        for (&token, x) in tokens.iter().zip(x.chunks_exact_mut(hidden)) {
            embedding.read_row(token as usize, x);
        }
    }

    /// RMSNorm of every row.
    fn normed(&self, pool: &mut Pool, x: &[f32], weight: &[f32], to: &mut Vec<f32>) {
        to.resize(x.len(), 0.0);
        rows::rms_norm(self.instructions, pool, x, weight, self.config.rms_norm_eps as f32, to);
    }

    /// Adds the attention of a block to `x (N, C)`; where queries are those of the last tokens
    /// alone, `x` becomes `(B, C)`.
    fn attention(
        &self,
        block: &Block,
        pool: &mut Pool,
        pass: &Pass,
        kv: &mut KvPanels,
        x: &mut Vec<f32>,
        work: &mut Work,
    ) {
        let Pass { batch, n_tokens, start } = *pass;
        let (q_size, kv_size) = (self.config.q_size(), self.config.kv_size());
        let DecoderConfig { n_heads, n_kv_heads, hidden_size: hidden, .. } = self.config;
        let (instructions, eps) = (self.instructions, self.config.rms_norm_eps as f32);
        let (q_norm, k_norm) = match &block.qk_norm {
            Some((q_norm, k_norm)) => (Some(&q_norm[..]), Some(&k_norm[..])),
            None => (None, None),
        };
        let q_heads = Heads { offset: 0, n_heads, norm: q_norm };
        let k_heads = |offset| Heads { offset, n_heads: n_kv_heads, norm: k_norm };
        let Work { normed, q, qkv, attended, products, attention, .. } = work;
        self.normed(pool, x, &block.attention_norm, normed);
        let (queries, k_offset, stride, n_queries);
        match &block.qkv {
            Qkv::Joined(joined) => {
                (k_offset, stride, n_queries) = (q_size, q_size + 2 * kv_size, n_tokens);
                qkv.resize(batch * n_tokens * stride, 0.0);
                joined.forward(instructions, pool, products, normed, qkv, Store::Overwrite);
                let heads = [q_heads, k_heads(k_offset)];
                let positions = (start, n_tokens);
                self.rotary.apply(instructions, pool, qkv, stride, &heads, positions, eps);
                queries = Strided { rows: qkv, stride, offset: 0 };
            }
            Qkv::Apart { q: project, kv } => {
                (k_offset, stride, n_queries) = (0, 2 * kv_size, 1);
                qkv.resize(batch * n_tokens * stride, 0.0);
                kv.forward(instructions, pool, products, normed, qkv, Store::Overwrite);
                let (heads, positions) = ([k_heads(0)], (start, n_tokens));
                self.rotary.apply(instructions, pool, qkv, stride, &heads, positions, eps);
                last_rows(normed, pass, hidden);
                last_rows(x, pass, hidden);
                q.resize(batch * q_size, 0.0);
                project.forward(instructions, pool, products, normed, q, Store::Overwrite);
                let positions = (start + n_tokens - 1, 1);
                self.rotary.apply(instructions, pool, q, q_size, &[q_heads], positions, eps);
                queries = Strided { rows: q, stride: q_size, offset: 0 };
            }
        }
        let part = |offset| Strided { rows: qkv, stride, offset };
        kv.append(pool, start, n_tokens, part(k_offset), part(k_offset + kv_size));
        attended.resize(batch * n_queries * q_size, 0.0); // (B, S', H·D)
        let last_position = start + n_tokens - 1;
        let queries =
            Queries { q: queries, to: attended, batch_size: batch, n_heads, last_position };
        kv.attend(instructions, pool, attention, queries);
        block.o.forward(instructions, pool, products, attended, x, Store::Add);
    }

    /// Adds the feed-forward block, SwiGLU, to `x (N, C)`.
    fn feed_forward(&self, block: &Block, pool: &mut Pool, x: &mut [f32], work: &mut Work) {
        let Work { normed, gated, products, .. } = work;
        self.normed(pool, x, &block.mlp_norm, normed);
        let n_rows = x.len() / self.config.hidden_size;
        gated.resize(n_rows * self.config.intermediate_size, 0.0);
        let instructions = self.instructions;
        block.gate_up.forward(instructions, pool, products, normed, gated, Store::Overwrite);
        block.down.forward(instructions, pool, products, gated, x, Store::Add);
    }
}

/// What all layers of a forward pass share.
struct Pass {
    batch: usize,
    n_tokens: usize,
    /// Position of the first token.
    start: usize,
}

/// Keeps the last token's row of each sequence: `(N, width)` to `(B, width)`.
fn last_rows(x: &mut Vec<f32>, pass: &Pass, width: usize) {
    for sequence in 0..pass.batch {
        let last = ((sequence + 1) * pass.n_tokens - 1) * width;
        x.copy_within(last..last + width, sequence * width);
    }
    x.truncate(pass.batch * width);
}

impl FusedCache {
    /// Sequences.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Positions that are filled, per sequence.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Forgets the positions from `len` on, and spoils what was ever written there.
    pub fn forget_from(&mut self, len: usize) {
        self.len = self.len.min(len);
        if self.n_written > self.len {
            let (start, end) = (self.len, self.n_written);
            self.layers.iter_mut().for_each(|layer| layer.forget(start..end));
            self.n_written = self.len;
        }
    }

    /// From now on, what is appended is not written.
    #[cfg(test)]
    pub(crate) fn ignore_writes(&mut self) {
        self.layers.iter_mut().for_each(KvPanels::ignore_writes);
    }
}

impl Block {
    fn new(config: &DecoderConfig, weights: &Weights, layer_idx: usize) -> Result<Self> {
        let path = format!("model.layers.{layer_idx}");
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q_size, kv_size, dim) = (config.q_size(), config.kv_size(), config.head_dim);
        let dtype = weights.dtype();
        let linear = |name: &str, n_out, n_in, role| {
            weights.tensor(&format!("{path}.{name}.weight"), &[n_out, n_in], role)
        };
        let bias = |has: bool, name: &str, n_out| match has {
            true => floats(weights, &format!("{path}.{name}.bias"), n_out, Role::Bias).map(Some),
            false => Ok(None),
        };
        let norm = |name: &str, n| floats(weights, &format!("{path}.{name}.weight"), n, Role::Norm);

        let project = |name: &str, n_out| -> Result<(Tensor, Option<Vec<f32>>)> {
            let name = format!("self_attn.{name}");
            let weight = linear(&name, n_out, hidden, Role::Linear)?;
            Ok((weight, bias(config.qkv_bias, &name, n_out)?))
        };
        let (q, k, v) =
            (project("q_proj", q_size)?, project("k_proj", kv_size)?, project("v_proj", kv_size)?);
        let joined = |parts: &[&(Tensor, Option<Vec<f32>>)]| {
            let matrices: Vec<&Tensor> = parts.iter().map(|(matrix, _)| matrix).collect();
            let biases: Option<Vec<&[f32]>> =
                parts.iter().map(|(_, bias)| bias.as_deref()).collect();
            pack(&matrices, biases.as_deref(), hidden, Outputs::Stacked, dtype)
        };
        let qkv = match layer_idx + 1 == config.n_layers {
            // Nothing depends on the last layer's other tokens but their keys and values.
            true => Qkv::Apart { q: joined(&[&q])?, kv: joined(&[&k, &v])? },
            false => Qkv::Joined(joined(&[&q, &k, &v])?),
        };
        let one = |name: &str, n_out, n_in, has_bias| -> Result<Linear> {
            let weight = linear(name, n_out, n_in, Role::ResidualLinear)?;
            let bias = bias(has_bias, name, n_out)?;
            pack(
                &[&weight],
                bias.as_deref().map(|bias| [bias]).as_ref().map(|b| &b[..]),
                n_in,
                Outputs::Stacked,
                dtype,
            )
        };
        let (gate, up) = (
            linear("mlp.gate_proj", inner, hidden, Role::Linear)?,
            linear("mlp.up_proj", inner, hidden, Role::Linear)?,
        );
        let gate_up_bias = match config.mlp_bias {
            true => Some((
                bias(true, "mlp.gate_proj", inner)?.unwrap_or_default(),
                bias(true, "mlp.up_proj", inner)?.unwrap_or_default(),
            )),
            false => None,
        };
        let gate_up_bias = gate_up_bias.as_ref().map(|(gate, up)| [&gate[..], &up[..]]);
        Ok(Self {
            attention_norm: norm("input_layernorm", hidden)?,
            qkv,
            qk_norm: match config.qk_norm {
                true => Some((norm("self_attn.q_norm", dim)?, norm("self_attn.k_norm", dim)?)),
                false => None,
            },
            o: one("self_attn.o_proj", hidden, q_size, config.o_bias)?,
            mlp_norm: norm("post_attention_layernorm", hidden)?,
            gate_up: pack(
                &[&gate, &up],
                gate_up_bias.as_ref().map(|bias| &bias[..]),
                hidden,
                Outputs::SwiGlu,
                dtype,
            )?,
            down: one("mlp.down_proj", hidden, inner, config.mlp_bias)?,
        })
    }
}

fn packing(error: candle_core::Error) -> Error {
    Error::engine("packing weights")(error)
}

fn weight_format(dtype: Dtype) -> WeightFormat {
    match dtype {
        Dtype::F32 => WeightFormat::Float(FloatFormat::F32),
        Dtype::F16 => WeightFormat::Float(FloatFormat::F16),
        Dtype::BF16 => WeightFormat::Float(FloatFormat::Bf16),
        Dtype::Q8_0 => WeightFormat::Blocks(BlockFormat::Q8_0),
        Dtype::Q4K => WeightFormat::Blocks(BlockFormat::Q4K),
    }
}

/// A tensor of one dimension, as floats.
fn floats(weights: &Weights, name: &str, n: usize, role: Role) -> Result<Vec<f32>> {
    weights
        .tensor(name, &[n], role)?
        .to_dtype(DType::F32)
        .and_then(|tensor| tensor.to_vec1())
        .map_err(Error::engine(format!("reading tensor `{name}`")))
}

/// Packs matrices `(rows, n_in)`, with the bias of each row.
fn pack(
    matrices: &[&Tensor],
    bias: Option<&[&[f32]]>,
    n_in: usize,
    outputs: Outputs,
    dtype: Dtype,
) -> Result<Linear> {
    let contiguous: Vec<Tensor> = matrices
        .iter()
        .map(|matrix| matrix.contiguous())
        .collect::<candle_core::Result<_>>()
        .map_err(packing)?;
    let storages: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let rows: Vec<Rows<'_>> = storages
        .iter()
        .map(|(storage, layout)| {
            let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
            match &**storage {
                Storage::Cpu(CpuStorage::F32(all)) => Some(Rows::F32(&all[range])),
                Storage::Cpu(CpuStorage::F16(all)) => Some(Rows::F16(&all[range])),
                Storage::Cpu(CpuStorage::BF16(all)) => Some(Rows::Bf16(&all[range])),
                _ => None,
            }
        })
        .collect::<Option<_>>()
        .ok_or_else(|| {
            const PLACE: &str = "weights are not in this machine's memory in a format of ours";
            packing(candle_core::Error::Msg(PLACE.into()))
        })?;
    let format = weight_format(dtype);
    Pool::with_current(|pool| Linear::pack(pool, &rows, bias, n_in, outputs, format))
        .map_err(Error::engine("packing weights"))
}
