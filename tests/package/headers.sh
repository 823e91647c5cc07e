#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Each public header compiles alone, as C99 and as C++17, without a warning.
set -euo pipefail
include=$(cd "$(dirname "$0")/../../include" && pwd)
cc=${CC:-cc}
cxx=${CXX:-c++}
failed=0

# compile HEADER COMPILER OPTION...
compile() {
  local header=$1
  shift
  echo "#include \"$header\"" | "$@" -fsyntax-only -Wall -Wextra -Wpedantic -Werror -I "$include" - || {
    echo "$header: not clean with $*" >&2
    failed=1
  }
}

if ! command -v "$cxx" >/dev/null; then
  echo "no C++ compiler ($cxx): install g++" >&2
  exit 1
fi

while read -r header; do
  compile "$header" "$cc" -x c -std=c99 -Wstrict-prototypes
  compile "$header" "$cxx" -x c++ -std=c++17
done < <(find "$include" -name '*.h' -printf '%P\n' | sort)
exit $failed
