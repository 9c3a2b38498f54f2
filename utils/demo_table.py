#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs vashista-bench on a few inputs and prints its steps as one table.

Takes the folder of the programs, then for each input a label and the options of
vashista-bench, as one word.
"""

import json
import pathlib
import shlex
import subprocess
import sys

HEADER = ("input", "step", "ms", "MB read", "error", "relative", "not attended")


def measure(programs, options):
    bench = programs / "vashista-bench"
    words = [bench, "decode", "--brief", "--verify", "--json", *shlex.split(options)]
    run = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    if run.returncode:
        sys.exit(run.returncode)
    return json.loads(run.stdout)


def main():
    programs = pathlib.Path(sys.argv[1])
    rows = [HEADER]
    for label, options in zip(sys.argv[2::2], sys.argv[3::2]):
        report = measure(programs, options)
        for stage in report["stages"]:
            if stage["entry"] not in ("dense", "sparse"):
                continue
            rows.append(
                (
                    label,
                    stage["entry"],
                    f"{1e3 * stage['median_seconds']:.2f}",
                    f"{1e-6 * stage['bytes']:.1f}",
                    f"{stage['rms_error']:.1e}",
                    f"{stage['rms_error'] / stage['rms_output']:.1e}",
                    f"{100 * stage['mean_mass_not_attended']:.2f} %",
                )
            )
            label = ""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())
    print(
        f"\nOn {report['processor']}, {report['threads']} threads, which read "
        f"{1e-9 * report['read_bytes_per_second']:.0f} GB/s in the last of these "
        "runs. ms: median.\nerror: of the output against float64, root mean square; "
        "relative: to the output's.\nnot attended: mean mass of the tokens that were "
        "left out, over rows and heads."
    )


if __name__ == "__main__":
    main()
