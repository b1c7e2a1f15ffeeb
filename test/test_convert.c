/* test_convert.c: tools/convert. GGUF files byte for byte against a listing made by an independent writer
   (test/gen/gguf_files.py); adapters merged; token files and ranks of others read back. */
#define main convert_main
#include "../tools/convert.c"
#undef main
#include "../tools/forms.h"
#include "check.h"

static char dir[] = "/tmp/llm_convert_XXXXXX";

/* Run the tool as if from the command line. */
static int convert(const char *const *arguments) {
    char *argv[16] = {"convert"};
    int argc = 1;
    while (arguments[argc - 1] && argc < 15) argv[argc] = (char *)arguments[argc - 1], argc++;
    return convert_main(argc, argv);
}
#define CONVERT(...) convert((const char *const[]){__VA_ARGS__, NULL})
/* 0: it went through; 1: it was refused, check_message says why. */
static int run_tool(const char *const *arguments) {
    volatile int code = 1;
    llm_on_death = check_on_death;
    if (!setjmp(check_jump)) code = convert(arguments);
    llm_on_death = NULL;
    return code;
}
#define RUN(...) run_tool((const char *const[]){__VA_ARGS__, NULL})

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, bytes, f) == bytes, "writing %s", path);
    if (f) fclose(f);
}
/* ---- GGUF ---- */

/* The same formula as in gguf_files.py, in Hugging Face's order: GPT-2's matrices are (inputs, outputs). */
static void fill(llm_model *m) {
    for (int i = 0; i < m->params; i++) {
        llm_param *p = &m->param[i];
        uint64_t z = llm_hash(p->name, strlen(p->name), 0);
        for (size_t k = 0; k < p->size; k++, z += 0x9E3779B97F4A7C15u) {
            size_t rows = (size_t)p->rows, cols = (size_t)p->cols;
            size_t at = p->transposed ? k % rows * cols + k / rows : k;
            p->data[at] = (llm_real)(((double)(z >> 40) - 0x1p23) / 0x1p25);
        }
    }
}
/* A folder DIR/NAME with a model of these sizes and a tokenizer of test/data/tok. */
static char *make_folder(const char *name, const char *tokenizer, llm_config c) {
    char *folder = llm_format("%s/%s", dir, name), *from = llm_format("test/data/tok/%s", tokenizer);
    llm_model m;
    llm_tokenizer t;
    hf_tokenizer_load(&t, from);
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    fill(&m);
    llm_make_dirs(folder);
    llm_result_save(folder, &m, &t);
    llm_model_free(&m);
    llm_tokenizer_free(&t);
    llm_release(from);
    return folder;
}

#include "gguf_cases.h"

/* A GGUF file read with as little trust as it takes to list it. */
typedef struct { const unsigned char *p, *begin, *end; FILE *out; } lister;

static uint64_t take(lister *l, int bytes) {
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0 && l->p + bytes <= l->end; i--) x = x << 8 | l->p[i];
    l->p += bytes;
    return x;
}
static void list_value(lister *l, uint32_t type) {
    const unsigned char *from = l->p;
    uint32_t of = 0;
    uint64_t n = 1;
    if (type == GGUF_LIST) {
        of = (uint32_t)take(l, 4);
        n = take(l, 8);
        from = l->p;
    }
    uint32_t item = type == GGUF_LIST ? of : type;
    for (uint64_t i = 0; i < n && l->p < l->end; i++) {
        uint64_t size = item == GGUF_STRING ? take(l, 8) : item == GGUF_BOOL ? 1 : 4;
        l->p += size;
    }
    size_t bytes = (size_t)(l->p - from);
    if (type == GGUF_LIST) fprintf(l->out, "%u %llu ", of, (unsigned long long)n);
    bool odd = type == GGUF_LIST || (type == GGUF_STRING && (bytes > 72 || memchr(from, '\n', bytes)));
    if (odd) fprintf(l->out, "%016llx", (unsigned long long)llm_hash(from, bytes, 0));
    else if (type == GGUF_STRING) fprintf(l->out, "%.*s", (int)(bytes - 8), (const char *)from + 8);
    else for (size_t i = 0; i < bytes; i++) fprintf(l->out, "%02x", from[i]);
    fputc('\n', l->out);
}
static char *listing(const char *path) {
    size_t size, written;
    char *file = llm_read_file(path, &size), *text = NULL;
    lister l = {(unsigned char *)file + 8, (unsigned char *)file, (unsigned char *)file + size,
                open_memstream(&text, &written)};
    uint64_t tensors = take(&l, 8), keys = take(&l, 8);
    for (uint64_t i = 0; i < keys && l.p < l.end; i++) {
        uint64_t n = take(&l, 8);
        fprintf(l.out, "key %.*s ", (int)n, (const char *)l.p);
        l.p += n;
        uint32_t type = (uint32_t)take(&l, 4);
        fprintf(l.out, "%u ", type);
        list_value(&l, type);
    }
    struct { const char *name; int length, dims; uint64_t size[4], type, at; } *x = llm_alloc(tensors + 1, sizeof *x);
    for (uint64_t i = 0; i < tensors && l.p < l.end; i++) {
        x[i].length = (int)take(&l, 8);
        x[i].name = (const char *)l.p;
        l.p += x[i].length;
        x[i].dims = (int)take(&l, 4);
        for (int d = 0; d < x[i].dims && d < 4; d++) x[i].size[d] = take(&l, 8);
        x[i].type = take(&l, 4);
        x[i].at = take(&l, 8);
    }
    const unsigned char *data = l.begin + (size_t)(l.p - l.begin + 31) / 32 * 32;
    for (uint64_t i = 0; i < tensors; i++) {
        uint64_t n = 1;
        fprintf(l.out, "tensor %.*s", x[i].length, x[i].name);
        for (int d = 0; d < x[i].dims; d++, n *= x[i].size[d - 1])
            fprintf(l.out, " %llu", (unsigned long long)x[i].size[d]);
        n = x[i].type == 0 ? n * 4 : x[i].type == 8 ? n / 32 * 34 : n * 2;
        fprintf(l.out, " type %d at %llu %016llx\n", (int)x[i].type, (unsigned long long)x[i].at,
                (unsigned long long)llm_hash(data + x[i].at, n, 0));
    }
    fprintf(l.out, "file %zu %016llx\n", size, (unsigned long long)llm_hash(file, size, 0));
    fclose(l.out);
    llm_release(file);
    llm_release(x);
    return text;
}
/* Compare with the block "== name type" of the fixture, line by line. */
static void compare(const char *fixture, const char *name, const char *type, char *got) {
    char *head = llm_format("== %s %s\n", name, type);
    const char *want = strstr(fixture, head);
    CHECK(want != NULL, "no block %s", head);
    want = want ? want + strlen(head) : "";
    int lines = 0;
    for (char *line = got, *next; *line; line = next, lines++) {
        size_t n = strcspn(line, "\n"), m = strcspn(want, "\n");
        next = line + n + 1;
        CHECK(n == m && !memcmp(line, want, n), "%s %s\n  wrote  %.*s\n  wanted %.*s", name, type, (int)n, line, (int)m,
              want);
        want += m + (want[m] == '\n');
    }
    CHECK(lines > 20 && (!*want || !strncmp(want, "== ", 3)), "%s %s: %d lines, or too few", name, type, lines);
    llm_release(head);
    free(got);
}
static void test_gguf(void) {
    size_t size;
    char *fixture = llm_read_file("test/data/gguf.txt", &size);
    llm_config gpt2 = {.V = 1001, .T = 16, .L = 2, .C = 32, .H = 2, .KV = 2, .D = 16, .F = 64, .bias = true,
                       .tied = true, .eps = 1e-5, .rope_theta = 10000, .bos = -1, .eos = -1, .pad = -1};
    llm_config base = {.family = LLM_LLAMA, .L = 1, .C = 32, .norm = LLM_RMSNORM, .position = LLM_ROPE, .activation = LLM_SWIGLU,
                       .eps = 1e-5, .rope_theta = 10000, .bos = -1, .eos = -1, .pad = -1};
    llm_config llama = base, llama3 = base, qwen2 = base, llama2 = base;
    llama.V = 1000, llama.T = 32, llama.L = 2, llama.H = 4, llama.KV = 2, llama.D = 8, llama.F = 48;
    llama.rope_theta = 100000;
    llama3.V = 1014, llama3.T = 64, llama3.H = 4, llama3.KV = 1, llama3.D = 8, llama3.F = 64, llama3.tied = true;
    llama3.rope_theta = 20, llama3.rope_scaling = LLM_ROPE_LLAMA3;
    llama3.rope_factor = 4, llama3.rope_low = 1, llama3.rope_high = 2;
    llama3.rope_original = 16;
    qwen2.V = 1011, qwen2.T = 32, qwen2.H = qwen2.KV = 2, qwen2.D = 16, qwen2.F = 64;
    qwen2.family = LLM_QWEN2, qwen2.tied = qwen2.qkv_bias = true;
    llama2.V = 800, llama2.T = 32, llama2.H = llama2.KV = 4, llama2.D = 16, llama2.F = 64;
    llm_config newer[5];                /* 32 channels, as the others */
    static const char *const type[] = {"mistral", "qwen3", "smollm3", "olmo2", "phi3"};
    static const int V[] = {700, 1003, 1014, 602, 800};
    for (int i = 0; i < 5; i++) {
        llm_config *c = &newer[i];
        *c = config_parts(type[i]);
        c->V = V[i], c->T = c->C = 32, c->L = i == 2 ? 4 : 1, c->H = i == 1 ? 2 : 4, c->KV = i == 1 ? 1 : 2;
        c->D = i == 1 ? 24 : 8, c->F = i == 2 ? 32 : 64, c->tied = i == 1 || i == 2, c->rope_theta = 10000;
        c->eps = 1e-5, c->bos = c->eos = c->pad = -1;
    }
    newer[0].rope_scaling = LLM_ROPE_YARN, newer[0].rope_factor = 4, newer[0].rope_original = 8;
    newer[0].rope_low = 1, newer[0].rope_high = 32, newer[0].rope_length = 0.1 * log(4) + 1;
    newer[0].rope_truncate = true, newer[3].rope_scaling = LLM_ROPE_LINEAR, newer[3].rope_factor = 2;
    struct { const char *name, *tokenizer, *types[5]; llm_config c; } all[] = {
        {"mistral", "tekken", {"f32"}, newer[0]}, {"qwen3", "qwen2", {"f32", "q8_0"}, newer[1]},
        {"smollm3", "llama3re", {"f32"}, newer[2]}, {"olmo2", "dolma2", {"f32", "q8_0"}, newer[3]},
        {"phi3", "spm", {"f32"}, newer[4]},
        {"gpt2", "gpt2re", {"f32", "f16", "bf16", "q8_0"}, gpt2},
        {"llama", "digits", {"f32", "f16", "bf16", "q8_0"}, llama},
        {"llama3", "llama3re", {"f32"}, llama3}, {"qwen2", "qwen2", {"f32", "q8_0"}, qwen2},
        {"llama2", "spm", {"f32", "q8_0"}, llama2}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char *folder = make_folder(all[i].name, all[i].tokenizer, all[i].c);
        char *path = llm_format("%s/%s.gguf", dir, all[i].name);
        for (int k = 0; all[i].types[k]; k++) {
            int code = CONVERT("--model", folder, "--out", path, "--type", all[i].types[k], "--overwrite");
            CHECK(code == 0, "exit code %d", code);
            compare(fixture, all[i].name, all[i].types[k], listing(path));
            gguf_reads_back(folder, path, all[i].types[k], all[i].tokenizer);
            if (k == 0) gguf_comes_round(path);
        }
        llm_release(path);
        llm_release(folder);
    }
    llm_release(fixture);
    llm_config odd[3] = {newer[2], newer[0], newer[1]};         /* what llama.cpp does not compute */
    odd[0].no_rope_every = 2, odd[1].rope_high = 8, odd[2].qkv_bias = odd[2].proj_bias = true;
    static const char *const tokenizer[] = {"llama3re", "tekken", "qwen2"};
    static const char *const says[] = {"every fourth layer", "between 1 and 8", "has no biases"};
    for (int i = 0; i < 3; i++) {
        char *folder = make_folder("odd", tokenizer[i], odd[i]), *path = llm_format("%s/odd.gguf", dir);
        CHECK(RUN("--model", folder, "--out", path) == 1 && strstr(check_message, says[i]) && !llm_exists(path),
              "%s: %s", says[i], check_message);
        llm_release_all(folder, path);
    }
}

/* ---- halves ---- */

static void test_halves(void) {
    int wrong = 0;
    for (int h = 0; h < 65536; h++) {   /* each half reads back as itself; the middle goes to the even neighbour */
        bool number = (h >> 10 & 31) != 31;
        float x = f16_to_real((uint16_t)h);
        const int e = h >> 10 & 31, f = h & 1023;
        if (number) wrong += x != ldexpf(e ? 1024 + f : f, (e ? e : 1) - 25) * (h >> 15 ? -1 : 1);
        if (number && real_to_f16(x) != h) wrong++;
        if (!number || (h & 0x7FFF) == 0x7BFF || (h & 1)) continue;
        float next = f16_to_real((uint16_t)(h + 1)), middle = (x + next) / 2;
        wrong += real_to_f16(middle) != h;                       /* h is even */
        wrong += real_to_f16(nextafterf(middle, next)) != h + 1;
    }
    CHECK(wrong == 0, "%d of 65536 halves are rounded wrongly", wrong);
    CHECK(real_to_f16(65519.9f) == 0x7BFF && real_to_f16(65520) == 0x7C00 && real_to_f16(-1e9f) == 0xFC00, "infinity");
    CHECK((real_to_f16(NAN) & 0x7FFF) > 0x7C00, "not a number");
}

/* ---- refusals, and files complete or absent ---- */

static void test_refusals(void) {
    char *folder = llm_format("%s/gpt2", dir), *path = llm_format("%s/x.gguf", dir), *x = llm_format("%s/x", dir);
    CHECK(RUN("--model", folder) == 1, "no --out");
    CHECK(RUN("--out", path) == 1, "nothing to convert");
    CHECK(RUN("--model", folder, "--tiktoken", "x", "--out", path) == 1, "two things at a time");
    CHECK(RUN("--model", folder, "--out", path, "--type", "q3") == 1, "unknown type");
    CHECK(RUN("--model", folder, "--out", path, "--base", folder) == 1, "--base without an adapter");
    CHECK(RUN("--model", "test/data/nowhere", "--out", path) == 1, "no folder");
    CHECK(!llm_exists(path), "nothing was written");
    CHECK(RUN("--model", folder, "--out", path) == 0 && llm_exists(path), "a file");
    CHECK(RUN("--model", folder, "--out", path) == 1, "it exists");
    CHECK(RUN("--model", folder, "--out", path, "--overwrite") == 0, "--overwrite");
    CHECK(RUN("--model", folder, "--out", folder) == 1, "a folder that holds a model");
    /* A weight beyond 65504 does not fit in f16; the old file stays. */
    llm_model m;
    llm_tokenizer t;
    hf_model_load(&m, folder, llm_cpu(LLM_FP32));
    hf_tokenizer_load(&t, folder);
    m.param[0].data[7] = 70000;
    llm_make_dirs(x);
    llm_result_save(x, &m, &t);
    char *before = llm_read_file(path, NULL), *after;
    CHECK(RUN("--model", x, "--out", path, "--overwrite", "--type", "f16") == 1, "beyond f16");
    after = llm_read_file(path, NULL);
    CHECK(!memcmp(before, after, 1000), "the old file is untouched");
    CHECK(RUN("--model", x, "--out", path, "--overwrite", "--type", "bf16") == 0, "bf16 holds it");
    m.param[0].data[7] = NAN;
    llm_result_save(x, &m, &t);
    CHECK(RUN("--model", x, "--out", path, "--overwrite", "--type", "f32") == 1, "no number");
    llm_release(before);
    llm_release(after);
    llm_model_free(&m);
    llm_tokenizer_free(&t);
    llm_release(folder);
    llm_release(path);
    llm_release(x);
}

/* ---- adapters ---- */

static void test_merge(void) {
    static const struct { const char *adapter, *base; } all[] = {
        {"test/data/lora/gpt2", "test/data/models/gpt2-tiny"}, {"test/data/lora/llama", "test/data/models/llama-tiny"}};
    char *tokenizer = llm_format("%s/small", dir);
    llm_make_dirs(tokenizer);
    llm_tokenizer t;
    llm_tokenizer_train(&t, "one two three", 13, 300, false);   /* the models of test/data have none */
    for (int i = 0; i < 2; i++) {
        char *adapter = llm_format("%s/adapter%d", dir, i), *out = llm_format("%s/merged%d", dir, i);
        char *half = llm_format("%s/half%d", dir, i);
        char *command = llm_format("cp -r %s %s", all[i].adapter, adapter);
        CHECK(system(command) == 0, "copy");
        llm_tokenizer_save(&t, adapter);
        CHECK(RUN("--model", adapter, "--base", all[i].base, "--out", out) == 0, "merge %s", all[i].adapter);
        llm_model a, b;
        hf_model_load(&a, all[i].base, llm_cpu(LLM_FP32));
        hf_lora_load(&a, all[i].adapter);
        llm_lora_merge(&a);
        hf_model_load(&b, out, llm_cpu(LLM_FP32));
        CHECK(a.params == b.params && a.size == b.size && !memcmp(a.data, b.data, a.size * sizeof *a.data),
              "%s: the merged folder holds the merged weights", out);
        CHECK(RUN("--model", adapter, "--base", all[i].base, "--out", out) == 1, "a result is there already");
        llm_model_free(&b);
        for (int as = AS_F16; as <= AS_BF16; as++) {    /* the same in 16 bits */
            const char *type = gguf_types[as].name;
            int wrong = 0;
            CHECK(RUN("--model", out, "--out", half, "--type", type, "--overwrite") == 0, "%s", type);
            hf_model_load(&b, half, llm_cpu(LLM_FP32));
            for (int k = 0; k < a.params; k++)
                for (size_t e = 0; e < a.param[k].size; e++) {
                    float x = a.param[k].data[e];
                    x = as == AS_F16 ? f16_to_real(real_to_f16(x)) : bf16_to_real(real_to_bf16(x));
                    wrong += x != b.param[k].data[e];
                }
            CHECK(wrong == 0, "%s: %d weights are not the nearest", type, wrong);
            llm_model_free(&b);
        }
        char *config = llm_format("%s/config.json", half), *text = llm_read_file(config, NULL);
        CHECK(strstr(text, "\"torch_dtype\": \"bfloat16\""), "config.json says so");
        CHECK(RUN("--model", out, "--out", half, "--type", "q8_0", "--overwrite") == 1, "no folder with 8 bits");
        llm_release(config);
        llm_release(text);
        llm_model_free(&a);
        llm_release(half);
        llm_release(adapter);
        llm_release(out);
        llm_release(command);
    }
    llm_tokenizer_free(&t);
    llm_release(tokenizer);
}

/* ---- token files ---- */

static void test_tokens(void) {
    static const char *const text[] = {"The cat sat.\n\nOn \"the\" mat\t\\ and caf\xC3\xA9.", "Second document",
                                       "3rd, \xF0\x9F\x90\x88!"};
    static const char tok[] = "test/data/tok/gpt2re";
    llm_tokenizer t;
    hf_tokenizer_load(&t, tok);
    int32_t header[256] = {20240520, 1};
    uint16_t narrow[512];
    uint32_t wide[512];
    int n = 0, ids[256];
    for (int i = 0; i < 3; i++) {
        narrow[n] = (uint16_t)t.bos, wide[n++] = (uint32_t)t.bos;
        int count = (int)llm_encode(&t, text[i], strlen(text[i]), ids);
        for (int k = 0; k < count; k++) narrow[n] = (uint16_t)ids[k], wide[n++] = (uint32_t)ids[k];
    }
    size_t room = sizeof header + sizeof wide;
    char *path = llm_format("%s/tokens.bin", dir), *out = llm_format("%s/tokens.jsonl", dir);
    char *bytes = llm_alloc(room, 1);
    for (int form = 0; form < 3; form++) {      /* nanoGPT, llm.c's GPT-2 and Llama 3 */
        size_t at = form ? sizeof header : 0, width = form == 2 ? 4 : 2;
        header[0] = form == 2 ? 20240801 : 20240520;
        header[1] = form == 2 ? 7 : 1;
        header[2] = n;
        memcpy(bytes, header, at);
        memcpy(bytes + at, form == 2 ? (void *)wide : narrow, (size_t)n * width);
        write_file(path, bytes, at + (size_t)n * width);
        CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out, "--overwrite") == 0, "form %d", form);
        llm_records r;
        forms_read(&r, (const char *const[]){out}, 1, NULL, false);
        CHECK(r.count == 3, "form %d: %d documents", form, r.count);
        for (int i = 0; i < r.count && i < 3; i++)
            CHECK(!strcmp(r.record[i].message[0].text, text[i]), "form %d: '%s'", form, r.record[i].message[0].text);
        forms_free(&r);
        write_file(path, bytes, at + (size_t)n * width - 1);
        CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out, "--overwrite") == 1, "cut short");
    }
    memcpy(bytes, (int32_t[]){20240801, 7, n - 1}, 12);     /* the third form, one token more than it says */
    memcpy(bytes + sizeof header, wide, (size_t)n * 4);
    write_file(path, bytes, sizeof header + (size_t)n * 4);
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out, "--overwrite") == 1, "more than the header says");
    CHECK(RUN("--tokens", path, "--out", out, "--overwrite") == 1, "no tokenizer");
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", dir) == 1, "no .jsonl");
    unlink(out);
    narrow[3] = 40000;
    write_file(path, narrow, (size_t)n * 2);
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out) == 1, "an id beyond the vocabulary");
    CHECK(!llm_exists(out), "and nothing is written");
    write_file(path, "", 0);
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out) == 1, "an empty file");
    header[1] = 9;
    write_file(path, header, sizeof header);
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out) == 1, "an unknown version");
    llm_tokenizer_free(&t);
    llm_release(bytes);
    llm_release(path);
    llm_release(out);
}

/* A document ends where its end is said, though no token opens the next. */
static void test_documents(void) {
    static const char tok[] = "test/data/tok/llama3re";
    char *path = llm_format("%s/ends.bin", dir), *out = llm_format("%s/ends.jsonl", dir);
    llm_tokenizer t;
    uint16_t id[64];
    int ids[32], n = 0;
    hf_tokenizer_load(&t, tok);
    CHECK(document_opener(&t) != t.eos, "what opens a text is not what ends it");
    for (int i = 0; i < 3; i++) {
        int count = (int)llm_encode(&t, "a text", 6, ids);
        for (int k = 0; k < count; k++) id[n++] = (uint16_t)ids[k];
        id[n++] = (uint16_t)t.eos;
    }
    write_file(path, id, (size_t)n * 2);
    CHECK(RUN("--tokens", path, "--tokenizer", tok, "--out", out) == 0, "no openers");
    char *text = llm_read_file(out, NULL);
    CHECK(!strcmp(text, "{\"text\": \"a text\"}\n{\"text\": \"a text\"}\n{\"text\": \"a text\"}\n"), "three: %s", text);
    llm_tokenizer_free(&t);
    llm_release_all(path, out, text);
}

/* ---- tokens that are added: their rows are the mean of the others ---- */

static void test_add_tokens(void) {
    char *from = llm_format("%s/gpt2", dir), *to = llm_format("%s/grown", dir);
    llm_model a, b;
    llm_tokenizer t;
    CHECK(RUN("--model", from, "--add-tokens", "--out", to) == 0, "--add-tokens");
    hf_model_load(&a, from, llm_cpu(LLM_FP32));
    hf_model_load(&b, to, llm_cpu(LLM_FP32));
    hf_tokenizer_load(&t, to);
    CHECK(a.c.V == 1001 && b.c.V == 1005 && t.vocab_size == 1005, "%d rows, %d tokens", b.c.V, t.vocab_size);
    CHECK(!memcmp(a.wte->data, b.wte->data, a.wte->size * sizeof *a.wte->data), "the rows that were there stay");
    double worst = 0;
    for (int c = 0; c < a.c.C && b.c.V == 1005; c++) {
        double mean = 0;
        for (int v = 0; v < a.c.V; v++) mean += (double)a.wte->data[v * a.c.C + c] / a.c.V;
        for (int v = a.c.V; v < b.c.V; v++) worst = fmax(worst, fabs((double)b.wte->data[v * a.c.C + c] - mean));
    }
    CHECK(worst < 1e-7, "new rows are %g from the mean", worst);
    llm_model_free(&a);
    llm_model_free(&b);
    llm_tokenizer_free(&t);
    llm_release_all(from, to);
}

/* ---- adapters are read with the base that they name: neither is replaced ---- */

static void test_base_stays(void) {
    char *nest = llm_format("%s/nest", dir), *base = llm_format("%s/base", nest), *lora = llm_format("%s/onbase", dir);
    char *config = llm_format("%s/adapter_config.json", lora);
    char *text = llm_format("{\"base_model_name_or_path\": \"%s\"}", base);
    llm_make_dirs(base);
    llm_make_dirs(lora);
    write_file(config, text, strlen(text));
    CHECK(RUN("--model", lora, "--out", base) == 1 && strstr(check_message, "is an input"), "%s", check_message);
    CHECK(RUN("--model", lora, "--out", nest, "--overwrite") == 1 && strstr(check_message, "holds an input"), "%s",
          check_message);
    llm_release_all(nest, base, lora, config, text);
}

/* ---- ranks ---- */

static void base64(FILE *f, const unsigned char *s, int n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < n; i += 3) {
        uint32_t x = (uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
        fprintf(f, "%c%c%c%c", digit[x >> 18], digit[x >> 12 & 63], i + 1 < n ? digit[x >> 6 & 63] : '=',
                i + 2 < n ? digit[x & 63] : '=');
    }
}
/* A tokenizer of ours written down as ranks and read back cuts every text into the same ids. */
static void test_ranks(void) {
    size_t size, n, m;
    char *text = llm_read_file("test/test_convert.c", &size), *path = llm_format("%s/ranks.tiktoken", dir);
    char *out = llm_format("%s/ranked", dir);
    llm_tokenizer t, u;
    llm_tokenizer_train(&t, text, size, 700, false);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < t.vocab_size - 5; i++) {
        base64(f, (const unsigned char *)t.token[i], t.length[i]);
        fprintf(f, " %d\n", i);
    }
    fclose(f);
    CHECK(RUN("--tiktoken", path, "--out", out) == 1, "the family must be said");
    CHECK(RUN("--tiktoken", path, "--split", "gpt2", "--out", out) == 0, "ranks");
    CHECK(RUN("--tiktoken", path, "--split", "gpt2", "--out", out) == 1, "a tokenizer is there already");
    hf_tokenizer_load(&u, out);
    CHECK(u.vocab_size == t.vocab_size - 4 && u.eos == t.vocab_size - 5, "%d tokens, eos %d", u.vocab_size, u.eos);
    int *a = llm_alloc(size + 1, sizeof *a), *b = llm_alloc(size + 1, sizeof *b);
    n = llm_encode(&t, text, size, a);
    m = llm_encode(&u, text, size, b);
    CHECK(n == m && !memcmp(a, b, n * sizeof *a), "the same ids: %zu and %zu", n, m);
    llm_tokenizer_free(&u);
    CHECK(RUN("--tiktoken", path, "--split", "llama3", "--out", out, "--overwrite") == 0, "as Llama 3");
    hf_tokenizer_load(&u, out);
    CHECK(u.split == HF_SPLIT_LLAMA3 && u.vocab_size == t.vocab_size - 5 + 256, "%d tokens", u.vocab_size);
    CHECK(u.opens == u.bos && u.opens == t.vocab_size - 5, "<|begin_of_text|> opens a text: %d", u.opens);
    CHECK(llm_token_id(&u, "<|eot_id|>") == t.vocab_size - 5 + 9, "<|eot_id|> is the tenth");
    CHECK(llm_token_id(&u, "<|reserved_special_token_247|>") == u.vocab_size - 1, "the last reserved one");
    static const char *const broken[] = {"QQ== 0\nQQ== 1\n", "QQ== 0\nQg== 2\n", "Q 0\n", "QQ==\n", "QQ== x\n", "",
                                         "QQ== 0\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        write_file(path, broken[i], strlen(broken[i]));
        CHECK(RUN("--tiktoken", path, "--split", "gpt2", "--out", out, "--overwrite") == 1, "broken ranks %zu", i);
    }
    for (int length = 1024; length <= 1025; length++) {         /* one of 200,000 bytes took minutes */
        f = fopen(path, "w");
        unsigned char every[1025];
        for (int i = 0; i < 1025; i++) every[i] = (unsigned char)i;
        for (int i = 0; i < 256; i++) {
            base64(f, every + i, 1);
            fprintf(f, " %d\n", i);
        }
        base64(f, every, length);
        fprintf(f, " 256\n");
        fclose(f);
        int refused = RUN("--tiktoken", path, "--split", "gpt2", "--out", out, "--overwrite");
        CHECK(refused == (length > 1024), "a token of %d bytes: %d", length, refused);
    }
    llm_tokenizer_free(&t);
    llm_tokenizer_free(&u);
    llm_release(a);
    llm_release(b);
    llm_release(text);
    llm_release(path);
    llm_release(out);
}

/* The halves of a token stand by their ranks, whatever their lengths: abcd is abc d before it is ab cd. */
static void test_rank_order(void) {
    static const char *const more[] = {"bc", "abc", "ab", "cd", "abcd"};
    char *path = llm_format("%s/order.tiktoken", dir), *out = llm_format("%s/ordered", dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 261; i++) {
        const char *s = i < 256 ? (char[]){(char)i} : more[i - 256];
        base64(f, (const unsigned char *)s, i < 256 ? 1 : (int)strlen(s));
        fprintf(f, " %d\n", i);
    }
    fclose(f);
    CHECK(RUN("--tiktoken", path, "--split", "gpt2", "--out", out) == 0, "ranks");
    char *file = llm_format("%s/tokenizer.json", out), *text = llm_read_file(file, NULL);
    const char *merges = strstr(text, "\"merges\"");
    const char *first = strstr(merges, "\"abc d\""), *second = strstr(merges, "\"ab cd\"");
    CHECK(first && second && first < second, "%s", merges);
    llm_release_all(path, out, file, text);
}

int main(void) {
    if (!mkdtemp(dir)) return 1;
    if (!freopen("/dev/null", "w", stderr)) return 1;          /* the tool's chatter */
    test_gguf();
    test_families();
    test_blocks();
    char *damaged = llm_format("%s/gpt2.gguf", dir);
    test_damage(damaged);
    llm_release(damaged);
    test_halves();
    test_refusals();
    test_merge();
    test_tokens();
    test_documents();
    test_add_tokens();
    test_base_stays();
    test_ranks();
    test_rank_order();
    remove_tree(dir);
    return checks_done();
}
