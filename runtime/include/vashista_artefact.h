//===- vashista_artefact.h - The .vso format and its host interface -*- C
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a compiler writes and the runtime reads. Programs that only run
// artefacts need vashista_runtime.h alone.
//
// A .vso file is little endian and holds, in this order and without anything
// else:
//
//   vso_header
//   strings      bytes: each string ends with NUL, all control characters are
//                excluded, and a reference is the offset of a string's start
//   payloads     vso_payload[]
//   entries      vso_entry[]
//   values       vso_value[]     arguments, then results, entry by entry
//   dims         vso_dim[]       value by value
//   constants    vso_constant[]  entry by entry
//   checks       vso_check[]     entry by entry
//   the bytes of each payload, then those of its image if it has one, in the
//   order of their records
//
// Every part starts at the next multiple of 8 after the part before it; the
// bytes between are 0, and so are all reserved fields. The file ends with the
// last byte of the last payload. `first_...` fields continue where the record
// before ended. A reader checks all of this, so that a file has exactly one
// reading, before it maps or runs any part of it.
//
// The digest is there for integrity, not for trust: payloads are code.
//
// In format 2 every log-sum-exp is f32 and a natural logarithm.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_ARTEFACT_H
#define VASHISTA_ARTEFACT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// In the manner of PNG: a transfer that changes line ends is noticed.
#define VSO_MAGIC "\x7fVSO\r\n\x1a\n"
#define VSO_FORMAT_VERSION 2
#define VSO_HOST_ABI 2

// An index that refers to nothing.
#define VSO_NONE UINT32_MAX

// Limits that let the runtime work without allocating.
#define VSO_MAX_RANK 8
#define VSO_MAX_VALUES 128 // of one entry: arguments and results
#define VSO_MAX_ENTRIES 1024

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

typedef struct vso_section {
  uint64_t offset; // from the start of the file
  uint64_t count;  // records; bytes for strings
} vso_section;

typedef struct vso_header {
  uint8_t magic[8];
  uint32_t format_version;
  uint32_t header_bytes;
  uint64_t file_bytes;
  uint8_t digest[32]; // SHA-256 of all bytes after this field
  uint32_t host_abi;  // the vashista_host that the payloads are bound to
  uint32_t producer;  // string: who wrote the file, "vashista 0.1.0"
  uint32_t compiler;  // string: who generated the code, "LLVM 22.1.8"
  uint32_t reserved;
  vso_section strings;
  vso_section payloads;
  vso_section entries;
  vso_section values;
  vso_section dims;
  vso_section constants;
  vso_section checks;
} vso_header;

enum {
  // An ELF shared object for x86-64 Linux, see "The host interface".
  VSO_PAYLOAD_ELF_X86_64 = 1,
  // The same, and an image of the kernels that it launches on a CUDA device. It
  // exports their names, the object VSO_KERNELS_SYMBOL, and which of them wait,
  // VSO_WAITS_SYMBOL.
  VSO_PAYLOAD_CUDA = 2
};

enum {
  VSO_IMAGE_CUBIN = 1, // an ELF file
  VSO_IMAGE_PTX = 2    // text, with the NUL that ends it
};

// Payloads are alternatives, the best first: a loader takes the first one that
// the machine can run; of several for CUDA devices the one that is closest to
// the device: code for its architecture, then for its family, then PTX.
typedef struct vso_payload {
  uint32_t kind;
  uint32_t features; // string: "avx2,fma,avx512f", may be empty
  uint64_t offset;
  uint64_t bytes;
  // Of an image; without one VSO_NONE and 0.
  uint32_t architecture; // string: "sm_90a", or of PTX "compute_90"
  uint32_t image_kind;
  uint64_t image_offset;
  uint64_t image_bytes;
} vso_payload;

typedef struct vso_entry {
  uint32_t name;   // string, unique in the file
  uint32_t symbol; // string: exported by every payload
  uint32_t first_value;
  uint32_t num_arguments;
  uint32_t num_results;
  uint32_t first_constant;
  uint32_t num_constants;
  uint32_t first_check;
  uint32_t num_checks;
  uint32_t reserved;
} vso_entry;

enum {
  VSO_VALUE_WRITTEN = 1, // an argument that is written in place
  VSO_VALUE_STRIDED = 2, // an argument of any strides; others are row-major
  // A result [R, 4] i32 that has what a check within the entry found at fault.
  // flags >> VSO_VALUE_CHECK is which of the entry's checks is of the same
  // arguments, or VSO_NO_CHECK: it is of what the entry computes.
  VSO_VALUE_FAULTS = 4,
  VSO_VALUE_CHECK = 3,
  VSO_NO_CHECK = 0x1fff
};

typedef struct vso_value {
  uint32_t name; // string, unique among the arguments or among the results of
                 // its entry
  uint8_t code;  // DLDataTypeCode of whole bytes, one lane
  uint8_t bits;
  uint16_t flags;
  uint32_t rank;
  uint32_t first_dim;
} vso_value;

enum {
  VSO_DIM_STATIC = 1,  // is `size`
  VSO_DIM_DYNAMIC = 2, // is whatever the caller gives; arguments only
  VSO_DIM_TIED = 3 // is `size` times a dynamic dimension of an argument that
                   // comes before
};

typedef struct vso_dim {
  uint32_t kind;
  uint32_t argument; // of a tied dimension, else VSO_NONE
  uint32_t dim;      // likewise
  uint32_t reserved;
  int64_t size; // 0 where dynamic; at least 1 where tied
} vso_dim;

// What was baked into an entry, for people and caches: "scale" "0.0883883461".
typedef struct vso_constant {
  uint32_t name;  // string
  uint32_t value; // string
} vso_constant;

// What checked mode verifies before a kernel runs. Numbers are arguments of the
// entry, all i32 except the cache; M is dimension 1 and B dimension 0 of the
// table, N dimension `cache_dim` of the cache, S the page size, and rows[r] is
// r where there are no rows. Fields that a kind does not use are VSO_NONE,
// `unit` is 0.
enum {
  // table [B, M], lens [R], rows [R] or none, cache: 0 <= lens[r] <= M * S,
  // 0 <= rows[r] < B, and the first ceil(lens[r] / S) pages of the row's
  // sequence are 0 to N - 1.
  VSO_CHECK_TABLE = 1,
  // positions [R], table, rows or none, cache: a position is negative, or less
  // than M * S and in a page that is 0 to N - 1; 0 <= rows[r] < B.
  VSO_CHECK_POSITIONS = 2,
  // list [R, Hkv, C], count [R, Hkv] or none, lens [R]: counts are 0 to C, and
  // the first `count` entries (all without one) are negative or visible: less
  // than lens[r] (tokens), less than ceil(lens[r] / S) (pages).
  VSO_CHECK_LIST = 3
};

enum { VSO_UNIT_TOKENS = 1, VSO_UNIT_PAGES = 2 };

typedef struct vso_check {
  uint32_t kind;
  uint32_t unit;
  uint32_t table;
  uint32_t lens;
  uint32_t rows;
  uint32_t cache;
  uint32_t cache_dim;
  uint32_t positions;
  uint32_t list;
  uint32_t count;
  int64_t page_size; // 1 to 2^31 - 1
} vso_check;

//===----------------------------------------------------------------------===//
// The host interface
//===----------------------------------------------------------------------===//
//
// A payload exports VSO_BIND_SYMBOL, of the type vashista_bind_fn, which the
// loader calls once before any entry, and each entry's symbol, of the type
// vashista_entry_fn. It should be linked with -Bsymbolic, so that a program's
// symbols of the same names do not replace its own.
//
// An entry takes one pointer to a memref descriptor for each argument, then for
// each result:
//
//   struct { void *allocated, *aligned; int64_t offset;
//            int64_t sizes[rank]; int64_t strides[rank]; }   // in elements
//
// Several threads may call entries at once. Data is aligned to its element
// size. A tensor without elements may have null data.

typedef struct vashista_host {
  uint32_t abi_version; // VSO_HOST_ABI

  // Calls body(ctx, i) for i from 0 to n - 1, each once, on several threads,
  // and returns when all have returned. Within a body it runs inline, in order.
  void (*parallel_for)(int64_t n, void (*body)(void *ctx, int64_t i),
                       void *ctx);

  // Memory for temporaries, of an alignment that is a power of two. Null when
  // there is none: the entry must then return, and its call reports that.
  // Of the device, where the payload has an image.
  void *(*alloc)(uint64_t size, uint64_t align);
  void (*free)(void *pointer);

  // Enqueues a kernel, one of VSO_KERNELS_SYMBOL by its position. Sizes of grid
  // and block in x, y and z; bytes of a block's memory beyond what the kernel
  // declares, as many as the device has; the address of each of the kernel's
  // parameters. A grid without blocks is no launch. After a failure the call's
  // other launches do nothing.
  void (*launch)(uint32_t kernel, int64_t grid_x, int64_t grid_y,
                 int64_t grid_z, int64_t block_x, int64_t block_y,
                 int64_t block_z, int32_t shared_bytes, void **parameters);
} vashista_host;

#define VSO_BIND_SYMBOL "vashista_bind"
// char[]: each name ends with NUL, the last one is empty.
#define VSO_KERNELS_SYMBOL "vashista_kernels"
// char[], one for each kernel: 1 if all of its threads wait for the kernel
// before it in the stream (griddepcontrol.wait) before they touch memory, so
// that it may start while that one ends; else 0. A payload without it has none
// that waits.
#define VSO_WAITS_SYMBOL "vashista_waits"

typedef void vashista_bind_fn(const vashista_host *host);
typedef void vashista_entry_fn(void **descriptors);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // VASHISTA_ARTEFACT_H
