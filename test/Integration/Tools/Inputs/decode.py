#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""decode.py ARTEFACT FOLDER COUNT

Runs the entries of decode.mlir on files in the folder, compares with attention
in float64, and then lies to them in COUNT page tables, lengths, rows and
positions, each in another way. Standard library only.
"""

import concurrent.futures
import itertools
import math
import os
import pathlib
import random
import struct
import subprocess
import sys

ARTEFACT, FOLDER, COUNT = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
H, HKV, D, DV, S = 4, 2, 16, 8, 4
PAGES, SEQUENCES, PER_SEQUENCE = 24, 3, 7
LENS, ROWS = [26, 0, 13, 25, 5], [0, 1, 2, 0, 1]
R = len(LENS)
random.seed(1)


def write(name, shape, values, code):
    """A .npy file of f32 ("f") or i32 ("i")."""
    header = f"{{'descr': '<{code}4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path = FOLDER / f"{name}.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header.encode()
        + struct.pack(f"<{len(values)}{code}", *values)
    )
    return path


def read(path):
    content = path.read_bytes()
    start = 10 + struct.unpack("<H", content[8:10])[0]
    return struct.unpack(f"<{(len(content) - start) // 4}f", content[start:])


def floats(name, *shape):
    """Random numbers of f32, written to a file too."""
    values = [
        struct.unpack("<f", struct.pack("<f", random.gauss(0, 1)))[0]
        for _ in range(math.prod(shape))
    ]
    write(name, shape, values, "f")
    return values


def run(entry, arguments, out, *options):
    words = ["vashista-run", ARTEFACT, f"--entry={entry}", f"--out={FOLDER / out}"]
    words += [*options, "--args", *(str(FOLDER / f"{name}.npy") for name in arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def succeed(entry, arguments, out):
    finished = run(entry, arguments, out)
    if finished.returncode or finished.stderr:
        sys.exit(f"{entry}: exit code {finished.returncode}, {finished.stderr}")


q = floats("q", R, H, D)
k = floats("k", PAGES, HKV, S, D)
v = floats("v", PAGES, HKV, S, DV)
physical = random.sample(range(PAGES), SEQUENCES * PER_SEQUENCE)
write("table", (SEQUENCES, PER_SEQUENCE), physical, "i")
write("lens", (R,), LENS, "i")
write("rows", (R,), ROWS, "i")


def page(sequence, position):
    return physical[sequence * PER_SEQUENCE + position // S]


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y))


def attend(row, head):
    """(output, lse) over all visible tokens, in float64."""
    query = q[(row * H + head) * D :][:D]
    slots = [
        (page(ROWS[row], t) * HKV + head // (H // HKV)) * S + t % S
        for t in range(LENS[row])
    ]
    logits = [0.25 * dot(query, k[slot * D :][:D]) for slot in slots]
    if not logits:
        return [0.0] * DV, -math.inf
    most = max(logits)
    weights = [math.exp(logit - most) for logit in logits]
    total = math.fsum(weights)
    values = [v[slot * DV :][:DV] for slot in slots]
    return [dot(weights, column) / total for column in zip(*values)], most + math.log(total)


states = [attend(row, head) for row in range(R) for head in range(H)]


def compare(what, out):
    got_o, got_lse = read(FOLDER / out / "0.npy"), read(FOLDER / out / "1.npy")
    expected = [x for o, _ in states for x in o], [lse for _, lse in states]
    errors = [
        0.0 if x == y else abs(x - y) if math.isfinite(x) else math.inf
        for x, y in zip(
            itertools.chain(got_o, got_lse), itertools.chain(*expected), strict=True
        )
    ]
    bound = 1e-5
    print(f"{what}: largest error {max(errors):.2e} of at most {bound:g}")
    if max(errors) > bound:
        sys.exit(1)


DENSE = ["q", "k", "v", "table", "lens", "rows"]
succeed("dense", DENSE, "dense")
compare("dense", "dense")

# The means of written tokens; unused pages have none.
mean = [0.0] * (PAGES * HKV * D)
for sequence in range(SEQUENCES):
    length = max(n for n, s in zip(LENS, ROWS) if s == sequence)
    for first, head in itertools.product(range(0, length, S), range(HKV)):
        slot = (page(sequence, first) * HKV + head) * S
        tokens = [k[(slot + t) * D :][:D] for t in range(min(S, length - first))]
        start = (page(sequence, first) * HKV + head) * D
        mean[start : start + D] = [sum(c) / len(c) for c in zip(*tokens)]
write("mean", (PAGES, HKV, D), mean, "f")
SPARSE = [*DENSE, "mean"]
succeed("sparse", SPARSE, "sparse")
compare("sparse with room for all", "sparse")

positions = [26, -1, 13, -1, 5]
key, value = floats("key", R, HKV, D), floats("value", R, HKV, DV)
write("at", (R,), positions, "i")
APPEND = ["key", "value", "at", "table", "rows", "k", "v"]
succeed("append", APPEND, "append")
for cache, token, dim, name in ((k, key, D, "arg5"), (v, value, DV, "arg6")):
    expected = list(cache)
    for row, head in itertools.product(range(R), range(HKV)):
        if positions[row] >= 0:
            slot = (page(ROWS[row], positions[row]) * HKV + head) * S + positions[row] % S
            expected[slot * dim : (slot + 1) * dim] = token[(row * HKV + head) * dim :][:dim]
    if list(read(FOLDER / "append" / f"{name}.npy")) != expected:
        sys.exit(f"append: {name} is not what was expected")
print(f"append: {sum(p >= 0 for p in positions)} tokens written, all others kept")

# Lies. Each mutant is (entry, arguments, file that is replaced, its shape, values,
# what the message has to name); those that no row reads name nothing.
BAD_PAGES = [-1, PAGES, PAGES + 1, -(2**31), 2**31 - 1, 1 << 20]


def mutate(i, matters):
    rng = random.Random(2 * i + matters)
    entry = rng.choice(["dense", "sparse", "append"])
    arguments = {"dense": DENSE, "sparse": SPARSE, "append": APPEND}[entry]
    if entry == "append":
        used = {(ROWS[r], p // S): r for r, p in enumerate(positions) if p >= 0}
    else:
        used = {}
        for r in range(R):
            for slot in range(-(-LENS[r] // S)):
                used.setdefault((ROWS[r], slot), r)
    table = list(physical)
    if not matters:
        unused = [
            (s, p)
            for s in range(SEQUENCES)
            for p in range(PER_SEQUENCE)
            if (s, p) not in used
        ]
        for s, p in rng.sample(unused, rng.randint(1, len(unused))):
            table[s * PER_SEQUENCE + p] = rng.choice(BAD_PAGES)
        return entry, arguments, "table", (SEQUENCES, PER_SEQUENCE), table, None
    kind = rng.choice(["table", "table", "rows", "lens" if entry != "append" else "at"])
    if kind == "table":
        sequence, slot = rng.choice(sorted(used))
        bad = rng.choice(BAD_PAGES)
        table[sequence * PER_SEQUENCE + slot] = bad
        name = f"page id 0 to {PAGES - 1}, got {bad}"
        return entry, arguments, "table", (SEQUENCES, PER_SEQUENCE), table, name
    row = rng.randrange(R)
    if kind == "rows":
        bad = rng.choice([-1, SEQUENCES, 2**31 - 1, -(2**31)])
        rows = list(ROWS)
        rows[row] = bad
        return entry, arguments, "rows", (R,), rows, f"row {row}"
    most = PER_SEQUENCE * S
    if kind == "lens":
        lens = list(LENS)
        lens[row] = rng.choice([-1, most + 1, 2**31 - 1, -(2**31)])
        return entry, arguments, "lens", (R,), lens, f"row {row}"
    at = list(positions)
    at[row] = rng.choice([most, most + 1, 2**31 - 1])
    return entry, arguments, "at", (R,), at, f"row {row}"


def judge(i, matters):
    """None, or what is wrong."""
    entry, arguments, name, shape, values, expected = mutate(i, matters)
    file = f"mutant-{i}-{int(matters)}"
    path = write(file, shape, values, "i")
    out = f"{file}.out"
    finished = run(entry, [file if a == name else a for a in arguments], out)
    path.unlink()
    produced = sorted((FOLDER / out).glob("*")) if (FOLDER / out).exists() else []
    problem = None
    if matters:
        lines = finished.stderr.splitlines()
        if finished.returncode != 1 or len(lines) != 1 or expected not in lines[0]:
            problem = f"expected exit code 1 and {expected!r}, got {finished.returncode} and {finished.stderr!r}"
        elif produced:
            problem = f"expected no results, got {produced}"
    elif finished.returncode != 0:
        problem = f"expected success, got {finished.stderr!r}"
    else:
        for result in produced:
            if result.read_bytes() != (FOLDER / entry / result.name).read_bytes():
                problem = f"expected {result.name} unchanged"
    for result in produced:
        result.unlink()
    if produced:
        (FOLDER / out).rmdir()
    return problem and f"{entry}, {name} = {values}: {problem}"


with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    problems = {
        matters: [
            p for p in pool.map(judge, range(COUNT), [matters] * COUNT) if p
        ]
        for matters in (True, False)
    }
print(
    f"{COUNT - len(problems[True])} of {COUNT} mutants that matter refused, by name; "
    f"{COUNT - len(problems[False])} of {COUNT} that do not matter changed nothing"
)
for problem in (problems[True] + problems[False])[:5]:
    print(problem)
sys.exit(bool(problems[True] or problems[False]))
