#!/usr/bin/env bash
# onnx-cpu against ONNX Runtime on the CPU: three published models and two large ones with generated weights.
#
#   tests/bench/bench_onnx.sh [ROUNDS] [MODEL...]       MODEL: words of the files' names; default: all
#
# Builds a release build into build/release, writes the large models into build/bench-models and fetches ONNX Runtime's library, each
# once. The published models are looked for in $PENSTOCK_SHARED_MODELS, else in ../shared/models. OPENBLAS_CORETYPE and
# OPENBLAS_L2_SIZE are unset for this one program: where they are set, OpenBLAS does not choose its kernels for the machine
# at hand, and ONNX Runtime does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rounds=${1:-11}
shift || true
shared=${PENSTOCK_SHARED_MODELS:-../shared/models}

library=$(scripts/fetch-onnxruntime)
cmake --preset release -DPENSTOCK_TESTS=ON >/dev/null
cmake --build --preset release --target bench_onnx >&2
mapfile -t large < <(/usr/bin/python3 tests/bench/make_models.py build/bench-models)

mkdir -p build/bench-models/published # links that bear the models' names
candidates=()
for name in mnist_8 super_resolution_10 dtln_1; do
    if [ -e "$shared/$name/model.onnx" ]; then
        ln -sf "$(realpath "$shared/$name/model.onnx")" "build/bench-models/published/$name.onnx"
        candidates+=("build/bench-models/published/$name.onnx")
    else
        printf 'bench_onnx: no %s/%s (set PENSTOCK_SHARED_MODELS)\n' "$shared" "$name" >&2
    fi
done
candidates+=("${large[@]}")

models=()
for model in "${candidates[@]}"; do
    [ $# -eq 0 ] && models+=("$model")
    for word in "$@"; do
        [[ $(basename "$model") == *"$word"* ]] && models+=("$model")
    done
done
exec env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE build/release/tests/bench/bench_onnx "$library" "$rounds" "${models[@]}"
