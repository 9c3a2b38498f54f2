# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A dense cache of a fixed length whose keys some queries look for."""

from __future__ import annotations

import math

import torch
import transformers
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward


class _Layer(CacheLayerMixin):
    """Keys and values `[B, Hkv, T, D]`; new tokens are the last ones."""

    is_sliding = False

    def __init__(self, shape, device, dtype, generator):
        super().__init__()
        self.keys, self.values = (
            torch.randn(shape, device=device, dtype=dtype, generator=generator)
            for _ in range(2)
        )
        self.is_initialized = True

    def lazy_initialization(self, key_states, value_states) -> None:
        """All memory is there from the beginning."""

    def update(self, key_states, value_states, *args, **kwargs):
        self.keys[:, :, -key_states.shape[2] :] = key_states
        self.values[:, :, -value_states.shape[2] :] = value_states
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.keys.shape[2], 0

    def get_seq_length(self) -> int:
        return self.keys.shape[2] - 1

    def get_max_length(self) -> int:
        return self.keys.shape[2]

    def offload(self) -> None:
        raise NotImplementedError("this cache is not offloaded")

    prefetch = offload


class DenseCache(Cache):
    """Normal keys and values of `tokens`, of which a step writes the last, in place."""

    def __init__(self, config, tokens: int, batch: int, device, dtype):
        generator = torch.Generator(device).manual_seed(0)
        dim = config.head_dim
        shape = (batch, config.num_key_value_heads, tokens, dim)
        layers = [
            _Layer(shape, device, dtype, generator)
            for _ in range(config.num_hidden_layers)
        ]
        super().__init__(layers=layers)

    def before(self):
        """Keys and values of each layer without the last token."""
        return [(x.keys[:, :, :-1], x.values[:, :, :-1]) for x in self.layers]


DENSE = "vashista-dense"


def _dense(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """SDPA without a mask: the last token sees everything. A mask, which transformers
    makes where a graph is captured, would have SDPA repeat the keys of each group."""
    return sdpa_attention_forward(module, query, key, value, None, scaling=scaling)


def _no_mask(*args, **kwargs):
    return None


transformers.AttentionInterface.register(DENSE, _dense)
transformers.AttentionMaskInterface.register(DENSE, _no_mask)


class Planter:
    """Plants keys into a `DenseCache` while a model attends by the name `NAME`.

    Of KV head g of Hkv, a share of the tokens that grows with g, in the mean `need`,
    follows one of its query heads each, at random places. Their logits are normal
    around `_RAISED` nats above what the others sum to, shared by the tokens planted for
    the head: nearly all mass is theirs, and not the same for each.
    """

    NAME = "vashista-planted"
    _RAISED = 4.0

    def __init__(self, cache: DenseCache, need: float):
        self.cache, self.need = cache, need

    def __enter__(self):
        transformers.AttentionInterface.register(self.NAME, self._attend)
        transformers.AttentionMaskInterface.register(self.NAME, _no_mask)
        return self

    def __exit__(self, *_):
        """The name stays known, of this planter."""

    def _attend(self, module, query, key, value, attention_mask, scaling, **kwargs):
        self._plant(query, key, scaling)
        return _dense(module, query, key, value, None, scaling)

    def _plant(self, query, keys, scale: float) -> None:
        """query: `[B, H, 1, D]`; keys: `[B, Hkv, T, D]`, written."""
        batch, kv, tokens, dim = keys.shape
        group = query.shape[1] // kv
        generator = torch.Generator().manual_seed(tokens)
        for b in range(batch):
            for g in range(kv):
                share = self.need * 2 * (g + 0.5) / kv
                count = max(group, int(share * tokens))
                places = torch.randperm(tokens - 1, generator=generator)[:count]
                for h, at in enumerate(places.chunk(group)):
                    q = query[b, g * group + h, 0].float()
                    square = float(q @ q)
                    # Unit noise along q makes logits of a deviation scale |q|.
                    spread = (scale * math.sqrt(square)) ** 2 / 2
                    logit = math.log(tokens / len(at)) + spread + self._RAISED
                    at = at.to(keys.device)
                    rows = keys[b, g, at].float()
                    along = (rows @ q)[:, None] * q / square
                    logits = logit + torch.randn(len(at), 1, generator=generator)
                    logits = logits.to(keys.device)
                    new = rows - along + logits / (scale * square) * q
                    keys[b, g, at] = new.to(keys.dtype)
