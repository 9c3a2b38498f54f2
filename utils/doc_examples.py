#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs every ```mlir example of a generated dialect reference.

Each example must be a whole module: vashista-opt parses and verifies it, its
text must survive a round trip, and so must its bytecode. Each operation must
have an example that uses it.
"""

import argparse
import pathlib
import re
import subprocess
import sys

OPERATION = re.compile(r"^### `(\S+)` \(::")


def examples(lines):
    """Yields (operation or None, line number, text) of each example."""
    operation, start = None, None
    for number, line in enumerate(lines, 1):
        if start is not None:
            if line.strip() == "```":
                yield operation, start, "\n".join(lines[start : number - 1]) + "\n"
                start = None
        elif line.strip() == "```mlir":
            start = number
        elif line.startswith("#"):
            heading = OPERATION.match(line)
            operation = heading[1] if heading else None


def round_trip(opt, text):
    """Returns what is wrong with a module, '' if nothing."""

    def run(source, *options):
        run = subprocess.run([opt, "-", *options], input=source, capture_output=True)
        return run.returncode, run.stdout, run.stderr.decode()

    code, printed, error = run(text.encode(), "-verify-roundtrip")
    if code:
        return error
    code, bytecode, error = run(text.encode(), "-emit-bytecode")
    if code:
        return error
    code, read_back, error = run(bytecode)
    if code or read_back != printed:
        return error or "the module changed on its way through bytecode"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=pathlib.Path, help="the Markdown file")
    parser.add_argument("--opt", default="vashista-opt", help="the driver to run")
    args = parser.parse_args()

    lines = args.reference.read_text().splitlines()
    operations = [match[1] for match in map(OPERATION.match, lines) if match]
    failed = not operations
    if failed:
        print(f"error: {args.reference} has no operation")

    shown, count = set(), 0
    for operation, line, text in examples(lines):
        count += 1
        if operation and re.search(rf"\b{re.escape(operation)}\b", text):
            shown.add(operation)
        problem = round_trip(args.opt, text)
        if problem:
            failed = True
            print(f"{args.reference}:{line}: error: example of {operation}: {problem}")
    for operation in operations:
        if operation not in shown:
            failed = True
            print(f"error: {operation} has no example in {args.reference}")
    print(f"{count} examples of {len(operations)} operations")
    return failed


if __name__ == "__main__":
    sys.exit(main())
