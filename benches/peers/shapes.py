"""What tensors a model of a shape has, and how benchinf draws them (`src/model/weights.rs`)."""

import dataclasses
import json
import pathlib

import numpy as np

from generator import Stream

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor by its Hugging Face name."""

    name: str
    shape: tuple
    mean: float
    stddev: np.float32

    def draw(self, seed, first_row=0, n_rows=None):
        """Rows of it as 32-bit floats; of a vector, all of it."""
        if len(self.shape) == 1:
            return Stream(seed, self.name).bells(0, self.shape[0], self.mean, self.stddev)
        n_rows = self.shape[0] - first_row if n_rows is None else n_rows
        width = self.shape[1]
        numbers = Stream(seed, self.name).bells(
            first_row * width, n_rows * width, self.mean, self.stddev
        )
        return numbers.reshape(n_rows, width)


def known_models():
    return sorted(path.stem for path in MODELS.glob("*.json"))


def read_config(model):
    """The config.json of a built-in model."""
    path = MODELS / f"{model}.json"
    if not path.is_file():
        raise ValueError(f"`{model}` is no built-in model; there are {', '.join(known_models())}")
    return json.loads(path.read_text())


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def tensors(config):
    """All tensors of a model, in the order of the decoder."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    q_size = config["num_attention_heads"] * head_dim(config)
    kv_size = config["num_key_value_heads"] * head_dim(config)
    vocab, n_layers = config["vocab_size"], config["num_hidden_layers"]
    family = config["model_type"]
    qkv_bias = family == "qwen2" or config.get("attention_bias", False)
    if config.get("mlp_bias") or (config.get("attention_bias") and family != "qwen2"):
        raise ValueError("biases outside the query, key and value projections of qwen2")

    one, two, depth = np.float32(1), np.float32(2), np.float32(n_layers)

    def linear(name, n_out, n_in):
        return TensorSpec(name, (n_out, n_in), 0.0, one / np.sqrt(np.float32(n_in)))

    def residual(name, n_out, n_in):
        stddev = one / np.sqrt(np.float32(n_in) * two * depth)
        return TensorSpec(name, (n_out, n_in), 0.0, stddev)

    def norm(name, size):
        return TensorSpec(name, (size,), 1.0, np.float32(0.05))

    def bias(name, size):
        return TensorSpec(name, (size,), 0.0, np.float32(0.02))

    yield TensorSpec("model.embed_tokens.weight", (vocab, hidden), 0.0, np.float32(0.02))
    for i in range(n_layers):
        layer = f"model.layers.{i}"
        yield norm(f"{layer}.input_layernorm.weight", hidden)
        for name, size in (("q_proj", q_size), ("k_proj", kv_size), ("v_proj", kv_size)):
            yield linear(f"{layer}.self_attn.{name}.weight", size, hidden)
            if qkv_bias:
                yield bias(f"{layer}.self_attn.{name}.bias", size)
        if family == "qwen3":
            yield norm(f"{layer}.self_attn.q_norm.weight", head_dim(config))
            yield norm(f"{layer}.self_attn.k_norm.weight", head_dim(config))
        yield residual(f"{layer}.self_attn.o_proj.weight", hidden, q_size)
        yield norm(f"{layer}.post_attention_layernorm.weight", hidden)
        yield linear(f"{layer}.mlp.gate_proj.weight", inner, hidden)
        yield linear(f"{layer}.mlp.up_proj.weight", inner, hidden)
        yield residual(f"{layer}.mlp.down_proj.weight", hidden, inner)
    yield norm("model.norm.weight", hidden)
    if not config.get("tie_word_embeddings", False):
        yield linear("lm_head.weight", vocab, hidden)
