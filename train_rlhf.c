/* train_rlhf.c: stage 3 of the lecture, alignment. A reward model learns from ranked answers what people want, and a
   policy learns to give it.

       ./train_rlhf                            the tiny world: samples answers of out/sft, ranks them by the world's
   true rule (one ranking in ten upside down), trains out/reward, aligns with PPO -> out/rlhf
       ./train_rlhf --method dpo               or cdpo, ipo, kto, rrhf, rejection, grpo, best-of-n;  --all: every one,
   one table
       ./train_rlhf --data prefs.jsonl         your own preferences

   Every method is the same loop: rows of prompt and answer go through llm_forward, a loss of chapter 10 turns logp into
   dlogp, and llm_backward takes it from there. They differ in the few lines that stand in their step function below. */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "data/tinyworld.h"
#include "tools/run.h"
#include "tools/eval.h"

typedef struct {
    run_settings run;
    const char *method, *reward_out;
    bool all;
    int64_t answers, best_of, max_new, inner_epochs, minibatch, rounds;
    double beta, kl, clip, flip, gamma, lambda, vf, critic_lr, reward_lr, noise;
} settings;

/* Answers to compare: K to a prompt, the smaller the rank the better. */
typedef struct {
    int groups, K;
    int **id; /* [groups*K] prompt and answer, closed by the stop token if the model stopped */
    llm_sequence *s;                    /* [groups*K] */
    int *rank;                          /* [groups*K] */
    bool *polite;                       /* [groups*K] begins with "Sure!": a baseline of the reward model */
    double *ref, *count; /* [groups*K] log-probability under the reference policy, tokens of the answer */
} preferences;

typedef struct {
    settings *s;
    const llm_ops *op;
    tw_world world;
    llm_tokenizer tok;
    llm_model policy, reference, reward, critic;
    double reward_mean;                 /* of the SFT model's own answers: scores are measured from here */
    llm_records prompt_records, test_records;
    eval_prompts prompts, test;
    uint8_t *banned, *banned_device;    /* [V] what may not be said: pad, role tokens, <|reward|> */
    llm_adamw adamw, critic_adamw;
    llm_rng rng;
    FILE *log;
} trainer;

/* ---- rows ---- */

static int longest(const llm_sequence *s, int n) {
    int most = 1;
    for (int i = 0; i < n; i++) most = int_max(most, s[i].count);
    return most;
}
static llm_batch lay_rows(const trainer *t, const llm_sequence *s, int n) {
    llm_batch b = llm_batch_new(n, longest(s, n));
    llm_batch_rows(&b, s, n, int_max(t->tok.pad, 0));
    return b;
}
/* prompt + answer + the stop token, if the model said it: it is part of the answer, else no model would learn to stop.
 */
static llm_sequence make_sequence(const trainer *t, const llm_tokens *prompt, const int *answer, int length,
                                  bool stopped, int **id) {
    *id = llm_alloc((size_t)(prompt->count + length + 2), sizeof **id);
    memcpy(*id, prompt->id, (size_t)prompt->count * sizeof **id);
    memcpy(*id + prompt->count, answer, (size_t)length * sizeof **id);
    int n = prompt->count + length;
    if (stopped) (*id)[n++] = t->tok.im_end >= 0 ? t->tok.im_end : t->tok.eos;
    return (llm_sequence){*id, prompt->count, n};
}
static preferences preferences_new(int groups, int K) {
    size_t n = (size_t)groups * (size_t)K;
    return (preferences){groups,
                         K,
                         llm_alloc(n, sizeof(int *)),
                         llm_alloc(n, sizeof(llm_sequence)),
                         llm_alloc(n, sizeof(int)),
                         llm_alloc(n, sizeof(bool)),
                         llm_alloc(n, sizeof(double)),
                         llm_alloc(n, sizeof(double))};
}
static void preferences_free(preferences *p) {
    for (int i = 0; p->id && i < p->groups * p->K; i++) llm_release(p->id[i]);
    void *all[] = {p->id, p->s, p->rank, p->polite, p->ref, p->count};
    for (int i = 0; i < 6; i++) llm_release(all[i]);
    *p = (preferences){0};
}
/* Sums of log-probabilities of n answers under a model, in micro-batches. */
static void row_sums(trainer *t, llm_model *m, const llm_sequence *s, int n, double *sum, double *count) {
    enum { ROWS = 32 };
    for (int i = 0; i < n; i += ROWS) {
        llm_batch b = lay_rows(t, s + i, int_min(ROWS, n - i));
        llm_real *logp = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *logp);
        llm_forward(m, &b, logp, NULL, NULL);
        llm_row_sums(sum + i, count ? count + i : NULL, logp, &b);
        llm_release(logp);
        llm_batch_free(&b);
    }
}
/* The reward model reads its score at the <|reward|> token that closes the row. Without such a token: at the last one.
 */
static llm_batch lay_scored(const trainer *t, const llm_sequence *s, int n) {
    int T = longest(s, n) + (t->tok.reward >= 0);
    llm_batch b = llm_batch_new(n, T);
    for (int i = 0; i < n; i++) {
        int *row = b.tokens + i * T;
        memcpy(row, s[i].id, (size_t)s[i].count * sizeof *row);
        int last = s[i].count - 1;
        if (t->tok.reward >= 0) row[++last] = t->tok.reward;
        for (int j = 0; j < T; j++) b.positions[i * T + j] = j;
        b.weight[i * T + last] = 1;
    }
    return b;
}
static void scores(trainer *t, const llm_sequence *s, int n, double *score) {
    enum { ROWS = 32 };
    for (int i = 0; i < n; i += ROWS) {
        llm_batch b = lay_scored(t, s + i, int_min(ROWS, n - i));
        llm_real *value = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *value);
        llm_forward(&t->reward, &b, NULL, NULL, value);
        llm_row_sums(score + i, NULL, value, &b);
        for (int j = i; j < i + b.B; j++) score[j] -= t->reward_mean;
        llm_release(value);
        llm_batch_free(&b);
    }
}
static llm_sampler plain_sampling(uint64_t seed) {     /* what the objectives are about: the policy itself, no filter */
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 1;
    s.seed = seed;
    return s;
}
/* One optimizer step on rows: log-probabilities, the caller's gradient per row, backward. */
static void step_rows(trainer *t, llm_batch *b, const double *dsum, double lr) {
    llm_real *dlogp = llm_alloc((size_t)b->B * (size_t)b->T, sizeof *dlogp);
    llm_row_spread(dlogp, dsum, b);
    llm_backward(&t->policy, b, dlogp, NULL, NULL);
    llm_adamw_step(&t->adamw, &t->policy, lr);
    llm_release(dlogp);
}
static void shuffle(trainer *t, int *order, int n) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = llm_rng_below(&t->rng, i + 1), keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
}

/* ---- preference data ---- */

/* Sample K answers of the SFT model to every prompt and let the labeller rank them: by the true rule, sometimes upside
 * down. */
static preferences sample_preferences(trainer *t) {
    settings *s = t->s;
    int K = (int)s->answers;
    llm_sampler sampler = plain_sampling((uint64_t)s->run.seed);
    eval_answers a = eval_answer(&t->policy, &t->tok, &t->prompts, K, &sampler, (int)s->max_new, t->banned);
    preferences p = preferences_new(t->prompts.count, K);
    tw_rng labeller = tw_seed((uint64_t)s->run.seed, 77);
    for (int g = 0; g < p.groups; g++) {
        for (int k = 0; k < K; k++) {
            int i = g * K + k;
            p.s[i] = make_sequence(t, &t->prompts.prompt[g], a.id + i * a.max_new, a.length[i], a.stopped[i], &p.id[i]);
            p.polite[i] = !strncmp(a.text[i], "Sure!", 5);
        }
        tw_rank(a.reward + g * K, K, s->noise, &labeller, p.rank + g * K);
    }
    eval_answers_free(&a);
    return p;
}
/* The user's own pairs or rankings: records whose answers differ in number are cut to the smallest number. */
static preferences read_preferences(trainer *t) {
    llm_records r;
    llm_records_read(&r, t->s->run.data.item, t->s->run.data.count, NULL, false);
    llm_records_print(&r, stderr);
    int K = INT_MAX;
    for (int i = 0; i < r.count; i++) K = int_min(K, r.record[i].responses);
    if (r.count < 1 || K < 2)
        llm_die("pairs (chosen, rejected) or rankings (responses, rank)", "%s holds no answers to compare",
                t->s->run.data.item[0]);
    preferences p = preferences_new(r.count, K);
    for (int i = 0; i < p.groups * K; i++) {
        llm_tokens x = {0};
        llm_render_record(&t->tok, &r.record[i / K], i % K, t->policy.c.T - 1, &x);
        p.id[i] = llm_alloc((size_t)x.count + 2, sizeof(int));
        memcpy(p.id[i], x.id, (size_t)x.count * sizeof(int));
        p.s[i] = (llm_sequence){p.id[i], x.prompt, x.count};
        p.rank[i] = (int)r.record[i / K].response[i % K].rank;
        llm_tokens_free(&x);
    }
    llm_records_free(&r);
    return p;
}
/* Best and worst of a group; false when all are tied. */
static bool extremes(const preferences *p, int g, int *best, int *worst) {
    *best = *worst = g * p->K;
    for (int i = g * p->K; i < (g + 1) * p->K; i++) {
        if (p->rank[i] < p->rank[*best]) *best = i;
        if (p->rank[i] > p->rank[*worst]) *worst = i;
    }
    return p->rank[*best] < p->rank[*worst];
}

/* ---- the reward model ---- */

/* Share of held-out pairs that a score puts in the labeller's order. */
static double pair_accuracy(const preferences *p, int from, const double *score) {
    double right = 0, pairs = 0;
    for (int g = from; g < p->groups; g++)
        for (int i = g * p->K; i < (g + 1) * p->K; i++)
            for (int j = g * p->K; j < (g + 1) * p->K; j++) {
                if (p->rank[i] >= p->rank[j]) continue;
                pairs++;
                right += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
    return pairs > 0 ? right / pairs : NAN;
}
static void report_reward(trainer *t, const preferences *p, int train) {
    int n = p->groups * p->K;
    double *score = llm_alloc((size_t)n, sizeof *score), *length = llm_alloc((size_t)n, sizeof *length);
    double *polite = llm_alloc((size_t)n, sizeof *polite), mean = 0, square = 0;
    t->reward_mean = 0;
    scores(t, p->s, n, score);
    for (int i = 0; i < n; i++) {
        length[i] = -(p->s[i].count - p->s[i].prompt);
        polite[i] = p->polite[i];
        mean += score[i] / n;
    }
    for (int i = 0; i < n; i++) square += (score[i] - mean) * (score[i] - mean) / n;
    printf("reward model: held-out pair accuracy %.3f (ceiling %.2f with the labeller's noise; shorter-is-better %.3f, "
           "politer-is-better %.3f)\n",
           pair_accuracy(p, train, score), 1 - t->s->noise, pair_accuracy(p, train, length),
           pair_accuracy(p, train, polite));
    /* Normalise: over the SFT model's own answers mean 0, deviation 1, so that a KL coefficient means the same in every
     * run. */
    llm_real *u = llm_alloc((size_t)t->reward.c.C, sizeof *u);
    size_t bytes = (size_t)t->reward.c.C * sizeof *u;
    t->op->download(u, t->reward.score->data, bytes);
    for (int i = 0; i < t->reward.c.C; i++) u[i] = (llm_real)((double)u[i] / sqrt(square));
    t->op->upload(t->reward.score->data, u, bytes);
    model_weights_changed(&t->reward);
    t->reward_mean = mean / sqrt(square);
    llm_release(u);
    llm_release(score);
    llm_release(length);
    llm_release(polite);
}
/* One epoch over the rankings: all pairs of a prompt in one step, ties left out. */
static void train_reward(trainer *t, const preferences *p) {
    enum { PROMPTS = 16 };
    llm_model_copy(&t->reward, &t->policy, true);
    llm_model_add_score(&t->reward, (uint64_t)t->s->run.seed);
    llm_model_train(&t->reward);
    llm_adamw o = llm_adamw_defaults();
    int train = p->groups * 17 / 20, steps = train / PROMPTS, *order = llm_alloc((size_t)train, sizeof *order);
    shuffle(t, order, train);
    for (int step = 0; step < steps; step++) {
        llm_sequence rows[PROMPTS * 16];
        int rank[PROMPTS * 16], K = int_min(p->K, 16);
        double r[PROMPTS * 16], dr[PROMPTS * 16], loss = 0;
        llm_pair_stats stats = {0};
        for (int i = 0; i < PROMPTS * K; i++) {
            int from = order[step * PROMPTS + i / K] * p->K + i % K;
            rows[i] = p->s[from];
            rank[i] = p->rank[from];
        }
        llm_batch b = lay_scored(t, rows, PROMPTS * K);
        llm_real *value = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *value);
        llm_forward(&t->reward, &b, NULL, NULL, value);
        llm_row_sums(r, NULL, value, &b);
        for (int i = 0; i < PROMPTS; i++)
            loss += llm_loss_kwise(dr + i * K, r + i * K, rank + i * K, K, PROMPTS, &stats);
        llm_row_spread(value, dr, &b);
        llm_backward(&t->reward, &b, NULL, NULL, value);
        double lr = t->s->reward_lr * (1 - (double)step / steps);
        llm_adamw_step(&o, &t->reward, lr);
        if (step % 10 == 0 || step == steps - 1)
            fprintf(stderr, "reward %d/%d | loss %.3f | pair accuracy %.2f | margin %.2f\n", step + 1, steps, loss,
                    stats.right / stats.pairs, stats.margin / stats.pairs);
        llm_release(value);
        llm_batch_free(&b);
    }
    llm_release(order);
    llm_adamw_free(&o, &t->reward);
    report_reward(t, p, train);
}

/* ---- methods without a reward model: DPO and relatives, KTO, RRHF ---- */

static double fall(const trainer *t, int step, int steps) {
    double lr = t->s->run.lr > 0 ? t->s->run.lr : 2e-4;
    return lr * int_min(step + 1, 10) / 10 * (1 - 0.9 * step / steps);
}
static void method_dpo(trainer *t, preferences *p, llm_dpo_kind kind) {
    enum { PAIRS = 16 };
    llm_dpo o = {.kind = kind, .beta = t->s->beta, .flip = t->s->noise};
    int *pair = llm_alloc((size_t)p->groups * 2, sizeof *pair), pairs = 0;
    for (int g = 0; g < p->groups; g++) pairs += extremes(p, g, &pair[2 * pairs], &pair[2 * pairs + 1]);
    int *order = llm_alloc((size_t)pairs, sizeof *order), per_epoch = pairs / PAIRS;
    int steps = t->s->run.steps ? (int)t->s->run.steps : 2 * per_epoch;
    for (int step = 0; step < steps; step++) {
        if (step % per_epoch == 0) shuffle(t, order, pairs);
        llm_sequence rows[2 * PAIRS];
        double ref[2 * PAIRS], sum[2 * PAIRS], count[2 * PAIRS], dsum[2 * PAIRS];
        for (int i = 0; i < 2 * PAIRS; i++) {
            int from = pair[2 * order[step % per_epoch * PAIRS + i / 2] + i % 2];
            rows[i] = p->s[from];
            ref[i] = p->ref[from];
        }
        llm_batch b = lay_rows(t, rows, 2 * PAIRS);
        llm_real *logp = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *logp);
        llm_pair_stats stats = {0};
        llm_forward(&t->policy, &b, logp, NULL, NULL);
        llm_row_sums(sum, count, logp, &b);
        double loss = llm_loss_dpo(dsum, sum, ref, count, PAIRS, o, PAIRS, &stats);
        step_rows(t, &b, dsum, fall(t, step, steps));
        if (step % 10 == 0 || step == steps - 1)
            fprintf(stderr, "%s %d/%d | loss %.4f | accuracy %.2f | margin %.3f | chosen %.2f | rejected %.2f\n",
                    t->s->method, step + 1, steps, loss, stats.right / PAIRS, stats.margin / PAIRS,
                    stats.chosen / PAIRS, stats.rejected / PAIRS);
        llm_release(logp);
        llm_batch_free(&b);
    }
    llm_release(pair);
    llm_release(order);
}
/* KTO needs no pairs: the best answer of a group counts as good, the worst as bad. z0, the KL estimate, comes from
   answers to the next prompt of the list; that pairing is fixed, so their reference log-probabilities too are computed
   once. */
static void method_kto(trainer *t, preferences *p) {
    enum { ROWS = 32 };
    int n = 0, *row = llm_alloc((size_t)p->groups * 2, sizeof *row);
    for (int g = 0; g < p->groups; g++) n += 2 * extremes(p, g, &row[n], &row[n + 1]);
    llm_sequence *wrong = llm_alloc((size_t)n, sizeof *wrong);
    int **wrong_id = llm_alloc((size_t)n, sizeof *wrong_id), *order = llm_alloc((size_t)n, sizeof *order);
    double *wrong_ref = llm_alloc((size_t)n, sizeof *wrong_ref), weight_good, weight_bad;
    for (int i = 0; i < n; i++) {
        const llm_sequence *x = &p->s[row[i]], *y = &p->s[row[(i + 2) % n]];
        llm_tokens prompt = {.id = p->id[row[i]], .count = x->prompt};
        int room = t->policy.c.T - 1 - x->prompt;
        wrong[i] =
            make_sequence(t, &prompt, y->id + y->prompt, int_min(y->count - y->prompt, room), false, &wrong_id[i]);
    }
    row_sums(t, &t->policy, wrong, n, wrong_ref, NULL);
    llm_kto_balance(&weight_good, &weight_bad, n / 2.0, n / 2.0);
    int per_epoch = n / ROWS, steps = t->s->run.steps ? (int)t->s->run.steps : 2 * per_epoch;
    for (int step = 0; step < steps; step++) {
        if (step % per_epoch == 0) shuffle(t, order, n);
        llm_sequence rows[ROWS], off[ROWS];
        double ref[ROWS], sum[ROWS], dsum[ROWS], off_sum[ROWS], off_ref[ROWS];
        bool good[ROWS];
        for (int i = 0; i < ROWS; i++) {
            int from = order[step % per_epoch * ROWS + i];
            rows[i] = p->s[row[from]];
            ref[i] = p->ref[row[from]];
            good[i] = from % 2 == 0;
            off[i] = wrong[from];
            off_ref[i] = wrong_ref[from];
        }
        row_sums(t, &t->policy, off, ROWS, off_sum, NULL);
        double z0 = llm_kto_z0(off_sum, off_ref, ROWS);
        llm_batch b = lay_rows(t, rows, ROWS);
        llm_real *logp = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *logp);
        llm_forward(&t->policy, &b, logp, NULL, NULL);
        llm_row_sums(sum, NULL, logp, &b);
        double loss = llm_loss_kto(dsum, sum, ref, good, ROWS, z0, t->s->beta, weight_good, weight_bad, ROWS);
        step_rows(t, &b, dsum, fall(t, step, steps));
        if (step % 10 == 0 || step == steps - 1)
            fprintf(stderr, "kto %d/%d | loss %.4f | z0 %.3f\n", step + 1, steps, loss, z0);
        llm_release(logp);
        llm_batch_free(&b);
    }
    for (int i = 0; i < n; i++) llm_release(wrong_id[i]);
    void *all[] = {wrong, wrong_id, order, wrong_ref, row};
    for (int i = 0; i < 5; i++) llm_release(all[i]);
}
static void method_rrhf(trainer *t, preferences *p) {
    enum { PROMPTS = 8 };
    int K = int_min(p->K, 16), *order = llm_alloc((size_t)p->groups, sizeof *order), per_epoch = p->groups / PROMPTS;
    int steps = t->s->run.steps ? (int)t->s->run.steps : 2 * per_epoch;
    for (int step = 0; step < steps; step++) {
        if (step % per_epoch == 0) shuffle(t, order, p->groups);
        llm_sequence rows[PROMPTS * 16];
        double reward[PROMPTS * 16], sum[PROMPTS * 16], count[PROMPTS * 16], dsum[PROMPTS * 16], loss = 0;
        for (int i = 0; i < PROMPTS * K; i++) {
            int from = order[step % per_epoch * PROMPTS + i / K] * p->K + i % K;
            rows[i] = p->s[from];
            reward[i] = -p->rank[from];
        }
        llm_batch b = lay_rows(t, rows, PROMPTS * K);
        llm_real *logp = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *logp);
        llm_forward(&t->policy, &b, logp, NULL, NULL);
        llm_row_sums(sum, count, logp, &b);
        for (int i = 0; i < PROMPTS; i++)
            loss += llm_loss_rrhf(dsum + i * K, sum + i * K, count + i * K, reward + i * K, K, 1, PROMPTS);
        step_rows(t, &b, dsum, fall(t, step, steps));
        if (step % 10 == 0 || step == steps - 1) fprintf(stderr, "rrhf %d/%d | loss %.4f\n", step + 1, steps, loss);
        llm_release(logp);
        llm_batch_free(&b);
    }
    llm_release(order);
}

/* ---- methods with one: rejection sampling, PPO, GRPO ---- */

/* Fine-tune on chosen answers, as stage 2 does. */
static void learn_answers(trainer *t, const llm_sequence *s, int n, int epochs) {
    enum { ROWS = 16 };
    int *order = llm_alloc((size_t)n, sizeof *order), per_epoch = n / ROWS, steps = epochs * per_epoch;
    for (int step = 0; step < steps; step++) {
        if (step % per_epoch == 0) shuffle(t, order, n);
        llm_sequence rows[ROWS];
        for (int i = 0; i < ROWS; i++) rows[i] = s[order[step % per_epoch * ROWS + i]];
        llm_batch b = lay_rows(t, rows, ROWS);
        llm_real *dlogp = llm_alloc((size_t)b.B * (size_t)b.T, sizeof *dlogp);
        llm_loss_ce_weights(dlogp, &b, llm_batch_targets(&b));
        llm_forward_backward(&t->policy, &b, dlogp, NULL);
        llm_adamw_step(&t->adamw, &t->policy, fall(t, step, steps));
        llm_release(dlogp);
        llm_batch_free(&b);
    }
    llm_release(order);
}
/* Llama-2's rejection sampling: the best of N own answers by the reward model becomes a demonstration. `random`: the
   control, any own answer; what it gains is no merit of the reward. */
static void method_rejection(trainer *t, bool random) {
    int N = (int)t->s->best_of, groups = t->prompts.count;
    for (int round = 0; round < t->s->rounds; round++) {
        llm_sampler sampler = plain_sampling((uint64_t)(t->s->run.seed + 100 + round));
        eval_answers a = eval_answer(&t->policy, &t->tok, &t->prompts, N, &sampler, (int)t->s->max_new, t->banned);
        preferences p = preferences_new(groups, N);
        llm_sequence *best = llm_alloc((size_t)groups, sizeof *best);
        double *score = llm_alloc((size_t)(groups * N), sizeof *score);
        for (int i = 0; i < groups * N; i++)
            p.s[i] =
                make_sequence(t, &t->prompts.prompt[i / N], a.id + i * a.max_new, a.length[i], a.stopped[i], &p.id[i]);
        scores(t, p.s, groups * N, score);
        for (int g = 0; g < groups; g++)
            best[g] = p.s[g * N + (random ? llm_rng_below(&t->rng, N) : llm_best_of(score + g * N, N))];
        learn_answers(t, best, groups, 1);
        fprintf(stderr, "rejection round %d: %d answers, the best of %d each\n", round + 1, groups, N);
        preferences_free(&p);
        eval_answers_free(&a);
        llm_release(best);
        llm_release(score);
    }
}
/* What a rollout leaves behind: one answer a row. */
typedef struct {
    preferences p; llm_batch b; double *score;
    llm_real *old, *ref, *value, *reward, *advantage, *ret;
    double kl, stopped, length;
} rollout;

static void reference_logp(trainer *t, const llm_batch *b, llm_real *logp) {
    llm_forward(&t->reference, b, logp, NULL, NULL);
}
/* Answers of the policy to random prompts, each prompt `each` times. verify: scored by the world's rule for correct
   answers (GRPO on sums and programs), else by the reward model. */
static rollout roll_out(trainer *t, int prompts, int each, bool verify, uint64_t seed) {
    int n = prompts * each;
    eval_prompts some = {.count = prompts, .prompt = llm_alloc((size_t)prompts, sizeof *some.prompt),
                         .task = llm_alloc((size_t)prompts, sizeof *some.task)};
    for (int i = 0; i < prompts; i++) {
        int from;
        do from = llm_rng_below(&t->rng, t->prompts.count);
        while (verify && t->prompts.task[from].kind != TW_K_MATH && t->prompts.task[from].kind != TW_K_CODE);
        some.prompt[i] = t->prompts.prompt[from];
        some.task[i] = t->prompts.task[from];
    }
    llm_sampler sampler = plain_sampling(seed);
    eval_answers a = eval_answer(&t->policy, &t->tok, &some, each, &sampler, (int)t->s->max_new, t->banned);
    rollout r = {.p = preferences_new(n, 1), .score = llm_alloc((size_t)n, sizeof(double))};
    for (int i = 0; i < n; i++) {
        r.p.s[i] =
            make_sequence(t, &some.prompt[i / each], a.id + i * a.max_new, a.length[i], a.stopped[i], &r.p.id[i]);
        r.stopped += (double)a.stopped[i] / n;
        r.length += (double)a.length[i] / n;
    }
    if (verify) for (int i = 0; i < n; i++) r.score[i] = a.correct[i];
    else scores(t, r.p.s, n, r.score);
    for (int i = 0; i < n; i++) if (!a.stopped[i]) r.score[i] -= 1;    /* an answer without an end */
    r.b = lay_rows(t, r.p.s, n);
    llm_real **array[] = {&r.old, &r.ref, &r.value, &r.reward, &r.advantage, &r.ret};
    for (int i = 0; i < 6; i++) *array[i] = llm_alloc((size_t)r.b.B * (size_t)r.b.T, sizeof(llm_real));
    llm_forward(&t->policy, &r.b, r.old, NULL, NULL);
    reference_logp(t, &r.b, r.ref);
    eval_answers_free(&a);
    llm_release(some.prompt);
    llm_release(some.task);
    return r;
}
static void rollout_free(rollout *r) {
    llm_real *array[] = {r->old, r->ref, r->value, r->reward, r->advantage, r->ret};
    for (int i = 0; i < 6; i++) llm_release(array[i]);
    llm_release(r->score);
    preferences_free(&r->p);
    llm_batch_free(&r->b);
}
static llm_batch some_rows(const llm_batch *b, int from, int n) {
    int o = from * b->T;
    return (llm_batch){n, b->T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
}
/* The ratio before the first update is exactly 1, or old and new log-probabilities are not the same thing: one check
   against temperature, off-by-one and cache mistakes. */
static void check_ratio(const llm_policy_stats *first) {
    if (!(first->largest < 1e-5))
        llm_die("report this as a bug", "log-probabilities differ by %g before the first update", first->largest);
}
static void ppo_update(trainer *t, rollout *r, double lr, bool first_ever, llm_policy_stats *stats,
                       double *value_loss) {
    settings *s = t->s;
    int rows = int_min((int)s->minibatch, r->b.B), T = r->b.T;
    llm_real *logp = llm_alloc((size_t)(rows * T), sizeof *logp), *dlogp = llm_alloc((size_t)(rows * T), sizeof *dlogp);
    for (int epoch = 0; epoch < s->inner_epochs; epoch++)
        for (int i = 0; i + rows <= r->b.B; i += rows) {
            llm_batch b = some_rows(&r->b, i, rows);
            double M = llm_batch_targets(&b);
            llm_policy_stats now = {0};
            llm_forward(&t->policy, &b, logp, NULL, NULL);
            llm_loss_ppo(dlogp, logp, r->old + i * T, r->advantage + i * T, &b, M, s->clip, &now);
            if (first_ever && epoch == 0 && i == 0) check_ratio(&now);
            stats->tokens += now.tokens;
            stats->clipped += now.clipped;
            stats->kl += now.kl;
            llm_backward(&t->policy, &b, dlogp, NULL, NULL);
            llm_adamw_step(&t->adamw, &t->policy, lr);
            llm_forward(&t->critic, &b, NULL, NULL, logp);
            *value_loss = llm_loss_value(dlogp, logp, r->value + i * T, r->ret + i * T, &b, M, 1, s->clip);
            llm_backward(&t->critic, &b, NULL, NULL, dlogp);
            llm_adamw_step(&t->critic_adamw, &t->critic, lr / fall(t, 0, 1) * s->critic_lr * 0.1);
        }
    llm_release(logp);
    llm_release(dlogp);
}
/* PPO as in the lecture's picture: only completion tokens are trained, the reward comes on the last one, KL is paid on
 * each. */
static void method_ppo(trainer *t) {
    settings *s = t->s;
    int steps = s->run.steps ? (int)s->run.steps : 30;
    llm_model_copy(&t->critic, &t->reward, false);
    t->critic_adamw = llm_adamw_defaults();
    for (int step = 0; step < steps && !run_stopping; step++) {
        rollout r = roll_out(t, (int)s->run.batch, 1, false, (uint64_t)(s->run.seed + 1000 + step));
        llm_policy_stats stats = {0};
        double value_loss = 0, mean = eval_mean(r.score, r.b.B).mean;
        llm_forward(&t->critic, &r.b, NULL, NULL, r.value);
        r.kl = llm_ppo_rewards(r.reward, r.old, r.ref, r.score, &r.b, s->kl);
        llm_gae(r.advantage, r.ret, r.reward, r.value, &r.b, s->gamma, s->lambda);
        llm_whiten(r.advantage, &r.b, true);
        ppo_update(t, &r, fall(t, step, steps), step == 0, &stats, &value_loss);
        fprintf(stderr,
                "ppo %d/%d | reward %.3f | kl %.3f | clipped %.3f | value loss %.3f | stops %.2f | length %.1f\n",
                step + 1, steps, mean, r.kl, stats.clipped / stats.tokens, value_loss, r.stopped, r.length);
        fprintf(t->log, "ppo,%d,%.9g,%.9g,%.9g\n", step + 1, mean, r.kl, value_loss);
        rollout_free(&r);
    }
    llm_adamw_free(&t->critic_adamw, &t->critic);
    llm_model_free(&t->critic);
}
static void method_grpo(trainer *t) {
    enum { PROMPTS = 16, GROUP = 8 };
    int steps = t->s->run.steps ? (int)t->s->run.steps : 20;
    for (int step = 0; step < steps; step++) {
        rollout r = roll_out(t, PROMPTS, GROUP, true, (uint64_t)(t->s->run.seed + 5000 + step));
        double advantage[PROMPTS * GROUP], mean = eval_mean(r.score, r.b.B).mean;
        int flat = llm_group_advantages(advantage, r.score, PROMPTS * GROUP, GROUP, LLM_GROUP_NORM);
        llm_grpo o = llm_grpo_defaults();
        o.beta = t->s->kl;
        o.rows = r.b.B;
        o.tokens = llm_batch_targets(&r.b);
        o.longest = (double)t->s->max_new;
        llm_policy_stats stats = {0};
        llm_real *logp = llm_alloc((size_t)r.b.B * (size_t)r.b.T, sizeof *logp),
                 *dlogp = llm_alloc((size_t)r.b.B * (size_t)r.b.T, sizeof *dlogp);
        llm_forward(&t->policy, &r.b, logp, NULL, NULL);
        llm_loss_grpo(dlogp, logp, r.old, r.ref, advantage, &r.b, &o, &stats);
        if (step == 0) check_ratio(&stats);
        llm_backward(&t->policy, &r.b, dlogp, NULL, NULL);
        double norm = llm_adamw_step(&t->adamw, &t->policy, fall(t, step, steps));
        fprintf(stderr, "grpo %d/%d | reward %.3f | groups without signal %d/%d | gnorm %.3f | length %.1f\n", step + 1,
                steps, mean, flat, PROMPTS, norm, r.length);
        fprintf(t->log, "grpo,%d,%.9g,,\n", step + 1, mean);
        llm_release(logp);
        llm_release(dlogp);
        rollout_free(&r);
    }
}

/* ---- evaluation ---- */

/* One line of the table: true reward, win-rate against SFT on the same prompts, what the reward model thinks, distance,
 * manners. */
static void report_method(trainer *t, const char *name, const eval_answers *a, const eval_answers *sft) {
    int n = a->count;
    llm_sequence *s = llm_alloc((size_t)n, sizeof *s);
    int **id = llm_alloc((size_t)n, sizeof *id);
    double *score = llm_alloc((size_t)n, sizeof *score), *now = llm_alloc((size_t)n, sizeof *now),
           *ref = llm_alloc((size_t)n, sizeof *ref);
    for (int i = 0; i < n; i++)
        s[i] = make_sequence(t, &t->test.prompt[i], a->id + i * a->max_new, a->length[i], a->stopped[i], &id[i]);
    if (t->reward.ops) scores(t, s, n, score);
    row_sums(t, &t->policy, s, n, now, NULL);
    row_sums(t, &t->reference, s, n, ref, NULL);
    for (int i = 0; i < n; i++) now[i] -= ref[i];
    eval_interval win = eval_win_rate(a, sft);
    printf("%-12s %6.3f  %5.3f [%5.3f %5.3f]  %6.3f  %6.2f  %5.1f  %5.3f  %5.3f  %5.3f\n", name,
           eval_mean(a->reward, n).mean, win.mean, win.low, win.high, eval_mean(score, n).mean, eval_mean(now, n).mean,
           eval_mean_length(a), eval_flags(a->stopped, n).mean, eval_correct(&t->test, a, -1).mean,
           eval_correct(&t->test, a, TW_K_FACT).mean);
    fflush(stdout);
    for (int i = 0; i < n; i++) llm_release(id[i]);
    void *all[] = {s, id, score, now, ref};
    for (int i = 0; i < 5; i++) llm_release(all[i]);
}
/* Best-of-n decoding: no training at all, the reward model chooses among n answers. The upper line. */
static eval_answers best_of_n(trainer *t, const llm_sampler *sampler) {
    int N = (int)t->s->best_of;
    eval_answers all = eval_answer(&t->policy, &t->tok, &t->test, N, sampler, (int)t->s->max_new, t->banned), a = all;
    double *score = llm_alloc((size_t)N, sizeof *score);
    a.count = all.count / N;
    for (int g = 0; g < a.count; g++) {
        llm_sequence s[64];
        int *id[64];
        for (int k = 0; k < N; k++) {
            int i = g * N + k;
            s[k] =
                make_sequence(t, &t->test.prompt[g], all.id + i * all.max_new, all.length[i], all.stopped[i], &id[k]);
        }
        scores(t, s, N, score);
        int from = g * N + llm_best_of(score, N);
        memmove(a.id + g * a.max_new, all.id + from * all.max_new, (size_t)a.max_new * sizeof *a.id);
        char *text = a.text[g];
        a.text[g] = all.text[from];
        a.text[from] = text;
        a.length[g] = all.length[from];
        a.stopped[g] = all.stopped[from];
        a.reward[g] = all.reward[from];
        a.correct[g] = all.correct[from];
        a.format[g] = all.format[from];
        for (int k = 0; k < N; k++) llm_release(id[k]);
    }
    for (int i = a.count; i < all.count; i++) llm_release(a.text[i]);
    llm_release(score);
    return a;
}

/* ---- the program ---- */

static void run_method(trainer *t, const char *method, preferences *p) {
    t->s->method = method;
    t->adamw = llm_adamw_defaults();    /* moments of another stage point elsewhere: always new */
    t->rng = llm_rng_seed((uint64_t)t->s->run.seed, 3);
    if (!strcmp(method, "ppo")) method_ppo(t);
    if (!strcmp(method, "grpo")) method_grpo(t);
    if (!strcmp(method, "dpo")) method_dpo(t, p, LLM_DPO);
    if (!strcmp(method, "cdpo")) method_dpo(t, p, LLM_CDPO);
    if (!strcmp(method, "ipo")) method_dpo(t, p, LLM_IPO);
    if (!strcmp(method, "kto")) method_kto(t, p);
    if (!strcmp(method, "rrhf")) method_rrhf(t, p);
    if (!strcmp(method, "rejection")) method_rejection(t, false);
    if (!strcmp(method, "random")) method_rejection(t, true);
    llm_adamw_free(&t->adamw, &t->policy);
}
static void align_and_report(trainer *t, const char *method, preferences *p, const eval_answers *sft) {
    llm_sampler sampler = plain_sampling(4242);
    double began = llm_now();
    if (t->policy.ops) llm_model_free(&t->policy);
    llm_model_copy(&t->policy, &t->reference, false);
    t->policy.head_options.banned = t->banned_device;
    run_method(t, method, p);
    eval_answers a = !strcmp(method, "best-of-n") ? best_of_n(t, &sampler)
                   : eval_answer(&t->policy, &t->tok, &t->test, 1, &sampler, (int)t->s->max_new, t->banned);
    report_method(t, method, &a, sft);
    fprintf(stderr, "%s took %.1f s\n", method, llm_now() - began);
    eval_answers_free(&a);
}
static void forbid(trainer *t) {
    const int id[] = {t->tok.pad, t->tok.im_start, t->tok.reward, t->tok.bos};
    t->banned = llm_alloc((size_t)t->policy.c.V, 1);
    for (int i = 0; i < 4; i++)
        if (id[i] >= 0 && id[i] != t->tok.im_end && id[i] != t->tok.eos) t->banned[id[i]] = 1;
    t->banned_device = t->op->alloc((size_t)t->policy.c.V);
    t->op->upload(t->banned_device, t->banned, (size_t)t->policy.c.V);
    t->policy.head_options.banned = t->reference.head_options.banned = t->banned_device;
}
static void open_prompts(trainer *t) {
    static const char *train[] = {"out/world/prompts.jsonl"}, *test[] = {"out/world/sft_test.jsonl"};
    if (tw_world_open(&t->world, "out/world"))
        llm_die("./train_gpt and ./train_sft first", "there is no tiny world in out/world");
    llm_records_read(&t->prompt_records, train, 1, NULL, false);
    llm_records_read(&t->test_records, test, 1, NULL, false);
    int limit = t->policy.c.T - (int)t->s->max_new;
    t->prompts = eval_prompts_from(&t->prompt_records, &t->tok, &t->world, 1 << 20, limit);
    t->test = eval_prompts_from(&t->test_records, &t->tok, &t->world, 800, limit);
}
static void close_all(trainer *t) {
    eval_prompts_free(&t->prompts);
    eval_prompts_free(&t->test);
    llm_records_free(&t->prompt_records);
    llm_records_free(&t->test_records);
    llm_model *all[] = {&t->policy, &t->reference, &t->reward};
    for (int i = 0; i < 3; i++) llm_model_free(all[i]);
    t->op->release(t->banned_device);
    llm_release(t->banned);
    llm_tokenizer_free(&t->tok);
}

int main(int argc, char **argv) {
    run_patience(argv);
    static settings s = {.method = "ppo",
                         .reward_out = "out/reward",
                         .answers = 4,
                         .best_of = 8,
                         .max_new = 48,
                         .inner_epochs = 2,
                         .minibatch = 32,
                         .rounds = 2,
                         .beta = 0.1,
                         .kl = 0.05,
                         .clip = 0.2,
                         .gamma = 1,
                         .lambda = 0.95,
                         .critic_lr = 5e-4,
                         .reward_lr = 3e-4,
                         .noise = 0.1};
    s.run = run_defaults();
    s.run.model = "out/sft";
    s.run.out = "out/rlhf";
    s.run.batch = 64;
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        {"alignment", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"method", LLM_TEXT, &s.method, 0, 0, "how to align",
         "ppo|grpo|dpo|cdpo|ipo|kto|rrhf|rejection|random|best-of-n", NULL},
        {"all", LLM_BOOL, &s.all, 0, 0, "run every method, print one table", NULL, NULL},
        {"reward-out", LLM_TEXT, &s.reward_out, 0, 0, "folder of the reward model", NULL, NULL},
        {"answers", LLM_INT, &s.answers, 2, 16, "answers sampled to each prompt (K)", NULL, NULL},
        {"best-of", LLM_INT, &s.best_of, 1, 64, "answers of rejection sampling and best-of-n (N)", NULL, NULL},
        {"max-new", LLM_INT, &s.max_new, 1, 4096, "longest answer, tokens", NULL, NULL},
        {"noise", LLM_FLOAT, &s.noise, 0, 0.5, "share of rankings that the labeller turns upside down", NULL, NULL},
        {"reward-lr", LLM_FLOAT, &s.reward_lr, 0, 1, "learning rate of the reward model", NULL, NULL},
        {"beta", LLM_FLOAT, &s.beta, 0, 100, "DPO, IPO, KTO: how strongly to stay with the reference", NULL, NULL},
        {"kl", LLM_FLOAT, &s.kl, 0, 100, "PPO, GRPO: price of a nat of distance from the reference", NULL, NULL},
        {"clip", LLM_FLOAT, &s.clip, 0.001, 10, "PPO: the ratio stays within 1 +- this", NULL, NULL},
        {"inner-epochs", LLM_INT, &s.inner_epochs, 1, 100, "PPO: passes over a rollout", NULL, NULL},
        {"minibatch", LLM_INT, &s.minibatch, 1, 65536, "PPO: rows of an optimizer step", NULL, NULL},
        {"gamma", LLM_FLOAT, &s.gamma, 0, 1, "PPO: discount", NULL, NULL},
        {"lambda", LLM_FLOAT, &s.lambda, 0, 1, "PPO: of GAE", NULL, NULL},
        {"critic-lr", LLM_FLOAT, &s.critic_lr, 0, 1, "PPO: learning rate of the critic", NULL, NULL},
        {"rounds", LLM_INT, &s.rounds, 1, 100, "rejection sampling: rounds", NULL, NULL},
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "alignment: reward model, then one method", argc, argv);
    trainer t = {.s = &s, .op = run_device(&s.run)};
    llm_release(run_open_out(&s.run));
    llm_tokenizer_load(&t.tok, s.run.model);
    llm_model_load(&t.policy, s.run.model, t.op);
    llm_model_copy(&t.reference, &t.policy, true);
    open_prompts(&t);
    forbid(&t);
    t.rng = llm_rng_seed((uint64_t)s.run.seed, 2);
    t.log = run_open_log(&s.run, "method,step,reward,kl,value_loss", 0);
    llm_options_print(options, count, stderr);
    preferences p = s.run.data.count ? read_preferences(&t) : sample_preferences(&t);
    row_sums(&t, &t.reference, p.s, p.groups * p.K, p.ref, p.count);
    train_reward(&t, &p);
    llm_result_save(s.reward_out, &t.reward, &t.tok);
    llm_sampler sampler = plain_sampling(4242);
    eval_answers sft = eval_answer(&t.policy, &t.tok, &t.test, 1, &sampler, (int)s.max_new, t.banned);
    printf("%-12s %6s  %-19s  %6s  %6s  %5s  %5s  %5s  %5s\n", "", "true R", "win-rate vs SFT", "RM", "KL", "len",
           "stop", "exact", "fact");
    report_method(&t, "sft", &sft, &sft);
    static const char *every[] = {"best-of-n", "rejection", "random", "dpo",  "cdpo",
                                  "ipo",       "kto",       "rrhf",   "grpo", "ppo"};
    if (s.all) for (int i = 0; i < 10; i++) align_and_report(&t, every[i], &p, &sft);
    else align_and_report(&t, s.method, &p, &sft);
    llm_result_save(s.run.out, &t.policy, &t.tok);
    printf("saved %s and %s\n", s.reward_out, s.run.out);
    fclose(t.log);
    eval_answers_free(&sft);
    preferences_free(&p);
    close_all(&t);
    return 0;
}
