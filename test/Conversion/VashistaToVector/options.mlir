// RUN: not vashista-opt %s -convert-vashista-to-vector=lanes=7 2>&1 | FileCheck %s --check-prefix=LANES
// RUN: not vashista-opt %s -convert-vashista-to-vector=registers=2 2>&1 | FileCheck %s --check-prefix=REGISTERS

// LANES: error: expected lanes to be 4, 8, 16, 32 or 64, got 7
// REGISTERS: error: expected at least 8 registers, got 2
module {}
