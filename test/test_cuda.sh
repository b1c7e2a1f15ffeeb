#!/bin/sh
# test_cuda.sh: the kernels of llm_cuda.cuh. Executed on this CPU, thread by thread (test/cuda_on_cpu): everything once, a short
# list in other orders of threads and streams, and under the sanitizers that were built: AddressSanitizer sees a place out of bounds,
# ThreadSanitizer a missing barrier, MemorySanitizer a number that nobody wrote.
. test/check.sh
build=${BUILD:-build}
# runs NAME PROGRAM ARGUMENTS...: its checks are ours; the bits of its results must be those of the runs before it.
runs() {
    name=$1; shift
    "$@" > "$dir/log" 2>&1
    code=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$dir/log" | tail -n 1)
    if [ "$code" -eq 0 ] && [ -n "$line" ]; then
        n=${line%% passed*}
        passed=$((passed + n))
        echo "$name: $line"
    else
        bad "$name: exit code $code"
        grep -E 'FAIL|ERROR|WARNING|cuda_on_cpu:|^error|SUMMARY|    #[0-5] ' "$dir/log" | head -n 40
    fi
}
# The results' bits may not depend on the order in which threads run.
same_bits() {
    bits=$(grep '^bits' "$dir/log")
    if [ -z "$first_bits" ]; then first_bits=$bits; else check "$1: other bits than before" [ "$bits" = "$first_bits" ]; fi
}

runs "rows, on this CPU" "$build/test_cuda"
runs "models, on this CPU" "$build/test_cuda_model"
for seed in 0 1 2 3 4; do
    runs "short list, order $seed" env CUDA_CPU_SEED=$seed CUDA_CPU_YIELD=1 "$build/test_cuda" few
    same_bits "order $seed"
done
for seed in 1 2; do
    runs "short list, streams as late as they may, order $seed" env CUDA_CPU_ASYNC=1 CUDA_CPU_SEED=$seed "$build/test_cuda" few
    same_bits "late streams, order $seed"
done
for kind in asan tsan msan; do
    if [ -x "$build/$kind/test_cuda" ]; then
        runs "short list, $kind" env ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1 "$build/$kind/test_cuda" few
        [ $kind = tsan ] || runs "short list of models, $kind" env ASAN_OPTIONS=detect_leaks=0 "$build/$kind/test_cuda_model" few
    else echo "SKIP: $kind: $build/$kind/test_cuda was not built"; fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
