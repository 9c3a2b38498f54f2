# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How pictures look: on matplotlib, for readers who see colours differently, too."""

from __future__ import annotations

import textwrap
from typing import Any

from ..theory.report import (
    BLACK, BLUE, COLOURS, DASHES, GREEN, MARKERS, ORANGE, PURPLE, RED, SKY, load_pyplot,
)  # fmt: skip

__all__ = [
    "BLACK", "BLUE", "COLOURS", "DASHES", "GREEN", "GREY", "MARKERS", "ORANGE", "PURPLE",
    "RED", "SEQUENTIAL", "SKY", "above", "annotate", "finish", "load_pyplot", "new",
    "plain_log", "short", "si", "three",
]  # fmt: skip

GREY = "0.45"
SEQUENTIAL = "cividis"  # Its lightness grows with the value, for every eye.
_WIDTH = 7.4  # inches
_TITLE = 78  # wide characters that fit


def new(
    pyplot, title: str, rows: int = 1, columns: int = 1, height: float = 3.6, **more
):
    """A figure under a title that says what it shows, and its axes."""
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(_WIDTH, height), layout="constrained", **more
    )
    figure.suptitle(
        "\n".join(textwrap.wrap(title, _TITLE)),
        x=0.01,
        ha="left",
        fontsize=10.5,
        weight="bold",
    )
    return figure, axes


def finish(figure, result) -> None:
    """Says at the bottom where, when and by which command it was measured."""
    lines = textwrap.wrap(result.origin, 125)
    # Options stay whole.
    lines += textwrap.wrap(f"$ {result.command}", 118, break_on_hyphens=False)
    # matplotlib would read a dollar as mathematics.
    text = "\n".join(lines).replace("$", r"\$")
    figure.supxlabel(
        text, x=0.01, ha="left", fontsize=6.3, color="0.35", family="monospace"
    )


def above(axes, columns: int) -> None:
    """A legend above the axes, where nothing is drawn."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=7,
        borderaxespad=0.2, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def plain_log(axis) -> None:
    """Plain numbers, 1 2 5, on the axis of a logarithm."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def annotate(axes, values, image, form) -> None:
    """Writes each value of a heat map into its cell, in a colour that stands out."""
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value != value:
                axes.text(j, i, "–", ha="center", va="center", color=GREY, fontsize=7)
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
            axes.text(
                j, i, form(value), ha="center", va="center", fontsize=6.5,
                color="black" if light else "white",
            )  # fmt: skip


def short(value: float) -> str:
    """Two digits or so, for a cell: .01, .84, 1.5, 43."""
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}".lstrip("0")


def three(value: float) -> str:
    """Three digits, of large numbers all: 0.650, 16.0, 1,234."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def si(value: Any) -> str:
    """1024 as 1k: contexts are powers of two."""
    value = int(value)
    return f"{value // 1024}k" if value >= 1024 and value % 1024 == 0 else str(value)
