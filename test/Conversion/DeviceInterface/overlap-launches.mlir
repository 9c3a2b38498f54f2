// RUN: vashista-opt %s -vashista-overlap-launches | FileCheck %s

// CHECK-LABEL: func.func @entry(
// CHECK: gpu.launch_func @kernels::@store
// CHECK-SAME: {vashista.waits}
// CHECK: gpu.launch_func @elsewhere::@store
// CHECK-NOT: vashista.waits
// CHECK: return
module attributes {gpu.container_module} {
  func.func @entry(%a: memref<f32>) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @kernels::@store blocks in (%c1, %c1, %c1)
        threads in (%c1, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @elsewhere::@store blocks in (%c1, %c1, %c1)
        threads in (%c1, %c1, %c1) args(%a : memref<f32>)
    return
  }

  // Before anything else, a load that could go anywhere too.
  // CHECK-LABEL: gpu.func @store(
  // CHECK-SAME: workgroup(
  // CHECK-NEXT: nvvm.griddepcontrol wait
  // CHECK-NEXT: memref.load
  // CHECK-NEXT: func.call @helper
  // CHECK: gpu.return
  gpu.module @kernels {
    gpu.func @store(%a: memref<f32>) workgroup(%s: memref<4xf32, #gpu.address_space<workgroup>>) kernel {
      %x = memref.load %a[] : memref<f32>
      func.call @helper(%a, %x) : (memref<f32>, f32) -> ()
      gpu.return
    }

    // The next one may start beside this one, whatever that waits for.
    // CHECK-LABEL: gpu.func @short(
    // CHECK-NEXT: nvvm.griddepcontrol launch_dependents
    // CHECK-NEXT: nvvm.griddepcontrol wait
    // CHECK-NEXT: gpu.return
    gpu.func @short() kernel attributes {vashista.is_short} {
      gpu.return
    }

    // What is called from a kernel has waited.
    // CHECK-LABEL: func.func @helper(
    // CHECK-NEXT: memref.store
    func.func @helper(%a: memref<f32>, %x: f32) {
      memref.store %x, %a[] : memref<f32>
      return
    }
    // CHECK-LABEL: gpu.func @device(
    // CHECK-NEXT: gpu.return
    gpu.func @device(%a: memref<f32>) {
      gpu.return
    }
  }

  // Code that is not ours says nothing of waits.
  gpu.binary @elsewhere [#gpu.object<#nvvm.target<chip = "sm_90a">, "code">]
}
