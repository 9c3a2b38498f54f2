# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a decode step of one attention layer is, without writing a module."""

from __future__ import annotations

import dataclasses
import math
import re

from . import _check, _text
from .policy import Policy
from .sketch import Sketch

DTYPES = ("bf16", "f16", "f32")
SUMMARIES = {
    "mean": ("mean",),
    "mean_std": ("mean", "std"),
    "box": ("lo", "hi"),
    "ball": ("centre", "radius"),
}


def bytes_of(shape: tuple[int, ...], element: str) -> int:
    """Of an array; `element` as in "bf16" or "f8E4M3FN"."""
    return math.prod(shape) * int(re.search(r"\d+", element)[0]) // 8


@dataclasses.dataclass(frozen=True)
class AttentionSpec:
    """A decode step of one attention layer over a paged KV cache, and what it keeps.

        spec = AttentionSpec(32, 8, 128, scale=128**-0.5,
                             policy=Policy.certified(0.5, candidates=4096),
                             sketch=Sketch())
        artefact = vashista.compile(spec)

    Attributes:
      heads, kv_heads: query heads H, and KV heads Hkv, which divide them.
      head_dim, value_dim: numbers of a key D and of a value Dv; default: the same.
      scale: of logits, usually D^-0.5. There is no default: a scale that is dropped
        silently is a wrong model.
      dtype: of queries, keys and values, "bf16", "f16" or "f32".
      page_size: tokens S of a page.
      layout: of a page in the caches: "hnd" is [Hkv, S, D], "nhd" is [S, Hkv, D].
      batch: rows R, or None, the default: whatever a call brings.
      max_pages: columns M of the page tables of steps, or None, the default: whatever a
        call brings. With it and `batch` a GPU's kernels are laid out for these sizes, and
        a certified step of few or short sequences is one.
      shared_rows: whether rows name the sequence that they are of, as several query
        tokens of one sequence do (speculative decoding). Else row r is of sequence r.
      policy: what is read, proved and fallen back to; default: everything.
      summary: of pages, where the policy routes: "mean", "mean_std", "box", "ball".
      sketch: of keys, by which tokens are scored; None: the keys themselves are read.
      soft_cap: logits are `soft_cap tanh(logit / soft_cap)`; None: they are not.
      moments: whether second moments of what the sketch lacks are kept of each sequence
        and KV head: a proof then needs a half to a third of the tokens, at 4 bits. For a
        policy with a tolerance, a sketch and no soft cap.

    `text` is a module of up to three functions, called by the names of arguments;
    `rows` only for `shared_rows`, and with what is kept (`kept`) by its names:

      decode(q [R, H, D], k, v [N, ...], table [B, M], lens [R], rows [R], kept...)
        -> o [R, H, Dv], lse [R, H], and with a tolerance tau, error [R, H],
           rounds, flag [R, Hkv]
      append(key [R, Hkv, D], value [R, Hkv, Dv], positions [R], table, rows, k, v,
             kept...), which writes the last ones in place
      summarize(k, v with a tolerance, table, lens, kept...), likewise: rebuilds what
        is kept of the pages that the table names

    Moments are the last of what is kept, and are not of pages: `[B, ...]`, of the rows
    of the table (`kept_of_sequences`).

    Raises `vashista.Error`, which says what was expected and what was got, for values
    that the ops would refuse. Source: docs/reference/VashistaDialect.md.
    """

    heads: int
    kv_heads: int
    head_dim: int
    _: dataclasses.KW_ONLY
    scale: float
    value_dim: int | None = None
    dtype: str = "bf16"
    page_size: int = 16
    layout: str = "hnd"
    batch: int | None = None
    max_pages: int | None = None
    shared_rows: bool = False
    policy: Policy = Policy()
    summary: str | None = None
    sketch: Sketch | None = None
    soft_cap: float | None = None
    moments: bool = False

    def __post_init__(self):
        def check(name, least, most=_check.LARGEST):
            return _check.integer(f"spec: {name}", getattr(self, name), least, most)

        check("heads", 1)
        if self.heads % check("kv_heads", 1, self.heads):
            raise _check.refuse(
                "spec: kv_heads", f"a divisor of {self.heads} heads", self.kv_heads
            )
        check("head_dim", 1, 65536)
        if self.value_dim is None:
            object.__setattr__(self, "value_dim", self.head_dim)
        check("value_dim", 1, 65536)
        check("page_size", 1)
        for name in ("batch", "max_pages"):
            if getattr(self, name) is not None:
                check(name, 1)
        _check.one_of("spec: dtype", self.dtype, DTYPES)
        _check.one_of("spec: layout", self.layout, ("hnd", "nhd"))
        _check.one_of("spec: shared_rows", self.shared_rows, (False, True))
        object.__setattr__(self, "scale", _check.positive("spec: scale", self.scale))
        if self.soft_cap is not None:
            cap = _check.positive("spec: soft_cap", self.soft_cap)
            object.__setattr__(self, "soft_cap", cap)
            _check.positive("spec: scale / soft_cap", self.scale / cap)
        if not isinstance(self.policy, Policy):
            raise _check.refuse("spec: policy", "a vashista.Policy", repr(self.policy))
        self._check_sources()
        if _check.one_of("spec: moments", self.moments, (False, True)):
            if self.sketch is None or not self.policy.is_certified:
                raise _check.refuse(
                    "spec: moments", "False without a sketch and a tolerance", True
                )
            if self.soft_cap is not None:
                raise _check.refuse(
                    "spec: moments", "False with a soft cap", self.soft_cap
                )

    def _check_sources(self) -> None:
        """A summary is there to route, a sketch to select."""
        routes = self.policy.pages > 0
        if routes:
            _check.one_of("spec: summary", self.summary, tuple(SUMMARIES))
            size, policy = self.page_size, self.policy
            always = -(-policy.sinks // size)
            if policy.window:
                always += (policy.window + size - 2) // size + 1
            if policy.pages < always:
                raise _check.refuse(
                    "spec: policy.pages",
                    f"at least {always} pages of {size} tokens for the sinks and the "
                    "window",
                    policy.pages,
                )
        elif self.summary is not None:
            raise _check.refuse(
                "spec: summary", "None with policy.pages = 0", repr(self.summary)
            )
        if self.sketch is not None and not isinstance(self.sketch, Sketch):
            raise _check.refuse("spec: sketch", "a vashista.Sketch", repr(self.sketch))
        if self.sketch is not None and not self.policy.candidates:
            raise _check.refuse(
                "spec: sketch", "None with policy.candidates = 0", self.sketch
            )

    def page_shape(self, dim: int) -> tuple[int, int, int]:
        """The shape of a page of a cache of `dim` numbers a token."""
        if self.layout == "hnd":
            return (self.kv_heads, self.page_size, dim)
        return (self.page_size, self.kv_heads, dim)

    @property
    def summary_parts(self) -> tuple[str, ...]:
        """The names of the summary's tensors."""
        return SUMMARIES[self.summary] if self.summary is not None else ()

    @property
    def sketch_parts(self) -> tuple[str, ...]:
        """The names of the sketch's tensors."""
        if self.sketch is None:
            return ()
        centre = ("sketch_centre",) if self.sketch.centre == "page" else ()
        return ("codes", "scales", "residuals", *centre)

    @property
    def kept(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What is kept beside the caches, in the order of the entries: the shape of a
        page's share, and the element type."""
        kept = {}
        for name in self.summary_parts:
            dims = () if name == "radius" else (self.head_dim,)
            element = "f32" if name == "radius" else self.dtype
            kept[name] = ((self.kv_heads, *dims), element)
        parts: dict[str, tuple[tuple[int, ...], str]] = {}
        if self.sketch is not None:
            sketch = self.sketch
            groups = sketch.groups(self.head_dim)
            token = (self.kv_heads, self.page_size)
            parts["codes"] = ((*token, groups * sketch.group * sketch.bits // 8), "i8")
            parts["scales"] = ((*token, groups), sketch.scales)
            each = (*token, groups) if sketch.norm == "group" else token
            parts["residuals"] = (each, sketch.norms)
            if sketch.centre == "page":
                parts["sketch_centre"] = ((self.kv_heads, self.head_dim), self.dtype)
        norms = {}
        if self.policy.is_certified:
            norms["norms"] = ((self.kv_heads, 2), "f32")
        return {**kept, **parts, **norms}

    @property
    def kept_of_sequences(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What is kept of each sequence, after `kept`: the shape of its share, and the
        element type."""
        if not self.moments:
            return {}
        channels = self.sketch.groups(self.head_dim) * self.sketch.group
        return {"moments": ((self.kv_heads, channels, channels), "f32")}

    @property
    def sequence_bytes(self) -> int:
        """Bytes that a sequence of one layer takes beside its pages."""
        return sum(bytes_of(*each) for each in self.kept_of_sequences.values())

    @property
    def page_bytes(self) -> dict[str, int]:
        """Bytes of a page of one layer, by what they are: "keys", "values", "summary",
        "sketch", "norms"."""
        sums = {
            "keys": bytes_of(self.page_shape(self.head_dim), self.dtype),
            "values": bytes_of(self.page_shape(self.value_dim), self.dtype),
            "summary": 0,
            "sketch": 0,
            "norms": 0,
        }
        for name, (shape, element) in self.kept.items():
            kind = (
                "norms"
                if name == "norms"
                else "sketch" if name in self.sketch_parts else "summary"
            )
            sums[kind] += bytes_of(shape, element)
        return sums

    @property
    def token_bytes(self) -> float:
        """Bytes that a token of one layer takes, of all KV heads, its share of what is
        kept for pages included."""
        return sum(self.page_bytes.values()) / self.page_size

    @property
    def text(self) -> str:
        """The module."""
        return _text.module_text(self)
