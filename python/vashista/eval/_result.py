# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of measurements: what was measured, on which machine, when, by which command."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import shlex
import sys
from typing import Any

import numpy as np

from .. import __version__


def cpu() -> str:
    """The processor, and how many of its CPUs this process may use."""
    model = platform.processor() or platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} CPUs"


def machine(device: str = "cpu") -> str:
    """Where something was measured; device: "numpy", or a device of PyTorch."""
    if not device.startswith("cuda"):
        return cpu()
    import torch

    return torch.cuda.get_device_name(device)


def libraries() -> dict[str, str]:
    """Versions of the libraries that are loaded and that results depend on."""
    names = ("numpy", "torch", "transformers")
    return {
        name: str(sys.modules[name].__version__)
        for name in names
        if name in sys.modules
    }


def command(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """What was run: the options that are not as by default, folders by their names in
    the help, since where they are is nobody else's."""
    words = [*parser.prog.split()]
    for action in parser._actions:
        value = getattr(args, action.dest, action.default)
        if not action.option_strings or value == action.default:
            continue
        name = action.option_strings[-1]
        if action.nargs == 0:
            words.append(name)
        elif isinstance(value, pathlib.Path):
            words += [name, action.metavar or action.dest.upper()]
        elif isinstance(value, list):
            words += [name, ",".join(map(str, value))]
        else:
            text = str(value)
            words += [name, pathlib.Path(text).name if os.path.isdir(text) else text]
    return shlex.join(words)


def _plain(value: Any) -> Any:
    """For JSON, which knows neither NumPy nor what is not finite."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":  # Many: six digits of each are enough.
            value = np.vectorize(lambda x: float(f"{x:.6g}"), otypes=[float])(value)
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def result(kind: str, said: str, device: str, results: Any) -> dict:
    """A measurement as it is stored.

    kind: what it is; `vashista.figures` draws by it.
    said: the command that made it.
    device: where, as for `machine`.
    """
    return {
        "kind": kind,
        "machine": machine(device),
        "date": datetime.date.today().isoformat(),
        "command": said,
        "version": __version__,
        "libraries": libraries(),
        # What else ran: times that were taken on a busy machine say so.
        "load": round(os.getloadavg()[0], 1),
        "results": _plain(results),
    }


def write(path: pathlib.Path, measured: dict) -> None:
    """Stores a measurement; what was there is replaced once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(measured, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)
