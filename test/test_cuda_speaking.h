/* test_cuda_speaking.h: the cache's attention where its blocks meet, and speaking itself. Read by test_cuda.c. */
#ifndef TEST_CUDA_SPEAKING_H
#define TEST_CUDA_SPEAKING_H

/* One block of 128 keys, its last key, one more, several; groups of 1, 2, 3, 5, 9 query heads; a token of each text at
   a time, a prompt at once, and rows that move. */
static void test_cuda_cache(void) {
    const size_t D[] = {32, 64, 80, 96, 128, 7};
    for (int i = 0; i < 6; i++) test_cache(1, i % 2 ? 17 : 33, 2, 1, D[i], i % 3 ? 33 : 1, false);
    test_cache(1, 127, 1, 1, 8, 127, false);
    test_cache(2, 128, 2, 2, 8, 64, false);
    test_cache(1, 129, 3, 1, 8, 129, false);
    test_cache(1, 257, 5, 1, 16, 257, false);
    test_cache(2, 200, 9, 1, 9, 400, false);
    test_cache(2, 300, 6, 2, 16, 50, true);
}
static void test_cuda_speaking(void) {
    test_cuda_cache();
}

#endif
