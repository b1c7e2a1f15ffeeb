#!/bin/sh
# test_mpi_rlhf.sh: stage 3 on real MPI ranks. Where the passes of a step are cut alike, every method gives the bits of one rank, with
# every ZeRO; three ranks cut them otherwise and give the same losses but for rounding. 1, 2 and 3 processes, tiny models.
. test/check.sh
mpi=${BUILD:-build}/mpi
OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
mkdir "$dir/text"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    echo "Mia has $i apples. Tom has $i pears. How many are there? There are $((i + i))."
    echo "{\"prompt\": \"How many are $i and $i?\", \"completion\": \"There are $((i + i)).\"}" >> "$dir/sft.jsonl"
    echo "{\"prompt\": \"How many are $i and $i?\", \"chosen\": \"There are $((i + i)).\", \"rejected\": \"no no\"}" >> "$dir/pairs.jsonl"
    echo "{\"prompt\": \"How many are $i and $i?\", \"answer\": \"$((i + i))\"}" >> "$dir/prompts.jsonl"
done > "$dir/text/a.txt"
printf '#!/bin/sh\nwhile read -r line; do echo ${#line}; echo one >> "%s"; done\n' "$dir/asked" > "$dir/judge"
chmod +x "$dir/judge"
"$mpi/train_gpt" --data "$dir/text" --preset nano --vocab 300 --seq 48 --steps 30 --eval-every 0 --out "$dir/base" --report off > "$dir/log" 2>&1
"$mpi/train_sft" --model "$dir/base" --data "$dir/sft.jsonl" --steps 20 --ask 0 --out "$dir/sft" --report off > "$dir/log" 2>&1
check "a model to begin with" [ -f "$dir/sft/model.safetensors" ]

# aligned RANKS ZERO NAME FLAGS...: three steps of two passes each; leaves the hash of the result in $bits, the losses in $losses.
aligned() {
    ranks=$1 zero=$2 name=$3; shift 3
    timeout 120 mpirun --oversubscribe -np "$ranks" "$mpi/train_rlhf" --model "$dir/sft" --out "$dir/$name" --overwrite --steps 3 --batch 4 \
        --grad-accum 2 --max-new 10 --report off --zero "$zero" "$@" > "$dir/log" 2>&1 || tail -n 5 "$dir/log"
    bits=$(cat "$dir/$name/model.safetensors" "$dir/$name-reward/model.safetensors" 2> /dev/null | cksum)
    check "$name, $ranks ranks: a result" [ -f "$dir/$name/config.json" ]
    losses=$(cut -d , -f 1,2,4 "$dir/$name/log.csv")
}
near() { printf '%s\n%s\n' "$1" "$2" | awk -F , '$1 ~ /^[0-9]/ { for (i = 2; i <= 3; i++) { if (!(($1, i) in x)) x[$1, i] = $i
    else { d = $i - x[$1, i]; if (!(d * d <= 1e-10 * (1 + $i * $i))) wrong = 1 } } n++ } END { exit wrong || n != 6 }'; }
method() {
    name=$1; shift
    aligned 1 0 "$name" "$@"
    one=$bits first=$losses
    check "$name: three steps" [ "$(echo "$first" | wc -l)" -eq 4 ]
    for zero in $zeros; do
        aligned 2 "$zero" "$name" "$@"
        check "$name, 2 ranks, ZeRO $zero: other bits than one rank's" [ "$bits" = "$one" ]
    done
    aligned 3 1 "$name" "$@"
    check "$name, 3 ranks: other losses than one rank's: $losses, not $first" near "$losses" "$first"
}
zeros="0 2 3"
method ppo --method ppo --data "$dir/pairs.jsonl" --rollout 16 --reward-steps 3 --reward-out "$dir/ppo-reward"
method grpo --method grpo --data "$dir/prompts.jsonl" --group 2
method dpo --method dpo --data "$dir/pairs.jsonl"
zeros=0
method adapters --method dpo --data "$dir/pairs.jsonl" --lora-rank 4
method kto --method kto --data "$dir/pairs.jsonl"
method rrhf --method rrhf --data "$dir/pairs.jsonl"
method rejection --method rejection --data "$dir/pairs.jsonl" --reward-steps 3 --rounds 1 --best-of 2 --reward-out "$dir/rejection-reward"
# One program judges, rank 0's: it is asked as often as by one rank.
aligned 1 0 judged --method grpo --group 2 --data "$dir/prompts.jsonl" --reward-command "$dir/judge"
asked=$(wc -l < "$dir/asked") one=$bits
rm "$dir/asked"
aligned 2 0 judged --method grpo --group 2 --data "$dir/prompts.jsonl" --reward-command "$dir/judge"
check "a program that judges, 2 ranks: other bits" [ "$bits" = "$one" ]
check "it is asked $(wc -l < "$dir/asked") times, by one rank $asked" [ "$(wc -l < "$dir/asked")" -eq "$asked" ]
# A run that stopped goes on under other numbers: to the bits of one that did not.
set -- --model "$dir/sft" --method ppo --data "$dir/pairs.jsonl" --rollout 16 --reward-steps 3 --steps 3 --batch 4 --grad-accum 2 \
    --max-new 10 --report off --save-every 2
"$mpi/train_rlhf" "$@" --out "$dir/whole" --reward-out "$dir/whole-reward" > "$dir/log" 2>&1
timeout 120 mpirun --oversubscribe -np 2 "$mpi/train_rlhf" "$@" --out "$dir/cut" --reward-out "$dir/cut-reward" --zero 3 > "$dir/log" 2>&1
rm "$dir/cut/config.json" "$dir/cut/model.safetensors"
check "a checkpoint of two ranks" [ -f "$dir/cut/checkpoint-2/critic/optimizer.safetensors" ]
"$mpi/train_rlhf" "$@" --out "$dir/cut" --reward-out "$dir/cut-reward" --resume > "$dir/log" 2>&1 || tail -n 3 "$dir/log"
check "it was gone on from" grep -q '^resumed .*checkpoint-2 at step 2' "$dir/log"
check "ppo, begun by two ranks with ZeRO 3, ended by one: other bits" cmp -s "$dir/cut/model.safetensors" "$dir/whole/model.safetensors"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
