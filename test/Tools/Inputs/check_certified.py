# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_certified.py [--share LEAST MOST] [--fell-back LEAST MOST] FILE...

Succeeds when each file is a report of vashista-bench on a certified step whose
certificates all hold, whose rows are certified or fall back, and whose numbers go
together; with options, also when the share of the tokens that was attended and the
groups that fell back are within limits.
"""

import argparse
import json
import math

parser = argparse.ArgumentParser()
parser.add_argument("--share", nargs=2, type=float, default=(0, 1))
parser.add_argument("--fell-back", nargs=2, type=int, default=(0, math.inf))
parser.add_argument("files", nargs="+")
arguments = parser.parse_args()

for path in arguments.files:
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    stages = {(stage["step"], stage["entry"]): stage for stage in report["stages"]}
    dense, certified, uncertified = (
        stages[name, name] for name in ("dense", "certified", "uncertified")
    )
    for step in dense, certified, uncertified:
        assert step["median_seconds"] >= step["best_seconds"] > 0, path
        assert step["floor_seconds"] > 0 and step["passed_bytes"] == 0, path

    found = report["certificate"]
    assert found["false_certificates"] == 0, (path, found)
    # Where it holds nothing can be missed that it does not know of.
    assert found["mean_missed"] <= found["mean_tau"] <= 1, (path, found)
    assert 0 < found["rows_certified"] + found["groups_fell_back"], (path, found)
    assert (found["rows_certified"] == found["rows"]) == (
        found["groups_fell_back"] == 0
    ), (path, found)
    assert 0 < found["mean_tokens"] <= found["most_tokens"], (path, found)
    assert arguments.share[0] <= found["share_of_tokens"] <= arguments.share[1], found
    least, most = arguments.fell_back
    assert least <= found["groups_fell_back"] <= most, (path, found)
    if found["groups_fell_back"] == found["groups"]:
        assert certified["max_mass_not_attended"] < 1e-5, (path, certified)
    if found["target"] == "tau":
        assert certified["max_mass_not_attended"] <= found["tolerance"], path
    cost = certified["median_seconds"] - uncertified["median_seconds"]
    assert math.isclose(found["cost_seconds"], cost, rel_tol=1e-6, abs_tol=1e-9), path

    parts = {entry: stage for (step, entry), stage in stages.items() if step == "certified"}
    if len(parts) > 1:
        assert sum(part["bytes"] for entry, part in parts.items() if entry != "certified") == (
            certified["bytes"]
        ), path
        assert parts["pick_tokens"]["passed_bytes"] > 0, path

    if "crossover" in report:
        points = report["crossover"]["contexts"]
        assert [point["context"] for point in points] == [1024, 2000], path
        assert all(point["certified_seconds"] > 0 for point in points), path
        for name in "certified", "uncertified":
            context = report["crossover"][name + "_from"]
            last = points[-1]
            wins = last[name + "_seconds"] < last["dense_seconds"]
            assert (context is not None) == wins, (path, report["crossover"])
            assert context is None or 1024 <= context <= 2000, (path, context)
