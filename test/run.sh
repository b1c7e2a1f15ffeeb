#!/bin/sh
# run.sh [-j N] PROGRAM...: run the test programs, one after the other or N at a time, add up their last lines "N passed, N failed", and
# end with the sum. PROGRAM: a path, or 'path.sh arguments'. A program that ends without such a line, or with a nonzero exit code and no
# failure counted, is a failure itself. What they say comes in the order of the list (N at a time: at the end).
# Threads that wait asleep: tests run with more threads than cores, and spinning would make them crawl.
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}; export OMP_WAIT_POLICY
jobs=1 passed=0 failed=0
if [ "$1" = -j ]; then jobs=$2; shift 2; fi
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
trap 'exit 130' INT TERM
run() {         # number, program: what it says, and its exit code
    case $2 in *.sh | *.sh\ *) runner=sh ;; *) runner= ;; esac
    $runner $2 > "$said/$1.log" 2>&1
    echo $? > "$said/$1.code"
}
tell() {        # number, program
    printf '== %s\n' "$2"
    log=$said/$1.log
    read -r code < "$said/$1.code"
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
    passed=$((passed + p)) failed=$((failed + f))
}
all() {         # run or tell: each in turn; of N who run, each takes the next that nobody has taken
    does=$1 number=0; shift
    for program; do
        number=$((number + 1))
        if [ "$jobs" -gt 1 ] && [ $does = run ]; then mkdir "$said/$number" 2> /dev/null || continue; fi
        $does $number "$program"
        if [ "$jobs" -eq 1 ]; then tell $number "$program"; fi
    done
}
if [ "$jobs" -gt 1 ]; then
    for worker in $(seq "$jobs"); do all run "$@" & done
    wait
    all tell "$@"
else all run "$@"; fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
