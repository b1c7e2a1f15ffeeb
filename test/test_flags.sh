#!/bin/sh
# test_flags.sh: a flag acts or is refused, flag by flag and program by program; what --resume may change and what not; the plan; and
# that messages name flags that exist. Run from the repository's root after make. Ends with "N passed, N failed".
. test/check.sh
train_gpt=${TRAIN_GPT:-./train_gpt} train_sft=${TRAIN_SFT:-./train_sft} train_rlhf=${TRAIN_RLHF:-./train_rlhf}
eval=${EVAL:-build/eval} chat=${CHAT:-build/chat} convert=${CONVERT:-build/convert}
llama=test/data/models/llama-tiny gpt2=test/data/models/gpt2-tiny prefs=test/data/prefs tasks=test/data/eval

# ---- a small model, and one that answers ----
head -n 60 README.md > "$dir/text.txt"
head -n 60 data/README.md > "$dir/held.txt"
data="--data $dir/text.txt --paragraphs" few="--batch 4 --seq 64 --eval-every 0 --threads 1 --precision fp32 --report off"
gpt="$train_gpt $data --preset nano --vocab 300 $few"
$gpt --steps 4 --save-every 2 --warmup 1 --out "$dir/base" > "$dir/stdout" 2> "$dir/stderr"
sft="$train_sft --model $dir/base --data $prefs/prompts_sft.jsonl $few"
$sft --steps 4 --save-every 2 --warmup 1 --ask 2 --out "$dir/sft" > "$dir/stdout" 2> "$dir/stderr"
check "a model to begin with" [ -s "$dir/sft/config.json" ]

# ---- flags that would do nothing: program and flags | the flag that is refused | why ----
while IFS='|' read -r command flag why; do
    case $command in
    gpt\ *) full="$train_gpt ${command#gpt } --out $dir/x" ;;
    sft\ *) full="$train_sft --model $dir/base ${command#sft } --out $dir/x" ;;
    rlhf\ *) full="$train_rlhf --model $dir/sft ${command#rlhf } --out $dir/x" ;;
    eval\ *) full="$eval ${command#eval } --precision fp32" ;;
    chat\ *) full="$chat -p hi ${command#chat }" ;;
    convert\ *) full="$convert ${command#convert } --out $dir/x" ;;
    *) continue ;;
    esac
    flag=$(echo $flag) why=$(echo $why)
    refuses "${command% *} $flag" 2 "--$flag would do nothing: $why" $(eval "echo $full")
done <<'END_OF_TABLE'
gpt --model $dir/base --preset nano                     | preset        | --model has its own
gpt --model $dir/base --depth 3                         | depth         | --model has its own
gpt --model $dir/base --vocab 999                       | vocab         | --model has its own
gpt --model $dir/base --tokenizer /nowhere              | tokenizer     | --model has its own
gpt --model $dir/base --depth 3 --dry-run               | depth         | --model has its own
gpt --depth 3 --preset nano                             | preset        | --depth says the size
gpt --tokenizer $dir/base --vocab 300                   | vocab         | --tokenizer has its own
gpt --paragraphs                                        | paragraphs    | the tiny world
gpt --parse-special                                     | parse-special | the tiny world
gpt --no-paragraphs                                     | paragraphs    | the tiny world
gpt --data a --val-data b --val-fraction .1             | val-fraction  | --val-data is held out
gpt --resume --overwrite                                | overwrite     | --resume goes on
gpt --resume --dump-batches b                           | dump-batches  | such a file begins
gpt --schedule constant --lr-final .5                   | lr-final      | --schedule constant
gpt --gpus 8                                            | gpus          | it is for planning
gpt --gpu-tflops 312                                    | gpu-tflops    | it is for planning
gpt --tokens 1e9                                        | tokens        | it is for planning
gpt --price 2                                           | price         | it is for planning
gpt --mfu .3                                            | mfu           | it is for planning
gpt --dry-run --gpu-tflops 312                          | gpu-tflops    | no fleet
gpt --dry-run --price 2                                 | price         | no fleet
gpt --dry-run --mfu .3                                  | mfu           | no fleet
gpt --dry-run --wire 25                                 | wire          | no fleet
gpt --days 3                                            | days          | it is for planning
gpt --failure-rate .1                                   | failure-rate  | it is for planning
gpt --checkpoint-time 9                                 | checkpoint-time | it is for planning
gpt --dry-run --failure-rate .1                         | failure-rate  | no fleet
gpt --dry-run --checkpoint-time 9                       | checkpoint-time | no fleet
gpt --dry-run --gpus 8 --days 3 --mfu .4                | mfu           | it follows
gpt --dry-run --gpus 8 --failure-rate 0 --checkpoint-time 9 | checkpoint-time | with --failure-rate 0
gpt --dry-run --gpus 8 --gpu-tflops 312 --layer-wire 9  | layer-wire    | without --tensor-parallel
gpt --wire 25                                           | wire          | it is for planning
gpt --zero 1                                            | zero          | this process is alone
gpt --dry-run --zero 1                                  | zero          | this process is alone
gpt --dry-run --tokens 1e9 --steps 5                    | steps         | --tokens says
gpt --dry-run --tokens 1e9 --grad-accum 5               | grad-accum    | --tokens says
sft --steps 5 --epochs 2                                | epochs        | --steps says
sft --data a --ptx-data b                               | ptx-data      | --ptx is 0
sft --data a --ptx-batch 4                              | ptx-batch     | --ptx is 0
sft --ptx 0 --ptx-batch 4                               | ptx-batch     | --ptx is 0
sft --data a --cache                                    | cache         | without --ptx
sft --val-fraction .1                                   | val-fraction  | other records
sft --data a --val-data b --val-fraction .1             | val-fraction  | other records
sft --columns prompt=q                                  | columns       | the tiny world
sft --skip-bad                                          | skip-bad      | the tiny world
sft --parse-special                                     | parse-special | the tiny world
sft --lora-alpha 8                                      | lora-alpha    | without --lora-rank
sft --lora-targets all                                  | lora-targets  | without --lora-rank
sft --schedule constant --lr-final .5                   | lr-final      | --schedule constant
sft --resume --overwrite                                | overwrite     | --resume goes on
rlhf --method ppo --beta .1                             | beta          | it is of dpo, cdpo, ipo, kto
rlhf --method rrhf --beta .1                            | beta          | it is of dpo
rlhf --method kto --sft-weight 1                        | sft-weight    | it is of dpo, cdpo, ipo
rlhf --method dpo --rrhf-weight 1                       | rrhf-weight   | it is of rrhf
rlhf --method dpo --kl .1                               | kl            | it is of grpo, ppo
rlhf --method grpo --kl-target 1                        | kl-target     | it is of ppo
rlhf --method grpo --clip .1                            | clip          | it is of ppo
rlhf --method grpo --rollout 8                          | rollout       | it is of ppo
rlhf --method grpo --gamma .9                           | gamma         | it is of ppo
rlhf --method grpo --lambda .9                          | lambda        | it is of ppo
rlhf --method grpo --critic-lr .1                       | critic-lr     | it is of ppo
rlhf --method dpo --inner-epochs 3                      | inner-epochs  | it is of grpo, ppo
rlhf --method ppo --group 4                             | group         | it is of grpo
rlhf --method ppo --hold 4                              | hold          | it is of grpo
rlhf --method grpo --kl 0 --hold 4                      | hold          | --kl is 0
rlhf --method ppo --best-of 4                           | best-of       | it is of best-of-n, rejection, random
rlhf --method best-of-n --rounds 3                      | rounds        | it is of rejection, random
rlhf --method best-of-n --lr .1                         | lr            | .*trains no policy
rlhf --method best-of-n --steps 3                       | steps         | .*trains no policy
rlhf --method best-of-n --log l.csv                     | log           | .*trains no policy
rlhf --method best-of-n --lora-rank 2                   | lora-rank     | .*trains no policy
rlhf --lora-targets all                                 | lora-targets  | without --lora-rank
rlhf --reward-timeout 3                                 | reward-timeout | there is no --reward-command
rlhf --val-fraction .1                                  | val-fraction  | other prompts
rlhf --columns prompt=q                                 | columns       | the tiny world
rlhf --skip-bad                                         | skip-bad      | the tiny world
rlhf --all --method dpo                                 | method        | --all runs every one
rlhf --sweep-kl --method ppo                            | method        | --sweep-kl is of ppo
rlhf --sweep-kl --kl .1                                 | kl            | --sweep-kl tries several
rlhf --sweep-kl --verify                                | verify        | --sweep-kl asks
rlhf --sweep-kl --beta .1                               | beta          | it is of
rlhf --resume --overwrite                               | overwrite     | --resume goes on
rlhf --schedule constant --lr-final .5                  | lr-final      | --schedule constant
rlhf --data $prefs/ranked.jsonl --method dpo --reward-out $dir/r | reward-out   | no reward model is trained
rlhf --data $prefs/ranked.jsonl --method dpo --reward-lr .1      | reward-lr    | no reward model is trained
rlhf --data $prefs/ranked.jsonl --method dpo --reward-steps 3    | reward-steps | no reward model is trained
rlhf --data $prefs/ranked.jsonl --method dpo --ranking pairs     | ranking      | no reward model is trained
rlhf --data $prefs/ranked.jsonl --method dpo --answers 3         | answers      | the data bring
rlhf --data $prefs/ranked.jsonl --method dpo --noise .2          | noise        | it is of cdpo
rlhf --data $prefs/prompts.jsonl --method grpo --answers 3       | answers      | none are compared
rlhf --data $prefs/prompts.jsonl --method best-of-n --verify --warmup 3 | warmup | nothing is trained
rlhf --data $prefs/prompts.jsonl --method best-of-n --verify --grad-accum 3 | grad-accum | nothing is trained
eval --votes rule --model $gpt2 --tasks $tasks/mine.jsonl        | votes        | without --arena
eval --games 3 --model $gpt2 --tasks $tasks/mine.jsonl           | games        | without --arena
eval --temperature 1 --model $gpt2 --tasks $tasks/mine.jsonl     | temperature  | without --arena
eval --resamples 9 --model $gpt2 --tasks $tasks/mine.jsonl       | resamples    | without --arena
eval --arena $gpt2 $llama --model $gpt2                          | model        | --arena
eval --arena $gpt2 $llama --samples 3                            | samples      | --arena
eval --arena $gpt2 $llama --items $dir/i                         | items        | --arena
eval --report off --model $gpt2 --tasks $tasks/mine.jsonl        | report       | without --out
eval --seed 2 --model $gpt2 --tasks $tasks/arc.jsonl             | seed         | nothing is sampled
eval --shots 2 --model $gpt2 --tasks $tasks/mine.jsonl           | shots        | no task is a text
eval --max-new 3 --model $gpt2 --tasks $tasks/arc.jsonl          | max-new      | every task is a choice
eval --chat yes --model $gpt2 --tasks $tasks/arc.jsonl           | chat         | every task is a choice
eval --samples 3 --model $gpt2 --tasks $tasks/gsm8k.jsonl        | samples      | no task asks
chat --model $dir/sft --complete --system s                      | system       | --complete
chat --model $dir/sft --temperature 0 --top-k 3                  | top-k        | --temperature 0
chat --model $dir/sft --temperature 0 --top-p .5                 | top-p        | --temperature 0
chat --model $dir/sft --temperature 0 --min-p .5                 | min-p        | --temperature 0
chat --model $dir/sft --temperature 0 --seed 3                   | seed         | --temperature 0
convert --model $gpt2 --split gpt2                               | split        | it is for --tiktoken
convert --model $gpt2 --special a,b                              | special      | it is for --tiktoken
convert --model $gpt2 --tokenizer $gpt2                          | tokenizer    | it is for --tokens
convert --tiktoken $dir/text.txt --type f16                      | type         | it is for --model
convert --tokens $dir/text.txt --base $gpt2                      | base         | it is for --model
END_OF_TABLE
check "nothing was written" [ ! -e "$dir/x" -a ! -e "$dir/i" ]
refuses "a context beyond the model's" 2 "beyond the model's" $chat --model "$dir/sft" --context 999 -p hi
refuses "a wrong preset" 2 "no preset" $train_gpt --data "$dir/text.txt" --preset nosuch --out "$dir/x"
refuses "also for a plan" 2 "no preset" $train_gpt --preset nosuch --dry-run
check "before anything is written" [ ! -e "$dir/x" ]
refuses "a tokenizer that is not there" 1 "there is no /nowhere" $train_gpt --data "$dir/text.txt" --tokenizer /nowhere --out "$dir/x"
refuses "a model that is not there" 1 "there is no /nowhere" $train_gpt --data "$dir/text.txt" --model /nowhere --out "$dir/x"
refuses "--ptx without a text" 2 "without a text" $train_sft --model "$dir/base" --data "$dir/text.txt" --ptx 1 --out "$dir/x"
check "before anything is written, too" [ ! -e "$dir/x" ]

# ---- flags that act: two steps with them end with other weights than without, or leave what they say ----
run_of() {
    out=$1; shift
    "$@" --out "$dir/$out" --overwrite > "$dir/$out.out" 2> "$dir/$out.err"
}
acts() {
    what=$1; shift
    run_of with "$@"; code=$?
    check "$what: runs" [ $code -eq 0 ]
    check "$what acts" sh -c "! cmp -s $dir/plain/model.safetensors $dir/with/model.safetensors"
}
g="$gpt --steps 2 --warmup 0 --lr .01"
run_of plain $g
for flag in "--lr .02" "--schedule linear --lr-final 0" "--lr-final .5" "--warmup 2" "--weight-decay 5" "--grad-clip .1" "--grad-accum 2" \
            "--steps 3" "--batch 3" "--seq 32" "--seed 2" "--vocab 290" "--moments16 --steps 3" "--no-document-mask" "--no-paragraphs" \
            "--val-fraction .3" "--val-data $dir/held.txt" "--overfit-one-batch --steps 3"; do
    acts "train_gpt $flag" $g $flag
done
run_of with $train_gpt $data $few --steps 1 --vocab 300 --depth 2; check "train_gpt --depth acts" grep -q '"num_hidden_layers": 2' "$dir/with/config.json"
run_of with $train_gpt $data $few --steps 1 --preset nano --tokenizer "$dir/base"
check "train_gpt --tokenizer acts" cmp -s "$dir/base/tokenizer.json" "$dir/with/tokenizer.json"
run_of with $g --log "$dir/l.csv" --tensorboard "$dir/tb" --dump-batches "$dir/batches" --save-every 1 --keep 1 --eval-every 1 --sample-every 1 --recompute
check "train_gpt --log, --tensorboard, --dump-batches, --save-every" [ -s "$dir/l.csv" -a -d "$dir/tb" -a -s "$dir/batches" -a -e "$dir/with/checkpoint-1" ]
check "train_gpt --eval-every, --sample-every" sh -c "grep -q 'step 1/2 | validation' $dir/with.err && grep -q '^  > ' $dir/with.err"
check "train_gpt --recompute: the same bits" cmp -s "$dir/plain/model.safetensors" "$dir/with/model.safetensors"
$train_gpt $data --preset nano --vocab 20000 $few --steps 1 --out "$dir/v" > /dev/null 2> "$dir/stderr"
check "--vocab that is not reached is said" grep -q "fewer than --vocab 20000" "$dir/stderr"
f="$sft --steps 2 --warmup 0 --lr .01 --ask 0"
run_of plain $f
for flag in "--no-packing" "--loss-on-prompt" "--ptx 1 --ptx-data $dir/text.txt" "--ptx 1 --ptx-data $dir/text.txt --ptx-batch 2" \
            "--val-fraction .4" "--lora-rank 2" "--lora-rank 2 --lora-alpha 64" "--lora-rank 2 --lora-targets q_proj" \
            "--lora-rank 2 --weights q8"; do
    acts "train_sft $flag" $f $flag
done

$sft --steps 1 --ask 0 --chat-template chatml --out "$dir/t" > /dev/null 2> "$dir/stderr"
check "--chat-template of a model that has it is said" grep -q "chat template: chatml, the model's own already" "$dir/stderr"
one="$chat --model $dir/sft --max-tokens 8 --no-speed --temperature 3"
$one --prompt hi > "$dir/a" 2> /dev/null; check "chat --prompt" [ -s "$dir/a" ]
$one --prompt hi --repeat-penalty 50 > "$dir/b" 2> /dev/null; check "chat --repeat-penalty acts" sh -c "! cmp -s $dir/a $dir/b"

# ---- the plan ----
$train_gpt --dry-run $data --preset nano --vocab 290 > "$dir/a" 2> "$dir/stderr"
check "--dry-run --vocab" grep -q "vocabulary 290" "$dir/a"
$train_gpt --dry-run --preset nano --tokenizer "$dir/base" > "$dir/a" 2> "$dir/stderr"
check "--dry-run --tokenizer" grep -q "vocabulary 300" "$dir/a"
$train_gpt --dry-run --depth 3 > "$dir/a" 2> "$dir/stderr"; check "--dry-run --depth" [ $? -eq 0 ]
check "has depth's layers" grep -q "3 layers.*vocabulary 768" "$dir/a"
$train_gpt --dry-run --preset nano --lr .1 --out "$dir/x" > "$dir/a" 2> "$dir/stderr"
check "flags that a plan does not depend on are named" grep -q "^note: the plan does not depend on --lr, --out" "$dir/stderr"
refuses "a plan for data that are not there" 1 "there is no $dir/nowhere" $train_gpt --dry-run --data "$dir/nowhere"
refuses "a plan for rows beyond the context" 2 "beyond the model's context" $train_gpt --dry-run --model "$dir/base" --seq 65
$train_gpt --dry-run --preset llama2-7b --gpus 8 --gpu-tflops 312 --tokens 1e12 > "$dir/a" 2> "$dir/stderr"; check "a fleet" [ $? -eq 0 ]
check "at the usual MFU" grep -q "40% of the peak" "$dir/a"
refuses "a fleet of nothing" 1 "a fleet needs" $train_gpt --dry-run --gpus 8
check "names flags that exist" grep -q -e "--gpus, --gpu-tflops and --tokens" "$dir/stderr"

# ---- the lectures' tables and figures, as they stand there ----
refuses "--presets with other flags" 2 "--steps would do nothing" $train_gpt --presets --steps 3
$train_gpt --presets > "$dir/a" 2> "$dir/stderr"; check "--presets" [ $? -eq 0 ]
# name, parameters, layers, d_model, heads, d_head, batch, rate, tokens; for Llama 2 the GPU hours, too
while read -r row; do check "--presets has $row" sh -c "sed 's/  */ /g; s/ |.* \([0-9]* [0-9]*%\)$/ \1/; s/ |.*//' '$dir/a' | grep -q '^ $row'"
done <<'END_OF_TABLE'
gpt3-small 125M 12 768 12 64 0.5M 6.0e-04 300B
gpt3-medium 350M 24 1024 16 64 0.5M 3.0e-04 300B
gpt3-large 760M 24 1536 16 96 0.5M 2.5e-04 300B
gpt3-xl 1.3B 24 2048 24 128 1M 2.0e-04 300B
gpt3-2.7b 2.7B 32 2560 32 80 1M 1.6e-04 300B
gpt3-6.7b 6.7B 32 4096 32 128 2M 1.2e-04 300B
gpt3-13b 13.0B 40 5140 40 128 2M 1.0e-04 300B
gpt3-175b 175.0B 96 12288 96 128 3.2M 6.0e-05 300B
llama-7b 6.7B 32 4096 32 128 4M 3.0e-04 1T
llama-13b 13.0B 40 5120 40 128 4M 3.0e-04 1T
llama-33b 32.5B 60 6656 52 128 4M 1.5e-04 1.4T
llama-65b 65.2B 80 8192 64 128 4M 1.5e-04 1.4T 1032192
llama2-7b 7B 32 4096 32 128 4M 3.0e-04 2T 184320
llama2-13b 13B 40 5120 40 128 4M 3.0e-04 2T 368640
llama2-34b 34B 48 8192 64 128 4M 1.5e-04 2T 1038336
llama2-70b 70B 80 8192 64 128 4M 1.5e-04 2T 1720320
CommonCrawl 67.0 % 1.10 3.3 TB
C4 15.0 % 1.06 783 GB
Github 4.5 % 0.64 328 GB
Wikipedia 4.5 % 2.45 83 GB
Books 4.5 % 2.23 85 GB
ArXiv 2.5 % 1.06 92 GB
StackExchange 2.0 % 1.03 78 GB
LLaMA 65B 2048 A100s for 21 days are 1032192 GPU hours; .5M are .4.84 for each
Llama 2 70B 196.4 years on one A100, 35.8 days on 2000; all four sizes 3311616 GPU hours
END_OF_TABLE
check "both oddities are named" [ "$(grep -c '^note: gpt3-\(xl\|13b\): ' "$dir/a")" -eq 2 ]
check "other presets too" grep -q "^  nano .*e-03$" "$dir/a"
# a plan's flags | what it prints
while IFS='|' read -r flags said; do
    $train_gpt --dry-run $flags > "$dir/a" 2> "$dir/stderr"
    check "$flags: $said" grep -q -e "$(echo $said)" "$dir/a"
done <<'END_OF_TABLE'
--preset llama-65b --gpus 2048 --days 21 --price 4.84           | [$]5.0M at [$]4.84
--preset llama-65b --gpus 2048 --days 21                        | 47% of the peak
--preset gpt3-175b --gpus 1                                     | 698 GB in fp32
--preset llama-65b --gpus 1                                     | 261 GB in fp32
--preset llama2-70b --gpus 2000 --days 35.84                    | 196.4 years on one GPU
--preset llama2-70b --gpus 2000                                 | is 8% a month and 64% of the cards within a year
--preset llama2-70b --gpus 2000 --failure-rate .003             | 9% a month and 67% of the cards
--preset llama2-70b --gpus 2000 --failure-rate .0015            | at least one a day) 95.0%
--preset llama2-70b --gpus 1077                                 | at least one a day) 95.0%
--preset llama2-70b --gpus 2000 --checkpoint-time 240           | every 45m 2[0-9]s
--preset llama2-70b --gpus 2000 --tokens 1e12                   | on 1.0T tokens
--preset llama2-70b --days 90 --tensor-parallel 8               | deadline: 90 days are kept by 912 GPUs
--preset gpt3-175b --gpus 3000 --gpu-tflops 125 --mfu .3        | 32.3 days here
--preset gpt3-small --gpus 8 --steps 100 --grad-accum 4         | on 6.6M tokens
--preset gpt3-small                                             | learning rate 0.0006, 0.5M tokens a step: --lr 0.0006 --batch 8 --grad-accum 31
END_OF_TABLE
# ---- --resume goes on with the run that was begun: a flag | what is said ----
g="$gpt --steps 4 --save-every 2 --warmup 1 --out $dir/base --resume"
for flag in "--lr .5" "--preset tiny" "--vocab 999" "--moments16" "--batch 3" "--grad-accum 3" "--schedule wsd" "--weight-decay .3" "--seq 32" \
            "--no-document-mask" "--no-paragraphs" "--overfit-one-batch" "--seed 7" "--val-fraction .4" "--lr-final .3" "--grad-clip 3" \
            "--skip-sigma 9" "--warmup 3"; do
    word=${flag#--}; word=${word#no-}; word=${word%% *}
    refuses "--resume $flag" 2 "--$word .*, but the run was begun with" $g $flag
    check "--resume $flag: the remedy" grep -q -e "--$word=.* as then" "$dir/stderr"
done
refuses "--resume --model" 2 "but the run was begun with" $train_gpt $data $few --steps 4 --save-every 2 --warmup 1 --model "$dir/sft" --out "$dir/base" --resume
refuses "--resume --depth" 2 "but the run was begun with" $train_gpt $data $few --vocab 300 --steps 4 --warmup 1 --depth 3 --out "$dir/base" --resume
refuses "--resume without a flag of the beginning" 2 "--vocab is 768, but the run was begun with 300" \
    $train_gpt $data --preset nano $few --steps 4 --warmup 1 --out "$dir/base" --resume
sum=$(cksum < "$dir/base/model.safetensors")
refuses "--resume with fewer steps" 2 "--steps 3, but in .* are 4 already" $g --steps 3
check "keeps the result" [ "$sum" = "$(cksum < "$dir/base/model.safetensors")" ]
refuses "sft: --resume --lr" 2 "--lr 0.5, but the run was begun with" $sft --steps 4 --warmup 1 --ask 2 --out "$dir/sft" --resume --lr .5
refuses "sft: --resume --packing" 2 "--packing no, but the run was begun with yes" $sft --steps 4 --warmup 1 --ask 2 --out "$dir/sft" --resume --no-packing
cp -r "$dir/base" "$dir/more"
$gpt --steps 6 --warmup 1 --out "$dir/more" --resume --threads 2 > "$dir/stdout" 2> "$dir/stderr"; check "--resume with more steps" [ $? -eq 0 ]
check "is said" grep -q "^note: --steps 6, begun with 4" "$dir/stderr"
check "--threads too" grep -q "^note: --threads 2, begun with 1" "$dir/stderr"
rl="$train_rlhf --model $dir/sft --data $prefs/ranked.jsonl --method rrhf --batch 8 --max-new 4 --steps 1 --threads 1 --report off --out $dir/rl"
$rl > "$dir/stdout" 2> "$dir/stderr"; check "a run of stage 3" [ $? -eq 0 ]
for flag in "--lr .5" "--rrhf-weight 3" "--steps 2" "--seed 3" "--max-new 5" "--grad-accum 2"; do
    word=${flag#--}; word=${word%% *}
    refuses "rlhf: --resume $flag" 2 "--$word .*, but the run was begun with" $rl --resume $flag
done

# ---- neither a message nor the README names a flag that no program has ----
cat train_*.c tools/*.c tools/*.h data/*.c | sed -n 's/.*\(OPTION(\|{\)"\([a-z0-9-]*\)", *LLM_.*/--\2/p' | sort -u > "$dir/known"
echo --stats >> "$dir/known"            # data/tinyworld.c's; then those of launch.sh, mpirun, srun, sbatch, torchrun, llama.cpp's programs, chromium, test/*.py
for flag in elastic hosts allow-run-as-root bind-to host oversubscribe kill-on-bad-exit nodes ntasks-per-node gpus-per-node signal \
    no-python nproc-per-node allow-requantize pure merge families headless hide-scrollbars force-device-scale-factor window-size screenshot; do echo "--$flag"; done >> "$dir/known"
sort -u -o "$dir/known" "$dir/known"
check "flags were found" [ "$(wc -l < "$dir/known")" -ge 120 ]
cat README.md data/README.md test/MEASURED.md tools/*.sh | grep -oE -e '--[a-z][a-z0-9_-]+' | tr _ - | grep -vx -e --std > "$dir/read"
# In strings; a style sheet's variables are no flags; options.h speaks of flags as such.
cat llm.h llm_simd.h llm_cuda.cuh train_*.c data/*.h data/*.c $(ls tools/*.h tools/*.c | grep -v 'report.c') |
    grep -oE '"([^"\\]|\\.)*"' | grep -oE -e '--[a-z][a-z0-9-]+' | sort -u |
    sed 's/^--no-/--/' | cat - "$dir/read" | grep -vxE -e '--(help|flag|name)' | sort -u > "$dir/said"
comm -23 "$dir/said" "$dir/known" > "$dir/unknown"
check "every flag that is named exists: $(tr '\n' ' ' < "$dir/unknown")" [ ! -s "$dir/unknown" ]
# ---- and every flag of every program is tried by some test ----
cat test/*.sh test/*.py > "$dir/tests"
for program in $train_gpt $train_sft $train_rlhf $eval $chat $convert ${TOKENIZE:-build/tokenize}; do
    $program --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p' | while read -r flag; do
        grep -q -e "--$flag\\>" -e "--no-$flag\\>" "$dir/tests" || printf ' --%s' "$flag"
    done > "$dir/untried"
    check "$program: tried by no test:$(cat "$dir/untried")" [ ! -s "$dir/untried" ]
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
