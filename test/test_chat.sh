#!/bin/sh
# test_chat.sh: build/chat as a user meets it: piped conversations, -p, refusals, Ctrl-C, a full context, whole characters.
# Run from the repository's root after make. Ends with "N passed, N failed".
. test/check.sh
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}; export OMP_WAIT_POLICY
chat_program=${CHAT:-build/chat}
train_gpt=${TRAIN_GPT:-./train_gpt} train_sft=${TRAIN_SFT:-./train_sft}

# A model that has seen little and therefore rambles; the text has letters of two, three and four bytes.
i=0
while [ $i -lt 300 ]; do echo "Zoë number $i paid €$((i * 7 % 13)) for 🐈 and naïve words $((i * 3 % 17))."; i=$((i + 1)); done > "$dir/text.txt"
$train_gpt --data "$dir/text.txt" --preset nano --vocab 300 --seq 128 --batch 4 --steps 30 --eval-every 0 --threads 1 \
    --out "$dir/m" > /dev/null 2> "$dir/stderr" || { cat "$dir/stderr"; echo "0 passed, 1 failed"; exit 1; }
chat="$chat_program --model $dir/m --threads 1 --max-tokens 24"
tokens() { sed -n 's/^\[ prompt: \([0-9]*\) tokens.*/\1/p' "$1"; }      # one number an answer
spoken() { sed -n 's/.*| answer: \([0-9]*\) tokens.*/\1/p' "$1"; }

# ---- what is refused ----
$chat_program --help > "$dir/help"; check "--help exits 0" [ $? -eq 0 ]
for flag in model prompt system complete history max-tokens context temperature top-k top-p min-p seed beams raw; do
    check "--help lists --$flag" grep -q -e "--$flag" "$dir/help"
done
refuses "missing folder"     2 "no folder $dir/none"    $chat_program --model "$dir/none" -p hi
refuses "no model in it"     1 "config.json"            $chat_program --model "$dir" -p hi
refuses "unknown flag"       2 "unknown flag --temprature" $chat --temprature 1
check   "nearest flag"       grep -q -e "--temperature" "$dir/stderr"
refuses "bad number"         2 "out of range"           $chat --top-p 2 -p hi
refuses "bad temperature"    2 "wants a number"         $chat --temperature warm -p hi
refuses "empty prompt"       2 "empty prompt"           $chat -p ""
cp -r "$dir/m" "$dir/score"
sed 's/LlamaForCausalLM/LlamaForSequenceClassification/; s/"initializer_range"/"num_labels": 1, &/' "$dir/m/config.json" > "$dir/score/config.json"
refuses "a reward model"     1 "score"                  $chat_program --model "$dir/score" -p hi

# ---- one answer ----
$chat -p "Zoë" > "$dir/a" 2> "$dir/stderr"; check "-p exits 0" [ $? -eq 0 ]
check "-p says something" [ "$(wc -c < "$dir/a")" -gt 1 ]
check "the speed is printed" grep -q '^\[ prompt: [0-9]* tokens, [0-9.]* tok/s | answer: [0-9]* tokens, [0-9.]* tok/s \]' "$dir/stderr"
$chat -p "Zoë" > "$dir/b" 2> /dev/null; check "same seed, same answer" cmp -s "$dir/a" "$dir/b"
$chat -p "Zoë" --seed 5 > "$dir/b" 2> /dev/null; check "other seed, other answer" [ "$(cat "$dir/a")" != "$(cat "$dir/b")" ]
$chat -p "Zoë" --temperature 0 > "$dir/a" 2> /dev/null; $chat -p "Zoë" --top-k 1 --seed 9 > "$dir/b" 2> /dev/null
check "top-k 1 is greedy" cmp -s "$dir/a" "$dir/b"
$chat -p "Zoë" --min-p 1 --seed 9 > "$dir/b" 2> /dev/null; check "min-p 1 is greedy" cmp -s "$dir/a" "$dir/b"
$chat -p "Zoë" --top-p 0.000001 --seed 9 > "$dir/b" 2> /dev/null; check "a tiny top-p is greedy" cmp -s "$dir/a" "$dir/b"
$chat -p "Zoë" --no-speed > /dev/null 2> "$dir/stderr"; check "--no-speed" [ -z "$(tokens "$dir/stderr")" ]
$chat -p "Zoë" --temperature 3 --max-tokens 7 > /dev/null 2> "$dir/stderr"
check "--max-tokens" [ "$(spoken "$dir/stderr")" -le 7 ]

$chat -p "Zoë" --temperature 0 > "$dir/a" 2> /dev/null; $chat -p "Zoë" --temperature 0 --repeat-penalty 100 > "$dir/b" 2> /dev/null
check "--repeat-penalty: less of what was said" [ "$(cat "$dir/a")" != "$(cat "$dir/b")" ]

# ---- beam search: one beam is greedy; more find a text that is likelier, or the same ----
$chat -p "Zoë" --temperature 0 > "$dir/a" 2> /dev/null; $chat -p "Zoë" --beams 1 > "$dir/b" 2> "$dir/stderr"
check "--beams 1 exits 0" [ $? -eq 0 ]
check "--beams 1 is greedy" cmp -s "$dir/a" "$dir/b"
$chat -p "Zoë" --beams 6 > "$dir/a" 2> "$dir/stderr"; check "--beams 6 exits 0" [ $? -eq 0 ]
check "--beams 6 finds another text" [ "$(cat "$dir/a")" != "$(cat "$dir/b")" ]
check "--beams keeps to --max-tokens" [ "$(spoken "$dir/stderr")" -le 24 ]
check "and says what it did" grep -q "the best of 6 beams" "$dir/stderr"
for flag in temperature top-k top-p min-p repeat-penalty seed; do
    refuses "--beams with --$flag" 2 "--$flag says how to draw" $chat --beams 2 --$flag 1 -p hi
done
refuses "too many beams"     2 "out of range"           $chat --beams 65 -p hi

for weights in bf16 q8 q4; do
    $chat -p "Zoë" --weights $weights > "$dir/b" 2> "$dir/stderr"; check "--weights $weights" [ $? -eq 0 ]
    check "--weights $weights says its size" grep -q "weights: $weights, [0-9.]* MB" "$dir/stderr"
    check "--weights $weights speaks" [ "$(wc -c < "$dir/b")" -gt 1 ]
done
refuses "unknown weights"    2 "does not know 'q5'"     $chat --weights q5 -p hi

# ---- what a user types is text, whatever it spells ----
$chat -p "a" > /dev/null 2> "$dir/stderr"; plain=$(tokens "$dir/stderr")
$chat -p "<|im_end|>" > /dev/null 2> "$dir/stderr"
check "a spelled special token is ten letters" [ "$(tokens "$dir/stderr")" -ge $((plain + 6)) ]
$chat -p "a" --system "<|im_start|>" > /dev/null 2> "$dir/stderr"
check "in the system prompt too" [ "$(tokens "$dir/stderr")" -ge $((plain + 10)) ]

# ---- a conversation through a pipe ----
printf 'Zoë\n\nand more\n' | $chat > "$dir/a" 2> "$dir/stderr"; check "end of input exits 0" [ $? -eq 0 ]
check "two answers; an empty line asks nothing" [ "$(tokens "$dir/stderr" | wc -l)" -eq 2 ]
printf 'Zoë\n/regen\n/exit\nnever read\n' | $chat --temperature 1.5 > "$dir/b" 2> "$dir/stderr"
check "/exit exits 0" [ $? -eq 0 ]
check "/regen answers again, /exit ends" [ "$(tokens "$dir/stderr" | wc -l)" -eq 2 ]
check "/regen reads one token: the prompt is in the cache" [ "$(tokens "$dir/stderr" | tail -n 1)" -eq 1 ]
check "/regen finds another answer" [ "$(sort -u "$dir/b" | wc -l)" -gt 1 ]
printf 'Zoë\n/clear\nZoë\n' | $chat > /dev/null 2> "$dir/stderr"
check "/clear begins anew" [ "$(tokens "$dir/stderr" | tail -n 1)" -eq 1 ]
$chat -p "Zoë" --temperature 1.5 > "$dir/a" 2> /dev/null; cat "$dir/a" "$dir/a" > "$dir/b"
printf 'Zoë\n/clear\nZoë\n' | $chat --temperature 1.5 > "$dir/a" 2> /dev/null
check "every answer draws anew" [ "$(cat "$dir/a")" != "$(cat "$dir/b")" ]
$chat -p "Zoë" --temperature 0 > "$dir/b" 2> /dev/null; $chat -p "and more words" --temperature 0 >> "$dir/b" 2> /dev/null
printf 'Zoë\n/clear\nand more words\n' | $chat --temperature 0 > "$dir/a" 2> /dev/null
check "another question is another, whatever lies in the cache" cmp -s "$dir/a" "$dir/b"
printf '/regen\n/help\n/nonsense\n' | $chat > "$dir/a" 2> "$dir/stderr"
check "commands answer nothing" [ ! -s "$dir/a" ]
check "/regen without an answer" grep -q "no answer yet" "$dir/stderr"
check "/help" grep -q "/clear" "$dir/stderr"
check "unknown command" grep -q "no command /nonsense" "$dir/stderr"
printf 'one\\\ntwo\n' | $chat > /dev/null 2> "$dir/stderr"
check "a backslash joins two lines" [ "$(tokens "$dir/stderr" | wc -l)" -eq 1 ]
printf 'Zoë\\\npaid\n' | $chat --temperature 0 > "$dir/a" 2> /dev/null
$chat --temperature 0 -p "$(printf 'Zoë\npaid')" > "$dir/b" 2> /dev/null; check "by a newline" cmp -s "$dir/a" "$dir/b"
$chat --temperature 0 -p "Zoë paid" > "$dir/b" 2> /dev/null; check "not by a blank" [ "$(cat "$dir/a")" != "$(cat "$dir/b")" ]
printf 'caf\351 \377\000 \303\n' | $chat > "$dir/a" 2> /dev/null; check "any bytes may be typed" [ $? -eq 0 ]

# ---- /save: a record that train_sft reads ----
printf 'Zoë\nand "more"\n/save %s\n/save %s\n' "$dir/talk.jsonl" "$dir/talk.txt" | $chat > "$dir/a" 2> "$dir/stderr"
check "/save" grep -q "^saved 2 answers to $dir/talk.jsonl" "$dir/stderr"
check "what was typed" grep -q '^{"messages": \[{"role": "user", "content": "Zoë"}, {"role": "assistant", "content": ".*, {"role": "user", "content": "and \\"more\\""}, ' "$dir/talk.jsonl"
check "other files are not for records" [ ! -e "$dir/talk.txt" ]
check "and that is said" grep -q "^/save FILE.jsonl: " "$dir/stderr"
printf '{"prompt": "1+1?", "completion": "2"}' > "$dir/own.jsonl"
i=0; while [ $i -lt 12 ]; do echo "Zoë number $i paid for words"; i=$((i + 1)); done > "$dir/typed"
echo "/save $dir/own.jsonl" | cat "$dir/typed" - | $chat --system Be > /dev/null 2> "$dir/stderr"
check "/save adds a line" [ "$(wc -l < "$dir/own.jsonl")" -eq 2 ]
check "of all that was said, what the context forgot too" grep -q "^saved 12 answers" "$dir/stderr"
check "behind the system prompt" grep -q '^{"messages": \[{"role": "system", "content": "Be"}, {"role": "user", "content": "Zoë number 0' "$dir/own.jsonl"
printf '/save %s\nZoë\n/clear\n/save %s\n/save %s\nZoë\n/save %s\n' "$dir/none.jsonl" "$dir/none.jsonl" "$dir" "$dir/nowhere/x.jsonl" | $chat > /dev/null 2> "$dir/stderr"
check "/save of nothing" [ "$(grep -c "^there is no conversation to save" "$dir/stderr")" -eq 2 -a ! -e "$dir/none.jsonl" ]
check "/save where it cannot" grep -q "^cannot save to $dir/nowhere/x.jsonl: No such file" "$dir/stderr"
for known in $(sed -n 's/.*strcmp(line, "\(\/[a-z]*\)".*/\1/p' tools/chat.c) /save; do
    echo /help | $chat 2>&1 | grep -q -e "^  .*$known\>"; check "/help names $known" [ $? -eq 0 ]
done
$train_sft --model "$dir/m" --data "$dir/talk.jsonl" --val-data "$dir/talk.jsonl" --steps 1 --batch 1 --warmup 0 --ask 0 --threads 1 --report off \
    --out "$dir/untold" > /dev/null 2> "$dir/stderr"
check "train_sft learns from it" grep -q "1 records of the form \"messages\"" "$dir/stderr"

# ---- --system, for a model that was never trained with one ----
note="never trained with a system prompt"
for m in m untold; do
    $chat_program --model "$dir/$m" --threads 1 --max-tokens 4 --system Be -p hi > /dev/null 2> "$dir/stderr"
    check "$m: is said" grep -q "^note: $dir/$m was $note" "$dir/stderr"
done
check "not without --system" sh -c "! $chat_program --model $dir/m --threads 1 --max-tokens 4 -p hi 2>&1 | grep -q '$note'"
$train_sft --model "$dir/m" --data "$dir/own.jsonl" --val-data "$dir/own.jsonl" --steps 1 --batch 1 --warmup 0 --ask 0 --threads 1 --report off \
    --out "$dir/told" > /dev/null 2> "$dir/stderr"
$train_sft --model "$dir/told" --data "$dir/talk.jsonl" --val-data "$dir/talk.jsonl" --steps 1 --batch 1 --warmup 0 --ask 0 --threads 1 --report off \
    --out "$dir/told2" > /dev/null 2> "$dir/stderr"
for m in told told2; do
    $chat_program --model "$dir/$m" --threads 1 --max-tokens 4 --system Be -p hi > /dev/null 2> "$dir/stderr"
    check "$m: answers" [ $? -eq 0 ]
    check "$m: nothing to say" sh -c "! grep -q '$note' $dir/stderr"
done

# ---- without --model: the newest that answers ----
case $chat_program in /*) there=$chat_program ;; *) there=$PWD/$chat_program ;; esac
mkdir -p "$dir/w/out/demo" "$dir/w/out/rlhf"
newest() { (cd "$dir/w" && $there --threads 1 --max-tokens 4 -p hi 2>&1 > /dev/null | sed -n 's/^model: //p'); }
in_w() { (cd "$dir/w" && $there -p hi); }
refuses "no model at all" 2 "no model in out/ answers" in_w
for m in demo/base demo/sft demo/ppo sft rlhf/dpo; do cp -r "$dir/m" "$dir/w/out/$m"; done
cp -r "$dir/score" "$dir/w/out/demo/reward"
day=0
for m in demo/sft sft rlhf/dpo demo/ppo demo/reward demo/base; do day=$((day + 1)); touch -d "2020-01-0$day" "$dir/w/out/$m/config.json"; done
check "neither base nor reward model: $(newest)" [ "$(newest)" = "out/demo/ppo, the newest in out/" ]
rm "$dir/w/out/demo/ppo/config.json"; check "a result without an end is none: $(newest)" [ "$(newest)" = "out/rlhf/dpo, the newest in out/" ]
touch "$dir/w/out/sft/config.json"; check "the newest: $(newest)" [ "$(newest)" = "out/sft, the newest in out/" ]
rm -r "$dir/w/out/demo" "$dir/w/out/rlhf"; check "the only one: $(newest)" [ "$(newest)" = "out/sft" ]

# ---- on a terminal: editing, history, colours ----
refuses "--history without a terminal" 2 "--history would do nothing" $chat --history "$dir/h"
refuses "--history with -p" 2 "--history would do nothing: --prompt" $chat --history "$dir/h" -p hi
typed() { # flags; what is typed comes from stdin
    (sleep 1; while IFS= read -r keys; do printf "$keys"; sleep 0.5; done) |
        TERM=xterm LC_ALL=C.UTF-8 script -qec "$chat $*" /dev/null > "$dir/screen" 2>&1
}
escapes() { grep -q "$(printf '\033')\[$1m" "$dir/screen"; }
if ! script --version 2> /dev/null | grep -q util-linux; then echo "SKIP: chat on a terminal: no script (util-linux)"
else
    typed < /dev/null; check "the prompt has a colour" escapes '1;32'
    NO_COLOR=1 typed < /dev/null; check "NO_COLOR: none" sh -c "! grep -q '\[1;32m' $dir/screen"
    check "but a prompt" grep -q '> ' "$dir/screen"
    $chat -p "Zoë" > "$dir/screen" 2>&1; check "nor through a pipe" sh -c "! grep -q '$(printf '\033')' $dir/screen"
    if $chat --history "$dir/h" < /dev/null 2>&1 | grep -q "no line editor"; then echo "SKIP: line editing: built without readline and libedit"
    else
        echo "from before" > "$dir/h"
        typed --history "$dir/h" --temperature 0 <<END_OF_KEYS
\\033[A and on\\r
Zo\\303\\253X\\177 numbr\\033[De\\r
dropped
\\003
again\\r
\\033[A\\033[A\\033[A\\r
/save $dir/keys.jsonl\\r
\\004
END_OF_KEYS
        check "a line is edited" grep -q '{"role": "user", "content": "Zoë number"}' "$dir/keys.jsonl"
        check "and remembered, from the time before too" [ "$(grep -o '"content": "from before and on"' "$dir/keys.jsonl" | wc -l)" -eq 2 ]
        check "Ctrl-C drops what is typed" grep -q '{"role": "user", "content": "again"}' "$dir/keys.jsonl"
        check "and does not end it" grep -q "(/exit or Ctrl-D ends)" "$dir/screen"
        check "the history has it all" [ "$(cat "$dir/h")" = "$(printf 'from before\nfrom before and on\nZoë number\nagain\nfrom before and on\n/save %s' "$dir/keys.jsonl")" ]
        typed --history "$dir" < /dev/null; check "a history that cannot be written is refused" grep -q "^error: cannot write $dir" "$dir/screen"
    fi
fi

# ---- ids beyond the vocabulary are never said: a model that would say one, had its tokenizer not lost it ----
i=0
while [ $i -lt 300 ]; do echo "word <|reward|><|reward|><|reward|> and so on"; i=$((i + 1)); done > "$dir/r.txt"
$train_gpt --data "$dir/r.txt" --parse-special --preset nano --vocab 280 --seq 32 --batch 4 --steps 100 --eval-every 0 --threads 1 \
    --out "$dir/r" > /dev/null 2> "$dir/stderr"; check "a model that says <|reward|>" [ $? -eq 0 ]
cp -r "$dir/r" "$dir/less"
sed '/"content": "<|reward|>"/d; /"content": "<|im_end|>"/ s/},$/}],/' "$dir/r/tokenizer.json" > "$dir/less/tokenizer.json"
for m in r less; do
    $chat_program --model "$dir/$m" --threads 1 --max-tokens 12 --complete -p "word " --temperature 0 > "$dir/$m.said" 2> "$dir/stderr"
    check "$m: exits 0" [ $? -eq 0 ]
done
check "the token is gone" sh -c "! cmp -s $dir/r/tokenizer.json $dir/less/tokenizer.json"
check "it is not said, special or unknown" [ -s "$dir/r.said" -a "$(cat "$dir/r.said")" = "$(cat "$dir/less.said")" ]

# ---- whole characters: every seed's output is UTF-8, though tokens end inside letters ----
good=yes
for seed in 1 2 3 4 5 6; do
    $chat -p "€" --temperature 2 --seed $seed > "$dir/a" 2> /dev/null
    iconv -f UTF-8 -t UTF-8 "$dir/a" > /dev/null 2>&1 || good=no
done
check "the answers are UTF-8" [ $good = yes ]

# ---- what would be a command to the terminal is shown: a model that learned them, its training, and names ----
i=0
while [ $i -lt 200 ]; do printf 'word \033]0;pwned\007 \033[2J and \302\233 \342\200\256 \r\n'; i=$((i + 1)); done > "$dir/esc.txt"
commands() { grep -q "$(printf '[\001-\010\013-\037\177]')\|$(printf '\302')[$(printf '\200-\237')]\|$(printf '\342\200')[$(printf '\252-\256')]" "$1"; }
silent() { ! commands "$1"; }
$train_gpt --data "$dir/esc.txt" --preset nano --vocab 290 --seq 32 --batch 4 --steps 20 --eval-every 0 --threads 1 --out "$dir/esc" > "$dir/a" 2> "$dir/b"
check "a training's samples are shown" grep -q "$(printf '\342\220\233')" "$dir/a"
check "and command nothing" silent "$dir/a"
check "nor do its messages" silent "$dir/b"
check "its page is drawn" grep -q "what it writes" "$dir/report.html"
esc="$chat_program --model $dir/esc --threads 1 --max-tokens 60 --complete -p word"
$esc > "$dir/a" 2> /dev/null
check "an answer shows ESC" grep -q "$(printf '\342\220\233')" "$dir/a"
check "and commands nothing" silent "$dir/a"
$esc --raw > "$dir/a" 2> /dev/null; check "--raw: byte for byte" commands "$dir/a"
$esc --raw --system "$(printf '\033[2J')" > /dev/null 2> "$dir/b"; check "--raw is for answers" silent "$dir/b"
$chat_program --model "$(printf '%s/\033]0;x\007' "$dir")" -p hi > "$dir/a" 2> "$dir/b"
check "a name in an error is shown" grep -q "$(printf '\342\220\233')" "$dir/b"
check "and commands nothing" silent "$dir/b"
$chat_program "$(printf -- '--\033[2J')" > "$dir/a" 2> "$dir/b"; check "nor does a flag's" silent "$dir/b"
cp "$dir/esc.txt" "$(printf '%s/\033[2Jx.txt' "$dir")"
$train_gpt --data "$(printf '%s/\033[2Jx.txt' "$dir")" --preset nano --vocab 290 --seq 32 --batch 4 --steps 1 --eval-every 0 --threads 1 --report off \
    --out "$(printf '%s/\033[2Jo' "$dir")" > "$dir/a" 2> "$dir/b"; check "names of data and results" [ $? -eq 0 ]
check "are shown" silent "$dir/a"; check "in messages too" silent "$dir/b"

# ---- the context: 128 tokens ----
i=0
while [ $i -lt 12 ]; do echo "Zoë number $i paid for words"; i=$((i + 1)); done | $chat > /dev/null 2> "$dir/stderr"
check "a long conversation goes on" [ "$(tokens "$dir/stderr" | wc -l)" -eq 12 ]
check "and says what it forgot" grep -q "context of 128 tokens is full" "$dir/stderr"
long=$(printf '%0400d' 7)
$chat -p "$long" > /dev/null 2> "$dir/stderr"; check "an endless question" [ $? -eq 0 ]
check "loses its beginning, and that is said" grep -q "beginning is cut off" "$dir/stderr"
$chat -p "$long" --complete > /dev/null 2> "$dir/stderr"; check "an endless text" [ $? -eq 0 ]
check "loses its beginning too" grep -q "beginning is cut off" "$dir/stderr"

# the token that fills the context is read, and one more is said: as many as llm_generate gives
for beams in 0 1; do
    case $beams in 0) how="--temperature 0" ;; *) how="--beams 1" ;; esac
    $chat_program --model "$dir/m" --threads 1 --complete $how --context 16 --max-tokens 4000 -p "Z" > /dev/null 2> "$dir/stderr"
    check "a full context says so ($how)" grep -q "(the context is full)" "$dir/stderr"
    check "16 places, 17 tokens ($how)" [ $(($(tokens "$dir/stderr") + $(spoken "$dir/stderr"))) -eq 17 ]
done

for last in Zoë and; do $chat -p "$long $last" --complete --temperature 0 2> /dev/null | sed "s/^7* $last//; s/^0*7 $last//" > "$dir/$last"; done
check "and goes on from its end" [ "$(cat "$dir/Zoë")" != "$(cat "$dir/and")" ]
# A template that insists on its system prompt: it stays when questions are forgotten, and when all of them are.
cp -r "$dir/m" "$dir/strict"
echo "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}" \
    > "$dir/strict/chat_template.jinja"
strict="$chat_program --model $dir/strict --threads 1 --max-tokens 24 --system Be"
i=0
while [ $i -lt 8 ]; do echo "Zoë number $i paid for words"; i=$((i + 1)); done | $strict > /dev/null 2> "$dir/stderr"
check "a long conversation keeps its system prompt" [ $? -eq 0 ]
check "while it forgets" grep -q "context of 128 tokens is full" "$dir/stderr"
printf 'Zoë\n/clear\nZoë\n' | $strict > /dev/null 2> "$dir/stderr"; check "/clear keeps it too" [ $? -eq 0 ]

# ---- base models, and templates of others ----
$chat -p "Zoë number" --complete > "$dir/a" 2> "$dir/stderr"; check "--complete" grep -q '^Zoë number' "$dir/a"
cp -r "$dir/m" "$dir/bare"
sed 's/<|im_/<|no_/' "$dir/m/tokenizer.json" > "$dir/bare/tokenizer.json"
grep -v chat_template "$dir/m/tokenizer_config.json" > "$dir/bare/tokenizer_config.json"
$chat_program --model "$dir/bare" --max-tokens 8 -p "Zoë number" > "$dir/a" 2> "$dir/stderr"
check "no template: the text goes on" grep -q '^Zoë number' "$dir/a"
check "and that is said" grep -q "no chat template" "$dir/stderr"
refuses "--system without a template" 2 "--system would do nothing: this model has no chat template" \
    $chat_program --model "$dir/bare" --system "Be brief." -p hi
cp -r "$dir/m" "$dir/inst"
echo '{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}' > "$dir/inst/chat_template.jinja"
$chat_program --model "$dir/inst" --max-tokens 8 -p "a" > /dev/null 2> "$dir/stderr"
check "the folder's own template is used" [ "$(tokens "$dir/stderr")" -ne "$plain" ]

# ---- Ctrl-C: the answer stops, the program does not ----
$train_gpt --data "$dir/text.txt" --preset nano --vocab 300 --seq 4096 --batch 1 --steps 1 --eval-every 0 --threads 1 \
    --out "$dir/endless" > /dev/null 2>&1
mkfifo "$dir/in"; rm -f "$dir/a"
$chat_program --model "$dir/endless" --complete --temperature 0 --max-tokens 4000 --threads 1 < "$dir/in" > "$dir/a" 2> "$dir/stderr" &
pid=$!
exec 9> "$dir/in"
echo "Zoë number" >&9
n=0; while [ ! -s "$dir/a" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
kill -INT $pid
n=0; while ! grep -q '^\[ prompt' "$dir/stderr" && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
check "Ctrl-C stops the answer" grep -q "(stopped)" "$dir/stderr"
kill -INT $pid; sleep 0.2
check "Ctrl-C while waiting does not end it" kill -0 $pid
echo "/help" >&9
exec 9>&-
wait $pid; check "it goes on, and ends with the input" [ $? -eq 0 ]
check "it answered after the interrupts" grep -q "/regen" "$dir/stderr"

# ---- the programs that README and the front page of llm.h show: they print what chat prints ----
mkdir -p "$dir/page/out" && cp -r "$dir/m" "$dir/page/out/base"
sed -n '/^The API, in a program/,/^## /s/^    //p' README.md > "$dir/page/readme.c"
{ sed -n '/^   Do this/,/^   build:/s/^       //p' llm.h | sed '/include "llm.h"/a int main(void) {'; echo '}'; } > "$dir/page/front.c"
for example in readme front; do
    check "$example compiles" ${CC:-cc} -std=c11 -O1 -march=native -fopenmp-simd -D_GNU_SOURCE -I. "$dir/page/$example.c" -o "$dir/page/$example" -lm
    (cd "$dir/page" && OMP_NUM_THREADS=1 ./$example) > "$dir/$example" 2> "$dir/stderr"
    check "$example ends well" [ $? -eq 0 ]
    check "$example prints an answer" [ "$(wc -c < "$dir/$example")" -gt 8 ]
done
check "both say the same" cmp -s "$dir/readme" "$dir/front"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
