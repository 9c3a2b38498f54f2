//===- Measure.cpp - Times steps and stages ----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"

#include "Input.h"
#include "Policy.h"

#include <algorithm>
#include <cmath>

using namespace vashista;
using namespace vashista::bench;

static Timing summarize(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  size_t n = times.size();
  return {(times[(n - 1) / 2] + times[n / 2]) / 2, times[0]};
}

namespace {

/// An entry and what was measured of it.
struct Measured {
  Entry entry;
  const Options *options; // the policy of its step
  std::string step;
  std::unique_ptr<Call> call;
  std::vector<double> times, checkedTimes;

  bool isStep() const { return entry.kind == Entry::step; }
};

class Measurement {
public:
  Measurement(const Options &options, Machine &machine, Problem &problem,
              Results &results)
      : options(options), machine(machine), problem(problem), results(results) {
  }

  Error run();

private:
  /// Entries in a module, of which an artefact that is given has all.
  Error compile(const Options &policy, const std::vector<Entry> &entries,
                tool::Module &module);
  /// Runs each entry once, checked, for those after it.
  Error add(const Options &policy, const std::vector<Entry> &entries,
            tool::Module &module);
  /// How many tokens the step without a certificate attends.
  Error countUncertified();
  Error runRound(int64_t round);
  Error read();
  Error call(Measured &measured, bool checked, std::vector<double> *times);
  Error report();

  const Options &options;
  Options uncertified;
  Machine &machine;
  Problem &problem;
  Results &results;
  tool::Module module, secondModule;
  std::vector<Measured> all;
  std::vector<double> reads, rates;
};

} // namespace

Error Measurement::compile(const Options &policy,
                           const std::vector<Entry> &entries,
                           tool::Module &module) {
  if (options.artefact.empty())
    return tool::compileText(getModule(entries), "the graph that is measured",
                             machine.getTarget(), machine.getDevice(), module);
  if (Error error =
          tool::loadInput(options.artefact, machine.getDevice(), module))
    return error;
  return checkPolicy(module.get(), policy);
}

Error Measurement::countUncertified() {
  int64_t &tokens = results.uncertifiedTokens;
  tokens = options.uncertified;
  if (tokens > 0)
    return Error::success();
  if (!options.artefact.empty())
    return readCandidates(module.get(), "uncertified", tokens);
  double attended = readCertificate(options, problem, nullptr).meanTokens;
  tokens = std::max<int64_t>(
      {std::llround(attended), options.sinks + options.window, 1});
  return Error::success();
}

Error Measurement::add(const Options &policy, const std::vector<Entry> &entries,
                       tool::Module &module) {
  if (Error error = compile(policy, entries, module))
    return error;
  size_t first = all.size();
  for (const Entry &entry : entries) {
    bool isOfStep = entry.kind == Entry::stage || entry.name == policy.step;
    all.push_back({entry,
                   &policy,
                   isOfStep ? policy.step : entry.name,
                   machine.makeCall(),
                   {},
                   {}});
  }
  for (size_t i = first; i < all.size(); ++i) {
    Measured &measured = all[i];
    if (Error error = measured.call->bind(module.get(), measured.entry,
                                          measured.step, problem))
      return error;
    if (Error error = call(measured, /*checked=*/true, nullptr))
      return error;
  }
  if (Error error = problem.fetchResults())
    return error;
  return compareStages(policy, problem);
}

Error Measurement::call(Measured &measured, bool checked,
                        std::vector<double> *times) {
  double seconds;
  Error error = measured.call->run(checked, seconds);
  if (!error && times)
    times->push_back(seconds);
  return error;
}

/// Fills the machine's caches with something else, and measures that.
Error Measurement::read() {
  reads.emplace_back();
  return machine.measureRead(problem, reads.back());
}

Error Measurement::runRound(int64_t round) {
  const Entry *last = nullptr;
  for (Measured &measured : all) {
    const Entry &entry = measured.entry;
    // What prepares takes long, most of all on a GPU, and is not what is asked
    // for.
    if ((entry.kind == Entry::stage && options.brief) ||
        (entry.kind == Entry::preparation &&
         round >= (machine.isDevice() ? 1 : 3)))
      continue;
    // Each step starts with a cache full of something else; a stage with what
    // the stage before left.
    if (entry.kind != Entry::preparation &&
        (measured.isStep() || last->kind == Entry::step))
      if (Error error = read())
        return error;
    if (entry.name == "dense") {
      rates.emplace_back();
      if (Error error = machine.measureMultiplyAdds(rates.back()))
        return error;
    }
    if (Error error = call(measured, /*checked=*/false, &measured.times))
      return error;
    if (options.isChecked && measured.isStep()) {
      if (Error error = read())
        return error;
      if (Error error =
              call(measured, /*checked=*/true, &measured.checkedTimes))
        return error;
    }
    last = &entry;
  }
  return Error::success();
}

Error Measurement::run() {
  results.numThreads = getThreads(options);
  results.processor = machine.getName();
  results.details = machine.getDetails();
  results.device = "cpu";
  problem.device = machine.getDevice();
  if (Error error = problem.place())
    return error;
  std::vector<Entry> entries = getCommonEntries(options, problem.sharesRows);
  for (Entry &entry : getStepEntries(options, problem.sharesRows))
    entries.push_back(std::move(entry));
  if (Error error = add(options, entries, module))
    return error;
  if (options.isCertified()) {
    if (Error error = countUncertified())
      return error;
    uncertified = getUncertified(options, results.uncertifiedTokens);
    if (Error error =
            add(uncertified, getStepEntries(uncertified, problem.sharesRows),
                secondModule))
      return error;
  }
  for (int64_t round = 0; round < options.repeat; ++round)
    if (Error error = runRound(round))
      return error;
  return report();
}

Error Measurement::report() {
  if (machine.isDevice()) {
    results.device = tool::text("cuda:%d", machine.getDevice().device_id);
    vashista_module_info info;
    if (vashista_module_describe(module.get(), &info))
      return Error(vashista_last_error());
    results.architecture = info.architecture;
  }
  if (Error error = problem.fetchResults())
    return error;
  results.readBandwidth = summarize(reads).median;
  results.multiplyAddRate = summarize(rates).median;
  std::optional<Reference> reference;
  if (options.verify)
    reference = computeReference(
        options, problem,
        options.isCertified() ? getLists(options) : std::vector<std::string>(),
        results.numThreads);
  if (options.isCertified())
    results.certificate =
        readCertificate(options, problem, reference ? &*reference : nullptr);

  for (const Measured &measured : all) {
    if (measured.times.empty() && measured.entry.kind == Entry::stage)
      continue;
    EntryResult result;
    result.entry = measured.entry;
    result.step = measured.step;
    result.timing = summarize(measured.times);
    if (!measured.checkedTimes.empty())
      result.checked = summarize(measured.checkedTimes);
    if (measured.isStep() && measured.step == measured.options->step) {
      std::vector<Work> stages;
      for (const Measured &other : all)
        if (other.entry.kind == Entry::stage && other.step == measured.step)
          stages.push_back(getWork(*other.options, problem, other.entry));
      result.work = getStepWork(*measured.options, problem, stages);
    } else {
      result.work = getWork(*measured.options, problem, measured.entry);
    }
    if (reference && measured.isStep())
      result.accuracy = compare(*reference, problem[measured.step + ".o"],
                                problem[measured.step + ".lse"]);
    results.entries.push_back(std::move(result));
  }
  return Error::success();
}

Error bench::measure(const Options &options, Machine &machine, Problem &problem,
                     Results &results) {
  return Measurement(options, machine, problem, results).run();
}

const EntryResult *Results::find(const std::string &entry) const {
  for (const EntryResult &result : entries)
    if (result.entry.name == entry)
      return &result;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Crossover
//===----------------------------------------------------------------------===//

Error bench::measureCrossover(const Options &given, Machine &machine,
                              const Results &whole, Problem &problem,
                              std::vector<CrossoverPoint> &points) {
  std::vector<int64_t> contexts;
  for (int64_t context = 1024; context < given.context; context *= 2)
    contexts.push_back(context);
  points.push_back({given.context, whole});
  for (auto it = contexts.rbegin(); it != contexts.rend(); ++it) {
    // What was not given depends on the context.
    Options options = given;
    options.context = *it;
    options.crossover = options.isChecked = options.verify = false;
    options.brief = true;
    Results results;
    if (Error error = completeOptions(options))
      return error;
    if (Error error = shorten(options, problem))
      return error;
    if (Error error = measure(options, machine, problem, results))
      return error;
    points.push_back({*it, std::move(results)});
  }
  std::reverse(points.begin(), points.end());
  return Error::success();
}

double bench::findCrossover(const std::vector<CrossoverPoint> &points,
                            const std::string &step) {
  /// Above 0 where the step is faster.
  auto getGain = [&](const CrossoverPoint &point) {
    return std::log(point.results.find("dense")->timing.median /
                    point.results.find(step)->timing.median);
  };
  if (getGain(points.back()) <= 0)
    return 0;
  size_t i = points.size() - 1;
  while (i > 0 && getGain(points[i - 1]) > 0)
    --i;
  if (i == 0)
    return points[0].context;
  double before = getGain(points[i - 1]), after = getGain(points[i]);
  double part = -before / (after - before);
  return points[i - 1].context *
         std::pow(static_cast<double>(points[i].context) /
                      points[i - 1].context,
                  part);
}
