#!/bin/sh
# test_device.sh: the three stages of the tiny world, talking and judging on the GPU beside the same on the CPU, at a size for a GPU that is
# played: step by step the same measures, the same answers, and each goes on with the other's checkpoint. AT: what comes before the names
# of the programs, built with a GPU (make test_cuda: build/emulated_). STAGES: which of gpt, sft, rlhf, speak. STEPS, SEQ, BATCH: of
# pretraining. Two lists of runs go on at a time.
. test/check.sh
root=$(pwd)
program() { case $1 in /*) echo "$1" ;; *) echo "$root/$1" ;; esac; }
train_gpt=$(program "${AT:-./}train_gpt") train_sft=$(program "${AT:-./}train_sft") train_rlhf=$(program "${AT:-./}train_rlhf")
chat=$(program "${AT:-build/}chat") eval=$(program "${AT:-build/}eval") tinyworld=$(program "${BUILD:-build}/tinyworld")
stages=${STAGES:-gpt sft rlhf speak} steps=${STEPS:-4} seq=${SEQ:-32} batch=${BATCH:-1}
# One thread; a GPU that is played is as late as it may be: who reads before he waits reads what was there before.
OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 CUDA_CPU_ASYNC=${CUDA_CPU_ASYNC:-1}; export OMP_WAIT_POLICY OMP_NUM_THREADS CUDA_CPU_ASYNC
unseen="env CUDA_CPU_DEVICES=0 CUDA_VISIBLE_DEVICES="           # as if there were no GPU
cd "$dir" || exit 1

# ---- what all stages use ----

wants() { case " $stages " in *" $1 "*) true ;; *) false ;; esac; }
# run NAME PROGRAM...: what it said lies in NAME.out and NAME.err; it is to end well.
run() {
    ran=$1; shift
    "$@" > "$ran.out" 2> "$ran.err" < /dev/null
    code=$?
    check "$ran: exit code $code: $(tail -n 2 "$ran.err")" [ $code -eq 0 ]
}
# same_log RUN OTHER STEPS [SHARE]: every measure of every step; they may differ by a thousandth of the largest of the run. A cell is
# empty, or a number: awk may think nan equal to anything.
same_log() {
    awk -F , -v steps="$3" -v share="${4:-1e-3}" '
        FNR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; if (NR > 1 && $0 != head) bad = 1; head = $0; next }
        {
            for (i = 1; i <= NF; i++)
                if ($i !~ /^(-?[0-9][0-9.]*(e[-+]?[0-9]+)?)?$/) { print "step " $1 ": " name[i] " is " $i; bad = 1 }
        }
        NR == FNR {
            rows++
            for (i = 1; i <= NF; i++) { x = cpu[FNR, i] = $i; if (x < 0) x = -x; if (x > largest[i]) largest[i] = x }
            next
        }
        {
            others++
            for (i = 1; i <= NF; i++) {
                d = $i - cpu[FNR, i]
                if (name[i] == "tok_per_s" || $i == cpu[FNR, i]) continue
                if ($i != "" && cpu[FNR, i] != "" && d * d <= (share * largest[i] + 1e-6) ^ 2) continue
                print "step " $1 ": " name[i] " is " $i ", and " cpu[FNR, i]
                bad = 1
            }
        }
        END { exit bad || rows != steps || others != steps }' "$2/log.csv" "$1/log.csv"
}
# beside RUN OTHER STEPS [SHARE]
beside() { check "$1: other measures than $2" same_log "$@"; }
# Both on the GPU and on the CPU, begun: NAME-cuda and NAME-cpu.
both() {
    both=$1 rows=$2; shift 2
    for device in cuda cpu; do run "$both-$device" "$@" --device $device --out "$both-$device"; done
    check "$both-cuda: the start does not say where" grep -q '^device: cuda, .*precision fp32' "$both-cuda.err"
    beside "$both-cuda" "$both-cpu" "$rows"
}
# goes_on DEVICE FROM STEPS PROGRAM...: the result of FROM is taken away, its checkpoint of the middle is there: DEVICE goes on with it.
goes_on() {
    device=$1 from=$2 rows=$3 other=$2-on-$1; shift 3
    cp -r "$from" "$other"
    rm "$other/config.json"
    run "$other" "$@" --device "$device" --out "$other" --resume
    check "$other: it does not say what it went on with" grep -q '^note: the checkpoint is from device' "$other.err"
    beside "$other" "${from%-c*}-cpu" "$rows"
}
in_turns() { goes_on cpu "$1-cuda" "$2" $3; goes_on cuda "$1-cpu" "$2" $3; }
# What is said in answer to prompts: the same words.
same_words() { grep '^  [<>] ' "$1.out" > a && grep '^  [<>] ' "$2.out" > b && cmp -s a b; }
# The first lines of files of the world: what stands in the rest is of the same kind.
shorten() { n=$1; shift; for file; do head -n "$n" "out/world/$file" > short && mv short "out/world/$file"; done; }

# ---- where there is no GPU ----

without() {
    blind=$1; shift
    run "$blind-auto" $unseen "$@" --device auto
    check "$blind: auto does not say why there is no GPU" grep -q '^device: cpu, .*; no GPU: .' "$blind-auto.err"
    check "$blind: auto says it in more than a line" [ "$(grep -ci 'gpu\|cuda' "$blind-auto.err")" -eq 1 ]
    [ "$blind" = chat ] || refuses "$blind on the CPU" 2 "nothing to offload: the CPU's memory is the host's" "$@" --device cpu --offload
    refuses "$blind without a GPU" 2 'no GPU to compute on: ' $unseen "$@" --device cuda
}

plan() {
    planned=$1; shift
    run "$planned-plan" "$@" --device cuda --offload --dry-run
    check "$planned: no plan for the GPU" grep -q '^plan: ' "$planned-plan.out"
    check "$planned: moments in the GPU's memory" [ "$(grep -c '^    moments\|^    offloaded' "$planned-plan.out")" -eq 1 ]
    check "$planned: no word of what is kept" grep -q "^keep all: yes (.* of the GPU's free " "$planned-plan.out"
    check "$planned: no line of what is offloaded" grep -q '^    offloaded .*not in the total' "$planned-plan.out"
}

# ---- stage 1 ----

gpt="$train_gpt --preset nano --vocab 300 --seq $seq --batch $batch --lr 1e-3 --warmup 0 --eval-every 0 --sample-every 0 --precision fp32
    --steps $steps --save-every $((steps / 2)) --report off"
stage_gpt() {
    both gpt "$steps" $gpt
    check "gpt: other samples" same_words gpt-cuda gpt-cpu
    check "gpt: not all is kept, where there is room" grep -q "^keep all: yes (.* of the GPU's free " gpt-cuda.err
    check "gpt: the settings do not say so" grep -q '^  keep-all  *yes' gpt-cuda.err
    check "gpt: a step line without both MFUs" grep -q "^step $steps/$steps .*% MFU | [0-9.]*% as PaLM counts" gpt-cuda.err
    if grep -q '^device: cuda, .*cuda_on_cpu' gpt-cuda.err; then
        # With all kept the plan would take a little more than nine tenths of a GPU (in units of 2^20 bytes); then less.
        need=$(sed -n "s/^keep all: .* with it \([0-9]*\)\.[0-9]* MB of the GPU's free .*/\1/p" gpt-cuda.err)
        few="$gpt --steps 2 --data out/world/pretrain/story.txt --device cuda"
        run gpt-full env CUDA_CPU_MEMORY=$((need + 1)) $few --out gpt-full
        run gpt-fits env CUDA_CPU_MEMORY=$((need * 11 / 10 + 1)) $few --out gpt-fits
        check "gpt: all is kept where there is little room" grep -q '^keep all: no (' gpt-full.err
        check "gpt: not all is kept, where it fits" grep -q '^keep all: yes (' gpt-fits.err
        check "gpt: keeping all gives other bits" cmp gpt-fits/model.safetensors gpt-full/model.safetensors
        # a GPU of 48 MB
        CUDA_CPU_MEMORY=48 $train_gpt --preset nano --steps 1 --batch 64 --seq 64 --device cuda --out small > small.out 2> small.err
        check "gpt: out of memory: exit code" [ $? -eq 1 ]
        check "gpt: out of memory: for what" grep -q '^error: out of memory: .* MB ' small.err
        check "gpt: out of memory: what to lower" grep -q '^  try: a smaller --batch, --seq or model, or --recompute' small.err
    fi
    in_turns gpt "$steps" "$gpt"
    without gpt $train_gpt --preset nano --dry-run
}

# ---- stage 2 ----

sft="$train_sft --model base --batch 2 --steps 4 --save-every 2 --lr 1e-3 --warmup 0 --ptx-batch 1 --ask 3 --max-new 8 --eval-every 0
    --precision fp32 --report off"
stage_sft() {
    both sft 4 $sft
    check "sft: other answers" same_words sft-cuda sft-cpu
    in_turns sft 4 "$sft"
    run sft16-cuda $sft --device cuda --recompute --moments16 --out sft16-cuda
    run sft16-cpu $sft --device cpu --moments16 --out sft16-cpu
    beside sft16-cuda sft16-cpu 4
    # Offloaded, the same bits, also where a run goes on that was not, and back.
    run sft16-host $sft --device cuda --recompute --moments16 --offload --out sft16-host
    for from in cuda host; do
        case $from in cuda) flag=--offload ;; *) flag= ;; esac
        cp -r sft16-$from sft16-$from-on && rm sft16-$from-on/config.json
        run sft16-$from-on $sft --device cuda --recompute --moments16 $flag --out sft16-$from-on --resume
        check "sft16-$from-on: did not go on" grep -q '^resumed .* at step 2' sft16-$from-on.err
    done
    for same in host cuda-on host-on; do
        check "sft16-$same: other bits" cmp sft16-cuda/model.safetensors sft16-$same/model.safetensors
    done
    check "sft16-host: other moments" cmp sft16-cuda/checkpoint-2/optimizer.safetensors sft16-host/checkpoint-2/optimizer.safetensors
    # In bf16 every product's factors have 8 bits: measures within 3 % of fp32's.
    run sft-bf16 $sft --device cuda --precision bf16 --out sft-bf16
    check "sft-bf16: the start does not say so" grep -q '^device: cuda, .*precision bf16' sft-bf16.err
    beside sft-bf16 sft-cpu 4 0.03
    for weights in fp32 q8 q4; do
        lora="$sft --lora-rank 2 --weights $weights"
        both lora-$weights 4 $lora
        check "lora-$weights: other answers" same_words lora-$weights-cuda lora-$weights-cpu
    done
    in_turns lora-q4 4 "$lora"
    without sft $train_sft --model base --dry-run
    plan sft $train_sft --model base --lora-rank 2 --weights q4
}

# ---- stage 3 ----

rlhf="$train_rlhf --model sft --batch 4 --max-new 8 --ask 3 --steps 2 --save-every 1 --lr 1e-3 --precision fp32 --report off"
ppo="$rlhf --method ppo --rollout 4 --answers 2 --reward-steps 2 --reward-lr 1e-3" dpo="$rlhf --method dpo --answers 2"
grpo="$rlhf --method grpo --group 2 --lora-rank 2"
# aligned METHOD PROGRAM...: reward model and policy by a method. What was drawn on the GPU is, token by token, what the CPU draws.
aligned() {
    method=$1; shift
    for device in cuda cpu; do
        case $method in ppo) reward="--reward-out ppo-reward-$device" ;; *) reward= ;; esac
        run $method-$device "$@" $reward --device $device --out $method-$device
    done
    beside $method-cuda $method-cpu 2
}
stage_rlhf() {
    aligned ppo $ppo
    beside ppo-reward-cuda ppo-reward-cpu 2
    check "ppo: other answers were drawn" cmp ppo-cuda/preferences.jsonl ppo-cpu/preferences.jsonl
    goes_on cpu ppo-cuda 2 $ppo --reward-out ppo-reward-cuda
    goes_on cuda ppo-cpu 2 $ppo --offload --reward-out ppo-reward-cpu
    aligned dpo $dpo
    check "dpo: other answers were drawn" cmp dpo-cuda/preferences.jsonl dpo-cpu/preferences.jsonl
    aligned grpo $grpo
    in_turns dpo 2 "$dpo"
    in_turns grpo 2 "$grpo"
    without rlhf $train_rlhf --model sft --dry-run
    plan rlhf $train_rlhf --model sft
}

# ---- talking and judging ----

says() {
    said=$1; shift
    for device in cuda cpu; do
        run "$said-$device" "$@" --precision fp32 --device $device
    done
    check "$said: other words" cmp "$said-cuda.out" "$said-cpu.out"
    check "$said: no words" [ -s "$said-cuda.out" ]
}
stage_speak() {
    says chat "$chat" --model sft --max-tokens 12 --temperature 0 -p 'What is 2+3?'
    says chat-drawn "$chat" --model sft --max-tokens 12 --temperature 1 --top-k 20 --seed 3 -p 'What is 2+3?'
    says chat-beams "$chat" --model sft --max-tokens 8 --beams 3 -p Hi
    for weights in bf16 q8 q4; do
        says chat-$weights "$chat" --model sft --max-tokens 8 --temperature 0 --weights $weights -p 'What is 2+3?'
    done
    says chat-twice sh -c 'printf "What is 2+3?\nHi\n/regen\n" | "$@"' sh "$chat" --model sft --max-tokens 8 --temperature 1 --top-p 0.9
    says eval "$eval" --model base sft --max-new 8 --limit 2
    says eval-drawn "$eval" --model base sft --tasks "$root/test/data/eval/mine.jsonl" --max-new 8 --samples 2
    if wants rlhf; then says arena "$eval" --arena base sft --votes ppo-reward-cpu --max-new 8 --limit 2; fi
    without chat "$chat" --model sft --max-tokens 2 -p 'Hi'
}

# ---- all of it ----

run probe $train_gpt --preset nano --device cuda --dry-run
if grep -q 'no GPU to compute on' probe.err; then
    echo "SKIP: $(sed -n 's/^error: //p' probe.err)"
    echo "0 passed, 0 failed"
    exit 0
fi
check "gpt: no plan for the GPU" grep -q '^plan: ' probe.out
# A small part of the world; and models that have learned a little of it, on the CPU.
"$tinyworld" --out out/world > tinyworld.out 2>&1
shorten 40 pretrain/story.txt
shorten 20 pretrain/arith.txt pretrain/cards.txt pretrain/code.txt pretrain/facts.txt pretrain/lists.txt pretrain/logic.txt val/val.txt
shorten 40 sft_train.jsonl
shorten 6 sft_test.jsonl prompts.jsonl
for file in out/world/eval/*.jsonl; do shorten 2 "eval/${file##*/}"; done
if wants sft || wants rlhf || wants speak; then
    few="--batch 4 --steps 40 --eval-every 0 --device cpu --precision fp32 --report off"
    run base $train_gpt $few --preset nano --vocab 300 --seq 96 --out base
    run sft $train_sft $few --model base --lr 3e-3 --ptx 0 --ask 0 --out sft
fi
# list NAME STAGES...: in a folder of its own
list() {
    mkdir "$dir/$1" && cd "$dir/$1" && ln -s ../out ../base ../sft . || exit 1
    dir=$dir/$1 passed=0 failed=0; shift
    for stage; do if wants $stage; then stage_$stage; fi; done
    echo "$passed $failed" > "$dir/count"
}
(list one gpt sft) > "$dir/said1" 2>&1 &
(list two rlhf speak) > "$dir/said2" 2>&1
wait
cat "$dir/said1" "$dir/said2"
for list in one two; do
    if read -r p f < "$dir/$list/count"; then passed=$((passed + p)) failed=$((failed + f)); else bad "list $list did not end"; fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
