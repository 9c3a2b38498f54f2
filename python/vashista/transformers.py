# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention of `transformers` that decodes from a paged cache.

    import vashista.transformers as vt

    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="vashista")
    cache = vt.PagedCache(model.config, max_length=32768,
                          policy=vashista.Policy.certified(0.5, candidates=4096),
                          sketch=vashista.Sketch())
    model.generate(**inputs, cache=cache)  # past_key_values in earlier versions

Importing this module registers the name. A prompt is attended to by PyTorch's SDPA,
and what the policy reads of its keys is built while it is written to the cache. Later
tokens, one or several at a time, are attended to by the compiled decode step. Without
a cache, the name is SDPA.

Rows of a batch are equally long: padding is refused, since a padded token would be a
key as any other. So are sliding windows, and masks other than the causal one.

Sources: the documentation of `AttentionInterface` and `Cache` in transformers 5.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, Callable, Iterator, Sequence

import torch
import transformers
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from . import _check
from ._artefact import Artefact
from ._error import Error
from ._steps import Attention, Chunk, Step
from .paged import PagedKVCache
from .policy import Policy
from .spec import AttentionSpec

NAME = "vashista"
_DTYPES = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}
# How a cache tells the attention of its layer what the keys that it returned are of,
# and a mask what it is: both come through models' code, which knows neither.
_MARK = "_vashista"


def spec_of(
    config: Any,
    *,
    policy: Policy = Policy(),
    dtype: torch.dtype | None = None,
    scale: float | None = None,
    **options: Any,
) -> AttentionSpec:
    """The attention of a model's layers.

    config: the model's.
    dtype: of its keys and values; default: the model's.
    scale: of logits; default: that of a head's dimension, D^-0.5. A layer that scales
      otherwise is an error when it is run.
    options: further arguments of `AttentionSpec`.

    Raises `vashista.Error` for layers of other kinds than full attention.
    """
    config = config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    others = sorted(set(kinds) - {"full_attention"})
    if getattr(config, "layer_types", None) is None and getattr(
        config, "sliding_window", None
    ):
        others = ["sliding_attention"]
    if others:
        raise _check.refuse(
            "PagedCache", "layers of the type full_attention", ", ".join(others)
        )
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    dtype = dtype or getattr(config, "dtype", None) or torch.float32
    if dtype not in _DTYPES:
        raise _check.refuse("PagedCache: dtype", "bfloat16, float16 or float32", dtype)
    return AttentionSpec(
        heads,
        getattr(config, "num_key_value_heads", None) or heads,
        dim,
        scale=dim**-0.5 if scale is None else scale,
        dtype=_DTYPES[dtype],
        policy=policy,
        shared_rows=True,  # Later prompts and guessed tokens come several at once.
        **options,
    )


class _Layer(CacheLayerMixin):
    """A layer of a `PagedCache`."""

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, cache: PagedCache, number: int):
        super().__init__()
        self.cache, self.number, self.seen = cache, number, 0
        self.is_initialized = True

    def lazy_initialization(self, key_states, value_states) -> None:
        """All memory is there from the beginning."""

    def update(self, key_states, value_states, *args, **kwargs):
        """Writes new tokens `[B, Hkv, T, D]`, and returns them as they are, marked."""
        batch, _, tokens, _ = key_states.shape
        step = self.cache._begin(self, batch, tokens)
        rows = [
            x.transpose(1, 2).reshape(batch * tokens, x.shape[1], x.shape[3])
            for x in (key_states, value_states)
        ]
        if isinstance(step, Chunk):
            step.write(*rows, self.number)
        else:
            step.append(*rows, self.number)
        if not self.cache.is_held:
            self.seen += tokens
        # An alias: what the caller has is not marked.
        keys = key_states.view_as(key_states)
        setattr(keys, _MARK, (step, self.number, self.cache))
        return keys, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def get_seq_length(self) -> int:
        return self.seen

    def get_max_length(self) -> int:
        return self.cache.max_length

    def offload(self) -> None:
        raise NotImplementedError("a paged cache is not offloaded")

    prefetch = offload

    # What follows is of all layers at once, which share pages: of the first, then.

    def reset(self) -> None:
        if self.number == 0:
            self.cache._reset()

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove > 0:
            raise _check.refuse(
                "PagedCache: crop", "minus the tokens to remove", tokens_to_remove
            )
        if self.number == 0:
            # A tensor, in some versions.
            self.cache._crop(-int(tokens_to_remove))

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.number == 0:
            there = range(len(self.cache.sequences))
            self.cache._select([i for i in there for _ in range(repeats)])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.number == 0:
            self.cache._select(torch.as_tensor(indices).tolist())


class PagedCache(Cache):
    """A cache of `transformers` whose pages are those of a `vashista.PagedKVCache`.

    Args:
      config: the model's.
      policy: what a decode step reads and proves; default: everything.
      max_length: tokens of a row, at most.
      batch: rows, at most; for a beam search, times beams.
      device: the model's.
      dtype: of keys and values; default: the model's.
      pages: of the pool; default: what `batch` rows of `max_length` tokens take, which
        rows that share pages (beams) need fewer of.
      target: as for `vashista.compile`; default: the device.
      artefact: what `spec_of` with the same arguments was compiled to before.
      options: further arguments of `spec_of`: summary, sketch, page_size, scale.

    Attributes:
      paged: the `vashista.PagedKVCache`.
      sequences: its sequences, in the order of the batch.
      observe: is called after every compiled step of a layer with the layer's number,
        the `vashista.Step`, its queries `[R, H, D]` and its `vashista.Attention`; not
        where tokens are verified.
    """

    def __init__(
        self,
        config: Any,
        *,
        policy: Policy = Policy(),
        max_length: int,
        batch: int = 1,
        device: Any = "cpu",
        dtype: torch.dtype | None = None,
        pages: int | None = None,
        target: str | None = None,
        artefact: Artefact | None = None,
        **options: Any,
    ):
        _check.integer("PagedCache: max_length", max_length, 1)
        _check.integer("PagedCache: batch", batch, 1)
        spec = spec_of(config, policy=policy, dtype=dtype, **options)
        layers = config.get_text_config(decoder=True).num_hidden_layers
        self.max_length, self.batch = max_length, batch
        self.paged = PagedKVCache(
            spec,
            pages or batch * -(-max_length // spec.page_size),
            # Of a reordered batch the new rows are there before the old ones go.
            2 * batch,
            max_length=max_length,
            layers=layers,
            device=device,
            target=target,
            artefact=artefact,
        )
        self.sequences: list[int] = []
        self.observe: Callable[[int, Step, Any, Attention], None] | None = None
        self._step: Chunk | Step | None = None
        self._is_verifying = False
        self._held: Step | None = None
        self._start = 0
        super().__init__(layers=[_Layer(self, i) for i in range(layers)])

    @property
    def is_held(self) -> bool:
        return self._held is not None

    @contextlib.contextmanager
    def verifying(self, tokens: int = 0) -> Iterator[None]:
        """Drops the last tokens of every row; what follows attends to everything.

        Within, SDPA attends to a copy of each layer's pages, whatever the policy: once
        for all of a call's tokens, and as it does for a prompt. What is written replaces
        what was dropped.

            with cache.verifying(4):
                exact = model(ids[:, -4:], cache=cache).logits
        """
        self._check_free("verifying")
        if self.paged.spec.soft_cap is not None:
            raise _check.refuse(
                "PagedCache: verifying", "no soft_cap", self.paged.spec.soft_cap
            )
        _check.integer("PagedCache: verifying: tokens", tokens, 0, self.layers[0].seen)
        self._crop(tokens)
        self._is_verifying = True
        try:
            yield
        finally:
            self._is_verifying = False

    def hold(self, tokens: int = 1) -> None:
        """Prepares the next step, in tensors that stay where they are.

        Calls of the model write and attend there until `advance` moves it on, so that
        one can be captured in a CUDA graph and replayed. They take `position_ids`, and
        as many `tokens` of each row. `release` ends it.
        """
        if self._held is not None or not self.sequences:
            raise _check.refuse(
                "PagedCache: hold", "a prompt, and no step that is held", "another"
            )
        pages = self.paged.max_pages
        self._held = self.paged.step(self.sequences, tokens, pages=pages)

    def advance(self) -> None:
        """Moves the step that is held to the tokens that follow."""
        held = self._need_held("advance")
        held.next()
        for layer in self.layers:
            layer.seen += held.tokens

    def release(self) -> None:
        """Holds no step any more; its tokens are those that were written last."""
        held = self._need_held("release")
        for layer in self.layers:
            layer.seen += held.tokens
        self._held = None

    def _need_held(self, what: str) -> Step:
        if self._held is None:
            raise _check.refuse(f"PagedCache: {what}", "a step that is held", "none")
        return self._held

    def _begin(self, layer: _Layer, batch: int, tokens: int) -> Chunk | Step:
        """The step of a layer's new tokens: a new one for the first layer of a model
        that has any, which the others join."""
        paged = self.paged
        if self._held is not None:
            self._check_batch(batch)
            if tokens != self._held.tokens:
                raise _check.refuse(
                    "PagedCache: tokens of the step that is held",
                    self._held.tokens,
                    tokens,
                )
            return self._held
        length = paged.length(self.sequences[0]) if self.sequences else 0
        if layer.seen == length:
            if not self.sequences:
                if batch > self.batch:
                    raise _check.refuse(
                        "PagedCache: batch", f"at most {self.batch}", batch
                    )
                self.sequences = [paged.add() for _ in range(batch)]
            self._check_batch(batch)
            # A prompt is attended to as a whole, by SDPA.
            make = paged.chunk if not length else paged.step
            self._step, self._start = make(self.sequences, tokens), length
        else:
            self._check_batch(batch)
            if layer.seen != self._start or self._step.tokens != tokens:
                raise Error(
                    "invalid argument",
                    f"PagedCache: layer {layer.number}: expected {self._step.tokens} "
                    f"tokens after {self._start}, as layers before, got {tokens} after "
                    f"{layer.seen}",
                )
        return self._step

    def _check_batch(self, batch: int) -> None:
        if batch != len(self.sequences):
            raise _check.refuse("PagedCache: batch", len(self.sequences), batch)

    def _check_free(self, what: str) -> None:
        if self._held is not None:
            raise _check.refuse(f"PagedCache: {what}", "no step that is held", "one")

    def _reset(self) -> None:
        for sequence in self.sequences:
            self.paged.free(sequence)
        self.sequences, self._step, self._held = [], None, None
        for layer in self.layers:
            layer.seen = 0

    def _crop(self, tokens: int) -> None:
        self._check_free("crop")
        for sequence in self.sequences:
            self.paged.rollback(sequence, tokens)
        for layer in self.layers:
            layer.seen -= tokens if self.sequences else 0

    def _select(self, indices: Sequence[int]) -> None:
        """Rows of the batch by number, any of them any number of times."""
        if not self.sequences:
            return
        self._check_free("batch_select_indices")
        if len(indices) > self.batch:
            raise _check.refuse(
                "PagedCache: batch", f"at most {self.batch}", len(indices)
            )
        new = [self.paged.fork(self.sequences[i]) for i in indices]
        for sequence in self.sequences:
            self.paged.free(sequence)
        self.sequences = new


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of a layer: `[B, H, T, D]` to `[B, T, H, Dv]`.

    The compiled decode step where `key` is what a `PagedCache` returned for tokens
    after a prompt, else SDPA.
    """
    step, layer, cache = getattr(key, _MARK, (None, 0, None))
    if step is None:
        if query.shape[2] < key.shape[2]:
            raise Error(
                "invalid argument",
                "attention: expected a vashista.transformers.PagedCache to decode "
                "from, got keys of another cache; pass one to the model",
            )
        return sdpa_attention_forward(
            module, query, key, value, attention_mask,
            dropout=dropout, scaling=scaling, **kwargs,
        )  # fmt: skip
    spec = step.cache.spec
    if attention_mask is not None and getattr(attention_mask, _MARK, "") != "causal":
        raise _check.refuse(
            "attention from a PagedCache",
            "the causal mask of rows that are equally long",
            "padding, or another mask; decode such rows in batches of one",
        )
    scale = query.shape[3] ** -0.5 if scaling is None else float(scaling)
    if not math.isclose(scale, spec.scale, rel_tol=1e-6):
        raise _check.refuse(
            f"layer {layer}: scale", spec.scale, f"{scale}; see spec_of"
        )
    cap = kwargs.get("softcap")
    if cap != spec.soft_cap:
        raise _check.refuse(f"layer {layer}: soft_cap", spec.soft_cap, cap)
    if dropout or kwargs.get("position_bias") is not None:
        raise _check.refuse(f"layer {layer}", "no dropout and no position bias", "some")
    if isinstance(step, Chunk):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    if cache._is_verifying:
        return _everything(step, layer, query), None
    batch, heads, tokens, dim = query.shape
    rows = query.transpose(1, 2).reshape(batch * tokens, heads, dim)
    got = step.attend(rows, layer)
    if cache.observe is not None:
        cache.observe(layer, step, rows, got)
    return got.o.view(batch, tokens, heads, -1).to(query.dtype), None


def _everything(step: Step, layer: int, query: torch.Tensor) -> torch.Tensor:
    """SDPA of `[B, H, T, D]`, the last tokens of their rows, to all that these see of a
    layer: `[B, T, H, Dv]`."""
    spec, cache = step.cache.spec, step.cache
    batch, heads, tokens, dim = query.shape
    length = cache.length(step.sequences[0])
    kept, table = cache.arrays(layer), step.table.long()
    k, v = (_rows_of(kept[name], table, spec.layout)[:, :, :length] for name in "kv")
    # Heads of a group are rows that see the same, so that nothing is repeated.
    groups = (batch, spec.kv_heads, heads // spec.kv_heads * tokens)
    seen = torch.ones(tokens, length, dtype=torch.bool, device=query.device)
    seen = seen.tril(length - tokens).repeat(heads // spec.kv_heads, 1)
    o = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(*groups, dim), k, v, attn_mask=seen, scale=spec.scale
    )
    return o.reshape(batch, heads, tokens, -1).transpose(1, 2)


def _rows_of(pages: torch.Tensor, table: torch.Tensor, layout: str) -> torch.Tensor:
    """Pages of a pool, `[N, Hkv, S, D]` or `[N, S, Hkv, D]`, as the rows of a table
    `[B, M]` have them: `[B, Hkv, M S, D]`, copied once."""
    if layout == "nhd":
        return pages[table].flatten(1, 2).transpose(1, 2)
    return pages.transpose(0, 1)[:, table].flatten(2, 3).transpose(0, 1)


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *args: Any,
    mask_function: Any = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor | None:
    """SDPA's mask, marked if it is the causal one of rows without padding.

    None for a single token after others, which sees them all. Its padding is looked at
    on a CPU only: on a GPU that would wait for it at every token, and the prompt's was.
    """
    single = q_length == 1 and kv_length > 1
    if single and (attention_mask is None or attention_mask.is_cuda):
        return None
    made = sdpa_mask(
        batch_size,
        q_length,
        kv_length,
        *args,
        mask_function=mask_function,
        attention_mask=attention_mask,
        **kwargs,
    )
    if made is not None and mask_function is causal_mask_function:
        if attention_mask is None or bool(attention_mask.all()):
            setattr(made, _MARK, "causal")
    return made


transformers.AttentionInterface.register(NAME, attention)
transformers.AttentionMaskInterface.register(NAME, mask)
