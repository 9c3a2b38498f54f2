# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Certificates where f32 overflows, underflows or sums many numbers.

Each of these once was below the truth, in float64 or longer.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import unittest

import numpy as np
import vashista

D, S = 128, 16


def tensor(shape, dtype):
    return f"tensor<{'x'.join(str(size) for size in shape)}x{dtype}>"


class Step:
    """One head: attends one page, or its tokens, picked by `source`.

    source: keys, sketch, box or ball. `run` yields the logits that a source says,
    and tau with the truth beside it.
    """

    def __init__(
        self, source, dtype, page_size=S, pages=1, dim=D, scale=None, target="cpu"
    ):
        self.dtype, self.page_size = dtype, page_size
        self.scale = np.float32(scale or 1 / np.sqrt(dim))
        ofpages = source in ("box", "ball")
        page = ["?", 1, page_size]
        types = {
            "q": tensor(["?", 1, dim], dtype),
            "k": tensor([*page, dim], dtype),
            "v": tensor([*page, dim], dtype),
            "table": tensor(["?", "?"], "i32"),
            "lens": tensor(["?"], "i32"),
            "norms": tensor(["?", 1, 2], "f32"),
        }
        whole = ["?", 1, dim]
        self.kept = {
            "keys": {},
            "sketch": {
                "codes": ([*page, dim // 2], "i8"),
                "scales": ([*page, dim // 32], "f16"),
                "residuals": (page, "i8"),
            },
            "box": {"lo": (whole, dtype), "hi": (whole, dtype)},
            "ball": {"centre": (whole, "f32"), "radius": (["?", 1], "f32")},
        }[source]
        types.update({name: tensor(*kept) for name, kept in self.kept.items()})
        attribute = {
            "keys": "#vashista.keys<hnd>",
            "sketch": "<bits = 4, group = 32, rotation = hadamard, norm = token>",
            "box": "<box>",
            "ball": "<ball>",
        }[source]

        def declare(names):
            return ", ".join(f'%{name}: {types[name]} loc("{name}")' for name in names)

        def of(names):
            return ", ".join(types[name] for name in names)

        def use(names):
            return ", ".join("%" + name for name in names)

        parts = list(self.kept)
        head, state = tensor(["?", 1], "f32"), tensor(["?", 1, dim], "f32")
        number = pages if ofpages else S
        ids, count = tensor(["?", 1, number], "i32"), tensor(["?", 1], "i32")
        everything = ["q", "k", "v", "table", "lens", "norms", *parts]
        scale = f"scale {self.scale:.9e}"
        sources = parts or ["k"]
        if source == "sketch":
            attribute = f"#vashista.sketch{attribute}"
        pick = (
            f"vashista.route %q from {attribute}({use(sources)}) table(%table) "
            f"lens(%lens) top {number} page_size {page_size} {scale}"
            if ofpages
            else f"vashista.select %q from {attribute}({use(sources)}) "
            f"table(%table) lens(%lens) top {number} {scale}"
        )
        summary = f"summary {attribute}({use(parts)})" if ofpages else ""
        sketch = f"sketch {attribute[16:]}({use(parts)})" if source == "sketch" else ""
        outs = ["norms", *parts] if source == "sketch" else [*parts, "norms"]
        text = f"""
func.func @summarize({declare(["k", "v", "table", "lens", *outs])}) -> ({of(outs)}) {{
  %r:{len(outs)} = vashista.summarize keys(%k) values(%v) table(%table)
      lens(%lens) {summary} norms(%norms) {sketch}
      : ({of(["k", "v", "table", "lens", *outs])}) -> ({of(outs)})
  return {", ".join(f"%r#{i}" for i in range(len(outs)))} : {of(outs)}
}}
func.func @step({declare(everything)}) -> ({ids}, {head}, {head}) {{
  %ids, %count, %tail = {pick}
      : ({of(["q", *sources, "table", "lens"])}) -> ({ids}, {count}, {head})
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %rows = tensor.dim %q, %c0 : {types["q"]}
  %o_any = tensor.empty(%rows) : {state}
  %o_none = linalg.fill ins(%zero : f32) outs(%o_any : {state}) -> {state}
  %lse_any = tensor.empty(%rows) : {head}
  %lse_none = linalg.fill ins(%none : f32) outs(%lse_any : {head}) -> {head}
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      {"pages" if ofpages else "tokens"}(%ids, %count) outs(%o_none, %lse_none) {scale}
      : ({of(["q", "k", "v", "table", "lens"])}, {ids}, {count}, {state}, {head})
      -> ({state}, {head})
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size {page_size} {scale}
      : ({types["q"]}, {state}, {head}, {head},
         {of(["norms", "table", "lens"])}) -> ({head}, {head})
  return %ids, %tau, %error : {ids}, {head}, {head}
}}
"""
        self.module = vashista.compile(text, target=target)
        self.outs, self.of_pages = outs, ofpages

    def run(self, query, keys):
        """tau, error and the true tau of a query [D] and keys [T, D]."""

        def stored(array):
            single = np.asarray(array, np.float32)
            if self.dtype == "f32":
                return single, single.astype(np.longdouble)
            bits = vashista.as_bfloat16(single)
            return bits, bits.float32().astype(np.longdouble)

        length, pages = len(keys), -(-len(keys) // self.page_size)
        cache = np.zeros((pages * self.page_size, keys.shape[1]))
        cache[:length] = keys
        shape = (pages, 1, self.page_size, keys.shape[1])
        k, exact = stored(cache.reshape(shape))
        v, _ = stored(np.ones(shape))
        q, exact_query = stored(query[None, None])
        table = np.arange(pages, dtype=np.int32)[None]
        lens = np.array([length], np.int32)
        kept = {"norms": np.zeros((pages, 1, 2), np.float32)}
        for name, (dims, dtype) in self.kept.items():
            dims = (pages, *dims[1:])
            kind = {"i8": np.int8, "f16": np.float16}.get(dtype, np.float32)
            kept[name] = np.zeros(dims, kind)
            if dtype == "bf16":
                kept[name] = vashista.bfloat16(np.zeros(dims, np.uint16))
        self.module["summarize"](k, v, table, lens, *[kept[name] for name in self.outs])
        order = ["norms", *self.kept]
        ids, tau, error = self.module["step"](
            q, k, v, table, lens, *[kept[name] for name in order]
        )
        x = exact.reshape(-1, keys.shape[1])[:length] @ exact_query[0, 0]
        x = x * np.longdouble(self.scale)
        mass = np.exp(x - x.max())
        ids = ids[0, 0][ids[0, 0] >= 0]
        attended = np.zeros(length, bool)
        for i in ids:
            unit = self.page_size if self.of_pages else 1
            attended[i * unit : (i + 1) * unit] = True
        return tau[0, 0], error[0, 0], mass[~attended].sum() / mass.sum()


def get_bound(attribute, parts, query, scale, options=""):
    """The bound of page 0 or of its first token; parts: array and type of each."""
    types = [tensor(["?", *array.shape[1:]], dtype) for array, dtype in parts]
    names = [f"%part{i}" for i in range(len(parts))]
    declared = ", ".join(f"{name}: {of}" for name, of in zip(names, types))
    direction = tensor(["?", 1, query.size], "f32")
    page_size = "" if "sketch" in attribute else "page_size 16"
    all_bounds = tensor(["?", 1, "?"], "f32")
    score = vashista.compile(f"""
func.func @score(%q: {direction}, {declared}, %table: tensor<?x?xi32>,
                 %lens: tensor<?xi32>) -> {all_bounds} {{
  %scores, %bounds = vashista.score %q from {attribute}({", ".join(names)})
      table(%table) lens(%lens) {page_size} scale {scale:.9e} {options}
      : ({direction}, {", ".join(types)}, tensor<?x?xi32>, tensor<?xi32>)
      -> ({all_bounds}, {all_bounds})
  return %bounds : {all_bounds}
}}
""")["score"]
    arrays = [array for array, _ in parts]
    table, lens = np.zeros((1, 1), np.int32), np.ones(1, np.int32)
    return np.longdouble(score(query[None, None], *arrays, table, lens)[0, 0, 0])


SOURCES = ("keys", "sketch", "box", "ball")


class ExtremesTest(unittest.TestCase):
    def expect_bound(self, step, query, keys):
        tau, error, truth = step.run(query, keys)
        self.assertGreater(truth, 0)
        self.assertGreaterEqual(np.longdouble(tau), truth)
        return tau, error

    def test_logits_that_overflow_are_unknown(self):
        # All are equal; and sums that overflow on the way to 0.
        equal = np.full(D, 1e37), -np.ones((64, D))
        cancelling = np.full(D, 1e20), np.zeros((64, D))
        cancelling[1][16:] = np.where(np.arange(D) < D // 2, -1e19, 1e19)
        for source in SOURCES:
            for dtype in ("f32", "bf16"):
                step = Step(source, dtype)
                for query, keys in (equal, cancelling):
                    with self.subTest(source=source, dtype=dtype, first=query[0]):
                        tau, error = self.expect_bound(step, query, keys)
                        self.assertEqual((tau, error), (1, np.inf))

    def test_the_norm_of_a_query_whose_squares_underflow(self):
        # A page's keys point either way: its centre says nothing.
        keys = np.full((64, D), 2.0**80 * 0.01)
        keys[16:] = 2.0**80 * 5 / np.sqrt(D) * (-1.0) ** np.arange(48)[:, None]
        for source in SOURCES:
            for dtype in ("f32", "bf16"):
                with self.subTest(source=source, dtype=dtype):
                    self.expect_bound(Step(source, dtype), np.full(D, 2.0**-80), keys)

    def test_numbers_that_an_instruction_takes_for_zeros(self):
        keys = np.zeros((64, D))
        keys[16:] = 5e-39
        for source in SOURCES:
            with self.subTest(source=source):
                step = Step(source, "bf16", scale=1)
                self.expect_bound(step, np.full(D, 1e37), keys)

    def test_sums_of_many_weights(self):
        # Weights whose sum in f32 is too large by the most.
        def bias(weight, number):
            weights = np.full(number, weight, np.float32)
            return np.add.accumulate(weights)[-1] / (np.float64(weight) * number) - 1

        page_size, pages = 256, 256
        step = Step(
            "box", "f32", page_size, pages, dim=1, scale=1, target="cpu:x86-64-v3"
        )
        rng = np.random.default_rng(0)
        weights = rng.uniform(0.5, 1, 500).astype(np.float32)
        biases = [bias(weight, page_size * pages // 8) for weight in weights]
        for weight in weights[np.argsort(biases)[-3:]]:
            keys = np.full((page_size * (pages + 1), 1), np.log(np.float64(weight)))
            keys[0] = 0
            self.expect_bound(step, np.ones(1), keys)

    def test_a_box_whose_sum_drops_most_products(self):
        # Beside 2^24 anything below 1 is nothing. Either side of the box, and a
        # query of either sign.
        dim = 4096
        far = np.full((1, 1, dim), 1 - 2.0**-8, np.float32)
        far[..., 0] = 2**24
        none = np.zeros_like(far)
        truth = far.sum(dtype=np.longdouble) * 2**-24
        for sign, (lo, hi) in ((1, (none, far)), (-1, (-far, none))):
            with self.subTest(sign=sign):
                bound = get_bound(
                    "#vashista.summary<box>",
                    [(lo, "f32"), (hi, "f32")],
                    np.full(dim, sign, np.float32),
                    2.0**-24,
                )
                self.assertGreaterEqual(bound, truth)

    def test_a_ball_whose_every_rounding_is_down(self):
        # One channel: of many, those whose products round down the most.
        rng = np.random.default_rng(0)
        w, radius = rng.uniform(1, 2, (2, 1 << 18)).astype(np.float32)
        scale = np.float32(0.1)
        exact = w.astype(np.float64) * radius * scale
        for i in np.argsort(w * radius * scale / exact)[:4]:
            bound = get_bound(
                "#vashista.summary<ball>",
                [
                    (np.zeros((1, 1, 1), np.float32), "f32"),
                    (radius[i].reshape(1, 1), "f32"),
                ],
                w[i : i + 1],
                scale,
            )
            self.assertGreaterEqual(bound, np.longdouble(exact[i]))

    def test_a_sketch_whose_sum_drops_most_groups(self):
        # Codes of 15 are 7.5 scales, and the query is a multiple of its step.
        dim, group = 2048, 32
        codes = np.full((1, 1, 16, dim // 2), -1, np.int8)
        scales = np.full((1, 1, 16, dim // group), 1.0625 * 2.0**-13, np.float16)
        scales[..., 0] = 2**12
        bound = get_bound(
            "#vashista.sketch<bits = 4, group = 32>",
            [(codes, "i8"), (scales, "f16"), (np.zeros_like(scales), "f16")],
            np.ones(dim, np.float32),
            2.0**-20,
        )
        truth = scales[0, 0, 0].sum(dtype=np.longdouble) * 7.5 * group * 2**-20
        self.assertGreaterEqual(bound, truth)

    def test_a_cap_does_not_bound_what_is_unknown(self):
        # Of a key with NaN, say, whose page or residual is unbounded.
        one, unbounded = np.ones((1, 1, D), np.float32), np.float32(np.inf)
        codes = np.zeros((1, 1, 16, D // 2), np.int8)
        scales = np.ones((1, 1, 16, D // 32), np.float16)
        sources = {
            "summary<box>": [(-one, "f32"), (one * unbounded, "f32")],
            "summary<ball>": [
                (one, "f32"),
                (np.full((1, 1), unbounded, np.float32), "f32"),
            ],
            "sketch<bits = 4, group = 32>": [
                (codes, "i8"),
                (scales, "f16"),
                (np.full_like(scales, np.inf), "f16"),
            ],
        }
        for source, parts in sources.items():
            with self.subTest(source=source):
                bound = get_bound(
                    f"#vashista.{source}", parts, one[0, 0], 0.125, "soft_cap 30.0"
                )
                self.assertEqual(bound, np.inf)

    def test_a_score_does_not_depend_on_who_reads_bounds(self):
        # An estimate that overflows ranks last; as a bound it would rank first.
        types = f"({tensor((1, 1, D), 'f32')}, {tensor(('?', 1, D), 'f32')}, "
        types += f"{tensor((1, 2), 'i32')}, {tensor((1,), 'i32')})"
        score = tensor((1, 1, 2), "f32")
        names = ("q", "mean", "table", "lens")
        arguments = ", ".join(
            f'%{n}: {t} loc("{n}")' for n, t in zip(names, types[1:-1].split(", "))
        )
        text = ""
        for name, results in (("alone", 1), ("both", 2)):
            made = ", ".join([score] * results)
            values = ", ".join(f"%s#{i}" for i in range(results))
            text += f"""
                func.func @{name}({arguments}) -> ({made}) {{
                  %s:2 = vashista.score %q from #vashista.summary<mean>(%mean)
                      table(%table) lens(%lens) page_size {S} scale 1.0
                      : {types} -> ({score}, {score})
                  return {values} : {made}
                }}"""
        module = vashista.compile(text, "cpu")
        query = np.full((1, 1, D), -3e38, np.float32)
        means = np.stack([np.full((1, D), 3e38), np.zeros((1, D))]).astype(np.float32)
        given = (query, means, np.array([[0, 1]], np.int32), np.array([2 * S], np.int32))
        expected = np.array([[[-np.inf, 0.0]]], np.float32)
        np.testing.assert_array_equal(module["alone"](*given), expected)
        np.testing.assert_array_equal(module["both"](*given)[0], expected)

    def test_sums_of_many_states(self):
        states, width = 512, 16
        head, state = tensor(["?", 1], "f32"), tensor(["?", 1, width], "f32")
        stack = tensor([states, "?", 1], "f32")
        types = [
            state,
            tensor([states, "?", 1, width], "f32"),
            stack,
            stack,
            tensor(["?", 1, 2], "f32"),
            tensor(["?", "?"], "i32"),
            tensor(["?"], "i32"),
        ]
        names = ["q", "os", "lses", "tails", "norms", "table", "lens"]
        declared = ", ".join(f"%{name}: {of}" for name, of in zip(names, types))
        join = vashista.compile(f"""
func.func @join({declared}) -> {head} {{
  %o, %lse = vashista.merge outputs(%os) lses(%lses)
      : ({types[1]}, {stack}) -> ({state}, {head})
  %tail = vashista.merge_tails %tails : ({stack}) -> {head}
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 1.0
      : ({state}, {state}, {head}, {head}, {", ".join(types[4:])})
      -> ({head}, {head})
  return %tau : {head}
}}
""")["join"]
        rng = np.random.default_rng(1)
        tails = np.full((states, 1, 1), -np.inf, np.float32)
        tails[-1] = 0
        for weight in rng.uniform(0.5, 1, 200):
            lses = np.full((states, 1, 1), np.log(weight), np.float32)
            lses[0] = 0
            tau = join(
                np.ones((1, 1, width), np.float32),
                np.zeros((states, 1, 1, width), np.float32),
                lses,
                tails,
                np.full((1, 1, 2), 1e-3, np.float32),
                np.zeros((1, 1), np.int32),
                np.ones(1, np.int32),
            )[0, 0]
            mass = np.exp(lses.astype(np.longdouble)).sum()
            self.assertGreaterEqual(np.longdouble(tau), 1 / (mass + 1))


if __name__ == "__main__":
    unittest.main()
