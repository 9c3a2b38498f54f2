# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What check_certificates.py compiles, and on which sequences it runs that."""

import dataclasses
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

import vashista  # noqa: E402

LONGEST = 8192
ROWS, SEQUENCES, KV_HEADS = 32, 4, 2


# ----------------------------------------------------------------------------------
# Configurations
# ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spec:
    """All that is static in a compiled step."""

    dtype: str
    dim: int
    value_dim: int
    group: int
    page_size: int
    summary: str | None
    summary_type: str
    sketch: str | None  # the attribute's parameters
    scale_type: str
    norm_type: str
    pages: int
    candidates: int
    proving: bool
    tolerance: float
    target: str
    soft_cap: float | None
    epsilon: float

    @property
    def heads(self):
        return self.group * KV_HEADS

    @property
    def source(self):
        """What bounds the tokens that are not attended."""
        inner = (
            f"sketch <{self.sketch}> {self.scale_type} {self.norm_type}"
            if self.sketch
            else "keys" if self.candidates else None
        )
        parts = [f"{self.summary} pages" if self.summary else None, inner]
        return ", ".join(part for part in parts if part)


def draw_spec(rng):
    def pick(*values):
        return values[rng.integers(len(values))]

    dtype = pick("f32", "f16", "bf16")
    routes = rng.random() < 0.35
    selects = not routes or rng.random() < 0.7
    by_sketch = selects and rng.random() < 0.85
    summary = None
    if routes:
        summary = pick("box", "ball", "box", "ball", "mean_std", "mean")
    sketch = None
    if by_sketch:
        bits, group = pick(2, 3, 4, 4, 5, 6, 8), pick(16, 32, 32, 64, 128)
        sketch = f"bits = {bits}, group = {group}"
        sketch += pick("", "", ", centre = page")
        sketch += pick("", ", rotation = hadamard", ", rotation = hadamard")
        sketch += pick("", ", norm = token")
    target = "tau" if rng.random() < 0.8 else "output_error"
    proving = selects and target == "tau" and rng.random() < 0.85
    tolerance = pick(0.5, 0.3, 0.1, 0.01) if target == "tau" else pick(1.0, 0.1)
    return Spec(
        dtype=dtype,
        dim=pick(64, 128, 128, 80),
        value_dim=pick(64, 128),
        group=pick(1, 4, 4, 8),
        page_size=pick(8, 16, 16, 64),
        summary=summary,
        summary_type=dtype if summary == "box" else pick("f32", "f16", "bf16"),
        sketch=sketch,
        scale_type=pick("f16", "f8E4M3FN"),
        norm_type=pick("f16", "f8E4M3FN", "i8"),
        pages=pick(2, 8, 64) if routes else 0,
        candidates=(pick(1024, LONGEST) if proving else pick(4, 16, 64, 512))
        if selects
        else 0,
        proving=proving,
        tolerance=tolerance,
        target=target,
        soft_cap=pick(None, None, None, 30.0, 5.0),
        epsilon=pick(1.0, 1.0, 1.0, 0.5, 2.0),
    )


def padded(spec):
    group = int(spec.sketch.split("group = ")[1].split(",")[0])
    bits = int(spec.sketch.split("bits = ")[1].split(",")[0])
    groups = -(-spec.dim // group)
    return groups, groups * group * bits // 8


def kept(spec):
    """(name, shape without pages, type) of what is kept beside the cache."""
    parts = []
    if spec.summary:
        first = [KV_HEADS, spec.dim]
        parts.append(("first", first, spec.summary_type))
        if spec.summary == "ball":
            parts.append(("second", [KV_HEADS], "f32"))
        elif spec.summary != "mean":
            parts.append(("second", first, spec.summary_type))
    parts.append(("norms", [KV_HEADS, 2], "f32"))
    if spec.sketch:
        groups, code_bytes = padded(spec)
        token = [KV_HEADS, spec.page_size]
        parts.append(("codes", token + [code_bytes], "i8"))
        parts.append(("scales", token + [groups], spec.scale_type))
        per_token = "norm = token" in spec.sketch
        parts.append(
            ("residuals", token if per_token else token + [groups], spec.norm_type)
        )
        if "centre" in spec.sketch:
            parts.append(("centre", [KV_HEADS, spec.dim], spec.summary_type))
    return parts


def tensor(shape, element):
    dims = "x".join("?" if size is None else str(size) for size in shape)
    return f"tensor<{dims}x{element}>"


def text_of(spec):
    """A module: `summarize`, the step op by op with its lists (`prove`), and whole."""
    s, h, d, dv = spec.page_size, spec.heads, spec.dim, spec.value_dim
    types = {
        "q": tensor([None, h, d], spec.dtype),
        "k": tensor([None, KV_HEADS, s, d], spec.dtype),
        "v": tensor([None, KV_HEADS, s, dv], spec.dtype),
        "table": tensor([None, None], "i32"),
        "lens": tensor([None], "i32"),
        "rows": tensor([None], "i32"),
    }
    parts = {name: tensor([None] + shape, el) for name, shape, el in kept(spec)}
    types.update(parts)
    per_head = tensor([None, h], "f32")
    state = tensor([None, h, dv], "f32")

    def declare(names):
        return ", ".join(f"%{n}: {types[n]} loc(\"{n}\")" for n in names)

    def use(names):
        return ", ".join(f"%{n}" for n in names)

    def of(names):
        return ", ".join(types[n] for n in names)

    summary_parts = [n for n in parts if n in ("first", "second")]
    sketch_parts = [n for n in parts if n in ("codes", "scales", "residuals", "centre")]
    summary = f"summary <{spec.summary}>({use(summary_parts)})" if spec.summary else ""
    sketch = f"sketch <{spec.sketch}>({use(sketch_parts)})" if spec.sketch else ""
    logit = f"scale {1 / np.sqrt(d):.9e}"
    if spec.soft_cap:
        logit += f" soft_cap {spec.soft_cap:.9e}"
    score_logit = f"{logit} epsilon {spec.epsilon:.9e}"
    solver = f"solver <softmax, epsilon = {spec.epsilon:.17e}>"
    tolerance = f"tolerance {spec.tolerance:.9e}"

    lines = [
        f"func.func @summarize({declare(['k', 'v', 'table', 'lens'] + list(parts))}) -> "
        f"({of(parts)}) {{",
        f"  %r:{len(parts)} = vashista.summarize keys(%k) values(%v) table(%table) "
        f"lens(%lens) {summary} norms(%norms) {sketch} : "
        f"({of(['k', 'v', 'table', 'lens'] + summary_parts + ['norms'] + sketch_parts)})"
        f" -> ({of(summary_parts + ['norms'] + sketch_parts)})",
        "  return " + ", ".join(f"%r#{i}" for i in range(len(parts))) + f" : {of(parts)}",
        "}",
    ]

    paged = ["table", "lens", "rows"]
    arguments = ["q", "k", "v"] + paged + list(parts)
    body, results = [], []
    state_o, state_lse = "%o0", "%lse0"
    body += [
        "  %c0 = arith.constant 0 : index",
        "  %zero = arith.constant 0.0 : f32",
        "  %none = arith.constant 0xFF800000 : f32",
        f"  %n = tensor.dim %q, %c0 : {types['q']}",
        f"  %oe = tensor.empty(%n) : {state}",
        f"  %o0 = linalg.fill ins(%zero : f32) outs(%oe : {state}) -> {state}",
        f"  %le = tensor.empty(%n) : {per_head}",
        f"  %lse0 = linalg.fill ins(%none : f32) outs(%le : {per_head}) -> {per_head}",
    ]
    page_list = tensor([None, KV_HEADS, spec.pages], "i32")
    token_list = tensor([None, KV_HEADS, spec.candidates], "i32")
    counts = tensor([None, KV_HEADS], "i32")
    rounds = 2 if spec.proving else 1
    tail, lists = None, []
    if spec.summary:
        body.append(
            f"  %pages, %page_count, %page_tail = vashista.route %q from "
            f"<{spec.summary}>({use(summary_parts)}) table(%table) lens(%lens) rows(%rows)"
            f" top {spec.pages} page_size {s} {score_logit} : "
            f"({of(['q'] + summary_parts + paged)}) -> "
            f"({page_list}, {counts}, {per_head})"
        )
        tail = "%page_tail"
    if spec.candidates:
        token_parts = sketch_parts or ["k"]
        source = (
            f"#vashista.sketch<{spec.sketch}>" if spec.sketch else "#vashista.keys<hnd>"
        )
        for i in range(rounds):
            operands, chain = of(["q"] + token_parts + paged), ""
            if spec.summary:
                chain += " within(%pages, %page_count)"
                operands += f", {page_list}, {counts}"
            if i:
                chain += " taken(%tokens0)"
                operands += f", {token_list}"
            if spec.summary:
                chain += " outside(%page_tail)"
                operands += f", {per_head}"
            if i:
                chain += f" attended({state_lse})"
                operands += f", {per_head}"
            mode = "proving" if spec.proving else "top"
            body.append(
                f"  %tokens{i}, %count{i}, %tail{i} = vashista.select %q from "
                f"{source}({use(token_parts)}) table(%table) lens(%lens) rows(%rows)"
                f"{chain} {mode} {spec.candidates} "
                f"{tolerance if spec.proving else ''} {score_logit} : ({operands}) -> "
                f"({token_list}, {counts}, {per_head})"
            )
            body.append(
                f"  %o{i + 1}, %lse{i + 1} = vashista.attend %q keys(%k) values(%v) "
                f"table(%table) lens(%lens) rows(%rows) tokens(%tokens{i}, %count{i}) "
                f"outs({state_o}, {state_lse}) {logit} {solver} : "
                f"({of(['q', 'k', 'v'] + paged)}, {token_list}, {counts}, {state}, "
                f"{per_head}) -> ({state}, {per_head})"
            )
            state_o, state_lse, tail = f"%o{i + 1}", f"%lse{i + 1}", f"%tail{i}"
            lists.append((f"%tokens{i}", token_list))
    else:
        body.append(
            f"  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) "
            f"lens(%lens) rows(%rows) pages(%pages, %page_count) outs(%o0, %lse0) "
            f"{logit} {solver} : ({of(['q', 'k', 'v'] + paged)}, {page_list}, {counts}, "
            f"{state}, {per_head}) -> ({state}, {per_head})"
        )
        state_o, state_lse = "%o1", "%lse1"
        lists.append(("%pages", page_list))
    body.append(
        f"  %tau, %error = vashista.certify %q state({state_o}, {state_lse}) tail({tail}) "
        f"norms(%norms) table(%table) lens(%lens) rows(%rows) page_size {s} {logit} "
        f"{solver} : ({types['q']}, {state}, {per_head}, {per_head}, {types['norms']}, "
        f"{of(paged)}) -> ({per_head}, {per_head})"
    )
    results = [("%tau", per_head), ("%error", per_head)] + lists
    lines += [
        f"func.func @prove({declare(arguments)}) -> "
        f"({', '.join(t for _, t in results)}) {{",
        *body,
        f"  return {', '.join(v for v, _ in results)} : "
        f"{', '.join(t for _, t in results)}",
        "}",
    ]

    policy = (
        f"policy <pages = {spec.pages}, candidates = {spec.candidates}, "
        + ("pick = proving, " if spec.proving else "")
        + f"target = {spec.target}, tolerance = {spec.tolerance:.17e}, "
        + (f"rounds = {rounds}, " if rounds > 1 else "")
        + "fallback = dense>"
    )
    flags = tensor([None, KV_HEADS], "i1")
    whole = [state, per_head, per_head, per_head, counts, flags]
    operands = of(["q", "k", "v"] + paged + summary_parts + sketch_parts + ["norms"])
    lines += [
        f"func.func @step({declare(arguments)}) -> ({', '.join(whole)}) {{",
        f"  %r:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens) "
        f"rows(%rows) {summary} {sketch} norms(%norms) {policy} {logit} {solver} : "
        f"({operands}) -> ({', '.join(whole)})",
        "  return "
        + ", ".join(f"%r#{i}" for i in range(6))
        + f" : {', '.join(whole)}",
        "}",
    ]
    return "\n".join(lines) + "\n"


# ----------------------------------------------------------------------------------
# Regimes (docs/theory.md): keys [T, D] of a KV head for queries [R, G, D] in turn
# ----------------------------------------------------------------------------------


def similar(rng, rows, group, dim):
    mean = rng.standard_normal((1, group, dim))
    return mean + 0.1 * rng.standard_normal((rows, group, dim)), mean[0]


def aimed(query, logit):
    return query * (logit * np.sqrt(len(query)) / max(query @ query, 1e-30))


def needle(rng, t, rows, group, dim, size, logit=20.0):
    q, mean = similar(rng, rows, group, dim)
    k = 0.05 * rng.standard_normal((t, dim))
    for head in mean:
        k[rng.integers(0, t, 4)] = aimed(head, logit)
    return q, k


def needle_t(rng, t, rows, group, dim, size):
    return needle(rng, t, rows, group, dim, size, np.log(t) + 10)


def cluster(rng, t, rows, group, dim, size):
    q, mean = similar(rng, rows, group, dim)
    pages = -(-t // size)
    centres = rng.standard_normal((pages, dim)) / 4
    for head in mean:
        centres[rng.integers(0, pages, 3)] = aimed(head, 20)
    k = np.repeat(centres, size, axis=0)[:t]
    return q, k + 0.05 * rng.standard_normal((t, dim))


def drift(rng, t, rows, group, dim, size):
    noise = rng.standard_normal((t, dim))
    k = noise.copy()
    # AR(1) in blocks: x_i = .98^i (x_0 + sum .98^-j sqrt(1 - .98^2) n_j).
    powers = 0.98 ** np.arange(1, 65)[:, None]
    before = noise[0]
    for first in range(1, t, 64):
        some = noise[first : first + 64]
        p = powers[: len(some)]
        k[first : first + 64] = p * (before + np.sqrt(1 - 0.98**2) * np.cumsum(some / p, 0))
        before = k[first + len(some) - 1]
    q, mean = similar(rng, rows, group, dim)
    k[0] = aimed(mean.mean(0), 15)
    return q, k


def low_rank(rng, t, rows, group, dim, size):
    basis = rng.standard_normal((8, dim))
    pages = -(-t // size)
    coefficients = rng.standard_normal((pages, 8))
    mixed = np.repeat(coefficients, size, axis=0)[:t] + 0.2 * rng.standard_normal((t, 8))
    q = rng.standard_normal((rows, group, 8)) @ basis / np.sqrt(8)
    return q, mixed @ basis * (2.2 / np.sqrt(8 * dim))


def gauss(rng, t, rows, group, dim, size, factor=1.0):
    return factor * rng.standard_normal((rows, group, dim)), rng.standard_normal((t, dim))


def gauss_8(rng, t, rows, group, dim, size):
    return gauss(rng, t, rows, group, dim, size, 8.0)


def equal(rng, t, rows, group, dim, size):
    q = rng.standard_normal((rows, group, dim))
    return q, np.repeat(rng.standard_normal((1, dim)), t, axis=0)


def ties(rng, t, rows, group, dim, size):
    few = rng.standard_normal((3, dim))
    return 3 * rng.standard_normal((rows, group, dim)), few[rng.integers(0, 3, t)]


def duplicate_winner(rng, t, rows, group, dim, size):
    """The best key twice, once in a page whose other keys all point away."""
    q, mean = similar(rng, rows, group, dim)
    k = 0.3 * rng.standard_normal((t, dim))
    winner = aimed(mean[0], 18)
    k[t // 3] = winner
    page = (2 * t // 3) // size * size
    k[page : page + size] -= 0.5 * winner
    k[min(page + size // 2, t - 1)] = winner
    return q, k


def constant_pages(rng, t, rows, group, dim, size):
    pages = -(-t // size)
    k = np.repeat(2 * rng.standard_normal((pages, dim)), size, axis=0)[:t]
    return 2 * rng.standard_normal((rows, group, dim)), k


def zero_query(rng, t, rows, group, dim, size):
    return np.zeros((rows, group, dim)), rng.standard_normal((t, dim))


def outlier_channels(rng, t, rows, group, dim, size):
    """As trained keys have them: two channels twenty times the others."""
    k = rng.standard_normal((t, dim))
    k[:, rng.integers(0, dim, 2)] *= 20
    q = rng.standard_normal((rows, group, dim))
    return q, k


def huge(rng, t, rows, group, dim, size):
    return 1e3 * rng.standard_normal((rows, group, dim)), 1e4 * rng.standard_normal((t, dim))


def tiny(rng, t, rows, group, dim, size):
    return rng.standard_normal((rows, group, dim)), 1e-7 * rng.standard_normal((t, dim))


def broken(rng, t, rows, group, dim, size):
    """One key that is not a number, or not finite."""
    q, k = needle(rng, t, rows, group, dim, size)
    k[rng.integers(0, t), rng.integers(0, dim)] = [np.nan, np.inf, -np.inf][
        rng.integers(0, 3)
    ]
    return q, k


def codelm(name):
    """Keys and queries of a trained model: the last 16 positions of its window."""

    def make(rng, t, rows, group, dim, size):
        def load(part):
            bits = np.load(ROOT / f"test/data/codelm/{name}.{part}.npy")
            return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)

        q = load("q")[rng.integers(0, 16, rows)]
        return q[:, rng.integers(0, 4, group)], load("k")[:t]

    return make


REGIMES = {
    "needle": needle,
    "needle_T": needle_t,
    "cluster": cluster,
    "drift": drift,
    "low rank": low_rank,
    "gauss": gauss,
    "gauss, q x 8": gauss_8,
    "all equal": equal,
    "ties": ties,
    "duplicate winner": duplicate_winner,
    "constant pages": constant_pages,
    "q = 0": zero_query,
    "outlier channels": outlier_channels,
    "huge": huge,
    "tiny": tiny,
    "broken": broken,
    "CodeLM sharp": codelm("sharp"),
    "CodeLM diffuse": codelm("diffuse"),
}
# The adversarial ones are drawn less often: they seldom certify anything.
WEIGHTS = {"huge": 0.3, "tiny": 0.3, "broken": 0.5, "q = 0": 0.3, "all equal": 0.5}


# ----------------------------------------------------------------------------------
# Data
# ----------------------------------------------------------------------------------


def rounded(array, dtype):
    """The nearest numbers of a type, as that type's array and in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = array.astype(np.float32)
        if dtype == "bf16":
            bits = vashista.as_bfloat16(single)
            return bits, bits.float32().astype(np.float64)
        typed = single.astype({"f32": np.float32, "f16": np.float16}[dtype])
    return typed, typed.astype(np.float64)


def blank(shape, element):
    numpy_types = {"f32": np.float32, "f16": np.float16, "i8": np.int8}
    if element in numpy_types:
        return np.zeros(shape, numpy_types[element])
    if element == "bf16":
        return vashista.bfloat16(np.zeros(shape, np.uint16))
    return vashista.Bits(np.zeros(shape, np.uint8), element)


def draw_lengths(rng, size):
    """Log-uniform, with the ends of pages and nothing at all among them."""
    sequences = np.exp(rng.uniform(0, np.log(LONGEST), SEQUENCES)).astype(np.int64)
    rows = rng.integers(0, SEQUENCES, ROWS)
    lens = np.exp(rng.uniform(0, np.log(sequences[rows] + 1))).astype(np.int64)
    own = rng.random(ROWS) < 0.7
    lens[own] = sequences[rows][own]
    edge = rng.random(ROWS)
    lens[edge < 0.04] = 0
    page_end = lens // size * size
    lens = np.where((edge > 0.96) & (page_end > 0), page_end, lens)
    one_more = (edge > 0.92) & (edge < 0.96) & (page_end + 1 <= sequences[rows])
    return sequences, rows, np.where(one_more, page_end + 1, lens)


class Case:
    """One compiled configuration on one draw of data."""

    def __init__(self, spec, rng):
        self.spec = spec
        s, d, dv = spec.page_size, spec.dim, spec.value_dim
        sequences, rows, lens = draw_lengths(rng, s)
        names = [n for n in REGIMES if d == 128 or not n.startswith("CodeLM")]
        odds = np.array([WEIGHTS.get(n, 1.0) for n in names])
        self.regimes = list(rng.choice(names, SEQUENCES, p=odds / odds.sum()))
        counts = -(-sequences // s)
        order = rng.permutation(counts.sum() + 2)
        table = np.full((SEQUENCES, counts.max()), -1, np.int32)
        q = np.zeros((ROWS, spec.heads, d))
        k = np.zeros((len(order), KV_HEADS, s, d))
        v = rng.standard_normal((len(order), KV_HEADS, s, dv))
        used = 0
        for b, name in enumerate(self.regimes):
            mine = np.flatnonzero(rows == b)
            table[b, : counts[b]] = order[used : used + counts[b]]
            used += counts[b]
            for head in range(KV_HEADS):
                some, keys = REGIMES[name](
                    rng, sequences[b], len(mine), spec.group, d, s
                )
                heads = slice(head * spec.group, (head + 1) * spec.group)
                q[mine, heads] = some
                whole = np.full((counts[b] * s, d), 7.0)
                whole[: len(keys)] = keys
                k[table[b, : counts[b]], head] = whole.reshape(-1, s, d)
        self.rows, self.lens = rows.astype(np.int32), lens.astype(np.int32)
        self.lengths = sequences.astype(np.int32)
        self.table = table
        self.q, self.q64 = rounded(q, spec.dtype)
        self.k, self.k64 = rounded(k, spec.dtype)
        self.v, self.v64 = rounded(v, spec.dtype)

    def operands(self, module):
        spec = self.spec
        pages = len(self.k64)
        parts = [blank([pages] + shape, el) for _, shape, el in kept(spec)]
        module["summarize"](self.k, self.v, self.table, self.lengths, *parts)
        return (self.q, self.k, self.v, self.table, self.lens, self.rows, *parts)

    def groups(self):
        """(row, KV head, heads, logits [G, T], what f32 may round them by [G], values
        [T, Dv]) in float64."""
        spec = self.spec
        for b in range(SEQUENCES):
            mine = np.flatnonzero((self.rows == b) & (self.lens > 0))
            if not len(mine):
                continue
            longest = self.lens[mine].max()
            pages = self.table[b, : -(-longest // spec.page_size)]
            for head in range(KV_HEADS):
                heads = slice(head * spec.group, (head + 1) * spec.group)
                keys = self.k64[pages, head].reshape(-1, spec.dim)[:longest]
                values = self.v64[pages, head].reshape(-1, spec.value_dim)[:longest]
                some = self.q64[mine, heads].reshape(-1, spec.dim)
                with np.errstate(invalid="ignore", over="ignore"):
                    x = (some @ keys.T) * np.float64(np.float32(1 / np.sqrt(spec.dim)))
                    if spec.soft_cap:
                        x = spec.soft_cap * np.tanh(x / spec.soft_cap)
                    x = x / spec.epsilon
                    # A sum of products in any order; a cap only makes it smaller.
                    sizes = np.abs(some) @ np.abs(keys).T / np.sqrt(spec.dim)
                    sizes *= (spec.dim + 8) * 2.0**-24 / spec.epsilon
                x = x.reshape(len(mine), spec.group, -1)
                sizes = sizes.reshape(x.shape)
                for i, row in enumerate(mine):
                    length = self.lens[row]
                    off = sizes[i, :, :length].max(1, initial=0.0)
                    yield row, head, heads, x[i, :, :length], off, values[:length]
