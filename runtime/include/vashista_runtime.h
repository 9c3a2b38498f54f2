//===- vashista_runtime.h - Loads and runs artefacts -----------*- C -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loads artefacts (.vso files) that vashista-compile wrote, says what they hold
// and calls their entries. Needs no compiler.
//
//   vashista_module *module;
//   uint32_t decode;
//   if (vashista_module_load("decode.vso", NULL, &module) ||
//       vashista_find_entry(module, "decode", &decode) ||
//       vashista_call(module, decode, args, 7, results, 1, NULL))
//     fprintf(stderr, "%s\n", vashista_last_error());
//
// Errors: functions return a status; where it is not VASHISTA_OK, nothing was
// done unless it says so, and vashista_last_error() says what was expected and
// what was got. Nothing is thrown, and no call ends the process.
//
// Threads: any thread may call any function at any time, on the same module
// too, except that a module must not be in use when it is freed. Not to be used
// in a child after fork().
//
// Ownership: the caller owns what it passes in, and may drop it when the call
// returns. Strings and infos that a module gives live until it is freed.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_H
#define VASHISTA_RUNTIME_H

// A program that has DLPack's own header includes it before this one.
#ifndef DLPACK_DLPACK_H_
#include "dlpack/dlpack.h"
#endif

#include <stddef.h>
#include <stdint.h>

#ifndef VASHISTA_API
#define VASHISTA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

typedef enum vashista_status {
  VASHISTA_OK = 0,
  VASHISTA_INVALID_ARGUMENT = 1, // a pointer, index, option or tensor
  VASHISTA_NOT_FOUND = 2,        // no such file or entry
  VASHISTA_IO_ERROR = 3,         // the file cannot be read
  VASHISTA_MALFORMED = 4,        // not an artefact, or a damaged one
  VASHISTA_UNSUPPORTED = 5,      // for another runtime or machine
  VASHISTA_LOAD_FAILED = 6,      // its code cannot be mapped or bound
  VASHISTA_OUT_OF_MEMORY = 7,
  VASHISTA_CHECK_FAILED = 8, // checked mode found a bad index or length
  VASHISTA_DEVICE_ERROR = 9  // the driver of a device reports a failure
} vashista_status;

/// "invalid argument" and so on; never null, for any number.
VASHISTA_API const char *vashista_status_name(int status);

/// Why the calling thread's last failed call failed; "" if none did. Lives
/// until the thread's next failing call, or its end.
VASHISTA_API const char *vashista_last_error(void);

/// "0.1.0"
VASHISTA_API const char *vashista_runtime_version(void);

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

typedef struct vashista_module vashista_module;

typedef struct vashista_load_options {
  size_t struct_size; // sizeof(vashista_load_options)
  /// The digest that the artefact must have, 32 bytes, or null for any.
  const uint8_t *digest;
  /// What is to run its entries: {kDLCPU, 0}, {kDLCUDA, number}; or {0, 0} for
  /// what the artefact is for, the CPU first, of devices number 0.
  DLDevice device;
  /// Nonzero: only to be described. No byte of it is mapped or run, no device
  /// is opened, and calls are refused.
  uint32_t describe_only;
} vashista_load_options;
#define VASHISTA_LOAD_OPTIONS_INIT                                             \
  { sizeof(vashista_load_options), NULL, {(DLDeviceType)0, 0}, 0 }

/// Verifies every byte of an artefact, picks the best of its payloads that this
/// machine can run, and loads it: for one device, kernels and all, so that no
/// call loads anything. What runs is a copy of the verified
/// bytes: the file may change or vanish afterwards. Code of an artefact is
/// native code, and loading it runs some: load only what comes from where you
/// trust.
///
/// `options` may be null. `*module` is null on failure.
VASHISTA_API vashista_status
vashista_module_load(const char *path, const vashista_load_options *options,
                     vashista_module **module);

/// The same for an artefact in memory, at any alignment.
VASHISTA_API vashista_status vashista_module_load_bytes(
    const void *bytes, size_t size, const vashista_load_options *options,
    vashista_module **module);

/// Whether the bytes are a well-formed artefact. Loads and runs nothing, and
/// does not ask whether this machine could.
VASHISTA_API vashista_status vashista_artefact_verify(const void *bytes,
                                                      size_t size);

/// Unloads the module, gives back the memory that is kept for the temporaries
/// of later calls and, with the last one, ends the worker threads. No call of
/// the module may be running. Null is ignored.
VASHISTA_API void vashista_module_free(vashista_module *module);

//===----------------------------------------------------------------------===//
// What a module holds
//===----------------------------------------------------------------------===//

typedef struct vashista_module_info {
  const char *producer;  // "vashista 0.1.0"
  const char *compiler;  // "LLVM 22.1.8"
  const char *features;  // CPU features of the loaded code: "avx2,fma"
  const uint8_t *digest; // 32 bytes, SHA-256
  uint32_t format_version;
  uint32_t num_entries;
  uint32_t num_payloads;
  DLDevice device;          // what runs its entries
  const char *architecture; // of its kernels: "sm_90a"; null on the CPU
} vashista_module_info;

VASHISTA_API vashista_status vashista_module_describe(
    const vashista_module *module, vashista_module_info *info);

/// What an artefact holds code for.
typedef struct vashista_payload_info {
  DLDeviceType device_type; // kDLCPU, or kDLCUDA
  const char *features;     // of the CPU, that it or its host's part needs
  const char *architecture; // of kernels, "sm_90a" or "compute_90"; null: none
} vashista_payload_info;

VASHISTA_API vashista_status
vashista_payload_describe(const vashista_module *module, uint32_t payload,
                          vashista_payload_info *info);

/// The number of the entry of that name.
VASHISTA_API vashista_status vashista_find_entry(const vashista_module *module,
                                                 const char *name,
                                                 uint32_t *entry);

typedef struct vashista_entry_info {
  const char *name;
  uint32_t num_arguments;
  uint32_t num_results;
  uint32_t num_constants;
  uint32_t num_checks; // what checked mode verifies; 0: nothing
} vashista_entry_info;

VASHISTA_API vashista_status vashista_entry_describe(
    const vashista_module *module, uint32_t entry, vashista_entry_info *info);

#define VASHISTA_MAX_RANK 8

typedef enum vashista_dim_kind {
  VASHISTA_DIM_STATIC = 1,  // is `size`
  VASHISTA_DIM_DYNAMIC = 2, // is what the caller gives
  VASHISTA_DIM_TIED = 3     // is `size` times dimension `dim` of `argument`
} vashista_dim_kind;

typedef struct vashista_dim {
  vashista_dim_kind kind;
  uint32_t argument;
  uint32_t dim;
  int64_t size;
} vashista_dim;

/// An argument or a result.
typedef struct vashista_value_info {
  const char *name;
  DLDataType dtype;
  int32_t rank;
  uint8_t written; // an argument that is written in place
  uint8_t strided; // takes any strides; others are row-major
  uint8_t faults;  // a result that says what the entry found out of range
  int32_t check;   // and which of its checks that is of; -1: none
  vashista_dim dims[VASHISTA_MAX_RANK];
} vashista_value_info;

VASHISTA_API vashista_status
vashista_argument_describe(const vashista_module *module, uint32_t entry,
                           uint32_t argument, vashista_value_info *info);
VASHISTA_API vashista_status
vashista_result_describe(const vashista_module *module, uint32_t entry,
                         uint32_t result, vashista_value_info *info);

/// A number that was baked into an entry when it was compiled: "scale" and
/// "0.0883883461".
typedef struct vashista_constant_info {
  const char *name;
  const char *value;
} vashista_constant_info;

VASHISTA_API vashista_status
vashista_constant_describe(const vashista_module *module, uint32_t entry,
                           uint32_t constant, vashista_constant_info *info);

typedef enum vashista_check_kind {
  VASHISTA_CHECK_TABLE = 1,     // lengths, rows and page ids
  VASHISTA_CHECK_POSITIONS = 2, // positions to write to, rows and page ids
  VASHISTA_CHECK_LIST = 3       // listed tokens or pages, and their counts
} vashista_check_kind;

/// What checked mode verifies before an entry runs: numbers of arguments, -1
/// where there is none.
typedef struct vashista_check_info {
  vashista_check_kind kind;
  int32_t table;     // physical pages [B, M]
  int32_t lens;      // visible tokens [R]
  int32_t rows;      // page table row of each row [R]
  int32_t cache;     // has `cache_dim` = physical pages
  int32_t cache_dim; // a dimension, not an argument
  int32_t positions; // [R]
  int32_t list;      // [R, Hkv, C]
  int32_t count;     // how many of the list [R, Hkv]
  uint8_t in_pages;  // the list names pages rather than tokens
  int64_t page_size; // tokens per page
} vashista_check_info;

VASHISTA_API vashista_status
vashista_check_describe(const vashista_module *module, uint32_t entry,
                        uint32_t check, vashista_check_info *info);

/// What an entry that checks itself (vashista-compile --checked) finds out of
/// range, the first number of a row of its faults.
typedef enum vashista_fault_kind {
  VASHISTA_FAULT_TABLE_ROW = 1, // the page table row that a row has
  VASHISTA_FAULT_LENGTH = 2,
  VASHISTA_FAULT_PAGE = 3, // a page id
  VASHISTA_FAULT_POSITION = 4,
  VASHISTA_FAULT_COUNT = 5, // of a list
  VASHISTA_FAULT_ENTRY = 6  // of a list
} vashista_fault_kind;

/// Says of a result with `faults` what checked mode says of arguments. `faults`
/// are its rows on the host, four numbers each: what (a vashista_fault_kind, or
/// 0 where the row is well), place, got, limit. The first row at fault is
/// reported as "argument 3 'table', row 2, position 5: expected page id 0 to
/// 255, got 300", of what the entry computes as "result 1 'faults', row 2,
/// ..."; VASHISTA_OK where there is none.
VASHISTA_API vashista_status
vashista_faults_report(const vashista_module *module, uint32_t entry,
                       uint32_t result, const int32_t *faults, int64_t rows);

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

typedef struct vashista_call_options {
  size_t struct_size; // sizeof(vashista_call_options)
  /// Nonzero: verify page tables, lengths, positions and lists first.
  uint32_t checked;
  /// Threads to use at most, the caller's among them; 0: no cap.
  uint32_t threads;
  /// Of a CUDA device: the stream (a CUstream; null is the default one).
  void *stream;
  /// Of a CUDA device: memory for temporaries, which is this call's until its
  /// work is done. Null: memory of the stream, allocated and given back in it.
  void *workspace;
  size_t workspace_bytes;
} vashista_call_options;
#define VASHISTA_CALL_OPTIONS_INIT                                             \
  { sizeof(vashista_call_options), 0, 0, NULL, NULL, 0 }

/// Runs an entry. On the CPU it returns when that is done; on a CUDA device
/// when it is enqueued on the stream: only what the driver reports until then
/// is an error of the call. Nothing is allocated, loaded or waited for (given a
/// workspace, and not in checked mode), so that a call, the first one too, can
/// be captured in a CUDA graph: it is replayed with the same addresses and
/// sizes, lengths and tables are read each time.
///
/// Arguments and results are tensors of the module's device with the element
/// type, rank and sizes that the entry declares, aligned to their element size,
/// on a CUDA device to 16 bytes; null data is taken only where there are no
/// elements. Strides count elements and may be null for row-major. Results are
/// written into memory that the caller provides. What is written must not
/// overlap any other tensor (verified where both are row-major).
///
/// A tensor that does not fit is refused before anything is read. What tensors
/// contain is trusted, and a bad page id is undefined behaviour, unless
/// `checked` asks to verify it: then the first violation is reported as "row 2,
/// position 5: expected page id 0 to 255, got 300", the entry does not run, and
/// results are set to zero. Tensors must not change during the call. Tables and
/// lists of a CUDA device are copied to the host for that, which waits for the
/// stream.
///
/// On the CPU it runs on the caller's thread and on workers that all modules
/// share, as many as VASHISTA_NUM_THREADS in the environment says (a number of
/// at least 1; by default, and for anything else, the CPUs that the process may
/// use) when they start, with the first call that needs them. Results do not
/// depend on their number. The floating-point environment of the caller
/// (rounding, flushing of denormals) has no influence.
///
/// `options` may be null. The runtime itself allocates nothing here.
VASHISTA_API vashista_status vashista_call(
    const vashista_module *module, uint32_t entry, DLTensor *const *arguments,
    uint32_t num_arguments, DLTensor *const *results, uint32_t num_results,
    const vashista_call_options *options);

/// The size of the workspace that a call with these tensors needs; 0 on the
/// CPU. It depends on sizes only.
VASHISTA_API vashista_status vashista_workspace_bytes(
    const vashista_module *module, uint32_t entry, DLTensor *const *arguments,
    uint32_t num_arguments, DLTensor *const *results, uint32_t num_results,
    size_t *bytes);

//===----------------------------------------------------------------------===//
// Memory of devices
//===----------------------------------------------------------------------===//
//
// For programs without a framework that has it. The device is {kDLCUDA,
// number}.

VASHISTA_API vashista_status vashista_memory_allocate(DLDevice device,
                                                      size_t bytes,
                                                      void **memory);
/// Null is ignored.
VASHISTA_API vashista_status vashista_memory_free(DLDevice device,
                                                  void *memory);
/// Between the host and the device, or within either, after what the stream has
/// to do. Returns when it is done.
VASHISTA_API vashista_status vashista_memory_copy(DLDevice device, void *to,
                                                  const void *from,
                                                  size_t bytes, void *stream);
/// Waits for a stream; what its work failed of is reported here.
VASHISTA_API vashista_status vashista_synchronize(DLDevice device,
                                                  void *stream);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // VASHISTA_RUNTIME_H
