#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a long sweep of random configurations over the CPU kernels.

Also merges random trees of states. Prints what failed, each with the command that
repeats it, then the number of configurations and of failures and, for every
quantity, the worst error relative to its bound. Exits with 1 after a failure.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

# The shards of test/Integration/CPU/SweepTest.cpp, and MergeTreeTest.cpp.
TESTS = [f"*Sweep*/{shard}" for shard in range(6)] + ["MergeTreeTest.*"]


def run_test(program, test, environment):
    """Returns the output and whether the test ended by itself."""
    run = subprocess.run(
        [program, f"--gtest_filter={test}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return run.stdout, run.returncode in (0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="the build folder")
    parser.add_argument(
        "--configurations",
        type=int,
        default=5000,
        metavar="N",
        help="how many to run (default 5000)",
    )
    parser.add_argument(
        "--trees",
        type=int,
        default=10000,
        metavar="N",
        help="how many trees to merge (default 10000)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="which ones (default 1)"
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="J",
        help="tests that run at once (default: one per processor)",
    )
    args = parser.parse_args()
    program = args.build.resolve() / "test/Integration/CPU/VashistaCpuTests"
    if not program.exists():
        sys.exit(f"error: {program} does not exist; build it first")
    # More data for each module: compiling takes most of the time.
    environment = dict(
        os.environ,
        VASHISTA_SWEEP=str(args.configurations),
        VASHISTA_DATA="10",
        VASHISTA_TREES=str(args.trees),
        VASHISTA_SEED=str(args.seed),
    )
    environment.pop("VASHISTA_CASE", None)

    counts, worst = collections.Counter(), collections.defaultdict(float)
    number = re.compile(r"([a-z ]+) ([\d.]+|inf)(?:, |$)")
    with concurrent.futures.ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        runs = [
            pool.submit(run_test, program, test, environment) for test in TESTS
        ]
        for test, run in zip(TESTS, runs):
            output, ended = run.result()
            summary = re.search(r"^sweep: (.*)$", output, re.MULTILINE)
            if not ended or not summary or "[  FAILED  ]" in output:
                print(output, flush=True)
            if not ended or not summary:
                print(f"error: {test} ended before its sweep did")
                counts["failures"] += 1
                continue
            for name, value in number.findall(summary[1]):
                if name.startswith("worst "):
                    name = name[len("worst ") :]
                    worst[name] = max(worst[name], float(value))
                else:
                    counts[name] += int(value)

    configurations, failures = counts.pop("configurations", 0), counts.pop("failures")
    print(f"seed {args.seed}: {configurations} configurations, {failures} failures")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    print("worst error, of its bound:")
    for name, ratio in sorted(worst.items()):
        print(f"  {name}: {ratio:.3f}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
