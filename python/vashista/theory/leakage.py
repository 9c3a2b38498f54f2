# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Leakage: how the mass off the face falls with Delta / epsilon."""

from __future__ import annotations

import dataclasses

import numpy as np

from .projection import Projection, diameter, logsumexp, project, project_entropic
from .report import BLACK, BLUE, RED, Report

RATIOS = np.linspace(4, 40, 10)  # Delta / epsilon


@dataclasses.dataclass(frozen=True)
class Instance:
    keys: np.ndarray
    query: np.ndarray
    solution: Projection
    diameter: float
    tangent: float  # norm(v), v the least with log a* = <u, v> + const on the face


def make_instances(count: int, rng: np.random.Generator) -> list[Instance]:
    """Random keys and queries with a positive gap, and Theorem B's condition."""
    instances: list[Instance] = []
    while len(instances) < count:
        d = int(rng.integers(2, 33))
        keys = rng.standard_normal((int(2 ** rng.uniform(3, 9)), d))
        query = rng.standard_normal(d)
        query *= rng.uniform(0.5, 4) * np.sqrt(d) / np.linalg.norm(query)
        solution = project(keys, query)
        size = diameter(keys)
        face, weights = solution.face, solution.weights
        # In the hull, or all keys on the face: nothing is off it. A zero weight
        # on the face: no strict complementarity.
        if solution.face.all() or solution.delta < 1e-3 * size**2:
            continue
        if (weights[face] < 1e-6).any():
            continue
        centred = keys[face] - keys[face].mean(axis=0)
        logs = np.log(weights[face])
        v = np.linalg.pinv(centred) @ (logs - logs.mean())
        instances.append(
            Instance(keys, query, solution, size, float(np.linalg.norm(v)))
        )
    return instances


def measure(instance: Instance, epsilon: float, report: Report) -> float:
    """log(tau / (1 - tau)) of the mass off the face; verifies what bounds it."""
    keys, face = instance.keys, instance.solution.face
    solution = project_entropic(keys, instance.query, epsilon)
    off, on = solution.log_weights[~face], solution.log_weights[face]
    odds = float(logsumexp(off) - logsumexp(on))

    restricted = project_entropic(keys[face], instance.query, epsilon)
    logits = keys @ restricted.residual / epsilon
    rho = logsumexp(logits[~face]) - logsumexp(logits[face])
    report.verify(
        "Theorem A: tau / (1 - tau) <= rho, the ratio at the residual of a solution "
        "on the face alone (logs)",
        rho,
        odds,
        slack=1e-5,
    )
    weights = np.exp(restricted.log_weights)
    entropy = -float(weights @ restricted.log_weights)
    report.verify(
        "Theorem B: tau / (1 - tau) <= (M - |F|) exp(-H(a_F) + D norm(v) - "
        "Delta / epsilon) (logs)",
        np.log((~face).sum())
        - entropy
        + instance.diameter * instance.tangent
        - instance.solution.delta / epsilon,
        odds,
        slack=1e-5,
    )
    error = np.linalg.norm(solution.point - instance.solution.point)
    report.verify(
        "Theorem B: norm(y_eps - y*) <= norm(v) epsilon + D tau",
        instance.tangent * epsilon + instance.diameter / (1 + np.exp(-odds)),
        error,
        slack=1e-7 * instance.diameter,
    )
    return odds


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "Leakage",
        """
The paper says that the mass off the face decays as exp(-Delta / (2 epsilon)).
The exponent's constant is 1, not 2: for random keys and queries, whose multipliers
give the face F and the gap Delta exactly, the slope of log(tau / (1 - tau))
against -Delta / epsilon is 1. The number of keys is a factor of the mass, and what
moves the curves apart.
""",
    )
    instances = make_instances(40 if quick else 500, rng)
    odds = np.array(
        [
            [measure(i, i.solution.delta / ratio, report) for ratio in RATIOS]
            for i in instances
        ]
    )
    # Two lines: what falls by Delta / epsilon alone, and the fit of all of it.
    slopes = -np.polyfit(RATIOS, odds.T, 1)[0]
    late = -(odds[:, -1] - odds[:, -2]) / (RATIOS[-1] - RATIOS[-2])
    quantiles = (0.05, 0.5, 0.95)
    report.table(
        "leakage",
        ["slope", "instances", "5 %", "median", "95 %", "paper"],
        [
            ["fit over Delta / epsilon = 4 to 40", len(slopes)]
            + [float(np.quantile(slopes, x)) for x in quantiles]
            + [0.5],
            ["between 36 and 40", len(late)]
            + [float(np.quantile(late, x)) for x in quantiles]
            + [0.5],
        ],
    )

    figure, (left, right) = report.pyplot.subplots(
        1, 2, figsize=(8.2, 3.7), width_ratios=(1.5, 1)
    )
    for row in odds[:60]:
        left.plot(RATIOS, row / np.log(10), color=BLUE, lw=0.6, alpha=0.35)
    start = np.median(odds[:, 0])
    steps = RATIOS - RATIOS[0]
    left.plot(RATIOS, (start - steps) / np.log(10), color=BLACK, lw=2, label="slope 1")
    left.plot(
        RATIOS,
        (start - steps / 2) / np.log(10),
        color=RED,
        lw=2,
        ls="--",
        label="slope 1/2 (the paper's constant 2)",
    )
    left.plot([], [], color=BLUE, lw=1, label=f"{min(len(odds), 60)} random instances")
    left.set(
        xlabel="gap over temperature, Delta / epsilon",
        ylabel="log10( tau / (1 - tau) ), mass off the face",
        title="Leakage falls at twice the paper's rate",
    )
    left.legend(loc="lower left")
    right.hist(slopes, bins=np.linspace(0.4, 1.3, 46), color=BLUE)
    right.axvline(1, color=BLACK, lw=2, label="1")
    right.axvline(0.5, color=RED, lw=2, ls="--", label="1/2")
    right.set(
        xlabel="fitted slope per instance",
        ylabel=f"instances of {len(slopes)}",
        title=f"Median slope {np.median(slopes):.3f}",
    )
    right.legend(loc="upper left")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "leakage",
        figure,
        "Mass off the face against Delta / epsilon, entropic projection of random "
        "queries: the slope is 1.",
    )
