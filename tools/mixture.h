/* mixture.h: the text of pretraining as a user names it: files, folders, or one folder with a mixture.json, which names
   its own sources, proportions and validation text (unit: of the proportions; "document": shares of the documents):

       {"unit": "token", "sources": [{"file": "story.txt", "proportion": 0.45}, ...], "validation": "val.txt"}

   They lie in that folder: a mixture.json of somebody else's names no file of yours. Included after forms.h; of llm.h it
   uses the interface alone. */
#ifndef MIXTURE_H
#define MIXTURE_H

#include <stdatomic.h>
#include <sys/stat.h>
#include "tokens.h"

/* What a user names as sources: their paths, their proportions (NULL: by size), and where the held-out text is. */
typedef struct { llm_paths source, validation; double *proportion; bool by_document; } mixture;

static inline void mixture_beside(llm_paths *l, const char *dir, const char *file, const char *where, int line) {
    char *path = llm_format("%s/%s", dir, file);
    bool stays = path_stays(dir, file);
    llm_paths all = {0};
    if (stays) forms_find(&all, path);
    for (size_t k = 0; k < all.count; k++) stays = stays && path_within(dir, all.path[k]);     /* links in it, too */
    if (!stays)
        llm_die("put the text there, or name it with --data", "%s:%d: \"%s\" leads out of the folder of %s", where, line,
                file, path_name(where));
    llm_paths_free(&all);
    llm_paths_add(l, path);
    llm_release(path);
}
static inline void mixture_file(mixture *m, const char *dir, const char *where) {
    llm_json *json = llm_json_file(where);
    const llm_json *list = llm_json_get(json, "sources");
    if (!list || list->type != LLM_JSON_ARRAY || !list->child)
        llm_die("{\"sources\": [{\"file\": \"story.txt\", \"proportion\": 0.45}]}", "%s: no list \"sources\"", where);
    m->proportion = llm_alloc(list->length, sizeof *m->proportion);
    for (const llm_json *s = list->child; s; s = s->next) {
        const char *file = llm_json_text(s, "file", NULL);
        double p = llm_json_number(s, "proportion", NAN);
        if (!file || !(p > 0) || isinf(p))
            llm_die("{\"file\": \"story.txt\", \"proportion\": 0.45}",
                    "%s:%d: a source wants a file and a proportion above 0", where, s->line);
        m->proportion[m->source.count] = p;
        mixture_beside(&m->source, dir, file, where, s->line);
    }
    const char *unit = llm_json_text(json, "unit", "token");
    m->by_document = !strcmp(unit, "document");
    if (!m->by_document && strcmp(unit, "token"))
        llm_die("\"unit\": \"token\" or \"document\"", "%s: proportions of unknown unit \"%s\"", where, unit);
    const llm_json *validation = llm_json_get(json, "validation");
    if (validation && validation->type == LLM_JSON_STRING)
        mixture_beside(&m->validation, dir, validation->string, where, validation->line);
    llm_json_free(json);
}
/* What is not read is refused before anything else is. */
static inline void mixture_refuse(const char *const *paths, int count) {
    llm_paths all = {0};
    struct stat s;
    for (int i = 0; i < count; i++) forms_find(&all, paths[i]);
    for (size_t k = 0; k < all.count; k++) {
        if (!stat(all.path[k], &s) && !S_ISREG(s.st_mode))
            llm_die("its text in a file: cat ... > text.txt", "%s is a pipe or a device, and text is read twice",
                    all.path[k]);
        forms_refuse(all.path[k]);
    }
    llm_paths_free(&all);
}
static inline mixture mixture_read(const char *const *paths, int count) {
    mixture m = {0};
    if (count < 1) llm_die("--data FILE or FOLDER", "no text to train on");
    for (int i = 0; i < count; i++) {
        char *file = llm_format("%s/mixture.json", paths[i]);
        bool mixed = llm_exists(file);
        if (mixed && count > 1)
            llm_die("give that folder alone, or list its files instead", "%s is one of several sources", file);
        if (mixed) mixture_file(&m, paths[i], file);
        else llm_paths_add(&m.source, paths[i]);
        llm_release(file);
    }
    mixture_refuse((const char *const *)m.source.path, (int)m.source.count);
    mixture_refuse((const char *const *)m.validation.path, (int)m.validation.count);
    return m;
}
static inline void mixture_free(mixture *m) {
    llm_paths_free(&m->source);
    llm_paths_free(&m->validation);
    llm_release(m->proportion);
}
/* forms_find and forms_documents, which count on the way the documents that lines "<|endoftext|>" end, and the others
   of such files. A source is found once, but its files may be read twice (all were held out, and are given back): the
   first time counts. */
static struct { size_t files, read, ended, others, special; const llm_tokenizer *tok; } mixture_marked;
static inline void mixture_find(llm_paths *files, const char *path) {
    forms_find(files, path);
    mixture_marked.files = files->count;
    mixture_marked.read = 0;
}
static inline void mixture_count(const llm_documents *l) {
    if (mixture_marked.read++ >= mixture_marked.files) return;
    for (size_t i = 0; i < l->count; i++)
        mixture_marked.special += hf_spells_special(mixture_marked.tok, l->document[i].text, l->document[i].size);
    if (!forms_ended) return;
    mixture_marked.ended += forms_ended;
    mixture_marked.others += l->count - forms_ended;
}
/* A long document is encoded in parts: so it needs no room for all of its ids at once, and many threads read it. */
static size_t mixture_long = (size_t)1 << 20;
enum { MIXTURE_PART = 1 << 16 };
static inline llm_where mixture_goes_on(const llm_tokenizer *t) {
    return hf_parses_special(t) ? LLM_TEXT_PLAIN : LLM_TEXT_NEW_LINE;
}
/* Where a part ends: behind a newline, where what stands around it has the same tokens together as apart. */
static inline size_t mixture_part(const llm_tokenizer *t, const char *text, size_t size) {
    enum { AROUND = 256 };
    const char *stop = text + size;
    size_t end = size, apart_room = 0, whole_room = 0;
    int *apart = NULL, *whole = NULL;
    for (const char *p = text + MIXTURE_PART; end == size && p < stop && (p = memchr(p, '\n', (size_t)(stop - p)));) {
        const char *from = ++p - AROUND;
        const size_t after = stop - p < AROUND ? (size_t)(stop - p) : AROUND;
        if (!after || isspace((unsigned char)*p)) continue;
        apart = llm_grow(apart, &apart_room, llm_add(t->room(from, AROUND), t->room(p, after)), sizeof *apart);
        whole = llm_grow(whole, &whole_room, t->room(from, AROUND + after), sizeof *whole);
        size_t n = t->encode(t, from, AROUND, LLM_TEXT_GOES_ON, apart);
        n += t->encode(t, p, after, mixture_goes_on(t), apart + n);
        const size_t m = t->encode(t, from, AROUND + after, LLM_TEXT_GOES_ON, whole);
        if (n == m && !memcmp(apart, whole, n * sizeof *apart)) end = (size_t)(p - text);
    }
    llm_release_all(apart, whole);
    return end;
}
static inline void mixture_cut(llm_documents *l, const llm_tokenizer *t) {
    llm_documents parts = {.text = l->text};
    bool any = false;
    for (size_t i = 0; i < l->count; i++) any = any || l->document[i].size > mixture_long;
    for (size_t i = 0; any && i < l->count; i++) {
        llm_document d = l->document[i];
        const bool cut = d.size > mixture_long;
        for (size_t n; d.size; d.text += n, d.size -= n, d.whole = 0) {
            n = cut ? mixture_part(t, d.text, d.size) : d.size;
            parts.document = llm_grow(parts.document, &parts.capacity, parts.count + 1, sizeof *parts.document);
            parts.document[parts.count++] = (llm_document){d.text, n, d.whole};
        }
    }
    if (!any) return;
    llm_release(l->document);
    *l = parts;
}
/* The tokenizer, which counts what it has read, and lets go what of a mapped file is behind it. */
static atomic_size_t mixture_encoded;
static inline size_t mixture_encode(const llm_tokenizer *counting, const char *text, size_t size, llm_where where,
                                    int *ids) {
    enum { STEP = 1 << 20 };
    const llm_tokenizer *t = mixture_marked.tok;
    const size_t n = t->encode(t, text, size, where == LLM_TEXT_GOES_ON ? mixture_goes_on(t) : where, ids);
    const size_t done = atomic_fetch_add(&mixture_encoded, size) + size;
    (void)counting;
    if (done / STEP == (done - size) / STEP) return n;
    progress_at((double)done);
    if (mapped_holds(&forms_mapped, text)) mapped_forget(&forms_mapped, text);
    return n;
}
static inline void mixture_documents(llm_documents *l, const char *path, bool document_gap) {
    char *name = llm_format("encoding %s", path_name(path));
    double all = 0;
    progress_end();                     /* the file before */
    progress_begin("reading", 0, 0, NULL);
    forms_documents(l, path, document_gap);
    mixture_count(l);
    mapped_forget(&forms_mapped, forms_mapped.at + forms_mapped.size);
    mixture_cut(l, mixture_marked.tok);
    mapped_forget(&forms_mapped, forms_mapped.at + forms_mapped.size);
    for (size_t i = 0; i < l->count; i++) all += (double)l->document[i].size;
    atomic_store(&mixture_encoded, 0);
    progress_end();
    progress_begin(name, 0, all, "B");
    llm_release(name);
}
static inline void mixture_say_marked(FILE *out) {
    if (!mixture_marked.ended) return;
    fprintf(out, "%zu documents by <|endoftext|>", mixture_marked.ended);
    if (mixture_marked.others) fprintf(out, ", %zu more without it at their end", mixture_marked.others);
    fprintf(out, "\n");
}
/* special: how many texts spell special tokens. */
static inline void mixture_say_special(size_t special, const llm_tokenizer *t, const char *what, FILE *out) {
    bool parse = hf_parses_special(t);
    if (!special && parse) fprintf(out, "--parse-special: no %s spells a special token\n", what);
    else if (special)
        fprintf(out, "%zu %s%s spell%s special tokens: %s\n", special, what, special > 1 ? "s" : "",
                special > 1 ? "" : "s", parse ? "they are (--parse-special)" : "taken for text; or --parse-special");
}
/* Records of plain text are such texts, too. */
static inline void mixture_check_records(const llm_records *r, const llm_tokenizer *t) {
    size_t texts = 0, special = 0;
    for (int i = 0; i < r->count; i++) {
        const llm_message *m = r->record[i].message;
        if (strcmp(m->role, "text")) continue;
        texts++;
        special += hf_spells_special(t, m->text, m->length);
    }
    if (!texts && hf_parses_special(t)) llm_usage("leave --parse-special out", "no record is plain text (\"text\")");
    if (texts) mixture_say_special(special, t, "record of the form text", stderr);
}
/* ---- shards of tokens (tokens.h) ---- */

/* Is a shard called val.bin, or fineweb_val_000000.bin? */
static inline bool mixture_is_val(const char *path) {
    static const char *const word[] = {"val", "valid", "validation"};
    for (const char *p = path_name(path); *p;) {
        const size_t n = strcspn(p, "_-.");
        for (int i = 0; i < 3; i++)
            if (n == strlen(word[i]) && !strncmp(p, word[i], n)) return true;
        p += n + (p[n] != '\0');
    }
    return false;
}
static inline double mixture_bytes(const char *path) {
    struct stat s;
    return stat(path, &s) ? 0 : (double)s.st_size;
}
/* A folder of shards becomes a source for each of them; those called val are held out. Returns how many there are. */
static inline int mixture_shards(mixture *m, bool own_validation) {
    llm_paths source = {0};
    size_t room = 0;
    double *proportion = NULL;
    int shards = 0;
    for (size_t i = 0; i < m->source.count; i++) {
        llm_paths files = {0};
        double all = 0;
        size_t in = 0, val = 0;
        forms_find(&files, m->source.path[i]);
        for (size_t k = 0; k < files.count; k++) in += tokens_is_shard(files.path[k]);
        const bool folder = in && llm_is_dir(m->source.path[i]);
        if (folder && in < files.count)
            llm_die("a folder for each", "%s holds shards of tokens and other files: %s", m->source.path[i],
                    files.path[tokens_is_shard(files.path[0]) ? files.count - 1 : 0]);
        for (size_t k = 0; folder && k < files.count; k++) val += mixture_is_val(files.path[k]);
        if (val == files.count) val = 0;                /* all are called so */
        for (size_t k = 0; folder && k < files.count; k++)
            all += val && mixture_is_val(files.path[k]) ? 0 : mixture_bytes(files.path[k]);
        for (size_t k = 0; k < (folder ? files.count : 1); k++) {
            const char *path = folder ? files.path[k] : m->source.path[i];
            if (folder && val && mixture_is_val(path)) {
                if (!own_validation) llm_paths_add(&m->validation, path);
                fprintf(stderr, "%s: %s\n", path, own_validation ? "left out: --val-data is held out" : "held out");
                continue;
            }
            llm_paths_add(&source, path);
            shards += tokens_is_shard(path);
            if (!m->proportion) continue;
            proportion = llm_grow(proportion, &room, source.count, sizeof *proportion);
            proportion[source.count - 1] = m->proportion[i] * (folder ? mixture_bytes(path) / all : 1);
        }
        llm_paths_free(&files);
    }
    llm_paths_free(&m->source);
    llm_release(m->proportion);
    m->source = source;
    m->proportion = proportion;
    return shards;
}
/* llm_corpus_open for paths as a user names them. cache: tokens are kept for the next time; out: where, if not beside
   the text. */
static inline void mixture_open_cached(llm_corpus *c, const llm_tokenizer *t, llm_corpus_options o, bool cache,
                                       const char *out) {
    mixture m = mixture_read(o.paths, o.count);
    const int shards = mixture_shards(&m, o.val_count > 0);
    o.paths = (const char *const *)m.source.path;
    o.count = (int)m.source.count;
    if (m.proportion) {
        o.proportions = m.proportion;
        o.by_document = m.by_document;
    }
    if (!o.val_count && m.validation.count) {               /* the caller's text replaces the mixture's */
        llm_options_idle("val-fraction", o.val_fraction > 0,
                         shards ? "a shard is called val" : "the mixture says what is held out");
        o.val_paths = (const char *const *)m.validation.path;
        o.val_count = (int)m.validation.count;
    }
    const bool tokens_alone = shards == o.count;
    llm_options_idle("cache|paragraphs|parse-special", tokens_alone, "the data are tokens already");
    o.find = mixture_find;
    o.read = mixture_documents;
    o.load = tokens_load;
    mixture_refuse(o.val_paths, o.val_count);
    mixture_marked.ended = mixture_marked.others = mixture_marked.special = 0;
    mixture_marked.tok = t;
    tokens.cache = cache;
    tokens.out = out;
    tokens_begin_corpus(c, o.document_gap, hf_parses_special(t), shards, forms_find);
    llm_tokenizer counting = *t;
    counting.encode = mixture_encode;
    progress_begin("reading the text", 0, 0, NULL);
    progress_begin(NULL, 0, 0, NULL);   /* the file */
    llm_corpus_open(c, &counting, o);
    mapped_close(&forms_mapped);
    progress_end();
    progress_end();
    tokens_end_corpus(t);
    if (tokens_alone) {
        mixture_free(&m);
        return;
    }
    mixture_say_marked(stderr);
    mixture_say_special(mixture_marked.special, t, "document", stderr);
    hf_say_unspelled(t);
    mixture_free(&m);
}
static inline void mixture_open(llm_corpus *c, const llm_tokenizer *t, llm_corpus_options o) {
    mixture_open_cached(c, t, o, false, NULL);
}

/* The first `part` of a text, but never half a character. */
static inline size_t whole_characters(const char *text, size_t size, size_t part) {
    while (part < size && part && ((unsigned char)text[part] & 0xC0) == 0x80) part--;
    return part;
}
/* All text of the paths as one block (documents joined by a blank line), for training a tokenizer; at most limit
   bytes, a fair share of each file. */
static inline char *mixture_text(const char *const *paths, int count, size_t limit, size_t *size) {
    mixture m = mixture_read(paths, count);
    llm_paths files = {0};
    llm_documents l;
    size_t total = 0, room = 0, n = 0;
    for (size_t i = 0; i < m.source.count; i++) forms_find(&files, m.source.path[i]);
    progress_begin("reading the text", 0, 2 * (double)files.count, NULL);
    for (size_t i = 0; i < files.count; i++) {
        if (tokens_is_shard(files.path[i]))
            llm_die("--tokenizer DIR", "%s holds tokens: ids are numbers, and whose tokens are they?", files.path[i]);
        forms_documents(&l, files.path[i], false);
        for (size_t j = 0; j < l.count; j++) total = llm_add(total, l.document[j].size + 2);
        llm_documents_free(&l);
        progress_at((double)i + 1);
    }
    if (!total) llm_die("give a file with text in it", "%s holds no text", paths[0]);
    double share = total > limit ? (double)limit / total : 1;
    char *text = NULL;
    for (size_t i = 0; i < files.count; i++) {
        forms_documents(&l, files.path[i], false);
        for (size_t j = 0; j < l.count; j++) {
            const llm_document *d = &l.document[j];
            size_t part = (size_t)((d->size + 2) * share);
            part = whole_characters(d->text, d->size, part > 2 ? part - 2 : 0);
            text = llm_grow(text, &room, llm_add(n, part + 3), 1);
            if (n) {
                text[n++] = '\n';
                text[n++] = '\n';
            }
            memcpy(text + n, d->text, part);
            n += part;
        }
        llm_documents_free(&l);
        progress_at((double)(files.count + i) + 1);
    }
    mapped_close(&forms_mapped);
    progress_end();
    text[n] = '\0';
    *size = n;
    llm_paths_free(&files);
    mixture_free(&m);
    return text;
}
/* The words of conversations behind such a text: a tokenizer that knows them takes 29 tokens for a question of the
   tiny world instead of 50. */
static inline char *mixture_add_records(char *text, size_t *size, const char *const *paths, int count) {
    size_t capacity = *size;
    llm_records r;
    forms_read(&r, paths, count, NULL, false);
    for (int i = 0; i < r.count; i++)
        for (int j = 0; j < r.record[i].messages; j++) {
            const llm_message *m = &r.record[i].message[j];
            text = llm_grow(text, &capacity, *size + m->length + 2, 1);
            memcpy(text + *size, m->text, m->length);
            text[*size + m->length] = '\n';
            *size += m->length + 1;
        }
    forms_free(&r);
    return text;
}

#endif
