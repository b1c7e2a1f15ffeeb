#!/bin/sh
# test_drivers.sh: the drivers as a user meets them: what they refuse and how, that a run survives kill -9, that threads do not change
# a bit. Run from the repository's root after make. Ends with "N passed, N failed".
. test/check.sh

# A small text, a small model: a step takes milliseconds.
i=0
while [ $i -lt 400 ]; do echo "The cat number $i sat on mat $((i * 7 % 13)) and saw $((i * 3 % 17)) birds."; [ $((i % 3)) -eq 0 ] && echo; i=$((i + 1)); done > "$dir/text.txt"
train_gpt=${TRAIN_GPT:-./train_gpt}
more="$train_gpt --data $dir/text.txt --paragraphs --seq 32 --batch 4 --eval-every 0 --threads 1"
gpt="$more --preset nano --vocab 300"

# ---- what is refused ----
$train_gpt --help > "$dir/help"; check "--help exits 0" [ $? -eq 0 ]
for flag in data val-data model out steps batch seq grad-accum lr seed depth precision device threads log eval-every sample-every \
            save-every resume overwrite overfit-one-batch dry-run; do
    check "--help lists --$flag" grep -q -e "--$flag" "$dir/help"
done
refuses "unknown flag"        2 "unknown flag --stepz"          $train_gpt --stepz 3
check   "nearest flag"        grep -q -e "--steps" "$dir/stderr"
refuses "no number"           2 "whole number"                  $train_gpt --steps many
refuses "out of range"        2 "out of range"                  $train_gpt --batch 0
refuses "unknown choice"      2 "does not know 'fp8'"           $train_gpt --precision fp8
refuses "missing value"       2 "wants a value"                 $train_gpt --steps
refuses "unknown preset"      2 "no preset"                     $gpt --preset gpt-9 --out "$dir/x"
refuses "missing file"        1 "nowhere.txt"                   $train_gpt --data "$dir/nowhere.txt" --out "$dir/x"
: > "$dir/empty.txt"
refuses "empty file"          1 "empty.txt"                     $train_gpt --data "$dir/empty.txt" --out "$dir/x"
echo "too short" > "$dir/short.txt"
refuses "short text"          1 "short"                         $train_gpt --data "$dir/short.txt" --preset nano --vocab 300 --out "$dir/x"
refuses "sequence of one"     1 "rows of 1 token"                           $gpt --seq 1 --out "$dir/x"
check   "no folder was made"  [ ! -e "$dir/x" ]
refuses "a file as --out"     1 "is not a folder"               $gpt --out "$dir/text.txt/x"
refuses "no name for --out"   2 "without a name"                $gpt --out ""
# Text is read twice, a pipe only once; and a device has no end.
mkfifo "$dir/pipe.txt"
for pipe in "$dir/pipe.txt" /dev/stdin /dev/zero; do
    refuses "--data $pipe"    1 "is a pipe or a device"         $train_gpt --data "$pipe" --out "$dir/x"
    refuses "--val-data $pipe" 1 "is a pipe or a device"        $gpt --val-data "$pipe" --out "$dir/x"
done
check   "no folder was made, again" [ ! -e "$dir/x" ]
$gpt --device cuda --dry-run > "$dir/stdout" 2> "$dir/stderr"
case $? in
0) check "cuda: the plan says on which GPU" grep -q '^device: cuda, ' "$dir/stderr" ;;
*) refuses "cuda without a GPU" 2 "no GPU to compute on" $gpt --device cuda --dry-run --out "$dir/x" ;;
esac
for at in "$gpt" "${TRAIN_SFT:-./train_sft} --model $dir" "${TRAIN_RLHF:-./train_rlhf} --model $dir"; do
    refuses "nothing to offload" 2 "the CPU's memory is the host's" $at --device cpu --offload --dry-run
done
refuses "unwritable out"      1 "folder"                        $gpt --out /proc/nowhere
for flag in "--zero 1" "--tensor-parallel 2" "--rank-timeout 9"; do
    refuses "$flag alone"     2 "would do nothing: this process is alone" $gpt $flag --out "$dir/x"
done
for many in OMPI_COMM_WORLD_SIZE PMI_SIZE WORLD_SIZE; do      # of a build without MPI every rank would write into --out
    refuses "one of many"     2 "one of 4 ranks, but train_gpt was built for one process" env $many=4 $gpt --out "$dir/x"
done
refuses "resume of nothing"   2 "no complete checkpoint"        $gpt --resume --out "$dir/none"

# ---- a result, and what protects it ----
$gpt --steps 20 --out "$dir/base" > "$dir/stdout" 2> "$dir/stderr"; check "a run" [ $? -eq 0 ]
$more --preset nano --vocab 300 --steps 81 --eval-every 40 --out "$dir/lines" > "$dir/stdout" 2> "$dir/stderr"
check "the last step has its line" grep -q "^step 81/81 | " "$dir/stderr"
check "held-out text is asked at steps 40 and 80" [ "$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "val_loss") c = i } NR > 1 && $c != "" { printf "%s ", $1 }' "$dir/lines/log.csv")" = "40 80 " ]
check "its samples are not one sample" [ "$(sed -n '/^samples/,/^validation/p' "$dir/stdout" | sort -u | wc -l)" -gt 4 ]
check "what fills rows is named" grep -q '"pad_token_id": [0-9]' "$dir/lines/config.json"
LLM_AMX=0 $gpt --steps 1 --precision fp32 --out "$dir/vectors" > /dev/null 2> "$dir/stderr"
check "LLM_AMX=0: without AMX" grep -q "precision fp32 (vectors)" "$dir/stderr"
for f in config.json model.safetensors tokenizer.json tokenizer_config.json generation_config.json log.csv; do
    check "the result has $f" [ -s "$dir/base/$f" ]
done
# --device: the table that computes is named at the start, in the settings and in checkpoints; another may go on, and says so.
refuses "plain loops in bf16"  2 "do not compute in bf16"        $gpt --device plain --precision bf16 --out "$dir/x"
$gpt --device plain --steps 3 --save-every 2 --out "$dir/textbook" > /dev/null 2> "$dir/stderr"; check "--device plain" [ $? -eq 0 ]
check "the start says so" grep -q "^device: plain, .*precision fp32 (plain loops: .* slower" "$dir/stderr"
check "the settings, too" grep -q "^  device  *plain" "$dir/stderr"
check "the checkpoint, too" grep -q '"device": "plain"' "$dir/textbook/checkpoint-2/trainer_state.json"
rm -f "$dir/textbook/config.json"
$gpt --device plain --steps 3 --out "$dir/textbook" --resume > /dev/null 2> "$dir/stderr"
check "the same table goes on quietly" [ $? -eq 0 -a -z "$(grep '^note:' "$dir/stderr")" ]
rm -f "$dir/textbook/config.json"
$gpt --device cpu --precision fp32 --steps 3 --out "$dir/textbook" --resume > /dev/null 2> "$dir/stderr"
check "another table goes on" [ $? -eq 0 ]
check "... and says so" grep -q "^note: .*device plain, precision fp32.*other bits" "$dir/stderr"
check "no temporary is left" [ -z "$(find "$dir/base" -name '*.tmp')" ]
sum=$(cksum < "$dir/base/model.safetensors")
refuses "result in --out"     2 "holds a result"                $gpt --steps 20 --out "$dir/base"
check   "the three choices"   grep -q -e "--resume.*--overwrite.*--out" "$dir/stderr"
check   "result is untouched" [ "$sum" = "$(cksum < "$dir/base/model.safetensors")" ]
refuses "too long a sequence" 2 "beyond the model's context"    $more --model "$dir/base" --seq 64 --out "$dir/x"
$gpt --steps 20 --out "$dir/base" --overwrite > /dev/null 2>&1; check "--overwrite" [ $? -eq 0 ]
check   "same seed, same model" [ "$sum" = "$(cksum < "$dir/base/model.safetensors")" ]
refuses "less and more kept"  2 "recompute and --keep-all yes"  $gpt --recompute --keep-all yes --out "$dir/x"
for keep in "--recompute" "--keep-all yes"; do
    $gpt --steps 20 $keep --out "$dir/base" --overwrite > /dev/null 2>&1; check "$keep" [ $? -eq 0 ]
    check "$keep: same model" [ "$sum" = "$(cksum < "$dir/base/model.safetensors")" ]
done
$more --model "$dir/base" --steps 3 --out "$dir/more" > /dev/null 2>&1; check "--model continues a folder" [ $? -eq 0 ]

# ---- what --overwrite may not lose ----
unowned() { [ "$(cat "$1" 2> /dev/null)" = "years of work" ]; }
# thesis FOLDER: a folder of somebody's, with a result of ours in it.
thesis() {
    rm -rf "$1"; mkdir -p "$1"; cp "$dir"/base/*.json "$dir/base/model.safetensors" "$1"
    mkdir -p "$1/.git" "$1/figures" "$1/checkpoint-7" "$1/checkpoint-best"
    for f in thesis.tex .git/HEAD figures/one.svg checkpoint-7/notes.txt checkpoint-best/x; do echo "years of work" > "$1/$f"; done
}
# whole FOLDER: all of it is still there.
whole() { for f in thesis.tex .git/HEAD figures/one.svg checkpoint-7/notes.txt checkpoint-best/x; do unowned "$1/$f" || return 1; done; }
thesis "$dir/thesis"
refuses "missing data, --overwrite" 1 "nowhere.txt"  $train_gpt --data "$dir/nowhere.txt" --out "$dir/thesis" --overwrite
check   "nothing is lost by it" whole "$dir/thesis"
check   "nor is the old result" cmp -s "$dir/base/model.safetensors" "$dir/thesis/model.safetensors"
$gpt --steps 2 --out "$dir/thesis" --overwrite > /dev/null 2>&1; check "--overwrite beside a thesis" [ $? -eq 0 ]
check   "the thesis is there" whole "$dir/thesis"
check   "and a new result" sh -c "! cmp -s $dir/base/model.safetensors $dir/thesis/model.safetensors"
check   "which is whole" [ ! -e "$dir/thesis/result.replaced" -a ! -e "$dir/thesis/result.tmp" ]
refuses "--model X --out X"   2 "which this run reads"  $more --model "$dir/base" --out "$dir/base" --overwrite
check   "X is untouched" [ "$sum" = "$(cksum < "$dir/base/model.safetensors")" ]
refuses "X by another name"   2 "which this run reads"  $more --model "$dir/base" --out "$dir/more/../base/" --overwrite
ln -s base "$dir/link"
refuses "X through a link"    2 "which this run reads"  $more --model "$dir/base" --out "$dir/link" --overwrite
refuses "--out above the data" 2 "holds an input"       $gpt --out "$dir" --overwrite
refuses "--out /"             2 "holds an input"        $gpt --seq 1 --out / --overwrite
refuses "--out above --model" 2 "holds an input"        $train_gpt --data llm.h --model "$dir/base" --out "$dir" --overwrite
refuses "--out of the data"   2 "which this run reads"  $train_gpt --data "$dir" --out "$dir"
mkdir "$dir/web"; echo '{"name": "a web page"}' > "$dir/web/config.json"
refuses "somebody's config.json" 2 "no model's"         $gpt --out "$dir/web" --overwrite
check   "stays" grep -q "a web page" "$dir/web/config.json"
mkdir "$dir/logs"; echo "years of work" > "$dir/logs/log.csv"
refuses "somebody's log.csv"  1 "no log of ours"        $gpt --out "$dir/logs" --overwrite
check   "stays too" unowned "$dir/logs/log.csv"
refuses "--log thesis"        1 "no log of ours"        $gpt --log "$dir/thesis/thesis.tex" --out "$dir/x5"
refuses "--dump-batches thesis" 1 "no such file of ours" $gpt --dump-batches "$dir/thesis/thesis.tex" --out "$dir/x6"
check   "the thesis is still there" whole "$dir/thesis"
mkdir "$dir/half"; cp "$dir/base/tokenizer.json" "$dir/half"
refuses "a tokenizer in --out" 2 "holds a tokenizer.json" $gpt --out "$dir/half"
mkdir -p "$dir/peft/adapter"; echo "{}" > "$dir/peft/adapter/adapter_config.json"
refuses "adapters in --out"   2 "holds a adapter/adapter_config.json" $gpt --out "$dir/peft"
for f in model.safetensors tokenizer.json generation_config.json; do
    rm -rf "$dir/odd"; mkdir "$dir/odd"; echo "years of work" > "$dir/odd/$f"
    refuses "somebody's $f"   2 "no model's"                $gpt --out "$dir/odd" --overwrite
    check   "$f stays"        unowned "$dir/odd/$f"
done
# A temporary name may be somebody's link.
mkdir "$dir/linked"; echo "years of work" > "$dir/linked.tex"; ln -s ../linked.tex "$dir/linked/log.csv.tmp"; ln -s ../linked.tex "$dir/linked/stage.json.tmp"
$gpt --steps 2 --out "$dir/linked" > /dev/null 2>&1; check "links in --out" [ $? -eq 0 ]
check   "nothing is written through them" unowned "$dir/linked.tex"

mkdir "$dir/texts"; echo "years of work" > "$dir/texts/val.txt"
refuses "tinyworld: somebody's texts" 2 "will not be replaced" ${TINYWORLD:-build/tinyworld} --out "$dir/texts"
check   "they stay"           unowned "$dir/texts/val.txt"
for i in 1 2; do ${TINYWORLD:-build/tinyworld} --out "$dir/world" > /dev/null 2>&1; check "a world, and once more" [ $? -eq 0 ]; done
${TINYWORLD:-build/tinyworld} --out "$dir/world" > /dev/full 2>&1; check "a table on a full disk" [ $? -eq 1 ]

# ---- files that flags name ----
printf 'step,loss,lr\n1,5.5,0.1\nchapter one\n2,5.4,0.1\n' > "$dir/diary.csv"; cp "$dir/diary.csv" "$dir/diary"
printf 'step,loss and other poems\n' > "$dir/poems.csv"
cp "$dir/base/log.csv" "$dir/numbers.csv"
for log in "$dir/diary.csv" "$dir/poems.csv" "$dir/pipe.txt" /dev/full /dev/stdout "$dir/base" "$dir/base/config.json"; do
    refuses "--log $log"      1 "no log of ours"            $gpt --steps 2 --log "$log" --out "$dir/x"
    refuses "--report $log"   1 "no page of ours"           $gpt --steps 2 --report "$log" --out "$dir/x"
    refuses "--dump-batches $log" 1 "no such file of ours"  $gpt --steps 2 --dump-batches "$log" --out "$dir/x"
done
for flag in log report dump-batches; do
    refuses "--$flag in no folder" 1 "is not a folder"      $gpt --steps 2 --$flag "$dir/nowhere/x" --out "$dir/x"
done
refuses "--tensorboard below a file" 1 "is not a folder"    $gpt --steps 2 --tensorboard "$dir/text.txt/x" --out "$dir/x"
refuses "--log and --data"    2 "which this run reads"      $train_gpt --data "$dir/numbers.csv" --log "$dir/numbers.csv" --out "$dir/x"
check   "no folder was made for them" [ ! -e "$dir/x" ]
check   "the diary stays"     cmp -s "$dir/diary" "$dir/diary.csv"
$gpt --steps 2 --log "$dir/numbers.csv" --out "$dir/numbers" > /dev/null 2>&1; check "an older log may be replaced" [ $? -eq 0 ]
check   "the page finds it"   cmp -s "$dir/numbers.csv" "$dir/numbers/log.csv"
case $train_gpt in /*) program=$train_gpt ;; *) program=$PWD/$train_gpt ;; esac
(cd "$dir" && $program --data text.txt --preset nano --vocab 300 --seq 32 --steps 2 --log short.csv --out numbers2 > /dev/null 2>&1)
check   "by a short name, too" cmp -s "$dir/short.csv" "$dir/numbers2/log.csv"

# ---- what is printed is a result, too ----
$train_gpt --help > /dev/full 2> "$dir/stderr"; check "--help on a full disk" [ $? -eq 1 ]
check   "and it says so"      grep -q "^error: cannot write the output" "$dir/stderr"
$gpt --steps 2 --out "$dir/mute" > /dev/full 2> "$dir/stderr"; check "samples on a full disk" [ $? -eq 1 ]
check   "the model is saved"  [ -s "$dir/mute/config.json" ]
$gpt --steps 2 --out "$dir/closed" >&- 2> "$dir/stderr"; check "no standard output" [ $? -eq 1 ]
check   "what is printed ends in no file" sh -c "! grep -rlq '^saved' $dir/closed"

# ---- one run at a time ----
$gpt --steps 1000000 --out "$dir/busy" --log "$dir/busy.csv" > /dev/null 2>&1 & pid=$!
while [ ! -e "$dir/busy.csv" ] || [ "$(wc -l < "$dir/busy.csv")" -lt 3 ]; do sleep 0.05; done
mkdir "$dir/busy/checkpoint-9.tmp"; cp "$dir/base/config.json" "$dir/busy/checkpoint-9.tmp"
refuses "a second run"        2 "busy is in use by another run" $gpt --steps 2 --out "$dir/busy" --overwrite
refuses "by another name"     2 "in use by another run"     $gpt --steps 2 --out "$dir/base/../busy/" --overwrite
refuses "that resumes"        2 "busy is in use"            $gpt --steps 2 --out "$dir/busy" --resume
refuses "of another stage"    2 "busy is in use"            ${TRAIN_SFT:-./train_sft} --model "$dir/base" --out "$dir/busy" --overwrite
refuses "that converts"       2 "busy is in use"            ${CONVERT:-build/convert} --model "$dir/base" --out "$dir/busy"
refuses "that evaluates"      2 "busy is in use"            ${EVAL:-build/eval} --model "$dir/base" --tasks test/data/eval/choice.jsonl --out "$dir/busy"
refuses "into its log"        2 "busy.csv is in use"        $gpt --steps 2 --out "$dir/x" --log "$dir/busy.csv"
check   "the first one goes on" kill -0 $pid
kill -9 $pid; wait $pid 2> /dev/null
$gpt --steps 2 --out "$dir/busy" --log "$dir/busy.csv" > /dev/null 2> "$dir/stderr"; check "after kill -9 it is free" [ $? -eq 0 ]
check   "half a checkpoint is gone" [ ! -e "$dir/busy/checkpoint-9.tmp" ]
$gpt --steps 2 --out "$dir/race" > /dev/null 2>&1 & pid=$!
$gpt --steps 2 --out "$dir/race" > /dev/null 2>&1; one=$?
wait $pid; check "of two that begin together one is refused" [ $((one + $?)) -eq 2 ]
# An interrupted --overwrite: the old result stays, and the new one is not taken for done.
thesis "$dir/stopped"
$gpt --steps 100000 --out "$dir/stopped" --overwrite > /dev/null 2> "$dir/stderr" & pid=$!
while [ ! -e "$dir/stopped/log.csv" ] || [ "$(wc -l < "$dir/stopped/log.csv")" -lt 3 ]; do sleep 0.05; done
kill -INT $pid; wait $pid
check   "interrupted: the old result is there" cmp -s "$dir/base/model.safetensors" "$dir/stopped/model.safetensors"
steps=$(($(tail -n 1 "$dir/stopped/log.csv" | cut -d , -f 1) + 2))
[ $steps -ne 20 ] || steps=21           # 20 would be the old result once more, to the bit: the rate still rises
$gpt --steps $steps --out "$dir/stopped" --resume > /dev/null 2> "$dir/stderr"; check "and the new one comes with --resume" [ $? -eq 0 ]
check   "in its place" sh -c "! cmp -s $dir/base/model.safetensors $dir/stopped/model.safetensors"
check   "the thesis stays" whole "$dir/stopped"

# ---- what lies beside --out is a stranger's (test_report.c has more of them) ----
mkdir -p "$dir/beside/folder/stage.json" "$dir/beside/pipe" "$dir/beside/late" "$dir/beside/page" "$dir/beside/plain" "$dir/beside/zero"
mkfifo "$dir/beside/pipe/stage.json"
echo '{"stage": 1, "time": 9223372036854775807, "title": "late", "result": "x", "parts": []}' > "$dir/beside/late/stage.json"
echo '{"stage": 1, "time": 5, "title": "<script>", "result": "<b onclick=x>", "parts": []}' > "$dir/beside/page/stage.json"
printf '{"stage": 1' > "$dir/beside/plain/stage.json"
head -c 4000 /dev/urandom > "$dir/beside/zero/stage.json"
timeout 60 $gpt --steps 2 --out "$dir/beside/ours" > "$dir/stdout" 2> "$dir/stderr"; check "strange files do no harm" [ $? -eq 0 ]
check   "the page is there" grep -q "Pretraining" "$dir/beside/report.html"
check   "without their script" sh -c "! grep -q '<script\|<b onclick' $dir/beside/report.html"
mkdir "$dir/paper"; echo "years of work" > "$dir/paper/report.html"
$gpt --steps 2 --out "$dir/paper/ours" > /dev/null 2> "$dir/stderr"; check "somebody's report.html" [ $? -eq 0 ]
check   "is nobody's page of ours" unowned "$dir/paper/report.html"
mkdir "$dir/alone"; cp "$train_gpt" "$dir/alone/gpt"
$dir/alone/gpt --data "$dir/text.txt" --paragraphs --preset nano --vocab 300 --seq 32 --steps 2 --out "$dir/alone/ours" > /dev/null 2> "$dir/stderr"
check   "without build/report: a run all the same" [ $? -eq 0 -a -s "$dir/alone/ours/config.json" ]
rm -r "$dir/alone/ours"
$dir/alone/gpt --data "$dir/text.txt" --paragraphs --preset nano --vocab 300 --seq 32 --steps 2 --out "$dir/alone/ours" --report "$dir/alone/page.html" > /dev/null 2> "$dir/stderr"
check   "but no page where one was named is an error" [ $? -eq 1 -a -s "$dir/alone/ours/config.json" ]
check   "which says how to draw" grep -q "no report: make build/report, then build/report --out $dir/alone/ours" "$dir/stderr"

# ---- the report and TensorBoard's events ----
check "the report lies beside the result" grep -q "Pretraining" "$dir/report.html"
$gpt --steps 2 --out "$dir/sub/quiet" --report off --tensorboard "$dir/tb" > /dev/null 2>&1; check "--report off" [ $? -eq 0 ]
check "no report" [ ! -e "$dir/sub/report.html" ]
check "events for TensorBoard" grep -q "brain.Event:2" "$dir"/tb/quiet/events.out.tfevents.*
$gpt --steps 2 --out "$dir/sub/other" --report "$dir/page.html" > /dev/null 2>&1
check "--report FILE" grep -q "Pretraining" "$dir/page.html"
$gpt --steps 2 --out "$dir/sub/other" --overwrite --report "$dir/page.html" > /dev/null 2>&1; check "--report FILE, twice" [ $? -eq 0 ]

# ---- damaged folders ----
damage() { rm -rf "$dir/bad"; cp -r "$dir/base" "$dir/bad"; }
damage; head -c 5000 "$dir/base/model.safetensors" > "$dir/bad/model.safetensors"
refuses "truncated weights"   1 "model.safetensors"             $more --model "$dir/bad" --out "$dir/x"
damage; printf 'garbage' | dd of="$dir/bad/model.safetensors" bs=1 seek=20 conv=notrunc 2> /dev/null
refuses "corrupt header"      1 "model.safetensors"             $more --model "$dir/bad" --out "$dir/x"
damage; head -c 100 "$dir/base/config.json" > "$dir/bad/config.json"
refuses "corrupt config"      1 "config.json"                   $more --model "$dir/bad" --out "$dir/x"
damage; sed 's/"hidden_size": *64/"hidden_size": 96/' "$dir/base/config.json" > "$dir/bad/config.json"
refuses "wrong shapes"        1 "96"                            $more --model "$dir/bad" --out "$dir/x"
damage; sed 's/"num_attention_heads": *2/"num_attention_heads": 3/' "$dir/base/config.json" > "$dir/bad/config.json"
refuses "impossible heads"    1 ""                              $more --model "$dir/bad" --out "$dir/x"
damage; head -c 300 "$dir/base/tokenizer.json" > "$dir/bad/tokenizer.json"
refuses "corrupt tokenizer"   1 "tokenizer.json"                $more --model "$dir/bad" --out "$dir/x"
$train_gpt --data llm.h --preset nano --vocab 500 --seq 32 --steps 1 --out "$dir/other" > /dev/null 2>&1
damage; cp "$dir/other/tokenizer.json" "$dir/bad/tokenizer.json"
refuses "foreign tokenizer"   1 "tokens"                        $more --model "$dir/bad" --out "$dir/x"
damage; size=$(wc -c < "$dir/bad/model.safetensors")
printf '\377\377\377\377' | dd of="$dir/bad/model.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2> /dev/null
refuses "loss is no number"   1 "not a number\|not finite"      $more --model "$dir/bad" --out "$dir/x"
check   "the diverged run is no result" [ ! -e "$dir/x/config.json" ]
damage; rm "$dir/bad/model.safetensors"
refuses "missing weights"     1 "model.safetensors"             $more --model "$dir/bad" --out "$dir/x"

# ---- bytes that are no UTF-8 are text too ----
{ cat "$dir/text.txt"; printf 'caf\351 \377\376 end of it, and more of it, and more\n\n'; } > "$dir/latin.txt"
$train_gpt --data "$dir/latin.txt" --paragraphs --preset nano --vocab 300 --seq 32 --batch 4 --steps 2 --out "$dir/latin" > /dev/null 2>&1
check "invalid UTF-8 is accepted" [ $? -eq 0 ]

# ---- full disk: a file-size limit stands in for it ----
( ulimit -f 300; trap '' XFSZ; exec $gpt --steps 3 --out "$dir/full" ) > /dev/null 2> "$dir/stderr"
check "full disk is an error" [ $? -eq 1 ]
check "full disk names the file" grep -q '^error: .*cannot write' "$dir/stderr"
check "full disk leaves no result" [ ! -e "$dir/full/config.json" ]

# ---- the same bits for any number of threads, and after kill -9 ----
losses() { cut -d, -f1-4 "$1/log.csv"; }
run="$train_gpt --data $dir/text.txt --paragraphs --preset nano --vocab 300 --seq 32 --batch 4 --grad-accum 2 --eval-every 0 --steps 60"
for n in 1 2 4; do $run --threads $n --out "$dir/t$n" > /dev/null 2>&1; done
check "60 steps were logged" [ "$(losses "$dir/t1" | wc -l)" -eq 61 ]
for n in 2 4; do
    losses "$dir/t1" > "$dir/a"; losses "$dir/t$n" > "$dir/b"
    check "$n threads: same losses" cmp -s "$dir/a" "$dir/b"
    check "$n threads: same weights" cmp -s "$dir/t1/model.safetensors" "$dir/t$n/model.safetensors"
done
for delay in 0.15 0.3 0.5; do
    rm -rf "$dir/killed"
    $run --save-every 5 --threads 2 --out "$dir/killed" > /dev/null 2>&1 &
    pid=$!
    sleep $delay
    kill -9 $pid 2> /dev/null
    wait $pid 2> /dev/null
    if [ ! -e "$dir/killed/config.json" ] && ls -d "$dir"/killed/checkpoint-*[0-9] > /dev/null 2>&1; then
        $run --save-every 5 --threads 2 --out "$dir/killed" --resume > /dev/null 2> "$dir/stderr"
        check "resume after kill -9" [ $? -eq 0 ]
    else                                # killed before the first checkpoint, or after the end: nothing to resume
        $run --save-every 5 --threads 2 --out "$dir/killed" --overwrite > /dev/null 2>&1
    fi
    losses "$dir/killed" > "$dir/b"
    check "killed after $delay s: same losses" cmp -s "$dir/a" "$dir/b"
    check "killed after $delay s: same weights" cmp -s "$dir/t1/model.safetensors" "$dir/killed/model.safetensors"
done
# A kill at a certain step: stop by signal in the middle, which also must leave a checkpoint and say how to go on.
$gpt --steps 100000 --out "$dir/int" > /dev/null 2> "$dir/stderr" &
pid=$!
while [ ! -e "$dir/int/log.csv" ] || [ "$(wc -l < "$dir/int/log.csv")" -lt 5 ]; do sleep 0.05; done
kill -INT $pid
wait $pid
check "Ctrl-C exits 130" [ $? -eq 130 ]
check "Ctrl-C says how to go on" grep -q -e "--resume" "$dir/stderr"
check "Ctrl-C leaves a checkpoint" test -n "$(ls -d "$dir"/int/checkpoint-*[0-9])"
# A resume that dies while it opens the log: the steps before are still in it. And one that ends well leaves no half of a checkpoint.
steps=$(($(tail -n 1 "$dir/int/log.csv" | cut -d , -f 1) + 2)); cp "$dir/int/log.csv" "$dir/a"
( ulimit -f 0; trap '' XFSZ; exec $gpt --steps $steps --out "$dir/int" --resume ) > /dev/null 2>&1
check "no room for the log" [ $? -eq 1 ]
check "loses no line of it" cmp -s "$dir/a" "$dir/int/log.csv"
mkdir "$dir/int/checkpoint-9.tmp"; cp "$dir/base/config.json" "$dir/int/checkpoint-9.tmp"
$gpt --steps $steps --out "$dir/int" --resume > /dev/null 2>&1; check "then it goes on" [ $? -eq 0 ]
check "half a checkpoint is gone" [ ! -e "$dir/int/checkpoint-9.tmp" ]

# ---- the plan ----
$train_gpt --dry-run --preset gpt3-175b > "$dir/plan" 2> "$dir/stderr"; check "--dry-run" [ $? -eq 0 ]
check "the plan has 700 GB of weights" grep -q "69[0-9]\|70[0-9]" "$dir/plan"
$train_gpt --dry-run --preset gpt3-xl > /dev/null 2> "$dir/stderr"
check "the plan names the table's oddity" grep -q "24 heads" "$dir/stderr"

$train_gpt --dry-run --model "$dir/base" --out "$dir/dry" > "$dir/plan" 2> "$dir/stderr"; check "--dry-run --model" [ $? -eq 0 ]
check "the plan is of that model" grep -q "heads of 32 .*vocabulary 2[0-9][0-9]$" "$dir/plan"
check "--dry-run writes nothing" [ ! -e "$dir/dry" ]

# ---- overfitting one batch ----
$gpt --steps 150 --overfit-one-batch --out "$dir/overfit" > /dev/null 2>&1
check "one batch is learned by heart" awk -F, 'END { exit !($2 < 0.1) }' "$dir/overfit/log.csv"
one="$gpt --steps 30 --overfit-one-batch --grad-accum 2"
$one --out "$dir/one-gpt" > /dev/null 2>&1
$one --save-every 20 --out "$dir/one-gpt2" > /dev/null 2>&1
cut -d , -f 1-4 "$dir/one-gpt/log.csv" > "$dir/a"
$one --resume --out "$dir/one-gpt2" > /dev/null 2> "$dir/stderr"; check "train_gpt --overfit-one-batch resumes" [ $? -eq 0 ]
cut -d , -f 1-4 "$dir/one-gpt2/log.csv" > "$dir/b"
check   "with the same losses" cmp -s "$dir/a" "$dir/b"
check   "on the same batch" cmp -s "$dir/one-gpt/model.safetensors" "$dir/one-gpt2/model.safetensors"

# ---- fine-tuning, on data of our own making ----
train_sft=${TRAIN_SFT:-./train_sft}
i=0
while [ $i -lt 60 ]; do
    echo "{\"instruction\": \"say $((i % 5))\", \"input\": \"\", \"output\": \"it is $((i % 5))\"}"
    i=$((i + 1))
done > "$dir/sft.jsonl"
sft="$train_sft --model $dir/base --data $dir/sft.jsonl --batch 4 --steps 30 --eval-every 0 --threads 1"
$sft --out "$dir/sft" > "$dir/stdout" 2> "$dir/stderr"; check "train_sft on records" [ $? -eq 0 ]
check "train_sft saves a folder" [ -s "$dir/sft/config.json" ]
check "train_sft learns" awk -F, 'NR == 2 { first = $2 } END { exit !($2 < first / 2) }' "$dir/sft/log.csv"
$sft --dry-run --out "$dir/dry" > "$dir/plan" 2> "$dir/stderr"; check "train_sft --dry-run" [ $? -eq 0 ]
check "train_sft --dry-run writes nothing" [ ! -e "$dir/dry" ]
check "train_sft --dry-run has a plan" grep -q "^plan: " "$dir/plan"
refuses "sft: --model X --out X" 2 "which this run reads" $sft --out "$dir/base" --overwrite
ptx="$sft --ptx 0.5 --ptx-data $dir/text.txt --ptx-batch 2"
$ptx --out "$dir/ptx" > /dev/null 2> "$dir/stderr"; check "train_sft reads pretraining text along" [ $? -eq 0 ]
check   "and learns something else" [ "$(tail -n 1 "$dir/ptx/log.csv" | cut -d , -f 2)" != "$(tail -n 1 "$dir/sft/log.csv" | cut -d , -f 2)" ]
$ptx --save-every 20 --out "$dir/ptx2" > /dev/null 2>&1
$ptx --resume --out "$dir/ptx2" > /dev/null 2> "$dir/stderr"; check "train_sft resumes both" [ $? -eq 0 ]
check   "to the same model" cmp -s "$dir/ptx/model.safetensors" "$dir/ptx2/model.safetensors"
refuses "--ptx without text"  2 "without a text"                $sft --ptx 0.5 --out "$dir/x3"
sft1="$sft --overfit-one-batch --ptx 0.5 --ptx-data $dir/text.txt --ptx-batch 2"
$sft1 --out "$dir/one" > /dev/null 2>&1
$sft1 --save-every 20 --out "$dir/one2" > /dev/null 2>&1
$sft1 --resume --out "$dir/one2" > /dev/null 2> "$dir/stderr"; check "train_sft --overfit-one-batch resumes" [ $? -eq 0 ]
check   "on the same batch" cmp -s "$dir/one/model.safetensors" "$dir/one2/model.safetensors"
$sft --lora-rank 4 --out "$dir/lora" > /dev/null 2> "$dir/stderr"; check "train_sft with adapters" [ $? -eq 0 ]
# ---- a model that knows no conversation: Alpaca's words closed by its eos, or ChatML's tokens added ----
$train_gpt --data "$dir/text.txt" --paragraphs --preset nano --tokenizer test/data/tok/gpt2re --seq 32 --batch 4 --steps 2 --threads 1 \
    --out "$dir/gpt2re" > /dev/null 2> "$dir/stderr"; check "train_gpt with another tokenizer" [ $? -eq 0 ]
plain="$train_sft --model $dir/gpt2re --data $dir/sft.jsonl --batch 4 --steps 5 --ask 2 --max-new 4 --threads 1"
$plain --out "$dir/plain" > /dev/null 2> "$dir/stderr"; check "train_sft without chat tokens" [ $? -eq 0 ]
check   "Alpaca's template is saved" grep -q "### Response" "$dir/plain/chat_template.jinja"
refuses "--add-tokens is elsewhere" 2 "build/convert"  $plain --add-tokens --out "$dir/x7"
convert=${CONVERT:-build/convert}
refuses "convert: somebody's config.json" 2 "no model's"   $convert --model "$dir/base" --out "$dir/web" --overwrite
refuses "convert: --model X --out X" 2 "which this run reads" $convert --model "$dir/base" --out "$dir/base" --overwrite
refuses "convert: through a link" 2 "which this run reads" $convert --model "$dir/base" --out "$dir/link" --overwrite
refuses "convert: adapters into their base" 2 "which this run reads" $convert --model "$dir/lora/adapter" --out "$dir/base" --overwrite
refuses "convert: --base X --out X" 2 "which this run reads" $convert --model "$dir/lora/adapter" --base "$dir/base" --out "$dir/base" --overwrite
refuses "sft: adapters into their base" 2 "which this run reads" $train_sft --model "$dir/lora/adapter" --data "$dir/sft.jsonl" --out "$dir/base" --overwrite
refuses "convert: a tokenizer in --out" 2 "exists already" $convert --model "$dir/base" --out "$dir/half"
head -c 64 /dev/zero > "$dir/ids.bin"
for f in th.gguf th.jsonl link.gguf; do
    echo "years of work" > "$dir/th"; rm -f "$dir/$f"
    case $f in link.gguf) ln -s th "$dir/$f" ;; *) mv "$dir/th" "$dir/$f" ;; esac
    from="--model $dir/base"; [ $f = th.jsonl ] && from="--tokens $dir/ids.bin --tokenizer $dir/base"
    refuses "convert: somebody's $f" 2 "will not be replaced" $convert $from --out "$dir/$f" --overwrite
    check   "$f stays"        unowned "$dir/$f"
done
$convert --model "$dir/base" --out "$dir/base.gguf" > /dev/null 2>&1 && $convert --model "$dir/base" --out "$dir/base.gguf" --overwrite > /dev/null 2>&1
check   "convert: its own may be" [ $? -eq 0 ]
refuses "convert: ranks into ranks" 2 "which this run reads" $convert --tiktoken "$dir/ids.bin" --out "$dir/ids.bin" --overwrite
refuses "convert: a folder that is none" 1 "is not a folder" $convert --model "$dir/base" --out "$dir/ids.bin"
$convert --model "$dir/gpt2re" --add-tokens --out "$dir/tokens" > /dev/null 2> "$dir/stderr"; check "convert --add-tokens" [ $? -eq 0 ]
plain="$train_sft --model $dir/tokens --data $dir/sft.jsonl --batch 4 --steps 5 --ask 2 --max-new 4 --threads 1"
check   "they are named" grep -q "^tokens: 4 added, 1005 now" "$dir/stderr"
$plain --out "$dir/added" > /dev/null 2>&1; check "train_sft learns them" [ $? -eq 0 ]
check   "ChatML's template is saved" grep -q "im_start" "$dir/added/chat_template.jinja"
check   "the new tokens are in the tokenizer" grep -q '"content": "<|im_end|>"' "$dir/added/tokenizer.json"
$convert --model "$dir/added" --add-tokens --out "$dir/again" > /dev/null 2> "$dir/stderr"
check   "the result is a model like any other" [ $? -eq 0 ]
check   "and gets nothing twice" sh -c "! grep -q '^tokens: .* added' $dir/stderr"
refuses "new tokens, frozen rows" 2 "frozen embedding"      $plain --lora-rank 2 --out "$dir/x4"
# ---- a tokenizer with a pad behind the model's last row, as many that were added: masked places need none ----
V=$(sed -n 's/.*"vocab_size": \([0-9]*\).*/\1/p' "$dir/base/config.json")
other='"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}'
cp -r "$dir/base" "$dir/pad"; rm -rf "$dir/pad"/checkpoint-*
sed "/\"content\": \"<|reward|>\"/ s/}\],/}, {\"id\": $V, \"content\": \"[PAD]\", $other],/" "$dir/base/tokenizer.json" > "$dir/pad/tokenizer.json"
cp -r "$dir/pad" "$dir/foreign"
sed 's/"pad_token": "[^"]*"/"pad_token": "[PAD]"/' "$dir/base/tokenizer_config.json" > "$dir/pad/tokenizer_config.json"
prefs=test/data/prefs/trl_strings.jsonl chat=${CHAT:-build/chat} eval=${EVAL:-build/eval} train_rlhf=${TRAIN_RLHF:-./train_rlhf}
# with MODEL: every program with this model, what it prints or logs to $dir/with-MODEL
with() {
    m=$dir/$1; w=$dir/with-$1; shift; mkdir -p "$w"
    $train_gpt --model "$m" --data "$dir/text.txt" --paragraphs --steps 2 --seq 32 --batch 4 --eval-every 0 --threads 1 --out "$w/gpt" > /dev/null 2> "$w/gpt.err" || return 1
    losses "$w/gpt" > "$w/gpt.log"
    $train_sft --model "$m" --data "$dir/sft.jsonl" --batch 4 --steps 5 --ask 2 --max-new 4 --threads 1 --out "$w/sft" > /dev/null 2> "$w/sft.err" || return 2
    losses "$w/sft" > "$w/sft.log"
    $train_rlhf --model "$m" --data $prefs --method dpo --steps 2 --batch 4 --max-new 4 --threads 1 --out "$w/rlhf" > /dev/null 2> "$w/rlhf.err" || return 3
    cut -d, -f1-4 "$w/rlhf/log.csv" > "$w/rlhf.log"
    $eval --model "$m" --tasks test/data/eval/choice.jsonl test/data/eval/mine.jsonl --max-new 4 --threads 1 2> "$w/eval.err" | tail -n +3 > "$w/eval.log"
    [ -s "$w/eval.log" ] || return 4
    $chat --model "$m" -p "The cat" --max-tokens 8 --temperature 0 > "$w/chat.log" 2> "$w/chat.err" || return 5
    $convert --model "$m" --out "$w/m.gguf" 2> "$w/convert.err" || return 6
}
with base; check "every program, its own tokenizer" [ $? -eq 0 ]
with pad; check "every program, a pad beyond the model" [ $? -eq 0 ]
for program in gpt sft rlhf eval chat; do
    check "$program: says so once" [ "$(grep -c "^note: the padding \"\[PAD\]\" is token $V" "$dir/with-pad/$program.err")" -eq 1 ]
    check "$program: computes the same" cmp -s "$dir/with-base/$program.log" "$dir/with-pad/$program.log"
done
# ---- the same model in one file, as llama.cpp has it (tools/gguf.h) ----
mkdir "$dir/one"; one=one/base.gguf
$convert --model "$dir/base" --out "$dir/$one" --type f32 > /dev/null 2>&1
with $one; check "every program, from a .gguf file" [ $? -eq 0 ]
for program in gpt sft rlhf eval chat; do
    check "$program: the file computes what the folder does" cmp -s "$dir/with-base/$program.log" "$dir/with-$one/$program.log"
done
check   "and is written as the folder is" cmp -s "$dir/with-base/m.gguf" "$dir/with-$one/m.gguf"
$train_sft --model "$dir/$one" --data "$dir/sft.jsonl" --batch 4 --steps 2 --ask 0 --lora-rank 2 --threads 1 --out "$dir/onelora" > /dev/null 2> "$dir/stderr"
check   "train_sft hangs adapters on it" [ $? -eq 0 ]
$convert --model "$dir/onelora/adapter" --out "$dir/onemerged" > /dev/null 2> "$dir/stderr"; check "which find it again" [ $? -eq 0 ]
check   "and give the merged model" cmp -s "$dir/onemerged/model.safetensors" "$dir/onelora/model.safetensors"
$convert --model "$dir/base" --out "$dir/eight.gguf" --type q8_0 > /dev/null 2>&1
for weights in q8 q4; do
    $chat --model "$dir/eight.gguf" -p "The cat" --max-tokens 4 --weights $weights > /dev/null 2> "$dir/$weights.err"
    check "a Q8_0 file speaks as $weights" [ $? -eq 0 ]
done
check   "its blocks as q8 are the file's, as q4 they are not, which is said" \
    [ "$(grep -c 'in blocks are rounded once more' "$dir/q8.err" "$dir/q4.err" | sed 's/.*://' | tr '\n' ' ')" = "0 1 " ]
refuses "convert: a .gguf file onto itself" 2 "which this run reads" $convert --model "$dir/$one" --out "$dir/$one" --overwrite
head -c 20000 "$dir/$one" > "$dir/half.gguf"
refuses "half a .gguf file" 1 "half.gguf" $chat --model "$dir/half.gguf" -p hi
echo "years of work" > "$dir/none.gguf"
refuses "somebody's .gguf file" 1 "does not begin with GGUF" $chat --model "$dir/none.gguf" -p hi
echo "It says [PAD] here, and [PAD] there." | cat - "$dir/text.txt" > "$dir/spelled.txt"
$train_gpt --model "$dir/pad" --data "$dir/spelled.txt" --parse-special --steps 40 --seq 32 --batch 4 --eval-every 0 --threads 1 \
    --out "$dir/spelled" > /dev/null 2> "$dir/stderr"; check "--parse-special does not find it" [ $? -eq 0 ]
check "the tokenizer stays as it was" cmp -s "$dir/pad/tokenizer.json" "$dir/with-pad/sft/tokenizer.json"
for at in "$train_gpt --data $dir/text.txt --out $dir/beyond" "$train_sft --data $dir/sft.jsonl --out $dir/beyond" \
          "$train_rlhf --data $prefs --method dpo --out $dir/beyond" "$eval --tasks test/data/eval/choice.jsonl" "$chat -p hi" "$convert --out $dir/beyond.gguf"; do
    refuses "another token there" 1 "the tokenizer has $((V + 1)) tokens, the model $V" $at --model "$dir/foreign"
done
$convert --model "$dir/pad" --add-tokens --out "$dir/padded" > /dev/null 2> "$dir/stderr"; check "convert --add-tokens: nothing to add" [ $? -eq 0 ]
check "but the pad gets its row" grep -q "\"vocab_size\": $((V + 1))" "$dir/padded/config.json"

# ---- an evaluation reads a part, tokens are kept, shards are read ----
part="$more --preset nano --vocab 300 --steps 12 --eval-every 3 --val-fraction .4 --eval-tokens 96 --report off"
$part --out "$dir/part" > "$dir/stdout" 2> "$dir/stderr"; check "--eval-tokens" [ $? -eq 0 ]
check "is said once" [ "$(grep -c '^an evaluation reads 3 of [0-9]* held-out rows, evenly spread: 96 tokens' "$dir/stderr")" -eq 1 ]
check "the last figure says on how many tokens" grep -q '^validation: .* bits per byte, on 96 tokens' "$dir/stdout"
log_of() { cut -d, -f1-4,6- "$1/log.csv"; }             # without the speed
$part --cache --out "$dir/part_cached" > "$dir/stdout" 2> "$dir/stderr"
check "--cache writes the tokens beside the text" [ "$(ls "$dir"/.text.txt.*.tokens | wc -l)" -eq 1 ]
check "their number is that without" [ "$(log_of "$dir/part")" = "$(log_of "$dir/part_cached")" ]
$part --cache --steps 6 --schedule constant --save-every 6 --out "$dir/part_goes_on" > "$dir/stdout" 2> "$dir/stderr"
check "--cache reads them" grep -q "^cache: the tokens of .* are those of " "$dir/stderr"
$part --schedule constant --out "$dir/part_straight" > "$dir/stdout" 2> "$dir/stderr"
$part --schedule constant --cache --out "$dir/part_killed" --save-every 6 > /dev/null 2>&1
rm "$dir/part_killed/config.json" "$dir/part_killed/model.safetensors"
$part --schedule constant --out "$dir/part_killed" --resume > /dev/null 2> "$dir/stderr"; check "--resume without --cache" [ $? -eq 0 ]
check "a run that goes on from a part's evaluation ends at the same bits" cmp -s "$dir/part_straight/model.safetensors" "$dir/part_killed/model.safetensors"
check "and has measured the same" [ "$(log_of "$dir/part_straight")" = "$(log_of "$dir/part_killed")" ]
letters=$(i=0; while [ $i -lt 26 ]; do printf '\\%o\\000' $((65 + i)); i=$((i + 1)); done)
i=0; while [ $i -lt 150 ]; do printf "$letters"; i=$((i + 1)); done > "$dir/train.bin"
shard="$train_gpt --data $dir/train.bin --preset nano --steps 2 --seq 32 --batch 4 --eval-every 0 --threads 1 --report off"
refuses "tokens without their tokenizer" 1 "whose tokens are they" $shard --out "$dir/x"
$shard --tokenizer "$dir/base" --out "$dir/shard" > "$dir/stdout" 2> "$dir/stderr"; check "a shard is read" [ $? -eq 0 ]
check "and its end held out" grep -q "^validation: .* on 195 tokens" "$dir/stdout"
refuses "what shards have no use for" 2 "--cache would do nothing: the data are tokens" $shard --tokenizer "$dir/base" --cache --out "$dir/x"

echo '{"instruction": "no output here"}' >> "$dir/sft.jsonl"
refuses "broken record"       1 "sft.jsonl:61: "                $sft --out "$dir/x2"
check   "broken record saves nothing" [ ! -e "$dir/x2/config.json" ]

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
