#!/bin/sh
# test_exercise.sh: walks every exercise: the stub that `make exercise` leaves is wrong, llm.h's own body is right,
# mutants of it are wrong. One program judges them all (test_judge.c); the mutants are made here, by rule.
set -u
cd "$(dirname "$0")/.."
. test/check.sh

# mutants OP < exercise: up to 6 copies of it, named my_OP_1 .. my_OP_6, each with one change in its body: a sign, a
# factor, a comparison turned, `accumulate` forgotten. Indices, loop heads and pointers stay: those only crash.
mutants() {
    awk -v op="$1" '
    function masked(s,    i, c, out, square, round) {
        if (s ~ /\*[a-z_]+ = / || s ~ /^ *(memset|memcpy)/) return ""
        square = 0; round = 0
        for (i = 1; i <= length(s); i++) {
            c = substr(s, i, 1)
            if (substr(s, i, 5) == "for (" && !round) { round = 1; i += 4; out = out "#####"; continue }
            if (round) { round += (c == "(") - (c == ")"); out = out "#"; continue }
            if (c == "[") square++
            if (substr(s, i, 2) == "/*") break
            out = out (square ? "#" : c)
            if (c == "]") square--
        }
        return out
    }
    BEGIN {
        rules = split(" - > + | + > - | * > / | += > -= | -= > += |1 / >2 / |= ->= |(->(|fmax>fmin|accumulate>false |" \
                      "accumulate>true |? -1 >? 1 |, 1)>, -1)|return >return 1 + ", rule, "|")
    }
    { line[NR] = $0 }
    $0 ~ "^static .*my_" op "\\(" { head = NR }
    head && !body && /\{/ { body = NR + 1 }
    END {
        for (l = body; l < NR; l++) {
            mask = masked(line[l])
            for (r = 1; r <= rules; r++) {
                split(rule[r], way, ">")
                at = 0
                while ((step = index(substr(mask, at + 1), way[1])) > 0) {
                    at += step
                    n++
                    site[n] = l
                    text[n] = substr(line[l], 1, at - 1) way[2] substr(line[l], at + length(way[1]))
                    if (way[1] == "accumulate") {
                        match(substr(line[l], at), /^accumulate[a-z_]*/)
                        text[n] = substr(line[l], 1, at - 1) way[2] substr(line[l], at + RLENGTH)
                    }
                }
            }
        }
        most = n < 6 ? n : 6
        for (k = 1; k <= most; k++) {
            m = int((k - 0.5) * n / most) + 1
            what = line[site[m]] " -> " text[m]
            gsub(/["\\]/, "\\\\&", what); gsub(/  +/, " ", what)
            for (l = head; l <= NR; l++) {
                s = l == site[m] ? text[m] : line[l]
                if (l == head) sub("my_" op "\\(", "my_" op "_" k "(", s)
                print s
            }
            print "{\"" op "\", \"mutant\", (any)my_" op "_" k ", \"" what "\", NULL}," > "/dev/stderr"
        }
    }' 2>> "$dir/list"
}
# Mutants by hand: OP, the change to llm.h's own body (^: a first line, +: a last one, else sed), the hint that the judge
# must give (none: any). Classic mistakes, and bodies of a single line, in which the rules above find too little.
by_hand() {
    cat <<'END'
embed_forward	+for (size_t i = 0; i < N * C; i++) ((llm_real *)out)[i] *= 2;	twice too large
embed_forward	+for (size_t i = 0; i < N * C; i++) ((llm_real *)out)[i] *= -1;	the sign
embed_forward	^wpe = NULL;
embed_backward	^accumulate_wte = false;	not added
embed_backward	^accumulate_wpe = true;	must be written
rmsnorm_forward	^eps *= 2;
rmsnorm_forward	+for (size_t i = 0; i < N; i++) rstd[i] = 1 / rstd[i];
rmsnorm_forward	+for (size_t i = 0; i < N * C; i++) ((llm_real *)out)[i] *= 2;	twice too large
rmsnorm_backward	+for (size_t i = 0; i < C && dw; i++) dw[i] *= 2;	twice too large
rmsnorm_backward	+for (size_t i = 0; i < C && dw; i++) dw[i] /= C;	C times too small
rmsnorm_backward	+for (size_t i = 0; i < N * C; i++) ((llm_real *)dinp)[i] *= -1;	the sign
rmsnorm_backward	^accumulate = false;	not added
rmsnorm_backward	^accumulate = true;	must be written
rmsnorm_backward	^dw = NULL;	not written
linear_backward	^accumulate = true;	must be written
linear_backward	^dw = NULL;	not written
linear_backward	+for (size_t i = 0; i < N * I; i++) ((llm_real *)dinp)[i] *= -1;	the sign
linear_backward	+for (size_t i = 0; i < O * I; i++) dw[i] = 0;	0 everywhere
linear_backward	+llm_real t[O * I]; memcpy(t, dw, sizeof t); for (size_t i = 0; i < O * I; i++) dw[i % I * O + i / I] = t[i];	transposed
residual_forward	^bias = (llm_weight){0};
residual_forward	+for (size_t i = 0; i < N * O; i++) ((llm_real *)out)[i] *= -1;	the sign
residual_forward	+for (size_t i = 0; i < N * O; i++) ((llm_real *)out)[i] -= ((const llm_real *)res)[i];
residual_backward	^dbias = NULL;	not written
residual_backward	^dw = NULL;	not written
rope_forward	+plain_rope_forward(qkv, freq, scale, positions, N, H, KV, D);
rope_forward	^KV = 0;
rope_forward	+for (size_t i = 0; i < N * (H + 2 * KV) * D; i++) ((llm_real *)qkv)[i] *= 2;	twice too large
rope_backward	+plain_rope_forward(dqkv, freq, scale, positions, N, H, KV, D);
rope_backward	+plain_rope_backward(dqkv, freq, scale, positions, N, H, KV, D);
rope_backward	+for (size_t i = 0; i < N * (H + 2 * KV) * D; i++) ((llm_real *)dqkv)[i] *= -1;	the sign
attention_backward	+for (size_t i = 0, r = (H + 2 * KV) * D; i < B * T * r; i++) ((llm_real *)dqkv)[i] *= i % r < (H + KV) * D ? sqrt((double)D) : 1;	sqrt(D) times too large
attention_backward	+for (size_t i = 0, r = (H + 2 * KV) * D; i < B * T * r; i++) ((llm_real *)dqkv)[i] *= i % r < (H + KV) * D ? 1 : 2;	twice too large
gelu_forward	+for (size_t i = 0; i < n; i++) ((llm_real *)out)[i] *= 2;	twice too large
gelu_forward	+for (size_t i = 0; i < n; i++) ((llm_real *)out)[i] *= -1;	the sign
gelu_forward	+for (size_t i = 0; i < n; i++) ((llm_real *)out)[i] = 0;	0 everywhere
swiglu_forward	+for (size_t i = 0; i < N * F; i++) ((llm_real *)out)[i] *= 2;	twice too large
logits	^row = NULL;
logits	+for (size_t i = 0; i < n * V; i++) out[i] *= -1;	the sign
value_forward	+for (size_t i = 0; i < N; i++) value[i] *= 2;	twice too large
value_forward	+for (size_t i = 0; i < N; i++) value[i] *= -1;	the sign
value_backward	^accumulate_du = true;	must be written
value_backward	^accumulate_du = false;	not added
grad_norm	+state->sumsq *= 2;	twice too large
grad_norm	+state->sumsq = sqrt(state->sumsq);
llm_row_spread	+for (size_t i = 0; i < llm_places(b); i++) dx[i] *= 2;	twice too large
llm_row_spread	+for (size_t i = 0; i < llm_places(b); i++) dx[i] *= -1;	the sign
llm_row_spread	+for (size_t i = 0; i < llm_places(b); i++) dx[i] = dsum[0];
llm_loss_ce_weights	^M *= 2;	half of what it should be
llm_loss_ce_weights	+for (size_t i = 0; i < llm_places(b); i++) dlogp[i] *= -1;	the sign
llm_loss_ce	^M /= 2;	twice too large
llm_best_of	s/return .*;/return n - 1;/
llm_best_of	s/ > score/ >= score/
llm_best_of	s/ > score/ < score/
llm_kto_balance	+*weight_good = *weight_bad;
llm_kto_balance	+*weight_bad = 1;
llm_kto_balance	+double t = *weight_good; *weight_good = *weight_bad; *weight_bad = t;
llm_loss_dpo	s/return /for (int i = 0; i < 2 * pairs; i++) dsum[i] *= 0.3; return /	same factor 0.3
llm_loss_kto	s/return /for (int i = 0; i < rows; i++) dsum[i] *= -1; return /	the sign
END
}
for op in $(sh tools/exercise.sh names); do
    sh tools/exercise.sh stub "$op" | sed "s/my_$op(/my_${op}_stub(/"
    sh tools/exercise.sh body "$op" > "$dir/body"
    sed "s/my_$op(/my_${op}_right(/" "$dir/body"
    printf '{"%s", "stub", (any)my_%s_stub, "", NULL},\n' "$op" "$op" >> "$dir/list"
    printf '{"%s", "right", (any)my_%s_right, "", NULL},\n' "$op" "$op" >> "$dir/list"
    mutants "$op" < "$dir/body"
done > "$dir/variants.c"
by_hand > "$dir/hands"
number=6
while IFS='	' read -r op change hint; do
    number=$((number + 1))
    sh tools/exercise.sh body "$op" | sed -n '/^static .*my_/,$p' > "$dir/body"
    case $change in
    ^*) awk -v first="${change#^}" '{ print } !done && /\{$/ { print first; done = 1 }' "$dir/body" > "$dir/changed" ;;
    +*) sed '$d' "$dir/body" > "$dir/changed"; printf '%s\n}\n' "${change#+}" >> "$dir/changed" ;;
    *) sed "$change" "$dir/body" > "$dir/changed" ;;
    esac
    if cmp -s "$dir/body" "$dir/changed"; then
        bad "$op: $change finds nothing to change: mend the list in $0"
        continue
    fi
    sed "s/my_$op(/my_${op}_$number(/" "$dir/changed" >> "$dir/variants.c"
    shown=$(printf '%s' "$change" | sed 's/[\\"]/\\&/g')
    [ -n "$hint" ] && hint="\"$hint\"" || hint=NULL
    printf '{"%s", "mutant", (any)my_%s_%s, "%s", %s},\n' "$op" "$op" "$number" "$shown" "$hint" >> "$dir/list"
done < "$dir/hands"
{ echo 'static const variant variants[] = {'; cat "$dir/list"; echo '};'; } >> "$dir/variants.c"
${CC:-cc} -std=c11 -O1 -D_GNU_SOURCE -fno-math-errno -DLLM_PLAIN -DLLM_REAL=double -w -DVARIANTS="\"$dir/variants.c\"" \
    test/test_judge.c -o "$dir/test" -lm || bad "the exercises do not compile"
"$dir/test" "$@" > "$dir/log"
grep -v '^[0-9]* passed' "$dir/log"
result=$(grep '^[0-9]* passed' "$dir/log")
result=${result% failed}
if [ -n "$result" ]; then passed=$((passed + ${result%% *})) failed=$((failed + ${result##* }))
else bad "the judge of all exercises did not come to its end"; fi

# Every row of the table behind memory, and every function of the losses' chapter, is an exercise, but for these. (The
# norms on q, k and behind a branch are an RMS norm in other places: it is the exercise.)
table=$(sed -n '/^typedef struct llm_ops {/,/^} llm_ops;/p' llm.h | sed -n 's/.*(\*\([a-z_]*\))(.*/\1/p')
losses=$(sed -n '/---- chapter 9: losses/,/---- chapter 1[01]:/p' llm.h |
    sed -n 's/^[a-z][a-z_ ]* \**\(llm_[a-z_0-9]*\)(.*/\1/p')
no_exercise=" alloc alloc_host release upload download fetch wait load_ids store_weights enter logprob_fused \
linear_gelu_forward residual_gelu_backward qk_norm_forward qk_norm_backward post_norm_forward post_norm_backward \
stream_forward stream_backward decode speak scratch_bytes llm_grpo_defaults "
names=" $(sh tools/exercise.sh names | tr '\n' ' ') "
for f in $table $losses; do
    case "$names$no_exercise" in *" $f "*) ok ;; *) bad "$f of llm.h is no exercise (tools/exercise.sh, hours)" ;; esac
done
check "too few functions found in llm.h" [ "$(echo $table $losses | wc -w)" -ge 60 ]

# As a student uses it, in a copy: what he wrote is never overwritten, the exit code says whether it is right.
mkdir "$dir/copy"
cp -R llm.h LICENSE Makefile tools test "$dir/copy"
cd "$dir/copy" || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
JUDGEFLAGS=-O0; export JUDGEFLAGS
make -s exercise > "$dir/list"
for op in $names; do
    check "make exercise lists $op" grep -Eq "^    $op +lines [0-9]+ to [0-9]+\$" "$dir/list"
done
check "a fresh exercise" make -s exercise OP=rope_backward > /dev/null
cp exercises/rope_backward.c "$dir/before"
refuses "an exercise that is there" 2 "exists already" make -s exercise OP=rope_backward
check "it was not touched" cmp -s exercises/rope_backward.c "$dir/before"
check "it has the equation" grep -q "da = da' cos t + db' sin t" exercises/rope_backward.c
refuses "an unknown exercise" 2 'no exercise "softmax"' make -s exercise OP=softmax
refuses "an unknown exercise, judged" 2 'no exercise "softmax"' make -s judge OP=softmax
refuses "nothing named" 2 "which exercise" make -s judge
refuses "nothing written" 2 "no exercises/gelu_forward.c" make -s judge OP=gelu_forward
make -s judge OP=rope_backward > "$dir/out" 2>&1 && bad "a stub is right"
check "a stub is told where" grep -q "where   dqkv\[" "$dir/out"
sh tools/exercise.sh body rope_backward > exercises/rope_backward.c
check "the right body" make -s judge OP=rope_backward > "$dir/out"
check "it trains" grep -q "50 steps of pretraining" "$dir/out"
sed 's/const llm_real \*freq/const int *freq/' "$dir/before" > exercises/rope_backward.c
make -s judge OP=rope_backward > "$dir/out" 2>&1 && bad "another signature"
check "another signature does not compile" grep -q "does not compile" "$dir/out"
sed 's|/\* here \*/|*(volatile int *)0 = 1;|' "$dir/before" > exercises/rope_backward.c
make -s judge OP=rope_backward > "$dir/out" 2>&1 && bad "a crash is right"
check "a crash, told" grep -q "crashed: it read or wrote where nothing is" "$dir/out"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
