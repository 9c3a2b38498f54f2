# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What of benchmarks/gpu_step.py needs neither a GPU nor PyTorch.

Bytes are those of docs/performance.md, counted by hand; artefacts are PTX, which takes
no toolkit.
"""

# UNSUPPORTED: asan
# RUN: %numpy_python %s

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import _shapes
import gpu_step
import numpy as np
from _shapes import Shape, floor_bytes, stages

LARGE = Shape(16, 32, 1, 131072)
SMALL = "1x2x2x1024"


def run(*words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = gpu_step.main([str(w) for w in words])
    return code, out.getvalue(), errors.getvalue()


def step(seconds, parts, **found):
    return {
        "seconds": seconds, "bytes": parts, "floor_bytes": floor_bytes(parts),
        "found": {"error": 1e-6, **found},
    }  # fmt: skip


class ShapeTest(unittest.TestCase):
    def test_names(self):
        for shape in _shapes.SHAPES:
            self.assertEqual(_shapes.parse(shape.name), shape)
        self.assertEqual(_shapes.parse("2x3x4x100"), Shape(2, 3, 4, 100))
        of_any = _shapes.parse("2x3x4x1k-any")
        self.assertEqual(of_any, Shape(2, 3, 4, 1024, is_any=True))
        self.assertEqual(_shapes.parse(of_any.name), of_any)
        sizes = _shapes.parse("2x3x4x1k-d64-p1-any")
        self.assertEqual(sizes, Shape(2, 3, 4, 1024, 64, 1, is_any=True))
        self.assertEqual((sizes.name, sizes.pages), ("2x3x4x1k-d64-p1-any", 1024))
        for page in (1, 24, 16, 1024):
            sized = Shape(2, 3, 4, 8192, page=page)
            self.assertEqual(_shapes.parse(sized.name), sized)
            self.assertIn("vashista", _shapes.text_of(sized, "mean"))
        self.assertEqual(LARGE.name, "16x32x1x128k")
        self.assertEqual((LARGE.heads, LARGE.pages), (512 // 16, 8192))
        for text in (
            "16x32",
            "0x1x1x8k",
            "8,8",
            "*x9x*",
            "1x1x1x8-p0",
            "1x1x1x8-any-p1",
        ):
            with self.assertRaisesRegex(ValueError, "expected a shape"):
                _shapes.parse(text)

    def test_chosen(self):
        names = [s.name for s in _shapes.chosen("1x8x4x*,16x32x1x8k,1x8x4x8k,2x2x2x64")]
        self.assertEqual(names[:3], ["1x8x4x8k", "1x8x4x32k", "1x8x4x128k"])
        self.assertEqual(names[3:], ["16x32x1x8k", "2x2x2x64"])
        self.assertEqual(len(_shapes.chosen(None)), 12)

    def test_bytes(self):
        # Keys and values of 131,072 tokens: 512 bytes for each of 512 rows' heads.
        self.assertEqual(floor_bytes(stages(LARGE, "dense")), 512 * 131072 * 512)
        mean = stages(LARGE, "mean")
        self.assertEqual(mean["summaries"], 512 * 8192 * 256)
        self.assertEqual(mean["keys"], 512 * 1024 * 256)
        self.assertEqual(mean["values"], 512 * 128 * 256)
        self.assertEqual(mean["scores"], 2 * 4 * 512 * 8192)
        # 266 us at 4.6 TB/s, by the table.
        self.assertEqual(round(floor_bytes(mean) / 4.6e6), 266)
        both = floor_bytes(stages(LARGE, "mean_std"))
        self.assertEqual(both, floor_bytes(mean) + mean["summaries"])
        tokens = 512 * 10000
        certified = stages(LARGE, "certified", tokens)
        self.assertEqual(certified["sketch"], 69 * 512 * 131072)
        self.assertEqual(certified["keys and values"], 512 * tokens)
        self.assertEqual(
            floor_bytes(certified), certified["sketch"] + certified["keys and values"]
        )
        # A matrix of 128 channels for each KV head of each sequence.
        moments = stages(LARGE, "moments", tokens)
        self.assertEqual(moments.pop("moments"), 512 * 128 * 128 * 4)
        self.assertEqual(moments, certified)
        fine = stages(LARGE, "certified5", tokens)
        self.assertEqual(fine.pop("sketch"), 85 * 512 * 131072)
        self.assertEqual(fine, {n: x for n, x in certified.items() if n != "sketch"})
        # Two bytes of a token and query head, two of it and its KV head, twice.
        grouped = stages(Shape(8, 8, 4, 131072), "certified", 0)
        self.assertEqual(grouped["scores"], 2 * 131072 * (256 + 2 * 64))
        # Fewer pages than are routed.
        self.assertEqual(stages(Shape(1, 1, 1, 160), "mean")["keys"], 160 * 256)

    def test_kernels(self):
        parts = stages(LARGE, "certified", 512)
        names = ["round_direction_0", "sketch_scan_0", "pick_0", "attend_0", "pick_1"]
        sizes = _shapes.kernel_bytes(names, parts)
        half = parts["scores"] // 2
        self.assertEqual(
            sizes, [0, parts["sketch"] + half, half, parts["keys and values"], 0]
        )
        # A scan has the moments, where they have no kernel.
        parts = stages(LARGE, "moments", 512)
        scanned = parts["sketch"] + parts["scores"] // 2
        sizes = _shapes.kernel_bytes(["sketch_scan_0", "pick_0"], parts)
        self.assertEqual(sizes[0], scanned + parts["moments"])
        sizes = _shapes.kernel_bytes(["moment_0", "sketch_scan_0"], parts)
        self.assertEqual(sizes, [parts["moments"], scanned])

    def test_copies(self):
        cache = 60 << 20
        self.assertEqual(_shapes.copies_of(LARGE, cache), 1)
        few = Shape(8, 8, 4, 8192)
        copies = _shapes.copies_of(few, cache)
        self.assertGreaterEqual(copies * floor_bytes(stages(few, "mean")), 4 * cache)
        self.assertEqual(_shapes.copies_of(Shape(1, 1, 1, 1024), cache), 64)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def test_compile_only(self):
        options = ["--shapes", SMALL, "--target", "cuda:compute_90", "--compile-only"]
        options += ["--artefacts", self.folder]
        code, out, errors = run(*options)
        self.assertEqual((code, errors), (0, ""))
        names = [line.split()[0] for line in out.splitlines()]
        self.assertEqual(sorted(names), sorted(p.name for p in self.folder.iterdir()))
        self.assertEqual(len(set(names)), len(_shapes.OURS))
        before = {p: p.stat().st_mtime_ns for p in self.folder.iterdir()}
        self.assertEqual(run(*options)[0], 0)
        self.assertEqual(before, {p: p.stat().st_mtime_ns for p in before})

    def test_counts(self):
        shape = _shapes.parse(SMALL)
        self.assertIn(
            "moment(%", _shapes.with_counts(_shapes.text_of(shape, "moments"))
        )
        module = _shapes.with_counts(_shapes.text_of(shape, "certified"))
        decode = module.split("func.func @decode")[1].split("\n  }")[0]
        # Six results, and the length of a list, of all tokens at most.
        returned = decode.split("return ")[1].split(" : ")[0].split(", ")
        self.assertEqual(len(returned), 7)
        self.assertEqual(decode.count("vashista.pick proving 1024 tokens"), 1)
        module = _shapes.with_counts(_shapes.text_of(shape, "tworounds"))
        self.assertEqual(module.count("vashista.pick proving 1024 tokens"), 2)
        self.assertIn("tensor<1x64xi32>", decode)

    def test_trace_shape(self):
        path = self.folder / "trace.npz"
        k = np.zeros((96, 2, 128), np.uint16)
        np.savez(path, q=np.zeros((5, 8, 128), np.uint16), k=k, v=k)
        self.assertEqual(_shapes.of_trace(path, 3), Shape(3, 2, 4, 96))
        with self.assertRaisesRegex(ValueError, "expected 1 to 5 rows, got 6"):
            _shapes.of_trace(path, 6)

    def test_options(self):
        for words, says in (
            (["--peers", "fa3"], "expected peers of sdpa, fa2, fa2-tc, xqa, got 'fa3'"),
            (["--steps", "sparse"], "expected steps of dense, "),
            (["--rounds", "0"], "expected rounds, replays and rows of 1 or more"),
            (["--shapes", "8k"], "expected a shape BxHkvxGxT"),
            (["--shapes", SMALL, "--trace", "x.npz"], "expected --shapes or --trace"),
            (["--trace", self.folder / "none.npz"], "No such file"),
        ):
            code, out, errors = run("--compile-only", *words)
            self.assertEqual((code, out), (1, ""), words)
            self.assertTrue(errors.startswith("error: "), errors)
            self.assertIn(says, errors)

    def test_tables(self):
        tokens = 512 * 10486
        dense, certified = stages(LARGE, "dense"), stages(LARGE, "certified", tokens)
        steps = {
            "dense": step(8e-3, dense),
            "sdpa": {**step(7.5e-3, dense), "difference": 2e-3},
            "certified": step(
                2.5e-3, certified, rows=512, proved=1.0, tokens=tokens, share=0.08,
                largest_share=0.1, second_rounds=0.25, second_steps=0.5, fallback=0.0, tau=0.49,
                tau_true=0.05, tau_true_max=0.1, false=0,
            ),
        }  # fmt: skip
        names = ["sketch_scan_0", "pick_0"]
        sizes = _shapes.kernel_bytes(names, certified)
        steps["certified"]["launches"] = 12
        steps["certified"]["kernels"] = [
            {"name": n, "seconds": 1e-3, "bytes": b} for n, b in zip(names, sizes)
        ]
        entry = {
            "shape": vars(LARGE), "bandwidth": 4.6e12, "read_bandwidth": 4.4e12,
            "steps": steps, "notes": ["cuDNN: heads as queries"], "trace": False,
        }  # fmt: skip
        results = {
            "libraries": {"PyTorch": "2"}, "timed": "medians", "notes": ["a note"],
            "bandwidth": 4.6e12, "read_bandwidth": 4.4e12, "shapes": [entry],
        }  # fmt: skip
        file = {"machine": "a GPU", "date": "today", "command": "c", "results": results}
        path, written = self.folder / "r.json", self.folder / "r.md"
        path.write_text(json.dumps(file))
        code, out, errors = run("--read", f"{path},{path}", "--markdown", written)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(out, written.read_text())
        for line in (
            "| 16, 32, 1, 131,072 | 7,470 | 93 % | 98 % | **8,000** | 7,500 | - | - | - "
            "| 1.07 |",
            "| 16, 32, 1, 131,072 | 1,604 | 64 % | 67 % | **2,500** | 12 | 0.33 | 5.0 % |",
            "| 16, 32, 1, 131,072 | 100.0 % | 8.0 %, 10.0 % | 25.0 %, 50 % | 0.0 % | 49.0 % "
            "| 5.0 %, 10.0 % | 0 of 512 |",
            "| pick_0 | 1,000 (43.8) | 1,000 (43.8) |",
            "| 16, 32, 1, 131,072 | keys and values 34,359.7 | sketch 4,630.5, keys and "
            "values 2,748.8, (scores 402.7), (page norms 33.6) |",
            "* a note",
            "* 16, 32, 1, 131,072: cuDNN: heads as queries",
        ):
            self.assertIn(line, out)


if __name__ == "__main__":
    unittest.main()
