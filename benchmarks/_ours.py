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

    def __call__(self, copy: int) -> torch.Tensor:
        inputs = self.inputs
        arguments = (inputs.q[copy], inputs.k, inputs.v, inputs.table[copy])
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


def proved(results, dense_lse: torch.Tensor, truth: Truth, shape: Shape):
    """What a certified step of the first set of inputs attended and proved.

    dense_lse: of the dense step, by which certificates of all rows are looked at, while
      float64 has some.
    """
    o, lse, tau, _, rounds, flag, *counts = results
    tokens = sum(count.long() for count in counts)
    # What fell back is dense: its certificate is of the state before.
    whole = flag.repeat_interleave(shape.group, 1)
    true = truth.missed(lse)
    missed = -torch.expm1((lse.double() - dense_lse.double()).clamp(max=0))
    false = (missed > tau.double() + SLACK) & ~whole
    false_sampled = (true > truth.of(tau) + SLACK) & ~truth.of(whole.double()).bool()
    return {
        "rows": tau.numel(),
        "proved": float((tau <= TOLERANCE).double().mean()),
        "tokens": int(tokens.sum()),
        "share": float(tokens.double().mean() / shape.context),
        "largest_share": float(tokens.max() / shape.context),
        "second_rounds": float((rounds > 1).double().mean()),
        "fallback": float(flag.double().mean()),
        "tau": float(tau.clamp(max=1).double().mean()),
        "tau_true": float(true.mean()),
        "tau_true_max": float(true.max()),
        "sampled": len(truth.rows),
        "false": int(false.sum()) + int(false_sampled.sum()),
        "error": truth.error(o),
    }


def describe(call: Ours, dense_lse: torch.Tensor, truth: Truth) -> dict[str, Any]:
    """What a step of the first set of inputs is, beside its time."""
    call(0)
    results = call.results
    if call.variant in CERTIFIED:
        return proved(results, dense_lse, truth, call.inputs.shape)
    out: dict[str, Any] = {"error": truth.error(results[0])}
    if call.variant != "dense":
        out["tau_true"] = float(truth.missed(results[1]).mean())
    return out
