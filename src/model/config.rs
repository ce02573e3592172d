//! What a `config.json` says, checked: after [`DecoderConfig::parse`] every combination can run.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Families that the decoder covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// Llama and everything that shares its `model_type`.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on the query, key and value projections.
    Qwen2,
    /// Qwen3: RMSNorm on every query and key head.
    Qwen3,
}

impl ModelType {
    /// The value of the `model_type` key.
    pub fn name(self) -> &'static str {
        match self {
            ModelType::Llama => "llama",
            ModelType::Mistral => "mistral",
            ModelType::Qwen2 => "qwen2",
            ModelType::Qwen3 => "qwen3",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [ModelType::Llama, ModelType::Mistral, ModelType::Qwen2, ModelType::Qwen3]
            .into_iter()
            .find(|model_type| model_type.name() == name)
    }
}

/// How positions turn into rotation angles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How frequencies are changed for contexts beyond the training length.
    pub scaling: RopeScaling,
}

/// Changes to the rotation frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// Llama 3.1's: low frequencies are divided, high ones kept, those between interpolated.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_positions / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_positions / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of the original training.
        original_positions: f64,
    },
}

/// The shape of a decoder-only transformer. All sizes are at least 1 and small enough that
/// products of a few of them fit 128 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Family.
    pub model_type: ModelType,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Context length.
    pub max_positions: usize,
    /// Positions that a token can look back over, itself included, where that is bounded.
    pub window: Option<usize>,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Biases on query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub o_bias: bool,
    /// Biases in the feed-forward block.
    pub mlp_bias: bool,
    /// RMSNorm on every query and key head.
    pub qk_norm: bool,
    /// The output head shares the embedding's weights.
    pub tied_head: bool,
}

impl DecoderConfig {
    /// Reads a `config.json`. `origin` is the path or name that errors show.
    ///
    /// # Errors
    /// [`Error::ModelConfig`] naming the key, for anything missing, malformed or not covered.
    pub fn parse(json: &str, origin: &str) -> Result<Self> {
        let raw: RawConfig =
            serde_json::from_str(json).map_err(|e| e.to_string()).map_err(problem(origin))?;
        raw.resolve().map_err(problem(origin))
    }

    /// Positions that a run may use: the context length, or the window where that is shorter,
    /// because this decoder attends to everything and within the window that is the same.
    pub fn n_positions(&self) -> usize {
        self.window.map_or(self.max_positions, |window| self.max_positions.min(window))
    }

    /// The shape as a `config.json` that [`DecoderConfig::parse`] reads as this very shape.
    pub fn to_json(&self) -> serde_json::Value {
        let mut rope = serde_json::json!({ "rope_type": "default", "rope_theta": self.rope.theta });
        if let RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_positions,
        } = self.rope.scaling
        {
            rope["rope_type"] = "llama3".into();
            rope["factor"] = factor.into();
            rope["low_freq_factor"] = low_freq_factor.into();
            rope["high_freq_factor"] = high_freq_factor.into();
            rope["original_max_position_embeddings"] = original_positions.into();
        }
        serde_json::json!({
            "model_type": self.model_type.name(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_positions,
            "sliding_window": self.window,
            "use_sliding_window": self.window.is_some(),
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": rope,
            "hidden_act": "silu",
            "attention_bias": self.o_bias,
            "mlp_bias": self.mlp_bias,
            "tie_word_embeddings": self.tied_head,
        })
    }

    /// Width of all query heads together.
    pub fn q_size(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_size(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}

fn problem(origin: &str) -> impl FnOnce(String) -> Error {
    let origin = origin.to_owned();
    move |problem| Error::ModelConfig { origin, problem }
}

/// The keys as files have them, in Hugging Face's names.
#[derive(Deserialize)]
struct RawConfig {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    partial_rotary_factor: Option<f64>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    #[serde(default = "absent_window")]
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    quantization_config: Option<serde_json::Value>,
}

/// What transformers takes when the key is absent; null means that there is no window.
fn absent_window() -> Option<usize> {
    Some(4096)
}

/// `rope_scaling` of older files and `rope_parameters` of newer ones.
#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    /// The oldest files call it so, and some carry both.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

/// Largest width, and largest number of layers, that is taken for a model and not a mistake.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 1 << 12;

impl RawConfig {
    fn resolve(self) -> std::result::Result<DecoderConfig, String> {
        let model_type = ModelType::parse(&self.model_type).ok_or_else(|| {
            format!(
                "model_type `{}` is not covered; llama, mistral, qwen2 and qwen3 are",
                self.model_type
            )
        })?;
        self.refuse_what_is_not_covered()?;

        // Absent keys take the family's documented default, as transformers does.
        let n_kv_heads = self.num_key_value_heads.unwrap_or(match model_type {
            ModelType::Llama => self.num_attention_heads,
            ModelType::Mistral => 8,
            ModelType::Qwen2 | ModelType::Qwen3 => 32,
        });
        for (key, size, max) in [
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("hidden_size", self.hidden_size, MAX_SIZE),
            ("intermediate_size", self.intermediate_size, MAX_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_SIZE),
            ("num_key_value_heads", n_kv_heads, MAX_SIZE),
            ("max_position_embeddings", self.max_position_embeddings, u32::MAX as usize),
        ] {
            if !(1..=max).contains(&size) {
                return Err(format!("{key} is {size}, but must be between 1 and {max}"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(n_kv_heads) {
            return Err(format!(
                "num_attention_heads ({}) is not a multiple of num_key_value_heads ({n_kv_heads})",
                self.num_attention_heads
            ));
        }
        let head_dim = match (self.head_dim, model_type) {
            (Some(head_dim), _) => head_dim,
            (None, ModelType::Qwen3) => 128,
            (None, _) => self.hidden_size / self.num_attention_heads,
        };
        if !(2..=MAX_SIZE).contains(&head_dim) || head_dim % 2 == 1 {
            return Err(format!("head_dim is {head_dim}, but rotary embeddings need an even one"));
        }
        if self.num_attention_heads.saturating_mul(head_dim) > MAX_SIZE {
            return Err(format!(
                "num_attention_heads ({}) times head_dim ({head_dim}) must not exceed {MAX_SIZE}",
                self.num_attention_heads
            ));
        }
        if !(0.0..=1.0).contains(&self.rms_norm_eps) {
            return Err(format!("rms_norm_eps is {}, but must be in 0 to 1", self.rms_norm_eps));
        }
        let attention_bias = self.attention_bias.unwrap_or(false);
        let attention_bias_covered = matches!(model_type, ModelType::Llama | ModelType::Qwen3);
        Ok(DecoderConfig {
            model_type,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            n_kv_heads,
            head_dim,
            max_positions: self.max_position_embeddings,
            window: self.window(model_type),
            rms_norm_eps: self.rms_norm_eps,
            rope: self.rope()?,
            qkv_bias: model_type == ModelType::Qwen2 || (attention_bias && attention_bias_covered),
            o_bias: attention_bias && attention_bias_covered,
            mlp_bias: self.mlp_bias.unwrap_or(false) && model_type == ModelType::Llama,
            qk_norm: model_type == ModelType::Qwen3,
            tied_head: self.tie_word_embeddings.unwrap_or(false),
        })
    }

    fn refuse_what_is_not_covered(&self) -> std::result::Result<(), String> {
        if let Some(act) =
            self.hidden_act.as_deref().filter(|act| !matches!(*act, "silu" | "swish"))
        {
            return Err(format!("hidden_act `{act}` is not covered; silu is"));
        }
        let partial = self.partial_rotary_factor.or_else(|| {
            let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())?;
            rope.partial_rotary_factor
        });
        if let Some(factor) = partial.filter(|factor| *factor != 1.0) {
            return Err(format!("partial_rotary_factor {factor} is not covered; 1.0 is"));
        }
        if self.quantization_config.is_some() {
            return Err(
                "quantization_config is set: quantised checkpoints are not covered; use the \
                 original weights"
                    .into(),
            );
        }
        Ok(())
    }

    fn window(&self, model_type: ModelType) -> Option<usize> {
        let windowed = match (&self.layer_types, model_type) {
            (_, ModelType::Llama) => false,
            (Some(types), _) => types.iter().any(|t| t == "sliding_attention"),
            (None, ModelType::Mistral) => true,
            (None, ModelType::Qwen2 | ModelType::Qwen3) => self.use_sliding_window.unwrap_or(false),
        };
        self.sliding_window.filter(|window| windowed && *window > 0)
    }

    fn rope(&self) -> std::result::Result<RopeConfig, String> {
        let (key, raw) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(raw), _) => ("rope_parameters", Some(raw)),
            (None, raw) => ("rope_scaling", raw.as_ref()),
        };
        let theta = raw.and_then(|raw| raw.rope_theta).or(self.rope_theta).unwrap_or(10_000.0);
        if !(theta.is_finite() && theta > 0.0) {
            return Err(format!("rope_theta is {theta}, but must be above 0"));
        }
        let rope_type = raw
            .and_then(|raw| raw.rope_type.as_deref().or(raw.older_type.as_deref()))
            .unwrap_or("default");
        let scaling = match (rope_type, raw) {
            ("default", _) => RopeScaling::Default,
            ("llama3", Some(raw)) => llama3_scaling(key, raw, self.max_position_embeddings)?,
            (other, _) => {
                return Err(format!(
                    "{key}.rope_type `{other}` is not covered; default and llama3 are"
                ));
            }
        };
        Ok(RopeConfig { theta, scaling })
    }
}

fn llama3_scaling(
    key: &str,
    raw: &RawRope,
    max_position_embeddings: usize,
) -> std::result::Result<RopeScaling, String> {
    let need = |name: &str, value: Option<f64>| match value {
        Some(v) if v.is_finite() && v > 0.0 => Ok(v),
        Some(v) => Err(format!("{key}.{name} is {v}, but must be above 0")),
        None => Err(format!("{key}.{name} is missing")),
    };
    let low_freq_factor = need("low_freq_factor", raw.low_freq_factor)?;
    let high_freq_factor = need("high_freq_factor", raw.high_freq_factor)?;
    if low_freq_factor >= high_freq_factor {
        return Err(format!(
            "{key}.low_freq_factor ({low_freq_factor}) must be below high_freq_factor \
             ({high_freq_factor})"
        ));
    }
    Ok(RopeScaling::Llama3 {
        factor: need("factor", raw.factor)?,
        low_freq_factor,
        high_freq_factor,
        original_positions: need(
            "original_max_position_embeddings",
            raw.original_max_position_embeddings.or(Some(max_position_embeddings as f64)),
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;
    use serde_json::{Value, json};

    fn base() -> Value {
        json!({
            "model_type": "llama", "vocab_size": 100, "hidden_size": 48, "intermediate_size": 80,
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        })
    }

    fn with(changes: Value) -> Result<DecoderConfig> {
        let mut config = base();
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Value::String(s) if s == "REMOVED" => config.as_object_mut().unwrap().remove(key),
                value => config.as_object_mut().unwrap().insert(key.clone(), value.clone()),
            };
        }
        DecoderConfig::parse(&config.to_string(), "config.json")
    }

    #[test]
    fn every_builtin_and_family_can_be_written_and_read_again() {
        let biased = |family: &str| {
            with(json!({ "model_type": family, "attention_bias": true, "mlp_bias": true,
                         "sliding_window": 16, "use_sliding_window": true }))
        };
        let families = ["llama", "mistral", "qwen2", "qwen3"].map(|f| biased(f).unwrap());
        let layered = with(json!({ "layer_types": ["sliding_attention", "full_attention"],
                                   "max_position_embeddings": 9000 }));
        let families = families.into_iter().chain([layered.unwrap()]);
        let builtins =
            builtin::ALL.iter().map(|b| DecoderConfig::parse(b.config_json, b.name).unwrap());
        for config in builtins.chain(families) {
            let again = DecoderConfig::parse(&config.to_json().to_string(), "again").unwrap();
            assert_eq!(again, config);
        }
    }

    #[test]
    fn older_and_newer_rope_keys_say_the_same() {
        let llama3 = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        });
        let mut newer = llama3.clone();
        newer["rope_theta"] = json!(5e5);
        let old = with(json!({ "rope_theta": 5e5, "rope_scaling": llama3 })).unwrap();
        let new = with(json!({ "rope_parameters": newer })).unwrap();
        assert_eq!(old.rope, new.rope);
        assert_eq!(old.rope.theta, 5e5);
        assert!(matches!(old.rope.scaling, RopeScaling::Llama3 { .. }));
        let plain =
            with(json!({ "rope_parameters": { "rope_theta": 7.0, "rope_type": "default" } }));
        assert_eq!(plain.unwrap().rope, RopeConfig { theta: 7.0, scaling: RopeScaling::Default });
    }

    #[test]
    fn families_differ_in_biases_norms_and_defaults() {
        let qwen2 = with(json!({ "model_type": "qwen2" })).unwrap();
        assert!(qwen2.qkv_bias && !qwen2.o_bias && !qwen2.qk_norm);
        let qwen3 = with(json!({ "model_type": "qwen3" })).unwrap();
        assert!(qwen3.qk_norm && !qwen3.qkv_bias && qwen3.head_dim == 128);
        let llama = with(json!({ "attention_bias": true, "mlp_bias": true })).unwrap();
        assert!(llama.qkv_bias && llama.o_bias && llama.mlp_bias && llama.head_dim == 8);
        let heads = with(json!({ "num_key_value_heads": null })).unwrap();
        assert_eq!(heads.n_kv_heads, 6);
    }

    #[test]
    fn a_window_shortens_the_context() {
        for (changes, n_positions) in [
            (json!({ "model_type": "mistral", "sliding_window": 16 }), 16),
            (json!({ "model_type": "mistral", "sliding_window": null }), 64),
            (json!({ "model_type": "mistral", "max_position_embeddings": 9000 }), 4096),
            (json!({ "model_type": "qwen2", "sliding_window": 16 }), 64),
            (
                json!({ "model_type": "qwen2", "sliding_window": 16, "use_sliding_window": true }),
                16,
            ),
            (
                json!({ "model_type": "qwen2", "sliding_window": 16,
                        "layer_types": ["full_attention", "sliding_attention"] }),
                16,
            ),
            (
                json!({ "model_type": "qwen2", "sliding_window": 16, "use_sliding_window": true,
                        "layer_types": ["full_attention"] }),
                64,
            ),
        ] {
            let config = with(changes.clone()).unwrap();
            assert_eq!(config.n_positions(), n_positions, "{changes}");
        }
    }

    #[test]
    fn errors_name_the_key() {
        for (changes, words) in [
            (json!({ "model_type": "gpt2" }), "model_type `gpt2` is not covered"),
            (json!({ "hidden_size": "REMOVED" }), "missing field `hidden_size`"),
            (json!({ "hidden_size": 0 }), "hidden_size is 0"),
            (json!({ "vocab_size": 1_u64 << 60 }), "vocab_size is 1152921504606846976"),
            (json!({ "num_hidden_layers": -1 }), "invalid value: integer `-1`"),
            (json!({ "num_key_value_heads": 4 }), "not a multiple of num_key_value_heads (4)"),
            (json!({ "head_dim": 7 }), "head_dim is 7"),
            (json!({ "head_dim": 1 << 23 }), "times head_dim (8388608)"),
            (json!({ "hidden_act": "gelu" }), "hidden_act `gelu`"),
            (json!({ "partial_rotary_factor": 0.5 }), "partial_rotary_factor 0.5"),
            (json!({ "rms_norm_eps": 1e300 }), "rms_norm_eps is 1"),
            (json!({ "rope_theta": 0.0 }), "rope_theta is 0"),
            (json!({ "rope_scaling": { "type": "yarn" } }), "rope_scaling.rope_type `yarn`"),
            (
                json!({ "rope_parameters": { "rope_type": "llama3", "low_freq_factor": 1.0 } }),
                "rope_parameters.high_freq_factor is missing",
            ),
            (json!({ "quantization_config": {} }), "quantization_config is set"),
        ] {
            let message = with(changes.clone()).unwrap_err().to_string();
            assert!(message.starts_with("config.json: "), "{message}");
            assert!(message.contains(words), "{changes}: {message}");
        }
        assert!(DecoderConfig::parse("{", "x").is_err());
    }
}
