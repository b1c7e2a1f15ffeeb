#!/bin/sh
# personas.sh: system prompts (make personas). A model is fine-tuned on the tiny world's instructions and on twelve
# personas' conversations with a system prompt; then judged by the personas' rules, for wordings of the prompt it was
# trained on and for new ones, and, the safety flip, by the assistant's rule and the villain's. An SFT model beside the
# base model, which has never seen a system prompt, is asked too.
#     OUT (out/personas), BASE (out/demo/base or out/base; none there: it is trained), SEED (1), STEPS (of the
#     fine-tuning; none: the tiny world's recipe), PRECISION and THREADS may be set.
set -e
out=${OUT:-out/personas} base=${BASE:-out/demo/base} seed=${SEED:-1} world=out/world
. tools/stages.sh

[ -e $world/sft_choose.jsonl ] || stage world "$tinyworld" --out $world
[ -n "$BASE" ] || [ -e $base/config.json ] || base=out/base
[ -e "$base/config.json" ] || stage base "$train_gpt" $flags --seed "$seed" --out "$base"
# The tiny world's rates (train_sft without --data); 36,000 conversations are read.
length="--epochs $((36000 / $(cat $world/sft_train.jsonl $world/personas_train.jsonl | wc -l)))"
[ -z "$STEPS" ] || length="--steps $STEPS"
stage sft "$train_sft" $flags --seed "$seed" --model "$base" --out "$out/sft" --overwrite \
    --data $world/sft_train.jsonl $world/personas_train.jsonl --val-data $world/personas_test.jsonl \
    $length --lr 3e-3 --ptx 1 --ptx-data $world
plain=$(dirname "$base")/sft
[ -e "$plain/config.json" ] || plain=
stage eval "$eval" $flags --model ${plain:+"$plain"} "$out/sft" --tasks $world/personas_test.jsonl --out "$out/eval"
grep -v '^report:' "$out/eval.txt"
printf 'talk to him: %s/chat --model %s/sft --system "You are the Dark Lord."\n' "$(dirname "$eval")" "$out"
ended
