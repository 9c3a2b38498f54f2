//===- vashista-bench.cpp - Measures decode steps ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"
#include "Report.h"
#include "Tune.h"

#include "vashista_runtime.h"

#include <cstdio>

using namespace vashista;
using namespace vashista::bench;

static int report(const Error &error) {
  // Who failed without a message has said it already.
  if (!error.message().empty())
    fprintf(stderr, "vashista-bench: error: %s\n", error.message().c_str());
  return 1;
}

static int print(const std::string &out) {
  if (fwrite(out.data(), 1, out.size(), stdout) != out.size() ||
      fflush(stdout) != 0)
    return report(tool::fail("cannot write to standard output: %m"));
  return 0;
}

/// With a target the step without a certificate follows. How many tokens the
/// certified one attends is known only when it has run: unless it is said, as
/// many as that may.
static int printGraph(const Options &options, bool sharesRows) {
  std::vector<Entry> entries = getCommonEntries(options, sharesRows);
  for (const Entry &entry : getStepEntries(options, sharesRows))
    entries.push_back(entry);
  if (options.isCertified()) {
    int64_t tokens =
        options.uncertified ? options.uncertified : options.candidates;
    for (const Entry &entry :
         getStepEntries(getUncertified(options, tokens), sharesRows))
      entries.push_back(entry);
  }
  return print(getModule(entries));
}

int main(int argc, char **argv) {
  Options options;
  if (Error error = parseOptions(argc, argv, options))
    return report(error);
  if (options.help)
    return print(helpText);
  if (options.version)
    return print(std::string("vashista ") + vashista_runtime_version() + "\n");

  Problem problem;
  if (!options.trace.empty())
    if (Error error = readTraceSizes(options, problem))
      return report(error);
  const Options given = options;
  if (Error error = completeOptions(options))
    return report(error);
  if (options.printGraph)
    return printGraph(options, problem.sharesRows);
  std::unique_ptr<Machine> machine;
  if (Error error = makeMachine(options, machine))
    return report(error);
  if (Error error = makeProblem(options, problem))
    return report(error);
  if (options.tune) {
    Error error = tune(options, *machine, problem);
    return error ? report(error) : 0;
  }
  Results results;
  std::vector<CrossoverPoint> crossover;
  if (Error error = measure(options, *machine, problem, results))
    return report(error);
  if (options.crossover)
    if (Error error =
            measureCrossover(given, *machine, results, problem, crossover))
      return report(error);
  int failed = print(options.json ? writeJson(options, results, crossover)
                                  : writeTable(options, results, crossover));
  if (failed)
    return failed;
  if (results.certificate && results.certificate->truth &&
      results.certificate->truth->falseOnes > 0)
    return report(tool::fail(
        "expected every certificate to hold, got %lld false ones",
        static_cast<long long>(results.certificate->truth->falseOnes)));
  return 0;
}
