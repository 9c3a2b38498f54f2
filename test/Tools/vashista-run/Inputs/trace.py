#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prepares the files of trace.mlir from the codelm trace, or compares what
vashista-run made of them with attention in f64."""

import math
import os
import struct
import sys

from common import expect, finish, npy, raw_npy, read, write

data = os.path.join(sys.argv[2], "test/data/codelm")
os.chdir(sys.argv[3])
ROWS, HEADS, DIM, TOKENS, PAGE = 16, 4, 128, 8192, 16
PAGES = TOKENS // PAGE
# Physical pages in another order than that of the tokens.
TABLE = [(7 * page + 3) % PAGES for page in range(PAGES)]


def bits(name):
    with open(os.path.join(data, f"sharp.{name}.npy"), "rb") as file:
        return file.read()[128:]


def prepare():
    page_bytes = PAGE * DIM * 2
    for name in "kv":
        tokens, pages = bits(name), [b""] * PAGES
        for i, page in enumerate(TABLE):
            pages[page] = tokens[i * page_bytes : (i + 1) * page_bytes]
        write(
            f"{name}.npy",
            raw_npy(
                "{'descr': '<u2', 'fortran_order': False, "
                f"'shape': ({PAGES}, 1, {PAGE}, {DIM}), }}",
                b"".join(pages),
            ),
        )
    table = TABLE * ROWS
    write("table.npy", npy("<i8", (ROWS, PAGES), table))
    table[9 * PAGES + 3] = PAGES
    write("bad_table.npy", npy("<i4", (ROWS, PAGES), table))
    lens = [TOKENS - ROWS + 1 + row for row in range(ROWS)]
    write("lens.npy", npy("<u2", (ROWS,), lens))
    write("o.npy", npy("<f8", (ROWS, HEADS, DIM), [0.0] * (ROWS * HEADS * DIM)))
    write("lse.npy", npy("<f2", (ROWS, HEADS), [-math.inf] * (ROWS * HEADS)))


def vectors(name):
    content = bits(name)
    wide = [x << 16 for x in struct.unpack(f"<{len(content) // 2}H", content)]
    numbers = struct.unpack(f"<{len(wide)}f", struct.pack(f"<{len(wide)}I", *wide))
    return [numbers[i : i + DIM] for i in range(0, len(numbers), DIM)]


def compare():
    q, k, v = map(vectors, "qkv")
    o, lse = read("o/arg5.npy")[2], read("o/arg6.npy")[2]
    cases = [(0, 0), (7, 2), (15, 3)]
    for row, head in cases:
        number = row * HEADS + head
        scores = [
            sum(map(float.__mul__, q[number], k[token])) / math.sqrt(DIM)
            for token in range(TOKENS - ROWS + 1 + row)
        ]
        most = max(scores)
        weights = [math.exp(score - most) for score in scores]
        total = sum(weights)
        out = [0.0] * DIM
        for weight, value in zip(weights, v):
            if weight > 1e-14:
                out = [a + weight / total * b for a, b in zip(out, value)]
        got = o[number * DIM : (number + 1) * DIM]
        error = max(abs(a - b) for a, b in zip(out, got))
        # f32 sums of some thousand numbers: measured 1e-6.
        expect(f"row {row}, head {head}: {error}", error < 1e-5, True)
        error = abs(most + math.log(total) - lse[number])
        expect(f"lse of row {row}, head {head}: {error}", error < 2e-5, True)
    finish(len(cases))


{"prepare": prepare, "compare": compare}[sys.argv[1]]()
