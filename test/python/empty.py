# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes of 0 that a module knows: no rows, a table without pages, an empty pool."""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import itertools
import unittest

import numpy as np
import vashista

#: Rows, pages of the table and of the pool, one of which is 0; what a module does not
#: know is GIVEN.
SIZES = [
    sizes
    for sizes in itertools.product(("2", "0"), ("0", "3", "?"), ("0", "5", "?"))
    if "0" in sizes
]
GIVEN = {"2": 2, "0": 0, "3": 3, "5": 5}
#: Of arguments and results: their first sizes by name, then others, and the elements.
CACHES = {
    "q": "{rows}x4x64xbf16",
    "k": "{pool}x2x16x64xbf16",
    "v": "{pool}x2x16x64xbf16",
    "table": "{rows}x{pages}xi32",
    "lens": "{rows}xi32",
}
KEPT = {
    "mean": "{pool}x2x64xbf16",
    "codes": "{pool}x2x16x32xi8",
    "scales": "{pool}x2x16x2xf16",
    "residuals": "{pool}x2x16xi8",
    "norms": "{pool}x2x2xf32",
}
STATE = {"o": "{rows}x4x64xf32", "lse": "{rows}x4xf32"}
HEADS, FLAGS = "{rows}x4xf32", "{rows}x2xi1"
PAGED = "%q keys(%k) values(%v) table(%table) lens(%lens)"
#: Two rounds of pages and of tokens of these, all of which is joined.
STEP = f"""vashista.attention {PAGED} summary <mean>(%mean)
    sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
        (%codes, %scales, %residuals) norms(%norms)
    policy <pages = 8, candidates = 128, sinks = 4, window = 64, pick = proving,
            tolerance = 0.5, rounds = 2, fallback = dense> scale 0.125"""


def module(op: str, arguments: dict, results: list, sizes) -> str:
    """A function of one op, whose operands are its arguments in order."""
    names = dict(zip(("rows", "pages", "pool"), sizes))
    types = {name: f"tensor<{x.format(**names)}>" for name, x in arguments.items()}
    out = ", ".join(f"tensor<{x.format(**names)}>" for x in results)
    given = ", ".join(f"%{name}: {type}" for name, type in types.items())
    values = ", ".join(f"%r#{i}" for i in range(len(results)))
    return f"""
func.func @f({given}) -> ({out}) {{
  %r:{len(results)} = {op} : ({", ".join(types.values())}) -> ({out})
  return {values} : {out}
}}
"""


class EmptyTest(unittest.TestCase):
    def call(self, op: str, arguments: dict, results: list, sizes):
        """What is given, by names, and what the entry yields of it. Floats are 3."""
        entry = vashista.compile(module(op, arguments, results, sizes))["f"]
        rows, pages, pool = sizes
        numbers = {
            "rows": GIVEN[rows], "pages": GIVEN.get(pages, 3), "pool": GIVEN.get(pool, 5)
        }  # fmt: skip
        kinds = {"i32": np.int32, "i8": np.int8, "f16": np.float16, "f32": np.float32}
        given = {}
        for name, type in arguments.items():
            *shape, element = type.format(**numbers).split("x")
            shape = [int(size) for size in shape]
            if element == "bf16":
                given[name] = vashista.bfloat16(np.zeros(shape, np.uint16))
            else:
                value = 3 if element == "f32" else 0
                given[name] = np.full(shape, value, kinds[element])
        return given, entry(*given.values())

    def expect(self, array, value, sizes, *others):
        self.assertEqual(array.shape, (int(sizes[0]), *others))
        np.testing.assert_array_equal(array, value)

    def test_steps(self):
        results = [*STATE.values(), HEADS, HEADS, "{rows}x2xi32", FLAGS]
        for sizes in SIZES:
            with self.subTest(sizes=sizes):
                _, found = self.call(STEP, {**CACHES, **KEPT}, results, sizes)
                o, lse, tau, error, rounds, flag = found
                self.expect(o, 0, sizes, 4, 64)
                self.expect(lse, -np.inf, sizes, 4)
                self.expect(tau, 0, sizes, 4)
                self.expect(error, 0, sizes, 4)
                self.expect(rounds, 1, sizes, 2)
                self.expect(flag, False, sizes, 2)

    def test_states_stay(self):
        op = f"vashista.attend {PAGED} outs(%o, %lse) scale 0.125"
        arguments = {**CACHES, **STATE}
        for sizes in SIZES:
            with self.subTest(sizes=sizes):
                given, _ = self.call(op, arguments, [*STATE.values()], sizes)
                self.expect(given["o"], 3, sizes, 4, 64)
                self.expect(given["lse"], 3, sizes, 4)

    def test_fallbacks(self):
        # All rows miss the limit: each is attended, tile by tile, over nothing.
        op = f"vashista.fallback {PAGED} state(%o, %lse) unless(%m) at_most 0.5 scale 0.125"
        arguments = {**CACHES, **STATE, "m": HEADS}
        for sizes in SIZES:
            with self.subTest(sizes=sizes):
                results = [*STATE.values(), FLAGS]
                _, (o, lse, flag) = self.call(op, arguments, results, sizes)
                self.expect(o, 0, sizes, 4, 64)
                self.expect(lse, -np.inf, sizes, 4)
                self.expect(flag, True, sizes, 2)


if __name__ == "__main__":
    unittest.main()
