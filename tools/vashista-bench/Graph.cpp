//===- Graph.cpp - The modules that are measured --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Graph.h"

#include <algorithm>
#include <cmath>
#include <map>

using namespace vashista;
using namespace vashista::bench;
using tool::text;

using Names = std::vector<std::string>;

Names bench::getSummaryParts(const Options &options) {
  if (options.summary == "mean_std")
    return {"mean", "std"};
  if (options.summary == "box")
    return {"lo", "hi"};
  if (options.summary == "ball")
    return {"centre", "radius"};
  return {"mean"};
}

Names bench::getSketchParts(const Options &options) {
  Names parts = {"codes", "scales", "residuals"};
  if (options.sketch.isCentred())
    parts.push_back("sketch_centre");
  return parts;
}

static std::string number(int64_t value) { return std::to_string(value); }

/// `name` of the first round, `name_2` of the second.
static std::string ofRound(const std::string &name, int64_t round) {
  return round == 1 ? name : name + "_" + number(round);
}

namespace {

/// The text of one op and, in order, the operands that it names.
struct Op {
  std::string text;
  Names operands;

  explicit Op(std::string name) : text(std::move(name)) {}
  Op &add(const std::string &words) {
    text += words;
    return *this;
  }
  /// `, %a, %b` in brackets after words.
  Op &with(const std::string &words, const Names &names) {
    text += words + "(";
    for (size_t i = 0; i < names.size(); ++i)
      text += (i == 0 ? "%" : ", %") + names[i];
    text += ")";
    operands.insert(operands.end(), names.begin(), names.end());
    return *this;
  }
};

/// What a function does before its op: the operands of that, and what it makes
/// for the op.
struct Prologue {
  std::string text;
  Names operands, made;
};

class Writer {
public:
  Writer(const Options &options, bool sharesRows);

  Entry writeSummarize();
  Entry writeDense();
  Entry writeStep();
  std::vector<Entry> writeStages();

private:
  std::string getType(const std::string &name) const;
  std::string typeList(const Names &names) const;

  /// A function of what it does not make itself: a prologue, then the op, whose
  /// results are named. Returns those of the entry.
  Entry write(Entry entry, const Op &op, Names results,
              const Prologue &prologue = {}) const;
  /// A stage that merges attention over a list into a state.
  Entry writeAttend(Entry entry, const std::string &keyword,
                    const Names &list) const;
  Entry writePick(const Names &scores, const Names &within, int64_t round);

  Op &addTable(Op &op) const {
    op.with(" table", {"table"}).with(" lens", {"lens"});
    return sharesRows ? op.with(" rows", {"rows"}) : op;
  }
  std::string getSummary() const { return " <" + o.summary + ">"; }
  std::string getSketch() const { return " <" + o.sketch.text() + ">"; }
  std::string getScale() const {
    return text(" scale %.9g", 1 / std::sqrt(static_cast<double>(o.headDim)));
  }
  /// Rounded down to f32, as a policy's is.
  std::string getTolerance() const;
  /// Whether anything depends on the bounds of what is scored.
  bool needsBounds() const { return o.isCertified(); }

  const Options &o;
  bool sharesRows;
  std::map<std::string, std::string> types;
};

} // namespace

Writer::Writer(const Options &options, bool sharesRows)
    : o(options), sharesRows(sharesRows) {
  auto tensor = [](Names sizes, const std::string &element) {
    std::string inside;
    for (const std::string &size : sizes)
      inside += size + "x";
    return "tensor<" + inside + element + ">";
  };
  std::string h = number(o.heads), hkv = number(o.kvHeads),
              d = number(o.headDim), dv = number(o.valueDim),
              s = number(o.pageSize), e = o.dtype;
  types = {{"q", tensor({"?", h, d}, e)},
           {"k", tensor({"?", hkv, s, d}, e)},
           {"v", tensor({"?", hkv, s, dv}, e)},
           {"table", tensor({"?", "?"}, "i32")},
           {"lens", tensor({"?"}, "i32")},
           {"rows", tensor({"?"}, "i32")},
           {"radius", tensor({"?", hkv}, "f32")},
           {"norms", tensor({"?", hkv, "2"}, "f32")},
           {"o", tensor({"?", h, dv}, "f32")},
           {"page_scores", tensor({"?", h, "?"}, "f32")},
           {"pages", tensor({"?", hkv, number(o.pages)}, "i32")},
           {"tokens", tensor({"?", hkv, number(o.candidates)}, "i32")}};
  for (const char *part : {"mean", "std", "lo", "hi", "centre"})
    types[part] = tensor({"?", hkv, d}, e);
  types["sketch_centre"] = types["mean"];
  for (const char *perHead : {"lse", "tau", "error", "page_tail", "tail"})
    types[perHead] = tensor({"?", h}, "f32");
  for (const char *perGroup : {"rounds", "page_count", "token_count"})
    types[perGroup] = tensor({"?", hkv}, "i32");
  types["flag"] = tensor({"?", hkv}, "i1");
  types["page_bounds"] = types["page_scores"];
  types["token_scores"] =
      o.routes() ? tensor({"?", h, number(o.pages * o.pageSize)}, "f32")
                 : types["page_scores"];
  types["token_bounds"] = types["token_scores"];
  if (o.sketch) {
    std::string groups = number(o.sketch.getNumGroups(o.headDim));
    types["codes"] =
        tensor({"?", hkv, s, number(o.sketch.getCodeBytes(o.headDim))}, "i8");
    types["scales"] = tensor({"?", hkv, s, groups}, o.sketch.scaleType);
    types["residuals"] = o.sketch.hasTokenNorms()
                             ? tensor({"?", hkv, s}, o.sketch.normType)
                             : tensor({"?", hkv, s, groups}, o.sketch.normType);
  }
}

/// What ends in the number of a round, or tells a new value from an old one, is
/// of the type of what does not.
std::string Writer::getType(const std::string &name) const {
  for (std::string at = name;; at.resize(at.rfind('_')))
    if (auto found = types.find(at); found != types.end())
      return found->second;
}

std::string Writer::typeList(const Names &names) const {
  std::string list;
  for (const std::string &name : names)
    list += (list.empty() ? "" : ", ") + getType(name);
  return list;
}

static std::string valueList(const Names &names) {
  std::string list;
  for (const std::string &name : names)
    list += (list.empty() ? "%" : ", %") + name;
  return list;
}

static bool has(const Names &names, const std::string &name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Entry Writer::write(Entry entry, const Op &op, Names results,
                    const Prologue &prologue) const {
  Names arguments;
  for (const Names *operands : {&prologue.operands, &op.operands})
    for (const std::string &name : *operands)
      if (!has(arguments, name) && !has(prologue.made, name))
        arguments.push_back(name);
  // What is written in place has two names.
  auto rename = [&](Names names) {
    for (std::string &name : names)
      if (has(arguments, name))
        name += "_new";
    return names;
  };
  std::string list;
  for (const std::string &name : arguments)
    list += (list.empty() ? "%" : ", %") + name + ": " + getType(name);
  Names returned = rename(entry.results), values = rename(results);
  entry.function = entry.name;
  if (entry.kind == Entry::stage && o.step == "uncertified")
    entry.function = o.step + "_" + entry.name;
  entry.text = "func.func @" + entry.function + "(" + list + ")\n    -> (" +
               typeList(returned) + ") {\n" + prologue.text + "  " +
               valueList(values) + " = " + op.text + "\n      : (" +
               typeList(op.operands) + ")\n      -> (" + typeList(values) +
               ")\n  return " + valueList(returned) + " : " +
               typeList(returned) + "\n}\n";
  return entry;
}

std::string Writer::getTolerance() const {
  float rounded = static_cast<float>(o.tolerance);
  if (rounded > o.tolerance)
    rounded = std::nextafter(rounded, 0.0f);
  return text("%.9e", static_cast<double>(rounded));
}

std::string bench::getPolicy(const Options &o) {
  std::string policy =
      "<pages = " + number(o.pages) + ", candidates = " + number(o.candidates) +
      ", sinks = " + number(o.sinks) + ", window = " + number(o.window);
  if (o.isProving())
    policy += ", pick = proving";
  if (o.isCertified())
    policy += ", target = " + o.target +
              text(", tolerance = %.17e", o.tolerance) +
              ", rounds = " + number(o.rounds) + ", fallback = dense";
  return policy + ">";
}

//===----------------------------------------------------------------------===//
// What prepares, and steps
//===----------------------------------------------------------------------===//

Entry Writer::writeSummarize() {
  Names made;
  Op op("vashista.summarize");
  op.with(" keys", {"k"});
  if (o.isCertified())
    op.with(" values", {"v"});
  addTable(op);
  auto make = [&](const std::string &words, const Names &parts) {
    op.with(words, parts);
    made.insert(made.end(), parts.begin(), parts.end());
  };
  if (o.routes())
    make(" summary" + getSummary(), getSummaryParts(o));
  if (o.isCertified())
    make(" norms", {"norms"});
  if (o.sketch)
    make(" sketch" + getSketch(), getSketchParts(o));
  return write({Entry::preparation, "summarize", "summarize", made, ""}, op,
               made);
}

Entry Writer::writeDense() {
  return writeAttend({Entry::step, "dense", "dense", {"o", "lse"}, ""}, "", {});
}

Entry Writer::writeStep() {
  Op op("vashista.attention %q");
  op.operands.push_back("q");
  addTable(op.with(" keys", {"k"}).with(" values", {"v"}));
  if (o.routes())
    op.with(" summary" + getSummary(), getSummaryParts(o));
  if (o.sketch)
    op.with(" sketch" + getSketch(), getSketchParts(o));
  if (o.isCertified())
    op.with(" norms", {"norms"});
  op.add("\n      policy " + getPolicy(o) + getScale());
  Entry entry = {Entry::step, o.step, o.step, {"o", "lse"}, ""};
  if (o.isCertified())
    entry.results = {"o", "lse", "tau", "error", "rounds", "flag"};
  return write(entry, op, {"o", "lse", "tau", "error", "rounds", "flag"});
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

Entry Writer::writeAttend(Entry entry, const std::string &keyword,
                          const Names &list) const {
  Op op("vashista.attend %q");
  op.operands.push_back("q");
  addTable(op.with(" keys", {"k"}).with(" values", {"v"}));
  if (!list.empty())
    op.with(keyword, list);
  if (entry.round > 1)
    return write(entry, op.with(" outs", {"o", "lse"}).add(getScale()),
                 {"o", "lse"});
  // The first round updates an empty state.
  std::string o_ = getType("o"), lse = getType("lse");
  Prologue prologue = {"  %c0 = arith.constant 0 : index\n"
                       "  %zero = arith.constant 0.0 : f32\n"
                       "  %minus_inf = arith.constant 0xFF800000 : f32\n"
                       "  %n = tensor.dim %q, %c0 : " +
                           getType("q") + "\n  %o_any = tensor.empty(%n) : " +
                           o_ + "\n  %lse_any = tensor.empty(%n) : " + lse +
                           "\n  %o_empty = linalg.fill ins(%zero : f32) "
                           "outs(%o_any : " +
                           o_ + ") -> " + o_ +
                           "\n  %lse_empty = linalg.fill ins(%minus_inf : f32) "
                           "outs(%lse_any : " +
                           lse + ") -> " + lse + "\n",
                       {"q"},
                       {"o_empty", "lse_empty"}};
  op.with(" outs", prologue.made).add(getScale());
  return write(entry, op, {"o", "lse"}, prologue);
}

Entry Writer::writePick(const Names &scores, const Names &within,
                        int64_t round) {
  bool isFirst = round == 1;
  Prologue prologue;
  Op op(std::string("vashista.pick ") + (o.isProving() ? "proving " : "top ") +
        number(o.candidates) + " tokens\n      of");
  op.with("", scores).with(" lens", {"lens"});
  if (!within.empty())
    op.with(" within", within);
  if (round == 2)
    op.with(" taken", {"tokens"});
  if (round > 2) {
    // The lists of all rounds before, one after the other.
    Names &taken = prologue.operands;
    for (int64_t i = 1; i < round; ++i)
      taken.push_back(ofRound("tokens", i));
    types["taken"] = "tensor<?x" + number(o.kvHeads) + "x" +
                     number((round - 1) * o.candidates) + "xi32>";
    prologue.text = "  %taken = tensor.concat dim(2) " + valueList(taken) +
                    "\n      : (" + typeList(taken) + ") -> " + types["taken"] +
                    "\n";
    prologue.made = {"taken"};
    op.with(" taken", prologue.made);
  }
  if (o.routes() && needsBounds())
    op.with(" outside", {"page_tail"});
  if (!isFirst)
    op.with(" attended", {"lse"});
  op.add(" kv_heads " + number(o.kvHeads) + " page_size " + number(o.pageSize));
  if (isFirst)
    op.add(" sinks " + number(o.sinks) + " window " + number(o.window));
  if (o.isProving())
    op.add(" tolerance " + getTolerance());
  Names results = {ofRound("tokens", round), ofRound("token_count", round),
                   ofRound("tail", round)};
  Entry entry = {
      Entry::stage, ofRound("pick_tokens", round), "pick tokens", results, "",
      round};
  if (!needsBounds())
    entry.results.pop_back();
  return write(entry, op, results, prologue);
}

std::vector<Entry> Writer::writeStages() {
  std::vector<Entry> stages;
  auto add = [&](const std::string &name, const std::string &title,
                 const Op &op, const Names &results, const Names &returned) {
    stages.push_back(
        write({Entry::stage, name, title, returned, ""}, op, results));
  };
  // Bounds that nobody reads are not made.
  auto addScore = [&](const std::string &unit, const std::string &title,
                      const Op &op) {
    Names results = {unit + "_scores", unit + "_bounds"};
    add("score_" + unit + "s", title, op, results,
        needsBounds() ? results : Names{results[0]});
    return needsBounds() ? results : Names{results[0], results[0]};
  };
  auto newScore = [](const std::string &source, const Names &parts) {
    Op op("vashista.score %q from");
    op.operands.push_back("q");
    op.with(source, parts);
    return op;
  };

  Names list;
  std::string keyword;
  if (o.routes()) {
    Op score =
        newScore(" #vashista.summary<" + o.summary + ">", getSummaryParts(o));
    addTable(score).add(" page_size " + number(o.pageSize) + getScale());
    Names scores = addScore("page", "score pages", score);
    Op pick("vashista.pick top " + number(o.pages) + " pages\n      of");
    pick.with("", scores).with(" lens", {"lens"});
    pick.add(" kv_heads " + number(o.kvHeads) + " page_size " +
             number(o.pageSize) + " sinks " + number(o.sinks) + " window " +
             number(o.window));
    list = {"pages", "page_count"};
    Names results = {"pages", "page_count", "page_tail"};
    add("pick_pages", "pick pages", pick, results,
        needsBounds() ? results : list);
    keyword = " pages";
  }
  if (!o.selects()) {
    stages.push_back(
        writeAttend({Entry::stage, "attend", "attend pages", {"o", "lse"}, ""},
                    keyword, list));
    return stages;
  }

  Op score = o.sketch ? newScore(" #vashista.sketch<" + o.sketch.text() + ">",
                                 getSketchParts(o))
                      : newScore(" #vashista.keys<hnd>", {"k"});
  addTable(score);
  if (o.routes())
    score.with(" within", list);
  Names scores = addScore("token", o.sketch ? "score sketch" : "score tokens",
                          score.add(getScale()));
  for (int64_t round = 1; round <= o.rounds; ++round) {
    stages.push_back(writePick(scores, list, round));
    stages.push_back(writeAttend(
        {Entry::stage,
         ofRound("attend", round),
         "attend tokens",
         {"o", "lse"},
         "",
         round},
        " tokens", {ofRound("tokens", round), ofRound("token_count", round)}));
  }
  if (!o.isCertified())
    return stages;

  Op certify("vashista.certify %q");
  certify.operands.push_back("q");
  certify.with(" state", {"o", "lse"})
      .with(" tail", {ofRound("tail", o.rounds)})
      .with(" norms", {"norms"});
  addTable(certify).add(" page_size " + number(o.pageSize) + getScale());
  add("certify", "certify", certify, {"tau", "error"}, {"tau", "error"});
  Op fallback("vashista.fallback %q");
  fallback.operands.push_back("q");
  addTable(fallback.with(" keys", {"k"}).with(" values", {"v"}))
      .with(" state", {"o", "lse"})
      .with(" unless", {o.isProving() ? "tau" : "error"})
      .add(" at_most " + getTolerance() + getScale());
  add("fallback", "fall back", fallback, {"o_final", "lse_final", "flag"},
      {"o_final", "lse_final", "flag"});
  return stages;
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

std::vector<Entry> bench::getCommonEntries(const Options &options,
                                           bool sharesRows) {
  Writer writer(options, sharesRows);
  std::vector<Entry> entries;
  if (options.routes() || options.sketch)
    entries.push_back(writer.writeSummarize());
  entries.push_back(writer.writeDense());
  return entries;
}

std::vector<Entry> bench::getStepEntries(const Options &options,
                                         bool sharesRows) {
  Writer writer(options, sharesRows);
  std::vector<Entry> entries = {writer.writeStep()};
  for (Entry &stage : writer.writeStages())
    entries.push_back(std::move(stage));
  return entries;
}

std::string bench::getModule(const std::vector<Entry> &entries) {
  std::string module;
  for (const Entry &entry : entries)
    module += (module.empty() ? "" : "\n") + entry.text;
  return module;
}

Options bench::getUncertified(const Options &options, int64_t candidates) {
  Options result = options;
  result.step = "uncertified";
  result.target.clear();
  result.tolerance = 0;
  result.rounds = 1;
  result.candidates = candidates;
  return result;
}
