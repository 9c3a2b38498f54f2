# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures projection solvers over routed pages P and candidates Kc, on trained keys.

A sparse step routes to the P best pages by their mean and deviation, selects the Kc best
tokens of those by their keys, and projects the query onto the hull of these: exponentiated
gradient with an entropy (EG), or pairwise Frank-Wolfe without one (FW), compiled. For each
(P, Kc): the time of the step of all rows of the trace, and how far its point is from that of the same solver over
all keys, as a share of that one's distance from the query.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import numpy as np

from .. import Error, bfloat16
from . import _result
from ._artefacts import Artefacts
from ._progress import progress

_SIZE = 16
#: Iterations are what a step can afford; over all keys, what there is no more to gain.
SOLVERS = {
    "EG": ("eg, objective = projection, epsilon = 1.0", 8, 64),
    "FW": (
        "frank_wolfe, objective = projection, epsilon = 0.0, step = pairwise",
        16,
        256,
    ),
}
DATA = pathlib.Path("test/data/codelm")


def _entry(name: str, pages: int, candidates: int) -> str:
    return f"{name}_{pages}_{candidates}"


def module(heads: int, dim: int, grid: list[tuple[int, int]]) -> str:
    """A step for each solver, P and Kc of the grid, and one over everything."""
    q, o = f"tensor<?x{heads}x{dim}xbf16>", f"tensor<?x{heads}x{dim}xf32>"
    cache, mean = f"tensor<?x1x{_SIZE}x{dim}xbf16>", f"tensor<?x1x{dim}xbf16>"
    head, table, row = f"tensor<?x{heads}xf32>", "tensor<?x?xi32>", "tensor<?xi32>"
    scale = f"{dim ** -0.5:.9e}"
    outs = f"{o}, {head}, {o}, {head}"
    given = (
        f"%q: {q}, %k: {cache}, %v: {cache}, %table: {table}, %lens: {row}, "
        f"%rows: {row}"
    )
    keys = "keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)"
    base = f"{q}, {cache}, {cache}, {table}, {row}, {row}"
    empty = f"""  %c0 = arith.constant 0 : index
  %n = tensor.dim %q, %c0 : {q}
  %o = tensor.empty(%n) : {o}
  %lse = tensor.empty(%n) : {head}
  %w = tensor.empty(%n) : {o}
  %gap = tensor.empty(%n) : {head}"""
    text = [f"""
func.func @summarize(%k: {cache}, %table: {table}, %lens: {row}, %mean: {mean},
    %std: {mean}) -> ({mean}, {mean}) {{
  %r:2 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean_std>(%mean, %std)
      : ({cache}, {table}, {row}, {mean}, {mean}) -> ({mean}, {mean})
  return %r#0, %r#1 : {mean}, {mean}
}}"""]  # fmt: skip
    for name, (solver, few, many) in SOLVERS.items():
        text.append(f"""
func.func @{_entry(name, 0, 0)}({given}) -> {o} {{
{empty}
  %r:4 = vashista.attend %q {keys} outs(%o, %lse, %w, %gap) scale {scale}
      solver <{solver}, iterations = {many}> : ({base}, {outs}) -> ({outs})
  return %r#2 : {o}
}}""")
        for pages, kept in grid:
            scores = f"tensor<?x{heads}x?xf32>"
            slots = f"tensor<?x{heads}x{pages * _SIZE}xf32>"
            few_pages, count = f"tensor<?x1x{pages}xi32>", "tensor<?x1xi32>"
            tokens = f"tensor<?x1x{kept}xi32>"
            text.append(f"""
func.func @{_entry(name, pages, kept)}({given}, %mean: {mean}, %std: {mean}) -> {o} {{
{empty}
  %ps, %pb = vashista.score %q from #vashista.summary<mean_std>(%mean, %std)
      table(%table) lens(%lens) rows(%rows) page_size {_SIZE} scale {scale}
      : ({q}, {mean}, {mean}, {table}, {row}, {row}) -> ({scores}, {scores})
  %p, %pn, %pt = vashista.pick top {pages} pages of(%ps, %ps) lens(%lens) kv_heads 1
      page_size {_SIZE} : ({scores}, {scores}, {row}) -> ({few_pages}, {count}, {head})
  %ts, %tb = vashista.score %q from #vashista.keys<hnd>(%k) table(%table) lens(%lens)
      rows(%rows) within(%p, %pn) scale {scale}
      : ({q}, {cache}, {table}, {row}, {row}, {few_pages}, {count}) -> ({slots}, {slots})
  %t, %tn, %tt = vashista.pick top {kept} tokens of(%ts, %ts) lens(%lens)
      within(%p, %pn) kv_heads 1 page_size {_SIZE}
      : ({slots}, {slots}, {row}, {few_pages}, {count}) -> ({tokens}, {count}, {head})
  %r:4 = vashista.attend %q {keys} tokens(%t, %tn) outs(%o, %lse, %w, %gap)
      scale {scale} solver <{solver}, iterations = {few}>
      : ({base}, {tokens}, {count}, {outs}) -> ({outs})
  return %r#2 : {o}
}}""")
    return "\n".join(text)


def measure(artefact, trace: pathlib.Path, sizes, repeat: int) -> dict:
    """Times in seconds and distances, `[P, Kc]` of each solver; NaN where Kc > 16 P.

    sizes: those P, and those Kc.
    """
    q, k, v = (np.load(f"{trace}.{name}.npy") for name in "qkv")
    pages, rows = len(k) // _SIZE, len(q)
    k, v = (bfloat16(x[: pages * _SIZE].reshape(pages, 1, _SIZE, -1)) for x in (k, v))
    dim = k.shape[-1]
    mean, std = (bfloat16(np.zeros((pages, 1, dim), np.uint16)) for _ in range(2))
    table = np.arange(pages, dtype=np.int32)[None]
    length = np.array([pages * _SIZE], np.int32)
    artefact["summarize"](k=k, table=table, lens=length, mean=mean, std=std)
    # Row i of R sees all but R - 1 - i tokens.
    lens = (pages * _SIZE - rows + 1 + np.arange(rows)).astype(np.int32)

    given = {"q": bfloat16(q), "k": k, "v": v, "table": table, "lens": lens}
    given["rows"] = np.zeros(rows, np.int32)

    def run(entry, **more):
        return artefact[entry](**given, **more)

    out = {}
    few_pages, few_tokens = sizes
    grid = [(i, j) for i in range(len(few_pages)) for j in range(len(few_tokens))]
    for name in SOLVERS:
        full = run(_entry(name, 0, 0)).astype(np.float64)
        distance = np.linalg.norm(full, axis=-1)
        seconds = np.full((len(few_pages), len(few_tokens)), np.nan)
        apart = np.full_like(seconds, np.nan)
        for i, j in progress(grid, f"{trace.name} {name}"):
            if few_tokens[j] > few_pages[i] * _SIZE:
                continue
            entry = _entry(name, few_pages[i], few_tokens[j])
            got = run(entry, mean=mean, std=std).astype(np.float64)
            apart[i, j] = (np.linalg.norm(got - full, axis=-1) / distance).mean()
            times = []
            for _ in range(repeat):
                start = time.perf_counter()
                run(entry, mean=mean, std=std)
                times.append(time.perf_counter() - start)
            seconds[i, j] = np.median(times)
        out[name] = {"seconds": seconds, "apart": apart, "rows": rows}
    return out


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval solvers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=pathlib.Path, default=DATA, metavar="DATA", help="of traces")
    add("--traces", default="sharp,diffuse", help="PREFIX of PREFIX.{q,k,v}.npy there")
    add("--pages", default="4,8,16,32,64,128", help="P: how many are routed")
    add("--candidates", default="16,32,64,128,256,512", help="Kc: tokens of them")
    add("--repeat", type=int, default=25, help="times that a step is timed")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"))
    add("--target", default="cpu", help="what to compile for")
    add("--json", type=pathlib.Path, metavar="FILE", required=True)
    args = parser.parse_args(argv)
    try:
        traces = [args.data / name for name in args.traces.split(",")]
        heads, dim = np.load(f"{traces[0]}.q.npy").shape[1:]
        sizes = [[int(x) for x in y.split(",")] for y in (args.pages, args.candidates)]
        grid = [(p, k) for p in sizes[0] for k in sizes[1] if k <= p * _SIZE]
        text = module(heads, dim, grid)
        artefact = Artefacts(args.artefacts, args.target).get(text)
        got = {t.name: measure(artefact, t, sizes, args.repeat) for t in traces}
        results = {
            "pages": sizes[0], "candidates": sizes[1], "page_size": _SIZE,
            "solvers": {n: f"{s}, iterations = {few}" for n, (s, few, _) in SOLVERS.items()},
            "traces": got,
        }  # fmt: skip
        said = _result.command(parser, args)
        _result.write(args.json, _result.result("solvers", said, "cpu", results))
    except (Error, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
