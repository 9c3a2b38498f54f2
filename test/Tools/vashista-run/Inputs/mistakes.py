#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes each mistake that a user can make with vashista-run.

Each must end with exit code 1, nothing on standard output, one line on standard
error, and nothing stored. Takes the folder of the artefacts.
"""

import os
import pathlib
import resource
import subprocess
import sys

from common import expect, finish, npy, raw_npy, read, run, write

folder = pathlib.Path(sys.argv[1])
os.chdir(folder)
skips_memory = "--asan" in sys.argv

FILES = {
    "f32.npy": npy("<f4", (2, 3), [1, 2, 3, 4, 5, 6]),
    "row.npy": npy("<f4", (3,), [1, 2, 3]),
    "cube.npy": npy("<f4", (1, 2, 3), [0] * 6),
    "i32.npy": npy("<i4", (2, 3), [0] * 6),
    "i64.npy": npy("<i8", (2, 3), [1, 2, 3, 4, 2**31, 6]),
    "fortran.npy": npy("<i8", (2, 3), [1, 2, 3, 4, -(2**31) - 1, 6], fortran=True),
    "minus.npy": npy("<i4", (1, 1), [-1]),
    "u2.npy": npy("<u2", (2, 3), [0] * 6),
    "bool.npy": npy("|b1", (1, 2), [1, 2]),
    "count.npy": npy("<i8", (), [7]),
    "empty": b"",
    "text.txt": b"vashista",
    "magic.npy": b"\x93NUMPX" + npy("<f4", (), [1])[6:],
    "short.npy": npy("<f4", (2, 3), [0] * 5),
    "long.npy": npy("<f4", (2, 3), [0] * 7),
    "cut.npy": npy("<f4", (2, 3), [0] * 6)[:40],
    "version.npy": npy("<f4", (2, 3), [0] * 6, version=4),
    "list.npy": raw_npy("['descr', '<f4']"),
    "negative.npy": raw_npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }"
    ),
    "overflow.npy": raw_npy(
        "{'descr': '<f4', 'fortran_order': False, "
        "'shape': (4294967296, 4294967296), }"
    ),
    "object.npy": raw_npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }"),
    "records.npy": raw_npy(
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }"
    ),
    "no\nname.npy": b"",
    "damaged.vso": None,
    "cut.vso": None,
    # decode of the runtime's tests: 2 rows, 3 pages of 4 tokens, 2 heads.
    "table.npy": npy("<i4", (2, 2), [0, 1, 2, 0]),
    "page.npy": npy("<i4", (2, 2), [0, 1, 3, 0]),
    "lens.npy": npy("<i4", (2,), [8, 4]),
    "negative_len.npy": npy("<i4", (2,), [8, -4]),
    "large_len.npy": npy("<i4", (2,), [9, 4]),
    "rows.npy": npy("<i4", (2,), [0, 1]),
    "bad_rows.npy": npy("<i4", (2,), [0, 2]),
    "cache.npy": npy("<f4", (3, 4), list(range(12))),
    "positions.npy": npy("<i4", (2,), [-1, 3]),
    "three.npy": npy("<i4", (3,), [-1, 3, 0]),
    "tokens.npy": npy("<i4", (2, 1, 1), [7, 3]),
    "bad_tokens.npy": npy("<i4", (2, 1, 1), [8, 3]),
    "counts.npy": npy("<i4", (2, 1), [1, 1]),
    "ties_a.npy": npy("<f4", (2, 5), [0] * 10),
    "ties_b.npy": npy("<i4", (2, 6, 4), [0] * 48),
    "line.npy": npy("<f4", (1 << 20,), [0] * (1 << 20)),
}
for name, content in FILES.items():
    if content is not None:
        write(name, content)
artefact = pathlib.Path("run.vso").read_bytes()
write("damaged.vso", artefact[:-1] + bytes([artefact[-1] ^ 1]))
write("cut.vso", artefact[:1000])
os.mkdir("folder")
os.makedirs("taken/0.npy")
os.mkfifo("pipe")
decode = ["kernels.vso", "--entry=decode", "--args"]


def decode_with(**changed):
    names = "table lens rows cache positions tokens counts".split()
    return decode + [changed.get(name, name) + ".npy" for name in names]


def copy(entry, file):
    return ["run.vso", f"--entry=copy_{entry}", "--args", file]


ENTRIES = (
    "'copy_f16', 'copy_bf16', 'copy_f32', 'copy_f64', 'copy_f8', 'copy_bool', "
    "'copy_i8', 'copy_i16', 'copy_i32', 'copy_i64', 'copy_u8', 'copy_u16', "
    "'copy_u32', 'copy_u64', 'accumulate', 'count', 'age', 'forget', 'align', "
    "'crowd', 'huge', 'vast', 'shapes'"
)
DECODE = "'table', 'lens', 'rows', 'cache', 'positions', 'list', 'count'"
X = "argument 0 'x'"

# Words of the command line, and the message.
CASES = [
    # The command line itself.
    (
        [],
        "expected an artefact (.vso) or MLIR (.mlir) to run, got none; see "
        "vashista-run --help",
    ),
    (
        ["run.vso", "f32.npy"],
        "expected one input file, got 'run.vso' and 'f32.npy' (arguments of the "
        "entry come after --args)",
    ),
    (["run.vso", "--no"], "expected an option of vashista-run --help, got '--no'"),
    (["run.vso", "-x"], "expected an option of vashista-run --help, got '-x'"),
    (["run.vso", "--x=1"], "expected an option of vashista-run --help, got '--x=1'"),
    (["run.vso", "--a\nb"], r"expected an option of vashista-run --help, got '--a\x0ab'"),
    (
        ["run.vso", "--json=yes"],
        "expected an option without a value, got '--json=yes'",
    ),
    (
        ["run.vso", "--args=f32.npy"],
        "expected the files of --args as the words after it, got '--args=f32.npy'",
    ),
    (["run.vso", "--entry"], "expected a value after --entry, got none"),
    (["run.vso", "--entry="], "expected a name after --entry, got none"),
    (["run.vso", "--out="], "expected a name after --out, got none"),
    (["run.vso", "--out=a", "--out=b"], "expected --out once, got it twice"),
    (["run.vso", "--args", "--args"], "expected --args once, got it twice"),
    (
        ["run.vso", "--list", "--args", "f32.npy"],
        "expected --list alone or with --entry or --json, because it runs "
        "nothing, got --args",
    ),
    (
        ["run.vso", "--list", "--out=o"],
        "expected --list alone or with --entry or --json, because it runs "
        "nothing, got --out",
    ),
    (
        ["run.vso", "--list", "--repeat=3"],
        "expected --list alone or with --entry or --json, because it runs "
        "nothing, got --repeat",
    ),
    (
        copy("f32", "f32.npy") + ["--device=gpu"],
        "expected --device=cpu, or cuda:0 or another number, got 'gpu'",
    ),
]
for value in ("-1", "0", "1e9x", "1e3", "", "1000001", "99999999999999999999", "+1"):
    CASES.append(
        (
            ["answer.vso", f"--repeat={value}"],
            f"expected --repeat to be a whole number from 1 to 1000000, got '{value}'",
        )
    )
for value in ("-1", "0", "1025", "two", "4294967297", " 1"):
    CASES.append(
        (
            ["answer.vso", f"--threads={value}"],
            f"expected --threads to be a whole number from 1 to 1024, got '{value}'",
        )
    )
CASES += [
    # The artefact.
    (["none.vso"], "cannot open 'none.vso': No such file or directory"),
    (["none.mlir"], "cannot open 'none.mlir': No such file or directory"),
    (["text.txt/a.vso"], "cannot open 'text.txt/a.vso': Not a directory"),
    (["folder"], "expected 'folder' to be a regular file, got something else"),
    (["pipe"], "expected 'pipe' to be a regular file, got something else"),
]
for name in ("text.txt", "empty", "f32.npy"):
    CASES.append(
        (
            [name],
            f"expected '{name}' to be an artefact (.vso), or MLIR named .mlir or "
            ".mlirbc, got neither",
        )
    )
CASES += [
    (
        ["damaged.vso", "--list"],
        "cannot load 'damaged.vso': expected the bytes that the artefact's digest "
        "was made of, got others",
    ),
    (
        ["cut.vso", "--list"],
        "cannot load 'cut.vso': expected an artefact of "
        f"{len(artefact)} bytes, got 1000",
    ),
    (
        ["future.vso"],
        "cannot load 'future.vso': expected a CPU with the features 'amx-future', "
        "got one without 'amx-future'",
    ),
    (
        ["complex.vso"],
        "result 0 'z': expected an element type that vashista-run knows, got "
        "complex64",
    ),
    # The entry and its arguments.
    (["run.vso"], f"expected --entry to be one of {ENTRIES}, got no --entry"),
    (
        ["run.vso", "--entry=copy", "--args", "f32.npy"],
        f"expected --entry to be one of {ENTRIES}, got 'copy'",
    ),
    (["answer.vso", "--entry=no"], "expected --entry to be 'answer', got 'no'"),
    (
        ["answer.vso", "--list", "--entry=no"],
        "expected --entry to be 'answer', got 'no'",
    ),
    (
        ["answer.vso", "--args", "f32.npy"],
        "expected 0 files after --args for entry 'answer', got 1",
    ),
    (
        decode,
        f"expected 7 files after --args for entry 'decode': {DECODE}, got 0",
    ),
    (
        copy("f32", "f32.npy") + ["f32.npy"],
        "expected 1 files after --args for entry 'copy_f32': 'x', got 2",
    ),
    (
        copy("f32", "none.npy"),
        f"{X} (none.npy): cannot be opened: No such file or directory",
    ),
    (
        copy("f32", "folder"),
        f"{X} (folder): expected a regular file, got something else",
    ),
    (copy("f32", "pipe"), f"{X} (pipe): expected a regular file, got something else"),
    (
        copy("f32", "no\nname.npy"),
        rf"{X} (no\x0aname.npy): expected a .npy file, got one of fewer than 10 bytes",
    ),
    (
        copy("f32", "run.vso"),
        f"{X} (run.vso): expected a .npy file, got bytes without its magic number",
    ),
    (
        copy("f32", "magic.npy"),
        f"{X} (magic.npy): expected a .npy file, got bytes without its magic number",
    ),
    (
        copy("f32", "version.npy"),
        f"{X} (version.npy): expected .npy version 1.0, 2.0 or 3.0, got 4.0",
    ),
    (
        copy("f32", "cut.npy"),
        f"{X} (cut.npy): expected a .npy header of 59 bytes, got 30 and the end of "
        "the file",
    ),
    (
        copy("f32", "list.npy"),
        f"{X} (list.npy): expected '{{' at byte 0 of the .npy header's dictionary, "
        "got '['",
    ),
    (
        copy("f32", "negative.npy"),
        f"{X} (negative.npy): expected sizes of 0 or more in the .npy header, got a "
        "negative one",
    ),
    (
        copy("f32", "overflow.npy"),
        f"{X} (overflow.npy): expected fewer than 2^64 bytes after the .npy header "
        "for shape [4294967296, 4294967296] of '<f4', got a shape of more",
    ),
    (
        copy("f32", "object.npy"),
        f"{X} (object.npy): expected an element type such as '<f4', got '|O'",
    ),
    (
        copy("f32", "records.npy"),
        f"{X} (records.npy): expected an array of numbers, got one of records",
    ),
    (
        copy("f32", "short.npy"),
        f"{X} (short.npy): expected 24 bytes after the .npy header for shape [2, 3] "
        "of '<f4', got 20",
    ),
    (
        copy("f32", "long.npy"),
        f"{X} (long.npy): expected 24 bytes after the .npy header for shape [2, 3] "
        "of '<f4', got 28",
    ),
    (
        copy("f32", "row.npy"),
        f"{X} (row.npy): expected shape [?, ?], got [3]",
    ),
    (
        copy("f32", "cube.npy"),
        f"{X} (cube.npy): expected shape [?, ?], got [1, 2, 3]",
    ),
    (
        decode_with(cache="f32"),
        "argument 3 'cache' (f32.npy): expected shape [?, 4], got [2, 3]",
    ),
    (
        decode_with(positions="three"),
        "argument 4 'positions' (three.npy): expected shape [2], got [3], where "
        "dimension 0 is dimension 0 of 'lens'",
    ),
    (
        ["run.vso", "--entry=shapes", "--args", "ties_a.npy", "ties_b.npy"],
        "argument 1 'b' (ties_b.npy): expected shape [?, 6, 5], got [2, 6, 4], "
        "where dimension 1 is 3 times dimension 0 of 'b' and dimension 2 is "
        "dimension 1 of 'a'",
    ),
    (
        copy("f32", "i32.npy"),
        f"{X} (i32.npy): expected f32 (f2, f4 or f8), got '<i4'",
    ),
    (
        copy("i32", "f32.npy"),
        f"{X} (f32.npy): expected i32 (integers), got '<f4'",
    ),
    (
        copy("bf16", "i32.npy"),
        f"{X} (i32.npy): expected bf16 (f2, f4 or f8, or raw bits as u2 or V2), got "
        "'<i4'",
    ),
    (
        copy("f16", "u2.npy"),
        f"{X} (u2.npy): expected f16 (f2, f4 or f8), got '<u2'",
    ),
    (
        copy("f8", "f32.npy"),
        f"{X} (f32.npy): expected f8E4M3FN (raw bits as u1 or V1), got '<f4'",
    ),
    (
        copy("bool", "i32.npy"),
        f"{X} (i32.npy): expected bool (b1), got '<i4'",
    ),
    (
        copy("bool", "bool.npy"),
        f"{X} (bool.npy): element [0, 1]: expected a bool of 0 or 1, got 2",
    ),
    (
        copy("i32", "i64.npy"),
        f"{X} (i64.npy): element [1, 1]: expected a number that fits i32, got "
        "2147483648",
    ),
    (
        copy("i32", "fortran.npy"),
        f"{X} (fortran.npy): element [0, 2]: expected a number that fits i32, got "
        "-2147483649",
    ),
    (
        copy("u64", "minus.npy"),
        f"{X} (minus.npy): element [0, 0]: expected a number that fits u64, got -1",
    ),
    # What arguments contain.
    (
        decode_with(table="page"),
        "argument 0 'table', row 1, position 0: expected page id 0 to 2, got 3 (page "
        "table row 1)",
    ),
    (
        decode_with(lens="negative_len"),
        "argument 1 'lens', row 1: expected length 0 to 8, got -4",
    ),
    (
        decode_with(lens="large_len"),
        "argument 1 'lens', row 0: expected length 0 to 8, got 9",
    ),
    (
        decode_with(rows="bad_rows"),
        "argument 2 'rows', row 1: expected page table row 0 to 1, got 2",
    ),
    (
        decode_with(tokens="bad_tokens"),
        "argument 5 'list', row 0, position 0: expected a negative entry or token 0 "
        "to 7, got 8 (KV head 0)",
    ),
    (
        decode_with(table="page") + ["--no-checked", "--checked", "--repeat=2"],
        "argument 0 'table', row 1, position 0: expected page id 0 to 2, got 3 (page "
        "table row 1)",
    ),
    # Runs.
    (
        ["run.vso", "--entry=count", "--repeat=3"],
        "result 0 'n': expected each run to give the same bits, got others in run 1 "
        "of 3",
    ),
    (
        ["run.vso", "--entry=age", "--args", "count.npy", "--repeat=3"],
        "argument 0 'state' (count.npy): expected each run to give the same bits, "
        "got others in run 1 of 3",
    ),
    (
        ["run.vso", "--entry=forget", "--repeat=3"],
        "result 0 'y': expected each run to give the same bits, got others in run 1 "
        "of 3",
    ),
    (
        ["run.vso", "--entry=vast", "--args", "line.npy"],
        "out of memory: result 0 'y' is larger than the address space",
    ),
]
if not skips_memory:
    CASES.append(
        (
            ["run.vso", "--entry=huge"],
            f"out of memory: result 0 'y' needs {2**52} bytes",
        )
    )

# Where results cannot be stored.
good = copy("f32", "f32.npy")
STORE_CASES = [
    (good + ["--out=text.txt"], "cannot make the folder 'text.txt': Not a directory"),
    (
        good + ["--out=text.txt/a/b"],
        "cannot make the folder 'text.txt': Not a directory",
    ),
    (
        good + ["--out=/proc/vashista/a"],
        "cannot make the folder '/proc/vashista': No such file or directory",
    ),
    (good + ["--out=taken"], "cannot write 'taken/0.npy': Is a directory"),
]


def tree():
    return sorted(str(path) for path in pathlib.Path().rglob("*"))


def expect_error(words, message, **options):
    finished = run(*words, **options)
    expect(words, finished.stderr, f"vashista-run: error: {message}\n")
    expect(f"{words}, exit code", finished.returncode, 1)
    expect(f"{words}, output", finished.stdout, "")
    expect(f"{words}, files", tree(), before)


before = tree()
for words, message in CASES:
    # Whatever fails stores nothing, not even the folder.
    runs = "--args" in words or words[:1] == ["answer.vso"]
    stores = runs and "--list" not in words and not any("--out" in w for w in words)
    expect_error(words, message)
    if stores:
        expect_error(words + ["--out", "new/folder"], message)
for words, message in STORE_CASES:
    expect_error(words, message)

# A limit on files is met within a file, and an older result stays as it is. The
# runtime's own copy of the code is below the limit.
os.mkdir("old")
write("old/0.npy", b"old")
before = tree()
limit = 1 << 20
for out in ("old", "made/here"):
    expect_error(
        ["kernels.vso", "--entry=halve", "--args", "line.npy", "--out", out],
        f"'{out}/0.npy' cannot be written: File too large",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
expect("old result", pathlib.Path("old/0.npy").read_bytes(), b"old")
with open("/dev/full", "w") as full:
    finished = subprocess.run(
        ["vashista-run", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
    )
expect(
    "full output",
    (finished.returncode, finished.stderr),
    (
        1,
        "vashista-run: error: cannot write to standard output: No space left on "
        "device\n",
    ),
)
if os.geteuid() != 0:
    os.mkdir("closed", mode=0o500)
    write("closed.npy", FILES["f32.npy"])
    os.chmod("closed.npy", 0)
    before = tree()
    expect_error(
        good + ["--out=closed"],
        "cannot write to the folder 'closed': Permission denied",
    )
    expect_error(
        copy("f32", "closed.npy"),
        f"{X} (closed.npy): cannot be opened: Permission denied",
    )
    os.rmdir("closed")
    os.unlink("closed.npy")

# The same without the mistakes.
finished = run(*decode_with(), "--out=good")
expect("decode", (finished.returncode, finished.stderr), (0, ""))
expect("decode", read("good/0.npy"), ("<f4", (2,), [28, 38]))
finish(len(CASES) + len(STORE_CASES))
