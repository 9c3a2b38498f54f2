# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows of one step of a paged cache: where tokens go, and what queries see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from . import _check

if TYPE_CHECKING:
    from ._artefact import Value
    from .paged import PagedKVCache


class Attention(NamedTuple):
    """What a decode step returns, arrays of the cache's library and device.

    Without a tolerance, None but for o and lse.
    """

    o: Any
    """`[R, H, Dv]` f32: the attention's output."""
    lse: Any
    """`[R, H]` f32: log-sum-exp of the attended logits, natural logarithm."""
    tau: Any = None
    """`[R, H]` f32: the share of the mass that may not have been attended, at most."""
    error: Any = None
    """`[R, H]` f32: the Euclidean norm of the error of o, at most."""
    rounds: Any = None
    """`[R, Hkv]` i32: times that a group's budget was spent."""
    flag: Any = None
    """`[R, Hkv]` bool: whether a group fell back to dense attention."""
    faults: Any = None
    """`[R, 4]` i32, of what was compiled with --checked: what it found in each row."""

    @classmethod
    def of(cls, values: Sequence[Value], results: Sequence[Any]) -> Attention:
        """Of the results of an entry, as it describes them."""
        own, faults = [], None
        for value, x in zip(values, results):
            if value.faults:
                faults = x
            else:
                own.append(x)
        return cls(*own)._replace(faults=faults)


class SequenceRows:
    """Sequences as rows of a table: what is kept of each, for a call.

    Neighbours are given where they are; others are copied, and what a call has written
    is copied back. A row without a sequence is zeros, which nobody reads again.
    """

    def __init__(self, cache: PagedKVCache, sequences: Sequence[int | None]):
        self.number, first = len(sequences), sequences[0]
        self._memory, self._types = cache._memory, cache.spec.kept_of_sequences
        self._there: slice | None = None
        if first is not None and list(sequences) == list(
            range(first, first + self.number)
        ):
            self._there = slice(first, first + self.number)
        elif self._types:
            there = [(row, s) for row, s in enumerate(sequences) if s is not None]
            # Known to the host, so that a call can be captured.
            self._at, self._numbers = (
                cache._memory.upload([pair[i] for pair in there]) for i in range(2)
            )
            self._any, self._all = bool(there), len(there) == self.number

    def take(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Arrays of all sequences, `[sequences, ...]`, as `[rows, ...]`."""
        return {name: self._take(array, name) for name, array in arrays.items()}

    def _take(self, array, name: str):
        if self._there is not None:
            return array[self._there]
        if self._all:
            return array[self._numbers]
        shape, dtype = self._types[name]
        taken = self._memory.zeros((self.number, *shape), dtype)
        if self._any:
            taken[self._at] = array[self._numbers]
        return taken

    def put(self, arrays: dict[str, Any], taken: dict[str, Any]) -> None:
        """Brings back what a call has written to what was taken."""
        if self._there is None and self._any:
            for name, rows in taken.items():
                new = rows if self._all else rows[self._at]
                arrays[name][self._numbers] = new


class Chunk:
    """Many tokens of sequences, written a layer at a time. Made by
    `PagedKVCache.chunk`."""

    def __init__(self, cache: PagedKVCache, sequences: Sequence[int], tokens: int):
        self.cache, self.tokens = cache, _check.integer("chunk: tokens", tokens, 0)
        self.sequences = _check.sequences("chunk: sequences", sequences)
        table, size, upload = cache._pages, cache.spec.page_size, cache._memory.upload
        starts = [table.length(s) for s in self.sequences]
        cache._apply(table.grow(self.sequences, tokens))
        whole = bool(cache.spec.kept_of_sequences)
        if not tokens or not starts:
            return
        pages, slots, touched, lens = [], [], [], []
        for sequence, start in zip(self.sequences, starts):
            own, first = table.pages(sequence), start // size
            at = range(start, start + tokens)
            pages += [own[i // size] for i in at]
            slots += [i % size for i in at]
            # The pages that are written; a first one that was begun before, whole. What
            # is kept of a sequence is rebuilt from all of its tokens.
            first = 0 if whole else first
            touched.append(own[first:])
            lens.append(start + tokens - first * size)
        # Rows of a table are equally long; what is past a length is not read.
        columns = max(map(len, touched))
        rows = [[*row, *[0] * (columns - len(row))] for row in touched]
        self._pages, self._slots = upload(pages), upload(slots)
        self._touched, self._lens = upload(rows, "i32"), upload(lens, "i32")
        self._kept = SequenceRows(cache, self.sequences)

    def write(self, keys: Any, values: Any, layer: int = 0) -> None:
        """Writes `[R, Hkv, D]` and `[R, Hkv, Dv]` of a layer, the tokens of a sequence
        next to each other, and rebuilds what is kept of their pages."""
        rows = len(self.sequences) * self.tokens
        self._write(*_new_tokens(self.cache, "chunk", keys, values, rows),
                    self.cache._layer(layer))  # fmt: skip

    def _write(self, keys, values, layer: int) -> None:
        if not len(keys):
            return
        cache = self.cache
        arrays = cache._arrays[layer]
        for array, new in ((arrays["k"], keys), (arrays["v"], values)):
            if cache.spec.layout == "hnd":
                array[self._pages, :, self._slots] = new
            else:
                array[self._pages, self._slots] = new
        if cache.spec.kept:
            cache._call(
                "summarize", layer, self._kept, table=self._touched, lens=self._lens
            )


class Step:
    """Rows of a decode step: where their tokens go, and what they see.

    Made by `PagedKVCache.step`. The arrays are the device's:

      table: `[B, M]` i32, one row per sequence.
      lens: `[R]` i32, the tokens that a row sees, its own included.
      positions: `[R]` i32, where its token goes; -1 for a row without a sequence.
      rows: `[R]` i32, the row of the table, where the spec has `shared_rows`.

    R is sequences times tokens, the tokens of a sequence next to each other. A step is of
    the cache as it is when it is made: forks, rollbacks and other steps of its sequences
    make it out of date.
    """

    def __init__(self, cache: PagedKVCache, sequences, tokens: int, pages: int | None):
        self.cache, self.tokens = cache, _check.integer("step: tokens", tokens, 0)
        self.sequences = _check.sequences("step: sequences", sequences)
        if not self.sequences:
            raise _check.refuse("step: sequences", "one or more", "none")
        if tokens > 1 and not cache.spec.shared_rows:
            raise _check.refuse(
                "step: tokens", "1 for a spec without shared_rows", tokens
            )
        if pages is not None:
            _check.integer("step: pages", pages, 1, cache.max_pages)
        known = cache.spec.max_pages
        if pages is not None and known is not None and pages != known:
            raise _check.refuse("step: pages", f"{known}, as the spec has", pages)
        self.pages = pages if known is None else known
        table, numbers = self._grow()
        self.table = table
        self._kept = SequenceRows(cache, self.sequences)
        upload = cache._memory.upload
        self.lens, self.positions, self.rows = (upload(n, "i32") for n in numbers)

    def next(self) -> None:
        """The step that follows: the next tokens of the same sequences.

        The arrays are written in place, by work on the current stream, so that a graph
        that was captured with them can be replayed. The table keeps its columns.
        """
        if self.tokens < 1:
            raise _check.refuse("step: tokens", "1 or more", self.tokens)
        self.pages = self.pages or int(self.table.shape[1])
        table, numbers = self._grow()
        self.table[...] = table
        for array, new in zip((self.lens, self.positions, self.rows), numbers):
            array[...] = self.cache._memory.upload(new, "i32")

    def _grow(self):
        """The table, and the numbers of lens, positions and rows, of a next step."""
        cache, tokens = self.cache, self.tokens
        there = [s for s in self.sequences if s is not None]
        size = cache.spec.page_size
        ends = [cache.length(s) + tokens for s in there]
        needed = max([1, *(-(-end // size) for end in ends)])
        if self.pages is not None and needed > self.pages:
            raise _check.refuse(
                "step: pages", f"at least {needed} for these sequences", self.pages
            )
        cache._apply(cache._pages.grow(there, tokens))
        lens, positions, rows = [], [], []
        for row, sequence in enumerate(self.sequences):
            end = cache.length(sequence) if sequence is not None else 0
            for i in range(max(tokens, 1)):
                position = end - tokens + i
                lens.append(position + 1 if tokens else end)
                positions.append(position)
                rows.append(row)
                if sequence is None:
                    lens[-1], positions[-1] = 0, -1
        slots = cache._memory.upload([s or 0 for s in self.sequences])
        table = cache._memory.take(cache._table, slots, self.pages or needed)
        return table, (lens, positions, rows)

    def arrays(self, layer: int = 0) -> dict[str, Any]:
        """What a layer has (`PagedKVCache.arrays`), as the step's calls are given it:
        what is kept of sequences is of the table's rows, and may be a copy."""
        own = self.cache._of_sequences[self.cache._layer(layer)]
        return {**self.cache.arrays(layer), **self._kept.take(own)}

    def _shared(self) -> dict[str, Any]:
        return {"rows": self.rows} if self.cache.spec.shared_rows else {}

    def append(self, key: Any, value: Any, layer: int = 0) -> None:
        """Writes the rows' keys `[R, Hkv, D]` and values `[R, Hkv, Dv]` of a layer, and
        brings what is kept of their pages up to date: one compiled call."""
        if not self.tokens:
            raise _check.refuse("step: append", "a step of 1 or more tokens", 0)
        rows = len(self.sequences) * self.tokens
        self._append(*_new_tokens(self.cache, "step", key, value, rows),
                     self.cache._layer(layer))  # fmt: skip

    def _append(self, key, value, layer: int) -> None:
        memory, dtype = self.cache._memory, self.cache.spec.dtype
        self.cache._call(
            "append",
            layer,
            self._kept,
            key=memory.argument(_contiguous(key), dtype),
            value=memory.argument(_contiguous(value), dtype),
            positions=self.positions,
            table=self.table,
            **self._shared(),
        )

    def attend(self, q: Any, layer: int = 0) -> Attention:
        """Attention of the rows' queries `[R, H, D]` to what they see of a layer."""
        spec, memory = self.cache.spec, self.cache._memory
        shape = (len(self.sequences) * max(self.tokens, 1), spec.heads, spec.head_dim)
        q = memory.given("step: q", q, shape, spec.dtype)
        results = self.cache._call(
            "decode",
            self.cache._layer(layer),
            self._kept,
            q=memory.argument(_contiguous(q), spec.dtype),
            table=self.table,
            lens=self.lens,
            **self._shared(),
        )
        return Attention.of(self.cache.artefact["decode"].results, results)


def _new_tokens(
    cache: PagedKVCache, what: str, key: Any, value: Any, rows: int
) -> list:
    spec, arrays = cache.spec, []
    for name, x, dim in (("key", key, spec.head_dim), ("value", value, spec.value_dim)):
        shape = (rows, spec.kv_heads, dim)
        arrays.append(cache._memory.given(f"{what}: {name}", x, shape, spec.dtype))
    return arrays


def _contiguous(x: Any) -> Any:
    """Of queries and new tokens, which are small; caches are never copied."""
    if hasattr(x, "contiguous"):
        return x.contiguous()
    return x if x.flags.c_contiguous else x.copy()
