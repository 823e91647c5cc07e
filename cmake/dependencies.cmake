# SPDX-License-Identifier: MIT
#
# What libtavi stands on besides libc: zlib always; libbrotlienc and libzstd when pkg-config finds them.
# TAVI_BROTLI and TAVI_ZSTD: AUTO, ON (it is an error when the library is missing) or OFF.
#
# For the library:          TAVI_LIBRARIES (targets), TAVI_DEFINITIONS
# For who links libtavi.a:  TAVI_STATIC_LIBS (the pkg-config file), TAVI_FIND_LIBRARIES (the CMake package)
find_package(ZLIB QUIET)
if(NOT ZLIB_FOUND)
  message(FATAL_ERROR "Tavi needs zlib with its headers, and they were not found. Debian, Ubuntu: apt install zlib1g-dev; "
    "Fedora: dnf install zlib-devel; Alpine: apk add zlib-dev")
endif()
message(STATUS "zlib: ${ZLIB_VERSION_STRING}")
find_package(PkgConfig QUIET)

set(TAVI_LIBRARIES ZLIB::ZLIB)
set(TAVI_DEFINITIONS "")
set(TAVI_STATIC_LIBS -lz)
set(TAVI_FIND_LIBRARIES "find_package(ZLIB QUIET)\n")

macro(tavi_optional name module)
  set(TAVI_${name} AUTO CACHE STRING "Compress with ${module}: AUTO, ON or OFF")
  set_property(CACHE TAVI_${name} PROPERTY STRINGS AUTO ON OFF)
  if(TAVI_${name} AND PKG_CONFIG_FOUND)
    pkg_check_modules(TAVI_FOUND_${name} QUIET IMPORTED_TARGET ${module})
  endif()
  if(TAVI_${name} AND TAVI_FOUND_${name}_FOUND)
    message(STATUS "${module}: ${TAVI_FOUND_${name}_VERSION}")
    list(APPEND TAVI_LIBRARIES PkgConfig::TAVI_FOUND_${name})
    list(APPEND TAVI_DEFINITIONS "TAVI_${name}_VERSION=\"${TAVI_FOUND_${name}_VERSION}\"")
    list(APPEND TAVI_STATIC_LIBS ${TAVI_FOUND_${name}_STATIC_LDFLAGS})
    string(APPEND TAVI_FIND_LIBRARIES "find_package(PkgConfig QUIET)\n"
      "if(PKG_CONFIG_FOUND)\n  pkg_check_modules(TAVI_FOUND_${name} QUIET IMPORTED_TARGET ${module})\nendif()\n")
  elseif(NOT TAVI_${name})
    message(STATUS "${module}: left out, TAVI_${name} is off")
  elseif(TAVI_${name} STREQUAL "AUTO")
    message(STATUS "${module}: left out, pkg-config does not find it")
  else()
    message(FATAL_ERROR "TAVI_${name} is on, and pkg-config does not find ${module}")
  endif()
endmacro()
tavi_optional(BROTLI libbrotlienc)
tavi_optional(ZSTD libzstd)
string(JOIN " " TAVI_STATIC_LIBS ${TAVI_STATIC_LIBS})
