# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a decode step's scores, lists and states say about its rows.

For looking at a model or a policy, not for serving: everything is NumPy in float64
over the scores of the whole sequence, as the compiled ``score``, ``pick`` and
``attend`` return them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ._error import Error


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """Numbers of each row and query head, arrays ``[R, H]``; logits are in nats.

    Source: docs/theory.md, sections 3, 4 and 9.
    """

    effective_support: np.ndarray
    """exp of the entropy of the estimated weights: so many tokens share the mass."""
    top_gap: np.ndarray
    """The largest estimated logit minus the second largest; +inf with one token."""
    attended: np.ndarray
    """Share of the visible tokens that are attended."""
    tau: np.ndarray
    """Share of the mass that may be missed: what a certificate says, but for the
    rounding that it adds."""
    tau_estimate: np.ndarray
    """The same by the estimates: no bound."""
    tau_least: np.ndarray
    """A lower bound of the share that is missed, for sources whose errors are
    symmetric (keys and sketches, not page summaries): no proof on these scores can
    say less."""
    slack: np.ndarray
    """By how much the bound of the mass left out is above its estimate. Where it is
    large, a better sketch proves more; where it is small, the row needs more tokens."""


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    """Over the last dimension; -inf of nothing."""
    most = values.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - shift).sum(axis=-1)) + shift[..., 0]


def _share(left: np.ndarray, lse: np.ndarray) -> np.ndarray:
    """exp(left) / (exp(left) + exp(lse)); 0 where nothing is left."""
    with np.errstate(over="ignore", invalid="ignore"):
        share = 1 / (1 + np.exp(lse - left))
    return np.where(np.isneginf(left), 0.0, share)


def diagnose(
    scores: np.ndarray,
    bounds: np.ndarray,
    ids: np.ndarray,
    lse: np.ndarray,
) -> Diagnostics:
    """Looks at rows whose tokens were scored in the whole sequence.

    scores, bounds: ``[R, H, L]``, of ``vashista.score``; -inf where invisible.
    ids: ``[R, Hkv, C]``, logical positions of what is attended, negative for none: of
      ``vashista.pick``, lists of several rounds concatenated.
    lse: ``[R, H]``, of the state attended over them.

    Raises Error where shapes do not agree.
    """
    scores, bounds = np.asarray(scores, np.float64), np.asarray(bounds, np.float64)
    ids, lse = np.asarray(ids), np.asarray(lse, np.float64)
    if scores.ndim != 3 or bounds.shape != scores.shape:
        raise Error(
            "invalid argument",
            f"expected scores and bounds [R, H, L] of one shape, got {scores.shape} "
            f"and {bounds.shape}",
        )
    rows, heads, slots = scores.shape
    if ids.ndim != 3 or ids.shape[0] != rows or ids.shape[1] < 1 or heads % ids.shape[1]:
        raise Error(
            "invalid argument",
            f"expected ids [{rows}, Hkv, C], Hkv a divisor of {heads}, got {ids.shape}",
        )
    if lse.shape != (rows, heads):
        raise Error(
            "invalid argument", f"expected lse [{rows}, {heads}], got {lse.shape}"
        )
    if ids.size and ids.max() >= slots:
        raise Error(
            "invalid argument", f"expected ids below {slots}, got {ids.max()}"
        )

    listed = np.zeros((rows, ids.shape[1], slots + 1), bool)
    np.put_along_axis(listed, np.where(ids < 0, slots, ids), True, axis=2)
    listed = np.repeat(listed[..., :slots], heads // ids.shape[1], axis=1)
    visible = ~np.isneginf(bounds)
    left = visible & ~listed

    def sum_left(values):
        return _log_sum_exp(np.where(left, values, -np.inf))

    with np.errstate(invalid="ignore"):
        shares = scores - _log_sum_exp(scores)[..., None]
        entropy = -np.where(visible, np.exp(shares) * shares, 0.0).sum(axis=-1)
        top = np.sort(scores, axis=-1)[..., -2:]
        gap = top[..., -1] - top[..., 0] if slots > 1 else np.full(lse.shape, np.inf)
        bound, estimate = sum_left(bounds), sum_left(scores)
        slack = np.where(left.any(axis=-1), bound - estimate, 0.0)
        least = sum_left(2 * scores - bounds)
    return Diagnostics(
        effective_support=np.where(visible.any(axis=-1), np.exp(entropy), 0.0),
        top_gap=gap,
        attended=(listed & visible).sum(-1) / np.maximum(visible.sum(-1), 1),
        tau=_share(bound, lse),
        tau_estimate=_share(estimate, lse),
        tau_least=_share(least, lse),
        slack=slack,
    )
