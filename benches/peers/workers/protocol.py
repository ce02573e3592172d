"""The loop of a worker: one JSON object a line in, one out.

A worker loads its model once and then waits in a blocking read, which takes no processor time.
`candle/src/main.rs` speaks the same protocol.

    ready     what it is, once the model is loaded
    prepare   {"depth": [[id, ...], ...], "n_positions": n, "n_prompt": n}: a KV cache for one
              sequence per row, filled with it
    prefill   {"tokens": [[id, ...], ...], "min_seconds": s}
    decode    {"tokens": [[id], ...], "n_gen": n, "min_seconds": s, "max_seconds": s}
    logits    {"tokens": [id, ...], "n_single": n}: logits after the last token, the last n of
              which are fed one by one
"""

import json
import os
import sys
import time
import traceback

# Before a timed pass: enough to wake the threads and to touch every weight.
N_WAKE_TOKENS = 32
N_WAKE_STEPS = 4


def private_stdout():
    """The real standard output for answers alone; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def parts(tokens, n_single):
    """The tokens as one part, then the last `n_single` of them alone."""
    split = len(tokens) - n_single
    return [tokens[:split]] + [[token] for token in tokens[split:]]


def timed_prefill(engine, request):
    """Whole passes, each over the prompt at the same depth, for `min_seconds` at least."""
    rows = request["tokens"]
    wake = engine.stage([row[:N_WAKE_TOKENS] for row in rows])
    engine.reset()
    engine.prefill(wake)
    prompt = engine.stage(rows)
    seconds, passes = 0.0, 0
    while passes == 0 or seconds < request["min_seconds"]:
        engine.reset()
        begin = time.perf_counter()
        engine.prefill(prompt)
        seconds += time.perf_counter() - begin
        passes += 1
    return dict(seconds=seconds, passes=passes, tokens=passes * sum(map(len, rows)), cut=False)


def timed_decode(engine, request):
    """Passes of `n_gen` steps, each a forward pass and its greedy pick. A pass that lasts longer
    than `max_seconds` ends after the step under way, and counts the steps it made."""
    first, n_gen = request["tokens"], request["n_gen"]
    engine.reset()
    engine.start(first)
    wake_end = time.perf_counter() + request["max_seconds"] / 4
    for _ in range(min(N_WAKE_STEPS, n_gen)):
        engine.step()
        if time.perf_counter() > wake_end:
            break
    seconds, passes, steps, cut = 0.0, 0, 0, False
    while passes == 0 or (seconds < request["min_seconds"] and not cut):
        engine.reset()
        engine.start(first)
        begin = time.perf_counter()
        for _ in range(n_gen):
            engine.step()
            steps += 1
            if time.perf_counter() - begin > request["max_seconds"]:
                cut = True
                break
        seconds += time.perf_counter() - begin
        passes += 1
    cut = cut and steps < passes * n_gen
    return dict(seconds=seconds, passes=passes, tokens=steps * len(first), cut=cut)


def answer(engine, request):
    operation = request["op"]
    if operation == "prepare":
        engine.prepare(request["depth"], request["n_positions"], request["n_prompt"])
        return {}
    if operation == "logits":
        return dict(logits=engine.logits(request["tokens"], request["n_single"]))
    return {"prefill": timed_prefill, "decode": timed_decode}[operation](engine, request)


def serve(make_engine):
    """Runs a worker whose settings are the JSON of the first argument."""
    answers = private_stdout()

    def say(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        engine = make_engine(json.loads(sys.argv[1]))
        say(dict(ready=engine.describe()))
    except Exception as error:
        traceback.print_exc()
        say(dict(error=f"{type(error).__name__}: {error}"))
        return
    for line in sys.stdin:
        try:
            say(answer(engine, json.loads(line)))
        except Exception as error:
            traceback.print_exc()
            say(dict(error=f"{type(error).__name__}: {error}"))
