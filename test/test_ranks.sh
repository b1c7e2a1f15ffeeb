#!/bin/sh
# test_ranks.sh: 1, 2 and 4 ranks, with every ZeRO, train test_ranks.c's models to the same bits, in float and double; a
# checkpoint goes on under other ranks and another ZeRO; memory and bytes on the wire are those of chapter 10's formulas.
# The programs are built before: make mpi_programs (BUILD: where).
. test/check.sh
build=${BUILD:-build}/mpi
run="mpirun -q --allow-run-as-root --oversubscribe -np"

same() { # what, program, ranks, arguments: it must print the lines of $dir/want
    what=$1 program=$2 ranks=$3
    shift 3
    $run "$ranks" "$build/$program" "$@" > "$dir/got" 2> "$dir/errors"
    if diff "$dir/want" "$dir/got" > "$dir/diff"; then ok
    else bad "$what, $ranks ranks: not what 1 rank has"; head -n 4 "$dir/diff" "$dir/errors"; fi
}
works() { # what, command
    what=$1; shift
    if "$@" > "$dir/log" 2>&1; then ok; else bad "$what"; grep error "$dir/log"; fi
}
for program in test_ranks test_ranks_double; do
    "$build/$program" 0 > "$dir/want"                   # alone, without mpirun
    check "$program alone" [ "$(grep -c : "$dir/want")" -ge 12 ]
    for case in "1 3" "2 0" "4 0" "2 1" "4 1" "2 2" "4 2" "3 3" "4 3" "3 0 late" "2 1 late" "3 2 late" "2 3 late"; do
        set -- $case
        same "$program, ZeRO $2 $3" "$program" "$1" "$2" $3
    done
    # Ranks that share layers add in another order: within 1e-5, in double 1e-12; at every rank the same bits.
    "$build/$program" 0 share 1 > "$dir/alone"
    for case in "2 0" "4 3" "2 1"; do
        set -- $case
        $run "$1" "$build/$program" "$2" share 2 > "$dir/got" 2> "$dir/errors"
        case $program in *double) most=1e-12 ;; *) most=1e-5 ;; esac
        if paste -d" " "$dir/alone" "$dir/got" | awk -v most=$most '{
                n = NF / 2
                for (i = 2; i <= n; i++) { d = $i - $(i + n); if (d < 0) d = -d; if (!(d <= most)) bad++ }
            } END { exit bad || NR < 7 || n != 18 }'; then ok
        else bad "$program: 2 of $1 ranks share each layer, ZeRO $2"; cat "$dir/errors"; fi
    done
    works "a checkpoint of layers that are shared" $run 4 "$build/$program" 2 save "$dir/shared" 2
    "$build/$program" 0 look "$dir/shared" 1 > "$dir/look"
    check "$program: what a checkpoint of shared layers holds" [ "$(grep -c : "$dir/look")" -ge 7 ]
    mv "$dir/want" "$dir/all"
    mv "$dir/look" "$dir/want"
    same "$program: a checkpoint of shared layers" "$program" 2 0 look "$dir/shared" 2
    same "$program: a checkpoint of shared layers" "$program" 4 3 look "$dir/shared" 2
    mv "$dir/all" "$dir/want"
    grep -v "^offspring\|^quantised" "$dir/want" > "$dir/runs"
    mv "$dir/runs" "$dir/want"
    for case in "1 0 2 3" "4 3 1 0" "2 1 3 2" "3 2 2 1"; do
        set -- $case
        rm -rf "$dir/out"
        works "a checkpoint of $1 ranks, ZeRO $2" $run "$1" "$build/$program" "$2" save "$dir/out"
        same "$program: after $1 ranks with ZeRO $2 ZeRO $4" "$program" "$3" "$4" go "$dir/out"
    done
done
for case in "1 0" "2 0" "4 0" "4 1" "4 2" "1 3" "2 3" "4 3"; do
    works "bytes of ${case% *} ranks, ZeRO ${case#* }" $run "${case% *}" "$build/test_ranks" "${case#* }" bytes
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
