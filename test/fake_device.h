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
/* Only the outermost operation locks. */
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
FAKE(store_weights, (void *b, const llm_real *w, size_t n), (b, w, n))
FAKE(load_ids, (llm_ids *i, const llm_batch *b), (i, b))
FAKE(embed_forward, (llm_res *o, llm_weight e, const llm_real *p, const int *t, const int *q, size_t N, size_t C),
     (o, e, p, t, q, N, C))
FAKE(embed_backward,
     (llm_real *de, llm_real *dp, const llm_res *d, const llm_ids *i, size_t N, size_t C, size_t V, size_t T, bool a,
      bool b),
     (de, dp, d, i, N, C, V, T, a, b))
FAKE(layernorm_forward,
     (llm_act *o, llm_real *m, llm_real *r, const llm_res *i, const llm_real *w, const llm_real *b, llm_real e,
      size_t N, size_t C),
     (o, m, r, i, w, b, e, N, C))
FAKE(layernorm_backward,
     (llm_res *di, llm_real *dw, llm_real *db, const llm_act *d, const llm_res *i, const llm_real *w,
      const llm_real *m, const llm_real *r, size_t N, size_t C, bool j, bool a),
     (di, dw, db, d, i, w, m, r, N, C, j, a))
FAKE(rmsnorm_forward, (llm_act *o, llm_real *r, const llm_res *i, const llm_real *w, llm_real e, size_t N, size_t C),
     (o, r, i, w, e, N, C))
FAKE(rmsnorm_backward,
     (llm_res *di, llm_real *dw, const llm_act *d, const llm_res *i, const llm_real *w, const llm_real *r, size_t N,
      size_t C, bool j, bool a),
     (di, dw, d, i, w, r, N, C, j, a))
FAKE(qk_norm_forward,
     (llm_act *q, llm_act *x, llm_real *r, const llm_real *w, llm_real e, size_t N, llm_slice s, size_t D),
     (q, x, r, w, e, N, s, D))
FAKE(qk_norm_backward,
     (llm_act *dq, llm_real *dw, const llm_act *x, const llm_real *r, const llm_real *w, size_t N, llm_slice s,
      size_t D, bool a),
     (dq, dw, x, r, w, N, s, D, a))
FAKE(post_norm_forward,
     (llm_res *o, llm_real *r, const llm_res *i, const llm_act *y, const llm_real *w, llm_real e, size_t N, size_t C),
     (o, r, i, y, w, e, N, C))
FAKE(post_norm_backward,
     (llm_act *dy, llm_real *dw, const llm_res *d, const llm_act *y, const llm_real *w, const llm_real *r, size_t N,
      size_t C, bool a),
     (dy, dw, d, y, w, r, N, C, a))
FAKE(stream_forward, (llm_act *o, const llm_res *i, size_t n), (o, i, n))
FAKE(stream_backward, (llm_res *di, const llm_act *d, size_t n), (di, d, n))
FAKE(linear_forward, (llm_act *o, const llm_act *i, llm_weight w, llm_weight b, size_t N, size_t in, size_t n),
     (o, i, w, b, N, in, n))
FAKE(linear_backward,
     (llm_act *di, llm_real *dw, llm_real *db, const llm_act *d, const llm_act *i, llm_weight w, size_t N, size_t in,
      size_t n, bool a),
     (di, dw, db, d, i, w, N, in, n, a))
FAKE(residual_forward,
     (llm_res *o, const llm_res *r, const llm_act *i, llm_weight w, llm_weight b, size_t N, size_t in, size_t n),
     (o, r, i, w, b, N, in, n))
FAKE(residual_backward,
     (llm_act *di, llm_real *dw, llm_real *db, const llm_res *d, const llm_act *i, llm_weight w, size_t N, size_t in,
      size_t n, bool a),
     (di, dw, db, d, i, w, N, in, n, a))
FAKE(linear_gelu_forward,
     (llm_act *o, llm_act *y, const llm_act *i, llm_weight w, llm_weight b, size_t N, size_t in, size_t n),
     (o, y, i, w, b, N, in, n))
FAKE(residual_gelu_backward,
     (llm_act *di, llm_real *dw, llm_real *db, const llm_res *d, const llm_act *i, const llm_act *p, llm_weight w,
      size_t N, size_t in, size_t n, bool a),
     (di, dw, db, d, i, p, w, N, in, n, a))
FAKE(lora_forward,
     (void *o, llm_act *u, const llm_act *i, const llm_real *A, const llm_real *B, llm_real s, size_t N, size_t in,
      size_t r, llm_slice c, bool to),
     (o, u, i, A, B, s, N, in, r, c, to))
FAKE(lora_backward,
     (llm_act *di, llm_real *dA, llm_real *dB, llm_act *du, const void *d, const llm_act *u, const llm_act *i,
      const llm_real *A, const llm_real *B, llm_real s, size_t N, size_t in, size_t r, llm_slice c, bool from, bool a),
     (di, dA, dB, du, d, u, i, A, B, s, N, in, r, c, from, a))
FAKE(rope_forward, (llm_act *q, const llm_real *f, llm_real s, const int *p, size_t N, size_t H, size_t KV, size_t D),
     (q, f, s, p, N, H, KV, D))
FAKE(rope_backward, (llm_act *q, const llm_real *f, llm_real s, const int *p, size_t N, size_t H, size_t KV, size_t D),
     (q, f, s, p, N, H, KV, D))
FAKE(attention_forward,
     (llm_act *o, llm_real *l, const llm_act *q, const int *s, size_t B, size_t T, size_t H, size_t KV, size_t D),
     (o, l, q, s, B, T, H, KV, D))
FAKE(attention_backward,
     (llm_act *dq, const llm_act *d, const llm_act *o, const llm_real *l, const llm_act *q, const int *s, size_t B,
      size_t T, size_t H, size_t KV, size_t D),
     (dq, d, o, l, q, s, B, T, H, KV, D))
FAKE(gelu_forward, (llm_act *o, const llm_act *i, size_t n), (o, i, n))
FAKE(gelu_backward, (llm_act *di, const llm_act *d, const llm_act *i, size_t n), (di, d, i, n))
FAKE(swiglu_forward, (llm_act *o, const llm_act *i, size_t N, size_t F), (o, i, N, F))
FAKE(swiglu_backward, (llm_act *di, const llm_act *d, const llm_act *i, size_t N, size_t F), (di, d, i, N, F))
FAKE(logprob_forward,
     (llm_real *p, llm_real *l, llm_real *e, const llm_act *h, llm_weight w, const int *t, llm_head o, size_t N,
      size_t C, size_t V),
     (p, l, e, h, w, t, o, N, C, V))
FAKE(logprob_backward,
     (llm_act *dh, llm_real *dw, const llm_real *d, const llm_real *de, const llm_real *l, const llm_real *e,
      const llm_act *h, llm_weight w, const int *t, llm_head o, size_t N, size_t C, size_t V, bool a),
     (dh, dw, d, de, l, e, h, w, t, o, N, C, V, a))
FAKE(logprob_fused,
     (llm_real *p, llm_act *dh, llm_real *dw, const llm_real *d, const llm_act *h, llm_weight w, const int *t,
      llm_head o, size_t N, size_t C, size_t V, bool a),
     (p, dh, dw, d, h, w, t, o, N, C, V, a))
FAKE(logits, (llm_real *o, const llm_act *h, llm_weight w, const int *r, size_t n, size_t C, size_t V),
     (o, h, w, r, n, C, V))
FAKE(value_forward, (llm_real *v, const llm_act *h, const llm_real *u, size_t N, size_t C), (v, h, u, N, C))
FAKE(value_backward,
     (llm_act *dh, llm_real *du, const llm_real *dv, const llm_act *h, const llm_real *u, size_t N, size_t C, bool a,
      bool b),
     (dh, du, dv, h, u, N, C, a, b))
FAKE(grad_norm, (llm_adamw_state *s, const llm_param *p, int n), (s, p, n))
FAKE(adamw, (const llm_param *p, int n, void *m, void *v, llm_adamw_rule r, llm_adamw_state *s), (p, n, m, v, r, s))
FAKE(cache_attention,
     (llm_act *o, llm_act *k, llm_act *v, const llm_act *q, const int *r, const int *p, size_t n, size_t T, size_t H,
      size_t KV, size_t D),
     (o, k, v, q, r, p, n, T, H, KV, D))
FAKE(cache_copy, (llm_act *k, llm_act *v, size_t to, size_t from, size_t n, size_t T, size_t KV, size_t D),
     (k, v, to, from, n, T, KV, D))

/* A device that is asynchronous: what is fetched arrives with the next wait, and not before. */
enum { FAKE_FETCHES = 64 };
static struct { void *host; void *copy; size_t bytes; } fake_fetched[FAKE_FETCHES];
static int fake_fetches;

static void fake_wait(void) {
    for (int i = 0; i < fake_fetches; i++) {
        memcpy(fake_fetched[i].host, fake_fetched[i].copy, fake_fetched[i].bytes);
        free(fake_fetched[i].copy);
    }
    fake_fetches = 0;
}
/* Takes `copy`. */
static void fake_arrives(void *host, void *copy, size_t bytes) {
    if (fake_fetches == FAKE_FETCHES) abort();
    memset(host, 0xFF, bytes);          /* NaN: who reads too early is found out */
    fake_fetched[fake_fetches].host = host;
    fake_fetched[fake_fetches].copy = copy;
    fake_fetched[fake_fetches++].bytes = bytes;
}
static void fake_fetch(void *host, const void *device, size_t bytes) {
    fake_open();
    void *copy = malloc(bytes + 1);
    memcpy(copy, device, bytes);
    fake_close();
    fake_arrives(host, copy, bytes);
}
static void fake_download(void *host, const void *device, size_t bytes) {
    fake_wait();
    fake_open();
    memcpy(host, device, bytes);
    fake_close();
}
static void fake_enter(const llm_ops *ops) {
    (void)ops;
    if (fake_cpu->enter) fake_cpu->enter(fake_cpu);
}
/* `steps` ids of each speaker, put together from steps of one row and llm_sample. Like a GPU it knows no repetition
   penalty; and what it says, and how the speakers fare, arrives with the next wait. */
static int fake_spoken;                 /* calls */
static bool fake_speak(llm_model *m, llm_cache *cache, llm_speaker *who, size_t n, size_t steps, const llm_sampler *s,
                       const llm_request *x, int *id, llm_real *logp) {
    if (s->repeat_penalty != 1) return false;
    llm_speaker *next = malloc(n * sizeof *next);
    int *said = malloc(steps * n * sizeof *said);
    llm_real *sure = malloc(steps * n * sizeof *sure), *z = malloc((size_t)m->c.V * sizeof *z);
    const bool want = true;
    memcpy(next, who, n * sizeof *next);
    for (size_t i = 0; i < n; i++)
        for (size_t step = 0; step < steps; step++) {
            const size_t at = step * n + i;
            said[at] = -1;
            sure[at] = 0;
            if (next[i].left <= 0) continue;
            llm_cache_step(m, cache, &next[i].last, &next[i].row, &next[i].position, &want, 1, z);
            const bool numbers = z[0] < INFINITY;
            said[at] = numbers ? llm_sample(z, m->c.V, s, &next[i].rng, NULL, 0, x->banned) : 0;
            sure[at] = numbers ? LLM_MATH(log)(z[said[at]]) : z[0];
            llm_speaker_said(&next[i], said[at], llm_is_stop(said[at], x->stop, x->stops));
        }
    fake_arrives(who, next, n * sizeof *next);
    fake_arrives(id, said, steps * n * sizeof *said);
    fake_arrives(logp, sure, steps * n * sizeof *sure);
    free(z);
    fake_spoken++;
    return true;
}

#define ROW(op) .op = fake_##op
static const llm_ops *fake_device(llm_precision p) {
    static llm_ops ops;
    fake_cpu = llm_cpu(p);
    ops = (llm_ops){.name = "fake", .precision = p, .act_size = fake_cpu->act_size, .res_size = fake_cpu->res_size,
                    .dres_size = fake_cpu->dres_size, .head_rows = fake_cpu->head_rows, .speakers = fake_cpu->speakers,
                    .alloc = fake_alloc, .release = fake_release,
                    ROW(upload), ROW(download), ROW(fetch), ROW(wait), ROW(load_ids), ROW(store_weights),
                    ROW(embed_forward), ROW(embed_backward), ROW(layernorm_forward), ROW(layernorm_backward),
                    ROW(rmsnorm_forward), ROW(rmsnorm_backward), ROW(qk_norm_forward), ROW(qk_norm_backward),
                    ROW(post_norm_forward), ROW(post_norm_backward), ROW(stream_forward), ROW(stream_backward),
                    ROW(linear_forward), ROW(linear_backward),
                    ROW(residual_forward), ROW(residual_backward), ROW(lora_forward), ROW(lora_backward),
                    ROW(rope_forward), ROW(rope_backward), ROW(attention_forward), ROW(attention_backward),
                    ROW(gelu_forward), ROW(gelu_backward), ROW(swiglu_forward), ROW(swiglu_backward),
                    ROW(logprob_forward), ROW(logprob_backward), ROW(logits), ROW(value_forward), ROW(value_backward),
                    ROW(grad_norm), ROW(adamw), ROW(cache_attention), ROW(cache_copy), ROW(enter), ROW(speak)};
    if (fake_cpu->logprob_fused) ops.logprob_fused = fake_logprob_fused;
    if (fake_cpu->linear_gelu_forward) {
        ops.linear_gelu_forward = fake_linear_gelu_forward;
        ops.residual_gelu_backward = fake_residual_gelu_backward;
    }
    return &ops;
}
#endif
