#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares attention to what a sketch proves, in one kernel, with float64.

Schedules say that scores, picks and attention are one kernel, each of whose clusters
proves its own chunk of a sequence. What is attended and what is said to be left must
hold all the mass that there is, the output be as near as that allows, and more mass
never be attended than there is; the target must be met where the budget allows, and no
more tokens be attended than that. Sequences are
empty, short and longer than several chunks; keys are Gaussian but for a few channels,
or not finite; logits of some heads are in the hundreds, and a key far above others has
their highest bound, and no score. Whatever is not visible is NaN. Every call is
repeated, and each row is taken alone, and must give the same bits.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import functools
import itertools
import sys

import numpy as np

from check_attend import stored
from check_proofs import add_far_key
from check_selection import Batch, is_repeatable, log_sum_exp
from judge_cases import empty_state, judge_all

INF = np.inf


def draw():
    base = {
        "heads": (8, 2),
        "dims": (128, 128),
        "page_size": 16,
        "dtype": "bf16",
        "layout": "hnd",
        "sketch": "bits = 4, group = 32, rotation = hadamard, norm = token",
        "budget": 3000,
        "tolerance": 0.5,
        "always": "",
        "cap": "",
        "rows": False,
        "within": False,
        "longest": 0,
        "schedule": "split = 256",
        "static": False,
    }
    for heads in ((2, 2), (8, 2), (6, 2), (10, 2), (16, 2), (5, 1)):
        yield {**base, "heads": heads}
    for cluster, split in itertools.product((1, 2, 4, 8), (256, 512, 832)):
        yield {**base, "schedule": f"split = {split}, cluster = {cluster}"}
    for heads, split in (((8, 2), 4096), ((2, 2), 4096), ((16, 2), 1024)):
        long = {"longest": 36000, "budget": 40000}
        for cluster in (1, 4):
            schedule = f"split = {split}, cluster = {cluster}"
            yield {**base, "heads": heads, "schedule": schedule, **long}
    for bits, group in ((2, 32), (3, 64), (5, 32), (6, 128), (8, 32)):
        sketch = f"bits = {bits}, group = {group}, rotation = hadamard, norm = token"
        warps = 2 if bits > 5 else 4
        schedule = f"split = 256, warps = {warps}, blocks = 2"
        yield {**base, "sketch": sketch, "schedule": schedule}
    for sketch in ("bits = 4, group = 32", "bits = 4, group = 64, rotation = hadamard"):
        yield {**base, "sketch": sketch}
    for dims in ((64, 64), (128, 64), (96, 80)):
        yield {**base, "dims": dims, "schedule": "split = 320, cluster = 2"}
    for size in (8, 24, 32, 64):
        yield {**base, "page_size": size, "always": " sinks 4 window 64"}
    for tolerance in (0.05, 0.9):
        yield {**base, "tolerance": tolerance, "rows": True}
    yield {**base, "layout": "nhd", "dtype": "f16", "always": " sinks 1"}
    yield {**base, "cap": " soft_cap 20.0", "always": " window 300"}
    for stages in (3, 2):
        schedule = f"split = 384, stages = {stages}, blocks = 2, warps = 2"
        yield {**base, "schedule": schedule, "rows": True}
    # Bins of which there are more bytes than codes, and a small head.
    sketch = "bits = 2, group = 32, rotation = hadamard, norm = token"
    yield {**base, "sketch": sketch, "heads": (16, 2)}
    yield {**base, "dims": (64, 64), "heads": (16, 2), "schedule": "split = 512"}
    for budget, cluster in itertools.product((64, 400), (1, 8)):
        small = {"budget": budget, "schedule": f"split = 256, cluster = {cluster}"}
        for heads, always in (((2, 2), ""), ((8, 2), " sinks 4 window 40")):
            yield {**base, **small, "heads": heads, "always": always}
    sketch = "bits = 2, group = 32, rotation = hadamard, norm = token"
    schedule = "split = 512, warps = 8, blocks = 1, cluster = 8"
    yield {**base, "sketch": sketch, "schedule": schedule}
    # Tables of a known width, and a budget of all their tokens.
    budget = 16 * Batch.width(16) + 64
    for heads, cluster in (((8, 2), 8), ((2, 2), 1)):
        schedule = f"split = 256, cluster = {cluster}"
        known = {"static": True, "budget": budget, "schedule": schedule}
        yield {**base, "heads": heads, "always": " sinks 4 window 64", **known}


def text(name, case):
    (heads, kv), (dim, value_dim) = case["heads"], case["dims"]
    size, of, layout = case["page_size"], case["dtype"], case["layout"]
    words = dict(word.split(" = ") for word in case["sketch"].split(", "))
    groups, codes = dim // int(words["group"]), dim * int(words["bits"]) // 8
    pool = f"tensor<?x{kv}x{size}x"

    def cache(dim):
        return (
            f"tensor<?x{kv}x{size}x{dim}x{of}>"
            if layout == "hnd"
            else (f"tensor<?x{size}x{kv}x{dim}x{of}>")
        )

    pages = slots = "?"
    if case["static"]:
        pages = Batch.width(size, case["longest"])
        slots = pages * size
    types = {
        "q": f"tensor<?x{heads}x{dim}x{of}>",
        "k": cache(dim),
        "v": cache(value_dim),
        "table": f"tensor<?x{pages}xi32>",
        "lens": "tensor<?xi32>",
        "seq_lens": "tensor<?xi32>",
    }
    row_type, rows = [], ""
    if case["rows"]:
        types["rows"] = "tensor<?xi32>"
        row_type, rows = [types["rows"]], " rows(%rows)"
    per_token = words.get("norm") == "token"
    parts = {
        "codes": f"{pool}{codes}xi8>",
        "scales": f"{pool}{groups}xf8E4M3FN>",
        "norms": f"tensor<?x{kv}x{size}xi8>" if per_token else f"{pool}{groups}xi8>",
    }
    made = "\n".join(f"  %{n}_any = tensor.empty(%pool) : {t}" for n, t in parts.items())
    results, row = ", ".join(parts.values()), types["lens"]
    score, per_head = f"tensor<?x{heads}x{slots}xf32>", f"tensor<?x{heads}xf32>"
    o = f"tensor<?x{heads}x{value_dim}xf32>"
    ids, counts = f"tensor<?x{kv}x{case['budget']}xi32>", f"tensor<?x{kv}xi32>"
    scored = ", ".join([types["q"], *parts.values(), types["table"], row, *row_type])
    caches = [types[n] for n in ("k", "v")]
    attended = ", ".join([types["q"], *caches, types["table"], row, *row_type, ids, counts])
    last = f"kv_heads {kv} page_size {size}{case['always']} tolerance {case['tolerance']:e}"
    logits = f"scale {dim**-0.5:.9e}{case['cap']}"
    nhd = " layout nhd" if layout == "nhd" else ""
    arguments = ", ".join(f'%{n}: {t} loc("{n}")' for n, t in types.items())
    return f"""
func.func @{name}({arguments}) -> ({o}, {per_head}, {per_head}, {counts}) {{{
    empty_state(types["q"], o, per_head)}
  %pool = tensor.dim %k, %c0 : {types["k"]}
{made}
  %s:3 = vashista.summarize keys(%k) table(%table) lens(%seq_lens)
      sketch <{case["sketch"]}>(%codes_any, %scales_any, %norms_any){nhd}
      : ({types["k"]}, {types["table"]}, {row}, {results}) -> ({results})
  %x:2 = vashista.score %q from #vashista.sketch<{case["sketch"]}>(%s#0, %s#1, %s#2)
      table(%table) lens(%lens){rows} {logits} : ({scored}) -> ({score}, {score})
  %p:3 = vashista.pick proving {case["budget"]} tokens of(%x#0, %x#1) lens(%lens)
      {last} : ({score}, {score}, {row}) -> ({ids}, {counts}, {per_head})
  %a:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens){rows}
      tokens(%p#0, %p#1) outs(%o0, %l0) {logits}{nhd}
      schedule <{case["schedule"]}, fuse = true>
      : ({attended}, {o}, {per_head}) -> ({o}, {per_head})
  return %a#0, %a#1, %p#2, %p#1 : {o}, {per_head}, {per_head}, {counts}
}}"""


def judge_head(case, found, logits, values, is_odd):
    """Of a head that sees something: its output, log-sum-exp and tail."""
    o, lse, tail, _ = found
    top = logits.max()
    exact = log_sum_exp(logits)
    room = 1e-2 + 2e-5 * abs(top)
    if not lse <= exact + room:
        yield f"more mass is attended than there is, {lse} of {exact}"
    if not np.logaddexp(lse, tail) >= exact - room:
        yield f"{lse} and a tail of {tail} are less than {exact}"
    weights = np.exp(logits - exact)
    tau = 1 / (1 + np.exp(lse - tail)) if tail > -INF else 0.0
    largest = np.linalg.norm(values, axis=1).max()
    allowed = tau * (largest + np.linalg.norm(o)) + (2.0**-7 + room) * largest
    off = np.linalg.norm(o - weights @ values)
    if not off <= allowed:
        yield f"the output is off by {off}, expected {allowed} at most"
    limit = np.log(case["tolerance"] / (1 - case["tolerance"]))
    has_room = case["budget"] >= 3000
    if has_room and not is_odd and not tail - lse <= limit + 0.7:
        yield f"the target is missed by {tail - lse - limit} nats"


def judge(counted, case, entry, number, rng):
    (heads, kv), (dim, value_dim) = case["heads"], case["dims"]
    size, group = case["page_size"], heads // kv
    batch = Batch(case, number, rng)
    k = np.full((batch.num_pages, kv, size, dim), np.nan)
    v = np.full((batch.num_pages, kv, size, value_dim), np.nan)
    for b, length in enumerate(batch.seq_lens):
        for p in range(-(-length // size)):
            n = min(size, length - p * size)
            k[batch.table[b, p], :, :n] = rng.standard_normal((kv, n, dim))
            k[batch.table[b, p], :, :n, :3] *= 4
            v[batch.table[b, p], :, :n] = rng.standard_normal((kv, n, value_dim))
    if number % 4 == 3:
        k[batch.table[2, 0], 0, 0, 5] = (INF, np.nan, 3e4)[number // 4 % 3]
    rows = len(batch.lens)
    size_of_q = 30 if number % 4 == 2 else 1 + 1.5 * (number % 3)
    q = size_of_q * rng.standard_normal((rows, heads, dim))
    q *= rng.uniform(0.7, 1.3, (rows, heads, 1))
    if number % 4 == 1:
        add_far_key(k, batch, q, 24, rng)
    swap = (lambda x: x) if case["layout"] == "hnd" else (lambda x: x.swapaxes(1, 2).copy())
    (q_given, q), (_, k), (_, v) = (stored(x, case["dtype"]) for x in (q, k, v))
    k_given, v_given = (stored(swap(x), case["dtype"])[0] for x in (k, v))
    lists = [batch.table, batch.lens, batch.seq_lens, *batch.lists]
    results, is_same = is_repeatable(entry, [q_given, k_given, v_given, *lists])
    if not is_same:
        yield "another result when repeated"
    o, lse, tails, counts = (np.asarray(x, float) for x in results)
    for row in range(rows):
        one = slice(row, row + 1)
        own = [batch.table, batch.lens[one], batch.seq_lens, batch.sequences[one]]
        if not case["rows"]:
            own = [batch.table[one], batch.lens[one], batch.seq_lens[one]]
        alone = entry(part(q_given, one), k_given, v_given, *own, checked=False)
        for x, y in zip(alone, results):
            if np.asarray(x).tobytes() != np.asarray(y)[one].tobytes():
                yield f"row {row}: another result alone"
                break
    is_odd = number % 4 in (1, 2)
    for row, head in np.ndindex(rows, heads):
        length, own = batch.lens[row], head // group
        where = f"row {row} of {length} tokens, head {head}: "
        found = o[row, head], lse[row, head], tails[row, head], counts[row, own]
        if length == 0:
            if found[0].any() or found[1:] != (-INF, -INF, 0):
                yield where + "something of nothing"
            continue
        pages = batch.table[batch.sequences[row], : -(-length // size)]
        keys, values = (
            x[pages, own].reshape(-1, x.shape[3])[:length].astype(float) for x in (k, v)
        )
        with np.errstate(all="ignore"):
            logits = keys @ q[row, head].astype(float) * dim**-0.5
            if case["cap"]:
                logits = 20 * np.tanh(logits / 20)
        if not (logits < INF).all():
            # Nothing can be proved of it; or what is odd is attended.
            if found[2] < INF and np.isfinite(found[1]):
                yield where + "something is proved of what is not finite"
            continue
        if not 0 < found[3] <= length:
            yield where + f"{found[3]} tokens are attended"
        # Tiles of what is not known are attended in any case.
        most = case["budget"] + 44 * ("40" in case["always"]) + 64 * (number % 4 == 3)
        if found[3] > most:
            yield where + f"{found[3]} tokens are attended, expected {most} at most"
        for wrong in judge_head(case, found, logits, values, is_odd):
            yield where + wrong
        counted.append((found[3], length))


def part(given, rows):
    """Some rows of what `stored` gives."""
    import vashista

    if isinstance(given, vashista.Bits):
        return vashista.Bits(given.bits[rows], given.dtype)
    return given[rows]


def main():
    counted = []
    own = functools.partial(judge, counted)
    cases = [(f"chunks{i}", case, text, own) for i, case in enumerate(draw())]

    def note():
        picked, all_there = np.array(counted or [(0, 1)]).sum(0)
        return f"{len(counted)} heads, {picked / all_there:.1%} of the tokens attended, "

    return judge_all(__doc__.splitlines()[0], cases, note=note)


if __name__ == "__main__":
    sys.exit(main())
