# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules as text: parsed, verified, transformed and printed by `vashista-opt`.

    print(vashista.ir.run(spec.text, "builtin.module(vashista-decompose,cse)"))

The program is run for each call: no MLIR is loaded into this process, and a module
that crashes it is an error here. What is taken is text or bytecode, what is returned
is text.
"""

from __future__ import annotations

import os
import pathlib
from typing import Sequence

from . import _compiler

_Source = str | bytes | os.PathLike


def _read(source: _Source) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str) and ("\n" in source or "func.func" in source):
        return source.encode()
    return pathlib.Path(source).read_bytes()


def parse(source: _Source, *, generic: bool = False) -> str:
    """The module, verified, as the printer writes it.

    source: a path; or text of several lines; or `bytes`, text or MLIR bytecode.
    generic: prints the generic form of ops.

    Raises `vashista.Error` with the diagnostics of the parser or a verifier, OSError
    for a path that cannot be read.
    """
    return run(source, "", options=["--mlir-print-op-generic"] if generic else ())


def verify(source: _Source) -> None:
    """Parses and verifies a module, and that what is printed of it parses again.

    Raises as `parse` does.
    """
    run(source, "", options=["--verify-roundtrip"])


def run(source: _Source, pipeline: str, *, options: Sequence[str] = ()) -> str:
    """The module after a pipeline of passes, each of which leaves a verified one.

    pipeline: as in "builtin.module(vashista-decompose{depth=one},cse)": any pass of
      MLIR's or of docs/reference/VashistaPasses.md; "" runs none.
    options: further options of `vashista-opt`.

    Raises as `parse` does, and for a pass that fails or is not known.
    """
    words = [f"--pass-pipeline={pipeline}"] if pipeline else []
    return _compiler.run(
        "vashista-opt", [*words, *options, "-"], _read(source)
    ).decode()


def decompose(source: _Source, *, depth: str = "all") -> str:
    """The module with `attention`, `route` and `select` as the ops that they stand for.

    depth: "all", or "one": what an op decomposes to is not decomposed in turn.
    """
    passes = f"vashista-decompose{{depth={depth}}},cse,canonicalize"
    return run(source, f"builtin.module({passes})")
