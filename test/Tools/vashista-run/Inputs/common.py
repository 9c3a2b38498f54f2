# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of vashista-run share: .npy files, and runs of the tool.

Standard library only, so that the tests need no NumPy.
"""

import os
import struct
import subprocess
import sys

FORMATS = {"b1": "B", "V1": "B", "V2": "H", "f1": "B"}
FORMATS.update({f"i{n}": c for n, c in zip((1, 2, 4, 8), "bhiq")})
FORMATS.update({f"u{n}": c for n, c in zip((1, 2, 4, 8), "BHIQ")})
FORMATS.update({f"f{n}": c for n, c in zip((2, 4, 8), "efd")})


def npy(descr, shape, values, fortran=False, version=1):
    """The bytes of a .npy file, the values in the order of the file."""
    order = ">" if descr[0] == ">" else "<"
    data = struct.pack(f"{order}{len(values)}{FORMATS[descr[1:]]}", *values)
    return raw_npy(
        f"{{'descr': '{descr}', 'fortran_order': {fortran}, "
        f"'shape': {tuple(shape)}, }}",
        data,
        version,
    )


def raw_npy(header, data=b"", version=1):
    header = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def read(path):
    """(element type, shape, values) of a file that vashista-run wrote."""
    with open(path, "rb") as file:
        content = file.read()
    assert content[:8] == b"\x93NUMPY\x01\x00", content[:8]
    start = 10 + struct.unpack("<H", content[8:10])[0]
    assert start % 64 == 0 and content[start - 1 : start] == b"\n"
    # The tests' own files: nothing is untrusted here.
    header = eval(content[10:start], {"__builtins__": {}})
    assert header["fortran_order"] is False
    descr = header["descr"]
    code = FORMATS[descr[1:]]
    count = (len(content) - start) // struct.calcsize(f"<{code}")
    values = list(struct.unpack(f"<{count}{code}", content[start:]))
    return descr, header["shape"], values


def run(*words, env=None, **options):
    """The finished run of vashista-run."""
    return subprocess.run(
        ["vashista-run", *map(str, words)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={**os.environ, **(env or {})},
        **options,
    )


failures = 0


def expect(what, got, expected):
    global failures
    if got != expected:
        failures += 1
        print(f"{what}: error: expected\n  {expected!r}\ngot\n  {got!r}")


def finish(count):
    print(f"{count} cases, {failures} failed")
    sys.exit(failures > 0)
