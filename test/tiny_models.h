/* tiny_models.h: the two families as models of a few thousand parameters, and batches for them. Include after the
   implementation of llm.h. */
#ifndef TINY_MODELS_H
#define TINY_MODELS_H

static llm_config tiny_gpt2(void) {
    return (llm_config){.V = 23,
                        .T = 12,
                        .L = 2,
                        .C = 16,
                        .H = 4,
                        .KV = 4,
                        .D = 4,
                        .F = 24,
                        .norm = LLM_LAYERNORM,
                        .position = LLM_LEARNED,
                        .activation = LLM_GELU,
                        .bias = true,
                        .tied = true,
                        .eps = 1e-5,
                        .bos = -1,
                        .eos = -1,
                        .pad = -1};
}
static llm_config tiny_llama(bool tied, int KV, bool qkv_bias) {
    return (llm_config){.V = 29,
                        .T = 12,
                        .L = 2,
                        .C = 24,
                        .H = 4,
                        .KV = KV,
                        .D = 6,
                        .F = 20,
                        .family = qkv_bias ? LLM_QWEN2 : LLM_LLAMA,
                        .norm = LLM_RMSNORM,
                        .position = LLM_ROPE,
                        .activation = LLM_SWIGLU,
                        .qkv_bias = qkv_bias,
                        .tied = tied,
                        .eps = 1e-5,
                        .rope_theta = 100,
                        .bos = -1,
                        .eos = -1,
                        .pad = -1};
}
/* Llama with the parts that other families have: norms on each head's q and k; norms on all of them and behind the
   branches; layers without rope, biases everywhere, and yarn's longer q and k. */
static inline llm_config tiny_family(llm_family family) {
    llm_config c = tiny_llama(family == LLM_QWEN3, 2, false);
    c.family = family;
    if (family == LLM_QWEN3) c.qk_norm = LLM_QK_HEADS;
    if (family == LLM_OLMO2) c.qk_norm = LLM_QK_ALL, c.post_norm = true;
    if (family != LLM_SMOLLM3) return c;
    c.no_rope_every = 2;
    c.qkv_bias = c.proj_bias = c.mlp_bias = true;
    c.rope_scaling = LLM_ROPE_YARN, c.rope_factor = 4, c.rope_low = 1, c.rope_high = 32, c.rope_original = 3;
    c.rope_length = 1.2;
    return c;
}
/* A batch of random tokens; with documents, each row holds two of them. */
static llm_batch random_batch(int B, int T, int V, bool documents, uint64_t seed) {
    llm_batch b = llm_batch_new(B, T);
    llm_rng r = llm_rng_seed(seed, 0);
    for (int i = 0; i < B * T; i++) {
        int t = i % T, cut = documents ? T / 2 : 0, from = t >= cut ? cut : 0;
        b.tokens[i] = llm_rng_below(&r, V);
        b.targets[i] = llm_rng_below(&r, V);
        b.start[i] = from;
        b.positions[i] = t - from;
        b.weight[i] = 1;
    }
    return b;
}
/* Random vectors and matrices large enough that every path matters (biases start at 0, which hides mistakes). */
static void shake(llm_model *m, uint64_t seed) {
    for (int i = 0; i < m->params; i++) {
        llm_rng r = llm_rng_seed(seed, (uint64_t)i);
        const llm_param *p = &m->param[i];
        llm_real *x = llm_alloc(full_size(p), sizeof *x);
        for (size_t j = 0; j < full_size(p); j++)
            x[j] = (llm_real)(p->vector && p->init == 1 ? 1 + 0.2 * llm_rng_normal(&r) : 0.3 * llm_rng_normal(&r));
        param_upload(m->ops, p, p->data, x, 0, full_size(p), sizeof *x);
        llm_release(x);
    }
    llm_weights_changed(m);
}
static llm_model build(llm_config c, const llm_ops *op, uint64_t seed) {
    llm_model m;
    llm_model_init(&m, &c, op, seed);
    shake(&m, seed);
    return m;
}

#endif
