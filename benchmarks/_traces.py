# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Queries, keys and values of a model's layer, in place of random ones."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import torch

from _inputs import Inputs
from _shapes import Shape


class Trace(Inputs):
    """Queries of a model, all to the keys of one sequence, each to a copy of them.

    trace: q `[rows, H, D]`, k and v `[T, Hkv, D]`; row i of R sees all tokens but the
      last R - 1 - i.
    """

    def __init__(self, trace: dict[str, Any], shape: Shape, copies: int, device):
        self._trace = trace
        super().__init__(shape, copies, device)

    def _fill(self, generator: torch.Generator) -> None:
        shape, trace = self.shape, self._trace
        rows = len(trace["q"])
        first = rows - shape.batch
        seen = [shape.context - (rows - 1 - i) for i in range(first, rows)]
        self.lens.copy_(torch.tensor(seen, dtype=torch.int32))
        self.q = trace["q"][first:].to(self.device).expand(self.copies, -1, -1, -1)
        self.q = self.q.contiguous()
        order = self.table.long().view(-1, shape.pages)
        for x, name in ((self.k, "k"), (self.v, "v")):
            padded = x.new_zeros(shape.pages * shape.page, shape.kv_heads, shape.dim)
            padded[: shape.context] = trace[name].to(self.device)
            pages = padded.view(shape.pages, shape.page, shape.kv_heads, shape.dim)
            pages = pages.transpose(1, 2).contiguous()
            for own in order:
                x[own] = pages


def read(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Of an .npz with q, k and v, bf16 as its bits (u2) or any floating-point type."""
    with np.load(path) as file:
        missing = [name for name in "qkv" if name not in file]
        if missing:
            raise ValueError(f"{path}: expected an array '{missing[0]}', got none")
        arrays = {name: file[name] for name in "qkv"}
    q, k, v = (arrays[name].shape for name in "qkv")
    if len(q) != 3 or len(k) != 3 or k != v or q[2] != k[2] or q[1] % k[1]:
        raise ValueError(
            f"{path}: expected q [rows, H, D] and k, v [T, Hkv, D], got {q}, {k}, {v}"
        )
    out = {}
    for name, x in arrays.items():
        if x.dtype == np.uint16:
            out[name] = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        else:
            out[name] = torch.from_numpy(x.astype(np.float32)).bfloat16()
    return out
