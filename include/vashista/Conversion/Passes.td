//===- Passes.td - Conversions of the vashista dialect -----*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_CONVERSION_PASSES_TD
#define VASHISTA_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertVashistaToLinalgPass : Pass<"convert-vashista-to-linalg"> {
  let summary = "turns value ops on tensors into linalg, scf and kernels";
  let description = [{
    `score`, `pick`, merges, `certify`, `fallback` and the checks become upstream
    ops, most of them a `scf.forall` over rows and KV heads. The dense attention of a
    `fallback` becomes a `vashista.attend` over one row and one KV head, under a
    condition. Destination ops stay.

    **Preconditions.** Aggregates are decomposed. Head dimensions and the
    numbers of heads are static. An op that breaks them is an error.

    **Numerics.** A merge adds its states or tails in the order of its operands,
    weights of states in f64, all else in f32; one of tails is rounded upwards. A
    `certify` takes norms in f64 and rounds `tau` and `error` upwards; `tau` is 1
    and `error` +inf where a logit may be off by more than 0.1. Results are bit-equal from run to run.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "16",
           "f32 elements of a vector register (default: 16)">,
    Option<"registers", "registers", "int64_t", "32",
           "Vector registers (default: 32)">,
    Option<"dotsBF16", "dots-bf16", "bool", "false",
           "Sum products of bf16 by AVX-512 BF16 (default: false)">
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect",
    "::mlir::x86vector::X86VectorDialect"
  ];
}

def ConvertVashistaToVectorPass : Pass<"convert-vashista-to-vector"> {
  let summary = "turns destination ops on buffers into CPU kernels";
  let description = [{
    Each op becomes a `scf.forall` over rows and KV heads, whose body is a loop
    nest of scf, arith, math, memref and vector ops.

    **Preconditions.** The ops are bufferized. Head dimensions, the number of
    heads per KV head and the page size are static. An op without a kernel is an
    error.

    **Numerics.** f32 arithmetic, whatever the cache holds. A sequence is walked
    in tiles of 64 slots from the start of its range; results are bit-equal from
    run to run, whatever else is in the batch and however many threads run.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "16",
           "f32 elements of a vector register (default: 16)">,
    Option<"registers", "registers", "int64_t", "32",
           "Vector registers (default: 32)">,
    Option<"dotsBF16", "dots-bf16", "bool", "false",
           "Sum products of bf16 by AVX-512 BF16 (default: false)">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect", "::mlir::x86vector::X86VectorDialect"
  ];
}

def VashistaAssignSchedulePass
    : Pass<"vashista-assign-schedule", "::mlir::ModuleOp"> {
  let summary = "chooses how kernels are laid out";
  let description = [{
    Gives each `attend`, `score`, `pick` and `fallback` that has a kernel of its own
    a whole `schedule`, from its shapes and the target: what is written by hand
    stays, what is 0 or not there is chosen. It can then be read, edited or searched
    (`vashista-bench --tune`) before `convert-vashista-to-gpu` makes kernels, which
    chooses the same where this pass did not run.

    | | attend, fallback | score of a summary or keys | of a sketch | pick | attend with `fuse`, to the best | to what proves |
    |---|---|---|---|---|---|---|
    | `warps` | that a block's memory has room for | any | any | from 4 on | a thread for each head and 32 slots, and room | that there is room for |
    | `vector` | 8 | 8 | 8 | 4 | 8 | 8 |
    | `stages` | tiles of 16 tokens | rows of a lane: 1, 2, 4 or 8 | 4 | 8 | values of a lane | tiles of 16 tokens, from 2 on |
    | `split` | a multiple of 16 | a multiple of 32 | a multiple of 64 | 0 | 0 | a multiple of 64, for each warp as many, of which there is room for what is found |
    | `splits` | any; 0: as many as there is room for | 0 | 0 | 0 | 0 | 0 |
    | `blocks` | any | any | any | any | any | any |
    | `cluster` | 1 | 1 | 1 | for tokens any | one that divides the slots; 1 with pages | any |

    An attend or fallback of two or more `stages` has so many tiles of each warp in
    the block's memory, of which all but one are on the way while that is multiplied,
    where `blocks` have room for them; otherwise it loads so many together. Two are
    chosen for tokens that lie apart and for long sequences, of head sizes up to 128,
    where three blocks have room for them. Where eight warps have a multiprocessor,
    and head sizes are at most 128, a block has up to 16 query heads of a KV head, and
    8 elsewhere: this is chosen, with three stages, where there are more than 8.

    Of pages of fewer than 4 tokens, a block that scores a sketch has several KV heads,
    as many as warps and `split` allow, and so many times fewer slots of each.

    Blocks have 64 warps on a multiprocessor at most. With `fuse` an `attend` is one
    kernel with the `pick` and the `score` that its list is from, which then have no
    schedule of their own; it is chosen where that can be and neither has one. So
    are the `pick` of the pages and the `score` of their summaries: of a known number
    of pages, in one block for each row and KV head, where these are as many as
    multiprocessors, about, or the `attend` has a written schedule.

    With `fuse` an `attend` to the list of a first `proving` pick, by a sketch and
    without a moment, is one kernel with that and its `score`, too, if nobody else
    reads the list and a KV head has at most 8 query heads: each cluster has a chunk
    of `cluster` times `split` slots, which it proves by itself (`pick` says what that
    is). It is chosen where no schedule is written, there are clusters, sizes are known,
    all clusters run at once, and a sequence is one chunk or the budget half of its
    slots; and has two blocks for each multiprocessor then, of 256 to 4096 slots, and
    as large clusters as there can be.

    With `fuse` each block of a `score` of a sketch rounds the directions of its
    heads, of up to 1,024 channels and where there is room, which are rounded by a
    kernel of their own without. It is chosen where no schedule is written and there
    are no more than 16 blocks for each multiprocessor; rows that are not known count
    as one, and so do slots.

    With `cpu` only attends to whole sequences have one, of a `split` of 4096: the
    parameter that kernels of a CPU honour, and what `vashista-split-tokens` does
    where nothing is said.

    **Preconditions.** Aggregates are decomposed.

    **Errors.** What a kernel cannot be, at its op. A schedule of an op without a
    kernel of its own is dropped, with a warning.

    **Numerics.** Sums are in another order with another `split`, `splits`, `warps`
    or `cluster`.

    Example:

    ```mlir
    %o, %lse = vashista.attend %q ... outs(%zero, %ninf) scale 0.125
        schedule <warps = 8>
    ```

    becomes

    ```mlir
    %o, %lse = vashista.attend %q ... outs(%zero, %ninf) scale 0.125
        schedule <warps = 8, vector = 8, stages = 1, split = 2048, blocks = 4, cluster = 1>
    ```
  }];
  // What a block has of its memory is of its types.
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
  let options = [
    Option<"multiprocessors", "multiprocessors", "int64_t", "132",
           "Multiprocessors that blocks are to occupy (default: 132)">,
    Option<"cpu", "cpu", "bool", "false",
           "For kernels of a CPU instead of a GPU (default: false)">,
    Option<"clusters", "clusters", "int64_t", "8",
           "Blocks that may work together on a sequence: 1, 2, 4 or 8 "
           "(default: 8). Only 1 before compute capability 9.0">,
    Option<"sharedBytes", "shared-bytes", "int64_t", "232448",
           "Memory that a block may have, at least 49152 (default: 232448, of "
           "compute capability 9.0)">
  ];
}

def ConvertVashistaToGPUPass
    : Pass<"convert-vashista-to-gpu", "::mlir::ModuleOp"> {
  let summary = "turns ops into kernels of an NVIDIA GPU";
  let description = [{
    An op with kernels of its own becomes `gpu.launch_func`s of them, and buffers
    between. Value ops do on tensors, before `convert-vashista-to-linalg`, a
    destination op on buffers: the pass runs twice.

    * On tensors: `score` from a key sketch without a centre, in groups of 32 to
      128 channels, on tensor cores, whose blocks round their directions with `fuse`,
      or after a kernel in which lanes of a warp do (one thread, of more than 1,024
      channels); `moment`, by blocks of the `score` of the same direction, if its
      matrix is there by then, who uses it comes later and there is room, or in a
      kernel of its own; `score` from summaries or keys whose channels are a multiple of 8; `pick`; `certify`; a softmax
      `fallback` as an `attend` below, of which only the groups that miss the limit
      read anything. Heads and head sizes are static.
    * On tensors, in a small kernel each: `check_table` and, of lists of a static
      size, `check_list`, in which a block has a row, and `check_positions`, in
      which a thread has one.
    * Where only proving picks, of the same lengths and lists, read what a sketch's
      `score` makes, no score or bound is stored, but a byte of each bound: how far
      it lies below the highest of 64, rounded so that it is not lowered; and two of
      each token, by which a score is estimated from its bound.
      Tails are those of these bounds. A group that is over its budget picks what
      lies furthest within what a head needs.
    * On tensors, too: a softmax `attend`, from an empty state, to the best tokens
      of listed pages by their exact logits, together with the `pick` that takes
      them and the `score` that it takes them by, where nobody else reads these, as
      one kernel. Up to 4,096 tokens are listed for each row and KV head. What tokens
      and pages score stays in a block that has room for it; a launch gives blocks
      what they have beyond 48 KiB.
    * On buffers: a softmax `attend` over a sequence, or listed pages or tokens,
      whose queries, keys and values are all bf16 or all f16, on tensor cores, and
      a kernel that merges its splits where there may be several. Head sizes are
      static, D and Dv multiples of 16. Keys and values go by the block's
      memory where its schedule says so and there is room. Fills that do nothing
      but make its destinations an empty state go.
    * On buffers: `append`, in a kernel, and `summarize`, in two, of any summary,
      norms and sketch. A block has a row, or a page that a row sees, and a KV head.
      Head sizes are static, D up to 576, elements of a row consecutive.

    How a kernel is laid out is what the `schedule` of its op says, which is chosen
    as by `vashista-assign-schedule` where it is not there. One that a kernel cannot
    have is an error. Where rows are not known, the schedule that is chosen of a first
    `pick`, or of an attention to the best tokens of pages that others have picked,
    is for one row, or as many as its clusters have room for at once. There are
    kernels of smaller clusters for more, of which the host launches one.

    Other ops stay: the conversions to linalg and vectors and
    `vashista-outline-kernels` have a kernel of one thread per task for each.

    **Numerics.** Scores, weights and their sums are f32; products of a sketch are
    integers. What is kept beside a cache has the CPU's arithmetic; sums over tokens
    (f32) and over channels (f64, rounded up) are in another order. Weights are
    rounded to the type of the values, which they multiply.
    Splits are of a fixed number of tokens, blocks of a fixed share of a sequence:
    results are bit-equal from run to run, whatever is in other rows of the batch.
    Of more rows or fewer, clusters and what picks promise may be others.

    **Launches.** A scan of a sketch, a first proving pick and an attention to a list
    say when the next kernel may start (`nvvm.griddepcontrol launch_dependents`), but
    not with `clusters = 1`: targets that have none do not know of it.
  }];
  let options = [
    Option<"clusters", "clusters", "int64_t", "8",
           "Blocks that may work together on a sequence: 1, 2, 4 or 8 "
           "(default: 8). Only 1 before compute capability 9.0">,
    Option<"multiprocessors", "multiprocessors", "int64_t", "132",
           "Multiprocessors that blocks are to occupy (default: 132)">,
    Option<"sharedBytes", "shared-bytes", "int64_t", "232448",
           "Memory that a block may have, at least 49152 (default: 232448, of "
           "compute capability 9.0)">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::nvgpu::NVGPUDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def VashistaApproximateMathPass : Pass<"vashista-approximate-math"> {
  let summary = "replaces transcendental functions by polynomials on vectors";
  let description = [{
    exp, log and tanh on f32 scalars and vectors become polynomials, so that no
    vector is taken apart for a library call.

    **Numerics.** Within a few units in the last place of f32 of the exact
    functions; the kernels' error bounds allow for it.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def VashistaExpandCopiesPass : Pass<"vashista-expand-copies"> {
  let summary = "turns copies of strided buffers into loops";
  let description = [{
    A `memref.copy` between buffers that are not contiguous would become a call
    of a library function. Here it becomes a `linalg.generic`, and with that a
    loop. Contiguous copies stay unless all are asked for: they are a memcpy.
  }];
  let options = [
    Option<"all", "all", "bool", "false",
           "Contiguous copies too, for a device without a memcpy (default: false)">
  ];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def VashistaOutlineTasksPass : Pass<"vashista-outline-tasks", "::mlir::ModuleOp"> {
  let summary = "turns parallel loops into tasks that a host hands to threads";
  let description = [{
    Each outermost `scf.forall` becomes a function `<parent>_task_<n>(context,
    number)` and a call of the host's `parallel_for(count, task, context)`. The
    host binds its functions with `vashista_bind(table)` once, before any entry
    runs; the table is `{i32 abi_version, parallel_for, alloc, free}`.

    **Preconditions.** The loops have no results (bufferize first), start at 0
    and step by 1.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"
  ];
}

def VashistaCollapseTasksPass : Pass<"vashista-collapse-tasks"> {
  let summary = "makes one parallel loop of two that are nested";
  let description = [{
    An outermost `scf.forall` that does nothing but run another, beside
    computing indices and views, becomes one loop over both: its iterations are
    more and smaller tasks. The number of inner iterations must not depend on
    the outer one (`loop-invariant-code-motion` before this helps).

    **Preconditions.** Loops without results that start at 0 and step by 1;
    others stay.
  }];
}

def VashistaPlanWorkspacePass
    : Pass<"vashista-plan-workspace", "::mlir::func::FuncOp"> {
  let summary = "places all temporaries of a function in one allocation";
  let description = [{
    Every `memref.alloc` becomes a view of one workspace, whose size is known
    when the function starts: one allocation per call, one place where memory
    can run out, and nothing to free in between. Where there is no memory the
    function returns at once. An allocation within a `scf.forall` has room for
    each iteration.

    **Preconditions.** The function has one block and no results; nothing is
    deallocated yet; sizes follow from those of the arguments. Anything else is
    an error.

    With `tasks`, only what parallel loops allocate is placed, in a buffer that
    the function allocates and never finds missing; results are no obstacle.
  }];
  let options = [
    Option<"tasks", "tasks", "bool", "false",
           "Place the temporaries of parallel loops only (default: false)">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect"
  ];
}

def VashistaPackEntriesPass : Pass<"vashista-pack-entries", "::mlir::ModuleOp"> {
  let summary = "gives functions the form in which the runtime calls them";
  let description = [{
    For each function `f` with a C interface (`llvm.emit_c_interface`), exports
    `vashista_entry_f(descriptors)`, which takes an array of pointers to memref
    descriptors. Memory comes from the host's `alloc` and goes to its `free`.
    All other functions become internal.

    **Preconditions.** The module is in the LLVM dialect, its tasks are
    outlined, and allocation goes through MLIR's generic functions.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def VashistaOutlineKernelsPass
    : Pass<"vashista-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "turns parallel loops into kernels of a GPU";
  let description = [{
    Each outermost `scf.forall` or `scf.parallel` becomes a kernel `<parent>_<n>`
    of the module `kernels`, and a `gpu.launch_func` of one thread per iteration:
    of a `scf.forall`, whose iterations are loop nests of their own, in a block
    of its own; of a `scf.parallel`, whose iterations are a few operations, in
    blocks of 128.

    A kernel takes a buffer as a pointer (a `memref` of rank 0, which has a bare
    pointer convention whatever the sizes are) and, as `index`, those sizes,
    strides and offsets that its type does not tell. A `memref.global` that it
    names is in its module, too.

    **Preconditions.** The loops have no results; reductions are loops. What is
    left on the host reads and writes no buffer: anything else is an error.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"
  ];
}

def VashistaPlaceConstantsPass
    : Pass<"vashista-place-constants", "::mlir::func::FuncOp"> {
  let summary = "copies constants to the memory of a device";
  let description = [{
    The code of the host holds what a `memref.global` is, where no kernel can
    read it. Each that a function names outside of loops is copied to a buffer of
    the function's own, once. The copy becomes a kernel, and
    `vashista-outline-kernels` gives kernels the globals that they name.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def VashistaFuseLaunchesPass
    : Pass<"vashista-fuse-launches", "::mlir::ModuleOp"> {
  let summary = "has a kernel do what the launch after it would";
  let description = [{
    A launch takes a microsecond or two, whatever its kernel does. Where that is a
    few independent threads' work (counters set to 0, a number for each group), the
    first blocks of the kernel that is launched before it do it at their beginning,
    and the launch is gone.

    ```mlir
    gpu.launch_func @kernels::@certify blocks in (%c4, %c8, %c1)
        threads in (%c512, %c1, %c1) args(%tau : memref<f32>)
    gpu.launch_func @kernels::@fill blocks in (%c1, %c1, %c1)
        threads in (%c128, %c1, %c1) args(%counters : memref<i32>)
    ```

    becomes

    ```mlir
    gpu.launch_func @kernels::@certify blocks in (%c4, %c8, %c1)
        threads in (%c512, %c1, %c1)
        args(%tau : memref<f32>, %counters : memref<i32>)
    ```

    A launch is taken up if its kernel has up to 8 blocks in a row, or of rows that
    are not known a block or less of threads for each, which share nothing and wait
    for nobody; if the one before it has as many blocks, as it has where one of its
    sizes is the rows and others are known, and as many threads; and if neither
    writes a buffer that the other uses. Nothing that touches memory may lie between them, and nobody else may
    launch either kernel. All other launches are as they were.

    **Preconditions.** Arguments of a function that a kernel writes do not overlap
    others: kernels are told so, too.
  }];
  let statistics = [
    Statistic<"numFused", "num-fused", "launches that are gone">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::scf::SCFDialect"
  ];
}

def VashistaOverlapLaunchesPass
    : Pass<"vashista-overlap-launches", "::mlir::ModuleOp"> {
  let summary = "lets kernels start while those before them end";
  let description = [{
    At its entry each kernel waits until the one before it has completed and what
    that wrote is visible. Its launches get the attribute `vashista.waits`, by which
    the host may ask for an early start: a kernel is launched and makes its first
    indices while the one before it ends. If that has the attribute
    `vashista.is_short`, it lets the next one start at once, before it waits itself.
    Others may say so themselves, later, most of them when they are about to end. It
    is what the CUDA programming guide calls programmatic dependent launch.

    ```mlir
    gpu.func @fill(%x: memref<f32>, %value: f32) kernel
        attributes {vashista.is_short} {
      memref.store %value, %x[] : memref<f32>
      gpu.return
    }
    ```

    becomes

    ```mlir
    gpu.func @fill(%x: memref<f32>, %value: f32) kernel
        attributes {vashista.is_short} {
      nvvm.griddepcontrol launch_dependents
      nvvm.griddepcontrol wait
      memref.store %value, %x[] : memref<f32>
      gpu.return
    }
    ```

    The order of memory stays that of the stream: nothing is touched before the
    wait, and the kernel that is waited for has waited for those before it. A kernel
    starts early only when every block of all those before it runs or has ended, so
    what waits takes no place from what it waits for. Not all kernels let the next
    one start early: its blocks come to lie where there is room at that time, two on
    one multiprocessor and none on another. A foreign kernel before ours that lets
    nothing start just completes first.

    **Preconditions.** The target has compute capability 9.0 or later.
  }];
  let dependentDialects = ["::mlir::NVVM::NVVMDialect"];
}

def VashistaExactMathPass : Pass<"vashista-exact-math"> {
  let summary = "picks the correctly rounded instructions of NVIDIA GPUs";
  let description = [{
    Square roots, roundings, `absf`, `copysign`, `fma`, `maxnumf` and `minnumf` of
    f32 and f64, `maximumf` and `minimumf` of f32 become LLVM intrinsics, which are
    exact or round correctly. The upstream conversion calls a library that need not
    be there, whose square root is an approximation: a certificate that rests on it
    would be wrong; or it compares where there is an instruction. Prefetches go.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def VashistaDeclareSharedMemoryPass
    : Pass<"vashista-declare-shared-memory"> {
  let summary = "leaves the size of a launch's shared memory to the launch";
  let description = [{
    What `convert-gpu-to-nvvm` makes of `gpu.dynamic_shared_memory` is a global of no
    elements, internal: whatever is loaded or stored would lie outside of it, so that
    LLVM takes any two places for different ones. It becomes external, a declaration:
    `extern __shared__` of CUDA, whose size is not known.

    ```mlir
    llvm.mlir.global internal @__dynamic_shmem__0() {addr_space = 3 : i32}
        : !llvm.array<0 x i8>
    ```

    becomes

    ```mlir
    llvm.mlir.global external @__dynamic_shmem__0() {addr_space = 3 : i32}
        : !llvm.array<0 x i8>
    ```
  }];
}

def VashistaLaunchKernelsPass
    : Pass<"vashista-launch-kernels", "::mlir::ModuleOp"> {
  let summary = "asks the host to launch kernels";
  let description = [{
    A `gpu.launch_func` becomes a call of the host's `launch(kernel, grid, block,
    shared_bytes, arguments)`, with the kernel's number among the names that the
    module then exports as `vashista_kernels`: each ends with NUL, the last is
    empty. It exports as `vashista_waits` a byte for each of them, 1 where its
    launches say that it waits at its entry (`vashista-overlap-launches`), else 0.
    Kernels themselves are taken out of the module: their code travels beside it.

    **Preconditions.** Kernels take pointers (memrefs of rank 0), index, integers
    and floats. Launches are synchronous ops without dependencies.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect"
  ];
}

#endif // VASHISTA_CONVERSION_PASSES_TD
