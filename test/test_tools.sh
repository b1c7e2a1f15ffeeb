#!/bin/sh
# test_tools.sh: build/tokenize; and make help, which names every tool and target. Run from the repository's root after make. Ends with
# "N passed, N failed".
. test/check.sh
tokenize=${TOKENIZE:-build/tokenize}
gpt2=test/data/models/gpt2-tiny spm=test/data/tok/spm qwen2=test/data/tok/qwen2
esc=$(printf '\033')

# ---- build/tokenize ----
refuses "no tokenizer" 1 "there is no $dir/tokenizer.json" $tokenize --model "$dir" --text a
refuses "no file" 1 "$dir/none" $tokenize --model $gpt2 --file "$dir/none"
refuses "a text and a file" 2 "--file would do nothing" $tokenize --model $gpt2 --text a --file b
at_home() { (cd "$dir" && "$PWD0/$tokenize" --text a); }
case $tokenize in /*) PWD0= ;; *) PWD0=$PWD ;; esac
refuses "no model to be the newest" 2 "no tokenizer in out/" at_home
mkdir -p "$dir/out"; cp -r $gpt2 "$dir/out/base"
check "else the base model" sh -c "cd '$dir' && '$PWD0/$tokenize' --text a 2>&1 | grep -q '^tokenizer: out/base, 320 tokens'"
shows() { $tokenize --model "$@" > "$dir/a" 2> "$dir/stderr"; }
says() { what=$1; shift; for line; do check "$what: $line" grep -qxF -e "$line" "$dir/a"; done; }
shows $gpt2 --text "Zoë paid
more"; check "exits 0" [ $? -eq 0 ]
says "pieces" "[Z][o][<C3>][<AB>][ p][a][i][d][␊]" "[m][o][re]"
says "counts" "12 tokens (0 special), 14 bytes, 13 characters: 1.17 bytes, 1.08 characters a token" "round trip: the same text"
vocabulary() { sed -n "s/^ *\"$1\": \\([0-9]*\\),*\$/\\1/p" $gpt2/tokenizer.json; }
says "ids" "ids: $(echo $(for piece in Z o Ã « Ġp a i d Ċ m o re; do vocabulary $piece; done))"
check "which tokenizer, and what is special in it" grep -q "^tokenizer: $gpt2, 320 tokens; special: <|endoftext|> 0 <|pad|> 1 " "$dir/stderr"
printf 'Zo\303\253 paid\nmore' > "$dir/text"
cp "$dir/a" "$dir/b"; shows $gpt2 --file "$dir/text"; check "a file" cmp -s "$dir/a" "$dir/b"
$tokenize -m $gpt2/tokenizer.json < "$dir/text" > "$dir/a" 2> /dev/null; check "a tokenizer.json, the standard input" cmp -s "$dir/a" "$dir/b"
shows $gpt2 --file "$dir/text" --no-pieces --no-ids; check "--no-pieces --no-ids" [ "$(wc -l < "$dir/a")" -eq 2 ]
shows $gpt2 --text "a<|im_end|>b"; says "a spelled special token is text" "[a][<][|][i][m][_][en][d][|][>][b]"
check "and that is said" grep -q "^note: .*--parse-special" "$dir/stderr"
shows $gpt2 --text "a<|im_end|>b" --parse-special
says "--parse-special" "[a][[<|im_end|>]][b]" "ids: 69 3 70" "3 tokens (1 special), 12 bytes, 12 characters: 4.00 bytes, 4.00 characters a token" \
    "round trip: the same text"
check "nothing to note" sh -c "! grep -q '^note' '$dir/stderr'"
shows $spm --text " a  b"; says "SentencePiece" "round trip: the same text"
printf 'caf\351 \033[2J\r\n\t' > "$dir/text"
shows $gpt2 --file "$dir/text"; check "any bytes" grep -q '<E9>' "$dir/a"
says "any bytes" "round trip: the same text"
check "none commands the terminal" sh -c "! grep -q '$esc' '$dir/a'"
check "ESC is shown" grep -q "$(printf '\342\220\233')" "$dir/a"
printf 'e\314\201t' | $tokenize --model $qwen2 > "$dir/a" 2> /dev/null; check "another text: exit code 1" [ $? -eq 1 ]
check "is said, with the reason" grep -q "^round trip: the text in Unicode's NFC, another text from byte 0 on" "$dir/a"
mkdir "$dir/lost"; sed 's/^\( *\)"Z": 62/\1"QQQQ": 62/' $gpt2/tokenizer.json > "$dir/lost/tokenizer.json"
$tokenize --model "$dir/lost" --text aZ > "$dir/a" 2> /dev/null; check "a byte that no token spells: exit code 1" [ $? -eq 1 ]
says "and" 'round trip: another text from byte 1 on: "Z" became ""'
shows $gpt2 --text ""; says "no text" "0 tokens (0 special), 0 bytes, 0 characters" "round trip: the same text"
if script --version 2> /dev/null | grep -q util-linux; then
    on_terminal() { TERM=xterm script -qec "$tokenize --model $gpt2 --parse-special --text 'Zo<|im_end|>'" /dev/null > "$dir/a" < /dev/null 2>&1; }
    on_terminal; check "on a terminal: colours" grep -q "$esc\[30;48;5;[0-9]*mZ$esc\[0m$esc\[30;48;5;[0-9]*mo" "$dir/a"
    check "special tokens inverse" grep -q "$esc\[1;7m<|im_end|>$esc" "$dir/a"
    NO_COLOR=1 on_terminal; check "NO_COLOR: brackets" grep -q "^\[Z\]\[o\]\[\[<|im_end|>\]\]" "$dir/a"
else echo "SKIP: colours on a terminal: no script (util-linux)"; fi

# ---- make help ----
make -s help > "$dir/help" 2> "$dir/stderr"; check "make help" [ $? -eq 0 ]
phony() { sed -n "s/^\.PHONY: //p" Makefile | sed -n "$1p" | tr ' ' '\n' | grep -v '[$%()]'; }
for target in $(phony 1); do
    case $target in all | help) continue ;; esac
    check "make help names $target" grep -qE "make $target( |\$)" "$dir/help"
done
for target in $(grep -oE '^make [a-z_][a-z_-]*( |$)' "$dir/help" | sed 's/make //' | sort -u); do
    check "make $target is a target" sh -c "sed -n '/^\.PHONY: /p' Makefile | head -n 1 | tr ' ' '\n' | grep -qx -e $target"
done
sed -n 's/^\([a-z][a-z_-]*\):.*/\1/p' Makefile | sort -u > "$dir/rules"
{ phony 1; phony 2; phony 3; } | sort -u > "$dir/phony"
check "targets that are neither named nor parts: $(comm -23 "$dir/rules" "$dir/phony" | tr '\n' ' ')" [ -z "$(comm -23 "$dir/rules" "$dir/phony")" ]
for file in tools/*.c tools/*.sh data/*.c; do
    name=$(basename "$file" .c)
    case $file in *.sh) [ "$(head -c 2 "$file")" = '#!' ] ;; *) grep -q '^int main(' "$file" ;; esac || continue    # parts of others
    case $file in *.sh) program=$file ;; tools/bench_cuda.c) program=build/gpu_bench ;; *) program=build/$name ;; esac
    check "make help names $program" grep -qE "$program( |:|,|;|\)|\$)" "$dir/help"
done
make -s found > "$dir/a" 2> /dev/null; check "make found tells of line editing" grep -q "^editing: " "$dir/a"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
