#!/bin/sh
# exercise.sh: exercises with a judge. Run by make, from the top of the repository:
#   exercise.sh list          every exercise by lecture hour, with the lines of llm.h that explain it
#   exercise.sh new OP        leave exercises/OP.c: signature, equation, an empty body
#   exercise.sh judge OP      compile it in the place of llm.h's own, say whether it is right, train with it
#   exercise.sh names         the list as words
#   exercise.sh body OP       llm.h's own answer as an exercise
# Signature and equation are read from llm.h each time: they cannot go stale.
set -eu

# The lecture's hours (hour; chapter of llm.h; exercises).
hours() {
    cat <<'END'
1 the pipeline: cross entropy;     9; llm_loss_ce_weights llm_loss_ce
1 the reward model;                9; llm_row_sums llm_row_spread llm_loss_pair llm_loss_kwise llm_loss_plackett_luce
1 RL: how far from the reference;  9; llm_kl llm_kl_adapt
1 RL: PPO;                         9; llm_ppo_rewards llm_gae llm_whiten llm_loss_ppo llm_loss_value llm_loss_entropy
1 RL: GRPO;                        9; llm_group_advantages llm_loss_grpo
2 architecture: embedding, norms;  4; embed_forward embed_backward layernorm_forward layernorm_backward
2 architecture: embedding, norms;  4; rmsnorm_forward rmsnorm_backward
2 architecture: the products;      4; linear_forward linear_backward residual_forward residual_backward
2 architecture: attention;         4; rope_forward rope_backward attention_forward attention_backward
2 architecture: feed forward;      4; gelu_forward gelu_backward swiglu_forward swiglu_backward
2 architecture: the heads;         4; logprob_forward logprob_backward logits value_forward value_backward
2 training infrastructure;         4; grad_norm adamw
2 SFT infrastructure: LoRA;        4; lora_forward lora_backward
2 inference: the cache;            4; cache_attention cache_copy
2 preferences: rejection sampling; 9; llm_best_of llm_best_of_kl
2 preferences: DPO, KTO, RRHF;     9; llm_loss_dpo llm_kto_z0 llm_kto_balance llm_loss_kto llm_loss_rrhf
END
}

names() { hours | sed 's/.*; *//'; }
# What an exercise is called in llm.h: a row of the table is llm_plain's body.
in_book() { case $1 in llm_*) echo "$1" ;; *) echo "plain_$1" ;; esac; }

# read_book OP WHAT: of llm.h's OP the `lines` "A B", equation to end, or its `comment`, `signature`, `body`.
# The comment: the last one above that heads a section or shows an equation (a line indented by 7), and those directly
# above it and above its forward twin.
read_book() {
    book=$(in_book "$1")
    awk -v op="$book" -v what="$2" '
    function opens(line, name) { return line ~ /^[a-z]/ && index(line, name "(") && line !~ /;$/ }
    BEGIN { twin = op; sub(/_backward$/, "_forward", twin) }
    /^#ifdef LLM_IMPLEMENTATION/ { inside = 1 }
    !inside { next }
    comment { text = text "\n" $0; if ($0 ~ /^       /) equation = 1 }
    !comment && /^\/\*/ { comment = 1; text = $0; from = NR; equation = $0 ~ /^\/\* ----/ }
    comment && /\*\/$/ {
        comment = 0; above = NR
        if (equation) { best = text; best_from = from; near = "" }
        else near = text
        next
    }
    comment { next }
    opens($0, twin) && above == NR - 1 && near != "" { twin_text = near }
    opens($0, op) { found = 1; sig = 1; if (above == NR - 1 && near != "") twin_text = near }
    sig {
        signature = signature (signature == "" ? "" : "\n") $0
        if ($0 !~ /\{/) next
        sig = 0; body = 1
        if ($0 ~ /\}$/) {               # all in one line
            lines = signature; sub(/[^{]*\{ */, "    ", lines); sub(/ *\}$/, "\n", lines)
            body = 0; done = 1
        }
        sub(/ *\{.*/, "", signature)
        if (!done) next
    }
    body { if ($0 ~ /^}/) { body = 0; done = 1 } else lines = lines $0 "\n" }
    done { to = NR; exit }
    END {
        if (!found) exit 1
        if (what == "lines") print best_from, to
        if (what == "comment") print best (twin_text != "" ? "\n\n" twin_text : "")
        if (what == "signature") print signature
        if (what == "body") printf "%s", lines
    }' llm.h
}

# What the interface says of it: the comment above its row, or the one above its prototype that is about it.
interface() {
    awk -v op="$1" '
    BEGIN { short = op; sub(/^llm_(loss_)?/, "", short) }
    /^#ifdef LLM_IMPLEMENTATION/ { exit }
    /^ *\/\*/ { on = 1; text = ""; rows = 0 }
    on { line = $0; sub(/^    /, "", line); text = text (text == "" ? "" : "\n") line }
    on && /\*\/ *$/ { on = 0; rows = 1; next }
    !on && index($0, "(*" op ")(") { print text "\n"; exit }
    !on && /^[a-z]/ && index($0, op "(") { if (rows == 1 || index(tolower(text), short)) print text "\n"; exit }
    !on { rows++ }' llm.h
}
# The head of a function in llm.h, as it stands there: what an exercise may call.
heads() {
    for helper in "$@"; do
        awk -v name="$helper" '
        /^#ifdef LLM_IMPLEMENTATION/ { inside = 1 }
        (inside || /^static inline/) && /^[a-z]/ && index($0, name "(") && !/;$/ { on = 1 }
        on { line = $0; end = line ~ /\{/; sub(/ *\{.*/, "", line); sub(/^ +/, " ", line); printf "%s", line
             if (end) { print ""; exit } }' llm.h | fold -s -w 110 | sed 's/^static //; s/^inline //; s/^/       /'
    done
}
may_call() {
    case $1 in
    llm_loss_grpo) set -- sigmoid minus_log_sigmoid one_over llm_kl llm_places ;;
    llm_*) set -- sigmoid minus_log_sigmoid one_over pair_count llm_places ;;
    adamw | grad_norm) set -- has_gradient llm_adamw_judge moment_get moment_put real_to_bf16 ;;
    gelu_* | swiglu_*) set -- sigmoid_of ;;
    embed_* | linear_* | residual_* | logprob_* | logits) set -- dot add_scaled weight_row ;;
    rope_*) set -- ;;
    *) set -- dot add_scaled ;;
    esac
    heads "$@"
}
known() {
    if [ -z "$1" ]; then
        echo "error: which exercise?" >&2
        echo "  try: make judge OP=rmsnorm_backward; make exercise lists them all" >&2
        exit 2
    fi
    for op in $(names); do [ "$op" != "$1" ] || return 0; done
    echo "error: there is no exercise \"$1\"" >&2
    near=$(names | tr ' ' '\n' | grep -- "${1%%_*}" | tr '\n' ' ') || true
    echo "  try: ${near:-make exercise, which lists them}" >&2
    exit 2
}
# The signature as an exercise has it: static, and called my_OP.
signature() { read_book "$1" signature | sed "1s/^static //; 1s/$(in_book "$1")(/my_$1(/; 1s/^/static /"; }

list() {
    echo "Exercises: make exercise OP=name, then make judge OP=name. Lines: of llm.h, equation to answer."
    before=
    hours | while IFS=';' read -r hour chapter ops; do
        [ "$hour" = "$before" ] || printf '\nhour %s (chapter %s)\n' "$hour" "${chapter##* }"
        before=$hour
        for op in $ops; do
            # shellcheck disable=SC2046
            set -- $(read_book "$op" lines)
            printf '    %-26s lines %s to %s\n' "$op" "$1" "$2"
        done
    done
}
new() {
    known "$1"
    file=exercises/$1.c
    if [ -e "$file" ]; then
        echo "error: $file exists already, and is yours" >&2
        echo "  try: make judge OP=$1, or move the file away for a fresh one" >&2
        exit 1
    fi
    mkdir -p exercises
    stub "$1" > "$file.part"
    mv "$file.part" "$file"
    echo "$file: read the equation, write the body, then: make judge OP=$1"
}
# An exercise with the body $2.
exercise() {
    set -- "$1" "$2" $(read_book "$1" lines)
    helpers=$(may_call "$1")
    cat <<END
/* An exercise: write my_$1. The judge: make judge OP=$1

   What llm.h says above its own answer (lines $3 to $4; do not look) stands below. All inputs are the judge's: write
   only what the function is to write. Numbers are llm_real, here double; LLM_MATH(exp)(x), LLM_MATH(sqrt)(x) ... fit
   both types. An llm_act * or llm_res * is cast first: const llm_real *x = (const llm_real *)inp;
END
    if [ -n "$helpers" ]; then printf '\n   What you may call besides:\n\n%s\n' "$helpers"; fi
    printf '*/\n\n'
    interface "$1"
    printf '%s\n\n' "$(read_book "$1" comment)"
    printf '%s {\n%s}\n' "$(signature "$1")" "${2:-$(empty_body "$1")
}"
}
empty_body() {
    case $(signature "$1" | head -n 1) in
    static\ void\ *) printf '    /* here */' ;;
    *) printf '    return 0; /* here */' ;;
    esac
}
stub() { exercise "$1" ""; }
body() { exercise "$1" "$(read_book "$1" body)
"; }
judge() {
    known "$1"
    file=exercises/$1.c
    if [ ! -f "$file" ]; then
        echo "error: there is no $file" >&2
        echo "  try: make exercise OP=$1" >&2
        exit 1
    fi
    mkdir -p build
    case $1 in llm_*) member=losses.$1 ;; *) member=ops.$1 ;; esac
    flags=${FLAGS:--std=c11 -O1 -D_GNU_SOURCE}
    if [ -n "${SANE:-}" ]; then
        flags="$flags -g -fsanitize=address,undefined -fno-sanitize-recover=all"
        ASAN_OPTIONS=detect_leaks=0; export ASAN_OPTIONS
    fi
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -DLLM_PLAIN -DLLM_REAL=double -Wall -Wextra -Wno-unused -Wno-unused-parameter -Wno-pass-failed \
        -Werror=incompatible-pointer-types -Werror=implicit-function-declaration -Werror=return-type \
        -DOP_NAME="\"$1\"" -DMEMBER="$member" -DMINE="my_$1" -DEXERCISE="\"../$file\"" test/judge.c \
        -o "build/judge_$1" -lm || { echo "$1 does not compile." >&2; exit 1; }
    exec "build/judge_$1"
}

case ${1:-} in
list | names) "$1" ;;
new | judge | body | stub) "$1" "$2" ;;
*) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
esac
