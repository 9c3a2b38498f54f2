# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Entries as operators of PyTorch, which its compiler and exporter keep whole.

    decode = vashista.torch.op(artefact, "decode")
    step = torch.compile(lambda q, *cache: decode(q, *cache)[0])

Two operators stand for all entries; what is called is an argument, since artefacts
come and go and operators stay:

    vashista::run(Tensor[] arguments, str artefact, str entry, bool checked) -> Tensor[]
    vashista::update(Tensor[] arguments, Tensor(a!)[] written, str artefact, str entry,
                     bool checked) -> ()

The second one is for entries that write arguments; where they have results, too,
`written` ends with tensors for them. `artefact` is the digest of one that is
registered: an exported program runs in any process that registers the same artefact.
Work is enqueued on the current stream; results and the workspace come from PyTorch's
allocator, so that a call can be captured in a CUDA graph. There is no derivative.
"""

from __future__ import annotations

from typing import Any, Callable

import torch

from . import _artefact, _check, _dlpack
from ._artefact import Artefact, Entry
from ._error import Error

_artefacts: dict[str, Artefact] = {}
# Bytes by entry and shapes; a table grows by a column every page.
_workspaces: dict[tuple, int] = {}
_MOST_WORKSPACES = 4096


def register(artefact: Artefact) -> str:
    """Lets operators call an artefact by its digest, which is returned."""
    _artefacts[artefact.digest] = artefact
    return artefact.digest


def _entry(digest: str, name: str) -> Entry:
    try:
        artefact = _artefacts[digest]
    except KeyError:
        raise Error(
            "not found",
            f"expected a registered artefact, got the digest {digest}; load it and "
            "call vashista.torch.register(artefact)",
        ) from None
    return artefact[name]


def _join(entry: Entry, arguments: list, written: list) -> list:
    """The arguments in the entry's order."""
    read, write = iter(arguments), iter(written)
    return [next(write if value.written else read) for value in entry.arguments]


def _call(entry: Entry, given: list, out: list | None, checked: bool) -> list:
    # Where a derivative is asked for, PyTorch refuses it: the operator has none.
    given, workspace = [x.detach() if x.requires_grad else x for x in given], None
    if given[0].is_cuda:
        # Of PyTorch's allocator, which knows of streams and of capture.
        size = _workspace_bytes(entry, given)
        workspace = torch.empty(max(size, 1), dtype=torch.uint8, device=given[0].device)
    results = entry(*given, checked=checked, out=out, workspace=workspace)
    if not entry.results:
        return []
    return [results] if len(entry.results) == 1 else list(results)


def _workspace_bytes(entry: Entry, given: list) -> int:
    """Asked for once for the shapes that it follows from."""
    key = (entry, *(x.shape for x in given))
    size = _workspaces.get(key)
    if size is None:
        if len(_workspaces) >= _MOST_WORKSPACES:
            _workspaces.clear()
        size = _workspaces[key] = entry.workspace_bytes(*given)
    return size


def _allocate(entry: Entry, given: list) -> list:
    """Tensors for the results, which follow from shapes alone."""
    shapes = {value.name: x.shape for value, x in zip(entry.arguments, given)}
    return [
        torch.empty(
            _artefact._shape(value, shapes),
            dtype=_dlpack.torch_dtype(value.dtype),
            device=given[0].device,
        )
        for value in entry.results
    ]


@torch.library.custom_op(
    "vashista::run",
    mutates_args=(),
    schema="(Tensor[] arguments, str artefact, str entry, bool checked) -> Tensor[]",
)
def _run(arguments, artefact, entry, checked):
    return _call(_entry(artefact, entry), arguments, None, checked)


@_run.register_fake
def _(arguments, artefact, entry, checked):
    return _allocate(_entry(artefact, entry), arguments)


# Without results of its own: PyTorch's compiler does not take lists of them from an
# operator that writes.
@torch.library.custom_op(
    "vashista::update",
    mutates_args={"written"},
    schema="(Tensor[] arguments, Tensor(a!)[] written, str artefact, str entry, "
    "bool checked) -> ()",
)
def _update(arguments, written, artefact, entry, checked):
    found = _entry(artefact, entry)
    given = _join(found, arguments, written)
    out = written[len(written) - len(found.results) :]
    _call(found, given, out, checked)


@_update.register_fake
def _(arguments, written, artefact, entry, checked):
    pass


def op(artefact: Artefact, name: str, *, checked: bool = False) -> Callable[..., Any]:
    """An entry as a function of tensors that `torch.compile` and `torch.export` keep.

    It takes the entry's arguments by position or name, and returns its results: None,
    a tensor, or a tuple of several. Arguments are contiguous; f8 is given as its bits,
    uint8.

    checked: verify page tables, lengths, positions and lists first; on a GPU that waits
      for the stream, and cannot be captured.
    """
    if not isinstance(artefact, Artefact):
        raise _check.refuse("op", "an artefact", type(artefact).__name__)
    entry, digest = artefact[name], register(artefact)
    names = tuple(value.name for value in entry.arguments)
    written = frozenset(value.name for value in entry.arguments if value.written)
    num_results = len(entry.results)

    def call(*args: torch.Tensor, **named: torch.Tensor):
        given = dict(zip(names, args))
        if len(args) > len(names) or any(n not in names or n in given for n in named):
            raise TypeError(f"{name}: expected each of {', '.join(names)} once")
        given.update(named)
        if len(given) < len(names):
            missing = ", ".join(n for n in names if n not in given)
            raise TypeError(f"{name}: expected {missing}, too")
        read = [given[n] for n in names if n not in written]
        if written:
            results = _allocate(entry, [given[n] for n in names]) if num_results else []
            write = [given[n] for n in names if n in written]
            torch.ops.vashista.update(read, write + results, digest, name, checked)
        else:
            results = torch.ops.vashista.run(read, digest, name, checked)
        if num_results == 1:
            return results[0]
        return tuple(results) if num_results else None

    call.__name__ = name
    call.__doc__ = repr(entry)
    return call
