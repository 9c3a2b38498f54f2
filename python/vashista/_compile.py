# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiling, by the program `vashista-compile`, what was not compiled before."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
from typing import Sequence

from . import _compiler, _store
from ._artefact import Artefact, load
from ._error import Error
from ._find import find_program
from .spec import AttentionSpec


def compile(
    source: str | bytes | os.PathLike | AttentionSpec,
    target: str = "cpu",
    *,
    output: str | os.PathLike | None = None,
    device: str | None = None,
    options: Sequence[str] = (),
    cache: bool | str | os.PathLike = True,
) -> Artefact:
    """Compiles a module to an artefact and loads it.

    Args:
      source: a `vashista.AttentionSpec`; or a module: a path; or its text, a `str` of
        several lines; or `bytes`, text or MLIR bytecode.
      target: "cpu" is the best level of this machine; also "cpu:x86-64-v3" and
        "cpu:x86-64-v4"; an architecture of a GPU as in "cuda:sm_90a" (which
        takes the assembler ptxas) or "cuda:compute_90"; or several with commas,
        the best first.
      output: where to store the artefact, too; it appears there as a whole.
      device: what is to run it, as for `vashista.load`.
      options: further options of `vashista-compile`.
      cache: a folder of artefacts that were compiled before, which any number of
        processes share; or whether to use the default one, `VASHISTA_CACHE_DIR`
        (empty: none), else `vashista` in `XDG_CACHE_HOME` or `~/.cache`. An artefact
        in it is found by everything that it follows from: the module's bytes, target,
        options, the compiler's bytes and LLVM's version, and this machine's model
        where the target is "cpu". A folder that cannot be written is a warning of the
        logger "vashista".

    Raises `vashista.Error` with what the compiler said.
    """
    find_program("vashista-compile")  # Without it nothing else matters.
    name = "<stdin>"
    if isinstance(source, AttentionSpec):
        text = source.text.encode()
    elif isinstance(source, bytes):
        text = source
    elif isinstance(source, str) and "\n" in source:
        text = source.encode()
    elif isinstance(source, str) and "func.func" in source:
        raise ValueError(f"expected a path, or text of several lines, got {source!r}")
    else:
        name = os.fspath(source)
        try:
            # Read here, so that what is compiled is what the key is of.
            text = pathlib.Path(name).read_bytes()
        except OSError as error:
            raise Error(
                "compile failed", f"cannot open '{name}': {error.strerror}"
            ) from error

    def make() -> bytes:
        words = [f"--target={target}", *options, "-o", "-", "--", "-"]
        try:
            return _compiler.run("vashista-compile", words, text)
        except Error as error:
            said = re.sub("^<stdin>:", lambda _: f"{name}:", str(error), flags=re.M)
            raise Error(error.kind, said) from None

    folder = _store.default_folder() if isinstance(cache, bool) else pathlib.Path(cache)
    if folder is None or cache is False:
        content = make()
    else:
        about = {
            "source": hashlib.sha256(text).hexdigest(),
            "target": target,
            "options": "\0".join(options),
            **_compiler.identity(target),
        }
        content = _store.Store(folder).get(_store.key_of(about), make, about)
    if output is not None:
        try:
            # As any file that somebody asked for; the cache alone is private.
            _store.replace(pathlib.Path(output), content, 0o666)
        except OSError as error:
            raise Error(
                "io error", f"cannot write '{output}': {error.strerror}"
            ) from error
    return load(content, device=device)
