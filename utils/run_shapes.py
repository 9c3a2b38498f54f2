#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs steps of 459 shapes, and moments of 34, for a tool to watch: compute-sanitizer,
or valgrind.

    compute-sanitizer --tool racecheck python3 utils/run_shapes.py --artefacts DIR

Modules of dynamic sizes (1, 4 and 6 query heads of a KV head; dense, by pages, certified
in one round and in two, without and with moments; some of 12 heads, of routed pages, and of
pages of 1, 5 and 8 tokens)
run on batches of 1 to 4 sequences of up to 3000 tokens: a cache is summarised, a token
appended, and the step taken. What no sequence owns is NaN. Outputs
must be as near to attention in float64 as was certified, or as rounding allows.

Two modules more have the second moments of a sketch: summarised, appended to, and of
directions. They must be symmetric, not below what float64 has of the sketch as it is
stored, and above it by no more than 10 % of the trace, 120 % with a centre.

Needs NumPy; artefacts that were compiled elsewhere are found in --artefacts.
"""

import argparse
import dataclasses
import functools
import itertools
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import vashista  # noqa: E402
from check_kept import Buffer, Sketch as Format  # noqa: E402
from judge_cases import add_part  # noqa: E402
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
STEPS["moments"] = {**STEPS["certified"], "moments": True}
STEPS["certified5"] = {**STEPS["certified"], "sketch": Sketch(bits=5)}
STEPS["oneround"] = {
    **STEPS["certified"],
    "policy": Policy.certified(0.5, candidates=3072, rounds=1),
}
#: A certificate that covers pages that were not routed to.
ROUTED = {
    **STEPS["certified"],
    "policy": dataclasses.replace(Policy.certified(0.5, candidates=512), pages=64),
    "summary": "ball",
}
#: Query heads of each, a step, and tokens of a page.
OTHERS = (
    (12, "dense", SIZE),
    (12, "certified", SIZE),
    (4, "certified5", 1),
    (6, "moments", 8),
    (4, "routed", SIZE),
    (2, "routed", 5),
)


def spec_of(group: int, name: str, size: int) -> AttentionSpec:
    return AttentionSpec(
        group * KV_HEADS,
        KV_HEADS,
        DIM,
        scale=DIM**-0.5,
        page_size=size,
        **(ROUTED if name == "routed" else STEPS[name]),
    )


def nothing(value: vashista.Value, number: int):
    """NaN, of so many pages or sequences."""
    shape = (number, *(dim.size for dim in value.dims[1:]))
    if value.dtype == "f32":
        return np.full(shape, np.nan, np.float32)
    if value.dtype == "i8":
        return np.full(shape, -1, np.int8)
    bits = np.uint16 if value.dtype in ("bf16", "f16") else np.uint8
    return vashista.Bits(np.full(shape, -1, np.int64).astype(bits), value.dtype)


def widen(bits: np.ndarray) -> np.ndarray:
    """bf16, as f64."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(float)


def run(
    artefact: vashista.Artefact,
    rng: np.random.Generator,
    group: int,
    name: str,
    size: int,
):
    """One shape; yields what is wrong."""
    lens = np.exp(rng.uniform(0, np.log(LONGEST), rng.integers(1, 5))).astype(np.int32)
    lens[rng.random(len(lens)) < 0.1] = 0
    own = -(-(lens + 1) // size)
    pages = int(own.sum()) + 3
    table = np.full((len(lens), own.max() + rng.integers(0, 5)), -1, np.int32)
    ids = rng.permutation(pages)
    for row, (first, number) in enumerate(zip(np.cumsum(own) - own, own)):
        table[row, :number] = ids[first : first + number]
    append, decode = artefact["append"], artefact["decode"]
    pools = {
        value.name: nothing(value, len(lens) if value.name == "moments" else pages)
        for value in append.arguments
        if value.name not in ("key", "value", "positions", "table")
    }

    def draw(*shape, scale=1.0):
        return vashista.as_bfloat16(np.float32(scale * rng.standard_normal(shape)))

    for row, length in enumerate(lens):
        for at in range(0, length, size):
            number, page = min(size, length - at), table[row, at // size]
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
        places = table[row, at // size], head // group, at % size
        k, v = (widen(pools[part].bits)[places] for part in ("k", "v"))
        logits = k @ q[row, head] * DIM**-0.5
        top = logits.max()
        mass = np.exp(logits - top)
        # A rounding of each weight to bf16, and of sums in f32.
        rounding = 2.0**-7 * np.linalg.norm(v, axis=1).max()
        off = np.linalg.norm(o[row, head] - mass @ v / mass.sum())
        allowed = np.inf if name.startswith("mean") else rounding
        if name not in ("dense", "mean", "mean_std"):
            allowed += results[3][row, head]
        where = f"{len(lens)} rows, row {row} of {lens[row] + 1} tokens, head {head}"
        if not off <= allowed:
            yield f"{where}: the output is off by {off}, expected {allowed} at most"
        exact = top + np.log(mass.sum())
        if not lse[row, head] <= exact + 1e-3 * max(1, abs(exact)):
            yield f"{where}: more mass than there is, {lse[row, head]} of {exact}"


# ===----------------------------------------------------------------------===#
# Second moments
# ===----------------------------------------------------------------------===#

TURNED = ", rotation = hadamard"
MOMENTS = {
    "moments": (
        Format(DIM, 4, 32, TURNED + ", norm = token", "f8E4M3FN", "i8"),
        "bf16",
    ),
    "centred moments": (
        Format(80, 5, 16, TURNED + ", centre = page", "f16", "f16"),
        "f16",
    ),
}
MOMENT_HEADS = 6


def moments_text(form: Format, dtype: str) -> str:
    """A module that summarises, appends, and measures directions."""
    kept = {
        name: f"tensor<?x{'x'.join(map(str, shape))}x{of}>"
        for name, (of, shape) in zip(
            ("codes", "scales", "residuals", "centre"),
            form.parts(KV_HEADS, SIZE, dtype),
        )
    }
    sketch = f"sketch {form.text()}"
    parts = f"{sketch}({', '.join(f'%{name}' for name in kept)}) moments(%moments)"
    kept["moments"] = f"tensor<?x{KV_HEADS}x{form.padded}x{form.padded}xf32>"
    cache = f"tensor<?x{KV_HEADS}x{SIZE}x{form.dim}x{dtype}>"
    token = f"tensor<?x{KV_HEADS}x{form.dim}x{dtype}>"
    directions = f"tensor<?x{MOMENT_HEADS}x{form.dim}x{dtype}>"
    ids = {"table": "tensor<?x?xi32>", "rows": "tensor<?xi32>"}
    row = "tensor<?xi32>"

    def function(name, given, results, op):
        arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in given.items())
        of, number = ", ".join(results), len(results)
        used = ", ".join(f"%r#{i}" if number > 1 else "%r" for i in range(number))
        return f"""
func.func @{name}({arguments}) -> ({of}) {{
  {f"%r:{number}" if number > 1 else "%r"} = vashista.{op}
      : ({", ".join(given.values())}) -> ({of})
  return {used} : {of}
}}"""

    return "".join(
        (
            function(
                "summarize",
                {"k": cache, "table": ids["table"], "lens": row, "rows": row, **kept},
                list(kept.values()),
                f"summarize keys(%k) table(%table) lens(%lens) rows(%rows) {parts}",
            ),
            function(
                "append",
                {"key": token, "value": token, "at": row, **ids} | {"k": cache, "v": cache, **kept},
                [cache, cache, *kept.values()],
                "append key(%key) value(%value) at(%at) table(%table) rows(%rows) "
                f"into(%k, %v) {parts}",
            ),
            function(
                "moment",
                {"q": directions, "moments": kept["moments"], "lens": row, "rows": row},
                [f"tensor<?x{MOMENT_HEADS}xf32>"],
                f"moment %q of(%moments) {sketch} lens(%lens) rows(%rows) "
                f"scale {form.dim**-0.5}",
            ),
        )
    )


def leftovers(form: Format, keys: Buffer, kept: list, places: tuple):
    """What a sketch lacks of some tokens, turned, and room for their scores' rounding, a
    share of the direction."""
    codes, scales, norms, *centre = (part.numbers() for part in kept)
    norms = np.where(norms == 255, np.inf, norms) if form.norms == "i8" else norms
    known = np.isfinite(norms[places]).reshape(len(places[0]), -1).all(1)
    page, head, at = (index[known] for index in places)
    exact = np.zeros((len(page), form.padded))
    exact[:, : form.dim] = keys.numbers()[page, head, at]
    if centre:
        exact[:, : form.dim] -= centre[0][page, head]
    cells = form.unpack(codes[page, head, at].astype(np.uint8)) - (2**form.bits - 1) / 2
    decoded = cells * np.repeat(scales[page, head, at], form.group, axis=1)
    eta = form.padded**0.5 * 2.0**-16 + (form.padded + 24) * 2.0**-22
    room = eta * np.linalg.norm(decoded, axis=1)
    if centre:
        room += (form.dim + 8) * 2.0**-22 * np.linalg.norm(centre[0][page, head], axis=1)
    return exact @ form.turn - decoded, room


def least_moments(form: Format, left: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The least matrix that is known to bound."""
    share = 2.0**-5
    own = (1 + 1 / share) * np.sum(room**2)
    return (1 + share) * left.T @ left + own * np.eye(form.padded)


def judge_moments(got: np.ndarray, least: np.ndarray, most: float):
    if not (got == got.T).all():
        yield "moments are not symmetric"
    trace = np.trace(least)
    below = np.linalg.eigvalsh(got - least)[0]
    if not below >= -1e-6 * trace:
        yield f"moments are below by {-below / trace} of their trace"
    if not np.trace(got) <= most * trace + 1e-20:
        yield f"a trace is {np.trace(got) / trace} of what it must be, expected {most}"


def run_moments(artefact: vashista.Artefact, rng: np.random.Generator, form: Format, dtype: str):
    """One shape; yields what is wrong."""
    lens = np.exp(rng.uniform(0, np.log(LONGEST), rng.integers(1, 5))).astype(np.int32)
    lens[rng.random(len(lens)) < 0.1] = 0
    sequences = rng.permutation(len(lens) + 1)[: len(lens)].astype(np.int32)
    own = -(-(lens + 1) // SIZE)
    pages = int(own.sum()) + 3
    table = np.full((len(lens) + 1, own.max() + rng.integers(0, 5)), -1, np.int32)
    ids = rng.permutation(pages)
    for sequence, first, number in zip(sequences, np.cumsum(own) - own, own):
        table[sequence, :number] = ids[first : first + number]

    def draw(*shape):
        return Buffer.of(dtype, rng.standard_normal(shape) * rng.uniform(0.1, 3))

    seen = np.zeros((pages, SIZE), bool)
    for sequence, length in zip(sequences, lens):
        at = np.arange(length)
        seen[table[sequence, at // SIZE], at % SIZE] = True
    caches = [draw(pages, KV_HEADS, SIZE, form.dim) for _ in "kv"]
    for cache in caches:
        cache.bits.swapaxes(1, 2)[~seen] = -1 + 2**16
    kept = [Buffer.any(of, (pages, *shape), rng) for of, shape in form.parts(KV_HEADS, SIZE, dtype)]
    shape = (len(table), KV_HEADS, form.padded, form.padded)
    moments = np.full(shape, 7, np.float32)
    given = [part.given() for part in kept]
    artefact["summarize"](caches[0].given(), table, lens, sequences, *given, moments, checked=False)

    def tokens(row, head, first, end):
        at = np.arange(first, end)
        page = table[sequences[row], at // SIZE]
        return leftovers(form, caches[0], kept, (page, np.full(len(at), head), at % SIZE))

    def where(row, head):
        return f"{len(lens)} rows, row {row} of {lens[row]} tokens, KV head {head}: "

    places = list(np.ndindex(len(lens), KV_HEADS))
    # Room for a centre beside that for a key: twice as much is enough for both.
    most = 2.2 if form.centred else 1.1
    for row, head in places:
        got = moments[sequences[row], head].astype(float)
        if lens[row] == 0:
            continue
        least = least_moments(form, *tokens(row, head, 0, lens[row]))
        for what in judge_moments(got, least, most):
            yield where(row, head) + what
    unread = np.setdiff1d(np.arange(len(table)), sequences[lens > 0])
    if not (moments[unread] == 7).all():
        yield "moments that no row reads were written"

    before = moments.astype(float)
    new = [draw(len(lens), KV_HEADS, form.dim).given() for _ in "kv"]
    written = [cache.given() for cache in caches] + given
    artefact["append"](*new, lens, table, sequences, *written, moments, checked=False)
    for row, head in places:
        # All tokens of a page that share a centre have another residual now.
        first = lens[row] // SIZE * SIZE if form.centred else lens[row]
        added = least_moments(form, *tokens(row, head, first, lens[row] + 1))
        if lens[row] > 0:
            added += before[sequences[row], head]
        got = moments[sequences[row], head].astype(float)
        for what in judge_moments(got, added, most):
            yield where(row, head) + "appended, " + what

    q = draw(len(lens), MOMENT_HEADS, form.dim)
    seen = np.where(rng.random(len(lens)) < 0.1, 0, lens + 1).astype(np.int32)
    asked = np.where(rng.random(len(lens)) < 0.1, len(table), sequences).astype(np.int32)
    found = artefact["moment"](q.given(), moments, seen, asked, checked=False)
    w = np.zeros((len(lens), MOMENT_HEADS, form.padded))
    w[..., : form.dim] = q.numbers()
    w = w @ form.turn * form.dim**-0.5
    for row, query in np.ndindex(found.shape):
        head, got = query * KV_HEADS // MOMENT_HEADS, float(found[row, query])
        if seen[row] == 0 or asked[row] == len(table):
            expected = 0 if seen[row] == 0 else np.inf
            if got != expected:
                yield where(row, head) + f"expected a moment of {expected}, got {got}"
            continue
        left = tokens(row, head, 0, lens[row] + 1)[0]
        least = np.sum((left @ w[row, query]) ** 2)
        own = moments[sequences[row], head].astype(float)
        exact = w[row, query] @ own @ w[row, query]
        if not got >= max(least, exact):
            yield where(row, head) + f"a moment is {got}, expected {max(least, exact)}"
        room = 2.0**-14 * np.trace(own) * np.sum(w[row, query] ** 2)
        if not got <= exact + room + 1e-30:
            yield where(row, head) + f"a moment is {got}, expected {exact + room} at most"


def modules():
    """The name of each, its text, and what checks a shape of it."""
    for group, name, size in (*itertools.product(GROUPS, STEPS, (SIZE,)), *OTHERS):
        check = functools.partial(run, group=group, name=name, size=size)
        title = f"{name}, {group} heads of each, pages of {size}"
        yield title, spec_of(group, name, size).text, check
    for name, (form, dtype) in MOMENTS.items():
        check = functools.partial(run_moments, form=form, dtype=dtype)
        yield name, moments_text(form, dtype), check


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="cuda:sm_90a", help="as of vashista-compile")
    parser.add_argument("--each", type=int, default=EACH, help="shapes of a module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--artefacts", type=pathlib.Path, default=pathlib.Path("build/shapes"))
    parser.add_argument("--compile-only", action="store_true")
    add_part(parser)
    args = parser.parse_args()
    artefacts = Artefacts(args.artefacts, args.target)
    wrong = shapes = 0
    for number, (name, text, check) in list(enumerate(modules()))[args.part]:
        if args.compile_only:
            artefacts.make(text)
            continue
        artefact = artefacts.get(text)
        for trial in range(args.each):
            rng = np.random.default_rng([args.seed, number, trial])
            shapes += 1
            for what in check(artefact, rng):
                wrong += 1
                print(f"{name}, {what}")
    if not args.compile_only:
        print(f"{shapes} shapes, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
