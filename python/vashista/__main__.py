# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m vashista show-config`: what is installed, and from where."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys

import numpy as np

from . import Error, __version__, _runtime, _store, find_program, find_runtime

_VARIABLES = (
    "VASHISTA_BUILD",
    "VASHISTA_ROOT",
    "VASHISTA_CACHE_DIR",
    "VASHISTA_NUM_THREADS",
    "CUDA_HOME",
)


def _program(name: str) -> str:
    try:
        path = find_program(name)
    except Error as error:
        return f"none ({error})"
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    said = done.stdout.decode(errors="replace").strip()
    return f"{path}: {said or f'exit code {done.returncode}'}"


def _runtime_library() -> str:
    try:
        version = _runtime.library().vashista_runtime_version().decode()
        return f"{find_runtime()}: {version}"
    except Error as error:
        return f"none ({error})"


def _module(name: str) -> str:
    """The version of an optional module, which is not loaded: that takes seconds."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _cache() -> str:
    folder = _store.default_folder()
    if folder is None:
        return "none"
    sizes = [path.stat().st_size for path in folder.glob("*.vso")]
    return f"{folder}: {len(sizes)} artefacts, {sum(sizes) / 2**20:.1f} MiB"


def show_config() -> None:
    """Prints what a report of a mistake should have."""
    python = f"{platform.python_version()} ({sys.executable})"
    lines = {
        "vashista": f"{__version__} ({os.path.dirname(os.path.abspath(__file__))})",
        "compiler": _program("vashista-compile"),
        "runtime": _runtime_library(),
        "cache": _cache(),
        "python": python,
        "numpy": np.__version__,
        "torch": _module("torch"),
        "transformers": _module("transformers"),
        "machine": f"{os.cpu_count()} CPUs, {platform.platform()}",
        **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m vashista", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show-config", help="what is installed, and from where")
    parser.parse_args()
    show_config()
    return 0


if __name__ == "__main__":
    sys.exit(main())
