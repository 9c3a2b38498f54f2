//===- Checks.cpp - Checked mode ------------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Error.h"
#include "Module.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

using namespace vashista::runtime;

//===----------------------------------------------------------------------===//
// What is said of a fault
//===----------------------------------------------------------------------===//

namespace {

/// What a row has that is out of range.
struct Fault {
  vashista_fault_kind kind;
  int64_t row;
  int64_t limit, got;
  /// Within the row; -1: of all of it.
  int64_t position = -1;
  /// -1 where it is of none or not known.
  int64_t kvHead = -1, sequence = -1;
};

} // namespace

/// The argument that a fault is in; VSO_NONE for a kind that the check never
/// finds.
static uint32_t findArgument(const vso_check &check, vashista_fault_kind kind) {
  switch (kind) {
  case VASHISTA_FAULT_TABLE_ROW:
    return check.rows != VSO_NONE ? check.rows : check.table;
  case VASHISTA_FAULT_LENGTH:
    return check.lens;
  case VASHISTA_FAULT_PAGE:
    return check.table;
  case VASHISTA_FAULT_POSITION:
    return check.positions;
  case VASHISTA_FAULT_COUNT:
    return check.count;
  case VASHISTA_FAULT_ENTRY:
    return check.list;
  }
  return VSO_NONE;
}

/// VSO_UNIT_*, or 0 where that is not known.
static const char *describe(vashista_fault_kind kind, uint32_t unit) {
  switch (kind) {
  case VASHISTA_FAULT_TABLE_ROW:
    return "page table row";
  case VASHISTA_FAULT_LENGTH:
    return "length";
  case VASHISTA_FAULT_PAGE:
    return "page id";
  case VASHISTA_FAULT_POSITION:
    return "a negative position or one from";
  case VASHISTA_FAULT_COUNT:
    return "count";
  case VASHISTA_FAULT_ENTRY:
    break;
  }
  return unit == VSO_UNIT_PAGES    ? "a negative entry or page"
         : unit == VSO_UNIT_TOKENS ? "a negative entry or token"
                                   : "a negative entry or one from";
}

/// "argument 3 'table', row 2, position 5: expected page id 0 to 255, got 300"
static vashista_status report(const Fault &fault, uint32_t unit,
                              const char *kind, uint32_t number,
                              const char *name) {
  char place[64], note[48] = "";
  if (fault.position < 0)
    snprintf(place, sizeof(place), "row %" PRId64, fault.row);
  else
    snprintf(place, sizeof(place), "row %" PRId64 ", position %" PRId64,
             fault.row, fault.position);
  if (fault.sequence >= 0)
    snprintf(note, sizeof(note), " (page table row %" PRId64 ")",
             fault.sequence);
  if (fault.kvHead >= 0)
    snprintf(note, sizeof(note), " (KV head %" PRId64 ")", fault.kvHead);
  // All of them are i32: no more can be meant.
  return fail(VASHISTA_CHECK_FAILED,
              "%s %" PRIu32 " '%s', %s: expected %s 0 to %" PRId64
              ", got %" PRId64 "%s",
              kind, number, name, place, describe(fault.kind, unit),
              std::min<int64_t>(fault.limit, INT32_MAX), fault.got, note);
}

//===----------------------------------------------------------------------===//
// Before a call
//===----------------------------------------------------------------------===//

namespace {

class Checker {
public:
  Checker(const vso_check &check, const Operand *arguments)
      : check(check), arguments(arguments) {}

  vashista_status run() {
    switch (check.kind) {
    case VSO_CHECK_TABLE:
      return checkTable();
    case VSO_CHECK_POSITIONS:
      return checkPositions();
    default:
      return checkList();
    }
  }

private:
  vashista_status checkTable();
  vashista_status checkPositions();
  vashista_status checkList();

  /// The row of the page table that a row has.
  vashista_status findSequence(int64_t row, int64_t &sequence);
  vashista_status checkPage(int64_t row, int64_t sequence, int64_t position);
  vashista_status checkSize(uint32_t argument, uint32_t dim, int64_t expected,
                            const char *what);

  /// Tokens that a row of the table has room for. Lengths are i32, so that a
  /// wider table makes no difference.
  int64_t capacity() const {
    int64_t pages = arguments[check.table].size(1);
    constexpr int64_t most = int64_t(INT32_MAX) + 1;
    return (pages < most ? pages : most) * check.page_size;
  }
  int64_t pagesOf(int64_t length) const {
    return (length + check.page_size - 1) / check.page_size;
  }

  vashista_status report(const Fault &fault) const {
    uint32_t argument = findArgument(check, fault.kind);
    return ::report(fault, check.unit, "argument", argument,
                    arguments[argument].name);
  }

  const vso_check &check;
  const Operand *arguments;
};

} // namespace

vashista_status Checker::checkSize(uint32_t argument, uint32_t dim,
                                   int64_t expected, const char *what) {
  int64_t got = arguments[argument].size(dim);
  if (got == expected)
    return VASHISTA_OK;
  return fail(VASHISTA_CHECK_FAILED,
              "argument %" PRIu32 " '%s', dimension %" PRIu32
              ": expected %" PRId64 ", %s, got %" PRId64,
              argument, arguments[argument].name, dim, expected, what, got);
}

vashista_status Checker::findSequence(int64_t row, int64_t &sequence) {
  int64_t sequences = arguments[check.table].size(0);
  bool hasRows = check.rows != VSO_NONE;
  sequence = hasRows ? arguments[check.rows].at(row) : row;
  if (sequence >= 0 && sequence < sequences)
    return VASHISTA_OK;
  return report({VASHISTA_FAULT_TABLE_ROW, row, sequences - 1, sequence});
}

vashista_status Checker::checkPage(int64_t row, int64_t sequence,
                                   int64_t position) {
  int64_t page = arguments[check.table].at(sequence, position);
  int64_t pages = arguments[check.cache].size(check.cache_dim);
  if (page >= 0 && page < pages)
    return VASHISTA_OK;
  Fault fault = {VASHISTA_FAULT_PAGE, row, pages - 1, page, position};
  if (check.rows != VSO_NONE)
    fault.sequence = sequence;
  return report(fault);
}

vashista_status Checker::checkTable() {
  const Operand &lens = arguments[check.lens];
  int64_t rows = lens.size(0);
  if (check.rows != VSO_NONE)
    if (vashista_status status =
            checkSize(check.rows, 0, rows, "one for each length"))
      return status;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t sequence = 0;
    if (vashista_status status = findSequence(row, sequence))
      return status;
    int64_t length = lens.at(row);
    if (length < 0 || length > capacity())
      return report({VASHISTA_FAULT_LENGTH, row, capacity(), length});
    for (int64_t i = 0, e = pagesOf(length); i < e; ++i)
      if (vashista_status status = checkPage(row, sequence, i))
        return status;
  }
  return VASHISTA_OK;
}

vashista_status Checker::checkPositions() {
  const Operand &positions = arguments[check.positions];
  int64_t rows = positions.size(0);
  if (check.rows != VSO_NONE)
    if (vashista_status status =
            checkSize(check.rows, 0, rows, "one for each position"))
      return status;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t sequence = 0;
    if (vashista_status status = findSequence(row, sequence))
      return status;
    int64_t position = positions.at(row);
    if (position < 0)
      continue;
    if (position >= capacity())
      return report({VASHISTA_FAULT_POSITION, row, capacity() - 1, position});
    if (vashista_status status =
            checkPage(row, sequence, position / check.page_size))
      return status;
  }
  return VASHISTA_OK;
}

vashista_status Checker::checkList() {
  const Operand &list = arguments[check.list], &lens = arguments[check.lens];
  const char *perRow = "one for each row of the list";
  if (vashista_status status = checkSize(check.lens, 0, list.size(0), perRow))
    return status;
  if (check.count != VSO_NONE) {
    if (vashista_status status =
            checkSize(check.count, 0, list.size(0), perRow))
      return status;
    if (vashista_status status = checkSize(check.count, 1, list.size(1),
                                           "one for each head of the list"))
      return status;
  }

  bool inPages = check.unit == VSO_UNIT_PAGES;
  for (int64_t row = 0; row < list.size(0); ++row) {
    int64_t length = lens.at(row);
    if (length < 0)
      return report({VASHISTA_FAULT_LENGTH, row, INT32_MAX, length});
    int64_t visible = inPages ? pagesOf(length) : length;
    for (int64_t head = 0; head < list.size(1); ++head) {
      int64_t count = list.size(2);
      if (check.count != VSO_NONE) {
        count = arguments[check.count].at(row, head);
        if (count < 0 || count > list.size(2))
          return report({VASHISTA_FAULT_COUNT, row, list.size(2), count,
                         /*position=*/-1, head});
      }
      for (int64_t i = 0; i < count; ++i) {
        int64_t entry = list.at(row, head, i);
        if (entry >= visible)
          return report(
              {VASHISTA_FAULT_ENTRY, row, visible - 1, entry, i, head});
      }
    }
  }
  return VASHISTA_OK;
}

vashista_status vashista::runtime::runCheck(const vso_check &check,
                                            const Operand *arguments) {
  return Checker(check, arguments).run();
}

//===----------------------------------------------------------------------===//
// After one
//===----------------------------------------------------------------------===//

extern "C" vashista_status
vashista_faults_report(const vashista_module *module, uint32_t entry,
                       uint32_t result, const int32_t *faults, int64_t rows) {
  vashista_value_info info;
  if (vashista_status status =
          vashista_result_describe(module, entry, result, &info))
    return status;
  if (!info.faults)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a result with faults, got result %" PRIu32 " '%s'",
                result, info.name);
  if (rows < 0 || (rows > 0 && !faults))
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected 0 rows or more in memory, got %" PRId64 " at %p",
                rows, static_cast<const void *>(faults));
  const int32_t *end = faults + 4 * rows;
  const int32_t *found = faults;
  while (found != end && *found == 0)
    found += 4;
  if (found == end)
    return VASHISTA_OK;
  int64_t row = (found - faults) / 4;
  auto refuse = [&] {
    return fail(VASHISTA_INVALID_ARGUMENT,
                "row %" PRId64 ": expected what the check may find, got %d",
                row, found[0]);
  };
  if (found[0] < VASHISTA_FAULT_TABLE_ROW || found[0] > VASHISTA_FAULT_ENTRY)
    return refuse();
  Fault fault = {static_cast<vashista_fault_kind>(found[0]), row, found[3],
                 found[2]};
  if (fault.kind == VASHISTA_FAULT_PAGE || fault.kind == VASHISTA_FAULT_ENTRY)
    fault.position = found[1];
  if (fault.kind == VASHISTA_FAULT_COUNT)
    fault.kvHead = found[1];
  if (info.check < 0)
    return report(fault, /*unit=*/0, "result", result, info.name);

  const Manifest &manifest = module->manifest;
  const vso_entry &record = manifest.entries[entry];
  const vso_check &check = manifest.checks(record)[info.check];
  uint32_t argument = findArgument(check, fault.kind);
  if (argument == VSO_NONE)
    return refuse();
  const vso_value &value = manifest.values(record)[argument];
  if (fault.kind == VASHISTA_FAULT_ENTRY) {
    // Entries of a list of a size that only a call has are numbered through.
    const vso_dim &capacity = manifest.dims(value)[2];
    if (capacity.kind == VSO_DIM_STATIC && capacity.size > 0) {
      fault.kvHead = found[1] / capacity.size;
      fault.position = found[1] % capacity.size;
    }
  }
  return report(fault, check.unit, "argument", argument,
                manifest.string(value.name));
}
