//===- Enums.td - Closed sets of choices -*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_ENUMS_TD
#define VASHISTA_DIALECT_VASHISTA_IR_ENUMS_TD

include "mlir/IR/EnumAttr.td"
include "vashista/Dialect/Vashista/IR/VashistaDialect.td"

/// The summary is what a parse error says: "expected one of [...] for SUMMARY".
class Vashista_Enum<string name, string summary, string text,
                    list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let description = text;
  let cppNamespace = "::vashista";
  let genSpecializedAttr = 0;
}

/// An enum as an op attribute, printed as a bare keyword inside an op.
class Vashista_EnumAttr<EnumInfo info, string mnemonic>
    : EnumAttr<Vashista_Dialect, info, mnemonic> {
  let assemblyFormat = "$value";
}

def Vashista_Layout : Vashista_Enum<"Layout", "a cache layout",
    "order of the dimensions of a KV cache page: `hnd` is [N, Hkv, S, D], "
    "`nhd` is [N, S, Hkv, D]", [
  I32EnumAttrCase<"hnd", 0>, I32EnumAttrCase<"nhd", 1>]>;
def Vashista_LayoutAttr : Vashista_EnumAttr<Vashista_Layout, "layout">;

def Vashista_SummaryKind : Vashista_Enum<"SummaryKind", "a kind of page summary",
    "what a page summary holds: `mean` and `mean_std` rank pages and bound "
    "nothing, `box` (per-channel minimum and maximum) and `ball` (centre and "
    "radius) bound every key of the page", [
  I32EnumAttrCase<"mean", 0>, I32EnumAttrCase<"mean_std", 1>,
  I32EnumAttrCase<"box", 2>, I32EnumAttrCase<"ball", 3>]>;

def Vashista_PickMode : Vashista_Enum<"PickMode", "a mode of picking",
    "`top` picks the best `budget` slots; `proving` picks the fewest whose "
    "left-over bound meets the tolerance, and at most `budget`", [
  I32EnumAttrCase<"top", 0>, I32EnumAttrCase<"proving", 1>]>;
def Vashista_PickModeAttr : Vashista_EnumAttr<Vashista_PickMode, "mode">;

def Vashista_SlotUnit : Vashista_Enum<"SlotUnit", "a unit of scores",
    "what one score stands for: a page of the sequence (`pages`) or one token "
    "(`tokens`)", [
  I32EnumAttrCase<"tokens", 0>, I32EnumAttrCase<"pages", 1>]>;
def Vashista_SlotUnitAttr : Vashista_EnumAttr<Vashista_SlotUnit, "unit">;

def Vashista_Target : Vashista_Enum<"Target", "a target of a tolerance",
    "what a tolerance bounds: `tau`, the share of the mass not attended or, for "
    "a projection, the total variation distance of its weights; `output_error`, "
    "the Euclidean norm of the error of the output; or `gap`, the duality gap of "
    "a projection among all keys", [
  I32EnumAttrCase<"tau", 0>, I32EnumAttrCase<"output_error", 1>,
  I32EnumAttrCase<"gap", 2>]>;

def Vashista_FallbackKind : Vashista_Enum<"FallbackKind", "a fallback",
    "what happens to a row that misses its tolerance: `none` reports it, "
    "`dense` attends to everything for its KV head's group", [
  I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"dense", 1>]>;

def Vashista_SolverKind : Vashista_Enum<"SolverKind", "a solver",
    "`softmax` is the closed form of the linear objective, `eg` exponentiated "
    "gradient, `frank_wolfe` the conditional gradient method", [
  I32EnumAttrCase<"softmax", 0>, I32EnumAttrCase<"eg", 1>,
  I32EnumAttrCase<"frank_wolfe", 2>]>;

def Vashista_Objective : Vashista_Enum<"Objective", "an objective",
    "`linear`: max <s, a> + epsilon H(a), whose solution is softmax attention; "
    "`projection`: min |q - K'a|^2 / 2 - epsilon H(a), the paper's objective", [
  I32EnumAttrCase<"linear", 0>, I32EnumAttrCase<"projection", 1>]>;

def Vashista_FrankWolfeStep : Vashista_Enum<"FrankWolfeStep", "a Frank-Wolfe step",
    "direction of a Frank-Wolfe step: towards the best vertex (`plain`), or "
    "also away from the worst active one (`away`), or a swap of the two "
    "(`pairwise`)", [
  I32EnumAttrCase<"plain", 0>, I32EnumAttrCase<"away", 1>,
  I32EnumAttrCase<"pairwise", 2>]>;

def Vashista_SketchCentre : Vashista_Enum<"SketchCentre", "the centre of a sketch",
    "what is subtracted from a key before it is quantised: nothing (`none`) or "
    "the stored mean of its page (`page`)", [
  I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"page", 1>]>;

def Vashista_SketchRotation : Vashista_Enum<"SketchRotation", "the rotation of a sketch",
    "orthonormal map applied to keys before they are quantised, and to the "
    "direction before it is scored: none, or a block-diagonal `hadamard` "
    "transform over powers of two", [
  I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"hadamard", 1>]>;

def Vashista_SketchNorm : Vashista_Enum<"SketchNorm", "what a residual norm of a sketch is of",
    "what a stored residual norm bounds: each `group` of channels, or the whole "
    "`token`", [
  I32EnumAttrCase<"group", 0>, I32EnumAttrCase<"token", 1>]>;

def Vashista_FaultKind : Vashista_Enum<"FaultKind", "a kind of fault",
    "what a check found of a row, the first number of its faults: `none`, or "
    "what is out of range, a `table_row` that is named, a `length`, a `page` "
    "id, a `position`, the `count` or an `entry` of a list", [
  I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"table_row", 1>,
  I32EnumAttrCase<"length", 2>, I32EnumAttrCase<"page", 3>,
  I32EnumAttrCase<"position", 4>, I32EnumAttrCase<"count", 5>,
  I32EnumAttrCase<"entry", 6>]>;

#endif // VASHISTA_DIALECT_VASHISTA_IR_ENUMS_TD
