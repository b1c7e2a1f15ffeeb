/* test_cuda_model.c: whole tiny models on the tables of llm_cuda.cuh beside the same on llm_plain: forward and backward
   passes, ten steps of AdamW, adapters, quantised bases, recomputation, models that take turns; and how often a step of
   training waits and launches. Linked like test_cuda.c: on a GPU, or executed on this CPU.

     build/test_cuda_model few     the short list, for sanitizers; families: those with parts that few have, alone;
                                   budget: launches and waits of a step alone */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "check.h"
#include "tiny_models.h"

/* What test/cuda_on_cpu counts: kernels and products that were launched, waits of the host. A GPU does not. */
extern long coc_launches __attribute__((weak)), coc_waits __attribute__((weak));
extern size_t coc_memory_peak __attribute__((weak));      /* of the GPU, in bytes */

enum { ROWS = 3, LENGTH = 11, PLACES = ROWS * LENGTH };
static const llm_ops *cuda;
static double bound;                    /* relative to the largest number of a tensor */

/* ---- a model twice: [0] on llm_plain, [1] on the GPU ---- */

typedef struct { llm_model m[2]; } twins;

static llm_config gpt2(void) { return tiny_gpt2(); }
static llm_config llama(void) { return tiny_llama(true, 2, false); }
static llm_config qwen(void) { return tiny_llama(false, 1, true); }

static void twins_new(twins *t, llm_config c, uint64_t seed, bool train) {
    for (int i = 0; i < 2; i++) {
        t->m[i] = build(c, i ? cuda : &llm_plain, seed);
        if (train) llm_model_train(&t->m[i]);
    }
}
static void twins_free(twins *t) {
    for (int i = 0; i < 2; i++) llm_model_free(&t->m[i]);
}
static llm_real *to_host(const llm_model *m, const llm_real *device, size_t n) {
    llm_real *x = llm_alloc(n + 1, sizeof *x);
    m->ops->download(x, device, n * sizeof *x);
    return x;
}
/* The rows of the table that learn: the model's own, or its adapters'. */
static llm_param *learners(const llm_model *m, int *count) {
    *count = m->lora ? m->lora->params : m->params;
    return m->lora ? m->lora->param : m->param;
}
/* Nothing of the gradients may be left from before: NaN, and whoever adds before the first write is found out. */
static void fresh(llm_model *m) {
    int n;
    llm_param *p = learners(m, &n);
    for (int i = 0; i < n; i++) {
        p[i].used = false;
        if (!p[i].grad) continue;
        llm_real *nan = llm_alloc(p[i].size, sizeof *nan);
        for (size_t k = 0; k < p[i].size; k++) nan[k] = NAN;
        m->ops->upload(p[i].grad, nan, p[i].size * sizeof *nan);
        llm_release(nan);
    }
}
/* Where no rope turns k, its bias adds the same to all scores of a query, and softmax takes that away: its gradient is
   rounding alone. */
static bool only_rounding(const llm_config *c, const llm_param *p) {
    int l;
    return strstr(p->name, "k_proj.bias") && sscanf(p->name, "model.layers.%d", &l) == 1 && !has_rope(c, l);
}
static void compare_learners(const twins *t, const char *what, bool gradients, double allowed) {
    int n;
    const llm_param *a = learners(&t->m[0], &n), *b = learners(&t->m[1], &n);
    for (int i = 0; i < n; i++) {
        CHECK(a[i].used == b[i].used, "%s: %s is used by one alone", what, a[i].name);
        if (gradients && !a[i].used) continue;
        const int from = i - (gradients && only_rounding(&t->m[0].c, &a[i]));   /* then beside q's, the row before */
        const size_t size = a[i].offset + a[i].size - a[from].offset;
        llm_real *want = to_host(&t->m[0], gradients ? a[from].grad : a[i].data, size);
        llm_real *got = to_host(&t->m[1], gradients ? b[from].grad : b[i].data, size);
        CHECK_SMALL(relative_error(got, want, size), allowed, "%s: %s %s", what,
                    gradients ? "gradient of" : "weights of", a[i].name);
        llm_release(want);
        llm_release(got);
    }
}

/* ---- forward and backward ---- */

/* Log-probabilities, entropy and value, then the gradient of a random mixture of the three. */
static void check_passes(const char *what, llm_config c, bool documents, llm_keep keep) {
    twins t;
    c.score = true;
    twins_new(&t, c, 3, true);
    llm_batch b = random_batch(ROWS, LENGTH, c.V, documents, 4);
    llm_real out[2][3][PLACES], d[3][PLACES];
    llm_rng r = llm_rng_seed(5, 0);
    for (int i = 0; i < 3 * PLACES; i++) d[i / PLACES][i % PLACES] = (llm_real)llm_rng_normal(&r);
    for (int i = 0; i < 2; i++) {
        llm_model *m = &t.m[i];
        m->keep = keep;
        m->head_options.temperature = (llm_real)0.7;
        fresh(m);
        llm_forward(m, &b, out[i][0], out[i][1], out[i][2]);
        llm_backward(m, &b, d[0], d[1], d[2]);
    }
    static const char *const name[] = {"log-probabilities", "entropy", "value"};
    for (int k = 0; k < 3; k++) CHECK_SMALL(relative_error(out[1][k], out[0][k], PLACES), bound, "%s: %s", what, name[k]);
    compare_learners(&t, what, true, bound);
    llm_batch_free(&b);
    twins_free(&t);
}
static void gradients(llm_model *m, const llm_batch *b, int parts, llm_real *logp) {
    llm_real dlogp[PLACES];
    llm_loss_ce_weights(dlogp, b, llm_batch_targets(b));
    const int rows = b->B / parts;
    for (int i = 0; i < parts; i++) {
        const int o = i * rows * b->T;
        llm_batch part = {rows, b->T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
        llm_forward_backward(m, &part, dlogp + o, logp + o);
    }
    llm_wait(m);
}
static uint64_t hash_gradients(llm_model *m) {
    uint64_t h = 0;
    for (int i = 0; i < m->params; i++) {
        llm_real *g = to_host(m, m->param[i].grad, m->param[i].size);
        h = llm_hash(g, m->param[i].size * sizeof *g, h);
        llm_release(g);
    }
    return h;
}
/* Fused, in micro-batches, again, with recomputation, keeping all; and with another model at work in between. */
static void check_paths(const char *what, llm_config c) {
    twins t;
    twins_new(&t, c, 7, true);
    llm_batch b = random_batch(ROWS, LENGTH, c.V, true, 8), other = random_batch(1, LENGTH - 2, c.V, false, 9);
    llm_real logp[2][PLACES], dlogp[PLACES];
    for (int i = 0; i < PLACES; i += 5) b.weight[i] = 0;
    uint64_t bits[6];
    for (int parts = 1; parts <= ROWS; parts += ROWS - 1) {
        for (int i = 0; i < 2; i++) {
            fresh(&t.m[i]);
            gradients(&t.m[i], &b, parts, logp[i]);
            for (int k = 0; k < PLACES; k += 5) logp[i][k] = 0;         /* the fused sweep leaves these out */
        }
        CHECK_SMALL(relative_error(logp[1], logp[0], PLACES), bound, "%s: fused, %d parts", what, parts);
        compare_learners(&t, what, true, bound);
        if (parts == 1) bits[0] = hash_gradients(&t.m[1]);
    }
    llm_model *m = &t.m[1], second = build(c, cuda, 10);
    llm_model_train(&second);
    for (int keep = LLM_KEEP_MOST; keep <= LLM_KEEP_ALL; keep++) {
        fresh(m);
        m->keep = (llm_keep)keep;
        gradients(m, &b, 1, logp[1]);
        bits[1 + keep] = hash_gradients(m);
    }
    compare_learners(&t, what, true, bound);
    m->keep = LLM_KEEP_MOST;
    llm_loss_ce_weights(dlogp, &b, llm_batch_targets(&b));
    for (int between = 4; between < 6; between++) {
        fresh(m);
        llm_forward(m, &b, logp[0], NULL, NULL);
        if (between == 5) {
            fresh(&second);
            llm_forward(&second, &other, logp[1], NULL, NULL);
            llm_backward(&second, &other, dlogp, NULL, NULL);
        }
        llm_backward(m, &b, dlogp, NULL, NULL);
        bits[between] = hash_gradients(m);
    }
    CHECK(bits[1] == bits[0], "%s: a second time other bits", what);
    CHECK(bits[2] == bits[0], "%s: recomputation changes bits", what);
    /* The card's product makes GELU of sums not yet rounded to bf16, where it is kept; made again it is of rounded ones. */
    const bool rounded = cuda->precision == LLM_BF16 && c.activation == LLM_GELU;
    CHECK(rounded || bits[3] == bits[0], "%s: keeping all changes bits", what);
    CHECK(bits[5] == bits[4], "%s: another model in between changes bits", what);
    llm_batch_free(&b);
    llm_batch_free(&other);
    llm_model_free(&second);
    twins_free(&t);
}

/* ---- learning ---- */

/* Ten steps; the first and the last in two micro-batches of equal size. */
static void check_steps(const char *what, twins *t, bool moments16) {
    const bool fp32 = cuda->precision == LLM_FP32;
    const double allowed = fp32 ? 1e-4 : 2e-2;
    llm_batch b = random_batch(2, LENGTH, t->m[0].c.V, true, 14);
    llm_real logp[2][PLACES];
    llm_adamw o[2] = {llm_adamw_defaults(), llm_adamw_defaults()};
    for (int i = 0; i < 2; i++) {
        o[i].eps = 1e-4;                /* GPT-2's key bias has no gradient but rounding, which must not become a step */
        o[i].moments16 = moments16;
        fresh(&t->m[i]);
    }
    double loss[2][10], norm[2];
    for (int step = 0; step < 10; step++) {
        for (int i = 0; i < 2; i++) {
            gradients(&t->m[i], &b, step % 9 ? 1 : 2, logp[i]);
            norm[i] = llm_adamw_step(&o[i], &t->m[i], 3e-3);
            loss[i][step] = llm_loss_ce(logp[i], &b, 2 * LENGTH);
        }
        CHECK_SMALL(fabs(loss[1][step] - loss[0][step]) / loss[0][step], allowed, "%s: loss of step %d", what, step);
        CHECK_SMALL(fabs(norm[1] - norm[0]) / norm[0], 10 * allowed, "%s: gradient norm of step %d", what, step);
    }
    CHECK(loss[1][9] < loss[1][0], "%s: ten steps do not lower the loss (%g to %g)", what, loss[1][0], loss[1][9]);
    /* moments of 16 bits are rounded by chance; AdamW makes a step of a bf16 gradient's rounding where that is all */
    if (!moments16 && fp32) compare_learners(t, what, false, allowed);
    for (int i = 0; i < 2; i++) llm_adamw_free(&o[i], &t->m[i]);
    llm_batch_free(&b);
}
static void check_training(const char *what, llm_config c, bool moments16) {
    twins t;
    twins_new(&t, c, 13, true);
    check_steps(what, &t, moments16);
    twins_free(&t);
}
/* Moments in the host's memory change no bit; and there they are: the host reads them itself. */
static void check_offload(const char *what, llm_config c, bool moments16) {
    enum { STEPS = 5 };
    llm_model m[2] = {build(c, cuda, 19), build(c, cuda, 19)};
    llm_batch b = random_batch(2, LENGTH, c.V, true, 20);
    llm_real logp[PLACES];
    llm_adamw o[2] = {llm_adamw_defaults(), llm_adamw_defaults()};
    for (int i = 0; i < 2; i++) {
        llm_model_train(&m[i]);
        o[i].moments16 = moments16;
        o[i].offload = i;
        for (int step = 0; step < STEPS; step++) {
            gradients(&m[i], &b, 1, logp);
            llm_adamw_step(&o[i], &m[i], 3e-3);
        }
    }
    for (int k = 0; k < m[0].params; k++) {
        const size_t n = m[0].param[k].size;
        llm_real *on = to_host(&m[0], m[0].param[k].data, n), *off = to_host(&m[1], m[1].param[k].data, n);
        CHECK(!memcmp(on, off, n * sizeof *on), "%s: other bits in %s", what, m[0].param[k].name);
        llm_release_all(on, off);
    }
    const size_t bytes = m[0].size * moment_bytes(&o[0]);
    char *on = llm_alloc(bytes, 1), *off = llm_alloc(bytes, 1), *arena[2][2] = {{o[0].m, o[1].m}, {o[0].v, o[1].v}};
    for (int k = 0; k < 2; k++) {
        cuda->download(on, arena[k][0], bytes);
        cuda->fetch(off, arena[k][1], bytes);
        cuda->wait();
        CHECK(!memcmp(on, off, bytes), "%s: other bits in %s", what, k ? "v" : "m");
        CHECK(!memcmp(on, arena[k][1], bytes), "%s: the host reads other bits in %s", what, k ? "v" : "m");
        cuda->upload(arena[k][1], arena[!k][1], bytes);         /* from here to there, as a checkpoint is read */
        cuda->wait();
        CHECK(!memcmp(arena[0][1], arena[1][1], bytes), "%s: an upload does not arrive", what);
        cuda->upload(arena[k][1], off, bytes);
    }
    for (int i = 0; i < 2; i++) {
        llm_adamw_free(&o[i], &m[i]);
        llm_model_free(&m[i]);
    }
    llm_batch_free(&b);
    llm_release_all(on, off);
}
/* Adapters on everything, on a base in `weights` bits; then without them, the base as it was. */
static void check_adapters(const char *what, llm_config c, llm_type weights) {
    twins t;
    twins_new(&t, c, 15, false);
    llm_batch b = random_batch(2, LENGTH, c.V, false, 16);
    llm_real before[2 * LENGTH], after[2 * LENGTH];
    for (int i = 0; i < 2; i++) {
        if (weights != LLM_TYPE_REAL) llm_quantise(&t.m[i], weights);
        llm_lora_attach(&t.m[i], 3, 6, "all", NULL, 17);
        llm_model_train(&t.m[i]);
    }
    t.m[1].lora_off = true;
    llm_forward(&t.m[1], &b, before, NULL, NULL);
    t.m[1].lora_off = false;
    check_steps(what, &t, false);
    t.m[1].lora_off = true;
    llm_forward(&t.m[1], &b, after, NULL, NULL);
    CHECK(!memcmp(before, after, sizeof before), "%s: switched off, the adapters still speak", what);
    llm_batch_free(&b);
    twins_free(&t);
}

/* ---- speaking ---- */

/* Greedy answers, and the log-probabilities of their words; in bf16 as far as the answers are the same. */
static void check_generate(const char *what, llm_config c) {
    enum { N = 6, NEW = 7 };
    llm_config long_enough = c;
    long_enough.T = 70;
    twins t;
    twins_new(&t, long_enough, 17, false);
    int prompts[N][9], length[N], answer[2][N][NEW], *out[N], n[2][N], stop[] = {3};
    const int *prompt[N];
    bool stopped[N];
    llm_real logp[2][N * NEW] = {{0}};
    llm_rng r = llm_rng_seed(18, 0);
    for (int i = 0; i < N; i++) {
        length[i] = 3 + i;
        prompt[i] = prompts[i];
        for (int k = 0; k < 9; k++) prompts[i][k] = llm_rng_below(&r, c.V);
    }
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 0;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < N; k++) out[k] = answer[i][k];
        llm_generate_batch(&t.m[i], &s, (llm_request){.prompt = prompt, .length = length, .prompts = N, .max_new = NEW,
                                                      .stop = stop, .stops = 1, .out = out, .out_length = n[i],
                                                      .stopped = stopped, .logp = logp[i]});
    }
    for (int k = 0; k < N && cuda->precision == LLM_FP32; k++)
        CHECK(n[0][k] == n[1][k] && !memcmp(answer[0][k], answer[1][k], (size_t)n[0][k] * sizeof(int)),
              "%s: another answer %d", what, k);
    if (cuda->precision == LLM_FP32)
        CHECK_SMALL(relative_error(logp[1], logp[0], N * NEW), 1e-4, "%s: log-probabilities of what was said", what);
    int same = 0;
    double worst = 0;
    for (int k = 0; k < N; k++)
        for (int i = 0; i < NEW && i < n[0][k] && answer[0][k][i] == answer[1][k][i]; i++, same++) {
            const double a = (double)logp[0][k * NEW + i], b = (double)logp[1][k * NEW + i];
            worst = worse(worst, fabs(a - b) / fmax(1, fabs(a)));
        }
    CHECK(same >= N, "%s: only %d words are the same", what, same);
    CHECK_SMALL(worst, bound, "%s: log-probability of the same word", what);
    twins_free(&t);
}

/* ---- how busy the host is ---- */

/* CUDA_CPU_COUNT=1 tells which kernels. The launches of a step depend on layers and chunks of the head (and whether V is
   a multiple of 64, as 50257 is not) alone: here are as many as GPT-2 124M has with 65536 tokens and chunks of 8192. */
static void check_budget(void) {
    enum { BUDGET = 320 };
    if (!&coc_launches || !&coc_waits) return;
    llm_config c = tiny_gpt2();
    c.L = 12, c.C = 64, c.H = c.KV = 1, c.D = 64, c.F = 256, c.V = 513, c.T = 16;
    llm_ops small = *cuda;
    small.head_rows = 8;
    llm_model m = build(c, &small, 1);
    llm_model_train(&m);
    llm_batch b = random_batch(4, 16, c.V, false, 2);
    llm_real dlogp[64], logp[64];
    llm_adamw o = llm_adamw_defaults();
    llm_loss_ce_weights(dlogp, &b, 64);
    long most = 0;
    for (int step = 0; step < 4; step++) {      /* the second of a kind: plans and scratch are there */
        const long launches = coc_launches, waits = coc_waits;
        m.keep = step < 2 ? LLM_KEEP_MOST : LLM_KEEP_ALL;
        llm_forward_backward(&m, &b, dlogp, logp);
        llm_adamw_step(&o, &m, 1e-3);
        if (step % 2 == 0) continue;
        const long now = coc_launches - launches;
        printf("a step of GPT-2 124M%s: %ld launches, %ld waits\n", step == 1 ? "" : ", all kept", now, coc_waits - waits);
        if (step == 1) most = now;
        else CHECK(most - now == 3 * c.L, "all kept, a step makes %ld kernels less, not 3 a layer", most - now);
        if (small.precision != LLM_BF16) continue;
        CHECK(coc_waits - waits == 1, "a step waits %ld times", coc_waits - waits);
        CHECK(now <= BUDGET, "a step has %ld launches, more than %d", now, BUDGET);
    }
    llm_adamw_free(&o, &m);
    llm_batch_free(&b);
    llm_model_free(&m);
}

/* A step needs the memory that was planned for it: no more, and not much less. Run first: what the tables keep for
   themselves is planned too. */
static void check_plan(llm_config c, bool offload) {
    if (!&coc_memory_peak) return;
    c.L = 3, c.C = 128, c.H = c.KV = 2, c.D = 64, c.F = 512, c.V = 2000, c.T = 64;
    llm_plan p = llm_plan_make(&c, cuda, 8, 64, true, LLM_KEEP_ALL, false);
    llm_model m = build(c, cuda, 1);
    llm_model_train(&m);
    m.keep = LLM_KEEP_ALL;
    llm_batch b = random_batch(8, 64, c.V, false, 2);
    llm_real *dlogp = llm_alloc(512, sizeof *dlogp), *logp = llm_alloc(512, sizeof *logp);
    llm_adamw o = llm_adamw_defaults();
    o.offload = offload;
    if (offload) p.total -= p.moments;
    llm_loss_ce_weights(dlogp, &b, 512);
    dlogp[5] = 0;
    llm_forward_backward(&m, &b, dlogp, logp);
    llm_adamw_step(&o, &m, 1e-3);
    const double used = (double)coc_memory_peak;
    CHECK(used <= p.total && used > 0.9 * p.total, "offload %d: %.2f MB were planned, %.2f used", offload, p.total / 1e6,
          used / 1e6);
    llm_adamw_free(&o, &m);
    llm_batch_free(&b);
    llm_model_free(&m);
    llm_release(dlogp);
    llm_release(logp);
}
static void check_plans(void) {         /* what takes less first */
    for (int offload = 1; offload >= 0; offload--) check_plan(gpt2(), offload);
    check_plan(tiny_family(LLM_OLMO2), false);
}
/* The parts that other families have: qk_norm, post_norm, layers without rope, biases, yarn. */
static void check_families(void) {
    static const llm_family family[] = {LLM_QWEN3, LLM_OLMO2, LLM_SMOLLM3};
    static const char *const name[] = {"Qwen3", "OLMo-2", "SmolLM3"};
    for (int i = 0; i < 3; i++) {
        const llm_config c = tiny_family(family[i]);
        check_passes(name[i], c, i == 1, i == 1 ? LLM_KEEP_ALL : LLM_KEEP_MOST);
        check_paths(name[i], c);
        check_training(name[i], c, i == 2);
        check_adapters(name[i], c, i == 1 ? LLM_TYPE_BF16 : LLM_TYPE_REAL);
        check_generate(name[i], c);
    }
}
static void check_all(void) {
    if (cuda->precision == LLM_FP32) check_plans();
    check_passes("GPT-2", gpt2(), false, LLM_KEEP_ALL);
    check_passes("Llama, documents", llama(), true, LLM_KEEP_MOST);
    check_passes("Qwen2", qwen(), false, LLM_KEEP_INPUTS);
    check_families();
    check_paths("GPT-2", gpt2());
    check_paths("Llama", llama());
    check_training("GPT-2, AdamW", gpt2(), false);
    check_training("Llama, AdamW", llama(), false);
    check_training("Qwen2, AdamW, moments of 16 bits", qwen(), true);
    check_offload("GPT-2, offloaded", gpt2(), false);
    check_offload("Llama, offloaded, moments of 16 bits", llama(), true);
    check_adapters("GPT-2, LoRA", gpt2(), LLM_TYPE_REAL);
    check_adapters("Llama, LoRA on bf16", llama(), LLM_TYPE_BF16);
    check_adapters("Llama, QLoRA, q8", llama(), LLM_TYPE_Q8);
    check_adapters("Qwen2, QLoRA, q4", qwen(), LLM_TYPE_Q4);
    check_generate("GPT-2", gpt2());
    check_generate("Llama", llama());
    check_budget();
}
static void check_few(void) {
    check_offload("GPT-2, offloaded", gpt2(), cuda->precision == LLM_BF16);
    check_passes("GPT-2", gpt2(), true, LLM_KEEP_ALL);
    check_passes("Qwen2", qwen(), false, LLM_KEEP_INPUTS);
    check_passes("Qwen3", tiny_family(LLM_QWEN3), false, LLM_KEEP_MOST);
    check_passes("OLMo-2", tiny_family(LLM_OLMO2), true, LLM_KEEP_INPUTS);
    check_adapters("Llama, QLoRA, q8", llama(), LLM_TYPE_Q8);
    check_generate("Llama", llama());
}

int main(int count, char **argument) {
    char gpu[400];
    if (!llm_cuda_devices(gpu, sizeof gpu)) {
        printf("SKIP: no GPU answers (%s)\n0 passed, 0 failed\n", gpu);
        return 0;
    }
    printf("kernels run on %s\n", gpu);
    static const llm_precision precision[] = {LLM_FP32, LLM_BF16};
    static const double allowed[] = {2e-5, 0.1};        /* bf16: as test_fixtures.c has it for the CPU */
    for (int i = 0; i < 2; i++) {
        cuda = llm_cuda(precision[i]);
        bound = allowed[i];
        if (count > 1 && !strcmp(argument[1], "few")) check_few();
        else if (count > 1 && !strcmp(argument[1], "families")) check_families();
        else if (count > 1 && !strcmp(argument[1], "budget")) {
            if (i == 0) check_plans();
            check_budget();
        }
        else check_all();
        printf("%s: %d checks\n", llm_precision_name(precision[i]), checks_passed + checks_failed);
    }
    return checks_done();
}
