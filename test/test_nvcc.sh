#!/bin/sh
# test_nvcc.sh: llm_cuda.cuh as nvcc compiles it, where there is one: for sm_80 and sm_90 without a warning, a spill or a stack frame;
# registers and shared memory of each kernel are those of the table test/cuda_on_cpu/kernels.txt, so that a change of them is seen.
# KERNELS=update sh test/test_nvcc.sh writes the table anew.
. test/check.sh
# Registers, shared memory of each kernel as ptxas reports them, and nothing in local memory. The table is of the compiler that it names.
nvcc=$(make -s nvcc)
if [ -n "$nvcc" ]; then
    version=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
    echo "# registers and bytes of static shared memory of each kernel; nvcc $version" > "$dir/kernels"
    # Many GPUs, where NCCL's header is: in one of the two.
    nccl=
    if echo '#include <nccl.h>' | "$nvcc" -x cu -E - > "$dir/nccl" 2>&1; then nccl=-DLLM_NCCL
    else echo "SKIP: many GPUs: no nccl.h (apt-get install libnccl-dev)"; fi
    for arch in 80 90; do
        [ $arch = 90 ] && many=$nccl || many=
        "$nvcc" -x cu -std=c++20 -O3 -arch=sm_$arch $many -Xptxas -v,--warn-on-spills,--warn-on-local-memory-usage -Werror all-warnings \
            -Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers -c llm_cuda.cuh -o /dev/null > "$dir/ptxas" 2>&1
        code=$?
        check "nvcc, sm_$arch: $(grep -v 'ptxas info\|bytes stack frame' "$dir/ptxas" | head -n 5)" [ $code -eq 0 ]
        c++filt < "$dir/ptxas" | sed -nE "s/\(walk_of\)//g; s/.*Compiling entry function '(void )?([^(]*)\(.*/\2/p; s/.*Used ([0-9]+) registers.* ([0-9]+) bytes smem.*/\1 \2/p; \
            s/.*Used ([0-9]+) registers.*/\1 0/p" | paste - - | sed "s/^/sm_$arch /" | sort >> "$dir/kernels"
    done
    [ "$KERNELS" != update ] || cp "$dir/kernels" test/cuda_on_cpu/kernels.txt
    if [ "$(head -n 1 "$dir/kernels")" = "$(head -n 1 test/cuda_on_cpu/kernels.txt)" ]; then
        grep -v -e "${nccl:-add_kernel}" test/cuda_on_cpu/kernels.txt > "$dir/table"       # without NCCL its kernel is not there
        check "test/cuda_on_cpu/kernels.txt is of other kernels (KERNELS=update sh test/test_nvcc.sh): $(
            diff "$dir/kernels" "$dir/table" | head -n 12)" cmp -s "$dir/kernels" "$dir/table"
    else echo "SKIP: the table of registers: nvcc $version is another than the table's"; fi
else echo "SKIP: nvcc: kernels were executed, not compiled for a GPU"; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
