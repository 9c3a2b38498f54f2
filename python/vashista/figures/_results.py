# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measurements from a folder."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

_FIELDS = ("kind", "machine", "date", "command", "version", "results")
# Of these null is no text.
_TEXTS = ("sketch", "type")


@dataclasses.dataclass(frozen=True)
class Result:
    """A file of `vashista.eval`.

    Attributes:
      stem: the file's name without its suffix, by which pictures are told apart.
      load: of the machine when it was stored, average of a minute, or None.
    """

    stem: str
    kind: str
    machine: str
    date: str
    command: str
    version: str
    results: Any
    load: float | None = None
    libraries: tuple[tuple[str, str], ...] = ()

    @property
    def origin(self) -> str:
        """Where, when and what was measured."""
        used = ", ".join(f"{name} {version}" for name, version in self.libraries)
        load = f", load {self.load}" if self.load is not None else ""
        return (
            f"{self.machine}{load}; {self.date}; vashista {self.version}"
            f"{', ' if used else ''}{used}"
        )


def _numbers(value: Any) -> Any:
    """With NaN for JSON's null, which stands for a number that there is none of."""
    if value is None:
        return math.nan
    if isinstance(value, list):
        return [_numbers(x) for x in value]
    if isinstance(value, dict):
        return {k: v if k in _TEXTS else _numbers(v) for k, v in value.items()}
    return value


def read(folder: pathlib.Path) -> list[Result]:
    """The measurements of a folder, by name.

    Raises ValueError for a JSON file that is none.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of results, got '{folder}'")
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            stored = json.loads(path.read_text())
            fields = {name: stored[name] for name in _FIELDS}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected a result of vashista.eval, got another file ({error})"
            ) from None
        fields["results"] = _numbers(fields["results"])
        found.append(
            Result(
                stem=path.stem,
                load=stored.get("load"),
                libraries=tuple(stored.get("libraries", {}).items()),
                **fields,
            )
        )
    return found
