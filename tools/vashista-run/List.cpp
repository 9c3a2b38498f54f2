//===- List.cpp - Says what an artefact holds -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "List.h"
#include "Convert.h"
#include "Json.h"

#include <algorithm>
#include <cinttypes>

using namespace vashista::run;
using namespace vashista::tool;

//===----------------------------------------------------------------------===//
// Entries and values
//===----------------------------------------------------------------------===//

static vashista_module_info infoOf(const vashista_module *module) {
  vashista_module_info info = {};
  vashista_module_describe(module, &info);
  return info;
}

static vashista_entry_info infoOf(const vashista_module *module,
                                  uint32_t entry) {
  vashista_entry_info info = {};
  vashista_entry_describe(module, entry, &info);
  return info;
}

std::vector<ValueInfo> vashista::run::argumentsOf(const vashista_module *module,
                                                  uint32_t entry) {
  std::vector<ValueInfo> values(infoOf(module, entry).num_arguments);
  for (uint32_t i = 0; i < values.size(); ++i)
    vashista_argument_describe(module, entry, i, &values[i]);
  return values;
}

std::vector<ValueInfo> vashista::run::resultsOf(const vashista_module *module,
                                                uint32_t entry) {
  std::vector<ValueInfo> values(infoOf(module, entry).num_results);
  for (uint32_t i = 0; i < values.size(); ++i)
    vashista_result_describe(module, entry, i, &values[i]);
  return values;
}

std::string vashista::run::entryNames(const vashista_module *module) {
  std::string names;
  for (uint32_t i = 0; i < infoOf(module).num_entries; ++i)
    names += (i ? ", " : "") + quote(infoOf(module, i).name);
  return names;
}

Error vashista::run::findEntry(const vashista_module *module,
                               const std::string *name, uint32_t &entry) {
  entry = 0;
  if (!name) {
    if (infoOf(module).num_entries == 1)
      return Error::success();
    return fail("expected --entry to be one of %s, got no --entry",
                entryNames(module).c_str());
  }
  if (vashista_find_entry(module, name->c_str(), &entry) == VASHISTA_OK)
    return Error::success();
  return fail("expected --entry to be %s%s, got %s",
              infoOf(module).num_entries == 1 ? "" : "one of ",
              entryNames(module).c_str(), quote(*name).c_str());
}

/// Calls the function for each entry that is listed.
template <typename Function>
static void forEachEntry(const vashista_module *module, const uint32_t *only,
                         Function function) {
  for (uint32_t i = 0; i < infoOf(module).num_entries; ++i)
    if (!only || *only == i)
      function(i, infoOf(module, i));
}

static std::string digestText(const vashista_module_info &info) {
  std::string digits;
  for (int i = 0; i < 32; ++i)
    digits += text("%02x", info.digest[i]);
  return digits;
}

//===----------------------------------------------------------------------===//
// For people
//===----------------------------------------------------------------------===//

/// "[8, ?, 2 * lens.0]"
static std::string dimsText(const ValueInfo &value,
                            const std::vector<ValueInfo> &arguments) {
  std::string result = "[";
  for (int32_t d = 0; d < value.rank; ++d) {
    const vashista_dim &dim = value.dims[d];
    if (d)
      result += ", ";
    if (dim.kind == VASHISTA_DIM_STATIC)
      result += std::to_string(dim.size);
    else if (dim.kind == VASHISTA_DIM_DYNAMIC)
      result += "?";
    else
      result += (dim.size == 1 ? "" : std::to_string(dim.size) + " * ") +
                arguments[dim.argument].name + text(".%" PRIu32, dim.dim);
  }
  return result + "]";
}

static std::string valuesText(const char *heading,
                              const std::vector<ValueInfo> &values,
                              const std::vector<ValueInfo> &arguments) {
  std::string result;
  size_t width = 0;
  for (const ValueInfo &value : values)
    width = std::max(width, std::string(value.name).size());
  for (const ValueInfo &value : values) {
    result +=
        text("    %-*s  %s %s", static_cast<int>(width), value.name,
             nameOf(value.dtype).c_str(), dimsText(value, arguments).c_str());
    if (value.written)
      result += ", written in place";
    result += "\n";
  }
  return result.empty() ? "" : text("  %s\n", heading) + result;
}

static std::string checkText(const vashista_check_info &check,
                             const std::vector<ValueInfo> &arguments) {
  auto name = [&](int32_t argument) {
    return quote(arguments[static_cast<size_t>(argument)].name);
  };
  std::string result;
  switch (check.kind) {
  case VASHISTA_CHECK_TABLE:
    result =
        "lengths " + name(check.lens) + " and page ids " + name(check.table);
    break;
  case VASHISTA_CHECK_POSITIONS:
    result = "positions " + name(check.positions) + " and page ids " +
             name(check.table);
    break;
  case VASHISTA_CHECK_LIST:
    result = std::string(check.in_pages ? "pages " : "tokens ") +
             name(check.list) + " within lengths " + name(check.lens);
    break;
  }
  if (check.count >= 0)
    result += ", as many as " + name(check.count);
  if (check.rows >= 0)
    result += ", table rows " + name(check.rows);
  if (check.cache >= 0)
    result += text(", pages in dimension %d of %s", check.cache_dim,
                   name(check.cache).c_str());
  return result + text(", page size %" PRId64, check.page_size);
}

std::string vashista::run::listText(const vashista_module *module,
                                    const uint32_t *only) {
  vashista_module_info info = infoOf(module);
  std::string result = text("artefact of %s, %s, format %" PRIu32 "\n",
                            info.producer, info.compiler, info.format_version);
  for (uint32_t i = 0; i < info.num_payloads; ++i) {
    vashista_payload_info payload = {};
    vashista_payload_describe(module, i, &payload);
    if (payload.architecture)
      result += text("CUDA architecture %s\n", payload.architecture);
    else
      result += text("CPU features %s\n",
                     *payload.features ? payload.features : "of any x86-64");
  }
  result += text("digest %s\n", digestText(info).c_str());
  forEachEntry(module, only, [&](uint32_t i, const vashista_entry_info &entry) {
    std::vector<ValueInfo> arguments = argumentsOf(module, i);
    result += text("\n%s\n", entry.name);
    result += valuesText("arguments", arguments, arguments);
    result += valuesText("results", resultsOf(module, i), arguments);
    for (uint32_t c = 0; c < entry.num_constants; ++c) {
      vashista_constant_info constant = {};
      vashista_constant_describe(module, i, c, &constant);
      result += text("%s    %s = %s\n", c ? "" : "  constants\n", constant.name,
                     constant.value);
    }
    for (uint32_t c = 0; c < entry.num_checks; ++c) {
      vashista_check_info check = {};
      vashista_check_describe(module, i, c, &check);
      result += text("%s    %s\n", c ? "" : "  checks\n",
                     checkText(check, arguments).c_str());
    }
  });
  return result;
}

//===----------------------------------------------------------------------===//
// For programs
//===----------------------------------------------------------------------===//

static void writeValues(JsonWriter &json, const char *key, bool areArguments,
                        const std::vector<ValueInfo> &values) {
  json.key(key);
  json.beginArray();
  for (const ValueInfo &value : values) {
    json.beginObject();
    json.key("name");
    json.string(value.name);
    json.key("dtype");
    json.string(nameOf(value.dtype));
    json.key("dims");
    json.beginArray();
    for (int32_t d = 0; d < value.rank; ++d) {
      const vashista_dim &dim = value.dims[d];
      if (dim.kind == VASHISTA_DIM_STATIC) {
        json.number(dim.size);
      } else if (dim.kind == VASHISTA_DIM_DYNAMIC) {
        json.null();
      } else {
        json.beginObject();
        json.key("argument");
        json.number(int64_t(dim.argument));
        json.key("dim");
        json.number(int64_t(dim.dim));
        json.key("factor");
        json.number(dim.size);
        json.endObject();
      }
    }
    json.endArray();
    if (areArguments) {
      json.key("written");
      json.boolean(value.written);
      json.key("strided");
      json.boolean(value.strided);
    }
    json.endObject();
  }
  json.endArray();
}

static void writeCheck(JsonWriter &json, const vashista_check_info &check) {
  json.beginObject();
  json.key("kind");
  json.string(check.kind == VASHISTA_CHECK_TABLE       ? "table"
              : check.kind == VASHISTA_CHECK_POSITIONS ? "positions"
                                                       : "list");
  // Numbers of arguments, those that the kind has.
  const std::pair<const char *, int32_t> fields[] = {
      {"table", check.table},         {"lens", check.lens},
      {"rows", check.rows},           {"cache", check.cache},
      {"cache_dim", check.cache_dim}, {"positions", check.positions},
      {"list", check.list},           {"count", check.count}};
  for (const auto &field : fields) {
    if (field.second < 0)
      continue;
    json.key(field.first);
    json.number(int64_t(field.second));
  }
  if (check.kind == VASHISTA_CHECK_LIST) {
    json.key("in_pages");
    json.boolean(check.in_pages);
  }
  json.key("page_size");
  json.number(check.page_size);
  json.endObject();
}

std::string vashista::run::listJson(const vashista_module *module,
                                    const uint32_t *only) {
  vashista_module_info info = infoOf(module);
  JsonWriter json;
  json.beginObject();
  json.key("producer");
  json.string(info.producer);
  json.key("compiler");
  json.string(info.compiler);
  json.key("format");
  json.number(int64_t(info.format_version));
  json.key("code");
  json.beginArray();
  for (uint32_t i = 0; i < info.num_payloads; ++i) {
    vashista_payload_info payload = {};
    vashista_payload_describe(module, i, &payload);
    json.beginObject();
    json.key("device");
    json.string(payload.architecture ? "cuda" : "cpu");
    json.key("features");
    json.string(payload.features);
    if (payload.architecture) {
      json.key("architecture");
      json.string(payload.architecture);
    }
    json.endObject();
  }
  json.endArray();
  json.key("digest");
  json.string(digestText(info));
  json.key("entries");
  json.beginArray();
  forEachEntry(module, only, [&](uint32_t i, const vashista_entry_info &entry) {
    json.beginObject();
    json.key("name");
    json.string(entry.name);
    writeValues(json, "arguments", true, argumentsOf(module, i));
    writeValues(json, "results", false, resultsOf(module, i));
    json.key("constants");
    json.beginArray();
    for (uint32_t c = 0; c < entry.num_constants; ++c) {
      vashista_constant_info constant = {};
      vashista_constant_describe(module, i, c, &constant);
      json.beginObject();
      json.key("name");
      json.string(constant.name);
      json.key("value");
      json.string(constant.value);
      json.endObject();
    }
    json.endArray();
    json.key("checks");
    json.beginArray();
    for (uint32_t c = 0; c < entry.num_checks; ++c) {
      vashista_check_info check = {};
      vashista_check_describe(module, i, c, &check);
      writeCheck(json, check);
    }
    json.endArray();
    json.endObject();
  });
  json.endArray();
  json.endObject();
  return json.take();
}
