#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Looks for false certificates: compiled decode steps against float64.

Draws configurations (types, sizes, summaries, sketches, policies), compiles each
through the Python package, and runs it on sequences of known character, adversarial
ones among them, whose lengths are log-uniform up to 8192. For every row and query
head the true share of the mass that was not attended, and the true error of the
output, are computed in float64 and compared with what was certified.

A certificate below the truth is false. Prints their number (which must be 0), how
many rows were certified, and how much larger than the truth certificates are, by
source of the bounds and by regime. Exits with 1 after a false certificate, after an
accepted row that misses its target, and where too few rows are certified to mean
anything.

Needs NumPy, and the build of the checkout (build/) or VASHISTA_BUILD. Artefacts that
were compiled elsewhere, by the same options and --compile-only, are found in --artefacts.
"""

import argparse
import collections
import multiprocessing
import os
import pathlib
import sys

# One thread a process: the processes share the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from certificate_cases import ROWS, Case, draw_spec, text_of  # noqa: E402
import vashista  # noqa: E402
from vashista.eval._artefacts import Artefacts  # noqa: E402

# What a certificate may be below the truth by: the reference's own rounding.
SLOP = 1e-9


def judge(case, module, found, on_device=False):
    """Adds what a case shows to `found`."""
    spec = case.spec
    operands = case.operands(module)
    tau, error, *lists = module["prove"](*operands, threads=1)
    o, _, step_tau, step_error, rounds, flag = module["step"](*operands, threads=1)
    limit = np.float32(spec.tolerance)
    found["rows"] += ROWS * spec.heads
    for row, kv_head, heads, x, off, values in case.groups():
        regime = case.regimes[case.rows[row]]
        attended = np.zeros(x.shape[1], bool)
        for ids in lists:
            some = ids[row, kv_head]
            some = some[some >= 0]
            if not spec.candidates:
                some = (some[:, None] * spec.page_size + np.arange(spec.page_size)).ravel()
            attended[some[some < len(attended)]] = True
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            weights = np.exp(x - x.max(1, keepdims=True))
            total = weights.sum(1)
            # Not as 1 - attended: a small share would be lost.
            truth = weights[:, ~attended].sum(1) / total
            dense = weights @ values / total[:, None]
            # A row whose logits are all -inf is an empty one.
            empty = x.max(1) == -np.inf
            truth[empty], dense[empty] = 0.0, 0.0
            sums = weights[:, attended].sum(1)
            sparse = weights[:, attended] @ values[attended] / sums[:, None]
            sparse[sums == 0] = 0.0
            left = weights[:, ~attended].sum(1)
            rest = weights[:, ~attended] @ values[~attended] / left[:, None]
            # The same as norm(dense - sparse), without its cancellation.
            errors = truth * np.linalg.norm(rest - sparse, axis=1)
            errors[(left == 0) | empty] = 0.0
            finals = np.linalg.norm(o[row, heads] - dense, axis=1)
        largest = np.linalg.norm(values, axis=1).max()
        for g in range(spec.group):
            t, e = float(tau[row, heads][g]), float(error[row, heads][g])
            unknown = not np.isfinite(truth[g])
            key = (spec.source, regime)
            stats = found["by"][key]
            stats["rows"] += 1
            stats["certified"] += 0 < t < 0.5
            stats["exact"] += t == 0
            false = t < 1 if unknown else (
                truth[g] > t * (1 + SLOP) or errors[g] > e * (1 + SLOP) + 1e-300
            )
            if false:
                found["false"].append(
                    f"{spec} {regime} row {row} head {kv_head}.{g} T={x.shape[1]}: tau {t},"
                    f" in truth {truth[g]}; error {e}, in truth {errors[g]}"
                )
            if 0 < t < 0.5 and truth[g] > 1e-12:
                slack = np.log(t / (1 - t)) - np.log(truth[g] / (1 - truth[g]))
                found["slack"][spec.source.split(" <")[0]].append(slack)
            # What the policy delivers: dense or within its target, rounding of f32
            # aside.
            if unknown:
                continue
            found["policy rows"] += 1
            rounding = 1e-4 * largest if spec.dtype != "f32" else 1e-5 * largest
            rounding += 2e-6 * largest * np.abs(x[g]).max()
            # Logits that are off by this much move an output by twice as much, in
            # units of the values' diameter.
            if np.isfinite(off[g]):
                rounding += 4 * off[g] * largest
            # Tensor cores round weights to the type of the values.
            if on_device and spec.dtype != "f32":
                rounding += 2.0**-9 * largest
            fell = flag[row, kv_head]
            found["fell back"] += fell
            found["second rounds"] += rounds[row, kv_head] > 1
            st, se = float(step_tau[row, heads][g]), float(step_error[row, heads][g])
            accepted = (st if spec.target == "tau" else se) <= limit
            if not fell and not accepted:
                found["missed"].append(f"{spec} {regime}: neither accepted nor dense")
            target = 0.0 if fell else spec.tolerance
            if spec.target == "tau":
                target = 0.0 if fell else se
            if not np.isfinite(finals[g]) or finals[g] > target + rounding:
                found["missed"].append(
                    f"{spec} {regime} row {row} head {kv_head}.{g} T={x.shape[1]}: final "
                    f"error {finals[g]}, target {target}, fell back: {bool(fell)}"
                )


def new_findings():
    return {
        "rows": 0,
        "policy rows": 0,
        "fell back": 0,
        "second rounds": 0,
        "false": [],
        "missed": [],
        "by": collections.defaultdict(collections.Counter),
        "slack": collections.defaultdict(list),
    }


def draw_configuration(seed, number):
    """What is compiled, and what draws its data."""
    rng = np.random.default_rng([seed, number])
    return draw_spec(rng), rng


def choose_configurations(args):
    """The numbers of as many as have --rows rows together."""
    numbers, rows = [], 0
    while rows < args.rows:
        spec, _ = draw_configuration(args.seed, len(numbers))
        numbers.append(len(numbers))
        rows += args.draws * ROWS * spec.heads
    return numbers


def compile_one(job):
    number, args = job
    spec, _ = draw_configuration(args.seed, number)
    Artefacts(args.artefacts, args.target).make(text_of(spec))


def work(job):
    number, args = job
    spec, rng = draw_configuration(args.seed, number)
    if args.artefacts:
        module = Artefacts(args.artefacts, args.target).get(text_of(spec))
    else:
        module = vashista.compile(text_of(spec), args.target)
    found = new_findings()
    for _ in range(args.draws):
        on_device = args.target.startswith("cuda")
        judge(Case(spec, rng), module, found, on_device)
    found["slack"] = {
        key: np.array(values, np.float32) for key, values in found["slack"].items()
    }
    return found


def quantiles(values):
    return "  ".join(f"{x:8.3f}" for x in np.quantile(values, [0, 0.1, 0.5, 0.9, 1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows at least")
    parser.add_argument("--draws", type=int, default=40, help="draws per configuration")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", default="cpu", help="as of vashista-compile")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--artefacts", type=pathlib.Path, help="a folder to keep them in")
    parser.add_argument("--compile-only", action="store_true", help="needs --artefacts")
    args = parser.parse_args()
    if args.compile_only and not args.artefacts:
        parser.error("--compile-only: expected --artefacts, got none")
    found, number = new_findings(), 0
    slack = collections.defaultdict(list)
    with multiprocessing.Pool(args.jobs) as pool:
        jobs = [(number, args) for number in choose_configurations(args)]
        if args.compile_only:
            pool.map(compile_one, jobs, chunksize=1)
            print(f"{len(jobs)} configurations in {args.artefacts}")
            return False
        for some in pool.imap_unordered(work, jobs):
            number += 1
            for key in ("rows", "policy rows", "fell back", "second rounds"):
                found[key] += some[key]
            for key in ("false", "missed"):
                found[key] += some[key]
            for key, counts in some["by"].items():
                found["by"][key].update(counts)
            for key, values in some["slack"].items():
                slack[key].append(values)
            if sys.stderr.isatty():
                print(f"\r{found['rows']} rows", end="", file=sys.stderr)
            if len(found["false"]) > 20:
                pool.terminate()
                break

    def table(title, name):
        sums = collections.defaultdict(collections.Counter)
        for key, counts in found["by"].items():
            sums[name(*key)].update(counts)
        print(f"\n{title:58s} {'rows':>9s} {'0 < tau < .5':>13s} {'tau = 0':>8s}")
        for key, counts in sorted(sums.items()):
            rows = counts["rows"]
            print(
                f"{key:58s} {rows:9d} {counts['certified'] / rows:12.1%} "
                f"{counts['exact'] / rows:8.1%}"
            )

    total = collections.Counter()
    for counts in found["by"].values():
        total.update(counts)
    table("source of the bounds", lambda source, _: source.split(" <")[0])
    table("sketch", lambda source, _: source[source.find("<") :] if "<" in source else "-")
    table("regime", lambda _, regime: regime)
    print("\nslack in nats: logit of the certified tau - logit of the true one")
    print(f"{'':30s} {'least':>8s}  {'10 %':>8s}  {'median':>8s}  {'90 %':>8s}  {'most':>8s}")
    for key, values in sorted(slack.items()):
        print(f"{key:30s} {quantiles(np.concatenate(values))}")
    for text in (found["false"] + found["missed"])[:10]:
        print(text)
    share = total["certified"] / max(total["rows"], 1)
    print(
        f"\n{number} configurations, seed {args.seed}: {found['rows']} rows, "
        f"{len(found['false'])} false certificates, {share:.1%} certified "
        f"(0 < tau < .5); of {found['policy rows']} rows under a policy "
        f"{len(found['missed'])} missed their target, "
        f"{found['fell back'] / max(found['policy rows'], 1):.1%} fell back, "
        f"{found['second rounds'] / max(found['policy rows'], 1):.1%} took a second round"
    )
    if share < 0.3:
        print("error: less than 30 % of the rows were certified")
    return bool(found["false"] or found["missed"] or share < 0.3)


if __name__ == "__main__":
    sys.exit(main())
