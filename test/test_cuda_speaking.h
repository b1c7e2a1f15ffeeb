/* test_cuda_speaking.h: the cache's attention where its blocks meet, and speaking without the host. Read by
   test_cuda.c. */
#ifndef TEST_CUDA_SPEAKING_H
#define TEST_CUDA_SPEAKING_H

/* One block of 64 keys, its last key, one more, several; groups of 1, 2, 3, 5, 9 query heads; a token of each text at
   a time, a prompt at once, and rows that move. */
static void test_cuda_cache(void) {
    const size_t D[] = {32, 64, 80, 96, 128, 7};
    for (int i = 0; i < 6; i++) test_cache(1, i % 2 ? 17 : 33, 2, 1, D[i], i % 3 ? 33 : 1, false);
    test_cache(1, 63, 1, 1, 8, 63, false);
    test_cache(2, 64, 2, 2, 8, 32, false);
    test_cache(1, 65, 3, 1, 8, 65, false);
    test_cache(1, 129, 5, 1, 16, 129, false);
    test_cache(2, 100, 9, 1, 9, 200, false);
    test_cache(2, 150, 6, 2, 16, 50, true);
}

/* ---- speak: the ids that the host would choose from the same logits, and that llm_plain says ---- */

/* What the emulator counts: launches of kernels, products, fills and graphs. A GPU does not. */
extern long coc_launches __attribute__((weak));

enum { SAY_PROMPTS = 10, SAY_NEW = 20 };        /* more than a call of speak says; one prompt meets the context's end */
typedef struct {
    int id[SAY_PROMPTS][SAY_NEW], length[SAY_PROMPTS];
    bool stopped[SAY_PROMPTS];
    llm_real logp[SAY_PROMPTS * SAY_NEW];
} said;
typedef struct { const char *what; llm_sampler s; int stops; bool ban; } way_to_speak;

/* Weights large enough that words differ in what they are worth. V: one warp chooses, or two. */
static llm_model speaking_model(const llm_ops *ops, bool llama) {
    llm_config c = {.V = llama ? 301 : 97, .T = 40, .L = 2, .C = 24, .H = 4, .KV = llama ? 2 : 4, .D = 6, .F = 24,
                    .norm = LLM_LAYERNORM, .bias = true, .tied = true, .eps = 1e-5, .rope_theta = 10000, .bos = -1,
                    .eos = -1, .pad = -1};
    if (llama) c.family = LLM_LLAMA;
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
/* The first `prompts` of ten, at most `most` ids for each. */
static void say(llm_model *m, const way_to_speak *way, int prompts, int most, said *to) {
    static const int stop[] = {5, 60}, id[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                                               21, 22, 23, 24, 25};
    static const int *const prompt[SAY_PROMPTS] = {id, id + 7, id, id, id + 3, id, id + 9, id + 4, id + 4, id + 2};
    static const int length[SAY_PROMPTS] = {3, 1, 25, 25, 2, 3, 1, 2, 2, 4};
    uint8_t banned[301];
    for (int v = 0; v < 301; v++) banned[v] = v % 3 == 0;
    int *out[SAY_PROMPTS];
    memset(to, 0, sizeof *to);
    for (int i = 0; i < SAY_PROMPTS; i++) out[i] = to->id[i];
    llm_sampler s = way->s;
    s.seed = 100 + (uint64_t)strlen(way->what);
    if (s.repeat_penalty == 0) s.repeat_penalty = 1;
    llm_generate_batch(m, &s, (llm_request){.prompt = prompt, .length = length, .prompts = prompts, .max_new = most,
                                            .stop = stop, .stops = way->stops, .banned = way->ban ? banned : NULL,
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
    check(other == 0 && words > 0 && worst <= allowed, "speaking", detail);
}
static const way_to_speak ways[] = {
    {"all filters", {.temperature = 0.9, .top_k = 20, .top_p = 0.9, .min_p = 0.05}, 2, true},
    {"top-p 0.8", {.temperature = 1, .top_p = 0.8}, 1, false},
    {"greedy", {.temperature = 0, .top_p = 1}, 0, false},
    {"temperature 1, min-p -0", {.temperature = 1, .top_p = 1, .min_p = -0.0}, 2, false},
    {"temperature 0.7, banned words", {.temperature = 0.7, .top_p = 1}, 0, true},
    {"top-k 5", {.temperature = 1.3, .top_k = 5, .top_p = 1}, 2, false},
    {"top-p 0", {.temperature = 1, .top_p = 0}, 0, true},
    {"min-p 0.2", {.temperature = 1.5, .top_p = 1, .min_p = 0.2}, 0, false},
    {"a penalty: by the host", {.temperature = 0.9, .top_p = 1, .repeat_penalty = 1.2}, 2, false}};

/* fp32: what llm_plain says; the first ways in full length. bf16: what the host says from the same table's logits, of
   so few speakers that all products are few_rows'. */
static void test_speaking_alone(bool llama) {
    const bool fp32 = table->precision == LLM_FP32;
    llm_ops by_steps = *table;
    by_steps.speak = NULL;
    llm_model gpu = speaking_model(table, llama), other = speaking_model(fp32 ? &llm_plain : &by_steps, llama);
    said want, got, again;
    const int prompts = fp32 ? SAY_PROMPTS : 5;
    for (int i = 0; i < (llama || !fp32 ? 2 : (int)(sizeof ways / sizeof *ways)); i++) {
        const int most = i < 2 && fp32 != llama ? SAY_NEW : 5;
        say(&gpu, &ways[i], prompts, most, &got);
        say(&other, &ways[i], prompts, most, &want);
        same_said(&got, &want, ways[i].what, fp32 ? 1e-4 : 2e-5);
        if (i > 0) continue;
        say(&gpu, &ways[i], prompts, most, &again);
        check(!memcmp(&got, &again, sizeof got), ways[i].what, "spoken twice: not the same");
    }
    llm_model_free(&other);
    llm_model_free(&gpu);
}
/* Adapters, on a base in `weights` bits. */
static void test_speaking_adapters(llm_type weights) {
    llm_model m[2];
    said x[2];
    for (int i = 0; i < 2; i++) {
        m[i] = speaking_model(i ? table : &llm_plain, weights != LLM_TYPE_REAL);
        if (weights != LLM_TYPE_REAL) llm_quantise(&m[i], weights);
        say(&m[i], &ways[1], 4, 4, &x[i]);
    }
    same_said(&x[1], &x[0], weights == LLM_TYPE_REAL ? "fp32" : weights == LLM_TYPE_Q8 ? "q8" : "q4", 1e-4);
    for (int i = 0; i < 2; i++) {
        llm_lora_attach(&m[i], 3, 6, "all", NULL, 17);
        llm_real *w = llm_alloc(m[i].lora->size, sizeof *w);
        for (size_t k = 0; k < m[i].lora->size; k++) w[k] = (llm_real)(int)(k * k % 23) / 23 - (llm_real)0.5;
        m[i].ops->upload(m[i].lora->data, w, m[i].lora->size * sizeof *w);
        llm_release(w);
        say(&m[i], &ways[1], 4, 4, i ? &x[1] : &x[0]);
        llm_model_free(&m[i]);
    }
    same_said(&x[1], &x[0], "LoRA", 1e-4);
}
/* A token of position 6 makes the logits no numbers: long after the prompt, which the host looks at. All of them, by a
   NaN among the positions; or that of one word alone: positions make numbers 2 and 3 of hidden -0.5 before and 3.5 there,
   those of this word are 3e38 and -2e38, and infinity - infinity is NaN. */
static void test_speaking_nan(const llm_ops *ops, bool one) {
    llm_model m = speaking_model(ops, false);
    llm_real *x = llm_alloc(m.size, sizeof *x);
    ops->download(x, m.data, m.size * sizeof *x);
    llm_real *wpe = x + m.wpe->offset + 2, *word = x + m.wte->offset + 90 * (size_t)m.c.C + 2;
    if (one) {
        for (int i = 0; i < 2; i++) {
            for (int t = 0; t < m.c.T; t++) wpe[t * m.c.C + i] = t < 6 ? -1e4f : 1e4f;
            x[m.normf.w->offset + 2 + i] = (llm_real)(2 / sqrt((m.c.C - 2) / 2.));
            x[m.normf.bias->offset + 2 + i] = 1.5f;
            word[i] = i ? -2e38f : 3e38f;
        }
    } else wpe[6 * m.c.C] = (llm_real)NAN;
    ops->upload(m.data, x, m.size * sizeof *x);
    llm_release(x);
    llm_weights_changed(&m);
    said y;
    llm_on_death = caught;
    last_words[0] = 0;
    if (!setjmp(escape)) say(&m, &ways[3], 1, 9, &y);
    llm_on_death = NULL;
    check(strstr(last_words, "the model's logits are no numbers") && y.length[0] == 4, ops->name,
          one ? "a word of NaN was not refused, or not at once" : "NaN was not refused, or not at once");
    llm_model_free(&m);
}
/* Of a call's steps the first is launched twice (once to write it down), the others are a graph each; a fill comes
   before. Counted as what more words cost: one (that call has one step), or sixteen. */
static void test_speaking_replays(void) {
    if (!&coc_launches) return;
    llm_model m = speaking_model(table, false);
    long launches[4];
    for (int i = 0; i < 4; i++) {
        static const int most[] = {1, 17, 18, 33};      /* the first comes from the prompt, 16 from a call */
        const long before = coc_launches;
        int out[33], *to = out, length, prompt[] = {9, 8, 7}, n = 3;
        const int *from = prompt;
        const llm_sampler s = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};
        llm_generate_batch(&m, &s, (llm_request){.prompt = &from, .length = &n, .prompts = 1, .max_new = most[i],
                                                 .out = &to, .out_length = &length});
        check(length == most[i], "speaking", "another length");
        launches[i] = coc_launches - before;
    }
    const long one = launches[2] - launches[1] - 1, sixteen = launches[3] - launches[1] - 1;
    char detail[100];
    snprintf(detail, sizeof detail, "a step is %ld launches, sixteen are %ld", one, sixteen);
    check(one > 10 && sixteen == 2 * one + 15, "speaking", detail);
    llm_model_free(&m);
}
/* For sanitizers: several filters, a stop, a banned word; more steps than one. */
static void test_speaking_few(void) {
    if (!wanted("speak")) return;
    llm_model gpu = speaking_model(table, true), plain = speaking_model(&llm_plain, true);
    said got, want;
    say(&gpu, &ways[0], 2, 4, &got);
    say(&plain, &ways[0], 2, 4, &want);
    if (table->precision == LLM_FP32) same_said(&got, &want, "a few words", 1e-4);
    llm_model_free(&gpu);
    llm_model_free(&plain);
}
static void test_cuda_speaking(void) {
    test_cuda_cache();
    use(false);
    if (!wanted("speak") || !table->speak) return;
    test_speaking_alone(false);
    test_speaking_alone(true);
    if (table->precision != LLM_FP32) return;
    test_speaking_adapters(LLM_TYPE_REAL);
    test_speaking_adapters(LLM_TYPE_Q8);
    test_speaking_adapters(LLM_TYPE_Q4);
    for (int one = 0; one < 2; one++) {
        test_speaking_nan(&llm_plain, one);
        test_speaking_nan(table, one);
    }
    test_speaking_replays();
}

#endif
