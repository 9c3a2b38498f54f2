# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names and parameters as recorded: see README.md."""

from enum import Enum


class AttentionBackendEnum(Enum):
    CUSTOM = None


OVERRIDES = {}


def register_backend(backend, class_path=None, is_mamba=False):
    OVERRIDES[backend] = class_path
