#!/bin/sh
# SPDX-License-Identifier: MIT
#
# All figures of docs/performance.md in one go, about 20 minutes on two quiet cores.
#   bench/figures.sh [-r ROUNDS] [-B BUILD_DIR] [-o OUT_DIR] [-S SERVER,..]
#     -r  alternated rounds of each scenario (default 20; with 3 it takes three minutes and proves little)
#     -B  the build directory (default: build beside bench), a Release build with -DTAVI_BENCH=ON
#     -o  where raw results and tables go (default: bench/results)
#     -S  servers beside the floor (default: tavi, tavi-py and their variants without TCP_DEFER_ACCEPT)
# summary.py prints the table at the end, and again whenever it is called with that directory.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rounds=20 build=$here/../build out=$here/results
servers=tavi,tavi-nodefer,tavi-py,tavi-py-nodefer
while getopts r:B:o:S: opt; do
  case $opt in
    r) rounds=$OPTARG ;;
    B) build=$OPTARG ;;
    o) out=$OPTARG ;;
    S) servers=$OPTARG ;;
    *) exit 2 ;;
  esac
done
build=$(cd "$build" && pwd)
mkdir -p "$out"
make -C "$here" files
PYTHONPATH=$build/python
export PYTHONPATH

"$here/instr.py" -D build="$build" -S "floor,$servers" -k http,http_browser -o "$out"
"$here/malloc_count.py" -D build="$build" | tee "$out/malloc_count.txt"
"$build/bench/floor_loop" | tee "$out/loop_floor.txt"
"$build/bench/bench_loop" | tee "$out/loop_c.txt"
/usr/bin/python3 "$here/loop.py" -i "$build/bench/idle_http" | tee "$out/loop_py.txt"
"$here/compare.py" -D build="$build" -S "floor,$servers" -s rss_http_used -R 3 -d 1 -o "$out"
"$here/compare.py" -D build="$build" -S "floor,$servers" -R "$rounds" -d 1 -o "$out" \
  -s http_1,http_64,http_512,pipe16_64,idle10k_64,churn_64,static_1k,static_100k,static_10m,sse_1000
"$here/upload.py" -D build="$build" | tee "$out/upload.txt"
/usr/bin/python3 "$here/reply_big.py" | tee "$out/reply_big.txt"
"$here/summary.py" "$out"
