#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the ```console blocks of Markdown files and compares what they show.

A line '$ COMMAND' is run in the current folder; the lines up to the next
command are the exact output and errors expected of it, where a line '...'
stands for any lines. A command continues after a trailing backslash. A block
that opens with ```console no-run is only for reading.
"""

import argparse
import difflib
import pathlib
import re
import subprocess
import sys


def blocks(text):
    """Yields (number of the first line, lines) of each block to run."""
    block, language = None, None
    for number, line in enumerate(text.splitlines(), 1):
        if block is None and line.startswith("```"):
            language, block, start = line[3:].strip(), [], number + 1
        elif block is not None and line.startswith("```"):
            if language == "console":
                yield start, block
            block = None
        elif block is not None:
            block.append(line)


def commands(start, lines):
    """Yields (line number, command, expected lines) of each command."""
    number = 0
    while number < len(lines):
        first = number
        if not lines[first].startswith("$ "):
            sys.exit(f"error: line {start + first}: expected '$ ' and a command")
        command = lines[first][2:]
        while command.endswith("\\") and number + 1 < len(lines):
            number += 1
            command += "\n" + lines[number]
        expected = []
        number += 1
        while number < len(lines) and not lines[number].startswith("$ "):
            expected.append(lines[number])
            number += 1
        yield start + first, command, expected


def matches(expected, output):
    """Whether the lines are those expected, '...' standing for any."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in output)) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="Markdown files")
    args = parser.parse_args()

    count, failed = 0, False
    for file in args.files:
        for start, block in blocks(file.read_text()):
            for line, command, expected in commands(start, block):
                count += 1
                run = subprocess.run(
                    ["bash", "-c", command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                output = run.stdout.splitlines()
                if not matches(expected, output):
                    failed = True
                    print(f"{file}:{line}: error: '{command}' does not print this")
                    print(
                        "\n".join(
                            difflib.unified_diff(
                                expected, output, "expected", "printed", lineterm=""
                            )
                        )
                    )
    if not count:
        sys.exit("error: no file has a command to run")
    print(f"{count} commands")
    return failed


if __name__ == "__main__":
    sys.exit(main())
