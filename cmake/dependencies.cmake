# SPDX-License-Identifier: MIT
#
# What libtavi stands on besides libc: zlib, OpenSSL and c-ares always; libbrotlienc with libbrotlidec, and libzstd, when pkg-config finds them.
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
find_package(OpenSSL 3.0 QUIET COMPONENTS Crypto)
if(NOT OPENSSL_FOUND)
  message(FATAL_ERROR "Tavi needs OpenSSL 3.0 or later with its headers, and they were not found. Debian, Ubuntu: "
    "apt install libssl-dev; Fedora: dnf install openssl-devel; Alpine: apk add openssl-dev")
endif()
message(STATUS "OpenSSL: ${OPENSSL_VERSION}")
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(TAVI_FOUND_CARES QUIET IMPORTED_TARGET libcares>=1.18)
endif()
if(NOT TAVI_FOUND_CARES_FOUND)
  message(FATAL_ERROR "Tavi needs c-ares 1.18 or later with its headers, and pkg-config does not find it. Debian, "
    "Ubuntu: apt install pkg-config libc-ares-dev; Fedora: dnf install c-ares-devel; Alpine: apk add c-ares-dev")
endif()
message(STATUS "libcares: ${TAVI_FOUND_CARES_VERSION}")

set(TAVI_LIBRARIES ZLIB::ZLIB OpenSSL::Crypto PkgConfig::TAVI_FOUND_CARES)
set(TAVI_DEFINITIONS "")
set(TAVI_STATIC_LIBS -lz -lcrypto ${TAVI_FOUND_CARES_STATIC_LDFLAGS})
string(CONCAT TAVI_FIND_LIBRARIES
  "find_package(ZLIB QUIET)\nfind_package(OpenSSL 3.0 QUIET COMPONENTS Crypto)\n"
  "find_package(PkgConfig QUIET)\n"
  "if(PKG_CONFIG_FOUND)\n  pkg_check_modules(TAVI_FOUND_CARES QUIET IMPORTED_TARGET libcares)\nendif()\n")

# tavi_optional(NAME module [module ...]): the version is that of the first module.
macro(tavi_optional name module)
  set(TAVI_${name} AUTO CACHE STRING "Compress with ${module}: AUTO, ON or OFF")
  set_property(CACHE TAVI_${name} PROPERTY STRINGS AUTO ON OFF)
  if(TAVI_${name} AND PKG_CONFIG_FOUND)
    pkg_check_modules(TAVI_FOUND_${name} QUIET IMPORTED_TARGET ${module} ${ARGN})
  endif()
  if(TAVI_${name} AND TAVI_FOUND_${name}_FOUND)
    set(tavi_version "${TAVI_FOUND_${name}_VERSION}${TAVI_FOUND_${name}_${module}_VERSION}") # one module or several
    message(STATUS "${module}: ${tavi_version}")
    list(APPEND TAVI_LIBRARIES PkgConfig::TAVI_FOUND_${name})
    list(APPEND TAVI_DEFINITIONS "TAVI_${name}_VERSION=\"${tavi_version}\"")
    list(APPEND TAVI_STATIC_LIBS ${TAVI_FOUND_${name}_STATIC_LDFLAGS})
    string(JOIN " " tavi_modules ${module} ${ARGN})
    string(APPEND TAVI_FIND_LIBRARIES "find_package(PkgConfig QUIET)\n"
      "if(PKG_CONFIG_FOUND)\n  pkg_check_modules(TAVI_FOUND_${name} QUIET IMPORTED_TARGET ${tavi_modules})\nendif()\n")
  elseif(NOT TAVI_${name})
    message(STATUS "${module}: left out, TAVI_${name} is off")
  elseif(TAVI_${name} STREQUAL "AUTO")
    message(STATUS "${module}: left out, pkg-config does not find it")
  else()
    message(FATAL_ERROR "TAVI_${name} is on, and pkg-config does not find ${module}")
  endif()
endmacro()
tavi_optional(BROTLI libbrotlienc libbrotlidec)
tavi_optional(ZSTD libzstd)
string(JOIN " " TAVI_STATIC_LIBS ${TAVI_STATIC_LIBS})
