# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A paged KV cache, with the summaries and sketches that its attention reads."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

from . import _check, _memory
from ._artefact import Artefact
from ._compile import compile
from ._pages import Changes, PageTable
from ._steps import Attention, Chunk, SequenceRows, Step
from .spec import AttentionSpec


@dataclasses.dataclass(frozen=True)
class Price:
    """Bytes that a cache takes, by what they are."""

    keys: int
    values: int
    summary: int
    sketch: int
    norms: int
    moments: int
    """Of the sequences; all else but the table is of pages."""
    table: int
    """The page tables."""

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


class PagedKVCache:
    """Keys and values of many sequences in pages of one pool, for all layers.

        cache = PagedKVCache(spec, pages=1024, sequences=8, layers=32)
        a = cache.add()
        cache.extend(a, k, v)              # a prompt: [layers, T, Hkv, D]
        b = cache.fork(a)                  # shares the prompt's pages
        step = cache.step([a, b])          # one more token of each
        for layer in range(32):
            step.append(key, value, layer) # [2, Hkv, D]
            o = step.attend(q, layer).o    # [2, H, D] -> [2, H, Dv]
        cache.rollback(b, 1)               # as if b had never had it

    All memory is allocated at once, `PagedKVCache.price` says before how much. The
    layers share one page table: page p of a sequence is page p of every layer.

    What is kept beside the caches (`spec.kept`) is rebuilt by `extend`, and for the
    page that is written by `append`, both compiled with the attention. After a
    rollback into the middle of a page, and for a fork that shares one, it covers more
    tokens than are visible, until the next token is appended: bounds stay bounds.

    Moments (`spec.moments`) are kept of each sequence: `[sequences, ...]`, by its number.
    `append` adds to them, and `extend` rebuilds them from all tokens of the sequence,
    which it reads again. A rollback keeps them, and a fork gets those of its source,
    whatever its length: they cover more tokens than are visible, and bounds stay bounds,
    only less tight, until position 0 is written again or the sequence is extended.

    With `device` arrays are tensors of PyTorch there, and what is called runs on its
    current stream; else they are NumPy's. The host counts pages and lengths, and a step
    brings the device what is new of them, so that no call waits for the device. Not
    for use by several threads at once.

    Args:
      spec: the attention, as it is compiled.
      pages: of the pool, N; each holds `spec.page_size` tokens of every layer.
      sequences: most that are there at once.
      max_length: most tokens of one; default: as many as the pool holds.
      layers: of the model.
      device: of PyTorch, "cpu" or "cuda:0"; None: NumPy.
      target: what to compile for; default: the device.
      artefact: the compiled spec, where that was done before.
      options: further arguments of `vashista.compile`.

    Raises `vashista.Error`: "out of memory" where pages or sequences run out, in which
    case nothing was changed; "invalid argument" for arrays that do not fit.
    """

    def __init__(
        self,
        spec: AttentionSpec,
        pages: int,
        sequences: int,
        *,
        max_length: int | None = None,
        layers: int = 1,
        device: Any = None,
        target: str | None = None,
        artefact: Artefact | None = None,
        **options: Any,
    ):
        max_pages = _max_pages(spec, pages, sequences, max_length, layers)
        self.spec, self.num_pages, self.layers = spec, pages, layers
        self.max_pages = max_pages
        self._memory = memory = _memory.memory_of(device)
        if artefact is None:
            on_gpu = getattr(memory.device, "type", "cpu") == "cuda"
            where = {"device": str(memory.device)} if on_gpu else {}
            artefact = compile(spec, target or memory.target, **where, **options)
        elif not isinstance(artefact, Artefact):
            raise _check.refuse(
                "cache: artefact", "a vashista.Artefact", repr(artefact)
            )
        #: The compiled entries.
        self.artefact: Artefact = artefact
        self._entries = {
            name: (memory.entry(artefact, name), entry.arguments)
            for name, entry in artefact.items()
        }
        self._pages = PageTable(pages, sequences, spec.page_size, max_pages)
        self._table = memory.zeros((sequences, max_pages), "i32")
        shapes = {
            "k": (spec.page_shape(spec.head_dim), spec.dtype),
            "v": (spec.page_shape(spec.value_dim), spec.dtype),
            **spec.kept,
        }
        self._types = {name: dtype for name, (_, dtype) in shapes.items()}
        self._arrays = [
            {
                name: memory.zeros((pages, *shape), dtype)
                for name, (shape, dtype) in shapes.items()
            }
            for _ in range(layers)
        ]
        self._of_sequences = [
            {
                name: memory.zeros((sequences, *shape), dtype)
                for name, (shape, dtype) in spec.kept_of_sequences.items()
            }
            for _ in range(layers)
        ]

    @staticmethod
    def price(
        spec: AttentionSpec,
        pages: int,
        sequences: int,
        *,
        max_length: int | None = None,
        layers: int = 1,
    ) -> Price:
        """The bytes that a cache with these arguments allocates."""
        max_pages = _max_pages(spec, pages, sequences, max_length, layers)
        parts = {name: n * pages * layers for name, n in spec.page_bytes.items()}
        moments = spec.sequence_bytes * sequences * layers
        return Price(**parts, moments=moments, table=4 * sequences * max_pages)

    def bytes(self) -> int:
        """The bytes that it holds, of its arrays."""
        layers = (*self._arrays, *self._of_sequences)
        arrays = [array for layer in layers for array in layer.values()]
        return sum(map(self._memory.bytes, (*arrays, self._table)))

    # What is in it.

    @property
    def free_pages(self) -> int:
        """Pages of the pool that nobody holds."""
        return self._pages.free_pages

    @property
    def sequences(self) -> tuple[int, ...]:
        """The sequences that are there."""
        return self._pages.sequences

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        return self._pages.length(sequence)

    def arrays(self, layer: int = 0) -> dict[str, Any]:
        """What a layer has, by the names of the entries' arguments: "k", "v", and what
        is kept, of pages and last of sequences; not copied. bf16 and f8 in NumPy, and f8
        in PyTorch, as their bits."""
        layer = self._layer(layer)
        return {**self._arrays[layer], **self._of_sequences[layer]}

    def _layer(self, layer: int) -> int:
        return _check.integer("cache: layer", layer, 0, self.layers - 1)

    # Sequences.

    def add(self) -> int:
        """A new sequence without tokens: its number, which is used again once freed."""
        return self._pages.add()

    def fork(self, sequence: int, length: int | None = None) -> int:
        """A new sequence that begins as another: with its first `length` tokens.

        Pages are shared; whoever writes to a shared one is given a copy of it first.
        Moments are copied, those of a shorter beginning too: they stay a bound.
        """
        if length is None:
            length = self.length(sequence)
        number, changes = self._pages.fork(sequence, length)
        self._apply(changes)
        for arrays in self._of_sequences:
            for array in arrays.values():
                array[number] = array[sequence]
        return number

    def free(self, sequence: int) -> None:
        """Drops a sequence; pages that nobody else holds are free."""
        self._pages.free(sequence)

    def rollback(self, sequence: int, tokens: int) -> None:
        """Drops the last tokens of a sequence, as those that were not accepted.

        Moments keep their share: they stay a bound.
        """
        self._pages.shrink(sequence, tokens)

    # Tokens.

    def extend(self, sequence: int, keys: Any, values: Any) -> None:
        """Adds many tokens to a sequence: a prompt, or a part of one.

        keys, values: `[layers, T, Hkv, D]` and `[layers, T, Hkv, Dv]` of the spec's
          type; for one layer also without the first dimension.
        """
        # Where neither has a dimension of tokens, that is what is refused next.
        tokens = int((0, 0, 0, *getattr(keys, "shape", ()))[-3])
        k, v = self._given(tokens, keys, values)
        chunk = self.chunk([sequence], tokens)
        for layer in range(self.layers):
            chunk._write(k[layer], v[layer], layer)

    def chunk(self, sequences: Sequence[int], tokens: int) -> Chunk:
        """Makes room for many tokens of each sequence, to be written layer by layer, as
        a model makes them."""
        return Chunk(self, sequences, tokens)

    def append(self, sequences: Sequence[int], keys: Any, values: Any) -> Step:
        """Adds a token to each sequence, in all layers: a step, appended to.

        keys, values: `[layers, R, Hkv, D]` and `[layers, R, Hkv, Dv]`; for one layer
          also without the first dimension.
        """
        sequences = _check.sequences("cache: sequences", sequences)
        k, v = self._given(len(sequences), keys, values)
        step = self.step(sequences)
        for layer in range(self.layers):
            step._append(k[layer], v[layer], layer)
        return step

    def attend(self, q: Any, sequences: Sequence[int], layer: int = 0) -> Attention:
        """Attention of one query per sequence, `[R, H, D]`, to what is there."""
        return self.step(sequences, 0).attend(q, layer)

    def step(
        self,
        sequences: Sequence[int | None],
        tokens: int = 1,
        *,
        pages: int | None = None,
    ) -> Step:
        """Makes room for more tokens of each sequence, and says where they go.

        sequences: each once; None stands for a row that has none, so that a captured
          graph keeps its batch. Its output is 0.
        tokens: of each, in order; several need a spec with `shared_rows`. 0: only
          attends.
        pages: columns of the step's table; default: those of the spec, or what its
          sequences need. A graph that is replayed for later tokens needs those, too:
          `cache.max_pages`.
        """
        return Step(self, sequences, tokens, pages)

    def _given(self, tokens: int, keys: Any, values: Any):
        """Keys and values as arrays `[layers, tokens, ...]`."""
        spec, arrays = self.spec, []
        for name, x, dim in (
            ("keys", keys, spec.head_dim),
            ("values", values, spec.value_dim),
        ):
            shape = (self.layers, tokens, spec.kv_heads, dim)
            alone = self.layers == 1 and len(getattr(x, "shape", ())) == 3
            array = self._memory.given(
                f"cache: {name}", x, shape[1:] if alone else shape, spec.dtype
            )
            arrays.append(array[None] if alone else array)
        return arrays

    def _apply(self, changes: Changes) -> None:
        """Tells the device what the host decided."""
        upload = self._memory.upload
        if changes.copies:
            old, new = (upload(list(numbers)) for numbers in zip(*changes.copies))
            for arrays in self._arrays:
                for array in arrays.values():
                    array[new] = array[old]
        if changes.entries:
            rows, columns, pages = zip(*changes.entries)
            self._table[upload(list(rows)), upload(list(columns))] = upload(
                list(pages), "i32"
            )

    def _call(self, entry: str, layer: int, sequences: SequenceRows, **given: Any):
        """An entry with the arrays of a layer that it takes. `sequences` are the rows of
        its table."""
        arrays, own = self._arrays[layer], self._of_sequences[layer]
        call, arguments = self._entries[entry]
        for value in arguments:
            if value.name in arrays:
                array = arrays[value.name]
                given[value.name] = self._memory.argument(
                    array, self._types[value.name]
                )
        taken = sequences.take(own)
        results = call(**given, **taken)
        if any(value.name in taken and value.written for value in arguments):
            sequences.put(own, taken)
        return results


def _max_pages(spec, pages, sequences, max_length, layers) -> int:
    if not isinstance(spec, AttentionSpec):
        raise _check.refuse("cache: spec", "a vashista.AttentionSpec", repr(spec))
    _check.integer("cache: pages", pages, 1)
    _check.integer("cache: sequences", sequences, 1)
    _check.integer("cache: layers", layers, 1)
    most = _check.LARGEST
    if spec.max_pages is not None:
        most = spec.max_pages * spec.page_size
    if max_length is not None:
        _check.integer("cache: max_length", max_length, 1, most)
    if spec.max_pages is not None:
        return spec.max_pages
    if max_length is None:
        return pages
    return min(pages, -(-max_length // spec.page_size))
