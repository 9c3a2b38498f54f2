# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Policies to evaluate a model with."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from .. import Policy, Sketch


@dataclasses.dataclass(frozen=True)
class Plan:
    """A policy, what it is called, and what is kept for it.

    Attributes:
      options: of `vashista.transformers.PagedCache`: summary, page_size.
    """

    name: str
    policy: Policy
    sketch: Sketch | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def of_cache(self) -> dict[str, Any]:
        return {"policy": self.policy, "sketch": self.sketch, **dict(self.options)}


def default(context: int, tolerances: list[float]) -> list[Plan]:
    """Full budgets, fixed ones, and certified ones of each tolerance."""
    pages = max(6, context // 16 // 32)
    half = {"sinks": 4, "window": 64}
    full = -(-context // 16)
    plans = [
        Plan("everything", Policy()),
        Plan(
            "all pages, all tokens",
            Policy(pages=full, candidates=16 * full, **half),
            options=(("summary", "mean_std"),),
        ),
        Plan("all tokens by a sketch", Policy(candidates=16 * full, **half), Sketch()),
        Plan(
            f"{pages} pages, not certified",
            Policy(pages=pages, **half),
            options=(("summary", "mean_std"),),
        ),
    ]
    most = max(128, context // 4)
    for tolerance in tolerances:
        policy = Policy.certified(tolerance, candidates=most)
        plans.append(Plan(f"tau at most {100 * tolerance:g} %", policy, Sketch()))
    return plans


def read(path: pathlib.Path) -> list[Plan]:
    """Of a JSON list of {"name", "policy": {...}, "sketch": {...}, further options}."""
    plans = []
    for entry in json.loads(path.read_text()):
        name = entry.pop("name")
        policy = Policy(**entry.pop("policy", {}))
        sketch = entry.pop("sketch", None)
        if sketch is not None:
            sketch = Sketch(**sketch)
        plans.append(Plan(name, policy, sketch, tuple(sorted(entry.items()))))
    if len({plan.name for plan in plans}) < len(plans):
        raise ValueError(f"{path}: expected a name of its own for each policy")
    return plans
