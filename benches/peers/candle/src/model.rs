//! candle-transformers' models behind one face.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    llama, quantized_llama, quantized_qwen2, quantized_qwen3, qwen2, qwen3,
};
use serde::Deserialize;

use crate::Fallible;

/// A model and its KV cache.
pub enum Model {
    Llama { model: llama::Llama, cache: llama::Cache, config: llama::Config, dtype: DType },
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    QuantizedLlama(quantized_llama::ModelWeights),
    QuantizedQwen2(Box<quantized_qwen2::ModelWeights>),
    QuantizedQwen3(quantized_qwen3::ModelWeights),
}

#[derive(Deserialize)]
struct Family {
    model_type: String,
}

/// Where a tensor lies in a safetensors file; `__metadata__` is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Tensor { shape: Vec<usize>, data_offsets: (usize, usize) },
    Other(serde::de::IgnoredAny),
}

/// The tensors of an f32 checkpoint in a format. candle reads such a file whole or maps it with
/// `unsafe`; this holds one tensor twice at most.
fn read_tensors(path: &Path, dtype: DType) -> Fallible<HashMap<String, Tensor>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut header = vec![0; usize::try_from(u64::from_le_bytes(length))?];
    file.read_exact(&mut header)?;
    let entries: HashMap<String, Entry> = serde_json::from_slice(&header)?;
    let mut entries: Vec<_> = entries
        .into_iter()
        .filter_map(|(name, entry)| match entry {
            Entry::Tensor { shape, data_offsets } => Some((data_offsets, name, shape)),
            Entry::Other(_) => None,
        })
        .collect();
    // One after another, as they lie.
    entries.sort_unstable();
    let mut tensors = HashMap::new();
    for ((begin, end), name, shape) in entries {
        let mut bytes = vec![0; end - begin];
        file.read_exact(&mut bytes)?;
        let tensor = Tensor::from_raw_buffer(&bytes, DType::F32, &shape, &Device::Cpu)?;
        tensors.insert(name, tensor.to_dtype(dtype)?);
    }
    Ok(tensors)
}

impl Model {
    /// Opens a checkpoint directory in a format, or a GGUF file.
    pub fn open(path: &Path, dtype: &str) -> Fallible<Self> {
        if path.is_dir() { Self::checkpoint(path, dtype) } else { Self::gguf(path) }
    }

    fn checkpoint(directory: &Path, dtype: &str) -> Fallible<Self> {
        let dtype = match dtype {
            "f32" => DType::F32,
            "f16" => DType::F16,
            "bf16" => DType::BF16,
            other => return Err(format!("candle reads no checkpoint as {other}").into()),
        };
        let config = std::fs::read_to_string(directory.join("config.json"))?;
        let tensors = read_tensors(&directory.join("model.safetensors"), dtype)?;
        let builder = VarBuilder::from_tensors(tensors, dtype, &Device::Cpu);
        Ok(match serde_json::from_str::<Family>(&config)?.model_type.as_str() {
            "llama" | "mistral" => {
                let config: llama::LlamaConfig = serde_json::from_str(&config)?;
                let config = config.into_config(false);
                let cache = llama::Cache::new(true, dtype, &config, &Device::Cpu)?;
                Self::Llama { model: llama::Llama::load(builder, &config)?, cache, config, dtype }
            }
            "qwen2" => {
                let config: qwen2::Config = serde_json::from_str(&config)?;
                Self::Qwen2(qwen2::ModelForCausalLM::new(&config, builder)?)
            }
            "qwen3" => {
                let config: qwen3::Config = serde_json::from_str(&config)?;
                Self::Qwen3(qwen3::ModelForCausalLM::new(&config, builder)?)
            }
            other => return Err(format!("this worker has no model for the family {other}").into()),
        })
    }

    fn gguf(path: &Path) -> Fallible<Self> {
        let mut file = File::open(path)?;
        let content = gguf_file::Content::read(&mut file)?;
        let family = content
            .metadata
            .get("general.architecture")
            .ok_or("the GGUF file names no architecture")?
            .to_string()?
            .clone();
        let cpu = &Device::Cpu;
        Ok(match family.as_str() {
            "llama" => Self::QuantizedLlama(quantized_llama::ModelWeights::from_gguf(
                content, &mut file, cpu,
            )?),
            "qwen2" => Self::QuantizedQwen2(Box::new(quantized_qwen2::ModelWeights::from_gguf(
                content, &mut file, cpu,
            )?)),
            "qwen3" => Self::QuantizedQwen3(quantized_qwen3::ModelWeights::from_gguf(
                content, &mut file, cpu,
            )?),
            other => return Err(format!("this worker has no model for the family {other}").into()),
        })
    }

    /// A second handle on the same weights, with a cache of its own that holds the same; none
    /// where candle has no such thing.
    pub fn try_clone(&self) -> Option<Self> {
        Some(match self {
            Self::Llama { model, cache, config, dtype } => Self::Llama {
                model: model.clone(),
                cache: cache.clone(),
                config: config.clone(),
                dtype: *dtype,
            },
            Self::Qwen2(model) => Self::Qwen2(model.clone()),
            Self::Qwen3(model) => Self::Qwen3(model.clone()),
            Self::QuantizedLlama(model) => Self::QuantizedLlama(model.clone()),
            Self::QuantizedQwen2(_) => return None,
            Self::QuantizedQwen3(model) => Self::QuantizedQwen3(model.clone()),
        })
    }

    /// Empties the cache.
    pub fn clear(&mut self) -> Fallible<()> {
        match self {
            Self::Llama { cache, config, dtype, .. } => {
                *cache = llama::Cache::new(true, *dtype, config, &Device::Cpu)?;
            }
            Self::Qwen2(model) => model.clear_kv_cache(),
            Self::Qwen3(model) => model.clear_kv_cache(),
            Self::QuantizedLlama(model) => model.clear_kv_cache(),
            Self::QuantizedQwen2(model) => model.clear_kv_cache(),
            Self::QuantizedQwen3(model) => model.clear_kv_cache(),
        }
        Ok(())
    }

    /// `(batch, n)` token ids at positions from `position` on to the `(batch, vocabulary)` logits
    /// of the last one.
    pub fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        let logits = match self {
            Self::Llama { model, cache, .. } => model.forward(tokens, position, cache),
            Self::Qwen2(model) => model.forward(tokens, position),
            Self::Qwen3(model) => model.forward(tokens, position),
            Self::QuantizedLlama(model) => model.forward(tokens, position),
            Self::QuantizedQwen2(model) => model.forward(tokens, position),
            Self::QuantizedQwen3(model) => model.forward(tokens, position),
        }?;
        // Some keep the position they cut down to as a dimension of 1.
        if logits.rank() == 3 { logits.squeeze(1) } else { Ok(logits) }
    }
}
