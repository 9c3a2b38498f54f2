//===- Ops.td - Operations of the vashista dialect ---------*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_OPS_TD
#define VASHISTA_DIALECT_VASHISTA_IR_OPS_TD

include "mlir/Dialect/Linalg/IR/LinalgInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"
include "vashista/Dialect/Vashista/IR/Attrs.td"

//===----------------------------------------------------------------------===//
// Operand types
//===----------------------------------------------------------------------===//

/// Element types of queries, keys, values and page summaries.
defvar Storage = [F32, F16, BF16];

def Vashista_Vectors : TensorRankOf<Storage, [3]>;      // [R, H, D]
def Vashista_State : TensorRankOf<[F32], [3]>;          // [R, H, Dv]
def Vashista_PerHead : TensorRankOf<[F32], [2]>;        // [R, H]
def Vashista_Scores : TensorRankOf<[F32], [3]>;         // [R, H, L]
def Vashista_Cache : TensorRankOf<Storage, [4]>;        // [N, Hkv, S, D]
def Vashista_PageNorms : TensorRankOf<[F32], [3]>;      // [N, Hkv, 2]
def Vashista_Moments : TensorRankOf<[F32], [4]>;        // [B, Hkv, Dp, Dp]
def Vashista_PageTable : TensorRankOf<[I32], [2]>;      // [B, M]
def Vashista_PerRow : TensorRankOf<[I32], [1]>;         // [R]
def Vashista_List : TensorRankOf<[I32], [3]>;           // [R, Hkv, C]
def Vashista_PerKvHead : TensorRankOf<[I32], [2]>;      // [R, Hkv]

/// The same as a tensor or, after bufferization, a memref.
class Vashista_TensorOrMemRef<list<Type> types, list<int> ranks>
    : AnyTypeOf<[TensorRankOf<types, ranks>, MemRefRankOf<types, ranks>]>;
def Vashista_VectorsBuf : Vashista_TensorOrMemRef<Storage, [3]>;
def Vashista_CacheBuf : Vashista_TensorOrMemRef<Storage, [4]>;
def Vashista_PageTableBuf : Vashista_TensorOrMemRef<[I32], [2]>;
def Vashista_PerRowBuf : Vashista_TensorOrMemRef<[I32], [1]>;
def Vashista_ListBuf : Vashista_TensorOrMemRef<[I32], [3]>;
def Vashista_PerKvHeadBuf : Vashista_TensorOrMemRef<[I32], [2]>;
def Vashista_PageNormsBuf : Vashista_TensorOrMemRef<[F32], [3]>;
def Vashista_MomentsBuf : Vashista_TensorOrMemRef<[F32], [4]>;
def Vashista_AnyBuf : AnyTypeOf<[AnyRankedTensor, AnyMemRef]>;

//===----------------------------------------------------------------------===//
// Operands that many ops share
//===----------------------------------------------------------------------===//

defvar KvTableArgs = (ins
  Arg<Vashista_PageTable, "physical page of each logical page of a sequence `[B, M]`">:$page_table,
  Arg<Vashista_PerRow, "visible tokens of each row `[R]`">:$seq_lens,
  Arg<Optional<Vashista_PerRow>, "page table row of each row `[R]`; default: row r has table row r">:$row_to_seq);

defvar KvTableBufArgs = (ins
  Arg<Vashista_PageTableBuf, "physical page of each logical page of a sequence `[B, M]`">:$page_table,
  Arg<Vashista_PerRowBuf, "visible tokens of each row `[R]`">:$seq_lens,
  Arg<Optional<Vashista_PerRowBuf>, "page table row of each row `[R]`; default: row r has table row r">:$row_to_seq);

defvar CacheArgs = (ins
  Arg<Vashista_Cache, "K cache `[N, Hkv, S, D]` (hnd) or `[N, S, Hkv, D]` (nhd)">:$k_cache,
  Arg<Vashista_Cache, "V cache, likewise with `Dv`">:$v_cache);

defvar WithinArgs = (ins
  Arg<Optional<Vashista_List>, "logical pages to look in `[R, Hkv, P]`; default: all">:$pages,
  Arg<Optional<Vashista_PerKvHead>, "how many of them to read `[R, Hkv]`">:$page_count);

/// What earlier picks left behind, so that picks chain.
defvar ChainArgs = (ins
  Arg<Optional<Vashista_List>, "slots picked before, never picked again and not in the tail `[R, Hkv, C']`">:$taken,
  Arg<Optional<Vashista_PerHead>, "tail of tokens that are not scored here `[R, H]`; the result's tail includes it">:$outside,
  Arg<Optional<Vashista_PerHead>, "lse of what is attended already `[R, H]`; counts towards the tolerance">:$attended);

defvar LogitArgs = (ins
  Arg<F32Attr, "factor of every logit, usually `1 / sqrt(D)`">:$scale,
  Arg<OptionalAttr<F32Attr>, "cap of every logit: `cap * tanh(logit / cap)`">:$soft_cap);

/// Where no solver says the temperature.
defvar TemperatureArg = (ins
  Arg<DefaultValuedAttr<F32Attr, "1.0f">, "temperature that logits are divided by">:$epsilon);

defvar LayoutArg = (ins
  Arg<DefaultValuedAttr<Vashista_LayoutAttr, "::vashista::Layout::hnd">, "order of the cache's dimensions">:$layout);

defvar SolverArg = (ins
  Arg<DefaultValuedAttr<Vashista_SolverAttr, "getSoftmax">, "how weights are found">:$solver);

defvar ScheduleArg = (ins
  Arg<OptionalAttr<Vashista_ScheduleAttr>, "layout of the kernel on the target">:$schedule);

//===----------------------------------------------------------------------===//
// Base classes
//===----------------------------------------------------------------------===//

class Vashista_Op<string mnemonic, list<Trait> traits = []>
    : Op<Vashista_Dialect, mnemonic, traits # [
        DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let hasVerifier = 1;
}

/// An op with ordinary tensor results whose types follow from its operands.
///
/// Ops that read through a page table have no memory effect but are not
/// speculatable: a guarded op must not read a table that its guard rejects.
class Vashista_TensorOp<string mnemonic, list<Trait> traits = []>
    : Vashista_Op<mnemonic, traits # [
        InferTypeOpAdaptorWithIsCompatible,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]>;

/// An op that writes into its `outs`, on tensors or on memrefs.
class Vashista_DestinationOp<string mnemonic, list<Trait> traits = []>
    : Vashista_Op<mnemonic, traits # [
        AttrSizedOperandSegments, DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let results = (outs Variadic<AnyRankedTensor>:$results);
}

//===----------------------------------------------------------------------===//
// Building and maintaining summaries
//===----------------------------------------------------------------------===//

def Vashista_SummarizeOp : Vashista_DestinationOp<"summarize"> {
  let summary = "builds page summaries, page norms and key sketches from a cache";
  let description = [{
    Rebuilds what is kept beside the cache for every page that the table names
    for a visible token; other pages of the destinations keep their contents.
    Only written tokens of a page count: a partial page is summarised over the
    tokens that the longest row of its sequence sees.

    `norms` holds, per page and KV head, the largest Euclidean norm of a key and
    of a value, rounded up (`[N, Hkv, 2]`, key first).

    `moments` are of sequences, not of pages: for each page table row and KV head
    a symmetric matrix M `[Dp, Dp]` over the channels of the sketch, of which any
    direction w' in these channels has

        w' M w' >= sum_j ( abs(<w', r_j>) + eta norm(w') norm(k_j) )^2

    over the tokens j that the longest row of the sequence sees, k_j being the
    decoded key and r_j what it lacks of the key, both rotated; `eta = sqrt(Dp)
    2^-16 + (Dp + 24) 2^-22` is room for the rounding of scores. A centre c of a
    page has such room, too: `(D + 8) 2^-22 norm(c)` beside `eta norm(k_j)`. A key
    without a finite residual norm does not count. A table row of which no row
    sees a token keeps its matrix.

    ```mlir
    func.func @summarize(
        %k: tensor<?x8x16x128xbf16>, %v: tensor<?x8x16x128xbf16>,
        %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
        %mean: tensor<?x8x128xbf16>, %std: tensor<?x8x128xbf16>,
        %norms: tensor<?x8x2xf32>)
        -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>) {
      %0:3 = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
          summary <mean_std>(%mean, %std) norms(%norms)
          : (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>, tensor<4x?xi32>,
             tensor<4xi32>, tensor<?x8x128xbf16>, tensor<?x8x128xbf16>,
             tensor<?x8x2xf32>)
          -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>)
      return %0#0, %0#1, %0#2
          : tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>
    }
    ```

    Constraints:
    * `summarize_c1`: dimensions of the same name agree.
    * `summarize_c2`: the page size is static, 1 to 2^31 - 1.
    * `summarize_c3`: all shaped operands are tensors, or all are memrefs.
    * `summarize_c4`: the tensors after `summary` and `sketch` are those that
      the attribute lists, with its element types.
    * `summarize_c5`: there is at least one destination.
    * `summarize_c6`: `norms` needs `values`, and `values` need `norms`.
    * `summarize_c7`: `moments` need a sketch.
  }];
  let arguments = !con(
    (ins Arg<Vashista_CacheBuf, "K cache">:$k_cache,
         Arg<Optional<Vashista_CacheBuf>, "V cache, read for its norms">:$v_cache),
    KvTableBufArgs,
    (ins Arg<Variadic<Vashista_AnyBuf>, "page summary, written">:$summary_parts,
         Arg<Optional<Vashista_PageNormsBuf>, "page norms `[N, Hkv, 2]`, written">:$norms,
         Arg<Variadic<Vashista_AnyBuf>, "key sketch, written">:$sketch_parts,
         Arg<Optional<Vashista_MomentsBuf>, "second moments of the sketch `[B, Hkv, Dp, Dp]`, written">:$moments,
         Arg<OptionalAttr<Vashista_SummaryAttr>, "which summary to build">:$summary,
         Arg<OptionalAttr<Vashista_SketchAttr>, "which sketch to build">:$sketch),
    LayoutArg);
  let assemblyFormat = [{
    `keys` `(` $k_cache `)` (`values` `(` $v_cache^ `)`)?
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`summary` $summary^ `` `(` $summary_parts `)`)?
    (`norms` `(` $norms^ `)`)?
    (`sketch` $sketch^ `` `(` $sketch_parts `)`)?
    (`moments` `(` $moments^ `)`)?
    (`layout` `` $layout^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

def Vashista_AppendOp : Vashista_DestinationOp<"append"> {
  let summary = "writes one token per row into the cache, in place";
  let description = [{
    Writes row r's key and value at `positions[r]` of its sequence, and brings
    the page's summary, norms and sketch up to date. A negative position skips
    the row. The first token of a page (`position mod S = 0`) starts the page
    clean, so that a reused page carries nothing over; what cannot shrink (box,
    radius, norms) is recomputed from the page's tokens up to the position when
    a position is written again. The sequence then ends there: what is kept says
    nothing of later tokens of the page until they are appended again. Rows are
    applied in order.

    `moments`, if there are any, grow by each token's share, and never shrink: at
    position 0 they start clean, and a position that is written again counts
    twice, which keeps them what they are, an upper bound. With a centre that is
    each token of the page up to the position, whose sketches change. A token
    counts for the sequence of its row only: others must not see it in a page
    that they share.

    Of pages it reads and writes only those that hold the positions.

    ```mlir
    func.func @append(
        %k: tensor<4x8x128xbf16>, %v: tensor<4x8x128xbf16>,
        %positions: tensor<4xi32>, %table: tensor<4x?xi32>,
        %kc: tensor<?x8x16x128xbf16>, %vc: tensor<?x8x16x128xbf16>,
        %mean: tensor<?x8x128xbf16>, %std: tensor<?x8x128xbf16>)
        -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
            tensor<?x8x128xbf16>, tensor<?x8x128xbf16>) {
      %0:4 = vashista.append key(%k) value(%v) at(%positions) table(%table)
          into(%kc, %vc) summary <mean_std>(%mean, %std)
          : (tensor<4x8x128xbf16>, tensor<4x8x128xbf16>, tensor<4xi32>,
             tensor<4x?xi32>, tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
             tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
          -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
              tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
      return %0#0, %0#1, %0#2, %0#3
          : tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
            tensor<?x8x128xbf16>, tensor<?x8x128xbf16>
    }
    ```

    Constraints:
    * `append_c1`: dimensions of the same name agree.
    * `append_c2`: the page size is static, 1 to 2^31 - 1.
    * `append_c3`: all shaped operands are tensors, or all are memrefs.
    * `append_c4`: the tensors after `summary` and `sketch` are those that the
      attribute lists, with its element types.
    * `append_c5`: `key` has the element type of the K cache and `value` that of
      the V cache.
    * `append_c6`: `moments` need a sketch.
  }];
  let arguments = !con(
    (ins Arg<Vashista_VectorsBuf, "new keys `[R, Hkv, D]`">:$key,
         Arg<Vashista_VectorsBuf, "new values `[R, Hkv, Dv]`">:$value,
         Arg<Vashista_PerRowBuf, "position of each new token, or negative `[R]`">:$positions,
         Arg<Vashista_PageTableBuf, "physical page of each logical page `[B, M]`">:$page_table,
         Arg<Optional<Vashista_PerRowBuf>, "page table row of each row `[R]`">:$row_to_seq,
         Arg<Vashista_CacheBuf, "K cache, written">:$k_cache,
         Arg<Vashista_CacheBuf, "V cache, written">:$v_cache,
         Arg<Variadic<Vashista_AnyBuf>, "page summary, brought up to date">:$summary_parts,
         Arg<Optional<Vashista_PageNormsBuf>, "page norms, brought up to date">:$norms,
         Arg<Variadic<Vashista_AnyBuf>, "key sketch, brought up to date">:$sketch_parts,
         Arg<Optional<Vashista_MomentsBuf>, "second moments of the sketch `[B, Hkv, Dp, Dp]`, brought up to date">:$moments,
         Arg<OptionalAttr<Vashista_SummaryAttr>, "which summary is kept">:$summary,
         Arg<OptionalAttr<Vashista_SketchAttr>, "which sketch is kept">:$sketch),
    LayoutArg);
  let assemblyFormat = [{
    `key` `(` $key `)` `value` `(` $value `)` `at` `(` $positions `)`
    `table` `(` $page_table `)` (`rows` `(` $row_to_seq^ `)`)?
    `into` `(` $k_cache `,` $v_cache `)`
    (`summary` $summary^ `` `(` $summary_parts `)`)?
    (`norms` `(` $norms^ `)`)?
    (`sketch` $sketch^ `` `(` $sketch_parts `)`)?
    (`moments` `(` $moments^ `)`)?
    (`layout` `` $layout^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

//===----------------------------------------------------------------------===//
// Checking what a caller can get wrong
//===----------------------------------------------------------------------===//

/// What every check says of its rows.
defvar FaultsResult = (outs
  Res<TensorRankOf<[I32], [2]>, "what, place, got, limit of each row's first fault, or zeros `[R, 4]`">:$faults);

def Vashista_CheckTableOp : Vashista_TensorOp<"check_table", [Pure]> {
  let summary = "empties the rows whose lengths or page ids are out of range";
  let description = [{
    For each row, in this order: its page table row is 0 to B - 1, its length is
    0 to `M * page_size`, and the pages of its first length tokens are 0 to
    `num_pages - 1`. What follows them in the table is not looked at. A row for
    which that does not hold gets the length 0 and the page table row 0, which
    ops take as an empty sequence; the others keep theirs. Whatever the operands
    hold, nothing out of range is read.

    Row r of `faults` is zeros where the row is well; else it says what was found
    first, as (what, place, got, limit): the number of a kind of fault, the index
    within the row of the tensor that is at fault, what is there, and the
    largest that would be accepted, or 2^31 - 1 where that is more.

    | what | at fault | place |
    |---|---|---|
    | 1 | page table row | 0 |
    | 2 | length | 0 |
    | 3 | page id | logical page |
    | 4 | position | 0 |
    | 5 | count of a list | KV head |
    | 6 | entry of a list | KV head times capacity, plus number of the entry |

    What is accepted and what is found first is what the runtime verifies and
    reports in checked mode, on the host and before a call. This is on the device,
    within a step, for each row by itself: a step that was captured in a graph is
    checked at each replay, and one bad row leaves the others alone.

    ```mlir
    func.func @check_table(%table: tensor<4x?xi32>, %lens: tensor<4xi32>,
                           %num_pages: index)
        -> (tensor<4xi32>, tensor<4x4xi32>) {
      %checked, %faults = vashista.check_table %table lens(%lens)
          num_pages %num_pages page_size 16
          : (tensor<4x?xi32>, tensor<4xi32>, index)
          -> (tensor<4xi32>, tensor<4x4xi32>)
      return %checked, %faults : tensor<4xi32>, tensor<4x4xi32>
    }
    ```

    Constraints:
    * `check_table_c1`: dimensions of the same name agree.
    * `check_table_c2`: `page_size` is 1 to 2^31 - 1.
    * `check_table_c3`: results have the inferred types `[R]`, with rows twice,
      and `[R, 4]`, i32.
  }];
  let arguments = !con(KvTableArgs, (ins
    Arg<Index, "physical pages N">:$num_pages,
    Arg<I64Attr, "tokens per page S">:$page_size));
  let results = !con((outs
    Res<Vashista_PerRow, "visible tokens, 0 of a row at fault `[R]`">:$lens,
    Res<Optional<Vashista_PerRow>, "page table rows, 0 of a row at fault `[R]`">:$rows),
    FaultsResult);
  let assemblyFormat = [{
    $page_table `lens` `(` $seq_lens `)` (`rows` `(` $row_to_seq^ `)`)?
    `num_pages` $num_pages `page_size` $page_size
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_CheckPositionsOp : Vashista_TensorOp<"check_positions", [Pure]> {
  let summary = "skips the rows whose positions or pages are out of range";
  let description = [{
    `check_table` for who writes one token per row. For each row, in this order:
    its page table row is 0 to B - 1, and its position is negative or less than
    `M * page_size` and in a page that is 0 to `num_pages - 1`. A row for which
    that does not hold gets the position -1, which skips it, and the page table
    row 0. `faults` is as `check_table` has it.

    ```mlir
    func.func @check_positions(%positions: tensor<4xi32>,
                               %table: tensor<4x?xi32>, %num_pages: index)
        -> (tensor<4xi32>, tensor<4x4xi32>) {
      %checked, %faults = vashista.check_positions %positions table(%table)
          num_pages %num_pages page_size 16
          : (tensor<4xi32>, tensor<4x?xi32>, index)
          -> (tensor<4xi32>, tensor<4x4xi32>)
      return %checked, %faults : tensor<4xi32>, tensor<4x4xi32>
    }
    ```

    Constraints:
    * `check_positions_c1`: dimensions of the same name agree.
    * `check_positions_c2`: `page_size` is 1 to 2^31 - 1.
    * `check_positions_c3`: results have the inferred types `[R]`, with rows
      twice, and `[R, 4]`, i32.
  }];
  let arguments = (ins
    Arg<Vashista_PerRow, "position of each new token, or negative `[R]`">:$positions,
    Arg<Vashista_PageTable, "physical page of each logical page of a sequence `[B, M]`">:$page_table,
    Arg<Optional<Vashista_PerRow>, "page table row of each row `[R]`; default: row r has table row r">:$row_to_seq,
    Arg<Index, "physical pages N">:$num_pages,
    Arg<I64Attr, "tokens per page S">:$page_size);
  let results = !con((outs
    Res<Vashista_PerRow, "positions, -1 of a row at fault `[R]`">:$at,
    Res<Optional<Vashista_PerRow>, "page table rows, 0 of a row at fault `[R]`">:$rows),
    FaultsResult);
  let assemblyFormat = [{
    $positions `table` `(` $page_table `)` (`rows` `(` $row_to_seq^ `)`)?
    `num_pages` $num_pages `page_size` $page_size
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_CheckListOp : Vashista_TensorOp<"check_list", [Pure]> {
  let summary = "empties the lists of the rows that name what is not visible";
  let description = [{
    For each row: its length is not negative; then for each KV head, in order,
    its count is 0 to C, and each of its first count entries is negative, which
    names nothing, or visible: a token below the row's length, a page below
    `ceil(length / page_size)`. Without counts all entries are looked at. A row
    for which that does not hold gets counts of 0 for all KV heads, which is an
    empty list; the others keep theirs, or get C where there were none. The list
    itself is not copied: who reads it reads as many entries as the counts say.
    `faults` is as `check_table` has it.

    Lengths that `check_table` has emptied leave no entry visible: a row that is
    at fault there, and lists anything, is at fault here as well.

    ```mlir
    func.func @check_list(%tokens: tensor<4x8x128xi32>, %n: tensor<4x8xi32>,
                          %lens: tensor<4xi32>)
        -> (tensor<4x8xi32>, tensor<4x4xi32>) {
      %count, %faults = vashista.check_list tokens of(%tokens, %n) lens(%lens)
          page_size 16
          : (tensor<4x8x128xi32>, tensor<4x8xi32>, tensor<4xi32>)
          -> (tensor<4x8xi32>, tensor<4x4xi32>)
      return %count, %faults : tensor<4x8xi32>, tensor<4x4xi32>
    }
    ```

    Constraints:
    * `check_list_c1`: dimensions of the same name agree.
    * `check_list_c2`: `page_size` is 1 to 2^31 - 1.
    * `check_list_c3`: results have the inferred types `[R, Hkv]` and `[R, 4]`,
      i32.
  }];
  let arguments = (ins
    Arg<Vashista_List, "logical pages or tokens `[R, Hkv, C]`">:$list,
    Arg<Optional<Vashista_PerKvHead>, "how many of them `[R, Hkv]`; default: all">:$list_count,
    Arg<Vashista_PerRow, "visible tokens of each row `[R]`">:$seq_lens,
    Arg<Vashista_SlotUnitAttr, "what an entry names">:$unit,
    Arg<I64Attr, "tokens per page S">:$page_size);
  let results = !con((outs
    Res<Vashista_PerKvHead, "how many to read, 0 of a row at fault `[R, Hkv]`">:$count),
    FaultsResult);
  let assemblyFormat = [{
    $unit `of` `(` $list (`,` $list_count^)? `)` `lens` `(` $seq_lens `)`
    `page_size` $page_size attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Scoring and picking
//===----------------------------------------------------------------------===//

def Vashista_ScoreOp : Vashista_TensorOp<"score",
    [AttrSizedOperandSegments, NoMemoryEffect]> {
  let summary = "logits, and bounds of logits, for a direction";
  let description = [{
    Scores every slot of each row's sequence against a direction, separately for
    each query head: one slot per page from a page summary, one per token from
    a key sketch or from exact keys, in the whole sequence or `within` given
    pages (slot `p * S + i` is token i of the p-th listed page).

    `scores` holds logits or estimates of them, `bounds` upper bounds of the
    true logits of all that a slot stands for: +inf for a source without bounds
    (`mean`, `mean_std`), equal to the scores for `box`, `ball` and exact keys, whose
    rounding `certify` covers. A bound that overflows to -inf is +inf.
    Invisible slots hold -inf in both. The soft cap is applied to both (it is
    monotone).

    ```mlir
    func.func @score_pages(
        %q: tensor<4x32x128xbf16>, %lo: tensor<?x8x128xbf16>,
        %hi: tensor<?x8x128xbf16>, %table: tensor<4x256xi32>,
        %lens: tensor<4xi32>) -> (tensor<4x32x256xf32>, tensor<4x32x256xf32>) {
      %scores, %bounds = vashista.score %q
          from #vashista.summary<box>(%lo, %hi) table(%table) lens(%lens)
          page_size 16 scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x128xbf16>,
             tensor<4x256xi32>, tensor<4xi32>)
          -> (tensor<4x32x256xf32>, tensor<4x32x256xf32>)
      return %scores, %bounds : tensor<4x32x256xf32>, tensor<4x32x256xf32>
    }
    ```

    Constraints:
    * `score_c1`: dimensions of the same name agree.
    * `score_c2`: query heads are a positive multiple of KV heads.
    * `score_c3`: the tensors after `from` are those that its attribute lists,
      with its element types.
    * `score_c4`: the page size is static, 1 to 2^31 - 1.
    * `score_c5`: `within` goes with a source of tokens.
    * `score_c6`: `scale`, `soft_cap` and `epsilon` are positive normal f32 numbers.
    * `score_c7`: results have the inferred types: `[R, H, M]` for pages,
      `[R, H, M * S]` for tokens, `[R, H, P * S]` within P pages, f32.
    * `score_c8`: a count goes with its list.
    * `score_c9`: `page_size` is given for a source of pages, 1 to 2^31 - 1, and
      only then: the tensors of other sources have it.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "direction `[R, H, D]`">:$direction,
         Arg<Variadic<AnyRankedTensor>, "tensors of the source">:$parts),
    KvTableArgs, WithinArgs,
    (ins Arg<Vashista_KeySource, "what the direction is scored against">:$from,
         Arg<OptionalAttr<I64Attr>, "tokens per page S, where a summary does not say">:$page_size),
    LogitArgs, TemperatureArg, ScheduleArg);
  let results = (outs
    Res<Vashista_Scores, "logits or estimates `[R, H, L]`">:$scores,
    Res<Vashista_Scores, "upper bounds of the true logits `[R, H, L]`">:$bounds);
  let assemblyFormat = [{
    $direction `from` $from `` `(` $parts `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`within` `(` $pages^ (`,` $page_count^)? `)`)?
    (`page_size` $page_size^)? `scale` $scale (`soft_cap` $soft_cap^)? (`epsilon` $epsilon^)?
    (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def Vashista_MomentOp : Vashista_TensorOp<"moment",
    [Pure]> {
  let summary = "how far the scores of a sketch are off, squared and summed up";
  let description = [{
    `moment[r, h]` is at least the sum, over the tokens j that the row sees, of
    `(x_j - s_j)^2`: the squared differences of logits and of the scores that
    `score` takes from the sketch with the same direction, scale and
    temperature, without a soft cap. With M what `summarize` and `append` keep for
    the row's sequence and KV head, and w' the rotated direction, it is `(scale /
    epsilon)^2 w' M w'`, rounded up. A row that sees nothing has 0; what is not
    finite gives +inf, as does a sequence that is not there: `rows` may hold
    anything.

    A bound of each logit says how far one token may be off; this says that not
    all can be: it is what `pick` needs to tell how much it leaves out.

    ```mlir
    func.func @moment(%q: tensor<4x32x128xbf16>,
                      %moments: tensor<4x8x128x128xf32>,
                      %lens: tensor<4xi32>) -> tensor<4x32xf32> {
      %moment = vashista.moment %q of(%moments)
          sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
          lens(%lens) scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<4x8x128x128xf32>, tensor<4xi32>)
          -> tensor<4x32xf32>
      return %moment : tensor<4x32xf32>
    }
    ```

    Source: docs/theory.md, section 3.

    Constraints:
    * `moment_c1`: dimensions of the same name agree.
    * `moment_c2`: query heads are a positive multiple of KV heads.
    * `moment_c3`: `scale` and `epsilon` are positive normal f32 numbers.
    * `moment_c4`: the result has the inferred type `[R, H]`, f32.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "direction `[R, H, D]`">:$direction,
         Arg<Vashista_Moments, "second moments of the sketch `[B, Hkv, Dp, Dp]`">:$moments,
         Arg<Vashista_PerRow, "visible tokens of each row `[R]`">:$seq_lens,
         Arg<Optional<Vashista_PerRow>, "sequence of each row `[R]`; default: row r has sequence r">:$row_to_seq,
         Arg<Vashista_SketchAttr, "the sketch">:$sketch,
         Arg<F32Attr, "factor of every logit, usually `1 / sqrt(D)`">:$scale),
    TemperatureArg);
  let results = (outs
    Res<Vashista_PerHead, "upper bound of the sum of squares `[R, H]`">:$moment);
  let assemblyFormat = [{
    $direction `of` `(` $moments `)` `sketch` $sketch
    `lens` `(` $seq_lens `)` (`rows` `(` $row_to_seq^ `)`)?
    `scale` $scale (`epsilon` $epsilon^)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def Vashista_PickOp : Vashista_TensorOp<"pick",
    [AttrSizedOperandSegments, Pure]> {
  let summary = "from scores to a list of pages or tokens, and a bound of the rest";
  let description = [{
    One list per row and KV head, shared by the G query heads of the group: the
    union only adds mass, so each head's tail stays sound.

    Slots are ranked by `max_h (score_h + log n - ref_h)` over the heads h of
    the group, where n counts the visible tokens of a slot and `ref_h` is the
    log-sum-exp of head h's `score + log n` over the slots that can be picked:
    raw scores would starve heads of small norm. A NaN score counts as -inf for
    its head. Sinks and the window come first and count towards the budget.

    * `top` picks the best `budget` slots.
    * `proving` picks what the proof of a tolerance needs. The heads of the group
      follow each other: each picks its slots in the order of their bounds, the
      highest first, until its left-over *bound* is at most `tolerance` of the
      whole, against the *estimated* mass of what is picked by then (also by the
      heads before it) plus `attended`; none where that holds already. Bounds are
      compared in steps of 1/32 below the head's highest; a step is picked whole.
      255/256 of the tolerance is aimed at, which leaves room for rounding that
      `certify` adds. Where that is more than `budget`, the best by rank. A slot
      whose bound is +inf or NaN is always picked. So is every
      slot for a head with a score that is NaN, of which nothing can be proved.

    One kernel for a proving pick and its `attend` (`fuse` of the latter's schedule)
    cuts a sequence in chunks, each of which picks by itself what its own tolerance
    needs, of the whole and the mass that it has, so that their sums prove that of the
    sequence: more slots than are enough. A chunk has its share of the budget, by its
    slots; where its heads need more together, each picks as many as fit of an equal
    share of that, the highest bounds first. `count` is that of all chunks, and may be
    above the budget by sinks, window and what has no bound, for which chunks have
    no share.

    `tail[r, h] = log( exp(outside) + sum over visible slots that are neither
    picked nor taken of n exp(bound_h) )`: -inf when nothing is left out, +inf
    when a left-out bound is +inf or NaN, or a score of head h is NaN.

    With a `moment` that is at least the sum of `(logit - score)^2` over the
    slots (of tokens), the sum over what is left out is replaced by the smaller

        sum m + sqrt(moment sum m^2) + moment t + sum max(0, m (exp(B) - 1 - B) - t B^2)

    with `m = exp(score)`, `B = bound - score` and a threshold t: any t >= 0 gives an
    upper bound, and the one that is taken is close to the best. A proof needs as
    much as this says, about; a kernel that cannot foresee it picks what bounds
    alone need, which is more. A moment that is not finite bounds nothing: +inf
    where anything is left out.

    ```mlir
    func.func @pick(%scores: tensor<4x32x256xf32>, %bounds: tensor<4x32x256xf32>,
                    %lens: tensor<4xi32>)
        -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>) {
      %ids, %count, %tail = vashista.pick top 64 pages of(%scores, %bounds)
          lens(%lens) kv_heads 8 page_size 16 sinks 4 window 64
          : (tensor<4x32x256xf32>, tensor<4x32x256xf32>, tensor<4xi32>)
          -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>)
      return %ids, %count, %tail
          : tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>
    }
    ```

    Constraints:
    * `pick_c1`: dimensions of the same name agree.
    * `pick_c2`: query heads are a positive multiple of `kv_heads`.
    * `pick_c3`: `budget` is 0 to 2^31 - 1, and holds the sinks and the window
      (a window of w tokens touches up to `(w + S - 2) / S + 1` pages).
    * `pick_c4`: `page_size` is 1 to 2^31 - 1; `sinks` and `window` are 0 to
      2^31 - 1.
    * `pick_c5`: `proving` has a tolerance between 0 and 1; `top` has none, and
      no `attended`.
    * `pick_c6`: `within` goes with tokens, and then L is `P * page_size`.
    * `pick_c7`: results have the inferred types `[R, kv_heads, budget]` i32,
      `[R, kv_heads]` i32 and `[R, H]` f32.
    * `pick_c8`: a count goes with its list.
    * `pick_c9`: `moment` goes with tokens.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Scores, "logits or estimates `[R, H, L]`">:$scores,
         Arg<Vashista_Scores, "upper bounds of the true logits `[R, H, L]`">:$bounds,
         Arg<Vashista_PerRow, "visible tokens of each row `[R]`">:$seq_lens,
         Arg<Optional<Vashista_List>, "the pages that were scored within `[R, Hkv, P]`">:$pages,
         Arg<Optional<Vashista_PerKvHead>, "how many of them `[R, Hkv]`">:$page_count),
    ChainArgs,
    (ins Arg<Optional<Vashista_PerHead>, "upper bound of the sum of squared differences of logits and scores `[R, H]`">:$moment,
         Arg<Vashista_PickModeAttr, "how the budget is spent">:$mode,
         Arg<I64Attr, "capacity of the list">:$budget,
         Arg<Vashista_SlotUnitAttr, "what a score stands for">:$unit,
         Arg<I64Attr, "KV heads Hkv">:$kv_heads,
         Arg<I64Attr, "tokens per page S">:$page_size,
         Arg<DefaultValuedAttr<I64Attr, "0">, "first tokens that are always picked">:$sinks,
         Arg<DefaultValuedAttr<I64Attr, "0">, "last tokens that are always picked">:$window,
         Arg<OptionalAttr<F32Attr>, "share of the mass that may be left out">:$tolerance),
    ScheduleArg);
  let results = (outs
    Res<Vashista_List, "logical pages or tokens, ascending, -1 padded `[R, Hkv, budget]`">:$ids,
    Res<Vashista_PerKvHead, "how many are picked `[R, Hkv]`">:$count,
    Res<Vashista_PerHead, "log of an upper bound of the mass left out `[R, H]`">:$tail);
  let assemblyFormat = [{
    `` $mode $budget `` $unit `of` `(` $scores `,` $bounds `)` `lens` `(` $seq_lens `)`
    (`within` `(` $pages^ (`,` $page_count^)? `)`)?
    (`taken` `(` $taken^ `)`)? (`outside` `(` $outside^ `)`)?
    (`attended` `(` $attended^ `)`)? (`moment` `(` $moment^ `)`)?
    `kv_heads` $kv_heads `page_size` $page_size
    (`sinks` $sinks^)? (`window` $window^)? (`tolerance` $tolerance^)?
    (`schedule` $schedule^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_RouteOp : Vashista_TensorOp<"route",
    [AttrSizedOperandSegments, NoMemoryEffect,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "paged routing: picks pages by their summaries";
  let description = [{
    `score` of every page of the row's sequence from a page summary, then `pick`
    of `pages` of them. Frank-Wolfe's linear oracle is this op with the residual
    as its direction.

    ```mlir
    func.func @route(%q: tensor<4x32x128xbf16>, %mean: tensor<?x8x128xbf16>,
                     %std: tensor<?x8x128xbf16>, %table: tensor<4x?xi32>,
                     %lens: tensor<4xi32>)
        -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>) {
      %pages, %count, %tail = vashista.route %q
          from <mean_std>(%mean, %std) table(%table) lens(%lens)
          top 64 page_size 16 sinks 4 window 64 scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x128xbf16>,
             tensor<4x?xi32>, tensor<4xi32>)
          -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>)
      return %pages, %count, %tail
          : tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>
    }
    ```

    Constraints:
    * `route_c1`: dimensions of the same name agree.
    * `route_c2`: query heads are a positive multiple of KV heads.
    * `route_c3`: the tensors after `from` are those that its attribute lists,
      with its element types.
    * `route_c4`: `page_size` is 1 to 2^31 - 1; `sinks` and `window` are 0 to
      2^31 - 1.
    * `route_c5`: `budget` is 0 to 2^31 - 1, and holds the sinks and the window.
    * `route_c6`: `proving` has a tolerance between 0 and 1; `top` has none, and
      no `attended`.
    * `route_c7`: `scale`, `soft_cap` and `epsilon` are positive normal f32 numbers.
    * `route_c8`: results have the inferred types `[R, Hkv, budget]` i32,
      `[R, Hkv]` i32 and `[R, H]` f32.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "direction `[R, H, D]`">:$direction,
         Arg<Variadic<AnyRankedTensor>, "tensors of the summary">:$parts),
    KvTableArgs, ChainArgs,
    (ins Arg<Vashista_SummaryAttr, "the page summary">:$from,
         Arg<Vashista_PickModeAttr, "how the budget is spent">:$mode,
         Arg<I64Attr, "pages per KV head: capacity of the list">:$budget,
         Arg<I64Attr, "tokens per page S">:$page_size,
         Arg<DefaultValuedAttr<I64Attr, "0">, "first tokens whose pages are always picked">:$sinks,
         Arg<DefaultValuedAttr<I64Attr, "0">, "last tokens whose pages are always picked">:$window,
         Arg<OptionalAttr<F32Attr>, "share of the mass that may be left out">:$tolerance),
    LogitArgs, TemperatureArg, ScheduleArg);
  let results = (outs
    Res<Vashista_List, "logical pages, ascending, -1 padded `[R, Hkv, budget]`">:$ids,
    Res<Vashista_PerKvHead, "how many are picked `[R, Hkv]`">:$count,
    Res<Vashista_PerHead, "log of an upper bound of the mass left out `[R, H]`">:$tail);
  let assemblyFormat = [{
    $direction `from` $from `` `(` $parts `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`taken` `(` $taken^ `)`)? (`outside` `(` $outside^ `)`)?
    (`attended` `(` $attended^ `)`)?
    `` $mode $budget `page_size` $page_size (`sinks` $sinks^)? (`window` $window^)?
    (`tolerance` $tolerance^)?
    `scale` $scale (`soft_cap` $soft_cap^)? (`epsilon` $epsilon^)?
    (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_SelectOp : Vashista_TensorOp<"select",
    [AttrSizedOperandSegments, NoMemoryEffect,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "candidate selection: picks tokens by a sketch or by exact keys";
  let description = [{
    `score` of every token, `within` routed pages or everywhere, then `pick` of
    `budget` of them. With the `moments` of a sketch, `moment` tells the pick how
    far its scores are off together.

    ```mlir
    func.func @select(%q: tensor<4x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
                      %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
                      %pages: tensor<4x8x64xi32>, %n: tensor<4x8xi32>,
                      %page_tail: tensor<4x32xf32>)
        -> (tensor<4x8x128xi32>, tensor<4x8xi32>, tensor<4x32xf32>) {
      %tokens, %count, %tail = vashista.select %q
          from #vashista.keys<hnd>(%k) table(%table) lens(%lens)
          within(%pages, %n) outside(%page_tail)
          top 128 sinks 4 window 64 scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>, tensor<4x?xi32>,
             tensor<4xi32>, tensor<4x8x64xi32>, tensor<4x8xi32>,
             tensor<4x32xf32>)
          -> (tensor<4x8x128xi32>, tensor<4x8xi32>, tensor<4x32xf32>)
      return %tokens, %count, %tail
          : tensor<4x8x128xi32>, tensor<4x8xi32>, tensor<4x32xf32>
    }
    ```

    Constraints:
    * `select_c1`: dimensions of the same name agree.
    * `select_c2`: query heads are a positive multiple of KV heads.
    * `select_c3`: the tensors after `from` are those that its attribute lists,
      with its element types.
    * `select_c4`: the source scores tokens (keys or a sketch).
    * `select_c5`: the page size is static, 1 to 2^31 - 1; `sinks` and `window`
      are 0 to 2^31 - 1.
    * `select_c6`: `budget` is 0 to 2^31 - 1, and holds the sinks and the window.
    * `select_c7`: `proving` has a tolerance between 0 and 1; `top` has none,
      and no `attended`.
    * `select_c8`: `scale`, `soft_cap` and `epsilon` are positive normal f32 numbers.
    * `select_c9`: results have the inferred types `[R, Hkv, budget]` i32,
      `[R, Hkv]` i32 and `[R, H]` f32.
    * `select_c10`: a count goes with its list.
    * `select_c11`: `moments` go with a sketch, and with no soft cap.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "direction `[R, H, D]`">:$direction,
         Arg<Variadic<AnyRankedTensor>, "tensors of the source">:$parts),
    KvTableArgs, WithinArgs, ChainArgs,
    (ins Arg<Optional<Vashista_Moments>, "second moments of the sketch `[B, Hkv, Dp, Dp]`">:$moments,
         Arg<Vashista_KeySource, "keys or a sketch">:$from,
         Arg<Vashista_PickModeAttr, "how the budget is spent">:$mode,
         Arg<I64Attr, "tokens per KV head: capacity of the list">:$budget,
         Arg<DefaultValuedAttr<I64Attr, "0">, "first tokens that are always picked">:$sinks,
         Arg<DefaultValuedAttr<I64Attr, "0">, "last tokens that are always picked">:$window,
         Arg<OptionalAttr<F32Attr>, "share of the mass that may be left out">:$tolerance),
    LogitArgs, TemperatureArg, ScheduleArg);
  let results = (outs
    Res<Vashista_List, "logical positions, ascending, -1 padded `[R, Hkv, budget]`">:$ids,
    Res<Vashista_PerKvHead, "how many are picked `[R, Hkv]`">:$count,
    Res<Vashista_PerHead, "log of an upper bound of the mass left out `[R, H]`">:$tail);
  let assemblyFormat = [{
    $direction `from` $from `` `(` $parts `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`within` `(` $pages^ (`,` $page_count^)? `)`)?
    (`taken` `(` $taken^ `)`)? (`outside` `(` $outside^ `)`)?
    (`attended` `(` $attended^ `)`)? (`moments` `(` $moments^ `)`)?
    `` $mode $budget (`sinks` $sinks^)? (`window` $window^)?
    (`tolerance` $tolerance^)?
    `scale` $scale (`soft_cap` $soft_cap^)? (`epsilon` $epsilon^)?
    (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Attending
//===----------------------------------------------------------------------===//

def Vashista_AttendOp : Vashista_DestinationOp<"attend", [
    DeclareOpInterfaceMethods<TilingInterface, [
      "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
      "getResultTilePosition", "generateResultTileValue",
      "getIterationDomainTileFromResultTile"]>,
    DeclareOpInterfaceMethods<PartialReductionOpInterface, [
      "generateInitialTensorForPartialReduction", "tileToPartialReduction",
      "mergeReductions", "getPartialResultTilePosition"]>]> {
  let summary = "the state of attention over tokens, over pages or over everything";
  let description = [{
    Merges the attention state of a set of tokens into `outs(o, lse)`: the
    `tokens` of a list, all tokens of listed `pages`, or the whole sequence. The
    identity is `o = 0`, `lse = -inf`. An optional `range(begin, end)` restricts
    the op to the slots `[begin, end)` of its list (or of the sequence, in
    tokens; of `pages`, in tokens too), so that it can be split and tiled. A
    list must not name a token twice.

    Iteration space: `(R, Hkv, slots)`, the last a reduction. Tiles of it merge
    into the same state; a partial reduction makes one state per split, joined
    by `vashista.merge`.

    A projection solver solves over its whole set at once. It has no range, its
    slots do not tile, and it merges with nothing: the projection over a union is
    not a merge of two. `outs` has two more tensors, and all four are overwritten:

    * o and lse: the state of the solver's weights. lse is the log-sum-exp of the
      logits *at the direction* and, for epsilon = 0, their maximum (`scale <w,
      k>`, undivided).
    * the direction `[R, H, D]`: the residual `r = q - y` in f32, y the weighted
      sum of keys.
    * the gap `[R, H]`: the duality gap of the weights and the direction on the
      attended set, for keys and queries times `sqrt(scale)`. It is rounded
      upwards and covers the rounding of the solver itself: `sqrt(scale) norm(y -
      y_C) <= sqrt(gap)` for the solution y_C of the set, y being `q - direction`.

    The heads of a group walk over the keys together, at most `iterations + 2`
    times. A head stops where its gap meets the tolerance. `eg` counts a step that
    it takes back as an iteration too. A gap of +inf says that nothing is known,
    where anything is NaN or infinite. Of an empty set o = 0, lse = -inf, the
    direction is the query and the gap is 0.

    ```mlir
    func.func @attend(%q: tensor<4x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
                      %v: tensor<?x8x16x128xbf16>, %table: tensor<4x?xi32>,
                      %lens: tensor<4xi32>, %tokens: tensor<4x8x128xi32>,
                      %n: tensor<4x8xi32>, %o0: tensor<4x32x128xf32>,
                      %lse0: tensor<4x32xf32>)
        -> (tensor<4x32x128xf32>, tensor<4x32xf32>) {
      %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table)
          lens(%lens) tokens(%tokens, %n) outs(%o0, %lse0) scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
             tensor<?x8x16x128xbf16>, tensor<4x?xi32>, tensor<4xi32>,
             tensor<4x8x128xi32>, tensor<4x8xi32>, tensor<4x32x128xf32>,
             tensor<4x32xf32>) -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
      return %o, %lse : tensor<4x32x128xf32>, tensor<4x32xf32>
    }
    ```

    Constraints:
    * `attend_c1`: dimensions of the same name agree.
    * `attend_c2`: query heads are a positive multiple of KV heads.
    * `attend_c3`: the page size is static, 1 to 2^31 - 1.
    * `attend_c4`: all shaped operands are tensors, or all are memrefs.
    * `attend_c5`: at most one of `pages` and `tokens` is given.
    * `attend_c6`: `outs` are o and lse, and for a projection direction and gap,
      f32.
    * `attend_c7`: a projection has no `range`.
    * `attend_c8`: `scale` is a positive normal f32, `soft_cap` likewise; a
      projection has no soft cap.
    * `attend_c9`: a count goes with its list, and the end of a range with its
      beginning.
  }];
  let arguments = !con(
    (ins Arg<Vashista_VectorsBuf, "queries `[R, H, D]`">:$query,
         Arg<Vashista_CacheBuf, "K cache `[N, Hkv, S, D]` (hnd) or `[N, S, Hkv, D]` (nhd)">:$k_cache,
         Arg<Vashista_CacheBuf, "V cache, likewise with `Dv`">:$v_cache),
    KvTableBufArgs,
    (ins Arg<Optional<Vashista_ListBuf>, "logical pages to attend `[R, Hkv, P]`">:$pages,
         Arg<Optional<Vashista_PerKvHeadBuf>, "how many of them `[R, Hkv]`">:$page_count,
         Arg<Optional<Vashista_ListBuf>, "logical positions to attend `[R, Hkv, C]`">:$tokens,
         Arg<Optional<Vashista_PerKvHeadBuf>, "how many of them `[R, Hkv]`">:$token_count,
         Arg<Optional<Index>, "first slot">:$begin,
         Arg<Optional<Index>, "slot after the last">:$end,
         Arg<Variadic<Vashista_AnyBuf>, "o `[R, H, Dv]`, lse `[R, H]`; for a projection direction `[R, H, D]`, gap `[R, H]`">:$outs),
    LogitArgs, SolverArg, LayoutArg, ScheduleArg);
  let assemblyFormat = [{
    $query `keys` `(` $k_cache `)` `values` `(` $v_cache `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`pages` `(` $pages^ (`,` $page_count^)? `)`)?
    (`tokens` `(` $tokens^ (`,` $token_count^)? `)`)?
    (`range` `(` $begin^ `,` $end `)`)?
    `outs` `(` $outs `)` `scale` $scale (`soft_cap` $soft_cap^)?
    (`solver` $solver^)? (`layout` `` $layout^)? (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutsMutable(); }
    /// Query heads per KV head, or kDynamic.
    int64_t getGroupSize();
    /// Whether the operand is written without being read: the destinations of
    /// a projection.
    bool isOverwritten(::mlir::OpOperand &operand) {
      return getSolver().isProjection() && isDpsInit(&operand);
    }
  }];
}

def Vashista_MergeOp : Vashista_TensorOp<"merge",
    [AttrSizedOperandSegments, Pure]> {
  let summary = "joins states of disjoint sets of tokens";
  let description = [{
    `lse = log sum_k exp(lse_k)`, `o = sum_k exp(lse_k - lse) o_k`; empty states
    (`o_k = 0`, `lse_k = -inf`) have no influence, and the merge of empty states
    is empty. An operand may be a stack of states with a leading
    dimension. A merge with empty states is exact, and a merge of one state is that
    state; any order agrees to rounding.

    ```mlir
    func.func @merge(%o1: tensor<4x32x128xf32>, %lse1: tensor<4x32xf32>,
                     %splits: tensor<8x4x32x128xf32>, %lses: tensor<8x4x32xf32>)
        -> (tensor<4x32x128xf32>, tensor<4x32xf32>) {
      %o, %lse = vashista.merge outputs(%o1, %splits) lses(%lse1, %lses)
          : (tensor<4x32x128xf32>, tensor<8x4x32x128xf32>, tensor<4x32xf32>,
             tensor<8x4x32xf32>) -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
      return %o, %lse : tensor<4x32x128xf32>, tensor<4x32xf32>
    }
    ```

    Constraints:
    * `merge_c1`: dimensions of the same name agree, those of the stack within
      one state.
    * `merge_c2`: there is at least one state, and an lse for each output.
    * `merge_c3`: the lse of a stack `[K, R, H, Dv]` is `[K, R, H]`, of a single
      state `[R, H]`.
    * `merge_c4`: results have the inferred types `[R, H, Dv]` and `[R, H]`, f32.
  }];
  let arguments = (ins
    Arg<Variadic<TensorRankOf<[F32], [3, 4]>>, "outputs `[R, H, Dv]` or `[K, R, H, Dv]`">:$outputs,
    Arg<Variadic<TensorRankOf<[F32], [2, 3]>>, "their log-sum-exps `[R, H]` or `[K, R, H]`">:$lses);
  let results = (outs
    Res<Vashista_State, "output `[R, H, Dv]`">:$o,
    Res<Vashista_PerHead, "log-sum-exp `[R, H]`">:$lse);
  let assemblyFormat = [{
    `outputs` `(` $outputs `)` `lses` `(` $lses `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_MergeTailsOp : Vashista_TensorOp<"merge_tails", [Pure]> {
  let summary = "joins the tails of disjoint sets of tokens";
  let description = [{
    `tail = log sum_k exp(tail_k)`, rounded up: where each tail bounds what one
    part of a sequence left out, the result bounds what all of them did. Parts
    are shards of a sequence, each of which attends to its own tokens; their
    states are joined by `merge`, and `certify` is asked about what is joined.
    An operand may be a stack of tails with a leading dimension.

    A tail of -inf adds nothing, and where at most one is left the result is
    that one, exactly. A tail of +inf or NaN bounds nothing, nor does any merge
    with it: +inf.

    ```mlir
    func.func @merge_tails(%tail: tensor<4x32xf32>, %shards: tensor<8x4x32xf32>)
        -> tensor<4x32xf32> {
      %all = vashista.merge_tails %tail, %shards
          : (tensor<4x32xf32>, tensor<8x4x32xf32>) -> tensor<4x32xf32>
      return %all : tensor<4x32xf32>
    }
    ```

    Source: docs/theory.md, section 7.

    Constraints:
    * `merge_tails_c1`: dimensions of the same name agree, those of a stack
      aside.
    * `merge_tails_c2`: there is at least one tail.
    * `merge_tails_c3`: the result has the inferred type `[R, H]`, f32.
  }];
  let arguments = (ins
    Arg<Variadic<TensorRankOf<[F32], [2, 3]>>, "tails `[R, H]` or `[K, R, H]`">:$tails);
  let results = (outs
    Res<Vashista_PerHead, "log of an upper bound of the mass left out by all `[R, H]`">:$tail);
  let assemblyFormat = [{
    $tails attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Proving and falling back
//===----------------------------------------------------------------------===//

def Vashista_CertifyOp : Vashista_TensorOp<"certify",
    [AttrSizedOperandSegments, NoMemoryEffect]> {
  let summary = "bounds of the mass and of the output that were missed";
  let description = [{
    For softmax attention, with the direction equal to the query:
    `tau = sigmoid(tail - lse + 2 e)` bounds the share of the mass that was not
    attended and `error = tau (vmax (1 + 2^-8 + 7 e) + norm(o))` the Euclidean norm
    of what that changes in o, beside the rounding that any o has: the factor of
    vmax covers what it does to norm(o). `e` bounds the rounding of
    logits and of the lse: it comes from the norms of the direction and of the row's
    keys and from its number of tokens. vmax is the row's largest value norm. Both
    norms are maxima over the row's pages.

    With a projection solver the direction is the solver's residual and `gap` its
    duality gap on the attended set. `full_gap` bounds the gap of the solver's
    weights among all keys: `sqrt(scale) norm(y - y_full) <= sqrt(full_gap)` for y
    = q - direction. It is the most by which a key violates optimality. With an
    entropy, `tau` bounds the total variation distance to the weights of the
    solution over all keys, and `error = 2 tau vmax`. For epsilon = 0 weights are
    not unique: `tau = 1` and `error = +inf`, but for an empty set.

    `tail = -inf` gives 0 and 0 for softmax, and the gap itself for a projection.
    An empty state with something left out or of logits that may have overflowed, a
    logit error above 0.1, a NaN or an infinity anywhere else give `tau = 1`, `error = +inf` and `full_gap = +inf`:
    never less, and a NaN in the state even without a tail. A logit error alone
    leaves `full_gap`, which it widens.

    ```mlir
    func.func @certify(%q: tensor<4x32x128xbf16>, %o: tensor<4x32x128xf32>,
                       %lse: tensor<4x32xf32>, %tail: tensor<4x32xf32>,
                       %norms: tensor<?x8x2xf32>, %table: tensor<4x?xi32>,
                       %lens: tensor<4xi32>)
        -> (tensor<4x32xf32>, tensor<4x32xf32>) {
      %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail)
          norms(%norms) table(%table) lens(%lens) page_size 16
          scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<4x32x128xf32>, tensor<4x32xf32>,
             tensor<4x32xf32>, tensor<?x8x2xf32>, tensor<4x?xi32>,
             tensor<4xi32>) -> (tensor<4x32xf32>, tensor<4x32xf32>)
      return %tau, %error : tensor<4x32xf32>, tensor<4x32xf32>
    }
    ```

    Source: docs/theory.md, sections 4 (softmax) and 5 (projection).

    Constraints:
    * `certify_c1`: dimensions of the same name agree.
    * `certify_c2`: query heads are a positive multiple of KV heads.
    * `certify_c3`: `page_size` is 1 to 2^31 - 1.
    * `certify_c4`: `gap` is given for a projection, and only then.
    * `certify_c5`: `scale` is a positive normal f32, `soft_cap` likewise; a
      projection has no soft cap.
    * `certify_c6`: results have the inferred types `[R, H]`, f32: with a gap
      three, otherwise two.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "direction that the state was attended with `[R, H, D]`">:$direction,
         Arg<Vashista_State, "output of the state `[R, H, Dv]`">:$o,
         Arg<Vashista_PerHead, "log-sum-exp of the state `[R, H]`">:$lse,
         Arg<Vashista_PerHead, "log of an upper bound of the mass left out `[R, H]`">:$tail,
         Arg<Optional<Vashista_PerHead>, "duality gap on the attended set `[R, H]`">:$gap,
         Arg<Vashista_PageNorms, "largest key and value norm per page `[N, Hkv, 2]`">:$norms),
    KvTableArgs,
    (ins Arg<I64Attr, "tokens per page S">:$page_size),
    LogitArgs, SolverArg);
  let results = (outs
    Res<Vashista_PerHead, "upper bound of the share of the mass not attended `[R, H]`">:$tau,
    Res<Vashista_PerHead, "upper bound of the norm of the error of o `[R, H]`">:$error,
    Res<Optional<Vashista_PerHead>, "upper bound of the duality gap among all keys `[R, H]`; of a projection">:$full_gap);
  let assemblyFormat = [{
    $direction `state` `(` $o `,` $lse `)` `tail` `(` $tail `)`
    (`gap` `(` $gap^ `)`)? `norms` `(` $norms `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)? `page_size` $page_size
    `scale` $scale (`soft_cap` $soft_cap^)? (`solver` $solver^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def Vashista_FallbackOp : Vashista_TensorOp<"fallback", [NoMemoryEffect]> {
  let summary = "dense attention for the groups that miss a limit";
  let description = [{
    A (row, KV head) group is flagged unless `measure <= limit` for all of its
    query heads: a NaN is flagged. Flagged groups are attended densely, from the
    original queries and caches; the others pass their state through unchanged.
    The decision stays on the device.

    ```mlir
    func.func @fallback(%q: tensor<4x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
                        %v: tensor<?x8x16x128xbf16>, %table: tensor<4x?xi32>,
                        %lens: tensor<4xi32>, %o: tensor<4x32x128xf32>,
                        %lse: tensor<4x32xf32>, %tau: tensor<4x32xf32>)
        -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x8xi1>) {
      %out, %out_lse, %flag = vashista.fallback %q keys(%k) values(%v)
          table(%table) lens(%lens) state(%o, %lse) unless(%tau) at_most 0.1
          scale 0.0883883461
          : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
             tensor<?x8x16x128xbf16>, tensor<4x?xi32>, tensor<4xi32>,
             tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x32xf32>)
          -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x8xi1>)
      return %out, %out_lse, %flag
          : tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x8xi1>
    }
    ```

    Constraints:
    * `fallback_c1`: dimensions of the same name agree.
    * `fallback_c2`: query heads are a positive multiple of KV heads.
    * `fallback_c3`: the page size is static, 1 to 2^31 - 1.
    * `fallback_c4`: `limit` is finite and not negative.
    * `fallback_c5`: `scale` is a positive normal f32, `soft_cap` likewise; a
      projection has no soft cap.
    * `fallback_c6`: results have the inferred types `[R, H, Dv]` f32, `[R, H]`
      f32 and `[R, Hkv]` i1.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "queries `[R, H, D]`">:$query),
    CacheArgs, KvTableArgs,
    (ins Arg<Vashista_State, "output of the sparse state `[R, H, Dv]`">:$o,
         Arg<Vashista_PerHead, "log-sum-exp of the sparse state `[R, H]`">:$lse,
         Arg<Vashista_PerHead, "what must not exceed the limit `[R, H]`">:$measure,
         Arg<F32Attr, "largest measure to accept">:$limit),
    LogitArgs, SolverArg, LayoutArg, ScheduleArg);
  let results = (outs
    Res<Vashista_State, "output `[R, H, Dv]`">:$out,
    Res<Vashista_PerHead, "log-sum-exp `[R, H]`">:$out_lse,
    Res<TensorRankOf<[I1], [2]>, "whether the group fell back `[R, Hkv]`">:$flag);
  let assemblyFormat = [{
    $query `keys` `(` $k_cache `)` `values` `(` $v_cache `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)? `state` `(` $o `,` $lse `)`
    `unless` `(` $measure `)` `at_most` $limit
    `scale` $scale (`soft_cap` $soft_cap^)?
    (`solver` $solver^)? (`layout` `` $layout^)? (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

def Vashista_AttentionOp : Vashista_TensorOp<"attention",
    [AttrSizedOperandSegments, NoMemoryEffect,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "a decode step of attention under a policy";
  let description = [{
    Routes, selects, attends, certifies, grows and falls back as its policy
    says. Decomposes to the ops that do so.

    `tau` and `error` bound what the sparse state missed: they also hold, not
    tightly, for groups that fell back, whose output is dense. Without a
    tolerance they are 1 and +inf: nothing is proved. For a dense policy they
    are 0. `rounds` counts the times a group's budget was spent.

    A projection is routed by the query first. A later round is column generation:
    it picks at the residual of the latest solution, proving, so that a group is
    left alone once what it has not attended is small enough, and solves anew over
    all lists so far. What is small enough follows from the target: a mass of
    `tolerance^2` (tau) or one that widens the gap by half of `tolerance` (gap);
    the other half is for the solver's own gap.

    ```mlir
    func.func @attention(
        %q: tensor<8x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
        %v: tensor<?x8x16x128xbf16>, %table: tensor<8x?xi32>,
        %lens: tensor<8xi32>, %mean: tensor<?x8x128xbf16>,
        %std: tensor<?x8x128xbf16>) -> tensor<8x32x128xf32> {
      %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
          values(%v) table(%table) lens(%lens) summary <mean_std>(%mean, %std)
          policy <pages = 64, candidates = 128, sinks = 4, window = 64>
          scale 0.0883883461
          : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
             tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
             tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
          -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
              tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
      return %o : tensor<8x32x128xf32>
    }
    ```

    Constraints:
    * `attention_c1`: dimensions of the same name agree.
    * `attention_c2`: query heads are a positive multiple of KV heads.
    * `attention_c3`: the page size is static, 1 to 2^31 - 1.
    * `attention_c4`: the tensors after `summary` and `sketch` are those that
      the attribute lists, with its element types.
    * `attention_c5`: a policy with pages needs a summary, and one without takes
      none.
    * `attention_c6`: a policy with candidates may have a sketch, and one
      without takes none.
    * `attention_c7`: `norms` are given when the policy has a tolerance (and is
      not dense), and only then.
    * `attention_c8`: the page budget holds the pages of the sinks and window.
    * `attention_c9`: `scale` is a positive normal f32, `soft_cap` likewise; a
      projection has no soft cap.
    * `attention_c10`: a projection has `pick = top`.
    * `attention_c11`: results have the inferred types `[R, H, Dv]`, three times
      `[R, H]` f32, `[R, Hkv]` i32 and `[R, Hkv]` i1.
    * `attention_c12`: only a projection has the target `gap`.
    * `attention_c13`: `moments` go with a sketch, with a policy that has a
      tolerance, and with no soft cap.
  }];
  let arguments = !con(
    (ins Arg<Vashista_Vectors, "queries `[R, H, D]`">:$query),
    CacheArgs, KvTableArgs,
    (ins Arg<Variadic<AnyRankedTensor>, "page summary">:$summary_parts,
         Arg<Variadic<AnyRankedTensor>, "key sketch">:$sketch_parts,
         Arg<Optional<Vashista_PageNorms>, "largest key and value norm per page `[N, Hkv, 2]`">:$norms,
         Arg<Optional<Vashista_Moments>, "second moments of the sketch `[B, Hkv, Dp, Dp]`">:$moments,
         Arg<Vashista_PolicyAttr, "what is read, proved and fallen back to">:$policy,
         Arg<OptionalAttr<Vashista_SummaryAttr>, "which summary routes">:$summary,
         Arg<OptionalAttr<Vashista_SketchAttr>, "which sketch selects; default: exact keys">:$sketch),
    LogitArgs, SolverArg, LayoutArg, ScheduleArg);
  let results = (outs
    Res<Vashista_State, "output `[R, H, Dv]`">:$o,
    Res<Vashista_PerHead, "log-sum-exp of what was attended `[R, H]`">:$lse,
    Res<Vashista_PerHead, "upper bound of the share of the mass not attended `[R, H]`">:$tau,
    Res<Vashista_PerHead, "upper bound of the norm of the error of o `[R, H]`">:$error,
    Res<Vashista_PerKvHead, "rounds spent `[R, Hkv]`">:$rounds,
    Res<TensorRankOf<[I1], [2]>, "whether the group fell back; false without a fallback, proved or not `[R, Hkv]`">:$flag);
  let assemblyFormat = [{
    $query `keys` `(` $k_cache `)` `values` `(` $v_cache `)`
    `table` `(` $page_table `)` `lens` `(` $seq_lens `)`
    (`rows` `(` $row_to_seq^ `)`)?
    (`summary` $summary^ `` `(` $summary_parts `)`)?
    (`sketch` $sketch^ `` `(` $sketch_parts `)`)?
    (`norms` `(` $norms^ `)`)? (`moments` `(` $moments^ `)`)?
    `policy` $policy `scale` $scale (`soft_cap` $soft_cap^)?
    (`solver` $solver^)? (`layout` `` $layout^)? (`schedule` $schedule^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

#endif // VASHISTA_DIALECT_VASHISTA_IR_OPS_TD
