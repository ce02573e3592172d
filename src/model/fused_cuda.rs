//! The decoder on our own kernels for NVIDIA devices, top to bottom. Shapes stand in comments as in
//! `fused.rs`:
//!
//! `B` sequences, `S` tokens of each in this pass, `H` query heads, `K` key and value heads, `D`
//! head width, `N = B · S` rows, `C` residual width, `F` feed-forward width, `V` vocabulary.
//!
//! It computes what `decoder.rs` does in the engine's operations, from the same weights. The
//! residual stream is f32, and products add to it; what products read is in the format of the
//! weights. Nothing is allocated in a pass but its logits, and nothing waits for the device.
//!
//! A decode step is also there as a CUDA graph: its launches are captured once for a cache, and a
//! step is then one call. For that, whatever changes from step to step is on the device: the position,
//! which the last kernel of a step moves on, and the token, which the one before it picks.

use std::sync::Arc;

use candle_core::{DType, Tensor, TensorId};

use super::rope::RopeTable;
use super::weights::{Role, Weights};
use crate::case::Dtype;
use crate::error::{Error, Result};
use crate::kernels::cuda::{
    self, Context, Graph, HeadNorms, HeadRows, HeadShape, LayerCache, Memory, PRODUCT_ROWS_MAX,
    Parts, Product, Queries, RowChoice, Span, Turns,
};
use crate::kernels::linear::FloatFormat;
use crate::model::DecoderConfig;
use crate::model::cost::{CUBLAS_WORKSPACE, SPLITS_MAX};

// What is planned with is what is allocated.
const _: () = assert!(CUBLAS_WORKSPACE.0 == cuda::WORKSPACE_BYTES as u64);

/// A decoder with its weights on the device.
#[derive(Debug)]
pub struct CudaDecoder {
    config: DecoderConfig,
    dtype: Dtype,
    format: FloatFormat,
    context: Arc<Context>,
    embedding: Tensor, // (V, C)
    blocks: Vec<Block>,
    norm: Tensor,         // (C) f32
    head: Option<Tensor>, // (V, C); absent when it is the embedding itself
    cosines: Tensor,      // (positions, D / 2) f32
    sines: Tensor,        // (positions, D / 2) f32
}

/// Matrices are in the format of the weights, everything else f32.
#[derive(Debug)]
struct Block {
    attention_norm: Tensor,
    qkv: Tensor, // ((H + 2·K)·D, C)
    qkv_bias: Option<Tensor>,
    qk_norm: Option<(Tensor, Tensor)>, // (D), (D)
    o: Tensor,                         // (C, H·D)
    o_bias: Option<Tensor>,
    mlp_norm: Tensor,
    gate_up: Tensor, // (2·F, C)
    gate_up_bias: Option<Tensor>,
    down: Tensor, // (C, F)
    down_bias: Option<Tensor>,
}

/// Keys and values of the positions already computed, and what a pass works in.
#[derive(Debug)]
pub struct CudaCache {
    context: Arc<Context>,
    format: FloatFormat,
    held: Arc<Held>,
    batch_size: usize,
    n_kv_heads: usize,
    head_dim: usize,
    n_positions: usize,
    len: usize,
    /// Positions from here on may hold keys of a pass before.
    n_written: usize,
    work: Option<Arc<Work>>,
    steps: Option<Steps>,
}

/// What passes leave to those after them.
#[derive(Debug)]
struct Held {
    layers: Vec<(Memory, Memory)>, // (B, K, positions, D) each
    /// Position of the pass under way, i32 on the device.
    start: Memory,
    n_positions: usize,
}

/// Decode steps as a graph.
#[derive(Debug)]
struct Steps {
    graph: Graph<StepParts>,
    /// What the device stands ready to consume, if it is the pick of the step before.
    ready: Option<TensorId>,
}

/// All memory that a captured step uses, kept as long as its graph.
#[derive(Debug)]
struct StepParts {
    decoder: Arc<CudaDecoder>,
    held: Arc<Held>,
    work: Arc<Work>,
    /// (B, 1) u32: what the step consumes, then what it picks.
    token: Tensor,
    /// (B, V) f32
    logits: Tensor,
    /// (positions, B) u32: what the step at each position picked.
    picks: Tensor,
}

/// What a decode step gives.
#[derive(Debug)]
pub struct Step {
    /// `(B, V)` f32; of a captured step only until the next one.
    pub logits: Tensor,
    /// The greedy pick `(B, 1)` u32; of a captured step only until one at the same position.
    pub pick: Tensor,
}

/// Activations, kept from one pass to the next. Those named after products are in their format.
#[derive(Debug)]
struct Work {
    n_rows: usize,
    n_splits: usize,
    x: Memory,        // (N, C) f32
    kept: Memory,     // (B, C) f32
    normed: Memory,   // (N, C)
    last: Memory,     // (B, C)
    qkv: Memory,      // (N, (H + 2·K)·D)
    q: Memory,        // (N, H, D)
    attended: Memory, // (N, H·D)
    gate_up: Memory,  // (N, 2·F), for many rows
    gated: Memory,    // (N, F)
    sums: Memory,     // (single queries, H, splits, D) f32
    scales: Memory,   // (single queries, H, splits, 2) f32
}

/// What all layers of a forward pass share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    batch: usize,
    n_tokens: usize,
    work: &'a Work,
    held: &'a Held,
}

impl CudaDecoder {
    /// Loads or draws every weight, and prepares positions `0..n_positions`. Absent if the weights
    /// are not on an NVIDIA device.
    ///
    /// # Errors
    /// What is wrong with a tensor, or that there are no kernels for the shape.
    pub fn new(
        config: &DecoderConfig,
        weights: &Weights,
        n_positions: usize,
    ) -> Result<Option<Self>> {
        let Some(context) = Context::of(weights.device())? else { return Ok(None) };
        let dtype = weights.dtype();
        let format = format_of(config, dtype)?;
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let shape = [vocab, hidden];
        let embedding = weights.tensor("model.embed_tokens.weight", &shape, Role::Embedding)?;
        let blocks = (0..config.n_layers)
            .map(|i| Block::new(config, weights, &format!("model.layers.{i}")))
            .collect::<Result<_>>()?;
        let norm = floats(weights, "model.norm.weight", hidden, Role::Norm)?;
        let head = match config.tied_head {
            true => None,
            false => Some(weights.tensor("lm_head.weight", &shape, Role::Linear)?),
        };
        let (cosines, sines) = RopeTable::tables(config, n_positions);
        let table = |values| {
            Tensor::from_vec(values, (n_positions, config.head_dim / 2), weights.device())
                .map_err(Error::engine("computing rotary embeddings"))
        };
        let (cosines, sines) = (table(cosines)?, table(sines)?);
        let config = config.clone();
        Ok(Some(Self {
            config,
            dtype,
            format,
            context,
            embedding,
            blocks,
            norm,
            head,
            cosines,
            sines,
        }))
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Positions this decoder is prepared for.
    pub fn n_positions(&self) -> usize {
        self.cosines.dims()[0]
    }

    /// The format of weights.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// An empty cache for this decoder.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is no memory for it.
    pub fn cache(&self, batch_size: usize, n_positions: usize) -> Result<CudaCache> {
        let size = n_positions.min(self.n_positions());
        let n_bytes = batch_size * self.config.kv_size() * size * cuda::bytes_of(self.format);
        let layers = (0..self.config.n_layers)
            .map(|_| Ok((self.context.allocate(n_bytes)?, self.context.allocate(n_bytes)?)))
            .collect::<Result<_>>()?;
        let mut cache = CudaCache {
            context: Arc::clone(&self.context),
            format: self.format,
            held: Arc::new(Held { layers, start: self.context.allocate(4)?, n_positions: size }),
            batch_size,
            n_kv_heads: self.config.n_kv_heads,
            head_dim: self.config.head_dim,
            n_positions: size,
            len: 0,
            n_written: size,
            work: None,
            steps: None,
        };
        // Whoever reads a position that was never written is found out.
        cache.forget_from(0)?;
        Ok(cache)
    }

    /// Computes `tokens (B, S)` on top of what `cache` holds, adds them to it, and gives the logits
    /// `(B, V)` f32 of the last token of each sequence.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If the cache has no room for the tokens.
    pub fn forward(&self, tokens: &Tensor, cache: &mut CudaCache) -> Result<Tensor> {
        let (batch, n_tokens) = tokens.dims2().map_err(Error::engine("reading tokens"))?;
        assert!(batch == cache.batch_size, "the cache is for {} sequences", cache.batch_size);
        assert!(cache.len + n_tokens <= cache.n_positions, "no room for {n_tokens} more tokens");
        let n_rows = batch * n_tokens;
        self.make_room(cache, n_rows)?;
        let work = cache.work.as_ref().expect("it was just made");
        if let Some(steps) = &mut cache.steps {
            steps.ready = None;
        }
        let context = &self.context;
        context.launch(&cuda::stand_at(cache.held.start.span(), cache.len))?;
        let logits = context.floats((batch, self.config.vocab_size))?;
        let pass = Pass { batch, n_tokens, work, held: &cache.held };
        self.pass(pass, context.span_of(tokens)?, context.span_of(&logits)?)?;
        cache.filled(n_tokens);
        Ok(logits)
    }

    /// Makes ready for [`Self::step`] between passes of up to `n_tokens` tokens: captures a decode
    /// step on top of what `cache` holds, if none was captured for it yet. `tokens (B, 1)` are any.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If the cache has no room for a token.
    pub fn capture_step(
        self: &Arc<Self>,
        tokens: &Tensor,
        n_tokens: usize,
        cache: &mut CudaCache,
    ) -> Result<()> {
        let batch = cache.batch_size;
        assert_eq!(tokens.dims(), [batch, 1], "a step has one token of each sequence");
        assert!(cache.len < cache.n_positions, "no room for another token");
        self.make_room(cache, batch * n_tokens)?;
        let is_of_this = |steps: &Steps| Arc::ptr_eq(&steps.graph.of().decoder, self);
        if cache.steps.as_ref().is_some_and(is_of_this) {
            return Ok(());
        }
        cache.steps = None;
        let context = &self.context;
        let parts = StepParts {
            decoder: Arc::clone(self),
            held: Arc::clone(&cache.held),
            work: Arc::clone(cache.work.as_ref().expect("there was just made room")),
            token: context.indices((batch, 1))?,
            logits: context.floats((batch, self.config.vocab_size))?,
            picks: context.indices((cache.n_positions, batch))?,
        };
        // Once as it is, which compiles kernels and lets cuBLAS load its own. Its keys and values are
        // spoiled again.
        context.copy(context.span_of(tokens)?, context.span_of(&parts.token)?)?;
        context.launch(&cuda::stand_at(cache.held.start.span(), cache.len))?;
        parts.launch(context)?;
        cache.filled(1);
        cache.forget_from(cache.len - 1)?;
        context.synchronize()?;
        let graph = context.capture(parts, |context, parts| parts.launch(context))?;
        graph.of().spoil(context)?;
        cache.steps = Some(Steps { graph, ready: None });
        Ok(())
    }

    /// The decode step that was captured: computes `tokens (B, 1)` on top of what `cache` holds, adds
    /// them to it, and picks the next ones.
    ///
    /// # Errors
    /// [`Error::Engine`].
    ///
    /// # Panics
    /// If none was captured by this decoder, or the cache has no room for a token.
    pub fn step(self: &Arc<Self>, tokens: &Tensor, cache: &mut CudaCache) -> Result<Step> {
        const PICKING: &str = "picking tokens";
        let (batch, len) = (cache.batch_size, cache.len);
        assert_eq!(tokens.dims(), [batch, 1], "a step has one token of each sequence");
        assert!(len < cache.n_positions, "no room for another token");
        let steps = cache.steps.as_mut().expect("a step was captured");
        let parts = steps.graph.of();
        assert!(Arc::ptr_eq(&parts.decoder, self), "a step was captured by this decoder");
        if steps.ready != Some(tokens.id()) {
            let context = &self.context;
            context.launch(&cuda::stand_at(cache.held.start.span(), len))?;
            context.copy(context.span_of(tokens)?, context.span_of(&parts.token)?)?;
        }
        steps.graph.replay()?;
        let StepParts { picks, logits, .. } = steps.graph.of();
        let pick = picks.narrow(0, len, 1).and_then(|row| row.reshape((batch, 1)));
        let pick = pick.map_err(Error::engine(PICKING))?;
        let logits = logits.clone();
        steps.ready = Some(pick.id());
        cache.filled(1);
        Ok(Step { logits, pick })
    }

    /// Memory for passes of up to `n_rows` rows, if there is none yet.
    fn make_room(&self, cache: &mut CudaCache, n_rows: usize) -> Result<()> {
        if cache.work.as_ref().is_none_or(|work| work.n_rows < n_rows) {
            // The old one first, so that both are never held; a captured step holds it too.
            cache.steps = None;
            cache.work = None;
            cache.work = Some(Arc::new(self.work(cache.batch_size, n_rows)?));
        }
        Ok(())
    }

    /// All launches of a pass but the pick: `tokens (B, S)` to `logits (B, V)` f32. Nothing in it
    /// depends on the position, which is on the device.
    fn pass(&self, pass: Pass, tokens: Span, logits: Span) -> Result<()> {
        let Pass { batch, n_tokens, work, held } = pass;
        let (context, hidden) = (&self.context, self.config.hidden_size);
        let n_rows = batch * n_tokens;
        let (table, size) = (context.span_of(&self.embedding)?, (n_rows, hidden));
        context.launch(&cuda::embed(self.format, tokens, table, work.x.span(), size))?; // (N, C)
        let last_layer = self.blocks.len() - 1;
        for (layer_idx, (block, (keys, values))) in self.blocks.iter().zip(&held.layers).enumerate()
        {
            let layer = LayerCache {
                keys: keys.span(),
                values: values.span(),
                n_sequences: batch,
                n_kv: self.config.n_kv_heads,
                n_positions: held.n_positions,
            };
            // Nothing depends on the last layer's other tokens but their keys and values.
            let keeps_last = layer_idx == last_layer && n_tokens > 1;
            let x = match keeps_last {
                false => {
                    self.attention(block, pass, layer)?;
                    work.x.span()
                }
                true => {
                    self.last_attention(block, pass, layer)?;
                    work.kept.span()
                }
            };
            let n_rows = if keeps_last { batch } else { n_rows };
            self.feed_forward(block, work, x, n_rows)?;
        }
        let x = if n_tokens > 1 { work.kept.span() } else { work.x.span() }; // (B, C)
        let normed = work.last.span();
        self.normed(x, &self.norm, normed, RowChoice::all(batch))?;
        let head = context.span_of(self.head.as_ref().unwrap_or(&self.embedding))?;
        let size = (batch, self.config.vocab_size, hidden);
        context.product(self.format, Product::Wide, head, normed, logits, size)
    }

    /// The greedy pick `(B, 1)` u32 of each row of logits `(B, V)`.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn pick(&self, logits: &Tensor) -> Result<Tensor> {
        let (n_rows, width) = logits.dims2().map_err(Error::engine("reading logits"))?;
        let picks = self.context.indices((n_rows, 1))?;
        let (from, to) = (self.context.span_of(logits)?, self.context.span_of(&picks)?);
        self.context.launch(&cuda::greatest(from, to, (n_rows, width)))?;
        Ok(picks)
    }

    /// Memory for passes of up to `n_rows` rows.
    fn work(&self, batch: usize, n_rows: usize) -> Result<Work> {
        let DecoderConfig { hidden_size, intermediate_size, n_heads, head_dim, .. } = self.config;
        let (q_size, kv_size) = (self.config.q_size(), self.config.kv_size());
        let of_format = |n: usize| self.context.allocate(n * cuda::bytes_of(self.format));
        let wide = |n: usize| self.context.allocate(n * 4);
        // Enough blocks for every multiprocessor to have several, and no more parts than that.
        let n_blocks = batch * self.config.n_kv_heads;
        let n_splits = (4 * self.context.n_multiprocessors()).div_ceil(n_blocks);
        let n_splits = n_splits.clamp(1, SPLITS_MAX);
        let n_single = if self.attends_in_blocks() { batch } else { n_rows };
        // Only steps of one token are split.
        let n_parts = n_heads * (batch * n_splits).max(n_single);
        Ok(Work {
            n_rows,
            n_splits,
            x: wide(n_rows * hidden_size)?,
            kept: wide(batch * hidden_size)?,
            normed: of_format(n_rows * hidden_size)?,
            last: of_format(batch * hidden_size)?,
            qkv: of_format(n_rows * (q_size + 2 * kv_size))?,
            q: of_format(n_rows * q_size)?,
            attended: of_format(n_rows * q_size)?,
            gate_up: of_format(n_rows * 2 * intermediate_size)?,
            gated: of_format(n_rows * intermediate_size)?,
            sums: wide(n_parts * head_dim)?,
            scales: wide(n_parts * 2)?,
        })
    }

    fn heads(&self) -> HeadShape {
        let group = self.config.n_heads / self.config.n_kv_heads;
        HeadShape { dim: self.config.head_dim as u32, group: group as u32 }
    }

    fn attends_in_blocks(&self) -> bool {
        cuda::can_attend_in_blocks(self.format, self.config.head_dim)
    }

    /// RMSNorm of chosen rows of `x` into `to`.
    fn normed(&self, x: Span, weight: &Tensor, to: Span, rows: RowChoice) -> Result<()> {
        let (eps, size) = (self.config.rms_norm_eps as f32, (rows, self.config.hidden_size));
        let weight = self.context.span_of(weight)?;
        self.context.launch(&cuda::rms_norm(self.format, x, weight, to, size, eps))
    }

    /// Adds the attention of a block to the residual stream `x (N, C)`.
    fn attention(&self, block: &Block, pass: Pass, cache: LayerCache) -> Result<()> {
        let Pass { batch, n_tokens, work, .. } = pass;
        let n_rows = batch * n_tokens;
        let (q_size, kv_size) = (self.config.q_size(), self.config.kv_size());
        let (x, normed, qkv) = (work.x.span(), work.normed.span(), work.qkv.span());
        self.normed(x, &block.attention_norm, normed, RowChoice::all(n_rows))?;
        let matrix = self.context.span_of(&block.qkv)?;
        let size = (n_rows, q_size + 2 * kv_size, self.config.hidden_size);
        self.context.product(self.format, Product::Narrowed, matrix, normed, qkv, size)?;
        let rows = HeadRows {
            n_sequences: batch,
            n_tokens,
            n_q: self.config.n_heads,
            n_kv: self.config.n_kv_heads,
            dim: self.config.head_dim,
            first: 0,
        };
        self.rotate(block, qkv, rows, 0, pass, cache)?;
        let (q, to) = (work.q.span(), work.attended.span());
        self.attend(Queries { q, to, n_tokens, first: 0 }, pass, cache)?;
        self.add_product(&block.o, block.o_bias.as_ref(), to, x, (n_rows, q_size))
    }

    /// The same for the last layer: keys and values of all tokens, and the rest for the last token
    /// of each sequence alone, into `kept (B, C)`.
    fn last_attention(&self, block: &Block, pass: Pass, cache: LayerCache) -> Result<()> {
        let Pass { batch, n_tokens, work, .. } = pass;
        let (format, hidden) = (self.format, self.config.hidden_size);
        let (q_size, kv_size) = (self.config.q_size(), self.config.kv_size());
        let n_rows = batch * n_tokens;
        let (x, normed, qkv) = (work.x.span(), work.normed.span(), work.qkv.span());
        self.normed(x, &block.attention_norm, normed, RowChoice::all(n_rows))?;
        let matrix = self.context.span_of(&block.qkv)?;
        let row_bytes = hidden * cuda::bytes_of(format);
        let (of_q, of_kv) = (
            matrix.part(0, q_size * row_bytes),
            matrix.part(q_size * row_bytes, 2 * kv_size * row_bytes),
        );
        let size = (n_rows, 2 * kv_size, hidden);
        self.context.product(format, Product::Narrowed, of_kv, normed, qkv, size)?;
        let rows = HeadRows {
            n_sequences: batch,
            n_tokens,
            n_q: 0,
            n_kv: self.config.n_kv_heads,
            dim: self.config.head_dim,
            first: 0,
        };
        self.rotate(block, qkv, rows, q_size, pass, cache)?;

        let chosen = RowChoice::last_of(batch, n_tokens);
        let (last, kept) = (work.last.span(), work.kept.span());
        self.context.launch(&cuda::keep_elements(format, normed, last, (chosen, hidden)))?;
        self.context.launch(&cuda::keep_rows(x, kept, (chosen, hidden)))?;
        let size = (batch, q_size, hidden);
        self.context.product(format, Product::Narrowed, of_q, last, qkv, size)?;
        let first = n_tokens - 1;
        let (n_q, n_kv) = (self.config.n_heads, 0);
        let rows = HeadRows { n_tokens: 1, n_q, n_kv, first, ..rows };
        self.rotate(block, qkv, rows, 0, pass, cache)?;
        let (q, to) = (work.q.span(), work.attended.span());
        self.attend_single(Queries { q, to, n_tokens: 1, first }, pass, cache)?;
        self.add_product(&block.o, block.o_bias.as_ref(), to, kept, (batch, q_size))
    }

    /// Biases, norms and turns of heads, the first of which is `head_begin` numbers into a row.
    fn rotate(
        &self,
        block: &Block,
        x: Span,
        rows: HeadRows,
        head_begin: usize,
        pass: Pass,
        cache: LayerCache,
    ) -> Result<()> {
        let context = &self.context;
        let n = (rows.n_q + 2 * rows.n_kv) * rows.dim;
        let bias = match &block.qkv_bias {
            Some(bias) => Some(context.span_of(bias)?.part(head_begin * 4, n * 4)),
            None => None,
        };
        let norms = match &block.qk_norm {
            Some((q, k)) => Some(HeadNorms {
                q: context.span_of(q)?,
                k: context.span_of(k)?,
                eps: self.config.rms_norm_eps as f32,
            }),
            None => None,
        };
        let turns = Turns {
            cosines: context.span_of(&self.cosines)?,
            sines: context.span_of(&self.sines)?,
        };
        let q = Some(pass.work.q.span());
        context.launch(&cuda::rotate(
            self.format,
            x,
            rows,
            bias,
            norms,
            turns,
            pass.held.start.span(),
            q,
            cache,
        ))
    }

    /// Attention of all queries of a pass: in blocks where there are many.
    fn attend(&self, queries: Queries, pass: Pass, cache: LayerCache) -> Result<()> {
        match queries.n_tokens > 1 && self.attends_in_blocks() {
            true => self.context.launch(&cuda::attend_block(
                self.format,
                self.heads(),
                queries,
                cache,
                pass.held.start.span(),
            )),
            false => self.attend_single(queries, pass, cache),
        }
    }

    fn attend_single(&self, queries: Queries, pass: Pass, cache: LayerCache) -> Result<()> {
        // Many queries are blocks enough.
        let n_splits = if queries.n_tokens == 1 { pass.work.n_splits } else { 1 };
        let (sums, scales) = (pass.work.sums.span(), pass.work.scales.span());
        let parts = Parts { sums, scales, n_splits };
        let (format, heads) = (self.format, self.heads());
        for launch in
            cuda::attend_single(format, heads, queries, cache, pass.held.start.span(), parts)
        {
            self.context.launch(&launch)?;
        }
        Ok(())
    }

    /// Adds the feed-forward block, SwiGLU, to `x (rows, C)`.
    fn feed_forward(&self, block: &Block, work: &Work, x: Span, n_rows: usize) -> Result<()> {
        let context = &self.context;
        let DecoderConfig { hidden_size: hidden, intermediate_size: inner, .. } = self.config;
        let (normed, gated) = (work.normed.span(), work.gated.span());
        self.normed(x, &block.mlp_norm, normed, RowChoice::all(n_rows))?;
        let matrix = context.span_of(&block.gate_up)?;
        let bias = match &block.gate_up_bias {
            Some(bias) => Some(context.span_of(bias)?),
            None => None,
        };
        if n_rows <= PRODUCT_ROWS_MAX && cuda::can_multiply(self.format, hidden) {
            let (kind, size) = (Product::Gated, (n_rows, inner, hidden));
            let product = cuda::product(self.format, kind, matrix, normed, bias, gated, size);
            context.launch(&product)?;
        } else {
            let gate_up = work.gate_up.span();
            let size = (n_rows, 2 * inner, hidden);
            context.product(self.format, Product::Narrowed, matrix, normed, gate_up, size)?;
            let gate = cuda::swiglu(self.format, gate_up, bias, gated, (n_rows, inner));
            context.launch(&gate)?;
        }
        self.add_product(&block.down, block.down_bias.as_ref(), gated, x, (n_rows, inner))
    }

    /// Adds `from (rows, n_in)·Wᵀ` and a bias to `x (rows, C)`.
    fn add_product(
        &self,
        matrix: &Tensor,
        bias: Option<&Tensor>,
        from: Span,
        x: Span,
        (n_rows, n_in): (usize, usize),
    ) -> Result<()> {
        let (context, hidden) = (&self.context, self.config.hidden_size);
        let matrix = context.span_of(matrix)?;
        let size = (n_rows, hidden, n_in);
        context.product(self.format, Product::Added, matrix, from, x, size)?;
        match bias {
            Some(bias) => {
                let bias = context.span_of(bias)?;
                context.launch(&cuda::add_bias(x, bias, (n_rows, hidden)))
            }
            None => Ok(()),
        }
    }
}

impl StepParts {
    /// Makes logits not numbers, and picks tokens that no vocabulary has.
    fn spoil(&self, context: &Context) -> Result<()> {
        context.set_bytes(context.span_of(&self.logits)?, 0xff)?;
        context.set_bytes(context.span_of(&self.picks)?, 0xff)
    }

    /// A whole step: from the token to the next one, and on to the next position.
    fn launch(&self, context: &Context) -> Result<()> {
        let Self { decoder, held, work, token, logits, picks } = self;
        let (batch, vocab) = (token.dims()[0], decoder.config.vocab_size);
        let (of_token, of_logits) = (context.span_of(token)?, context.span_of(logits)?);
        let pass = Pass { batch, n_tokens: 1, work, held };
        decoder.pass(pass, of_token, of_logits)?;
        context.launch(&cuda::greatest(of_logits, of_token, (batch, vocab)))?;
        let (of_picks, size) = (context.span_of(picks)?, (held.n_positions, batch));
        context.launch(&cuda::advance_step(held.start.span(), of_token, of_picks, size))
    }
}

impl CudaCache {
    /// Sequences.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Positions that are filled, per sequence.
    pub fn len(&self) -> usize {
        self.len
    }

    fn filled(&mut self, n_tokens: usize) {
        self.len += n_tokens;
        self.n_written = self.n_written.max(self.len);
    }

    /// Forgets the positions from `len` on, and spoils what was ever written there.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn forget_from(&mut self, len: usize) -> Result<()> {
        if let Some(steps) = &mut self.steps {
            steps.ready = None;
            // A replay that does nothing must not leave the results of one before.
            steps.graph.of().spoil(&self.context)?;
        }
        self.len = self.len.min(len);
        if self.n_written > self.len {
            let shape = (self.batch_size * self.n_kv_heads, self.n_positions, self.head_dim);
            for memory in self.held.layers.iter().flat_map(|(keys, values)| [keys, values]) {
                let positions = self.len..self.n_written;
                self.context.launch(&cuda::spoil(self.format, memory.span(), shape, positions))?;
            }
            self.n_written = self.len;
        }
        Ok(())
    }
}

impl Block {
    fn new(config: &DecoderConfig, weights: &Weights, path: &str) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q_size, kv_size, dim) = (config.q_size(), config.kv_size(), config.head_dim);
        let matrix = |name: &str, n_out, n_in, role| {
            weights.tensor(&format!("{path}.{name}.weight"), &[n_out, n_in], role)
        };
        let bias =
            |name: &str, n_out| floats(weights, &format!("{path}.{name}.bias"), n_out, Role::Bias);
        let norm = |name: &str, n| floats(weights, &format!("{path}.{name}.weight"), n, Role::Norm);
        let joined = |parts: &[Tensor]| {
            Tensor::cat(parts, 0).map_err(Error::engine(format!("joining matrices of {path}")))
        };
        let biases = |has: bool, names: &[(&str, usize)]| -> Result<Option<Tensor>> {
            if !has {
                return Ok(None);
            }
            let parts: Vec<Tensor> =
                names.iter().map(|(name, n)| bias(name, *n)).collect::<Result<_>>()?;
            joined(&parts).map(Some)
        };
        let qkv = [
            ("self_attn.q_proj", q_size),
            ("self_attn.k_proj", kv_size),
            ("self_attn.v_proj", kv_size),
        ];
        let gate_up = [("mlp.gate_proj", inner), ("mlp.up_proj", inner)];
        let all = |names: &[(&str, usize)]| -> Result<Tensor> {
            let parts: Vec<Tensor> = names
                .iter()
                .map(|(name, n)| matrix(name, *n, hidden, Role::Linear))
                .collect::<Result<_>>()?;
            joined(&parts)
        };
        Ok(Self {
            attention_norm: norm("input_layernorm", hidden)?,
            qkv: all(&qkv)?,
            qkv_bias: biases(config.qkv_bias, &qkv)?,
            qk_norm: match config.qk_norm {
                true => Some((norm("self_attn.q_norm", dim)?, norm("self_attn.k_norm", dim)?)),
                false => None,
            },
            o: matrix("self_attn.o_proj", hidden, q_size, Role::ResidualLinear)?,
            o_bias: biases(config.o_bias, &[("self_attn.o_proj", hidden)])?,
            mlp_norm: norm("post_attention_layernorm", hidden)?,
            gate_up: all(&gate_up)?,
            gate_up_bias: biases(config.mlp_bias, &gate_up)?,
            down: matrix("mlp.down_proj", hidden, inner, Role::ResidualLinear)?,
            down_bias: biases(config.mlp_bias, &[("mlp.down_proj", hidden)])?,
        })
    }
}

/// The format of a decoder's numbers, if there are kernels for its heads in it.
fn format_of(config: &DecoderConfig, dtype: Dtype) -> Result<FloatFormat> {
    let none = |problem: String| Err(Error::NoKernels { problem });
    let format = match dtype {
        Dtype::F32 => FloatFormat::F32,
        Dtype::F16 => FloatFormat::F16,
        Dtype::BF16 => FloatFormat::Bf16,
        Dtype::Q8_0 | Dtype::Q4K => {
            return none(format!("there are none for {dtype} on an NVIDIA device"));
        }
    };
    let dim = config.head_dim;
    match cuda::can_attend(format, dim) {
        true => Ok(format),
        false => none(format!(
            "there are none for heads of {dim} numbers in {dtype} on an NVIDIA device"
        )),
    }
}

/// A tensor of one dimension, in f32.
fn floats(weights: &Weights, name: &str, n: usize, role: Role) -> Result<Tensor> {
    weights
        .tensor(name, &[n], role)?
        .to_dtype(DType::F32)
        .map_err(Error::engine(format!("reading tensor `{name}`")))
}
