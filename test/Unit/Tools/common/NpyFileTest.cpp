//===- NpyFileTest.cpp - Headers and contents of .npy files ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NpyFile.h"

#include "gtest/gtest.h"

#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <random>
#include <unistd.h>

using namespace vashista::tool;

using Kind = FileType::Kind;

namespace {

DLDataType dtype(int code, int bits) {
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1};
}

std::string npy(const std::string &dict, const std::string &data = "",
                int version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(dict.size() >> (8 * i) & 255);
  return bytes + dict + data;
}

std::string dict(const std::string &type, const std::string &order,
                 const std::string &shape) {
  return "{'descr': '" + type + "', 'fortran_order': " + order +
         ", 'shape': " + shape + ", }";
}

/// Bytes in memory that ends with them, so that a sanitizer sees every overrun.
Error parse(const std::string &bytes, NpyHeader &header) {
  std::unique_ptr<char[]> exact(new char[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  return parseNpyHeader(exact.get(), std::min(bytes.size(), maxNpyHeaderBytes),
                        bytes.size(), header);
}

std::string messageOf(const std::string &bytes) {
  NpyHeader header;
  return parse(bytes, header).message();
}

std::string messageOfDict(const std::string &text) {
  return messageOf(npy(text));
}

//===----------------------------------------------------------------------===//
// Headers
//===----------------------------------------------------------------------===//

TEST(NpyHeader, AllVersions) {
  for (int version : {1, 2, 3}) {
    NpyHeader header;
    std::string text = dict("<f4", "False", "(2, 3)");
    ASSERT_EQ(parse(npy(text, std::string(24, 'x'), version), header).message(),
              "");
    EXPECT_EQ(header.type.kind, Kind::floating);
    EXPECT_EQ(header.type.bytes, 4U);
    EXPECT_FALSE(header.type.swapped);
    EXPECT_EQ(header.type.name, "<f4");
    EXPECT_FALSE(header.isFortranOrder);
    EXPECT_EQ(header.shape, (Shape{2, 3}));
    EXPECT_EQ(header.count, 6U);
    EXPECT_EQ(header.dataOffset, text.size() + (version == 1 ? 10 : 12));
  }
}

TEST(NpyHeader, SpellingsThatNumPyTakes) {
  const std::pair<const char *, Shape> spellings[] = {
      {"{\"shape\":(1,),\"descr\":\"<f4\",\"fortran_order\":True}", {1}},
      {"  { 'descr' : '=f4' , 'fortran_order' : False , 'shape' : ( 1 , 1 ) "
       "}   \n",
       {1, 1}},
      {"{'descr': 'f4', 'fortran_order': False, 'shape': (), }\n", {}},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1, ), }", {1, 1}},
  };
  for (const auto &[text, shape] : spellings) {
    NpyHeader header;
    EXPECT_EQ(parse(npy(text, "1234"), header).message(), "") << text;
    EXPECT_EQ(header.shape, shape);
    EXPECT_EQ(header.count, 1U);
  }
}

TEST(NpyHeader, ElementTypes) {
  const struct {
    const char *name;
    Kind kind;
    unsigned bytes;
    bool swapped;
  } types[] = {
      {"|b1", Kind::boolean, 1, false},  {"?", Kind::boolean, 1, false},
      {"|i1", Kind::integer, 1, false},  {"<i2", Kind::integer, 2, false},
      {">i4", Kind::integer, 4, true},   {"<i8", Kind::integer, 8, false},
      {"|u1", Kind::natural, 1, false},  {"<u2", Kind::natural, 2, false},
      {"<u4", Kind::natural, 4, false},  {">u8", Kind::natural, 8, true},
      {">f2", Kind::floating, 2, true},  {"<f8", Kind::floating, 8, false},
      {"|V1", Kind::raw, 1, false},      {"<V1", Kind::raw, 1, false},
      {"|V2", Kind::raw, 2, false},      {"<V2", Kind::raw, 2, false},
      {"<f1", Kind::floating, 1, false}, {">i1", Kind::integer, 1, false}};
  for (const auto &type : types) {
    NpyHeader header;
    std::string data(type.bytes, '\0');
    ASSERT_EQ(
        parse(npy(dict(type.name, "False", "()"), data), header).message(), "")
        << type.name;
    EXPECT_EQ(header.type.kind, type.kind) << type.name;
    EXPECT_EQ(header.type.bytes, type.bytes);
    EXPECT_EQ(header.type.swapped, type.swapped);
  }
  for (const char *name :
       {"<c8", "|O", "|S4", "<U2", "<M8[ns]", "<f16", "<f3", "|f4", ">V2", "V4",
        "", "<", "<<f4", "f", "4", "<f04", "<f4 "})
    EXPECT_EQ(messageOfDict(dict(name, "False", "()")),
              "expected an element type such as '<f4', got '" +
                  std::string(name) + "'");
}

TEST(NpyHeader, EmptyArraysMayHaveAnyOtherSizes) {
  NpyHeader header;
  std::string text =
      dict("<f8", "True", "(9223372036854775807, 0, 9223372036854775807)");
  EXPECT_EQ(parse(npy(text), header).message(), "");
  EXPECT_EQ(header.count, 0U);
}

TEST(NpyHeader, WhatIsNoNpyFile) {
  const std::string good = npy(dict("<f4", "False", "()"), "1234");
  EXPECT_EQ(messageOf(""), "expected a .npy file, got one of fewer than 10 "
                           "bytes");
  EXPECT_EQ(messageOf("\x7f" + good.substr(1)),
            "expected a .npy file, got bytes without its magic number");
  EXPECT_EQ(messageOf(npy("", "", 0)),
            "expected .npy version 1.0, 2.0 or 3.0, got 0.0");
  EXPECT_EQ(messageOf(npy("", "", 4)),
            "expected .npy version 1.0, 2.0 or 3.0, got 4.0");
  EXPECT_EQ(messageOf(npy("{}", "", 2).substr(0, 11)),
            "expected a .npy file, got one that ends in its header");
  // Nothing of a good file may be missing.
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(messageOf(good.substr(0, size)), "") << size;
  EXPECT_EQ(messageOf(good), "");
  std::string lies = npy(std::string(70000, ' '), "", 2);
  EXPECT_EQ(messageOf(lies),
            "expected a .npy header of at most 65536 bytes, got 70000");
  lies = npy("{}", "", 3);
  lies[8] = 7;
  EXPECT_EQ(messageOf(lies), "expected a .npy header of 7 bytes, got 2 and the "
                             "end of the file");
}

TEST(NpyHeader, WhatIsNoDictionary) {
  /// "expected ... at byte 3 of the .npy header's dictionary, got ..."
  auto at = [](const char *what, int byte, const char *got) {
    return "expected " + std::string(what) + " at byte " +
           std::to_string(byte) + " of the .npy header's dictionary, got " +
           got;
  };
  const std::pair<const char *, std::string> cases[] = {
      {"", at("'{'", 0, "its end")},
      {"[]", at("'{'", 0, "'['")},
      {"{1: 2}", at("a key in quotes or '}'", 1, "'1'")},
      {"{'descr", at("a key in quotes or '}'", 2, "'d'")},
      {"{'des\\cr': 1", at("a key in quotes or '}'", 2, "'d'")},
      {"{'shape' (1,)", at("':'", 9, "'('")},
      {"{'shape': () 'descr': '<f4'}", at("',' or '}'", 13, "'\''")},
      {"{'descr': f4}", at("an element type in quotes", 10, "'f'")},
      {"{'fortran_order': 1}", at("True or False", 18, "'1'")},
      {"{'fortran_order': Tru", at("True or False", 18, "'T'")},
      {"{'shape': 3}", at("'(' of a shape", 10, "'3'")},
      {"{'shape': (,)}", at("a size", 11, "','")},
      {"{'shape': (3 4)}", at("',' or ')' of a shape", 13, "'4'")},
      {"{'shape': (3.0,)}", at("',' or ')' of a shape", 12, "'.'")},
      {"{'shape': (3", at("',' or ')' of a shape", 12, "its end")},
      {"{'descr': [('a', '<f4')]}",
       "expected an array of numbers, got one of records"},
      {"{'a': 1}", "expected the keys 'descr', 'fortran_order' and 'shape' in "
                   "the .npy header, got 'a'"},
      {"{}", "expected 'descr' in the .npy header, got none"},
      {"{'descr': '<f4', 'shape': ()}",
       "expected 'fortran_order' in the .npy header, got none"},
      {"{'descr': '<f4', 'fortran_order': False}",
       "expected 'shape' in the .npy header, got none"},
      {"{'shape': (), 'shape': ()}",
       "expected 'shape' once in the .npy header, got it twice"},
      {"{'shape': (3)}",
       "expected a shape such as (3,) in the .npy header, got (3)"},
      {"{'shape': (-3,)}",
       "expected sizes of 0 or more in the .npy header, got a negative one"},
      {"{'shape': (9223372036854775808,)}",
       "expected sizes of less than 2^63 in the .npy header, got a larger "
       "one"},
  };
  for (const auto &[text, message] : cases)
    EXPECT_EQ(messageOfDict(text), message) << text;
  EXPECT_EQ(messageOfDict(dict("<f4", "False", "()") + " x"),
            at("nothing more", 56, "'x'"));
  std::string many = "(";
  for (int i = 0; i < 65; ++i)
    many += "1,";
  EXPECT_EQ(messageOfDict(dict("<f4", "False", many + ")")),
            "expected at most 64 dimensions in the .npy header, got more");
}

TEST(NpyHeader, SizesThatTheFileDoesNotHave) {
  EXPECT_EQ(messageOf(npy(dict("<f4", "False", "(2,)"), "1234567")),
            "expected 8 bytes after the .npy header for shape [2] of '<f4', "
            "got 7");
  EXPECT_EQ(messageOf(npy(dict("<f4", "False", "(2,)"), "123456789")),
            "expected 8 bytes after the .npy header for shape [2] of '<f4', "
            "got 9");
  EXPECT_EQ(messageOf(npy(dict("<f4", "False", "(0,)"), "1")),
            "expected 0 bytes after the .npy header for shape [0] of '<f4', "
            "got 1");
  for (const char *shape :
       {"(4294967296, 4294967296)", "(4611686018427387904,)",
        "(9223372036854775807, 3)"})
    EXPECT_EQ(messageOfDict(dict("<f4", "False", shape))
                  .find("expected fewer than 2^64 bytes"),
              0U)
        << shape;
}

// Bytes of headers replaced, removed, doubled and exchanged: never a crash, and
// what is taken fits the file.
TEST(NpyHeader, Mutations) {
  std::mt19937 random(7);
  const std::string seeds[] = {
      npy(dict("<f4", "False", "(2, 3)"), std::string(24, 'x')),
      npy(dict(">i8", "True", "(0, 9223372036854775807)"), "", 2),
      npy(dict("|V2", "False", "(1, 1, 2)"), "1234", 3),
      npy(dict("|b1", "False", "()"), "1")};
  const std::string alphabet = "{}()[]:,'\"\\ \n0189-<>|=fFTeLdV\x93";
  auto pick = [&](size_t size) { return random() % size; };
  int taken = 0, refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = seeds[pick(4)];
    for (size_t n = 1 + pick(4); n > 0 && !bytes.empty(); --n) {
      size_t at = pick(bytes.size());
      size_t length = 1 + pick(std::min<size_t>(8, bytes.size() - at));
      switch (pick(6)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = alphabet[pick(alphabet.size())];
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, length));
        break;
      case 4:
        bytes.resize(at);
        break;
      default:
        std::swap(bytes[at], bytes[pick(bytes.size())]);
        break;
      }
    }
    NpyHeader header;
    if (Error error = parse(bytes, header)) {
      ++refused;
      EXPECT_NE(error.message(), "");
    } else {
      ++taken;
      EXPECT_EQ(header.dataOffset + header.count * header.type.bytes,
                bytes.size());
    }
  }
  EXPECT_GT(taken, 100);
  EXPECT_GT(refused, 5000);
  RecordProperty("taken", taken);
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// A file that goes with the object.
class TestFile {
public:
  explicit TestFile(const std::string &bytes = "") : file(mkstemp(&path[0])) {
    EXPECT_GE(file, 0);
    EXPECT_EQ(write(file, bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  ~TestFile() {
    close(file);
    unlink(path.c_str());
  }

  std::string path = testing::TempDir() + "vashista-npy-XXXXXX";
  int file;
};

template <typename T>
std::vector<T> readAs(const std::string &bytes, DLDataType type,
                      std::string *message = nullptr) {
  TestFile test(bytes);
  NpyFile file;
  Error error = file.open(test.path);
  EXPECT_FALSE(error) << error.message();
  std::vector<T> result(file.header().count);
  Error problem = file.read(type, result.data());
  if (message)
    *message = problem.message();
  else
    EXPECT_FALSE(problem) << problem.message();
  return result;
}

std::string shorts(std::initializer_list<int> values) {
  std::string bytes;
  for (int value : values) {
    bytes += static_cast<char>(value & 255);
    bytes += static_cast<char>(value >> 8 & 255);
  }
  return bytes;
}

TEST(NpyFile, FortranOrder) {
  // Element [i, j, k] is 100 i + 10 j + k; the first index is the fastest.
  std::string data =
      shorts({0, 100, 10, 110, 20, 120, 1, 101, 11, 111, 21, 121});
  EXPECT_EQ((readAs<int32_t>(npy(dict("<i2", "True", "(2, 3, 2)"), data),
                             dtype(kDLInt, 32))),
            (std::vector<int32_t>{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120,
                                  121}));
  EXPECT_EQ((readAs<int16_t>(npy(dict("<i2", "True", "(2,)"), shorts({1, 2})),
                             dtype(kDLInt, 16))),
            (std::vector<int16_t>{1, 2}));
}

TEST(NpyFile, ManyElementsInBothOrders) {
  // More than what is read at once, and no multiple of it.
  constexpr int rows = 301, columns = 503;
  std::string data, transposed;
  for (int i = 0; i < rows * columns; ++i)
    data += shorts({i % 30011});
  for (int j = 0; j < columns; ++j)
    for (int i = 0; i < rows; ++i)
      transposed += shorts({(i * columns + j) % 30011});
  auto plain = readAs<int64_t>(npy(dict("<i2", "False", "(301, 503)"), data),
                               dtype(kDLInt, 64));
  auto fortran = readAs<int64_t>(
      npy(dict("<i2", "True", "(301, 503)"), transposed), dtype(kDLInt, 64));
  for (size_t i = 0; i < plain.size(); ++i)
    ASSERT_EQ(plain[i], static_cast<int64_t>(i % 30011));
  EXPECT_EQ(plain, fortran);
}

TEST(NpyFile, NamesTheElementThatDoesNotFit) {
  std::string data = shorts({1, 2, 3, 4, 300, 6}), message;
  readAs<int8_t>(npy(dict("<i2", "False", "(2, 3)"), data), dtype(kDLInt, 8),
                 &message);
  EXPECT_EQ(message, "element [1, 1]: expected a number that fits i8, got 300");
  readAs<int8_t>(npy(dict("<i2", "True", "(2, 3)"), data), dtype(kDLInt, 8),
                 &message);
  EXPECT_EQ(message, "element [0, 2]: expected a number that fits i8, got 300");
  readAs<int8_t>(npy(dict(">i2", "False", "()"), shorts({0x2c01})),
                 dtype(kDLInt, 8), &message);
  EXPECT_EQ(message, "element []: expected a number that fits i8, got 300");
  readAs<int8_t>(npy(dict("|b1", "False", "(2,)"), "\x01\x07"),
                 dtype(kDLBool, 8), &message);
  EXPECT_EQ(message, "element [1]: expected a bool of 0 or 1, got 7");
}

TEST(NpyFile, EmptyWithLargeSizes) {
  std::string text =
      dict("<f8", "True", "(9223372036854775807, 0, 9223372036854775807)");
  EXPECT_TRUE(readAs<float>(npy(text), dtype(kDLFloat, 32)).empty());
}

TEST(NpyFile, WhatCannotBeOpened) {
  NpyFile missing, folder;
  EXPECT_EQ(missing.open("/no/such/file").message(),
            "cannot be opened: No such file or directory");
  EXPECT_EQ(folder.open("/").message(),
            "expected a regular file, got something else");
}

template <typename T>
void expectWritten(DLDataType type, const std::vector<T> &data,
                   const Shape &shape, const char *name,
                   const std::string &stored) {
  TestFile test;
  Error error = writeNpy(test.file, type, shape, data.data());
  ASSERT_FALSE(error) << error.message();
  NpyFile file;
  Error problem = file.open(test.path);
  ASSERT_FALSE(problem) << problem.message();
  EXPECT_EQ(file.header().type.name, name);
  EXPECT_EQ(file.header().shape, shape);
  EXPECT_FALSE(file.header().isFortranOrder);
  EXPECT_EQ(file.header().dataOffset % 64, 0U);
  std::string bytes(stored.size() + 1, '\0');
  ASSERT_EQ(pread(test.file, &bytes[0], bytes.size(),
                  static_cast<off_t>(file.header().dataOffset)),
            static_cast<ssize_t>(stored.size()));
  bytes.pop_back();
  EXPECT_EQ(bytes, stored);
}

template <typename T> std::string bytesOf(const std::vector<T> &data) {
  return {reinterpret_cast<const char *>(data.data()), data.size() * sizeof(T)};
}

TEST(NpyFile, Writes) {
  std::vector<float> f32 = {1, 2, 3, 4, 5, 6}, one = {1};
  expectWritten(dtype(kDLFloat, 32), f32, {2, 3}, "<f4", bytesOf(f32));
  expectWritten(dtype(kDLFloat, 32), f32, {6}, "<f4", bytesOf(f32));
  expectWritten(dtype(kDLFloat, 32), one, {}, "<f4", bytesOf(one));
  expectWritten(dtype(kDLFloat, 32), std::vector<float>{}, {3, 0}, "<f4", "");
  std::vector<double> f64 = {1, -2};
  expectWritten(dtype(kDLFloat, 64), f64, {2}, "<f8", bytesOf(f64));
  std::vector<int64_t> i64 = {-1};
  expectWritten(dtype(kDLInt, 64), i64, {1}, "<i8", bytesOf(i64));
  std::vector<uint16_t> u16 = {65535};
  expectWritten(dtype(kDLUInt, 16), u16, {1}, "<u2", bytesOf(u16));
  std::vector<uint8_t> u8 = {0, 1};
  expectWritten(dtype(kDLBool, 8), u8, {2}, "|b1", bytesOf(u8));
  expectWritten(dtype(kDLInt, 8), u8, {2}, "|i1", bytesOf(u8));
  expectWritten(dtype(kDLUInt, 8), u8, {2}, "|u1", bytesOf(u8));
  expectWritten(dtype(kDLFloat8_e4m3fn, 8), u8, {2}, "|u1", bytesOf(u8));
  // All ranks up to that of an entry, whatever the padding.
  for (size_t rank = 0; rank <= 8; ++rank)
    expectWritten(dtype(kDLUInt, 8), std::vector<uint8_t>{7}, Shape(rank, 1),
                  "|u1", "\x07");
}

TEST(NpyFile, WidensAllSixteenBitPatterns) {
  std::vector<uint16_t> patterns(65536 + 3);
  std::vector<float> f16, bf16;
  for (size_t i = 0; i < patterns.size(); ++i) {
    patterns[i] = static_cast<uint16_t>(i);
    f16.push_back(widenF16(patterns[i]));
    bf16.push_back(widenBF16(patterns[i]));
  }
  auto size = static_cast<int64_t>(patterns.size());
  expectWritten(dtype(kDLFloat, 16), patterns, {size}, "<f4", bytesOf(f16));
  expectWritten(dtype(kDLBfloat, 16), patterns, {size}, "<f4", bytesOf(bf16));
}

TEST(NpyFile, WhatCannotBeWritten) {
  int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  float value = 1;
  EXPECT_EQ(writeNpy(full, dtype(kDLFloat, 32), {1}, &value).message(),
            "cannot be written: No space left on device");
  close(full);
}

} // namespace
