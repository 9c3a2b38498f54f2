// An artefact with all that runs it, for a machine without a compiler.

// RUN: rm -rf %t && mkdir %t
// RUN: vashista-compile %s --bundle=%t/bundle --target=cpu:x86-64-v3
// RUN: %python %S/Inputs/check_bundle.py %t/bundle bundle.vso
// RUN: FileCheck %s --check-prefix=README <%t/bundle/README.md
// README: # bundle.vso
// README: Compiled from `bundle.mlir` by vashista 0.1.0 (LLVM 22.
// README: * `cpu:x86-64-v3`: x86-64 with avx2,fma
// README: It needs x86-64 Linux with glibc 2.{{[0-9]+}} or later: no compiler
// README: $ bin/vashista-run bundle.vso --list
// README: $ bin/vashista-run bundle.vso --entry=twice --out results --args x.npy{{$}}
// README-NOT: private

// It runs from anywhere, once it is moved, with nothing around it.
// RUN: mv %t/bundle %t/moved && mkdir %t/elsewhere && cd %t/elsewhere
// RUN: %numpy_python -c "import numpy; numpy.save('x.npy', numpy.float32([1, 2, 3, 4]))"
// RUN: /usr/bin/env -i %t/moved/bin/vashista-run %t/moved/bundle.vso --args x.npy --out results | FileCheck %s --check-prefix=RAN
// RAN: min 2, max 8, mean 5, 0 NaN
// RUN: %numpy_python -c "import numpy; assert (numpy.load('results/0.npy') == [2, 4, 6, 8]).all()"
// RUN: cd %t/moved && sha256sum --check --quiet SHA256SUMS

// A program of the user's finds the runtime in it.
// RUN: /usr/bin/env -i LD_LIBRARY_PATH=%t/moved/lib ldd %t/moved/lib/libvashista_runtime.so.0 | FileCheck %s --check-prefix=LDD --implicit-check-not=LLVM --implicit-check-not='not found'
// LDD: libc.so.6 => /

// Of several targets, and from standard input into an empty folder.
// RUN: mkdir %t/several
// RUN: vashista-compile - --bundle=%t/several/ --target=cuda:compute_90,cpu:x86-64-v3 <%s
// RUN: %python %S/Inputs/check_bundle.py %t/several module.vso
// RUN: FileCheck %s --check-prefix=SEVERAL <%t/several/README.md
// SEVERAL: Compiled from `standard input`
// SEVERAL: * `cuda:compute_90`: PTX, which the driver compiles for NVIDIA GPUs of this architecture and later ones
// SEVERAL: * `cpu:x86-64-v3`
// SEVERAL: and on a GPU NVIDIA's driver
// SEVERAL: --entry=twice --device=cuda:0 --out

func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = func.call @private(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @private(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
