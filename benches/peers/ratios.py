"""What follows from the rounds: medians, ratios, shares of the machine's ceilings."""

import statistics

# Which product probe bounds a format: quantised weights are multiplied as 8-bit integers.
GEMM_OF = dict(f32="f32", f16="f16", bf16="bf16", q8_0="int8", q4_k="int8")


def summary(rounds):
    """Median and extremes of tokens per second by round; None without a round."""
    values = [value for value in rounds if value is not None]
    if not values:
        return None
    return dict(
        median=statistics.median(values), min=min(values), max=max(values), n_rounds=len(values)
    )


def ratio(ours, theirs):
    """Ours over theirs: of the medians, and the extremes of the ratios round by round, over the
    rounds that both have; None without one."""
    pairs = [(a, b) for a, b in zip(ours, theirs) if a is not None and b is not None]
    if not pairs:
        return None
    by_round = [a / b for a, b in pairs]
    a, b = zip(*pairs)
    return dict(
        of_medians=statistics.median(a) / statistics.median(b),
        min=min(by_round),
        max=max(by_round),
        n_rounds=len(pairs),
    )


def ceilings(probes):
    """Of the result files of `benchinf probe`, the best rate of each probe by its name."""
    best = {}
    for probe in probes:
        for ceiling in probe["ceilings"]:
            if ceiling["outcome"]["status"] == "measured":
                name = ceiling["probe"]
                if name == "gemm":
                    name = f"gemm/{ceiling['dtype']}"
                rate = ceiling["rate"]["best_per_s"]
                best[name] = max(best.get(name, 0.0), rate)
    return best


def shares(work, tokens_per_s, dtype, best):
    """Shares of the best product rate and of the best read bandwidth that a benchinf case reached
    at `tokens_per_s`; None where the ceiling was not measured."""
    passes_per_s = tokens_per_s / work["tokens"]
    gemm, read = best.get(f"gemm/{GEMM_OF[dtype]}"), best.get("memory_read")
    return dict(
        gemm=work["flops"] * passes_per_s / gemm if gemm else None,
        read=work["bytes_min"] * passes_per_s / read if read else None,
    )


def evaluate(rows, best):
    """Adds to each row what follows from its rounds.

    A row is one test in one format: `dtype`, `test`, `depth`, `batch`, `ours` (the name of the arm
    of benchinf that counts), `work` (of a benchinf pass, or None), and `arms`, each with its `name`
    and `rounds`."""
    for row in rows:
        ours = next((arm for arm in row["arms"] if arm["name"] == row["ours"]), None)
        peers = []
        for arm in row["arms"]:
            arm["tokens_per_s"] = summary(arm["rounds"])
            arm["benchinf_over_it"] = None
            if ours and arm is not ours:
                arm["benchinf_over_it"] = ratio(ours["rounds"], arm["rounds"])
            if arm["tokens_per_s"] and not arm["name"].startswith("benchinf"):
                peers.append(arm)
        best_peer = max(peers, key=lambda arm: arm["tokens_per_s"]["median"], default=None)
        row["best_peer"] = best_peer and best_peer["name"]
        row["shares"] = None
        if ours and ours["tokens_per_s"] and row["work"]:
            median = ours["tokens_per_s"]["median"]
            row["shares"] = shares(row["work"], median, row["dtype"], best)
    return rows


def relative_error(logits, reference):
    """||a - b|| / ||b|| in double precision; infinite where lengths differ or values are not
    numbers."""
    import numpy as np

    a, b = np.asarray(logits, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
