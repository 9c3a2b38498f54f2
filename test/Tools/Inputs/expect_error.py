# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""expect_error.py PROGRAM SENTENCE -- ARGUMENTS...

Succeeds when the program exits with 1 and says on standard error the sentence,
after its own name, on one line and nothing else, and nothing on standard output.
"""

import subprocess
import sys

program, sentence, separator, *arguments = sys.argv[1:]
assert separator == "--"
run = subprocess.run(
    [program, *arguments], capture_output=True, text=True, timeout=60, check=False
)
expected = f"{program}: error: {sentence}\n"
if (run.returncode, run.stdout, run.stderr) != (1, "", expected):
    sys.exit(
        f"expected exit code 1 and {expected!r},\n"
        f"got {run.returncode}, {run.stderr!r} and {run.stdout!r}"
    )
