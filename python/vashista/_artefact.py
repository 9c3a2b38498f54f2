# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Artefacts and their entries."""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import os
import re
import types
import weakref
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from . import _dlpack, _runtime
from ._bits import Bits
from ._error import Error

_MAX_THREADS = 1024

_PREFIXES = {0: "i", 1: "u", 2: "f", 4: "bf"}
_FLOAT8 = (
    "f8E3M4",
    "f8E4M3",
    "f8E4M3B11FNUZ",
    "f8E4M3FN",
    "f8E4M3FNUZ",
    "f8E5M2",
    "f8E5M2FNUZ",
    "f8E8M0FNU",
)
_NUMPY = {
    **{f"i{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{f"f{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    "bool": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in _NUMPY.items()}
# What ml_dtypes calls them, so that its arrays need no wrapper.
_ML_DTYPES = {"bfloat16": "bf16"}
_ML_DTYPES.update({f"float8_{name[2:].lower()}": name for name in _FLOAT8})


def _type_name(dtype: _runtime.DLDataType) -> str:
    if dtype.code == 6:
        return "bool"
    if 7 <= dtype.code < 7 + len(_FLOAT8):
        return _FLOAT8[dtype.code - 7]
    return f"{_PREFIXES.get(dtype.code, f'code {dtype.code} of ')}{dtype.bits}"


@dataclasses.dataclass(frozen=True)
class Dim:
    """A dimension: `size`, times dimension `dim` of `argument` if that is given.

    `size` is None where it is what the caller gives.
    """

    size: int | None
    argument: str | None = None
    dim: int = 0

    def __str__(self) -> str:
        if self.argument is None:
            return "?" if self.size is None else str(self.size)
        factor = f"{self.size} " if self.size != 1 else ""
        return f"{factor}{self.argument}.{self.dim}"


@dataclasses.dataclass(frozen=True)
class Value:
    """An argument or a result of an entry.

    Attributes:
      name: what the graph calls it.
      dtype: "f32", "bf16", "f8E4M3FN", "i32", "bool" and so on.
      dims: its dimensions, outermost first.
      written: whether it is an argument that is written in place.
      strided: whether it takes any strides; others are C-contiguous.
      faults: whether it is a result that says what the entry found at fault.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    written: bool = False
    strided: bool = False
    faults: bool = False

    def __str__(self) -> str:
        dims = ", ".join(map(str, self.dims))
        return f"{self.name}: {self.dtype} [{dims}]" + " written" * self.written


def _shape(value: Value, shapes: Mapping[str, tuple[int, ...]]) -> list[int | None]:
    """The sizes that shapes of arguments imply; None where they imply none."""
    sizes: list[int | None] = []
    for dim in value.dims:
        size = dim.size
        if dim.argument is not None:
            other = shapes.get(dim.argument, ())
            size = dim.size * other[dim.dim] if dim.dim < len(other) else None
        sizes.append(size)
    return sizes


def _describe(dtype: str, shape) -> str:
    return f"{dtype} [{', '.join('?' if n is None else str(n) for n in shape)}]"


class _Tensor:
    """A DLTensor of an array, with what it points to."""

    def __init__(self, array: np.ndarray, dtype: _runtime.DLDataType):
        self.array = array
        rank = array.ndim
        sizes = ctypes.c_int64 * rank
        self.shape = sizes(*array.shape)
        self.strides = sizes(*(n // array.itemsize for n in array.strides))
        self.dl = _runtime.DLTensor(
            array.ctypes.data, _runtime.CPU, 0, rank, dtype, self.shape, self.strides, 0
        )


class _DeviceTensor(_Tensor):
    """A copy of an array in a device's memory, freed with it."""

    def __init__(self, array: np.ndarray, dtype, device: _runtime.DLDevice):
        # Any strides, but not those of what is written (checked before).
        super().__init__(np.ascontiguousarray(array), dtype)
        self.device, self.memory = device, ctypes.c_void_p()
        _runtime.call("memory_allocate", device, array.nbytes, self.memory)
        weakref.finalize(
            self, _runtime.library().vashista_memory_free, device, self.memory
        ).atexit = False
        self.dl.data = self.memory
        self.dl.device_type, self.dl.device_id = device.device_type, device.device_id

    def _copy(self, to, source) -> None:
        _runtime.call("memory_copy", self.device, to, source, self.array.nbytes, None)

    def upload(self) -> None:
        self._copy(self.memory, self.array.ctypes.data)

    def download(self, array: np.ndarray) -> None:
        if array.flags.c_contiguous:
            self._copy(array.ctypes.data, self.memory)
        else:
            self._copy(self.array.ctypes.data, self.memory)
            array[...] = self.array


def _pointers(tensors: list[_Tensor]):
    pointer = ctypes.POINTER(_runtime.DLTensor)
    return (pointer * len(tensors))(*(ctypes.pointer(t.dl) for t in tensors))


class Entry:
    """A function of an artefact, called with NumPy arrays or tensors.

        o, lse = entry(q, k, v, table=table, lens=lens)

    Arguments go by position or by name. Each has exactly the element type and
    shape that the entry declares: nothing is converted, nor copied on the CPU. An
    artefact on a CUDA device has its own memory, to which arrays are copied, and
    from which results and what is written come back.

    Tensors of PyTorch and of any other library that speaks DLPack are taken where
    they are, all of them on the artefact's device, and results are new tensors of
    PyTorch, or `out`. Bits of f8 types may be u8 or i8. On a CUDA device nothing is
    waited for: the call is enqueued on PyTorch's current stream or `stream`, and can
    be captured in a graph.

    With NumPy, bf16 and f8
    arguments are `vashista.Bits` (or arrays of `ml_dtypes`), and so are results.

    Returns a new array for each result: nothing, the array, or a named tuple of
    several. Arguments that are `written` are updated in place, and what is
    written must overlap no other array.

    Two more keyword arguments are options, whatever the graph calls its own:

      checked: verify page tables, lengths, positions and lists first, which
        costs little. A violation raises, and nothing is run. Without it a bad
        page id is undefined behaviour. Default: True.
        On a CUDA device it waits for the stream. Default: True with NumPy, False
        with tensors.
      threads: threads to use at most; 0: as many as VASHISTA_NUM_THREADS, else
        the CPUs that the process may use. Results do not depend on it.

    And three for tensors:

      out: tensors for the results, in their order.
      stream: the address of a CUDA stream, an integer; 0 is the default one.
      workspace: a tensor of bytes on the device, of `workspace_bytes`, which is this
        call's until its work is done; default: memory of the stream.

    Raises `vashista.Error` for an array that does not fit, TypeError for a wrong
    number of arguments or an unknown name.

    Several threads may call entries at once. Not to be used in a child after
    fork().
    """

    def __init__(self, module: _Module, number: int):
        info = _runtime.EntryInfo()
        _runtime.call("entry_describe", module.handle, number, info)
        self._module, self._number = module, number
        self.name: str = info.name.decode()
        arguments, self._argument_types = self._values("argument", info.num_arguments)
        results, self._result_types = self._values(
            "result", info.num_results, arguments
        )
        #: What it takes.
        self.arguments: tuple[Value, ...] = arguments
        #: What it returns.
        self.results: tuple[Value, ...] = results
        #: What was baked in when it was compiled: "scale" and "0.0883883461".
        self.constants: dict[str, str] = {}
        for i in range(info.num_constants):
            constant = _runtime.ConstantInfo()
            _runtime.call("constant_describe", module.handle, number, i, constant)
            self.constants[constant.name.decode()] = constant.value.decode()
        #: How many things checked mode verifies.
        self.num_checks: int = info.num_checks
        self._tuple = collections.namedtuple(
            "Results", [value.name for value in results], rename=True
        )

    def _values(self, kind: str, count: int, arguments: tuple[Value, ...] = ()):
        values: list[Value] = []
        types = []
        names = [value.name for value in arguments]
        for i in range(count):
            info = _runtime.ValueInfo()
            _runtime.call(
                f"{kind}_describe", self._module.handle, self._number, i, info
            )
            name = info.name.decode()
            if kind == "argument":
                names.append(name)
            dims = []
            for dim in info.dims[: info.rank]:
                if dim.kind == _runtime.DIM_STATIC:
                    dims.append(Dim(dim.size))
                elif dim.kind == _runtime.DIM_DYNAMIC:
                    dims.append(Dim(None))
                else:
                    dims.append(Dim(dim.size, names[dim.argument], dim.dim))
            values.append(
                Value(
                    name,
                    _type_name(info.dtype),
                    tuple(dims),
                    bool(info.written),
                    bool(info.strided),
                    bool(info.faults),
                )
            )
            types.append(
                _runtime.DLDataType(info.dtype.code, info.dtype.bits, info.dtype.lanes)
            )
        return tuple(values), types

    def __repr__(self) -> str:
        arguments = ", ".join(map(str, self.arguments))
        results = ", ".join(map(str, self.results))
        return f"{self.name}({arguments}) -> ({results})"

    def __call__(
        self,
        *args: Any,
        checked: bool | None = None,
        threads: int = 0,
        out: Sequence[Any] | None = None,
        stream: int | None = None,
        workspace: Any = None,
        **named: Any,
    ):
        if checked is not None and not isinstance(checked, bool):
            raise TypeError(
                f"{self.name}: expected checked to be True or False, got {checked!r}"
            )
        if not isinstance(threads, int):
            raise TypeError(
                f"{self.name}: expected threads to be an integer, got {threads!r}"
            )
        if not 0 <= threads <= _MAX_THREADS:
            raise ValueError(
                f"{self.name}: expected threads from 0 to {_MAX_THREADS}, got {threads}"
            )
        given = self._bind(args, named)
        foreign = [x for x in given if self._is_foreign(x)]
        if foreign:
            options = _runtime.CallOptions(
                ctypes.sizeof(_runtime.CallOptions), int(checked or False), threads
            )
            options.stream = (
                _dlpack.current_stream(foreign[0]) if stream is None else stream
            )
            return self._call_on_tensors(given, out, workspace, options)
        for name, x in (("out", out), ("stream", stream), ("workspace", workspace)):
            if x is not None:
                raise TypeError(f"{self.name}: expected tensors with {name}, got none")
        checked = checked is not False
        shapes: dict[str, tuple[int, ...]] = {}
        tensors = []
        for value, dtype, x in zip(self.arguments, self._argument_types, given):
            array = self._fit(value, x, shapes)
            shapes[value.name] = array.shape
            tensors.append(self._make(array, dtype, upload=True))
        outcome, results = [], []
        for value, dtype in zip(self.results, self._result_types):
            bits = value.dtype not in _NUMPY
            kind = np.dtype(f"u{dtype.bits // 8}") if bits else _NUMPY[value.dtype]
            array = np.empty(_shape(value, shapes), kind)
            outcome.append(Bits(array, value.dtype) if bits else array)
            results.append(self._make(array, dtype))

        options = _runtime.CallOptions(
            ctypes.sizeof(_runtime.CallOptions), int(checked), threads
        )
        self._ask("call", tensors, results, options)
        for value, tensor, x in zip(self.arguments, tensors, given):
            if isinstance(tensor, _DeviceTensor) and value.written:
                tensor.download(x.bits if isinstance(x, Bits) else x)
        for tensor in results:
            if isinstance(tensor, _DeviceTensor):
                tensor.download(tensor.array)
        if len(outcome) > 1:
            return self._tuple(*outcome)
        return outcome[0] if outcome else None

    @staticmethod
    def _is_foreign(x: Any) -> bool:
        own = (np.ndarray, np.generic, Bits)
        return not isinstance(x, own) and _dlpack.is_tensor(x)

    def _borrow(self, values, dtypes, given) -> list[_dlpack.Tensor]:
        """Tensors of arguments or results, as they are."""
        tensors = []
        for value, dtype, x in zip(values, dtypes, given):
            if not self._is_foreign(x):
                raise Error(
                    "invalid argument",
                    f"{self.name}: '{value.name}': expected a tensor like the others, "
                    f"got {type(x).__name__}",
                )
            tensor = _dlpack.Tensor(x)
            found = tensor.dl.dtype
            if found.code in (0, 1) and found.bits == 8 and 7 <= dtype.code < 15:
                found.code = dtype.code
            tensors.append(tensor)
        return tensors

    def _call_on_tensors(self, given, out, workspace, options):
        tensors = self._borrow(self.arguments, self._argument_types, given)
        shapes = {v.name: t.shape for v, t in zip(self.arguments, tensors)}
        if out is None:
            out = [
                _dlpack.allocate_like(
                    given[0], _shape(value, shapes), value.dtype, f"{self.name}: "
                )
                for value in self.results
            ]
        elif len(out) != len(self.results):
            raise TypeError(
                f"{self.name}: expected {len(self.results)} tensors in out, "
                f"got {len(out)}"
            )
        results = self._borrow(self.results, self._result_types, out)
        if workspace is not None:
            memory = _dlpack.Tensor(workspace)
            options.workspace = memory.dl.data
            sizes = (memory.dl.dtype.bits // 8, *memory.shape)
            options.workspace_bytes = int(np.prod(sizes, dtype=np.int64))
        self._ask("call", tensors, results, options)
        if len(out) > 1:
            return self._tuple(*out)
        return out[0] if out else None

    def workspace_bytes(self, *args: Any, **named: Any) -> int:
        """The bytes of `workspace` that a call with these tensors needs.

        It depends on their sizes only, and is 0 on the CPU.
        """
        given = self._bind(args, named)
        tensors = self._borrow(self.arguments, self._argument_types, given)
        shapes = {v.name: t.shape for v, t in zip(self.arguments, tensors)}
        results = []
        for value, dtype in zip(self.results, self._result_types):
            # Of the arguments' device; nothing reads or writes it.
            size = _shape(value, shapes)
            shape = (ctypes.c_int64 * len(size))(*size)
            first = tensors[0].dl
            results.append(
                types.SimpleNamespace(
                    shape=shape,
                    dl=_runtime.DLTensor(
                        1 << 60,
                        first.device_type,
                        first.device_id,
                        len(size),
                        dtype,
                        shape,
                        None,
                        len(results) << 50,
                    ),
                )
            )
        needed = ctypes.c_size_t()
        self._ask("workspace_bytes", tensors, results, needed)
        return needed.value

    def raise_faults(self, results: Sequence[Any]) -> None:
        """Raises what an entry that checks itself found, if anything.

        `results` are those of a call to what was compiled with --checked, arrays or
        tensors, which are waited for. The first row at fault is what `vashista.Error`
        says, in the words of checked mode.
        """
        for i, (value, x) in enumerate(zip(self.results, results, strict=True)):
            if not value.faults:
                continue
            faults = x.cpu() if hasattr(x, "cpu") else x
            faults = np.ascontiguousarray(faults, np.int32)
            pointer = faults.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            _runtime.call(
                "faults_report",
                self._module.handle,
                self._number,
                i,
                pointer,
                len(faults),
                context=f"{self.name}: ",
            )

    def _ask(self, function: str, tensors, results, last) -> None:
        """Calls a function of the runtime that takes an entry's tensors."""
        _runtime.call(
            function,
            self._module.handle,
            self._number,
            _pointers(tensors),
            len(tensors),
            _pointers(results),
            len(results),
            last,
            context=f"{self.name}: ",
        )

    def _make(self, array: np.ndarray, dtype, upload: bool = False) -> _Tensor:
        """The tensor that the entry is given of an array."""
        device = self._module.device
        if device.device_type == _runtime.CPU:
            return _Tensor(array, dtype)
        tensor = _DeviceTensor(array, dtype, device)
        if upload:
            tensor.upload()
        return tensor

    def _bind(self, args: tuple, named: dict[str, Any]) -> list[Any]:
        """The arguments in the entry's order."""
        names = [value.name for value in self.arguments]
        if len(args) > len(names):
            raise TypeError(
                f"{self.name}: expected {len(names)} arguments, got {len(args)}"
            )
        given = dict(zip(names, args))
        for name, x in named.items():
            if name not in names:
                raise TypeError(
                    f"{self.name}: expected an argument of {', '.join(names)}, "
                    f"got '{name}'"
                )
            if name in given:
                raise TypeError(f"{self.name}: expected '{name}' once, got it twice")
            given[name] = x
        missing = [name for name in names if name not in given]
        if missing:
            raise TypeError(f"{self.name}: expected '{missing[0]}' too, got none")
        return [given[name] for name in names]

    def _fit(self, value: Value, x: Any, shapes) -> np.ndarray:
        """The memory of an argument that has the type and shape of a value."""
        where = f"{self.name}: argument '{value.name}': expected "
        if isinstance(x, Bits):
            array, dtype = x.bits, x.dtype
        elif isinstance(x, (np.ndarray, np.generic)):
            array = np.asarray(x)
            dtype = _NAMES.get(array.dtype) or _ML_DTYPES.get(array.dtype.name)
            dtype = dtype or array.dtype.str
        else:
            raise Error(
                "invalid argument", f"{where}a NumPy array, got {type(x).__name__}"
            )
        own = {**shapes, value.name: array.shape}
        sizes = _shape(value, own)
        fits = len(sizes) == array.ndim and all(
            size is None or size == got for size, got in zip(sizes, array.shape)
        )
        if dtype != value.dtype or not fits:
            wrap = ""
            if value.dtype not in _NUMPY and not isinstance(x, Bits):
                wrap = f"; wrap its bits by vashista.Bits(bits, '{value.dtype}')"
            raise Error(
                "invalid argument",
                f"{where}{_describe(value.dtype, sizes)}, got "
                f"{_describe(dtype, array.shape)}{wrap}",
            )
        if not value.strided and not array.flags.c_contiguous:
            raise Error(
                "invalid argument",
                f"{where}a C-contiguous array, got strides {array.strides} in bytes",
            )
        if any(stride % array.itemsize for stride in array.strides):
            raise Error(
                "invalid argument",
                f"{where}strides of whole elements, got {array.strides} in bytes",
            )
        if value.written and not array.flags.writeable:
            raise Error(
                "invalid argument", f"{where}a writeable array, got a read-only one"
            )
        return array


class _Module:
    """A loaded module, freed with its last user."""

    def __init__(self, handle: ctypes.c_void_p):
        self.handle = handle
        self.info = _runtime.ModuleInfo()
        _runtime.call("module_describe", handle, self.info)
        self.device = _runtime.DLDevice(
            self.info.device.device_type, self.info.device.device_id
        )
        free = weakref.finalize(self, _runtime.library().vashista_module_free, handle)
        # At exit a thread may still be within a call.
        free.atexit = False


class Artefact(Mapping[str, Entry]):
    """A loaded artefact: its entries by name.

    Attributes:
      entries: the entries' names, in the artefact's order.
      producer: who wrote it, "vashista 0.1.0".
      compiler: who generated its code, "LLVM 22.1.8".
      features: the CPU features that its loaded code uses.
      digest: SHA-256 of its contents, 64 hexadecimal digits.
      device: what runs it, "cpu" or "cuda:0".
      architecture: of its kernels, "sm_90a"; None on the CPU.
    """

    def __init__(self, module: _Module):
        info = module.info
        self.producer: str = info.producer.decode()
        self.compiler: str = info.compiler.decode()
        features = info.features.decode()
        self.features: tuple[str, ...] = tuple(features.split(",")) if features else ()
        self.digest: str = bytes(info.digest[:32]).hex()
        number = module.device.device_id
        on_cpu = module.device.device_type == _runtime.CPU
        self.device: str = "cpu" if on_cpu else f"cuda:{number}"
        self.architecture: str | None = (
            info.architecture.decode() if info.architecture else None
        )
        self._entries = {
            entry.name: entry
            for entry in (Entry(module, i) for i in range(info.num_entries))
        }

    @property
    def entries(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise KeyError(f"expected an entry of: {known}; got '{name}'") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<artefact of {self.producer}: {', '.join(self._entries)}>"


def _parse_device(device: str | None) -> _runtime.DLDevice:
    if device is None:
        return _runtime.DLDevice(0, 0)
    if device == "cpu":
        return _runtime.DLDevice(_runtime.CPU, 0)
    if found := re.fullmatch("cuda(?::([0-9]{1,4}))?", device):
        return _runtime.DLDevice(_runtime.CUDA, int(found[1] or 0))
    raise ValueError(f"expected the device 'cpu' or 'cuda:0', got {device!r}")


def load(
    source: str | os.PathLike | bytes,
    *,
    digest: str | None = None,
    device: str | None = None,
) -> Artefact:
    """Loads an artefact: a path, or the bytes of one.

    Every byte is verified before any of it runs, and what runs is a copy: the
    file may change or vanish afterwards.

    Args:
      digest: the `digest` that the artefact must have; default: any.
      device: what is to run it, "cpu" or "cuda:0"; default: what it is for, the
        CPU first.

    Raises `vashista.Error`.
    """
    if digest is not None and not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ValueError(f"expected a digest of 64 hexadecimal digits, got {digest!r}")
    expected = bytes.fromhex(digest) if digest is not None else None
    options = _runtime.LoadOptions(
        ctypes.sizeof(_runtime.LoadOptions), expected, _parse_device(device)
    )
    handle = ctypes.c_void_p()
    if isinstance(source, bytes):
        _runtime.call("module_load_bytes", source, len(source), options, handle)
    else:
        _runtime.call("module_load", os.fsencode(source), options, handle)
    return Artefact(_Module(handle))
