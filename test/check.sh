# check.sh: what the shell tests share; read with `. test/check.sh` from the repository's root. Gives a temporary folder $dir that is
# removed at the end, and counts in $passed and $failed.
LC_ALL=C; export LC_ALL
dir=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
passed=0 failed=0
ok()  { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAIL: $*"; }
check() { what=$1; shift; if "$@"; then ok; else bad "$what"; fi; }
# refuses NAME EXIT_CODE TEXT COMMAND...: the command must fail with this code and an error that contains the text, and a remedy.
refuses() {
    name=$1 want=$2 text=$3; shift 3
    "$@" > "$dir/stdout" 2> "$dir/stderr" < /dev/null
    code=$?
    if [ "$code" -ne "$want" ]; then bad "$name: exit code $code, not $want"; tail -n 3 "$dir/stderr"; return; fi
    if ! grep -q -e "^error: .*$text" "$dir/stderr"; then bad "$name: no error with '$text'"; tail -n 3 "$dir/stderr"; return; fi
    if ! grep -q '^  try: ' "$dir/stderr"; then bad "$name: no remedy"; tail -n 3 "$dir/stderr"; return; fi
    ok
}
