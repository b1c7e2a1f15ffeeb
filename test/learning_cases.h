/* learning_cases.h: grad_norm and adamw of a table against formulas in double. Read by test_ops.c and test_cuda.c, after
   op_cases.h. */
#ifndef LEARNING_CASES_H
#define LEARNING_CASES_H

/* A table of tensors as a model has it: matrices and vectors side by side at multiples of 16, one frozen, one that no
   pass wrote to. n: the size of the first and of the last. */
enum { TENSORS = 12 };
typedef struct {
    llm_param param[TENSORS];
    size_t size;
    llm_real *w, *g;                    /* the arenas: the host's */
    void *device_w, *device_g, *device_m, *device_v, *device_copy;
    llm_adamw_state *device_state, state;
} learner_test;

static learner_test learner_new(size_t n, bool copies) {
    const size_t size[TENSORS] = {n, 33, 7, 50, 20, 9, 1, 64, 15, 16, 8, n};
    learner_test l = {0};
    for (int i = 0; i < TENSORS; i++) {
        l.size = (l.size + 15) / 16 * 16;
        l.param[i] = (llm_param){.offset = l.size, .size = size[i], .rows = 1, .cols = (int)size[i], .used = i != 4,
                                 .vector = i == 1 || i == 2};
        l.size += size[i];
    }
    l.w = llm_alloc(l.size, sizeof *l.w), l.g = llm_alloc(l.size, sizeof *l.g);
    void **device[] = {&l.device_w, &l.device_g, &l.device_m, &l.device_v, &l.device_copy};
    for (int i = 0; i < 5; i++) *device[i] = device_new(l.size * sizeof(llm_real));
    l.device_state = device_new(sizeof l.state);
    for (int i = 0; i < TENSORS; i++) {
        llm_param *p = &l.param[i];
        p->data = (llm_real *)l.device_w + p->offset;
        p->grad = i == 3 ? NULL : (llm_real *)l.device_g + p->offset;
        p->w = (llm_weight){p->data, LLM_TYPE_REAL, NULL, p->data};
        if (copies) p->w = (llm_weight){(uint16_t *)l.device_copy + p->offset, LLM_TYPE_BF16, NULL, p->data};
    }
    return l;
}
static void learner_free(learner_test *l) {
    void *all[] = {l->device_w, l->device_g, l->device_m, l->device_v, l->device_copy, l->device_state};
    for (int i = 0; i < 6; i++) table->release(all[i]);
    llm_release(l->w);
    llm_release(l->g);
}
static bool learns(const llm_param *p) { return p->used && p->grad; }
static void draw(llm_real *x, const learner_test *l, double size) {
    for (int i = 0; i < TENSORS; i++)
        for (size_t k = l->param[i].offset; k < l->param[i].offset + l->param[i].size; k++)
            x[k] = (llm_real)(size * llm_rng_normal(&rng));
}
/* One step with the gradients l->g. */
static void learner_step(learner_test *l, llm_adamw_rule rule) {
    table->upload(l->device_g, l->g, l->size * sizeof *l->g);
    table->grad_norm(l->device_state, l->param, TENSORS);
    table->adamw(l->param, TENSORS, l->device_m, l->device_v, rule, l->device_state);
    table->download(&l->state, l->device_state, sizeof l->state);
}
static double squares(const learner_test *l) {
    double sum = 0;
    for (int i = 0; i < TENSORS; i++)
        for (size_t k = l->param[i].offset; k < l->param[i].offset + l->param[i].size && learns(&l->param[i]); k++)
            sum += (double)l->g[k] * (double)l->g[k];
    return sum;
}
static void test_grad_norm(size_t n) {
    learner_test l = learner_new(n, false);
    draw(l.g, &l, 1);
    table->upload(l.device_g, l.g, l.size * sizeof *l.g);
    const double sum = squares(&l);
    double first = 0;
    int threads = llm_threads(0);
    for (int k = 1; k <= most_threads; k *= 2) {
        llm_threads(k);
        table->grad_norm(l.device_state, l.param, TENSORS);
        table->download(&l.state, l.device_state, sizeof l.state);
        const double s = l.state.sumsq;
        if (k == 1) first = s;
        char detail[100];
        snprintf(detail, sizeof detail, "n=%zu threads=%d: %.17g, plainly %.17g", n, k, s, sum);
        check(fabs(s - sum) <= (exact ? 1e-12 : 1e-6) * sum && s == first, "grad_norm", detail);
    }
    llm_threads(threads);
    learner_free(&l);
}
/* AdamW's equations, in double. */
static void adamw_formula(double *W, double *M, double *V, const learner_test *l, llm_adamw_rule r, int step) {
    const double norm = sqrt(squares(l)), scale = r.clip > 0 && norm > r.clip ? r.clip / norm : 1;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = l->param[t].offset; i < l->param[t].offset + l->param[t].size && learns(&l->param[t]); i++) {
            const double d = scale * (double)l->g[i];
            M[i] = r.beta1 * M[i] + (1 - r.beta1) * d;
            V[i] = r.beta2 * V[i] + (1 - r.beta2) * d * d;
            const double mhat = M[i] / (1 - pow(r.beta1, step)), vhat = V[i] / (1 - pow(r.beta2, step));
            W[i] -= r.lr * (mhat / (sqrt(vhat) + r.eps) + (l->param[t].vector ? 0 : r.weight_decay) * W[i]);
        }
}
/* What ten steps left behind. With moments in bf16, their mean over many equal parameters must follow the formula. */
static void compare_learner(learner_test *l, const double *W, const double *V, bool moments16,
                            int threads) {
    llm_real *w = llm_alloc(l->size, sizeof *w), *v = llm_alloc(l->size, sizeof *v);
    uint16_t *copy = llm_alloc(l->size, sizeof *copy), *v16 = llm_alloc(l->size, sizeof *v16);
    table->download(w, l->device_w, l->size * sizeof *w);
    table->download(v, l->device_v, l->size * sizeof *v);
    table->download(v16, l->device_v, l->size * sizeof *v16);
    table->download(copy, l->device_copy, l->size * sizeof *copy);
    double worst = 0, largest = 0, copied = 0, sum = 0, mean = 0, still = 0;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = l->param[t].offset; i < l->param[t].offset + l->param[t].size; i++) {
            if (!learns(&l->param[t])) still += w[i] != l->w[i] || (moments16 ? v16[i] : v[i]) != 0;
            else copied += copy[i] != real_to_bf16(w[i]);
            const double error = fabs((double)w[i] - W[i]);
            if (!(error <= worst)) worst = error;
            largest = fmax(largest, fabs(W[i]));
            sum += V[i] / (double)l->size;
            mean += (moments16 ? (double)bf16_to_real(v16[i]) : (double)v[i]) / (double)l->size;
        }
    char detail[160];
    snprintf(detail, sizeof detail,
             "size=%zu moments16=%d threads=%d: error %.3g of w up to %.3g, mean v %.6g, plainly %.6g", l->size,
             moments16, threads, worst, largest, mean, sum);
    check(worst <= (moments16 ? 3e-3 : exact ? 1e-13 : 1e-6) * largest, "adamw", detail);
    check(fabs(mean - sum) <= (moments16 ? 1e-3 : 1e-6) * sum, "adamw, second moment", detail);
    check(copied == 0, "adamw, bf16 copy", detail);
    check(still == 0, "adamw, a frozen or unused tensor moved", detail);
    void *all[] = {w, v, copy, v16};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
}
/* Ten steps, clipped from the norm that the gradients have to a third of it. */
static void test_adamw(size_t n, bool moments16) {
    const int before = llm_threads(0);
    llm_rng begin = rng;
    uint64_t first = 0;
    for (int threads = 1; threads <= most_threads; threads *= 2) {
        rng = begin;
        llm_threads(threads);
        learner_test l = learner_new(n, true);
        double *W = llm_alloc(l.size, sizeof *W), *M = llm_alloc(l.size, sizeof *M), *V = llm_alloc(l.size, sizeof *V);
        llm_adamw_rule rule = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1,
                               .clip = moments16 ? 0 : sqrt((double)l.size) / 3, .moments16 = moments16};
        draw(l.w, &l, 1);
        for (size_t i = 0; i < l.size && moments16; i++) l.w[i] = 1;
        for (size_t i = 0; i < l.size; i++) W[i] = (double)l.w[i];
        table->upload(l.device_w, l.w, l.size * sizeof *l.w);
        for (int step = 1; step <= 10; step++) {
            draw(l.g, &l, 1);
            for (int t = 0; t < TENSORS && moments16; t++)
                for (size_t i = 0; i < l.param[t].size; i++)
                    l.g[l.param[t].offset + i] = (llm_real)(0.15 + 0.005 * step);
            learner_step(&l, rule);
            adamw_formula(W, M, V, &l, rule, step);
        }
        const double norm = sqrt(squares(&l));
        const double scale = rule.clip > 0 ? rule.clip / norm : 1, allowed = exact ? 1e-12 : 1e-6;
        check(l.state.step == 10 && !l.state.skipped && fabs(l.state.norm - norm) <= allowed * norm &&
                  fabs(l.state.scale - scale) <= allowed, "adamw", "wrong norm, clipping or count of steps");
        compare_learner(&l, W, V, moments16, threads);
        void *moved[] = {l.device_w, l.device_m, l.device_v};
        uint64_t h = 0;
        for (int i = 0; i < 3; i++) h = hash_tensor(&(tensor){.n = l.size, .form = REAL, .device = moved[i]}, h);
        if (threads == 1) first = h;
        check(h == first, "adamw", "other bits with more threads");
        void *all[] = {W, M, V};
        for (int i = 0; i < 3; i++) llm_release(all[i]);
        learner_free(&l);
    }
    llm_threads(before);
}
/* bf16 moments are rounded by chance: m = v = 0.1 is 0.8 of the way to the next bf16. Where m goes up v need not, and
   another step throws again: of 2 x 0.8 x 0.2 of the places the two differ. */
static void test_chances(void) {
    learner_test l = learner_new(1000, false);
    llm_adamw_rule rule = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.9, .eps = 1e-8, .moments16 = true};
    uint16_t *half[4];                  /* m and v of step 1, and of step 2 that begins with nothing once more */
    for (int k = 0; k < 4; k++) half[k] = llm_alloc(l.size, sizeof **half);
    for (size_t i = 0; i < l.size; i++) l.g[i] = 1;
    for (int step = 0; step < 2; step++) {
        void *moments[] = {l.device_m, l.device_v};
        for (int k = 0; k < 2; k++) table->upload(moments[k], half[3], l.size * sizeof **half);
        learner_step(&l, rule);
        for (int k = 0; k < 2; k++) table->download(half[2 * step + k], moments[k], l.size * sizeof **half);
    }
    double n = 0, up = 0, apart = 0, anew = 0;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = l.param[t].offset; i < l.param[t].offset + l.param[t].size && learns(&l.param[t]); i++) {
            n++;
            up += half[0][i] == 0x3DCD;
            apart += half[0][i] != half[1][i];
            anew += half[0][i] != half[2][i];
        }
    char detail[100];
    snprintf(detail, sizeof detail, "of %g: %g up, %g unlike v, %g unlike the step before", n, up, apart, anew);
    check(fabs(up / n - 0.8) < 0.04, "bf16 moments by chance", detail);
    check(fabs(apart / n - 0.32) < 0.05 && fabs(anew / n - 0.32) < 0.05, "bf16 moments, one chance", detail);
    for (int k = 0; k < 4; k++) llm_release(half[k]);
    learner_free(&l);
}
/* What must not move a weight: a gradient that is no number, and one far beyond all before it. */
static void test_skips(void) {
    learner_test l = learner_new(100, false);
    llm_adamw_rule rule = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .skip_sigma = 6};
    tensor w = {.n = l.size, .form = REAL, .device = l.device_w}, m = w, v = w;
    m.device = l.device_m, v.device = l.device_v;
    for (int step = 1; step <= 40; step++) {
        draw(l.g, &l, 1);
        learner_step(&l, rule);
    }
    check(l.state.step == 40 && l.state.skipped == 0, "adamw", "40 equal steps were not taken");
    const uint64_t still = hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0)));
    const double mean = l.state.norm_mean;
    l.g[3] = NAN;
    learner_step(&l, rule);
    check(l.state.skip && l.state.step == 40 && l.state.skipped == 0 && l.state.norm_mean == mean, "adamw", "NaN");
    check(hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0))) == still, "adamw", "NaN moved something");
    draw(l.g, &l, 100);
    learner_step(&l, rule);
    check(l.state.skip && l.state.step == 40 && l.state.skipped == 1, "adamw", "an outlier was not left out");
    check(l.state.norm_mean > mean && l.state.norm_mean < 2 * mean, "adamw", "an outlier entered the mean uncut");
    check(hash_tensor(&v, hash_tensor(&m, hash_tensor(&w, 0))) == still, "adamw", "an outlier moved something");
    draw(l.g, &l, 1);
    learner_step(&l, rule);
    check(!l.state.skip && l.state.step == 41, "adamw", "the step after an outlier was not taken");
    check(hash_tensor(&w, 0) != still, "adamw", "and moved nothing");
    learner_free(&l);
}

#endif
