#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that the numbered constraints, their tests and their code agree.

A constraint such as attend_c3 is stated in a .td file. It is tested in an
invalid*.mlir file by a function @attend_c3 or @attend_c3_<what>, or by the
case under a comment '// attend_c3'. Tests and C++ sources name only
constraints that a .td file states.
"""

import argparse
import pathlib
import re
import sys

LABEL = r"[a-z][a-z_]*_c[0-9]+"
ANYWHERE = re.compile(rf"\b{LABEL}\b")
# A comment counts only where a test case follows it at once.
TESTED = re.compile(
    rf"@({LABEL})(?=\W|_)|^[ \t]*//[ \t]*({LABEL})\b.*\n(?=[ \t]*\S)", re.MULTILINE
)


def labels(pattern, files):
    """Maps each label to the first 'file:line' that names it."""
    found = {}
    for file in sorted(files):
        text = file.read_text()
        for match in pattern.finditer(text):
            label = next(filter(None, match.groups()), match[0])
            line = text.count("\n", 0, match.start()) + 1
            found.setdefault(label, f"{file}:{line}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=pathlib.Path, help="the project's folder")
    source = parser.parse_args().source

    stated = labels(ANYWHERE, source.glob("include/**/*.td"))
    tested = labels(TESTED, source.glob("test/Dialect/**/invalid*.mlir"))
    enforced = labels(ANYWHERE, source.glob("lib/**/*.cpp"))
    errors = [
        f"{place}: error: no invalid*.mlir tests constraint {label}"
        for label, place in stated.items()
        if label not in tested
    ] + [
        f"{place}: error: no .td file states constraint {label}"
        for label, place in (*tested.items(), *enforced.items())
        if label not in stated
    ]
    if not stated:
        errors.append(f"error: no .td file under {source} states a constraint")
    print("\n".join(errors) or f"{len(stated)} constraints")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
