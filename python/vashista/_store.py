# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Artefacts that were compiled before, in a folder that processes share.

An entry is one file, `KEY.vso`: a line of JSON that says what it is of, and then the
artefact. KEY is the SHA-256 of everything that the artefact follows from, so that an
entry is never out of date, and the line has the SHA-256 of the artefact: an entry
that is truncated, damaged or of another key is none.

A file appears under its name by `rename`, complete and on the disk; whoever is killed
before leaves a temporary that nobody reads. Locks only spare work: of many processes
that miss one key, one compiles. The system drops a lock with its process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import secrets
import time
from typing import Callable, Iterator, Mapping

_FORMAT = 1
_MARK = b"vashista artefact cache "
# Temporaries of processes that were killed; a compilation takes seconds.
_STALE_SECONDS = 24 * 3600
_LOCKS = 256

log = logging.getLogger("vashista")


def default_folder() -> pathlib.Path | None:
    """`VASHISTA_CACHE_DIR`; None where that is empty; else a folder of the user."""
    folder = os.environ.get("VASHISTA_CACHE_DIR")
    if folder is not None:
        return pathlib.Path(folder) if folder else None
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        home = os.path.expanduser("~")
        if home == "~":
            return None
        base = os.path.join(home, ".cache")
    return pathlib.Path(base, "vashista")


def key_of(parts: Mapping[str, str]) -> str:
    """The SHA-256 of named texts, in hexadecimal; names and ends are part of it."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(f"{_FORMAT}\n{text}".encode()).hexdigest()


class Store:
    """A folder of artefacts by key."""

    def __init__(self, folder: os.PathLike | str):
        self.folder = pathlib.Path(folder)

    def path(self, key: str) -> pathlib.Path:
        return self.folder / f"{key}.vso"

    def read(self, key: str) -> bytes | None:
        """The artefact of a key; None if there is none, or none that is whole."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read the cached artefact %s: %s", path, error)
            return None
        fault, artefact = _open(content, key)
        if fault:
            log.warning("compiling anew: %s: expected %s", path, fault)
            return None
        return artefact

    def write(self, key: str, artefact: bytes, about: Mapping[str, str]) -> None:
        """Keeps an artefact, or says why it cannot; that is no error."""
        digest = hashlib.sha256(artefact).hexdigest()
        head = {"key": key, "sha256": digest, "bytes": len(artefact), **about}
        line = _MARK + json.dumps(head).encode() + b"\n"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_stale()
            replace(self.path(key), line + artefact)
        except OSError as error:
            log.warning("cannot keep an artefact in %s: %s", self.folder, error)

    def get(
        self, key: str, make: Callable[[], bytes], about: Mapping[str, str]
    ) -> bytes:
        """The artefact of a key, made and kept if there is none."""
        found = self.read(key)
        if found is not None:
            log.debug("artefact %s is cached", key[:16])
            return found
        with self._lock(key):
            # Another process may have made it while this one waited.
            found = self.read(key)
            if found is None:
                log.debug("artefact %s is compiled", key[:16])
                found = make()
                self.write(key, found, about)
        return found

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Held by one process at a time; by everybody where there are no locks.

        A few files serve all keys, since one that is removed while others wait for it
        is no lock: two keys that share one wait for each other, and no more.
        """
        file = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{int(key[:8], 16) % _LOCKS:02x}.lock"
            file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            log.debug("no lock in %s: %s", self.folder, error)
        try:
            yield
        finally:
            if file is not None:
                os.close(file)

    def _remove_stale(self) -> None:
        oldest = time.time() - _STALE_SECONDS
        for path in self.folder.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _open(content: bytes, key: str) -> tuple[str, bytes]:
    """What is wrong with a file, or "", and the artefact in it."""
    end = content.find(b"\n")
    if end < 0 or not content.startswith(_MARK):
        return "an artefact of this cache", b""
    try:
        head = json.loads(content[len(_MARK) : end])
        of, digest, size = head["key"], head["sha256"], head["bytes"]
    except (ValueError, KeyError, TypeError):
        return "a line that describes it", b""
    artefact = content[end + 1 :]
    if of != key:
        return f"the key {key}, got {of}", b""
    if len(artefact) != size:
        return f"{size} bytes, got {len(artefact)}", b""
    if hashlib.sha256(artefact).hexdigest() != digest:
        return f"the digest {digest} of its bytes, got another", b""
    return "", artefact


def replace(path: pathlib.Path, content: bytes, mode: int = 0o600) -> None:
    """Writes a file that is there as a whole or not at all, whoever is killed.

    mode: who may read it, less what the umask takes; by default nobody else.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            # A rename may reach the disk before the bytes do.
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems cannot, and lose no more than a name.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(folder)
