# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bytes against what was proved, and what it changed for the model."""

from __future__ import annotations

import math

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn, Table

_PARTS = (
    ("scan", "scan: sketches, summaries", style.SKY),
    ("tokens", "keys and values of chosen tokens", style.BLUE),
    ("fallback", "dense, of groups that fell back", style.RED),
    ("verified", "dense, to verify drafts", style.ORANGE),
)
_READ = (
    "Bytes are shares of dense keys and values; perplexity has 95 % intervals over "
    "windows. A proof bounds the true mass that its own row missed: the most that any row "
    "missed may exceed the mean that was proved."
)


def entries(results) -> list[dict]:
    """Of `layers`, a list of settings, or of `model`, policies."""
    if isinstance(results, dict):
        return results["policies"]
    return [{"name": r["setting"]["name"], **r} for r in results]


def _bars(pyplot, result, title: str):
    found = entries(result.results)
    names, whole = [e["name"] for e in found], [e["whole"] for e in found]
    height = 2.4 + 0.27 * len(names)
    figure, (left, middle, right) = style.new(
        pyplot, title, 1, 3, height=height, sharey=True, width_ratios=[1.5, 1, 1]
    )
    at = np.arange(len(names))
    start = np.zeros(len(names))
    for key, label, colour in _PARTS:
        share = np.array([100 * w.get(key, 0.0) for w in whole])
        if key == "verified" and not share.any():
            continue
        left.barh(at, share, left=start, color=colour, label=label, height=0.7)
        start += share
    for y, total in zip(at, start):
        left.text(total + 1, y, f"{total:.1f}", va="center", fontsize=7)
    left.set_xlim(0, 1.17 * start.max())
    left.set_yticks(at, names, fontsize=7.5)
    left.invert_yaxis()
    left.set_xlabel("bytes read [% of dense]")
    ppl = np.array([w["ppl"] for w in whole])
    ends = np.array([[w["ppl_low"], w["ppl_high"]] for w in whole]).T
    error = None if np.isnan(ends).any() else np.abs(ends - ppl)
    middle.axvline(0, color=style.GREY, linewidth=0.8)
    middle.errorbar(
        ppl, at, xerr=error, fmt="o", color=style.BLACK, markersize=4, capsize=2,
        linewidth=1,
    )  # fmt: skip
    middle.set_xlabel("perplexity against dense [%]")
    # Fixed budgets may be far off, and certified ones are within a percent.
    middle.set_xscale("symlog", linthresh=1)
    ticks = [-10, -1, 0, 1, 10, 100]
    low, high = np.nanmin([*ends[0], *ppl, -1]), np.nanmax([*ends[1], *ppl, 1])
    middle.set_xlim(1.3 * low, 1.3 * high)
    ticks = [t for t in ticks if 1.3 * low <= t <= 1.3 * high]
    middle.set_xticks(ticks, [f"{t:+d}" if t else "0" for t in ticks], fontsize=7)
    middle.minorticks_off()
    for key, label, marker, colour in (
        ("tau", "proved, mean", "D", style.ORANGE),
        ("tau_true_max", "true, most", "s", style.GREEN),
        ("tau_true", "true, mean", "o", style.BLUE),
    ):
        share = np.array([100 * w[key] for w in whole])
        share[~(share > 1e-4)] = math.nan  # Nothing is missed: not on a logarithm.
        right.plot(share, at, marker, color=colour, label=label, markersize=4.5)
    right.set_xscale("log")
    right.set_xlabel("tau, mass missed [%]")
    style.plain_log(right.xaxis)
    right.xaxis.get_major_locator().set_params(subs=(1,))
    style.above(left, 1)
    style.above(right, 1)
    return figure


def _heads(pyplot, result):
    """Tokens attended by each KV head of each layer, of every entry that has them."""
    found = [e for e in entries(result.results) if e["whole"]["scan"]]
    found = [e for e in found if "heads" in e["layers"][0]][-6:]
    if not found:
        return None
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    figure, axes = style.new(
        pyplot, "Tokens attended by each KV head of each layer", lines, columns,
        height=1.2 + 2.3 * lines, squeeze=False,
    )  # fmt: skip
    grids = [100 * np.array([r["heads"] for r in e["layers"]]) for e in found]
    most = max(g.max() for g in grids)
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    for axis, entry, grid in zip(axes.flat, found, grids):
        image = axis.imshow(
            grid, vmin=0, vmax=most, cmap=style.SEQUENTIAL, aspect="auto"
        )
        style.annotate(axis, grid, image, lambda v: f"{v:.1f}")
        axis.grid(False)
        axis.set_title(entry["name"], fontsize=8)
        axis.set_xticks(range(grid.shape[1]))
        axis.set_yticks(range(grid.shape[0]))
        axis.set_xlabel("KV head")
        axis.set_ylabel("layer")
    figure.colorbar(image, ax=axes, label="tokens attended [%]", fraction=0.03)
    return figure


def _table(result, says: str) -> Table:
    rows = []
    for e in entries(result.results):
        w = e["whole"]
        proved = "" if math.isnan(w["tau"]) else f"{100 * w['tau']:.1f} %"
        parts = " + ".join(
            f"{100 * w[key]:.2f}"
            for key, *_ in _PARTS
            if key != "verified" or w.get(key)
        )
        row = [
            e["name"],
            f"{parts} = {100 * w['bytes']:.2f} %",
            f"{100 * w['tokens']:.2f} %",
            proved,
            f"{100 * w['tau_true']:.2f} / {100 * w['tau_true_max']:.1f} %",
            f"{w['error']:.4f} / {w['error_p99']:.3f}",
            f"{w['ppl']:+.3f} %" + _interval(w),
            f"{w['kl']:.5f}",
            str(w["false"]),
        ]
        if "next" in e:
            n = e["next"]
            row.append(f"{n['clear_equal']:,} of {n['clear']:,}")
            row.append(f"{100 * n['equal'] / n['tokens']:.2f} %")
            row.append(style.three(1e3 * e["seconds"]))
        rows.append(row)
    columns = [
        "policy", "bytes: scan + tokens + fallback + verification", "tokens per KV head",
        "proved tau, mean", "true tau, mean / most", "output error, mean / p99",
        "PPL against dense, 95 %", "KL", "false certificates",
    ]  # fmt: skip
    if isinstance(result.results, dict):
        columns += ["next token as SDPA's, where clear", "of all", "ms per token"]
    return Table("quality", "Quality by policy", says, columns, rows)


def _interval(w: dict) -> str:
    if math.isnan(w["ppl_low"]):
        return ""
    return f", {w['ppl_low']:+.3f} to {w['ppl_high']:+.3f}"


def _model(pyplot, result):
    r = result.results
    figure = _bars(
        pyplot, result, f"{r['model']} at {r['context']:,} tokens: bytes read, perplexity, "
        "proved and true mass missed",
    )  # fmt: skip
    sentence = (
        f"{r['model']} ({r['dtype']}) decodes the last {r['decoded']} tokens of "
        f"{r['windows']} windows of {r['context']:,}, teacher-forced, by transformers with "
        'attn_implementation="vashista". '
    )
    yield Drawn(
        "quality-model",
        figure,
        sentence + _READ,
    )
    noise = r["noise"]
    if noise["type"]:
        sentence += (
            f"A next token is clear where SDPA's own two best logits are further apart "
            f"than {noise['max']:.3g}, the most that {noise['type']} changes such a "
            f"margin: {100 * noise['clear']:.1f} % of the tokens. "
        )
    sentence += (
        f"SDPA takes {style.three(1e3 * r['sdpa_seconds'])} ms per token; times are eager, of one "
        "row."
    )
    yield _table(result, sentence)
    heads = _heads(pyplot, result)
    if heads is not None:
        yield Drawn(
            "need-model",
            heads,
            f"Tokens attended by each KV head and layer of {r['model']}, in percent of "
            f"the context of {r['context']:,}, of those policies that choose.",
        )


def _layers(pyplot, result):
    first = result.results[0]
    sentence = (
        f"CodeLM, {first['tokens']:,} tokens decoded through compiled attention in every "
        "layer. "
    )
    drawn = Drawn(
        "quality-sketches",
        _bars(pyplot, result, "Sketches and rounds: bytes read, perplexity and proofs"),
        sentence + "Each line changes the format of the sketch, or the rounds, of the "
        f"first; tau at most 50 % unless it says otherwise. {_READ}",
    )
    yield drawn
    table = _table(result, drawn.says)
    yield Table("ablation", "Ablation", table.says, table.columns, table.rows)


DRAWERS = [
    Drawer(
        "Bytes, proofs and perplexity of a model",
        "model",
        _model,
        "python -m vashista.eval model --codelm CODELM --json RESULTS/model.json",
    ),
    Drawer(
        "Ablation of sketches",
        "layers",
        _layers,
        "python -m vashista.eval layers --codelm CODELM --settings SETTINGS "
        "--json RESULTS/layers.json",
    ),
]
