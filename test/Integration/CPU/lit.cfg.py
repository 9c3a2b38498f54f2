# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# The kernels of the CPU pipeline against a reference, each test case a lit
# test.

import os

import lit.formats

config.name = "vashista-cpu"
config.suffixes = []
config.test_source_root = config.vashista_cpu_dir
config.test_exec_root = config.vashista_cpu_dir
config.test_format = lit.formats.GoogleTest(".", "Tests")
for name in ["SWEEP", "DATA", "SEED", "CASE", "TREES", "PROJECTIONS", "MOMENTS"]:
    if f"VASHISTA_{name}" in os.environ:
        config.environment[f"VASHISTA_{name}"] = os.environ[f"VASHISTA_{name}"]
