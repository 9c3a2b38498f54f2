# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names and parameters as recorded: see README.md."""

from abc import ABC, abstractmethod


class AttentionBackend(ABC):
    @abstractmethod
    def init_forward_metadata(self, forward_batch): ...

    def init_cuda_graph_state(self, max_bs, max_num_tokens): ...

    def init_forward_metadata_capture_cuda_graph(
        self,
        bs,
        num_tokens,
        req_pool_indices,
        seq_lens,
        encoder_lens,
        forward_mode,
        spec_info,
    ): ...

    def init_forward_metadata_replay_cuda_graph(
        self,
        bs,
        req_pool_indices,
        seq_lens,
        seq_lens_sum,
        encoder_lens,
        forward_mode,
        spec_info,
        seq_lens_cpu,
    ): ...

    def get_cuda_graph_seq_len_fill_value(self): ...

    def forward_decode(self, q, k, v, layer, forward_batch, save_kv_cache=True): ...

    def forward_extend(self, q, k, v, layer, forward_batch, save_kv_cache=True): ...

    def support_triton(self): ...
