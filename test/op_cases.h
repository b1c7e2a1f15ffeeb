/* op_cases.h: every operation of the table as a case: its tensors, their shapes, how it is called. Read by test_ops.c
   (is a table right?) and by judge.c (is a student's row right?), which say themselves what is done with a case
   (run_case). A tensor's name ends in its shape, as llm.h writes it; the last dimension may be an expression. */
#ifndef OP_CASES_H
#define OP_CASES_H

enum { exact = sizeof(llm_real) == sizeof(double) };        /* the build for finite differences */
static const llm_ops *table;            /* under test */
static const llm_ops *ops;              /* running: the table, or the oracle */
static bool oracle;                     /* llm_plain runs, on the host's arrays */
static llm_rng rng;

static void use(bool the_oracle) {
    oracle = the_oracle;
    ops = oracle ? &llm_plain : table;
    if (ops->enter) ops->enter(ops);
}
static void check(bool ok, const char *what, const char *detail);

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
/* Not a byte more than is asked for: AddressSanitizer shall see who goes further. */
static void *device_new(size_t bytes) {
    void *p = table->alloc(bytes + !bytes);
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
/* The gradient of the residual stream may be followed by a copy in bf16, for the products (dres_size 6). */
static bool has_copy(const tensor *t) { return element(t) == sizeof(float) + 2; }
static void send(tensor *t, const llm_real *x) {
    uint16_t *half = llm_alloc(t->n + 1, sizeof *half);
    for (size_t i = 0; i < t->n; i++) half[i] = real_to_bf16(x[i]);
    if (element(t) == 2) table->upload(t->device, half, t->n * 2);
    else table->upload(t->device, x, t->n * sizeof *x);
    if (has_copy(t)) table->upload((char *)t->device + t->n * sizeof *x, half, t->n * 2);
    if (t->full) table->upload(t->full, x, t->n * sizeof *x);
    llm_release(half);
}
static llm_real *receive(const tensor *t) {
    llm_real *x = llm_alloc(t->n + 1, sizeof *x);
    uint16_t *half = llm_alloc(t->n + 1, sizeof *half);
    if (element(t) == 2) table->download(half, t->device, t->n * 2);
    else table->download(x, t->device, t->n * sizeof *x);
    for (size_t i = 0; i < t->n && element(t) == 2; i++) x[i] = bf16_to_real(half[i]);
    if (has_copy(t)) {
        size_t stale = 0;
        table->download(half, (const char *)t->device + t->n * sizeof *x, t->n * 2);
        for (size_t i = 0; i < t->n; i++) stale += half[i] != real_to_bf16(x[i]);
        check(stale == 0, t->name, "the bf16 copy is another number");
    }
    llm_release(half);
    return x;
}
/* A matrix in fewer bits, and what it then says: q times its block's scale, within one scale of what it was (and 8 x
   0.1%, by which the scale itself is rounded). */
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
            const double s = (double)f16_to_real(scale[r * blocks + i / 32]);
            const double y = s * (t->form == Q8 ? (int8_t)two : (i % 32 < 16 ? two & 15 : two >> 4) - 8);
            worst = fmax(worst, fabs(y - (double)t->x[r * t->cols + i]) / fabs(s));
            t->x[r * t->cols + i] = (llm_real)y;
        }
    }
    check(worst <= 1.01, "pack", "a number is off by more than its scale");
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
                .before = llm_alloc(n + 1, sizeof(llm_real))};
    t.device = device_new(n * (form == Q8 ? 1 : element(&t)));
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
    int slope;                          /* a loss: out[slope] is the derivative of out[0] by in[0] */
    void (*forward)(op_case *), (*backward)(op_case *, bool accumulate);
};

static void add_in(op_case *c, const char *name, size_t n, form form, gradient kind, bool may_be_null) {
    int i = c->ins++;
    c->in[i] = tensor_new(name, n, form);
    c->kind[i] = kind;
    c->may_be_null[i] = may_be_null;
    c->grad[i] = tensor_new(name, n, kind == PARAMETER || kind == NONE ? REAL : form == RES ? DRES : form);
}
static void add_matrix(op_case *c, const char *name, size_t rows, size_t cols, form form) {
    const bool learns = form == WEIGHT || form == REAL;
    add_in(c, name, rows * cols, form, learns ? PARAMETER : NONE, learns);
    c->in[c->ins - 1].cols = cols;
    if (form != Q4) return;
    table->release(c->in[c->ins - 1].device);
    c->in[c->ins - 1].device = device_new(rows * 16 * ((cols + 31) / 32));
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
                      c->loaded.positions, c->loaded.start, c->loaded.own};
    for (int i = 0; i < 8; i++)
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


static void poison_results(op_case *c, bool accumulate) {
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == NONE) continue;
        if (c->kind[i] == WRITTEN || (c->kind[i] == PARAMETER && !accumulate)) poison(&c->grad[i]);
        else fill_before(&c->grad[i]);
    }
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
static void run_case(op_case *c);
/* max |a - b| / max |b|, against the tolerance of the program */
static void compare(const op_case *c, const char *what, const tensor *t, bool added);

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
    const size_t N = llm_places(b), bytes = N * sizeof(int);
    llm_ids d = {device_new(bytes), device_new(bytes), device_new(bytes), device_new(bytes),
                 device_new((N + 1) * table->ids_size)};
    table->load_ids(&d, b);
    return d;
}
static void test_embed(size_t N, size_t C, size_t V, size_t T, bool learned, form form) {
    op_case c = {.N = N, .C = C, .V = V, .T = T, .forward = embed_forward, .backward = embed_backward};
    snprintf(c.name, sizeof c.name, "embed N=%zu C=%zu V=%zu T=%zu learned=%d form=%d", N, C, V, T, learned, form);
    add_matrix(&c, "wte (V,C)", V, C, form);
    if (learned) add_in(&c, "wpe (T,C)", area(T, C), REAL, PARAMETER, true);
    add_out(&c, "out (N,C)", area(N, C), RES, true);
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
    /* Two numbers are always 1 and -1 after a layer norm, but for eps: a small one leaves rounding alone as gradient, and
       a GPU rounds by itself. */
    op_case c = {.N = N, .C = C, .eps = C == 2 && !strcmp(table->name, "cuda") ? 0.5 : 1e-3, .flag = added,
                 .forward = layer ? layernorm_forward : rmsnorm_forward,
                 .backward = layer ? layernorm_backward : rmsnorm_backward};
    snprintf(c.name, sizeof c.name, "%s N=%zu C=%zu bias=%d added=%d", layer ? "layernorm" : "rmsnorm", N, C, bias,
             added);
    add_in(&c, "inp (N,C)", area(N, C), RES, added ? ADDED : WRITTEN, false);
    add_in(&c, "w (C)", C, REAL, PARAMETER, true);
    if (layer && bias) add_in(&c, "bias (C)", C, REAL, PARAMETER, true);
    add_out(&c, "out (N,C)", area(N, C), ACT, true);
    if (layer) add_out(&c, "mean (N)", N, REAL, false);
    add_out(&c, "rstd (N)", N, REAL, false);
    for (size_t i = 0; i < c.in[0].n; i++) c.in[0].x[i] += 2;           /* a mean worth subtracting */
    run_case(&c);
}

/* ---- norms of q and k, and behind a branch ---- */

static void qk_norm_forward(op_case *c) {
    copy(&c->out[0], &c->in[0]);
    ops->qk_norm_forward(out(c, 0), out(c, 1), out(c, 2), in(c, 1), (llm_real)c->eps, c->N, c->slice, c->D);
}
static void qk_norm_backward(op_case *c, bool accumulate) {
    copy(&c->grad[0], &c->dout[0]);
    ops->qk_norm_backward(grad(c, 0), grad(c, 1), out(c, 1), out(c, 2), in(c, 1), c->N, c->slice, c->D, accumulate);
}
static void test_qk_norm(size_t N, size_t groups, size_t D, size_t col) {
    /* With col = 0 and D a multiple of 8 every row begins at a multiple of 8, else hardly one does. */
    const llm_slice s = {.ld = col + groups * D + (col ? 5 : 8), .col = col, .cols = groups * D};
    op_case c = {.N = N, .D = D, .slice = s, .eps = 1e-3, .forward = qk_norm_forward, .backward = qk_norm_backward};
    snprintf(c.name, sizeof c.name, "qk_norm N=%zu groups=%zu width=%zu col=%zu", N, groups, D, col);
    add_in(&c, "qkv (N,ld)", area(N, s.ld), ACT, WRITTEN, false);
    add_in(&c, "w (width)", D, REAL, PARAMETER, true);
    add_out(&c, "qkv (N,ld)", area(N, s.ld), ACT, true);
    add_out(&c, "raw (N,cols)", area(N, s.cols), ACT, false);
    add_out(&c, "rstd (N,cols/width)", area(N, groups), REAL, false);
    run_case(&c);
}
static void post_norm_forward(op_case *c) {
    ops->post_norm_forward(out(c, 0), out(c, 1), in(c, 2), in(c, 0), in(c, 1), (llm_real)c->eps, c->N, c->C);
}
static void post_norm_backward(op_case *c, bool accumulate) {
    ops->post_norm_backward(grad(c, 0), grad(c, 1), dout(c, 0), in(c, 0), in(c, 1), out(c, 1), c->N, c->C, accumulate);
}
static void test_post_norm(size_t N, size_t C) {
    op_case c = {.N = N, .C = C, .eps = 1e-3, .forward = post_norm_forward, .backward = post_norm_backward};
    snprintf(c.name, sizeof c.name, "post_norm N=%zu C=%zu", N, C);
    add_in(&c, "y (N,C)", area(N, C), ACT, WRITTEN, false);
    add_in(&c, "w (C)", C, REAL, PARAMETER, true);
    add_in(&c, "res (N,C)", area(N, C), RES, NONE, false);
    add_out(&c, "out (N,C)", area(N, C), RES, true);
    add_out(&c, "rstd (N)", N, REAL, false);
    run_case(&c);
}
static void stream_forward(op_case *c) { ops->stream_forward(out(c, 0), in(c, 0), c->N); }
static void stream_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    ops->stream_backward(grad(c, 0), dout(c, 0), c->N);
}
static void test_stream(size_t n) {
    op_case c = {.N = n, .forward = stream_forward, .backward = stream_backward};
    snprintf(c.name, sizeof c.name, "stream N=%zu", n);
    add_in(&c, "inp (N)", n, RES, ADDED, false);
    add_out(&c, "out (N)", n, ACT, true);
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
    add_in(&c, "inp (N,I)", area(N, in), ACT, WRITTEN, true);
    add_matrix(&c, "w (O,I)", out_n, in, form);
    if (bias || residual) add_matrix(&c, "bias (O)", 1, out_n, WEIGHT);
    if (residual) add_in(&c, "res (N,O)", area(N, out_n), RES, NONE, false);
    add_out(&c, "out (N,O)", area(N, out_n), residual ? RES : ACT, true);
    run_case(&c);
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
    add_in(&c, "inp (N,I)", area(N, in), ACT, ADDED, true);
    add_in(&c, "A (r,I)", area(r, in), REAL, PARAMETER, true);
    add_in(&c, "B (O,r)", area(out_n, r), REAL, PARAMETER, true);
    add_in(&c, "base (N,ld)", area(N, ld), residual ? RES : ACT, NONE, false);
    add_out(&c, "out (N,ld)", area(N, ld), residual ? RES : ACT, true);
    add_out(&c, "u (N,r)", area(N, r), ACT, false);
    c.out[2] = tensor_new("du (N,r)", area(N, r), ACT);       /* scratch: nobody reads it, so it is no result */
    run_case(&c);
}

/* ---- rope ---- */

static void rope_forward(op_case *c) {
    copy(&c->out[0], &c->in[0]);
    ops->rope_forward(out(c, 0), in(c, 1), (llm_real)c->scale, ids(c, 0), c->N, c->H, c->KV, c->D);
}
static void rope_backward(op_case *c, bool accumulate) {
    (void)accumulate;
    copy(&c->grad[0], &c->dout[0]);
    ops->rope_backward(grad(c, 0), in(c, 1), (llm_real)c->scale, ids(c, 0), c->N, c->H, c->KV, c->D);
}
static void test_rope(size_t N, size_t H, size_t KV, size_t D, size_t positions) {
    op_case c = {.N = N, .H = H, .KV = KV, .D = D, .scale = D % 4 ? 1.25 : 1, .forward = rope_forward,
                 .backward = rope_backward};
    snprintf(c.name, sizeof c.name, "rope N=%zu H=%zu KV=%zu D=%zu positions=%zu", N, H, KV, D, positions);
    size_t n = area(N, (H + 2 * KV) * D);
    add_in(&c, "qkv (N,(H+2KV)D)", n, ACT, WRITTEN, false);
    add_in(&c, "freq (D/2)", D / 2, REAL, NONE, false);
    add_out(&c, "qkv (N,(H+2KV)D)", n, ACT, true);
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
    add_in(&c, "qkv (N,(H+2KV)D)", area(B * T, (H + 2 * KV) * D), ACT, WRITTEN, false);
    add_out(&c, "out (N,HD)", area(B * T, H * D), ACT, true);
    add_out(&c, "lse (N,H)", area(B * T, H), REAL, false);
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
    add_in(&c, "qkv (N,(H+2KV)D)", area(B * T, (H + 2 * KV) * D), ACT, NONE, false);
    add_out(&c, "out (N,HD)", area(B * T, H * D), ACT, false);
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
    add_in(&c, "inp (n)", n, ACT, WRITTEN, false);
    add_out(&c, "out (n)", n, ACT, true);
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
    add_in(&c, "gateup (N,2F)", 2 * area(N, F), ACT, WRITTEN, false);
    add_out(&c, "out (N,F)", area(N, F), ACT, true);
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
    tensor logp = tensor_new("logp (N)", c->N, REAL);
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
    add_in(&c, "hidden (N,C)", area(N, C), ACT, WRITTEN, true);
    add_matrix(&c, "w (V,C)", V, C, form);
    add_out(&c, "logp (N)", N, REAL, true);
    add_out(&c, "lse (N)", N, REAL, false);
    if (entropy) add_out(&c, "entropy (N)", N, REAL, true);
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
    add_in(&c, "hidden (N,C)", area(N, C), ACT, NONE, false);
    add_matrix(&c, "w (V,C)", V, C, form);
    c.kind[1] = NONE;
    add_out(&c, "out (n,V)", area(c.rows, V), REAL, false);
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
    add_in(&c, "hidden (N,C)", area(N, C), ACT, added ? ADDED : WRITTEN, true);
    add_in(&c, "u (C)", C, REAL, PARAMETER, true);
    add_out(&c, "value (N)", N, REAL, true);
    run_case(&c);
}

#endif
