# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A decoder of random weights in the files that CodeLM has."""

import json

import numpy as np
import vashista

CFG = dict(vocab=61, d=32, layers=2, hq=4, hkv=2, hd=32, ff=48, theta=10000.0)


def make_decoder(folder, tokens):
    """Writes a decoder whose attention is neither flat nor a single token's, and some
    text. Returns its weights in float64, and the text."""
    rng = np.random.default_rng(0)
    d, kv, ff = CFG["d"], CFG["hkv"] * CFG["hd"], CFG["ff"]
    shapes = {"emb.weight": [CFG["vocab"], d], "nf.weight": [d]}
    for i in range(CFG["layers"]):
        shapes |= {f"blocks.{i}.n1.weight": [d], f"blocks.{i}.n2.weight": [d]}
        shapes |= {f"blocks.{i}.wq.weight": [CFG["hq"] * CFG["hd"], d]}
        shapes |= {f"blocks.{i}.{name}.weight": [kv, d] for name in ("wk", "wv")}
        shapes |= {f"blocks.{i}.wo.weight": [d, CFG["hq"] * CFG["hd"]]}
        shapes |= {f"blocks.{i}.{name}.weight": [ff, d] for name in ("w1", "w3")}
        shapes |= {f"blocks.{i}.w2.weight": [d, ff]}
    weights = [
        rng.standard_normal(shape) * (1 if len(shape) == 1 else 1.6 * shape[1] ** -0.5)
        for shape in shapes.values()
    ]
    flat = np.concatenate([w.ravel() for w in weights]).astype(np.float32)
    bits, half = vashista.as_bfloat16(flat).bits, flat.size // 2
    bits[:half].tofile(folder / "weights.0.bin")
    bits[half:].tofile(folder / "weights.1.bin")
    text = rng.integers(0, CFG["vocab"], tokens, np.uint16)
    text.tofile(folder / "eval_tokens.u16")
    meta = {"cfg": CFG, "parts": 2, "order": shapes}
    (folder / "weights.json").write_text(json.dumps(meta))
    start, read = 0, {}
    for name, shape in shapes.items():
        end = start + int(np.prod(shape))
        read[name] = vashista.bfloat16(bits[start:end]).float32().reshape(shape)
        start = end
    return {name: w.astype(np.float64) for name, w in read.items()}, text.astype(int)
