# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The backend for vLLM against its interface as recorded, with mixed batches.

Not a run of vLLM: see Inputs/recorded/README.md.
"""

# REQUIRES: torch
# UNSUPPORTED: asan
# RUN: %torch_python %s

import importlib
import inspect
import os
import pathlib
import sys
import types
import unittest
from unittest import mock

import numpy as np
import torch
import vashista

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent / "Inputs" / "recorded"), str(HERE.parents[1])]
import paged  # noqa: E402  what attention is, in float64
from vashista import vllm as adapter  # noqa: E402
from vllm.v1.attention import backend as recorded  # noqa: E402
from vllm.v1.attention.backends import registry  # noqa: E402

H, HKV, D, S, BLOCKS, WIDTH = paged.H, paged.HKV, 16, 4, 32, 8
POLICY = (
    '{"candidates": 64, "sinks": 1, "window": 3, "pick": "proving", "tolerance": 1e-4,'
    ' "rounds": 2, "fallback": "dense", "sketch": {"bits": 8}}'
)


class Engine:
    """What vLLM holds: a cache, block tables, lengths."""

    def __init__(self, policy):
        self.policy = policy
        shape = adapter.VashistaBackend.get_kv_cache_shape(BLOCKS, S, HKV, D)
        self.cache = torch.full(shape, torch.nan)
        self.impl = adapter.VashistaBackend.get_impl_cls()(H, D, 0.25, HKV)
        builder = adapter.VashistaBackend.get_builder_cls()
        self.builder = builder(types.SimpleNamespace(block_size=S), ["0"], None, "cpu")
        torch.manual_seed(0)
        self.table = torch.randperm(BLOCKS)[: 4 * WIDTH].reshape(4, WIDTH).int()
        self.tokens = [[torch.zeros(0, HKV, D)] * 2 for _ in range(4)]

    def forward(self, batch, padding=0):
        """A batch of (request, tokens): returns outputs, and those wanted."""
        counts = [n for _, n in batch] + [1] * padding
        total = sum(counts)
        q, k, v = torch.randn(total, H, D), *torch.randn(2, total, HKV, D)
        slots, lens, rows, wanted, at = [], [], [], [], 0
        for request, n in batch:
            old = len(self.tokens[request][0])
            self.tokens[request] = [
                torch.cat([a, b[at : at + n]])
                for a, b in zip(self.tokens[request], (k, v))
            ]
            for i in range(n):
                block = self.table[request, (old + i) // S]
                slots.append(int(block) * S + (old + i) % S)
                keys, values = (
                    x[: old + i + 1].double().numpy() for x in self.tokens[request]
                )
                spec = types.SimpleNamespace(scale=0.25, soft_cap=None)
                query = q[at + i].double().numpy()
                wanted.append(paged.attend(query, keys, values, spec)[0])
            lens.append(old + n)
            rows.append(request)
            at += n
        starts = torch.tensor([0, *np.cumsum(counts)]).int()
        lens += [0] * padding
        meta = recorded.CommonAttentionMetadata(
            query_start_loc=starts,
            query_start_loc_cpu=starts,
            seq_lens=torch.tensor(lens).int(),
            num_reqs=len(counts),
            num_actual_tokens=total,
            max_query_len=max(counts),
            max_seq_len=max(lens),
            block_table_tensor=self.table[rows + [0] * padding],
            slot_mapping=torch.tensor(slots + [-1] * padding),
            seq_lens_cpu_upper_bound=torch.tensor(lens),
        )
        with mock.patch.dict(os.environ, VASHISTA_POLICY=self.policy):
            built = self.builder.build(0, meta)
            output = torch.full((total, H * D), torch.nan)
            got = self.impl.forward(None, q, k, v, self.cache, built, output)
        assert got is output
        return got.view(total, H, D).double().numpy(), wanted


class VllmTest(unittest.TestCase):
    def test_batches(self):
        """Prompts, chunks of prompts and decoded tokens, apart and together."""
        for policy in ("{}", POLICY):
            engine = Engine(policy)
            for batch in (
                [(0, 7)],
                [(0, 1), (1, 12), (2, 5)],
                [(0, 1), (1, 1), (2, 6), (3, 3)],
                [(3, 1), (0, 1), (1, 1), (2, 1)],
                [(1, 1), (0, 5)],
                [(0, 1), (1, 1), (2, 1), (3, 1)],
            ):
                got, wanted = engine.forward(batch)
                for x, y in zip(got, wanted, strict=True):
                    np.testing.assert_allclose(
                        x, y, rtol=0, atol=5e-3 if policy != "{}" else 2e-5
                    )
            got, wanted = engine.forward([(2, 1), (0, 1)], padding=2)
            np.testing.assert_allclose(got[:2], wanted, rtol=0, atol=5e-3)
            self.assertTrue((got[2:] == 0).all())
            # Every token is where its slot says, and nothing else was written.
            for request, (keys, values) in enumerate(engine.tokens):
                for i, (k, v) in enumerate(zip(keys, values)):
                    page, slot = engine.table[request, i // S], i % S
                    self.assertTrue(torch.equal(engine.cache[0, page, :, slot], k))
                    self.assertTrue(torch.equal(engine.cache[1, page, :, slot], v))
            total = sum(len(keys) for keys, _ in engine.tokens)
            written = ~torch.isnan(engine.cache)
            self.assertEqual(int(written.sum()), 2 * total * HKV * D)

    def test_interface(self):
        """Parameters by name, order and default are those that vLLM gives."""
        for own, base in (
            (adapter.VashistaImpl.__init__, recorded.AttentionImpl.__init__),
            (adapter.VashistaImpl.forward, recorded.AttentionImpl.forward),
            (adapter.VashistaBuilder.__init__, recorded.AttentionMetadataBuilder.__init__),
            (adapter.VashistaBuilder.build, recorded.AttentionMetadataBuilder.build),
            (adapter.VashistaBackend.get_kv_cache_shape,
             recorded.AttentionBackend.get_kv_cache_shape),
        ):  # fmt: skip
            mine, theirs = (
                inspect.signature(f).parameters.values() for f in (own, base)
            )
            self.assertEqual(
                [(p.name, p.default) for p in mine],
                [(p.name, p.default) for p in theirs],
            )
        adapter.VashistaBackend()  # has all that is abstract
        self.assertEqual(adapter.VashistaBackend.get_name(), "CUSTOM")

    def test_registration(self):
        """The entry point of the package makes the class known."""
        adapter.register()
        path = registry.OVERRIDES[registry.AttentionBackendEnum.CUSTOM]
        module, name = path.rsplit(".", 1)
        found = getattr(importlib.import_module(module), name)
        self.assertIs(found, adapter.VashistaBackend)
        project = (HERE.parents[3] / "pyproject.toml").read_text()
        self.assertIn('vashista = "vashista.vllm:register"', project)

    def test_profiling(self):
        impl = adapter.VashistaImpl(H, D, 0.25, HKV)
        output = torch.full((3, H * D), torch.nan)
        x = torch.zeros(3, H, D)
        got = impl.forward(None, x, x, x, torch.zeros(0), None, output)
        self.assertTrue((got == 0).all())

    def test_mistakes(self):
        for message, options in (
            ("alibi_slopes: expected None", {"alibi_slopes": [1.0]}),
            ("sliding_window: expected None, got 64", {"sliding_window": 64}),
            ("logits_soft_cap: expected None, got 30.0", {"logits_soft_cap": 30.0}),
            ("attn_type: expected", {"attn_type": recorded.AttentionType.ENCODER}),
        ):
            with self.assertRaisesRegex(vashista.Error, f"vashista: {message}"):
                adapter.VashistaImpl(H, D, 0.25, HKV, **options)

    def test_moments(self):
        """They are of sequences, which a block table does not name."""
        policy = '{"candidates": 64, "tolerance": 0.3, "sketch": {}, "moments": true}'
        cache = torch.zeros(2, 3, HKV, 16, D)
        with (
            mock.patch.dict(os.environ, VASHISTA_POLICY=policy),
            self.assertRaisesRegex(vashista.Error, "engine: moments: expected False"),
        ):
            adapter.VashistaImpl(H, D, 0.25, HKV)._get_layer(cache)


if __name__ == "__main__":
    unittest.main()
