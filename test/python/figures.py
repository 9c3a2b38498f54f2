# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures a tiny decoder and a small step, and draws what there is.

Nothing that is drawn was written by hand: each result is that of a command.
"""

# UNSUPPORTED: asan
# RUN: %numpy_python %s

import base64
import contextlib
import html.parser
import io
import json
import pathlib
import re
import shutil
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))

import numpy as np
from tiny_decoder import CFG, make_decoder
from vashista.eval import __main__ as evaluate
from vashista.eval import _result, attention
from vashista.figures import __main__ as program

TRACES = pathlib.Path(__file__).parents[1] / "data" / "codelm"
SKETCH = "bits = 4, group = 32, rotation = hadamard, norm = token"
PICTURES = {
    "decode-time", "quality-sketches", "need", "slack", "where-heads-look", "maps",
    "solvers-sharp",
}  # fmt: skip


def run(main, *words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(w) for w in words])
    return code, out.getvalue(), errors.getvalue()


class Page(html.parser.HTMLParser):
    """What a page refers to, and the texts of its parts."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.open = [], [], []
        self.origins = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[n] for n in ("src", "href", "srcset") if n in attrs]
        if tag == "img":
            self.images.append(attrs)
        if (tag, attrs.get("class")) == ("p", "origin"):
            self.origins.append("")
        if tag != "br":
            self.open.append((tag, attrs.get("class")))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if ("p", "origin") in self.open:
            self.origins[-1] += data


class FiguresTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = folder = pathlib.Path(temporary.name)
        cls.results, cls.out = folder / "results", folder / "out"
        make_decoder(folder, 2 * 192 + 1)
        setting = {
            "name": "tiny", "sketch": SKETCH, "tolerance": 0.3, "candidates": 192,
            "sinks": 2, "window": 8,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps([setting]))
        given = ["--artefacts", folder / "artefacts", "--json"]
        decoder = ["--codelm", folder, "--windows", 2, "--context", 192, *given]
        layers = cls.results / "layers.json"
        commands = [
            ["layers", *decoder, layers, "--decoded", 6, "--settings",
             folder / "settings.json"],
            ["attention", *decoder, cls.results / "attention.json", "--queries", 40],
            ["contexts", "--json", cls.results / "contexts.json", "--context=2048",
             "--repeat=2", "--heads=4", "--kv-heads=1"],
            ["solvers", *given, cls.results / "solvers.json", "--data", TRACES,
             "--traces", "sharp", "--pages", "4,32", "--candidates", "64,256",
             "--repeat", 1],
        ]  # fmt: skip
        for words in commands:
            code, _, errors = run(evaluate.main, *words)
            if code:
                raise AssertionError(f"{words[0]}: {errors}")
        cls.code, cls.said, cls.errors = run(
            program.main, cls.results, "--out", cls.out
        )

    def read(self, name):
        stored = json.loads((self.results / f"{name}.json").read_text())
        return stored, stored["results"]

    def test_files(self):
        self.assertEqual(self.code, 0, self.errors)
        stems = {p.stem for p in self.out.glob("*.svg")}
        self.assertEqual(stems, PICTURES)
        self.assertEqual({p.stem for p in self.out.glob("*.png")}, PICTURES)
        for path in self.out.glob("*.svg"):
            root = xml.etree.ElementTree.parse(path).getroot()
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            # What it says: its title, its axes and where it comes from.
            self.assertGreater(
                len(list(root.iter("{http://www.w3.org/2000/svg}text"))), 9
            )
            for element in root.iter():
                for name, value in element.attrib.items():
                    if name.endswith("href"):
                        self.assertRegex(value, "^(#|data:)")
        from matplotlib import image

        for path in self.out.glob("*.png"):
            pixels = image.imread(path)
            self.assertGreater(pixels.shape[1], 1000)
            self.assertGreater(pixels[..., :3].std(), 0.02)

    def test_origins(self):
        """Every picture says where, when and by which command, as its result does."""
        page = Page((self.out / "report.html").read_text())
        tables = (self.out / "tables.md").read_text().count("\n## ")
        self.assertEqual(len(page.images), len(PICTURES))
        self.assertEqual(len(page.origins), len(PICTURES) + tables)
        stored = [self.read(p.stem)[0] for p in self.results.glob("*.json")]
        for origin in page.origins:
            match = [s for s in stored if origin.endswith(s["command"])]
            self.assertEqual(len(match), 1, origin)
            self.assertIn(match[0]["machine"], origin)
            self.assertIn(match[0]["date"], origin)
        for path in self.out.glob("*.svg"):
            text = "".join(xml.etree.ElementTree.parse(path).getroot().itertext())
            squeezed = re.sub(r"\s", "", text)
            where = [s for s in stored if re.sub(r"\s", "", s["command"]) in squeezed]
            self.assertTrue(where, path)
            self.assertIn(where[0]["date"], text)
            self.assertIn(re.sub(r"\s", "", where[0]["machine"]), squeezed)

    def test_report_is_alone(self):
        text = (self.out / "report.html").read_text()
        page = Page(text)
        self.assertGreater(len(page.links), len(PICTURES))
        for link in page.links:
            self.assertRegex(link, "^(#|data:image/svg)")
        self.assertNotRegex(text, r"@import|url\(|<script|<link")
        for image in page.images:
            self.assertGreater(len(image["alt"]), 40)
            svg = base64.b64decode(image["src"].split(",", 1)[1])
            xml.etree.ElementTree.fromstring(svg)
        # What was not measured is named, with its command.
        self.assertIn("python -m vashista.eval steps", text)
        self.assertIn(
            "missing: Retrieval: python -m vashista.eval retrieval", self.errors
        )
        self.assertNotIn(str(self.folder), text)

    def test_pictures_are_of_the_numbers(self):
        """Another number, another picture."""
        results, out = self.folder / "changed", self.folder / "changed-out"
        shutil.copytree(self.results, results)
        for name in ("attention", "solvers", "contexts"):
            (results / f"{name}.json").unlink()
        stored, found = self.read("layers")
        found[0]["whole"]["tokens"] *= 0.5
        (results / "layers.json").write_text(json.dumps(stored))
        self.assertEqual(run(program.main, results, "--out", out)[0], 0)
        name = "quality-sketches.svg"
        self.assertNotEqual((out / name).read_bytes(), (self.out / name).read_bytes())
        again = self.folder / "again"
        self.assertEqual(run(program.main, results, "--out", again)[0], 0)
        self.assertEqual((out / name).read_bytes(), (again / name).read_bytes())

    def test_nothing_is_cut_off(self):
        """Titles, labels, legends and origins lie within their picture."""
        finish, seen = program.finish, []

        def check(figure, result):
            finish(figure, result)
            figure.draw_without_rendering()
            texts = [figure._suptitle, figure._supxlabel]
            for axes in filter(lambda axes: axes.get_visible(), figure.axes):
                texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
                texts += [axes.get_legend()] if axes.get_legend() else []
            whole = figure.bbox.padded(1)
            for text in texts:
                box = text.get_window_extent()
                if box.width:
                    seen.append(text)
                    self.assertTrue(
                        whole.containsx(box.x0) and whole.containsx(box.x1)
                        and whole.containsy(box.y0) and whole.containsy(box.y1),
                        f"{text}: {box} in {whole}",
                    )  # fmt: skip

        with mock.patch.object(program, "finish", check):
            code, _, _ = run(program.main, self.results, "--out", self.folder / "cut")
        self.assertEqual(code, 0)
        self.assertGreater(len(seen), 5 * len(PICTURES))

    def test_several_machines(self):
        """Results of one kind are told apart by the names of their files."""
        results, out = self.folder / "two", self.folder / "two-out"
        results.mkdir()
        for name in ("here", "there"):
            shutil.copy(self.results / "contexts.json", results / f"{name}.json")
        self.assertEqual(run(program.main, results, "--out", out)[0], 0)
        self.assertEqual(
            {p.stem for p in out.glob("*.svg")},
            {"decode-time-here", "decode-time-there"},
        )

    def test_attention(self):
        """The numbers that are drawn, of the tiny decoder."""
        _, r = self.read("attention")
        need, look = np.array(r["need"]), np.array(r["look"])
        self.assertEqual(need.shape, (3, CFG["layers"], CFG["hq"]))
        self.assertTrue((np.diff(need, axis=0) > 0).all())
        self.assertLess(need.max(), 1)
        # Mass at all distances is all mass.
        np.testing.assert_allclose(look.sum(-1), 1, atol=1e-4)
        self.assertEqual(r["edges"][:4], [0, 1, 2, 4])
        slack = {s["name"]: s for s in r["slack"]}
        for s in slack.values():
            self.assertGreater(s["least"], -1e-3, s["name"])
            self.assertLess(s["unbounded"], 0.01, s["name"])
        order = [slack[f"INT{bits}"]["mean"] for bits in (2, 3, 4, 5, 6, 8)]
        self.assertEqual(order, sorted(order, reverse=True))
        self.assertEqual(slack["INT4"]["bytes"], 16 + 1 + 1)
        self.assertEqual(len(r["maps"]), 6)

    def test_needs_and_distances(self):
        p = np.array([[[0.1, 0.6, 0.3, 0.0], [0.25, 0.25, 0.25, 0.25]]])
        lens = np.array([4])
        need = attention._needs(p, lens)[:, 0] * 4  # of 50, 90 and 99 %
        np.testing.assert_array_equal(need, [[1, 2], [2, 4], [3, 4]])
        mass = attention._by_distance(p, lens, np.array([0, 1, 2, 4]))
        np.testing.assert_allclose(mass[0, 0], [0.0, 0.3, 0.7])

    def test_solvers(self):
        _, r = self.read("solvers")
        for name, got in r["traces"]["sharp"].items():
            apart = np.array(got["apart"], float)
            self.assertTrue(np.isnan(apart[0, 1]), name)  # 4 pages hold no 256 tokens
            self.assertLess(apart[1, 1], apart[1, 0])
            self.assertLess(0, apart[1, 1])
            self.assertLess(apart[1, 0], 1)

    def test_refuses(self):
        empty = self.folder / "empty"
        empty.mkdir()
        code, out, errors = run(program.main, empty, "--out", self.out)
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(errors, f"error: expected results in {empty}, found none\n")
        (empty / "other.json").write_text("[1]")
        code, _, errors = run(program.main, empty, "--out", self.out)
        self.assertEqual(code, 1)
        self.assertRegex(errors, "other.json: expected a result of vashista.eval")
        code, _, errors = run(evaluate.main, "draw")
        self.assertEqual(code, 1)
        self.assertIn("expected a command, layers, model", errors)

    def test_without_matplotlib(self):
        with mock.patch.dict(sys.modules, {"matplotlib": None}):
            with self.assertRaisesRegex(SystemExit, "error: expected matplotlib"):
                run(program.main, self.results, "--out", self.out)

    def test_without_torch(self):
        with mock.patch.dict(sys.modules, {"torch": None}):
            code, out, errors = run(
                evaluate.main, "model", "--codelm", self.folder, "--target", "cpu"
            )
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(errors, "^error: expected torch and transformers, found no")

    def test_what_is_not_finite(self):
        stored = _result.result("x", "y", "numpy", {"a": [np.nan, 1.0, np.inf]})
        self.assertEqual(stored["results"], {"a": [None, 1.0, None]})
        path = self.folder / "deep" / "x.json"
        _result.write(path, stored)
        self.assertEqual(json.loads(path.read_text())["kind"], "x")


if __name__ == "__main__":
    unittest.main()
