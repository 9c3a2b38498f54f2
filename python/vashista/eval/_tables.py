# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Results as tables of Markdown."""

from __future__ import annotations


def heading(first: str, *, quality: bool = False) -> str:
    """The first two lines of a table."""
    columns = (
        f"{first} | bytes: scan + tokens + fallback | tokens per row / group "
        "| rows proved, mean | true tau mean / most | output error mean / p99 "
        "| grown / fell back"
    )
    more = " | PPL, 95 % | KL" if quality else ""
    return f"| {columns}{more} |\n|{'---|' * (9 if quality else 7)}"


def line(first: str, r: dict) -> str:
    """A row of a table, of a whole setting or a layer."""
    parts = " + ".join(f"{100 * r[key]:.2f}" for key in ("scan", "tokens", "fallback"))
    return (
        f"| {first} | {parts} = **{100 * r['bytes']:.2f} %** "
        f"| {100 * r['alone']:.2f} / {100 * r['tokens']:.2f} % "
        f"| {100 * r['proved']:.2f} %, {100 * r['tau']:.1f} % "
        f"| {100 * r['tau_true']:.2f} / {100 * r['tau_true_max']:.1f} % "
        f"| {r['error']:.4f} / {r['error_p99']:.3f} "
        f"| {100 * r['grown']:.2f} / {100 * r['fallback']:.2f} % |"
    )


def quality(first: str, r: dict) -> str:
    """A row of a table of whole settings, with what changed for the model."""
    return (
        f"{line(first, r)} {r['ppl']:+.3f} %, {r['ppl_low']:+.3f} to "
        f"{r['ppl_high']:+.3f} | {r['kl']:.5f} |"
    )
