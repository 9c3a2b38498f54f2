# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws what `python -m vashista.eval` measured. See the package."""

from __future__ import annotations

import argparse
import pathlib
import sys

from . import attention, contexts, quality, retrieval, solvers, steps
from ._drawn import Drawn, Table
from ._html import Page
from ._results import Result, read
from ._style import finish, load_pyplot

DRAWERS = [
    *contexts.DRAWERS,
    *steps.DRAWERS,
    *quality.DRAWERS,
    *retrieval.DRAWERS,
    *attention.DRAWERS,
    *solvers.DRAWERS,
]
_INTRO = (
    "Certified sparse attention for decoding over long contexts: what it reads, what it "
    "proves, what it changes, and what it takes. Every picture and table says on which "
    "machine, when and by which command it was measured."
)


def _save(
    pyplot, picture: Drawn, name: str, result: Result, out: pathlib.Path
) -> bytes:
    """Stores a picture as SVG and PNG; returns the SVG."""
    finish(picture.figure, result)
    about = f"{picture.says} {result.origin}. {result.command}"
    svg = {"Date": None, "Title": name, "Description": about}
    picture.figure.savefig(out / f"{name}.svg", metadata=svg)
    png = {"Software": None, "Title": name, "Description": about}
    picture.figure.savefig(out / f"{name}.png", dpi=160, metadata=png)
    pyplot.close(picture.figure)
    return (out / f"{name}.svg").read_bytes()


def _markdown(table: Table, result: Result) -> str:
    lines = [f"## {table.title}", "", table.says, "", f"{result.origin}.", ""]
    lines += [f"`{result.command}`", "", f"| {' | '.join(table.columns)} |"]
    lines.append("|" + "---|" * len(table.columns))
    lines += [f"| {' | '.join(row)} |" for row in table.rows]
    return "\n".join(lines) + "\n"


def draw(results: list[Result], out: pathlib.Path) -> dict[str, str]:
    """Draws everything that there is to a folder.

    Returns what there is nothing of, and the command that makes it.
    """
    pyplot = load_pyplot()
    out.mkdir(parents=True, exist_ok=True)
    page, tables, missing = Page("vashista, measured", _INTRO), [], {}
    for drawer in DRAWERS:
        found = [r for r in results if r.kind == drawer.kind]
        if not found:
            missing[drawer.title] = drawer.command
            continue
        page.section(drawer.title)
        for result in found:
            # Files are named after what they show; of several measurements, by both.
            suffix = f"-{result.stem}" if len(found) > 1 else ""
            for one in drawer.draw(pyplot, result):
                if isinstance(one, Table):
                    page.table(one, result.origin, result.command)
                    tables.append(_markdown(one, result))
                    continue
                name = f"{one.name}{suffix}"
                svg = _save(pyplot, one, name, result, out)
                page.picture(svg, one.says, result.origin, result.command)
                print(f"{out / name}.svg, .png")
    if missing:
        page.section("Not measured here")
        page.missing(missing)
    (out / "report.html").write_text(page.text())
    if tables:
        (out / "tables.md").write_text("# Measured\n\n" + "\n".join(tables))
    return missing


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.figures",
        description="Draws what `python -m vashista.eval` measured.",
    )
    parser.add_argument("results", type=pathlib.Path, help="a folder of JSON files")
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="for everything"
    )
    args = parser.parse_args(argv)
    try:
        results = read(args.results)
        if not results:
            raise ValueError(f"expected results in {args.results}, found none")
        missing = draw(results, args.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(args.out / "report.html")
    for title, command in missing.items():
        print(f"missing: {title}: {command}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
