# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Iterative solvers of the projection in float64, one iterate at a time.

Each yields, before every step, what a caller could stop at: the computable gap,
and what is known only here, the weights' true objective.
"""

from __future__ import annotations

import dataclasses
from typing import Iterator

import numpy as np

from .projection import diameter, logsumexp

#: Of Frank-Wolfe.
STEPS = ("plain", "away", "pairwise")


@dataclasses.dataclass(frozen=True)
class Iterate:
    """One iterate.

    Attributes:
      gap: the certified gap: an upper bound of objective - minimum.
      objective: norm(q - y)^2 / 2 - epsilon H(a).
      support: how many keys have weight.
    """

    gap: float
    objective: float
    support: int


def eg(keys, query, epsilon: float, adaptive: bool) -> Iterator[Iterate]:
    """Exponentiated gradient from uniform weights, as iterated attention.

    The state is a direction w, the weights are softmax(K w / epsilon). A step is
    w <- (1 - theta) w + theta r with theta = epsilon / (epsilon + L). Fixed: L =
    D^2 / 4. Adaptive: half the last L, doubled until norm(y+ - y)^2 / 2 <= L
    KL(a+ || a), which is all that the rate's proof uses.
    """
    w = np.zeros(len(query))
    smooth = diameter(keys) ** 2 / 4

    def attend(direction):
        logits = keys @ direction / epsilon
        log_weights = logits - logsumexp(logits)
        weights = np.exp(log_weights)
        return log_weights, weights, weights @ keys

    log_weights, weights, y = attend(w)
    while True:
        r = query - y
        logits = keys @ r / epsilon
        gap = epsilon * float(weights @ (log_weights - logits) + logsumexp(logits))
        entropy = -float(weights @ log_weights)
        yield Iterate(max(gap, 0.0), float(r @ r / 2 - epsilon * entropy), len(keys))
        if adaptive:
            smooth /= 2
        while True:
            theta = epsilon / (epsilon + smooth)
            next_w = (1 - theta) * w + theta * r
            next_log, next_weights, next_y = attend(next_w)
            divergence = float(next_weights @ (next_log - log_weights))
            moved = float((next_y - y) @ (next_y - y)) / 2
            # Below rounding the test says nothing; the fixed constant is safe.
            if moved <= smooth * divergence + 1e-15 * (y @ y) or not adaptive:
                break
            smooth *= 2
        w, log_weights, weights, y = next_w, next_log, next_weights, next_y


def frank_wolfe(keys, query, step: str) -> Iterator[Iterate]:
    """Frank-Wolfe for epsilon = 0 with exact line search, from the best vertex.

    `step` is "plain", "away" or "pairwise". Its gap is g = max <u, r> - <y, r>.
    """
    weights = np.zeros(len(keys))
    weights[np.argmin(np.sum((keys - query) ** 2, axis=1))] = 1
    while True:
        y = weights @ keys
        r = query - y
        scores = keys @ r
        toward = int(np.argmax(scores))
        active = np.flatnonzero(weights)
        away = int(active[np.argmin(scores[active])])
        gap = float(scores[toward] - y @ r)
        yield Iterate(max(gap, 0.0), float(r @ r / 2), len(active))
        if step == "pairwise":
            direction, limit = keys[toward] - keys[away], weights[away]
        elif step == "away" and y @ r - scores[away] > gap and weights[away] < 1:
            direction, limit = y - keys[away], weights[away] / (1 - weights[away])
        else:
            direction, limit = keys[toward] - y, 1.0
        length = float(direction @ direction)
        if length == 0:
            continue
        gamma = min(max(float(r @ direction) / length, 0.0), limit)
        if step == "pairwise":
            weights[toward] += gamma
            weights[away] = 0 if gamma == limit else weights[away] - gamma
        elif limit == 1.0:
            weights *= 1 - gamma
            weights[toward] += gamma
        else:
            weights *= 1 + gamma
            weights[away] = 0 if gamma == limit else weights[away] - gamma
