//===- vashista-bench.cpp - Measures decode steps ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"
#include "Report.h"

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
  if (options.printGraph)
    return print(getGraph(options, problem.sharesRows));
  if (Error error = makeProblem(options, problem))
    return report(error);
  Results results;
  if (Error error = measure(options, problem, results))
    return report(error);
  return print(options.json ? writeJson(options, results)
                            : writeTable(options, results));
}
