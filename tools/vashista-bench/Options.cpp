//===- Options.cpp - The command line of vashista-bench -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include <cerrno>
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
multiply-adds they do.

The problem:
  --batch=N         sequences (1)
  --heads=N         query heads (32)
  --kv-heads=N      KV heads (8)
  --head-dim=N      dimension of keys (128)
  --value-dim=N     dimension of values (as of keys)
  --page-size=N     tokens per page (16)
  --context=N       tokens of each sequence (131072)
  --dtype=T         of cache and queries: f32, f16 or bf16 (bf16)
  --trace=PREFIX    queries, keys and values from PREFIX.{q,k,v}.npy instead of
                    random ones: q [rows, heads, D], k [tokens, D],
                    v [tokens, Dv]; row i of R sees all but R - 1 - i tokens
  --table=ORDER     pages in memory: shuffled or linear (shuffled)
  --seed=N          of random numbers and of the page table (1)

The policy of the sparse step:
  --pages=N         routed pages; 0: tokens are scored everywhere (64)
  --candidates=N    attended tokens; 0: all of the routed pages (128)
  --sinks=N         tokens at the start that are always attended (4)
  --window=N        tokens at the end that are always attended (64)
  --summary=KIND    that routes: mean, mean_std, box or ball (mean_std)

The measurement:
  --device=cpu      where (cpu)
  --threads=N       at most (the CPUs that the process may use)
  --repeat=N        rounds, of which medians are taken (9)
  --checked         also time the steps in checked mode
  --verify          compare with attention in float64: error of the output, and
                    mass that the sparse step does not attend
  --brief           the two steps only, no stages
  --json            print one JSON object
  --print-graph     print the module that is measured, and stop
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

static Error parseWord(const std::string &name, const char *text,
                       const std::vector<const char *> &words,
                       std::string &value) {
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (!strcmp(text, words[i])) {
      value = text;
      return Error::success();
    }
    list += i == 0 ? "" : i + 1 == words.size() ? " or " : ", ";
    list += words[i];
  }
  return fail("expected %s=%s, got %s", name.c_str(), list.c_str(),
              tool::quote(text).c_str());
}

static Error verifyOptions(const Options &o) {
  if (o.heads % o.kvHeads != 0 || o.heads / o.kvHeads > 16)
    return fail("expected --heads to be 1 to 16 times --kv-heads, got %lld and "
                "%lld",
                static_cast<long long>(o.heads),
                static_cast<long long>(o.kvHeads));
  if (o.pages == 0 && o.candidates == 0)
    return fail("expected --pages or --candidates above 0, got 0 and 0");
  int64_t numPages = (o.context + o.pageSize - 1) / o.pageSize;
  if (o.batch * numPages > INT32_MAX)
    return fail("expected at most %d pages in all, got %lld", INT32_MAX,
                static_cast<long long>(o.batch * numPages));
  return Error::success();
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
                            {"--repeat", &options.repeat, 1, 100000},
                            {"--threads", &options.threads, 1, 1024}};
  struct Flag {
    const char *name;
    bool *value;
  };
  const Flag flags[] = {{"--checked", &options.isChecked},
                        {"--verify", &options.verify},
                        {"--json", &options.json},
                        {"--brief", &options.brief},
                        {"--print-graph", &options.printGraph}};
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
    static const char *const words[] = {"--dtype", "--table", "--summary",
                                        "--device", "--trace"};
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
    std::string device;
    if (name == "--dtype")
      error = parseWord(name, text, {"f32", "f16", "bf16"}, options.dtype);
    else if (name == "--table")
      error = parseWord(name, text, {"shuffled", "linear"}, options.table);
    else if (name == "--summary")
      error = parseWord(name, text, {"mean", "mean_std", "box", "ball"},
                        options.summary);
    else if (name == "--device")
      error = strncmp(text, "cuda", 4)
                  ? parseWord(name, text, {"cpu"}, device)
                  : fail("expected --device=cpu: this build runs nothing on "
                         "%s yet",
                         tool::quote(text).c_str());
    else if (name == "--trace")
      options.trace = text;
    for (const Number &number : numbers)
      if (name == number.name)
        error =
            parseNumber(name, text, number.least, number.most, *number.value);
    if (error)
      return error;
  }
  if (options.valueDim == 0)
    options.valueDim = options.headDim;
  return verifyOptions(options);
}
