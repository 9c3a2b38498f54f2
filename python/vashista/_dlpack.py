# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors of other libraries, taken as they are (dlpack.h)."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from . import _runtime
from ._error import Error

_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def is_tensor(x: Any) -> bool:
    """Whether another library made it that speaks DLPack."""
    return hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")


class Tensor:
    """A DLTensor that another library owns, with what keeps it."""

    __slots__ = ("keeps", "dl", "shape")

    def __init__(self, x: Any):
        torch = sys.modules.get("torch")
        if torch is not None and type(x) is torch.Tensor and x.layout is torch.strided:
            self._take(torch, x)
            return
        kind, _ = x.__dlpack_device__()
        # -1: the stream of the call is the one that the data is ready in.
        on_device = int(kind) == _runtime.CUDA
        capsule = x.__dlpack__(stream=-1) if on_device else x.__dlpack__()
        # A capsule that nobody takes gives the tensor back when it goes.
        self.keeps = capsule
        self.dl = _runtime.DLTensor.from_address(_get_pointer(capsule, b"dltensor"))
        self.shape = tuple(self.dl.shape[: self.dl.ndim])

    def _take(self, torch: Any, x: Any) -> None:
        """The same of a plain tensor of PyTorch, without a capsule: an entry takes ten
        tensors, and a model calls two entries for each layer and token."""
        if x.requires_grad and torch.is_grad_enabled():
            raise Error(
                "invalid argument",
                "expected a tensor without gradient, got one that requires it; there "
                "is no derivative: detach it, or call within torch.no_grad()",
            )
        self.shape = shape = tuple(x.shape)
        sizes = ctypes.c_int64 * len(shape)
        extents, strides = sizes(*shape), sizes(*x.stride())
        number = x.get_device()
        if x.device.type not in ("cpu", "cuda"):
            raise Error(
                "invalid argument",
                f"expected a tensor on a CPU or a CUDA device, got {x.device}",
            )
        self.keeps = (x, extents, strides)
        self.dl = _runtime.DLTensor(
            x.data_ptr(),
            _runtime.CPU if number < 0 else _runtime.CUDA,
            max(number, 0),
            len(shape),
            _torch_type(torch, x.dtype),
            extents,
            strides,
            0,
        )


@functools.lru_cache(maxsize=None)
def _torch_type(torch: Any, dtype: Any) -> _runtime.DLDataType:
    """DLPack's name of a type of PyTorch, by what PyTorch says of an empty tensor."""
    capsule = torch.empty(0, dtype=dtype).__dlpack__()
    found = _runtime.DLTensor.from_address(_get_pointer(capsule, b"dltensor")).dtype
    return _runtime.DLDataType(found.code, found.bits, found.lanes)


def allocate_like(x: Any, shape: tuple[int, ...], dtype: str, where: str) -> Any:
    """A new tensor of the library and on the device of another one."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        raise Error(
            "invalid argument",
            f"{where}expected `out`, a tensor for each result, where arguments are "
            f"{type(x).__module__.split('.')[0]}'s, got none",
        )
    found = torch_dtype(dtype)
    if found is None:
        raise Error("invalid argument", f"{where}PyTorch has no {dtype}")
    return torch.empty(shape, dtype=found, device=x.device)


def torch_dtype(dtype: str) -> Any:
    """PyTorch's type of that name, as `Value.dtype` says it; None if it has none."""
    names = {
        "bf16": "bfloat16",
        "bool": "bool",
        "f8E4M3FN": "float8_e4m3fn",
        "f8E5M2": "float8_e5m2",
        **{f"f{n}": f"float{n}" for n in (16, 32, 64)},
        **{f"i{n}": f"int{n}" for n in (8, 16, 32, 64)},
        "u8": "uint8",
    }
    return getattr(sys.modules["torch"], names.get(dtype, ""), None)


def current_stream(x: Any) -> int | None:
    """The stream that a library works in; the default one where it says none."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor) and x.is_cuda:
        return torch.cuda.current_stream(x.device).cuda_stream
    return None
