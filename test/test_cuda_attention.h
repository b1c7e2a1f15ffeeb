/* test_cuda_attention.h: rotary positions, activations and attention of a GPU's table against llm_plain, at shapes that
   do not fit the kernels' tiles. Included by test_cuda.c, after op_tests.h. */
#ifndef TEST_CUDA_ATTENTION_H
#define TEST_CUDA_ATTENTION_H

extern long coc_bank_conflicts __attribute__((weak));   /* the CPU that plays GPU counts them: rows of ldmatrix */

static const llm_ops *att_ops;
static llm_rng att_rng;
static uint64_t att_bits;               /* of all results: the same for any order in which threads and copies run */

static bool att_half(void) { return att_ops->act_size == 2; }
static void *att_new(size_t bytes) {
    void *p = att_ops->alloc(bytes), *nan = llm_alloc(bytes, 1);
    memset(nan, 0xFF, bytes);
    att_ops->upload(p, nan, bytes);
    llm_release(nan);
    return p;
}
/* n activations to the device; x is rounded to what they can hold. */
static llm_act *att_send(llm_real *x, size_t n) {
    llm_act *p = att_new(n * att_ops->act_size);
    uint16_t *bf16 = llm_alloc(n, sizeof *bf16);
    for (size_t i = 0; i < n && att_half(); i++) x[i] = bf16_to_real(bf16[i] = real_to_bf16(x[i]));
    att_ops->upload(p, att_half() ? (void *)bf16 : x, n * att_ops->act_size);
    llm_release(bf16);
    return p;
}
/* n numbers from the device, which are freed there. */
static llm_real *att_take(void *p, size_t n, bool half) {
    llm_real *x = llm_alloc(n, sizeof *x);
    uint16_t *bf16 = llm_alloc(n, sizeof *bf16);
    const size_t bytes = n * (half ? 2 : sizeof *x);
    att_ops->download(half ? (void *)bf16 : x, p, bytes);
    att_bits = llm_hash(half ? (void *)bf16 : x, bytes, att_bits);
    for (size_t i = 0; i < n && half; i++) x[i] = bf16_to_real(bf16[i]);
    llm_release(bf16);
    att_ops->release(p);
    return x;
}
static llm_real *att_normal(size_t n, double size) {
    llm_real *x = llm_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (llm_real)(size * llm_rng_normal(&att_rng));
    return x;
}
static int *att_ints(const int *x, size_t n) {
    int *p = att_new(n * sizeof *p);
    att_ops->upload(p, x, n * sizeof *p);
    return p;
}
static void att_free(void **host, int n) {
    for (int i = 0; i < n; i++) llm_release(host[i]);
}
static void att_release(void **device, int n) {
    for (int i = 0; i < n; i++) att_ops->release(device[i]);
}
/* max|got - want| of the columns from .. to-1 of rows, to the largest |want| there. (For a text of one token dq and dk
   are 0, but for what rounding leaves: so at least to a tenth of the largest of all.) */
static double att_error(const llm_real *got, const llm_real *want, size_t n, size_t row, size_t from, size_t to) {
    double error = 0, size = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        all = fmax(all, fabs((double)want[i]));
        if (i % row < from || i % row >= to) continue;
        error = worse(error, fabs((double)got[i] - (double)want[i]));
        size = fmax(size, fabs((double)want[i]));
    }
    return error / fmax(size, all / 10);
}

/* ---- attention ---- */

/* One text a row; many, as packed; any start at all; each token alone, with scores of -98: exp(98) is infinite in
   float, so that masking by a multiplication with 0 would give no number. */
typedef enum { WHOLE, PACKED, ANY, ALONE } att_texts;

static int *att_starts(size_t B, size_t T, att_texts texts) {
    int *start = llm_alloc(B * T, sizeof *start);
    for (size_t i = 0, s = 0; i < B * T; i++) {
        if (i % T == 0) s = 0;
        if (texts == PACKED && llm_rng_below(&att_rng, 33) == 0) s = i % T;
        start[i] = texts == ANY ? llm_rng_below(&att_rng, (int)(i % T) + 1) : texts == ALONE ? (int)(i % T) : (int)s;
    }
    return start;
}
static void att_check(size_t B, size_t T, size_t H, size_t KV, size_t D, att_texts texts) {
    static const double limits[2][5] = {{1e-5, 1e-5, 1e-5, 1e-5, 1e-5}, {4e-3, 1e-5, 1e-2, 1e-2, 8e-3}};
    static const char *const name[] = {"out", "lse", "dq", "dk", "dv"};
    static const char *const text[] = {"whole", "packed", "any", "alone"};
    const size_t N = B * T, HD = H * D, wide = HD + 2 * KV * D, n = N * wide, m = N * HD;
    llm_real *x = att_normal(n, 1.4), *dy = att_normal(m, 1);
    llm_real *out = llm_alloc(m, sizeof *out), *lse = llm_alloc(N * H, sizeof *lse), *dx = llm_alloc(n, sizeof *dx);
    for (size_t i = 0; i < n && texts == ALONE; i++)            /* k = -q; 3.5^2 D / sqrt(D) = 98 for D = 64 */
        if (i % wide < HD) x[i] = (llm_real)copysign(3.5, (double)x[i]);
        else if (i % wide < 2 * HD) x[i] = -x[i - HD];
    int *start = att_starts(B, T, texts), *dev_start = att_ints(start, N);
    llm_act *dev_x = att_send(x, n), *dev_dy = att_send(dy, m);
    llm_act *dev_out = att_new(m * att_ops->act_size), *dev_dx = att_new(n * att_ops->act_size);
    llm_real *dev_lse = att_new(N * H * sizeof *lse);
    llm_plain.attention_forward((llm_act *)out, lse, (llm_act *)x, start, B, T, H, KV, D);
    llm_plain.attention_backward((llm_act *)dx, (llm_act *)dy, (llm_act *)out, lse, (llm_act *)x, start, B, T, H, KV,
                                 D);
    att_ops->attention_forward(dev_out, dev_lse, dev_x, dev_start, B, T, H, KV, D);
    att_ops->attention_backward(dev_dx, dev_dy, dev_out, dev_lse, dev_x, dev_start, B, T, H, KV, D);
    llm_real *got = att_take(dev_out, m, att_half()), *got_lse = att_take(dev_lse, N * H, false);
    llm_real *got_dx = att_take(dev_dx, n, att_half());
    const double e[5] = {att_error(got, out, m, m, 0, m), att_error(got_lse, lse, N * H, 1, 0, 1),
                         att_error(got_dx, dx, n, wide, 0, HD), att_error(got_dx, dx, n, wide, HD, HD + KV * D),
                         att_error(got_dx, dx, n, wide, HD + KV * D, wide)};
    for (int i = 0; i < 5; i++)
        CHECK_SMALL(e[i], limits[att_half()][i], "%s: attention B=%zu T=%zu H=%zu KV=%zu D=%zu, texts %s: %s",
                    llm_precision_name(att_ops->precision), B, T, H, KV, D, text[texts], name[i]);
    att_free((void *[]){x, dy, out, dx, lse, start, got, got_lse, got_dx}, 9);
    att_release((void *[]){dev_start, dev_x, dev_dy}, 3);
}
static void att_shapes(void) {
    static const size_t T[] = {1, 17, 63, 64, 65, 128, 129, 200, 300}, D[] = {32, 64, 80, 96, 128, 20, 33, 144};
    for (size_t i = 0; i < sizeof T / sizeof *T; i++) att_check(1 + i % 2, T[i], 2, 2, 64, (att_texts)(i % 3));
    for (size_t i = 0; i < sizeof D / sizeof *D; i++)
        for (int texts = WHOLE; texts <= ANY; texts++)
            att_check(2, 150 + 7 * (size_t)texts, 4, 2, D[i], (att_texts)texts);
    att_check(1, 40, 1, 1, 256, PACKED);
    att_check(1, 260, 4, 1, 128, PACKED);
    att_check(1, 257, 3, 3, 96, WHOLE);
    att_check(1, 1023, 1, 1, 64, PACKED);
}

/* ---- rotary positions and activations ---- */

static double att_bound(void) { return att_half() ? 4e-3 : 1e-5; }     /* bf16: one rounding is 2^-9 of the number */

static void att_rope(size_t N, size_t H, size_t KV, size_t D, int positions) {
    const size_t wide = (H + 2 * KV) * D, n = N * wide;
    llm_real *freq = llm_alloc(D / 2, sizeof *freq);
    int *position = llm_alloc(N, sizeof *position);
    for (size_t i = 0; i < N; i++) position[i] = i ? llm_rng_below(&att_rng, positions) : positions - 1;
    for (size_t j = 0; j < D / 2; j++) freq[j] = (llm_real)pow(10000, -2.0 * (double)j / (double)D);
    llm_real *dev_freq = att_new(D / 2 * sizeof *freq);
    att_ops->upload(dev_freq, freq, D / 2 * sizeof *freq);
    int *dev_position = att_ints(position, N);
    for (int back = 0; back < 2; back++) {
        llm_real *x = att_normal(n, 1);
        llm_act *dev_x = att_send(x, n);
        (back ? llm_plain.rope_backward : llm_plain.rope_forward)((llm_act *)x, freq, 1.25f, position, N, H, KV, D);
        (back ? att_ops->rope_backward : att_ops->rope_forward)(dev_x, dev_freq, 1.25f, dev_position, N, H, KV, D);
        llm_real *got = att_take(dev_x, n, att_half());
        CHECK_SMALL(att_error(got, x, n, wide, 0, (H + KV) * D), att_bound(), "%s: rope N=%zu H=%zu KV=%zu D=%zu %s",
                    llm_precision_name(att_ops->precision), N, H, KV, D, back ? "backward" : "forward");
        CHECK(att_error(got, x, n, wide, (H + KV) * D, wide) == 0, "rope D=%zu has touched the values", D);
        att_free((void *[]){x, got}, 2);
    }
    att_free((void *[]){freq, position}, 2);
    att_release((void *[]){dev_freq, dev_position}, 2);
}
static void att_gelu(size_t n) {
    llm_real *x = att_normal(n, 3), *dy = att_normal(n, 1);
    llm_real *y = llm_alloc(n, sizeof *y), *dx = llm_alloc(n, sizeof *dx);
    llm_act *dev_x = att_send(x, n), *dev_dy = att_send(dy, n), *dev_y = att_new(n * att_ops->act_size);
    llm_plain.gelu_forward((llm_act *)y, (llm_act *)x, n);
    llm_plain.gelu_backward((llm_act *)dx, (llm_act *)dy, (llm_act *)x, n);
    att_ops->gelu_forward(dev_y, dev_x, n);
    att_ops->gelu_backward(dev_dy, dev_dy, dev_x, n);           /* in place, as the model calls it */
    llm_real *got = att_take(dev_y, n, att_half()), *got_dx = att_take(dev_dy, n, att_half());
    CHECK_SMALL(relative_error(got, y, n), att_bound(), "gelu forward, %zu numbers", n);
    CHECK_SMALL(relative_error(got_dx, dx, n), att_bound(), "gelu backward, %zu numbers", n);
    att_free((void *[]){x, dy, y, dx, got, got_dx}, 6);
    att_ops->release(dev_x);
}
static void att_swiglu(size_t N, size_t F) {
    const size_t n = N * F;
    llm_real *x = att_normal(2 * n, 3), *dy = att_normal(n, 1), *y = llm_alloc(n, sizeof *y);
    llm_real *dx = llm_alloc(2 * n, sizeof *dx);
    llm_act *dev_x = att_send(x, 2 * n), *dev_dy = att_send(dy, n);
    llm_act *dev_y = att_new(n * att_ops->act_size), *dev_dx = att_new(2 * n * att_ops->act_size);
    llm_plain.swiglu_forward((llm_act *)y, (llm_act *)x, N, F);
    llm_plain.swiglu_backward((llm_act *)dx, (llm_act *)dy, (llm_act *)x, N, F);
    att_ops->swiglu_forward(dev_y, dev_x, N, F);
    att_ops->swiglu_backward(dev_dx, dev_dy, dev_x, N, F);
    llm_real *got = att_take(dev_y, n, att_half()), *got_dx = att_take(dev_dx, 2 * n, att_half());
    CHECK_SMALL(relative_error(got, y, n), att_bound(), "swiglu forward N=%zu F=%zu", N, F);
    CHECK_SMALL(relative_error(got_dx, dx, 2 * n), att_bound(), "swiglu backward N=%zu F=%zu", N, F);
    att_free((void *[]){x, dy, y, dx, got, got_dx}, 6);
    att_release((void *[]){dev_x, dev_dy}, 2);
}

static void att_few(void) {
    att_check(2, 70, 4, 2, 64, PACKED);
    att_check(1, 33, 1, 1, 128, WHOLE);
    att_check(1, 97, 1, 1, 80, ANY);
    att_check(1, 66, 2, 1, 33, PACKED);
    att_check(1, 35, 2, 1, 136, PACKED);
}
/* few: the short list, for sanitizers. Returns a hash of all results' bits. */
static uint64_t test_cuda_attention(const llm_ops *table, bool few, uint64_t bits) {
    att_ops = table;
    att_rng = llm_rng_seed(7, 0);
    att_bits = bits;
    if (wanted("attention")) {
        if (few) att_few();
        else att_shapes();
        att_check(1, 40, 1, 1, 64, ALONE);
        CHECK_DIES(att_ops->attention_forward(NULL, NULL, NULL, NULL, 1, 1, 1, 1, 257), "head size 257");
    }
    if (wanted("rope")) {
        att_rope(37, 4, 2, 64, 2048);
        att_rope(5, 2, 2, 32, 131072);
        att_rope(9, 3, 1, 80, 512);     /* 40 pairs */
        att_rope(6, 2, 1, 20, 100);     /* rows that cannot be read 8 at a time */
        att_rope(3, 1, 1, 2, 9);
    }
    if (wanted("gelu")) {
        for (size_t n = 1; n <= 4097; n = 8 * n + (n & 1) * 7) att_gelu(n);
        att_gelu(4096);
    }
    if (wanted("swiglu")) {
        att_swiglu(129, 40);
        att_swiglu(5, 7);
        att_swiglu(1, 1);
    }
    if (&coc_bank_conflicts) CHECK(coc_bank_conflicts == 0, "%ld bank conflicts of ldmatrix", coc_bank_conflicts);
    return att_bits;
}
#endif
