#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: tools/start.sh [PORT]
# From a fresh checkout to a running server: installs what is missing, builds, starts examples/hello.py, which prints
# its URL. Ctrl-C ends it. The build is in build/, or in $TAVI_BUILD_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/lib/apt.sh
build=${TAVI_BUILD_DIR:-build}

case ${1-} in
  -h | --help) sed -n '4,6s/^# //p' "$0"; exit 0 ;;
  *[!0-9]*) echo "usage: tools/start.sh [PORT]" >&2; exit 2 ;;
esac

need_packages "${BUILD_PACKAGES[@]}"
echo "Building in $build ..."
quietly cmake -G Ninja -S . -B "$build" -DTAVI_PYTHON=ON
quietly cmake --build "$build" --target _mongoose

python=/usr/bin/python3
[ -x $python ] || python=python3
export PYTHONPATH="$build/python${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" examples/hello.py "$@"
