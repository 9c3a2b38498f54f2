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
from ._decoder import Arrays, Decoder
from ._measure import Evaluation
from ._step import Heads, Setting, Step


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


def heading(first: str) -> str:
    columns = (
        f"{first} | bytes: scan + tokens + fallback | tokens per row / group "
        "| rows proved, mean | true tau mean / most | output error mean / p99 "
        "| grown / fell back"
    )
    return f"| {columns} |\n|{'---|' * 7}"


def line(first: str, r: dict) -> str:
    """A row of a table, of a whole setting or a layer."""
    parts = " + ".join(f"{100 * r[key]:.2f}" for key in ("scan", "tokens", "fallback"))
    return (
        f"| {first} | {parts} = **{100 * r['bytes']:.2f} %** "
        f"| {100 * r['alone']:.2f} / {100 * r['tokens']:.2f} % "
        f"| {100 * r['proved']:.2f} %, {100 * r['tau']:.1f} % "
        f"| {100 * r['tau_true']:.2f} / {100 * r['tau_true_max']:.1f} % "
        f"| {r['error']:.4f} / {r['error_p99']:.3f} "
        f"| {100 * r['grown']:.2f} / {100 * r['fallback']:.2f} % |"
    )


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
    out = [heading("setting").replace(" |\n", " | PPL, 95 % | KL |\n") + "---|---|"]
    for r in results:
        w = r["whole"]
        out.append(
            line(r["setting"]["name"], w)
            + f" {w['ppl']:+.3f} %, {w['ppl_low']:+.3f} to {w['ppl_high']:+.3f} "
            f"| {w['kl']:.5f} |"
        )
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
        prog="vashista.eval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--codelm", type=pathlib.Path, required=True, help="the decoder's folder")
    add("--settings", type=pathlib.Path, required=True, help="a JSON list of settings")
    add("--windows", type=int, default=12)
    add("--context", type=int, default=32768, help="tokens of a window")
    add("--decoded", type=int, default=1024, help="tokens decoded at its end")
    add("--device", default="numpy", help="of dense parts: numpy, or PyTorch's name")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"))
    add("--target", default="cpu", help="what to compile for")
    add("--compile-only", action="store_true", help="fill the folder of artefacts")
    add("--json", type=pathlib.Path, help="also write the numbers to this file")
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
            args.json.write_text(json.dumps(results, indent=1))
    print("\n" + report(results))
    bad = sum(r["whole"]["false"] + r["whole"]["unproved"] for r in results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
