# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled steps over inputs, and what they proved beside float64."""

from __future__ import annotations

from typing import Any

import torch
import vashista.torch
from vashista._memory import TorchMemory
from vashista.eval._artefacts import Artefacts

from _inputs import Inputs
from _shapes import CERTIFIED, TOLERANCE, Shape, lists_of, spec_of, text_of

#: What f32 leaves of a log-sum-exp, as a share of a mass: less is no false certificate.
SLACK = 1e-4
SAMPLES = 64  # rows that are compared with float64


class Ours:
    """A step of ours: what it keeps for the pages is made here."""

    def __init__(self, variant: str, inputs: Inputs, artefacts: Artefacts):
        shape = inputs.shape
        self.variant, self.inputs = variant, inputs
        spec = spec_of(shape, variant)
        artefact = artefacts.get(text_of(shape, variant), lists_of(variant))
        self._decode = vashista.torch.op(artefact, "decode")
        memory = TorchMemory(inputs.device)
        self.kept = {
            name: memory.zeros((len(inputs.k), *size), dtype)
            for name, (size, dtype) in spec.kept.items()
        }
        self.of_sequences = [
            [
                memory.zeros((shape.batch, *size), dtype)
                for size, dtype in spec.kept_of_sequences.values()
            ]
            for _ in range(inputs.copies)
        ]
        if self.kept:
            norms = ("norms",) if spec.policy.is_certified else ()
            written = (*spec.summary_parts, *norms, *spec.sketch_parts)
            caches = (inputs.k, inputs.v) if norms else (inputs.k,)
            summarize = vashista.torch.op(artefact, "summarize")
            lens = torch.full_like(inputs.lens, shape.context)
            kept = [self.kept[name] for name in written]
            for table, own in zip(inputs.table, self.of_sequences):
                summarize(*caches, table, lens, *kept, *own)

    @property
    def sets(self) -> int:
        """Sets of queries that its time depends on."""
        inputs = self.inputs
        return inputs.queries if self.variant in CERTIFIED else inputs.copies

    def __call__(self, number: int) -> torch.Tensor:
        inputs, copy = self.inputs, number % self.inputs.copies
        arguments = (inputs.q[number], inputs.k, inputs.v, inputs.table[copy])
        kept = (*self.kept.values(), *self.of_sequences[copy])
        self.results = self._decode(*arguments, inputs.lens, *kept)
        return self.results[0]


class Truth:
    """Attention in float64 of some rows and heads of the first set of inputs."""

    def __init__(self, inputs: Inputs):
        shape = inputs.shape
        number = min(SAMPLES, shape.batch * shape.heads)
        generator = torch.Generator().manual_seed(1)
        chosen = torch.randperm(shape.batch * shape.heads, generator=generator)
        chosen = chosen[:number].sort().values.tolist()
        self.rows = [i // shape.heads for i in chosen]
        self.heads = [i % shape.heads for i in chosen]
        o, lse, row = [], [], -1
        for i, head in zip(self.rows, self.heads):
            if i != row:
                row, k = i, inputs.sequence(inputs.k, 0, i)
                v, tokens = inputs.sequence(inputs.v, 0, i), int(inputs.lens[i])
            own = head // shape.group
            q = inputs.q[0, i, head].double() * inputs.scale
            logits = k[own, :tokens].double() @ q
            lse.append(logits.logsumexp(0))
            o.append((logits - lse[-1]).exp() @ v[own, :tokens].double())
        self.o, self.lse = torch.stack(o), torch.stack(lse)

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """The same rows and heads of an array `[B, H, ...]`."""
        return x[self.rows, self.heads].double()

    def error(self, o: torch.Tensor) -> float:
        """The largest difference, of the largest number."""
        return float((self.of(o) - self.o).abs().max() / self.o.abs().max())

    def missed(self, lse: torch.Tensor) -> torch.Tensor:
        """The share of the mass that is not in a log-sum-exp of what was attended."""
        return -torch.expm1((self.of(lse) - self.lse).clamp(max=0))


def proved(call: Ours, dense: Ours, truth: Truth) -> dict[str, Any]:
    """What a certified step attended and proved, of all sets of queries.

    dense: of the same inputs. By it certificates of all rows are looked at, and by
      float64 some of the first set.
    """
    shape, sets = call.inputs.shape, range(call.inputs.queries)
    rows = tokens = largest = false = 0
    taus, rounds, flags = [], [], []
    for number in sets:
        call(number)
        o, lse, tau, _, rounds_of, flag, *counts = call.results
        dense(number)
        attended = sum(count.long() for count in counts)
        tokens += int(attended.sum())
        largest = max(largest, int(attended.max()))
        rows += tau.numel()
        taus.append(tau.double())
        rounds.append(rounds_of)
        flags.append(flag)
        # What fell back is dense: its certificate is of the state before.
        whole = flag.repeat_interleave(shape.group, 1)
        missed = lse.double() - dense.results[1].double()
        missed = -torch.expm1(missed.clamp(max=0))
        false += int(((missed > taus[-1] + SLACK) & ~whole).sum())
        if number == 0:
            error, true = truth.error(o), truth.missed(lse)
            whole = truth.of(whole.double()).bool()
            false += int(((true > truth.of(tau) + SLACK) & ~whole).sum())
    tau, again = torch.stack(taus), torch.stack(rounds) > 1
    groups = again.numel()
    return {
        "rows": rows,
        "sets": len(sets),
        "proved": float((tau <= TOLERANCE).double().mean()),
        "tokens": round(tokens / len(sets)),
        "share": tokens / groups / shape.context,
        "largest_share": largest / shape.context,
        "second_rounds": float(again.double().mean()),
        "second_steps": float(again.flatten(1).any(1).double().mean()),
        "fallback": float(torch.stack(flags).double().mean()),
        "tau": float(tau.clamp(max=1).mean()),
        "tau_true": float(true.mean()),
        "tau_true_max": float(true.max()),
        "sampled": len(truth.rows),
        "false": false,
        "error": error,
    }


def describe(call: Ours, dense: Ours, truth: Truth) -> dict[str, Any]:
    """What a step is, beside its time: of the first set of inputs, or of all."""
    if call.variant in CERTIFIED:
        return proved(call, dense, truth)
    call(0)
    results = call.results
    out: dict[str, Any] = {"error": truth.error(results[0])}
    if call.variant != "dense":
        out["tau_true"] = float(truth.missed(results[1]).mean())
    return out
