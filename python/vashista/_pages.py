# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which pages hold which sequence: counts on the host, and nothing of a device."""

from __future__ import annotations

import collections
import dataclasses
from typing import Iterable, Sequence

from . import _check
from ._error import Error


@dataclasses.dataclass
class _Sequence:
    pages: list[int] = dataclasses.field(default_factory=list)
    length: int = 0


@dataclasses.dataclass
class Changes:
    """What a device must be told: entries of the table, and pages to copy."""

    entries: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    copies: list[tuple[int, int]] = dataclasses.field(default_factory=list)


class PageTable:
    """Pages of sequences, shared by their prefixes and copied when written.

    A page is free, or held by one or more sequences. One that several hold is only
    read: whoever writes to it gets a copy first.
    """

    def __init__(self, pages: int, sequences: int, page_size: int, max_pages: int):
        self.page_size, self.max_pages = page_size, max_pages
        self.num_sequences = sequences
        self._holders = [0] * pages
        # The lowest first, so that what is used lies together.
        self._free = list(range(pages - 1, -1, -1))
        self._sequences: dict[int, _Sequence] = {}

    @property
    def free_pages(self) -> int:
        return len(self._free)

    @property
    def sequences(self) -> tuple[int, ...]:
        return tuple(sorted(self._sequences))

    def _get(self, sequence: int) -> _Sequence:
        try:
            return self._sequences[sequence]
        except (KeyError, TypeError):
            known = ", ".join(map(str, self.sequences)) or "none"
            raise _check.refuse(
                "cache", f"a sequence of: {known}", repr(sequence)
            ) from None

    def length(self, sequence: int) -> int:
        return self._get(sequence).length

    def pages(self, sequence: int) -> tuple[int, ...]:
        return tuple(self._get(sequence).pages)

    def holders(self, page: int) -> int:
        return self._holders[page]

    def add(self) -> int:
        number = next(
            (i for i in range(self.num_sequences) if i not in self._sequences), None
        )
        if number is None:
            raise Error(
                "out of memory",
                f"cache: expected room for a sequence, got {self.num_sequences} of "
                f"{self.num_sequences} in use",
            )
        self._sequences[number] = _Sequence()
        return number

    def fork(self, sequence: int, length: int) -> tuple[int, Changes]:
        source = self._get(sequence)
        _check.integer("cache: length of a prefix", length, 0, source.length)
        number = self.add()
        pages = source.pages[: self._num_pages(length)]
        for page in pages:
            self._holders[page] += 1
        self._sequences[number] = _Sequence(list(pages), length)
        return number, Changes([(number, i, page) for i, page in enumerate(pages)])

    def free(self, sequence: int) -> None:
        self._release(self._get(sequence).pages)
        del self._sequences[sequence]

    def grow(self, sequences: Sequence[int], tokens: int) -> Changes:
        """Makes room for more tokens of each sequence, and counts them.

        Raises before anything is changed where there are too few pages.
        """
        if len(set(sequences)) != len(sequences):
            raise _check.refuse("cache", "each sequence once", list(sequences))
        needed = 0
        for number in sequences:
            sequence = self._get(number)
            pages = self._num_pages(sequence.length + tokens)
            # What a pool holds at most is a matter of its memory.
            if self.max_pages < min(pages, len(self._holders)):
                raise _check.refuse(
                    f"cache: sequence {number}",
                    f"at most {self.max_pages * self.page_size} tokens",
                    sequence.length + tokens,
                )
            needed += pages - len(sequence.pages)
        needed += self._count_copies(sequences, tokens)
        if needed > len(self._free):
            raise Error(
                "out of memory",
                f"cache: expected {needed} free pages for {tokens} more tokens of "
                f"{len(sequences)} sequences, got {len(self._free)}",
            )
        changes = Changes()
        for number in sequences:
            sequence = self._get(number)
            # Counted anew: a sequence before may have taken its copy of the page.
            if self._copies_last(sequence, tokens):
                last = len(sequence.pages) - 1
                old, new = sequence.pages[last], self._take()
                self._holders[old] -= 1
                sequence.pages[last] = new
                changes.copies.append((old, new))
                changes.entries.append((number, last, new))
            sequence.length += tokens
            while len(sequence.pages) < self._num_pages(sequence.length):
                changes.entries.append((number, len(sequence.pages), self._take()))
                sequence.pages.append(changes.entries[-1][2])
        return changes

    def shrink(self, sequence: int, tokens: int) -> None:
        found = self._get(sequence)
        _check.integer("cache: tokens to roll back", tokens, 0, found.length)
        found.length -= tokens
        kept = self._num_pages(found.length)
        self._release(found.pages[kept:])
        del found.pages[kept:]

    def _num_pages(self, length: int) -> int:
        return -(-length // self.page_size)

    def _copies_last(self, sequence: _Sequence, tokens: int) -> bool:
        """Whether the next token goes to a page that somebody else holds, too."""
        partial = sequence.length % self.page_size and tokens
        return bool(partial) and self._holders[sequence.pages[-1]] > 1

    def _count_copies(self, sequences: Sequence[int], tokens: int) -> int:
        """The last holder of a page keeps it, and all others that write to it copy."""
        writers = collections.Counter(
            self._sequences[number].pages[-1]
            for number in sequences
            if self._copies_last(self._sequences[number], tokens)
        )
        return sum(min(n, self._holders[page] - 1) for page, n in writers.items())

    def _take(self) -> int:
        page = self._free.pop()
        self._holders[page] = 1
        return page

    def _release(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._holders[page] -= 1
            if not self._holders[page]:
                self._free.append(page)
