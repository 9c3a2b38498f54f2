#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Gives MLIR to vashista-run, with compilers that do all sorts of things.

The compilers are scripts: that of the project has tests of its own. Takes the
folder of the artefacts.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from common import expect, finish, write

folder = pathlib.Path(sys.argv[1]).resolve()
os.chdir(folder)
# A copy, beside which there is a compiler only if it is put there.
os.mkdir("bin")
os.mkdir("path")
os.mkdir("temporary")
shutil.copy(shutil.which("vashista-run"), "bin/vashista-run")
write("in.mlir", b"module {}\n")
write("in.mlirbc", b"ML\xefR")
write("named.mlir", (folder / "answer.vso").read_bytes())
count = 0
environment = {
    **os.environ,
    "PATH": f"{folder}/path:/usr/bin:/bin",
    "TMPDIR": str(folder / "temporary"),
}


def install(where, script):
    path = folder / where / "vashista-compile"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def expect_run(words, code, output, errors):
    global count
    count += 1
    finished = subprocess.run(
        [folder / "bin/vashista-run", *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    expect(f"{words}, errors", finished.stderr, errors)
    expect(f"{words}, code", finished.returncode, code)
    expect(f"{words}, output", finished.stdout, output)
    expect(f"{words}, temporary files", os.listdir("temporary"), [])


ANSWER = "entry 'answer'\nresult 0 'o': i32 [], min 42, max 42, mean 42\n"
NONE = (
    "vashista-run: error: expected vashista-compile beside this program or on PATH "
    "to compile 'in.mlir', got none\n"
)
expect_run(["in.mlir"], 1, "", NONE)
# An artefact of any name needs no compiler.
expect_run(["named.mlir"], 0, ANSWER, "")

# It gets these words, and what it says goes to standard error.
install(
    "path",
    f'echo "$@" >{folder}/words; echo said; touch "$3.also"; cp {folder}/answer.vso "$3"',
)
for name in ("in.mlir", "in.mlirbc"):
    expect_run([name], 0, ANSWER, "said\n")
    words = (folder / "words").read_text().split()
    expect("words", words[:2] + words[3:], [name, "-o", "--target=cpu"])
    output = pathlib.Path(words[2])
    expect("folder", (output.parent.parent, output.suffix), (folder / "temporary", ".vso"))

# The one beside the tool comes first, unless it cannot be run.
install("bin", f'cp {folder}/answer.vso "$3"')
expect_run(["in.mlir"], 0, ANSWER, "")
(folder / "bin/vashista-compile").chmod(0o644)
expect_run(["in.mlir"], 0, ANSWER, "said\n")
(folder / "bin/vashista-compile").unlink()

# Nobody else may look into the folder.
install("path", f'stat -c %a "$(dirname "$3")" >{folder}/mode; exit 1')
expect_run(["in.mlir"], 1, "", "")
expect("mode", (folder / "mode").read_text(), "700\n")

install("path", 'touch "$3"; echo "in.mlir:1:1: error: no" >&2; exit 3')
expect_run(["in.mlir"], 1, "", "in.mlir:1:1: error: no\n")
install("path", "exit 0")
expect_run(
    ["in.mlir"],
    1,
    "",
    "vashista-run: error: expected vashista-compile to write an artefact of "
    "'in.mlir', got none\n",
)
install("path", 'echo nonsense >"$3"')
expect_run(
    ["in.mlir"],
    1,
    "",
    "vashista-run: error: cannot load 'in.mlir': expected an artefact of at least "
    "184 bytes, got 9\n",
)
install("path", "kill -SEGV $$")
expect_run(
    ["in.mlir"],
    1,
    "",
    "vashista-run: error: expected vashista-compile to compile 'in.mlir', got its "
    "end by signal 11 (Segmentation fault)\n",
)
environment["TMPDIR"] = "/proc/none"
finished = subprocess.run(
    [folder / "bin/vashista-run", "in.mlir"],
    capture_output=True,
    text=True,
    env=environment,
)
expect(
    "no temporary folder",
    (finished.returncode, finished.stderr[:57]),
    (1, "vashista-run: error: cannot make a temporary folder '/pro"),
)
environment["TMPDIR"] = str(folder / "temporary")



def start(handler):
    """vashista-run, once its compiler runs, and the compiler's number."""
    (folder / "pid").unlink(missing_ok=True)

    # What this test itself ignores, as under nohup, would be ignored too.
    def handle():
        for number in SIGNALS:
            signal.signal(number, handler)

    process = subprocess.Popen(
        [folder / "bin/vashista-run", "in.mlir"],
        env=environment,
        preexec_fn=handle,
        stdout=subprocess.DEVNULL,
    )
    while not (folder / "pid").exists():
        time.sleep(0.01)
    return process, int((folder / "pid").read_text())


# A signal ends the compiler too, and the folder goes.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAY_PID = f"echo $$ >{folder}/pid.new; mv {folder}/pid.new {folder}/pid"
install("path", f'touch "$3"; {SAY_PID}; exec sleep 60')
for number in SIGNALS:
    count += 1
    process, child = start(signal.SIG_DFL)
    expect("temporary folder", len(os.listdir("temporary")), 1)
    process.send_signal(number)
    expect("end", process.wait(timeout=30), -number)
    expect("temporary files", os.listdir("temporary"), [])
    expect("compiler", pathlib.Path(f"/proc/{child}").exists(), False)

# A signal that is ignored stays so.
install(
    "path",
    f'{SAY_PID}; while [ ! -e {folder}/go ]; do sleep 0.01; done; '
    f'cp {folder}/answer.vso "$3"',
)
process, child = start(signal.SIG_IGN)
for number in SIGNALS:
    process.send_signal(number)
write("go", b"")
expect("end", process.wait(timeout=30), 0)
finish(count)
