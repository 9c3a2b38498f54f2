#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lies to steps that check what they are given (--checked), on a GPU.

Page tables, lengths, rows, positions, lists and counts are wrong in random places of
random batches. What a step says of each row must be what is found here, in the same
order; a row at fault must be empty, every other what it is without the lie, bit for bit,
and a cache must be what it is when only the others are appended. The host, asked to
verify the same, must refuse it by the same sentence, or run it where nothing is at fault.
Exits with 1 after a failure.

Needs NumPy, a CUDA device, and ptxas for a target such as cuda:sm_90a; with
--target=cpu none of these but NumPy.
"""

import collections
import dataclasses
import sys

import numpy as np

from judge_cases import empty_state, judge_all, vashista

MOST, LEAST = 2**31 - 1, -(2**31)
HEADS, KV, DIM = 8, 2, 64
LISTED = {"tokens": 40, "pages": 6}  # entries of a list
MUTANTS = 50  # of a trial
# What is at fault, as the ops have it.
ROW, LENGTH, PAGE, POSITION, COUNT, ENTRY = range(1, 7)
NAMES = ["none", "row", "length", "page", "position", "count", "entry"]

mutants = 0
counts = collections.Counter()


def draw():
    base = {"step": "dense", "rows": False, "count": False, "page_size": 16}
    for rows in (False, True):
        yield {**base, "rows": rows}
        yield {**base, "step": "routed", "rows": rows}
        yield {**base, "step": "append", "rows": rows}
        for step in LISTED:
            yield {**base, "step": step, "rows": rows, "count": not rows}
    yield {**base, "page_size": 1, "rows": True}
    yield {**base, "page_size": 64, "step": "tokens", "count": True}
    yield {**base, "page_size": 5, "step": "append", "rows": True}


def arguments_of(case):
    """Names and types, in order."""
    pool = f"tensor<?x{KV}x{case['page_size']}x{DIM}xf16>"
    types = {"table": "tensor<?x?xi32>"}
    if case["rows"]:
        types["rows"] = "tensor<?xi32>"
    if case["step"] == "append":
        new = f"tensor<?x{KV}x{DIM}xf16>"
        return {"key": new, "value": new, "at": "tensor<?xi32>", **types, "k": pool, "v": pool}
    types["lens"] = "tensor<?xi32>"
    types = {"q": f"tensor<?x{HEADS}x{DIM}xf16>", "k": pool, "v": pool, **types}
    if case["step"] == "routed":
        types["mean"] = f"tensor<?x{KV}x{DIM}xf16>"
    if case["step"] in LISTED:
        types["list"] = f"tensor<?x{KV}x{LISTED[case['step']]}xi32>"
        if case["count"]:
            types["n"] = f"tensor<?x{KV}xi32>"
    return types


def step_text(name, case):
    types = arguments_of(case)
    given = ", ".join(f'%{n}: {of} loc("{n}")' for n, of in types.items())
    rows = " rows(%rows)" if case["rows"] else ""
    row_type = ["tensor<?xi32>"] if case["rows"] else []
    if case["step"] == "append":
        read = ", ".join(
            [types[n] for n in ("key", "value", "at", "table")]
            + row_type
            + [types["k"], types["v"]]
        )
        pools = f"{types['k']}, {types['v']}"
        return f"""
func.func @{name}({given}) -> ({pools}) {{
  %w:2 = vashista.append key(%key) value(%value) at(%at) table(%table){rows}
      into(%k, %v) : ({read}) -> ({pools})
  return %w#0, %w#1 : {pools}
}}"""
    o, lse = f"tensor<?x{HEADS}x{DIM}xf32>", f"tensor<?x{HEADS}xf32>"
    read = [types[n] for n in ("q", "k", "v", "table", "lens")] + row_type
    scale = f"scale {DIM**-0.5:.9e}"
    if case["step"] == "routed":
        read = ", ".join([*read, types["mean"]])
        step = f"""
  %s:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens){rows}
      summary <mean>(%mean)
      policy <pages = 8, candidates = 64, sinks = 4, window = 20> {scale}
      : ({read})
      -> ({o}, {lse}, {lse}, {lse}, tensor<?x{KV}xi32>, tensor<?x{KV}xi1>)"""
    else:
        listed = ""
        if case["step"] in LISTED:
            names = ["list", "n"][: 1 + case["count"]]
            listed = f" {case['step']}({', '.join(f'%{n}' for n in names)})"
            read += [types[n] for n in names]
        read = ", ".join([*read, o, lse])
        step = f"""{empty_state(types["q"], o, lse)}
  %s:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens){rows}{listed}
      outs(%o0, %l0) {scale} : ({read}) -> ({o}, {lse})"""
    return f"""
func.func @{name}({given}) -> ({o}, {lse}) {{{step}
  return %s#0, %s#1 : {o}, {lse}
}}"""


@dataclasses.dataclass
class Batch:
    """What an entry is given."""

    case: dict
    arrays: dict

    @staticmethod
    def draw(case, rng):
        size = case["page_size"]
        sequences, width = rng.integers(1, 6), rng.integers(2, 40)
        capacity = width * size
        lens = rng.integers(0, capacity + 1, sequences)
        need = -(-lens // size)
        pages = need.sum() + rng.integers(1, 4)
        # Anything where nobody looks.
        table = rng.choice([-1, pages, MOST, LEAST], (sequences, width))
        order = iter(rng.permutation(pages))
        for b, n in enumerate(need):
            table[b, :n] = [next(order) for _ in range(n)]
        rows = np.arange(sequences)
        if case["rows"]:
            rows = rng.integers(0, sequences, rng.integers(1, 9))
            lens = np.array([rng.integers(0, lens[b] + 1) for b in rows])
        drawn = {"table": table, "rows": rows, "lens": lens}
        for name in ("k", "v"):
            drawn[name] = rng.standard_normal((pages, KV, size, DIM))
        for name, heads in (("q", HEADS), ("key", KV), ("value", KV)):
            drawn[name] = rng.standard_normal((len(rows), heads, DIM))
        drawn["mean"] = rng.standard_normal((pages, KV, DIM))
        # Tokens that have a page, or none.
        drawn["at"] = np.array([rng.integers(-1, n) if n else -1 for n in lens])
        if case["step"] in LISTED:
            most = LISTED[case["step"]]
            drawn["list"] = np.full((len(rows), KV, most), -1)
            drawn["n"] = np.full((len(rows), KV), most)
            for r, h in np.ndindex(len(rows), KV):
                seen = lens[r] if case["step"] == "tokens" else -(-lens[r] // size)
                some = np.sort(rng.permutation(seen)[: rng.integers(0, most + 1)])
                drawn["list"][r, h, : len(some)] = some
                if case["count"]:
                    # What follows is anything.
                    drawn["n"][r, h] = len(some)
                    rest = rng.choice([-2, seen, MOST, LEAST], most - len(some))
                    drawn["list"][r, h, len(some) :] = rest
        arrays = {}
        for name, of in arguments_of(case).items():
            kind = np.int32 if of.endswith("i32>") else np.float16
            arrays[name] = drawn[name].astype(kind)
        return Batch(case, arrays)

    def copy(self):
        return Batch(self.case, {n: x.copy() for n, x in self.arrays.items()})

    @property
    def num_rows(self):
        return len(self.arrays["at" if "at" in self.arrays else "lens"])

    def lie(self, rng):
        """Another batch, in which something may be at fault."""
        batch = self.copy()
        arrays, size = batch.arrays, self.case["page_size"]
        pages, width = len(arrays["k"]), arrays["table"].shape[1]
        capacity = width * size
        lies = {
            "table": [-1, -2, pages, pages + 1, MOST, LEAST],
            "lens": [-1, -2, capacity + 1, MOST, LEAST],
            "rows": [-1, -2, len(arrays["table"]), MOST, LEAST],
            "at": [-1, -2, LEAST, capacity, capacity + 1, MOST],
            "n": [-1, -2, MOST, LEAST, LISTED.get(self.case["step"], 0) + 1],
        }
        if rng.random() < 0.05:
            # Nothing at all of something.
            names = ["k", "v", "mean"] if rng.random() < 0.5 else ["table"]
            for name in arrays.keys() & set(names):
                x = arrays[name]
                arrays[name] = x[:, :0].copy() if name == "table" else x[:0].copy()
            return batch
        for _ in range(rng.integers(1, 4)):
            name = rng.choice([n for n in arrays if n in lies or n == "list"])
            x = arrays[name]
            if not x.size:
                continue
            place = tuple(rng.integers(0, n) for n in x.shape)
            if name == "list":
                # Of what is visible another entry would be no lie.
                length = max(int(arrays["lens"][place[0]]), 0)
                if self.case["step"] == "pages":
                    length = -(-length // size)
                x[place] = rng.choice([min(length, MOST), MOST])
            else:
                x[place] = rng.choice(lies[name])
        return batch

    # What is at fault, as the ops' descriptions say.

    def fault_of_page(self, sequence, page):
        got, pages = int(self.arrays["table"][sequence, page]), len(self.arrays["k"])
        return (0, 0, 0, 0) if 0 <= got < pages else (PAGE, page, got, pages - 1)

    def fault_of_row(self, row):
        table, size = self.arrays["table"], self.case["page_size"]
        sequence = int(self.arrays["rows"][row]) if self.case["rows"] else row
        if not 0 <= sequence < len(table):
            return ROW, 0, sequence, len(table) - 1
        capacity = table.shape[1] * size
        if "at" in self.arrays:
            at = int(self.arrays["at"][row])
            if at >= capacity:
                return POSITION, 0, at, capacity - 1
            return (0, 0, 0, 0) if at < 0 else self.fault_of_page(sequence, at // size)
        length = int(self.arrays["lens"][row])
        if not 0 <= length <= capacity:
            return LENGTH, 0, length, capacity
        found = (self.fault_of_page(sequence, p) for p in range(-(-length // size)))
        return next(filter(any, found), (0, 0, 0, 0))

    def fault_of_list(self, row, length):
        entries = self.arrays["list"][row]
        most = entries.shape[1]
        size = self.case["page_size"] if self.case["step"] == "pages" else 1
        seen = -(-length // size)
        for head in range(KV):
            n = int(self.arrays["n"][row, head]) if self.case["count"] else most
            if not 0 <= n <= most:
                return COUNT, head, n, most
            for i in range(n):
                if entries[head, i] >= seen:
                    return ENTRY, head * most + i, int(entries[head, i]), seen - 1
        return 0, 0, 0, 0

    def find_faults(self):
        """Of each check, of each row."""
        rows = range(self.num_rows)
        found = [[self.fault_of_row(row) for row in rows]]
        if "list" in self.arrays:
            lens = [0 if any(f) else self.arrays["lens"][r] for r, f in enumerate(found[0])]
            found.append([self.fault_of_list(row, int(lens[row])) for row in rows])
        return [np.array(f, np.int64).reshape(-1, 4) for f in found]

    def append(self, is_bad):
        """The caches after it."""
        size = self.case["page_size"]
        caches = [self.arrays[n].copy() for n in ("k", "v")]
        for row, at in enumerate(self.arrays["at"]):
            if at < 0 or is_bad[row]:
                continue
            b = self.arrays["rows"][row] if self.case["rows"] else row
            page = self.arrays["table"][b, at // size]
            for cache, new in zip(caches, ("key", "value")):
                cache[page, :, at % size] = self.arrays[new][row]
        return caches


def run(entry, batch):
    """What is said of rows, what is made, and what is raised."""
    arrays = {n: x.copy() for n, x in batch.arrays.items()}
    found = entry(**arrays, checked=False)
    if batch.case["step"] == "append":
        found = (found,)
    sentence = message_of(entry.raise_faults, found)
    if batch.case["step"] == "append":
        return list(found), [arrays["k"], arrays["v"]], sentence
    return list(found[2:]), list(found[:2]), sentence


def message_of(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except vashista.Error as error:
        return str(error)
    return ""


def judge(case, entry, number, rng):
    """Yields what is wrong."""
    global mutants
    clean = Batch.draw(case, rng)
    said, made, _ = run(entry, clean)
    if any(f.any() for f in said):
        yield "a fault where there is none"
    if case["step"] == "append":
        expected = clean.append(np.zeros(clean.num_rows, bool))
        if any(x.tobytes() != y.tobytes() for x, y in zip(made, expected)):
            yield "a cache is wrong"
    for _ in range(MUTANTS):
        batch = clean.lie(rng)
        mutants += 1
        said, found, sentence = run(entry, batch)
        arrays = {n: x.copy() for n, x in batch.arrays.items()}
        of_host = message_of(entry, **arrays, checked=True)
        # The host knows which row of the table it was.
        if of_host.split(" (page table row")[0] != sentence:
            yield f"raises {sentence!r}, the host {of_host!r}"
        faults = batch.find_faults()
        for which, (one, other) in enumerate(zip(said, faults, strict=True)):
            for row in np.flatnonzero((one != other).any(1)):
                yield f"check {which}, row {row}: {one[row]} instead of {other[row]}"
            for what in other[:, 0]:
                counts[NAMES[what]] += 1
        is_bad = np.any([f[:, 0] != 0 for f in faults], axis=0)
        if case["step"] == "append":
            expected = batch.append(is_bad)
        else:
            expected = [x.copy() for x in made]
            expected[0][is_bad], expected[1][is_bad] = 0, -np.inf
        for x, y in zip(found, expected):
            if x.tobytes() != y.tobytes():
                yield f"results are wrong; at fault are {np.flatnonzero(is_bad)}"


WIDE = """
func.func @wide(%table: tensor<?x?xi32>, %lens: tensor<?xi32>, %at: tensor<?xi32>,
                %pool: tensor<?xf32>)
    -> (tensor<?xi32>, tensor<?x4xi32>, tensor<?xi32>, tensor<?x4xi32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %pool, %c0 : tensor<?xf32>
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 2147483647
      : (tensor<?x?xi32>, tensor<?xi32>, index) -> (tensor<?xi32>, tensor<?x4xi32>)
  %1:2 = vashista.check_positions %at table(%table) num_pages %n page_size 2147483647
      : (tensor<?xi32>, tensor<?x?xi32>, index) -> (tensor<?xi32>, tensor<?x4xi32>)
  return %0#0, %0#1, %1#0, %1#1
      : tensor<?xi32>, tensor<?x4xi32>, tensor<?xi32>, tensor<?x4xi32>
}"""


def judge_wide(case, entry, number, rng):
    """A table has room for more tokens than i32 counts; or there are no rows."""
    width = int(rng.integers(2, 9))
    table = np.full((5, width), 1, np.int32)
    table[4, 0] = MOST
    lens = np.array([MOST, LEAST, 0, 1, MOST], np.int32)
    at = np.array([MOST, LEAST, -1, 0, MOST], np.int32)
    # The last position is in the second page, the last token in the first.
    table[4, 1] = -7
    expected = [
        [MOST, 0, 0, 1, 0],
        [[0] * 4, [LENGTH, 0, LEAST, MOST], [0] * 4, [0] * 4, [PAGE, 0, MOST, 1]],
        [MOST, LEAST, -1, 0, -1],
        [[0] * 4, [0] * 4, [0] * 4, [0] * 4, [PAGE, 1, -7, 1]],
    ]
    for rows in (5, 0):
        pool = np.zeros(2, np.float32)
        found = entry(table[:rows], lens[:rows], at[:rows], pool, checked=False)
        for one, other in zip(found, expected, strict=True):
            other = np.array(other, np.int32)[:rows]
            if one.shape != other.shape or (one != other).any():
                yield f"of {rows} rows {one.tolist()} instead of {other.tolist()}"


def note():
    kinds = ", ".join(f"{counts[name]} {name}" for name in NAMES[1:])
    return f"{mutants} lies, rows at fault: {kinds}; "


def main():
    cases = [(f"step{i}", c, step_text, judge) for i, c in enumerate(draw())]
    cases.append(("wide", "wide", lambda name, case: WIDE, judge_wide))
    return judge_all(
        __doc__.splitlines()[0], cases, note=note, options=["--checked"]
    )


if __name__ == "__main__":
    sys.exit(main())
