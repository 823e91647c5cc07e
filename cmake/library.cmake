# SPDX-License-Identifier: MIT
#
# libtavi, shared and static, from one set of objects.

# A source that is not in the list would be missing from the library without a word.
file(GLOB tavi_found RELATIVE "${PROJECT_SOURCE_DIR}" CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/src/*/*.c" "${PROJECT_SOURCE_DIR}/python/src/*.c")
list(REMOVE_ITEM tavi_found ${TAVI_SOURCES} ${TAVI_PYTHON_SOURCES})
if(tavi_found)
  if(TAVI_WERROR)
    message(FATAL_ERROR "not listed in cmake/sources.cmake: ${tavi_found}")
  else()
    message(WARNING "not listed in cmake/sources.cmake: ${tavi_found}")
  endif()
endif()

add_library(tavi_objects OBJECT ${TAVI_SOURCES})
target_include_directories(tavi_objects PRIVATE src include)
target_link_libraries(tavi_objects PRIVATE tavi_flags ${TAVI_LIBRARIES})
target_compile_definitions(tavi_objects PRIVATE ${TAVI_DEFINITIONS})
# Not for the others: a Python type table holds functions as void *, and entry points have no header.
target_compile_options(tavi_objects PRIVATE -Wpedantic -Wmissing-prototypes)
set_target_properties(tavi_objects PROPERTIES INTERPROCEDURAL_OPTIMIZATION ${TAVI_LTO})
if(TAVI_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # Machine code beside the intermediate code: who links libtavi.a needs neither LTO nor our compiler's version.
  # The text of the option that CMake adds for LTO ends in -fno-fat-lto-objects, and the last one wins.
  string(REPLACE "-fno-fat-lto-objects" "-ffat-lto-objects"
    CMAKE_C_COMPILE_OPTIONS_IPO "${CMAKE_C_COMPILE_OPTIONS_IPO}")
endif()

set(tavi_map "${PROJECT_SOURCE_DIR}/src/api/tavi.map")
add_library(tavi SHARED $<TARGET_OBJECTS:tavi_objects>)
set_target_properties(tavi PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  INTERPROCEDURAL_OPTIMIZATION ${TAVI_LTO}
  LINK_DEPENDS "${tavi_map}")
target_link_options(tavi PRIVATE "-Wl,--version-script=${tavi_map}" -Wl,--no-undefined -Wl,--as-needed)

add_library(tavi_static STATIC $<TARGET_OBJECTS:tavi_objects>)
set_target_properties(tavi_static PROPERTIES OUTPUT_NAME tavi INTERPROCEDURAL_OPTIMIZATION ${TAVI_LTO})

foreach(library IN ITEMS tavi tavi_static)
  add_library(tavi::${library} ALIAS ${library})
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE C)
  target_link_libraries(${library} PRIVATE $<BUILD_INTERFACE:tavi_flags> ${TAVI_LIBRARIES})
  target_include_directories(${library} INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
endforeach()
