# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# The runtime's GoogleTest program, each test case a lit test.

import lit.formats

config.name = "vashista-runtime"
config.suffixes = []
config.test_source_root = config.vashista_runtime_test_dir
config.test_exec_root = config.vashista_runtime_test_dir
config.test_format = lit.formats.GoogleTest(".", "Tests")
