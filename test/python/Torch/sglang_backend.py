# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The backend for SGLang against its interface as recorded.

Not a run of SGLang: see Inputs/recorded/README.md.
"""

# REQUIRES: torch
# UNSUPPORTED: asan
# RUN: %torch_python %s

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
from sglang.srt import server_args  # noqa: E402
from sglang.srt.layers.attention import (
    attention_registry,
    base_attn_backend,
)  # noqa: E402
from vashista import sglang as adapter  # noqa: E402

H, HKV, D, DV, S, PAGES, WIDTH, LAYERS = paged.H, paged.HKV, 16, 8, 4, 40, 8, 2
POLICY = (
    '{"candidates": 64, "sinks": 1, "window": 3, "pick": "proving", "tolerance": 1e-4,'
    ' "rounds": 2, "fallback": "dense", "sketch": {"bits": 8}}'
)


class Mode:
    def __init__(self, decodes):
        self.decodes = decodes

    def is_decode(self):
        return self.decodes


class Engine:
    """What SGLang holds: pools of slots and of requests."""

    def __init__(self):
        torch.manual_seed(0)
        # One page more than it gives to requests, as SGLang has it.
        self.pools = [
            [torch.full(((PAGES + 1) * S, HKV, d), torch.nan) for d in (D, DV)]
            for _ in range(LAYERS)
        ]
        pages = 1 + torch.randperm(PAGES)[: 4 * WIDTH].reshape(4, WIDTH)
        slots = (pages[..., None] * S + torch.arange(S)).flatten(1).int()
        pool = types.SimpleNamespace(
            get_key_buffer=lambda i: self.pools[i][0],
            get_value_buffer=lambda i: self.pools[i][1],
        )
        self.slots = slots
        self.backend = adapter.VashistaAttnBackend(
            types.SimpleNamespace(
                page_size=S,
                req_to_token_pool=types.SimpleNamespace(req_to_token=slots),
                token_to_kv_pool=pool,
            )
        )
        self.tokens = [
            [[torch.zeros(0, HKV, d) for d in (D, DV)] for _ in range(LAYERS)]
            for _ in range(4)
        ]

    def layer(self, number):
        return types.SimpleNamespace(
            layer_id=number, tp_q_head_num=H, tp_k_head_num=HKV, qk_head_dim=D,
            v_head_dim=DV, scaling=0.25, logit_cap=0.0, sliding_window_size=-1,
        )  # fmt: skip

    def forward(self, batch, decodes, padding=0, graph=False):
        """A batch of (request, tokens) through all layers, compared with float64."""
        old = [len(self.tokens[r][0][0]) for r, _ in batch]
        lens = [n + m for n, (_, m) in zip(old, batch)] + [0] * padding
        requests = torch.tensor([r for r, _ in batch] + [0] * padding)
        forward_batch = types.SimpleNamespace(
            forward_mode=Mode(decodes),
            req_pool_indices=requests,
            seq_lens=torch.tensor(lens),
            seq_lens_cpu=lens,
            extend_seq_lens_cpu=[m for _, m in batch],
        )
        if graph:
            self.backend.init_forward_metadata_replay_cuda_graph(
                len(lens),
                requests,
                torch.tensor(lens),
                sum(lens),
                None,
                Mode(True),
                None,
                None,
            )
        else:
            self.backend.init_forward_metadata(forward_batch)
        call = self.backend.forward_decode if decodes else self.backend.forward_extend
        total = sum(m for _, m in batch) + padding
        for number in range(LAYERS):
            q, k = torch.randn(total, H * D), torch.randn(total, HKV * D)
            v = torch.randn(total, HKV * DV)
            got = call(q, k, v, self.layer(number), forward_batch)
            assert got.shape == (total, H * DV) and got.dtype == q.dtype
            at = 0
            for (request, m), before in zip(batch, old):
                new = [x.view(total, HKV, -1)[at : at + m] for x in (k, v)]
                have = self.tokens[request][number]
                self.tokens[request][number] = [torch.cat(p) for p in zip(have, new)]
                for i in range(m):
                    keys, values = (
                        x[: before + i + 1].double().numpy()
                        for x in self.tokens[request][number]
                    )
                    spec = types.SimpleNamespace(scale=0.25, soft_cap=None)
                    query = q[at + i].view(H, D).double().numpy()
                    want = paged.attend(query, keys, values, spec)[0]
                    np.testing.assert_allclose(
                        got[at + i].view(H, DV).double().numpy(),
                        want,
                        rtol=0,
                        atol=5e-3,
                    )
                at += m
            assert (got[at:] == 0).all()


class SglangTest(unittest.TestCase):
    def test_batches(self):
        for policy in ("{}", POLICY):
            with (
                self.subTest(policy=policy),
                mock.patch.dict(os.environ, VASHISTA_POLICY=policy),
            ):
                engine = Engine()
                engine.forward([(0, 7), (2, 12)], False)
                engine.forward([(0, 1), (2, 1)], True)
                engine.forward([(1, 3), (0, 6)], False)
                engine.backend.init_cuda_graph_state(4, 4)
                first = engine.backend._graph.table.data_ptr()
                for _ in range(5):
                    engine.forward(
                        [(2, 1), (0, 1), (1, 1)], True, padding=1, graph=True
                    )
                    self.assertEqual(engine.backend._metadata.table.data_ptr(), first)
                engine.forward([(3, 2)], False)
                # Every token is in its slot, and nothing else was written.
                for number, pools in enumerate(engine.pools):
                    count = 0
                    for request, layers in enumerate(engine.tokens):
                        for pool, tokens in zip(pools, layers[number]):
                            slots = engine.slots[request, : len(tokens)].long()
                            self.assertTrue(torch.equal(pool[slots], tokens))
                        count += len(tokens)
                    for pool in pools:
                        self.assertEqual(
                            int((~torch.isnan(pool)).any((1, 2)).sum()), count
                        )

    def test_interface(self):
        base, own = base_attn_backend.AttentionBackend, adapter.VashistaAttnBackend
        for name, function in vars(base).items():
            if name.startswith("_"):
                continue
            mine, theirs = (
                inspect.signature(f).parameters.values()
                for f in (getattr(own, name), function)
            )
            self.assertIn(name, vars(own))
            self.assertEqual(
                [(p.name, p.default) for p in mine],
                [(p.name, p.default) for p in theirs],
                name,
            )

    def test_registration(self):
        adapter.register()
        self.assertEqual(server_args.CHOICES, ["vashista"])
        found = attention_registry.ATTENTION_BACKENDS["vashista"]
        self.assertIs(found, adapter.VashistaAttnBackend)
        project = (HERE.parents[3] / "pyproject.toml").read_text()
        self.assertIn('vashista = "vashista.sglang:register"', project)

    def test_mistakes(self):
        engine = Engine()
        for message, change in (
            ("logit_cap of a layer: expected none, got 30.0", {"logit_cap": 30.0}),
            (
                "sliding_window_size of a layer: expected none, got 64",
                {"sliding_window_size": 64},
            ),
        ):
            layer = types.SimpleNamespace(**{**vars(engine.layer(0)), **change})
            with self.assertRaisesRegex(vashista.Error, message):
                engine.backend.forward_decode(None, None, None, layer, None)
        engine.backend.init_cuda_graph_state(4, 4)
        with self.assertRaisesRegex(
            vashista.Error, "graphs: expected of decoded tokens"
        ):
            engine.backend.init_forward_metadata_capture_cuda_graph(
                1, 1, torch.zeros(1), torch.ones(1), None, Mode(False), None
            )


if __name__ == "__main__":
    unittest.main()
