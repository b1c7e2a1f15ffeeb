#!/bin/sh
# test_fuzz.sh: every reader against invented input (test/fuzz/fuzz.c), under AddressSanitizer and UBSan. Alone: some hundred inputs
# each, the same every time. With FUZZ_SECONDS=600: so long each, and what was found stays in build/fuzz. Needs clang.
# Ends with "N passed, N failed".
LC_ALL=C; export LC_ALL
OMP_NUM_THREADS=1; export OMP_NUM_THREADS
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n > 1000000; }' > "$dir/x.c"
if ! clang -fsanitize=fuzzer,address,undefined "$dir/x.c" -o "$dir/x" 2> /dev/null; then
    echo "SKIP: no clang with libFuzzer"
    echo "0 passed, 0 failed"
    exit 0
fi
level=-O0                               # compiles in seconds; a long run is worth the minute that -O1 takes
[ -z "$FUZZ_SECONDS" ] || level=-O1
flags="-std=c11 -g -ffp-contract=fast -fopenmp-simd -fno-math-errno -fno-trapping-math -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -Wno-pass-failed"
# build PROGRAM SOURCE FLAGS...
build() {
    clang $flags $level -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $3 $4 "$2" -o "$dir/$1" -lm || { echo "0 passed, 1 failed"; exit 1; }
}
mkdir "$dir/tools"
for tool in eval report convert; do
    sed '/^#define LLM_IMPLEMENTATION/d; /^#include "\.\.\/llm\.h"/d' tools/$tool.c > "$dir/tools/$tool.c"
done
build fuzz test/fuzz/fuzz.c
build fuzz_tools test/fuzz/tools.c -I"$dir/tools" -Itools
passed=0 failed=0
for target in json tokenizer nfc safetensors gguf data adapter chat jinja options sampler tasks ranks mixture stage serve; do
    case $target in options|sampler|tasks|ranks|mixture|stage|serve) program=fuzz_tools ;; *) program=fuzz ;; esac
    found=$dir/found/$target
    if [ -n "$FUZZ_SECONDS" ]; then found=build/fuzz/$target; how="-max_total_time=$FUZZ_SECONDS"
    elif [ $target = chat ]; then how="-runs=150 -seed=1"   # seven templates and ten limits each
    else how="-runs=600 -seed=1"; fi
    mkdir -p "$found"
    if FUZZ=$target "$dir/$program" $how -max_len=8192 -timeout=20 -rss_limit_mb=1500 -malloc_limit_mb=300 -artifact_prefix="$found/" \
        "$found" test/fuzz/seeds/$target > "$dir/log" 2>&1; then
        passed=$((passed + 1))
        [ -z "$FUZZ_SECONDS" ] || echo "$target: $(grep '^Done' "$dir/log")"
    else
        failed=$((failed + 1))
        echo "FAIL: $target"
        grep -v '^#' "$dir/log" | tail -n 40
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
