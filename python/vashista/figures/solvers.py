# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Heat maps over routed pages and candidates, for both projection solvers."""

from __future__ import annotations

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn

_NAMES = {"EG": "exponentiated gradient", "FW": "Frank–Wolfe, pairwise"}


def _change(r: dict, solvers: dict) -> str:
    """What more candidates do, and more pages."""
    said = ""
    for name, solver in solvers.items():
        grid = 100 * np.array(solver["apart"], float)
        column = int(np.flatnonzero(~np.isnan(grid[0]))[-1])
        few, pages = r["candidates"], r["pages"]
        said += (
            f" {_NAMES.get(name, name).capitalize()}: {grid[-1, 0]:.0f} to {grid[-1, -1]:.0f} % from {few[0]} to "
            f"{few[-1]} tokens of {pages[-1]} pages; {grid[0, column]:.0f} to "
            f"{grid[-1, column]:.0f} % from {pages[0]} to {pages[-1]} pages with "
            f"{few[column]} tokens."
        )
    return said


def _draw(pyplot, result):
    from matplotlib.colors import LogNorm

    r = result.results
    for trace, solvers in r["traces"].items():
        rows = next(iter(solvers.values()))["rows"]
        figure, axes = style.new(
            pyplot, f"Sparse projection attention over (P, Kc), keys '{trace}': its time, "
            "and how far it is from the projection onto all keys",
            2, 2, height=6.4,
        )  # fmt: skip
        for line, (key, label, form) in enumerate(
            (
                ("seconds", f"ms, {rows} rows", style.short),
                ("apart", "distance [%]", lambda v: f"{v:.0f}"),
            )
        ):
            scale = 1e3 if key == "seconds" else 100
            grids = {n: scale * np.array(s[key], float) for n, s in solvers.items()}
            every = np.concatenate([g[~np.isnan(g)] for g in grids.values()])
            norm = LogNorm(
                every.min(), every.max() if np.ptp(every) else 2 * every.min()
            )
            for axis, (name, grid) in zip(axes[line], grids.items()):
                image = axis.imshow(
                    grid,
                    norm=norm,
                    cmap=style.SEQUENTIAL,
                    origin="lower",
                    aspect="auto",
                )
                style.annotate(axis, grid, image, form)
                axis.set_xticks(range(len(r["candidates"])), r["candidates"])
                axis.set_yticks(range(len(r["pages"])), r["pages"])
                axis.grid(False)
                axis.set_title(f"{_NAMES.get(name, name)}: {label}", fontsize=8.5)
                axis.set_xlabel("Kc, candidates [tokens]")
                axis.set_ylabel(f"P, routed pages of {r['page_size']}")
        yield Drawn(
            f"solvers-{trace}",
            figure,
            f"Time of a sparse projection step on trained keys, '{trace}' (above), and the "
            "distance of its point from the projection onto all keys, as a share of that "
            "one's distance from the query (below), over routed pages P and candidates Kc; "
            f"– where P pages do not hold Kc tokens.{_change(r, solvers)}",
        )


DRAWERS = [
    Drawer(
        "Projection solvers over pages and candidates",
        "solvers",
        _draw,
        "python -m vashista.eval solvers --json RESULTS/solvers.json",
    )
]
