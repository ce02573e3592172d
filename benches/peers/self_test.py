"""Tests of this script that need no peer: `benches/peers/run --self-test`.

Fails by an assertion; prints how many tests passed.
"""

import json
import pathlib
import struct
import subprocess
import tempfile
import traceback

import numpy as np

import checkpoint
import generator
import gguf_files
import ratios
import report
import shapes


def published_sequence():
    """SplitMix64 from state 0 begins with these, in any implementation."""
    stream = generator.Stream(0, "")
    stream.key = 0
    bits = [int(b) for b in stream.bits(np.arange(3))]
    assert bits == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], bits


def same_bits_as_benchinf():
    """The golden bits of the tests in `src/model/random.rs`, read from there."""
    source = (shapes.MODELS.parent / "src" / "model" / "random.rs").read_text()
    golden = source.split("const GOLDEN: [u32; 4] = [")[1].split("]")[0]
    golden = [int(word.strip().replace("_", ""), 16) for word in golden.split(",")]
    drawn = generator.Stream(7, "model.norm.weight").bells(0, 4, 0.0, 1.0).view(np.uint32)
    assert drawn.tolist() == golden, drawn


def any_piece_draws_the_same():
    stream = generator.Stream(1, "w")
    whole = stream.bells(0, 3 * generator.CHUNK + 5, 0.5, 0.02)
    chunk = generator.CHUNK
    for start, n in ((0, 1), (chunk - 1, 2), (7, chunk + 9), (len(whole) - 1, 1)):
        assert (stream.bells(start, n, 0.5, 0.02) == whole[start : start + n]).all(), (start, n)


def tokens_have_a_place():
    whole = generator.tokens(5, 1000, 2, 0, 8)
    assert generator.tokens(5, 1000, 1, 3, 5) == [whole[0][3:8]]
    assert whole[0] != whole[1] and len(set(whole[0] + whole[1])) > 12
    assert all(0 <= token < 1000 for row in whole for token in row)


def parameters_are_counted():
    """The published counts of parameters, as `models/README.md` has them."""
    for line in (shapes.MODELS / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[1].startswith("`"):
            name, count = cells[1].strip("`").removesuffix(".json"), int(cells[3].replace(",", ""))
            tensors = shapes.tensors(shapes.read_config(name))
            assert sum(int(np.prod(t.shape)) for t in tensors) == count, name


def a_checkpoint_reads_back():
    config = shapes.read_config("tiny")
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(config, 3, folder) / "model.safetensors"
        read = dict(gguf_files.read_safetensors(path))
        specs = list(shapes.tensors(config))
        assert list(read) == [spec.name for spec in specs]
        for spec in specs:
            assert (read[spec.name] == spec.draw(3)).all(), spec.name
        tensors = {name: array() for name, _, array in gguf_files.gguf_tensors(path.parent, config)}
        assert len(tensors) == len(read)
        q, k = (read[f"model.layers.1.self_attn.{p}_proj.weight"] for p in "qk")
        # In a head of 16, llama.cpp rotates rows 0 and 1 together, a checkpoint rows 0 and 8.
        for name, rows in (("attn_q", q), ("attn_k", k)):
            permuted = tensors[f"blk.1.{name}.weight"]
            assert permuted.shape == rows.shape
            assert (permuted[[16, 17, 18, 31]] == rows[[16, 24, 17, 31]]).all()
        v = read["model.layers.0.self_attn.v_proj.weight"]
        assert (tensors["blk.0.attn_v.weight"] == v).all()


def rotation_divisors():
    config = shapes.read_config("llama-3.2-1b")
    divisors = gguf_files.rope_divisors(config, 64)
    assert divisors.shape == (32,) and divisors[0] == 1.0 and divisors[-1] == 32.0
    assert (np.diff(divisors) >= 0).all() and 1 < divisors[16] < 32, divisors
    assert gguf_files.rope_divisors(shapes.read_config("smollm2-135m"), 64) is None


def ratios_pair_rounds():
    found = ratios.ratio([10.0, 12.0, None, 11.0], [5.0, 4.0, 9.0, 5.5])
    assert found == dict(of_medians=11.0 / 5.0, min=2.0, max=3.0, n_rounds=3), found
    assert ratios.ratio([None], [1.0]) is None
    assert ratios.summary([None, None]) is None
    assert ratios.summary([3.0, 1.0, None, 2.0])["median"] == 2.0


def errors_are_relative():
    assert ratios.relative_error([3.0, 4.0], [3.0, 4.0]) == 0.0
    assert ratios.relative_error([3.0, 9.0], [3.0, 4.0]) == 1.0
    assert ratios.relative_error([3.0], [3.0, 4.0]) == float("inf")
    assert ratios.relative_error([3.0, float("nan")], [3.0, 4.0]) == float("inf")


# What a word takes before and after three rounds: two near, one far.
STAYED = [[30.0, 40.0], [35.0, 40.0], [210.0, 190.0]]


def probe_of(pair, read_per_s):
    conditions = dict(handover_before_ns=pair[0], handover_ns=pair[1])
    read = dict(min_pass_ns=1e9, conditions=conditions)
    ceiling = dict(probe="memory_read", bytes=read_per_s, rounds=[read])
    return dict(ceilings=[ceiling | dict(outcome=dict(status="measured"))])


PROBES = [
    probe_of([30.0, 40.0], 48e9), probe_of([40.0, 35.0], 50e9), probe_of([200.0, 190.0], 75e9),
    probe_of([30.0, 200.0], 90e9), probe_of([None, 200.0], 95e9),
]

CANNED = dict(
    started="2026-01-01T00:00Z",
    benchinf=dict(version="benchinf 0.0.0", tool={}),
    machine=dict(processor="a processor"),
    settings=dict(
        model="tiny", seed=0, n_threads=2, rounds=3, max_seconds=60.0, n_check_tokens=64,
        n_check_single=8,
    ),
    ceilings={"gemm/bf16": 400e9, "memory_read": 50e9, "gemm/int8": 800e9},
    checks=[
        dict(dtype="bf16", arm="llama.cpp BF16", error=0.0123, tolerance=0.1, agrees=True),
        dict(dtype="bf16", arm="PyTorch bf16", error=1.4, tolerance=0.1, agrees=False),
    ],
    rows=[
        dict(
            dtype="bf16", test="pp512", depth=0, batch=1, ours="benchinf fused",
            work=dict(tokens=512, flops=10**12, bytes_min=25 * 10**8),
            arms=[
                dict(name="benchinf fused", rounds=[160.0, 170.0, 150.0], handover_ns=STAYED),
                dict(name="llama.cpp BF16", rounds=[140.0, 136.0, 141.0], handover_ns=STAYED),
                dict(
                    name="candle bf16", rounds=[32.0, None, 31.0], cut=True,
                    handover_ns=[[30.0, 200.0], None, [None, None]],
                ),
            ],
        ),
        dict(
            dtype="q4_k", test="tg128 @ d4096", depth=4096, batch=8, ours=None, work=None,
            arms=[
                dict(
                    name="llama.cpp Q4_K", rounds=[1234.0, 1240.0, 1200.0],
                    handover_ns=[None, None, None],
                ),
            ],
        ),
    ],
    arms=[dict(name="llama.cpp Q4_K", version="v", settings="s", tensor_types={"Q4_K": 2})],
    left_out=["benchinf q4_k: `q4_k` is not one of f32, f16, bf16"],
    warnings=[],
)

# Cells of the first table.
BEST = [
    "bf16 | pp512 | 160 [150, 170] | llama.cpp BF16 | 140 [136, 141] | 1.14 [1.06, 1.25] "
    "| 78 % | 2 %",
    "q4_k | tg128 @ d4096 b8 | – | llama.cpp Q4_K | 1,234 [1,200, 1,240] | – | – | –",
]


def tables_are_rendered():
    result = json.loads(json.dumps(CANNED))
    result["places"] = ratios.places(result["rows"], PROBES)
    result["rows"] = ratios.evaluate(result["rows"], result["ceilings"], result["places"])
    text = report.markdown(result)
    squeezed = " ".join(text.split())
    for needle in (
        *BEST,
        "| bf16 | pp512 | candle bf16 ¹ | 31.5 [31.0, 32.0] | 2 | 4.92 [4.84, 5.00] |",
        "| bf16 | PyTorch bf16 | 1.4e+00 | 1e-01 | **does not agree** |",
        "¹ Passes were ended after 60 s",
        "- **near**: a word takes 30 to 40 ns; the fastest pass of a round of reads is at 49.0 "
        "[48.0, 50.0] GB/s (2 rounds)",
        "- **far**: a word takes 190 to 210 ns; the fastest pass of a round of reads is at 75.0 "
        "[75.0, 75.0] GB/s (1 rounds)",
        "| bf16 | pp512 | near | 165 [160, 170] | 2 | llama.cpp BF16 | 138 [136, 140] | 2 "
        "| 1.20 [1.14, 1.25] | 2 % |",
        "| bf16 | pp512 | far | 150 [150, 150] | 1 | llama.cpp BF16 | 141 [141, 141] | 1 "
        "| 1.06 [1.06, 1.06] | 1 % |",
        "## Left out - benchinf q4_k:",
        "**llama.cpp Q4_K (2 Q4_K matrices)**: v; s",
    ):
        assert needle in squeezed, (needle, text)
    assert "## Warnings" not in text
    widths = {len(line) for line in report.best_table(result).splitlines()}
    assert len(widths) == 1, widths


def places_are_told_apart():
    steady = [dict(arms=[dict(handover_ns=[[30.0, 40.0], None, [35.0, 66.0], [40.0, 75.0]])])]
    assert ratios.places(steady, [probe_of([70.0, 70.0], 50e9)]) == []
    assert ratios.places(steady, [probe_of([None, None], 50e9)]) == []
    assert ratios.places([], []) == []
    where = ratios.places(steady, PROBES)
    assert [place["name"] for place in where] == ["near", "far"]
    assert [place["max_ns"] for place in where] == [75.0, 200.0]
    assert [place["read_per_s"]["max"] for place in where] == [50e9, 75e9]
    # One time that is far beyond all others is no place, and does not make one of two.
    lone = [probe_of([35.0, 2000.0], 50e9)]
    assert ratios.places(steady, lone) == []
    assert [place["max_ns"] for place in ratios.places(steady, PROBES + lone)] == [75.0, 2000.0]
    for pair, name in (
        ([30.0, 40.0], "near"),
        ([200.0, 200.0], "far"),
        ([30.0, 200.0], None),
        ([30.0, None], None),
        (None, None),
    ):
        assert ratios.place_of(pair, where) == name, pair


TESTS = [
    published_sequence,
    same_bits_as_benchinf,
    any_piece_draws_the_same,
    tokens_have_a_place,
    parameters_are_counted,
    a_checkpoint_reads_back,
    rotation_divisors,
    ratios_pair_rounds,
    errors_are_relative,
    places_are_told_apart,
    tables_are_rendered,
]


def same_logits_from_the_file(binary):
    """benchinf's logits of its own random weights and of our checkpoint: the same bits, in every
    format, for a family with each kind of tensor."""
    binary = str(pathlib.Path(binary).resolve())

    def logits(model, dtype, seed):
        command = [binary, "logits", "-m", model, "--tokens", "1,2,3,77,40", "--dtype", dtype]
        command += ["--seed", str(seed), "-t", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [struct.pack("f", x) for x in json.loads(done.stdout)["logits"]]

    base = shapes.read_config("tiny")
    families = {
        "tied": base,
        "untied": base | dict(tie_word_embeddings=False),
        "qwen2": base | dict(model_type="qwen2"),
        "qwen3": base | dict(model_type="qwen3"),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, config in families.items():
            written = checkpoint.write(config, 11, pathlib.Path(folder) / name)
            shape = pathlib.Path(folder) / f"{name}.json"
            shape.write_text(json.dumps(config))
            for dtype in ("f32", "f16", "bf16"):
                assert logits(shape, dtype, 11) == logits(written, dtype, 0), (name, dtype)


def main(binary=None):
    tests = list(TESTS)
    if binary:
        tests.append(lambda: same_logits_from_the_file(binary))
    n_failed = 0
    for test in tests:
        try:
            test()
        except Exception:
            traceback.print_exc()
            n_failed += 1
    print(f"{len(tests) - n_failed} passed, {n_failed} failed")
    return 1 if n_failed else 0
