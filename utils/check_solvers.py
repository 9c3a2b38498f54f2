#!/usr/bin/env python3
# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the projection solvers with independent ones in float64.

Random instances (16 to 400 keys of 2 to 64 channels: Gaussian, clustered, with
duplicates, queries inside and outside of the hull) are solved by `attend` as it
is compiled for this CPU, and

  eg           by SciPy's trust-region Newton method on the dual,
  frank_wolfe  by Clarabel, as a quadratic programme.

For each solver it prints how many instances met the tolerance within the
iterations, how many iterations that took, the largest share of a certified gap
that is true and the largest share of the distance that it allows, and the
distance itself: of the point from the independent solution, relative to the
query's. Iterations are counted by solving with every cap of a list: the first
one that is enough. Exits with 1 where something certified is not true, or a
smaller share of the instances than --minimum says meets the tolerance. Plain
Frank-Wolfe is there to be compared with: its gap falls as one over the
iterations, so it is stopped early and need not meet anything.

Needs NumPy, SciPy and Clarabel (pip install numpy scipy clarabel).
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

try:
    import clarabel
    import numpy as np
    import scipy.optimize
    import scipy.sparse
except ImportError as error:
    sys.exit(f"error: {error}; install numpy, scipy and clarabel")

PAGE, CHANNELS, MOST_KEYS = 16, 64, 400
PAGES = MOST_KEYS // PAGE
KINDS = ("gauss", "clusters", "duplicates", "inside", "outside")
# Numbers of iterations: each, then each a quarter more than the one before.
CAPS = (*range(1, 33), 40, 50, 63, 79, 99, 124, 155, 194, 243, 304, 380, 475)
MANY_CAPS = (*CAPS, 594, 742, 928, 1160, 1450, 1812, 2265, 2831, 3539, 4424, 5530)


class Solver:
    def __init__(self, kind, epsilon, tolerance, step=None, caps=CAPS):
        self.kind, self.epsilon, self.tolerance = kind, epsilon, tolerance
        self.step, self.caps = step, caps
        self.name = f"{kind} {step}" if step else f"{kind} epsilon {epsilon:g}"

    def text(self, iterations):
        step = f", step = {self.step}" if self.step else ""
        return (
            f"<{self.kind}, objective = projection, epsilon = {self.epsilon:e}, "
            f"iterations = {iterations}, tolerance = {self.tolerance:e}{step}>"
        )


SOLVERS = (
    Solver("eg", 1.0, 1e-4),
    Solver("eg", 0.25, 2.5e-5),
    Solver("frank_wolfe", 0.0, 1e-3, "pairwise", MANY_CAPS),
    Solver("frank_wolfe", 0.0, 1e-3, "away", MANY_CAPS),
    Solver("frank_wolfe", 0.0, 1e-3, "plain"),
)

# ===----------------------------------------------------------------------===#
# Instances
# ===----------------------------------------------------------------------===#


def make_instance(random):
    """Returns keys and a query, in units in which the scale is 1."""
    count = int(random.integers(16, MOST_KEYS + 1))
    channels = int(random.integers(2, CHANNELS + 1))
    kind = random.choice(KINDS)
    keys = random.normal(size=(count, channels))
    query = random.normal(size=channels)
    if kind == "clusters":
        centres = random.normal(size=(8, channels))
        keys = centres[random.integers(0, 8, count)] + 0.1 * keys
        query = centres[0] + query
    elif kind == "duplicates":
        keys = keys[random.integers(0, max(2, count // 4), count)]
    elif kind == "inside":
        query = random.dirichlet(np.ones(count)) @ keys
    elif kind == "outside":
        query = 4 * query
    # As logits of attention are, scaled by the root of the channels.
    unit = channels**-0.25
    return (unit * keys).astype(np.float32), (unit * query).astype(np.float32)


def pack(instances, value_size):
    """Arrays of a batch: one row each; the value of token t is the unit vector
    t where there is room for it. Channels that an instance lacks are zero."""
    rows = len(instances)
    query = np.zeros((rows, 1, CHANNELS), np.float32)
    table = np.arange(rows * PAGES, dtype=np.int32).reshape(rows, PAGES)
    keys = np.full((rows, PAGES * PAGE, CHANNELS), np.nan, np.float32)
    values = np.zeros((rows, PAGES * PAGE, value_size), np.float32)
    lengths = np.array([len(k) for k, _ in instances], np.int32)
    for row, (k, q) in enumerate(instances):
        query[row, 0, : len(q)] = q
        keys[row, : len(k)] = 0
        keys[row, : len(k), : k.shape[1]] = k
        if value_size > 1:
            values[row] = np.eye(PAGES * PAGE, value_size)
    cache = (rows * PAGES, 1, PAGE)
    return (
        query,
        keys.reshape(*cache, CHANNELS),
        values.reshape(*cache, value_size),
        table,
        lengths,
    )


# ===----------------------------------------------------------------------===#
# The solvers as compiled
# ===----------------------------------------------------------------------===#


def make_graph(solver, caps, value_size):
    """A function that yields (o, direction, gap) of each number of iterations,
    with only gaps where values have no room for weights."""
    query = f"tensor<?x1x{CHANNELS}xf32>"
    keys = f"tensor<?x1x{PAGE}x{CHANNELS}xf32>"
    values = f"tensor<?x1x{PAGE}x{value_size}xf32>"
    output = f"tensor<?x1x{value_size}xf32>"
    number = "tensor<?x1xf32>"
    body, names, types = [], [], []
    for cap in caps:
        body.append(f"""
  %o{cap}, %lse{cap}, %r{cap}, %gap{cap} = vashista.attend %q keys(%k) values(%v)
      table(%t) lens(%n) outs(%o, %x, %r, %x) scale 1.0
      solver {solver.text(cap)}
      : ({query}, {keys}, {values}, tensor<?x?xi32>, tensor<?xi32>, {output},
         {number}, {query}, {number}) -> ({output}, {number}, {query}, {number})""")
        results = [(f"%gap{cap}", number)]
        if value_size > 1:
            results = [(f"%o{cap}", output), (f"%r{cap}", query), *results]
        names += [name for name, _ in results]
        types += [kind for _, kind in results]
    return f"""
func.func @solve(%q: {query}, %k: {keys}, %v: {values}, %t: tensor<?x?xi32>,
    %n: tensor<?xi32>) -> ({", ".join(types)}) {{
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %q, %c0 : {query}
  %o = tensor.empty(%rows) : {output}
  %x = tensor.empty(%rows) : {number}
  %r = tensor.empty(%rows) : {query}{"".join(body)}
  return {", ".join(names)} : {", ".join(types)}
}}
"""


class Compiled:
    def __init__(self, programs, folder, solver, caps, value_size):
        self.folder, self.programs = folder, programs
        self.number = len(caps) * (3 if value_size > 1 else 1)
        self.graph = folder / f"{value_size}.mlir"
        self.artefact = folder / f"{value_size}.vso"
        self.graph.write_text(make_graph(solver, caps, value_size))
        self.run("vashista-compile", self.graph, "-o", self.artefact)

    def run(self, program, *arguments):
        command = [self.programs / program, *arguments]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"error: {program} failed\n{done.stdout}{done.stderr}")

    def __call__(self, arrays):
        files = []
        for i, array in enumerate(arrays):
            files.append(self.folder / f"argument{i}.npy")
            np.save(files[-1], array)
        out = self.folder / "out"
        self.run("vashista-run", self.artefact, "--args", *files, f"--out={out}")
        return [np.load(out / f"{i}.npy") for i in range(self.number)]


# ===----------------------------------------------------------------------===#
# The truth
# ===----------------------------------------------------------------------===#


def log_sum_exp(x):
    most = x.max()
    return most + np.log(np.exp(x - most).sum())


def get_gap(keys, query, epsilon, weights, direction):
    """The primal value of the weights less the dual one of the direction."""
    logits = keys @ direction
    lack = query - weights @ keys - direction
    held = weights > 0
    if epsilon == 0:
        gap = weights @ (logits.max() - logits)
    else:
        logits = logits / epsilon
        terms = np.log(weights[held]) - logits[held] + log_sum_exp(logits)
        gap = epsilon * (weights[held] @ terms)
    return gap + lack @ lack / 2


def solve_entropic(keys, query, epsilon):
    def weigh(r):
        x = keys @ r / epsilon
        return np.exp(x - log_sum_exp(x))

    def value(r):
        return r @ r / 2 - r @ query + epsilon * log_sum_exp(keys @ r / epsilon)

    def gradient(r):
        return r - query + weigh(r) @ keys

    def hessian(r):
        a = weigh(r)
        offset = keys - a @ keys
        return np.eye(len(r)) + (offset.T * a) @ offset / epsilon

    found = scipy.optimize.minimize(
        value,
        query - keys.mean(0),
        jac=gradient,
        hess=hessian,
        method="trust-exact",
        options={"gtol": 1e-11, "maxiter": 500},
    )
    # Full Newton steps, near the solution, for the last digits.
    r = found.x
    for _ in range(3):
        r = r - np.linalg.solve(hessian(r), gradient(r))
    return weigh(min(r, found.x, key=lambda x: np.linalg.norm(gradient(x))))


def solve_nearest(keys, query):
    """min |z|^2 / 2 with z = q - K'a, a >= 0, sum a = 1."""
    count, channels = keys.shape
    p = scipy.sparse.block_diag(
        [scipy.sparse.csc_matrix((count, count)), scipy.sparse.eye(channels)]
    )
    a = scipy.sparse.bmat(
        [
            [scipy.sparse.csc_matrix(keys.T), scipy.sparse.eye(channels)],
            [scipy.sparse.csc_matrix(np.ones((1, count))), None],
            [-scipy.sparse.eye(count), None],
        ]
    )
    b = np.concatenate([query, [1.0], np.zeros(count)])
    cones = [clarabel.ZeroConeT(channels + 1), clarabel.NonnegativeConeT(count)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-13
    settings.max_iter = 100
    solution = clarabel.DefaultSolver(
        scipy.sparse.csc_matrix(p),
        np.zeros(count + channels),
        scipy.sparse.csc_matrix(a),
        b,
        cones,
        settings,
    ).solve()
    weights = np.maximum(np.array(solution.x)[:count], 0)
    return weights / weights.sum()


# ===----------------------------------------------------------------------===#
# The comparison
# ===----------------------------------------------------------------------===#


class Findings:
    """What is found of a solver's results."""

    def __init__(self):
        self.gap_shares, self.distance_shares, self.distances = [], [], []
        self.reference_gaps, self.false = [], 0

    def add(self, solver, instance, output, direction, gap):
        keys, query = (x.astype(float) for x in instance)
        weights = output[0, : len(keys)].astype(float)
        weights /= weights.sum()
        direction = direction[0, : len(query)].astype(float)
        if solver.epsilon:
            best = solve_entropic(keys, query, solver.epsilon)
        else:
            best = solve_nearest(keys, query)
        true_gap = get_gap(keys, query, solver.epsilon, weights, direction)
        best_y = best @ keys
        best_gap = get_gap(keys, query, solver.epsilon, best, query - best_y)
        distance = np.linalg.norm(query - direction - best_y)
        # The reference is as far from the solution as its own gap says, and the
        # weights that tell the truth were rounded to f32.
        allowed = np.sqrt(gap) + np.sqrt(max(best_gap, 0)) + 1e-9
        rounding = 1e-6 * true_gap + 1e-12 * (1 + query @ query)
        self.gap_shares.append(true_gap / gap)
        self.distance_shares.append(distance / allowed)
        self.distances.append(distance / np.linalg.norm(query))
        self.reference_gaps.append(best_gap)
        self.false += true_gap > gap + rounding or distance > allowed


def count_iterations(solver, gaps):
    """Of each instance, the first number of iterations that was enough."""
    met = np.stack([gap[:, 0] <= solver.tolerance for gap in gaps])
    first = np.where(met.any(0), met.argmax(0), -1)
    return np.where(first >= 0, np.array(solver.caps)[first], np.inf)


def check(solver, instances, programs, batch):
    findings, iterations = Findings(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        counted = Compiled(programs, folder, solver, solver.caps, 1)
        solved = Compiled(programs, folder, solver, solver.caps[-1:], MOST_KEYS)
        for first in range(0, len(instances), batch):
            some = instances[first : first + batch]
            gaps = counted(pack(some, 1))
            iterations.append(count_iterations(solver, gaps))
            outputs, directions, last = solved(pack(some, MOST_KEYS))
            assert np.array_equal(gaps[-1], last)
            for i, instance in enumerate(some):
                findings.add(solver, instance, outputs[i], directions[i], last[i, 0])
    return findings, np.concatenate(iterations)


def describe(solver, count):
    return f"{count:.0f}" if np.isfinite(count) else f"> {solver.caps[-1]}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=pathlib.Path, help="the build folder")
    parser.add_argument(
        "--instances",
        type=int,
        default=10000,
        metavar="N",
        help="how many each solver solves (default 10000)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="which ones (default 1)"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=500,
        metavar="B",
        help="how many are solved by one call (default 500)",
    )
    parser.add_argument(
        "--minimum",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="exit with 1 when a smaller share meets the tolerance (default 1)",
    )
    args = parser.parse_args()
    programs = args.build.resolve() / "bin"
    if not (programs / "vashista-run").exists():
        sys.exit(f"error: {programs} has no vashista-run; build it first")

    random = np.random.default_rng(args.seed)
    instances = [make_instance(random) for _ in range(args.instances)]
    print(f"{args.instances} instances")
    failed = False
    for solver in SOLVERS:
        findings, iterations = check(solver, instances, programs, args.batch)
        met = np.isfinite(iterations).mean()
        median, late = np.quantile(iterations, [0.5, 0.9], method="higher")
        distances = np.quantile(findings.distances, [0.5, 0.99])
        print(
            f"{solver.name:21} tolerance {solver.tolerance:.1e}: "
            f"met {100 * met:.2f} %, iterations median "
            f"{describe(solver, median)} "
            f"p90 {describe(solver, late)}, most "
            f"{describe(solver, iterations.max())}; true/certified gap at most "
            f"{max(findings.gap_shares):.4f}, distance at most "
            f"{max(findings.distance_shares):.3f} of what it allows, "
            f"relative median {distances[0]:.1e} p99 {distances[1]:.1e}; "
            f"reference gap at most {max(findings.reference_gaps):.1e}; "
            f"{findings.false} false",
            flush=True,
        )
        required = args.minimum if solver.step != "plain" else 0
        failed |= findings.false > 0 or met < required
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
