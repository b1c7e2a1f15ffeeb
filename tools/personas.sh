#!/bin/sh
# personas.sh: system prompts (make personas). A model is fine-tuned on the tiny world's instructions and on twelve
# personas' conversations with a system prompt; then judged by the personas' rules, for wordings of the prompt it was
# trained on and for new ones, and, the safety flip, by the assistant's rule and the villain's. Into out/personas. The base
# model is make demo's, where there is one, else it is trained here; make demo's SFT model, which has never seen a system
# prompt, is asked too. OUT, SEED, PRECISION (auto, fp32, bf16x3, bf16) and THREADS (0: all cores) may be set.
set -e
out=${OUT:-out/personas} bin=${BUILD:-build} seed=${SEED:-1}
flags="--precision ${PRECISION:-auto} --threads ${THREADS:-0}"
world=out/world
began=$(date +%s)
mkdir -p "$out"

# stage NAME COMMAND...: what it says goes to the screen and, its results alone, to OUT/NAME.txt.
stage() {
    name=$1; shift
    printf '\n== %s: %s\n' "$name" "$*" >&2
    "$@" > "$out/$name.txt" || { cat "$out/$name.txt"; echo "the stage $name failed" >&2; exit 1; }
}
[ -e $world/personas_train.jsonl ] || stage world $bin/tinyworld --out $world
base=out/demo/base plain=out/demo/sft
[ -e $plain/config.json ] || plain=
if [ ! -e $base/config.json ]; then
    base=$out/base
    stage base ./train_gpt $flags --seed "$seed" --out "$base" --overwrite
fi
# The tiny world's recipe (train_sft without --data), on its instructions and the personas' together.
stage sft ./train_sft $flags --seed "$seed" --model "$base" --out "$out/sft" --overwrite \
    --data $world/sft_train.jsonl $world/personas_train.jsonl --val-data $world/personas_test.jsonl \
    --epochs 8 --lr 3e-3 --ptx 0.5 --ptx-data $world
stage eval $bin/eval $flags --model $plain "$out/sft" --tasks $world/personas_test.jsonl --out "$out/eval"
grep -v '^report:' "$out/eval.txt"
printf 'talk to him: %s/chat %s/sft --system "You are the Dark Lord."\n' "$bin" "$out"
printf '%d s\nreport: %s\n' $(($(date +%s) - began)) "$out/report.html"
