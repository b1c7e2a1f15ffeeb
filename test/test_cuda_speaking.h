/* test_cuda_speaking.h: the cache's attention where its blocks meet, and speaking without the host. Read by
   test_cuda.c. */
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

/* ---- speak: the ids that the host would choose from the same logits, and that llm_plain says ---- */

enum { SAY_PROMPTS = 5, SAY_NEW = 20 };         /* more than a call of speak says; one prompt meets the context's end */
typedef struct {
    int id[SAY_PROMPTS][SAY_NEW], length[SAY_PROMPTS];
    bool stopped[SAY_PROMPTS];
    llm_real logp[SAY_PROMPTS * SAY_NEW];
} said;

/* Weights large enough that words differ in what they are worth. V: one warp chooses, or two. */
static llm_model speaking_model(const llm_ops *ops, bool llama) {
    llm_config c = {.V = llama ? 1100 : 97, .T = 40, .L = 2, .C = 24, .H = 4, .KV = llama ? 2 : 4, .D = 6, .F = 40,
                    .norm = LLM_LAYERNORM, .bias = true, .tied = true, .eps = 1e-5, .rope_theta = 10000, .bos = -1,
                    .eos = -1, .pad = -1};
    if (llama) c.norm = LLM_RMSNORM, c.position = LLM_ROPE, c.activation = LLM_SWIGLU, c.bias = c.tied = false;
    llm_model m = {0};
    llm_model_init(&m, &c, ops, 11);
    llm_real *x = llm_alloc(m.size, sizeof *x);
    ops->download(x, m.data, m.size * sizeof *x);
    for (int i = 0; i < m.params; i++)
        for (size_t k = 0; k < m.param[i].size && !m.param[i].vector; k++) x[m.param[i].offset + k] *= 7;
    ops->upload(m.data, x, m.size * sizeof *x);
    llm_release(x);
    llm_weights_changed(&m);
    return m;
}
static void say(llm_model *m, llm_sampler s, int stops, const uint8_t *banned, said *to) {
    static const int stop[] = {5, 60}, id[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                                               21, 22, 23, 24, 25};
    static const int *const prompt[SAY_PROMPTS] = {id, id + 7, id, id, id + 3};
    static const int length[SAY_PROMPTS] = {3, 1, 25, 25, 2};
    int *out[SAY_PROMPTS];
    memset(to, 0, sizeof *to);
    for (int i = 0; i < SAY_PROMPTS; i++) out[i] = to->id[i];
    llm_generate_batch(m, &s, (llm_request){.prompt = prompt, .length = length, .prompts = SAY_PROMPTS,
                                            .max_new = SAY_NEW, .stop = stop, .stops = stops, .banned = banned,
                                            .out = out, .out_length = to->length, .stopped = to->stopped,
                                            .logp = to->logp});
}
static void same_said(const said *x, const said *y, const char *what, double allowed) {
    int other = 0, words = 0;
    double worst = 0;
    for (int i = 0; i < SAY_PROMPTS; i++) {
        other += x->length[i] != y->length[i] || x->stopped[i] != y->stopped[i];
        for (int t = 0; t < SAY_NEW; t++) other += x->id[i][t] != y->id[i][t];
        words += x->length[i];
    }
    for (int t = 0; t < SAY_PROMPTS * SAY_NEW; t++) {
        const double error = fabs((double)x->logp[t] - (double)y->logp[t]);
        if (!(error <= worst)) worst = error;
    }
    char detail[200];
    snprintf(detail, sizeof detail, "%s, %s: %d of %d ids differ, logp by %.3g, allowed %.3g",
             llm_precision_name(table->precision), what, other, words, worst, allowed);
    check(other == 0 && worst <= allowed, "speaking", detail);
}
static void test_speaking_alone(bool llama) {
    static const struct { const char *what; llm_sampler s; int stops; bool ban; } way[] = {
        {"all filters", {.temperature = 0.9, .top_k = 20, .top_p = 0.9, .min_p = 0.05}, 2, true},
        {"top-p 0.8", {.temperature = 1, .top_p = 0.8}, 1, false},
        {"greedy", {.temperature = 0, .top_p = 1}, 0, false},
        {"temperature 1", {.temperature = 1, .top_p = 1}, 2, false},
        {"temperature 0.7, banned words", {.temperature = 0.7, .top_p = 1}, 0, true},
        {"top-k 5", {.temperature = 1.3, .top_k = 5, .top_p = 1}, 2, false},
        {"top-p 0", {.temperature = 1, .top_p = 0}, 0, true},
        {"min-p 0.2", {.temperature = 1.5, .top_p = 1, .min_p = 0.2}, 0, false},
        {"a penalty: by the host", {.temperature = 0.9, .top_p = 1, .repeat_penalty = 1.2}, 2, false}};
    uint8_t banned[1100];
    for (int v = 0; v < 1100; v++) banned[v] = v % 3 == 0;
    llm_model plain = speaking_model(&llm_plain, llama), gpu = speaking_model(table, llama);
    llm_ops by_steps = *table;
    by_steps.speak = NULL;
    said want, got, again;
    const bool fp32 = table->precision == LLM_FP32;
    for (size_t i = 0; i < (llama ? 2 : fp32 ? sizeof way / sizeof *way : 4); i++) {
        llm_sampler s = way[i].s;
        s.seed = 100 + i;
        if (s.repeat_penalty == 0) s.repeat_penalty = 1;
        const uint8_t *ban = way[i].ban ? banned : NULL;
        gpu.ops = table;
        say(&gpu, s, way[i].stops, ban, &got);
        if (i < 2) say(&gpu, s, way[i].stops, ban, &again);
        if (i < 2) check(!memcmp(&got, &again, sizeof got), way[i].what, "spoken twice: not the same");
        gpu.ops = &by_steps;
        if (!fp32 || i < 2) say(&gpu, s, way[i].stops, ban, &want);
        if (!fp32 || i < 2) same_said(&got, &want, way[i].what, 2e-5);
        if (!fp32) continue;
        say(&plain, s, way[i].stops, ban, &want);
        same_said(&got, &want, way[i].what, 1e-4);
    }
    gpu.ops = table;
    llm_model_free(&plain);
    llm_model_free(&gpu);
}
static void test_cuda_speaking(void) {
    test_cuda_cache();
    use(false);
    if (!wanted("speak") || !table->speak) return;
    test_speaking_alone(false);
    test_speaking_alone(true);
}

#endif
