#!/bin/sh
# test_rlhf.sh: stage 3 as a user meets it. Every method runs on tiny data, gives the same numbers twice, and goes on after kill -9 to the
# same bits, the reward model too; every form of preference data loads and trains; reward models and reward programs judge prompts, and
# a program that crashes, hangs or talks nonsense never loses the run; what is refused and how. Run from the repository's root after make.
. test/check.sh
train_gpt=${TRAIN_GPT:-./train_gpt} train_sft=${TRAIN_SFT:-./train_sft} train_rlhf=${TRAIN_RLHF:-./train_rlhf} EXEC=
prefs=test/data/prefs

# A model that has seen a little text and has learned to stop: what it answers is nonsense, but it has everything a model has.
i=0
while [ $i -lt 200 ]; do echo "The cat number $i sat on mat $((i * 7 % 13)) and saw $((i * 3 % 17)) birds."; echo; i=$((i + 1)); done > "$dir/text.txt"
$train_gpt --data "$dir/text.txt" --preset nano --vocab 300 --batch 4 --steps 20 --eval-every 0 --threads 1 --out "$dir/base" > "$dir/stdout" 2>&1
$train_sft --model "$dir/base" --data $prefs/prompts_sft.jsonl --batch 4 --steps 40 --lr 3e-3 --ask 0 --eval-every 0 --threads 1 --out "$dir/sft" > "$dir/stdout" 2>&1
check "a model to begin with" [ -s "$dir/sft/config.json" ]
# run NAME FLAGS...: into $dir/NAME, its reward model into $dir/NAME-reward; a method's own flags are those that it reads
run() {
    name=$1; shift
    own="--steps 10" reward="--reward-steps 10 --reward-out $dir/$name-reward"
    case " $* " in
    *" --all "*) own="$own --rollout 8 --group 2 --best-of 2" ;;
    *" grpo "*) own="$own --group 2" ;;
    *" rejection "*|*" random "*) own="$own --best-of 2" ;;
    *" best-of-n "*) own="--best-of 2" ;;
    *" dpo "*|*" cdpo "*|*" ipo "*|*" kto "*|*" rrhf "*) reward= ;;
    *) own="$own --rollout 8" ;;
    esac
    case " $* " in *" grpo --verify "*|*"prompts.jsonl --method grpo "*|*" --reward "*|*" --reward-command "*) reward= ;; esac
    $EXEC $train_rlhf --model "$dir/sft" --out "$dir/$name" --max-new 6 --threads 1 --batch 8 $own $reward "$@" \
        > "$dir/$name.out" 2> "$dir/$name.err" < /dev/null
}
same() { cmp -s "$dir/$1/log.csv" "$dir/$2/log.csv" && cmp -s "$dir/$1/model.safetensors" "$dir/$2/model.safetensors"; }
# alike LOG LOG: loss and gradient norm of the first two steps agree to 1e-4, as they must however a step is cut into micro-batches.
alike() {
    awk -F, 'FNR > 1 && FNR < 4 { if (NR == FNR) { loss[FNR] = $2; norm[FNR] = $4 } else { n++; off($2, loss[FNR]); off($4, norm[FNR]) } }
        function off(a, b,  d) { d = a - b; if (d < 0) d = -d; if (!(d <= 1e-4 * (b < 0 ? -b : b) + 1e-5)) bad = 1 } END { exit bad || n != 2 }' "$1" "$2"
}

# ---- every form of data, with a method that can use it ----
for form in trl_strings.jsonl trl_messages.jsonl hh.jsonl ultrafeedback.jsonl llamafactory_dpo.json ranked.jsonl; do
    run "form-$form" --data $prefs/$form --method dpo
    check "$form: dpo" [ -s "$dir/form-$form/config.json" ]
    check "$form: ten steps" [ "$(wc -l < "$dir/form-$form/log.csv")" -eq 11 ]
    check "$form: 10 or 11 of 12 records are there to learn from" grep -q "^ *1[01] records of the form" "$dir/form-$form.err"
done
run kto-labels --data $prefs/llamafactory_kto.json --method kto
check "llamafactory_kto.json: kto" [ -s "$dir/kto-labels/config.json" ]
check "beta on your own data is trl's" grep -q "^kto: beta 0.1$" "$dir/kto-labels.err"
refuses "thumbs for dpo" 1 "no two answers differ" $train_rlhf --model "$dir/sft" --data $prefs/llamafactory_kto.json --method dpo --out "$dir/x"

# ---- every method: runs, the same twice, and after kill -9 ----
resumed=0
# killed NAME LOG FLAGS...: kill -9 once LOG has three lines, then --resume
killed() {
    name=$1 log=$2; shift 2
    EXEC=exec
    run "$name" --save-every 1 "$@" & pid=$!            # a subshell that becomes the program: pid is the program's
    EXEC=
    n=0
    while [ $n -lt 400 ]; do
        [ -e "$log" ] && [ "$(wc -l < "$log")" -ge 3 ] && break
        kill -0 $pid 2> /dev/null || break
        sleep 0.01; n=$((n + 1))
    done
    kill -9 $pid 2> /dev/null
    wait $pid 2> /dev/null
    run "$name" --save-every 1 "$@" --resume
    grep -q "^resumed .* at step" "$dir/$name.err" && resumed=$((resumed + 1))
}
for method in ppo grpo dpo cdpo ipo kto rrhf rejection random; do
    data=ranked.jsonl extra=
    [ $method = grpo ] && data=prompts.jsonl
    [ $method = ppo ] && extra="--kl-target 0.5"
    run $method --data $prefs/$data --method $method $extra; code=$?
    check "$method runs" [ $code -eq 0 -a -s "$dir/$method/config.json" ]
    check "$method prints its line" awk -v m=$method '$1 == m { ok = NF >= 12 && $NF > 0 } END { exit !ok }' "$dir/$method.out"
    run $method-2 --data $prefs/$data --method $method $extra
    check "$method: the same seed, the same numbers" same $method $method-2
    # Whitening, a mean, KTO's reference point or the pairs of a prompt taken per micro-batch would show here.
    run $method-4 --data $prefs/$data --method $method $extra --batch 2 --grad-accum 4
    check "$method: micro-batches of 2 or 8, the same steps" alike "$dir/$method/log.csv" "$dir/$method-4/log.csv"
    cp "$dir/$method/model.safetensors" "$dir/whole"
    killed $method-3 "$dir/$method-3/log.csv" --data $prefs/$data --method $method $extra
    check "$method: the same bits after kill -9" same $method $method-3
done
check "reward model: micro-batches of 2 or 8, the same steps" alike "$dir/ppo-reward/log.csv" "$dir/ppo-4-reward/log.csv"
# Moments, or anything else, that the reward model's training leaves behind would tell the two runs apart.
run ppo-5 --data $prefs/ranked.jsonl --method ppo --kl-target 0.5 --reward "$dir/ppo-reward"
check "ppo: the same bits whether its reward model was trained just now or loaded" same ppo ppo-5
check "another seed is another run" sh -c "! cmp -s $dir/ppo/log.csv $dir/grpo/log.csv"
killed reward-3 "$dir/reward-3-reward/log.csv" --data $prefs/ranked.jsonl --method ppo --kl-target 0.5
check "reward model: the same bits after kill -9" same ppo-reward reward-3-reward
check "and ppo behind it" same ppo reward-3
check "the reward model is a ForSequenceClassification" grep -q "ForSequenceClassification" "$dir/ppo-reward/config.json"
check "it says against what it is normalised" grep -q "mean 0, deviation 1 over" "$dir/ppo-reward/reward.json"
check "the report has the lecture's token picture" grep -q "rows of PPO's last step\|rows of PPO&#39;s last step" "$dir/report.html"
check "the report has the reward model" grep -q "Reward model" "$dir/report.html"
check "and titles that tell methods apart" grep -q "Alignment: ppo (ppo)</h2>" "$dir/report.html"
# Under each token of DPO's pairs stands beta (log p - log p of the SFT model), and behind each row the sum of them.
pairs() {
    sed 's/{"text"/\n&/g' "$1" | awk '{ v = l = f = ""; for (i = 1; i < NF; i++) { if ($i == "\"value\":") v = $(i + 1) + 0
            if ($i == "\"logp\":") l = $(i + 1) + 0; if ($i == "\"reference\":") f = $(i + 1) + 0; if ($i == "\"score\":") end = $(i + 1) + 0 }
        if (v != "") { n++; sum += v; off(v - 0.1 * (l - f)); moved = moved || v != 0 } } /"score"/ { rows++; off(sum - end); sum = 0 }
        function off(d) { if (d < 0) d = -d; if (!(d < 1e-5)) bad = 1 } END { exit bad || rows != 4 || n < 8 || !moved }'
}
check "the report has two pairs" grep -q "two pairs after the last step" "$dir/report.html"
for method in dpo cdpo ipo; do check "$method: implicit rewards, token by token" pairs "$dir/$method/tokens.jsonl"; done
check "a method that has no picture draws none" [ ! -e "$dir/kto/tokens.jsonl" ]
# Stage 2's mask: two rows are the whole batch here, so the numbers under the tokens are the loss of the last step.
$train_sft --model "$dir/base" --data $prefs/prompts_sft.jsonl --batch 2 --steps 3 --ask 0 --eval-every 0 --threads 1 --out "$dir/masked" > "$dir/stdout" 2>&1
mask() {
    loss=$(awk -F, 'END { print $2 }' "$1/log.csv")
    sed 's/{"text"/\n&/g' "$1/tokens.jsonl" | awk -v loss="$loss" '{ for (i = 1; i < NF; i++) if ($i == "\"logp\":") { n++; sum -= $(i + 1) } }
        END { d = sum / n - loss; if (d < 0) d = -d; exit !(d < 1e-4) }'
}
check "the mask's numbers are the step's loss" mask "$dir/masked"
check "the report shows it" grep -q "only here the loss counts" "$dir/report.html"
check "the price of KL was steered" awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "kl_coefficient") c = i } NR == 2 { a = $c } END { exit !(a != $c) }' "$dir/ppo/log.csv"
for ranking in pairs plackett-luce; do
    run $ranking --data $prefs/ranked.jsonl --ranking $ranking --method best-of-n; code=$?
    check "reward model by $ranking" [ $code -eq 0 -a -s "$dir/$ranking-reward/config.json" ]
    check "best-of-n prints its line" grep -q "^best-of-n " "$dir/$ranking.out"
done
# trl's margin: -log sigmoid(r_chosen - r_rejected - margin), where a head that knows nothing gives about log 2 without one
sed 's/"chosen"/"margin": 3, "chosen"/' $prefs/trl_strings.jsonl > "$dir/margin.jsonl"
first_loss() { awk -F, 'NR == 2 { print ($2 > 2.3 && $2 < 4) }' "$1"; }
run margin --data "$dir/margin.jsonl" --ranking pairs --method best-of-n
check "a margin is asked for" [ "$(first_loss "$dir/margin-reward/log.csv")" = 1 ]
check "and only then" [ "$(first_loss "$dir/pairs-reward/log.csv")" = 0 ]
run margin-kwise --data "$dir/margin.jsonl" --ranking kwise --method best-of-n
check "another ranking refuses it" grep -q 'the records have a "margin": --ranking kwise knows none' "$dir/margin-kwise.err"
run margin-dpo --data "$dir/margin.jsonl" --method dpo
check "who does not ask for it says so" grep -q " pairs have a margin: a reward model learns it (--ranking pairs), nothing else" "$dir/margin-dpo.err"
run lora --data $prefs/ranked.jsonl --method ppo --lora-rank 2 --reward "$dir/ppo-reward"; code=$?
check "ppo with adapters" [ $code -eq 0 -a -s "$dir/lora/adapter/adapter_config.json" ]
check "adapters need no second model" sh -c "! grep -q 'frozen copy' $dir/lora.err && grep -q 'frozen copy' $dir/ppo.err"
killed lora-3 "$dir/lora-3/log.csv" --data $prefs/ranked.jsonl --method ppo --lora-rank 2 --reward "$dir/ppo-reward"
check "adapters: the same bits after kill -9" same lora lora-3

check "most kills came in the middle ($resumed of 11)" [ $resumed -ge 7 ]

run all --data $prefs/ranked.jsonl --all
check "--all: a line for each of ten methods" [ "$(grep -c '^[a-z-]* .*\[' "$dir/all.out")" -eq 11 ]
check "--all: a folder for each that trains" [ "$(ls -d "$dir"/all/*/config.json | wc -l)" -eq 9 ]
run all --data $prefs/ranked.jsonl --all --resume
check "--all --resume trains nothing again" sh -c "! grep -q ' 10/10 ' $dir/all.err"
run sweep --data $prefs/ranked.jsonl --sweep-kl --reward "$dir/ppo-reward"
check "--sweep-kl: four prices" [ "$(grep -c '^ppo kl ' "$dir/sweep.out")" -eq 4 ]

# ---- what the context makes equal ----
awk 'BEGIN { for (i = 0; i < 200; i++) long = long " many words"; for (i = 0; i < 8; i++)
    printf "{\"prompt\": \"q %d\", \"chosen\": \"%s good\", \"rejected\": \"%s bad\"}\n", i, i < 6 ? long : "", i < 6 ? long : "" }' > "$dir/eq.jsonl"
run equal --data "$dir/eq.jsonl" --val-data $prefs/trl_strings.jsonl --method dpo; check "equal pairs: dpo runs" [ $? -eq 0 ]
check "answers that were cut are counted" grep -q "^ *12 answers cut at the end" "$dir/equal.err"
check "equal pairs are left out, and said" grep -q "^ *6 pairs or rankings left out" "$dir/equal.err"
check "the two others are learned" grep -q "^reference log-probabilities of 4 of 10 answers" "$dir/equal.err"
head -n 6 "$dir/eq.jsonl" > "$dir/eq6.jsonl"
refuses "all pairs equal" 1 "all 6 pairs or rankings hold equal answers" $train_rlhf --model "$dir/sft" --threads 1 --data "$dir/eq6.jsonl" \
    --val-data $prefs/trl_strings.jsonl --method dpo --out "$dir/equal6"

# ---- prompts only, and somebody who judges ----
run judged --data $prefs/prompts.jsonl --reward "$dir/ppo-reward" --method ppo
check "prompts and a reward model" [ -s "$dir/judged/config.json" ]
run ranked-by --data $prefs/prompts.jsonl --reward "$dir/ppo-reward" --method dpo --answers 3
check "answers sampled and ranked by a reward model" [ -s "$dir/ranked-by/preferences.jsonl" ]
cat > "$dir/judge.sh" <<'END'
while IFS= read -r line; do case $line in *'"prompt"'*'"answer"'*) echo "0.${#line}" ;; *) echo bad ;; esac; done
END
run program --data $prefs/prompts.jsonl --reward-command "sh $dir/judge.sh" --method ppo; code=$?
check "a reward program" [ $code -eq 0 -a -s "$dir/program/config.json" ]
check "no warning" sh -c "! grep -q warning $dir/program.err"
refuses_run() { run "$@"; code=$?; [ $code -eq 1 ]; }
for trouble in "exit 3" "sleep 60" "while read -r x; do echo nonsense; done" "yes 1234567 | tr -d '\n'"; do
    check "program '$trouble' stops the run" refuses_run trouble --data $prefs/prompts.jsonl --reward-command "$trouble" --reward-timeout 0.2 --method ppo --overwrite
    check "it says why" grep -q "warning: the reward program failed" "$dir/trouble.err"
    check "it leaves a checkpoint or nothing to lose" grep -q "resume" "$dir/trouble.err"
done
run trouble --data $prefs/prompts.jsonl --reward-command "sh $dir/judge.sh" --method ppo --resume
check "with a better program it goes on" same trouble program
run chatty --data $prefs/prompts.jsonl --method ppo --reward-command "while read -r l; do echo 0.5; echo 1000; done"
check "a program that says more than it is asked stops the run" [ $? -eq 1 ]
check "and that is why" grep -qE "more than one line for an answer|failed on an answer \(its line is no number" "$dir/chatty.err"
check "its second line is nobody's score" sh -c "! grep -q 'reward [1-9][0-9]' $dir/chatty.err"
# who is asked for judges, whatever else the data know
run grpo-program --data $prefs/prompts.jsonl --method grpo --reward-command "touch $dir/called; sh $dir/judge.sh"
check "grpo asks --reward-command though answers are known" [ -e "$dir/called" ]
# one answer in three goes wrong: the run ends all the same
run moody --data $prefs/prompts.jsonl --method ppo --reward-command "i=0; while read -r l; do i=\$((i+1)); [ \$i -eq 3 ] && exit 1; echo 0.5; done"
check "a program that dies now and then" [ -s "$dir/moody/config.json" ]
check "and is told of" grep -q "gets the mean of its batch" "$dir/moody.err"

# ---- the program ends with us, even when nobody can end it: kill -9, and a program that does not read ----
beat="i=0; while [ \$i -lt 300 ]; do echo x >> $dir/beat; i=\$((i + 1)); sleep 0.1; done"
EXEC=exec
run orphan --data $prefs/prompts.jsonl --reward-command "$beat" --reward-timeout 60 --method ppo & pid=$!
EXEC=
n=0
while [ $n -lt 1000 ] && [ ! -s "$dir/beat" ]; do sleep 0.05; n=$((n + 1)); done
second="$train_rlhf --model $dir/sft --threads 1 --data $prefs/ranked.jsonl --method ppo --overwrite"
refuses "a second run into --out" 2 "orphan is in use by another run" $second --out "$dir/orphan" --reward-out "$dir/x"
refuses "a second run's --reward-out" 2 "orphan is in use by another run" $second --out "$dir/x" --reward-out "$dir/orphan"
kill -9 $pid
wait $pid 2> /dev/null
check "the reward program was at work" [ -s "$dir/beat" ]
n=0
while [ $n -lt 20 ]; do                                 # no beat in half a second: it is over
    a=$(wc -l < "$dir/beat"); sleep 0.5; b=$(wc -l < "$dir/beat")
    [ "$a" -eq "$b" ] && break
    n=$((n + 1))
done
check "it ends after kill -9 of the run" [ "$a" -eq "$b" ]

# ---- a save that fails, three times: the checkpoints before it are still there ----
# A link to nowhere under the checkpoint's name lets everything of it be written but the last step, the rename.
ppo="--data $prefs/ranked.jsonl --method ppo --kl-target 0.5 --reward $dir/ppo-reward --save-every 1"
mkdir "$dir/stuck"; ln -s nowhere "$dir/stuck/checkpoint-4"
run stuck $ppo; check "a save that fails stops the run" [ $? -eq 1 ]
for i in 1 2 3; do run stuck $ppo --resume; check "and again" [ $? -eq 1 ]; done
check "resumed from step 3" grep -q "^resumed .*checkpoint-3 at step 3" "$dir/stuck.err"
rm "$dir/stuck/checkpoint-4"
run stuck $ppo --resume; check "then it goes on" [ $? -eq 0 ]
check "to the same bits" same ppo stuck
check "policy and critic are one folder" [ ! -e "$dir/stuck/critic" -a -s "$dir/stuck/checkpoint-9/critic/optimizer.safetensors" ]

# ---- nothing is trained for a plan, and nothing is lost by --overwrite ----
for method in ppo grpo dpo cdpo ipo kto rrhf rejection random best-of-n; do
    run dry --data $prefs/ranked.jsonl --method $method --dry-run; code=$?
    check "$method --dry-run" [ $code -eq 0 ]
    check "$method --dry-run has a plan" grep -q "^plan: " "$dir/dry.out"
    case $method in dpo|cdpo|ipo|kto|rrhf) n=0 ;; *) n=1 ;; esac
    check "$method: $n reward models in it" [ "$(grep -c 'reward model, frozen' "$dir/dry.out")" -eq $n ]
done
run dry --data $prefs/ranked.jsonl --method dpo --reward "$dir/ppo-reward" --dry-run
check "dpo --reward: the reward model is counted" grep -q "reward model, frozen" "$dir/dry.out"
run dry --data $prefs/prompts.jsonl --method grpo --verify --dry-run
check "grpo --verify: none is" sh -c "! grep -q 'reward model, frozen' $dir/dry.out"
flops() { $train_rlhf --model "$dir/sft" --method grpo --batch 8 --steps 10 --hold "$1" --dry-run 2> /dev/null | sed -n 's/^  compute .* = \([0-9.e+]*\) FLOP$/\1/p'; }
check "grpo: held answers are counted: 72 rows, not 8: $(flops 0) $(flops 64)" awk -v a="$(flops 0)" -v b="$(flops 64)" 'BEGIN { exit !(a > 0 && b > 8.9 * a && b < 9.1 * a) }'
for flag in --all --sweep-kl "--lora-rank 2"; do run dry --data $prefs/ranked.jsonl $flag --dry-run; check "$flag --dry-run" [ $? -eq 0 ]; done
check "--dry-run writes nothing" [ ! -e "$dir/dry" -a ! -e "$dir/dry-reward" ]
mkdir "$dir/mine"; echo "years of work" > "$dir/mine/thesis.tex"; cp "$dir/dpo/model.safetensors" "$dir/dpo/config.json" "$dir/mine"
run mine --data $prefs/nowhere.jsonl --method dpo --overwrite; check "missing data, --overwrite" [ $? -eq 1 ]
check "the old result is there" cmp -s "$dir/dpo/model.safetensors" "$dir/mine/model.safetensors"
run mine --data $prefs/prompts.jsonl --reward-command "exit 3" --method ppo --overwrite; check "--overwrite, a run that stops" [ $? -eq 1 ]
check "the old result is still there" cmp -s "$dir/dpo/model.safetensors" "$dir/mine/model.safetensors"
run mine --data $prefs/prompts.jsonl --reward-command "sh $dir/judge.sh" --method ppo --resume; check "it goes on" [ $? -eq 0 ]
check "to a new result, and does not take the old one for it" same program mine
check "the thesis stays" grep -q "years of work" "$dir/mine/thesis.tex"
mkdir "$dir/human"; echo "years of work" > "$dir/human/preferences.jsonl"
mkdir "$dir/sheet"; echo "years of work" > "$dir/sheet/table.csv"

# ---- what is refused ----
rlhf="$train_rlhf --model $dir/sft --threads 1 --data $prefs/ranked.jsonl --out $dir/x"
refuses "unknown method"      2 "does not know 'pro'"      $rlhf --method pro
refuses "unknown flag"        2 "unknown flag --bta"       $rlhf --bta 1
refuses "beta of 0"           2 "out of range"             $rlhf --method dpo --beta 0
refuses "no model"            2 "no fine-tuned model"      sh -c "cd $dir && case $train_rlhf in /*) p=$train_rlhf ;; *) p=$PWD/$train_rlhf ;; esac; exec \$p"
refuses "no such reward"      1 "nowhere"                  $rlhf --reward "$dir/nowhere" --method ppo
refuses "a policy as reward"  1 "no reward model"          $rlhf --reward "$dir/sft" --method ppo
refuses "prompts, no judge"   2 "nothing says which"       $train_rlhf --model "$dir/sft" --data $prefs/prompts.jsonl --out "$dir/x" --method ppo
refuses "nothing to resume"   2 "nothing to go on from"    $rlhf --out "$dir/none" --method dpo --resume
refuses "a result in --out"   2 "holds a result"           $rlhf --out "$dir/dpo" --method dpo
refuses "--model X --out X"   2 "which this run reads"     $train_rlhf --model "$dir/sft" --data $prefs/ranked.jsonl --method dpo --out "$dir/sft" --overwrite
refuses "--reward X --out X"  2 "which this run reads"     $rlhf --reward "$dir/ppo-reward" --out "$dir/ppo-reward" --overwrite
refuses "--out above --model" 2 "holds an input"           $rlhf --method dpo --out "$dir" --overwrite
refuses "one folder for two"  2 "the same folder"          $rlhf --out "$dir/z" --reward-out "$dir/z"
refuses "somebody's table"    1 "no table of ours"         $rlhf --method dpo --out "$dir/sheet" --overwrite
refuses "somebody's preferences" 2 "not of a run of ours"  $rlhf --method dpo --out "$dir/human" --overwrite
refuses "one log for many"    2 "--log is one file"        $rlhf --all --log "$dir/l.csv"
for flag in --seq --eval-every --sample-every; do refuses "$flag would do nothing" 2 "unknown flag $flag" $rlhf $flag 5; done
refuses "--overfit-one-batch too" 2 "unknown flag"         $rlhf --overfit-one-batch
refuses "two judges"          2 "two judges"               $rlhf --reward "$dir/ppo-reward" --reward-command cat
refuses "a judge and --verify" 2 "two judges"              $rlhf --method grpo --verify --reward-command cat
refuses "another method"      2 "begun with --method dpo"  $rlhf --out "$dir/dpo" --method ipo --resume
echo '{"prompt": "a", "chosen": "b"}' > "$dir/broken.jsonl"
refuses "half a pair"         1 "broken.jsonl:1: "         $train_rlhf --model "$dir/sft" --data "$dir/broken.jsonl" --out "$dir/y"
check   "nothing was saved"   [ ! -e "$dir/y/config.json" ]
# The tiny world's own data: which of its prompts are held out may be said, but they have to be its own.
case $train_rlhf in /*) rlhf=$train_rlhf ;; *) rlhf=$PWD/$train_rlhf ;; esac
world="--model $dir/sft --method best-of-n --best-of 2 --max-new 6 --threads 1 --report off --overwrite --reward $dir/ppo-reward --out $dir/w"
refuses "somebody's questions to the tiny world" 2 "nobody in the tiny world can judge" \
    sh -c "cd $dir && $rlhf $world --val-data $PWD/$prefs/prompts_sft.jsonl"
(cd "$dir" && $rlhf $world --ask 18 --val-data out/world/sft_choose.jsonl) > "$dir/w.out" 2>&1
check "the tiny world's prompts for choosing" grep -q "^18 held-out prompts" "$dir/w.out"
check "and what a method gives and takes, task by task" grep -q "reverse [.0-9]* ([-+][.0-9]*)" "$dir/w.out"
world="--model $dir/sft --steps 1 --ask 9 --max-new 6 --threads 1 --report off --overwrite --out $dir/w"
(cd "$dir" && $rlhf $world --method kto --answers 2) > "$dir/w.out" 2>&1
check "beta in the tiny world is KTO's own" grep -q "^kto: beta 1$" "$dir/w.out"
(cd "$dir" && $rlhf $world --method grpo --group 2) > "$dir/w.out" 2>&1
check "GRPO holds what nobody checks" grep -q "^178 prompts with an answer that is checked; of 622 others 64 a step are held" "$dir/w.out"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
