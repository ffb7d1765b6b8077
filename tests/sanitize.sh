#!/usr/bin/env bash
# Builds the kernels with the address and undefined-behaviour sanitizers, away from the installed ones, and runs their
# tests with them. Needs g++ and the packages of the development environment in $VENV (.venv by default).
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/${VENV:-.venv}/bin/python
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

"$python" -m cmake --version >/dev/null 2>&1 && cmake=("$python" -m cmake) || cmake=(cmake)
"${cmake[@]}" -S . -B "$build" -DPYSR_CUDA=OFF -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=None \
    -DCMAKE_CXX_FLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all" \
    -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >"$build/log"
"${cmake[@]}" --build "$build" --parallel >>"$build/log" || { cat "$build/log"; exit 1; }
mkdir "$build/python"
cp -r src/pysr "$build/python"
rm -f "$build"/python/pysr/_kernels*.so
cp "$build"/_kernels*.so "$build/python/pysr"

# Not with sanitizers: a forked child, a stopwatch, and a compiler that runs under a preloaded library.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=$build/python
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
"$python" -c 'import pysr._kernels as kernels; print("testing", kernels.__file__)'
"$python" -m pytest -q -p no:cacheprovider -k "not forked and not ctrl_c and not linker" tests/test_kernel*.py tests/test_sampling.py
