# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The entropic projection in float64: exact solutions, gaps and multipliers.

For keys K (M x d, rows u_j), a query q and a temperature epsilon:

    minimise  norm(q - K'a)^2 / 2 - epsilon H(a)   over the simplex,

with y = K'a, the residual r = q - y and H the entropy in nats. Nothing here
shares code with the compiled solvers. A key may stand for several equal ones:
`counts` says how many.
"""

from __future__ import annotations

import dataclasses

import numpy as np


def logsumexp(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """log sum exp; -inf of nothing."""
    x = np.asarray(x, np.float64)
    if x.shape[axis] == 0:
        return np.full(np.delete(x.shape, axis), -np.inf)
    most = np.max(x, axis=axis, keepdims=True)
    finite = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(x - finite), axis=axis)) + np.squeeze(finite, axis)
    return total


def diameter(keys: np.ndarray) -> float:
    """The largest distance of two keys."""
    squares = np.sum(keys**2, axis=1)
    distances = squares[:, None] + squares[None] - 2 * keys @ keys.T
    return float(np.sqrt(max(distances.max(), 0.0)))


@dataclasses.dataclass(frozen=True)
class Projection:
    """The solution for epsilon = 0.

    Attributes:
      weights: a* [M].
      point: y* [d], the projection of q on the hull of the keys.
      residual: r* = q - y* [d].
      multipliers: mu_j = max_i <u_i, r*> - <u_j, r*> [M], at least 0.
      face: the keys with mu_j = 0 [M], which contains every support.
      delta: the least multiplier off the face; inf if all keys are on it.
    """

    weights: np.ndarray
    point: np.ndarray
    residual: np.ndarray
    multipliers: np.ndarray
    face: np.ndarray
    delta: float


def project(keys: np.ndarray, query: np.ndarray) -> Projection:
    """The projection of the query on the hull, by Wolfe's active set method.

    Source: P. Wolfe, "Finding the nearest point in a polytope", 1976.
    """
    points = keys - query
    size = float(np.max(np.sum(points**2, axis=1)))
    active = [int(np.argmin(np.sum(points**2, axis=1)))]
    weights = np.ones(1)
    for _ in range(100 * len(keys)):
        x = weights @ points[active]
        best = int(np.argmin(points @ x))
        if x @ x - points[best] @ x <= 1e-14 * size or best in active:
            break
        active.append(best)
        weights = np.append(weights, 0.0)
        while True:
            target = _affine_minimum(points[active])
            if target.min() > 1e-13:
                weights = target
                break
            # As far towards it as the simplex goes; what reaches 0 leaves.
            shrinking = target < weights
            ratios = weights[shrinking] / (weights - target)[shrinking]
            weights += min(1.0, ratios.min()) * (target - weights)
            keep = weights > 1e-13
            keep[np.argmin(np.where(shrinking, weights, np.inf))] = False
            active = [a for a, k in zip(active, keep) if k]
            weights = weights[keep] / weights[keep].sum()
            if len(active) == 1:
                break
    full = np.zeros(len(keys))
    full[active] = weights
    point = full @ keys
    residual = query - point
    scores = keys @ residual
    multipliers = scores.max() - scores
    face = multipliers <= 1e-9 * size
    off = multipliers[~face]
    return Projection(
        full, point, residual, multipliers, face, float(off.min(initial=np.inf))
    )


def _affine_minimum(points: np.ndarray) -> np.ndarray:
    """Weights of sum 1 whose combination of the points is nearest to 0."""
    # Relative to the first point: least squares, better conditioned than Gram.
    steps = (points[1:] - points[0]).T
    rest = np.linalg.lstsq(steps, -points[0], rcond=None)[0]
    return np.append(1.0 - rest.sum(), rest)


def objective(keys, query, epsilon, weights) -> float:
    """norm(q - K'a)^2 / 2 - epsilon H(a)."""
    residual = query - weights @ keys
    positive = weights[weights > 0]
    return float(
        residual @ residual / 2 + epsilon * np.sum(positive * np.log(positive))
    )


@dataclasses.dataclass(frozen=True)
class EntropicProjection:
    """The solution for epsilon > 0: a = softmax(K r / epsilon).

    Attributes:
      log_weights: log a [M], of one key each where keys have counts.
      point, residual: y and r = q - y [d].
    """

    log_weights: np.ndarray
    point: np.ndarray
    residual: np.ndarray


def project_entropic(keys, query, epsilon, counts=None) -> EntropicProjection:
    """Newton's method on the dual: max <r, q> - norm(r)^2 / 2 - epsilon LSE(K r / epsilon).

    Down to rounding, from larger temperatures to smaller ones: a cold start at a
    small one does not converge. Raises ArithmeticError where the step that is left
    would change a logit by more than 1e-3.
    """
    multiplicity = np.zeros(len(keys)) if counts is None else np.log(counts)
    residual = query - keys.mean(axis=0)
    temperature = max(float(np.max(np.sum((keys - query) ** 2, axis=1))), epsilon)
    while temperature > epsilon:
        residual, _ = _newton(keys, query, temperature, multiplicity, residual, 1e-2)
        temperature /= 8
    residual, left = _newton(keys, query, epsilon, multiplicity, residual, 0.0)
    if not left <= 1e-3:
        raise ArithmeticError(f"expected convergence at {epsilon}, left {left}")
    logits = keys @ residual / epsilon
    log_weights = logits - logsumexp(logits + multiplicity)
    # Not K'a: weights are softmax of large numbers, whose rounding q - r is free of.
    return EntropicProjection(log_weights, query - residual, residual)


def _newton(keys, query, epsilon, multiplicity, residual, tolerance):
    """(residual, how much the next step would change a logit at most).

    Damped steps until that is within the tolerance, or at rounding.
    """
    size = float(np.sqrt(np.max(np.sum(keys**2, axis=1))))

    def evaluate(r):
        logits = keys @ r / epsilon + multiplicity
        most = logits.max()
        # Not exp(logits - LSE): large logits round, and weights have to sum to 1.
        weights = np.exp(logits - most)
        total = weights.sum()
        weights /= total
        value = r @ query - r @ r / 2 - epsilon * (most + np.log(total))
        return value, query - r - weights @ keys, weights

    value, gradient, weights = evaluate(residual)
    best = residual, np.inf
    for _ in range(200):
        centred = (keys - weights @ keys) * np.sqrt(weights)[:, None]
        hessian = np.eye(len(query)) + centred.T @ centred / epsilon
        step = np.linalg.solve(hessian, gradient)
        left = size * float(np.linalg.norm(step)) / epsilon
        near = min(left, best[1]) < 0.1
        if near and left >= best[1] / 2:
            break
        if left < best[1]:
            best = residual, left
        if left <= tolerance:
            break
        # Near the solution full steps converge, and values differ by rounding.
        length = 1.0
        while not near and length > 1e-9:
            if evaluate(residual + length * step)[0] >= value + 1e-4 * length * (
                gradient @ step
            ):
                break
            length /= 2
        residual = residual + length * step
        value, gradient, weights = evaluate(residual)
    return best
