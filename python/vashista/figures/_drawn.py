# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What can be drawn, and of what."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterator

from ._results import Result


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A picture.

    Attributes:
      name: of its files.
      says: what it shows, and what to see in it.
    """

    name: str
    figure: Any
    says: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      columns, rows: text.
    """

    name: str
    title: str
    says: str
    columns: list[str]
    rows: list[list[str]]


@dataclasses.dataclass(frozen=True)
class Drawer:
    """Draws results of one kind.

    Attributes:
      draw: yields pictures and tables of a result, given pyplot.
      command: what makes such a result, as a hint where there is none.
    """

    title: str
    kind: str
    draw: Callable[[Any, Result], Iterator[Drawn | Table]]
    command: str
