/* Chapter 2, text to tokens: worked examples, slow but obvious twins of the trainer and of the merge loops, round
   trips, files and refusals, and what the Hugging Face library makes of some hundred texts (test/data/tok, written by
   test/gen/tokenizer.py). Run from the repository's root, or name the data folder: test_tokenizer [test/data]. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "check.h"

static char scratch[256];                       /* a folder of our own for files */
static const char *data = "test/data";

static llm_tokenizer trained(const char *text, int vocab_size, bool digits) {
    llm_tokenizer t;
    llm_tokenizer_train(&t, text, strlen(text), vocab_size, digits);
    return t;
}
static int *encoded(const llm_tokenizer *t, const char *text, size_t size, size_t *count) {
    int *ids = llm_alloc(t->room(text, size), sizeof *ids);
    *count = llm_encode(t, text, size, ids);
    return ids;
}
/* decode(encode(text)) == text (or its NFC), every id a plain token? */
static bool survives(const llm_tokenizer *t, const char *text, size_t size) {
    size_t count, back_size, room = t->room(text, size);
    int *ids = encoded(t, text, size, &count);
    char *back = llm_decode(t, ids, count, false, &back_size);
    char *normal = hf_wants_nfc(t) ? nfc_text(text, &size, NULL) : NULL;
    bool good = count <= room && back_size == size && !memcmp(back, normal ? normal : text, size);
    for (size_t i = 0; i < count; i++) good = good && ids[i] >= 0 && ids[i] < t->vocab_size && !t->special[ids[i]];
    llm_release_all(ids, back, normal);
    return good;
}

/* ---- training ---- */

static void test_worked_example(void) {
    llm_tokenizer room = trained("ab abc abcd abcde ab abc abcd abcde", 264, false);     /* more merges than there is room for */
    CHECK(room.vocab_size == 264 && room.merges == 3, "at most 264 ids: %d", room.vocab_size);
    llm_tokenizer_free(&room);
    llm_tokenizer t = trained("aaabdaaabac", 300, false);
    static const struct { int a, b; const char *bytes; } merge[] = {{'a', 'a', "aa"}, {'a', 'b', "ab"}, {256, 257,
            "aaab"}};
    CHECK(t.merges == 3, "aaabdaaabac: %d merges, want 3", t.merges);
    CHECK(t.vocab_size == 256 + 3 + 5, "aaabdaaabac: %d ids, want 264", t.vocab_size);
    for (int i = 0; i < 3 && i < t.merges; i++) {
        const bpe_merge *m = &t.tables->merge[i];
        CHECK(m->a == merge[i].a && m->b == merge[i].b && m->id == 256 + i && !strcmp(t.token[256 + i], merge[i].bytes),
              "merge %d is (%d, %d) -> %d \"%s\"", i, m->a, m->b, m->id, t.token[256 + i]);
    }
    size_t count;
    int *ids = encoded(&t, "aaabdaaabac", 11, &count);
    const int want[] = {258, 'd', 258, 'a', 'c'};
    CHECK(count == 5 && !memcmp(ids, want, sizeof want), "aaabdaaabac: %zu tokens", count);
    llm_release(ids);
    CHECK(t.bos == 259 && t.eos == 259 && t.pad == 260 && t.im_start == 261 && t.im_end == 262 && t.reward == 263,
            "special ids");
    CHECK(t.stops == 2 && t.stop[0] == 259 && t.stop[1] == 262, "an answer ends at <|endoftext|> or <|im_end|>");
    llm_tokenizer_free(&t);
}

/* The trainer as one would explain it: count all pairs of all pieces again before every merge. */
static int naive_train(const char *text, size_t size, int split, int most, bpe_merge *merge) {
    uint8_t *class_of = classes_new();
    llm_text c = {text, size, class_of, split};
    int *sym = llm_alloc(size + 1, sizeof *sym), *piece = llm_alloc(size + 1, sizeof *piece), n = 0, made = 0;
    for (size_t at = 0, end, k = 0; at < size; at = end, k++) {
        end = cut_gpt2(&c, at);
        for (size_t i = at; i < end; i++) sym[n] = (unsigned char)text[i], piece[n++] = (int)k;
    }
    for (; made < most; made++) {
        int best = 0, best_a = 0, best_b = 0;
        for (int i = 0; i + 1 < n; i++) {
            if (piece[i] != piece[i + 1]) continue;
            int a = sym[i], b = sym[i + 1], times = 0;
            for (int j = 0; j + 1 < n; j++) times += piece[j] == piece[j + 1] && sym[j] == a && sym[j + 1] == b;
            if (times > best || (times == best && (a < best_a || (a == best_a && b < best_b)))) best = times,
                    best_a = a, best_b = b;
        }
        if (best < 2) break;
        merge[made] = (bpe_merge){best_a, best_b, 256 + made};
        int kept = 0;
        for (int i = 0; i < n; i++) {
            bool hit = i + 1 < n && piece[i] == piece[i + 1] && sym[i] == best_a && sym[i + 1] == best_b;
            sym[kept] = hit ? 256 + made : sym[i];
            piece[kept++] = piece[i];
            i += hit;
        }
        n = kept;
    }
    llm_release(class_of);
    llm_release(sym);
    llm_release(piece);
    return made;
}
static void test_training_twin(void) {
    llm_rng rng = llm_rng_seed(1, 3);
    for (int round = 0; round < 60; round++) {
        const char *alphabet = round % 3 == 0 ? "ab" : round % 3 == 1 ? "aab c" : "abc12 ,\n'sé";
        char text[400];
        size_t size = (size_t)llm_rng_below(&rng, (int)sizeof text);
        for (size_t i = 0; i < size; i++) text[i] = alphabet[llm_rng_below(&rng, (int)strlen(alphabet))];
        bpe_merge want[64];
        bool digits = round % 2;
        int count = naive_train(text, size, digits ? LLM_SPLIT_DIGITS : LLM_SPLIT_GPT2, 60, want);
        llm_tokenizer t;
        llm_tokenizer_train(&t, text, size, 256 + 60 + 5, digits);
        CHECK(t.merges == count, "round %d: %d merges, the slow twin has %d", round, t.merges, count);
        CHECK(!count || !memcmp(t.tables->merge, want, (size_t)llm_min(count, t.merges) * sizeof *want),
                "round %d: other merges", round);
        llm_tokenizer_free(&t);
    }
}

/* ---- cutting: what each regular expression does, by hand; | marks the cuts ---- */

static void test_cuts(void) {
    static const struct { int split; const char *pieces; } row[] = {
        {LLM_SPLIT_GPT2, "Hello| world|!"}, {LLM_SPLIT_GPT2, "I|'m| sure| we|'ll| see|,| don|'t| you|'re|'ve|'d|'s"},
        {LLM_SPLIT_GPT2, "you|'re"}, {LLM_SPLIT_GPT2, "I|'ve"}, {LLM_SPLIT_GPT2, "he|'ll"}, {LLM_SPLIT_GPT2, "he|'|l"},
        {LLM_SPLIT_GPT2, "I|'|M"}, {LLM_SPLIT_GPT2, "'s|ure"}, {LLM_SPLIT_GPT2, " '|s"}, {LLM_SPLIT_GPT2, "''|s"},
        {LLM_SPLIT_GPT2, "a|  | b"}, {LLM_SPLIT_GPT2, "a|   "}, {LLM_SPLIT_GPT2, "a| |\n|b"}, {LLM_SPLIT_GPT2,
                "a|\n|\n|b"},
        {LLM_SPLIT_GPT2, "a|\t|b"}, {LLM_SPLIT_GPT2, "x| |\xC2\xA0|y"}, {LLM_SPLIT_GPT2, "a| 123|b| 4|.|5"},
        {LLM_SPLIT_GPT2, " \xC3\xA9t\xC3\xA9| \xE4\xBD\xA0\xE5\xA5\xBD|\xE3\x80\x82"}, {LLM_SPLIT_GPT2,
                "a|\xFF\xFE!|b"},
        {LLM_SPLIT_GPT2, "\xC2\xB2\xC2\xBD|x"}, {LLM_SPLIT_GPT2, "e|\xCC\x81|x"}, {LLM_SPLIT_GPT2, " "},
                {LLM_SPLIT_GPT2, "a|  \n"},
        {LLM_SPLIT_DIGITS, "a| |1|2|3| b"}, {LLM_SPLIT_DIGITS, "a|  |1"}, {LLM_SPLIT_DIGITS, "x|4|2|.|0"},
                {LLM_SPLIT_DIGITS, "a|  | b|  "},
        {LLM_SPLIT_DIGITS, "\xC2\xBD|\xC2\xB2| it|'s"},
        {HF_SPLIT_LLAMA3, "Hello| world|!\n\n|x"}, {HF_SPLIT_LLAMA3, "I|'M|'Ll|'s"}, {HF_SPLIT_LLAMA3,
                "123|456|7|a"},
        {HF_SPLIT_LLAMA3, "a| |123|4"}, {HF_SPLIT_LLAMA3, "a|\n\n  \n|  | b"}, {HF_SPLIT_LLAMA3, "(x|)"},
        {HF_SPLIT_LLAMA3, "!!|a"}, {HF_SPLIT_LLAMA3, ".hello|_world"}, {HF_SPLIT_LLAMA3, "a|\tb|\n|c"},
        {HF_SPLIT_LLAMA3, "a| ...\r\n|b"}, {HF_SPLIT_LLAMA3, "  \t|\tx"}, {HF_SPLIT_LLAMA3, "\xFFx|1|\xFF"},
        {HF_SPLIT_TEKKEN, "get|HTTPResponse|(x|),//\n|I|'m| |1|2| ab|CD"}, {HF_SPLIT_TEKKEN, "\xC2\xAA|AB|,\xCC\x81x"},
        {HF_SPLIT_TEKKEN, " a\xE4\xBD\xA0|ABc|  \n| AB\xE4\xBD\xA0|AB"},
        {HF_SPLIT_QWEN2, "a| |1|2|3|\xFFx"}, {HF_SPLIT_QWEN2, "1|2|'D|x| \n\n"}, {HF_SPLIT_SPM,
                "  one| two|  three"}};
    uint8_t *class_of = classes_new(), *tekken = classes_new();
    tekken_classes(tekken);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[128], got[256];
        size_t n = 0, out = 0;
        for (const char *s = row[i].pieces; *s; s++) if (*s != '|') text[n++] = *s;
        llm_text c = {text, n, row[i].split == HF_SPLIT_TEKKEN ? tekken : class_of, row[i].split};
        for (size_t at = 0, end; at < n; at = end) {
            end = (c.split == HF_SPLIT_SPM ? hf_cut_words : c.split == HF_SPLIT_LLAMA3 || c.split == HF_SPLIT_QWEN2 ?
                   hf_cut_llama3 : c.split == HF_SPLIT_TEKKEN ? tekken_cut : cut_gpt2)(&c, at);
            if (at) got[out++] = '|';
            memcpy(got + out, text + at, end - at);
            out += end - at;
        }
        got[out] = '\0';
        CHECK(!strcmp(got, row[i].pieces), "split %d: want %s, got %s", row[i].split, row[i].pieces, got);
    }
    llm_release_all(class_of, tekken);
}
static void test_classes(void) {
    uint8_t *class_of = classes_new();
    static const struct { uint32_t code; int class; } row[] = {
        {'A', 1}, {'z', 1}, {'_', 0}, {'0', 2}, {' ', 3}, {'\n', 3}, {0x1C, 0}, {0x85, 3}, {0xA0, 3}, {0xAA, 1}, {0xB2,
                2}, {0xD7, 0},
        {0x301, 0}, {0x3B1, 1}, {0x660, 2}, {0x200A, 3}, {0x200B, 0}, {0x2028, 3}, {0x2160, 2}, {0x3000, 3}, {0x3042,
                1}, {0x4E00, 1},
        {0x9FFF, 1}, {0xAC00, 1}, {0xD7A3, 1}, {0xD7A4, 0}, {0xFEFF, 0}, {0x1F600, 0}, {0x1D7CE, 2}, {0x20000, 1},
                {0x10FFFF, 0}, {0x10D64, 1}, {0x1C89, 1}, {0x1CCF0, 2}};    /* the last three: new in Unicode 16 */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        CHECK(class_of[row[i].code] == row[i].class, "U+%04X is of class %d", row[i].code, class_of[row[i].code]);
    int count[4] = {0};
    for (uint32_t c = 0; c < 0x110000; c++) count[class_of[c]]++;
    CHECK(count[CLASS_SPACE] == 25, "%d characters of white space, Unicode has 25", count[CLASS_SPACE]);
    CHECK(count[CLASS_LETTER] == 141028 && count[CLASS_NUMBER] == 1911, "%d letters, %d numbers", count[CLASS_LETTER],
            count[CLASS_NUMBER]);
    llm_release(class_of);
}

/* ---- merging: both loops against the obvious one ---- */

static size_t naive_merge(const pair_map *m, int *ids, size_t n) {
    for (;;) {
        int best = NO_RANK, id = 0, into;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int rank = pair_rank(m, ids[i], ids[i + 1], &into);
            if (rank < best) best = rank, at = i, id = into;
        }
        if (best == NO_RANK) return n;
        ids[at] = id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}
static void test_merge_loops(void) {
    llm_tokenizer t = trained(
        "abababcabcbcaaaabaacaabcccabcabaabbaabbccabcababababcaabbcc abcbacbabcbabcbab aaaaaaaaaaaaaaaaabbbbbbbbb", 400,
        false);
    llm_rng rng = llm_rng_seed(2, 3);
    int wrong = 0;
    for (int round = 0; round < 3000; round++) {
        int a[300], b[300], c[300];
        size_t n = 1 + (size_t)llm_rng_below(&rng, round % 2 ? 300 : SHORT_PIECE),
                letters = 1 + (size_t)llm_rng_below(&rng, 4);
        for (size_t i = 0; i < n; i++) a[i] = b[i] = c[i] = 'a' + llm_rng_below(&rng, (int)letters);
        size_t want = naive_merge(&t.tables->pairs, a, n), heaped = merge_long(&t.tables->pairs, b, n);
        wrong += heaped != want || memcmp(a, b, want * sizeof *a);
        if (n > SHORT_PIECE) continue;
        size_t shorter = merge_short(&t.tables->pairs, c, n);
        wrong += shorter != want || memcmp(a, c, want * sizeof *a);
    }
    CHECK(wrong == 0, "%d of 4500 merges differ from the obvious loop", wrong);
    llm_tokenizer_free(&t);
}

/* ---- round trips ---- */

static size_t random_text(llm_rng *rng, char *text, size_t most) {
    static const char *bit[] = {" ", "  ", "\n", "\t", "\r\n", "'s", "'LL", "the", " and", "12", "7", "\xC3\xA9",
            "\xE4\xBD\xA0", "\xC2\xA0",
                                "\xF0\x9F\x98\x80", "\xC2\xBD", "\xFF", "\xC3", "\xF0\x9F", "<|im_end|>", "...", "_",
                                        "Z", "aaaa", "\xE2\x80\xA8"};
    size_t n = 0, want = (size_t)llm_rng_below(rng, (int)most);
    int kind = llm_rng_below(rng, 3);
    while (n < want) {
        if (kind == 0 || (kind == 1 && llm_rng_below(rng, 8) == 0)) text[n++] = (char)llm_rng_below(rng, 256);
        else {
            const char *s = bit[llm_rng_below(rng, (int)(sizeof bit / sizeof *bit))];
            if (n + strlen(s) > want) break;
            memcpy(text + n, s, strlen(s));
            n += strlen(s);
        }
    }
    return n;
}
static void check_round_trips(const llm_tokenizer *t, const char *name) {
    llm_rng rng = llm_rng_seed(4, 3);
    char text[600];
    int lost = 0;
    for (int round = 0; round < 2000; round++) {
        size_t n = random_text(&rng, text, sizeof text);
        lost += !survives(t, text, n);
    }
    for (int b = 0; b < 256; b++) {
        char one = (char)b;
        lost += !survives(t, &one, 1);
    }
    lost += !survives(t, "", 0);
    CHECK(lost == 0, "%s: %d of 2257 texts were not the same after encode and decode", name, lost);
}
static void test_round_trips(void) {
    const char *text = "the cat and the dog and the 12 hens said: aaaa 12 \xC3\xA9 \xE4\xBD\xA0 the end\n\n  and  the  "
                       "rest's theirs\n";
    for (int digits = 0; digits < 2; digits++) {
        llm_tokenizer t = trained(text, 300, digits);
        check_round_trips(&t, digits ? "trained, digits" : "trained");
        llm_tokenizer_free(&t);
    }
}
/* Whatever a user types is text. */
static void test_specials_in_text(void) {
    llm_tokenizer t = trained(
        "<|endoftext|><|endoftext|><|endoftext|> <|im_end|> <|im_end|> <|reward|><|pad|><|im_start|>", 400, false);
    CHECK(survives(&t, "<|im_end|>\n<|endoftext|><|reward|>", 33), "a special token was made from text");
    int ids[] = {t.im_start, 'h', 'i', t.im_end};
    size_t size;
    char *hidden = llm_decode(&t, ids, 4, false, &size), *spelled = llm_decode(&t, ids, 4, true, NULL);
    CHECK(size == 2 && !strcmp(hidden, "hi"), "decode skipped nothing: %s", hidden);
    CHECK(!strcmp(spelled, "<|im_start|>hi<|im_end|>"), "decode spelled %s", spelled);
    CHECK(llm_token_id(&t, "<|pad|>") == t.pad && llm_token_id(&t, "hi") == -1 && llm_token_id(&t, "h") == -1,
            "llm_token_id");
    CHECK_DIES(llm_decode(&t, (int[]){0, t.vocab_size}, 2, true, NULL), "token id");
    CHECK_DIES(llm_decode(&t, (int[]){-1}, 1, true, NULL), "token id");
    llm_release(hidden);
    llm_release(spelled);
    llm_tokenizer_free(&t);
}
/* One letter a million times, a million spaces, a million random letters without a space: a quadratic loop would take
   hours here, and the alarm below ends the test. */
static void test_worst_cases(void) {
    size_t n = 1000000;
    char *text = llm_alloc(n + 1, 1);
    llm_rng rng = llm_rng_seed(5, 3);
    alarm(300);
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < n; i++)
            text[i] = kind == 0 ? 'a' : kind == 1 ? ' ' : kind == 2 ? (char)('a' + llm_rng_below(&rng,
                    4)) : (char)llm_rng_below(&rng, 256);
        llm_tokenizer t = trained(text, 600, false);
        CHECK(kind > 1 || t.merges == 19, "%d merges from a million equal letters, want 19 (3 x 2^18 < 10^6)",
                t.merges);
        CHECK(survives(&t, text, n), "kind %d: a million bytes were not the same after encode and decode", kind);
        CHECK(survives(&t, text, n - 12345), "kind %d: not the same", kind);
        llm_tokenizer_free(&t);
    }
    alarm(0);
    llm_release(text);
}
static void test_threads(void) {
    const char *text = "the cat and the dog and the hens and the cats and the dogs ran and ran and the end";
    llm_tokenizer t = trained(text, 300, false);
    size_t count;
    int *want = encoded(&t, text, strlen(text), &count), wrong = 0;
    LLM_OMP(parallel for reduction(+ : wrong) num_threads(4))
    for (int i = 0; i < 200; i++) {
        size_t n;
        int *ids = encoded(&t, text, strlen(text), &n);
        wrong += n != count || memcmp(ids, want, n * sizeof *ids);
        llm_release(ids);
    }
    CHECK(wrong == 0, "%d of 200 encodings in parallel differ", wrong);
    llm_release(want);
    llm_tokenizer_free(&t);
}

/* ---- files ---- */

static bool same_file(const char *a, const char *b) {
    size_t n, m;
    char *x = llm_read_file(a, &n), *y = llm_read_file(b, &m);
    bool same = n == m && !memcmp(x, y, n);
    llm_release(x);
    llm_release(y);
    return same;
}
static void test_save_and_load(void) {
    const char *text = "the cat and the dog 12 12 and the \"hens\" said: \\o/ aaaa \xC3\xA9\xC3\xA9 \xE4\xBD\xA0 "
                       "end\n\n  and  the  rest's theirs\n\t\t\x7F\x7F \xAD\xAD";
    for (int digits = 0; digits < 2; digits++) {
        llm_tokenizer t = trained(text, 300, digits), u, v;
        char *dir = llm_format("%s/ours%d", scratch, digits), *again = llm_format("%s/again%d", scratch, digits);
        llm_tokenizer_save(&t, dir);
        llm_tokenizer_load(&u, dir);
        CHECK(u.vocab_size == t.vocab_size && u.merges == t.merges && u.split == t.split && u.hash == t.hash,
                "a saved tokenizer changed");
        CHECK(u.bos == t.bos && u.eos == t.eos && u.pad == t.pad && u.im_start == t.im_start && u.im_end == t.im_end &&
              u.reward == t.reward && u.stops == t.stops && u.chat == &llm_chatml,
                      "a saved tokenizer lost its special tokens");
        int wrong = 0;
        for (int i = 0; i < t.vocab_size && i < u.vocab_size; i++)
            wrong += t.length[i] != u.length[i] || memcmp(t.token[i], u.token[i], (size_t)t.length[i]) ||
                    t.special[i] != u.special[i];
        CHECK(wrong == 0, "%d tokens changed in the file", wrong);
        check_round_trips(&u, "loaded");
        size_t n, m;
        int *a = encoded(&t, text, strlen(text), &n), *b = encoded(&u, text, strlen(text), &m);
        CHECK(n == m && !memcmp(a, b, n * sizeof *a), "the loaded tokenizer gives other ids");
        llm_tokenizer_save(&u, again);
        for (int i = 0; i < 2; i++) {
            char *x = llm_format("%s/%s", dir, tokenizer_file[i]), *y = llm_format("%s/%s", again, tokenizer_file[i]);
            CHECK(same_file(x, y), "%s was not saved byte for byte", tokenizer_file[i]);
            llm_release(x);
            llm_release(y);
        }
        char *file = llm_format("%s/tokenizer.json", dir);
        hf_tokenizer_load(&v, file);
        CHECK(v.hash == t.hash, "loading the file is not loading the folder");
        CHECK(t.opens == t.eos && u.opens == t.eos && v.opens == t.eos, "our texts are opened by %d", v.opens);
        llm_tokenizer other = trained("quite another text, quite another text", 300, digits);
        CHECK(other.hash != t.hash, "two tokenizers with one fingerprint");
        llm_tokenizer_free(&t); llm_tokenizer_free(&u); llm_tokenizer_free(&v); llm_tokenizer_free(&other);
        llm_release(a); llm_release(b); llm_release(dir); llm_release(again); llm_release(file);
    }
}

/* A small tokenizer.json with replaceable parts. */
typedef struct {
    const char *added, *normalizer, *pre, *model, *vocab, *merges, *post, *config, *generation, *model_config;
} parts;
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
static llm_tokenizer small(parts p) {
    char *path = llm_format("%s/parts", scratch), *file[4];
    remove_tree(path);
    llm_make_dirs(path);
    const char *name[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"};
    char *json = llm_format(
        "{\"added_tokens\":%s,\"normalizer\":%s,\"pre_tokenizer\":%s,\"model\":{%s,\"vocab\":%s,\"merges\":%s},"
        "\"post_processor\":%s}",
        p.added ? p.added : "[{\"id\":3,\"content\":\"<|endoftext|>\",\"special\":true}]",
        p.normalizer ? p.normalizer : "null", p.pre ? p.pre : BYTE_LEVEL, p.model ? p.model : "\"type\":\"BPE\"",
        p.vocab ? p.vocab : "{\"a\":0,\"b\":1,\"ab\":2}", p.merges ? p.merges : "[\"a b\"]", p.post ? p.post : "null");
    const char *text[] = {json, p.config, p.generation, p.model_config};
    for (int i = 0; i < 4; i++) {
        file[i] = llm_format("%s/%s", path, name[i]);
        if (!text[i]) continue;
        llm_writer w = llm_write_begin(file[i]);
        llm_write_bytes(&w, text[i], strlen(text[i]));
        llm_write_done(&w);
    }
    llm_tokenizer t;
    hf_tokenizer_load(&t, path);
    return t;
}
static void load_parts(parts p) {
    llm_tokenizer t = small(p);
    int ids[8];
    CHECK(llm_encode(&t, "abba", 4, ids) == 3 && ids[0] == 2, "the small tokenizer cannot encode");
    CHECK(llm_encode(&t, "xazbyb", 6, ids) == 2 && ids[0] == 2 && ids[1] == 1, "what no token spells is dropped");
    CHECK(t.tables->unspelled == 3, "and counted: %zu", t.tables->unspelled);
    hf_say_unspelled(&t);
    CHECK(!t.tables->unspelled, "said once");
    llm_tokenizer_free(&t);
}
/* Vocabularies of three letters that ask for a decision. */
static void check_ids(llm_tokenizer t, const char *text, const char *want) {
    char got[256] = "";
    size_t count;
    int *ids = encoded(&t, text, strlen(text), &count);
    for (size_t i = 0; i < count; i++) sprintf(got + strlen(got), "%d ", ids[i]);
    CHECK(!strcmp(got, want), "\"%s\": ids %s, want %s", text, got, want);
    llm_release(ids);
    llm_tokenizer_free(&t);
}
static void test_odd_vocabularies(void) {
    /* a merge that would make a special token; one whose product is an added token that is not special */
    check_ids(small((parts){.added = "[{\"id\":2,\"content\":\"ab\",\"special\":true}]"}), "abab", "0 1 0 1 ");
    check_ids(small((parts){.added = "[{\"id\":2,\"content\":\"ab\",\"special\":false}]"}), "abab", "2 2 ");
    /* a token that no merge leads to: found whole only with ignore_merges */
    const char *vocab = "{\"a\":0,\"b\":1,\"ab\":2,\"abb\":4}";
    check_ids(small((parts){.vocab = vocab}), "abb", "2 1 ");
    check_ids(small((parts){.vocab = vocab, .model = "\"type\":\"BPE\",\"ignore_merges\":true"}), "abb", "4 ");
    /* a byte that no token spells: dropped, and its neighbours merge; or the unknown token; a token that holds it */
    check_ids(small((parts){0}), "axbb\n", "2 1 ");
    check_ids(small((parts){0}), "a\xC0" "bb\n", "0 1 1 ");             /* no letter: cut there */
    const char *unknown = "\"type\":\"BPE\",\"unk_token\":\"<|endoftext|>\"";
    check_ids(small((parts){.model = unknown}), "a\xC0" "bb", "0 3 1 1 ");
    check_ids(small((parts){.vocab = "{\"a\":0,\"b\":1,\"ab\":2,\"a\xC3\x80\":4}"}), "a\xC0", "0 ");
    CHECK_DIES(load_parts((parts){.model = "\"type\":\"BPE\",\"unk_token\":\"a\",\"fuse_unk\":true"}), "fuse_unk");
    /* SentencePiece, with and without a token that reaches over a space */
    char *bytes = llm_alloc(8192, 1);
    for (int i = 0; i < 256; i++) sprintf(bytes + strlen(bytes), "\"<0x%02X>\":%d,", i, 8 + i);
    for (int over = 0; over < 2; over++) {
        char *spm = llm_format(
            "{%s\"<unk>\":0,\"\xE2\x96\x81\":1,\"a\":2,\"b\":4,\"%s\":5,\"%s\":6,\"\xE2\x96\x81\xE2\x96\x81\":7}",
            bytes,
            over ? "a\xE2\x96\x81"
                 : "\xE2\x96\x81"
                   "a",
            over ? "a\xE2\x96\x81"
                   "b"
                 : "\xE2\x96\x81"
                   "ab");
        check_ids(small((parts){.vocab = spm, .model = "\"byte_fallback\":true", .pre = "null", .normalizer =
                                "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}",
                                .merges = over ?
                                        "[\"a \xE2\x96\x81\",\"a\xE2\x96\x81 b\",\"\xE2\x96\x81 \xE2\x96\x81\"]" :
                                "[\"\xE2\x96\x81 a\",\"\xE2\x96\x81" "a b\",\"\xE2\x96\x81 \xE2\x96\x81\"]"}),
                  "b a b  ab\n", over ? "4 1 6 7 2 4 18 " : "4 5 1 4 1 6 18 ");
        llm_release(spm);
    }
    llm_release(bytes);
}
/* What the configuration does not say: GPT-2's says nothing, Qwen2's says that there is no bos. */
static void test_configurations(void) {
    /* config.json counts where generation_config.json says nothing; what it names beyond the vocabulary is a default */
    static const struct { const char *generation, *model; int stops, eos; } asked[] = {
        {NULL, "{\"eos_token_id\":[3,1,9]}", 2, 3}, {"{}", "{\"eos_token_id\":[1,0]}", 3, 3},
        {"{\"eos_token_id\":1}", "{\"eos_token_id\":[0,3]}", 2, 3}, {"{\"eos_token_id\":50256}", NULL, 1, 3},
        {"{\"eos_token_id\":[50256,1]}", NULL, 2, 3}, {"{\"eos_token_id\":4}", "{\"eos_token_id\":[0,-1,1.5]}", 2, 3}, {NULL, "{\"eos_token_id\":50256}", 1, 3},
        {NULL, "{\"eos_token_id\":null}", 1, 3}};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        llm_tokenizer t = small((parts){.generation = asked[i].generation, .model_config = asked[i].model});
        CHECK(t.stops == asked[i].stops && t.eos == asked[i].eos, "eos %zu: %d stops, eos %d", i, t.stops, t.eos);
        llm_tokenizer_free(&t);
    }
    static const struct { const char *config, *generation; int bos, eos, stops; } row[] = {
        {NULL, NULL, 3, 3, 1}, {"{\"model_max_length\":1024}", NULL, 3, 3, 1}, {"{\"bos_token\":null}", NULL, -1, 3, 1},
        {"{\"bos_token\":null,\"eos_token\":null}", NULL, -1, -1, 0}, {"{\"eos_token\":{\"content\":\"b\"}}", NULL, 3,
                1, 1},
        {"{\"eos_token\":null}", "{\"eos_token_id\":[3,1,3]}", 3, 3, 2}, {"{}", "{\"eos_token_id\":2}", 3, 3, 2}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        llm_tokenizer t = small((parts){.config = row[i].config, .generation = row[i].generation});
        CHECK(t.bos == row[i].bos && t.eos == row[i].eos && t.pad == -1 && t.stops == row[i].stops,
              "row %zu: bos %d, eos %d, pad %d, %d stops", i, t.bos, t.eos, t.pad, t.stops);
        CHECK((t.bos < 0 || t.special[t.bos]) && (t.eos < 0 || t.special[t.eos]), "row %zu: bos and eos are special",
                i);
        llm_tokenizer_free(&t);
    }
}
/* What stands before a text: what the post-processor says, or add_bos_token. (Ids as transformers has them.) */
#define OPENED(token) "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"" token "\",\"type_id\":0}}," \
                      "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{}}"
#define BARE "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[]}"
#define BYTES "{\"type\":\"ByteLevel\",\"trim_offsets\":false}"
static void test_openers(void) {
    static const struct { const char *post, *config; int opens; } row[] = {
        {NULL, NULL, -1}, {BYTES, NULL, -1}, {BARE, NULL, -1}, {OPENED("<|endoftext|>"), NULL, 3},
        {"{\"type\":\"Sequence\",\"processors\":[" BYTES "," OPENED("<|endoftext|>") "]}", NULL, 3},
        {"{\"type\":\"Sequence\",\"processors\":[" BYTES "," BARE "]}", NULL, -1},
        {OPENED("b"), NULL, 1}, {OPENED("<|endoftext|>"), "{\"add_bos_token\":false}", -1},
        {NULL, "{\"add_bos_token\":true}", 3}, {NULL, "{\"add_bos_token\":true,\"bos_token\":null}", -1},
        {OPENED("<|endoftext|>"), "{\"add_bos_token\":null}", 3},
        {"{\"type\":\"RobertaProcessing\",\"sep\":[\"b\",1],\"cls\":[\"<|endoftext|>\",3]}", NULL, 3}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        llm_tokenizer t = small((parts){.post = row[i].post, .config = row[i].config});
        int n, *ids = llm_prompt_ids(&t, "ab", &n);
        CHECK(t.opens == row[i].opens, "row %zu: a text is opened by %d", i, t.opens);
        CHECK(t.opens < 0 ? n == 1 && ids[0] == 2 : n == 2 && ids[0] == t.opens && ids[1] == 2, "row %zu: %d ids", i, n);
        llm_tokens x = {0};                             /* a text to learn: the same, and its end */
        llm_message m = {"text", "ab", 2, NULL};
        llm_record r = {.form = "text", .message = &m, .messages = 1, .raw = true};
        t.eos = 3;
        llm_render_record(&t, &r, LLM_WHOLE, 0, &x);
        CHECK(x.count == n + 1 && !memcmp(x.id, ids, (size_t)n * sizeof *ids) && x.id[n] == 3, "row %zu: learned", i);
        llm_release(ids);
        ids = llm_prompt_ids(&t, "", &n);
        CHECK(n == 1 && ids[0] == (t.opens >= 0 ? t.opens : 3), "row %zu: an empty prompt begins with something", i);
        llm_tokens_free(&x);
        llm_release(ids);
        llm_tokenizer_free(&t);
    }
    CHECK_DIES(load_parts((parts){.post = OPENED("<s>")}), "post_processor wants \"<s>\", which is no token");
    CHECK_DIES(load_parts((parts){.post = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}},"
                                          "{\"SpecialToken\":{\"id\":\"b\"}},{\"Sequence\":{\"id\":\"A\"}}]}"}),
               "two special tokens before a text");
}
/* Anything that changes ids changes the fingerprint. */
static void test_fingerprint(void) {
    static const parts other[] = {
        {0},
        {.merges = "[]"},
        {.added = "[{\"id\":3,\"content\":\"<|endoftext|>\"}]", .config = "{\"bos_token\":null,\"eos_token\":null}"},
        {.added = "[{\"id\":3,\"content\":\"<|end|>\",\"special\":true}]"},
        {.vocab = "{\"a\":1,\"b\":0,\"ab\":2}"},
        {.pre = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL
                "]}"},
        {.model = "\"ignore_merges\":true"}, {.normalizer = "{\"type\":\"NFC\"}"},
        {.added = "[{\"id\":3,\"content\":\"<|endoftext|>\",\"lstrip\":true}]",
         .config = "{\"bos_token\":null,\"eos_token\":null}"},
        {.added = "[{\"id\":3,\"content\":\"<|endoftext|>\",\"special\":true,\"lstrip\":true}]"}};
    enum { OTHERS = sizeof other / sizeof *other };
    uint64_t hash[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        llm_tokenizer t = small(other[i]);
        hash[i] = t.hash;
        for (int j = 0; j < i; j++) CHECK(hash[i] != hash[j], "vocabularies %d and %d have one fingerprint", i, j);
        llm_tokenizer_free(&t);
    }
}
static void test_refusals(void) {
    load_parts((parts){0});
    load_parts((parts){.merges = "[[\"a\",\"b\"]]",
            .config = "{\"eos_token\":{\"content\":\"<|endoftext|>\"},\"bos_token\":null}",
                       .generation = "{\"eos_token_id\":[3,1]}"});
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":1,\"ab\":4}"}), "without holes");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":1,\"ab\":1}"}), "two tokens have the id 1");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":1,\"a\":2}"}), "two ids, 0 and 2");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":-1,\"ab\":2}"}), "not a whole number");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":1.5,\"ab\":2}"}), "not a whole number");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":1e300,\"ab\":2}"}), "not a whole number");
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0,\"b\":\"1\",\"ab\":2}"}), "not a whole number");
    CHECK_DIES(load_parts((parts){.vocab = "[\"a\",\"b\"]"}), "vocab is not an object");
    CHECK_DIES(load_parts((parts){.vocab = "{}", .added = "[]", .merges = "[]"}), "0 tokens");
    CHECK_DIES(load_parts((parts){.added = "[{\"id\":7,\"content\":\"<x>\"}]"}), "without holes");
    CHECK_DIES(load_parts((parts){.added = "[{\"id\":1,\"content\":\"<x>\"}]"}), "two tokens have the id 1");
    CHECK_DIES(load_parts((parts){.added = "[{\"id\":1,\"content\":\"a\"}]"}), "two ids");
    CHECK_DIES(load_parts((parts){.added = "[{\"content\":\"<x>\"}]"}), "not a whole number");
    CHECK_DIES(load_parts((parts){.added = "[{\"id\":3}]"}), "without \"content\"");
    CHECK_DIES(load_parts((parts){.added = "[3]"}), "without \"content\"");
    CHECK_DIES(load_parts((parts){.merges = "[\"a c\"]"}), "merge 0, \"a\" and \"c\": the second is not in");
    CHECK_DIES(load_parts((parts){.merges = "[\"b a\"]"}), "what they make is not in the vocabulary");
    CHECK_DIES(load_parts((parts){.merges = "[\"ab\"]"}), "merge 0 is neither");
    CHECK_DIES(load_parts((parts){.merges = "[\"a b\",\" b\"]"}), "merge 1 is neither");
    CHECK_DIES(load_parts((parts){.merges = "[[\"a\"]]"}), "merge 0 is neither");
    CHECK_DIES(load_parts((parts){.merges = "[[\"a\",1]]"}), "merge 0 is neither");
    CHECK_DIES(load_parts((parts){.merges = "[7]"}), "merge 0 is neither");
    CHECK_DIES(load_parts((parts){.merges = "{}"}), "merges is not a list");
    CHECK_DIES(load_parts((parts){.model = "\"type\":\"Unigram\""}), "\"Unigram\"");
    CHECK_DIES(load_parts((parts){.model = "\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\""}), "end_of_word_suffix");
    CHECK_DIES(load_parts((parts){.model = "\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\""}),
            "continuing_subword_prefix");
    CHECK_DIES(load_parts((parts){.model = "\"type\":\"BPE\",\"dropout\":0.1"}), "dropout");
    CHECK_DIES(load_parts((parts){.normalizer = "{\"type\":\"NFKC\"}"}), "NFKC");
    load_parts((parts){.normalizer = "{\"type\":\"NFC\"}"});
    load_parts((parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                                     "{\"type\":\"NFC\"}]}"});
    CHECK_DIES(load_parts((parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                                                "{\"type\":\"Lowercase\"}]}"}), "Lowercase");
    CHECK_DIES(load_parts((parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}"}),
            "Lowercase");
    CHECK_DIES(load_parts((parts){.pre = "null"}), "pre_tokenizer");
    CHECK_DIES(load_parts((parts){.pre = "7"}), "pre_tokenizer");
    CHECK_DIES(load_parts((parts){.pre = "{\"type\":\"Whitespace\"}"}), "Whitespace");
    CHECK_DIES(load_parts((parts){.pre = "{\"type\":\"Sequence\",\"pretokenizers\":[]}"}), "pre_tokenizer null");
    CHECK_DIES(load_parts((parts){.pre = "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "," BYTE_LEVEL
                                         "," BYTE_LEVEL "]}"}),
               "pre_tokenizer ByteLevel ByteLevel");
    CHECK_DIES(
        load_parts((parts){
            .pre = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a-z]+\"},"
                   "\"behavior\":\"Isolated\"}," BYTE_LEVEL "]}"}),
        "[a-z]+");
    CHECK_DIES(load_parts((parts){.pre = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"}),
            "ByteLevel");
    const char *metaspace =
        "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":false}";
    CHECK_DIES(load_parts((parts){.pre = metaspace}), "without byte_fallback");
    CHECK_DIES(load_parts((parts){.pre = metaspace, .model = "\"type\":\"BPE\",\"byte_fallback\":true"}),
            "without the space");
    CHECK_DIES(load_parts((parts){.pre = metaspace, .model = "\"type\":\"BPE\",\"byte_fallback\":true",
                                  .vocab = "{\"a\":0,\"b\":1,\"ab\":2,\"\xE2\x96\x81\":4}"}), "<0x00>");
    CHECK_DIES(load_parts((parts){
                   .pre = "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"odd\"}"}),
               "Metaspace  odd");
    CHECK_DIES(load_parts((parts){
                   .pre = "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}"}),
               "Metaspace  always");
    CHECK_DIES(load_parts((parts){.config = "{\"bos_token\":\"<s>\"}"}),
            "the bos_token \"<s>\" of tokenizer_config.json is not in it");
    CHECK_DIES(load_parts((parts){.config = "{\"bos_token\":"}), "tokenizer_config.json:1");
    load_parts((parts){.generation = "{\"eos_token_id\":4}"});
    CHECK_DIES(load_parts((parts){.vocab = "{\"a\":0"}), "tokenizer.json:1");
    llm_tokenizer t;
    CHECK_DIES(hf_tokenizer_load(&t, "no/such/folder"), "there is no no/such/folder");
    CHECK_DIES(hf_tokenizer_load(&t, scratch), "tokenizer.json");
    CHECK_DIES(llm_tokenizer_train(&t, "a", 1, 260, false), "no room");
}
/* A file cut short or with one byte changed is refused or loads; nothing else may happen (run it under a sanitizer). */
static void test_damaged_files(void) {
    char *source = llm_format("%s/tok/spm/tokenizer.json", data), *path = llm_format("%s/damaged.json", scratch);
    if (llm_exists(source)) {
        size_t n;
        char *text = llm_read_file(source, &n);
        llm_rng rng = llm_rng_seed(6, 3);
        volatile int loaded = 0, refused = 0;
        for (volatile int round = 0; round < 300; round++) {
            char *copy = copy_text(text, n);
            size_t size = round % 3 ? n : (size_t)llm_rng_below(&rng, (int)n);
            if (round % 3) copy[llm_rng_below(&rng, (int)n)] = (char)llm_rng_below(&rng, 256);
            FILE *f = fopen(path, "wb");
            if (f) {
                fwrite(copy, 1, size, f);
                fclose(f);
            }
            llm_on_death = check_on_death;
            if (!setjmp(check_jump)) {
                llm_tokenizer t;
                hf_tokenizer_load(&t, path);
                int ids[16];
                llm_encode(&t, "some text\xFF", 10, ids);
                llm_tokenizer_free(&t);
                loaded++;
            } else refused++;
            llm_on_death = NULL;
            llm_release(copy);
        }
        CHECK(refused >= 100 && loaded + refused == 300, "%d damaged files loaded, %d refused", loaded, refused);
        llm_release(text);
    }
    llm_release(source);
    llm_release(path);
}

/* ---- what the Hugging Face library says ---- */

static int right_cases, all_cases;
static void check_case(const llm_tokenizer *t, const llm_json *c, const char *where) {
    const llm_json *text = llm_json_get(c, "text"), *want = llm_json_get(c, "ids"), *decoded = llm_json_get(c,
            "decoded");
    size_t count, size;
    int *ids = encoded(t, text->string, text->length, &count);
    bool good = count == want->length;
    const llm_json *id = want->child;
    for (size_t i = 0; good && i < count; i++, id = id->next) good = ids[i] == (int)id->number;
    all_cases++;
    right_cases += good;
    CHECK(good, "%s: \"%.60s\": %zu ids, want %zu; first of ours %d", where, text->string, count, want->length, count ?
            ids[0] : -1);
    char *back = llm_decode(t, ids, count, true, &size);
    CHECK(size == decoded->length && !memcmp(back, decoded->string, size), "%s: \"%.60s\" decoded as \"%.60s\"", where,
            text->string, back);
    llm_release(ids);
    llm_release(back);
}
static void check_fixture(const char *name, int split, int bos, int eos, int pad) {
    char *dir = llm_format("%s/tok/%s", data, name), *cases = llm_format("%s/cases.jsonl", dir),
            *copy = llm_format("%s/%s", scratch, name);
    CHECK(llm_exists(cases), "no %s: write it with test/gen/tokenizer.py", cases);
    if (llm_exists(cases)) {
        llm_tokenizer t, u;
        hf_tokenizer_load(&t, dir);
        CHECK(t.split == split, "%s: split %d", name, t.split);
        CHECK(t.bos == bos && t.eos == eos && t.pad == pad, "%s: bos %d, eos %d, pad %d", name, t.bos, t.eos, t.pad);
        size_t n;
        char *text = llm_read_file(cases, &n), *line = text;
        int count = 0;
        for (int number = 1; line < text + n; number++) {
            char *end = memchr(line, '\n', (size_t)(text + n - line)), *where = llm_format("%s:%d", cases, number);
            if (!end) end = text + n;
            llm_json *c = llm_json_parse(line, (size_t)(end - line), where, number);
            check_case(&t, c, where);
            count++;
            llm_json_free(c);
            llm_release(where);
            line = end + 1;
        }
        CHECK(count >= 100, "%s: only %d cases", cases, count);
        if (t.tables->prefix != HF_PREFIX_FIRST) check_round_trips(&t, name);      /* Metaspace eats a leading space */
        llm_tokenizer_save(&t, copy);
        hf_tokenizer_load(&u, copy);
        CHECK(u.hash == t.hash && u.eos == t.eos, "%s: changed by saving", name);
        for (int i = 0; i < TOKENIZER_FILES; i++) {
            char *x = llm_format("%s/%s", dir, tokenizer_file[i]), *y = llm_format("%s/%s", copy, tokenizer_file[i]);
            CHECK(llm_exists(x) == llm_exists(y) && (!llm_exists(x) || same_file(x, y)), "%s: %s was not kept", name,
                    tokenizer_file[i]);
            llm_release(x);
            llm_release(y);
        }
        llm_release(text);
        llm_tokenizer_free(&t);
        llm_tokenizer_free(&u);
    }
    llm_release(dir);
    llm_release(cases);
    llm_release(copy);
}
/* ---- added tokens ---- */

static bool same_ids(const int *ids, size_t count, const llm_json *want) {
    const llm_json *c = want->child;
    bool same = count == want->length;
    for (size_t i = 0; same && i < count; i++, c = c->next) same = ids[i] == (int)c->number;
    return same;
}
/* [text, ids, ids with special tokens, where these begin]: `at` may be inside of the character that the library names. */
static void check_added(const llm_tokenizer *t, const llm_json *row, const char *base, const char *head) {
    const llm_json *text = row->child, *plain = text->next, *special = plain->next, *place = special->next->child;
    size_t room = t->room(text->string, text->length), *at = llm_alloc(room, sizeof *at);
    int *ids = llm_alloc(room, sizeof *ids);
    size_t count = llm_encode(t, text->string, text->length, ids);
    char *theirs = llm_alloc(text->length + 1, 1);
    const uint8_t *words = memset(theirs, 1, text->length);
    CHECK(same_ids(ids, count, plain), "%s with %s: \"%s\" as text", base, head, text->string);
    count = hf_encode(t, text->string, text->length, LLM_TEXT_BEGINS, true, words, ids, NULL);
    CHECK(same_ids(ids, count, plain), "%s with %s: \"%s\" as words", base, head, text->string);
    count = hf_encode(t, text->string, text->length, LLM_TEXT_BEGINS, true, NULL, ids, at);
    CHECK(same_ids(ids, count, special), "%s with %s: \"%s\" with special tokens", base, head, text->string);
    for (size_t i = 0; i < count && place; i++, place = place->next)
        CHECK(at[i] >= (size_t)place->number && at[i] < (size_t)place->number + 4, "%s with %s: \"%s\": id %zu at %zu",
              base, head, text->string, i, at[i]);
    llm_release_all(ids, at, theirs);
}
/* What the Hugging Face library makes of tokens that were added (test/gen/added.py). */
static void test_added(void) {
    char *path = llm_format("%s/tok/added.jsonl", data);
    size_t size;
    char *text = llm_read_file(path, &size), *line = text;
    int texts = 0;
    for (char *end; line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) end = text + size;
        llm_json *row = llm_json_parse(line, (size_t)(end - line), path, 1);
        const char *base = llm_json_text(row, "base", ""), *head = llm_json_text(row, "head", "");
        char *from = llm_format("%s/tok/%s/tokenizer.json", data, base), *to = llm_format("%s/added/", scratch);
        char *file = llm_read_file(from, NULL), *copy = llm_format("%stokenizer.json", to);
        llm_make_dirs(to);
        llm_writer w = llm_write_begin(copy);
        llm_write_bytes(&w, file, (size_t)(strrchr(file, '}') - file));
        llm_write_text(&w, ",%s}", head);               /* of two members of one name the last counts */
        llm_write_done(&w);
        llm_tokenizer t;
        hf_tokenizer_load(&t, to);
        for (const llm_json *c = llm_json_get(row, "texts")->child; c; c = c->next, texts++)
            check_added(&t, c, base, head);
        llm_tokenizer_free(&t);
        llm_json_free(row);
        llm_release_all(from, to, file, copy);
    }
    CHECK(texts >= 500, "%d texts", texts);
    llm_release_all(text, path);
}
/* A template's text around somebody's words (marked by a '1' under them): whose tokens are found? */
static void check_marked(const llm_tokenizer *t, const char *text, const char *marks, const char *want) {
    size_t n = strlen(text);
    uint8_t *words = llm_alloc(n, 1);
    int *ids = llm_alloc(n + 1, sizeof *ids);
    char *got = llm_format("%s", "");
    for (size_t i = 0; i < n; i++) words[i] = marks[i] == '1';
    size_t count = hf_encode(t, text, n, LLM_TEXT_BEGINS, true, words, ids, NULL);
    for (size_t i = 0; i < count; i++) {
        char *more = llm_format("%s%s%.*s", got, i ? " " : "", t->length[ids[i]], t->token[ids[i]]);
        llm_release(got);
        got = more;
    }
    CHECK(!strcmp(got, want), "\"%s\" is \"%s\"", text, got);
    llm_release_all(words, ids, got);
}
static void test_added_words(void) {
    llm_tokenizer t = small((parts){
        .vocab = "{\"<\":0,\"e\":1,\">\":2,\"a\":4,\"b\":5}", .merges = "[]",
        .added = "[{\"id\":3,\"content\":\"<e>\",\"special\":true},{\"id\":6,\"content\":\"a<\"},"
                 "{\"id\":7,\"content\":\"bb\"},{\"id\":8,\"content\":\"<e>a\",\"special\":true}]",
        .config = "{\"bos_token\":null,\"eos_token\":null}"});
    check_marked(&t, "b<e>b<e>", "00000000", "b <e> b <e>");
    check_marked(&t, "b<e>b<e>", "11110000", "b < e > b <e>");
    check_marked(&t, "b<e>b", "01000", "b < e > b");            /* half somebody's: no special token */
    check_marked(&t, "b<e>b", "00011", "b < e > b");
    check_marked(&t, "a<e>", "0000", "a< e >");                 /* the template's own: the leftmost */
    check_marked(&t, "a<e>", "1000", "a <e>");                  /* somebody's letter hides no special token ... */
    check_marked(&t, "a<ee", "1000", "a< e e");                 /* ... but makes a token with what else follows */
    check_marked(&t, "<e>a", "0001", "<e> a");                  /* and makes no other special token of it */
    check_marked(&t, "bb", "01", "bb");
    check_marked(&t, "<e>bb", "11111", "< e > bb");
    int ids[16];
    CHECK(llm_encode(&t, "<e>bb", 5, ids) == 4 && ids[3] == 7, "llm_encode finds what is not special alone");
    llm_tokenizer_free(&t);
    t = small((parts){                                          /* in NFC: C3 A9 is what 'e' and CC 81 make */
        .vocab = "{\"<\":0,\"e\":1,\">\":2,\"\u00C3\":4,\"\u00A9\":5}", .merges = "[]",
        .normalizer = "{\"type\":\"NFC\"}",
        .added = "[{\"id\":3,\"content\":\"<e\u0301>\",\"special\":true,\"normalized\":true}]",
        .config = "{\"bos_token\":null,\"eos_token\":null}"});
    check_marked(&t, "<e\u0301>", "00000", "<e\u0301>");
    check_marked(&t, "<e\u0301>", "00110", "< \xC3 \xA9 >");     /* half of a letter is somebody's */
    check_marked(&t, "e\u0301<\u00E9>e\u0301", "1110000111", "\xC3 \xA9 <e\u0301> \xC3 \xA9");
    check_marked(&t, "e\u0301<\u00E9>e\u0301", "1111111111", "\xC3 \xA9 < \xC3 \xA9 > \xC3 \xA9");
    llm_tokenizer_free(&t);
    t = trained("some text", 270, false);                       /* llm.h's own */
    check_marked(&t, "<|im_start|>h<|im_end|>", "00000000000000000000000", "<|im_start|> h <|im_end|>");
    check_marked(&t, "h<|pad|>", "11111111", "h < | p a d | >");
    /* --parse-special: in plain text alone, never in what is said */
    CHECK(hf_spells_special(&t, "h<|pad|>", 8) && !hf_spells_special(&t, "h<|pad|", 7), "spelled");
    CHECK(!hf_parses_special(&t) && t.encode(&t, "<|pad|>", 7, LLM_TEXT_PLAIN, ids) == 7, "not yet");
    hf_parse_special(&t);
    CHECK(hf_parses_special(&t) && t.encode(&t, "<|pad|>", 7, LLM_TEXT_PLAIN, ids) == 1 && ids[0] == t.pad, "parsed");
    CHECK(llm_encode(&t, "<|pad|>", 7, ids) == 7, "what is typed is text");
    llm_message said[] = {{"user", "<|pad|>", 7, NULL}, {"text", "<|pad|>", 7, NULL}};
    llm_record record[] = {{.form = "messages", .message = &said[0], .messages = 1},
                           {.form = "text", .message = &said[1], .messages = 1, .raw = true}};
    llm_tokens x = {0};
    for (int i = 0; i < 2; i++) {
        int pads = 0;
        llm_render_record(&t, &record[i], LLM_WHOLE, 0, &x);
        for (int k = 0; k < x.count; k++) pads += x.id[k] == t.pad;
        CHECK(pads == i, "%d special tokens in a record of the form %s", pads, record[i].form);
    }
    llm_tokens_free(&x);
    llm_tokenizer_free(&t);
    char *bytes = llm_alloc(8192, 1);
    for (int i = 0; i < 256; i++) sprintf(bytes + strlen(bytes), "\"<0x%02X>\":%d,", i, 4 + i);
    char *spm = llm_format("{%s\"\xE2\x96\x81\":0,\"a\":1,\"b\":2}", bytes);
    parts p = {.vocab = spm, .model = "\"byte_fallback\":true", .merges = "[]",
               .added = "[{\"id\":3,\"content\":\"b\"}]",
               .pre = "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\"}"};
    CHECK_DIES(load_parts(p), "two ids");
    p.added = "[{\"id\":3,\"content\":\"c\"}]";
    CHECK_DIES(load_parts(p), "the added token \"c\", of one byte");
    llm_release_all(bytes, spm);
}
/* ---- NFC: what Python's unicodedata2 says (test/gen/nfc_tables.py) ---- */

static char *nfc_of(const char *text, size_t *size) {
    char *normal = nfc_text(text, size, NULL);
    return normal ? normal : copy_text(text, *size);
}
/* The script's block(): every code point alone, before and behind marks, and behind a letter. */
static char *nfc_block(uint32_t begin, size_t *size) {
    static const char *const between[] = {"", "\u0301A\u0308", "\u0323\u0334", "\ne", "\n"};
    char *text = llm_alloc((size_t)4096 * 40, 1);
    size_t n = 0;
    for (uint32_t c = begin; c < begin + 4096; c++)
        for (int i = 0; i < 5 && (c < 0xD800 || c >= 0xE000); i++) {
            memcpy(text + n, between[i], strlen(between[i]));
            n += strlen(between[i]);
            if (i < 4) n += (size_t)utf8_put(text + n, c);
        }
    *size = n;
    return text;
}
static void test_nfc(void) {
    char *path = llm_format("%s/nfc.json", data);
    llm_json *root = llm_json_file(path);
    int blocks = 0, cases = 0;
    nfc_begin();
    for (const llm_json *c = llm_json_get(root, "blocks")->child; c; c = c->next, blocks++) {
        size_t n, m;
        char hash[20], *text = nfc_block((uint32_t)blocks * 4096, &n), *normal = (m = n, nfc_of(text, &m));
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)llm_hash(normal, m, 0));
        CHECK(!strcmp(hash, c->string), "NFC of U+%04X ...", (unsigned)blocks * 4096);
        CHECK(m <= nfc_room(text, n), "U+%04X ...: %zu bytes, more than promised", (unsigned)blocks * 4096, m);
        llm_release_all(text, normal);
    }
    for (const llm_json *c = llm_json_get(root, "cases")->child; c; c = c->next, cases++) {
        const llm_json *text = c->child, *want = text->next;
        size_t n = text->length, *from = NULL;
        char *normal = nfc_text(text->string, &n, &from);
        CHECK(n == want->length && !memcmp(normal ? normal : text->string, want->string, n), "case %d: %s", cases,
              normal);
        for (size_t i = 0; i < n && from; i++)
            CHECK(from[i] < text->length && (!i || from[i] >= from[i - 1]), "case %d: byte %zu", cases, i);
        llm_release_all(normal, from);
    }
    CHECK(blocks == 272 && cases > 200, "%d blocks, %d cases", blocks, cases);
    llm_json_free(root);
    llm_release(path);
}
/* Bytes that are no UTF-8 stay, and nothing joins over them; text in NFC costs nothing; no text is quadratic. */
static void test_nfc_texts(void) {
    static const struct { const char *text, *want; } row[] = {
        {"", NULL}, {"plain", NULL}, {"caf\u00E9, \u4F60\u597D, \uD55C", NULL}, {"\u05D1\u05B0\u05BC", NULL},
        {"cafe\u0301", "caf\u00E9"}, {"0123456789e\u0301", "0123456789\u00E9"}, {"\u0301e", "\u0301e"},
        {"e\xFF\u0301", "e\xFF\u0301"}, {"\xCC" "e\u0301\xCC", "\xCC\u00E9\xCC"},
        {"\xED\xA0\x80" "A\u030A", "\xED\xA0\x80\u00C5"}, {"\U0001D160", "\U0001D158\U0001D165\U0001D16E"},
        {"\u00F6\u0323", "\u1ECD\u0308"}, {"\u1100\u1161\u11A8", "\uAC01"},
        {"\U00016D63\U00016D68", "\U00016D6A"}, {"A\u0345\u0334\u0301", "\u00C1\u0334\u0345"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        size_t n = strlen(row[i].text), room = nfc_room(row[i].text, n);
        char *normal = nfc_text(row[i].text, &n, NULL);
        CHECK(row[i].want ? normal && !strcmp(normal, row[i].want) : !normal, "row %zu is \"%s\"", i, normal);
        CHECK(n <= room && (row[i].want || n == room), "row %zu: %zu bytes, %zu promised", i, n, room);
        llm_release(normal);
    }
    size_t size = 15, *from;
    char *normal = nfc_text("0123456789xe\u0301y", &size, &from);
    CHECK(size == 14 && from[11] == 11 && from[12] == 11 && from[13] == 14, "where the bytes come from");
    llm_release_all(normal, from);
    char *folder = llm_format("%s/tok/qwen2", data);
    llm_tokenizer t;
    hf_tokenizer_load(&t, folder);
    static const char *const again[] = {"\u0323\u0301", "\u0301\u0323", "\U0001D160", "e\u0301\u0323",
                                        "\U00016D67", "\u1161\u11A8\u1100", "\xCC\x81\xCC"};
    alarm(300);
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
        size_t n = 0, step = strlen(again[i]);
        char *text = llm_alloc(2000000, 1);
        for (; n + step <= 2000000; n += step) memcpy(text + n, again[i], step);
        CHECK(survives(&t, text, n), "\"%s\" again and again", again[i]);
        llm_release(text);
    }
    alarm(0);
    llm_tokenizer_free(&t);
    llm_release(folder);
}
/* Texts that are longer in NFC, and make more ids than they have bytes: everybody who encodes has room. */
static void test_nfc_room(void) {
    char *folder = llm_format("%s/tok/qwen2", data);
    llm_tokenizer t;
    hf_tokenizer_load(&t, folder);
    enum { DOCUMENTS = 40 };
    const char *notes = "\U0001D160\U0001D161\U0001D162\U0001D163\U0001D164\U0001D160\U0001D161\U0001D162";
    llm_document d[DOCUMENTS];
    for (int i = 0; i < DOCUMENTS; i++)
        d[i] = (llm_document){notes, strlen(notes) - 4 * (size_t)(i % 8), strlen(notes) - 4 * (size_t)(i % 8)};
    llm_source s = {0};
    encode_documents(&t, d, DOCUMENTS, &s, NULL, 0);
    size_t wrong = 0, most = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
        size_t count, n = s.document[i + 1] - s.document[i] - 1;
        int *ids = encoded(&t, notes, d[i].size, &count);
        wrong += n != count || memcmp(ids, s.tokens + s.document[i] + 1, n * sizeof *ids);
        most = size_max(most, count);
        llm_release(ids);
    }
    int length, *ids = llm_prompt_ids(&t, notes, &length);
    CHECK(most > strlen(notes) + 1 && most == (size_t)length, "%zu ids, %d of a prompt", most, length);
    CHECK(wrong == 0, "%zu of %d documents have other ids than alone", wrong, DOCUMENTS);
    llm_release_all(ids, s.tokens, s.document);
    llm_tokenizer_free(&t);
    llm_release(folder);
}
static void test_fixtures(void) {
    check_fixture("gpt2re", LLM_SPLIT_GPT2, 1000, 1000, -1);
    check_fixture("gpt2pairs", LLM_SPLIT_GPT2, 0, 3, 1);
    check_fixture("digits", LLM_SPLIT_DIGITS, 1, 2, 2);
    check_fixture("llama3re", HF_SPLIT_LLAMA3, 1009, 1013, -1);
    check_fixture("dolma2", HF_SPLIT_LLAMA3, 600, 600, 601);
    check_fixture("tekken", HF_SPLIT_TEKKEN, 1, 2, -1);
    check_fixture("qwen2", HF_SPLIT_QWEN2, -1, 1002, 1000);
    check_fixture("spm", HF_SPLIT_SPM, 1, 2, -1);
    check_fixture("spm-metaspace", HF_SPLIT_SPM, 1, 2, -1);
    printf("%d of %d texts have the ids that the Hugging Face library gives them\n", right_cases, all_cases);
}
/* chat_template.jinja wins over tokenizer_config.json; a stale one is not left beside another tokenizer. */
static void test_chat_files(void) {
    llm_tokenizer t = trained("some text, some text", 280, false), u;
    char *dir = llm_format("%s/chat", scratch), *jinja = llm_format("%s/chat_template.jinja", dir);
    llm_tokenizer_save(&t, dir);
    llm_writer w = llm_write_begin(jinja);
    llm_write_text(&w, "<|start_header_id|>{{ messages }}");
    llm_write_done(&w);
    hf_tokenizer_load(&u, dir);
    CHECK(u.chat == &hf_own_template && !strcmp(u.tables->chat_template, "<|start_header_id|>{{ messages }}"),
            "chat_template.jinja");
    llm_tokenizer_save(&t, dir);
    CHECK(!llm_exists(jinja), "another tokenizer's chat_template.jinja was left");
    llm_tokenizer_free(&u);
    hf_tokenizer_load(&u, dir);
    CHECK(u.chat == &hf_own_template && !strcmp(u.tables->chat_template, llm_chatml.jinja),
            "our template after a round trip");
    llm_tokenizer_free(&t);
    llm_tokenizer_free(&u);
    u = small((parts){.config = "{\"chat_template\":[{\"name\":\"tool\",\"template\":\"x\"},{\"name\":\"default\","
                                "\"template\":\"[INST]\"}]}"});
    CHECK(u.chat == &hf_own_template && !strcmp(u.tables->chat_template, "[INST]"), "a list of chat templates");
    llm_tokenizer_free(&u);
    llm_release(dir);
    llm_release(jinja);
}
int main(int argc, char **argv) {
    if (argc > 1) data = argv[1];
    snprintf(scratch, sizeof scratch, "%s/test_tokenizer.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(scratch)) llm_die("set TMPDIR", "cannot make the folder %s", scratch);
    test_classes();
    test_cuts();
    test_worked_example();
    test_training_twin();
    test_merge_loops();
    test_round_trips();
    test_specials_in_text();
    test_threads();
    test_save_and_load();
    test_odd_vocabularies();
    test_configurations();
    test_openers();
    test_fingerprint();
    test_refusals();
    test_damaged_files();
    test_chat_files();
    test_fixtures();
    test_added();
    test_added_words();
    test_nfc();
    test_nfc_texts();
    test_nfc_room();
    test_worst_cases();
    remove_tree(scratch);
    return checks_done();
}
