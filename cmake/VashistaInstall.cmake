# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# The installed package: find_package(Vashista CONFIG).

include(CMakePackageConfigHelpers)
set(_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Vashista)

install(DIRECTORY include/vashista ${PROJECT_BINARY_DIR}/include/vashista
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.inc"
        PATTERN "CMakeFiles" EXCLUDE)
install(TARGETS VashistaMLIR EXPORT VashistaTargets)
install(EXPORT VashistaTargets NAMESPACE Vashista:: DESTINATION ${_package_dir})
configure_package_config_file(
  cmake/VashistaConfig.cmake.in ${PROJECT_BINARY_DIR}/cmake/VashistaConfig.cmake
  INSTALL_DESTINATION ${_package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/cmake/VashistaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
        ${PROJECT_BINARY_DIR}/cmake/VashistaConfig.cmake
        ${PROJECT_BINARY_DIR}/cmake/VashistaConfigVersion.cmake
        cmake/VashistaLLVM.cmake
        DESTINATION ${_package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
