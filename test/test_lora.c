/* test_lora.c: adapters. In double: the gradients of every A and B against finite differences, in both families. In
   both builds: step 0 is the base to the bit, merged is unmerged, switched off is the base, decoding is the forward
   pass, recomputation, micro-batches, threads and the fake device change nothing, files come back; and PEFT's own
   numbers (test/gen/lora.py). */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "../tools/checkpoint.h"
#include "logits.h"
#include "check.h"
#include "grad_check.h"
#include "fake_device.h"

#define IS_DOUBLE (sizeof(llm_real) == 8)
enum { B = 2, T = 9, N = B * T };

static llm_config tiny_gpt2(void) {
    return (llm_config){.V = 23, .T = 12, .L = 2, .C = 16, .H = 4, .KV = 4, .D = 4, .F = 24, .norm = LLM_LAYERNORM,
                        .position = LLM_LEARNED, .activation = LLM_GELU, .bias = true, .tied = true, .eps = 1e-5,
                        .bos = -1, .eos = -1, .pad = -1};
}
static llm_config tiny_llama(bool tied, int KV, bool qkv_bias) {
    return (llm_config){.V = 29, .T = 12, .L = 2, .C = 24, .H = 4, .KV = KV, .D = 6, .F = 20, .norm = LLM_RMSNORM,
                        .family = qkv_bias ? LLM_QWEN2 : LLM_LLAMA, .position = LLM_ROPE, .activation = LLM_SWIGLU,
                        .qkv_bias = qkv_bias, .tied = tied, .eps = 1e-5, .rope_theta = 100, .bos = -1, .eos = -1, .pad = -1};
}
/* Norms on q and k, and behind the branches: there the adapters of o_proj and down_proj write activations. */
static llm_config tiny_olmo2(void) {
    llm_config c = tiny_llama(false, 2, false);
    c.family = LLM_OLMO2, c.qk_norm = LLM_QK_ALL, c.post_norm = true;
    return c;
}
static llm_batch random_batch(int V, uint64_t seed) {
    llm_batch b = llm_batch_new(B, T);
    llm_rng r = llm_rng_seed(seed, 0);
    for (int i = 0; i < N; i++) {
        b.tokens[i] = llm_rng_below(&r, V);
        b.targets[i] = llm_rng_below(&r, V);
        b.positions[i] = i % T;
        b.weight[i] = 1;
    }
    return b;
}
/* Random numbers large enough that every path matters. */
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
/* A model with adapters that do something. */
static llm_model adapted(llm_config c, const llm_ops *op, const char *targets) {
    llm_model m = build(c, op);
    llm_lora_attach(&m, 3, 5, targets, NULL, 1);
    shake(op, m.lora->param, m.lora->params, 0.3, 4);
    llm_model_train(&m);
    return m;
}

/* ---- gradients ---- */

typedef struct { llm_model *m; llm_batch b; llm_real dlogp[N], logp[N]; } probe;

static double probe_loss(void *user) {
    probe *p = user;
    double loss = 0;
    llm_forward(p->m, &p->b, p->logp, NULL, NULL);
    for (int i = 0; i < N; i++) loss += (double)(p->dlogp[i] * p->logp[i]);
    return loss;
}
static void check_gradients(const char *what, llm_config c, const char *targets, llm_keep keep) {
    llm_model m = adapted(c, llm_cpu(LLM_FP32), targets);
    probe p = {.m = &m, .b = random_batch(c.V, 5)};
    llm_rng r = llm_rng_seed(6, 0);
    m.keep = keep;
    for (int i = 0; i < N; i++) p.dlogp[i] = (llm_real)llm_rng_normal(&r);
    for (size_t i = 0; i < m.lora->size; i++)
        m.lora->grad[i] = NAN; /* whoever adds before the first write is found out */
    probe_loss(&p);
    llm_backward(&m, &p.b, p.dlogp, NULL, NULL);
    for (int i = 0; i < m.lora->params; i++) {
        llm_param *q = &m.lora->param[i];
        CHECK_SMALL(llm_grad_check(probe_loss, &p, q->data, q->grad, q->size, 20, &r), 1e-7, "%s: gradient of %s", what,
                    q->name);
    }
    llm_batch_free(&p.b);
    llm_model_free(&m);
}
/* One step's gradients, the batch cut into `parts` micro-batches. */
static llm_real *gradients(llm_model *m, const llm_batch *b, int parts, bool fused) {
    llm_real dlogp[N], logp[N], *g = llm_alloc(m->lora->size, sizeof *g);
    for (int i = 0; i < m->lora->params; i++) m->lora->param[i].used = false;
    llm_loss_ce_weights(dlogp, b, N);
    for (int i = 0; i < parts; i++) {
        int o = i * N / parts;
        llm_batch part = {B / parts, T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
        if (fused) llm_forward_backward(m, &part, dlogp + o, NULL);
        else {
            llm_forward(m, &part, logp + o, NULL, NULL);
            llm_backward(m, &part, dlogp + o, NULL, NULL);
        }
    }
    for (int i = 0; i < m->lora->params; i++) {
        const llm_param *p = &m->lora->param[i];
        memcpy(g + p->offset, p->grad, p->size * sizeof *g);
    }
    return g;
}
static void check_paths(const char *what, llm_config c) {
    llm_model m = adapted(c, llm_cpu(LLM_FP32), "all");
    llm_batch b = random_batch(c.V, 7);
    size_t n = m.lora->size;
    double bound = IS_DOUBLE ? 1e-12 : 2e-6;
    llm_real *plain = gradients(&m, &b, 1, false), *fused = gradients(&m, &b, 1, true),
             *split = gradients(&m, &b, 2, true);
    CHECK_SMALL(relative_error(fused, plain, n), bound, "%s: fused forward and backward", what);
    CHECK_SMALL(relative_error(split, fused, n), bound, "%s: two micro-batches", what);
    for (int keep = LLM_KEEP_ALL; keep >= LLM_KEEP_MOST; keep--) {
        m.keep = (llm_keep)keep;
        llm_real *again = gradients(&m, &b, 1, true);
        CHECK(!memcmp(again, fused, n * sizeof *again), "%s: keep %d changes bits", what, keep);
        llm_release(again);
    }
    int had = llm_threads(0);
    for (int threads = 1; threads <= 4; threads *= 2) {
        llm_threads(threads);
        llm_real *g = gradients(&m, &b, 1, true);
        CHECK(!memcmp(g, fused, n * sizeof *g), "%s: %d threads change bits", what, threads);
        llm_release(g);
    }
    llm_threads(had);
    llm_real *all[] = {plain, fused, split};
    for (int i = 0; i < 3; i++) llm_release(all[i]);
    llm_batch_free(&b);
    llm_model_free(&m);
}

/* ---- beside the base, off, merged, gone ---- */

static void check_base(const char *what, llm_config c, llm_precision precision) {
    llm_model m = build(c, llm_cpu(precision));
    llm_batch b = random_batch(c.V, 8);
    llm_real base[N], with[N], merged[N];
    llm_forward(&m, &b, base, NULL, NULL);
    llm_model_train(&m);                /* its gradients must go */
    llm_lora_attach(&m, 4, 8, "all", NULL, 2);
    CHECK(!m.grad && m.frozen, "%s: the frozen base holds gradients", what);
    for (int i = 0; i < m.params; i++) CHECK(!m.param[i].grad, "%s: %s has a gradient", what, m.param[i].name);
    llm_forward(&m, &b, with, NULL, NULL);
    CHECK(!memcmp(with, base, sizeof base), "%s: fresh adapters change the model", what);
    shake(m.ops, m.lora->param, m.lora->params, 0.2, 9);
    llm_forward(&m, &b, with, NULL, NULL);
    CHECK(!(relative_error(with, base, N) <= 1e-2), "%s: the adapters do nothing", what);
    m.lora_off = true;
    llm_forward(&m, &b, merged, NULL, NULL);
    CHECK(!memcmp(merged, base, sizeof base), "%s: switched off is not the base", what);
    m.lora_off = false;
    llm_lora_merge(&m);
    CHECK(!m.lora, "%s: merged, and still there", what);
    llm_forward(&m, &b, merged, NULL, NULL);
    /* bf16 rounds B A together with W once it is merged: the bound is bf16's, not ours */
    CHECK_SMALL(relative_error(merged, with, N),
                precision == LLM_BF16 ? 5e-2
                : IS_DOUBLE           ? 1e-10
                                      : 1e-4,
                "%s: merged", what);
    llm_batch_free(&b);
    llm_model_free(&m);
}
/* Steps of AdamW: the adapters move, the base does not, and its moments need only the room of the adapters. */
static void check_steps(const char *what, llm_config c) {
    double loss[2][4];
    for (int fake = 0; fake < 2; fake++) {
        llm_model m = build(c, fake ? fake_device(LLM_FP32) : llm_cpu(LLM_FP32));
        llm_lora_attach(&m, 3, 5, "all", NULL, 1);
        llm_model_train(&m);
        llm_adamw o = llm_adamw_defaults();
        llm_batch b = random_batch(c.V, 10);
        llm_real dlogp[N], logp[N], *before = llm_alloc(m.size, sizeof *before),
                                    *after = llm_alloc(m.size, sizeof *after);
        m.ops->download(before, m.data, m.size * sizeof *before);
        for (int step = 0; step < 4; step++) {
            llm_loss_ce_weights(dlogp, &b, N);
            llm_forward_backward(&m, &b, dlogp, logp);
            llm_adamw_step(&o, &m, 1e-2);
            loss[fake][step] = llm_loss_ce(logp, &b, N);
        }
        m.ops->download(after, m.data, m.size * sizeof *after);
        CHECK(!memcmp(before, after, m.size * sizeof *after), "%s: the frozen base moves", what);
        llm_release(before);
        llm_release(after);
        llm_adamw_free(&o, &m);
        llm_batch_free(&b);
        llm_model_free(&m);
    }
    CHECK(loss[0][3] < loss[0][0] - 0.1, "%s: four steps do not lower the loss (%g to %g)", what, loss[0][0],
          loss[0][3]);
    CHECK(!memcmp(loss[0], loss[1], sizeof loss[0]), "%s: the fake device's losses differ", what);
}
static void check_decode(const char *what, llm_config c) {
    llm_model m = adapted(c, llm_cpu(LLM_FP32), "all");
    llm_batch b = random_batch(c.V, 11);
    size_t V = (size_t)c.V;
    llm_real *full = llm_alloc(N * V, sizeof *full), *one = llm_alloc(T * V, sizeof *one);
    all_logits(&m, &b, full);
    llm_cache cache = llm_cache_new(&m, 1, T);
    for (int t = 0; t < T; t++)
        llm_cache_step(&m, &cache, b.tokens + t, (int[]){0}, (int[]){t}, (bool[]){true}, 1, one + (size_t)t * V);
    CHECK_SMALL(relative_error(one, full, T * V), IS_DOUBLE ? 1e-12 : 2e-5, "%s: decoding with adapters", what);
    llm_cache_free(&cache, &m);
    llm_release(full);
    llm_release(one);
    llm_batch_free(&b);
    llm_model_free(&m);
}

/* ---- files ---- */

/* Where adapters begin, where they hang, and that they go without a trace. */
static void check_made(void) {
    llm_config c = tiny_llama(false, 2, false);
    llm_model m = build(c, llm_cpu(LLM_FP32)), other = build(c, llm_cpu(LLM_FP32));
    CHECK_DIES(llm_lora_attach(&m, 3, 6, "proj", NULL, 1), "the model does not have all of these modules");
    llm_lora_attach(&m, 3, 6, "all", NULL, 1);
    llm_lora_attach(&other, 3, 6, "all", NULL, 2);
    size_t numbers = 0;
    for (int i = 0; i < m.lora->params; i++) numbers += m.lora->param[i].size;
    CHECK(numbers == llm_lora_parameters(&c, 3, "all"), "%zu numbers learn, the planner says %zu", numbers,
          llm_lora_parameters(&c, 3, "all"));
    for (int i = 0; i < m.lora->adapters; i++) {
        const llm_param *A = m.lora->adapter[i].A;
        double most = 0, bound = 1 / sqrt((double)A->cols);
        for (size_t k = 0; k < A->size; k++) most = fmax(most, fabs((double)A->data[k]));
        CHECK(most <= bound && most > 0.8 * bound, "%s begins within %g, not %g", A->name, most, bound);
        CHECK(memcmp(A->data, other.lora->adapter[i].A->data, A->size * sizeof *A->data), "another seed, other numbers");
    }
    m.lora_off = true;
    llm_lora_free(&m);
    CHECK(!m.lora && !m.lora_off && m.frozen, "no adapters, none switched off");
    llm_model_free(&m);
    llm_model_free(&other);
}
static char folder[] = "/tmp/test_lora.XXXXXX";
static char *in_folder(const char *name) { return llm_format("%s/%s", folder, name); }

static void check_files(const char *what, llm_config c, const char *targets) {
    char *base = in_folder("base"), *dir = in_folder("adapter"), *out = in_folder("out");
    llm_model m = build(c, llm_cpu(LLM_FP32)), back;
    remove_tree(folder);
    llm_make_dirs(folder);
    llm_model_save(&m, base);
    llm_lora_attach(&m, 3, 5, targets, base, 1);
    shake(m.ops, m.lora->param, m.lora->params, 0.3, 12);
    hf_lora_save(&m, dir);
    hf_model_load(&back, dir, llm_cpu(LLM_FP32));     /* the base by its name, the adapters on it */
    CHECK(back.lora && back.lora->params == m.lora->params, "%s: not all adapters came back", what);
    CHECK(back.lora && back.lora->scale == m.lora->scale && !strcmp(back.lora->base, base), "%s: scale or base is lost",
          what);
    for (int i = 0; back.lora && i < back.lora->params; i++) {
        const llm_param *p = &m.lora->param[i], *q = &back.lora->param[i];
        CHECK(!strcmp(p->name, q->name) && !memcmp(p->data, q->data, p->size * sizeof *p->data),
              "%s: %s came back changed", what, p->name);
    }
    /* A checkpoint holds the adapters and their moments, not the base; it goes on to the same bits. */
    llm_batch b = random_batch(c.V, 13);
    llm_real dlogp[N], logp[2][N];
    llm_adamw o = llm_adamw_defaults(), p = llm_adamw_defaults();
    llm_model_train(&m);
    llm_loss_ce_weights(dlogp, &b, N);
    for (int step = 0; step < 3; step++) {
        if (step == 2) llm_checkpoint_save(out, step, &m, &o, NULL, NULL, 2);
        llm_forward_backward(&m, &b, dlogp, logp[0]);
        llm_adamw_step(&o, &m, 1e-2);
    }
    char *newest = llm_checkpoint_newest(out), *weights = llm_format("%s/model.safetensors", newest ? newest : "?");
    CHECK(newest && !llm_exists(weights), "%s: the checkpoint is missing, or holds the base", what);
    llm_model_free(&back);
    hf_model_load(&back, newest, llm_cpu(LLM_FP32));
    llm_model_train(&back);
    llm_json_free(llm_checkpoint_resume(newest, &back, &p, NULL));
    llm_forward_backward(&back, &b, dlogp, logp[1]);
    llm_adamw_step(&p, &back, 1e-2);
    CHECK(!memcmp(logp[0], logp[1], sizeof logp[0]), "%s: other losses after resuming", what);
    CHECK(!memcmp(back.lora->data, m.lora->data, m.lora->size * sizeof *m.lora->data),
          "%s: other adapters after resuming", what);
    char *mine[] = {base, dir, out, newest, weights};
    for (int i = 0; i < 5; i++) llm_release(mine[i]);
    llm_adamw_free(&o, &m);
    llm_adamw_free(&p, &back);
    llm_batch_free(&b);
    llm_model_free(&m);
    llm_model_free(&back);
}
/* adapter_config.json with one value changed must be refused. */
static void refuse_config(const llm_model *m, const char *key, const char *value, const char *expected) {
    char *path = in_folder("adapter/adapter_config.json"), *dir = in_folder("adapter"), *at;
    hf_lora_save(m, dir);
    char *text = llm_read_file(path, NULL), *quoted = llm_format("\"%s\":", key);
    llm_writer w = llm_write_begin(path);
    if ((at = strstr(text, quoted))) {
        char *end = strpbrk(at, ",\n");
        llm_write_text(&w, "%.*s%s %s%s", (int)(at - text), text, quoted, value, end);
    } else llm_write_text(&w, "{%s %s, %s", quoted, value, strchr(text, '"'));
    llm_write_done(&w);
    llm_model other = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32));
    CHECK_DIES(hf_lora_load(&other, dir), expected);
    llm_lora_free(&other);
    llm_model_free(&other);
    llm_release(text);
    llm_release(quoted);
    llm_release(path);
    llm_release(dir);
}
static void check_refusals(void) {
    llm_model m = build(tiny_llama(true, 2, false), llm_cpu(LLM_FP32)), other = build(tiny_gpt2(), llm_cpu(LLM_FP32)),
              copy;
    llm_batch b = random_batch(23, 1);
    llm_real dlogp[N] = {0};
    char *dir = in_folder("adapter"), *out = in_folder("out");
    CHECK_DIES(llm_lora_attach(&m, 0, 1, "all", NULL, 1), "rank 0");
    CHECK_DIES(llm_lora_attach(&m, 2, 1, "c_attn", NULL, 1), "'c_attn'");
    CHECK_DIES(llm_lora_attach(&m, 2, 1, "q_proj,x_proj", NULL, 1), "'q_proj,x_proj'");
    CHECK_DIES(llm_lora_attach(&m, 2, 1, "lm_head", NULL, 1), "'lm_head'");
    CHECK_DIES(llm_lora_attach(&m, 2, 1, "", NULL, 1), "''");
    CHECK_DIES(hf_lora_save(&m, dir), "without adapters");
    llm_lora_attach(&m, 2, 1, NULL, NULL, 1);
    CHECK(m.lora->adapters == 4, "by default q_proj and v_proj, not %d adapters", m.lora->adapters);
    CHECK_DIES(llm_lora_attach(&m, 2, 1, "all", NULL, 1), "one set of adapters");
    CHECK_DIES(llm_model_copy(&copy, &m, true), "cannot copy a model with adapters");
    CHECK_DIES(llm_model_add_score(&m, 1), "cannot add a head");
    CHECK_DIES(llm_result_save(out, &m, NULL), "a folder holds a whole model");
    CHECK_DIES(llm_model_save(&m, out), "a folder holds a whole model");
    CHECK_DIES(llm_backward(&m, &b, dlogp, NULL, NULL), "frozen model");
    llm_model_train(&m);
    m.lora_off = true;
    CHECK_DIES(llm_backward(&m, &b, dlogp, NULL, NULL), "without its adapters");
    m.lora_off = false;
    hf_lora_save(&m, dir);
    CHECK_DIES(hf_lora_load(&other, dir), "belong to this model");
    CHECK_DIES(hf_model_load(&copy, dir, llm_cpu(LLM_FP32)), "base_model_name_or_path");
    CHECK_DIES(llm_model_load(&copy, dir, llm_cpu(LLM_FP32)), "tools/hf.h");
    refuse_config(&m, "use_dora", "true", "use_dora");
    refuse_config(&m, "peft_type", "\"IA3\"", "IA3");
    refuse_config(&m, "bias", "\"all\"", "bias");
    refuse_config(&m, "r", "0", "impossible rank");
    refuse_config(&m, "r", "5", "not of rank 5");
    refuse_config(&m, "rank_pattern", "{\"q_proj\": 4}", "rank_pattern");
    refuse_config(&m, "modules_to_save", "[\"score\"]", "modules_to_save");
    llm_release(dir);
    llm_release(out);
    llm_batch_free(&b);
    llm_model_free(&m);
    llm_model_free(&other);
}

/* ---- PEFT's numbers ---- */

static llm_real *expected(const hf_safetensors *s, const char *name, size_t *n) {
    const hf_tensor_info *t = hf_safetensors_find(s, name);
    *n = t ? 1 : 0;
    for (int i = 0; t && i < t->dims; i++) *n *= t->shape[i];
    llm_real *x = llm_alloc(*n + 1, sizeof *x);
    if (t) hf_safetensors_read_real(s, t, x);
    return x;
}
static void compare(const char *name, const char *key, const llm_real *got, size_t count, const hf_safetensors *s,
                    double bound) {
    size_t n;
    llm_real *want = expected(s, key, &n);
    CHECK(n == count, "%s: %zu expected numbers of %s, %zu here", name, n, key, count);
    if (n == count) CHECK_SMALL(relative_error(got, want, n), bound, "%s: %s", name, key);
    llm_release(want);
}
static void check_peft(const char *name, llm_precision precision, double bound) {
    char dir[64], path[96], key[128];
    snprintf(dir, sizeof dir, "test/data/lora/%s", name);
    snprintf(path, sizeof path, "%s/expected.safetensors", dir);
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    llm_model m;
    hf_model_load(&m, dir, llm_cpu(precision));
    const hf_tensor_info *t = hf_safetensors_find(&s, "input_ids");
    llm_batch b = llm_batch_new((int)t->shape[0], (int)t->shape[1]);
    size_t n, places = (size_t)b.B * (size_t)b.T, count = places * (size_t)m.c.V;
    llm_real *ids = expected(&s, "input_ids", &n), *targets = expected(&s, "targets", &n),
             *loss = expected(&s, "loss", &n);
    for (size_t i = 0; i < places; i++) {
        b.tokens[i] = (int)ids[i];
        b.targets[i] = (int)targets[i];
        b.positions[i] = (int)(i % (size_t)b.T);
        b.weight[i] = 1;
    }
    llm_real *logits = llm_alloc(count, sizeof *logits), *dlogp = llm_alloc(places, sizeof *dlogp),
             *logp = llm_alloc(places, sizeof *logp);
    all_logits(&m, &b, logits);
    compare(name, "logits", logits, count, &s, bound);
    llm_lora_merge(&m);
    all_logits(&m, &b, logits);
    compare(name, "merged", logits, count, &s, bound);
    llm_model_free(&m);
    hf_model_load(&m, dir, llm_cpu(precision));
    llm_model_train(&m);
    llm_loss_ce_weights(dlogp, &b, (double)places);
    llm_forward_backward(&m, &b, dlogp, logp);
    CHECK_SMALL(fabs(llm_loss_ce(logp, &b, (double)places) / (double)loss[0] - 1), bound, "%s: loss", name);
    for (int i = 0; i < m.lora->params; i++) {
        snprintf(key, sizeof key, "grad.%s", m.lora->param[i].name);
        compare(name, key, m.lora->param[i].grad, m.lora->param[i].size, &s, bound);
    }
    llm_release(loss);
    loss = expected(&s, "adamw.losses", &n);
    llm_adamw o = llm_adamw_defaults();
    o.weight_decay = 0;
    for (int i = 0; i < m.lora->params; i++) m.lora->param[i].used = false;
    for (size_t step = 0; step < n; step++) {
        llm_forward_backward(&m, &b, dlogp, logp);
        CHECK_SMALL(fabs(llm_loss_ce(logp, &b, (double)places) / (double)loss[step] - 1), bound,
                    "%s: loss of AdamW step %zu", name, step);
        llm_adamw_step(&o, &m, 1e-2);
    }
    CHECK(n == 5, "%s: %zu expected losses", name, n);
    llm_real *mine[] = {ids, targets, loss, logits, dlogp, logp};
    for (int i = 0; i < 6; i++) llm_release(mine[i]);
    llm_adamw_free(&o, &m);
    llm_batch_free(&b);
    llm_model_free(&m);
    hf_safetensors_close(&s);
}

int main(void) {
    struct { const char *name; llm_config c; const char *targets;
    } all[] = {{"gpt2", tiny_gpt2(), "c_attn,mlp.c_proj"},
               {"llama, grouped", tiny_llama(true, 2, false), "q_proj,v_proj,down_proj"},
               {"llama, untied", tiny_llama(false, 1, false), "k_proj,o_proj,up_proj"},
               {"qwen2", tiny_llama(true, 4, true), "gate_proj,v_proj"},
               {"olmo2", tiny_olmo2(), "q_proj,down_proj"}};
    if (!mkdtemp(folder)) llm_die("check /tmp", "cannot make a folder in /tmp");
    for (int i = 0; i < 5; i++) {
        if (IS_DOUBLE) {
            check_gradients(all[i].name, all[i].c, "all", i % 2 ? LLM_KEEP_INPUTS : LLM_KEEP_ALL);
            check_gradients(all[i].name, all[i].c, all[i].targets, i % 2 ? LLM_KEEP_MOST : LLM_KEEP_INPUTS);
        }
        check_paths(all[i].name, all[i].c);
        check_base(all[i].name, all[i].c, LLM_FP32);
        if (!ONLY_FP32) {
            check_base(all[i].name, all[i].c, LLM_BF16X3);
            check_base(all[i].name, all[i].c, LLM_BF16);
        }
        check_steps(all[i].name, all[i].c);
        check_decode(all[i].name, all[i].c);
        check_files(all[i].name, all[i].c, i ? "all" : all[i].targets);
    }
    check_refusals();
    const char *fixture[] = {"gpt2", "llama", "llama-qv"};
    for (int i = 0; i < 3; i++) {
        check_peft(fixture[i], LLM_FP32, IS_DOUBLE ? 2e-6 : 1e-4);
        if (!ONLY_FP32) check_peft(fixture[i], LLM_BF16X3, 1e-3);
    }
    remove_tree(folder);
    checks_skip_precisions();
    check_made();
    return checks_done();
}
