/* timed_ops.h: a table of operations with a clock around each row. Read by the bench programs, after llm.h. */
#ifndef TIMED_OPS_H
#define TIMED_OPS_H

static double lower(double a, double b) { return a < b ? a : b; }

/* Seconds: of the wall, or of the processor (--clock cpu), which hardly minds other programs; for one thread only. */
static bool cpu_clock;
static double bench_now(void) {
    struct timespec t;
    if (!cpu_clock) return llm_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
/* The time when all that a table was asked for is done: its operations may return early. */
static double bench_done(const llm_ops *op) {
    op->wait();
    return bench_now();
}

/* The operations with a clock around each. FLOPs and bytes are what the operation must do and move at the least. */
typedef struct { const char *name; double seconds, flops, bytes; } op_time;
static llm_ops inner;
static op_time op_times[40];
static void note(const char *name, double since, double flops, double bytes) {
    op_time *o = op_times;
    while (o->name && o->name != name) o++;
    o->name = name;
    o->seconds += bench_done(&inner) - since;
    o->flops += flops;
    o->bytes += bytes;
}
#define TIMED(op, flops, bytes, parameters, ...)                                                                       \
    static void timed_##op parameters {                                                                                \
        static const char name[] = #op;                                                                                \
        double since = bench_done(&inner), A = (double)inner.act_size, R = sizeof(llm_real);                           \
        inner.op(__VA_ARGS__);                                                                                         \
        note(name, since, flops, bytes);                                                                               \
        (void)A;                                                                                                       \
        (void)R;                                                                                                       \
    }
TIMED(embed_forward, 0, 2.0 * N * C * R, (llm_res *o, llm_weight w, const llm_real *p, const int *t, const int *x,
      size_t N, size_t C), o, w, p, t, x, N, C)
TIMED(embed_backward, 0, 3.0 * N * C * R, (llm_real *dw, llm_real *dp, const llm_res *d, const llm_ids *ids, size_t N,
      size_t C, size_t V, size_t T, bool a, bool b), dw, dp, d, ids, N, C, V, T, a, b)
TIMED(layernorm_forward, 0, (double)N * C * (R + A), (llm_act *o, llm_real *m, llm_real *r, const llm_res *x,
      const llm_real *w, const llm_real *b, llm_real eps, size_t N, size_t C), o, m, r, x, w, b, eps, N, C)
TIMED(layernorm_backward, 0, (double)N * C * ((join ? 3 : 2) * R + A), (llm_res *dx, llm_real *dw, llm_real *db,
      const llm_act *d, const llm_res *x, const llm_real *w, const llm_real *m, const llm_real *r, size_t N, size_t C,
      bool join, bool a), dx, dw, db, d, x, w, m, r, N, C, join, a)
TIMED(rmsnorm_forward, 0, (double)N * C * (R + A), (llm_act *o, llm_real *r, const llm_res *x, const llm_real *w,
      llm_real eps, size_t N, size_t C), o, r, x, w, eps, N, C)
TIMED(rmsnorm_backward, 0, (double)N * C * ((join ? 3 : 2) * R + A), (llm_res *dx, llm_real *dw, const llm_act *d,
      const llm_res *x, const llm_real *w, const llm_real *r, size_t N, size_t C, bool join, bool a),
      dx, dw, d, x, w, r, N, C, join, a)
TIMED(qk_norm_forward, 0, 3.0 * N * s.cols * A, (llm_act *q, llm_act *x, llm_real *r, const llm_real *w, llm_real e,
      size_t N, llm_slice s, size_t D), q, x, r, w, e, N, s, D)
TIMED(qk_norm_backward, 0, 3.0 * N * s.cols * A, (llm_act *q, llm_real *dw, const llm_act *x, const llm_real *r,
      const llm_real *w, size_t N, llm_slice s, size_t D, bool a), q, dw, x, r, w, N, s, D, a)
TIMED(post_norm_forward, 0, 3.0 * N * C * A, (llm_res *o, llm_real *r, const llm_res *i, const llm_act *y,
      const llm_real *w, llm_real e, size_t N, size_t C), o, r, i, y, w, e, N, C)
TIMED(post_norm_backward, 0, 3.0 * N * C * A, (llm_act *dy, llm_real *dw, const llm_res *d, const llm_act *y,
      const llm_real *w, const llm_real *r, size_t N, size_t C, bool a), dy, dw, d, y, w, r, N, C, a)
TIMED(linear_forward, 2.0 * N * I * O, 0, (llm_act *o, const llm_act *x, llm_weight w, llm_weight b, size_t N, size_t I,
      size_t O), o, x, w, b, N, I, O)
TIMED(residual_forward, 2.0 * N * I * O, 0, (llm_res *o, const llm_res *r, const llm_act *x, llm_weight w, llm_weight b,
      size_t N, size_t I, size_t O), o, r, x, w, b, N, I, O)
TIMED(linear_gelu_forward, 2.0 * N * I * O, 0, (llm_act *o, llm_act *y, const llm_act *x, llm_weight w, llm_weight b,
      size_t N, size_t I, size_t O), o, y, x, w, b, N, I, O)
TIMED(residual_gelu_backward, 4.0 * N * I * O, 0, (llm_act *dx, llm_real *dw, llm_real *db, const llm_res *d,
      const llm_act *x, const llm_act *pre, llm_weight w, size_t N, size_t I, size_t O, bool a),
      dx, dw, db, d, x, pre, w, N, I, O, a)
TIMED(rope_forward, 0, 4.0 * N * H * D * A, (llm_act *x, const llm_real *f, llm_real s, const int *p, size_t N,
      size_t H, size_t K, size_t D), x, f, s, p, N, H, K, D)
TIMED(rope_backward, 0, 4.0 * N * H * D * A, (llm_act *x, const llm_real *f, llm_real s, const int *p, size_t N,
      size_t H, size_t K, size_t D), x, f, s, p, N, H, K, D)
TIMED(attention_forward, 2.0 * B * T * T * H * D, 0, (llm_act *o, llm_real *l, const llm_act *x, const int *s, size_t B,
      size_t T, size_t H, size_t K, size_t D), o, l, x, s, B, T, H, K, D)
TIMED(attention_backward, 4.0 * B * T * T * H * D, 0, (llm_act *dx, const llm_act *d, const llm_act *o,
      const llm_real *l, const llm_act *x, const int *s, size_t B, size_t T, size_t H, size_t K, size_t D),
      dx, d, o, l, x, s, B, T, H, K, D)
TIMED(gelu_forward, 0, 2.0 * (double)n * A, (llm_act *o, const llm_act *x, size_t n), o, x, n)
TIMED(gelu_backward, 0, 3.0 * (double)n * A, (llm_act *dx, const llm_act *d, const llm_act *x, size_t n), dx, d, x, n)
TIMED(swiglu_forward, 0, 3.0 * N * F * A, (llm_act *o, const llm_act *x, size_t N, size_t F), o, x, N, F)
TIMED(swiglu_backward, 0, 5.0 * N * F * A, (llm_act *dx, const llm_act *d, const llm_act *x, size_t N, size_t F),
      dx, d, x, N, F)
TIMED(logprob_fused, 6.0 * N * C * V, 0, (llm_real *l, llm_act *dh, llm_real *dw, const llm_real *dl, const llm_act *x,
      llm_weight w, const int *t, llm_head h, size_t N, size_t C, size_t V, bool a),
      l, dh, dw, dl, x, w, t, h, N, C, V, a)
static double learning(const llm_param *p, int params) {        /* how many parameters have a gradient */
    double n = 0;
    for (int i = 0; i < params; i++) n += has_gradient(&p[i]) ? (double)p[i].size : 0;
    return n;
}
TIMED(grad_norm, 0, learning(p, n) * R, (llm_adamw_state *s, const llm_param *p, int n), s, p, n)
TIMED(adamw, 0, learning(p, n) * (3 * R + 4 * (r.moments16 ? 2 : R) + (inner.precision == LLM_BF16 ? 2 : 0)),
      (const llm_param *p, int n, void *m, void *v, llm_adamw_rule r, llm_adamw_state *s), p, n, m, v, r, s)
/* The three results of a backward pass one by one. */
#define TIMED_BACKWARD(op, dout_type)                                                                                  \
    static void timed_##op(llm_act *dx, llm_real *dw, llm_real *db, const dout_type *d, const llm_act *x, llm_weight w,\
                           size_t N, size_t I, size_t O, bool a) {                                                     \
        double t = bench_done(&inner), flops = 2.0 * N * I * O;                                                        \
        if (dx) inner.op(dx, NULL, NULL, d, x, w, N, I, O, a);                                                         \
        note(#op " dinp", t, dx ? flops : 0, 0);                                                                       \
        t = bench_now();                                                                                               \
        if (dw) inner.op(NULL, dw, NULL, d, x, w, N, I, O, a);                                                         \
        note(#op " dW", t, dw ? flops : 0, 0);                                                                         \
        t = bench_now();                                                                                               \
        if (db) inner.op(NULL, NULL, db, d, x, w, N, I, O, a);                                                         \
        note("dbias", t, 0, (double)N * O * (double)sizeof(llm_real));                                                 \
    }
TIMED_BACKWARD(linear_backward, llm_act)
TIMED_BACKWARD(residual_backward, llm_res)

static inline llm_ops timed_ops(const llm_ops *op) {
    llm_ops t = inner = *op;
#define USE(row) t.row = timed_##row
    USE(embed_forward); USE(embed_backward); USE(layernorm_forward); USE(layernorm_backward);
    USE(rmsnorm_forward); USE(rmsnorm_backward); USE(linear_forward); USE(linear_backward); USE(residual_forward);
    USE(residual_backward); USE(rope_forward); USE(rope_backward); USE(attention_forward); USE(attention_backward);
    USE(gelu_forward); USE(gelu_backward); USE(swiglu_forward); USE(swiglu_backward); USE(logprob_fused);
    USE(grad_norm); USE(adamw);
    if (op->qk_norm_forward) USE(qk_norm_forward), USE(qk_norm_backward);
    if (op->post_norm_forward) USE(post_norm_forward), USE(post_norm_backward);
    if (op->linear_gelu_forward) USE(linear_gelu_forward);
    if (op->residual_gelu_backward) USE(residual_gelu_backward);
#undef USE
    return t;
}

#endif
