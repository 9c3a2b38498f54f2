# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A tiny Llama of random weights, decoded by `transformers` from a paged cache.

Compared with the same model in float64 and SDPA. With `--device=cuda`, on a GPU.
"""

# REQUIRES: transformers
# UNSUPPORTED: asan
# RUN: %torch_python %s

import copy
import inspect
import sys
import unittest

import torch
import transformers
import vashista
import vashista.transformers as vt
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig
from vashista import Policy, Sketch

DEVICE = "cpu"
CONFIG = LlamaConfig(
    vocab_size=97,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    # Sharp enough that what is left out shows.
    initializer_range=0.3,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=None,
)
PROMPT, DECODED = 45, 30
# What the models' code calls a cache changed within version 5.
CACHE = (
    "cache"
    if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters
    else "past_key_values"
)
# Budgets that hold everything, or a proof that hardly anything is missed.
FULL = {
    "dense": {},
    "routed": {"policy": Policy(pages=16, candidates=128, sinks=4, window=16),
               "summary": "mean_std", "page_size": 8},
    "sketch": {"policy": Policy(candidates=128), "sketch": Sketch()},
    "certified": {"policy": Policy.certified(1e-4, candidates=128, sinks=1, window=8),
                  "sketch": Sketch(bits=8)},
    "certified by moments": {
        "policy": Policy.certified(1e-4, candidates=128, sinks=1, window=8),
        "sketch": Sketch(), "moments": True},
}  # fmt: skip


def noise_of_f32():
    """Of logits; a GPU's kernels may multiply f32 in fewer bits."""
    return 2e-4 if DEVICE == "cpu" else 2e-3


def make_models():
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG).eval().to(DEVICE)
    exact = copy.deepcopy(model).double()
    exact.set_attn_implementation("sdpa")
    model.set_attn_implementation("vashista")
    return model, exact


MODEL, EXACT = make_models()


def draw(batch, tokens=PROMPT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, CONFIG.vocab_size, (batch, tokens), generator=generator)
    return ids.to(DEVICE)


def new_cache(batch=2, **options):
    return vt.PagedCache(
        CONFIG, **{"max_length": 128, "batch": batch, "device": DEVICE, **options}
    )


@torch.no_grad()
def forced(ids, cache, chunks):
    """Logits after each token but those of the prompt, decoded in chunks."""
    logits, start = [], 0
    for tokens in chunks:
        out = MODEL(ids[:, start : start + tokens], **{CACHE: cache}, use_cache=True)
        logits.append(out.logits)
        start += tokens
    return torch.cat(logits, 1).double()


class DecodingTest(unittest.TestCase):
    def setUp(self):
        self.ids = draw(2, PROMPT + DECODED)
        with torch.no_grad():
            self.exact = EXACT(self.ids).logits

    def check_logits(self, got, name=""):
        noise = (got - self.exact).abs().max().item()
        # What a certificate allows to be missed is more than the rounding of f32.
        self.assertLess(noise, 1e-2 if "certified" in name else noise_of_f32(), name)
        best = self.exact.topk(2, -1).values
        clear = best[..., 0] - best[..., 1] > 2 * noise
        self.assertGreater(clear.float().mean(), 0.9)
        same = got.argmax(-1) == self.exact.argmax(-1)
        self.assertTrue(same[clear].all(), name)

    def test_full_budgets(self):
        """Token by token, and several at a time."""
        for name, options in FULL.items():
            for chunks in ([PROMPT] + [1] * DECODED, [PROMPT, 7, 1, 20, 1, 1], [1, 74]):
                with self.subTest(name=name, chunks=chunks):
                    got = forced(self.ids, new_cache(**options), chunks)
                    self.check_logits(got, f"{name} {chunks}")

    def test_the_policy_decides(self):
        """A small budget without a certificate changes what the model says."""
        policy = Policy(candidates=4, sinks=1, window=3)
        got = forced(self.ids, new_cache(policy=policy), [PROMPT] + [1] * DECODED)
        wrong = (got - self.exact).abs().amax((0, 2))
        self.assertLess(wrong[:PROMPT].max(), noise_of_f32())
        self.assertGreater(wrong[PROMPT:].min(), 2e-2)

    def test_other_types(self):
        torch.manual_seed(0)
        model = copy.deepcopy(MODEL).bfloat16()
        model.set_attn_implementation("vashista")
        cache = new_cache(dtype=torch.bfloat16, **FULL["certified"])
        self.assertEqual(cache.paged.spec.dtype, "bf16")
        with torch.no_grad():
            start = model(self.ids[:, :PROMPT], **{CACHE: cache})
            logits = model(self.ids[:, PROMPT : PROMPT + 1], **{CACHE: cache}).logits
            model.set_attn_implementation("sdpa")
            wanted = model(self.ids[:, : PROMPT + 1]).logits
        self.assertEqual(logits.dtype, torch.bfloat16)
        # Whose own rounding is as large.
        own = (wanted[:, :-1].double() - self.exact[:, :PROMPT]).abs().max()
        self.assertLess((start.logits - wanted[:, :-1]).abs().max(), own)
        self.assertLess((logits - wanted[:, -1:]).abs().max(), own)


class GenerateTest(unittest.TestCase):
    def generate(self, ids, cache, **options):
        options = {
            "do_sample": False,
            "max_new_tokens": 24,
            "return_dict_in_generate": True,
            **options,
        }
        return MODEL.generate(ids, **{CACHE: cache}, **options)

    def exact(self, ids, **options):
        return EXACT.generate(
            ids, **{"do_sample": False, "max_new_tokens": 24, **options}
        )

    def test_greedy(self):
        ids = draw(2)
        for name, options in FULL.items():
            cache = new_cache(**options)
            got = self.generate(ids, cache).sequences
            self.assertTrue(torch.equal(got, self.exact(ids)), name)
            self.assertEqual(cache.get_seq_length(), PROMPT + 23)
            again = torch.cat([got, draw(2, 5, seed=1)], 1)
            got = self.generate(again, cache).sequences
            self.assertTrue(torch.equal(got, self.exact(again)), name)

    def test_reset(self):
        ids, cache = draw(2), new_cache()
        pages = cache.paged.free_pages
        first = self.generate(ids, cache).sequences
        self.assertLess(cache.paged.free_pages, pages)
        cache.reset()
        self.assertEqual((cache.paged.free_pages, cache.get_seq_length()), (pages, 0))
        self.assertTrue(torch.equal(self.generate(ids, cache).sequences, first))

    def test_beams(self):
        """Beams share the pages that they have in common."""
        ids = draw(2)
        for name in ("dense", "certified by moments"):
            cache = new_cache(batch=6, **FULL[name])
            got = self.generate(ids, cache, num_beams=3).sequences
            self.assertTrue(torch.equal(got, self.exact(ids, num_beams=3)), name)
            self.assertEqual(len(cache.paged.sequences), 6)

    def test_assisted(self):
        """Tokens that are guessed from the prompt, and rolled back where wrong."""
        ids = draw(1, 20).repeat(1, 2)
        for name in ("dense", "certified", "certified by moments"):
            cache = new_cache(batch=1, **FULL[name])
            got = self.generate(ids, cache, prompt_lookup_num_tokens=4).sequences
            self.assertTrue(torch.equal(got, self.exact(ids)), name)

    def test_rows_of_a_batch(self):
        """Repeated and selected rows go on as those that they are of."""
        ids = draw(2, 20)
        cache = new_cache(batch=4)
        with torch.no_grad():
            MODEL(ids[:, :12], **{CACHE: cache})
            cache.batch_repeat_interleave(2)
            cache.batch_select_indices(torch.tensor([3, 0, 1]))
            rows = ids[[1, 0, 0]]
            got = MODEL(rows[:, 12:], **{CACHE: cache}).logits.double()
            want = EXACT(rows).logits[:, 12:]
            torch.testing.assert_close(got, want, rtol=0, atol=2e-3)
            cache.crop(-5)
            self.assertEqual(cache.get_seq_length(), 15)
            got = MODEL(rows[:, 15:], **{CACHE: cache}).logits.double()
            torch.testing.assert_close(got, want[:, 3:], rtol=0, atol=2e-3)


class MistakesTest(unittest.TestCase):
    def expect(self, message, call):
        with torch.no_grad(), self.assertRaisesRegex(vashista.Error, message):
            call()

    def test_padding(self):
        ids = draw(2)
        masked = torch.ones_like(ids)
        masked[1, :4] = 0
        self.expect(
            "expected the causal mask of rows that are equally long, got padding",
            lambda: MODEL.generate(
                ids, attention_mask=masked, max_new_tokens=2, **{CACHE: new_cache()}
            ),
        )
        full = torch.ones_like(ids)
        MODEL.generate(
            ids, attention_mask=full, max_new_tokens=2, **{CACHE: new_cache()}
        )
        other = torch.ones(2, 1, PROMPT, PROMPT, dtype=torch.bool, device=DEVICE)
        self.expect(
            "got padding, or another mask",
            lambda: MODEL(ids, attention_mask=other, **{CACHE: new_cache()}),
        )

    def test_without_the_cache(self):
        """A prompt alone is SDPA; decoding is refused."""
        ids = draw(2)
        with torch.no_grad():
            got = MODEL(ids, use_cache=False).logits.double()
            want = EXACT(ids).logits
        torch.testing.assert_close(got, want, rtol=0, atol=2e-3)
        self.expect(
            "expected a vashista.transformers.PagedCache to decode from, got keys of "
            "another cache",
            lambda: MODEL.generate(ids, max_new_tokens=2, **{CACHE: DynamicCache()}),
        )

    def test_batches(self):
        self.expect(
            "PagedCache: batch: expected at most 1, got 2",
            lambda: MODEL(draw(2), **{CACHE: new_cache(batch=1)}),
        )
        cache = new_cache()
        with torch.no_grad():
            MODEL(draw(2), **{CACHE: cache})
        self.expect(
            "PagedCache: batch: expected 2, got 1",
            lambda: MODEL(draw(1, 1), **{CACHE: cache}),
        )
        self.expect(
            "sequence 0: expected at most 128 tokens, got 129",
            lambda: MODEL(draw(2, 129), **{CACHE: new_cache()}),
        )
        self.expect("crop: expected minus the tokens to remove", lambda: cache.crop(3))

    def test_models(self):
        self.expect(
            "expected layers of the type full_attention, got sliding_attention",
            lambda: vt.spec_of(MistralConfig(sliding_window=64)),
        )
        self.expect(
            "layer 0: scale: expected 0.5, got 0.25; see spec_of",
            lambda: MODEL(draw(1), **{CACHE: new_cache(scale=0.5)}),
        )
        self.expect(
            "PagedCache: dtype: expected bfloat16, float16 or float32, got torch.float64",
            lambda: new_cache(dtype=torch.float64),
        )


if __name__ == "__main__":
    for argument in [word for word in sys.argv if word.startswith("--device=")]:
        DEVICE = argument.split("=")[1]
        sys.argv.remove(argument)
        MODEL, EXACT = make_models()
    transformers.logging.set_verbosity_error()
    unittest.main()
