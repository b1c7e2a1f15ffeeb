/* The losses of chapter 9 and the gradient checker of chapter 11. In double: every derivative against finite
   differences (1e-7), in every branch. In both builds: values worked out by hand or by other formulas, bandits whose
   optimum is known, and the classic mistakes. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/arena.h"
#include "../tools/scores.h"
#include "check.h"
#include "grad_check.h"

#define IS_DOUBLE (sizeof(llm_real) == 8)
#define ROUNDING (IS_DOUBLE ? 1e-12 : 3e-6)     /* of numbers that pass through llm_real */
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void near_to(const char *what, double got, double want, double tolerance) {
    CHECK(fabs(got - want) <= tolerance, "%s: got %.12g, want %.12g", what, got, want);
}
static double softplus(double x) { return log(1 + exp(x)); }            /* -log s(-x), the plain way */
static double logistic(double x) { return 1 / (1 + exp(-x)); }
static void softmax(double *p, const double *z, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += p[i] = exp(z[i]);
    for (int i = 0; i < n; i++) p[i] /= sum;
}

/* ---- the instrument first ---- */

/* f(x) = sum of sin(x_i) x_(i+1), all of it curved */
typedef struct { llm_real *x; size_t n; int calls; bool broken; } wave;
static double wave_loss(void *user) {
    wave *w = user;
    double f = 0;
    w->calls++;
    for (size_t i = 0; i < w->n; i++) f += sin((double)w->x[i]) * (double)w->x[(i + 1) % w->n];
    return w->broken ? NAN : f;
}
static void test_checker(void) {
    enum { N = 40 };
    llm_real x[N], before[N], g[N], bad[N], nothing[N] = {0};
    llm_rng r = llm_rng_seed(1, 0);
    wave w = {x, N, 0, false};
    const double exact = IS_DOUBLE ? 1e-9 : 3e-3;
    for (int i = 0; i < N; i++) before[i] = x[i] = (llm_real)llm_rng_normal(&r);
    for (int i = 0; i < N; i++)
        g[i] = (llm_real)(cos((double)x[i]) * (double)x[(i + 1) % N] + sin((double)x[(i + N - 1) % N]));
    CHECK_SMALL(llm_grad_check(wave_loss, &w, x, g, N, 20, &r), exact, "a right gradient passes");
    CHECK_SMALL(llm_grad_check(wave_loss, &w, x, g, N, N, &r), exact, "all elements");
    CHECK(!memcmp(x, before, sizeof x), "x comes back bit for bit");
    double largest = 0;
    for (int i = 0; i < N; i++)
        if (fabs((double)g[i]) > largest) largest = fabs((double)g[i]);
    memcpy(bad, g, sizeof g);
    bad[17] += (llm_real)(0.01 * largest);      /* one of forty, wrong by 1% of the largest: the direction finds it */
    near_to("the direction alone sees one wrong element", llm_grad_check(wave_loss, &w, x, bad, N, 0, &r), .01, exact);
    if (IS_DOUBLE) {
        memcpy(bad, g, sizeof g);
        bad[3] += (llm_real)(1e-6 * largest);
        CHECK(llm_grad_check(wave_loss, &w, x, bad, N, 0, &r) > 5e-7, "an error of 1e-6 is seen");
    }
    /* Two wrong elements that cancel along the direction (for one of two signs): only a look at each one finds them. */
    double blind = INFINITY;
    for (int sign = -1; sign <= 1; sign += 2) {
        llm_rng same = llm_rng_seed(9, 0);
        memcpy(bad, g, sizeof g);
        bad[7] += (llm_real)(0.01 * largest);
        bad[N - 1] += (llm_real)(sign * 0.01 * largest);
        blind = fmin(blind, llm_grad_check(wave_loss, &w, x, bad, N, 0, &same));
        double each = llm_grad_check(wave_loss, &w, x, bad, N, N, &r);
        CHECK(each > .009 && each < .021, "two wrong elements: %g", each);
    }
    CHECK_SMALL(blind, exact, "the direction may be blind to two errors");
    w.calls = 0;
    llm_grad_check(wave_loss, &w, x, g, N, 7, &r);
    CHECK(w.calls >= 4 * 8, "seven elements and a direction: %d losses", w.calls);
    for (int i = 0; i < N; i++) bad[i] = -g[i];
    CHECK(llm_grad_check(wave_loss, &w, x, bad, N, N, &r) > 1.9, "a flipped sign is seen");
    CHECK(llm_grad_check(wave_loss, &w, x, nothing, N, 5, &r) > .1, "a forgotten gradient is seen");
    memcpy(bad, g, sizeof g);
    bad[5] = (llm_real)NAN;
    CHECK(llm_grad_check(wave_loss, &w, x, bad, N, 0, &r) == INFINITY, "NaN in the gradient");
    w.broken = true;
    CHECK(llm_grad_check(wave_loss, &w, x, g, N, 1, &r) == INFINITY, "NaN in the loss");
    w.broken = false;
    w.n = 0;                                    /* a constant loss has gradient 0: no division by it */
    CHECK(llm_grad_check(wave_loss, &w, x, nothing, N, 5, &r) == 0, "a zero gradient of a constant");
    w.calls = 0;
    CHECK(llm_grad_check(wave_loss, &w, x, g, 0, 5, &r) == 0 && w.calls == 0, "an empty tensor");
}

/* ---- a batch without a network: three rows of prompt, response, padding ---- */

enum { B = 3, T = 8, N = B * T };
static llm_real weights[N] = {0, 0, 1, 1, 1, 0, 0, 0,   0, 1, 1, 1, 1, 1, 1, 0,   0, 0, 0, 0, 0, 1, 1, (llm_real).5};
static llm_batch small_batch(void) { return (llm_batch){.B = B, .T = T, .weight = weights}; }
/* What a loss must not read is NaN; tensors that the checker moves keep numbers there. */
static void fill(llm_real *x, llm_rng *r, double mean, double deviation, bool poison) {
    for (int i = 0; i < N; i++)
        x[i] = poison && weights[i] == 0 ? (llm_real)NAN : (llm_real)(mean + deviation * llm_rng_normal(r));
}
/* Everything that any loss by token may want. x is what is moved, g where its gradient goes. */
typedef struct {
    llm_batch b;
    llm_real x[N], g[N], old[N], ref[N], target[N];
    double advantage[B], M;
    llm_grpo grpo;
    llm_policy_stats stats;
} tokens;
static tokens small_tokens(uint64_t seed) {
    tokens t = {.b = small_batch(), .M = 11, .advantage = {1.3, -.7, .4}, .grpo = llm_grpo_defaults()};
    llm_rng r = llm_rng_seed(seed, 1);
    fill(t.x, &r, -2, .7, false);
    fill(t.ref, &r, -2, .7, true);
    fill(t.target, &r, 0, 1, true);
    for (int i = 0; i < N; i++) t.old[i] = weights[i] == 0 ? (llm_real)NAN : t.x[i];
    /* ratios: far below, just below, just above and far above 1, met by both signs of the advantage */
    static const double away[] = {-.6, -.05, .08, .7, .3, -.4};
    for (int i = 0, k = 0; i < N; i++)
        if (weights[i] != 0) {
            t.old[i] -= (llm_real)away[k % 6];
            t.target[i] = (llm_real)((k / 6 % 2 ? -1 : 1) * (.5 + .1 * k));
            k++;
        }
    return t;
}
static double loss_ce(void *u) {
    tokens *t = u;
    llm_loss_ce_weights(t->g, &t->b, t->M);
    return llm_loss_ce(t->x, &t->b, t->M);
}
static double loss_ppo(void *u) {
    tokens *t = u;
    return llm_loss_ppo(t->g, t->x, t->old, t->target, &t->b, t->M, .2, &t->stats);
}
static double loss_value(void *u) {
    tokens *t = u;
    return llm_loss_value(t->g, t->x, t->old, t->target, &t->b, t->M, .1, .2);
}
static double loss_value_free(void *u) {
    tokens *t = u;
    return llm_loss_value(t->g, t->x, t->old, t->target, &t->b, t->M, .1, 0);
}
static double loss_entropy(void *u) {
    tokens *t = u;
    return llm_loss_entropy(t->g, t->x, &t->b, t->M, .01);
}
static double loss_grpo(void *u) {
    tokens *t = u;
    const llm_real *ref = t->grpo.beta != 0 ? t->ref : NULL;
    return llm_loss_grpo(t->g, t->x, t->old, ref, t->advantage, &t->b, &t->grpo, &t->stats);
}
/* Differentiate with respect to x; nothing may reach a place whose weight is 0. Returns the loss. */
static double differentiate(const char *what, double (*loss)(void *), tokens *t) {
    llm_real g[N];
    double value = loss(t);
    memcpy(g, t->g, sizeof g);
    CHECK(isfinite(value), "%s: loss %g", what, value);
    for (int i = 0; i < N; i++)
        if (weights[i] == 0) CHECK(g[i] == 0, "%s: place %d has weight 0 and gradient %g", what, i, (double)g[i]);
    llm_rng r = llm_rng_seed(2, 0);
    if (IS_DOUBLE) CHECK_SMALL(llm_grad_check(loss, t, t->x, g, N, N, &r), 1e-7, "%s: finite differences", what);
    return value;
}

/* ---- the same for losses by row: arrays of up to 8 numbers ---- */

typedef struct {
    double x[8], g[8], ref[8], count[8], reward[8], margin[4], centre, total, z0;
    int n, rank[8];
    bool good[8];
    llm_dpo dpo;
} rows;
static double loss_pair(void *u) {
    rows *p = u;
    return llm_loss_pair(p->g, p->x, p->margin, p->n / 2, p->centre, p->total, NULL);
}
static double loss_kwise(void *u) {
    rows *p = u;
    return llm_loss_kwise(p->g, p->x, p->rank, p->n, p->total, NULL);
}
static double loss_race(void *u) {
    rows *p = u;
    return llm_loss_plackett_luce(p->g, p->x, p->rank, p->n, p->total);
}
static double loss_dpo(void *u) {
    rows *p = u;
    return llm_loss_dpo(p->g, p->x, p->ref, p->count, p->n / 2, p->dpo, p->total, NULL);
}
static double loss_kto(void *u) {
    rows *p = u;
    return llm_loss_kto(p->g, p->x, p->ref, p->good, p->n, (llm_kto){.3, p->z0, 1.25, .8}, p->total);
}
static double loss_rrhf(void *u) {
    rows *p = u;
    return llm_loss_rrhf(p->g, p->x, p->count, p->reward, p->n, .7, p->total);
}
static void differentiate_rows(const char *what, double (*loss)(void *), rows *p) {
    CHECK(isfinite(loss(p)), "%s: no number", what);
#if LLM_DOUBLE
    double g[8];
    llm_rng r = llm_rng_seed(3, 0);
    memcpy(g, p->g, sizeof g);
    CHECK_SMALL(llm_grad_check(loss, p, p->x, g, (size_t)p->n, p->n, &r), 1e-7, "%s: finite differences", what);
#endif
}
/* Scores or log-probabilities of a few responses; rewards and ranks with a tie; odd lengths. */
static rows small_rows(void) {
    return (rows){.x = {-9, -4, -12.5, -6, -7.7, -3.2}, .ref = {-8, -5, -12, -7.5, -7.25, -3},
                  .count = {6, 4, 9, 5, 7, 2}, .reward = {.9, .1, .5, .3, .5, -1}, .rank = {0, 3, 1, 2, 1, 4},
                  .margin = {.3, 0, 1}, .good = {true, false, true, false, false, true},
                  .total = 5, .n = 6, .dpo = {LLM_DPO, .1, 0, 0}, .z0 = .4};
}

/* ---- rows and tokens ---- */

static void test_rows(void) {
    llm_batch b = small_batch();
    llm_real x[N], dx[N];
    for (int i = 0; i < N; i++) x[i] = weights[i] == 0 ? (llm_real)NAN : (llm_real)-i;
    double sum[B], count[B], dsum[B] = {2, -3, 4};
    llm_row_sums(sum, count, x, &b);
    near_to("row 0: 2 + 3 + 4", sum[0], -9, 0);
    near_to("row 1: 9 + .. + 14", sum[1], -69, 0);
    near_to("row 2: 21 + 22 + 23/2", sum[2], -54.5, 0);
    CHECK(count[0] == 3 && count[1] == 6 && count[2] == 2.5, "counts %g %g %g", count[0], count[1], count[2]);
    llm_row_sums(sum, NULL, x, &b);
    llm_row_spread(dx, dsum, &b);
    for (int i = 0; i < N; i++)
        CHECK((double)dx[i] == (double)weights[i] * dsum[i / T], "spread at %d: %g", i, (double)dx[i]);
}

/* ---- pretraining and SFT ---- */

static void test_ce(void) {
    tokens t = small_tokens(4);
    differentiate("cross entropy", loss_ce, &t);
    llm_real logp[4], w[4] = {0, 1, 1, 1}, g[4];
    for (int i = 0; i < 4; i++) logp[i] = (llm_real)log((i + 1) / 10.);
    llm_batch b = {.B = 2, .T = 2, .weight = w};
    near_to("-(ln .2 + ln .3 + ln .4)/3", llm_loss_ce(logp, &b, 3), -log(.2 * .3 * .4) / 3, ROUNDING);
    const llm_real guess = (llm_real)-log(768), uniform[4] = {0, guess, guess, guess};
    near_to("uniform over V: ln V", llm_loss_ce(uniform, &b, 3), log(768), 10 * ROUNDING);
    /* However the step is cut into micro-batches, with M of the whole step, loss and gradients are the same. */
    llm_batch first = {.B = 1, .T = 2, .weight = w}, second = {.B = 1, .T = 2, .weight = w + 2};
    double parts = llm_loss_ce(logp, &first, 3) + llm_loss_ce(logp + 2, &second, 3);
    near_to("micro-batches", parts, llm_loss_ce(logp, &b, 3), 1e-15);
    llm_real whole[4];
    llm_loss_ce_weights(whole, &b, 3);
    llm_loss_ce_weights(g, &first, 3);
    llm_loss_ce_weights(g + 2, &second, 3);
    CHECK(!memcmp(whole, g, sizeof g), "the weights of a row do not depend on the rows beside it");
    CHECK(whole[0] == 0 && fabs((double)whole[1] + 1. / 3) < 1e-7, "dlogp = -w/M");
    /* A micro-batch that is all prompt: 0, not 0/0. */
    llm_real prompt[4] = {0};
    b.weight = prompt;
    logp[0] = logp[1] = logp[2] = logp[3] = (llm_real)-INFINITY;
    llm_loss_ce_weights(g, &b, 0);
    CHECK(llm_loss_ce(logp, &b, 0) == 0 && g[0] == 0 && g[3] == 0, "no target at all moves nothing");
}

/* ---- reward model ---- */

static void test_reward_model(void) {
    rows p = small_rows();
    differentiate_rows("pair", loss_pair, &p);
    p.centre = .01;
    differentiate_rows("pair, centred", loss_pair, &p);
    differentiate_rows("K-wise", loss_kwise, &p);
    differentiate_rows("Plackett-Luce with a tie", loss_race, &p);
    p.rank[4] = 5;
    differentiate_rows("Plackett-Luce", loss_race, &p);

    double dr[8], r[2] = {2, -1}, margin[1] = {.5};
    llm_pair_stats s = {0};
    near_to("-log s(3 - .5) + .1 (2 - 1)^2", llm_loss_pair(dr, r, margin, 1, .1, 1, &s), softplus(-2.5) + .1, 1e-12);
    near_to("dL/dr_w", dr[0], -logistic(-2.5) + .2, 1e-12);
    near_to("dL/dr_l", dr[1], logistic(-2.5) + .2, 1e-12);
    CHECK(s.pairs == 1 && s.right == 1 && s.margin == 3 && s.chosen == 2 && s.rejected == -1, "statistics of a pair");
    r[1] = 2;
    near_to("equal scores: log 2", llm_loss_pair(dr, r, NULL, 1, 0, 1, &s), log(2), 1e-12);
    CHECK(s.pairs == 2 && s.right == 1.5, "equal scores count as half right");
    double far[2] = {1000, -1000}, near_[2] = {-1000, 1000};
    near_to("a sure pair", llm_loss_pair(dr, far, NULL, 1, 0, 1, NULL), 0, 1e-300);
    CHECK(dr[0] == 0 && dr[1] == 0, "a sure pair does not push");
    near_to("a pair surely wrong, without overflow", llm_loss_pair(dr, near_, NULL, 1, 0, 1, NULL), 2000, 1e-9);
    CHECK(dr[0] == -1 && dr[1] == 1, "a pair surely wrong pushes with 1");

    /* The lecture's picture: D > C > A = B. Five pairs, the tie says nothing. Equal scores: log 2; by hand D wins 3 of
       the pairs, C wins 2 and loses 1, A and B lose 2 each; every pair pushes with 1/2. */
    const int lecture[4] = {2, 2, 1, 0};        /* A B C D */
    double zero[4] = {0};
    s = (llm_pair_stats){0};
    near_to("D > C > A = B", llm_loss_kwise(dr, zero, lecture, 4, 1, &s), log(2), 1e-12);
    near_to("A", dr[0], .2, 1e-12);
    near_to("B", dr[1], .2, 1e-12);
    near_to("C", dr[2], -.1, 1e-12);
    near_to("D", dr[3], -.3, 1e-12);
    CHECK(s.pairs == 5, "%g pairs", s.pairs);
    const int same[3] = {1, 1, 1}, two[2] = {0, 1};
    dr[0] = 9;
    CHECK(llm_loss_kwise(dr, zero, same, 3, 1, NULL) == 0 && dr[0] == 0, "all tied: nothing to learn, no 0/0");
    r[0] = .3, r[1] = -.9;
    double pair = llm_loss_pair(dr, r, NULL, 1, 0, 4, NULL);
    near_to("K = 2 is the pair loss", llm_loss_kwise(dr + 2, r, two, 2, 4, NULL), pair, 1e-15);
    near_to("and so are its gradients", dr[2], dr[0], 1e-15);
    near_to("Plackett-Luce of two is the pair loss", llm_loss_plackett_luce(dr + 4, r, two, 2, 4), pair, 1e-15);
    near_to("and so are its gradients", dr[4], dr[0], 1e-15);
    /* Three equal: 1/3, then 1/2, then alone: log 6 */
    const int order[3] = {0, 1, 2}, tie[3] = {0, 0, 1};
    near_to("a race of three equals", llm_loss_plackett_luce(dr, zero, order, 3, 1), log(6), 1e-12);
    near_to("first", dr[0], -2. / 3, 1e-12);
    near_to("second", dr[1], -1. / 6, 1e-12);
    near_to("third", dr[2], 5. / 6, 1e-12);
    const double three[3] = {.4, -.2, .1};
    near_to("a tie: each beats the last, not the other", llm_loss_plackett_luce(dr, three, tie, 3, 1),
            softplus(-.3) + softplus(.3), 1e-12);
    CHECK(llm_best_of(three, 3) == 0 && llm_best_of((double[]){1, 3, 3, 2}, 4) == 1, "the best, the first of equals");
    near_to("KL of best of 8", llm_best_of_kl(8), 1.2044415, 1e-6);
    near_to("KL of best of 1", llm_best_of_kl(1), 0, 1e-15);
}

/* ---- PPO ---- */

/* One row: two tokens of prompt, three of response, two of padding. The score belongs on place 4, the last response
   token. */
static void test_rollout(void) {
    llm_real w[7] = {0, 0, 1, 1, 1, 0, 0}, nan = (llm_real)NAN;
    llm_real old[7] = {nan, nan, -1, -2, (llm_real)-.5, nan, nan};
    llm_real ref[7] = {nan, nan, (llm_real)-1.5, -2, -1, nan, nan};
    llm_real value[7] = {nan, nan, (llm_real).2, (llm_real).4, (llm_real).6, nan, nan}, reward[7], advantage[7], ret[7];
    llm_batch b = {.B = 1, .T = 7, .weight = w};
    double score = 2;
    near_to("KL: .5 + 0 + .5", llm_ppo_rewards(reward, old, ref, &score, &b, .1), 1, ROUNDING);
    const double want[7] = {0, 0, -.05, 0, 1.95, 0, 0};
    for (int i = 0; i < 7; i++) near_to("reward", (double)reward[i], want[i], ROUNDING);
    /* by the sum, not the recursion: A_t = sum over l >= t of (gamma lambda)^(l-t) (r_l + gamma V_(l+1) - V_l) */
    const double gamma = .9, lambda = .8, V[4] = {.2, .4, .6, 0};
    llm_gae(advantage, ret, reward, value, &b, gamma, lambda);
    for (int t = 0; t < 3; t++) {
        double A = 0;
        for (int l = t; l < 3; l++) A += pow(gamma * lambda, l - t) * (want[l + 2] + gamma * V[l + 1] - V[l]);
        near_to("advantage", (double)advantage[t + 2], A, ROUNDING);
        near_to("return", (double)ret[t + 2], A + V[t], ROUNDING);
    }
    for (int i = 0; i < 7; i++)
        if (w[i] == 0) CHECK(advantage[i] == 0 && ret[i] == 0, "nothing outside the response, place %d", i);
    llm_gae(advantage, ret, reward, value, &b, 1, 1);
    near_to("gamma = lambda = 1: the return is all that comes", (double)ret[2], 1.9, ROUNDING);
    llm_gae(advantage, ret, reward, value, &b, 1, 0);
    near_to("lambda = 0: one step", (double)advantage[3], 0 + .6 - .4, ROUNDING);

    /* three rows at once are three rows one by one */
    tokens t = small_tokens(10);
    llm_batch whole = small_batch();
    llm_real all[3][N], one[3][N];
    double scores[B] = {1, -2, .5}, kl = 0;
    double mean = llm_ppo_rewards(all[0], t.x, t.ref, scores, &whole, .3);
    llm_gae(all[1], all[2], all[0], t.target, &whole, .9, .8);
    for (int r = 0; r < B; r++) {
        const int o = r * T;
        llm_batch row = {.B = 1, .T = T, .weight = weights + o};
        kl += llm_ppo_rewards(one[0] + o, t.x + o, t.ref + o, scores + r, &row, .3) / B;
        llm_gae(one[1] + o, one[2] + o, one[0] + o, t.target + o, &row, .9, .8);
    }
    CHECK(!memcmp(all, one, sizeof all), "rows do not see each other");
    near_to("mean KL of the rows", mean, kl, 1e-14);

    /* whitening: {-1, 0, 1} of variance 1; with its mean 3 kept for rewards */
    llm_real x[7] = {nan, nan, 2, 3, 4, nan, nan};
    llm_whiten(x, &b, true);
    near_to("whitened", (double)x[4], 1 / sqrt(1 + 1e-8), ROUNDING);
    near_to("mean 0", (double)(x[2] + x[3] + x[4]), 0, ROUNDING);
    llm_real y[7] = {nan, nan, 1, 3, 5, nan, nan};
    llm_whiten(y, &b, false);
    near_to("deviation 1", (double)y[4] - (double)y[2], 4 / sqrt(4 + 1e-8), 4 * ROUNDING);
    near_to("mean kept", (double)y[3], 3, ROUNDING);
    llm_real z[7] = {0, 0, 5, 5, 5, 0, 0};
    llm_whiten(z, &b, true);
    CHECK(z[2] == 0 && z[4] == 0, "equal advantages become 0");
    /* a row without a response neither counts nor divides by zero */
    llm_real both[2][14] = {{nan, nan, -1, -2, (llm_real)-.5, nan, nan}, {nan, nan, (llm_real)-1.5, -2, -1, nan, nan}};
    llm_real half[14] = {0, 0, 1, 1, 1}, two_rewards[14];
    for (int i = 7; i < 14; i++) both[0][i] = both[1][i] = nan;
    near_to("KL is a mean of the rows that answer",
            llm_ppo_rewards(two_rewards, both[0], both[1], (double[]){2, 5}, &(llm_batch){.B = 2, .T = 7, .weight = half}, .1), 1,
            ROUNDING);
    llm_real none[7] = {0};
    b.weight = none;
    CHECK(llm_ppo_rewards(reward, old, ref, &score, &b, .1) == 0 && reward[4] == 0, "an empty row has no reward");
    llm_whiten(z, &b, true);
}

static void test_ppo(void) {
    tokens t = small_tokens(5);
    double loss = differentiate("PPO", loss_ppo, &t), want = 0;
    int cases[2][3] = {{0}};                    /* advantage bad, good x ratio below, inside, above */
    double clipped_weight = 0, kl = 0;
    t.stats = (llm_policy_stats){0};
    loss_ppo(&t);
    for (int i = 0; i < N; i++) {               /* the paper's formula, word for word */
        if (weights[i] == 0) continue;
        double rho = exp((double)t.x[i] - (double)t.old[i]), A = (double)t.target[i], w = (double)weights[i];
        want -= w * fmin(A * rho, A * fmin(fmax(rho, .8), 1.2)) / t.M;
        bool clipped = A > 0 ? rho > 1.2 : rho < .8;
        CHECK((t.g[i] == 0) == clipped, "ratio %g, advantage %g: gradient %g", rho, A, (double)t.g[i]);
        if (!clipped) near_to("-A rho w/M", (double)t.g[i], -A * rho * w / t.M, ROUNDING);
        cases[A > 0][(rho > .8) + (rho > 1.2)]++;
        clipped_weight += clipped ? w : 0;
        kl += w * (rho - 1 - log(rho));         /* k3 of old against new, on tokens of old */
    }
    for (int k = 0; k < 6; k++) CHECK(cases[k / 3][k % 3] > 0, "case %d of advantage x ratio was not met", k);
    near_to("PPO against the paper's min", loss, want, ROUNDING);
    near_to("tokens", t.stats.tokens, 11.5, 0);
    near_to("clipped tokens", t.stats.clipped, clipped_weight, 0);
    near_to("KL from old to new", t.stats.kl, kl, 1e-12);
    near_to("largest |log ratio|", t.stats.largest, .7, 1e-6);

    /* Before the first update the ratio is 1 to the bit and the loss is plain policy gradient. */
    memcpy(t.old, t.x, sizeof t.x);
    t.stats = (llm_policy_stats){0};
    loss_ppo(&t);
    CHECK(t.stats.largest == 0 && t.stats.clipped == 0 && t.stats.kl == 0, "nothing is clipped at first");
    /* An advantage of 0 asks for nothing, so nothing is clipped; a log ratio is large on either side of 0. */
    llm_real quiet = 0, moved = -1, stood = 0, g = 5, one_weight = 1;
    llm_policy_stats still = {0};
    llm_loss_ppo(&g, &moved, &stood, &quiet, &(llm_batch){.B = 1, .T = 1, .weight = &one_weight}, 1, .2, &still);
    CHECK(g == 0 && still.clipped == 0 && still.largest == 1, "advantage 0: clipped %g, largest %g", still.clipped, still.largest);
    still.largest = 9e-6;
    ratio_check(&still);
    still.largest = 1.1e-5;
    CHECK_DIES(ratio_check(&still), "moved by 1.1e-05 before the first update");
    still.largest = NAN;
    CHECK_DIES(ratio_check(&still), "before the first update");
    for (int i = 0; i < N; i++) {
        double w = (double)weights[i];
        if (w != 0) near_to("-A w/M", (double)t.g[i], -(double)t.target[i] * w / t.M, ROUNDING);
    }
    /* A step cut into micro-batches by rows. */
    tokens whole = small_tokens(5), part = small_tokens(5);
    double sum = 0;
    loss = loss_ppo(&whole);
    for (int r = 0; r < B; r++) {
        const int o = r * T;
        llm_batch one = {.B = 1, .T = T, .weight = weights + o};
        sum += llm_loss_ppo(part.g + o, part.x + o, part.old + o, part.target + o, &one, part.M, .2, NULL);
    }
    near_to("micro-batches", sum, loss, 1e-14);
    CHECK(!memcmp(part.g, whole.g, sizeof whole.g), "gradients of micro-batches");
}

static void test_value(void) {
    tokens t = small_tokens(6);
    differentiate("value, clipped", loss_value, &t);
    differentiate("value, free", loss_value_free, &t);
    differentiate("entropy", loss_entropy, &t);
    /* V_old 0, clip .2, by hand: inside the band; above it with the clipped value worse, then the free one worse; the
       same below it; beyond the return. The worse one counts. */
    static const struct { double V, ret, loss, slope; } row[] = {
        {.1, 1, .405, -.9}, {.5, 1, .32, 0}, {.5, 0, .125, .5}, {-.5, -1, .32, 0}, {-.5, 0, .125, -.5},
        {.5, .3, .02, .2}};
    llm_real one = 1, zero = 0, dV;
    llm_batch b = {.B = 1, .T = 1, .weight = &one};
    for (int i = 0; i < COUNT(row); i++) {
        llm_real V = (llm_real)row[i].V, ret = (llm_real)row[i].ret;
        near_to("value loss", llm_loss_value(&dV, &V, &zero, &ret, &b, 1, 1, .2), row[i].loss, ROUNDING);
        near_to("dV", (double)dV, row[i].slope, ROUNDING);
    }
    llm_real H = (llm_real).7;
    near_to("entropy bonus", llm_loss_entropy(&dV, &H, &b, 2, .01), -.0035, 1e-9);
    near_to("its gradient", (double)dV, -.005, 1e-9);
}

/* Expectations over a whole distribution, so without noise: E[k] and E[k' dlogp] against the exact KL and its
   gradient. */
static void test_kl(void) {
    enum { V = 7 };
    double z[V], y[V], P[V], Q[V], kl = 0, reverse = 0, slope;
    llm_rng r = llm_rng_seed(7, 0);
    for (int i = 0; i < V; i++) z[i] = llm_rng_normal(&r), y[i] = z[i] + .3 * llm_rng_normal(&r);
    softmax(P, z, V);
    softmax(Q, y, V);
    for (int i = 0; i < V; i++) kl += P[i] * log(P[i] / Q[i]), reverse += Q[i] * log(Q[i] / P[i]);
    double value[4] = {0}, gap[4] = {0};
    for (int k = 1; k <= 3; k++) {
        double gradient[V] = {0};
        for (int i = 0; i < V; i++) {
            value[k] += P[i] * llm_kl(k, log(P[i] / Q[i]), &slope);
            for (int j = 0; j < V; j++) gradient[j] += P[i] * slope * ((i == j) - P[j]);
        }
        for (int j = 0; j < V; j++) {           /* k1: 0. k2: the gradient of KL(P||Q). k3: that of KL(Q||P), P - Q */
            double want = k == 1 ? 0 : k == 2 ? P[j] * (log(P[j] / Q[j]) - kl) : P[j] - Q[j];
            gap[k] = fmax(gap[k], fabs(gradient[j] - want));
        }
        CHECK_SMALL(gap[k], 1e-14, "k%d as a loss", k);
    }
    near_to("E[k1] = KL", value[1], kl, 1e-14);
    near_to("E[k3] = KL", value[3], kl, 1e-14);
    CHECK(fabs(value[2] - kl) > 1e-3 * kl && kl > 0 && reverse > 0, "E[k2] is biased: %g for %g", value[2], kl);
    near_to("k3(.5)", llm_kl(3, .5, &slope), exp(-.5) - .5, 1e-15);
    CHECK(llm_kl(3, 0, &slope) == 0 && slope == 0, "k3(0) = 0 and flat");
    CHECK_DIES(llm_kl(4, 0, &slope), "k4");
    llm_kl_control c = {.15, 6, 10000};
    llm_kl_adapt(&c, 60, 500);                  /* far above: +20% at most, times 500/10000 */
    near_to("beta rises", c.beta, .15 * 1.01, 1e-15);
    llm_kl_adapt(&c, 5.4, 1000);                /* 10% below */
    near_to("beta falls", c.beta, .15 * 1.01 * .99, 1e-15);
    llm_kl_adapt(&c, 6, 1000);
    near_to("beta stays", c.beta, .15 * 1.01 * .99, 1e-15);
    llm_kl_adapt(&c, 0, 500);                   /* far below: -20% at most */
    near_to("beta falls no faster", c.beta, .15 * 1.01 * .99 * .99, 1e-15);
    llm_kl_adapt(&c, -60, 500);                 /* a mean of few answers may be negative */
    near_to("nor when it is negative", c.beta, .15 * 1.01 * .99 * .99 * .99, 1e-15);
}

/* ---- GRPO ---- */

static void test_grpo(void) {
    double R[8] = {1, 2, 3, 6, 5, 5, 5, 5}, A[8];
    CHECK(llm_group_advantages(A, R, 8, 4, LLM_GROUP_NORM) == 1, "one group of two carries no signal");
    const double std = sqrt(14. / 3);           /* mean 3: squares 4 1 0 9, over G - 1 */
    for (int i = 0; i < 4; i++) near_to("(R - mean)/(std + 1e-4)", A[i], (R[i] - 3) / (std + 1e-4), 1e-14);
    for (int i = 4; i < 8; i++) CHECK(A[i] == 0, "a silent group has advantage %g", A[i]);
    llm_group_advantages(A, R, 8, 4, LLM_GROUP_MEAN);
    for (int i = 0; i < 4; i++) near_to("R - mean", A[i], R[i] - 3, 1e-14);
    llm_group_advantages(A, R, 8, 4, LLM_GROUP_RLOO);
    for (int i = 0; i < 4; i++) near_to("R - mean of the others", A[i], R[i] - (12 - R[i]) / 3, 1e-14);
    double tenth[3] = {.1, .1, .1};
    CHECK(llm_group_advantages(A, tenth, 3, 3, LLM_GROUP_NORM) == 1 && A[0] == 0, "equal is exactly 0");
    int not_zero = 0;                   /* whatever the mean is rounded to */
    for (int i = 1; i < 200; i++)
        for (int group = 3; group < 9; group++) {
            for (int k = 0; k < group; k++) R[k] = .01 * i;
            llm_group_advantages(A, R, group, group, LLM_GROUP_NORM);
            for (int k = 0; k < group; k++) not_zero += A[k] != 0;
        }
    CHECK(!not_zero, "equal rewards of any size: %d advantages are not 0", not_zero);
    CHECK_DIES(llm_group_advantages(A, R, 8, 1, LLM_GROUP_RLOO), "groups of 1");
    CHECK_DIES(llm_group_advantages(A, R, 8, 3, LLM_GROUP_NORM), "groups of 3");

    tokens t = small_tokens(8);
    t.grpo.rows = 4, t.grpo.tokens = 13, t.grpo.longest = 20;   /* of a step that has more rows elsewhere */
    const double length[B] = {3, 6, 2.5};
    for (int kl = 0; kl <= 3; kl++) {
        if (kl == 1) continue;
        t.grpo.beta = kl ? .04 : 0;
        t.grpo.kl = kl ? kl : 3;
        t.grpo.clip_high = kl == 3 ? .28 : .2;
        for (int norm = 0; norm < 3; norm++) {
            t.grpo.norm = (llm_grpo_norm)norm;
            double loss = differentiate("GRPO", loss_grpo, &t), want = 0;
            for (int i = 0; i < N; i++) {
                if (weights[i] == 0) continue;
                double l = (double)t.x[i], rho = exp(l - (double)t.old[i]), d = l - (double)t.ref[i];
                double Ai = t.advantage[i / T];
                double token = -fmin(Ai * rho, Ai * fmin(fmax(rho, .8), 1 + t.grpo.clip_high));
                token += kl == 3 ? .04 * (exp(-d) + d - 1) : kl == 2 ? .04 * d * d / 2 : 0;
                double per = norm == LLM_PER_TOKEN ? 13 : norm == LLM_PER_ROW ? 4 * length[i / T] : 4 * 20;
                want += (double)weights[i] * token / per;
            }
            near_to("GRPO", loss, want, ROUNDING);
        }
    }
    t.grpo.kl = 1;
    CHECK_DIES(loss_grpo(&t), "k1 as a loss");
    t.grpo.kl = 3;
    CHECK_DIES(llm_loss_grpo(t.g, t.x, t.old, NULL, t.advantage, &t.b, &t.grpo, NULL), "reference");
}

/* ---- DPO, KTO, RRHF ---- */

static void test_dpo(void) {
    rows p = small_rows();
    static const char *const name[] = {"DPO", "cDPO", "robust DPO", "IPO"};
    for (int kind = 0; kind < 4; kind++)
        for (int sft = 0; sft < 2; sft++) {
            p.dpo = (llm_dpo){(llm_dpo_kind)kind, .1, .15, sft ? .7 : 0};
            differentiate_rows(name[kind], loss_dpo, &p);
        }
    /* By hand: chosen -9 against -8, rejected -4 against -5: D = .1 (-1 - 1) = -.2 */
    double g[2];
    llm_pair_stats s = {0};
    near_to("DPO", llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_DPO, .1, 0, 0}, 1, &s), softplus(.2), 1e-12);
    near_to("chosen, on every token", g[0], -.1 * logistic(.2), 1e-12);
    near_to("rejected", g[1], .1 * logistic(.2), 1e-12);
    near_to("margin", s.margin, -.2, 1e-12);
    CHECK(s.pairs == 1 && s.right == 0, "a wrong pair");
    double e = .15, D = -.2;
    near_to("cDPO", llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_CDPO, .1, e, 0}, 1, NULL),
            (1 - e) * softplus(-D) + e * softplus(D), 1e-12);
    near_to("its slope", g[0], .1 * (logistic(D) - (1 - e)), 1e-12);
    near_to("robust", llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_ROBUST_DPO, .1, e, 0}, 1, NULL),
            ((1 - e) * softplus(-D) - e * softplus(D)) / (1 - 2 * e), 1e-12);
    double h = -1. / 6 - 1. / 4;                /* means: 6 and 4 tokens */
    llm_dpo ipo = {LLM_IPO, .1, 0, 0}, plain = {LLM_DPO, .1, 0, 0};
    near_to("IPO", llm_loss_dpo(g, p.x, p.ref, p.count, 1, ipo, 1, NULL), (h - 5) * (h - 5), 1e-12);
    near_to("IPO chosen", g[0], 2 * (h - 5) / 6, 1e-12);
    near_to("IPO rejected", g[1], -2 * (h - 5) / 4, 1e-12);
    near_to("RPO adds 1.5 per token", llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_DPO, .1, 0, .7}, 1, NULL),
            softplus(.2) + .7 * 9 / 6, 1e-12);
    /* Robust DPO is unbiased: flipped labels, averaged, give the clean loss. */
    double flip[2] = {p.x[1], p.x[0]}, flip_ref[2] = {p.ref[1], p.ref[0]}, count[2] = {4, 6};
    llm_dpo robust = {LLM_ROBUST_DPO, .1, e, 0};
    near_to("robust under flips", (1 - e) * llm_loss_dpo(g, p.x, p.ref, p.count, 1, robust, 1, NULL) +
            e * llm_loss_dpo(g, flip, flip_ref, count, 1, robust, 1, NULL), softplus(.2), 1e-12);
    /* Sums, not means: the lengths do not matter to DPO. Step 0: policy = reference, loss log 2, pushes of beta/2. */
    double half[2] = {3, 2}, copy[2] = {p.x[0], p.x[1]};
    near_to("no averaging", llm_loss_dpo(g, p.x, p.ref, half, 1, plain, 1, NULL), softplus(.2), 1e-12);
    near_to("step 0", llm_loss_dpo(g, p.x, copy, p.count, 1, plain, 1, NULL), log(2), 1e-12);
    CHECK(g[0] == -.05 && g[1] == .05, "step 0 pushes with beta/2");
    CHECK_DIES(llm_loss_dpo(g, p.x, p.x, p.count, 1, plain, 1, NULL), "same array");
    CHECK_DIES(llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_DPO, 0, 0, 0}, 1, NULL), "beta");
    CHECK_DIES(llm_loss_dpo(g, p.x, p.ref, p.count, 1, (llm_dpo){LLM_ROBUST_DPO, .1, .5, 0}, 1, NULL), "labels wrong");
    double none[2] = {0, 0}, zero[2] = {0, 0}, zref[2] = {0, 0};
    ipo.sft = .5;
    CHECK(isfinite(llm_loss_dpo(g, zero, zref, none, 1, ipo, 1, NULL)), "empty answers give a number");
}

static void test_kto(void) {
    rows p = small_rows();
    differentiate_rows("KTO", loss_kto, &p);
    p.z0 = 3;
    differentiate_rows("KTO, reference point above all", loss_kto, &p);
    double g[2], sum[2] = {-5, -5}, ref[2] = {-5.5, -5.5};
    bool good[2] = {true, false};
    near_to("u = z0: half of each", llm_loss_kto(g, sum, ref, good, 2, (llm_kto){.1, .5, 1.3, .9}, 2),
            (1.3 + .9) / 4, 1e-12);
    near_to("good", g[0], -1.3 * .1 / 4 / 2, 1e-12);
    near_to("bad", g[1], .9 * .1 / 4 / 2, 1e-12);
    near_to("u - z0 = 1, beta 2", llm_loss_kto(g, sum, ref, good, 2, (llm_kto){2, -.5, 1.3, .9}, 1),
            1.3 * (1 - logistic(2)) + .9 * (1 - logistic(-2)), 1e-12);
    near_to("z0 is the mean", llm_kto_z0((double[]){-3, -4}, (double[]){-5, -4.5}, 2), 1.25, 1e-12);
    CHECK(llm_kto_z0((double[]){-6, -4}, (double[]){-5, -4.5}, 2) == 0, "z0 is never negative");
    CHECK_DIES(llm_kto_z0(sum, ref, 1), "at least 2 rows");
    CHECK_DIES(llm_loss_kto(g, sum, sum, good, 2, (llm_kto){.1, 0, 1, 1}, 2), "same array");
    double wg, wb;
    llm_kto_balance(&wg, &wb, 100, 300);
    CHECK(wg == 3 && wb == 1, "a hundred good weigh as much as three hundred bad: %g %g", wg, wb);
    llm_kto_balance(&wg, &wb, 300, 100);
    CHECK(wg == 1 && wb == 3, "and the other way round: %g %g", wg, wb);
    CHECK_DIES(llm_kto_balance(&wg, &wb, 5, 0), "0 bad");
}

static void test_rrhf(void) {
    rows p = small_rows();
    differentiate_rows("RRHF", loss_rrhf, &p);
    /* p: -1.5 -1 -1.389 -1.2 -1.1 -1.6; rewards .9 .1 .5 .3 .5 -1. By hand, pairs (worse above better, gap):
       1 above 0 (.5), 2 (.389), 3 (.2), 4 (.1); 2 above 0 (.111); 3 above 0 (.3), 2 (.189); 4 above 0 (.4) */
    double want = .5 + 3.5 / 9 + .2 + .1 + 1. / 9 + .3 + 1.7 / 9 + .4 + .7 * 1.5;
    near_to("RRHF", loss_rrhf(&p), want / 5, 1e-12);
    near_to("best: better in four pairs, and imitated", p.g[0], -(4 + .7) / 6 / 5, 1e-12);
    near_to("1: worse in four", p.g[1], 4. / 4 / 5, 1e-12);
    near_to("3: worse in two, better in one", p.g[3], 1. / 5 / 5, 1e-12);
    near_to("5: in order already", p.g[5], 0, 0);
    /* Means, not sums: by sums -10 < -4 the order would be wrong, by means -1 > -2 it is right. */
    double g[2];
    near_to("means", llm_loss_rrhf(g, (double[]){-10, -4}, (double[]){10, 2}, (double[]){1, 0}, 2, 0, 1), 0, 0);
    CHECK(g[0] == 0 && g[1] == 0, "no push where the order is right");
}

/* ---- bandits: an "answer" is one of five tokens, so the best policy is known: pi* ~ pi_ref exp(R / beta) ---- */

enum { ARMS = 5 };
static const double arm_ref[ARMS] = {0, .7, -.4, .2, -1}, arm_reward[ARMS] = {.2, -.3, .9, .5, .1};
static void optimum(double *p, double beta) {
    double z[ARMS];
    for (int a = 0; a < ARMS; a++) z[a] = arm_ref[a] + arm_reward[a] / beta;
    softmax(p, z, ARMS);
}
static double distance(const double *p, const double *q) {              /* total variation */
    double d = 0;
    for (int a = 0; a < ARMS; a++) d += fabs(p[a] - q[a]) / 2;
    return d;
}
/* logits -= rate dL/dlogits, where dL/dz_j = sum over rows of dlogp (onehot - p)_j: chapter 4's one back-end */
static void descend(double *z, const double *p, const llm_real *dlogp, const int *arm, int n, double rate) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < ARMS; j++) z[j] -= rate * (double)dlogp[i] * ((arm[i] == j) - p[j]);
}
/* PPO with everything on: rewards with the KL fine, GAE, a learned critic, four epochs with clipping. Instead of
   samples every arm is a row that weighs its probability, so that the expectation is exact. With k the KL sits in the
   loss (GRPO's place) instead. */
static void bandit_exact(double *p, double beta, int kl_in_loss) {
    double z[ARMS], Q[ARMS], V = 0;
    const int arm[ARMS] = {0, 1, 2, 3, 4};
    llm_real w[ARMS], old[ARMS], ref[ARMS], logp[ARMS], reward[ARMS], A[ARMS], ret[ARMS], g[ARMS];
    llm_real value[ARMS], old_value[ARMS];
    llm_batch b = {.B = ARMS, .T = 1, .weight = w};
    memcpy(z, arm_ref, sizeof z);
    softmax(Q, arm_ref, ARMS);
    for (int a = 0; a < ARMS; a++) ref[a] = (llm_real)log(Q[a]);
    for (int step = 0; step < 3000; step++) {
        softmax(p, z, ARMS);
        for (int a = 0; a < ARMS; a++) w[a] = (llm_real)p[a], old[a] = (llm_real)log(p[a]), old_value[a] = (llm_real)V;
        llm_ppo_rewards(reward, old, ref, arm_reward, &b, kl_in_loss ? 0 : beta);
        llm_gae(A, ret, reward, old_value, &b, 1, .95);
        for (int epoch = 0; epoch < 4; epoch++) {
            softmax(p, z, ARMS);
            for (int a = 0; a < ARMS; a++) logp[a] = (llm_real)log(p[a]), value[a] = (llm_real)V;
            if (kl_in_loss) {
                llm_grpo o = llm_grpo_defaults();
                double advantage[ARMS];
                for (int a = 0; a < ARMS; a++) advantage[a] = (double)A[a];
                o.beta = beta, o.kl = kl_in_loss, o.tokens = 1;
                llm_loss_grpo(g, logp, old, ref, advantage, &b, &o, NULL);
            } else llm_loss_ppo(g, logp, old, A, &b, 1, .2, NULL);
            descend(z, p, g, arm, ARMS, .5);
            llm_loss_value(g, value, old_value, ret, &b, 1, .5, .2);
            for (int a = 0; a < ARMS; a++) V -= (double)g[a];
            if (kl_in_loss) break;              /* its expectation is exact for fresh samples only */
        }
    }
    softmax(p, z, ARMS);
}
/* The same from 256 samples a step, with whitened advantages and a falling rate: what train_rlhf.c does. */
static void bandit_sampled(double *p, double beta) {
    enum { S = 256, STEPS = 1500 };
    double z[ARMS], Q[ARMS], V = 0, score[S];
    int arm[S];
    static llm_real w[S], old[S], ref[S], logp[S], reward[S], A[S], ret[S], value[S], old_value[S], g[S];
    llm_batch b = {.B = S, .T = 1, .weight = w};
    llm_rng r = llm_rng_seed(11, 0);
    memcpy(z, arm_ref, sizeof z);
    softmax(Q, arm_ref, ARMS);
    for (int step = 0; step < STEPS; step++) {
        double rate = .3 * (1 - (double)step / STEPS);
        softmax(p, z, ARMS);
        for (int i = 0; i < S; i++) {
            double u = llm_rng_uniform(&r);
            for (arm[i] = 0; arm[i] < ARMS - 1 && (u -= p[arm[i]]) >= 0; arm[i]++) {}
            w[i] = 1, old[i] = (llm_real)log(p[arm[i]]), ref[i] = (llm_real)log(Q[arm[i]]), old_value[i] = (llm_real)V;
            score[i] = arm_reward[arm[i]];
        }
        llm_ppo_rewards(reward, old, ref, score, &b, beta);
        llm_gae(A, ret, reward, old_value, &b, 1, .95);
        llm_whiten(A, &b, true);
        for (int epoch = 0; epoch < 2; epoch++) {
            softmax(p, z, ARMS);
            for (int i = 0; i < S; i++) logp[i] = (llm_real)log(p[arm[i]]), value[i] = (llm_real)V;
            llm_loss_ppo(g, logp, old, A, &b, S, .2, NULL);
            descend(z, p, g, arm, S, rate);
            llm_loss_value(g, value, old_value, ret, &b, S, .5, .2);
            for (int i = 0; i < S; i++) V -= (double)g[i];
        }
    }
    softmax(p, z, ARMS);
}
/* DPO on every pair, preferred as Bradley-Terry says: no reward, no sampling, the same optimum. */
static void bandit_dpo(double *p, double beta) {
    double z[ARMS], Q[ARMS], count[2] = {1, 1};
    memcpy(z, arm_ref, sizeof z);
    softmax(Q, arm_ref, ARMS);
    for (int step = 0; step < 4000; step++) {
        double dlogp[ARMS] = {0};
        softmax(p, z, ARMS);
        for (int a = 0; a < ARMS; a++)
            for (int c = 0; c < ARMS; c++) {
                if (a == c) continue;
                double sum[2] = {log(p[a]), log(p[c])}, ref[2] = {log(Q[a]), log(Q[c])}, g[2];
                llm_loss_dpo(g, sum, ref, count, 1, (llm_dpo){LLM_DPO, beta, 0, 0}, 1, NULL);
                dlogp[a] += logistic(arm_reward[a] - arm_reward[c]) * g[0];
                dlogp[c] += logistic(arm_reward[a] - arm_reward[c]) * g[1];
            }
        for (int a = 0; a < ARMS; a++)
            for (int j = 0; j < ARMS; j++) z[j] -= dlogp[a] * ((a == j) - p[j]);
    }
    softmax(p, z, ARMS);
}
static void test_bandits(void) {
    double want[ARMS], p[ARMS], Q[ARMS];
    softmax(Q, arm_ref, ARMS);
    optimum(want, .4);
    CHECK(distance(Q, want) > .3, "the optimum is far from the start: %g", distance(Q, want));
    bandit_exact(p, .4, 0);
    printf("bandits, distance to pi*: PPO exact %.2g", distance(p, want));
    CHECK_SMALL(distance(p, want), IS_DOUBLE ? 1e-9 : 1e-5, "PPO reaches pi* ~ pi_ref exp(R / beta)");
    bandit_sampled(p, .4);
    printf(", PPO sampled %.2g", distance(p, want));
    CHECK_SMALL(distance(p, want), 1e-3, "and from samples nearly");
    bandit_exact(p, .4, 2);
    printf(", KL in the loss: k2 %.2g", distance(p, want));
    CHECK_SMALL(distance(p, want), IS_DOUBLE ? 1e-9 : 1e-5, "k2 in the loss has the same optimum");
    bandit_exact(p, .4, 3);
    printf(" k3 %.2g", distance(p, want));
    CHECK(distance(p, want) > .01, "k3 in the loss has another: %g", distance(p, want));
    bandit_exact(p, 0, 0);
    CHECK(p[2] > .99, "without the KL fine everything goes to the best arm: %g", p[2]);
    bandit_dpo(p, .4);
    printf(", DPO %.2g\n", distance(p, want));
    CHECK_SMALL(distance(p, want), 1e-9, "DPO reaches PPO's optimum");
}

/* ---- the arena ---- */

static void test_arena(void) {
    double R[3] = {1000, 1000, 1200};
    llm_game one[1] = {{0, 1, 1, 0}}, upset[1] = {{0, 2, 1, 0}};
    llm_elo(R, one, 1, 4);
    CHECK(R[0] == 1002 && R[1] == 998, "equals: the winner takes half of K");
    R[0] = 1000;
    llm_elo(R, upset, 1, 4);
    near_to("a surprise pays K (1 - 1/(1 + 10^.5))", R[0], 1000 + 4 * (1 - 1 / (1 + pow(10, .5))), 1e-12);
    near_to("what one wins the other loses", R[0] + R[2], 2200, 1e-9);

    /* Two players, 400 prompts, 240 won, 100 lost, 60 ties: the odds have a closed form, the interval is a mean's. */
    enum { G = 400 };
    static llm_game game[3 * G];
    for (int i = 0; i < G; i++) game[i] = (llm_game){1, 0, i < 240 ? 1 : i < 340 ? 0 : .5, i};
    double rating[3], low[3], high[3];
    llm_rng r = llm_rng_seed(12, 0);
    llm_bradley_terry(rating, low, high, 2, 0, game, G, 1000, &r);
    near_to("the anchor", rating[0], 1000, 0);
    near_to("log odds", rating[1], 1000 + 400 * log10(270.005 / 130.005), 1e-6);
    CHECK(low[0] == 1000 && high[0] == 1000, "the anchor has no interval");
    /* outcome: mean .675, variance (240 + 15)/400 - .675^2 = .1819; d(rating)/d(mean) = 400/(ln 10 .675 .325) */
    double half = 1.96 * sqrt(.1819 / G) * 400 / (log(10) * .675 * .325);
    CHECK(fabs((high[1] - low[1]) / 2 / half - 1) < .12, "interval %g, theory %g", (high[1] - low[1]) / 2, half);
    CHECK(low[1] < rating[1] && rating[1] < high[1], "the rating lies inside");
    /* Three players who meet in circles: fractional outcomes that follow known ratings are fitted back. */
    const double known[3] = {1000, 1120, 870};
    int n = 0;
    for (int i = 0; i < G; i++)
        for (int a = 0; a < 3; a++) {
            int b = (a + 1) % 3;
            game[n++] = (llm_game){a, b, 1 / (1 + pow(10, (known[b] - known[a]) / 400)), i};
        }
    llm_bradley_terry(rating, NULL, NULL, 3, 0, game, n, 0, NULL);
    for (int i = 0; i < 3; i++) near_to("known ratings", rating[i], known[i], .02);
    llm_bradley_terry(rating, NULL, NULL, 3, 1, game, n, 0, NULL);
    for (int i = 0; i < 3; i++) near_to("another anchor", rating[i], known[i] - 120, .02);
    for (int i = 0; i < G; i++) game[i] = (llm_game){0, 1, 1, i};
    llm_bradley_terry(rating, NULL, NULL, 3, 0, game, G, 0, NULL);
    CHECK(isfinite(rating[1]) && rating[1] < 0, "never won: %g", rating[1]);
    CHECK(isfinite(rating[2]), "never played: %g", rating[2]);
    CHECK_DIES(llm_bradley_terry(rating, NULL, NULL, 3, 3, game, G, 0, NULL), "anchor 3");
}

int main(void) {
    test_checker();
    test_rows();
    test_ce();
    test_reward_model();
    test_rollout();
    test_ppo();
    test_value();
    test_kl();
    test_grpo();
    test_dpo();
    test_kto();
    test_rrhf();
    test_bandits();
    test_arena();
    return checks_done();
}
