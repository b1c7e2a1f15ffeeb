/* bench.c: how fast is it, and how fast could it be?

       build/bench                             everything that is here (make bench)
       build/bench --only peaks products       a part: peaks, products, steps
       build/bench --only steps --cases small --profile
       LLM_C=~/llm.c build/bench --torch ~/venv/bin/python --markdown out/bench.md

   First the machine's own limits: FLOP/s of its multiply-add units with everything in registers, GB/s of its memory.
   Then the matrix products by shape. Then whole training steps (forward, backward, norm, AdamW) of named models, each
   contender in a process of its own: this code in every precision, PyTorch through test/torch_bench.py, and llm.c's
   trainer through test/llmc_bench.c. They take turns, a short block of steps each while the others sleep, and the
   fastest step of each counts: so a slow minute of a shared machine hits all of them alike. */

#define LLM_SIMD_INSIDE
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "options.h"
#include "timed_ops.h"
#include "contenders.h"
#include "peaks.h"

enum { VECTORS = LLM_BF16 + 1, MOST = 32 };        /* a fourth way: fp32 as on a machine without AMX */
static const char *const precision_name[] = {"fp32", "bf16x3", "bf16", "vectors"};
/* Has this machine such a way? Without AMX bf16x3 and "vectors" are fp32. */
static bool has_precision(int p) {
    if (sizeof(llm_real) == sizeof(double)) return p == LLM_FP32;
    return p == LLM_FP32 || p == LLM_BF16 || llm_has_amx();
}

/* ---- the machine's limits ---- */

typedef struct { double flops[VECTORS + 1], read, copy, mixed; } peaks;

static peaks measure_peaks(bool quick) {
    int repeats = quick ? 3 : 10;
    const double vectors = peak_flops(BY_VECTORS, repeats), amx = llm_has_amx() ? peak_flops(BY_TILES, repeats) : 0;
    const double pairs = !amx && cpu_has_fast_pairs() ? peak_flops(BY_PAIRS, repeats) : 0;
    peaks p = {.flops = {vectors, vectors, pairs ? pairs : vectors, vectors}};
    if (amx) p.flops[LLM_FP32] = amx / 6;
    if (amx) p.flops[LLM_BF16X3] = amx / 3;
    if (amx) p.flops[LLM_BF16] = amx;
    p.read = peak_stream(READ, repeats);
    p.copy = peak_stream(COPY, repeats);
    p.mixed = peak_stream(MIXED, repeats);
    printf("peaks, %d threads: fp32 vectors %.0f GFLOP/s", llm_threads(0), vectors * 1e-9);
    if (amx) printf(", bf16 tiles %.0f GFLOP/s (bf16x3: a third, %.0f; fp32: a sixth, %.0f)", amx * 1e-9, amx / 3e9,
                    amx / 6e9);
    if (pairs) printf(", bf16 pairs %.0f GFLOP/s", pairs * 1e-9);
    printf("\nmemory: read %.1f GB/s, copy %.1f GB/s, 4 streams read and 3 of them written %.1f GB/s\n\n",
           p.read * 1e-9, p.copy * 1e-9, p.mixed * 1e-9);
    fflush(stdout);
    return p;
}

/* ---- the matrix products ---- */

typedef struct { const char *name; int N, in, out; } shape;     /* out (N,out) = inp (N,in) w' */
static const shape shapes[] = {
    {"gpt2 T64 qkv", 256, 768, 2304},   {"gpt2 T64 proj", 256, 768, 768},   {"gpt2 T64 up", 256, 768, 3072},
    {"gpt2 T64 down", 256, 3072, 768},  {"gpt2 T64 head", 256, 768, 50257}, {"gpt2 T256 qkv", 1024, 768, 2304},
    {"gpt2 T256 proj", 1024, 768, 768}, {"gpt2 T256 up", 1024, 768, 3072},  {"gpt2 T256 down", 1024, 3072, 768},
    {"gpt2 T256 head", 1024, 768, 50257}, {"small qkv", 4096, 384, 1152},   {"small proj", 4096, 384, 384},
    {"small up", 4096, 384, 1536},      {"small down", 4096, 1536, 384},    {"tiny qkv", 2048, 96, 288},
    {"tiny proj", 2048, 96, 96},        {"tiny up", 2048, 96, 512},         {"tiny down", 2048, 256, 96},
    {"tiny head", 1024, 96, 768},       {"odd", 1021, 509, 777},
};
static double sum_flops[3], sum_seconds[3];

static void keep_fastest(double *best, double since, double now, double *spent) {
    double t = now - since;
    *spent += t;
    *best = lower(*best, t);
}
static llm_act *random_acts(size_t n, llm_rng *r) {
    llm_act *x = llm_alloc(n, cpu.act_size);
    for (size_t i = 0; i < n; i += VL) {
        vreal v;
        for (int k = 0; k < VL; k++) v[k] = (llm_real)(llm_rng_uniform(r) - 0.5);
        act_store_n(x, i, v, n - i);
    }
    return x;
}
static void bench_linear(const shape *s, llm_precision p, double seconds) {
    const llm_ops *op = llm_cpu(p);
    size_t N = (size_t)s->N, I = (size_t)s->in, O = (size_t)s->out;
    llm_rng r = llm_rng_seed(1, 2);
    llm_act *x = random_acts(N * I, &r), *y = random_acts(N * O, &r), *dx = random_acts(N * I, &r);
    llm_real *dw = llm_alloc(O * I, sizeof *dw);
    void *w = random_acts(O * I, &r);
    const llm_weight weight = {w, cpu.act, NULL, NULL}, none = {0};
    double flops = 2.0 * s->N * s->in * s->out, spent = 0, forward = 1e9, dinp = 1e9, dweight = 1e9;
    for (int i = 0; i < 2000 && (spent < seconds || i < 2); i++) {
        double t = bench_done(op);
        op->linear_forward(y, x, weight, none, N, I, O);
        keep_fastest(&forward, t, bench_done(op), &spent);
        t = bench_done(op);
        op->linear_backward(dx, NULL, NULL, y, x, weight, N, I, O, false);
        keep_fastest(&dinp, t, bench_done(op), &spent);
        t = bench_done(op);
        op->linear_backward(NULL, dw, NULL, y, x, weight, N, I, O, false);
        keep_fastest(&dweight, t, bench_done(op), &spent);
    }
    printf("  %7.0f %7.0f %7.0f", flops / forward * 1e-9, flops / dinp * 1e-9, flops / dweight * 1e-9);
    fflush(stdout);
    sum_flops[p] += 3 * flops;
    sum_seconds[p] += forward + dinp + dweight;
    void *all[] = {x, y, dx, dw, w};
    for (int i = 0; i < 5; i++) llm_release(all[i]);
}
/* What one thread's kernels reach on panels that lie in L1. */
static double bench_kernel(llm_precision p) {
    cpu_set_precision(p);
    const cpu_view none = {0};
    const cpu_out nowhere = {0};
    const gemm_plan g = gemm_cut(64, 96, 96, none, none, nowhere, 1);
    gemm_room *room = gemm_my_room();
    double best = 1e9, spent = 0, flops = 2.0 * g.K * g.rows * g.cols;
    memset(room->wide, 0, sizeof room->wide);       /* serves as both panels */
#if LLM_AMX
    if (g.amx) amx_begin();
#endif
    while (spent < 0.3) {
        double t = bench_now();
        for (int i = 0; i < 100; i++) gemm_tile(&g, g.K, g.cols, room->wide, room->wide + 16384, room->tile, true);
        keep_fastest(&best, t, bench_now(), &spent);
    }
    return 100 * flops / best * 1e-9;
}
#define EACH_PRECISION(p) for (int p = 0; p < VECTORS; p++) if (has_precision(p))
static void bench_products(const peaks *peak, bool quick) {
    printf("products, GFLOP/s; columns: forward, dinp, dW\n%-16s", "");
    EACH_PRECISION(p) printf("  %23s", precision_name[p]);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        printf("\n%-16s", shapes[i].name);
        EACH_PRECISION(p) bench_linear(&shapes[i], (llm_precision)p, quick ? 0.02 : 0.3);
    }
    printf("\n%-16s", "all");
    EACH_PRECISION(p) printf("  %23.0f", sum_flops[p] / sum_seconds[p] * 1e-9);
    printf("\n%-16s", "of the peak");
    EACH_PRECISION(p) printf("  %22.0f%%", 100 * sum_flops[p] / sum_seconds[p] / peak->flops[p]);
    printf("\n%-16s", "kernel in L1, x1");
    EACH_PRECISION(p) printf("  %23.0f", bench_kernel((llm_precision)p));
    printf("\n\n");
}

/* ---- whole steps: one contender, which runs steps when told to ---- */

typedef struct { const char *name, *preset; int B, T, L, C, H, V; } bench_case;
static const bench_case cases[] = {
    {"T64", "gpt2-124m", 4, 64, 12, 768, 12, 50257},    {"T256", "gpt2-124m", 4, 256, 12, 768, 12, 50257},
    {"T1024", "gpt2-124m", 4, 1024, 12, 768, 12, 50257}, {"small", "gpt-tiny", 16, 256, 6, 384, 6, 4096},
    {"tiny", "tiny", 16, 128, 4, 96, 3, 768},
};
enum { CASES = sizeof cases / sizeof *cases };

static llm_config case_config(const bench_case *c) {
    llm_config g = llm_preset(c->preset);
    g.V = c->V; g.T = llm_max(g.T, c->T); g.L = c->L; g.C = c->C;
    g.H = g.KV = c->H; g.D = c->C / c->H;
    if (g.activation == LLM_GELU) g.F = 4 * c->C;
    return g;
}

static void print_profile(int steps, double seconds, const peaks *peak, llm_precision p) {
    double known = 0;
    for (const op_time *o = op_times; o->name; o++) {
        known += o->seconds;
        if (o->seconds < 0.002 * seconds) continue;
        printf("      %-24s %9.2f ms %5.1f%%", o->name, 1e3 * o->seconds / steps, 100 * o->seconds / seconds);
        if (o->flops > 0)
            printf("  %7.0f GFLOP/s, %3.0f%% of the peak\n", o->flops / o->seconds * 1e-9,
                   100 * o->flops / o->seconds / peak->flops[p]);
        else
            printf("  %7.1f GB/s,    %3.0f%% of 4 read + 3 written streams\n", o->bytes / o->seconds * 1e-9,
                   100 * o->bytes / o->seconds / peak->mixed);
    }
    printf("      %-24s %9.2f ms %5.1f%%\n", "between operations", 1e3 * (seconds - known) / steps,
           100 * (1 - known / seconds));
}

typedef struct {
    llm_model m;
    llm_adamw o;
    llm_batch b;
    llm_real *logp, *dlogp;
    llm_ops ops;
} trainee;

static void trainee_begin(trainee *t, const bench_case *c, llm_precision p, llm_keep keep, bool moments16,
                          bool profile) {
    llm_config g = case_config(c);
    size_t N = (size_t)c->B * (size_t)c->T;
    llm_rng r = llm_rng_seed(1, 0);
    t->ops = profile ? timed_ops(llm_cpu(p)) : *llm_cpu(p);
    llm_model_init(&t->m, &g, &t->ops, 1);
    t->m.keep = keep;
    llm_model_train(&t->m);
    t->o = llm_adamw_defaults();
    t->o.moments16 = moments16;
    t->b = llm_batch_new(c->B, c->T);
    t->logp = llm_alloc(N, sizeof(llm_real));
    t->dlogp = llm_alloc(N, sizeof(llm_real));
    for (size_t i = 0; i < N; i++) {
        t->b.tokens[i] = llm_rng_below(&r, c->V);
        t->b.targets[i] = llm_rng_below(&r, c->V);
        t->b.positions[i] = (int)(i % (size_t)c->T);
        t->b.start[i] = 0;
        t->dlogp[i] = (llm_real)(-1.0 / (double)N);
    }
}
static double trainee_step(void *self) {
    trainee *t = self;
    llm_forward_backward(&t->m, &t->b, t->dlogp, t->logp);
    llm_adamw_step(&t->o, &t->m, 1e-4);         /* waits at its end, so logp is here, and a clock may be read */
    double loss = 0;
    for (int i = 0; i < t->b.B * t->b.T; i++) loss -= (double)t->logp[i];
    return loss / (t->b.B * t->b.T);
}
static int serve(const bench_case *c, const char *name, llm_precision p, llm_keep keep, bool moments16) {
    trainee t;
    trainee_begin(&t, c, p, keep, moments16, false);
    char *label = llm_format("ours %s", name);
    return contender_serve(label, trainee_step, &t);
}
static void profile(const bench_case *c, llm_precision p, llm_keep keep, bool moments16, const peaks *peak,
                    double enough) {
    trainee t;
    int steps = 0;
    trainee_begin(&t, c, p, keep, moments16, true);
    trainee_step(&t);
    memset(op_times, 0, sizeof op_times);
    double since = bench_now(), seconds;
    do {
        trainee_step(&t);
        steps++;
        seconds = bench_now() - since;
    } while (seconds < enough || steps < 2);
    printf("    %s %s, mean of %d steps: %.1f ms\n", c->name, precision_name[p], steps, 1e3 * seconds / steps);
    print_profile(steps, seconds, peak, p);
    fflush(stdout);
    llm_adamw_free(&t.o, &t.m);
    llm_model_free(&t.m);
    llm_batch_free(&t.b);
    llm_release(t.logp);
    llm_release(t.dlogp);
}

/* ---- contenders take turns ---- */

typedef struct {
    llm_list only, names, torch, precisions, keeps;
    bool quick, profile, moments16, peers;
    const char *llmc, *markdown, *serve, *clock;
    double seconds;
    int64_t threads;
} options;

/* Who is left of --torch, and of llm.c, whose trainer's source stays where it is: our test/llmc_bench.c includes it and
   is compiled with its flags. */
static void find_peers(options *o) {
    const char *python = peer_python(&o->torch), *compile = *o->llmc ? "" : "false && ";
    llm_list all = o->torch.count ? o->torch : (llm_list){&python, 1};
    o->torch = (llm_list){llm_alloc((size_t)all.count, sizeof *all.item), 0};
    for (int i = 0; i < all.count && o->peers; i++)
        if (peer_here("PyTorch", "pip install torch; make bench PYTHON=the python that has it",
                      llm_format("'%s' -c 'import torch' 2>/dev/null", all.item[i])))
            o->torch.item[o->torch.count++] = all.item[i];
    if (!o->peers || !peer_here("llm.c", "git clone https://github.com/karpathy/llm.c; LLM_C=llm.c make bench",
                                llm_format("%scc -Ofast -march=native -fopenmp -DOMP -w -I'%s' test/llmc_bench.c "
                                           "-o build/llmc_bench -lm", compile, o->llmc)))
        o->llmc = NULL;
    printf("\n");
}
static const char *const keep_name[] = {"most", "inputs", "all"};
static bool wants_keep(const options *o, int keep) {
    return o->keeps.count ? wants(&o->keeps, keep_name[keep]) : keep == LLM_KEEP_MOST;
}
static llm_keep first_keep(const options *o) {
    for (int k = LLM_KEEP_MOST; k <= LLM_KEEP_ALL; k++)
        if (wants_keep(o, k)) return (llm_keep)k;
    llm_usage("--keep most, inputs or all", "--keep names none of them");
    return LLM_KEEP_MOST;
}
static double case_flops(const bench_case *c) {
    llm_config g = case_config(c);
    llm_plan plan = llm_plan_make(&g, llm_cpu(LLM_FP32), c->B, c->T, true, LLM_KEEP_MOST, false);
    return plan.flops_per_token * c->B * c->T;
}
static bool is_ours(const contender *x) { return !strncmp(x->name, "ours", 4); }
static bool is_rival(const contender *x, const contender *y) {
    return is_ours(x) && !is_ours(y) && (x->precision == LLM_BF16) == (y->precision == LLM_BF16);
}
static void say_row(FILE *f, const bench_case *c, const contender *x, int n, const peaks *peak) {
    const double flops = case_flops(c);
    for (int i = 0; i < n; i++)
        fprintf(f, "| %s | %s (%s) | %.1f | %.0f | %.0f%% | %.2f | %.4f |\n", c->name, x[i].name, x[i].label,
                1e3 * x[i].best, flops / x[i].best * 1e-9, 100 * flops / x[i].best / peak->flops[x[i].precision],
                x[i].rss * 1e-9, x[i].loss);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (is_rival(&x[i], &x[j]))
                fprintf(f, "| %s | **%s : %s (%s)** | **%.2fx** | | | | |\n", c->name, x[i].name, x[j].name, x[j].label,
                        x[j].best / x[i].best);
    fflush(f);
}
/* The same in a line that a README can quote: of T256, else of the first case. */
static char *quote;
static void make_quote(const bench_case *c, const contender *x, int n, const peaks *peak) {
    size_t size;
    if (quote && strcmp(c->name, "T256")) return;
    FILE *f = open_memstream(&quote, &size);
    if (!f) llm_die(NULL, "out of memory");
    fprintf(f, "a training step of %s, %d x %d tokens:", c->V == 50257 ? "GPT-2 124M" : c->name, c->B, c->T);
    for (int i = 0; i < n && is_ours(&x[i]); i++) {     /* ours come first */
        fprintf(f, "%s %.0f ms in %s (%.0f %%%s", i ? "," : "", 1e3 * x[i].best, x[i].name + 5,
                100 * case_flops(c) / x[i].best / peak->flops[x[i].precision], i ? "" : " of the peak");
        for (int j = 0; j < n; j++)
            if (is_rival(&x[i], &x[j]))
                fprintf(f, "; %.2f x %.*s", x[j].best / x[i].best, (int)strcspn(x[j].label, ","), x[j].label);
        fprintf(f, ")");
    }
    fclose(f);
}
static void enter(contender *x, int *n, const char *name, llm_precision p, const char *const *command) {
    if (*n < MOST && contender_start(&x[*n], name, p, command)) ++*n;
}
/* Start everybody, take turns until the time is over. */
static void bench_case_run(const bench_case *c, const options *o, const peaks *peak, FILE *table) {
    contender x[MOST];
    int n = 0;
    char number[6][16];
    const int size[] = {c->B, c->T, c->L, c->C, c->H, c->V};
    for (int i = 0; i < 6; i++) snprintf(number[i], sizeof number[i], "%d", size[i]);
    char threads[16];
    snprintf(threads, sizeof threads, "%d", llm_threads(0));
    for (int p = 0; p <= VECTORS; p++) {
        if (!has_precision(p) || !wants(&o->precisions, precision_name[p])) continue;
        for (int k = LLM_KEEP_MOST; k <= LLM_KEEP_ALL; k++) {
            if (!wants_keep(o, k)) continue;
            char *name = k == LLM_KEEP_MOST ? llm_format("ours %s", precision_name[p])
                                            : llm_format("ours %s, %s kept", precision_name[p], keep_name[k]);
            const char *command[] = {"/proc/self/exe", "--serve", precision_name[p], "--cases", c->name,
                                     "--threads", threads, "--clock", o->clock, "--keep", keep_name[k],
                                     o->moments16 ? "--moments16" : "--no-moments16", NULL};
            enter(x, &n, name, (llm_precision)p, command);
            llm_release(name);
        }
    }
    bool gpt = strcmp(c->name, "tiny") != 0;
    for (int i = 0; gpt && i < o->torch.count; i++)
        for (int p = 0; p < 2; p++) {
            llm_precision as = p ? LLM_BF16 : LLM_FP32;
            if (!wants(&o->precisions, precision_name[as])) continue;
            char *name = llm_format("torch %s", precision_name[as]);
            const char *command[] = {o->torch.item[i], "test/torch_bench.py", "--serve", "--precision",
                                     precision_name[as], "-B", number[0], "-T", number[1], "-L", number[2],
                                     "-C", number[3], "-H", number[4], "-V", number[5], "--threads", threads,
                                     "--clock", o->clock, NULL};
            enter(x, &n, name, as, command);
            llm_release(name);
        }
    if (gpt && o->llmc && c->T <= 256 && wants(&o->precisions, "fp32")) {
        const char *command[] = {"build/llmc_bench", number[0], number[1], number[2], number[3], number[4], number[5],
                                 o->clock, NULL};
        enter(x, &n, "llm.c fp32", LLM_FP32, command);
    }
    contenders_run(x, n, o->seconds, NULL);
    say_row(stdout, c, x, n, peak);
    if (table) say_row(table, c, x, n, peak);
    make_quote(c, x, n, peak);
}
static void say_head(FILE *f) {
    fprintf(f, "%s, %s time, %s; fastest step of each, taken in turns, AdamW included.\n\n", bench_machine(),
            cpu_clock ? "processor" : "wall",
#ifdef __clang__
            "clang " __clang_version__);
#else
            "gcc " __VERSION__);
#endif
    fprintf(f, "| case | who | ms a step | GFLOP/s | of the peak | peak memory, GB | loss |\n"
            "|---|---|---|---|---|---|---|\n");
}

static llm_precision precision_of(const char *name) {
    int p = VECTORS;
    while (p > 0 && strcmp(name, precision_name[p])) p--;
    if (p == VECTORS) setenv("LLM_AMX", "0", 1);
    return p == VECTORS ? LLM_FP32 : (llm_precision)p;
}
int main(int argc, char **argv) {
    options o = {.llmc = getenv("LLM_C"), .markdown = "", .serve = "", .clock = "wall", .seconds = 20, .peers = true};
    if (!o.llmc) o.llmc = "";
    const llm_option table[] = {
        {"only", LLM_LIST, &o.only, 0, 0, "parts: peaks, products, steps (default: all)", NULL, NULL},
        {"cases", LLM_LIST, &o.names, 0, 0, "T64, T256, T1024 (GPT-2 124M, 4 sequences), small, tiny (default: all)",
         NULL, NULL},
        {"precisions", LLM_LIST, &o.precisions, 0, 0, "fp32, bf16x3, bf16, vectors (as fp32 without AMX)",
         NULL, NULL},
        {"quick", LLM_BOOL, &o.quick, 0, 0, "a few seconds each, T1024 only if named", NULL, NULL},
        {"profile", LLM_BOOL, &o.profile, 0, 0, "where a step's time goes, operation by operation", NULL, NULL},
        {"keep", LLM_LIST, &o.keeps, 0, 0, "what of each layer: most, inputs, all; several take turns (default: most)",
         NULL, NULL},
        {"moments16", LLM_BOOL, &o.moments16, 0, 0, "AdamW's moments as bf16", NULL, NULL},
        {"peers", LLM_BOOL, &o.peers, 0, 0, "compare with PyTorch and llm.c where they are here", NULL, NULL},
        {"torch", LLM_LIST, &o.torch, 0, 0, "Python programs that can import torch (default: $PYTHON or python3)",
         NULL, NULL},
        {"llmc", LLM_TEXT, &o.llmc, 0, 0, "a checkout of llm.c, to compare with (default: $LLM_C)", NULL, NULL},
        {"seconds", LLM_FLOAT, &o.seconds, 0.1, 3600, "time of a case, after all have started", NULL, NULL},
        {"threads", LLM_INT, &o.threads, 0, 1024, "0: all", NULL, NULL},
        {"clock", LLM_TEXT, &o.clock, 0, 0, "cpu: time of the processor, one thread; for a busy machine", "wall|cpu",
         NULL},
        {"markdown", LLM_TEXT, &o.markdown, 0, 0, "write the table of steps here too", NULL, NULL},
        {"serve", LLM_TEXT, &o.serve, 0, 0, "(internal) be a contender of this precision", NULL, NULL},
    };
    llm_options_parse(table, sizeof table / sizeof *table,
                      "measure the machine, the operations, whole steps, and peers", argc, argv);
    if (!getenv("GOMP_SPINCOUNT")) setenv("GOMP_SPINCOUNT", "3000", 1);     /* for our children: as the drivers do */
    cpu_clock = !strcmp(o.clock, "cpu");
    llm_threads(cpu_clock ? 1 : (int)o.threads);
    if (*o.serve) {
        for (int i = 0; i < CASES; i++)
            if (wants(&o.names, cases[i].name))
                return serve(&cases[i], o.serve, precision_of(o.serve), first_keep(&o), o.moments16);
    }
    bench_check_parts(&o.only);
    if (!wants(&o.only, "peaks") && !wants(&o.only, "products") && !wants(&o.only, "steps")) return 0;
    if (o.quick) o.seconds = lower(o.seconds, 4);
    setvbuf(stdout, NULL, _IOLBF, 0);
    find_peers(&o);
    peaks peak = measure_peaks(o.quick);
    if (wants(&o.only, "products")) bench_products(&peak, o.quick);
    if (!wants(&o.only, "steps")) return 0;
    FILE *markdown = *o.markdown ? fopen(o.markdown, "a") : NULL;
    if (!o.profile) say_head(stdout);
    if (markdown) say_head(markdown);
    for (int i = 0; i < CASES; i++) {
        if (!wants(&o.names, cases[i].name) || (o.quick && !o.names.count && cases[i].T == 1024)) continue;
        if (!o.profile) bench_case_run(&cases[i], &o, &peak, markdown);
        else EACH_PRECISION(p)
            if (wants(&o.precisions, precision_name[p]))
                profile(&cases[i], (llm_precision)p, first_keep(&o), o.moments16, &peak, o.quick ? 1 : 5);
    }
    if (markdown) fclose(markdown);
    if (quote) printf("\nREADME: %s: %s\n", bench_machine(), quote);
    return 0;
}
