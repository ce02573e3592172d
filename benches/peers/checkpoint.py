"""Writes a Hugging Face checkpoint directory from a seed, without ever holding it whole."""

import concurrent.futures
import json
import os
import pathlib

import shapes

# Numbers that a task draws; several tasks run at once, since NumPy lets threads work in parallel.
PIECE = 1 << 22


def pieces(spec):
    """Ranges of rows of a tensor, of about `PIECE` numbers each."""
    if len(spec.shape) == 1:
        return [(0, None)]
    rows = max(1, PIECE // spec.shape[1])
    return [(first, min(rows, spec.shape[0] - first)) for first in range(0, spec.shape[0], rows)]


def drawn(specs, seed, n_threads):
    """(spec, first row, numbers) of every piece, in order, drawn ahead by `n_threads`."""
    with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
        waiting = []
        for spec in specs:
            for first, n_rows in pieces(spec):
                waiting.append((spec, first, pool.submit(spec.draw, seed, first, n_rows)))
                if len(waiting) > 2 * n_threads:
                    spec_, first_, future = waiting.pop(0)
                    yield spec_, first_, future.result()
        for spec, first, future in waiting:
            yield spec, first, future.result()


def header(specs):
    """The head of a safetensors file: a length, then JSON that says where tensors lie."""
    entries, offset = {}, 0
    for spec in specs:
        n_bytes = 4
        for size in spec.shape:
            n_bytes *= size
        entries[spec.name] = {
            "dtype": "F32",
            "shape": list(spec.shape),
            "data_offsets": [offset, offset + n_bytes],
        }
        offset += n_bytes
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write(config, seed, directory, n_threads=2):
    """Makes `directory` hold config.json and model.safetensors in f32; what is there is kept."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    path = directory / "model.safetensors"
    if path.exists():
        return directory
    specs = list(shapes.tensors(config))
    unfinished = path.with_suffix(".part")
    with open(unfinished, "wb") as file:
        file.write(header(specs))
        for _, _, numbers in drawn(specs, seed, n_threads):
            file.write(numbers.astype("<f4", copy=False))
    os.replace(unfinished, path)
    return directory
