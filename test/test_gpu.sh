#!/bin/sh
# test_gpu.sh [emulated]: what a GPU computes and how fast, in at most 8 minutes, most important first:
#   1 the tests of llm_cuda.cuh on the card         2 training steps, speaking, attention, products: ours and PyTorch's in turns
#   3 compute-sanitizer's four tools, a short list  4 Nsight Compute's counters of the heaviest kernels
# Each part has a limit of its own, so that none eats the others'. A table in Markdown, $OUT/gpu.md, and all that was said, $OUT/gpu.log
# (OUT: out). PYTHON: one that can import torch. What is missing (torch, a tool) is named in the table and left out; without a GPU or
# nvcc: one line, exit code 77. `emulated`: every part that can run, at no size, with what `make test_gpu_dry` built: a rehearsal.
LC_ALL=C; export LC_ALL
began=$(date +%s)
all=${GPU_SECONDS:-465}                 # for everything
build=${BUILD:-build} out=${OUT:-out} python=${PYTHON:-python3} make=${MAKE:-make}
emulated=
[ "$1" = emulated ] && emulated=1
passed=0 failed=0

have() { command -v "$1" > /dev/null 2>&1; }
row() { printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" "$5" "$6" >> "$table"; }
elapsed() { echo $(($(date +%s) - began)); }
# part NAME LIMIT COMMAND...: its output into $log and gpu.log; $code: its exit code, 124 out of time, 125 not begun.
part() {
    name=$1 limit=$2; shift 2
    at=$(elapsed) left=$((all - $(elapsed)))
    [ "$limit" -gt "$left" ] && limit=$left
    code=125
    : > "$log"
    if [ "$limit" -ge 5 ]; then
        timeout -k 5 "$limit" "$@" > "$log" 2>&1 < /dev/null
        code=$?
    fi
    { printf '\n==== %s: %s\n' "$name" "$*"; head -c 2000000 "$log"; } >> "$out/gpu.log"
    case $code in
    124) said="out of time after $limit s" ;;
    125) said='not begun: no time left' ;;
    *) said="$(($(elapsed) - at)) s" ;;
    esac
    echo "$name: exit code $code, $said, at $(elapsed) s"
}
good() { passed=$((passed + $1)); }
bad() { failed=$((failed + $1)); echo "FAIL: $name"; tail -n 20 "$log"; }

# ---- what is here ----

# The same card for all: the first that is visible, in nvidia-smi's order.
CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES%%,*}
export CUDA_DEVICE_ORDER CUDA_VISIBLE_DEVICES
smi() {
    { nvidia-smi -i "$CUDA_VISIBLE_DEVICES" --query-gpu="$1" --format=csv,noheader 2> /dev/null ||
        nvidia-smi --query-gpu="$1" --format=csv,noheader 2> /dev/null; } | grep . | head -n 1
}
# cuBLASLt, where the toolkit has none: PyTorch brings one, with its headers but without the name that linkers look for.
find_cublas() {
    for folder in "$(dirname "$nvcc")/../lib64" "$(dirname "$nvcc")/../lib" /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu; do
        [ -e "$folder/libcublasLt.so" ] && { cublas="CUDALIB=$folder"; return; }
    done
    folder=$("$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' 2> /dev/null)/nvidia
    library=$(find "$folder" -name 'libcublasLt.so*' 2> /dev/null | head -n 1)
    header=$(find "$folder" -name cublasLt.h 2> /dev/null | head -n 1)
    cublas=
    [ "$library" ] && [ "$header" ] || return
    mkdir -p "$build/lib" && ln -sf "$library" "$build/lib/libcublasLt.so" && ln -sf "$library" "$build/lib/"
    cublas="CUDALIB=$build/lib CUDA_INC=$(dirname "$header")"
}
skip() { echo "SKIP: $*"; exit 77; }
if [ ! "$emulated" ]; then
    nvcc=${NVCC:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2> /dev/null)}
    card=$(smi name)
    [ "$card" ] || skip "no GPU answers: there is no nvidia-smi, or it names none"
    arch=sm_$(smi compute_cap | tr -d .)
    case $arch in sm_[1-7]?) skip "$card is of $arch; llm_cuda.cuh needs sm_80 or later" ;; esac
    [ "$nvcc" ] || skip "$card is here, but not nvcc, which compiles llm_cuda.cuh for it: install the CUDA toolkit"
fi
mkdir -p "$out" || exit 1
table=$out/gpu.md
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM
: > "$out/gpu.log"
{
    if [ "$emulated" ]; then
        printf '# Rehearsal: kernels executed on a CPU. The times mean nothing.\n\n'
    else
        printf '# llm_cuda.cuh on %s\n\n' "$card"
        printf 'Driver %s, %s of memory, power limit %s, ' "$(smi driver_version)" "$(smi memory.total)" "$(smi power.limit)"
        printf 'at the beginning %s of memory in use, clocks %s and %s.\n' "$(smi memory.used)" "$(smi clocks.sm)" "$(smi clocks.mem)"
        printf '%s. ' "$("$nvcc" --version | tail -n 2 | head -n 1)"
    fi
    printf '%s, %s, commit %s.\n' "$("${CC:-cc}" --version | head -n 1)" "$(date -u +%Y-%m-%d)" \
        "$(git rev-parse --short HEAD 2> /dev/null || echo unknown)"
} > "$table"
torch=$("$python" -c 'import sys, torch
if len(sys.argv) < 2 and not torch.cuda.is_available(): sys.exit("its PyTorch sees no GPU")
print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())' $emulated 2> "$log") ||
    torch="no torch: $(tail -n 1 "$log")"
printf '%s: %s.\n\n| what | who | ms | rate | of the peak | notes |\n|---|---|---|---|---|---|\n' "$python" "$torch" >> "$table"
case $torch in 'no torch'*) with_torch= ;; *) with_torch=1 ;; esac

# ---- 1: is it right? ----

if [ "$emulated" ]; then
    programs=$build/test_cuda short=few bench="$build/emulated_bench --tiny"
    once='attention forward 1 16 2 1 32'
else
    build=$build/$arch short= bench=$build/gpu_bench once='step gpt2-124m 8 1024 1'
    if [ "$with_torch" ]; then          # what torch.compile makes of the steps is kept, and is there when the contest begins
        timeout 120 "$python" test/torch_cuda.py bf16 cuda 'step gpt2-124m 32 1024' 'step gpt2-124m 64 1024' \
            'step llama3.2-1b 8 2048' > "$out/gpu_torch.log" 2>&1 < /dev/null &
        warming=$!
    fi
    find_cublas
    # What another compiler warns of is no reason to lose the run: make test_cuda is where warnings are errors.
    part build 170 "$make" -k -j8 BUILD="$build" NVCC="$nvcc" GENCODE="-arch=$arch" WARN= NVFLAGS="-x cu -std=c++20 -O3" $cublas \
        gpu_programs
    if [ "$code" -ne 0 ]; then
        row build "$arch" '' '' '' "**failed**: exit code $code"
        bad 1
        [ "$with_torch" ] && kill "$warming" 2> /dev/null
    fi
    programs=$(ls "$build"/gpu_test_* 2> /dev/null | grep -v '\.o$')
fi
# tested NAME: the part that has just run is a test: its line "N passed, N failed", and what ran it, are a row.
tested() {
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    where=$(sed -n 's/^kernels run on //p' "$log" | head -n 1)
    row "$1" "$where" '' '' '' "${line:-**no result**}, exit code $code, $said"
    n=${line%% passed*} f=${line##*passed, } f=${f%% failed*}
    if [ -z "$line" ] || [ $((n + f)) -eq 0 ]; then bad 1               # nothing tested is nothing passed
    else
        good "$n"
        if [ "$f" -ne 0 ]; then bad "$f"; elif [ "$code" -ne 0 ]; then bad 1; fi
    fi
}
for program in $programs; do
    part "$(basename "$program")" 70 "$program" $short
    tested "$(basename "$program") $short"
done
if [ ! "$emulated" ]; then
    part test_device 75 env BUILD="$build" AT="$build/" STEPS=40 SEQ=96 BATCH=16 sh test/test_device.sh
    tested 'all stages on the GPU, on the CPU, and in turns'
fi

# ---- 2: how fast is it? ----

if [ "$with_torch" ]; then
    [ "$emulated" ] || wait "$warming"
    contender="--torch $python"
else
    contender=
    row torch "$python" '' '' '' "left out: $torch"
fi
part contest 210 $bench $contender --markdown "$table" --only copy product step decode speak attention
[ "$code" -eq 0 ] || { row contest "" '' '' '' "ended early: exit code $code, $said"; bad 1; }
part profile 30 $bench --markdown "$table" --only profile
[ "$code" -eq 0 ] || { row profile "" '' '' '' "ended early: exit code $code, $said"; bad 1; }

# ---- 3: races, places out of bounds, numbers that nobody wrote, barriers ----

first=${programs%%
*}
for tool in memcheck racecheck initcheck synccheck; do
    if ! have compute-sanitizer; then row "compute-sanitizer $tool" '' '' '' '' 'left out: it is not installed'; continue; fi
    limit=30
    [ $tool = memcheck ] && limit=45
    part "sanitizer $tool" $limit compute-sanitizer --tool $tool --error-exitcode 9 "$first" few
    line=$(grep -E '(ERROR|RACECHECK) SUMMARY' "$log" | tail -n 1 | sed 's/^=* *//')
    row "compute-sanitizer $tool" 'short list' '' '' '' "${line:-no summary}, exit code $code, $said"
    case $code in
    0) good 1 ;;
    124 | 125) ;;                       # no verdict
    *) if [ -z "$line" ] || grep -q 'Device not supported' "$log"; then echo "SKIP: compute-sanitizer $tool does not run here"
        else bad 1; fi ;;
    esac
done

# ---- 4: what the heaviest kernels wait for ----

if have ncu; then
    known=$(timeout 20 ncu --query-metrics 2> /dev/null) metrics=gpu__time_duration.sum
    for metric in sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active \
        sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active sm__throughput.avg.pct_of_peak_sustained_elapsed \
        dram__throughput.avg.pct_of_peak_sustained_elapsed sm__warps_active.avg.pct_of_peak_sustained_active \
        l1tex__data_bank_conflicts_pipe_lsu.sum smsp__average_warp_latency_issue_stalled_long_scoreboard.pct \
        launch__registers_per_thread; do
        if printf '%s\n' "$known" | grep -q "^${metric%%.*}"; then metrics=$metrics,$metric; fi
    done
    part ncu 50 ncu --csv --clock-control none --print-kernel-base function --metrics "$metrics" -c 8 \
        -k 'regex:^(attention_forward|attention_backward|head_backward|norm_backward)_kernel$' $bench --once "$once"
    # A line for each kernel and metric; columns by the names in the head.
    awk -F '","' '
        /^"ID"/ { for (i = 1; i <= NF; i++) { gsub(/"/, "", $i); column[$i] = i } next }
        column["Metric Name"] && /^"[0-9]+"/ {
            for (i = 1; i <= NF; i++) gsub(/"/, "", $i)
            id = $1; name[id] = $column["Kernel Name"]; value = $column["Metric Value"]; unit = $column["Metric Unit"]
            if ($column["Metric Name"] == "gpu__time_duration.sum") {
                gsub(/,/, "", value)
                ms[id] = value * (unit ~ /^n/ ? 1e-6 : unit ~ /^u/ ? 1e-3 : unit ~ /^m/ ? 1 : 1e3)
            } else note[id] = note[id] (note[id] ? ", " : "") $column["Metric Name"] " " value " " unit
            if (!(id in seen)) { seen[id] = 1; order[++n] = id }
        }
        END { for (i = 1; i <= n; i++) { id = order[i]; printf "| ncu | %s | %.4g | | | %s |\n", name[id], ms[id], note[id] } }
    ' "$log" > "$out/gpu_ncu.md"
    if [ -s "$out/gpu_ncu.md" ]; then cat "$out/gpu_ncu.md" >> "$table"; good 1
    else row ncu '' '' '' '' "no figures: exit code $code, $said: $(grep -m 1 '==ERROR==\|==WARNING==' "$log" | cut -c 1-120)"; fi
    rm -f "$out/gpu_ncu.md"
else
    row ncu '' '' '' '' 'left out: it is not installed'
fi

[ "$emulated" ] || printf '\nClocks at the end: %s, %s.\n' "$(smi clocks.sm)" "$(smi power.draw)" >> "$table"
cat >> "$table" <<'EOF'

`copy BYTES`; `product WHICH N IN OUT`; `attention WHICH B T H KV D`; `step MODEL B T`: two shares of the peak, attention's masked half
not counted, and counted (PaLM's way); `decode MODEL ROWS PAST`; `speak MODEL ROWS PROMPT NEW`: ms a token. Median of blocks in turns.
EOF
cat "$table"
echo "$table, $out/gpu.log; $(elapsed) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
