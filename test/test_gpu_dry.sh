#!/bin/sh
# test_gpu_dry.sh: is test_gpu.sh ready for the day when there is a GPU? A rehearsal: the real programs at no size, executed on this
# CPU; in place of NVIDIA's tools, stubs that say what those say. And: what it does without a GPU, with a test that fails, out of time.
. test/check.sh
build=${BUILD:-build}
tools=$dir/tools
mkdir -p "$tools" "$dir/out" "$dir/fake"
stub() { cat > "$tools/$1"; chmod +x "$tools/$1"; }
has() { check "$1: no line with '$2'" grep -q -e "$2" "$dir/out/gpu.md"; }

# ---- without a GPU: one line, exit code 77, nothing written ----

printf '#!/bin/sh\nexit 9\n' | stub nvidia-smi
PATH="$tools:$PATH" OUT="$dir/none" sh test/test_gpu.sh > "$dir/log" 2>&1
code=$?
check "no GPU: exit code $code, not 77" [ $code -eq 77 ]
check "no GPU: not one line that begins with SKIP" [ "$(wc -l < "$dir/log") $(grep -c '^SKIP: ' "$dir/log")" = "1 1" ]
check "no GPU: something was written" [ ! -e "$dir/none" ]

# ---- the rehearsal ----

stub compute-sanitizer <<'EOF'
#!/bin/sh
case $2 in
racecheck) echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)" ;;
synccheck) echo "========= ERROR SUMMARY: 2 errors"; exit 9 ;;
initcheck) echo "========= Device not supported"; exit 255 ;;
*) [ -x "$5" ] && [ "$6" = few ] && echo "========= ERROR SUMMARY: 0 errors" ;;
esac
EOF
stub ncu <<'EOF'
#!/bin/sh
if [ "$1" = --query-metrics ]; then
    echo "dram__throughput                     dram throughput"
    echo "sm__pipe_tensor_cycles_active        # of cycles where tensor pipe was active"
    exit
fi
while [ "$1" != -k ]; do [ "$1" = --metrics ] && metrics=$2; shift; done
shift 2
"$@" || exit
echo "==PROF== Connected to process 7"
printf '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size",'
echo '"Device","CC","Section Name","Metric Name","Metric Unit","Metric Value"'
id=0
for kernel in attention_forward_kernel norm_backward_kernel; do
    for metric in $(echo "$metrics" | tr , ' '); do
        unit=% value=12.5
        [ "$metric" = gpu__time_duration.sum ] && unit=ns value=1,234,500
        printf '"%s","7","gpu_bench","127.0.0.1","%s","1","7","(128, 1, 1)","(8, 12, 8)","0","9.0",' $id $kernel
        printf '"Command line profiler metrics","%s","%s","%s"\n' $metric $unit $value
    done
    id=$((id + 1))
done
EOF
python=$dir/no_python
PATH="$tools:$PATH" OUT="$dir/out" BUILD="$build" PYTHON=$python sh test/test_gpu.sh emulated > "$dir/log" 2>&1
code=$?
# synccheck's stub found errors: the script must say so, and only so.
check "rehearsal: exit code $code, not 1" [ $code -eq 1 ]
check "rehearsal: not one failure" grep -q '^[0-9]* passed, 1 failed$' "$dir/log"
check "rehearsal: the failure is another one" [ "$(grep '^FAIL' "$dir/log")" = "FAIL: sanitizer synccheck" ]
has tests '^| test_cuda few | CPU (cuda_on_cpu).*| [0-9]* passed, 0 failed, exit code 0, [0-9]* s |$'
has torch "^| torch | $python .*left out: no torch"
for work in 'copy 4096' 'product forward' 'product dinp' 'product dw' 'attention forward' 'attention backward' 'step gpt-tiny' \
    'step nano' 'decode nano' 'speak nano'; do
    has contest "^| $work[ 0-9]* | ours, bf16 | [0-9.e+-]* | [0-9.e+]* \(TB\|TFLOP\|tok\)/s"
done
has steps '^| step nano 1 8 1 .* % / .* % | loss [0-9.]*, '
for row in embed_forward attention_backward logprob_fused adamw 'between operations'; do
    has profile "^| profile nano 1 8 1 | $row | [0-9]"
done
has "profile, offloaded" '^| profile nano 1 8 1 1 | adamw | [0-9]'
has memcheck '^| compute-sanitizer memcheck |.*| ERROR SUMMARY: 0 errors, exit code 0'
has racecheck '^| compute-sanitizer racecheck |.*0 hazards'
has synccheck '^| compute-sanitizer synccheck |.*2 errors, exit code 9'
has initcheck '^| compute-sanitizer initcheck |.*| no summary, exit code 255'
has ncu '^| ncu | attention_forward_kernel | 1.234 |.*| sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active 12.5 %, dram__'
has ncu '^| ncu | norm_backward_kernel | 1.234 '
check "the table has rows that are no rows" [ -z "$(sed -n '/^| what/,/^$/p' "$dir/out/gpu.md" | grep -v '^|.*|.*|.*|.*|.*|$' | grep .)" ]
check "a number is none" [ -z "$(grep -w 'nan\|-nan\|inf' "$dir/out/gpu.md")" ]
for name in test_cuda contest profile 'sanitizer memcheck' ncu; do check "no log of $name" grep -q "^==== $name: " "$dir/out/gpu.log"; done
[ "$failed" -eq 0 ] || cat "$dir/log"

# ---- tests that fail, one that says nothing, a contest without end ----

rm "$tools/compute-sanitizer" "$tools/ncu"
fake() { cat > "$dir/fake/$1"; chmod +x "$dir/fake/$1"; }
printf '#!/bin/sh\necho "3 passed, 2 failed"\nexit 1\n' | fake test_cuda
printf '#!/bin/sh\nsleep 60\n' | fake emulated_bench
since=$(date +%s)
OUT="$dir/out" BUILD="$dir/fake" GPU_SECONDS=6 PYTHON=$python sh test/test_gpu.sh emulated > "$dir/log" 2>&1
check "failing tests: exit code 0" [ $? -eq 1 ]
check "a contest without end: it was not ended" [ $(($(date +%s) - since)) -le 25 ]
check "failing tests: counts" grep -q '^3 passed, 4 failed$' "$dir/log"
has "a contest without end" '^| contest .*exit code 124, out of time after [56] s |$'
has "no time left" '^| profile .*exit code 125, not begun'
printf '#!/bin/sh\nexit 0\n' | fake test_cuda
printf '#!/bin/sh\n' | fake emulated_bench
OUT="$dir/out" BUILD="$dir/fake" PYTHON=$python sh test/test_gpu.sh emulated > "$dir/log" 2>&1
check "a silent test: exit code 0" [ $? -eq 1 ]
has "a silent test" '\*\*no result\*\*'
printf '#!/bin/sh\necho "SKIP: no GPU answers"; echo "0 passed, 0 failed"\n' | fake test_cuda
OUT="$dir/out" BUILD="$dir/fake" PYTHON=$python sh test/test_gpu.sh emulated > "$dir/log" 2>&1
check "nothing tested: exit code 0" [ $? -eq 1 ]

# ---- what shares of the peak are shares of: counted by hand ----

# GPT-2 124M: 6 123532032 (its matrices) + 6 12 1024 768 FLOP a token, 65536 tokens; unmasked: 12 12 1024 768. Decoding reads
# 2 (124439808 - 448 768) bytes of weights (576 positions) and, for 64 rows of 512 tokens, 12 layers of 2 768 numbers of 2 bytes.
"$build/emulated_bench" --list > "$dir/log"
listed() { check "--list: $1 is not $2" [ "$(sed -n "s/^$1  *//p" "$dir/log" | tr -s ' ')" = "$2" ]; }
listed 'step gpt2-124m 64 1024' '52285.6 GFLOP, unmasked 55996.5, 0.000 GB, 65536 tokens'
listed 'step llama3.2-1b 8 2048' '128075.9 GFLOP, unmasked 134673.0, 0.000 GB, 16384 tokens'
listed 'attention forward 64 1024 12 12 64' '103.1 GFLOP, unmasked 103.1, 0.000 GB, 0 tokens'
listed 'attention backward 64 1024 12 12 64' '257.7 GFLOP, unmasked 257.7, 0.000 GB, 0 tokens'
listed 'product forward 65536 768 2304' '231.9 GFLOP, unmasked 231.9, 0.000 GB, 0 tokens'
listed 'decode gpt2-124m 64 512' '0.0 GFLOP, unmasked 0.0, 1.456 GB, 64 tokens'
listed 'speak gpt2-124m 64 32 256' '0.0 GFLOP, unmasked 0.0, 0.000 GB, 16384 tokens'

# ---- the way of a machine with a GPU: everything that is called there is a stub that writes down how ----

stub nvidia-smi <<'EOF'
#!/bin/sh
case $* in
*gpu=name*) echo "NVIDIA H100 80GB HBM3" ;;
*gpu=compute_cap*) echo ${CAPABILITY:-9.0} ;;
*gpu=driver_version*) echo 580.1 ;;
*) echo 7 ;;
esac
EOF
stub python <<EOF
#!/bin/sh
case \$1 in
-c) echo "torch 9.9 CUDA 13.0 cuDNN 9" ;;
*) echo "python \$*" >> "$dir/calls" ;;
esac
EOF
# A train_gpt whose losses are all 1, for test_device.sh; the other stages are left out.
stub train_gpt <<'EOF'
#!/bin/sh
out=/nowhere device= steps=0 dry= offload=
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=$2 ;; --device) device=$2 ;; --steps) steps=$2 ;; --dry-run) dry=1 ;; --offload) offload=1 ;;
    --resume) echo "note: the checkpoint is from device x" >&2 ;;
    esac
    shift
done
if [ "$offload$device" = 1cpu ]; then printf "error: nothing to offload: the CPU's memory is the host's\n  try: --device cuda\n" >&2; exit 2; fi
if [ "$CUDA_CPU_DEVICES" = 0 ]; then
    if [ $device = cuda ]; then printf 'error: no GPU to compute on: none\n  try: --device cpu\n' >&2; exit 2; fi
    echo "device: cpu, 1 thread, precision fp32; no GPU: none" >&2
    exit 0
fi
echo "device: $device, 1 thread, precision fp32" >&2
if [ "$dry" ]; then echo "plan: small"; exit 0; fi
mkdir -p "$out" || exit 1
printf "keep all: yes (1 MB more of the GPU's free 2 MB)\n  keep-all  yes\n" >&2
echo "step $steps/$steps | 1% MFU | 1% as PaLM counts" >&2
echo "  > Once"
{ echo step,loss; i=1; while [ $i -le $steps ]; do echo $i,1.0; i=$((i + 1)); done; } > "$out/log.csv"
echo > "$out/config.json"
EOF
printf '#!/bin/sh\n/bin/true\n' | stub tinyworld
stub make <<EOF
#!/bin/sh
echo "make \$*" >> "$dir/calls"
mkdir -p "$dir/fake/sm_90"
cp "$tools/train_gpt" "$tools/tinyworld" "$dir/fake/sm_90"
for name in test_cuda test_cuda_model bench; do
    program=$dir/fake/sm_90/gpu_\$name
    { echo '#!/bin/sh'; echo 'echo "'\$name' \$*" >> "$dir/calls"'; } > \$program
    echo 'echo "kernels run on H100"; echo "2 passed, 0 failed"' >> \$program
    chmod +x \$program
done
EOF
CAPABILITY=7.5 PATH="$tools:$PATH" OUT="$dir/none" NVCC=nvcc sh test/test_gpu.sh > "$dir/log" 2>&1
code=$?
check "sm_75: exit code $code" [ $code -eq 77 ]
check "sm_75: does not say so" grep -q '^SKIP: NVIDIA H100.* is of sm_75' "$dir/log"
printf '#!/bin/sh\necho nvcc; echo "Cuda compilation tools, release 13.0, V13.0.88"; echo Build\n' | stub nvcc
rm -f "$dir/calls"
PATH="$tools:$PATH" OUT="$dir/out" BUILD="$dir/fake" NVCC="$tools/nvcc" MAKE="$tools/make" PYTHON="$tools/python" \
    STAGES=gpt sh test/test_gpu.sh > "$dir/log" 2>&1
code=$?
check "with a GPU: exit code $code: $(tail -n 5 "$dir/log")" [ $code -eq 0 ]
check "with a GPU: counts" grep -q '^25 passed, 0 failed$' "$dir/log"
has "the card" '^# llm_cuda.cuh on NVIDIA H100 80GB HBM3$'
has "the card" '^Driver 580.1, 7 of memory, power limit 7, at the beginning 7 of memory in use'
has "the card" '^Cuda compilation tools, release 13.0'
has "the card" ': torch 9.9 CUDA 13.0'
called() { check "not called: $1" grep -q -x -e "$1" "$dir/calls"; }
called "make -k -j8 BUILD=$dir/fake/sm_90 NVCC=$tools/nvcc GENCODE=-arch=sm_90 .*gpu_programs"
called 'python test/torch_cuda.py bf16 cuda step gpt2-124m 32 1024 step gpt2-124m 64 1024 step llama3.2-1b 8 2048'
called 'test_cuda '
called 'test_cuda_model '
called "bench --torch $tools/python --markdown $dir/out/gpu.md --only copy product step decode speak attention"
called "bench --markdown $dir/out/gpu.md --only profile"
has "a run" '^| all stages on the GPU.*| 21 passed, 0 failed, exit code 0'
for row in 'test_cuda ' 'test_cuda_model '; do has tests "^| gpu_$row | H100 .*2 passed, 0 failed"; done

# ---- PyTorch's side, where there is one ----

if "${PYTHON:-python3}" -c 'import torch' 2> /dev/null; then
    printf '%s\n' '1 product dw 8 16 24' '1 attention backward 1 16 2 1 32 flash' 'rest' '2 step nano 1 8' '1 nonsense 1' '0' |
        "${PYTHON:-python3}" test/torch_cuda.py bf16 cpu 2> /dev/null > "$dir/log"
    check "PyTorch: ready, three times, one refusal" [ "$(sed 's/^[0-9.e+-]* [0-9.]* [0-9.]*$/time/; s/ .*//' "$dir/log" | tr '\n' ' ')" = \
        "ready time time time no " ]
else echo "SKIP: PyTorch's side of the contest: ${PYTHON:-python3} has no torch"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
