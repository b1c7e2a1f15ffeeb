#!/bin/sh
# demo.sh: the whole lecture in one command (make demo): pretraining, fine-tuning, reward model, PPO and DPO on the tiny
# world, into out/demo; then one table of all models, the arena, and the path of the report. OUT, PRECISION (auto, fp32,
# bf16x3, bf16) and THREADS (0: all cores) may be set. Two runs of the same binaries give the same numbers.
set -e
out=${OUT:-out/demo}
. tools/stages.sh

stage base   "$train_gpt" $flags --out "$out/base" --overwrite
stage sft    "$train_sft" $flags --model "$out/base" --out "$out/sft" --overwrite
stage ppo    "$train_rlhf" $flags --method ppo --model "$out/sft" --reward-out "$out/reward" --out "$out/ppo" --overwrite
stage dpo    "$train_rlhf" $flags --method dpo --model "$out/sft" --reward "$out/reward" --out "$out/dpo" --overwrite
stage eval   "$eval" $flags --model "$out/base" "$out/sft" "$out/ppo" "$out/dpo" --out "$out/eval"
stage arena  "$eval" $flags --arena "$out/sft" "$out/base" "$out/ppo" "$out/dpo" --out "$out/arena"
stage judge  "$eval" $flags --arena "$out/sft" "$out/base" "$out/ppo" "$out/dpo" --votes "$out/reward" \
                        --out "$out/judge"

printf '\n'
for name in base sft ppo dpo; do
    printf '%s\n' "-- $name"
    grep -E '^(floor|grammar|validation|  reward model|  ceiling|sft |ppo |dpo )|win-rate' "$out/$name.txt" || true
done
printf '%s\n' "-- the lecture's list"
grep -v '^report:' "$out/eval.txt"
printf '%s\n' "-- the arena, once by the true rule and once by the reward model"
grep -h -v '^report:' "$out/arena.txt" "$out/judge.txt"
ended
