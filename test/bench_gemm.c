/* bench_gemm.c: rates of the matrix product in GFLOP/s, the best of many repetitions, beside what the kernels reach
   from L1. Usage: bench_gemm [threads] [part of a shape's name] */
#define LLM_IMPLEMENTATION
#include "../llm.h"

typedef struct { const char *name; int N, in, out; } shape;     /* out (N,out) = inp (N,in) w' */
static const shape shapes[] = {
    {"gpt2 T64 qkv", 256, 768, 2304},   {"gpt2 T64 proj", 256, 768, 768},   {"gpt2 T64 fc", 256, 768, 3072},
    {"gpt2 T64 down", 256, 3072, 768},  {"gpt2 T64 head", 256, 768, 50257}, {"gpt2 T256 qkv", 1024, 768, 2304},
    {"gpt2 T256 proj", 1024, 768, 768}, {"gpt2 T256 fc", 1024, 768, 3072},  {"gpt2 T256 down", 1024, 3072, 768},
    {"gpt2 T256 head", 1024, 768, 50257}, {"small qkv", 4096, 384, 1152},   {"small proj", 4096, 384, 384},
    {"small fc", 4096, 384, 1536},      {"small down", 4096, 1536, 384},    {"tiny qkv", 2048, 96, 288},
    {"tiny proj", 2048, 96, 96},        {"tiny up", 2048, 96, 256},         {"tiny down", 2048, 256, 96},
    {"tiny head", 1024, 96, 768},       {"odd", 1021, 509, 777},
};
static double sum_flops[3], sum_seconds[3];

static void keep_best(double *best, double since, double *spent) {
    double t = llm_now() - since;
    *spent += t;
    if (t < *best) *best = t;
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
static void bench_linear(const shape *s, llm_precision p) {
    cpu_set_precision(p);
    size_t N = (size_t)s->N, I = (size_t)s->in, O = (size_t)s->out;
    llm_rng r = llm_rng_seed(1, 2);
    llm_act *x = random_acts(N * I, &r), *y = random_acts(N * O, &r), *dx = random_acts(N * I, &r);
    llm_real *dw = llm_alloc(O * I, sizeof *dw);
    void *w = random_acts(O * I, &r);
    llm_weight weight = {w, cpu.act, NULL};
    double flops = 2.0 * s->N * s->in * s->out, spent = 0, forward = 1e9, dinp = 1e9, dweight = 1e9;
    for (int i = 0; i < 2000 && (spent < 0.5 || i < 3); i++) {
        double t = llm_now();
        cpu_linear_forward(y, x, weight, NULL, s->N, s->in, s->out);
        keep_best(&forward, t, &spent);
        t = llm_now();
        cpu_linear_backward(dx, NULL, NULL, y, x, weight, s->N, s->in, s->out, false);
        keep_best(&dinp, t, &spent);
        t = llm_now();
        cpu_linear_backward(NULL, dw, NULL, y, x, weight, s->N, s->in, s->out, false);
        keep_best(&dweight, t, &spent);
    }
    printf("  %7.0f %7.0f %7.0f", flops / forward * 1e-9, flops / dinp * 1e-9, flops / dweight * 1e-9);
    fflush(stdout);
    sum_flops[p] += 3 * flops;
    sum_seconds[p] += forward + dinp + dweight;
    llm_release(x);
    llm_release(y);
    llm_release(dx);
    llm_release(dw);
    llm_release(w);
}
/* Attention's products by one thread: scores (128,T) = q k', output (128,D) = p v. */
static void bench_attention(llm_precision p, int T, int D, size_t ld) {
    cpu_set_precision(p);
    llm_rng r = llm_rng_seed(1, 2);
    llm_act *qkv = random_acts((size_t)T * ld, &r), *out = llm_alloc(128 * ld, cpu.act_size);
    llm_real *scores = llm_alloc(128 * (size_t)T, sizeof *scores);
    cpu_view rows = act_view(qkv, ld, 1), s = real_view(scores, (size_t)T, 1);
    double flops = 2.0 * 128 * T * D, spent = 0, first = 1e9, second = 1e9;
    for (int i = 0; i < 3000 && spent < 0.2; i++) {
        double t = llm_now();
        cpu_gemm_one(128, T, D, rows, cpu_transposed(rows), real_out(scores, (size_t)T, false));
        keep_best(&first, t, &spent);
        t = llm_now();
        cpu_gemm_one(128, D, T, s, rows, act_out(out, ld));
        keep_best(&second, t, &spent);
    }
    printf("  %7.0f %7.0f        ", flops / first * 1e-9, flops / second * 1e-9);
    llm_release(qkv);
    llm_release(out);
    llm_release(scores);
}
/* What one thread's kernels reach on panels that lie in L1. */
static double bench_kernel(llm_precision p) {
    cpu_set_precision(p);
    const int k = 128, parts = !cpu.amx ? 0 : p == LLM_BF16 ? 1 : 2, side = parts ? 32 : 0;
    gemm_room *room = gemm_my_room();
    double best = 1e9, spent = 0, flops = 2.0 * k * (side ? side * side : TILE_ROWS * TILE_COLS);
    memset(room, 0, sizeof room->block + sizeof room->panel);
#if LLM_AMX
    if (parts) amx_begin();
#endif
    while (spent < 0.3) {
        double t = llm_now();
        for (int i = 0; i < 100; i++) gemm_tile(parts, k, TILE_COLS, room->block, room->panel, room->tile, true);
        keep_best(&best, t, &spent);
    }
    return 100 * flops / best * 1e-9;
}
int main(int argc, char **argv) {
    int threads = llm_threads(argc > 1 ? atoi(argv[1]) : 0), last = sizeof(llm_real) == sizeof(double) ? 0 : 2;
    const char *only = argc > 2 ? argv[2] : "";
    printf("GFLOP/s with %d threads; columns: forward, dinp, dW\n", threads);
    printf("%-16s %25s %26s %26s\n", "", "fp32", "bf16x3", "bf16");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!strstr(shapes[i].name, only)) continue;
        printf("%-16s", shapes[i].name);
        for (int p = 0; p <= last; p++) bench_linear(&shapes[i], (llm_precision)p);
        printf("\n");
    }
    printf("%-16s", "all");
    for (int p = 0; p <= last; p++) printf("  %23.0f", sum_flops[p] / sum_seconds[p] * 1e-9);
    printf("\none thread, attention's 128 x 256 x D scores and output\n");
    for (int D = 32; D <= 128; D *= 2) {
        printf("D %-14d", D);
        for (int p = 0; p <= last; p++) bench_attention((llm_precision)p, 256, D, 2304);
        printf("\n");
    }
    printf("%-16s", "kernel in L1");
    for (int p = 0; p <= last; p++) printf("  %23.0f", bench_kernel((llm_precision)p));
    printf("\n");
    return 0;
}
