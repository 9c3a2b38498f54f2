# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# cmake -P AppendInterfaces.cmake <dialect.md> <interfaces.md> <output.md>
#
# mlir-tblgen's dialect reference leaves the attribute interfaces out and writes
# them as a document of their own: append that one, a heading level lower.

file(READ ${CMAKE_ARGV3} dialect)
file(READ ${CMAKE_ARGV4} interfaces)
string(REGEX REPLACE "^.*# AttributeInterface definitions"
       "\n# Attribute interfaces" interfaces "${interfaces}")
string(REPLACE "\n#" "\n##" interfaces "${interfaces}")
file(WRITE ${CMAKE_ARGV5} "${dialect}${interfaces}")
