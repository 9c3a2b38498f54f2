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

#: In braces, a tensor and its first size.
ARGUMENTS = """%q: {rows}x4x64xbf16>, %k: {pool}x2x16x64xbf16>,
    %v: {pool}x2x16x64xbf16>, %table: {rows}x{pages}xi32>, %lens: {rows}xi32>"""
STEP = """
func.func @step(ARGUMENTS, %codes: {pool}x2x16x32xi8>, %scales: {pool}x2x16x2xf16>,
    %residuals: {pool}x2x16xi8>, %norms: {pool}x2x2xf32>)
    -> ({rows}x4x64xf32>, {rows}x4xf32>, {rows}x4xf32>, {rows}x4xf32>, {rows}x2xi32>,
        {rows}x2xi1>) {{
  %r:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
          (%codes, %scales, %residuals) norms(%norms)
      policy <pages = 0, candidates = 128, sinks = 4, window = 64, pick = proving,
              tolerance = 0.5, rounds = 2, fallback = dense> scale 0.125
      : ({rows}x4x64xbf16>, {pool}x2x16x64xbf16>, {pool}x2x16x64xbf16>,
         {rows}x{pages}xi32>, {rows}xi32>, {pool}x2x16x32xi8>, {pool}x2x16x2xf16>,
         {pool}x2x16xi8>, {pool}x2x2xf32>)
      -> ({rows}x4x64xf32>, {rows}x4xf32>, {rows}x4xf32>, {rows}x4xf32>,
          {rows}x2xi32>, {rows}x2xi1>)
  return %r#0, %r#1, %r#2, %r#3, %r#4, %r#5
      : {rows}x4x64xf32>, {rows}x4xf32>, {rows}x4xf32>, {rows}x4xf32>, {rows}x2xi32>,
        {rows}x2xi1>
}}
"""
ATTEND = """
func.func @attend(ARGUMENTS, %o: {rows}x4x64xf32>, %lse: {rows}x4xf32>)
    -> ({rows}x4x64xf32>, {rows}x4xf32>) {{
  %r:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : ({rows}x4x64xbf16>, {pool}x2x16x64xbf16>, {pool}x2x16x64xbf16>,
         {rows}x{pages}xi32>, {rows}xi32>, {rows}x4x64xf32>, {rows}x4xf32>)
      -> ({rows}x4x64xf32>, {rows}x4xf32>)
  return %r#0, %r#1 : {rows}x4x64xf32>, {rows}x4xf32>
}}
"""
#: Rows, pages of the table and of the pool.
SIZES = [
    sizes
    for sizes in itertools.product(("2", "0"), ("0", "?"), ("0", "?"))
    if "0" in sizes
]


def arguments(entry):
    """What an entry takes: sizes that it does not know are 0, and floats are 3."""
    for value in entry.arguments:
        sizes = [
            0 if dim.size is None or dim.argument else dim.size for dim in value.dims
        ]
        if value.dtype == "bf16":
            yield vashista.bfloat16(np.zeros(sizes, np.uint16))
        elif value.dtype == "f16":
            yield np.zeros(sizes, np.float16)
        else:
            kinds = {"i32": np.int32, "i8": np.int8, "f32": np.float32}
            kind = kinds[value.dtype]
            yield np.full(sizes, 3 if kind is np.float32 else 0, kind)


class EmptyTest(unittest.TestCase):
    def entry(self, text: str, sizes):
        rows, pages, pool = sizes
        text = text.replace("ARGUMENTS", ARGUMENTS)
        text = text.format(rows=f"tensor<{rows}", pool=f"tensor<{pool}", pages=pages)
        module = vashista.compile(text)
        (name,) = module
        return module[name]

    def test_steps(self):
        for sizes in SIZES:
            with self.subTest(sizes=sizes):
                entry = self.entry(STEP, sizes)
                rows = int(sizes[0])
                o, lse, tau, error, rounds, flag = entry(*arguments(entry))
                self.assertEqual(o.shape, (rows, 4, 64))
                np.testing.assert_array_equal(o, 0)
                np.testing.assert_array_equal(lse, -np.inf)
                for proved in (tau, error, flag):
                    np.testing.assert_array_equal(proved, 0)
                np.testing.assert_array_equal(rounds, 1)

    def test_states_stay(self):
        for sizes in SIZES:
            with self.subTest(sizes=sizes):
                entry = self.entry(ATTEND, sizes)
                given = list(arguments(entry))
                entry(*given)
                for state in given[-2:]:
                    np.testing.assert_array_equal(state, 3)


if __name__ == "__main__":
    unittest.main()
