/* bench_decode.c: how fast a model speaks, against what the machine's memory allows and against llama2.c.

       build/bench_decode                     single stream in fp32, bf16, q8, q4; batches
       build/bench_decode --llama2c DIR       the same, interleaved with DIR/run (fp32) and DIR/runq (int8)

   One stream at a time is read-bound: every token reads all weights once. So the yardstick is the rate at which this
   machine reads memory, measured in the same run. The model is llama2.c's stories110M in shape (768 channels, 12
   layers, 12 heads, feed-forward 2048, vocabulary 32000, context 1024), with random weights that are also written in
   llama2.c's two formats, so that all do the same work; they say the same tokens. To build the peers in DIR:
       cc -O3 -march=native -fopenmp run.c -o run -lm;  cc -O3 -march=native -fopenmp runq.c -o runq -lm
   (with -Ofast, as its own Makefile has it, run is five times as fast: say which one was measured).
   Rounds take turns, and the best of each counts: other programs on the machine only make things slower. */
#define LLM_SIMD_INSIDE
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "run.h"

enum { GROUP_SIZE = 64 };               /* numbers that share a scale in runq's format */

/* ---- the machine ---- */

/* Best rate of reading 512 MB by all threads, eight streams each: GB/s. */
static double read_rate(const float *x, size_t n) {
    double best = 0;
    for (int round = 0; round < 8; round++) {
        double t = llm_now(), total = 0;
        LLM_OMP(parallel for reduction(+ : total) schedule(static))
        for (size_t piece = 0; piece < 64; piece++) {
            size_t part = n / 64 / 8;
            const float *p = x + piece * (n / 64);
            vreal sum[8] = {{0}};
            for (size_t i = 0; i + VL <= part; i += VL)
                for (size_t s = 0; s < 8; s++) {
                    __builtin_prefetch(p + s * part + i + 256);
                    sum[s] += vload((const llm_real *)(const void *)(p + s * part + i));
                }
            for (int s = 0; s < 8; s++) total += (double)vsum(sum[s]);
        }
        t = llm_now() - t;
        if (total != total) printf("?");            /* the sum is wanted, or the compiler leaves the reading out */
        if ((double)n * 4e-9 / t > best) best = (double)n * 4e-9 / t;
    }
    return best;
}

/* ---- llama2.c's files ---- */

static llm_config stories110m(void) {
    llm_config c = llm_preset("llama2-7b");
    c.V = 32000, c.T = 1024, c.L = 12, c.C = 768, c.H = c.KV = 12, c.D = 64, c.F = 2048, c.tied = true;
    return c;
}
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
/* Whole tokens per second as the peer says, and what it said. */
static double run_peer(const char *dir, const char *program, const char *model, int steps, char *said, size_t room) {
    char *command = llm_format("cd %s && ./%s %s -t 0 -n %d 2>&1", dir, program, model, steps);
    FILE *f = popen(command, "r");
    if (!f) llm_die("check --llama2c", "cannot run %s", command);
    size_t n = fread(said, 1, room - 1, f);
    said[n] = 0;
    pclose(f);
    char *rate = NULL;                  /* its text may hold any byte, '\0' too */
    for (size_t i = 0; i + 14 < n && !rate; i++)
        if (!memcmp(said + i, "achieved tok/s", 14)) rate = said + i;
    if (!rate) llm_die("build run and runq there", "%s said nothing of its speed", command);
    llm_release(command);
    *rate = 0;
    return atof(rate + 15);
}

/* ---- ours ---- */

/* Greedy from token 1 on; the time of the first token is left out, as the peers do. */
static double speak(llm_model *m, int steps, int *said) {
    llm_sampler greedy = llm_sampler_defaults();
    greedy.temperature = 0;
    llm_rng rng = llm_rng_seed(1, 0);
    llm_cache cache = llm_cache_new(m, 1, m->c.T);
    llm_real *logits = llm_alloc((size_t)m->c.V, sizeof *logits);
    int token = 1, row = 0;
    bool want = true;
    double began = 0;
    for (int t = 0; t < steps; t++) {
        llm_cache_step(m, &cache, &token, &row, &t, &want, 1, logits);
        said[t] = token = llm_sample(logits, m->c.V, &greedy, &rng, NULL, 0, NULL);
        if (!t) began = llm_now();
    }
    double seconds = llm_now() - began;
    llm_release(logits);
    llm_cache_free(&cache, m);
    return (steps - 1) / seconds;
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

static struct { const char *llama2c; int64_t steps, rounds, threads; bool single, batch; } s =
    {NULL, 128, 5, 0, true, true};

static void bench_single(const llm_ops *op) {
    static const char *const name[] = {"fp32", "bf16", "q8", "q4"};
    static const double bytes[] = {4, 2, 1.0625, 0.5625};
    llm_model m[4];
    llm_config c = stories110m();
    char folder[] = "/tmp/bench_decode.XXXXXX", *path[2] = {NULL, NULL}, *text = llm_alloc(1 << 20, 1);
    double best[4] = {0}, peer[2] = {0}, numbers = (double)llm_parameters(&c);
    int *said = llm_alloc((size_t)s.steps, sizeof *said);
    for (int i = 0; i < 4; i++) {
        if (i) llm_model_copy(&m[i], &m[0], true);
        else llm_model_init(&m[i], &c, op, 1);
        if (i == 0 && s.llama2c) {
            if (!mkdtemp(folder)) llm_die("check /tmp", "cannot make a folder in /tmp");
            for (int q = 0; q < 2; q++) {
                path[q] = llm_format("%s/%s.bin", folder, q ? "q8" : "fp32");
                write_llama2c(&m[0], path[q], q);
            }
        }
        if (i) llm_quantise(&m[i], (llm_type)i);
    }
    double rate = read_rate((const float *)(const void *)m[0].data, m[0].size);
    for (int round = 0; round < s.rounds; round++) {
        for (int i = 0; i < 4; i++) best[i] = fmax(best[i], speak(&m[i], (int)s.steps, said));
        for (int q = 0; q < 2 && s.llama2c; q++)
            peer[q] = fmax(peer[q], run_peer(s.llama2c, q ? "runq" : "run", path[q], (int)s.steps, text, 1 << 20));
        rate = fmax(rate, read_rate((const float *)(const void *)m[0].data, m[0].size));
    }
    printf("one stream, stories110M's shape (%.1fM parameters), %d tokens, best of %d rounds, %d threads\n",
           numbers / 1e6, (int)s.steps, (int)s.rounds, llm_threads(0));
    printf("memory is read at %.1f GB/s\n", rate);
    printf("| weights | tokens/s | GB/s of weights | share of memory's rate | llama2.c tokens/s | ratio |\n"
           "|---|---|---|---|---|---|\n");
    for (int i = 0; i < 4; i++) {
        double gb = best[i] * numbers * bytes[i] / 1e9, other = i == 0 ? peer[0] : i == 2 ? peer[1] : 0;
        printf("| %s | %.1f | %.1f | %.0f %% | ", name[i], best[i], gb, 100 * gb / rate);
        if (other > 0) printf("%.1f | %.2f |\n", other, best[i] / other);
        else printf("- | - |\n");
    }
    for (int q = 0; q < 2 && s.llama2c; q++) remove(path[q]);
    if (s.llama2c) rmdir(folder);
    for (int i = 0; i < 4; i++) llm_model_free(&m[i]);
    llm_release(text);
    llm_release(said);
}
static void bench_batch(const llm_ops *op) {
    static const int rows[] = {1, 2, 4, 8, 16, 32, 64};
    llm_config c = llm_preset("tiny");
    llm_model m;
    llm_model_init(&m, &c, op, 1);
    printf("batches, the tiny world's model (%.2fM parameters): prompts of 24 tokens, four answers of 40 each\n"
           "| rows |",
           (double)llm_parameters(&c) / 1e6);
    for (int i = 0; i < 7; i++) printf(" %d |", rows[i]);
    printf(" 512 |\n|---|---|---|---|---|---|---|---|---|\n| tokens/s |");
    for (int i = 0; i < 8; i++) {
        double best = 0;
        int n = i < 7 ? rows[i] : 512;
        for (int round = 0; round < 2 * s.rounds; round++) best = fmax(best, speak_together(&m, n, 24, 40));
        printf(" %.0f |", best);
    }
    printf("\n");
    llm_model_free(&m);
}

int main(int argc, char **argv) {
    run_patience(argv);
    llm_option options[] = {
        {"llama2c", LLM_TEXT, &s.llama2c, 0, 0, "folder with llama2.c's run, runq and tokenizer.bin", NULL, NULL},
        {"steps", LLM_INT, &s.steps, 2, 1024, "tokens of a stream", NULL, NULL},
        {"rounds", LLM_INT, &s.rounds, 1, 1000, "of everything; the best counts", NULL, NULL},
        {"threads", LLM_INT, &s.threads, 0, 4096, "0: all cores", NULL, NULL},
        {"single", LLM_BOOL, &s.single, 0, 0, "measure single streams", NULL, NULL},
        {"batch", LLM_BOOL, &s.batch, 0, 0, "measure batches", NULL, NULL},
    };
    llm_options_parse(options, sizeof options / sizeof *options, "how fast a model speaks", argc, argv);
    llm_threads((int)s.threads);
    const llm_ops *op = llm_cpu(llm_precision_best());
    if (s.single) bench_single(op);
    if (s.batch) bench_batch(op);
    return 0;
}
