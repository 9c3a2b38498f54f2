#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the traces of test/data/codelm from a copy of the CodeLM model.

Runs the decoder over the first 8,192 tokens of its held-out stream, in f32
with numpy, and prints how concentrated the attention of every layer and KV
head is. Writes the keys, the values and the last queries of two KV heads as
bfloat16 and prints what each file holds, and how far attention over the
rounded numbers, in f64, is from the attention output of the run.

The model's folder has weights.json, weights.*.bin (bfloat16, one after the
other in the order of weights.json) and eval_tokens.u16. One thread is used, so
that a second run writes the same bytes. Another BLAS or processor adds in
another order, so that a few numbers in ten thousand round the other way.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys

# Before numpy is loaded: its BLAS reads them only then.
for library in "OPENBLAS", "MKL", "OMP":
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np

TRACES = {"sharp": (2, 1), "diffuse": (0, 0)}  # the layer and KV head of each
TOKENS = 8192  # the window, from the start of the stream
STORED = 16  # query positions of a trace, the last of the window
MEASURED = 128  # query positions of the table, the last of the window
BLOCK = 512  # queries whose scores are in memory at once
TOP = 128  # tokens whose mass is given
SINK, RECENT = 16, 128  # first and last tokens, which selection always takes


def widen(bits):
    """Returns the f32 numbers of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrow(numbers):
    """Returns the bits of f32 numbers rounded to bfloat16, ties to even."""
    if not np.isfinite(numbers).all():
        sys.exit("error: an activation is not finite")
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def load(folder):
    """Returns the configuration, the weights by name and the window's tokens."""
    meta = json.loads((folder / "weights.json").read_text())
    parts = [folder / f"weights.{part}.bin" for part in range(meta["parts"])]
    flat = np.concatenate([np.fromfile(part, "<u2") for part in parts])
    weights, start = {}, 0
    for name, shape in meta["order"].items():
        end = start + int(np.prod(shape))
        weights[name] = widen(flat[start:end]).reshape(shape)
        start = end
    if start != flat.size:
        sys.exit(f"error: weights.json names {start} of {flat.size} weights")
    return meta["cfg"], weights, np.fromfile(folder / "eval_tokens.u16", "<u2", TOKENS)


def normalise(x, weight):
    """RMSNorm; its epsilon is that of f32."""
    square = np.mean(x * x, axis=-1, keepdims=True)
    return x / np.sqrt(square + np.finfo(np.float32).eps) * weight


def rotation(size, theta):
    """Returns the cosines and sines [TOKENS, size / 2] of the f32 RoPE angles."""
    frequency = (theta ** (-np.arange(size // 2) * 2 / size)).astype(np.float32)
    angle = np.arange(TOKENS, dtype=np.float32)[:, None] * frequency
    angle = angle.astype(np.float64)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def rotate(x, cosine, sine):
    """Rotates the pairs (i, i + size / 2) of x [heads, TOKENS, size]."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)


def probabilities(q, k):
    """Causal softmax of queries [..., T, D] at the last T positions of k."""
    scores = q @ k.T * q.dtype.type(q.shape[-1] ** -0.5)
    position = np.arange(len(k) - q.shape[-2], len(k))
    scores = np.where(np.arange(len(k)) <= position[:, None], scores, -np.inf)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def attend(q, k, v):
    """Causal attention of one query head over the window."""
    ends = range(BLOCK, TOKENS + 1, BLOCK)
    return np.concatenate(
        [probabilities(q[end - BLOCK : end], k[:end]) @ v[:end] for end in ends]
    )


def run(cfg, weights, tokens):
    """Yields q, k, v and the attention output of each layer, by head."""
    turn = rotation(cfg["hd"], cfg["theta"])
    group = cfg["hq"] // cfg["hkv"]
    x = weights["emb.weight"][tokens]
    for layer in range(cfg["layers"]):
        n1, n2, wq, wk, wv, wo, w1, w2, w3 = (
            weights[f"blocks.{layer}.{name}.weight"]
            for name in ("n1", "n2", "wq", "wk", "wv", "wo", "w1", "w2", "w3")
        )
        h = normalise(x, n1)
        q, k, v = (
            (h @ w.T).reshape(TOKENS, -1, cfg["hd"]).swapaxes(0, 1).copy()
            for w in (wq, wk, wv)
        )
        q, k = rotate(q, *turn), rotate(k, *turn)
        heads = range(cfg["hq"])
        out = np.stack([attend(q[i], k[i // group], v[i // group]) for i in heads])
        yield q, k, v, out
        x = x + out.swapaxes(0, 1).reshape(TOKENS, -1) @ wo.T
        h = normalise(x, n2)
        gate = h @ w1.T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w3.T)) @ w2.T


def sharpness(p):
    """Returns the cells of a table's row, of probabilities [heads, T, TOKENS]."""
    support = np.exp(-np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1))
    largest = -np.sort(-p, axis=-1)
    mass = np.cumsum(largest, axis=-1)
    count = np.sum(mass < 0.99, axis=-1) + 1
    least = np.take_along_axis(largest, count[..., None] - 1, axis=-1)
    union = np.sum(np.any(p >= least, axis=0), axis=-1)
    token, position = np.arange(TOKENS), np.arange(TOKENS - p.shape[1], TOKENS)
    between = (token >= SINK) & (token <= position[:, None] - RECENT)
    top = mass[..., TOP - 1]
    return (
        f"{np.median(support):.1f} | {support.mean():.1f} | {np.median(count):.1f} | "
        f"{count.mean():.1f} | {count.max()} | {np.median(union):.1f} | "
        f"{top.mean():.4f} | {top.min():.4f} | {(p * between).sum(-1).mean():.4f} |"
    ), top


def heading(first):
    """Prints the head of a table of sharpness; first names its first columns."""
    print(
        f"\n| {first} | exp(H) median | mean | tokens for 99 % median | mean | most "
        f"| union median | top {TOP} mean | least | between |"
    )
    print("|" + "---|" * (first.count("|") + 10))


def write(folder, name, q, k, v):
    """Writes one trace as .npy files and returns its numbers in f64."""
    read = []
    for key, numbers in ("q", q), ("k", k), ("v", v):
        bits = narrow(numbers)
        np.save(folder / f"{name}.{key}.npy", bits)
        read.append(widen(bits).astype(np.float64))
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="the model's folder")
    parser.add_argument("output", type=pathlib.Path, help="the folder to write to")
    args = parser.parse_args()

    cfg, weights, tokens = load(args.model)
    group = cfg["hq"] // cfg["hkv"]
    args.output.mkdir(parents=True, exist_ok=True)
    written = {}
    heading("layer | KV head")
    for layer, (q, k, v, out) in enumerate(run(cfg, weights, tokens)):
        for head in range(cfg["hkv"]):
            mine = slice(head * group, (head + 1) * group)
            last = q[mine, -MEASURED:].astype(np.float64)
            cells, _ = sharpness(probabilities(last, k[head].astype(np.float64)))
            print(f"| {layer} | {head} | {cells}", flush=True)
            for name, place in TRACES.items():
                if place == (layer, head):
                    stored = q[mine, -STORED:].swapaxes(0, 1)
                    trace = write(args.output, name, stored, k[head], v[head])
                    written[name] = *trace, out[mine, -STORED:]

    tops, errors = {}, {}
    heading("trace")
    for name in TRACES:
        q, k, v, out = written[name]
        p = probabilities(q.swapaxes(0, 1), k)
        cells, tops[name] = sharpness(p)
        print(f"| {name} | {cells}")
        error = np.abs(p @ v - out)
        errors[name] = error.max(), np.sqrt(np.mean(error**2) / np.mean(out**2))
    for name, top in tops.items():
        print(f"\n| {name}: position |", *(f"head {i} |" for i in range(group)))
        print("|" + "---|" * (group + 1))
        for position, row in enumerate(top.T, TOKENS - STORED):
            print(f"| {position} |", *(f"{mass:.4f} |" for mass in row))
    print("\n| trace | largest difference | relative RMS |\n|---|---|---|")
    for name in TRACES:
        largest, relative = errors[name]
        print(f"| {name} | {largest:.2e} | {relative:.2e} |")
    print("\n| file | shape | bytes | SHA-256 |\n|---|---|---|---|")
    for name in TRACES:
        for key in "kvq":
            file = args.output / f"{name}.{key}.npy"
            data = file.read_bytes()
            shape = list(np.load(file).shape)
            digest = hashlib.sha256(data).hexdigest()
            print(f"| {file.name} | {shape} | {len(data)} | {digest} |")


if __name__ == "__main__":
    main()
