//===- NpyFile.cpp - Reads and writes .npy files --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The format is that of NumPy's numpy.lib.format. Headers come from anywhere:
// the text is parsed as the one dictionary that it must be, and no size is used
// before the file was found to be as long as it says.
//
//===----------------------------------------------------------------------===//

#include "NpyFile.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace vashista::tool;

using Kind = FileType::Kind;

std::string vashista::tool::shapeText(const Shape &shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

//===----------------------------------------------------------------------===//
// Headers
//===----------------------------------------------------------------------===//

// NumPy's own limit.
static constexpr size_t maxRank = 64;

namespace {

/// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderParser {
public:
  HeaderParser(const char *begin, const char *end, NpyHeader &header)
      : begin(begin), at(begin), end(end), header(header) {}

  Error parse();

private:
  Error parseType();
  Error parseOrder();
  Error parseShape();
  bool parseString(std::string &result);

  void skipSpace() {
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\t'))
      ++at;
  }
  bool take(char c) {
    skipSpace();
    if (at == end || *at != c)
      return false;
    ++at;
    return true;
  }
  bool take(const char *word) {
    skipSpace();
    size_t length = strlen(word);
    if (static_cast<size_t>(end - at) < length || memcmp(at, word, length) != 0)
      return false;
    at += length;
    return true;
  }
  Error expected(const char *what) const {
    return fail("expected %s at byte %td of the .npy header's dictionary, got "
                "%s",
                what, at - begin,
                at == end ? "its end" : quote(std::string(1, *at)).c_str());
  }

  const char *begin;
  const char *at;
  const char *end;
  NpyHeader &header;
};

} // namespace

Error HeaderParser::parse() {
  if (!take('{'))
    return expected("'{'");
  bool hasType = false, hasOrder = false, hasShape = false;
  while (!take('}')) {
    std::string key;
    if (!parseString(key))
      return expected("a key in quotes or '}'");
    if (!take(':'))
      return expected("':'");
    bool *has = key == "descr"           ? &hasType
                : key == "fortran_order" ? &hasOrder
                : key == "shape"         ? &hasShape
                                         : nullptr;
    if (!has)
      return fail("expected the keys 'descr', 'fortran_order' and 'shape' in "
                  "the .npy header, got %s",
                  quote(key.substr(0, 64)).c_str());
    if (*has)
      return fail("expected '%s' once in the .npy header, got it twice",
                  key.c_str());
    *has = true;
    if (Error error = has == &hasType    ? parseType()
                      : has == &hasOrder ? parseOrder()
                                         : parseShape())
      return error;
    if (take(','))
      continue;
    if (!take('}'))
      return expected("',' or '}'");
    break;
  }
  if (!hasType || !hasOrder || !hasShape)
    return fail("expected '%s' in the .npy header, got none",
                !hasType    ? "descr"
                : !hasOrder ? "fortran_order"
                            : "shape");
  skipSpace();
  if (at != end)
    return expected("nothing more");
  return Error::success();
}

bool HeaderParser::parseString(std::string &result) {
  char quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
  if (!quote)
    return false;
  const char *close = std::find(at, end, quote);
  // No string of a header needs a backslash.
  if (close == end || std::find(at, close, '\\') != close)
    return false;
  result.assign(at, close);
  at = close + 1;
  return true;
}

Error HeaderParser::parseType() {
  skipSpace();
  if (at != end && *at == '[')
    return fail("expected an array of numbers, got one of records");
  std::string name;
  if (!parseString(name))
    return expected("an element type in quotes");
  FileType type;
  type.name = name.substr(0, 64);
  bool hasOrder = !name.empty() && strchr("<>|=", name[0]);
  char order = hasOrder ? name[0] : '=';
  std::string code = name.substr(hasOrder ? 1 : 0);
  if (code == "?")
    code = "b1";

  static const struct {
    const char *code;
    Kind kind;
    unsigned bytes;
  } known[] = {{"b1", Kind::boolean, 1},  {"i1", Kind::integer, 1},
               {"i2", Kind::integer, 2},  {"i4", Kind::integer, 4},
               {"i8", Kind::integer, 8},  {"u1", Kind::natural, 1},
               {"u2", Kind::natural, 2},  {"u4", Kind::natural, 4},
               {"u8", Kind::natural, 8},  {"f1", Kind::floating, 1},
               {"f2", Kind::floating, 2}, {"f4", Kind::floating, 4},
               {"f8", Kind::floating, 8}, {"V1", Kind::raw, 1},
               {"V2", Kind::raw, 2}};
  for (const auto &candidate : known) {
    if (code != candidate.code)
      continue;
    type.kind = candidate.kind;
    type.bytes = candidate.bytes;
    bool isMultiByte = type.bytes > 1 && type.kind != Kind::raw;
    if (isMultiByte && order == '|')
      break;
    // NumPy does not swap raw bytes either, so their order would be a guess.
    if (type.kind == Kind::raw && type.bytes > 1 && order == '>')
      break;
    type.swapped = isMultiByte && order == '>';
    header.type = type;
    return Error::success();
  }
  return fail("expected an element type such as '<f4', got %s",
              quote(type.name).c_str());
}

Error HeaderParser::parseOrder() {
  if (take("True"))
    header.isFortranOrder = true;
  else if (take("False"))
    header.isFortranOrder = false;
  else
    return expected("True or False");
  return Error::success();
}

Error HeaderParser::parseShape() {
  header.shape.clear();
  if (!take('('))
    return expected("'(' of a shape");
  bool comma = true;
  while (!take(')')) {
    if (!comma)
      return expected("',' or ')' of a shape");
    if (at != end && *at == '-')
      return fail("expected sizes of 0 or more in the .npy header, got a "
                  "negative one");
    if (at == end || *at < '0' || *at > '9')
      return expected("a size");
    int64_t size = 0;
    for (; at != end && *at >= '0' && *at <= '9'; ++at)
      if (__builtin_mul_overflow(size, 10, &size) ||
          __builtin_add_overflow(size, *at - '0', &size))
        return fail("expected sizes of less than 2^63 in the .npy header, got "
                    "a larger one");
    if (header.shape.size() == maxRank)
      return fail("expected at most %zu dimensions in the .npy header, got "
                  "more",
                  maxRank);
    header.shape.push_back(size);
    comma = take(',');
  }
  if (header.shape.size() == 1 && !comma)
    return fail("expected a shape such as (%" PRId64 ",) in the .npy header, "
                "got (%" PRId64 ")",
                header.shape[0], header.shape[0]);
  return Error::success();
}

Error vashista::tool::parseNpyHeader(const char *bytes, size_t size,
                                     uint64_t fileSize, NpyHeader &header) {
  static const char magic[] = "\x93NUMPY";
  if (size < 10 || memcmp(bytes, magic, 6) != 0)
    return fail("expected a .npy file, got %s",
                size < 10 ? "one of fewer than 10 bytes"
                          : "bytes without its magic number");
  auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  unsigned major = byte(6), minor = byte(7);
  if (major < 1 || major > 3 || minor != 0)
    return fail("expected .npy version 1.0, 2.0 or 3.0, got %u.%u", major,
                minor);
  uint64_t start = major == 1 ? 10 : 12, length = byte(8) | byte(9) << 8;
  if (size < start)
    return fail("expected a .npy file, got one that ends in its header");
  if (major > 1)
    length |= uint64_t(byte(10)) << 16 | uint64_t(byte(11)) << 24;
  if (length > maxNpyHeaderBytes - 12)
    return fail("expected a .npy header of at most %zu bytes, got %" PRIu64,
                maxNpyHeaderBytes - 12, length);
  if (length > size - start)
    return fail("expected a .npy header of %" PRIu64 " bytes, got %" PRIu64
                " and the end of the file",
                length, size - start);

  header = NpyHeader();
  const char *text = bytes + start;
  if (Error error = HeaderParser(text, text + length, header).parse())
    return error;

  // Without elements the other sizes may be anything.
  bool isEmpty = std::find(header.shape.begin(), header.shape.end(), 0) !=
                 header.shape.end();
  uint64_t count = isEmpty ? 0 : 1, expected;
  bool overflows = false;
  for (int64_t dim : header.shape)
    if (!isEmpty)
      overflows |= __builtin_mul_overflow(count, uint64_t(dim), &count);
  overflows |=
      __builtin_mul_overflow(count, uint64_t(header.type.bytes), &expected);
  uint64_t got = fileSize - start - length;
  std::string place = "after the .npy header for shape " +
                      shapeText(header.shape) + " of '" +
                      printable(header.type.name) + "'";
  if (overflows)
    return fail("expected fewer than 2^64 bytes %s, got a shape of more",
                place.c_str());
  if (got != expected)
    return fail("expected %" PRIu64 " bytes %s, got %" PRIu64, expected,
                place.c_str(), got);
  header.count = count;
  header.dataOffset = start + length;
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Reads that many bytes, or fails.
static Error readAll(int file, char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(file, bytes + done, size - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail("cannot be read: %s", strerror(errno));
    if (got == 0)
      return fail("changed while it was read");
    done += static_cast<size_t>(got);
  }
  return Error::success();
}

NpyFile::~NpyFile() {
  if (file >= 0)
    close(file);
}

Error NpyFile::open(const std::string &path) {
  // Not blocking, in case that it is a pipe.
  file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return fail("cannot be opened: %s", strerror(errno));
  struct stat about;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
    return fail("expected a regular file, got something else");
  auto fileSize = static_cast<uint64_t>(about.st_size);
  std::string start(std::min<uint64_t>(fileSize, maxNpyHeaderBytes), '\0');
  if (Error error = readAll(file, start.data(), start.size()))
    return error;
  return parseNpyHeader(start.data(), start.size(), fileSize, npy);
}

namespace {

/// Where the elements of an array in Fortran order lie in row-major order.
class Scatter {
public:
  explicit Scatter(const Shape &shape)
      : shape(shape), index(shape.size(), 0), strides(shape.size(), 1) {
    for (size_t d = shape.size(); d-- > 1;)
      strides[d - 1] = strides[d] * shape[d];
  }

  void put(char *destination, const char *elements, unsigned bytes,
           size_t count) {
    for (size_t i = 0; i < count; ++i) {
      memcpy(destination + static_cast<size_t>(offset) * bytes,
             elements + i * bytes, bytes);
      for (size_t d = 0; d < shape.size(); ++d) {
        offset += strides[d];
        if (++index[d] < shape[d])
          break;
        offset -= strides[d] * shape[d];
        index[d] = 0;
      }
    }
  }

private:
  const Shape &shape;
  Shape index, strides;
  int64_t offset = 0;
};

} // namespace

/// The index of an element by its number in the file.
static Shape indexOf(const NpyHeader &header, uint64_t number) {
  Shape index(header.shape.size());
  for (size_t i = 0; i < index.size(); ++i) {
    size_t d = header.isFortranOrder ? i : index.size() - 1 - i;
    auto size = static_cast<uint64_t>(header.shape[d]);
    index[d] = static_cast<int64_t>(number % size);
    number /= size;
  }
  return index;
}

Error NpyFile::read(DLDataType to, void *destination) {
  if (Error error = checkConversion(npy.type, to))
    return error;
  if (lseek(file, static_cast<off_t>(npy.dataOffset), SEEK_SET) < 0)
    return fail("cannot be read: %s", strerror(errno));

  // Sizes beside a 0 may be anything, even too large for strides.
  if (npy.count == 0)
    return Error::success();
  constexpr size_t chunk = 65536;
  std::vector<uint64_t> source(chunk), converted(chunk);
  auto *from = reinterpret_cast<char *>(source.data());
  auto *out = static_cast<char *>(destination);
  unsigned bytes = bytesOf(to);
  bool scatters = npy.isFortranOrder && npy.shape.size() > 1;
  Scatter scatter(npy.shape);
  for (uint64_t done = 0; done < npy.count;) {
    size_t count = std::min<uint64_t>(chunk, npy.count - done);
    if (Error error = readAll(file, from, count * npy.type.bytes))
      return error;
    char *into = scatters ? reinterpret_cast<char *>(converted.data())
                          : out + done * bytes;
    size_t good = convert(npy.type, from, to, into, count);
    if (good < count) {
      bool isBool = npy.type.kind == Kind::boolean;
      return fail("element %s: expected %s, got %s",
                  shapeText(indexOf(npy, done + good)).c_str(),
                  isBool ? "a bool of 0 or 1"
                         : ("a number that fits " + nameOf(to)).c_str(),
                  elementText(npy.type, from + good * npy.type.bytes).c_str());
    }
    if (scatters)
      scatter.put(out, into, bytes, count);
    done += count;
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static Error writeAll(int file, const char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = write(file, bytes + done, size - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail("cannot be written: %s", strerror(errno));
    done += static_cast<size_t>(got);
  }
  return Error::success();
}

Error vashista::tool::writeNpy(int file, DLDataType type, const Shape &shape,
                               const void *data) {
  bool isBF16 = type.code == kDLBfloat;
  bool widens = isBF16 || (type.code == kDLFloat && type.bits == 16);
  unsigned bytes = bytesOf(type);
  const char *code = type.code == kDLInt               ? "i"
                     : type.code == kDLBool            ? "b"
                     : type.code == kDLFloat || isBF16 ? "f"
                                                       : "u";
  std::string dict =
      text("{'descr': '%s%s%u', 'fortran_order': False, 'shape': (",
           bytes == 1 ? "|" : "<", code, widens ? 4 : bytes);
  uint64_t count = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    dict += (i ? ", " : "") + std::to_string(shape[i]);
    count *= static_cast<uint64_t>(shape[i]);
  }
  dict += shape.size() == 1 ? ",), }" : "), }";
  // The data is aligned for whoever maps the file.
  dict.append(63 - (10 + dict.size()) % 64, ' ');
  dict += '\n';
  std::string start = "\x93NUMPY\x01";
  start += '\0';
  start += static_cast<char>(dict.size() & 255);
  start += static_cast<char>(dict.size() >> 8);
  start += dict;
  if (Error error = writeAll(file, start.data(), start.size()))
    return error;

  const auto *elements = static_cast<const char *>(data);
  if (!widens)
    return writeAll(file, elements, count * bytes);
  constexpr size_t chunk = 65536;
  std::vector<float> wide(chunk);
  for (uint64_t done = 0; done < count;) {
    size_t part = std::min<uint64_t>(chunk, count - done);
    for (size_t i = 0; i < part; ++i) {
      uint16_t bits;
      memcpy(&bits, elements + (done + i) * 2, 2);
      wide[i] = isBF16 ? widenBF16(bits) : widenF16(bits);
    }
    if (Error error =
            writeAll(file, reinterpret_cast<const char *>(wide.data()),
                     part * sizeof(float)))
      return error;
    done += part;
  }
  return Error::success();
}
