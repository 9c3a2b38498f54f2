# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantised keys from which tokens are scored, with bounds."""

from __future__ import annotations

import dataclasses
import re

from . import _check
from ._error import Error

_NORMS = ("i8", "f8E4M3FN", "f16")


@dataclasses.dataclass(frozen=True)
class Sketch:
    """The format of `#vashista.sketch`, and the types of its tensors.

    The default has 4 bits a channel, 69 bytes for a key of 128 channels, 13.5 % of a
    key and value in bf16, and is the best compromise on the keys of a trained model
    (docs/quality.md). With 5, 85 bytes, a proof needs half to a tenth of the tokens
    where attention is diffuse (docs/performance.md).

    Attributes:
      bits: per channel: 2, 3, 4, 5, 6 or 8.
      group: channels that share a scale: 16, 32, 64 or 128.
      rotation: "hadamard" or "none", before quantising.
      norm: what a residual norm is of, a "token" or a "group".
      centre: what is subtracted first: "none", or "page", the mean of the page's keys.
      scales: their element type, "f8E4M3FN" or "f16".
      norms: that of the residual norms, "i8", "f8E4M3FN" or "f16".

    Raises `vashista.Error` for another value. Source: sketch_c1, sketch_c2 and the
    table of SketchAttr in docs/reference/VashistaDialect.md.
    """

    bits: int = 4
    group: int = 32
    rotation: str = "hadamard"
    norm: str = "token"
    centre: str = "none"
    scales: str = "f8E4M3FN"
    norms: str = "i8"

    def __post_init__(self):
        _check.one_of("sketch: bits", self.bits, (2, 3, 4, 5, 6, 8))
        _check.one_of("sketch: group", self.group, (16, 32, 64, 128))
        _check.one_of("sketch: rotation", self.rotation, ("none", "hadamard"))
        _check.one_of("sketch: norm", self.norm, ("group", "token"))
        _check.one_of("sketch: centre", self.centre, ("none", "page"))
        _check.one_of("sketch: scales", self.scales, ("f8E4M3FN", "f16"))
        _check.one_of("sketch: norms", self.norms, _NORMS)

    @classmethod
    def parse(cls, text: str, **types: str) -> Sketch:
        """Of `bits = 4, group = 32, rotation = hadamard`, as a module has it.

        types: `scales` and `norms`. What the text does not name is "none", and a norm
        of a "group", as in a module.
        """
        if not isinstance(text, str):
            raise _check.refuse("sketch", "a text, as in 'bits = 4'", repr(text))
        found = {"rotation": "none", "norm": "group"}
        for word in filter(None, (w.strip() for w in text.strip("<> ").split(","))):
            match = re.fullmatch(r"(bits|group|rotation|norm|centre)\s*=\s*(\w+)", word)
            if not match:
                raise Error(
                    "invalid argument",
                    "sketch: expected bits, group, rotation, norm and centre as in "
                    f"'bits = 4', got '{word}'",
                )
            value = match[2]
            found[match[1]] = int(value) if value.isdigit() else value
        for name in ("bits", "group"):
            if name not in found:
                raise Error(
                    "invalid argument", f"sketch: expected '{name} = ...', got none"
                )
        return cls(**found, **types)

    def groups(self, head_dim: int) -> int:
        """Groups of a key, the last one filled up with zeros."""
        return -(-head_dim // self.group)

    def __str__(self) -> str:
        """As the op has it: `<bits = 4, group = 32, rotation = hadamard, ...>`."""
        words = [f"bits = {self.bits}", f"group = {self.group}"]
        for name, default in (
            ("centre", "none"),
            ("rotation", "none"),
            ("norm", "group"),
        ):
            if getattr(self, name) != default:
                words.append(f"{name} = {getattr(self, name)}")
        return f"<{', '.join(words)}>"
