# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiled solvers of the projection, `vashista.attend` with a solver, in f32.

One key head, logits `<w, k>` (scale 1), keys of up to 32 dimensions.
"""

from __future__ import annotations

import dataclasses
from typing import Iterable

import numpy as np

import vashista

D, S = 32, 16  # of padded keys, and tokens of a page


@dataclasses.dataclass(frozen=True)
class Solver:
    """A solver of `vashista.attend`, without its iterations."""

    text: str

    def entry(self, iterations: int) -> str:
        name = "".join(c if c.isalnum() else "_" for c in self.text)
        return f"{name}_{iterations}"


def gradient(epsilon: float) -> Solver:
    return Solver(f"eg, objective = projection, epsilon = {epsilon!r}")


def frank_wolfe(step: str) -> Solver:
    return Solver(f"frank_wolfe, objective = projection, epsilon = 0.0, step = {step}")


def _function(solver: Solver, iterations: int) -> str:
    q, cache = f"tensor<?x1x{D}xf32>", f"tensor<?x1x{S}x{D}xf32>"
    head, table, row = "tensor<?x1xf32>", "tensor<?x?xi32>", "tensor<?xi32>"
    outs = f"{q}, {head}, {q}, {head}"
    return f"""
func.func @{solver.entry(iterations)}(%q: {q}, %k: {cache}, %table: {table},
    %lens: {row}) -> ({q}, {head}) {{
  %c0 = arith.constant 0 : index
  %n = tensor.dim %q, %c0 : {q}
  %o = tensor.empty(%n) : {q}
  %lse = tensor.empty(%n) : {head}
  %w = tensor.empty(%n) : {q}
  %gap = tensor.empty(%n) : {head}
  %r:4 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse, %w, %gap) scale 1.0
      solver <{solver.text}, iterations = {iterations}>
      : ({q}, {cache}, {cache}, {table}, {row}, {outs}) -> ({outs})
  return %r#2, %r#3 : {q}, {head}
}}"""


class Solvers:
    """Compiled solvers, to be run on problems (keys [M, d], query [d]) at once."""

    def __init__(self, solvers: Iterable[Solver], iterations: Iterable[int]):
        functions = [_function(s, n) for s in solvers for n in iterations]
        self._artefact = vashista.compile("\n".join(functions))

    def run(self, problems, solver: Solver, iterations: int):
        """(residuals [problems, D], certified gaps [problems])."""
        count = len(problems)
        lens = np.array([len(keys) for keys, _ in problems], np.int32)
        pages = -(-int(lens.max()) // S)
        k = np.zeros((count, pages * S, D), np.float32)
        q = np.zeros((count, 1, D), np.float32)
        for i, (keys, query) in enumerate(problems):
            k[i, : len(keys), : keys.shape[1]] = keys
            q[i, 0, : len(query)] = query
        table = np.arange(count * pages, dtype=np.int32).reshape(count, pages)
        direction, gap = self._artefact[solver.entry(iterations)](
            q=q, k=k.reshape(-1, 1, S, D), table=table, lens=lens
        )
        return direction[:, 0].astype(float), gap[:, 0].astype(float)
