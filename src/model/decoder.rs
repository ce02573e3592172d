//! The decoder, top to bottom. Shapes stand in comments:
//!
//! `B` sequences, `S` tokens of each in this pass, `T` positions cached after it, `H` query
//! heads, `K` key and value heads, `G = H / K` query heads that share one, `D` head width,
//! `N = B · S` rows, `C` residual width, `F` feed-forward width, `V` vocabulary.
//!
//! One text covers Llama, Mistral, Qwen2 (biases on query, key, value) and Qwen3 (RMSNorm on
//! query and key heads).

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Module, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use rayon::prelude::*;

use super::cost::ATTENTION_BLOCK;
use super::kv_cache::{LayerCache, StockCache};
use super::rope::RopeTable;
use super::weights::{Role, Weights};
use crate::case::Dtype;
use crate::error::{Error, Result as CrateResult};
use crate::model::DecoderConfig;

/// A decoder with its weights.
#[derive(Debug)]
pub struct StockDecoder {
    config: DecoderConfig,
    dtype: Dtype,
    embedding: Tensor, // (V, C)
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear, // (V, C), the embedding itself when tied
    rope: RopeTable,
}

impl StockDecoder {
    /// Loads or draws every weight, and prepares positions `0..n_positions`.
    ///
    /// # Errors
    /// What is wrong with a tensor.
    pub fn new(config: &DecoderConfig, weights: &Weights, n_positions: usize) -> CrateResult<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embedding =
            weights.tensor("model.embed_tokens.weight", &[vocab, hidden], Role::Embedding)?;
        let blocks = (0..config.n_layers)
            .map(|i| Block::new(config, weights, &format!("model.layers.{i}")))
            .collect::<CrateResult<_>>()?;
        let norm = Norm::new(config, weights, "model.norm", hidden)?;
        let head = if config.tied_head {
            Linear::from_parts(embedding.clone(), None, weights.dtype())?
        } else {
            Linear::new(weights, "lm_head", hidden, vocab, false, Role::Linear)?
        };
        let rope = RopeTable::new(config, n_positions, embedding.dtype(), weights.device())
            .map_err(Error::engine("computing rotary embeddings"))?;
        let (config, dtype) = (config.clone(), weights.dtype());
        // Rows are looked up in what was quantised, as in files of that format.
        let embedding = match block_format(dtype) {
            None => embedding,
            Some(blocks) => quantised(&embedding, blocks)
                .and_then(|blocks| blocks.dequantize(weights.device()))
                .map_err(quantising)?,
        };
        Ok(Self { config, dtype, embedding, blocks, norm, head, rope })
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The format of weights; that of activations and cache where it is not one of blocks, f32
    /// where it is.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Positions this decoder is prepared for.
    pub fn n_positions(&self) -> usize {
        self.rope.n_positions()
    }

    /// An empty cache for this decoder.
    ///
    /// # Errors
    /// The engine's, if there is no memory for it.
    pub fn cache(&self, batch_size: usize, n_positions: usize) -> Result<StockCache> {
        let device = self.embedding.device();
        let dtype = self.embedding.dtype();
        StockCache::new(&self.config, batch_size, n_positions, dtype, device)
    }

    /// Computes `tokens (B, S)` on top of what `cache` holds, adds them to it, and gives the
    /// logits `(B, V)` of the last token of each sequence.
    ///
    /// # Errors
    /// The engine's.
    pub fn forward(&self, tokens: &Tensor, cache: &mut StockCache) -> Result<Tensor> {
        let (batch, n_tokens) = tokens.dims2()?;
        let pass = Pass::new(batch, n_tokens, cache.len(), tokens.device())?;
        let mut x = self.embedding.index_select(&tokens.flatten_all()?, 0)?; // (N, C)
        let last_layer = self.blocks.len() - 1;
        for (layer_idx, block) in self.blocks.iter().enumerate() {
            // Nothing depends on the last layer's other tokens but their keys and values.
            let queries = if layer_idx == last_layer { Queries::Last } else { Queries::All };
            x = block.forward(&x, &pass, queries, cache.layer(layer_idx), &self.rope)?;
        }
        cache.advance(n_tokens);
        self.head.forward(&self.norm.forward(&x)?) // (B, C) to (B, V)
    }
}

/// What all layers of a forward pass share.
struct Pass {
    batch: usize,
    n_tokens: usize,
    /// Position of the first token.
    start: usize,
    /// The mask `(S', T)` of the last full block of queries; none for a single token, which sees
    /// everything. Counted from its lower right corner, every block's mask is a part of it.
    mask: Option<Tensor>,
}

impl Pass {
    fn new(
        batch: usize,
        n_tokens: usize,
        start: usize,
        device: &candle_core::Device,
    ) -> Result<Self> {
        let mask = match n_tokens {
            1 => None,
            _ => Some(causal_mask(n_tokens.min(ATTENTION_BLOCK), start + n_tokens, device)?),
        };
        Ok(Self { batch, n_tokens, start, mask })
    }

    /// The mask of the `n` queries before position `n_seen`.
    fn mask_of_block(&self, n: usize, n_seen: usize) -> Result<Option<Tensor>> {
        let Some(mask) = &self.mask else { return Ok(None) };
        let (rows, columns) = mask.dims2()?;
        let part = mask.narrow(0, rows - n, n)?.narrow(1, columns - n_seen, n_seen)?;
        part.contiguous().map(Some)
    }

    /// The last token's row of each sequence: `(N, C)` to `(B, C)`.
    fn last_rows(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(1)?;
        x.reshape((self.batch, self.n_tokens, width))?
            .narrow(1, self.n_tokens - 1, 1)?
            .reshape((self.batch, width))
    }
}

/// For which tokens a layer computes its output.
#[derive(Clone, Copy, PartialEq)]
enum Queries {
    All,
    Last,
}

/// First query and length of each block.
fn query_blocks(n_tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n_tokens)
        .step_by(ATTENTION_BLOCK)
        .map(move |first| (first, ATTENTION_BLOCK.min(n_tokens - first)))
}

/// Attention and feed-forward, each on a normed copy of the residual stream and added to it.
#[derive(Debug)]
struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Block {
    fn new(config: &DecoderConfig, weights: &Weights, path: &str) -> CrateResult<Self> {
        let hidden = config.hidden_size;
        let norm = |name: &str| Norm::new(config, weights, &format!("{path}.{name}"), hidden);
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention::new(config, weights, &format!("{path}.self_attn"))?,
            mlp_norm: norm("post_attention_layernorm")?,
            mlp: Mlp::new(config, weights, &format!("{path}.mlp"))?,
        })
    }

    /// `(N, C)` to `(N, C)`, or to `(B, C)` for the last queries alone.
    fn forward(
        &self,
        x: &Tensor,
        pass: &Pass,
        queries: Queries,
        cache: &LayerCache,
        rope: &RopeTable,
    ) -> Result<Tensor> {
        let normed = self.attention_norm.forward(x)?;
        let attended = self.attention.forward(&normed, pass, queries, cache, rope)?;
        let x = match queries {
            Queries::All => (x + attended)?,
            Queries::Last => (pass.last_rows(x)? + attended)?,
        };
        let fed = self.mlp.forward(&self.mlp_norm.forward(&x)?)?;
        x + fed
    }
}

/// Causal attention in which `G` query heads share a key and value head.
#[derive(Debug)]
struct Attention {
    q: Linear, // (H·D, C)
    k: Linear, // (K·D, C)
    v: Linear, // (K·D, C)
    o: Linear, // (C, H·D)
    qk_norm: Option<(Norm, Norm)>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Attention {
    fn new(config: &DecoderConfig, weights: &Weights, path: &str) -> CrateResult<Self> {
        let (hidden, q_size, kv_size) = (config.hidden_size, config.q_size(), config.kv_size());
        let project = |name: &str, out| {
            let path = format!("{path}.{name}");
            Linear::new(weights, &path, hidden, out, config.qkv_bias, Role::Linear)
        };
        let head_norm =
            |name: &str| Norm::new(config, weights, &format!("{path}.{name}"), config.head_dim);
        let o_path = format!("{path}.o_proj");
        let residual = Role::ResidualLinear;
        Ok(Self {
            q: project("q_proj", q_size)?,
            k: project("k_proj", kv_size)?,
            v: project("v_proj", kv_size)?,
            o: Linear::new(weights, &o_path, q_size, hidden, config.o_bias, residual)?,
            qk_norm: match config.qk_norm {
                true => Some((head_norm("q_norm")?, head_norm("k_norm")?)),
                false => None,
            },
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        })
    }

    /// `(N, C)` to `(N, C)`, or to `(B, C)` for the last queries alone.
    fn forward(
        &self,
        x: &Tensor,
        pass: &Pass,
        queries: Queries,
        cache: &LayerCache,
        rope: &RopeTable,
    ) -> Result<Tensor> {
        let Pass { batch, n_tokens, start, .. } = *pass;
        let n_queries = if queries == Queries::All { n_tokens } else { 1 };
        let heads = |x: Tensor, s, n| x.reshape((batch, s, n, self.head_dim));
        let mut q = match queries {
            Queries::All => self.q.forward(x)?,
            Queries::Last => self.q.forward(&pass.last_rows(x)?)?,
        };
        q = heads(q, n_queries, self.n_heads)?; // (B, S', H, D)
        let mut k = heads(self.k.forward(x)?, n_tokens, self.n_kv_heads)?; // (B, S, K, D)
        let v = heads(self.v.forward(x)?, n_tokens, self.n_kv_heads)?;
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            q = q_norm.forward(&q)?;
            k = k_norm.forward(&k)?;
        }
        let first_query = start + n_tokens - n_queries;
        let q = rope.apply(&q.transpose(1, 2)?.contiguous()?, first_query)?; // (B, H, S', D)
        let k = rope.apply(&k.transpose(1, 2)?.contiguous()?, start)?; // (B, K, S, D)
        let v = v.transpose(1, 2)?.contiguous()?;
        let (keys, values) = cache.append(start, &k, &v)?; // (B, K, T, D)

        let dtype = attention_dtype(&q, n_tokens);
        let (keys, values) = (keys.to_dtype(dtype)?, values.to_dtype(dtype)?);
        let scale = 1.0 / (self.head_dim as f64).sqrt();
        let q = (q.to_dtype(dtype)? * scale)?;
        let attended = match queries {
            Queries::All => self.attend_in_blocks(&q, &keys, &values, pass)?,
            Queries::Last => self.attend(&q, &keys, &values, None)?,
        };
        let attended = attended.reshape((batch * n_queries, self.n_heads * self.head_dim))?;
        self.o.forward(&attended.to_dtype(x.dtype())?)
    }

    /// Blocks of queries, each against the keys that its last query may see: the triangle, in
    /// steps, and never more scores at a time than one block has.
    fn attend_in_blocks(
        &self,
        q: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        pass: &Pass,
    ) -> Result<Tensor> {
        let blocks = query_blocks(pass.n_tokens)
            .map(|(first, n)| {
                let n_seen = pass.start + first + n;
                let (keys, values) = (keys.narrow(2, 0, n_seen)?, values.narrow(2, 0, n_seen)?);
                let mask = pass.mask_of_block(n, n_seen)?;
                self.attend(&q.narrow(2, first, n)?, &keys, &values, mask.as_ref())
            })
            .collect::<Result<Vec<_>>>()?;
        match blocks.as_slice() {
            [one] => Ok(one.clone()),
            many => Tensor::cat(many, 1), // (B, S, H·D)
        }
    }

    /// Scaled queries `(B, H, S', D)` against keys and values `(B, K, T', D)`, under a mask
    /// `(S', T')` if not every query sees them all. Gives `(B, S', H·D)`.
    fn attend(
        &self,
        q: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, n_heads, n_queries, head_dim) = q.dims4()?;
        let n_seen = keys.dim(2)?;
        let group = n_heads / self.n_kv_heads;
        // The G heads of a group are rows of one product, so keys and values are not repeated.
        let grouped = (batch, self.n_kv_heads, group * n_queries, head_dim);
        let scores = q.reshape(grouped)?.matmul(&keys.t()?)?; // (B, K, G·S', T')

        // Sums over thousands of positions need more digits than half formats have.
        let mut scores = scores.to_dtype(DType::F32)?;
        if let Some(mask) = mask {
            let by_head = scores.reshape((batch * n_heads, n_queries, n_seen))?;
            scores = by_head.broadcast_add(mask)?.reshape(scores.shape())?;
        }
        let shares = softmax_last_dim(&scores)?.to_dtype(values.dtype())?;
        shares
            .matmul(values)? // (B, K, G·S', D)
            .reshape((batch, n_heads, n_queries, head_dim))?
            .transpose(1, 2)? // (B, S', H, D)
            .reshape((batch, n_queries, n_heads * head_dim))
    }
}

/// The format that attention computes in. The engine's processor products of half formats widen
/// their operands anyway, and in bf16 they widen all the memory behind a view; so what is used
/// is widened here, once. A single f16 query is the exception: its product reads f16 directly.
fn attention_dtype(q: &Tensor, n_tokens: usize) -> DType {
    match q.dtype() {
        DType::F16 if n_tokens > 1 && q.device().is_cpu() => DType::F32,
        DType::BF16 if q.device().is_cpu() => DType::F32,
        dtype => dtype,
    }
}

/// 0 where query `i` of the last `n_queries` positions may see key `j`, −∞ elsewhere.
fn causal_mask(n_queries: usize, n_seen: usize, device: &candle_core::Device) -> Result<Tensor> {
    let before = n_seen - n_queries;
    let mask: Vec<f32> = (0..n_queries)
        .flat_map(|i| {
            (0..n_seen).map(move |j| if j <= before + i { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Tensor::from_vec(mask, (n_queries, n_seen), device)
}

/// The feed-forward block, SwiGLU (Shazeer, *GLU variants improve transformer*, 2020).
#[derive(Debug)]
struct Mlp {
    gate: Linear, // (F, C)
    up: Linear,   // (F, C)
    down: Linear, // (C, F)
}

impl Mlp {
    fn new(config: &DecoderConfig, weights: &Weights, path: &str) -> CrateResult<Self> {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let linear = |name: &str, n_in, n_out, role| {
            Linear::new(weights, &format!("{path}.{name}"), n_in, n_out, bias, role)
        };
        Ok(Self {
            gate: linear("gate_proj", hidden, inner, Role::Linear)?,
            up: linear("up_proj", hidden, inner, Role::Linear)?,
            down: linear("down_proj", inner, hidden, Role::ResidualLinear)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gated = (silu(&self.gate.forward(x)?)? * self.up.forward(x)?)?; // (N, F)
        self.down.forward(&gated) // (N, C)
    }
}

/// `y = x · Wᵀ + b`, with `W (out, in)` as checkpoints store it.
#[derive(Debug)]
struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug)]
enum Weight {
    /// Each number for itself.
    Plain(Tensor),
    /// In GGUF's blocks.
    Blocks(QMatMul),
}

impl Linear {
    fn new(
        weights: &Weights,
        path: &str,
        n_in: usize,
        n_out: usize,
        bias: bool,
        role: Role,
    ) -> CrateResult<Self> {
        let weight = weights.tensor(&format!("{path}.weight"), &[n_out, n_in], role)?;
        let bias = match bias {
            true => Some(weights.tensor(&format!("{path}.bias"), &[n_out], Role::Bias)?),
            false => None,
        };
        Self::from_parts(weight, bias, weights.dtype())
    }

    fn from_parts(weight: Tensor, bias: Option<Tensor>, dtype: Dtype) -> CrateResult<Self> {
        let weight = match block_format(dtype) {
            None => Weight::Plain(weight),
            Some(blocks) => quantised(&weight, blocks)
                .and_then(|weight| QMatMul::from_arc(weight.into()))
                .map(Weight::Blocks)
                .map_err(quantising)?,
        };
        Ok(Self { weight, bias })
    }

    /// `x (N, in)` to `(N, out)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Plain(weight) => match row_parts(weight, x) {
                1 => x.matmul(&weight.t()?)?,
                n_parts => single_row_product(weight, x, n_parts)?,
            },
            Weight::Blocks(weight) => weight.forward(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// The engine's word for a format of blocks.
fn block_format(dtype: Dtype) -> Option<GgmlDType> {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => None,
        Dtype::Q8_0 => Some(GgmlDType::Q8_0),
        Dtype::Q4K => Some(GgmlDType::Q4K),
    }
}

fn quantised(weight: &Tensor, blocks: GgmlDType) -> Result<QTensor> {
    QTensor::quantize(&weight.contiguous()?, blocks)
}

fn quantising(error: candle_core::Error) -> Error {
    Error::engine("quantising weights")(error)
}

/// In how many parts a product is computed. The engine runs the product of a single row on
/// one thread, which leaves most of the memory bandwidth unused; a part for each thread
/// takes it. In bf16 it also widens the whole matrix in memory first, so there the parts are
/// as small as a core's own cache.
fn row_parts(weight: &Tensor, x: &Tensor) -> usize {
    const IN_CACHE: usize = 1 << 16;
    let n_weights = weight.elem_count();
    let is_single_row = x.dims()[0] == 1 && x.device().is_cpu();
    let n_parts = match x.dtype() {
        _ if !is_single_row || n_weights < IN_CACHE => 1,
        DType::BF16 => n_weights.div_ceil(IN_CACHE),
        _ => rayon::current_num_threads(),
    };
    n_parts.min(weight.dims()[0])
}

/// `x (1, in)` to `(1, out)`, each part a range of outputs.
fn single_row_product(weight: &Tensor, x: &Tensor, n_parts: usize) -> Result<Tensor> {
    let n_out = weight.dim(0)?;
    let dtype = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
    let x_widened = x.to_dtype(dtype)?;
    let parts = (0..n_parts)
        .into_par_iter()
        .map(|part| {
            let (first, end) = (n_out * part / n_parts, n_out * (part + 1) / n_parts);
            let part = weight.narrow(0, first, end - first)?.to_dtype(dtype)?;
            x_widened.matmul(&part.t()?)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 1)?.to_dtype(x.dtype())
}

/// RMSNorm (Zhang and Sennrich, 2019) over the last dimension.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    eps: f32,
}

impl Norm {
    fn new(
        config: &DecoderConfig,
        weights: &Weights,
        path: &str,
        size: usize,
    ) -> CrateResult<Self> {
        let weight = weights.tensor(&format!("{path}.weight"), &[size], Role::Norm)?;
        Ok(Self { weight, eps: config.rms_norm_eps as f32 })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.weight, self.eps)
    }
}
