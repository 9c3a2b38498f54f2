// What an assembler is asked for: all processors, if it says that it knows how.
// What it says where it fails is passed on.

// RUN: rm -rf %t && mkdir -p %t/new %t/old %t/bad
// RUN: sed -n 's/^\/\/ NEW> //p' %s > %t/new/ptxas
// RUN: sed -n 's/^\/\/ OLD> //p' %s > %t/old/ptxas
// RUN: sed -n 's/^\/\/ BAD> //p' %s > %t/bad/ptxas
// RUN: chmod +x %t/new/ptxas %t/old/ptxas %t/bad/ptxas
// RUN: env PATH=%t/new OUT=%t/new.txt \
// RUN:   %build_dir/bin/vashista-compile %s --target=cuda:sm_90a -o %t/new.vso
// RUN: FileCheck %s --check-prefix=NEW --input-file=%t/new.txt
// RUN: env PATH=%t/old OUT=%t/old.txt \
// RUN:   %build_dir/bin/vashista-compile %s --target=cuda:sm_90a -o %t/old.vso
// RUN: FileCheck %s --check-prefix=OLD --input-file=%t/old.txt \
// RUN:   --implicit-check-not=split
// RUN: not env PATH=%t/bad %build_dir/bin/vashista-compile %s \
// RUN:   --target=cuda:sm_90a -o %t/bad.vso 2>&1 | FileCheck %s --check-prefix=BAD
// RUN: test ! -e %t/bad.vso
// RUN: not env PATH=%t/new TMPDIR=%t/none %build_dir/bin/vashista-compile %s \
// RUN:   --target=cuda:sm_90a -o %t/bad.vso 2>&1 | FileCheck %s --check-prefix=FILE

// NEW: -arch sm_90a {{.*}} --split-compile=0
// OLD: -arch sm_90a
// FILE: error: expected a temporary file for ptxas, got: No such file or directory
// BAD: error: expected ptxas to assemble the kernels, got: ptxas fatal : no such architecture

// NEW> #!/bin/sh
// NEW> case "$*" in --help) echo "--split-compile <N>"; exit;; esac
// NEW> echo "$*" > $OUT
// NEW> while [ "$1" != -o ]; do shift; done; echo code > "$2"

// OLD> #!/bin/sh
// OLD> case "$*" in --help) echo "--verbose"; exit;; esac
// OLD> echo "$*" > $OUT
// OLD> while [ "$1" != -o ]; do shift; done; echo code > "$2"

// BAD> #!/bin/sh
// BAD> case "$*" in --help) exit;; esac
// BAD> echo "ptxas fatal : no such architecture" >&2; exit 255

func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
