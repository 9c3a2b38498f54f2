# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The theory, reproduced: what the paper claims, and what is true of it.

    python -m vashista.theory --out DIR

writes `index.md`, `results.json` and the figures as SVG and PNG. What is said of
the entropic projection is computed in float64 by NumPy; what is said of attention
comes from the compiled ops, and every certificate is compared with float64: the
command fails on the first one that is false. Needs matplotlib.

Paper: "Attention in Constant Time: Vashista Sparse Attention for Long-Context
Decoding with Exponential Guarantees", arXiv 2602.13804. Theorems A and B are those
of docs/theory.md.
"""
