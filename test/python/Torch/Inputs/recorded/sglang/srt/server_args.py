# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names and parameters as recorded: see README.md."""

CHOICES = []


def add_attention_backend_choices(choices):
    CHOICES.extend(choices)
