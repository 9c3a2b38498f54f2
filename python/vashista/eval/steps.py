# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times a decode step of a model of Llama's shapes beside SDPA.

The model is that of 8 billion parameters, 32 query and 8 KV heads of 128, width 4096,
with a few layers and random weights. Random keys are all alike to random queries, which
nothing is sparse for; so keys are planted: for each KV head some tokens follow its query
heads, about as many as a small trained model needs for a proof (`--need`). What was
planted is the same for both sides, and so is all but attention.

SDPA attends to a cache that is allocated once, without a mask, keys not repeated. On a
GPU both sides are captured in CUDA graphs, unless `--no-graphs`; times are medians of one
replay or call, with all layers, norms, projections and the head.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from .. import Error, Policy, Sketch
from . import _model, _result
from ._artefacts import Artefacts
from ._forced import synchronize
from ._plans import Plan, read
from ._progress import progress

SHAPES = {
    "8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
    },
    "tiny": {
        "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 97,
    },
}  # fmt: skip


def plans(context: int, tolerances: list[float]) -> list[Plan]:
    """Dense, a fixed number of pages, a fixed number of tokens, and certified."""
    always = {"sinks": 4, "window": 64}
    some = max(128, context // 12)
    out = [
        Plan("dense", Policy()),
        Plan(
            "64 pages, 128 tokens",
            Policy(pages=64, candidates=128, **always),
            options=(("summary", "mean_std"),),
        ),
        Plan(
            "8 % of the tokens, not certified",
            Policy(candidates=some, **always),
            Sketch(),
        ),
    ]
    for tolerance in tolerances:
        policy = Policy.certified(tolerance, candidates=max(128, context // 4))
        out.append(Plan(f"tau at most {100 * tolerance:g} %", policy, Sketch()))
    return out


def config_of(args):
    _, transformers = _model.imported()
    return transformers.LlamaConfig(
        **SHAPES[args.shapes],
        num_hidden_layers=args.layers,
        max_position_embeddings=1 << 20,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=None,
        eos_token_id=None,
    )


class Timer:
    """Times a call, by a CUDA graph where that is asked for."""

    def __init__(self, run, token, graphs: bool, repeat: int):
        self.run, self.token, self.repeat = run, token, repeat
        self.graphs = graphs and token.is_cuda

    def median(self) -> float:
        """Seconds of one."""
        torch, _ = _model.imported()
        run = self.run
        if self.graphs:
            side = torch.cuda.Stream()
            # What fills caches and tables may not have come to its end.
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    run()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run()
            run = graph.replay
        times = []
        for _ in range(self.repeat + 3):
            if self.token.is_cuda:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                run()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end) / 1e3)
            else:
                before = time.perf_counter()
                run()
                times.append(time.perf_counter() - before)
        synchronize(self.token)
        return float(np.median(times[3:]))


def measure_context(model, plan_list, context: int, artefacts, args) -> dict[str, Any]:
    """The step that writes and sees token `context`, of all policies."""
    import vashista.transformers as vt

    from ._planted import DENSE, DenseCache, Planter

    torch, _ = _model.imported()
    batch = args.batch
    generator = torch.Generator().manual_seed(0)
    token = torch.randint(0, model.config.vocab_size, (batch, 1), generator=generator)
    token = token.to(args.device)
    # The position is given: neither side then looks at its cache for it.
    at = torch.full((1, 1), context - 1, device=args.device)
    dtype = getattr(torch, args.dtype)
    dense = DenseCache(model.config, context, batch, args.device, dtype)
    planter = Planter(dense, args.need)
    with planter:
        model.set_attn_implementation(planter.NAME)
        wanted = _model.call(model, token, dense, position_ids=at).logits
    model.set_attn_implementation(DENSE)

    def timed(cache):
        run = lambda: _model.call(
            model, token, cache, position_ids=at
        ).logits  # noqa: E731
        logits = run()
        return Timer(run, token, args.graphs, args.repeat).median(), logits

    seconds, logits = timed(dense)
    out = {
        "context": context,
        "sdpa_seconds": seconds,
        # Planted and timed queries see the same: else what is timed is not what is meant.
        "planted": float((logits - wanted).abs().max() / wanted.abs().max()),
        "policies": [],
    }
    for plan in plan_list:
        options = plan.of_cache()
        spec = vt.spec_of(model.config, dtype=dtype, **options)
        cache = vt.PagedCache(
            model.config, max_length=context, batch=batch, device=args.device,
            dtype=dtype, artefact=artefacts.get(spec.text), **options,
        )  # fmt: skip
        for layer, (k, v) in enumerate(dense.before()):
            cache.update(k, v, layer)
        seen: dict[str, list] = {"tau": [], "flag": []}
        model.set_attn_implementation("vashista")
        cache.hold()

        def look(layer, step, q, got, seen=seen):
            if got.tau is not None:
                seen["tau"].append(got.tau.float().mean().item())
                seen["flag"].append(got.flag.float().mean().item())

        cache.observe = look
        _model.call(model, token, cache, position_ids=at)
        cache.observe = None
        seconds, logits = timed(cache)
        out["policies"].append(
            {
                "name": plan.name,
                "policy": str(plan.policy),
                "sketch": str(plan.sketch) if plan.sketch else None,
                "seconds": seconds,
                "difference": float((logits - wanted).abs().max() / wanted.abs().max()),
                "tau": float(np.mean(seen["tau"])) if seen["tau"] else None,
                "fallback": float(np.mean(seen["flag"])) if seen["flag"] else None,
                "bytes": cache.paged.bytes(),
            }
        )
        del cache
    return out


def report(r: dict[str, Any]) -> str:
    """The results as Markdown."""
    contexts = r["contexts"]
    names = [p["name"] for p in contexts[0]["policies"]]
    head = " | ".join(f"{c['context']:,}" for c in contexts)
    out = [
        f"One step, {r['layers']} layers of {r['shapes']}, {r['dtype']}, batch "
        f"{r['batch']}, {'CUDA graphs' if r['graphs'] else 'eager'}; ms, and times "
        "SDPA's.",
        "",
        f"| attention | {head} |",
        "|" + "---|" * (len(contexts) + 1),
        "| SDPA | "
        + " | ".join(f"{1e3 * c['sdpa_seconds']:.3g}" for c in contexts)
        + " |",
    ]
    for i, name in enumerate(names):
        cells = []
        for c in contexts:
            p = c["policies"][i]
            cell = f"{1e3 * p['seconds']:.3g}, {p['seconds'] / c['sdpa_seconds']:.2f}"
            if p["fallback"]:
                cell += f", {100 * p['fallback']:.1f} % fell back"
            cells.append(cell)
        out.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(out)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vashista.eval steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shapes", default="8b", choices=tuple(SHAPES))
    add("--layers", type=int, default=4)
    add("--contexts", default="8192,32768,131072")
    add("--batch", type=int, default=1)
    add("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    add("--device", default="cpu", help="of PyTorch")
    add("--need", type=float, default=0.08, help="share of tokens that is planted")
    add("--tolerances", default="0.1,0.5", help="of the certified steps")
    add(
        "--policies", type=pathlib.Path, metavar="POLICIES",
        help="a JSON list of policies instead, for every context",
    )  # fmt: skip
    add("--repeat", type=int, default=30)
    add("--no-graphs", dest="graphs", action="store_false", help="call, do not replay")
    add("--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"))
    add("--target", help="what to compile for; default: the device")
    add("--compile-only", action="store_true", help="fill the folder of artefacts")
    add("--json", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        torch, _ = _model.imported()
        import vashista.transformers as vt

        config = config_of(args)
        artefacts = Artefacts(args.artefacts, _model.target_of(args), args.device)
        contexts = [int(x) for x in args.contexts.split(",")]
        tolerances = [float(x) for x in args.tolerances.split(",")]
        dtype = getattr(torch, args.dtype)

        def plans_of(context):
            return read(args.policies) if args.policies else plans(context, tolerances)

        if args.compile_only:
            for context in contexts:
                for plan in plans_of(context):
                    spec = vt.spec_of(config, dtype=dtype, **plan.of_cache())
                    artefacts.make(spec.text)
            return 0
        torch.manual_seed(0)
        with torch.device(args.device):
            torch.set_default_dtype(dtype)
            model = _model.imported()[1].LlamaForCausalLM(config).eval()
            torch.set_default_dtype(torch.float32)
        results = {
            "shapes": args.shapes, "layers": args.layers, "dtype": args.dtype,
            "batch": args.batch, "need": args.need,
            "graphs": args.graphs and args.device.startswith("cuda"), "contexts": [],
        }  # fmt: skip
        said = _result.command(parser, args)
        for context in progress(contexts, "contexts"):
            got = measure_context(model, plans_of(context), context, artefacts, args)
            results["contexts"].append(got)
            if args.json:
                found = _result.result("steps", said, args.device, results)
                _result.write(args.json, found)
        print(report(results))
    except (Error, OSError, ValueError, TypeError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
