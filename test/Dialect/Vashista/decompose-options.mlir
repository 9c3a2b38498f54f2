// RUN: not vashista-opt %s -vashista-decompose=depth=two 2>&1 | FileCheck %s
// RUN: not vashista-opt %s -vashista-decompose=deep=one 2>&1 | FileCheck %s --check-prefix=NAME

// CHECK: Cannot find option named 'two'
// NAME: no such option deep
