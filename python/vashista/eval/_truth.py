# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an attended set misses, in float64, and what the rows of a layer come to."""

from __future__ import annotations

import math

import numpy as np

from ._decoder import Arrays, blocks, probabilities, weigh

SLOP = 1e-9  # the reference's own rounding


def truth(arrays: Arrays, q, k, v, lens, read: np.ndarray):
    """The mass unread, the error that leaves, and the dense output.

    q, k, v: `[R, H, D]`, and f64 `[T, Hkv, D]`, of which row r sees lens[r] tokens.
    read: `[R, Hkv, T]`, the tokens that were attended.

    Returns `[R, H]`, `[R, H]` and `[R, H, Dv]`, of NumPy. The error is that of the set:
    it is not the rounding of an output.
    """
    group = q.shape[1] // k.shape[1]
    parts = []
    for rows in blocks(len(q), q.shape[1] * len(k)):
        p = probabilities(arrays, arrays.double(q[rows]), k, lens[rows])
        unread = arrays.of(~read[rows].repeat(group, 1))
        left, taken = p * unread, p * ~unread
        missed = left.sum(-1)
        rest, mine = weigh(arrays, left, v), weigh(arrays, taken, v)
        # dense - mine / (1 - missed), without its cancellation.
        apart = rest - mine * (missed / taken.sum(-1))[..., None]
        apart = np.linalg.norm(arrays.numpy(apart), axis=-1)
        parts.append((arrays.numpy(missed), apart, arrays.numpy(rest + mine)))
    return [np.concatenate(some) for some in zip(*parts)]


def summarise(rows: dict[str, np.ndarray], scan: float, tolerance: float) -> dict:
    """What the rows of a layer come to, shares all but for the counts.

    rows: "tau" `[R, H]`, NaN where nothing is certified; "false", "tau_true" and
      "error_true" `[R, H]`; "group", the share attended, "rounds" and "flag" `[R, Hkv]`;
      "alone", what a head needs by itself, `[R', H]`, where it was found.
    scan: bytes read beside keys and values, of those of everything.
    """
    flag, tau = rows["flag"], rows["tau"]
    proved = tau <= tolerance
    whole = flag.repeat(tau.shape[1] // flag.shape[1], 1)
    tokens = rows["group"].mean()
    certified = not np.isnan(tau).all()
    alone = rows.get("alone")
    return {
        "scan": float(scan),
        "tokens": float(tokens),
        "fallback": float(flag.mean()),
        "bytes": float(scan + tokens + flag.mean()),
        "alone": float(alone.mean()) if alone is not None else math.nan,
        "heads": rows["group"].mean(0).tolist(),
        "group_p99": float(np.quantile(rows["group"], 0.99)),
        "proved": float(proved.mean()) if certified else math.nan,
        "unproved": int((~proved & ~whole).sum()) if certified else 0,
        "tau": float(tau[proved].mean()) if proved.any() else math.nan,
        "tau_true": float(rows["tau_true"].mean()),
        "tau_true_max": float(rows["tau_true"].max()),
        "error": float(rows["error_true"].mean()),
        "error_p99": float(np.quantile(rows["error_true"], 0.99)),
        "grown": float((rows["rounds"] > 1).mean()),
        "false": int(rows["false"].sum()),
    }


def of_layers(layers: list[dict], errors: list[np.ndarray]) -> dict:
    """The same of all layers together."""
    keys = [key for key in layers[0] if key != "heads"]
    whole = {key: float(np.mean([r[key] for r in layers])) for key in keys}
    for key in ("false", "unproved"):
        whole[key] = int(sum(r[key] for r in layers))
    whole["tau_true_max"] = max(r["tau_true_max"] for r in layers)
    flat = np.concatenate([e.ravel() for e in errors])
    whole["error_p99"] = float(np.quantile(flat, 0.99))
    return whole


# Quantiles .975 of Student's t, by degrees of freedom.
_STUDENT = [math.nan, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20]


def interval(mean: np.ndarray) -> dict:
    """Perplexity against dense, and a 95 % interval over windows, in percent.

    mean: of each window, nats per token more than dense.
    """
    n = len(mean)
    t = _STUDENT[n - 1] if n <= len(_STUDENT) else 2.2
    half = t * mean.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    return {
        "ppl": 100 * math.expm1(mean.mean()),
        "ppl_low": 100 * math.expm1(mean.mean() - half),
        "ppl_high": 100 * math.expm1(mean.mean() + half),
    }
