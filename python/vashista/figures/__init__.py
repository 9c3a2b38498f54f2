# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pictures, tables and a report of measurements.

    python -m vashista.figures RESULTS --out DIR

RESULTS is a folder of files that `python -m vashista.eval COMMAND --json FILE` wrote, on
any machines. Whatever is there is drawn, as SVG and PNG, each with what it shows, on
which machine, when and by which command; what is missing is named, with the command
that makes it. report.html has everything in one file, which needs no network.
"""
