# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measured steps as Markdown."""

from __future__ import annotations

from typing import Any, Iterable

from _shapes import BETWEEN, CERTIFIED, OURS, PEERS, Shape

NONE = "-"
_TITLES = {
    "mean": "64 pages by `mean`, 128 tokens",
    "mean_std": "64 pages by `mean_std`, 128 tokens",
    **{
        name: f"Certified, {bits} bits{', second moments' * moments}"
        f"{', two rounds' * (rounds == 2)}, tau at most 50 %"
        for name, (bits, moments, rounds) in CERTIFIED.items()
    },
}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _us(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    us = seconds * 1e6
    return f"{us:.1f}" if us < 100 else f"{us:,.0f}"


def _percent(x: float | None, digits: int = 0) -> str:
    return NONE if x is None else f"{100 * x:.{digits}f} %"


def shape_of(entry: dict[str, Any]) -> Shape:
    return Shape(**entry["shape"])


def _named(entry: dict[str, Any]) -> str:
    trace = " (trace)" if entry.get("trace") else ""
    return f"{shape_of(entry)}{trace}"


def seconds_of(entry: dict[str, Any], name: str) -> float | None:
    step = entry["steps"].get(name)
    return step["seconds"] if step else None


def fastest_dense(entry: dict[str, Any]) -> float | None:
    """The fastest dense step, whoever's."""
    names = ("dense", *PEERS)
    times = [seconds_of(entry, n) for n in names]
    return min((t for t in times if t is not None), default=None)


def _floors(entry: dict[str, Any], name: str) -> list[str]:
    """The floor at the bandwidth that is assumed, a step's speed of it, and of that at
    the bandwidth of a sum in the same run."""
    step = entry["steps"][name]
    assumed = step["floor_bytes"] / entry["bandwidth"]
    read = step["floor_bytes"] / entry["read_bandwidth"]
    return [
        _us(assumed),
        _percent(assumed / step["seconds"]),
        _percent(read / step["seconds"]),
    ]


def _ratio(a: float | None, b: float | None) -> str:
    return NONE if a is None or not b else f"{a / b:.2f}"


def dense_table(entries: list[dict[str, Any]]) -> list[str]:
    rows = []
    for entry in entries:
        own = seconds_of(entry, "dense")
        others = [seconds_of(entry, p) for p in PEERS]
        there = [t for t in others if t is not None]
        rows.append(
            [
                _named(entry),
                *_floors(entry, "dense"),
                f"**{_us(own)}**",
                *map(_us, others),
                _ratio(own, min(there)) if there else NONE,
            ]
        )
    head = ["B, Hkv, G, T", "floor, us", "of its speed", "of a sum's", "ours, us"]
    return _table([*head, *PEERS.values(), "of the fastest other"], rows)


def sparse_table(entries: list[dict[str, Any]], name: str) -> list[str]:
    rows = []
    for entry in entries:
        own = entry["steps"][name]
        row = [_named(entry), *_floors(entry, name), f"**{_us(own['seconds'])}**"]
        row += [str(own.get("launches") or NONE)]
        row += [_ratio(own["seconds"], fastest_dense(entry))]
        rows.append([*row, _percent(own["found"].get("tau_true"), 1)])
    head = ["B, Hkv, G, T", "floor, us", "of its speed", "of a sum's", "step, us"]
    return _table([*head, "launches", "of the fastest dense", "mass missed"], rows)


def proved_table(entries: list[dict[str, Any]], name: str) -> list[str]:
    rows = []
    for entry in entries:
        found = entry["steps"][name]["found"]
        rows.append(
            [
                _named(entry),
                _percent(found["proved"], 1),
                f"{_percent(found['share'], 1)}, {_percent(found['largest_share'], 1)}",
                f"{_percent(found['second_rounds'], 1)}, {_percent(found.get('second_steps'))}",
                _percent(found["fallback"], 1),
                _percent(found["tau"], 1),
                f"{_percent(found['tau_true'], 1)}, {_percent(found['tau_true_max'], 1)}",
                f"{found['false']} of {found['rows']:,}",
            ]
        )
    head = [
        "B, Hkv, G, T",
        "rows proved",
        "tokens attended: mean, most",
        "second rounds: groups, steps",
    ]
    head += [
        "fell back",
        "tau proved",
        "tau in truth: mean, most",
        "false certificates",
    ]
    return _table(head, rows)


def kernel_table(entries: list[dict[str, Any]], name: str) -> list[str]:
    """A column of a shape: us that each adds to a step, and what its own bytes take."""
    seen = [e for e in entries if e["steps"][name].get("kernels")]
    if not seen:
        return ["No kernels were seen by the profiler."]
    # Of other shapes other ops may be one kernel.
    columns = [{k["name"]: k for k in e["steps"][name]["kernels"]} for e in seen]
    rows = []
    for kernel in dict.fromkeys(n for column in columns for n in column):
        row = [kernel]
        for entry, column in zip(seen, columns):
            own = column.get(kernel)
            cell = _us(own.get("added", own["seconds"])) if own else NONE
            if own and own["bytes"]:
                cell += f" ({_us(own['bytes'] / entry['bandwidth'])})"
            row.append(cell)
        rows.append(row)
    return _table([f"{name}, us (own floor)", *map(_named, seen)], rows)


def bytes_table(entries: list[dict[str, Any]]) -> list[str]:
    """By stage; in brackets what is in no floor."""
    names = [n for n in OURS if any(n in e["steps"] for e in entries)]
    rows = []
    for entry in entries:
        row = [_named(entry)]
        for name in names:
            parts = entry["steps"].get(name, {}).get("bytes", {})
            cells = [
                (
                    f"({part} {n / 1e6:,.1f})"
                    if part in BETWEEN
                    else f"{part} {n / 1e6:,.1f}"
                )
                for part, n in parts.items()
            ]
            row.append(", ".join(cells) or NONE)
        rows.append(row)
    return _table(["B, Hkv, G, T", *names], rows)


def error_table(entries: list[dict[str, Any]]) -> list[str]:
    rows = []
    for entry in entries:
        own = [entry["steps"].get(n) for n in ("dense", *CERTIFIED)]
        row = [f"{s['found']['error']:.1e}" if s else NONE for s in own]
        for peer in PEERS:
            step = entry["steps"].get(peer)
            error = step.get("difference") if step else None
            row.append(NONE if error is None else f"{error:.1e}")
        rows.append([_named(entry), *row])
    head = ["B, Hkv, G, T", *(f"{n}, of float64" for n in ("dense", *CERTIFIED))]
    return _table([*head, *(f"{p}, of ours" for p in PEERS.values())], rows)


def report(files: list[dict[str, Any]]) -> str:
    """The results of one or several runs.

    files: as stored, each with the shapes of its run.
    """
    out = []
    entries = [entry for file in files for entry in file["results"]["shapes"]]
    for file in files:
        own = file["results"]
        used = ", ".join(f"{n} {v}" for n, v in own["libraries"].items())
        out.append(
            f"{file['machine']}; {used}; a sum reads {own['read_bandwidth'] / 1e12:.2f} "
            f"TB/s, floors are at {own['bandwidth'] / 1e12:.2f}; {own['timed']}; "
            f"`{file['command']}`, {file['date']}."
        )
    some = [e for e in entries if "dense" in e["steps"]]
    if some:
        out += ["", "**Dense**", "", *dense_table(some)]
    for name in OURS[1:]:
        some = [e for e in entries if name in e["steps"]]
        if some:
            out += ["", f"**{_TITLES[name]}**", "", *sparse_table(some, name)]
    for name in CERTIFIED:
        some = [e for e in entries if name in e["steps"]]
        if some:
            out += ["", f"**What was proved: {name}**", "", *proved_table(some, name)]
    for name in OURS:
        some = [e for e in entries if name in e["steps"]]
        if some and any(e["steps"][name].get("kernels") for e in some):
            out += ["", f"**Kernels: {name}**", "", *kernel_table(some, name)]
    out += ["", "**Bytes, MB**", "", *bytes_table(entries)]
    out += ["", "**Largest differences, of the largest number**", ""]
    out += error_table(entries)
    notes = [f"{_named(e)}: {note}" for e in entries for note in e["notes"]]
    notes = [n for f in files for n in f["results"]["notes"]] + notes
    if notes:
        out += ["", "**Left out, or to be known**", "", *(f"* {n}" for n in notes)]
    return "\n".join(out)
