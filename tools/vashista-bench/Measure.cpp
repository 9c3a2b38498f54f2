//===- Measure.cpp - Times steps and stages ----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"

#include "Input.h"
#include "Roofs.h"

#include <algorithm>
#include <chrono>
#include <sched.h>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

static Timing summarize(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  size_t n = times.size();
  return {(times[(n - 1) / 2] + times[n / 2]) / 2, times[0]};
}

//===----------------------------------------------------------------------===//
// What has to be read
//===----------------------------------------------------------------------===//

static double getElementBytes(const Options &o) {
  return o.dtype == "f32" ? 4 : 2;
}

/// Bytes of the summary of one page and KV head, and multiply-adds per query
/// head to score it.
static double getSummaryBytes(const Options &o) {
  double row = o.headDim * getElementBytes(o);
  if (o.summary == "ball")
    return row + 4;
  return o.summary == "mean" ? row : 2 * row;
}

/// Each row counts what it reads, though rows may share a sequence. What one
/// stage leaves to the next is not counted: it stays in the cache.
static Work getWork(const Options &o, Problem &problem,
                    const std::string &entry) {
  Work total;
  for (int64_t r = 0; r < problem.rows; ++r) {
    double tokens = problem["lens"].ints()[r];
    double pages = (problem["lens"].ints()[r] + o.pageSize - 1) / o.pageSize;
    double e = getElementBytes(o), hkv = o.kvHeads, h = o.heads;
    double d = o.headDim, dv = o.valueDim;
    double routed = std::min<double>(o.pages, pages);
    double scored =
        o.pages > 0 ? std::min<double>(routed * o.pageSize, tokens) : tokens;
    double attended =
        o.candidates > 0 ? std::min<double>(o.candidates, scored) : scored;

    Work scorePages = {
        hkv * pages * getSummaryBytes(o),
        h * pages * d * (o.summary == "mean" || o.summary == "ball" ? 1 : 2)};
    Work scoreTokens = {hkv * scored * d * e, h * scored * d};
    Work attend = {hkv * attended * (d + dv) * e, h * attended * (d + dv)};
    auto add = [&](const Work &work) {
      total.bytes += work.bytes;
      total.multiplyAdds += work.multiplyAdds;
    };
    if (entry == "dense")
      add({hkv * tokens * (d + dv) * e, h * tokens * (d + dv)});
    if (entry == "summarize")
      add({hkv * tokens * d * e + hkv * pages * getSummaryBytes(o), 0});
    bool isSparse = entry == "sparse";
    if ((isSparse && o.pages > 0) || entry == "score_pages")
      add(scorePages);
    if ((isSparse && o.candidates > 0) || entry == "score_tokens")
      add(scoreTokens);
    if (isSparse && o.candidates > 0)
      attend.bytes -= hkv * attended * d * e; // keys that were just scored
    if (isSparse || entry == "attend")
      add(attend);
  }
  return total;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

namespace {

/// An entry with its arguments and with memory for its results.
class Call {
public:
  Error bind(const vashista_module *module, const Stage &stage,
             Problem &problem);
  Error run(unsigned numThreads, bool checked, double &seconds);

private:
  const vashista_module *module = nullptr;
  uint32_t entry = 0;
  std::vector<DLTensor *> arguments, results;
};

} // namespace

static Error runtimeError() { return Error(vashista_last_error()); }

/// Makes room for results, by what the artefact says of their sizes.
Error Call::bind(const vashista_module *loaded, const Stage &stage,
                 Problem &problem) {
  module = loaded;
  vashista_entry_info info;
  if (vashista_find_entry(module, stage.entry.c_str(), &entry) ||
      vashista_entry_describe(module, entry, &info))
    return runtimeError();
  for (uint32_t i = 0; i < info.num_arguments; ++i) {
    vashista_value_info value;
    if (vashista_argument_describe(module, entry, i, &value))
      return runtimeError();
    auto found = problem.tensors.find(value.name);
    if (found == problem.tensors.end())
      return fail("expected an argument of a known name, got '%s' of '%s'",
                  value.name, stage.entry.c_str());
    arguments.push_back(found->second.get());
  }
  for (uint32_t i = 0; i < info.num_results; ++i) {
    vashista_value_info value;
    if (vashista_result_describe(module, entry, i, &value))
      return runtimeError();
    std::vector<int64_t> shape;
    for (int32_t d = 0; d < value.rank; ++d) {
      const vashista_dim &dim = value.dims[d];
      shape.push_back(dim.kind == VASHISTA_DIM_TIED
                          ? dim.size * arguments[dim.argument]->shape[dim.dim]
                          : dim.size);
    }
    // Only a stage's results have a use; a step's are its own.
    Tensor &tensor = problem.tensors[stage.entry + "." + stage.results[i]];
    if (Error error = tensor.allocate(value.dtype, shape))
      return error;
    results.push_back(tensor.get());
  }
  return Error::success();
}

Error Call::run(unsigned numThreads, bool checked, double &seconds) {
  vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
  options.checked = checked;
  options.threads = numThreads;
  double start = now();
  if (vashista_call(module, entry, arguments.data(), arguments.size(),
                    results.data(), results.size(), &options))
    return runtimeError();
  seconds = now() - start;
  return Error::success();
}

static unsigned getThreads(const Options &options) {
  if (options.threads)
    return options.threads;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus))
    return 1;
  return CPU_COUNT(&cpus);
}

//===----------------------------------------------------------------------===//
// The measurement
//===----------------------------------------------------------------------===//

Error bench::measure(const Options &options, Problem &problem,
                     Results &results) {
  double start = now();
  results.numThreads = getThreads(options);
  // The runtime's workers must be as many.
  setenv("VASHISTA_NUM_THREADS", std::to_string(results.numThreads).c_str(), 1);
  tool::Module module;
  if (Error error = tool::compileText(getGraph(options, problem.sharesRows),
                                      "the graph that is measured", module))
    return error;

  struct Measured {
    Stage stage;
    Call call;
    std::vector<double> times, checkedTimes;
  };
  std::vector<Measured> all;
  for (const Stage &stage : getStages(options)) {
    bool isStage = stage.entry != "summarize" && stage.entry != "dense" &&
                   stage.entry != "sparse";
    if ((stage.entry == "summarize" && options.pages == 0) ||
        (isStage && options.brief))
      continue;
    Measured measured = {stage, {}, {}, {}};
    // A stage's results are known by their own names to those after it.
    if (Error error = measured.call.bind(module.get(), stage, problem))
      return error;
    if (isStage)
      for (const std::string &result : stage.results) {
        auto node = problem.tensors.extract(stage.entry + "." + result);
        if (stage.entry == "attend") {
          problem.tensors.insert(std::move(node));
        } else {
          node.key() = result;
          problem.tensors.insert(std::move(node));
        }
      }
    all.push_back(std::move(measured));
  }

  std::vector<double> reads, rates;
  std::vector<Span> spans;
  double bytes = 0;
  for (const char *name : {"k", "v"}) {
    spans.push_back({problem[name].data(), problem[name].bytes()});
    bytes += problem[name].bytes() / 64 * 64;
  }
  auto read = [&](bool isCounted) {
    double seconds = measureRead(spans, results.numThreads);
    if (isCounted)
      reads.push_back(bytes / seconds);
  };
  // One round to warm up, which also makes the summaries and lists that later
  // ones find.
  for (int64_t round = 0; round <= options.repeat; ++round) {
    bool isCounted = round > 0;
    for (Measured &measured : all) {
      const std::string &entry = measured.stage.entry;
      // Each step starts with a cache full of something else; a stage of the
      // sparse step with what the stage before left.
      bool isFirstStage = entry == "score_pages" ||
                          (entry == "score_tokens" && options.pages == 0);
      if (entry == "dense" || entry == "sparse" || isFirstStage)
        read(isCounted);
      if (entry == "dense") {
        double rate = measureMultiplyAdds(results.numThreads);
        if (isCounted)
          rates.push_back(rate);
      }
      double seconds;
      if (Error error =
              measured.call.run(results.numThreads, !isCounted, seconds))
        return error;
      if (isCounted)
        measured.times.push_back(seconds);
      if (options.isChecked && isCounted &&
          (entry == "dense" || entry == "sparse")) {
        read(isCounted);
        if (Error error = measured.call.run(results.numThreads, true, seconds))
          return error;
        measured.checkedTimes.push_back(seconds);
      }
    }
  }
  results.readBandwidth = 0;
  std::sort(reads.begin(), reads.end());
  std::sort(rates.begin(), rates.end());
  results.readBandwidth = reads[reads.size() / 2];
  results.multiplyAddRate = rates[rates.size() / 2];

  std::optional<Reference> reference;
  if (options.verify)
    reference = computeReference(options, problem, results.numThreads);
  for (Measured &measured : all) {
    const std::string &entry = measured.stage.entry;
    StageResult result;
    result.entry = entry;
    result.title = measured.stage.title;
    result.isStep = entry == "dense" || entry == "sparse";
    result.work = getWork(options, problem, entry);
    result.timing = summarize(measured.times);
    if (!measured.checkedTimes.empty())
      result.checked = summarize(measured.checkedTimes);
    if (reference && result.isStep)
      result.accuracy =
          compare(*reference, problem[entry + ".o"], problem[entry + ".lse"]);
    results.stages.push_back(std::move(result));
  }
  results.seconds = now() - start;
  return Error::success();
}
