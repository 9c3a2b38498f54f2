//===- Error.cpp - Statuses with a message --------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"

#include <cstdarg>
#include <cstdio>

/// Long enough for every message of ours; names and paths are cut.
static thread_local char lastError[1024];

vashista_status vashista::runtime::fail(vashista_status status,
                                        const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(lastError, sizeof(lastError), format, arguments);
  va_end(arguments);
  return status;
}

extern "C" const char *vashista_last_error() { return lastError; }

extern "C" const char *vashista_runtime_version() { return VASHISTA_VERSION; }

extern "C" const char *vashista_status_name(int status) {
  switch (status) {
  case VASHISTA_OK:
    return "ok";
  case VASHISTA_INVALID_ARGUMENT:
    return "invalid argument";
  case VASHISTA_NOT_FOUND:
    return "not found";
  case VASHISTA_IO_ERROR:
    return "input/output error";
  case VASHISTA_MALFORMED:
    return "malformed artefact";
  case VASHISTA_UNSUPPORTED:
    return "unsupported";
  case VASHISTA_LOAD_FAILED:
    return "load failed";
  case VASHISTA_OUT_OF_MEMORY:
    return "out of memory";
  case VASHISTA_DEVICE_ERROR:
    return "device error";
  case VASHISTA_CHECK_FAILED:
    return "check failed";
  }
  return "unknown status";
}
