#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs entries on files of every kind and compares what is stored.

Takes the folder of the artefacts.
"""

import json
import os
import pathlib
import struct
import sys

from common import expect, finish, npy, read, run, write

os.chdir(sys.argv[1])
count = 0


def expect_copy(entry, file, expected, what):
    """A copy of the file has that element type, shape and values."""
    global count
    count += 1
    write("x.npy", file)
    finished = run("run.vso", f"--entry=copy_{entry}", "--args", "x.npy", "--out=o")
    expect(f"{what}, errors", (finished.returncode, finished.stderr), (0, ""))
    if finished.returncode == 0:
        expect(what, read("o/0.npy"), expected)


floats = [0.0, 1.0, -2.5, 0.15625, 64.0, -0.5]
for version in (1, 2, 3):
    for order in "<>":
        for size in (2, 4, 8):
            for entry in ("f16", "bf16", "f32", "f64"):
                expect_copy(
                    entry,
                    npy(f"{order}f{size}", (2, 3), floats, version=version),
                    ("<f8" if entry == "f64" else "<f4", (2, 3), floats),
                    f"{order}f{size} to {entry}, version {version}",
                )

# Of [[0, 1, 2], [3, 4, 5]], column by column.
for size in (1, 2, 4, 8):
    for kind in "iu":
        for order in "<>":
            for fortran, values in ((False, [0, 1, 2, 3, 4, 5]), (True, [0, 3, 1, 4, 2, 5])):
                descr = f"{'|' if size == 1 else order}{kind}{size}"
                for entry in "i8 i16 i32 i64 u8 u16 u32 u64".split():
                    to = f"{entry[0]}{int(entry[1:]) // 8}"
                    expect_copy(
                        entry,
                        npy(descr, (2, 3), values, fortran=fortran),
                        (
                            ("|" if to[1] == "1" else "<") + to,
                            (2, 3),
                            [0, 1, 2, 3, 4, 5],
                        ),
                        f"{descr} to {entry}, {fortran}",
                    )

# bf16 1.0 is 0x3f80 and -2.5 is 0xc020.
for descr in ("<u2", "|V2", "<V2"):
    expect_copy(
        "bf16",
        npy(descr, (1, 2), [0x3F80, 0xC020]),
        ("<f4", (1, 2), [1.0, -2.5]),
        descr,
    )
expect_copy(
    "bf16",
    npy(">u2", (1, 2), [0x3F80, 0xC020]),
    ("<f4", (1, 2), [1.0, -2.5]),
    ">u2",
)
for descr in ("|u1", "|V1", "<V1", "<f1"):
    expect_copy(
        "f8", npy(descr, (1, 3), [0, 127, 255]), ("|u1", (1, 3), [0, 127, 255]), descr
    )
expect_copy("bool", npy("|b1", (1, 2), [1, 0]), ("|b1", (1, 2), [1, 0]), "b1")
expect_copy("f32", npy("<f4", (0, 7), []), ("<f4", (0, 7), []), "empty")

# Rounded once: 1 + 2^-8 lies between two bf16 numbers and goes to the even one;
# the least more goes up, which an f32 on the way would hide.
tie = 1 + 2.0**-8
expect_copy(
    "bf16",
    npy("<f8", (1, 4), [tie, tie + 2.0**-40, -tie - 2.0**-40, 1e39]),
    ("<f4", (1, 4), [1.0, 1 + 2.0**-7, -1 - 2.0**-7, float("inf")]),
    "rounding to bf16",
)
tie = 1 + 2.0**-11
expect_copy(
    "f16",
    npy("<f8", (1, 4), [tie, tie + 2.0**-40, 65520.0, 2.0**-25]),
    ("<f4", (1, 4), [1.0, 1 + 2.0**-10, float("inf"), 0.0]),
    "rounding to f16",
)

# A trace as it is stored in the project: raw bf16 bits.
trace = pathlib.Path(sys.argv[2]) / "test/data/codelm/sharp.k.npy"
finished = run(
    "run.vso", "--entry=copy_bf16", "--args", trace, "--out=trace/new/folder"
)
expect("trace", (finished.returncode, finished.stderr), (0, ""))
descr, shape, values = read("trace/new/folder/0.npy")
bits = trace.read_bytes()[128:]
expect("trace", (descr, shape), ("<f4", (8192, 128)))
expect(
    "trace",
    struct.pack(f"<{len(values)}f", *values),
    b"".join(b"\0\0" + bits[i : i + 2] for i in range(0, len(bits), 2)),
)
expect("files", sorted(os.listdir("trace/new/folder")), ["0.npy"])

# Written in place: as often as it is repeated, each run starts from the file.
write("sum.npy", npy("<f4", (3,), [1.0, 2.0, 3.0]))
write("x.npy", npy("<f8", (3,), [0.5, 1.0, -4.0]))
for repeat in ([], ["--repeat=5"], ["--repeat", "2", "--no-checked"]):
    count += 1
    finished = run(
        "run.vso", "--entry=accumulate", "--args", "sum.npy", "x.npy", "--out=sum",
        "--json", *repeat,
    )  # fmt: skip
    expect("in place", (finished.returncode, finished.stderr), (0, ""))
    expect("in place", read("sum/arg0.npy"), ("<f4", (3,), [1.5, 3.0, -1.0]))
    expect("files", sorted(os.listdir("sum")), ["arg0.npy"])
    report = json.loads(finished.stdout)
    times = report.pop("times")
    if repeat:
        expect("minimum", report.pop("minimum"), min(times))
        ordered = sorted(times)
        middle = len(times) // 2
        median = (
            ordered[middle]
            if len(times) % 2
            else (ordered[middle - 1] + ordered[middle]) / 2
        )
        expect("median", abs(report.pop("median") - median) <= 1e-8 * median, True)
        expect("positive times", min(times) > 0, True)
    expect("number of times", len(times), {0: 0, 1: 5, 3: 2}[len(repeat)])
    expect(
        "report",
        report,
        {
            "entry": "accumulate",
            "arguments": [
                {
                    "name": "sum",
                    "dtype": "bf16",
                    "shape": [3],
                    "file": "sum/arg0.npy",
                },
                {"name": "x", "dtype": "f32", "shape": [3], "file": None},
            ],
            "results": [],
        },
    )

# A result that is stored again replaces the older one.
write("x.npy", npy("<f4", (1, 1), [float("nan")]))
for value in (2.0, 3.0):
    write("y.npy", npy("<f4", (1, 1), [value]))
    run("run.vso", "--entry=copy_f32", "--args", "y.npy", "--out=o/")
    expect("again", read("o/0.npy"), ("<f4", (1, 1), [value]))

# What is said without --out. Numbers that are no NaN are summed up.
write("x.npy", npy("<f4", (1, 4), [float("nan"), -1.0, 3.0, float("nan")]))
for words, expected in (
    (
        ["run.vso", "--entry=copy_f32", "--args", "x.npy"],
        "entry 'copy_f32'\n"
        "argument 0 'x' (x.npy): f32 [1, 4]\n"
        "result 0 'y': f32 [1, 4], min -1, max 3, mean 1, 2 NaN\n",
    ),
    (["answer.vso"], "entry 'answer'\nresult 0 'o': i32 [], min 42, max 42, mean 42\n"),
    (
        ["run.vso", "--entry=align", "--device=cpu"],
        "entry 'align'\n"
        "result 0 'good': i64 [], min 1, max 1, mean 1\n"
        "result 1 'large': u8 [5242880], min 0, max 0, mean 0\n",
    ),
):
    count += 1
    finished = run(*words)
    expect(words, (finished.returncode, finished.stderr), (0, ""))
    expect(words, finished.stdout, expected)
finished = run("answer.vso", "--repeat=3")
expect("repeat", "\n3 runs: minimum 0." in finished.stdout, True)

# The number of threads, of more than there are processors too.
for threads in (1, 3):
    for variable in ("1", "8"):
        count += 1
        finished = run(
            "run.vso", "--entry=crowd", f"--threads={threads}", "--out=crowd",
            env={"VASHISTA_NUM_THREADS": variable},
        )  # fmt: skip
        most = read("crowd/0.npy")[2][0]
        expect("threads", 1 <= most <= threads, True)
        if threads == 3:
            expect("several threads", most > 1, True)
finish(count)
