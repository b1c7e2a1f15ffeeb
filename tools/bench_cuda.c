/* bench_cuda.c: how fast is it on a GPU, and how fast could it be?

       build/gpu_bench --torch python3 --markdown out/gpu.md      everything (test/test_gpu.sh, make test_gpu)
       build/gpu_bench --only step "attention forward"            works that begin so
       build/gpu_bench --once "step gpt2-124m 64 1024 1"          one work, once, in this process: for profilers

   A work is a line of text:

       copy BYTES                                  within the GPU's memory
       product forward|dinp|dw N IN OUT            of a linear layer
       attention forward|backward B T H KV D       causal, one text a row
       step MODEL B T [LAYERS]                     forward, backward, gradient norm, AdamW
       decode MODEL ROWS PAST                      one more token for each row; the logits come to the host
       speak MODEL ROWS PROMPT NEW                 whole answers, drawn at temperature 1
       profile MODEL B T [LAYERS [OFFLOAD]]        a step with a clock around each operation; OFFLOAD 1: AdamW's moments
                                                   in the host's memory; LAYERS 0: the model's own

   The contenders, this code and PyTorch (test/torch_cuda.py), are processes of their own. They take turns at each work,
   a block of runs each, and the median of the blocks counts: whatever slows the card for a while hits both. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "options.h"
#include "timed_ops.h"
#include "contenders.h"
#include "gpu.h"
#include <signal.h>

int llm_cuda_devices(char *text, size_t size);
const llm_ops *llm_cuda(llm_precision p);
/* Of CUDA's own interface: what a C program needs without its headers. */
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind);
int cudaDeviceSynchronize(void);
enum { DEVICE_TO_DEVICE = 3 };

static const char *const works[] = {
    "copy 1073741824", "product forward 8192 8192 8192",
    "step gpt2-124m 32 1024", "step gpt2-124m 64 1024", "step llama3.2-1b 8 2048",
    "decode gpt2-124m 1 512", "decode gpt2-124m 64 512", "speak gpt2-124m 1 32 256", "speak gpt2-124m 64 32 256",
    "attention forward 64 1024 12 12 64", "attention backward 64 1024 12 12 64",
    "attention forward 8 2048 32 8 64", "attention backward 8 2048 32 8 64",
    "attention forward 4 4096 16 16 128", "attention backward 4 4096 16 16 128",
    "product forward 65536 768 2304", "product dinp 65536 768 2304", "product dw 65536 768 2304",
    "product dw 65536 768 768", "product forward 65536 3072 768", "product forward 8192 768 50257",
    "profile gpt2-124m 64 1024", "profile llama3.2-1b 8 2048", "profile gpt2-124m 64 1024 0 1",
};
/* So small that the emulated GPU does them in seconds: is every part of this program right? */
static const char *const tiny_works[] = {
    "copy 4096", "product forward 8 16 24", "product dinp 8 16 24", "product dw 8 16 24", "step gpt-tiny 1 8 1",
    "step nano 1 8 1", "decode nano 2 8", "speak nano 2 4 3", "attention forward 1 16 2 1 32",
    "attention backward 1 16 2 1 32", "profile nano 1 8 1", "profile nano 1 8 1 1",
};

/* ---- what is asked ---- */

typedef enum { COPY, PRODUCT, ATTENTION, STEP, DECODE, SPEAK, PROFILE } work_kind;
static const char *const kind_name[] = {"copy", "product", "attention", "step", "decode", "speak", "profile"};
typedef struct {
    work_kind kind;
    char word[32];                      /* forward, backward, dinp, dw; the model's name */
    size_t n[5];
} work;

static work work_read(const char *text) {
    static const int numbers[] = {1, 3, 5, 2, 2, 3, 2};
    char kind[16] = "";
    work w = {.n = {0}};
    int at = 0, count = 0;
    sscanf(text, "%15s%n", kind, &at);
    for (w.kind = COPY; w.kind < PROFILE && strcmp(kind, kind_name[w.kind]);) w.kind++;
    if (w.kind != COPY) {
        int more = 0;
        sscanf(text + at, "%31s%n", w.word, &more);
        at += more;
    }
    for (int more; count < 5 && sscanf(text + at, "%zu%n", &w.n[count], &more) == 1; at += more) count++;
    if (strcmp(kind, kind_name[w.kind]) || count < numbers[w.kind])
        llm_die("one of those at the top of tools/bench_cuda.c", "no work: \"%s\"", text);
    return w;
}
static llm_config work_config(const work *w) {
    llm_config c = llm_preset(w->word);
    const bool speaks = w->kind == DECODE || w->kind == SPEAK;
    c.T = speaks ? (int)(w->n[1] + w->n[2] + 64) : (int)w->n[1];
    if (!speaks && w->n[2]) c.L = (int)w->n[2];
    return c;
}
/* FLOPs that the work needs: attention's masked half and what is computed twice do not count (chapter 11). */
static double work_flops(const work *w) {
    const double a = (double)w->n[0], b = (double)w->n[1], c = (double)w->n[2];
    if (w->kind == PRODUCT) return 2 * a * b * c;
    if (w->kind == ATTENTION)
        return 2 * a * b * b * c * (double)w->n[4] * (strcmp(w->word, "forward") ? 2.5 : 1);
    if (w->kind != STEP && w->kind != PROFILE) return 0;
    const llm_config g = work_config(w);
    return a * b * llm_plan_make(&g, &llm_plain, (int)a, (int)b, true, LLM_KEEP_MOST, false).flops_per_token;
}
/* As Chowdhery et al. (2022, "PaLM", appendix B) count: attention as if nothing were masked. */
static double work_flops_unmasked(const work *w) {
    const llm_config g = work_config(w);
    const double N = (double)w->n[0] * (double)w->n[1];
    return work_flops(w) + N * 6.0 * g.L * (double)w->n[1] * g.H * g.D;
}
static double work_tokens(const work *w) {
    const double a = (double)w->n[0];
    if (w->kind == STEP) return a * (double)w->n[1];
    return w->kind == DECODE ? a : w->kind == SPEAK ? a * (double)w->n[2] : 0;
}
/* Bytes that must move: for decoding all weights and the keys and values of the past, in bf16. */
static double work_bytes(const work *w) {
    if (w->kind == COPY) return 2.0 * (double)w->n[0];
    if (w->kind != DECODE) return 0;
    const llm_config c = work_config(w);
    return 2.0 * (double)llm_parameters(&c) + 4.0 * (double)(w->n[0] * w->n[1]) * c.L * c.KV * c.D;
}

/* ---- our contender: one work at a time lies ready on the GPU ---- */

static llm_ops ops;
static struct {
    char text[128];                     /* "": none */
    work w;
    void *x[6];                         /* device memory */
    llm_model m; llm_adamw o; llm_batch b;
    llm_real *logp, *dlogp, *logits;
    llm_cache cache;
    int *token, *row, *position;
    bool *want;
    int **answer, *answer_length, *length;
    const int **prompt;
    bool fresh;                         /* it has not run since its memory was taken */
    double loss;
} now;

static double draw(llm_rng *r) { return 3.4641 * (llm_rng_uniform(r) - 0.5); }
/* n random numbers between -1 and 1, as the table stores activations. */
static void *device_random(size_t n) {
    enum { PIECE = 1 << 20 };
    static float x[PIECE];
    static uint16_t half[PIECE];
    llm_rng r = llm_rng_seed(1, n);
    const size_t size = ops.act_size;
    for (int i = 0; i < PIECE; i++) half[i] = real_to_bf16(x[i] = 2 * (float)llm_rng_uniform(&r) - 1);
    char *p = device_alloc(&ops, n, size, "a work");
    for (size_t at = 0; at < n; at += PIECE)
        ops.upload(p + at * size, size == 2 ? (void *)half : x, llm_min(n - at, (size_t)PIECE) * size);
    return p;
}
static llm_act *act(int i) { return now.x[i]; }
static llm_weight weight(int i) {
    const bool half = ops.act_size == 2;
    return (llm_weight){.data = now.x[i], .type = half ? LLM_TYPE_BF16 : LLM_TYPE_REAL};
}
/* Random weights in much less time than llm_model_init's normal ones take. */
static void begin_model(const llm_ops *table, bool learns) {
    const llm_config c = work_config(&now.w);
    model_allocate(&now.m, &c, table, LLM_TYPE_REAL);
    for (int i = 0; i < now.m.params; i++) param_draw(table, &now.m.param[i], 1, draw);
    llm_weights_changed(&now.m);
    if (learns) llm_model_train(&now.m);
    else now.m.frozen = true;
}
static void begin_step(const llm_ops *table) {
    const size_t B = now.w.n[0], T = now.w.n[1], N = B * T;
    begin_model(table, true);
    now.o = llm_adamw_defaults();
    now.o.offload = now.w.n[3];
    now.b = llm_batch_new((int)B, (int)T);
    now.logp = llm_alloc(N, sizeof(llm_real));
    now.dlogp = llm_alloc(N, sizeof(llm_real));
    llm_rng r = llm_rng_seed(1, 0);
    for (size_t i = 0; i < N; i++) {
        now.b.tokens[i] = llm_rng_below(&r, now.m.c.V);
        now.b.targets[i] = llm_rng_below(&r, now.m.c.V);
        now.b.positions[i] = (int)(i % T);
        now.dlogp[i] = (llm_real)(-1.0 / (double)N);
    }
}
static void begin_speaking(void) {
    const size_t rows = now.w.n[0], past = now.w.n[1], more = now.w.n[2] + 1;
    begin_model(&ops, false);
    now.token = llm_alloc(rows * (past + more), sizeof(int));
    now.row = llm_alloc(rows, sizeof(int));
    now.position = llm_alloc(rows, sizeof(int));
    now.want = llm_alloc(rows, sizeof(bool));
    now.logits = llm_alloc(rows * (size_t)now.m.c.V, sizeof(llm_real));
    now.prompt = llm_alloc(rows, sizeof *now.prompt);
    now.answer = llm_alloc(rows, sizeof *now.answer);
    now.answer_length = llm_alloc(rows, sizeof(int));
    now.length = llm_alloc(rows, sizeof(int));
    llm_rng r = llm_rng_seed(1, 1);
    for (size_t i = 0; i < rows * (past + more); i++) now.token[i] = llm_rng_below(&r, now.m.c.V);
    for (size_t i = 0; i < rows; i++) {
        now.row[i] = (int)i, now.position[i] = (int)past, now.want[i] = true;
        now.prompt[i] = now.token + i * (past + more), now.length[i] = (int)past;
        now.answer[i] = now.token + i * (past + more) + past;
    }
    if (now.w.kind == DECODE) now.cache = llm_cache_new(&now.m, rows, (size_t)now.m.c.T);
}
static void begin(const char *text) {
    const size_t *n = now.w.n;
    snprintf(now.text, sizeof now.text, "%s", text);
    now.fresh = true;
    if (now.w.kind == COPY)
        for (int i = 0; i < 2; i++) now.x[i] = device_alloc(&ops, n[0], 1, "a work");
    if (now.w.kind == PRODUCT) {
        now.x[0] = device_random(n[0] * n[1]);                          /* inp, dinp */
        now.x[1] = device_random(n[1] * n[2]);                          /* w */
        now.x[2] = device_random(n[0] * n[2]);                          /* out, dout */
        now.x[3] = device_alloc(&ops, n[1] * n[2], sizeof(llm_real), "a work");         /* dw */
    }
    if (now.w.kind == ATTENTION) {
        const size_t N = n[0] * n[1], wide = (n[2] + 2 * n[3]) * n[4];
        now.x[0] = device_random(N * wide);                             /* qkv */
        now.x[1] = device_random(N * n[2] * n[4]);                      /* dout */
        now.x[2] = device_alloc(&ops, N * n[2] * n[4], ops.act_size, "a work");         /* out */
        now.x[3] = device_alloc(&ops, N * n[2], sizeof(llm_real), "a work");            /* lse */
        now.x[4] = device_alloc(&ops, N, sizeof(int), "a work");                        /* start: 0 */
        now.x[5] = device_alloc(&ops, N * wide, ops.act_size, "a work");                /* dqkv */
        ops.attention_forward(act(2), now.x[3], act(0), now.x[4], n[0], n[1], n[2], n[3], n[4]);
    }
    if (now.w.kind == STEP) begin_step(&ops);
    if (now.w.kind == DECODE || now.w.kind == SPEAK) begin_speaking();
}
static void run_product(void) {
    const size_t *n = now.w.n;
    const llm_weight none = {0};
    if (!strcmp(now.w.word, "forward")) ops.linear_forward(act(2), act(0), weight(1), none, n[0], n[1], n[2]);
    else if (!strcmp(now.w.word, "dinp"))
        ops.linear_backward(act(0), NULL, NULL, act(2), NULL, weight(1), n[0], n[1], n[2], false);
    else ops.linear_backward(NULL, now.x[3], NULL, act(2), act(0), weight(1), n[0], n[1], n[2], false);
}
static void run_once(void) {
    const size_t *n = now.w.n;
    if (now.w.kind == COPY) cudaMemcpy(now.x[1], now.x[0], n[0], DEVICE_TO_DEVICE);
    if (now.w.kind == PRODUCT) run_product();
    if (now.w.kind == ATTENTION && !strcmp(now.w.word, "forward"))
        ops.attention_forward(act(2), now.x[3], act(0), now.x[4], n[0], n[1], n[2], n[3], n[4]);
    else if (now.w.kind == ATTENTION)
        ops.attention_backward(act(5), act(1), act(2), now.x[3], act(0), now.x[4], n[0], n[1], n[2], n[3], n[4]);
    if (now.w.kind == STEP || now.w.kind == PROFILE) {
        llm_forward_backward(&now.m, &now.b, now.dlogp, now.logp);
        llm_adamw_step(&now.o, &now.m, 1e-4);                           /* waits: logp is here */
    }
    if (now.w.kind == DECODE)
        llm_cache_step(&now.m, &now.cache, now.token, now.row, now.position, now.want, n[0], now.logits);
    if (now.w.kind == SPEAK) {
        llm_sampler s = llm_sampler_defaults();
        s.temperature = 1;
        llm_generate_batch(&now.m, &s, (llm_request){.prompt = now.prompt, .length = now.length, .prompts = (int)n[0],
                           .max_new = (int)n[2], .out = now.answer, .out_length = now.answer_length});
    }
}
static void wait_for_all(void) {
    ops.wait();
    cudaDeviceSynchronize();
}
/* Seconds of one of `times` runs. */
static double run_block(int times) {
    if (now.fresh) run_once();
    now.fresh = false;
    wait_for_all();
    const double since = llm_now();
    for (int i = 0; i < times; i++) run_once();
    wait_for_all();
    const double seconds = (llm_now() - since) / times;
    if (now.w.kind == STEP) {
        now.loss = 0;
        for (size_t i = 0; i < llm_places(&now.b); i++) now.loss -= (double)now.logp[i] / (double)llm_places(&now.b);
    }
    return seconds;
}
/* GiB of the model that takes steps, as planned. */
static double gib_planned(void) {
    if (now.w.kind != STEP) return 0;
    const llm_plan p = llm_plan_make(&now.m.c, &ops, now.b.B, now.b.T, true, LLM_KEEP_MOST, false);
    return p.total / (1 << 30);
}
static void end(void) {
    wait_for_all();
    for (int i = 0; i < 6; i++) device_release(&ops, now.x[i]);
    if (now.o.m) llm_adamw_free(&now.o, &now.m);
    if (now.cache.memory) llm_cache_free(&now.cache, &now.m);
    llm_model_free(&now.m);
    llm_batch_free(&now.b);
    llm_release_all(now.logp, now.dlogp, now.logits, now.token, now.row, now.position, now.want, now.answer,
                    now.answer_length, now.length, (void *)now.prompt);
    memset(&now, 0, sizeof now);
}
/* Activations go; the weights stay, unless they take so much that the other contender might not find room. */
static void rest(void) {
    if (now.w.kind != STEP) return;
    if (now.m.size > 500000000) {
        end();
        return;
    }
    device_release(&ops, now.m.pool);
    now.m.pool = NULL;
    now.m.pool_bytes = 0;
    now.fresh = true;
}
static bool table_speaks(void) { return ops.cache_attention != llm_plain.cache_attention; }
/* The table. What it does not have yet, a plain row stands for; it is never called. */
static void open_table(llm_precision p) {
    ops = *llm_cuda(p);
    if (!ops.cache_attention) ops.cache_attention = llm_plain.cache_attention, ops.cache_copy = llm_plain.cache_copy;
}
/* Lines "TIMES WORK" are answered with "seconds loss GiB", or "no REASON"; "rest" and "0" with nothing. */
static int serve(llm_precision p) {
    char line[160];
    open_table(p);
    printf("ready ours %s\n", llm_precision_name(p));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "0\n")) {
        int times = 0, at = 0;
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "rest")) {
            rest();
            continue;
        }
        if (sscanf(line, "%d %n", &times, &at) != 1) llm_die(NULL, "no question: \"%s\"", line);
        const work w = work_read(line + at);
        if ((w.kind == DECODE || w.kind == SPEAK) && !table_speaks()) printf("no the table has no rows for speaking\n");
        else {
            if (strcmp(now.text, line + at)) {
                end();
                now.w = w;
                begin(line + at);
            }
            const double seconds = run_block(times);
            printf("%.9g %.6f %.3f\n", seconds, now.loss, gib_planned());
        }
        fflush(stdout);
    }
    return 0;
}

/* ---- the contest ---- */

enum { TURNS = 16 };
typedef struct {
    contender *who;
    char name[96], text[140];           /* for the table; what it is asked */
    char no[128];                       /* why not */
    double seconds[TURNS], loss, gib, median;
    int turns, times;
} entrant;

static double peak, copy_rate;          /* FLOP/s; bytes/s. 0: not known (yet) */
static const char *peak_from;
static bool tiny;
static int stopped;                     /* works in which our own contender ended */
static FILE *table;

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void take_turn(entrant *e) {
    char question[180], answer[256] = "";
    snprintf(question, sizeof question, "%d %s", llm_max(e->times, 1), e->text);
    if (!contender_ask(e->who, question, answer, sizeof answer)) {
        snprintf(e->no, sizeof e->no, "stopped in the middle");
        contender_end(e->who);
        e->who->pid = 0;
        return;
    }
    double seconds;
    if (sscanf(answer, "no %127[^\n]", e->no) == 1) return;
    if (sscanf(answer, "%lf %lf %lf", &seconds, &e->loss, &e->gib) != 3 || !(seconds > 0)) {
        snprintf(e->no, sizeof e->no, "answered %.100s", answer);
        return;
    }
    if (e->times) e->seconds[e->turns++] = seconds;                     /* the first tells how many make a block */
    const double block = work_read(e->text).kind <= ATTENTION ? 0.05 : 0.5;
    e->times = tiny ? 1 : llm_max(1, llm_min(200, (int)(block / seconds)));
}
static void contest(entrant *e, int n, int turns) {
    for (int t = 0; t <= turns; t++)
        for (int i = 0; i < n; i++) {
            if (*e[i].no || !e[i].who->pid) continue;
            take_turn(&e[i]);
            if (n > 1 && e[i].who->pid) fprintf(e[i].who->to, "rest\n"), fflush(e[i].who->to);
        }
    for (int i = 0; i < n; i++) {
        double sorted[TURNS];
        memcpy(sorted, e[i].seconds, sizeof sorted);
        qsort(sorted, (size_t)e[i].turns, sizeof *sorted, by_size);
        e[i].median = e[i].turns ? sorted[e[i].turns / 2] : 0;
    }
}
static void say(const char *format, ...) LLM_PRINTF(1, 2);
static void say(const char *format, ...) {
    for (int i = 0; i < (table ? 2 : 1); i++) {
        va_list list;
        va_start(list, format);
        vfprintf(i ? table : stdout, format, list);
        va_end(list);
        fflush(i ? table : stdout);
    }
}
/* | what | who | ms | rate | of the peak | notes | */
static void say_entrant(const char *text, const entrant *e, const entrant *ours) {
    const work w = work_read(text);
    if (!e->median) {
        say("| %s | %s | | | | %s |\n", text, e->name, *e->no ? e->no : "not measured");
        return;
    }
    const double flops = work_flops(&w) / e->median, bytes = work_bytes(&w) / e->median, ms = 1e3 * e->median;
    say("| %s | %s | %.4g | ", text, e->name, w.kind == SPEAK ? ms / (double)w.n[2] : ms);
    if (work_tokens(&w) > 0) say("%.4g tok/s", work_tokens(&w) / e->median);
    if (w.kind == DECODE) say(", %.2f TB/s", bytes * 1e-12);
    if (w.kind == COPY) say("%.2f TB/s", bytes * 1e-12);
    if (w.kind == PRODUCT || w.kind == ATTENTION) say("%.0f TFLOP/s", flops * 1e-12);
    say(" | ");
    if (flops > 0 && peak > 0) say("%.1f %%", 100 * flops / peak);
    if (w.kind == STEP && peak > 0) say(" / %.1f %%", 100 * work_flops_unmasked(&w) / e->median / peak);
    if (w.kind == DECODE && copy_rate > 0) say("%.0f %% of copy", 100 * bytes / copy_rate);
    say(" | ");
    double low = INFINITY, high = 0;
    for (int i = 0; i < e->turns; i++) low = fmin(low, e->seconds[i]), high = fmax(high, e->seconds[i]);
    if (w.kind == STEP) say("loss %.3f, %.1f GiB%s, ", e->loss, e->gib, e == ours ? " planned" : "");
    if (e != ours && ours->median > 0) say("**ours is %.2f times as fast**, ", e->median / ours->median);
    say("%d turns of %d, %.4g - %.4g ms |\n", e->turns, e->times, 1e3 * low, 1e3 * high);
}
/* What the card can do: by its name, else by the largest product that anybody measured. */
static void learn_peaks(const work *w, const entrant *e, int n) {
    for (int i = 0; i < n; i++) {
        if (!e[i].median) continue;
        if (w->kind == COPY) copy_rate = fmax(copy_rate, work_bytes(w) / e[i].median);
        if (w->kind == PRODUCT && (!peak_from || *peak_from == 'm')) {
            peak = fmax(peak, work_flops(w) / e[i].median);
            peak_from = "measured product";
        }
    }
}
/* ---- the list of works ---- */

static size_t count_of_works(void) { return (tiny ? sizeof tiny_works : sizeof works) / sizeof *works; }
static const char *work_text(size_t i) { return (tiny ? tiny_works : works)[i]; }
static void print_work(const char *text) {
    const work w = work_read(text);
    const bool model = w.kind == STEP || w.kind == PROFILE;
    printf("%-38s %9.1f GFLOP, unmasked %9.1f, %7.3f GB, %6.0f tokens\n", text, work_flops(&w) * 1e-9,
           (model ? work_flops_unmasked(&w) : work_flops(&w)) * 1e-9, work_bytes(&w) * 1e-9, work_tokens(&w));
}
static bool is_profile(size_t i) { return !strncmp(work_text(i), "profile", 7); }
static bool is_wanted(const llm_list *list, size_t i) {
    for (int k = 0; k < list->count; k++)
        if (!strncmp(work_text(i), list->item[k], strlen(list->item[k]))) return true;
    return list->count == 0;
}
/* Batches were chosen for 80 GB; a smaller card gets as many halves fewer. */
static const char *fitting(size_t i, double gb) {
    static char text[128];
    work w = work_read(work_text(i));
    if (tiny || (w.kind != STEP && w.kind != PROFILE)) return work_text(i);
    for (; gb < 70 && w.n[0] > 1; gb *= 2) w.n[0] /= 2;
    snprintf(text, sizeof text, "%s %s %zu %zu%s", kind_name[w.kind], w.word, w.n[0], w.n[1], w.n[3] ? " 0 1" : "");
    return text;
}
/* Seconds of a work of ours, in this process. */
static double alone(const char *text) {
    now.w = work_read(text);
    begin(text);
    run_block(1);
    const double seconds = run_block(tiny ? 1 : 20);
    end();
    return seconds;
}
static void profile(const char *text, llm_precision p) {
    static llm_ops timed;
    const int steps = tiny ? 1 : 5;
    const char *const copy = tiny ? "copy 4096" : "copy 1073741824";
    const work w = work_read(copy);
    open_table(p);
    timed = timed_ops(&ops);
    copy_rate = fmax(copy_rate, work_bytes(&w) / alone(copy));
    now.w = work_read(text);
    begin_step(&timed);
    run_once();
    for (op_time *o = op_times; o->name; o++) o->seconds = o->flops = o->bytes = 0;
    wait_for_all();
    const double since = llm_now();
    for (int i = 0; i < steps; i++) run_once();
    const double seconds = llm_now() - since;
    double known = 0;
    for (const op_time *o = op_times; o->name; o++) known += o->seconds;
    for (const op_time *o = op_times; o->name; o++) {
        if (o->seconds < 0.002 * seconds && !tiny) continue;
        say("| %s | %s | %.4g | ", text, o->name, 1e3 * o->seconds / steps);
        if (o->flops > 0) say("%.0f TFLOP/s | ", o->flops / o->seconds * 1e-12);
        else say("%.2f TB/s | ", o->bytes / o->seconds * 1e-12);
        if (o->flops > 0 && peak > 0) say("%.1f %%", 100 * o->flops / o->seconds / peak);
        if (o->flops <= 0 && copy_rate > 0) say("%.0f %% of copy", 100 * o->bytes / o->seconds / copy_rate);
        say(" | %.1f %% of a step that waits for each |\n", 100 * o->seconds / seconds);
    }
    say("| %s | between operations | %.4g | | | %.1f %% |\n", text, 1e3 * (seconds - known) / steps,
        100 * (1 - known / seconds));
    end();
}

typedef struct {
    llm_list only, torch;
    const char *markdown, *serve, *once, *precision;
    bool tiny, list;
} options;

static int enter_all(entrant *e, contender *who, int contenders, const char *text, const char *precision) {
    const work w = work_read(text);
    int n = 0;
    for (int i = 0; i < contenders; i++) {
        const bool torch = i > 0;
        if (torch && w.kind > STEP) continue;       /* PyTorch has no loop of its own for speaking */
        for (int way = 0; way < (torch && w.kind == ATTENTION ? 2 : 1); way++) {
            static const char *const name[] = {"flash", "cudnn"};
            e[n] = (entrant){.who = &who[i]};
            snprintf(e[n].text, sizeof e[n].text, "%s", text);
            if (!torch) snprintf(e[n].name, sizeof e[n].name, "ours, %s", precision);
            else if (w.kind != ATTENTION) snprintf(e[n].name, sizeof e[n].name, "%.80s", who[i].label);
            else {
                snprintf(e[n].name, sizeof e[n].name, "torch, %s", name[way]);
                snprintf(e[n].text, sizeof e[n].text, "%s %s", text, name[way]);
            }
            n++;
        }
    }
    return n;
}
static llm_precision precision_of(const char *name) {
    return !strcmp(name, "bf16") ? LLM_BF16 : !strcmp(name, "tf32") ? LLM_TF32 : LLM_FP32;
}
static void run_contest(const options *o, const char *gpu, double gb) {
    contender who[4];
    int contenders = 1;
    const char *ours[] = {"/proc/self/exe", "--serve", o->precision, NULL};
    if (!contender_start(&who[0], "ours", LLM_BF16, ours)) llm_die("run build/gpu_bench --serve bf16", "no contender");
    for (int i = 0; i < o->torch.count && contenders < 4; i++) {
        const char *torch[] = {o->torch.item[i], "test/torch_cuda.py", o->precision, o->tiny ? "cpu" : "cuda", NULL};
        if (contender_start(&who[contenders], "torch", LLM_BF16, torch)) contenders++;
        else say("| torch | %s | | | | did not start: left out |\n", o->torch.item[i]);
    }
    for (size_t i = 0; i < count_of_works(); i++) {
        if (is_profile(i) || !is_wanted(&o->only, i)) continue;
        const char *text = fitting(i, gb);
        const work w = work_read(text);
        entrant e[8];
        if (!who[0].pid && !contender_start(&who[0], "ours", LLM_BF16, ours)) continue;
        const int n = enter_all(e, who, contenders, text, o->precision);
        contest(e, n, tiny ? 1 : 5);
        learn_peaks(&w, e, n);
        for (int k = 0; k < n; k++) say_entrant(text, &e[k], &e[0]);
        if (!who[0].pid) stopped++;
    }
    for (int i = 0; i < contenders; i++)
        if (who[i].pid) contender_end(&who[i]);
    say("| peak | %s | | %.0f TFLOP/s | | %s |\n", gpu, peak * 1e-12, peak_from ? peak_from : "not known");
}
int main(int argc, char **argv) {
    options o = {.markdown = "", .serve = "", .once = "", .precision = "bf16"};
    const llm_option flags[] = {
        {"only", LLM_LIST, &o.only, 0, 0, "works that begin with one of these (default: all)", NULL, NULL},
        {"torch", LLM_LIST, &o.torch, 0, 0, "Python programs that can import torch, to compare with", NULL, NULL},
        {"precision", LLM_TEXT, &o.precision, 0, 0, "of all contenders", "fp32|tf32|bf16", NULL},
        {"markdown", LLM_TEXT, &o.markdown, 0, 0, "append the table's rows to this file", NULL, NULL},
        {"tiny", LLM_BOOL, &o.tiny, 0, 0, "works of no size: to try this program under emulation", NULL, NULL},
        {"list", LLM_BOOL, &o.list, 0, 0, "the works, what they compute and must move; needs no GPU", NULL, NULL},
        {"once", LLM_TEXT, &o.once, 0, 0, "do one work once, in this process", NULL, NULL},
        {"serve", LLM_TEXT, &o.serve, 0, 0, "(internal) be a contender of this precision", NULL, NULL},
    };
    char gpu[400];
    llm_options_parse(flags, sizeof flags / sizeof *flags, "measure a GPU: its limits, our operations, PyTorch's", argc,
                      argv);
    tiny = o.tiny;
    if (o.list) {
        for (size_t i = 0; i < count_of_works(); i++) print_work(work_text(i));
        return 0;
    }
    if (!llm_cuda_devices(gpu, sizeof gpu)) {
        printf("SKIP: no GPU answers: %s\n", gpu);
        return 77;
    }
    const llm_precision p = precision_of(*o.serve ? o.serve : o.precision);
    if (*o.serve) return serve(p);
    if (*o.once) {
        open_table(p);
        now.w = work_read(o.once);
        begin(o.once);
        run_once();
        end();
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);           /* a contender that ends is heard of by its silence */
    peak = p == LLM_BF16 ? gpu_peak(gpu) : p == LLM_TF32 ? gpu_peak(gpu) / 2 : 0;
    peak_from = peak > 0 ? "data sheet" : NULL;
    const char *comma = strrchr(gpu, ',');
    const double gb = comma ? atof(comma + 1) : 80;
    table = *o.markdown ? fopen(o.markdown, "a") : NULL;
    if (*o.markdown && !table) llm_die("check --markdown", "cannot write %s: %s", o.markdown, strerror(errno));
    int contests = 0;
    for (size_t i = 0; i < count_of_works(); i++) contests += is_wanted(&o.only, i) && !is_profile(i);
    if (contests) run_contest(&o, gpu, gb);
    for (size_t i = 0; i < count_of_works(); i++)
        if (is_wanted(&o.only, i) && is_profile(i)) profile(fitting(i, gb), p);
    if (table) fclose(table);
    return stopped != 0;
}
