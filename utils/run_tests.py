#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the tests of a build folder and ends with 'N passed, N failed'.

Exits with 1 when a test failed and when none ran. Further arguments go to lit.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys

PASSED = {"PASS", "FLAKYPASS", "XFAIL"}
NOT_RUN = {"UNSUPPORTED", "EXCLUDED", "SKIPPED"}


def cache_entry(build, name):
    cache = (build / "CMakeCache.txt").read_text()
    entry = re.search(rf"^{name}:\w+=(.+)$", cache, re.MULTILINE)
    if not entry:
        sys.exit(f"error: {build} is not configured with tests: no {name}")
    return entry[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path, help="the build folder")
    args, lit_args = parser.parse_known_args()
    build = args.build.resolve()
    results = build / "test" / "results.json"
    results.unlink(missing_ok=True)

    lit = cache_entry(build, "VASHISTA_LIT")
    # lit follows the folders of test/; suites whose source lies elsewhere, such
    # as the runtime's, have to be named.
    tests = pathlib.Path(cache_entry(build, "CMAKE_HOME_DIRECTORY")) / "test"
    suites = [build / "test"] + [
        config.parent
        for config in sorted((build / "test").glob("*/lit.site.cfg.py"))
        if not (tests / config.parent.name).exists()
    ]
    run = subprocess.run(
        [sys.executable, lit, "-sv", "-o", results, *lit_args, *suites],
        check=False,
    )

    if not results.exists():
        sys.exit("error: lit stopped before it ran a test")
    codes = [test["code"] for test in json.loads(results.read_text())["tests"]]
    counts = collections.Counter(
        "not run" if code in NOT_RUN else "passed" if code in PASSED else "failed"
        for code in codes
    )
    sys.stdout.flush()
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return run.returncode != 0 or counts["failed"] > 0 or counts["passed"] == 0


if __name__ == "__main__":
    sys.exit(main())
