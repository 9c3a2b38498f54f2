// RUN: vashista-opt %s -split-input-file -verify-diagnostics -vashista-outline-kernels

func.func @host_reads(%a: memref<4xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  // expected-error @below {{'memref.load' op expected only parallel loops to touch memory, which the host cannot}}
  %x = memref.load %a[%c0] : memref<4xf32>
  memref.store %x, %a[%c0] : memref<4xf32>
  return %x : f32
}

// -----

func.func @reduction(%a: memref<4xf32>, %z: f32) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  // expected-error @below {{'scf.parallel' op expected no results to become a kernel; bufferize, and make loops of reductions first}}
  %sum = scf.parallel (%i) = (%c0) to (%c4) step (%c1) init (%z) -> f32 {
    %x = memref.load %a[%i] : memref<4xf32>
    scf.reduce (%x : f32) {
    ^bb0(%l: f32, %r: f32):
      %s = arith.addf %l, %r : f32
      scf.reduce.return %s : f32
    }
  }
  return %sum : f32
}

// -----

func.func @captures(%a: memref<4xf32>, %c: complex<f32>) {
  // expected-error @below {{'scf.forall' op cannot give a kernel a value of type 'complex<f32>'}}
  scf.forall (%i) in (4) {
    %x = complex.re %c : complex<f32>
    memref.store %x, %a[%i] : memref<4xf32>
  }
  return
}

// -----

memref.global "private" @written : memref<4xf32> = uninitialized
func.func @variable(%a: memref<4xf32>) {
  %written = memref.get_global @written : memref<4xf32>
  scf.forall (%i) in (4) {
    // expected-error @below {{expected a constant: a kernel has a copy of its own}}
    %own = memref.get_global @written : memref<4xf32>
    %x = memref.load %own[%i] : memref<4xf32>
    memref.store %x, %a[%i] : memref<4xf32>
  }
  return
}

// -----

// A loop of many threads is not made one thread's.
func.func @many(%a: memref<64xf32>, %n: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  // expected-error @below {{'memref.load' op expected only parallel loops to touch memory, which the host cannot}}
  %x = memref.load %n[%c0] : memref<1xf32>
  scf.forall (%i) in (64) {
    memref.store %x, %a[%i] : memref<64xf32>
  }
  return
}

// -----

func.func @masked(%a: memref<8xf32>, %x: vector<4xf32>, %m: vector<4xi1>) {
  %c0 = arith.constant 0 : index
  // expected-error @below {{cannot give a kernel a value of type 'vector<4xi1>'}}
  vector.maskedstore %a[%c0], %m, %x : memref<8xf32>, vector<4xi1>, vector<4xf32>
  return
}
