//! What `--model` names: a built-in shape, a `config.json`, or a checkpoint directory.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{DecoderConfig, builtin};

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A shape of `models/`, with random weights.
    Builtin,
    /// The shape of a `config.json`, with random weights.
    Config(PathBuf),
    /// A directory with `config.json` and safetensors files.
    Checkpoint(PathBuf),
}

/// A model that a plan can use: its configuration is known, its weights are not loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// What tables and files call it.
    pub label: String,
    /// Where it comes from.
    pub source: ModelSource,
    /// Its shape.
    pub config: DecoderConfig,
}

impl ModelSpec {
    /// Resolves the argument of `--model`. A path wins over a built-in name only if it looks
    /// like one: it has a separator or ends in `.json`, or nothing built in has that name.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], or what is wrong with the file.
    pub fn resolve(argument: &str) -> Result<Self> {
        let path = Path::new(argument);
        if let Some(builtin) = builtin::find(argument) {
            let config = DecoderConfig::parse(builtin.config_json, builtin.name)?;
            Ok(Self { label: builtin.name.into(), source: ModelSource::Builtin, config })
        } else if path.is_dir() {
            let config = read_config(&path.join("config.json"))?;
            let label = label(path);
            Ok(Self { label, source: ModelSource::Checkpoint(path.into()), config })
        } else if path.exists() || looks_like_a_path(argument) {
            let config = read_config(path)?;
            let label = label(path);
            Ok(Self { label, source: ModelSource::Config(path.into()), config })
        } else {
            let nearest = builtin::nearest(argument).map(str::to_owned);
            Err(Error::UnknownModel { name: argument.into(), nearest })
        }
    }
}

fn looks_like_a_path(argument: &str) -> bool {
    argument.contains(std::path::MAIN_SEPARATOR) || argument.ends_with(".json")
}

/// A `config.json` has a few KiB; what is larger is something else.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

fn read_config(path: &Path) -> Result<DecoderConfig> {
    let len = std::fs::metadata(path).map_err(Error::read(path))?.len();
    let is_weights = path.extension().is_some_and(|e| e == "safetensors" || e == "gguf");
    if is_weights || len > MAX_CONFIG_BYTES {
        return Err(Error::ModelConfig {
            origin: path.display().to_string(),
            problem: "this is no config.json; to run a checkpoint, give the directory that holds \
                      config.json and the safetensors files"
                .into(),
        });
    }
    let json = std::fs::read_to_string(path).map_err(Error::read(path))?;
    DecoderConfig::parse(&json, &path.display().to_string())
}

/// The name of the directory, or of the file without `.json`; a file that is just called
/// `config.json` takes its directory's name, since that is what tells it apart.
fn label(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    let own = name(&absolute).unwrap_or_else(|| "model".into());
    match own.strip_suffix(".json") {
        Some("config") => absolute.parent().and_then(name).unwrap_or_else(|| "config".into()),
        Some(stem) => stem.to_owned(),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (path, want) in [
            ("/a/my-model", "my-model"),
            ("/a/my-model/", "my-model"),
            ("/a/my-model/config.json", "my-model"),
            ("/a/shape.json", "shape"),
            ("/", "model"),
        ] {
            assert_eq!(label(Path::new(path)), want, "{path}");
        }
    }

    #[test]
    fn what_is_not_there() {
        let message = |argument| ModelSpec::resolve(argument).unwrap_err().to_string();
        assert!(message("tinny").contains("did you mean `tiny`?"), "{}", message("tinny"));
        assert!(message("./nothing/here").starts_with("cannot read ./nothing/here"));
        assert!(message("nothing.json").starts_with("cannot read nothing.json"));
    }
}
