# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiling, by the program `vashista-compile`."""

from __future__ import annotations

import os
import subprocess
from typing import Sequence

from ._artefact import Artefact, load
from ._error import Error
from ._find import find_program


def compile(
    source: str | bytes | os.PathLike,
    target: str = "cpu",
    *,
    output: str | os.PathLike | None = None,
    device: str | None = None,
    options: Sequence[str] = (),
) -> Artefact:
    """Compiles a module to an artefact and loads it.

    Args:
      source: the module: a path; or its text, a `str` of several lines; or
        `bytes`, text or MLIR bytecode.
      target: "cpu" is the best level of this machine; also "cpu:x86-64-v3" and
        "cpu:x86-64-v4"; an architecture of a GPU as in "cuda:sm_90a" (which
        takes the assembler ptxas) or "cuda:compute_90"; or several with commas,
        the best first.
      device: what is to run it, as for `vashista.load`.
      output: where to keep the artefact; default: nowhere but in memory.
      options: further options of `vashista-compile`.

    Raises `vashista.Error` with what the compiler said.
    """
    words = [str(find_program("vashista-compile")), f"--target={target}", *options]
    words += ["-o", "-" if output is None else os.fspath(output)]
    text = None
    if isinstance(source, bytes):
        text = source
    elif isinstance(source, str) and "\n" in source:
        text = source.encode()
    elif isinstance(source, str) and "func.func" in source:
        raise ValueError(f"expected a path, or text of several lines, got {source!r}")
    words += ["--", "-" if text is not None else os.fspath(source)]

    # Without text nothing is read: a path "-" must not wait for a terminal.
    run = subprocess.run(words, input=text or b"", capture_output=True, check=False)
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip()
        raise Error("compile failed", said or f"exit code {run.returncode}")
    return load(run.stdout if output is None else output, device=device)
