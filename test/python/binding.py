# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles, loads and runs through the Python package.

Attention is compared with NumPy in float64.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import vashista

STEP = pathlib.Path(__file__).parent / "Inputs" / "step.mlir"
ARTEFACT = vashista.compile(STEP)
H, HKV, D, DV, S = 4, 2, 16, 8, 4
PAGES, LENS = 24, [26, 0, 13]


class Case:
    """A cache of random numbers, and queries of three sequences."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)

        def numbers(*shape):
            return vashista.as_bfloat16(rng.standard_normal(shape).astype(np.float32))

        self.q = numbers(len(LENS), H, D)
        self.k, self.v = numbers(PAGES, HKV, S, D), numbers(PAGES, HKV, S, DV)
        self.key, self.value = numbers(len(LENS), HKV, D), numbers(len(LENS), HKV, DV)
        pages = rng.permutation(PAGES)[: len(LENS) * 7]
        self.table = pages.reshape(len(LENS), 7).astype(np.int32)
        self.lens = np.array(LENS, np.int32)

    def step(self):
        return {n: getattr(self, n) for n in ("q", "k", "v", "table", "lens")}


def attend(case):
    """(outputs, log-sum-exps) in float64."""
    q = case.q.float32().astype(np.float64)
    o, lse = np.zeros((len(LENS), H, DV)), np.full((len(LENS), H), -np.inf)
    for row, length in enumerate(LENS):
        for head in range(H if length else 0):
            kv = head // (H // HKV)
            k = case.k.float32()[case.table[row], kv].reshape(-1, D)[:length]
            v = case.v.float32()[case.table[row], kv].reshape(-1, DV)[:length]
            logits = 0.25 * k.astype(np.float64) @ q[row, head]
            weights = np.exp(logits - logits.max())
            o[row, head] = weights @ v / weights.sum()
            lse[row, head] = logits.max() + np.log(weights.sum())
    return o, lse


class RunTest(unittest.TestCase):
    def test_attention(self):
        case = Case()
        o, lse = attend(case)
        got = ARTEFACT["dense"](
            case.q, case.k, case.v, lens=case.lens, table=case.table
        )
        np.testing.assert_allclose(got[0], o, rtol=0, atol=1e-5)
        np.testing.assert_allclose(got[1], lse, rtol=0, atol=1e-5)
        self.assertEqual(got._fields, ("result0", "result1"))
        self.assertEqual(got.result0.dtype, np.float32)

    def test_written_in_place(self):
        case = Case()
        k, v = case.k.bits.copy(), case.v.bits.copy()
        at = np.array([26, -1, 12], np.int32)
        entry = ARTEFACT["append"]
        self.assertEqual([a.name for a in entry.arguments if a.written], ["k", "v"])
        result = entry(case.key, case.value, at, case.table, case.k, case.v)
        self.assertIsNone(result)
        for row, position in enumerate(at):
            if position >= 0:
                page = case.table[row, position // S]
                k[page, :, position % S] = case.key.bits[row]
                v[page, :, position % S] = case.value.bits[row]
        np.testing.assert_array_equal(case.k.bits, k)
        np.testing.assert_array_equal(case.v.bits, v)

    def test_types_of_results(self):
        x = np.array([[1, 2, np.nan]], np.float16)
        less, number = ARTEFACT["compare"](x, np.array([[2, 2, 2]], np.float16))
        self.assertEqual(
            (less.dtype, number.dtype), (np.dtype(bool), np.dtype(np.int8))
        )
        self.assertEqual(
            (less.tolist(), number.tolist()), ([[True, False, False]], [[1, 0, 0]])
        )
        narrow = ARTEFACT["narrow"](np.array([1, 3.14159], np.float32))
        self.assertEqual((narrow.dtype, narrow.shape), ("bf16", (2,)))
        self.assertEqual(narrow.float32().tolist(), [1, 3.140625])

    def test_no_elements(self):
        empty = ARTEFACT["narrow"](np.zeros(0, np.float32))
        self.assertEqual(empty.shape, (0,))

    def test_threads_agree(self):
        step = Case().step()
        one = ARTEFACT["dense"](**step, threads=1)
        many = ARTEFACT["dense"](**step, threads=4)
        np.testing.assert_array_equal(one.result0, many.result0)

    def test_calls_at_once(self):
        cases = [Case(seed) for seed in range(8)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda case: ARTEFACT["dense"](**case.step()), cases)
            for case, result in zip(cases, results):
                np.testing.assert_allclose(result.result0, attend(case)[0], atol=1e-5)

    def test_an_entry_outlives_its_artefact(self):
        narrow = vashista.compile(STEP.read_text())["narrow"]
        self.assertEqual(narrow(np.ones(1, np.float32)).bits, [0x3F80])


class Foreign:
    """A tensor of a library of which only DLPack is known."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()


class TensorsTest(unittest.TestCase):
    """Tensors of other libraries, where they are."""

    @classmethod
    def setUpClass(cls):
        cls.entry = vashista.compile(
            """
func.func @both(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>)
    -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %product = arith.mulf %x, %y : tensor<?x4xf32>
  %sum = arith.addf %x, %y : tensor<?x4xf32>
  return %product, %sum : tensor<?x4xf32>, tensor<?x4xf32>
}
"""
        )["both"]

    def setUp(self):
        self.x = np.arange(12, dtype=np.float32).reshape(3, 4)
        self.y = np.full((3, 4), 2, np.float32)
        self.out = [np.zeros((3, 4), np.float32) for _ in range(2)]

    def call(self, x=None, **options):
        x = Foreign(self.x) if x is None else x
        return self.entry(x, Foreign(self.y), **options)

    def test_runs_in_place(self):
        out = [Foreign(array) for array in self.out]
        results = self.call(out=out)
        self.assertIs(results[0], out[0])
        self.assertIs(results.result1, out[1])
        np.testing.assert_array_equal(self.out[0], self.x * self.y)
        np.testing.assert_array_equal(self.out[1], self.x + self.y)
        self.assertEqual(self.entry.workspace_bytes(Foreign(self.x), Foreign(self.y)), 0)

    def test_mistakes(self):
        out = [Foreign(array) for array in self.out]
        for message, options in (
            ("expected `out`, a tensor for each result", {}),
            ("expected 2 tensors in out, got 1", {"out": out[:1]}),
            ("'result1': expected a tensor like the others", {"out": [out[0], self.x]}),
            ("argument 0 'x': expected f32, got f64",
             {"out": out, "x": Foreign(self.x.astype(np.float64))}),
            ("argument 0 'x', dimension 1: expected 4, got 3",
             {"out": out, "x": Foreign(self.x[:, :3].copy())}),
        ):
            with self.subTest(message=message):
                with self.assertRaisesRegex((vashista.Error, TypeError), message):
                    self.call(**options)
        with self.assertRaisesRegex(vashista.Error, "'y': expected a tensor like the"):
            self.entry(Foreign(self.x), self.y, out=out)
        with self.assertRaisesRegex(TypeError, "expected tensors with stream, got none"):
            self.entry(self.x, self.y, stream=0)

    def test_devices(self):
        with self.assertRaisesRegex(ValueError, "expected the device 'cpu' or 'cuda:0'"):
            vashista.compile(STEP, device="gpu")
        self.assertEqual((ARTEFACT.device, ARTEFACT.architecture), ("cpu", None))


class MistakesTest(unittest.TestCase):
    def expect(self, kind, message, function, *args, **named):
        with self.assertRaises(vashista.Error) as caught:
            function(*args, **named)
        self.assertEqual(
            (caught.exception.kind, str(caught.exception)), (kind, message)
        )

    def expect_refused(self, message, entry="dense", **change):
        arguments = {**Case().step(), **change}
        message = f"{entry}: {message}"
        self.expect("invalid argument", message, ARTEFACT[entry], **arguments)

    def test_types(self):
        q = Case().q
        self.expect_refused(
            "argument 'q': expected bf16 [?, 4, 16], got f32 [3, 4, 16]; wrap its "
            "bits by vashista.Bits(bits, 'bf16')",
            q=q.float32(),
        )
        self.expect_refused(
            "argument 'q': expected bf16 [?, 4, 16], got f8E5M2 [3, 4, 16]",
            q=vashista.Bits(q.bits.astype(np.uint8), "f8E5M2"),
        )
        self.expect_refused(
            "argument 'lens': expected i32 [3], got >i4 [3]",
            lens=Case().lens.astype(">i4"),
        )
        self.expect_refused(
            "argument 'lens': expected a NumPy array, got list", lens=LENS
        )

    def test_shapes(self):
        case = Case()
        self.expect_refused(
            "argument 'v': expected bf16 [24, 2, 4, 8], got bf16 [23, 2, 4, 8]",
            v=vashista.bfloat16(case.v.bits[1:]),
        )
        self.expect_refused(
            "argument 'table': expected i32 [3, ?], got i32 [7]", table=case.table[0]
        )
        self.expect_refused(
            "argument 'lens': expected i32 [3], got i32 [2]", lens=case.lens[:2]
        )

    def test_memory(self):
        case = Case()
        self.expect_refused(
            "argument 'lens': expected a C-contiguous array, got strides (-4,) in bytes",
            lens=case.lens[::-1],
        )
        case.k.bits.flags.writeable = False
        at = np.zeros(3, np.int32)
        self.expect(
            "invalid argument",
            "append: argument 'k': expected a writeable array, got a read-only one",
            ARTEFACT["append"],
            *(case.key, case.value, at, case.table, case.k, case.v),
        )

    def test_checked(self):
        case = Case()
        case.table[2, 3] = PAGES
        self.expect(
            "check failed",
            "dense: argument 3 'table', row 2, position 3: expected page id 0 to 23, "
            "got 24",
            ARTEFACT["dense"],
            **case.step(),
        )
        # A page that no row reads.
        case.table[2, 3], case.table[2, 4] = 0, PAGES
        ARTEFACT["dense"](**case.step())
        ARTEFACT["dense"](**case.step(), checked=False)

    def test_faults(self):
        """What entries find by themselves."""
        dense = vashista.compile(STEP, options=["--checked"])["dense"]
        self.assertEqual([v.name for v in dense.results][-1], "faults")
        self.assertEqual([v.faults for v in dense.results], [False] * 2 + [True])
        case = Case()
        clean = dense(**case.step())
        dense.raise_faults(clean)
        np.testing.assert_array_equal(clean.faults, np.zeros((3, 4)))
        case.table[2, 3] = PAGES
        found = dense(**case.step(), checked=False)
        np.testing.assert_array_equal(found.faults, [[0] * 4, [0] * 4, [3, 3, 24, 23]])
        said = (
            "dense: argument 3 'table', row 2, position 3: expected page id 0 to 23, "
            "got 24"
        )
        self.expect("check failed", said, dense.raise_faults, found)
        for one, other, empty in zip(found[:2], clean, (0, -np.inf)):
            np.testing.assert_array_equal(one[:2], other[:2])
            self.assertTrue((one[2] == empty).all())
        # The host still refuses, unless it is told not to.
        self.expect("check failed", said, dense, **case.step())
        # One that checks nothing has found nothing.
        ARTEFACT["dense"].raise_faults(ARTEFACT["dense"](**Case().step()))

    def test_faults_of_what_is_computed(self):
        """No argument is at fault."""
        entry = vashista.compile(
            """
func.func @route(%q: tensor<2x2x8xf32>, %mean: tensor<?x1x8xf32>, %t: tensor<2x3xi32>,
                 %lens: tensor<2xi32>) -> tensor<2x1x2xi32> {
  %table = arith.addi %t, %t : tensor<2x3xi32>
  %p:3 = vashista.route %q from <mean>(%mean) table(%table) lens(%lens) top 2
      page_size 4 scale 0.5
      : (tensor<2x2x8xf32>, tensor<?x1x8xf32>, tensor<2x3xi32>, tensor<2xi32>)
      -> (tensor<2x1x2xi32>, tensor<2x1xi32>, tensor<2x2xf32>)
  return %p#0 : tensor<2x1x2xi32>
}""",
            options=["--checked"],
        )["route"]
        q, mean = np.ones((2, 2, 8), np.float32), np.ones((6, 1, 8), np.float32)
        table = np.array([[0, 1, 2], [2, 9, 1]], np.int32)
        found = entry(q, mean, table, np.array([12, 4], np.int32))
        entry.raise_faults(found)
        found = entry(q, mean, table, np.array([12, 5], np.int32))
        np.testing.assert_array_equal(found.faults, [[0] * 4, [3, 1, 18, 5]])
        np.testing.assert_array_equal(found[0], [[[0, 1]], [[-1, -1]]])
        self.expect(
            "check failed",
            "route: result 1 'faults', row 1, position 1: expected page id 0 to 5, got 18",
            entry.raise_faults,
            found,
        )

    def test_names(self):
        dense, step = ARTEFACT["dense"], Case().step()
        with self.assertRaisesRegex(TypeError, "dense: expected 5 arguments, got 6"):
            dense(*step.values(), 0)
        with self.assertRaisesRegex(TypeError, "expected 'lens' too, got none"):
            dense(*list(step.values())[:4])
        with self.assertRaisesRegex(TypeError, "expected 'q' once, got it twice"):
            dense(step["q"], **step)
        with self.assertRaisesRegex(TypeError, "q, k, v, table, lens, got 'query'"):
            dense(**step, query=0)
        with self.assertRaisesRegex(ValueError, "threads from 0 to 1024, got -1"):
            dense(**step, threads=-1)
        with self.assertRaisesRegex(TypeError, "threads to be an integer, got 1.5"):
            dense(**step, threads=1.5)
        with self.assertRaisesRegex(TypeError, "checked to be True or False, got 'no'"):
            dense(**step, checked="no")
        with self.assertRaisesRegex(
            KeyError, "dense, append, narrow, compare; got 'x'"
        ):
            ARTEFACT["x"]

    def test_compiler(self):
        with self.assertRaises(vashista.Error) as caught:
            vashista.compile("func.func @f() {\n  return 1\n}\n")
        self.assertEqual(caught.exception.kind, "compile failed")
        self.assertRegex(str(caught.exception), r"^<stdin>:2:\d+: error: ")
        self.expect(
            "compile failed",
            "vashista-compile: error: expected the target 'cpu', 'cpu:x86-64-v3', "
            "'cpu:x86-64-v4' or an architecture as in 'cuda:sm_90a', got 'tpu'",
            *(vashista.compile, STEP, "tpu"),
        )
        self.expect(
            "compile failed",
            "cannot open '-x.mlir': No such file or directory",
            *(vashista.compile, "-x.mlir"),
        )

    def test_nothing_built(self):
        script = (
            "import vashista\ntry: vashista.{}\nexcept vashista.Error as e: print(e)"
        )
        for variable, what, call in (
            ("VASHISTA_BUILD", "the program 'vashista-compile'", "compile('x.mlir')"),
            (
                "VASHISTA_ROOT",
                "the library 'libvashista_runtime.so.0'",
                "load('x.vso')",
            ),
        ):
            environment = {n: x for n, x in os.environ.items() if n != "VASHISTA_BUILD"}
            environment[variable] = "/nowhere"
            run = subprocess.run(
                [sys.executable, "-c", script.format(call)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertRegex(
                run.stdout,
                rf"^expected {what} in .* of /nowhere \({variable}\), found none; build",
            )


class ArtefactTest(unittest.TestCase):
    def test_what_it_holds(self):
        self.assertEqual(ARTEFACT.entries, ("dense", "append", "narrow", "compare"))
        self.assertRegex(ARTEFACT.compiler, r"^LLVM 22\.")
        dense = ARTEFACT["dense"]
        self.assertEqual(
            repr(dense),
            "dense(q: bf16 [?, 4, 16], k: bf16 [?, 2, 4, 16], v: bf16 [k.0, 2, 4, 8], "
            "table: i32 [q.0, ?], lens: i32 [q.0]) -> "
            "(result0: f32 [q.0, 4, 8], result1: f32 [q.0, 4])",
        )
        self.assertEqual(dense.constants["attend.scale"], "0.25")
        self.assertEqual(dense.num_checks, 1)

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "step.vso")
            made = vashista.compile(STEP.read_bytes(), "cpu:x86-64-v3", output=path)
            content = path.read_bytes()
            loaded = vashista.load(path, digest=made.digest)
        self.assertEqual(loaded.entries, ARTEFACT.entries)
        self.assertEqual(vashista.load(content).digest, made.digest)
        with self.assertRaisesRegex(vashista.Error, "expected") as caught:
            vashista.load(content, digest="0" * 64)
        self.assertEqual(caught.exception.kind, "malformed artefact")
        for digest in ("abc", "0" * 63, "g" * 64):
            with self.assertRaisesRegex(ValueError, "64 hexadecimal digits, got"):
                vashista.load(content, digest=digest)
        with self.assertRaisesRegex(ValueError, "text of several lines"):
            vashista.compile("func.func @f() { return }")
        with self.assertRaises(vashista.Error):
            vashista.load(content[:-1])
        with self.assertRaises(vashista.Error) as caught:
            vashista.load(path)
        self.assertEqual(caught.exception.kind, "not found")


class BitsTest(unittest.TestCase):
    def test_round_trips_bf16(self):
        bits = np.arange(1 << 16, dtype=np.uint16)
        numbers = vashista.bfloat16(bits).float32()
        back = vashista.as_bfloat16(numbers).bits
        finite = ~np.isnan(numbers)
        np.testing.assert_array_equal(back[finite], bits[finite])
        self.assertTrue(np.isnan(vashista.bfloat16(back).float32()[~finite]).all())

    def test_rounds_as_compiled_code_does(self):
        rng = np.random.default_rng(1)
        bits = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
        # Ties, and what is next to them.
        ties = (bits & 0xFFFF0000 | 0x8000)[:, None] + np.array([-1, 0, 1], np.int64)
        x = np.concatenate([bits, ties.astype(np.uint32).ravel()]).view(np.float32)
        got = ARTEFACT["narrow"](x).float32()
        np.testing.assert_array_equal(vashista.as_bfloat16(x).float32(), got)

    def test_f8(self):
        bits = np.arange(256, dtype=np.uint8)
        e4m3 = vashista.Bits(bits, "f8E4M3FN").float32()
        self.assertEqual(
            e4m3[[0, 1, 7, 8, 0x38, 0x7E]].tolist(),
            [0, 2**-9, 7 * 2**-9, 2**-6, 1, 448],
        )
        np.testing.assert_array_equal(e4m3[128:255], -e4m3[:127])
        self.assertTrue((np.diff(e4m3[:127]) > 0).all())
        self.assertTrue(np.isnan(e4m3[[0x7F, 0xFF]]).all())
        e5m2 = vashista.Bits(bits, "f8E5M2").float32()
        self.assertEqual(
            e5m2[[1, 0x3C, 0x7B, 0x7C]].tolist(), [2**-16, 1, 57344, np.inf]
        )

    def test_refuses(self):
        with self.assertRaisesRegex(ValueError, "bf16 as a uint16 array, got float32"):
            vashista.bfloat16(np.zeros(1, np.float32))
        with self.assertRaisesRegex(
            ValueError, "expected a float32 array, got float64"
        ):
            vashista.as_bfloat16(np.zeros(1))
        with self.assertRaisesRegex(ValueError, "bf16 or an f8 type, got f32"):
            vashista.Bits(np.zeros(1, np.uint32), "f32")


if __name__ == "__main__":
    unittest.main()
