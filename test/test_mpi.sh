#!/bin/sh
# test_mpi.sh: real ranks (Open MPI) on this machine, small models: the same bits for any number of ranks and every stage of ZeRO, who
# speaks and who writes, resuming under other numbers, errors of one rank, lost and hung ranks, tools/launch.sh --elastic. `make test_mpi`.
. test/check.sh
bin=${BUILD:-build}/mpi
if ! command -v mpirun > /dev/null || [ ! -x $bin/train_gpt ]; then echo "SKIP: many ranks: no mpirun, or not built (make test_mpi)"; echo "0 passed, 0 failed"; exit 0; fi
OMPI_MCA_odls_base_sigkill_timeout=0; export OMPI_MCA_odls_base_sigkill_timeout         # mpirun waits a second less for the dying
OMP_WAIT_POLICY=passive; export OMP_WAIT_POLICY
# ranks N COMMAND...
ranks() { n=$1; shift; timeout 120 mpirun $root --oversubscribe --bind-to none -np $n "$@" < /dev/null; }
root=; [ "$(id -u)" -ne 0 ] || root=--allow-run-as-root
now() { date +%s%N; }
since() { echo $((($(now) - $1) / 1000000)); }       # ms

i=0
while [ $i -lt 400 ]; do echo "The cat number $i sat on mat $((i * 7 % 13)) and saw $((i * 3 % 17)) birds."; [ $((i % 3)) -eq 0 ] && echo; i=$((i + 1)); done > "$dir/text.txt"
i=0
while [ $i -lt 60 ]; do echo "{\"instruction\": \"How many birds did cat $i see?\", \"output\": \"It saw $((i * 3 % 17)) birds.\"}"; i=$((i + 1)); done > "$dir/sft.jsonl"
common="--threads 1 --report off --seq 32 --eval-every 3"
gpt="$bin/train_gpt --data $dir/text.txt --paragraphs --preset nano --vocab 300 $common"
# What must be alike: the model, what was measured (but for the speed), what was said.
measured() { cut -d, -f1-4,6- "$1/log.csv"; }
said() { sed "s:$dir/$1:OUT:" "$dir/$1.said" | tr -s ' '; }
alone() { ! pgrep -f "mpi/train_.*$1" > /dev/null; }       # no rank of that run is left
# same NAME RUN: as the run "one".
same() {
    check "$1: the same model" cmp -s "$dir/$reference/model.safetensors" "$dir/$2/model.safetensors"
    measured "$dir/$2" > "$dir/measured"; measured "$dir/$reference" | cmp -s - "$dir/measured"; check "$1: the same log.csv" [ $? -eq 0 ]
    said $2 > "$dir/said"; said $reference | cmp -s - "$dir/said"; check "$1: says the same" [ $? -eq 0 ]
}
# run N NAME COMMAND...: a run of N ranks into $dir/NAME
run() {
    n=$1 name=$2; shift 2
    ranks $n "$@" --out "$dir/$name" > "$dir/$name.said" 2> "$dir/$name.err"; code=$?
    check "$name: $n ranks" [ $code -eq 0 ]
    [ $code -eq 0 ] || tail -n 5 "$dir/$name.err"
}

# ---- pretraining: 4 micro-batches a step, by 1, 2, 3, 4 ranks ----
step="$gpt --batch 2 --grad-accum 4 --steps 8"
run 1 one $step --save-every 4 --keep 9 --dump-batches "$dir/one.dump"
reference=one
for nz in "2 0" "2 1" "2 2" "2 3" "3 2" "4 0" "4 1" "4 2" "4 3"; do
    n=${nz% *} zero=${nz#* }
    run $n gpt$n$zero $step --zero $zero --save-every 4 --keep 9 --dump-batches "$dir/$n.dump"
    same "$n ranks, ZeRO $zero" gpt$n$zero
    check "$n ranks, ZeRO $zero: the same batches" cmp -s "$dir/one.dump" "$dir/$n.dump"
    check "$n ranks, ZeRO $zero: the opening line" grep -q "^ranks: $n processes (MPI)" "$dir/gpt$n$zero.err"
done
# Only one copy of every line, and no file of another rank.
for line in "^ranks: 4" "^device:" "^tokenizer:" "^model:" "^step 1/8" "^step 8/8" "^ranks: rank 0 sent"; do
    check "one copy of '$line'" [ "$(grep -c "$line" "$dir/gpt43.err")" -eq 1 ]
done
check "the same files" sh -c "cd $dir/one && find . | sort > ../a; cd ../gpt43 && find . | sort > ../b; cmp -s ../a ../b"
# A step sends what the plan says. P numbers: sums at all 2 (R-1)/R of them a round, at their owners (R-1)/R; then the weights. And the words of the
# hosts: what each target got (2 x 32 places a micro-batch), the norm.
P=$(sed -n 's/^ *"vocab_size": \([0-9]*\).*/\1/p' "$dir/one/config.json")
sent() { sed -n 's/^ranks: rank 0 sent \([0-9.]*\) MB a step/\1/p' "$dir/$1.err"; }
numbers=$(awk -v V="$P" 'BEGIN { C = 64; F = 176; L = 2; print V * C + L * (4 * C * C + 3 * C * F + 2 * C) + C }')
for nz in "2 0" "4 0" "2 1" "4 1" "2 2"; do
    awk -v R="${nz% *}" -v zero="${nz#* }" -v P="$numbers" -v sent="$(sent gpt${nz% *}${nz#* })" 'BEGIN {
        size = int((P + 16 * R - 1) / (16 * R)) * 16 * R; rounds = 4 / R
        words = (R - 1) * (rounds * 64 * 4 + (zero ? 8 : 0))
        want = (zero ? rounds * (R - 1) / R * 4 * P + (R - 1) * 4 * size / R : rounds * 2 * (R - 1) / R * 4 * P) + words
        exit !(sent * 1e6 > 0.999 * want && sent * 1e6 < 1.001 * want) }'
    check "bytes on the wire, $nz (ranks, ZeRO): $(sent gpt${nz% *}${nz#* }) MB" [ $? -eq 0 ]
done

# ---- more ranks than micro-batches: they are cut; fewer sequences than ranks are refused ----
run 4 cut $gpt --batch 8 --steps 2
check "cut: it is said" grep -q "^ranks: micro-batches of 2 sequences, 4 in a step" "$dir/cut.err"
refuses "too many ranks" 2 "2 sequences a step for 3 ranks" ranks 3 $gpt --batch 2 --steps 2 --out "$dir/x"
check "too many ranks: nothing is written" [ ! -e "$dir/x" ]
refuses "a wrong flag"   2 "unknown flag --stepz" ranks 3 $gpt --stepz 2 --out "$dir/x"
check "a wrong flag: said once" [ "$(grep -c '^error: ' "$dir/stderr")" -eq 1 ]

# ---- resume under other numbers: the same bits as never interrupted ----
# resumed FROM N ZERO: the first 4 steps of that run, then N ranks
resumed() {
    name=re-$1-$2$3
    mkdir "$dir/$name"; cp -r "$dir/$1/checkpoint-4" "$dir/$name"; head -n 5 "$dir/$1/log.csv" > "$dir/$name/log.csv"
    run $2 $name $step --resume --zero $3
    same "resumed: $1 by $2 ranks, ZeRO $3" $name
}
for how in "one 4 3" "gpt43 1 0" "gpt41 3 2" "gpt20 2 1"; do resumed $how; done

# ---- ranks that share every layer add in another order: the losses are within 1e-5 ----
near() {
    measured "$dir/$reference" > "$dir/a"; measured "$dir/$2" > "$dir/b"
    paste -d, "$dir/a" "$dir/b" | awk -F, 'NR > 1 { d = $2 - $(NF / 2 + 2); if (d < 0) d = -d; if (!(d <= 1e-5)) bad = 1 } END { exit bad || NR != 9 }'
    check "$1: losses within 1e-5" [ $? -eq 0 ]
}
run 2 tensor2 $step --tensor-parallel 2 --save-every 4; near "2 ranks share" tensor2
run 4 tensor43 $step --tensor-parallel 2 --zero 3 --save-every 4; near "2 x 2 ranks, ZeRO 3" tensor43
for how in "tensor43 3 1" "tensor2 1 0" "one 2 0 --tensor-parallel 2"; do
    set -- $how; from=$1 n=$2 zero=$3; shift 3
    mkdir "$dir/split-$from-$n"; cp -r "$dir/$from/checkpoint-4" "$dir/split-$from-$n"; head -n 5 "$dir/$from/log.csv" > "$dir/split-$from-$n/log.csv"
    run $n split-$from-$n $step --resume --zero $zero "$@"; near "resumed: $from by $n ranks $*" split-$from-$n
done

# ---- fine-tuning, with pretraining text read along; adapters ----
sft="$bin/train_sft --model $dir/one --data $dir/sft.jsonl --ptx 0.5 --ptx-data $dir/text.txt --ptx-batch 4 $common --batch 1 --grad-accum 4 --steps 6 --ask 3 --max-new 4"
run 1 sft $sft; reference=sft
for nz in "2 0" "2 2" "4 1" "4 3"; do
    run ${nz% *} sft${nz% *}${nz#* } $sft --zero ${nz#* }
    same "fine-tuning, ${nz% *} ranks, ZeRO ${nz#* }" sft${nz% *}${nz#* }
done
run 1 lora $sft --lora-rank 2; reference=lora
for nz in "2 1" "3 3" "4 2"; do
    run ${nz% *} lora${nz% *}${nz#* } $sft --lora-rank 2 --zero ${nz#* }
    same "adapters, ${nz% *} ranks, ZeRO ${nz#* }" lora${nz% *}${nz#* }
    check "adapters, ${nz% *} ranks: alone, too" cmp -s "$dir/lora/adapter/adapter_model.safetensors" "$dir/lora${nz% *}${nz#* }/adapter/adapter_model.safetensors"
done

# ---- an error of one rank ends all, and names it ----
# only RANK COMMAND THEN...: a rank for which the command is run first
only() { echo "[ \$OMPI_COMM_WORLD_RANK != $1 ] || { $2; }"; }
# ends NAME TEXT SECONDS COMMAND...: all within that time; nobody is left, no result
ends() {
    name=$1 text=$2 limit=$3; shift 3
    began=$(now)
    "$@" > "$dir/stdout" 2> "$dir/stderr"; code=$?
    took=$(since $began)
    check "$name: ends with an error" [ $code -eq 1 ]
    check "$name: within $limit s ($took ms)" [ $took -lt ${limit}000 ]
    check "$name: says it, once" [ "$(grep -c "^error: .*$text" "$dir/stderr")" -eq 1 ]
    check "$name: nobody is left" alone "out $dir/error"
    check "$name: no result" [ ! -e "$dir/error/config.json" ]
    rm -rf "$dir/error"
}
cp "$dir/text.txt" "$dir/there.txt"
long="$gpt --batch 1 --grad-accum 4 --steps 100000 --eval-every 0 --out $dir/error"
elsewhere=$(echo "$long" | sed "s:$dir/text.txt:$dir/nowhere.txt:")
long="$bin/train_gpt --data $dir/text.txt --model $dir/one $common --batch 1 --grad-accum 4 --steps 100000 --eval-every 0 --out $dir/error"
other=$(echo "$long" | sed "s:$dir/text.txt:$dir/other.txt:")
sed 's/mat 3/mat 4/' "$dir/text.txt" > "$dir/other.txt"
ends "a file that one rank misses" "rank 2 of 4: there is no file or folder .*nowhere.txt" 15 \
    ranks 4 sh -c "if [ \$OMPI_COMM_WORLD_RANK = 2 ]; then exec $elsewhere; else exec $long; fi"
ends "other text at one rank" "rank 3 of 4: its .*data are not those of rank 0" 15 \
    ranks 4 sh -c "if [ \$OMPI_COMM_WORLD_RANK = 3 ]; then exec $other; else exec $long; fi"
ends "no number" "rank 0 of 4: .*not" 30 ranks 4 $long --lr 10 --weight-decay 10 --grad-clip 0 --warmup 0 --schedule constant
ends "a full disk" "cannot write" 30 ranks 4 --mca btl tcp,self sh -c "
    if [ \$OMPI_COMM_WORLD_RANK = 0 ]; then ulimit -f 300; trap '' XFSZ; fi; exec $long --save-every 2"

# ---- a hung rank ----
# started N NAME COMMAND...: in the background, $pid; returns when the first step is taken
started() {
    rm -rf "$dir/error"
    "$@" > "$dir/stdout" 2> "$dir/stderr" < /dev/null & pid=$!
    i=0
    while [ $i -lt 400 ] && [ "$(grep -c , "$dir/error/log.csv" 2> /dev/null || echo 0)" -lt 2 ]; do sleep 0.05; i=$((i + 1)); done
}
members() { for p in $(pgrep -P "$1"); do echo $p; done; }
direct="mpirun $root --oversubscribe --bind-to none"
started $direct -np 4 $long --rank-timeout 2
began=$(now); kill -STOP $(members $pid | sed -n 2p); wait $pid; code=$?
check "a hung rank: ends" [ $code -eq 1 ]
check "a hung rank: within 10 s ($(since $began) ms)" [ $(since $began) -lt 10000 ]
check "a hung rank: who waited says so" grep -q '^error: rank [0-9] of 4: the others gave no answer in 2 s' "$dir/stderr"
check "a hung rank: nobody is left" alone "out $dir/error"

# ---- Ctrl-C at launch.sh: all finish the same step and save ----
started env --default-signal=INT tools/launch.sh -n 4 $long
began=$(now); kill -INT $pid; wait $pid; code=$?
check "Ctrl-C: exit code 130 ($code)" [ $code -eq 130 ]
check "Ctrl-C: within 10 s" [ $(since $began) -lt 10000 ]
check "Ctrl-C: saved, said once" [ "$(grep -c '^interrupted at step .*, saved' "$dir/stderr")" -eq 1 ]
check "Ctrl-C: a checkpoint of the last step" [ -e "$dir/error/checkpoint-$(tail -n 1 "$dir/error/log.csv" | cut -d, -f1)/optimizer.safetensors" ]
rm -rf "$dir/error"

# ---- kill -9 of each of 4 ranks at random moments: all end, nothing is lost; the run goes on and ends as if never killed ----
kills=${MPI_KILLS:-40}
killed="$gpt --batch 1 --grad-accum 4 --steps 120 --eval-every 0 --save-every 3"
run 1 never $killed; reference=never
seed=$$ i=0 lost=0 left=0 slow=0 broken=0 flag=
while [ $i -lt $kills ]; do
    $direct -np 4 $killed --zero $((i % 4)) $flag --out "$dir/kill" > "$dir/kill.said" 2> "$dir/kill.err" < /dev/null & pid=$!
    seed=$(((seed * 1103515245 + 12345) % 2147483648)); sleep $(awk -v s=$seed 'BEGIN { print 0.2 + 2 * s / 2147483648 }')
    victim=$(members $pid | sed -n $((i % 4 + 1))p)
    began=$(now)
    [ -z "$victim" ] || kill -9 $victim 2> /dev/null
    wait $pid; code=$?
    [ $(since $began) -lt 10000 ] || [ $code -eq 0 ] || slow=$((slow + 1))
    alone "out $dir/kill" || left=$((left + 1))
    if [ $code -eq 0 ]; then            # it was over before the kill: the result is there
        cmp -s "$dir/never/model.safetensors" "$dir/kill/model.safetensors" || broken=$((broken + 1))
        flag=; rm -rf "$dir/kill"
    else lost=$((lost + 1))
        if ls -d "$dir"/kill/checkpoint-*[0-9] > /dev/null 2>&1; then flag=--resume
        elif [ -e "$dir/kill" ]; then flag=--overwrite; else flag=; fi
    fi
    i=$((i + 1))
done
echo "$kills runs of 4 ranks, $lost of them killed in the middle"
check "kill -9: all are gone within 10 s ($slow were not)" [ $slow -eq 0 ]
check "kill -9: nobody is left ($left times)" [ $left -eq 0 ]
check "kill -9: results in between are right" [ $broken -eq 0 ]
run 2 kill $killed --zero 3 $flag
check "after $lost kills: the same model" cmp -s "$dir/never/model.safetensors" "$dir/kill/model.safetensors"
check "after $lost kills: no temporary is left" [ -z "$(find "$dir/kill" -name '*.tmp')" ]

# ---- --elastic: goes on with those that are left ----
elastic="tools/launch.sh -n 4 --elastic 3"
started $elastic $killed --steps 600 --zero 2 --out "$dir/error"
for n in 4 3; do            # a rank of 4, then one of 3
    i=0; boss=
    while [ -z "$boss" ] && [ $i -lt 200 ]; do boss=$(pgrep -f "mpirun -np $n .*out $dir/error" | head -n 1); sleep 0.1; i=$((i + 1)); done
    touch "$dir/mark"; i=0              # it has come to a checkpoint of its own, and is far from its end
    while [ -z "$(find "$dir/error" -maxdepth 1 -name 'checkpoint-*[0-9]' -newer "$dir/mark")" ] && [ $i -lt 400 ]; do sleep 0.05; i=$((i + 1)); done
    kill -9 $(members $boss | sed -n 2p)
done
wait $pid; code=$?
check "--elastic: ends well" [ $code -eq 0 ]
check "--elastic: says what was lost" grep -q "^launch: try 1 of 3: lost rank 1 on .*: signal 9" "$dir/stderr"
check "--elastic: with how many it goes on" grep -q "^launch: goes on with 3 of 4 ranks from " "$dir/stderr"
check "--elastic: and again" grep -q "^launch: goes on with 2 of 3 ranks from " "$dir/stderr"
check "--elastic: a result" [ -s "$dir/error/model.safetensors" -a -s "$dir/error/config.json" ]
check "--elastic: all steps" [ "$(tail -n 1 "$dir/error/log.csv" | cut -d, -f1)" = 600 ]
refuses "--elastic: a wrong flag is not tried again" 2 "unknown flag --stepz" $elastic $killed --stepz --out "$dir/x"
check "--elastic: one try" sh -c "! grep -q '^launch: try' $dir/stderr"
$elastic $bin/train_gpt --data "$dir/nowhere.txt" --out "$dir/x" > /dev/null 2> "$dir/stderr"
check "--elastic: nor is an error of the run" [ $? -eq 1 -a "$(grep -c '^launch: the run ended by an error of its own' "$dir/stderr")" -eq 1 ]
sum=$(cksum < "$dir/error/model.safetensors")
refuses "--elastic: a result is not overwritten" 2 "holds a result" $elastic $killed --out "$dir/error"
check "--elastic: it stays" [ "$sum" = "$(cksum < "$dir/error/model.safetensors")" ]
for wrong in "-n" "-n many" "-n 4" "-n 4 --hosts= $bin/train_gpt" "-n 4 ./nowhere"; do
    refuses "launch.sh $wrong" 2 "" tools/launch.sh $wrong
done

# ---- a machine that is gone, and slurm: mpirun and srun are played ----
mkdir "$dir/fake"
for starter in mpirun srun; do
    printf '#!/bin/sh\necho "$*" >> %s/calls\n[ $(wc -l < %s/calls) -gt 1 ] || { cat %s/message >&2; exit 137; }\n' "$dir" "$dir" "$dir" > "$dir/fake/$starter"
    chmod +x "$dir/fake/$starter"
done
# played MESSAGE LAUNCH...: the first try ends with it, the second is well
played() {
    rm -f "$dir/calls"; echo "$1" > "$dir/message"; shift
    PATH="$dir/fake:$PATH" OMPI_MCA_plm_rsh_agent=false tools/launch.sh "$@" $bin/train_gpt --seed 5 --out "$dir/x" 2> "$dir/stderr"
    code=$?; second=$(sed -n 2p "$dir/calls")
    check "$1: a second try, which is well" [ $code -eq 0 -a "$(wc -l < "$dir/calls")" -eq 2 ]
}
played "ORTE has lost communication with a remote daemon." --hosts $(hostname):3,elsewhere:2 --elastic 2
check "the other machine goes on: $second" sh -c "echo '$second' | grep -q -e '-np 3 .*--host $(hostname):3 .*--seed 5 --out $dir/x --overwrite'"
check "what was lost is said" grep -q '^launch: try 1 of 2: lost the connection to a machine;machine elsewhere' "$dir/stderr"
SLURM_JOB_ID=7; export SLURM_JOB_ID
played "srun: error: node3: task 2: Killed" -n 4 --elastic 1
check "slurm: with 3: $second" sh -c "echo '$second' | grep -q '^-n 3 --kill-on-bad-exit=1 .*--overwrite'"
unset SLURM_JOB_ID
check "a layer's ranks stay together" sh -c "PATH=$dir/fake:\$PATH; rm $dir/calls; echo 'srun: error: node3: task 2: Killed' > $dir/message; SLURM_JOB_ID=7 tools/launch.sh -n 8 --elastic 1 $bin/train_gpt --tensor-parallel 2 --out $dir/x 2> $dir/stderr; grep -q '^-n 6 ' $dir/calls"

# ---- memory at GPT-2 124M: what two processes take is what the plan says, within 10 %; what does not fit one fits two ----
memory=$bin/test_ranks_memory
for zero in 0 1 2; do
    [ $zero -eq 0 ] || [ -n "$MPI_MEMORY" ] || continue
    ranks 2 $memory $zero > "$dir/stdout" 2> "$dir/stderr"; code=$?
    check "memory: ZeRO $zero: $(cat "$dir/stdout")" [ $code -eq 0 ]
done
few() { ( ulimit -v 2000000; ranks "$@" ) > "$dir/stdout" 2> "$dir/stderr"; }
few 2 $memory 3; code=$?
check "memory: ZeRO 3 under 2 GB a process: $(cat "$dir/stdout")" [ $code -eq 0 ]
few 1 $memory 0; code=$?
check "memory: one process does not fit there" [ $code -eq 1 ]
check "memory: it says so" grep -q '^error: out of memory' "$dir/stderr"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
