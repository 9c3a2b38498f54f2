# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An attention backend for SGLang, by its own plugin interface.

    VASHISTA_POLICY='{...}' python -m sglang.launch_server --model-path MODEL \\
        --attention-backend vashista --page-size 16

The package's entry point `sglang.srt.plugins` registers it; `VASHISTA_POLICY` is as for
vLLM (`vashista.engine.options_from_environment`). Prompts are attended to by SDPA,
tokens that are decoded by the compiled step, which a CUDA graph can hold. What is kept
beside the cache is not in SGLang's accounting: leave room for it by
`--mem-fraction-static`.

Tested against the interface as recorded from SGLang's sources (commit 43681aaa7680 of
python/sglang/srt/layers/attention/base_attn_backend.py), not in a running engine; later
versions have other calls for CUDA graphs. Sources: that file, torch_native_backend.py
and attention_registry.py beside it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from sglang.srt.layers.attention.base_attn_backend import AttentionBackend

from . import _check
from .engine import DTYPES, EngineLayer, Pages, options_from_environment
from .spec import AttentionSpec

NAME = "vashista"


def register() -> None:
    """The entry point: makes the backend known by its name."""
    from sglang.srt.layers.attention.attention_registry import (
        register_attention_backend,
    )
    from sglang.srt.server_args import add_attention_backend_choices

    add_attention_backend_choices([NAME])
    register_attention_backend(NAME)(VashistaAttnBackend)


@dataclasses.dataclass
class Metadata:
    """A batch, of decoded tokens or of prompts."""

    table: torch.Tensor
    lens: torch.Tensor
    positions: torch.Tensor
    chunks: list[tuple[int, int]]


class VashistaAttnBackend(AttentionBackend):
    """The attention of all layers of a model runner."""

    def __init__(self, model_runner: Any):
        super().__init__()
        self._runner = model_runner
        self._layers: dict[int, EngineLayer] = {}
        self._metadata: Metadata | None = None
        self._graph: Metadata | None = None

    # Batches.

    def _fill(self, into: Metadata | None, requests, lens, columns: int) -> Metadata:
        """The page table that SGLang's slots of tokens stand for: a page's slots follow
        each other, so that its first one tells which it is."""
        size = self._runner.page_size
        slots = self._runner.req_to_token_pool.req_to_token
        first = slots[:, : columns * size : size].index_select(0, requests.long())
        made = Metadata(
            (first // size).int().contiguous(), lens.int(), (lens - 1).int(), []
        )
        if into is None:
            return made
        rows, width = made.table.shape
        into.table[:rows, :width].copy_(made.table)
        into.lens[:rows].copy_(made.lens)
        into.positions[:rows].copy_(made.positions)
        return Metadata(into.table[:rows], into.lens[:rows], into.positions[:rows], [])

    def init_forward_metadata(self, forward_batch: Any) -> None:
        batch, size = forward_batch, self._runner.page_size
        lens = [int(n) for n in batch.seq_lens_cpu]
        columns = max(1, -(-max(lens, default=0) // size))
        self._metadata = self._fill(
            None, batch.req_pool_indices, batch.seq_lens, columns
        )
        if not batch.forward_mode.is_decode():
            tokens = [int(n) for n in batch.extend_seq_lens_cpu]
            self._metadata.chunks = list(zip(tokens, lens))

    def init_cuda_graph_state(self, max_bs: int, max_num_tokens: int) -> None:
        """Memory of the metadata of captured graphs, which each replay fills."""
        slots = self._runner.req_to_token_pool.req_to_token
        columns, device = slots.shape[1] // self._runner.page_size, slots.device

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.int32, device=device)

        self._graph = Metadata(zeros(max_bs, columns), zeros(max_bs), zeros(max_bs), [])

    def _init_graph(self, forward_mode: Any, spec_info: Any, requests, lens) -> None:
        if not forward_mode.is_decode() or spec_info is not None:
            raise _check.refuse("vashista: graphs", "of decoded tokens", forward_mode)
        columns = self._graph.table.shape[1]
        self._metadata = self._fill(self._graph, requests, lens, columns)

    def init_forward_metadata_capture_cuda_graph(
        self,
        bs: int,
        num_tokens: int,
        req_pool_indices: torch.Tensor,
        seq_lens: torch.Tensor,
        encoder_lens: torch.Tensor | None,
        forward_mode: Any,
        spec_info: Any,
    ) -> None:
        self._init_graph(forward_mode, spec_info, req_pool_indices[:bs], seq_lens[:bs])

    def init_forward_metadata_replay_cuda_graph(
        self,
        bs: int,
        req_pool_indices: torch.Tensor,
        seq_lens: torch.Tensor,
        seq_lens_sum: int,
        encoder_lens: torch.Tensor | None,
        forward_mode: Any,
        spec_info: Any,
        seq_lens_cpu: torch.Tensor | None,
    ) -> None:
        self._init_graph(forward_mode, spec_info, req_pool_indices[:bs], seq_lens[:bs])

    def get_cuda_graph_seq_len_fill_value(self) -> int:
        return 0  # Such a row has no token, and writes none.

    # Layers.

    def _get_layer(self, layer: Any) -> EngineLayer:
        own = self._layers.get(layer.layer_id)
        if own is None:
            own = self._layers[layer.layer_id] = self._make_layer(layer)
        return own

    def _make_layer(self, layer: Any) -> EngineLayer:
        for name, x in (
            ("logit_cap", getattr(layer, "logit_cap", 0) or 0),
            ("is_cross_attention", getattr(layer, "is_cross_attention", False)),
        ):
            if x:
                raise _check.refuse(f"vashista: {name} of a layer", "none", x)
        window = getattr(layer, "sliding_window_size", -1)
        if window is not None and window > -1:
            raise _check.refuse(
                "vashista: sliding_window_size of a layer", "none", window
            )
        size, pool = self._runner.page_size, self._runner.token_to_kv_pool
        k, v = (
            buffer[: len(buffer) // size * size].unflatten(0, (-1, size))
            for buffer in (
                pool.get_key_buffer(layer.layer_id),
                pool.get_value_buffer(layer.layer_id),
            )
        )
        spec = AttentionSpec(
            layer.tp_q_head_num,
            layer.tp_k_head_num,
            layer.qk_head_dim,
            value_dim=layer.v_head_dim,
            scale=float(layer.scaling),
            dtype=DTYPES.get(k.dtype, str(k.dtype)),
            page_size=size,
            layout="nhd",
            **options_from_environment(),
        )
        return EngineLayer(spec, Pages(k, v, "nhd"))

    def _rows(self, q, k, v, layer: Any):
        return (
            q.reshape(-1, layer.tp_q_head_num, layer.qk_head_dim),
            k.reshape(-1, layer.tp_k_head_num, layer.qk_head_dim),
            v.reshape(-1, layer.tp_k_head_num, layer.v_head_dim),
        )

    def forward_decode(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        layer: Any,
        forward_batch: Any,
        save_kv_cache: bool = True,
    ) -> torch.Tensor:
        """`[R, H D]` to `[R, H Dv]`; writes a token of each row, unless told not to."""
        own, meta = self._get_layer(layer), self._metadata
        dtype = q.dtype
        if not save_kv_cache:
            raise _check.refuse("vashista: save_kv_cache", True, save_kv_cache)
        q, k, v = (x.contiguous() for x in self._rows(q, k, v, layer))
        own.append(k, v, meta.positions, meta.table)
        return own.decode(q, meta.table, meta.lens).o.flatten(1).to(dtype)

    def forward_extend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        layer: Any,
        forward_batch: Any,
        save_kv_cache: bool = True,
    ) -> torch.Tensor:
        """`[T, H D]` to `[T, H Dv]`, of chunks of prompts one after the other."""
        own, meta = self._get_layer(layer), self._metadata
        if not save_kv_cache:
            raise _check.refuse("vashista: save_kv_cache", True, save_kv_cache)
        rows = self._rows(q, k, v, layer)
        return own.prefill(*rows, meta.table, meta.chunks).flatten(1)

    def support_triton(self) -> bool:
        return False
