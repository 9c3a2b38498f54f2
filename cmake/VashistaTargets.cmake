# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# How vashista's own code is compiled, and what it links.

option(VASHISTA_CCACHE "Compile through ccache when it is installed" ON)
find_program(VASHISTA_CCACHE_PROGRAM ccache)
mark_as_advanced(VASHISTA_CCACHE_PROGRAM)
if(VASHISTA_CCACHE AND VASHISTA_CCACHE_PROGRAM
   AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache never caches a user of a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros ${VASHISTA_CCACHE_PROGRAM})
endif()

option(VASHISTA_SANITIZE "Check our code with ASan and UBSan" OFF)
if(VASHISTA_SANITIZE)
  # Everywhere, so that the programs link the run-time. Without vptr, which
  # needs type information from the uninstrumented MLIR, and without function,
  # which mistakes its callbacks.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr,function
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

# mlir-tblgen takes its search path from the folder, not from a target.
include_directories(${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})

# The public requirements of every vashista library: MLIR's and LLVM's shared
# libraries and nothing else. An MLIR archive beside them would be a second
# copy of MLIR's state, and an LLVM archive aborts at start-up.
add_library(VashistaMLIR INTERFACE)
add_library(Vashista::MLIR ALIAS VashistaMLIR)
set_target_properties(VashistaMLIR PROPERTIES EXPORT_NAME MLIR)
target_compile_features(VashistaMLIR INTERFACE cxx_std_17)
target_include_directories(VashistaMLIR INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
separate_arguments(_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
target_compile_definitions(VashistaMLIR INTERFACE ${_definitions})
target_link_libraries(VashistaMLIR INTERFACE MLIR LLVM)

# The headers that make a translation unit slow.
set(VASHISTA_PRECOMPILED_HEADERS
  <mlir/Bytecode/BytecodeOpInterface.h>
  <mlir/Dialect/Arith/IR/Arith.h>
  <mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h>
  <mlir/Dialect/Func/IR/FuncOps.h>
  <mlir/Dialect/Linalg/IR/Linalg.h>
  <mlir/Dialect/SCF/IR/SCF.h>
  <mlir/Dialect/Tensor/IR/Tensor.h>
  <mlir/IR/DialectImplementation.h>
  <mlir/IR/OpImplementation.h>
  <mlir/Interfaces/TilingInterface.h>
  <mlir/Pass/Pass.h>
  <mlir/Transforms/DialectConversion.h>
  <mlir/Transforms/GreedyPatternRewriteDriver.h>)

# Options of our code only; users of the package choose their own.
function(vashista_compile_options target)
  target_compile_options(${target} PRIVATE
    -fno-exceptions -Wall -Wextra -Wno-unused-parameter
    # The plugin links the archives. Programs too, and not -fPIE: a precompiled
    # header serves only code of one kind.
    -fPIC
    # Our assertions stay on in a release build; LLVM's own setting does not
    # depend on this macro but on its configured headers.
    -UNDEBUG
    # A time stamp in the precompiled header would defeat ccache.
    $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
endfunction()

# vashista_library(<name> <export name> <sources>...
#                  DEPENDS <targets>... LINK <libraries>...)
function(vashista_library name export)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "" "" "DEPENDS;LINK")
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  add_library(Vashista::${export} ALIAS ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${export})
  vashista_compile_options(${name})
  target_link_libraries(${name} PUBLIC VashistaMLIR ${ARG_LINK})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  vashista_precompile_headers(${name})
  install(TARGETS ${name} EXPORT VashistaTargets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# The first target compiles the header, all others use that one.
function(vashista_precompile_headers target)
  get_property(owner GLOBAL PROPERTY VASHISTA_PCH_OWNER)
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    target_precompile_headers(${target} PRIVATE ${VASHISTA_PRECOMPILED_HEADERS})
    set_property(GLOBAL PROPERTY VASHISTA_PCH_OWNER ${target})
  endif()
endfunction()
