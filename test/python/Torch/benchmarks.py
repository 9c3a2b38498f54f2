# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs benchmarks/gpu_step.py on a CPU: everything but graphs, profiles and FlashInfer."""

# REQUIRES: torch
# UNSUPPORTED: asan
# RUN: %torch_python %s

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "benchmarks"))

import _inputs
import _ours
import _peers
import _timing
import _traces
import gpu_step
import numpy as np
import torch
from _shapes import OURS, Shape, of_trace

SHAPE = "2x2x2x1000"


def run(*words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = gpu_step.main([str(w) for w in words])
    return code, out.getvalue(), errors.getvalue()


class BenchmarkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.json = cls.folder / "r.json"
        cls.options = ["--device", "cpu", "--artefacts", cls.folder / "artefacts"]
        cls.options += ["--rounds", 2, "--replays", 2, "--json", cls.json]

    def measure(self, *words, code=0):
        got, out, errors = run(*self.options, *words)
        self.assertEqual(got, code, errors)
        found = json.loads(self.json.read_text())
        self.assertEqual(found["kind"], "gpu_step")
        (entry,) = found["results"]["shapes"]
        return entry, out, errors

    def check(self, entry):
        steps = entry["steps"]
        self.assertEqual(list(steps), [*OURS, "sdpa"])
        for name, step in steps.items():
            self.assertGreater(step["seconds"], 0, name)
            self.assertEqual(len(step["rounds"]), 2)
            self.assertNotIn("launches", step)
            self.assertLess(step["replayed"], 1e-6)
        for name in ("dense", "certified"):
            self.assertLess(steps["dense"]["found"]["error"], 1e-4)
        # On a CPU a first round promises all that scores do: some rows are short.
        once = steps["certified"]["found"]
        self.assertEqual(once["false"], 0)
        self.assertLess(0, once["fallback"])
        found = steps["tworounds"]["found"]
        self.assertEqual((found["false"], found["proved"]), (0, 1))
        self.assertLess(0, found["tau_true"])
        self.assertLess(found["tau_true"], found["tau"])
        self.assertLess(0.05, found["share"])
        self.assertLess(found["share"], 0.4)

    def test_random(self):
        entry, out, errors = self.measure("--shapes", SHAPE)
        self.check(entry)
        self.assertLess(entry["steps"]["sdpa"]["difference"], _peers.TOLERANCE)
        self.assertIn("flashinfer: ", errors)
        self.assertIn("left out", errors)
        self.assertIn("| 2, 2, 2, 1,000 |", out)
        words = ["--shapes", SHAPE, "--steps", "mean", "--skip-peers"]
        _, _, errors = self.measure(*words)
        self.assertNotIn("flashinfer", errors)

    def test_trace(self):
        rng, path = np.random.default_rng(0), self.folder / "trace.npz"
        k, v = rng.standard_normal((2, 600, 2, 128))
        q = 4 * rng.standard_normal((6, 4, 128))
        bits = torch.from_numpy(k).bfloat16().view(torch.int16).numpy().view(np.uint16)
        np.savez(path, q=q.astype(np.float16), k=bits, v=v)
        trace, shape = _traces.read(path), of_trace(path, 3)
        torch.testing.assert_close(
            trace["k"].double(), torch.from_numpy(k), rtol=0.01, atol=0
        )
        inputs = _traces.Trace(trace, shape, 2, torch.device("cpu"))
        self.assertEqual(inputs.lens.tolist(), [598, 599, 600])
        self.assertTrue(torch.equal(inputs.q[1], trace["q"][3:]))
        for copy, row in ((0, 0), (1, 2)):
            own = inputs.sequence(inputs.k, copy, row)
            self.assertTrue(torch.equal(own, trace["k"].transpose(0, 1)))
        # No page belongs to two.
        self.assertEqual(len(inputs.table.unique()), inputs.table.numel())
        entry, out, _ = self.measure("--trace", path, "--rows", 3)
        self.check(entry)
        self.assertIn("| 3, 2, 2, 600 (trace) |", out)
        # It sees tokens that rows do not.
        self.assertIsNone(entry["steps"]["sdpa"]["difference"])

    def test_what_is_wrong_is_seen(self):
        def lying(self, number, call=_ours.Ours.__call__):
            output = call(self, number)
            if self.variant == "certified":
                o, lse, tau, *others = self.results
                self.results = (o, lse, 0.01 * tau, *others)
            return output

        with mock.patch.object(_ours.Ours, "__call__", lying):
            words = ["--shapes", SHAPE, "--steps", "certified", "--skip-peers"]
            entry, _, errors = self.measure(*words, code=1)
        self.assertGreater(entry["steps"]["certified"]["found"]["false"], 0)
        self.assertIn("error: 2x2x2x1000: certified: a certificate is false", errors)

        call = _peers.SDPA.__call__
        wrong = lambda self, copy: call(self, copy) * 1.1  # noqa: E731
        with mock.patch.object(_peers.SDPA, "__call__", wrong):
            words = ["--shapes", SHAPE, "--steps", "dense"]
            _, _, errors = self.measure(*words, code=1)
        self.assertIn("error: 2x2x2x1000: cuDNN differs", errors)

        def broken(self, copy):
            raise RuntimeError("no such\nkernel")

        with mock.patch.object(_peers.SDPA, "__call__", broken):
            entry, out, _ = self.measure(*words)
        self.assertNotIn("sdpa", entry["steps"])
        self.assertIn("cuDNN: RuntimeError: ", out)


class PartsTest(unittest.TestCase):
    def test_whole(self):
        inputs = _inputs.Inputs(Shape(2, 3, 2, 40), 2, torch.device("cpu"))
        self.assertTrue(inputs.even)
        k, _ = inputs.whole
        self.assertEqual(k.shape, (2, 2, 3, 40, 128))
        page = int(inputs.table[1, 0, 2])
        self.assertTrue(torch.equal(k[1, 0, :, 32:], inputs.k[page, :, :8]))

    def test_kernels_of_calls(self):
        names = ["spin", "a", "b", "spin", "a", "b", "spin", "c", "spin", "c", "spin"]
        events = [(i, i / 8, f"void {name}_kernel") for i, name in enumerate(names)]
        first, second = _timing.split(events, 2, 2)
        self.assertEqual(first["names"], ["void a_kernel", "void b_kernel"])
        self.assertEqual(first["seconds"], [2.5 / 8, 3.5 / 8])
        # The second one ends so much later than the first.
        self.assertEqual(first["added"], [2.5 / 8, 1 + 1 / 8])
        self.assertEqual(
            second, {"names": ["void c_kernel"], "seconds": [1.0], "added": [1.0]}
        )
        self.assertEqual(_timing.split(events[:-1], 2, 2), [None, None])
        events[4] = (4, 1, "void x")
        first, second = _timing.split(events, 2, 2)
        self.assertIsNone(first)
        self.assertEqual(second["seconds"], [1.0])

    def test_kernels_that_overlap(self):
        # The second one waits beside the first, the third is done before it.
        events = [(0, 0, "spin"), (1, 3, "a"), (2, 4, "b"), (3, 1, "c"), (9, 0, "spin")]
        (found,) = _timing.split(events, 1, 1)
        self.assertEqual(found["seconds"], [3, 4, 1])
        self.assertEqual(found["added"], [3, 2, 0])

    def test_no_flashinfer(self):
        with mock.patch.dict(sys.modules, {"flashinfer": None}):
            library, says = _peers.flashinfer()
        self.assertIsNone(library)
        self.assertIn("not importable (", says)


if __name__ == "__main__":
    unittest.main()
