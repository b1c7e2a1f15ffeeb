/* test_tokens.c: text that is tokens already: long documents in parts, large files mapped, the cache, shards of others.
   All must give what reading the text as a whole gives, to the id. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "../tools/checkpoint.h"
#include "../tools/forms.h"
#include "../tools/say.h"
#include "../tools/mixture.h"
#include "check.h"
#include <utime.h>

static char folder[] = "/tmp/llm_test_tokens_XXXXXX";
static char *place(const char *name) { return llm_format("%s/%s", folder, name); }
static char *put(const char *name, const void *text, size_t n) {
    char *path = place(name);
    llm_writer w = llm_write_begin(path);
    llm_write_bytes(&w, text, n);
    llm_write_done(&w);
    return path;
}
/* What a statement says on stderr. */
static char heard[4096];
static void listen(bool on) {
    static int before;
    char *path = place("said");
    if (on) {
        int to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        before = dup(2);
        dup2(to, 2);
        close(to);
    } else {
        dup2(before, 2);
        close(before);
        char *all = llm_read_file(path, NULL);
        snprintf(heard, sizeof heard, "%s", all);
        llm_release(all);
    }
    llm_release(path);
}
/* Sentences, numbers, lists, empty lines, indented lines, other scripts: what lies around the ends of lines. */
static char *make_text(size_t size, const char *between) {
    static const char *const piece[] = {"One day Mia ran to the river.", "  It was 12345 o'clock", "\"Yes,\" he said!?",
        "- a list", "{\"a\": [1, 2]}", "\xD0\xBC\xD0\xB8\xD1\x80 \xE4\xB8\xAD\xE6\x96\x87", "", "\tif (x) return;",
        "...", "e\xCC\x81t\xC3\xA9", "The end.  ", "don't we'll I'm"};
    char *text = llm_alloc(size + 64, 1);
    llm_rng r = llm_rng_seed(3, 3);
    for (size_t n = 0; n < size;) n += (size_t)sprintf(text + n, "%s%s", piece[llm_rng_below(&r, 12)],
                                                       llm_rng_below(&r, 5) ? "\n" : between);
    return text;
}
static void same_source(const llm_source *a, const llm_source *b, const char *what) {
    bool same = a->count == b->count && a->documents == b->documents && a->bytes == b->bytes && a->hash == b->hash;
    for (size_t i = 0; same && i < a->count; i++) same = tokens_id(a, i) == tokens_id(b, i);
    for (size_t i = 0; same && a->documents && i <= a->documents; i++) same = a->document[i] == b->document[i];
    CHECK(same, "%s: %zu and %zu tokens, %zu and %zu documents, %zu and %zu bytes", what, a->count, b->count,
          a->documents, b->documents, a->bytes, b->bytes);
}
static void same_corpus(const llm_corpus *a, const llm_corpus *b, const char *what) {
    for (int i = 0; i < a->sources; i++) same_source(&a->source[i], &b->source[i], what);
    same_source(&a->validation, &b->validation, what);
    llm_batch x = llm_batch_new(3, 50), y = llm_batch_new(3, 50);
    llm_corpus *one = (llm_corpus *)(uintptr_t)a, *two = (llm_corpus *)(uintptr_t)b;
    char *state = llm_corpus_state(a), *other = llm_corpus_state(b);
    CHECK(!strcmp(state, other), "%s: %s, %s", what, state, other);
    for (int i = 0; i < 20; i++) {
        llm_corpus_next(one, &x);
        llm_corpus_next(two, &y);
        CHECK(!memcmp(x.tokens, y.tokens, 150 * sizeof(int)) && !memcmp(x.targets, y.targets, 150 * sizeof(int)) &&
              !memcmp(x.start, y.start, 150 * sizeof(int)), "%s: batch %d", what, i);
    }
    for (size_t i = 0; llm_corpus_validation(a, i, &x) && i < 50; i++)
        CHECK(llm_corpus_validation(b, i, &y) && !memcmp(x.tokens, y.tokens, 150 * sizeof(int)) &&
              !memcmp(x.weight, y.weight, 150 * sizeof *x.weight), "%s: held-out window %zu", what, i);
    llm_release_all(state, other);
    llm_batch_free(&x);
    llm_batch_free(&y);
}
static llm_corpus opened(const llm_tokenizer *t, const char *const *paths, int n, double fraction, bool gap,
                         bool cache) {
    llm_corpus c;
    char *out = place("out");
    listen(true);
    mixture_open_cached(&c, t, (llm_corpus_options){.paths = paths, .count = n, .val_fraction = fraction, .seed = 5,
                                                    .document_gap = gap, .document_mask = true}, cache, out);
    listen(false);
    llm_release(out);
    return c;
}

/* ---- parts of long documents, mapped files ---- */

static void test_parts(const llm_tokenizer *t, const char *name, bool gap) {
    char *text = make_text(300000, gap ? "\n\n" : "\n"), *path = put("long.txt", text, strlen(text));
    const char *paths[] = {path};
    mixture_long = SIZE_MAX;
    forms_large = SIZE_MAX;
    llm_corpus whole = opened(t, paths, 1, 0.1, gap, false);
    mixture_long = (size_t)1 << 14;
    llm_corpus parts = opened(t, paths, 1, 0.1, gap, false);
    same_corpus(&whole, &parts, name);
    forms_large = 0;
    llm_corpus mapped = opened(t, paths, 1, 0.1, gap, false);
    same_source(&whole.source[0], &mapped.source[0], name);
    llm_documents l;
    forms_documents(&l, path, gap);
    CHECK(!l.text && forms_mapped.at, "%s: a large file is mapped", name);
    const size_t before = l.count;
    mixture_marked.tok = t;
    mixture_cut(&l, t);
    size_t ons = 0, size = 0;
    for (size_t i = 0; i < l.count; i++) {
        ons += !l.document[i].whole;
        CHECK(l.document[i].whole || l.document[i].text[-1] == '\n', "%s: a part begins behind a newline", name);
        size = l.document[i].size > size ? l.document[i].size : size;
    }
    CHECK(gap ? l.count >= before : ons >= 3 && l.count == before + ons && size < 2 * MIXTURE_PART,
          "%s: %zu parts of %zu documents, the longest %zu bytes", name, l.count, before, size);
    llm_documents_free(&l);
    mapped_close(&forms_mapped);
    mixture_long = (size_t)1 << 20;
    forms_large = (size_t)16 << 20;
    llm_corpus_free(&whole);
    llm_corpus_free(&parts);
    llm_corpus_free(&mapped);
    llm_release_all(text, path);
}
/* A tokenizer to which a newline and a quotation mark are one token: between them nothing may be cut. */
static size_t odd_encode(const llm_tokenizer *t, const char *text, size_t size, llm_where where, int *ids) {
    size_t n = 0;
    (void)where;
    for (size_t i = 0; i < size; i++)
        if (i + 1 < size && text[i] == '\n' && text[i + 1] == '"') ids[n++] = t->vocab_size - 7, i++;
        else ids[n++] = (unsigned char)text[i];
    return n;
}
static void test_no_cut(const llm_tokenizer *t) {
    llm_tokenizer odd = *t;
    char *text = llm_alloc(300000, 1);
    size_t n = 0;
    for (int i = 0; n < 290000; i++) n += (size_t)sprintf(text + n, i % 8 ? "\"Yes.\n" : "No %d.\n", i);
    char *path = put("odd.txt", text, n);
    const char *paths[] = {path};
    odd.encode = odd_encode;
    mixture_long = SIZE_MAX;
    llm_corpus whole = opened(&odd, paths, 1, 0, false, false);
    mixture_long = (size_t)1 << 14;
    llm_corpus parts = opened(&odd, paths, 1, 0, false, false);
    mixture_long = (size_t)1 << 20;
    same_source(&whole.source[0], &parts.source[0], "a token over the end of a line");
    llm_corpus_free(&whole);
    llm_corpus_free(&parts);
    llm_release_all(text, path);
}

/* ---- the cache ---- */

/* One bit of the cache is turned over. */
static void damage(const char *path, size_t at) {
    size_t size;
    char *all = llm_read_file(path, &size);
    all[at < size ? at : size - 1] ^= 4;
    llm_writer w = llm_write_begin(path);
    llm_write_bytes(&w, all, size);
    llm_write_done(&w);
    llm_release(all);
}
static void test_cache(const llm_tokenizer *t) {
    char *text = make_text(60000, "\n\n"), *one = put("one.txt", text, strlen(text)), *dir = place("sub");
    char *two = (mkdir(dir, 0700), put("sub/two.txt", text + 7, strlen(text) - 7));
    const char *paths[] = {one, dir};
    tokens.out = folder;
    char *kept = tokens_place(t, one, 0), *kept_dir = tokens_place(t, dir, 0);
    CHECK(strstr(kept, "/.one.txt.") && strstr(kept_dir, "/sub/.sub."), "beside the text: %s, %s", kept, kept_dir);
    llm_corpus plain = opened(t, paths, 2, 0.2, true, false), first = opened(t, paths, 2, 0.2, true, true);
    CHECK(llm_exists(kept) && llm_exists(kept_dir) && strstr(heard, "cache: wrote "), "said: %s", heard);
    same_corpus(&plain, &first, "while the cache is made");
    llm_corpus_free(&first);
    llm_corpus_free(&plain);
    plain = opened(t, paths, 2, 0.2, true, false);
    llm_corpus again = opened(t, paths, 2, 0.2, true, true);
    CHECK(strstr(heard, "are those of") && !strstr(heard, "wrote"), "said: %s", heard);
    CHECK(again.source[0].narrow && !again.source[0].room, "a small vocabulary has 16 bits, where they lie");
    same_corpus(&plain, &again, "from the cache");
    llm_corpus_free(&again);
    static const struct { size_t at; const char *why; } bit[] = {{0, "it is no such file"}, {8, "were others"},
        {24, "cut short"}, {48, "it is damaged"}, {88, "it is damaged"}, {30000, "it is damaged"},
        {SIZE_MAX, "it is damaged"}};
    for (int i = 0; i < 7; i++) {
        damage(kept, bit[i].at);
        again = opened(t, paths, 2, 0.2, true, true);
        CHECK(strstr(heard, bit[i].why) && strstr(heard, "wrote"), "bit at %zu: %s", bit[i].at, heard);
        llm_corpus_free(&again);
    }
    if (truncate(kept, 5000)) llm_die(NULL, "truncate");
    again = opened(t, paths, 2, 0.2, true, true);
    CHECK(strstr(heard, "cut short"), "said: %s", heard);
    llm_corpus_free(&again);
    again = opened(t, paths, 2, 0.2, true, true);
    CHECK(!strstr(heard, "wrote"), "made anew: %s", heard);
    llm_corpus_free(&again);
    again = opened(t, paths, 2, 0.3, true, true);
    CHECK(strstr(heard, "options were others"), "another --val-fraction: %s", heard);
    llm_corpus_free(&again);
    again = opened(t, paths, 2, 0.2, false, true);
    CHECK(strstr(heard, "options were others"), "other documents: %s", heard);
    llm_corpus_free(&again);
    again = opened(t, paths, 2, 0.2, true, true);
    llm_corpus_free(&again);
    struct utimbuf later = {1, 1};
    utime(one, &later);
    again = opened(t, paths, 2, 0.2, true, true);
    CHECK(strstr(heard, "one.txt") && strstr(heard, "the text, the tokenizer") && strstr(heard, "tokens of"),
          "a text that changed, another that did not: %s", heard);
    llm_corpus_free(&again);
    llm_release(put("sub/three.txt", "More.", 5));
    again = opened(t, paths, 2, 0.2, true, true);
    CHECK(strstr(heard, ".sub.") && strstr(heard, "the text, the tokenizer"), "a file more: %s", heard);
    llm_corpus_free(&again);
    llm_corpus_free(&plain);
    llm_release_all(text, one, dir, two, kept, kept_dir);
}
/* Held-out text of its own, and a folder where nothing can be written. */
static void test_cache_places(const llm_tokenizer *t) {
    char *text = make_text(20000, "\n\n"), *one = put("a.txt", text, strlen(text));
    char *val = put("v.txt", text + 100, 3000), *val2 = put("w.txt", text + 4000, 3000), *out = place("out");
    const char *held[] = {val, val2}, *paths[] = {one};
    llm_corpus c[3];
    for (int i = 0; i < 3; i++) {
        llm_corpus_options o = {.paths = paths, .count = 1, .val_paths = held, .val_count = 2, .document_gap = true};
        listen(true);
        mixture_open_cached(&c[i], t, o, i > 0, out);
        listen(false);
    }
    CHECK(strstr(heard, "v.txt") && !strstr(heard, "wrote"), "said: %s", heard);
    same_corpus(&c[0], &c[2], "held-out text from the cache");
    for (int i = 0; i < 3; i++) llm_corpus_free(&c[i]);
    char name[250] = "";
    memset(name, 'x', 244);             /* with what stands around it in its cache's name, too long for a file */
    char *of_long_name = put(strcat(name, ".txt"), text, strlen(text));
    paths[0] = of_long_name;
    c[0] = opened(t, paths, 1, 0.1, true, true);
    CHECK(strstr(heard, "wrote"), "a long name: %s", heard);
    llm_corpus_free(&c[0]);
    llm_release(of_long_name);
    char *dir = place("read_only"), *sealed = (mkdir(dir, 0700), put("read_only/b.txt", text, strlen(text)));
    paths[0] = sealed;
    chmod(dir, 0500);
    if (access(dir, W_OK)) {            /* root writes anywhere */
        for (int i = 0; i < 2; i++) {
            c[i] = opened(t, paths, 1, 0.1, true, true);
            CHECK(strstr(heard, i ? "are those of" : "cannot write") && strstr(heard, "/out/.b.txt."), "said: %s",
                  heard);
            llm_corpus_free(&c[i]);
        }
    } else printf("SKIP: a folder that cannot be written: root writes anywhere\n");
    chmod(dir, 0700);
    llm_release_all(text, one, val, val2, out, dir, sealed);
}

/* ---- shards ---- */

static char *shard(const char *name, const int *ids, size_t n, int magic, int version, int said) {
    char *bytes = llm_alloc(1024 + 4 * n, 1);
    int32_t head[3] = {magic, version, said};
    const size_t at = magic ? 1024 : 0, width = magic == 20240801 ? 4 : 2;
    if (magic) memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < n; i++) {
        const uint16_t narrow = (uint16_t)ids[i];
        memcpy(bytes + at + i * width, width == 4 ? (const void *)&ids[i] : &narrow, width);
    }
    char *path = put(name, bytes, at + n * width);
    llm_release(bytes);
    return path;
}
static void test_shards(const llm_tokenizer *t) {
    char *text = make_text(30000, "\n\n"), *path = put("text.txt", text, strlen(text));
    const char *paths[] = {path, NULL};
    llm_corpus plain = opened(t, paths, 1, 0, true, false);
    const int *ids = plain.source[0].tokens;
    const size_t n = plain.source[0].count;
    static const int magic[] = {0, 20240520, 20240801}, version[] = {0, 1, 7};
    for (int i = 0; i < 3; i++) {
        char *bin = shard("a.bin", ids, n, magic[i], version[i], (int)n);
        paths[0] = bin;
        llm_corpus c = opened(t, paths, 1, 0, false, false);
        c.source[0].hash = plain.source[0].hash;        /* of the file's bytes, not of ints */
        c.source[0].bytes = plain.source[0].bytes;      /* white space at a document's end is none of its tokens */
        same_corpus(&plain, &c, "a shard");
        CHECK(!c.source[0].room && (i == 2) == !c.source[0].narrow, "it lies where it lay");
        llm_corpus_free(&c);
        llm_corpus_free(&plain);
        paths[0] = path;
        plain = opened(t, paths, 1, 0, true, false);
        ids = plain.source[0].tokens;
        paths[0] = bin;
        c = opened(t, paths, 1, 0.1, false, false);     /* its end is held out */
        const llm_source *v = &c.validation, *s = &c.source[0];
        bool same = s->count + v->count - (tokens_id(&plain.source[0], s->count) != c.bos) == n;
        for (size_t k = 0; same && k < n - s->count; k++)
            same = v->tokens[v->count - (n - s->count) + k] == ids[s->count + k];
        CHECK(same && v->count > n / 11 && v->count < n / 9 && v->tokens[0] == c.bos, "held out: %zu of %zu", v->count,
              n);
        CHECK(s->document[s->documents] == s->count && s->document[s->documents - 1] < s->count, "documents end there");
        llm_corpus_free(&c);
        llm_release(bin);
    }
    int bad[] = {t->bos, 5, 6, t->vocab_size, 7};
    char *wrong = shard("bad.bin", bad, 5, 0, 0, 0), *cut = shard("cut.bin", ids, 9, 20240520, 1, 10);
    char *later = shard("later.bin", ids, 9, 20240520, 2, 9), *odd = put("odd.bin", "abc", 3);
    llm_corpus c;
#define OPEN(p) (paths[0] = (p), mixture_open(&c, t, (llm_corpus_options){.paths = paths, .count = 1}))
    char *expected = llm_format("bad.bin: token 3 is %d, the tokenizer has %d", t->vocab_size, t->vocab_size);
    CHECK_DIES(OPEN(wrong), expected);
    CHECK_DIES(OPEN(cut), "its header says 10 tokens, but 18 bytes follow");
    CHECK_DIES(OPEN(later), "version 2 is not known");
    CHECK_DIES(OPEN(odd), "3 bytes are no list of 16-bit tokens");
    size_t size;
    CHECK_DIES(mixture_text(paths, 1, 1 << 20, &size), "whose tokens are they");
    char *dir = place("shards");
    mkdir(dir, 0700);
    static const char *const name[] = {"shards/x_train_000001.bin", "shards/x_train_000002.bin",
                                       "shards/x_val_000000.bin"};
    for (int i = 0; i < 3; i++) llm_release(shard(name[i], ids + i * 1000, 1000, 20240520, 1, 1000));
    paths[0] = dir;
    c = opened(t, paths, 1, 0, false, false);
    CHECK(c.sources == 2 && c.source[1].count == 1000 && strstr(heard, "x_val_000000.bin: held out"), "a folder: %s",
          heard);
    CHECK(c.validation.count >= 1000 && c.validation.count <= 1001 &&
          !memcmp(c.validation.tokens + (c.validation.count - 1000), ids + 2000, 1000 * sizeof *ids), "and its val");
    CHECK_SMALL(fabs(c.source[0].proportion - 0.5), 1e-12, "proportions by size: %g", c.source[0].proportion);
    llm_corpus_free(&c);
    llm_release(put("shards/readme.txt", "hello", 5));
    CHECK_DIES(OPEN(dir), "holds shards of tokens and other files");
    CHECK(mixture_is_val("a/val.bin") && mixture_is_val("fineweb_val_000000.bin") && !mixture_is_val("val/train.bin") &&
          !mixture_is_val("valley.bin") && !mixture_is_val("interval.bin"), "what is called val");
    llm_corpus_free(&plain);
    llm_release_all(text, path, wrong, cut, later, odd, expected, dir);
}
int main(void) {
    llm_tokenizer t, spm, qwen;
    if (!mkdtemp(folder)) llm_die("a /tmp to write to", "no temporary folder");
    char *text = make_text(20000, "\n");
    llm_tokenizer_train(&t, text, strlen(text), 400, true);
    llm_release(text);
    test_parts(&t, "ours", false);
    test_parts(&t, "ours, blank lines", true);
    hf_tokenizer_load(&spm, "test/data/tok/spm");
    test_parts(&spm, "SentencePiece", false);
    hf_tokenizer_load(&qwen, "test/data/tok/qwen2");
    test_parts(&qwen, "Qwen2", false);
    hf_parse_special(&t);
    test_parts(&t, "special tokens parsed", false);
    llm_tokenizer_free(&t);
    text = make_text(20000, "\n");
    llm_tokenizer_train(&t, text, strlen(text), 400, true);
    llm_release(text);
    test_no_cut(&t);
    test_cache(&t);
    test_cache_places(&t);
    test_shards(&t);
    llm_tokenizer_free(&t);
    llm_tokenizer_free(&spm);
    llm_tokenizer_free(&qwen);
    remove_tree(folder);
    return checks_done();
}
