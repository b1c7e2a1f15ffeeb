/* test_fixtures.c: our models against PyTorch's numbers (test/gen computed them, in float64): logits,
   log-probabilities, loss, every gradient, and ten steps of AdamW. Folders were saved by transformers: GPT-2, Llama
   with grouped heads tied and untied, one of them bf16 in two shards with llama3 rope scaling; and a model of each newer
   family. With -DLLM_CUDA: on the
   GPU's tables (make test_cuda). */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/hf.h"
#include "logits.h"
#include "check.h"

#ifdef LLM_CUDA
#define TABLE llm_cuda
#else
#define TABLE llm_cpu
#endif

static llm_real *expected(const hf_safetensors *s, const char *name, size_t *n) {
    const hf_tensor_info *t = hf_safetensors_find(s, name);
    *n = 0;
    if (!t) return NULL;
    *n = 1;
    for (int i = 0; i < t->dims; i++) *n *= t->shape[i];
    llm_real *x = llm_alloc(*n, sizeof *x);
    hf_safetensors_read_real(s, t, x);
    return x;
}
static llm_batch fixture_batch(const hf_safetensors *s) {
    const hf_tensor_info *t = hf_safetensors_find(s, "input_ids");
    llm_batch b = llm_batch_new((int)t->shape[0], (int)t->shape[1]);
    size_t n;
    llm_real *ids = expected(s, "input_ids", &n), *targets = expected(s, "targets", &n);
    for (size_t i = 0; i < n; i++) {
        b.tokens[i] = (int)ids[i];
        b.targets[i] = (int)targets[i];
        b.positions[i] = (int)(i % (size_t)b.T);
        b.weight[i] = 1;
    }
    llm_release(ids);
    llm_release(targets);
    return b;
}
/* Conv1D lies transposed in the file. */
static void flip(llm_real *x, int rows, int cols) {
    llm_real *y = llm_alloc((size_t)rows * (size_t)cols, sizeof *y);
    for (int i = 0; i < rows; i++) for (int j = 0; j < cols; j++) y[i * cols + j] = x[j * rows + i];
    memcpy(x, y, (size_t)rows * (size_t)cols * sizeof *x);
    llm_release(y);
}
static void check_logits(const char *name, llm_model *m, const llm_batch *b, const hf_safetensors *s,
                         double tolerance) {
    size_t n;
    llm_real *want = expected(s, "logits", &n), *got = llm_alloc(n, sizeof *got);
    all_logits(m, b, got);
    CHECK_SMALL(relative_error(got, want, n), tolerance, "%s: logits", name);
    llm_release(want);
    llm_release(got);
}
static void check_gradients(const char *name, llm_model *m, const llm_batch *b, const hf_safetensors *s,
                            double tolerance) {
    size_t n, N = (size_t)(b->B * b->T);
    llm_real *dlogp = llm_alloc(N, sizeof *dlogp), *logp = llm_alloc(N, sizeof *logp);
    llm_real *want = expected(s, "logp", &n), *loss = expected(s, "loss", &n);
    llm_loss_ce_weights(dlogp, b, (double)N);
    llm_forward_backward(m, b, dlogp, logp);
    llm_wait(m);
    CHECK_SMALL(relative_error(logp, want, N), tolerance, "%s: log-probabilities", name);
    CHECK_SMALL(fabs(llm_loss_ce(logp, b, (double)N) - (double)loss[0]) / (double)loss[0], tolerance, "%s: loss", name);
    llm_release(want);
    llm_release(loss);
    double worst = 0;
    for (int i = 0; i < m->params; i++) {
        llm_param *p = &m->param[i];
        char key[128];
        snprintf(key, sizeof key, "grad.%s", p->name);
        want = expected(s, key, &n);
        CHECK(want && n == p->size, "%s: no expected gradient of %s", name, p->name);
        if (!want) continue;
        if (p->transposed) flip(want, p->rows, p->cols);
        llm_real *grad = llm_alloc(n, sizeof *grad);
        m->ops->download(grad, p->grad, n * sizeof *grad);
        double e = relative_error(grad, want, n);
        worst = worse(worst, e);
        llm_release(grad);
        CHECK_SMALL(e, tolerance, "%s: gradient of %s", name, p->name);
        llm_release(want);
    }
    printf("%s: largest relative error of a gradient %.2g\n", name, worst);
    llm_release(dlogp);
    llm_release(logp);
}
static void check_adamw(const char *name, llm_model *m, const llm_batch *b, const hf_safetensors *s,
                        double tolerance) {
    size_t n, N = (size_t)(b->B * b->T);
    llm_real *losses = expected(s, "adamw.losses", &n), *norms = expected(s, "adamw.grad_norms", &n);
    llm_real *dlogp = llm_alloc(N, sizeof *dlogp), *logp = llm_alloc(N, sizeof *logp);
    llm_adamw o = llm_adamw_defaults();
    for (int i = 0; i < m->params; i++) m->param[i].used = false;
    for (size_t step = 0; step < n; step++) {
        llm_loss_ce_weights(dlogp, b, (double)N);
        llm_forward_backward(m, b, dlogp, logp);
        double norm = llm_adamw_step(&o, m, 1e-3), loss = llm_loss_ce(logp, b, (double)N);
        CHECK_SMALL(fabs(loss - (double)losses[step]) / (double)losses[step], tolerance,
                    "%s: loss of AdamW step %zu: %g, PyTorch %g", name, step, loss, (double)losses[step]);
        CHECK_SMALL(fabs(norm - (double)norms[step]) / (double)norms[step], 10 * tolerance,
                    "%s: gradient norm of step %zu: %g, PyTorch %g", name, step, norm, (double)norms[step]);
    }
    llm_release(losses);
    llm_release(norms);
    llm_release(dlogp);
    llm_release(logp);
    llm_adamw_free(&o, m);
}
static void check_model(const char *name, llm_precision p, double tolerance, bool learn) {
    char dir[128], path[160], label[64];
    static const char *precision[] = {"fp32", "bf16x3", "bf16"};
    snprintf(dir, sizeof dir, "test/data/models/%s", name);
    snprintf(path, sizeof path, "%s/expected.safetensors", dir);
    snprintf(label, sizeof label, "%s, %s", name, precision[p]);
    hf_safetensors s;
    hf_safetensors_open(&s, path);
    llm_model m;
    hf_model_load(&m, dir, TABLE(p));
    llm_batch b = fixture_batch(&s);
    check_logits(label, &m, &b, &s, tolerance);
    if (learn) {
        llm_model_train(&m);
        check_gradients(label, &m, &b, &s, tolerance);
        check_adamw(label, &m, &b, &s, tolerance);
    }
    llm_batch_free(&b);
    llm_model_free(&m);
    hf_safetensors_close(&s);
}
int main(void) {
    const char *names[] = {"gpt2-tiny", "llama-tiny", "llama-untied"};
    for (int i = 0; i < 3; i++) {
        check_model(names[i], LLM_FP32, sizeof(llm_real) == 8 ? 2e-6 : 1e-4, true);
#ifndef LLM_CUDA
        if (ONLY_FP32) continue;
        check_model(names[i], LLM_BF16X3, 1e-3, true);
#endif
        check_model(names[i], LLM_BF16, 0.1, true);
    }
    /* each with another part or way to stretch rope (test/gen/family_models.py) */
    const char *newer[] = {"mistral", "qwen3", "smollm3", "olmo2", "phi3"};
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        check_model(newer[i], LLM_FP32, sizeof(llm_real) == 8 ? 2e-6 : 1e-4, true);
    check_model("gpt2-bare", LLM_FP32, 1e-4, false);
#ifndef LLM_CUDA
    checks_skip_precisions();
#endif
    return checks_done();
}
