"""Renders what a session measured, as Markdown."""


def figure(value):
    """Three significant digits, without an exponent."""
    if value is None:
        return "–"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def percent(value):
    return "–" if value is None else f"{100 * value:.0f} %"


def spread(value):
    """A median with its extremes."""
    if value is None:
        return "–"
    return f"{figure(value['median'])} [{figure(value['min'])}, {figure(value['max'])}]"


def times(value):
    """A ratio with the extremes of its rounds."""
    if value is None:
        return "–"
    return f"{value['of_medians']:.2f} [{value['min']:.2f}, {value['max']:.2f}]"


def table(header, align, rows):
    """A Markdown table with columns padded to their width; `align` is a string of l and r."""
    cells = [header] + rows
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row):
        padded = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, align)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * (width + 1) + ":" if side == "r" else "-" * (width + 2)
        for width, side in zip(widths, align)
    ]
    return "\n".join([line(header), "|" + "|".join(rule) + "|"] + [line(row) for row in rows])


def test_name(row):
    return row["test"] + (f" b{row['batch']}" if row["batch"] > 1 else "")


def best_table(result):
    rows = []
    for row in result["rows"]:
        by_name = {arm["name"]: arm for arm in row["arms"]}
        ours, peer = by_name.get(row["ours"]), by_name.get(row["best_peer"])
        shares = row["shares"] or {}
        rows.append([
            row["dtype"],
            test_name(row),
            spread(ours and ours["tokens_per_s"]),
            row["best_peer"] or "–",
            spread(peer and peer["tokens_per_s"]),
            times(peer and peer["benchinf_over_it"]),
            percent(shares.get("gemm")),
            percent(shares.get("read")),
        ])
    header = ["dtype", "test", "benchinf t/s", "best peer", "its t/s", "benchinf ÷ peer"]
    return table(header + ["of gemm", "of read"], "llrlrrrr", rows)


def place_table(result):
    rows = []
    for row in result["rows"]:
        for here in row["by_place"]:
            ours = here["tokens_per_s"].get(row["ours"])
            peer = here["tokens_per_s"].get(row["best_peer"])
            if not ours and not peer:
                continue
            rows.append([
                row["dtype"],
                test_name(row),
                here["place"],
                spread(ours),
                str(ours["n_rounds"] if ours else 0),
                row["best_peer"] or "–",
                spread(peer),
                str(peer["n_rounds"] if peer else 0),
                times(here["benchinf_over_it"]),
                percent(here["read"]),
            ])
    header = ["dtype", "test", "threads", "benchinf t/s", "rounds", "best peer", "its t/s"]
    header += ["rounds", "benchinf ÷ peer", "of read there"]
    return table(header, "lllrrlrrrr", rows)


def place_lines(result):
    for place in result["places"]:
        line = (
            f"- **{place['name']}**: a word takes {place['min_ns']:.0f} to {place['max_ns']:.0f} ns"
        )
        read = place["read_per_s"]
        if read:
            gb_per_s = {key: figure(read[key] / 1e9) for key in ("median", "min", "max")}
            line += (
                f"; the fastest pass of a round of reads is at {gb_per_s['median']} "
                f"[{gb_per_s['min']}, {gb_per_s['max']}] GB/s ({read['n_rounds']} rounds)"
            )
        yield line


def all_table(result):
    rows = []
    for row in result["rows"]:
        for arm in row["arms"]:
            rows.append([
                row["dtype"],
                test_name(row),
                arm["name"] + (" ¹" if arm.get("cut") else ""),
                spread(arm["tokens_per_s"]),
                str(arm["tokens_per_s"]["n_rounds"] if arm["tokens_per_s"] else 0),
                times(arm["benchinf_over_it"]),
            ])
    header = ["dtype", "test", "arm", "t/s", "rounds", "benchinf ÷ arm"]
    return table(header, "lllrrr", rows)


def check_table(result):
    rows = [
        [
            check["dtype"],
            check["arm"],
            f"{check['error']:.1e}" if check["error"] is not None else "–",
            f"{check['tolerance']:.0e}",
            "agrees" if check["agrees"] else "**does not agree**",
        ]
        for check in result["checks"]
    ]
    return table(["dtype", "arm", "error", "tolerance", "verdict"], "llrrl", rows)


def ceiling_table(result):
    rows = []
    for name, rate in sorted(result["ceilings"].items()):
        unit = "GB/s" if name.startswith("memory") else "GOP/s" if "int8" in name else "GFLOP/s"
        rows.append([name, f"{figure(rate / 1e9)} {unit}"])
    return table(["ceiling", "best"], "lr", rows)


def matrices(arm):
    types = arm.get("tensor_types")
    if not types:
        return arm["name"]
    return f"{arm['name']} ({', '.join(f'{n} {name}' for name, n in types.items())} matrices)"


def arm_lines(result):
    """What the arms are; those of one engine in one line."""
    names = {}
    for arm in result["arms"]:
        parts = [arm.get("version"), arm.get("settings"), arm.get("build")]
        names.setdefault("; ".join(part for part in parts if part), []).append(matrices(arm))
    for about, arms in names.items():
        yield f"- **{', '.join(arms)}**: {about}"


def tool_name(result):
    tool = result["benchinf"]["tool"]
    if not tool:
        return result["benchinf"]["version"]
    dirty = ", modified" if tool.get("dirty") else ""
    return f"{tool['name']} {tool['version']} ({tool.get('commit') or 'no commit'}{dirty})"


def markdown(result):
    """The whole report."""
    settings, machine = result["settings"], result["machine"]
    parts = [
        f"{settings['model']} (seed {settings['seed']}) on {machine['processor']}, "
        f"{settings['n_threads']} threads, "
        f"{settings['rounds']} interleaved round{'s' * (settings['rounds'] > 1)}, "
        f"{result['started']}.\n"
        f"{tool_name(result)}.",
        best_table(result),
        "t/s: median over rounds [slowest, fastest]. "
        "benchinf ÷ peer: of the medians [least, greatest of the rounds' own ratios]; "
        "the extremes of five rounds hold the median with 93.8 %.\n"
        "of gemm, of read: what benchinf reached of the best product and of the best read "
        "bandwidth that `benchinf probe` measured between the rounds.",
    ]
    if result["ceilings"]:
        parts.append(ceiling_table(result))
    if result["places"]:
        parts += [
            "## By where the threads ran",
            "The host ran the two threads at two places, which a word from one to the other tells "
            "apart. Here are the rounds that began and ended at one; they are no pairs, the "
            "extremes of a ratio are those of any two of its rounds, and a place with few rounds "
            "says little. Shares are of the fastest pass of reads there.",
            "\n".join(place_lines(result)),
            place_table(result),
        ]
    parts += ["## All arms", all_table(result)]
    if any(arm.get("cut") for row in result["rows"] for arm in row["arms"]):
        parts.append(
            f"¹ Passes were ended after {settings['max_seconds']:g} s and count the steps made."
        )
    parts += [
        "## Logits",
        "Last position of one prompt of "
        f"{settings['n_check_tokens']} tokens, ‖a − b‖ / ‖b‖ against benchinf's in f32, "
        "before anything was timed. "
        f"Peers compute it twice, at once and with the last {settings['n_check_single']} tokens "
        "one by one; the larger error stands here.",
        check_table(result),
    ]
    for title, key in (("Left out", "left_out"), ("Warnings", "warnings")):
        if result[key]:
            parts += [f"## {title}", "\n".join(f"- {line}" for line in result[key])]
    parts += ["## Arms", "\n".join(arm_lines(result))]
    return "\n\n".join(parts) + "\n"
