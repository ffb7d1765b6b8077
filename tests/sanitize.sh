#!/usr/bin/env bash
# Builds the kernels with AddressSanitizer and UndefinedBehaviorSanitizer in a temporary folder and runs their tests with
# them. Needs g++, CMake 3.21 and the packages of the development environment in $VENV (.venv by default).
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/${VENV:-.venv}/bin/python
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

"$python" -m cmake --version >/dev/null 2>&1 && cmake=("$python" -m cmake) || cmake=(cmake)
"${cmake[@]}" --preset sanitize -B "$build" -DPython_EXECUTABLE="$python" >"$build/log"
"${cmake[@]}" --build "$build" --parallel >>"$build/log" || { cat "$build/log"; exit 1; }
mkdir "$build/python"
cp -r src/pysr "$build/python"
rm -f "$build"/python/pysr/_kernels*.so
cp "$build"/_kernels*.so "$build/python/pysr"

# Excluded: tests that fork, that measure time, or that run a compiler under the preloaded library.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=$build/python
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
"$python" -c 'import pysr._kernels as kernels; print("testing", kernels.__file__)'
"$python" -m pytest -q -p no:cacheprovider -k "not forked and not ctrl_c" tests/ops/test_kernel*.py tests/ops/test_patches.py tests/ops/test_pixelcnn.py \
    tests/ops/test_resample.py
