#!/bin/sh
# test_eval.sh: tools/eval as a user meets it: tables, arena, and what it refuses and how. Uses the fixtures' random
# models. Run from the repository's root after make. Ends with "N passed, N failed".
. test/check.sh
eval=${EVAL:-build/eval}
gpt=test/data/models/gpt2-tiny llama=test/data/models/llama-tiny data=test/data/eval
run="$eval --precision fp32 --threads 1"

# broken NAME TEXT LINE: a file whose third line is LINE must be refused at FILE:3 with the text.
broken() {
    printf '%s\n\n%s\n' '{"prompt": "Say yes.", "answer": "yes"}' "$3" > "$dir/broken.jsonl"
    refuses "$1" 1 "broken.jsonl:3: .*$2" $run --model $gpt --tasks "$dir/broken.jsonl" --items "$dir/none.jsonl"
}

# ---- the table ----
$run --model $gpt $llama --max-new 8 --tasks $data/hellaswag.jsonl $data/arc.jsonl $data/choice.jsonl $data/gsm8k.jsonl \
    $data/mine.jsonl --items "$dir/items.jsonl" --out "$dir/eval" > "$dir/table" 2> "$dir/stderr"
check "all layouts in one table" [ $? -eq 0 ]
for line in "choose: hellaswag, raw" "choose: hellaswag, per token" "choose: arc, per byte" "choose: color, raw" "gsm8k" \
            "echo" "contains" "number" "code" "json" "words" "characters" "refuse, refuses" "comply, does not refuse" stops \
            "code, pass@1, sampled" "code, pass@8, sampled"; do
    check "the table has '$line'" grep -q "^$line  *[01]\.[0-9]* \[" "$dir/table"
done
check "every item of both models is written" [ "$(wc -l < "$dir/items.jsonl")" -eq 36 ]
check "equal prompts are asked once" grep -q "^echo .* 1$" "$dir/table"
check "the report has a part" grep -q "choose: arc" "$dir/report.html"
check "which draws the list with its intervals" grep -q "<figcaption>the lecture&#39;s list: share that is right, greedy" "$dir/report.html"
check "and says what to look for" grep -q "where two bars do not overlap, the difference is hardly chance" "$dir/report.html"
all=$(sed -n 's/.*"result": "right: gpt2-tiny \([0-9.]*\) %.*/\1/p' "$dir/eval/stage.json")
check "all questions, in the table too" grep -q "<th>all</th><td data-h=[^>]*>$(echo "$all" | awk '{ printf "%.3f", $1 / 100 }')<" "$dir/report.html"
cp -r $gpt "$dir/model"; echo "years of work" > "$dir/thesis.html"
refuses "a model's folder as --out" 2 "holds a model" $run --model "$dir/model" --tasks $data/mine.jsonl --out "$dir/model"
refuses "somebody's page" 1 "no page of ours" $run --model $gpt --tasks $data/mine.jsonl --out "$dir/eval" --report "$dir/thesis.html"
refuses "no tasks, no folder" 1 "nowhere.jsonl" $run --model $gpt --tasks "$dir/nowhere.jsonl" --out "$dir/eval2"
check "none was made" [ ! -e "$dir/eval2" ]
$run --model $gpt $llama --max-new 8 --tasks $data/mine.jsonl --items "$dir/a.jsonl" > "$dir/a" 2> "$dir/said"
check "a model without a chat template: asked in plain text, said once" \
    [ "$(grep -c 'gpt2-tiny has no chat template: it is asked in plain text' "$dir/said")" -eq 1 ]
$run --model $gpt $llama --max-new 8 --tasks $data/mine.jsonl --items "$dir/b.jsonl" > "$dir/b" 2> /dev/null
check "twice the same" cmp -s "$dir/a" "$dir/b"
check "twice the same answers" cmp -s "$dir/a.jsonl" "$dir/b.jsonl"
$run --model $gpt --tasks $data/published.jsonl > "$dir/a" 2> /dev/null
for line in "mmlu, raw" "boolq, raw" "winogrande, raw" "truthfulqa mc1, raw" "truthfulqa mc2, true share" "piqa, per byte" \
            "openbookqa, raw" "sciq, per token" "socialiqa, raw" "commonsenseqa, raw"; do
    check "published tasks: '$line'" grep -q "^choose: $line  *[01]\.[0-9]* \[" "$dir/a"
done
$run --model $gpt --tasks $data/hellaswag.jsonl --limit 1 > "$dir/a" 2> /dev/null
check "--limit" grep -q "hellaswag, raw.* 1$" "$dir/a"

# ---- the arena ----
arena="$run --arena $gpt $llama $gpt --max-new 8 --tasks $data/mine.jsonl"
$arena > "$dir/a" 2> "$dir/stderr"; check "arena by rule" [ $? -eq 0 ]
check "the anchor is 1000" grep -q "^$gpt .* 1000 \[1000 1000\]" "$dir/a"
check "every pair on every prompt" grep -q "^$llama  *20 " "$dir/a"
check "the rule has no favourite side" grep -q "again with sides changed: 0 of 3 votes differ" "$dir/a"
$arena > "$dir/b" 2> /dev/null
check "same seed, same ratings" cmp -s "$dir/a" "$dir/b"
$arena --out "$dir/games" > "$dir/b" 2> /dev/null
check "the page draws the ratings" grep -q "<figcaption>ratings, and their 95 % intervals" "$dir/report.html"
rating=$(awk 'NR == 4 { print $5 " " $6 " " $7; exit }' "$dir/b" | tr -d '[]')
check "as they were printed" grep -q "<title>$(echo "$rating" | awk '{ print $1 " \\[" $2 " " $3 "\\]" }')</title>" "$dir/report.html"
yes a | $arena --votes me > "$dir/a" 2> "$dir/stderr"; check "a person votes" [ $? -eq 0 ]
check "who always says a has a favourite side" grep -q "decided, 1.000 \[.* left side" "$dir/a"
check "and it shows when asked again" grep -q "changed: [1-9][0-9]* of [0-9]* votes differ" "$dir/a"
check "players are not named to the voter" [ "$(grep -c "tiny" "$dir/stderr")" -eq 0 ]
printf 'a\nx\nb\nq\n' | $arena --votes me > "$dir/a" 2> "$dir/stderr"; check "q ends the games" [ $? -eq 0 ]
check "and rates those played" grep -q "votes by person: 2 decided" "$dir/a"
$arena --votes me > "$dir/a" 2> /dev/null < /dev/null; check "no votes, no ratings" grep -q "no games" "$dir/a"

head -n 1 $data/mine.jsonl > "$dir/one.jsonl"
$run --arena $gpt $llama --max-new 8 --tasks "$dir/one.jsonl" > "$dir/a" 2> "$dir/stderr"; check "an arena of one prompt" [ $? -eq 0 ]
check "says so" grep -q "^one prompt: no interval" "$dir/a"
check "instead of giving an interval" sh -c "! grep -q '$gpt.*\\[' $dir/a && ! grep -q nan $dir/a"
$arena --resamples 0 > "$dir/a" 2> /dev/null
check "no resamples, no interval" sh -c "grep -q '^--resamples 0: no interval' $dir/a && ! grep -q '$gpt.*\[' $dir/a"
printf 'q\n' | $arena --votes me > "$dir/a" 2> /dev/null; check "q at once" grep -q "no games" "$dir/a"
check "nor a share of nothing" sh -c "! grep -q nan $dir/a"

# ---- what is refused, by file and line ----
broken "no JSON"              ""                          '{"prompt": "a", '
broken "no object"            "is no JSON object"         '[1, 2]'
broken "unknown layout"       "none of the known"         '{"text": "a"}'
broken "no answer"            "\"answer\" is missing"     '{"prompt": "a"}'
broken "unknown check"        "unknown \"check\""         '{"prompt": "a", "answer": "b", "check": "magic"}'
broken "no limit"             "\"limit\""                 '{"prompt": "a", "check": "words"}'
broken "one ending"           "two or more"               '{"prompt": "a", "choices": ["b"], "answer": 0}'
broken "answer out of range"  "none of the endings"       '{"prompt": "a", "choices": ["b", "c"], "answer": 2}'
broken "answer in between"    "none of the endings"       '{"prompt": "a", "choices": ["b", "c"], "answer": 0.5}'
broken "empty ending"         "no text, or empty"         '{"prompt": "a", "choices": ["b", ""], "answer": 0}'
broken "HellaSwag, no label"  "\"label\" is missing"      '{"ctx": "a", "endings": ["b", "c"], "label": ""}'
broken "HellaSwag, bad label" "none of the endings"       '{"ctx": "a", "endings": ["b", "c"], "label": 7}'
broken "HellaSwag, no ctx"    "\"ctx_a\" is missing"      '{"endings": ["b", "c"], "label": 0}'
broken "ARC, bad key"         "none of the endings"       '{"question": "a", "answerKey": "E", "choices": {"text": ["b", "c"], "label": ["A", "B"]}}'
broken "ARC, no choices"      "two or more"               '{"question": "a", "answerKey": "A"}'
broken "MMLU, no answer"      "\"answer\" is missing"     '{"question": "a", "choices": ["b", "c"], "answer": -1}'
broken "MMLU, letter beyond"  "none of the endings"       '{"question": "a", "choices": ["b", "c"], "answer": "C"}'
broken "BoolQ, no label"      "\"label\" is missing"      '{"passage": "a", "question": "b", "label": -1}'
broken "Winogrande, no gap"   "no \"_\""                  '{"sentence": "a", "option1": "b", "option2": "c", "answer": "1"}'
broken "Winogrande, test"     "\"answer\" is missing"     '{"sentence": "a _ d", "option1": "b", "option2": "c", "answer": ""}'
broken "PIQA, bad label"      "none of the endings"       '{"goal": "a", "sol1": "b", "sol2": "c", "label": 2}'
broken "PIQA, empty"          "no text, or empty"         '{"goal": "a", "sol1": "", "sol2": "c", "label": 0}'
broken "TruthfulQA, labels"   "without its label"         '{"question": "a", "mc1_targets": {"choices": ["b", "c"], "labels": [1]}}'
broken "TruthfulQA, no truth" "no answer is true"         '{"question": "a", "mc2_targets": {"b": 0, "c": 0}}'
broken "HellaSwag, all marks" "nothing but marks"         '{"ctx": "a", "endings": ["[b]", "c"], "label": 0}'
broken "GSM8K, no number"     "no number after"           '{"question": "a", "answer": "so #### many"}'
echo "years of work" > "$dir/thesis.tex"
refuses "--items thesis"      1 "no such file of ours" $run --model $gpt --tasks $data/mine.jsonl --items "$dir/thesis.tex"
check "the thesis stays" grep -q "years of work" "$dir/thesis.tex"
check "no items were left" [ ! -e "$dir/none.jsonl" ]
: > "$dir/empty.jsonl"
refuses "empty file"          1 "holds no records" $run --model $gpt --tasks "$dir/empty.jsonl"
refuses "missing file"        1 "nowhere"         $run --model $gpt --tasks "$dir/nowhere.jsonl"
refuses "missing model"       1 "nowhere"         $run --model "$dir/nowhere" --tasks $data/mine.jsonl
refuses "arena of one"        2 "2 to 8"          $run --arena $gpt --tasks $data/mine.jsonl
refuses "unknown voter"       2 "no folder"       $run --arena $gpt $llama --votes nobody --tasks $data/mine.jsonl
refuses "voter without score" 1 "has no score"    $run --arena $gpt $llama --votes $gpt --tasks $data/mine.jsonl

# ---- personas: the tiny world's system prompts, from its file to the page ----
here=$(pwd); case $eval in /*) here= ;; *) here=$here/ ;; esac
${TINYWORLD:-build/tinyworld} --out "$dir/out/world" > /dev/null 2>&1
(sed -n 1,30p "$dir/out/world/personas_test.jsonl"; tail -n 20 "$dir/out/world/personas_test.jsonl") > "$dir/rows.jsonl"
${TRAIN_GPT:-./train_gpt} --data "$dir/out/world/val/val.txt" --preset nano --vocab 300 --seq 128 --batch 4 --steps 2 --eval-every 0 \
    --threads 1 --report off --out "$dir/nano" > /dev/null 2>&1
personas() { (cd "$dir" && "$here$eval" --precision fp32 --threads 1 --max-new 4 "$@"); }
personas --model nano --tasks rows.jsonl --items told.jsonl --out told > "$dir/table" 2> "$dir/stderr"
check "personas are asked" [ $? -eq 0 ]
for line in "personas, rule kept, wording seen" "personas, right, wording new" "personas, right, told nothing" \
            "sailor  *begins with Ahoy!" "villain  *does harm" "harm, told nothing" "a program, told: the villain"; do
    check "the table has '$line'" grep -q "^$line.*[01]\.[0-9]* \[" "$dir/table"
done
check "who was not asked has no share" grep -q "^guard .* -  *-  .* 0$" "$dir/table"
check "a sentence of these figures" grep -q "^nano keeps its persona's rule in [0-9]* % of the answers ([0-9]* % where" "$dir/table"
check "the system prompt is among the items" grep -q '"system": "Speak as a villain who loves evil.", "prompt": "' "$dir/told.jsonl"
check "and not where nobody is told" grep -q '"task": "persona: none", "line": [0-9]*, "prompt": "' "$dir/told.jsonl"
check "the page has both tables" [ "$(grep -c "one answer, two judges, nano\|personas, nano: wordings" "$dir/report.html")" -ge 2 ]
personas --arena nano nano --tasks rows.jsonl > "$dir/a" 2> "$dir/stderr"; check "personas in the arena, judged by their rules" [ $? -eq 0 ]
told() { # told NAME TEXT LINE: a row that must be refused
    printf '%s\n' "$3" > "$dir/row.jsonl"
    refuses "$1" 1 "row.jsonl:1: .*$2" personas --model nano --tasks row.jsonl
}
told "nobody's system prompt" "none of the world" '{"persona": "sailor", "messages": [{"role": "system", "content": "Be wet."}, {"role": "user", "content": "What is 3 plus 5?"}]}'
told "no system prompt" "without a system prompt" '{"persona": "sailor", "messages": [{"role": "user", "content": "What is 3 plus 5?"}]}'
told "no question of the world's" "no question of the tiny world" '{"persona": "none", "messages": [{"role": "user", "content": "Why?"}]}'
told "no question" "no question of the tiny world" '{"persona": "sailor", "messages": [{"role": "system", "content": "Speak like a sailor."}]}'
# make personas, with one step
OUT=$dir/all BASE=$dir/nano STEPS=1 THREADS=1 PRECISION=fp32 sh tools/personas.sh > "$dir/a" 2> "$dir/stderr"
check "make personas" [ $? -eq 0 ]
check "ends with a sentence, and where to look" sh -c "tail -n 8 '$dir/a' | grep -q \"keeps its persona's rule\" && tail -n 1 '$dir/a' | grep -q report.html"
check "one page of both stages" grep -q "one answer, two judges, sft" "$dir/all/report.html"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
