# SPDX-License-Identifier: MIT
#
# Language, warnings, optimisation, sanitizers. All of it is on the interface target tavi_flags, which our own
# targets link privately, so that nothing of it reaches the users of the library.

# Release is the default, because the first thing most people do with a fresh checkout is to run it. It is -O2
# where CMake would say -O3: what -O3 adds is unrolling and cloning, which make the hot path of a server larger and
# no faster (measure before changing this).
if(PROJECT_IS_TOP_LEVEL)
  get_property(tavi_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT CMAKE_BUILD_TYPE AND NOT tavi_multi_config)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug or RelWithDebInfo" FORCE)
  endif()
  set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
endif()

add_library(tavi_flags INTERFACE)
target_compile_definitions(tavi_flags INTERFACE _GNU_SOURCE)
target_compile_options(tavi_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wold-style-definition -Wpointer-arith
  -Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough -fno-common)
if(TAVI_WERROR)
  target_compile_options(tavi_flags INTERFACE -Werror)
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # the static library, too: the Python extension links it

if(TAVI_SANITIZE)
  target_compile_options(tavi_flags INTERFACE
    -fsanitize=${TAVI_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tavi_flags INTERFACE -fsanitize=${TAVI_SANITIZE})
endif()

# Link-time optimisation in Release. Sanitizers see less through it, and it makes debug builds slow.
set(TAVI_LTO OFF)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT TAVI_SANITIZE)
  include(CheckIPOSupported)
  check_ipo_supported(RESULT TAVI_LTO LANGUAGES C)
endif()
