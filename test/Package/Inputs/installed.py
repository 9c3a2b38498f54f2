# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles and runs with an installed package, or only runs.

Usage: installed.py FOLDER compile ARTEFACT | installed.py FOLDER load ARTEFACT
"""

import pathlib
import sys

import numpy as np
import vashista

folder, what, path = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
assert folder in pathlib.Path(vashista.__file__).resolve().parents
assert folder in vashista.find_runtime().parents
spec = vashista.AttentionSpec(2, 1, 16, scale=0.25, dtype="f32", page_size=4)
if what == "compile":
    assert folder in vashista.find_program("vashista-compile").parents
    assert "vashista.attend" in vashista.ir.decompose(spec.text)
    artefact = vashista.compile(spec, "cpu:x86-64-v3", output=path, cache=False)
else:
    try:
        vashista.compile(spec)
    except vashista.Error as error:
        assert error.kind == "not found", error
    else:
        sys.exit("error: expected no compiler, got one")
    artefact = vashista.load(path)
cache = vashista.PagedKVCache(spec, 4, 1, artefact=artefact)
ones = np.ones((6, 1, 16), np.float32)
cache.extend(cache.add(), ones, 3 * ones)
got = cache.attend(np.ones((1, 2, 16), np.float32), [0])
np.testing.assert_allclose(got.o, 3, rtol=1e-6)
np.testing.assert_allclose(got.lse, 4 + np.log(6), rtol=1e-6)
