# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An attention backend for vLLM, by its own plugin interface.

    VASHISTA_POLICY='{"candidates": 4096, "pick": "proving", "tolerance": 0.5,
                      "rounds": 2, "fallback": "dense", "sketch": {}}' \\
        vllm serve MODEL --attention-backend CUSTOM

The package's entry point `vllm.general_plugins` registers it. Prompts are attended to
by SDPA, tokens that are decoded by the compiled step, which a CUDA graph can hold.

What is kept beside the cache is not in vLLM's accounting: leave room for it by
`--gpu-memory-utilization`. Its bytes per block and layer are
`AttentionSpec.page_bytes`, but for keys and values.

Tested against the interface as recorded from vLLM's sources (commit 0014ca6b9929 of
vllm/v1/attention/backend.py), not in a running engine. vLLM promises no stability of
it. Sources: that file and vllm/v1/attention/backends/registry.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionImpl,
    AttentionMetadataBuilder,
    AttentionType,
    CommonAttentionMetadata,
)

from . import _check
from .engine import DTYPES, EngineLayer, options_from_environment, split
from .spec import AttentionSpec


def register() -> None:
    """The entry point: makes the backend known as CUSTOM."""
    from vllm.v1.attention.backends.registry import (
        AttentionBackendEnum,
        register_backend,
    )

    register_backend(AttentionBackendEnum.CUSTOM, f"{__name__}.VashistaBackend")


class VashistaBackend(AttentionBackend):
    """What vLLM asks of a backend before it makes one."""

    supported_dtypes: ClassVar[list[torch.dtype]] = list(DTYPES)
    supported_kv_cache_dtypes: ClassVar[list[str]] = ["auto", "float16", "bfloat16"]

    @staticmethod
    def get_name() -> str:
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[VashistaImpl]:
        return VashistaImpl

    @staticmethod
    def get_builder_cls() -> type[VashistaBuilder]:
        return VashistaBuilder

    @staticmethod
    def get_kv_cache_shape(
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_size: int,
        cache_dtype_str: str = "auto",
    ) -> tuple[int, ...]:
        # Heads first, as the kernels have it; keys and values apart, as `append` does.
        return 2, num_blocks, num_kv_heads, block_size, head_size


@dataclasses.dataclass
class Metadata:
    """A batch: its decoded tokens, one of each sequence, then its prompts."""

    num_decodes: int
    num_tokens: int
    table: torch.Tensor
    lens: torch.Tensor
    positions: torch.Tensor
    """Of decoded tokens; -1 for rows that only fill up a graph."""
    chunks: list[tuple[int, int]]
    """Of prompts: tokens, and those of the sequence with them."""


class VashistaBuilder(AttentionMetadataBuilder[Metadata]):
    """Makes the metadata of a batch, one for all layers."""

    _cudagraph_support: ClassVar[AttentionCGSupport] = (
        AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE
    )

    def __init__(self, kv_cache_spec, layer_names, vllm_config, device):
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        # Decoded tokens, one of each request, come first.
        self._init_reorder_batch_threshold(1, False)

    def build(
        self,
        common_prefix_len: int,
        common_attn_metadata: CommonAttentionMetadata,
        fast_build: bool = False,
    ) -> Metadata:
        meta = common_attn_metadata
        if not (meta.causal is True):
            raise _check.refuse("vashista: attention", "a causal one", meta.causal)
        starts = meta.query_start_loc_cpu.tolist()
        counts = [end - start for start, end in zip(starts, starts[1:])]
        decodes = next((i for i, n in enumerate(counts) if n != 1), len(counts))
        chunks = []
        if decodes < len(counts):
            # Known to the host for prompts, whose lengths do not depend on samples.
            bound = meta.seq_lens_cpu_upper_bound
            lens = (bound if bound is not None else meta.seq_lens.cpu()).tolist()
            chunks = list(zip(counts[decodes:], lens[decodes:]))
        size = self.kv_cache_spec.block_size
        # As wide as a graph was captured with; where none is, as narrow as may be.
        columns = min(-(-meta.max_seq_len // size), meta.block_table_tensor.shape[1])
        table = meta.block_table_tensor[:, : max(columns, 1)].contiguous()
        slots = meta.slot_mapping[: starts[decodes]]
        positions = torch.where(slots < 0, -1, meta.seq_lens[:decodes] - 1).int()
        return Metadata(
            decodes, starts[-1], table, meta.seq_lens, positions, chunks
        )  # fmt: skip


class VashistaImpl(AttentionImpl):
    """A layer's attention. Options: `vashista.engine.options_from_environment`."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int | None = None,
        alibi_slopes: list[float] | None = None,
        sliding_window: int | None = None,
        kv_cache_dtype: str = "auto",
        logits_soft_cap: float | None = None,
        attn_type: str = AttentionType.DECODER,
        kv_sharing_target_layer_name: str | None = None,
    ) -> None:
        self.num_heads, self.head_size, self.scale = num_heads, head_size, float(scale)
        self.num_kv_heads = num_kv_heads or num_heads
        self.kv_cache_dtype = kv_cache_dtype
        for name, x, expected in (
            ("alibi_slopes", alibi_slopes, None),
            ("sliding_window", sliding_window, None),
            ("logits_soft_cap", logits_soft_cap or None, None),
            ("attn_type", attn_type, AttentionType.DECODER),
            ("kv_sharing_target_layer_name", kv_sharing_target_layer_name, None),
        ):
            if x != expected:
                raise _check.refuse(f"vashista: {name}", expected, x)
        self._layer: EngineLayer | None = None

    def _get_layer(self, kv_cache: torch.Tensor) -> EngineLayer:
        pages = split(kv_cache, "hnd")
        if self._layer is None or self._layer.pages.k.data_ptr() != pages.k.data_ptr():
            spec = AttentionSpec(
                self.num_heads,
                self.num_kv_heads,
                self.head_size,
                scale=self.scale,
                dtype=DTYPES[kv_cache.dtype],
                page_size=kv_cache.shape[3],
                layout=pages.layout,
                **options_from_environment(),
            )
            self._layer = EngineLayer(spec, pages)
        return self._layer

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Metadata | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Writes the batch's keys and values, and its outputs.

        query: `[T, H, D]`; key, value: `[T, Hkv, D]`; output: `[T, H D]`.
        """
        if output_scale is not None or output_block_scale is not None:
            raise _check.refuse("vashista: output_scale", None, "a quantised output")
        if attn_metadata is None:  # Memory is being measured; there is no cache yet.
            return output.zero_()
        own, meta = self._get_layer(kv_cache), attn_metadata
        out = output.view(-1, self.num_heads, self.head_size)
        n, end = meta.num_decodes, meta.num_tokens
        q, k, v = (x.view(x.shape[0], -1, self.head_size) for x in (query, key, value))
        if n:
            table = meta.table[:n]
            own.append(k[:n].contiguous(), v[:n].contiguous(), meta.positions, table)
            out[:n] = own.decode(q[:n].contiguous(), table, meta.lens[:n]).o
        if meta.chunks:
            rest = slice(n, end)
            out[rest] = own.prefill(
                q[rest], k[rest], v[rest], meta.table[n:], meta.chunks
            )
        return output
