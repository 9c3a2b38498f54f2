# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The modules that specifications stand for, as text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Iterable

if TYPE_CHECKING:
    from .spec import AttentionSpec


def tensor(shape: Iterable[int | None], element: str) -> str:
    """`tensor<?x8x16x128xbf16>`; None is a size that the caller chooses."""
    dims = "".join(f"{'?' if size is None else size}x" for size in shape)
    return f"tensor<{dims}{element}>"


class _Operands:
    """What an op is given, in its order: the text, and the types for its end."""

    def __init__(self, types: dict[str, str]):
        self.types, self.names = types, []

    def __call__(self, keyword: str, *names: str) -> str:
        self.names += names
        return f" {keyword}({_values(names)})" if keyword else f" {_values(names)}"


def _values(names: Iterable[str]) -> str:
    return ", ".join(f"%{name}" for name in names)


@dataclasses.dataclass(frozen=True)
class _Writer:
    spec: AttentionSpec

    def types(self) -> dict[str, str]:
        spec = self.spec
        sequences = None if spec.shared_rows else spec.batch
        types = {
            "q": tensor((spec.batch, spec.heads, spec.head_dim), spec.dtype),
            "key": tensor((spec.batch, spec.kv_heads, spec.head_dim), spec.dtype),
            "value": tensor((spec.batch, spec.kv_heads, spec.value_dim), spec.dtype),
            "positions": tensor((spec.batch,), "i32"),
            "table": tensor((sequences, spec.max_pages), "i32"),
            "lens": tensor((spec.batch,), "i32"),
            "rows": tensor((spec.batch,), "i32"),
            "k": tensor((None, *spec.page_shape(spec.head_dim)), spec.dtype),
            "v": tensor((None, *spec.page_shape(spec.value_dim)), spec.dtype),
        }
        for name, (shape, element) in spec.kept.items():
            types[name] = tensor((None, *shape), element)
        for name, (shape, element) in spec.kept_of_sequences.items():
            types[name] = tensor((sequences, *shape), element)
        return types

    def module(self) -> str:
        functions = [self.decode(), self.append()]
        if self.spec.kept:
            functions.append(self.summarize())
        return "\n".join(functions)

    def _kept(self, given: _Operands, order: tuple[str, ...]) -> str:
        """The words of what is kept, in the order of an op."""
        spec, words = self.spec, {}
        if spec.summary is not None:
            words["summary"] = f"summary <{spec.summary}>", spec.summary_parts
        if spec.sketch is not None:
            words["sketch"] = f"sketch {spec.sketch}", spec.sketch_parts
        if spec.policy.is_certified:
            words["norms"] = "norms", ("norms",)
        if spec.moments:
            words["moments"] = "moments", ("moments",)
        return "".join(given(*_flat(words[name])) for name in order if name in words)

    def _rows(self, given: _Operands) -> str:
        return given("rows", "rows") if self.spec.shared_rows else ""

    def _layout(self) -> str:
        return "" if self.spec.layout == "hnd" else f" layout {self.spec.layout}"

    def _function(self, name, op, given: _Operands, results, returned=None) -> str:
        """A function of one op, all of whose operands are its arguments."""
        arguments = ", ".join(f"%{n}: {given.types[n]}" for n in given.names)
        operands = ", ".join(given.types[n] for n in given.names)
        every = ", ".join(results)
        kept = results if returned is None else results[:returned]
        values = ", ".join(f"%r#{i}" for i in range(len(kept)))
        if len(results) == 1:
            values = "%r"
        number = f":{len(results)}" if len(results) > 1 else ""
        return (
            f"func.func @{name}({arguments})\n    -> ({', '.join(kept)}) {{\n"
            f"  %r{number} = vashista.{op}\n"
            f"      : ({operands})\n      -> ({every})\n"
            f"  return {values} : {', '.join(kept)}\n}}\n"
        )

    def decode(self) -> str:
        spec = self.spec
        given = _Operands(self.types())
        op = "attention" + given("", "q") + given("keys", "k") + given("values", "v")
        op += given("table", "table") + given("lens", "lens") + self._rows(given)
        op += "\n     " + self._kept(given, ("summary", "sketch", "norms", "moments"))
        op += f"\n      policy {spec.policy} scale {spec.scale:.9e}"
        if spec.soft_cap is not None:
            op += f" soft_cap {spec.soft_cap:.9e}"
        op += self._layout()
        per_head = tensor((spec.batch, spec.heads), "f32")
        results = [
            tensor((spec.batch, spec.heads, spec.value_dim), "f32"),
            *[per_head] * 3,
            tensor((spec.batch, spec.kv_heads), "i32"),
            tensor((spec.batch, spec.kv_heads), "i1"),
        ]
        return self._function(
            "decode", op, given, results, None if spec.policy.is_certified else 2
        )

    def append(self) -> str:
        given = _Operands(self.types())
        op = "append" + given("key", "key") + given("value", "value")
        op += given("at", "positions") + given("table", "table") + self._rows(given)
        op += given("into", "k", "v") + "\n     "
        order = ("summary", "norms", "sketch", "moments")
        op += self._kept(given, order) + self._layout()
        results = [given.types[name] for name in ("k", "v", *self._order())]
        return self._function("append", op, given, results)

    def summarize(self) -> str:
        """Of the pages that a table names, whoever's they are: any number of rows."""
        types = self.types()
        types["table"], types["lens"] = tensor((None, None), "i32"), tensor(
            (None,), "i32"
        )
        for name, (shape, element) in self.spec.kept_of_sequences.items():
            types[name] = tensor((None, *shape), element)
        given = _Operands(types)
        op = "summarize" + given("keys", "k")
        if self.spec.policy.is_certified:
            op += given("values", "v")
        op += given("table", "table") + given("lens", "lens")
        order = ("summary", "norms", "sketch", "moments")
        op += "\n     " + self._kept(given, order) + self._layout()
        results = [given.types[name] for name in self._order()]
        return self._function("summarize", op, given, results)

    def _order(self) -> list[str]:
        """What is kept, in the order of the destinations of an op."""
        spec = self.spec
        norms = ("norms",) if spec.policy.is_certified else ()
        return [
            *spec.summary_parts,
            *norms,
            *spec.sketch_parts,
            *spec.kept_of_sequences,
        ]


def _flat(words):
    keyword, names = words
    return (keyword, *names)


def module_text(spec: AttentionSpec) -> str:
    """The functions `decode`, `append` and, where something is kept, `summarize`."""
    return _Writer(spec).module()
