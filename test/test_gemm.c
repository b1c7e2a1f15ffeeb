/* test_gemm.c: the matrix product and the linear operations of chapter 4 against three plain loops. */
#define LLM_SIMD_INSIDE
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "check.h"

static llm_rng rng;
static double noise(void) { return 2 * llm_rng_uniform(&rng) - 1; }

/* ---- a matrix in any storage, and the same numbers in double: what the oracle reads ---- */

typedef struct { int rows, cols; double *value; void *data; uint16_t *scale; llm_type type; } matrix;

static matrix matrix_new(int rows, int cols, llm_type type) {
    matrix m = {rows, cols, NULL, NULL, NULL, type};
    size_t n = (size_t)rows * (size_t)cols, blocks = ((size_t)cols + 31) / 32;
    m.value = llm_alloc(n, sizeof(double));
    m.scale = llm_alloc((size_t)rows * blocks, sizeof *m.scale);
    m.data = llm_alloc((size_t)rows * blocks * 32, sizeof(llm_real));
    for (size_t i = 0; i < (size_t)rows * blocks; i++)
        m.scale[i] = real_to_f16((llm_real)(0.001 * (1 + llm_rng_uniform(&rng))));
    for (size_t r = 0; r < (size_t)rows; r++) for (size_t c = 0; c < (size_t)cols; c++) {
        size_t i = r * (size_t)cols + c;
        llm_real x = (llm_real)noise(), s = f16_to_real(m.scale[r * blocks + c / 32]);
        int q8 = llm_rng_below(&rng, 255) - 127, q4 = llm_rng_below(&rng, 16);
        if (type == LLM_TYPE_REAL) {
            ((llm_real *)m.data)[i] = x;
            m.value[i] = (double)x;
        } else if (type == LLM_TYPE_BF16) {
            ((uint16_t *)m.data)[i] = real_to_bf16(x);
            m.value[i] = (double)bf16_to_real(real_to_bf16(x));
        } else if (type == LLM_TYPE_Q8) {
            ((int8_t *)m.data)[i] = (int8_t)q8;
            m.value[i] = (double)(llm_real)(q8 * s);
        } else {                        /* byte b of a block: column b in its low half, b + 16 in the high one */
            uint8_t *byte = (uint8_t *)m.data + (r * blocks + c / 32) * 16 + c % 16;
            *byte = (uint8_t)(c % 32 < 16 ? (*byte & 0xF0) | q4 : (*byte & 0x0F) | q4 << 4);
            m.value[i] = (double)(llm_real)((q4 - 8) * s);
        }
    }
    return m;
}
static void matrix_free(matrix *m) {
    llm_release(m->value);
    llm_release(m->data);
    llm_release(m->scale);
}
static cpu_view view_of(const matrix *m, bool transposed) {
    cpu_view v = {m->data, m->type, (size_t)m->cols, 1, m->scale};
    return transposed ? cpu_transposed(v) : v;
}
static double at(const matrix *m, bool transposed, int i, int j) {
    int row = transposed ? j : i, col = transposed ? i : j;
    return m->value[(size_t)row * (size_t)m->cols + (size_t)col];
}
static double get(const void *x, llm_type type, size_t i) {
    return type == LLM_TYPE_BF16 ? (double)bf16_to_real(((const uint16_t *)x)[i]) : (double)((const llm_real *)x)[i];
}

/* ---- one product, all options, against the oracle: root mean square of the errors relative to that of the result, and
   six times that for the largest ---- */

static double tolerance(llm_type out) {
    if (out == LLM_TYPE_BF16) return 1e-2;
    if (sizeof(llm_real) == sizeof(double)) return 1e-13;
    return cpu.precision == LLM_FP32 ? 2e-6 : cpu.precision == LLM_BF16X3 ? 3e-5 : 1e-2;
}
typedef struct {
    int M, N, K; llm_type a, b, out; bool ta, tb, accumulate, bias, add, one; int gap; bool gelu, pre;
} product;

static const double gelu_factor = 0.797884560802865356;      /* sqrt(2/pi) */
static double gelu_tanh(double x) { return tanh(gelu_factor * (x + 0.044715 * x * x * x)); }
static double gelu(double x) { return 0.5 * x * (1 + gelu_tanh(x)); }
static double gelu_derivative(double x) {
    const double t = gelu_tanh(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * gelu_factor * (1 + 3 * 0.044715 * x * x);
}

static void test_product(product p) {
    matrix A = p.ta ? matrix_new(p.K, p.M, p.a) : matrix_new(p.M, p.K, p.a);
    matrix B = p.tb ? matrix_new(p.N, p.K, p.b) : matrix_new(p.K, p.N, p.b);
    size_t ld = (size_t)(p.N + p.gap), n = (size_t)p.M * ld;
    matrix old = matrix_new(p.M, (int)ld, p.out), add = matrix_new(p.M, (int)ld, LLM_TYPE_REAL);
    matrix bias = matrix_new(1, p.N, LLM_TYPE_REAL), pre = matrix_new(p.M, (int)ld, p.out);
    void *c = llm_alloc(n, sizeof(llm_real)), *y = llm_alloc(n, sizeof(llm_real));
    memcpy(c, old.data, n * sizeof(llm_real));
    memcpy(y, old.data, n * sizeof(llm_real));
    cpu_out out = {c, p.out, ld, p.accumulate, p.bias ? bias.data : NULL, p.add ? add.data : NULL, p.gelu ? y : NULL,
                   p.pre ? pre.data : NULL};
    (p.one ? cpu_gemm_one : cpu_gemm)(p.M, p.N, p.K, view_of(&A, p.ta), view_of(&B, p.tb), out);
    double squares = 0, errors = 0, worst = 0;
    bool untouched = true;
    for (int i = 0; i < p.M; i++) for (size_t j = 0; j < ld; j++) {
        size_t o = (size_t)i * ld + j;
        if (j >= (size_t)p.N || !p.gelu) untouched &= get(y, p.out, o) == old.value[o];
        if (j >= (size_t)p.N) { untouched &= get(c, p.out, o) == old.value[o]; continue; }
        double s = (p.accumulate ? old.value[o] : 0) + (p.bias ? bias.value[j] : 0) + (p.add ? add.value[o] : 0);
        for (int k = 0; k < p.K; k++) s += at(&A, p.ta, i, k) * at(&B, p.tb, k, (int)j);
        if (p.pre) s *= gelu_derivative(pre.value[o]);
        double e = fabs(get(c, p.out, o) - s);
        if (p.gelu) e = worse(e, fabs(get(y, p.out, o) - gelu(get(c, p.out, o))));
        squares += s * s;
        errors += e * e;
        worst = worse(worst, e);
    }
    double rms = sqrt(squares / ((double)p.M * p.N)), error = sqrt(errors / squares), limit = tolerance(p.out);
    CHECK(error <= limit && worst <= 6 * limit * rms && untouched,
          "product %d x %d x %d, types %d %d -> %d, transposed %d %d, accumulate %d bias %d add %d one %d gelu %d %d, "
          "precision %d: error %.3g, largest %.3g, limit %.3g%s", p.M, p.N, p.K, p.a, p.b, p.out, p.ta, p.tb,
          p.accumulate, p.bias, p.add, p.one, p.gelu, p.pre, cpu.precision, error, worst / rms, limit,
          untouched ? "" : ", gap overwritten");
    llm_release_all(c, y);
    matrix_free(&pre);
    matrix_free(&A);
    matrix_free(&B);
    matrix_free(&old);
    matrix_free(&add);
    matrix_free(&bias);
}
static void test_products(void) {
    static const int sizes[] = {1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 97, 130};
    int count = (int)(sizeof sizes / sizeof *sizes);
    for (int i = 0; i < 300; i++) {     /* every option at random, sizes around the edges of tiles and vectors */
        product p = {.M = sizes[llm_rng_below(&rng, count)], .N = sizes[llm_rng_below(&rng, count)]};
        p.K = sizes[llm_rng_below(&rng, count)];
        p.ta = llm_rng_below(&rng, 2);
        p.tb = llm_rng_below(&rng, 2);
        p.accumulate = llm_rng_below(&rng, 2);
        p.bias = llm_rng_below(&rng, 2);
        p.add = llm_rng_below(&rng, 2);
        p.one = llm_rng_below(&rng, 2);
        p.gelu = llm_rng_below(&rng, 2);
        p.pre = llm_rng_below(&rng, 2);
        p.gap = llm_rng_below(&rng, 2) * 5;
        p.a = (llm_type)llm_rng_below(&rng, 2);
        p.b = (llm_type)llm_rng_below(&rng, p.N > 1 && p.K > 1 ? 4 : 2);    /* a row of one number is not quantised */
        p.out = (llm_type)llm_rng_below(&rng, 2);
        test_product(p);
    }
    product streamed[] = {              /* results of over 2 MB, with and without a last panel that is narrower */
        {.M = 600, .N = 912, .K = 40, .bias = true, .add = true}, {.M = 1150, .N = 928, .K = 33, .out = LLM_TYPE_BF16},
        {.M = 1150, .N = 912, .K = 40, .out = LLM_TYPE_BF16, .bias = true, .add = true, .gap = 16},
        {.M = 1150, .N = 912, .K = 33, .out = LLM_TYPE_BF16, .bias = true, .gelu = true, .pre = true},
        {.M = 600, .N = 912, .K = 40, .gelu = true}, {.M = 513, .N = 1040, .K = 801, .tb = true, .pre = true},
        {.M = 513, .N = 1040, .K = 801, .ta = true, .accumulate = true}, {.M = 513, .N = 1040, .K = 801, .tb = true}};
    for (size_t i = 0; i < sizeof streamed / sizeof *streamed; i++) test_product(streamed[i]);
    product regions[] = {               /* more than is packed at a time; B packed before, or just in time */
        {.M = 2800, .N = 40, .K = 780, .bias = true}, {.M = 257, .N = 2750, .K = 770, .tb = true, .add = true},
        {.M = 257, .N = 40, .K = 14000, .ta = true, .accumulate = true}, {.M = 250, .N = 20, .K = 17000, .tb = true}};
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) test_product(regions[i]);
    for (int t = 0; t < 4; t++) {       /* several blocks along every dimension */
        product large[] = {{.M = 530, .N = 33, .K = 800, .bias = true, .gap = 3},
                           {.M = 40, .N = 270, .K = 1551, .b = LLM_TYPE_Q8, .out = LLM_TYPE_BF16, .accumulate = true},
                           {.M = 33, .N = 90, .K = 2400, .a = LLM_TYPE_BF16, .b = LLM_TYPE_Q4, .one = true},
                           {.M = 800, .N = 70, .K = 300, .add = true, .one = true},
                           {.M = 3, .N = 2100, .K = 770}};
        for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
            large[i].ta = t & 1;
            large[i].tb = t >> 1;
            test_product(large[i]);
        }
    }
}

/* Three bf16 parts are no worse than fp32 vectors: 768 multiply-adds, against sums in double. */
static void test_parts(void) {
    enum { M = 64, N = 80, K = 768 };
    matrix A = matrix_new(M, K, LLM_TYPE_REAL), B = matrix_new(K, N, LLM_TYPE_REAL);
    llm_real *c = llm_alloc(M * N, sizeof *c);
    double error[2] = {0};
    for (int tiles = 0; tiles < 2; tiles++) {
        cpu.amx = tiles;
        cpu_gemm(M, N, K, view_of(&A, false), view_of(&B, false), real_out(c, N, false));
        for (int i = 0; i < M; i++) for (int j = 0; j < N; j++) {
            double s = 0;
            for (int k = 0; k < K; k++) s += at(&A, false, i, k) * at(&B, false, k, j);
            error[tiles] += (c[i * N + j] - s) * (c[i * N + j] - s);
        }
    }
    CHECK(error[1] <= error[0], "three bf16 parts err by %.3g, vectors by %.3g", sqrt(error[1]), sqrt(error[0]));
    llm_release(c);
    matrix_free(&A);
    matrix_free(&B);
}

/* ---- the same bits for any number of threads, any size of the cache, and whatever stands beside a row ---- */

static void test_bits(int M, int N, int K, llm_type b, bool ta, bool tb) {
    matrix A = ta ? matrix_new(K, M, LLM_TYPE_REAL) : matrix_new(M, K, LLM_TYPE_REAL);
    matrix B = tb ? matrix_new(N, K, b) : matrix_new(K, N, b);
    size_t n = (size_t)M * (size_t)N;
    llm_real *first = llm_alloc(n, sizeof *first), *again = llm_alloc(n, sizeof *again);
    int threads = llm_threads(0);
    llm_threads(1);
    cpu_gemm(M, N, K, view_of(&A, ta), view_of(&B, tb), real_out(first, (size_t)N, false));
    for (int t = 2; t <= 4; t++) {
        llm_threads(t);
        memset(again, 0, n * sizeof *again);
        cpu_gemm(M, N, K, view_of(&A, ta), view_of(&B, tb), real_out(again, (size_t)N, false));
        CHECK(!memcmp(first, again, n * sizeof *first), "%d x %d x %d: other bits with %d threads", M, N, K, t);
    }
    const size_t block = cpu.block;
    cpu.block /= 8;
    memset(again, 0, n * sizeof *again);
    cpu_gemm(M, N, K, view_of(&A, ta), view_of(&B, tb), real_out(again, (size_t)N, false));
    CHECK(!memcmp(first, again, n * sizeof *first), "%d x %d x %d: other bits with a smaller cache", M, N, K);
    cpu.block = block;
    memset(again, 0, n * sizeof *again);
    cpu_gemm_one(M, N, K, view_of(&A, ta), view_of(&B, tb), real_out(again, (size_t)N, false));
    CHECK(!memcmp(first, again, n * sizeof *first), "%d x %d x %d: cpu_gemm_one gives other bits", M, N, K);
    bool same = true;
    for (int i = 0; i < M; i += llm_max(1, M / 20)) {       /* one row alone, as decoding does */
        cpu_view row = view_of(&A, ta);
        row.data = (const llm_real *)A.data + (size_t)i * row.rs;
        cpu_gemm(1, N, K, row, view_of(&B, tb), real_out(again, (size_t)N, false));
        same &= !memcmp(first + (size_t)i * (size_t)N, again, (size_t)N * sizeof *first);
    }
    CHECK(same, "%d x %d x %d: a row alone gives other bits than among others", M, N, K);
    llm_threads(threads);
    llm_release(first);
    llm_release(again);
    matrix_free(&A);
    matrix_free(&B);
}

/* ---- non-finite numbers must stay visible ---- */

static void test_nan(void) {
    matrix A = matrix_new(40, 70, LLM_TYPE_REAL), B = matrix_new(70, 50, LLM_TYPE_REAL);
    llm_real c[40 * 50];
    ((llm_real *)A.data)[33 * 70 + 69] = NAN;
    cpu_gemm(40, 50, 70, view_of(&A, false), view_of(&B, false), real_out(c, 50, false));
    int wrong = 0;
    for (int i = 0; i < 40 * 50; i++) wrong += (c[i] != c[i]) != (i / 50 == 33);
    CHECK(wrong == 0, "a NaN in row 33: %d elements wrong", wrong);
    matrix_free(&A);
    matrix_free(&B);
}

/* ---- exp, sigmoid, tanh ---- */

static void test_exp(void) {
    double worst = 0, where = 0, sigmoid = 0, tanh_error = 0;
    for (int step = 0; step < 500000; step += VL) {         /* -87.3 .. 88.3 */
        vreal x;
        for (int i = 0; i < VL; i++) x[i] = (llm_real)(-87.3 + 175.6 * (step + i) / 500000 + 3e-4 * noise());
        vreal y = vexp(x), s = vsigmoid(x), t = vtanh(x);
        for (int i = 0; i < VL; i++) {
            double e = exp((double)x[i]), off = fabs((double)y[i] / e - 1);
            if (!(off <= worst) && !isnan(worst)) { worst = off; where = (double)x[i]; }
            off = fabs((double)s[i] - 1 / (1 + 1 / e));
            sigmoid = worse(sigmoid, off);
            off = fabs((double)t[i] - tanh((double)x[i]));
            tanh_error = worse(tanh_error, off);
        }
    }
    double unit = sizeof(llm_real) == sizeof(float) ? 0x1p-23 : 0x1p-52;
    CHECK(worst <= unit, "exp: error %.2f units in the last place at %g", worst / unit, where);
    CHECK(sigmoid <= 2 * unit, "sigmoid: error %.3g", sigmoid);
    CHECK(tanh_error <= 3 * unit, "tanh: error %.3g", tanh_error);
    CHECK(real_exp(0) == 1, "exp(0)");
    CHECK(real_exp((llm_real)-INFINITY) == 0 && real_exp(-1000) == 0, "exp(-infinity), exp(-1000)");
    CHECK(real_exp((llm_real)NAN) != real_exp((llm_real)NAN), "exp(NaN)");
    CHECK(real_exp(1000) > 1e38f && real_sigmoid(1000) == 1 && real_tanh(-1000) == -1, "exp, sigmoid and tanh far out");
    llm_real x[VL + 3], y[VL + 3];
    for (int i = 0; i < VL + 3; i++) x[i] = (llm_real)(3 * noise());
    for (size_t i = 0; i < VL + 3; i += VL) vstore_n(y + i, vexp(vload_n(x + i, VL + 3 - i)), VL + 3 - i);
    bool same = true;
    for (int i = 0; i < VL + 3; i++) same &= y[i] == real_exp(x[i]);
    CHECK(same, "exp of a tail differs from exp of a number");
}

/* ---- bf16 ---- */

static void test_bf16(void) {
    int wrong = 0;
    for (uint32_t h = 0; h < 0x10000; h++) {                /* there and back, and ties to even half way to the next */
        llm_real x = bf16_to_real((uint16_t)h), next = bf16_to_real((uint16_t)(h + 1));
        bool nan = x != x, finite = (h & 0x7FFF) < 0x7F7F;
        uint16_t back = real_to_bf16(x);
        wrong += nan ? bf16_to_real(back) == bf16_to_real(back) : back != h;
        if (finite) wrong += real_to_bf16(x + (next - x) / 2) != (h & 1 ? h + 1 : h);
    }
    CHECK(wrong == 0, "bf16: %d of 65536 numbers wrong", wrong);
    uint16_t row[VL], expect[VL];
    llm_real x[VL];
    wrong = 0;
    for (int round = 0; round < 1000; round++) {            /* the vector form gives the scalar form's bits */
        for (int i = 0; i < VL; i++) expect[i] = real_to_bf16(x[i] = (llm_real)(noise() * pow(10, 30 * noise())));
        vstore_bf16(row, vload(x));
        wrong += memcmp(row, expect, sizeof row) != 0;
        vstore(x, vload_bf16(row));
        for (int i = 0; i < VL; i++) wrong += x[i] != bf16_to_real(expect[i]);
    }
    x[0] = (llm_real)NAN; x[1] = (llm_real)INFINITY; x[VL - 1] = (llm_real)-INFINITY;
    vstore_bf16(row, vload(x));
    llm_real nan = bf16_to_real(row[0]);
    CHECK(wrong == 0 && nan != nan && row[VL - 1] == 0xFF80, "bf16 vectors: %d wrong", wrong);
}

/* ---- the scales of blocks ---- */

static void test_scales(void) {
    int wrong = 0;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const llm_real x = block_scale((uint16_t)h), y = f16_to_real((uint16_t)h);
        wrong += x != y ? x == x || y == y : !signbit(x) != !signbit(y);
    }
    CHECK(wrong == 0, "f16: %d of 65536 scales wrong", wrong);
}

/* ---- the linear operations: wiring, in the precision that is set ---- */

static double act_get(const llm_act *x, size_t i) { return get(x, cpu.act, i); }
static llm_act *act_new(size_t n, double *value) {
    llm_act *x = llm_alloc(n, cpu.act_size);
    for (size_t i = 0; i < n; i++) {
        llm_real v = (llm_real)noise();
        cpu_store(x, i, &v, 1);
        value[i] = act_get(x, i);
    }
    return x;
}
static void compare(const char *what, const double *want, const void *got, llm_type type, size_t n) {
    double worst = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs(want[i] - get(got, type, i));
        worst = worse(worst, e);
        squares += want[i] * want[i];
    }
    double error = worst / sqrt(squares / (double)n), limit = 6 * tolerance(type);
    CHECK(error <= limit, "%s, precision %d: error %.3g, limit %.3g", what, cpu.precision, error, limit);
}
static void test_linear(void) {
    enum { N = 70, I = 45, O = 83 };
    static double x[N * I], dy[N * O], res[N * O], want[N * O + O * I];
    static llm_real out[N * O], dw[O * I], db[O], dres[N * O];
    llm_res *const stream = (llm_res *)out, *const dstream = (llm_res *)dres;
    llm_act *inp = act_new(N * I, x), *dout = act_new(N * O, dy);
    llm_act *y = llm_alloc(N * O, cpu.act_size), *dinp = llm_alloc(N * I, cpu.act_size);
    matrix W = matrix_new(O, I, LLM_TYPE_REAL), b = matrix_new(1, O, LLM_TYPE_REAL);
    llm_weight w = {W.data, W.type, NULL, W.data}, bias = {b.data, b.type, NULL, b.data};
    for (int i = 0; i < N * O; i++) { out[i] = (llm_real)noise(); res[i] = (double)out[i]; dres[i] = (llm_real)dy[i]; }
    for (int n = 0; n < N; n++) for (int o = 0; o < O; o++) {
        double s = b.value[o];
        for (int i = 0; i < I; i++) s += x[n * I + i] * W.value[o * I + i];
        want[n * O + o] = s;
    }
    simd_linear_forward(y, inp, w, bias, N, I, O);
    compare("linear_forward", want, y, cpu.act, N * O);
    for (int i = 0; i < N * O; i++) want[i] += res[i];
    simd_residual_forward(stream, stream, inp, w, bias, N, I, O);
    compare("residual_forward in place", want, out, LLM_TYPE_REAL, N * O);
    for (int i = 0; i < N * O; i++) want[i] -= res[i] + b.value[i % O];
    simd_logits(out, inp, w, NULL, N, I, O);
    compare("logits", want, out, LLM_TYPE_REAL, N * O);
    const int row[] = {N - 1, 0, 7};
    simd_logits(out, inp, w, row, 3, I, O);
    for (int i = 0; i < 3; i++) compare("logits of a row", want + row[i] * O, out + i * O, LLM_TYPE_REAL, O);
    for (int pass = 0; pass < 2; pass++) {                  /* the first writes, the second adds */
        if (pass) simd_residual_backward(dinp, dw, db, dstream, inp, w, N, I, O, true);
        else simd_linear_backward(dinp, dw, db, dout, inp, w, N, I, O, false);
        for (int n = 0; n < N; n++) for (int i = 0; i < I; i++) {
            double s = 0;
            for (int o = 0; o < O; o++) s += dy[n * O + o] * W.value[o * I + i];
            want[n * I + i] = s;
        }
        compare("linear dinp", want, dinp, cpu.act, N * I);
        for (int o = 0; o < O; o++) for (int i = 0; i < I; i++) {
            double s = 0;
            for (int n = 0; n < N; n++) s += dy[n * O + o] * x[n * I + i];
            want[o * I + i] = s * (1 + pass);
        }
        compare("linear dw", want, dw, LLM_TYPE_REAL, O * I);
        for (int o = 0; o < O; o++) {
            want[o] = 0;
            for (int n = 0; n < N; n++) want[o] += dy[n * O + o] * (1 + pass);
        }
        compare("linear dbias", want, db, LLM_TYPE_REAL, O);
    }
    uint16_t work[O * I];
    simd_store_weights(work, W.data, O * I);
    int wrong = 0;
    for (int i = 0; i < O * I; i++) wrong += work[i] != real_to_bf16(((const llm_real *)W.data)[i]);
    CHECK(wrong == 0, "store_weights: %d wrong", wrong);
    llm_release(inp);
    llm_release(dout);
    llm_release(y);
    llm_release(dinp);
    matrix_free(&W);
    matrix_free(&b);
}
static void test_lora(bool residual) {
    enum { N = 50, I = 37, r = 5, O = 21, ld = 64, col = 16 };
    const double scale = 0.75;
    static double x[N * I], y[N * ld], dx[N * I], u[N * r], want[N * ld];
    llm_real dA[r * I], dB[O * r], stream[N * ld];
    llm_act *inp = act_new(N * I, x), *out = act_new(N * ld, y), *dinp = act_new(N * I, dx);
    llm_act *lu = llm_alloc(N * r, cpu.act_size), *du = llm_alloc(N * r, cpu.act_size);
    const llm_slice slice = {ld, col, O};
    matrix A = matrix_new(r, I, LLM_TYPE_REAL), B = matrix_new(O, r, LLM_TYPE_REAL);
    if (residual) for (int i = 0; i < N * ld; i++) { stream[i] = (llm_real)noise(); y[i] = (double)stream[i]; }
    void *to = residual ? (void *)stream : (void *)out;
    llm_type type = residual ? LLM_TYPE_REAL : cpu.act;
    for (int n = 0; n < N; n++) for (int k = 0; k < r; k++) {
        u[n * r + k] = 0;
        for (int i = 0; i < I; i++) u[n * r + k] += scale * x[n * I + i] * A.value[k * I + i];
    }
    memcpy(want, y, sizeof want);
    for (int n = 0; n < N; n++) for (int o = 0; o < O; o++)
        for (int k = 0; k < r; k++) want[n * ld + col + o] += u[n * r + k] * B.value[o * r + k];
    simd_lora_forward(to, lu, inp, A.data, B.data, (llm_real)scale, N, I, r, slice, residual);
    compare("lora_forward", want, to, type, N * ld);
    compare("lora u", u, lu, cpu.act, N * r);
    for (int i = 0; i < N * ld; i++) y[i] = get(to, type, (size_t)i);   /* let the output serve as its own gradient */
    simd_lora_backward(dinp, dA, dB, du, to, lu, inp, A.data, B.data, (llm_real)scale, N, I, r, slice, residual, false);
    double d[N * r], da[r * I] = {0}, db[O * r] = {0};
    for (int n = 0; n < N; n++) for (int k = 0; k < r; k++) {
        d[n * r + k] = 0;
        for (int o = 0; o < O; o++) {
            d[n * r + k] += scale * y[n * ld + col + o] * B.value[o * r + k];
            db[o * r + k] += y[n * ld + col + o] * u[n * r + k];
        }
        for (int i = 0; i < I; i++) {
            da[k * I + i] += d[n * r + k] * x[n * I + i];
            dx[n * I + i] += d[n * r + k] * A.value[k * I + i];
        }
    }
    compare("lora du", d, du, cpu.act, N * r);
    compare("lora dB", db, dB, LLM_TYPE_REAL, O * r);
    compare("lora dA", da, dA, LLM_TYPE_REAL, r * I);
    compare("lora dinp", dx, dinp, cpu.act, N * I);
    llm_release(inp);
    llm_release(out);
    llm_release(dinp);
    llm_release(lu);
    llm_release(du);
    matrix_free(&A);
    matrix_free(&B);
}

int main(void) {
    rng = llm_rng_seed(1, 5);
    test_exp();
    test_bf16();
    test_scales();
    cpu_set_precision(LLM_FP32);
    if (cpu.amx) test_parts();
    const int last = sizeof(llm_real) == sizeof(double) ? LLM_FP32 : LLM_BF16;
    enum { TILES, PAIRS, REALS };                           /* what multiplies */
    for (int way = TILES; way <= REALS; way++) for (int p = LLM_FP32; p <= last; p++) {
        cpu_set_precision((llm_precision)p);
        if ((way == TILES && !cpu.amx) || (way == PAIRS && (!LLM_PAIRS || p != LLM_BF16))) continue;
        cpu.amx = way == TILES;
        cpu.pairs = way == PAIRS;
        test_products();
        test_nan();
        test_linear();
        test_lora(false);
        test_lora(true);
        for (int t = 0; t < 4; t++) {
            test_bits(150, 200, 1000, LLM_TYPE_REAL, t & 1, t >> 1);
            test_bits(37, 97, 65, LLM_TYPE_Q8, t & 1, t >> 1);
        }
        test_bits(600, 912, 40, LLM_TYPE_REAL, false, true);
    }
    return checks_done();
}
