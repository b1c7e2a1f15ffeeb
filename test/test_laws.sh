#!/bin/sh
# test_laws.sh: build/laws from end to end, on models that are trained in a second. Run from the repository's root after make. Ends with
# "N passed, N failed".
. test/check.sh
case ${LAWS:-build/laws} in /*) laws=${LAWS:-build/laws} ;; *) laws=$PWD/${LAWS:-build/laws} ;; esac
small="--sizes 1x16,2x16,2x32 --tokens 5000,10000,20000 --ahead 2x48"
cd "$dir" || exit 1
points=out/laws/points.csv
run() { "$laws" $small "$@" > a 2> log < /dev/null; }
column() { cut -d, -f"$1" $points | tail -n +2 | sort; }

run --threads 2 --precision fp32; check "exits 0" [ $? -eq 0 ]
check "it says what Ctrl-C loses" grep -q "^$points: Ctrl-C loses no model that is done" log
check "ten models" [ "$(column 1-9 | wc -l)" -eq 10 ]
check "of one world" [ "$(column 1 | uniq | wc -l)" -eq 1 ]
check "the law, four times" [ "$(grep -c '^E .* %.* (.* to .*)$' a)" -eq 4 ]
check "and what came of it" grep -q "^Fitted, E comes out as .*: it came to .* the interval\.$" a
check "steps fill the tokens" [ "$(column 4 | uniq | tr '\n' ' ')" = "10240 20480 5120 " ]
entropy=$(sed 's/.*"floor_bits_per_byte": \([0-9.]*\).*/\1/' out/world/floor.json)
check "E known is the world's" grep -q "^E known  *$(printf %.4f "$entropy") " a
column 9 > losses
check "losses are above it" awk -v e="$entropy" '!($1 > e && $1 < 4) { bad = 1 } END { exit bad }' losses
more() { awk -F, -v n=$1 '$2 == 2 && $3 == 32 && $4 == n { print $9 }' $points; }
check "more tokens, less loss" awk "BEGIN { exit !($(more 5120) > $(more 10240) && $(more 10240) > $(more 20480)) }"
if [ -x "${laws%/*}/report" ]; then
    check "both charts are on the page" [ "$(grep -o '<figcaption>[lt][oh][^<]*\(compute\|entropy\)' out/report.html | wc -l)" -eq 2 ]
    check "the entropy is in them" grep -q 'entropy of the text' out/report.html
    check "no number is none" sh -c "! grep -qiw 'nan\|inf' out/report.html"
else echo "SKIP: the page: no build/report"; fi

cp a before; cp $points points
run --threads 2 --precision fp32; check "again" cmp -s a before
check "nothing is trained again" grep -q "^9 of 9 are in $points and not trained again" log
check "nor written" cmp -s $points points
column 1-9 > two; sed -i '/,2,32,/d' $points
run --threads 1 --precision fp32; check "what is missing is trained" grep -q "^6 of 9 are in" log
column 1-9 > one; check "one at a time: the same" cmp -s one two
run --threads 2 --precision fp32 --seed 2 --report off; check "another seed" [ "$(column 1-9 | wc -l)" -eq 20 ]
check "is another world" [ "$(column 1 | uniq | wc -l)" -eq 2 ]

long() { exec "$laws" --sizes 8x256,8x256,8x256 --precision fp32 --threads 2 --report off --out out/long > a 2> log < /dev/null; }
long & sleep 3; kill "$(ps -ef | awk -v of=$! '$3 == of { print $2; exit }')"
wait $!; check "one process of two is killed" [ $? -eq 1 ]
check "which is said" grep -q "^error: the process that trains 8x256 on .* tokens has ended" log
check "with a remedy" grep -q "^  try: .*the same command goes on" log
long & sleep 3; kill $!; { wait $!; } 2> /dev/null; check "ended in the middle" [ $? -gt 128 ]
working() { ps -ef | grep -q "[o]ut/long"; }
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do working || break; sleep 1; done
check "its processes end, too" sh -c "! ps -ef | grep -q '[o]ut/lon[g]'"
check "nothing half-written" sh -c "! ls out/long/*.tmp 2> /dev/null"

refuses "too few points" 2 "too few points" "$laws" --sizes 2x16,2x32
refuses "too few amounts" 2 "too few points" "$laws" --tokens 10000,20000
refuses "no size" 2 'no size is called "2y16"' "$laws" --sizes 2x16,2y16,2x32
refuses "no width" 2 'no size is called "2x20"' "$laws" --ahead 2x20
refuses "no tokens" 2 'cannot read "many"' "$laws" --tokens 10000,many
mkdir -p out/theirs; echo "years of work" > out/theirs/points.csv
refuses "somebody's file" 2 "is no list of points of ours" "$laws" $small --out out/theirs
check "stays" grep -q "years of work" out/theirs/points.csv
mkdir -p out/model; echo '{"model_type": "llama"}' > out/model/config.json
refuses "a model's folder" 2 "holds a model" "$laws" $small --out out/model
printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
