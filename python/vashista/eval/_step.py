# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiled decode step of one layer, with the lists of what it attended."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re

import numpy as np

from .. import Artefact, Bits
from ._artefacts import Artefacts, with_lists

_ARRAYS = {"i8": np.int8, "f16": np.float16, "f32": np.float32}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a step keeps beside the cache, and what it must prove.

    Attributes:
      name: what tables call it.
      sketch: the parameters of `#vashista.sketch`; one for all layers, or one per
        layer.
      scales, norms, centres: element types of the sketch's tensors.
      tolerance: largest share of a row's mass that may go unattended.
      candidates: most tokens a KV head's list can hold, in each round.
      sinks, window: first and last tokens that are always attended.
      page_size: tokens of a page.
      rounds: times that a row's budget is spent before it falls back.
    """

    name: str
    sketch: str | tuple[str, ...]
    scales: str = "f8E4M3FN"
    norms: str = "i8"
    centres: str = "bf16"
    tolerance: float = 0.5
    candidates: int = 16384
    sinks: int = 16
    window: int = 128
    page_size: int = 16
    rounds: int = 2

    def sketch_of(self, layer: int, layers: int) -> str:
        if isinstance(self.sketch, str):
            return self.sketch
        if len(self.sketch) != layers:
            raise ValueError(
                f"setting '{self.name}': expected a sketch or {layers} of them, one "
                f"per layer, got {len(self.sketch)}"
            )
        return self.sketch[layer]


@dataclasses.dataclass(frozen=True)
class Heads:
    """The shapes of an attention layer."""

    query: int
    kv: int
    dim: int


def _number(sketch: str, name: str) -> int:
    found = re.search(rf"\b{name}\s*=\s*(\d+)", sketch)
    if not found:
        raise ValueError(f"sketch <{sketch}>: expected '{name} = ...', got none")
    return int(found[1])


def _tensor(shape, element: str) -> str:
    dims = "x".join("?" if size is None else str(size) for size in shape)
    return f"tensor<{dims}x{element}>"


class Step:
    """The step of the layers that share a sketch.

    Args:
      folder: where artefacts are kept; one that is there is not compiled again.
      targets: what to compile for.
    """

    def __init__(
        self,
        setting: Setting,
        sketch: str,
        heads: Heads,
        folder: pathlib.Path,
        targets: str,
    ):
        self.setting, self.heads = setting, heads
        bits, group = _number(sketch, "bits"), _number(sketch, "group")
        groups = -(-heads.dim // group)
        token = (heads.kv, setting.page_size)
        norms = token if re.search(r"norm\s*=\s*token", sketch) else (*token, groups)
        #: What is kept beside the cache: the shape of a page's share, and the type.
        self.kept = {
            "norms": ((heads.kv, 2), "f32"),
            "codes": ((*token, groups * group * bits // 8), "i8"),
            "scales": ((*token, groups), setting.scales),
            "residuals": (norms, setting.norms),
        }
        if re.search(r"centre\s*=\s*page", sketch):
            self.kept["centre"] = ((heads.kv, heads.dim), setting.centres)
        lists = functools.partial(with_lists, function="step")
        artefacts = Artefacts(folder, targets)
        self.artefact: Artefact = artefacts.get(self._text(sketch), lists)

    @property
    def scan_bytes(self) -> float:
        """Bytes beside the cache that a step reads, per token and KV head."""
        size = 0
        for shape, element in self.kept.values():
            size += np.prod(shape) * int(re.search(r"\d+", element)[0]) / 8
        return float(size) / (self.setting.page_size * self.heads.kv)

    @property
    def scan_share(self) -> float:
        """The same, of the bytes of a key and a value in bf16."""
        return self.scan_bytes / (4 * self.heads.dim)

    def keep(self, k: Bits, v: Bits, table: np.ndarray, length: int) -> list:
        """What is kept beside a cache `[pages, KV heads, page size, dim]`."""
        parts = []
        for shape, element in self.kept.values():
            shape = (k.shape[0], *shape)
            if element in _ARRAYS:
                parts.append(np.zeros(shape, _ARRAYS[element]))
            else:
                unit = np.uint16 if element == "bf16" else np.uint8
                parts.append(Bits(np.zeros(shape, unit), element))
        lens = np.array([length], np.int32)
        self.artefact["summarize"](k, v, table, lens, *parts)
        return parts

    def run(self, q, k, v, table, lens, kept):
        """A step of rows `[R, H, D]` that share one sequence.

        Returns o, lse, tau, error, rounds and flag as `vashista.attention` does,
        and the lists of the tokens attended in each round, as long as the longest.
        """
        rows = np.zeros(len(q), np.int32)
        got = self.artefact["step"](q, k, v, table, lens, rows, *kept)
        rounds = zip(got[6::2], got[7::2])
        return got[:6], [ids[..., : count.max()] for ids, count in rounds]

    def alone(self, q, table, lens, kept) -> np.ndarray:
        """How many tokens each query head would need by itself `[R, H]`."""
        rows = np.zeros(len(q), np.int32)
        sketch = kept[1:]  # without the page norms
        return self.artefact["alone"](q, table, lens, rows, *sketch)

    def _text(self, sketch: str) -> str:
        """The module, with the attention still whole."""
        setting, heads = self.setting, self.heads
        cache = _tensor((None, heads.kv, setting.page_size, heads.dim), "bf16")
        types = {
            "q": _tensor((None, heads.query, heads.dim), "f32"),
            "k": cache,
            "v": cache,
            "table": _tensor((None, None), "i32"),
            "lens": _tensor((None,), "i32"),
            "rows": _tensor((None,), "i32"),
        }
        for name, (shape, element) in self.kept.items():
            types[name] = _tensor((None, *shape), element)
        kept = list(self.kept)
        parts = kept[1:]

        def declare(names):
            return ", ".join(f"%{name}: {types[name]}" for name in names)

        def use(names):
            return ", ".join(f"%{name}" for name in names)

        def of(names):
            return ", ".join(types[name] for name in names)

        scale = f"scale {heads.dim ** -0.5:.9e}"
        always = f"sinks {setting.sinks} window {setting.window}"
        per_head = _tensor((None, heads.query), "f32")
        scores = _tensor((None, heads.query, None), "f32")
        results = [
            _tensor((None, heads.query, heads.dim), "f32"),
            *[per_head] * 3,
            _tensor((None, heads.kv), "i32"),
            _tensor((None, heads.kv), "i1"),
        ]
        alone = [
            _tensor((None, heads.query, setting.candidates), "i32"),
            _tensor((None, heads.query), "i32"),
            per_head,
        ]
        built = ["k", "v", "table", "lens", *kept]
        step = ["q", "k", "v", "table", "lens", "rows"]
        scored = ["q", *parts, "table", "lens", "rows"]
        return f"""
func.func @summarize({declare(built)}) -> ({of(kept)}) {{
  %r:{len(kept)} = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms) sketch <{sketch}>({use(parts)})
      : ({of(built)}) -> ({of(kept)})
  return {", ".join(f"%r#{i}" for i in range(len(kept)))} : {of(kept)}
}}
func.func @step({declare(step + kept)}) -> ({", ".join(results)}) {{
  %r:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) sketch <{sketch}>({use(parts)}) norms(%norms)
      policy <pages = 0, candidates = {setting.candidates}, sinks = {setting.sinks},
              window = {setting.window}, pick = proving,
              tolerance = {setting.tolerance:.9e}, rounds = {setting.rounds},
              fallback = dense>
      {scale}
      : ({of(step + parts + ["norms"])}) -> ({", ".join(results)})
  return %r#0, %r#1, %r#2, %r#3, %r#4, %r#5 : {", ".join(results)}
}}
func.func @alone({declare(["q", "table", "lens", "rows", *parts])}) -> {alone[1]} {{
  %scores, %bounds = vashista.score %q from #vashista.sketch<{sketch}>({use(parts)})
      table(%table) lens(%lens) rows(%rows) {scale}
      : ({of(scored)}) -> ({scores}, {scores})
  %ids, %count, %tail = vashista.pick proving {setting.candidates} tokens
      of(%scores, %bounds) lens(%lens) kv_heads {heads.query}
      page_size {setting.page_size} {always} tolerance {setting.tolerance:.9e}
      : ({scores}, {scores}, {types["lens"]}) -> ({", ".join(alone)})
  return %count : {alone[1]}
}}
"""
