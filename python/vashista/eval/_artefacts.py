# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled modules in a folder, for machines without the compiler."""

from __future__ import annotations

import hashlib
import pathlib
import re
from typing import Callable

from .. import Artefact, Error, _compiler, _store, ir, load

_EMPTY = "expected a vashista.pick in the step, got none"


class Artefacts:
    """A folder of artefacts, each found by its module and target.

    Args:
      folder: where they are kept; one that is there is not compiled again.
      target: what to compile for, as for `vashista.compile`.
      device: what is to run them, as for `vashista.load`.
    """

    def __init__(self, folder: pathlib.Path, target: str, device: str | None = None):
        self.folder, self.target, self.device = folder, target, device

    def path(self, text: str, lists: bool = False) -> pathlib.Path:
        """Where the artefact of a module is, or will be."""
        mark = "lists\n" if lists else ""
        digest = hashlib.sha256(f"{self.target}\n{mark}{text}".encode()).hexdigest()
        return self.folder / f"{digest[:16]}.vso"

    def make(
        self, text: str, lists: Callable[[str], str] | None = None
    ) -> pathlib.Path:
        """Compiles a module, or what `lists` makes of it, unless it is there."""
        path = self.path(text, lists is not None)
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            source = lists(text) if lists else text
            # What runs it may be another machine's: it is loaded there.
            _compile_only(source, self.target, path)
        return path

    def get(self, text: str, lists: Callable[[str], str] | None = None) -> Artefact:
        return load(self.make(text, lists), device=self.device)


def _compile_only(source: str, target: str, path: pathlib.Path) -> None:
    words = [f"--target={target}", "-o", "-", "--", "-"]
    content = _compiler.run("vashista-compile", words, source.encode())
    _store.replace(path, content, 0o666)


def with_lists(text: str, function: str) -> str:
    """The module with attention as its ops, and what a function attended among its
    results: for each round, the ids of its lists and how many there are. Arguments keep
    their order, not their names.

    The ops are those that attention decomposes to, so that the lists are what it
    attended: of tokens, or of pages where only pages are picked.
    """
    module = ir.run(text, "builtin.module(vashista-decompose,cse)")
    before, step, after = re.split(
        rf"(  func\.func @{function}\(.*?\n  }}\n)", module, flags=re.DOTALL
    )
    picks = re.findall(
        r"^ *(%\S+), (%\S+), %\S+ = vashista\.pick \w+ \d+ (tokens|pages) .* -> "
        r"\((\S+), (\S+), \S+\)$",
        step,
        re.MULTILINE,
    )
    if not picks:
        raise Error("compile failed", _EMPTY)
    kinds = {pick[2] for pick in picks}
    picks = [p for p in picks if "tokens" not in kinds or p[2] == "tokens"]
    values = [value for pick in picks for value in pick[:2]]
    types = [kind for pick in picks for kind in pick[3:]]
    step = re.sub(r"\) {\n", f", {', '.join(types)}) {{\n", step, count=1)
    step = re.sub(
        r"return (.*) : (.*)\n",
        lambda found: f"return {', '.join([found[1], *values])} : "
        f"{', '.join([found[2], *types])}\n",
        step,
    )
    return before + step + after
