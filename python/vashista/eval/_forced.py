# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Teacher-forced decoding of held-out text by a model, densely and from paged caches."""

from __future__ import annotations

import copy
import dataclasses
import time
from typing import Any

import numpy as np

from ._model import cache_name, call, imported, prefill


@dataclasses.dataclass
class Window:
    """A window of text whose prefix is cached.

    Attributes:
      ids: `[1, context + 1]`, on the device.
      before: tokens of the prefix.
      cached: keys and values of each layer's prefix, `[1, Hkv, before, D]`.
    """

    ids: Any
    before: int
    cached: list[tuple[Any, Any]]

    @property
    def targets(self) -> np.ndarray:
        """The tokens that follow the decoded ones."""
        return self.ids[0, self.before + 1 :].cpu().numpy()

    def fill(self, cache) -> None:
        """Writes the prefix to a cache."""
        for layer, (k, v) in enumerate(self.cached):
            cache.update(k, v, layer)


def begin(model, ids: np.ndarray, decoded: int, device: str, prompt: int) -> Window:
    """Caches the prefix of a window of ids by SDPA, `prompt` tokens at a time."""
    torch, transformers = imported()
    tensor = torch.from_numpy(ids)[None].to(device)
    before = len(ids) - 1 - decoded
    cache = transformers.DynamicCache()
    model.set_attn_implementation("sdpa")
    prefill(model, tensor[:, :before], cache, prompt)
    return Window(tensor, before, [(x.keys, x.values) for x in cache.layers])


def dense_cache(window: Window):
    """A dense cache of the window's prefix."""
    _, transformers = imported()
    cache = transformers.DynamicCache()
    window.fill(cache)
    return cache


def logits_of(model, window: Window, cache, attention: str, chunk: int):
    """Logits after each decoded token, `[decoded, V]` f32, `chunk` tokens at a time."""
    torch, _ = imported()
    model.set_attn_implementation(attention)
    parts = []
    for start in range(window.before, window.ids.shape[1] - 1, chunk):
        end = min(start + chunk, window.ids.shape[1] - 1)
        got = call(model, window.ids[:, start:end], cache)
        parts.append(got.logits[0].float())
    return torch.cat(parts)


def verified(model, window: Window, cache, tokens: int):
    """Logits `[decoded, V]` f32 of drafts of so many tokens, and of dense attention that
    verifies them."""
    torch, _ = imported()
    model.set_attn_implementation("vashista")
    drafts, exact = [], []
    for start in range(window.before, window.ids.shape[1] - 1, tokens):
        ids = window.ids[:, start : min(start + tokens, window.ids.shape[1] - 1)]
        drafts.append(call(model, ids, cache).logits[0].float())
        with cache.verifying(ids.shape[1]):
            exact.append(call(model, ids, cache).logits[0].float())
    return torch.cat(drafts), torch.cat(exact)


def rounds_of(agree: np.ndarray, tokens: int) -> tuple[int, int]:
    """Rounds that generation by drafts takes for tokens of a text, and how many it
    drafts; agree: whether the draft of each is what dense attention says."""
    at = rounds = drafted = 0
    while at < len(agree):
        some = agree[at : at + tokens]
        rounds, drafted = rounds + 1, drafted + len(some)
        at += 1 + (len(some) if some.all() else int(np.argmin(some)))
    return rounds, drafted


def seconds_of_drafts(model, window: Window, cache, tokens: int, count: int) -> float:
    """Seconds per token of generation by drafts, after the window's prefix."""
    from ..drafts import Drafts

    model.set_attn_implementation("vashista")
    ids = window.ids[:, : window.before + 1]
    name = cache_name(model)
    for new in (tokens + 2, count):  # The first ones allocate.
        cache.crop(window.before - cache.get_seq_length())
        synchronize(ids)
        start = time.perf_counter()
        got = model.generate(
            ids, **{name: cache}, custom_generate=Drafts(tokens), do_sample=False,
            max_new_tokens=new, min_new_tokens=new,
        )  # fmt: skip
        synchronize(ids)
    return (time.perf_counter() - start) / (got.shape[1] - ids.shape[1])


def seconds_per_token(model, cache, token, attention: str, steps: int) -> float:
    """The median time of a step of one token, eager; of a batch of one."""
    torch, _ = imported()
    model.set_attn_implementation(attention)
    times = []
    for _ in range(steps + 2):  # The first ones allocate.
        synchronize(token)
        start = time.perf_counter()
        call(model, token, cache)
        synchronize(token)
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:]))


def synchronize(tensor) -> None:
    if tensor.is_cuda:
        import torch

        torch.cuda.synchronize(tensor.device)


def wider(model):
    """The same weights in a type of about twice the bits, to see what rounding does."""
    torch, _ = imported()
    single = model.dtype == torch.float32
    return copy.deepcopy(model).to(torch.float64 if single else torch.float32)


def margins(logits, pair):
    """How far the first of two tokens is above the second, `[T]`; pair: `[T, 2]`."""
    best = logits.gather(1, pair)
    return best[:, 0] - best[:, 1]


def loss(logits, targets: np.ndarray) -> np.ndarray:
    """Nats of each target, `[T]`."""
    torch, _ = imported()
    logp = logits.double().log_softmax(-1)
    at = torch.from_numpy(targets)[:, None].to(logits.device)
    return -logp.gather(1, at)[:, 0].cpu().numpy()


def divergence(dense, sparse) -> np.ndarray:
    """KL from the dense to the sparse distribution of the next token, `[T]`."""
    p, q = (x.double().log_softmax(-1) for x in (dense, sparse))
    return (p.exp() * (p - q)).sum(-1).cpu().numpy()
