//===- Tune.cpp - Searches schedules --------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Coordinate descent, from what the compiler chooses: op by op, parameter by
// parameter, a step up as long as the whole step becomes faster, and if none
// did, down. What the compiler refuses, or the device, is passed over. A
// candidate and the best so far run in turns, so that a machine that slows down
// does so for both, each with a cache full of something else. Medians that
// differ by less than 1 % are the same; what is less is measured again before
// it is believed.
//
//===----------------------------------------------------------------------===//

#include "Tune.h"

#include "Input.h"
#include "Scheduled.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

namespace {

/// A step as it is compiled.
struct Candidate {
  tool::Module module;
  std::unique_ptr<Call> call;
  /// Which results it writes, of two: a graph has been captured with them.
  bool isSecond = false;
};

/// What is tried of a parameter: double and half, or one more and one less.
struct Parameter {
  const char *name;
  int64_t least, most;
  bool doubles;
};

const Parameter parameters[] = {
    {"split", 64, 1 << 24, true}, {"splits", 1, 1 << 16, true},
    {"warps", 1, 32, true},       {"cluster", 1, 8, true},
    {"stages", 1, 8, true},       {"blocks", 1, 32, false}};

class Tuner {
public:
  Tuner(const Options &options, Machine &machine, Problem &problem)
      : options(options), machine(machine), problem(problem) {}

  Error run();

private:
  Error prepare(const Entry &entry);
  Error tuneStep(const Entry &entry);
  /// Takes apart what is one kernel, if that is faster: ops, or a score and the
  /// rounding of its directions.
  Error tryApart(size_t number);
  Error tuneParameter(size_t number, const Parameter &parameter);
  /// Of what is refused there is none.
  Error make(const std::string &text, bool quiet,
             std::optional<Candidate> &made);
  /// Whether a function is faster than the best so far, which it then is.
  Error compete(const ScheduledFunction &function, const std::string &what,
                bool &isBetter);
  Error compare(Candidate &one, Candidate &other, double &timeOfOne,
                double &timeOfOther);
  Error write();

  const Options &options;
  Machine &machine;
  Problem &problem;
  std::optional<ScheduledModule> module;
  // Of the step that is tuned.
  const Entry *entry = nullptr;
  ScheduledFunction *function = nullptr; // the best so far
  std::optional<Candidate> best;
};

} // namespace

static double getMedian(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  size_t n = times.size();
  return (times[(n - 1) / 2] + times[n / 2]) / 2;
}

/// At once, since the whole takes minutes.
static void say(const std::string &line) {
  printf("%s\n", line.c_str());
  fflush(stdout);
}

Error Tuner::make(const std::string &text, bool quiet,
                  std::optional<Candidate> &made) {
  Candidate candidate;
  Error error =
      tool::compileText(text, "the step that is tuned", machine.getTarget(),
                        machine.getDevice(), candidate.module, quiet);
  if (!error) {
    candidate.call = machine.makeCall();
    candidate.isSecond = best && !best->isSecond;
    error =
        candidate.call->bind(candidate.module.get(), *entry,
                             candidate.isSecond ? "second" : "first", problem);
  }
  double seconds;
  if (!error)
    error = candidate.call->run(/*checked=*/false, seconds);
  if (error)
    return error;
  made = std::move(candidate);
  return Error::success();
}

Error Tuner::compare(Candidate &one, Candidate &other, double &timeOfOne,
                     double &timeOfOther) {
  std::vector<double> times[2];
  Candidate *both[] = {&one, &other};
  for (int64_t round = 0; round < options.repeat; ++round)
    for (int i : {0, 1}) {
      double rate, seconds;
      if (Error error = machine.measureRead(problem, rate))
        return error;
      if (Error error = both[i]->call->run(/*checked=*/false, seconds))
        return error;
      times[i].push_back(seconds);
    }
  timeOfOne = getMedian(times[0]);
  timeOfOther = getMedian(times[1]);
  return Error::success();
}

Error Tuner::compete(const ScheduledFunction &tried, const std::string &what,
                     bool &isBetter) {
  isBetter = false;
  std::optional<Candidate> candidate;
  double time = 0, least = 0;
  if (make(module->getText(tried), /*quiet=*/true, candidate)) {
    say("  " + what + ": refused");
    return Error::success();
  }
  for (int i = 0; i < 2 && (i == 0 || isBetter); ++i) {
    if (Error error = compare(*candidate, *best, time, least))
      return error;
    isBetter = time < 0.99 * least;
  }
  say("  " + what +
      tool::text(": %.4f ms, best %.4f ms%s", time * 1e3, least * 1e3,
                 isBetter ? ", kept" : ""));
  if (!isBetter)
    return Error::success();
  best = std::move(candidate);
  *function = tried;
  // Whoever loses patience has what was found.
  return write();
}

Error Tuner::tryApart(size_t number) {
  OpSchedule &schedule = function->schedules[number];
  if (!schedule.find("fuse"))
    return Error::success();
  // What is not written is chosen, of all ops that were one.
  ScheduledFunction tried = *function;
  tried.schedules[number].parameters = {{"warps", "4"}};
  std::string text;
  if (Error error =
          tool::scheduleText(module->getText(tried), "the step that is tuned",
                             machine.getTarget(), text))
    return error;
  ScheduledModule apart(text);
  bool isBetter;
  return apart.functions.empty()
             ? Error::success()
             : compete(apart.functions.front(),
                       schedule.op + " fuse true -> false", isBetter);
}

Error Tuner::tuneParameter(size_t number, const Parameter &parameter) {
  if (!function->schedules[number].find(parameter.name))
    return Error::success();
  for (bool isUp : {true, false}) {
    bool isBetter = true, wasBetter = false;
    while (isBetter) {
      ScheduledFunction tried = *function;
      OpSchedule &schedule = tried.schedules[number];
      std::string &value = *schedule.find(parameter.name);
      int64_t before = strtoll(value.c_str(), nullptr, 10);
      int64_t after = parameter.doubles ? (isUp ? before * 2 : before / 2)
                                        : before + (isUp ? 1 : -1);
      // More than the whole sequence there is not.
      bool isWhole = parameter.name == std::string("split") && isUp &&
                     before >= options.context;
      if (after < parameter.least || after > parameter.most || isWhole)
        break;
      value = std::to_string(after);
      std::string what = schedule.op + " " + parameter.name + " " +
                         std::to_string(before) + " -> " + value;
      if (Error error = compete(tried, what, isBetter))
        return error;
      wasBetter |= isBetter;
    }
    if (wasBetter)
      break;
  }
  return Error::success();
}

Error Tuner::tuneStep(const Entry &step) {
  entry = &step;
  function = module->find(step.function);
  if (!function)
    return fail("expected the compiler to print the function '%s', got none",
                step.function.c_str());
  if (function->schedules.empty()) {
    say(step.title + ": nothing to search");
    return Error::success();
  }
  const ScheduledFunction chosen = *function;
  if (Error error = make(module->getText(chosen), /*quiet=*/false, best))
    return error;
  say(step.title + ":");
  for (size_t i = 0; i < function->schedules.size(); ++i)
    if (Error error = tryApart(i))
      return error;
  // The number of schedules is another where ops were taken apart.
  for (size_t i = 0; i < function->schedules.size(); ++i)
    for (const Parameter &parameter : parameters)
      if (Error error = tuneParameter(i, parameter))
        return error;
  std::optional<Candidate> baseline;
  double before, after;
  if (Error error = make(module->getText(chosen), /*quiet=*/true, baseline))
    return error;
  if (Error error = compare(*baseline, *best, before, after))
    return error;
  say(step.title + tool::text(": baseline %.4f ms, best %.4f ms, %.2f times as "
                              "fast",
                              before * 1e3, after * 1e3, before / after));
  // What only seemed to be better is not written.
  if (after >= before)
    *function = chosen;
  best.reset();
  return Error::success();
}

/// Runs what fills the tensors beside the cache.
Error Tuner::prepare(const Entry &preparation) {
  entry = &preparation;
  std::optional<Candidate> made;
  return make(preparation.text, /*quiet=*/false, made);
}

Error Tuner::write() {
  std::string text = module->getText();
  FILE *file = fopen(options.tuned.c_str(), "we");
  bool isWritten =
      file && fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file)
    isWritten &= fclose(file) == 0;
  return isWritten ? Error::success()
                   : fail("cannot write %s: %s",
                          tool::quote(options.tuned).c_str(), strerror(errno));
}

Error Tuner::run() {
  problem.device = machine.getDevice();
  if (Error error = problem.place())
    return error;
  std::vector<Entry> entries = getCommonEntries(options, problem.sharesRows);
  entries.push_back(getStepEntries(options, problem.sharesRows).front());
  std::string text;
  if (Error error =
          tool::scheduleText(getModule(entries), "the steps that are tuned",
                             machine.getTarget(), text))
    return error;
  module.emplace(text);
  // What cannot be written is not searched for minutes.
  if (Error error = write())
    return error;
  for (const Entry &entry : entries)
    if (Error error =
            entry.kind == Entry::preparation ? prepare(entry) : tuneStep(entry))
      return error;
  return write();
}

Error bench::tune(const Options &options, Machine &machine, Problem &problem) {
  return Tuner(options, machine, problem).run();
}
