#!/usr/bin/env python3
"""PyTorch by transformers' own modelling code, eager, with SDPA attention."""

import torch
import transformers

import protocol

DTYPES = dict(f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16)


class Engine:
    def __init__(self, settings):
        torch.set_num_threads(settings["n_threads"])
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            settings["path"],
            dtype=DTYPES[settings["dtype"]],
            attn_implementation="sdpa",
            local_files_only=True,
        ).eval()
        self.cache = None

    def describe(self):
        return dict(
            engine="PyTorch",
            version=f"torch {torch.__version__}, transformers {transformers.__version__}",
            build=f"CPU capability {torch.backends.cpu.get_cpu_capability()}, "
            f"oneDNN {torch.backends.mkldnn.is_available()}",
            settings="eager, SDPA attention, DynamicCache, logits of the last position only",
        )

    def prepare(self, depth, n_positions, n_prompt):
        self.n_depth = len(depth[0])
        self.fresh_cache()
        for begin in range(0, self.n_depth, 512):
            self.forward(torch.tensor([row[begin : begin + 512] for row in depth]))

    def fresh_cache(self):
        self.cache = transformers.DynamicCache(config=self.model.config)

    def reset(self):
        if self.n_depth == 0:
            self.fresh_cache()
            return
        n_more = self.cache.get_seq_length() - self.n_depth
        if n_more > 0:
            self.cache.crop(-n_more)

    def stage(self, rows):
        return torch.tensor(rows)

    @torch.inference_mode()
    def forward(self, tokens):
        """(batch, n) token ids to the (batch, vocabulary) logits of the last position."""
        out = self.model(
            input_ids=tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1
        )
        return out.logits[:, -1]

    def prefill(self, tokens):
        self.forward(tokens)

    def start(self, first):
        self.next = self.stage(first)

    def step(self):
        self.next = self.forward(self.next).argmax(-1, keepdim=True)

    def logits(self, tokens, n_single):
        self.prepare([[]], len(tokens), len(tokens))
        for part in protocol.parts(tokens, n_single):
            logits = self.forward(self.stage([part]))
        return logits[0].float().tolist()


protocol.serve(Engine)
