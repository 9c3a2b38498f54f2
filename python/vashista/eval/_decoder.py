# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CodeLM, a Llama-style decoder, and dense attention: in NumPy or PyTorch."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from .. import as_bfloat16, bfloat16

_BLOCK = 1 << 26  # scores in memory at once


class Arrays:
    """What NumPy and PyTorch arrays differ in, as far as is needed here.

    Args:
      device: "numpy", or a device of PyTorch: "cpu", "cuda".
    """

    def __init__(self, device: str):
        self.device = device
        if device == "numpy":
            self.lib = np
            return
        import torch

        torch.set_grad_enabled(False)
        torch.backends.cuda.matmul.allow_tf32 = False
        self.lib = torch

    def of(self, x: np.ndarray):
        if self.lib is np:
            return x
        return self.lib.from_numpy(np.ascontiguousarray(x)).to(self.device)

    def numpy(self, x) -> np.ndarray:
        return x if self.lib is np else x.cpu().numpy()

    def double(self, x):
        return x.astype(np.float64) if self.lib is np else x.double()

    def single(self, x):
        return x.astype(np.float32) if self.lib is np else x.float()

    def narrow(self, x) -> np.ndarray:
        """The bits of f32 numbers rounded to bf16, to nearest, ties to even."""
        if self.lib is np:
            return as_bfloat16(np.ascontiguousarray(x)).bits
        bits = x.to(self.lib.bfloat16).contiguous().view(self.lib.int16)
        return bits.cpu().numpy().view(np.uint16)

    def widen(self, bits: np.ndarray):
        """bf16 bits as f32 numbers."""
        return self.of(bfloat16(bits).float32())


def probabilities(arrays: Arrays, q, k, lens):
    """Softmax of queries `[R, H, D]` over the first lens[r] keys `[T, Hkv, D]`.

    Returns `[R, H, T]`, in the queries' type.
    """
    lib, (rows, heads, dim), (tokens, kv) = arrays.lib, q.shape, k.shape[:2]
    grouped = q.reshape(rows, kv, heads // kv, dim) * dim**-0.5
    scores = lib.stack(
        [
            (grouped[:, i].reshape(-1, dim) @ k[:, i].T).reshape(rows, -1, tokens)
            for i in range(kv)
        ],
        1,
    ).reshape(rows, heads, tokens)
    seen = arrays.of(np.arange(tokens) < np.asarray(lens)[:, None])
    scores = lib.where(seen[:, None], scores, -np.inf)
    p = lib.exp(scores - lib.amax(scores, -1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def weigh(arrays: Arrays, p, v):
    """The mean of values `[T, Hkv, D]` under probabilities `[R, H, T]`."""
    (rows, heads, tokens), kv = p.shape, v.shape[1]
    grouped = p.reshape(rows, kv, heads // kv, tokens)
    return arrays.lib.stack(
        [
            (grouped[:, i].reshape(-1, tokens) @ v[:, i]).reshape(rows, heads // kv, -1)
            for i in range(kv)
        ],
        1,
    ).reshape(rows, heads, -1)


def blocks(rows: int, per_row: int):
    """Slices of rows whose scores fit in memory."""
    size = max(1, _BLOCK // per_row)
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


def attend(arrays: Arrays, q, k, v, lens):
    """Dense attention of queries `[R, H, D]` over keys and values `[T, Hkv, D]`."""
    parts = []
    for rows in blocks(len(q), q.shape[1] * len(k)):
        seen = int(np.max(lens[rows]))
        p = probabilities(arrays, q[rows], k[:seen], lens[rows])
        parts.append(weigh(arrays, p, v[:seen]))
    return arrays.lib.concatenate(parts, 0)


class Decoder:
    """The model of a folder with weights.json, weights.*.bin and eval_tokens.u16.

    RMSNorm, RoPE on the pairs (i, i + dim / 2), grouped queries, SwiGLU, tied
    embeddings; f32 arithmetic over the bf16 weights.
    """

    def __init__(self, folder: pathlib.Path, arrays: Arrays):
        meta = json.loads((folder / "weights.json").read_text())
        raw = b"".join(
            (folder / f"weights.{i}.bin").read_bytes() for i in range(meta["parts"])
        )
        flat, start = np.frombuffer(raw, np.uint16), 0
        self.arrays, self.weights = arrays, {}
        for name, shape in meta["order"].items():
            end = start + int(np.prod(shape))
            weight = bfloat16(flat[start:end]).float32().reshape(shape)
            self.weights[name] = arrays.of(weight)
            start = end
        if start != flat.size:
            raise ValueError(
                f"{folder}: expected {start} weights by weights.json, got {flat.size}"
            )
        cfg = meta["cfg"]
        self.layers, self.theta = cfg["layers"], cfg["theta"]
        self.heads, self.kv_heads, self.dim = cfg["hq"], cfg["hkv"], cfg["hd"]
        self.tokens = np.fromfile(folder / "eval_tokens.u16", np.uint16).astype(
            np.int64
        )

    def embed(self, ids: np.ndarray):
        return self.weights["emb.weight"][self.arrays.of(ids)]

    def project(self, layer: int, x, positions: np.ndarray):
        """Queries `[T, H, D]`, keys and values `[T, Hkv, D]`, rotated."""
        h = self._normalise(x, self._weight(layer, "n1"))
        q, k, v = (
            (h @ self._weight(layer, name).T).reshape(len(positions), -1, self.dim)
            for name in ("wq", "wk", "wv")
        )
        power = np.arange(self.dim // 2, dtype=np.float32) * (-2 / self.dim)
        angle = positions[:, None].astype(np.float32) * np.float32(self.theta) ** power
        cos = self.arrays.of(np.cos(angle, dtype=np.float32))[:, None]
        sin = self.arrays.of(np.sin(angle, dtype=np.float32))[:, None]
        return self._rotate(q, cos, sin), self._rotate(k, cos, sin), v

    def finish(self, layer: int, x, o):
        """The layer's output of its input and its attention output `[T, H, D]`."""
        x = x + o.reshape(len(x), -1) @ self._weight(layer, "wo").T
        h = self._normalise(x, self._weight(layer, "n2"))
        gate = h @ self._weight(layer, "w1").T
        gate = gate / (1 + self.arrays.lib.exp(-gate))
        return (
            x + (gate * (h @ self._weight(layer, "w3").T)) @ self._weight(layer, "w2").T
        )

    def log_probabilities(self, x):
        """Of the next token, `[T, vocabulary]`, f64."""
        lib, arrays = self.arrays.lib, self.arrays
        h = self._normalise(x, self.weights["nf.weight"])
        logits = arrays.double(h @ self.weights["emb.weight"].T)
        logits = logits - lib.amax(logits, -1, keepdims=True)
        return logits - lib.log(lib.exp(logits).sum(-1, keepdims=True))

    def _weight(self, layer: int, name: str):
        return self.weights[f"blocks.{layer}.{name}.weight"]

    def _normalise(self, x, weight):
        square = (x * x).mean(-1, keepdims=True)
        return (
            x / self.arrays.lib.sqrt(square + float(np.finfo(np.float32).eps)) * weight
        )

    def _rotate(self, x, cos, sin):
        a, b = x[..., : self.dim // 2], x[..., self.dim // 2 :]
        return self.arrays.lib.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
