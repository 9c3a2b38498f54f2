# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times a decode step of attention over contexts, dense and sparse.

Runs `vashista-bench decode --crossover` for each kind of step: routed to a fixed number
of pages, and certified. Further options go to it.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

from .. import Error, find_program
from . import _result

#: What each kind of step is, and its options.
KINDS = {
    "routed": ("64 pages, 128 tokens", []),
    "certified": ("tau at most 50 %", ["--target=tau", "--tolerance=0.5"]),
}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval contexts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=pathlib.Path, required=True, metavar="FILE")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which of them")
    args, options = parser.parse_known_args(argv)
    try:
        runs = {}
        for kind in args.kinds.split(","):
            if kind not in KINDS:
                raise ValueError(f"expected a kind, {', '.join(KINDS)}, got '{kind}'")
            says, given = KINDS[kind]
            print(f"{kind}: {says}", file=sys.stderr)
            words = [str(find_program("vashista-bench")), "decode", "--crossover"]
            words += ["--brief", "--json", *given, *options]
            run = subprocess.run(words, stdout=subprocess.PIPE, check=False)
            if run.returncode:
                return run.returncode
            runs[kind] = {"says": says, **json.loads(run.stdout)}
        said = f"{_result.command(parser, args)} {shlex.join(options)}".strip()
        _result.write(args.json, _result.result("contexts", said, "cpu", runs))
    except (Error, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
