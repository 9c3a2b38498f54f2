//===- Passes.td - Passes on the vashista dialect ----------*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_TD
#define VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def VashistaDecomposePass : Pass<"vashista-decompose"> {
  let summary = "replaces ops that stand for several by those several";
  let description = [{
    Decomposes the ops of this dialect that implement `AggregatedOpInterface`,
    by one level or all the way:

    ```
    attention  =>  route, select, attend, certify, fallback
    route      =>  score, pick
    select     =>  score, pick
    ```

    A policy with several rounds becomes as many picks in a row, each of which
    picks nothing for a group that the state so far proves already: there are
    no branches.

    **Preconditions.** The number of KV heads is static; otherwise the pass
    fails and says which op it left.

    **Numerics.** None change: an aggregated op means its decomposition.

    Example:

    ```mlir
    %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q ...
        policy <pages = 64> ...
    ```

    becomes, with `depth=one`,

    ```mlir
    %pages, %count, %tail = vashista.route %q ... top 64 ...
    %o, %lse = vashista.attend %q ... pages(%pages, %count) outs(%zero, %ninf) ...
    ```
  }];
  let options = [
    Option<"depth", "depth", "::vashista::DecomposeDepth",
           "::vashista::DecomposeDepth::all",
           "How far to go (default: all)",
           [{::llvm::cl::values(
             clEnumValN(::vashista::DecomposeDepth::one, "one",
                        "replace each op once"),
             clEnumValN(::vashista::DecomposeDepth::all, "all",
                        "replace until nothing stands for several ops"))}]>
  ];
  let statistics = [
    Statistic<"numDecomposed", "decomposed", "Ops that were replaced">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def VashistaSplitTokensPass : Pass<"vashista-split-tokens"> {
  let summary = "splits long sequences into states that are computed at once";
  let description = [{
    A dense `attend` that walks whole sequences becomes a `scf.forall` over
    splits of a fixed number of tokens, each of which makes a state of its own,
    and a `merge` of those states and the destinations' (by
    `PartialReductionOpInterface`). So that one long sequence uses every core.

    A `schedule` of the op with a `split` above 0 says how many tokens; else the
    option does. Ops that list their tokens or pages, projections, ranges and
    sequences of at most one split stay as they are.

    **Numerics.** Splits begin at multiples of their size, whatever else is in
    the batch and however many threads there are: results are bit-equal for a
    given size. Between sizes they differ as merges in another order do.
  }];
  let options = [
    Option<"split", "split", "int64_t", "4096",
           "Tokens of a split; 0: only where a schedule says so (default: 4096)">
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def VashistaInsertChecksPass
    : Pass<"vashista-insert-checks", "::mlir::func::FuncOp"> {
  let summary = "checks page tables, lengths, positions and lists within a step";
  let description = [{
    Of a public function, gives every op of this dialect that follows a page table
    or a list what `check_table`, `check_positions` and `check_list` make of its
    lengths, positions, rows and counts, and returns their `faults`: further
    results, in the order of the checks. A row at fault is then an empty sequence,
    the others are what they were, and nothing out of range is read.

    Ops that share a table, lengths, rows and page size share a check; of the
    caches that they read, the one with the fewest pages counts. What the module
    fixes by constants is not checked, nor are lists that ops of this dialect
    made, nor what was checked already: a second run changes nothing.

    **Preconditions.** One block; nobody calls the function (inline before). What
    an op within a loop or a branch follows comes from outside of it; otherwise
    the pass fails and says which op.

    **Numerics.** None change for rows that are well.

    Example:

    ```mlir
    func.func @attend(...) -> (tensor<4x32x128xf32>, tensor<4x32xf32>) {
      %o, %lse = vashista.attend %q ... table(%table) lens(%lens) ...
      return %o, %lse
    }
    ```

    becomes

    ```mlir
    func.func @attend(...)
        -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x4xi32>) {
      %n = tensor.dim %k, %c0
      %checked, %faults = vashista.check_table %table lens(%lens) num_pages %n ...
      %o, %lse = vashista.attend %q ... table(%table) lens(%checked) ...
      return %o, %lse, %faults
    }
    ```
  }];
  let statistics = [
    Statistic<"numChecks", "checks", "Checks that were inserted">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
    "::vashista::VashistaDialect"
  ];
}

#endif // VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_TD
