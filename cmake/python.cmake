# SPDX-License-Identifier: MIT
#
# The extension cymongoose._mongoose. In a plain build it lands in <build>/python/cymongoose beside links to the
# Python files, so that PYTHONPATH=<build>/python is all that is needed; in a wheel (SKBUILD) it is installed alone,
# and scikit-build-core adds the Python files.

# Debian's interpreter, not whichever comes first in PATH: its packages (pytest and others) are what the tests use.
if(NOT SKBUILD AND NOT DEFINED Python_EXECUTABLE AND EXISTS /usr/bin/python3)
  set(Python_EXECUTABLE /usr/bin/python3)
endif()
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter Development.Module)

Python_add_library(_mongoose MODULE WITH_SOABI ${TAVI_PYTHON_SOURCES})
target_link_libraries(_mongoose PRIVATE tavi_flags tavi_static)
target_link_options(_mongoose PRIVATE "-Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/python.map")
set_target_properties(_mongoose PROPERTIES
  INTERPROCEDURAL_OPTIMIZATION ${TAVI_LTO}
  LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/python.map")

if(SKBUILD)
  install(TARGETS _mongoose LIBRARY DESTINATION cymongoose COMPONENT python)
  return()
endif()

set(tavi_python_dir "${PROJECT_BINARY_DIR}/python")
set_target_properties(_mongoose PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${tavi_python_dir}/cymongoose")
file(GLOB tavi_python_files RELATIVE "${PROJECT_SOURCE_DIR}/python" CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/python/cymongoose/*.py" "${PROJECT_SOURCE_DIR}/python/cymongoose/*.pyi"
  "${PROJECT_SOURCE_DIR}/python/cymongoose/py.typed")
file(MAKE_DIRECTORY "${tavi_python_dir}/cymongoose")
foreach(file IN LISTS tavi_python_files)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/python/${file}" "${tavi_python_dir}/${file}" SYMBOLIC)
endforeach()
