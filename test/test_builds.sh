#!/bin/sh
# test_builds.sh: every way to build it must compile without a warning: gcc and clang, with and without OpenMP, in double, for
# processors without AVX-512 and without AVX; the interface half also as C++; without llm_simd.h; with the
# implementation in another file; for ARM, and run there by emulation. A compiler that is not installed is skipped, and said so.
passed=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
check() {
    if "$@" > "$dir/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $*"; head -n 12 "$dir/log"; fi
}
common="-std=c11 -ffp-contract=fast -fopenmp-simd -fno-math-errno -fno-trapping-math -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror"
# The tree without llm_simd.h, and a command run in it.
mkdir "$dir/alone" && cp -R llm.h train_*.c tools data "$dir/alone" || exit 1
alone() { (cd "$dir/alone" && "$@"); }
says_plain() { "$1" --dry-run 2>&1 | grep -q "^device: plain, .*plain loops"; }
printf '#define LLM_IMPLEMENTATION\n#include "llm.h"\n#include "tools/checkpoint.h"\n#include "tools/scores.h"\n' > "$dir/book.c"
for file in train_*.c; do sed '/^#define LLM_IMPLEMENTATION/d' $file > "$dir/api_$file"; done
# A program of somebody's, with names that the implementation has too.
cat > "$dir/user.c" << 'EOF'
#include "llm.h"
enum { WIDTH, DEPTH, GROUP, PIECE, HEAD, CHUNK, FEW, VL, GPT, LLAMA, AHEAD };
static int cut(void) { return WIDTH + GROUP; }
static int trim(void) { return PIECE + HEAD; }
static int fetch(void) { return DEPTH; }
int main(void) { return cut() + trim() + fetch() + (llm_cpu(LLM_FP32) == 0); }
EOF
for cc in gcc clang; do
    command -v $cc > /dev/null 2>&1 || { echo "SKIP: $cc is not installed"; continue; }
    openmp=
    echo 'int main(void){return 0;}' > "$dir/x.c"
    $cc -fopenmp "$dir/x.c" -o "$dir/x" 2> /dev/null && openmp=-fopenmp
    [ -n "$openmp" ] || echo "SKIP: $cc has no OpenMP here"
    # The tools are compiled by make; here a look for warnings must do, or this test takes ten minutes.
    for file in tools/*.c; do
        if [ $file = tools/serve.c ] && ! echo '#include <microhttpd.h>' | $cc -fsyntax-only -x c - 2> /dev/null; then
            echo "SKIP: $file with $cc: no libmicrohttpd (apt-get install libmicrohttpd-dev)"
        else check $cc $common -march=native $openmp -fsyntax-only $file; fi
    done
    for file in train_*.c; do
        check $cc $common -O1 -march=native $file -o "$dir/x" -lm
        [ -z "$openmp" ] || check $cc $common -O2 -march=native $openmp $file -o "$dir/x" -lm
    done
    # Each driver against the interface alone, the implementation in a file of its own: no private name is used.
    printf '#define LLM_IMPLEMENTATION\n#include "llm.h"\n#include "tools/checkpoint.h"\n#include "tools/scores.h"\n' > "$dir/llm.c"
    check $cc $common -O1 -march=native $openmp -I. -c "$dir/llm.c" -o "$dir/llm.o"
    for file in train_*.c; do
        sed '/#define LLM_IMPLEMENTATION/d' $file > "$dir/driver.c"
        check $cc $common -O1 -march=native $openmp -I. "$dir/driver.c" "$dir/llm.o" -o "$dir/driver" -lm
        check "$dir/driver" --help
    done
    check $cc $common -O2 -march=native -DLLM_REAL=double $openmp test/test_model.c -o "$dir/x" -lm
    check $cc $common -O1 -march=native $openmp -fsyntax-only tools/bench.c
    # The book alone: llm.h without llm_simd.h beside it, and told to leave it out; in float and in double. One is linked.
    for file in train_*.c; do
        check alone $cc $common -fsyntax-only $file
        check $cc $common -DLLM_PLAIN -DLLM_REAL=double $openmp -fsyntax-only $file
    done
    for file in tools/chat.c tools/eval.c; do check alone $cc $common $openmp -fsyntax-only $file; done
    check alone $cc $common -O0 $openmp train_gpt.c -o "$dir/x" -lm
    check says_plain "$dir/x"
    # A driver needs the interface only: the implementation (tools/checkpoint.h and hf.h have one too) may be compiled in another file.
    check $cc $common -O0 $openmp -I. -c "$dir/book.c" -o "$dir/book.o"
    for file in train_*.c; do check $cc $common -O0 $openmp -I. "$dir/api_$file" "$dir/book.o" -o "$dir/x" -lm; done
    check $cc $common -I. -fsyntax-only "$dir/user.c"
    if [ "$(uname -m)" = x86_64 ]; then
        for arch in haswell x86-64; do check $cc $common -O2 -march=$arch $openmp test/hf_probe.c -o "$dir/x" -lm; done
    fi
done
# ARM's vectors (NEON), executed: Debian's gcc-aarch64-linux-gnu and qemu-user stand in for the processor.
if command -v aarch64-linux-gnu-gcc > /dev/null 2>&1 && command -v qemu-aarch64 > /dev/null 2>&1; then
    for name in ops model losses fixtures; do
        check aarch64-linux-gnu-gcc $common -O2 -march=armv8.2-a -static test/test_$name.c -o "$dir/arm_$name" -lm
        check qemu-aarch64 "$dir/arm_$name"
    done
else echo "SKIP: no ARM compiler with emulator (gcc-aarch64-linux-gnu, qemu-user)"; fi
if command -v g++ > /dev/null 2>&1; then check g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ llm.h
    check g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ -include llm.h tools/hf.h
else echo "SKIP: g++ is not installed"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
