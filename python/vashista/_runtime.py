# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The runtime's C interface (vashista_runtime.h, dlpack.h), in ctypes."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint8, c_uint32

from ._error import Error
from ._find import find_runtime

MAX_RANK = 8
DIM_STATIC, DIM_DYNAMIC, DIM_TIED = 1, 2, 3
CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA


class DLDataType(ctypes.Structure):
    _fields_ = [
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", ctypes.c_uint16),
    ]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("dtype", DLDataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class DLDevice(ctypes.Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("digest", c_char_p),
        ("device", DLDevice),
        ("describe_only", c_uint32),
    ]


class CallOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("checked", c_uint32),
        ("threads", c_uint32),
        ("stream", ctypes.c_void_p),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", c_size_t),
    ]


class ModuleInfo(ctypes.Structure):
    _fields_ = [
        ("producer", c_char_p),
        ("compiler", c_char_p),
        ("features", c_char_p),
        ("digest", POINTER(c_uint8)),
        ("format_version", c_uint32),
        ("num_entries", c_uint32),
        ("num_payloads", c_uint32),
        ("device", DLDevice),
        ("architecture", c_char_p),
    ]


class EntryInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("num_arguments", c_uint32),
        ("num_results", c_uint32),
        ("num_constants", c_uint32),
        ("num_checks", c_uint32),
    ]


class DimInfo(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int),
        ("argument", c_uint32),
        ("dim", c_uint32),
        ("size", c_int64),
    ]


class ValueInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("dtype", DLDataType),
        ("rank", c_int32),
        ("written", c_uint8),
        ("strided", c_uint8),
        ("faults", c_uint8),
        ("check", c_int32),
        ("dims", DimInfo * MAX_RANK),
    ]


class ConstantInfo(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("value", c_char_p)]


_MODULE = ctypes.c_void_p
_TENSORS = POINTER(POINTER(DLTensor))
# An entry by its number, its arguments and its results.
_ENTRY_TENSORS = [_MODULE, c_uint32, _TENSORS, c_uint32, _TENSORS, c_uint32]
# The arguments of functions that return a status.
_FUNCTIONS = {
    "module_load": [c_char_p, POINTER(LoadOptions), POINTER(_MODULE)],
    "module_load_bytes": [
        c_char_p,
        c_size_t,
        POINTER(LoadOptions),
        POINTER(_MODULE),
    ],
    "module_describe": [_MODULE, POINTER(ModuleInfo)],
    "entry_describe": [_MODULE, c_uint32, POINTER(EntryInfo)],
    "argument_describe": [_MODULE, c_uint32, c_uint32, POINTER(ValueInfo)],
    "result_describe": [_MODULE, c_uint32, c_uint32, POINTER(ValueInfo)],
    "constant_describe": [_MODULE, c_uint32, c_uint32, POINTER(ConstantInfo)],
    "faults_report": [_MODULE, c_uint32, c_uint32, POINTER(c_int32), c_int64],
    "call": [*_ENTRY_TENSORS, POINTER(CallOptions)],
    "workspace_bytes": [*_ENTRY_TENSORS, POINTER(c_size_t)],
    "memory_allocate": [DLDevice, c_size_t, POINTER(ctypes.c_void_p)],
    "memory_free": [DLDevice, ctypes.c_void_p],
    "memory_copy": [
        DLDevice,
        ctypes.c_void_p,
        ctypes.c_void_p,
        c_size_t,
        ctypes.c_void_p,
    ],
}


@functools.lru_cache(maxsize=None)
def library() -> ctypes.CDLL:
    """The runtime, loaded once. Its calls release Python's lock."""
    path = find_runtime()
    try:
        runtime = ctypes.CDLL(str(path))
    except OSError as error:
        raise Error("load failed", f"cannot load '{path}': {error}") from error
    for name, arguments in _FUNCTIONS.items():
        function = getattr(runtime, f"vashista_{name}")
        function.argtypes, function.restype = arguments, ctypes.c_int
    runtime.vashista_status_name.argtypes = [ctypes.c_int]
    runtime.vashista_module_free.argtypes = [_MODULE]
    runtime.vashista_module_free.restype = None
    for name in ("status_name", "last_error", "runtime_version"):
        getattr(runtime, f"vashista_{name}").restype = c_char_p
    version = runtime.vashista_runtime_version().decode()
    if version.split(".")[:2] != ["0", "1"]:
        raise Error(
            "load failed",
            f"expected the runtime 0.1 in '{path}', got {version}",
        )
    return runtime


def call(name: str, *arguments, context: str = "") -> None:
    """Calls a function that returns a status, and raises what it says."""
    runtime = library()
    status = getattr(runtime, f"vashista_{name}")(*arguments)
    if status:
        kind = runtime.vashista_status_name(status).decode()
        said = runtime.vashista_last_error().decode(errors="replace")
        raise Error(kind, context + said)
