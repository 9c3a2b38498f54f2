# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How fast solvers come near the solution, and how well they know it."""

from __future__ import annotations

import itertools

import numpy as np

from . import compiled
from .projection import diameter, objective, project, project_entropic
from .report import BLACK, COLOURS, DASHES, Report
from .solvers import STEPS, eg, frank_wolfe
from .support import make_problem

RATIOS = (10, 100, 1000)  # squared diameter over epsilon
COMPILED = (1, 4, 16, 64, 256)  # iterations of compiled solvers
REACHED = 1e-3


def make_problems(rng: np.random.Generator, count: int) -> list[tuple]:
    """Keys of diameter 1 and queries within and beyond their hull, as f32 holds them."""
    problems = []
    for _ in range(count):
        size, d = int(rng.integers(64, 401)), int(rng.integers(8, 33))
        keys, query = make_problem(rng, size, d, rng.uniform(0.5, 4))
        unit = diameter(keys)
        problems.append(
            tuple(
                x.astype(np.float32).astype(float) for x in (keys / unit, query / unit)
            )
        )
    return problems


def trace(iterates, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(gaps, objectives) of the first iterates."""
    rows = [(x.gap, x.objective) for x in itertools.islice(iterates, count)]
    return tuple(np.array(rows).T)


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "Convergence",
        """
Every iterate carries a gap that bounds how far its objective is from the minimum
(docs/theory.md, section 5). Exponentiated gradient (epsilon > 0) converges linearly,
slowly where epsilon is small against the squared diameter, and much faster with an
adaptive step. Away and pairwise steps make Frank-Wolfe (epsilon = 0) linear too. Its
gaps are relative to the squared distance of the query and the first key. Marks are
the compiled solvers, in f32, whose gaps also cover their own rounding.
""",
    )
    count, length = (6, 120) if quick else (60, 1000)
    problems = make_problems(rng, count)
    # (name, its axis and style, relative certified and true gaps [problems, steps])
    series = []
    for ratio, colour in zip(RATIOS, COLOURS):
        exact = [project_entropic(*problem, 1 / ratio) for problem in problems]
        least = [
            objective(*problem, 1 / ratio, np.exp(x.log_weights))
            for problem, x in zip(problems, exact)
        ]
        for adaptive in (False, True):
            gaps = [
                np.array(trace(eg(*problem, 1 / ratio, adaptive), length)) * ratio
                for problem in problems
            ]
            true = [values - x * ratio for (_, values), x in zip(gaps, least)]
            name = f"{'adaptive' if adaptive else 'fixed'}, D²/{ratio}"
            style = {"color": colour, "ls": "-" if adaptive else "--"}
            series.append(
                (name, 0, style, np.array([g for g, _ in gaps]), np.array(true))
            )
    residuals = [project(*problem).residual for problem in problems]
    for step, colour, dash in zip(STEPS, COLOURS, DASHES):
        certified, true = [], []
        for problem, residual in zip(problems, residuals):
            gap, values = trace(frank_wolfe(*problem, step), length)
            unit = 2 * values[0]
            certified.append(gap / unit)
            true.append((values - residual @ residual / 2) / unit)
        style = {"color": colour, "ls": dash}
        series.append((f"{step} steps", 1, style, np.array(certified), np.array(true)))

    points = run_compiled(report, problems, quick)

    rows = []
    for name, _, _, gaps, _ in series:
        reached = gaps <= REACHED
        first = np.where(reached.any(axis=1), reached.argmax(axis=1), length)
        rows.append(
            [name, float(np.median(first)), float(np.quantile(first, 0.9))]
            + [int((first == length).sum())]
        )
    report.table(
        "convergence",
        ["solver", "iterations to 1e-3, median", "90 %", f"not within {length}"],
        rows,
    )
    draw_convergence(report, series, points, count, length)
    draw_gaps(report, series, rng)


def run_compiled(report: Report, problems, quick: bool) -> list[tuple]:
    """(axis, style, median relative gap by iterations) of each compiled solver."""
    solvers = [
        (compiled.gradient(1 / ratio), 0, f"epsilon = D²/{ratio}", 1 / ratio)
        for ratio in (RATIOS[:2] if quick else RATIOS)
    ]
    for step in STEPS[2:] if quick else STEPS:
        solvers.append((compiled.frank_wolfe(step), 1, f"{step} steps", 0.0))
    iterations = COMPILED[1:4] if quick else COMPILED
    runner = compiled.Solvers([x[0] for x in solvers], iterations)
    firsts = np.array([np.min(np.sum((k - q) ** 2, axis=1)) for k, q in problems])

    rows, points = [], []
    for solver, axis, name, epsilon in solvers:
        exact = [
            (project_entropic(*x, epsilon) if epsilon else project(*x)).residual
            for x in problems
        ]
        medians = {}
        for count in iterations:
            residuals, gaps = runner.run(problems, solver, count)
            distances = [
                np.sum((r[: len(x)] - x) ** 2) for r, x in zip(residuals, exact)
            ]
            report.verify(
                "compiled solvers: squared distance to the exact point <= certified gap",
                gaps,
                distances,
            )
            relative = gaps / (epsilon or firsts)
            medians[count] = float(np.median(relative))
            rows.append(
                [name, count, medians[count], float(np.quantile(relative, 0.9))]
                + [float(np.max(np.array(distances) / gaps))]
            )
        colours = (
            RATIOS.index(round(1 / epsilon))
            if epsilon
            else STEPS.index(name.split()[0])
        )
        points.append(
            (axis, {"color": COLOURS[colours], "ls": "", "marker": "o"}, medians)
        )
    report.table(
        "compiled",
        ["compiled solver", "iterations", "certified gap, relative, median", "90 %"]
        + ["largest squared distance / gap"],
        rows,
    )
    return points


def draw_convergence(report: Report, series, points, count: int, length: int) -> None:
    figure, axes = report.pyplot.subplots(1, 2, figsize=(8.2, 3.7), sharey=True)
    # Evenly on a logarithmic axis.
    drawn = np.unique(np.geomspace(1, length, 80).astype(int)) - 1
    for name, axis, style, gaps, _ in series:
        median, high = np.quantile(np.maximum(gaps, 1e-16), (0.5, 0.9), axis=0)
        axes[axis].plot(drawn + 1, median[drawn], lw=1.8, label=name, **style)
        axes[axis].plot(drawn + 1, high[drawn], lw=0.7, **style)
    for axis, style, gaps in points:
        # Iteration 1 is before the first step.
        steps = np.array(list(gaps)) + 1
        axes[axis].plot(steps, list(gaps.values()), ms=6, mec="black", mew=0.5, **style)
    # For the legend.
    axes[1].plot(
        [], [], "o", color="0.4", ms=6, mec="black", mew=0.5, label="compiled, f32"
    )
    titles = ("Exponentiated gradient: gap / epsilon", "Frank-Wolfe: relative gap")
    for axis, title in zip(axes, titles):
        axis.axhline(REACHED, color=BLACK, lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", xlabel="iteration", title=title)
        axis.set_ylim(1e-10, 1e5)
        axis.legend(loc="upper right", ncols=2)
    axes[0].set_ylabel("certified gap, median (thin: 90 %)")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "convergence",
        figure,
        f"Certified gap against iterations, {count} random problems with 64 to 400 keys "
        "in 8 to 32 dimensions; epsilon in squared diameters D².",
    )


def draw_gaps(report: Report, series, rng: np.random.Generator) -> None:
    figure, axes = report.pyplot.subplots(1, 2, figsize=(8.2, 3.7))
    names = ("Exponentiated gradient", "Frank-Wolfe")
    for i, (axis, name, colour) in enumerate(zip(axes, names, COLOURS)):
        certified, true = (
            np.concatenate([x[part].ravel() for x in series if x[1] == i])
            for part in (3, 4)
        )
        # Where both are rounding there is nothing to compare.
        report.verify(
            f"{name}: certified gap >= true gap", certified, true, slack=1e-11
        )
        kept = (true > 1e-9) & (certified > 1e-9)
        ratio = np.median(certified[kept] / true[kept])
        chosen = rng.permutation(np.flatnonzero(kept))[:3000]
        x, y = true[chosen], certified[chosen]
        axis.scatter(x, y, s=3, color=colour, alpha=0.4, rasterized=True)
        ends = [1e-9, x.max()]
        axis.plot(ends, ends, color=BLACK, lw=1, label="equal")
        axis.set(xscale="log", yscale="log", title=f"{name}: median ratio {ratio:.2f}")
        axis.set(xlabel="true gap, relative", ylabel="certified gap, relative")
        axis.legend(loc="upper left")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "gaps",
        figure,
        "The gap that a solver can compute against the true one, over all iterates: "
        "never below.",
    )
