"""A decoder in PyTorch, for `gpu-check`: the shapes of cases, with random weights, as tokens per
second. `eager` runs operations one by one; `compiled` replays decode steps as CUDA graphs, by
torch.compile(mode="reduce-overhead").

    python3 gpu-check-torch.py CASES.json RATES.json eager|compiled SECONDS

Or square products of every format, as operations per second:

    python3 gpu-check-torch.py FORMATS.json RATES.json gemm SECONDS
"""

import json
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right


class Decoder(torch.nn.Module):
    """Attention and SwiGLU over a static cache; weights of the sizes that a config.json gives."""

    def __init__(self, config, batch, depth, n_positions, device, dtype):
        super().__init__()
        self.depth = depth
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.n_heads, self.n_kv = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = config.get("head_dim") or hidden // self.n_heads
        self.eps, self.n_layers = config["rms_norm_eps"], config["num_hidden_layers"]
        q, kv, vocab = self.n_heads * self.dim, self.n_kv * self.dim, config["vocab_size"]

        def drawn(*shape):
            return torch.randn(shape, device=device, dtype=dtype) / shape[-1] ** 0.5

        self.embedding = drawn(vocab, hidden)
        self.head = self.embedding if config.get("tie_word_embeddings") else drawn(vocab, hidden)
        self.layers = [
            {"qkv": drawn(q + 2 * kv, hidden), "o": drawn(hidden, q),
             "gate_up": drawn(2 * inner, hidden), "down": drawn(hidden, inner),
             "norms": torch.ones(2, hidden, device=device, dtype=dtype)}
            for _ in range(self.n_layers)]
        self.norm = torch.ones(hidden, device=device, dtype=dtype)
        shape = (self.n_layers, 2, batch, self.n_kv, n_positions, self.dim)
        self.cache = torch.zeros(shape, device=device, dtype=dtype)
        positions = torch.arange(n_positions, device=device)
        self.positions = positions
        theta = config.get("rope_theta", 10000.0)
        turns = theta ** (-torch.arange(0, self.dim, 2, device=device) / self.dim)
        angles = positions[:, None] * turns[None, :]
        self.cosines, self.sines = angles.cos().to(dtype), angles.sin().to(dtype)

    def turned(self, x, at):
        cos, sin = self.cosines[at], self.sines[at]
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    def attend(self, q, keys, values, at):
        """Attention of queries at positions to the cache, each way by what PyTorch has a fast
        kernel for: those for masks know no groups of heads, those for groups no masks."""
        batch, _, n_tokens, _ = q.shape
        if n_tokens == 1:
            # The heads of a group are as many queries of one head.
            grouped = q.reshape(batch, self.n_kv, -1, self.dim)
            mask = (self.positions <= at)[None, :]
            attended = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
            return attended.reshape(batch, self.n_heads, 1, self.dim)
        n_positions = self.depth + n_tokens
        mask = causal_lower_right(n_tokens, n_positions)
        return F.scaled_dot_product_attention(
            q, keys[:, :, :n_positions], values[:, :, :n_positions], attn_mask=mask,
            enable_gqa=True)

    def forward(self, tokens, at):
        """The next token of each sequence, (B, 1), after tokens (B, S) at positions (S)."""
        batch, n_tokens = tokens.shape
        x = F.embedding(tokens, self.embedding)
        for i, layer in enumerate(self.layers):
            qkv = F.linear(F.rms_norm(x, x.shape[-1:], layer["norms"][0], self.eps), layer["qkv"])
            heads = qkv.view(batch, n_tokens, -1, self.dim).transpose(1, 2)
            q, k, v = heads.split((self.n_heads, self.n_kv, self.n_kv), dim=1)
            keys, values = self.cache[i]
            keys.index_copy_(2, at, self.turned(k, at))
            values.index_copy_(2, at, v)
            attended = self.attend(self.turned(q, at), keys, values, at)
            x = x + F.linear(attended.transpose(1, 2).reshape(batch, n_tokens, -1), layer["o"])
            gate, up = F.linear(F.rms_norm(x, x.shape[-1:], layer["norms"][1], self.eps),
                                layer["gate_up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        x = F.rms_norm(x[:, -1:], x.shape[-1:], self.norm, self.eps)
        return F.linear(x, self.head).argmax(dim=-1)


def synchronized_s(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def rate(config, case, device, dtype, way, end_s):
    """Tokens per second of a case: the median of passes until they are five or time is up."""
    depth, batch = case["n_depth"], case["batch_size"]
    n_prompt, n_gen = case["n_prompt"], case["n_gen"]
    decoder = Decoder(config, batch, depth, depth + n_prompt + n_gen, device, dtype)
    step = decoder.forward
    if way == "compiled":
        # What was compiled for other cases counts against this one, up to a limit.
        torch.compiler.reset()
        step = torch.compile(decoder.forward, mode="reduce-overhead", dynamic=False)
    vocab = config["vocab_size"]
    # Keys and values before the pass, as random as those of any text.
    decoder.cache[..., :depth, :].normal_()
    prompt = torch.randint(vocab, (batch, max(n_prompt, 1)), device=device)
    at = torch.arange(depth + n_prompt + n_gen, device=device)

    def one_pass():
        begin_s = synchronized_s(device)
        if n_prompt:
            step(prompt, at[depth:depth + n_prompt])
        else:
            token = prompt
            for i in range(n_gen):
                token = step(token, at[depth + i:depth + i + 1]).clone()
        return synchronized_s(device) - begin_s

    for _ in range(2):
        one_pass()
    times = []
    while len(times) < 5 and (not times or time.monotonic() < end_s):
        times.append(one_pass())
    return batch * (n_prompt or n_gen) / statistics.median(times)


def product(dtype, size, device):
    """A function that multiplies random factors of a format."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    if dtype == "int8":
        a, b = ((x * 40).clamp(-127, 127).to(torch.int8) for x in (a, b))
        return lambda: torch._int_mm(a, b.t())
    if dtype == "fp8_e4m3":
        a, b = (x.to(torch.float8_e4m3fn) for x in (a, b))
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one,
                                        out_dtype=torch.bfloat16, use_fast_accum=True)
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    formats = {"f16": torch.float16, "bf16": torch.bfloat16}
    a, b = (x.to(formats.get(dtype, torch.float32)) for x in (a, b))
    return lambda: torch.matmul(a, b.t())


def said(error):
    """An error in a line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def gemm(wanted, path, end_s):
    """The fastest of several products of each format."""
    device, rates = wanted["device"], {}

    def wait():
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    for dtype, size in wanted["sizes"].items():
        try:
            multiply, best_s = product(dtype, size, device), float("inf")
            for i in range(23):
                if i > 3 and time.monotonic() > end_s:
                    break
                wait()
                begin_s = time.perf_counter()
                multiply()
                wait()
                # The first ones find out how to do it.
                if i >= 3:
                    best_s = min(best_s, time.perf_counter() - begin_s)
            rates[dtype] = 2 * size**3 / best_s
        except Exception as error:
            # One that this version or device lacks, say: the others go on.
            print(f"{dtype}: {said(error)}")
        pathlib.Path(path).write_text(json.dumps(rates))


def main():
    ask, path, way, seconds = sys.argv[1:]
    end_s = time.monotonic() + float(seconds)
    wanted = json.loads(pathlib.Path(ask).read_text())
    if way == "gemm":
        torch.manual_seed(0)
        return gemm(wanted, path, end_s)
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[wanted["dtype"]]
    device = wanted["device"]
    torch.manual_seed(0)
    rates = {}
    for case in wanted["cases"]:
        if time.monotonic() > end_s:
            break
        try:
            rates[case["id"]] = rate(wanted["config"], case, device, dtype, way, end_s)
        except torch.OutOfMemoryError:
            print(f"{case['id']}: out of memory")
        except Exception as error:
            # Of a compiler, say: the other cases go on.
            print(f"{case['id']}: {said(error)}")
        # At once, so that what is cut off later costs itself alone.
        pathlib.Path(path).write_text(json.dumps(rates))
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
