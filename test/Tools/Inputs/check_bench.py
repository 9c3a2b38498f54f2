# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_bench.py FILE...

Succeeds when each file is a report of vashista-bench whose steps, dense and
sparse, attended everything and agree with float64.
"""

import json
import sys

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    stages = {stage["entry"]: stage for stage in report["stages"]}
    assert report["read_bytes_per_second"] > 0, path
    assert report["multiply_adds_per_second"] > 0, path
    for entry in ("dense", "sparse"):
        stage = stages[entry]
        assert stage["median_seconds"] >= stage["best_seconds"] > 0, path
        assert stage["bytes"] > 0 and stage["floor_seconds"] > 0, path
        assert 0 < stage["max_error"] < 1e-4 * max(1, stage["rms_output"]), (path, stage)
        assert stage["max_mass_not_attended"] < 1e-5, (path, stage)
