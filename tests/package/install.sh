#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: install.sh BUILD_DIR
# Installs the build into a folder of its own, moves that folder, and builds and runs a small program against it:
# by pkg-config (shared and static) and by find_package(tavi). Checks what the shared library exports on the way.
set -euo pipefail
build=$1
consumer=$(cd "$(dirname "$0")/consumer" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cc=${CC:-cc}

cmake --install "$build" --prefix "$tmp/first" >/dev/null
prefix=$tmp/moved
mv "$tmp/first" "$prefix"

library=$(find "$prefix" -name 'libtavi.so' | head -n 1)
libdir=$(dirname "$library")
export LD_LIBRARY_PATH=$libdir
export PKG_CONFIG_PATH=$libdir/pkgconfig

echo "-- exported names"
exported=$(nm -D --defined-only "$library" | awk '{print $3}')
foreign=$(grep -Ev '^(tavi_[a-z][a-z0-9_]*@@TAVI_[0-9.]+|TAVI_[0-9.]+)' <<<"$exported" || true)
if [ -n "$foreign" ]; then
  echo "libtavi.so exports what it should not: $foreign" >&2
  exit 1
fi
grep -qx 'tavi_version@@TAVI_0.1' <<<"$exported" || { echo "tavi_version has no version" >&2; exit 1; }
[[ $(readelf -d "$library") == *SONAME*"[libtavi.so.0]"* ]] || { echo "the SONAME is not libtavi.so.0" >&2; exit 1; }

echo "-- pkg-config, shared"
# shellcheck disable=SC2046 # flags are words
"$cc" -std=c99 -Wall -Werror "$consumer/consumer.c" -o "$tmp/shared" $(pkg-config --cflags --libs tavi)
[[ $(ldd "$tmp/shared") == *"libtavi.so.0 => $libdir/"* ]] || { echo "libtavi.so.0 is not ours" >&2; exit 1; }
"$tmp/shared" "$(pkg-config --modversion tavi)"

echo "-- pkg-config, static, without link-time optimisation"
# shellcheck disable=SC2046
"$cc" -std=c99 -fno-lto "$consumer/consumer.c" -o "$tmp/static" \
  $(pkg-config --cflags tavi) "$libdir/libtavi.a" $(pkg-config --static --libs tavi | sed 's/-ltavi //')
"$tmp/static" "$(pkg-config --modversion tavi)"

echo "-- find_package"
cmake -G Ninja -S "$consumer" -B "$tmp/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$tmp/cmake" >/dev/null
for program in with_shared with_static; do
  "$tmp/cmake/$program" "$(pkg-config --modversion tavi)"
done
