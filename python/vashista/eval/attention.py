# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures the attention of CodeLM: what it needs, where it looks, how tight sketches are.

Windows of held-out text go through the decoder densely. Of their last queries, for each
layer and head: the smallest share of the tokens that holds 50, 90 and 99 % of the mass,
in the best order; the mass by distance; and, for each format of a sketch, the slack of
its compiled bounds, bound minus logit, in nats: the logarithm of the factor by which a
token's mass is overestimated.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

from .. import AttentionSpec, Bits, Error, Policy, Sketch, bfloat16
from . import _result
from ._artefacts import Artefacts
from ._decoder import Arrays, Decoder, attend, probabilities
from ._progress import progress

MASSES = (0.5, 0.9, 0.99)
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
FORMATS = [
    Sketch(bits=2),
    Sketch(bits=3),
    Sketch(),
    Sketch(rotation="none"),
    Sketch(group=64),
    Sketch(group=128),
    Sketch(norm="group"),
    Sketch(centre="page"),
    Sketch(bits=5),
    Sketch(bits=6),
    Sketch(bits=8),
]
_ROWS = 32  # of queries, at once
_COLUMNS = 128  # of a map


def named(sketch: Sketch) -> str:
    """A format by what differs from the default."""
    words = [f"INT{sketch.bits}"]
    if sketch.group != 32:
        words.append(f"groups of {sketch.group}")
    if sketch.rotation == "none":
        words.append("not rotated")
    if sketch.norm == "group":
        words.append("norms by group")
    if sketch.centre == "page":
        words.append("centre of 16")
    return ", ".join(words)


def spec_of(decoder: Decoder, sketch: Sketch) -> AttentionSpec:
    policy = Policy.certified(0.5, candidates=1024)
    scale = decoder.dim**-0.5
    return AttentionSpec(
        decoder.heads, decoder.kv_heads, decoder.dim, scale=scale, policy=policy,
        sketch=sketch,
    )  # fmt: skip


def module(spec: AttentionSpec) -> str:
    """The spec's entries, and one that scores all tokens: `bounds`."""
    from .._text import tensor

    parts = {n: spec.kept[n] for n in spec.sketch_parts}
    types = {"q": tensor((None, spec.heads, spec.head_dim), "f32")}
    types |= {"table": tensor((None, None), "i32"), "lens": tensor((None,), "i32")}
    types |= {"rows": tensor((None,), "i32")}
    types |= {n: tensor((None, *shape), kind) for n, (shape, kind) in parts.items()}
    declared = ", ".join(f"%{name}: {kind}" for name, kind in types.items())
    order = ["q", *parts, "table", "lens", "rows"]
    scores = tensor((None, spec.heads, None), "f32")
    return f"""{spec.text}
func.func @bounds({declared}) -> ({scores}, {scores}) {{
  %s, %b = vashista.score %q
      from #vashista.sketch{spec.sketch}({", ".join(f"%{n}" for n in parts)})
      table(%table) lens(%lens) rows(%rows) scale {spec.scale:.9e}
      : ({", ".join(types[n] for n in order)}) -> ({scores}, {scores})
  return %s, %b : {scores}, {scores}
}}
"""


class Bounds:
    """The compiled bounds of one format, for keys of one sequence."""

    def __init__(self, decoder: Decoder, sketch: Sketch, artefacts: Artefacts):
        self.spec = spec_of(decoder, sketch)
        self.artefact = artefacts.get(module(self.spec))

    def keep(self, cache, table, length: int) -> dict:
        kept = {}
        for name, (shape, element) in self.spec.kept.items():
            unit = {"i8": np.int8, "f32": np.float32}.get(element)
            wide = np.uint16 if element in ("bf16", "f16") else np.uint8
            zeros = np.zeros((cache.shape[0], *shape), unit or wide)
            kept[name] = zeros if unit else Bits(zeros, element)
        lens = np.array([length], np.int32)
        self.artefact["summarize"](k=cache, v=cache, table=table, lens=lens, **kept)
        return kept

    def slack(self, q, table, lens, kept, logits) -> np.ndarray:
        """Bound minus logit of every token that its row sees, flat; nats."""
        rows = np.zeros(len(q), np.int32)
        parts = {n: kept[n] for n in self.spec.sketch_parts}
        _, bounds = self.artefact["bounds"](
            q=q, table=table, lens=lens, rows=rows, **parts
        )
        seen = np.arange(logits.shape[-1]) < lens[:, None]
        gap = (bounds[..., : logits.shape[-1]] - logits).swapaxes(1, 2)
        return gap[seen].ravel()


def _needs(p: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """The share of its tokens that a row needs for each mass: `[masses, R, H]`."""
    mass = np.cumsum(-np.sort(-p, -1), -1)
    # A sum may end below 1 by its rounding.
    counts = [(mass < m - 1e-12).sum(-1) + 1 for m in MASSES]
    return np.stack(counts) / lens[:, None]


def _by_distance(p: np.ndarray, lens: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The mass between distances edges[i] and edges[i + 1]: `[R, H, bins]`."""
    out = np.zeros((*p.shape[:2], len(edges) - 1))
    for i, row in enumerate(p):
        back = row[:, : lens[i]][:, ::-1]
        ends = np.minimum(edges, lens[i])
        total = np.concatenate([np.zeros((len(back), 1)), np.cumsum(back, -1)], -1)
        out[i] = np.diff(total[:, ends], axis=-1)
    return out


def measure(decoder: Decoder, artefacts: Artefacts, args) -> dict:
    """What the last queries of each window do, in all layers."""
    arrays = decoder.arrays
    context, queries, size = args.context, args.queries, 16
    bounds = [Bounds(decoder, sketch, artefacts) for sketch in FORMATS]
    edges = np.unique(np.r_[0, 2 ** np.arange(1 + (context - 1).bit_length())])
    edges[-1] = context
    positions = np.arange(context)
    needs = [[] for _ in range(decoder.layers)]
    looks = [[] for _ in range(decoder.layers)]
    slack = {i: [[] for _ in range(decoder.layers)] for i in range(len(FORMATS))}
    sinks, maps = [[] for _ in range(decoder.layers)], []
    work = [(w, layer) for w in range(args.windows) for layer in range(decoder.layers)]
    x = None
    for window, layer in progress(work, "layers"):
        if layer == 0:
            ids = decoder.tokens[window * context : (window + 1) * context]
            x = decoder.embed(ids)
        q, k, v = decoder.project(layer, x, positions)
        bits = arrays.narrow(k)
        k = arrays.widen(bits)
        o = attend(arrays, q, k, arrays.widen(arrays.narrow(v)), positions + 1)
        x = decoder.finish(layer, x, o)
        pages = context // size
        cache = bits.reshape(pages, size, *bits.shape[1:]).swapaxes(1, 2).copy()
        table = np.arange(pages, dtype=np.int32)[None]
        kept = [b.keep(bfloat16(cache), table, context) for b in bounds]
        wide = arrays.double(k)
        lens = positions[-queries:].astype(np.int32) + 1
        last = arrays.double(q[-queries:])
        group = decoder.heads // decoder.kv_heads
        keys = arrays.numpy(wide).repeat(group, 1)
        for first in range(0, queries, _ROWS):
            part = slice(first, first + _ROWS)
            p = arrays.numpy(probabilities(arrays, last[part], wide, lens[part]))
            needs[layer].append(_needs(p, lens[part]))
            looks[layer].append(_by_distance(p, lens[part], edges))
            sinks[layer].append(p[..., :size].sum(-1))
            if window == 0 and first == 0:
                maps.append(_map(p))
            if first == 0:  # Slack hardly varies with the query.
                rows = arrays.numpy(last[part]).astype(np.float32)
                logits = np.einsum("rhd,thd->rht", rows, keys) * decoder.dim**-0.5
                for i, b in enumerate(bounds):
                    got = b.slack(rows, table, lens[part], kept[i], logits)
                    slack[i][layer].append(got)
    need = np.stack([np.concatenate(n, 1) for n in needs])  # [L, masses, R, H]
    look = np.stack([np.concatenate(n) for n in looks])  # [L, R, H, bins]
    return {
        "context": context,
        "rows": int(need[:, 0].size),
        "masses": MASSES,
        "quantiles": QUANTILES,
        "need": need.mean(2).transpose(1, 0, 2),
        "need_quantiles": np.quantile(need, QUANTILES, axis=(0, 2, 3)).T,
        "edges": edges,
        "look": look.mean(1),
        "first_page": np.stack([np.concatenate(s) for s in sinks]).mean(1),
        "maps": _few(maps, need[:, 1].mean(1)),
        "slack": [_slack_of(b, s) for b, s in zip(bounds, slack.values())],
    }


def _slack_of(bounds: Bounds, layers: list[list[np.ndarray]]) -> dict:
    spec = bounds.spec
    by_layer = [np.concatenate(parts) for parts in layers]
    flat = np.concatenate(by_layer)
    dense = spec.page_bytes["keys"] + spec.page_bytes["values"]
    per_token = spec.page_size * spec.kv_heads
    return {
        "name": named(spec.sketch),
        "bytes": spec.page_bytes["sketch"] / per_token,
        "share": spec.page_bytes["sketch"] / dense,
        # Two bits may leave a residual too large for its type: nothing is known then.
        "unbounded": float(np.isposinf(flat).mean()),
        "mean": flat[~np.isposinf(flat)].mean(),
        "least": flat.min(),
        "quantiles": np.quantile(flat, QUANTILES),
        "layers": [float(np.median(part)) for part in by_layer],
        "pairs": flat.size,
    }


def _few(maps: list[np.ndarray], need: np.ndarray) -> list[dict]:
    """Six heads, from the one that needs least to the one that needs most."""
    order = np.argsort(need, axis=None)
    few = order[np.linspace(0, len(order) - 1, min(6, len(order))).astype(int)]
    where = [np.unravel_index(i, need.shape) for i in few]
    return [
        {"layer": l, "head": h, "need": need[l, h], "mass": maps[l][h]}
        for l, h in where
    ]


def _map(p: np.ndarray) -> np.ndarray:
    """Attention `[R, H, T]` as `[H, R, columns]`, summed over neighbouring tokens."""
    rows, heads, tokens = p.shape
    columns = min(_COLUMNS, tokens)
    edges = np.linspace(0, tokens, columns + 1).astype(int)
    return np.add.reduceat(p, edges[:-1], -1).swapaxes(0, 1)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval attention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--codelm", type=pathlib.Path, required=True, metavar="CODELM")
    add("--windows", type=int, default=4)
    add("--context", type=int, default=8192, help="tokens of a window; whole pages")
    add("--queries", type=int, default=128, help="of each window, its last")
    add("--device", default="numpy", help="of dense parts: numpy, or PyTorch's name")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"))
    add("--target", default="cpu", help="what to compile for")
    add("--json", type=pathlib.Path, metavar="FILE", required=True)
    args = parser.parse_args(argv)
    try:
        if args.context % 16 or not 0 < args.queries < args.context:
            raise ValueError(
                "expected a context of whole pages of 16 tokens, and fewer queries, got "
                f"{args.context} and {args.queries}"
            )
        decoder = Decoder(args.codelm, Arrays(args.device))
        if args.windows * args.context > len(decoder.tokens):
            raise ValueError(
                f"expected {args.windows * args.context} tokens, got "
                f"{len(decoder.tokens)}"
            )
        got = measure(decoder, Artefacts(args.artefacts, args.target), args)
        said = _result.command(parser, args)
        _result.write(args.json, _result.result("attention", said, args.device, got))
    except (Error, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    low = min(s["least"] for s in got["slack"])
    print(f"{got['rows']} rows; the least slack of any bound is {low:.3g} nats")
    # Rounding of the f32 product that logits are compared by.
    return 1 if low < -1e-3 else 0
