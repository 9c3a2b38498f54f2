# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# Finds the one LLVM/MLIR that vashista builds against. The project and the
# installed package share this file, so both refuse another version alike.
#
# Sets VASHISTA_LLVM_ERROR to one sentence on failure and to "" on success.
# An explicit MLIR_DIR is taken as it is, never replaced by another find.

set(VASHISTA_LLVM_MAJOR 22)
set(VASHISTA_LLVM_ERROR "")

# Beside an older LLVM only the versioned llvm-config leads to the right one.
find_program(VASHISTA_LLVM_CONFIG llvm-config-${VASHISTA_LLVM_MAJOR})
mark_as_advanced(VASHISTA_LLVM_CONFIG)
if(VASHISTA_LLVM_CONFIG)
  execute_process(COMMAND ${VASHISTA_LLVM_CONFIG} --libdir
                  OUTPUT_VARIABLE _vashista_llvm_libdir
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_path(MLIR_DIR MLIRConfig.cmake
          HINTS ${_vashista_llvm_libdir}/cmake/mlir
          PATH_SUFFIXES lib/cmake/mlir lib64/cmake/mlir
          DOC "Folder of the MLIRConfig.cmake to build against")

# Read from the version file, because loading the package of another version
# defines its targets and may fail with a message of its own.
function(_vashista_read_version dir out)
  if(EXISTS "${dir}/MLIRConfigVersion.cmake")
    include("${dir}/MLIRConfigVersion.cmake")
    set(${out} "version ${PACKAGE_VERSION}" PARENT_SCOPE)
  else()
    set(${out} "no MLIR package" PARENT_SCOPE)
  endif()
endfunction()

set(_vashista_install "install libmlir-${VASHISTA_LLVM_MAJOR}-dev and \
mlir-${VASHISTA_LLVM_MAJOR}-tools or pass -DMLIR_DIR=<prefix>/lib/cmake/mlir")
if(NOT MLIR_DIR)
  set(VASHISTA_LLVM_ERROR "vashista needs LLVM/MLIR ${VASHISTA_LLVM_MAJOR}, \
but found none; ${_vashista_install}")
  return()
endif()

_vashista_read_version("${MLIR_DIR}" _vashista_mlir_version)
if(NOT _vashista_mlir_version MATCHES "^version ${VASHISTA_LLVM_MAJOR}\\.")
  set(VASHISTA_LLVM_ERROR "vashista needs LLVM/MLIR ${VASHISTA_LLVM_MAJOR}, \
but MLIR_DIR=${MLIR_DIR} is ${_vashista_mlir_version}; ${_vashista_install}")
  return()
endif()

# Without the report on libraries that only LLVM's archives need.
set(_vashista_log_level "${CMAKE_MESSAGE_LOG_LEVEL}")
set(CMAKE_MESSAGE_LOG_LEVEL NOTICE)
find_package(MLIR REQUIRED CONFIG PATHS "${MLIR_DIR}" NO_DEFAULT_PATH)
set(CMAKE_MESSAGE_LOG_LEVEL "${_vashista_log_level}")
if(NOT TARGET MLIR OR NOT TARGET LLVM)
  set(VASHISTA_LLVM_ERROR "vashista links the shared libraries libMLIR and \
libLLVM, but MLIR_DIR=${MLIR_DIR} has only archives; rebuild that LLVM with \
LLVM_BUILD_LLVM_DYLIB=ON or ${_vashista_install}")
endif()
