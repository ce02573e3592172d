//! candle-transformers' own models, as a worker of the comparison with peers.
//!
//! `../workers/protocol.py` describes the protocol: one JSON object a line in, one out.

mod model;

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use candle_core::{D, DType, Device, Tensor};
use model::Model;
use serde::Deserialize;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Before a timed pass: enough to wake the threads and to touch every weight.
const N_WAKE_TOKENS: usize = 32;
const N_WAKE_STEPS: usize = 4;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Deserialize)]
struct Settings {
    /// A checkpoint directory, or a GGUF file.
    path: std::path::PathBuf,
    dtype: String,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    Prepare { depth: Vec<Vec<u32>> },
    Prefill { tokens: Vec<Vec<u32>>, min_seconds: f64 },
    Decode { tokens: Vec<Vec<u32>>, n_gen: usize, min_seconds: f64, max_seconds: f64 },
    Logits { tokens: Vec<u32>, n_single: usize },
}

/// A model with what is in its cache.
struct Engine {
    model: Model,
    /// The model with its cache filled up to the depth, where it can be cloned.
    filled: Option<Model>,
    depth: Vec<Vec<u32>>,
}

impl Engine {
    fn prepare(&mut self, depth: Vec<Vec<u32>>) -> Fallible<()> {
        self.depth = depth;
        self.filled = None;
        self.fill()?;
        self.filled = self.model.try_clone();
        Ok(())
    }

    fn n_depth(&self) -> usize {
        self.depth[0].len()
    }

    fn fill(&mut self) -> Fallible<()> {
        self.model.clear()?;
        if self.n_depth() > 0 {
            self.model.forward(&rows(&self.depth)?, 0)?;
        }
        Ok(())
    }

    /// Back to the depth, untimed.
    fn reset(&mut self) -> Fallible<()> {
        match self.filled.as_ref().and_then(Model::try_clone) {
            Some(filled) => self.model = filled,
            None => self.fill()?,
        }
        Ok(())
    }

    fn prefill(&mut self, prompt: &[Vec<u32>], min_seconds: f64) -> Fallible<Value> {
        let wake: Vec<_> =
            prompt.iter().map(|row| row[..row.len().min(N_WAKE_TOKENS)].to_vec()).collect();
        self.reset()?;
        self.model.forward(&rows(&wake)?, self.n_depth())?;
        let staged = rows(prompt)?;
        let (mut time, mut passes) = (Duration::ZERO, 0);
        while passes == 0 || time.as_secs_f64() < min_seconds {
            self.reset()?;
            let begin = Instant::now();
            self.model.forward(&staged, self.n_depth())?;
            time += begin.elapsed();
            passes += 1;
        }
        let n_tokens = passes * prompt.iter().map(Vec::len).sum::<usize>();
        Ok(json!({
            "seconds": time.as_secs_f64(), "passes": passes, "tokens": n_tokens, "cut": false,
        }))
    }

    fn decode(
        &mut self,
        first: &[Vec<u32>],
        n_gen: usize,
        min_seconds: f64,
        max_seconds: f64,
    ) -> Fallible<Value> {
        let limit = Duration::from_secs_f64(max_seconds);
        self.pass(first, n_gen.min(N_WAKE_STEPS), limit / 4)?;
        let (mut time, mut passes, mut steps) = (Duration::ZERO, 0, 0);
        while passes == 0 || (time.as_secs_f64() < min_seconds && steps == passes * n_gen) {
            let (pass_time, pass_steps) = self.pass(first, n_gen, limit)?;
            time += pass_time;
            steps += pass_steps;
            passes += 1;
        }
        Ok(json!({
            "seconds": time.as_secs_f64(),
            "passes": passes,
            "tokens": steps * first.len(),
            "cut": steps < passes * n_gen,
        }))
    }

    /// Steps, each a forward pass and its greedy pick, until there are `n_gen` or `limit` is over;
    /// how long they took and how many there were.
    fn pass(
        &mut self,
        first: &[Vec<u32>],
        n_gen: usize,
        limit: Duration,
    ) -> Fallible<(Duration, usize)> {
        self.reset()?;
        let mut next = rows(first)?;
        let begin = Instant::now();
        for step in 0..n_gen {
            let logits = self.model.forward(&next, self.n_depth() + step)?;
            next = logits.argmax(D::Minus1)?.unsqueeze(1)?; // (batch, 1)
            if begin.elapsed() > limit {
                return Ok((begin.elapsed(), step + 1));
            }
        }
        Ok((begin.elapsed(), n_gen))
    }

    fn logits(&mut self, tokens: &[u32], n_single: usize) -> Fallible<Value> {
        self.model.clear()?;
        self.filled = None;
        let n_first = tokens.len() - n_single;
        let mut logits = self.model.forward(&rows(&[tokens[..n_first].to_vec()])?, 0)?;
        for (i, &token) in tokens[n_first..].iter().enumerate() {
            logits = self.model.forward(&rows(&[vec![token]])?, n_first + i)?;
        }
        let logits = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(json!({ "logits": logits }))
    }

    fn answer(&mut self, request: Request) -> Fallible<Value> {
        match request {
            Request::Prepare { depth } => self.prepare(depth).map(|()| json!({})),
            Request::Prefill { tokens, min_seconds } => self.prefill(&tokens, min_seconds),
            Request::Decode { tokens, n_gen, min_seconds, max_seconds } => {
                self.decode(&tokens, n_gen, min_seconds, max_seconds)
            }
            Request::Logits { tokens, n_single } => self.logits(&tokens, n_single),
        }
    }
}

/// `(batch, n)` token ids.
fn rows(rows: &[Vec<u32>]) -> Fallible<Tensor> {
    let n = rows.first().map_or(0, Vec::len);
    Ok(Tensor::from_vec(rows.concat(), (rows.len(), n), &Device::Cpu)?)
}

fn open() -> Fallible<Engine> {
    let settings = std::env::args().nth(1).ok_or("the first argument is the settings, in JSON")?;
    let settings: Settings = serde_json::from_str(&settings)?;
    let model = Model::open(&settings.path, &settings.dtype)?;
    Ok(Engine { model, filled: None, depth: vec![Vec::new()] })
}

fn main() -> Fallible<()> {
    let mut engine = match open() {
        Ok(engine) => engine,
        Err(error) => {
            println!("{}", json!({ "error": error.to_string() }));
            return Ok(());
        }
    };
    println!(
        "{}",
        json!({ "ready": {
            "engine": "candle-transformers",
            "version": "candle-transformers 0.11.1",
            "build": format!(
                "avx2 {}, f16c {}",
                candle_core::utils::with_avx(),
                candle_core::utils::with_f16c()
            ),
            "settings": "its own models, mimalloc, AVX-512 in gemm, compiled for this processor",
        }})
    );
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|request| engine.answer(request))
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
