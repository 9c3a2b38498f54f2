# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention over caches that a serving engine owns, tensors of PyTorch.

The engine allocates pages, writes page tables and schedules; what is kept beside its
cache, page for page, is ours. `vashista.vllm` and `vashista.sglang` are made of this.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from typing import Any, Sequence

import torch

from . import _check, _memory
from ._compile import compile
from ._steps import Attention
from .policy import Policy
from .sketch import Sketch
from .spec import AttentionSpec
from .torch import op

DTYPES = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}


@dataclasses.dataclass(frozen=True)
class Pages:
    """Keys and values of a layer as pages, views of an engine's tensor.

    Attributes:
      k, v: `[N, Hkv, S, D]` in the layout "hnd", `[N, S, Hkv, D]` in "nhd".
      layout: which.
      factor: page p of the engine is page `factor * p` of both.
    """

    k: torch.Tensor
    v: torch.Tensor
    layout: str
    factor: int = 1


def split(cache: torch.Tensor, layout: str) -> Pages:
    """The pages of a cache that holds keys and values in one tensor, nothing copied.

    cache: `[2, N, S, Hkv, D]`, `[N, 2, S, Hkv, D]`, or with S and Hkv exchanged.
    layout: "nhd" where S comes first, else "hnd": of the shape, whatever the strides;
      a tensor whose memory has S and Hkv in the other order is taken as that.

    Where keys and values alternate, pages are counted in both alike, and what is kept for
    pages takes twice the memory. Raises `vashista.Error` for other strides.
    """
    _check.one_of("cache: layout", layout, ("hnd", "nhd"))
    if cache.ndim != 5 or 2 not in cache.shape[:2]:
        raise _check.refuse(
            "cache", "[2, N, ...] or [N, 2, ...] of 5 dimensions", list(cache.shape)
        )
    for exchanged in (False, True):
        found = cache.transpose(2, 3) if exchanged else cache
        if exchanged:
            layout = "nhd" if layout == "hnd" else "hnd"
        if cache.shape[0] == 2 and found[0].is_contiguous():
            return Pages(found[0], found[1], layout)
        if cache.shape[1] == 2 and found.is_contiguous():
            flat = found.flatten(0, 1)
            return Pages(flat[:-1], flat[1:], layout, 2)
    raise _check.refuse(
        "cache",
        "pages whose numbers lie next to each other",
        f"strides {cache.stride()}",
    )


def options_from_environment() -> dict[str, Any]:
    """`VASHISTA_POLICY`: arguments of `vashista.Policy`, and "summary" and "sketch" of
    `vashista.AttentionSpec`, as JSON; without it, everything is attended. Its "moments"
    are refused with a layer: they are of sequences, of which an engine says nothing.

        {"candidates": 4096, "pick": "proving", "tolerance": 0.5, "rounds": 2,
         "fallback": "dense", "sketch": {"bits": 4, "group": 32}}

    Engines have no other channel for the options of a plugin.
    """
    text = os.environ.get("VASHISTA_POLICY", "{}")
    try:
        found = json.loads(text)
        summary, sketch = found.pop("summary", None), found.pop("sketch", None)
        moments = found.pop("moments", False)
        return {
            "policy": Policy(**found),
            "summary": summary,
            "sketch": Sketch(**sketch) if sketch is not None else None,
            "moments": moments,
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise _check.refuse(
            "VASHISTA_POLICY", "JSON as of vashista.Policy", error
        ) from None


@functools.lru_cache(maxsize=16)
def _operators(spec: AttentionSpec, target: str, device: str) -> dict[str, Any]:
    """The compiled entries, one for all layers of a model."""
    where = {"device": device} if device != "cpu" else {}
    artefact = compile(spec, target, **where)
    return {
        name: (op(artefact, name), [v.name for v in entry.arguments])
        for name, entry in artefact.items()
    }


class EngineLayer:
    """A layer of an engine's cache, with what is kept beside it.

    Args:
      spec: the attention; its layout, page size and types are those of the pages.
      pages: the layer's keys and values.
      target: what to compile for; default: the pages' device.

    All page tables are the engine's times `pages.factor`, i32.
    """

    def __init__(self, spec: AttentionSpec, pages: Pages, target: str | None = None):
        if spec.soft_cap is not None:
            raise _check.refuse(
                "engine: soft_cap", "None: prompts go to SDPA", spec.soft_cap
            )
        if spec.moments:
            raise _check.refuse(
                "engine: moments",
                "False: they are of sequences, and an engine's pages are of nobody",
                spec.moments,
            )
        if spec.layout != pages.layout:
            raise _check.refuse("engine: layout of the spec", pages.layout, spec.layout)
        for name, array, dim in (
            ("k", pages.k, spec.head_dim),
            ("v", pages.v, spec.value_dim),
        ):
            shape = (*spec.page_shape(dim), DTYPES.get(array.dtype))
            if (*array.shape[1:], DTYPES.get(array.dtype)) != (*shape[:3], spec.dtype):
                raise _check.refuse(
                    f"engine: pages of {name}",
                    f"{spec.dtype} [N, {', '.join(map(str, shape[:3]))}]",
                    f"{array.dtype} {list(array.shape)}",
                )
        self.spec, self.pages = spec, pages
        memory = _memory.TorchMemory(pages.k.device)
        self._operators = _operators(spec, target or memory.target, str(memory.device))
        self._arrays = {"k": pages.k, "v": pages.v}
        for name, (shape, dtype) in spec.kept.items():
            self._arrays[name] = memory.zeros((pages.k.shape[0], *shape), dtype)

    @property
    def kept_bytes(self) -> int:
        """Bytes beside the engine's cache, which the engine does not count."""
        return sum(
            x.numel() * x.element_size()
            for n, x in self._arrays.items()
            if n not in "kv"
        )

    def _call(self, entry: str, **given: torch.Tensor):
        call, names = self._operators[entry]
        return call(
            **{n: self._arrays[n] if n in self._arrays else given[n] for n in names}
        )

    def append(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        positions: torch.Tensor,
        table: torch.Tensor,
    ) -> None:
        """Writes a token of each row, `[R, Hkv, D]` and `[R, Hkv, Dv]`, at its position
        `[R]` i32, negative for none, and updates what is kept. Waits for nothing."""
        if self.pages.factor != 1:
            self._append_alternating(key, value, positions, table)
            return
        self._call("append", key=key, value=value, positions=positions, table=table)

    def _append_alternating(self, key, value, positions, table) -> None:
        """As `append`, where keys and values lie within each other, so that an entry
        cannot be given both to write: they are written by PyTorch."""
        size, there = self.spec.page_size, positions >= 0
        # A row without a token repeats one that has some; where none has, what is there
        # is written again. No row is left out, as that would take knowing how many.
        own = torch.arange(len(positions), device=positions.device)
        row = torch.where(there, own, there.int().argmax())
        position = positions[row].clamp(min=0).long()
        page = table[row, position // size].long().clamp(0, len(self.pages.k) - 1)
        slot = position % size
        for name, new in (("k", key), ("v", value)):
            array = self._arrays[name]
            at = (
                (page, slice(None), slot) if self.spec.layout == "hnd" else (page, slot)
            )
            array[at] = torch.where(there.any(), new[row], array[at])
        if self.spec.kept:
            lens = torch.where(there, slot + 1, 0).int()
            self._call("summarize", table=page[:, None].int(), lens=lens)

    def decode(
        self, q: torch.Tensor, table: torch.Tensor, lens: torch.Tensor
    ) -> Attention:
        """Attention of rows `[R, H, D]` to `lens` `[R]` i32 tokens; does not wait."""
        return Attention(*self._call("decode", q=q, table=table, lens=lens))

    def write(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        table: torch.Tensor,
        chunks: Sequence[tuple[int, int]],
    ) -> None:
        """Writes chunks of sequences and rebuilds what is kept of their pages.

        key, value: `[T, Hkv, D]`, `[T, Hkv, Dv]`: chunk after chunk.
        table: of the chunks' sequences, a row for each.
        chunks: of each, how many tokens it has, and how many its sequence has then.
        """
        spec, size, begin = self.spec, self.spec.page_size, 0
        for row, (tokens, length) in enumerate(chunks):
            end, start = begin + tokens, length - tokens
            own = table[row, : -(-length // size)].long()
            at = torch.arange(start, length, device=key.device)
            for name, new in (("k", key[begin:end]), ("v", value[begin:end])):
                if spec.layout == "hnd":
                    self._arrays[name][own[at // size], :, at % size] = new
                else:
                    self._arrays[name][own[at // size], at % size] = new
            if spec.kept and tokens:
                first = start // size
                self._call(
                    "summarize",
                    table=own[None, first:].int(),
                    lens=torch.full_like(own[:1], length - first * size).int(),
                )
            begin = end

    def prefill(
        self,
        q: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        table: torch.Tensor,
        chunks: Sequence[tuple[int, int]],
    ) -> torch.Tensor:
        """Writes chunks, and attends to each by SDPA, together with what its sequence
        had before: `[T, H, D]` to `[T, H, Dv]`, in the type of q. As `write`."""
        self.write(key, value, table, chunks)
        out = q.new_empty(len(q), self.spec.heads, self.spec.value_dim)
        begin = 0
        for row, (tokens, length) in enumerate(chunks):
            own = table[row, : -(-length // self.spec.page_size)].long()
            end = begin + tokens
            out[begin:end] = self._attend(q[begin:end], own, length)
            begin = end
        return out

    def _attend(
        self, q: torch.Tensor, pages: torch.Tensor, length: int
    ) -> torch.Tensor:
        tokens = len(q)
        if not tokens:
            return q.new_empty(0, self.spec.heads, self.spec.value_dim)
        k, v = (self._gather(name, pages, length) for name in "kv")
        if tokens == length:
            mask = {"is_causal": True}
        else:
            seen = torch.arange(length - tokens, length, device=q.device)
            mask = {"attn_mask": torch.arange(length, device=q.device) <= seen[:, None]}
        o = torch.nn.functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            k,
            v,
            scale=self.spec.scale,
            enable_gqa=self.spec.heads != self.spec.kv_heads,
            **mask,
        )
        return o[0].transpose(0, 1)

    def _gather(self, name: str, pages: torch.Tensor, length: int) -> torch.Tensor:
        """`[1, Hkv, length, D]` of a sequence."""
        found = self._arrays[name].index_select(0, pages)
        if self.spec.layout == "nhd":
            found = found.transpose(1, 2)
        return found.transpose(0, 1).flatten(1, 2)[None, :, :length]
