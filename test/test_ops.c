/* test_ops.c: every operation of llm_ops on the CPU against the same formula written plainly, in double.

   Built twice from this source:
     -DLLM_REAL=double   the operations equal the plain formulas to 1e-12, and every gradient equals finite differences
                         of the forward pass to 1e-7 of the tensor's largest gradient;
     float               the fast float operations equal the plain formulas within the tolerance of each precision, and
                         1, 2 and 4 threads give the same bits.

   Both: outputs are poisoned with NaN before, so that what must be written is written and what must be added is added;
   the gradient of a frozen tensor may be NULL and changes nothing else. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include <setjmp.h>

enum { exact = sizeof(llm_real) == sizeof(double) };        /* the build for finite differences */
static int passed, failed;
static const llm_ops *ops;
static llm_rng rng;
static double tolerance;

static void check(bool ok, const char *what, const char *detail) {
    if (ok) passed++;
    else {
        failed++;
        printf("FAILED %s %s\n", what, detail);
    }
}

/* ---- a case: an operation with its tensors, and the plain formula ---- */

/* x: values as the plain formula sees them; device: as the operation does, bf16 when `narrow` and the precision is. */
typedef struct { const char *name; size_t n; bool narrow; double *x; void *device; } tensor;
/* What backward does to a gradient. PARAMETER: writes or adds, as `accumulate` says. */
typedef enum { NONE, WRITTEN, ADDED, PARAMETER } gradient;

typedef struct op_case op_case;
struct op_case {
    char name[160];
    tensor in[4], grad[4], out[3], dout[3];
    double *expected_grad[4], *expected_out[3];
    gradient kind[4];
    bool may_be_null[4];
    int ins, outs;
    int *ids, *more_ids;
    uint8_t *banned;
    int N, B, T, C, O, V, H, KV, D, r, ld, col;
    double eps, scale, temperature;
    bool flag;                          /* lora: the residual stream; value: dhidden is added */
    void (*forward)(op_case *), (*backward)(op_case *, bool accumulate), (*plain)(op_case *);
};

static size_t element(const tensor *t) { return t->narrow && ops->precision == LLM_BF16 ? 2 : sizeof(llm_real); }
static double get(const tensor *t, size_t i) {
    return element(t) == 2 ? (double)bf16_to_real(((uint16_t *)t->device)[i]) : (double)((llm_real *)t->device)[i];
}
static void put(tensor *t, size_t i, double x) {
    if (element(t) == 2) ((uint16_t *)t->device)[i] = real_to_bf16((llm_real)x);
    else ((llm_real *)t->device)[i] = (llm_real)x;
    t->x[i] = get(t, i);
}
static void fill(tensor *t, double size) {
    for (size_t i = 0; i < t->n; i++) put(t, i, size * llm_rng_normal(&rng));
}
static void poison(tensor *t) { memset(t->device, 0xFF, t->n * element(t)); }
static tensor tensor_new(const char *name, size_t n, bool narrow) {
    tensor t = {name, n, narrow, llm_alloc(n + 1, sizeof(double)), llm_alloc(n + 1, sizeof(llm_real))};
    fill(&t, 1);
    return t;
}
static void add_in(op_case *c, const char *name, size_t n, bool narrow, gradient kind, bool gradient_narrow,
                   bool may_be_null) {
    int i = c->ins++;
    c->in[i] = tensor_new(name, n, narrow);
    c->kind[i] = kind;
    c->may_be_null[i] = may_be_null;
    c->grad[i] = tensor_new(name, n, gradient_narrow);
    c->expected_grad[i] = llm_alloc(n + 1, sizeof(double));
}
static void add_out(op_case *c, const char *name, size_t n, bool narrow, bool differentiable, bool dout_narrow) {
    int k = c->outs++;
    c->out[k] = tensor_new(name, n, narrow);
    c->dout[k] = differentiable ? tensor_new(name, n, dout_narrow) : (tensor){0};
    c->expected_out[k] = llm_alloc(n + 1, sizeof(double));
}
static void free_case(op_case *c) {
    for (int i = 0; i < 4; i++) {
        tensor *t[4] = {&c->in[i], &c->grad[i], i < 3 ? &c->out[i] : NULL, i < 3 ? &c->dout[i] : NULL};
        for (int k = 0; k < 4; k++) {
            if (!t[k]) continue;
            llm_release(t[k]->x);
            llm_release(t[k]->device);
        }
        llm_release(c->expected_grad[i]);
        if (i < 3) llm_release(c->expected_out[i]);
    }
    llm_release(c->ids);
    llm_release(c->more_ids);
    llm_release(c->banned);
}

/* max |a - b| / max |b|; when all of b is 0, max |a|. */
static void compare(const op_case *c, const char *what, const tensor *t, const double *expected, const double *before) {
    double worst = 0, largest = 0;
    bool finite = true;
    for (size_t i = 0; i < t->n; i++) {
        double want = expected[i] + (before ? before[i] : 0), error = fabs(get(t, i) - want);
        if (!(error < INFINITY)) finite = false;
        worst = fmax(worst, error);
        largest = fmax(largest, fabs(want));
    }
    double error = finite ? worst / (largest > 0 ? largest : 1) : INFINITY;
    char detail[200];
    snprintf(detail, sizeof detail, "%s %s: relative error %.3g, allowed %.3g", what, t->name, error, tolerance);
    check(error <= tolerance, c->name, detail);
}
static double loss(void *user) {
    op_case *c = user;
    double sum = 0;
    c->forward(c);
    for (int k = 0; k < c->outs; k++)
        for (size_t i = 0; i < c->dout[k].n; i++) sum += get(&c->out[k], i) * c->dout[k].x[i];
    return sum;
}
static void poison_results(op_case *c, bool accumulate) {
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == WRITTEN || (c->kind[i] == PARAMETER && !accumulate)) poison(&c->grad[i]);
        else fill(&c->grad[i], 1);
    }
}
static void test_gradients(op_case *c, bool accumulate) {
    poison_results(c, accumulate);
    c->backward(c, accumulate);
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == NONE) continue;
        bool added = c->kind[i] == ADDED || (c->kind[i] == PARAMETER && accumulate);
        const char *what = accumulate ? "gradient, added, of" : "gradient of";
        compare(c, what, &c->grad[i], c->expected_grad[i], added ? c->grad[i].x : NULL);
    }
}
/* A frozen tensor has no gradient: NULL, and nothing else changes. */
static void test_frozen(op_case *c) {
    for (int f = 0; f < c->ins; f++) {
        if (!c->may_be_null[f]) continue;
        void *kept = c->grad[f].device;
        poison_results(c, false);
        c->grad[f].device = NULL;
        c->backward(c, false);
        for (int i = 0; i < c->ins; i++) {
            const double *before = c->kind[i] == ADDED ? c->grad[i].x : NULL;
            if (i == f || c->kind[i] == NONE) continue;
            compare(c, "gradient, another frozen, of", &c->grad[i], c->expected_grad[i], before);
        }
        c->grad[f].device = kept;
    }
}
static uint64_t hash_results(op_case *c, int threads) {
    uint64_t h = 0;
    llm_rng kept = rng;
    llm_threads(threads);
    for (int k = 0; k < c->outs; k++) poison(&c->out[k]);
    c->forward(c);
    if (c->backward) {
        poison_results(c, false);
        c->backward(c, false);
    }
    for (int k = 0; k < c->outs; k++) h = llm_hash(c->out[k].device, c->out[k].n * element(&c->out[k]), h);
    for (int i = 0; i < c->ins; i++)
        if (c->kind[i] != NONE) h = llm_hash(c->grad[i].device, c->grad[i].n * element(&c->grad[i]), h);
    rng = kept;
    return h;
}
static void run_case(op_case *c) {
    int threads = llm_threads(0);
    c->plain(c);
    for (int k = 0; k < c->outs; k++) poison(&c->out[k]);
    c->forward(c);
    for (int k = 0; k < c->outs; k++) compare(c, "forward", &c->out[k], c->expected_out[k], NULL);
    if (c->backward) {
        test_gradients(c, false);
        test_gradients(c, true);
        test_frozen(c);
        c->forward(c);
        poison_results(c, false);
        for (int i = 0; i < c->ins; i++)
            if (c->kind[i] == ADDED) memset(c->grad[i].device, 0, c->grad[i].n * element(&c->grad[i]));
        c->backward(c, false);
        llm_threads(1);                 /* thousands of tiny passes: a second thread costs more than it helps */
        for (int i = 0; exact && i < c->ins; i++) {
            if (c->kind[i] == NONE) continue;
            double error = llm_grad_check(loss, c, c->in[i].device, c->grad[i].device, c->in[i].n, 20, &rng);
            char detail[200];
            snprintf(detail, sizeof detail, "finite differences of %s: error %.3g, allowed 1e-7", c->in[i].name, error);
            check(error <= 1e-7, c->name, detail);
        }
    }
    uint64_t one = hash_results(c, 1);
    check(hash_results(c, 2) == one, c->name, "2 threads: not the bits of 1");
    check(hash_results(c, 4) == one, c->name, "4 threads: not the bits of 1");
    llm_threads(threads);
    free_case(c);
}
static llm_weight weight(const tensor *t) {
    return (llm_weight){t->device, element(t) == 2 ? LLM_TYPE_BF16 : LLM_TYPE_REAL, NULL};
}
static int *random_ids(int n, int below) {
    int *ids = llm_alloc((size_t)n, sizeof *ids);
    for (int i = 0; i < n; i++) ids[i] = llm_rng_below(&rng, below);
    return ids;
}
/* The tensors as the operation sees them; one that the case does not have is NULL. */
static void *in(const op_case *c, int i) { return i < c->ins ? c->in[i].device : NULL; }
static void *grad(const op_case *c, int i) { return i < c->ins ? c->grad[i].device : NULL; }
static void *out(const op_case *c, int k) { return k < c->outs ? c->out[k].device : NULL; }
static void *dout(const op_case *c, int k) { return k < c->outs ? c->dout[k].device : NULL; }
static size_t area(int a, int b) { return (size_t)a * (size_t)b; }
static void clear_expected(op_case *c) {
    for (int i = 0; i < c->ins; i++) memset(c->expected_grad[i], 0, c->in[i].n * sizeof(double));
}

/* ---- embedding ---- */

static void embed_forward(op_case *c) {
    ops->embed_forward(out(c, 0), weight(&c->in[0]), in(c, 1), c->ids, c->more_ids, c->N, c->C);
}
static void embed_backward(op_case *c, bool accumulate) {
    ops->embed_backward(grad(c, 0), grad(c, 1), dout(c, 0), c->ids, c->more_ids, c->N, c->C, c->V, c->T, accumulate,
                        accumulate);
}
static void embed_plain(op_case *c) {
    clear_expected(c);
    for (int n = 0; n < c->N; n++)
        for (int i = 0; i < c->C; i++) {
            size_t at = area(n, c->C) + (size_t)i;
            size_t t = area(c->ids[n], c->C) + (size_t)i, p = area(c->more_ids[n], c->C) + (size_t)i;
            c->expected_out[0][at] = c->in[0].x[t] + (c->ins > 1 ? c->in[1].x[p] : 0);
            c->expected_grad[0][t] += c->dout[0].x[at];
            if (c->ins > 1) c->expected_grad[1][p] += c->dout[0].x[at];
        }
}
static void test_embed(int N, int C, int V, int T, bool learned) {
    op_case c = {.N = N, .C = C, .V = V, .T = T, .forward = embed_forward, .backward = embed_backward,
                 .plain = embed_plain};
    snprintf(c.name, sizeof c.name, "embed N=%d C=%d V=%d T=%d learned=%d", N, C, V, T, learned);
    add_in(&c, "wte", area(V, C), true, PARAMETER, false, true);
    if (learned) add_in(&c, "wpe", area(T, C), false, PARAMETER, false, true);
    add_out(&c, "out", area(N, C), false, true, false);
    c.ids = random_ids(N, V);
    c.more_ids = random_ids(N, T);
    run_case(&c);
}

/* ---- norms ---- */

static void layernorm_forward(op_case *c) {
    ops->layernorm_forward(out(c, 0), out(c, 1), out(c, 2), in(c, 0), in(c, 1), in(c, 2), (llm_real)c->eps, c->N,
                           c->C);
}
static void layernorm_backward(op_case *c, bool accumulate) {
    ops->layernorm_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), in(c, 1), out(c, 1), out(c, 2),
                            c->N, c->C, accumulate);
}
static void rmsnorm_forward(op_case *c) {
    ops->rmsnorm_forward(out(c, 0), out(c, 1), in(c, 0), in(c, 1), (llm_real)c->eps, c->N, c->C);
}
static void rmsnorm_backward(op_case *c, bool accumulate) {
    ops->rmsnorm_backward(grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), in(c, 1), out(c, 1), c->N, c->C, accumulate);
}
/* The full Jacobian of xhat = (x - mean) / sqrt(mean of squares + eps), not the simplified formula. */
static void norm_plain(op_case *c) {
    bool layer = c->outs == 3, bias = c->ins == 3;
    int C = c->C;
    clear_expected(c);
    double *xhat = llm_alloc((size_t)C, sizeof *xhat);
    for (int n = 0; n < c->N; n++) {
        const double *x = c->in[0].x + area(n, C), *d = c->dout[0].x + area(n, C);
        double mean = 0, square = 0;
        for (int i = 0; layer && i < C; i++) mean += x[i] / C;
        for (int i = 0; i < C; i++) square += (x[i] - mean) * (x[i] - mean) / C;
        double rstd = 1 / sqrt(square + c->eps);
        for (int i = 0; i < C; i++) {
            xhat[i] = (x[i] - mean) * rstd;
            c->expected_out[0][area(n, C) + (size_t)i] = xhat[i] * c->in[1].x[i] + (bias ? c->in[2].x[i] : 0);
            c->expected_grad[1][i] += d[i] * xhat[i];
            if (bias) c->expected_grad[2][i] += d[i];
        }
        for (int j = 0; j < C; j++)
            for (int i = 0; i < C; i++) {
                double slope = rstd * ((i == j) - (layer ? 1.0 / C : 0) - xhat[i] * xhat[j] / C);
                c->expected_grad[0][area(n, C) + (size_t)j] += d[i] * c->in[1].x[i] * slope;
            }
        if (layer) c->expected_out[1][n] = mean;
        c->expected_out[layer ? 2 : 1][n] = rstd;
    }
    llm_release(xhat);
}
static void test_norm(int N, int C, bool layer, bool bias) {
    op_case c = {.N = N, .C = C, .eps = 1e-3, .plain = norm_plain,
                 .forward = layer ? layernorm_forward : rmsnorm_forward,
                 .backward = layer ? layernorm_backward : rmsnorm_backward};
    snprintf(c.name, sizeof c.name, "%s N=%d C=%d bias=%d", layer ? "layernorm" : "rmsnorm", N, C, bias);
    add_in(&c, "inp", area(N, C), false, ADDED, false, false);
    add_in(&c, "w", (size_t)C, false, PARAMETER, false, true);
    if (layer && bias) add_in(&c, "bias", (size_t)C, false, PARAMETER, false, true);
    add_out(&c, "out", area(N, C), true, true, true);
    if (layer) add_out(&c, "mean", (size_t)N, false, false, false);
    add_out(&c, "rstd", (size_t)N, false, false, false);
    for (size_t i = 0; i < c.in[0].n; i++) put(&c.in[0], i, c.in[0].x[i] + 2);     /* a mean worth subtracting */
    run_case(&c);
}

/* ---- linear and residual ---- */

static void linear_forward(op_case *c) {
    ops->linear_forward(out(c, 0), in(c, 0), weight(&c->in[1]), in(c, 2), c->N, c->C, c->O);
}
static void linear_backward(op_case *c, bool accumulate) {
    ops->linear_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), weight(&c->in[1]), c->N, c->C,
                         c->O, accumulate);
}
static void residual_forward(op_case *c) {
    ops->residual_forward(out(c, 0), in(c, 3), in(c, 0), weight(&c->in[1]), in(c, 2), c->N, c->C, c->O);
}
static void residual_backward(op_case *c, bool accumulate) {
    ops->residual_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), weight(&c->in[1]), c->N, c->C,
                           c->O, accumulate);
}
static void linear_plain(op_case *c) {
    clear_expected(c);
    for (int n = 0; n < c->N; n++)
        for (int o = 0; o < c->O; o++) {
            size_t at = area(n, c->O) + (size_t)o;
            double sum = c->ins > 2 ? c->in[2].x[o] : 0, d = c->dout[0].x[at];
            if (c->ins > 3) sum += c->in[3].x[at];
            for (int i = 0; i < c->C; i++) {
                size_t x = area(n, c->C) + (size_t)i, w = area(o, c->C) + (size_t)i;
                sum += c->in[0].x[x] * c->in[1].x[w];
                c->expected_grad[0][x] += d * c->in[1].x[w];
                c->expected_grad[1][w] += d * c->in[0].x[x];
            }
            if (c->ins > 2) c->expected_grad[2][o] += d;
            c->expected_out[0][at] = sum;
        }
}
static void test_linear(int N, int in, int out_n, bool bias, bool residual) {
    op_case c = {.N = N, .C = in, .O = out_n, .forward = residual ? residual_forward : linear_forward,
                 .backward = residual ? residual_backward : linear_backward, .plain = linear_plain};
    snprintf(c.name, sizeof c.name, "%s N=%d I=%d O=%d bias=%d", residual ? "residual" : "linear", N, in, out_n, bias);
    add_in(&c, "inp", area(N, in), true, WRITTEN, true, true);
    add_in(&c, "w", area(out_n, in), true, PARAMETER, false, true);
    if (bias || residual) add_in(&c, "bias", (size_t)out_n, false, PARAMETER, false, true);
    if (residual) add_in(&c, "res", area(N, out_n), false, NONE, false, false);
    add_out(&c, "out", area(N, out_n), !residual, true, !residual);
    run_case(&c);
}

/* ---- LoRA ---- */

static llm_real *lora_u, *lora_du;

static void lora_forward(op_case *c) {
    memcpy(out(c, 0), in(c, 3), c->in[3].n * element(&c->in[3]));
    ops->lora_forward(out(c, 0), lora_u, in(c, 0), in(c, 1), in(c, 2), (llm_real)c->scale, c->N, c->C, c->r, c->O,
                      c->ld, c->col, c->flag);
}
static void lora_backward(op_case *c, bool accumulate) {
    ops->lora_backward(grad(c, 0), grad(c, 1), grad(c, 2), lora_du, dout(c, 0), lora_u, in(c, 0), in(c, 1), in(c, 2),
                       (llm_real)c->scale, c->N, c->C, c->r, c->O, c->ld, c->col, c->flag, accumulate);
}
static void lora_plain(op_case *c) {
    clear_expected(c);
    memcpy(c->expected_out[0], c->in[3].x, c->in[3].n * sizeof(double));
    for (int n = 0; n < c->N; n++)
        for (int k = 0; k < c->r; k++) {
            double u = 0, du = 0;
            for (int i = 0; i < c->C; i++)
                u += c->scale * c->in[0].x[area(n, c->C) + (size_t)i] * c->in[1].x[area(k, c->C) + (size_t)i];
            for (int o = 0; o < c->O; o++) {
                size_t at = area(n, c->ld) + (size_t)(c->col + o), b = area(o, c->r) + (size_t)k;
                c->expected_out[0][at] += u * c->in[2].x[b];
                du += c->scale * c->dout[0].x[at] * c->in[2].x[b];
                c->expected_grad[2][b] += c->dout[0].x[at] * u;
            }
            for (int i = 0; i < c->C; i++) {
                size_t x = area(n, c->C) + (size_t)i, a = area(k, c->C) + (size_t)i;
                c->expected_grad[0][x] += du * c->in[1].x[a];
                c->expected_grad[1][a] += du * c->in[0].x[x];
            }
        }
}
static void test_lora(int N, int in, int r, int out_n, int ld, int col, bool residual) {
    op_case c = {.N = N, .C = in, .r = r, .O = out_n, .ld = ld, .col = col, .flag = residual, .scale = 1.75,
                 .forward = lora_forward, .backward = lora_backward, .plain = lora_plain};
    snprintf(c.name, sizeof c.name, "lora N=%d I=%d r=%d O=%d ld=%d col=%d residual=%d", N, in, r, out_n, ld, col,
             residual);
    add_in(&c, "inp", area(N, in), true, ADDED, true, true);
    add_in(&c, "A", area(r, in), false, PARAMETER, false, true);
    add_in(&c, "B", area(out_n, r), false, PARAMETER, false, true);
    add_in(&c, "base", area(N, ld), !residual, NONE, false, false);
    add_out(&c, "out", area(N, ld), !residual, true, !residual);
    lora_u = llm_alloc(area(N, r), sizeof *lora_u);
    lora_du = llm_alloc(area(N, r), sizeof *lora_du);
    run_case(&c);
    llm_release(lora_u);
    llm_release(lora_du);
}

/* ---- rope ---- */

static llm_real *frequency;

static void rope_forward(op_case *c) {
    memcpy(out(c, 0), in(c, 0), c->in[0].n * element(&c->in[0]));
    ops->rope_forward(out(c, 0), frequency, c->ids, c->N, c->H, c->KV, c->D);
}
static void rope_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    memcpy(grad(c, 0), dout(c, 0), c->in[0].n * element(&c->in[0]));
    ops->rope_backward(grad(c, 0), frequency, c->ids, c->N, c->H, c->KV, c->D);
}
static void rope_plain(op_case *c) {
    int heads = c->H + 2 * c->KV, half = c->D / 2;
    for (int n = 0; n < c->N; n++)
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < half; j++) {
                double angle = h < c->H + c->KV ? (double)c->ids[n] * (double)frequency[j] : 0;
                size_t a = (area(n, heads) + (size_t)h) * (size_t)c->D + (size_t)j, b = a + (size_t)half;
                const double *x = c->in[0].x, *d = c->dout[0].x;
                c->expected_out[0][a] = x[a] * cos(angle) - x[b] * sin(angle);
                c->expected_out[0][b] = x[a] * sin(angle) + x[b] * cos(angle);
                c->expected_grad[0][a] = d[a] * cos(angle) + d[b] * sin(angle);
                c->expected_grad[0][b] = d[b] * cos(angle) - d[a] * sin(angle);
            }
}
static void test_rope(int N, int H, int KV, int D, int positions) {
    op_case c = {.N = N, .H = H, .KV = KV, .D = D, .forward = rope_forward, .backward = rope_backward,
                 .plain = rope_plain};
    snprintf(c.name, sizeof c.name, "rope N=%d H=%d KV=%d D=%d positions=%d", N, H, KV, D, positions);
    size_t n = area(N, (H + 2 * KV) * D);
    add_in(&c, "qkv", n, true, WRITTEN, true, false);
    add_out(&c, "out", n, true, true, true);
    c.ids = random_ids(N, positions);
    frequency = llm_alloc((size_t)D / 2, sizeof *frequency);
    for (int j = 0; j < D / 2; j++) frequency[j] = (llm_real)pow(10000, -2.0 * j / D);
    run_case(&c);
    llm_release(frequency);
}

/* ---- attention ---- */

static void attention_forward(op_case *c) {
    ops->attention_forward(out(c, 0), out(c, 1), in(c, 0), c->ids, c->B, c->T, c->H, c->KV, c->D);
}
static void attention_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->attention_backward(grad(c, 0), dout(c, 0), out(c, 0), out(c, 1), in(c, 0), c->ids, c->B, c->T, c->H, c->KV,
                            c->D);
}
/* One query against all its keys, with softmax's Jacobian dS = P (dP - sum P dP). */
static void attention_plain_query(op_case *c, int b, int h, int t, double *p, double *dp) {
    int D = c->D, row = (c->H + 2 * c->KV) * D, kv = h / (c->H / c->KV);
    size_t n = area(b, c->T) + (size_t)t, o = (n * (size_t)c->H + (size_t)h) * (size_t)D;
    size_t q = n * (size_t)row + area(h, D);
    size_t key = area(b, c->T) * (size_t)row + area(c->H + kv, D), value = key + area(c->KV, D);
    double scale = 1 / sqrt(D), sum = 0, dot = 0, max = -INFINITY;
    const double *x = c->in[0].x, *d = c->dout[0].x;
    double *dx = c->expected_grad[0];
    for (int j = c->ids[n]; j <= t; j++) {
        p[j] = 0;
        for (int i = 0; i < D; i++) p[j] += scale * x[q + (size_t)i] * x[key + area(j, row) + (size_t)i];
        max = fmax(max, p[j]);
    }
    for (int j = c->ids[n]; j <= t; j++) sum += p[j] = exp(p[j] - max);
    c->expected_out[1][n * (size_t)c->H + (size_t)h] = max + log(sum);
    for (int i = 0; i < D; i++) c->expected_out[0][o + (size_t)i] = 0;
    for (int j = c->ids[n]; j <= t; j++) {
        p[j] /= sum;
        dp[j] = 0;
        for (int i = 0; i < D; i++) {
            size_t v = value + area(j, row) + (size_t)i;
            c->expected_out[0][o + (size_t)i] += p[j] * x[v];
            dp[j] += d[o + (size_t)i] * x[v];
            dx[v] += p[j] * d[o + (size_t)i];
        }
        dot += p[j] * dp[j];
    }
    for (int j = c->ids[n]; j <= t; j++)
        for (int i = 0; i < D; i++) {
            size_t k = key + area(j, row) + (size_t)i;
            double ds = p[j] * (dp[j] - dot) * scale;
            dx[q + (size_t)i] += ds * x[k];
            dx[k] += ds * x[q + (size_t)i];
        }
}
static void attention_plain(op_case *c) {
    double *p = llm_alloc((size_t)c->T, sizeof *p), *dp = llm_alloc((size_t)c->T, sizeof *dp);
    clear_expected(c);
    for (int b = 0; b < c->B; b++)
        for (int h = 0; h < c->H; h++)
            for (int t = 0; t < c->T; t++) attention_plain_query(c, b, h, t, p, dp);
    llm_release(p);
    llm_release(dp);
}
/* documents 0: one a row; else they begin about every `documents` tokens. */
static int *document_starts(int B, int T, int documents) {
    int *start = llm_alloc(area(B, T), sizeof *start);
    for (int b = 0; b < B; b++)
        for (int t = 1; t < T; t++)
            start[b * T + t] = documents && llm_rng_below(&rng, documents) == 0 ? t : start[b * T + t - 1];
    return start;
}
static void test_attention(int B, int T, int H, int KV, int D, int documents) {
    op_case c = {.B = B, .T = T, .H = H, .KV = KV, .D = D, .forward = attention_forward, .backward = attention_backward,
                 .plain = attention_plain};
    snprintf(c.name, sizeof c.name, "attention B=%d T=%d H=%d KV=%d D=%d documents=%d", B, T, H, KV, D, documents);
    add_in(&c, "qkv", area(B * T, (H + 2 * KV) * D), true, WRITTEN, true, false);
    add_out(&c, "out", area(B * T, H * D), true, true, true);
    add_out(&c, "lse", area(B * T, H), false, false, false);
    c.ids = document_starts(B, T, documents);
    run_case(&c);
}

/* ---- gelu and swiglu ---- */

static void gelu_forward(op_case *c) { ops->gelu_forward(out(c, 0), in(c, 0), c->in[0].n); }
static void gelu_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->gelu_backward(grad(c, 0), dout(c, 0), in(c, 0), c->in[0].n);
}
static void gelu_plain(op_case *c) {
    const double k = 0.7978845608028654;
    for (size_t i = 0; i < c->in[0].n; i++) {
        double x = c->in[0].x[i], t = tanh(k * (x + 0.044715 * x * x * x)), slope = k * (1 + 3 * 0.044715 * x * x);
        c->expected_out[0][i] = 0.5 * x * (1 + t);
        c->expected_grad[0][i] = c->dout[0].x[i] * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope);
    }
}
static void test_gelu(int n) {
    op_case c = {.forward = gelu_forward, .backward = gelu_backward, .plain = gelu_plain};
    snprintf(c.name, sizeof c.name, "gelu n=%d", n);
    add_in(&c, "inp", (size_t)n, true, WRITTEN, true, false);
    add_out(&c, "out", (size_t)n, true, true, true);
    for (int i = 0; i < n && i < 8 && !exact; i++) put(&c.in[0], (size_t)i, (i - 4) * 12.0);    /* far tails */
    run_case(&c);
}
static void swiglu_forward(op_case *c) { ops->swiglu_forward(out(c, 0), in(c, 0), c->N, c->C); }
static void swiglu_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->swiglu_backward(grad(c, 0), dout(c, 0), in(c, 0), c->N, c->C);
}
static void swiglu_plain(op_case *c) {
    for (int n = 0; n < c->N; n++)
        for (int i = 0; i < c->C; i++) {
            size_t to = area(n, c->C) + (size_t)i, from = 2 * area(n, c->C) + (size_t)i, up = from + (size_t)c->C;
            double g = c->in[0].x[from], u = c->in[0].x[up], s = 1 / (1 + exp(-g)), d = c->dout[0].x[to];
            c->expected_out[0][to] = g * s * u;
            c->expected_grad[0][from] = d * u * (s + g * s * (1 - s));
            c->expected_grad[0][up] = d * g * s;
        }
}
static void test_swiglu(int N, int F) {
    op_case c = {.N = N, .C = F, .forward = swiglu_forward, .backward = swiglu_backward, .plain = swiglu_plain};
    snprintf(c.name, sizeof c.name, "swiglu N=%d F=%d", N, F);
    add_in(&c, "gateup", 2 * area(N, F), true, WRITTEN, true, false);
    add_out(&c, "out", area(N, F), true, true, true);
    run_case(&c);
}

/* ---- the head ---- */

static llm_head head_of(const op_case *c) { return (llm_head){(llm_real)c->temperature, c->banned}; }

static void logprob_forward(op_case *c) {
    ops->logprob_forward(out(c, 0), out(c, 1), out(c, 2), in(c, 0), weight(&c->in[1]), c->ids, head_of(c), c->N, c->C,
                         c->V);
}
static void logprob_backward(op_case *c, bool accumulate) {
    ops->logprob_backward(grad(c, 0), grad(c, 1), dout(c, 0), dout(c, 2), out(c, 1), out(c, 2), in(c, 0),
                          weight(&c->in[1]), c->ids, head_of(c), c->N, c->C, c->V, accumulate);
}
/* The fused sweep must give backward's gradients, and forward's logp wherever dlogp is not 0. */
static void logprob_fused(op_case *c, bool accumulate) {
    tensor logp = tensor_new("logp", (size_t)c->N, false);
    poison(&logp);
    ops->logprob_fused(logp.device, grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), weight(&c->in[1]), c->ids,
                       head_of(c), c->N, c->C, c->V, accumulate);
    for (int n = 0; n < c->N; n++)
        if (c->dout[0].x[n] == 0) put(&logp, (size_t)n, c->expected_out[0][n]);
    compare(c, "fused", &logp, c->expected_out[0], NULL);
    llm_release(logp.x);
    llm_release(logp.device);
}
static void logprob_plain_row(op_case *c, int n, double *z, double *dz) {
    double sum = 0, max = -INFINITY, entropy = 0, g = c->dout[0].x[n], h = c->outs > 2 ? c->dout[2].x[n] : 0;
    for (int k = 0; k < c->V; k++) {
        z[k] = 0;
        for (int i = 0; i < c->C; i++)
            z[k] += c->in[0].x[area(n, c->C) + (size_t)i] * c->in[1].x[area(k, c->C) + (size_t)i];
        z[k] /= c->temperature;
        if (!(c->banned && c->banned[k])) max = fmax(max, z[k]);
    }
    for (int k = 0; k < c->V; k++) sum += c->banned && c->banned[k] ? 0 : exp(z[k] - max);
    double lse = max + log(sum);
    for (int k = 0; k < c->V; k++) entropy -= c->banned && c->banned[k] ? 0 : exp(z[k] - lse) * (z[k] - lse);
    for (int k = 0; k < c->V; k++) {
        double p = exp(z[k] - lse);
        dz[k] = (g * ((k == c->ids[n]) - p) - h * p * (z[k] - lse + entropy)) / c->temperature;
        if (c->banned && c->banned[k]) dz[k] = 0;
        for (int i = 0; i < c->C; i++) {
            size_t x = area(n, c->C) + (size_t)i, w = area(k, c->C) + (size_t)i;
            c->expected_grad[0][x] += dz[k] * c->in[1].x[w];
            c->expected_grad[1][w] += dz[k] * c->in[0].x[x];
        }
    }
    c->expected_out[0][n] = z[c->ids[n]] - lse;
    c->expected_out[1][n] = lse;
    if (c->outs > 2) c->expected_out[2][n] = entropy;
}
static void logprob_plain(op_case *c) {
    double *z = llm_alloc((size_t)c->V, sizeof *z), *dz = llm_alloc((size_t)c->V, sizeof *dz);
    clear_expected(c);
    for (int n = 0; n < c->N; n++) logprob_plain_row(c, n, z, dz);
    llm_release(z);
    llm_release(dz);
}
/* zeros: every how many rows dlogp is 0 (0: none is). */
static void test_logprob(int N, int C, int V, double temperature, bool ban, bool entropy, bool fused, int zeros) {
    op_case c = {.N = N, .C = C, .V = V, .temperature = temperature, .forward = logprob_forward,
                 .backward = fused ? logprob_fused : logprob_backward, .plain = logprob_plain};
    snprintf(c.name, sizeof c.name, "logprob N=%d C=%d V=%d temperature=%g banned=%d entropy=%d fused=%d zeros=%d", N,
             C, V, temperature, ban, entropy, fused, zeros);
    add_in(&c, "hidden", area(N, C), true, WRITTEN, true, true);
    add_in(&c, "w", area(V, C), true, PARAMETER, false, true);
    add_out(&c, "logp", (size_t)N, false, true, false);
    add_out(&c, "lse", (size_t)N, false, false, false);
    if (entropy) add_out(&c, "entropy", (size_t)N, false, true, false);
    for (size_t i = 0; i < c.in[1].n; i++) put(&c.in[1], i, c.in[1].x[i] / sqrt(C));
    c.ids = random_ids(N, V);
    if (ban) {
        c.banned = llm_alloc((size_t)V, 1);
        for (int k = 0; k < V; k++) c.banned[k] = k % 3 == 1;
        for (int n = 0; n < N; n++) c.ids[n] -= c.ids[n] % 3 == 1;          /* nobody is asked to say what is banned */
    }
    for (int n = 0; zeros && n < N; n++)
        if (n % zeros == 0) put(&c.dout[0], (size_t)n, 0);
    run_case(&c);
}
/* A banned target: its logp is hugely negative but finite, and no gradient reaches it. */
static void test_banned_target(void) {
    enum { C = 3, V = 5 };
    llm_real hidden[C] = {1, 2, 3}, w[V * C], logp, lse, dlogp = 1, dw[V * C];
    llm_real room[C], droom[C];
    llm_act *act = (llm_act *)(void *)room, *dact = (llm_act *)(void *)droom;
    uint8_t banned[V] = {0, 1, 0, 0, 0};
    int target = 1;
    for (int i = 0; i < V * C; i++) w[i] = (llm_real)llm_rng_normal(&rng);
    for (int i = 0; i < C; i++) act_store_n(act, (size_t)i, vset(hidden[i]), 1);
    llm_weight weights = {w, LLM_TYPE_REAL, NULL};
    ops->logprob_forward(&logp, &lse, NULL, act, weights, &target, (llm_head){1, banned}, 1, C, V);
    check(isfinite((double)logp) && logp < -1e20, "banned target", "logp is not hugely negative and finite");
    ops->logprob_backward(dact, dw, &dlogp, NULL, &lse, NULL, act, weights, &target, (llm_head){1, banned}, 1, C, V,
                          false);
    bool zero = true;
    for (int i = 0; i < C; i++) zero = zero && dw[C + i] == 0;
    check(zero, "banned target", "a gradient reached the banned row");
}
static void logits_forward(op_case *c) { ops->logits(out(c, 0), in(c, 0), weight(&c->in[1]), c->N, c->C, c->O); }
static void test_logits(int N, int C, int V) {
    op_case c = {.N = N, .C = C, .O = V, .forward = logits_forward, .plain = linear_plain};
    snprintf(c.name, sizeof c.name, "logits N=%d C=%d V=%d", N, C, V);
    add_in(&c, "hidden", area(N, C), true, NONE, false, false);
    add_in(&c, "w", area(V, C), true, NONE, false, false);
    add_out(&c, "out", area(N, V), false, true, false);
    run_case(&c);
}

/* ---- value ---- */

static void value_forward(op_case *c) { ops->value_forward(out(c, 0), in(c, 0), in(c, 1), c->N, c->C); }
static void value_backward(op_case *c, bool accumulate) {
    ops->value_backward(grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), in(c, 1), c->N, c->C, c->flag, accumulate);
}
static void value_plain(op_case *c) {
    clear_expected(c);
    for (int n = 0; n < c->N; n++) {
        c->expected_out[0][n] = 0;
        for (int i = 0; i < c->C; i++) {
            size_t at = area(n, c->C) + (size_t)i;
            c->expected_out[0][n] += c->in[0].x[at] * c->in[1].x[i];
            c->expected_grad[0][at] = c->dout[0].x[n] * c->in[1].x[i];
            c->expected_grad[1][i] += c->dout[0].x[n] * c->in[0].x[at];
        }
    }
}
static void test_value(int N, int C, bool added) {
    op_case c = {.N = N, .C = C, .flag = added, .forward = value_forward, .backward = value_backward,
                 .plain = value_plain};
    snprintf(c.name, sizeof c.name, "value N=%d C=%d added=%d", N, C, added);
    add_in(&c, "hidden", area(N, C), true, added ? ADDED : WRITTEN, true, true);
    add_in(&c, "u", (size_t)C, false, PARAMETER, false, true);
    add_out(&c, "value", (size_t)N, false, true, false);
    run_case(&c);
}

/* ---- what has no gradient: memory, sumsq, adamw, the table ---- */

static void test_memory(void) {
    const size_t n = 300001;
    unsigned char *x = ops->alloc(n), *host = llm_alloc(n, 1), *back = llm_alloc(n, 1);
    size_t other = 0;
    for (size_t i = 0; i < n; i++) {
        other += x[i] != 0;
        host[i] = (unsigned char)(i * 7 + 1);
    }
    check(other == 0, "alloc", "the memory is not zero");
    ops->upload(x, host, n);
    ops->download(back, x, n);
    check(memcmp(host, back, n) == 0, "upload, download", "not what was sent");
    ops->zero(x + 1, n - 2);
    for (size_t i = 0; i < n; i++) other += x[i] != (i == 0 || i == n - 1 ? host[i] : 0);
    check(other == 0, "zero", "wrong bytes");
    check(ops->alloc(SIZE_MAX) == NULL, "alloc", "an impossible size must give NULL");
    ops->release(x);
    llm_release(host);
    llm_release(back);
}
static void test_sumsq(size_t n) {
    tensor t = tensor_new("x", n, false);
    double sum = 0, first = 0;
    int threads = llm_threads(0);
    for (size_t i = 0; i < n; i++) sum += t.x[i] * t.x[i];
    for (int k = 1; k <= 4; k *= 2) {
        llm_threads(k);
        double s = ops->sumsq(t.device, n);
        if (k == 1) first = s;
        char detail[100];
        snprintf(detail, sizeof detail, "n=%zu threads=%d: %.17g, plainly %.17g", n, k, s, sum);
        check(fabs(s - sum) <= (exact ? 1e-12 : 1e-6) * sum && s == first, "sumsq", detail);
    }
    llm_threads(threads);
    llm_release(t.x);
    llm_release(t.device);
}
/* Ten steps against the formula. With moments in bf16, their mean over many equal parameters must follow it. */
static void test_adamw(size_t n, bool moments16) {
    llm_real *w = llm_alloc(n, sizeof *w), *g = llm_alloc(n, sizeof *g);
    double *W = llm_alloc(n, sizeof *W), *M = llm_alloc(n, sizeof *M), *V = llm_alloc(n, sizeof *V);
    void *m = llm_alloc(n, sizeof *w), *v = llm_alloc(n, sizeof *w);
    uint16_t *copy = llm_alloc(n, sizeof *copy);
    llm_adamw_args a = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_scale = 0.5};
    for (size_t i = 0; i < n; i++) W[i] = w[i] = (llm_real)(moments16 ? 1 : llm_rng_normal(&rng));
    for (a.step = 1; a.step <= 10; a.step++) {
        for (size_t i = 0; i < n; i++) g[i] = (llm_real)(moments16 ? 0.3 + 0.01 * a.step : llm_rng_normal(&rng));
        llm_threads(a.step % 4 + 1);
        ops->adamw(w, copy, g, m, v, n, a, moments16);
        for (size_t i = 0; i < n; i++) {
            double d = a.grad_scale * g[i];
            M[i] = a.beta1 * M[i] + (1 - a.beta1) * d;
            V[i] = a.beta2 * V[i] + (1 - a.beta2) * d * d;
            double mhat = M[i] / (1 - pow(a.beta1, a.step)), vhat = V[i] / (1 - pow(a.beta2, a.step));
            W[i] -= a.lr * (mhat / (sqrt(vhat) + a.eps) + a.weight_decay * W[i]);
        }
    }
    double worst = 0, largest = 0, copied = 0, sum = 0, mean = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(w[i] - W[i]));
        largest = fmax(largest, fabs(W[i]));
        copied += copy[i] != real_to_bf16(w[i]);
        sum += V[i] / (double)n;
        mean += (moments16 ? (double)bf16_to_real(((uint16_t *)v)[i]) : (double)((llm_real *)v)[i]) / (double)n;
    }
    char detail[160];
    snprintf(detail, sizeof detail, "n=%zu moments16=%d: error %.3g of w up to %.3g, mean v %.6g, plainly %.6g", n,
             moments16, worst, largest, mean, sum);
    check(worst <= (moments16 ? 3e-3 : exact ? 1e-13 : 1e-6) * largest, "adamw", detail);
    check(fabs(mean - sum) <= (moments16 ? 1e-3 : 1e-6) * sum, "adamw, second moment", detail);
    check(copied == 0, "adamw, bf16 copy", detail);
    void *all[8] = {w, g, W, M, V, m, v, copy};
    for (int i = 0; i < 8; i++) llm_release(all[i]);
}
static jmp_buf escape;
static char last_words[400];
static void caught(const char *message) {
    snprintf(last_words, sizeof last_words, "%s", message);
    longjmp(escape, 1);
}
static void test_refusals(void) {
    llm_ops incomplete = *ops;
    incomplete.attention_backward = NULL;
    llm_on_death = caught;
    last_words[0] = 0;
    if (!setjmp(escape)) llm_ops_check(&incomplete);
    check(strstr(last_words, "attention_backward") != NULL, "llm_ops_check", "a missing row was not named");
    last_words[0] = 0;
    llm_real x = 0;
    int target = 0;
    llm_weight one = {&x, LLM_TYPE_REAL, NULL};
    if (!setjmp(escape))
        ops->logprob_forward(&x, &x, NULL, (llm_act *)(void *)&x, one, &target, (llm_head){0, NULL}, 1, 1, 1);
    check(strstr(last_words, "temperature") != NULL, "logprob", "temperature 0 was not refused");
    llm_on_death = NULL;
}

/* ---- a row's result depends on that row alone ---- */

static void test_invariance(void) {
    enum { B = 3, T = 150, SHORT = 97, H = 4, KV = 2, D = 16, ROW = (H + 2 * KV) * D };
    const size_t size = ops->act_size;
    tensor qkv = tensor_new("qkv", area(B * T, ROW), true), out = tensor_new("out", area(B * T, H * D), true);
    tensor one = tensor_new("one", area(B * T, H * D), true), lse = tensor_new("lse", area(B * T, H), false);
    int *start = document_starts(B, T, 0);
    ops->attention_forward(out.device, lse.device, qkv.device, start, B, T, H, KV, D);
    ops->attention_forward(one.device, lse.device, (llm_act *)((char *)qkv.device + area(2 * T, ROW) * size), start,
                           1, SHORT, H, KV, D);
    const char *third = (char *)out.device + area(2 * T, H * D) * size;
    check(memcmp(one.device, third, area(SHORT, H * D) * size) == 0, "attention", "alone, or cut short: other bits");
    enum { C = 40, V = 300 };
    tensor w = tensor_new("w", area(V, C), true), a = tensor_new("a", 30, false), b = tensor_new("b", 30, false);
    int *target = random_ids(30, V);
    llm_head head = {1, NULL};
    ops->logprob_forward(a.device, lse.device, NULL, qkv.device, weight(&w), target, head, 30, C, V);
    ops->logprob_forward(b.device, lse.device, NULL, (llm_act *)((char *)qkv.device + area(13, C) * size), weight(&w),
                         target + 13, head, 5, C, V);
    const llm_real *same = (llm_real *)a.device + 13;
    check(memcmp(b.device, same, 5 * sizeof(llm_real)) == 0, "logprob", "without the rows beside it: other bits");
    tensor *all[7] = {&qkv, &out, &one, &lse, &w, &a, &b};
    for (int i = 0; i < 7; i++) {
        llm_release(all[i]->x);
        llm_release(all[i]->device);
    }
    llm_release(start);
    llm_release(target);
}

/* A text alone, and packed behind another: blocks and chunks begin elsewhere, every bit stays. */
static void test_packed(void) {
    enum { FIRST = 77, T = 300, ALL = FIRST + T, H = 4, KV = 2, D = 24, ROW = (H + 2 * KV) * D, OUT = H * D };
    const size_t size = ops->act_size;
    tensor qkv = tensor_new("qkv", area(ALL, ROW), true), dout = tensor_new("dout", area(ALL, OUT), true);
    tensor out[2], dqkv[2], lse[2];
    int start[ALL];
    for (int i = 0; i < 2; i++) {
        out[i] = tensor_new("out", area(ALL, OUT), true);
        dqkv[i] = tensor_new("dqkv", area(ALL, ROW), true);
        lse[i] = tensor_new("lse", area(ALL, H), false);
    }
    for (int i = 0; i < ALL; i++) start[i] = i < FIRST ? 0 : FIRST;
    ops->attention_forward(out[0].device, lse[0].device, qkv.device, start, 1, ALL, H, KV, D);
    ops->attention_backward(dqkv[0].device, dout.device, out[0].device, lse[0].device, qkv.device, start, 1, ALL, H,
                            KV, D);
    memset(start, 0, sizeof start);
    const llm_act *text = (llm_act *)((char *)qkv.device + area(FIRST, ROW) * size);
    ops->attention_forward(out[1].device, lse[1].device, text, start, 1, T, H, KV, D);
    ops->attention_backward(dqkv[1].device, (llm_act *)((char *)dout.device + area(FIRST, OUT) * size), out[1].device,
                            lse[1].device, text, start, 1, T, H, KV, D);
    const char *behind = (char *)out[0].device + area(FIRST, OUT) * size;
    check(memcmp(out[1].device, behind, area(T, OUT) * size) == 0, "attention", "packed: other bits of out");
    behind = (char *)dqkv[0].device + area(FIRST, ROW) * size;
    check(memcmp(dqkv[1].device, behind, area(T, ROW) * size) == 0, "attention", "packed: other bits of dqkv");
    tensor *all[] = {&qkv, &dout, &out[0], &out[1], &dqkv[0], &dqkv[1], &lse[0], &lse[1]};
    for (int i = 0; i < 8; i++) {
        llm_release(all[i]->x);
        llm_release(all[i]->device);
    }
}

static void test_all(void) {
    test_memory();
    test_refusals();
    test_invariance();
    test_packed();
    test_embed(7, 5, 11, 4, true);
    test_embed(50, 67, 23, 9, true);
    test_embed(33, 96, 5, 8, false);
    int rows[] = {1, 7, 90}, cols[] = {2, 5, 16, 33, 96, 130};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 6; k++) {
            test_norm(rows[i], cols[k], true, k % 2);
            test_norm(rows[i], cols[k], false, false);
        }
    test_norm(1100, 64, true, true);
    int shape[][3] = {{1, 1, 1}, {5, 7, 3}, {33, 17, 49}, {64, 96, 48}, {70, 130, 65}};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) test_linear(shape[i][0], shape[i][1], shape[i][2], k == 1, k == 2);
    for (int k = 0; k < 2; k++) {
        test_lora(5, 7, 2, 6, 6, 0, k);
        test_lora(37, 33, 4, 17, 60, 21, k);
        test_lora(64, 64, 8, 32, 96, 64, k);
    }
    test_rope(5, 2, 2, 8, 30);
    test_rope(41, 3, 1, 10, 70);
    test_rope(20, 4, 2, 64, 40);
    test_attention(1, 1, 1, 1, 4, 0);
    test_attention(2, 9, 2, 2, 5, 0);
    test_attention(2, 40, 4, 2, 16, 0);
    test_attention(2, 33, 6, 1, 7, 5);
    test_attention(1, 150, 2, 1, 8, 0);
    test_attention(2, 300, 2, 2, 12, 60);
    test_attention(1, 260, 3, 3, 32, 20);
    test_gelu(1);
    test_gelu(257);
    test_gelu(20000);
    test_swiglu(1, 1);
    test_swiglu(13, 37);
    test_swiglu(8, 96);
    double temperature[] = {1, 0.7};
    for (int k = 0; k < 16; k++) test_logprob(9, 13, 37, temperature[k & 1], k & 2, k & 4, false, k & 8 ? 2 : 0);
    for (int k = 0; k < 8; k++) test_logprob(11, 24, 70, temperature[k & 1], k & 2, false, true, k & 4 ? 2 : 0);
    test_logprob(1025, 6, 19, 1, false, true, false, 0);
    test_logprob(1400, 5, 17, 1, false, false, true, 5);
    test_logprob(6, 4, 9, 1, false, false, false, 1);
    test_logprob(6, 4, 9, 1, false, false, true, 1);
    test_banned_target();
    test_logits(9, 33, 50);
    for (int k = 0; k < 2; k++) {
        test_value(1, 1, k);
        test_value(19, 37, k);
        test_value(40, 96, k);
    }
    test_sumsq(0);
    test_sumsq(5);
    test_sumsq(100003);
    test_adamw(1001, false);
    test_adamw(40000, false);
    test_adamw(40000, true);
}

int main(void) {
    static const char *const name[] = {"fp32", "bf16x3", "bf16"};
    static const double allowed[] = {exact ? 1e-12 : 1e-5, 1e-4, 2e-2};
    for (int p = 0; p < (exact ? 1 : 3); p++) {
        int before = passed + failed;
        ops = llm_cpu((llm_precision)p);
        llm_ops_check(ops);
        tolerance = allowed[p];
        rng = llm_rng_seed(5, (uint64_t)p);
        test_all();
        printf("%s, %s: %d checks\n", exact ? "double" : "float", name[p], passed + failed - before);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
