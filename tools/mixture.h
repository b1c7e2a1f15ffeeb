/* mixture.h: the text of pretraining as a user names it: files, folders, or one folder with a mixture.json, which names
   its own sources, proportions and validation text (unit: of the proportions; "document": shares of the documents):

       {"unit": "token", "sources": [{"file": "story.txt", "proportion": 0.45}, ...], "validation": "val.txt"}

   They lie in that folder: a mixture.json of somebody else's names no file of yours. Included after forms.h; of llm.h it
   uses the interface alone. */
#ifndef MIXTURE_H
#define MIXTURE_H

#include <sys/stat.h>

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
static inline void mixture_documents(llm_documents *l, const char *path, bool document_gap) {
    forms_documents(l, path, document_gap);
    if (mixture_marked.read++ >= mixture_marked.files) return;
    for (size_t i = 0; i < l->count; i++)
        mixture_marked.special += hf_spells_special(mixture_marked.tok, l->document[i].text, l->document[i].size);
    if (!forms_ended) return;
    mixture_marked.ended += forms_ended;
    mixture_marked.others += l->count - forms_ended;
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
/* llm_corpus_open for paths as a user names them. */
static inline void mixture_open(llm_corpus *c, const llm_tokenizer *t, llm_corpus_options o) {
    mixture m = mixture_read(o.paths, o.count);
    o.paths = (const char *const *)m.source.path;
    o.count = (int)m.source.count;
    if (m.proportion) {
        o.proportions = m.proportion;
        o.by_document = m.by_document;
    }
    if (!o.val_count && m.validation.count) {               /* the caller's text replaces the mixture's */
        llm_options_idle("val-fraction", o.val_fraction > 0, "the mixture says what is held out");
        o.val_paths = (const char *const *)m.validation.path;
        o.val_count = (int)m.validation.count;
    }
    o.find = mixture_find;
    o.read = mixture_documents;
    mixture_refuse(o.val_paths, o.val_count);
    mixture_marked.ended = mixture_marked.others = mixture_marked.special = 0;
    mixture_marked.tok = t;
    llm_corpus_open(c, t, o);
    mixture_say_marked(stderr);
    mixture_say_special(mixture_marked.special, t, "document", stderr);
    hf_say_unspelled(t);
    mixture_free(&m);
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
    size_t total = 0, room = 0, n = 0;
    for (size_t i = 0; i < m.source.count; i++) forms_find(&files, m.source.path[i]);
    llm_documents *l = llm_alloc(files.count, sizeof *l);
    for (size_t i = 0; i < files.count; i++) {
        forms_documents(&l[i], files.path[i], false);
        for (size_t j = 0; j < l[i].count; j++) total = llm_add(total, l[i].document[j].size + 2);
    }
    if (!total) llm_die("give a file with text in it", "%s holds no text", paths[0]);
    double share = total > limit ? (double)limit / total : 1;
    char *text = NULL;
    for (size_t i = 0; i < files.count; i++) {
        for (size_t j = 0; j < l[i].count; j++) {
            const llm_document *d = &l[i].document[j];
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
        llm_documents_free(&l[i]);
    }
    text[n] = '\0';
    *size = n;
    llm_release(l);
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
