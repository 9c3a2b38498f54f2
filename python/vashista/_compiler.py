# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler as a program, and what makes its output what it is."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
from typing import Sequence

from ._error import Error
from ._find import find_program


def run(program: str, words: Sequence[str], text: bytes) -> bytes:
    """What a program of the project prints.

    Raises `vashista.Error` with what it said where it fails.
    """
    # Without text nothing is read: a path "-" must not wait for a terminal.
    done = subprocess.run(
        [str(find_program(program)), *words],
        input=text,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise Error("compile failed", said or f"{program}: exit code {done.returncode}")
    return done.stdout


def identity(target: str) -> dict[str, str]:
    """What an artefact follows from, besides its module, target and options.

    The compiler's bytes and the LLVM that it loads; for "cpu" this machine, whose
    features and model choose the code; for a cubin the assembler of CUDA.
    """
    parts = {"compiler": _of_program(find_program("vashista-compile"))}
    targets = [word.strip() for word in target.split(",")]
    if "cpu" in targets:
        parts["machine"] = _machine()
    if any(word.startswith("cuda:sm_") for word in targets):
        parts["ptxas"] = _ptxas()
    return parts


def _of_program(path: pathlib.Path) -> str:
    # Its bytes are read again where anything of it changed, not only the time that a
    # build or an installation may set.
    stat = path.stat()
    times = stat.st_mtime_ns, stat.st_ctime_ns
    return _digest_and_version(str(path), stat.st_size, stat.st_ino, *times)


@functools.lru_cache(maxsize=8)
def _digest_and_version(path: str, *_: int) -> str:
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    said = subprocess.run([path, "--version"], capture_output=True, check=False).stdout
    return f"{digest} {said.decode(errors='replace').strip()}"


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    """The first processor's model and features."""
    try:
        first = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return os.uname().machine
    fields = dict(
        (word.strip() for word in line.split(":", 1))
        for line in first.splitlines()
        if ":" in line
    )
    names = ("vendor_id", "cpu family", "model", "stepping", "flags")
    return "; ".join(f"{name} {fields.get(name, '?')}" for name in names)


def _find_ptxas() -> str | None:
    # As the compiler looks for it: on the PATH, and where the first of these says.
    roots = (os.environ.get(name) for name in ("CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"))
    root = next((root for root in roots if root is not None), None)
    found = shutil.which("ptxas")
    if found is None and root:
        found = shutil.which("ptxas", path=os.path.join(root, "bin"))
    return found


def has_ptxas() -> bool:
    """Whether cubins can be made."""
    return _find_ptxas() is not None


def _ptxas() -> str:
    """The assembler that the compiler would take, by what it says of itself."""
    path = _find_ptxas()
    if path is None:
        return "none"
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    return done.stdout.decode(errors="replace").strip()
