//===- Report.cpp - Prints what was measured ---------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Report.h"

#include "Json.h"

#include <algorithm>
#include <fstream>

using namespace vashista;
using namespace vashista::bench;
using tool::text;

static std::string getProcessor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0)
      if (size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "unknown processor";
}

/// The least time that the roofs of the run allow.
static double getFloor(const Results &results, const Work &work) {
  return std::max(work.bytes / results.readBandwidth,
                  work.multiplyAdds / results.multiplyAddRate);
}

static std::string getProblemText(const Options &o) {
  auto number = [](int64_t value) { return static_cast<long long>(value); };
  std::string line = text(
      "B=%lld H=%lld Hkv=%lld D=%lld Dv=%lld S=%lld T=%lld %s", number(o.batch),
      number(o.heads), number(o.kvHeads), number(o.headDim), number(o.valueDim),
      number(o.pageSize), number(o.context), o.dtype.c_str());
  line += o.trace.empty() ? ", random keys" : ", " + tool::printable(o.trace);
  line += ", " + o.table + " pages";
  line += text("; sparse: P=%lld Kc=%lld %s, %lld sinks, window %lld",
               number(o.pages), number(o.candidates), o.summary.c_str(),
               number(o.sinks), number(o.window));
  return line;
}

std::string bench::writeTable(const Options &options, const Results &results) {
  std::string out = getProblemText(options) + "\n";
  out += text("%s, %u threads; in this run: read %.1f GB/s, %.1f G "
              "multiply-adds/s\n\n",
              getProcessor().c_str(), results.numThreads,
              results.readBandwidth * 1e-9, results.multiplyAddRate * 1e-9);
  out += text("%-16s %10s %10s %10s %8s %8s %8s", "", "median ms", "best ms",
              "MB", "GB/s", "GMA/s", "of roof");
  if (options.verify)
    out += text(" %10s %10s %10s", "rms error", "max error", "missed");
  out += "\n";
  bool isStage = false;
  for (const StageResult &stage : results.stages) {
    if (stage.entry == "summarize")
      continue;
    isStage = !stage.isStep;
    double seconds = stage.timing.median;
    out += text("%-16s %10.3f %10.3f %10.2f",
                ((isStage ? "  " : "") + stage.title).c_str(), seconds * 1e3,
                stage.timing.best * 1e3, stage.work.bytes * 1e-6);
    if (stage.work.bytes > 0)
      out += text(" %8.1f %8.1f %7.0f%%", stage.work.bytes / seconds * 1e-9,
                  stage.work.multiplyAdds / seconds * 1e-9,
                  100 * getFloor(results, stage.work) / seconds);
    else if (stage.accuracy)
      out += text(" %8s %8s %8s", "", "", "");
    if (stage.accuracy)
      out += text(" %10.2g %10.2g %9.2f%%", stage.accuracy->rmsError,
                  stage.accuracy->maxError, 100 * stage.accuracy->meanMissed);
    out += "\n";
    if (stage.checked)
      out += text("%-16s %10.3f %10.3f   %+.1f %%\n", "  checked",
                  stage.checked->median * 1e3, stage.checked->best * 1e3,
                  100 * (stage.checked->median / seconds - 1));
  }
  for (const StageResult &stage : results.stages)
    if (stage.entry == "summarize")
      out += text("\nSummaries of all pages, made once and kept by appends: "
                  "%.1f ms.\n",
                  stage.timing.median * 1e3);
  return out;
}

std::string bench::writeJson(const Options &options, const Results &results) {
  tool::JsonWriter json;
  json.beginObject();
  json.key("problem");
  json.string(getProblemText(options));
  json.key("processor");
  json.string(getProcessor());
  json.key("threads");
  json.number(static_cast<int64_t>(results.numThreads));
  json.key("read_bytes_per_second");
  json.number(results.readBandwidth);
  json.key("multiply_adds_per_second");
  json.number(results.multiplyAddRate);
  json.key("stages");
  json.beginArray();
  for (const StageResult &stage : results.stages) {
    json.beginObject();
    json.key("entry");
    json.string(stage.entry);
    auto add = [&](const char *name, double value) {
      json.key(name);
      json.number(value);
    };
    add("median_seconds", stage.timing.median);
    add("best_seconds", stage.timing.best);
    add("bytes", stage.work.bytes);
    add("multiply_adds", stage.work.multiplyAdds);
    add("floor_seconds", getFloor(results, stage.work));
    if (stage.checked)
      add("checked_median_seconds", stage.checked->median);
    if (stage.accuracy) {
      add("rms_error", stage.accuracy->rmsError);
      add("max_error", stage.accuracy->maxError);
      add("rms_output", stage.accuracy->rmsOutput);
      add("mean_mass_not_attended", stage.accuracy->meanMissed);
      add("max_mass_not_attended", stage.accuracy->maxMissed);
    }
    json.endObject();
  }
  json.endArray();
  json.endObject();
  return json.take();
}
