/* op_tests.h: what test_ops.c (the tables of this CPU) and test_cuda.c (those of a GPU) ask of every row. Include after
   the implementation of llm.h. */
#ifndef OP_TESTS_H
#define OP_TESTS_H

#include "grad_check.h"
#include <setjmp.h>

static int passed, failed;
static double tolerance;
static int most_threads = 4;            /* 1, 2 .. so many give the same bits; a GPU: 1, and the same bits twice */
static bool bits_by_place = true;       /* a text's bits do not depend on where it lies; a GPU's do, within tolerance */
static bool stop_at_failure;
static const char *only;                /* NULL, or the first word of the cases to be run */

#include "op_cases.h"
#include "learning_cases.h"

static bool wanted(const char *name) { return !only || !strncmp(name, only, strlen(only)); }

static void check(bool ok, const char *what, const char *detail) {
    if (ok) passed++;
    else {
        failed++;
        printf("FAILED %s %s\n", what, detail);
        if (stop_at_failure) exit(1);
    }
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
static void test_finite_differences(op_case *c) {
    llm_threads(1);                     /* thousands of tiny passes: a second thread costs more than it helps */
    run_oracle(c);
    for (int i = 0; i < c->ins; i++) {
        if (c->kind[i] == NONE) continue;
        double error = llm_grad_check(loss, c, c->in[i].x, c->grad[i].x, c->in[i].n, 20, &rng);
        char detail[200];
        snprintf(detail, sizeof detail, "backward pass: finite differences of %s: error %.3g, allowed 1e-7", c->in[i].name, error);
        check(error <= 1e-7, c->name, detail);
    }
}
static void run_case(op_case *c) {
    if (!wanted(c->name)) {
        free_case(c);
        return;
    }
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
    if (most_threads >= 4) check(hash_results(c, 4) == one, c->name, "4 threads: not the bits of 1");
    if (exact && c->backward && table == &llm_plain) test_finite_differences(c);
    llm_threads(threads);
    free_case(c);
}

/* ---- linear and residual with gelu, where a table has that in one ---- */

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

/* ---- a banned target ---- */

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
    for (int fused = 0; fused < (table->logprob_fused ? 2 : 1); fused++) {
        tensor own = tensor_new("logp", 1, REAL);
        poison_results(&c, false);
        if (fused)
            ops->logprob_fused(own.device, grad(&c, 0), grad(&c, 1), dout(&c, 0), in(&c, 0), weight(&c, 1), ids(&c, 0),
                               head_of(&c), 1, C, V, false);
        else c.backward(&c, false);
        llm_real *dw = receive(&c.grad[1]), *at = receive(&own);
        bool zero = true, finite = true;
        for (int i = 0; i < C; i++) zero = zero && dw[C + i] == 0;
        for (int i = 0; i < C * V; i++) finite = finite && isfinite((double)dw[i]);
        check(zero, fused ? "banned target, fused" : "banned target", "a gradient reached the banned row");
        check(finite, "banned target", "a gradient is not finite");
        check(!fused || (isfinite((double)*at) && *at < -1e20), "banned target, fused",
              "logp is not hugely negative and finite");
        llm_release(dw);
        llm_release(at);
        tensor_free(&own);
    }
    llm_release(logp);
    free_case(&c);
}
/* ---- memory ---- */

static void test_memory(size_t n) {
    unsigned char *x = device_new(n), *host = llm_alloc(n, 1), *back = llm_alloc(n, 1);
    size_t other = 0;
    table->download(back, x, n);
    for (size_t i = 0; i < n; i++) {
        other += back[i] != 0;
        host[i] = (unsigned char)((uint32_t)i * 2654435761u >> 24);         /* no period that buffers may have too */
    }
    check(other == 0, "alloc", "the memory is not zero");
    table->upload(x, host, n);
    for (size_t i = 0; i < n; i++) host[i]++;               /* upload has read it */
    table->download(back, x, n);
    for (size_t i = 0; i < n; i++) host[i]--;
    check(memcmp(host, back, n) == 0, "upload, download", "not what was sent");
    table->upload(x + 1, host, n - 2);
    memset(back, 0, n);
    table->fetch(back, x, n / 2);
    table->fetch(back + n / 2, x + n / 2, n - n / 2);
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
    table->release(d.own);
    llm_batch_free(&b);
}
static void test_store_weights(void) {
    enum { N = 1003 };
    static llm_real w[N];
    static uint16_t half[N];
    for (int i = 0; i < N; i++) w[i] = (llm_real)(llm_rng_normal(&rng) * pow(10, i % 61 - 30));
    w[5] = 0, w[6] = (llm_real)-0.0, w[7] = INFINITY, w[8] = 1 + (llm_real)0x1p-8, w[9] = 1 + (llm_real)0x3p-8;
    const uint32_t bits = 0x7F800001;                       /* a NaN whose upper half is infinity's */
    float none;
    memcpy(&none, &bits, sizeof none);
    w[10] = none, w[11] = -none;
    llm_real *from = device_new(sizeof w);
    void *to = device_new(sizeof half);
    table->upload(from, w, sizeof w);
    table->store_weights(to, from, N);
    table->download(half, to, sizeof half);
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += half[i] != real_to_bf16(w[i]) && i != 10 && i != 11;
    check(wrong == 0, "store_weights", "not the nearest bf16");
    for (int i = 10; i < 12; i++)
        check((half[i] & 0x7FFF) > 0x7F80 && (real_to_bf16(w[i]) & 0x7FFF) > 0x7F80, "store_weights",
              "a NaN became a number");
    check(half[8] == 0x3F80 && half[9] == 0x3F82, "store_weights", "a tie was not rounded to even");
    table->release(from);
    table->release(to);
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

/* Are n numbers of a, from its `from`th on, those of b to the bit, or within the tolerance? */
static bool same_numbers(const tensor *a, size_t from, const tensor *b, size_t n) {
    llm_real *x = receive(a), *y = receive(b);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = fabs((double)x[from + i] - (double)y[i]);
        if (!(error <= worst)) worst = error;
        largest = fmax(largest, fabs((double)y[i]));
    }
    llm_release(x);
    llm_release(y);
    return worst <= tolerance * largest;
}
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
    bool (*same)(const tensor *, size_t, const tensor *, size_t) = bits_by_place ? same_bits : same_numbers;
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
    check(same(&out[0], area(FIRST, OUT), &out[1], area(T, OUT)), "attention", "packed: other bits of out");
    check(same(&dqkv[0], area(FIRST, ROW), &dqkv[1], area(T, ROW)), "attention", "packed: other bits of dqkv");
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
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 6; k++) {
            test_qk_norm(rows[i], 1 + k % 3, cols[k], k % 2 ? 7 : 0);
            test_post_norm(rows[i], cols[k]);
            test_stream(rows[i] * cols[k]);
        }
    test_qk_norm(1100, 2, 16, 0);
    test_post_norm(1100, 64);
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
    if (wanted("logprob")) test_banned_target();
    test_logits(9, 33, 50, 0, WEIGHT);
    test_logits(9, 33, 50, 13, WEIGHT);
    test_logits(70, 130, 65, 1, WEIGHT);
    for (int k = 0; k < 2; k++) {
        test_value(1, 1, k);
        test_value(19, 37, k);
        test_value(40, 96, k);
    }
}
static void test_rest(void) {
    use(false);
    if (wanted("memory")) {
        test_memory(300001);
        test_memory(9000001);
        test_load_ids();
        test_store_weights();
        test_refusals();
    }
    if (!wanted("attention")) return;
    test_invariance();
    test_packed();
}
static void test_speaking(void) {
    test_cache(1, 1, 1, 1, 4, 1, false);
    test_cache(3, 40, 4, 2, 16, 3, false);                  /* a token of each text */
    test_cache(3, 40, 4, 2, 16, 120, false);                /* all at once */
    test_cache(1, 70, 4, 2, 40, 70, false);                 /* a prompt */
    test_cache(2, 70, 6, 1, 7, 1, false);
    test_cache(2, 66, 2, 2, 40, 2, true);
    test_cache(3, 20, 3, 3, 80, 30, true);
}
static void test_learning(void) {
    use(false);
    if (!wanted("adamw")) return;
    test_grad_norm(0);
    test_grad_norm(5);
    test_grad_norm(100003);
    test_adamw(1001, false);
    test_adamw(40000, false);
    test_adamw(40000, true);
    test_chances();
    test_skips();
}

#endif
