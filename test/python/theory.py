# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The theory command: its parts against other ways to the same, its results, and
that it fails on a certificate that is false."""

# UNSUPPORTED: asan
# RUN: rm -rf %t
# RUN: %numpy_python %s %t

import contextlib
import io
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.dom.minidom

import numpy as np
import vashista
from vashista.theory import regimes, scaling
from vashista.theory.attention import EXACT, Attention, sketch
from vashista.theory.projection import logsumexp, project, project_entropic
from vashista.theory.report import Report, Violation
from vashista.theory.solvers import eg, frank_wolfe

FOLDER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else tempfile.mkdtemp())


def problems():
    rng = np.random.default_rng(0)
    for d, size, distance in itertools.product((1, 3, 16), (2, 40), (0.1, 1, 5)):
        yield rng.standard_normal((size, d)), distance * rng.standard_normal(d)


def quiet_report():
    with contextlib.redirect_stdout(io.StringIO()):
        return Report(pathlib.Path(tempfile.mkdtemp()), "test")


class ProjectionTest(unittest.TestCase):
    def test_exact(self):
        for keys, query in problems():
            solution = project(keys, query)
            self.assertAlmostEqual(solution.weights.sum(), 1, 12)
            self.assertGreaterEqual(solution.weights.min(), 0)
            # No vertex is better than the point: what makes it the nearest.
            gap = (keys @ solution.residual).max() - solution.point @ solution.residual
            self.assertLess(gap, 1e-12 * (1 + query @ query))
            self.assertTrue(solution.face[solution.weights > 0].all())

    def test_entropic(self):
        for keys, query in problems():
            for epsilon in (1.0, 1e-3):
                solution = project_entropic(keys, query, epsilon)
                weights = np.exp(solution.log_weights)
                self.assertAlmostEqual(weights.sum(), 1, 9)
                np.testing.assert_allclose(weights @ keys, solution.point, atol=1e-9)
                logits = keys @ (query - weights @ keys) / epsilon
                np.testing.assert_allclose(
                    solution.log_weights, logits - logsumexp(logits), atol=1e-4
                )

    def test_counts_are_copies(self):
        keys, query = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]]), np.array(
            [0.3, 0.2]
        )
        counted = project_entropic(keys, query, 0.1, counts=np.array([1, 3, 2]))
        copied = project_entropic(np.repeat(keys, [1, 3, 2], axis=0), query, 0.1)
        np.testing.assert_allclose(counted.point, copied.point, atol=1e-12)

    def test_solvers_converge(self):
        for keys, query in problems():
            exact = project(keys, query).residual
            for step in ("plain", "away", "pairwise"):
                *_, last = itertools.islice(frank_wolfe(keys, query, step), 3000)
                self.assertAlmostEqual(last.objective, exact @ exact / 2, 1)
            soft = project_entropic(keys, query, 0.5)
            weights = np.exp(soft.log_weights)
            least = soft.residual @ soft.residual / 2 + 0.5 * weights @ soft.log_weights
            for adaptive in (False, True):
                *_, last = itertools.islice(eg(keys, query, 0.5, adaptive), 500)
                self.assertAlmostEqual(last.objective, least, 6)
                self.assertLess(last.gap, 1e-6)


class AttentionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.method = sketch(4, 32, True, per_token=True)
        cls.attention = Attention([cls.method, EXACT], {"top": ("top", 64)})
        cls.problem = regimes.make("needle", np.random.default_rng(0), 4, 500)

    def test_tokens_needed(self):
        for name in regimes.REGIMES:
            problem = regimes.make(name, np.random.default_rng(1), 2, 200)
            for logits, count in zip(problem.logits, scaling.needed(problem, 0.1)):
                weights = np.sort(np.exp(logits - logsumexp(logits)))[::-1]
                self.assertGreaterEqual(weights[:count].sum(), 0.9 - 1e-9)
                self.assertLess(weights[: count - 1].sum(), 0.9 + 1e-9)

    def test_certificates_hold(self):
        for method in (self.method, EXACT):
            outcome = self.attention.run(self.problem, method, "top", quiet_report())
            self.assertEqual(outcome.count.tolist(), [64] * 4)
            self.assertTrue((outcome.tau < 1e-5).all())
            self.assertTrue((outcome.true_tau > 0).all())

    def test_false_certificates_are_found(self):
        artefact = self.attention._artefact

        class Lying(dict):
            """The artefact, but what it certifies of the last row is less."""

            def __missing__(self, name):
                if not name.startswith("top"):
                    return artefact[name]

                def call(**arguments):
                    results = artefact[name](**arguments)
                    results[self["result"]][-1] *= self["factor"]
                    return results

                return call

        # Of exact scores tau is the truth; the error's bound is not as tight.
        for result, factor, what in (
            (5, 0.99, "certified tau"),
            (6, 0.01, "certified error"),
        ):
            lying = Lying(result=result, factor=factor)
            with unittest.mock.patch.object(self.attention, "_artefact", lying):
                with self.assertRaisesRegex(Violation, f"{what} .* in 1 of 4 cases"):
                    self.attention.run(self.problem, EXACT, "top", quiet_report())

    def test_nan_is_false(self):
        with self.assertRaisesRegex(Violation, "false in 1 of 2 cases"):
            quiet_report().verify("x", [1.0, np.nan], 0.5)
        with self.assertRaisesRegex(Violation, "expected at most 1, got 1.5"):
            quiet_report().verify("x", 1.0, 1.5)


class CommandTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        words = ["-m", "vashista.theory", "--quick", "--out", str(FOLDER)]
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        cls.results = json.loads((FOLDER / "results.json").read_text())
        cls.tables = cls.results["tables"]

    def test_files(self):
        text = (FOLDER / "index.md").read_text()
        self.assertGreater(len(self.results["figures"]), 8)
        for name in self.results["figures"]:
            self.assertIn(f"({name}.svg)", text)
            xml.dom.minidom.parse(str(FOLDER / f"{name}.svg"))
            self.assertEqual((FOLDER / f"{name}.png").read_bytes()[:4], b"\x89PNG")

    def test_what_is_verified(self):
        counts = self.results["verified"]
        self.assertGreater(len(counts), 8)
        self.assertTrue(all(count > 0 for count in counts.values()))

    def test_leakage(self):
        for row in self.tables["leakage"]:
            self.assertAlmostEqual(row["median"], 1, delta=0.05)

    def test_bias(self):
        key = "error / epsilon, keys 0 and 1, query 0"
        found = [round(row[key], 1) for row in self.tables["bias"]]
        self.assertEqual(found, [3.4, 7.2, 11.4])

    def test_per_token(self):
        first, *rest = self.tables["per_token"]
        self.assertGreater(first["weight of the one key"], 2 * first["bound, c = 2"])
        needed = [row["c needed"] for row in rest]
        self.assertTrue(60 < needed[0] < needed[1] < needed[2])

    def test_compiled_solvers(self):
        rows = {
            (r["compiled solver"], r["iterations"]): r for r in self.tables["compiled"]
        }
        for row in rows.values():
            self.assertLessEqual(row["largest squared distance / gap"], 1)
        gap = "certified gap, relative, median"
        self.assertLess(rows["epsilon = D²/10", 16][gap], 1e-6)
        self.assertLess(rows["pairwise steps", 64][gap], 1e-2)

    def test_proved(self):
        rows = {row["proved <= 10 %"]: row for row in self.tables["proved_0.1"]}
        self.assertEqual(rows["needle"]["page box"], "100.0 %")
        for name in ("CodeLM sharp", "gauss, q x 8"):
            self.assertEqual(rows[name]["page box and ball"], "0.0 %")
            self.assertGreater(float(rows[name]["4 bits"][:-2]), 80)
            self.assertEqual(rows[name]["exact keys"], rows[name]["truth"])

    def test_tokens(self):
        found = {(row["regime"], row["T"]): row for row in self.tables["tokens"]}
        self.assertEqual(found["needle_T", 512]["the sketch takes"], 4)
        self.assertEqual(found["needle_T", 2048]["the sketch takes"], 4)
        self.assertGreater(found["gauss", 2048]["for 99 %, median"], 0.85 * 2048)

    def test_without_matplotlib(self):
        script = (
            "import runpy, sys; sys.modules['matplotlib'] = None; "
            f"sys.argv = ['theory', '--out', {str(FOLDER)!r}]; "
            "runpy.run_module('vashista.theory', run_name='__main__')"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True
        )
        self.assertEqual(run.returncode, 1)
        self.assertEqual(
            run.stderr.strip(),
            "error: expected matplotlib for the figures, found none; install "
            "python3-matplotlib (Debian) or matplotlib (pip)",
        )


if __name__ == "__main__":
    unittest.main()
