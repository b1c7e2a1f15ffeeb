/* gguf.h: a GGUF file is a folder in one file. Its metadata are turned into the files that they were made of,
   config.json, tokenizer.json, tokenizer_config.json and generation_config.json, as text in memory, and hf.h reads
   these as it reads a folder's: there is no second tokenizer and no second configuration. Its tensors become the rows
   of the tensor table.

   The file is somebody's claim: every count, length, offset and size is held against the file before it is used and
   before memory is taken for it. What ends the program stands in front of what opens a stream in memory.

   Included by hf.h. (gguf_format.h says what the format is; build/convert writes it.) */
#ifndef GGUF_H
#define GGUF_H

#ifdef LLM_IMPLEMENTATION               /* a part of hf.h, as that is of llm.h */
#include "gguf_format.h"
#include "tokenizer_json.h"

/* ---- the file ---- */

typedef struct { const char *p; size_t n; } gguf_text;
/* A value, or the items of a list. at: where it lies in the header; of a list, its first item. */
typedef struct { uint32_t type; bool list; size_t count, at; } gguf_value;
typedef struct { size_t name, length; int dims; size_t size[4]; uint32_t type; size_t begin, end; } gguf_entry;

typedef struct gguf_file {
    const char *path;
    size_t bytes;                       /* of the file */
    char *header; size_t have, room, at;        /* its beginning, so far; `at` is read next */
    word_map keys; gguf_value *value; size_t values;
    word_map names; gguf_entry *tensor; size_t tensors;
    size_t data;                        /* where the tensors begin */
    int family;                         /* index into gguf_families */
    size_t head;                        /* not 0: the size of a head of q and k whose rows change places */
} gguf_file;

static const char gguf_refetch[] = "fetch the file again: it is cut short, damaged, or no GGUF file";
static const char gguf_other_model[] = "a model of the architecture gpt2, llama, qwen2, qwen3, smollm3, olmo2 or phi3";
static const char gguf_other_type[] = "a file in F32, F16, BF16, Q8_0, Q4_0 or Q4_1; llama.cpp makes one: "
                                      "llama-quantize --allow-requantize --pure IN.gguf OUT.gguf Q8_0";
enum { GGUF_MOST = 1 << 28, GGUF_KEYS = 1 << 16, GGUF_U64 = 10, GGUF_KINDS = 13 };
/* The kinds of values; 0: they have a length of their own. */
static const uint8_t gguf_kind_bytes[GGUF_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static bool gguf_is(const char *path) {
    char magic[4] = "";
    struct stat s;
    if (stat(path, &s) || !S_ISREG(s.st_mode)) return false;
    FILE *f = fopen(path, "rb");
    bool is = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);
    if (f) fclose(f);
    return is || path_ends_with(path, ".gguf");
}
/* n bytes from byte `at` on. The file is open only here: a refusal elsewhere leaves nothing behind. */
static void gguf_fetch(const gguf_file *g, size_t at, void *out, size_t n) {
    FILE *f = fopen(g->path, "rb");
    if (!f) llm_die("check the path", "cannot open %s: %s", g->path, strerror(errno));
    bool good = !fseeko(f, (off_t)at, SEEK_SET) && fread(out, 1, n, f) == n;
    fclose(f);
    if (!good) llm_die("check the disk", "cannot read %s", g->path);
}
/* The next n bytes of the header; they stay until the next call. */
static const char *gguf_take(gguf_file *g, uint64_t n, const char *what) {
    if (n > g->bytes - g->at)
        llm_die(gguf_refetch, "%s: at byte %zu %s wants %llu bytes, but the file has %zu", g->path, g->at, what,
                (unsigned long long)n, g->bytes);
    if (n > GGUF_MOST - size_min(g->at, GGUF_MOST))
        llm_die(gguf_refetch, "%s: keys and names have more than %d MB", g->path, GGUF_MOST >> 20);
    size_t end = g->at + n;
    if (end > g->have) {
        size_t more = size_min(size_max(end, 2 * g->have + 65536), g->bytes);
        g->header = llm_grow(g->header, &g->room, more, 1);
        gguf_fetch(g, g->have, g->header + g->have, more - g->have);
        g->have = more;
    }
    g->at = end;
    return g->header + end - n;
}
static uint64_t gguf_take_int(gguf_file *g, size_t bytes, const char *what) {
    uint64_t x = 0;
    memcpy(&x, gguf_take(g, bytes, what), bytes);               /* the lowest byte first, as here (llm.h) */
    return x;
}
/* How many of something, each of which takes at least so many bytes of what is left. */
static size_t gguf_take_count(gguf_file *g, size_t least, const char *what) {
    uint64_t n = gguf_take_int(g, 8, what);
    if (n > (g->bytes - g->at) / least)
        llm_die(gguf_refetch, "%s: %llu %s are more than the file has room for", g->path, (unsigned long long)n, what);
    return (size_t)n;
}
static gguf_value gguf_take_value(gguf_file *g) {
    gguf_value v = {.type = (uint32_t)gguf_take_int(g, 4, "a value's type"), .count = 1};
    if (v.type == GGUF_LIST) {
        v.list = true;
        v.type = (uint32_t)gguf_take_int(g, 4, "a list's type");
        if (v.type == GGUF_LIST) llm_die(gguf_refetch, "%s: a list of lists, before byte %zu", g->path, g->at);
    }
    if (v.type >= GGUF_KINDS)
        llm_die(gguf_refetch, "%s: a value of the unknown type %u, before byte %zu", g->path, v.type, g->at);
    size_t each = gguf_kind_bytes[v.type];
    if (v.list) v.count = gguf_take_count(g, each ? each : 8, "items of a list");
    v.at = g->at;
    if (each) gguf_take(g, v.count * each, "a value");
    else for (size_t i = 0; i < v.count; i++) gguf_take(g, gguf_take_int(g, 8, "a text's length"), "a text");
    return v;
}
/* name, sizes (innermost first), type, offset */
static gguf_entry gguf_take_tensor(gguf_file *g) {
    gguf_entry t = {.length = gguf_take_count(g, 1, "letters of a tensor's name")};
    t.name = g->at;
    const char *name = gguf_take(g, t.length, "a tensor's name");
    int letters = (int)size_min(t.length, 60);
    if (!t.length || t.length > 127 || memchr(name, 0, t.length))
        llm_die(gguf_refetch, "%s: \"%.*s\" is no name of a tensor", g->path, letters, name);
    uint64_t dims = gguf_take_int(g, 4, "a tensor's dimensions"), numbers = 1;
    if (dims < 1 || dims > 4)
        llm_die(gguf_refetch, "%s: tensor \"%.*s\" has %u dimensions", g->path, letters, g->header + t.name,
                (unsigned)dims);
    t.dims = (int)dims;
    for (int i = 0; i < t.dims; i++) {
        uint64_t size = gguf_take_int(g, 8, "a tensor's size");
        if (size < 1 || size > INT64_MAX / numbers)
            llm_die(gguf_refetch, "%s: tensor \"%.*s\" has the impossible size %llu", g->path, letters,
                    g->header + t.name, (unsigned long long)size);
        t.size[i] = size;
        numbers *= size;
    }
    t.type = (uint32_t)gguf_take_int(g, 4, "a tensor's type");
    t.begin = gguf_take_int(g, 8, "a tensor's offset");
    return t;
}

/* ---- keys ---- */

static const gguf_value *gguf_get(const gguf_file *g, const char *key) {
    const word_entry *w = word_find(&g->keys, key, strlen(key));
    return w ? &g->value[w->value] : NULL;
}
static gguf_text gguf_text_at(const gguf_file *g, size_t at) {
    uint64_t n;
    memcpy(&n, g->header + at, 8);
    return (gguf_text){g->header + at + 8, n};
}
/* The text of a key, or n == SIZE_MAX where there is none. */
static gguf_text gguf_get_text(const gguf_file *g, const char *key) {
    const gguf_value *v = gguf_get(g, key);
    if (v && (v->list || v->type != GGUF_STRING)) llm_die(gguf_refetch, "%s: \"%s\" must be a text", g->path, key);
    return v ? gguf_text_at(g, v->at) : (gguf_text){"", SIZE_MAX};
}
static bool gguf_says(gguf_text x, const char *text) { return x.n == strlen(text) && !memcmp(x.p, text, x.n); }
/* Item i of numbers, as a double. */
static double gguf_item(const gguf_file *g, const gguf_value *v, size_t i) {
    uint64_t bits = 0;
    size_t bytes = gguf_kind_bytes[v->type];
    memcpy(&bits, g->header + v->at + i * bytes, bytes);
    union { uint32_t bits; float value; } f = {(uint32_t)bits};
    union { uint64_t bits; double value; } d = {bits};
    if (v->type == GGUF_F32) return f.value;
    if (v->type == 12) return d.value;
    bool negative = (v->type == 1 || v->type == 3 || v->type == GGUF_I32 || v->type == 11) && bits >> (8 * bytes - 1);
    return negative ? -(double)(~(bits - 1) & (UINT64_MAX >> (64 - 8 * bytes))) : (double)bits;
}
static double gguf_get_number(const gguf_file *g, const char *key, double otherwise) {
    const gguf_value *v = gguf_get(g, key);
    if (v && (v->list || v->type == GGUF_STRING)) llm_die(gguf_refetch, "%s: \"%s\" must be a number", g->path, key);
    double x = v ? gguf_item(g, v, 0) : otherwise;
    if (v && !isfinite(x)) llm_die(gguf_refetch, "%s: \"%s\" is no finite number", g->path, key);
    return x;
}
static const gguf_entry *gguf_find(const gguf_file *g, const char *name) {
    const word_entry *w = word_find(&g->names, name, strlen(name));
    return w ? &g->tensor[w->value] : NULL;
}
/* Index into gguf_types, or GGUF_TYPES: one that is not read. */
static int gguf_type_of(const gguf_entry *t) {
    int as = 0;
    while (as < GGUF_TYPES && (uint32_t)gguf_types[as].type != t->type) as++;
    return as;
}
static int gguf_type_named(const char *name) {
    int as = 0;
    while (strcmp(gguf_types[as].name, name)) as++;
    return as;
}
static void gguf_check_types(const gguf_file *g) {
    static const char *const other[] = {
        [6] = "Q5_0", "Q5_1", NULL, "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS",
        "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
        [34] = "TQ1_0", "TQ2_0", [39] = "MXFP4"};
    for (size_t i = 0; i < g->tensors; i++) {
        const gguf_entry *t = &g->tensor[i];
        const char *name = t->type < sizeof other / sizeof *other ? other[t->type] : NULL;
        if (gguf_type_of(t) == GGUF_TYPES)
            llm_die(gguf_other_type, "%s: tensor \"%.*s\" is stored as %s (type %u), which is not read", g->path,
                    (int)t->length, g->header + t->name, name ? name : "an unknown type", t->type);
    }
}

/* ---- opening: is everything where it says? ---- */

static void gguf_index(gguf_file *g, const size_t *name) {
    for (size_t i = 0; i < g->values; i++) {
        gguf_text key = gguf_text_at(g, name[i]);
        word_add(&g->keys, key.p, key.n)->value = (int64_t)i;
        if (g->keys.count != i + 1)
            llm_die(gguf_refetch, "%s: the key \"%.*s\" appears twice", g->path, (int)size_min(key.n, 60), key.p);
    }
    for (size_t i = 0; i < g->tensors; i++) {
        const gguf_entry *t = &g->tensor[i];
        word_add(&g->names, g->header + t->name, t->length)->value = (int64_t)i;
        if (g->names.count != i + 1)
            llm_die(gguf_refetch, "%s: tensor \"%.*s\" appears twice", g->path, (int)t->length, g->header + t->name);
    }
}
static int gguf_by_place(const void *a, const void *b) {
    const gguf_entry *x = *(const gguf_entry *const *)a, *y = *(const gguf_entry *const *)b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}
/* Every tensor lies in the file and begins where the one before it ends. (Of a type that is not read nobody knows.) */
static void gguf_check_places(gguf_file *g) {
    const double align = gguf_get_number(g, "general.alignment", GGUF_ALIGN);
    if (!(align >= 1 && align <= 1 << 20) || align != floor(align) || ((size_t)align & ((size_t)align - 1)))
        llm_die(gguf_refetch, "%s: \"general.alignment\" is %g, no power of 2", g->path, align);
    const size_t step = (size_t)align;
    g->data = size_min((g->at + step - 1) / step * step, g->bytes);
    gguf_entry **order = llm_alloc(g->tensors + 1, sizeof *order);
    for (size_t i = 0; i < g->tensors; i++) {
        gguf_entry *t = order[i] = &g->tensor[i];
        int as = gguf_type_of(t), letters = (int)t->length;
        size_t block = as < GGUF_TYPES ? gguf_types[as].block : 1, numbers = 1, left = g->bytes - g->data;
        for (int k = 0; k < t->dims; k++) numbers *= t->size[k];        /* below 2^63: gguf_take_tensor */
        if (t->size[0] % block)
            llm_die(gguf_refetch, "%s: tensor \"%.*s\": rows of %zu numbers are no blocks of %zu", g->path, letters,
                    g->header + t->name, t->size[0], block);
        size_t bytes = as < GGUF_TYPES ? gguf_types[as].bytes : 0;
        if (t->begin % step || t->begin > left || (bytes && numbers / block > (left - t->begin) / bytes))
            llm_die(gguf_refetch, "%s: tensor \"%.*s\" at %zu is not aligned, or does not lie in the file's %zu bytes",
                    g->path, letters, g->header + t->name, t->begin, g->bytes);
        t->end = t->begin + numbers / block * bytes;
    }
    if (g->tensors) qsort(order, g->tensors, sizeof *order, gguf_by_place);
    for (size_t i = 0; i < g->tensors; i++) {
        const gguf_entry *t = order[i], *before = i ? order[i - 1] : NULL;
        size_t place = before ? (before->end + step - 1) / step * step : 0;
        bool known = !before || gguf_type_of(before) < GGUF_TYPES;
        if (known ? t->begin != place : t->begin < place)
            llm_die(gguf_refetch, "%s: tensor \"%.*s\" begins at %zu, but the one before ends at %zu", g->path,
                    (int)t->length, g->header + t->name, t->begin, place);
    }
    llm_release(order);
}
static void gguf_check_family(gguf_file *g) {
    gguf_text family = gguf_get_text(g, "general.architecture"), kind = gguf_get_text(g, "general.type");
    double parts = gguf_get_number(g, "split.count", 1);
    while (g->family < GGUF_FAMILIES && !gguf_says(family, gguf_families[g->family].name)) g->family++;
    if (parts > 1)
        llm_die("llama.cpp's: llama-gguf-split --merge FIRST.gguf OUT.gguf", "%s is one of %.0f parts of a model",
                g->path, parts);
    if (kind.n != SIZE_MAX && !gguf_says(kind, "model"))
        llm_die(gguf_other_model, "%s: a file of the type \"%.*s\", no model", g->path, (int)size_min(kind.n, 40),
                kind.p);
    if (g->family == GGUF_FAMILIES)
        llm_die(gguf_other_model, "%s: the architecture \"%.*s\" is not implemented", g->path,
                (int)(family.n == SIZE_MAX ? 6 : size_min(family.n, 40)), family.n == SIZE_MAX ? "(none)" : family.p);
}
static void gguf_begin(gguf_file *g) {
    struct stat s;
    if (stat(g->path, &s)) llm_die("check the path", "cannot open %s: %s", g->path, strerror(errno));
    g->bytes = (size_t)s.st_size;
    if (memcmp(gguf_take(g, 4, "the word GGUF"), "GGUF", 4))
        llm_die(gguf_refetch, "%s does not begin with GGUF", g->path);
    uint32_t version = (uint32_t)gguf_take_int(g, 4, "the version");
    if (version >> 16) llm_die("a file with the lowest byte first", "%s was made for machines that store the highest "
                               "byte first", g->path);
    if (version != 2 && version != 3)
        llm_die("convert the model again with a llama.cpp of today", "%s: version %u of GGUF; 2 and 3 are read",
                g->path, version);
}
static gguf_file *gguf_open(const char *path) {
    gguf_file *g = llm_alloc(1, sizeof *g);
    g->path = path;
    gguf_begin(g);
    g->tensors = gguf_take_count(g, 32, "tensors");
    g->values = gguf_take_count(g, 13, "keys");
    if (g->values > GGUF_KEYS || g->tensors > GGUF_MOST / 32)
        llm_die(gguf_refetch, "%s: %zu keys and %zu tensors", path, g->values, g->tensors);
    size_t *name = llm_alloc(g->values + 1, sizeof *name);
    g->value = llm_alloc(g->values + 1, sizeof *g->value);
    g->tensor = llm_alloc(g->tensors + 1, sizeof *g->tensor);
    for (size_t i = 0; i < g->values; i++) {
        name[i] = g->at;
        gguf_take(g, gguf_take_int(g, 8, "a key's length"), "a key");
        g->value[i] = gguf_take_value(g);
    }
    for (size_t i = 0; i < g->tensors; i++) g->tensor[i] = gguf_take_tensor(g);
    gguf_index(g, name);
    gguf_check_places(g);
    gguf_check_family(g);
    llm_release(name);
    return g;
}
static void gguf_close(gguf_file *g) {
    if (!g) return;
    word_free(&g->keys);
    word_free(&g->names);
    llm_release_all(g->header, g->value, g->tensor, g);
}

/* ---- config.json ---- */

/* A key behind "llama", and what config.json calls it in the Llamas' families and in GPT-2's. */
static const struct { const char *key, *llama, *gpt2; bool needed; } gguf_row[] = {
    {".context_length", "max_position_embeddings", "n_positions", true},
    {".embedding_length", "hidden_size", "n_embd", true},
    {".block_count", "num_hidden_layers", "n_layer", true},
    {".attention.head_count", "num_attention_heads", "n_head", true},
    {".feed_forward_length", "intermediate_size", "n_inner", true},
    {".attention.layer_norm_rms_epsilon", "rms_norm_eps", NULL, true},
    {".attention.layer_norm_epsilon", NULL, "layer_norm_epsilon", true},
    {".attention.head_count_kv", "num_key_value_heads", NULL, false},
    {".attention.key_length", "head_dim", NULL, false},
    {".attention.sliding_window", "sliding_window", NULL, false},
    {".rope.freq_base", "rope_theta", NULL, false}};
enum { GGUF_ROWS = sizeof gguf_row / sizeof *gguf_row };
enum { GGUF_CHANNELS = 1, GGUF_HEADS = 3, GGUF_KV = 7, GGUF_HEAD_SIZE = 8, GGUF_WINDOW = 9, GGUF_THETA = 10 };
/* ... and those of its object rope_scaling. */
static const struct { const char *key, *name; } gguf_rope_row[] = {
    {".rope.scaling.factor", "factor"},
    {".rope.scaling.original_context_length", "original_max_position_embeddings"},
    {".rope.scaling.yarn_beta_fast", "beta_fast"}, {".rope.scaling.yarn_beta_slow", "beta_slow"},
    {".rope.scaling.attn_factor", "attention_factor"}};
enum { GGUF_ROPE_ROWS = sizeof gguf_rope_row / sizeof *gguf_rope_row, GGUF_ROPE_LENGTH = 4 };

/* What is gathered before a byte is written. NAN: it is not said. */
typedef struct {
    const char *family; bool gpt2, tied, bias, mlp_bias;
    double row[GGUF_ROWS], rope[GGUF_ROPE_ROWS], rotary, llama3[4];
    char rope_type[16];
    double vocabulary, id[3];
} gguf_config;

static void gguf_key(const gguf_file *g, const char *name, char key[96]) {
    snprintf(key, 96, "%s%s", gguf_families[g->family].name, name);
}
/* A number behind the family's name. */
static double gguf_family_number(const gguf_file *g, const char *name, double otherwise) {
    char key[96];
    gguf_key(g, name, key);
    return gguf_get_number(g, key, otherwise);
}
/* What we do not know may be another computation: a key of the family, unless it says 0 or no. */
static void gguf_check_keys(const gguf_file *g, bool gpt2) {
    static const char *const more[] = {".vocab_size", ".attention.value_length", ".rope.dimension_count",
                                       ".rope.scaling.type", ".rope.scaling.finetuned", ".attention.causal",
                                       ".tensor_data_layout", ".attention.head_count_kv"};
    const char *family = gguf_families[g->family].name;
    const size_t n = strlen(family);
    for (size_t i = 0; i < g->values; i++) {
        const word_entry *w = &g->keys.word[i];
        const gguf_value *v = &g->value[w->value];
        const gguf_text rest = {w->text + n, w->length - n};
        if (w->length <= n || memcmp(w->text, family, n) || w->text[n] != '.') continue;
        bool known = false;
        for (size_t k = 0; k < GGUF_ROWS; k++)
            known |= (gpt2 ? gguf_row[k].gpt2 : gguf_row[k].llama) && gguf_says(rest, gguf_row[k].key);
        for (size_t k = 0; k < GGUF_ROPE_ROWS; k++) known |= gguf_says(rest, gguf_rope_row[k].key);
        for (size_t k = 0; k < sizeof more / sizeof *more; k++) known |= gguf_says(rest, more[k]);
        bool zero = !v->list && v->type != GGUF_STRING && gguf_item(g, v, 0) == 0;
        if (!known && !zero)
            llm_die(gguf_other_model, "%s: \"%.*s\" is not implemented", g->path, (int)size_min(w->length, 80),
                    w->text);
    }
    if (gguf_family_number(g, ".attention.causal", 1) != 1)
        llm_die(gguf_other_model, "%s: \"%s.attention.causal\": false is not implemented", g->path, family);
}
/* Llama 3 stretches the slow waves; the file has the divisors of the frequencies, config.json four numbers that make
   them. low is 1 in all of Llama's; high follows from one divisor between the ends, or is Llama's 4. What is found
   has to make the same divisors. */
static bool gguf_llama3_fits(llm_config *c, const float *divisor, float *made) {
    rope_divisors(c, made);
    bool same = c->rope_high > c->rope_low && c->rope_original >= 1;
    for (int j = 0; j < c->D / 2; j++) same = same && fabsf(made[j] - divisor[j]) <= 1e-6f * divisor[j];
    return same;
}
static bool gguf_find_llama3(llm_config *c, const float *divisor) {
    static const double high[] = {4, 2, 8, 3};
    double middle = 0, s = 0, kept = 0, slowed = INFINITY;      /* a wave between the ends, and its s; the ends */
    float *made = llm_alloc((size_t)c->D / 2 + 1, sizeof *made);
    bool found = false;
    for (int j = 0; j < c->D / 2; j++) c->rope_factor = fmax(c->rope_factor, divisor[j]);
    for (int j = 0; j < c->D / 2; j++) {
        double wave = 6.283185307179586 * pow(c->rope_theta, 2.0 * j / c->D), d = divisor[j];
        if (d == 1) kept = fmax(kept, wave);
        else if (d == c->rope_factor) slowed = fmin(slowed, wave);
        else middle = wave, s = (1 / d - 1 / c->rope_factor) / (1 - 1 / c->rope_factor);
    }
    c->rope_low = 1;
    for (size_t i = 0; i < sizeof high / sizeof *high && !found; i++) {
        c->rope_high = high[i];
        double original = middle > 0 ? round(middle * (1 + s * (high[i] - 1))) :
                          kept > 0 ? ceil(kept * high[i]) : floor(slowed);
        c->rope_original = original >= 1 && original < 1e9 ? (int)original : 0;
        found = gguf_llama3_fits(c, divisor, made);
    }
    llm_release(made);
    return found;
}
static void gguf_gather_rope(const gguf_file *g, gguf_config *c, double D) {
    const gguf_entry *t = gguf_find(g, "rope_freqs.weight");
    char key[96];
    gguf_key(g, ".rope.scaling.type", key);
    gguf_text type = gguf_get_text(g, key);
    for (int i = 0; i < GGUF_ROPE_ROWS; i++) c->rope[i] = gguf_family_number(g, gguf_rope_row[i].key, NAN);
    if (type.n < sizeof c->rope_type && !gguf_says(type, "none")) memcpy(c->rope_type, type.p, type.n);
    else if (type.n != SIZE_MAX && !gguf_says(type, "none"))
        llm_die(gguf_other_model, "%s: \"%s\": %.*s is not implemented", g->path, key, (int)size_min(type.n, 40),
                type.p);
    double *length = &c->rope[GGUF_ROPE_LENGTH];        /* of q and k, beyond yarn's own */
    if (!isnan(*length) && !gguf_says(type, "yarn"))
        llm_die(gguf_other_model, "%s: \"%s.rope.scaling.attn_factor\" without yarn is not implemented", g->path,
                c->family);
    *length = round(1e6 * *length * (0.1 * log(fmax(c->rope[0], 1)) + 1)) / 1e6;
    if (!t) return;
    llm_config fit = {.D = (int)D, .rope_theta = c->row[GGUF_THETA]};
    if (t->type != 0 || !(D >= 2 && D <= 1 << 12) || t->end - t->begin != (size_t)D / 2 * sizeof(float))
        llm_die(gguf_refetch, "%s: rope_freqs.weight are not %g numbers in F32, half a head's size", g->path, D / 2);
    float *divisor = llm_alloc((size_t)D / 2 + 1, sizeof *divisor);
    gguf_fetch(g, g->data + t->begin, divisor, t->end - t->begin);
    bool good = true, plain = true;
    for (int j = 0; j < fit.D / 2; j++) good &= divisor[j] >= 1 && divisor[j] < 1e6f, plain &= divisor[j] == 1;
    if (!good || *c->rope_type || (!plain && !gguf_find_llama3(&fit, divisor)))
        llm_die(gguf_other_model, "%s: rope_freqs.weight: frequencies that are not stretched as Llama 3 does", g->path);
    llm_release(divisor);
    if (plain) return;
    strcpy(c->rope_type, "llama3");
    const double four[4] = {fit.rope_factor, fit.rope_low, fit.rope_high, fit.rope_original};
    memcpy(c->llama3, four, sizeof four);
}
static gguf_config gguf_gather_config(const gguf_file *g) {
    gguf_config c = {.family = gguf_families[g->family].name, .gpt2 = !strcmp(gguf_families[g->family].name, "gpt2")};
    static const char *const id[] = {"bos", "eos", "padding"};
    const gguf_entry *embedding = gguf_find(g, "token_embd.weight");
    gguf_check_types(g);
    gguf_check_keys(g, c.gpt2);
    if (!embedding) llm_die(gguf_other_model, "%s has no tensor token_embd.weight", g->path);
    c.vocabulary = (double)embedding->size[1];
    for (int i = 0; i < GGUF_ROWS; i++) {
        bool ours = c.gpt2 ? gguf_row[i].gpt2 != NULL : gguf_row[i].llama != NULL;
        c.row[i] = ours ? gguf_family_number(g, gguf_row[i].key, NAN) : NAN;
        if (ours && gguf_row[i].needed && isnan(c.row[i]))
            llm_die(gguf_other_model, "%s: there is no key \"%s%s\"", g->path, c.family, gguf_row[i].key);
    }
    const double heads = c.row[GGUF_HEADS], size = c.row[GGUF_HEAD_SIZE];
    const double D = isnan(size) ? floor(c.row[GGUF_CHANNELS] / fmax(heads, 1)) : size;
    const double usual[][2] = {{GGUF_KV, heads}, {GGUF_HEAD_SIZE, D}, {GGUF_THETA, 10000}};    /* config.json: others */
    for (int i = 0; i < 3; i++)
        if (isnan(c.row[(int)usual[i][0]])) c.row[(int)usual[i][0]] = usual[i][1];
    if (c.row[GGUF_WINDOW] > 0 && (!strcmp(c.family, "llama") || !strcmp(c.family, "olmo2")))
        llm_die(gguf_other_model, "%s: \"%s.attention.sliding_window\" is not implemented", g->path, c.family);
    if (gguf_family_number(g, ".attention.value_length", D) != D)
        llm_die(gguf_other_model, "%s: values of another size than keys are not implemented", g->path);
    if (c.gpt2 && gguf_family_number(g, ".attention.head_count_kv", heads) != heads)
        llm_die(gguf_other_model, "%s: GPT-2 has as many key/value heads as heads", g->path);
    c.rotary = gguf_family_number(g, ".rope.dimension_count", D) / D;
    c.tied = !gguf_find(g, "output.weight");
    c.bias = !strcmp(c.family, "llama") && gguf_find(g, "blk.0.attn_q.bias");
    c.mlp_bias = !strcmp(c.family, "llama") && gguf_find(g, "blk.0.ffn_up.bias");
    for (int i = 0; i < 3; i++) {
        char key[96];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", id[i]);
        c.id[i] = gguf_get_number(g, key, NAN);
    }
    gguf_gather_rope(g, &c, D);
    return c;
}
/* What was a float is spelled as short as that float allows: 1e-05. NAN: nothing. */
static void gguf_write_number(llm_writer *w, const char *key, double x) {
    char text[40];
    if (!key || isnan(x)) return;
    snprintf(text, sizeof text, "%.0f", x);
    for (int digits = 6; x != floor(x) && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((float)strtod(text, NULL) == (float)x) break;
    }
    llm_write_text(w, "  \"%s\": %s,\n", key, text);
}
static void gguf_write_config(const gguf_file *g, char **text, size_t *size) {
    static const char *const id[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    static const char *const four[] = {"factor", "low_freq_factor", "high_freq_factor",
                                       "original_max_position_embeddings"};
    const gguf_config c = gguf_gather_config(g);
    llm_writer w = write_in_memory(text, size);
    llm_write_text(&w, "{\n");
    for (int i = 0; i < GGUF_ROWS; i++) gguf_write_number(&w, c.gpt2 ? gguf_row[i].gpt2 : gguf_row[i].llama, c.row[i]);
    gguf_write_number(&w, "vocab_size", c.vocabulary);
    for (int i = 0; i < 3; i++) gguf_write_number(&w, id[i], c.id[i]);
    if (c.rotary != 1) gguf_write_number(&w, "partial_rotary_factor", c.rotary);
    if (*c.rope_type) {
        llm_write_text(&w, "  \"rope_scaling\": {\n");
        for (int i = 0; i < GGUF_ROPE_ROWS; i++) gguf_write_number(&w, gguf_rope_row[i].name, c.rope[i]);
        for (int i = 0; i < 4 && c.llama3[0] > 0; i++) gguf_write_number(&w, four[i], c.llama3[i]);
        llm_write_text(&w, "  \"rope_type\": ");
        llm_write_json_string(&w, c.rope_type, strlen(c.rope_type));
        llm_write_text(&w, "\n  },\n");
    }
    if (c.bias) llm_write_text(&w, "  \"attention_bias\": true,\n");
    if (c.mlp_bias) llm_write_text(&w, "  \"mlp_bias\": true,\n");
    llm_write_text(&w, "  \"tie_word_embeddings\": %s,\n  \"model_type\": \"%s\"\n}\n", c.tied ? "true" : "false",
                   c.family);
    fclose(w.file);
}

/* ---- tokenizer.json, tokenizer_config.json, generation_config.json ---- */

/* What is gathered before a byte is written. */
typedef struct { float score; int made, a, b, letters_a, letters_b; } gguf_merge;
typedef struct {
    gguf_text *token, *merge, chat; int *kind, V;           /* kind: 1 text, 2 unknown, 3 control ... (convert.c) */
    gguf_merge *scored;                 /* SentencePiece: in the order of the scores */
    size_t merges;
    tokenizer_way way;
    int id[4];                          /* bos, eos, pad, unknown; -1: none */
    int stop[3];
    bool adds, adds_said;               /* is bos put before a text; does the file say so */
} gguf_tokenizer;

/* Text must be UTF-8 without a zero byte, as JSON wants it. */
static void gguf_check_text(const gguf_file *g, const char *key, gguf_text x, size_t which) {
    bool good = !memchr(x.p, 0, x.n);
    for (size_t i = 0; i < x.n && good;) {
        uint32_t code;
        i += (size_t)llm_utf8_get(x.p + i, x.n - i, &code);
        good = code != UINT32_MAX;
    }
    if (!good) llm_die(gguf_refetch, "%s: \"%s\": text %zu is not UTF-8", g->path, key, which);
}
/* The texts of a list; NULL: there is none. */
static gguf_text *gguf_get_texts(const gguf_file *g, const char *key, size_t *count) {
    const gguf_value *v = gguf_get(g, key);
    *count = 0;
    if (!v) return NULL;
    if (!v->list || v->type != GGUF_STRING) llm_die(gguf_refetch, "%s: \"%s\" must be a list of texts", g->path, key);
    gguf_text *x = llm_alloc(v->count + 1, sizeof *x);
    for (size_t at = v->at; *count < v->count; at += 8 + x[(*count)++].n) {
        x[*count] = gguf_text_at(g, at);
        gguf_check_text(g, key, x[*count], *count);
    }
    return x;
}
/* A list of V numbers, or NULL. */
static const gguf_value *gguf_get_numbers(const gguf_file *g, const char *key, size_t V) {
    const gguf_value *v = gguf_get(g, key);
    if (v && (!v->list || v->type == GGUF_STRING || v->count != V))
        llm_die(gguf_refetch, "%s: \"%s\" must be a list of %zu numbers, one a token", g->path, key, V);
    return v;
}
/* A token's id, or -1. */
static int gguf_get_id(const gguf_file *g, const char *name, int V) {
    char key[96];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    double x = gguf_get_number(g, key, -1);
    bool good = x >= 0 && x < V && x == floor(x);
    if (!good && x != -1)
        fprintf(stderr, "note: %s: \"%s\": %.0f is not in the vocabulary of %d: ignored\n", g->path, key, x, V);
    return good ? (int)x : -1;
}
static int gguf_letters(gguf_text x) {
    int n = 0;
    for (size_t i = 0; i < x.n; i++) n += ((unsigned char)x.p[i] & 0xC0) != 0x80;
    return n;
}
/* The best score first; then as transformers makes its list of merges: the longer first half, the longer second one. */
static int gguf_by_score(const void *a, const void *b) {
    const gguf_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->letters_a != y->letters_a) return y->letters_a - x->letters_a;
    if (x->letters_b != y->letters_b) return y->letters_b - x->letters_b;
    return x->made != y->made ? x->made - y->made : x->a != y->a ? x->a - y->a : x->b - y->b;
}
/* SentencePiece has scores: a merge is every way to cut a token into two, and is as good as what it makes. */
static void gguf_gather_scores(const gguf_file *g, gguf_tokenizer *t) {
    const gguf_value *score = gguf_get_numbers(g, "tokenizer.ggml.scores", (size_t)t->V);
    if (!score) llm_die(gguf_refetch, "%s: a tokenizer of SentencePiece without \"tokenizer.ggml.scores\"", g->path);
    word_map pieces = {0};
    size_t room = 0;
    for (int i = 0; i < t->V; i++) {
        if (t->token[i].n > 1024)
            llm_die(gguf_refetch, "%s: token %d has %zu bytes, more than 1024", g->path, i, t->token[i].n);
        if (!isfinite(gguf_item(g, score, (size_t)i)))
            llm_die(gguf_refetch, "%s: the score of token %d is no finite number", g->path, i);
        if (t->kind[i] == 1 || t->kind[i] == 4) word_add(&pieces, t->token[i].p, t->token[i].n)->value = i;
    }
    for (int i = 0; i < t->V; i++) {
        gguf_text x = t->token[i];
        for (size_t k = 1; k < x.n && (t->kind[i] == 1 || t->kind[i] == 4); k++) {
            if (((unsigned char)x.p[k] & 0xC0) == 0x80) continue;
            const word_entry *a = word_find(&pieces, x.p, k), *b = a ? word_find(&pieces, x.p + k, x.n - k) : NULL;
            if (!b) continue;
            t->scored = llm_grow(t->scored, &room, t->merges + 1, sizeof *t->scored);
            gguf_text first = {x.p, k}, second = {x.p + k, x.n - k};
            t->scored[t->merges++] = (gguf_merge){(float)gguf_item(g, score, (size_t)i), i, (int)a->value,
                                                  (int)b->value, gguf_letters(first), gguf_letters(second)};
        }
    }
    if (t->merges) qsort(t->scored, t->merges, sizeof *t->scored, gguf_by_score);
    word_free(&pieces);
}
/* How text is cut, by the file's names. Returns whether bos stands before a text if nothing is said. */
static bool gguf_gather_way(const gguf_file *g, gguf_tokenizer *t) {
    gguf_text model = gguf_get_text(g, "tokenizer.ggml.model"), pre = gguf_get_text(g, "tokenizer.ggml.pre");
    bool spm = gguf_says(model, "llama"), none = model.n == SIZE_MAX;
    int i = 0;
    if (!spm && !gguf_says(model, "gpt2"))
        llm_die("a tokenizer of the kind gpt2 or llama", "%s: a tokenizer of the kind \"%.*s\" is not implemented",
                g->path, none ? 6 : (int)size_min(model.n, 40), none ? "(none)" : model.p);
    if (pre.n == SIZE_MAX && !strcmp(gguf_families[g->family].name, "gpt2")) pre = (gguf_text){"gpt-2", 5};
    if (spm) while (gguf_cuts[i].split != HF_SPLIT_SPM) i++;
    else while (i < GGUF_CUTS && (gguf_cuts[i].split == HF_SPLIT_SPM || !gguf_says(pre, gguf_cuts[i].name))) i++;
    if (i == GGUF_CUTS)
        llm_die("a file whose tokenizer is cut as gpt-2, llama-bpe, smollm or qwen2; an old file: convert it again",
                "%s: \"tokenizer.ggml.pre\": this way to cut text is not implemented: %.*s", g->path,
                pre.n == SIZE_MAX ? 6 : (int)size_min(pre.n, 40), pre.n == SIZE_MAX ? "(none)" : pre.p);
    t->way.split = gguf_cuts[i].split;
    t->way.nfc = t->way.split == HF_SPLIT_QWEN2;
    t->way.ignore_merges = gguf_cuts[i].whole;
    t->way.prefix = spm && gguf_get_number(g, "tokenizer.ggml.add_space_prefix", 1) != 0;
    return gguf_cuts[i].opens;
}
static void gguf_gather_tokenizer(const gguf_file *g, gguf_tokenizer *t) {
    static const char *const name[] = {"bos", "eos", "padding", "unknown"}, *const stop[] = {"eos", "eot", "eom"};
    size_t V;
    bool opens = gguf_gather_way(g, t), spm = t->way.split == HF_SPLIT_SPM;
    t->token = gguf_get_texts(g, "tokenizer.ggml.tokens", &V);
    if (V < 1 || V > 1 << 24) llm_die(gguf_refetch, "%s: a vocabulary of %zu tokens", g->path, V);
    const gguf_value *kind = gguf_get_numbers(g, "tokenizer.ggml.token_type", V);
    t->V = (int)V;
    t->kind = llm_alloc(V, sizeof *t->kind);
    for (size_t i = 0; i < V; i++) {
        double x = kind ? gguf_item(g, kind, i) : 1;
        if (!(x >= 0 && x <= 6)) llm_die(gguf_refetch, "%s: token %zu is of no known type", g->path, i);
        t->kind[i] = x >= 1 ? (int)x : 1;
    }
    while (t->V > 1 && t->kind[t->V - 1] == 5) t->V--;          /* the embedding may have more rows than tokens */
    for (int i = 0; i < 4; i++) t->id[i] = gguf_get_id(g, name[i], t->V);
    for (int i = 0; i < 3; i++) t->stop[i] = i ? gguf_get_id(g, stop[i], t->V) : t->id[1];
    for (int i = 0; i < t->V && spm && t->id[3] < 0; i++)
        if (t->kind[i] == 2) t->id[3] = i;
    t->chat = gguf_get_text(g, "tokenizer.chat_template");
    if (t->chat.n != SIZE_MAX) gguf_check_text(g, "tokenizer.chat_template", t->chat, 0);
    t->adds_said = gguf_get(g, "tokenizer.ggml.add_bos_token") != NULL;
    t->adds = t->id[0] >= 0 && gguf_get_number(g, "tokenizer.ggml.add_bos_token", opens) != 0;
    if (t->adds) t->way.opens = copy_text(t->token[t->id[0]].p, t->token[t->id[0]].n);
    t->way.opens_id = t->id[0];
    if (spm && t->id[3] >= 0) t->way.unknown = copy_text(t->token[t->id[3]].p, t->token[t->id[3]].n);
    if (spm) gguf_gather_scores(g, t);
    else t->merge = gguf_get_texts(g, "tokenizer.ggml.merges", &t->merges);
}
static void gguf_tokenizer_free(gguf_tokenizer *t) {
    llm_release_all(t->token, t->merge, t->kind, t->scored, (char *)t->way.opens, (char *)t->way.unknown);
}
static void gguf_write_tokenizer(const gguf_tokenizer *t, llm_writer *w) {
    bool spm = t->way.split == HF_SPLIT_SPM, first = true;
    llm_write_text(w, "{\n\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n\"added_tokens\": [");
    for (int i = 0; i < t->V; i++) {
        if (t->kind[i] != 3 && t->kind[i] != 4 && !(spm && t->kind[i] == 2)) continue;
        write_added(w, i, t->token[i].p, t->token[i].n, t->kind[i] != 4, first);
        first = false;
    }
    write_pipeline(w, &t->way);
    for (int i = 0; i < t->V; i++) {
        llm_write_text(w, i ? ",\n" : "\n");
        llm_write_json_string(w, t->token[i].p, t->token[i].n);
        llm_write_text(w, ": %d", i);
    }
    llm_write_text(w, "},\n\"merges\": [");
    for (size_t i = 0; i < t->merges; i++) {
        llm_write_text(w, i ? ",\n" : "\n");
        if (!spm) {
            llm_write_json_string(w, t->merge[i].p, t->merge[i].n);
            continue;
        }
        gguf_text a = t->token[t->scored[i].a], b = t->token[t->scored[i].b];
        llm_write_text(w, "[");
        llm_write_json_string(w, a.p, a.n);
        llm_write_text(w, ", ");
        llm_write_json_string(w, b.p, b.n);
        llm_write_text(w, "]");
    }
    llm_write_text(w, "]}\n}\n");
}
static void gguf_write_names(const gguf_tokenizer *t, llm_writer *w) {
    static const char *const name[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    llm_write_text(w, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                      "  \"clean_up_tokenization_spaces\": false,\n");
    for (int i = 0; i < 4; i++) {
        llm_write_text(w, "  \"%s\": ", name[i]);
        if (t->id[i] >= 0) llm_write_json_string(w, t->token[t->id[i]].p, t->token[t->id[i]].n);
        llm_write_text(w, t->id[i] >= 0 ? ",\n" : "null,\n");
    }
    if (t->adds_said) llm_write_text(w, "  \"add_bos_token\": %s,\n", t->adds ? "true" : "false");
    if (t->chat.n != SIZE_MAX) {
        llm_write_text(w, "  \"chat_template\": ");
        llm_write_json_string(w, t->chat.p, t->chat.n);
        llm_write_text(w, ",\n");
    }
    llm_write_text(w, "  \"model_max_length\": 1000000000000000019884624838656\n}\n");
}
static void gguf_write_stops(const gguf_tokenizer *t, llm_writer *w) {
    bool first = true;
    llm_write_text(w, "{\n  \"eos_token_id\": [");
    for (int i = 0; i < 3; i++) {
        if (t->stop[i] < 0) continue;
        llm_write_text(w, "%s%d", first ? "" : ", ", t->stop[i]);
        first = false;
    }
    llm_write_text(w, "]\n}\n");
}
/* The text of one of the folder's files; NULL: there is none. */
static char *gguf_file_text(const gguf_file *g, const char *name, size_t *size) {
    static const struct { const char *name; void (*write)(const gguf_tokenizer *t, llm_writer *w); } file[] = {
        {"tokenizer.json", gguf_write_tokenizer}, {"tokenizer_config.json", gguf_write_names},
        {"generation_config.json", gguf_write_stops}};
    char *text = NULL;
    if (!strcmp(name, "config.json")) gguf_write_config(g, &text, size);
    for (int i = 0; i < 3 && !text; i++) {
        if (strcmp(name, file[i].name)) continue;
        gguf_tokenizer t = {.V = 0};
        gguf_gather_tokenizer(g, &t);
        llm_writer w = write_in_memory(&text, size);
        file[i].write(&t, &w);
        fclose(w.file);
        gguf_tokenizer_free(&t);
    }
    char *own = text ? copy_text(text, *size) : NULL;           /* in memory as all of ours is, not as the stream's */
    free(text);
    return own;
}

/* ---- tensors ---- */

/* The file's tensors under the names and with the shapes that the table has for them; what it has no name for keeps
   GGUF's, and hf_check_tensors refuses it. */
static void gguf_tensors(gguf_file *g, const llm_config *c, hf_safetensors *s) {
    llm_model m = table_only(c);
    g->head = gguf_families[g->family].turned ? (size_t)c->D : 0;
    *s = (hf_safetensors){.tensor = llm_alloc(g->tensors + 1, sizeof *s->tensor), .gguf = g, .paths = 1};
    s->path = llm_alloc(1, sizeof *s->path);
    s->data_start = llm_alloc(1, sizeof *s->data_start);
    s->path[0] = copy_text(g->path, strlen(g->path));
    s->data_start[0] = g->data;
    for (size_t i = 0; i < g->tensors; i++) {
        const gguf_entry *t = &g->tensor[i];
        hf_tensor_info *x = &s->tensor[i];
        *x = (hf_tensor_info){.name = copy_text(g->header + t->name, t->length), .dims = t->dims, .begin = t->begin,
                              .end = t->end};
        for (int k = 0; k < t->dims; k++) x->shape[k] = t->size[t->dims - 1 - k];
        snprintf(x->dtype, sizeof x->dtype, "%s", gguf_types[gguf_type_of(t)].name);
    }
    for (int i = 0; i < m.params; i++) {
        char name[64];
        gguf_name(c, m.param[i].name, name);
        const word_entry *w = word_find(&g->names, name, strlen(name));
        if (!w) continue;
        hf_tensor_info *x = &s->tensor[w->value];
        llm_release(x->name);
        x->name = copy_text(m.param[i].name, strlen(m.param[i].name));
        if (m.param[i].transposed && x->dims == 2) {            /* Hugging Face's way round, as the table expects */
            size_t rows = x->shape[0];
            x->shape[0] = x->shape[1];
            x->shape[1] = rows;
        }
    }
    llm_release_all(m.param, m.layer);
    int kept = 0;
    for (size_t i = 0; i < g->tensors; i++) {
        if (!strcmp(s->tensor[i].name, "rope_freqs.weight")) llm_release(s->tensor[i].name);    /* config.json has it */
        else s->tensor[kept++] = s->tensor[i];
    }
    s->count = kept;
    hf_tensors_sort(s);
}
/* n numbers, whole blocks, as they lie in the file. */
static void gguf_widen(llm_real *out, const uint8_t *raw, int as, size_t n) {
    static const char *const dtype[] = {"F32", "F16", "BF16"};
    double wide[32];
    uint16_t half[2];
    for (size_t i = 0; i < n; i += 32, out += 32) {
        const size_t k = size_min(32, n - i);
        if (as <= AS_BF16) {
            char piece[128];
            memcpy(piece, raw + i * gguf_types[as].bytes, k * gguf_types[as].bytes);
            widen(wide, piece, dtype[as], k);
            for (size_t j = 0; j < k; j++) out[j] = (llm_real)wide[j];
            continue;
        }
        memcpy(half, raw, 4);
        const llm_real d = f16_to_real(half[0]), least = as == AS_Q4_1 ? f16_to_real(half[1]) : -8 * d;
        const uint8_t *q = raw + (as == AS_Q4_1 ? 4 : 2);
        for (int j = 0; j < 32 && as == AS_Q8; j++) out[j] = d * (int8_t)q[j];
        for (int j = 0; j < 16 && as != AS_Q8; j++) {
            out[j] = d * (q[j] & 15) + least;
            out[j + 16] = d * (q[j] >> 4) + least;
        }
        raw += gguf_types[as].bytes;
    }
}
/* Is a tensor what the model wants, block for block? Then it goes in as it is: whoever made the file may have chosen
   scales that no rounding of ours finds again. */
static bool gguf_same_blocks(const llm_param *p, int as) {
    return !p->data && (p->w.type == LLM_TYPE_Q8 ? as == AS_Q8 : p->w.type == LLM_TYPE_Q4 && as == AS_Q4_0);
}
/* So many rows of blocks from row `row` on: scales and integers go separate ways. D: as below. */
static void gguf_put_blocks(const gguf_file *g, const llm_param *p, size_t row, size_t rows, const uint8_t *raw,
                            size_t D, const llm_ops *op) {
    const size_t blocks = p->cols / 32, bytes = weight_row_bytes(p->w.type, p->cols), each = bytes / blocks;
    char *integers = llm_alloc(rows, bytes);
    uint16_t *scale = llm_alloc(rows * blocks, sizeof *scale);
    bool finite = true;
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks; b++, raw += 2 + each) {
            const size_t to = (D ? interleave(r, D) : r) * blocks + b;
            memcpy(&scale[to], raw, 2);
            memcpy(integers + to * each, raw + 2, each);
            finite &= (scale[to] & 0x7C00) != 0x7C00;
        }
    if (!finite) llm_die("another file", "%s: %s holds numbers that are not finite", g->path, p->name);
    op->upload((char *)p->w.data + row * bytes, integers, rows * bytes);
    op->upload((uint16_t *)p->w.scale + row * blocks, scale, rows * blocks * sizeof *scale);
    llm_release_all(integers, scale);
}
/* A tensor into its rows of the table, in pieces of some 8 MB, each of whole heads: file row r is our row
   interleave(r) where g->head is not 0 and the rows are q's or k's. (Of a bias the numbers are the rows.) */
static void gguf_load(const gguf_file *g, const hf_tensor_info *t, const llm_param *p, const llm_ops *op) {
    const size_t all = full_rows(p) * full_cols(p), width = p->vector ? 1 : full_cols(p), rows = all / width;
    const size_t D = strstr(p->name, "q_proj") || strstr(p->name, "k_proj") ? g->head : 0, unit = D ? D : 1;
    const size_t piece = p->vector ? rows : size_min(rows, ((1 << 21) / width / unit + 1) * unit);
    const int as = gguf_type_named(t->dtype);
    const bool same = gguf_same_blocks(p, as);
    const size_t block = gguf_types[as].block, bytes = gguf_types[as].bytes;
    llm_real *host = llm_alloc(piece, width * sizeof *host), *turned = host;
    if (D) turned = llm_alloc(piece, width * sizeof *host);
    uint8_t *raw = llm_alloc(piece * width / block, bytes);
    for (size_t row = 0, n; row < rows; row += n) {
        n = size_min(piece, rows - row);
        gguf_fetch(g, g->data + t->begin + row * width / block * bytes, raw, n * width / block * bytes);
        if (same) gguf_put_blocks(g, p, row, n, raw, D, op);
        if (same) continue;
        gguf_widen(host, raw, as, n * width);
        for (size_t r = 0; r < n && D; r++)
            memcpy(turned + interleave(r, D) * width, host + r * width, width * sizeof *host);
        param_write(op, p, p->vector ? 0 : row, p->vector ? 1 : n, turned);
    }
    if (turned != host) llm_release(turned);
    llm_release_all(raw, host);
}
/* Say which of a file's blocks were rounded a second time, to fewer bits or others than they had. */
static void gguf_tell_rounded(const hf_safetensors *s, const llm_model *m) {
    int blocks = 0, rounded = 0;
    for (int i = 0; i < m->params; i++) {
        const llm_param *p = &m->param[i];
        const int as = gguf_type_named(hf_safetensors_find(s, p->name)->dtype);
        blocks += as >= AS_Q8;
        rounded += as >= AS_Q8 && !p->data && !gguf_same_blocks(p, as);
    }
    if (rounded) fprintf(stderr, "note: %s: %d of %d tensors in blocks are rounded once more: they are of another type "
                         "than --weights asks for\n", s->path[0], rounded, blocks);
}
#endif
#endif
