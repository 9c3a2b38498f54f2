# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# What a wheel holds beside the Python modules (pyproject.toml): a component of its
# own, so that headers, archives and CMake files stay out of it. A wheel knows no
# symbolic links, so that the runtime goes in under the one name that is loaded.
install(PROGRAMS $<TARGET_FILE:VashistaRuntime> DESTINATION lib
        RENAME $<TARGET_SONAME_FILE_NAME:VashistaRuntime>
        COMPONENT python EXCLUDE_FROM_ALL)
foreach(tool vashista-compile vashista-opt vashista-run)
  if(TARGET ${tool})
    install(TARGETS ${tool} RUNTIME DESTINATION bin COMPONENT python
            EXCLUDE_FROM_ALL)
  endif()
endforeach()
