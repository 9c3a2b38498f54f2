# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shapes of decode steps, the modules that are measured, and the bytes they must read."""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
import re

import numpy as np

from vashista import AttentionSpec, Policy, Sketch, ir

DIM, PAGE = 128, 16  # where a shape's name says nothing else
ROUTED, CANDIDATES = 1024, 128  # tokens, of pages and of those, without a certificate
SINKS, WINDOW = 4, 64
TOLERANCE = 0.5
#: What is measured of ours and proves something: the bits of its sketch, whether it has
#: second moments of sequences, and its rounds, each of which may take all tokens. Where
#: few groups run at once, one round is one kernel, each of whose clusters proves its own
#: part of a sequence.
CERTIFIED = {
    "certified": (4, False, 1),
    "moments": (4, True, 2),
    "certified5": (5, False, 1),
    "moments5": (5, True, 2),
    "tworounds": (4, False, 2),
    "tworounds5": (5, False, 2),
}
#: All that is measured of ours, in the order of tables.
OURS = ("dense", "mean", "mean_std", *CERTIFIED)
#: Others' dense steps, by the names of options, in the order of tables.
PEERS = {
    "sdpa": "cuDNN",
    "fa2": "FlashInfer FA2",
    "fa2-tc": "FlashInfer FA2, tensor cores",
    "xqa": "FlashInfer XQA",
}
#: Stages whose bytes are no floor: a step in one kernel would not have them.
BETWEEN = ("scores", "page norms")


@dataclasses.dataclass(frozen=True)
class Shape:
    """A decode step: sequences, KV heads, query heads of each, tokens, channels of a
    head, tokens of a page; bf16.

    is_any: it is compiled for any number of sequences and of pages, as servers do.
    """

    batch: int
    kv_heads: int
    group: int
    context: int
    dim: int = DIM
    page: int = PAGE
    is_any: bool = False

    @property
    def heads(self) -> int:
        return self.kv_heads * self.group

    @property
    def pages(self) -> int:
        """Of a sequence."""
        return -(-self.context // self.page)

    @property
    def routed(self) -> int:
        """Pages that a step without a certificate looks at: three at least, for sinks and
        window."""
        return max(-(-ROUTED // self.page), 3)

    @property
    def name(self) -> str:
        tokens = self.context
        text = f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
        text = f"{self.batch}x{self.kv_heads}x{self.group}x{text}"
        return "-".join((text, *self._marks))

    def __str__(self) -> str:
        text = f"{self.batch}, {self.kv_heads}, {self.group}, {self.context:,}"
        return ", ".join((text, *self._marks))

    @property
    def _marks(self) -> list[str]:
        marks = {
            f"d{self.dim}": self.dim != DIM,
            f"p{self.page}": self.page != PAGE,
            "any": self.is_any,
        }
        return [mark for mark, is_there in marks.items() if is_there]


def parse(text: str) -> Shape:
    """Of "8x8x4x128k": sequences, KV heads, query heads of each, tokens. Behind it, in
    this order: "-d64", channels of a head, "-p1", tokens of a page, "-any": compiled for
    any number of sequences and pages."""
    found = re.fullmatch(
        r"(\d+)x(\d+)x(\d+)x(\d+)(k?)(?:-d(\d+))?(?:-p(\d+))?(-any)?", text
    )
    sizes = list(found.group(1, 2, 3, 4, 6, 7)) if found else [0]
    sizes = [int(n) if n else usual for n, usual in zip(sizes, (0, 0, 0, 0, DIM, PAGE))]
    if not all(sizes):
        raise ValueError(
            "expected a shape BxHkvxGxT as in 8x8x4x128k, behind which may be channels "
            "of a head, tokens of a page, and that it is compiled for any number of "
            "sequences and pages, as in 8x8x4x128k-d64-p1-any, or a pattern of some of "
            f"{', '.join(s.name for s in SHAPES)}; got '{text}'"
        )
    batch, kv_heads, group, tokens, dim, page = sizes
    tokens *= 1024 if found[5] else 1
    return Shape(batch, kv_heads, group, tokens, dim, page, is_any=bool(found[8]))


#: Those of docs/performance.md, and grouped queries at a batch of 16.
SHAPES = tuple(
    Shape(batch, kv_heads, group, context)
    for batch, kv_heads, group in ((16, 32, 1), (8, 8, 4), (1, 8, 4), (16, 8, 4))
    for context in (8192, 32768, 131072)
)


def chosen(text: str | None) -> list[Shape]:
    """Shapes of a list with commas; a pattern such as 16x32x1x* is of `SHAPES`."""
    if not text:
        return list(SHAPES)
    found: dict[Shape, None] = {}
    for word in text.split(","):
        some = [s for s in SHAPES if fnmatch.fnmatchcase(s.name, word)]
        found.update(dict.fromkeys(some or [parse(word)]))
    return list(found)


def of_trace(path: pathlib.Path, batch: int) -> Shape:
    """The shape of a trace (`_traces`), of which so many rows are a batch."""
    with np.load(path) as file:
        (rows, heads, dim), (tokens, kv_heads, _) = file["q"].shape, file["k"].shape
    if not 0 < batch <= rows:
        raise ValueError(f"{path}: expected 1 to {rows} rows, got {batch}")
    return Shape(batch, kv_heads, heads // kv_heads, tokens, dim)


# Modules.


def spec_of(shape: Shape, variant: str) -> AttentionSpec:
    options: dict = {}
    if variant in CERTIFIED:
        bits, options["moments"], rounds = CERTIFIED[variant]
        most = max(SINKS + WINDOW, shape.context)
        options["policy"] = Policy.certified(
            TOLERANCE, candidates=most, sinks=SINKS, window=WINDOW, rounds=rounds
        )
        options["sketch"] = Sketch(bits=bits)
    elif variant != "dense":
        options["policy"] = Policy(
            pages=shape.routed, candidates=CANDIDATES, sinks=SINKS, window=WINDOW
        )
        options["summary"] = variant
    return AttentionSpec(
        shape.heads, shape.kv_heads, shape.dim, scale=shape.dim**-0.5,
        page_size=shape.page, batch=None if shape.is_any else shape.batch,
        max_pages=None if shape.is_any else shape.pages, **options,
    )  # fmt: skip


def text_of(shape: Shape, variant: str) -> str:
    """The module of a step, its sizes written out but for that of the pool, or for any
    number of sequences and pages."""
    text = spec_of(shape, variant).text
    parts = re.findall(r"func\.func @\w+\(.*?\n}\n", text, re.DOTALL)
    return "\n".join(p for p in parts if "@append(" not in p)


def with_counts(text: str) -> str:
    """The same step with the lengths of its lists, of each round, among its results.

    Kernels and launches stay as they are: what a workspace holds otherwise is handed
    out. Arguments keep their order, not their names.
    """
    module = ir.run(text, "builtin.module(vashista-decompose,cse)")
    before, step, after = re.split(
        r"(  func\.func @decode\(.*?\n  }\n)", module, flags=re.DOTALL
    )
    picks = re.findall(
        r"^ *%\S+, (%\S+), %\S+ = vashista\.pick proving .* -> \(\S+, (\S+), \S+\)$",
        step,
        re.MULTILINE,
    )
    if not picks:
        raise AssertionError(f"no pick in\n{step}")
    names, types = (", ".join(words) for words in zip(*picks))
    step = re.sub(r"\) {\n", f", {types}) {{\n", step, count=1)
    step = re.sub(
        r"return (.*) : (.*)\n",
        lambda found: f"return {found[1]}, {names} : {found[2]}, {types}\n",
        step,
    )
    return before + step + after


def lists_of(variant: str):
    """What `Artefacts.make` makes of a module before it is compiled."""
    return with_counts if variant in CERTIFIED else None


# Bytes.


def stages(shape: Shape, variant: str, tokens: int | None = None) -> dict[str, int]:
    """What a step reads from memory at least, and what it writes for a later kernel.

    tokens: attended by a certified step, over all KV heads and sequences.
    "scores" are written once and read once.
    """
    rows, heads = shape.batch * shape.kv_heads, shape.batch * shape.heads
    token = 2 * shape.dim  # of a key, or a value
    if variant == "dense":
        return {"keys and values": rows * shape.context * 2 * token}
    if variant in CERTIFIED:
        spec = spec_of(shape, variant)
        sketch = spec.page_bytes["sketch"] // shape.page // shape.kv_heads
        if tokens is None:
            raise ValueError(f"{variant}: expected how many tokens were attended")
        moments = {"moments": shape.batch * spec.sequence_bytes}
        return {
            "sketch": rows * shape.context * sketch,
            **(moments if spec.moments else {}),
            "keys and values": tokens * 2 * token,
            # Levels of bounds, a byte, and how far keys may be from the sketch, two.
            "scores": 2 * (heads + 2 * rows) * shape.context,
            "page norms": rows * shape.pages * 8,
        }
    summaries = len(spec_of(shape, variant).summary_parts)
    routed = min(shape.routed, shape.pages)
    return {
        "summaries": rows * shape.pages * summaries * token,
        "keys": rows * routed * shape.page * token,
        "values": rows * min(CANDIDATES, routed * shape.page) * token,
        "scores": 2 * heads * shape.pages * 4,
    }


def floor_bytes(parts: dict[str, int]) -> int:
    return sum(n for name, n in parts.items() if name not in BETWEEN)


#: What the first kernel of a name reads or writes of a step's stages, and what share.
_KERNELS = {
    "sketch_scan": (("sketch", 1.0), ("scores", 0.5)),
    "vector_scan": (("summaries", 1.0), ("scores", 0.5)),
    "pick": (("scores", 0.5),),
    "moment": (("moments", 1.0),),  # or by the scan
    "attend": (("keys and values", 1.0),),
    "attend_chunks": (("sketch", 1.0), ("keys and values", 1.0)),
    "attend_best": (("keys", 1.0), ("values", 1.0)),
    "route_attend_best": (("summaries", 1.0), ("keys", 1.0), ("values", 1.0)),
}


def kernel_bytes(names: list[str], parts: dict[str, int]) -> list[int]:
    """Of each kernel of a step, 0 where that does not follow from shapes."""
    seen: set[str] = set()
    out = []
    bases = [re.sub(r"_\d+$", "", name) for name in names]
    for base in bases:
        of = () if base in seen else _KERNELS.get(base, ())
        if of and base == "sketch_scan" and "moment" not in bases:
            of += _KERNELS["moment"]
        seen.add(base)
        out.append(int(sum(share * parts.get(part, 0) for part, share in of)))
    return out


def copies_of(shape: Shape, cache: int, most: int = 64) -> int:
    """How many sets of inputs a graph takes in turn, so that what a step reads is not
    left in a cache of so many bytes from the last time: four times as much in all."""
    least = floor_bytes(stages(shape, "mean"))
    return max(1, min(most, -(-4 * cache // least)))
