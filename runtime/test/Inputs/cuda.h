//===- cuda.h - What the driver of the tests was asked ----------*- C -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_TEST_INPUTS_CUDA_H
#define VASHISTA_RUNTIME_TEST_INPUTS_CUDA_H

struct fake_cuda {
  int major, minor;
  /// Of a block's memory, at most; 0 for 227 KiB.
  int sharedBytes;
  /// Of the driver; 0 for 12.3, the first whose graphs know early starts.
  int version;
  /// A function that returns an error.
  const char *failing;
  int error;
  // What there is.
  int contexts, pushed, modules, allocations, streams, events, graphs;
  int devices[2];
  // What there was.
  int launches, ofStream, waits, captures, replays;
  /// Launches that may start while the kernel before them ends.
  int early;
  /// Of a block's memory, what launches may give the last kernel.
  int mostShared;
  const void *image;
  // Of the last launch.
  const char *kernel;
  unsigned grid, block, shared;
  void *stream;
  /// Of a capture that has not ended, the graph.
  struct fake_graph *capture;
  /// Whether it serves a program (VASHISTA_FAKE_GPU in its environment), for
  /// which kernels of any name do nothing.
  int serves;
};

#endif // VASHISTA_RUNTIME_TEST_INPUTS_CUDA_H
