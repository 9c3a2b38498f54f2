#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares attention to the best tokens of some pages with float64, on a GPU.

Pages are listed, or the best by their summaries, and an attend to the best of their
tokens must be that of float64, but where rounding could rank pages or tokens either
way. Each is one kernel; of many pages the best are picked by a kernel of their own, and
must be the best of float64, too. Whatever is not visible is NaN. Every call is repeated
and must give the same bits. Exits with 1 after a failure.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import itertools
import sys

import numpy as np

from check_attend import stored
from check_selection import (
    INF,
    LISTED,
    Batch,
    is_repeatable,
    list_clauses,
    log_sum_exp,
    option,
)
from judge_cases import empty_state, judge_all

EDGE = 1e-4  # of ranks that rounding could change


SHAPE = {
    "heads": (8, 2),
    "dims": (128, 128),
    "page_size": 16,
    "dtype": "bf16",
    "cap": "",
    "within": False,
    "rows": False,
}


def draw_listed():
    base = {
        **SHAPE,
        "layout": "hnd",
        "budget": 40,
        "always": "",
        "within": True,
        "schedule": "",
    }
    for heads in ((2, 2), (8, 2), (6, 2), (16, 2), (24, 2)):
        yield {**base, "heads": heads}
    for dims in ((64, 64), (96, 64), (192, 128), (256, 256), (128, 40), (576, 512)):
        yield {**base, "dims": dims}
    for size in (1, 5, 64, 256):
        yield {**base, "page_size": size, "budget": min(9 * size, 128)}
    yield {**base, "dtype": "f16", "layout": "nhd", "always": "sinks 20"}
    yield {
        **base,
        "dtype": "f32",
        "cap": "soft_cap 20.0",
        "always": "sinks 3 window 21",
    }
    yield {**base, "rows": True, "always": "window 17"}
    yield {**base, "budget": 144}
    yield {**base, "budget": 1, "heads": (2, 2)}


def draw_routed():
    """Schedules say that all is one kernel: few groups would have several."""
    base = {
        **SHAPE,
        "layout": "hnd",
        "summary": "mean",
        "pages": 20,
        "pages_always": "sinks 4 window 40",
        "budget": 128,
        "always": "sinks 4 window 40",
        "schedule": "schedule <fuse = true>",
    }
    for heads, summary in itertools.product(
        ((2, 2), (8, 2), (6, 2)), ("mean", "mean_std", "box", "ball")
    ):
        yield {**base, "heads": heads, "summary": summary}
    for warps in (4, 8, 16):
        schedule = f"schedule <warps = {warps}, fuse = true>"
        yield {**base, "heads": (2, 2), "schedule": schedule}
    for dims in ((64, 64), (96, 64), (256, 128)):
        yield {**base, "dims": dims}
    for size, pages in ((4, 64), (5, 26), (64, 9)):
        yield {**base, "page_size": size, "pages": pages, "heads": (2, 2)}
    yield {**base, "dtype": "f16", "layout": "nhd", "pages_always": "", "always": ""}
    yield {**base, "dtype": "f32", "cap": "soft_cap 20.0", "pages_always": "window 5"}
    yield {**base, "rows": True, "pages_always": "sinks 33"}
    yield {**base, "heads": (2, 2), "pages_always": "", "budget": 320}
    yield {**base, "heads": (2, 2), "pages": 1, "budget": 16, "pages_always": "",
           "always": ""}  # fmt: skip
    # Many pages, as of draw_scanned, by a cluster or by a block.
    long = {**base, "pages": 64, "longest": 36000, "pages_always": "sinks 4 window 64"}
    for heads, summary in itertools.product(((8, 2), (6, 2)), ("mean", "mean_std")):
        yield {**long, "heads": heads, "summary": summary}
    for blocks in (1, 2, 4):
        schedule = f"schedule <cluster = {blocks}, fuse = true>"
        yield {**long, "schedule": schedule, "pages_always": ""}
        yield {**long, "schedule": schedule, "heads": (2, 2)}
    # Whose scores no block of a cluster has room for.
    for blocks in (2, 4):
        schedule = f"schedule <cluster = {blocks}, fuse = true>"
        yield {**long, "schedule": schedule, "pages": 200, "rows": blocks == 4}
    yield {**long, "dims": (64, 64), "rows": True, "longest": 140000}
    # Whose pages' scores none has, either.
    for blocks in (1, 2):
        schedule = f"schedule <cluster = {blocks}, fuse = true>"
        yield {**long, "schedule": schedule, "heads": (24, 2), "longest": 140000}
    yield {**long, "page_size": 64, "pages": 16, "longest": 150000, "dtype": "f16"}
    yield {**long, "summary": "box", "pages": 20}


def draw_scanned():
    """Many pages, which are picked by what a scan has left of blocks of them."""
    base = {
        **SHAPE,
        "summary": "mean",
        "pages": 64,
        "pages_always": "sinks 4 window 64",
        "longest": 36000,
    }
    for heads, summary in itertools.product(
        ((8, 2), (6, 2), (24, 2)), ("mean", "mean_std")
    ):
        yield {**base, "heads": heads, "summary": summary}
    for dim in (32, 96, 256):
        yield {**base, "dims": (dim, dim)}
    for size, longest, always in ((1, 7000, "sinks 4 window 40"), (64, 140000, "")):
        shape = {"page_size": size, "longest": longest, "dims": (32, 32)}
        yield {**base, **shape, "pages_always": always}
    yield {**base, "dtype": "f16", "pages_always": "", "cap": "soft_cap 20.0"}
    yield {**base, "rows": True, "pages_always": "sinks 33 window 1500", "pages": 120}
    yield {**base, "pages": 1, "pages_always": ""}
    # Of a row half as long as it may be, and of more threads.
    for pages in (20, 64):
        yield {**base, "rows": True, "longest": 170000, "pages": pages}
    yield {**base, "pages": 300, "warps": 32, "pages_always": ""}
    # Of tables of any width: as many pages as a block's threads can have, or more.
    wide = {**base, "width": "?"}
    yield wide
    yield {**wide, "heads": (6, 2), "summary": "mean_std"}
    yield {**wide, "rows": True, "longest": 170000, "pages_always": ""}
    yield {**wide, "dims": (32, 32), "longest": 300000}
    # Others, beside which the first ones are told to be so.
    yield {**base, "heads": (2, 2)}
    yield {**base, "dtype": "f32"}


def summary_types(case):
    """Of the parts of a summary."""
    kv, dim = case["heads"][1], case["dims"][0]
    part = f"tensor<?x{kv}x{dim}x{case['dtype']}>"
    second = f"tensor<?x{kv}xf32>" if case["summary"] == "ball" else part
    return {"first": part} | ({} if case["summary"] == "mean" else {"second": second})


def route_text(case, width, row_type):
    """The pages of a step; what it needs, beside queries, table and lengths."""
    (heads, kv), (dim, _) = case["heads"], case["dims"]
    size, most, rows, schedule = case["page_size"], case["pages"], "", ""
    if "warps" in case:
        schedule = f" schedule <warps = {case['warps']}>"
    if case["rows"]:
        rows = " rows(%rows)"
    parts, scores = summary_types(case), f"tensor<?x{heads}x{width}xf32>"
    query, lens = f"tensor<?x{heads}x{dim}x{case['dtype']}>", "tensor<?xi32>"
    read = ", ".join(
        [query, *parts.values(), f"tensor<?x{width}xi32>", lens, *row_type]
    )
    return f"""
  %w:2 = vashista.score %q from #vashista.summary<{case["summary"]}>({
        ", ".join(f"%{part}" for part in parts)}) table(%table) lens(%lens){rows}
      page_size {size} scale {dim**-0.5:.9e} {case["cap"]} : ({read}) -> ({scores}, {scores})
  %pages, %n, %rest = vashista.pick top {most} pages of(%w#0, %w#0) lens(%lens)
      kv_heads {kv} page_size {size} {case["pages_always"]}{schedule}
      : ({scores}, {scores}, {lens})
      -> (tensor<?x{kv}x{most}xi32>, tensor<?x{kv}xi32>, tensor<?x{heads}xf32>)"""


def scanned_text(name, case):
    (heads, kv), (dim, _) = case["heads"], case["dims"]
    width = case.get("width", Batch.width(case["page_size"], case["longest"]))
    types = {
        "q": f"tensor<?x{heads}x{dim}x{case['dtype']}>",
        "table": f"tensor<?x{width}xi32>",
        "lens": "tensor<?xi32>",
        **list_clauses(case, kv)[0],
        **summary_types(case),
    }
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    row_type = ["tensor<?xi32>"] if case["rows"] else []
    result = f"tensor<?x{kv}x{case['pages']}xi32>, tensor<?x{kv}xi32>"
    return f"""
func.func @{name}({arguments}) -> ({result}) {{{route_text(case, width, row_type)}
  return %pages, %n : {result}
}}"""


def step_text(name, case):
    (heads, kv), (dim, value_dim), size = case["heads"], case["dims"], case["page_size"]
    order = (kv, size) if case["layout"] == "hnd" else (size, kv)
    pool = f"tensor<?x{order[0]}x{order[1]}x"
    dtype, budget = case["dtype"], case["budget"]
    is_routed = "summary" in case
    width = Batch.width(size, case.get("longest", 0))
    listed_pages = case.get("pages", LISTED)
    types = {
        "q": f"tensor<?x{heads}x{dim}x{dtype}>",
        "k": f"{pool}{dim}x{dtype}>",
        "v": f"{pool}{value_dim}x{dtype}>",
        "table": f"tensor<?x{width if is_routed else '?'}xi32>",
        "lens": "tensor<?xi32>",
    }
    lists, clauses = list_clauses(case, kv)
    types.update(lists)
    rows = " rows(%rows)" if case["rows"] else ""
    row_type = ["tensor<?xi32>"] if case["rows"] else []
    pages, n = f"tensor<?x{kv}x{listed_pages}xi32>", f"tensor<?x{kv}xi32>"
    lse = f"tensor<?x{heads}xf32>"
    scale = f"scale {dim**-0.5:.9e} {case['cap']}"
    route = ""
    if is_routed:
        types.update(summary_types(case))
        clauses += " within(%pages, %n)"
        route = route_text(case, width, row_type)
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    score = f"tensor<?x{heads}x{listed_pages * size}xf32>"
    ids, counts = f"tensor<?x{kv}x{budget}xi32>", f"tensor<?x{kv}xi32>"
    o = f"tensor<?x{heads}x{value_dim}xf32>"
    state = f"{o}, {lse}"
    read = ", ".join([types[n] for n in ("q", "k", "v", "table", "lens")] + row_type)
    scored = ", ".join([types[n] for n in ("q", "k", "table", "lens")] + row_type)
    return f"""
func.func @{name}({arguments}) -> ({state}) {{{route}
  %x:2 = vashista.score %q from #vashista.keys<{case["layout"]}>(%k) table(%table)
      lens(%lens){clauses} {scale} : ({scored}, {pages}, {n}) -> ({score}, {score})
  %p:3 = vashista.pick top {budget} tokens of(%x#0, %x#0) lens(%lens)
      within(%pages, %n) kv_heads {kv} page_size {size} {case["always"]}
      : ({score}, {score}, {types["lens"]}, {pages}, {n}) -> ({ids}, {counts}, {lse}){empty_state(types["q"], o, lse)}
  %s:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens){rows}
      tokens(%p#0, %p#1) outs(%o0, %l0) {scale}
      layout {case["layout"]} {case["schedule"]}
      : ({read}, {ids}, {counts}, {state}) -> ({state})
  return %s#0, %s#1 : {state}
}}"""


def find_best(ranks, budget, is_always):
    """Which slots are picked, in their order; None if rounding could tell."""
    if len(ranks) <= budget:
        return np.arange(len(ranks))
    ranks = np.where(is_always, INF, ranks)
    order = np.argsort(-ranks, kind="stable")
    if ranks[order[budget - 1]] - ranks[order[budget]] < EDGE:
        return None
    return np.sort(order[:budget])


def rank(scores):
    """Of heads' scores of the same slots: each against what its head has of all."""
    return (scores - np.array([log_sum_exp(x) for x in scores])[:, None]).max(0)


def route(case, batch, q, first, second):
    """Sets the pages that float64 picks; yields rows and KV heads where rounding could
    pick others."""
    (heads, kv), (dim, _), size = case["heads"], case["dims"], case["page_size"]
    group, budget = heads // kv, case["pages"]
    sinks, window = (option(case["pages_always"], n) for n in ("sinks", "window"))
    batch.pages = np.full((len(batch.lens), kv, budget), -1, np.int32)
    batch.count = np.zeros((len(batch.lens), kv), np.int32)
    for row, kv_head in np.ndindex(*batch.count.shape):
        used = -(-batch.lens[row] // size)
        place = batch.table[batch.sequences[row], :used], kv_head
        x, w = first[place], q[row, kv_head * group : (kv_head + 1) * group]
        scores = w @ x.T
        if case["summary"] == "mean_std":
            scores = scores + np.abs(w) @ second[place].T
        if case["summary"] == "box":
            pairs = w[:, None] * np.stack([x, second[place]])[:, None]
            scores = np.maximum(*pairs).sum(-1)
        if case["summary"] == "ball":
            scores = scores + np.linalg.norm(w, axis=1)[:, None] * second[place]
        scores = scores * np.float64(np.float32(dim**-0.5))
        if case["cap"]:
            scores = 20 * np.tanh(scores / 20)
        at = np.arange(used)
        scores = scores + np.log(np.minimum(size, batch.lens[row] - at * size))
        always = at < -(-sinks // size)
        if window:
            always |= at >= max(batch.lens[row] - window, 0) // size
        found = find_best(rank(scores) if used else at, budget, always)
        if found is None:
            yield row, kv_head
            continue
        batch.pages[row, kv_head, : len(found)] = found
        batch.count[row, kv_head] = len(found)


def draw_summaries(case, batch, hidden, rng, scale=1):
    """Anything, of pages that are visible: parts as stored, and as float64."""
    made = scale * rng.standard_normal((2, *hidden.shape, case["dims"][0]))
    made[:, hidden] = np.nan
    if case["summary"] == "mean_std":
        made[1] = np.abs(made[1])
    if case["summary"] == "box":
        made.sort(0)
    (first, exact_first), (second, exact_second) = (
        stored(x, case["dtype"]) for x in made
    )
    if case["summary"] == "ball":
        second = np.abs(made[1][..., 0]).astype(np.float32)
        exact_second = second.astype(np.float64)
    return [first, second][: len(summary_types(case))], exact_first, exact_second


def judge_scanned(case, entry, number, rng):
    """Yields what is wrong. Of every third trial all pages are as good as each other,
    of which the first are picked."""
    (heads, kv), (dim, _) = case["heads"], case["dims"]
    batch = Batch(case, number, rng)
    hidden = np.ones((batch.num_pages, kv), bool)
    for b, length in enumerate(batch.seq_lens):
        hidden[batch.table[b, : -(-length // batch.size)]] = False
    scale = 0 if number % 3 == 2 else 1 + 3 * (number % 3)
    q = scale * rng.standard_normal((len(batch.lens), heads, dim))
    q, exact_q = stored(q, case["dtype"])
    parts, first, second = draw_summaries(case, batch, hidden, rng)
    lists = batch.lists
    (ids, counts), is_same = is_repeatable(
        entry, [q, batch.table, batch.lens, *lists, *parts]
    )
    if not is_same:
        yield "another result when repeated"
    unsure = set(route(case, batch, exact_q, first, second))
    if scale == 0:
        unsure = ()
        route_first(case, batch)
    for row, kv_head in np.ndindex(*counts.shape):
        if (row, kv_head) in unsure:
            continue
        at = f"row {row} of {batch.lens[row]} tokens, KV head {kv_head}"
        if counts[row, kv_head] != batch.count[row, kv_head]:
            yield f"{at}: {counts[row, kv_head]} pages, not {batch.count[row, kv_head]}"
        elif (ids[row, kv_head] != batch.pages[row, kv_head]).any():
            yield f"{at}: other pages"


def route_first(case, batch):
    """The same of pages that only differ in their tokens."""
    batch.pages[:] = -1
    for row, kv_head in np.ndindex(*batch.count.shape):
        found = first_pages(case, batch, row)
        batch.pages[row, kv_head, : len(found)] = found
        batch.count[row, kv_head] = len(found)


def first_pages(case, batch, row):
    """Of such pages those that are picked."""
    size, length = case["page_size"], batch.lens[row]
    at = np.arange(-(-length // size))
    scores = np.log(np.minimum(size, length - at * size))
    always = at < -(-option(case["pages_always"], "sinks") // size)
    window = option(case["pages_always"], "window")
    if window:
        always |= at >= max(length - window, 0) // size
    order = np.argsort(-np.where(always, INF, scores), kind="stable")
    return np.sort(order[: case["pages"]])


def judge_step(case, entry, number, rng):
    """Yields what is wrong."""
    (heads, kv), (dim, value_dim) = case["heads"], case["dims"]
    batch, group = Batch(case, number, rng), heads // kv
    size, lens, table, dtype = batch.size, batch.lens, batch.table, case["dtype"]
    hidden = np.ones((batch.num_pages, kv, size), bool)
    for b, length in enumerate(batch.seq_lens):
        for p in range(-(-length // size)):
            hidden[table[b, p], :, : length - p * size] = False
    drawn = [rng.standard_normal((*hidden.shape, n)) for n in (dim, value_dim)]
    for x in drawn:
        x[hidden] = np.nan
    q = (1 + 3 * (number % 3)) * rng.standard_normal((len(lens), heads, dim))
    q, exact_q = stored(q, dtype)
    exact_k, exact_v = (stored(x, dtype)[1] for x in drawn)
    parts, unsure = [], set()
    if "summary" in case:
        # Of many pages, of every third trial, all are as good as each other.
        are_equal = "longest" in case and number % 3 == 2
        scale = 0 if are_equal else 1
        parts, first, second = draw_summaries(case, batch, hidden.all(2), rng, scale)
        unsure = set(route(case, batch, exact_q, first, second))
        if are_equal:
            unsure = set()
            route_first(case, batch)
    if case["layout"] == "nhd":
        drawn = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)) for x in drawn]
    k, v = (stored(x, dtype)[0] for x in drawn)
    (o, lse), is_same = is_repeatable(
        entry, [q, k, v, table, lens, *batch.lists, *parts]
    )
    if not is_same:
        yield "another result when repeated"
    sinks, window = option(case["always"], "sinks"), option(case["always"], "window")
    slots = np.arange(batch.pages.shape[2] * size)
    for row, kv_head in np.ndindex(len(lens), kv):
        if (row, kv_head) in unsure:
            continue
        own = slice(kv_head * group, (kv_head + 1) * group)
        visible, page, slot = batch.place(row, kv_head, slots)
        listed = batch.pages[row, kv_head][slots // size].astype(np.int64)
        at = (listed * size + slots % size)[visible]
        keys, values = exact_k[page, kv_head, slot], exact_v[page, kv_head, slot]
        logits = exact_q[row, own] @ keys.T * np.float64(np.float32(dim**-0.5))
        sizes = np.abs(exact_q[row, own]) @ np.abs(keys).T * dim**-0.5
        if case["cap"]:
            logits = 20 * np.tanh(logits / 20)
        always = at < sinks
        if window:
            always |= at >= lens[row] - window
        ranks = rank(logits) if len(at) else at
        chosen = find_best(ranks, case["budget"], always)
        if chosen is None:
            continue
        for i in range(group):
            x, where = logits[i][chosen], f"row {row}, head {kv_head * group + i}"
            got, got_lse = o[row, own][i], lse[row, own][i]
            if not len(chosen):
                if (got != 0).any() or got_lse != -INF:
                    yield f"{where}: a state that is not empty"
                continue
            weights = np.exp(x - log_sum_exp(x))
            # Logits are sums of f32; weights may be rounded to the values' type.
            room = 2 * (dim + 8) * 2.0**-24 * sizes[i][chosen].max() + 2e-5
            unit = {"bf16": 2.0**-8, "f16": 2.0**-11, "f32": 0}[dtype]
            most = weights @ np.abs(values[chosen])
            if not (
                np.abs(got - weights @ values[chosen]) <= (2 * room + unit) * most
            ).all():
                yield f"{where}: an output is wrong"
            if not abs(got_lse - log_sum_exp(x)) <= room:
                yield f"{where}: lse is {got_lse}, not {log_sum_exp(x)}"


def main():
    cases = [
        (f"listed{i}", c, step_text, judge_step) for i, c in enumerate(draw_listed())
    ]
    cases += [
        (f"routed{i}", c, step_text, judge_step) for i, c in enumerate(draw_routed())
    ]
    cases += [
        (f"scanned{i}", c, scanned_text, judge_scanned)
        for i, c in enumerate(draw_scanned())
    ]
    return judge_all(__doc__.splitlines()[0], cases)


if __name__ == "__main__":
    sys.exit(main())
