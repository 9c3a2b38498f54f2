# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Policies to evaluate a model with."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, Sequence

from .. import Policy, Sketch


@dataclasses.dataclass(frozen=True)
class Plan:
    """A policy, what it is called, and what is kept for it.

    Attributes:
      options: of `vashista.transformers.PagedCache`: summary, page_size.
      drafts: tokens that a `vashista.drafts.Drafts` drafts in a round; 0: what the policy
        attends to is what the model says.
    """

    name: str
    policy: Policy
    sketch: Sketch | None = None
    options: tuple[tuple[str, Any], ...] = ()
    drafts: int = 0

    def of_cache(self) -> dict[str, Any]:
        return {"policy": self.policy, "sketch": self.sketch, **dict(self.options)}


def default(
    context: int, tolerances: list[float], drafts: Sequence[int] = ()
) -> list[Plan]:
    """Full budgets, fixed ones, and certified ones of each tolerance; fixed and the last
    certified ones once more as drafts of so many tokens."""
    if wrong := [n for n in drafts if n < 1]:
        raise ValueError(f"expected drafts of 1 or more tokens, got {wrong[0]}")
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
    return plans + [
        dataclasses.replace(plan, name=f"{plan.name}, drafts of {n}", drafts=n)
        for plan in (plans[3], *plans[4:][-2:])
        for n in drafts
    ]


def read(path: pathlib.Path, drafts: bool = False) -> list[Plan]:
    """Of a JSON list of {"name", "policy": {...}, "sketch": {...}, "drafts": tokens,
    further options}.

    drafts: whether there may be any: elsewhere they would be left out silently.
    """
    plans = []
    for entry in json.loads(path.read_text()):
        name = entry.pop("name")
        policy = Policy(**entry.pop("policy", {}))
        sketch = entry.pop("sketch", None)
        if sketch is not None:
            sketch = Sketch(**sketch)
        count = int(entry.pop("drafts", 0))
        if count < 0 or count and not drafts:
            raise ValueError(
                f"{path}: {name}: expected {'0 or more' if drafts else 'no'} drafts, got "
                f"{count}"
            )
        options = tuple(sorted(entry.items()))
        plans.append(Plan(name, policy, sketch, options, count))
    if len({plan.name for plan in plans}) < len(plans):
        raise ValueError(f"{path}: expected a name of its own for each policy")
    return plans
