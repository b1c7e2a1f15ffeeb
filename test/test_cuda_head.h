/* test_cuda_head.h: the head and the value at the sizes where llm_cuda.cuh takes another way. Read by test_cuda.c,
   after op_tests.h, for each table. */
#ifndef TEST_CUDA_HEAD_H
#define TEST_CUDA_HEAD_H

/* max |a - b| / max |b| */
static void check_near(const char *what, const tensor *t, const double *want, double allowed) {
    double worst = 0, largest = 1e-30;
    llm_real *got = receive(t);
    for (size_t i = 0; i < t->n; i++) {
        const double error = fabs((double)got[i] - want[i]);
        if (!(error <= worst)) worst = error;
        largest = fmax(largest, fabs(want[i]));
    }
    char detail[120];
    snprintf(detail, sizeof detail, "%s: relative error %.3g, allowed %.3g", t->name, worst / largest, allowed);
    check(worst / largest <= allowed, what, detail);
    llm_release(got);
}
/* GPT-2's words, with entropy, against the formula in double: llm_plain, in float, adds 50257 numbers one by one and is
   itself wrong by 1e-5 there. Forward is held to 2e-6 in bf16 too, for its logits are float; dhidden, a product over
   50257 terms in float, to twice the table's tolerance. */
static void test_many_words(void) {
    enum { N = 4, C = 16, V = 50257 };
    if (!wanted("logprob")) return;
    tensor x = settled("hidden", N * C, ACT), w = tensor_new("w", V * C, WEIGHT), logp = tensor_new("logp", N, REAL);
    tensor lse = tensor_new("lse", N, REAL), entropy = tensor_new("entropy", N, REAL);
    tensor dlogp = settled("dlogp", N, REAL), dentropy = settled("dentropy", N, REAL);
    tensor dx = tensor_new("dhidden", N * C, ACT);
    for (size_t i = 0; i < w.n; i++) w.x[i] /= 4;
    settle(&w);
    int *ids = random_ids(N, V), *target = ints_to_device(ids, N);
    const llm_head head = {.temperature = (llm_real)0.75};
    const llm_weight weights = {w.device, type_of(&w), NULL, w.full};
    use(false);
    table->logprob_forward(logp.device, lse.device, entropy.device, x.device, weights, target, head, N, C, V);
    table->logprob_backward(dx.device, NULL, dlogp.device, dentropy.device, lse.device, entropy.device, x.device,
                            weights, target, head, N, C, V, false);
    double *z = llm_alloc(V, sizeof *z), want[3][N], dwant[N * C] = {0};
    for (int n = 0; n < N; n++) {
        double sum = 0, h = 0;
        for (int k = 0; k < V; k++) {
            z[k] = 0;
            for (int c = 0; c < C; c++) z[k] += (double)x.x[n * C + c] * (double)w.x[k * C + c] / 0.75;
            sum += exp(z[k]);
        }
        for (int k = 0; k < V; k++) z[k] -= log(sum), h -= exp(z[k]) * z[k];
        want[0][n] = z[ids[n]], want[1][n] = log(sum), want[2][n] = h;
        for (int k = 0; k < V; k++)
            for (int c = 0; c < C; c++)
                dwant[n * C + c] += ((double)dlogp.x[n] * ((k == ids[n]) - exp(z[k])) -
                                     (double)dentropy.x[n] * exp(z[k]) * (z[k] + h)) * (double)w.x[k * C + c] / 0.75;
    }
    check_near("logprob, 50257 words", &logp, want[0], 2e-6);
    check_near("logprob, 50257 words", &lse, want[1], 2e-6);
    check_near("logprob, 50257 words", &entropy, want[2], 2e-6);
    check_near("logprob, 50257 words", &dx, dwant, 2 * tolerance);
    tensor *all[] = {&x, &w, &logp, &lse, &entropy, &dlogp, &dentropy, &dx};
    for (int i = 0; i < 8; i++) tensor_free(all[i]);
    table->release(target);
    llm_release(ids);
    llm_release(z);
}
static void test_cuda_head(void) {
    const size_t rows[] = {1, 17, 63, 64, 65, 1023};
    for (int i = 0; i < 6; i++) {                           /* 1023: two chunks */
        test_logprob(rows[i], 24, 70, 0.7, i % 2, true, false, i % 2 * 3, true, WEIGHT);
        test_logprob(rows[i], 19, 37, 1, i % 2 == 0, false, true, 2, i % 2, WEIGHT);
        test_value(rows[i], i % 2 ? 264 : 31, i % 2);
    }
    test_logprob(7, 264, 19, 1, false, true, false, 2, true, WEIGHT);       /* rows of more numbers than threads */
    test_logprob(3, 8, 9001, 0.7, true, true, false, 0, false, WEIGHT);     /* three turns of the largest block */
    test_logprob(3, 8, 9001, 0.7, true, false, true, 0, false, WEIGHT);
    test_logprob(1, 16, 50257, 1, true, false, true, 0, false, WEIGHT);
    test_logprob(5, 16, 50257, 1, false, false, false, 2, true, WEIGHT);
    test_many_words();
    test_logits(20, 24, 50257, 0, WEIGHT);
    test_logits(70, 33, 50, 17, Q8);
    test_logits(70, 264, 19, 8, Q4);
    test_logits(9, 16, 50257, 1, BF16);
    test_value(1023, 9, true);
    test_value(2, 1032, false);
}

#endif
