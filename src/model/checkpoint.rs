//! A Hugging Face checkpoint directory: `model.safetensors`, or an index with shards.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::kernels::FileMap;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// An open checkpoint: headers read and checked, tensors still on disk.
#[derive(Debug)]
pub struct Checkpoint {
    directory: PathBuf,
    shards: Vec<Shard>,
    /// Which shard has a tensor.
    shard_of: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where tensor data begins.
    data_start: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Checkpoint {
    /// Opens a directory and checks every file's header against its length.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Checkpoint`] with the file's path.
    pub fn open(directory: &Path) -> Result<Self> {
        let index = directory.join(INDEX);
        let names = if index.is_file() {
            shard_names(&index)?
        } else if directory.join(SINGLE).is_file() {
            vec![SINGLE.to_owned()]
        } else {
            return Err(Error::Checkpoint {
                path: directory.into(),
                problem: format!(
                    "there is neither {SINGLE} nor {INDEX} here; give the path of config.json \
                     alone to run its shape with random weights"
                ),
            });
        };
        let shards: Vec<Shard> =
            names.iter().map(|name| Shard::open(directory.join(name))).collect::<Result<_>>()?;
        let mut shard_of = HashMap::new();
        for (shard_idx, shard) in shards.iter().enumerate() {
            for name in shard.metadata.offset_keys() {
                shard_of.insert(name, shard_idx);
            }
        }
        Ok(Self { directory: directory.into(), shards, shard_of })
    }

    /// SHA-256 over the names and contents of all weight files, in hexadecimal. Reads all of them.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn sha256(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for shard in &self.shards {
            let name = shard.path.file_name().unwrap_or_default();
            let map = FileMap::new(&shard.file).map_err(Error::read(&shard.path))?;
            hasher.update(name.as_encoded_bytes());
            hasher.update((map.len() as u64).to_le_bytes());
            // In pieces, so that pages already read can go again.
            map.chunks(1 << 20).for_each(|piece| hasher.update(piece));
        }
        Ok(hex::encode(hasher.finalize()))
    }

    /// Makes sure that a tensor is there, in a shape and format that can be read.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::Checkpoint`].
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.find(name, shape).map(drop)
    }

    /// Copies a tensor to the device in the format wanted. The file is mapped for the length of
    /// the copy, so that no more than one tensor is ever resident twice.
    ///
    /// # Errors
    /// As [`Checkpoint::check`], and [`Error::Read`].
    pub fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let (shard, stored, (start, end)) = self.find(name, shape)?;
        let map = FileMap::new(&shard.file).map_err(Error::read(&shard.path))?;
        // The header was checked against the file's length when it was opened; a file that has
        // shrunk since then gives a shorter map.
        let bytes = map
            .get(shard.data_start + start..shard.data_start + end)
            .ok_or_else(|| shard.problem("the file has shrunk while it was read".into()))?;
        Tensor::from_raw_buffer(bytes, stored, shape, device)
            .and_then(|tensor| tensor.to_dtype(dtype))
            .map_err(Error::engine(format!("loading tensor `{name}`")))
    }

    /// A tensor's shard, stored format, and place in the shard's data.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(&Shard, DType, (usize, usize))> {
        let found = self
            .shard_of
            .get(name)
            .map(|&idx| &self.shards[idx])
            .and_then(|shard| Some((shard, shard.metadata.info(name)?)));
        let Some((shard, info)) = found else {
            return Err(Error::MissingTensor { path: self.directory.clone(), tensor: name.into() });
        };
        if info.shape != shape {
            return Err(Error::TensorShape {
                path: shard.path.clone(),
                tensor: name.into(),
                found: info.shape.clone(),
                expected: shape.into(),
            });
        }
        let stored = match info.dtype {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            other => {
                return Err(shard.problem(format!(
                    "tensor `{name}` is stored as {other:?}; F32, F16 and BF16 can be read"
                )));
            }
        };
        Ok((shard, stored, info.data_offsets))
    }
}

/// The files that an index names, each once, in a fixed order.
fn shard_names(index: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(index).map_err(Error::read(index))?;
    let problem = |problem: String| Error::Checkpoint { path: index.into(), problem };
    let index: Index = serde_json::from_str(&text)
        .map_err(|e| problem(format!("this is not a safetensors index: {e}")))?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    // An index must not reach outside its directory.
    if let Some(name) = names.iter().find(|name| Path::new(name).components().count() != 1) {
        return Err(problem(format!("`{name}` is not the name of a file in this directory")));
    }
    Ok(names)
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(Error::read(&path))?;
        let map = FileMap::new(&file).map_err(Error::read(&path))?;
        let (header_len, metadata) = SafeTensors::read_metadata(&map).map_err(|e| {
            let problem = format!(
                "this safetensors file is cut short or damaged ({e}); copy it again from its source"
            );
            Error::Checkpoint { path: path.clone(), problem }
        })?;
        // Eight bytes of length precede the header.
        Ok(Self { path, file, metadata, data_start: 8 + header_len })
    }

    fn problem(&self, problem: String) -> Error {
        Error::Checkpoint { path: self.path.clone(), problem }
    }
}
