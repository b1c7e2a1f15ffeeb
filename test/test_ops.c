/* test_ops.c: every row of a table of operations against llm_plain's, and llm_plain against finite differences.

   Built twice from this source:
     -DLLM_REAL=double   llm_plain's gradients equal finite differences of its forward pass to 1e-7 of the tensor's
                         largest gradient, and the rows of llm_cpu equal llm_plain's to 1e-12;
     float               the rows of each precision's table equal llm_plain's within that precision's tolerance.

   Both, for llm_plain and for each table: 1, 2 and 4 threads give the same bits; outputs are poisoned with NaN before,
   so that what must be written is written and what must be added is added; the gradient of a frozen tensor may be NULL
   and changes nothing else. The table under test sees its own memory alone (alloc, upload, download), in its own forms.

   A formula of their own, in double, have here only the rows that finite differences do not reach: grad_norm and adamw,
   and how q8 and q4 are read. With -DLLM_PLAIN llm_plain is the only table. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include <setjmp.h>

enum { exact = sizeof(llm_real) == sizeof(double) };        /* the build for finite differences */
static int passed, failed;
static const llm_ops *table;            /* under test */
static const llm_ops *ops;              /* running: the table, or the oracle */
static bool oracle;                     /* llm_plain runs, on the host's arrays */
static llm_rng rng;
static double tolerance;

static void use(bool the_oracle) {
    oracle = the_oracle;
    ops = oracle ? &llm_plain : table;
    if (ops->enter) ops->enter(ops);
}
static void check(bool ok, const char *what, const char *detail) {
    if (ok) passed++;
    else {
        failed++;
        printf("FAILED %s %s\n", what, detail);
    }
}

/* ---- a tensor, twice: on the host as the oracle sees it, on the device in the table's form ---- */

typedef enum { REAL, ACT, RES, DRES, WEIGHT, BF16, Q8, Q4 } form;       /* WEIGHT: bf16 where the table's are */
typedef struct {
    const char *name;
    size_t n, cols;
    form form;
    llm_real *x;                        /* an input's values; of results and gradients, what the oracle says */
    llm_real *before;                   /* what lay there before something was added */
    void *device;
    llm_real *full;                     /* a weight also as llm_real, and the scales of q8 and q4 */
    uint16_t *scale;
} tensor;

static size_t area(size_t a, size_t b) { return a * b; }
static void *device_new(size_t bytes) {
    void *p = table->alloc(bytes + 64);
    if (!p) llm_die("a smaller test", "no device memory for %zu bytes", bytes);
    return p;
}
static size_t element(const tensor *t) {
    return t->form == ACT ? table->act_size : t->form == RES ? table->res_size : t->form == DRES ? table->dres_size
           : t->form == BF16 || (t->form == WEIGHT && table->precision == LLM_BF16) ? 2 : sizeof(llm_real);
}
static llm_type type_of(const tensor *t) {
    return t->form == Q8 ? LLM_TYPE_Q8 : t->form == Q4 ? LLM_TYPE_Q4
           : element(t) == 2 ? LLM_TYPE_BF16 : LLM_TYPE_REAL;
}
static void send(tensor *t, const llm_real *x) {
    uint16_t *half = llm_alloc(t->n + 1, sizeof *half);
    for (size_t i = 0; i < t->n; i++) half[i] = real_to_bf16(x[i]);
    if (element(t) == 2) table->upload(t->device, half, t->n * 2);
    else table->upload(t->device, x, t->n * sizeof *x);
    if (t->full) table->upload(t->full, x, t->n * sizeof *x);
    llm_release(half);
}
static llm_real *receive(const tensor *t) {
    llm_real *x = llm_alloc(t->n + 1, sizeof *x);
    uint16_t *half = llm_alloc(t->n + 1, sizeof *half);
    if (element(t) == 2) table->download(half, t->device, t->n * 2);
    else table->download(x, t->device, t->n * sizeof *x);
    for (size_t i = 0; i < t->n && element(t) == 2; i++) x[i] = bf16_to_real(half[i]);
    llm_release(half);
    return x;
}
/* A matrix in fewer bits, and what it then says: q times its block's scale, within one scale of what it was (and 8 x
   0.4%, by which the scale itself is rounded). */
static void pack(tensor *t) {
    const size_t rows = t->n / t->cols, blocks = (t->cols + 31) / 32;
    const size_t row_bytes = t->form == Q8 ? t->cols : 16 * blocks;
    uint8_t *bytes = llm_alloc(rows, row_bytes);
    uint16_t *scale = llm_alloc(rows * blocks, sizeof *scale);
    double worst = 0;
    for (size_t r = 0; r < rows; r++) {
        uint8_t *row = bytes + r * row_bytes;
        check(pack_weights(type_of(t), row, scale + r * blocks, t->x + r * t->cols, (int)t->cols), "pack", "refused");
        for (size_t i = 0; i < t->cols; i++) {
            const uint8_t two = row[t->form == Q8 ? i : i / 32 * 16 + i % 16];
            const double s = (double)bf16_to_real(scale[r * blocks + i / 32]);
            const double y = s * (t->form == Q8 ? (int8_t)two : (i % 32 < 16 ? two & 15 : two >> 4) - 8);
            worst = fmax(worst, fabs(y - (double)t->x[r * t->cols + i]) / fabs(s));
            t->x[r * t->cols + i] = (llm_real)y;
        }
    }
    check(worst <= 1.04, "pack", "a number is off by more than its scale");
    table->upload(t->device, bytes, rows * row_bytes);
    table->upload(t->scale, scale, rows * blocks * sizeof *scale);
    llm_release(bytes);
    llm_release(scale);
}
/* The test has chosen x: round it to what the table can hold, and send it there. */
static void settle(tensor *t) {
    if (t->form == Q8 || t->form == Q4) {
        pack(t);
        return;
    }
    for (size_t i = 0; i < t->n && element(t) == 2; i++) t->x[i] = bf16_to_real(real_to_bf16(t->x[i]));
    send(t, t->x);
}
static void fill_before(tensor *t) {
    for (size_t i = 0; i < t->n; i++) {
        t->before[i] = (llm_real)llm_rng_normal(&rng);
        if (element(t) == 2) t->before[i] = bf16_to_real(real_to_bf16(t->before[i]));
    }
    send(t, t->before);
}
static void poison(tensor *t) {
    void *nan = llm_alloc(t->n + 1, element(t));
    memset(nan, 0xFF, t->n * element(t));
    table->upload(t->device, nan, t->n * element(t));
    llm_release(nan);
}
static tensor tensor_new(const char *name, size_t n, form form) {
    tensor t = {.name = name, .n = n, .cols = n, .form = form, .x = llm_alloc(n + 1, sizeof(llm_real)),
                .before = llm_alloc(n + 1, sizeof(llm_real)), .device = device_new(n * sizeof(llm_real))};
    for (size_t i = 0; i < n; i++) t.x[i] = (llm_real)llm_rng_normal(&rng);
    if (form == WEIGHT) t.full = device_new(n * sizeof(llm_real));
    if (form == Q8 || form == Q4) t.scale = device_new(n * sizeof *t.scale);
    return t;
}
static void tensor_free(tensor *t) {
    llm_release(t->x);
    llm_release(t->before);
    void *all[] = {t->device, t->full, t->scale};
    for (int i = 0; i < 3; i++)
        if (all[i]) table->release(all[i]);
    *t = (tensor){0};
}
static uint64_t hash_tensor(const tensor *t, uint64_t h) {
    void *bytes = llm_alloc(t->n + 1, element(t));
    table->download(bytes, t->device, t->n * element(t));
    h = llm_hash(bytes, t->n * element(t), h);
    llm_release(bytes);
    return h;
}
static int *ints_to_device(const int *host, size_t n) {
    int *device = device_new(n * sizeof *host);
    table->upload(device, host, n * sizeof *host);
    return device;
}

/* ---- a case: an operation with its tensors ---- */

/* What backward does to a gradient. PARAMETER: writes or adds, as `accumulate` says. NONE: there is none. */
typedef enum { NONE, WRITTEN, ADDED, PARAMETER } gradient;

typedef struct op_case op_case;
struct op_case {
    char name[160];
    tensor in[4], grad[4], out[3], dout[3];
    gradient kind[4];
    bool may_be_null[4];
    int ins, outs;
    int *ids[2], *device_ids[2];
    size_t id_count[2];
    uint8_t *banned, *device_banned;
    llm_ids loaded;
    size_t N, B, T, C, O, V, H, KV, D, r, rows;
    llm_slice slice;
    double eps, scale, temperature;
    bool flag;                          /* lora: the residual stream; norm, value: its input's gradient is added */
    void (*forward)(op_case *), (*backward)(op_case *, bool accumulate);
};

static void add_in(op_case *c, const char *name, size_t n, form form, gradient kind, bool may_be_null) {
    int i = c->ins++;
    c->in[i] = tensor_new(name, n, form);
    c->kind[i] = kind;
    c->may_be_null[i] = may_be_null;
    c->grad[i] = tensor_new(name, n, kind == PARAMETER ? REAL : form == RES ? DRES : form);
}
static void add_matrix(op_case *c, const char *name, size_t rows, size_t cols, form form) {
    const bool learns = form == WEIGHT || form == REAL;
    add_in(c, name, rows * cols, form, learns ? PARAMETER : NONE, learns);
    c->in[c->ins - 1].cols = cols;
}
static void add_out(op_case *c, const char *name, size_t n, form form, bool differentiable) {
    int k = c->outs++;
    c->out[k] = tensor_new(name, n, form);
    c->dout[k] = differentiable ? tensor_new(name, n, form == RES ? DRES : form) : (tensor){0};
}
static void add_ids(op_case *c, int k, int *ids, size_t n) {
    c->ids[k] = ids;
    c->id_count[k] = n;
    c->device_ids[k] = ints_to_device(ids, n);
}
static int *random_ids(size_t n, size_t below) {
    int *ids = llm_alloc(n, sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = llm_rng_below(&rng, (int)below);
    return ids;
}
static void free_case(op_case *c) {
    for (int i = 0; i < 4; i++) {
        tensor *t[4] = {&c->in[i], &c->grad[i], i < 3 ? &c->out[i] : NULL, i < 3 ? &c->dout[i] : NULL};
        for (int k = 0; k < 4; k++)
            if (t[k] && t[k]->x) tensor_free(t[k]);
    }
    void *device[] = {c->device_ids[0], c->device_ids[1], c->device_banned, c->loaded.tokens, c->loaded.targets,
                      c->loaded.positions, c->loaded.start};
    for (int i = 0; i < 7; i++)
        if (device[i]) table->release(device[i]);
    for (int k = 0; k < 2; k++) llm_release(c->ids[k]);
    llm_release(c->banned);
}

/* The tensors as the running operation sees them; one that the case does not have is NULL. */
static void *at(const tensor *t) { return oracle ? (void *)t->x : t->device; }
static void *in(const op_case *c, int i) { return i < c->ins ? at(&c->in[i]) : NULL; }
static void *grad(const op_case *c, int i) { return i < c->ins && c->kind[i] != NONE ? at(&c->grad[i]) : NULL; }
static void *out(const op_case *c, int k) { return k < c->outs ? at(&c->out[k]) : NULL; }
static void *dout(const op_case *c, int k) { return k < c->outs ? at(&c->dout[k]) : NULL; }
static const int *ids(const op_case *c, int k) { return oracle ? c->ids[k] : c->device_ids[k]; }
static llm_weight weight(const op_case *c, int i) {
    if (i >= c->ins) return (llm_weight){0};
    const tensor *t = &c->in[i];
    if (oracle) return (llm_weight){t->x, LLM_TYPE_REAL, NULL, t->x};
    return (llm_weight){t->device, type_of(t), t->scale, t->full};
}
/* A place inside an array of activations. */
static llm_act *act_move(void *x, size_t i) {
    return (llm_act *)((char *)x + i * (oracle ? sizeof(llm_real) : table->act_size));
}
static void copy(const tensor *to, const tensor *from) {
    if (oracle) {
        memcpy(to->x, from->x, to->n * sizeof *to->x);
        return;
    }
    void *bytes = llm_alloc(to->n + 1, element(to));
    table->download(bytes, from->device, to->n * element(to));
    table->upload(to->device, bytes, to->n * element(to));
    llm_release(bytes);
}

/* max |a - b| / max |b|; when all of b is 0, max |a|. */
static void compare(const op_case *c, const char *what, const tensor *t, bool added) {
    double worst = 0, largest = 0;
    bool finite = true;
    llm_real *got = receive(t);
    for (size_t i = 0; i < t->n; i++) {
        double want = (double)t->x[i] + (added ? (double)t->before[i] : 0), error = fabs((double)got[i] - want);
        if (!(error < INFINITY)) finite = false;
        worst = fmax(worst, error);
        largest = fmax(largest, fabs(want));
    }
    double error = finite ? worst / (largest > 0 ? largest : 1) : INFINITY;
    char detail[200];
    snprintf(detail, sizeof detail, "%s %s: relative error %.3g, allowed %.3g", what, t->name, error, tolerance);
    check(error <= tolerance, c->name, detail);
    llm_release(got);
}
static void poison_results(op_case *c, bool accumulate) {
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == NONE) continue;
        if (c->kind[i] == WRITTEN || (c->kind[i] == PARAMETER && !accumulate)) poison(&c->grad[i]);
        else fill_before(&c->grad[i]);
    }
}
static void compare_gradients(op_case *c, const char *what, bool accumulate, int but) {
    for (int i = 0; i < c->ins; i++)
        if (c->kind[i] != NONE && i != but)
            compare(c, what, &c->grad[i], c->kind[i] == ADDED || (c->kind[i] == PARAMETER && accumulate));
}
/* A frozen tensor has no gradient: NULL, and nothing else changes. */
static void test_frozen(op_case *c) {
    for (int f = 0; f < c->ins; f++) {
        if (!c->may_be_null[f]) continue;
        void *kept = c->grad[f].device;
        poison_results(c, false);
        c->grad[f].device = NULL;
        c->backward(c, false);
        compare_gradients(c, "gradient, another frozen, of", false, f);
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
    for (int k = 0; k < c->outs; k++) h = hash_tensor(&c->out[k], h);
    for (int i = 0; i < c->ins; i++)
        if (c->kind[i] != NONE) h = hash_tensor(&c->grad[i], h);
    rng = kept;
    return h;
}
static double loss(void *user) {
    op_case *c = user;
    double sum = 0;
    c->forward(c);
    for (int k = 0; k < c->outs; k++)
        for (size_t i = 0; i < c->dout[k].n; i++) sum += (double)c->out[k].x[i] * (double)c->dout[k].x[i];
    return sum;
}
static void run_oracle(op_case *c) {
    use(true);
    c->forward(c);
    for (int i = 0; i < c->ins; i++) memset(c->grad[i].x, 0, c->grad[i].n * sizeof(llm_real));
    if (c->backward) c->backward(c, false);
}
static void test_finite_differences(op_case *c) {
    llm_threads(1);                     /* thousands of tiny passes: a second thread costs more than it helps */
    run_oracle(c);
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == NONE) continue;
        double error = llm_grad_check(loss, c, c->in[i].x, c->grad[i].x, c->in[i].n, 20, &rng);
        char detail[200];
        snprintf(detail, sizeof detail, "finite differences of %s: error %.3g, allowed 1e-7", c->in[i].name, error);
        check(error <= 1e-7, c->name, detail);
    }
}
static void run_case(op_case *c) {
    int threads = llm_threads(0);
    for (int i = 0; i < c->ins; i++) settle(&c->in[i]);
    for (int k = 0; k < c->outs; k++)
        if (c->dout[k].x) settle(&c->dout[k]);
    run_oracle(c);
    use(false);
    for (int k = 0; k < c->outs; k++) poison(&c->out[k]);
    c->forward(c);
    for (int k = 0; k < c->outs; k++) compare(c, "forward", &c->out[k], false);
    for (int accumulate = 0; accumulate < 2 && c->backward; accumulate++) {
        poison_results(c, accumulate);
        c->backward(c, accumulate);
        compare_gradients(c, accumulate ? "gradient, added, of" : "gradient of", accumulate, -1);
    }
    if (c->backward) test_frozen(c);
    uint64_t one = hash_results(c, 1);
    check(hash_results(c, 2) == one, c->name, "2 threads: not the bits of 1");
    check(hash_results(c, 4) == one, c->name, "4 threads: not the bits of 1");
    if (exact && c->backward && table == &llm_plain) test_finite_differences(c);
    llm_threads(threads);
    free_case(c);
}

/* ---- embedding ---- */

static void embed_forward(op_case *c) {
    ops->embed_forward(out(c, 0), weight(c, 0), in(c, 1), ids(c, 0), ids(c, 1), c->N, c->C);
}
static void embed_backward(op_case *c, bool accumulate) {
    const llm_ids host = {.tokens = c->ids[0], .positions = c->ids[1]};
    ops->embed_backward(grad(c, 0), grad(c, 1), dout(c, 0), oracle ? &host : &c->loaded, c->N, c->C, c->V, c->T,
                        accumulate, accumulate);
}
static llm_ids load(const llm_batch *b) {
    const size_t bytes = area((size_t)b->B, (size_t)b->T) * sizeof(int);
    llm_ids d = {device_new(bytes), device_new(bytes), device_new(bytes), device_new(bytes), NULL};
    table->load_ids(&d, b);
    return d;
}
static void test_embed(size_t N, size_t C, size_t V, size_t T, bool learned, form form) {
    op_case c = {.N = N, .C = C, .V = V, .T = T, .forward = embed_forward, .backward = embed_backward};
    snprintf(c.name, sizeof c.name, "embed N=%zu C=%zu V=%zu T=%zu learned=%d form=%d", N, C, V, T, learned, form);
    add_matrix(&c, "wte", V, C, form);
    if (learned) add_in(&c, "wpe", area(T, C), REAL, PARAMETER, true);
    add_out(&c, "out", area(N, C), RES, true);
    add_ids(&c, 0, random_ids(N, V), N);
    add_ids(&c, 1, random_ids(N, T), N);
    llm_batch b = llm_batch_new(1, (int)N);
    memcpy(b.tokens, c.ids[0], N * sizeof(int));
    memcpy(b.positions, c.ids[1], N * sizeof(int));
    c.loaded = load(&b);
    llm_batch_free(&b);
    run_case(&c);
}

/* ---- norms ---- */

static void layernorm_forward(op_case *c) {
    ops->layernorm_forward(out(c, 0), out(c, 1), out(c, 2), in(c, 0), in(c, 1), in(c, 2), (llm_real)c->eps, c->N,
                           c->C);
}
static void layernorm_backward(op_case *c, bool accumulate) {
    ops->layernorm_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), in(c, 1), out(c, 1), out(c, 2),
                            c->N, c->C, c->flag, accumulate);
}
static void rmsnorm_forward(op_case *c) {
    ops->rmsnorm_forward(out(c, 0), out(c, 1), in(c, 0), in(c, 1), (llm_real)c->eps, c->N, c->C);
}
static void rmsnorm_backward(op_case *c, bool accumulate) {
    ops->rmsnorm_backward(grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), in(c, 1), out(c, 1), c->N, c->C, c->flag,
                          accumulate);
}
static void test_norm(size_t N, size_t C, bool layer, bool bias, bool added) {
    op_case c = {.N = N, .C = C, .eps = 1e-3, .flag = added,
                 .forward = layer ? layernorm_forward : rmsnorm_forward,
                 .backward = layer ? layernorm_backward : rmsnorm_backward};
    snprintf(c.name, sizeof c.name, "%s N=%zu C=%zu bias=%d added=%d", layer ? "layernorm" : "rmsnorm", N, C, bias,
             added);
    add_in(&c, "inp", area(N, C), RES, added ? ADDED : WRITTEN, false);
    add_in(&c, "w", C, REAL, PARAMETER, true);
    if (layer && bias) add_in(&c, "bias", C, REAL, PARAMETER, true);
    add_out(&c, "out", area(N, C), ACT, true);
    if (layer) add_out(&c, "mean", N, REAL, false);
    add_out(&c, "rstd", N, REAL, false);
    for (size_t i = 0; i < c.in[0].n; i++) c.in[0].x[i] += 2;           /* a mean worth subtracting */
    run_case(&c);
}

/* ---- linear and residual, and both with gelu where a table has that in one ---- */

static void linear_forward(op_case *c) {
    ops->linear_forward(out(c, 0), in(c, 0), weight(c, 1), weight(c, 2), c->N, c->C, c->O);
}
static void linear_backward(op_case *c, bool accumulate) {
    ops->linear_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), weight(c, 1), c->N, c->C, c->O,
                         accumulate);
}
static void residual_forward(op_case *c) {
    ops->residual_forward(out(c, 0), in(c, 3), in(c, 0), weight(c, 1), weight(c, 2), c->N, c->C, c->O);
}
static void residual_backward(op_case *c, bool accumulate) {
    ops->residual_backward(grad(c, 0), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), weight(c, 1), c->N, c->C, c->O,
                           accumulate);
}
static void test_linear(size_t N, size_t in, size_t out_n, bool bias, bool residual, form form) {
    op_case c = {.N = N, .C = in, .O = out_n, .forward = residual ? residual_forward : linear_forward,
                 .backward = residual ? residual_backward : linear_backward};
    snprintf(c.name, sizeof c.name, "%s N=%zu I=%zu O=%zu bias=%d form=%d", residual ? "residual" : "linear", N, in,
             out_n, bias, form);
    add_in(&c, "inp", area(N, in), ACT, WRITTEN, true);
    add_matrix(&c, "w", out_n, in, form);
    if (bias || residual) add_matrix(&c, "bias", 1, out_n, WEIGHT);
    if (residual) add_in(&c, "res", area(N, out_n), RES, NONE, false);
    add_out(&c, "out", area(N, out_n), residual ? RES : ACT, true);
    run_case(&c);
}
static void linear_gelu_forward(op_case *c) {
    if (!oracle) {
        ops->linear_gelu_forward(out(c, 0), out(c, 1), in(c, 0), weight(c, 1), weight(c, 2), c->N, c->C, c->O);
        return;
    }
    linear_forward(c);
    ops->gelu_forward(out(c, 1), out(c, 0), area(c->N, c->O));
}
/* residual's input is gelu(pre), whose gradient goes on to pre: in[3]. */
static void residual_gelu_forward(op_case *c) {
    ops->gelu_forward(in(c, 0), in(c, 3), area(c->N, c->C));
    ops->linear_forward(out(c, 0), in(c, 0), weight(c, 1), weight(c, 2), c->N, c->C, c->O);
}
static void residual_gelu_backward(op_case *c, bool accumulate) {
    if (!oracle) {
        ops->residual_gelu_backward(grad(c, 3), grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), in(c, 3), weight(c, 1),
                                    c->N, c->C, c->O, accumulate);
        return;
    }
    llm_act *d = llm_alloc(area(c->N, c->C), sizeof(llm_real));
    ops->residual_backward(d, grad(c, 1), grad(c, 2), dout(c, 0), in(c, 0), weight(c, 1), c->N, c->C, c->O, accumulate);
    ops->gelu_backward(grad(c, 3), d, in(c, 3), area(c->N, c->C));
    llm_release(d);
}
static void test_epilogues(size_t N, size_t in, size_t out_n) {
    op_case c = {.N = N, .C = in, .O = out_n, .forward = linear_gelu_forward, .name = "linear_gelu_forward"};
    if (table->linear_gelu_forward) {
        add_in(&c, "inp", area(N, in), ACT, NONE, false);
        add_matrix(&c, "w", out_n, in, WEIGHT);
        add_matrix(&c, "bias", 1, out_n, WEIGHT);
        add_out(&c, "out", area(N, out_n), ACT, false);
        add_out(&c, "activated", area(N, out_n), ACT, false);
        for (int i = 0; i < 3; i++) c.kind[i] = NONE;
        run_case(&c);
    }
    op_case r = {.N = N, .C = in, .O = out_n, .forward = residual_gelu_forward, .backward = residual_gelu_backward,
                 .name = "residual_gelu_backward"};
    if (!table->residual_gelu_backward) return;
    add_in(&r, "gelu(pre)", area(N, in), ACT, NONE, false);
    add_matrix(&r, "w", out_n, in, WEIGHT);
    add_matrix(&r, "bias", 1, out_n, WEIGHT);
    add_in(&r, "pre", area(N, in), ACT, WRITTEN, false);
    add_out(&r, "out", area(N, out_n), ACT, false);
    r.dout[0] = tensor_new("dout", area(N, out_n), DRES);
    run_case(&r);
}

/* ---- LoRA ---- */

static void lora_forward(op_case *c) {
    copy(&c->out[0], &c->in[3]);
    ops->lora_forward(out(c, 0), out(c, 1), in(c, 0), in(c, 1), in(c, 2), (llm_real)c->scale, c->N, c->C, c->r,
                      c->slice, c->flag);
}
static void lora_backward(op_case *c, bool accumulate) {
    ops->lora_backward(grad(c, 0), grad(c, 1), grad(c, 2), at(&c->out[2]), dout(c, 0), out(c, 1), in(c, 0),
                       in(c, 1), in(c, 2), (llm_real)c->scale, c->N, c->C, c->r, c->slice, c->flag, accumulate);
}
static void test_lora(size_t N, size_t in, size_t r, size_t out_n, size_t ld, size_t col, bool residual) {
    op_case c = {.N = N, .C = in, .r = r, .slice = {ld, col, out_n}, .flag = residual, .scale = 1.75,
                 .forward = lora_forward, .backward = lora_backward};
    snprintf(c.name, sizeof c.name, "lora N=%zu I=%zu r=%zu O=%zu ld=%zu col=%zu residual=%d", N, in, r, out_n, ld,
             col, residual);
    add_in(&c, "inp", area(N, in), ACT, ADDED, true);
    add_in(&c, "A", area(r, in), REAL, PARAMETER, true);
    add_in(&c, "B", area(out_n, r), REAL, PARAMETER, true);
    add_in(&c, "base", area(N, ld), residual ? RES : ACT, NONE, false);
    add_out(&c, "out", area(N, ld), residual ? RES : ACT, true);
    add_out(&c, "u", area(N, r), ACT, false);
    c.out[2] = tensor_new("du", area(N, r), ACT);           /* scratch: nobody reads it, so it is no result */
    run_case(&c);
}

/* ---- rope ---- */

static void rope_forward(op_case *c) {
    copy(&c->out[0], &c->in[0]);
    ops->rope_forward(out(c, 0), in(c, 1), ids(c, 0), c->N, c->H, c->KV, c->D);
}
static void rope_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    copy(&c->grad[0], &c->dout[0]);
    ops->rope_backward(grad(c, 0), in(c, 1), ids(c, 0), c->N, c->H, c->KV, c->D);
}
static void test_rope(size_t N, size_t H, size_t KV, size_t D, size_t positions) {
    op_case c = {.N = N, .H = H, .KV = KV, .D = D, .forward = rope_forward, .backward = rope_backward};
    snprintf(c.name, sizeof c.name, "rope N=%zu H=%zu KV=%zu D=%zu positions=%zu", N, H, KV, D, positions);
    size_t n = area(N, (H + 2 * KV) * D);
    add_in(&c, "qkv", n, ACT, WRITTEN, false);
    add_in(&c, "freq", D / 2, REAL, NONE, false);
    add_out(&c, "out", n, ACT, true);
    add_ids(&c, 0, random_ids(N, positions), N);
    for (size_t j = 0; j < D / 2; j++) c.in[1].x[j] = (llm_real)pow(10000, -2.0 * (double)j / (double)D);
    run_case(&c);
}

/* ---- attention, and the cache's ---- */

static void attention_forward(op_case *c) {
    ops->attention_forward(out(c, 0), out(c, 1), in(c, 0), ids(c, 0), c->B, c->T, c->H, c->KV, c->D);
}
static void attention_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->attention_backward(grad(c, 0), dout(c, 0), out(c, 0), out(c, 1), in(c, 0), ids(c, 0), c->B, c->T, c->H,
                            c->KV, c->D);
}
/* documents 0: one a row; else they begin about every `documents` tokens. */
static int *document_starts(size_t B, size_t T, int documents) {
    int *start = llm_alloc(area(B, T), sizeof *start);
    for (size_t b = 0; b < B; b++)
        for (size_t t = 1; t < T; t++)
            start[b * T + t] = documents && llm_rng_below(&rng, documents) == 0 ? (int)t : start[b * T + t - 1];
    return start;
}
static void test_attention(size_t B, size_t T, size_t H, size_t KV, size_t D, int documents) {
    op_case c = {.B = B, .T = T, .H = H, .KV = KV, .D = D, .forward = attention_forward,
                 .backward = attention_backward};
    snprintf(c.name, sizeof c.name, "attention B=%zu T=%zu H=%zu KV=%zu D=%zu documents=%d", B, T, H, KV, D, documents);
    add_in(&c, "qkv", area(B * T, (H + 2 * KV) * D), ACT, WRITTEN, false);
    add_out(&c, "out", area(B * T, H * D), ACT, true);
    add_out(&c, "lse", area(B * T, H), REAL, false);
    add_ids(&c, 0, document_starts(B, T, documents), area(B, T));
    run_case(&c);
}
/* Place t*B + b of qkv and out is token t of text b, so that neighbours belong to different texts. The oracle is
   attention over whole texts; the cache is given `O` tokens a call. Half-way text 0 moves on to a row of its own, B. */
static void cache_forward_oracle(op_case *c) {
    const size_t row = (c->H + 2 * c->KV) * c->D, wide = c->H * c->D;
    llm_real *qkv = llm_alloc(c->N, row * sizeof *qkv), *o = llm_alloc(c->N, wide * sizeof *o);
    llm_real *lse = llm_alloc(c->N, c->H * sizeof *lse);
    int *start = llm_alloc(c->N, sizeof *start);
    for (size_t i = 0; i < c->N; i++)
        memcpy(qkv + (i % c->B * c->T + i / c->B) * row, c->in[0].x + i * row, row * sizeof *qkv);
    ops->attention_forward((llm_act *)o, lse, (llm_act *)qkv, start, c->B, c->T, c->H, c->KV, c->D);
    for (size_t i = 0; i < c->N; i++)
        memcpy(c->out[0].x + i * wide, o + (i % c->B * c->T + i / c->B) * wide, wide * sizeof *o);
    void *all[4] = {qkv, o, lse, start};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
}
static void cache_forward(op_case *c) {
    const size_t row = (c->H + 2 * c->KV) * c->D, wide = c->H * c->D, room = (c->T + 63) / 64 * 64;
    if (oracle) {
        cache_forward_oracle(c);
        return;
    }
    tensor k = tensor_new("k", (c->B + 1) * room * c->KV * c->D, ACT), v = tensor_new("v", k.n, ACT);
    poison(&k);
    poison(&v);
    for (size_t i = 0, n; i < c->N; i += n) {
        n = size_min(c->O, c->N - i);
        if (c->flag && i == c->T / 2 * c->B)
            ops->cache_copy(k.device, v.device, c->B, 0, c->T / 2, room, c->KV, c->D);
        ops->cache_attention(act_move(out(c, 0), i * wide), k.device, v.device, act_move(in(c, 0), i * row),
                             ids(c, 0) + i, ids(c, 1) + i, n, room, c->H, c->KV, c->D);
    }
    tensor_free(&k);
    tensor_free(&v);
}
static void test_cache(size_t B, size_t T, size_t H, size_t KV, size_t D, size_t call, bool moves) {
    op_case c = {.N = B * T, .B = B, .T = T, .H = H, .KV = KV, .D = D, .O = call, .flag = moves,
                 .forward = cache_forward};
    snprintf(c.name, sizeof c.name, "cache B=%zu T=%zu H=%zu KV=%zu D=%zu call=%zu moves=%d", B, T, H, KV, D, call,
             moves);
    add_in(&c, "qkv", area(B * T, (H + 2 * KV) * D), ACT, NONE, false);
    add_out(&c, "out", area(B * T, H * D), ACT, false);
    int *row = llm_alloc(B * T, sizeof *row), *position = llm_alloc(B * T, sizeof *position);
    for (size_t i = 0; i < B * T; i++) {
        position[i] = (int)(i / B);
        row[i] = (int)(moves && i % B == 0 && i / B >= T / 2 ? B : i % B);
    }
    add_ids(&c, 0, row, B * T);
    add_ids(&c, 1, position, B * T);
    run_case(&c);
}

/* ---- gelu and swiglu ---- */

static void gelu_forward(op_case *c) { ops->gelu_forward(out(c, 0), in(c, 0), c->in[0].n); }
static void gelu_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->gelu_backward(grad(c, 0), dout(c, 0), in(c, 0), c->in[0].n);
}
static void test_gelu(size_t n) {
    op_case c = {.forward = gelu_forward, .backward = gelu_backward};
    snprintf(c.name, sizeof c.name, "gelu n=%zu", n);
    add_in(&c, "inp", n, ACT, WRITTEN, false);
    add_out(&c, "out", n, ACT, true);
    for (int i = 0; i < (int)n && i < 8 && !exact; i++) c.in[0].x[i] = (llm_real)((i - 4) * 12.0);  /* far tails */
    run_case(&c);
}
static void swiglu_forward(op_case *c) { ops->swiglu_forward(out(c, 0), in(c, 0), c->N, c->C); }
static void swiglu_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->swiglu_backward(grad(c, 0), dout(c, 0), in(c, 0), c->N, c->C);
}
static void test_swiglu(size_t N, size_t F) {
    op_case c = {.N = N, .C = F, .forward = swiglu_forward, .backward = swiglu_backward};
    snprintf(c.name, sizeof c.name, "swiglu N=%zu F=%zu", N, F);
    add_in(&c, "gateup", 2 * area(N, F), ACT, WRITTEN, false);
    add_out(&c, "out", area(N, F), ACT, true);
    run_case(&c);
}

/* ---- the head ---- */

/* The oracle looks at all rows, the table only at those that have a gradient, where the case lists them. */
static llm_head head_of(const op_case *c) {
    return (llm_head){(llm_real)c->temperature, oracle ? c->banned : c->device_banned,
                      !oracle && c->ids[1] ? c->device_ids[1] : NULL, oracle ? 0 : c->rows};
}
static void logprob_forward(op_case *c) {
    ops->logprob_forward(out(c, 0), out(c, 1), out(c, 2), in(c, 0), weight(c, 1), ids(c, 0), head_of(c), c->N, c->C,
                         c->V);
}
static void logprob_backward(op_case *c, bool accumulate) {
    ops->logprob_backward(grad(c, 0), grad(c, 1), dout(c, 0), dout(c, 2), out(c, 1), out(c, 2), in(c, 0), weight(c, 1),
                          ids(c, 0), head_of(c), c->N, c->C, c->V, accumulate);
}
/* The fused sweep must give backward's gradients, and forward's logp wherever dlogp is not 0. */
static void logprob_fused(op_case *c, bool accumulate) {
    if (oracle) {
        logprob_backward(c, accumulate);
        return;
    }
    tensor logp = tensor_new("logp", c->N, REAL);
    poison(&logp);
    ops->logprob_fused(logp.device, grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), weight(c, 1), ids(c, 0), head_of(c),
                       c->N, c->C, c->V, accumulate);
    llm_real *got = receive(&logp);
    memcpy(logp.x, c->out[0].x, c->N * sizeof *logp.x);
    for (size_t n = 0; n < c->N; n++)
        if (c->dout[0].x[n] == 0) got[n] = logp.x[n];
    send(&logp, got);
    compare(c, "fused", &logp, false);
    llm_release(got);
    tensor_free(&logp);
}
/* zeros: every how many rows dlogp is 0 (0: none is). listed: the head is told which rows are not. */
static void test_logprob(size_t N, size_t C, size_t V, double temperature, bool ban, bool entropy, bool fused,
                         size_t zeros, bool listed, form form) {
    op_case c = {.N = N, .C = C, .V = V, .temperature = temperature, .forward = logprob_forward,
                 .backward = fused ? logprob_fused : logprob_backward};
    if (fused && !table->logprob_fused) return;
    snprintf(c.name, sizeof c.name,
             "logprob N=%zu C=%zu V=%zu temperature=%g banned=%d entropy=%d fused=%d zeros=%zu listed=%d form=%d", N, C,
             V, temperature, ban, entropy, fused, zeros, listed, form);
    add_in(&c, "hidden", area(N, C), ACT, WRITTEN, true);
    add_matrix(&c, "w", V, C, form);
    add_out(&c, "logp", N, REAL, true);
    add_out(&c, "lse", N, REAL, false);
    if (entropy) add_out(&c, "entropy", N, REAL, true);
    for (size_t i = 0; i < c.in[1].n; i++) c.in[1].x[i] /= (llm_real)sqrt((double)C);
    int *target = random_ids(N, V), *row = listed ? llm_alloc(N + 1, sizeof *row) : NULL;
    if (ban) {
        c.banned = llm_alloc(V, 1);
        for (size_t k = 0; k < V; k++) c.banned[k] = k % 3 == 1;
        for (size_t n = 0; n < N; n++) target[n] -= target[n] % 3 == 1; /* nobody is asked to say what is banned */
        c.device_banned = device_new(V);
        table->upload(c.device_banned, c.banned, V);
    }
    for (size_t n = 0; n < N; n++) {
        const bool zero = zeros && n % zeros == 0;
        if (zero) c.dout[0].x[n] = 0;
        if (zero && entropy && listed) c.dout[2].x[n] = 0;
        if (!zero && listed) row[c.rows++] = (int)n;
    }
    add_ids(&c, 0, target, N);
    if (listed) add_ids(&c, 1, row, c.rows);
    run_case(&c);
}
/* A banned target: its logp is hugely negative but finite, and no gradient reaches it. */
static void test_banned_target(void) {
    enum { C = 3, V = 5 };
    op_case c = {.N = 1, .C = C, .V = V, .temperature = 1, .forward = logprob_forward, .backward = logprob_backward};
    add_in(&c, "hidden", C, ACT, WRITTEN, true);
    add_matrix(&c, "w", V, C, WEIGHT);
    add_out(&c, "logp", 1, REAL, true);
    add_out(&c, "lse", 1, REAL, false);
    add_ids(&c, 0, llm_alloc(1, sizeof(int)), 1);
    const int target = 1;
    table->upload(c.device_ids[0], &target, sizeof target);
    const uint8_t banned[V] = {0, 1, 0, 0, 0};
    c.device_banned = device_new(V);
    table->upload(c.device_banned, banned, V);
    for (int i = 0; i < 2; i++) settle(&c.in[i]);
    c.dout[0].x[0] = 1;
    settle(&c.dout[0]);
    use(false);
    c.forward(&c);
    llm_real *logp = receive(&c.out[0]);
    check(isfinite((double)*logp) && *logp < -1e20, "banned target", "logp is not hugely negative and finite");
    poison_results(&c, false);
    c.backward(&c, false);
    llm_real *dw = receive(&c.grad[1]);
    bool zero = true, finite = true;
    for (int i = 0; i < C; i++) zero = zero && dw[C + i] == 0;
    for (int i = 0; i < C * V; i++) finite = finite && isfinite((double)dw[i]);
    check(zero, "banned target", "a gradient reached the banned row");
    check(finite, "banned target", "a gradient is not finite");
    llm_release(logp);
    llm_release(dw);
    free_case(&c);
}
static void logits_forward(op_case *c) {
    if (!oracle || !c->ids[0]) {
        ops->logits(out(c, 0), in(c, 0), weight(c, 1), ids(c, 0), c->rows, c->C, c->O);
        return;
    }
    for (size_t i = 0; i < c->rows; i++)                    /* a linear of the rows that were asked for */
        ops->linear_forward((llm_act *)(c->out[0].x + i * c->O),
                            (llm_act *)(c->in[0].x + (size_t)c->ids[0][i] * c->C), weight(c, 1), (llm_weight){0}, 1,
                            c->C, c->O);
}
static void test_logits(size_t N, size_t C, size_t V, size_t rows, form form) {
    op_case c = {.N = N, .C = C, .O = V, .rows = rows ? rows : N, .forward = logits_forward};
    snprintf(c.name, sizeof c.name, "logits N=%zu C=%zu V=%zu rows=%zu form=%d", N, C, V, rows, form);
    add_in(&c, "hidden", area(N, C), ACT, NONE, false);
    add_matrix(&c, "w", V, C, form);
    c.kind[1] = NONE;
    add_out(&c, "out", area(c.rows, V), REAL, false);
    if (rows) add_ids(&c, 0, random_ids(rows, N), rows);
    run_case(&c);
}

/* ---- value ---- */

static void value_forward(op_case *c) { ops->value_forward(out(c, 0), in(c, 0), in(c, 1), c->N, c->C); }
static void value_backward(op_case *c, bool accumulate) {
    ops->value_backward(grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), in(c, 1), c->N, c->C, c->flag, accumulate);
}
static void test_value(size_t N, size_t C, bool added) {
    op_case c = {.N = N, .C = C, .flag = added, .forward = value_forward, .backward = value_backward};
    snprintf(c.name, sizeof c.name, "value N=%zu C=%zu added=%d", N, C, added);
    add_in(&c, "hidden", area(N, C), ACT, added ? ADDED : WRITTEN, true);
    add_in(&c, "u", C, REAL, PARAMETER, true);
    add_out(&c, "value", N, REAL, true);
    run_case(&c);
}

/* ---- memory ---- */

static void test_memory(void) {
    const size_t n = 300001;
    unsigned char *x = device_new(n), *host = llm_alloc(n, 1), *back = llm_alloc(n, 1);
    size_t other = 0;
    table->download(back, x, n);
    for (size_t i = 0; i < n; i++) {
        other += back[i] != 0;
        host[i] = (unsigned char)(i * 7 + 1);
    }
    check(other == 0, "alloc", "the memory is not zero");
    table->upload(x, host, n);
    table->download(back, x, n);
    check(memcmp(host, back, n) == 0, "upload, download", "not what was sent");
    table->upload(x + 1, host, n - 2);
    memset(back, 0, n);
    table->fetch(back, x, n);
    table->wait();
    check(back[0] == host[0] && back[n - 1] == host[n - 1] && !memcmp(back + 1, host, n - 2), "fetch", "wrong bytes");
    check(table->alloc(SIZE_MAX) == NULL, "alloc", "an impossible size must give NULL");
    table->release(x);
    llm_release(host);
    llm_release(back);
}
static void test_load_ids(void) {
    enum { B = 3, T = 5, N = B * T };
    llm_batch b = llm_batch_new(B, T);
    int *host[] = {b.tokens, b.targets, b.positions, b.start}, back[N];
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < N; i++) host[k][i] = 100 * k + i;
    llm_ids d = load(&b);
    int *device[] = {d.tokens, d.targets, d.positions, d.start};
    static const char *const name[] = {"tokens", "targets", "positions", "start"};
    for (int k = 0; k < 4; k++) {
        table->download(back, device[k], sizeof back);
        check(memcmp(back, host[k], sizeof back) == 0, "load_ids", name[k]);
        table->release(device[k]);
    }
    llm_batch_free(&b);
}
static void test_store_weights(void) {
    enum { N = 1003 };
    static llm_real w[N];
    static uint16_t half[N];
    for (int i = 0; i < N; i++) w[i] = (llm_real)(llm_rng_normal(&rng) * pow(10, i % 61 - 30));
    w[5] = 0, w[6] = (llm_real)-0.0, w[7] = INFINITY, w[8] = 1 + (llm_real)0x1p-8, w[9] = 1 + (llm_real)0x3p-8;
    llm_real *from = device_new(sizeof w);
    void *to = device_new(sizeof half);
    table->upload(from, w, sizeof w);
    table->store_weights(to, from, N);
    table->download(half, to, sizeof half);
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += half[i] != real_to_bf16(w[i]);
    check(wrong == 0, "store_weights", "not the nearest bf16");
    check(half[8] == 0x3F80 && half[9] == 0x3F82, "store_weights", "a tie was not rounded to even");
    table->release(from);
    table->release(to);
}

/* ---- learning ---- */

/* A table of tensors as a model has it: matrices and vectors side by side at multiples of 16, one frozen, one that no
   pass wrote to. n: the size of the first and of the last. */
enum { TENSORS = 7 };
typedef struct {
    llm_param param[TENSORS];
    size_t size;
    llm_real *w, *g;                    /* the arenas: the host's */
    void *device_w, *device_g, *device_m, *device_v, *device_copy;
    llm_adamw_state *device_state, state;
} learner_test;

static learner_test learner_new(size_t n, bool copies) {
    const size_t size[TENSORS] = {n, 33, 7, 50, 20, 9, n};
    learner_test l = {0};
    for (int i = 0; i < TENSORS; i++) {
        l.size = (l.size + 15) / 16 * 16;
        l.param[i] = (llm_param){.offset = l.size, .size = size[i], .rows = 1, .cols = (int)size[i], .used = i != 4,
                                 .vector = i == 1 || i == 2};
        l.size += size[i];
    }
    l.w = llm_alloc(l.size, sizeof *l.w), l.g = llm_alloc(l.size, sizeof *l.g);
    void **device[] = {&l.device_w, &l.device_g, &l.device_m, &l.device_v, &l.device_copy};
    for (int i = 0; i < 5; i++) *device[i] = device_new(l.size * sizeof(llm_real));
    l.device_state = device_new(sizeof l.state);
    for (int i = 0; i < TENSORS; i++) {
        llm_param *p = &l.param[i];
        p->data = (llm_real *)l.device_w + p->offset;
        p->grad = i == 3 ? NULL : (llm_real *)l.device_g + p->offset;
        p->w = (llm_weight){p->data, LLM_TYPE_REAL, NULL, p->data};
        if (copies) p->w = (llm_weight){(uint16_t *)l.device_copy + p->offset, LLM_TYPE_BF16, NULL, p->data};
    }
    return l;
}
static void learner_free(learner_test *l) {
    void *all[] = {l->device_w, l->device_g, l->device_m, l->device_v, l->device_copy, l->device_state};
    for (int i = 0; i < 6; i++) table->release(all[i]);
    llm_release(l->w);
    llm_release(l->g);
}
static bool learns(const llm_param *p) { return p->used && p->grad; }
static void draw(llm_real *x, const learner_test *l, double size) {
    for (int i = 0; i < TENSORS; i++)
        for (size_t k = l->param[i].offset; k < l->param[i].offset + l->param[i].size; k++)
            x[k] = (llm_real)(size * llm_rng_normal(&rng));
}
/* One step with the gradients l->g. */
static void learner_step(learner_test *l, llm_adamw_rule rule) {
    table->upload(l->device_g, l->g, l->size * sizeof *l->g);
    table->grad_norm(l->device_state, l->param, TENSORS);
    table->adamw(l->param, TENSORS, l->device_m, l->device_v, rule, l->device_state);
    table->download(&l->state, l->device_state, sizeof l->state);
}
static double squares(const learner_test *l) {
    double sum = 0;
    for (int i = 0; i < TENSORS; i++)
        for (size_t k = l->param[i].offset; k < l->param[i].offset + l->param[i].size && learns(&l->param[i]); k++)
            sum += (double)l->g[k] * (double)l->g[k];
    return sum;
}
static void test_grad_norm(size_t n) {
    learner_test l = learner_new(n, false);
    draw(l.g, &l, 1);
    table->upload(l.device_g, l.g, l.size * sizeof *l.g);
    const double sum = squares(&l);
    double first = 0;
    int threads = llm_threads(0);
    for (int k = 1; k <= 4; k *= 2) {
        llm_threads(k);
        table->grad_norm(l.device_state, l.param, TENSORS);
        table->download(&l.state, l.device_state, sizeof l.state);
        const double s = l.state.sumsq;
        if (k == 1) first = s;
        char detail[100];
        snprintf(detail, sizeof detail, "n=%zu threads=%d: %.17g, plainly %.17g", n, k, s, sum);
        check(fabs(s - sum) <= (exact ? 1e-12 : 1e-6) * sum && s == first, "grad_norm", detail);
    }
    llm_threads(threads);
    learner_free(&l);
}
/* AdamW's equations, in double. */
static void adamw_formula(double *W, double *M, double *V, const learner_test *l, llm_adamw_rule r, int step) {
    const double norm = sqrt(squares(l)), scale = r.clip > 0 && norm > r.clip ? r.clip / norm : 1;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = l->param[t].offset; i < l->param[t].offset + l->param[t].size && learns(&l->param[t]); i++) {
            const double d = scale * (double)l->g[i];
            M[i] = r.beta1 * M[i] + (1 - r.beta1) * d;
            V[i] = r.beta2 * V[i] + (1 - r.beta2) * d * d;
            const double mhat = M[i] / (1 - pow(r.beta1, step)), vhat = V[i] / (1 - pow(r.beta2, step));
            W[i] -= r.lr * (mhat / (sqrt(vhat) + r.eps) + (l->param[t].vector ? 0 : r.weight_decay) * W[i]);
        }
}
/* What ten steps left behind. With moments in bf16, their mean over many equal parameters must follow the formula. */
static void compare_learner(learner_test *l, const double *W, const double *V, bool moments16,
                            int threads) {
    llm_real *w = llm_alloc(l->size, sizeof *w), *v = llm_alloc(l->size, sizeof *v);
    uint16_t *copy = llm_alloc(l->size, sizeof *copy), *v16 = llm_alloc(l->size, sizeof *v16);
    table->download(w, l->device_w, l->size * sizeof *w);
    table->download(v, l->device_v, l->size * sizeof *v);
    table->download(v16, l->device_v, l->size * sizeof *v16);
    table->download(copy, l->device_copy, l->size * sizeof *copy);
    double worst = 0, largest = 0, copied = 0, sum = 0, mean = 0, still = 0;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = l->param[t].offset; i < l->param[t].offset + l->param[t].size; i++) {
            if (!learns(&l->param[t])) still += w[i] != l->w[i] || (moments16 ? v16[i] : v[i]) != 0;
            else copied += copy[i] != real_to_bf16(w[i]);
            const double error = fabs((double)w[i] - W[i]);
            if (!(error <= worst)) worst = error;
            largest = fmax(largest, fabs(W[i]));
            sum += V[i] / (double)l->size;
            mean += (moments16 ? (double)bf16_to_real(v16[i]) : (double)v[i]) / (double)l->size;
        }
    char detail[160];
    snprintf(detail, sizeof detail,
             "size=%zu moments16=%d threads=%d: error %.3g of w up to %.3g, mean v %.6g, plainly %.6g", l->size,
             moments16, threads, worst, largest, mean, sum);
    check(worst <= (moments16 ? 3e-3 : exact ? 1e-13 : 1e-6) * largest, "adamw", detail);
    check(fabs(mean - sum) <= (moments16 ? 1e-3 : 1e-6) * sum, "adamw, second moment", detail);
    check(copied == 0, "adamw, bf16 copy", detail);
    check(still == 0, "adamw, a frozen or unused tensor moved", detail);
    void *all[] = {w, v, copy, v16};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
}
/* Ten steps, clipped from the norm that the gradients have to a third of it. */
static void test_adamw(size_t n, bool moments16) {
    const int before = llm_threads(0);
    llm_rng begin = rng;
    uint64_t first = 0;
    for (int threads = 1; threads <= 4; threads *= 2) {
        rng = begin;
        llm_threads(threads);
        learner_test l = learner_new(n, true);
        double *W = llm_alloc(l.size, sizeof *W), *M = llm_alloc(l.size, sizeof *M), *V = llm_alloc(l.size, sizeof *V);
        llm_adamw_rule rule = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1,
                               .clip = moments16 ? 0 : sqrt((double)l.size) / 3, .moments16 = moments16};
        draw(l.w, &l, 1);
        for (size_t i = 0; i < l.size && moments16; i++) l.w[i] = 1;
        for (size_t i = 0; i < l.size; i++) W[i] = (double)l.w[i];
        table->upload(l.device_w, l.w, l.size * sizeof *l.w);
        for (int step = 1; step <= 10; step++) {
            draw(l.g, &l, 1);
            for (int t = 0; t < TENSORS && moments16; t++)
                for (size_t i = 0; i < l.param[t].size; i++)
                    l.g[l.param[t].offset + i] = (llm_real)(0.15 + 0.005 * step);
            learner_step(&l, rule);
            adamw_formula(W, M, V, &l, rule, step);
        }
        const double norm = sqrt(squares(&l));
        const double scale = rule.clip > 0 ? rule.clip / norm : 1, allowed = exact ? 1e-12 : 1e-6;
        check(l.state.step == 10 && !l.state.skipped && fabs(l.state.norm - norm) <= allowed * norm &&
                  fabs(l.state.scale - scale) <= allowed, "adamw", "wrong norm, clipping or count of steps");
        compare_learner(&l, W, V, moments16, threads);
        void *moved[] = {l.device_w, l.device_m, l.device_v};
        uint64_t h = 0;
        for (int i = 0; i < 3; i++) h = hash_tensor(&(tensor){.n = l.size, .form = REAL, .device = moved[i]}, h);
        if (threads == 1) first = h;
        check(h == first, "adamw", "other bits with more threads");
        void *all[] = {W, M, V};
        for (int i = 0; i < 3; i++) llm_release(all[i]);
        learner_free(&l);
    }
    llm_threads(before);
}
/* What must not move a weight: a gradient that is no number, and one far beyond all before it. */
static void test_skips(void) {
    learner_test l = learner_new(100, false);
    llm_adamw_rule rule = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .skip_sigma = 6};
    tensor w = {.n = l.size, .form = REAL, .device = l.device_w}, m = w, v = w;
    m.device = l.device_m, v.device = l.device_v;
    for (int step = 1; step <= 40; step++) {
        draw(l.g, &l, 1);
        learner_step(&l, rule);
    }
    check(l.state.step == 40 && l.state.skipped == 0, "adamw", "40 equal steps were not taken");
    const uint64_t still = hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0)));
    const double mean = l.state.norm_mean;
    l.g[3] = NAN;
    learner_step(&l, rule);
    check(l.state.skip && l.state.step == 40 && l.state.skipped == 0 && l.state.norm_mean == mean, "adamw", "NaN");
    check(hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0))) == still, "adamw", "NaN moved something");
    draw(l.g, &l, 100);
    learner_step(&l, rule);
    check(l.state.skip && l.state.step == 40 && l.state.skipped == 1, "adamw", "an outlier was not left out");
    check(l.state.norm_mean > mean && l.state.norm_mean < 2 * mean, "adamw", "an outlier entered the mean uncut");
    check(hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0))) == still, "adamw", "an outlier moved something");
    draw(l.g, &l, 1);
    learner_step(&l, rule);
    check(!l.state.skip && l.state.step == 41, "adamw", "the step after an outlier was not taken");
    check(hash_tensor(&w, 0) != still, "adamw", "and moved nothing");
    learner_free(&l);
}

/* ---- refusals ---- */

static jmp_buf escape;
static char last_words[400];
static void caught(const char *message) {
    snprintf(last_words, sizeof last_words, "%s", message);
    longjmp(escape, 1);
}
static void test_refusals(void) {
    llm_ops incomplete = *table;
    incomplete.attention_backward = NULL;
    llm_on_death = caught;
    last_words[0] = 0;
    if (!setjmp(escape)) llm_ops_check(&incomplete);
    check(strstr(last_words, "attention_backward") != NULL, "llm_ops_check", "a missing row was not named");
    incomplete = *table;
    incomplete.logprob_fused = NULL, incomplete.decode = NULL, incomplete.enter = NULL;
    last_words[0] = 0;
    if (!setjmp(escape)) llm_ops_check(&incomplete);
    check(!last_words[0], "llm_ops_check", "an optional row was missed");
    last_words[0] = 0;
    llm_real *x = device_new(64);
    int *target = device_new(64);
    llm_weight one = {x, LLM_TYPE_REAL, NULL, x};
    if (!setjmp(escape))
        table->logprob_forward(x, x, NULL, (llm_act *)(void *)x, one, target, (llm_head){0}, 1, 1, 1);
    check(strstr(last_words, "temperature") != NULL, "logprob", "temperature 0 was not refused");
    llm_on_death = NULL;
    table->release(x);
    table->release(target);
}

/* ---- a row's result depends on that row alone ---- */

/* Are n numbers of a, from its `from`th on, those of b to the bit? */
static bool same_bits(const tensor *a, size_t from, const tensor *b, size_t n) {
    const size_t bytes = n * element(a);
    char *x = llm_alloc(bytes, 1), *y = llm_alloc(bytes, 1);
    table->download(x, (char *)a->device + from * element(a), bytes);
    table->download(y, b->device, bytes);
    const bool same = memcmp(x, y, bytes) == 0;
    llm_release(x);
    llm_release(y);
    return same;
}
static tensor settled(const char *name, size_t n, form form) {
    tensor t = tensor_new(name, n, form);
    settle(&t);
    return t;
}
static void test_invariance(void) {
    enum { B = 3, T = 150, SHORT = 97, H = 4, KV = 2, D = 16, ROW = (H + 2 * KV) * D };
    tensor qkv = settled("qkv", area(B * T, ROW), ACT), out = settled("out", area(B * T, H * D), ACT);
    tensor one = settled("one", area(B * T, H * D), ACT), lse = settled("lse", area(B * T, H), REAL);
    int *host = document_starts(B, T, 0), *start = ints_to_device(host, B * T);
    table->attention_forward(out.device, lse.device, qkv.device, start, B, T, H, KV, D);
    table->attention_forward(one.device, lse.device, act_move(qkv.device, area(2 * T, ROW)), start, 1, SHORT, H, KV, D);
    const bool same = same_bits(&out, area(2 * T, H * D), &one, area(SHORT, H * D));
    check(same, "attention", "alone, or cut short: other bits");
    enum { C = 40, V = 300 };
    tensor w = settled("w", area(V, C), WEIGHT), a = settled("a", 30, REAL), b = settled("b", 30, REAL);
    int *ids = random_ids(30, V), *target = ints_to_device(ids, 30);
    llm_head head = {.temperature = 1};
    const llm_weight weights = {w.device, type_of(&w), NULL, w.full};
    table->logprob_forward(a.device, lse.device, NULL, qkv.device, weights, target, head, 30, C, V);
    table->logprob_forward(b.device, lse.device, NULL, act_move(qkv.device, area(13, C)), weights, target + 13, head, 5,
                           C, V);
    check(same_bits(&a, 13, &b, 5), "logprob", "without the rows beside it: other bits");
    tensor *all[7] = {&qkv, &out, &one, &lse, &w, &a, &b};
    for (int i = 0; i < 7; i++) tensor_free(all[i]);
    table->release(start);
    table->release(target);
    llm_release(host);
    llm_release(ids);
}

/* A text alone, and packed behind another: blocks and chunks begin elsewhere, every bit stays. */
static void test_packed(void) {
    enum { FIRST = 77, T = 300, ALL = FIRST + T, H = 4, KV = 2, D = 24, ROW = (H + 2 * KV) * D, OUT = H * D };
    tensor qkv = settled("qkv", area(ALL, ROW), ACT), dout = settled("dout", area(ALL, OUT), ACT);
    tensor out[2], dqkv[2], lse[2];
    int host[2 * ALL] = {0};
    for (int i = 0; i < 2; i++) {
        out[i] = settled("out", area(ALL, OUT), ACT);
        dqkv[i] = settled("dqkv", area(ALL, ROW), ACT);
        lse[i] = settled("lse", area(ALL, H), REAL);
    }
    for (int i = FIRST; i < ALL; i++) host[i] = FIRST;
    int *start = ints_to_device(host, 2 * ALL);
    table->attention_forward(out[0].device, lse[0].device, qkv.device, start, 1, ALL, H, KV, D);
    table->attention_backward(dqkv[0].device, dout.device, out[0].device, lse[0].device, qkv.device, start, 1, ALL, H,
                              KV, D);
    const llm_act *text = act_move(qkv.device, area(FIRST, ROW));
    table->attention_forward(out[1].device, lse[1].device, text, start + ALL, 1, T, H, KV, D);
    table->attention_backward(dqkv[1].device, act_move(dout.device, area(FIRST, OUT)), out[1].device, lse[1].device,
                              text, start + ALL, 1, T, H, KV, D);
    check(same_bits(&out[0], area(FIRST, OUT), &out[1], area(T, OUT)), "attention", "packed: other bits of out");
    check(same_bits(&dqkv[0], area(FIRST, ROW), &dqkv[1], area(T, ROW)), "attention", "packed: other bits of dqkv");
    tensor *all[] = {&qkv, &dout, &out[0], &out[1], &dqkv[0], &dqkv[1], &lse[0], &lse[1]};
    for (int i = 0; i < 8; i++) tensor_free(all[i]);
    table->release(start);
}

static void test_layers(void) {
    test_embed(7, 5, 11, 4, true, WEIGHT);
    test_embed(50, 67, 23, 9, true, WEIGHT);
    test_embed(33, 96, 5, 8, false, WEIGHT);
    size_t rows[] = {1, 7, 90}, cols[] = {2, 5, 16, 33, 96, 130};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 6; k++)
            for (int added = 0; added < 2; added++) {
                test_norm(rows[i], cols[k], true, k % 2, added);
                test_norm(rows[i], cols[k], false, false, added);
            }
    test_norm(1100, 64, true, true, true);
    size_t shape[][3] = {{1, 1, 1}, {5, 7, 3}, {33, 17, 49}, {64, 96, 48}, {70, 130, 65}};
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 3; k++) test_linear(shape[i][0], shape[i][1], shape[i][2], k == 1, k == 2, WEIGHT);
        for (int f = BF16; f <= Q4; f++) test_linear(shape[i][0], shape[i][1], shape[i][2], f == Q8, f == Q4, (form)f);
        test_epilogues(shape[i][0], shape[i][1], shape[i][2]);
    }
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
}
static void test_head(void) {
    double temperature[] = {1, 0.7};
    for (int k = 0; k < 16; k++)
        test_logprob(9, 13, 37, temperature[k & 1], k & 2, k & 4, false, k & 8 ? 2 : 0, false, WEIGHT);
    for (int k = 0; k < 8; k++)
        test_logprob(11, 24, 70, temperature[k & 1], k & 2, false, true, k & 4 ? 2 : 0, false, WEIGHT);
    for (int k = 0; k < 4; k++) {                           /* the rows that have a gradient are listed; 1: none has */
        test_logprob(9, 13, 37, 0.7, k & 1, k & 2, false, 2, true, WEIGHT);
        test_logprob(11, 24, 70, 0.7, k & 1, false, true, k & 2 ? 3 : 0, true, WEIGHT);
    }
    test_logprob(1400, 5, 17, 1, false, true, false, 3, true, WEIGHT);
    test_logprob(6, 4, 9, 1, false, true, false, 1, true, WEIGHT);
    test_logprob(6, 4, 9, 1, false, false, true, 1, true, WEIGHT);
    test_logprob(1025, 6, 19, 1, false, true, false, 0, false, WEIGHT);
    test_logprob(1400, 5, 17, 1, false, false, true, 5, false, WEIGHT);
    test_logprob(6, 4, 9, 1, false, false, false, 1, false, WEIGHT);
    test_logprob(6, 4, 9, 1, false, false, true, 1, false, WEIGHT);
    for (int f = BF16; f <= Q4; f++) {
        test_embed(20, 67, 23, 9, f == Q8, (form)f);
        test_logprob(9, 45, 37, 0.7, true, true, false, 0, false, (form)f);
        test_logits(9, 67, 50, f == Q8 ? 4 : 0, (form)f);
    }
    test_banned_target();
    test_logits(9, 33, 50, 0, WEIGHT);
    test_logits(9, 33, 50, 13, WEIGHT);
    test_logits(70, 130, 65, 1, WEIGHT);
    for (int k = 0; k < 2; k++) {
        test_value(1, 1, k);
        test_value(19, 37, k);
        test_value(40, 96, k);
    }
}
static void test_all(void) {
    use(false);
    test_memory();
    test_load_ids();
    test_store_weights();
    test_refusals();
    test_invariance();
    test_packed();
    test_layers();
    test_head();
    use(false);
    test_cache(1, 1, 1, 1, 4, 1, false);
    test_cache(3, 40, 4, 2, 16, 3, false);                  /* a token of each text */
    test_cache(3, 40, 4, 2, 16, 120, false);                /* all at once */
    test_cache(2, 70, 6, 1, 7, 1, false);
    test_cache(2, 66, 2, 2, 40, 2, true);
    test_cache(3, 20, 3, 3, 80, 30, true);
    use(false);
    test_grad_norm(0);
    test_grad_norm(5);
    test_grad_norm(100003);
    test_adamw(1001, false);
    test_adamw(40000, false);
    test_adamw(40000, true);
    test_skips();
}

int main(void) {
    static const char *const name[] = {"fp32", "bf16x3", "bf16"};
    static const double allowed[] = {exact ? 1e-12 : 1e-5, 1e-4, 2e-2};
    const llm_ops *tables[4] = {&llm_plain};
    int count = 1;
    for (int p = 0; p < (exact ? 1 : 3) && llm_cpu(LLM_FP32) != &llm_plain; p++)
        tables[count++] = llm_cpu((llm_precision)p);
    for (int i = 0; i < count; i++) {
        const int before = passed + failed;
        table = tables[i];
        llm_ops_check(table);
        tolerance = allowed[table->precision];
        rng = llm_rng_seed(5, (uint64_t)i);
        test_all();
        printf("%s, table \"%s\", %s: %d checks\n", exact ? "double" : "float", table->name, name[table->precision],
               passed + failed - before);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
