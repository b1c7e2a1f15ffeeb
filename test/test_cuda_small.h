/* test_cuda_small.h: embedding, norms and the gradient's norm at the sizes where their kernels take another way. Read by
   test_cuda.c, after op_cases.h and learning_cases.h, for each table. */
#ifndef TEST_CUDA_SMALL_H
#define TEST_CUDA_SMALL_H

/* Rows with one run of places, with several, with none; fewer rows than places and more; all kinds of weights. */
static void test_cuda_embedding(void) {
    const form f[] = {WEIGHT, REAL, BF16, Q8, Q4};
    for (int i = 0; i < 5; i++) {
        test_embed(7, 5, 11, 4, true, f[i]);
        test_embed(33, 96, 5, 8, i % 2, f[i]);
        test_embed(20, 67, 23, 9, true, f[i]);
    }
    test_embed(1, 1, 1, 1, true, WEIGHT);
    test_embed(1023, 8, 1, 2, true, WEIGHT);                    /* one word, four runs; positions in two each */
    test_embed(1300, 24, 3, 1300, true, WEIGHT);
    test_embed(520, 1032, 9, 2, true, WEIGHT);                  /* more columns than a block takes at once */
    test_embed(64, 3, 50257, 64, false, WEIGHT);
}
/* Every team (a warp, 128 and 256 threads), at its first and last width, and rows that are no multiple of 8. */
static void test_cuda_norms(void) {
    const size_t cols[] = {1, 7, 8, 67, 255, 256, 264, 767, 768, 769, 776, 1600, 2048, 2049, 4096, 8192, 8200};
    for (size_t k = 0; k < sizeof cols / sizeof *cols; k++) {
        test_norm(k % 3 ? 5 : 1, cols[k], true, k % 2, k % 2);
        test_norm(k % 3 ? 3 : 9, cols[k], false, false, k % 2 == 0);
    }
    for (size_t k = 2; k < sizeof cols / sizeof *cols; k++) {
        test_qk_norm(k % 3 ? 3 : 5, 1 + k % 2, cols[k], k % 4 ? 0 : 8);
        test_post_norm(k % 3 ? 5 : 3, cols[k]);
    }
    test_norm(1023, 40, true, true, true);                      /* a team has several rows */
    test_norm(130, 1032, true, true, true);
    test_norm(67, 1032, false, false, false);
    test_norm(67, 1032, true, true, false);                     /* two groups of neighbours */
}
/* Scratch that no GPU has: told, and who catches that goes on with an empty room. */
static void test_no_memory(void) {
    if (!wanted("embed")) return;
    float *x = device_new(64);
    const llm_ids ids = {.own = x};
    llm_on_death = caught;
    last_words[0] = 0;
    if (!setjmp(escape))
        table->embed_backward(x, NULL, (llm_res *)(void *)x, &ids, 1 << 30, 1 << 20, 1, 1, true, true);
    llm_on_death = NULL;
    check(strstr(last_words, "out of memory") != NULL, "scratch", "more than there is was not refused");
    table->release(x);
    test_embed(520, 12, 1, 2, true, WEIGHT);                    /* needs the same room */
}
static void test_cuda_small(void) {
    test_cuda_embedding();
    test_cuda_norms();
    if (wanted("adamw")) test_adamw(270000, false);             /* a share has more than one piece */
    test_no_memory();
}

#endif
