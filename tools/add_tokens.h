/* add_tokens.h: a model that has never seen a conversation gets tokens for one: <|im_start|> and <|im_end|> around the
   turns (ChatML), <|pad|>, and <|reward|>, where stage 3 reads its score. The tokenizer's own file is kept and four
   entries are added to it; the embedding (and the head, if it is another matrix) grows by as many rows, each the mean
   of all others: so the new tokens are as likely as an average one, not more, and nothing else changes much (Hewitt
   2021, "Initializing new word embeddings for pretrained language models"). Included after hf.h by build/convert. */
#ifndef ADD_TOKENS_H
#define ADD_TOKENS_H

static const char *const added_spelling[] = {"<|im_start|>", "<|im_end|>", "<|pad|>", "<|reward|>"};
enum { ADDED_SPELLINGS = 4 };

/* The place of the bracket that closes the array "added_tokens" of a tokenizer.json, *empty: it holds nothing; or 0. */
static inline size_t added_tokens_end(const char *json, size_t size, bool *empty) {
    static const char key[] = "\"added_tokens\"";
    int depth = 0;
    bool inside = false;
    *empty = true;
    for (size_t i = 0; i < size; i++) {
        char c = json[i];
        if (c == '"') {
            if (depth == 1 && !inside) inside = size - i > sizeof key && !memcmp(json + i, key, sizeof key - 1);
            for (i++; i < size && json[i] != '"'; i++) i += json[i] == '\\';
        } else if (c == '{' || c == '[') depth++;
        else if (c == '}' || c == ']') {
            if (--depth == 1 && inside) return i;
        }
        if (inside && depth >= 2 && c == '{') *empty = false;
    }
    return 0;
}
/* Adds what is missing; the tokenizer is written to `dir` and read from there again. Returns how many it had before. */
static inline int add_tokens(llm_tokenizer *t, const char *dir) {
    llm_tokenizer old = *t;
    bool empty = true;
    size_t size = old.tables->file_size[0], end = 0;
    char *more = llm_format("%s", ""), *path = llm_format("%s/tokenizer.json", dir);
    if (old.tables->file[0]) end = added_tokens_end(old.tables->file[0], size, &empty);
    for (int i = 0, id = old.vocab_size; i < ADDED_SPELLINGS; i++) {
        if (llm_token_id(&old, added_spelling[i]) >= 0) continue;
        char *longer = llm_format("%s%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, "
                                  "\"rstrip\": false, \"normalized\": false, \"special\": true}", more,
                                  *more || !empty ? ", " : "", id++, added_spelling[i]);
        llm_release(more);
        more = longer;
    }
    if (*more && !end)
        llm_die("a tokenizer.json that transformers saved", "the tokenizer has no list \"added_tokens\" to add to");
    if (*more) {
        llm_make_dirs(dir);
        llm_writer w = llm_write_begin(path);
        llm_write_bytes(&w, old.tables->file[0], end);
        llm_write_text(&w, "%s", more);
        llm_write_bytes(&w, old.tables->file[0] + end, size - end);
        llm_write_done(&w);
        hf_tokenizer_load(t, path);
        t->bos = old.bos;
        t->opens = old.opens;
        t->eos = t->im_end;
        t->pad = llm_token_id(t, "<|pad|>");
        for (int i = 1; i < TOKENIZER_FILES; i++) {     /* its names and its template are others now */
            llm_release(t->tables->file[i]);
            t->tables->file[i] = NULL;
        }
        llm_release(t->tables->chat_template);
        t->tables->chat_template = NULL;
        fprintf(stderr, "tokens: %d added, %d now\n", t->vocab_size - old.vocab_size, t->vocab_size);
    }
    int before = old.vocab_size;
    if (*more) llm_tokenizer_free(&old);
    llm_release(more);
    llm_release(path);
    return before;
}
/* Rows `before` .. of a (V,C) matrix become the mean of the rows before them. */
static inline void grow_rows(llm_model *m, llm_param *to, llm_model *from, const char *name, int before) {
    llm_param *was = llm_param_find(from, name);
    size_t C = (size_t)to->cols;
    llm_real *x = llm_alloc(to->size, sizeof *x);
    double *mean = llm_alloc(C, sizeof *mean);
    m->ops->download(x, was->data, was->size * sizeof *x);
    for (size_t v = 0; v < (size_t)before; v++)
        for (size_t c = 0; c < C; c++) mean[c] += (double)x[v * C + c] / before;
    for (size_t v = (size_t)before; v < (size_t)to->rows; v++)
        for (size_t c = 0; c < C; c++) x[v * C + c] = (llm_real)mean[c];
    m->ops->upload(to->data, x, to->size * sizeof *x);
    llm_release(x);
    llm_release(mean);
}
/* Make room for the tokens that were added. (Many models have more rows than tokens: then V may stay.) */
static inline void grow_embeddings(llm_model *m, const llm_tokenizer *t, int before) {
    llm_model old = *m;
    llm_config c = old.c;
    c.V = llm_max(c.V, t->vocab_size);
    c.bos = t->bos;
    c.eos = t->eos;
    c.pad = t->pad;
    llm_model_init(m, &c, old.ops, 0);
    llm_model_copy_weights(m, &old);
    grow_rows(m, m->wte, &old, m->wte->name, before);
    if (m->head != m->wte) grow_rows(m, m->head, &old, m->head->name, before);
    llm_weights_changed(m);
    llm_model_free(&old);
}
#endif
