# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times of a model's decode step beside SDPA."""

from __future__ import annotations

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn, Table


def _draw(pyplot, result):
    r = result.results
    contexts = [c["context"] for c in r["contexts"]]
    names = [p["name"] for p in r["contexts"][0]["policies"]]
    lines = {"SDPA": [c["sdpa_seconds"] for c in r["contexts"]]}
    for i, name in enumerate(names):
        lines[name] = [c["policies"][i]["seconds"] for c in r["contexts"]]
    how = "CUDA graphs" if r["graphs"] else "eager"
    figure, (left, right) = style.new(
        pyplot, f"Decode step of {r['layers']} layers of Llama's shapes ({r['shapes']}), "
        f"batch {r['batch']}, {r['dtype']}, {how}",
        1, 2, height=4.0,
    )  # fmt: skip
    sdpa = np.array(lines["SDPA"])
    for i, (name, seconds) in enumerate(lines.items()):
        drawn = {
            "color": style.BLACK if i == 0 else style.COLOURS[(i - 1) % 7],
            "marker": style.MARKERS[i % 7],
            "linestyle": style.DASHES[i % 4],
            "markersize": 4.5,
        }
        left.plot(contexts, 1e3 * np.array(seconds), label=name, **drawn)
        right.plot(contexts, sdpa / np.array(seconds), **drawn)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(contexts, [style.si(c) for c in contexts])
        axis.set_xlabel("context [tokens]")
    left.set_yscale("log")
    left.set_ylabel("time of a step [ms], median")
    right.set_ylabel("SDPA's time over this one's [1]")
    style.plain_log(left.yaxis)
    style.above(left, 2)
    yield Drawn(
        "steps",
        figure,
        "The whole model's step, projections, norms and head included; both sides differ "
        "in attention alone. Weights are random and keys planted, so that about "
        f"{100 * r['need']:g} % of the tokens hold nearly all mass.",
    )
    rows = []
    for name, seconds in lines.items():
        row = [name]
        for i, t in enumerate(seconds):
            row.append(f"{style.three(1e3 * t)} ({sdpa[i] / t:.2f}x)")
        rows.append(row)
    yield Table(
        "steps",
        "Latency of a model's step",
        "Median ms of one step, and how many times as fast as SDPA.",
        ["attention", *(style.si(c) for c in contexts)],
        rows,
    )


DRAWERS = [
    Drawer(
        "A model's step beside SDPA",
        "steps",
        _draw,
        "python -m vashista.eval steps --device cuda --json RESULTS/steps.json",
    )
]
