/* test_cuda.c: the tables of llm_cuda.cuh against llm_plain, row by row, as test_ops.c has those of the CPU.

   Linked with llm_cuda.cuh as nvcc compiles it, it runs on a GPU; linked with what test/cuda_on_cpu makes of the same
   text, every kernel runs on this CPU, thread by thread. The first line says which of the two it was.

     build/test_cuda              everything
     build/test_cuda attention    the cases that begin with this word
     build/test_cuda few          the short list, for sanitizers; few attention: what of it begins with this word
     build/test_cuda stop ...     ends at the first failure (test/cuda_bugs.sh: one is enough)

   Each case is run twice and must give the same bits: under emulation the threads then come in another order. A hash of
   many results' bits is printed last: it must not change with CUDA_CPU_SEED either. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "check.h"
#include "op_tests.h"

/* Shapes and promises that belong to one section of llm_cuda.cuh: test_cuda_NAME.h has test_cuda_NAME(). */
#include "test_cuda_small.h"
#if __has_include("test_cuda_products.h")
#include "test_cuda_products.h"
#else
static void test_cuda_products(void) {}
#endif
#include "test_cuda_attention.h"
#if __has_include("test_cuda_head.h")
#include "test_cuda_head.h"
#else
static void test_cuda_head(void) {}
#endif
#if __has_include("test_cuda_speaking.h")
#include "test_cuda_speaking.h"
#else
static void test_cuda_speaking(void) {}
static void test_speaking_few(void) {}
#endif

/* ---- memory ---- */

/* More fetches than the table remembers, and more bytes than its pinned memory holds. */
static void test_fetches(void) {
    if (!wanted("memory")) return;
    enum { N = 700, EACH = 12345 };
    unsigned char *host = llm_alloc(N, EACH), *back = llm_alloc(N, EACH), *x = device_new((size_t)N * EACH);
    for (size_t i = 0; i < (size_t)N * EACH; i++) host[i] = (unsigned char)((uint32_t)i * 2654435761u >> 24);
    table->upload(x, host, (size_t)N * EACH);
    for (size_t i = 0; i < N; i++) table->fetch(back + i * EACH, x + i * EACH, EACH);
    table->wait();
    check(!memcmp(host, back, (size_t)N * EACH), "fetch", "many of them: other bytes");
    table->release(x);
    llm_release(host);
    llm_release(back);
}
/* The order of the embedding's backward pass: a word in every second place, one in every seventh, the others rare. */
static void test_long_runs(void) {
    if (!wanted("embed")) return;
    enum { N = 2100, C = 12, V = 400, T = 5 };
    op_case c = {.N = N, .C = C, .V = V, .T = T, .name = "embed, a frequent word", .forward = embed_forward,
                 .backward = embed_backward};
    add_matrix(&c, "wte (V,C)", V, C, WEIGHT);
    add_in(&c, "wpe (T,C)", area(T, C), REAL, PARAMETER, true);
    add_out(&c, "out (N,C)", area(N, C), RES, true);
    add_ids(&c, 0, random_ids(N, V), N);
    add_ids(&c, 1, random_ids(N, T), N);
    for (int n = 0; n < N; n++)
        if (n % 2 == 0 || n % 7 == 0) c.ids[0][n] = n % 2 ? 9 : 399;
    table->upload(c.device_ids[0], c.ids[0], N * sizeof(int));
    llm_batch b = llm_batch_new(1, N);
    memcpy(b.tokens, c.ids[0], N * sizeof(int));
    memcpy(b.positions, c.ids[1], N * sizeof(int));
    c.loaded = load(&b);
    llm_batch_free(&b);
    run_case(&c);
}

/* A shape or two of every row that do not fit its tiles. */
static void test_few(void) {
    test_embed(50, 67, 23, 9, true, WEIGHT);
    test_norm(141, 33, true, true, true);                        /* 18 blocks, two groups of neighbours */
    test_norm(7, 96, false, false, false);
    test_norm(3, 800, true, true, true);                        /* a block to a row */
    test_qk_norm(25, 3, 16, 0);
    test_qk_norm(7, 2, 33, 3);
    test_qk_norm(3, 1, 800, 0);
    test_post_norm(9, 33);
    test_post_norm(5, 96);
    test_stream(257);
    test_stream(2 * 1032);
    for (int f = BF16; f <= Q4; f++) test_linear(5, 67, 13, f == Q8, f == Q4, (form)f);
    test_linear(33, 40, 48, true, false, WEIGHT);
    test_linear(33, 17, 49, false, true, WEIGHT);
    test_epilogues(33, 40, 48);
    test_lora(37, 33, 4, 17, 60, 21, false);
    test_lora(16, 32, 8, 32, 96, 64, true);
    test_rope(11, 3, 1, 10, 70);
    test_attention(2, 33, 6, 1, 7, 5);
    test_gelu(257);
    test_swiglu(13, 37);
    test_logprob(9, 13, 37, 0.7, true, true, false, 2, true, WEIGHT);
    test_logprob(9, 24, 72, 1, false, false, true, 2, true, WEIGHT);
    test_logits(9, 33, 50, 4, Q8);
    test_value(19, 37, true);
    test_cache(3, 40, 4, 2, 16, 3, false);
    test_cache(2, 66, 2, 2, 40, 6, true);
    use(false);
    test_speaking_few();
    if (!wanted("adamw")) return;
    test_grad_norm(5000);
    test_adamw(1001, true);
}
static void test_everything(void) {
    test_layers();
    test_head();
    use(false);
    test_speaking();
    test_learning();
    test_long_runs();
    test_cuda_small();
    test_cuda_products();
    test_cuda_head();
    test_cuda_speaking();
}

int main(int count, char **argument) {
    char gpu[400];
    if (!llm_cuda_devices(gpu, sizeof gpu)) {
        printf("SKIP: no GPU answers (%s); build/test_cuda runs the kernels on the CPU\n0 passed, 0 failed\n", gpu);
        return 0;
    }
    printf("kernels run on %s\n", gpu);
    bool few = false;
    only = NULL;
    for (int i = 1; i < count; i++) {
        if (!strcmp(argument[i], "stop")) stop_at_failure = checks_stop = true;
        else if (!strcmp(argument[i], "few")) few = true;
        else only = argument[i];
    }
    uint64_t bits = 0;
    most_threads = 1;
    bits_by_place = false;
    static const llm_precision precision[] = {LLM_FP32, LLM_BF16, LLM_TF32};
    /* bf16: as test_ops.c has it for the CPU. tf32: factors of products have 11 bits: each is wrong by 2^-11 at most */
    static const double allowed[] = {1e-5, 2e-2, 1e-3};
    for (int i = 0; i < (few ? 2 : 3); i++) {
        const int before = passed + failed + checks_passed + checks_failed;
        llm_ops small = *llm_cuda(precision[i]);
        small.head_rows = 512;          /* several chunks of logits */
        table = &small;
        llm_ops_check(table);
        tolerance = allowed[i];
        rng = llm_rng_seed(7, (uint64_t)i);
        test_rest();
        test_fetches();
        if (few || precision[i] == LLM_TF32) test_few();       /* all but tf32's products is fp32's */
        else test_everything();
        if (precision[i] != LLM_TF32) bits = test_cuda_attention(table, few, bits);
        printf("table \"%s\", %s: %d checks\n", table->name, llm_precision_name(precision[i]),
               passed + failed + checks_passed + checks_failed - before);
    }
    printf("bits %016llx\n", (unsigned long long)bits);
    printf("%d passed, %d failed\n", passed + checks_passed, failed + checks_failed);
    return failed + checks_failed != 0;
}
