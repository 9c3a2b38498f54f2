# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles attention graphs and runs them, on arrays and on tensors.

    import vashista

    artefact = vashista.compile("decode.mlir")
    o = artefact["decode"](q, k, v, table, lens, mean, std)

`AttentionSpec` says what a layer's attention is without a module, `vashista.ir` shows
and transforms modules.

The compiler is a program of its own and the runtime a C library: no LLVM is
loaded into this process, and NumPy is all that is needed. An artefact is native
code, and loading it runs some: load only what comes from where you trust.

Where the compiler and the runtime are looked for: `vashista.find_program`.
"""

from . import ir
from ._artefact import Artefact, Dim, Entry, Value, load
from ._bits import Bits, as_bfloat16, bfloat16
from ._compile import compile
from ._error import Error
from ._find import find_program, find_runtime
from .diagnostics import Diagnostics, diagnose
from ._steps import Attention, Chunk, Step
from .paged import PagedKVCache, Price
from .policy import Policy
from .sketch import Sketch
from .spec import AttentionSpec

__version__ = "0.1.0"

__all__ = [
    "Artefact",
    "Attention",
    "AttentionSpec",
    "Bits",
    "Chunk",
    "Diagnostics",
    "Dim",
    "Entry",
    "Error",
    "PagedKVCache",
    "Policy",
    "Price",
    "Sketch",
    "Step",
    "Value",
    "as_bfloat16",
    "bfloat16",
    "compile",
    "diagnose",
    "find_program",
    "find_runtime",
    "ir",
    "load",
]
