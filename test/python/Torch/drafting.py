# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Drafts by sparse attention, verified: the tiny Llama of decoding.py.

What is generated is compared with greedy decoding in float64 by SDPA. With
`--device=cuda`, on a GPU.
"""

# REQUIRES: transformers
# UNSUPPORTED: asan
# RUN: %torch_python %s

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import decoding
import torch
import transformers
import vashista
from decoding import CACHE, DECODED, PROMPT, draw
from vashista import Policy, Sketch
from vashista.drafts import Drafts

# Budgets that change what the model says.
STARVED = {
    "tokens": {"policy": Policy(candidates=4, sinks=1, window=3)},
    "certified": {
        "policy": Policy.certified(0.9, candidates=8, sinks=1, window=2),
        "sketch": Sketch(bits=8),
    },
    "moments": {
        "policy": Policy.certified(0.9, candidates=8, sinks=1, window=2),
        "sketch": Sketch(),
        "moments": True,
    },
    "pages": {
        "policy": Policy(pages=3, sinks=1, window=2),
        "summary": "mean",
        "page_size": 4,
        "layout": "nhd",
    },
}


def new_cache(name, **options):
    return decoding.new_cache(**{**STARVED[name], **options})


def generate(ids, cache, drafts=None, **options):
    options = {"do_sample": False, "max_new_tokens": 24, **options}
    if drafts is not None:
        options["custom_generate"] = drafts
    return decoding.MODEL.generate(ids, **{CACHE: cache}, **options)


def exact(ids, **options):
    options = {"do_sample": False, "max_new_tokens": 24, **options}
    return decoding.EXACT.generate(ids, **options)


class VerifyingTest(unittest.TestCase):
    def setUp(self):
        self.ids = draw(2, PROMPT + DECODED)
        with torch.no_grad():
            self.exact = decoding.EXACT(self.ids).logits

    @torch.no_grad()
    def call(self, ids, cache):
        return decoding.MODEL(ids, **{CACHE: cache}).logits.double()

    def test_is_dense(self):
        """Of every policy: logits, and keys and values that later tokens see."""
        for name in STARVED:
            with self.subTest(name=name):
                cache = new_cache(name)
                self.call(self.ids[:, :PROMPT], cache)
                end = PROMPT + 7
                sparse = self.call(self.ids[:, PROMPT:end], cache)
                wanted = self.exact[:, PROMPT:]
                self.assertGreater((sparse - wanted[:, :7]).abs().max(), 2e-2)
                for drop, more in ((7, 0), (3, 9), (0, 1), (1, 1)):
                    with cache.verifying(drop):
                        got = self.call(self.ids[:, end - drop : end + more], cache)
                    wanted = self.exact[:, end - drop : end + more]
                    noise = (got - wanted).abs().max()
                    self.assertLess(noise, decoding.noise_of_f32())
                    end += more
                    self.assertEqual(cache.get_seq_length(), end)

    def test_later_prompts(self):
        """Are attended to as a whole, where they are to be verified."""
        cache = new_cache("tokens")
        with cache.verifying():
            first = self.call(self.ids[:, :30], cache)
            got = self.call(self.ids[:, 30:], cache)
        both = torch.cat([first, got], 1)
        self.assertLess((both - self.exact).abs().max(), decoding.noise_of_f32())

    def test_observers_see_drafts_alone(self):
        cache, seen = new_cache("tokens"), []
        cache.observe = lambda layer, *_: seen.append(layer)
        self.call(self.ids[:, :PROMPT], cache)
        self.call(self.ids[:, PROMPT : PROMPT + 1], cache)
        with cache.verifying(1):
            self.call(self.ids[:, PROMPT : PROMPT + 1], cache)
        self.assertEqual(seen, list(range(decoding.CONFIG.num_hidden_layers)))


class DraftsTest(unittest.TestCase):
    def test_is_greedy_decoding(self):
        ids = draw(2)
        wanted = exact(ids)
        for name in STARVED:
            for tokens in (1, 3, 8, 50):
                with self.subTest(name=name, tokens=tokens):
                    cache, drafts = new_cache(name), Drafts(tokens)
                    got = generate(ids, cache, drafts)
                    self.assertTrue(torch.equal(got, wanted))
                    # All but the last, as after any generation.
                    self.assertEqual(cache.get_seq_length(), PROMPT + 23)
                    self.assertEqual(23, drafts.rounds + drafts.accepted)
                    self.assertLessEqual(drafts.accepted, drafts.drafted)
        self.assertFalse(torch.equal(generate(ids, new_cache("tokens")), wanted))

    def test_good_drafts_are_accepted(self):
        """A policy that reads everything drafts what is verified."""
        drafts = Drafts(6)
        got = generate(draw(2), decoding.new_cache(), drafts, max_new_tokens=29)
        self.assertEqual(got.shape[1], PROMPT + 29)
        self.assertEqual((drafts.rounds, drafts.drafted, drafts.accepted), (4, 24, 24))

    def test_bad_drafts_are_not(self):
        """Of two rows the worse one counts, and every round has a token."""
        drafts = Drafts(4)
        generate(draw(2), new_cache("tokens"), drafts)
        self.assertLess(drafts.accepted, drafts.drafted)
        self.assertGreater(drafts.rounds, 23 // 5)

    def test_goes_on(self):
        """A later turn, and one after a turn without drafts."""
        ids, cache = draw(2), new_cache("certified")
        got = generate(ids, cache, Drafts(5))
        again = torch.cat([got, draw(2, 5, seed=1)], 1)
        got = generate(again, cache, Drafts(5))
        self.assertTrue(torch.equal(got, exact(again)))
        generate(torch.cat([got, draw(2, 3, seed=2)], 1), cache, max_new_tokens=4)

    def test_ends(self):
        """Rows end by themselves, and are padded."""
        ids = draw(2)
        free = exact(ids)[:, PROMPT:]
        for row in (0, 1):
            # The first token that this row has and the other one does not, or later.
            mine, other = free[row].tolist(), free[1 - row].tolist()
            end = next(t for i, t in enumerate(mine) if i > 2 and t not in other)
            options = {"eos_token_id": end, "pad_token_id": 0}
            wanted = exact(ids, **options)
            self.assertTrue((wanted[row] == 0).any())
            for tokens in (1, 4, 16):
                got = generate(ids, new_cache("tokens"), Drafts(tokens), **options)
                self.assertTrue(torch.equal(got, wanted), (row, tokens))

    def test_processors(self):
        """Of logits see the tokens before each one."""
        ids = draw(2)
        options = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}
        wanted = exact(ids, **options)
        self.assertFalse(torch.equal(wanted, exact(ids)))
        got = generate(ids, new_cache("tokens"), Drafts(5), **options)
        self.assertTrue(torch.equal(got, wanted))

    def test_room(self):
        """Drafts end where the cache does."""
        ids = draw(1)
        cache = new_cache("tokens", batch=1, max_length=PROMPT + 9)
        got = generate(ids, cache, Drafts(16), max_new_tokens=10)
        self.assertTrue(torch.equal(got, exact(ids, max_new_tokens=10)))
        out = generate(
            ids, new_cache("tokens"), Drafts(3), return_dict_in_generate=True
        )
        self.assertTrue(torch.equal(out.sequences, exact(ids)))


class MistakesTest(unittest.TestCase):
    def expect(self, message, call):
        with torch.no_grad(), self.assertRaisesRegex(vashista.Error, message):
            call()

    def test_tokens(self):
        for tokens in (0, -1, 1.5):
            self.expect("Drafts: tokens: expected", lambda: Drafts(tokens))

    def test_what_is_asked(self):
        for options, message in (
            ({"do_sample": True}, "Drafts: expected greedy decoding, got sampling"),
            ({"num_beams": 3}, "Drafts: expected greedy decoding, got 3 beams"),
            ({"output_scores": True, "return_dict_in_generate": True},
             "Drafts: expected no scores to return, got some"),
            ({"attention_mask": torch.tensor([[0] + [1] * (PROMPT - 1)] * 2)},
             "Drafts: expected rows without padding, got padding"),
        ):  # fmt: skip
            self.expect(
                message,
                lambda: generate(draw(2), new_cache("tokens", batch=6), Drafts(), **options),
            )  # fmt: skip
        self.expect(
            "Drafts: expected a vashista.transformers.PagedCache, got another cache",
            lambda: generate(draw(2), transformers.DynamicCache(), Drafts()),
        )

    def test_nothing_new(self):
        ids, cache = draw(2), new_cache("tokens")
        with torch.no_grad():
            decoding.MODEL(ids, **{CACHE: cache})
        self.expect(
            f"fewer than the {PROMPT} that are given, got {PROMPT}",
            lambda: Drafts()(
                decoding.MODEL, ids, None, None, decoding.MODEL.generation_config,
                **{CACHE: cache},
            ),
        )  # fmt: skip

    def test_verifying(self):
        cache = new_cache("tokens")

        def verify(tokens):
            with cache.verifying(tokens):
                pass

        self.expect("verifying: tokens: expected 0 to 0, got 1", lambda: verify(1))
        with torch.no_grad():
            decoding.MODEL(draw(2), **{CACHE: cache})
        cache.hold()
        self.expect("verifying: expected no step that is held", lambda: verify(0))
        cache = decoding.new_cache(soft_cap=30.0)
        self.expect("verifying: expected no soft_cap, got 30", lambda: verify(0))


if __name__ == "__main__":
    for argument in [word for word in sys.argv if word.startswith("--device=")]:
        decoding.DEVICE = argument.split("=")[1]
        sys.argv.remove(argument)
        decoding.MODEL, decoding.EXACT = decoding.make_models()
    transformers.logging.set_verbosity_error()
    unittest.main()
