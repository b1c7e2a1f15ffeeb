#!/bin/sh
# test_device.sh: a run of training on the GPU beside the same on the CPU: step by step the same losses, and each goes on with the other's
# checkpoint. TRAIN_GPT: a train_gpt with a GPU, or one that plays it (make cuda_on_cpu: build/cuda_on_cpu/train_gpt). STEPS, SEQ, BATCH:
# how much; as they are, for the played one.
. test/check.sh
train_gpt=${TRAIN_GPT:-./train_gpt} steps=${STEPS:-4}
i=0
while [ $i -lt 400 ]; do
    echo "The cat number $i sat on mat $((i * 7 % 13)) and saw $((i * 3 % 17)) birds."
    [ $((i % 3)) -eq 0 ] && echo
    i=$((i + 1))
done > "$dir/text.txt"
# run DEVICE OUT FLAGS...: what it said lies in $dir/stderr.
run() {
    device=$1 out=$dir/$2; shift 2
    $train_gpt --data "$dir/text.txt" --paragraphs --val-fraction 0.01 --preset nano --vocab 300 --seq "${SEQ:-16}" --batch "${BATCH:-1}" \
        --lr 1e-3 --warmup 0 --eval-every 0 --sample-every 0 --precision fp32 --steps "$steps" --save-every $((steps / 2)) \
        --device $device --out "$out" "$@" > "$dir/stdout" 2> "$dir/stderr" < /dev/null
}
losses() { sed 1d "$dir/$1/log.csv" | cut -d , -f 1,2; }
# The last losses of two runs, step by step: equal to a thousandth?
same_losses() {
    losses "$1" > "$dir/a"; losses "$2" > "$dir/b"
    paste -d , "$dir/a" "$dir/b" | awk -F , -v steps="$steps" '
        { d = $2 - $4; if ($1 != $3 || !(d * d <= 1e-6 * $4 * $4)) { print "FAILED at step " $1 ": " $2 " and " $4; bad = 1 } }
        END { exit bad || NR != steps }'
}
run cuda gpu
code=$?
if grep -q 'no GPU to compute on' "$dir/stderr"; then
    echo "SKIP: $(sed -n 's/^error: //p' "$dir/stderr")"
    echo "0 passed, 0 failed"
    exit 0
fi
check "a run on the GPU: exit code $code: $(tail -n 2 "$dir/stderr")" [ $code -eq 0 ]
check "the start says where" grep -q '^device: cuda, .*precision fp32' "$dir/stderr"
run cpu cpu
check "the same on the CPU" [ $? -eq 0 ]
check "other losses than on the CPU" same_losses gpu cpu
# The result is taken away, the checkpoint of the middle is there: the other device goes on with it.
goes_on() {
    cp -r "$dir/$2" "$dir/$2_on_$1"
    rm "$dir/$2_on_$1/config.json"
    run "$1" "$2_on_$1" --resume
    code=$?
    check "begun on $2, gone on with on $1: exit code $code: $(tail -n 2 "$dir/stderr")" [ $code -eq 0 ]
    check "begun on $2, gone on with on $1: it does not say so" grep -q '^note: the checkpoint is from device' "$dir/stderr"
    check "begun on $2, gone on with on $1: other losses" same_losses "$2_on_$1" cpu
}
goes_on cpu gpu
goes_on cuda cpu
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
