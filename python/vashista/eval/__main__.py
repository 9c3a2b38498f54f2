# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures compiled sparse attention: on trained models, and by the clock.

    python -m vashista.eval COMMAND [options]

    layers      CodeLM by a decoder of our own: bytes, proofs, perplexity, per layer
    model       a causal model of transformers, or CodeLM as one: the same, the next
                token beside SDPA's, and the time of a token
    retrieval   needles and passkeys over lengths and depths
    steps       the time of a decode step of Llama shapes beside SDPA
    contexts    decode time over contexts, by vashista-bench
    attention   where CodeLM looks, what it needs, the slack of sketches of its keys
    solvers     projection solvers over pages and candidates

Without a command: `model` where there is a `--model`, else `layers`. Each writes with
`--json FILE` what `python -m vashista.figures` draws.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = (
    "layers", "model", "retrieval", "steps", "contexts", "attention", "solvers",
)  # fmt: skip


def main(argv=None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in COMMANDS:
        command = argv.pop(0)
    elif not argv or argv[0] in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0
    elif argv[0].startswith("-"):
        named = any(word.split("=")[0] == "--model" for word in argv)
        command = "model" if named else "layers"
    else:
        print(
            f"error: expected a command, {', '.join(COMMANDS)}, got '{argv[0]}'",
            file=sys.stderr,
        )
        return 1
    return importlib.import_module(f".{command}", __package__).main(argv)


if __name__ == "__main__":
    sys.exit(main())
