//===- Report.cpp - Prints what was measured ---------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Report.h"

#include "Data.h"
#include "Json.h"

#include <algorithm>

using namespace vashista;
using namespace vashista::bench;
using tool::text;

/// The least time that the roofs of the run allow.
static double getFloor(const Results &results, const Work &work) {
  return std::max((work.bytes + work.passedBytes) / results.readBandwidth,
                  work.multiplyAdds / results.multiplyAddRate);
}

/// Steps that are compared with the dense one.
static std::vector<std::string> getSparseSteps(const Options &o) {
  if (o.isCertified())
    return {"certified", "uncertified"};
  return {o.step};
}

static long long whole(int64_t value) { return static_cast<long long>(value); }

static std::string getDataText(const Options &o) {
  if (!o.trace.empty())
    return tool::printable(o.trace);
  if (o.data == "gauss")
    return "random keys";
  return text("generated keys with needles: a KV head needs about %.3g to "
              "%.3g %% of them",
              100 * getNeed(o, 0), 100 * getNeed(o, o.kvHeads - 1));
}

static std::string getProblemText(const Options &o) {
  std::string line = text(
      "B=%lld H=%lld Hkv=%lld D=%lld Dv=%lld S=%lld T=%lld %s", whole(o.batch),
      whole(o.heads), whole(o.kvHeads), whole(o.headDim), whole(o.valueDim),
      whole(o.pageSize), whole(o.context), o.dtype.c_str());
  line += ", " + getDataText(o) + ", " + o.table + " pages";
  line += "; " + o.step + ":";
  if (o.routes() || !o.isCertified())
    line += text(" P=%lld", whole(o.pages));
  line += text(" Kc%s%lld", o.isProving() ? "<=" : "=", whole(o.candidates));
  if (o.routes() || !o.isCertified())
    line += " " + o.summary;
  line += text(", %lld sinks, window %lld", whole(o.sinks), whole(o.window));
  if (o.sketch)
    line += ", sketch <" + o.sketch.text() + ">, scales " + o.sketch.scaleType +
            ", norms " + o.sketch.normType;
  if (o.isCertified())
    line += text(", %s at most %.6g, at most %lld round%s",
                 o.isProving() ? "tau" : "output error", o.tolerance,
                 whole(o.rounds), o.rounds == 1 ? "" : "s");
  return line;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

static std::string getTitle(const EntryResult &result) {
  if (result.entry.kind == Entry::step)
    return result.entry.title;
  std::string title = "  " + result.entry.title;
  if (result.entry.round > 1)
    title += text(" (%lld)", whole(result.entry.round));
  return title;
}

static std::string writeEntry(const Results &results,
                              const EntryResult &result) {
  const Work &work = result.work;
  double seconds = result.timing.median;
  double bytes = work.bytes + work.passedBytes;
  std::string megabytes = text("%.2f", bytes * 1e-6);
  if (work.passedBytes > 0)
    megabytes = "(" + megabytes + ")";
  // Of a GPU down to what events tell apart.
  int digits = results.architecture.empty() ? 3 : 4;
  std::string out =
      text("%-18s %10.*f %10.*f %10s", getTitle(result).c_str(), digits,
           seconds * 1e3, digits, result.timing.best * 1e3, megabytes.c_str());
  if (bytes > 0) {
    std::string rate = work.multiplyAdds == 0
                           ? ""
                           : text("%.1f", work.multiplyAdds / seconds * 1e-9);
    out += text(" %8.1f %8s %7.0f%%", bytes / seconds * 1e-9, rate.c_str(),
                100 * getFloor(results, work) / seconds);
  }
  if (result.accuracy)
    out += text(" %10.2g %10.2g %9.2f%%", result.accuracy->rmsError,
                result.accuracy->maxError, 100 * result.accuracy->meanMissed);
  out += "\n";
  if (result.checked)
    out +=
        text("%-18s %10.*f %10.*f   %+.1f %%\n", "  checked", digits,
             result.checked->median * 1e3, digits, result.checked->best * 1e3,
             100 * (result.checked->median / seconds - 1));
  return out;
}

static std::string writeCertificate(const Options &o, const Results &results) {
  const Certificate &found = *results.certificate;
  auto line = [](const char *name, const std::string &text) {
    return tool::text("  %-12s ", name) + text + "\n";
  };
  auto percent = [](double part, double all) { return 100 * part / all; };
  std::string out = "\nThe certificate\n";
  double sketch = getSketchBytes(o), token = getTokenBytes(o);
  double norms = o.kvHeads * 8.0 / o.pageSize;
  out += line("kept", text("sketch %.4g bytes per token and KV head, %.1f %% "
                           "of its key and value; page norms %.2g, %.2f %%",
                           sketch / o.kvHeads, percent(sketch, token),
                           norms / o.kvHeads, percent(norms, token)));
  out += line("attended",
              text("per KV head %.0f tokens in the mean, %.2f %% of the "
                   "context, and %.0f at most",
                   found.meanTokens, 100 * found.share, found.mostTokens));
  out +=
      line("rows", text("%lld of %lld certified (%.1f %%), tau %.3g in the "
                        "mean",
                        whole(found.certified), whole(found.rows),
                        percent(found.certified, found.rows), found.meanTau));
  out += line("groups", text("%lld of %lld fell back (%.1f %%), %lld picked "
                             "again (%.1f %%)",
                             whole(found.fellBack), whole(found.groups),
                             percent(found.fellBack, found.groups),
                             whole(found.pickedAgain),
                             percent(found.pickedAgain, found.groups)));
  if (found.truth)
    out += line("in truth",
                text("missed %.3g in the mean, %.3g at most, "
                     "output error %.3g at most; %lld false "
                     "certificates",
                     found.truth->meanMissed, found.truth->mostMissed,
                     found.truth->mostError, whole(found.truth->falseOnes)));
  double with = results.find("certified")->timing.median;
  double without = results.find("uncertified")->timing.median;
  double dense = results.find("dense")->timing.median;
  out += line("costs",
              text("%.4f ms (%+.1f %%) over the step without it",
                   (with - without) * 1e3, percent(with - without, without)));
  out += line("", text("dense takes %.2f times as long as certified, %.2f "
                       "times as long as uncertified",
                       dense / with, dense / without));
  bool isMean = o.uncertified == 0 && o.artefact.empty();
  out += text("Uncertified is the same step without bounds, proof, second "
              "round and fallback:\nthe best %lld tokens per KV head by the "
              "sketch's scores%s.\n",
              whole(results.uncertifiedTokens),
              isMean ? ", as many as the certified\nstep attends in the mean"
                     : "");
  return out;
}

static std::string writeCrossover(const Options &o,
                                  const std::vector<CrossoverPoint> &points) {
  std::vector<std::string> steps = getSparseSteps(o);
  std::string out = text("\n%-10s %12s", "context", "dense ms");
  for (const std::string &step : steps)
    out += text(" %15s", (step + " ms").c_str());
  out += o.isCertified() ? text(" %12s %12s\n", "attended", "fell back") : "\n";
  for (const CrossoverPoint &point : points) {
    const Results &results = point.results;
    out += text("%-10lld %12.4f", whole(point.context),
                results.find("dense")->timing.median * 1e3);
    for (const std::string &step : steps)
      out += text(" %15.4f", results.find(step)->timing.median * 1e3);
    if (const auto &certificate = results.certificate)
      out += text(" %11.2f%% %11.1f%%", 100 * certificate->share,
                  100.0 * certificate->fellBack / certificate->groups);
    out += "\n";
  }
  for (const std::string &step : steps) {
    double context = findCrossover(points, step);
    out += step;
    if (context == 0)
      out += text(" is not faster than dense up to %lld tokens\n",
                  whole(points.back().context));
    else if (context == points.front().context)
      out += text(" is faster than dense at all of these contexts\n");
    else
      out += text(" is faster than dense from about %.0f tokens on\n", context);
  }
  return out;
}

std::string bench::writeTable(const Options &options, const Results &results,
                              const std::vector<CrossoverPoint> &crossover) {
  std::string out = getProblemText(options) + "\n";
  out += results.processor + ", " + results.details;
  if (!results.architecture.empty())
    out += ", code for " + results.architecture;
  out += text("; in this run: read %.1f GB/s, %.1f G multiply-adds/s\n\n",
              results.readBandwidth * 1e-9, results.multiplyAddRate * 1e-9);
  out += text("%-18s %10s %10s %10s %8s %8s %8s", "", "median ms", "best ms",
              "MB", "GB/s", "GMA/s", "of roof");
  if (options.verify)
    out += text(" %10s %10s %10s", "rms error", "max error", "missed");
  out += "\n";
  for (const EntryResult &result : results.entries)
    if (result.entry.kind != Entry::preparation)
      out += writeEntry(results, result);
  if (results.certificate)
    out += writeCertificate(options, results);
  if (const EntryResult *prepared = results.find("summarize")) {
    double seconds = prepared->timing.median;
    out += text(
        "\n%s, made once and kept by appends: %.1f ms, %.0f ns per "
        "token and KV head.\n",
        !options.sketch    ? "Summaries of all pages"
        : options.routes() ? "Summaries of all pages, sketches of all tokens"
                           : "Sketches of all tokens",
        seconds * 1e3,
        seconds * 1e9 / (options.batch * options.context * options.kvHeads));
  }
  if (!crossover.empty())
    out += writeCrossover(options, crossover);
  return out;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

namespace {

/// An object's values, each with its key.
struct Fields {
  tool::JsonWriter &json;
  void add(const char *name, double value) {
    json.key(name);
    json.number(value);
  }
  void count(const char *name, int64_t value) {
    json.key(name);
    json.number(value);
  }
  void string(const char *name, const std::string &value) {
    json.key(name);
    json.string(value);
  }
};

} // namespace

static void writeEntry(tool::JsonWriter &json, const Results &results,
                       const EntryResult &result) {
  Fields fields{json};
  json.beginObject();
  fields.string("entry", result.entry.name);
  fields.string("step", result.step);
  fields.add("median_seconds", result.timing.median);
  fields.add("best_seconds", result.timing.best);
  fields.add("bytes", result.work.bytes);
  fields.add("passed_bytes", result.work.passedBytes);
  fields.add("multiply_adds", result.work.multiplyAdds);
  fields.add("floor_seconds", getFloor(results, result.work));
  if (result.checked)
    fields.add("checked_median_seconds", result.checked->median);
  if (result.accuracy) {
    fields.add("rms_error", result.accuracy->rmsError);
    fields.add("max_error", result.accuracy->maxError);
    fields.add("rms_output", result.accuracy->rmsOutput);
    fields.add("mean_mass_not_attended", result.accuracy->meanMissed);
    fields.add("max_mass_not_attended", result.accuracy->maxMissed);
  }
  json.endObject();
}

static void writeCertificate(tool::JsonWriter &json, const Options &o,
                             const Results &results) {
  const Certificate &found = *results.certificate;
  Fields fields{json};
  json.key("certificate");
  json.beginObject();
  fields.string("target", o.target);
  fields.add("tolerance", o.tolerance);
  fields.string("sketch", o.sketch.text());
  fields.string("sketch_scales", o.sketch.scaleType);
  fields.string("sketch_norms", o.sketch.normType);
  fields.add("sketch_bytes_per_token", getSketchBytes(o) / o.kvHeads);
  fields.add("norm_bytes_per_token", 8.0 / o.pageSize);
  fields.add("sketch_share_of_cache", getSketchBytes(o) / getTokenBytes(o));
  fields.add("mean_tokens", found.meanTokens);
  fields.add("most_tokens", found.mostTokens);
  fields.add("share_of_tokens", found.share);
  fields.count("rows", found.rows);
  fields.count("rows_certified", found.certified);
  fields.add("mean_tau", found.meanTau);
  fields.count("groups", found.groups);
  fields.count("groups_fell_back", found.fellBack);
  fields.count("groups_picked_again", found.pickedAgain);
  if (found.truth) {
    fields.count("false_certificates", found.truth->falseOnes);
    fields.add("mean_missed", found.truth->meanMissed);
    fields.add("max_missed", found.truth->mostMissed);
    fields.add("max_output_error", found.truth->mostError);
  }
  fields.count("uncertified_tokens", results.uncertifiedTokens);
  fields.add("cost_seconds", results.find("certified")->timing.median -
                                 results.find("uncertified")->timing.median);
  json.endObject();
}

static void writeCrossover(tool::JsonWriter &json, const Options &o,
                           const std::vector<CrossoverPoint> &points) {
  Fields fields{json};
  json.key("crossover");
  json.beginObject();
  json.key("contexts");
  json.beginArray();
  for (const CrossoverPoint &point : points) {
    json.beginObject();
    fields.count("context", point.context);
    fields.add("dense_seconds", point.results.find("dense")->timing.median);
    for (const std::string &step : getSparseSteps(o))
      fields.add((step + "_seconds").c_str(),
                 point.results.find(step)->timing.median);
    if (const auto &certificate = point.results.certificate) {
      fields.add("share_of_tokens", certificate->share);
      fields.count("groups_fell_back", certificate->fellBack);
    }
    json.endObject();
  }
  json.endArray();
  // Null where a step is not faster at the longest.
  for (const std::string &step : getSparseSteps(o)) {
    double context = findCrossover(points, step);
    json.key((step + "_from").c_str());
    if (context > 0)
      json.number(context);
    else
      json.null();
  }
  json.endObject();
}

std::string bench::writeJson(const Options &options, const Results &results,
                             const std::vector<CrossoverPoint> &crossover) {
  tool::JsonWriter json;
  Fields fields{json};
  json.beginObject();
  fields.string("problem", getProblemText(options));
  fields.string("processor", results.processor);
  fields.string("device", results.device);
  if (!results.architecture.empty())
    fields.string("architecture", results.architecture);
  fields.count("threads", results.numThreads);
  fields.add("read_bytes_per_second", results.readBandwidth);
  fields.add("multiply_adds_per_second", results.multiplyAddRate);
  json.key("stages");
  json.beginArray();
  for (const EntryResult &result : results.entries)
    writeEntry(json, results, result);
  json.endArray();
  if (results.certificate)
    writeCertificate(json, options, results);
  if (!crossover.empty())
    writeCrossover(json, options, crossover);
  json.endObject();
  return json.take();
}
