# stages.sh: what demo.sh, personas.sh and hacking.sh share; read by them, not run. A stage is a command whose results
# stay in $out and whose time is noted there. The programs are those of `make`; by TRAIN_GPT, TRAIN_SFT, TRAIN_RLHF,
# EVAL, TINYWORLD and LOOPHOLE others (a test's) take their places.
train_gpt=${TRAIN_GPT:-./train_gpt} train_sft=${TRAIN_SFT:-./train_sft} train_rlhf=${TRAIN_RLHF:-./train_rlhf}
eval=${EVAL:-build/eval} tinyworld=${TINYWORLD:-build/tinyworld} loophole=${LOOPHOLE:-build/loophole}
flags="--precision ${PRECISION:-auto} --threads ${THREADS:-0}"
began=$(date +%s)
mkdir -p "$out"
: > "$out/times.txt"

# stage NAME COMMAND...: what it says goes to the screen and, its results alone, to OUT/NAME.txt.
stage() {
    name=$1; shift
    from=$(date +%s)
    printf '\n== %s: %s\n' "$name" "$*" >&2
    "$@" > "$out/$name.txt" || { cat "$out/$name.txt"; echo "the stage $name failed" >&2; exit 1; }
    printf '%-18s %4d s\n' "$name" $(($(date +%s) - from)) >> "$out/times.txt"
}
# ended: how long each took, and where the page is.
ended() {
    printf '\n'
    cat "$out/times.txt"
    printf 'all                %4d s\nreport: %s\n' $(($(date +%s) - began)) "$out/report.html"
}
