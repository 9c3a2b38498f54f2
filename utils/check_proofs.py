#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares what is picked by a sketch to prove a target with float64.

A group scores its tokens by a sketch and picks what its proofs need, once, and once
more after a list that is attended already. Tails must not be below the bounds of what
is left, nor above them by more than levels and sums round. A group that is not over
its budget must be near its target by the scores of what it picked, and must not pick
far more than float64 finds to be enough: of few heads, if a quarter of what is picked
were not there, which a GPU aims at. One head that is over it must pick the best.
Sequences share nothing, keys are Gaussian but for a few channels, or not finite; logits
of some heads are in the hundreds, as those of trained models can be, and a key far above
others has their highest bound, and no score.

With a moment tails must not be below the mass that is left, nor below that of the worst
logits that have these scores, bounds and moment, nor far above what the best threshold
makes of them.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import functools
import itertools
import sys

import numpy as np

from check_attend import stored
from check_selection import Batch, is_repeatable, log_sum_exp
from judge_cases import judge_all

INF = np.inf
#: How far a GPU's bins are off, as a share of a mass, and how far it takes a slot's log to
#: be off at least; and how much it counts on at least.
OF_BINS, LEAST_OFF, LEAST_PROMISED = 0.02, 0.375, 0.25


def draw():
    base = {
        "heads": (8, 2),
        "dim": 128,
        "page_size": 16,
        "bits": 4,
        "budget": 512,
        "tolerance": 0.5,
        "always": "",
        "rows": False,
        "within": False,
        "longest": 0,
        "scale": 1,
        "moment": False,
        "static": False,
    }
    for heads, tolerance in itertools.product(
        ((2, 2), (4, 2), (6, 2), (8, 2), (14, 2), (16, 2), (24, 2)), (0.5, 0.1)
    ):
        yield {**base, "heads": heads, "tolerance": tolerance}
    for heads, budget in itertools.product(((2, 2), (8, 2)), (64, 1024, 4096)):
        yield {**base, "heads": heads, "budget": budget}
    for heads in ((2, 2), (8, 2)):
        yield {**base, "heads": heads, "always": " sinks 4 window 64"}
    for size in (5, 32):
        yield {**base, "page_size": size}
    yield {**base, "rows": True}
    # So long that a sample is counted.
    for heads, size in (((2, 2), 16), ((8, 2), 16), ((8, 2), 8)):
        long = {"page_size": size, "longest": 70008, "budget": 16384, "scale": 3}
        yield {**base, "heads": heads, **long}
    for heads in ((2, 2), (8, 2), (14, 2)):
        yield {**base, "heads": heads, "moment": True}
    for heads, bits in (((2, 2), 5), ((8, 2), 5), ((8, 2), 3), ((8, 2), 6)):
        yield {**base, "heads": heads, "bits": bits}
    yield {**base, **long, "page_size": 16, "bits": 5}
    # ... which of fewer has more in it.
    for bits in (4, 5):
        yield {**base, **long, "page_size": 16, "longest": 36000, "bits": bits}
    yield {**base, "bits": 5, "moment": True}
    yield {**base, "tolerance": 0.1, "moment": True}
    yield {**base, **long, "moment": True}
    for size, budget in ((5, 512), (16, 96), (16, 4096)):
        more = {"page_size": size, "budget": budget, "always": " sinks 4 window 64"}
        yield {**base, **more, "rows": True, "moment": True}
    # More heads than a product has, to more than a block has bins for, and numbers of
    # them that are no multiples of those that are counted together.
    for heads in ((20, 1), (36, 1), (5, 1), (12, 2), (9, 1), (13, 1), (14, 1), (17, 1)):
        yield {**base, "heads": heads}
    yield {**base, "heads": (24, 2), "budget": 64}
    yield {**base, "heads": (24, 2), "always": " sinks 4 window 64", "rows": True}
    yield {**base, "heads": (24, 2), **long, "page_size": 16}
    # Pages of which a tile of a scan takes several, or no whole number.
    for heads, size in (((8, 2), 1), ((2, 2), 2), ((8, 2), 4), ((24, 2), 8), ((8, 2), 24)):
        yield {**base, "heads": heads, **long, "page_size": size, "longest": 9000}
    yield {**base, "heads": (8, 2), **long, "page_size": 1, "bits": 5}
    for size in (1, 8):
        yield {**base, "page_size": size, "bits": 5, "moment": True}
    # Warps of a block with KV heads of their own.
    for heads, size in (((16, 4), 1), ((48, 4), 2)):
        yield {**base, "heads": heads, **long, "page_size": size, "longest": 9000}
    # Tables of a known width, and a budget of all their tokens.
    budget = 16 * Batch.width(16) + 64
    for heads, always in (((8, 2), ""), ((2, 2), " sinks 4 window 64"), ((24, 2), "")):
        yield {**base, "heads": heads, "always": always, "static": True, "budget": budget}


def text(name, case):
    (heads, kv), dim, size = case["heads"], case["dim"], case["page_size"]
    groups = dim // 32
    pool = f"tensor<?x{kv}x{size}x"
    pages = slots = "?"
    if case["static"]:
        pages = Batch.width(size, case["longest"])
        slots = pages * size
    types = {
        "q": f"tensor<?x{heads}x{dim}xf32>",
        "k": f"{pool}{dim}xf32>",
        "table": f"tensor<?x{pages}xi32>",
        "lens": "tensor<?xi32>",
        "seq_lens": "tensor<?xi32>",
        "rows": "tensor<?xi32>",
        "taken": f"tensor<?x{kv}x?xi32>",
        "attended": f"tensor<?x{heads}xf32>",
    }
    if not case["rows"]:
        types.pop("rows")
    moment, moment_type = "", ""
    if case["moment"]:
        types["moment"] = f"tensor<?x{heads}xf32>"
        moment, moment_type = " moment(%moment)", f", {types['moment']}"
    rows = " rows(%rows)" if case["rows"] else ""
    row_type = [types["rows"]] if case["rows"] else []
    parts = {
        "codes": f"{pool}{dim * case['bits'] // 8}xi8>",
        "scales": f"{pool}{groups}xf8E4M3FN>",
        "norms": f"tensor<?x{kv}x{size}xi8>",
    }
    made = "\n".join(f"  %{n}_any = tensor.empty(%pool) : {of}" for n, of in parts.items())
    results = ", ".join(parts.values())
    sketch = f"<bits = {case['bits']}, group = 32, rotation = hadamard, norm = token>"
    score, per_head = f"tensor<?x{heads}x{slots}xf32>", f"tensor<?x{heads}xf32>"
    ids, counts = f"tensor<?x{kv}x{case['budget']}xi32>", f"tensor<?x{kv}xi32>"
    operands = ", ".join([types["q"], *parts.values(), types["table"], types["lens"], *row_type])
    mode = f"proving {case['budget']} tokens of(%x#0, %x#1) lens(%lens)"
    last = f"kv_heads {kv} page_size {size}{case['always']} tolerance {case['tolerance']:e}"
    head = f"""  %c0 = arith.constant 0 : index
  %pool = tensor.dim %k, %c0 : {types["k"]}
{made}
  %s:3 = vashista.summarize keys(%k) table(%table) lens(%seq_lens)
      sketch {sketch}(%codes_any, %scales_any, %norms_any)
      : ({types["k"]}, {types["table"]}, {types["lens"]}, {results}) -> ({results})
  %x:2 = vashista.score %q from #vashista.sketch{sketch}(%s#0, %s#1, %s#2) table(%table)
      lens(%lens){rows} scale {dim**-0.5:.9e} : ({operands}) -> ({score}, {score})"""
    arguments = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    picked = f"({ids}, {counts}, {per_head})"
    return f"""
func.func @{name}_scores({arguments}) -> ({score}, {score}) {{
{head}
  return %x#0, %x#1 : {score}, {score}
}}
func.func @{name}({arguments}) -> ({ids}, {counts}, {per_head}, {ids}, {counts}, {per_head}) {{
{head}
  %p:3 = vashista.pick {mode}{moment} {last}
      : ({score}, {score}, {types["lens"]}{moment_type}) -> {picked}
  %r:3 = vashista.pick {mode} taken(%taken) attended(%attended){moment} {last}
      : ({score}, {score}, {types["lens"]}, {types["taken"]}, {types["attended"]}{moment_type})
        -> {picked}
  return %p#0, %p#1, %p#2, %r#0, %r#1, %r#2
      : {ids}, {counts}, {per_head}, {ids}, {counts}, {per_head}
}}"""


def left_by_moment(score, bound, moment):
    """What slots from each on, and from behind the last, stand for at most: in their
    order, in which the first are as bad as their bounds."""
    lack = np.maximum(bound - score, 0)
    mass = np.exp(score)

    def from_each(x):
        return np.append(np.cumsum(x[::-1])[::-1], 0)

    gain, cost = np.exp(bound) - mass * (1 + lack), lack**2
    gains, costs = (np.append(0, np.cumsum(x)) for x in (gain, cost))
    most = np.interp(costs + moment, costs, gains) - gains
    return from_each(mass) + np.sqrt(moment * from_each(mass**2)) + most


def worst_left(score, bound, moment):
    """The log of what slots stand for of which as many as can be are as bad as their
    bounds, and the others as their scores say: nothing that is given forbids it."""
    lack = np.maximum(bound - score, 1e-9)
    gain = np.exp(bound - bound.max()) - np.exp(score - bound.max())
    order = np.argsort(-gain / lack**2)
    bad = order[np.cumsum(lack[order] ** 2) <= moment]
    logits = score.copy()
    logits[bad] = bound[bad]
    return log_sum_exp(logits)


def find_enough(scores, bounds, moments, ratio, attended, always, risk):
    """How many slots are enough for all heads, by the mass that scores of what is picked
    promise: heads after each other, each the best of its bounds.

    risk: how many deviations of that mass less than promised are to do, 0 on a CPU, and
    a slot's own as a share of what its score lacks. What is picked in any case may be one
    slot, of which no more than that is unknown.
    """
    chosen = np.zeros(bounds.shape[1], bool)
    for score, bound, moment, other in zip(scores, bounds, moments, attended):
        top = bound.max()
        mass = np.exp(score - top)
        order = np.argsort(-bound, kind="stable")
        order = order[~chosen[order]]
        got = mass[chosen].sum() + np.append(0, np.cumsum(mass[order]))
        deviations, of_lack = risk
        if deviations:
            squares = (mass[chosen] ** 2).sum() + np.append(0, np.cumsum(mass[order] ** 2))
            own = of_lack * np.mean(bound - score)
            off = max(own, LEAST_OFF)
            sure = mass[always].sum() * own / off
            share = off * np.sqrt(squares + sure**2) / np.maximum(got, 1e-300)
            promised = np.exp(-deviations * np.hypot(share, OF_BINS))
            got = got * np.maximum(promised, LEAST_PROMISED)
        got += np.exp(other - top)
        if np.isnan(moment):
            left = np.append(np.cumsum(np.exp(bound[order] - top)[::-1])[::-1], 0)
        else:
            left = left_by_moment(score[order] - top, bound[order] - top, moment)
        chosen[order[: np.argmax(left <= ratio * got)]] = True
    return chosen.sum()


# Sums of masses are made by chords of an exponential, 6 % high at most.
LEVEL_ROOM = np.log(1.0615) + 1e-2


def by_level(bound, group):
    """What bounds are as bytes: levels below the highest of 64, an eighth of a bit each, or
    more where the first of these lie far apart."""
    number = -(-bound.size // 64)
    tiles = np.full(64 * number, INF)
    tiles[: bound.size] = bound
    tiles = tiles.reshape(number, 64)
    is_none = np.arange(tiles.size).reshape(tiles.shape) >= bound.size
    tops = np.where(is_none, -INF, tiles).max(1, keepdims=True)
    some = tiles[:, : 16 * max(4 // group, 1)]
    apart = tops - some.min(1, keepdims=True)
    reach = 255 / 8 * np.log(2)
    step = np.log(2) / 8 * 2 ** sum(apart > most for most in (28, 2 * reach, 4 * reach))
    levels = np.clip(np.floor((tops - tiles) / step - 0.01), 0, 255)
    return np.where(tops < INF, tops - levels * step, INF).reshape(-1)[: bound.size]


def judge_pick(where, case, found, given, counted):
    """Of a group; `given`: scores, bounds, logits, moments (NaN for none), taken slots,
    the mass attended, what is picked in any case, how many slots a table has room for,
    whether logits are in the hundreds, whether they or a key are odd, whether it is a
    GPU's, and how many deviations less than promised it allows for; `counted` gets how
    many were picked, and how many are enough."""
    ids, count, tails = found
    scores, bounds, logits, moments, taken, attended, always, *more = given
    num_slots, is_loud, is_odd, on_gpu, deviations = more
    length, budget = bounds.shape[1], case["budget"]
    ratio = case["tolerance"] / (1 - case["tolerance"])
    if (ids[count:] != -1).any() or (np.diff(ids[:count]) <= 0).any():
        yield f"{where}: ids are not ascending, or not padded"
        return
    chosen = np.zeros(length, bool)
    chosen[ids[:count]] = True
    if (chosen & taken).any():
        yield f"{where}: a taken token is picked again"
    left = ~chosen & ~taken
    is_lost = np.zeros(len(bounds), bool)
    for head, (bound, tail) in enumerate(zip(bounds, tails)):
        exact = log_sum_exp(bound[left]) if left.any() else -INF
        room = 1e-2
        if on_gpu and left.any():
            known = log_sum_exp(by_level(bound, len(bounds))[left]) + LEVEL_ROOM
            room = max(known - exact, room)
        if not np.isnan(moments[head]) and left.any() and np.isfinite(bound[left]).all():
            order = np.argsort(-bound[left], kind="stable")
            own, others = scores[head][left][order], bound[left][order]
            most = others.max()
            exact = max(log_sum_exp(logits[head][left]), worst_left(own, others, moments[head]))
            limit = most + np.log(left_by_moment(own - most, others - most, moments[head])[0])
            # Thresholds are tried for bounds a few nats above scores. A GPU has one, found
            # in bins: of few slots it is far from the best.
            is_far = on_gpu and length < 4096
            far = 3 if is_far else 1.2 if is_odd or on_gpu else 0.5
            room = max(limit - exact, 0) + (INF if is_loud else far)
        if np.isnan(bound[left]).any() or (bound[left] == INF).any():
            exact = INF
        if not tail >= exact:
            yield f"{where}, head {head}: the tail {tail} is below {exact}"
        # Masses too small for f32 beside the highest bound's are not told apart.
        top = bound[np.isfinite(bound)].max(initial=-INF)
        lost = top - 126 * np.log(2) + np.log(num_slots)
        most = np.logaddexp(exact, lost) + room
        is_lost[head] = tail <= lost + room
        if not (tail <= most or exact == -INF == tail):
            yield f"{where}, head {head}: the tail {tail} is above {most}"
    if not np.isfinite(bounds).all():
        if left.any() and not np.isfinite(bounds[:, left]).all() and count < budget:
            yield f"{where}: a token that is not known is left"
        return
    open_slots = ~taken

    def find_all():
        own, others, sure = (x[..., open_slots] for x in (scores, bounds, always))
        risk = deviations, case["dim"] ** -0.5
        return find_enough(own, others, moments, ratio, attended, sure, risk)

    if count < budget:
        if (always & ~chosen & open_slots).any():
            yield f"{where}: a sink or a token of the window is left"
        if not left.any():
            return
        mass = np.array([log_sum_exp(np.append(s[chosen], a)) for s, a in zip(scores, attended)])
        short = np.where(is_lost, -INF, tails - mass - np.log(ratio)).max()
        # Bins are up to 1/4 nat; with a moment they are averages, and thresholds others.
        by_moment = not np.isnan(moments[0])
        if by_moment and (is_loud or on_gpu and length < 4096):
            return
        if short > (1.2 if by_moment and is_odd else 0.375 if by_moment or is_loud else 0.25):
            yield f"{where}: a head is short of its target by {short} nats"
        enough = find_all()
        counted.append((count, max(enough, 1)))
        few = 128 if by_moment and is_odd else 64  # bins are wide beside a far key
        if count > 1.5 * enough + always.sum() + few:
            yield f"{where}: {count} are picked where {enough} are enough"
        return
    enough = find_all()
    if budget > 1.5 * enough + always.sum() + 64:
        yield f"{where}: the budget of {budget} is picked where {enough} are enough"
    # The best of what one head needs: of bounds as high as those picked; by bounds or
    # scores, as they are kept, and no nearer than levels are.
    if len(bounds) > 1:
        return
    own, margin = bounds[0], 5e-3
    if on_gpu:
        own, margin = by_level(own, 1), 2 / 64 * np.log(2) + 5e-3
    is_needed = always | (own >= own[chosen & ~always].min(initial=INF))
    for x in (own, scores[0]):
        x = np.maximum(x, x.max() - 127)  # what is deeper is not told apart
        rank = np.where(taken | ~is_needed, -INF, np.where(always, INF, x))
        if (rank > rank[chosen].min() + margin).sum() <= 1.1 * budget:
            return
    yield f"{where}: what is picked is not the best"


def add_far_key(k, batch, q, size, rng):
    """Makes the first key of the last sequence one that no row looks at, some 50 nats
    above the others."""
    kv, dim = k.shape[1], k.shape[3]
    group = q.shape[1] // kv
    for head in range(kv):
        looks = q[batch.sequences == 2, head * group : (head + 1) * group].reshape(-1, dim)
        away = np.linalg.qr(looks.T)[0]
        key = size * rng.standard_normal(dim)
        k[batch.table[2, 0], head, 0] = key - away @ (away.T @ key)


def judge(counted, case, entries, number, rng):
    (heads, kv), dim, size = case["heads"], case["dim"], case["page_size"]
    group, batch = heads // kv, Batch(case, number, rng)
    k = np.full((batch.num_pages, kv, size, dim), np.nan)
    for b, length in enumerate(batch.seq_lens):
        for p in range(-(-length // size)):
            n = min(size, length - p * size)
            k[batch.table[b, p], :, :n] = rng.standard_normal((kv, n, dim))
            k[batch.table[b, p], :, :n, :3] *= 4
    if number % 4 == 3:
        k[batch.table[2, 0], 0, 0, 5] = (INF, np.nan, 1e30)[number // 4 % 3]
    rows = len(batch.lens)
    deviations = 0 if entries[2] == "cpu" else np.sqrt(2 * np.log(rows * heads))
    is_loud = number % 4 == 2  # logits of hundreds, bounds tens of nats above scores
    size_of_q = 30 if is_loud else case["scale"] * (1 + 1.5 * (number % 3))
    q = size_of_q * rng.standard_normal((rows, heads, dim))
    q *= rng.uniform(0.7, 1.3, (rows, heads, 1))
    if number % 4 == 1:
        add_far_key(k, batch, q, 24 / case["scale"], rng)
    q, k = stored(q, "f32")[0], stored(k, "f32")[0]
    taken = np.full((rows, kv, 256), -1, np.int32)
    for row, head in np.ndindex(rows, kv):
        some = min(200, batch.lens[row])
        ids = rng.permutation(batch.lens[row])[:some] if number % 2 else range(some)
        taken[row, head, :some] = np.sort(ids)
    attended = np.float32(rng.normal(0, 3, (rows, heads)))
    lists = [batch.table, batch.lens, batch.seq_lens, *batch.lists, taken, attended]
    moment = np.full((rows, heads), np.nan, np.float32)
    given_moment = [moment] if case["moment"] else []
    scores, bounds = entries[1](q, k, *lists, *given_moment, checked=False)
    exact = np.full(scores.shape, -INF)
    for row, head in np.ndindex(rows, heads):
        length, own = batch.lens[row], head // group
        pages = batch.table[batch.sequences[row], : -(-length // size)]
        with np.errstate(all="ignore"):
            keys = k[pages, own].reshape(-1, dim)[:length].astype(float)
            exact[row, head, :length] = keys @ q[row, head].astype(float) * dim**-0.5
            known = np.isfinite(bounds[row, head, :length])
            off = (exact - scores)[row, head, :length][known]
        if case["moment"]:
            moment[row, head] = np.float32((off**2).sum() * (1 + 1e-6))
    if is_loud:  # the best are taken, and attended: else all that is left is beyond f32
        for row, head in np.ndindex(rows, heads):
            some = min(200, batch.lens[row])
            if head % group == 0:
                best = np.argsort(-bounds[row, head, : batch.lens[row]])[:some]
                taken[row, head // group, :some] = np.sort(best)
            ids = taken[row, head // group, :some]
            attended[row, head] += log_sum_exp(scores[row, head, ids].astype(float))
    if number % 4 == 1:  # what is taken is attended, the key's own logit with it
        for row, head in np.ndindex(rows, heads):
            ids = taken[row, head // group]
            ids = ids[ids >= 0]
            pages = batch.table[batch.sequences[row], ids // size]
            logits = k[pages, head // group, ids % size] @ q[row, head].astype(float)
            attended[row, head] = log_sum_exp(logits * dim**-0.5) if len(ids) else -INF
    found, is_same = is_repeatable(entries[0], [q, k, *lists, *given_moment])
    if not is_same:
        yield "another result when repeated"
    for row, head in np.ndindex(rows, kv):
        length, own = batch.lens[row], slice(head * group, (head + 1) * group)
        at = np.arange(length)
        sinks, window = (4, 64) if case["always"] else (0, 0)
        always = (at < sinks) | (at >= length - window) if window else np.zeros(length, bool)
        x, y = scores[row, own, :length].astype(float), bounds[row, own, :length].astype(float)
        was = np.zeros(length, bool)
        was[taken[row, head][taken[row, head] >= 0]] = True
        nothing = np.full(group, -INF)
        for which, ids, count, tails in ((0, *found[:3]), (1, *found[3:])):
            given = [x, y, exact[row, own, :length], moment[row, own].astype(float)]
            given += [was if which else was & False]
            given += [attended[row, own] if which else nothing]
            given += [always & ~was if which else always, scores.shape[2], is_loud]
            given += [number % 4 in (1, 2), entries[2] != "cpu"]
            given += [deviations]
            pick = ids[row, head], count[row, head], tails[row, own].astype(float)
            where = f"row {row}, KV head {head}, pick {which}"
            if length == 0:
                if pick[1] != 0 or (pick[2] != -INF).any():
                    yield f"{where}: something of nothing"
                continue
            yield from judge_pick(where, case, pick, given, counted)


def main():
    counted = []
    own = functools.partial(judge, counted)
    cases = [(f"proof{i}", case, text, own) for i, case in enumerate(draw())]

    def note():
        if not counted:
            return "no picks within budgets, "
        picked, enough = np.array(counted).sum(0)
        return (
            f"{len(counted)} picks within budgets, of {picked / enough:.3f} times as "
            "many tokens as are enough, "
        )

    return judge_all(
        __doc__.splitlines()[0],
        cases,
        find=lambda artefact, name: (
            artefact[name],
            artefact[f"{name}_scores"],
            artefact.device,
        ),
        note=note,
    )


if __name__ == "__main__":
    sys.exit(main())
