//===- Checks.cpp - Checked mode ------------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Error.h"

#include <cinttypes>
#include <cstdio>

using namespace vashista::runtime;

namespace {

/// "argument 3 'table', row 2, position 5: expected page id 0 to 255, got 300"
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

  vashista_status report(uint32_t argument, int64_t row, int64_t position,
                         const char *what, int64_t limit, int64_t got,
                         const char *note = "") const;

  const vso_check &check;
  const Operand *arguments;
};

} // namespace

/// Position -1: of the whole row.
vashista_status Checker::report(uint32_t argument, int64_t row,
                                int64_t position, const char *what,
                                int64_t limit, int64_t got,
                                const char *note) const {
  char place[64];
  if (position < 0)
    snprintf(place, sizeof(place), "row %" PRId64, row);
  else
    snprintf(place, sizeof(place), "row %" PRId64 ", position %" PRId64, row,
             position);
  return fail(VASHISTA_CHECK_FAILED,
              "argument %" PRIu32 " '%s', %s: expected %s 0 to %" PRId64
              ", got %" PRId64 "%s",
              argument, arguments[argument].name, place, what, limit, got,
              note);
}

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
  return report(hasRows ? check.rows : check.table, row, -1, "page table row",
                sequences - 1, sequence);
}

vashista_status Checker::checkPage(int64_t row, int64_t sequence,
                                   int64_t position) {
  int64_t page = arguments[check.table].at(sequence, position);
  int64_t pages = arguments[check.cache].size(check.cache_dim);
  if (page >= 0 && page < pages)
    return VASHISTA_OK;
  char note[48] = "";
  if (check.rows != VSO_NONE)
    snprintf(note, sizeof(note), " (page table row %" PRId64 ")", sequence);
  return report(check.table, row, position, "page id", pages - 1, page, note);
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
      return report(check.lens, row, -1, "length", capacity(), length);
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
      return report(check.positions, row, -1, "a negative position or one from",
                    capacity() - 1, position);
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
      return report(check.lens, row, -1, "length", INT32_MAX, length);
    int64_t visible = inPages ? pagesOf(length) : length;
    for (int64_t head = 0; head < list.size(1); ++head) {
      char note[48];
      snprintf(note, sizeof(note), " (KV head %" PRId64 ")", head);
      int64_t count = list.size(2);
      if (check.count != VSO_NONE) {
        count = arguments[check.count].at(row, head);
        if (count < 0 || count > list.size(2))
          return report(check.count, row, -1, "count", list.size(2), count,
                        note);
      }
      for (int64_t i = 0; i < count; ++i) {
        int64_t entry = list.at(row, head, i);
        if (entry >= visible)
          return report(check.list, row, i,
                        inPages ? "a negative entry or page"
                                : "a negative entry or token",
                        visible - 1, entry, note);
      }
    }
  }
  return VASHISTA_OK;
}

vashista_status vashista::runtime::runCheck(const vso_check &check,
                                            const Operand *arguments) {
  return Checker(check, arguments).run();
}
