# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Policies, sketches and specifications: what they write, and what they refuse."""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import dataclasses
import decimal
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import vashista
from vashista import AttentionSpec, Policy, Sketch, ir

CERTIFIED = Policy.certified(0.3, candidates=256)
ROUTED = Policy(pages=16, candidates=128, sinks=4, window=64)


def spec(**options):
    return AttentionSpec(
        **{"heads": 8, "kv_heads": 2, "head_dim": 64, "scale": 0.125, **options}
    )


def specs():
    """Of every kind: what is kept, types, layouts, rows."""
    yield spec()
    for summary, pick in itertools.product(
        ("mean", "mean_std", "box", "ball"), (0, 96)
    ):
        policy = Policy(pages=16, candidates=pick, sinks=4, window=64)
        yield spec(summary=summary, policy=policy)
    for bits, group in itertools.product((2, 3, 4, 5, 6, 8), (16, 32, 64, 128)):
        yield spec(policy=CERTIFIED, sketch=Sketch(bits, group), head_dim=80)
    for norm, centre, rotation in itertools.product(
        ("token", "group"), ("none", "page"), ("none", "hadamard")
    ):
        sketch = Sketch(
            norm=norm, centre=centre, rotation=rotation, norms="f16", scales="f16"
        )
        yield spec(policy=CERTIFIED, sketch=sketch, dtype="f32")
    yield spec(policy=CERTIFIED)
    yield spec(
        policy=CERTIFIED, sketch=Sketch(), shared_rows=True, batch=6, layout="nhd"
    )
    yield spec(policy=CERTIFIED, sketch=Sketch(), batch=6, dtype="f16", soft_cap=30)
    yield spec(
        policy=Policy(
            pages=20,
            candidates=256,
            tolerance=0.1,
            target="output_error",
            fallback="dense",
        ),
        summary="box",
        sketch=Sketch(),
        value_dim=32,
        page_size=5,
    )
    for options in ({}, {"batch": 6}, {"batch": 6, "shared_rows": True}):
        yield spec(policy=CERTIFIED, sketch=Sketch(), moments=True, **options)
    yield spec(
        policy=Policy(pages=20, candidates=256, tolerance=0.1, target="output_error"),
        summary="ball",
        sketch=Sketch(bits=8, group=16, centre="page"),
        moments=True,
        head_dim=72,
        layout="nhd",
    )


class SpecTest(unittest.TestCase):
    def test_modules(self):
        """The dialect's verifiers accept whatever a specification accepts."""
        texts = [each.text for each in specs()]
        names = {each: text.count("func.func") for each, text in zip(specs(), texts)}
        for each, count in names.items():
            self.assertEqual(count, 3 if each.kept else 2)
        # One run for all of them: modules in one, since functions have the same names.
        ir.verify("".join(f"module {{\n{text}}}\n" for text in texts))

    def test_what_is_kept(self):
        kept = spec(policy=CERTIFIED, sketch=Sketch(), head_dim=128).kept
        self.assertEqual(
            kept,
            {
                "codes": ((2, 16, 64), "i8"),
                "scales": ((2, 16, 4), "f8E4M3FN"),
                "residuals": ((2, 16), "i8"),
                "norms": ((2, 2), "f32"),
            },
        )
        big = spec(policy=CERTIFIED, sketch=Sketch(), head_dim=128).page_bytes
        # 69 bytes for a key of 128 channels, 16 tokens, 2 heads; a key has 256.
        self.assertEqual(
            big,
            {"keys": 8192, "values": 8192, "summary": 0, "sketch": 2208, "norms": 16},
        )
        routed = spec(policy=ROUTED, summary="ball", dtype="f16", value_dim=16)
        self.assertEqual(
            routed.page_bytes,
            {
                "keys": 2 * 16 * 64 * 2,
                "values": 2 * 16 * 16 * 2,
                "summary": 2 * 64 * 2 + 2 * 4,
                "sketch": 0,
                "norms": 0,
            },
        )
        self.assertEqual(spec().token_bytes, 2 * 2 * 64 * 2)

    def test_moments(self):
        """They are of sequences, and the last of what the entries take."""
        plain = spec(policy=CERTIFIED, sketch=Sketch(), head_dim=80)
        self.assertEqual((plain.kept_of_sequences, plain.sequence_bytes), ({}, 0))
        with_moments = dataclasses.replace(plain, moments=True)
        # Channels are filled up to whole groups: 80 to 96.
        self.assertEqual(
            with_moments.kept_of_sequences, {"moments": ((2, 96, 96), "f32")}
        )
        self.assertEqual(with_moments.sequence_bytes, 2 * 96 * 96 * 4)
        self.assertEqual(with_moments.kept, plain.kept)
        self.assertEqual(with_moments.page_bytes, plain.page_bytes)
        self.assertNotIn("moments", plain.text)
        for function in ("decode", "append", "summarize"):
            arguments = re.search(rf"@{function}\((.*)\)", with_moments.text)[1]
            self.assertTrue(
                arguments.endswith(", %moments: tensor<?x2x96x96xf32>"), arguments
            )
        # As many as the table has rows, which shared rows tell nothing of.
        for shared, rows in ((False, 6), (True, "?")):
            fixed = dataclasses.replace(with_moments, batch=6, shared_rows=shared)
            decode = fixed.text.splitlines()[0]
            self.assertIn(f"%table: tensor<{rows}x?xi32>", decode)
            self.assertIn(f"%moments: tensor<{rows}x2x96x96xf32>", decode)
        # The columns of steps; what is rebuilt has as many as there are.
        known = dataclasses.replace(plain, batch=6, max_pages=64).text
        self.assertEqual(known.count("%table: tensor<6x64xi32>"), 2)
        self.assertEqual(known.count("%table: tensor<?x?xi32>"), 1)
        self.expect(
            "spec: max_pages: expected 1 to 2147483647, got 0",
            lambda: dataclasses.replace(plain, max_pages=0),
        )
        parsed = ir.parse(with_moments.text)
        self.assertEqual(ir.parse(parsed), parsed)
        self.assertEqual(len(re.findall(r"vashista\.\w+ .* moments\(%", parsed)), 3)

    def test_equal(self):
        """Specifications are values."""
        self.assertEqual(spec(), spec())
        self.assertEqual(len({spec(), spec(), spec(dtype="f32")}), 2)
        self.assertNotEqual(spec().text, spec(scale=0.25).text)

    def test_scale(self):
        with self.assertRaisesRegex(TypeError, "scale"):
            AttentionSpec(8, 2, 64)

    def expect(self, message, make):
        with self.assertRaises(vashista.Error) as caught:
            make()
        self.assertEqual(
            (caught.exception.kind, str(caught.exception)),
            ("invalid argument", message),
        )

    def test_mistakes(self):
        for message, options in (
            ("spec: heads: expected 1 to 2147483647, got 0", {"heads": 0}),
            ("spec: heads: expected an integer, got 8.0", {"heads": 8.0}),
            ("spec: heads: expected an integer, got True", {"heads": True}),
            ("spec: kv_heads: expected a divisor of 8 heads, got 3", {"kv_heads": 3}),
            ("spec: kv_heads: expected 1 to 8, got 16", {"kv_heads": 16}),
            ("spec: head_dim: expected 1 to 65536, got 0", {"head_dim": 0}),
            ("spec: batch: expected 1 to 2147483647, got 0", {"batch": 0}),
            ("spec: page_size: expected 1 to 2147483647, got 0", {"page_size": 0}),
            ("spec: dtype: expected 'bf16' or 'f16' or 'f32', got 'float32'",
             {"dtype": "float32"}),
            ("spec: layout: expected 'hnd' or 'nhd', got 'HND'", {"layout": "HND"}),
            ("spec: scale: expected a positive number that f32 holds, got 0", {"scale": 0}),
            ("spec: scale / soft_cap: expected a positive number that f32 holds, got "
             "2.4000000000000003e-40",
             {"scale": 1.2e-38, "soft_cap": 50.0}),
            ("spec: scale: expected a number, got None", {"scale": None}),
            (f"spec: scale: expected a number, got {10**400}", {"scale": 10**400}),
            ("spec: soft_cap: expected a positive number that f32 holds, got nan",
             {"soft_cap": float("nan")}),
            ("spec: policy: expected a vashista.Policy, got 'dense'", {"policy": "dense"}),
            ("spec: summary: expected 'mean' or 'mean_std' or 'box' or 'ball', got None",
             {"policy": ROUTED}),
            ("spec: summary: expected None with policy.pages = 0, got 'box'",
             {"summary": "box"}),
            ("spec: policy.pages: expected at least 6 pages of 16 tokens for the sinks "
             "and the window, got 5",
             {"policy": Policy(pages=5, sinks=4, window=64), "summary": "box"}),
            ("spec: sketch: expected None with policy.candidates = 0, got "
             "<bits = 4, group = 32, rotation = hadamard, norm = token>",
             {"sketch": Sketch()}),
            ("spec: sketch: expected a vashista.Sketch, got 'int4'",
             {"sketch": "int4", "policy": CERTIFIED}),
            ("spec: moments: expected False without a sketch and a tolerance, got True",
             {"moments": True}),
            ("spec: moments: expected False without a sketch and a tolerance, got True",
             {"moments": True, "policy": CERTIFIED}),
            ("spec: moments: expected False without a sketch and a tolerance, got True",
             {"moments": True, "policy": Policy(candidates=64), "sketch": Sketch()}),
            ("spec: moments: expected False with a soft cap, got 30.0",
             {"moments": True, "policy": CERTIFIED, "sketch": Sketch(), "soft_cap": 30}),
            ("spec: moments: expected False or True, got 'yes'", {"moments": "yes"}),
        ):  # fmt: skip
            with self.subTest(message=message):
                self.expect(message, lambda: spec(**options))

    def test_policies(self):
        for message, options in (
            ("policy: pages: expected 0 to 2147483647, got -1", {"pages": -1}),
            ("policy: pick: expected 'top' or 'proving', got 'all'", {"pick": "all"}),
            ("policy: tolerance: expected less than 1 for the target tau, got 1.5",
             {"tolerance": 1.5}),
            ("policy: tolerance: expected a positive number that f32 holds, got -0.5",
             {"tolerance": -0.5}),
            ("policy: rounds: expected 1 to 8, got 9", {"rounds": 9}),
            ("policy without a tolerance: rounds: expected 1, got 2",
             {"rounds": 2, "candidates": 8}),
            ("policy that reads everything: rounds: expected 1, got 2",
             {"rounds": 2, "tolerance": 0.5}),
            ("policy with the target output_error: rounds: expected 1, got 2",
             {"rounds": 2, "tolerance": 0.5, "candidates": 8, "target": "output_error"}),
            ("policy: fallback: expected a tolerance with it, got none",
             {"fallback": "dense"}),
            ("policy: pick = proving: expected a tolerance with the target tau, got none",
             {"pick": "proving"}),
            ("policy: candidates: expected 0 or at least 68, the sinks and the window, "
             "got 67", {"candidates": 67, "sinks": 4, "window": 64}),
        ):  # fmt: skip
            with self.subTest(message=message):
                self.expect(message, lambda: Policy(**options))
        self.assertTrue(Policy().is_dense)
        self.assertFalse(Policy(tolerance=0.5).is_certified)
        self.assertTrue(CERTIFIED.is_certified)

    def test_sketches(self):
        for text in (
            "bits = 4, group = 32, rotation = hadamard, norm = token",
            "bits = 8, group = 64, centre = page",
            "bits = 3, group = 128",
        ):
            self.assertEqual(str(Sketch.parse(text)), f"<{text}>")
        self.expect("sketch: bits: expected 2 or 3 or 4 or 5 or 6 or 8, got 7",
                    lambda: Sketch(bits=7))  # fmt: skip
        self.expect("sketch: bits: expected 2 or 3 or 4 or 5 or 6 or 8, got 4.0",
                    lambda: Sketch(bits=4.0))  # fmt: skip
        for four in (np.array([4, 4]), 4 + 0j, decimal.Decimal(4), np.array(4.0), None):
            self.expect("sketch: bits: expected 2 or 3 or 4 or 5 or 6 or 8, got "
                        f"{four!r}", lambda: Sketch(bits=four))  # fmt: skip
        self.assertEqual(Sketch(bits=np.int64(4)), Sketch(bits=4))
        self.expect("sketch: expected a text, as in 'bits = 4', got 4",
                    lambda: Sketch.parse(4))  # fmt: skip
        self.expect("sketch: expected 'group = ...', got none",
                    lambda: Sketch.parse("bits = 4"))  # fmt: skip
        self.expect(
            "sketch: expected bits, group, rotation, norm and centre as in 'bits = 4', "
            "got 'bits: 4'",
            lambda: Sketch.parse("bits: 4, group = 32"),
        )


class IrTest(unittest.TestCase):
    def test_parse(self):
        text = ir.parse("func.func   @f() { return }")
        self.assertEqual(text, "module {\n  func.func @f() {\n    return\n  }\n}\n\n")
        self.assertRegex(ir.parse(text, generic=True), r'"func.func"\(\)')
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "f.mlir")
            path.write_text(text)
            self.assertEqual(ir.parse(path), text)
            self.assertEqual(ir.parse(str(path)), text)
        with self.assertRaises(FileNotFoundError):
            ir.parse("/nowhere/f.mlir")

    def test_verify(self):
        ir.verify(spec().text)
        wrong = spec().text.replace("<pages = 0,", "<pages = 4,")
        with self.assertRaisesRegex(
            vashista.Error, r"\[attention_c5\] expected a summary"
        ):
            ir.verify(wrong)

    def test_run(self):
        text = ir.decompose(spec(policy=CERTIFIED, sketch=Sketch()).text)
        for op in ("score", "pick", "attend", "certify", "fallback"):
            self.assertIn(f"vashista.{op} ", text)
        self.assertNotIn("vashista.attention", text)
        one = ir.decompose(spec(policy=CERTIFIED, sketch=Sketch()).text, depth="one")
        self.assertIn("vashista.select ", one)
        self.assertNotIn("vashista.pick ", one)
        with self.assertRaisesRegex(vashista.Error, "'nothing' does not refer to a"):
            ir.run(text, "builtin.module(nothing)")


class ShowConfigTest(unittest.TestCase):
    def test_lines(self):
        run = subprocess.run(
            [sys.executable, "-m", "vashista", "show-config"],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = dict(line.split(maxsplit=1) for line in run.stdout.splitlines())
        self.assertIn("LLVM 22.", lines["compiler"])
        self.assertEqual(lines["vashista"].split()[0], vashista.__version__)
        for name in ("runtime", "cache", "python", "numpy", "torch", "machine"):
            self.assertTrue(lines[name])
        self.assertRegex(lines["runtime"], r": 0\.1\.\d+$")


if __name__ == "__main__":
    unittest.main()
