# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How many tokens a row needs, as the context grows."""

from __future__ import annotations

import functools
import statistics

import numpy as np

from . import regimes
from .attention import EXACT, Attention, sketch
from .report import BLACK, COLOURS, MARKERS, Report, percent

TOLERANCE = 0.01
LONGEST = 65536
NEEDLE = functools.partial(regimes.needle, logit=12.0)


def needed(problem: regimes.Problem, tolerance: float) -> np.ndarray:
    """The fewest tokens that hold 1 - tolerance of the mass, in float64 [R]."""
    counts = []
    for logits in problem.logits:
        # What is left out, from the least weight up.
        left = np.cumsum(np.sort(np.exp(logits - logits.max())))
        kept = len(logits) - np.searchsorted(left, tolerance * left[-1], side="right")
        counts.append(kept)
    return np.array(counts)


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "Tokens needed as the context grows",
        f"""
Is the cost of a decode step independent of the context? The tokens that hold 99 % of
a row's mass, and those that a sketch (4 bits, groups of 32, rotated, one norm a token:
69 bytes; `pick proving`) takes to prove it. "needle, logit 12" has four keys at a fixed
logit: they suffice until the others together outweigh 1 % of them, near T = 4 e^12 /
100 = 6,500, and then nearly everything is needed. With a gap that grows as log T four
keys suffice in any context. Independent normal keys need a fixed *share* of it. A list
is chosen from estimates of the mass; rows that it does not prove would be grown by
another round. CodeLM is of the last T tokens of its trace.
""",
    )
    generators = {**regimes.REGIMES, "needle, logit 12": NEEDLE}
    del generators["needle"]
    lengths = [512, 1024, 2048] if quick else [2**n for n in range(9, 17)]
    method = sketch(4, 32, True, per_token=True)
    attention = Attention(
        [method, EXACT], {"proving": (f"proving tolerance {TOLERANCE}", LONGEST)}
    )
    rows, curves = [], {}
    for name in (*generators, *regimes.TRACES):
        for length in lengths:
            if name in generators:
                given = [
                    regimes.rounded(*generators[name](rng, 4, length), rng)
                    for _ in range(1 if quick else 8)
                ]
            elif length <= 8192:
                given = [regimes.load_trace(name, length)]
            else:
                continue
            most, truth = (
                np.concatenate([needed(x, t) for x in given]) for t in (0.1, TOLERANCE)
            )
            exact, found = (
                [attention.run(x, m, "proving", report) for x in given]
                for m in (EXACT, method)
            )
            counts = [np.concatenate([x.count for x in xs]) for xs in (exact, found)]
            tau = np.concatenate([x.tau for x in found])
            medians = [float(np.median(x)) for x in (most, truth, *counts)]
            rows.append(
                [name, length, *medians, percent(float(np.mean(tau <= TOLERANCE)))]
                + [len(tau)]
            )
            curves.setdefault(name, []).append((length, medians[1], medians[3]))
    report.table(
        "tokens",
        ["regime", "T", "for 90 %, median", "for 99 %, median", "exact keys take"]
        + ["the sketch takes", "and proves", "rows"],
        rows,
    )
    normal = statistics.NormalDist()
    rule = 1 - normal.cdf(1 + normal.inv_cdf(TOLERANCE))
    share = [row[3] / row[1] for row in rows if row[0] == "gauss"]
    report.table(
        "gauss_rule",
        ["normal logits, s = 1: share of the context for 99 %", ""],
        [
            ["rule: k / T = 1 - Phi(s + Phi^-1(.01))", rule],
            ["measured, longest T", share[-1]],
        ],
    )

    draw(report, curves, lengths)


def draw(report: Report, curves: dict, lengths: list[int]) -> None:
    figure, axes = report.pyplot.subplots(1, 2, figsize=(9.2, 4.1), sharey=True)
    # All that grows with the context lies on the line of all tokens: one suffices.
    hidden = ("all equal", "low rank")
    shown = [name for name in curves if name not in hidden]
    colours, markers = (*COLOURS, "0.5"), (*MARKERS, "*")
    for name, colour, marker in zip(shown, colours, markers, strict=True):
        t, *counts = np.array(curves[name]).T
        dash = "--" if name in regimes.TRACES else "-"
        for axis, count in zip(axes, counts):
            style = {"color": colour, "marker": marker, "ms": 4, "lw": 1.4, "ls": dash}
            axis.plot(t, count, label=name, **style)
    titles = ("Hold 99 % of the mass (float64)", "Taken by a 4-bit sketch to prove it")
    for axis, title in zip(axes, titles):
        axis.plot(lengths, lengths, color=BLACK, lw=0.8, ls=":")
        axis.text(lengths[0], lengths[0] * 1.3, "all", fontsize=8)
        axis.set(xscale="log", yscale="log", xlabel="context T, tokens", title=title)
        axis.set_xticks(lengths[::2], [str(n) for n in lengths[::2]])
        axis.minorticks_off()
    axes[0].set_ylabel("tokens per row, median")
    figure.tight_layout(rect=(0, 0.03, 0.85, 1))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center left", bbox_to_anchor=(0.85, 0.55))
    report.figure(
        "tokens",
        figure,
        "Tokens that a row needs for 99 % of its mass, and those that a 4-bit sketch "
        "takes to prove it. A flat line is a cost that does not depend on the context.",
    )
