# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluates compiled attention on a tiny decoder of random weights.

Dense decoding is compared with a plain forward pass in float64.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import contextlib
import dataclasses
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))

import numpy as np
import vashista
from tiny_decoder import CFG, make_decoder
from vashista.eval import __main__ as program
from vashista.eval._decoder import Arrays, Decoder
from vashista.eval._measure import Evaluation
from vashista.eval._step import Heads, Setting, Step

CONTEXT, DECODED, WINDOWS = 192, 10, 2
SKETCH = "bits = 4, group = 32, rotation = hadamard, norm = token"
SETTING = Setting(
    "tiny", SKETCH, tolerance=0.3, candidates=192, sinks=2, window=8, page_size=8
)


def forward(weights, ids):
    """Log-probabilities after each token, in float64; the cache is bf16."""

    def normalise(x, w):
        return (
            x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(np.float32).eps) * w
        )

    def rotate(x):
        half = CFG["hd"] // 2
        angle = np.arange(len(ids))[:, None, None] * CFG["theta"] ** (
            -np.arange(half) / half
        )
        a, b = x[..., :half], x[..., half:]
        c, s = np.cos(angle), np.sin(angle)
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    def cached(x):
        return vashista.as_bfloat16(x.astype(np.float32)).float32().astype(np.float64)

    x = weights["emb.weight"][ids]
    for layer in range(CFG["layers"]):
        w = {
            n.split(".")[2]: v
            for n, v in weights.items()
            if n.startswith(f"blocks.{layer}.")
        }
        h = normalise(x, w["n1"])
        q, k, v = (
            (h @ w[n].T).reshape(len(ids), -1, CFG["hd"]) for n in ("wq", "wk", "wv")
        )
        q, k, v = rotate(q), cached(rotate(k)), cached(v)
        k, v = (np.repeat(t, CFG["hq"] // CFG["hkv"], 1) for t in (k, v))
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(CFG["hd"])
        s[:, np.triu(np.ones((len(ids), len(ids)), bool), 1)] = -np.inf
        p = np.exp(s - s.max(-1, keepdims=True))
        o = np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v)
        x = x + o.reshape(len(ids), -1) @ w["wo"].T
        h = normalise(x, w["n2"])
        gate = h @ w["w1"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["w3"].T)) @ w["w2"].T
    logits = normalise(x, weights["nf.weight"]) @ weights["emb.weight"].T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class EvalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.weights, cls.tokens = make_decoder(cls.folder, WINDOWS * CONTEXT + 1)
        cls.decoder = Decoder(cls.folder, Arrays("numpy"))
        cls.evaluation = Evaluation(cls.decoder, WINDOWS, CONTEXT, DECODED)

    def measure(self, **changes):
        setting = dataclasses.replace(SETTING, **changes)
        heads = Heads(CFG["hq"], CFG["hkv"], CFG["hd"])
        step = Step(setting, SKETCH, heads, self.folder / "artefacts", "cpu")
        return self.evaluation.measure(setting, [step] * CFG["layers"])

    def test_dense(self):
        for i, window in enumerate(self.evaluation.windows):
            ids = self.tokens[i * CONTEXT : (i + 1) * CONTEXT]
            expected = forward(self.weights, ids)[-DECODED:]
            np.testing.assert_allclose(window.logp, expected, rtol=0, atol=2e-3)

    def test_certified(self):
        got = self.measure()
        self.assertEqual(got["rows"], CFG["layers"] * WINDOWS * DECODED * CFG["hq"])
        whole = got["whole"]
        self.assertEqual((whole["false"], whole["unproved"]), (0, 0))
        self.assertEqual((whole["proved"], whole["fallback"]), (1.0, 0.0))
        # Something was left out, and less than proved, which is at most allowed.
        self.assertLess(0.001, whole["tau_true"])
        self.assertLess(whole["tau_true"], whole["tau"])
        self.assertLessEqual(whole["tau"], SETTING.tolerance)
        self.assertGreater(whole["kl"], 1e-6)
        # The union of a group holds what each of its heads needs.
        self.assertGreater(whole["tokens"], whole["alone"])
        self.assertLess(whole["tokens"], 0.98)
        # 16 + 1 + 1 bytes of sketch, 8 of page norms for 8 tokens; of 128.
        self.assertAlmostEqual(whole["scan"], (16 + 1 + 1 + 1) / 128)
        self.assertAlmostEqual(whole["bytes"], whole["scan"] + whole["tokens"])

    def test_tight_is_dense(self):
        whole = self.measure(tolerance=1e-5)["whole"]
        self.assertEqual((whole["false"], whole["unproved"]), (0, 0))
        self.assertLess(whole["tau_true"], 1e-5)
        self.assertLess(whole["kl"], 1e-7)
        self.assertGreater(whole["tokens"], 0.9)

    def test_cap(self):
        whole = self.measure(candidates=16)["whole"]
        self.assertEqual((whole["false"], whole["unproved"]), (0, 0))
        self.assertGreater(whole["fallback"], 0)
        self.assertGreater(whole["proved"] + whole["fallback"], 0.5)
        self.assertAlmostEqual(
            whole["bytes"], whole["scan"] + whole["tokens"] + whole["fallback"]
        )

    def test_wrong_certificates_are_seen(self):
        run = Step.run

        def lie(scale_tau, scale_error):
            def lying(*args):
                (o, lse, tau, error, *rest), lists = run(*args)
                return (o, lse, scale_tau * tau, scale_error * error, *rest), lists

            return mock.patch.object(Step, "run", lying)

        for lies in (0.01, 1), (1, 0.01):
            with self.subTest(lies=lies), lie(*lies):
                self.assertGreater(self.measure()["whole"]["false"], 0)
        with lie(10, 1):
            whole = self.measure()["whole"]
            self.assertGreater(whole["unproved"], 0)
            self.assertLess(whole["proved"], 1)

    def run_program(self, settings, *options):
        path = self.folder / "settings.json"
        path.write_text(json.dumps(settings))
        words = ["--codelm", str(self.folder), "--settings", str(path)]
        words += ["--windows", str(WINDOWS), "--context", str(CONTEXT)]
        words += [
            "--decoded",
            str(DECODED),
            "--artefacts",
            str(self.folder / "artefacts"),
        ]
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = program.main(words + list(options))
        return code, out.getvalue(), errors.getvalue()

    def test_program(self):
        settings = [
            dataclasses.asdict(SETTING),
            dataclasses.asdict(SETTING)
            | {"name": "by layer", "sketch": [SKETCH, SKETCH.replace("4", "8")]},
        ]
        path = self.folder / "results.json"
        code, out, errors = self.run_program(settings, "--json", str(path))
        self.assertEqual((code, errors), (0, ""))
        for text in (
            "| tiny |",
            "| by layer |",
            ": 0 false certificates, 0 rows neither",
        ):
            self.assertIn(text, out)
        stored = json.loads(path.read_text())
        self.assertEqual(stored["kind"], "layers")
        # Folders are nobody else's.
        self.assertNotIn(str(self.folder), stored["command"])
        self.assertIn("--codelm CODELM", stored["command"])
        results = stored["results"]
        self.assertEqual([r["setting"]["name"] for r in results], ["tiny", "by layer"])
        scans = [layer["scan"] for layer in results[1]["layers"]]
        self.assertAlmostEqual(scans[1] - scans[0], 16 / 128)
        ppl = [r["whole"]["ppl"] for r in results]
        expected = 100 * np.expm1(np.mean(results[0]["window_loss"]))
        self.assertAlmostEqual(ppl[0], expected)

    def test_refuses(self):
        one = dataclasses.asdict(SETTING) | {"sketch": [SKETCH]}
        self.assertEqual(
            self.run_program([one]),
            (
                1,
                "",
                "error: setting 'tiny': expected a sketch or 2 of them, one per layer, "
                "got 1\n",
            ),
        )
        code, _, errors = self.run_program(
            [dataclasses.asdict(SETTING)], "--windows", "3"
        )
        self.assertEqual(
            (code, errors),
            (1, "error: expected 577 tokens for 3 windows of 192, got 385\n"),
        )


if __name__ == "__main__":
    unittest.main()
