/* rlhf.h: what all methods of stage 3 share. Answers are sampled and laid into rows, a forward pass gives one number a
   row, a loss of chapter 9 says which way each should go, a backward pass and AdamW take it there; and around it the
   loop that logs, saves and goes on after a kill. Included after llm.h, tinyworld.h, run.h and eval.h; then come
   reward.h (who judges an answer) and align.h (the methods). */
#ifndef RLHF_H
#define RLHF_H

#include <sys/resource.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

typedef struct {
    run_settings run;
    const char *method, *reward, *reward_out, *reward_command, *ranking, *columns, *lora_targets;
    bool all, sweep_kl, verify, skip_bad;
    int64_t answers, best_of, max_new, rollout, group, inner_epochs, rounds, ask, reward_steps, lora_rank;
    double beta, kl, kl_target, clip, gamma, lambda, critic_lr, reward_lr, reward_timeout;
    double noise, sft, rrhf, val_fraction;
} settings;

/* One answer to a prompt, as ids: prompt, answer, closing token. The smaller the rank the better. */
typedef struct {
    int *id;
    llm_sequence s;
    int rank, label;                    /* label: 1 good, 0 bad, -1 nobody said (KTO) */
    bool polite;                        /* begins with "Sure!": a baseline of the reward model */
    double ref;                         /* log-probability under the reference policy, computed once */
    double rule;                        /* the tiny world's true reward: never shown to any model */
} answer;
/* Answers to compare: those to prompt g are answer[begin[g]] .. answer[begin[g+1]-1]. */
typedef struct { int groups, *begin; answer *answer; } comparisons;

enum { JUDGE_MODEL, JUDGE_COMMAND, JUDGE_GOLD };        /* reward model, the user's program, a known right answer */
typedef struct {                                        /* the user's reward program, while it runs */
    pid_t pid;
    int to, from, failures;
} reward_program;

struct stage;
typedef struct {
    settings *s;
    const llm_ops *op;
    bool tiny;                          /* the world whose true rule we know */
    tw_world world;
    llm_tokenizer tok;
    int closing;                        /* the token that ends an answer */
    uint8_t *banned, *banned_device;    /* [V] what may not be said: pad, role tokens, <|reward|> ... */
    llm_records records, source, held;  /* source: the file of prompts, once answers to them have been sampled */
    eval_prompts prompts, test;         /* to learn from; held out */
    comparisons data;
    llm_model policy, reference, reward, critic;
    double reward_mean;                 /* scores are measured from here */
    int judge;
    reward_program program;
    /* the training that goes on */
    const struct stage *stage;
    llm_model *learner;                 /* &policy or &reward */
    llm_adamw adamw, critic_adamw;
    int step, steps, rows, micro;       /* rows: answers in a step, of them `micro` in a forward pass */
    double kl, peak_lr;                 /* KL coefficient: fixed, or steered by --kl-target */
    const char *out;
    FILE *log;
    uint32_t *order;                    /* the shuffle of this epoch */
    int order_n, order_epoch;
    int *unit, units, per_step;         /* what a method draws from: pairs, prompts ...; how many in a step */
    void *own;                          /* what else a method keeps from step to step */
    report_card report;
    tensorboard board;
    int argc;
    char **argv;
} trainer;

/* ---- what a step measures: NAN is not measured, an empty cell in the log ---- */

enum { LOSS, GNORM, REWARD, TRUTH, KL, LENGTH, STOPS, ACCURACY, MARGIN, CHOSEN, REJECTED, CLIPPED, VALUE, KL_PRICE,
       SILENT, MEASURES };
static const char *const measure_name[MEASURES] = {
    "loss", "gnorm", "reward", "true_reward", "kl", "length", "stops", "accuracy", "margin", "chosen", "rejected",
    "clipped", "value_loss", "kl_coefficient", "silent_groups"};

/* The same, as TensorBoard's users know them. */
static const char *const measure_tag[MEASURES] = {
    "train/loss", "train/grad_norm", "objective/scores", "objective/true_reward", "objective/kl",
    "completions/mean_length", "completions/stops", "rewards/accuracies", "rewards/margins", "rewards/chosen",
    "rewards/rejected", "policy/clipfrac_avg", "loss/value_avg", "objective/kl_coefficient", "silent_groups"};

/* A kind of training. step: one optimizer step, which says what it measured. The others may be NULL. */
typedef struct stage {
    const char *name;
    double lr, epochs, kl;              /* kl: price of distance, for methods that sample */
    int rows, steps;                    /* answers in a step; steps 0: from epochs */
    void (*prepare)(trainer *t);
    void (*step)(trainer *t, double lr, double *measure);
    void (*finish)(trainer *t);
    void (*save)(trainer *t, const char *dir);          /* what else belongs into a checkpoint */
    void (*restore)(trainer *t, const char *dir, const llm_json *state);
} stage;

/* ---- rows ---- */

/* scored: for a reward model, which reads a score at the <|reward|> token behind each row. */
static llm_batch lay(const trainer *t, const llm_sequence *s, int n, bool scored) {
    int T = 1, pad = int_max(t->tok.pad, 0);
    for (int i = 0; i < n; i++) T = int_max(T, s[i].count + (scored && t->tok.reward >= 0));
    llm_batch b = llm_batch_new(n, T);
    if (scored) llm_batch_scored(&b, s, n, t->tok.reward, pad);
    else llm_batch_rows(&b, s, n, pad);
    return b;
}

/* The way there and back for n rows: fill s (and what the loss wants to know), forward gives sum and count, the loss
   fills dsum, backward adds to the gradients and frees. scored: sum is the reward model's score of a row. */
typedef struct {
    int n;
    bool scored;
    llm_sequence *s;
    double *ref, *sum, *count, *dsum;   /* [n] */
    llm_batch b;
    llm_real *x;                        /* (B,T) logp or value, then its gradient */
    int groups, *begin, *rank;          /* of pass_groups: rows of prompt g are begin[g] .. begin[g+1]-1 */
} pass;
static pass pass_new(int n, bool scored) {
    size_t m = (size_t)n;
    return (pass){.n = n, .scored = scored, .s = llm_alloc(m, sizeof(llm_sequence)),
                  .ref = llm_alloc(m, sizeof(double)), .sum = llm_alloc(m, sizeof(double)),
                  .count = llm_alloc(m, sizeof(double)), .dsum = llm_alloc(m, sizeof(double))};
}
static void pass_free(pass *p) {
    void *all[] = {p->s, p->ref, p->sum, p->count, p->dsum, p->x, p->begin, p->rank};
    for (int i = 0; i < 8; i++) llm_release(all[i]);
    llm_batch_free(&p->b);
}
static void pass_forward(const trainer *t, llm_model *m, pass *p) {
    p->b = lay(t, p->s, p->n, p->scored);
    p->x = llm_alloc(llm_places(&p->b), sizeof *p->x);
    llm_forward(m, &p->b, p->scored ? NULL : p->x, NULL, p->scored ? p->x : NULL);
    llm_row_sums(p->sum, p->count, p->x, &p->b);
    for (int i = 0; i < p->n; i++)
        if (!isfinite(p->sum[i]))
            llm_die("another checkpoint", "the model's log-probabilities or scores are no numbers");
}
static void pass_backward(llm_model *m, pass *p) {
    llm_row_spread(p->x, p->dsum, &p->b);
    llm_backward(m, &p->b, p->scored ? NULL : p->x, NULL, p->scored ? p->x : NULL);
    pass_free(p);
}
/* Only the sums: log-probabilities of n answers under a model, or their scores. */
static void row_sums(const trainer *t, llm_model *m, const llm_sequence *s, int n, bool scored, double *sum) {
    for (int i = 0; i < n; i += t->micro) {
        pass p = pass_new(int_min(t->micro, n - i), scored);
        memcpy(p.s, s + i, (size_t)p.n * sizeof *s);
        pass_forward(t, m, &p);
        memcpy(sum + i, p.sum, (size_t)p.n * sizeof *sum);
        pass_free(&p);
    }
}

/* ---- models ---- */

/* Every policy is measured with the same tokens forbidden, when it samples and when it is judged. */
static void open_policy(trainer *t, llm_model *m, const char *dir, bool learns) {
    if (m->ops) llm_model_free(m);
    hf_model_load(m, dir, t->op);
    m->head_options.banned = t->banned_device;
    m->recompute = t->s->run.recompute;
    if (learns && t->s->lora_rank && !m->lora)
        llm_lora_attach(m, (int)t->s->lora_rank, 2.0 * (double)t->s->lora_rank, t->s->lora_targets, t->s->run.model,
                        (uint64_t)t->s->run.seed);
    if (learns) llm_model_train(m);
}
/* Log-probabilities of the reference policy. With adapters it is the policy itself with them switched off; a policy
   that learns in all its weights has moved away, and a frozen copy of where it began is the price of sampling anew. */
static void reference_logp(trainer *t, const llm_batch *b, llm_real *logp) {
    llm_model *m = t->policy.lora ? &t->policy : &t->reference;
    t->policy.lora_off = t->policy.lora != NULL;
    llm_forward(m, b, logp, NULL, NULL);
    t->policy.lora_off = false;
}
/* The largest memory of the process since the last call with start true, in MB: Linux forgets older peaks on demand. */
static double peak_memory(bool start) {
    double kb = 0;
#ifdef __GLIBC__
    if (start) malloc_trim(0);          /* what an earlier method has freed is not this one's */
#endif
    FILE *f = fopen(start ? "/proc/self/clear_refs" : "/proc/self/status", start ? "w" : "r");
    if (f && start) fputs("5", f);
    for (char line[128]; f && !start && fgets(line, sizeof line, f);) sscanf(line, "VmHWM: %lf", &kb);
    if (f) fclose(f);
    struct rusage u;
    if (!start && kb == 0 && !getrusage(RUSAGE_SELF, &u)) kb = (double)u.ru_maxrss;
    return kb / 1024;
}

/* ---- answers of a policy ---- */

typedef struct {
    eval_prompts prompts;               /* borrowed rows: only the arrays are ours */
    int each, n;
    eval_answers a;                     /* [n] answers of one prompt are neighbours */
    int **id;
    llm_sequence *s;                    /* [n] with the closing token, if the model said it: else none would learn it */
    double *score;                      /* [n] once judged */
} samples;
static void samples_free(samples *x) {
    for (int i = 0; i < x->n; i++) llm_release(x->id[i]);
    void *all[] = {x->prompts.prompt, x->prompts.text, x->prompts.gold, x->prompts.task, x->id, x->s, x->score};
    for (int i = 0; i < 7; i++) llm_release(all[i]);
    eval_answers_free(&x->a);
}
static void samples_add(trainer *t, samples *x) {       /* ids and sequences of what was answered */
    for (int i = 0; i < x->n; i++) {
        const llm_tokens *prompt = &x->prompts.prompt[i / x->each];
        int n = prompt->count + x->a.length[i], *id = llm_alloc((size_t)n + 1, sizeof *id);
        memcpy(id, prompt->id, (size_t)prompt->count * sizeof *id);
        memcpy(id + prompt->count, x->a.id + (size_t)i * (size_t)x->a.max_new, (size_t)x->a.length[i] * sizeof *id);
        if (x->a.stopped[i]) id[n++] = t->closing;
        x->id[i] = id;
        x->s[i] = (llm_sequence){id, prompt->count, n};
    }
}
/* Let a model answer prompts which[0..count-1] (NULL: the first ones), each `each` times, with the policy's own
   probabilities: temperature 1, no filter. The objectives are about this policy, not about a sharpened one. */
static samples sample_answers(trainer *t, llm_model *m, const eval_prompts *from, const int *which, int count,
                              int each, uint64_t seed) {
    size_t n = (size_t)count * (size_t)each;
    samples x = {.each = each, .n = (int)n, .id = llm_alloc(n, sizeof *x.id), .s = llm_alloc(n, sizeof *x.s),
                 .score = llm_alloc(n, sizeof *x.score)};
    eval_prompts *p = &x.prompts;
    *p = (eval_prompts){.count = count, .prompt = llm_alloc((size_t)count, sizeof *p->prompt),
                        .text = llm_alloc((size_t)count, sizeof *p->text),
                        .gold = llm_alloc((size_t)count, sizeof *p->gold),
                        .task = llm_alloc((size_t)count, sizeof *p->task)};
    for (int i = 0; i < count; i++) {
        int k = which ? which[i] : i;
        p->prompt[i] = from->prompt[k];
        p->text[i] = from->text[k];
        p->gold[i] = from->gold[k];
        p->task[i] = from->task[k];
    }
    llm_sampler plain = llm_sampler_defaults();
    llm_tokenizer one_stop = t->tok;
    one_stop.stop[0] = t->closing;
    one_stop.stops = 1;
    plain.temperature = 1;
    plain.seed = seed;
    x.a = eval_answer(m, &one_stop, p, each, &plain, (int)t->s->max_new, t->banned);
    samples_add(t, &x);
    return x;
}
/* Streams of chance: the same seed, purpose and step always draw the same, so a run that goes on after a kill needs no
   generator's state. */
static uint64_t stream(const trainer *t, int purpose, int step) {
    llm_rng r = llm_rng_seed((uint64_t)t->s->run.seed, (uint64_t)purpose << 32 | (uint32_t)step);
    return llm_rng_u64(&r) >> 1;
}
/* The unit at a place of an endless stream over 0 .. n-1 that is shuffled anew every n. */
static int drawn(trainer *t, int n, int place) {
    int epoch = place / n;
    if (t->order_n != n || t->order_epoch != epoch || !t->order) {
        llm_release(t->order);
        t->order = llm_alloc((size_t)n, sizeof *t->order);
        llm_shuffle(t->order, (size_t)n, (uint64_t)t->s->run.seed, (uint64_t)epoch);
        t->order_n = n;
        t->order_epoch = epoch;
    }
    return (int)t->order[place % n];
}

/* ---- answers from a file ---- */

static void comparisons_free(comparisons *c) {
    for (int i = 0; c->answer && i < c->begin[c->groups]; i++) llm_release(c->answer[i].id);
    llm_release(c->answer);
    llm_release(c->begin);
    *c = (comparisons){0};
}
/* Records with answers to compare: pairs, rankings, or single answers with a thumb up or down. */
static comparisons read_comparisons(const trainer *t, const llm_records *r) {
    comparisons c = {.groups = r->count, .begin = llm_alloc((size_t)r->count + 1, sizeof *c.begin)};
    for (int g = 0; g < r->count; g++) c.begin[g + 1] = c.begin[g] + r->record[g].responses;
    c.answer = llm_alloc((size_t)c.begin[c.groups] + 1, sizeof *c.answer);
    for (int g = 0; g < c.groups; g++)
        for (int k = 0; k < r->record[g].responses; k++) {
            answer *a = &c.answer[c.begin[g] + k];
            const llm_response *x = &r->record[g].response[k];
            llm_tokens ids = {0};
            llm_render_record(&t->tok, &r->record[g], k, t->policy.c.T - 1, &ids);
            while (ids.count > ids.prompt && !ids.mask[ids.count - 1]) ids.count--;     /* template behind the end */
            for (int i = ids.prompt; i < ids.count; i++)
                if (t->banned[ids.id[i]])
                    llm_die("a chat template that the tokenizer knows", "an answer holds the forbidden token %d",
                            ids.id[i]);
            a->id = ids.id;
            a->s = (llm_sequence){ids.id, ids.prompt, ids.count};
            a->rank = (int)x->rank;
            a->label = x->label;
            a->polite = x->length >= 5 && !memcmp(x->text, "Sure!", 5);
            if (t->tiny && r == &t->records) a->rule = tw_judge(&t->prompts.task[g], x->text, 1).reward;
            llm_release(ids.mask);
        }
    return c;
}
/* Best and worst answer of a group; false when all are tied. */
static bool extremes(const comparisons *c, int g, int *best, int *worst) {
    *best = *worst = c->begin[g];
    for (int i = c->begin[g]; i < c->begin[g + 1]; i++) {
        if (c->answer[i].rank < c->answer[*best].rank) *best = i;
        if (c->answer[i].rank > c->answer[*worst].rank) *worst = i;
    }
    return c->begin[g] < c->begin[g + 1] && c->answer[*best].rank < c->answer[*worst].rank;
}
/* Rankings: the next prompts of this step, from its i-th on, with all their answers; as many prompts as a forward pass
   has room for, at least one. */
static pass pass_groups(trainer *t, int i, bool scored) {
    const comparisons *c = &t->data;
    int n = 0, groups = 0, *group = llm_alloc((size_t)t->per_step, sizeof *group);
    for (; i + groups < t->per_step && (!groups || n < t->micro); groups++) {
        int g = group[groups] = t->unit[drawn(t, t->units, t->step * t->per_step + i + groups)];
        n += c->begin[g + 1] - c->begin[g];
    }
    pass p = pass_new(n, scored);
    p.groups = groups;
    p.begin = llm_alloc((size_t)groups + 1, sizeof *p.begin);
    p.rank = llm_alloc((size_t)n, sizeof *p.rank);
    for (int g = 0, at = 0; g < groups; p.begin[++g] = at)
        for (int k = c->begin[group[g]]; k < c->begin[group[g] + 1]; k++, at++) {
            p.s[at] = c->answer[k].s;
            p.rank[at] = c->answer[k].rank;
        }
    llm_release(group);
    return p;
}
/* Reference log-probabilities of all answers, by the policy before its first step: no second model. */
static void remember_reference(trainer *t) {
    int n = t->data.begin[t->data.groups];
    llm_sequence *s = llm_alloc((size_t)n, sizeof *s);
    double *sum = llm_alloc((size_t)n, sizeof *sum);
    for (int i = 0; i < n; i++) s[i] = t->data.answer[i].s;
    row_sums(t, &t->policy, s, n, false, sum);
    for (int i = 0; i < n; i++) t->data.answer[i].ref = sum[i];
    llm_release(s);
    llm_release(sum);
}

/* ---- the loop ---- */

/* One folder, complete or absent, whatever a method has to keep. */
static void checkpoint(trainer *t) {
    char *state = llm_format("\"method\": \"%s\", \"seed\": %lld, \"steps\": %d, \"kl\": %.17g", t->stage->name,
                             (long long)t->s->run.seed, t->steps, t->kl);
    char *fresh = llm_checkpoint_begin(t->out, t->step);
    llm_checkpoint_write(fresh, t->step, t->learner, &t->adamw, &t->tok, state);
    if (t->stage->save) t->stage->save(t, fresh);
    llm_checkpoint_end(t->out, fresh, (int)t->s->run.keep);
    llm_release(fresh);
    llm_release(state);
}
static void go_on_from(trainer *t, const char *dir) {
    bool policy = t->learner == &t->policy;
    if (policy) open_policy(t, t->learner, dir, true);
    else {
        llm_model_free(t->learner);
        hf_model_load(t->learner, dir, t->op);
        llm_model_train(t->learner);
    }
    llm_json *state = llm_checkpoint_resume(dir, t->learner, &t->adamw, &t->tok);
    const char *method = llm_json_text(state, "method", "?");
    if (strcmp(method, t->stage->name) || llm_json_number(state, "steps", 0) != t->steps ||
        llm_json_number(state, "seed", -1) != (double)t->s->run.seed)
        llm_usage("the flags that began the run, or --overwrite", "%s is of another run: method %s, seed %.0f, %.0f "
                  "steps", dir, method, llm_json_number(state, "seed", -1), llm_json_number(state, "steps", 0));
    t->step = (int)llm_json_number(state, "step", 0);
    t->kl = llm_json_number(state, "kl", t->kl);
    if (t->stage->restore) t->stage->restore(t, dir, state);
    fprintf(stderr, "resumed %s at step %d\n", dir, t->step);
    run_note_table(state, t->op);
    llm_json_free(state);
}
static void write_step(trainer *t, double lr, const double *x) {
    int every = int_max(1, t->steps / 20);
    bool say = t->step % every == 0 || t->step == t->steps;
    fprintf(t->log, "%d,%.9g,%.9g", t->step, x[LOSS], lr);
    tb_scalar(&t->board, t->step, "train/learning_rate", lr);
    for (int i = 0; i < MEASURES; i++) tb_scalar(&t->board, t->step, measure_tag[i], x[i]);
    if (say) fprintf(stderr, "%s %d/%d", t->stage->name, t->step, t->steps);
    for (int i = 0; i < MEASURES; i++) {
        if (i != LOSS) fputc(',', t->log);
        if (i != LOSS && !isnan(x[i])) fprintf(t->log, "%.9g", x[i]);
        if (say && !isnan(x[i])) fprintf(stderr, " | %s %.3g", measure_name[i], x[i]);
    }
    fprintf(t->log, "\n");
    fflush(t->log);
    if (say) fprintf(stderr, "\n");
}
static void open_log(trainer *t) {
    run_settings here = t->s->run;
    char header[256] = "step,loss,lr";
    for (int i = GNORM; i < MEASURES; i++) {
        strcat(header, ",");
        strcat(header, measure_name[i]);
    }
    here.out = t->out;
    if (t->learner != &t->policy) here.log = NULL;
    t->log = run_open_log(&here, header, t->step + 1);
    t->board = tb_open(t->s->run.tensorboard, t->out);
}
/* Train `learner`, from where it stands or from a checkpoint in `out`, until the last step. */
static void learn(trainer *t, const stage *g, llm_model *learner, const char *out) {
    static const char *decays[] = {"cosine", "linear", "constant", "wsd"};
    const run_settings *r = &t->s->run;
    bool given = llm_option_given("batch") || llm_option_given("grad-accum"), policy = learner == &t->policy;
    t->stage = g;
    t->learner = learner;
    t->out = out;
    t->step = 0;
    t->kl = t->s->kl >= 0 ? t->s->kl : g->kl;
    t->rows = given ? (int)(r->batch * r->grad_accum) : g->rows;
    t->adamw = llm_adamw_defaults();    /* moments of an earlier stage are not this one's: always new */
    t->adamw.weight_decay = r->weight_decay;
    t->adamw.clip = r->clip;
    t->adamw.skip_sigma = r->skip_sigma;
    t->adamw.moments16 = r->moments16;
    llm_make_dirs(out);
    if (g->prepare) g->prepare(t);      /* says how many units there are to learn from */
    t->steps = policy && r->steps ? (int)r->steps : !policy && t->s->reward_steps ? (int)t->s->reward_steps
             : g->steps ? g->steps : int_max(1, (int)ceil(g->epochs * t->units / t->per_step));
    t->peak_lr = !policy && t->s->reward_lr > 0 ? t->s->reward_lr : policy && r->lr > 0 ? r->lr : g->lr;
    int warmup = llm_option_given("warmup") ? (int)r->warmup : int_min(10, t->steps / 5);
    llm_schedule fall = {LLM_LINEAR, t->peak_lr, r->lr_final, warmup, t->steps, t->steps / 5};
    for (int i = 0; i < 4; i++) if (!strcmp(r->schedule, decays[i])) fall.decay = (llm_decay)i;
    char *from = r->resume ? llm_checkpoint_newest(out) : NULL;
    if (from) go_on_from(t, from);
    llm_release(from);
    open_log(t);
    run_catch_signals();
    while (t->step < t->steps) {
        double x[MEASURES], lr = llm_schedule_lr(&fall, t->step);
        for (int i = 0; i < MEASURES; i++) x[i] = NAN;
        g->step(t, lr, x);
        bool broken = t->program.failures >= 3;         /* then the step was not taken */
        if (!broken) {
            t->step++;
            write_step(t, lr, x);
        }
        if (broken || run_stopping || (r->save_every && t->step % r->save_every == 0 && t->step < t->steps))
            checkpoint(t);
        if (!broken && !run_stopping) continue;
        fprintf(stderr, "%s at step %d of %s, saved. To go on: the same command with --resume\n",
                broken ? "error: the reward program failed three times in a row; stopped" : "interrupted", t->step,
                g->name);
        exit(broken ? 1 : 128 + run_stopping);
    }
    fclose(t->log);
    tb_close(&t->board);
    if (g->finish) g->finish(t);
    llm_adamw_free(&t->adamw, learner);
    llm_release(t->unit);
    t->unit = NULL;
}
#endif
