#!/bin/sh
# test_book.sh: is llm.h still a book? What a reader has to pass, counted, beside its goals; red beyond them. Needs awk
# and a C compiler.
#   sh test/test_book.sh             the table, then what is beyond a goal, by name
#   sh test/test_book.sh functions   every function found: file, name, first line, last line, arguments
. test/check.sh

# The one place for goals. key; measure; the llm.h of 10,477 lines by these same counts; goal. Two numbers are functions
# and lines.
#   behind an operation   its body plain_<row> (or cpu_<row>) and every function of llm.h that it reaches, by call or
#                         mention. Memory, errors, min and max do not count, nor variables named like a function.
#   longest               llm_simd.h and tools/llm_ranks.h are measured too, where they are there
#   Part I                from the first line with "PART I" below #ifdef LLM_IMPLEMENTATION to the one with "PART II"
#   places, an operation  lines of llm.h that name a row with a backward pass, calls left out
#   places, a method      its loss, its step, and each string that is its name or a list with it
goals='
linear_forward;      behind linear_forward: functions, lines;     64 595;  <= 4 40
linear_backward;     behind linear_backward;                      71 652;  <= 6 45
attention;           behind attention, both ways together;        53 478;  <= 6 60
logprob_forward;     behind logprob_forward;                      81 701;  <= 6 65
logprob_backward;    behind logprob_backward;                     86 756;  <= 9 95
layernorm_forward;   behind layernorm_forward;                    14 78;   <= 4 24
layernorm_backward;  behind layernorm_backward;                   19 127;  <= 4 36
rmsnorm_forward;     behind rmsnorm_forward;                      12 65;   <= 4 24
rmsnorm_backward;    behind rmsnorm_backward;                     19 126;  <= 4 36
adamw;               behind adamw;                                19 142;  <= 7 65
lines;               lines of llm.h;                              10477;   <= 6800
part1;               lines of Part I, the lecture;                -;       <= 4500
ifs;                 #if lines in Part I (before: all of llm.h);  51;      <= 6
casts;               casts in 100 lines of llm.h;                  9.3;     <= 3
functions;           functions in llm.h;                          722;     -
longest;             longest function, lines;                     55;      <= 60
columns;             longest line, columns;                       120;     <= 120
arguments;           functions with more than 8 arguments;        23;      <= 0
keywords;            lines naming something by a C++ keyword;     25;      <= 0
alone;               drivers that compile against the API alone;  0;       >= 3
private;             private functions of llm.h drivers call;     10;      <= 0
order;               calls of a chapter further down;             0;       <= 0
includes;            includes that are not allowed;               1;       <= 0
operation;           places of llm.h for an operation;            4;       <= 3
method;              places for a method of stage 3;              6;       <= 3
'

# Prints "key now" for each measure and "! key what" for all that may be beyond its goal; measure 1: the functions only.
measure() {
    awk -v list="$1" -v quote="'" '
# ---- reading C ----
# A line without its comments, strings and characters emptied; what stood in strings is kept in strings[FNR].
function clean(s,    out, c, at, text) {
    out = ""
    for (;;) {
        if (comment) {
            if (!(at = index(s, "*/"))) return out
            s = substr(s, at + 2); comment = 0; out = out " "
        }
        if (!match(s, opening)) return out s
        c = substr(s, RSTART, RLENGTH)
        out = out substr(s, 1, RSTART - 1)
        s = substr(s, RSTART + RLENGTH)
        if (c == "//") return out
        if (c == "/*") { comment = 1; continue }
        text = ""
        while (match(s, /["\047\\]/)) {
            at = substr(s, RSTART, 1)
            if (at == c) { text = text substr(s, 1, RSTART - 1); s = substr(s, RSTART + 1); break }
            if (at == "\\") RSTART++
            text = text substr(s, 1, RSTART)
            s = substr(s, RSTART + 1)
        }
        out = out c c
        if (c == "\"") strings[FNR] = strings[FNR] "\n" text "\n"
    }
}
function last_word(s) { # the identifier at the end of s
    sub(/[ \t]+$/, "", s)
    if (!match(s, /[A-Za-z_][A-Za-z0-9_]*$/)) return ""
    return substr(s, RSTART)
}
function found(name, first, last, count) {
    functions++
    fn_file[functions] = file; fn_name[functions] = name; fn_first[functions] = first; fn_last[functions] = last
    fn_arguments[functions] = count
    at[file, name] = functions
    if (list) print file, name, first, last, count
}
# Braces, parentheses and semicolons of a line: where functions begin and end.
function scan(s,    c, at_c) {
    while (match(s, depth ? "[{}]" : "[{}();,]")) {
        at_c = RSTART
        c = substr(s, at_c, 1)
        if (!depth) {
            head = head substr(s, 1, at_c)
            if (c == "(" && parens++ == 0) {
                candidate = last_word(substr(head, 1, length(head) - 1)); candidate_line = FNR
                commas = 0
            }
            if (c == "," && parens == 1) commas++
            if (c == ")") { parens--; if (!parens) closed = length(head) }
            if (c == ";" && !parens) {
                if (candidate != "" && file == "llm.h") declared[candidate] = declared[candidate] " " FNR
                fresh()
            }
        }
        if (c == "{") {
            if (!depth) {
                open = ""
                if (candidate != "" && substr(head, closed + 1) ~ /^[ \t]*\{$/ && head !~ /=[^=]*\{$/) {
                    open = candidate; open_line = candidate_line; open_commas = commas
                    if (head ~ /\((void)?\)[ \t]*\{$/) open_commas = -1
                }
            }
            depth++
        }
        if (c == "}" && depth) {
            depth--
            if (!depth) {
                if (open != "") { found(open, open_line, FNR, open_commas + 1); open = "" }
                fresh()
            }
        }
        s = substr(s, at_c + 1)
    }
    if (!depth) head = head s " "
}
function fresh() { head = ""; candidate = ""; parens = 0; closed = 0; commas = 0 }
BEGIN {
    cast = "\\((const )?(size_t|int|unsigned|char|float|double|llm_real|u?int[0-9]+_t) *\\**\\)[A-Za-z0-9_(]"
    opening = "[\"" quote "]|/\\*|//"
    split("llm_die die llm_alloc llm_release llm_grow llm_mul llm_add aligned_memory size_min " \
          "size_max llm_min llm_max llm_format llm_usage ceil_div pad_to", word, " ")
    for (i in word) ground[word[i]] = 1
    split("asm catch class concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit " \
          "export friend mutable namespace new noexcept nullptr operator private protected public reinterpret_cast " \
          "requires static_cast template this throw try typeid typename using virtual", word, " ")
    for (i in word) keyword[word[i]] = 1
}
FNR == 1 {
    file = FILENAME; files[++file_count] = file
    comment = 0; depth = 0; level = 0; directive = 0; open = ""; fresh()
    split("", strings)
}
{
    text = clean($0)
    code[file, FNR] = text
    size[file] = FNR
    if (FNR in strings) string[file, FNR] = strings[FNR]
    if (file ~ /^(llm|llm_simd|tools\/llm_ranks)[.]h$/) {
        if (length($0) > widest) widest = length($0)
        if (length($0) > 120) print "! columns " file ":" FNR ", " length($0)
    }
    if (file == "llm.h") {
        if ($0 ~ /^#ifdef LLM_IMPLEMENTATION/ && !body) body = FNR
        if (body && !part1 && $0 ~ /PART I([^A-Z]|$)/) part1 = FNR
        if (body && !part2 && $0 ~ /PART II([^A-Z]|$)/) part2 = FNR
        if (rule && $0 ~ /^ *[0-9]+\. /) chapter_now = $1 + 0
        rule = $0 ~ /====================/
        chapter[FNR] = chapter_now
    }
    was = directive
    directive = text ~ /^[ \t]*#/ || was ~ /\\$/
    if (directive) {
        directive = text == "" ? 1 : text
        if (was !~ /\\$/ && text ~ /^[ \t]*#/) {
            word1 = text; sub(/^[ \t]*#[ \t]*/, "", word1)
            if (word1 ~ /^if/) {
                saved[++level] = depth; skipped[level] = word1 ~ /^ifdef __cplusplus/; condition[level] = $0
                if_at[file, FNR] = 1
            }
            else if (word1 ~ /^el/) { depth = saved[level]; skipped[level] = 0 }
            else if (word1 ~ /^endif/) level--
            if (word1 ~ /^define/) {
                sub(/^define[ \t]+/, "", word1); sub(/[^A-Za-z0-9_].*/, "", word1)
                own[file, word1] = 1
            }
            if (word1 ~ /^include[ \t]*"/) {
                sub(/^[^"]*/, "", word1)
                edges++
                edge_from[edges] = file; edge_line[edges] = FNR
                edge_to[edges] = strings[FNR]; gsub(/\n/, "", edge_to[edges])
                edge_condition[edges] = level ? condition[level] : ""
                edge_below[edges] = functions && fn_file[functions] == file
            }
        }
        next
    }
    for (i = 1; i <= level; i++) if (skipped[i]) { code[file, FNR] = ""; next }
    scan(text)
}

# ---- counting ----
# Identifiers of a line into name[1..n]. called: "(" follows; member: "." or "->" stands before; pointer: "->"; local: a
# type stands before, so that it is a variable of that name.
function words(s,    n, before) {
    n = 0; before = ""
    while (match(s, /[A-Za-z_0-9]+/)) {
        before = before substr(s, 1, RSTART - 1)
        sub(/[ \t]+$/, "", before)
        sub(/[ \t]+\*/, "*", before)
        n++
        name[n] = substr(s, RSTART, RLENGTH)
        member[n] = before ~ /(\.|->)$/
        local[n] = before ~ /[A-Za-z0-9_]\**$/ && before !~ /^(return|else|case|goto|sizeof|do)$/
        pointer[n] = before ~ /->$/
        s = substr(s, RSTART + RLENGTH)
        called[n] = s ~ /^[ \t]*\(/
        if (before ~ /,$/ && s ~ /^ =[^=]/) local[n] = 1
        before = name[n]
    }
    return n
}
# All that f reaches, f itself included, into reached and `through`; returns how many, and adds to reached_lines.
function reach(f,    todo, n, x, i) {
    todo = f; n = 0
    while (todo != "") {
        x = todo; sub(/ .*/, "", x); sub(/^[^ ]* ?/, "", todo)
        if (x in reached || x in ground || !(("llm.h", x) in at)) continue
        reached[x] = 1; n++
        through = through " " x
        i = at["llm.h", x]; reached_lines += fn_last[i] - fn_first[i] + 1
        todo = calls[x] (todo == "" ? "" : " " todo)
    }
    return n
}
function behind(key, a, b,    n) {
    split("", reached); reached_lines = 0; through = ""
    n = reach(body_of(a))
    if (b != "") n += reach(body_of(b))
    if (!n) { print key " -"; return }
    print key, n, reached_lines
    print "! " key through
}
function body_of(op) { return ("llm.h", "plain_" op) in at ? "plain_" op : "cpu_" op }
function folder(path) { return path ~ /\// ? substr(path, 1, match(path, /[^\/]*$/) - 1) : "" }
function resolve(from, to,    path) {
    path = folder(from) to
    while (match(path, /[^\/]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    return path in size ? path : to
}
function circle(from, start,    i, back) { # is there a way from `from` back to `start`?
    seen[from] = 1
    for (i = 1; i <= edges; i++) if (edge_from[i] == from) {
        if (edge_to[i] == start) return 1
        if (!(edge_to[i] in seen)) { back = circle(edge_to[i], start); if (back) return 1 }
    }
    return 0
}
function gather(f,    i) { # f and what it includes, but for llm.h and its tables
    if (f in closure || f ~ /^llm/ || !(f in size)) return
    closure[f] = 1
    for (i = 1; i <= edges; i++) if (edge_from[i] == f) gather(edge_to[i])
}
END {
    if (list) exit
    for (i = 1; i <= edges; i++) edge_to[i] = resolve(edge_from[i], edge_to[i])
    # the table of operations, the API, and who names whom
    for (l = 1; l <= size["llm.h"]; l++) {
        s = code["llm.h", l]
        if (s ~ /^typedef struct llm_ops \{/) inside = 1
        if (s ~ /^\} llm_ops;/) inside = 0
        if (inside && match(s, /\(\*[a-z0-9_]+\)\(/)) member_of[substr(s, RSTART + 2, RLENGTH - 4)] = l
        if (l < body) { n = words(s); for (i = 1; i <= n; i++) if (called[i] && !member[i]) api[name[i]] = 1 }
    }
    for (f = 1; f <= functions; f++) if (fn_file[f] == "llm.h") {
        count++
        for (l = fn_first[f]; l <= fn_last[f]; l++) {
            owner[l] = f
            n = words(code["llm.h", l])
            for (i = 1; i <= n; i++)
                if (("llm.h", name[i]) in at && name[i] != fn_name[f] && !((f, name[i]) in known) && !member[i]) {
                    if (local[i] && !called[i]) shadow[f, name[i]] = 1
                    if (!called[i] && (f, name[i]) in shadow) continue
                    known[f, name[i]] = 1
                    list_of[f] = list_of[f] (list_of[f] == "" ? "" : " ") name[i]
                }
        }
    }
    for (f = 1; f <= functions; f++)
        if (fn_file[f] == "llm.h" && at["llm.h", fn_name[f]] == f) calls[fn_name[f]] = list_of[f]
    behind("linear_forward", "linear_forward"); behind("linear_backward", "linear_backward")
    behind("attention", "attention_forward", "attention_backward")
    behind("logprob_forward", "logprob_forward"); behind("logprob_backward", "logprob_backward")
    behind("layernorm_forward", "layernorm_forward"); behind("layernorm_backward", "layernorm_backward")
    behind("rmsnorm_forward", "rmsnorm_forward"); behind("rmsnorm_backward", "rmsnorm_backward")
    behind("adamw", "adamw")

    # sizes
    print "lines", size["llm.h"]
    marked = part1 && part2 > part1
    print "part1", marked ? part2 - part1 : "-"
    if (!marked) print "! part1 no line with PART I and, below it, one with PART II behind #ifdef LLM_IMPLEMENTATION"
    for (l = 1; l <= size["llm.h"]; l++) {
        if (("llm.h", l) in if_at && (!marked || l >= part1 && l < part2)) {
            ifs++; print "! ifs llm.h:" l " " code["llm.h", l]
        }
        s = code["llm.h", l]
        while (match(s, cast)) {
            casts++
            s = substr(s, RSTART + RLENGTH - 1)
        }
        n = words(code["llm.h", l])
        for (i = 1; i <= n; i++) if (name[i] in keyword && code["llm.h", l] !~ /^[ \t]*#/) {
            keywords++; print "! keywords llm.h:" l " " name[i]; break
        }
    }
    print "ifs", ifs + 0
    printf "casts %.1f\n", 100 * casts / size["llm.h"]
    print "functions", count
    print "columns", widest
    print "keywords", keywords + 0

    # functions: too long, too many arguments. A body of a row has the row its arguments.
    for (f = 1; f <= functions; f++) if (fn_file[f] ~ /^llm/) {
        n = fn_last[f] - fn_first[f] + 1
        if (n > longest) longest = n
        if (n > 60) print "! longest " fn_file[f] ":" fn_first[f] " " fn_name[f] ", " n " lines"
        s = fn_name[f]; sub(/^(plain|cpu|simd)_/, "", s)
        if (fn_file[f] == "llm.h" && fn_arguments[f] > 8 && (!(s in member_of) || s == fn_name[f])) {
            many++; print "! arguments llm.h:" fn_first[f] " " fn_name[f] ", " fn_arguments[f]
        }
    }
    print "longest", longest
    print "arguments", many + 0

    # what drivers, and the headers they include, take from llm.h that its API does not offer
    for (d = 1; d <= file_count; d++) if (files[d] ~ /^train_/) {
        split("", closure); gather(files[d])
        for (k = 1; k <= file_count; k++) for (l = 1; l <= size[files[k]]; l++) {
            c = files[k]
            if (!(c in closure)) break
            if (code[c, l] ~ /^#ifdef LLM_IMPLEMENTATION/) break       # tools/hf.h: from here on a part of llm.h
            if (code[c, l] == "") continue
            n = words(code[c, l])
            for (i = 1; i <= n; i++) {
                x = name[i]
                if (!called[i] || member[i] || x in taken || x in api || !(("llm.h", x) in at)) continue
                mine = fn_first[at["llm.h", x]] < body
                for (other in closure) if ((other, x) in at || (other, x) in own) mine = 1
                if (!mine) { taken[x] = 1; privates++; print "! private " x " (" c ":" l ")" }
            }
        }
    }
    print "private", privates + 0

    # Chapters use what stands above them or in the API; C wants a declaration, so only declared names break the rule.
    for (f = 1; f <= functions; f++) {
        l = fn_first[f]
        if (fn_file[f] != "llm.h" || l < body || marked && (l < part1 || l > part2)) continue
        n = split(list_of[f], word, " ")
        for (i = 1; i <= n; i++) {
            g = at["llm.h", word[i]]
            if (fn_first[g] > fn_last[f] && chapter[fn_first[g]] != chapter[l] && !(word[i] in api) &&
                word[i] in declared) {
                order++
                print "! order llm.h:" l " " fn_name[f] " (chapter " chapter[l] ") names " word[i] " (chapter " \
                      chapter[fn_first[g]] ")"
            }
        }
    }
    print "order", order + 0

    # who may include whom
    for (i = 1; i <= edges; i++) {
        s = ""
        if (edge_from[i] == "llm.h" && edge_to[i] == "tools/llm_ranks.h")
            s = edge_condition[i] ~ /LLM_MPI/ ? "" : "only where many ranks are asked for"
        else if (edge_from[i] == "llm.h" && edge_to[i] != "llm_simd.h") s = "llm.h stands alone"
        else if (edge_from[i] == "llm.h" && edge_condition[i] !~ /__has_include/) s = "only behind __has_include"
        else if (edge_from[i] == "llm_simd.h") s = "llm_simd.h stands on llm.h alone"
        else if (edge_from[i] ~ /\.h$/) {
            split("", seen)
            if (edge_to[i] == edge_from[i] || circle(edge_to[i], edge_from[i])) s = "a circle"
            else if (edge_from[i] != "llm.h" && edge_below[i]) s = "a header that goes on in another"
        }
        if (s != "") { wrong++; print "! includes " edge_from[i] ":" edge_line[i] " " edge_to[i] ": " s }
    }
    print "includes", wrong + 0

    # places for a new operation: lines of llm.h that name a row with a backward pass otherwise than by a call
    for (l = 1; l <= size["llm.h"]; l++) {
        n = words(code["llm.h", l])
        for (i = 1; i <= n; i++) {
            s = name[i]; sub(/^(plain|cpu)_/, "", s)
            if (s !~ /_backward$/ || !(s in member_of) || pointer[i] || (l, s) in place) continue
            if (called[i] && l in owner && fn_name[owner[l]] != name[i]) continue
            place[l, s] = 1; places[s]++
            where[s] = where[s] " " l
        }
    }
    for (s in places) if (places[s] > most || places[s] == most && s < worst) { most = places[s]; worst = s }
    print "operation", most ? most : "-"
    print "! operation " worst ": lines" where[worst]

    # places for a method of stage 3: its loss, its step, and every string that is its name or a list with it
    split("kto rrhf", word, " ")
    most = 0
    for (w = 1; w <= 2; w++) {
        n = 0; list_w = ""
        for (f = 1; f <= functions; f++)
            if (fn_name[f] == "llm_loss_" word[w] || fn_name[f] == word[w] "_step") {
                n++; list_w = list_w " " fn_file[f] ":" fn_first[f]
            }
        for (k = 1; k <= file_count; k++) for (l = 1; l <= size[c = files[k]]; l++)
            if ((c == "train_rlhf.c" || c ~ /^tools\//) && (c, l) in string && string[c, l] ~ "[|\n]" word[w] "[|\n]") {
                n++; list_w = list_w " " c ":" l
            }
        if (n > most) { most = n; worst = word[w] ":" list_w }
    }
    print "method", most ? most : "-"
    print "! method " worst
}' llm.h $(ls llm_simd.h 2> /dev/null) train_*.c tools/*.h data/*.h
}

if [ "${1:-}" = functions ]; then measure 1; exit; fi
measure > "$dir/now"
# Each driver with the implementation elsewhere: what it names must stand in the API.
alone=0
for driver in train_*.c; do
    sed '/^#define LLM_IMPLEMENTATION/d' "$driver" > "$dir/$driver"
    if ${CC:-cc} -std=c11 -D_GNU_SOURCE -Werror=implicit-function-declaration -I. -fsyntax-only "$dir/$driver" \
        2> "$dir/log"
    then alone=$((alone + 1))
    else sed -n "s/.*error: /! alone $driver: /p" "$dir/log" | sort -u | head -n 6
    fi
done >> "$dir/now"
echo "alone $alone" >> "$dir/now"

printf '%s' "$goals" | awk -F ';[ ]*' -v now="$dir/now" '
BEGIN {
    while ((getline line < now) > 0) {
        key = line; sub(/^! /, "", key); sub(/ .*/, "", key)
        if (line ~ /^! /) { sub(/^! [^ ]* /, "", line); list[key] = list[key] "    " line "\n" }
        else { sub(/^[^ ]* /, "", line); value[key] = line }
    }
    printf "%-46s %10s %10s %10s\n", "measure", "before", "now", "goal"
}
NF == 4 {
    n = split(value[$1], have, " "); sub(/^[ ]*/, "", $1)
    m = split($4, want, " ")
    red = 0
    for (i = 2; i <= m; i++) {
        fine = want[1] == ">=" ? have[i - 1] + 0 >= want[i] + 0 : have[i - 1] + 0 <= want[i] + 0
        if (n < m - 1 || have[i - 1] !~ /^[0-9.]+$/ || !fine) red = 1
    }
    now_text = value[$1]; gsub(/ /, ", ", now_text); gsub(/ /, ", ", $3)
    goal_text = $4; if (m == 3) goal_text = want[1] " " want[2] ", " want[3]
    printf "%-46s %10s %10s %10s %s\n", $2, $3, now_text, goal_text, red ? "beyond" : ""
    if (red) printf "red %s %s: %s, goal %s\n%s", $1, $2, now_text, goal_text, list[$1] > "/dev/stderr"
    else if (m > 1) print "green " $1 > "/dev/stderr"
}' 2> "$dir/verdict"
passed=$(grep -c '^green ' "$dir/verdict")
failed=$(grep -c '^red ' "$dir/verdict")
sed -n '/^green/d; s/^red [^ ]* /FAIL: /; p' "$dir/verdict"
[ $((passed + failed)) -eq "$(printf '%s' "$goals" | grep -c '[<>]=')" ] || bad "a measure has no verdict"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
