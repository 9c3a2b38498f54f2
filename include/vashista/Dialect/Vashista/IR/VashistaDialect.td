//===- VashistaDialect.td - The vashista dialect -*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_VASHISTADIALECT_TD
#define VASHISTA_DIALECT_VASHISTA_IR_VASHISTADIALECT_TD

include "mlir/IR/DialectBase.td"

def Vashista_Dialect : Dialect {
  let name = "vashista";
  let cppNamespace = "::vashista";
  let summary = "Sparse decode attention over a paged KV cache, with certificates";
  let description = [{
    Decoding one token reads the whole KV cache. These ops describe a decode
    step that reads less and says what it may have missed:

    ```
    route -> select -> attend -> certify -> fallback      (and merge)
    ```

    **A direction, not a query.** Scores, bounds and certificates are functions
    of a direction `w`: the query for softmax attention, the residual of the
    projection for the paper's objective (arXiv 2602.13804).

    **A state, not an output.** Attention over any set of tokens is a mergeable
    state `(o, lse)` in f32, natural logarithm: `lse = log sum exp(x_j)` and `o`
    is normalised. What was left out is a `tail`: the logarithm of an upper
    bound of the mass of the tokens that were not attended. Splits, growing
    budgets and shards are all merges of states.

    ## Names of dimensions

    | name | meaning |
    |---|---|
    | `R` | rows: query tokens, one per sequence unless `rows(...)` is given |
    | `B` | sequences: rows of the page table |
    | `H`, `Hkv`, `G` | query heads, KV heads, `G = H / Hkv` query heads per KV head |
    | `D`, `Dv` | key and value head dimension, 1 to 65,536 |
    | `N`, `S` | physical pages, tokens per page |
    | `M` | pages of the longest sequence: columns of the page table |
    | `P`, `C` | capacity of a list of pages, of tokens |

    ## Rules that every op obeys

    * **Empty sequence**: `o = 0`, `lse = -inf`.
    * **Invisible slots** (past the row's length, not selected, never written)
      have no influence, NaN included. Page table entries past
      `ceil(length / S)` are never read.
    * **Lists** of pages or tokens hold logical indices, ascending, padded with
      -1. Consumers skip negative entries and, where a count is given, read only
      the first `count` entries.
    * **NaN scores** rank last, and make the tail +inf. Ties go to the lowest
      index.
    * **Rows that share a sequence** (speculative tokens): `rows(%row_to_seq)`
      names each row's page table row; lengths stay per row.
    * **Nothing is certified from an estimate**: `tail`, `tau` and `error` are
      upper bounds, +inf, 1 and +inf where nothing is known.
    * `scale` is required everywhere. A logit is
      `x = cap(scale * <w, k>) / epsilon`, with `cap(s) = soft_cap *
      tanh(s / soft_cap)` where a soft cap is given, else `cap(s) = s`. Whatever
      is compared (scores, tails, lse) must have one scale, cap and epsilon.
    * The projection objective is over keys and queries times `sqrt(scale)`; its
      direction is `q - sum_j a_j k_j`, unscaled, so that `x` is as above.

    Numbered constraints (`attend_c1`) are checked by the verifier, which names
    them in its message.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect",
    "::mlir::tensor::TensorDialect"
  ];
  let extraClassDeclaration = [{
    void registerAttributes();
  }];
}

#endif // VASHISTA_DIALECT_VASHISTA_IR_VASHISTADIALECT_TD
