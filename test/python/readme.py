# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The script that the README begins with prints what the README says."""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: cd %source_dir
# RUN: %numpy_python %s README.md

import pathlib
import re
import subprocess
import sys

text = pathlib.Path(sys.argv[1]).read_text()
found = re.findall(
    r"```python\n(import numpy.*?)```\n\n```text\n(.*?)```\n", text, re.DOTALL
)
if len(found) != 1:
    sys.exit(f"error: expected one script with its output, got {len(found)}")
script, expected = found[0]
lines = [line for line in script.splitlines() if line]
if len(lines) > 15:
    sys.exit(f"error: expected a script of 15 lines at most, got {len(lines)}")
run = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
if run.returncode or run.stdout != expected:
    sys.exit(
        f"error: expected\n{expected}got exit code {run.returncode} and\n{run.stdout}"
    )
