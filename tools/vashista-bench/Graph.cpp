//===- Graph.cpp - The modules that are measured --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Graph.h"

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

static bool routes(const Options &o) { return o.pages > 0; }
static bool selects(const Options &o) { return o.candidates > 0; }

std::vector<Stage> bench::getStages(const Options &o) {
  Names parts = getSummaryParts(o);
  auto with = [](Names names, const Names &more) {
    names.insert(names.end(), more.begin(), more.end());
    return names;
  };
  std::vector<Stage> stages = {
      {"summarize",
       "summarize (not part of a step)",
       with({"k", "table", "lens"}, parts),
       {}},
      {"dense", "dense", {"q", "k", "v", "table", "lens"}, {"o", "lse"}},
      {"sparse",
       "sparse",
       with({"q", "k", "v", "table", "lens"}, parts),
       {"o", "lse"}}};
  if (!routes(o))
    stages[2].arguments = {"q", "k", "v", "table", "lens"};
  Names list;
  if (routes(o)) {
    stages.push_back({"score_pages",
                      "score pages",
                      with({"q", "table", "lens"}, parts),
                      {"page_scores", "page_bounds"}});
    stages.push_back({"pick_pages",
                      "pick pages",
                      {"page_scores", "page_bounds", "lens"},
                      {"pages", "page_count", "page_tail"}});
    list = {"pages", "page_count"};
  }
  if (selects(o)) {
    stages.push_back({"score_tokens",
                      "score tokens",
                      with({"q", "k", "table", "lens"}, list),
                      {"token_scores", "token_bounds"}});
    Names picked = with({"token_scores", "token_bounds", "lens"}, list);
    if (routes(o))
      picked.push_back("page_tail");
    stages.push_back({"pick_tokens",
                      "pick tokens",
                      picked,
                      {"tokens", "token_count", "tail"}});
    list = {"tokens", "token_count"};
  }
  stages.push_back({"attend",
                    selects(o) ? "attend tokens" : "attend pages",
                    with({"q", "k", "v", "table", "lens"}, list),
                    {"o", "lse"}});
  return stages;
}

namespace {

/// Types of all values, by name.
class Writer {
public:
  Writer(const Options &options, bool sharesRows);
  std::string write();

private:
  std::string typeList(const Names &names) {
    std::string list;
    for (const std::string &name : names)
      list += (list.empty() ? "" : ", ") + types.at(name);
    return list;
  }
  static std::string valueList(const Names &names) {
    std::string list;
    for (const std::string &name : names)
      list += (list.empty() ? "%" : ", %") + name;
    return list;
  }
  /// ` : (types of operands) -> (types of results)`
  std::string signature(const Names &operands, const Names &results) {
    return "\n      : (" + typeList(operands) + ")\n      -> (" +
           typeList(results) + ")\n";
  }
  std::string body(const Stage &stage, Names &returned);

  const Options &o;
  bool sharesRows;
  std::map<std::string, std::string> types;
};

} // namespace

Writer::Writer(const Options &options, bool sharesRows)
    : o(options), sharesRows(sharesRows) {
  auto number = [](int64_t value) { return std::to_string(value); };
  std::string h = number(o.heads), hkv = number(o.kvHeads),
              d = number(o.headDim), dv = number(o.valueDim),
              s = number(o.pageSize), p = number(o.pages),
              c = number(o.candidates), e = o.dtype;
  auto tensor = [](const std::string &inside) {
    return "tensor<" + inside + ">";
  };
  std::string cache = "?x" + hkv + "x";
  types = {{"q", tensor("?x" + h + "x" + d + "x" + e)},
           {"k", tensor(cache + s + "x" + d + "x" + e)},
           {"v", tensor(cache + s + "x" + dv + "x" + e)},
           {"table", tensor("?x?xi32")},
           {"lens", tensor("?xi32")},
           {"rows", tensor("?xi32")},
           {"radius", tensor("?x" + hkv + "xf32")},
           {"o", tensor("?x" + h + "x" + dv + "xf32")},
           {"lse", tensor("?x" + h + "xf32")},
           {"tau", tensor("?x" + h + "xf32")},
           {"error", tensor("?x" + h + "xf32")},
           {"rounds", tensor("?x" + hkv + "xi32")},
           {"flag", tensor("?x" + hkv + "xi1")},
           {"page_scores", tensor("?x" + h + "x?xf32")},
           {"pages", tensor("?x" + hkv + "x" + p + "xi32")},
           {"tokens", tensor("?x" + hkv + "x" + c + "xi32")}};
  for (const char *part : {"mean", "std", "lo", "hi", "centre"})
    types[part] = tensor(cache + d + "x" + e);
  for (const char *count : {"page_count", "token_count"})
    types[count] = tensor("?x" + hkv + "xi32");
  for (const char *tail : {"page_tail", "tail"})
    types[tail] = types["lse"];
  types["page_bounds"] = types["page_scores"];
  types["token_scores"] =
      routes(o) ? tensor("?x" + h + "x" + number(o.pages * o.pageSize) + "xf32")
                : types["page_scores"];
  types["token_bounds"] = types["token_scores"];
}

std::string Writer::body(const Stage &stage, Names &returned) {
  const std::string rows = sharesRows ? " rows(%rows)" : "";
  const std::string scale =
      text("%.9g", 1 / std::sqrt(static_cast<double>(o.headDim)));
  const std::string table = " table(%table) lens(%lens)" + rows;
  const std::string kept = text(
      "kv_heads %lld page_size %lld sinks %lld "
      "window %lld",
      static_cast<long long>(o.kvHeads), static_cast<long long>(o.pageSize),
      static_cast<long long>(o.sinks), static_cast<long long>(o.window));
  Names parts = getSummaryParts(o);
  std::string summary = "<" + o.summary + ">(" + valueList(parts) + ")";
  returned = stage.results;

  // Operands as the ops order them: rows after lens.
  Names operands = stage.arguments;
  auto insertRows = [&](Names names) {
    if (!sharesRows)
      return names;
    for (auto it = names.begin(); it != names.end(); ++it)
      if (*it == "lens") {
        names.insert(it + 1, "rows");
        break;
      }
    return names;
  };
  auto move = [](Names names, const Names &last) {
    Names result;
    for (const std::string &name : names) {
      bool isLast = false;
      for (const std::string &other : last)
        isLast |= name == other;
      if (!isLast)
        result.push_back(name);
    }
    result.insert(result.end(), last.begin(), last.end());
    return result;
  };

  if (stage.entry == "summarize") {
    returned = parts;
    Names results;
    std::string names;
    for (const std::string &part : parts) {
      names += (names.empty() ? "%" : ", %") + part + "_new";
      types[part + "_new"] = types[part];
      results.push_back(part + "_new");
    }
    returned = results;
    return "  " + names + " = vashista.summarize keys(%k)" + table +
           " summary " + summary + signature(insertRows(operands), results);
  }
  if (stage.entry == "sparse") {
    std::string policy = text(
        "<pages = %lld, candidates = %lld, sinks = %lld, window = %lld>",
        static_cast<long long>(o.pages), static_cast<long long>(o.candidates),
        static_cast<long long>(o.sinks), static_cast<long long>(o.window));
    Names results = {"o", "lse", "tau", "error", "rounds", "flag"};
    return "  " + valueList(results) +
           " = vashista.attention %q keys(%k) values(%v)" + table +
           (routes(o) ? " summary " + summary : "") + "\n      policy " +
           policy + " scale " + scale +
           signature(insertRows(operands), results);
  }
  if (stage.entry == "score_pages")
    return "  %page_scores, %page_bounds = vashista.score %q from "
           "#vashista.summary" +
           summary + table +
           text(" page_size %lld", static_cast<long long>(o.pageSize)) +
           " scale " + scale +
           signature(insertRows(move(move(operands, parts), {"table", "lens"})),
                     stage.results);
  if (stage.entry == "pick_pages")
    return text("  %%pages, %%page_count, %%page_tail = vashista.pick top %lld "
                "pages\n      of(%%page_scores, %%page_bounds) lens(%%lens) ",
                static_cast<long long>(o.pages)) +
           kept + signature(operands, stage.results);
  if (stage.entry == "score_tokens")
    return "  %token_scores, %token_bounds = vashista.score %q from "
           "#vashista.keys<hnd>(%k)" +
           table + (routes(o) ? " within(%pages, %page_count)" : "") +
           " scale " + scale + signature(insertRows(operands), stage.results);
  if (stage.entry == "pick_tokens")
    return text(
               "  %%tokens, %%token_count, %%tail = vashista.pick top %lld "
               "tokens\n      of(%%token_scores, %%token_bounds) lens(%%lens) ",
               static_cast<long long>(o.candidates)) +
           (routes(o) ? "within(%pages, %page_count) outside(%page_tail) "
                      : "") +
           kept + signature(operands, stage.results);

  // Dense or sparse, attention updates an empty state.
  types["o_empty"] = types["o"];
  types["lse_empty"] = types["lse"];
  std::string list;
  if (stage.entry == "attend")
    list = selects(o) ? " tokens(%tokens, %token_count)"
                      : " pages(%pages, %page_count)";
  Names all = insertRows(operands);
  all.push_back("o_empty");
  all.push_back("lse_empty");
  std::string o_ = types["o"], lse = types["lse"];
  return "  %c0 = arith.constant 0 : index\n"
         "  %zero = arith.constant 0.0 : f32\n"
         "  %minus_inf = arith.constant 0xFF800000 : f32\n"
         "  %n = tensor.dim %q, %c0 : " +
         types["q"] +
         "\n"
         "  %o_any = tensor.empty(%n) : " +
         o_ +
         "\n"
         "  %lse_any = tensor.empty(%n) : " +
         lse +
         "\n"
         "  %o_empty = linalg.fill ins(%zero : f32) outs(%o_any : " +
         o_ + ") -> " + o_ +
         "\n"
         "  %lse_empty = linalg.fill ins(%minus_inf : f32) outs(%lse_any : " +
         lse + ") -> " + lse +
         "\n"
         "  %o, %lse = vashista.attend %q keys(%k) values(%v)" +
         table + list + " outs(%o_empty, %lse_empty) scale " + scale +
         signature(all, {"o", "lse"});
}

std::string Writer::write() {
  std::string module;
  for (const Stage &stage : getStages(o)) {
    if (stage.entry == "summarize" && !routes(o))
      continue;
    Names arguments = stage.arguments;
    if (sharesRows && stage.entry.find("pick") == std::string::npos)
      arguments.push_back("rows");
    std::string list;
    for (const std::string &name : arguments)
      list += (list.empty() ? "" : ", ") + ("%" + name) + ": " + types[name];
    Names returned;
    std::string text = body(stage, returned);
    module += "func.func @" + stage.entry + "(" + list + ")\n    -> (" +
              typeList(returned) + ") {\n" + text + "  return " +
              valueList(returned) + " : " + typeList(returned) + "\n}\n\n";
  }
  return module;
}

std::string bench::getGraph(const Options &options, bool sharesRows) {
  return Writer(options, sharesRows).write();
}
