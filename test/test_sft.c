/* test_sft.c: the arithmetic of fine-tuning, from records to gradients. How a step is cut into micro-batches and how
   the conversations lie in their rows changes neither loss nor gradients; a batch without answers gives exactly 0;
   adapters that have not learned yet are the base, to the bit. In float and in double. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/forms.h"
#include "check.h"

#define IS_DOUBLE (sizeof(llm_real) == 8)
enum { T = 64, RECORDS = 24 };
static const double bound = sizeof(llm_real) == 8 ? 1e-12 : 1e-6;

/* Conversations of very different lengths: so micro-batches have different numbers of targets, and rows pack. */
static char *make_records(void) {
    char *text = llm_format("%s", "");
    for (int i = 0; i < RECORDS; i++) {
        static const char *answer[] = {"no", "yes, it is", "it is a long, long way there", "seven"};
        char *more = i % 6 == 5
                         ? llm_format("%s{\"messages\": [{\"role\": \"user\", \"content\": \"is it %d?\"}, {\"role\": "
                                      "\"assistant\", \"content\": \"%s\"}, {\"role\": \"user\", \"content\": \"so\"}, "
                                      "{\"role\": \"assistant\", \"content\": \"so %d\"}]}\n",
                                      text, i, answer[i % 4], i)
                         : llm_format("%s{\"instruction\": \"what is %d%.*s?\", \"output\": \"%s\"}\n", text, i,
                                      i * 7 % 11, " and on and on", answer[i % 4]);
        llm_release(text);
        text = more;
    }
    return text;
}

typedef struct { double loss, M; llm_real *gradient; size_t size; } outcome;
static void outcome_free(outcome *x) { llm_release(x->gradient); }

/* What a step computes from `rows` rows of s cut into batches of B: as train_sft does it. */
static outcome take_step(llm_model *m, llm_sft *s, int rows, int B) {
    int micros = (rows + B - 1) / B;
    llm_param *p = m->lora ? m->lora->param : m->param;
    int params = m->lora ? m->lora->params : m->params;
    outcome x = {.size = m->lora ? m->lora->size : m->size};
    llm_batch *b = llm_alloc((size_t)micros, sizeof *b);
    llm_real *dlogp = llm_alloc((size_t)(B * T), sizeof *dlogp), *logp = llm_alloc((size_t)(B * T), sizeof *logp);
    for (int i = 0; i < micros; i++) b[i] = llm_batch_new(B, T);
    for (int i = 0; i < params; i++) p[i].used = false;
    for (int i = 0; i < micros; i++) {
        if (!llm_sft_window(s, i, &b[i])) llm_die("fewer rows", "there are only %d", s->rows);
        x.M += llm_batch_targets(&b[i]);
    }
    for (int i = 0; i < micros; i++) {
        llm_loss_ce_weights(dlogp, &b[i], x.M);
        llm_forward_backward(m, &b[i], dlogp, logp);
        x.loss += llm_loss_ce(logp, &b[i], x.M);
        llm_batch_free(&b[i]);
    }
    x.gradient = llm_alloc(x.size, sizeof *x.gradient);
    for (int i = 0; i < params; i++)
        if (p[i].used) memcpy(x.gradient + p[i].offset, p[i].grad, p[i].size * sizeof *x.gradient);
    llm_release(b);
    llm_release(dlogp);
    llm_release(logp);
    return x;
}
static void check_same(const char *what, const outcome *a, const outcome *b) {
    CHECK(a->M == b->M && a->M > 0, "%s: %g and %g targets", what, a->M, b->M);
    CHECK_SMALL(fabs(a->loss - b->loss) / b->loss, bound, "%s: loss", what);
    CHECK_SMALL(relative_error(a->gradient, b->gradient, b->size), bound, "%s: gradients", what);
}

/* One step of 12 rows as 1, 2, 3, 4, 6 and 12 micro-batches. */
static void check_split(const char *what, llm_model *m, llm_sft *s) {
    static const int size[] = {12, 6, 4, 3, 2, 1};
    outcome whole = take_step(m, s, 12, 12);
    for (int i = 1; i < 6; i++) {
        outcome parts = take_step(m, s, 12, size[i]);
        char *name = llm_format("%s, micro-batches of %d", what, size[i]);
        check_same(name, &parts, &whole);
        llm_release(name);
        outcome_free(&parts);
    }
    /* The mean of the micro-batches' means is another number: a driver that divides too early would be found out. */
    double means = 0;
    for (int row = 0; row < 12; row++) {
        llm_batch b = llm_batch_new(1, T);
        llm_real logp[T];
        llm_sft_window(s, row, &b);
        llm_forward(m, &b, logp, NULL, NULL);
        means += llm_loss_ce(logp, &b, llm_batch_targets(&b)) / 12;
        llm_batch_free(&b);
    }
    CHECK(fabs(means - whole.loss) > 1e-4, "%s: these rows can not tell a mean of means (%.9f) from the mean (%.9f)",
          what, means, whole.loss);
    outcome_free(&whole);
}
/* All conversations in shared rows, and each in its own. */
static void check_packing(const char *what, llm_model *m, llm_sft *packed, llm_sft *separate) {
    CHECK(packed->rows < separate->rows, "%s: %d rows packed, %d separate", what, packed->rows, separate->rows);
    outcome a = take_step(m, packed, packed->rows, packed->rows);
    outcome b = take_step(m, separate, separate->rows, separate->rows);
    check_same(what, &a, &b);
    outcome_free(&a);
    outcome_free(&b);
}
/* Rows without answers: alone they give 0, among others they change nothing. */
static void check_masked(const char *what, llm_model *m, llm_sft *s) {
    size_t ids = s->begin[s->count];
    uint8_t *kept = llm_alloc(ids, 1);
    memcpy(kept, s->mask, ids);
    outcome before = take_step(m, s, 12, 4);
    outcome more = take_step(m, s, 16, 4);
    CHECK(more.M > before.M && more.loss != before.loss, "%s: rows 12 to 15 hold answers", what);
    outcome_free(&more);
    for (int r = 12; r < 16; r++)
        for (int i = s->first[r]; i >= 0; i = s->next[i])
            memset(s->mask + s->begin[i], 0, s->begin[i + 1] - s->begin[i]);
    more = take_step(m, s, 16, 4);
    check_same(what, &more, &before);
    memset(s->mask, 0, ids);
    outcome none = take_step(m, s, 12, 4);
    size_t zero = 0;
    for (size_t i = 0; i < none.size; i++) zero += none.gradient[i] == 0;
    CHECK(none.M == 0 && none.loss == 0, "%s: all masked: %g targets, loss %g", what, none.M, none.loss);
    CHECK(zero == none.size, "%s: all masked: %zu of %zu gradients are 0", what, zero, none.size);
    memcpy(s->mask, kept, ids);
    llm_release(kept);
    outcome_free(&before);
    outcome_free(&more);
    outcome_free(&none);
}
/* Adapters start as nothing: the base's loss and log-probabilities, to the bit, before the first step; not after. */
static void check_step_0(const char *what, llm_model *m, llm_sft *s) {
    llm_batch b = llm_batch_new(12, T);
    llm_real *base = llm_alloc(12 * T, sizeof *base), *with = llm_alloc(12 * T, sizeof *with);
    llm_sft_window(s, 0, &b);
    llm_forward(m, &b, base, NULL, NULL);
    double loss = llm_loss_ce(base, &b, llm_batch_targets(&b));
    llm_lora_attach(m, 4, 8, "all", NULL, 1);
    llm_model_train(m);
    llm_forward(m, &b, with, NULL, NULL);
    CHECK(!memcmp(base, with, 12 * T * sizeof *base), "%s: step 0 of the adapters is the base, to the bit", what);
    outcome x = take_step(m, s, 12, 3);
    CHECK_SMALL(fabs(x.loss - loss) / loss, bound, "%s: its loss", what);
    llm_adamw o = llm_adamw_defaults();
    llm_adamw_step(&o, m, 1e-2);
    llm_forward(m, &b, with, NULL, NULL);
    CHECK(llm_loss_ce(with, &b, llm_batch_targets(&b)) < loss, "%s: one step of the adapters lowers the loss", what);
    outcome_free(&x);
    llm_adamw_free(&o, m);
    llm_batch_free(&b);
    llm_release(base);
    llm_release(with);
}

static void check_family(const char *what, llm_config c, const llm_tokenizer *tok, const llm_records *r) {
    llm_sft packed, separate;
    llm_sft_open(&packed, tok, r, T, true, 3);
    llm_sft_open(&separate, tok, r, T, false, 3);
    c.V = tok->vocab_size;
    llm_model m;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    llm_model_train(&m);
    check_split(what, &m, &separate);
    check_packing(what, &m, &packed, &separate);
    check_masked(what, &m, &separate);
    check_step_0(what, &m, &separate);
    char *adapted = llm_format("%s with adapters", what);
    check_split(adapted, &m, &separate);
    check_packing(adapted, &m, &packed, &separate);
    check_masked(adapted, &m, &separate);
    llm_release(adapted);
    llm_model_free(&m);
    llm_sft_free(&packed);
    llm_sft_free(&separate);
}

int main(void) {
    char path[] = "/tmp/llm-test-sft-XXXXXX.jsonl", *text = make_records();
    int fd = mkstemps(path, 6);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) return printf("no temporary file\n"), 1;
    close(fd);
    const char *paths[] = {path};
    llm_tokenizer tok;
    llm_records r;
    llm_tokenizer_train(&tok, text, strlen(text), 300, true);
    forms_read(&r, paths, 1, NULL, false);
    unlink(path);
    llm_config llama = {.T = T, .L = 2, .C = 24, .H = 4, .KV = 2, .D = 6, .F = 20, .norm = LLM_RMSNORM,
                        .position = LLM_ROPE, .activation = LLM_SWIGLU, .tied = true, .eps = 1e-5, .rope_theta = 100,
                        .family = LLM_LLAMA, .bos = -1, .eos = -1, .pad = -1};
    llm_config gpt2 = {.T = T, .L = 2, .C = 16, .H = 4, .KV = 4, .D = 4, .F = 24, .norm = LLM_LAYERNORM,
                       .position = LLM_LEARNED, .activation = LLM_GELU, .bias = true, .tied = true, .eps = 1e-5,
                       .bos = -1, .eos = -1, .pad = -1};
    check_family("llama", llama, &tok, &r);
    check_family("gpt2", gpt2, &tok, &r);
    forms_free(&r);
    llm_tokenizer_free(&tok);
    llm_release(text);
    return checks_done();
}
