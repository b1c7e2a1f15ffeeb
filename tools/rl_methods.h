/* rl_methods.h: the training of stage 3. Answers come from rl_answers.h, a forward pass gives one number a row, a loss
   of the losses' chapter says which way each should go, a backward pass and AdamW take it there, in run.h's loop. First
   what all methods share, then the reward model, then the methods: each as `prepare` (what it needs to know before its
   first step) and `step`. Included after rl_answers.h and run.h. */
#ifndef RL_METHODS_H
#define RL_METHODS_H

/* ---- what a step measures ---- */

enum { RL_REWARD = RUN_GNORM + 1, RL_TRUTH, RL_KL, RL_LENGTH, RL_STOPS, RL_ACCURACY, RL_MARGIN, RL_CHOSEN, RL_REJECTED,
       RL_CLIPPED, RL_VALUE, RL_KL_PRICE, RL_SILENT, RL_MEASURES };
/* Tags: as TensorBoard's users know them. */
static const run_measure rl_measure[RL_MEASURES] = {
    {"loss", "train/loss", "loss %.3g"}, {"lr", "train/learning_rate", NULL},
    {"gnorm", "train/grad_norm", "gnorm %.3g"},
    {"reward", "objective/scores", "reward %.3g"}, {"true_reward", "objective/true_reward", "true_reward %.3g"},
    {"kl", "objective/kl", "kl %.3g"}, {"length", "completions/mean_length", "length %.3g"},
    {"stops", "completions/stops", "stops %.3g"}, {"accuracy", "rewards/accuracies", "accuracy %.3g"},
    {"margin", "rewards/margins", "margin %.3g"}, {"chosen", "rewards/chosen", "chosen %.3g"},
    {"rejected", "rewards/rejected", "rejected %.3g"}, {"clipped", "policy/clipfrac_avg", "clipped %.3g"},
    {"value_loss", "loss/value_avg", "value_loss %.3g"},
    {"kl_coefficient", "objective/kl_coefficient", "kl_coefficient %.3g"},
    {"silent_groups", "silent_groups", "silent_groups %.3g"}};

struct rl_method;
/* A training that goes on: of the reward model or, with one method, of the policy. */
typedef struct {
    const rl_settings *s;
    rl_data *d;
    rl_judge *judge;
    run_loop loop;
    const struct rl_method *method;
    llm_model policy, reference, critic;
    llm_adamw critic_adamw;
    int rows;                           /* answers in a step */
    double kl;                          /* KL coefficient: fixed, or steered by --kl-target */
    int *unit, units, per_step;         /* what a method draws from: pairs, prompts ...; how many in a step */
    uint32_t *order;                    /* the shuffle of this epoch */
    int order_n, order_epoch;
    void *own;                          /* what else a method keeps from step to step */
    char *said;                         /* how well the reward model learned, as it was printed; free() it */
} rl_run;

/* step: one optimizer step, which says what it measured; the others may be NULL. prepare says how much there is to
   learn from, and so how many steps there will be; then refer asks the reference about what they will draw. save: what
   else belongs into a checkpoint's folder. */
typedef struct rl_method {
    const char *name;
    double lr, epochs, kl;              /* kl: price of distance, where answers are compared in the tiny world only */
    int rows, steps;                    /* answers in a step; steps 0: from epochs */
    bool compared;                      /* learns from answers compared beforehand */
    const char *flags;                  /* its own, "a|b": to other methods they would do nothing */
    void (*prepare)(rl_run *t);
    void (*step)(rl_run *t, double lr, double *measure);
    void (*finish)(rl_run *t);
    void (*save)(rl_run *t, const char *dir);
    void (*restore)(rl_run *t, const char *dir, const llm_json *state);
    void (*refer)(rl_run *t);
} rl_method;
/* Does a method learn from answers that it draws itself, token by token? Then the tokens that were forbidden when they
   were drawn are forbidden in its probabilities too. A loss on answers that are given reads the plain softmax, as in
   stage 2 and in trl: DPO and its relatives, and rejection sampling, which learns its winners like demonstrations. */
static bool rl_draws(const rl_method *m) { return !strcmp(m->name, "ppo") || !strcmp(m->name, "grpo"); }
/* Beta: the flag's; trl's .1; in the tiny world, where at .1 sums and refusals fall, the method's own. */
static double rl_beta(const rl_run *t) { return t->s->beta > 0 ? t->s->beta : t->d->tiny ? t->method->kl : 0.1; }

/* ---- models ---- */

/* A model begins to learn, and keeps for that what the flags say. */
static void rl_train(const rl_run *t, llm_model *m) {
    m->keep = run_keep(&t->s->run);
    llm_model_train(m);
}
/* Every policy is measured with the same tokens forbidden, when it samples and when it is judged. Only a loss on
   answers that are given reads the plain softmax (rl_learn). */
static void rl_open_policy(rl_run *t, llm_model *m, const char *dir, bool learns) {
    if (m->ops) llm_model_free(m);
    PROGRESS(hf_model_load(m, dir, t->d->op), "loading %s", dir);
    m->head_options.banned = t->d->banned_device;
    if (learns && t->s->lora_rank && !m->lora)
        llm_lora_attach(m, (int)t->s->lora_rank, 2.0 * (double)t->s->lora_rank, t->s->lora_targets, t->s->run.model,
                        (uint64_t)t->s->run.seed);
    if (learns) rl_train(t, m);
}
/* Log-probabilities of the reference policy. With adapters it is the policy itself with them switched off; a policy
   that learns in all its weights has moved away, and a frozen copy of where it began is the price of sampling anew. */
static void rl_reference_logp(rl_run *t, const llm_batch *b, llm_real *logp) {
    llm_model *m = t->policy.lora ? &t->policy : &t->reference;
    t->policy.lora_off = t->policy.lora != NULL;
    llm_forward(m, b, logp, NULL, NULL);
    t->policy.lora_off = false;
}

/* ---- what a step learns from ---- */

/* The unit at a place of an endless stream over 0 .. n-1 that is shuffled anew every n. */
static int rl_drawn(rl_run *t, int n, int place) {
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
/* Rankings: the next prompts of this step, from its i-th on, with all their answers; as many prompts as a forward pass
   has room for, at least one. */
static rl_pass rl_pass_groups(rl_run *t, int i, bool scored) {
    const rl_comparisons *c = &t->d->compared;
    int n = 0, groups = 0, *group = llm_alloc((size_t)t->per_step, sizeof *group);
    for (; i + groups < t->per_step && (!groups || n < t->d->micro); groups++) {
        int g = group[groups] = t->unit[rl_drawn(t, t->units, t->loop.step * t->per_step + i + groups)];
        n += c->begin[g + 1] - c->begin[g];
    }
    rl_pass p = rl_pass_new(n, scored);
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
/* Is a pass another rank's? Then it is released. */
static bool rl_others(rl_pass *p, int pass) {
    if (rl_mine(pass)) return false;
    rl_pass_free(p);
    return true;
}
/* The loss of all ranks' passes, and what else they counted (NULL: nothing). */
static double rl_all_of(double loss, llm_pair_stats *s) {
    double x[] = {loss, s ? s->pairs : 0, s ? s->right : 0, s ? s->margin : 0, s ? s->chosen : 0, s ? s->rejected : 0};
    rl_add_up(x, 6);
    if (s) *s = (llm_pair_stats){x[1], x[2], x[3], x[4], x[5]};
    return x[0];
}
/* Which of its units the steps will draw. */
static bool *rl_will_draw(rl_run *t) {
    bool *drawn = llm_alloc((size_t)t->units, sizeof *drawn);
    double places = (double)t->loop.steps * t->per_step;
    for (int i = 0; i < t->units; i++) drawn[i] = places >= t->units;
    for (int i = 0; i < places && places < t->units; i++) drawn[rl_drawn(t, t->units, i)] = true;
    return drawn;
}
/* Reference log-probabilities of those of n sequences that will be drawn, by the policy before its first step: no
   second model, and nothing is computed twice. The others' are NAN: a loss that met one would stop the run. */
static void rl_remember_reference(rl_run *t, const char *what, const llm_sequence *s, const bool *drawn, int n,
                                  double *ref) {
    llm_sequence *some = llm_alloc((size_t)n, sizeof *some);
    double *sum = llm_alloc((size_t)n, sizeof *sum), began = llm_now();
    int count = 0, at = 0;
    for (int i = 0; i < n; i++)
        if (drawn[i]) some[count++] = s[i];
    rl_row_sums(t->d, &t->policy, some, count, false, sum, what);
    for (int i = 0; i < n; i++) ref[i] = drawn[i] ? sum[at++] : NAN;
    fprintf(stderr, "%s of %d of %d answers: %.1f s\n", what, count, n, llm_now() - began);
    llm_release(some);
    llm_release(sum);
}
/* The same of the answers compared. drawn: by their number; released. */
static void rl_remember_answers(rl_run *t, bool *drawn) {
    const rl_comparisons *c = &t->d->compared;
    int n = c->begin[c->groups];
    llm_sequence *s = llm_alloc((size_t)n, sizeof *s);
    double *ref = llm_alloc((size_t)n, sizeof *ref);
    for (int i = 0; i < n; i++) s[i] = c->answer[i].s;
    rl_remember_reference(t, "reference log-probabilities", s, drawn, n, ref);
    for (int i = 0; i < n; i++) c->answer[i].ref = ref[i];
    llm_release_all(s, ref, drawn);
}

/* ---- the training itself ---- */

static const char *rl_step(void *stage, double lr, double *x) {
    rl_run *t = stage;
    t->method->step(t, lr, x);          /* which leaves the model alone when nobody judged */
    return t->judge->program.failures < 3 ? NULL : "the reward program failed three times in a row; stopped";
}
static char *rl_state(void *stage, const char *dir) {
    rl_run *t = stage;
    if (t->method->save) t->method->save(t, dir);
    return llm_format("\"method\": \"%s\", \"seed\": %lld, \"kl\": %.17g", t->method->name,
                      (long long)t->s->run.seed, t->kl);
}
static void rl_restore(void *stage, const char *dir, const llm_json *state) {
    rl_run *t = stage;
    const char *method = llm_json_text(state, "method", "?");
    double steps = llm_json_number(state, "steps", 0), seed = llm_json_number(state, "seed", -1);
    if (strcmp(method, t->method->name) || steps != t->loop.steps || seed != (double)t->s->run.seed)
        llm_usage("the flags that began the run, or --overwrite", "%s is of another run: method %s, seed %.0f, %.0f "
                  "steps", dir, method, seed, steps);
    t->kl = llm_json_number(state, "kl", t->kl);
    if (t->method->restore) t->method->restore(t, dir, state);
}
/* Steps and learning rate: the flags, or the method's own. policy: else the reward model learns. */
static void rl_schedule(rl_run *t, bool policy) {
    const run_settings *s = &t->s->run;
    const rl_method *m = t->method;
    int steps = policy && s->steps ? (int)s->steps : !policy && t->s->reward_steps ? (int)t->s->reward_steps
              : m->steps ? m->steps : llm_max(1, (int)ceil(m->epochs * t->units / t->per_step));
    double lr = !policy && t->s->reward_lr > 0 ? t->s->reward_lr : policy && s->lr > 0 ? s->lr : m->lr;
    run_learning(&t->loop, lr, llm_option_given("warmup") ? (int)s->warmup : llm_min(10, steps / 5), steps);
    t->critic_adamw = t->loop.adamw;
}
/* Train a model with a method, from where it stands or from a checkpoint in `out`, until the last step. */
static void rl_learn(rl_run *t, const rl_method *m, llm_model *model, const char *out) {
    const run_settings *s = &t->s->run;
    bool given = llm_option_given("batch") || llm_option_given("grad-accum"), policy = model == &t->policy;
    run_stage g = {.name = m->name, .step = rl_step, .state = rl_state, .restore = rl_restore, .measure = rl_measure,
                   .measures = RL_MEASURES};
    t->method = m;
    t->loop = (run_loop){.s = s, .g = &g, .stage = t, .out = out, .csv = policy ? s->log : NULL, .tok = &t->d->tok,
                         .model = model};
    t->kl = t->s->kl >= 0 ? t->s->kl : m->kl;
    if (m->flags && one_of(m->flags, "beta")) fprintf(stderr, "%s: beta %g\n", m->name, rl_beta(t));
    t->rows = given ? (int)(s->batch * s->grad_accum) : m->rows;
    if (llm_team) t->d->micro = llm_max(1, llm_min((int)s->batch, t->rows / rl_ranks()));   /* a pass for every rank */
    run_enter(s, out);
    if (!rl_draws(m)) model->head_options.banned = NULL;
    if (m->prepare) m->prepare(t);      /* says how many units there are to learn from */
    rl_schedule(t, policy);
    if (m->refer) m->refer(t);
    char *from = s->resume ? llm_checkpoint_newest(out) : NULL;
    if (from && policy) rl_open_policy(t, model, from, true);
    else if (from) {
        llm_model_free(model);
        hf_model_load(model, from, t->d->op);
        rl_train(t, model);
    }
    if (from) run_resume(&t->loop, from);
    llm_release(from);
    if (!rl_draws(m)) model->head_options.banned = NULL;
    run_train(&t->loop);
    if (m->finish) m->finish(t);
    model->head_options.banned = t->d->banned_device;
    llm_adamw_free(&t->loop.adamw, model);
    llm_release(t->unit);
    t->unit = NULL;
}

/* ---- the reward model ----

   The SFT model with a scalar head: prompt, answer and <|reward|> go in, the number at that last token comes out. It
   learns from comparisons only: -log sigmoid(r_better - r_worse), chapter 9. */

/* All answers to a prompt go into one step (units: prompts). */
static void rl_kwise_step(rl_run *t, double lr, double *x) {
    bool race = !strcmp(t->s->ranking, "plackett-luce");
    llm_pair_stats stats = {0};
    double loss = 0;
    int pass = 0;
    for (int i = 0; i < t->per_step;) {
        rl_pass p = rl_pass_groups(t, i, true);
        i += p.groups;
        if (rl_others(&p, pass++)) continue;
        rl_forward(t->d, &t->judge->reward, &p);
        for (int g = 0; g < p.groups; g++) {
            int at = p.begin[g], K = p.begin[g + 1] - at;
            loss += race ? llm_loss_plackett_luce(p.dsum + at, p.sum + at, p.rank + at, K, t->per_step)
                         : llm_loss_kwise(p.dsum + at, p.sum + at, p.rank + at, K, t->per_step, &stats);
        }
        rl_backward(&t->judge->reward, &p);
    }
    rl_last_round(t->d, &t->judge->reward, pass, &t->d->compared.answer[0].s, true);
    x[RUN_LOSS] = rl_all_of(loss, &stats);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->judge->reward, lr);
    if (stats.pairs > 0) {
        x[RL_ACCURACY] = stats.right / stats.pairs;
        x[RL_MARGIN] = stats.margin / stats.pairs;
    }
}
/* Every pair by itself (units: pairs), as for data that come in pairs. */
static void rl_pair_step(rl_run *t, double lr, double *x) {
    llm_pair_stats stats = {0};
    double loss = 0, *margin = llm_alloc((size_t)t->per_step, sizeof *margin);
    int pass = 0;
    for (int i = 0; i < t->per_step;) {
        rl_pass p = rl_pass_new(2 * llm_min(llm_max(t->d->micro / 2, 1), t->per_step - i), true);
        for (int k = 0; k < p.n; k++) {
            int pair = rl_drawn(t, t->units, t->loop.step * t->per_step + i + k / 2);
            const rl_answer *a = &t->d->compared.answer[t->unit[2 * pair + k % 2]];
            p.s[k] = a->s;
            if (k % 2 == 0) margin[k / 2] = a->margin;
        }
        i += p.n / 2;
        if (rl_others(&p, pass++)) continue;
        rl_forward(t->d, &t->judge->reward, &p);
        loss += llm_loss_pair(p.dsum, p.sum, margin, p.n / 2, 0, t->per_step, &stats);
        rl_backward(&t->judge->reward, &p);
    }
    rl_last_round(t->d, &t->judge->reward, pass, &t->d->compared.answer[0].s, true);
    llm_release(margin);
    x[RUN_LOSS] = rl_all_of(loss, &stats);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->judge->reward, lr);
    x[RL_ACCURACY] = stats.right / stats.pairs;
    x[RL_MARGIN] = stats.margin / stats.pairs;
}
/* Groups held out from the reward model: the last 15 %. */
static int rl_reward_groups(const rl_run *t) { return llm_max(1, (int)((double)t->d->compared.groups * 0.85)); }
static void rl_reward_prepare(rl_run *t) {
    const rl_comparisons *c = &t->d->compared;
    bool pairs = !strcmp(t->s->ranking, "pairs");
    int groups = rl_reward_groups(t), best, worst, answers = 0, used = 0;
    size_t room = 0;
    if (c->margins && !pairs)
        llm_usage("--ranking pairs, or records without it", "the records have a \"margin\": --ranking %s knows none",
                  t->s->ranking);
    rl_open_policy(t, &t->judge->reward, t->s->run.model, false);
    llm_model_add_score(&t->judge->reward, rl_stream(t->s, 1, 0));
    rl_train(t, &t->judge->reward);
    t->units = 0;
    for (int g = 0; g < groups; g++) {
        if (!rl_extremes(c, g, &best, &worst)) continue;   /* all alike: nothing to learn */
        used++;
        answers += c->begin[g + 1] - c->begin[g];
        if (!pairs) {
            t->unit = llm_grow(t->unit, &room, (size_t)t->units + 1, sizeof *t->unit);
            t->unit[t->units++] = g;
        }
        for (int i = c->begin[g]; pairs && i < c->begin[g + 1]; i++)
            for (int j = c->begin[g]; j < c->begin[g + 1]; j++) {
                if (c->answer[i].rank >= c->answer[j].rank) continue;
                t->unit = llm_grow(t->unit, &room, 2 * (size_t)t->units + 2, sizeof *t->unit);
                t->unit[2 * t->units] = i;
                t->unit[2 * t->units++ + 1] = j;
            }
    }
    if (!t->units)
        llm_die("pairs (prompt, chosen, rejected) or rankings (responses, rank); or --reward DIR, --reward-command",
                "a reward model learns from answers that differ in rank, and there are none");
    t->per_step = pairs ? llm_max(1, t->rows / 2) : llm_max(1, t->rows * used / answers);
    t->per_step = llm_min(t->per_step, t->units);
}
/* Share of the pairs of groups from .. to-1 that a score puts in the right order: the labeller's, or (rule) that of the
   tiny world, without his mistakes. kind: of one kind of task, or -1. */
static double rl_pair_accuracy(const rl_run *t, int from, int to, const double *score, int kind, bool rule) {
    const rl_comparisons *c = &t->d->compared;
    double right = 0, pairs = 0;
    for (int g = from; g < to; g++) {
        if (kind >= 0 && t->d->prompts.task[g].kind != kind) continue;
        for (int i = c->begin[g]; i < c->begin[g + 1]; i++)
            for (int j = c->begin[g]; j < c->begin[g + 1]; j++) {
                const rl_answer *a = &c->answer[i], *b = &c->answer[j];
                if (rule ? a->rule < b->rule + 1e-9 : a->rank >= b->rank) continue;
                pairs++;
                right += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
    }
    return pairs > 0 ? right / pairs : NAN;
}
/* What a judge reaches that looks at one thing only; whether more of it is better is learned on the training part. */
static void rl_print_baseline(const rl_run *t, const char *more, const char *less, double *what, FILE *f) {
    int groups = rl_reward_groups(t), n = t->d->compared.begin[t->d->compared.groups];
    bool turn = rl_pair_accuracy(t, 0, groups, what, -1, false) < 0.5;
    for (int i = 0; i < n && turn; i++) what[i] = -what[i];
    double right = rl_pair_accuracy(t, groups, t->d->compared.groups, what, -1, false);
    fprintf(f, "  %-28s %.3f\n", turn ? less : more, right);
}
static void rl_print_accuracy(const rl_run *t, double *score, FILE *f) {
    const rl_comparisons *c = &t->d->compared;
    int n = c->begin[c->groups], groups = rl_reward_groups(t), polite = 0;
    double *what = llm_alloc((size_t)n, sizeof *what);
    fprintf(f, "pairs of %d held-out prompts in the right order\n", c->groups - groups);
    fprintf(f, "  %-28s %.3f   (of those it learned from %.3f)\n", "reward model",
           rl_pair_accuracy(t, groups, c->groups, score, -1, false), rl_pair_accuracy(t, 0, groups, score, -1, false));
    for (int i = 0; i < n; i++) what[i] = c->answer[i].rule;
    if (t->d->tiny)
        fprintf(f, "  %-28s %.3f   (the labeller turns %.0f %% of the rankings over)\n", "ceiling: the true rule",
                rl_pair_accuracy(t, groups, c->groups, what, -1, false), 100 * t->s->noise);
    if (t->d->tiny)
        fprintf(f, "  %-28s %.3f   (by kind of task, below)\n", "reward model, true order",
                rl_pair_accuracy(t, groups, c->groups, score, -1, true));
    for (int i = 0; i < n; i++) what[i] = c->answer[i].s.count - c->answer[i].s.prompt;
    rl_print_baseline(t, "the longer answer wins", "the shorter answer wins", what, f);
    for (int i = 0; i < n; i++) polite += (what[i] = c->answer[i].polite) > 0;
    if (polite) rl_print_baseline(t, "the polite answer wins", "the impolite answer wins", what, f);
    for (int k = 0; k < TW_KINDS && t->d->tiny; k++)
        fprintf(f, "  %s %.2f%s", tw_kind_name[k], rl_pair_accuracy(t, groups, c->groups, score, k, true),
               k < TW_KINDS - 1 ? "" : "\n");
    llm_release(what);
}
/* The head's scale is saved with its weights, the shift (there is no bias in such a folder) in reward.json. */
static void rl_reward_finish(rl_run *t) {
    const rl_comparisons *c = &t->d->compared;
    int n = c->begin[c->groups];
    llm_sequence *s = llm_alloc((size_t)n, sizeof *s);
    double *score = llm_alloc((size_t)n, sizeof *score);
    for (int i = 0; i < n; i++) s[i] = c->answer[i].s;
    rl_row_sums(t->d, &t->judge->reward, s, n, true, score, "scores of the answers compared");
    t->judge->mean = score_normalise(&t->judge->reward, score, n);
    char *text;
    FILE *f = open_memstream(&text, &(size_t){0});
    if (!f) llm_die("more memory", "no memory for the table");
    rl_print_accuracy(t, score, f);
    fprintf(f, "  normalised: mean 0, deviation 1 over the %d answers compared\n", n);
    fclose(f);
    printf("%s", text);
    t->said = text;
    char *path = llm_format("%s/reward.json", t->loop.out);
    llm_writer w = llm_write_begin(path);
    llm_write_text(&w, "{\"subtract\": %.17g, \"against\": \"mean 0, deviation 1 over the %d answers compared\"}\n",
                   t->judge->mean, n);
    llm_write_done(&w);
    llm_release(path);
    llm_release(s);
    llm_release(score);
}

/* ---- DPO, cDPO, IPO: pairs (units: pairs, the best and the worst answer to a prompt) ----

       D = beta [(S_chosen - S_chosen,ref) - (S_rejected - S_rejected,ref)]        L = -log sigmoid(D)

   S is the sum of an answer's log-probabilities in the plain softmax, over all tokens, those too that an answer may not
   hold; S_ref is taken before the first step. */

static void rl_pairs_prepare(rl_run *t) {
    const rl_comparisons *c = &t->d->compared;
    t->unit = llm_alloc((size_t)c->groups * 2, sizeof *t->unit);
    t->units = 0;
    for (int g = 0; g < c->groups; g++)
        t->units += rl_extremes(c, g, &t->unit[2 * t->units], &t->unit[2 * t->units + 1]);
    if (!t->units)
        llm_die("pairs (prompt, chosen, rejected) or rankings (responses, rank)", "no two answers differ in rank");
    t->per_step = llm_min(llm_max(1, t->rows / 2), t->units);
}
static void rl_pairs_refer(rl_run *t) {
    const rl_comparisons *c = &t->d->compared;
    bool *pair = rl_will_draw(t), *answer = llm_alloc((size_t)c->begin[c->groups], sizeof *answer);
    for (int i = 0; i < 2 * t->units; i++) answer[t->unit[i]] = pair[i / 2];
    llm_release(pair);
    rl_remember_answers(t, answer);
}
static void rl_dpo_step(rl_run *t, double lr, double *x) {
    const char *name = t->method->name;
    llm_dpo o = {.kind = !strcmp(name, "ipo") ? LLM_IPO : !strcmp(name, "cdpo") ? LLM_CDPO : LLM_DPO,
                 .beta = rl_beta(t), .flip = t->s->noise, .sft = t->s->sft};
    llm_pair_stats stats = {0};
    double loss = 0, pairs = t->per_step;
    int pass = 0;
    for (int i = 0; i < t->per_step;) {
        rl_pass p = rl_pass_new(2 * llm_min(llm_max(t->d->micro / 2, 1), t->per_step - i), false);
        for (int k = 0; k < p.n; k++) {
            int pair = rl_drawn(t, t->units, t->loop.step * t->per_step + i + k / 2);
            const rl_answer *a = &t->d->compared.answer[t->unit[2 * pair + k % 2]];
            p.s[k] = a->s;
            p.ref[k] = a->ref;
        }
        i += p.n / 2;
        if (rl_others(&p, pass++)) continue;
        rl_forward(t->d, &t->policy, &p);
        loss += llm_loss_dpo(p.dsum, p.sum, p.ref, p.count, p.n / 2, o, pairs, &stats);
        rl_backward(&t->policy, &p);
    }
    rl_last_round(t->d, &t->policy, pass, &t->d->compared.answer[0].s, false);
    x[RUN_LOSS] = rl_all_of(loss, &stats);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
    x[RL_ACCURACY] = stats.right / pairs;
    x[RL_MARGIN] = stats.margin / pairs;
    x[RL_CHOSEN] = stats.chosen / pairs;   /* apart: often both fall, and the margin grows all the same */
    x[RL_REJECTED] = stats.rejected / pairs;
}

/* For the page: two pairs as the policy has them now. D is a sum over tokens; under each stands its part of it,
   beta (log pi - log ref): where the policy has learned to prefer, and what. */
static void rl_pairs_finish(rl_run *t) {
    static const char *const name[] = {"chosen", "rejected", "chosen", "rejected"};
    const int rows = llm_min(4, 2 * t->units);
    llm_model sft = {0};
    llm_sequence s[4];
    double sum[4] = {0};
    for (int i = 0; i < rows; i++) s[i] = t->d->compared.answer[t->unit[i]].s;
    llm_batch b = rl_lay(t->d, s, rows, false);
    llm_real *now = llm_alloc(llm_places(&b), sizeof *now), *ref = llm_alloc(llm_places(&b), sizeof *ref);
    llm_real *part = llm_alloc(llm_places(&b), sizeof *part);
    llm_forward(&t->policy, &b, now, NULL, NULL);
    rl_open_policy(t, &sft, t->s->run.model, false);
    sft.head_options.banned = NULL;
    llm_forward(&sft, &b, ref, NULL, NULL);
    for (size_t i = 0; i < llm_places(&b); i++) {
        part[i] = (llm_real)(rl_beta(t) * (now[i] - ref[i]));
        if (b.weight[i] != 0) sum[i / (size_t)b.T] += part[i];
    }
    const stage_numbers shown = {.value = part, .logp = now, .ref = ref, .name = name, .read = "sum", .score = sum};
    stage_tokens(t->loop.out, &t->d->tok, &b, rows, shown);
    llm_model_free(&sft);
    llm_batch_free(&b);
    llm_release_all(now, ref, part);
}

/* ---- KTO: single answers, good or bad (units: answers) ----

       good: L = w (1 - sigmoid(beta (S - S_ref - z0)))        bad: L = w (1 - sigmoid(beta (z0 - S + S_ref)))

   Labels come with the data, or the best answer of a group counts as good and the worst as bad. The reference point z0,
   the policy's KL, is measured on answers put behind the wrong prompt: always that of the next unit, so that their
   reference log-probabilities too are computed once. */

typedef struct {
    bool *good;
    llm_sequence *wrong;
    double *wrong_ref, weight_good, weight_bad;
} rl_kto;
static void rl_kto_choose(rl_run *t, rl_kto *k) {
    const rl_comparisons *c = &t->d->compared;
    int n = c->begin[c->groups], pair[2];
    bool labels = false;
    t->unit = llm_alloc((size_t)n + 2, sizeof *t->unit);
    k->good = llm_alloc((size_t)n + 2, sizeof *k->good);
    t->units = 0;
    for (int i = 0; i < n; i++) labels = labels || c->answer[i].label >= 0;
    for (int i = 0; i < n && labels; i++) {
        if (c->answer[i].label < 0) continue;
        k->good[t->units] = c->answer[i].label == 1;
        t->unit[t->units++] = i;
    }
    for (int g = 0; g < c->groups && !labels; g++)
        for (int j = 0, two = rl_extremes(c, g, &pair[0], &pair[1]); j < 2 && two; j++) {
            k->good[t->units] = j == 0;
            t->unit[t->units++] = pair[j];
        }
}
static bool rl_kto_same_prompt(const rl_run *t, int i, int j) {
    const llm_sequence *x = &t->d->compared.answer[t->unit[i]].s, *y = &t->d->compared.answer[t->unit[j]].s;
    return x->prompt == y->prompt && !memcmp(x->id, y->id, (size_t)x->prompt * sizeof(int));
}
/* other[i]: the first unit behind i, round the end, with another prompt (the next, where all have the same). Found from
   behind, twice round: where the next has my prompt, its other is mine. */
static int *rl_kto_others(const rl_run *t) {
    int n = t->units, *other = llm_alloc((size_t)n, sizeof *other);
    for (int k = 2 * n - 1; k >= 0; k--) {
        int i = k % n, next = (i + 1) % n;
        other[i] = rl_kto_same_prompt(t, i, next) ? other[next] : next;
    }
    for (int i = 0; i < n; i++)
        if (rl_kto_same_prompt(t, i, other[i])) other[i] = (i + 1) % n;
    return other;
}
static void rl_kto_prepare(rl_run *t) {
    rl_kto *k = t->own = llm_alloc(1, sizeof *k);
    double good = 0;
    rl_kto_choose(t, k);
    int n = t->units;
    if (n < 2) llm_die("records with a label, or with answers that differ in rank", "KTO wants at least 2 answers");
    int *other = rl_kto_others(t);
    k->wrong = llm_alloc((size_t)n, sizeof *k->wrong);
    k->wrong_ref = llm_alloc((size_t)n, sizeof *k->wrong_ref);
    for (int i = 0; i < n; i++) {
        const llm_sequence *x = &t->d->compared.answer[t->unit[i]].s;
        const llm_sequence *y = &t->d->compared.answer[t->unit[other[i]]].s;
        int length = llm_min(y->count - y->prompt, t->policy.c.T - 1 - x->prompt);
        int *id = llm_alloc((size_t)(x->prompt + length), sizeof *id);
        memcpy(id, x->id, (size_t)x->prompt * sizeof *id);
        memcpy(id + x->prompt, y->id + y->prompt, (size_t)length * sizeof *id);
        k->wrong[i] = (llm_sequence){id, x->prompt, x->prompt + length};
        good += k->good[i];
    }
    llm_release(other);
    llm_kto_balance(&k->weight_good, &k->weight_bad, good, n - good);
    t->per_step = llm_min(t->rows, n);
}
static void rl_kto_refer(rl_run *t) {
    rl_kto *k = t->own;
    const rl_comparisons *c = &t->d->compared;
    bool *unit = rl_will_draw(t), *answer = llm_alloc((size_t)c->begin[c->groups], sizeof *answer);
    for (int i = 0; i < t->units; i++) answer[t->unit[i]] = unit[i];
    rl_remember_answers(t, answer);
    rl_remember_reference(t, "... behind another prompt", k->wrong, unit, t->units, k->wrong_ref);
    llm_release(unit);
}
static void rl_kto_step(rl_run *t, double lr, double *x) {
    const rl_kto *k = t->own;
    int n = t->per_step, *unit = llm_alloc((size_t)n, sizeof *unit);
    llm_sequence *wrong = llm_alloc((size_t)n, sizeof *wrong);
    double *sum = llm_alloc((size_t)n, sizeof *sum), *ref = llm_alloc((size_t)n, sizeof *ref), loss = 0;
    for (int i = 0; i < n; i++) {
        unit[i] = rl_drawn(t, t->units, t->loop.step * n + i);
        wrong[i] = k->wrong[unit[i]];
        ref[i] = k->wrong_ref[unit[i]];
    }
    rl_row_sums(t->d, &t->policy, wrong, n, false, sum, NULL);        /* forward only: z0 is not differentiated */
    llm_kto o = {rl_beta(t), llm_kto_z0(sum, ref, n), k->weight_good, k->weight_bad};
    int pass = 0;
    for (int i = 0; i < n; i += t->d->micro) {
        rl_pass p = rl_pass_new(llm_min(t->d->micro, n - i), false);
        if (rl_others(&p, pass++)) continue;
        bool *good = llm_alloc((size_t)p.n, sizeof *good);
        for (int j = 0; j < p.n; j++) {
            const rl_answer *a = &t->d->compared.answer[t->unit[unit[i + j]]];
            p.s[j] = a->s;
            p.ref[j] = a->ref;
            good[j] = k->good[unit[i + j]];
        }
        rl_forward(t->d, &t->policy, &p);
        loss += llm_loss_kto(p.dsum, p.sum, p.ref, good, p.n, o, n);
        rl_backward(&t->policy, &p);
        llm_release(good);
    }
    rl_last_round(t->d, &t->policy, pass, &t->d->compared.answer[0].s, false);
    x[RUN_LOSS] = rl_all_of(loss, NULL);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
    x[RL_KL] = o.z0;
    void *all[] = {unit, wrong, sum, ref};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
}
static void rl_kto_finish(rl_run *t) {
    rl_kto *k = t->own;
    for (int i = 0; i < t->units; i++) llm_release((int *)k->wrong[i].id);
    void *all[] = {k->good, k->wrong, k->wrong_ref, k};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
    t->own = NULL;
}

/* ---- RRHF: rankings (units: prompts with all their answers) ----

       L = sum over worse i, better j of max(0, p_i - p_j)  -  weight S_best        p = S / |y|: mean log-probability

   The paper's imitation term is -S_best, summed over the answer's tokens, its ranking term a sum over pairs of means:
   so the weight that llm_loss_rrhf gives p_best, a mean, is `--rrhf-weight` times |y_best|, and 1 is the paper's. */

static void rl_rrhf_prepare(rl_run *t) {
    const rl_comparisons *c = &t->d->compared;
    int best, worst, answers = 0;
    t->unit = llm_alloc((size_t)c->groups, sizeof *t->unit);
    t->units = 0;
    for (int g = 0; g < c->groups; g++) {
        if (!rl_extremes(c, g, &best, &worst)) continue;
        t->unit[t->units++] = g;
        answers += c->begin[g + 1] - c->begin[g];
    }
    if (!t->units) llm_die("pairs or rankings (responses, rank)", "no two answers differ in rank");
    t->per_step = llm_min(llm_max(1, t->rows * t->units / answers), t->units);
}
static void rl_rrhf_step(rl_run *t, double lr, double *x) {
    double loss = 0;
    int pass = 0;
    for (int i = 0; i < t->per_step;) {
        rl_pass p = rl_pass_groups(t, i, false);
        i += p.groups;
        if (rl_others(&p, pass++)) continue;
        double *reward = llm_alloc((size_t)p.n, sizeof *reward);
        for (int k = 0; k < p.n; k++) reward[k] = -p.rank[k];
        rl_forward(t->d, &t->policy, &p);
        for (int g = 0; g < p.groups; g++) {
            int at = p.begin[g], K = p.begin[g + 1] - at;
            const double tokens = p.count[at + llm_best_of(reward + at, K)];    /* p_best |y_best| is S_best */
            loss += llm_loss_rrhf(p.dsum + at, p.sum + at, p.count + at, reward + at, K, t->s->rrhf * tokens,
                                  t->per_step);
        }
        rl_backward(&t->policy, &p);
        llm_release(reward);
    }
    rl_last_round(t->d, &t->policy, pass, &t->d->compared.answer[0].s, false);
    x[RUN_LOSS] = rl_all_of(loss, NULL);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
}

/* ---- rejection sampling: "Model outputs k samples. SFT the best response!" ----

   Each round lets the policy answer every prompt N times and learns the answers that the judge likes best, as stage 2
   learns demonstrations. The control, "random", takes any own answer: what it gains is no merit of the reward. The
   chosen ones are written down and read again, so a round that is killed in the middle goes on with the same ones. */

static bool rl_rejection_sample(rl_run *t, const char *path, int round) {
    bool random = !strcmp(t->method->name, "random");
    int N = (int)t->s->best_of;
    rl_samples x = rl_sample(t->d, &t->policy, &t->d->prompts, NULL, t->d->prompts.count, N, rl_stream(t->s, 2, round));
    llm_rng any = llm_rng_seed(rl_stream(t->s, 3, round), 0);
    if (!random) rl_judge_answers(t->judge, t->d, &x);
    if (t->judge->program.failures >= 3) return rl_samples_free(&x), false;
    int kept = 0;
    llm_writer w = llm_write_begin(path);
    for (int g = 0; g < t->d->prompts.count; g++) {
        int i = g * N + (random ? llm_rng_below(&any, N) : llm_best_of(x.score + g * N, N));
        if (!x.a.stopped[i] || !*x.a.text[i]) continue;         /* an answer without an end is no demonstration */
        kept++;
        rl_write_prompt(&w, &t->d->records.record[g]);
        llm_write_text(&w, ", \"completion\": ");
        llm_write_json_string(&w, x.a.text[i], strlen(x.a.text[i]));
        llm_write_text(&w, ", \"label\": true}\n");
    }
    llm_write_done(&w);
    rl_samples_free(&x);
    if (!kept) llm_die("a model that has learned to stop (train_sft)", "none of the chosen answers has an end");
    return true;
}
typedef struct { int round; rl_comparisons chosen; } rl_rejection;
static void rl_rejection_prepare(rl_run *t) {
    rl_rejection *r = t->own = llm_alloc(1, sizeof *r);
    r->round = -1;
    t->units = t->d->prompts.count * (int)t->s->rounds;
    t->per_step = t->rows;
}
static void rl_rejection_step(rl_run *t, double lr, double *x) {
    rl_rejection *r = t->own;
    int rounds = (int)t->s->rounds, each = llm_max(1, t->loop.steps / rounds);
    int round = llm_min(t->loop.step / each, rounds - 1), within = t->loop.step - round * each;
    char *path = llm_format("%s/round-%d.jsonl", t->loop.out, round);
    const char *file[] = {path};
    const bool sampled = within > 0 || rl_rejection_sample(t, path, round);
    ranks_meet();
    if (!sampled) {     /* nobody judged: the step is not taken */
        llm_release(path);
        return;
    }
    if (r->round != round) {
        llm_records winners;
        forms_read(&winners, file, 1, NULL, false);
        rl_comparisons_free(&r->chosen);
        r->chosen = rl_read_comparisons(t->d, &winners);
        r->round = round;
        forms_free(&winners);
    }
    llm_release(path);
    double loss = 0, targets = 0;
    const rl_comparisons *c = &r->chosen;
    int answers = c->begin[c->groups];
    for (int i = 0; i < t->per_step; i++) {
        const llm_sequence *s = &c->answer[rl_drawn(t, answers, within * t->per_step + i)].s;
        targets += s->count - s->prompt;
    }
    int pass = 0;
    for (int i = 0; i < t->per_step; i += t->d->micro) {
        rl_pass p = rl_pass_new(llm_min(t->d->micro, t->per_step - i), false);
        for (int k = 0; k < p.n; k++) p.s[k] = c->answer[rl_drawn(t, answers, within * t->per_step + i + k)].s;
        if (rl_others(&p, pass++)) continue;
        rl_forward(t->d, &t->policy, &p);
        for (int k = 0; k < p.n; k++) {
            loss -= p.sum[k] / targets;
            p.dsum[k] = -1 / targets;
        }
        rl_backward(&t->policy, &p);
    }
    rl_last_round(t->d, &t->policy, pass, &c->answer[0].s, false);
    x[RUN_LOSS] = rl_all_of(loss, NULL);
    x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
}
static void rl_rejection_finish(rl_run *t) {
    rl_rejection *r = t->own;
    rl_comparisons_free(&r->chosen);
    llm_release(r);
    t->own = NULL;
}

/* ---- rollouts: what PPO and GRPO learn from ---- */

typedef struct {
    rl_samples x;
    llm_batch b;
    llm_real *old, *ref, *value, *reward, *advantage, *ret;     /* (B,T) */
} rl_rollout;

static llm_batch rl_some_rows(const llm_batch *b, int from, int n) {
    int o = from * b->T;
    return (llm_batch){n, b->T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
}
/* Of the round that begins with row `first` of n: where this rank's rows begin. Who has none repeats the first ones. */
static int rl_own_rows(const rl_run *t, int first, int n) {
    const int i = first + t->d->micro * rl_self();
    return i < n ? i : first;
}
/* Is the gradient of these rows this rank's to give? Else it is 0. */
static bool rl_counts(int i, int first, llm_real *dlogp, const llm_batch *b) {
    const bool mine = rl_self() == 0 || i > first;
    if (!mine) memset(dlogp, 0, llm_places(b) * sizeof *dlogp);
    return mine;
}
/* The same question to the sampler: did it draw from the policy that learns? A filter, another temperature or a stale
   cache would show. (In bf16 the rounding hides it.) */
static void rl_check_sampler(const rl_run *t, const rl_rollout *r) {
    double largest = 0;
    for (int i = 0; i < r->x.n; i++)
        for (int k = 0, n = r->x.s[i].count - r->x.s[i].prompt; k < n; k++) {
            size_t place = (size_t)i * (size_t)r->b.T + (size_t)(r->x.s[i].prompt - 1 + k);
            double d = (double)r->x.a.logp[(size_t)i * (size_t)r->x.a.max_new + (size_t)k] - (double)r->old[place];
            largest = isnan(d) ? INFINITY : fmax(largest, fabs(d));
        }
    if (t->d->op->precision != LLM_BF16 && !(largest < 0.01))
        llm_die("temperature 1, no filter, the same tokens forbidden",
                "the sampler is not the policy that learns: log-probabilities differ by %g", largest);
}
/* Answers of the policy as it is now to the next `prompts` of n units, each prompt `each` times; and what policy and
   reference thought of every token. Old log-probabilities come from llm_forward, not from the sampler: the same code as
   in the update, so that the ratio before it is exactly 1. */
static void rl_ask(rl_run *t, const int *unit, int n_units, int prompts, int each, uint64_t seed, rl_rollout *r) {
    int *which = llm_alloc((size_t)prompts, sizeof *which);
    for (int i = 0; i < prompts; i++) which[i] = unit[rl_drawn(t, n_units, t->loop.step * prompts + i)];
    *r = (rl_rollout){.x = rl_sample(t->d, &t->policy, &t->d->prompts, which, prompts, each, seed)};
    llm_release(which);
    int n = r->x.n;
    r->b = rl_lay(t->d, r->x.s, n, false);
    llm_real **array[] = {&r->old, &r->ref, &r->value, &r->reward, &r->advantage, &r->ret};
    for (int i = 0; i < 6; i++) *array[i] = llm_alloc(llm_places(&r->b), sizeof(llm_real));
    for (int first = 0; first < n; first += t->d->micro * rl_ranks()) {
        const int i = rl_own_rows(t, first, n);
        llm_batch some = rl_some_rows(&r->b, i, llm_min(t->d->micro, n - i));
        size_t o = (size_t)i * (size_t)r->b.T;
        llm_forward(&t->policy, &some, r->old + o, NULL, NULL);
        rl_reference_logp(t, &some, r->ref + o);
        if (t->critic.ops) llm_forward(&t->critic, &some, NULL, NULL, r->value + o);
    }
    for (int i = 0, pass = 0; i < n; i += t->d->micro, pass++)
        for (int k = 0; k < 3; k++)
            rl_tell(*array[k] + (size_t)i * (size_t)r->b.T,
                    (size_t)llm_min(t->d->micro, n - i) * (size_t)r->b.T * sizeof(llm_real), pass);
    rl_check_sampler(t, r);
}
/* A step's answers, judged; false: the reward program has failed. */
static bool rl_roll_out(rl_run *t, int each, rl_rollout *r, double *m) {
    rl_ask(t, t->unit, t->units, t->per_step, each, rl_stream(t->s, 4, t->loop.step), r);
    rl_judge_answers(t->judge, t->d, &r->x);
    const int n = r->x.n;
    m[RL_REWARD] = eval_mean(r->x.score, n).mean;
    if (t->d->tiny) m[RL_TRUTH] = eval_mean(r->x.a.reward, n).mean;
    m[RL_LENGTH] = eval_mean_length(&r->x.a);
    m[RL_STOPS] = eval_flags(r->x.a.stopped, n).mean;
    return t->judge->program.failures < 3;
}
static void rl_rollout_free(rl_rollout *r) {
    llm_real *array[] = {r->old, r->ref, r->value, r->reward, r->advantage, r->ret};
    for (int i = 0; i < 6; i++) llm_release(array[i]);
    rl_samples_free(&r->x);
    llm_batch_free(&r->b);
}
/* The prompts to sample from; the reference. */
static void rl_rollout_prepare(rl_run *t) {
    t->unit = llm_alloc((size_t)t->d->prompts.count, sizeof *t->unit);
    t->units = 0;
    for (int i = 0; i < t->d->prompts.count; i++)
        if (t->judge->kind != JUDGE_GOLD || rl_checkable(&t->d->prompts, i)) t->unit[t->units++] = i;
    if (!t->units) llm_die("records with a column \"answer\", or another reward", "no prompt has a known right answer");
    if (t->policy.lora) return;
    rl_open_policy(t, &t->reference, t->s->run.model, false);
    fprintf(stderr, "reference policy: a frozen copy, %.1f MB of weights (none with --lora-rank)\n",
            (double)t->reference.size * sizeof(llm_real) / 1e6);
}

/* ---- PPO: the lecture's picture ----

       answers -> score, KL -> reward of every token -> GAE -> advantage, return
       L = mean of max(-A rho, -A clip(rho, 1 - eps, 1 + eps)), rho = pi / pi_old        critic: (V - return)^2

   Only completion tokens are trained, the reward comes on the last one, KL is paid on each. The critic is a network of
   its own, begun from the reward model, which already knows what a good answer looks like. */

static void rl_ppo_prepare(rl_run *t) {
    rl_rollout_prepare(t);
    t->per_step = (int)t->s->rollout;
    if (t->judge->reward.ops) llm_model_copy(&t->critic, &t->judge->reward, true);
    else {
        hf_model_load(&t->critic, t->s->run.model, t->d->op);
        llm_model_add_score(&t->critic, rl_stream(t->s, 5, 0));
    }
    rl_train(t, &t->critic);
}
static void rl_ppo_update(rl_run *t, const rl_rollout *r, double lr, double *x) {
    const rl_settings *s = t->s;
    int B = r->b.B, T = r->b.T, rows = llm_min(t->rows, B);
    double sum[4] = {0};                /* losses of policy and critic; tokens, and those that were clipped */
    llm_real *logp = llm_alloc((size_t)(rows * T), sizeof *logp), *dlogp = llm_alloc((size_t)(rows * T), sizeof *dlogp);
    for (int epoch = 0; epoch < s->inner_epochs; epoch++)
        for (int first = 0; first + rows <= B; first += rows) {
            llm_batch all = rl_some_rows(&r->b, first, rows);
            double M = llm_batch_targets(&all);
            sum[0] = sum[1] = 0;            /* of the last minibatch */
            for (int at = first; at < first + rows; at += t->d->micro * rl_ranks()) {
                const int i = rl_own_rows(t, at, first + rows);
                llm_batch b = rl_some_rows(&r->b, i, llm_min(t->d->micro, first + rows - i));
                size_t o = (size_t)i * (size_t)T;
                llm_policy_stats now = {0};
                llm_forward(&t->policy, &b, logp, NULL, NULL);
                double loss = llm_loss_ppo(dlogp, logp, r->old + o, r->advantage + o, &b, M, s->clip, &now);
                if (epoch == 0 && at == 0) ratio_check(&now);
                const bool mine = rl_counts(i, at, dlogp, &b);
                if (mine) sum[0] += loss, sum[2] += now.tokens, sum[3] += now.clipped;
                llm_backward(&t->policy, &b, dlogp, NULL, NULL);
                llm_forward(&t->critic, &b, NULL, NULL, logp);
                loss = llm_loss_value(dlogp, logp, r->value + o, r->ret + o, &b, M, 1, s->clip);
                if (rl_counts(i, at, dlogp, &b)) sum[1] += loss;
                llm_backward(&t->critic, &b, NULL, NULL, dlogp);
            }
            x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
            llm_adamw_step(&t->critic_adamw, &t->critic, s->critic_lr * lr / t->loop.schedule.lr);
        }
    rl_add_up(sum, 4);
    x[RUN_LOSS] = sum[0];
    x[RL_VALUE] = sum[1];
    x[RL_CLIPPED] = sum[3] / fmax(sum[2], 1);
    llm_release(logp);
    llm_release(dlogp);
}
static void rl_ppo_step(rl_run *t, double lr, double *x) {
    const rl_settings *s = t->s;
    rl_rollout r;
    if (rl_roll_out(t, 1, &r, x)) {
        x[RL_KL] = llm_ppo_rewards(r.reward, r.old, r.ref, r.x.score, &r.b, t->kl);
        llm_gae(r.advantage, r.ret, r.reward, r.value, &r.b, s->gamma, s->lambda);
        llm_whiten(r.advantage, &r.b, true);    /* over the whole rollout, before it is cut into minibatches */
        if (t->loop.step == t->loop.steps - 1)
            stage_tokens(t->loop.out, &t->d->tok, &r.b, 4, (stage_numbers){.value = r.advantage, .logp = r.old,
                                                                           .ref = r.ref, .score = r.x.score});
        rl_ppo_update(t, &r, lr, x);
        x[RL_KL_PRICE] = t->kl;
        llm_kl_control steer = {t->kl, s->kl_target, 10000};
        if (s->kl_target > 0) llm_kl_adapt(&steer, x[RL_KL], r.b.B);
        t->kl = steer.beta;
    }
    rl_rollout_free(&r);
}
/* The critic lies in the policy's checkpoint, CHECKPOINT/critic: both are there or none is. */
static void rl_ppo_save(rl_run *t, const char *checkpoint) {
    char *dir = llm_format("%s/critic", checkpoint);
    llm_checkpoint_write(dir, t->loop.step, &t->critic, &t->critic_adamw, &t->d->tok, NULL);
    llm_release(dir);
}
static void rl_ppo_restore(rl_run *t, const char *checkpoint, const llm_json *state) {
    const char *older = llm_json_text(state, "critic", NULL);           /* once it was OUT/critic/checkpoint-N */
    char *dir = older ? llm_format("%s/critic/%s", t->loop.out, older) : llm_format("%s/critic", checkpoint);
    llm_model_free(&t->critic);
    hf_model_load(&t->critic, dir, t->d->op);
    rl_train(t, &t->critic);
    llm_json_free(llm_checkpoint_resume(dir, &t->critic, &t->critic_adamw, &t->d->tok));
    llm_release(dir);
}
static void rl_rollout_finish(rl_run *t) {
    if (t->critic.ops) {
        llm_adamw_free(&t->critic_adamw, &t->critic);
        llm_model_free(&t->critic);
    }
    if (t->reference.ops) llm_model_free(&t->reference);
}

/* ---- GRPO: the group is the critic ----

       A = (score - mean of its group) / deviation of its group        L as in PPO, plus kl times an estimate of KL

   Where a checker judges, it knows nothing of most prompts, and a policy that learns sums forgets how JSON looks. So
   some of the others are answered too (--hold): nothing is gained there, A = 0, and the price of KL keeps them. */

typedef struct { int *held, n, per_step; } rl_grpo;     /* prompts that nobody checks; so many in a step */
static void rl_grpo_prepare(rl_run *t) {
    const eval_prompts *p = &t->d->prompts;
    rl_rollout_prepare(t);
    t->per_step = llm_max(1, (int)(t->rows / t->s->group));
    rl_grpo *g = t->own = llm_alloc(1, sizeof *g);
    g->held = llm_alloc((size_t)p->count + 1, sizeof *g->held);
    for (int i = 0; i < p->count; i++)
        if (t->judge->kind == JUDGE_GOLD && !rl_checkable(p, i)) g->held[g->n++] = i;
    g->per_step = t->kl > 0 ? llm_min((int)t->s->hold, g->n) : 0;
    if (g->n)
        fprintf(stderr, "%d prompts with an answer that is checked; of %d others %d a step are held by the price of "
                "KL\n", t->units, g->n, g->per_step);
}
static void rl_grpo_finish(rl_run *t) {
    rl_grpo *g = t->own;
    llm_release_all(g->held, g);
    t->own = NULL;
    rl_rollout_finish(t);
}
/* One epoch over a rollout: its gradients are added. sum: loss; tokens, and those that were clipped. */
static void rl_grpo_epoch(rl_run *t, const rl_rollout *r, const double *advantage, bool first_epoch, double *sum) {
    int n = r->b.B, T = r->b.T;
    llm_grpo o = llm_grpo_defaults();
    o.beta = t->kl;
    o.rows = n;
    o.tokens = llm_batch_targets(&r->b);
    o.longest = (double)t->s->max_new;
    llm_real *logp = llm_alloc((size_t)t->d->micro * (size_t)T, sizeof *logp);
    llm_real *dlogp = llm_alloc((size_t)t->d->micro * (size_t)T, sizeof *dlogp);
    for (int first = 0; first < n; first += t->d->micro * rl_ranks()) {
        const int i = rl_own_rows(t, first, n);
        llm_batch b = rl_some_rows(&r->b, i, llm_min(t->d->micro, n - i));
        size_t at = (size_t)i * (size_t)T;
        llm_policy_stats now = {0};
        llm_forward(&t->policy, &b, logp, NULL, NULL);
        const double loss = llm_loss_grpo(dlogp, logp, r->old + at, r->ref + at, advantage + i, &b, &o, &now);
        if (first_epoch && first == 0) ratio_check(&now);
        if (rl_counts(i, first, dlogp, &b)) sum[0] += loss, sum[1] += now.tokens, sum[2] += now.clipped;
        llm_backward(&t->policy, &b, dlogp, NULL, NULL);
    }
    llm_release_all(logp, dlogp);
}
static void rl_grpo_step(rl_run *t, double lr, double *x) {
    const rl_grpo *g = t->own;
    int group = (int)t->s->group;
    rl_rollout r, held = {0};
    if (rl_roll_out(t, group, &r, x)) {
        int n = r.b.B;
        double *advantage = llm_alloc((size_t)n, sizeof *advantage), sum[3] = {0};
        double *none = llm_alloc((size_t)g->per_step + 1, sizeof *none);
        int flat = llm_group_advantages(advantage, r.x.score, n, group, LLM_GROUP_NORM);
        if (g->per_step) rl_ask(t, g->held, g->n, g->per_step, 1, rl_stream(t->s, 7, t->loop.step), &held);
        for (int epoch = 0; epoch < t->s->inner_epochs; epoch++) {
            sum[0] = 0;                     /* hovers around 0, the advantages of a group cancel: watch the reward */
            rl_grpo_epoch(t, &r, advantage, epoch == 0, sum);
            if (g->per_step) rl_grpo_epoch(t, &held, none, epoch == 0, sum);
            x[RUN_GNORM] = llm_adamw_step(&t->loop.adamw, &t->policy, lr);
        }
        rl_add_up(sum, 3);
        x[RUN_LOSS] = sum[0];
        x[RL_CLIPPED] = sum[2] / fmax(sum[1], 1);
        x[RL_SILENT] = (double)flat / t->per_step;
        x[RL_KL] = llm_ppo_rewards(r.reward, r.old, r.ref, r.x.score, &r.b, 0);
        llm_release_all(advantage, none);
        if (g->per_step) rl_rollout_free(&held);
    }
    rl_rollout_free(&r);
}

/* ---- the list ----

   Learning rates, answers in a step and passes over the data for the tiny world's 0.5M parameters (models of billions
   of parameters want a thousandth of these rates), chosen on the prompts for that. On the test's prompts, three seeds
   of the whole pipeline: win-rate against the SFT model by the true rule (95 % interval +- 0.02), KL in nats.

       ppo .70 .72 .69 (.87)     dpo .68 .71 .68 (.66)   cdpo .66 .69 .67 (.49)       rrhf .55 .60 .57 (.31)
       kto .71 .71 .69 (.74)     ipo .66 .68 .66 (.49)   rejection .67 .67 .67 (.47)  grpo .52 .52 .52 (.12)
       random .51 .52 .50 (.02), the control of rejection; best-of-n .68 .70 .68, no training

   What each gives and takes, task by task: test/MEASURED.md. */

static const rl_method rl_reward_kwise = {
    .name = "reward", .lr = 6e-4, .epochs = 2, .rows = 64, .prepare = rl_reward_prepare, .step = rl_kwise_step,
    .finish = rl_reward_finish};
static const rl_method rl_reward_pairs = {
    .name = "reward", .lr = 6e-4, .epochs = 2, .rows = 64, .prepare = rl_reward_prepare, .step = rl_pair_step,
    .finish = rl_reward_finish};

enum { RL_METHODS = 10 };
static const rl_method rl_methods[RL_METHODS] = {      /* in the order of --all */
    /* learning rate, passes over the data, price of KL, answers in a step, steps (0: by the passes), learns from
       answers compared beforehand, its own flags; prepare, step, finish, save, restore, refer */
    {"best-of-n", 0, 0, 0, 0, 0, false, "best-of", NULL, NULL, NULL, NULL, NULL, NULL},         /* trains nothing */
    {"rejection", 1e-4, 1, 0, 16, 0, false, "best-of|rounds",
     rl_rejection_prepare, rl_rejection_step, rl_rejection_finish, NULL, NULL, NULL},
    {"random", 1e-4, 1, 0, 16, 0, false, "best-of|rounds",
     rl_rejection_prepare, rl_rejection_step, rl_rejection_finish, NULL, NULL, NULL},
    {"dpo", 1e-4, 2, 0.5, 32, 0, true, "beta|sft-weight",
     rl_pairs_prepare, rl_dpo_step, rl_pairs_finish, NULL, NULL, rl_pairs_refer},
    {"cdpo", 1e-4, 2, 0.5, 32, 0, true, "beta|sft-weight",
     rl_pairs_prepare, rl_dpo_step, rl_pairs_finish, NULL, NULL, rl_pairs_refer},
    {"ipo", 1e-4, 2, 0.5, 32, 0, true, "beta|sft-weight",
     rl_pairs_prepare, rl_dpo_step, rl_pairs_finish, NULL, NULL, rl_pairs_refer},
    {"kto", 1e-4, 2, 1, 32, 0, true, "beta",
     rl_kto_prepare, rl_kto_step, rl_kto_finish, NULL, NULL, rl_kto_refer},
    {"rrhf", 2e-4, 1, 0, 64, 0, true, "rrhf-weight",
     rl_rrhf_prepare, rl_rrhf_step, NULL, NULL, NULL, NULL},
    {"grpo", 2e-4, 0, 0.05, 128, 80, false, "kl|inner-epochs|group|hold",
     rl_grpo_prepare, rl_grpo_step, rl_grpo_finish, NULL, NULL, NULL},
    {"ppo", 2e-4, 0, 0.2, 32, 40, false, "kl|inner-epochs|kl-target|clip|rollout|gamma|lambda|critic-lr",
     rl_ppo_prepare, rl_ppo_step, rl_rollout_finish, rl_ppo_save, rl_ppo_restore, NULL},
};
static const rl_method *rl_find_method(const char *name) {
    for (int i = 0; i < RL_METHODS; i++)
        if (!strcmp(name, rl_methods[i].name)) return &rl_methods[i];
    return NULL;
}
/* "ppo|grpo|..." for the flag. */
static const char *rl_method_names(void) {
    static char names[256];
    size_t n = 0;
    for (int i = RL_METHODS; i-- > 0;)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? "|" : "", rl_methods[i].name);
    return names;
}
/* Does a method run? */
static bool rl_runs(const rl_settings *s, const char *method) {
    return s->all || !strcmp(method, s->sweep_kl ? "ppo" : s->method);
}
/* A method's own flag, given to others only. */
static void rl_check_own(const rl_settings *s, const char *flag) {
    bool runs = false;
    char *of = NULL;
    for (int i = 0; i < RL_METHODS; i++) {
        if (!one_of(rl_methods[i].flags, flag)) continue;
        char *longer = llm_format("%s%s %s", of ? of : "it is of", of ? "," : "", rl_methods[i].name);
        llm_release(of);
        of = longer;
        runs = runs || rl_runs(s, rl_methods[i].name);
    }
    if (of) llm_options_idle(flag, !runs, of);
    llm_release(of);
}
/* Flags that would do nothing. The data tell of more: train_rlhf.c's check_judged. */
static void rl_check(rl_settings *s) {
    const run_settings *r = &s->run;
    const bool several = s->all || s->sweep_kl, tiny = !r->data.count;
    if (r->log && several)
        llm_usage("OUT/METHOD/log.csv, which is written anyway", "--log is one file, and there are several runs");
    run_check_flags(r);
    llm_options_idle("method", several, s->all ? "--all runs every one" : "--sweep-kl is of ppo");
    for (int i = 0; i < options_given.count; i++) rl_check_own(s, options_given.name[i]);
    llm_options_idle("hold", s->kl == 0, "--kl is 0");
    llm_options_idle("kl", s->sweep_kl && !s->all, "--sweep-kl tries several");
    llm_options_idle("verify", s->sweep_kl && !s->all, "--sweep-kl asks a reward model or a program");
    llm_options_idle("lr|steps|log|lora-rank|lora-targets", !several && !strcmp(s->method, "best-of-n"),
                     "--method best-of-n trains no policy");
    llm_options_idle("lora-targets", !s->lora_rank, "without --lora-rank there are no adapters");
    llm_options_idle("reward-timeout", !s->reward_command, "there is no --reward-command");
    llm_options_idle("val-fraction", tiny || r->val_data.count, "other prompts are held out");
    llm_options_idle("columns|skip-bad", tiny, "the tiny world's records are whole");
    if (s->beta == 0) llm_usage("a price above 0", "--beta 0 is out of range");
}
#endif
