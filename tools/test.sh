#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: tools/test.sh [CTEST OPTION...]
# Runs all tests: installs what they need, builds, runs ctest. For example: tools/test.sh -L unit
# The build is in build/, or in $TAVI_BUILD_DIR. With CI=true, warnings are errors. With TAVI_TEST_BROWSER=0, no browser
# is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/lib/apt.sh
build=${TAVI_BUILD_DIR:-build}

# g++ compiles the public headers as C++; curl and its like are the clients of the end-to-end tests, nginx and HAProxy
# are proxies, dnsmasq is a name server.
need_packages "${BUILD_PACKAGES[@]}" g++ curl python3-pytest python3-pytest-timeout python3-pytest-asyncio \
  wget nginx-light haproxy tinyproxy dnsmasq-base python3-httpx python3-requests

# The browser of the end-to-end tests takes 300 MB. Without it they are skipped.
if [ "${TAVI_TEST_BROWSER:-1}" != 0 ]; then
  (need_packages chromium chromium-driver) || echo "No browser: its tests are skipped." >&2
fi
# chrony is unpacked only: installed, it would begin to set this computer's clock, in the place of what does so now.
unpack_packages "$build/programs" chrony

options=(-DTAVI_PYTHON=ON -DTAVI_TESTS=ON -DTAVI_EXAMPLES=ON -DTAVI_BENCH=ON)
if [ "${CI:-}" = true ]; then
  options+=(-DTAVI_WERROR=ON)
fi
echo "Building in $build ..."
quietly cmake -G Ninja -S . -B "$build" "${options[@]}"
quietly cmake --build "$build"

cd "$build"
exec ctest --output-on-failure --no-tests=error -j2 "$@"
