# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What checks of compiled entries have in common: their options, an artefact of all
cases, trials of each, and a count of failures."""

import argparse
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import vashista  # noqa: E402


def add_part(parser: argparse.ArgumentParser) -> None:
    """Adds --part: a slice of all there is to do."""

    def parse(text: str) -> slice:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        first, parts = map(int, match.groups()) if match else (1, 0)
        if first >= parts:
            raise argparse.ArgumentTypeError(
                f"expected I/N, I from 0 to N - 1, got {text}"
            )
        return slice(first, None, parts)

    parser.add_argument(
        "--part",
        type=parse,
        default="0/1",
        help="I/N: every Nth of all from the Ith on, beside others",
    )


def empty_state(q: str, o: str, lse: str) -> str:
    """Lines that make %o0 and %l0, of these types: the empty state of the rows of %q."""
    return f"""
  %c0 = arith.constant 0 : index
  %r = tensor.dim %q, %c0 : {q}
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %o_any = tensor.empty(%r) : {o}
  %lse_any = tensor.empty(%r) : {lse}
  %o0 = linalg.fill ins(%zero : f32) outs(%o_any : {o}) -> {o}
  %l0 = linalg.fill ins(%none : f32) outs(%lse_any : {lse}) -> {lse}"""


def judge_all(
    description,
    cases,
    find=lambda artefact, name: artefact[name],
    note=str,
    options=(),
):
    """Judges cases, each a name, what is drawn, a function that writes the entry of a
    name and a case, and one that yields what is wrong in a trial of it: of a case, what
    `find` finds of its entry or entries, a number and a generator. `note` says what
    else was found in the end; `options` are those of vashista-compile. Yields 1 after a
    failure, else 0."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--target", default="cuda:sm_90a", help="as of vashista-compile")
    parser.add_argument("--trials", type=int, default=3, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--artefact", help="kept there; compiled if it is not there")
    add_part(parser)
    args = parser.parse_args()
    numbered = list(enumerate(cases))[args.part]
    if args.artefact and pathlib.Path(args.artefact).exists():
        artefact = vashista.load(args.artefact)
    else:
        text = "".join(write(name, case) for _, (name, case, write, _) in numbered)
        artefact = vashista.compile(
            text, args.target, output=args.artefact, options=options
        )
    bare = [
        name
        for name, entry in artefact.items()
        if "--checked" in options and not any(value.faults for value in entry.results)
    ]
    if bare:
        # What is lied to would read anywhere.
        parser.error(f"expected an artefact of --checked, got one whose {bare[0]} is not")
    failures = 0
    for i, (name, case, _, judge) in numbered:
        for number in range(args.trials):
            rng = np.random.default_rng([args.seed, i, number])
            for wrong in judge(case, find(artefact, name), number, rng):
                failures += 1
                if failures < 20:
                    print(f"{case}, trial {number}: {wrong}")
    print(
        f"{len(numbered)} cases on {artefact.device} ({artefact.architecture or 'CPU'}), "
        f"{len(numbered) * args.trials} trials, {note()}{failures} failures"
    )
    return int(failures > 0)
