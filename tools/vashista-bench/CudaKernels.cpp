//===- CudaKernels.cpp - Kernels that measure a GPU itself ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As text, so that neither a build nor a bundle takes a toolkit. What is read
// and multiplied is stored where it has a value that it never has: nothing can
// be left out.
//
//===----------------------------------------------------------------------===//

#include "CudaKernels.h"

const char vashista::bench::cuda::kernels[] = R"(
.version 7.0
.target sm_80
.address_size 64

// Threads read 16 bytes side by side, and four times so a round, a grid apart:
// with all threads of a multiprocessor 128 KB are on the way.
.visible .entry read(.param .u64 memory, .param .u32 rounds)
{
  .reg .pred %more, %never;
  .reg .b32 %thread, %threads, %block, %blocks, %left, %sum;
  .reg .b32 %a<4>, %b<4>, %c<4>, %d<4>;
  .reg .b64 %start, %offset, %step, %at0, %at1, %at2, %at3;
  mov.u32 %thread, %tid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %block, %ctaid.x;
  mov.u32 %blocks, %nctaid.x;
  mad.lo.u32 %thread, %block, %threads, %thread;
  mul.lo.u32 %threads, %blocks, %threads;
  ld.param.u64 %start, [memory];
  ld.param.u32 %left, [rounds];
  cvta.to.global.u64 %start, %start;
  mul.wide.u32 %offset, %thread, 16;
  mul.wide.u32 %step, %threads, 16;
  add.u64 %at0, %start, %offset;
  mov.u32 %sum, 0;
READ:
  add.u64 %at1, %at0, %step;
  add.u64 %at2, %at1, %step;
  add.u64 %at3, %at2, %step;
  ld.global.nc.v4.u32 {%a0, %a1, %a2, %a3}, [%at0];
  ld.global.nc.v4.u32 {%b0, %b1, %b2, %b3}, [%at1];
  ld.global.nc.v4.u32 {%c0, %c1, %c2, %c3}, [%at2];
  ld.global.nc.v4.u32 {%d0, %d1, %d2, %d3}, [%at3];
  add.u64 %at0, %at3, %step;
  or.b32 %a0, %a0, %a1;
  or.b32 %a2, %a2, %a3;
  or.b32 %b0, %b0, %b1;
  or.b32 %b2, %b2, %b3;
  or.b32 %c0, %c0, %c1;
  or.b32 %c2, %c2, %c3;
  or.b32 %d0, %d0, %d1;
  or.b32 %d2, %d2, %d3;
  or.b32 %a0, %a0, %a2;
  or.b32 %b0, %b0, %b2;
  or.b32 %c0, %c0, %c2;
  or.b32 %d0, %d0, %d2;
  or.b32 %a0, %a0, %b0;
  or.b32 %c0, %c0, %d0;
  or.b32 %sum, %sum, %a0;
  or.b32 %sum, %sum, %c0;
  sub.u32 %left, %left, 1;
  setp.ne.u32 %more, %left, 0;
  @%more bra READ;
  setp.ne.u32 %never, %sum, 0;
  @%never st.global.u32 [%start], %sum;
  ret;
}

// Eight products of 16 x 16 x 8 a round, which do not wait for each other.
.visible .entry multiply(.param .u64 memory, .param .u32 rounds)
{
  .reg .pred %more, %never;
  .reg .b32 %left, %one;
  .reg .f32 %s<32>;
  .reg .b64 %start;
  ld.param.u64 %start, [memory];
  ld.param.u32 %left, [rounds];
  cvta.to.global.u64 %start, %start;
  mov.u32 %one, 0x3f803f80;
  mov.f32 %s0, 0f00000000;
  mov.f32 %s1, %s0;
  mov.f32 %s2, %s0;
  mov.f32 %s3, %s0;
  mov.f32 %s4, %s0;
  mov.f32 %s5, %s0;
  mov.f32 %s6, %s0;
  mov.f32 %s7, %s0;
  mov.f32 %s8, %s0;
  mov.f32 %s9, %s0;
  mov.f32 %s10, %s0;
  mov.f32 %s11, %s0;
  mov.f32 %s12, %s0;
  mov.f32 %s13, %s0;
  mov.f32 %s14, %s0;
  mov.f32 %s15, %s0;
  mov.f32 %s16, %s0;
  mov.f32 %s17, %s0;
  mov.f32 %s18, %s0;
  mov.f32 %s19, %s0;
  mov.f32 %s20, %s0;
  mov.f32 %s21, %s0;
  mov.f32 %s22, %s0;
  mov.f32 %s23, %s0;
  mov.f32 %s24, %s0;
  mov.f32 %s25, %s0;
  mov.f32 %s26, %s0;
  mov.f32 %s27, %s0;
  mov.f32 %s28, %s0;
  mov.f32 %s29, %s0;
  mov.f32 %s30, %s0;
  mov.f32 %s31, %s0;
MULTIPLY:
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s0, %s1, %s2, %s3}, {%one, %one, %one, %one}, {%one, %one},
    {%s0, %s1, %s2, %s3};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s4, %s5, %s6, %s7}, {%one, %one, %one, %one}, {%one, %one},
    {%s4, %s5, %s6, %s7};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s8, %s9, %s10, %s11}, {%one, %one, %one, %one}, {%one, %one},
    {%s8, %s9, %s10, %s11};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s12, %s13, %s14, %s15}, {%one, %one, %one, %one}, {%one, %one},
    {%s12, %s13, %s14, %s15};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s16, %s17, %s18, %s19}, {%one, %one, %one, %one}, {%one, %one},
    {%s16, %s17, %s18, %s19};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s20, %s21, %s22, %s23}, {%one, %one, %one, %one}, {%one, %one},
    {%s20, %s21, %s22, %s23};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s24, %s25, %s26, %s27}, {%one, %one, %one, %one}, {%one, %one},
    {%s24, %s25, %s26, %s27};
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
    {%s28, %s29, %s30, %s31}, {%one, %one, %one, %one}, {%one, %one},
    {%s28, %s29, %s30, %s31};
  sub.u32 %left, %left, 1;
  setp.ne.u32 %more, %left, 0;
  @%more bra MULTIPLY;
  add.f32 %s0, %s0, %s4;
  add.f32 %s8, %s8, %s12;
  add.f32 %s16, %s16, %s20;
  add.f32 %s24, %s24, %s28;
  add.f32 %s0, %s0, %s8;
  add.f32 %s16, %s16, %s24;
  add.f32 %s0, %s0, %s16;
  setp.lt.f32 %never, %s0, 0f00000000;
  @%never st.global.f32 [%start], %s0;
  ret;
}

.visible .entry pause(.param .u32 nanoseconds)
{
  .reg .pred %more;
  .reg .b32 %wanted;
  .reg .b64 %start, %now, %passed, %limit;
  ld.param.u32 %wanted, [nanoseconds];
  cvt.u64.u32 %limit, %wanted;
  mov.u64 %start, %globaltimer;
PAUSE:
  mov.u64 %now, %globaltimer;
  sub.u64 %passed, %now, %start;
  setp.lt.u64 %more, %passed, %limit;
  @%more bra PAUSE;
  ret;
}
)";
