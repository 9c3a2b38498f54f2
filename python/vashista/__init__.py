# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles attention graphs and runs them on NumPy arrays.

    import vashista

    artefact = vashista.compile("decode.mlir")
    o = artefact["decode"](q, k, v, table, lens, mean, std)

The compiler is a program of its own and the runtime a C library: no LLVM is
loaded into this process, and NumPy is all that is needed. An artefact is native
code, and loading it runs some: load only what comes from where you trust.

Where the compiler and the runtime are looked for: `vashista.find_program`.
"""

from ._artefact import Artefact, Dim, Entry, Value, load
from ._bits import Bits, as_bfloat16, bfloat16
from ._compile import compile
from ._error import Error
from ._find import find_program, find_runtime
from .diagnostics import Diagnostics, diagnose

__version__ = "0.1.0"

__all__ = [
    "Artefact",
    "Bits",
    "Diagnostics",
    "Dim",
    "Entry",
    "Error",
    "Value",
    "as_bfloat16",
    "bfloat16",
    "compile",
    "diagnose",
    "find_program",
    "find_runtime",
    "load",
]
