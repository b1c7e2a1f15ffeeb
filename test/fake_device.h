/* fake_device.h: a second row of bodies for llm_ops, for tests only. Its memory is real, but unreadable and unwritable
   except while an operation runs: the CPU's operation behind a pair of mprotect calls. A model that dereferences a
   tensor itself dies at once, here, on a machine without a GPU. Include after the implementation of llm.h. */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include <sys/mman.h>

enum { FAKE_MAX = 256 };
static struct { void *start; size_t bytes; } fake_block[FAKE_MAX];
static int fake_blocks, fake_open_depth;
static const llm_ops *fake_cpu;

static void fake_protect(int how) {
    for (int i = 0; i < fake_blocks; i++)
        if (fake_block[i].start && mprotect(fake_block[i].start, fake_block[i].bytes, how)) abort();
}
/* decode calls other operations of the table: only the outermost one locks. */
static void fake_open(void) {
    if (fake_open_depth++ == 0) fake_protect(PROT_READ | PROT_WRITE);
}
static void fake_close(void) {
    if (--fake_open_depth == 0) fake_protect(PROT_NONE);
}
static void *fake_alloc(size_t bytes) {
    size_t size = (bytes + 4095) / 4096 * 4096 + 4096;
    void *p =
        mmap(NULL, size, fake_open_depth ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int i = 0;
    while (i < fake_blocks && fake_block[i].start) i++;
    if (p == MAP_FAILED || i == FAKE_MAX) return NULL;
    fake_block[i].start = p;
    fake_block[i].bytes = size;
    if (i == fake_blocks) fake_blocks++;
    return p;
}
static void fake_release(void *p) {
    for (int i = 0; i < fake_blocks; i++)
        if (fake_block[i].start == p) {
            munmap(p, fake_block[i].bytes);
            fake_block[i].start = NULL;
        }
}
#define FAKE(op, parameters, arguments) \
    static void fake_##op parameters { fake_open(); fake_cpu->op arguments; fake_close(); }

FAKE(upload, (void *d, const void *h, size_t n), (d, h, n))
FAKE(download, (void *h, const void *d, size_t n), (h, d, n))
FAKE(zero, (void *d, size_t n), (d, n))
FAKE(store_weights, (void *b, const llm_real *w, size_t n), (b, w, n))
FAKE(embed_forward, (llm_real * o, llm_weight e, const llm_real *p, const int *t, const int *q, int N, int C),
     (o, e, p, t, q, N, C))
FAKE(embed_backward,
     (llm_real * de, llm_real *dp, const llm_real *d, const int *t, const int *q, int N, int C, int V, int T, bool a,
      bool b),
     (de, dp, d, t, q, N, C, V, T, a, b))
FAKE(layernorm_forward,
     (llm_act * o, llm_real *m, llm_real *r, const llm_real *i, const llm_real *w, const llm_real *b, llm_real e, int N,
      int C),
     (o, m, r, i, w, b, e, N, C))
FAKE(layernorm_backward,
     (llm_real * di, llm_real *dw, llm_real *db, const llm_act *d, const llm_real *i, const llm_real *w,
      const llm_real *m, const llm_real *r, int N, int C, bool a),
     (di, dw, db, d, i, w, m, r, N, C, a))
FAKE(rmsnorm_forward, (llm_act * o, llm_real *r, const llm_real *i, const llm_real *w, llm_real e, int N, int C),
     (o, r, i, w, e, N, C))
FAKE(rmsnorm_backward,
     (llm_real * di, llm_real *dw, const llm_act *d, const llm_real *i, const llm_real *w, const llm_real *r, int N,
      int C, bool a),
     (di, dw, d, i, w, r, N, C, a))
FAKE(linear_forward, (llm_act * o, const llm_act *i, llm_weight w, const llm_real *b, int N, int in, int n),
     (o, i, w, b, N, in, n))
FAKE(linear_backward,
     (llm_act * di, llm_real *dw, llm_real *db, const llm_act *d, const llm_act *i, llm_weight w, int N, int in, int n,
      bool a),
     (di, dw, db, d, i, w, N, in, n, a))
FAKE(residual_forward,
     (llm_real * o, const llm_real *r, const llm_act *i, llm_weight w, const llm_real *b, int N, int in, int n),
     (o, r, i, w, b, N, in, n))
FAKE(residual_backward,
     (llm_act * di, llm_real *dw, llm_real *db, const llm_real *d, const llm_act *i, llm_weight w, int N, int in, int n,
      bool a),
     (di, dw, db, d, i, w, N, in, n, a))
FAKE(lora_forward,
     (void *o, llm_real *u, const llm_act *i, const llm_real *A, const llm_real *B, llm_real s, int N, int in, int r,
      int n, int ld, int c, bool to),
     (o, u, i, A, B, s, N, in, r, n, ld, c, to))
FAKE(lora_backward,
     (llm_act * di, llm_real *dA, llm_real *dB, llm_real *du, const void *d, const llm_real *u, const llm_act *i,
      const llm_real *A, const llm_real *B, llm_real s, int N, int in, int r, int n, int ld, int c, bool from, bool a),
     (di, dA, dB, du, d, u, i, A, B, s, N, in, r, n, ld, c, from, a))
FAKE(rope_forward, (llm_act *q, const llm_real *f, const int *p, int N, int H, int KV, int D), (q, f, p, N, H, KV, D))
FAKE(rope_backward, (llm_act *q, const llm_real *f, const int *p, int N, int H, int KV, int D), (q, f, p, N, H, KV, D))
FAKE(attention_forward, (llm_act *o, llm_real *l, const llm_act *q, const int *s, int B, int T, int H, int KV, int D),
     (o, l, q, s, B, T, H, KV, D))
FAKE(attention_backward,
     (llm_act * dq, const llm_act *d, const llm_act *o, const llm_real *l, const llm_act *q, const int *s, int B, int T,
      int H, int KV, int D),
     (dq, d, o, l, q, s, B, T, H, KV, D))
FAKE(gelu_forward, (llm_act *o, const llm_act *i, size_t n), (o, i, n))
FAKE(gelu_backward, (llm_act *di, const llm_act *d, const llm_act *i, size_t n), (di, d, i, n))
FAKE(swiglu_forward, (llm_act *o, const llm_act *i, int N, int F), (o, i, N, F))
FAKE(swiglu_backward, (llm_act *di, const llm_act *d, const llm_act *i, int N, int F), (di, d, i, N, F))
FAKE(logprob_forward,
     (llm_real * p, llm_real *l, llm_real *e, const llm_act *h, llm_weight w, const int *t, llm_head o, int N, int C,
      int V),
     (p, l, e, h, w, t, o, N, C, V))
FAKE(logprob_backward,
     (llm_act * dh, llm_real *dw, const llm_real *d, const llm_real *de, const llm_real *l, const llm_real *e,
      const llm_act *h, llm_weight w, const int *t, llm_head o, int N, int C, int V, bool a),
     (dh, dw, d, de, l, e, h, w, t, o, N, C, V, a))
FAKE(logprob_fused,
     (llm_real * p, llm_act *dh, llm_real *dw, const llm_real *d, const llm_act *h, llm_weight w, const int *t,
      llm_head o, int N, int C, int V, bool a),
     (p, dh, dw, d, h, w, t, o, N, C, V, a))
FAKE(logits, (llm_real *o, const llm_act *h, llm_weight w, int N, int C, int V), (o, h, w, N, C, V))
FAKE(value_forward, (llm_real *v, const llm_act *h, const llm_real *u, int N, int C), (v, h, u, N, C))
FAKE(value_backward,
     (llm_act * dh, llm_real *du, const llm_real *dv, const llm_act *h, const llm_real *u, int N, int C, bool a,
      bool b),
     (dh, du, dv, h, u, N, C, a, b))
FAKE(adamw, (llm_real * w, void *k, const llm_real *g, void *m, void *v, size_t n, llm_adamw_args a, bool h),
     (w, k, g, m, v, n, a, h))
FAKE(decode,
     (struct llm_model * m, struct llm_cache *c, const int *t, const int *r, const int *p, const bool *w, int n,
      llm_real *l),
     (m, c, t, r, p, w, n, l))
FAKE(cache_copy, (struct llm_model *m, struct llm_cache *c, int to, int from, int n), (m, c, to, from, n))
static double fake_sumsq(const llm_real *x, size_t n) {
    fake_open();
    double s = fake_cpu->sumsq(x, n);
    fake_close();
    return s;
}

#define ROW(op) .op = fake_##op
static const llm_ops *fake_device(llm_precision p) {
    static llm_ops ops;
    fake_cpu = llm_cpu(p);
    ops = (llm_ops){.name = "fake",
                    .precision = fake_cpu->precision,
                    .act_size = fake_cpu->act_size,
                    .alloc = fake_alloc,
                    .release = fake_release,
                    ROW(upload),
                    ROW(download),
                    ROW(zero),
                    ROW(store_weights),
                    ROW(embed_forward),
                    ROW(embed_backward),
                    ROW(layernorm_forward),
                    ROW(layernorm_backward),
                    ROW(rmsnorm_forward),
                    ROW(rmsnorm_backward),
                    ROW(linear_forward),
                    ROW(linear_backward),
                    ROW(residual_forward),
                    ROW(residual_backward),
                    ROW(lora_forward),
                    ROW(lora_backward),
                    ROW(rope_forward),
                    ROW(rope_backward),
                    ROW(attention_forward),
                    ROW(attention_backward),
                    ROW(gelu_forward),
                    ROW(gelu_backward),
                    ROW(swiglu_forward),
                    ROW(swiglu_backward),
                    ROW(logprob_forward),
                    ROW(logprob_backward),
                    ROW(logprob_fused),
                    ROW(logits),
                    ROW(value_forward),
                    ROW(value_backward),
                    ROW(sumsq),
                    ROW(adamw),
                    ROW(decode),
                    ROW(cache_copy)};
    return &ops;
}
#endif
