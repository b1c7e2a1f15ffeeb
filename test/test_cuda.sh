#!/bin/sh
# test_cuda.sh: the kernels of llm_cuda.cuh, executed on this CPU, thread by thread (test/cuda_on_cpu): everything once, a short list in
# other orders of threads and streams, and under the sanitizers that were built: AddressSanitizer sees a place out of bounds,
# ThreadSanitizer a missing barrier, MemorySanitizer a number that nobody wrote. test_cuda.sh LIST...: only these (make test_cuda runs
# several at a time): rows, orders, models, asan, msan, tsan.
. test/check.sh
build=${BUILD:-build} log=$dir/log
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1
# runs NAME PROGRAM ARGUMENTS...: one line of what it said; its checks are ours. The hash of the results' bits stays in $bits.
runs() {
    name=$1; shift
    "$@" > "$log" 2>&1
    code=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    bits=$(grep '^bits' "$log")
    if [ "$code" -eq 0 ] && [ -n "$line" ]; then
        passed=$((passed + ${line%% passed*}))
        echo "$name: $line"
    else
        bad "$name: exit code $code"
        grep -E 'FAIL|ERROR|WARNING|cuda_on_cpu:|^error|SUMMARY|    #[0-5] ' "$log" | head -n 40
    fi
}
# The results' bits may not depend on the order in which threads and streams run.
orders() {
    first=
    for order in "CUDA_CPU_SEED=0" "CUDA_CPU_SEED=1" "CUDA_CPU_SEED=2" "CUDA_CPU_SEED=3 CUDA_CPU_YIELD=1" "CUDA_CPU_SEED=4" \
        "CUDA_CPU_SEED=1 CUDA_CPU_ASYNC=1" "CUDA_CPU_SEED=2 CUDA_CPU_ASYNC=1"; do
        runs "short list, $order" env $order "$build/test_cuda" few
        first=${first:-$bits}
        check "$order: other bits than before" [ "$bits" = "$first" ]
    done
}
# sanitizer asan|msan|tsan
sanitizer() {
    kind=$1
    if [ ! -x "$build/$kind/test_cuda" ]; then echo "SKIP: $kind: $build/$kind/test_cuda was not built"; return; fi
    runs "short list, $kind" "$build/$kind/test_cuda" few
    [ $kind = tsan ] || runs "short list of models, $kind" "$build/$kind/test_cuda_model" few
}
rows() {
    runs "rows" "$build/test_cuda"
    runs "PyTorch's numbers" "$build/test_cuda_fixtures"
}
models() {
    runs "models" "$build/test_cuda_model"
    runs "models, streams as late as they may" env CUDA_CPU_ASYNC=1 "$build/test_cuda_model" few
}
for list in ${*:-rows orders models asan msan tsan}; do
    case $list in *san) sanitizer "$list" ;; *) $list ;; esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
