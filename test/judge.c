/* judge.c: is a student's row of the table, or loss, right?  (make judge OP=rmsnorm_backward)

   The exercise is compiled in after llm.h and takes the place of llm_plain's row, or of llm.h's loss; everything else
   stays llm.h's. In double it must then give the numbers of llm.h's own at several shapes, odd ones among them, and its
   gradients must agree with finite differences. Whatever it is to write holds other numbers before, so that "not
   written" and "added instead of written" show. The first wrong number is named with its place, and the ratio to the
   right one says what may have been forgotten. When all is right a tiny model trains with it.

   Compiled with -DOP_NAME="rmsnorm_backward" -DMINE=my_rmsnorm_backward -DMEMBER=ops.rmsnorm_backward
   -DEXERCISE="file". Without EXERCISE it has no main: test_judge.c judges many at once. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "judge_train.h"
#include "grad_check.h"

static pupil mine;                      /* the book with the student's function in its place */

typedef struct {
    const char *op;
    size_t at; /* in pupil */
    void (*cases)(void);
    const stage *train;                 /* a stage that it has a part in, or NULL */
} exercise;

/* ---- what was found ---- */

static char complaint[4000];    /* empty: nothing wrong so far */
static double worst_difference; /* finite differences, of what was right */
static int shapes;
static const op_case *case_now; /* should it crash */
static int frozen_now = -1;     /* the gradient that is NULL in it, or -1 */

LLM_PRINTF(1, 2) static void complain(const char *format, ...) {
    const size_t used = strlen(complaint);
    va_list a;
    va_start(a, format);
    vsnprintf(complaint + used, sizeof complaint - used, format, a);
    va_end(a);
}
static void check(bool ok, const char *what, const char *detail) {
    if (!ok && !complaint[0]) complain("  %s: %s\n", what, detail);
}

/* One result beside the right one. before: what stood there; added: the right answer is added to it. */
typedef struct {
    const op_case *c;
    const char *gradient; /* "d", or "" */
    const tensor *t;
    const llm_real *got, *right, *before;
    bool added, accumulate, is_gradient;
    double differences; /* what finite differences say of the first wrong one; NaN: nothing */
} finding;

static double near(const finding *f) {
    double largest = 0;
    for (size_t i = 0; i < f->t->n; i++)
        largest = fmax(largest, fabs((double)f->right[i]));
    return 1e-10 * (largest > 0 ? largest : 1);
}
static bool equal(double a, double b, double allowed) { return fabs(a - b) <= allowed; }
static double gain(const finding *f, size_t i) { /* without what stood there before */
    return (double)f->got[i] - (f->added ? (double)f->before[i] : 0);
}
static double truth(const finding *f, size_t i) { return (double)f->right[i] - (f->added ? (double)f->before[i] : 0); }

/* ---- a tensor's shape, read from its name: "dw (O,I)" ---- */

static size_t symbol(const op_case *c, const char *s, size_t length) {
    const struct { const char *name; size_t value; } size[] = {
        {"N", c->N ? c->N : c->B * c->T}, {"B", c->B}, {"T", c->T}, {"C", c->C}, {"I", c->C}, {"F", c->C},
        {"O", c->slice.cols ? c->slice.cols : c->O}, {"V", c->V}, {"H", c->H}, {"KV", c->KV}, {"D", c->D}, {"r", c->r},
        {"n", c->rows}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (strlen(size[i].name) == length && !memcmp(size[i].name, s, length)) return size[i].value;
    return 0;
}
/* The sizes of t into size[], their names into label[]; the last is what is left of n. Returns how many. */
static int shape(const op_case *c, const tensor *t, size_t size[3], char label[3][24]) {
    const char *s = strchr(t->name, '(');
    size_t left = t->n, length, k = 0;
    for (s = s ? s + 1 : ""; k < 3; s += length + 1) {
        int depth = 0;
        for (length = 0; s[length] && (depth || (s[length] != ',' && s[length] != ')')); length++)
            depth += s[length] == '(' ? 1 : s[length] == ')' ? -1 : 0;
        const bool last = s[length] != ',' || k == 2;
        snprintf(label[k], sizeof label[k], "%.*s", (int)length, s);
        size[k] = last ? left : symbol(c, s, length);
        if (!size[k] || left % size[k]) size[k] = left;
        left /= size[k++];
        if (last) break;
    }
    return (int)k;
}
/* "dw[3,1] of (O=5, I=7)" */
static void place(char *text, size_t room, const finding *f, size_t i) {
    size_t size[3], at[3];
    char label[3][24];
    const int dims = shape(f->c, f->t, size, label);
    for (int k = dims - 1; k >= 0; k--)
        at[k] = i % size[k], i /= size[k];
    size_t used = (size_t)snprintf(text, room, "%s%.*s[", f->gradient, (int)strcspn(f->t->name, " "), f->t->name);
    for (int k = 0; k < dims; k++)
        used += (size_t)snprintf(text + used, room - used, "%s%zu", k ? "," : "", at[k]);
    used += (size_t)snprintf(text + used, room - used, "] of (");
    for (int k = 0; k < dims; k++)
        used += (size_t)snprintf(text + used, room - used, "%s%s=%zu", k ? ", " : "", label[k], size[k]);
    snprintf(text + used, room - used, ")");
}

/* ---- hints: is there one simple mistake that explains every number? ---- */

static bool wrong(const finding *f, size_t i) { return !(fabs((double)f->got[i] - (double)f->right[i]) <= near(f)); }
/* The one factor between got and right, of all that are wrong; 0: there is none. */
static double common_factor(const finding *f) {
    size_t top = f->t->n;
    for (size_t i = 0; i < f->t->n; i++)
        if (wrong(f, i) && (top == f->t->n || fabs(truth(f, i)) > fabs(truth(f, top)))) top = i;
    const double factor = gain(f, top) / truth(f, top);
    if (!isfinite(factor)) return 0;
    for (size_t i = 0; i < f->t->n; i++)
        if (wrong(f, i) && !equal(gain(f, i), factor * truth(f, i), 1e3 * near(f) * fmax(1, fabs(factor)))) return 0;
    return factor;
}
static bool transposed(const finding *f) {
    size_t size[3];
    char label[3][24];
    if (shape(f->c, f->t, size, label) != 2 || size[0] < 2 || size[1] < 2) return false;
    for (size_t i = 0; i < size[0]; i++)
        for (size_t k = 0; k < size[1]; k++)
            if (!equal(gain(f, k * size[0] + i), truth(f, i * size[1] + k), near(f))) return false;
    return true;
}
typedef enum { UNTOUCHED, ADDED_TO, LOST, ZERO, NO_NUMBER, FIRST_ROW, NONE_OF_THESE } pattern;
static bool fits(const finding *f, pattern p) {
    size_t size[3];
    char label[3][24];
    shape(f->c, f->t, size, label);
    for (size_t i = 0; i < f->t->n; i++) {
        const double got = (double)f->got[i], before = (double)f->before[i], right = (double)f->right[i];
        if (p == UNTOUCHED && got != before) return false;
        if (p == ADDED_TO && (f->added || !equal(got, before + right, 1e-9))) return false;
        if (p == LOST && (!f->added || !equal(got, right - before, 1e-9))) return false;
        if (p == ZERO && (got != 0 || f->added)) return false;
        if (p == NO_NUMBER && isfinite(got)) return false;
        if (p == FIRST_ROW && (i < f->t->n / size[0]) != equal(got, right, near(f))) return false;
    }
    return p != NONE_OF_THESE && (p != FIRST_ROW || size[0] > 1);
}
/* The size of this case that a factor is, in words. */
static const char *factor_name(const op_case *c, double factor) {
    static char text[160];
    const struct { const char *name; double value; } size[] = {
        {"N", (double)symbol(c, "N", 1)}, {"C", (double)c->C}, {"T", (double)c->T}, {"B", (double)c->B},
        {"H", (double)c->H}, {"KV", (double)c->KV}, {"D", (double)c->D}, {"V", (double)c->V}, {"r", (double)c->r},
        {"O", (double)c->O}, {"H/KV", c->KV ? (double)(c->H / c->KV) : 0}, {"sqrt(D)", sqrt((double)c->D)},
        {"sqrt(C)", sqrt((double)c->C)}, {"temperature", c->temperature},
        {strncmp(c->name, "llm_", 4) ? "scale" : "the denominator", c->scale}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const char *name = size[i].name;
        const double value = size[i].value;
        if (value == 0 || value == 1) continue;
        if (equal(fabs(factor), value, 1e-7 * value))
            snprintf(text, sizeof text, "%s times too large: is a division by %s missing, or a factor %s too much?",
                     name, name, name);
        else if (equal(fabs(factor), 1 / value, 1e-7 / value))
            snprintf(text, sizeof text, "%s times too small: is a factor %s missing, or a division by %s too much?",
                     name, name, name);
        else continue;
        return text;
    }
    return NULL;
}
static const char *hint(const finding *f) {
    static char text[240];
    const double factor = common_factor(f);
    if (fits(f, UNTOUCHED)) return "not written: what stood there before still stands there.";
    if (fits(f, ADDED_TO))
        return f->is_gradient && strstr(f->t->name, "qkv") == NULL
                   ? "added to what stood there, but here it must be written: = where accumulate is false, += where it "
                     "is true."
                   : "added to what stood there, but it must be written (=, or set to 0 first).";
    if (fits(f, LOST)) return "not added: what stood there is gone. Where accumulate is true it must be +=.";
    if (fits(f, ZERO)) return "0 everywhere.";
    if (fits(f, NO_NUMBER)) return "no number at all: 0/0, the log of 0, or something read that nobody wrote?";
    if (equal(factor, 2, 1e-7))
        return "twice too large: is a factor 1/2 missing, a factor 2 too much, or a term counted twice?";
    if (equal(factor, 0.5, 1e-7))
        return "half of what it should be: is a factor 2 missing, or a term that comes twice?";
    if (equal(factor, -1, 1e-7)) return "the sign: what is wrong is right but for the minus.";
    if (factor != 0 && factor_name(f->c, factor)) {
        snprintf(text, sizeof text, "%s%s", factor < 0 ? "the sign, and " : "", factor_name(f->c, factor));
        return text;
    }
    if (factor != 0) {
        snprintf(text, sizeof text,
                 "all that is wrong is so by the same factor %.6g: a constant is missing, or too much.", factor);
        return text;
    }
    if (transposed(f)) return "transposed: rows and columns are exchanged.";
    if (fits(f, FIRST_ROW)) return "the first row is right, the others are not: where does row n begin?";
    return NULL;
}

/* ---- judging a case ---- */

static void report(const finding *f, size_t first, size_t count) {
    char where[200];
    place(where, sizeof where, f, first);
    complain("  case    %s%s\n", f->c->name,
             !f->is_gradient ? ""
             : f->accumulate ? ", accumulate true"
                             : ", accumulate false");
    complain("  where   %s\n", where);
    complain("  yours   %.10g\n  right   %.10g", (double)f->got[first], (double)f->right[first]);
    if (f->added) complain("   (with the %.6g that stood there)", (double)f->before[first]);
    if (isfinite(f->differences))
        complain("   (finite differences: %.10g)", f->differences + (f->added ? (double)f->before[first] : 0));
    complain("\n");
    if (isfinite(gain(f, first)) && truth(f, first) != 0)
        complain("  ratio   %.6g\n", gain(f, first) / truth(f, first));
    complain("  wrong   %zu of its %zu numbers\n", count, f->t->n);
    if (hint(f)) complain("  hint    %s\n", hint(f));
}
/* dL/dx[i] of the case by llm.h's forward pass and a fourth-order difference. */
static double difference(op_case *c, int in, size_t i) {
    double value[4], step = 1e-3;
    llm_real *x = &c->in[in].x[i];
    const llm_real kept = *x;
    use(true);
    for (int k = 0; k < 4; k++) {
        *x = (llm_real)((double)kept + step * (k < 2 ? k - 2 : k - 1));
        value[k] = loss(c);
    }
    *x = kept;
    c->forward(c);
    use(false);
    return (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * step);
}
/* t holds what the exercise wrote (device), what is right (x) and what stood there (before). */
static void inspect(op_case *c, const tensor *t, int in, bool added, bool accumulate) {
    if (complaint[0]) return;
    llm_real *got = receive(t), *right = llm_alloc(t->n + 1, sizeof *right);
    finding f = {c, in < 0 ? "" : "d", t, got, right, t->before, added, accumulate, in >= 0, NAN};
    size_t first = t->n, count = 0;
    for (size_t i = 0; i < t->n; i++)
        right[i] = t->x[i] + (added ? t->before[i] : 0);
    for (size_t i = 0; i < t->n; i++)
        if (wrong(&f, i)) {
            if (!count) first = i;
            count++;
        }
    if (count && in >= 0) f.differences = difference(c, in, first);
    if (count) report(&f, first, count);
    llm_release(got);
    llm_release(right);
}
static void judge_gradients(op_case *c, bool accumulate, int frozen) {
    void *kept = frozen < 0 ? NULL : c->grad[frozen].device;
    for (int i = 0; i < c->ins; i++)
        fill_before(&c->grad[i]);
    if (frozen >= 0) c->grad[frozen].device = NULL;
    frozen_now = frozen;
    c->backward(c, accumulate);
    frozen_now = -1;
    for (int i = 0; i < c->ins; i++)
        if (c->kind[i] != NONE && i != frozen)
            inspect(c, &c->grad[i], i, c->kind[i] == ADDED || (c->kind[i] == PARAMETER && accumulate), accumulate);
    if (frozen < 0) return;
    c->grad[frozen].device = kept;
    if (complaint[0] && !strstr(complaint, "frozen"))
        complain("  (here d%s is NULL: that tensor is frozen)\n", c->in[frozen].name);
}
static double first_number(void *user) {
    op_case *c = user;
    c->forward(c);
    return (double)c->out[0].x[0];
}
/* The exercise on the host's arrays: does its gradient promise what its, or llm.h's, forward pass does? */
static void judge_differences(op_case *c) {
    if (complaint[0]) return;
    oracle = true;
    ops = table;
    c->forward(c);
    for (int i = 0; i < c->ins; i++)
        memset(c->grad[i].x, 0, c->grad[i].n * sizeof(llm_real));
    if (c->backward) c->backward(c, false);
    for (int i = 0; i < c->ins && !complaint[0]; i++) {
        const bool of_loss = c->slope && i == 0;
        if (!of_loss && (c->kind[i] == NONE || !c->backward)) continue;
        llm_real *slope = llm_alloc(c->in[i].n + 1, sizeof *slope);
        memcpy(slope, of_loss ? c->out[c->slope].x : c->grad[i].x, c->in[i].n * sizeof *slope);
        double error = llm_grad_check(of_loss ? first_number : loss, c, c->in[i].x, slope, c->in[i].n, 20, &rng);
        worst_difference = fmax(worst_difference, error);
        if (!(error <= 1e-7))
            complain("  case    %s\n  where   d%s: finite differences say otherwise, by %.3g of its largest number\n",
                     c->name, c->in[i].name, error);
        llm_release(slope);
    }
    use(false);
}
static void run_case(op_case *c) {
    if (complaint[0]) { /* one fault at a time */
        free_case(c);
        return;
    }
    shapes++;
    case_now = c;
    for (int i = 0; i < c->ins; i++)
        settle(&c->in[i]);
    for (int k = 0; k < c->outs; k++)
        if (c->dout[k].x) settle(&c->dout[k]);
    run_oracle(c);
    use(false);
    for (int k = 0; k < c->outs; k++)
        fill_before(&c->out[k]);
    c->forward(c);
    for (int k = 0; k < c->outs; k++)
        inspect(c, &c->out[k], -1, false, false);
    for (int accumulate = 0; accumulate < 2 && c->backward && !complaint[0]; accumulate++)
        judge_gradients(c, accumulate, -1);
    for (int i = 0; i < c->ins && c->backward && !complaint[0]; i++)
        if (c->may_be_null[i]) judge_gradients(c, false, i);
    judge_differences(c);
    case_now = NULL;
    free_case(c);
}
static void compare(const op_case *c, const char *what, const tensor *t, bool added) {
    (void)c, (void)what, (void)t, (void)added; /* only of logprob_fused, an optional row */
}

/* ---- the shapes ---- */

static void cases_embed(void) {
    test_embed(1, 1, 1, 1, true, WEIGHT);
    test_embed(7, 5, 11, 4, true, WEIGHT);
    test_embed(9, 3, 4, 5, false, WEIGHT);
    test_embed(6, 33, 7, 9, false, Q4);
}
static void cases_norm(bool layer) {
    for (int added = 0; added < 2; added++) {
        test_norm(2, 5, layer, true, added);
        test_norm(1, 1, layer, false, added);
        test_norm(3, 1, layer, true, added);
        test_norm(1, 7, layer, false, added);
        test_norm(9, 16, layer, added, added);
    }
}
static void cases_layernorm(void) { cases_norm(true); }
static void cases_rmsnorm(void) { cases_norm(false); }
static void cases_product(bool residual) {
    test_linear(5, 7, 3, true, residual, WEIGHT);
    test_linear(1, 1, 1, true, residual, WEIGHT);
    test_linear(1, 4, 6, false, residual, WEIGHT);
    test_linear(6, 1, 5, false, residual, WEIGHT);
    test_linear(8, 33, 2, true, residual, Q8);
}
static void cases_linear(void) { cases_product(false); }
static void cases_residual(void) { cases_product(true); }
static void cases_lora(void) {
    for (int to_residual = 0; to_residual < 2; to_residual++) {
        test_lora(5, 7, 2, 6, 6, 0, to_residual);
        test_lora(1, 1, 1, 1, 1, 0, to_residual);
        test_lora(4, 6, 3, 5, 13, 4, to_residual);
    }
}
static void cases_rope(void) {
    test_rope(5, 2, 2, 8, 30);
    test_rope(1, 1, 1, 2, 5);
    test_rope(6, 4, 2, 6, 70);
}
static void cases_attention(void) {
    test_attention(1, 3, 1, 1, 2, 0);
    test_attention(1, 1, 1, 1, 1, 0);
    test_attention(2, 6, 4, 2, 3, 0);
    test_attention(2, 9, 6, 1, 5, 3);
}
static void cases_cache(void) {
    test_cache(1, 3, 1, 1, 2, 1, false);
    test_cache(3, 10, 4, 2, 4, 3, false);
    test_cache(2, 9, 6, 1, 3, 18, false);
    test_cache(2, 8, 2, 2, 5, 2, true);
}
static void cases_gelu(void) {
    test_gelu(5);
    test_gelu(1);
    test_gelu(257);
}
static void cases_swiglu(void) {
    test_swiglu(3, 4);
    test_swiglu(1, 1);
    test_swiglu(7, 13);
}
static void cases_logprob(void) {
    test_logprob(3, 4, 5, 1, false, false, false, 0, false, WEIGHT);
    test_logprob(1, 1, 1, 1, false, false, false, 0, false, WEIGHT);
    test_logprob(9, 6, 17, 0.7, false, false, false, 2, false, WEIGHT);
    test_logprob(9, 6, 17, 0.7, true, false, false, 0, false, WEIGHT);
    test_logprob(9, 6, 17, 1, false, true, false, 0, false, WEIGHT);
    test_logprob(9, 6, 17, 0.7, true, true, false, 2, false, WEIGHT);
    test_logprob(130, 3, 4, 1, false, true, false, 0, false, WEIGHT);
}
static void cases_logits(void) {
    test_logits(5, 4, 7, 0, WEIGHT);
    test_logits(1, 1, 1, 1, WEIGHT);
    test_logits(9, 33, 8, 4, Q8);
}
static void cases_value(void) {
    for (int added = 0; added < 2; added++) {
        test_value(5, 4, added);
        test_value(1, 1, added);
        test_value(9, 17, added);
    }
}
static void cases_learning(void) {
    for (int variant = 0; variant < 4; variant++) {
        test_learning(1, variant, false);
        test_learning(37, variant, false);
    }
}
static void cases_grad_norm(void) {
    test_learning(1, 0, true);
    test_learning(37, 0, true);
}

/* ---- the exercises ---- */

#define OP(op, cases, train)                                                                                           \
    { #op, offsetof(pupil, ops.op), cases, train }
#define BOTH(op, cases, train) OP(op##_forward, cases, train), OP(op##_backward, cases, train)
#define LOSS(f, cases, train)                                                                                          \
    { #f, offsetof(pupil, losses.f), cases, train }
static const exercise exercises[] = {
    BOTH(embed, cases_embed, &pretrain_gpt),
    BOTH(layernorm, cases_layernorm, &pretrain_gpt),
    BOTH(rmsnorm, cases_rmsnorm, &pretrain),
    BOTH(linear, cases_linear, &pretrain_gpt),
    BOTH(residual, cases_residual, &pretrain_gpt),
    BOTH(lora, cases_lora, &pretrain_lora),
    BOTH(rope, cases_rope, &pretrain),
    BOTH(attention, cases_attention, &pretrain),
    BOTH(gelu, cases_gelu, &pretrain_gpt),
    BOTH(swiglu, cases_swiglu, &pretrain),
    BOTH(logprob, cases_logprob, &pretrain),
    OP(logits, cases_logits, &speak),
    BOTH(value, cases_value, &reward_model),
    OP(grad_norm, cases_grad_norm, &pretrain),
    OP(adamw, cases_learning, &pretrain),
    OP(cache_attention, cases_cache, &speak),
    OP(cache_copy, cases_cache, &speak),
    LOSS(llm_row_sums, cases_row_sums, &train_dpo),
    LOSS(llm_row_spread, cases_row_spread, &train_dpo),
    LOSS(llm_loss_ce_weights, cases_ce_weights, &pretrain),
    LOSS(llm_loss_ce, cases_ce, &pretrain),
    LOSS(llm_loss_pair, cases_pair, &reward_model),
    LOSS(llm_loss_kwise, cases_kwise, &reward_model_ranked),
    LOSS(llm_loss_plackett_luce, cases_plackett_luce, &reward_model_ranked),
    LOSS(llm_best_of, cases_best_of, NULL),
    LOSS(llm_best_of_kl, cases_best_of_kl, NULL),
    LOSS(llm_kl, cases_kl, NULL),
    LOSS(llm_kl_adapt, cases_kl_adapt, &train_ppo),
    LOSS(llm_ppo_rewards, cases_rewards, &train_ppo),
    LOSS(llm_gae, cases_gae, &train_ppo),
    LOSS(llm_whiten, cases_whiten, &train_ppo),
    LOSS(llm_loss_ppo, cases_ppo, &train_ppo),
    LOSS(llm_loss_value, cases_value_loss, &train_ppo),
    LOSS(llm_loss_entropy, cases_entropy, &train_ppo),
    LOSS(llm_group_advantages, cases_group, &train_grpo),
    LOSS(llm_loss_grpo, cases_grpo, &train_grpo),
    LOSS(llm_loss_dpo, cases_dpo, &train_dpo),
    LOSS(llm_kto_z0, cases_kto_z0, &train_kto),
    LOSS(llm_kto_balance, cases_kto_balance, &train_kto),
    LOSS(llm_loss_kto, cases_kto, &train_kto),
    LOSS(llm_loss_rrhf, cases_rrhf, &train_rrhf),
};
enum { EXERCISES = sizeof exercises / sizeof *exercises };
typedef void (*any)(void); /* any function; its type was checked where it was put into a pupil */

static pupil book(void) { return (pupil){llm_plain, book_losses}; }
static const exercise *find_exercise(const char *op) {
    for (int i = 0; i < EXERCISES; i++)
        if (!strcmp(exercises[i].op, op)) return &exercises[i];
    llm_die("add it to `exercises`", "test/judge.c cannot judge \"%s\"", op);
}
/* Is the book with f in the place of `e` right? What is wrong stands in `complaint`. */
static bool judge(const exercise *e, any f) {
    mine = book();
    memcpy((char *)&mine + e->at, &f, sizeof f);
    table = &mine.ops, tested_losses = &mine.losses;
    rng = llm_rng_seed(5, 0);
    complaint[0] = 0, shapes = 0, worst_difference = 0;
    e->cases();
    return !complaint[0];
}
/* The tiny model with the exercise and with the book. */
static bool train_both(const exercise *e) {
    double yours[2], books[2];
    pupil right = book();
    if (!e->train) {
        printf("  (no stage of training calls it: nothing to train with)\n");
        return true;
    }
    study(&mine, e->train, yours);
    study(&right, e->train, books);
    printf("  %d steps of %s with it, a tiny model that learns LICENSE: %s %.4f -> %.4f (llm.h's: %.4f -> %.4f)\n",
           STEPS, e->train->name, e->train->speak ? "log-probability of what it says" : "loss", yours[0], yours[1],
           books[0], books[1]);
    return fabs(yours[0] - books[0]) <= 1e-6 * fmax(1, fabs(books[0])) &&
           fabs(yours[1] - books[1]) <= 1e-6 * fmax(1, fabs(books[1]));
}

#ifdef EXERCISE
#include EXERCISE
#include <signal.h>
#include <unistd.h>

/* It wrote where nothing is, or never ends. */
static void crashed(int number) {
    printf("%s %s.\n", OP_NAME,
           number == SIGALRM ? "does not come to an end: 60 seconds" : "crashed: it read or wrote where nothing is");
    if (case_now) printf("  case    %s\n", case_now->name);
    if (case_now && frozen_now >= 0)
        printf("  hint    d%s is NULL here: that tensor is frozen, and nothing is written.\n",
               case_now->in[frozen_now].name);
    else printf("  hint    make judge OP=%s SANE=1 says in which line.\n", OP_NAME);
    fflush(stdout);
    _exit(1);
}

int main(void) {
    const exercise *e = find_exercise(OP_NAME);
    const pupil typed = {.MEMBER = MINE}; /* the compiler sees here whether the signature is still right */
    any f;
    memcpy(&f, (const char *)&typed + e->at, sizeof f);
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
    for (int i = 0; i < 5 && !getenv("ASAN_OPTIONS"); i++)
        signal(signals[i], crashed);
    alarm(60);
    const bool right = judge(e, f);
    alarm(0);
    if (!right) {
        printf("%s is wrong.\n%s", e->op, complaint);
        return 1;
    }
    printf("%s is right: llm.h's numbers at %d shapes", e->op, shapes);
    if (worst_difference > 0) printf(", finite differences to %.1e (allowed 1e-7)", worst_difference);
    printf(".\n");
    if (train_both(e)) return 0;
    printf("  but the model learned something else with it\n");
    return 1;
}
#endif
