# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_bundle.py BUNDLE ARTEFACT

Succeeds when the folder is a bundle with that artefact: less than 60 MB, of what
its README and its sums list and nothing else, and of programs that need no library
but glibc, of no later version than the README says, and none by an absolute path.
"""

import hashlib
import pathlib
import re
import subprocess
import sys

bundle, artefact = pathlib.Path(sys.argv[1]), sys.argv[2]
files = {
    str(path.relative_to(bundle)): path
    for path in bundle.rglob("*")
    if not path.is_dir()
}
link = files.pop("lib/libvashista_runtime.so.0")
assert str(link.readlink()) == "libvashista_runtime.so.0.1.0", link.readlink()
sums = dict(
    reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines()
)
programs = {"bin/vashista-run", "bin/vashista-bench", "lib/libvashista_runtime.so.0.1.0"}
assert set(sums) == programs | {artefact, "LICENSE", "README.md"}, sums
assert set(files) == set(sums) | {"SHA256SUMS"}, files
for name, digest in sums.items():
    assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name
total = sum(path.stat().st_size for path in files.values())
assert total < 60e6, total

readme = files["README.md"].read_text()
listed = dict(re.findall(r"^\| (\S+) \| (\d+) \|", readme, re.MULTILINE))
assert set(listed) == set(sums) - {"README.md"}, listed
for name, size in listed.items():
    assert files[name].stat().st_size == int(size), name
glibc = re.search(r"glibc (\d+)\.(\d+) or later", readme)
glibc = tuple(map(int, glibc.groups()))

ALLOWED = r"(lib(c|m|pthread|dl|rt|resolv)|ld-linux-x86-64)\.so\.\d"
for name in programs:
    path = files[name]
    assert path.stat().st_mode & 0o111, name
    dynamic = subprocess.run(
        ["llvm-readelf", "-dV", path], capture_output=True, text=True, check=True
    ).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert needed and all(re.fullmatch(ALLOWED, it) for it in needed), (name, needed)
    for run_path in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
        assert all(it.startswith("$ORIGIN") for it in run_path.split(":")), (name, run_path)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", dynamic)
    assert max(tuple(map(int, it)) for it in versions) <= glibc, (name, versions, glibc)
