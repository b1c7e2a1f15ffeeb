/* run.h: what the three drivers share around the training loop: the common flags, the choice of device, the step line
   for humans, the CSV for machines, and Ctrl-C; and the loop of the stages that learn from text (pretraining,
   fine-tuning), which differ in where their batches come from. Included after llm.h. */
#ifndef RUN_H
#define RUN_H

#include <signal.h>
#include "options.h"
#include "tensorboard.h"
#include "report.h"

typedef struct {
    llm_list data, val_data;
    const char *model, *out, *device, *precision, *log, *tensorboard, *report, *dump;
    int64_t steps, batch, seq, grad_accum, warmup, seed, threads, eval_every, sample_every, save_every, keep;
    double lr, lr_final, weight_decay, clip, skip_sigma;
    const char *schedule;
    bool recompute, moments16, resume, overwrite, overfit, dry_run;
} run_settings;

/* The rows of the option table that every driver begins with. */
/* clang-format off */
#define RUN_OPTIONS(r)                                                                                                \
    {"the run", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                                                           \
    {"data", LLM_LIST, &(r).data, 0, 0, "files or folders to train on; none: the tiny world", NULL, NULL},            \
    {"val-data", LLM_LIST, &(r).val_data, 0, 0,                                                                       \
     "files or folders to evaluate on; none: a part of --data", NULL, NULL},                                          \
    {"model", LLM_TEXT, &(r).model, 0, 0, "start from this Hugging Face folder", NULL, "m"},                          \
    {"out", LLM_TEXT, &(r).out, 0, 0, "folder of the result", NULL, "o"},                                             \
    {"resume", LLM_BOOL, &(r).resume, 0, 0, "continue from the newest checkpoint in --out", NULL, NULL},              \
    {"overwrite", LLM_BOOL, &(r).overwrite, 0, 0, "replace what --out holds", NULL, NULL},                            \
    {"dry-run", LLM_BOOL, &(r).dry_run, 0, 0,                                                                         \
     "print the plan (parameters, memory, FLOPs, time) and stop", NULL, NULL},                                        \
    {"seed", LLM_INT, &(r).seed, 0, 1e15, "of weights, shuffles and samples", NULL, NULL},                            \
    {"device", LLM_TEXT, &(r).device, 0, 0, "where to compute", "auto|cpu|plain|cuda", NULL},                         \
    {"precision", LLM_TEXT, &(r).precision, 0, 0,                                                                     \
     "of the matrix products; auto: the fastest with fp32's losses", "auto|fp32|bf16x3|bf16", "dtype"},               \
    {"threads", LLM_INT, &(r).threads, 0, 4096, "0: all cores", NULL, NULL},                                          \
    {"log", LLM_TEXT, &(r).log, 0, 0, "CSV of all steps; none: OUT/log.csv", NULL, NULL},                             \
    {"tensorboard", LLM_TEXT, &(r).tensorboard, 0, 0, "write events for TensorBoard into this folder", NULL, NULL},   \
    {"report", LLM_TEXT, &(r).report, 0, 0, "page of all stages; none: report.html beside --out; off", NULL, NULL},   \
    {"save-every", LLM_INT, &(r).save_every, 0, 1e9,                                                                  \
     "steps between checkpoints; 0: when interrupted only", NULL, NULL},                                              \
    {"keep", LLM_INT, &(r).keep, 1, 1000, "newest checkpoints to keep", NULL, NULL},                                  \
    {"learning", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                                                          \
    {"steps", LLM_INT, &(r).steps, 0, 1e9, "optimizer steps", NULL, NULL},                                            \
    {"batch", LLM_INT, &(r).batch, 1, 65536, "sequences in a micro-batch (B)", NULL, "batch-size"},                   \
    {"grad-accum", LLM_INT, &(r).grad_accum, 1, 65536, "micro-batches in a step", NULL, NULL},                        \
    {"lr", LLM_FLOAT, &(r).lr, 0, 10, "peak learning rate; 0: by the model's width", NULL, "learning-rate"},          \
    {"schedule", LLM_TEXT, &(r).schedule, 0, 0,                                                                       \
     "how the rate falls after the warmup", "cosine|linear|constant|wsd", NULL},                                      \
    {"lr-final", LLM_FLOAT, &(r).lr_final, 0, 1, "last rate, as a fraction of the peak", NULL, NULL},                 \
    {"warmup", LLM_INT, &(r).warmup, 0, 1e9, "steps of rising learning rate", NULL, NULL},                            \
    {"weight-decay", LLM_FLOAT, &(r).weight_decay, 0, 10, "of matrices", NULL, NULL},                                 \
    {"grad-clip", LLM_FLOAT, &(r).clip, 0, 1e9, "global gradient norm at most this; 0: off", NULL, NULL},             \
    {"skip-sigma", LLM_FLOAT, &(r).skip_sigma, 0, 1e9,                                                                \
     "skip steps whose gradient norm is this many deviations off; 0: off", NULL, NULL},                               \
    {"recompute", LLM_BOOL, &(r).recompute, 0, 0,                                                                     \
     "keep only each layer's input for the backward pass (less memory)", NULL, NULL},                                 \
    {"moments16", LLM_BOOL, &(r).moments16, 0, 0, "AdamW's moments as bf16 (less memory)", NULL, NULL}

/* For the stages that learn from text. */
#define RUN_TEXT_OPTIONS(r)                                                                                           \
    {"seq", LLM_INT, &(r).seq, 0, 1 << 20, "tokens in a sequence (T); 0: the model's context", NULL, "seq-len"},      \
    {"eval-every", LLM_INT, &(r).eval_every, 0, 1e9, "steps between evaluations; 0: at the end only", NULL, NULL},    \
    {"sample-every", LLM_INT, &(r).sample_every, 0, 1e9, "steps between samples; 0: at the end only", NULL, NULL},    \
    {"overfit-one-batch", LLM_BOOL, &(r).overfit, 0, 0,                                                               \
     "train on the first batch only: the loss must fall to 0", NULL, NULL},                                           \
    {"dump-batches", LLM_TEXT, &(r).dump, 0, 0, "write all batches to this file, and checkpoint-0, for comparisons",  \
     NULL, NULL}
/* clang-format on */

static inline run_settings run_defaults(void) {
    return (run_settings){.device = "auto",
                          .precision = "auto",
                          .schedule = "cosine",
                          .grad_accum = 1,
                          .keep = 2,
                          .seed = 1,
                          .lr_final = 0.1,
                          .weight_decay = 0.1,
                          .clip = 1};
}

/* Threads that wait for each other spin, by default for long: on a machine that others use too, a step then takes 20
   times as long (40 steps of the tiny world beside two busy programs: over 60 s; with this limit 12 to 17 s; on a quiet
   machine 3.0 instead of 2.9 s). GCC's OpenMP reads the limit when a program starts, so it is set and the program
   started again. */
static inline void run_patience(char **argv) {
#if defined(_OPENMP) && defined(__linux__)
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "3000", 1);
    execv("/proc/self/exe", argv);      /* returns only if it fails: then everything works, with less patience */
#else
    (void)argv;
#endif
}

/* The table of operations that --device and --precision choose; from here on they name it, for logs. */
static inline const llm_ops *run_device(run_settings *r) {
    llm_precision p = strcmp(r->device, "plain") ? llm_precision_best() : LLM_FP32;
    for (int i = 0; i <= LLM_BF16; i++)
        if (!strcmp(r->precision, llm_precision_name((llm_precision)i))) p = (llm_precision)i;
    const llm_ops *op = llm_device(r->device, p);
    r->device = op->name;
    r->precision = llm_precision_name(op->precision);
    int threads = llm_threads((int)r->threads);
    fprintf(stderr, "device: %s, %d thread%s, precision %s (%s)\n", r->device, threads, threads == 1 ? "" : "s",
            r->precision, llm_product_name(op));
    return op;
}
/* A checkpoint of another table is allowed, but not silently. */
static inline void run_note_table(const llm_json *state, const llm_ops *op) {
    const char *name = llm_precision_name(op->precision), *device = llm_json_text(state, "device", op->name);
    const char *precision = llm_json_text(state, "precision", name);
    if (strcmp(device, op->name) || strcmp(precision, name))
        fprintf(stderr, "note: the checkpoint is from device %s, precision %s: from here on sums have other bits\n",
                device, precision);
}

/* What the machine's matrix product reaches: FLOP/s, the best of a few products of 1024 x 1024 x 1024. */
static inline double run_peak(const llm_ops *op) {
    enum { n = 1024 };
    llm_act *x = op->alloc((size_t)n * n * op->act_size), *y = op->alloc((size_t)n * n * op->act_size);
    void *w = op->alloc((size_t)n * n * sizeof(llm_real));
    llm_weight weight = {w, op->precision == LLM_BF16 ? LLM_TYPE_BF16 : LLM_TYPE_REAL, NULL, NULL}, none = {0};
    double best = 0;
    for (int i = 0; i < 6; i++) {
        double t = llm_now();
        op->linear_forward(y, x, weight, none, n, n, n);
        op->wait();
        t = llm_now() - t;
        if (2.0 * n * n * n / t > best) best = 2.0 * n * n * n / t;
    }
    op->release(x);
    op->release(y);
    op->release(w);
    return best;
}

/* Adapters learn alone: no gradients and moments of the base, nor the FLOPs for them. */
static inline void run_plan_lora(llm_plan *p, const llm_config *c, int rank, const char *targets) {
    double n = (double)llm_lora_parameters(c, rank, targets), share = n / p->parameters;
    double less = (p->gradients + p->moments) * (1 - share);
    printf("lora: %.0f parameters learn (%.2f %%), %.2f MB less\n", n, 100 * share, less / 1e6);
    p->total -= less;
    p->gradients *= share;
    p->moments *= share;
    p->flops_per_token -= 2 * p->parameters;
}

/* ---- what --out may lose ----

   Nothing that is not ours, and nothing before the run has read and checked all its inputs. --overwrite removes the old
   checkpoints then (run_begin_out); the old result stays until the new one replaces it. In between a file, `replaced`,
   says that the result is not this run's: --resume goes on instead of calling it done. */

static const char run_mark[] = "replaced";

static inline char *run_mark_path(const char *out) { return llm_format("%s/%s", out, run_mark); }
/* The result of this run, not of one that it is about to replace. */
static inline bool run_result_exists(const char *out) {
    char *mark = run_mark_path(out);
    bool done = llm_result_exists(out) && !llm_exists(mark);
    llm_release(mark);
    return done;
}
/* A folder is never an input and a result at once, and what is overwritten does not hold an input. */
static inline void run_guard(const run_settings *r, const char *out, const char *input) {
    char *folder = realpath(out, NULL), *file = input ? realpath(input, NULL) : NULL;
    size_t n = folder ? strlen(folder) : 0;
    bool within = folder && file && !strncmp(file, folder, n) && (file[n] == '/' || !file[n] || n == 1);
    if (within && (r->overwrite || !file[n]))
        llm_usage("another --out", "%s %s, which this run reads", out, file[n] ? "holds an input" : "is an input");
    free(folder);
    free(file);
}
static inline void run_guard_list(const run_settings *r, const char *out, llm_list input) {
    for (int i = 0; i < input.count; i++) run_guard(r, out, input.item[i]);
}
/* The first of a result's files in a folder, or NULL. Somebody's package.json is none, nor somebody's config.json. */
static inline const char *run_holds(const char *out) {
    static const char *const file[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                       "generation_config.json", "special_tokens_map.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *path = llm_format("%s/%s", out, file[i]);
        bool there = llm_exists(path);
        llm_release(path);
        if (there) return file[i];
    }
    char *newest = llm_is_dir(out) ? llm_checkpoint_newest(out) : NULL;
    llm_release(newest);
    return newest ? "checkpoint" : NULL;
}
/* Does a file begin with, or (anywhere) hold, the text by which we know our own? Files that are not there do. */
static inline bool run_is_ours(const char *path, const char *text, bool anywhere) {
    struct stat s;
    if (lstat(path, &s)) return true;
    if (!S_ISREG(s.st_mode)) return false;
    size_t size, n = strlen(text);
    char *all = llm_read_file(path, &size);
    bool ours = anywhere ? strstr(all, text) != NULL : size >= n && !memcmp(all, text, n);
    llm_release(all);
    return ours || size == 0;
}
static inline void run_check_out(const run_settings *r, const char *out) {
    const char *held = run_holds(out);
    char *config = llm_format("%s/config.json", out);
    if (held && !r->overwrite && !r->resume)
        llm_usage("--resume to continue it, --overwrite to replace it, or another --out", "%s holds a %s already", out,
                  !strcmp(held, "config.json") ? "result" : held);
    if (!run_is_ours(config, "\"model_type\"", true))
        llm_usage("another --out", "%s is no model's: it will not be replaced", config);
    llm_release(config);
}
/* All inputs are read: from here on --out is this run's. */
static inline void run_begin_out(const run_settings *r, const char *out) {
    char *mark = run_mark_path(out), *critic = llm_format("%s/critic", out);
    if (r->overwrite && !r->resume && llm_is_dir(out)) {
        if (llm_result_exists(out)) {
            llm_writer w = llm_write_begin(mark);
            llm_write_text(&w, "A run that replaces this result has begun; --resume goes on with it.\n");
            llm_write_done(&w);
        }
        llm_checkpoints_clear(out);
        llm_checkpoints_clear(critic);
        rmdir(critic);
    }
    llm_make_dirs(out);
    llm_release(critic);
    llm_release(mark);
}
/* The new result is there. */
static inline void run_end_out(const char *out, bool adapter) {
    char *mark = run_mark_path(out), *old = llm_format("%s/adapter", out);
    unlink(mark);
    if (!adapter) llm_folder_clear(old);
    llm_release(old);
    llm_release(mark);
}
/* Refuse an --out that would lose something. Returns the checkpoint to continue from, or NULL. */
static inline char *run_open_out(const run_settings *r) {
    run_guard(r, r->out, r->model);
    run_guard_list(r, r->out, r->data);
    run_guard_list(r, r->out, r->val_data);
    char *newest = r->resume && llm_is_dir(r->out) ? llm_checkpoint_newest(r->out) : NULL;
    if (r->resume && !newest) llm_usage("start without --resume", "%s holds no complete checkpoint", r->out);
    run_check_out(r, r->out);
    llm_make_dirs(r->out);
    return newest;
}

/* Ctrl-C and SIGTERM: finish the step, save, say how to go on. */
static volatile sig_atomic_t run_stopping;
static inline void run_on_signal(int number) { run_stopping = number; }
static inline void run_catch_signals(void) {
    struct sigaction a = {.sa_handler = run_on_signal, .sa_flags = (int)SA_RESETHAND};     /* a second Ctrl-C kills */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* The CSV. On resume the rows of steps that will be taken again are dropped. */
static inline FILE *run_open_log(const run_settings *r, const char *header, int first_step) {
    char *path = r->log ? llm_format("%s", r->log) : llm_format("%s/log.csv", r->out), *old = NULL;
    if (!run_is_ours(path, "step,loss", false)) llm_die("another --log or --out", "%s is no log of ours", path);
    if (first_step > 0 && llm_exists(path)) old = llm_read_file(path, NULL);
    FILE *f = fopen(path, "w");
    if (!f) llm_die("another --log", "cannot write %s: %s", path, strerror(errno));
    fprintf(f, "%s\n", header);
    for (char *line = old ? strchr(old, '\n') : NULL, *end; line && (end = strchr(line + 1, '\n')); line = end)
        if (atoi(line + 1) < first_step) fprintf(f, "%.*s\n", (int)(end - line - 1), line + 1);
    fflush(f);
    llm_release(old);
    llm_release(path);
    return f;
}

static inline const char *run_time(double s, char text[32]) {
    if (!(s >= 0 && s < 1e9)) snprintf(text, 32, "?");
    else if (s < 60) snprintf(text, 32, "%.0fs", s);
    else if (s < 3600) snprintf(text, 32, "%dm%02ds", (int)s / 60, (int)s % 60);
    else snprintf(text, 32, "%dh%02dm", (int)(s / 3600), (int)s / 60 % 60);
    return text;
}

/* ---- the loop of the stages that learn from text ---- */

typedef struct {
    run_settings *s;
    llm_tokenizer tok;
    llm_model model;
    llm_adamw adamw;
    llm_schedule schedule;
    llm_batch *micro;                   /* [grad_accum] one whole step */
    llm_real *dlogp, *logp;             /* (B,T) */
    int step;                           /* steps taken */
    double nats, bytes;                 /* of the targets since the last step line: bits per byte */
    double peak, flops;                 /* FLOP/s of the machine, FLOP per token of the model */
    FILE *log, *dump;
    tensorboard board;
} run_state;

/* What a stage brings along; `stage` is its own struct. */
typedef struct {
    double (*step)(void *stage, double lr, double *norm); /* one optimizer step: the loss, and the gradient's norm */
    bool (*held_out)(void *stage, int index, llm_batch *b);     /* batches for the evaluation; false past the last */
    void (*speak)(void *stage, FILE *out, int count);           /* a few samples, so that one sees the model learn */
    char *(*position)(void *stage);                             /* where the data stand, as JSON, for a checkpoint */
} run_stage;

/* Once the model is there: its length of rows, its gradients, the optimizer, the schedule (lr: when no flag says) and
 * the batches. */
static inline void run_prepare(run_state *x, double lr) {
    static const char *decays[] = {"cosine", "linear", "constant", "wsd"};
    run_settings *r = x->s;
    if (!r->seq) r->seq = x->model.c.T;
    if (r->seq > x->model.c.T)
        llm_usage("a smaller --seq", "--seq %d is beyond the model's context of %d", (int)r->seq, x->model.c.T);
    if (x->model.c.V < x->tok.vocab_size)
        llm_die("the folder's own tokenizer", "the tokenizer has %d tokens, the model %d", x->tok.vocab_size,
                x->model.c.V);
    x->model.recompute = r->recompute;
    llm_model_train(&x->model);
    llm_model_print(&x->model, stderr);
    if (x->model.lora) llm_lora_print(&x->model, r->moments16, stderr);
    x->adamw = llm_adamw_defaults();
    x->adamw.weight_decay = r->weight_decay;
    x->adamw.clip = r->clip;
    x->adamw.skip_sigma = r->skip_sigma;
    x->adamw.moments16 = r->moments16;
    x->schedule = (llm_schedule){LLM_COSINE,     r->lr > 0 ? r->lr : lr, r->lr_final,
                                 (int)r->warmup, (int)r->steps,          (int)r->steps / 5};
    for (int i = 0; i < 4; i++)
        if (!strcmp(r->schedule, decays[i])) x->schedule.decay = (llm_decay)i;
    x->micro = llm_alloc((size_t)r->grad_accum, sizeof *x->micro);
    for (int i = 0; i < r->grad_accum; i++) x->micro[i] = llm_batch_new((int)r->batch, (int)r->seq);
    x->dlogp = llm_alloc((size_t)(r->batch * r->seq), sizeof *x->dlogp);
    x->logp = llm_alloc((size_t)(r->batch * r->seq), sizeof *x->logp);
    x->flops = llm_plan_make(&x->model.c, x->model.ops, (int)r->batch, (int)r->seq, true, r->recompute, r->moments16)
                   .flops_per_token;
    if (x->model.lora)
        x->flops -= 2.0 * (double)llm_parameters(&x->model.c); /* a frozen matrix needs no gradient of its own */
}
static inline void run_free(run_state *x) {
    for (int i = 0; x->micro && i < x->s->grad_accum; i++) llm_batch_free(&x->micro[i]);
    llm_release(x->micro);
    llm_release(x->dlogp);
    llm_release(x->logp);
    llm_adamw_free(&x->adamw, &x->model);
    llm_model_free(&x->model);
    llm_tokenizer_free(&x->tok);
}
/* Continue from a checkpoint whose model and tokenizer are loaded already. Returns its state; the stage reads its
 * position there. */
static inline llm_json *run_resume(run_state *x, const char *checkpoint) {
    llm_json *state = llm_checkpoint_resume(checkpoint, &x->model, &x->adamw, &x->tok);
    x->step = (int)llm_json_number(state, "step", 0);
    fprintf(stderr, "resumed %s at step %d\n", checkpoint, x->step);
    run_note_table(state, x->model.ops);
    return state;
}
static inline void run_checkpoint(run_state *x, const run_stage *g, void *stage) {
    char *position = g->position(stage), *member = llm_format("\"data\": %s", position);
    llm_checkpoint_save(x->s->out, x->step, &x->model, &x->adamw, &x->tok, member, (int)x->s->keep);
    llm_release(position);
    llm_release(member);
}
/* For comparisons with other programs: every batch of the run as int32 (magic, B, T, steps; then tokens and targets of
   each step, a target that does not count as -1), and the untrained model as checkpoint-0. */
static inline void run_open_dump(run_state *x) {
    run_settings *r = x->s;
    int32_t header[] = {0x4c4c4d42, (int32_t)(r->batch * r->grad_accum), (int32_t)r->seq, (int32_t)r->steps};
    if (!r->dump) return;
    if (!run_is_ours(r->dump, "BMLL", false)) llm_die("another --dump-batches", "%s is no such file of ours", r->dump);
    x->dump = fopen(r->dump, "wb");
    if (!x->dump || fwrite(header, sizeof header, 1, x->dump) != 1)
        llm_die("another --dump-batches", "cannot write %s: %s", r->dump, strerror(errno));
    llm_checkpoint_save(r->out, 0, &x->model, &x->adamw, &x->tok, NULL, 1000000);
}
static inline void run_dump_step(run_state *x) {
    if (!x->dump) return;
    bool ok = true;
    for (int targets = 0; targets < 2; targets++)
        for (int i = 0; i < x->s->grad_accum; i++)
            for (size_t k = 0, n = (size_t)x->micro[i].B * (size_t)x->micro[i].T; k < n; k++) {
                int id = !targets ? x->micro[i].tokens[k] : x->micro[i].weight[k] != 0 ? x->micro[i].targets[k] : -1;
                ok = ok && fwrite(&id, sizeof id, 1, x->dump) == 1;
            }
    if (!ok || fflush(x->dump)) llm_die("free some space", "cannot write %s: %s", x->s->dump, strerror(errno));
}
/* Loss on held-out text: nats per target (returned) and bits per byte, which compare across tokenizers. */
static inline double run_evaluate(run_state *x, const run_stage *g, void *stage, double *bpb) {
    double nats = 0, targets = 0, text = 0, bytes = 0;
    llm_batch b = llm_batch_new((int)x->s->batch, (int)x->s->seq);
    for (int i = 0; g->held_out(stage, i, &b); i++) {
        llm_forward(&x->model, &b, x->logp, NULL, NULL);
        nats += llm_loss_ce(x->logp, &b, 1);
        targets += llm_batch_targets(&b);
        text += llm_batch_nats(&b, &x->tok, x->logp);
        bytes += llm_batch_bytes(&b, &x->tok);
    }
    llm_batch_free(&b);
    *bpb = text / bytes / 0.6931471805599453;
    return nats / targets;
}
/* The targets of a micro-batch and what they cost, for the step line's bits per byte. */
static inline void run_count(run_state *x, const llm_batch *b) {
    x->nats += llm_batch_nats(b, &x->tok, x->logp);
    x->bytes += llm_batch_bytes(b, &x->tok);
}
static inline void run_report(run_state *x, double loss, double norm, double lr, double seconds, double each,
                              double val, double bpb) {
    const run_settings *r = x->s;
    double rate = (double)(r->batch * r->grad_accum * r->seq) / seconds;
    char eta[32];
    int every = int_max(1, (int)r->steps / 40);
    if (x->step % every == 0 || x->step == (int)r->steps) {
        fprintf(stderr,
                "step %d/%d | loss %.3f | bpb %.3f | lr %.1e | gnorm %.2f | %.1fk tok/s | %.0f%% peak | eta %s\n",
                x->step, (int)r->steps, loss, x->nats / x->bytes / 0.6931471805599453, lr, norm, rate / 1e3,
                100 * x->flops * rate / x->peak, run_time(each * ((double)r->steps - x->step), eta));
        x->nats = x->bytes = 0;
    }
    const char *tag[] = {"train/loss", "train/learning_rate", "train/grad_norm", "train/tok_per_sec",
                         "val/loss",   "val/bpb"};
    const double value[] = {loss, lr, norm, rate, val, bpb};
    for (int i = 0; i < 6; i++) tb_scalar(&x->board, x->step, tag[i], value[i]);
    fprintf(x->log, "%d,%.9g,%.9g,%.9g,%.0f,", x->step, loss, lr, norm, rate);
    if (!isnan(val)) fprintf(x->log, "%.9g,%.9g\n", val, bpb);
    else fprintf(x->log, ",\n");
    fflush(x->log);
}
static inline void run_train(run_state *x, const run_stage *g, void *stage) {
    run_settings *r = x->s;
    x->log = run_open_log(r, "step,loss,lr,gnorm,tok_per_s,val_loss,val_bpb", x->step + 1);
    x->board = tb_open(r->tensorboard, r->out);
    x->peak = run_peak(x->model.ops);
    run_catch_signals();
    double began = llm_now();
    int first = x->step;
    while (x->step < r->steps && !run_stopping) {
        double from = llm_now(), norm, lr = llm_schedule_lr(&x->schedule, x->step);
        double loss = g->step(stage, lr, &norm), seconds = llm_now() - from, val = NAN, bpb = NAN;
        x->step++;
        if (r->eval_every && x->step % r->eval_every == 0) {
            val = run_evaluate(x, g, stage, &bpb);
            fprintf(stderr, "step %d/%d | validation loss %.3f | bpb %.3f\n", x->step, (int)r->steps, val, bpb);
        }
        run_report(x, loss, norm, lr, seconds, (llm_now() - began) / (x->step - first), val, bpb);
        if (r->sample_every && x->step % r->sample_every == 0) g->speak(stage, stderr, 2);
        if (r->save_every && x->step % r->save_every == 0 && x->step < r->steps) run_checkpoint(x, g, stage);
    }
    fclose(x->log);
    if (x->dump) fclose(x->dump);
    tb_close(&x->board);
    if (!run_stopping) return;
    run_checkpoint(x, g, stage);
    fprintf(stderr, "interrupted at step %d, saved. To go on: the same command with --resume\n", x->step);
    exit(128 + run_stopping);
}

/* The curves of such a stage, from its log: so all steps are there, after --resume too. */
static inline void run_curves(report_card *p, const run_settings *r) {
    if (!p->body) return;
    char *path = r->log ? llm_format("%s", r->log) : llm_format("%s/log.csv", r->out);
    report_log(p, "loss, nats per token", path, "loss|val_loss", NULL, NULL, true);
    report_log(p, "learning rate", path, "lr", NULL, NULL, false);
    report_log(p, "gradient norm", path, "gnorm", NULL, NULL, true);
    report_log(p, "tokens per second", path, "tok_per_s", NULL, NULL, false);
    llm_release(path);
}
/* What a function prints, as text. */
static inline char *run_printed(void (*print)(void *stage, FILE *out, int count), void *stage, int count) {
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) llm_die("a machine with more memory", "cannot keep the samples: %s", strerror(errno));
    print(stage, f, count);
    fclose(f);
    return text;                        /* from malloc: free() it */
}

#endif
