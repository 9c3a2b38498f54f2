# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention problems of known character, in bf16.

Each is one sequence of T keys and values, and a few queries. Logits are <q, k> / sqrt(128), at temperature 1.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
from typing import Callable

import numpy as np

import vashista

from .projection import logsumexp

D = 128  # of keys and values
S = 16  # tokens per page
SCALE = float(np.float32(1 / math.sqrt(D)))


@dataclasses.dataclass(frozen=True)
class Problem:
    """Queries [R, D], keys [T, D] and values [T, D]: bf16 numbers in f32.

    Row r sees the first lens[r] tokens.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    lens: np.ndarray

    @functools.cached_property
    def logits(self) -> list[np.ndarray]:
        """Of each row's visible tokens, in float64."""
        keys = self.k.astype(np.float64)
        return [
            SCALE * (keys[:length] @ q)
            for q, length in zip(self.q.astype(np.float64), self.lens)
        ]

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """Attention to all visible tokens, in float64 [R, D]."""
        values = self.v.astype(np.float64)
        weights = (np.exp(x - logsumexp(x)) for x in self.logits)
        return np.array([w @ values[: len(w)] for w in weights])


def _rounded(x: np.ndarray) -> np.ndarray:
    return vashista.as_bfloat16(x.astype(np.float32)).float32()


def _similar(rng, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(queries that look for the same, as those of neighbouring tokens; their mean)."""
    mean = rng.standard_normal(D)
    return mean + 0.1 * rng.standard_normal((rows, D)), mean


def _aimed(query: np.ndarray, logit: float) -> np.ndarray:
    """The key at which a query has that logit."""
    return query * (logit / SCALE / (query @ query))


def needle(rng, rows: int, tokens: int, logit: float = 20.0):
    """Four keys of logit 20, the others near 0."""
    q, mean = _similar(rng, rows)
    k = 0.05 * rng.standard_normal((tokens, D))
    k[rng.permutation(tokens)[:4]] += _aimed(mean, logit)
    return q, k


def needle_t(rng, rows: int, tokens: int):
    """Four keys of logit log T + 10: a gap that grows with the context."""
    return needle(rng, rows, tokens, math.log(tokens) + 10)


def cluster(rng, rows: int, tokens: int):
    """Pages of nearly equal keys; three of them at logit 20."""
    q, mean = _similar(rng, rows)
    pages = -(-tokens // S)
    centres = rng.standard_normal((pages, D)) / 4
    centres[rng.permutation(pages)[:3]] = _aimed(mean, 20)
    k = np.repeat(centres, S, axis=0)[:tokens]
    return q, k + 0.05 * rng.standard_normal((tokens, D))


def drift(rng, rows: int, tokens: int):
    """Keys that wander (AR(1), .98) and a first key of logit 15, a sink."""
    noise = rng.standard_normal((tokens, D))
    k = np.empty((tokens, D))
    k[0] = noise[0]
    for t in range(1, tokens):
        k[t] = 0.98 * k[t - 1] + math.sqrt(1 - 0.98**2) * noise[t]
    sink = rng.standard_normal(D)
    sink /= np.linalg.norm(sink)
    q = rng.standard_normal((rows, D))
    q += (4 + 0.3 * rng.standard_normal((rows, 1)) - q @ sink[:, None]) * sink
    k[0] = sink * 15 / SCALE / 4
    return q, k


def low_rank(rng, rows: int, tokens: int):
    """Keys of rank 8 that change slowly from page to page."""
    basis = rng.standard_normal((8, D))
    pages = -(-tokens // S)
    steps = rng.standard_normal((pages, 8))
    page = np.empty((pages, 8))
    page[0] = steps[0]
    for p in range(1, pages):
        page[p] = 0.9 * page[p - 1] + math.sqrt(1 - 0.81) * steps[p]
    mixed = np.repeat(page, S, axis=0)[:tokens] + 0.2 * rng.standard_normal((tokens, 8))
    q = rng.standard_normal((rows, 8)) @ basis / math.sqrt(8)
    return q, mixed @ basis * (2.2 / math.sqrt(8 * D))


def gauss(rng, rows: int, tokens: int, factor: float = 1.0):
    """Independent normal keys and queries: logits of standard deviation 1."""
    return factor * rng.standard_normal((rows, D)), rng.standard_normal((tokens, D))


def gauss_8(rng, rows: int, tokens: int):
    """The same with queries 8 times as long: sparse, yet without structure."""
    return gauss(rng, rows, tokens, 8.0)


def equal(rng, rows: int, tokens: int):
    """All keys equal: every token matters as much as any other."""
    q = rng.standard_normal((rows, D))
    return q, np.repeat(rng.standard_normal((1, D)), tokens, axis=0)


REGIMES: dict[str, Callable] = {
    "needle": needle,
    "needle_T": needle_t,
    "cluster": cluster,
    "drift": drift,
    "low rank": low_rank,
    "gauss": gauss,
    "gauss, q x 8": gauss_8,
    "all equal": equal,
}
TRACES = ("CodeLM sharp", "CodeLM diffuse")


def rounded(q: np.ndarray, k: np.ndarray, rng) -> Problem:
    """The problem of these queries and keys in bf16, with normal values."""
    v = rng.standard_normal(k.shape)
    lens = np.full(len(q), len(k), np.int32)
    return Problem(_rounded(q), _rounded(k), _rounded(v), lens)


def make(name: str, rng, rows: int, tokens: int) -> Problem:
    return rounded(*REGIMES[name](rng, rows, tokens), rng)


def load_trace(name: str, tokens: int | None = None) -> Problem:
    """One KV head of a trained model: 4 query heads at the last 16 positions.

    With `tokens`, of the last so many tokens only.
    """
    folder = pathlib.Path(__file__).resolve().parents[3] / "test" / "data" / "codelm"
    stem = name.split()[-1]

    def read(kind):
        path = folder / f"{stem}.{kind}.npy"
        try:
            return vashista.bfloat16(np.load(path)).float32()
        except FileNotFoundError as error:
            raise SystemExit(
                f"error: expected the trace '{path}' of a checkout, found none"
            ) from error

    q, k, v = read("q"), read("k"), read("v")
    positions, heads = q.shape[:2]
    start = 0 if tokens is None else max(len(k) - tokens, 0)
    lens = np.repeat(np.arange(1 - positions, 1) + len(k) - start, heads)
    return Problem(q.reshape(-1, D), k[start:], v[start:], lens.astype(np.int32))
