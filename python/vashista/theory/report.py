# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables, figures and verified statements, written to a folder."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any, Sequence

import numpy as np

# Okabe and Ito's colours, which people who see colours differently tell apart;
# lines differ in dashes or markers too.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


class Violation(Exception):
    """A statement that is proved, or certified, does not hold."""


def load_pyplot():
    """matplotlib's pyplot, set up; the tables alone would need only NumPy."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit(
            "error: expected matplotlib for the figures, found none; install "
            "python3-matplotlib (Debian) or matplotlib (pip)"
        ) from error
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.labelsize": 9,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "figure.dpi": 100,
            "font.size": 9,
            "grid.alpha": 0.3,
            "legend.fontsize": 8,
            "legend.frameon": False,
            # Text stays text: small files. Verdana has the metrics of DejaVu.
            "svg.fonttype": "none",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
            # The same run gives the same bytes.
            "svg.hashsalt": "vashista",
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
        }
    )
    from matplotlib import pyplot

    return pyplot


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    if value is None or math.isnan(value):
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.1e}"


def _plain(value: Any) -> Any:
    """For JSON, which has no infinity."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f} %"


class Report:
    """What a run found.

    Args:
      folder: where everything goes; made with its parents.
      command: what reproduces it, said by every figure.
    """

    def __init__(self, folder: pathlib.Path, command: str):
        self.folder, self.command = folder, command
        self.pyplot = load_pyplot()
        self._text: list[str] = []
        self._tables: dict[str, Any] = {}
        self._figures: dict[str, str] = {}
        self._verified: list[tuple[str, int]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def section(self, title: str, text: str) -> None:
        self._text += [f"## {title}", "", text.strip(), ""]
        print(f"{title} ...", flush=True)

    def table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence]
    ) -> None:
        """Adds a table; `name` is its key in results.json."""
        self._text.append(f"| {' | '.join(columns)} |")
        self._text.append("|" + "---|" * len(columns))
        for row in rows:
            self._text.append(f"| {' | '.join(_cell(x) for x in row)} |")
        self._text.append("")
        self._tables[name] = [
            dict(zip(columns, (_plain(x) for x in row))) for row in rows
        ]

    def figure(self, name: str, figure, says: str) -> None:
        """Stores a figure as SVG and PNG; `says` is what it shows."""
        figure.text(
            0.008,
            0.014,
            f"{self.command}: {name}",
            fontsize=6.5,
            color="0.35",
            family="monospace",
        )
        for suffix, options in (
            ("svg", {"metadata": {"Date": None}}),
            ("png", {"dpi": 150, "metadata": {"Software": None}}),
        ):
            figure.savefig(self.folder / f"{name}.{suffix}", **options)
        self.pyplot.close(figure)
        self._text += [f"![{says}]({name}.svg)", "", f"*{says}*", ""]
        self._figures[name] = says

    def verify(self, statement: str, bound, value, slack: float = 0.0) -> None:
        """Raises unless each value is at most its bound, and counts them.

        `slack` is what the rounding of both sides in float64 may do.
        """
        bound, value = np.broadcast_arrays(
            np.asarray(bound, np.float64), np.asarray(value, np.float64)
        )
        # A NaN bounds nothing.
        false = ~(value <= bound + slack)
        if false.any():
            first = tuple(np.argwhere(false)[0])
            raise Violation(
                f"{statement}: false in {false.sum()} of {false.size} cases; first "
                f"expected at most {bound[first]:.9g}, got {value[first]:.9g}"
            )
        for i, (known, count) in enumerate(self._verified):
            if known == statement:
                self._verified[i] = (known, count + false.size)
                return
        self._verified.append((statement, false.size))

    def write(self) -> None:
        """index.md and results.json."""
        lines = ["# The theory, reproduced", "", f"Made by `{self.command}`.", ""]
        lines += self._text
        lines += ["## Verified", "", "| statement | cases | false |", "|---|---|---|"]
        lines += [f"| {name} | {count:,} | 0 |" for name, count in self._verified]
        (self.folder / "index.md").write_text("\n".join(lines) + "\n")
        results = {
            "command": self.command,
            "figures": self._figures,
            "tables": self._tables,
            "verified": {name: count for name, count in self._verified},
        }
        (self.folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        for name, count in self._verified:
            print(f"verified: {name}: {count} cases, 0 false")
