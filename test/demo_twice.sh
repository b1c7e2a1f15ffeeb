#!/bin/sh
# demo_twice.sh: runs the demo twice with the same binaries and compares every number, times aside: the weights of all
# models, all logged steps, all tables. Not a part of make test: it takes twice the demo's time. Ends with "N passed, N
# failed".
LC_ALL=C; export LC_ALL
dir=${DIR:-out/demo_twice}
passed=0 failed=0
check() { what=$1; shift; if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $what"; fi; }
for run in one two; do
    OUT=$dir/$run sh tools/demo.sh > /dev/null 2> "$dir.$run.err" || { tail -n 5 "$dir.$run.err"; echo "0 passed, 1 failed"; exit 1; }
done
for model in base sft reward ppo dpo; do
    check "weights of $model" cmp -s "$dir/one/$model/model.safetensors" "$dir/two/$model/model.safetensors"
    for run in one two; do              # the column tok_per_s is a time
        awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "tok_per_s") c = i }
                 { $c = c ? "" : $c; print }' "$dir/$run/$model/log.csv" > "$dir.$run.log"
    done
    check "steps of $model" cmp -s "$dir.one.log" "$dir.two.log"
    check "$model has steps" [ "$(wc -l < "$dir.one.log")" -gt 1 ]
done
for table in eval arena judge; do             # folders are named in them
    for run in one two; do sed "s|[^ ]*$run/||g" "$dir/$run/$table.txt" > "$dir.$run.log"; done
    check "table of $table" cmp -s "$dir.one.log" "$dir.two.log"
done
rm -f "$dir".one.* "$dir".two.*
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
