# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arguments that are refused where they are given, by one sentence."""

from __future__ import annotations

import math
import operator
from typing import Any, Sequence

from ._error import Error

LARGEST = 2**31 - 1


def refuse(where: str, expected: str, got: Any) -> Error:
    """The error that says what was expected and what was got."""
    return Error("invalid argument", f"{where}: expected {expected}, got {got}")


def integer(where: str, x: Any, least: int, most: int = LARGEST) -> int:
    """An integer from `least` to `most`; of any type that is one, but no bool."""
    try:
        if isinstance(x, bool):
            raise TypeError
        value = operator.index(x)
    except TypeError:
        raise refuse(where, "an integer", repr(x)) from None
    if not least <= value <= most:
        raise refuse(where, f"{least} to {most}", value)
    return value


def one_of(where: str, x: Any, names: Sequence[Any]) -> Any:
    """One of some names, integers or bools: 4.0 is no 4."""
    try:
        is_name = isinstance(x, str) or type(x).__name__ in ("bool", "bool_")
        found = x in names and (is_name or operator.index(x) in names)
    except (TypeError, ValueError):
        found = False
    if not found:
        raise refuse(where, " or ".join(map(repr, names)), repr(x))
    return x


def sequences(where: str, x: Any) -> tuple[Any, ...]:
    """Of anything that can be walked; what is in it is looked up later."""
    try:
        return tuple(x)
    except TypeError:
        raise refuse(where, "numbers of sequences, as in [0]", repr(x)) from None


def positive(where: str, x: Any) -> float:
    """A positive normal f32: what the ops take as a scale, cap or tolerance."""
    try:
        value = float(x)
    except (OverflowError, TypeError, ValueError):
        raise refuse(where, "a number", repr(x)) from None
    # The largest f32 and the smallest normal one.
    if not 2.0**-126 <= value <= (2 - 2.0**-23) * 2.0**127 or math.isnan(value):
        raise refuse(where, "a positive number that f32 holds", repr(x))
    return value
