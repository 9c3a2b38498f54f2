# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""python -m vashista.theory: see the package."""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

import vashista

from . import convergence, coverage, leakage, limits, scaling, support
from .report import Report, Violation


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.theory",
        description="Regenerates the tables and figures of docs/theory.md.",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for everything"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few instances: for a test, in a minute"
    )
    args = parser.parse_args()
    quick = " --quick" if args.quick else ""
    try:
        report = Report(args.out, f"python -m vashista.theory --out DIR{quick}")
        parts = (leakage, limits, support, convergence, coverage, scaling)
        for i, part in enumerate(parts):
            part.run(report, args.quick, np.random.default_rng(i))
        report.write()
    except (Violation, vashista.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
