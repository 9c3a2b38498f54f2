# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the programs and the runtime are.

The first of these that is there; one that the environment names must have what
is looked for:

1. `VASHISTA_BUILD`, a build folder (`bin/`, `lib/`);
2. `VASHISTA_ROOT`, a checkout (its `build/`) or the prefix of an installation;
3. `_native` beside this file, which a wheel brings;
4. the checkout that holds this file;
5. the prefix of the installation that holds this file or, after that, that of
   the `vashista-compile` on `PATH`.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Iterator

from ._error import Error

_RUNTIME = "libvashista_runtime.so.0"
_LIBRARY_FOLDERS = ("lib", "lib64", "lib/x86_64-linux-gnu")


def _prefixes() -> Iterator[tuple[pathlib.Path, str]]:
    """Folders with `bin` and `lib`, and the variable that names each, or ""."""
    if build := os.environ.get("VASHISTA_BUILD"):
        yield pathlib.Path(build), "VASHISTA_BUILD"
        return
    if root := os.environ.get("VASHISTA_ROOT"):
        build = pathlib.Path(root, "build")
        yield build if build.is_dir() else pathlib.Path(root), "VASHISTA_ROOT"
        return
    here = pathlib.Path(__file__).resolve()
    if (own := here.parent / "_native").is_dir():
        yield own, ""
    if (here.parents[2] / "runtime" / "include").is_dir():
        yield here.parents[2] / "build", ""
    # PREFIX/lib/python3/dist-packages/vashista/_find.py and the like.
    for folder in here.parents[2:]:
        if folder.name.startswith("lib"):
            yield folder.parent, ""
    if program := shutil.which("vashista-compile"):
        yield pathlib.Path(program).resolve().parents[1], ""


def _find(name: str, folders: tuple[str, ...], what: str) -> pathlib.Path:
    searched = []
    for prefix, variable in _prefixes():
        for folder in folders:
            path = prefix / folder / name
            if path.is_file():
                return path
        searched.append(f"{prefix} ({variable})" if variable else str(prefix))
    raise Error(
        "not found",
        f"expected {what} '{name}' in {' or '.join(folders)} of "
        f"{', '.join(searched) or 'a build or an installation'}, found none; "
        "build the project, or name its build folder by VASHISTA_BUILD",
    )


def find_program(name: str) -> pathlib.Path:
    """The path of one of the project's programs, such as "vashista-compile".

    Raises `vashista.Error` that says where it was looked for.
    """
    return _find(name, ("bin",), "the program")


def find_runtime() -> pathlib.Path:
    """The path of the runtime, the C library that runs artefacts.

    Raises `vashista.Error` that says where it was looked for.
    """
    return _find(_RUNTIME, _LIBRARY_FOLDERS, "the library")
