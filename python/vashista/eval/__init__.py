# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quality of certified sparse attention on a trained decoder.

    python3 -m vashista.eval --codelm CODELM --settings settings.json

Windows of held-out text are prefilled densely. Their last tokens are decoded,
teacher-forced, layer by layer, and every output of attention there is that of a
compiled `vashista.attention`, so that what it leaves out reaches the layers above.
Every row's certificate is compared with dense attention in float64.
"""
