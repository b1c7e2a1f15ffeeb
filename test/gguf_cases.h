/* gguf_cases.h: tools/gguf.h. What build/convert wrote reads back as the folder it was made of, weights, tokens and
   template; blocks are read as the format defines them; every way to damage a file is one clear error. For
   test_convert.c. */
#ifndef GGUF_CASES_H
#define GGUF_CASES_H

#include "logits.h"

/* ---- what was written reads back ---- */

static double half_of(float x) { return f16_to_real(real_to_f16(x)); }
/* How far a weight may be from the one that was written: not at all, or half a step of its block of 32. */
static int weights_off(const llm_model *a, const llm_model *b, int as) {
    int wrong = 0;
    for (int i = 0; i < a->params; i++) {
        const llm_param *p = &a->param[i];
        bool plain = as == AS_F32 || p->vector || strstr(p->name, "wpe");
        bool halves = as == AS_F16 || (as == AS_Q8 && p->cols % 32);
        for (size_t k = 0; k < p->size; k++) {
            const double x = (double)p->data[k], y = (double)b->param[i].data[k];
            double most = 0;
            for (size_t j = k / 32 * 32; as == AS_Q8 && j < k / 32 * 32 + 32 && j < p->size; j++)
                most = fmax(most, fabs((double)p->data[j]));
            wrong += plain ? x != y : halves ? half_of((float)x) != y :
                     as == AS_BF16 ? (double)bf16_to_real(real_to_bf16((llm_real)x)) != y :
                                     !(fabs(x - y) <= most / 127 * (0.5 + 127.0 / 2048));       /* d is a half */
        }
    }
    return wrong;
}
static void same_logits(llm_model *a, llm_model *b, const char *name) {
    enum { TOKENS = 12 };
    const size_t n = (size_t)TOKENS * (size_t)a->c.V;
    llm_real *one = llm_alloc(n, sizeof *one), *two = llm_alloc(n, sizeof *two);
    llm_batch x = llm_batch_new(1, TOKENS);
    for (int i = 0; i < TOKENS; i++) x.tokens[i] = (i * 7919 + 3) % a->c.V, x.positions[i] = i;
    all_logits(a, &x, one);
    all_logits(b, &x, two);
    CHECK(!memcmp(one, two, n * sizeof *one) && one[7] != one[8], "%s: other logits", name);
    llm_batch_free(&x);
    llm_release_all(one, two);
}
static void same_tokens(const char *folder, const char *path, const char *tokenizer) {
    llm_tokenizer a, b;
    hf_tokenizer_load(&a, folder);
    hf_tokenizer_load(&b, path);
    char *cases = llm_format("test/data/tok/%s/cases.jsonl", tokenizer), *text = llm_read_file(cases, NULL);
    int texts = 0, wrong = 0;
    CHECK(a.vocab_size == b.vocab_size && a.eos == b.eos && a.opens == b.opens && a.im_end == b.im_end,
          "%s: the vocabulary, or a token with a duty", path);
    CHECK(a.stops == b.stops && !memcmp(a.stop, b.stop, (size_t)a.stops * sizeof *a.stop), "%s: stops", path);
    const char *one = a.tables->chat_template, *two = b.tables->chat_template;
    CHECK(!one == !two && (!one || !strcmp(one, two)), "%s: the chat template", path);
    for (int i = 0; i < a.vocab_size && i < b.vocab_size; i++)
        wrong += a.length[i] != b.length[i] || memcmp(a.token[i], b.token[i], (size_t)a.length[i]) ||
                 a.special[i] != b.special[i];
    CHECK(wrong == 0, "%s: %d tokens are others", path, wrong);
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        llm_json *c = llm_json_parse(line, (size_t)(end - line), cases, ++texts);
        const llm_json *said = llm_json_get(c, "text");
        int x[2][4096];
        size_t n = said && said->length < 1000 ? llm_encode(&a, said->string, said->length, x[0]) : 0;
        size_t m = said && said->length < 1000 ? llm_encode(&b, said->string, said->length, x[1]) : 0;
        CHECK(n == m && !memcmp(x[0], x[1], n * sizeof **x), "%s:%d: other ids", path, texts);
        llm_json_free(c);
    }
    CHECK(texts > 50, "%s: %d texts", cases, texts);
    llm_release_all(cases, text);
    llm_tokenizer_free(&a);
    llm_tokenizer_free(&b);
}
/* The Q8_0 file `from` with other blocks, of type `as`: any scales and integers, as importance matrices may choose them.
   Many blocks lack the number that a rounding of ours would take their scale from. */
static void write_blocks(const char *from, const char *to, int as, int scale) {
    gguf_file *g = gguf_open(from);
    llm_rng r = llm_rng_seed(1, 0);
    size_t size, end = 0;
    char *file = llm_read_file(from, &size), *out = llm_alloc(size, 1);
    memcpy(out, file, g->data);
    for (size_t i = 0; i < g->tensors; i++) {
        const gguf_entry *t = &g->tensor[i];
        const bool blocks = gguf_type_of(t) == AS_Q8;
        const size_t bytes = blocks ? (t->end - t->begin) / 34 * gguf_types[as].bytes : t->end - t->begin;
        char *place = out + t->name + t->length + 4 + 8 * (size_t)t->dims;              /* its type and offset */
        if (blocks) memcpy(place, &gguf_types[as].type, 4);
        memcpy(place + 4, (uint64_t[]){end}, 8);
        char *q = out + g->data + end;
        memcpy(q, file + g->data + t->begin, bytes);
        for (size_t k = 0; k < bytes && blocks; k++) q[k] = (char)llm_rng_below(&r, 256);
        for (size_t k = 1; k < bytes && blocks; k += gguf_types[as].bytes) q[k] &= (char)0xBF;      /* |d| < 2 */
        if (blocks && scale) memcpy(q, (uint16_t[]){(uint16_t)scale}, 2);
        end = (end + bytes + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
    }
    write_file(to, out, g->data + end);
    llm_release_all(file, out);
    gguf_close(g);
}
static void load_refused(const char *path, llm_type type) {
    llm_model m;
    *check_message = '\0';
    llm_on_death = check_on_death;
    if (!setjmp(check_jump)) hf_model_load_as(&m, path, llm_cpu(LLM_FP32), type);
    llm_on_death = NULL;
}
/* Blocks of the type that the model has go in as they are: the same numbers as without --weights. */
static void blocks_stay(const char *from) {
    char *path = llm_format("%s/blocks.gguf", dir);
    for (int as = AS_Q8; as <= AS_Q4_0; as++) {
        const llm_type type = as == AS_Q8 ? LLM_TYPE_Q8 : LLM_TYPE_Q4;
        llm_model a, b;
        int same = 0, others = 0, packed = 0;
        write_blocks(from, path, as, 0);
        hf_model_load(&a, path, llm_cpu(LLM_FP32));
        hf_model_load_as(&b, path, llm_cpu(LLM_FP32), type);
        for (int i = 0; i < a.params; i++) {
            const llm_param *p = &a.param[i];
            if (b.param[i].data || p->cols % 32) continue;
            llm_real *x = param_read(b.ops, &b.param[i]);
            uint8_t *integers = llm_alloc(p->rows, p->cols);
            uint16_t *scale = llm_alloc(p->rows * p->cols / 32, sizeof *scale);
            for (size_t k = 0; k < p->rows; k++)
                pack_weights(type, integers + k * p->cols, scale + k * (p->cols / 32), p->data + k * p->cols, p->cols);
            packed += memcmp(scale, b.param[i].w.scale, p->rows * (p->cols / 32) * sizeof *scale) != 0;
            size_t wrong = 0;
            for (size_t k = 0; k < p->size; k++) wrong += x[k] != p->data[k];
            wrong ? others++ : same++;
            llm_release_all(x, integers, scale);
        }
        CHECK(same > 3 && !others, "%s as %s: %d tensors are the file's, %d are not", from, gguf_types[as].name, same,
              others);
        CHECK(packed > same / 2, "%s: rounding again finds too many: %d of %d", from, same - packed, same);
        llm_model_free(&a);
        llm_model_free(&b);
        write_blocks(from, path, as, 0xFC00);
        load_refused(path, type);
        CHECK(strstr(check_message, "not finite"), "a scale of -infinity: '%s'", check_message);
    }
    llm_release(path);
}
/* `path` was made of `folder`. */
static void gguf_reads_back(const char *folder, const char *path, const char *type, const char *tokenizer) {
    llm_model a, b;
    int as = 0;
    while (strcmp(gguf_types[as].name, type)) as++;
    hf_model_load(&a, folder, llm_cpu(LLM_FP32));
    hf_model_load(&b, path, llm_cpu(LLM_FP32));
    CHECK(a.params == b.params && a.c.T == b.c.T && a.c.eps == b.c.eps && a.c.tied == b.c.tied &&
          a.c.rope_theta == b.c.rope_theta && a.c.rope_factor == b.c.rope_factor && a.c.rope_low == b.c.rope_low &&
          a.c.rope_high == b.c.rope_high && a.c.rope_original == b.c.rope_original && a.c.D == b.c.D,
          "%s %s: another configuration", path, type);
    CHECK(weights_off(&a, &b, as) == 0, "%s %s: %d weights are others", path, type, weights_off(&a, &b, as));
    if (as == AS_F32) same_logits(&a, &b, path);
    if (as == AS_F32) same_tokens(folder, path, tokenizer);
    llm_model_free(&b);
    if (as == AS_Q8) {                  /* packed as always, where it is asked for */
        hf_model_load_as(&b, path, llm_cpu(LLM_FP32), LLM_TYPE_Q4);
        CHECK(b.weights == LLM_TYPE_Q4 && !b.data == !b.size, "%s: --weights q4", path);
        llm_model_free(&b);
        blocks_stay(path);
    }
    llm_model_free(&a);
}
/* A folder of it, and a file of that: the same bytes. */
static void gguf_comes_round(const char *path) {
    char *out = llm_format("%s/round", dir), *again = llm_format("%s.again/x", path), *name = strrchr(path, '/') + 1;
    size_t n, m;
    remove_tree(out);
    CHECK(RUN("--model", path, "--out", out) == 0, "%s: %s", path, check_message);
    llm_release(again);
    again = llm_format("%s/%s", out, name);
    CHECK(RUN("--model", path, "--out", again, "--type", "f32") == 0, "%s: %s", path, check_message);
    char *one = llm_read_file(path, &n), *two = llm_read_file(again, &m);
    CHECK(n == m && !memcmp(one, two, n), "%s: another file, %zu and %zu bytes", path, n, m);
    llm_release_all(one, two, out, again);
}

/* Every family, and rope in every way that the format can say, in float32. */
static void test_families(void) {
    static const char *const preset[] = {"mistral-7b", "qwen3-0.6b", "smollm3-3b", "olmo2-1b", "phi3-mini",
                                         "llama2-7b"};
    for (int i = 0; i < 6; i++) {
        llm_config c = llm_preset(preset[i]);
        c.V = 1000, c.T = 32, c.L = 4, c.C = 32, c.H = 4, c.KV = i == 4 ? 4 : 2, c.D = i % 2 ? 8 : 16, c.F = 48;
        c.bos = c.eos = c.pad = -1;
        if (i == 0) c.rope_scaling = LLM_ROPE_LINEAR, c.rope_factor = 4;
        if (i == 1 || i == 3) {
            c.rope_scaling = LLM_ROPE_YARN, c.rope_factor = 4, c.rope_original = 16, c.rope_low = 1, c.rope_high = 32;
            c.rope_length = i == 1 ? 1.25 : 0.1 * log(4) + 1, c.rope_truncate = true;
        }
        if (i == 5) c.qkv_bias = c.proj_bias = c.mlp_bias = true;
        char *folder = make_folder(preset[i], "digits", c), *path = llm_format("%s/%s.gguf", dir, preset[i]);
        CHECK(RUN("--model", folder, "--out", path, "--type", "f32") == 0, "%s: %s", preset[i], check_message);
        gguf_reads_back(folder, path, "f32", "digits");
        gguf_comes_round(path);
        llm_release_all(folder, path);
    }
}

/* ---- blocks ---- */

static void test_blocks(void) {
    uint8_t raw[34] = {0, 0x38, 0, 0xB4};               /* 0.5 and -0.25 as halves */
    llm_real x[32];
    int wrong[3] = {0};
    for (int i = 0; i < 32; i++) raw[2 + i] = (uint8_t)(37 * i + 200);
    gguf_widen(x, raw, AS_Q8, 32);
    for (int i = 0; i < 32; i++) wrong[0] += x[i] != (llm_real)0.5 * (raw[2 + i] < 128 ? raw[2 + i] : raw[2 + i] - 256);
    gguf_widen(x, raw, AS_Q4_0, 32);
    for (int i = 0; i < 32; i++)
        wrong[1] += x[i] != (llm_real)0.5 * ((i < 16 ? raw[2 + i] & 15 : raw[2 + i - 16] >> 4) - 8);
    raw[2] = 0, raw[3] = 0xB4;
    gguf_widen(x, raw, AS_Q4_1, 32);
    for (int i = 0; i < 32; i++)
        wrong[2] += x[i] != (llm_real)0.5 * (i < 16 ? raw[4 + i] & 15 : raw[4 + i - 16] >> 4) - (llm_real)0.25;
    CHECK(!wrong[0] && !wrong[1] && !wrong[2], "q8_0 %d, q4_0 %d, q4_1 %d of 32 wrong", wrong[0], wrong[1], wrong[2]);
}

/* ---- damage ---- */

static char *good, *bad_path;
static size_t good_size;

/* Behind the first place of `after`, skipping so many bytes. */
static char *place_of(char *bytes, const char *after, size_t skip) {
    char *p = memmem(bytes, good_size, after, strlen(after));
    CHECK(p != NULL, "no %s in the file", after);
    return p ? p + strlen(after) + skip : bytes;
}
static bool refused(const char *bytes, size_t size) {
    llm_model m;
    llm_tokenizer t;
    volatile bool died = true;
    write_file(bad_path, bytes, size);
    *check_message = '\0';
    llm_on_death = check_on_death;
    if (!setjmp(check_jump)) {
        hf_tokenizer_load(&t, bad_path);
        hf_model_load(&m, bad_path, llm_cpu(LLM_FP32));
        died = false;
        llm_model_free(&m);
        llm_tokenizer_free(&t);
    }
    llm_on_death = NULL;
    return died;
}
/* So many bytes of `value` written behind `after` + skip. */
static void damage(const char *after, size_t skip, uint64_t value, size_t bytes, const char *expected) {
    char *copy = llm_alloc(good_size, 1);
    memcpy(copy, good, good_size);
    memcpy(*after ? place_of(copy, after, skip) : copy + skip, &value, bytes);
    CHECK(refused(copy, good_size) && strstr(check_message, expected), "%s + %zu = %llu: wanted '%s', got '%s'", after,
          skip, (unsigned long long)value, expected, check_message);
    CHECK(strstr(check_message, bad_path) != NULL, "no place: %s", check_message);
    llm_release(copy);
}
static void test_damage(const char *path) {
    const uint64_t huge = UINT64_MAX - 7;
    union { float value; uint32_t bits; } nan = {NAN};
    good = llm_read_file(path, &good_size);
    bad_path = llm_format("%s/bad.gguf", dir);
    CHECK(!refused(good, good_size), "the good one: %s", check_message);
    good[4] = 2;
    CHECK(!refused(good, good_size), "version 2, which has the same layout: %s", check_message);
    good[4] = 3;
    int accepted = 0;
    for (size_t n = 0; n < good_size; n += n < 400 ? 7 : good_size / 60) accepted += !refused(good, n);
    accepted += !refused(good, good_size - 64);
    CHECK(accepted == 0, "%d files that are cut short are read", accepted);
    damage("", 0, 'g', 1, "does not begin with GGUF");
    damage("", 4, 1, 4, "version 1 of GGUF");
    damage("", 4, 0x03000000, 4, "highest byte first");
    damage("", 8, huge, 8, "tensors are more than the file has room for");
    damage("", 16, huge, 8, "keys are more than the file has room for");
    damage("", 16, 12, 8, "");                          /* the rest of the keys are no tensors */
    damage("", 24, huge, 8, "wants");                   /* the length of the first key */
    damage("general.architecture", 0, 77, 4, "unknown type 77");
    damage("general.architecture", 12, 'x', 1, "the architecture \"xpt2\" is not implemented");
    damage("general.architecture", 4, huge, 8, "wants");
    damage("general.name", 0, GGUF_LIST, 4, "");
    damage("gpt2.context_length", 0, GGUF_F32, 4, "is no size");
    damage("gpt2.context_length", 4, 1, 4, "has the shape");
    damage("gpt2.block_count", 4, 3, 4, "config.json asks for it");
    damage("gpt2.block_count", 4, 1, 4, "unexpected tensor");
    damage("gpt2.block_count", 4, 1u << 31, 4, "is no size");
    damage("gpt2.embedding_length", 4, 0, 4, "impossible model");
    damage("gpt2.embedding_lengt", 0, 'x', 1, "\"gpt2.embedding_lengtx\" is not implemented");
    damage("gpt2.attention.layer_norm_epsilon", 4, nan.bits, 4, "no finite number");
    damage("tokenizer.ggml.model", 12, 'b', 1, "a tokenizer of the kind \"bpt2\"");
    damage("tokenizer.ggml.pre", 12, 'x', 1, "this way to cut text is not implemented: xpt-2");
    damage("tokenizer.ggml.tokens", 4, GGUF_LIST, 4, "a list of lists");
    damage("tokenizer.ggml.tokens", 4, GGUF_U32, 4, "");
    damage("tokenizer.ggml.tokens", 8, huge / 8, 8, "more than the file has room for");
    damage("tokenizer.ggml.tokens", 8, 3, 8, "");
    damage("tokenizer.ggml.tokens", 24, 0xFF, 1, "text 0 is not UTF-8");
    damage("tokenizer.ggml.tokens", 24, 0, 1, "text 0 is not UTF-8");
    damage("tokenizer.ggml.token_type", 16, 99, 4, "token 0 is of no known type");
    damage("tokenizer.ggml.token_type", 8, 1000, 8, "");
    damage("tokenizer.ggml.merges", 24, 0xC3, 1, "not UTF-8");
    damage("tokenizer.ggml.merges", 24, 'X', 1, "is not in the vocabulary");
    damage("token_embd.weight", 0, 5, 4, "has 5 dimensions");
    damage("token_embd.weight", 4, 0, 8, "the impossible size 0");
    damage("token_embd.weight", 4, UINT64_C(1) << 62, 8, "the impossible size");
    damage("token_embd.weight", 4, 16, 8, "are no blocks of 32");
    damage("token_embd.weight", 12, 1000, 8, "the one before ends at");
    damage("token_embd.weight", 12, 1u << 31, 8, "does not lie in the file");
    damage("token_embd.weight", 20, 14, 4, "is stored as Q6_K (type 14), which is not read");
    damage("token_embd.weight", 20, 4000, 4, "is stored as an unknown type (type 4000)");
    damage("token_embd.weight", 24, huge + 8 - 32, 8, "does not lie in the file");
    damage("token_embd.weight", 24, 4, 8, "is not aligned");
    damage("token_embd.weight", 24, 32, 8, "the one before ends at");
    damage("position_embd.weight", 24, 0, 8, "the one before ends at");
    damage("position_embd.weigh", 0, 'x', 1, "no tensor \"transformer.wpe.weight\"");
    damage("blk.0.attn_norm.weight", 0, 2, 4, "");
    damage("blk.0.attn_norm.weight", 12, 1, 4, "the one before ends at");       /* its type */
    damage("blk.1.attn_qkv.bia", 0, 'x', 1, "config.json asks for it");
    llm_release_all(good, bad_path);
}
#endif
