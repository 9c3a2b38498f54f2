# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Watches the compiled steps of a cache, and compares each with dense attention."""

from __future__ import annotations

import collections
import functools

import numpy as np

from ._artefacts import Artefacts, with_lists
from ._decoder import Arrays
from ._truth import SLOP, summarise, truth

#: What an entry computes twice, once with its lists, differs by sums in another order.
_SAME = 1e-3


class Observer:
    """Adds up, for each layer, what the rows of a sequence attended, proved and missed.

    The step that is watched is the one that the model runs. What it attended is had
    from the same entry with its lists among the results, over the same cache.

    Args:
      spec: the cache's.
      plain: what it runs.
      artefacts: where the entry with lists is; it is not needed for a dense policy.
      device: of the cache.
      every: how many steps of a layer go by for one that is watched.
    """

    def __init__(
        self,
        spec,
        plain,
        artefacts: Artefacts,
        device: str,
        layers: int,
        every: int = 1,
    ):
        self.every, self.steps = every, [0] * layers
        self.spec, self.arrays = spec, Arrays(device)
        self.rows = [collections.defaultdict(list) for _ in range(layers)]
        self.call = None
        if not spec.policy.is_dense:
            from ..torch import op

            self.call = op(artefacts.get(spec.text, LISTS), "decode")
            self.names = [value.name for value in plain["decode"].arguments]

    def __call__(self, layer: int, step, q, got) -> None:
        spec, arrays = self.spec, self.arrays
        self.steps[layer] += 1
        if (self.steps[layer] - 1) % self.every:
            return
        if len(step.sequences) != 1:
            raise AssertionError("expected one sequence, whose rows see the same cache")
        lens = step.lens.cpu().numpy()
        tokens = int(lens.max())
        kept = step.arrays(layer)
        pages = step.table[0, : -(-tokens // spec.page_size)].long()
        k, v = (self._tokens(kept[name][pages])[:tokens] for name in "kv")
        # `probabilities` scales by the dimension of a head.
        queries = arrays.double(q) * (spec.scale * spec.head_dim**0.5)
        read, scan = self._read(step, q, got, kept, lens, tokens)
        missed, apart, dense = truth(
            arrays, queries, arrays.double(k), arrays.double(v), lens, read
        )
        group = spec.heads // spec.kv_heads
        flat = np.full((len(lens), spec.kv_heads), False)
        flag = arrays.numpy(got.flag) if got.flag is not None else flat
        whole = flag.repeat(group, 1)
        gap = np.linalg.norm(arrays.numpy(got.o) - dense, axis=-1)
        add = self.rows[layer]
        if spec.policy.is_certified:
            tau, error = arrays.numpy(got.tau), arrays.numpy(got.error)
            # What fell back is dense: its certificate is of the state before.
            false = (missed > tau) | (apart > error * (1 + SLOP))
        else:
            tau, false = np.full_like(missed, np.nan), np.zeros(missed.shape, bool)
        add["tau"].append(tau)
        add["false"].append(false)
        add["tau_true"].append(np.where(whole, 0.0, missed))
        add["error_true"].append(gap / np.linalg.norm(dense, axis=-1))
        add["group"].append(read.sum(-1) / lens[:, None])
        add["scan"].append(np.full(len(lens), scan / tokens))
        add["rounds"].append(
            arrays.numpy(got.rounds) if got.rounds is not None else 1 + flat
        )
        add["flag"].append(flag)

    def _tokens(self, pages):
        """Pages `[M, Hkv, S, D]`, or as the layout has it, as tokens `[M S, Hkv, D]`."""
        if self.spec.layout == "hnd":
            pages = pages.transpose(1, 2)
        return pages.reshape(-1, *pages.shape[2:]).float()

    def _read(self, step, q, got, kept, lens, tokens):
        """Which tokens were attended, `[R, Hkv, T]`; and what was read beside them, in
        tokens' keys and values, of a row."""
        spec, size = self.spec, self.spec.page_size
        read = np.zeros((len(lens), spec.kv_heads, tokens), bool)
        seen = np.arange(tokens) < lens[:, None]
        if self.call is None:
            return read | seen[:, None], 0.0
        given = {
            "q": q.contiguous(), "table": step.table, "lens": step.lens,
            "rows": step.rows, **kept,
        }  # fmt: skip
        results = self.call(*(given[name] for name in self.names))
        base = sum(part is not None for part in got)
        difference = (results[0] - got.o).abs().max().item()
        if not difference <= _SAME * got.o.abs().max().item():
            raise AssertionError(
                f"the entry with lists differs from the step by {difference:.3g}"
            )
        routed = spec.policy.pages > 0
        of_pages = routed and not spec.policy.candidates
        unit = size if of_pages else 1
        for ids, count in zip(results[base::2], results[base + 1 :: 2]):
            ids = ids[..., : max(1, int(count.max()))].cpu().numpy()
            r, g, _ = at = np.nonzero(ids >= 0)
            first = ids[at] * unit
            for i in range(unit):
                there = first + i < lens[r]
                if read[r, g, np.minimum(first + i, tokens - 1)][there].any():
                    raise AssertionError("a list holds a token twice")
                if unit == 1 and not there.all():
                    raise AssertionError("a list holds a token that its row cannot see")
                read[r[there], g[there], first[there] + i] = True
        parts = spec.page_bytes
        beside = parts["summary"] + parts["sketch"] + parts["norms"]
        # Moments are read once for all tokens.
        beside = tokens * beside + size * spec.sequence_bytes
        scan = beside / (parts["keys"] + parts["values"])
        if routed and not of_pages and spec.sketch is None:
            # Tokens of routed pages are scored by their keys, which are read for it.
            share = parts["keys"] / (parts["keys"] + parts["values"])
            scan += min(tokens, spec.policy.pages * size) * share
        return read, scan

    def layers(self) -> tuple[list[dict], list[np.ndarray]]:
        """What the rows of each layer come to, and their errors."""
        out, errors = [], []
        for layer in self.rows:
            rows = {key: np.concatenate(parts) for key, parts in layer.items()}
            scan = float(rows.pop("scan").mean())
            out.append(summarise(rows, scan, self.spec.policy.tolerance))
            errors.append(rows["error_true"])
        return out, errors


LISTS = functools.partial(with_lists, function="decode")
