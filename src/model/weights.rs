//! Where a decoder's tensors come from.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use half::{bf16, f16};

use crate::case::Dtype;
use crate::device::engine_dtype;
use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::decoder::StockDecoder;
use crate::model::random::Stream;
use crate::model::{ModelSource, ModelSpec};

/// What a tensor does, which decides how random weights are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows looked up by token.
    Embedding,
    /// A matrix product, `(out, in)`.
    Linear,
    /// A matrix product whose result is added to the residual stream.
    ResidualLinear,
    /// Added to a product.
    Bias,
    /// The scale of an RMSNorm.
    Norm,
}

/// Gives tensors by name.
#[derive(Debug)]
pub struct Weights {
    source: Source,
    dtype: Dtype,
    device: Device,
    n_layers: usize,
    n_given: AtomicU64,
}

#[derive(Debug)]
enum Source {
    Random {
        seed: u64,
    },
    Checkpoint(Checkpoint),
    /// Looks every tensor up without reading it.
    CheckOnly(Checkpoint),
}

impl Weights {
    /// The weights of a model. `seed` is used where the model has none of its own.
    ///
    /// # Errors
    /// What is wrong with a checkpoint's files.
    pub fn open(spec: &ModelSpec, seed: u64, dtype: Dtype, device: &Device) -> Result<Self> {
        let source = match &spec.source {
            ModelSource::Builtin | ModelSource::Config(_) => Source::Random { seed },
            ModelSource::Checkpoint(directory) => Source::Checkpoint(Checkpoint::open(directory)?),
        };
        Ok(Self {
            source,
            dtype,
            device: device.clone(),
            n_layers: spec.config.n_layers,
            n_given: AtomicU64::new(0),
        })
    }

    /// Makes sure that a checkpoint has every tensor of its configuration, in its shape, without
    /// reading any; nothing to do for random weights.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Weights::tensor`].
    pub fn check(spec: &ModelSpec) -> Result<()> {
        let ModelSource::Checkpoint(directory) = &spec.source else { return Ok(()) };
        let weights = Self {
            source: Source::CheckOnly(Checkpoint::open(directory)?),
            dtype: Dtype::F32,
            device: Device::Cpu,
            n_layers: spec.config.n_layers,
            n_given: AtomicU64::new(0),
        };
        // What is needed is what the decoder asks for.
        StockDecoder::new(&spec.config, &weights, 1).map(drop)
    }

    /// SHA-256 over a checkpoint's weight files, in hexadecimal; none for random weights, which
    /// follow from shape and seed.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn sha256(spec: &ModelSpec) -> Result<Option<String>> {
        match &spec.source {
            ModelSource::Builtin | ModelSource::Config(_) => Ok(None),
            ModelSource::Checkpoint(directory) => Checkpoint::open(directory)?.sha256().map(Some),
        }
    }

    /// The format that a decoder is to hold them in. Tensors are given in f32 where that is one
    /// of blocks.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Where tensors are put.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many weights have been given so far.
    pub fn n_given(&self) -> u64 {
        self.n_given.load(Ordering::Relaxed)
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], or what is wrong with the file.
    pub fn tensor(&self, name: &str, shape: &[usize], role: Role) -> Result<Tensor> {
        self.n_given.fetch_add(shape.iter().product::<usize>() as u64, Ordering::Relaxed);
        match &self.source {
            Source::Random { seed } => self.draw(*seed, name, shape, role),
            Source::Checkpoint(checkpoint) => {
                checkpoint.tensor(name, shape, engine_dtype(self.dtype), &self.device)
            }
            Source::CheckOnly(checkpoint) => {
                checkpoint.check(name, shape)?;
                // One element seen many times: the shape without the memory.
                Tensor::zeros((), engine_dtype(self.dtype), &self.device)
                    .and_then(|zero| zero.broadcast_as(shape))
                    .map_err(Error::engine(format!("checking tensor `{name}`")))
            }
        }
    }

    /// Random weights with the spread that trained ones have: a product keeps the size of its
    /// input (1/√in, which for SmolLM2 and Llama is their own `initializer_range` within a
    /// third), those that feed the residual stream are divided by the root of the number of
    /// times they are added up, and norms stay near 1. Activations then neither die nor
    /// overflow, at any depth and in any format.
    fn draw(&self, seed: u64, name: &str, shape: &[usize], role: Role) -> Result<Tensor> {
        let fan_in = *shape.last().unwrap_or(&1) as f32;
        let (mean, stddev) = match role {
            Role::Embedding => (0.0, 0.02),
            Role::Linear => (0.0, 1.0 / fan_in.sqrt()),
            Role::ResidualLinear => (0.0, 1.0 / (fan_in * 2.0 * self.n_layers as f32).sqrt()),
            Role::Bias => (0.0, 0.02),
            Role::Norm => (1.0, 0.05),
        };
        let stream = Stream::new(seed, name);
        let len = shape.iter().product();
        let tensor = match self.dtype {
            Dtype::F32 | Dtype::Q8_0 | Dtype::Q4K => {
                Tensor::from_vec(stream.bells::<f32>(len, mean, stddev), shape, &self.device)
            }
            Dtype::F16 => {
                Tensor::from_vec(stream.bells::<f16>(len, mean, stddev), shape, &self.device)
            }
            Dtype::BF16 => {
                Tensor::from_vec(stream.bells::<bf16>(len, mean, stddev), shape, &self.device)
            }
        };
        tensor.map_err(Error::engine(format!("drawing tensor `{name}`")))
    }
}
