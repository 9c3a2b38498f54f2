# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures a causal model of transformers that decodes through compiled attention.

Windows of held-out text are prefilled by SDPA. Their last tokens are decoded,
teacher-forced, by the model with attn_implementation="vashista", under each policy: the
perplexity and the next token beside SDPA's, what was proved and what was true in every
layer, bytes, and the time of a token. Exits with 1 after a false certificate, or a row
that neither was proved nor fell back.

The next token is compared where SDPA's own two best are further apart than rounding can
bring them: more than the largest change of such a margin, over all tokens, between the
model's type and one of twice the bits.

With --drafts, what some policies say are drafts that dense attention verifies
(vashista.drafts): the perplexity and the next token are of what is generated then, and
bytes those of drafts, and three times everything in each round (SDPA reads a copy).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Any

import numpy as np

from .. import Error
from . import _forced, _model, _plans, _result, _tables
from ._artefacts import Artefacts
from ._progress import progress
from ._truth import interval, of_layers

_STEPS = 24  # of one token, for time
_GENERATED = 256  # tokens, for the time of drafts
_VERIFIED = 3  # times that a round's verification takes everything from memory or to it


class Measured:
    """What a policy did over the windows so far."""

    def __init__(self, plan: _plans.Plan, config, args, dtype, artefacts: Artefacts):
        import vashista.transformers as vt

        from ._observe import LISTS, Observer

        self.plan, self.config, self.args, self.dtype = plan, config, args, dtype
        spec = vt.spec_of(config, dtype=dtype, **plan.of_cache())
        self.spec, self.artefact, self.observer = spec, None, None
        if args.compile_only:
            artefacts.make(spec.text)
            if not spec.policy.is_dense:
                artefacts.make(spec.text, LISTS)
            return
        self.artefact = artefacts.get(spec.text)
        layers = config.get_text_config(decoder=True).num_hidden_layers
        self.observer = Observer(
            spec, self.artefact, artefacts, args.device, layers, args.every
        )
        self.losses: list[float] = []
        self.kl: list[float] = []
        self.equal: list[np.ndarray] = []
        self.seconds: float | None = None
        self.agree: list[np.ndarray] = []
        self.rounds = self.drafted = 0

    def cache(self, length: int):
        import vashista.transformers as vt

        return vt.PagedCache(
            self.config, max_length=length, device=self.args.device, dtype=self.dtype,
            artefact=self.artefact, **self.plan.of_cache(),
        )  # fmt: skip

    def run(self, model, window: _forced.Window, dense, last: bool) -> None:
        cache = self.cache(window.ids.shape[1] + _STEPS + 2)
        window.fill(cache)
        cache.observe = self.observer
        if self.plan.drafts:
            drafts, got = _forced.verified(model, window, cache, self.plan.drafts)
            agree = (drafts.argmax(-1) == got.argmax(-1)).cpu().numpy()
            rounds, drafted = _forced.rounds_of(agree, self.plan.drafts)
            self.agree.append(agree)
            self.rounds, self.drafted = self.rounds + rounds, self.drafted + drafted
        else:
            got = _forced.logits_of(model, window, cache, "vashista", self.args.chunk)
        cache.observe = None
        targets = window.targets
        more = _forced.loss(got, targets) - _forced.loss(dense, targets)
        self.losses.append(float(more.mean()))
        self.kl.append(float(_forced.divergence(dense, got).mean()))
        self.equal.append((got.argmax(-1) == dense.argmax(-1)).cpu().numpy())
        if last and self.plan.drafts:
            count = min(_GENERATED, window.ids.shape[1] - window.before)
            self.seconds = _forced.seconds_of_drafts(
                model, window, cache, self.plan.drafts, count
            )
        elif last:
            token = window.ids[:, -1:]
            self.seconds = _forced.seconds_per_token(
                model, cache, token, "vashista", _STEPS
            )

    def result(self, clear: np.ndarray) -> dict[str, Any]:
        layers, errors = self.observer.layers()
        whole = of_layers(layers, errors)
        whole.update(interval(np.array(self.losses)))
        whole["kl"] = float(np.mean(self.kl))
        equal = np.concatenate(self.equal)
        whole["verified"], agree = 0.0, None
        if self.plan.drafts:
            # Of a token: drafts that were in vain, and what verifies.
            agree = float(np.concatenate(self.agree).mean())
            vain = self.drafted / equal.size - 1
            whole["verified"] = (
                vain * whole["bytes"] + _VERIFIED * self.rounds / equal.size
            )
            whole["bytes"] += whole["verified"]
        return {
            "name": self.plan.name,
            "policy": str(self.spec.policy),
            "sketch": str(self.spec.sketch) if self.spec.sketch else None,
            "tolerance": self.spec.policy.tolerance,
            "drafts": self.plan.drafts,
            "agree": agree,
            "tokens_per_round": equal.size / self.rounds if self.rounds else None,
            "whole": whole,
            "layers": layers,
            "window_loss": self.losses,
            "next": {
                "tokens": int(equal.size),
                "equal": int(equal.sum()),
                "clear": int(clear.sum()),
                "clear_equal": int((equal & clear).sum()),
            },
            "seconds": self.seconds,
        }


def measure(found: _model.Model, plans: list[_plans.Plan], args) -> dict[str, Any]:
    """Everything, as it is stored."""
    torch, _ = _model.imported()
    dtype = getattr(torch, args.dtype)
    artefacts = Artefacts(args.artefacts, _model.target_of(args), args.device)
    measured = [Measured(p, found.config, args, dtype, artefacts) for p in plans]
    if args.compile_only:
        return {}
    model = found.load(dtype, args.device)
    exact = _forced.wider(model) if args.noise else None
    starts = [i * args.context for i in range(args.windows)]
    margin, noise, dense_losses, seconds = [], [], [], None
    work = progress([(s, m) for s in starts for m in [None, *measured]], "policies")
    window = dense = None
    for start, one in work:
        last = start == starts[-1]
        if one is not None:
            one.run(model, window, dense, last)
            continue
        ids = found.text[start : start + args.context + 1]
        window = _forced.begin(model, ids, args.decoded, args.device, args.prompt)
        cache = _forced.dense_cache(window)
        dense = _forced.logits_of(model, window, cache, "sdpa", args.chunk)
        dense_losses.append(float(_forced.loss(dense, window.targets).mean()))
        pair = dense.topk(2, -1).indices
        margin.append(_forced.margins(dense, pair).cpu().numpy())
        if last:
            seconds = _forced.seconds_per_token(
                model, cache, window.ids[:, -1:], "sdpa", _STEPS
            )
        if exact is not None:
            other = _forced.begin(exact, ids, args.decoded, args.device, args.prompt)
            cache = _forced.dense_cache(other)
            same = _forced.logits_of(exact, other, cache, "sdpa", args.chunk)
            change = _forced.margins(same, pair).cpu().numpy() - margin[-1]
            noise.append(np.abs(change))
            del other, cache, same
    margin = np.concatenate(margin)
    apart = np.concatenate(noise) if noise else np.zeros(1)
    clear = margin > apart.max()
    config = found.config.get_text_config(decoder=True)
    return {
        "model": found.name,
        "layers": config.num_hidden_layers,
        "dtype": args.dtype,
        "context": args.context,
        "decoded": args.decoded,
        "windows": args.windows,
        "dense_loss": float(np.mean(dense_losses)),
        "noise": {
            "type": (
                str(exact.dtype).removeprefix("torch.") if exact is not None else None
            ),
            "max": float(apart.max()),
            "p99": float(np.quantile(apart, 0.99)),
            "clear": float(clear.mean()),
        },
        "sdpa_seconds": seconds,
        "policies": [one.result(clear) for one in measured],
    }


def report(r: dict[str, Any]) -> str:
    """The results as Markdown."""
    noise = r["noise"]
    out = [
        f"{r['model']}, {r['layers']} layers, {r['dtype']}: the last {r['decoded']} "
        f"tokens of {r['windows']} windows of {r['context']}; dense: "
        f"{r['dense_loss']:.4f} nats per token, {1e3 * r['sdpa_seconds']:.3g} ms per "
        "token by SDPA.",
        "",
    ]
    if noise["type"]:
        out += [
            f"Margins of SDPA's two best tokens differ from those in {noise['type']} by "
            f"at most {noise['max']:.3g} (99 %: {noise['p99']:.3g}); "
            f"{100 * noise['clear']:.1f} % of the tokens have a larger one: clear.",
            "",
        ]
    out += [
        "| policy | bytes | next token as SDPA's: where clear, of all | PPL, 95 % | KL "
        "| proved tau mean | true tau mean / most | fell back | drafts that agree, tokens "
        "per round | ms per token |",
        "|" + "---|" * 10,
    ]
    for p in r["policies"]:
        w, n = p["whole"], p["next"]
        proved = "" if np.isnan(w["tau"]) else f"{100 * w['tau']:.2f} %"
        drafts = (
            f"{100 * p['agree']:.2f} %, {p['tokens_per_round']:.1f}"
            if p["drafts"]
            else ""
        )
        out.append(
            f"| {p['name']} | {100 * w['bytes']:.2f} % | {n['clear_equal']} of "
            f"{n['clear']}, {100 * n['equal'] / n['tokens']:.2f} % | {w['ppl']:+.3f} %, "
            f"{w['ppl_low']:+.3f} to {w['ppl_high']:+.3f} | {w['kl']:.5f} | {proved} "
            f"| {100 * w['tau_true']:.2f} / {100 * w['tau_true_max']:.1f} % "
            f"| {100 * w['fallback']:.2f} % | {drafts} | {1e3 * p['seconds']:.3g} |"
        )
    for p in r["policies"]:
        sketch = f", sketch `{p['sketch']}`" if p["sketch"] else ""
        drafts = f"; {p['drafts']} tokens drafted in a round" if p["drafts"] else ""
        out += ["", f"**{p['name']}**: `{p['policy']}`{sketch}{drafts}.", ""]
        out.append(_tables.heading("layer"))
        out += [_tables.line(str(i), layer) for i, layer in enumerate(p["layers"])]
        out.append(
            f"\n{p['whole']['false']} false certificates, {p['whole']['unproved']} rows "
            "neither proved nor dense."
        )
    return "\n".join(out)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _model.add_options(parser)
    add = parser.add_argument
    add(
        "--policies", type=pathlib.Path, metavar="POLICIES",
        help="a JSON list of policies; default: full and fixed budgets, and certified",
    )  # fmt: skip
    add("--tolerances", default="0.01,0.1,0.3,0.5", help="of the certified ones")
    add(
        "--drafts", default="", metavar="TOKENS",
        help="such as 16,32: fixed budgets and the last tolerances once more, as drafts",
    )  # fmt: skip
    add("--windows", type=int, default=4)
    add("--context", type=int, default=8192, help="tokens of a window")
    add("--decoded", type=int, default=256, help="tokens decoded at its end")
    add("--chunk", type=int, default=64, help="tokens decoded in one call")
    add("--prompt", type=int, default=4096, help="tokens prefilled in one call")
    add(
        "--every", type=int, default=1,
        help="compare the rows of one in so many calls with dense attention",
    )  # fmt: skip
    add(
        "--no-noise", dest="noise", action="store_false",
        help="do not run the model in another type: every token counts as clear",
    )  # fmt: skip
    args = parser.parse_args(argv)
    try:
        found = _model.find(args)
        needed = args.windows * args.context + 1
        if needed > len(found.text) or not 0 < args.decoded < args.context:
            raise ValueError(
                f"expected {needed} tokens of text, and fewer decoded than a window "
                f"has, got {len(found.text)} and {args.decoded}"
            )
        tolerances = [float(x) for x in args.tolerances.split(",")]
        plans = (
            _plans.read(args.policies, drafts=True)
            if args.policies
            else _plans.default(
                args.context, tolerances, [int(x) for x in args.drafts.split(",") if x]
            )
        )
        got = measure(found, plans, args)
    except (Error, OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.compile_only:
        return 0
    text = report(got)
    print(text)
    if args.markdown:
        args.markdown.write_text(text + "\n")
    if args.json:
        said = _result.command(parser, args)
        _result.write(args.json, _result.result("model", said, args.device, got))
    bad = sum(p["whole"]["false"] + p["whole"]["unproved"] for p in got["policies"])
    return 1 if bad else 0
