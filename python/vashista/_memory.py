# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of a cache: of NumPy, or of PyTorch on any of its devices.

Both index alike; what differs is here: how memory is made, how small integers get to
a device without waiting for it, and what stands for bf16 and f8, which NumPy lacks.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from . import _check
from ._artefact import Artefact
from ._bits import Bits

# f8 is held as its bits by both: few operations of PyTorch know its types.
_NUMPY = {
    "bf16": np.uint16,
    "f16": np.float16,
    "f32": np.float32,
    "i8": np.int8,
    "i32": np.int32,
    "f8E4M3FN": np.uint8,
}
_NAMES = {np.dtype(_NUMPY[name]): name for name in ("f16", "f32")}


class NumpyMemory:
    """Arrays of NumPy."""

    name = "numpy"
    target = "cpu"
    device = "cpu"

    def zeros(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        return np.zeros(shape, _NUMPY[dtype])

    def upload(self, numbers: Any, dtype: str = "i64") -> np.ndarray:
        return np.array(numbers, np.int64 if dtype == "i64" else _NUMPY[dtype])

    def take(self, array: np.ndarray, rows: np.ndarray, columns: int) -> np.ndarray:
        """Some rows of a matrix, up to a column, as a new one."""
        return np.take(array[:, :columns], rows, axis=0)

    def argument(self, array: np.ndarray, dtype: str) -> Any:
        """What an entry takes an array of this memory as."""
        return Bits(array, dtype) if dtype in ("bf16", "f8E4M3FN") else array

    def entry(self, artefact: Artefact, name: str) -> Any:
        """An entry as it is called with arrays of this memory."""
        return artefact[name]

    def given(
        self, where: str, x: Any, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        """An array that a caller gives, as this memory holds it."""
        if isinstance(x, Bits):
            array, found = x.bits, x.dtype
        elif isinstance(x, np.ndarray) and x.dtype.name == "bfloat16":  # ml_dtypes
            array, found = x.view(np.uint16), "bf16"
        else:
            array, found = x, _NAMES.get(getattr(x, "dtype", None))
        if found != dtype or array.shape != shape:
            kind = found or getattr(x, "dtype", type(x).__name__)
            raise _check.refuse(
                where,
                f"an array {dtype} {list(shape)}",
                f"{kind} {list(getattr(x, 'shape', ()))}",
            )
        return array

    def bytes(self, array: np.ndarray) -> int:
        return array.nbytes


class TorchMemory:
    """Tensors of PyTorch on one device. Nothing here waits for it."""

    name = "torch"

    def __init__(self, device: Any):
        import torch

        self.torch = torch
        self.device = torch.device(device)
        if self.device.type not in ("cpu", "cuda"):
            raise _check.refuse("device", "a CPU or a CUDA device", self.device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.types = {
            "bf16": torch.bfloat16,
            "f16": torch.float16,
            "f32": torch.float32,
            "i8": torch.int8,
            "i32": torch.int32,
            "i64": torch.int64,
            "f8E4M3FN": torch.uint8,
        }

    @property
    def target(self) -> str:
        """What to compile for."""
        if self.device.type == "cpu":
            return "cpu"
        from . import _compiler

        major, minor = self.torch.cuda.get_device_capability(self.device)
        # Architectures from 9.0 on have instructions and memory of their own.
        number = f"{major}{minor}{'a' if major >= 9 else ''}"
        return f"cuda:{'sm' if _compiler.has_ptxas() else 'compute'}_{number}"

    def zeros(self, shape: Sequence[int], dtype: str):
        return self.torch.zeros(*shape, dtype=self.types[dtype], device=self.device)

    def upload(self, numbers: Any, dtype: str = "i64"):
        on_gpu = self.device.type == "cuda"
        # Pinned: the copy is enqueued, and PyTorch keeps the memory until it is done.
        tensor = self.torch.as_tensor(numbers, dtype=self.types[dtype])
        if not on_gpu:
            return tensor.clone()
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def take(self, array, rows, columns: int):
        return array[:, :columns].index_select(0, rows)

    def argument(self, array, dtype: str):
        return array

    def entry(self, artefact: Artefact, name: str) -> Any:
        from .torch import op

        return op(artefact, name)

    def given(self, where: str, x: Any, shape: tuple[int, ...], dtype: str):
        fits = (
            isinstance(x, self.torch.Tensor)
            and x.dtype == self.types[dtype]
            and x.device == self.device
            and tuple(x.shape) == shape
        )
        if not fits:
            raise _check.refuse(
                where,
                f"a tensor {dtype} {list(shape)} on {self.device}",
                f"{getattr(x, 'dtype', type(x).__name__)} "
                f"{list(getattr(x, 'shape', ()))} on {getattr(x, 'device', 'the CPU')}",
            )
        return x.detach()

    def bytes(self, array) -> int:
        return array.numel() * array.element_size()


def memory_of(device: Any) -> NumpyMemory | TorchMemory:
    """NumPy's for None, else PyTorch's on a device."""
    return NumpyMemory() if device is None else TorchMemory(device)
