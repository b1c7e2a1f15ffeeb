/* run.h: what the three drivers share: the choice of device, and the one training loop, with the step line for humans,
   the CSV for machines, checkpoints and Ctrl-C. Included after llm.h. */
#ifndef RUN_H
#define RUN_H

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "flags.h"
#include "gpu.h"
#include "out.h"
#include "team_plan.h"
#include "tensorboard.h"


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

/* Does a GPU answer, and is llm_cuda.cuh linked? text: which one, or why not. */
static inline bool run_gpu(char *text, size_t size) {
#ifdef LLM_CUDA
    return llm_cuda_devices(text, size) > 0;
#else
    const bool idle = access("/dev/nvidia0", F_OK) == 0;
    snprintf(text, size, "built without CUDA%s", idle ? ": there is an NVIDIA GPU, but nvcc was not found" : "");
    return false;
#endif
}
/* The table called "plain", "cpu" or "cuda". What this program or machine does not have is refused. Sums of two tables
   have other bits. */
static inline const llm_ops *run_table(const char *name, llm_precision p) {
    char gpu[400];
    if (!strcmp(name, "cuda") && !run_gpu(gpu, sizeof gpu)) llm_usage("--device cpu", "no GPU to compute on: %s", gpu);
#ifdef LLM_CUDA
    if (!strcmp(name, "cuda")) return llm_cuda(p);
#endif
    if (!strcmp(name, "auto") || !strcmp(name, "cpu")) return llm_cpu(p);
    if (strcmp(name, "plain")) llm_usage("auto, cpu, plain or cuda", "no device is called \"%s\"", name);
    if (p != LLM_FP32) llm_usage("--precision fp32", "the plain loops do not compute in %s", llm_precision_name(p));
    return &llm_plain;
}
/* How the ranks share the work. */
static inline void run_ranks(const run_settings *r, bool cuda) {
    llm_ranks *team = llm_team;
    if (!team) return;
    if (cuda && !strcmp(team->engine, "MPI"))
        llm_usage("make MULTI_GPU=1, or --device cpu", "MPI's ranks compute on CPUs");
    if (!cuda && strcmp(team->engine, "MPI"))
        llm_usage("make MPI=1, or --device cuda", "%s's ranks compute on GPUs", team->engine);
    team->timeout = (int)r->rank_timeout;
    llm_team_set((int)r->zero, (int)r->tensors);
    fprintf(stderr, "ranks: %d process%s (%s)", team->size, team->size > 1 ? "es" : "", team->engine);
    if (team->zero) fprintf(stderr, ", ZeRO %d", team->zero);
    if (team->tensors > 1) fprintf(stderr, ", %d share every layer", team->tensors);
    fprintf(stderr, "\n");
}
/* The table of operations that --device and --precision choose; from here on they name it, for logs. */
static inline const llm_ops *run_device(run_settings *r) {
    char gpu[400];
    const bool any = run_gpu(gpu, sizeof gpu), asked = strcmp(r->device, "auto") != 0;
    if (!asked) r->device = any ? "cuda" : "cpu";
    const bool cuda = !strcmp(r->device, "cuda");
    llm_precision p = cuda ? LLM_BF16 : strcmp(r->device, "plain") ? llm_precision_best() : LLM_FP32;
    for (int i = 0; i <= LLM_TF32; i++)
        if (!strcmp(r->precision, llm_precision_name((llm_precision)i))) p = (llm_precision)i;
    const llm_ops *op = run_table(r->device, p);
    if (r->offload && !op->alloc_host)
        llm_usage("no --offload, or --device cuda", "nothing to offload: the CPU's memory is the host's");
    if (r->recompute && !strcmp(r->keep_all, "yes")) llm_usage("one of them", "--recompute and --keep-all yes");
    if (r->recompute) r->keep_all = "no";
    r->device = op->name;
    r->precision = llm_precision_name(op->precision);
    run_ranks(r, cuda);
    const int share = getenv("OMP_NUM_THREADS") ? 0 : ranks_threads(llm_threads(0));
    int threads = llm_threads(r->threads ? (int)r->threads : share);
    fprintf(stderr, "device: %s, %d thread%s, precision %s (%s)%s%s\n", r->device, threads, threads == 1 ? "" : "s",
            r->precision, cuda ? gpu : llm_product_name(op), asked || any ? "" : "; no GPU: ", asked || any ? "" : gpu);
    return op;
}
/* What each layer keeps for the backward pass. */
static inline llm_keep run_keep(const run_settings *r) {
    return r->recompute ? LLM_KEEP_INPUTS : strcmp(r->keep_all, "yes") ? LLM_KEEP_MOST : LLM_KEEP_ALL;
}
/* A checkpoint of another table is allowed, but not silently. */
static inline void run_note_table(const llm_json *state, const llm_ops *op) {
    const char *name = llm_precision_name(op->precision), *device = llm_json_text(state, "device", op->name);
    const char *precision = llm_json_text(state, "precision", name);
    if (strcmp(device, op->name) || strcmp(precision, name))
        fprintf(stderr, "note: the checkpoint is from device %s, precision %s: from here on sums have other bits\n",
                device, precision);
}

/* FLOP/s of the best of a few products of n x n x n; where there is no room for them, of smaller ones. */
static inline double run_product(const llm_ops *op, size_t n) {
    llm_act *x = op->alloc(n * n * op->act_size), *y = op->alloc(n * n * op->act_size);
    void *w = op->alloc(n * n * sizeof(llm_real));
    const bool room = x && y && w;
    llm_weight weight = {w, op->precision == LLM_BF16 ? LLM_TYPE_BF16 : LLM_TYPE_REAL, NULL, NULL}, none = {0};
    double best = 0, spent = 0;
    for (int i = 0; i < 6 && spent < 0.5 && room; i++) {
        double t = llm_now();
        op->linear_forward(y, x, weight, none, n, n, n);
        op->wait();
        t = llm_now() - t;
        spent += t;
        best = fmax(best, 2.0 * n * n * n / t);
    }
    if (x) op->release(x);
    if (y) op->release(y);
    if (w) op->release(w);
    return room || n < 64 ? best : run_product(op, n / 2);
}
/* What the machine's matrix product reaches, measured. A small one ends before a large GPU is awake. */
static inline double run_measured(const llm_ops *op) {
    const double small = run_product(op, 1024);
    return small > 5e12 ? run_product(op, 8192) : small;
}
static inline bool run_on_gpu(const llm_ops *op) { return !strcmp(op->name, "cuda"); }
/* Bytes that the GPU had free when the program began; on a CPU 0. */
static inline double run_gpu_memory(const llm_ops *op) {
#ifdef LLM_CUDA
    if (run_on_gpu(op)) return (double)llm_cuda_memory();
#endif
    (void)op;
    return 0;
}
/* FLOP/s at most: what the maker of a known GPU says, else what the product reaches. */
static inline double run_peak(const llm_ops *op) {
    char gpu[400];
    const double known = run_on_gpu(op) && run_gpu(gpu, sizeof gpu) ? gpu_peak(gpu) : 0;
    if (known > 0 && op->precision == LLM_BF16) return known;
    if (known > 0 && op->precision == LLM_TF32) return known / 2;
    return run_measured(op);
}

/* The data ranks of this run, or of the one that is planned; 0: neither. */
static inline int run_data_ranks(const run_settings *r) {
    return llm_team ? llm_team->datas : r->planned ? (int)(r->planned / r->tensors) : 0;
}
/* Rows of a micro-batch: --batch, or, where `times` of them are fewer than `parts`, the largest part of it that makes
   enough. */
static inline int run_rows(int batch, int times, int parts) {
    int rows = batch;
    while (rows > 1 && (batch % rows || batch / rows * times < parts)) rows--;
    return rows;
}
/* The team of a run whose micro-batches have r->rows rows. */
static inline team_shape run_team(const run_settings *r) {
    const int datas = run_data_ranks(r), rows = (int)(r->rows ? r->rows : r->batch);
    return (team_shape){datas * (int)r->tensors, (int)r->tensors, (int)r->zero,
                        ceil((double)(r->batch / rows * r->grad_accum) / datas)};
}

/* What a model that learns needs. all: as if every layer kept all. --offload: the moments are not the GPU's. */
static inline llm_plan run_plan(const run_settings *r, const llm_ops *op, const llm_config *c, int T, bool all) {
    const llm_keep keep = all ? LLM_KEEP_ALL : r->recompute ? LLM_KEEP_INPUTS : LLM_KEEP_MOST;
    llm_plan p = llm_plan_make(c, op, (int)(r->rows ? r->rows : r->batch), T, true, keep, r->moments16);
    if (!r->offload) return p;
    p.host = p.moments;
    p.total -= p.moments;
    p.moments = 0;
    return p;
}
/* Adapters learn alone, n numbers: no gradients and moments of the base, nor the FLOPs for them; the base in fewer
   bits. */
static inline void run_plan_lora(llm_plan *p, double n, llm_type weights, bool say) {
    static const double bytes[] = {sizeof(llm_real), 2, 1 + 2 / 32.0, 0.5 + 2 / 32.0};  /* chapter 4: fewer bits */
    double share = n / p->parameters, less = (p->gradients + p->moments) * (1 - share);
    if (say) printf("lora: %.0f parameters learn (%.2f %%), %.2f MB less\n", n, 100 * share, less / 1e6);
    p->total -= less;
    p->gradients *= share;
    p->moments *= share;
    p->host *= share;
    p->flops_per_token -= 2 * p->parameters;
    if (weights == LLM_TYPE_REAL) return;
    p->total += p->parameters * bytes[weights] - p->weights - p->work;
    p->weights = p->parameters * bytes[weights];
    p->work = 0;
}
/* The plan of a model that learns, before its activations are allocated; n: numbers of adapters that learn alone, else
   0. Chooses --keep-all and says so: auto is yes where the GPU had room, with a tenth to spare, for this model, for
   what stands beside it, and for what it and `others` that learn too then keep more. On a CPU it is no: a step is
   about 1 % faster there, for up to a third more memory. */
static inline llm_plan run_planned(run_settings *r, const llm_ops *op, const llm_config *c, int T, double n,
                                   llm_type weights, double beside, int others) {
    FILE *out = r->dry_run ? stdout : stderr;
    llm_plan p = run_plan(r, op, c, T, false);
    const double more = run_plan(r, op, c, T, true).activations - p.activations, all = (1 + others) * more;
    if (n > 0) run_plan_lora(&p, n, weights, r->dry_run);
    if (run_data_ranks(r)) team_share(&p, c, run_team(r), n);
    if (r->recompute) return p;
    const double need = p.total + beside + all, memory = run_gpu_memory(op);
    if (!strcmp(r->keep_all, "auto")) r->keep_all = need <= 0.9 * memory ? "yes" : "no";
    fprintf(out, "keep all: %s (%.2f MB more, the whole plan with it %.2f MB", r->keep_all, all / 1e6, need / 1e6);
    if (memory > 0) fprintf(out, " of the GPU's free %.2f MB", memory / 1e6);
    fprintf(out, ")\n");
    if (run_keep(r) != LLM_KEEP_ALL) return p;
    p.activations += more;
    p.total += more;
    return p;
}

/* Ctrl-C and SIGTERM: finish the step, save, say how to go on. SIGUSR1 is Ctrl-C's, too: mpirun forwards it and waits,
   where after the others it kills within a second. */
static volatile sig_atomic_t run_stopping;
static inline void run_on_signal(int number) { run_stopping = number == SIGUSR1 ? SIGINT : number; }
static inline void run_catch_signals(void) {
    struct sigaction a = {.sa_handler = run_on_signal, .sa_flags = (int)SA_RESETHAND};     /* a second Ctrl-C kills */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGUSR1, &a, NULL);
}

/* ---- the loop ---- */

/* What a step measures: its column in log.csv, its tag in TensorBoard, its words in the step line; NULL: not there.
   A measure that is NAN was not taken: an empty cell. Every stage begins with these three. */
typedef struct { const char *column, *tag, *line; } run_measure;
enum { RUN_LOSS, RUN_LR, RUN_GNORM, RUN_MEASURES = 24 };

/* What a stage brings along; `stage` is its own struct. step: one optimizer step, and what it measured; returns NULL,
   or why it was not taken (at all ranks). held_out: the same measures on held-out text, every --eval-every; speak: a
   few samples, so that one sees the model learn, every --sample-every. state: members of trainer_state.json; more files
   of a checkpoint go to DIR. All but step may be NULL. */
typedef struct {
    const char *name;
    const char *(*step)(void *stage, double lr, double *x);
    void (*held_out)(void *stage, double *x);
    void (*speak)(void *stage, FILE *out, int count);
    char *(*state)(void *stage, const char *dir);
    void (*restore)(void *stage, const char *dir, const llm_json *state);
    const run_measure *measure;
    int measures;
} run_stage;

typedef struct {
    const run_settings *s;
    const run_stage *g;
    void *stage;
    const char *out, *csv;              /* csv NULL: OUT/log.csv */
    const llm_tokenizer *tok;
    llm_model *model;
    llm_adamw adamw;
    llm_schedule schedule;
    int step, steps, first;             /* steps taken; in all; taken when this process began */
    int stopping;                       /* the signal that a rank got, once all ranks know */
    double began;
    double sent;                        /* bytes that rank 0 has given to the others, in all steps */
    FILE *log;
    tensorboard board;
} run_loop;

/* The optimizer and the schedule, as the flags say. */
static inline void run_learning(run_loop *x, double lr, int warmup, int steps) {
    static const char *decays[] = {"cosine", "linear", "constant", "wsd"};
    const run_settings *r = x->s;
    x->adamw = llm_adamw_defaults();
    x->adamw.weight_decay = r->weight_decay;
    x->adamw.clip = r->clip;
    x->adamw.skip_sigma = r->skip_sigma;
    x->adamw.moments16 = r->moments16;
    x->adamw.offload = r->offload;
    x->step = 0;
    x->steps = steps;
    x->schedule = (llm_schedule){LLM_COSINE, lr, r->lr_final, warmup, steps, steps / 5};
    for (int i = 0; i < 4; i++)
        if (!strcmp(r->schedule, decays[i])) x->schedule.decay = (llm_decay)i;
}
/* One folder, complete or absent, whatever the stage adds to it. */
static inline void run_checkpoint(run_loop *x) {
    char *fresh = llm_checkpoint_begin(x->out, x->step), *flags = llm_options_json();
    char *state = x->g->state ? x->g->state(x->stage, fresh) : NULL;
    char *all = llm_format("\"steps\": %d,\n  \"flags\": %s%s%s", x->steps, flags, state ? ",\n  " : "",
                           state ? state : "");
    progress_begin("saving a checkpoint", 0, 0, NULL);
    llm_checkpoint_write(fresh, x->step, x->model, &x->adamw, x->tok, all);
    llm_checkpoint_end(x->out, fresh, (int)x->s->keep);
    progress_end();
    llm_release_all(fresh, flags, state, all);
}
/* More steps than the run was begun with may follow; fewer only where that loses no result and no step. */
static inline void run_note_steps(const run_loop *x, int begun) {
    if (x->steps == begun || !llm_leads()) return;
    if (x->steps < x->step || (x->steps < begun && run_result_exists(x->out)))
        llm_usage("as many or more, or --overwrite instead of --resume to begin anew",
                  "--steps %d, but in %s are %d already", x->steps, x->out, run_result_exists(x->out) ? begun : x->step);
    fprintf(stderr, "note: --steps %d, begun with %d: from here on the learning rate is that of %d\n", x->steps, begun,
            x->steps);
}
/* Continue from a checkpoint whose model and tokenizer are loaded already. */
static inline void run_resume(run_loop *x, const char *checkpoint) {
    llm_json *state = llm_checkpoint_resume(checkpoint, x->model, &x->adamw, x->tok);
    x->step = (int)llm_json_number(state, "step", 0);
    const int begun = (int)llm_json_number(state, "steps", x->steps);
    if (x->g->restore) x->g->restore(x->stage, checkpoint, state);
    fprintf(stderr, "resumed %s at step %d\n", checkpoint, x->step);
    run_note_table(state, x->model->ops);
    llm_json_free(state);
    run_note_steps(x, begun);
}
/* log.csv. On resume the rows of steps that will be taken again are dropped; the others are never in danger. */
static inline void run_make_log(run_loop *x) {
    char *path = x->csv ? llm_format("%s", x->csv) : llm_format("%s/log.csv", x->out), *old = NULL;
    run_check_log(path);
    run_lock(path, "--log");
    if (x->step > 0 && llm_exists(path)) old = llm_read_file(path, NULL);
    llm_writer w = llm_write_begin(path);
    llm_write_text(&w, "step");
    for (int i = 0; i < x->g->measures; i++)
        if (x->g->measure[i].column) llm_write_text(&w, ",%s", x->g->measure[i].column);
    llm_write_text(&w, "\n");
    for (char *line = old ? strchr(old, '\n') : NULL, *end; line && (end = strchr(line + 1, '\n')); line = end)
        if (atoi(line + 1) <= x->step) llm_write_text(&w, "%.*s\n", (int)(end - line - 1), line + 1);
    llm_write_done(&w);
    x->log = fopen(path, "a");
    if (!x->log) llm_die("another --log", "cannot write %s: %s", path, strerror(errno));
    run_lock(path, "--log");
    llm_release(old);
    llm_release(path);
    x->board = tb_open(x->s->tensorboard, x->out);
}
static inline void run_open_log(run_loop *x) {
    if (llm_leads()) run_make_log(x);
    else x->log = fopen("/dev/null", "w");
    if (!x->log) llm_die(NULL, "cannot write /dev/null: %s", strerror(errno));
}
/* Some 40 step lines a run. */
static inline bool run_says(const run_loop *x, int step) {
    return step % llm_max(1, x->steps / 40) == 0 || step == x->steps;
}
/* Returns NULL, or what is wrong: the log, or TensorBoard's events, cannot be written. */
static inline const char *run_write_step(run_loop *x, const double *m) {
    const run_stage *g = x->g;
    bool say = run_says(x, x->step);
    char eta[32];
    fprintf(x->log, "%d", x->step);
    if (say) fprintf(stderr, "%s %d/%d", g->name, x->step, x->steps);
    for (int i = 0; i < g->measures; i++) {
        const run_measure *w = &g->measure[i];
        if (w->column) fputc(',', x->log);
        if (w->column && !isnan(m[i])) fprintf(x->log, "%.9g", m[i]);
        if (w->tag) tb_scalar(&x->board, x->step, w->tag, m[i]);
        if (!say || !w->line || isnan(m[i])) continue;
        fprintf(stderr, " | ");
        fprintf(stderr, w->line, m[i]);
    }
    fprintf(x->log, "\n");
    double left = (llm_now() - x->began) / (x->step - x->first) * (x->steps - x->step);
    if (say) fprintf(stderr, " | eta %s\n", progress_time(left, eta));
    if (fflush(x->log) || ferror(x->log)) return llm_format("cannot write the log: %s", strerror(errno));
    return x->board.failed ? llm_format("cannot write %s: %s", x->board.path, strerror(x->board.failed)) : NULL;
}
/* Ctrl-C at one rank, a full disk at rank 0: all ranks stop, behind the same step. */
static inline const char *run_agree(run_loop *x, const char *broken) {
    enum { BROKEN = 1000 };             /* more than any signal */
    const int most = ranks_most(broken ? BROKEN : run_stopping);
    x->stopping = most % BROKEN;
    return most < BROKEN || broken ? broken : "rank 0 cannot write";
}
static inline void run_train(run_loop *x) {
    const run_settings *r = x->s;
    const run_stage *g = x->g;
    run_open_log(x);
    run_catch_signals();
    const char *broken = run_agree(x, NULL);
    x->began = llm_now();
    x->first = x->step;
    progress_begin(g->name, x->step, x->steps, NULL);
    progress_quiet();                   /* step lines tell it */
    while (x->step < x->steps && !x->stopping && !broken) {
        double m[RUN_MEASURES], lr = llm_schedule_lr(&x->schedule, x->step);
        for (int i = 0; i < g->measures; i++) m[i] = NAN;
        m[RUN_LR] = lr;
        const double sent = llm_team ? llm_team->sent : 0;
        broken = g->step(x->stage, lr, m);
        if (broken) break;
        x->sent += llm_team ? llm_team->sent - sent : 0;
        x->step++;
        progress_at(x->step);
        if (g->held_out && r->eval_every && x->step % r->eval_every == 0) g->held_out(x->stage, m);
        broken = run_agree(x, run_write_step(x, m));
        if (broken) break;
        if (g->speak && r->sample_every && x->step % r->sample_every == 0) g->speak(x->stage, stderr, 2);
        if (r->save_every && x->step % r->save_every == 0 && x->step < x->steps && !x->stopping) run_checkpoint(x);
    }
    progress_end();
    if (fclose(x->log) && !broken) broken = "cannot write the log";
    if (!tb_close(&x->board) && !broken) broken = "cannot write TensorBoard's events";
    broken = run_agree(x, broken);
    if (llm_team && x->step > x->first)
        fprintf(stderr, "ranks: rank 0 sent %.6f MB a step\n", x->sent / (x->step - x->first) / 1e6);
    if (!x->stopping && !broken) return;
    run_checkpoint(x);
    fprintf(stderr, "%s%s at step %d, saved. To go on: the same command with --resume%s\n", broken ? "error: " : "",
            broken ? broken : "interrupted", x->step, r->overwrite ? " instead of --overwrite" : "");
    exit(broken ? 1 : 128 + x->stopping);
}
#endif
