//! Properties of the decoder on random weights.

use benchinf::case::{DeviceSpec, Dtype, Kernels};
use benchinf::device::Device;
use benchinf::kernels::Threads;
use benchinf::model::weights::Weights;
use benchinf::model::{Decoder, DecoderConfig, ModelSource, ModelSpec, cost};
use candle_core::{DType, Tensor};
use proptest::prelude::*;

const SEED: u64 = 11;

fn spec(json: serde_json::Value) -> ModelSpec {
    let config = DecoderConfig::parse(&json.to_string(), "test").unwrap();
    ModelSpec { label: "test".into(), source: ModelSource::Builtin, config }
}

fn decoder(spec: &ModelSpec, kernels: Kernels, dtype: Dtype) -> Decoder {
    let device = Device::open(DeviceSpec::Cpu).unwrap();
    let weights = Weights::open(spec, SEED, dtype, device.engine()).unwrap();
    Decoder::new(kernels, &spec.config, &weights, spec.config.n_positions()).unwrap()
}

/// Logits after `rows` of tokens, computed in passes of the given lengths.
fn logits(decoder: &Decoder, rows: &[Vec<u32>], passes: &[usize]) -> Vec<Vec<f32>> {
    let device = candle_core::Device::Cpu;
    let mut cache = decoder.cache(rows.len(), decoder.n_positions()).unwrap();
    let mut logits = None;
    let mut start = 0;
    for &n in passes {
        let tokens: Vec<u32> = rows.iter().flat_map(|row| row[start..start + n].to_vec()).collect();
        let tokens = Tensor::from_vec(tokens, (rows.len(), n), &device).unwrap();
        logits = Some(decoder.forward(&tokens, &mut cache).unwrap());
        start += n;
    }
    assert_eq!((start, cache.len()), (rows[0].len(), rows[0].len()));
    logits.unwrap().to_dtype(DType::F32).unwrap().to_vec2().unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut b.iter().map(|&b| f64::from(b)))
}

fn shape() -> impl Strategy<Value = ModelSpec> {
    let family = prop::sample::select(vec!["llama", "mistral", "qwen2", "qwen3"]);
    (family, 1_usize..4, 1_usize..4, 1_usize..9, any::<bool>(), 5_usize..40).prop_map(
        |(family, kv_heads, group, half_head, tied, width)| {
            spec(serde_json::json!({
                "model_type": family, "vocab_size": 31, "hidden_size": width,
                "intermediate_size": width + 7, "num_hidden_layers": 2,
                "num_attention_heads": kv_heads * group, "num_key_value_heads": kv_heads,
                "head_dim": 2 * half_head, "max_position_embeddings": 300,
                "rms_norm_eps": 1e-5, "tie_word_embeddings": tied,
            }))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A prompt in one pass, in two, or token by token: the same logits. Lengths go beyond one
    /// block of attention, and the second sequence must not leak into the first.
    #[test]
    fn any_split_and_batch_gives_the_same_logits(
        spec in shape(),
        kernels in prop::sample::select(vec![Kernels::Fused, Kernels::Stock]),
        n_tokens in 1_usize..280,
        cut in 0.0_f64..1.0,
    ) {
        let decoder = decoder(&spec, kernels, Dtype::F32);
        let row = |salt: u32| (0..n_tokens as u32).map(|i| (i * i + salt * 7 + 3) % 31).collect();
        let rows: Vec<Vec<u32>> = vec![row(0), row(1)];
        let whole = logits(&decoder, &rows, &[n_tokens]);
        let cut = ((n_tokens as f64 * cut) as usize).max(1);
        let split: Vec<usize> = [cut, n_tokens - cut].into_iter().filter(|&n| n > 0).collect();
        let parts = logits(&decoder, &rows, &split);
        let alone = logits(&decoder, &rows[..1], &[n_tokens]);
        for (a, b) in [(&parts[0], &whole[0]), (&parts[1], &whole[1]), (&alone[0], &whole[0])] {
            prop_assert!(distance(a, b) < 1e-5, "{:e}", distance(a, b));
        }
        prop_assert!(distance(&whole[0], &whole[1]) > 1e-3 || n_tokens == 1);
        if n_tokens <= 12 {
            let steps = logits(&decoder, &rows, &vec![1; n_tokens]);
            prop_assert!(distance(&steps[1], &whole[1]) < 1e-5);
        }
    }

    /// Our own kernels compute what the engine's operations do, on the same weights.
    #[test]
    fn kernels_agree(spec in shape(), n_tokens in 1_usize..150, n_more in 0_usize..3) {
        let rows: Vec<Vec<u32>> = [3, 10]
            .map(|salt| (0..(n_tokens + n_more) as u32).map(|i| (i * i + salt) % 31).collect())
            .into();
        let passes: Vec<usize> = std::iter::once(n_tokens).chain(vec![1; n_more]).collect();
        // In f32: with a few numbers to a layer, the rounding of half formats is not averaged out.
        // Those are held to f32 on a real shape below, and to transformers in `golden.rs`.
        let [fused, stock] = [Kernels::Fused, Kernels::Stock]
            .map(|kernels| logits(&decoder(&spec, kernels, Dtype::F32), &rows, &passes));
        for (fused, stock) in fused.iter().zip(&stock) {
            prop_assert!(distance(fused, stock) < 1e-5, "{:e}", distance(fused, stock));
        }
    }
}

#[test]
fn picks_are_those_of_the_engine() {
    let tiny = ModelSpec::resolve("tiny").unwrap();
    let [fused, stock] =
        [Kernels::Fused, Kernels::Stock].map(|kernels| decoder(&tiny, kernels, Dtype::F32));
    let values = benchinf::model::random::Stream::new(1, "logits").bells::<f32>(3 * 512, 0.0, 1.0);
    let logits = Tensor::from_vec(values, (3, 512), &candle_core::Device::Cpu).unwrap();
    let picks = |decoder: &Decoder| decoder.pick(&logits).unwrap().to_vec2::<u32>().unwrap();
    assert_eq!(picks(&fused), picks(&stock));
}

#[test]
fn weights_are_counted_as_they_are_loaded() {
    for family in ["llama", "mistral", "qwen2", "qwen3"] {
        for tied in [true, false] {
            let spec = spec(serde_json::json!({
                "model_type": family, "vocab_size": 31, "hidden_size": 24,
                "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 6,
                "num_key_value_heads": 3, "head_dim": 10, "max_position_embeddings": 8,
                "rms_norm_eps": 1e-5, "tie_word_embeddings": tied, "attention_bias": true,
                "mlp_bias": true,
            }));
            let weights =
                Weights::open(&spec, SEED, Dtype::F32, &candle_core::Device::Cpu).unwrap();
            for (n, kernels) in [Kernels::Fused, Kernels::Stock].into_iter().enumerate() {
                Decoder::new(kernels, &spec.config, &weights, 8).unwrap();
                let wanted = (n as u64 + 1) * cost::n_params(&spec.config);
                assert_eq!(weights.n_given(), wanted, "{family} {tied} {kernels}");
            }
        }
    }
}

/// Wide enough that a single row's product is split over threads.
fn wide() -> ModelSpec {
    spec(serde_json::json!({
        "model_type": "qwen2", "vocab_size": 3000, "hidden_size": 300, "intermediate_size": 701,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    }))
}

#[test]
fn threads_change_no_more_than_the_order_of_sums() {
    let rows = vec![(0..9).map(|i| i * 337 % 3000).collect::<Vec<u32>>()];
    let tolerances = [(Dtype::F32, 1e-5), (Dtype::F16, 5e-3), (Dtype::BF16, 4e-2)];
    let codes = [Kernels::Fused, Kernels::Stock];
    let all = codes.into_iter().flat_map(|kernels| tolerances.map(|(d, t)| (kernels, d, t)));
    for (kernels, dtype, tolerance) in all {
        let mut threads = Threads::default();
        let mut run = |n: u32, passes: &[usize]| {
            let run = || logits(&decoder(&wide(), kernels, dtype), &rows, passes);
            threads.run(n, run).unwrap().remove(0)
        };
        let one = run(1, &[9]);
        for n in [1, 2, 3, 7] {
            // In one pass, and with the last tokens alone, whose products are split.
            for passes in [&[9][..], &[7, 1, 1][..]] {
                let distance = distance(&run(n, passes), &one);
                assert!(distance < tolerance, "{kernels} {dtype} on {n} threads: {distance:e}");
            }
        }
    }
}

#[test]
fn half_formats_stay_close_to_f32() {
    let tiny = ModelSpec::resolve("tiny").unwrap();
    let rows = vec![(0..300).map(|i| i * 31 % 512).collect::<Vec<u32>>()];
    for kernels in [Kernels::Fused, Kernels::Stock] {
        let of = |dtype| logits(&decoder(&tiny, kernels, dtype), &rows, &[299, 1]).remove(0);
        let exact = of(Dtype::F32);
        for (dtype, tolerance) in [(Dtype::F16, 5e-3), (Dtype::BF16, 4e-2)] {
            let distance = distance(&of(dtype), &exact);
            assert!(distance < tolerance, "{kernels} {dtype}: {distance:e}");
        }
    }
}

/// Both codes hold the same numbers, and differ in how they round activations to bytes. Rounding
/// grows from layer to layer of random weights: bf16 is 0.012 from f32 here, and the steps of q8_0
/// are four times as large, those of q4_k eighty times.
#[test]
fn quantised_formats_agree_and_stay_close_to_f32() {
    let spec = spec(serde_json::json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 256, "intermediate_size": 768,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 300, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    }));
    let rows = vec![(0..120).map(|i| i * 31 % 512).collect::<Vec<u32>>()];
    let of = |kernels, dtype| logits(&decoder(&spec, kernels, dtype), &rows, &[119, 1]).remove(0);
    let exact = of(Kernels::Fused, Dtype::F32);
    for (dtype, of_codes, of_f32) in [(Dtype::Q8_0, 0.05, 0.1), (Dtype::Q4K, 0.05, 0.6)] {
        let [fused, stock] = [Kernels::Fused, Kernels::Stock].map(|kernels| of(kernels, dtype));
        let distances = [distance(&fused, &stock), distance(&fused, &exact)];
        assert!(distances[0] < of_codes && distances[1] < of_f32, "{dtype}: {distances:?}");
    }
}

/// No width need be a multiple of a block, but for the engine's.
#[test]
fn quantised_formats_take_any_width() {
    let rows = vec![(0..9).map(|i| i * 337 % 3000).collect::<Vec<u32>>()];
    let exact = logits(&decoder(&wide(), Kernels::Fused, Dtype::F32), &rows, &[9]).remove(0);
    for (dtype, tolerance) in [(Dtype::Q8_0, 0.1), (Dtype::Q4K, 0.6)] {
        let decoder = decoder(&wide(), Kernels::Fused, dtype);
        for passes in [&[9][..], &[4, 4, 1]] {
            let distance = distance(&logits(&decoder, &rows, passes).remove(0), &exact);
            assert!(distance < tolerance, "{dtype}: {distance:e}");
        }
        let device = Device::open(DeviceSpec::Cpu).unwrap();
        let weights = Weights::open(&wide(), SEED, dtype, device.engine()).unwrap();
        let stock = Decoder::new(Kernels::Stock, &wide().config, &weights, 9);
        assert!(stock.unwrap_err().to_string().contains("quantising weights"));
    }
}
