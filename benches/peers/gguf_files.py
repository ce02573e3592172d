#!/usr/bin/env python3
"""Writes a checkpoint as GGUF, and has llama.cpp's own quantiser make the other files of it.

    gguf_files.py CHECKPOINT KIND DIRECTORY N_THREADS
"""

import ctypes
import json
import math
import os
import pathlib
import sys

import numpy as np

# The quantiser's file types, and whether every matrix must have that one type ("pure") instead of
# the mixture that the name stands for.
KINDS = {
    "F32": (0, False),
    "F16": (1, False),
    "BF16": (32, False),
    "Q8_0": (7, False),
    "Q4_K_M": (15, False),
    "Q4_K": (15, True),
}

# Part of a layer's name in a checkpoint, and in GGUF.
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHER_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
# llama.cpp's graph for `llama` rotates neighbouring pairs; for these, halves, as checkpoints do.
ROTATES_HALVES = {"qwen2", "qwen3"}
ARCHITECTURES = dict(llama="llama", mistral="llama", qwen2="qwen2", qwen3="qwen3")


def gguf_name(name):
    path, kind = name.rsplit(".", 1)
    if path.startswith("model.layers."):
        _, _, layer, path = path.split(".", 3)
        return f"blk.{layer}.{LAYER_NAMES[path]}.{kind}"
    return f"{OTHER_NAMES[path]}.{kind}"


def neighbouring_pairs(rows, n_heads):
    """Rows of a query or key projection, reordered so that what was rotated as the two halves of
    a head lies side by side."""
    shape = rows.shape
    halves = rows.reshape(n_heads, 2, shape[0] // n_heads // 2, *shape[1:])
    return halves.swapaxes(1, 2).reshape(shape)


def rope_divisors(config, head_dim):
    """By what llama3's scaling divides each rotation frequency; none if there is no scaling."""
    scaling = config.get("rope_scaling")
    if not scaling or scaling.get("rope_type") != "llama3":
        return None
    original = scaling["original_max_position_embeddings"]
    low, high, factor = (scaling[k] for k in ("low_freq_factor", "high_freq_factor", "factor"))
    divisors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (i / head_dim)
        share = (original / wavelength - low) / (high - low)
        share = min(1.0, max(0.0, share))
        divisors.append(1 / ((1 - share) / factor + share))
    return np.array(divisors, dtype=np.float32)


def read_safetensors(path):
    """Name and memory-mapped f32 array of each tensor, in the file's order."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    for name, entry in entries.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield name, data[begin:end].view("<f4").reshape(entry["shape"])


def gguf_tensors(checkpoint, config):
    """Name and a function that gives the array, of every tensor."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    heads = dict(
        q_proj=config["num_attention_heads"], k_proj=config["num_key_value_heads"]
    )
    if config["model_type"] in ROTATES_HALVES:
        heads = {}
    divisors = rope_divisors(config, head_dim)
    if divisors is not None:
        yield "rope_freqs.weight", divisors.shape, lambda: divisors
    for name, array in read_safetensors(checkpoint / "model.safetensors"):
        n_heads = next((n for part, n in heads.items() if f".{part}." in name), None)
        if n_heads:
            yield gguf_name(name), array.shape, (
                lambda array=array, n=n_heads: np.ascontiguousarray(neighbouring_pairs(array, n))
            )
        else:
            yield gguf_name(name), array.shape, (lambda array=array: np.array(array))


def write_f32(checkpoint, path):
    import gguf

    config = json.loads((checkpoint / "config.json").read_text())
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer = gguf.GGUFWriter(path, ARCHITECTURES[config["model_type"]])
    writer.add_name(checkpoint.name)
    writer.add_file_type(0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("none")  # token ids go in, logits come out
    tensors = list(gguf_tensors(checkpoint, config))
    for name, shape, _ in tensors:
        n_bytes = 4 * math.prod(shape)
        writer.add_tensor_info(name, shape, np.dtype(np.float32), n_bytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # One tensor in memory at a time.
    for _, _, array in tensors:
        writer.write_tensor_data(array())
    writer.close()


def quantize(source, path, file_type, pure, n_threads):
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.pure, params.nthread = file_type, pure, n_threads
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(path).encode(), ctypes.byref(params)
    )
    if status != 0:
        raise RuntimeError(f"llama.cpp's quantiser gave {status} for {path.name}")


def tensor_types(path):
    """How many matrices of a GGUF file have which type."""
    import gguf

    counts = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if len([n for n in tensor.shape if n > 1]) > 1:
            counts[tensor.tensor_type.name] = counts.get(tensor.tensor_type.name, 0) + 1
    return counts


def make(checkpoint, kind, directory, n_threads):
    """Makes `directory` hold the file of a kind; what is there is kept."""
    path = directory / f"{kind}.gguf"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    file_type, pure = KINDS[kind]
    if kind == "F32":
        write_f32(checkpoint, unfinished)
    else:
        source = make(checkpoint, "F32", directory, n_threads)
        quantize(source, unfinished, file_type, pure, n_threads)
    os.replace(unfinished, path)
    return path


if __name__ == "__main__":
    checkpoint, kind, directory, n_threads = sys.argv[1:]
    path = make(pathlib.Path(checkpoint), kind, pathlib.Path(directory), int(n_threads))
    print(json.dumps(dict(path=str(path), tensor_types=tensor_types(path))))
