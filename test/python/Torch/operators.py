# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators under opcheck, torch.compile and torch.export, and on a GPU in a graph.

With `--device=cuda`, on a GPU; graphs are captured only there.
"""

# REQUIRES: torch
# UNSUPPORTED: asan
# RUN: %torch_python %s

import re
import subprocess
import sys
import tempfile
import unittest

import torch
import vashista
from vashista import AttentionSpec, PagedKVCache, Policy, Sketch

DEVICE = "cpu"
H, HKV, D, S = 4, 2, 32, 4
SPECS = {
    "dense": AttentionSpec(H, HKV, D, scale=0.25, page_size=S, dtype="bf16"),
    "certified": AttentionSpec(
        H,
        HKV,
        D,
        scale=0.25,
        page_size=S,
        dtype="bf16",
        policy=Policy.certified(0.3, candidates=64, sinks=1, window=3),
        sketch=Sketch(),
    ),
}


def randn(*shape):
    return torch.randn(*shape, device=DEVICE).to(torch.bfloat16)


class OperatorTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        torch._dynamo.reset()

    def prepare(self, name="certified"):
        """A cache with two sequences, a step of it, and arguments of its entries."""
        cache = PagedKVCache(SPECS[name], 16, 2, device=DEVICE)
        for length in (9, 14):
            cache.extend(cache.add(), randn(length, HKV, D), randn(length, HKV, D))
        step = cache.step([0, 1])
        shared = {**cache.arrays(), "table": step.table, "lens": step.lens}
        shared["positions"] = step.positions
        shared |= {"key": randn(2, HKV, D), "value": randn(2, HKV, D)}
        shared["q"] = randn(2, H, D)

        def of(entry):
            return [shared[v.name] for v in cache.artefact[entry].arguments]

        return cache, of

    def test_results(self):
        """Those of the entry itself; nothing else is written."""
        cache, of = self.prepare()
        arguments = of("decode")
        before = [x.clone() for x in arguments]
        results = vashista.torch.op(cache.artefact, "decode")(*arguments)
        for got, want in zip(results, cache.artefact["decode"](*arguments)):
            self.assertTrue(torch.equal(got, want))
        for x, y in zip(arguments, before):
            self.assertTrue(torch.equal(x, y))
        copies = [x.clone() for x in of("append")]
        cache.artefact["append"](*copies)
        self.assertIsNone(vashista.torch.op(cache.artefact, "append")(*of("append")))
        for x, y in zip(of("append"), copies):
            self.assertTrue(torch.equal(x, y))

    def test_an_entry_that_writes_and_returns(self):
        """One that appends, and returns the keys that it was given."""
        text = SPECS["dense"].text
        start = text.index("func.func @append")
        kind = "tensor<?x2x32xbf16>"
        module = text[start:].replace(") {\n", f", {kind}) {{\n", 1)
        module = re.sub(r"return (.*) : (.*)", rf"return \1, %key : \2, {kind}", module)
        artefact = vashista.compile(module, self.prepare("dense")[0]._memory.target)
        (result,) = artefact["append"].results
        self.assertEqual(str(result), "result0: bf16 [key.0, 2, 32]")
        _, of = self.prepare("dense")
        arguments = of("append")
        copies = [x.clone() for x in arguments]
        append = vashista.torch.op(artefact, "append")
        got = torch.compile(lambda *a: append(*a) * 2, fullgraph=True,
                            backend="aot_eager")(*arguments)  # fmt: skip
        self.assertTrue(torch.equal(got, arguments[0] * 2))
        artefact["append"](*copies)
        for x, y in zip(arguments, copies):
            self.assertTrue(torch.equal(x, y))

    def test_constants_of_a_graph(self):
        """They are where its kernels can read them, results too."""
        types = "tensor<2x4x64xbf16>, tensor<3x4x16x64xbf16>, tensor<3x4x16x64xbf16>"
        entry = """
func.func @{}(%q: tensor<2x4x64xbf16>, %k: tensor<3x4x16x64xbf16>,
              %v: tensor<3x4x16x64xbf16>{})
    -> (tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<2xi32>) {{
  {}
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k) values(%v)
      table(%table) lens(%lens) policy <pages = 0, candidates = 0> scale 0.125
      : ({}, tensor<2x1xi32>, tensor<2xi32>)
      -> (tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>,
          tensor<2x4xi32>, tensor<2x4xi1>)
  return %o, %lse, %lens : tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<2xi32>
}}"""
        made = """%table = arith.constant dense<[[0], [2]]> : tensor<2x1xi32>
  %lens = arith.constant dense<[16, 9]> : tensor<2xi32>"""
        given = ", %table: tensor<2x1xi32>, %lens: tensor<2xi32>"
        artefact = vashista.compile(
            entry.format("made", "", made, types)
            + entry.format("given", given, "", types),
            self.prepare("dense")[0]._memory.target,
        )
        arguments = [randn(2, 4, 64), randn(3, 4, 16, 64), randn(3, 4, 16, 64)]
        lists = [
            torch.tensor(x, dtype=torch.int32, device=DEVICE)
            for x in ([[0], [2]], [16, 9])
        ]
        want = artefact["given"](*arguments, *lists)
        for x, y in zip(artefact["made"](*arguments), want):
            self.assertTrue(torch.equal(x, y))
        self.assertTrue(torch.equal(want[2], lists[1]))

    def test_opcheck(self):
        for name in SPECS:
            cache, of = self.prepare(name)
            digest = vashista.torch.register(cache.artefact)
            run, update = (
                torch.ops.vashista.run.default,
                torch.ops.vashista.update.default,
            )
            for checked in (False, True):
                torch.library.opcheck(run, (of("decode"), digest, "decode", checked))
                written = [v.written for v in cache.artefact["append"].arguments]
                pairs = list(zip(of("append"), written))
                read, write = [x for x, w in pairs if not w], [x for x, w in pairs if w]
                torch.library.opcheck(update, (read, write, digest, "append", checked))

    def test_compile(self):
        """One graph, no break, of an append and the attention to what it wrote."""
        cache, of = self.prepare()
        append = vashista.torch.op(cache.artefact, "append")
        decode = vashista.torch.op(cache.artefact, "decode")

        def step(q, to_append, to_decode):
            append(*to_append)
            results = decode(q * 2, *to_decode)
            return torch.relu(results[0]) + 1, results[2]

        copies = {id(x): x.clone() for x in of("append") + of("decode")}
        given = [[copies[id(x)] for x in of(entry)] for entry in ("append", "decode")]
        want = step(given[1][0], given[0], given[1][1:])
        got = torch.compile(step, fullgraph=True)(
            of("decode")[0], of("append"), of("decode")[1:]
        )
        for x, y in zip(got, want):
            torch.testing.assert_close(x, y)
        for x in of("append") + of("decode"):
            self.assertTrue(torch.equal(x, copies[id(x)]))

    def test_a_step_compiles(self):
        cache, _ = self.prepare()
        step = cache.step([0, 1])

        def run(q, key, value):
            step.append(key, value)
            return step.attend(q).o.sum(-1)

        arguments = randn(2, H, D), randn(2, HKV, D), randn(2, HKV, D)
        got = torch.compile(run, fullgraph=True, backend="aot_eager")(*arguments)
        want = run(*arguments)
        torch.testing.assert_close(got, want)

    def test_dynamic_shapes(self):
        """Batches and tables of other sizes run what was compiled for symbols."""
        cache, of = self.prepare("dense")
        decode = vashista.torch.op(cache.artefact, "decode")
        frames = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(
            lambda *a: decode(*a)[0] + 1, fullgraph=True, dynamic=True, backend=frames
        )
        q, k, v, table, lens = of("decode")
        for rows, columns in ((2, 4), (4, 5), (6, 7)):
            repeat = rows // 2
            wide = torch.zeros(rows, columns, dtype=torch.int32, device=DEVICE)
            wide[:, : table.shape[1]] = table.repeat(repeat, 1)
            got = compiled(q.repeat(repeat, 1, 1), k, v, wide, lens.repeat(repeat))
            want = decode(q, k, v, table, lens)[0] + 1
            torch.testing.assert_close(got, want.repeat(repeat, 1, 1))
        self.assertLessEqual(frames.frame_count, 2)

    def test_export(self):
        """A program that is stored and run where the artefact is registered."""
        cache, of = self.prepare("dense")
        decode = vashista.torch.op(cache.artefact, "decode")

        class Module(torch.nn.Module):
            def forward(self, q, k, v, table, lens):
                return decode(q, k, v, table, lens)[0] * 2

        rows, columns, pages = (
            torch.export.Dim(n, min=1) for n in ("rows", "columns", "pages")
        )
        program = torch.export.export(
            Module(),
            tuple(of("decode")),
            dynamic_shapes=(
                {0: rows}, {0: pages}, {0: pages}, {0: rows, 1: columns}, {0: rows},
            ),
        )  # fmt: skip
        ops = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
        self.assertEqual([o for o in ops if "vashista" in o], ["vashista.run.default"])
        want = decode(*of("decode"))[0] * 2
        torch.testing.assert_close(program.module()(*of("decode")), want)
        q, k, v, table, lens = of("decode")
        other = (q.repeat(3, 1, 1), k, v, table.repeat(3, 1), lens.repeat(3))
        torch.testing.assert_close(program.module()(*other), want.repeat(3, 1, 1))
        with tempfile.TemporaryDirectory() as folder:
            torch.export.save(program, f"{folder}/step.pt2")
            torch.save([x.cpu() for x in of("decode")], f"{folder}/arguments.pt")
            vashista.compile(
                SPECS["dense"], self.target(cache), output=f"{folder}/step.vso"
            )
            script = (
                "import sys, torch, vashista, vashista.torch\n"
                "program = torch.export.load(sys.argv[1] + '/step.pt2').module()\n"
                "a = torch.load(sys.argv[1] + '/arguments.pt')\n"
                "a = [x.to(sys.argv[2]) for x in a]\n"
                "try: program(*a)\n"
                "except vashista.Error as error: print(error.kind)\n"
                "vashista.torch.register(vashista.load(sys.argv[1] + '/step.vso'))\n"
                "print(program(*a).double().sum().item())\n"
            )
            run = subprocess.run(
                [sys.executable, "-c", script, folder, DEVICE],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        kind, total = run.stdout.splitlines()
        self.assertEqual(kind, "not found")
        self.assertAlmostEqual(float(total), want.double().sum().item(), places=4)

    @staticmethod
    def target(cache):
        return cache._memory.target

    def test_mistakes(self):
        cache, of = self.prepare("dense")
        decode = vashista.torch.op(cache.artefact, "decode")
        q, k, v, table, lens = of("decode")
        with self.assertRaisesRegex(TypeError, "decode: expected table, lens, too"):
            decode(q, k, v)
        with self.assertRaisesRegex(
            TypeError, "expected each of q, k, v, table, lens once"
        ):
            decode(q, k, v, table, lens, q=q)
        with self.assertRaisesRegex(
            KeyError, "expected an entry of: decode, append; got"
        ):
            vashista.torch.op(cache.artefact, "prefill")
        with self.assertRaisesRegex(vashista.Error, "expected bf16, got f32"):
            decode(q.float(), k, v, table, lens)
        with self.assertRaisesRegex(vashista.Error, "expected an artefact, got Entry"):
            vashista.torch.op(cache.artefact["decode"], "decode")
        checked = vashista.torch.op(cache.artefact, "decode", checked=True)
        with self.assertRaisesRegex(vashista.Error, "expected page id 0 to 15, got 16"):
            checked(q, k, v, torch.full_like(table, 16), lens)

    def test_tensors_are_taken_where_they_are(self):
        """Views with an offset; what is not contiguous, or elsewhere, is refused."""
        cache, of = self.prepare("dense")
        decode, (q, k, v, table, lens) = cache.artefact["decode"], of("decode")
        want = decode(q, k, v, table, lens)[0]
        moved = torch.cat([q, q])[2:]
        self.assertGreater(moved.storage_offset(), 0)
        torch.testing.assert_close(decode(moved, k, v, table, lens)[0], want)
        strided = torch.stack([q, q], -1)[..., 0]
        with self.assertRaisesRegex(vashista.Error, "expected the row-major stride"):
            decode(strided, k, v, table, lens)
        with self.assertRaisesRegex(
            vashista.Error, "on a CPU or a CUDA device, got meta"
        ):
            decode(q.to("meta"), k, v, table, lens)
        with self.assertRaisesRegex(
            vashista.Error, "without gradient, got one that req"
        ):
            decode(q.clone().requires_grad_(), k, v, table, lens)
        with torch.no_grad():
            got = decode(q.clone().requires_grad_(), k, v, table, lens)[0]
        torch.testing.assert_close(got, want)

    def test_a_gradient_is_refused(self):
        """Rather than left out."""
        cache, of = self.prepare("dense")
        q, *others = of("decode")
        out = vashista.torch.op(cache.artefact, "decode")(q.requires_grad_(), *others)[
            0
        ]
        with self.assertRaisesRegex(RuntimeError, "backward through vashista.run"):
            out.sum().backward()


class GraphTest(unittest.TestCase):
    """What only a GPU can show."""

    def setUp(self):
        if not torch.cuda.is_available() or torch.device(DEVICE).type != "cuda":
            self.skipTest("takes a GPU and --device=cuda")
        torch.manual_seed(0)

    def test_a_captured_step(self):
        """A graph of a step, replayed for the steps after it, equals calling them."""
        for name, spec in SPECS.items():
            with self.subTest(name=name):
                caches = [
                    PagedKVCache(spec, 64, 2, layers=2, device=DEVICE) for _ in "ab"
                ]
                for length in (9, 14):
                    k, v = randn(2, length, HKV, D), randn(2, length, HKV, D)
                    for cache in caches:
                        cache.extend(cache.add(), k, v)
                captured, called = caches
                q, k, v = randn(2, 2, H, D), randn(2, 2, HKV, D), randn(2, 2, HKV, D)

                def run(step):
                    results = []
                    for layer in range(2):
                        step.append(k[layer], v[layer], layer)
                        results.append(step.attend(q[layer], layer))
                    return results

                step = captured.step([0, 1], pages=captured.max_pages)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    outputs = run(step)
                for number in range(12):
                    for x, new in ((q, randn(2, 2, H, D)), (k, randn(2, 2, HKV, D)),
                                   (v, randn(2, 2, HKV, D))):  # fmt: skip
                        x.copy_(new)
                    if number:
                        step.next()
                    graph.replay()
                    wanted = run(called.step([0, 1], pages=called.max_pages))
                    for got, want in zip(outputs, wanted):
                        for x, y in zip(got, want):
                            self.assertTrue(x is None or torch.equal(x, y), number)

    def test_a_captured_step_checks_itself(self):
        """At each replay: what its table holds then."""
        for name, spec in SPECS.items():
            with self.subTest(name=name):
                cache = PagedKVCache(spec, 16, 2, device=DEVICE, options=["--checked"])
                for length in (9, 14):
                    cache.extend(cache.add(), randn(length, HKV, D), randn(length, HKV, D))
                step = cache.step([0, 1], pages=cache.max_pages)
                q = randn(2, H, D)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    found = step.attend(q)
                graph.replay()
                self.assertFalse(found.faults.any())
                clean_o, clean_lse = found.o.clone(), found.lse.clone()
                for row, place, page in ((1, 2, 16), (0, 0, -1), (1, 0, 2**31 - 1)):
                    good = step.table[row, place].clone()
                    step.table[row, place] = page
                    graph.replay()
                    step.table[row, place] = good
                    self.assertEqual(found.faults[row].tolist(), [3, place, page, 15])
                    self.assertTrue((found.o[row] == 0).all())
                    self.assertTrue((found.lse[row] == -torch.inf).all())
                    other = 1 - row
                    self.assertFalse(found.faults[other].any())
                    self.assertTrue(torch.equal(found.o[other], clean_o[other]))
                    self.assertTrue(torch.equal(found.lse[other], clean_lse[other]))

    def test_nothing_waits(self):
        cache = PagedKVCache(SPECS["certified"], 64, 3, device=DEVICE)
        a, b = cache.add(), cache.add()
        k, v = randn(21, HKV, D), randn(21, HKV, D)
        q = randn(2, H, D)
        cache.extend(a, k, v)
        cache.extend(b, k, v)
        cache.append([a, b], k[:2], v[:2])
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(6):
                cache.append([a, b], k[:2], v[:2])
                cache.attend(q, [a, b])
                cache.rollback(a, 1)
            c = cache.fork(a)
            cache.append([c, a], k[:2], v[:2])
            cache.free(c)
            cache.extend(b, k, v)
            step = cache.step([a, b])
            step.append(k[:2], v[:2])
            step.attend(q)
        finally:
            torch.cuda.set_sync_debug_mode("default")


if __name__ == "__main__":
    for argument in [word for word in sys.argv if word.startswith("--device=")]:
        DEVICE = argument.split("=")[1]
        sys.argv.remove(argument)
    unittest.main()
