//===- Options.cpp - The command line of vashista-bench -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include "Device.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

const char bench::helpText[] =
    R"(usage: vashista-bench decode [options]

Times one decode step, dense and sparse, stage by stage, and beside it, in the
same run, the two roofs: how fast all threads read memory and how many
multiply-adds they do. With a target, also the same step without a certificate.

The problem:
  --batch=N         sequences (1)
  --heads=N         query heads (32)
  --kv-heads=N      KV heads (8)
  --head-dim=N      dimension of keys (128)
  --value-dim=N     dimension of values (as of keys)
  --page-size=N     tokens per page (16)
  --context=N       tokens of each sequence (131072)
  --dtype=T         of cache and queries: f32, f16 or bf16 (bf16)
  --data=KIND       gauss: all random; needle: random, but some tokens hold most
                    of the mass (gauss; with a target needle)
  --need=X          with needle: share of the tokens that a KV head needs for a
                    proof, about, in the mean over KV heads (0.08)
  --trace=PREFIX    queries, keys and values from PREFIX.{q,k,v}.npy instead of
                    generated ones: q [rows, heads, D], k [tokens, D],
                    v [tokens, Dv]; row i of R sees all but R - 1 - i tokens
  --table=ORDER     pages in memory: shuffled or linear (shuffled)
  --seed=N          of random numbers and of the page table (1)

The policy of the sparse step:
  --pages=N         routed pages; 0: tokens are scored everywhere (64; with a
                    target 0)
  --candidates=N    attended tokens; 0: all of the routed pages (128). With
                    --target=tau, at most in each round; with a target (a
                    quarter of the context)
  --sinks=N         tokens at the start that are always attended (4)
  --window=N        tokens at the end that are always attended (64)
  --summary=KIND    that routes: mean, mean_std, box or ball (mean_std)
  --sketch=FORMAT   that tokens are scored by, instead of their keys, as
                    bits=4,group=32,rotation=hadamard,norm=token (with a target
                    that)
  --sketch-scales=T type of its scales: f8E4M3FN or f16 (f8E4M3FN)
  --sketch-norms=T  type of its residual norms: i8, f8E4M3FN or f16 (i8)

The certificate:
  --target=T        tau: mass that is not attended, at most; output_error: norm
                    of the error of the output, at most
  --tolerance=X     how much (of tau 0.5)
  --rounds=N        times that tokens are picked, 1 to 8 (of tau without pages 2,
                    else 1)
  --uncertified=N   tokens per KV head of the step without a certificate (as many
                    as the certified one attends, in the mean)

The measurement:
  --artefact=FILE   an artefact that vashista-compile made of what --print-graph
                    prints with the same options; none is compiled then
  --device=D        where: cpu, or a CUDA device, cuda:0 and so on (cpu)
  --threads=N       at most (the CPUs that the process may use)
  --repeat=N        rounds, of which medians are taken (9)
  --crossover       also at contexts that double from 1024 on: from which on is
                    the sparse step faster
  --checked         also time the steps in checked mode
  --verify          compare with attention in float64: error of the output, mass
                    that the sparse step does not attend, and certificates, of
                    which none may be false
  --brief           the steps only, no stages
  --json            print one JSON object
  --print-graph     print the module that is measured, and stop
  --tune            instead, search for faster schedules of the dense and the
                    sparse step
  --tuned=FILE      with --tune: where the module with the best goes
  --help, --version
)";

/// Reads a whole number in a range.
static Error parseNumber(const std::string &name, const char *text,
                         int64_t least, int64_t most, int64_t &value) {
  char *end = nullptr;
  errno = 0;
  long long parsed = strtoll(text, &end, 10);
  bool isNumber =
      *text && !*end && (*text == '-' || (*text >= '0' && *text <= '9'));
  if (!isNumber || errno == ERANGE || parsed < least || parsed > most)
    return fail("expected %s=N with N from %lld to %lld, got %s", name.c_str(),
                static_cast<long long>(least), static_cast<long long>(most),
                tool::quote(text).c_str());
  value = parsed;
  return Error::success();
}

/// Reads a decimal number that is above 0.
static Error parseReal(const std::string &name, const char *text,
                       double &value) {
  char *end = nullptr;
  double parsed = strtod(text, &end);
  bool isNumber =
      *text && !*end && strspn(text, "0123456789.eE+-") == strlen(text);
  if (!isNumber || !(parsed > 0) || !std::isfinite(parsed))
    return fail("expected %s=X with X a number above 0, got %s", name.c_str(),
                tool::quote(text).c_str());
  value = parsed;
  return Error::success();
}

/// What only a certificate has, where there is none.
static Error verifyUncertified(const Options &o) {
  if (o.tolerance > 0)
    return fail("expected --target=tau or output_error with --tolerance, got "
                "none");
  if (o.rounds > 1)
    return fail("expected --target=tau with --rounds above 1, got none");
  if (o.uncertified > 0)
    return fail("expected --target=tau or output_error with --uncertified, got "
                "none");
  if (o.sketch && o.candidates == 0)
    return fail("expected --candidates above 0 with --sketch, got 0");
  return Error::success();
}

static Error verifyCertified(const Options &o) {
  if (o.target == "output_error" && o.tolerance == 0)
    return fail("expected --tolerance=X with --target=output_error, got none");
  // Tolerances are rounded down to f32, and must be something there.
  if (o.tolerance < 0x1p-126)
    return fail("expected --tolerance=X with X at least 2^-126, got %g",
                o.tolerance);
  if (o.target == "tau" && o.tolerance >= 1)
    return fail("expected --tolerance=X with X below 1 for --target=tau, got "
                "%g",
                o.tolerance);
  if (o.tolerance > 3e38)
    return fail("expected --tolerance=X with X at most 3e38, got %g",
                o.tolerance);
  if (o.candidates == 0)
    return fail("expected --candidates above 0 with --target, got 0");
  if (o.target == "output_error" && o.rounds > 1)
    return fail("expected --rounds=1 with --target=output_error, got %lld",
                static_cast<long long>(o.rounds));
  if (o.uncertified > 0 && o.uncertified < o.sinks + o.window)
    return fail("expected --uncertified to hold --sinks and --window, %lld "
                "tokens, got %lld",
                static_cast<long long>(o.sinks + o.window),
                static_cast<long long>(o.uncertified));
  if (o.routes() && o.rounds > 1)
    return fail("expected --rounds=1 with --pages, got %lld",
                static_cast<long long>(o.rounds));
  if (o.routes() && o.summary != "box" && o.summary != "ball")
    return fail("expected --summary=box or ball with --target and --pages, got "
                "%s, which bounds nothing",
                o.summary.c_str());
  return Error::success();
}

/// What is searched is compiled, and measured in a way of its own.
static Error verifyTuning(const Options &o) {
  if (!o.tune)
    return o.tuned.empty() ? Error::success()
                           : fail("expected --tune with --tuned, got none");
  if (o.tuned.empty())
    return fail("expected --tuned=FILE with --tune, got none");
  const std::pair<bool, const char *> others[] = {
      {!o.artefact.empty(), "--artefact"},
      {o.printGraph, "--print-graph"},
      {o.crossover, "--crossover"},
      {o.isChecked, "--checked"},
      {o.verify, "--verify"},
      {o.brief, "--brief"},
      {o.json, "--json"},
      {o.uncertified > 0, "--uncertified"}};
  for (const auto &[isGiven, name] : others)
    if (isGiven)
      return fail("expected --tune or %s, got both", name);
  return Error::success();
}

static Error verifyOptions(const Options &o) {
  if (Error error = verifyTuning(o))
    return error;
  auto number = [](int64_t value) { return static_cast<long long>(value); };
  if (o.heads % o.kvHeads != 0 || o.heads / o.kvHeads > 16)
    return fail("expected --heads to be 1 to 16 times --kv-heads, got %lld and "
                "%lld",
                number(o.heads), number(o.kvHeads));
  if (!o.isCertified() && o.pages == 0 && o.candidates == 0)
    return fail("expected --pages or --candidates above 0, got 0 and 0");
  if (o.candidates > 0 && o.candidates < o.sinks + o.window)
    return fail("expected --candidates to hold --sinks and --window, %lld "
                "tokens, got %lld",
                number(o.sinks + o.window), number(o.candidates));
  if (o.pages > 0 && o.candidates > o.pages * o.pageSize)
    return fail("expected --candidates of at most %lld, the tokens of --pages, "
                "got %lld",
                number(o.pages * o.pageSize), number(o.candidates));
  int64_t numPages = (o.context + o.pageSize - 1) / o.pageSize;
  if (o.batch * numPages > INT32_MAX)
    return fail("expected at most %d pages in all, got %lld", INT32_MAX,
                number(o.batch * numPages));
  if (!o.trace.empty() && o.crossover)
    return fail("expected generated data with --crossover, got --trace");
  if (o.printGraph && !o.artefact.empty())
    return fail("expected --print-graph or --artefact, got both");
  if (o.crossover && o.context <= 1024)
    return fail("expected --context=N with N from 1025 on with --crossover, "
                "got %lld",
                number(o.context));
  return o.isCertified() ? verifyCertified(o) : verifyUncertified(o);
}

Error bench::completeOptions(Options &o) {
  if (!o.trace.empty() && !o.data.empty())
    return fail("expected --trace or --data, got both");
  if (o.data.empty())
    o.data = o.isCertified() ? "needle" : "gauss";
  if (o.need > 0 && (o.data != "needle" || !o.trace.empty()))
    return fail("expected --data=needle with --need, got %s",
                o.trace.empty() ? "gauss" : "--trace");
  if (o.need > 1)
    return fail("expected --need=X with X at most 1, got %g", o.need);
  if (o.need == 0)
    o.need = 0.08;
  if (o.valueDim == 0)
    o.valueDim = o.headDim;
  if (o.isCertified()) {
    o.step = "certified";
    if (!o.sketch)
      if (Error error =
              o.sketch.parse("bits=4,group=32,rotation=hadamard,norm=token"))
        return error;
    if (o.target == "tau" && o.tolerance == 0)
      o.tolerance = 0.5;
  }
  bool hasTypes = !o.sketch.scaleType.empty() || !o.sketch.normType.empty();
  if (hasTypes && !o.sketch)
    return fail("expected --sketch or --target with %s, got neither",
                o.sketch.scaleType.empty() ? "--sketch-norms"
                                           : "--sketch-scales");
  if (o.sketch.scaleType.empty())
    o.sketch.scaleType = "f8E4M3FN";
  if (o.sketch.normType.empty())
    o.sketch.normType = "i8";
  if (o.pages < 0)
    o.pages = o.isCertified() ? 0 : 64;
  // An artefact has one list, and the usual one grows with the context.
  if (o.candidates < 0 && o.crossover && o.isCertified() && !o.artefact.empty())
    return fail("expected --candidates=N with --crossover, --target and "
                "--artefact, got none");
  if (o.candidates < 0) {
    o.candidates =
        !o.isCertified() ? 128 : std::max(o.context / 4, o.sinks + o.window);
    if (o.pages > 0)
      o.candidates = std::min(o.candidates, o.pages * o.pageSize);
  }
  if (o.rounds < 0)
    o.rounds = o.isProving() && !o.routes() ? 2 : 1;
  return verifyOptions(o);
}

Error bench::parseOptions(int argc, char **argv, Options &options) {
  for (int i = 1; i < argc; ++i) {
    options.help |= !strcmp(argv[i], "--help");
    options.version |= !strcmp(argv[i], "--version");
  }
  if (options.help || options.version)
    return Error::success();

  struct Number {
    const char *name;
    int64_t *value;
    int64_t least, most;
  };
  const Number numbers[] = {{"--batch", &options.batch, 1, 65536},
                            {"--heads", &options.heads, 1, 1024},
                            {"--kv-heads", &options.kvHeads, 1, 1024},
                            {"--head-dim", &options.headDim, 1, 1024},
                            {"--value-dim", &options.valueDim, 1, 1024},
                            {"--page-size", &options.pageSize, 1, 4096},
                            {"--context", &options.context, 1, 1 << 24},
                            {"--seed", &options.seed, 0, INT32_MAX},
                            {"--pages", &options.pages, 0, 1 << 20},
                            {"--candidates", &options.candidates, 0, 1 << 20},
                            {"--sinks", &options.sinks, 0, 1 << 20},
                            {"--window", &options.window, 0, 1 << 20},
                            {"--rounds", &options.rounds, 1, 8},
                            {"--uncertified", &options.uncertified, 1, 1 << 20},
                            {"--repeat", &options.repeat, 1, 100000},
                            {"--threads", &options.threads, 1, 1024}};
  struct Flag {
    const char *name;
    bool *value;
  };
  const Flag flags[] = {{"--checked", &options.isChecked},
                        {"--verify", &options.verify},
                        {"--crossover", &options.crossover},
                        {"--json", &options.json},
                        {"--brief", &options.brief},
                        {"--print-graph", &options.printGraph},
                        {"--tune", &options.tune}};
  if (argc < 2 || strcmp(argv[1], "decode"))
    return fail("expected 'decode' as the first word, got %s",
                argc < 2 ? "none" : tool::quote(argv[1]).c_str());
  for (int i = 2; i < argc; ++i) {
    const char *equals = strchr(argv[i], '=');
    std::string name(argv[i], equals ? equals - argv[i] : strlen(argv[i]));
    const char *text = equals ? equals + 1 : nullptr;
    bool isKnown = false;
    for (const Flag &flag : flags)
      if (name == flag.name) {
        if (text)
          return fail("expected %s without a value, got %s", flag.name,
                      tool::quote(text).c_str());
        *flag.value = isKnown = true;
      }
    if (isKnown)
      continue;
    static const char *const words[] = {
        "--dtype",         "--table",        "--summary",   "--device",
        "--trace",         "--target",       "--tolerance", "--sketch",
        "--sketch-scales", "--sketch-norms", "--data",      "--need",
        "--artefact",      "--tuned"};
    for (const char *word : words)
      isKnown |= name == word;
    for (const Number &number : numbers)
      isKnown |= name == number.name;
    if (!isKnown)
      return fail("unknown option %s; --help lists those that exist",
                  tool::quote(argv[i]).c_str());
    // The value may be the next word.
    if (!text && i + 1 < argc)
      text = argv[++i];
    if (!text)
      return fail("expected a value after %s, got none", name.c_str());
    Error error = Error::success();
    if (name == "--dtype")
      error = parseWord(name, text, {"f32", "f16", "bf16"}, options.dtype);
    else if (name == "--table")
      error = parseWord(name, text, {"shuffled", "linear"}, options.table);
    else if (name == "--summary")
      error = parseWord(name, text, {"mean", "mean_std", "box", "ball"},
                        options.summary);
    else if (name == "--device")
      error = tool::parseDevice(text, options.device);
    else if (name == "--trace")
      options.trace = text;
    else if (name == "--artefact")
      options.artefact = text;
    else if (name == "--tuned")
      options.tuned = text;
    else if (name == "--data")
      error = parseWord(name, text, {"gauss", "needle"}, options.data);
    else if (name == "--need")
      error = parseReal(name, text, options.need);
    else if (name == "--target")
      error = parseWord(name, text, {"tau", "output_error"}, options.target);
    else if (name == "--tolerance")
      error = parseReal(name, text, options.tolerance);
    else if (name == "--sketch")
      error = options.sketch.parse(text);
    else if (name == "--sketch-scales")
      error =
          parseWord(name, text, {"f8E4M3FN", "f16"}, options.sketch.scaleType);
    else if (name == "--sketch-norms")
      error = parseWord(name, text, {"i8", "f8E4M3FN", "f16"},
                        options.sketch.normType);
    for (const Number &number : numbers)
      if (name == number.name)
        error =
            parseNumber(name, text, number.least, number.most, *number.value);
    if (error)
      return error;
  }
  return Error::success();
}
