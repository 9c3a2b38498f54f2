# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Certified attention by the compiled ops, over one paged sequence.

Keys are bf16 in pages of 16 tokens, one KV head and one query head of dimension
128. A method says what bounds the tokens that are not read:

    box, ball, best of both    page summaries; whole pages are attended
    a sketch, exact keys       a bound per token; tokens are attended
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Iterable

import numpy as np

import vashista

from .projection import logsumexp
from .regimes import D, S, SCALE, Problem
from .report import Report

_CACHE = f"tensor<?x1x{S}x{D}xbf16>"
_NORMS = "tensor<?x1x2xf32>"
_TABLE, _ROWS = "tensor<?x?xi32>", "tensor<?xi32>"
_WHERE = "table(%table) lens(%lens)"


@dataclasses.dataclass(frozen=True)
class Method:
    """What bounds the tokens that are not read.

    Attributes:
      name: for people.
      parts: the tensors that hold it: (name, what follows N in the shape, type).
      sources: the sources of `vashista.score`, one for each group of parts; the
        least of their bounds counts.
      unit: "pages" or "tokens".
    """

    name: str
    parts: tuple[tuple[str, tuple[int, ...], str], ...]
    sources: tuple[tuple[str, int], ...]
    unit: str

    @property
    def key(self) -> str:
        return "".join(c if c.isalnum() else "_" for c in self.name)

    @property
    def groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Each source and its parts: (name in a graph, type)."""
        parts = iter(
            (f"%{name}", f"tensor<?x{'x'.join(map(str, shape))}x{kind}>")
            for name, shape, kind in self.parts
        )
        return [
            (source, list(itertools.islice(parts, count)))
            for source, count in self.sources
        ]

    def bytes_per_token(self) -> float:
        """Read to score one token, beside 512 bytes of its key and value."""
        size = {"bf16": 2, "f16": 2, "f32": 4, "i8": 1, "f8E4M3FN": 1}
        return sum(math.prod(shape) * size[kind] for _, shape, kind in self.parts) / S


_BOX = (("lo", (1, D), "bf16"), ("hi", (1, D), "bf16"))
_BALL = (("centre", (1, D), "bf16"), ("radius", (1,), "f32"))
BOX = Method("page box", _BOX, (("#vashista.summary<box>", 2),), "pages")
BALL = Method("page ball", _BALL, (("#vashista.summary<ball>", 2),), "pages")
BEST = Method("page box and ball", _BOX + _BALL, BOX.sources + BALL.sources, "pages")
EXACT = Method(
    "exact keys", (("k", (1, S, D), "bf16"),), (("#vashista.keys<hnd>", 1),), "tokens"
)


def sketch(bits: int, group: int, rotated: bool, per_token: bool = False) -> Method:
    """A key sketch without a centre.

    Scales in f16 and a residual norm in f8 for each group or, `per_token`, scales in
    f8 and one norm of the key in a byte.
    """
    attribute = f"bits = {bits}, group = {group}"
    attribute += ", rotation = hadamard" * rotated + ", norm = token" * per_token
    name = f"{bits} bits, {group}" + ", rotated" * rotated + ", one norm" * per_token
    groups = (1, S, D // group)
    return Method(
        name,
        (
            ("codes", (1, S, D * bits // 8), "i8"),
            ("scales", groups, "f8E4M3FN" if per_token else "f16"),
            ("residuals", *(((1, S), "i8") if per_token else (groups, "f8E4M3FN"))),
        ),
        ((f"#vashista.sketch<{attribute}>", 3),),
        "tokens",
    )


# ------------------------------------------------------------------------------
# Graphs
# ------------------------------------------------------------------------------


def _join(values, separator: str = ", ") -> str:
    return separator.join(values)


def _summarize(name: str, clause: str, parts: list[tuple[str, str]]) -> str:
    """Builds parts from a sequence, in place."""
    arguments = (
        [("%k", _CACHE), ("%v", _CACHE)] if clause == "norms" else [("%k", _CACHE)]
    )
    values = "values(%v)" if clause == "norms" else ""
    arguments += [("%table", _TABLE), ("%lens", _ROWS), *parts]
    types = _join(t for _, t in parts)
    return f"""
func.func @{name}({_join(f"{n}: {t}" for n, t in arguments)}) -> ({types}) {{
  %0:{len(parts)} = vashista.summarize keys(%k) {values} {_WHERE}
      {clause}({_join(n for n, _ in parts)})
      : ({_join(t for _, t in arguments)}) -> ({types})
  return {_join(f"%0#{i}" for i in range(len(parts)))} : {types}
}}"""


def _build(method: Method) -> list[str]:
    """One function for each source that is kept beside the cache."""
    functions = []
    for i, (source, parts) in enumerate(method.groups if method is not EXACT else ()):
        kind, attribute = source.removeprefix("#vashista.").split("<", 1)
        functions.append(
            _summarize(f"build{i}_{method.key}", f"{kind} <{attribute}", parts)
        )
    return functions


def _attend(method: Method, entry: str, pick: str, capacity: int) -> str:
    """Scores by a method, picks, attends and certifies."""
    q, o = f"tensor<?x1x{D}xbf16>", f"tensor<?x1x{D}xf32>"
    scores, ids = "tensor<?x1x?xf32>", f"tensor<?x1x{capacity}xi32>"
    arguments = [("%q", q), ("%v", _CACHE)]
    if method is not EXACT:
        arguments.append(("%k", _CACHE))
    arguments += [part for _, parts in method.groups for part in parts]
    arguments += [("%norms", _NORMS), ("%table", _TABLE), ("%lens", _ROWS)]
    arguments.append(("%rows", _ROWS))
    where = f"{_WHERE} rows(%rows)"
    size = f"page_size {S}" if method.unit == "pages" else ""
    body = []
    for i, (source, parts) in enumerate(method.groups):
        types = _join([q, *(t for _, t in parts), _TABLE, _ROWS, _ROWS])
        body.append(
            f"%s{i}, %b{i} = vashista.score %q from {source}({_join(n for n, _ in parts)}) "
            f"{where} {size} scale {SCALE!r} : ({types}) -> ({scores}, {scores})"
        )
    score, bound = "%s0", "%b0"
    if len(method.sources) > 1:
        body.append(f"%least = arith.minimumf %b0, %b1 : {scores}")
        score = bound = "%least"
    mode, _, options = pick.partition(" ")
    body.append(
        f"%ids, %count, %tail = vashista.pick {mode} {capacity} {method.unit} of({score}, "
        f"{bound}) lens(%lens) kv_heads 1 page_size {S} {options} : ({scores}, {scores}, "
        f"{_ROWS}) -> ({ids}, tensor<?x1xi32>, tensor<?x1xf32>)"
    )
    return f"""
func.func @{entry}_{method.key}({_join(f"{n}: {t}" for n, t in arguments)})
    -> ({ids}, tensor<?x1xi32>, tensor<?x1xf32>, {o}, tensor<?x1xf32>,
        tensor<?x1xf32>, tensor<?x1xf32>) {{
  {_join(body, separator=chr(10) + "  ")}
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %minus_inf = arith.constant 0xFF800000 : f32
  %n = tensor.dim %q, %c0 : {q}
  %oe = tensor.empty(%n) : {o}
  %o0 = linalg.fill ins(%zero : f32) outs(%oe : {o}) -> {o}
  %le = tensor.empty(%n) : tensor<?x1xf32>
  %l0 = linalg.fill ins(%minus_inf : f32) outs(%le : tensor<?x1xf32>) -> tensor<?x1xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%v) {where} {method.unit}(%ids, %count)
      outs(%o0, %l0) scale {SCALE!r}
      : ({q}, {_CACHE}, {_CACHE}, {_TABLE}, {_ROWS}, {_ROWS}, {ids}, tensor<?x1xi32>,
         {o}, tensor<?x1xf32>) -> ({o}, tensor<?x1xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms) {where}
      page_size {S} scale {SCALE!r}
      : ({q}, {o}, tensor<?x1xf32>, tensor<?x1xf32>, {_NORMS}, {_TABLE},
         {_ROWS}, {_ROWS}) -> (tensor<?x1xf32>, tensor<?x1xf32>)
  return %ids, %count, %tail, %o, %lse, %tau, %error
      : {ids}, tensor<?x1xi32>, tensor<?x1xf32>, {o}, tensor<?x1xf32>,
        tensor<?x1xf32>, tensor<?x1xf32>
}}"""


# ------------------------------------------------------------------------------
# Runs
# ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run claims and, in float64, what is true, one number a row [R].

    Attributes:
      count: tokens attended.
      tau: certified share of the mass that was missed at most.
      true_tau: the share that was missed.
      excess: nats by which the bound of what was left out exceeds it.
    """

    count: np.ndarray
    tau: np.ndarray
    true_tau: np.ndarray
    excess: np.ndarray


class Attention:
    """Compiled methods, to be run on problems.

    Args:
      methods: what bounds.
      picks: entries by name: (how a budget is spent, its capacity in tokens), as
        "top" or "proving tolerance 0.1".
    """

    def __init__(self, methods: Iterable[Method], picks: dict[str, tuple[str, int]]):
        self.picks = picks
        text = [_summarize("build_norms", "norms", [("%norms", _NORMS)])]
        for method in methods:
            text += _build(method)
            for entry, (pick, tokens) in picks.items():
                capacity = tokens // S if method.unit == "pages" else tokens
                text.append(_attend(method, entry, pick, capacity))
        self._artefact = vashista.compile("\n".join(text))

    def run(
        self,
        problem: Problem,
        method: Method,
        entry: str,
        report: Report,
        seed: int = 0,
    ) -> Outcome:
        """Runs a method; verifies its certificate against float64."""
        cache = _Cache(problem, seed)
        parts = cache.build(self._artefact, method)
        rows = len(problem.q)
        result = self._artefact[f"{entry}_{method.key}"](
            q=vashista.as_bfloat16(problem.q[:, None]),
            v=cache.v,
            table=cache.table,
            lens=problem.lens,
            rows=np.zeros(rows, np.int32),
            **{"k": cache.k, **parts},
        )
        ids, count, tail, o, _, tau, error = (np.asarray(x)[:, 0] for x in result)
        return _compare(problem, method, ids, count, tail, tau, error, report)


class _Cache:
    """The sequence in scattered pages, with one page more than it needs."""

    def __init__(self, problem: Problem, seed: int):
        tokens = len(problem.k)
        pages = -(-tokens // S)
        order = np.random.default_rng(seed).permutation(pages + 1)[:pages]
        self.table = order.reshape(1, pages).astype(np.int32)
        self.tokens = tokens
        self.k, self.v = (
            vashista.as_bfloat16(self._paged(x, order)) for x in (problem.k, problem.v)
        )

    @staticmethod
    def _paged(x: np.ndarray, order: np.ndarray) -> np.ndarray:
        # What no token has written is NaN: it must have no influence.
        paged = np.full((len(order) + 1, 1, S, D), np.nan, np.float32)
        padded = np.full((len(order) * S, D), np.nan, np.float32)
        padded[: len(x)] = x
        paged[order, 0] = padded.reshape(-1, S, D)
        return paged

    def build(self, artefact: vashista.Artefact, method: Method) -> dict:
        pages = self.k.shape[0]
        parts = {"norms": np.zeros((pages, 1, 2), np.float32)}
        kinds = {"bf16": np.uint16, "f16": np.float16, "f32": np.float32, "i8": np.int8}
        for name, shape, kind in method.parts if method is not EXACT else ():
            array = np.zeros((pages, *shape), kinds.get(kind, np.uint8))
            wrapped = kind == "bf16" or kind.startswith("f8")
            parts[name] = vashista.Bits(array, kind) if wrapped else array
        lens = np.array([self.tokens], np.int32)
        given = {"k": self.k, "v": self.v, "table": self.table, "lens": lens, **parts}
        kept = range(0 if method is EXACT else len(method.sources))
        for name in ("build_norms", *(f"build{i}_{method.key}" for i in kept)):
            entry = artefact[name]
            entry(**{value.name: given[value.name] for value in entry.arguments})
        return parts


def _compare(problem, method, ids, count, tail, tau, error, report: Report) -> Outcome:
    """What is true of the listed slots; the certificates have to cover it."""
    values = problem.v.astype(np.float64)
    rows = len(problem.q)
    taus, excess, errors = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    counts = np.zeros(rows, int)
    for r, logits in enumerate(problem.logits):
        listed = ids[r, : count[r]]
        if method.unit == "pages":
            listed = (listed[:, None] * S + np.arange(S)).ravel()
        inside = np.zeros(-(-len(logits) // S) * S, bool)
        inside[listed] = True
        inside = inside[: len(logits)]
        counts[r] = inside.sum()
        attended, missed = logsumexp(logits[inside]), logsumexp(logits[~inside])
        taus[r] = np.exp(missed - np.logaddexp(attended, missed))
        excess[r] = tail[r] - missed if counts[r] < len(logits) else 0.0
        weights = np.exp(logits[inside] - attended)
        output = weights @ values[: len(logits)][inside]
        errors[r] = np.linalg.norm(problem.outputs[r] - output)
    report.verify("certified tau >= missed share of the mass", tau, taus, slack=1e-12)
    report.verify("certified error >= error of the output", error, errors, slack=1e-12)
    return Outcome(counts, tau.astype(np.float64), taus, excess)
