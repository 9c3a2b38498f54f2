# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a decode step reads, proves and falls back to."""

from __future__ import annotations

import dataclasses

from . import _check


@dataclasses.dataclass(frozen=True)
class Policy:
    """The policy of `vashista.attention`: budgets are per KV head and row.

    `Policy()` is dense: it reads everything. `Policy.certified()` reads what the
    proof of a tolerance needs. `pages` and `candidates` without a tolerance read a
    fixed amount and prove nothing.

    Attributes:
      pages: pages routed by a summary; 0: nothing is routed, every token is scored.
      candidates: tokens selected, in each round at most; 0: routed pages are attended
        whole, or, without pages, everything is.
      sinks, window: first and last tokens that are always attended.
      pick: "top" spends the budget; "proving" takes the fewest tokens that prove the
        tolerance, and at most the budget.
      target: what the tolerance bounds: "tau", the share of the mass that is not
        attended, or "output_error", the Euclidean norm of the error of the output.
      tolerance: the most to accept; 0: nothing is certified.
      rounds: times that a row's budget is spent, 1 to 8.
      fallback: what a group does that misses the tolerance: "none", or "dense", it
        attends to everything.

    Raises `vashista.Error` for what the op would refuse. Source: the constraints
    policy_c1 to policy_c6 of docs/reference/VashistaDialect.md.
    """

    pages: int = 0
    candidates: int = 0
    sinks: int = 0
    window: int = 0
    pick: str = "top"
    target: str = "tau"
    tolerance: float = 0.0
    rounds: int = 1
    fallback: str = "none"

    def __post_init__(self):
        for name in ("pages", "candidates", "sinks", "window"):
            _check.integer(f"policy: {name}", getattr(self, name), 0)
        _check.one_of("policy: pick", self.pick, ("top", "proving"))
        _check.one_of("policy: target", self.target, ("tau", "output_error"))
        _check.one_of("policy: fallback", self.fallback, ("none", "dense"))
        if self.tolerance != 0:
            _check.positive("policy: tolerance", self.tolerance)
        if self.target == "tau" and self.tolerance >= 1:
            raise _check.refuse(
                "policy: tolerance", "less than 1 for the target tau", self.tolerance
            )
        _check.integer("policy: rounds", self.rounds, 1, 8)
        if self.rounds > 1:
            one = (
                "with the target output_error"
                if self.target == "output_error"
                else (
                    "that reads everything"
                    if self.is_dense
                    else "without a tolerance" if not self.tolerance else ""
                )
            )
            if one:
                raise _check.refuse(f"policy {one}: rounds", "1", self.rounds)
        if self.fallback != "none" and not self.tolerance:
            raise _check.refuse("policy: fallback", "a tolerance with it", "none")
        if self.pick == "proving" and not (self.tolerance and self.target == "tau"):
            raise _check.refuse(
                "policy: pick = proving",
                "a tolerance with the target tau",
                self.target if self.tolerance else "none",
            )
        if 0 < self.candidates < self.sinks + self.window:
            raise _check.refuse(
                "policy: candidates",
                f"0 or at least {self.sinks + self.window}, the sinks and the window",
                self.candidates,
            )

    @classmethod
    def certified(
        cls,
        tolerance: float = 0.5,
        *,
        candidates: int,
        sinks: int = 4,
        window: int = 64,
        rounds: int = 2,
    ) -> Policy:
        """Proves, for every row, that at most `tolerance` of its mass is missed.

        candidates: most tokens of a KV head's list, in each round; groups that need
          more attend to everything.
        rounds: of picking. On a GPU one is faster, but with second moments, if the list
          has room for all tokens of a sequence: nothing is over that, and a pick takes
          as many more as no round follows. Of known sizes (`AttentionSpec`) such a step
          is one kernel where sequences are few or short (``fuse`` of
          ``vashista-assign-schedule``).

        What is missed in truth is several times less than what is proved, so that
        0.5 is lossless on the keys of a trained model (docs/quality.md).
        """
        return cls(
            candidates=candidates,
            sinks=sinks,
            window=window,
            pick="proving",
            tolerance=tolerance,
            rounds=rounds,
            fallback="dense",
        )

    @property
    def is_dense(self) -> bool:
        """Whether everything is attended."""
        return not self.pages and not self.candidates

    @property
    def is_certified(self) -> bool:
        """Whether rows come with a certificate."""
        return bool(self.tolerance) and not self.is_dense

    def __str__(self) -> str:
        """As the op has it: `<pages = 0, candidates = 4096, ...>`."""
        words = [f"{name} = {getattr(self, name)}" for name in ("pages", "candidates")]
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                text = f"{value:.17e}" if field.name == "tolerance" else value
                words.append(f"{field.name} = {text}")
        return f"<{', '.join(words)}>"
