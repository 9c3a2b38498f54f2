# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What CodeLM's attention needs, where it looks, and the slack of sketches of its keys."""

from __future__ import annotations

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn


def _need(pyplot, r):
    from matplotlib.colors import LogNorm

    need = 100 * np.array(r["need"])  # [masses, L, H]
    figure, axes = style.new(
        pyplot, "Smallest share of the tokens that holds a given mass, by layer and head",
        1, len(need), height=3.6, sharey=True,
    )  # fmt: skip
    norm = LogNorm(need.min(), need.max())
    for axis, mass, grid in zip(axes, r["masses"], need):
        image = axis.imshow(grid, norm=norm, cmap=style.SEQUENTIAL, aspect="auto")
        style.annotate(axis, grid, image, style.short)
        axis.grid(False)
        axis.set_title(f"{100 * mass:g} % of the mass", fontsize=9)
        axis.set_xticks(range(grid.shape[1]))
        axis.set_yticks(range(grid.shape[0]))
        axis.set_xlabel("query head")
    axes[0].set_ylabel("layer")
    figure.colorbar(
        image, ax=axes, label="tokens, mean over rows [%]", fraction=0.04,
        format="%g",
    )  # fmt: skip
    middle = np.array(r["need_quantiles"])[1] * 100  # of 90 %
    return Drawn(
        "need",
        figure,
        f"The tokens that hold 50, 90 and 99 % of a row's mass, in the best order, of "
        f"{r['rows']:,} rows at {r['context']:,} tokens. For 90 % half of the rows need at "
        f"most {middle[2]:.2g} % of the tokens, and one in a hundred {middle[4]:.2g} %.",
    )


def _slack(pyplot, r):
    found = sorted(r["slack"], key=lambda s: -s["quantiles"][2])
    figure, axes = style.new(
        pyplot, "Slack of each sketch: how far its bound is above the exact logit",
        height=4.2,
    )  # fmt: skip
    for y, s in enumerate(found):
        low, first, middle, third, high = s["quantiles"]
        named = {} if y else {"a": "1 to 99 %", "b": "25 to 75 %", "c": "median"}
        axes.plot(
            [low, high], [y, y], color=style.SKY, linewidth=1.2, zorder=1,
            label=named.get("a"),
        )  # fmt: skip
        axes.plot(
            [first, third], [y, y], color=style.BLUE, linewidth=5, zorder=2,
            solid_capstyle="butt", label=named.get("b"),
        )  # fmt: skip
        axes.plot(
            middle, y, "o", color="white", markeredgecolor=style.BLUE, markersize=4,
            zorder=3, label=named.get("c"),
        )  # fmt: skip
        axes.plot(
            s["layers"], [y - 0.34] * len(s["layers"]), "|", color=style.RED,
            markersize=5, label=None if y else "median of a layer",
        )  # fmt: skip
        axes.text(high * 1.1, y, f"{s['mean']:.2g}", va="center", fontsize=7)
    labels = [f"{s['name']}: {s['bytes']:.3g} B" for s in found]
    axes.set_yticks(range(len(found)), labels, fontsize=7.5)
    axes.set_xscale("log")
    axes.set_xlabel("slack, bound − logit [nats]; the number is the mean")
    style.plain_log(axes.xaxis)
    style.above(axes, 4)
    return Drawn(
        "slack",
        figure,
        f"Slack of the compiled bounds of each sketch format on CodeLM's keys, "
        f"{found[0]['pairs']:,} pairs of query and key, with the format's bytes per token "
        "and KV head (a key and value have 512). e to the slack is the factor by which a "
        f"token's mass is overestimated.{_unbounded(found)}",
    )


def _unbounded(found: list[dict]) -> str:
    worst = max(found, key=lambda s: s.get("unbounded", 0.0))
    if not worst.get("unbounded"):
        return ""
    return (
        f" Of {100 * worst['unbounded']:.2g} % of the pairs {worst['name']} has no bound: "
        "they are not in its mean."
    )


def _look(pyplot, r):
    from matplotlib.colors import LogNorm

    look = np.array(r["look"])  # [L, H, bins]
    layers, heads, bins = look.shape
    grid = 100 * look.reshape(layers * heads, bins)
    figure, axes = style.new(
        pyplot, "Where heads look: mass by distance from the query", height=5.6
    )
    norm = LogNorm(0.05, 100, clip=True)
    image = axes.imshow(grid, norm=norm, cmap=style.SEQUENTIAL, aspect="auto")
    axes.grid(False)
    edges = r["edges"]
    axes.set_xticks(np.arange(bins + 1) - 0.5, [style.si(e) for e in edges], fontsize=7)
    axes.set_xlabel("distance from the query [tokens], 0: the token itself")
    ticks = np.arange(layers) * heads
    axes.set_yticks(ticks + (heads - 1) / 2, [f"layer {i}" for i in range(layers)])
    for tick in ticks[1:]:
        axes.axhline(tick - 0.5, color="white", linewidth=1)
    axes.set_ylabel(f"{heads} heads of each layer")
    figure.colorbar(
        image, ax=axes, label="share of the mass [%]", fraction=0.04, format="%g"
    )
    first = 100 * np.array(r["first_page"]).mean(1)
    most = int(first.argmax())
    return Drawn(
        "where-heads-look",
        figure,
        f"Mean mass by distance, of each head, at {r['context']:,} tokens; distances "
        f"double from column to column. The first 16 tokens, the sinks, hold "
        f"{first[most]:.2g} % of the mass in layer {most}, and {first.mean():.2g} % in the "
        "mean over layers.",
    )


def _maps(pyplot, r):
    from matplotlib.colors import LogNorm

    maps = r["maps"]
    figure, axes = style.new(
        pyplot, "Where six heads look: mass by position, of 32 queries at the end",
        2, 3, height=4.6, sharex=True, sharey=True,
    )  # fmt: skip
    norm = LogNorm(1e-3, 100, clip=True)
    for axis in axes.flat[len(maps) :]:
        axis.set_visible(False)
    for axis, m in zip(axes.flat, maps):
        grid = 100 * np.array(m["mass"])
        extent = (0, r["context"], len(grid), 0)
        image = axis.imshow(
            grid, norm=norm, cmap=style.SEQUENTIAL, aspect="auto", extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        axis.grid(False)
        axis.set_title(
            f"layer {m['layer']}, head {m['head']}: {100 * m['need']:.2g} %",
            fontsize=8,
        )
    for axis in axes[-1]:
        axis.set_xlabel("position of the key [tokens]")
    for axis in axes[:, 0]:
        axis.set_ylabel("query")
    figure.colorbar(
        image, ax=axes, label="mass of a column [%]", fraction=0.04, format="%g"
    )
    return Drawn(
        "maps",
        figure,
        "Attention of consecutive queries (down) over the context (across), of six heads "
        "from the one that needs least to the one that needs most (in percent: the tokens "
        "that hold 90 % of the mass). The bright column on the right is the query's "
        "neighbourhood; columns are sums of neighbouring tokens.",
    )


def _draw(pyplot, result):
    r = result.results
    yield _need(pyplot, r)
    yield _slack(pyplot, r)
    yield _look(pyplot, r)
    yield _maps(pyplot, r)


DRAWERS = [
    Drawer(
        "What attention needs, and where it looks",
        "attention",
        _draw,
        "python -m vashista.eval attention --codelm CODELM --json RESULTS/attention.json",
    )
]
