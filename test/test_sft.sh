#!/bin/sh
# test_sft.sh: does fine-tuning do what it is there for? Pretrains on the tiny world, fine-tunes, and compares
# held-out answers before and after. Run from the repository's root after make; ends with "N passed, N failed".
#
#     sh test/test_sft.sh           short: a third of the steps of both stages, one seed
#     sh test/test_sft.sh full      ./train_gpt and ./train_sft as they are, seeds 1, 2 and 3 (`make test-sft`)
LC_ALL=C; export LC_ALL
root=$(pwd) passed=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
check() { what=$1; shift; if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $what"; fi; }
at_least() { awk -v x="$1" -v y="$2" 'BEGIN { exit !(x >= y) }'; }

# one SEED RIGHT GAIN: exactly right at least RIGHT, and GAIN more than the base model; 98 % of the answers stop
one() {
    seed=$1 right=$2 gain=$3; shift 3
    "$root/train_gpt" --seed "$seed" --overwrite $gpt > "$dir/base.txt" 2> "$dir/stderr"
    check "seed $seed: train_gpt" [ $? -eq 0 ]
    began=$(date +%s)
    "$root/train_sft" --seed "$seed" --overwrite $sft > "$dir/sft.txt" 2> "$dir/stderr"
    check "seed $seed: train_sft" [ $? -eq 0 ]
    seconds=$(($(date +%s) - began))
    set -- $(awk '$1 == "all" || $1 == "stops" { print $2, $5 }' "$dir/sft.txt")
    check "seed $seed: the table has its rows" [ $# -eq 4 ]
    echo "seed $seed: exactly right $1 -> $2 (bound $right), stops $3 -> $4, train_sft took $seconds s"
    check "seed $seed: exactly right" at_least "$2" "$right"
    check "seed $seed: better than the base model" at_least "$2" "$(awk -v x="$1" -v y="$gain" 'BEGIN { print x + y }')"
    check "seed $seed: answers stop" at_least "$4" 0.98
}
cd "$dir" || exit 1
if [ "$1" = full ]; then
    gpt= sft="--val-data out/world/sft_choose.jsonl"
    for seed in 1 2 3; do one $seed 0.75 0.60; done      # measured: .864 .949 .959
else
    gpt="--steps 670 --eval-every 0" sft="--steps 300 --ask 400"
    # Measured with seed 1: .450 (base .007); the bound: less four standard errors, as other seeds and roundings move it.
    for seed in ${SEEDS:-1}; do one $seed 0.35 0.34; done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
