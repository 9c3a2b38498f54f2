# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints what certified sparse attention costs and changes on a trained decoder.

Prefills windows of a decoder's held-out text densely, decodes their last tokens
through compiled attention, and prints, for each setting and layer: bytes read as a
share of dense keys and values, tokens attended, what was proved and what was true,
and the perplexity against dense decoding with an interval over windows. Exits with
1 after a false certificate, or a row that neither was proved nor fell back.

Needs NumPy, and PyTorch for another device than numpy. Artefacts are compiled once
into a folder; a machine without the compiler needs that folder, the settings and
options that it was filled with, and the runtime.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

from .. import Error
from . import _result
from ._decoder import Arrays, Decoder
from ._measure import Evaluation
from ._step import Heads, Setting, Step
from ._tables import heading, line, quality


def settings_of(path: pathlib.Path) -> list[Setting]:
    """Reads a JSON list of settings, objects with the fields of `Setting`."""
    settings = []
    for entry in json.loads(path.read_text()):
        if isinstance(entry.get("sketch"), list):
            entry["sketch"] = tuple(entry["sketch"])
        settings.append(Setting(**entry))
    return settings


def steps_of(setting: Setting, decoder: Decoder, args) -> list[Step]:
    """The setting's step of every layer; layers with the same sketch share one."""
    heads = Heads(decoder.heads, decoder.kv_heads, decoder.dim)
    sketches = [setting.sketch_of(i, decoder.layers) for i in range(decoder.layers)]
    steps = {
        sketch: Step(setting, sketch, heads, args.artefacts, args.target)
        for sketch in dict.fromkeys(sketches)
    }
    return [steps[sketch] for sketch in sketches]


def describe(setting: Setting) -> str:
    sketch = setting.sketch
    if not isinstance(sketch, str):
        sketch = "; ".join(sketch)
    return (
        f"sketch `{sketch}`, scales {setting.scales}, norms {setting.norms}, pages of "
        f"{setting.page_size}; tau <= {100 * setting.tolerance:g} %, at most "
        f"{setting.candidates} tokens in each of {setting.rounds} rounds, sinks "
        f"{setting.sinks}, window {setting.window}"
    )


def report(results: list[dict]) -> str:
    """The results as Markdown."""
    out = [heading("setting", quality=True)]
    out += [quality(r["setting"]["name"], r["whole"]) for r in results]
    for r in results:
        setting = Setting(**r["setting"])
        out += ["", f"**{setting.name}**: {describe(setting)}.", "", heading("layer")]
        out += [line(str(i), layer) for i, layer in enumerate(r["layers"])]
        out.append(
            f"\n{r['rows']} rows of heads, {r['tokens']} tokens: "
            f"{r['whole']['false']} false certificates, {r['whole']['unproved']} rows "
            f"neither proved nor dense."
        )
    return "\n".join(out)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--codelm", type=pathlib.Path, required=True, metavar="CODELM",
        help="the decoder's folder",
    )  # fmt: skip
    add("--settings", type=pathlib.Path, required=True, help="a JSON list of settings")
    add("--windows", type=int, default=12)
    add("--context", type=int, default=32768, help="tokens of a window")
    add("--decoded", type=int, default=1024, help="tokens decoded at its end")
    add("--device", default="numpy", help="of dense parts: numpy, or PyTorch's name")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"))
    add("--target", default="cpu", help="what to compile for")
    add("--compile-only", action="store_true", help="fill the folder of artefacts")
    add(
        "--json", type=pathlib.Path, metavar="FILE",
        help="also write the numbers to this file",
    )  # fmt: skip
    args = parser.parse_args(argv)

    try:
        decoder = Decoder(args.codelm, Arrays(args.device))
        plans = [(s, steps_of(s, decoder, args)) for s in settings_of(args.settings)]
        if args.compile_only:
            return 0
        start = time.monotonic()
        evaluation = Evaluation(decoder, args.windows, args.context, args.decoded)
    except (Error, OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    loss = evaluation.dense_loss
    print(f"dense: {loss:.4f} nats per token ({time.monotonic() - start:.0f} s)")
    results = []
    for setting, steps in plans:
        start = time.monotonic()
        results.append(evaluation.measure(setting, steps))
        results[-1]["dense_loss"] = loss
        seconds = time.monotonic() - start
        print(f"{line(setting.name, results[-1]['whole'])} {seconds:.0f} s", flush=True)
        if args.json:
            said = _result.command(parser, args)
            _result.write(
                args.json, _result.result("layers", said, args.device, results)
            )
    print("\n" + report(results))
    bad = sum(r["whole"]["false"] + r["whole"]["unproved"] for r in results)
    return 1 if bad else 0
