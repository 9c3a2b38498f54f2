# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decodes the last tokens of windows through compiled attention, and measures."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from .. import bfloat16
from ._decoder import Decoder, attend
from ._progress import progress
from ._step import Setting, Step
from ._truth import SLOP, interval, of_layers, summarise, truth

_CHUNK = 64  # rows of a call
_ALONE = 8  # every how many calls a row's own need is measured


@dataclasses.dataclass
class Prefix:
    """A window: what is cached of its prefix, and its dense decoding.

    Attributes:
      k, v: bf16 bits of each layer, `[tokens before the decoded, Hkv, D]`.
      ids, targets: the decoded tokens and the tokens that follow them.
      logp: log-probabilities of the next token, dense, `[decoded, vocabulary]`.
    """

    k: list[np.ndarray]
    v: list[np.ndarray]
    ids: np.ndarray
    targets: np.ndarray
    logp: object = None


class Evaluation:
    """Windows of the decoder's held-out tokens, decoded densely.

    Args:
      context: tokens of a window. The token after it is predicted too.
      decoded: tokens at its end that are decoded, teacher-forced.
    """

    def __init__(self, decoder: Decoder, windows: int, context: int, decoded: int):
        needed = windows * context + 1
        if needed > len(decoder.tokens):
            raise ValueError(
                f"expected {needed} tokens for {windows} windows of {context}, got "
                f"{len(decoder.tokens)}"
            )
        if not 0 < decoded < context:
            raise ValueError(
                f"expected 1 to {context - 1} decoded tokens, got {decoded}"
            )
        self.decoder, self.context, self.decoded = decoder, context, decoded
        self.lens = np.arange(context - decoded, context, dtype=np.int32) + 1
        starts = [i * context for i in range(windows)]
        self.windows = [self._prefill(s) for s in progress(starts, "prefilled windows")]

    def _prefill(self, start: int) -> Prefix:
        decoder, arrays = self.decoder, self.decoder.arrays
        ids = decoder.tokens[start : start + self.context + 1]
        before = self.context - self.decoded
        window = Prefix([], [], ids[before:-1], ids[before + 1 :])
        positions = np.arange(before)
        x = decoder.embed(ids[:before])
        for layer in range(decoder.layers):
            q, k, v = decoder.project(layer, x, positions)
            window.k.append(arrays.narrow(k))
            window.v.append(arrays.narrow(v))
            k, v = arrays.widen(window.k[-1]), arrays.widen(window.v[-1])
            x = decoder.finish(layer, x, attend(arrays, q, k, v, positions + 1))

        def dense(layer, q, k, v):
            o = attend(
                arrays,
                arrays.double(q),
                arrays.double(arrays.widen(k)),
                arrays.double(arrays.widen(v)),
                self.lens,
            )
            return arrays.single(o)

        window.logp = self._decode(window, dense)
        return window

    def _decode(self, window: Prefix, attention):
        """Log-probabilities of decoding by `attention(layer, q, k, v)`.

        Its keys and values are the bf16 bits of the whole window; it returns the
        output of all decoded rows.
        """
        decoder, arrays = self.decoder, self.decoder.arrays
        x = decoder.embed(window.ids)
        for layer in range(decoder.layers):
            q, k, v = decoder.project(layer, x, self.lens - 1)
            k = np.concatenate([window.k[layer], arrays.narrow(k)])
            v = np.concatenate([window.v[layer], arrays.narrow(v)])
            x = decoder.finish(layer, x, attention(layer, q, k, v))
        return decoder.log_probabilities(x)

    @property
    def dense_loss(self) -> float:
        """Nats per token of dense decoding."""
        return float(np.mean([self._loss(w, w.logp).mean() for w in self.windows]))

    def _loss(self, window: Prefix, logp) -> np.ndarray:
        rows = np.arange(len(window.targets))
        return -self.decoder.arrays.numpy(logp)[rows, window.targets]

    def measure(self, setting: Setting, steps: list[Step]) -> dict:
        """Decodes every window through the steps, one per layer.

        Returns the numbers of a report: of the whole, and of each layer.
        """
        arrays = self.decoder.arrays
        rows = [collections.defaultdict(list) for _ in range(self.decoder.layers)]
        losses, divergences = [], []
        for window in progress(self.windows, setting.name):

            def sparse(layer, q, k, v):
                return self._attend(steps[layer], q, k, v, rows[layer])

            logp = self._decode(window, sparse)
            losses.append(self._loss(window, logp) - self._loss(window, window.logp))
            kl = (arrays.lib.exp(window.logp) * (window.logp - logp)).sum(-1)
            divergences.append(arrays.numpy(kl))
        rows = [{k: np.concatenate(v) for k, v in layer.items()} for layer in rows]
        layers = [
            summarise(r, step.scan_share, setting.tolerance)
            for step, r in zip(steps, rows)
        ]
        whole = of_layers(layers, [r["error_true"] for r in rows])
        mean = np.array([d.mean() for d in losses])
        whole.update(interval(mean))
        whole["kl"] = float(np.mean(divergences))
        return {
            "setting": dataclasses.asdict(setting),
            "tokens": int(sum(map(len, losses))),
            "rows": int(sum(r["tau"].size for r in rows)),
            "whole": whole,
            "layers": layers,
            "window_loss": mean.tolist(),
        }

    def _attend(self, step: Step, q, k, v, rows):
        """Compiled attention of all decoded rows of a layer; adds what it did to rows."""
        arrays, setting, heads = self.decoder.arrays, step.setting, step.heads
        size = setting.page_size
        pages = -(-self.context // size)

        def paged(bits):
            padded = np.zeros((pages * size, *bits.shape[1:]), np.uint16)
            padded[: len(bits)] = bits
            shape = (pages, size, *bits.shape[1:])
            return bfloat16(padded.reshape(shape).swapaxes(1, 2).copy())

        cache = paged(k), paged(v)
        table = np.arange(pages, dtype=np.int32)[None]
        kept = step.keep(*cache, table, self.context)
        queries = np.ascontiguousarray(arrays.numpy(q), np.float32)
        k, v = arrays.double(arrays.widen(k)), arrays.double(arrays.widen(v))
        outputs = []
        for i, first in enumerate(range(0, len(queries), _CHUNK)):
            part = slice(first, first + _CHUNK)
            lens = self.lens[part]
            (o, lse, tau, error, rounds, flag), lists = step.run(
                queries[part], *cache, table, lens, kept
            )
            outputs.append(o)
            read = np.zeros((len(o), heads.kv, self.context), bool)
            for ids in lists:
                r, g, _ = at = np.nonzero(ids >= 0)
                # A token must be attended once, and be one that the row sees.
                tokens = ids[at]
                if read[r, g, tokens].any() or (tokens >= lens[r]).any():
                    raise AssertionError("a list holds a token twice or a hidden one")
                read[r, g, tokens] = True
            missed, apart, dense = truth(arrays, q[part], k, v, lens, read)
            whole = flag.repeat(heads.query // heads.kv, 1)
            gap = np.linalg.norm(o - dense, axis=-1)
            rows["tau"].append(tau)
            # What fell back is dense: its certificate is of the state before.
            rows["false"].append((missed > tau) | (apart > error * (1 + SLOP)))
            rows["tau_true"].append(np.where(whole, 0.0, missed))
            rows["error_true"].append(gap / np.linalg.norm(dense, axis=-1))
            rows["group"].append(read.sum(-1) / lens[:, None])
            rows["rounds"].append(rounds)
            rows["flag"].append(flag)
            if i % _ALONE == 0:
                need = step.alone(queries[part], table, lens, kept)
                rows["alone"].append(need / lens[:, None])
        return arrays.of(np.concatenate(outputs))
