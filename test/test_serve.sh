#!/bin/sh
# test_serve.sh: build/serve as its clients meet it (test/serve_client.c): answers equal to build/chat's, streams, log-probabilities,
# refusals, eight at once, clients that are slow, go away, or are too many; then Ctrl-C. Run from the repository's root after make.
# Ends with "N passed, N failed".
. test/check.sh
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}; export OMP_WAIT_POLICY
serve=${SERVE:-build/serve} client=${SERVE_CLIENT:-build/serve_client} chat=${CHAT:-build/chat} train_gpt=${TRAIN_GPT:-./train_gpt}
if [ ! -x "$serve" ] && ! echo '#include <microhttpd.h>' | ${CC:-cc} -fsyntax-only -x c - 2> /dev/null; then
    echo "SKIP: build/serve: no libmicrohttpd (apt-get install libmicrohttpd-dev)"
    echo "0 passed, 0 failed"
    exit 0
fi

# A model that rambles, in letters of two, three and four bytes; and another of the same.
i=0
while [ $i -lt 300 ]; do echo "Zoë number $i paid €$((i * 7 % 13)) for 🐈 and naïve words $((i * 3 % 17))."; i=$((i + 1)); done > "$dir/text.txt"
$train_gpt --data "$dir/text.txt" --preset nano --vocab 300 --seq 128 --batch 4 --steps 60 --eval-every 0 --threads 1 --report off \
    --out "$dir/m" > /dev/null 2> "$dir/stderr" || { cat "$dir/stderr"; echo "0 passed, 1 failed"; exit 1; }
cp -r "$dir/m" "$dir/other"
$train_gpt --data "$dir/text.txt" --preset nano --vocab 300 --seq 320 --batch 1 --steps 3 --eval-every 0 --threads 1 --report off \
    --out "$dir/long" > /dev/null 2> "$dir/stderr" || { cat "$dir/stderr"; echo "0 passed, 1 failed"; exit 1; }

# begin FLAGS...: a server on a free port; $server, $port.
begin() {
    : > "$dir/log"
    $serve --port 0 --threads 1 --votes "$dir/some/votes.jsonl" "$@" 2> "$dir/log" &
    server=$! port= tries=0
    while [ -z "$port" ] && [ $tries -lt 1200 ] && kill -0 $server 2> /dev/null; do
        sleep 0.05
        tries=$((tries + 1))
        port=$(sed -n 's/^serving at http:.*:\([0-9]*\)\/ .*/\1/p' "$dir/log")
    done
    check "a server with $*" [ -n "$port" ]
}
# ends SIGNAL [sent]: it does so within some seconds, with exit code 0. sent: whoever did it.
ends() {
    [ -n "$2" ] || kill -"$1" $server
    wait $server
    code=$?
    check "$1 ends it with exit code 0, not $code" [ $code -eq 0 ]
    check "$1: nothing was wrong: $(tail -n 3 "$dir/log")" grep -q '^ending$' "$dir/log"
}
# play WHAT: the client's checks are ours.
play() {
    "$client" "$port" "$dir/m" "$chat" "$1" > "$dir/said" 2>&1
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$dir/said")
    [ -n "$line" ] || { bad "$1: the client has no result"; tail -n 5 "$dir/said"; return; }
    grep -v -E '^[0-9]+ passed' "$dir/said"
    passed=$((passed + ${line%% *})) failed=$((failed + $(echo "$line" | sed 's/.*, \([0-9]*\) .*/\1/')))
    check "$1: the server lives" kill -0 $server
}

# ---- the command line ----
$serve --help > "$dir/help"; check "--help exits 0" [ $? -eq 0 ]
for flag in model port host max-tokens context batch patience votes weights threads; do
    check "--help lists --$flag" grep -q -e "--$flag" "$dir/help"
done
refuses "missing folder"  2 "no folder $dir/none"  $serve --model "$dir/none"
refuses "no model in it"  1 "config.json"          $serve --model "$dir"
refuses "a bad address"   2 "is no address"        $serve --model "$dir/m" --host here
refuses "a model twice"   2 "is there twice"       $serve --model "$dir/m" "$dir/m"
refuses "too many rows"   2 "out of range"         $serve --model "$dir/m" --batch 65

# ---- clients ----
begin --model "$dir/m"
play answers; play refusals; play clients
refuses "a port that is taken" 1 "cannot listen" $serve --model "$dir/m" --port "$port"
ends INT
begin --model "$dir/m" --batch 3
play clients
ends TERM
begin --model "$dir/long" --batch 3
play long
ends TERM
begin --model "$dir/m" "$dir/other" --batch 1 --patience 1
play gone
"$client" "$port" "$dir/m" "$chat" open $server > "$dir/open" 2>&1 &
waits=$!
ends INT sent
wait $waits; check "whoever waits is told that the server ends: $(cat "$dir/open")" [ $? -eq 0 ]
check "a vote is a line" [ "$(grep -c '"winner": "[ab]"' "$dir/some/votes.jsonl")" -eq 2 ]
printf '{"half' >> "$dir/some/votes.jsonl"
begin --model "$dir/m" "$dir/other" --patience 1
check "half a vote is named" grep -q "line 3 of .*votes.jsonl is no vote" "$dir/log"
"$client" "$port" "$dir/m" "$chat" votes > "$dir/said" 2>&1; check "votes are kept: $(cat "$dir/said")" [ $? -eq 0 ]
ends INT
begin --model "$dir/m" --host 0.0.0.0
check "--host 0.0.0.0: there is no password" grep -q "note: there is no password" "$dir/log"
ends INT
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
