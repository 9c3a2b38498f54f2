// Kernels for Hopper wait at their entry for those before them, before they touch
// any memory: loads of what a kernel only reads, which LLVM may move, do too.

// RUN: vashista-opt %source_dir/examples/certified.mlir -vashista-lower-to-nvvm=format=isa \
// RUN:   | sed 's/\\0A/\n/g; s/\\09/\t/g' > %t.ptx
// RUN: FileCheck %s < %t.ptx
// CHECK-COUNT-2: gpu.launch_func {{.*}} {vashista.waits}
// CHECK: .target sm_90a
// CHECK: .entry sketch_scan_0(
// CHECK-NOT: {{ld|st}}.global
// CHECK: griddepcontrol.wait;
// CHECK: griddepcontrol.launch_dependents;
// CHECK: ld.global.nc
// CHECK: .entry certify_0(
// CHECK-NOT: {{ld|st}}.global
// CHECK: griddepcontrol.launch_dependents;
// CHECK-NEXT: griddepcontrol.wait;

// As many kernels as wait before another access.
// RUN: grep -oE '\.entry|griddepcontrol\.wait|\<(ld|st|atom|red|cp|prefetch)\.\w+' %t.ptx \
// RUN:   | grep -vx ld.param | grep -xA1 '\.entry' | sort | uniq -c \
// RUN:   | FileCheck %s --check-prefix=FIRST --implicit-check-not={{[a-z]}}
// FIRST: [[#KERNELS:]] .entry
// FIRST-NEXT: [[#KERNELS]] griddepcontrol.wait

// Older ones cannot, and do not say so.
// RUN: vashista-opt %source_dir/examples/certified.mlir \
// RUN:   -vashista-lower-to-nvvm='chip=sm_89 features=+ptx80 format=isa' \
// RUN:   | FileCheck %s --check-prefix=OLD --implicit-check-not=griddepcontrol \
// RUN:   --implicit-check-not=vashista.waits
// OLD: .target sm_89
