//===- ChecksTest.cpp - Checked mode --------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include <limits>
#include <random>

using namespace vashista;
using namespace vashista::test;

namespace {

constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin = std::numeric_limits<int32_t>::min();
constexpr int64_t kPageSize = 4;

int64_t pagesOf(int64_t length) { return (length + kPageSize - 1) / kPageSize; }

/// The arguments of the entry 'decode' or 'simple'. The last rows of tensors
/// end at unmapped memory.
struct Arguments {
  Arguments(int64_t sequences, int64_t columns, int64_t rows, int64_t pages,
            int64_t capacity, int64_t padding = 0)
      : table({sequences, columns},
              padding ? std::vector<int64_t>{columns + padding, 1}
                      : std::vector<int64_t>{}),
        lens({rows}), rows({rows}), cache({pages, kPageSize}),
        positions({rows}), list({rows, 2, capacity}), count({rows, 2}),
        sum({rows}) {
    for (float &element : cache)
      element = 1;
  }

  vashista_status run(const Module &module, const char *entry = "decode") {
    for (float &element : sum)
      element = -1;
    return call(module, entry,
                {table, lens, rows, cache, positions, list, count}, {sum},
                /*checked=*/true);
  }
  int32_t &page(int64_t sequence, int64_t i) {
    int64_t stride = table.strides.empty() ? table.shape[1] : table.strides[0];
    return table[sequence * stride + i];
  }
  int32_t &listed(int64_t row, int64_t head, int64_t i) {
    return list[(row * 2 + head) * list.shape[2] + i];
  }

  Tensor<int32_t> table, lens, rows;
  Tensor<float> cache;
  Tensor<int32_t> positions, list, count;
  Tensor<float> sum;
};

class ChecksTest : public testing::Test {
protected:
  /// 2 sequences of at most 5 pages, 3 rows, 10 pages.
  ChecksTest() {
    for (int32_t i = 0; i < 5; ++i) {
      a.page(0, i) = i;
      a.page(1, i) = 9 - i;
    }
    a.lens[0] = 20;
    a.lens[1] = 7;
    a.rows[2] = 1;
  }

  void expectCaught(const char *message, const char *entry = "decode") {
    EXPECT_FAILS(a.run(module, entry), VASHISTA_CHECK_FAILED, message);
    for (float element : a.sum)
      EXPECT_EQ(element, 0);
  }

  Module module = load(kernelsArtefact());
  Arguments a{2, 5, 3, 10, 6};
};

TEST_F(ChecksTest, ValidRuns) {
  ASSERT_OK(a.run(module));
  EXPECT_EQ(a.sum[0], 20);
  EXPECT_EQ(a.sum[1], 7);
  EXPECT_EQ(a.sum[2], 0);
}

TEST_F(ChecksTest, PageIds) {
  a.page(0, 4) = 10;
  expectCaught("argument 0 'table', row 0, position 4: expected page id 0 to "
               "9, got 10 (page table row 0)");
  a.page(0, 4) = -1;
  expectCaught("argument 0 'table', row 0, position 4: expected page id 0 to "
               "9, got -1 (page table row 0)");
  a.page(0, 4) = 4;
  a.rows[1] = 1;
  a.page(1, 1) = kMax;
  expectCaught("argument 0 'table', row 1, position 1: expected page id 0 to "
               "9, got 2147483647 (page table row 1)");
}

TEST_F(ChecksTest, PagesBeyondTheLengthDoNotMatter) {
  a.lens[0] = 17;
  a.page(0, 4) = kMin;
  expectCaught("argument 0 'table', row 0, position 4: expected page id 0 to "
               "9, got -2147483648 (page table row 0)");
  a.lens[0] = 16;
  EXPECT_OK(a.run(module));
}

TEST_F(ChecksTest, Lengths) {
  a.lens[1] = 21;
  expectCaught("argument 1 'lens', row 1: expected length 0 to 20, got 21");
  a.lens[1] = -1;
  expectCaught("argument 1 'lens', row 1: expected length 0 to 20, got -1");
  a.lens[1] = kMax;
  expectCaught("argument 1 'lens', row 1: expected length 0 to 20, got "
               "2147483647");
}

TEST_F(ChecksTest, Rows) {
  a.rows[2] = 2;
  expectCaught("argument 2 'rows', row 2: expected page table row 0 to 1, got "
               "2");
  a.rows[2] = -1;
  expectCaught("argument 2 'rows', row 2: expected page table row 0 to 1, got "
               "-1");
}

TEST_F(ChecksTest, RowsByDefault) {
  Arguments b(3, 1, 3, 1, 0);
  EXPECT_OK(b.run(module, "simple"));
  b.lens[1] = 1;
  b.page(1, 0) = 1;
  EXPECT_FAILS(b.run(module, "simple"), VASHISTA_CHECK_FAILED,
               "argument 0 'table', row 1, position 0: expected page id 0 to "
               "0, got 1");
  expectCaught("argument 0 'table', row 2: expected page table row 0 to 1, got "
               "2",
               "simple");
  Arguments fewer(3, 1, 2, 1, 0);
  EXPECT_OK(fewer.run(module, "simple"));
}

TEST_F(ChecksTest, AsManyRowsAsLengths) {
  a.rows.shape[0] = 2;
  expectCaught("argument 2 'rows', dimension 0: expected 3, one for each "
               "length, got 2");
}

TEST_F(ChecksTest, ListsAsLargeAsTheirCounts) {
  a.list.shape[0] = 2;
  expectCaught("argument 1 'lens', dimension 0: expected 2, one for each row "
               "of the list, got 3");
  a.list.shape[0] = 3;
  a.count.shape[0] = 1;
  expectCaught("argument 6 'count', dimension 0: expected 3, one for each row "
               "of the list, got 1");
  a.count.shape = {3, 1};
  expectCaught("argument 6 'count', dimension 1: expected 2, one for each head "
               "of the list, got 1");
}

TEST_F(ChecksTest, Positions) {
  a.positions[0] = 19;
  a.positions[2] = kMin;
  EXPECT_OK(a.run(module));
  a.positions[0] = 20;
  expectCaught("argument 4 'positions', row 0: expected a negative position or "
               "one from 0 to 19, got 20");
  // In a page beyond the length, which only this check looks at.
  a.positions[0] = 0;
  a.positions[1] = 18;
  a.rows[1] = 1;
  a.page(1, 4) = 10;
  expectCaught("argument 0 'table', row 1, position 4: expected page id 0 to "
               "9, got 10 (page table row 1)");
}

TEST_F(ChecksTest, Lists) {
  a.count[3] = 2; // of row 1, head 1
  a.listed(1, 1, 0) = -1;
  a.listed(1, 1, 1) = 6;
  a.listed(1, 1, 2) = kMax; // not read
  EXPECT_OK(a.run(module));
  a.listed(1, 1, 1) = 7;
  expectCaught("argument 5 'list', row 1, position 1: expected a negative "
               "entry or token 0 to 6, got 7 (KV head 1)");
  a.count[3] = 7;
  expectCaught("argument 6 'count', row 1: expected count 0 to 6, got 7 (KV "
               "head 1)");
  a.count[3] = -1;
  expectCaught("argument 6 'count', row 1: expected count 0 to 6, got -1 (KV "
               "head 1)");
}

TEST_F(ChecksTest, ListsOfPagesWithoutCounts) {
  Arguments b(1, 3, 1, 3, 3);
  b.lens[0] = 9;
  for (int i = 0; i < 6; ++i)
    b.list[i] = i % 3 ? -1 : 2;
  EXPECT_OK(b.run(module, "simple"));
  b.lens[0] = 8;
  EXPECT_FAILS(b.run(module, "simple"), VASHISTA_CHECK_FAILED,
               "argument 5 'list', row 0, position 0: expected a negative "
               "entry or page 0 to 1, got 2 (KV head 0)");
}

TEST_F(ChecksTest, WideTablesDoNotOverflow) {
  // The table has no elements of its own, but as many columns as it says.
  Arguments b(0, 0, 0, 1, 1);
  b.table.shape = {0, std::numeric_limits<int64_t>::max()};
  EXPECT_OK(b.run(module, "simple"));

  // One element stands for all, in a table that 32 bits cannot count.
  Arguments c(1, 1, 1, 1, 1);
  int64_t broadcast[] = {0, 0};
  c.table.dl.strides = broadcast;
  c.table.shape[1] = int64_t(1) << 40;
  c.lens[0] = 5;
  EXPECT_OK(c.run(module, "simple"));
  EXPECT_EQ(c.sum[0], 5);
}

TEST_F(ChecksTest, NothingIsCheckedUnlessAsked) {
  // Not dereferenced by the kernel: a negative length reads nothing.
  a.lens[0] = -1;
  EXPECT_OK(
      call(module, "decode",
           {a.table, a.lens, a.rows, a.cache, a.positions, a.list, a.count},
           {a.sum}));
}

//===----------------------------------------------------------------------===//
// What entries find by themselves
//===----------------------------------------------------------------------===//

/// The entries, each with the faults of its first check, of its second and so
/// on; `capacity` is that of their lists.
Artefact faultsArtefact(ArtefactDim capacity = fixed(6)) {
  Artefact artefact = kernelsArtefact();
  for (ArtefactEntry &entry : artefact.entries)
    for (unsigned i = 0; i < entry.checks.size(); ++i) {
      entry.arguments[5].dims[2] = capacity;
      entry.results.push_back(value("faults" + std::to_string(i),
                                    typeOf<int32_t>(), {tied(1, 0), fixed(4)}));
      entry.results.back().faults = true;
      entry.results.back().check = i;
    }
  return artefact;
}

class FaultsTest : public testing::Test {
protected:
  /// Of a row that is well and one that is not.
  vashista_status report(uint32_t check, std::initializer_list<int32_t> fault,
                         const char *entry = "decode") {
    std::vector<int32_t> faults(4);
    faults.insert(faults.end(), fault);
    return vashista_faults_report(module.get(), find(module, entry), 1 + check,
                                  faults.data(), 2);
  }

  Module module = load(faultsArtefact());
};

// As checked mode says it of the same arguments.
TEST_F(FaultsTest, AreReported) {
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_TABLE_ROW, 0, 2, 1}),
               VASHISTA_CHECK_FAILED,
               "argument 2 'rows', row 1: expected page table row 0 to 1, got "
               "2");
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_TABLE_ROW, 0, 2, 1}, "simple"),
               VASHISTA_CHECK_FAILED,
               "argument 0 'table', row 1: expected page table row 0 to 1, got "
               "2");
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_LENGTH, 0, kMin, 20}),
               VASHISTA_CHECK_FAILED,
               "argument 1 'lens', row 1: expected length 0 to 20, got "
               "-2147483648");
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_PAGE, 4, kMax, 9}),
               VASHISTA_CHECK_FAILED,
               "argument 0 'table', row 1, position 4: expected page id 0 to "
               "9, got 2147483647");
  EXPECT_FAILS(report(1, {VASHISTA_FAULT_POSITION, 0, 20, 19}),
               VASHISTA_CHECK_FAILED,
               "argument 4 'positions', row 1: expected a negative position or "
               "one from 0 to 19, got 20");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_LENGTH, 0, -1, kMax}),
               VASHISTA_CHECK_FAILED,
               "argument 1 'lens', row 1: expected length 0 to 2147483647, got "
               "-1");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_COUNT, 1, 7, 6}),
               VASHISTA_CHECK_FAILED,
               "argument 6 'count', row 1: expected count 0 to 6, got 7 (KV "
               "head 1)");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_ENTRY, 7, 7, 6}),
               VASHISTA_CHECK_FAILED,
               "argument 5 'list', row 1, position 1: expected a negative "
               "entry or token 0 to 6, got 7 (KV head 1)");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_ENTRY, 0, 2, 1}, "simple"),
               VASHISTA_CHECK_FAILED,
               "argument 5 'list', row 1, position 0: expected a negative "
               "entry or page 0 to 1, got 2 (KV head 0)");
}

TEST_F(FaultsTest, EntriesOfListsOfAnySizeAreNumberedThrough) {
  module = load(faultsArtefact(dynamic()));
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_ENTRY, 7, 7, 6}),
               VASHISTA_CHECK_FAILED,
               "argument 5 'list', row 1, position 7: expected a negative "
               "entry or token 0 to 6, got 7");
}

// Of what an entry computes no argument is at fault.
TEST_F(FaultsTest, OfWhatIsComputed) {
  Artefact artefact = faultsArtefact();
  for (ArtefactEntry &entry : artefact.entries)
    for (ArtefactValue &result : entry.results)
      result.check.reset();
  module = load(artefact);
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_PAGE, 4, -1, 9}),
               VASHISTA_CHECK_FAILED,
               "result 1 'faults0', row 1, position 4: expected page id 0 to "
               "9, got -1");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_ENTRY, 7, 7, 6}),
               VASHISTA_CHECK_FAILED,
               "result 3 'faults2', row 1, position 7: expected a negative "
               "entry or one from 0 to 6, got 7");
  vashista_value_info info;
  ASSERT_OK(
      vashista_result_describe(module.get(), find(module, "decode"), 1, &info));
  EXPECT_EQ(info.faults, 1);
  EXPECT_EQ(info.check, -1);
}

TEST_F(FaultsTest, NoneIsNoFailure) {
  EXPECT_OK(report(0, {0, 0, 0, 0}));
  EXPECT_OK(vashista_faults_report(module.get(), find(module, "decode"), 1,
                                   nullptr, 0));
}

TEST_F(FaultsTest, Mistakes) {
  EXPECT_FAILS(report(0, {7, 0, 0, 0}), VASHISTA_INVALID_ARGUMENT,
               "row 1: expected what the check may find, got 7");
  EXPECT_FAILS(report(0, {-1, 0, 0, 0}), VASHISTA_INVALID_ARGUMENT,
               "row 1: expected what the check may find, got -1");
  EXPECT_FAILS(report(0, {VASHISTA_FAULT_COUNT, 0, 7, 6}),
               VASHISTA_INVALID_ARGUMENT,
               "row 1: expected what the check may find, got 5");
  EXPECT_FAILS(report(2, {VASHISTA_FAULT_COUNT, 0, 7, 6}, "simple"),
               VASHISTA_INVALID_ARGUMENT,
               "row 1: expected what the check may find, got 5");
  uint32_t decode = find(module, "decode");
  int32_t well[4] = {};
  EXPECT_FAILS(vashista_faults_report(module.get(), decode, 0, well, 1),
               VASHISTA_INVALID_ARGUMENT,
               "expected a result with faults, got result 0 'sum'");
  EXPECT_EQ(vashista_faults_report(module.get(), decode, 1, well, -1),
            VASHISTA_INVALID_ARGUMENT);
  EXPECT_EQ(vashista_faults_report(module.get(), decode, 1, nullptr, 1),
            VASHISTA_INVALID_ARGUMENT);
  EXPECT_EQ(vashista_faults_report(module.get(), decode, 4, well, 1),
            VASHISTA_INVALID_ARGUMENT);
}

TEST_F(FaultsTest, AreDescribed) {
  vashista_value_info info;
  uint32_t decode = find(module, "decode");
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK(vashista_result_describe(module.get(), decode, i, &info));
    EXPECT_EQ(info.check, i - 1);
    EXPECT_EQ(info.faults, i > 0);
  }
  ASSERT_OK(vashista_argument_describe(module.get(), decode, 1, &info));
  EXPECT_EQ(info.check, -1);
}

//===----------------------------------------------------------------------===//
// At random
//===----------------------------------------------------------------------===//

/// Valid metadata, with anything where nothing may be read.
class RandomArguments {
public:
  explicit RandomArguments(unsigned seed) : random(seed) {}

  int64_t upTo(int64_t last) {
    return std::uniform_int_distribution<int64_t>(0, last)(random);
  }
  int32_t pick(std::initializer_list<int64_t> choices) {
    return static_cast<int32_t>(
        choices.begin()[upTo(static_cast<int64_t>(choices.size()) - 1)]);
  }
  int32_t anything() { return pick({-1, -2, kMax, kMin, 0, 12345, upTo(40)}); }

  std::unique_ptr<Arguments> make() {
    auto a = std::make_unique<Arguments>(1 + upTo(3), 1 + upTo(6), 1 + upTo(4),
                                         1 + upTo(9), 1 + upTo(7), upTo(2));
    int64_t sequences = a->table.shape[0], columns = a->table.shape[1];
    int64_t pages = a->cache.shape[0], capacity = a->list.shape[2];
    int64_t rows = a->lens.shape[0];
    for (int64_t b = 0; b < sequences; ++b)
      for (int64_t i = 0; i < columns; ++i)
        a->page(b, i) = anything();
    for (int64_t r = 0; r < rows; ++r) {
      a->rows[r] = static_cast<int32_t>(upTo(sequences - 1));
      a->lens[r] = static_cast<int32_t>(
          pick({0, columns * kPageSize, upTo(columns * kPageSize)}));
      a->positions[r] =
          static_cast<int32_t>(pick({-1, kMin, upTo(columns * kPageSize - 1)}));
      for (int64_t i = 0; i < columns; ++i)
        if (i < pagesOf(a->lens[r]) ||
            (a->positions[r] >= 0 && i == a->positions[r] / kPageSize))
          a->page(a->rows[r], i) = static_cast<int32_t>(upTo(pages - 1));
      for (int64_t h = 0; h < 2; ++h) {
        a->count[r * 2 + h] =
            static_cast<int32_t>(pick({0, capacity, upTo(capacity)}));
        for (int64_t i = 0; i < capacity; ++i)
          a->listed(r, h, i) =
              i >= a->count[r * 2 + h] ? anything()
              : a->lens[r] == 0
                  ? pick({-1, kMin})
                  : static_cast<int32_t>(pick({-1, upTo(a->lens[r] - 1)}));
      }
    }
    return a;
  }

  /// Makes one place wrong and returns the value there, if there is such a
  /// place.
  std::optional<int32_t> spoil(Arguments &a) {
    int64_t row = upTo(a.lens.shape[0] - 1), head = upTo(1);
    int64_t pages = a.cache.shape[0];
    int64_t capacity = a.table.shape[1] * kPageSize;
    int32_t length = a.lens[row], &count = a.count[row * 2 + head];
    switch (upTo(5)) {
    case 0:
      if (length == 0)
        return {};
      return a.page(a.rows[row], upTo(pagesOf(length) - 1)) =
                 pick({-1, -2, pages, kMax, kMin, pages + upTo(1000)});
    case 1:
      return a.lens[row] = pick(
                 {-1, -2, kMin, capacity + 1, kMax, capacity + upTo(99) + 1});
    case 2:
      return a.rows[row] = pick({-1, kMin, a.table.shape[0], kMax});
    case 3:
      return a.positions[row] = pick({capacity, kMax, capacity + upTo(99)});
    case 4:
      return count = pick({-1, kMin, a.list.shape[2] + 1, kMax});
    default:
      if (count == 0)
        return {};
      return a.listed(row, head, upTo(count - 1)) =
                 pick({length, kMax, length + upTo(99)});
    }
  }

private:
  std::mt19937 random;
};

TEST_F(ChecksTest, RandomValidMetadata) {
  RandomArguments random(1);
  for (int i = 0; i < 2000; ++i) {
    std::unique_ptr<Arguments> a = random.make();
    ASSERT_OK(a->run(module)) << i;
    for (int64_t row = 0; row < a->lens.shape[0]; ++row)
      ASSERT_EQ(a->sum[row], static_cast<float>(a->lens[row])) << i;
  }
}

TEST_F(ChecksTest, RandomMistakes) {
  RandomArguments random(2);
  for (int i = 0; i < 2000;) {
    std::unique_ptr<Arguments> a = random.make();
    std::optional<int32_t> wrong = random.spoil(*a);
    if (!wrong)
      continue;
    ++i;
    ASSERT_EQ(a->run(module), VASHISTA_CHECK_FAILED) << i;
    std::string message = vashista_last_error();
    ASSERT_NE(message.find(", got " + std::to_string(*wrong)),
              std::string::npos)
        << message;
    for (float element : a->sum)
      ASSERT_EQ(element, 0);
  }
}

} // namespace
