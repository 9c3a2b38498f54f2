#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares steps of many rows with the same rows alone, and with attention to all.

Of rows that are not known when a step is compiled a GPU has kernels for few and for
many, of which a call's rows choose. So a step is called with as many rows as are the
first and the last for each: outputs must be those of a row alone, but for rounding or,
of what is certified, near those of attention to all: a certificate must be right. Every
call is repeated and must give the same bits. Exits with 1 after a failure.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import re
import sys

import numpy as np

from check_selection import is_repeatable
from judge_cases import judge_all

from vashista import AttentionSpec, Policy, Sketch
from vashista._memory import NumpyMemory

# Groups, rows times KV heads, that 132 multiprocessors have room for at once: in
# clusters of 8, 4 and 2 blocks, of a block each, and twice as many.
GROUPS = (15, 31, 66, 132, 263)
ALONE = 12  # rows that are also called alone
TOLERANCE = 0.5
SLACK = 1e-3  # of a mass: keys and weights are f16
LOOSE = 1.25  # what an error of a state may be of what it must be
NEAR = 2e-2  # of outputs: the least of what is picked may be another one


def draw():
    for heads, summary in (((8, 2), "mean"), ((2, 2), "mean_std"), ((24, 2), "mean")):
        yield {"heads": heads, "summary": summary}
    # Whose clusters have 4 and 2 blocks at most; and whose scores no block has room
    # for.
    yield {"heads": (32, 16), "summary": "mean"}
    yield {"heads": (40, 40), "summary": "mean"}
    yield {"heads": (32, 2), "summary": "mean", "pages": 128}
    for heads, bits in (((8, 2), 5), ((2, 2), 4), ((6, 2), 4), ((16, 2), 4)):
        yield {"heads": heads, "bits": bits}
    for heads in ((32, 16), (40, 40), (100, 100)):
        yield {"heads": heads, "bits": 4}
    yield {"heads": (8, 2), "bits": 4, "moments": True}
    # Pages so small that warps of a block have several KV heads.
    for heads, bits, size in (((16, 4), 4, 1), ((12, 6), 5, 2)):
        yield {"heads": heads, "bits": bits, "page_size": size}


def spec_of(case, dense=False):
    options = {}
    if not dense and "summary" in case:
        pages = case.get("pages", 64)
        options["policy"] = Policy(pages=pages, candidates=128, sinks=4, window=64)
        options["summary"] = case["summary"]
    elif not dense:
        options["policy"] = Policy.certified(
            TOLERANCE, candidates=1024, sinks=4, window=64, rounds=2
        )
        options["sketch"] = Sketch(bits=case["bits"])
        options["moments"] = "moments" in case
    if "page_size" in case:
        options["page_size"] = case["page_size"]
    (heads, kv), dim = case["heads"], 128
    return AttentionSpec(
        heads, kv, dim, scale=dim**-0.5, dtype="f16", shared_rows=True, **options
    )


def text(name, case):
    """A step, what it keeps, and attention to all."""
    functions = spec_of(case).text + spec_of(case, dense=True).text.replace(
        "@decode(", "@dense("
    )
    parts = re.findall(r"func\.func @\w+\(.*?\n}\n", functions, re.DOTALL)
    kept = [p for p in parts if re.match(r"func\.func @(decode|dense|summarize)\(", p)]
    return "".join(
        re.sub(r"^func\.func @(\w+)", rf"func.func @{name}_\1", part) for part in kept
    )


def find(artefact, name):
    return {
        what: artefact[f"{name}_{what}"] for what in ("decode", "dense", "summarize")
    }


def call(entry, arrays):
    """The results of an entry that takes arrays by these names, and whether they are
    so again. It writes those that it writes in place."""
    return is_repeatable(entry, [arrays[value.name] for value in entry.arguments])


def judge(case, entries, number, rng):
    spec, memory = spec_of(case), NumpyMemory()
    kv, dim, size, batch = spec.kv_heads, spec.head_dim, spec.page_size, 5
    lens = rng.integers(1100, 3000, batch).astype(np.int32)
    if number % 2:
        lens[0] = rng.integers(1, 40)
    pages = -(-lens.max() // size) + 1
    table = rng.permutation(batch * pages).astype(np.int32).reshape(batch, pages)
    k, v = rng.standard_normal((2, batch * pages, kv, size, dim))
    if spec.policy.is_certified:  # a KV head's norms say nothing of another one's
        v *= (1 + np.arange(kv) % 8)[:, None, None]
    k, v = k.astype(np.float16), v.astype(np.float16)
    vmax = np.zeros((batch, kv))
    for sequence, length in enumerate(lens):
        norms = np.linalg.norm(v[table[sequence]].astype(float), axis=-1)
        norms = norms.swapaxes(1, 2).reshape(-1, kv)
        vmax[sequence] = norms[:length].max(axis=0)
    counts = sorted({1, *(max(n // kv + more, 1) for n in GROUPS for more in (0, 1))})
    sequences = np.arange(counts[-1], dtype=np.int32) % batch
    q = 3 * rng.standard_normal((len(sequences), spec.heads, dim))
    q = q.astype(np.float16)
    arrays = {"k": k, "v": v, "table": table, "lens": lens}
    for first, kept in ((len(k), spec.kept), (batch, spec.kept_of_sequences)):
        for name, (shape, dtype) in kept.items():
            made = memory.zeros((first, *shape), dtype)
            arrays[name] = memory.argument(made, dtype)
    entries["summarize"](
        *(arrays[value.name] for value in entries["summarize"].arguments)
    )

    def run(which, rows):
        own = {"q": q[rows], "rows": sequences[rows], "lens": lens[sequences[rows]]}
        return call(entries[which], arrays | own)

    every = np.arange(len(sequences))
    (whole, whole_lse), _ = run("dense", every)
    some = np.sort(rng.permutation(len(every))[:ALONE])
    if spec.policy.is_certified:
        some = some[:0]
    alone = {row: run("decode", every[row : row + 1])[0] for row in some}
    for count in counts:
        found, is_same = run("decode", every[:count])
        if not is_same:
            yield f"{count} rows: another result when repeated"
        o, lse = found[:2]
        if not spec.policy.is_certified:
            for row in some[some < count]:
                apart = np.abs(o[row] - alone[row][0][0]).max()
                mass = np.abs(lse[row] - alone[row][1][0]).max()
                if not (apart <= NEAR and mass <= NEAR):
                    yield f"{count} rows: row {row} is {apart} from itself alone, {mass}"
            continue
        tau, error, _, flag = found[2:6]
        is_whole = np.repeat(flag.astype(bool), spec.heads // kv, axis=1)
        missed = -np.expm1(np.minimum(lse - whole_lse[:count], 0))
        apart = np.linalg.norm(o - whole[:count], axis=-1)
        size_of_o = np.linalg.norm(whole[:count], axis=-1)
        # What fell back is of all tokens; its certificate is of the state before.
        wrong = ~is_whole & (
            ~(tau <= TOLERANCE)
            | ~(missed <= tau + SLACK)
            | ~(apart <= error + SLACK * (1 + size_of_o))
        )
        # What the largest norms stand for: a bound that says so, and no more.
        own = np.repeat(vmax[sequences[:count]], spec.heads // kv, axis=1)
        least = tau * (own + np.linalg.norm(o, axis=-1)) * (1 - SLACK)
        wrong |= ~is_whole & ~((least <= error) & (error <= LOOSE * least))
        wrong |= is_whole & ~(apart <= NEAR * (1 + size_of_o))
        if wrong.any():
            row, head = np.argwhere(wrong)[0]
            yield (
                f"{count} rows: {wrong.sum()} heads are not what is certified, first row "
                f"{row}, head {head}: tau {tau[row, head]}, missed {missed[row, head]}, "
                f"error {error[row, head]}, apart {apart[row, head]}"
            )


if __name__ == "__main__":
    cases = [(f"rows{i}", case, text, judge) for i, case in enumerate(draw())]
    sys.exit(judge_all(__doc__, cases, find))
