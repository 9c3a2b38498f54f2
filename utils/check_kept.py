#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares what is kept beside a cache with float64, over formats, on a GPU.

What `summarize` and `append` write of a page must be, of all tokens that a row sees of
it and of no other: means and deviations but for rounding, boxes exactly; norms and
radii not below the true ones and above them by no more than rounding; of a sketch,
residual norms likewise, of the codes, scales and centres as they are stored, and scales
that leave no more than 1.01 times what the best of the documented ones leaves. A key
that is not finite is bounded by +inf. Second moments must be symmetric, in the order of
matrices not below those of the sketched tokens that they are of, and above them by no
more than a tenth of their trace. Sequences share pages, whole ones and parts; rows
share sequences; rows of an append write to one page. Caches must hold the bits of what
was appended; whatever nobody asked to be written must be as it was. Every call is
repeated and must give the same bits. Exits with 1 after a failure.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import itertools
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import vashista  # noqa: E402
from judge_cases import judge_all  # noqa: E402
from vashista import Bits  # noqa: E402

INF = np.inf
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
PARTS = {"mean": 1, "mean_std": 2, "box": 2, "ball": 2}

# ===----------------------------------------------------------------------===#
# Numbers as they are stored
# ===----------------------------------------------------------------------===#

UNITS = {"bf16": np.uint16, "f16": np.uint16, "f32": np.uint32, "i8": np.uint8}
# What rounding to nearest loses: as a share of a normal number, and of any other.
ROUNDING = {"bf16": (2.0**-8, 2.0**-134), "f16": (2.0**-11, 2.0**-25), "f32": (0, 0)}
F8 = Bits(np.arange(127, dtype=np.uint8), "f8E4M3FN").float32().astype(np.float64)


class Buffer:
    """An array as an entry takes it, held as its bits."""

    def __init__(self, dtype, bits):
        self.dtype, self.bits = dtype, bits

    @classmethod
    def of(cls, dtype, numbers):
        numbers = numbers.astype(np.float32)
        if dtype == "bf16":
            return cls(dtype, vashista.as_bfloat16(numbers).bits)
        narrow = numbers.astype(np.float16) if dtype == "f16" else numbers
        return cls(dtype, narrow.view(UNITS[dtype]))

    @classmethod
    def any(cls, dtype, shape, rng):
        """Of any bits, NaN and infinite ones among them."""
        unit = UNITS.get(dtype, np.uint8)
        most = np.iinfo(unit).max
        return cls(dtype, rng.integers(0, most, shape, unit, endpoint=True))

    def copy(self):
        return Buffer(self.dtype, self.bits.copy())

    def given(self):
        """The same memory, as an argument."""
        if self.dtype == "bf16" or self.dtype.startswith("f8"):
            return Bits(self.bits, self.dtype)
        return self.bits.view({"f16": "f2", "f32": "f4", "i8": "i1"}[self.dtype])

    def numbers(self):
        """As float64; of i8, the unsigned bytes."""
        given = self.given()
        if self.dtype == "i8":
            given = self.bits
        with np.errstate(invalid="ignore"):
            given = given.float32() if isinstance(given, Bits) else given
            return given.astype(np.float64)


def round_up(numbers, dtype):
    """The least numbers of a type that are not below; infinite where none is. A little
    more is rounded up than is given, as kernels do."""
    with np.errstate(over="ignore"):
        near = (numbers * (1 + 2.0**-22) + 2.0**-149 * (numbers > 0)).astype(np.float32)
        near = near.astype(np.float64)
        if dtype == "f8E4M3FN":
            return np.append(F8, INF)[np.searchsorted(F8, near)]
        half = near.astype(np.float16)
        return np.where(half < near, np.nextafter(half, np.float16(INF)), half).astype(
            np.float64
        )


# ===----------------------------------------------------------------------===#
# Cases
# ===----------------------------------------------------------------------===#


class Sketch:
    """A format: bits, group, clauses, types of scales and norms; a head dimension."""

    def __init__(self, dim, bits, group, clauses, scales, norms):
        self.bits, self.group, self.clauses = bits, group, clauses
        self.scales, self.norms, self.dim = scales, norms, dim
        self.groups = -(-dim // group)
        self.padded = self.groups * group
        self.centred, self.per_token = "centre" in clauses, "norm = token" in clauses
        self.turn = np.eye(self.padded)
        first = 0
        while "rotation" in clauses and first < self.padded:
            size = 1 << ((self.padded - first).bit_length() - 1)
            block = np.ones((1, 1))
            while len(block) < size:
                block = np.block([[block, block], [block, -block]])
            self.turn[first : first + size, first : first + size] = block / size**0.5
            first += size

    def text(self):
        return f"<bits = {self.bits}, group = {self.group}{self.clauses}>"

    def parts(self, kv, size, dtype):
        """Types and shapes, but for the number of pages."""
        codes = self.padded * self.bits // 8
        norms = (kv, size) if self.per_token else (kv, size, self.groups)
        made = [
            ("i8", (kv, size, codes)),
            (self.scales, (kv, size, self.groups)),
            (self.norms, norms),
        ]
        return made + [(dtype, (kv, self.dim))] * self.centred

    def unpack(self, codes):
        """Numbers of cells, from their planes."""
        found = np.zeros((*codes.shape[:-1], self.padded), np.int64)
        left, first = self.bits, 0
        for width in (8, 4, 2, 1):
            if left < width:
                continue
            left -= width
            size = self.padded * width // 8
            for part in range(8 // width):
                bits = codes[..., first : first + size].astype(np.int64) >> part * width
                at = slice(part * size, (part + 1) * size)
                found[..., at] |= (bits & ((1 << width) - 1)) << left
            first += size
        return found


def draw_cases():
    base = {
        "op": "summarize",
        "dims": (128, 128),
        "page_size": 16,
        "dtype": "bf16",
        "layout": "hnd",
        "summary": None,
        "summary_type": None,
        "norms": False,
        "sketch": None,
        "moments": False,
        "rows": False,
    }
    turned = ", rotation = hadamard"
    usual = (4, 32, turned + ", norm = token", "f8E4M3FN", "i8")
    everything = {"summary": "mean_std", "norms": True, "sketch": usual}
    for op in ("summarize", "append"):
        base["op"] = op
        for kind, dtype in itertools.product(PARTS, ("bf16", "f16", "f32")):
            yield {**base, "summary": kind, "dtype": dtype, "norms": kind != "box"}
        yield {**base, "summary": "mean", "summary_type": "f32"}
        yield {**base, "summary": "ball", "summary_type": "f32", "layout": "nhd"}
        for bits, group in itertools.product((2, 3, 4, 5, 6, 8), (16, 32, 64, 128)):
            clauses = usual[2] if bits % 2 else turned
            norms = ("i8", "f16", "f8E4M3FN")[(bits + group // 32) % 3]
            scales = ("f16", "f8E4M3FN")[bits // 2 % 2]
            yield {**base, "sketch": (bits, group, clauses, scales, norms)}
        for norms, clauses in itertools.product(("i8", "f8E4M3FN"), ("", usual[2])):
            yield {**base, "sketch": (4, 32, ", centre = page" + clauses, "f16", norms)}
        yield {**base, "summary": "box", "sketch": (4, 32, ", centre = page", "f16", "f16")}
        for dim, value_dim in ((64, 64), (96, 40), (20, 128), (80, 72), (576, 512), (7, 3)):
            yield {**base, **everything, "dims": (dim, value_dim)}
        for size, dtype in ((1, "bf16"), (5, "f16"), (64, "bf16"), (100, "f32")):
            yield {**base, **everything, "page_size": size, "dtype": dtype}
        yield {**base, **everything, "layout": "nhd", "dtype": "f32"}
        for size in (3, 16):
            centred = (5, 64, turned + ", centre = page", "f8E4M3FN", "f16")
            more = {"page_size": size, "rows": True}
            yield {**base, **everything, **more, "layout": "nhd"}
            yield {**base, "summary": "ball", "norms": True, "sketch": centred, **more}
        for bits, group, dim in ((2, 16, 64), (3, 32, 80), (4, 64, 96), (8, 128, 200)):
            clauses = (turned, usual[2])[bits // 2 % 2]
            norms = ("f16", "i8", "f8E4M3FN", "i8")[bits // 2 % 4]
            sketched = {"sketch": (bits, group, clauses, "f16", norms), "moments": True}
            yield {**base, **sketched, "dims": (dim, 8), "dtype": "f32"}
            yield {**base, **sketched, "dims": (dim, 8), "rows": True, "page_size": 5}
        for dtype, layout in (("f16", "nhd"), ("bf16", "hnd"), ("f32", "nhd")):
            centred = (4, 32, turned + ", centre = page", "f8E4M3FN", "f16")
            more = {"dtype": dtype, "layout": layout, "moments": True, "rows": True}
            yield {**base, **everything, **more}
            yield {**base, "sketch": centred, **more}
            yield {**base, "sketch": centred, **more, "rows": False, "dims": (64, 64)}
    # Nothing kept: a copy alone.
    yield base


KV = 2


def parts_of(case):
    """What is kept: names, types and shapes but for the number of pages; clauses."""
    size, dtype, (dim, _) = case["page_size"], case["dtype"], case["dims"]
    parts, clauses = [], ""
    kind = case["summary"]
    if kind:
        of = case["summary_type"] or dtype
        second = ("f32", (KV,)) if kind == "ball" else (of, (KV, dim))
        made = [(of, (KV, dim)), second][: PARTS[kind]]
        parts += [(f"summary{i}", *part) for i, part in enumerate(made)]
        clauses += f" summary <{kind}>({', '.join(f'%{p[0]}' for p in parts)})"
    if case["norms"]:
        parts.append(("norms", "f32", (KV, 2)))
        clauses += " norms(%norms)"
    if case["sketch"]:
        sketch = Sketch(dim, *case["sketch"])
        made = sketch.parts(KV, size, dtype)
        names = ("codes", "scales", "residuals", "centre")
        named = [(name, *part) for name, part in zip(names, made)]
        parts += named
        listed = ", ".join(f"%{part[0]}" for part in named)
        clauses += f" sketch {sketch.text()}({listed})"
    if case["moments"]:
        parts.append(("moments", "f32", (KV, sketch.padded, sketch.padded)))
        clauses += " moments(%moments)"
    return parts, clauses


def text_of(name, case):
    size, dtype = case["page_size"], case["dtype"]
    order = f"{KV}x{size}" if case["layout"] == "hnd" else f"{size}x{KV}"
    caches = {n: f"tensor<?x{order}x{d}x{dtype}>" for n, d in zip("kv", case["dims"])}
    parts, clauses = parts_of(case)
    kept = {
        n: f"tensor<?x{''.join(f'{size}x' for size in shape)}{of}>" for n, of, shape in parts
    }
    table, rows = {"table": "tensor<?x?xi32>"}, {"rows": "tensor<?xi32>"}
    rows = rows if case["rows"] else {}
    row_clause = " rows(%rows)" if rows else ""
    if case["op"] == "append":
        new = {n: f"tensor<?x{KV}x{d}x{dtype}>" for n, d in zip(("key", "value"), case["dims"])}
        types = {**new, "at": "tensor<?xi32>", **table, **rows, **caches, **kept}
        head = f"append key(%key) value(%value) at(%at) table(%table){row_clause} into(%k, %v)"
        results = {**caches, **kept}
    else:
        caches = caches if case["norms"] else {"k": caches["k"]}
        types = {**caches, **table, "lens": "tensor<?xi32>", **rows, **kept}
        values = " values(%v)" if case["norms"] else ""
        head = f"summarize keys(%k){values} table(%table) lens(%lens){row_clause}"
        results = kept
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    of = ", ".join(results.values())
    used = ", ".join(f"%r#{i}" if len(results) > 1 else "%r" for i in range(len(results)))
    named = f"%r:{len(results)}" if len(results) > 1 else "%r"
    return f"""
func.func @{name}({arguments}) -> ({of}) {{
  {named} = vashista.{head}{clauses} layout {case["layout"]}
      : ({", ".join(types.values())}) -> ({of})
  return {used} : {of}
}}"""


# ===----------------------------------------------------------------------===#
# Trials
# ===----------------------------------------------------------------------===#


class Pool:
    """Sequences in pages in any order, some of which they share, and what is in them.
    Whatever is not visible is of any bits, or no page at all."""

    def __init__(self, case, number, rng):
        self.case, self.rng = case, rng
        self.kind = number % 3
        size = case["page_size"]
        lens = rng.integers(1, 5 * size + 1, 4)
        if self.kind == 1:
            lens[:2] = 0, rng.integers(1, size + 1)
        # The last sequence begins as the first one, and may end in one of its pages.
        lens[3] = min(lens[3], lens[0])
        need = -(-lens // size)
        self.num_pages = int(need[:3].sum()) + 2
        order = rng.permutation(self.num_pages)
        self.table = np.full((4, 5), 2**31 - 1, np.int32)
        for b, first in enumerate(np.cumsum(need[:3]) - need[:3]):
            self.table[b, : need[b]] = order[first : first + need[b]]
        self.table[3, : need[3]] = self.table[0, : need[3]]
        self.sequences, self.lens = np.arange(4, dtype=np.int32), lens.astype(np.int32)
        if case["rows"]:
            self.sequences = np.array([1, 0, 2, 1, 3, 1, 0], np.int32)
            self.lens = self.lens[self.sequences]
            self.lens[3:] -= rng.integers(0, size + 2, 4).astype(np.int32)
            self.lens = np.maximum(self.lens, 0)
        shape = (self.num_pages, KV, size)
        self.caches = [self.draw((*shape, dim)) for dim in case["dims"]]
        # All are of pages but moments, which are of sequences.
        self.parts = [
            (name, Buffer.any(of, (4 if name == "moments" else self.num_pages, *rest), rng))
            for name, of, rest in parts_of(case)[0]
        ]

    def draw(self, shape):
        """Keys or values: numbers of a trial's kind."""
        rng, dtype = self.rng, self.case["dtype"]
        x = rng.standard_normal(shape) * rng.choice([0.1, 1, 10])
        x[..., :3] *= 8
        if self.kind == 1:
            x += rng.choice([0, 50], shape[-1])
        if self.kind == 2:
            tiny, huge = (6e-8, 6e4) if dtype == "f16" else (1e-40, 3e38)
            which = rng.integers(0, 12, shape[:-1])
            x[which == 0] = 0
            x[which == 1] *= tiny / 10
            x[which == 2] *= huge / 1e3
            x[which == 3, rng.integers(shape[-1])] = huge
            x[which == 4, rng.integers(shape[-1])] = rng.choice([INF, -INF, np.nan])
            x[which == 5] = np.sign(x[which == 5])
        return Buffer.of(dtype, x)

    def laid(self, cache):
        """A cache as the op has it, and its bits back."""
        if self.case["layout"] == "hnd":
            return cache.copy()
        return Buffer(cache.dtype, np.ascontiguousarray(cache.bits.swapaxes(1, 2)))


class Expected:
    """After an op: tokens of each page, of which what is kept tells; tokens that are
    sketched; caches."""

    def __init__(self, pool):
        size = pool.case["page_size"]
        self.count = np.zeros(pool.num_pages, int)
        self.sketched = np.zeros((pool.num_pages, size), bool)
        self.unknown = np.zeros((pool.num_pages, size), bool)
        # Of each sequence: tokens, as pages and slots, that its moments are of; what was
        # there before, unless nothing; whether that is all that has been counted.
        self.counted = [set() for _ in pool.table]
        self.before = [0.0] * len(pool.table)
        self.is_all = [True] * len(pool.table)
        self.caches = [cache.copy() for cache in pool.caches]


def run_summarize(pool, entry):
    case, size, expected = pool.case, pool.case["page_size"], Expected(pool)
    for sequence, length in zip(pool.sequences, pool.lens):
        for i in range(-(-length // size)):
            page, n = pool.table[sequence, i], min(size, length - i * size)
            expected.count[page] = max(expected.count[page], n)
            expected.counted[sequence] |= {(page, slot) for slot in range(n)}
    expected.sketched[:] = np.arange(size) < expected.count[:, None]
    caches = []
    for cache in pool.caches[: 1 + case["norms"]]:
        # What no row sees: any bits.
        hidden = Buffer.any(cache.dtype, cache.bits.shape, pool.rng)
        seen = expected.sketched[:, None, :, None]
        caches.append(pool.laid(Buffer(cache.dtype, np.where(seen, cache.bits, hidden.bits))))
    rows = [pool.sequences] if case["rows"] else []

    def call():
        parts = [part.copy() for _, part in pool.parts]
        given = [cache.given() for cache in caches] + [pool.table, pool.lens, *rows]
        entry(*given, *(part.given() for part in parts), checked=False)
        return parts

    return expected, call


def count_again(expected, sequence, page, slots, changed):
    """Sequences have counted other sketches than those that are changed; one counts what
    is sketched."""
    tokens = {(page, slot) for slot in changed}
    for other, counted in enumerate(expected.counted):
        if counted & tokens:
            counted -= tokens
            expected.is_all[other] = False
    expected.counted[sequence] |= {(page, slot) for slot in slots}


def run_append(pool, entry):
    case, size, expected, rng = pool.case, pool.case["page_size"], Expected(pool), pool.rng
    positions = pool.lens - 1  # -1 of an empty sequence: nothing is written
    if pool.kind == 1:
        positions[rng.integers(len(positions))] = -1
    # A page again from its first token on.
    again = rng.integers(len(positions))
    if positions[again] >= 0:
        positions[again] -= positions[again] % size
    positions = positions.astype(np.int32)
    new = [pool.draw((len(positions), KV, dim)) for dim in case["dims"]]
    if case["moments"]:
        # Of any bits only where a sequence begins.
        moments = dict(pool.parts)["moments"]
        of = rng.standard_normal((*moments.bits.shape[:3], 6))
        some = of @ of.swapaxes(-1, -2) + 0.01 * np.eye(of.shape[2])
        some = Buffer.of("f32", (some + some.swapaxes(-1, -2)) / 2)
        for sequence in range(len(pool.table)):
            first = positions[(pool.sequences == sequence) & (positions >= 0)][:1]
            if first.size and first[0] > 0:
                moments.bits[sequence] = some.bits[sequence]
                expected.before[sequence] = some.numbers()[sequence]
    for row, (sequence, position) in enumerate(zip(pool.sequences, positions)):
        if position < 0:
            continue
        page, token = pool.table[sequence, position // size], position % size
        for cache, x in zip(expected.caches, new):
            cache.bits[page, :, token] = x.bits[row]
        expected.count[page] = token + 1
        if position == 0:
            expected.counted[sequence] = set()
            expected.before[sequence], expected.is_all[sequence] = 0.0, True
        centred = case["sketch"] and "centre" in case["sketch"][2]
        # A centre is of all tokens of a page.
        slots = range(0 if centred else token, token + 1)
        changed = range(size) if centred else slots
        count_again(expected, sequence, page, slots, changed)
        if centred:
            # Later tokens have the sketch of an earlier centre.
            expected.unknown[page] |= expected.sketched[page]
            expected.sketched[page] = np.arange(size) <= token
        expected.sketched[page, token] = True
    rows = [pool.sequences] if case["rows"] else []

    def call():
        written = [pool.laid(cache) for cache in pool.caches]
        written += [part.copy() for _, part in pool.parts]
        given = [x.given() for x in new] + [positions, pool.table, *rows]
        entry(*given, *(part.given() for part in written), checked=False)
        return written

    return expected, call


# ===----------------------------------------------------------------------===#
# Checks
# ===----------------------------------------------------------------------===#


def check_bound(got, truth, dtype="f32"):
    """Of numbers that bound: whether they do, and whether they are no larger than that
    takes."""
    known = truth < INF
    sound = np.where(known, got >= truth * (1 - 2.0**-40), np.logical_not(got < INF))
    # As much again as is rounded up, and what is added for what f64 has lost.
    room = truth * (1 + 2.0**-20) + 2.0**-148 * (truth > 0)
    most = room if dtype == "f32" else round_up(room, dtype)
    return sound.all(), np.logical_not(np.logical_and(known, got > most)).all()


def check_mean(got, keys, of):
    """A sum of f32 in any order, divided and rounded."""
    with np.errstate(all="ignore"):
        truth, sizes = keys.mean(0), np.abs(keys).sum(0)
        unit, least = ROUNDING[of]
        room = (2 * len(keys) + 4) * 2.0**-24 * sizes / len(keys) + 2.0**-148
        near = np.abs(got - truth) <= room + unit * (np.abs(truth) + room) + least
        finite = np.isfinite(keys).all(0)
        # Sums that overflow on the way may be anything.
        return np.where(finite, near | ~(sizes < 1e38), ~np.isfinite(got)).all()


def check_deviation(got, keys, of):
    with np.errstate(all="ignore"):
        truth, sizes = keys.std(0), np.abs(keys).sum(0) / len(keys)
        unit, least = ROUNDING[of]
        room = (2 * len(keys) + 8) * 2.0**-24 * (sizes + truth) + 1e-21
        near = np.abs(got - truth) <= room + unit * (truth + room) + least
        # Squares may overflow.
        tame = np.isfinite(keys).all(0) & (np.abs(keys).max(0) < 1e18)
        return (near | ~tame).all()


def check_page(case, parts, page, head, keys, values):
    """Of the summary and the norms of a page. Yields what is wrong."""
    kind, of = case["summary"], case["summary_type"] or case["dtype"]
    if kind:
        first = parts["summary0"].numbers()[page, head]
        second = parts["summary1"].numbers()[page, head] if PARTS[kind] > 1 else None
    if kind == "box":
        truth = keys.min(0), keys.max(0)
        if not np.array_equal([first, second], truth, equal_nan=True):
            yield "a box is wrong"
    elif kind and not check_mean(first, keys, of):
        yield "a mean is wrong"
    if kind == "mean_std" and not check_deviation(second, keys, of):
        yield "a deviation is wrong"
    bounds = []
    if kind == "ball":
        with np.errstate(invalid="ignore"):
            bounds.append(("radius", second, np.linalg.norm(keys - first, axis=1)))
    if case["norms"]:
        norms = parts["norms"].numbers()[page, head]
        for name, got, x in zip(("key norm", "value norm"), norms, (keys, values)):
            bounds.append((name, got, np.linalg.norm(x, axis=1)))
    for name, got, sizes in bounds:
        truth = sizes.max()
        sound, tight = check_bound(got, INF if np.isnan(truth) else truth)
        if not sound:
            yield f"a {name} is {got!r}, below {truth!r}"
        if not tight:
            yield f"a {name} is {got!r}, far above {truth!r}"


def leave(x, scale, cells):
    """What quantising leaves of groups, by a scale each."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        cell = np.clip(np.floor(np.abs(x) / scale[..., None]), 0, cells - 1) + 0.5
        left = np.linalg.norm(np.abs(x) - cell * scale[..., None], axis=-1)
    return np.where((scale > 0) & (scale < INF), left, np.linalg.norm(x, axis=-1))


def check_sketch(case, parts, page, head, tokens, keys):
    """Of some tokens of a page. Yields what is wrong."""
    sketch = Sketch(case["dims"][0], *case["sketch"])
    at = (page, head, tokens)
    bytes_ = parts["codes"].bits[at]
    scales, norms = parts["scales"].numbers()[at], parts["residuals"].numbers()[at]
    if sketch.centred:
        with np.errstate(invalid="ignore"):
            keys = keys - parts["centre"].numbers()[page, head]
    known = np.isfinite(keys).all(1)
    if bytes_[~known].any() or scales[~known].any():
        yield "a key that is not finite is coded"
    infinite = norms == 255 if sketch.norms == "i8" else ~(norms < INF)
    if not infinite[~known].all():
        yield "a residual norm of a key that is not finite is finite"
    keys, scales, norms = keys[known], scales[known], norms[known]
    infinite, codes = infinite[known], sketch.unpack(bytes_[known])
    padded = np.zeros((len(keys), sketch.padded))
    padded[:, : keys.shape[1]] = keys
    groups = (len(keys), sketch.groups, sketch.group)
    x = (padded @ sketch.turn).reshape(groups)
    cells = 2.0 ** (sketch.bits - 1)
    decoded = (codes - (2**sketch.bits - 1) / 2).reshape(groups) * scales[..., None]
    left = np.linalg.norm(x - decoded, axis=-1)
    sizes = np.linalg.norm(keys, axis=1)[:, None]
    # Which scale is the best, of those that the format can hold.
    largest = np.abs(x).max(-1)
    best = np.linalg.norm(x, axis=-1)
    for share in SHARES:
        best = np.minimum(best, leave(x, round_up(largest * share / cells, sketch.scales), cells))
    if not (left <= 1.01 * best + 2.0**-40 * sizes).all():
        yield "a scale is not the best of those that are tried"
    most = scales * sketch.group**0.5 / 2
    if sketch.per_token:
        left, most = np.linalg.norm(left, axis=1), np.linalg.norm(most, axis=1)
        sizes = sizes[:, 0]
    slack = 2.0**-44 * sizes
    if sketch.norms == "i8":
        got = np.where(infinite, INF, norms * most / 254)
        steps = np.ceil((left + slack) * (1 + 2.0**-38) / np.where(most > 0, most, 1) * 254)
        steps = np.where((left + slack > 0) & ((most == 0) | (steps > 254)), INF, steps)
        tight = (norms <= steps).all()
        sound = (got >= left * (1 - 2.0**-40) - slack).all()
    else:
        got = np.where(infinite, INF, norms)
        sound = (got >= left * (1 - 2.0**-40) - slack).all()
        tight = check_bound(got, left + slack, sketch.norms)[1]
    if not sound:
        yield "a residual norm is below what is left"
    if not tight:
        yield "a residual norm is far above what is left"


def get_moment(case, parts, caches, head, counted, share_of_centre=1):
    """The least second moment of sketched tokens. A GPU bounds the square of what codes
    and a centre are rounded by, together, by twice the sum of their squares."""
    sketch = Sketch(case["dims"][0], *case["sketch"])
    at = np.array(sorted(counted), int).reshape(-1, 2).T
    at = (at[0], head, at[1])
    keys, scales = caches[0].numbers()[at], parts["scales"].numbers()[at]
    norms = parts["residuals"].numbers()[at]
    norms = norms.reshape(len(keys), 1 if sketch.per_token else sketch.groups)
    finite = norms != 255 if sketch.norms == "i8" else norms < INF
    known = finite.all(1)
    centre = np.zeros((len(keys), sketch.dim))
    if sketch.centred:
        centre = parts["centre"].numbers()[at[0], head]
    x = np.zeros((known.sum(), sketch.padded))
    x[:, : sketch.dim] = (keys - centre)[known] if known.any() else 0
    middle = (2**sketch.bits - 1) / 2
    codes = sketch.unpack(parts["codes"].bits[at])[known] - middle
    decoded = codes * np.repeat(scales[known], sketch.group, axis=1)
    left = x @ sketch.turn - decoded
    off = sketch.padded**0.5 * 2.0**-16 + (sketch.padded + 8) * 2.0**-22
    room = off * np.linalg.norm(decoded, axis=1)
    room += (sketch.dim + 8) * 2.0**-22 * np.linalg.norm(centre[known], axis=1)
    share = 2.0**-5
    made = (1 + share) * left.T @ left
    rounded = (share_of_centre if sketch.centred else 1) * (room @ room)
    return made + (1 + 1 / share) * rounded * np.eye(sketch.padded)


def check_moments(case, parts, before, expected):
    """Yields what is wrong."""
    after = parts["moments"]
    for sequence, counted in enumerate(expected.counted):
        if not counted and np.ndim(expected.before[sequence]) == 0 and expected.is_all[sequence]:
            if not np.array_equal(after.bits[sequence], before.bits[sequence]):
                yield f"moments of sequence {sequence} are written and must not be"
            continue
        for head in range(KV):
            where = f"the moment of sequence {sequence}, head {head},"
            bits, got = after.bits[sequence, head], after.numbers()[sequence, head]
            if not np.array_equal(bits, bits.T):
                yield f"{where} is not symmetric"
            of_these = case, parts, expected.caches, head, counted
            with np.errstate(all="ignore"):
                least, most = get_moment(*of_these), get_moment(*of_these, 2)
            if np.ndim(expected.before[sequence]):
                least += expected.before[sequence][head]
                most += expected.before[sequence][head]
            trace = np.trace(most)
            if not trace < 1e38:
                continue
            # What is counted no more may have been anything.
            if not np.isfinite(got).all():
                if expected.is_all[sequence]:
                    yield f"{where} is not finite"
                continue
            room = 2.0**-30 * (trace + np.trace(got))
            if not np.linalg.eigvalsh(got - least)[0] >= -room:
                yield f"{where} is below that of its tokens"
            # A GPU's squares are f32: 2^-100 is added for what they lose.
            tiny = len(got) * 2.0**-99
            if expected.is_all[sequence] and not np.trace(got) <= 1.1 * trace + tiny:
                yield f"{where} has a trace of {np.trace(got)!r}, far above {trace!r}"


def judge(case, entry, number, rng):
    """Yields what is wrong."""
    pool = Pool(case, number, rng)
    run = run_append if case["op"] == "append" else run_summarize
    expected, call = run(pool, entry)
    made, again = call(), call()
    if any(x.bits.tobytes() != y.bits.tobytes() for x, y in zip(made, again)):
        yield "another result when repeated"
    if case["op"] == "append":
        for name, got, cache in zip("kv", made, expected.caches):
            if not np.array_equal(got.bits, pool.laid(cache).bits):
                yield f"the cache '{name}' is not what was appended"
        made = made[2:]
    parts = {name: part for (name, _), part in zip(pool.parts, made)}
    touched = expected.count > 0
    if case["moments"]:
        before = dict(pool.parts)["moments"]
        yield from check_moments(case, parts, before, expected)
    for (name, before), after in zip(pool.parts, made):
        if name == "moments":
            continue
        is_free = ~touched
        if name in ("codes", "scales", "residuals"):
            is_free = ~(expected.sketched | expected.unknown)
            shape = (before.bits.shape[0], before.bits.shape[2])
            assert is_free.shape == shape
            before, after = before.bits.swapaxes(1, 2), after.bits.swapaxes(1, 2)
        else:
            before, after = before.bits, after.bits
        if not np.array_equal(before[is_free], after[is_free]):
            yield f"'{name}' is written where it must not be"
    keys, values = (cache.numbers() for cache in expected.caches)
    for page, head in itertools.product(np.flatnonzero(touched), range(KV)):
        where, n = f"page {page}, head {head}", expected.count[page]
        seen = keys[page, head, :n], values[page, head, :n]
        for wrong in check_page(case, parts, page, head, *seen):
            yield f"{where}: {wrong}"
        if case["sketch"]:
            tokens = np.flatnonzero(expected.sketched[page])
            for wrong in check_sketch(case, parts, page, head, tokens, keys[page, head, tokens]):
                yield f"{where}: {wrong}"


def main():
    cases = [
        (f"{case['op']}{i}", case, text_of, judge) for i, case in enumerate(draw_cases())
    ]
    return judge_all(__doc__.splitlines()[0], cases)


if __name__ == "__main__":
    sys.exit(main())
