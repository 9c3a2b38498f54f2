#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares compiled attention with float64, over shapes, lists and layouts, on a GPU.

Sequences are empty, short and longer than several splits; whatever is not visible,
of pages and of lists, is NaN or no page at all; some states are joined with one that
is there. Every call is repeated and must give the same bits. Prints the largest
error as a share of its bound (docs/theory.md, section 4) and exits with 1 after one
above it.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy. What certificates say on a GPU:
utils/check_certificates.py --target=cuda:sm_90a.
"""

import argparse
import itertools
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import vashista  # noqa: E402

LONGEST = 6000


def draw_cases():
    """Of an attend: heads, sizes, what is attended, types, options."""
    base = {
        "heads": (8, 2),
        "dims": (128, 128),
        "page_size": 16,
        "kind": "dense",
        "dtype": "bf16",
        "layout": "hnd",
        "options": "",
        "rows": False,
        "capacity": "?",
        # Whether the state is a new one, or joined with one that is there.
        "fresh": False,
    }
    for heads in ((4, 4), (8, 2), (6, 2), (16, 2), (24, 2), (32, 2)):
        yield {**base, "heads": heads}
    for dims in ((64, 64), (96, 64), (192, 128), (256, 256), (128, 64)):
        yield {**base, "dims": dims}
    # Rows that are no whole number of what lanes load.
    for dims in ((80, 80), (96, 96), (112, 112), (16, 16), (160, 144)):
        for kind in ("dense", "tokens"):
            yield {**base, "dims": dims, "kind": kind, "page_size": 5 if dims[0] == 16 else 16}
        options = "schedule <stages = 2>"
        yield {**base, "dims": dims, "options": options, "dtype": "f16"}
    yield {**base, "dims": (80, 112), "heads": (32, 2), "kind": "pages"}
    for kind, size in itertools.product(("dense", "pages", "tokens"), (1, 5, 16, 64)):
        yield {**base, "kind": kind, "page_size": size}
    for kind in ("pages", "tokens"):
        yield {**base, "kind": kind, "dtype": "f16", "dims": (64, 64), "capacity": 15}
    yield {**base, "layout": "nhd", "dtype": "f16"}
    yield {**base, "layout": "nhd", "kind": "tokens", "rows": True}
    yield {**base, "options": "soft_cap 20.0", "rows": True}
    yield {**base, "options": "solver <softmax, epsilon = 0.5>", "kind": "pages"}
    yield {**base, "options": "schedule <split = 256>"}
    # Tiles by loads, and by copies of two or more, also of wide rows.
    for kind, dims, schedule in (
        ("dense", (128, 128), "stages = 2, blocks = 3"),
        ("dense", (128, 128), "stages = 3, blocks = 2"),
        ("dense", (96, 64), "stages = 2"),
        ("dense", (256, 256), "stages = 2"),
        ("pages", (128, 128), "stages = 2, blocks = 3"),
        ("pages", (64, 128), "stages = 5, warps = 2, blocks = 3"),
        ("tokens", (128, 128), "stages = 1"),
        ("tokens", (128, 128), "stages = 4, warps = 2"),
        ("tokens", (96, 64), "stages = 8, warps = 1, blocks = 2"),
        ("tokens", (192, 128), "stages = 2"),
    ):
        options = f"schedule <{schedule}>"
        yield {**base, "kind": kind, "dims": dims, "options": options}
    # More heads than a product has: in a block, with loads and copies, or in two.
    for options in ("", "schedule <stages = 1, blocks = 2>", "schedule <blocks = 3>"):
        yield {**base, "heads": (32, 2), "kind": "pages", "options": options}
    for dims in ((64, 64), (96, 128), (192, 128)):
        yield {**base, "heads": (32, 2), "dims": dims, "kind": "tokens"}
    yield {**base, "heads": (40, 2), "layout": "nhd", "dtype": "f16", "fresh": True}
    for heads in ((4, 4), (6, 2), (24, 2)):
        yield {**base, "kind": "tokens", "heads": heads}
        yield {**base, "heads": heads, "options": "schedule <stages = 2, blocks = 3>"}
    for kind, capacity in (("dense", "?"), ("tokens", "?"), ("pages", 15)):
        yield {**base, "kind": kind, "capacity": capacity, "fresh": True}
    yield {**base, "heads": (24, 2), "fresh": True}
    # Without a kernel of tensor cores.
    yield {**base, "dtype": "f32", "dims": (64, 64)}
    yield {**base, "dims": (48, 40), "kind": "tokens"}


def text_of(name, case):
    (heads, kv_heads), (dim, value_dim) = case["heads"], case["dims"]
    size, dtype = case["page_size"], case["dtype"]
    order = f"{kv_heads}x{size}" if case["layout"] == "hnd" else f"{size}x{kv_heads}"
    types = {
        "q": f"tensor<?x{heads}x{dim}x{dtype}>",
        "k": f"tensor<?x{order}x{dim}x{dtype}>",
        "v": f"tensor<?x{order}x{value_dim}x{dtype}>",
        "table": "tensor<?x?xi32>",
        "lens": "tensor<?xi32>",
    }
    clauses = "keys(%k) values(%v) table(%table) lens(%lens)"
    if case["rows"]:
        types["rows"] = "tensor<?xi32>"
        clauses += " rows(%rows)"
    if case["kind"] != "dense":
        types["ids"] = f"tensor<?x{kv_heads}x{case['capacity']}xi32>"
        types["n"] = f"tensor<?x{kv_heads}xi32>"
        clauses += f" {case['kind']}(%ids, %n)"
    states = {
        "o": f"tensor<?x{heads}x{value_dim}xf32>",
        "lse": f"tensor<?x{heads}xf32>",
    }
    given = dict(types) if case["fresh"] else {**types, **states}
    arguments = ", ".join(f'%{name}: {of} loc("{name}")' for name, of in given.items())
    fills = ""
    if case["fresh"]:
        fills = f"%c0 = arith.constant 0 : index\n  %n0 = tensor.dim %q, %c0 : {types['q']}"
        for state, empty in (("o", "0.0"), ("lse", "0xFF800000")):
            fills += f"""
  %{state}_value = arith.constant {empty} : f32
  %{state}_any = tensor.empty(%n0) : {states[state]}
  %{state} = linalg.fill ins(%{state}_value : f32)
      outs(%{state}_any : {states[state]}) -> {states[state]}"""
    types.update(states)
    results = f"{types['o']}, {types['lse']}"
    scale, layout = f"scale {dim**-0.5:.9e}", f"layout {case['layout']}"
    options = case["options"]
    # A schedule comes after the layout, what else there is before it.
    before, after = ("", options) if "schedule" in options else (options, "")
    return f"""
func.func @{name}({arguments}) -> ({results}) {{
  {fills}
  %r:2 = vashista.attend %q {clauses} outs(%o, %lse) {scale} {before} {layout} {after}
      : ({', '.join(types.values())}) -> ({results})
  return %r#0, %r#1 : {results}
}}"""


def stored(array, dtype):
    """An array as it is given to an entry, and what it then holds."""
    if dtype == "bf16":
        bits = vashista.as_bfloat16(array.astype(np.float32))
        return bits, bits.float32().astype(np.float64)
    narrow = array.astype(np.float16 if dtype == "f16" else np.float32)
    return narrow, narrow.astype(np.float64)


class Trial:
    """Sequences, queries and lists of a case."""

    def __init__(self, case, number, rng):
        self.case, self.rng = case, rng
        (heads, kv_heads), (dim, value_dim) = case["heads"], case["dims"]
        size, dtype = case["page_size"], case["dtype"]
        lens = rng.integers(1, LONGEST, 3)
        if number % 2:
            lens[:2] = 0, rng.integers(1, 70)
        need = -(-lens // size)
        order = iter(rng.permutation(need.sum() + 2))
        self.table = np.full((3, -(-LONGEST // size)), 2**31 - 1, np.int32)
        spread = 4 if number == 2 else 1
        k = np.full((need.sum() + 2, kv_heads, size, dim), np.nan)
        v = np.full((*k.shape[:3], value_dim), np.nan)
        for b in range(3):
            for p in range(need[b]):
                page = self.table[b, p] = next(order)
                n = min(size, lens[b] - p * size)
                k[page, :, :n] = spread * rng.standard_normal((kv_heads, n, dim))
                v[page, :, :n] = rng.standard_normal((kv_heads, n, value_dim))
        self.sequences, self.lens = np.arange(3, dtype=np.int32), lens.astype(np.int32)
        if case["rows"]:
            self.sequences = np.array([2, 0, 1, 2, 2], np.int32)
            self.lens = self.lens[self.sequences]
            self.lens[3:] = max(lens[2] - 1, 0), lens[2] // 2
        q = rng.standard_normal((len(self.lens), heads, dim))
        (q, self.q), (k, self.k), (v, self.v) = (stored(x, dtype) for x in (q, k, v))
        if case["layout"] == "nhd":
            k, v = (self.swap(x) for x in (k, v))
        self.arguments = [q, k, v, self.table, self.lens]
        if case["rows"]:
            self.arguments.append(self.sequences)
        self.ids = None
        if case["kind"] != "dense":
            self.draw_lists(kv_heads)
        shape = (len(self.lens), heads)
        self.o = np.zeros((*shape, value_dim), np.float32)
        self.lse = np.full(shape, -np.inf, np.float32)
        if number == 1 and not case["fresh"]:
            self.o[...] = rng.standard_normal(self.o.shape)
            self.lse[...] = 3 * rng.standard_normal(shape)

    @staticmethod
    def swap(x):
        if isinstance(x, vashista.Bits):
            return vashista.Bits(Trial.swap(x.bits), x.dtype)
        return np.ascontiguousarray(x.swapaxes(1, 2))

    def draw_lists(self, kv_heads):
        capacity = self.case["capacity"]
        if capacity == "?":
            capacity = 600 if self.case["kind"] == "pages" else 2500
        unit = self.case["page_size"] if self.case["kind"] == "pages" else 1
        # What lies behind the count is not read.
        self.ids = np.full((len(self.lens), kv_heads, capacity), 2**31 - 1, np.int32)
        self.n = np.zeros(self.ids.shape[:2], np.int32)
        for row, head in np.ndindex(*self.n.shape):
            most = -(-self.lens[row] // unit)
            n = self.n[row, head] = self.rng.integers(0, min(capacity, most) + 1)
            self.ids[row, head, :n] = np.sort(self.rng.permutation(most)[:n])
            if n > 3:
                self.ids[row, head, 1] = -1
        self.arguments += [self.ids, self.n]

    def positions(self, row, kv_head):
        if self.ids is None:
            return np.arange(self.lens[row])
        ids = self.ids[row, kv_head, : self.n[row, kv_head]]
        ids = ids[ids >= 0]
        if self.case["kind"] == "pages":
            size = self.case["page_size"]
            ids = (ids[:, None] * size + np.arange(size)).ravel()
        return ids[ids < self.lens[row]]

    def judge(self, entry):
        """Yields the shares of their bounds that errors are."""
        runs = []
        for _ in range(2):
            if self.case["fresh"]:
                runs.append(entry(*self.arguments, checked=False))
                continue
            o, lse = self.o.copy(), self.lse.copy()
            entry(*self.arguments, o, lse, checked=False)
            runs.append((o, lse))
        (o, lse), again = runs
        if o.tobytes() != again[0].tobytes() or lse.tobytes() != again[1].tobytes():
            yield "repeated", np.inf
        case, size = self.case, self.case["page_size"]
        (heads, kv_heads), (dim, _) = case["heads"], case["dims"]
        scale = np.float64(np.float32(dim**-0.5))
        epsilon = 0.5 if "epsilon" in case["options"] else 1.0
        unit = {"bf16": 2.0**-8, "f16": 2.0**-11, "f32": 0.0}[case["dtype"]]
        for row, head in np.ndindex(len(self.lens), heads):
            kv_head = head // (heads // kv_heads)
            at = self.positions(row, kv_head)
            pages = self.table[self.sequences[row], at // size]
            keys = self.k[pages, kv_head, at % size]
            values = self.v[pages, kv_head, at % size]
            x = keys @ self.q[row, head] * scale
            if "soft_cap" in case["options"]:
                x = 20 * np.tanh(x / 20)
            # The state that is there is one more token.
            x = np.append(x / epsilon, np.float64(self.lse[row, head]))
            values = np.vstack([values, self.o[row, head]])
            if x.max() == -np.inf:
                kept = (o[row, head] == self.o[row, head]).all()
                same = lse[row, head] == -np.inf and kept
                yield "of nothing", 0.0 if same else np.inf
                continue
            weights = np.exp(x - x.max())
            truth = x.max() + np.log(weights.sum())
            norms = np.linalg.norm(keys, axis=1)
            reach = np.linalg.norm(self.q[row, head]) * norms.max(initial=0.0)
            e = 2 * (dim + 8) * 2.0**-24 * scale / epsilon * reach
            e += len(x) * 2.0**-26 + 2.0**-20 * max(1, abs(truth))
            largest = np.abs(values).max()
            yield "lse", abs(lse[row, head] - truth) / e
            wrong = np.abs(o[row, head] - weights @ values / weights.sum()).max()
            yield "o", wrong / ((unit + 7 * e) * largest)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cuda:sm_90a", help="as of vashista-compile")
    parser.add_argument("--trials", type=int, default=3, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--artefact", help="kept there; compiled if it is not there")
    args = parser.parse_args()
    cases = list(draw_cases())
    text = "".join(text_of(f"case{i}", case) for i, case in enumerate(cases))
    if args.artefact and pathlib.Path(args.artefact).exists():
        artefact = vashista.load(args.artefact)
    else:
        artefact = vashista.compile(text, args.target, output=args.artefact)
    worst, failures, checks = {}, 0, 0
    for i, case in enumerate(cases):
        for number in range(args.trials):
            rng = np.random.default_rng([args.seed, i, number])
            for what, share in Trial(case, number, rng).judge(artefact[f"case{i}"]):
                worst[what] = max(worst.get(what, 0.0), share)
                checks += 1
                if not share <= 1:
                    failures += 1
                    if failures < 20:
                        print(f"{case}, trial {number}: {what} is {share} of its bound")
    print(
        f"{len(cases)} cases on {artefact.device} ({artefact.architecture or 'CPU'}), "
        f"{checks} comparisons, {failures} failures; largest shares of bounds: "
        + ", ".join(f"{what} {share:.3f}" for what, share in sorted(worst.items()))
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
