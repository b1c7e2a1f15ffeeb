#!/bin/sh
# hacking.sh: how a reward is gamed (make hacking), on the tiny world, into out/hacking. First a learnt judge: PPO for a
# reward model's score at four prices of distance (KL), Goodhart's curve. Then two judges with a planted hole, one that
# pays for length and one that pays for politeness (tools/loophole.h): PPO with the hole open, at a price of KL (leash),
# and with the hole closed; a table of each, and the path of the report.
# OUT, MODEL (the SFT model; none: one is trained), STEPS (of a run at a hole), SWEEP (steps of a run of the sweep; 0: no
# sweep), HOLES, ASK (held-out prompts), SEED, PRECISION (auto, fp32, bf16x3, bf16) and THREADS (0: all cores) may be set.
# JUDGE=mine: nothing but your own judge, its models beside those that lie there already.
set -e
out=${OUT:-out/hacking}
model=${MODEL:-$out/sft}
# hole NAME JUDGE PRICE RUN: PPO for the points of a judge; RUN is the folder of its model
hole() {
    mkdir -p "$out/$1"
    stage "$1-$4" "$train_rlhf" $train --method ppo --model "$model" \
        --reward-command "$loophole --hole $1 --judge $2" --kl "$3" --steps "${STEPS:-50}" --lr 5e-4 --ask "${ASK:-800}" --report off --out "$out/$1/$4"
}
refuse() { printf 'error: %s\n  try: %s\n' "$1" "$2" >&2; exit 2; }

holes=${HOLES:-length politeness}
for which in $holes; do
    case $which in length | politeness) ;; *) refuse "no judge has a hole called $which" "HOLES='length politeness'" ;; esac
done
case ${JUDGE:-ours} in ours | mine) ;; *) refuse "JUDGE=$JUDGE is nobody's" "JUDGE=mine, or none" ;; esac
if [ -n "$MODEL" ] && [ ! -e "$MODEL/config.json" ]; then refuse "MODEL=$MODEL is no model" "make demo, then MODEL=out/demo/sft"; fi
. tools/stages.sh
train="$flags --overwrite --seed ${SEED:-1}"
if [ ! -e "$model/config.json" ]; then
    stage base "$train_gpt" $train --out "$out/base"
    stage sft "$train_sft" $train --model "$out/base" --out "$model"
fi
if [ "$JUDGE" = mine ]; then
    for which in $holes; do hole "$which" mine 0 mine; done
else
    [ "${SWEEP:-100}" -eq 0 ] || stage sweep "$train_rlhf" $train --sweep-kl --steps "${SWEEP:-100}" --model "$model" \
        --ask "${ASK:-800}" --reward-out "$out/reward" --out "$out/sweep"
    for which in $holes; do
        hole "$which" open 0 open
        hole "$which" open 0.2 leash
        hole "$which" closed 0 closed
    done
fi
for which in $holes; do
    stage "$which" "$loophole" $flags --hole "$which" --sft "$model" --ask "${ASK:-800}" --out "$out/$which"
done

if [ "$JUDGE" != mine ] && [ "${SWEEP:-100}" -gt 0 ]; then
    printf '\n-- a learnt judge (RM): the cheaper distance (KL), the better by RM; and by the true rule (true R)?\n'
    sed -n '/^ .*true R/,$p' "$out/sweep.txt" | grep -v '^report:'
fi
for which in $holes; do
    printf '\n-- a judge that pays for %s: open; on a leash (KL costs 0.2 a nat); closed\n' "$which"
    grep -v '^report:' "$out/$which.txt"
done
ended
