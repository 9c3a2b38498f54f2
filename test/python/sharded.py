# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Certificates of sequences that are spread over shards (examples/sharded.mlir).

VASHISTA_SPLITS says over how many random splits (4); every certificate is
compared with the truth over the whole sequences, in float64.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import os
import pathlib
import unittest

import numpy as np
import vashista

ROOT = pathlib.Path(__file__).resolve().parents[2]
INPUTS = pathlib.Path(__file__).parent / "Inputs"
MODULE = vashista.compile(
    (ROOT / "examples" / "sharded.mlir").read_text()
    + (INPUTS / "sharded.mlir").read_text()
)
ROWS, H, HKV, D, S, LONGEST = 8, 32, 8, 128, 16, 6000
SCALE = np.float64(np.float32(0.0883883461))
SPLITS = int(os.environ.get("VASHISTA_SPLITS", "4"))


class Cache:
    """The tokens that one shard holds of each sequence, in pages of its own."""

    def __init__(self, rng, keys, values, places):
        self.places = places  # of each token in its sequence
        counts = [-(-len(own) // S) for own in places]
        pages = sum(counts) + 1
        order = iter(rng.permutation(pages))
        # What no row sees may be anything.
        k = np.full((pages, HKV, S, D), np.nan, np.float32)
        v = np.full((pages, HKV, S, D), np.nan, np.float32)
        self.table = np.full((ROWS, max(counts) + 1), -1, np.int32)
        for row, own in enumerate(places):
            for page in range(counts[row]):
                at = self.table[row, page] = next(order)
                some = own[page * S : (page + 1) * S]
                k[at, :, : len(some)] = keys[row][some].swapaxes(0, 1)
                v[at, :, : len(some)] = values[row][some].swapaxes(0, 1)
        self.lens = np.array([len(own) for own in places], np.int32)
        self.k, self.v = vashista.as_bfloat16(k), vashista.as_bfloat16(v)
        self.sketch = (
            np.zeros((pages, HKV, S, D // 2), np.int8),
            vashista.Bits(np.zeros((pages, HKV, S, D // 32), np.uint8), "f8E4M3FN"),
            np.zeros((pages, HKV, S), np.int8),
        )
        self.norms = np.full((pages, HKV, 2), np.nan, np.float32)
        MODULE["summarize"](
            self.k, self.v, self.table, self.lens, *self.sketch, self.norms
        )

    def shard(self, q):
        """o, lse, tail, norms."""
        return MODULE["shard"](
            q, self.k, self.v, self.table, self.lens, *self.sketch, self.norms
        )

    def picked(self, q):
        """The tokens that `shard` attends to, and the tail."""
        return MODULE["picked"](q, self.table, self.lens, *self.sketch)

    def whole(self, q, tokens):
        """o, lse, tail, tau, error of given tokens [R, Hkv, C]."""
        return MODULE["whole"](
            q, self.k, self.v, self.table, self.lens, *self.sketch, self.norms, tokens
        )


def join(q, parts):
    """o, lse, tau, error of what shards say."""
    os, lses, tails, norms = (np.stack(part) for part in zip(*parts))
    return MODULE["join"](q, os, lses, tails, norms)


def bfloat16_numbers(rng, shape, scale=1.0):
    numbers = (scale * rng.standard_normal(shape)).astype(np.float32)
    return vashista.as_bfloat16(numbers).float32()


class Sequences:
    """Queries and the keys and values of each sequence [T, Hkv, D]."""

    def __init__(self, rng, needle=None):
        lens = np.exp(rng.uniform(0, np.log(LONGEST), ROWS)).astype(int)
        lens[rng.permutation(ROWS)[:2]] = [0, 1]
        self.lens = lens
        q = bfloat16_numbers(rng, (ROWS, H, D), rng.choice([0.5, 1, 3]))
        self.keys, self.values = [], []
        for row, length in enumerate(lens):
            k = rng.standard_normal((length, HKV, D))
            if needle is not None or rng.random() < 0.7:
                # Tokens that the queries of a head look for.
                k *= 0.2
                for head in range(HKV if length else 0):
                    w = q[row, head * (H // HKV)]
                    size = 15 if needle is None else needle
                    k[rng.integers(0, length), head] += (
                        size * w / (SCALE * np.dot(w, w) + 1e-9)
                    )
            k = vashista.as_bfloat16(k.astype(np.float32)).float32()
            self.keys.append(k)
            self.values.append(bfloat16_numbers(rng, (length, HKV, D)))
        self.q = vashista.as_bfloat16(q)
        self.q64 = q.astype(np.float64)

    def split(self, rng, number):
        """The places of each shard's tokens in each sequence."""
        owners = []
        for length in self.lens:
            kind = rng.integers(3)
            if kind == 0:  # one range each, or none
                owner = np.sort(rng.integers(0, number, length))
            elif kind == 1:  # page after page, in turn
                owner = np.arange(length) // S % number
            else:
                owner = rng.integers(0, number, length)
            owners.append(owner)
        return [
            [np.flatnonzero(owner == shard) for owner in owners]
            for shard in range(number)
        ]

    def truth(self, attended):
        """tau and the error of o where `attended` [R][Hkv, T] was attended to."""
        tau, error = np.zeros((ROWS, H)), np.zeros((ROWS, H))
        for row in range(ROWS):
            for head in range(H if self.lens[row] else 0):
                kv = head // (H // HKV)
                keys = self.keys[row][:, kv].astype(np.float64)
                values = self.values[row][:, kv].astype(np.float64)
                x = SCALE * (keys @ self.q64[row, head])
                weights = np.exp(x - x.max())
                taken = attended[row][kv]
                # Not as 1 - attended: a small share would be lost.
                rest, mass = weights[~taken].sum(), weights[taken].sum()
                tau[row, head] = rest / (rest + mass)
                if rest > 0:
                    sparse = weights[taken] @ values[taken] / mass if mass else 0.0
                    left = weights[~taken] @ values[~taken] / rest
                    error[row, head] = tau[row, head] * np.linalg.norm(left - sparse)
        return tau, error


def shards_of(sequences, rng, number):
    """What each of so many shards says."""
    return [
        Cache(rng, sequences.keys, sequences.values, own).shard(sequences.q)
        for own in sequences.split(rng, number)
    ]


class ShardedTest(unittest.TestCase):
    def expect_bounds(self, sequences, attended, tau, error):
        true_tau, true_error = sequences.truth(attended)
        slop = 1 + 1e-9  # the reference's own rounding
        self.assertEqual((true_tau > tau * slop).sum(), 0)
        self.assertEqual((true_error > error * slop + 1e-300).sum(), 0)

    def check_split(self, rng, number):
        sequences = Sequences(rng)
        q = sequences.q
        places = sequences.split(rng, number)
        whole = Cache(
            rng, sequences.keys, sequences.values, [np.arange(n) for n in sequences.lens]
        )
        attended = [np.zeros((HKV, n), bool) for n in sequences.lens]
        parts = []
        for own in places:
            cache = Cache(rng, sequences.keys, sequences.values, own)
            parts.append(cache.shard(q))
            tokens, tail = cache.picked(q)
            np.testing.assert_array_equal(tail, parts[-1][2])
            for row in range(ROWS):
                for kv in range(HKV):
                    ids = tokens[row, kv]
                    attended[row][kv, own[row][ids[ids >= 0]]] = True
        o, lse, tau, error = join(q, parts)
        self.expect_bounds(sequences, attended, tau, error)

        # The same tokens attended to in one place, certified by the norms of the
        # pages.
        most = max(some.sum(1).max() for some in attended)
        tokens = np.full((ROWS, HKV, most + 1), -1, np.int32)
        for row in range(ROWS):
            for kv in range(HKV):
                ids = np.flatnonzero(attended[row][kv])
                tokens[row, kv, : len(ids)] = ids
        o1, lse1, _, tau1, error1 = whole.whole(q, tokens)
        self.expect_bounds(sequences, attended, tau1, error1)
        none = lse1 == -np.inf
        np.testing.assert_array_equal(none, lse == -np.inf)
        np.testing.assert_allclose(lse[~none], lse1[~none], atol=1e-5, rtol=1e-6)
        np.testing.assert_allclose(o, o1, atol=1e-4)
        # Both are bounds of the same mass: they differ by what each is raised for
        # the rounding of its own sums, in a log.
        np.testing.assert_array_equal(tau == 0, tau1 == 0)
        some = tau1 > 0
        np.testing.assert_allclose(tau[some], tau1[some], rtol=2e-3)
        # An error is raised for the rounding of o as well.
        np.testing.assert_allclose(error, error1, rtol=5e-3, atol=1e-30)

        # A shard that has no token of any sequence changes no bit, wherever it is
        # and whatever its output holds.
        empty = (
            np.full((ROWS, H, D), np.nan, np.float32),
            np.full((ROWS, H), -np.inf, np.float32),
            np.full((ROWS, H), -np.inf, np.float32),
            np.zeros((ROWS, HKV, 2), np.float32),
        )
        for at in range(number + 1):
            for got, expected in zip(
                join(q, parts[:at] + [empty] + parts[at:]), (o, lse, tau, error)
            ):
                np.testing.assert_array_equal(got, expected)
        return tau

    def test_bounds_the_truth(self):
        taus = []
        for split in range(SPLITS):
            rng = np.random.default_rng([1, split])
            number = [1, 64, 2, 5][split] if split < 4 else rng.integers(1, 65)
            with self.subTest(split=split, shards=number):
                taus.append(self.check_split(rng, number))
        taus = np.array(taus)
        certified = np.mean((0 < taus) & (taus < 0.5))
        print(
            f"{taus.size} rows of {SPLITS} splits: {certified:.1%} certified "
            f"(0 < tau < .5), {np.mean(taus == 0):.1%} read whole, "
            f"{np.mean(taus > 0.9):.1%} hardly bounded (tau > .9)"
        )
        self.assertGreater(certified, 0.2)

    def test_a_shard_that_attends_to_nothing_is_harmless(self):
        rng = np.random.default_rng(2)
        harmless = 0
        sequences = Sequences(rng, needle=30)
        q = sequences.q
        places = sequences.split(rng, 6)
        caches = [Cache(rng, sequences.keys, sequences.values, own) for own in places]
        parts = [cache.shard(q) for cache in caches]
        for asleep, cache in enumerate(caches):
            attended = [np.zeros((HKV, n), bool) for n in sequences.lens]
            for other, own in zip(caches, places):
                tokens, _ = other.picked(q)
                for row in range(ROWS if other is not cache else 0):
                    for kv in range(HKV):
                        ids = tokens[row, kv]
                        attended[row][kv, own[row][ids[ids >= 0]]] = True
            # It has scanned its sketch, and read nothing.
            nothing = np.full((ROWS, HKV, 1), -1, np.int32)
            o, lse, tail, own_tau, _ = cache.whole(q, nothing)
            self.assertTrue((lse == -np.inf).all())
            left = tail > -np.inf
            self.assertTrue((own_tau[left] == 1).all())
            some = list(parts)
            some[asleep] = (o, lse, tail, parts[asleep][3])
            _, _, tau, error = join(q, some)
            self.expect_bounds(sequences, attended, tau, error)
            harmless += (tau[left] < 0.01).sum()
        self.assertGreater(harmless, 50)

    def test_shards_say_all_or_nothing(self):
        rng = np.random.default_rng(4)
        sequences = Sequences(rng)
        parts = shards_of(sequences, rng, 3)
        stacks = [np.stack(part) for part in zip(*parts)]
        for short in range(1, 4):
            some = [stack[:2] if i == short else stack for i, stack in enumerate(stacks)]
            with self.assertRaisesRegex(vashista.Error, r"expected f32 \[3, .*, got f32 \[2, "):
                MODULE["join"](sequences.q, *some)

    def test_what_one_shard_does_not_know_nobody_does(self):
        rng = np.random.default_rng(3)
        sequences = Sequences(rng)
        parts = shards_of(sequences, rng, 3)
        for shard in range(3):
            for name, unknown in ((2, np.nan), (2, np.inf), (3, np.nan), (3, np.inf)):
                some = [[array.copy() for array in part] for part in parts]
                some[shard][name][3] = unknown
                _, _, tau, error = join(sequences.q, some)
                if name == 3:
                    # Without a tail nothing depends on norms.
                    left = np.any([part[2][3] > -np.inf for part in parts], 0)
                    self.assertTrue(left.any())
                else:
                    left = np.ones(H, bool)
                self.assertTrue((tau[3][left] == 1).all())
                self.assertTrue((error[3][left] == np.inf).all())


if __name__ == "__main__":
    unittest.main()
