# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What share of rows each bound proves, by regime."""

from __future__ import annotations

import numpy as np

from . import regimes
from .attention import BALL, BEST, BOX, EXACT, Attention, Method, sketch
from .report import BLACK, COLOURS, MARKERS, Report, percent

TOKENS, BUDGET = 8192, 512
BITS = (2, 3, 4, 5, 6, 8)
# (channels of a group, whether rotated, whether one residual norm a token)
FORMATS = (
    (32, False, False),
    (32, True, False),
    (32, True, True),
    (128, False, False),
    (128, True, False),
)
TOLERANCES = (0.1, 0.01)
NAMES = (*regimes.REGIMES, *regimes.TRACES)


def problems(name: str, quick: bool, rng) -> list[regimes.Problem]:
    if name in regimes.TRACES:
        return [regimes.load_trace(name)]
    return [regimes.make(name, rng, 16, TOKENS) for _ in range(1 if quick else 8)]


def run(report: Report, quick: bool, rng: np.random.Generator) -> None:
    report.section(
        "What is proved",
        f"""
{BUDGET} of {TOKENS} tokens are attended: {BUDGET // regimes.S} pages by their summaries, or
single tokens by their keys or by a sketch of each (groups of 32, rotated, one norm a
token, unless said otherwise). A row is *proved* at 10 % if its
certificate says that at most 10 % of its mass was missed; *truth* is the share of rows
for which that is so with the {BUDGET} best tokens, which exact scores find. Everything is
done by the compiled ops (summarize, score, pick, attend, certify) on keys in bf16 in
scattered pages; every certificate is compared with attention in float64.
""",
    )
    sketches = {
        (bits, form): sketch(bits, *form)
        for form in FORMATS
        for bits in ((2, 4, 8) if quick else BITS)
    }
    methods = [BOX, BALL, BEST, *sketches.values(), EXACT]
    attention = Attention(methods, {"top": ("top", BUDGET)})
    outcomes: dict[str, dict[Method, list]] = {}
    for name in NAMES:
        given = problems(name, quick, rng)
        outcomes[name] = {
            method: [
                attention.run(problem, method, "top", report, seed)
                for seed, problem in enumerate(given)
            ]
            for method in methods
        }

    def column(name: str, method: Method, field: str) -> np.ndarray:
        return np.concatenate([getattr(x, field) for x in outcomes[name][method]])

    def proved(name: str, method: Method, tolerance: float) -> float:
        return float(np.mean(column(name, method, "tau") <= tolerance))

    # The sketch that examples/certified.mlir has, with more bits and fewer.
    shown = [BOX, BALL, BEST, *(sketches[b, FORMATS[2]] for b in (2, 4, 8)), EXACT]
    for tolerance in TOLERANCES:
        report.table(
            f"proved_{tolerance:g}",
            [f"proved <= {100 * tolerance:g} %", *labels(shown), "truth", "rows"],
            [
                [name, *(percent(proved(name, m, tolerance)) for m in shown)]
                + [
                    percent(
                        float(np.mean(column(name, EXACT, "true_tau") <= tolerance))
                    )
                ]
                + [len(column(name, EXACT, "tau"))]
                for name in NAMES
            ],
        )
    report.table(
        "excess",
        ["bound of the rest too large by nats, median", *labels(shown)],
        [
            [name, *(float(np.median(column(name, m, "excess"))) for m in shown)]
            for name in NAMES
        ],
    )
    rows = []
    for method in (BOX, BALL, BEST, *sketches.values(), EXACT):
        row = [
            method.name,
            method.bytes_per_token(),
            percent(method.bytes_per_token() / 512),
        ]
        for name in regimes.TRACES:
            row += [percent(proved(name, method, t)) for t in TOLERANCES]
            row.append(float(np.median(column(name, method, "excess"))))
        rows.append(row)
    columns = ["bound", "bytes a token", "of K and V"]
    for name in ("sharp", "diffuse"):
        columns += [f"{name} <= 10 %", f"{name} <= 1 %", f"{name}: nats, median"]
    report.table("sketches", columns, rows)

    draw_regimes(report, shown, proved, column)
    draw_sketches(report, sketches, proved, column)


def labels(methods: list[Method]) -> list[str]:
    return [method.name.split(",")[0] for method in methods]


def draw_regimes(report: Report, shown, proved, column) -> None:
    figure, axes = report.pyplot.subplots(1, 2, figsize=(8.6, 4.3), sharey=True)
    columns = [label.replace("page ", "") for label in labels(shown)] + ["truth"]
    for axis, tolerance in zip(axes, TOLERANCES):
        shares = np.array(
            [
                [proved(name, m, tolerance) for m in shown]
                + [np.mean(column(name, EXACT, "true_tau") <= tolerance)]
                for name in NAMES
            ]
        )
        axis.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), share in np.ndenumerate(shares):
            colour = "white" if share < 0.5 else "black"
            axis.text(
                j,
                i,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
            )
        for split in (2.5, 5.5):
            axis.axvline(split, color="white", lw=2)
        axis.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        axis.set_yticks(range(len(NAMES)), NAMES)
        axis.grid(False)
        axis.tick_params(length=0)
        axis.set_title(f"tau <= {100 * tolerance:g} %")
    axes[0].set_xlabel("bound: page summaries | sketch | keys")
    axes[1].set_xlabel("bound: page summaries | sketch | keys")
    figure.suptitle(
        f"Rows proved, in %, by what bounds the {TOKENS - BUDGET} tokens not read",
        fontsize=10,
        fontweight="bold",
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "proved",
        figure,
        f"Share of rows proved with {BUDGET} of {TOKENS} tokens. Page summaries prove what "
        "is built of pages and nothing on trained keys; a sketch of every key nears the "
        "truth.",
    )


def draw_sketches(report: Report, sketches, proved, column) -> None:
    figure, axes = report.pyplot.subplots(1, 3, figsize=(9.6, 3.6))
    bits = sorted({b for b, _ in sketches})
    for form, colour, marker in zip(FORMATS, COLOURS, MARKERS):
        group, rotated, per_token = form
        label = f"{group}" + ", rotated" * rotated + ", one norm" * per_token
        style = {"color": colour, "marker": marker, "ms": 4}
        style |= {"ls": "-", "zorder": 2} if rotated else {"ls": "--", "zorder": 3}
        points = [sketches[b, form] for b in bits]
        excess = [
            np.median(np.concatenate([column(n, m, "excess") for n in regimes.TRACES]))
            for m in points
        ]
        axes[0].plot(bits, excess, label=label, **style)
        for axis, tolerance in zip(axes[1:], TOLERANCES):
            share = [
                np.mean([proved(n, m, tolerance) for n in regimes.TRACES])
                for m in points
            ]
            axis.plot(
                [m.bytes_per_token() for m in points], 100 * np.array(share), **style
            )
    axes[0].set(
        yscale="log",
        xlabel="bits per channel",
        ylabel="nats above the true mass, median",
        title="Bound of what is not read",
    )
    axes[0].set_xticks(bits)
    axes[0].legend(loc="lower left", title="channels a group", title_fontsize=8)
    for axis, tolerance in zip(axes[1:], TOLERANCES):
        share = [
            np.mean(column(n, EXACT, "true_tau") <= tolerance) for n in regimes.TRACES
        ]
        axis.axhline(100 * np.mean(share), color=BLACK, ls=":")
        axis.text(36, 100 * np.mean(share) + 1.5, "truth", fontsize=8)
        axis.set(
            xlabel="bytes per token (K and V: 512)",
            ylabel="rows proved, %, mean of two heads",
            title=f"CodeLM, tau <= {100 * tolerance:g} %",
            ylim=(0, 100),
        )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    report.figure(
        "sketches",
        figure,
        "What bits, groups, a Hadamard rotation and one residual norm a token (in bytes, "
        "with f8 scales) buy, on two heads of CodeLM.",
    )
