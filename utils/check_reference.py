#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Says whether committed reference pages are what the build generated."""

import argparse
import difflib
import pathlib
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("committed", type=pathlib.Path, help="docs/reference")
    parser.add_argument("generated", type=pathlib.Path, help="its generated twin")
    args = parser.parse_args()

    def pages(folder):
        return {page.name: page.read_text() for page in sorted(folder.glob("*.md"))}

    committed, generated = pages(args.committed), pages(args.generated)
    if not generated:
        sys.exit(f"error: {args.generated} has no page")
    stale = False
    for name in sorted(committed.keys() | generated.keys()):
        diff = difflib.unified_diff(
            committed.get(name, "").splitlines(),
            generated.get(name, "").splitlines(),
            f"{args.committed}/{name}",
            f"{args.generated}/{name}",
            lineterm="",
        )
        for line in diff:
            stale = True
            print(line)
    if stale:
        sys.exit(
            "error: docs/reference is not what the .td files say; run "
            "'cmake --build build --target update-docs' and commit the result"
        )


if __name__ == "__main__":
    main()
