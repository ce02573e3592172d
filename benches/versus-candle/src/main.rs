//! This decoder and candle-transformers' on the same shape, weights and threads, interleaved in
//! one process.
//!
//! ```text
//! cargo run --release --manifest-path benches/versus-candle/Cargo.toml --target-dir target -- \
//!     [MODEL] [DTYPE] [N_PROMPT] [N_GEN] [ROUNDS]
//! ```
//!
//! Prints each round's tokens per second and the median ratio, after checking that both give
//! the same logits.

use std::time::Instant;

use benchinf::case::{Case, DeviceSpec};
use benchinf::case::{Dtype, Test};
use benchinf::device::{Device, engine_dtype};
use benchinf::kernels::Threads;
use benchinf::measure::Workload;
use benchinf::model::weights::{Role, Weights};
use benchinf::model::{Decoder, ModelSpec, builtin};
use benchinf::workload::{Inference, Session, TokenStream};
use benchinf::{result, stats};
use candle_core::{D, DType, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};

// The allocator that benchinf itself uses, for both arms.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 0;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Gives candle-transformers the very weights that our decoder has.
struct SameWeights(Weights);

impl SimpleBackend for SameWeights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        _: DType,
        _: &candle_core::Device,
    ) -> candle_core::Result<Tensor> {
        let role = match name {
            name if name.contains("embed_tokens") => Role::Embedding,
            name if name.contains("norm") => Role::Norm,
            name if name.contains("o_proj") || name.contains("down_proj") => Role::ResidualLinear,
            _ => Role::Linear,
        };
        self.0.tensor(name, shape.dims(), role).map_err(candle_core::Error::wrap)
    }

    fn get_unchecked(
        &self,
        name: &str,
        _: DType,
        _: &candle_core::Device,
    ) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of {name} is not known")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

struct Peer {
    llama: Llama,
    config: Config,
    dtype: DType,
}

impl Peer {
    /// Seconds of a prefill, its logits, and seconds of the decode steps that follow.
    fn run(&self, prompt: &Tensor, n_gen: usize) -> candle_core::Result<(f64, Tensor, f64)> {
        let cpu = candle_core::Device::Cpu;
        let mut cache = Cache::new(true, self.dtype, &self.config, &cpu)?;
        let begin = Instant::now();
        let logits = self.llama.forward(prompt, 0, &mut cache)?;
        let prefill = begin.elapsed().as_secs_f64();

        let mut cache = Cache::new(true, self.dtype, &self.config, &cpu)?;
        let mut next = prompt.narrow(1, 0, 1)?;
        let begin = Instant::now();
        for position in 0..n_gen {
            let logits = self.llama.forward(&next, position, &mut cache)?;
            next = logits.argmax(D::Minus1)?.unsqueeze(1)?;
        }
        Ok((prefill, logits, begin.elapsed().as_secs_f64()))
    }
}

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "llama-3.2-1b".into());
    let dtype: Dtype = args.next().unwrap_or_else(|| "f32".into()).parse()?;
    let mut number = |default: u32| args.next().map_or(Ok(default), |text| text.parse());
    let (n_prompt, n_gen, rounds) = (number(512)?, number(32)?, number(5)?);

    let n_threads = result::physical_cores();
    let spec = ModelSpec::resolve(&model)?;
    println!("{model} {dtype}, {n_threads} threads, pp{n_prompt} and tg{n_gen}, {rounds} rounds");
    Threads::default()
        .run(n_threads, || compare(&spec, dtype, n_threads, n_prompt, n_gen, rounds))?
}

fn compare(
    spec: &ModelSpec,
    dtype: Dtype,
    n_threads: u32,
    n_prompt: u32,
    n_gen: u32,
    rounds: u32,
) -> Fallible<()> {
    let device = Device::open(DeviceSpec::Cpu)?;
    let weights = || Weights::open(spec, SEED, dtype, device.engine());
    let decoder = Decoder::new(&spec.config, &weights()?, n_prompt.max(n_gen) as usize)?;
    let json = builtin::find(&spec.label).ok_or("name a built-in model")?.config_json;
    let config = serde_json::from_str::<LlamaConfig>(json)?.into_config(false);
    let engine_dtype = engine_dtype(dtype);
    let builder = VarBuilder::from_backend(
        Box::new(SameWeights(weights()?)),
        engine_dtype,
        device.engine().clone(),
    );
    let peer = Peer { llama: Llama::load(builder, &config)?, config, dtype: engine_dtype };

    let case = |test| Case {
        model: spec.label.clone(),
        dtype,
        device: DeviceSpec::Cpu,
        n_threads,
        test,
        n_depth: 0,
        batch_size: 1,
    };
    let (prefill, decode) = (case(Test::Prefill { n_prompt }), case(Test::Decode { n_gen }));
    let mut session = Session::new(&decoder, 1, u64::from(n_prompt.max(n_gen)))?;
    let prompt = TokenStream::new(SEED, spec.config.vocab_size).rows(1, 0, n_prompt);
    let prompt = Tensor::from_vec(prompt, (1, n_prompt as usize), device.engine())?;
    let mut ours = |case: &Case| -> Fallible<(f64, Tensor)> {
        let mut inference = Inference::new(case, SEED, &decoder, &mut session, &device, &|| false)?
            .ok_or("interrupted")?;
        inference.reset()?;
        let begin = Instant::now();
        for _ in 0..inference.iterations_per_pass() {
            inference.iterate()?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok((seconds, inference.logits().ok_or("no logits")?.clone()))
    };

    let (_, our_logits) = ours(&prefill)?; // Also both sides' warm-up.
    ours(&decode)?;
    let (_, peer_logits, _) = peer.run(&prompt, n_gen as usize)?;
    println!("relative difference of logits: {:.1e}", difference(&our_logits, &peer_logits)?);

    let (mut prefill_ratios, mut decode_ratios) = (Vec::new(), Vec::new());
    println!(
        "{:>5} {:>12} {:>12} {:>12} {:>12}",
        "round", "pp ours", "pp candle", "tg ours", "tg candle"
    );
    for round in 0..rounds {
        // The arm that goes first changes, or drift within a round would favour one side.
        let ours_first = round % 2 == 0;
        let mut our = if ours_first { Some((ours(&prefill)?.0, ours(&decode)?.0)) } else { None };
        let (peer_prefill, _, peer_decode) = peer.run(&prompt, n_gen as usize)?;
        if our.is_none() {
            our = Some((ours(&prefill)?.0, ours(&decode)?.0));
        }
        let Some((our_prefill, our_decode)) = our else { unreachable!("one of the two ran") };
        println!(
            "{round:>5} {:>12.1} {:>12.1} {:>12.2} {:>12.2}",
            f64::from(n_prompt) / our_prefill,
            f64::from(n_prompt) / peer_prefill,
            f64::from(n_gen) / our_decode,
            f64::from(n_gen) / peer_decode,
        );
        prefill_ratios.push(peer_prefill / our_prefill);
        decode_ratios.push(peer_decode / our_decode);
    }
    let median = |ratios: &[f64]| stats::median(ratios).unwrap_or(f64::NAN);
    println!(
        "ours / candle-transformers, median: prefill {:.2}, decode {:.2}",
        median(&prefill_ratios),
        median(&decode_ratios)
    );
    Ok(())
}

/// ‖a − b‖ / ‖b‖.
fn difference(a: &Tensor, b: &Tensor) -> candle_core::Result<f64> {
    let vector = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (a, b) = (vector(a)?, vector(b)?);
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    Ok(norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()))
}
