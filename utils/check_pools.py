#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares steps over a pool of billions of elements with those over a small one.

The same pages lie in a pool that they fill, and at the far end of one whose keys have
more than 2^31 elements and whose sketch has more than 2^31 bytes (--pages 300000, 25 GB
in all); whatever else is in that one is NaN. What is kept of the pages, a decode step,
and another one after a token was appended must be the same, bit for bit.

Needs PyTorch and a CUDA device; artefacts that were compiled elsewhere are found in
--artefacts.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

from run_shapes import STEPS  # noqa: E402
from vashista import AttentionSpec  # noqa: E402
from vashista.eval._artefacts import Artefacts  # noqa: E402

HEADS, KV_HEADS, DIM, SIZE = 32, 8, 128, 16
LENGTHS = (4000, 77, 0, 1024)


def spec_of(name: str) -> AttentionSpec:
    return AttentionSpec(
        HEADS, KV_HEADS, DIM, scale=DIM**-0.5, page_size=SIZE, **STEPS[name]
    )


class Pool:
    """Arrays of pages, and where those of the sequences are."""

    def __init__(self, torch, artefact, device, pages: int, ids, content):
        types = {
            "bf16": torch.bfloat16,
            "f32": torch.float32,
            "f16": torch.float16,
            "i8": torch.int8,
        }
        self.torch, self.artefact = torch, artefact
        self.arrays = {}
        for value in artefact["append"].arguments:
            if value.name in ("key", "value", "positions", "table"):
                continue
            shape = (pages, *(dim.size for dim in value.dims[1:]))
            dtype = types.get(value.dtype, torch.uint8)
            array = torch.empty(shape, dtype=dtype, device=device)
            # 0xff: NaN, too.
            array.view(torch.uint8).fill_(0xFF)
            self.arrays[value.name] = array
        for name in ("k", "v"):
            self.arrays[name][ids] = content[name]
        self.ids = ids
        per_row = -(-(max(LENGTHS) + 1) // SIZE)
        self.table = torch.full((len(LENGTHS), per_row), -1, dtype=torch.int32)
        first = 0
        for row, length in enumerate(LENGTHS):
            number = -(-(length + 1) // SIZE)
            self.table[row, :number] = ids[first : first + number].int()
            first += number
        self.table = self.table.to(device)

    def call(self, name: str, **given):
        entry = self.artefact[name]
        known = {"table": self.table, **self.arrays, **given}
        return entry(**{v.name: known[v.name] for v in entry.arguments})

    def kept(self):
        """What lies in the sequences' pages."""
        return [array[self.ids] for array in self.arrays.values()]


def compare(torch, name, artefact, pages, device):
    """What differs."""
    generator = torch.Generator(device).manual_seed(7)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, device=device).bfloat16()

    number = sum(-(-(length + 1) // SIZE) for length in LENGTHS)
    content = {n: draw(number, KV_HEADS, SIZE, DIM) for n in ("k", "v")}
    order = torch.randperm(number, generator=generator, device=device)
    far = pages - 1 - torch.arange(number, device=device) * 3
    rows = len(LENGTHS)
    q, key, value = 3 * draw(rows, HEADS, DIM), draw(rows, KV_HEADS, DIM), draw(rows, KV_HEADS, DIM)
    lens = torch.tensor(LENGTHS, dtype=torch.int32, device=device)
    found = []
    for size, ids in ((number, order), (pages, far)):
        # Pages of the sequences have the same content, wherever they are.
        pool = Pool(torch, artefact, device, size, ids, content)
        results = []
        if "summarize" in artefact:
            pool.call("summarize", lens=lens)
        results += [x.clone() for x in pool.kept()]
        results += list(pool.call("decode", q=q, lens=lens))
        pool.call("append", key=key, value=value, positions=lens)
        results += [x.clone() for x in pool.kept()]
        results += list(pool.call("decode", q=q, lens=lens + 1))
        found.append([x.contiguous().view(torch.uint8) for x in results])
        elements = max(a.numel() for a in pool.arrays.values())
        del pool, results
    differing = [i for i, (x, y) in enumerate(zip(*found)) if not torch.equal(x, y)]
    return differing, len(found[0]), elements


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=300_000, help="of the large pool")
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    parser.add_argument("--target", default="cuda:sm_90a", help="as of vashista-compile")
    parser.add_argument(
        "--artefacts", type=pathlib.Path, default=pathlib.Path("build/pools")
    )
    parser.add_argument("--compile-only", action="store_true")
    args = parser.parse_args()
    artefacts = Artefacts(args.artefacts, args.target, args.device)
    if args.compile_only:
        for name in STEPS:
            artefacts.make(spec_of(name).text)
        return 0
    try:
        import torch
    except ImportError as error:
        print(f"error: {error}; pools beyond 2^31 elements need PyTorch", file=sys.stderr)
        return 1

    wrong = 0
    for name in STEPS:
        artefact = artefacts.get(spec_of(name).text)
        differing, total, elements = compare(torch, name, artefact, args.pages, args.device)
        wrong += len(differing)
        print(
            f"{name}: {total} arrays, {len(differing)} differ, pool of "
            f"{elements:,} elements" + (f": {differing}" if differing else "")
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
