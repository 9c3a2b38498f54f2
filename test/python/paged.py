# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A paged cache against attention over plain lists of tokens, in float64.

With `--device=cpu`, or `cuda`, the same on tensors of PyTorch.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import dataclasses
import functools
import itertools
import pathlib
import random
import sys
import unittest

import numpy as np
import vashista
from vashista import AttentionSpec, PagedKVCache, Policy, Sketch
from vashista.eval import _artefacts

H, HKV, D, DV, S, LAYERS = 4, 2, 32, 16, 4, 2
DEVICE = None


def make_spec(**options):
    return AttentionSpec(
        **{
            "heads": H,
            "kv_heads": HKV,
            "head_dim": D,
            "value_dim": DV,
            "page_size": S,
            "scale": 0.25,
            "dtype": "f32",
            **options,
        }
    )


CERTIFIED = dict(
    policy=Policy.certified(0.3, candidates=64, sinks=1, window=3), sketch=Sketch()
)
# Budgets that hold everything: whatever routes and selects, the output is dense.
FULL = [
    make_spec(),
    make_spec(dtype="bf16", layout="nhd"),
    make_spec(policy=Policy(pages=16, candidates=64, sinks=1, window=3), summary="mean_std"),
    make_spec(policy=Policy(pages=16, tolerance=0.1, fallback="dense"), summary="box"),
    make_spec(policy=Policy(pages=16, candidates=64, tolerance=0.1), summary="ball",
              sketch=Sketch(bits=8, norm="group", centre="page", norms="f16", scales="f16")),
    make_spec(policy=Policy(candidates=64), layout="nhd", soft_cap=2.0),
    make_spec(policy=Policy(candidates=64), sketch=Sketch(), dtype="f16", shared_rows=True),
    make_spec(policy=Policy(candidates=64, tolerance=0.1), sketch=Sketch(), moments=True),
    make_spec(policy=Policy(pages=16, candidates=64, tolerance=0.1), summary="box",
              sketch=Sketch(centre="page"), layout="nhd", dtype="bf16", moments=True,
              shared_rows=True),
]  # fmt: skip


def numbers(array, dtype):
    """f32 numbers as the cache's library has them, rounded to the spec's type."""
    if DEVICE is not None:
        import torch

        types = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
        return torch.from_numpy(array).to(DEVICE, types[dtype])
    if dtype == "bf16":
        return vashista.as_bfloat16(array)
    return array.astype({"f16": np.float16, "f32": np.float32}[dtype])


def float64(array):
    """What a library's array holds."""
    if isinstance(array, vashista.Bits):
        return array.float32().astype(np.float64)
    if DEVICE is not None:
        return array.double().cpu().numpy()
    return array.astype(np.float64)


def plain(array):
    """Bits and integers of a cache, on the host."""
    if DEVICE is None:
        return array
    import torch

    array = array.view(torch.int16) if array.dtype == torch.bfloat16 else array
    return array.cpu().numpy()


def attend(q, k, v, spec):
    """(o, lse) of a row: q [H, D], k [T, Hkv, D], v [T, Hkv, Dv]."""
    k, v = (np.repeat(x, H // HKV, 1) for x in (k, v))
    logits = spec.scale * np.einsum("hd,thd->ht", q, k)
    if spec.soft_cap is not None:
        logits = spec.soft_cap * np.tanh(logits / spec.soft_cap)
    if not len(k):
        return np.zeros((H, DV)), np.full(H, -np.inf)
    most = logits.max(-1, keepdims=True)
    weights = np.exp(logits - most)
    total = weights.sum(-1)
    return (
        np.einsum("ht,thd->hd", weights, v) / total[:, None],
        np.log(total) + most[:, 0],
    )


class Model:
    """A cache, and what should be in it: lists of tokens by sequence."""

    def __init__(self, spec, pages=40, sequences=4, seed=0, **options):
        self.cache = PagedKVCache(
            spec, pages, sequences, layers=LAYERS, device=DEVICE, **options
        )
        self.spec, self.rng = spec, np.random.default_rng(seed)
        self.tokens = {}

    def draw(self, *shape):
        x = numbers(self.rng.standard_normal(shape, np.float32), self.spec.dtype)
        return x, float64(x)

    def add(self):
        number = self.cache.add()
        self.tokens[number] = [np.zeros((LAYERS, 0, HKV, d)) for d in (D, DV)]
        return number

    def _add(self, number, k, v):
        self.tokens[number] = [
            np.concatenate([old, new], 1)
            for old, new in zip(self.tokens[number], (k, v))
        ]

    def extend(self, number, count):
        (k, k64), (v, v64) = (self.draw(LAYERS, count, HKV, d) for d in (D, DV))
        self.cache.extend(number, k, v)
        self._add(number, k64, v64)

    def append(self, *sequences):
        (k, k64), (v, v64) = (
            self.draw(LAYERS, len(sequences), HKV, d) for d in (D, DV)
        )
        self.cache.append(sequences, k, v)
        for row, number in enumerate(sequences):
            self._add(number, k64[:, row : row + 1], v64[:, row : row + 1])

    def step(self, sequences, tokens):
        """Appends layer by layer; the rows' tokens are next to each other."""
        rows = len(sequences) * tokens
        step = self.cache.step(sequences, tokens)
        (k, k64), (v, v64) = (self.draw(LAYERS, rows, HKV, d) for d in (D, DV))
        for layer in range(LAYERS):
            step.append(k[layer] if DEVICE or not hasattr(k, "bits") else
                        vashista.bfloat16(k.bits[layer]),
                        v[layer] if DEVICE or not hasattr(v, "bits") else
                        vashista.bfloat16(v.bits[layer]), layer)  # fmt: skip
        for row, number in enumerate(np.repeat(sequences, tokens)):
            self._add(int(number), k64[:, row : row + 1], v64[:, row : row + 1])
        return step

    def fork(self, number, length=None):
        fork = self.cache.fork(number, length)
        end = self.tokens[number][0].shape[1] if length is None else length
        self.tokens[fork] = [x[:, :end] for x in self.tokens[number]]
        return fork

    def rollback(self, number, count):
        self.cache.rollback(number, count)
        end = self.tokens[number][0].shape[1] - count
        self.tokens[number] = [x[:, :end] for x in self.tokens[number]]

    def free(self, number):
        self.cache.free(number)
        del self.tokens[number]


class PagedTest(unittest.TestCase):
    def check(self, model, step=None, exact=True):
        """Every layer's attention of every sequence; sound certificates."""
        sequences = sorted(model.tokens) if step is None else step.sequences
        tokens = 1 if step is None else max(step.tokens, 1)
        for layer in range(LAYERS):
            q, q64 = model.draw(len(sequences) * tokens, H, D)
            if step is None:
                got = model.cache.attend(q, sequences, layer)
            else:
                got = step.attend(q, layer)
            o, lse = float64(got.o), float64(got.lse)
            self.assertEqual(got.tau is not None, model.spec.policy.is_certified)
            for row, number in enumerate(np.repeat(sequences, tokens)):
                k, v = model.tokens[int(number)]
                end = k.shape[1] - tokens + 1 + row % tokens
                want, want_lse = attend(
                    q64[row], k[layer, :end], v[layer, :end], model.spec
                )
                if exact:
                    np.testing.assert_allclose(o[row], want, rtol=0, atol=2e-5)
                    np.testing.assert_allclose(lse[row], want_lse, rtol=0, atol=2e-5)
                if got.tau is not None:
                    error = np.linalg.norm(o[row] - want, axis=-1)
                    bound = float64(got.error)[row] + 2e-5
                    fell = np.repeat(plain(got.flag)[row], H // HKV)
                    self.assertTrue((fell | (error <= bound)).all(), (error, bound))
                    self.assertTrue((error[fell] <= 2e-5).all())

    def test_everything(self):
        """Prompts, steps, forks, rollbacks, freed and reused pages."""
        for spec in FULL:
            with self.subTest(spec=spec):
                model = Model(spec)
                a, b = model.add(), model.add()
                model.extend(a, 11)
                model.extend(b, 1)
                self.check(model)
                model.extend(a, 6)  # begins within a page
                model.append(a, b)
                model.append(b)
                c = model.fork(a)  # shares a page that is not full
                model.append(c)
                model.append(a, c, b)
                self.check(model)
                d = model.fork(c, 6)
                model.append(d, a)
                model.rollback(a, 5)
                self.check(model)
                model.append(a, d)
                model.free(c)
                e = model.add()
                model.extend(e, 13)
                self.check(model)
                for number in sorted(model.tokens):
                    model.free(number)
                self.assertEqual(model.cache.free_pages, 40)

    def test_layers_of_a_step(self):
        for spec in (FULL[0], FULL[1], FULL[6]):
            model = Model(spec)
            a, b = model.add(), model.add()
            model.extend(a, 7)
            for _ in range(6):
                step = model.step([b, a], 1)
                self.check(model, step)

    def test_speculative_tokens(self):
        """Several tokens of a sequence at once; some of them are not accepted."""
        spec = make_spec(shared_rows=True, **CERTIFIED)
        model = Model(spec)
        a, b = model.add(), model.add()
        model.extend(a, 14)
        model.extend(b, 3)
        fork = model.fork(a)
        rng = random.Random(0)
        for _ in range(5):
            step = model.step([a, b], 3)
            self.check(model, step, exact=False)
            for number in (a, b):
                model.rollback(number, rng.randrange(4))
        self.check(model, exact=False)
        self.assertEqual(model.cache.length(fork), 14)

    def test_what_is_kept(self):
        """Bit for bit what the same tokens give that were there at once."""
        for spec in (make_spec(**CERTIFIED), *FULL[2:5]):
            with self.subTest(spec=spec):
                model, whole = Model(spec), Model(spec)
                a = model.add()
                model.extend(a, 6)
                for _ in range(4):
                    model.append(a)
                b = model.fork(a)
                model.append(b)
                model.rollback(a, 3)
                model.append(a)
                model.append(a)
                c = whole.add()
                for number in (a, b):
                    k, v = (
                        numbers(x.astype(np.float32), spec.dtype)
                        for x in model.tokens[number]
                    )
                    whole.cache.extend(c, k, v)
                    for layer in range(LAYERS):
                        mine, other = model.cache.arrays(layer), whole.cache.arrays(
                            layer
                        )
                        pages = model.cache._pages.pages(number)
                        wholes = whole.cache._pages.pages(c)
                        last = model.cache.length(number) % S
                        for name in mine:
                            for i, (p, w) in enumerate(zip(pages, wholes)):
                                x, y = plain(mine[name])[p], plain(other[name])[w]
                                if (
                                    last
                                    and i == len(pages) - 1
                                    and x.ndim > 1
                                    and S in x.shape
                                ):
                                    # Slots that are not written are anything.
                                    x, y = (
                                        np.take(z, range(last), z.shape.index(S))
                                        for z in (x, y)
                                    )
                                np.testing.assert_array_equal(x, y, f"{name} page {i}")
                    whole.cache.rollback(c, whole.cache.length(c))

    def test_a_shared_page_is_not_written(self):
        model = Model(FULL[0])
        a = model.add()
        model.extend(a, 6)
        forks = [model.fork(a), model.fork(a)]
        self.assertEqual(model.cache.free_pages, 38)
        model.append(*forks)
        # Two copies of the page that is not full; the other one stays shared.
        self.assertEqual(model.cache.free_pages, 36)
        model.free(forks[0])
        model.free(a)
        self.assertEqual(model.cache.free_pages, 38)
        self.check(model)
        model.append(forks[1])
        self.assertEqual(model.cache.free_pages, 38)
        self.check(model)

    def test_rows_without_a_sequence(self):
        model = Model(make_spec(**CERTIFIED))
        a = model.add()
        model.extend(a, 5)
        step = model.cache.step([None, a, None])
        (k, k64), (v, v64) = (model.draw(3, HKV, d) for d in (D, DV))
        before = [plain(x).copy() for x in model.cache.arrays(1).values()]
        step.append(k, v, 0)
        for old, new in zip(before, model.cache.arrays(1).values()):
            np.testing.assert_array_equal(old, plain(new))
        q, q64 = model.draw(3, H, D)
        got = step.attend(q, 0)
        np.testing.assert_array_equal(float64(got.o)[[0, 2]], 0)
        self.assertTrue((float64(got.lse)[[0, 2]] == -np.inf).all())
        old_k, old_v = model.tokens[a]
        want, _ = attend(
            q64[1],
            np.concatenate([old_k[0], k64[1:2]]),
            np.concatenate([old_v[0], v64[1:2]]),
            model.spec,
        )
        error = np.linalg.norm(float64(got.o)[1] - want, axis=-1)
        self.assertTrue((error <= float64(got.error)[1] + 2e-5).all())

    def test_checked(self):
        """What a step finds is beside what it returns, certified or not."""
        for spec in (make_spec(), make_spec(**CERTIFIED)):
            plain_cache, cache = (
                PagedKVCache(
                    spec, pages=8, sequences=2, device=DEVICE, layers=LAYERS, **options
                )
                for options in ({}, {"options": ["--checked"]})
            )
            rng = np.random.default_rng(7)
            new = [rng.standard_normal((LAYERS, 9, HKV, n)) for n in (D, DV)]
            q = numbers(rng.standard_normal((1, H, D)), spec.dtype)
            found = []
            for each in (plain_cache, cache):
                each.extend(each.add(), *(numbers(x, spec.dtype) for x in new))
                found.append(each.attend(q, each.sequences))
            for name in ("o", "lse", "tau", "error", "rounds", "flag"):
                one, other = (getattr(x, name) for x in found)
                self.assertEqual(one is None, other is None)
                if one is not None:
                    np.testing.assert_array_equal(plain(one), plain(other))
            self.assertIsNone(found[0].faults)
            np.testing.assert_array_equal(plain(found[1].faults), np.zeros((1, 4)))

    def test_the_next_step(self):
        """In the arrays of the one before."""
        model = Model(FULL[0])
        a, b = model.add(), model.add()
        model.extend(a, 3)
        step = model.cache.step([a, b], pages=3)
        arrays = [step.table, step.lens, step.positions, step.rows]
        for number in range(8):
            if number:
                step.next()
            (k, k64), (v, v64) = (model.draw(LAYERS, 2, HKV, d) for d in (D, DV))
            for layer in range(LAYERS):
                step.append(k[layer], v[layer], layer)
            for row, sequence in enumerate((a, b)):
                model._add(sequence, k64[:, row : row + 1], v64[:, row : row + 1])
            self.check(model, step)
        for old, new in zip(arrays, (step.table, step.lens, step.positions, step.rows)):
            self.assertIs(old, new)
        step.next()
        with self.assertRaisesRegex(
            vashista.Error, "step: pages: expected at least 4 .* got 3"
        ):
            step.next()

    def test_known_pages(self):
        """A spec's columns are those of every step, and no sequence is longer."""
        known = dataclasses.replace(FULL[0], batch=2, max_pages=4)
        model = Model(known)
        a, b = model.add(), model.add()
        for tokens in (3, known.page_size):
            model.extend(a, tokens)
            model.extend(b, 1)
            step = model.cache.step([a, b], 0)
            self.assertEqual(tuple(step.table.shape), (2, 4))
            self.check(model, step)
        with self.assertRaisesRegex(
            vashista.Error, "step: pages: expected 4, as the spec has, got 3"
        ):
            model.cache.step([a, b], pages=3)
        most = 4 * known.page_size
        with self.assertRaisesRegex(vashista.Error, f"expected at most {most} tokens"):
            model.extend(a, most)
        with self.assertRaisesRegex(
            vashista.Error, f"cache: max_length: expected 1 to {most}, got {most + 1}"
        ):
            PagedKVCache(known, 40, 4, max_length=most + 1)
        price = PagedKVCache.price(known, 40, 4)
        self.assertEqual(price.table, 4 * 4 * 4)

    def test_price(self):
        for spec, length in itertools.product(
            [*FULL, make_spec(**CERTIFIED)], (None, 17)
        ):
            price = PagedKVCache.price(spec, 40, 4, layers=LAYERS, max_length=length)
            cache = Model(spec, max_length=length).cache
            self.assertEqual(price.total, cache.bytes())
            self.assertEqual(price.table, 4 * 4 * (40 if length is None else 5))
            self.assertEqual(price.sketch > 0, spec.sketch is not None)
            moments = 4 * LAYERS * 4 * HKV * D * D  # of 4 sequences, f32
            self.assertEqual(price.moments, moments if spec.moments else 0)

    def test_out_of_pages(self):
        model = Model(make_spec(**CERTIFIED), pages=5, sequences=3)
        a, b = model.add(), model.add()
        model.extend(a, 11)
        model.extend(b, 6)
        c = model.fork(b)
        for kind, message, call in (
            ("out of memory", "expected 1 free pages for 2 more tokens of 1 sequences, got 0",
             lambda: model.extend(a, 2)),
            ("out of memory", "expected 1 free pages for 1 more tokens of 3 sequences, got 0",
             lambda: model.append(a, b, c)),
            ("out of memory", "room for a sequence, got 3 of 3 in use", model.add),
        ):  # fmt: skip
            with self.assertRaisesRegex(vashista.Error, message) as caught:
                call()
            self.assertEqual(caught.exception.kind, kind)
            self.check(model, exact=False)
        model.append(a)
        model.free(c)
        model.append(b)
        self.check(model, exact=False)

    def test_random_traces(self):
        """Pages are neither lost nor held twice, and every sequence stays its own."""
        for seed in range(3):
            rng = random.Random(seed)
            model = Model(FULL[2], pages=24, sequences=5, seed=seed)
            refused = 0
            for _ in range(60):
                there = sorted(model.tokens)
                one = rng.choice(there) if there else None
                try:
                    match rng.randrange(7):
                        case 0:
                            model.add()
                        case 1 if there:
                            model.extend(one, rng.randrange(9))
                        case 2 | 3 if there:
                            model.append(*rng.sample(there, rng.randint(1, len(there))))
                        case 4 if there:
                            model.fork(one, rng.randint(0, model.cache.length(one)))
                        case 5 if there:
                            model.rollback(one, rng.randint(0, model.cache.length(one)))
                        case 6 if len(there) > 3:
                            model.free(one)
                except vashista.Error as error:
                    self.assertEqual(error.kind, "out of memory")
                    refused += 1
                table = model.cache._pages
                held = [p for s in table.sequences for p in table.pages(s)]
                self.assertEqual(len(set(held)) + table.free_pages, 24)
                for page in set(held):
                    self.assertEqual(table.holders(page), held.count(page))
                if model.tokens and not rng.randrange(6):
                    self.check(model)
            self.check(model)
            self.assertGreater(refused, 0)


class MomentsTest(unittest.TestCase):
    """Second moments of sequences, which steps take in any order."""

    check = PagedTest.check

    def expect_bounds(self, model, exact=True):
        """The moments are those of the tokens, or more."""
        spec = model.spec
        for number, (k, v) in model.tokens.items():
            fresh = Model(spec, sequences=1).cache
            given = (numbers(x.astype(np.float32), spec.dtype) for x in (k, v))
            fresh.extend(fresh.add(), *given)
            for layer in range(LAYERS):
                mine, least = (
                    float64(x.arrays(layer)["moments"])[i]
                    for x, i in ((model.cache, number), (fresh, 0))
                )
                np.testing.assert_array_equal(mine, mine.swapaxes(1, 2))
                trace = np.trace(least, axis1=1, axis2=2)[:, None]
                more = np.linalg.eigvalsh(mine - least) / np.maximum(trace, 1e-30)
                self.assertGreater(more.min(), -1e-5)
                if exact:
                    self.assertLess(more.max(), 1e-5)

    def test_they_are_bounds(self):
        """Of tokens in chunks, appended, forked, dropped and written again."""
        for options in ({}, {"shared_rows": True, "layout": "nhd", "dtype": "bf16"}):
            model = Model(make_spec(moments=True, **CERTIFIED, **options))
            a, b, c = (model.add() for _ in range(3))
            for count in (7, 1, 10):
                model.extend(a, count)
            model.extend(c, 5)
            self.expect_bounds(model)
            for there in ((c, a), (a,), (b, c), (b, a, c), (a, b, c)):
                model.append(*there)
            self.expect_bounds(model)
            d = model.fork(a)
            model.append(d, b)
            self.expect_bounds(model)
            model.rollback(c, 3)
            model.append(c)
            model.free(b)
            b = model.fork(a, 9)
            model.append(d, b)
            self.expect_bounds(model, exact=False)
            self.check(model, exact=False)
            # What is rebuilt, or begins anew, has nothing of dropped tokens.
            model.extend(b, 2)
            model.extend(c, 3)
            model.free(d)
            d = model.add()
            model.append(d)
            model.rollback(a, model.cache.length(a))
            model.append(a)
            self.expect_bounds(model)
            self.check(model, exact=False)

    def test_rebuilt_at_once(self):
        """Bit for bit what a prompt gives that was written at once, in one chunk."""
        model = Model(make_spec(moments=True, **CERTIFIED))
        a, b = model.add(), model.add()
        for number, counts in ((b, (9, 3)), (a, (4, 5, 7))):
            for count in counts:
                model.extend(number, count)
        whole = Model(model.spec)
        for number in (a, b):
            whole.add()
            k, v = (numbers(x.astype(np.float32), "f32") for x in model.tokens[number])
            whole.cache.extend(number, k, v)
        for layer in range(LAYERS):
            mine, other = (
                plain(x.cache.arrays(layer)["moments"]) for x in (model, whole)
            )
            np.testing.assert_array_equal(mine, other)
            self.assertTrue(mine[:2].any(axis=(2, 3)).all())
            self.assertFalse(mine[2:].any())

    def test_rows_in_any_order(self):
        """What a step is given of neighbours, it is given of any rows."""
        for options in ({}, {"shared_rows": True}):
            model = Model(make_spec(moments=True, **CERTIFIED, **options))
            for count in (9, 14, 3):
                model.extend(model.add(), count)
            (k, _), (v, _), (q, _) = (
                model.draw(3, *shape) for shape in ((HKV, D), (HKV, DV), (H, D))
            )
            found = {}
            for order in ((0, 1, 2), (2, 0, 1), (None, 1, 0), (1, None, 2), (1, 2)):
                rows = [row for row in order if row is not None]
                at = [0 if row is None else row for row in order]
                step = model.cache.step(order)
                before = plain(model.cache.arrays()["moments"]).copy()
                step.append(k[at], v[at])
                got = step.attend(q[at])
                after = plain(model.cache.arrays()["moments"])
                for number in range(4):
                    same = (before[number] == after[number]).all()
                    self.assertEqual(same, number not in rows)
                for i, row in enumerate(order):
                    if row is None:
                        self.assertTrue((plain(got.o)[i] == 0).all())
                        continue
                    of_row = [plain(x)[i] for x in got[:6]] + [after[row].copy()]
                    for x, y in zip(of_row, found.setdefault(row, of_row)):
                        np.testing.assert_array_equal(x, y)
                    model.cache.rollback(row, 1)
                    model.cache.arrays()["moments"][row] = numbers(before[row], "f32")
            self.assertEqual(sorted(found), [0, 1, 2])
        step = model.cache.step([None, None])
        step.append(k[:2], v[:2])
        self.assertTrue((plain(step.attend(q[:2]).o) == 0).all())

    def test_speculative_tokens(self):
        """Several tokens of a sequence see the same moments, which hold them all."""
        model = Model(make_spec(shared_rows=True, moments=True, **CERTIFIED))
        a, b = model.add(), model.add()
        model.extend(a, 14)
        model.extend(b, 3)
        rng = random.Random(1)
        for _ in range(5):
            step = model.step([b, a], 3)
            self.check(model, step, exact=False)
            for number in (a, b):
                model.rollback(number, rng.randrange(4))
        self.expect_bounds(model, exact=False)

    def test_fewer_tokens(self):
        """A proof takes less, and stays one."""
        rng = np.random.default_rng(3)
        dim, rows = 64, 2
        draw = functools.partial(rng.standard_normal, dtype=np.float32)
        k, v = (draw((1, 2048 + rows, HKV, dim)) for _ in "kv")
        q = draw((rows, H, dim))
        attended = {}
        for moments in (False, True):
            spec = make_spec(
                head_dim=dim,
                value_dim=dim,
                page_size=16,
                policy=Policy.certified(0.5, candidates=1024),
                sketch=Sketch(),
                shared_rows=True,
                moments=moments,
            )
            cache = PagedKVCache(spec, 256, 2, device=DEVICE)
            sequence = [cache.add(), cache.add()][1]
            for part in (slice(900), slice(900, 1000), slice(1000, 2048)):
                cache.extend(sequence, *(numbers(x[:, part], "f32") for x in (k, v)))
            step = cache.step([sequence], rows)
            step.append(*(numbers(x[0, 2048:], "f32") for x in (k, v)))
            got = step.attend(numbers(q, "f32"))
            self.assertFalse(plain(got.flag).any())
            tau = float64(got.tau)
            self.assertTrue((tau <= 0.5).all())
            attended[moments] = 0
            for row, seen in enumerate(self.lists(cache, step, q)):
                end = 2048 + row + 1
                keys = k[0, :end].repeat(H // HKV, 1).astype(np.float64)
                logits = spec.scale * np.einsum("hd,thd->ht", q[row], keys)
                mass = np.exp(logits - logits.max(-1, keepdims=True))
                mass /= mass.sum(-1, keepdims=True)
                for head in range(H):
                    tokens = seen[head // (H // HKV)]
                    self.assertEqual(len(set(tokens)), len(tokens))
                    missed = 1 - mass[head, tokens].sum()
                    self.assertLessEqual(missed, tau[row, head] + 1e-5)
                attended[moments] += sum(map(len, seen))
        self.assertLess(attended[True], 0.6 * attended[False])

    def lists(self, cache, step, q):
        """The tokens that each row's groups attended."""
        text = _artefacts.with_lists(cache.spec.text, "decode")
        memory = cache._memory
        decode = memory.entry(vashista.compile(text, memory.target), "decode")
        given = {"q": numbers(q, "f32"), "table": step.table, "lens": step.lens}
        given |= {"rows": step.rows, **step.arrays()}
        results = decode(
            *(
                memory.argument(given[value.name], value.dtype)
                for value in cache.artefact["decode"].arguments
            )
        )
        ids = np.concatenate([plain(x) for x in results[6::2]], -1)
        return [[group[group >= 0] for group in row] for row in ids]


class TrainedKeysTest(unittest.TestCase):
    """What a certificate says of a trained model's keys (test/data/codelm)."""

    def test_certificates(self):
        data = pathlib.Path(__file__).resolve().parents[1] / "data" / "codelm"
        for name in ("sharp", "diffuse"):
            q, k, v = (
                vashista.bfloat16(np.load(data / f"{name}.{part}.npy")).float32()
                for part in "qkv"
            )
            spec = AttentionSpec(
                4,
                1,
                128,
                scale=128**-0.5,
                policy=Policy.certified(0.5, candidates=4096),
                sketch=Sketch(),
            )
            cache = PagedKVCache(spec, 512, 1, device=DEVICE)
            sequence, length = cache.add(), 8176
            cache.extend(sequence, *(numbers(x[:length, None], "bf16") for x in (k, v)))
            for row in range(4):
                new = slice(length + row, length + row + 1)
                tokens = (numbers(x[new, None], "bf16") for x in (k, v))
                step = cache.append([sequence], *tokens)
                got = step.attend(numbers(q[row : row + 1], "bf16"))
                logits = 128**-0.5 * q[row].astype(np.float64) @ k[: new.stop].T
                weights = np.exp(logits - logits.max(-1, keepdims=True))
                o = weights @ v[: new.stop] / weights.sum(-1, keepdims=True)
                error = np.linalg.norm(float64(got.o)[0] - o, axis=-1)
                self.assertFalse(plain(got.flag).any())
                self.assertTrue((float64(got.tau) <= 0.5).all())
                # Beside what f32 rounds, also where nothing was left out.
                bound = float64(got.error)[0] + 1e-5 * np.linalg.norm(o, axis=-1)
                self.assertTrue((error <= bound).all(), (error, bound))
                # Something was left out, and it was little.
                self.assertGreater(error.max(), 1e-4)
                self.assertLess(error.max(), 0.2 * np.linalg.norm(o, axis=-1).max())


class MistakesTest(unittest.TestCase):
    def test_mistakes(self):
        model = Model(FULL[0])
        a = model.add()
        model.extend(a, 5)
        cache = model.cache
        k, _ = model.draw(LAYERS, 1, HKV, D)
        v, _ = model.draw(LAYERS, 1, HKV, DV)
        q, _ = model.draw(1, H, D)
        what = "a tensor" if DEVICE is not None else "an array"
        for message, call in (
            ("cache: expected a sequence of: 0, got 7", lambda: cache.free(7)),
            ("cache: expected a sequence of: 0, got 7", lambda: cache.attend(q, [7])),
            ("cache: expected each sequence once, got [0, 0]", lambda: cache.step([a, a])),
            ("cache: tokens to roll back: expected 0 to 5, got 6", lambda: cache.rollback(a, 6)),
            ("cache: length of a prefix: expected 0 to 5, got 6", lambda: cache.fork(a, 6)),
            ("step: tokens: expected 1 for a spec without shared_rows, got 2",
             lambda: cache.step([a], 2)),
            ("step: sequences: expected one or more, got none", lambda: cache.step([])),
            ("step: pages: expected at least 2 for these sequences, got 1",
             lambda: cache.step([a], pages=1)),
            ("step: append: expected a step of 1 or more tokens, got 0",
             lambda: cache.step([a], 0).append(k[0], v[0])),
            ("cache: layer: expected 0 to 1, got 2", lambda: cache.attend(q, [a], 2)),
            ("step: sequences: expected numbers of sequences, as in [0], got 0",
             lambda: cache.attend(q, 0)),
            ("chunk: sequences: expected numbers of sequences, as in [0], got 0",
             lambda: cache.chunk(0, 1)),
            ("cache: sequences: expected numbers of sequences, as in [0], got 0",
             lambda: cache.append(0, k, v)),
            (f"cache: keys: expected {what} f32 [2, 0, 2, 32]",
             lambda: cache.extend(a, np.float32(1), np.float32(1))),
            (f"cache: values: expected {what} f32 [2, 1, 2, 16]",
             lambda: cache.append([a], k, k)),
            (f"cache: keys: expected {what} f32 [2, 1, 2, 32]",
             lambda: cache.append([a], k[0], v)),
            (f"step: q: expected {what} f32 [1, 4, 32]", lambda: cache.attend(k[0], [a])),
            (f"cache: keys: expected {what} f32 [2, 0, 2, 32]",
             lambda: cache.extend(a, None, None)),
        ):  # fmt: skip
            with self.subTest(message=message):
                with self.assertRaises(vashista.Error) as caught:
                    call()
                self.assertTrue(
                    str(caught.exception).startswith(message), caught.exception
                )
                self.assertEqual(cache.length(a), 5)
        long = Model(FULL[0], max_length=9)
        with self.assertRaisesRegex(vashista.Error, "at most 12 tokens, got 13"):
            long.extend(long.add(), 13)
        for message, options in (
            ("cache: pages: expected 1 to 2147483647, got 0", {"pages": 0}),
            ("cache: layers: expected 1 to 2147483647, got 0", {"layers": 0}),
        ):
            with self.assertRaisesRegex(vashista.Error, message):
                PagedKVCache(**{"spec": FULL[0], "pages": 1, "sequences": 1, **options})
        with self.assertRaisesRegex(
            vashista.Error, "cache: spec: expected a vashista.Att"
        ):
            PagedKVCache("spec", 1, 1)
        with self.assertRaisesRegex(
            vashista.Error, "cache: spec: expected a vashista.Att"
        ):
            PagedKVCache.price(None, 1, 1)
        with self.assertRaisesRegex(
            vashista.Error, "cache: artefact: expected a vashista.Artefact, got 3"
        ):
            PagedKVCache(FULL[0], 1, 1, artefact=3)

    def test_pool_is_full(self):
        # Whoever has the pages: nobody else, or another sequence.
        for others in (0, 1):
            model = Model(FULL[0], pages=2)
            size = FULL[0].page_size
            a, b = model.add(), model.add()
            model.extend(b, others)
            with self.assertRaises(vashista.Error) as caught:
                model.extend(a, (2 - others) * size + 1)
            self.assertEqual(caught.exception.kind, "out of memory")
            self.assertEqual(model.cache.free_pages, 2 - others)


if __name__ == "__main__":
    for argument in [word for word in sys.argv if word.startswith("--device=")]:
        DEVICE = argument.split("=")[1]
        sys.argv.remove(argument)
    unittest.main()
