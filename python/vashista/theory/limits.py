# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the paper's statements need a condition, or fail."""

from __future__ import annotations

import numpy as np

from .leakage import make_instances
from .projection import logsumexp, project, project_entropic
from .report import BLACK, BLUE, COLOURS, GREEN, MARKERS, RED, Report


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    run_bias(report, quick, rng)
    run_per_token(report, quick)
    run_context(report, quick, rng)


def run_bias(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "Bias",
        """
The paper's error of O(epsilon) on the face needs strict complementarity: a solution
whose weights are positive on all of the face. Then norm(y_eps - y*) <= norm(v)
epsilon + D tau (Theorem B). Without it the error over epsilon grows as log(1 /
epsilon): keys 0 and 1 on the line, query 0. Unconditionally the error is at most
sqrt(epsilon log M).
""",
    )
    epsilons = np.logspace(-1, -6, 6 if quick else 16)
    # A face of one key has no tangent, and no bias at all.
    instances = [
        i for i in make_instances(10 if quick else 50, rng) if i.solution.face.sum() > 1
    ]
    regular = np.full((len(instances), len(epsilons)), np.nan)
    for i, instance in enumerate(instances):
        for j, epsilon in enumerate(epsilons):
            solution = project_entropic(instance.keys, instance.query, epsilon)
            error = np.linalg.norm(solution.point - instance.solution.point)
            regular[i, j] = error / epsilon / instance.tangent
            report.verify(
                "norm(y_eps - y*) <= sqrt(epsilon log M)",
                np.sqrt(epsilon * np.log(len(instance.keys))),
                error,
            )
    line = np.array([[0.0], [1.0]])
    fails = np.array(
        [project_entropic(line, np.zeros(1), e).point[0] / e for e in epsilons]
    )
    shown = [1e-2, 1e-4, 1e-6]
    report.table(
        "bias",
        ["epsilon", "error / epsilon, keys 0 and 1, query 0"],
        [
            [e, float(project_entropic(line, np.zeros(1), e).point[0] / e)]
            for e in shown
        ],
    )

    figure, axes = report.pyplot.subplots(figsize=(6.2, 3.8))
    for row in regular:
        axes.plot(epsilons, row, color=BLUE, lw=0.7, alpha=0.4)
    axes.plot(
        [], [], color=BLUE, label=f"{len(regular)} random instances (also over norm(v))"
    )
    axes.plot(
        epsilons,
        fails,
        color=RED,
        marker="s",
        ms=4,
        ls="--",
        label="keys {0, 1}, query 0",
    )
    axes.axhline(1, color=BLACK, lw=1, ls=":")
    axes.text(epsilons[-1], 1.15, "norm(v): Theorem B", fontsize=8)
    axes.set(
        xscale="log",
        xlabel="temperature epsilon (squared key units)",
        ylabel="norm(y_eps - y*) / epsilon",
        title="The O(epsilon) bias needs strict complementarity",
    )
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "bias",
        figure,
        "Distance of the entropic from the exact projection over epsilon: bounded for "
        "random instances, growing as log(1 / epsilon) where a solution's weight is 0 "
        "on the face.",
    )


def leak_of_one(ratio: float, log_copies: float) -> float:
    """log weight of the one key off the face, with many copies of the other.

    Keys 0, exp(log_copies) copies of (-.05, 1) and one (-.05, -1); query (1, 0).
    The face is {0} and Delta = .05 for all others, at epsilon = .05 / ratio.
    """
    keys = np.array([[0.0, 0.0], [-0.05, 1.0], [-0.05, -1.0]])
    counts = np.array([1.0, np.exp(log_copies), 1.0])
    solution = project_entropic(keys, np.array([1.0, 0.0]), 0.05 / ratio, counts)
    return float(solution.log_weights[2])


def run_per_token(report: Report, quick: bool) -> None:
    report.section(
        "No bound per token",
        """
The paper's corollary bounds each token off the face by exp(-Delta / (c epsilon)).
No constant c makes that true: keys 0, N copies of (-.05, 1), one key (-.05, -1),
query (1, 0). The copies pull the solution, its residual turns towards the one key,
and its weight is far above the bound. The *total* mass off the face keeps the
exponent; a single token does not.
""",
    )
    copies = np.unique(np.logspace(0, 5, 11 if quick else 41).astype(int))
    weights = np.array([np.exp(leak_of_one(5, np.log(n))) for n in copies])
    ratios = np.array(
        [50.0, 100, 200] if quick else [25.0, 50, 75, 100, 125, 150, 175, 200]
    )
    needed = [-r / leak_of_one(r, 2.4 * r) for r in ratios]
    report.table(
        "per_token",
        [
            "Delta / epsilon",
            "copies N",
            "weight of the one key",
            "bound, c = 2",
            "c needed",
        ],
        [[5.0, "4000", np.exp(leak_of_one(5, np.log(4000))), np.exp(-2.5), None]]
        + [
            [r, f"e^{2.4 * r:.0f}", np.exp(leak_of_one(r, 2.4 * r)), np.exp(-r / 2), c]
            for r, c in zip(ratios, needed)
            if r in (50, 100, 200)
        ],
    )

    figure, (left, right) = report.pyplot.subplots(1, 2, figsize=(8.2, 3.5))
    left.plot(
        copies, weights, color=BLUE, marker="o", ms=3, label="weight of the one key"
    )
    for c, colour, dash in ((1, GREEN, ":"), (2, RED, "--")):
        label = f"exp(-Delta / ({c} epsilon))" if c > 1 else "exp(-Delta / epsilon)"
        left.axhline(np.exp(-5 / c), color=colour, ls=dash, lw=2, label=label)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="copies N of another key",
        ylabel="weight of one token off the face",
        title="Delta / epsilon = 5: above both bounds",
    )
    left.set_ylim(top=2)
    left.legend(loc="upper left")
    right.plot(ratios, needed, color=BLUE, marker="o", ms=4, label="needed")
    right.axhline(2, color=RED, ls="--", lw=2, label="the paper's 2")
    right.set(
        xlabel="Delta / epsilon",
        ylabel="least c that would hold",
        title="N = exp(2.4 Delta / epsilon)",
        ylim=(0, None),
    )
    right.legend(loc="upper left")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "per_token",
        figure,
        "The weight of one token off the face can exceed exp(-Delta / (c epsilon)) for "
        "every constant c: keys 0, N copies of (-.05, 1), one (-.05, -1); query (1, 0).",
    )


def run_context(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "The number of keys is a factor",
        """
A fixed gap does not give a mass that is independent of the context: M keys at the
same gap hold up to M exp(-Delta / epsilon). To certify a tolerance the gap has to
grow with the logarithm of the context, Delta >= epsilon (log(M / tolerance) + D
norm(v)).
""",
    )
    sizes = np.unique(
        np.logspace(1, 3.5 if quick else 5, 6 if quick else 17).astype(int)
    )
    ratios, rows = (8, 12, 16), []
    figure, axes = report.pyplot.subplots(figsize=(6.2, 3.8))
    for ratio, colour, marker in zip(ratios, COLOURS, MARKERS):
        masses = []
        for size in sizes:
            # One vertex at 0, all others at the gap 1 in the query's direction.
            others = np.column_stack(
                [-np.ones(size), rng.standard_normal((size, 7)) / 4]
            )
            keys = np.vstack([np.zeros(8), others])
            query = np.eye(8)[0]
            exact = project(keys, query)
            assert exact.face.tolist() == [True] + [False] * size
            solution = project_entropic(keys, query, exact.delta / ratio)
            mass = float(np.exp(logsumexp(solution.log_weights[1:])))
            report.verify(
                "one key on the face: tau / (1 - tau) <= sum exp(-mu_j / epsilon)",
                size * np.exp(-float(ratio)),
                mass / (1 - mass),
                slack=1e-9 * size * np.exp(-float(ratio)),
            )
            masses.append(mass)
            rows.append([ratio, int(size), mass, float(size * np.exp(-ratio))])
        axes.plot(
            sizes,
            masses,
            color=colour,
            marker=marker,
            ms=4,
            label=f"Delta / epsilon = {ratio}",
        )
        axes.plot(
            sizes, np.minimum(sizes * np.exp(-ratio), 1), color=colour, ls=":", lw=1
        )
    axes.plot([], [], color=BLACK, ls=":", label="M exp(-Delta / epsilon), at most 1")
    report.table(
        "context",
        ["Delta / epsilon", "M", "tau", "M exp(-Delta / epsilon)"],
        rows[:: len(sizes) // 3],
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="keys off the face M",
        ylabel="tau, mass off the face",
        title="A fixed gap does not fix the mass",
    )
    axes.legend(loc="lower right")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "context",
        figure,
        "Mass off the face against the number of keys at a fixed gap: proportional to "
        "it, until nothing else is left.",
    )
