/* test_cuda_products.h: linear, residual and LoRA at the sizes where llm_cuda.cuh takes another way. Read by
   test_cuda.c, after op_tests.h, for each table. */
#ifndef TEST_CUDA_PRODUCTS_H
#define TEST_CUDA_PRODUCTS_H

/* A bias of another form than the weights: of a model in q8, or of bf16 weights on the table fp32, it is llm_real. */
static void test_linear_bias(size_t N, size_t in, size_t out_n, bool residual, form w, form bias) {
    op_case c = {.N = N, .C = in, .O = out_n, .forward = residual ? residual_forward : linear_forward,
                 .backward = residual ? residual_backward : linear_backward};
    snprintf(c.name, sizeof c.name, "%s N=%zu I=%zu O=%zu form=%d, a bias of form %d", residual ? "residual" : "linear",
             N, in, out_n, w, bias);
    add_in(&c, "inp (N,I)", area(N, in), ACT, WRITTEN, true);
    add_matrix(&c, "w (O,I)", out_n, in, w);
    add_matrix(&c, "bias (O)", 1, out_n, bias);
    if (!c.in[2].full) c.in[2].full = device_new(out_n * sizeof(llm_real));     /* a bias has it always */
    if (residual) add_in(&c, "res (N,O)", area(N, out_n), RES, NONE, false);
    add_out(&c, "out (N,O)", area(N, out_n), residual ? RES : ACT, true);
    run_case(&c);
}
/* More shapes than plans are kept: the first ones are made anew, and all are right. */
static void test_many_plans(void) {
    if (!wanted("linear")) return;
    enum { SHAPES = 270, I = 2, O = 3, FIRST = 9 };
    tensor x = tensor_new("x", (FIRST + SHAPES) * I, ACT), w = tensor_new("w", O * I, WEIGHT);
    tensor y = tensor_new("y", (FIRST + SHAPES) * O, ACT);
    settle(&x);
    settle(&w);
    op_case c = {.name = "linear, more shapes than plans"};
    const llm_weight weights = {w.device, type_of(&w), NULL, w.full}, none = {0};
    const llm_weight plainly = {w.x, LLM_TYPE_REAL, NULL, w.x};
    for (int twice = 0; twice < 2; twice++)
        for (size_t n = FIRST; n < FIRST + SHAPES; n += n < FIRST + SHAPES - 1 && twice ? 67 : 1) {
            y.n = n * O;
            poison(&y);
            table->linear_forward(y.device, x.device, weights, none, n, I, O);
            llm_plain.linear_forward((llm_act *)y.x, (llm_act *)x.x, plainly, none, n, I, O);
            compare(&c, "out, of", &y, false);
        }
    tensor *all[] = {&x, &w, &y};
    for (int i = 0; i < 3; i++) tensor_free(all[i]);
}
/* From 9 rows on, a row's bits do not depend on how many there are. */
static void test_row_alone(void) {
    if (!wanted("linear")) return;
    enum { N = 65, SOME = 17, I = 72, O = 40 };
    tensor x = settled("x", N * I, ACT), w = settled("w", O * I, WEIGHT), a = settled("a", N * O, ACT);
    tensor b = settled("b", SOME * O, ACT);
    const llm_weight weights = {w.device, type_of(&w), NULL, w.full}, none = {0};
    table->linear_forward(a.device, x.device, weights, none, N, I, O);
    table->linear_forward(b.device, act_move(x.device, 30 * I), weights, none, SOME, I, O);
    check(same_bits(&a, 30 * O, &b, SOME * O), "linear", "without the rows beside it: other bits");
    tensor *all[] = {&x, &w, &a, &b};
    for (int i = 0; i < 4; i++) tensor_free(all[i]);
}
static void test_cuda_products(void) {
    const size_t rows[] = {1, 8, 9, 17, 63, 64, 65, 1023};
    for (int i = 0; i < 8; i++) {
        test_linear(rows[i], 40, 48, i % 2, false, WEIGHT);
        test_linear(rows[i], 33, 19, true, i % 2, WEIGHT);
        test_linear(rows[i], 24, 8, true, true, WEIGHT);
    }
    test_linear(300, 8, 520, true, false, WEIGHT);          /* column sums of several blocks, both ways */
    test_linear(600, 9, 259, true, true, WEIGHT);
    const form forms[] = {REAL, BF16, Q8, Q4};
    const size_t few[] = {1, 3, 8, 9, 65};
    for (int f = 0; f < 4; f++)
        for (int i = 0; i < 5; i++) {                       /* 520: lanes take more than one turn; 67: no 16 bytes */
            const form bias = i % 2 ? REAL : WEIGHT;
            test_linear_bias(few[i], i % 2 ? 520 : 264, 10, i % 2, forms[f], bias);
            test_linear_bias(few[i], 67, 9, i % 2 == 0, forms[f], bias);
        }
    test_epilogues(1, 16, 24);
    test_epilogues(17, 72, 40);
    test_epilogues(65, 40, 33);
    test_epilogues(1023, 8, 16);
    for (int k = 0; k < 2; k++) {
        test_lora(1, 9, 8, 7, 7, 0, k);                     /* a number alone may be near 0: no measure for bf16 */
        test_lora(20, 9, 1, 7, 7, 0, k);
        test_lora(17, 40, 8, 24, 72, 24, k);
        test_lora(65, 64, 16, 40, 96, 56, k);
        test_lora(1023, 16, 4, 9, 25, 11, k);
    }
    test_many_plans();
    test_row_alone();
}

#endif
