/* test_decode.c: weights in 16, 8 and 4 bits (against the formula, their error, what they cost in bits per byte, LoRA
   on them), the decoder on all of them against the full forward pass, and the sampling filters against those of
   transformers (test/gen/sampling.py). */
#define LLM_SIMD_INSIDE
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/beam.h"
#include "../tools/hf.h"
#include "../tools/options.h"
#include "logits.h"
#include "check.h"
#include "grad_check.h"
#include "fake_device.h"

#define IS_DOUBLE (sizeof(llm_real) == 8)
static const llm_type packed[] = {LLM_TYPE_BF16, LLM_TYPE_Q8, LLM_TYPE_Q4};

static llm_config tiny_gpt2(void) {
    return (llm_config){.V = 23, .T = 40, .L = 2, .C = 48, .H = 4, .KV = 4, .D = 12, .F = 56, .norm = LLM_LAYERNORM,
                        .position = LLM_LEARNED, .activation = LLM_GELU, .bias = true, .tied = true, .eps = 1e-5,
                        .bos = -1, .eos = -1, .pad = -1};
}
static llm_config tiny_llama(bool tied, int KV, bool qkv_bias) {
    return (llm_config){.V = 29, .T = 40, .L = 2, .C = 40, .H = 4, .KV = KV, .D = 10, .F = 36, .norm = LLM_RMSNORM,
                        .family = qkv_bias ? LLM_QWEN2 : LLM_LLAMA, .position = LLM_ROPE, .activation = LLM_SWIGLU,
                        .qkv_bias = qkv_bias, .tied = tied, .eps = 1e-5, .rope_theta = 100, .bos = -1, .eos = -1, .pad = -1};
}
/* Norms on q and k, and behind the branches. */
static llm_config tiny_olmo2(void) {
    llm_config c = tiny_llama(false, 2, false);
    c.family = LLM_OLMO2, c.qk_norm = LLM_QK_ALL, c.post_norm = true;
    return c;
}
static void shake(const llm_ops *op, const llm_param *p, int params, double size, uint64_t seed) {
    for (int i = 0; i < params; i++) {
        llm_rng r = llm_rng_seed(seed, (uint64_t)i);
        llm_real *x = llm_alloc(p[i].size, sizeof *x);
        for (size_t j = 0; j < p[i].size; j++)
            x[j] = (llm_real)((p[i].vector && p[i].init == 1) + size * llm_rng_normal(&r));
        op->upload(p[i].data, x, p[i].size * sizeof *x);
        llm_release(x);
    }
}
static llm_model build(llm_config c, const llm_ops *op) {
    llm_model m;
    llm_model_init(&m, &c, op, 3);
    shake(op, m.param, m.params, 0.3, 3);
    llm_weights_changed(&m);
    return m;
}
static llm_batch random_batch(int B, int T, int V, uint64_t seed) {
    llm_batch b = llm_batch_new(B, T);
    llm_rng r = llm_rng_seed(seed, 0);
    for (int i = 0; i < B * T; i++) {
        b.tokens[i] = llm_rng_below(&r, V);
        b.targets[i] = llm_rng_below(&r, V);
        b.positions[i] = i % T;
        b.weight[i] = 1;
    }
    return b;
}

/* ---- the formula ---- */

/* An f16's distance to its neighbours, and the f16 nearest to x, by the definition. */
static double f16_step(double x) {
    int e = -13;
    if (x != 0) frexp(x, &e);
    return ldexp(1, (e > -13 ? e : -13) - 11);
}
static double nearest_f16(double x) { return rint(x / f16_step(x)) * f16_step(x); }
/* What a row becomes, by the definition, in double; returns the largest error as a share of its scale. */
static double plain_quantise(llm_type type, double *out, const llm_real *x, int cols) {
    double worst = 0;
    for (int b = 0; b < cols; b += 32) {
        double extreme = 0, s;
        for (int i = b; i < cols && i < b + 32; i++)
            if (fabs((double)x[i]) > fabs(extreme)) extreme = (double)x[i];
        s = nearest_f16((double)(llm_real)(type == LLM_TYPE_Q8 ? fabs(extreme) / 127 : extreme / -8));
        if (fabs(extreme) > fabs(s) * (type == LLM_TYPE_Q8 ? 127 : 8) * 1.001)
            s += extreme < 0 || type == LLM_TYPE_Q8 ? f16_step(s) : -f16_step(s);
        for (int i = b; i < cols && i < b + 32; i++) {
            double q = s == 0 ? 0 : floor((double)(x[i] / (llm_real)s) + 0.5);
            q = type == LLM_TYPE_Q8 ? fmax(-127, fmin(127, q)) : fmax(-8, fmin(7, q));
            out[i] = type == LLM_TYPE_BF16 ? (double)bf16_to_real(real_to_bf16(x[i])) : q * s;
            double unit = type == LLM_TYPE_BF16 ? fabs((double)x[i]) : fabs(s);
            double e = fabs(out[i] - (double)x[i]) / (unit + 1e-30);
            if (!(e <= worst)) worst = e;
        }
    }
    return worst;
}
static void check_formula(llm_type type) {
    enum { COLS = 101 };                /* three blocks and five numbers */
    static const double limit[] = {0, 1.0 / 256, 0.501, 1.01};
    static const double size[] = {1e4, 0.02, 0.02, 1e-3, 1e-5, 1e-7, 1e-9};     /* the last four: scales below 2^-14 */
    llm_rng r = llm_rng_seed(1, 0);
    double mean = 0, worst = 0;
    for (int trial = 0; trial < 200; trial++) {
        llm_real x[COLS], y[COLS];
        double want[COLS];
        char data[4 * 32];
        uint16_t scale[4];
        for (int i = 0; i < COLS; i++) x[i] = (llm_real)(llm_rng_normal(&r) * size[trial % 7]);
        if (trial == 9) memset(x, 0, 40 * sizeof *x);      /* a block of zeros */
        CHECK(weight_row_bytes(type, COLS) <= 2 * COLS, "row of %zu bytes", weight_row_bytes(type, COLS));
        char *room = type == LLM_TYPE_BF16 ? llm_alloc(COLS, 2) : data;
        CHECK(pack_weights(type, room, scale, x, COLS), "finite numbers refused");
        double e = plain_quantise(type, want, x, COLS);
        if (e > worst) worst = e;
        cpu_view v = {room, type, COLS, 1, scale};
        view_row(&v, 0, 0, COLS, y);
        for (int i = 0; i < COLS; i++) {
            CHECK((double)y[i] == (double)(llm_real)want[i], "%s: number %d is %g, the formula says %g",
                  llm_type_name(type), i, (double)y[i], want[i]);
            const double e = ((double)y[i] - (double)x[i]) / size[trial % 7];
            mean += trial % 7 < 4 ? e * e : 0;
        }
        x[77] = trial % 2 ? NAN : INFINITY;
        CHECK(!pack_weights(type, room, scale, x, COLS), "%s: a number that is not finite", llm_type_name(type));
        if (room != data) llm_release(room);
    }
    CHECK(worst <= limit[type], "%s: an error of %g steps", llm_type_name(type), worst);
    printf("%s: root mean square error of normal weights %.2g of their deviation, largest %.3g %s\n",
           llm_type_name(type),
           sqrt(mean / (116 * COLS)), worst, type == LLM_TYPE_BF16 ? "of the weight" : "steps");
}

/* ---- whole models ---- */

/* A quantised model computes what a plain one with the rounded weights computes, to the bit; loading in few bits is
   quantising what was loaded. */
static void check_model(const char *what, llm_config c, llm_type type, const llm_ops *op, const char *folder) {
    llm_model m = build(c, op), loaded;
    llm_batch b = random_batch(2, 20, c.V, 5);
    size_t n = 40 * (size_t)c.V;
    llm_real *full = llm_alloc(n, sizeof *full), *few = llm_alloc(n, sizeof *few), *again = llm_alloc(n, sizeof *again);
    llm_model_save(&m, folder);
    all_logits(&m, &b, full);
    double saved = llm_quantise(&m, type);
    CHECK(m.weights == type && saved > 0, "%s: %g bytes saved", what, saved);
    all_logits(&m, &b, few);
    double e = relative_error(few, full, n);
    CHECK(e > 0, "%s as %s: nothing was rounded", what, llm_type_name(type));
    llm_model_load_as(&loaded, folder, op, type);
    all_logits(&loaded, &b, again);
    CHECK(!memcmp(again, few, n * sizeof *few), "%s as %s: loaded so is not quantised", what, llm_type_name(type));
    CHECK(loaded.packed_bytes == m.packed_bytes, "%s: %zu bytes, not %zu", what, loaded.packed_bytes, m.packed_bytes);
    llm_quantise(&m, LLM_TYPE_REAL);
    CHECK(m.weights == LLM_TYPE_REAL && m.packed == NULL, "%s: still quantised", what);
    all_logits(&m, &b, again);
    if (op->precision == LLM_FP32)
        CHECK(!memcmp(again, few, n * sizeof *few), "%s as %s: widened it is another", what, llm_type_name(type));
    llm_release(full);
    llm_release(few);
    llm_release(again);
    llm_batch_free(&b);
    llm_model_free(&m);
    llm_model_free(&loaded);
}

/* ---- QLoRA ---- */

typedef struct { llm_model *m; llm_batch b; llm_real dlogp[18], logp[18]; } probe;

static double probe_loss(void *user) {
    probe *p = user;
    double loss = 0;
    llm_forward(p->m, &p->b, p->logp, NULL, NULL);
    for (int i = 0; i < 18; i++) loss += (double)(p->dlogp[i] * p->logp[i]);
    return loss;
}
static void check_qlora(const char *what, llm_config c, llm_type type, const char *folder) {
    char *base = llm_format("%s/base", folder), *adapter = llm_format("%s/adapter", folder);
    llm_model m = build(c, llm_cpu(LLM_FP32)), back;
    llm_model_save(&m, base);
    llm_quantise(&m, type);
    llm_lora_attach(&m, 3, 5, "all", base, 1);
    shake(m.ops, m.lora->param, m.lora->params, 0.3, 4);
    llm_model_train(&m);
    probe p = {.m = &m, .b = random_batch(2, 9, c.V, 5)};
    llm_rng r = llm_rng_seed(6, 0);
    llm_real with[18], merged[18];
    for (int i = 0; i < 18; i++) p.dlogp[i] = (llm_real)llm_rng_normal(&r);
    probe_loss(&p);
    llm_backward(&m, &p.b, p.dlogp, NULL, NULL);
    for (int i = 0; i < m.lora->params && IS_DOUBLE; i++) {
        llm_param *q = &m.lora->param[i];
        CHECK_SMALL(llm_grad_check(probe_loss, &p, q->data, q->grad, q->size, 20, &r), 1e-7, "%s on %s: gradient of %s",
                    what, llm_type_name(type), q->name);
    }
    /* The folder holds the adapters; on the same base in the same bits they are the same model. */
    llm_forward(&m, &p.b, with, NULL, NULL);
    hf_lora_save(&m, adapter);
    hf_model_load_as(&back, adapter, llm_cpu(LLM_FP32), type);
    CHECK(back.weights == type && back.lora, "%s on %s: came back as another model", what, llm_type_name(type));
    llm_forward(&back, &p.b, merged, NULL, NULL);
    CHECK(!memcmp(merged, with, sizeof with), "%s on %s: came back changed", what, llm_type_name(type));
    llm_lora_merge(&m);
    CHECK(m.weights == LLM_TYPE_REAL && !m.lora, "%s: merged into few bits", what);
    llm_forward(&m, &p.b, merged, NULL, NULL);
    CHECK_SMALL(relative_error(merged, with, 18), IS_DOUBLE ? 1e-10 : 1e-4, "%s on %s: merged", what,
                llm_type_name(type));
    llm_batch_free(&p.b);
    llm_model_free(&m);
    llm_model_free(&back);
    llm_release(base);
    llm_release(adapter);
}

/* ---- a matrix times few rows ---- */

/* Against plain loops: all forms, sizes with and without whole vectors, one to nine vectors, a share of the rows; the
   same with tokens in lanes, one to five panels, of VL tokens or of half as many (deep 2), written as panels and as
   plain rows. */
static size_t place(int deep, int width, int i, int k) {    /* of number k of token i: see "tokens in lanes" */
    const int lanes = deep ? VL / deep : 1, together = VL / lanes;
    return (size_t)((i / lanes * width + k / together * together) * lanes + i % lanes * together + k % together);
}
static void check_product_of(llm_type type, const int n, const int deep, const bool plain) {
    static const int size[] = {1, 31, 32, 64, 101, 128, 160, 768};
    llm_rng r = llm_rng_seed(21, (uint64_t)type);
    for (int k = 0; k < 8; k++) {
        enum { O = 24, FROM = 4, TO = 18 };
        const int K = size[k], lanes = deep ? VL / deep : 1, panels = (n + lanes - 1) / lanes, places = panels * lanes;
        if (deep && K % deep) continue;
        const size_t width = (size_t)K, bytes = weight_row_bytes(type, K), blocks = weight_blocks(type, K);
        char *data = llm_alloc(O, bytes);
        uint16_t *scale = llm_alloc(O * blocks + 1, sizeof *scale);
        llm_real *w = llm_alloc(O * width, sizeof *w), *x = llm_alloc((size_t)n * width, sizeof *x);
        llm_real *y = llm_alloc((size_t)places * O, sizeof *y);
        llm_real *in_lanes = llm_alloc((size_t)places * width, sizeof *in_lanes);
        few_x *packed = llm_alloc((size_t)n * few_whole(type, K) + 1, sizeof *packed);
        for (size_t i = 0; i < O * width; i++) w[i] = (llm_real)llm_rng_normal(&r);
        for (size_t i = 0; i < (size_t)n * width; i++) x[i] = (llm_real)llm_rng_normal(&r);
        if (K > 64) memset(x + 32, 0, 32 * sizeof *x);     /* a block of zeros */
        cpu_view v = {data, type, width, 1, scale};
        for (size_t o = 0; o < O; o++) {
            pack_weights(type, data + o * bytes, scale + o * blocks, w + o * width, K);
            view_row(&v, o, 0, width, w + o * width);
        }
        for (int i = 0; i < places * O; i++) y[i] = 77;
        for (size_t i = 0; i < (size_t)n * width; i++)
            in_lanes[place(deep, K, (int)i / K, (int)i % K)] = x[i];
        const few_call call = {.y = y, .ldy = O, .w = {data, type, scale, NULL}, .K = K, .x = deep ? in_lanes : x,
                               .packed = packed, .deep = (size_t)deep, .rows = plain ? (size_t)n : 0};
        if (deep) few_lanes(&call, panels, FROM, TO);
        else few_product(call, n, FROM, TO);
        double worst = 0;
        bool beyond = false;
        for (int i = 0; i < n; i++) for (int o = 0; o < O; o++) {
            double sum = 0, size_of = 0, got = (double)y[place(plain ? 0 : deep, O, i, o)];
            for (int c = 0; c < K; c++) {
                double term = (double)w[o * K + c] * (double)x[i * K + c];
                sum += term;
                size_of += term * term;
            }
            double e = fabs(got - sum) / sqrt(size_of + 1e-30);
            if (o < FROM || o >= TO) beyond |= got != 77;
            else if (!(e <= worst)) worst = e;
        }
        CHECK(!beyond, "%s, K %d, n %d, deep %d, plain %d: rows of others are written", llm_type_name(type), K, n,
              deep, plain);
        CHECK_SMALL(worst, IS_DOUBLE ? 1e-13 : !deep && LLM_VNNI && few_whole(type, K) ? 1e-4 : 4e-6,
                    "%s, K %d, n %d, deep %d, plain %d: product", llm_type_name(type), K, n, deep, plain);
        void *all[] = {data, scale, w, x, y, in_lanes, packed};
        for (int i = 0; i < 7; i++) llm_release(all[i]);
    }
}
static void check_product(llm_type type) {
    for (int n = 1; n <= 9; n += n < 5 ? 1 : 2) check_product_of(type, n, 0, true);
    for (int deep = 1; deep <= (VL == 16 ? 2 : 1) && type == LLM_TYPE_REAL; deep++)
        for (int panels = 1; panels <= 5; panels++)
            for (int plain = 0; plain <= 1; plain++) check_product_of(type, panels * VL / deep - panels / 2, deep, plain);
}
/* The decoder against the full forward pass: token by token with its keys in the cache, a prompt, several texts at
   once; its four ways (few rows, tokens in lanes by halves and whole, products); any number of threads. */
static void check_decode(const char *what, llm_config c, llm_type type, llm_precision precision, bool adapters) {
    enum { T = 37, ROWS = 6 };
    llm_model m = build(c, llm_cpu(precision));
    shake(m.ops, m.param, m.params, 0.12, 8);               /* larger weights magnify the last bits beyond reason */
    llm_weights_changed(&m);
    if (type != LLM_TYPE_REAL) llm_quantise(&m, type);
    if (adapters) {
        llm_lora_attach(&m, 3, 5, "all", NULL, 1);
        shake(m.ops, m.lora->param, m.lora->params, 0.1, 4);
    }
    llm_batch b = random_batch(ROWS, T, c.V, 9);
    const size_t V = (size_t)c.V, all = ROWS * T * V;
    llm_real *full = llm_alloc(all, sizeof *full), *few = llm_alloc(all, sizeof *few);
    llm_real *got = llm_alloc(all, sizeof *got);
    /* Seen at most: 2.7e-6 with real weights, 4e-5 in bf16x3, 2.2e-4 where x has 16 bits, 0.05 with bf16 activations
       (the few rows keep theirs in fp32, the forward pass rounds them). */
    const double fp32 = precision ? 2e-4 : 2e-5;
    const double bound = IS_DOUBLE ? 1e-12 : precision == LLM_BF16 ? 0.1 : type >= LLM_TYPE_Q8 ? 5e-4 : fp32;
    all_logits(&m, &b, full);
    const int had = llm_threads(0);
    for (int way = 0; way < 10; way++) {                    /* few rows by 1, 2, 3 threads; more of them; products */
        static const char *const name[] = {"few rows", "pairs in lanes", "lanes", "products"};
        const size_t room[] = {FEW_HALF, FEW_APART, type == LLM_TYPE_REAL ? FEW_MOST : FEW_MOST_BITS, FEW_MOST + 1};
        const int count = llm_min(ROWS, (int)room[way / 3]);
        const size_t some = (size_t)(count * T) * V;
        llm_threads(way < 9 ? way % 3 + 1 : had);
        llm_cache cache = llm_cache_new(&m, room[way / 3], T);
        int tokens[ROWS], rows[ROWS], positions[ROWS];
        bool want[ROWS];
        for (int t = 0; t < T; t++) {
            for (int i = 0; i < count; i++) {
                tokens[i] = b.tokens[(count - 1 - i) * T + t];      /* rows of the cache in another order */
                rows[i] = count - 1 - i;
                positions[i] = t;
                want[i] = true;
            }
            llm_real out[ROWS * 64];
            llm_cache_step(&m, &cache, tokens, rows, positions, want, (size_t)count, out);
            for (int i = 0; i < count; i++)
                memcpy(got + (size_t)((count - 1 - i) * T + t) * V, out + (size_t)i * V, V * sizeof *out);
        }
        CHECK_SMALL(relative_error(got, full, some), bound, "%s, %s, %s: decoding is not the forward pass", what,
                    llm_type_name(type), name[way / 3]);
        if (way % 3 == 0) memcpy(few, got, some * sizeof *few);
        else CHECK(!memcmp(few, got, some * sizeof *few), "%s, %s, %s: %d threads change bits", what, llm_type_name(type),
                   name[way / 3], way % 3 + 1);
        /* Alone, in two pieces: a prompt at once, then token by token. But for products: the same bits. */
        int row[T] = {0}, place[T];
        bool last[T] = {false};
        llm_real one[64];
        for (int t = 0; t < T; t++) place[t] = t;
        last[4] = true;
        llm_cache_step(&m, &cache, b.tokens + T, row, place, last, 5, one);
        last[0] = true;
        for (int t = 5; t < 9; t++) llm_cache_step(&m, &cache, b.tokens + T + t, row, place + t, last, 1, one);
        if (way < 9) CHECK(!memcmp(one, few + (T + 8) * V, V * sizeof *one), "%s, %s, %s: neighbours change bits", what,
                           llm_type_name(type), name[way / 3]);
        CHECK_SMALL(relative_error(one, full + (T + 8) * V, V), 2 * bound, "%s, %s: alone", what, llm_type_name(type));
        llm_cache_free(&cache, &m);
    }
    llm_threads(had);
    llm_real *mine[] = {full, few, got};
    for (int i = 0; i < 3; i++) llm_release(mine[i]);
    llm_batch_free(&b);
    llm_model_free(&m);
}

/* ---- bits per byte of a trained model ---- */

/* Text of a small language: every byte is a token, so bits per token are bits per byte. */
static void fill(llm_batch *b, llm_rng *r) {
    static const char *const word[] = {"the ", "cat ", "dog ", "sees ", "hears ",
                                       "a ",   "red ", "bird. ", "old ", "and "};
    for (int i = 0; i < b->B; i++) {
        int t = 0;
        char text[256] = "";
        while (strlen(text) <= (size_t)b->T) strcat(text, word[llm_rng_below(r, 10)]);
        for (; t < b->T; t++) {
            b->tokens[i * b->T + t] = text[t];
            b->targets[i * b->T + t] = text[t + 1];
            b->positions[i * b->T + t] = t;
            b->weight[i * b->T + t] = 1;
        }
    }
}
static double bits(llm_model *m, const llm_batch *b) {
    int n = b->B * b->T;
    llm_real *logp = llm_alloc((size_t)n, sizeof *logp);
    llm_forward(m, b, logp, NULL, NULL);
    double nats = llm_loss_ce(logp, b, n);
    llm_release(logp);
    return nats / log(2);
}
static void check_bits(void) {
    enum { B = 8, T = 32, STEPS = 120 };
    llm_config c = tiny_llama(true, 2, false);
    c.V = 128;
    c.C = 64;
    c.D = 16;
    c.F = 160;
    llm_model m;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    llm_batch b = llm_batch_new(B, T), held = llm_batch_new(32, T);
    llm_real dlogp[B * T], logp[B * T];
    llm_rng r = llm_rng_seed(2, 0);
    for (int step = 0; step < STEPS; step++) {
        fill(&b, &r);
        llm_loss_ce_weights(dlogp, &b, B * T);
        llm_forward_backward(&m, &b, dlogp, logp);
        llm_adamw_step(&o, &m, 3e-3);
    }
    fill(&held, &r);
    double full = bits(&m, &held);
    CHECK(full < 1.5, "the model has not learned: %g bits per byte", full);
    printf("bits per byte: fp32 %.4f", full);
    for (int i = 0; i < 3; i++) {
        static const double limit[] = {0.002, 0.002, 0.1};
        llm_model q;
        llm_model_copy(&q, &m, true);
        llm_quantise(&q, packed[i]);
        double now = bits(&q, &held);
        CHECK_SMALL(fabs(now - full), limit[i], "%s: %g bits per byte instead of %g", llm_type_name(packed[i]),
                    now, full);
        printf(", %s %+.4f", llm_type_name(packed[i]), now - full);
        llm_model_free(&q);
    }
    printf("\n");
    llm_adamw_free(&o, &m);
    llm_batch_free(&b);
    llm_batch_free(&held);
    llm_model_free(&m);
}
/* ---- sampling: what transformers leaves of a distribution (test/gen/sampling.py) ---- */

static int numbers(const llm_json *list, double *out, int room) {
    int n = 0;
    for (const llm_json *x = list ? list->child : NULL; x && n < room; x = x->next) out[n++] = x->number;
    return n;
}
static void check_sampling(void) {
    llm_json *cases = llm_json_file("test/data/sampling.json");
    int count = 0;
    double worst = 0;
    for (const llm_json *c = cases->child; c; c = c->next, count++) {
        double logits[64], p[64], said[8], total = 0;
        int recent[8], V = numbers(llm_json_get(c, "logits"), logits, 64), kept = 0;
        int wanted = numbers(llm_json_get(c, "p"), p, 64), recents = numbers(llm_json_get(c, "recent"), said, 8);
        llm_sampler s = llm_sampler_defaults();
        s.temperature = llm_json_number(c, "temperature", NAN);
        s.top_k = (int)llm_json_number(c, "top_k", NAN);
        s.top_p = llm_json_number(c, "top_p", NAN);
        s.min_p = llm_json_number(c, "min_p", NAN);
        s.repeat_penalty = llm_json_number(c, "penalty", NAN);
        llm_real got[64];
        for (int i = 0; i < recents; i++) recent[i] = (int)said[i];
        for (int i = 0; i < V; i++) got[i] = (llm_real)logits[i];
        int n = llm_sample_filter(got, V, &s, recent, recents, NULL);
        CHECK(V == 24 && wanted == V, "sampling case %d: %d logits, %d probabilities", count, V, wanted);
        for (int i = 0; i < V; i++) {
            kept += p[i] > 0;
            total += (double)got[i];
            CHECK((p[i] > 0) == (got[i] > 0), "sampling case %d: id %d is %s", count, i, p[i] > 0 ? "lost" : "kept");
            double e = fabs((double)got[i] - p[i]) / (p[i] + 1e-30);
            if (p[i] > 0 && !(e <= worst)) worst = e;
        }
        CHECK(n == kept, "sampling case %d: %d kept, not %d", count, n, kept);
        CHECK_SMALL(fabs(total - 1), 1e-6, "sampling case %d: sum of probabilities", count);
    }
    CHECK(count == 55, "%d cases", count);
    CHECK_SMALL(worst, IS_DOUBLE ? 5e-8 : 2e-6, "sampling: probabilities");
    llm_json_free(cases);
}

/* The share that top-p wants is one of all candidates, those too that are too small to be sorted: .85 + .06 > .9.
   (What is kept, as transformers' rule counts it, computed apart.) */
static void check_top_p(void) {
    enum { V = 1000 };
    static const struct { double top_p; int top_k; double min_p; int kept; } row[] = {
        {0.84, 0, 0, 1}, {0.86, 0, 0, 2}, {0.9, 0, 0, 2}, {0.92, 0, 0, 109}, {0.95, 2, 0, 2}, {0.93, 2, 0, 1},
        {0.9, 3, 0, 1}, {0.9, 500, 0, 2}, {0.9, 990, 0, 2}, {0.92, 0, 0.01, 2}, {0.9, 0, 0.1, 1},
        {0.93, 500, 0, 2}, {1, 500, 0, 500}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        llm_real z[V];
        for (int v = 0; v < V; v++) {
            double tail = 0.09 / (V - 2) * (1 + (500.5 - v) * 1e-4);
            z[v] = (llm_real)log(v == 0 ? 0.85 : v == 1 ? 0.06 : tail);
        }
        llm_sampler s = llm_sampler_defaults();
        s.temperature = 1, s.top_p = row[i].top_p, s.top_k = row[i].top_k, s.min_p = row[i].min_p;
        int n = llm_sample_filter(z, V, &s, NULL, 0, NULL);
        CHECK(n == row[i].kept, "top-p %g, top-k %d, min-p %g: %d kept, not %d", row[i].top_p, row[i].top_k,
              row[i].min_p, n, row[i].kept);
    }
}
/* A share that is reached exactly is enough: of four tokens that are equally likely, a half is two (exact in binary). */
static void check_exact_share(void) {
    for (int kept = 1; kept < 4; kept++) {
        llm_real z[4] = {0, 0, 0, 0};
        llm_sampler s = llm_sampler_defaults();
        s.temperature = 1, s.top_k = 0, s.min_p = 0, s.top_p = kept / 4.0;
        int n = llm_sample_filter(z, 4, &s, NULL, 0, NULL);
        CHECK(n == kept, "top-p %g of four: %d kept", s.top_p, n);
    }
}
/* The last token of the context is said, and the one that it makes likely: a prompt of T - k leaves k + 1. */
static void check_last_place(void) {
    llm_config c = tiny_llama(true, 2, false);
    llm_model m = build(c, llm_cpu(LLM_FP32));
    int text[64] = {1, 2, 3}, answer[2][8], *out[] = {answer[0], answer[1]}, n[2];
    const int *prompts[] = {text};
    double score[2];
    llm_sampler s = llm_sampler_defaults();
    for (int left = 0; left < 4; left++) {
        const int length = c.T - left;
        const llm_request x = {.prompt = prompts, .length = &length, .prompts = 1, .max_new = 8, .out = out, .out_length = n};
        llm_generate_batch(&m, &s, x);
        CHECK(n[0] == left + 1, "%d places are left: %d tokens", left, n[0]);
        int found = llm_beam_search(&m, text, length, (llm_beam_options){.beams = 2, .max_new = 8}, out, n, score);
        CHECK(found == 2 && n[0] == left + 1 && n[1] == left + 1, "%d places are left: beams of %d and %d tokens", left,
              n[0], n[1]);
    }
    llm_model_free(&m);
}
/* Many answers at once: who stands beside whom changes nothing, and what a caller is told is so. */
static int over_calls, over_wrong, over_last;
static void over_count(int over, int all) {
    over_wrong += over < over_last || over > all || (!over_calls && over != 0);
    over_last = over;
    over_calls++;
}
static void check_batch(void) {
    enum { N = 5, NEW = 6 };
    llm_model m = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32));
    /* the second and the third are the same, the first and the fourth as long as they; the last is the second again */
    const int text[N][3] = {{1, 2, 3}, {4, 5, 6}, {4, 5, 6}, {7, 8, 9}, {4, 5, 6}};
    int answer[N][NEW], alone[NEW], *out[N], *one = alone, n[N], lengths[N], said;
    const int *prompts[N];
    bool stopped[N];
    for (int i = 0; i < N; i++) prompts[i] = text[i], out[i] = answer[i], lengths[i] = 3, stopped[i] = true;
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 0;
    llm_request x = {.prompt = prompts, .length = lengths, .prompts = N, .max_new = NEW, .out = out, .out_length = n,
                     .stopped = stopped, .over = over_count};
    llm_generate_batch(&m, &s, x);
    CHECK(over_calls > 0 && !over_wrong && over_last == N, "answers that are over: %d calls, %d wrong, the last %d", over_calls,
          over_wrong, over_last);
    for (int i = 0; i < N; i++) {
        llm_generate_batch(&m, &s, (llm_request){.prompt = &prompts[i], .length = &lengths[i], .prompts = 1, .max_new = NEW,
                                                 .out = &one, .out_length = &said});
        CHECK(!stopped[i] && n[i] == NEW && said == NEW && !memcmp(alone, answer[i], sizeof alone), "answer %d as it is alone", i);
    }
    s.temperature = 1;
    llm_generate_batch(&m, &s, x);
    CHECK(memcmp(answer[1], answer[2], sizeof alone) && memcmp(answer[1], answer[4], sizeof alone), "each prompt draws for itself");
    s.temperature = 0;
    s.repeat_penalty = 1e6;
    llm_generate_batch(&m, &s, x);
    for (int i = 0, again = 0; i < N; i++, again = 0) {
        for (int a = 0; a < NEW; a++)
            for (int b = 0; b < a; b++) again += answer[i][a] == answer[i][b];
        CHECK(!again, "an endless penalty: %d tokens of answer %d are said twice", again, i);
    }
    uint8_t banned[64] = {0};
    double score[2];
    int found = llm_beam_search(&m, text[0], 3, (llm_beam_options){.beams = 2, .max_new = NEW}, out, n, score), wrong = 0;
    llm_batch whole = llm_batch_new(1, 3 + NEW);
    llm_real logp[3 + NEW];
    for (int b = 0; b < found; b++) {   /* a text's score is the sum of its log-probabilities, as llm_forward has them */
        double sum = 0;
        for (int t = 0; t < 3 + NEW; t++) {
            whole.tokens[t] = t < 3 ? text[0][t] : answer[b][t - 3];
            if (t) whole.targets[t - 1] = whole.tokens[t];
            whole.positions[t] = t;
        }
        llm_forward(&m, &whole, logp, NULL, NULL);
        for (int t = 2; t < 2 + NEW; t++) sum += (double)logp[t];
        CHECK_SMALL(fabs(sum - score[b]), IS_DOUBLE ? 1e-10 : 1e-4, "beam %d: score %g, its tokens' sum %g", b, score[b], sum);
    }
    llm_batch_free(&whole);
    for (int i = 0; i < n[0]; i++) banned[answer[0][i]] = 1;
    found = llm_beam_search(&m, text[0], 3, (llm_beam_options){.beams = 2, .max_new = NEW, .banned = banned}, out, n, score);
    for (int b = 0; b < found; b++)
        for (int i = 0; i < n[b]; i++) wrong += banned[answer[b][i]];
    CHECK(found == 2 && n[0] == NEW && !wrong, "what is banned is in no beam: %d tokens are", wrong);
    llm_real tie[4] = {1, 3, 3, 2};
    llm_rng r = llm_rng_seed(1, 1);
    s.repeat_penalty = 1;
    CHECK(llm_sample(tie, 4, &s, &r, NULL, 0, NULL) == 1, "of the likeliest the first");
    llm_model_free(&m);
}
/* A text that is over keeps its score and its length from line to line; one that goes on is measured anew. */
static void check_finished_beam(void) {
    const llm_beam_options o = {.beams = 2, .max_new = 8, .alpha = 1};
    const beam now[2] = {{.score = -0.1, .logp = -0.2, .id = 2, .length = 2, .over = true},
                         {.score = -0.5, .logp = -1, .id = 1, .length = 2}};
    beam next[2];
    llm_real z[3] = {(llm_real)log(0.5), (llm_real)log(0.25), (llm_real)log(0.25)};
    extend_beams(&o, now, next, z, 3);
    CHECK(next[0].score == now[0].score && next[0].logp == now[0].logp && next[0].length == 2 && next[0].over &&
          next[0].id == -1 && next[0].from == 0, "a finished text: score %g, length %d", next[0].score, next[0].length);
    CHECK(next[1].length == 3 && next[1].id == 0 && next[1].from == 1, "the other goes on");
    CHECK_SMALL(fabs(next[1].score - (-1 + log(0.5)) / 3), 1e-6, "its score by its length");
    const llm_beam_options three = {.beams = 3, .max_new = 8};
    const beam start[3] = {{.length = 0}, {.score = -INFINITY, .over = true}, {.score = -INFINITY, .over = true}};
    beam ordered[3];
    llm_real tied[3] = {(llm_real)log(0.3), (llm_real)log(0.4), (llm_real)log(0.3)};
    extend_beams(&three, start, ordered, tied, 3);
    CHECK(ordered[0].id == 1 && ordered[1].id == 0 && ordered[2].id == 2, "of equal texts the first stays in front: %d %d %d",
          ordered[0].id, ordered[1].id, ordered[2].id);
}
/* A model that computes no numbers says nothing, at no temperature: not in one row, a batch, a search. */
static void check_no_numbers(void) {
    llm_model m = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32));
    const llm_real wrong[] = {(llm_real)NAN, (llm_real)INFINITY};
    llm_rng r = llm_rng_seed(1, 1);
    llm_sampler s = llm_sampler_defaults();
    uint8_t banned[40];
    memset(banned, 1, sizeof banned);
    for (int greedy = 0; greedy < 2; greedy++) {
        s.temperature = greedy ? 0 : 0.7;
        for (int w = 0; w < 2; w++)
            for (int at = 0; at < 40; at += 13) {
                llm_real z[40] = {1, 2, 3};
                z[at] = wrong[w];
                CHECK_DIES(llm_sample(z, 40, &s, &r, NULL, 0, NULL), "logits are no numbers");
            }
        llm_real z[40] = {1, 2, 3};
        CHECK_DIES(llm_sample(z, 40, &s, &r, NULL, 0, banned), "every token is forbidden");
        memset(z, 0, sizeof z);
        z[5] = (llm_real)-INFINITY, z[6] = 50;
        CHECK(llm_sample(z, 40, &s, &r, NULL, 0, NULL) == 6, "a logit of -infinity is one that is never drawn");
    }
    llm_real cold[40] = {1, 2, 3};
    s.temperature = 1e-310;             /* 1 / temperature is infinite */
    CHECK(llm_sample(cold, 40, &s, &r, NULL, 0, NULL) == 2 && cold[2] == 1, "the coldest temperature is greedy");
    int prompt[] = {1, 2}, length = 2, answer[2][4], *out[] = {answer[0], answer[1]}, n[2];
    const int *prompts[] = {prompt};
    double score[2];
    m.normf.w->data[3] = (llm_real)NAN;
    const llm_request x = {.prompt = prompts, .length = &length, .prompts = 1, .max_new = 4, .out = out,
                           .out_length = n};
    const llm_beam_options o = {.beams = 2, .max_new = 4, .alpha = 0.6};
    CHECK_DIES(llm_generate_batch(&m, &s, x), "no numbers");
    CHECK_DIES(llm_beam_search(&m, prompt, 2, o, out, n, score), "logits are no numbers");
    llm_model_free(&m);
}

static void check_refusals(const char *folder) {
    llm_model m = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32)), other;
    llm_quantise(&m, LLM_TYPE_Q8);
    CHECK_DIES(llm_model_train(&m), "cannot train a quantised model");
    CHECK_DIES(llm_model_save(&m, folder), "cannot save a quantised model");
    CHECK_DIES(llm_model_copy(&other, &m, true), "cannot copy a quantised model");
    CHECK_DIES(llm_model_add_score(&m, 1), "cannot add a head to a quantised model");
    CHECK_DIES(llm_type_named("int8"), "'int8'");
    llm_quantise(&m, LLM_TYPE_REAL);
    m.param[0].data[3] = NAN;
    CHECK_DIES(llm_quantise(&m, LLM_TYPE_Q4), "not finite");
    m = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32));
    m.param[0].data[3] = 8 * 65504;
    llm_quantise(&m, LLM_TYPE_Q4);
    llm_quantise(&m, LLM_TYPE_REAL);
    CHECK(m.param[0].data[3] == 8 * 65504, "the largest scale of all");
    m.param[0].data[3] = 8 * 65530;
    CHECK_DIES(llm_quantise(&m, LLM_TYPE_Q4), "too large");
    llm_model_init(&other, &m.c, llm_cpu(LLM_FP32), 1);
    llm_model_train(&other);
    CHECK_DIES(llm_quantise(&other, LLM_TYPE_Q8), "being trained");
    llm_model_free(&other);
}

int main(void) {
    char folder[] = "/tmp/test_decode.XXXXXX";
    if (!mkdtemp(folder)) llm_die("check /tmp", "cannot make a folder in /tmp");
    struct { const char *name; llm_config c;
    } all[] = {{"gpt2", tiny_gpt2()},
               {"llama, tied", tiny_llama(true, 2, false)},
               {"llama, untied", tiny_llama(false, 1, false)},
               {"qwen2", tiny_llama(true, 2, true)},
               {"olmo2", tiny_olmo2()}};
    for (int t = 0; t < 3; t++) {
        check_formula(packed[t]);
        for (int i = 0; i < 5; i++) {
            check_model(all[i].name, all[i].c, packed[t], llm_cpu(LLM_FP32), folder);
            check_model(all[i].name, all[i].c, packed[t], fake_device(LLM_FP32), folder);
            check_qlora(all[i].name, all[i].c, packed[t], folder);
            if (IS_DOUBLE) continue;
            check_model(all[i].name, all[i].c, packed[t], llm_cpu(LLM_BF16X3), folder);
            check_model(all[i].name, all[i].c, packed[t], llm_cpu(LLM_BF16), folder);
        }
    }
    for (int t = 0; t < 4; t++) {
        check_product((llm_type)t);
        for (int i = 0; i < 5; i++) {
            llm_config wide = all[i].c;                     /* whole vectors of q8 and q4, and a rest of each */
            wide.C = wide.H * (wide.D = 44);
            wide.F = 200;
            check_decode(all[i].name, all[i].c, (llm_type)t, LLM_FP32, i % 2);
            check_decode(all[i].name, wide, (llm_type)t, LLM_FP32, i % 2 == 0);
            if (IS_DOUBLE || i % 2) continue;
            check_decode(all[i].name, wide, (llm_type)t, LLM_BF16X3, true);
            check_decode(all[i].name, wide, (llm_type)t, LLM_BF16, true);
        }
    }
    llm_config narrow = tiny_llama(false, 1, false);        /* the stream is wider than all other matrices */
    narrow.H = 1, narrow.D = 2, narrow.F = 4;
    check_decode("narrow", narrow, LLM_TYPE_REAL, LLM_FP32, true);
    if (!IS_DOUBLE) check_bits();
    check_sampling();
    check_top_p();
    check_exact_share();
    check_last_place();
    check_batch();
    check_finished_beam();
    check_no_numbers();
    check_refusals(folder);
    remove_tree(folder);
    return checks_done();
}
