#!/usr/bin/env python3
"""llama.cpp by the C interface that llama-cpp-python wraps: no tokenizer, no sampler objects."""

import ctypes

import llama_cpp
import numpy as np

import protocol

# llama-bench's defaults: tokens of a logical batch at least, and of a physical one.
N_BATCH, N_UBATCH = 2048, 512


@llama_cpp.llama_log_callback
def quiet(level, text, _):
    if level >= 4:  # errors
        print(text.decode(errors="replace"), end="")


class Engine:
    def __init__(self, settings):
        llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.n_threads = settings["n_threads"]
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(settings["path"].encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {settings['path']}")
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self.context = None

    def describe(self):
        return dict(
            engine="llama.cpp",
            version=f"llama-cpp-python {llama_cpp.__version__}",
            build=llama_cpp.llama_print_system_info().decode().strip(),
            settings=f"n_batch {N_BATCH} or the prompt, n_ubatch {N_UBATCH}, flash attention and "
            "KV cache as by default (auto, f16), memory-mapped weights, repacked where it does so",
        )

    def prepare(self, depth, n_positions, n_prompt):
        if self.context:
            llama_cpp.llama_free(self.context)
        self.n_seqs = len(depth)
        self.n_depth = len(depth[0])
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.n_seqs * -(-n_positions // 256) * 256
        params.n_batch = max(N_BATCH, self.n_seqs * n_prompt)
        params.n_ubatch = N_UBATCH
        params.n_seq_max = self.n_seqs
        params.n_threads = params.n_threads_batch = self.n_threads
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp has no context of {n_positions} positions")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.steps = self.batch(self.n_seqs)
        self.n_past = 0
        chunk = params.n_batch // self.n_seqs
        for begin in range(0, self.n_depth, chunk):
            self.prefill(self.stage([row[begin : begin + chunk] for row in depth]))

    def batch(self, n_tokens):
        batch = llama_cpp.llama_batch_init(n_tokens, 0, 1)
        for i in range(n_tokens):
            batch.n_seq_id[i] = 1
        batch.n_tokens = n_tokens
        return batch

    def stage(self, rows):
        """A batch of the rows' tokens, of each the last with logits."""
        batch = self.batch(sum(map(len, rows)))
        i = 0
        for seq, row in enumerate(rows):
            for at, token in enumerate(row):
                batch.token[i], batch.seq_id[i][0] = token, seq
                batch.logits[i] = at == len(row) - 1
                i += 1
        return batch

    def reset(self):
        for seq in range(self.n_seqs):
            if not llama_cpp.llama_memory_seq_rm(self.memory, seq, self.n_depth, -1):
                raise RuntimeError("llama.cpp cannot take positions out of its KV cache")
        self.n_past = self.n_depth

    def decode(self, batch):
        status = llama_cpp.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode gave {status}")

    def prefill(self, batch):
        n_seq_tokens = batch.n_tokens // self.n_seqs
        for i in range(batch.n_tokens):
            batch.pos[i] = self.n_past + i % n_seq_tokens
        self.decode(batch)
        llama_cpp.llama_synchronize(self.context)
        self.n_past += n_seq_tokens

    def row(self, i):
        """Logits of a token of the batch, where they lie."""
        pointer = llama_cpp.llama_get_logits_ith(self.context, i)
        return np.ctypeslib.as_array(pointer, (self.n_vocab,))

    def start(self, first):
        for seq, (token,) in enumerate(first):
            self.steps.token[seq], self.steps.seq_id[seq][0] = token, seq
            self.steps.logits[seq] = True

    def step(self):
        for seq in range(self.n_seqs):
            self.steps.pos[seq] = self.n_past
        self.decode(self.steps)
        for seq in range(self.n_seqs):
            # The vectorised argmax costs a fraction of llama.cpp's own greedy sampler.
            self.steps.token[seq] = int(self.row(seq).argmax())
        self.n_past += 1

    def logits(self, tokens, n_single):
        self.prepare([[]], len(tokens), len(tokens))
        self.reset()
        for part in protocol.parts(tokens, n_single):
            self.prefill(self.stage([part]))
            last = self.row(len(part) - 1).tolist()
        return last


protocol.serve(Engine)
