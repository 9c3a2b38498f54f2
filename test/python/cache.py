# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cache of artefacts: many processes at once, killed ones, damaged files.

Whatever happens to the folder, what is loaded is the artefact of its key.
"""

# An instrumented runtime cannot be loaded into a Python that is not.
# UNSUPPORTED: asan
# RUN: %numpy_python %s

import contextlib
import errno
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import numpy as np
import vashista
from vashista import _compiler, _store

TEXT = """
func.func @f(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = arith.addf %x, %x : tensor<?xf32>
  return %y : tensor<?xf32>
}
"""
PROCESSES, ROUNDS = 32, 2

# Compiles once. Writes slowly, a few bytes at a time, so that many are killed within;
# with "unlocked" as if the file system had no locks, so that many write at once.
WORKER = """
import os, sys, time
import numpy as np
import vashista
from vashista import _store

write, flock = os.write, _store.fcntl.flock
def slowly(file, bytes):
    time.sleep(0.0005)
    return write(file, bytes[:256])
def refuse(*_):
    raise OSError("no locks")
_store.os.write = slowly
if sys.argv[3] == "unlocked":
    _store.fcntl.flock = refuse
text = sys.stdin.read()
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.001)
artefact = vashista.compile(text, "cpu:x86-64-v3", cache=sys.argv[1])
x = np.arange(5, dtype=np.float32)
assert (artefact["f"](x) == x + x).all()
print(artefact.digest, flush=True)
"""


def compile(folder, text=TEXT, **options):
    return vashista.compile(text, "cpu:x86-64-v3", cache=folder, **options)


@contextlib.contextmanager
def counted():
    """How often the compiler is run."""
    with mock.patch.object(_compiler, "run", wraps=_compiler.run) as run:
        yield run


class CacheTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name, "cache")

    def entries(self):
        return sorted(self.folder.glob("*.vso"))

    def test_compiled_once(self):
        with counted() as run:
            first = compile(self.folder)
            second = compile(self.folder)
        self.assertEqual(run.call_count, 1)
        self.assertEqual(first.digest, second.digest)
        self.assertEqual(len(self.entries()), 1)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        np.testing.assert_array_equal(second["f"](np.ones(3, np.float32)), [2, 2, 2])

    def test_none(self):
        with counted() as run:
            vashista.compile(TEXT, cache=False)
            with mock.patch.dict(os.environ, VASHISTA_CACHE_DIR=""):
                vashista.compile(TEXT)
                vashista.compile(TEXT)
        self.assertEqual(run.call_count, 3)

    def test_default_folder(self):
        for variables, folder in (
            ({"VASHISTA_CACHE_DIR": "/a"}, "/a"),
            ({"XDG_CACHE_HOME": "/b"}, "/b/vashista"),
            ({"HOME": "/c"}, "/c/.cache/vashista"),
        ):
            with mock.patch.dict(os.environ, variables, clear=True):
                self.assertEqual(str(_store.default_folder()), folder)

    def test_key(self):
        """Everything that an artefact follows from makes another key."""
        compile(self.folder)
        number = 1
        spaced = TEXT.replace("%y", "%z")
        for options in (
            {"text": spaced},
            {"options": ["--emit=vso"]},
        ):
            compile(self.folder, **options)
            number += 1
            self.assertEqual(len(self.entries()), number, options)
        vashista.compile(TEXT, "cpu:x86-64-v3,cpu:x86-64-v4", cache=self.folder)
        self.assertEqual(len(self.entries()), number + 1)
        vashista.compile(TEXT, "cpu", cache=self.folder)
        with mock.patch.object(_compiler, "_machine", return_value="another"):
            vashista.compile(TEXT, "cpu", cache=self.folder)
        self.assertEqual(len(self.entries()), number + 3)

    def test_another_compiler(self):
        """One of other bytes is another, even of the same version and time."""
        real = vashista.find_program("vashista-compile")
        build = self.folder.parent / "build"
        (build / "bin").mkdir(parents=True)
        (build / "lib").symlink_to(real.parent.parent / "lib")
        program = build / "bin" / "vashista-compile"
        for number, comment in enumerate("abb", 1):
            program.unlink(missing_ok=True)
            program.write_text(f'#!/bin/sh\n# {comment}\nexec {real} "$@"\n')
            program.chmod(0o755)
            os.utime(program, (1, 1))
            with mock.patch.dict(os.environ, VASHISTA_BUILD=str(build)):
                compile(self.folder)
            self.assertEqual(len(self.entries()), min(number, 2))

    def test_damaged(self):
        digest = compile(self.folder).digest
        (path,) = self.entries()
        whole = path.read_bytes()
        start = whole.index(b"\n") + 1
        rng = random.Random(0)
        lengths = [0, 1, start - 1, start, start + 1, len(whole) // 2, len(whole) - 1]
        damaged = [whole[:length] for length in lengths]
        damaged.append(whole + b"\0")
        # The line, up to where it only tells a reader more.
        said = whole.index(b'"source"')
        for at in (
            *range(0, said, 7),
            *(rng.randrange(start, len(whole)) for _ in "a" * 30),
        ):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << rng.randrange(8)
            damaged.append(bytes(flipped))
        store = _store.Store(self.folder)
        with self.assertLogs("vashista", "WARNING") as logs:
            for content in damaged:
                path.write_bytes(content)
                self.assertIsNone(store.read(path.stem))
            self.assertEqual(compile(self.folder).digest, digest)
        self.assertEqual(len(logs.output), len(damaged) + 2)
        self.assertEqual(path.read_bytes(), whole)

    def test_another_key(self):
        """An artefact that was moved to the name of another is not taken for it."""
        compile(self.folder)
        (first,) = self.entries()
        compile(self.folder, TEXT.replace("addf", "mulf"))
        (second,) = set(self.entries()) - {first}
        os.replace(second, first)
        with self.assertLogs("vashista", "WARNING") as logs:
            artefact = compile(self.folder)
        self.assertRegex(logs.output[0], f"expected the key {first.stem}, got")
        np.testing.assert_array_equal(artefact["f"](np.full(1, 3, np.float32)), [6])

    def test_cannot_be_written(self):
        self.folder.parent.joinpath("file").write_bytes(b"")
        with self.assertLogs("vashista", "WARNING") as logs:
            artefact = compile(self.folder.parent / "file" / "cache")
        self.assertRegex(
            logs.output[-1], "cannot keep an artefact in .*Not a directory"
        )
        self.assertEqual(artefact.entries, ("f",))

    def test_disk_full(self):
        write = os.write

        def full(file, content):
            if len(content) > 100:
                return write(file, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store = _store.Store(self.folder)
        with (
            mock.patch.object(os, "write", full),
            self.assertLogs("vashista", "WARNING") as logs,
        ):
            store.write("0" * 64, b"x" * 1000, {})
        self.assertRegex(logs.output[0], "cannot keep an artefact .*No space left")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_stale_temporaries(self):
        compile(self.folder)
        old, new = self.folder / "a.vso.1.b.tmp", self.folder / "a.vso.2.b.tmp"
        for path in (old, new):
            path.write_bytes(b"part")
        os.utime(old, (1, 1))
        compile(self.folder, TEXT.replace("%y", "%z"))
        self.assertFalse(old.exists())
        self.assertTrue(new.exists())

    def test_mistakes_are_not_kept(self):
        for _ in range(2):
            with self.assertRaisesRegex(vashista.Error, "<stdin>:1:"):
                compile(self.folder, "func.func @f() { return 1 }\n")
        self.assertEqual(self.entries(), [])

    def test_output(self):
        compile(self.folder)
        path = self.folder.parent / "out.vso"
        with counted() as run:
            made = compile(self.folder, output=path)
        self.assertEqual(run.call_count, 0)
        self.assertEqual(vashista.load(path).digest, made.digest)
        # Others may read it as any file that is written here, but not the cache.
        (other := path.with_suffix(".txt")).write_text("")
        self.assertEqual(path.stat().st_mode, other.stat().st_mode)
        for entry in self.entries():
            self.assertEqual(entry.stat().st_mode & 0o077, 0)
        with self.assertRaisesRegex(vashista.Error, "cannot write '/nowhere/x'"):
            compile(self.folder, output="/nowhere/x")

    def test_many_processes(self):
        """32 at once, half of them killed at any time, half of them without locks."""
        expected = vashista.compile(TEXT, "cpu:x86-64-v3", cache=False).digest
        rng = random.Random(1)
        for number in range(ROUNDS):
            folder = self.folder / str(number)
            start = self.folder.parent / f"start{number}"
            workers = [
                subprocess.Popen(
                    [
                        *(sys.executable, "-c", WORKER, folder, start),
                        "unlocked" if i % 2 else "locked",
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for i in range(PROCESSES)
            ]
            for worker in workers:
                worker.stdin.write(TEXT)
                worker.stdin.close()
            for worker in workers:
                self.assertEqual(worker.stdout.readline(), "ready\n")
            start.touch()
            killed = rng.sample(workers, PROCESSES // 2)
            # From before the first one writes until after the last one does. What
            # others would find is looked at all the time.
            for worker in killed:
                until = time.monotonic() + rng.uniform(0, 0.3)
                while time.monotonic() < until:
                    for path in folder.glob("*.vso"):
                        fault, content = _store._open(path.read_bytes(), path.stem)
                        self.assertEqual(fault, "")
                        self.assertEqual(vashista.load(content).digest, expected)
                worker.send_signal(signal.SIGKILL)
            for worker in workers:
                said = worker.stdout.read().strip()
                worker.stdout.close()
                code = worker.wait()
                if worker not in killed or not code:
                    self.assertEqual((code, said), (0, expected))
            (path,) = folder.glob("*.vso")
            content = _store.Store(folder).read(path.stem)
            self.assertEqual(vashista.load(content).digest, expected)


if __name__ == "__main__":
    unittest.main()
