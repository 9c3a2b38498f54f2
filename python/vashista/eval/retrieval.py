# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Needles and passkeys over lengths and depths, by a model with compiled attention.

needle: eight tokens and eight more, drawn from the text without its order, are put into
it at a depth; at its end the first eight stand again, and the model is to go on with the
others. It takes no tokenizer, and nothing but copying.
passkey: the same with a number in words, for models with a tokenizer.

A case is retrieved if every token is the one that decoding greedily would choose. The
text is prefilled by SDPA; the question and the answer are decoded by the compiled step.
SDPA's own share stands beside it: what a model cannot do densely says nothing.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Any

import numpy as np

from .. import Error
from . import _forced, _model, _plans, _result
from ._artefacts import Artefacts
from ._progress import progress

#: The needle, the question and the answer; what is looked for is the number.
TEMPLATES = {
    "prose": (
        "\nThe pass key is {key}. Remember it. {key} is the pass key.\n",
        "\nWhat is the pass key? The pass key is",
        " {key}",
    ),
    "c": (
        "\n#define VAULT_PASS_KEY 0x{key}\n",
        "\n#undef VAULT_PASS_KEY\n#define VAULT_PASS_KEY",
        " 0x{key}",
    ),
}
_TOKENS = 8  # of a needle's two halves


def needle(rng, found: _model.Model, template: str):
    """What is hidden, the question, and the answer: ids."""
    ids = rng.choice(found.text, 2 * _TOKENS, replace=False)
    return ids, ids[:_TOKENS], ids[_TOKENS:]


def passkey(rng, found: _model.Model, template: str):
    if found.tokenizer is None:
        raise ValueError("passkey: expected a model with a tokenizer, got one without")
    key = str(rng.integers(10000, 100000))
    return [
        np.asarray(
            found.tokenizer(part.format(key=key), add_special_tokens=False)["input_ids"]
        )
        for part in TEMPLATES[template]
    ]


TASKS = {"needle": needle, "passkey": passkey}


def case(rng, found, task: str, template: str, length: int, depth: float):
    """A window of `length` + 1 ids, its answer at the end; and how long that is.

    depth: where the needle is, 0 at the beginning, 1 just before the question.
    """
    hidden, question, answer = TASKS[task](rng, found, template)
    room = length + 1 - len(hidden) - len(question) - len(answer)
    if room <= 0 or room > len(found.text):
        raise ValueError(
            f"expected a length with room for {task}, and as much text, got {length}"
        )
    start = int(rng.integers(len(found.text) - room + 1))
    text, at = found.text[start : start + room], round(depth * room)
    ids = np.concatenate([text[:at], hidden, text[at:], question, answer])
    return ids.astype(np.int64), len(question), len(answer)


def measure(found: _model.Model, args) -> dict[str, Any]:
    import vashista.transformers as vt

    torch, _ = _model.imported()
    dtype = getattr(torch, args.dtype)
    lengths = [int(x) for x in args.lengths.split(",")]
    depths = [float(x) for x in args.depths.split(",")]
    tasks = args.tasks.split(",")
    if unknown := set(tasks) - set(TASKS):
        raise ValueError(f"expected tasks of {', '.join(TASKS)}, got {unknown.pop()}")
    tolerances = [float(x) for x in args.tolerances.split(",")]
    longest = max(lengths) + 1
    plans = (
        _plans.read(args.policies)
        if args.policies
        else _plans.default(longest, tolerances)[3:]
    )
    artefacts = Artefacts(args.artefacts, _model.target_of(args), args.device)
    specs = [vt.spec_of(found.config, dtype=dtype, **p.of_cache()) for p in plans]
    if args.compile_only:
        for spec in specs:
            artefacts.make(spec.text)
        return {}
    model = found.load(dtype, args.device)
    names = ["SDPA", *(plan.name for plan in plans)]
    shape = (len(names), len(lengths), len(depths), args.samples)
    right = {task: np.zeros(shape, bool) for task in tasks}
    tokens = {task: np.zeros(shape) for task in tasks}
    work = [
        (task, i, j, n)
        for task in tasks
        for i in range(len(lengths))
        for j in range(len(depths))
        for n in range(args.samples)
    ]
    for task, i, j, n in progress(work, "cases"):
        rng = np.random.default_rng([n, i, j, len(task)])
        ids, asked, answered = case(
            rng, found, task, args.template, lengths[i], depths[j]
        )
        decoded = asked + answered - 1
        window = _forced.begin(model, ids, decoded, args.device, args.prompt)
        targets = window.targets[-answered:]
        for m in range(len(names)):
            if m == 0:
                cache, attention = _forced.dense_cache(window), "sdpa"
            else:
                cache = vt.PagedCache(
                    found.config, max_length=longest, device=args.device, dtype=dtype,
                    artefact=artefacts.get(specs[m - 1].text), **plans[m - 1].of_cache(),
                )  # fmt: skip
                window.fill(cache)
                attention = "vashista"
            got = _forced.logits_of(model, window, cache, attention, decoded)
            same = got[-answered:].argmax(-1).cpu().numpy() == targets
            right[task][m, i, j, n] = same.all()
            tokens[task][m, i, j, n] = same.mean()
    return {
        "model": found.name, "dtype": args.dtype, "names": names, "lengths": lengths,
        "depths": depths, "samples": args.samples,
        "policies": [str(plan.policy) for plan in plans],
        "tasks": {
            t: {"retrieved": right[t].mean(-1), "tokens": tokens[t].mean(-1)}
            for t in tasks
        },
    }  # fmt: skip


def report(r: dict[str, Any]) -> str:
    """The results as Markdown."""
    out = []
    for task, got in r["tasks"].items():
        head = " | ".join(f"{length:,}" for length in r["lengths"])
        out += [
            f"{task}, {r['model']}: share retrieved, and of tokens that are right, by "
            f"length; {len(r['depths'])} depths, {r['samples']} of each.",
            "",
            f"| attention | {head} |",
            "|" + "---|" * (len(r["lengths"]) + 1),
        ]
        for m, name in enumerate(r["names"]):
            cells = [
                f"{100 * a:.0f} %, {100 * b:.1f} %"
                for a, b in zip(
                    np.asarray(got["retrieved"])[m].mean(-1),
                    np.asarray(got["tokens"])[m].mean(-1),
                )
            ]
            out.append(f"| {name} | {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out).rstrip()


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval retrieval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _model.add_options(parser)
    add = parser.add_argument
    add("--tasks", default="needle", help="of needle, passkey")
    add("--template", default="prose", choices=tuple(TEMPLATES), help="of a passkey")
    add("--lengths", default="1024,2048,4096,8192", help="tokens")
    add("--depths", default="0,0.25,0.5,0.75,1")
    add("--samples", type=int, default=4, help="of each length and depth")
    add("--tolerances", default="0.1,0.5", help="of certified policies")
    add(
        "--policies", type=pathlib.Path, metavar="POLICIES",
        help="a JSON list of policies; default: a fixed budget, and certified",
    )  # fmt: skip
    add("--prompt", type=int, default=4096, help="tokens prefilled in one call")
    args = parser.parse_args(argv)
    try:
        got = measure(_model.find(args), args)
        if args.compile_only:
            return 0
        text = report(got)
        print(text)
        if args.markdown:
            args.markdown.write_text(text + "\n")
        if args.json:
            said = _result.command(parser, args)
            _result.write(
                args.json, _result.result("retrieval", said, args.device, got)
            )
    except (Error, OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
