# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a measurement is, on standard error."""

from __future__ import annotations

import sys
import time
from typing import Iterable, Iterator, Sequence, TypeVar

T = TypeVar("T")
_SECONDS = 10  # between lines


def progress(
    items: Sequence[T] | Iterable[T], what: str, total: int = 0
) -> Iterator[T]:
    """The items, one after the other: by a bar of tqdm where that is installed and
    somebody looks, else by a line every few seconds."""
    total = total or len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            yield from tqdm(items, desc=what, total=total, leave=False)
            return
    last = start = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last > _SECONDS:
            left = (now - start) / done * (total - done) if done else 0
            print(f"{what}: {done} of {total}, {left:.0f} s left", file=sys.stderr)
            last = now
        yield item
