/* convert.c: from and to the formats of others.

       build/convert --model DIR --out model.gguf --type q8_0      for llama.cpp, Ollama and their kin
       build/convert --model model.gguf --out DIR                  the other way: a folder for any of our programs
       build/convert --model ADAPTER --out DIR                     a PEFT adapter merged into its base: a plain folder
       build/convert --model DIR --out DIR2 --type bf16            the same model in half the bytes
       build/convert --model DIR --out DIR2 --add-tokens           ChatML's tokens for a model that has none
       build/convert --tokens train.bin --tokenizer DIR --out train.jsonl
                                                                   token files of nanoGPT or llm.c, as text to train on
       build/convert --tiktoken gpt2.tiktoken --out DIR            ranks of tiktoken, as a tokenizer's folder

   What is written is complete or absent, and nothing is overwritten without --overwrite. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "options.h"
#include "hf.h"
#include "checkpoint.h"
#include "flags.h"
#include "out.h"
#include "add_tokens.h"
#include "gguf_format.h"
#include "tokenizer_json.h"
#include "tokens.h"

typedef struct {
    const char *model, *base, *out, *type, *tiktoken, *tokenizer, *split, *special;
    llm_list tokens;
    bool overwrite, add_tokens;
} settings;

static const char choices[] = "--overwrite to replace it, or another --out";

/* text: what a file of ours begins with; NULL: --out is a folder. Nothing that is read is replaced, nor, with
   --overwrite, what is not ours. */
static void refuse_existing(const settings *s, const char *text) {
    const char *input[] = {s->model, s->base, s->tokenizer, s->tiktoken};
    for (int i = 0; i < 4; i++) run_guard_path(s->out, input[i], s->overwrite);
    for (int i = 0; i < s->tokens.count; i++) run_guard_path(s->out, s->tokens.item[i], s->overwrite);
    run_check_place(s->out, "--out", !text);
    if (!text) run_lock(s->out, "--out");
    if (!text) run_check_result(s->out);
    else if (!run_is_ours(s->out, text, false))
        llm_usage("another --out", "%s is not of this kind: it will not be replaced", s->out);
    const char *held = text || s->overwrite ? NULL : run_holds(s->out);
    if (held) llm_usage(choices, "%s/%s exists already", s->out, held);
    if (text && !s->overwrite && llm_exists(s->out)) llm_usage(choices, "%s exists already", s->out);
}

/* A program that ends early takes its half-written file along. */
static char *unfinished;
static void remove_unfinished(void) {
    if (unfinished) unlink(unfinished);
}
static llm_writer begin(const char *path) {
    llm_writer w = llm_write_begin(path);
    unfinished = w.temporary;
    return w;
}
static void finish(llm_writer *w) {
    unfinished = NULL;
    llm_write_done(w);
}

/* ---- loading: any folder; adapters are merged into their base ---- */

static void load(const settings *s, llm_model *m, llm_tokenizer *t) {
    char *adapter = llm_format("%s/adapter_config.json", s->model), *own = llm_format("%s/tokenizer.json", s->model);
    const char *folder = s->model;
    if (s->base) {                      /* PEFT often names a base by its Internet address */
        if (!llm_exists(adapter)) llm_usage("--model ADAPTER", "--base, but %s is no folder of adapters", s->model);
        hf_model_load(m, s->base, llm_cpu(LLM_FP32));
        hf_lora_load(m, s->model);
    } else hf_model_load(m, s->model, llm_cpu(LLM_FP32));
    if (!llm_exists(own) && m->lora) folder = s->base ? s->base : m->lora->base;
    hf_tokenizer_load(t, folder);
    if (m->lora)
        fprintf(stderr, "merged %d adapters of rank %d\n", m->lora->adapters, m->lora->rank);
    llm_lora_merge(m);
    if (!s->add_tokens) hf_fit(t, m->c.V);                      /* else the model grows */
    llm_release(adapter);
    llm_release(own);
}

/* ---- GGUF (tools/gguf_format.h says what it is) ---- */

typedef struct {
    char name[64];
    int dims, as;                       /* as: index into gguf_types */
    size_t cols, rows, offset, bytes;
    const llm_param *param;             /* where the numbers are; NULL: rope's divisors */
    int heads;                          /* not 0: rows of a head change places (interleave) */
} gguf_tensor;
typedef struct {
    llm_writer w;
    size_t at;                          /* bytes written */
    uint64_t keys;
    bool counting;                      /* first pass: how many keys? */
    const char *family;
} gguf_writer;

static void put(gguf_writer *g, const void *data, size_t bytes) {
    if (!g->counting) llm_write_bytes(&g->w, data, bytes);
    g->at += bytes;
}
static void put_u32(gguf_writer *g, uint32_t x) { put(g, &x, 4); }
static void put_u64(gguf_writer *g, uint64_t x) { put(g, &x, 8); }
static void put_bytes(gguf_writer *g, const char *text, size_t n) {
    put_u64(g, n);
    put(g, text, n);
}
static void put_align(gguf_writer *g) {
    static const char zero[GGUF_ALIGN];
    put(g, zero, -g->at % GGUF_ALIGN);
}
/* A key: "general.name", or, where it begins with a dot, of the family: ".block_count" is "llama.block_count". */
static void put_key(gguf_writer *g, const char *name, uint32_t type) {
    char key[128];
    snprintf(key, sizeof key, "%s%s", *name == '.' ? g->family : "", name);
    put_bytes(g, key, strlen(key));
    put_u32(g, type);
    g->keys++;
}
static void key_int(gguf_writer *g, const char *name, int x) {
    put_key(g, name, GGUF_U32);
    put_u32(g, (uint32_t)x);
}
static void key_id(gguf_writer *g, const char *name, int id) {
    if (id >= 0) key_int(g, name, id);
}
static void key_float(gguf_writer *g, const char *name, double x) {
    float value = (float)x;
    put_key(g, name, GGUF_F32);
    put(g, &value, 4);
}
static void key_bool(gguf_writer *g, const char *name, bool x) {
    char byte = x;
    put_key(g, name, GGUF_BOOL);
    put(g, &byte, 1);
}
static void key_text(gguf_writer *g, const char *name, const char *text) {
    put_key(g, name, GGUF_STRING);
    put_bytes(g, text, strlen(text));
}
static void key_list(gguf_writer *g, const char *name, uint32_t type, size_t n) {
    put_key(g, name, GGUF_LIST);
    put_u32(g, type);
    put_u64(g, n);
}

/* ---- GGUF: the tokenizer ---- */

static bool is_byte_token(const llm_tokenizer *t, int id) {
    return t->split == HF_SPLIT_SPM && !t->tables->hidden[id] && t->length[id] == 1 &&
           t->tables->byte[(unsigned char)t->token[id][0]] == id;
}
/* A token as tokenizer.json spells it: GPT-2's family writes bytes as printable characters, SentencePiece a space as
   U+2581 and a lone byte as <0x41>. Returns the bytes written to `out` (room for 4 per byte and 8). */
static size_t spelled(const llm_tokenizer *t, int id, char *out) {
    size_t n = 0, length = (size_t)t->length[id];
    const char *s = t->token[id];
    if (t->tables->hidden[id]) return memcpy(out, s, length), length;
    if (is_byte_token(t, id)) return (size_t)sprintf(out, "<0x%02X>", (unsigned char)*s);
    for (size_t i = 0; i < length; i++) {
        if (t->split != HF_SPLIT_SPM) n += (size_t)utf8_put(out + n, byte_to_char((unsigned char)s[i]));
        else if (s[i] == ' ') n += (size_t)utf8_put(out + n, 0x2581);
        else out[n++] = s[i];
    }
    return n;
}
/* tokenizer.json and tokenizer_config.json hold more than a tokenizer's struct. */
typedef struct { llm_json *root, *config; int unknown; } tokenizer_facts;

static tokenizer_facts facts_read(const llm_tokenizer *t) {
    const struct llm_tokenizer_tables *k = t->tables;
    tokenizer_facts f = {.root = llm_json_parse(k->file[0], k->file_size[0], tokenizer_file[0], 1), .unknown = -1};
    if (k->file[1]) f.config = llm_json_parse(k->file[1], k->file_size[1], tokenizer_file[1], 1);
    const char *unknown = llm_json_text(llm_json_get(f.root, "model"), "unk_token", NULL);
    for (int i = 0; i < t->vocab_size && unknown; i++)
        if (k->hidden[i] && !strcmp(t->token[i], unknown)) f.unknown = i;
    return f;
}
static void facts_free(tokenizer_facts *f) {
    llm_json_free(f->root);
    llm_json_free(f->config);
}
/* 1 text, 2 unknown, 3 control, 4 added by a user, 5 unused, 6 a byte */
static int token_type(const llm_tokenizer *t, const tokenizer_facts *f, int id) {
    if (id >= t->vocab_size) return 5;
    if (id == f->unknown && t->split == HF_SPLIT_SPM) return 2;
    if (t->special[id]) return 3;
    return t->tables->hidden[id] ? 4 : is_byte_token(t, id) ? 6 : 1;
}
/* SentencePiece has no list of merges but a score for each piece: the best one is merged first. */
static void put_scores(gguf_writer *g, const llm_tokenizer *t, int V) {
    float *score = llm_alloc((size_t)V, sizeof *score);
    for (int i = 0; i < t->vocab_size; i++)
        if (!t->tables->hidden[i] && !is_byte_token(t, i)) score[i] = (float)(-t->merges - 1);
    for (int i = t->merges - 1; i >= 0; i--) score[t->tables->merge[i].id] = (float)-i;
    key_list(g, "tokenizer.ggml.scores", GGUF_F32, (size_t)V);
    put(g, score, (size_t)V * sizeof *score);
    llm_release(score);
}
static void put_merges(gguf_writer *g, const llm_tokenizer *t, char *text) {
    key_list(g, "tokenizer.ggml.merges", GGUF_STRING, (size_t)t->merges);
    for (int i = 0; i < t->merges; i++) {
        size_t n = spelled(t, t->tables->merge[i].a, text);
        text[n++] = ' ';
        n += spelled(t, t->tables->merge[i].b, text + n);
        put_bytes(g, text, n);
    }
}
static void put_tokenizer(gguf_writer *g, const llm_tokenizer *t, const tokenizer_facts *f, const llm_config *c) {
    const bool whole = llm_json_true(llm_json_get(f->root, "model"), "ignore_merges", false);
    bool spm = t->split == HF_SPLIT_SPM;
    int end = t->im_end >= 0 ? t->im_end : llm_token_id(t, "<|eot_id|>");
    char *text = llm_alloc(8 * t->tables->longest + 64, 1);
    key_text(g, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    key_text(g, "tokenizer.ggml.pre", gguf_cuts[gguf_cut_of(t->split, whole)].name);
    key_list(g, "tokenizer.ggml.tokens", GGUF_STRING, (size_t)c->V);
    for (int i = 0; i < c->V; i++)      /* a vocabulary may be smaller than the embedding */
        put_bytes(g, text, i < t->vocab_size ? spelled(t, i, text) : (size_t)sprintf(text, "[PAD%d]", i));
    key_list(g, "tokenizer.ggml.token_type", GGUF_I32, (size_t)c->V);
    for (int i = 0; i < c->V; i++) put_u32(g, (uint32_t)token_type(t, f, i));
    if (spm) put_scores(g, t, c->V);
    else put_merges(g, t, text);
    int bos = t->opens >= 0 ? t->opens : t->bos >= 0 ? t->bos : c->bos < c->V ? c->bos : -1;
    key_id(g, "tokenizer.ggml.bos_token_id", bos);
    key_id(g, "tokenizer.ggml.eos_token_id", t->eos);
    if (end != t->eos) key_id(g, "tokenizer.ggml.eot_token_id", end);
    key_id(g, "tokenizer.ggml.unknown_token_id", f->unknown);
    key_id(g, "tokenizer.ggml.padding_token_id", t->pad);
    key_bool(g, "tokenizer.ggml.add_bos_token", t->opens >= 0);
    if (spm) key_bool(g, "tokenizer.ggml.add_space_prefix", t->tables->prefix != 0);
    if (t->tables->chat_template) key_text(g, "tokenizer.chat_template", t->tables->chat_template);
    llm_release(text);
}

/* ---- GGUF: the model ---- */

static const char *gguf_architecture(const llm_config *c) {
    return c->family == LLM_MISTRAL ? "llama" : model_families[c->family].type;
}
/* Frequencies that are stretched. (Llama-3's are a tensor, rope_freqs.weight.) llama.cpp lengthens q and k by yarn's
   own factor: attn_factor says what is beyond it. */
static void put_rope(gguf_writer *g, const llm_config *c) {
    const bool yarn = c->rope_scaling == LLM_ROPE_YARN;
    const double own = 0.1 * log(c->rope_factor) + 1;
    if (!yarn && c->rope_scaling != LLM_ROPE_LINEAR) return;
    key_text(g, ".rope.scaling.type", yarn ? "yarn" : "linear");
    key_float(g, ".rope.scaling.factor", c->rope_factor);
    if (!yarn) return;
    key_int(g, ".rope.scaling.original_context_length", c->rope_original);
    key_float(g, ".rope.scaling.yarn_beta_fast", c->rope_high);
    key_float(g, ".rope.scaling.yarn_beta_slow", c->rope_low);
    if (fabs(c->rope_length / own - 1) > 1e-6) key_float(g, ".rope.scaling.attn_factor", c->rope_length / own);
}
/* What llama.cpp's graph of this architecture does not compute is refused by name; of dynamic rope it computes what
   lies within the original context. */
static void refuse_parts(llm_config *c, const char *path) {
    const char *type = model_families[c->family].type;
    const int step = c->no_rope_every && c->no_rope_every <= c->L ? c->no_rope_every : 0;
    if (c->family == LLM_SMOLLM3 && step != (c->L >= 4 ? 4 : 0))
        llm_die("a folder (--out DIR)", "%s: llama.cpp's %s has no rope in every fourth layer, this model "
                "in every %d (0: in none)", path, type, step);
    if ((c->qkv_bias && c->proj_bias && c->family != LLM_LLAMA) || (c->mlp_bias && c->family != LLM_LLAMA))
        llm_die("a folder (--out DIR)", "%s: llama.cpp's %s has no biases", path, type);
    if (c->rope_scaling == LLM_ROPE_YARN && (!c->rope_truncate || c->rope_low != 1 || c->rope_high != 32))
        llm_die("a folder (--out DIR)", "%s: llama.cpp's yarn is truncated and blends between 1 turn and 32, this "
                "model's %s and blends between %g and %g", path, c->rope_truncate ? "is" : "is not", c->rope_low,
                c->rope_high);
    if (c->rope_scaling != LLM_ROPE_DYNAMIC) return;
    fprintf(stderr, "note: context %d -> %d: llama.cpp has no dynamic rope\n", c->T, c->rope_original);
    c->T = c->rope_original;
}
static void put_keys(gguf_writer *g, const llm_config *c, const char *name, int as) {
    bool gpt2 = c->family == LLM_GPT2;
    key_text(g, "general.architecture", g->family);
    key_text(g, "general.name", name);
    key_int(g, "general.file_type", gguf_types[as].file_type);
    if (as == AS_Q8) key_int(g, "general.quantization_version", 2);
    key_int(g, ".context_length", c->T);
    key_int(g, ".embedding_length", c->C);
    key_int(g, ".block_count", c->L);
    key_int(g, ".feed_forward_length", c->F);
    key_int(g, ".attention.head_count", c->H);
    if (gpt2) {
        key_float(g, ".attention.layer_norm_epsilon", c->eps);
        return;
    }
    key_int(g, ".attention.head_count_kv", c->KV);
    key_float(g, ".attention.layer_norm_rms_epsilon", c->eps);
    key_float(g, ".rope.freq_base", c->rope_theta);
    key_int(g, ".rope.dimension_count", c->D);
    put_rope(g, c);
    if (c->D * c->H != c->C) {
        key_int(g, ".attention.key_length", c->D);
        key_int(g, ".attention.value_length", c->D);
    }
    key_int(g, ".vocab_size", c->V);
}
/* Vectors and learned positions stay F32: they are small, and programs expect it. A row that is no multiple of a block
   becomes F16. */
static void place_tensor(gguf_tensor *x, int as, size_t *offset) {
    bool plain = x->dims == 1 || !strcmp(x->name, "position_embd.weight");
    x->as = plain ? AS_F32 : x->cols % gguf_types[as].block ? AS_F16 : as;
    x->bytes = llm_mul(llm_mul(x->rows, x->cols) / gguf_types[x->as].block, gguf_types[x->as].bytes);
    x->offset = *offset;
    *offset = llm_add(*offset, x->bytes + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
}
static int list_tensors(const llm_model *m, gguf_tensor *list, int as) {
    bool turned = false;
    size_t offset = 0;
    int n = 0;
    for (int i = 0; i < GGUF_FAMILIES; i++)
        if (!strcmp(gguf_families[i].name, gguf_architecture(&m->c))) turned = gguf_families[i].turned;
    for (int i = 0; i < m->params; i++) {
        const llm_param *p = &m->param[i];
        gguf_tensor *x = &list[n++];
        *x = (gguf_tensor){.dims = p->vector ? 1 : 2, .cols = (size_t)p->cols, .rows = (size_t)p->rows, .param = p};
        gguf_name(&m->c, p->name, x->name);
        if (turned && strstr(p->name, "q_proj")) x->heads = m->c.H;
        if (turned && strstr(p->name, "k_proj")) x->heads = m->c.KV;
        place_tensor(x, as, &offset);
    }
    if (m->c.tied && m->c.family == LLM_OLMO2) {        /* llama.cpp ties heads, but not this architecture's */
        gguf_tensor *x = &list[n++];
        *x = (gguf_tensor){.name = "output.weight", .dims = 2, .cols = m->wte->cols, .rows = m->wte->rows,
                           .param = m->wte};
        place_tensor(x, as, &offset);
    }
    if (m->c.rope_scaling == LLM_ROPE_LLAMA3) {
        gguf_tensor *x = &list[n++];
        *x = (gguf_tensor){.name = "rope_freqs.weight", .dims = 1, .cols = (size_t)m->c.D / 2, .rows = 1};
        place_tensor(x, as, &offset);
    }
    return n;
}

/* ---- GGUF: numbers with fewer bits ---- */

/* A block of 32 numbers: d = max|x|/127 as f16, then round(x/d) as bytes. */
static void narrow_q8(char *out, const float *x, size_t n) {
    for (size_t b = 0; b < n / 32; b++, x += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
        float d = most / 127, inverse = d ? 1 / d : 0;
        uint16_t half = real_to_f16(d);
        memcpy(out, &half, 2);
        for (int i = 0; i < 32; i++) out[2 + i] = (char)(signed char)roundf(x[i] * inverse);
        out += 34;
    }
}
static void narrow_row(char *out, const float *x, size_t n, int as) {
    uint16_t half;
    if (as == AS_F32) memcpy(out, x, n * sizeof *x);
    else if (as == AS_Q8) narrow_q8(out, x, n);
    else for (size_t i = 0; i < n; i++, out += 2) {
        half = as == AS_F16 ? real_to_f16(x[i]) : real_to_bf16(x[i]);
        memcpy(out, &half, 2);
    }
}
/* Before anything is written: can every weight be? */
static void check_weights(const llm_model *m, int as) {
    for (int i = 0; i < m->params; i++)
        for (size_t k = 0; k < m->param[i].size; k++) {
            float x = m->param[i].data[k];
            if (!isfinite(x))
                llm_die("another checkpoint", "tensor %s holds something else than numbers", m->param[i].name);
            if ((as == AS_F16 || as == AS_Q8) && fabsf(x) > 65504)
                llm_die("--type bf16 or f32", "tensor %s: %g is beyond what f16 can hold", m->param[i].name, (double)x);
        }
}
static void put_tensor(gguf_writer *g, const gguf_tensor *x, const llm_model *m) {
    size_t row = x->bytes / x->rows, D = (size_t)m->c.D;
    float *divisors = llm_alloc(D, sizeof *divisors);
    char *out = llm_alloc(row, 1);
    if (!x->param) rope_divisors(&m->c, divisors);
    for (size_t k = 0; x->heads && x->dims == 1 && k < x->cols; k++)    /* a bias: its numbers change places */
        narrow_row(out + k * sizeof(float), x->param->data + interleave(k, D), 1, AS_F32);
    if (x->heads && x->dims == 1) put(g, out, row);
    for (size_t r = 0; r < x->rows && !(x->heads && x->dims == 1); r++) {
        size_t from = x->heads ? interleave(r, D) : r;
        narrow_row(out, x->param ? x->param->data + from * x->cols : divisors, x->cols, x->as);
        put(g, out, row);
    }
    put_align(g);
    llm_release(divisors);
    llm_release(out);
}
static void put_header(gguf_writer *g, const llm_model *m, const llm_tokenizer *t, const tokenizer_facts *f,
                       const gguf_tensor *list, int n, const char *name, int as) {
    uint64_t keys = g->keys;            /* as counted in the first pass */
    g->keys = g->at = 0;
    put(g, "GGUF", 4);
    put_u32(g, 3);
    put_u64(g, (uint64_t)n);
    put_u64(g, keys);
    put_keys(g, &m->c, name, as);
    if (t) put_tokenizer(g, t, f, &m->c);
    else key_text(g, "tokenizer.ggml.model", "none");
    for (int i = 0; i < n; i++) {
        const gguf_tensor *x = &list[i];
        put_bytes(g, x->name, strlen(x->name));
        put_u32(g, (uint32_t)x->dims);
        put_u64(g, x->cols);
        if (x->dims == 2) put_u64(g, x->rows);
        put_u32(g, (uint32_t)gguf_types[x->as].type);
        put_u64(g, x->offset);
    }
    put_align(g);
}
static int type_of(const settings *s, const char *otherwise) {
    int as = 0;
    while (strcmp(gguf_types[as].name, s->type ? s->type : otherwise)) as++;
    return as;
}
static void hint(const settings *s, const llm_tokenizer *t) {
    fprintf(stderr, "llama.cpp:  llama-cli -m %s\n", s->out);
    fprintf(stderr, "Ollama:     a file Modelfile with the line  FROM ./%s", path_name(s->out));
    for (int i = 0; i < t->stops; i++)
        if (t->special[t->stop[i]]) fprintf(stderr, "\n            and  PARAMETER stop \"%s\"", t->token[t->stop[i]]);
    fprintf(stderr, "\n            then  ollama create NAME\n");
}
static void to_gguf(const settings *s) {
    llm_model m;
    llm_tokenizer t;
    int as = type_of(s, "f16");
    if (llm_is_dir(s->out)) llm_usage("--out DIR/model.gguf", "%s is a folder", s->out);
    refuse_existing(s, "GGUF");
    load(s, &m, &t);
    if (m.c.score) llm_die("the model that it judges", "%s is a reward model: GGUF knows no such head", s->model);
    refuse_parts(&m.c, s->model);
    check_weights(&m, as);
    char *dir = copy_text(s->model, strlen(s->model));
    for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/';) dir[--n] = '\0';
    if (path_ends_with(dir, ".gguf")) dir[strlen(dir) - strlen(".gguf")] = '\0';
    tokenizer_facts f = facts_read(&t);
    gguf_tensor *list = llm_alloc((size_t)m.params + 2, sizeof *list);
    int n = list_tensors(&m, list, as), halves = 0;
    gguf_writer g = {.family = gguf_architecture(&m.c), .counting = true};
    put_header(&g, &m, &t, &f, list, n, path_name(dir), as);
    g.counting = false;
    g.w = begin(s->out);
    put_header(&g, &m, &t, &f, list, n, path_name(dir), as);
    for (int i = 0; i < n; i++) {
        put_tensor(&g, &list[i], &m);
        halves += as == AS_Q8 && list[i].as == AS_F16;
    }
    finish(&g.w);
    fprintf(stderr, "wrote %s: %s, %d tensors as %s, %.2f MB\n", s->out, g.family, n, gguf_types[as].name,
            (double)g.at / 1e6);
    if (halves) fprintf(stderr, "%d tensors whose rows are no multiple of 32 are f16\n", halves);
    hint(s, &t);
    llm_release(list);
    llm_release(dir);
    facts_free(&f);
    llm_model_free(&m);
    llm_tokenizer_free(&t);
}

/* ---- a folder: adapters merged, weights in 32 or 16 bits ---- */

/* A folder with 32 bits is there already, and whole; its weights and the word for them are replaced one by one. */
static void save_halves(const settings *s, const llm_model *m, int as) {
    char *path = llm_format("%s/config.json", s->out);
    file_tensor *out = stored_rows(m->param, m->params, as == AS_BF16 ? "BF16" : "F16");
    llm_writer weights = tensors_begin(s->out, "model.safetensors", out, m->params);
    for (int i = 0; i < m->params; i++) {
        const llm_param *p = out[i].data;
        llm_real *numbers = stored_numbers(m->ops, p);
        uint16_t *half = llm_alloc(p->size, sizeof *half);
        narrow_row((char *)half, numbers, p->size, as);
        llm_write_bytes(&weights, half, p->size * sizeof *half);
        llm_release_all(half, numbers);
    }
    llm_write_done(&weights);
    char *config = llm_read_file(path, NULL), *dtype = strstr(config, "\"float32\"");
    llm_writer w = begin(path);
    llm_write_text(&w, "%.*s\"%s\"%s", (int)(dtype - config), config, as == AS_BF16 ? "bfloat16" : "float16",
                   dtype + strlen("\"float32\""));
    finish(&w);
    llm_release_all(out, path, config);
}
/* --add-tokens: ChatML's for a model that has none. */
static void grow(const settings *s, llm_model *m, llm_tokenizer *t) {
    char *fresh = llm_format("%s/result.tmp", s->out);
    int before = llm_min(add_tokens(t, fresh), m->c.V);
    if (before < t->vocab_size) grow_embeddings(m, t, before);
    else fprintf(stderr, "nothing to add: the tokens are there\n");
    hf_chat_template(t, "chatml");
    llm_release(fresh);
}
static void to_folder(const settings *s) {
    llm_model m;
    llm_tokenizer t;
    int as = type_of(s, "f32");
    if (as == AS_Q8) llm_usage("--out model.gguf", "q8_0 is no type of a folder's weights");
    refuse_existing(s, NULL);
    load(s, &m, &t);
    check_weights(&m, as);
    llm_make_dirs(s->out);
    run_lock(s->out, "--out");
    if (s->add_tokens) grow(s, &m, &t);
    llm_result_save(s->out, &m, &t);
    if (as != AS_F32) save_halves(s, &m, as);
    fprintf(stderr, "wrote %s: a folder for --model, transformers and llama.cpp's converter, %s\n", s->out,
            gguf_types[as].name);
    llm_model_free(&m);
    llm_tokenizer_free(&t);
}

/* ---- token files of nanoGPT and llm.c (tokens.h) ----

   Here they become texts: the ids are decoded, and a document ends where the next is opened. */

typedef struct {
    llm_writer w;
    const llm_tokenizer *t;
    int *ids;                           /* the document being read */
    size_t count, room;
    double documents, bytes;
} importer;

static void flush_document(importer *x) {
    size_t size;
    char *text = llm_decode(x->t, x->ids, x->count, false, &size);
    if (size) {
        llm_write_text(&x->w, "{\"text\": ");
        llm_write_json_string(&x->w, text, size);
        llm_write_text(&x->w, "}\n");
        x->documents++;
        x->bytes += (double)size;
    }
    llm_release(text);
    x->count = 0;
}
static void import_file(importer *x, const char *path) {
    const token_file f = tokens_open(path);
    mapped_file m = mapped_open(path);
    const void *ids = m.at + f.at;
    const int opens = document_opener(x->t);
    for (size_t i = 0; i < f.count; i++) {
        const uint32_t id = f.width == 4 ? ((const uint32_t *)ids)[i] : ((const uint16_t *)ids)[i];
        tokens_check_id(id, x->t, path, i);
        if ((int)id == opens || (int)id == x->t->eos) flush_document(x);
        x->ids = llm_grow(x->ids, &x->room, x->count + 1, sizeof *x->ids);
        x->ids[x->count++] = (int)id;
    }
    flush_document(x);
    mapped_close(&m);
    fprintf(stderr, "%s: %zu tokens of %zu bits%s\n", path, f.count, 8 * f.width, f.at ? "" : ", no header");
}
static void import_tokens(const settings *s) {
    llm_tokenizer t;
    if (!s->tokenizer) llm_usage("--tokenizer DIR", "ids are numbers: whose tokens are they?");
    if (!path_ends_with(s->out, ".jsonl"))
        llm_usage("--out train.jsonl", "texts are written as .jsonl, not %s", s->out);
    refuse_existing(s, "{\"text\": ");
    hf_tokenizer_load(&t, s->tokenizer);
    importer x = {.w = begin(s->out), .t = &t};
    for (int i = 0; i < s->tokens.count; i++) import_file(&x, s->tokens.item[i]);
    if (!x.documents) llm_die("a file with tokens in it", "%s holds no text", s->tokens.item[0]);
    finish(&x.w);
    fprintf(stderr, "wrote %s: %.0f documents, %.2f MB of text\n", s->out, x.documents, x.bytes / 1e6);
    llm_release(x.ids);
    llm_tokenizer_free(&t);
}

/* ---- ranks of tiktoken ----

   A line for each token: its bytes in base64, and its rank, which is also its id. Two neighbours may merge if together
   they are a token, the lowest rank first. As a list of merges: every way to cut a token into two tokens. (The regular
   expression that cuts text, and the special tokens, are not in the file: they belong to the family.) */

typedef struct { const char *name; int split; int ranks; const char *special, *bos, *eos; } family;

static const char llama3_special[] =
    "<|begin_of_text|>,<|end_of_text|>,<|reserved_special_token_0|>,<|reserved_special_token_1|>,"
    "<|finetune_right_pad_id|>,<|reserved_special_token_2|>,<|start_header_id|>,<|end_header_id|>,<|eom_id|>,"
    "<|eot_id|>,<|python_tag|>";        /* and 245 more reserved ones */
static const family families[] = {
    {"gpt2", LLM_SPLIT_GPT2, 50256, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"},
    {"llama3", HF_SPLIT_LLAMA3, 128000, llama3_special, "<|begin_of_text|>", "<|end_of_text|>"},
    {"qwen2", HF_SPLIT_QWEN2, 151643, "<|endoftext|>,<|im_start|>,<|im_end|>", NULL, "<|endoftext|>"}};

typedef struct { char *bytes; word_map map; word_entry **by_rank; int count; } rank_table;

/* Decode base64 in place; returns the number of bytes, or SIZE_MAX. */
static size_t decode_base64(char *text, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t out = 0;
    uint32_t bits = 0;
    int have = 0;
    if (n % 4) return SIZE_MAX;
    while (n && text[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        const char *d = text[i] ? strchr(digits, text[i]) : NULL;
        if (!d) return SIZE_MAX;
        bits = bits << 6 | (uint32_t)(d - digits);
        if ((have += 6) >= 8) text[out++] = (char)(bits >> (have -= 8));
    }
    return out;
}
static void ranks_read(rank_table *r, const char *path) {
    static const char remedy[] = "a .tiktoken file: lines of a token in base64 and its rank";
    size_t size;
    r->bytes = llm_read_file(path, &size);
    int line = 1;
    for (char *p = r->bytes, *end = p + size, *next; p < end; p = next, line++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        *stop = '\0';
        char *space = strchr(p, ' '), *after = NULL;
        if (p == stop) continue;
        long rank = space ? strtol(space + 1, &after, 10) : -1;
        size_t n = space ? decode_base64(p, (size_t)(space - p)) : SIZE_MAX;
        if (n == SIZE_MAX || !n || rank < 0 || rank > 1 << 24 || after == space + 1 || (*after && *after != '\r'))
            llm_die(remedy, "%s:%d: neither a token nor a rank", path, line);
        if (n > 1024)                   /* every way to cut it into two would be looked up */
            llm_die(remedy, "%s:%d: a token of %zu bytes, more than 1024", path, line, n);
        size_t before = r->map.count;
        word_add(&r->map, p, n)->value = rank;
        if (r->map.count == before) llm_die(remedy, "%s:%d: a token appears twice", path, line);
    }
    r->count = (int)r->map.count;
    if (!r->count) llm_die(remedy, "%s holds no tokens", path);
    r->by_rank = llm_alloc((size_t)r->count, sizeof *r->by_rank);
    for (int i = 0; i < r->count; i++) {
        word_entry *w = &r->map.word[i];
        if (w->value >= r->count || r->by_rank[w->value])
            llm_die(remedy, "%s: the ranks of %d tokens are not 0 to %d, each once", path, r->count, r->count - 1);
        r->by_rank[w->value] = w;
    }
    for (int b = 0; b < 256; b++)
        if (!word_find(&r->map, &(char){(char)b}, 1)) llm_die(remedy, "%s: no token for byte %d", path, b);
}
static void write_bytes_spelled(llm_writer *w, const char *s, size_t n, const char *t, size_t m) {
    char *text = llm_alloc(2 * (n + m) + 1, 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) at += (size_t)utf8_put(text + at, byte_to_char((unsigned char)s[i]));
    if (m) text[at++] = ' ';
    for (size_t i = 0; i < m; i++) at += (size_t)utf8_put(text + at, byte_to_char((unsigned char)t[i]));
    llm_write_json_string(w, text, at);
    llm_release(text);
}
static int write_ranked_merges(llm_writer *w, const rank_table *r) {
    int merges = 0;
    for (int i = 0; i < r->count; i++) {
        const word_entry *x = r->by_rank[i];
        size_t n = x->length;
        uint64_t *pair = llm_alloc(n, sizeof *pair);     /* the cuts, by the ranks of their halves */
        size_t cuts = 0;
        for (size_t k = 1; k < n; k++) {
            const word_entry *a = word_find(&r->map, x->text, k), *b = word_find(&r->map, x->text + k, n - k);
            if (!a || !b) continue;
            size_t at = cuts++;
            uint64_t key = (uint64_t)a->value << 32 | (uint64_t)b->value;
            for (; at && pair[at - 1] > key; at--) pair[at] = pair[at - 1];
            pair[at] = key;
        }
        for (size_t k = 0; k < cuts; k++, merges++) {
            const word_entry *a = r->by_rank[pair[k] >> 32], *b = r->by_rank[(uint32_t)pair[k]];
            llm_write_text(w, merges ? ",\n" : "\n");
            write_bytes_spelled(w, a->text, a->length, b->text, b->length);
        }
        llm_release(pair);
    }
    return merges;
}
/* The special tokens: those of the list, for Llama 3 filled up to 256. Returns how many. */
static int write_specials(llm_writer *w, const rank_table *r, const char *list, bool fill) {
    int n = 0;
    for (const char *c = list; *c; c += strcspn(c, ","), c += *c == ',') {
        size_t length = strcspn(c, ",");
        if (length) write_added(w, r->count + n, c, length, true, n == 0), n++;
    }
    for (int i = 3; fill && n < 256; i++, n++) {
        char name[64];
        int length = snprintf(name, sizeof name, "<|reserved_special_token_%d|>", i);
        write_added(w, r->count + n, name, (size_t)length, true, false);
    }
    return n;
}
static void import_ranks(const settings *s) {
    rank_table r = {0};
    family f = {0};
    refuse_existing(s, NULL);
    ranks_read(&r, s->tiktoken);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(s->split, families[i].name) || (!strcmp(s->split, "auto") && r.count == families[i].ranks))
            f = families[i];
    if (!f.name) llm_usage("--split gpt2, llama3 or qwen2", "%d ranks are no family's that is known", r.count);
    char *path[2] = {llm_format("%s/%s", s->out, tokenizer_file[0]), llm_format("%s/%s", s->out, tokenizer_file[1])};
    llm_make_dirs(s->out);
    run_lock(s->out, "--out");
    llm_writer w = llm_write_begin(path[1]);
    const char *bos = s->special ? NULL : f.bos, *eos = s->special ? NULL : f.eos;
    llm_write_text(&w, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                       "  \"clean_up_tokenization_spaces\": false,\n");
    if (bos) llm_write_text(&w, "  \"bos_token\": \"%s\",\n", bos);
    if (eos) llm_write_text(&w, "  \"eos_token\": \"%s\",\n", eos);
    llm_write_text(&w, "  \"model_max_length\": 1000000000000000019884624838656\n}\n");
    llm_write_done(&w);
    w = llm_write_begin(path[0]);
    llm_write_text(&w, "{\n\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n\"added_tokens\": [");
    bool fill = !s->special && f.split == HF_SPLIT_LLAMA3;
    int specials = write_specials(&w, &r, s->special ? s->special : f.special, fill);
    bool opened = fill && !strcmp(f.bos, "<|begin_of_text|>");         /* Llama 3's: the first of the special ones */
    write_pipeline(&w, &(tokenizer_way){.split = f.split, .nfc = f.split == HF_SPLIT_QWEN2, .ignore_merges = true,
                                        .opens = opened ? f.bos : NULL, .opens_id = r.count});
    for (int i = 0; i < r.count; i++) {
        llm_write_text(&w, i ? ",\n" : "\n");
        write_bytes_spelled(&w, r.by_rank[i]->text, r.by_rank[i]->length, "", 0);
        llm_write_text(&w, ": %d", i);
    }
    llm_write_text(&w, "},\n\"merges\": [");
    int merges = write_ranked_merges(&w, &r);
    llm_write_text(&w, "]}\n}\n");
    llm_write_done(&w);                 /* last: a folder with tokenizer.json is whole */
    fprintf(stderr, "wrote %s: %s, %d tokens and %d special ones, %d merges\n", s->out, f.name, r.count, specials,
            merges);
    llm_release(r.bytes);
    llm_release(r.by_rank);
    word_free(&r.map);
    llm_release(path[0]);
    llm_release(path[1]);
}

/* ---- the program ---- */

int main(int argc, char **argv) {
    settings s = {.split = "auto"};
    atexit(remove_unfinished);
    llm_option table[] = {
        {"out", LLM_TEXT, &s.out, 0, 0, "a file.gguf, a file.jsonl, or a folder", NULL, "o"},
        OPTION("overwrite", LLM_BOOL, &s.overwrite, 0, 0, "replace what --out holds"),
        OPTION_HEADING("a model"),
        {"model", LLM_TEXT, &s.model, 0, 0, "folder of a model, or of adapters: these are merged; or a .gguf file",
         NULL, "m"},
        OPTION("base", LLM_TEXT, &s.base, 0, 0, "the adapters' base, if not where they say"),
        {"type", LLM_TEXT, &s.type, 0, 0, "of the weights; none: f16 in a .gguf, f32 in a folder",
         "f32|f16|bf16|q8_0", NULL},
        OPTION("add-tokens", LLM_BOOL, &s.add_tokens, 0, 0, "a model that lacks them gets ChatML's tokens"),
        OPTION_HEADING("token files"),
        OPTION("tokens", LLM_LIST, &s.tokens, 0, 0, "files of nanoGPT or llm.c, to a .jsonl of texts"),
        OPTION("tokenizer", LLM_TEXT, &s.tokenizer, 0, 0, "folder of the tokenizer that made them"),
        OPTION_HEADING("a tokenizer"),
        OPTION("tiktoken", LLM_TEXT, &s.tiktoken, 0, 0, "file of ranks, to a folder"),
        {"split", LLM_TEXT, &s.split, 0, 0, "how it cuts text; auto: by the number of ranks", "auto|gpt2|llama3|qwen2",
         NULL},
        {"special", LLM_TEXT, &s.special, 0, 0, "special tokens, a,b,c; none: the family's", NULL, NULL}};
    llm_options_parse(table, sizeof table / sizeof *table, "from and to the formats of others", argc, argv);
    int jobs = (s.model != NULL) + (s.tokens.count > 0) + (s.tiktoken != NULL);
    if (jobs != 1)
        llm_usage("one of --model, --tokens and --tiktoken", jobs ? "one thing at a time" : "nothing to convert");
    if (!s.out) llm_usage("--out model.gguf", "where to?");
    if (s.add_tokens && (!s.model || path_ends_with(s.out, ".gguf")))
        llm_usage("--model DIR --add-tokens --out DIR2", "--add-tokens makes a folder of a folder");
    llm_options_idle("base|type", !s.model, "it is for --model");
    llm_options_idle("tokenizer", !s.tokens.count, "it is for --tokens");
    llm_options_idle("split|special", !s.tiktoken, "it is for --tiktoken");
    if (s.tiktoken) import_ranks(&s);
    else if (s.tokens.count) import_tokens(&s);
    else if (path_ends_with(s.out, ".gguf")) to_gguf(&s);
    else to_folder(&s);
    return 0;
}
