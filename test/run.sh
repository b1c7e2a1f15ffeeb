#!/bin/sh
# run.sh PROGRAM...: run the test programs one after the other, add up their last lines "N passed, N failed", and end with the sum.
# A program that ends without such a line, or with a nonzero exit code and no failure counted, is a failure itself.
# Threads that wait asleep: tests run with more threads than cores, and spinning would make them crawl.
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}; export OMP_WAIT_POLICY
passed=0 failed=0
for program in "$@"; do
    printf '== %s\n' "$program"
    case $program in *.sh) runner=sh ;; *) runner= ;; esac
    log=$(mktemp)
    $runner "$program" > "$log" 2>&1
    code=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    p=$(printf '%s' "$line" | sed 's/ passed.*//') f=$(printf '%s' "$line" | sed 's/.*passed, //; s/ failed.*//')
    if [ -z "$line" ]; then
        printf 'no result line (exit code %d)\n' "$code"
        p=0 f=1
    elif [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then
        printf 'exit code %d\n' "$code"
        f=1
    fi
    if [ "$f" -ne 0 ]; then tail -n 60 "$log"; else grep -E '^(SKIP|skip)' "$log"; printf '%s\n' "$line"; fi
    rm -f "$log"
    passed=$((passed + p)) failed=$((failed + f))
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
