//===- Scheduled.cpp - A module whose schedules can be changed ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Scheduled.h"

#include <algorithm>
#include <map>
#include <sstream>

using namespace vashista::bench;

static const std::string start = " schedule <", prefix = "vashista.";

std::string *OpSchedule::find(const std::string &parameter) {
  for (auto &[name, value] : parameters)
    if (name == parameter)
      return &value;
  return nullptr;
}

static OpSchedule parseSchedule(const std::string &text) {
  OpSchedule schedule;
  std::istringstream stream(text);
  for (std::string one; std::getline(stream >> std::ws, one, ',');)
    if (size_t equals = one.find(" = "); equals != std::string::npos)
      schedule.parameters.emplace_back(one.substr(0, equals),
                                       one.substr(equals + 3));
  return schedule;
}

static ScheduledFunction parseFunction(const std::string &text) {
  ScheduledFunction function;
  size_t at = text.find('@') + 1, done = 0;
  function.name = text.substr(at, text.find('(', at) - at);
  std::map<std::string, int> numOps;
  while ((at = text.find(start, done)) != std::string::npos) {
    size_t begin = at + start.size(), end = text.find('>', begin);
    OpSchedule schedule = parseSchedule(text.substr(begin, end - begin));
    size_t op = text.rfind(prefix, at);
    op = op == std::string::npos ? 0 : op + prefix.size();
    schedule.op = text.substr(op, text.find(' ', op) - op);
    if (int number = ++numOps[schedule.op]; number > 1)
      schedule.op += " " + std::to_string(number);
    function.between.push_back(text.substr(done, begin - done));
    function.schedules.push_back(std::move(schedule));
    done = end;
  }
  function.between.push_back(text.substr(done));
  return function;
}

std::string ScheduledFunction::getText() const {
  std::string text;
  for (size_t i = 0; i < schedules.size(); ++i) {
    text += between[i];
    const char *separator = "";
    for (const auto &[name, value] : schedules[i].parameters) {
      text += separator + name + " = " + value;
      separator = ", ";
    }
  }
  return text + between.back();
}

ScheduledModule::ScheduledModule(const std::string &text) {
  std::istringstream stream(text);
  std::string function;
  for (std::string line; std::getline(stream, line);) {
    bool isStart = line.rfind("  func.func ", 0) == 0;
    if (isStart || !function.empty())
      function += line + "\n";
    if (!function.empty() && line == "  }") {
      functions.push_back(parseFunction(function));
      function.clear();
    }
  }
}

ScheduledFunction *ScheduledModule::find(const std::string &name) {
  for (ScheduledFunction &function : functions)
    if (function.name == name)
      return &function;
  return nullptr;
}

std::string ScheduledModule::getText(const ScheduledFunction &function) const {
  return "module {\n" + function.getText() + "}\n";
}

std::string ScheduledModule::getText() const {
  std::string all;
  for (const ScheduledFunction &function : functions)
    all += function.getText();
  return "module {\n" + all + "}\n";
}
