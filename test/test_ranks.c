/* test_ranks.c: many ranks train to the same bits as one. Started by test/test_mpi.sh with 1, 2 and 4 ranks and each
   ZeRO; rank 0 prints a line for each case, "case: hash", and all these runs must print the same.

       mpirun -np R build/test_ranks ZERO            train every model
       mpirun -np R build/test_ranks ZERO save DIR   two steps, and a checkpoint of each model
       mpirun -np R build/test_ranks ZERO go DIR     from there a third: the same lines as three in a row
       mpirun -np R build/test_ranks ZERO save DIR N, look DIR N     where N ranks share each layer; what is in there
       mpirun -np R build/test_ranks ZERO share N    N ranks share each layer: the same but for rounding, so numbers
       mpirun -np R build/test_ranks ZERO late       as the first, over an engine that does all as late as it may
       mpirun -np R build/test_ranks ZERO bytes      memory and wire against chapter 10's formulas */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/checkpoint.h"
#include "../tools/scores.h"
#include "tiny_models.h"

enum { B = 2, T = 8, STEPS = 3 };
typedef struct {
    const char *name; llm_config c; const llm_ops *ops; bool lora, moments16; llm_keep keep; int micros;
} sample;

/* The i-th micro-batch of a step, the same whoever computes it. */
static llm_batch micro(const llm_config *c, int step, int i) {
    return random_batch(B, T, c->V, true, 1000 * (uint64_t)step + (uint64_t)i);
}
/* One micro-batch; work: false where there is none for this rank in the last round, and it adds nothing. */
static void pass(llm_model *m, int step, int i, double M, bool work) {
    llm_batch b = micro(&m->c, step, work ? i : 0);
    llm_real *d = llm_alloc(llm_places(&b), sizeof *d), *e = llm_alloc(llm_places(&b), sizeof *e);
    for (int n = 0; n < B * T; n++) d[n] = work ? (llm_real)(-1 / M) : 0, e[n] = work ? (llm_real)(0.01 / M) : 0;
    if (!m->c.score) llm_forward_backward(m, &b, d, NULL);
    else {                              /* a critic: values alone in one step, words and entropy too in the next */
        llm_real *value = llm_alloc(llm_places(&b), sizeof *value);
        llm_forward(m, &b, NULL, e, value);
        for (int n = 0; n < B * T; n++) e[n] = d[n] / 8;
        for (int n = 0; n < B * T; n++) value[n] = work ? (value[n] - 1) / (llm_real)M : 0;
        llm_backward(m, &b, step % 2 ? d : NULL, step % 2 ? e : NULL, value);
        llm_release(value);
    }
    llm_release_all(d, e);
    llm_batch_free(&b);
}
static void one_step(llm_model *m, llm_adamw *o, const sample *x, int step) {
    const int R = llm_team->datas, me = llm_team->data;
    for (int first = 0; first < x->micros; first += R)
        pass(m, step, first + me, x->micros * B * T, first + me < x->micros);
    llm_adamw_step(o, m, 0.02);
}
static uint64_t hash_rows(const llm_ops *op, const llm_param *p, int params, uint64_t h) {
    for (int i = 0; i < params; i++) {
        void *x = stored_numbers(op, &p[i]);
        h = llm_hash(x, full_size(&p[i]) * (p[i].data ? sizeof(llm_real) : sizeof(uint16_t)), h);
        llm_release(x);
    }
    return h;
}
/* All that a run leaves: weights, adapters, moments, the norm; and what the model then says. */
static uint64_t hash_tensors(const llm_model *m, const llm_adamw *o) {
    int count;
    llm_param *t = moment_rows(m, o, &count);
    uint64_t h = hash_rows(m->ops, m->param, m->params, 1);
    if (m->lora) h = hash_rows(m->ops, m->lora->param, m->lora->params, h);
    h = hash_rows(m->ops, t, count, h);
    llm_release(t);
    return h;
}
static uint64_t hash_all(llm_model *m, const llm_adamw *o) {
    uint64_t h = llm_hash(&o->state.norm, sizeof o->state.norm, hash_tensors(m, o));
    llm_batch b = micro(&m->c, 99, 0);
    llm_real *logp = llm_alloc(llm_places(&b), sizeof *logp);
    llm_forward(m, &b, logp, NULL, NULL);
    h = llm_hash(logp, llm_places(&b) * sizeof *logp, h);
    int said[2][6], length[2];
    llm_sampler s = llm_sampler_defaults();
    llm_generate_batch(m, &s, (llm_request){.prompt = (const int *[]){b.tokens, b.tokens + T}, .length = (int[]){3, 5},
                                            .prompts = 2, .max_new = 6, .out = (int *[]){said[0], said[1]},
                                            .out_length = length});
    /* Where the weights are split the row `decode`, which rounds otherwise in bf16, is not used. */
    const uint64_t without = h;
    for (int i = 0; i < 2; i++) h = llm_hash(said[i], (size_t)length[i] * sizeof(int), h);
    uint64_t *all = llm_alloc(llm_team->size, sizeof *all);
    all[llm_team->rank] = h;
    llm_team->gather(all, sizeof *all);
    for (int r = 0; r < llm_team->size; r++)
        if (all[r] != h) llm_die(NULL, "rank %d has or says something else", r);
    llm_release_all(all, logp);
    llm_batch_free(&b);
    return m->ops->precision == LLM_BF16 ? without : h;
}
/* base: where the folder of the model under the adapters goes, or NULL */
static llm_model sample_model(const sample *x, const char *base) {
    llm_model m = build(x->c, x->ops, 7);
    if (x->lora && base) llm_model_save(&m, base);
    if (x->lora) llm_lora_attach(&m, 2, 4, "all", base, 3);
    m.keep = x->keep;
    llm_model_train(&m);
    return m;
}
/* The norm of the last step, and what the model then thinks of a text. */
static void print_numbers(llm_model *m, const llm_adamw *o, const char *name) {
    llm_batch b = micro(&m->c, 99, 0);
    llm_real *logp = llm_alloc(llm_places(&b), sizeof *logp);
    hash_all(m, o);                     /* all ranks alike */
    llm_forward(m, &b, logp, NULL, NULL);
    printf("%s %.17g", name, o->state.norm);
    for (int n = 0; n < B * T; n++) printf(" %.17g", (double)logp[n]);
    printf("\n");
    llm_release(logp);
    llm_batch_free(&b);
}
static void train(const sample *x, int from, int to, const char *dir, const char *what) {
    const bool save = !strcmp(what, "save");
    char *folder = llm_format("%s/%s", dir ? dir : "", x->name), *base = llm_format("%s-base", folder);
    llm_model m = sample_model(x, save ? base : NULL);
    llm_adamw o = llm_adamw_defaults();
    o.moments16 = x->moments16;
    o.clip = 0.05;
    if (!strcmp(what, "share")) o.eps = 1e-3;           /* tiny gradients decide no sign */
    if (from) {
        char *newest = llm_checkpoint_newest(folder);
        llm_model_free(&m);
        hf_model_load(&m, newest, x->ops);
        m.keep = x->keep;
        llm_model_train(&m);
        llm_json_free(llm_checkpoint_resume(newest, &m, &o, NULL));
        llm_release(newest);
    }
    for (int s = from; s < to; s++) one_step(&m, &o, x, s);
    if (save) llm_checkpoint_save(folder, to, &m, &o, NULL, NULL, 1);
    else if (!strcmp(what, "look")) printf("%s: %016llx\n", x->name, (unsigned long long)hash_tensors(&m, &o));
    else if (!strcmp(what, "share")) print_numbers(&m, &o, x->name);
    else printf("%s: %016llx\n", x->name, (unsigned long long)hash_all(&m, &o));
    fflush(stdout);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
    llm_release_all(folder, base);
}
/* Models made from others: a copy, a head on top, a merged adapter, what a frozen one says. */
static void offspring(const llm_ops *op) {
    llm_config c = tiny_llama(false, 2, true);
    llm_model m, copy, critic;
    llm_model_init(&m, &c, op, 5);
    llm_model_copy(&copy, &m, true);
    llm_model_copy(&critic, &m, false);
    llm_model_add_score(&critic, 9);
    score_normalise(&critic, (double[]){1, 3, 4, 9}, 4);
    llm_lora_attach(&m, 2, 4, "all", NULL, 3);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    sample x = {.c = c, .micros = 4};
    one_step(&m, &o, &x, 0);
    one_step(&m, &o, &x, 1);
    llm_adamw_free(&o, &m);
    llm_lora_merge(&m);
    llm_model_train(&m);                /* now the merged model itself */
    one_step(&m, &o, &x, 2);
    const uint64_t h[] = {hash_all(&m, &o), hash_rows(op, copy.param, copy.params, 1),
                          hash_rows(op, critic.param, critic.params, 1)};
    llm_batch b = micro(&c, 98, 1);
    llm_real value[B * T], logp[B * T];
    llm_forward(&critic, &b, logp, NULL, value);
    printf("offspring on %s: %016llx %016llx %016llx\n", op->name, (unsigned long long)h[0], (unsigned long long)h[1],
           (unsigned long long)llm_hash(value, sizeof value, h[2]));
    if (sizeof(llm_real) == 4) {        /* in fewer bits: never split */
        llm_quantise(&copy, LLM_TYPE_Q8);
        llm_forward(&copy, &b, logp, NULL, NULL);
        printf("quantised on %s: %016llx\n", op->name, (unsigned long long)llm_hash(logp, sizeof logp, 0));
    }
    llm_batch_free(&b);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
    llm_model_free(&copy);
    llm_model_free(&critic);
}
/* ---- an engine that is late: sums and weights move in the wait, no earlier ----

   MPI has done a row when it returns; NCCL may still read a slot that is written anew. Here it always does. */

typedef struct { llm_real *to; const llm_real *from; size_t n; int root; bool sum, add; } errand;
static llm_ranks prompt;                /* MPI's own rows */
static errand errands[1024];
static int asked;

static void late_sum(llm_real *acc, const llm_real *part, size_t n, int root, bool add) {
    if (asked == 1024) llm_die(NULL, "nobody waits");
    errands[asked++] = (errand){acc, part, n, root, true, add};
}
static void late_spread(llm_real *x, const llm_real *own, size_t n, int root) {
    errands[asked++] = (errand){x, own, n, root, false, false};
}
static void late_wait(void) {
    for (int i = 0; i < asked; i++) {
        const errand *e = &errands[i];
        if (e->sum) prompt.sum(e->to, e->from, e->n, e->root, e->add);
        else prompt.spread(e->to, e->from, e->n, e->root);
    }
    asked = 0;
}

/* ---- memory and the wire, counted, beside chapter 10's formulas ---- */

static double taken;
static void *counted_alloc(size_t bytes) {
    taken += (double)bytes;
    return llm_plain.alloc(bytes);
}
static void must_be(const char *what, double is, double formula) {
    if (!(is == formula)) llm_die(NULL, "ZeRO %d: %s: %.0f bytes, formula %.0f", llm_team->zero, what, is, formula);
    printf("%s: %.0f bytes\n", what, is);
}
static double all_sent(void) {
    double *sent = llm_alloc(llm_team->size, sizeof *sent), sum = 0, before = llm_team->sent;
    sent[llm_team->rank] = before;
    llm_team->gather(sent, sizeof *sent);
    for (int r = 0; r < llm_team->size; r++) sum += sent[r];
    llm_release(sent);
    llm_team->sent = before;            /* the question is not part of the run */
    return sum;
}
static void bytes(int micros) {
    /* every row fills whole lines, and the arena whole shares: no padding in the formulas' way */
    llm_config c = {.V = 128, .T = 64, .L = 5, .C = 64, .H = 4, .KV = 2, .D = 16, .F = 128, .norm = LLM_RMSNORM,
                    .position = LLM_ROPE, .activation = LLM_SWIGLU, .eps = 1e-5, .rope_theta = 100, .bos = -1,
                    .family = LLM_LLAMA, .eos = -1, .pad = -1};
    llm_ops counting = llm_plain;
    counting.alloc = counted_alloc;
    const int Z = llm_team->zero, R = llm_team->datas, rounds = (micros + R - 1) / R;
    const double P = (double)llm_parameters(&c), b = sizeof(llm_real), own = P / R;
    const double block = 64 * (2 + 64 + 2 * 32 + 64 + 3 * 128), ends = 128 * 64 * 2 + 64, slots = ends + 2 * block;
    llm_model m;
    sample x = {.c = c, .ops = &counting, .micros = micros};
    taken = 0;
    llm_model_init(&m, &c, &counting, 1);
    must_be("weights", taken, b * (Z == 3 ? own + slots : P) + 8 * b);          /* and rope's 8 frequencies */
    taken = 0;
    llm_model_train(&m);
    must_be("gradients", taken, b * ((Z >= 2 ? own : P) + slots));
    taken = 0;
    llm_adamw o = llm_adamw_defaults();
    one_step(&m, &o, &x, 0);
    must_be("moments", taken - (double)m.pool_bytes - sizeof(llm_adamw_state), 2 * b * (Z ? own : P));
    llm_team->sent = 0;
    one_step(&m, &o, &x, 1);
    const double sums = rounds * P * (Z == 0 ? 2 : 1), back = Z == 1 || Z == 2 ? P : 0;
    const double brought = Z == 3 ? ends + (2 + 2 * rounds * (c.L - 2)) * block : 0;
    must_be("sent in a step", all_sent(), (R - 1) * (b * (sums + back + brought) + (Z ? 16 * R : 0)));
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
}

int main(int argc, char **argv) {
    llm_mpi(&argc, &argv);
    const int zero = argc > 1 ? atoi(argv[1]) : 0;
    const char *what = argc > 2 ? argv[2] : "", *dir = argc > 3 ? argv[3] : NULL;
    const bool share = !strcmp(what, "share") || argc > 4;
    llm_team_set(zero, share ? atoi(argv[argc - 1]) : 1);
    llm_threads(1);
    llm_config gpt = tiny_gpt2(), apart = gpt, critic = tiny_llama(false, 4, false);
    llm_config deep = gpt, deep_llama = tiny_llama(false, 2, true);
    deep.L = 5, deep_llama.L = 4;       /* slots are used again from the third block on */
    apart.tied = false;
    apart.L = critic.L = 3;
    critic.score = true;
    const llm_ops *fast = llm_cpu(LLM_FP32);
    if (!strcmp(what, "late")) {
        prompt = *llm_team;
        llm_team->sum = late_sum, llm_team->spread = late_spread, llm_team->wait = late_wait;
        what = "";
    }
    if (!strcmp(what, "bytes")) {
        bytes(4);
        bytes(6);
        return 0;
    }
    sample list[24];
    int n = 0;
    list[n++] = (sample){"gpt2", gpt, &llm_plain, .micros = 4};
    list[n++] = (sample){"gpt2-simd", deep, fast, .micros = 4, .keep = LLM_KEEP_ALL};
    list[n++] = (sample){"gpt2-untied", apart, &llm_plain, .micros = 4, .keep = LLM_KEEP_INPUTS};
    list[n++] = (sample){"llama", tiny_llama(true, 2, false), &llm_plain, .micros = 6};
    list[n++] = (sample){"olmo2", tiny_family(LLM_OLMO2), &llm_plain, .micros = 4};
    list[n++] = (sample){"qwen3-simd", tiny_family(LLM_QWEN3), fast, .micros = 3, .keep = LLM_KEEP_INPUTS};
    list[n++] = (sample){"llama-simd", deep_llama, fast, .micros = 5, .keep = LLM_KEEP_INPUTS};
    list[n++] = (sample){"llama-moments16", deep_llama, fast, .micros = 4, .moments16 = true};
    list[n++] = (sample){"critic", critic, &llm_plain, .micros = 4};
    list[n++] = (sample){"critic-simd", critic, fast, .micros = 3};
    list[n++] = (sample){"gpt2-lora", gpt, &llm_plain, .lora = true, .micros = 4};
    list[n++] = (sample){"llama-lora", deep_llama, fast, .lora = true, .micros = 6, .moments16 = true};
    if (sizeof(llm_real) == 4) {
        list[n++] = (sample){"gpt2-bf16", gpt, llm_cpu(LLM_BF16), .micros = 4};
        list[n++] = (sample){"llama-bf16", deep_llama, llm_cpu(LLM_BF16), .micros = 4};
        list[n++] = (sample){"llama-bf16-lora", tiny_llama(true, 2, false), llm_cpu(LLM_BF16), .lora = true,
                             .micros = 4};
    }
    const bool look = !strcmp(what, "look");
    const int from = !strcmp(what, "go") || look ? 2 : 0, to = !strcmp(what, "save") || look ? 2 : STEPS;
    for (int i = 0; i < n; i++)
        if (!share || !(list[i].lora || list[i].c.qk_norm || list[i].ops->precision == LLM_BF16 || (list[i].moments16 && argc == 4)))
            train(&list[i], from, to, dir, what);
    if (!*what) offspring(&llm_plain), offspring(fast);
    return 0;
}
