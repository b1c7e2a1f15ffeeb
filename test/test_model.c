/* test_model.c: whole tiny models. In double: every gradient against finite differences. In both builds: recomputation,
   fusing, micro-batches, packing, threads, the fake device and the decoder give what the plain path gives. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/beam.h"
#include "logits.h"
#include "check.h"
#include "grad_check.h"
#include "fake_device.h"
#include "tiny_models.h"
#include <sys/resource.h>

#define IS_DOUBLE (sizeof(llm_real) == 8)

/* L = sum a logp + b entropy + v value with random coefficients: its gradient is what llm_backward is fed with. */
typedef struct {
    llm_model *m;
    llm_batch b;
    llm_real *a, *e, *v, *logp, *entropy, *value;
    int n;
    bool use_entropy, use_value;
} probe;

static double probe_loss(void *user) {
    probe *p = user;
    llm_forward(p->m, &p->b, p->logp, p->use_entropy ? p->entropy : NULL, p->use_value ? p->value : NULL);
    double loss = 0;
    for (int i = 0; i < p->n; i++) {
        loss += (double)(p->a[i] * p->logp[i]);
        if (p->use_entropy) loss += (double)(p->e[i] * p->entropy[i]);
        if (p->use_value) loss += (double)(p->v[i] * p->value[i]);
    }
    return loss;
}
static probe probe_new(llm_model *m, llm_batch b, bool entropy, bool value) {
    probe p = {.m = m, .b = b, .n = b.B * b.T, .use_entropy = entropy, .use_value = value};
    llm_real **array[] = {&p.a, &p.e, &p.v, &p.logp, &p.entropy, &p.value};
    llm_rng r = llm_rng_seed(5, 0);
    for (int i = 0; i < 6; i++) *array[i] = llm_alloc((size_t)p.n, sizeof(llm_real));
    for (int i = 0; i < 3; i++) for (int j = 0; j < p.n; j++) (*array[i])[j] = (llm_real)llm_rng_normal(&r);
    return p;
}
static void probe_free(probe *p) {
    llm_real *array[] = {p->a, p->e, p->v, p->logp, p->entropy, p->value};
    for (int i = 0; i < 6; i++) llm_release(array[i]);
    llm_batch_free(&p->b);
}
static void fresh_gradients(llm_model *m) {
    for (int i = 0; i < m->params; i++) m->param[i].used = false;
    for (size_t i = 0; i < m->size; i++) m->grad[i] = NAN;     /* whoever adds before the first write is found out */
}
static void check_gradients(const char *what, llm_config c, bool entropy, bool value, bool documents, llm_keep keep) {
    llm_model m = build(c, llm_cpu(LLM_FP32), 3);
    m.keep = keep;
    llm_model_train(&m);
    probe p = probe_new(&m, random_batch(2, 9, c.V, documents, 4), entropy, value);
    m.head_options.temperature = entropy ? (llm_real)0.7 : 1;
    fresh_gradients(&m);
    probe_loss(&p);
    llm_backward(&m, &p.b, p.a, entropy ? p.e : NULL, value ? p.v : NULL);
    llm_rng r = llm_rng_seed(6, 0);
    for (int i = 0; i < m.params; i++) {
        llm_param *q = &m.param[i];
        /* A key bias has no influence without rope (softmax forgets what all keys share). GPT-2's is measured as part
         * of the whole c_attn.bias */
        const bool zero = c.no_rope_every && strstr(q->name, "layers.1.self_attn.k_proj.bias");
        llm_real *grad = llm_alloc(q->size, sizeof *grad);
        memcpy(grad, q->grad, q->size * sizeof *grad);
        double error = zero ? 0 : llm_grad_check(probe_loss, &p, q->data, grad, q->size, 20, &r);
        for (size_t j = 0; zero && j < q->size; j++) error = worse(error, fabs((double)grad[j]));
        CHECK_SMALL(error, zero ? 1e-12 : 1e-7, "%s: gradient of %s", what, q->name);
        llm_release(grad);
    }
    probe_free(&p);
    llm_model_free(&m);
}

/* All gradients of a model after one step's work. */
static llm_real *gradients(llm_model *m, const llm_batch *b, int parts, bool fused, llm_real *logp) {
    fresh_gradients(m);
    int rows = b->B / parts, T = b->T;
    llm_real *dlogp = llm_alloc((size_t)(b->B * T), sizeof *dlogp);
    llm_loss_ce_weights(dlogp, b, llm_batch_targets(b));
    for (int i = 0; i < parts; i++) {
        int o = i * rows * T;
        llm_batch part = {rows, T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
        if (fused) llm_forward_backward(m, &part, dlogp + o, logp + o);
        else {
            llm_forward(m, &part, logp + o, NULL, NULL);
            llm_backward(m, &part, dlogp + o, NULL, NULL);
        }
    }
    llm_real *g = llm_alloc(m->size, sizeof *g);
    for (int i = 0; i < m->params; i++) memcpy(g + m->param[i].offset, m->param[i].grad, m->param[i].size * sizeof *g);
    llm_release(dlogp);
    return g;
}
static void check_paths(const char *what, llm_config c) {
    double bound = IS_DOUBLE ? 1e-12 : 1e-6;
    c.T = 32;
    llm_model m = build(c, llm_cpu(LLM_FP32), 7);
    llm_model_train(&m);
    llm_batch b = random_batch(4, 20, c.V, true, 8);
    for (int i = 0; i < 7; i++) b.weight[i * 5] = 0;
    llm_real logp[80], other[80];
    llm_real *plain = gradients(&m, &b, 1, false, logp);
    llm_real *fused = gradients(&m, &b, 1, true, other);
    for (int i = 0; i < 80; i++) if (b.weight[i] == 0) logp[i] = other[i] = 0;  /* the fused sweep leaves these out */
    CHECK_SMALL(relative_error(fused, plain, m.size), bound, "%s: fused forward and backward", what);
    CHECK_SMALL(relative_error(other, logp, 80), bound, "%s: fused log-probabilities", what);
    llm_real *split = gradients(&m, &b, 4, true, other);
    for (int i = 0; i < 80; i++) if (b.weight[i] == 0) other[i] = 0;
    CHECK_SMALL(relative_error(split, fused, m.size), bound, "%s: four micro-batches", what);
    CHECK(!memcmp(other, logp, sizeof logp) || relative_error(other, logp, 80) <= bound,
          "%s: log-probabilities when split", what);
    static const char *const kept[] = {"", "recomputation", "keeping all"};
    for (int keep = LLM_KEEP_ALL; keep >= LLM_KEEP_MOST; keep--) {      /* the largest first: others lie in its memory */
        m.keep = (llm_keep)keep;
        llm_real *again = gradients(&m, &b, 1, true, other);
        CHECK(!memcmp(again, fused, m.size * sizeof *again), "%s: %s changes bits", what, kept[keep]);
        llm_release(again);
        again = gradients(&m, &b, 1, false, other);
        CHECK(!memcmp(again, plain, m.size * sizeof *again), "%s: %s changes bits, not fused", what, kept[keep]);
        llm_release(again);
    }
    int had = llm_threads(0);
    for (int n = 1; n <= 4; n *= 2) {
        llm_threads(n);
        llm_real *g = gradients(&m, &b, 1, true, other);
        CHECK(!memcmp(g, fused, m.size * sizeof *g), "%s: %d threads change bits", what, n);
        llm_release(g);
    }
    llm_threads(had);
    llm_real *all[] = {plain, fused, split};
    for (int i = 0; i < 3; i++) llm_release(all[i]);
    llm_batch_free(&b);
    llm_model_free(&m);
}
/* Two documents packed in a row give what they give alone. */
static void check_packing(const char *what, llm_config c) {
    llm_model m = build(c, llm_cpu(LLM_FP32), 9);
    llm_batch b = random_batch(1, 12, c.V, true, 10), half = random_batch(1, 6, c.V, false, 11);
    llm_real packed[12], alone[6];
    llm_forward(&m, &b, packed, NULL, NULL);
    for (int part = 0; part < 2; part++) {
        memcpy(half.tokens, b.tokens + 6 * part, 6 * sizeof(int));
        memcpy(half.targets, b.targets + 6 * part, 6 * sizeof(int));
        llm_forward(&m, &half, alone, NULL, NULL);
        CHECK_SMALL(relative_error(packed + 6 * part, alone, 6), IS_DOUBLE ? 1e-12 : 1e-6, "%s: packed document %d",
                    what, part);
    }
    llm_batch_free(&b);
    llm_batch_free(&half);
    llm_model_free(&m);
}
/* Training steps on the fake device, whatever is kept: the same losses to the bit, no tensor touched outside an
   operation, and a step that waits once, at its end: before, the log-probabilities have not arrived. */
static void check_fake_device(const char *what, llm_config c, llm_precision p) {
    double loss[4][5];
    for (int fake = 0; fake < 4; fake++) {
        llm_model m = build(c, fake ? fake_device(p) : llm_cpu(p), 13);
        llm_model_train(&m);
        m.keep = (llm_keep)(fake % 3);
        llm_adamw o = llm_adamw_defaults();
        llm_batch b = random_batch(2, 9, c.V, true, 14);
        llm_real dlogp[18], logp[18];
        for (int step = 0; step < 5; step++) {
            llm_loss_ce_weights(dlogp, &b, 18);
            llm_forward_backward(&m, &b, dlogp, logp);
            CHECK(!fake || isnan(llm_loss_ce(logp, &b, 18)), "%s: somebody waited within a micro-batch", what);
            llm_adamw_step(&o, &m, 1e-2);
            loss[fake][step] = llm_loss_ce(logp, &b, 18);
        }
        int prompt[] = {1, 2, 3}, *out[1], length = 3, n;
        const int *prompts[] = {prompt};
        int answer[4];
        out[0] = answer;
        llm_sampler s = llm_sampler_defaults();
        llm_generate_batch(&m, &s, (llm_request){.prompt = prompts, .length = &length, .prompts = 1, .max_new = 4,
                                                 .out = out, .out_length = &n});
        CHECK(n == 4, "%s: generated %d tokens", what, n);
        llm_adamw_free(&o, &m);
        llm_batch_free(&b);
        llm_model_free(&m);
    }
    for (int fake = 1; fake < 4; fake++)
        CHECK(!memcmp(loss[0], loss[fake], sizeof *loss), "%s: the fake device's losses differ, keep %d", what,
              fake % 3);
    CHECK(loss[0][4] < loss[0][0], "%s: five steps do not lower the loss (%g to %g)", what, loss[0][0], loss[0][4]);
}
/* The decoder, token by token and as a whole prompt, against the full forward pass. */
static void check_decode(const char *what, llm_config c) {
    enum { T = 12 };
    llm_model m = build(c, llm_cpu(LLM_FP32), 15);
    llm_batch b = random_batch(1, T, c.V, false, 16);
    llm_real *full = llm_alloc((size_t)T * (size_t)c.V, sizeof *full),
             *one = llm_alloc((size_t)T * (size_t)c.V, sizeof *one);
    int rows[T], positions[T];
    bool want[T];
    all_logits(&m, &b, full);
    llm_cache cache = llm_cache_new(&m, 2, T);
    for (int t = 0; t < T; t++) {
        rows[t] = 1;
        positions[t] = t;
        want[t] = true;
        llm_cache_step(&m, &cache, b.tokens + t, rows + t, positions + t, want + t, 1, one + t * c.V);
    }
    double bound = IS_DOUBLE ? 1e-12 : 2e-5;
    CHECK_SMALL(relative_error(one, full, (size_t)(T * c.V)), bound, "%s: decoding token by token", what);
    memset(rows, 0, sizeof rows);
    llm_cache_step(&m, &cache, b.tokens, rows, positions, want, T, one);
    CHECK_SMALL(relative_error(one, full, (size_t)(T * c.V)), bound, "%s: decoding a whole prompt", what);
    llm_cache_copy(&m, &cache, 1, 0, T - 1);
    llm_cache_step(&m, &cache, b.tokens + T - 1, (int[]){1}, positions + T - 1, want, 1, one);
    CHECK_SMALL(relative_error(one, full + (T - 1) * c.V, (size_t)c.V), bound, "%s: decoding after a copied prefix",
                what);
    llm_cache_free(&cache, &m);
    llm_release(full);
    llm_release(one);
    llm_batch_free(&b);
    llm_model_free(&m);
}
/* A model that learns and speaks, one call at a time, and writes down what it said. */
enum { TURNS = 10, TAKE_T = 12, TAKE_B = 3 };
typedef struct {
    llm_model m; llm_batch b; llm_adamw o; llm_cache cache;
    llm_real *dlogp, *heard, *at;       /* heard .. at: every number that came out */
} taker;

static taker taker_new(llm_config c, const llm_ops *op) {
    taker x = {.m = build(c, op, 41), .b = random_batch(TAKE_B, TAKE_T, c.V, false, 42), .o = llm_adamw_defaults()};
    size_t N = TAKE_B * TAKE_T;
    x.dlogp = llm_alloc(N, sizeof *x.dlogp);
    x.at = x.heard = llm_alloc((N + 20) * (size_t)c.V + 8 * N, sizeof *x.heard);
    llm_loss_ce_weights(x.dlogp, &x.b, (double)N);
    llm_model_train(&x.m);
    x.cache = llm_cache_new(&x.m, 2, TAKE_T);
    return x;
}
static void taker_speak(taker *x, int row, int from, int n) {
    int rows[TAKE_T], positions[TAKE_T];
    bool want[TAKE_T] = {false};
    for (int i = 0; i < n; i++) rows[i] = row, positions[i] = from + i;
    want[n - 1] = true;
    llm_cache_step(&x->m, &x->cache, x->b.tokens + from, rows, positions, want, n, x->at);
    x->at += x->m.c.V;
}
/* 20 answers at once: more rows than the path for few of them takes. */
static void taker_answer(taker *x) {
    enum { N = 20, NEW = 4 };
    int answer[N][NEW], *out[N], length[N], n[N];
    const int *prompt[N];
    llm_sampler s = llm_sampler_defaults();
    for (int i = 0; i < N; i++) prompt[i] = x->b.tokens, length[i] = 2 + i % 5, out[i] = answer[i];
    llm_generate_batch(&x->m, &s, (llm_request){.prompt = prompt, .length = length, .prompts = N, .max_new = NEW,
                                                .out = out, .out_length = n, .logp = x->at});
    x->at += N * NEW;
}
static void take_turn(taker *x, int turn) {
    size_t N = TAKE_B * TAKE_T;
    switch (turn) {
    case 0: llm_forward(&x->m, &x->b, x->at, NULL, NULL); x->at += N; break;
    case 1: llm_backward(&x->m, &x->b, x->dlogp, NULL, NULL); break;
    case 2: case 4: *x->at++ = (llm_real)llm_adamw_step(&x->o, &x->m, 1e-2); break;
    case 3: llm_forward_backward(&x->m, &x->b, x->dlogp, x->at); x->at += N; break;
    case 5: all_logits(&x->m, &x->b, x->at); x->at += N * (size_t)x->m.c.V; break;
    case 6: taker_speak(x, 0, 0, TAKE_T - 1); break;
    case 7: llm_cache_copy(&x->m, &x->cache, 1, 0, TAKE_T - 1); break;
    case 8: taker_speak(x, 1, TAKE_T - 1, 1); break;
    default: taker_answer(x);
    }
}
static void taker_free(taker *x) {
    llm_cache_free(&x->cache, &x->m);
    llm_adamw_free(&x->o, &x->m);
    llm_batch_free(&x->b);
    llm_model_free(&x->m);
    llm_release(x->dlogp);
    llm_release(x->heard);
}
/* Models of three precisions in one process, a call of each in turn: to the bit what each one says alone. */
static void check_precisions(const char *what, llm_config c) {
    taker alone[3], turns[3];
    for (int p = 0; p < 3; p++) {
        alone[p] = taker_new(c, llm_cpu((llm_precision)p));
        for (int t = 0; t < TURNS; t++) take_turn(&alone[p], t);
    }
    for (int p = 0; p < 3; p++) turns[p] = taker_new(c, llm_cpu((llm_precision)p));
    for (int t = 0; t < TURNS; t++)
        for (int p = 2; p >= 0; p--) take_turn(&turns[p], t);
    for (int p = 0; p < 3; p++) {
        size_t n = (size_t)(alone[p].at - alone[p].heard);
        CHECK((size_t)(turns[p].at - turns[p].heard) == n && n > 400, "%s: %zu numbers", what, n);
        CHECK(!memcmp(alone[p].heard, turns[p].heard, n * sizeof(llm_real)),
              "%s: precision %d taking turns with others differs from alone", what, p);
        if (p == LLM_BF16)
            CHECK(memcmp(alone[p].heard, alone[0].heard, n * sizeof(llm_real)), "%s: bf16 says what fp32 says", what);
        taker_free(&turns[p]);
    }
    for (int p = 0; p < 3; p++) taker_free(&alone[p]);
    llm_cpu(LLM_FP32);
}
/* Largest memory of this process so far, in bytes. */
static double most_memory(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss * 1024;
}
/* Two models of one head size and different rope frequencies (a policy and the reward model of another base) take
   turns: each says what it says alone, and the table of angles does not grow by that. */
static void check_two_ropes(void) {
    enum { N = 12, TURNS_EACH = 12 };
    llm_config c = tiny_llama(true, 2, false);
    c.D = 16;
    llm_model m[2];
    llm_real alone[2][N], logp[N];
    llm_batch b = random_batch(1, N, c.V, false, 51);
    for (int i = 0; i < 2; i++) {
        m[i] = build(c, llm_cpu(LLM_FP32), 50);
        llm_forward(&m[i], &b, alone[i], NULL, NULL);
        c.rope_theta *= 50;
    }
    CHECK(memcmp(alone[0], alone[1], sizeof alone[0]), "rope's frequencies change nothing");
    double before = most_memory();
    for (int turn = 0; turn < 2 * TURNS_EACH; turn++) {
        llm_forward(&m[turn % 2], &b, logp, NULL, NULL);
        CHECK(!memcmp(logp, alone[turn % 2], sizeof logp), "turn %d: another model's angles", turn);
        if (!(most_memory() - before < 100e6)) break;
    }
    CHECK(most_memory() - before < 20e6, "%d turns took %.0f MB", 2 * TURNS_EACH, (most_memory() - before) / 1e6);
    for (int i = 0; i < 2; i++) llm_model_free(&m[i]);
    llm_batch_free(&b);
}
/* Batched generation gives each row what it gets alone, whatever stands beside it; the log-probabilities are the
 * forward pass's. */
static void check_generate(const char *what, llm_config c) {
    enum { N = 70, NEW = 5 };
    llm_model m = build(c, llm_cpu(LLM_FP32), 17);
    llm_rng r = llm_rng_seed(18, 0);
    int prompts[N][6], length[N], answers[N][NEW], alone[NEW], *out[N], n[N], stop[] = {3}, differing = 0;
    const int *prompt[N];
    bool stopped[N];
    llm_real logp[N * NEW];
    for (int i = 0; i < N; i++) {
        length[i] = 1 + llm_rng_below(&r, 6);
        for (int t = 0; t < 6; t++) prompts[i][t] = llm_rng_below(&r, c.V);
        if (i % 3 == 2) {
            memcpy(prompts[i], prompts[i - 1], sizeof prompts[i]);      /* a shared prompt: its cache row is copied */
            length[i] = length[i - 1];
        }
        prompt[i] = prompts[i];
        out[i] = answers[i];
    }
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 0;
    llm_request x = {.prompt = prompt, .length = length, .prompts = N, .max_new = NEW, .stop = stop, .stops = 1,
                     .out = out, .out_length = n, .stopped = stopped, .logp = logp};
    llm_generate_batch(&m, &s, x);
    for (int i = 0; i < N; i++) {
        int *out1[] = {alone}, n1;
        bool stopped1;
        llm_generate_batch(&m, &s, (llm_request){.prompt = &prompt[i], .length = &length[i], .prompts = 1,
                                                 .max_new = NEW, .stop = stop, .stops = 1, .out = out1,
                                                 .out_length = &n1, .stopped = &stopped1});
        differing += n1 != n[i] || memcmp(alone, answers[i], (size_t)n1 * sizeof(int)) || stopped1 != stopped[i];
        CHECK(stopped[i] || n[i] == NEW, "%s: answer %d ended early", what, i);
    }
    CHECK(differing == 0, "%s: %d of %d answers depend on their neighbours", what, differing, N);
    s.temperature = 1;
    llm_generate_batch(&m, &s, x);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        llm_batch b = llm_batch_new(1, length[i] + n[i]);
        llm_real full[16];
        for (int t = 0; t < b.T; t++) {
            b.tokens[t] = t < length[i] ? prompts[i][t] : answers[i][t - length[i]];
            b.positions[t] = t;
            b.targets[t] = t + 1 < length[i] ? 0 : t + 1 - length[i] < n[i] ? answers[i][t + 1 - length[i]] : stop[0];
        }
        llm_forward(&m, &b, full, NULL, NULL);
        for (int t = 0; t < n[i] + (int)stopped[i]; t++) {
            double e = fabs((double)(full[length[i] - 1 + t] - logp[i * NEW + t]));
            worst = worse(worst, e);
        }
        llm_batch_free(&b);
    }
    CHECK_SMALL(worst, IS_DOUBLE ? 1e-11 : 1e-4, "%s: log-probabilities of sampled tokens", what);
    llm_model_free(&m);
}
/* The parts of other families, by what must not change: logp of a model and of the same with one tensor of its last
   layer `times` as large (NULL: none), yarn's length and the positions moved. */
static double changed(llm_config c, const char *name, double times, double length, int moved) {
    enum { N = 8 };
    llm_batch b = random_batch(1, N, c.V, false, 61);
    llm_real logp[2][N];
    for (int other = 0; other < 2; other++) {
        llm_model m = build(c, llm_cpu(LLM_FP32), 60);
        llm_param *p = name ? llm_param_find(&m, name) : NULL;
        CHECK(!name || p, "no %s", name);
        for (size_t i = 0; other && p && i < p->size; i++) p->data[i] *= (llm_real)times;
        llm_weights_changed(&m);
        if (other) m.c.rope_length = length;
        for (int i = 0; i < N && other; i++) b.positions[i] += moved * (i > 2);     /* a gap: not all by the same */
        llm_forward(&m, &b, logp[other], NULL, NULL);
        llm_model_free(&m);
    }
    llm_batch_free(&b);
    return relative_error(logp[1], logp[0], N);
}
static void check_parts(void) {
    const double same = IS_DOUBLE ? 1e-9 : 1e-5;
    llm_config c = tiny_family(LLM_QWEN3);
    c.eps = 1e-13;                      /* a norm forgets how long its input was */
    const char *q = "model.layers.1.self_attn.q_proj.weight", *down = "model.layers.1.mlp.down_proj.weight";
    CHECK_SMALL(changed(c, q, 8, 1, 0), same, "a norm of each query");
    CHECK_SMALL(changed(c, "model.layers.1.self_attn.k_proj.weight", 8, 1, 0), same, "a norm of each key");
    CHECK(changed(c, "model.layers.1.self_attn.v_proj.weight", 8, 1, 0) > 0.01, "a norm of values");
    c = tiny_family(LLM_OLMO2), c.eps = 1e-13;
    CHECK_SMALL(changed(c, q, 8, 1, 0), same, "a norm of all queries");
    CHECK_SMALL(changed(c, down, 8, 1, 0), same, "a norm behind the feed-forward");
    CHECK_SMALL(changed(c, "model.layers.1.self_attn.o_proj.weight", 8, 1, 0), same, "a norm behind attention");
    CHECK(changed(c, "model.layers.1.post_attention_layernorm.weight", 2, 1, 0) > 0.01, "the norm's weight is not used");
    c = tiny_family(LLM_SMOLLM3), c.qkv_bias = c.proj_bias = false;
    CHECK(changed(c, NULL, 1, c.rope_length, 3) > 1e-4, "positions mean nothing, though layer 0 has rope");
    c.no_rope_every = 1;
    CHECK_SMALL(changed(c, NULL, 1, 2, 3), 0, "positions and yarn where no layer has rope");
    c.no_rope_every = 0, c.L = 1;       /* scale^2 is the same as longer queries */
    CHECK_SMALL(changed(c, "model.layers.0.self_attn.q_proj.weight", 0.25, 2 * c.rope_length, 0), same, "yarn's length");
}
/* A table that speaks by itself says what the model says without it, by its own number of speakers; where it cannot,
   the model does. */
static void check_speak(const char *what, llm_config c) {
    enum { N = 18, NEW = 30, ROWS = 3 };
    c.T = 34;                           /* it ends some answers */
    llm_ops tables[3] = {*fake_device(LLM_FP32), *fake_device(LLM_FP32), *fake_device(LLM_FP32)};
    tables[0].speak = NULL;
    tables[1].speak = NULL;
    tables[1].speakers = tables[2].speakers = 2;
    int prompts[ROWS][7], length[N], out_ids[3][N][NEW], n[3][N], stop[] = {7};
    const int *prompt[N];
    bool stopped[3][N];
    llm_real logp[3][N * NEW];
    uint8_t banned[64] = {0, 1};
    llm_rng r = llm_rng_seed(23, 0);
    for (int i = 0; i < ROWS * 7; i++) prompts[i / 7][i % 7] = llm_rng_below(&r, c.V);
    for (int i = 0; i < N; i++) prompt[i] = prompts[i / 2 % ROWS], length[i] = 5 + i / 2 % ROWS;
    for (int way = 0; way < 3; way++) {                     /* plain, top-k, a penalty */
        llm_sampler s = {.temperature = 1, .top_k = way == 1 ? 9 : 0, .top_p = 1, .repeat_penalty = way == 2 ? 1.3 : 1};
        s.seed = 7;
        int differing = 0, ends = 0, full = 0;
        double worst = 0;
        memset(logp, 0, sizeof logp);
        fake_spoken = 0;
        for (int t = 0; t < 3; t++) {
            llm_model m = build(c, &tables[t], 17);
            int *out[N];
            for (int i = 0; i < N; i++) out[i] = out_ids[t][i];
            llm_generate_batch(&m, &s, (llm_request){.prompt = prompt, .length = length, .prompts = N, .max_new = NEW,
                                                     .stop = stop, .stops = 1, .banned = banned, .out = out,
                                                     .out_length = n[t], .stopped = stopped[t], .logp = logp[t]});
            CHECK((fake_spoken > 0) == (t == 2 && way != 2), "%s: speak was called %d times", what, fake_spoken);
            for (int i = 0; i < N; i++) {
                ends += stopped[t][i];
                full += !stopped[t][i];
                for (int k = 0; k < n[t][i]; k++) differing += banned[out[i][k]];
                differing += n[t][i] != n[0][i] || stopped[t][i] != stopped[0][i] ||
                             memcmp(out[i], out_ids[0][i], (size_t)n[t][i] * sizeof(int)) != 0;
            }
            for (int i = 0; i < N * NEW; i++) worst = worse(worst, fabs((double)(logp[t][i] - logp[0][i])));
            llm_model_free(&m);
        }
        CHECK(differing == 0, "%s, way %d: %d answers differ", what, way, differing);
        CHECK(ends > 3 && full > 3, "%s, way %d: %d answers were ended, %d not", what, way, ends, full);
        CHECK_SMALL(worst, IS_DOUBLE ? 1e-12 : 1e-5, "%s, way %d: log-probabilities", what, way);
    }
    llm_model m = build(c, &tables[2], 17);
    int one[NEW], *out[] = {one}, *said = n[0];
    const llm_sampler s = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};
    llm_generate_batch(&m, &s, (llm_request){.prompt = prompt + 4, .length = length + 4, .prompts = 1, .max_new = NEW,
                                             .out = out, .out_length = said});
    CHECK(length[4] == 7 && *said == 28, "%s: %d + %d ids in a context of %d", what, length[4], *said, c.T);
    llm_model_free(&m);
}
/* With as many beams as there are texts, beam search is exhaustive: compare with trying every text. */
static void check_beam(void) {
    enum { V = 5 };
    llm_config c = tiny_llama(true, 2, false);
    c.V = V;
    llm_model m = build(c, llm_cpu(LLM_FP32), 19);
    int prompt[] = {1, 2}, answers[64][3], *out[64], n[64], best[2] = {0, 0};
    double score[64], top = -INFINITY;
    for (int i = 0; i < 64; i++) out[i] = answers[i];
    int found = llm_beam_search(&m, prompt, 2, (llm_beam_options){.beams = 25, .max_new = 2}, out, n, score);
    CHECK(found == 25, "beam search found %d texts", found);
    for (int a = 0; a < V; a++) for (int z = 0; z < V; z++) {
        llm_batch b = llm_batch_new(1, 3);
        llm_real logp[3];
        int row[] = {1, 2, a};
        memcpy(b.tokens, row, sizeof row);
        for (int t = 0; t < 3; t++) b.positions[t] = t;
        b.targets[1] = a;
        b.targets[2] = z;
        llm_forward(&m, &b, logp, NULL, NULL);
        if ((double)(logp[1] + logp[2]) > top) { top = (double)(logp[1] + logp[2]); best[0] = a; best[1] = z; }
        llm_batch_free(&b);
    }
    CHECK(n[0] == 2 && answers[0][0] == best[0] && answers[0][1] == best[1], "beam search misses the likeliest text");
    CHECK_SMALL(fabs(score[0] - top), 1e-4, "beam score");
    int full[128] = {0};                /* a text that fills the context has one more token, as in llm_generate_batch */
    CHECK(c.T <= 128, "room for a context of %d", c.T);
    found = llm_beam_search(&m, full, c.T, (llm_beam_options){.beams = 2, .max_new = 3}, out, n, score);
    CHECK(found == 2 && n[0] == 1 && n[1] == 1, "a full context: %d texts of %d and %d tokens", found, n[0], n[1]);
    llm_model_free(&m);
}
static void check_refusals(void) {
    llm_config c = tiny_llama(true, 2, false);
    llm_model m = build(c, llm_cpu(LLM_FP32), 1);
    llm_batch b = random_batch(1, 13, c.V, false, 1);
    llm_real logp[13];
    CHECK_DIES(llm_forward(&m, &b, logp, NULL, NULL), "beyond the model's context");
    b.T = 4;
    b.tokens[2] = c.V;
    CHECK_DIES(llm_forward(&m, &b, logp, NULL, NULL), "token 29 at place 2");
    b.tokens[2] = 0;
    CHECK_DIES(llm_forward(&m, &b, logp, NULL, logp), "without a scalar head");
    CHECK_DIES(llm_backward(&m, &b, logp, NULL, NULL), "frozen model");
    c.H = 5;
    CHECK_DIES(llm_config_check(&c, "here"), "no multiple of the key/value heads");
    c = tiny_llama(true, 2, false);
    c.L = 0;
    CHECK_DIES(llm_config_check(&c, "here"), "layers");
    llm_config bad[13];
    for (int i = 0; i < 13; i++) bad[i] = i < 7 ? tiny_gpt2() : tiny_llama(true, 2, false);
    bad[0].bias = false, bad[1].qkv_bias = true, bad[2].activation = LLM_SWIGLU, bad[3].norm = LLM_RMSNORM;
    bad[4].position = LLM_ROPE, bad[4].rope_theta = 1e4, bad[5].rope_scaling = LLM_ROPE_LLAMA3, bad[6].position = (llm_position)7;
    bad[7].bias = true, bad[8].activation = LLM_GELU, bad[9].norm = LLM_LAYERNORM, bad[10].position = LLM_LEARNED;
    bad[11].norm = (llm_norm)7, bad[12].activation = (llm_activation)7;
    for (volatile int i = 0; i < 13; i++) CHECK_DIES(llm_config_check(&bad[i], "here"), "no family of models has this mixture");
    c = tiny_gpt2(), c.KV = 2;
    CHECK_DIES(llm_config_check(&c, "here"), "2 key/value heads");
    c = tiny_llama(true, 2, false), c.rope_factor = 8, c.rope_scaling = LLM_ROPE_LLAMA3;
    CHECK_DIES(llm_config_check(&c, "here"), "impossible factors of rope");
    c = tiny_llama(true, 2, false), c.D = 4098;
    CHECK_DIES(llm_config_check(&c, "here"), "head size (4098, 4096)");
    c = tiny_llama(true, 2, false), c.L = 4097;
    CHECK_DIES(llm_config_check(&c, "here"), "layers (4097, 4096)");
    CHECK_DIES(llm_preset("gpt-9"), "no preset is called 'gpt-9'");
    llm_ops lacks = *fake_device(LLM_FP32);
    lacks.qk_norm_backward = NULL;
    llm_model none;
    c = tiny_gpt2();
    CHECK_DIES(llm_model_init(&none, &c, &lacks, 1), "the table \"fake\" has no qk_norm_backward");
    llm_batch_free(&b);
    llm_model_free(&m);
}

int main(void) {
    struct { const char *name; llm_config c;
    } all[] = {{"gpt2", tiny_gpt2()},
               {"llama, tied", tiny_llama(true, 2, false)},
               {"llama, untied", tiny_llama(false, 1, false)},
               {"qwen2", tiny_llama(true, 2, true)},
               {"qwen3", tiny_family(LLM_QWEN3)},
               {"olmo2", tiny_family(LLM_OLMO2)},
               {"smollm3", tiny_family(LLM_SMOLLM3)}};
    for (int i = 0; i < 7; i++) {
        llm_config c = all[i].c;
        if (IS_DOUBLE) {
            check_gradients(all[i].name, c, false, false, false, LLM_KEEP_MOST);
            c.score = true;
            check_gradients(all[i].name, c, true, true, true, i % 2 ? LLM_KEEP_ALL : LLM_KEEP_INPUTS);
        }
        check_paths(all[i].name, all[i].c);
        check_packing(all[i].name, all[i].c);
        check_decode(all[i].name, all[i].c);
        check_generate(all[i].name, all[i].c);
        check_speak(all[i].name, all[i].c);
        check_fake_device(all[i].name, all[i].c, LLM_FP32);
        if (!ONLY_FP32) check_fake_device(all[i].name, all[i].c, LLM_BF16);
        if (!ONLY_FP32) check_precisions(all[i].name, all[i].c);
    }
    check_two_ropes();
    check_parts();
    check_beam();
    check_refusals();
    checks_skip_precisions();
    return checks_done();
}
