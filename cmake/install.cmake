# SPDX-License-Identifier: MIT
#
# cmake --install: headers, both libraries, the pkg-config file and the CMake package.
include(CMakePackageConfigHelpers)

set(tavi_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/tavi")
install(TARGETS tavi EXPORT tavi_targets LIBRARY NAMELINK_COMPONENT devel)
install(TARGETS tavi_static EXPORT tavi_targets COMPONENT devel)
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT devel FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# Where the prefix lies as seen from the pkg-config file: an installed tree can be moved as a whole.
file(RELATIVE_PATH TAVI_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" TAVI_PC_TO_PREFIX "${TAVI_PC_TO_PREFIX}")
configure_file(cmake/tavi.pc.in tavi.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/tavi.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT devel)

install(EXPORT tavi_targets NAMESPACE tavi:: FILE taviTargets.cmake DESTINATION "${tavi_cmake_dir}" COMPONENT devel)
configure_package_config_file(cmake/taviConfig.cmake.in taviConfig.cmake INSTALL_DESTINATION "${tavi_cmake_dir}")
# Before 1.0 a change of the minor version may break programs.
write_basic_package_version_file(taviConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/taviConfig.cmake" "${PROJECT_BINARY_DIR}/taviConfigVersion.cmake"
  DESTINATION "${tavi_cmake_dir}" COMPONENT devel)
