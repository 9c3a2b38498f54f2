#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs steps of 204 shapes, for a tool to watch: compute-sanitizer, or valgrind.

    compute-sanitizer --tool racecheck python3 utils/run_shapes.py --artefacts DIR

Twelve modules of dynamic sizes (1, 4 and 6 query heads of a KV head; dense, by pages,
and certified) run on batches of 1 to 4 sequences of up to 3000 tokens: a cache is
summarised, a token appended, and the step taken. What no sequence owns is NaN. Outputs
must be as near to attention in float64 as was certified, or as rounding allows.

Needs NumPy; artefacts that were compiled elsewhere are found in --artefacts.
"""

import argparse
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import vashista  # noqa: E402
from vashista import AttentionSpec, Policy, Sketch  # noqa: E402
from vashista.eval._artefacts import Artefacts  # noqa: E402

KV_HEADS, DIM, SIZE, LONGEST = 2, 128, 16, 3000
GROUPS, EACH = (1, 4, 6), 17
STEPS = {
    "dense": {},
    "mean": {"policy": Policy(pages=16, candidates=64), "summary": "mean"},
    "mean_std": {"policy": Policy(pages=16, candidates=0), "summary": "mean_std"},
    "certified": {"policy": Policy.certified(0.5, candidates=512), "sketch": Sketch()},
}


def spec_of(group: int, name: str) -> AttentionSpec:
    return AttentionSpec(
        group * KV_HEADS, KV_HEADS, DIM, scale=DIM**-0.5, page_size=SIZE, **STEPS[name]
    )


def nothing(value: vashista.Value, pages: int):
    """A pool of NaN."""
    shape = (pages, *(dim.size for dim in value.dims[1:]))
    if value.dtype == "f32":
        return np.full(shape, np.nan, np.float32)
    if value.dtype == "i8":
        return np.full(shape, -1, np.int8)
    bits = np.uint16 if value.dtype in ("bf16", "f16") else np.uint8
    return vashista.Bits(np.full(shape, -1, np.int64).astype(bits), value.dtype)


def widen(bits: np.ndarray) -> np.ndarray:
    """bf16, as f64."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(float)


def run(artefact: vashista.Artefact, group: int, name: str, rng: np.random.Generator):
    """One shape; yields what is wrong."""
    lens = np.exp(rng.uniform(0, np.log(LONGEST), rng.integers(1, 5))).astype(np.int32)
    lens[rng.random(len(lens)) < 0.1] = 0
    own = -(-(lens + 1) // SIZE)
    pages = int(own.sum()) + 3
    table = np.full((len(lens), own.max() + rng.integers(0, 5)), -1, np.int32)
    ids = rng.permutation(pages)
    for row, (first, number) in enumerate(zip(np.cumsum(own) - own, own)):
        table[row, :number] = ids[first : first + number]
    append, decode = artefact["append"], artefact["decode"]
    pools = {
        value.name: nothing(value, pages)
        for value in append.arguments
        if value.name not in ("key", "value", "positions", "table")
    }

    def draw(*shape, scale=1.0):
        return vashista.as_bfloat16(np.float32(scale * rng.standard_normal(shape)))

    for row, length in enumerate(lens):
        for at in range(0, length, SIZE):
            number, page = min(SIZE, length - at), table[row, at // SIZE]
            for part in ("k", "v"):
                pools[part].bits[page, :, :number] = draw(KV_HEADS, number, DIM).bits
    given = {
        "table": table,
        "positions": lens,
        "key": draw(len(lens), KV_HEADS, DIM),
        "value": draw(len(lens), KV_HEADS, DIM),
        "q": draw(len(lens), KV_HEADS * group, DIM, scale=rng.uniform(1, 4)),
        **pools,
    }

    def call(entry, lens):
        found = {**given, "lens": lens}
        return entry(**{v.name: found[v.name] for v in entry.arguments})

    if "summarize" in artefact:
        call(artefact["summarize"], lens)
    call(append, lens)
    results = [x.astype(float) for x in call(decode, lens + 1)]
    o, lse = results[:2]
    q = widen(given["q"].bits)
    for row, head in np.ndindex(o.shape[:2]):
        at = np.arange(lens[row] + 1)
        places = table[row, at // SIZE], head // group, at % SIZE
        k, v = (widen(pools[part].bits)[places] for part in ("k", "v"))
        logits = k @ q[row, head] * DIM**-0.5
        top = logits.max()
        mass = np.exp(logits - top)
        # A rounding of each weight to bf16, and of sums in f32.
        rounding = 2.0**-7 * np.linalg.norm(v, axis=1).max()
        off = np.linalg.norm(o[row, head] - mass @ v / mass.sum())
        allowed = np.inf if name.startswith("mean") else rounding
        if name == "certified":
            allowed += results[3][row, head]
        where = f"{len(lens)} rows, row {row} of {lens[row] + 1} tokens, head {head}"
        if not off <= allowed:
            yield f"{where}: the output is off by {off}, expected {allowed} at most"
        exact = top + np.log(mass.sum())
        if not lse[row, head] <= exact + 1e-3 * max(1, abs(exact)):
            yield f"{where}: more mass than there is, {lse[row, head]} of {exact}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="cuda:sm_90a", help="as of vashista-compile")
    parser.add_argument("--each", type=int, default=EACH, help="shapes of a module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--artefacts", type=pathlib.Path, default=pathlib.Path("build/shapes")
    )
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument(
        "--part", default="0/1", help="I/N: every Nth module from the Ith on, beside others"
    )
    args = parser.parse_args()
    part = re.fullmatch(r"(\d+)/(\d+)", args.part)
    first, parts = map(int, part.groups()) if part else (1, 0)
    if first >= parts:
        parser.error(f"argument --part: expected I/N, I from 0 to N - 1, got {args.part}")
    artefacts = Artefacts(args.artefacts, args.target)
    wrong = shapes = 0
    for number, (group, name) in enumerate((g, n) for g in GROUPS for n in STEPS):
        if number % parts != first:
            continue
        text = spec_of(group, name).text
        if args.compile_only:
            artefacts.make(text)
            continue
        artefact = artefacts.get(text)
        for trial in range(args.each):
            rng = np.random.default_rng([args.seed, number, trial])
            shapes += 1
            for what in run(artefact, group, name, rng):
                wrong += 1
                print(f"{name}, {group} heads of each, {what}")
    if not args.compile_only:
        print(f"{shapes} shapes, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
