# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generation whose tokens a sparse policy drafts and dense attention verifies.

    from vashista.drafts import Drafts

    cache = vt.PagedCache(model.config, max_length=32768, device="cuda",
                          policy=vashista.Policy.certified(0.5, candidates=4096),
                          sketch=vashista.Sketch())
    drafts = Drafts(tokens=16)
    model.generate(**inputs, cache=cache, custom_generate=drafts)
    drafts.accepted / drafts.drafted

A certificate bounds what attention misses, and not what the model makes of it. Here the
model itself has the last word: what is generated is what greedy decoding with dense
attention generates, up to rounding, and all that the cache holds is of dense attention.
Every page is read once for several tokens in place of once for each.

Sources: speculative decoding, Leviathan et al. 2023 (arXiv 2211.17192); drafts by sparse
attention of the same model, Sun et al. 2024, *TriForce* (arXiv 2404.11912).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.generation import GenerateDecoderOnlyOutput

from . import _check
from .transformers import PagedCache


class Drafts:
    """Greedy decoding by drafts, for `generate(custom_generate=...)`.

    A round drafts `tokens` after each other, by what the cache's policy chooses, and
    reads them again all at once with attention to everything
    (`PagedCache.verifying`). Drafts are kept as far as those agree with them, and the
    token after that is known, too: 1 to `tokens` + 1 new ones a round, as many for all
    rows of a batch. Whether they agree is asked of the device once a round, and whether
    a row has ended for each new token.

    Args:
      tokens: drafted in a round, at most; 1 or more.

    Attributes:
      rounds: so far.
      drafted, accepted: tokens of a row.

    Raises `vashista.Error` for sampling and beams, for another cache than a
    `vashista.transformers.PagedCache`, for padding, and for scores, logits, attentions
    or hidden states that are asked for.
    """

    def __init__(self, tokens: int = 16):
        self.tokens = _check.integer("Drafts: tokens", tokens, 1)
        self.rounds = self.drafted = self.accepted = 0

    def __call__(
        self, model: Any, input_ids: torch.Tensor, logits_processor: Any,
        stopping_criteria: Any, generation_config: Any, **model_kwargs: Any,
    ):  # fmt: skip
        name, cache = _cache_of(model_kwargs)
        _check_asked(generation_config, model_kwargs)
        if cache.get_seq_length() >= input_ids.shape[1]:
            raise _check.refuse(
                "Drafts: tokens in the cache",
                f"fewer than the {input_ids.shape[1]} that are given",
                cache.get_seq_length(),
            )

        def call(ids):
            return model(ids, **{name: cache}, use_cache=True)

        def best(ids, logits):
            scores = logits_processor(ids, logits.float())
            return scores.argmax(-1, keepdim=True)

        rows = _Rows(input_ids, stopping_criteria, generation_config)
        with cache.verifying():
            out = model(
                input_ids[:, cache.get_seq_length() :], **{name: cache},
                use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        goes_on = rows.add(best(rows.ids, out.logits[:, -1]))
        while goes_on:
            have = rows.ids.shape[1]
            room = min(cache.max_length, generation_config.max_length - 1) - have
            count = max(0, min(self.tokens, room))
            guess = rows.ids
            for _ in range(count):
                new = best(guess, call(guess[:, -1:]).logits[:, -1])
                guess = torch.cat([guess, new], 1)
            with cache.verifying(count):
                exact = call(guess[:, have - 1 :]).logits
            wanted = torch.cat(
                [best(guess[:, : have + i], exact[:, i]) for i in range(count + 1)], 1
            )
            # What a row that has ended would say holds nobody up.
            agree = (wanted[:, :count] == guess[:, have:]) | rows.ended[:, None]
            kept = int(agree.all(0).long().cumprod(0).sum())
            self.rounds, self.drafted = self.rounds + 1, self.drafted + count
            self.accepted += kept
            for new in wanted[:, : kept + 1].split(1, dim=1):
                if not (goes_on := rows.add(new)):
                    break
            # As after any generation: all but the last token.
            cache.crop(rows.ids.shape[1] - 1 - cache.get_seq_length())
        if generation_config.return_dict_in_generate:
            return GenerateDecoderOnlyOutput(sequences=rows.ids, past_key_values=cache)
        return rows.ids


class _Rows:
    """The tokens of a batch, of which rows end one after the other.

    Attributes:
      ids: `[B, T]`.
      ended: `[B]` bool.
    """

    def __init__(self, ids: torch.Tensor, stopping_criteria, generation_config):
        self.ids, self._stop = ids, stopping_criteria
        self._pad = getattr(generation_config, "_pad_token_tensor", None)
        self.ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def add(self, new: torch.Tensor) -> bool:
        """Adds `[B, 1]`, padding to what has ended; whether any goes on."""
        if self._pad is not None:
            new = torch.where(self.ended[:, None], self._pad.to(new), new)
        self.ids = torch.cat([self.ids, new], 1)
        self.ended = self.ended | self._stop(self.ids, None)
        return not bool(self.ended.all())


def _cache_of(model_kwargs: dict[str, Any]) -> tuple[str, PagedCache]:
    for name, x in model_kwargs.items():
        if isinstance(x, PagedCache):
            return name, x
    raise _check.refuse("Drafts", "a vashista.transformers.PagedCache", "another cache")


def _check_asked(config: Any, model_kwargs: dict[str, Any]) -> None:
    if config.do_sample or (config.num_beams or 1) > 1:
        got = "sampling" if config.do_sample else f"{config.num_beams} beams"
        raise _check.refuse("Drafts", "greedy decoding", got)
    names = ("scores", "logits", "attentions", "hidden_states")
    for name in names:
        if getattr(config, f"output_{name}", False):
            raise _check.refuse("Drafts", f"no {name} to return", "some")
    mask = model_kwargs.get("attention_mask")
    if mask is not None and not bool(mask.all()):
        raise _check.refuse("Drafts", "rows without padding", "padding")
