"""What follows from the rounds: medians, ratios, shares of the machine's ceilings."""

import math
import statistics

# Words between threads that take so many times as long went another way; benchinf's own files are
# warned of from the same factor on.
FAR_BEYOND = 2.5
# Readings that make a place.
READINGS_MIN = 3

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


def around(measured_round):
    """What a word took between two threads just before and just after a round of a case or probe,
    in nanoseconds; None where that could not be told."""
    conditions = measured_round["conditions"]
    return [conditions.get("handover_before_ns"), conditions.get("handover_ns")]


def reads_of(probes):
    """What words took around every round of reads in the files of probes, and the bytes a second of
    its fastest pass, which is what a ceiling is."""
    return [
        (around(read), ceiling["bytes"] / read["min_pass_ns"] * 1e9)
        for probe in probes
        for ceiling in probe["ceilings"]
        if ceiling["probe"] == "memory_read" and ceiling["outcome"]["status"] == "measured"
        for read in ceiling["rounds"]
    ]


def split(times_ns):
    """Sorted times in two groups of like ones: those whose logarithms are nearest the means of
    their groups. None where the median of one is not far beyond that of the other."""
    logs = [math.log(ns) for ns in times_ns]

    def spread_of(group):
        mean = statistics.fmean(group)
        return sum((log - mean) ** 2 for log in group)

    ends = range(READINGS_MIN, len(logs) - READINGS_MIN + 1)
    end = min(ends, key=lambda i: spread_of(logs[:i]) + spread_of(logs[i:]), default=None)
    if end is None:
        return None
    near, far = times_ns[:end], times_ns[end:]
    is_far = statistics.median(far) > FAR_BEYOND * statistics.median(near)
    return (near, far) if is_far else None


def places(rows, probes):
    """The places that the two threads were run at, told apart by what a word takes between them:
    each with its `name`, the extremes of those times, and what rounds of reads reached that stayed
    there, by their fastest passes (`read_per_s`, of None without any). Empty where words went one
    way."""
    reads = reads_of(probes)
    arms = [arm for row in rows for arm in row["arms"]]
    pairs = [pair for pair, _ in reads] + [pair for arm in arms for pair in arm["handover_ns"]]
    groups = split(sorted(ns for pair in pairs for ns in pair or () if ns is not None))
    if groups is None:
        return []
    found = [
        dict(name=name, min_ns=group[0], max_ns=group[-1])
        for name, group in zip(("near", "far"), groups)
    ]
    for place in found:
        rates = [rate for pair, rate in reads if place_of(pair, found) == place["name"]]
        place["read_per_s"] = summary(rates)
    return found


def place_of(pair, where):
    """The name of the place that a round began and ended at; None if it moved or cannot be told."""
    if pair is None or None in pair:
        return None
    names = {
        place["name"]
        for ns in pair
        for place in where
        if place["min_ns"] <= ns <= place["max_ns"]
    }
    return names.pop() if len(names) == 1 else None


def by_place(row, where):
    """Of a row, what its arms reached in the rounds that stayed at a place, and benchinf's ratio
    there to the best peer of the row: of the medians, with the extremes that any two rounds of
    theirs give, since rounds at a place are not pairs."""
    found = []
    for place in where:
        at = {}
        for arm in row["arms"]:
            rounds = zip(arm["rounds"], arm["handover_ns"])
            at[arm["name"]] = summary(
                [rate for rate, pair in rounds if place_of(pair, where) == place["name"]]
            )
        ours, peer = at.get(row["ours"]), at.get(row["best_peer"])
        over, read = None, None
        if ours and peer:
            over = dict(
                of_medians=ours["median"] / peer["median"],
                min=ours["min"] / peer["max"],
                max=ours["max"] / peer["min"],
            )
        if ours and row["work"] and place["read_per_s"]:
            passes_per_s = ours["median"] / row["work"]["tokens"]
            read = row["work"]["bytes_min"] * passes_per_s / place["read_per_s"]["max"]
        found.append(
            dict(place=place["name"], tokens_per_s=at, benchinf_over_it=over, read=read)
        )
    return found


def evaluate(rows, best, where):
    """Adds to each row what follows from its rounds.

    A row is one test in one format: `dtype`, `test`, `depth`, `batch`, `ours` (the name of the arm
    of benchinf that counts), `work` (of a benchinf pass, or None), and `arms`, each with its `name`,
    its `rounds`, and `handover_ns`, what a word took between threads before and after each."""
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
        row["by_place"] = by_place(row, where)
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
