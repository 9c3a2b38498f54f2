# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Keys, values and queries of a shape, in pages and, for peers, in one piece."""

from __future__ import annotations

import functools

import torch

from _shapes import Shape

#: Queries are so many standard normals long, so that a certified step needs 7 to 10 %
#: of 131,072 tokens: of one query head per KV head, and of groups.
SPREAD = {1: 3.3}
SPREAD_OF_GROUPS = 4.5


#: Sets of queries, at least, of what depends on them: whether a group takes a second
#: round is a matter of luck, and costs a tenth of a step.
QUERIES = 16


class Inputs:
    """Several sets of inputs of a step, all in one pool of pages in a random order.

    Attributes:
      k, v: `[pages, Hkv, page, D]` bf16.
      table: `[copies, B, M]` i32.
      q: `[queries, B, H, D]` bf16, at least as many sets as there are tables, which
        they take in turn.
      lens: `[B]` i32, the tokens that a sequence sees.
    """

    def __init__(self, shape: Shape, copies: int, device: torch.device, seed: int = 0):
        self.shape, self.copies, self.device = shape, copies, device
        generator = torch.Generator(device).manual_seed(seed)
        pages = copies * shape.batch * shape.pages
        self.table = torch.randperm(pages, generator=generator, device=device).int()
        self.table = self.table.view(copies, shape.batch, shape.pages)
        size = (pages, shape.kv_heads, shape.page, shape.dim)
        self.k, self.v = (
            torch.empty(size, dtype=torch.bfloat16, device=device) for _ in range(2)
        )
        self.lens = torch.full(
            (shape.batch,), shape.context, dtype=torch.int32, device=device
        )
        self._fill(generator)

    def _fill(self, generator: torch.Generator) -> None:
        shape = self.shape
        # One after the other: of billions of numbers at once there is no index.
        for x in (self.k, self.v):
            for some in x.split(max(1, (1 << 28) // x[0].numel())):
                some.normal_(generator=generator)
        # As many for each set of pages, so that none is read twice in a row.
        queries = self.copies * -(-QUERIES // self.copies)
        size = (queries, shape.batch, shape.heads, shape.dim)
        q = torch.randn(size, generator=generator, device=self.device)
        self.q = (SPREAD.get(shape.group, SPREAD_OF_GROUPS) * q).bfloat16()

    @property
    def queries(self) -> int:
        return len(self.q)

    @property
    def even(self) -> bool:
        """Whether all sequences are as long as the context."""
        return bool((self.lens == self.shape.context).all())

    @property
    def scale(self) -> float:
        return self.shape.dim**-0.5

    def sequence(self, x: torch.Tensor, copy: int, row: int) -> torch.Tensor:
        """Keys or values of a sequence, `[Hkv, T, D]`."""
        pages = x.index_select(0, self.table[copy, row].long())
        return pages.transpose(0, 1).flatten(1, 2)[:, : self.shape.context]

    @functools.cached_property
    def whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values without pages, `[copies, B, Hkv, T, D]`."""
        shape = self.shape
        size = (self.copies, shape.batch, shape.kv_heads, shape.context, shape.dim)
        out = []
        for x in (self.k, self.v):
            whole = x.new_empty(size)
            for copy in range(self.copies):
                for row in range(shape.batch):
                    whole[copy, row] = self.sequence(x, copy, row)
            out.append(whole)
        return out[0], out[1]
