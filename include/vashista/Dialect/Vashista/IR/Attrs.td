//===- Attrs.td - Typed attributes: policy, sketch, summary, solver, schedule -*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_ATTRS_TD
#define VASHISTA_DIALECT_VASHISTA_IR_ATTRS_TD

include "mlir/IR/AttrTypeBase.td"
include "vashista/Dialect/Vashista/IR/Enums.td"
include "vashista/Dialect/Vashista/IR/Interfaces.td"

class Vashista_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Vashista_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

/// An f64 parameter, compared by its bits.
class Vashista_F64Parameter<string value, string desc>
    : AttrOrTypeParameter<"::llvm::APFloat", desc> {
  let comparator = "$_lhs.bitwiseIsEqual($_rhs)";
  let parser = "::vashista::detail::parseF64($_parser)";
  let printer = "$_printer.printFloat($_self)";
  let defaultValue = "::llvm::APFloat(" # value # ")";
}

/// An enum parameter, printed as its keyword; required unless it has a default.
class Vashista_EnumParameter<EnumInfo info, string desc, string value = "">
    : AttrOrTypeParameter<"::vashista::" # info.className, desc> {
  let defaultValue = !if(!empty(value), "",
                         "::vashista::" # info.className # "::" # value);
  let parser = "::mlir::FieldParser<::vashista::" # info.className #
               ">::parse($_parser)";
  let printer = "$_printer << ::vashista::stringify" # info.className #
                "($_self)";
}

def Vashista_SummaryAttr : Vashista_Attr<"Summary", "summary",
    [DeclareAttrInterfaceMethods<Vashista_KeySource>]> {
  let summary = "a summary of the keys of each physical page";
  let description = [{
    One summary per physical page and KV head, over the page's written tokens.

    | kind | tensors | score of a page for a direction `w` |
    |---|---|---|
    | `mean` | mean `[N, Hkv, D]` | `<w, mean>` |
    | `mean_std` | mean, std `[N, Hkv, D]` | `<w, mean> + sum_i abs(w_i) std_i` |
    | `box` | lo, hi `[N, Hkv, D]` | `sum_i max(w_i lo_i, w_i hi_i)`, a bound |
    | `ball` | centre `[N, Hkv, D]`, radius `[N, Hkv]` f32 | `<w, centre> + norm(w) radius`, a bound |

    Bounds are rounded upwards, slack for f32 arithmetic included, so that they
    hold for the keys as stored. Sources: Quest (box), *Attention in Constant
    Time* and measurements on trained attention (mean + std ranks best).

    Example: `#vashista.summary<mean_std>`
  }];
  let parameters = (ins Vashista_EnumParameter<Vashista_SummaryKind, "what it holds">:$kind);
  let assemblyFormat = "`<` $kind `>`";
}

def Vashista_KeysAttr : Vashista_Attr<"Keys", "keys",
    [DeclareAttrInterfaceMethods<Vashista_KeySource>]> {
  let summary = "the keys themselves";
  let description = [{
    Exact scores: the K cache in the given layout, one score per token. Scores
    bound the true logits up to the rounding of f32 arithmetic, which
    `vashista.certify` adds.

    Example: `#vashista.keys<hnd>`
  }];
  let parameters = (ins Vashista_EnumParameter<Vashista_Layout, "order of the page's dimensions">:$layout);
  let assemblyFormat = "`<` $layout `>`";
}

def Vashista_SketchAttr : Vashista_Attr<"Sketch", "sketch",
    [DeclareAttrInterfaceMethods<Vashista_KeySource>]> {
  let summary = "quantised keys with residual norms: sound token-level bounds";
  let description = [{
    Each key k, minus a centre c and rotated, is quantised to `bits` per channel
    with one scale per `group` channels, and the norm of what that leaves is kept,
    of each group or (`norm = token`) of the whole key. The head dimension is
    padded with zeros to a multiple of `group`: `Dp = ceil(D / group) * group`.

    | tensor | type | |
    |---|---|---|
    | codes | `[N, Hkv, S, Dp * bits / 8]` i8 | packed in planes |
    | scales | `[N, Hkv, S, Dp / group]` f16 or f8E4M3FN | |
    | norms | `[N, Hkv, S, Dp / group]`, or `[N, Hkv, S]` of tokens; f16, f8E4M3FN or i8 | residual norms, rounded up |
    | centre | `[N, Hkv, D]` f32, f16 or bf16 | only with `centre = page`: the mean of the page's keys, to nearest |

    Norms that no number holds are infinite: +inf in f16, NaN in f8E4M3FN. In i8
    the unsigned byte n stands for n / 254 of the largest norm that rounding to
    the nearest cell can leave, `sqrt(group) scale_g / 2` of a group and the norm
    of those of a token, and 255 for infinite.

    Bytes per token and KV head: the codes, and the scales and norms by their
    types; a centre has its share. With D = 128, `<bits = 4, group = 32,
    rotation = hadamard, norm = token>` in f8E4M3FN and i8 has 64 + 4 + 1 = 69,
    13.5 % of the bytes of a bf16 key and value.

    *Values.* Channel i of a rotated key stands for
    `(code_i - (2^bits - 1) / 2) * scale_g`: cells lie evenly around 0, and all
    codes are used. Whatever scale a writer chooses, a norm is at least the
    Euclidean norm of what is left for the scales and the centre as stored. `rotation = hadamard` multiplies by the orthonormal Hadamard matrix
    (natural order) of blocks of powers of two: the largest that fits in Dp, then
    the largest that fits in what is left, and so on. It spreads a key evenly over
    its channels, which makes residuals small.

    *Packing.* The bits of a code are split, from the high ones down, into planes
    of 8, 4, 2 or 1 bits, the widest that still fit first (5 = 4 + 1). A plane of
    p bits has `Dp p / 8` bytes; byte j holds those of channels j,
    `j + Dp p / 8`, `j + 2 Dp p / 8`, ..., low bits first.

    *Scores.* With w' the rotated direction, a score is the logit of
    `x = <w', decoded> + <w, c>`, with w' rounded to 16 bits where scores are exact
    sums of integers; the bound is that of `x + sum_g norm(w'_g) norms_g`, or of
    `x + norm(w') norms`, all rounding included. A key with NaN or Inf is never
    coded: its bound is +inf. Source: docs/theory.md, section 2.

    Constraints:
    * `sketch_c1`: `bits` is 2, 3, 4, 5, 6 or 8.
    * `sketch_c2`: `group` is 16, 32, 64 or 128.

    Example: `#vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>`
  }];
  let parameters = (ins
    AttrParameter<"int64_t", "bits per channel">:$bits,
    AttrParameter<"int64_t", "channels that share a scale and a residual norm">:$group,
    Vashista_EnumParameter<Vashista_SketchCentre, "what is subtracted first", "none">:$centre,
    Vashista_EnumParameter<Vashista_SketchRotation, "what is applied before quantising", "none">:$rotation,
    Vashista_EnumParameter<Vashista_SketchNorm, "what a residual norm is of", "group">:$norm);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Groups of one key of head dimension `keyDim`, padding included.
    int64_t getNumGroups(int64_t keyDim) const;
    /// Bytes of the codes of one key of head dimension `keyDim`.
    int64_t getCodeBytes(int64_t keyDim) const;
  }];
}

def Vashista_SolverAttr : Vashista_Attr<"Solver", "solver"> {
  let summary = "how attention weights are found";
  let description = [{
    With the linear objective every solver has the closed form
    `softmax(s / epsilon)`: exponentiated gradient with step `1 / epsilon`
    reaches it in one step, and canonicalises to `softmax`. With the projection
    objective `eg` iterates `w <- (1 - eta epsilon) w + eta r` on a direction of
    D numbers, and `frank_wolfe` moves between keys (epsilon = 0). Both stop
    when their duality gap is at most `tolerance`, or after `iterations`.

    Constraints:
    * `solver_c1`: `softmax` has the linear objective.
    * `solver_c2`: `frank_wolfe` has the projection objective.
    * `solver_c3`: `epsilon` is a positive normal f32; 0 for `frank_wolfe`.
    * `solver_c4`: `iterations` is at least 1; 0 for `softmax`.
    * `solver_c5`: `tolerance` is finite and not negative; 0 for `softmax`.
    * `solver_c6`: `step` differs from `plain` only for `frank_wolfe`.

    Examples: `#vashista.solver<softmax>`,
    `#vashista.solver<eg, objective = projection, epsilon = 5.0e-01, iterations = 16>`
  }];
  let parameters = (ins
    Vashista_EnumParameter<Vashista_SolverKind, "the method">:$kind,
    Vashista_EnumParameter<Vashista_Objective, "what is optimised", "linear">:$objective,
    Vashista_F64Parameter<"1.0", "weight of the entropy, the temperature">:$epsilon,
    DefaultValuedParameter<"int64_t", "0", "steps at most">:$iterations,
    Vashista_F64Parameter<"0.0", "duality gap at which the solver stops">:$tolerance,
    Vashista_EnumParameter<Vashista_FrankWolfeStep, "direction of a Frank-Wolfe step", "plain">:$step);
  let assemblyFormat = [{
    `<` $kind (`,` struct($objective, $epsilon, $iterations, $tolerance,
                          $step)^)? `>`
  }];
  // A default in an op names a static method: `getSoftmax`.
  let constBuilderCall = "::vashista::SolverAttr::$0($_builder.getContext())";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The default: softmax attention at temperature 1.
    static SolverAttr getSoftmax(::mlir::MLIRContext *context);
    bool isProjection() const {
      return getObjective() == Objective::projection;
    }
  }];
}

def Vashista_PolicyAttr : Vashista_Attr<"Policy", "policy"> {
  let summary = "what `vashista.attention` reads, proves and falls back to";
  let description = [{
    `pages = 0` routes nothing (everything is scored), `candidates = 0` selects
    nothing (routed pages are attended whole); both 0 is dense attention.
    `sinks` and `window` tokens are always attended. A `tolerance` asks for a
    certificate. Rows that miss it spend the budget again, on what they have not
    attended yet, up to `rounds` times in all, and then fall back.
    `pick = proving` treats the budget of the last stage as a cap from the first
    round on and takes the fewest tokens that prove the tolerance.

    Only bounds prove anything: of a sketch, of exact keys, of `box` and `ball`.
    With `mean` and `mean_std` a row is certified only where all its pages are
    picked, and without an entropy a projection has no tau.

    Constraints:
    * `policy_c1`: `pages`, `candidates`, `sinks` and `window` are 0 to
      2^31 - 1 (positions are i32).
    * `policy_c2`: `tolerance` is 0 (no certificate) or a positive normal f32,
      and below 1 for the target `tau`.
    * `policy_c3`: `rounds` is 1 to 8, and 1 without a tolerance, for the target
      `output_error` and for a dense policy.
    * `policy_c4`: `fallback` needs a tolerance.
    * `policy_c5`: `pick = proving` needs a tolerance with the target `tau`.
    * `policy_c6`: a budget of tokens holds the sinks and the window:
      `candidates = 0` or `candidates >= sinks + window`.

    Example:
    `#vashista.policy<pages = 64, candidates = 512, sinks = 4, window = 64, tolerance = 1.0e-01, fallback = dense>`
  }];
  let parameters = (ins
    AttrParameter<"int64_t", "pages routed per KV head">:$pages,
    DefaultValuedParameter<"int64_t", "0", "tokens selected per KV head">:$candidates,
    DefaultValuedParameter<"int64_t", "0", "first tokens always attended">:$sinks,
    DefaultValuedParameter<"int64_t", "0", "last tokens always attended">:$window,
    Vashista_EnumParameter<Vashista_PickMode, "how budgets are spent", "top">:$pick,
    Vashista_EnumParameter<Vashista_Target, "what the tolerance bounds", "tau">:$target,
    Vashista_F64Parameter<"0.0", "largest `target` to accept; 0: no certificate">:$tolerance,
    DefaultValuedParameter<"int64_t", "1", "times a row's budget is spent">:$rounds,
    Vashista_EnumParameter<Vashista_FallbackKind, "what follows the last round", "none">:$fallback);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Everything is attended and nothing needs a proof.
    static PolicyAttr getDense(::mlir::MLIRContext *context);
    bool isDense() const { return getPages() == 0 && getCandidates() == 0; }
    bool isCertified() const { return !getTolerance().isZero(); }
  }];
}

def Vashista_ScheduleAttr : Vashista_Attr<"Schedule", "schedule"> {
  let summary = "how a kernel is laid out on a target";
  let description = [{
    A person writes it, or a tuner does (`vashista-bench --tune`), or
    `vashista-assign-schedule` chooses it from shapes and target. A parameter that
    is 0 is left to whoever lowers the op; `fuse` is false where it is not written.
    It never changes what is computed, but for the order of sums and, of a `proving`
    pick in one kernel with its `attend`, how much more than is enough is picked:
    results are bit-equal for a fixed schedule. Certificates allow for the rounding of splits of
    64 tokens or more. The schedule of an op that stands for several is that of their
    scores, attends and fallbacks.

    Kernels of a GPU honour all parameters, each within what it can be, which a
    table of `vashista-assign-schedule` says; what it cannot be is an error at the
    op. Kernels of a CPU honour `split`, of an `attend` to whole sequences
    (`vashista-split-tokens`). The other parameters say nothing there, so that one
    module serves both.

    Constraints:
    * `schedule_c1`: `warps` is 0, 1, 2, 4, 8, 16 or 32.
    * `schedule_c2`: `vector` is 0, 1, 2, 4, 8 or 16.
    * `schedule_c3`: `stages` is 0 to 8.
    * `schedule_c4`: `split` is not negative.
    * `schedule_c5`: `blocks` is 0 to 32.
    * `schedule_c6`: `cluster` is 0, 1, 2, 4 or 8.
    * `schedule_c7`: `splits` is not negative.

    Example: `#vashista.schedule<warps = 4, vector = 8, stages = 1, split = 2048, blocks = 4, cluster = 1>`
  }];
  let parameters = (ins
    DefaultValuedParameter<"int64_t", "0", "warps of a thread block">:$warps,
    DefaultValuedParameter<"int64_t", "0", "elements that a thread loads together">:$vector,
    DefaultValuedParameter<"int64_t", "0", "such loads of a thread that are in flight together">:$stages,
    DefaultValuedParameter<"int64_t", "0", "slots of a block: tokens, or pages that are scored by summaries">:$split,
    DefaultValuedParameter<"int64_t", "0", "blocks that share the slots of a row, at most: of more slots than these hold, each takes more than `split`">:$splits,
    DefaultValuedParameter<"int64_t", "0", "blocks that share a multiprocessor, at least">:$blocks,
    DefaultValuedParameter<"int64_t", "0", "blocks of a cluster, which work on one list together">:$cluster,
    DefaultValuedParameter<"bool", "false", "whether an attend is one kernel with the pick and score that its list is from, which may be proved by chunks, or the blocks of a score of a sketch round their directions themselves">:$fuse);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // VASHISTA_DIALECT_VASHISTA_IR_ATTRS_TD
