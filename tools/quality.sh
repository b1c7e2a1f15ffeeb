#!/bin/sh
# quality.sh: what makes data good (make quality)? One base model is fine-tuned on the tiny world's records in several
# qualities (data/tinyworld_quality.h), each time for as many steps; all models answer the same held-out prompts; of the
# answers build/quality makes a table, the lectures' claims beside what came out, and a part of the page beside OUT.
#     OUT (out/quality), BASE (out/base; none there: it is trained), SEEDS ("1"; "1 2 3": of records and training),
#     STEPS (400, of 8 rows of records and 4 of text), ROWS (3000), EACH (100 prompts of each kind), CHOICES
#     (out/world/eval/choice.jsonl), PRECISION and THREADS may be set.
# Broken off, it goes on behind the last model that has answered. What has changed since (records, base model, programs,
# flags) is trained again.
set -e
out=${OUT:-out/quality} base=${BASE:-out/base} steps=${STEPS:-400} choices=${CHOICES:-out/world/eval/choice.jsonl}
flags="--precision ${PRECISION:-auto} --threads ${THREADS:-0}"
began=$(date +%s)

# say NAME COMMAND...: runs it; what it said is shown where it fails.
say() {
    name=$1; shift
    "$@" > "$out/said.txt" 2>&1 || { tail -n 20 "$out/said.txt" >&2; echo "quality: $name failed" >&2; exit 1; }
}
# answers MODEL FILE: what it says to the prompts, and which endings it chooses.
answers() {
    say "asking $1" build/eval $flags --model "$1" --tasks "$out/prompts.jsonl" "$choices" --samples 0 --items "$2"
}
# key FILE...: what an answer depends on.
key() { cat "$base/model.safetensors" "$out/prompts.jsonl" "$choices" train_sft build/eval "$@" | cksum | tr ' ' '-'; }
# fresh NAME KEY: has it not answered yet, or with another key? Then the old answers go.
fresh() {
    [ ! -e "$1.answers" ] || [ "$(cat "$1.key" 2> /dev/null)" != "$2" ] || return 1
    rm -f "$1.key" "$1.answers"
}
# one SEED NAME: fine-tune on the records NAME, ask the model.
one() {
    at=$out/seed$1/$2 order=$1 along="--ptx 1 --ptx-batch 4 --ptx-data out/world"
    [ "$2" != again ] || order=$(($1 + 1000))
    [ "$2" != no-text ] || along="--ptx 0"
    train="$flags --steps $steps --batch 8 --lr 3e-3 --seed $order $along"
    now="$(key "$at.jsonl") $train"
    if ! fresh "$at" "$now"; then echo "seed $1, $2: has answered" >&2; return; fi
    from=$(date +%s)
    say "training $2" ./train_sft $train --model "$base" --data "$at.jsonl" --val-data "$out/prompts.jsonl" --ask 0 \
        --eval-every 0 --sample-every 0 --report off --out "$at" --overwrite
    answers "$at" "$at.answers"
    echo "$now" > "$at.key"
    echo "seed $1, $2: $(($(date +%s) - from)) s" >&2
}
if [ ! -e "$base/model.safetensors" ]; then
    echo "no base model in $base: it is trained first" >&2
    ./train_gpt $flags --out "$base" > /dev/null
fi
for seed in ${SEEDS:-1}; do
    names=$(build/quality --write --out "$out" --seed "$seed" --rows "${ROWS:-3000}" --each "${EACH:-100}")
    now="$(key) $flags"
    if fresh "$out/base" "$now"; then
        answers "$base" "$out/base.answers"
        echo "$now" > "$out/base.key"
    fi
    for name in $names; do one "$seed" "$name"; done
done
rm -f "$out/said.txt"
build/quality --out "$out" --seeds ${SEEDS:-1} --steps "$steps" --seconds $(($(date +%s) - began))
