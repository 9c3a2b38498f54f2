# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What goes wrong."""

from __future__ import annotations


class Error(Exception):
    """Compiling, loading or running failed.

    The message says what was expected and what was got. `kind` is a short name
    of what failed: "not found", "compile failed", "invalid argument", "check
    failed" and the other states of vashista_runtime.h.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        # From one process to another, as all arguments.
        return type(self), (self.kind, str(self))
