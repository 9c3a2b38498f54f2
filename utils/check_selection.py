#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares compiled scores and picks with float64, over formats and lists, on a GPU.

Of a `score` from a key sketch: bounds must hold for the exact logits, and scores be
no further from these than from their bounds. Of one from summaries or keys: scores
must be what the stored numbers come to, but for rounding, and bounds not below. Of a
`pick`: lists must be what float64
picks, but for slots that rounding could rank either way, and tails must bound what is
left, by no more than rounding. Whatever is not visible is NaN. Every call is repeated
and must give the same bits. Exits with 1 after a failure.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import itertools
import sys

import numpy as np

from check_attend import stored
from judge_cases import judge_all

INF = np.inf

# ===----------------------------------------------------------------------===#
# Scores
# ===----------------------------------------------------------------------===#


LISTED = 9  # pages of a list


def list_clauses(case, kv):
    """Types of optional lists of a `score`, and how they are given."""
    lists, clauses = {}, ""
    if case["rows"]:
        lists["rows"] = "tensor<?xi32>"
        clauses += " rows(%rows)"
    if case["within"]:
        lists["pages"] = f"tensor<?x{kv}x{LISTED}xi32>"
        lists["n"] = f"tensor<?x{kv}xi32>"
        clauses += " within(%pages, %n)"
    return lists, clauses


class Batch:
    """Sequences in pages in any order, and the rows and lists of a case. Table and
    lists say nothing of what is not visible. `longest`: of the last sequence at least,
    in place of lengths up to 3000."""

    @staticmethod
    def width(size, longest=0):
        """Of the table, for pages of a size."""
        return -(-max(3000, longest + 1000) // size) + 1

    def __init__(self, case, number, rng):
        (_, kv), self.size = case["heads"], case["page_size"]
        lens = rng.integers(1, 3000, 3).astype(np.int32)
        longest = case.get("longest", 0)
        if longest:
            lens[2] = longest + rng.integers(0, 1000)
        if number % 2:
            lens[:2] = 0, rng.integers(1, 40)
        self.seq_lens, need = lens, -(-lens // self.size)
        self.num_pages = need.sum() + 1
        width = self.width(self.size, longest)
        self.table = np.full((3, width), 2**31 - 1, np.int32)
        order = iter(rng.permutation(self.num_pages))
        for b in range(3):
            for p in range(need[b]):
                self.table[b, p] = next(order)
        self.lens, self.sequences = lens, np.arange(3, dtype=np.int32)
        self.lists, self.pages = [], None
        if case["rows"]:
            self.sequences = np.array([2, 0, 1, 2], np.int32)
            self.lens = lens[self.sequences]
            self.lens[3] //= 2
            self.lists.append(self.sequences)
        if case["within"]:
            pages = np.full((len(self.lens), kv, LISTED), 2**31 - 1, np.int32)
            n = rng.integers(0, LISTED + 1, pages.shape[:2]).astype(np.int32)
            for row, head in np.ndindex(*n.shape):
                most = max(-(-self.lens[row] // self.size), LISTED)
                pages[row, head, : n[row, head]] = rng.permutation(most)[: n[row, head]]
                if n[row, head] > 3:
                    pages[row, head, 1] = -1
            self.pages, self.count = pages, n
            self.lists += [pages, n]

    def place(self, row, kv_head, slots):
        """Of slots of tokens: whether they are visible; pages and slots of those
        that are."""
        at, size = slots, self.size
        if self.pages is not None:
            listed = self.pages[row, kv_head][slots // size].astype(np.int64)
            at = np.where(listed < 0, -1, listed * size + slots % size)
            at[slots >= self.count[row, kv_head] * size] = -1
        visible = (at >= 0) & (at < self.lens[row])
        at = at[visible]
        return visible, self.table[self.sequences[row], at // size], at % size


def draw_scans():
    base = {
        "heads": (8, 2),
        "dim": 128,
        "page_size": 16,
        "bits": 4,
        "group": 32,
        "sketch": ", rotation = hadamard, norm = token",
        "scales": "f8E4M3FN",
        "norms": "i8",
        "dtype": "bf16",
        "cap": "",
        "within": False,
        "rows": False,
    }
    for bits, group in itertools.product((2, 3, 4, 5, 6, 8), (32, 64, 128)):
        yield {**base, "bits": bits, "group": group}
    for heads in ((2, 2), (6, 2), (10, 2), (32, 2)):
        yield {**base, "heads": heads}
    for norms in ("f8E4M3FN", "f16"):
        yield {**base, "norms": norms, "sketch": ", rotation = hadamard"}
        yield {**base, "norms": norms, "scales": "f16"}
    yield {**base, "sketch": ""}
    for dim, bits in (
        *((64, 4), (64, 5), (96, 6), (256, 4), (80, 4), (80, 8), (288, 8)),
        # Planes that the channels of a product lie in no whole parts of.
        *((32, 5), (96, 3), (96, 5), (160, 5), (192, 5)),
    ):
        yield {**base, "dim": dim, "bits": bits}
    for size in (1, 5, 64):
        yield {**base, "page_size": size, "within": size == 5}
    yield {**base, "within": True, "cap": "soft_cap 20.0", "dtype": "f16"}
    yield {**base, "rows": True, "dtype": "f32"}
    # Without a kernel of tensor cores.
    yield {**base, "sketch": ", centre = page"}
    yield {**base, "group": 16}
    # Pages so small that warps of a block have several KV heads.
    for heads, size in (((16, 4), 1), ((12, 6), 2), ((40, 4), 3)):
        yield {**base, "heads": heads, "page_size": size}


def scan_text(name, case):
    (heads, kv), dim, size = case["heads"], case["dim"], case["page_size"]
    groups = -(-dim // case["group"])
    per_token = "norm = token" in case["sketch"]
    dtype = case["dtype"]
    types = {
        "q": f"tensor<?x{heads}x{dim}x{dtype}>",
        "k": f"tensor<?x{kv}x{size}x{dim}x{dtype}>",
        "table": "tensor<?x?xi32>",
        "lens": "tensor<?xi32>",
        "seq_lens": "tensor<?xi32>",
    }
    norms = f"{size}x" if per_token else f"{size}x{groups}x"
    parts = {
        "codes": f"tensor<?x{kv}x{size}x{groups * case['group'] * case['bits'] // 8}xi8>",
        "scales": f"tensor<?x{kv}x{size}x{groups}x{case['scales']}>",
        "norms": f"tensor<?x{kv}x{norms}{case['norms']}>",
    }
    if "centre" in case["sketch"]:
        parts["centre"] = f"tensor<?x{kv}x{dim}x{dtype}>"
    lists, clauses = list_clauses(case, kv)
    types.update(lists)
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    made = "\n".join(
        f"  %{n}_any = tensor.empty(%pool) : {of}" for n, of in parts.items()
    )
    outs = ", ".join(f"%{n}_any" for n in parts)
    results = ", ".join(parts.values())
    sketch = f"<bits = {case['bits']}, group = {case['group']}{case['sketch']}>"
    width = LISTED * size if case["within"] else "?"
    score = f"tensor<?x{heads}x{width}xf32>"
    used = ", ".join(f"%s#{i}" for i in range(len(parts)))
    operands = [types["q"], *parts.values(), types["table"], types["lens"]]
    return f"""
func.func @{name}({arguments}) -> ({score}, {score}) {{
  %c0 = arith.constant 0 : index
  %pool = tensor.dim %k, %c0 : {types["k"]}
{made}
  %s:{len(parts)} = vashista.summarize keys(%k) table(%table) lens(%seq_lens)
      sketch {sketch}({outs})
      : ({types["k"]}, {types["table"]}, {types["lens"]}, {results}) -> ({results})
  %x:2 = vashista.score %q from #vashista.sketch{sketch}({used}) table(%table)
      lens(%lens){clauses} scale {dim**-0.5:.9e} {case["cap"]}
      : ({", ".join(operands + list(lists.values()))}) -> ({score}, {score})
  return %x#0, %x#1 : {score}, {score}
}}"""


def is_repeatable(entry, arguments):
    """The results of an entry, and whether they are so again."""
    found = entry(*arguments, checked=False)
    again = entry(*arguments, checked=False)
    return found, all(x.tobytes() == y.tobytes() for x, y in zip(found, again))


def judge_scan(case, entry, number, rng):
    """Yields what is wrong."""
    (heads, kv), dim = case["heads"], case["dim"]
    batch = Batch(case, number, rng)
    size, lens, table = batch.size, batch.lens, batch.table
    k = np.full((batch.num_pages, kv, size, dim), np.nan)
    for b, length in enumerate(batch.seq_lens):
        for p in range(-(-length // size)):
            n = min(size, length - p * size)
            k[table[b, p], :, :n] = rng.standard_normal((kv, n, dim))
            k[table[b, p], :, :n, :3] *= 8
    q = (1 + 3 * (number % 3)) * rng.standard_normal((len(lens), heads, dim))
    (q, exact_q), (k, exact_k) = stored(q, case["dtype"]), stored(k, case["dtype"])
    arguments = [q, k, table, lens, batch.seq_lens, *batch.lists]
    (scores, bounds), is_same = is_repeatable(entry, arguments)
    if not is_same:
        yield "another result when repeated"
    slots = np.arange(scores.shape[2])
    for row, head in np.ndindex(len(lens), heads):
        kv_head = head // (heads // kv)
        visible, page, slot = batch.place(row, kv_head, slots)
        x, bound = scores[row, head], bounds[row, head]
        if (x[~visible] != -INF).any() or (bound[~visible] != -INF).any():
            yield f"row {row}, head {head}: a slot is visible that must not be"
        keys = exact_k[page, kv_head, slot]
        truth = keys @ exact_q[row, head] * np.float64(np.float32(dim**-0.5))
        slack = (bound[visible] - x[visible]).astype(np.float64)
        if case["cap"]:
            truth = 20 * np.tanh(truth / 20)
        if not (bound[visible] >= truth).all():
            yield f"row {row}, head {head}: a bound is too low"
        if not case["cap"] and not (truth >= x[visible] - slack - 1e-5).all():
            yield f"row {row}, head {head}: a score is further off than its bound"
        # A residual is at most half a step in each channel.
        norm = np.linalg.norm(exact_q[row, head]) * np.linalg.norm(keys, axis=-1)
        most = norm * dim**-0.5 * 4 / (2 ** case["bits"] - 1) + 1e-4
        if not (slack <= 2 * most).all():
            yield f"row {row}, head {head}: a bound is far too high"


def draw_sources():
    base = {
        "source": "keys",
        "heads": (8, 2),
        "dim": 128,
        "page_size": 16,
        "dtype": "bf16",
        "layout": "hnd",
        "cap": "",
        "within": False,
        "rows": False,
    }
    kinds = ("keys", "mean", "mean_std", "box", "ball")
    for source, heads in itertools.product(kinds, ((2, 2), (8, 2), (20, 2))):
        yield {**base, "source": source, "heads": heads}
    for source, dim in itertools.product(kinds, (40, 64, 96, 256, 576)):
        yield {**base, "source": source, "dim": dim}
    for source, dtype in itertools.product(kinds, ("f16", "f32")):
        yield {**base, "source": source, "dtype": dtype, "cap": "soft_cap 20.0"}
    for size in (1, 5, 64):
        yield {**base, "page_size": size, "within": size == 5, "rows": size == 1}
        yield {**base, "source": "mean_std", "page_size": size, "rows": size == 5}
    yield {**base, "within": True, "layout": "nhd"}
    # Without a kernel of its own.
    yield {**base, "dim": 20}


def source_text(name, case):
    (heads, kv), dim, size = case["heads"], case["dim"], case["page_size"]
    dtype, kind = case["dtype"], case["source"]
    types = {"q": f"tensor<?x{heads}x{dim}x{dtype}>"}
    summary = f"tensor<?x{kv}x{dim}x{dtype}>"
    if kind == "keys":
        order = (kv, size) if case["layout"] == "hnd" else (size, kv)
        parts = {"k": f"tensor<?x{order[0]}x{order[1]}x{dim}x{dtype}>"}
        source, width = (
            f"keys<{case['layout']}>",
            LISTED * size if case["within"] else "?",
        )
    else:
        parts = {"first": summary}
        if kind != "mean":
            parts["second"] = f"tensor<?x{kv}xf32>" if kind == "ball" else summary
        source, width = f"summary<{kind}>", "?"
    types.update(parts)
    types.update(table="tensor<?x?xi32>", lens="tensor<?xi32>")
    lists, clauses = list_clauses(case, kv)
    types.update(lists)
    if kind != "keys":
        clauses += f" page_size {size}"
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    score = f"tensor<?x{heads}x{width}xf32>"
    used = ", ".join(f"%{n}" for n in parts)
    return f"""
func.func @{name}({arguments}) -> ({score}, {score}) {{
  %x:2 = vashista.score %q from #vashista.{source}({used}) table(%table)
      lens(%lens){clauses} scale {dim**-0.5:.9e} {case["cap"]}
      : ({", ".join(types.values())}) -> ({score}, {score})
  return %x#0, %x#1 : {score}, {score}
}}"""


def judge_source(case, entry, number, rng):
    """Yields what is wrong."""
    (heads, kv), dim, kind = case["heads"], case["dim"], case["source"]
    batch = Batch(case, number, rng)
    size, lens, table = batch.size, batch.lens, batch.table
    # Whatever is not visible is NaN.
    length = np.zeros(batch.num_pages, int)
    for b, n in enumerate(batch.seq_lens):
        for p in range(-(-n // size)):
            length[table[b, p]] = min(size, n - p * size)
    spread = 1 + 3 * (number % 3)
    q = spread * rng.standard_normal((len(lens), heads, dim))
    q, exact_q = stored(q, case["dtype"])
    shape = (
        (batch.num_pages, kv, size, dim)
        if kind == "keys"
        else (batch.num_pages, kv, dim)
    )
    drawn = rng.standard_normal((2, *shape))
    if kind == "keys":
        hidden = np.arange(size)[None] >= length[:, None]
        drawn[0][np.broadcast_to(hidden[:, None], drawn[0].shape[:3])] = np.nan
    else:
        drawn[:, length == 0] = np.nan
    if kind == "mean_std":
        drawn[1] = np.abs(drawn[1])
    if kind == "box":
        drawn.sort(0)
    first, exact_first = stored(drawn[0], case["dtype"])
    second, exact_second = stored(drawn[1], case["dtype"])
    if kind == "ball":
        second = np.abs(drawn[1][..., 0]).astype(np.float32)
        exact_second = second.astype(np.float64)
    if case["layout"] == "nhd":
        first, _ = stored(drawn[0].transpose(0, 2, 1, 3), case["dtype"])
    parts = [first] if kind in ("keys", "mean") else [first, second]
    (scores, bounds), is_same = is_repeatable(
        entry, [q, *parts, table, lens, *batch.lists]
    )
    if not is_same:
        yield "another result when repeated"
    slots = np.arange(scores.shape[2])
    for row, head in np.ndindex(len(lens), heads):
        kv_head, w = head // (heads // kv), exact_q[row, head]
        if kind == "keys":
            visible, page, slot = batch.place(row, kv_head, slots)
            x = exact_first[page, kv_head, slot]
        else:
            visible = slots < -(-lens[row] // size)
            page = table[batch.sequences[row], slots[visible]]
            x, y = exact_first[page, kv_head], exact_second[page, kv_head]
        truth, sizes = x @ w, np.abs(x) @ np.abs(w)
        if kind == "mean_std":
            truth, sizes = truth + y @ np.abs(w), sizes + y @ np.abs(w)
        if kind == "box":
            truth = np.maximum(x * w, y * w).sum(1)
            sizes = np.maximum(np.abs(x), np.abs(y)) @ np.abs(w)
        if kind == "ball":
            reach = np.linalg.norm(w) * y
            truth, sizes = truth + reach, sizes + reach
        # A sum of products of f32, in any order; what bounds add is twice as much.
        room = (
            (1 if kind in ("keys", "mean", "mean_std") else 4) * (dim + 8) * 2.0**-24
        )
        scale = np.float64(np.float32(dim**-0.5))
        truth, room = truth * scale, room * sizes * scale + 1e-30
        if case["cap"]:
            truth, room = 20 * np.tanh(truth / 20), room + 20 * 2.0**-19
        got, bound = scores[row, head], bounds[row, head]
        if (got[~visible] != -INF).any() or (bound[~visible] != -INF).any():
            yield f"row {row}, head {head}: a slot is visible that must not be"
        if not (np.abs(got[visible] - truth) <= room).all():
            yield f"row {row}, head {head}: a score is wrong"
        if kind in ("box", "ball", "keys"):
            if (got != bound).any():
                yield f"row {row}, head {head}: bounds are not the scores"
        elif (bound[visible] != INF).any():
            yield f"row {row}, head {head}: a bound where there is none"
        if kind in ("box", "ball") and not (bound[visible] >= truth).all():
            yield f"row {row}, head {head}: a bound is too low"


# ===----------------------------------------------------------------------===#
# Picks
# ===----------------------------------------------------------------------===#


def draw_picks():
    base = {
        "heads": (8, 2),
        "mode": "top",
        "budget": 64,
        "unit": "tokens",
        "page_size": 16,
        "always": "",
        "tolerance": "",
        "within": False,
        "taken": False,
        "outside": False,
        "attended": False,
        # Slots, where they are static; whether somebody reads the tail.
        "width": 0,
        "tail": True,
    }
    proving = {**base, "mode": "proving", "budget": 3000, "tolerance": "tolerance 0.25"}
    for mode in (base, proving):
        for heads in ((2, 2), (8, 2), (6, 2), (32, 2)):
            yield {**mode, "heads": heads}
        for unit, always in itertools.product(
            ("pages", "tokens"), ("", "sinks 20", "sinks 5 window 37")
        ):
            yield {**mode, "unit": unit, "always": always}
        yield {**mode, "budget": 500, "taken": True, "outside": True}
        yield {**mode, "within": True, "always": "sinks 3 window 20", "taken": True}
    yield {**proving, "budget": 50, "always": "sinks 5 window 37"}
    # Of few slots, and of some that may be few.
    few = {**base, "tail": False}
    for width, heads in itertools.product(
        (0, 100, 1500, 6001, 9000), ((2, 2), (8, 2), (32, 2))
    ):
        yield {**few, "width": width, "heads": heads}
    yield {**few, "width": 9000, "unit": "pages", "always": "sinks 20 window 50"}
    yield {**few, "width": 30000, "always": "sinks 5 window 37"}
    yield {**few, "within": True, "always": "sinks 3 window 20", "budget": 30}
    yield {**few, "width": 4096, "budget": 1200}
    # As many may be left to search as are needed.
    for budget, heads in itertools.product((1, 2, 5), ((2, 2), (8, 2))):
        yield {**few, "width": 4096, "heads": heads, "budget": budget}
    for tolerance in (0.01, 0.5):
        yield {**proving, "tolerance": f"tolerance {tolerance}", "attended": True}
    yield {**proving, "attended": True, "taken": True, "outside": True}
    yield {**proving, "attended": True, "always": "sinks 3"}


def pick_text(name, case):
    heads, kv = case["heads"]
    width = "144" if case["within"] else case["width"] or "?"
    types = {
        "scores": f"tensor<?x{heads}x{width}xf32>",
        "bounds": f"tensor<?x{heads}x{width}xf32>",
        "lens": "tensor<?xi32>",
    }
    clauses = ""
    if case["within"]:
        types["pages"], types["n"] = f"tensor<?x{kv}x9xi32>", f"tensor<?x{kv}xi32>"
        clauses += " within(%pages, %n)"
    if case["taken"]:
        types["taken"] = f"tensor<?x{kv}x30xi32>"
        clauses += " taken(%taken)"
    for state in ("outside", "attended"):
        if case[state]:
            types[state] = f"tensor<?x{heads}xf32>"
            clauses += f" {state}(%{state})"
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    made = [f"tensor<?x{kv}x{case['budget']}xi32>", f"tensor<?x{kv}xi32>"]
    results = f"({', '.join(made + [f'tensor<?x{heads}xf32>'])})"
    returned = results[1:-1] if case["tail"] else ", ".join(made)
    values = "%r#0, %r#1" + (", %r#2" if case["tail"] else "")
    return f"""
func.func @{name}({arguments}) -> ({returned}) {{
  %r:3 = vashista.pick {case["mode"]} {case["budget"]} {case["unit"]} of(%scores, %bounds)
      lens(%lens){clauses} kv_heads {kv} page_size {case["page_size"]}
      {case["always"]} {case["tolerance"]}
      : ({", ".join(types.values())}) -> {results}
  return {values} : {returned}
}}"""


def log_sum_exp(x):
    most = x.max(initial=-INF)
    return most if np.isinf(most) else most + np.log(np.exp(x - most).sum())


def option(text, name):
    words = text.split()
    return float(words[words.index(name) + 1]) if name in words else 0.0


def judge_pick(case, entry, number, rng):
    """Yields what is wrong."""
    heads, kv = case["heads"]
    group, rows = heads // kv, 4
    unit = case["page_size"] if case["unit"] == "pages" else 1
    width = case["width"] or int(rng.choice((101, 1502, 9000, 9003)))
    if case["within"]:
        width = 144
    lens = rng.integers(1, width * unit + 1, rows).astype(np.int32)
    lens[0] = width * unit + 5
    if number % 2:
        lens[1] = 0
    slots = np.arange(width)
    # Multiples of 2^-6 of one sign, away from the edges of bins.
    scores = rng.integers(-900, 0, (rows, heads, width)) / 64
    if number % 3 == 2:
        scores = rng.integers(-40, 0, scores.shape) / 64
    slack = rng.integers(0, 64, scores.shape) / 64
    bounds = scores + slack
    if number % 3 == 1:
        scores[:, 0, 7] = np.nan
        bounds[2, :, 11] = INF
        bounds[3, 0, 5] = np.nan
    arguments = {"scores": scores, "bounds": bounds, "lens": lens}
    positions = np.broadcast_to(slots * unit, (rows, kv, width)).copy()
    if case["within"]:
        pages = np.full((rows, kv, 9), 2**31 - 1, np.int32)
        n = rng.integers(0, 10, (rows, kv)).astype(np.int32)
        for at in np.ndindex(rows, kv):
            pages[at][: n[at]] = rng.permutation(9)[: n[at]]
        arguments.update(pages=pages, n=n)
        listed = np.repeat(pages.astype(np.int64), 16, 2)
        positions = listed * 16 + slots % 16
        positions[slots >= 16 * n[:, :, None]] = 2**40
    visible = positions < lens[:, None, None]
    for head in range(heads):
        hidden = ~visible[:, head // group]
        scores[:, head][hidden] = bounds[:, head][hidden] = np.nan
    taken = np.full((rows, kv, 30), -1, np.int32)
    if case["taken"]:
        for at in np.ndindex(rows, kv):
            some = positions[at][visible[at]][:: int(rng.integers(3, 9))][:25]
            taken[at][: len(some)] = some // unit
        arguments["taken"] = taken
    for state in ("outside", "attended"):
        if case[state]:
            arguments[state] = rng.normal(
                -3 if state == "outside" else 4, 2, (rows, heads)
            )
    given = [
        x.astype(np.float32) if x.dtype == float else x for x in arguments.values()
    ]
    (ids, count, *tail), is_same = is_repeatable(entry, given)
    if not is_same:
        yield "another result when repeated"
    arguments = dict(zip(arguments, (x.astype(float) for x in given)))
    sinks, window = option(case["always"], "sinks"), option(case["always"], "window")
    for row, head in np.ndindex(rows, kv):
        where = f"row {row}, KV head {head}"
        at, length = positions[row, head], lens[row]
        tokens = np.clip(length - at, 0, unit)
        is_open = visible[row, head] & ~np.isin(at // unit, taken[row, head])
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.log(tokens)
        own = slice(head * group, (head + 1) * group)
        score = np.where(is_open, arguments["scores"][row, own] + weight, -INF)
        bound = np.where(is_open, arguments["bounds"][row, own] + weight, -INF)
        unknown = np.isnan(score).any(1)
        score[np.isnan(score)] = -INF
        always = is_open & (at < sinks)
        if window:
            always |= is_open & (at + tokens > length - window)
        found = ids[row, head, : count[row, head]]
        if (np.diff(found) <= 0).any() and not case["within"] or (found < 0).any():
            yield f"{where}: a list is not ascending"
        if (ids[row, head, count[row, head] :] != -1).any():
            yield f"{where}: a list goes on"
        is_picked = np.isin(at // unit, found) & visible[row, head]
        if is_picked.sum() != len(found) or (is_picked & ~is_open).any():
            yield f"{where}: what is picked is not there"
            continue

        left = np.where(is_open & ~is_picked, bound, -INF)
        for i in range(group if tail else 0):
            truth = log_sum_exp(np.where(np.isnan(left[i]), INF, left[i]))
            if case["outside"]:
                truth = np.logaddexp(truth, arguments["outside"][row, own][i])
            if unknown[i]:
                truth = INF
            # What PickTails.cpp adds, and half of it, which rounding may come to.
            got, room = tail[0][row, own][i], 1e-4 + width * 1e-7
            if not got >= truth or not (got <= truth + room or got == truth):
                yield f"{where}: head {i} has a tail of {got}, not {truth}"

        available, marginal = is_open, np.zeros(width, bool)
        if case["mode"] == "proving":
            available, marginal = find_needed(
                case,
                score,
                bound,
                unknown,
                is_open,
                always,
                length,
                arguments,
                row,
                own,
            )
            if available is None:
                continue
        if available.sum() <= case["budget"]:
            if ((is_picked != available) & ~marginal).any():
                wrong = (is_picked != available) & ~marginal
                yield f"{where}: {wrong.sum()} of {available.sum()} picks are wrong"
            continue
        if marginal.any():
            continue
        refs = np.array([log_sum_exp(x) for x in score])
        refs[np.isinf(refs)] = 0
        rank = np.where(available, (score - refs[:, None]).max(0), -INF)
        rank[always & available] = INF
        if is_picked.sum() != case["budget"]:
            yield f"{where}: {is_picked.sum()} picks"
            continue
        worst = rank[is_picked].min(initial=INF)
        best = rank[available & ~is_picked].max(initial=-INF)
        if not worst >= best - 1e-5 or (is_picked & ~available).any():
            yield f"{where}: {worst} is picked, {best} is not"
        ties = available & (rank == worst)
        if (
            group == 1
            and worst == best
            and (np.diff(is_picked[ties].astype(int)) > 0).any()
        ):
            yield f"{where}: of equal slots not the first are picked"


def find_needed(
    case, score, bound, unknown, is_open, always, length, arguments, row, own
):
    """What the proofs of a group need, and slots that rounding could decide on;
    None where it could decide on all."""
    known = np.where(np.isnan(bound), INF, bound)
    tolerance = option(case["tolerance"], "tolerance") * (1 - 2.0**-8)
    ratio = tolerance / (1 - tolerance) * (1 - length * 2.0**-25)
    attended = outside = np.full(len(score), -INF)
    if case["attended"]:
        attended = arguments["attended"][row, own]
    if case["outside"]:
        outside = arguments["outside"][row, own]
    if case["attended"] and not always.any() and not case["always"]:
        tails = np.array(
            [np.logaddexp(log_sum_exp(b), o) for b, o in zip(known, outside)]
        )
        tails[unknown] = INF
        excess = tails - attended - np.log(ratio)
        if np.abs(excess).min() < 1e-3:
            return None, None
        if (excess < 0).all():
            return np.zeros_like(is_open), np.zeros_like(is_open)
    needed, marginal = always.copy(), np.zeros_like(is_open)
    for x, b, is_unknown, lse, out in zip(score, known, unknown, attended, outside):
        finite = b[np.isfinite(b)]
        top = finite.max(initial=-INF)
        with np.errstate(invalid="ignore"):
            place = np.where(b == INF, -INF, (top - b) * 32)
        if len(finite) == 0 or is_unknown:
            needed |= is_open
            continue
        bins = np.clip(np.floor(place), 0, 1023)
        before = needed | (b == INF)
        mass = np.exp(x[is_open & before] - top).sum() + np.exp(lse - top)
        free = is_open & ~before
        masses = np.bincount(
            bins[free].astype(int), np.exp(np.minimum(x, b) - top)[free], 1024
        )
        rests = np.bincount(bins[free].astype(int), np.exp(b - top)[free], 1024)
        masses[1023] = 0
        have = mass + np.concatenate(([0], np.cumsum(masses)))
        rest = np.append(np.cumsum(rests[::-1])[::-1], 0) + np.exp(out - top)
        proved = rest <= ratio * have
        proved[1024] = True
        end = proved.argmax()
        if np.abs(rest - ratio * have)[max(end - 1, 0) : end + 1].min() < 1e-4 * (
            ratio * have[end]
        ):
            return None, None
        edge = np.abs(place - end) < 1e-2
        marginal |= is_open & edge
        needed |= is_open & (bins < end) | (b == INF)
        if (is_open & edge).any():
            # Heads that follow may depend on it.
            marginal |= is_open & (len(score) > 1)
    return needed & is_open, marginal


def main():
    cases = [(f"scan{i}", c, scan_text, judge_scan) for i, c in enumerate(draw_scans())]
    cases += [
        (f"source{i}", c, source_text, judge_source)
        for i, c in enumerate(draw_sources())
    ]
    cases += [
        (f"pick{i}", c, pick_text, judge_pick) for i, c in enumerate(draw_picks())
    ]
    return judge_all(__doc__.splitlines()[0], cases)


if __name__ == "__main__":
    sys.exit(main())
