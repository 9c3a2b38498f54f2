# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How many keys the solution of the projection rests on."""

from __future__ import annotations

import itertools

import numpy as np

from .projection import project
from .report import BLACK, COLOURS, MARKERS, Report
from .solvers import STEPS, frank_wolfe


def make_problem(rng: np.random.Generator, size: int, d: int, distance: float):
    """Normal keys and a query of norm `distance` sqrt(d)."""
    query = rng.standard_normal(d)
    query *= distance * np.sqrt(d) / np.linalg.norm(query)
    return rng.standard_normal((size, d)), query


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "Support",
        """
How many keys the exact projection rests on: at most d + 1. For queries far from the
hull it is small whatever the context, as the paper says; nearer ones need more, and
more in longer contexts; one within the hull rests on d + 1 keys and has no gap.
Normal keys; the query's norm is a multiple of sqrt(d), the norm of a key.
""",
    )
    count = 5 if quick else 40
    d, distances = 32, (16, 4, 2, 1, 0.5)
    sizes = 2 ** np.arange(4, 9 if quick else 14)
    figure, (left, right) = report.pyplot.subplots(1, 2, figsize=(8.2, 3.6))
    rows = []
    for distance, colour, marker in zip(distances, COLOURS, MARKERS):
        supports = np.array(
            [
                [
                    np.count_nonzero(
                        project(*make_problem(rng, size, d, distance)).weights
                    )
                    for _ in range(count)
                ]
                for size in sizes
            ]
        )
        low, median, high = np.quantile(supports, (0.1, 0.5, 0.9), axis=1)
        left.plot(sizes, median, color=colour, marker=marker, ms=4, label=f"{distance}")
        left.fill_between(sizes, low, high, color=colour, alpha=0.15, lw=0)
        rows += [
            [distance, int(size), *map(float, x)]
            for size, *x in zip(sizes, low, median, high)
            if size in (sizes[0], sizes[len(sizes) // 2], sizes[-1])
        ]
    left.axhline(d + 1, color=BLACK, ls=":", label="d + 1 = 33")
    left.set(
        xscale="log",
        xlabel="keys M",
        ylabel="keys with weight (median, 10 to 90 %)",
        title="Exact solution, d = 32",
        ylim=(0, 50),
    )
    left.legend(title="norm(q) / sqrt(d)", title_fontsize=8, ncols=3, loc="upper left")
    report.table("support", ["norm(q) / sqrt(d)", "M", "10 %", "median", "90 %"], rows)

    # What a solver that stops at a gap has gathered.
    rows, limit = [], 60 if quick else 400
    for distance, colour, marker in zip((16, 4, 1), COLOURS, MARKERS):
        for step in STEPS:
            iterations, supports = [], []
            for _ in range(count):
                keys, query = make_problem(rng, 256, 128, distance)
                first = next(frank_wolfe(keys, query, step)).objective
                for i, x in enumerate(
                    itertools.islice(frank_wolfe(keys, query, step), limit)
                ):
                    if x.gap <= 1e-3 * 2 * first:
                        break
                else:
                    i = limit
                iterations.append(i)
                supports.append(x.support)
            rows.append(
                [
                    distance,
                    step,
                    float(np.median(iterations)),
                    float(np.quantile(iterations, 0.9)),
                ]
                + [float(np.median(supports))]
            )
            if step == "pairwise":
                right.scatter(
                    iterations,
                    supports,
                    s=14,
                    color=colour,
                    marker=marker,
                    alpha=0.6,
                    label=f"{distance}",
                )
    top = max(right.get_xlim()[1], 2)
    right.plot([1, top], [2, top + 1], color=BLACK, ls=":", label="iterations + 1")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="iterations to a gap of 1e-3 norm(q - u)^2",
        ylabel="keys with weight",
        title="Pairwise Frank-Wolfe, M = 256, d = 128",
    )
    right.legend(title="norm(q) / sqrt(d)", title_fontsize=8, loc="upper left")
    report.table(
        "frank_wolfe_support",
        [
            "norm(q) / sqrt(d)",
            "step",
            f"iterations, median (limit {limit})",
            "90 %",
            "keys with weight, median",
        ],
        rows,
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "support",
        figure,
        "Keys that the projection rests on, by context and by the query's distance, and "
        "what pairwise Frank-Wolfe gathers on the way.",
    )
