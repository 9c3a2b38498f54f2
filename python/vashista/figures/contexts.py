# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decode time against context, dense and sparse."""

from __future__ import annotations

import re

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn, Table


def _lines(runs: dict) -> dict[str, tuple[list[int], list[float]]]:
    """Contexts and seconds of each kind of step."""
    lines = {}
    for kind, run in runs.items():
        points = run["crossover"]["contexts"]
        contexts = [p["context"] for p in points]
        name = "dense" if "dense" not in lines else "dense, second run"
        lines[name] = contexts, [p["dense_seconds"] for p in points]
        if "certified_seconds" in points[0]:
            lines[f"certified: {run['says']}"] = (
                contexts,
                [p["certified_seconds"] for p in points],
            )
            lines["as many tokens, not certified"] = (
                contexts,
                [p["uncertified_seconds"] for p in points],
            )
        else:
            lines[f"{kind}: {run['says']}"] = (
                contexts,
                [p["sparse_seconds"] for p in points],
            )
    return lines


def _draw(pyplot, result):
    lines = _lines(result.results)
    figure, axes = style.new(
        pyplot, "Time of one decode step of attention, dense and sparse, by context",
        height=3.9,
    )  # fmt: skip
    for i, (name, (contexts, seconds)) in enumerate(lines.items()):
        second = "second run" in name
        colour = style.BLACK if name.startswith("dense") else style.COLOURS[i]
        axes.plot(
            contexts, 1e3 * np.array(seconds), label=name, color=colour,
            marker=style.MARKERS[i], markersize=4.5, linewidth=1 if second else 1.8,
            linestyle=":" if second else style.DASHES[i % 3],
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = max(lines.values(), key=lambda line: len(line[0]))[0]
    axes.set_xticks(ticks, [style.si(t) for t in ticks])
    axes.set_xlabel("context [tokens]")
    axes.set_ylabel("time of a step [ms], median")
    style.plain_log(axes.yaxis)
    axes.legend(loc="upper left")
    # Shapes, context and type; then which keys.
    problems = {k: r["problem"].split(";")[0] for k, r in result.results.items()}
    shapes, _ = next(iter(problems.values())).split(", ", 1)
    shapes = re.sub(r" T=\d+", "", shapes)
    keys = "; ".join(f"{k}: {p.split(', ', 1)[1]}" for k, p in problems.items())
    yield Drawn(
        "decode-time",
        figure,
        f"Decode time against context, {shapes} ({keys}). A dense step reads everything and "
        "grows with it; a routed one reads a summary of every page and a fixed number of "
        "tokens; a certified one reads a sketch of every key, and what its proof needs.",
    )
    longest = max(max(contexts) for contexts, _ in lines.values())
    rows = []
    for name, (contexts, seconds) in lines.items():
        by = dict(zip(contexts, seconds))
        cells = [style.three(1e3 * by[c]) if c in by else "" for c in ticks]
        rows.append([name, *cells])
    yield Table(
        "decode-time",
        "Latency of attention by context",
        f"Median ms of one step, up to {longest:,} tokens.",
        ["step", *(style.si(t) for t in ticks)],
        rows,
    )


DRAWERS = [
    Drawer(
        "Decode time against context",
        "contexts",
        _draw,
        "python -m vashista.eval contexts --json RESULTS/contexts.json",
    )
]
