# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Diagnostics of compiled steps by a sketch, against the exact logits in float64."""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import pathlib
import pickle
import unittest

import numpy as np
import vashista

MODULE = vashista.compile(pathlib.Path(__file__).parent / "Inputs" / "scored.mlir")
H, HKV, D, S = 4, 2, 32, 8
LENS = np.array([300, 40, 1, 0], np.int32)


class Case:
    """Random keys, of which a few are what a query looks for."""

    def __init__(self, seed, factor):
        rng = np.random.default_rng(seed)
        pages = -(-LENS // S)
        self.table = np.full((len(LENS), pages.max()), -1, np.int32)
        order = rng.permutation(pages.sum()).astype(np.int32)
        for row, end in enumerate(np.cumsum(pages)):
            self.table[row, : pages[row]] = order[end - pages[row] : end]
        self.q = factor * rng.standard_normal((len(LENS), H, D)).astype(np.float32)
        self.k = rng.standard_normal((len(order), HKV, S, D)).astype(np.float32)
        n = len(order)
        sketch = (
            np.zeros((n, HKV, S, D // 2), np.int8),
            np.zeros((n, HKV, S, 1), np.float16),
            np.zeros((n, HKV, S), np.float16),
        )
        MODULE["summarize"](self.k, self.table, LENS, *sketch)
        self.results = MODULE["scored"](self.q, self.k, self.table, LENS, *sketch)

    def logits(self, row, head):
        pages = self.table[row, : -(-LENS[row] // S)]
        keys = self.k[pages, head // (H // HKV)].reshape(-1, D)[: LENS[row]]
        return 0.25 * keys.astype(np.float64) @ self.q[row, head]


class DiagnosticsTest(unittest.TestCase):
    def test_truth_lies_between(self):
        for seed, factor in [(1, 0.5), (2, 2.0), (3, 6.0)]:
            case = Case(seed, factor)
            found = vashista.diagnose(*case.results)
            for row, length in enumerate(LENS):
                for head in range(H):
                    at = row, head
                    if length == 0:
                        self.assertEqual(found.effective_support[at], 0)
                        self.assertEqual(found.tau[at], 0)
                        continue
                    ids = case.results[2][row, head // (H // HKV)]
                    left = np.ones(length, bool)
                    left[ids[ids >= 0]] = False
                    x = case.logits(row, head)
                    weights = np.exp(x - x.max())
                    weights /= weights.sum()
                    truth = weights[left].sum()
                    slop = 1e-6 * truth + 1e-12
                    self.assertLessEqual(found.tau_least[at], truth + slop)
                    self.assertGreaterEqual(found.tau[at], truth - slop)
                    self.assertAlmostEqual(found.attended[at], 1 - left.mean())
                    support = np.exp(-(weights * np.log(weights)).sum())
                    # By the sketch, whose logits are off by a few tenths.
                    self.assertLess(abs(np.log(found.effective_support[at] / support)), 1)
                    self.assertGreaterEqual(found.slack[at], 0)
            self.assertTrue((found.tau[0] > 0).all())

    def test_exact_scores(self):
        scores = np.array([[[3.0, 1.0, 0.0, -np.inf]]])
        lse = np.array([[np.log(np.exp(3.0))]])
        found = vashista.diagnose(scores, scores, np.array([[[0, -1]]]), lse)
        tail = np.log(np.exp(1.0) + 1)
        tau = 1 / (1 + np.exp(3.0 - tail))
        for value in (found.tau, found.tau_estimate, found.tau_least):
            self.assertAlmostEqual(value[0, 0], tau)
        self.assertEqual(found.slack[0, 0], 0)
        self.assertEqual(found.top_gap[0, 0], 2)
        self.assertAlmostEqual(found.attended[0, 0], 1 / 3)

    def test_shapes(self):
        scores = np.zeros((2, 4, 8))
        ids, lse = np.zeros((2, 2, 1), np.int32), np.zeros((2, 4))
        for arguments, message in [
            ((scores, scores[:1], ids, lse), "scores and bounds [R, H, L] of one shape"),
            ((scores, scores, ids[:1], lse), "expected ids [2, Hkv, C]"),
            ((scores, scores, ids, lse[:1]), "expected lse [2, 4], got (1, 4)"),
            ((scores, scores, ids + 8, lse), "expected ids below 8, got 8"),
        ]:
            with self.assertRaises(vashista.Error) as raised:
                vashista.diagnose(*arguments)
            self.assertIn(message, str(raised.exception))

    def test_errors_go_from_one_process_to_another(self):
        with self.assertRaises(vashista.Error) as raised:
            vashista.load("no-such-file.vso")
        error = pickle.loads(pickle.dumps(raised.exception))
        self.assertEqual(error.kind, raised.exception.kind)
        self.assertEqual(str(error), str(raised.exception))


if __name__ == "__main__":
    unittest.main()
