# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluates models of transformers: a tiny decoder as a Llama, and one of a folder."""

# REQUIRES: transformers
# UNSUPPORTED: asan
# RUN: %torch_python %s

import contextlib
import dataclasses
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "Inputs"))

import numpy as np
import torch
import vashista.transformers as vt
from tiny_decoder import CFG, make_decoder
from vashista import _compiler
from vashista._steps import Step
from vashista.eval import __main__ as program
from vashista.eval import _forced, _model, retrieval
from vashista.eval._decoder import Arrays, Decoder, attend

CONTEXT, DECODED = 160, 24
PLANS = [
    {"name": "everything"},
    {"name": "all tokens", "policy": {"candidates": 192, "sinks": 2, "window": 8},
     "sketch": {"bits": 8}},
    {"name": "some pages", "policy": {"pages": 5, "sinks": 2, "window": 8},
     "summary": "mean_std", "page_size": 8},
    {"name": "some pages, drafts", "summary": "mean_std", "page_size": 8,
     "policy": {"pages": 5, "sinks": 2, "window": 8}, "drafts": 4},
    {"name": "some tokens of pages", "summary": "mean_std", "page_size": 8,
     "policy": {"pages": 8, "candidates": 24, "sinks": 2, "window": 8}},
    {"name": "certified", "sketch": {},
     "policy": {"candidates": 192, "sinks": 2, "window": 8, "pick": "proving",
                "tolerance": 0.3, "rounds": 2, "fallback": "dense"}},
    {"name": "too few", "sketch": {},
     "policy": {"candidates": 12, "sinks": 2, "window": 8, "pick": "proving",
                "tolerance": 0.1, "rounds": 2, "fallback": "dense"}},
]  # fmt: skip


def run(*words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = program.main([str(w) for w in words])
    return code, out.getvalue(), errors.getvalue()


class EvaluationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = folder = pathlib.Path(temporary.name)
        make_decoder(folder, 2 * CONTEXT + 1)
        cls.policies = folder / "policies.json"
        cls.policies.write_text(json.dumps(PLANS))
        cls.options = ["--dtype", "float32", "--artefacts", folder / "artefacts"]
        cls.sizes = ["--windows", 2, "--context", CONTEXT, "--decoded", DECODED]
        cls.common = [*cls.options, "--policies", cls.policies]

    def measure(self, *words):
        path = self.folder / "result.json"
        code, out, errors = run(*words, "--json", path)
        self.assertEqual(code, 0, errors)
        return json.loads(path.read_text()), out

    def model(self, *more):
        return self.measure("model", "--codelm", self.folder, *self.common, *self.sizes,
                            "--chunk", 7, *more)  # fmt: skip

    def test_codelm_is_a_llama(self):
        """Of transformers, as our own decoder has it."""
        decoder = Decoder(self.folder, Arrays("numpy"))
        ids = decoder.tokens[:40]
        x, positions = decoder.embed(ids), np.arange(40)
        for layer in range(decoder.layers):
            q, k, v = decoder.project(layer, x, positions)
            x = decoder.finish(layer, x, attend(decoder.arrays, q, k, v, positions + 1))
        found = _model._codelm(self.folder)
        model = found.load(torch.float32, "cpu")
        got = model(torch.from_numpy(ids)[None]).logits[0].double().log_softmax(-1)
        np.testing.assert_allclose(got, decoder.log_probabilities(x), atol=1e-4)

    def test_model(self):
        stored, out = self.model()
        self.assertEqual(stored["kind"], "model")
        self.assertIn("--codelm CODELM", stored["command"])
        r = stored["results"]
        self.assertEqual(r["noise"]["type"], "float64")
        self.assertLess(r["noise"]["max"], 1e-3)
        self.assertGreater(r["noise"]["clear"], 0.95)
        policies = {p["name"]: p for p in r["policies"]}
        for name, p in policies.items():
            whole, following = p["whole"], p["next"]
            self.assertEqual(following["tokens"], 2 * DECODED, name)
            self.assertEqual((whole["false"], whole["unproved"]), (0, 0), name)
            self.assertGreater(p["seconds"], 0)
            self.assertIn(f"| {name} |", out)
            self.assertEqual(len(p["layers"]), CFG["layers"])
        for name in ("everything", "all tokens"):
            p = policies[name]
            self.assertEqual(p["next"]["clear_equal"], p["next"]["clear"])
            self.assertAlmostEqual(p["whole"]["tokens"], 1.0)
            self.assertLess(p["whole"]["kl"], 1e-6)
            self.assertLess(p["whole"]["tau_true_max"], 1e-9)
        pages = policies["some pages"]["whole"]
        self.assertIsNone(pages["tau"])
        self.assertGreater(pages["tau_true"], 0.05)
        # 5 pages of 8 tokens, the last of which is not full, of 137 to 160.
        self.assertLess(32 / CONTEXT, pages["tokens"])
        self.assertLess(pages["tokens"], 41 / (CONTEXT - DECODED))
        # A mean and a deviation of 32 numbers for 8 keys and values.
        self.assertAlmostEqual(pages["scan"], 1 / 8)
        self.assertEqual(pages["verified"], 0.0)
        drafts = policies["some pages, drafts"]
        self.assertLess(drafts["whole"]["kl"], 1e-6)
        self.assertEqual(drafts["next"]["clear_equal"], drafts["next"]["clear"])
        self.assertLess(drafts["agree"], 1.0)
        self.assertLess(drafts["tokens_per_round"], 5.0)
        # What is drafted is chosen as without, and three times everything comes on top.
        self.assertAlmostEqual(drafts["whole"]["tokens"], pages["tokens"], 2)
        self.assertGreater(
            drafts["whole"]["verified"], 3 / drafts["tokens_per_round"] - 1e-9
        )
        self.assertIn("4 tokens drafted in a round", out)
        routed = policies["some tokens of pages"]["whole"]
        self.assertLess(routed["tokens"], pages["tokens"])
        # The keys of the routed pages are read, too.
        self.assertLess(1 / 8 + 0.5 * 64 / CONTEXT - 0.01, routed["scan"])
        certified = policies["certified"]["whole"]
        self.assertEqual((certified["proved"], certified["fallback"]), (1.0, 0.0))
        self.assertLess(0.001, certified["tau_true"])
        self.assertLess(certified["tau_true"], certified["tau"])
        self.assertLessEqual(certified["tau"], 0.3)
        self.assertLess(certified["kl"], pages["kl"])
        self.assertGreater(policies["too few"]["whole"]["fallback"], 0.1)

    def test_wrong_certificates_are_seen(self):
        attend = Step.attend

        def lying(step, q, layer=0):
            got = attend(step, q, layer)
            return got if got.tau is None else got._replace(tau=0.01 * got.tau)

        with mock.patch.object(Step, "attend", lying):
            path = self.folder / "lies.json"
            code, out, _ = run("model", "--codelm", self.folder, *self.common,
                               *self.sizes, "--json", path)  # fmt: skip
        self.assertEqual(code, 1)
        policies = json.loads(path.read_text())["results"]["policies"]
        false = {p["name"]: p["whole"]["false"] for p in policies}
        self.assertGreater(false["certified"], 0)
        self.assertEqual(false["everything"], 0)

    def test_folder(self):
        """A model of transformers in a folder, and a machine without the compiler."""
        found = _model._codelm(self.folder)
        folder = self.folder / "llama"
        found.load(torch.float32, "cpu").save_pretrained(folder)
        np.save(self.folder / "ids.npy", found.text)
        words = [*self.common, *self.sizes, "--model", folder, "--text",
                 self.folder / "ids.npy", "--chunk", 7]  # fmt: skip
        self.assertEqual(run("model", *words, "--compile-only")[0], 0)
        refuse = AssertionError("compiled again")
        with mock.patch.object(_compiler, "run", side_effect=refuse):
            stored, _ = self.measure(*words)  # --model alone says which command
        self.assertIn("--model llama", stored["command"])
        self.assertNotIn(str(self.folder), json.dumps(stored))
        codelm, _ = self.model("--every", 2)
        for one, other in zip(stored["results"]["policies"],
                              codelm["results"]["policies"]):  # fmt: skip
            self.assertAlmostEqual(one["whole"]["ppl"], other["whole"]["ppl"], 3)

    def test_rounds(self):
        """Against rounds made one by one."""
        rng = np.random.default_rng(0)
        for tokens in (1, 3, 16):
            for share in (0.0, 0.5, 0.9, 1.0):
                agree = rng.random(200) < share
                rounds = drafted = at = 0
                while at < 200:
                    rounds += 1
                    for i in range(tokens):
                        drafted += at + i < 200
                    right = 0
                    while right < tokens and at + right < 200 and agree[at + right]:
                        right += 1
                    at += right + 1
                self.assertEqual(_forced.rounds_of(agree, tokens), (rounds, drafted))

    def test_retrieval(self):
        words = ["retrieval", "--codelm", self.folder, *self.common, "--lengths", "64,120",
                 "--depths", "0,1", "--samples", 2]  # fmt: skip
        code, _, errors = run(*words)
        self.assertEqual(code, 1)
        self.assertIn("some pages, drafts: expected no drafts, got 4", errors)
        plans = [plan for plan in PLANS if "drafts" not in plan]
        self.policies.with_name("plain.json").write_text(json.dumps(plans))
        words += ["--policies", self.policies.with_name("plain.json")]
        stored, out = self.measure(*words)
        r = stored["results"]
        self.assertEqual(r["names"][:2], ["SDPA", "everything"])
        tokens = np.array(r["tasks"]["needle"]["tokens"])
        self.assertEqual(tokens.shape, (1 + len(plans), 2, 2))
        np.testing.assert_array_equal(tokens[0], tokens[1])

        # A model that knows what follows: all of it is retrieved.
        def knows(model, window, cache, attention, chunk):
            vocabulary = model.config.vocab_size
            hot = torch.nn.functional.one_hot(
                window.ids[0, window.before + 1 :], vocabulary
            )
            return hot.float()

        with mock.patch.object(_forced, "logits_of", knows):
            stored, out = self.measure(*words)
        self.assertIn("| SDPA | 100 %, 100.0 % |", out)
        code, _, errors = run(*words, "--tasks", "passkey")
        self.assertEqual(code, 1)
        self.assertIn("passkey: expected a model with a tokenizer", errors)

    def test_needles(self):
        found = dataclasses.make_dataclass("Found", ["text"])(np.arange(1000))
        for depth in (0, 0.5, 1):
            rng = np.random.default_rng(0)
            ids, asked, answered = retrieval.case(rng, found, "needle", "", 100, depth)
            self.assertEqual((len(ids), asked, answered), (101, 8, 8))
            needle, room = ids[-16:], 101 - 32
            at = round(depth * room)
            np.testing.assert_array_equal(ids[at : at + 16], needle)
            rest = np.concatenate([ids[:at], ids[at + 16 : -16]])
            np.testing.assert_array_equal(np.diff(rest), 1)
        with self.assertRaisesRegex(ValueError, "room for needle"):
            retrieval.case(np.random.default_rng(0), found, "needle", "", 20, 0)

    def test_steps(self):
        words = [
            "steps",
            "--shapes",
            "tiny",
            "--layers",
            2,
            "--contexts",
            "256,512",
            *self.options,
            "--repeat",
            2,
            "--batch",
            2,
            "--tolerances",
            "0.3",
        ]
        stored, out = self.measure(*words)
        self.assertIn("| tau at most 30 % |", out)
        r = stored["results"]
        self.assertFalse(r["graphs"])
        for found in r["contexts"]:
            # What was planted for a query is what the timed query sees.
            self.assertLess(found["planted"], 1e-4)
            policies = {p["name"]: p for p in found["policies"]}
            self.assertLess(policies["dense"]["difference"], 1e-4)
            certified = policies["tau at most 30 %"]
            self.assertLess(certified["difference"], 0.5)
            self.assertGreater(certified["difference"], 1e-4)
            self.assertLess(0.01, certified["tau"])
            self.assertLessEqual(certified["tau"] * (1 - certified["fallback"]), 0.3)
            self.assertGreater(found["sdpa_seconds"], 0)

    def test_refuses(self):
        for words, wanted in (
            (["model"], "expected --model or --codelm, got both or none"),
            (["model", "--codelm", self.folder, "--context", 5000],
             "expected 20001 tokens of text"),
            (["model", "--codelm", self.folder, *self.sizes, "--drafts", "0"],
             "expected drafts of 1 or more tokens, got 0"),
            (["model", "--codelm", self.folder / "none"], "weights.json"),
        ):  # fmt: skip
            code, out, errors = run(*words, *self.options)
            self.assertEqual((code, out), (1, ""))
            self.assertRegex(errors, f"^error: .*{wanted}")


class HeldStepTest(unittest.TestCase):
    """A step in tensors that stay, as a captured graph has it."""

    def test_advance(self):
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            make_decoder(pathlib.Path(folder), 60)
            found = _model._codelm(pathlib.Path(folder))
        model = found.load(torch.float32, "cpu", "vashista")
        ids = torch.from_numpy(found.text[None, :40])
        wanted = model(ids).logits[0, 30:]
        cache = vt.PagedCache(found.config, max_length=64)
        _model.call(model, ids[:, :30], cache)
        cache.hold()
        tensors = [cache._held.table.data_ptr(), cache._held.lens.data_ptr()]
        for i in range(10):
            at = torch.tensor([[30 + i]])
            for _ in range(2):  # Again is the same.
                got = _model.call(
                    model, ids[:, 30 + i : 31 + i], cache, position_ids=at
                ).logits[0, 0]
                torch.testing.assert_close(got, wanted[i], atol=2e-4, rtol=0)
            self.assertEqual(cache.get_seq_length(), 30 + i)
            if i < 9:
                cache.advance()
        held = cache._held
        self.assertEqual([held.table.data_ptr(), held.lens.data_ptr()], tensors)
        for call in (lambda: cache.crop(-1), cache.hold,
                     lambda: _model.call(model, ids[:, :2], cache)):  # fmt: skip
            with self.assertRaises(vt.Error):
                call()
        cache.release()
        self.assertEqual(cache.get_seq_length(), 40)
        with self.assertRaisesRegex(vt.Error, "advance: expected a step that is held"):
            cache.advance()
        again = _model.call(model, ids[:, :1], cache).logits
        self.assertEqual(tuple(again.shape), (1, 1, CFG["vocab"]))


if __name__ == "__main__":
    unittest.main()
