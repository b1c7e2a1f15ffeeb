/* bench_decode.c: how fast a model speaks and reads, against what the machine allows, llama.cpp and llama2.c.

       build/bench_decode                      everything that is here (make bench)
       build/bench_decode --only prompts       a part: speak, prompts, batches
       LLAMA2_C=~/llama2.c build/bench_decode --torch ~/venv/bin/python

   speak: one stream of 128 tokens is read-bound, since every token reads all weights once. So the yardstick is the
   rate at which this machine reads memory. prompts: 512 tokens at once are bound by products; the yardstick is the
   rate of a product of 1024 x 1024 x 1024 (run_measured) in the same precision, and the work 2 FLOPs for each weight
   of the blocks and token: attention is not counted. Both yardsticks are measured in the same rounds as the rest.

   The model has SmolLM2-135M's shape and random weights, which are also written as GGUF for llama.cpp (a Python wheel
   drives it, test/llama_bench.py; it makes bf16, Q8_0 and Q4_0 of them itself) and in llama2.c's two formats
   (test/llama2c_bench.c includes its run.c and runq.c): so all do the same work. Each contender is a process of its
   own; they take turns, and the best turn of each counts. batches: many rows at once, the tiny world's model, alone. */
#define LLM_SIMD_INSIDE
#define main convert_main
#include "convert.c"                    /* its GGUF writer */
#undef main
#include "run.h"
#include "timed_ops.h"
#include "contenders.h"
#include "peaks.h"

enum { TOKENS = 128, PROMPT = 512, FORMS = 4 };
enum { GROUP_SIZE = 64 };               /* numbers that share a scale in runq's format */

static const struct { const char *name; llm_type type; double bytes; } forms[FORMS] = {
    {"fp32", LLM_TYPE_REAL, 4}, {"bf16", LLM_TYPE_BF16, 2}, {"q8", LLM_TYPE_Q8, 1.0625}, {"q4", LLM_TYPE_Q4, 0.5625}};
/* bf16: its weights are multiplied as bf16; the others as precisely as if they were in fp32. */
static llm_precision precision_of(int form) {
    return forms[form].type == LLM_TYPE_BF16 ? LLM_BF16 : llm_precision_best();
}
static llm_config shape(void) {
    llm_config c = llm_preset("smollm2-135m");
    c.T = 1024;
    c.rope_theta = 10000;               /* as llama2.c has it */
    return c;
}

/* ---- the peers' files ---- */

/* One tensor of all layers. Queries and keys: Hugging Face pairs (j, j + D/2), llama2.c neighbours: rows move. */
static void write_tensor(llm_writer *w, const llm_model *m, const char *name, bool pairs, bool quantised) {
    for (int l = 0; l < (strchr(name, '%') ? m->c.L : 1); l++) {
        char full[96];
        snprintf(full, sizeof full, "%s", name);
        char *at = strchr(full, '%');
        if (at) snprintf(full, sizeof full, "model.layers.%d.%s", l, name + 2);
        const llm_param *p = llm_param_find((llm_model *)m, full);
        if (!p) llm_die(NULL, "no tensor %s", full);
        size_t cols = (size_t)p->cols, D = (size_t)m->c.D;
        float *x = llm_alloc(p->size, sizeof *x);
        for (size_t r = 0; r < (size_t)p->rows; r++) {
            size_t j = r % D, to = pairs ? r - j + (j < D / 2 ? 2 * j : 2 * (j - D / 2) + 1) : r;
            for (size_t c = 0; c < cols; c++) x[to * cols + c] = (float)p->data[r * cols + c];
        }
        if (!quantised) llm_write_bytes(w, x, p->size * sizeof *x);
        else {
            int8_t *q = llm_alloc(p->size, 1);
            float *scale = llm_alloc(p->size / GROUP_SIZE, sizeof *scale);
            for (size_t g = 0; g < p->size / GROUP_SIZE; g++) {
                float top = 0;
                for (size_t i = 0; i < GROUP_SIZE; i++) top = fmaxf(top, fabsf(x[g * GROUP_SIZE + i]));
                scale[g] = top / 127;
                for (size_t i = 0; i < GROUP_SIZE; i++)
                    q[g * GROUP_SIZE + i] = (int8_t)roundf(x[g * GROUP_SIZE + i] / scale[g]);
            }
            llm_write_bytes(w, q, p->size);
            llm_write_bytes(w, scale, p->size / GROUP_SIZE * sizeof *scale);
            llm_release(q);
            llm_release(scale);
        }
        llm_release(x);
    }
}
static void write_llama2c(const llm_model *m, const char *path, bool quantised) {
    static const char *const q = "%.self_attn.q_proj.weight", *const k = "%.self_attn.k_proj.weight";
    static const char *const rest[] = {"%.self_attn.v_proj.weight", "%.self_attn.o_proj.weight"};
    static const char *const ff[] = {"%.mlp.gate_proj.weight", "%.mlp.down_proj.weight", "%.mlp.up_proj.weight"};
    static const char *const norm[] = {"%.input_layernorm.weight", "%.post_attention_layernorm.weight",
                                       "model.norm.weight"};
    const llm_config *c = &m->c;
    int32_t header[7] = {c->C, c->F, c->L, c->H, c->KV, c->V, c->T};
    llm_writer w = llm_write_begin(path);
    if (quantised) {
        uint32_t magic = 0x616b3432, version = 2, group = GROUP_SIZE;
        char rest_of_header[256 - 8 - sizeof header - 1 - 4] = {0}, shared = 1;
        llm_write_bytes(&w, &magic, 4);
        llm_write_bytes(&w, &version, 4);
        llm_write_bytes(&w, header, sizeof header);
        llm_write_bytes(&w, &shared, 1);
        llm_write_bytes(&w, &group, 4);
        llm_write_bytes(&w, rest_of_header, sizeof rest_of_header);
        for (int i = 0; i < 3; i++) write_tensor(&w, m, norm[i], false, false);
    } else llm_write_bytes(&w, header, sizeof header);
    write_tensor(&w, m, "model.embed_tokens.weight", false, quantised);
    if (!quantised) write_tensor(&w, m, norm[0], false, false);
    write_tensor(&w, m, q, true, quantised);
    write_tensor(&w, m, k, true, quantised);
    for (int i = 0; i < 2; i++) write_tensor(&w, m, rest[i], false, quantised);
    if (!quantised) write_tensor(&w, m, norm[1], false, false);
    for (int i = 0; i < 3; i++) write_tensor(&w, m, ff[i], false, quantised);
    if (!quantised) {
        float zero[64] = {0};           /* where old files held tables of cosines and sines */
        write_tensor(&w, m, norm[2], false, false);
        for (int t = 0; t < c->T; t++) llm_write_bytes(&w, zero, (size_t)c->D * sizeof *zero);
    }
    llm_write_done(&w);
}
static void write_gguf(const llm_model *m, const char *path) {
    gguf_tensor *list = llm_alloc((size_t)m->params + 2, sizeof *list);
    const int n = list_tensors(m, list, AS_F32);
    gguf_writer g = {.family = gguf_architecture(&m->c), .counting = true};
    put_header(&g, m, NULL, NULL, list, n, "random", AS_F32);
    g.counting = false;
    g.w = llm_write_begin(path);
    put_header(&g, m, NULL, NULL, list, n, "random", AS_F32);
    for (int i = 0; i < n; i++) put_tensor(&g, &list[i], m);
    llm_write_done(&g.w);
    llm_release(list);
}

/* ---- ours ---- */

typedef struct {
    llm_model m;
    llm_cache cache;
    int tokens[PROMPT], rows[PROMPT], positions[PROMPT];
    bool want[PROMPT];
    llm_real *logits;
} speaker;

/* Both return the last token: who does the same work says the same. */
static double speak(void *self) {
    speaker *s = self;
    llm_sampler greedy = llm_sampler_defaults();
    llm_rng rng = llm_rng_seed(1, 0);
    const bool want = true;
    int token = 1;
    greedy.temperature = 0;
    for (int t = 0; t < TOKENS; t++) {
        llm_cache_step(&s->m, &s->cache, &token, s->rows, &t, &want, 1, s->logits);
        token = llm_sample(s->logits, s->m.c.V, &greedy, &rng, NULL, 0, NULL);
    }
    return token;
}
static double read_prompt(void *self) {
    speaker *s = self;
    llm_cache_step(&s->m, &s->cache, s->tokens, s->rows, s->positions, s->want, PROMPT, s->logits);
    int best = 0;
    for (int i = 1; i < s->m.c.V; i++)
        if (s->logits[i] > s->logits[best]) best = i;
    return best;
}
static int serve(const char *form, bool prompts) {
    speaker *s = llm_alloc(1, sizeof *s);
    llm_config c = shape();
    int f = 0;
    while (f < FORMS - 1 && strcmp(form, forms[f].name)) f++;
    llm_model_init(&s->m, &c, llm_cpu(precision_of(f)), 1);
    if (f) llm_quantise(&s->m, forms[f].type);
    s->cache = llm_cache_new(&s->m, 1, PROMPT);
    s->logits = llm_alloc((size_t)c.V, sizeof *s->logits);
    for (int i = 0; i < PROMPT; i++) s->tokens[i] = (i * 7919 + 1) % c.V, s->positions[i] = i;
    s->want[PROMPT - 1] = true;
    return contender_serve("ours", prompts ? read_prompt : speak, s);
}
/* n rows at once through llm_generate_batch, sampling included: tokens per second of all. */
static double speak_together(llm_model *m, int n, int length, int new_tokens) {
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 1;
    int *ids = llm_alloc((size_t)n * (size_t)(length + new_tokens), sizeof *ids);
    int **out = llm_alloc((size_t)n, sizeof *out);
    const int **prompt = llm_alloc((size_t)n, sizeof *prompt);
    int *lengths = llm_alloc((size_t)n, sizeof *lengths), *out_length = llm_alloc((size_t)n, sizeof *out_length);
    llm_rng r = llm_rng_seed(1, 1);
    for (int i = 0; i < n; i++) {
        int *p = ids + (size_t)i * (size_t)(length + new_tokens);
        for (int t = 0; t < length; t++) p[t] = i % 4 ? p[t - length - new_tokens] : llm_rng_below(&r, m->c.V);
        prompt[i] = p;                  /* four answers to each prompt, as stage 3 asks for them */
        out[i] = p + length;
        lengths[i] = length;
    }
    double t = llm_now();
    llm_generate_batch(m, &s, (llm_request){.prompt = prompt, .length = lengths, .prompts = n, .max_new = new_tokens,
                                            .out = out, .out_length = out_length});
    t = llm_now() - t;
    llm_release_all(ids, out, prompt, lengths, out_length);
    return n * new_tokens / t;
}

/* ---- contenders take turns ---- */

enum { OURS, LLAMACPP, LLAMA2C, WHO };
static const char *const who_name[WHO] = {"ours", "llama.cpp", "llama2.c"};
static struct {
    llm_list only, python;
    const char *llama2c, *serve;
    double seconds;
    int64_t threads;
    bool quick, peers, here[WHO], prompts;
} s = {.serve = "", .seconds = 20, .peers = true};
static double limit[FORMS];             /* bytes read, or FLOPs, a second */
static char *quote;                     /* what a README can quote */
static FILE *quoted;

static void measure_limits(void) {
    for (int f = 0; f < FORMS; f++)
        limit[f] = fmax(limit[f], s.prompts ? run_measured(llm_cpu(precision_of(f)))
                                            : f ? limit[0] : peak_stream(READ, 2));
}
static const char *const file_name[] = {"build/bench_fp32.gguf", "build/bench_bf16.gguf", "build/bench_q8.gguf",
                                        "build/bench_q4.gguf", "build/bench_run.bin", "build/bench_runq.bin"};
static void remove_files(void) {
    for (int i = 0; i < 6; i++) remove(file_name[i]);
}
/* Which peers are here? They get their files, llama.cpp that in fp32. */
static void find_peers(void) {
    llm_model m;
    llm_config c = shape();
    s.here[LLAMACPP] = peer_here("llama.cpp", "pip install cyllama; make bench PYTHON=the python that has it",
                                 llm_format("'%s' test/llama_bench.py 2>/dev/null", peer_python(&s.python)));
    s.here[LLAMA2C] = peer_here("llama2.c",
                                "git clone https://github.com/karpathy/llama2.c; LLAMA2_C=llama2.c make bench",
                                llm_format("%sfor p in run runq; do cc -Ofast -march=native -fopenmp -w -I'%s' "
                                           "-DSOURCE=\"\\\"$p.c\\\"\" test/llama2c_bench.c -o build/llama2c_$p -lm || "
                                           "exit 1; done", *s.llama2c ? "" : "false && ", s.llama2c));
    if (!s.here[LLAMACPP] && !s.here[LLAMA2C]) return;
    remove_files();                     /* of a run that was stopped */
    atexit(remove_files);
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    if (s.here[LLAMACPP]) write_gguf(&m, file_name[0]);
    for (int q = 0; q < 2 && s.here[LLAMA2C]; q++) write_llama2c(&m, file_name[4 + q], q);
    llm_model_free(&m);
}
/* A table, and the same in the line to quote. at: who is which of the contenders x; -1: none. */
static void say_table(const contender *x, int at[FORMS][WHO]) {
    const llm_config c = shape();
    const double numbers = (double)llm_parameters(&c), blocks = numbers - (double)c.V * c.C;
    const int tokens = s.prompts ? PROMPT : TOKENS;
    if (s.prompts) printf("\nprompts of %d tokens at once; a product runs at %.0f GFLOP/s in fp32, %.0f in bf16\n",
                          PROMPT, limit[0] * 1e-9, limit[1] * 1e-9);
    else printf("\none stream of %d tokens; memory is read at %.1f GB/s\n", TOKENS, limit[0] * 1e-9);
    printf("| weights | tokens/s | of that | llama.cpp | ratio | llama2.c | ratio | last token of each |\n"
           "|---|---|---|---|---|---|---|---|\n");
    fprintf(quoted, s.prompts ? "%s reads prompts of 512 (tokens/s, share of the product's rate):"
                              : "%s speaks (tokens/s, share of memory's rate):", ftell(quoted) > 0 ? ";" : "");
    for (int f = 0; f < FORMS; f++) {
        if (at[f][OURS] < 0) continue;
        const double seconds = x[at[f][OURS]].best, rate = tokens / seconds;
        const double share = 100 * rate * (s.prompts ? 2 * blocks : numbers * forms[f].bytes) / limit[f];
        printf("| %s | %.1f | %.0f %% |", forms[f].name, rate, share);
        fprintf(quoted, "%s %s %.0f (%.0f %%", f ? "," : "", forms[f].name, rate, share);
        for (int w = LLAMACPP; w < WHO; w++) {
            const contender *peer = at[f][w] < 0 ? NULL : &x[at[f][w]];
            if (!peer) printf(" - | - |");
            else printf(" %.1f | %.2f |", tokens / peer->best, peer->best / seconds);
            if (peer)
                fprintf(quoted, "; %.2f x %s", peer->best / seconds, f || s.prompts ? who_name[w] : peer->label);
        }
        fprintf(quoted, ")");
        for (int w = 0; w < WHO; w++)
            if (at[f][w] >= 0) printf(" %.0f", x[at[f][w]].loss);
        printf(" |\n");
    }
}
/* All forms of weights, everybody who knows them. */
static void contest(bool prompts) {
    const char *const work = prompts ? "prompts" : "speak";
    contender x[WHO * FORMS];
    int at[FORMS][WHO], n = 0;
    char threads[16];
    s.prompts = prompts;
    memset(limit, 0, sizeof limit);
    snprintf(threads, sizeof threads, "%d", llm_threads(0));
    for (int f = 0; f < FORMS; f++) {
        const char *const ours[] = {"/proc/self/exe", "--serve", forms[f].name, "--only", work, "--threads", threads,
                                    NULL};
        const char *const cpp[] = {peer_python(&s.python), "test/llama_bench.py", file_name[0], file_name[f],
                                   forms[f].name, work, prompts ? "512" : "128", threads, NULL};
        const char *const two[] = {f ? "build/llama2c_runq" : "build/llama2c_run", file_name[f ? 5 : 4], "128", NULL};
        const char *const *const command[WHO] = {ours, cpp, two};
        for (int w = 0; w < WHO; w++) {
            const bool knows = s.here[w] && (w != LLAMA2C || (!prompts && (f == 0 || forms[f].type == LLM_TYPE_Q8)));
            char *name = llm_format("%s %s", who_name[w], forms[f].name);
            at[f][w] = knows && contender_start(&x[n], name, precision_of(f), command[w]) ? n++ : -1;
            llm_release(name);
        }
    }
    contenders_run(x, n, s.seconds, measure_limits);
    say_table(x, at);
}
static void bench_batch(const llm_ops *op) {
    static const int rows[] = {1, 2, 4, 8, 16, 32, 64};
    llm_config c = llm_preset("tiny");
    llm_model m;
    llm_model_init(&m, &c, op, 1);
    printf("\nbatches, the tiny world's model (%.2fM parameters): prompts of 24 tokens, four answers of 40 each\n"
           "| rows |",
           (double)llm_parameters(&c) / 1e6);
    for (int i = 0; i < 7; i++) printf(" %d |", rows[i]);
    printf(" 512 |\n|---|---|---|---|---|---|---|---|---|\n| tokens/s |");
    for (int i = 0; i < 8; i++) {
        double best = 0;
        int n = i < 7 ? rows[i] : 512;
        const double began = llm_now();
        for (int round = 0; round < 2 || llm_now() - began < s.seconds / 8; round++)
            best = fmax(best, speak_together(&m, n, 24, 40));
        printf(" %.0f |", best);
    }
    printf("\n");
    llm_model_free(&m);
}

int main(int argc, char **argv) {
    run_patience(argv);
    s.llama2c = getenv("LLAMA2_C") ? getenv("LLAMA2_C") : "";
    const llm_option table[] = {
        {"only", LLM_LIST, &s.only, 0, 0, "parts: speak, prompts, batches (default: all)", NULL, NULL},
        {"quick", LLM_BOOL, &s.quick, 0, 0, "a few seconds each", NULL, NULL},
        {"peers", LLM_BOOL, &s.peers, 0, 0, "compare with llama.cpp and llama2.c where they are here", NULL, NULL},
        {"torch", LLM_LIST, &s.python, 0, 0, "the Python program that has cyllama (default: $PYTHON or python3)", NULL,
         NULL},
        {"llama2c", LLM_TEXT, &s.llama2c, 0, 0, "a checkout of llama2.c, to compare with (default: $LLAMA2_C)", NULL,
         NULL},
        {"seconds", LLM_FLOAT, &s.seconds, 0.1, 3600, "time of a table, after all have started", NULL, NULL},
        {"threads", LLM_INT, &s.threads, 0, 1024, "0: all", NULL, NULL},
        {"serve", LLM_TEXT, &s.serve, 0, 0, "(internal) be a contender with this form of weights", NULL, NULL},
    };
    llm_options_parse(table, sizeof table / sizeof *table, "how fast a model speaks and reads", argc, argv);
    bench_check_parts(&s.only);
    llm_threads((int)s.threads);
    if (*s.serve) return serve(s.serve, s.only.count && !strcmp(s.only.item[0], "prompts"));
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (s.quick) s.seconds = lower(s.seconds, 4);
    const bool speaks = wants(&s.only, "speak"), reads = wants(&s.only, "prompts");
    s.here[OURS] = true;
    if ((speaks || reads) && s.peers) find_peers();
    size_t size;
    if (!(quoted = open_memstream(&quote, &size))) llm_die(NULL, "out of memory");
    if (speaks || reads) {
        const llm_config c = shape();
        printf("\n%s; a model of SmolLM2-135M's shape (%.1fM parameters), best turn of each, all tokens timed\n",
               bench_machine(), (double)llm_parameters(&c) * 1e-6);
    }
    if (speaks) contest(false);
    if (reads) contest(true);
    if (wants(&s.only, "batches")) bench_batch(llm_cpu(llm_precision_best()));
    fclose(quoted);
    if (*quote) printf("\nREADME: %s: SmolLM2-135M's shape%s\n", bench_machine(), quote);
    return 0;
}
