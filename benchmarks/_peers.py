# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dense decode attention of other libraries over the same keys and values."""

from __future__ import annotations

from typing import Any, Callable

import torch

from _inputs import Inputs
from _timing import Timed

#: The most that an output may differ from ours, of its largest number: probabilities in
#: bf16 leave less than half of it, another scale, mask or page table much more.
TOLERANCE = 0.02

_WORKSPACE = 512 << 20


def flashinfer() -> tuple[Any, str]:
    """The library, or None, and its version, or why not."""
    try:
        import flashinfer as found
    except Exception as error:  # Of any kind: it looks for compilers and drivers.
        reason = " ".join(str(error).split()) or "no reason given"
        return None, f"not importable ({type(error).__name__}: {reason[:200]})"
    return found, str(found.__version__)


class SDPA:
    """PyTorch's scaled dot product by cuDNN, keys and values contiguous.

    Query heads of a KV head are either as many queries of one head, which without a
    mask is the same, or grouped by `enable_gqa`: the faster of the two.
    """

    def __init__(self, inputs: Inputs):
        shape, (k, v) = inputs.shape, inputs.whole
        copies, batch, dim = inputs.copies, shape.batch, shape.dim
        size = (copies, batch, shape.kv_heads, shape.group, dim)
        self.scale, self.k, self.v = inputs.scale, k, v
        self.shape = (batch, shape.heads, dim)
        q = inputs.q[:copies]
        ways = {"": (q.reshape(size), {})}
        if shape.group > 1:
            ways = {"heads as queries": ways[""]}
            grouped = q.reshape(copies, batch, shape.heads, 1, dim)
            ways["enable_gqa"] = grouped, {"enable_gqa": True}
        times, why = {}, ""
        for name, (self.q, self.options) in ways.items():
            try:
                timed = Timed(self, copies, 1, inputs.device)
                timed.measure(5)
                times[name] = timed.result()["seconds"]
            except RuntimeError as error:
                why = f"{name or 'cuDNN'}: {str(error).splitlines()[0]}"
        if not times:
            raise RuntimeError(why)
        self.how = min(times, key=times.__getitem__)
        self.q, self.options = ways[self.how]

    def __call__(self, copy: int) -> torch.Tensor:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        backend = SDPBackend.CUDNN_ATTENTION if self.k.is_cuda else SDPBackend.MATH
        with sdpa_kernel([backend]):
            o = torch.nn.functional.scaled_dot_product_attention(
                self.q[copy], self.k[copy], self.v[copy], scale=self.scale,
                **self.options,
            )  # fmt: skip
        return o.reshape(self.shape)


class FA2:
    """FlashInfer's decode wrapper over our pages, planned once, as an engine does for a
    step of all layers."""

    def __init__(self, library: Any, inputs: Inputs, tensor_cores: bool):
        shape, device = inputs.shape, inputs.device
        self.inputs, self.how = inputs, ""
        lens = inputs.lens.cpu()
        pages = (lens + shape.page - 1) // shape.page
        indptr = torch.zeros(shape.batch + 1, dtype=torch.int32)
        indptr[1:] = pages.cumsum(0)
        last = lens - (pages - 1) * shape.page
        # What a step leaves in it is nobody's by the next one.
        workspace = torch.zeros(_WORKSPACE, dtype=torch.uint8, device=device)
        self.wrappers = []
        for table in inputs.table:
            indices = torch.cat([row[:n] for row, n in zip(table, pages.tolist())])
            wrapper = library.BatchDecodeWithPagedKVCacheWrapper(
                workspace, "HND", use_tensor_cores=tensor_cores, backend="fa2"
            )
            wrapper.plan(
                indptr, indices, last, shape.heads, shape.kv_heads, shape.dim, shape.page,
                pos_encoding_mode="NONE", q_data_type=torch.bfloat16,
                kv_data_type=torch.bfloat16, sm_scale=inputs.scale,
            )  # fmt: skip
            self.wrappers.append(wrapper)
        self.out = torch.empty_like(inputs.q[0])

    def __call__(self, copy: int) -> torch.Tensor:
        inputs = self.inputs
        caches = (inputs.k, inputs.v)
        return self.wrappers[copy].run(inputs.q[copy], caches, out=self.out)


class XQA:
    """TensorRT-LLM's decode kernel by FlashInfer, over our pages; it has no plan."""

    def __init__(self, library: Any, inputs: Inputs):
        import flashinfer.decode

        self.inputs, self.how = inputs, ""
        # Its counters must be 0 at first; it leaves them so.
        self.workspace = torch.zeros(
            _WORKSPACE, dtype=torch.uint8, device=inputs.device
        )
        self.call = flashinfer.decode.xqa_batch_decode_with_kv_cache
        self.out = torch.empty_like(inputs.q[0])

    def __call__(self, copy: int) -> torch.Tensor:
        inputs = self.inputs
        return self.call(
            inputs.q[copy], (inputs.k, inputs.v), self.workspace, inputs.table[copy],
            inputs.lens, inputs.shape.context, bmm1_scale=inputs.scale, bmm2_scale=1.0,
            out=self.out, kv_layout="HND",
        )  # fmt: skip


def makers(names: list[str], library: Any) -> dict[str, Callable[[Inputs], Any]]:
    """The peers that are there, by name."""
    every = {
        "sdpa": SDPA,
        "fa2": lambda inputs: FA2(library, inputs, False),
        "fa2-tc": lambda inputs: FA2(library, inputs, True),
        "xqa": lambda inputs: XQA(library, inputs),
    }
    return {
        name: every[name] for name in names if name == "sdpa" or library is not None
    }
