# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times steps by CUDA graphs, in turns, and their kernels by PyTorch's profiler.

On a CPU calls are timed as they are: that is for trying the program, not for figures.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, Sequence

import torch

#: A step: enqueues its work on a set of inputs, by number, and returns its output.
Run = Callable[[int], Any]

# Cycles that a device is kept busy before it is timed, so that all of a graph is
# enqueued by then: else what the host takes for that is timed, too.
_BUSY = 2_000_000


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Timed:
    """A step, captured.

    Args:
      run: the step.
      copies: sets of inputs, taken in turn.
      steps: of a graph, at least; as many for each set of inputs.
    """

    def __init__(self, run: Run, copies: int, steps: int, device: torch.device):
        self.run, self.copies, self.device = run, copies, device
        self.steps = copies * -(-steps // copies)
        self.rounds: list[list[float]] = []
        if device.type != "cuda":
            self._replay = self._everything
            return
        side = torch.cuda.Stream(device)
        # What fills the inputs may be on its way on another stream.
        torch.cuda.synchronize(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for i in range(copies):
                run(i)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._everything()
        torch.cuda.synchronize(device)
        self._replay = graph.replay

    def _everything(self) -> None:
        for i in range(self.steps):
            self._left = self.run(i % self.copies)

    def difference(self) -> float:
        """Between what a replay leaves of its last step, and a call by itself, of the
        largest number."""
        self._replay()
        # A call may write the same memory.
        left = self._left.float().clone()
        own = self.run((self.steps - 1) % self.copies).float()
        return float((left - own).abs().max() / own.abs().max())

    def measure(self, replays: int) -> None:
        """A round: some replays, after one that does not count."""
        self._replay()
        if self.device.type != "cuda":
            times = []
            for _ in range(replays):
                start = time.perf_counter()
                self._replay()
                times.append(time.perf_counter() - start)
        else:
            pairs = []
            for _ in range(replays):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda._sleep(_BUSY)
                start.record()
                self._replay()
                end.record()
                pairs.append((start, end))
            torch.cuda.synchronize(self.device)
            times = [start.elapsed_time(end) / 1e3 for start, end in pairs]
        self.rounds.append([t / self.steps for t in times])

    def result(self) -> dict[str, Any]:
        """Seconds of a step: the median, the best, and the median of each round."""
        every = [t for times in self.rounds for t in times]
        return {
            "seconds": statistics.median(every),
            "best": min(every),
            "rounds": [statistics.median(times) for times in self.rounds],
            "steps": self.steps,
        }


def in_turns(timed: Sequence[Timed], rounds: int, replays: int) -> None:
    """Rounds, each of all steps, in the other order every second time."""
    for number in range(rounds):
        for one in timed[:: -1 if number % 2 else 1]:
            one.measure(replays)


def read_bandwidth(device: torch.device, size: int = 4 << 30) -> float:
    """Bytes per second of a sum over many numbers, the best of some."""
    if device.type != "cuda":
        size = 1 << 26
    x = torch.ones(size // 4, dtype=torch.float32, device=device)
    timed = Timed(lambda _, x=x: torch.sum(x), 1, 2, device)
    in_turns([timed], 3, 5)
    found = size / timed.result()["best"]
    del x, timed
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found


_MARK = "spin"  # of the kernel of `torch.cuda._sleep`


def kernels(runs: Sequence[Run], copies: int, device: torch.device, repeat: int = 5):
    """The kernels of a call of each, in order: names, and seconds, the medians: how long
    each was there, and how much later than all before it it ended. A kernel may begin
    while others work, and wait for them: what kernels add is the call's time, not how
    long they were there.

    Returns None for what could not be seen, and for all on a CPU.
    """
    if device.type != "cuda":
        return [None] * len(runs)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]):
        # The first profile of a process has begun when it is over.
        torch.cuda._sleep(1000)
        synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for run in runs:
            for i in range(repeat):
                # A kernel that tells calls apart.
                torch.cuda._sleep(1000)
                run(i % copies)
        torch.cuda._sleep(1000)
        synchronize(device)
    events = [
        (e.time_range.start * 1e-6, e.time_range.elapsed_us() * 1e-6, e.name)
        for e in profiler.events()
        if e.device_type == torch.autograd.DeviceType.CUDA
    ]
    return split(sorted(events), len(runs), repeat)


def split(events, number: int, repeat: int):
    """Kernels of calls, of events (start, seconds, name) with a mark before each call
    and one at the end."""
    calls: list[list[tuple[str, float, float]]] = []
    for start, seconds, name in events:
        if _MARK in name:
            calls.append([])
        elif calls:
            calls[-1].append((name, start, seconds))
    calls = calls[:-1]
    if len(calls) != number * repeat:
        return [None] * number
    out: list[Any] = []
    for i in range(number):
        some = calls[i * repeat : (i + 1) * repeat]
        names = [name for name, *_ in some[0]]
        if not names or any([n for n, *_ in one] != names for one in some):
            out.append(None)
            continue
        times = [[seconds for *_, seconds in one] for one in some]
        added = [_added(one) for one in some]
        out.append(
            {"names": names, "seconds": _medians(times), "added": _medians(added)}
        )
    return out


def _medians(rows: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows)]


def _added(call: list[tuple[str, float, float]]) -> list[float]:
    added, (_, end, _) = [], call[0]
    for _, start, seconds in call:
        added.append(max(0.0, start + seconds - end))
        end = max(end, start + seconds)
    return added
