#!/bin/sh
# test_quality.sh: make quality from end to end, with two steps a model: what it writes, that it goes on where it was
# broken off, what it refuses, and that the claims' signs are right. Run from the repository's root after make. Ends
# with "N passed, N failed".
. test/check.sh
quality=${QUALITY:-build/quality}
OMP_NUM_THREADS=1; export OMP_NUM_THREADS
build/tinyworld --out "$dir/world" > /dev/null 2>&1
head -c 40000 "$dir/world/pretrain/facts.txt" > "$dir/text.txt"
head -n 4 "$dir/world/eval/choice.jsonl" > "$dir/choices.jsonl"
./train_gpt --data "$dir/text.txt" --paragraphs --preset nano --vocab 300 --seq 160 --batch 4 --steps 2 --eval-every 0 \
    --threads 1 --report off --out "$dir/base" > /dev/null 2> "$dir/stderr"
check "a base model" [ -s "$dir/base/model.safetensors" ]
q=$dir/q/quality
all="env THREADS=1 PRECISION=fp32 CHOICES=$dir/choices.jsonl BASE=$dir/base OUT=$q ROWS=60 EACH=1 STEPS=2 \
    sh tools/quality.sh"
names="usual again best best-tenth tenth errors conflicts few padded facts no-text"

# ---- from end to end ----
$all > "$dir/first" 2> "$dir/said"
check "all of it" [ $? -eq 0 ]
for name in $names; do
    check "$name: a model" [ -s "$q/seed1/$name/model.safetensors" ]
    check "$name: its answers" [ -s "$q/seed1/$name.answers" ]
done
check "each was trained once" [ "$(grep -c '^seed 1, .*: [0-9]* s$' "$dir/said")" -eq 11 ]
check "as long as the others" [ "$(for n in $names; do wc -l < "$q/seed1/$n/log.csv"; done | sort -u)" -eq 3 ]
check "the same records in another order" cmp -s "$q/seed1/usual.jsonl" "$q/seed1/again.jsonl"
cmp -s "$q/seed1/usual/model.safetensors" "$q/seed1/again/model.safetensors"
check "are another model" [ $? -ne 0 ]
check "no prompt of the questions is trained" sh -c "! cut -d, -f2-3 '$q/prompts.jsonl' | sed 's/^ /{/' |
    grep -qFf - '$q/seed1/usual.jsonl'"
check "the page has its part" grep -q "What makes data good?" "$dir/q/report.html"
check "and its drawing" grep -q "<figcaption>Right, share of the prompts" "$dir/q/report.html"
check "and the claims" grep -q "No inter-conflicts" "$dir/q/report.html"

# ---- again, and broken off ----
cp "$q/seed1/few.answers" "$dir/few"
$all > "$dir/second" 2> "$dir/said"
check "all have answered" [ "$(grep -c 'has answered$' "$dir/said")" -eq 11 ]
check "the same table" cmp -s "$dir/first" "$dir/second"
rm "$q/seed1/few.answers"
$all > "$dir/second" 2> "$dir/said"
check "what was broken off is made" [ "$(grep -c 'has answered$' "$dir/said")" -eq 10 ]
check "and is the same" cmp -s "$dir/few" "$q/seed1/few.answers"
echo >> "$dir/choices.jsonl"
$all > /dev/null 2> "$dir/said"
check "other choices: all again" [ "$(grep -c 'has answered$' "$dir/said")" -eq 0 ]

# ---- the signs ----
# right FILE: every prompt answered as it should be, and all choices right
right() {
    sed 's/.*"instruction": "\(.*\)", "input": "\(.*\)", "output": \(.*\), "gold": .*/\1|\2|\3/' "$q/prompts.jsonl" |
        awk -F'|' '{ printf "{\"model\": \"x\", \"prompt\": \"%s%s\", \"answer\": %s, \"stopped\": true}\n", $1,
                      $2 == "" ? "" : "\\n" $2, $3 }'
    for i in 1 2 3 4; do echo '{"model": "x", "gold": 1, "logp": [-9, -1, -9, -9]}'; done
}
table="$quality --out $q --seeds 1 --steps 2"
for name in usual again errors; do right > "$q/seed1/$name.answers"; done
$table > "$dir/table" 2> "$dir/stderr"
check "judged" [ $? -eq 0 ]
check "all right" grep -q "^as they are  .* 1\.000 \[" "$dir/table"
check "all known" grep -q "^as they are  .* 1\.000 \[0.510 1.000\]$" "$dir/table"
check "wrong answers earn more: the contrary" grep -q "^Less is more.* the contrary$" "$dir/table"
check "usual and errors alike: undecided" grep -q "^Factuality.* +0.0 % .* undecided$" "$dir/table"
check "conflicts worse: holds" grep -q "^Conflicts before errors .* +[0-9.]* .* holds$" "$dir/table"
names() { sed -n "s/  .*] $1$//p" "$dir/table" | paste -sd, - | sed 's/,/, /g; s/^$/none/'; }
said="Claims that hold: $(names holds); the contrary came out of: $(names 'the contrary');"
said="$said undecided: $(names undecided)."
check "in one sentence" grep -qF "$said" "$dir/table"
check "which is the page's" grep -qF "\"result\": \"$said" "$q/stage.json"

# ---- what is refused ----
echo '{"model": "x", "prompt": "Who am I?", "answer": "", "stopped": true}' > "$q/seed1/usual.answers"
refuses "no question of ours" 1 "usual.answers:1: no question of the tiny world" $table
head -n 1 "$dir/few" > "$q/seed1/usual.answers"
refuses "fewer answers" 1 "usual.answers" $table
mkdir "$dir/diary"; echo "years of work" > "$dir/diary/prompts.jsonl"
refuses "somebody's folder" 2 "not ours" $quality --write --out "$dir/diary"
check "it stays" [ "$(cat "$dir/diary/prompts.jsonl")" = "years of work" ]
refuses "nothing to do" 2 "nothing to do" $quality --out "$q"
refuses "a flag that would do nothing" 2 "rows would do nothing" $quality --out "$q" --seeds 1 --rows 5000

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
