#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes traces for benchmarks/gpu_step.py: a layer's queries, keys and values.

Runs CodeLM densely over the first tokens of its held-out stream and stores, for each
layer asked for, the keys and values of all tokens and the queries of the last ones, after
RoPE and not scaled, as the bits of bf16: OUTPUT/codelm-LAYER.npz with q [rows, H, D], k
and v [T, Hkv, D]. Layers behind the last one asked for are not run.

Needs NumPy, and PyTorch for another device than numpy.
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

from vashista.eval._decoder import Arrays, Decoder, attend  # noqa: E402


def traces(decoder: Decoder, layers: list[int], context: int, rows: int):
    """Yields each layer, and its arrays by name."""
    arrays = decoder.arrays
    if not all(0 <= layer < decoder.layers for layer in layers):
        raise ValueError(f"expected layers below {decoder.layers}, got {layers}")
    if not 0 < rows <= context <= len(decoder.tokens):
        raise ValueError(
            f"expected rows up to the context, and that up to {len(decoder.tokens)}, "
            f"got {rows} and {context}"
        )
    positions = np.arange(context)
    x = decoder.embed(decoder.tokens[:context])
    for layer in range(max(layers) + 1):
        q, k, v = decoder.project(layer, x, positions)
        bits = {
            "q": arrays.narrow(q[-rows:]),
            "k": arrays.narrow(k),
            "v": arrays.narrow(v),
        }
        if layer in layers:
            yield layer, bits
        if layer < max(layers):
            k, v = arrays.widen(bits["k"]), arrays.widen(bits["v"])
            x = decoder.finish(layer, x, attend(arrays, q, k, v, positions + 1))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("codelm", type=pathlib.Path, help="the decoder's folder")
    add("output", type=pathlib.Path, help="the folder to write to")
    add("--layers", default="3", help="with commas, counted from 0 (3)")
    add("--context", type=int, default=32768, help="tokens (32768)")
    add("--rows", type=int, default=64, help="queries, the last ones (64)")
    add("--device", default="numpy", help="numpy (default), or PyTorch's name")
    args = parser.parse_args()
    try:
        decoder = Decoder(args.codelm, Arrays(args.device))
        layers = [int(word) for word in args.layers.split(",")]
        args.output.mkdir(parents=True, exist_ok=True)
        for layer, bits in traces(decoder, layers, args.context, args.rows):
            path = args.output / f"codelm-{layer}.npz"
            np.savez_compressed(path, **bits)
            print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
