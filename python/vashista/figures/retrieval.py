# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Needles and passkeys over lengths and depths."""

from __future__ import annotations

import numpy as np

from . import _style as style
from ._drawn import Drawer, Drawn


def _draw(pyplot, result):
    r = result.results
    for task, got in r["tasks"].items():
        right = 100 * np.array(got["tokens"])
        whole = 100 * np.array(got["retrieved"])
        columns = 2 if len(right) in (2, 4) else 3
        lines = -(-len(right) // columns)
        figure, axes = style.new(
            pyplot, f"{task.capitalize()} by {r['model']}: tokens of the answer that are "
            "right, by length and depth",
            lines, columns, height=1.3 + 2.0 * lines, squeeze=False, sharex=True,
            sharey=True,
        )  # fmt: skip
        for axis in axes.flat[len(right) :]:
            axis.set_visible(False)
        for axis, name, grid, all_right in zip(axes.flat, r["names"], right, whole):
            image = axis.imshow(
                grid.T, vmin=0, vmax=100, cmap=style.SEQUENTIAL, aspect="auto"
            )
            style.annotate(axis, grid.T, image, lambda v: f"{v:.0f}")
            axis.grid(False)
            axis.set_title(
                f"{name}\nwhole answers: {all_right.mean():.0f} %", fontsize=7.5
            )
            axis.set_xticks(
                range(len(r["lengths"])), [style.si(x) for x in r["lengths"]]
            )
            axis.set_yticks(range(len(r["depths"])), [f"{x:g}" for x in r["depths"]])
        for axis in axes[:, 0]:
            axis.set_ylabel("depth [of the text]")
        for axis in axes[-1]:
            axis.set_xlabel("length [tokens]")
        figure.colorbar(image, ax=axes, label="tokens right [%]", fraction=0.03)
        yield Drawn(
            f"retrieval-{task}",
            figure,
            f"Share of the answer's tokens that {r['model']} finds ({task}), "
            f"{r['samples']} cases of each length and depth; depth 1 is just before the "
            "question. What SDPA does not find says nothing about the others.",
        )


DRAWERS = [
    Drawer(
        "Retrieval",
        "retrieval",
        _draw,
        "python -m vashista.eval retrieval --codelm CODELM --tasks needle,passkey "
        "--template c --json RESULTS/retrieval.json",
    )
]
