# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_device.py FILE

Succeeds when the file is a report of vashista-bench on a certified step on a GPU,
with everything that one on the CPU has.
"""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)
assert report["device"] == "cuda:0" and report["architecture"] == "compute_90a", report
assert report["read_bytes_per_second"] > 0 and report["multiply_adds_per_second"] > 0
stages = {(stage["step"], stage["entry"]): stage for stage in report["stages"]}
for step in "dense", "certified", "uncertified":
    stage = stages[step, step]
    assert stage["median_seconds"] >= stage["best_seconds"] > 0, stage
    floor = max(
        stage["bytes"] / report["read_bytes_per_second"],
        stage["multiply_adds"] / report["multiply_adds_per_second"],
    )
    assert abs(stage["floor_seconds"] / floor - 1) < 1e-6, stage
for entry in "score_tokens", "pick_tokens", "attend", "pick_tokens_2", "certify", "fallback":
    assert stages["certified", entry]["median_seconds"] > 0, entry
assert report["certificate"]["groups_fell_back"] == 0, report["certificate"]
contexts = [point["context"] for point in report["crossover"]["contexts"]]
assert contexts == [1024, 1100], contexts
