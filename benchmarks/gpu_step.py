#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times decode steps on a GPU, ours and others' in the same run.

For each shape (sequences x KV heads x query heads of each x tokens; D = 128 and pages of
16 tokens, if it does not say otherwise, in a random order, bf16): the dense step, 64
pages, or others of as many tokens, and 128 of these by `mean` and by `mean_std`, and the
certified step (4-bit sketch, tau at most 50 %, one round of as many tokens as it needs,
dense where that does not do), also with a sketch of 5 bits, and with either in two
rounds, with and without second moments of what the sketch lacks. Beside them, over the
same keys and values, PyTorch's SDPA by cuDNN and, where it can be imported, FlashInfer:
its decode wrapper without and with tensor cores, and XQA.

Keys and values are normal, and queries so long that a proof needs 7 to 10 % of 131,072
tokens, or all are a model's (`--trace`). A step is timed as one of a CUDA graph of
several, over sets of inputs that together are four times the device's cache; medians of
all replays, in rounds of all steps in turns. A floor is the bytes that a step must read
over the bandwidth, without scores between kernels. Outputs are compared with ours, and
ours with float64; certificates, too. Exits with 1 where one is false, or where an output
is another one.

Where there is no compiler: --compile-only fills a folder of artefacts (--artefacts) on
another machine; then that folder, the package and the runtime are enough.
"""

import argparse
import dataclasses
import gc
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

from _shapes import (  # noqa: E402
    CERTIFIED,
    OURS,
    PEERS,
    chosen,
    copies_of,
    floor_bytes,
    kernel_bytes,
    lists_of,
    of_trace,
    stages,
    text_of,
)
from _tables import report  # noqa: E402
from vashista import Error  # noqa: E402
from vashista.eval import _result  # noqa: E402
from vashista.eval._artefacts import Artefacts  # noqa: E402

_CPU_CACHE = 1 << 16  # no figures come of it


def parser_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu_step.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shapes", help="as 16x32x1x*,1x8x4x8k-d64-p1-any; default: all of the tables")
    add("--steps", default=",".join(OURS), help=f"of ours; default: {','.join(OURS)}")
    add("--peers", default=",".join(PEERS), help=f"default: {','.join(PEERS)}")
    add("--skip-peers", action="store_true", help="none")
    add("--rounds", type=int, default=3, help="in which all steps take turns (3)")
    add("--replays", type=int, default=10, help="of a graph in a round (10)")
    add(
        "--bandwidth", type=float, default=4.6, metavar="TB/S",
        help="of floors (4.6: what dense steps have reached on an H200)",
    )  # fmt: skip
    add("--device", default="cuda", help="of PyTorch; cpu: to try the program")
    add("--target", help="what to compile for; default: cuda:sm_90a, or cpu")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/gpu_step"))
    add("--compile-only", action="store_true", help="fill the folder of artefacts")
    add(
        "--trace", type=pathlib.Path, metavar="FILE",
        help="q [rows, H, D], k and v [T, Hkv, D] of a layer, an .npz, in place of "
        "shapes (benchmarks/make_trace.py)",
    )  # fmt: skip
    add("--rows", type=int, default=16, help="of the trace, as a batch (16)")
    add("--json", type=pathlib.Path, metavar="FILE", help="also store the numbers")
    add("--markdown", type=pathlib.Path, metavar="FILE", help="also store the tables")
    add(
        "--read", metavar="FILE,...",
        help="measure nothing: print tables of what --json stored before",
    )  # fmt: skip
    return parser


def listed(text: str, known, what: str) -> list[str]:
    names = [word for word in text.split(",") if word]
    for name in names:
        if name not in known:
            raise ValueError(f"expected {what} of {', '.join(known)}, got '{name}'")
    return [name for name in known if name in names]


class Program:
    """A run: its options, and what is found."""

    def __init__(self, args: argparse.Namespace, said: str):
        self.args, self.said = args, said
        self.ours = listed(args.steps, OURS, "steps")
        self.peers = [] if args.skip_peers else listed(args.peers, PEERS, "peers")
        if min(args.rounds, args.replays, args.rows) < 1:
            raise ValueError("expected rounds, replays and rows of 1 or more")
        target = args.target or ("cpu" if args.device == "cpu" else "cuda:sm_90a")
        self.artefacts = Artefacts(args.artefacts, target, args.device)
        self.failures: list[str] = []

    def shapes(self):
        if not self.args.trace:
            return chosen(self.args.shapes)
        if self.args.shapes:
            raise ValueError("expected --shapes or --trace, got both")
        return [of_trace(self.args.trace, self.args.rows)]

    def compile(self) -> None:
        # What is measured is compared with a dense step, whatever is asked for.
        names = dict.fromkeys(["dense", *self.ours])
        for shape in self.shapes():
            for name in names:
                begin = time.monotonic()
                path = self.artefacts.make(text_of(shape, name), lists_of(name))
                seconds = time.monotonic() - begin
                print(f"{path.name} {shape.name} {name}, {seconds:.1f} s", flush=True)

    def measure(self) -> dict:
        import torch

        import _peers
        import _timing

        args = self.args
        torch.set_grad_enabled(False)
        self.device = torch.device(args.device)
        if self.device.type == "cuda":
            torch.cuda.init()
            self.device = torch.device("cuda", torch.cuda.current_device())
            properties = torch.cuda.get_device_properties(self.device)
            self.cache = properties.L2_cache_size
            timed = (
                f"medians of {args.rounds} x {args.replays} replays of CUDA graphs in "
                f"turns, sets of inputs beyond {4 * self.cache >> 20} MB"
            )
        else:
            self.cache, timed = _CPU_CACHE, "on a CPU, to try the program: no figures"
        notes, libraries = [], {"PyTorch": torch.__version__}
        if torch.backends.cudnn.is_available():
            libraries["cuDNN"] = str(torch.backends.cudnn.version())
        library = None
        if any(name != "sdpa" for name in self.peers):
            library, says = _peers.flashinfer()
            if library is not None and self.device.type != "cuda":
                library, says = None, "it needs a GPU"
            if library is None:
                notes.append(f"flashinfer: {says}; left out")
                print(notes[-1], file=sys.stderr)
            else:
                libraries["FlashInfer"] = says
        self.makers = _peers.makers(self.peers, library)
        self.read = _timing.read_bandwidth(self.device)
        results = {
            "libraries": libraries, "timed": timed, "notes": notes,
            "bandwidth": args.bandwidth * 1e12, "read_bandwidth": self.read,
            "cache": self.cache, "shapes": [],
        }  # fmt: skip
        for shape in self.shapes():
            begin = time.monotonic()
            entry = self.measure_shape(shape)
            results["shapes"].append(entry)
            seconds = time.monotonic() - begin
            times = ", ".join(
                f"{name} {1e6 * step['seconds']:.1f}"
                for name, step in entry["steps"].items()
            )
            print(f"{shape.name}: {times} us ({seconds:.1f} s)", file=sys.stderr)
            found = self.stored(results)
            if args.json:
                _result.write(args.json, found)
        return found

    def stored(self, results: dict) -> dict:
        return _result.result("gpu_step", self.said, self.args.device, results)

    def inputs_of(self, shape):
        import _inputs

        copies = copies_of(shape, self.cache)
        if self.args.trace:
            import _traces

            trace = _traces.read(self.args.trace)
            return _traces.Trace(trace, shape, copies, self.device)
        return _inputs.Inputs(shape, copies, self.device)

    def measure_shape(self, shape) -> dict:
        entry = self.entry_of(shape, self.inputs_of(shape))
        if self.device.type == "cuda":
            import torch

            # Others' objects may know each other.
            gc.collect()
            torch.cuda.empty_cache()
        return entry

    def entry_of(self, shape, inputs) -> dict:
        import _ours
        import _peers
        import _timing

        args, notes = self.args, []
        truth = _ours.Truth(inputs)
        # What others are compared with, whether it is timed or not.
        dense = _ours.Ours("dense", inputs, self.artefacts)
        reference = dense(0)
        timed, found = {}, {}

        def add(name, call, says, sets=inputs.copies):
            timed[name] = _timing.Timed(call, sets, 4, self.device)
            found[name] = says

        for name in self.ours:
            call = dense
            if name != "dense":
                call = _ours.Ours(name, inputs, self.artefacts)
            says = {"found": _ours.describe(call, dense, truth)}
            add(name, call, says, call.sets)
        for name in CERTIFIED:
            if found.get(name, {}).get("found", {}).get("false"):
                self.failures.append(f"{shape.name}: {name}: a certificate is false")
        for name, make in self.makers.items():
            title = PEERS[name]
            try:
                call = make(inputs)
                apart = (call(0).float() - reference).abs().max()
                difference = float(apart / reference.abs().max())
                add(name, call, {"difference": difference})
            except Exception as error:  # Of any kind: it is others' code.
                words = " ".join(f"{type(error).__name__}: {error}".split())
                notes.append(f"{title}: {words[:300]}; left out")
                print(f"{shape.name}: {notes[-1]}", file=sys.stderr)
                continue
            if call.how:
                notes.append(f"{title}: {call.how}")
            if name == "sdpa" and not inputs.even:
                # It has no lengths: it sees all tokens.
                found[name]["difference"] = None
                notes.append(f"{title}: over the whole context")
            elif not difference <= _peers.TOLERANCE:
                self.failures.append(
                    f"{shape.name}: {title} differs by {difference:.2g}"
                )
        _timing.in_turns(list(timed.values()), args.rounds, args.replays)
        runs = [one.run for one in timed.values()]
        seen = _timing.kernels(runs, inputs.copies, self.device)
        for (name, step), kernels in zip(found.items(), seen):
            step.update(timed[name].result())
            step["replayed"] = timed[name].difference()
            if not step["replayed"] <= _peers.TOLERANCE:
                self.failures.append(f"{shape.name}: {name} is another one in a graph")
            self.add_bytes(shape, name, step, kernels)
        return {
            "shape": dataclasses.asdict(shape), "copies": inputs.copies,
            "trace": bool(args.trace), "bandwidth": args.bandwidth * 1e12,
            "read_bandwidth": self.read, "notes": notes, "steps": found,
        }  # fmt: skip

    @staticmethod
    def add_bytes(shape, name: str, step: dict, kernels) -> None:
        """Adds what a step reads, and of kernels that were seen, times and bytes."""
        own = name if name in OURS else "dense"
        tokens = step.get("found", {}).get("tokens")
        parts = stages(shape, own, tokens)
        step["bytes"], step["floor_bytes"] = parts, floor_bytes(parts)
        if kernels is None:
            return
        names = kernels["names"]
        # Only names of our kernels say what they do.
        sizes = kernel_bytes(names, parts) if name in OURS else [0] * len(names)
        step["launches"] = len(names)
        step["kernels"] = [
            {"name": n[:120], "seconds": s, "added": added, "bytes": size}
            for n, s, added, size in zip(
                names, kernels["seconds"], kernels["added"], sizes
            )
        ]


def main(argv=None) -> int:
    parser = parser_of()
    args = parser.parse_args(argv)
    failures = []
    try:
        if args.read:
            files = [
                json.loads(pathlib.Path(f).read_text()) for f in args.read.split(",")
            ]
        else:
            program = Program(args, _result.command(parser, args))
            if args.compile_only:
                program.compile()
                return 0
            files = [program.measure()]
            failures = program.failures
        text = report(files)
        if args.markdown:
            args.markdown.write_text(text + "\n")
        print(text)
    except ModuleNotFoundError as error:
        print(f"error: {error}; measuring needs PyTorch", file=sys.stderr)
        return 1
    except (Error, OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
