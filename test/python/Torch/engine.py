# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention over caches that an engine owns, in the layouts that engines have.

Compared with attention over plain lists of tokens, in float64.
"""

# REQUIRES: torch
# UNSUPPORTED: asan
# RUN: %torch_python %s

import os
import pathlib
import sys
import unittest
from unittest import mock

import numpy as np
import torch
import vashista
from vashista import AttentionSpec, Policy, Sketch
from vashista.engine import EngineLayer, options_from_environment, split

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import paged  # noqa: E402  what attention is, in float64

DEVICE = "cpu"
H, HKV, D, S, N = paged.H, paged.HKV, 16, 4, 24
CERTIFIED = {
    "policy": Policy.certified(0.3, candidates=64, sinks=1, window=3),
    "sketch": Sketch(),
}


def make_cache(form):
    """A cache of an engine, its memory in any order of dimensions."""
    sizes = {"2": 2, "n": N, "s": S, "h": HKV, "d": D}
    shape, _, memory = form.partition(" in ")
    memory = memory or shape
    cache = torch.full([sizes[c] for c in memory], torch.nan, device=DEVICE)
    return cache.permute([memory.index(c) for c in shape])


FORMS = {
    "2nshd": "nhd", "2nhsd": "hnd", "n2shd": "nhd", "n2hsd": "hnd",
    "2nshd in 2nhsd": "nhd", "n2shd in n2hsd": "nhd",
}  # fmt: skip


class EngineTest(unittest.TestCase):
    @staticmethod
    def prompts():
        """The error of SDPA in f32, which a GPU may multiply in fewer bits."""
        return 2e-5 if DEVICE == "cpu" else 2e-3

    def run_trace(self, cache, layout, **options):
        """Prompts in chunks and decoded tokens of three sequences, each checked."""
        pages = split(cache, layout)
        spec = AttentionSpec(
            H,
            HKV,
            D,
            scale=0.25,
            dtype="f32",
            page_size=S,
            layout=pages.layout,
            **options,
        )
        layer = EngineLayer(spec, pages)
        torch.manual_seed(0)
        table = torch.randperm(N, device=DEVICE)[:18].reshape(3, 6).int()
        tokens = [[torch.zeros(0, HKV, D)] * 2 for _ in range(3)]

        def draw(*rows):
            return (torch.randn(sum(rows), n, D, device=DEVICE) for n in (H, HKV, HKV))

        def add(row, k, v):
            tokens[row] = [
                torch.cat([old, x.cpu()]) for old, x in zip(tokens[row], (k, v))
            ]

        def want(row, q, end):
            k, v = (x[:end].double().numpy() for x in tokens[row])
            return paged.attend(q.double().cpu().numpy(), k, v, spec)[0]

        for chunks in ((9, 4, 0), (3, 0, 13), (1, 5, 2)):
            q, k, v = draw(*chunks)
            lengths = [len(t[0]) + n for t, n in zip(tokens, chunks)]
            out = layer.prefill(
                q, k, v, table * pages.factor, list(zip(chunks, lengths))
            )
            begin = 0
            for row, n in enumerate(chunks):
                add(row, k[begin : begin + n], v[begin : begin + n])
                for i in range(n):
                    got = out[begin + i].double().cpu().numpy()
                    wanted = want(row, q[begin + i], lengths[row] - n + i + 1)
                    np.testing.assert_allclose(got, wanted, rtol=0, atol=self.prompts())
                begin += n
        for _ in range(6):
            q, k, v = draw(3)
            # The middle row has no token, as a padded row of a captured graph.
            lens = torch.tensor(
                [len(tokens[0][0]) + 1, 0, len(tokens[2][0]) + 1], device=DEVICE
            ).int()
            layer.append(k, v, lens - 1, table * pages.factor)
            got = layer.decode(q, table * pages.factor, lens)
            for row in (0, 2):
                add(row, k[row : row + 1], v[row : row + 1])
                wanted = want(row, q[row], None)
                error = np.linalg.norm(
                    got.o[row].double().cpu().numpy() - wanted, axis=-1
                )
                if got.error is None:
                    self.assertLess(error.max(), 2e-5)
                else:
                    bound = got.error[row].double().cpu().numpy() + 2e-5
                    fell = got.flag[row].cpu().numpy().repeat(H // HKV)
                    self.assertTrue((fell | (error <= bound)).all())
            self.assertTrue((got.o[1] == 0).all())
        # A batch without any token writes none, whatever its table.
        before = cache.clone()
        none = torch.full_like(lens, -1)
        layer.append(k, v, none, torch.full_like(table, 7 * N))
        self.assertTrue(torch.equal(cache.nan_to_num(-1), before.nan_to_num(-1)))
        # What is kept is what all tokens at once give, bit for bit.
        if spec.kept:
            fresh = EngineLayer(spec, pages)
            lens = torch.tensor([len(t[0]) for t in tokens], device=DEVICE).int()
            fresh._call("summarize", table=table * pages.factor, lens=lens)
            for name in spec.kept:
                self.assertTrue(torch.equal(layer._arrays[name], fresh._arrays[name]))
        return layer, table

    def test_layouts(self):
        """Nothing is copied: it is the engine's own tensor that has the tokens."""
        for form, layout in FORMS.items():
            for options in ({}, CERTIFIED):
                with self.subTest(form=form, options=options):
                    cache = make_cache(form)
                    layer, table = self.run_trace(cache, layout, **options)
                    written = ~torch.isnan(cache)
                    dims = [form.index(c) for c in "n2hsd"]
                    by_page = written.permute(dims).flatten(1).any(1)
                    used = [19 + 0, 9, 15 + 6]  # tokens of each sequence at the end
                    pages = {
                        int(p) for row, n in zip(table, used) for p in row[: -(-n // S)]
                    }
                    self.assertEqual(set(by_page.nonzero().flatten().tolist()), pages)
                    self.assertEqual(layer.kept_bytes > 0, bool(options))

    def test_bytes(self):
        spec = AttentionSpec(
            H, HKV, D, scale=0.25, dtype="f32", page_size=S, layout="hnd", **CERTIFIED
        )
        layer = EngineLayer(spec, split(make_cache("2nhsd"), "hnd"))
        per_page = spec.page_bytes
        self.assertEqual(layer.kept_bytes, N * (per_page["sketch"] + per_page["norms"]))

    def test_environment(self):
        with mock.patch.dict(os.environ, clear=True):
            found = options_from_environment()
        nothing = {"summary": None, "sketch": None, "moments": False}
        self.assertEqual(found, {"policy": Policy(), **nothing})
        text = '{"candidates": 64, "tolerance": 0.3, "sketch": {"bits": 8}}'
        with mock.patch.dict(os.environ, VASHISTA_POLICY=text):
            found = options_from_environment()
        self.assertEqual(found["policy"], Policy(candidates=64, tolerance=0.3))
        self.assertEqual(found["sketch"], Sketch(bits=8))
        text = text.replace("{", '{"moments": true, ', 1)
        with mock.patch.dict(os.environ, VASHISTA_POLICY=text):
            self.assertTrue(options_from_environment()["moments"])
        for text in ("dense", '{"budget": 3}', "[]"):
            with mock.patch.dict(os.environ, VASHISTA_POLICY=text):
                with self.assertRaisesRegex(
                    vashista.Error, "VASHISTA_POLICY: expected JSON"
                ):
                    options_from_environment()

    def test_mistakes(self):
        spec = AttentionSpec(H, HKV, D, scale=0.25, dtype="f32", page_size=S)
        pages = split(make_cache("2nhsd"), "hnd")
        for message, call in (
            ("cache: expected [2, N, ...] or [N, 2, ...] of 5 dimensions, got [24, 3, 4]",
             lambda: split(torch.zeros(24, 3, 4), "hnd")),
            ("cache: expected pages whose numbers lie next to each other",
             lambda: split(make_cache("2nhsd in 2nhds"), "hnd")),
            ("engine: layout of the spec: expected nhd, got hnd",
             lambda: EngineLayer(spec, split(make_cache("2nshd"), "nhd"))),
            ("engine: pages of k: expected f32 [N, 2, 4, 16], got torch.float16",
             lambda: EngineLayer(spec, split(make_cache("2nhsd").half(), "hnd"))),
            ("engine: soft_cap: expected None: prompts go to SDPA, got 3.0",
             lambda: EngineLayer(
                 AttentionSpec(H, HKV, D, scale=0.25, dtype="f32", soft_cap=3.0), pages)),
            ("engine: moments: expected False: they are of sequences, and an engine's "
             "pages are of nobody, got True",
             lambda: EngineLayer(
                 AttentionSpec(H, HKV, D, scale=0.25, dtype="f32", moments=True,
                               **CERTIFIED), pages)),
        ):  # fmt: skip
            with self.subTest(message=message):
                with self.assertRaises(vashista.Error) as caught:
                    call()
                self.assertTrue(
                    str(caught.exception).startswith(message), caught.exception
                )


if __name__ == "__main__":
    for argument in [word for word in sys.argv if word.startswith("--device=")]:
        DEVICE = argument.split("=")[1]
        sys.argv.remove(argument)
    unittest.main()
