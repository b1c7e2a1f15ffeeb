/* test_loss_fixtures.c: the losses of chapter 9, values and gradients, against trl's trainers and PyTorch's autograd
   in float64 (test/gen/losses.py wrote test/data/losses and says what each case is). Places that no loss may read are
   NaN. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "check.h"

#define TOLERANCE (sizeof(llm_real) == 8 ? 1e-12 : 2e-6)
enum { MOST = 64 };                             /* numbers in a row of the fixtures, at most 7 x 8 */

/* The case at hand, and the largest error of each loss so far. */
typedef struct { char name[24]; int trl, torch; double worst; } family;
typedef struct {
    const llm_json *json;
    llm_batch b;
    llm_real weight[MOST + 1];
    int n;                                      /* B*T */
    family *family;
} fixture;
static family families[16];

static double number(const fixture *f, const char *key) {
    const llm_json *v = llm_json_get(f->json, key);
    CHECK(v && v->type == LLM_JSON_NUMBER, "%s: no number \"%s\"", f->family->name, key);
    return v ? v->number : NAN;
}
static bool is(const fixture *f, const char *key, const char *text) {
    return !strcmp(llm_json_text(f->json, key, ""), text);
}

/* An array of the case; returns how many numbers. null: NaN. */
static int doubles(const fixture *f, const char *key, double x[MOST]) {
    const llm_json *v = llm_json_get(f->json, key), *c = v ? v->child : NULL;
    int n = 0;
    for (; c && n < MOST * 2; c = c->next) x[n++] = c->type == LLM_JSON_NULL ? NAN : c->number;
    CHECK(n > 0, "%s: no array \"%s\"", f->family->name, key);
    return n;
}
static void reals(const fixture *f, const char *key, llm_real *x) {
    double wide[2 * MOST];
    int n = doubles(f, key, wide);
    CHECK(n == f->n, "%s: \"%s\" has %d numbers", f->family->name, key, n);
    for (int i = 0; i < n; i++) x[i] = (llm_real)wide[i];
}
/* got[i] against the case's array (or number, n = 1); a masked place must be 0. */
static void compare(const fixture *f, const char *key, const double *got, int n) {
    double want[2 * MOST], worst = 0;
    const llm_json *v = llm_json_get(f->json, key);
    int have = 1;
    if (v && v->type == LLM_JSON_NUMBER) want[0] = v->number;
    else have = doubles(f, key, want);
    CHECK(have == n, "%s: \"%s\" has %d numbers, not %d", f->family->name, key, have, n);
    for (int i = 0; i < n && i < have; i++) {
        if (isnan(want[i])) want[i] = 0;
        double e = fabs(got[i] - want[i]) / fmax(1, fabs(want[i]));
        worst = worse(worst, e);
    }
    CHECK_SMALL(worst, TOLERANCE, "%s (line %d of its file): \"%s\" is off", f->family->name, f->json->line, key);
    f->family->worst = worse(f->family->worst, worst);
}
static void compare_value(const fixture *f, double got) { compare(f, "value", &got, 1); }
static void compare_reals(const fixture *f, const char *key, const llm_real *got) {
    double wide[MOST];
    for (int i = 0; i < f->n; i++) wide[i] = (double)got[i];
    compare(f, key, wide, f->n);
}

/* ---- one function per loss ---- */

static void pair_case(const fixture *f) {
    double r[2 * MOST], margin[2 * MOST], dr[2 * MOST];
    int n = doubles(f, "scores", r);
    const llm_json *m = llm_json_get(f->json, "margin");
    bool has_margin = m && m->type == LLM_JSON_ARRAY && doubles(f, "margin", margin) == n / 2;
    double centre = number(f, "centre"), total = number(f, "total");
    compare_value(f, llm_loss_pair(dr, r, has_margin ? margin : NULL, n / 2, centre, total, NULL));
    compare(f, "grad", dr, n);
}
static void ranking_case(const fixture *f) {
    double r[2 * MOST], order[2 * MOST], dr[2 * MOST], total = number(f, "total");
    int rank[MOST], K = doubles(f, "scores", r);
    doubles(f, "rank", order);
    for (int i = 0; i < K; i++) rank[i] = (int)order[i];
    compare_value(f, is(f, "loss", "kwise") ? llm_loss_kwise(dr, r, rank, K, total, NULL)
                                            : llm_loss_plackett_luce(dr, r, rank, K, total));
    compare(f, "grad", dr, K);
}
static void ppo_case(const fixture *f) {
    llm_real logp[MOST], old[MOST], advantage[MOST], g[MOST];
    reals(f, "logp", logp), reals(f, "old", old), reals(f, "advantage", advantage);
    compare_value(f, llm_loss_ppo(g, logp, old, advantage, &f->b, number(f, "total"), number(f, "clip"), NULL));
    compare_reals(f, "grad", g);
}
static void value_case(const fixture *f) {
    llm_real V[MOST], old[MOST], ret[MOST], g[MOST];
    reals(f, "values", V), reals(f, "old", old), reals(f, "ret", ret);
    double total = number(f, "total"), coefficient = number(f, "coefficient");
    compare_value(f, llm_loss_value(g, V, old, ret, &f->b, total, coefficient, number(f, "clip")));
    compare_reals(f, "grad", g);
}
static void entropy_case(const fixture *f) {
    llm_real H[MOST], g[MOST];
    reals(f, "entropy", H);
    compare_value(f, llm_loss_entropy(g, H, &f->b, number(f, "total"), number(f, "coefficient")));
    compare_reals(f, "grad", g);
}
static void rollout_case(const fixture *f) {
    llm_real old[MOST], ref[MOST], V[MOST], reward[MOST], advantage[MOST], ret[MOST], white[MOST];
    double score[2 * MOST];
    reals(f, "old", old), reals(f, "ref", ref), reals(f, "values", V);
    doubles(f, "score", score);
    compare_value(f, llm_ppo_rewards(reward, old, ref, score, &f->b, number(f, "beta")));
    llm_gae(advantage, ret, reward, V, &f->b, number(f, "gamma"), number(f, "lambda"));
    compare_reals(f, "reward", reward);
    compare_reals(f, "advantage", advantage);
    compare_reals(f, "ret", ret);
    for (int scaled = 0; scaled < 2; scaled++) {        /* the places that whitening must not touch hold 0 already */
        memcpy(white, advantage, sizeof white);
        llm_whiten(white, &f->b, !scaled);
        compare_reals(f, scaled ? "scaled" : "white", white);
    }
}
static void kl_case(const fixture *f) {
    double d[2 * MOST], value[MOST], slope[MOST];
    int n = doubles(f, "d", d);
    for (int i = 0; i < n; i++) value[i] = llm_kl((int)number(f, "k"), d[i], &slope[i]);
    compare(f, "values", value, n);
    compare(f, "grad", slope, n);
}
static void advantages_case(const fixture *f) {
    static const char *const kind[] = {"norm", "mean", "rloo"};         /* in the order of llm_group */
    double R[2 * MOST], A[MOST];
    int n = doubles(f, "reward", R);
    for (int k = 0; k < 3; k++) {
        llm_group_advantages(A, R, n, (int)number(f, "group"), (llm_group)k);
        compare(f, kind[k], A, n);
    }
}
static void grpo_case(const fixture *f) {
    llm_real logp[MOST], old[MOST], ref[MOST], g[MOST];
    double A[2 * MOST];
    llm_grpo o = {.clip_low = number(f, "low"), .clip_high = number(f, "high"), .beta = number(f, "beta"),
                  .kl = (int)number(f, "kl"), .rows = number(f, "rows"), .tokens = number(f, "tokens"),
                  .longest = number(f, "longest"),
                  .norm = is(f, "per", "row") ? LLM_PER_ROW : is(f, "per", "token") ? LLM_PER_TOKEN : LLM_PER_LONGEST};
    reals(f, "logp", logp), reals(f, "old", old), reals(f, "ref", ref);
    doubles(f, "advantage", A);
    compare_value(f, llm_loss_grpo(g, logp, old, ref, A, &f->b, &o, NULL));
    compare_reals(f, "grad", g);
}

/* The losses by row start from tokens here: sums forth, spread back. */
typedef struct { llm_real logp[MOST], ref[MOST]; double sum[8], ref_sum[8], count[8], dsum[8]; } sums;
static void take_sums(const fixture *f, sums *s, bool reference) {
    reals(f, "logp", s->logp);
    llm_row_sums(s->sum, s->count, s->logp, &f->b);
    if (!reference) return;
    reals(f, "ref", s->ref);
    llm_row_sums(s->ref_sum, NULL, s->ref, &f->b);
}
static void compare_spread(const fixture *f, const sums *s) {
    llm_real g[MOST];
    llm_row_spread(g, s->dsum, &f->b);
    compare_reals(f, "grad", g);
}
static void dpo_case(const fixture *f) {
    static const char *const kind[] = {"dpo", "cdpo", "robust", "ipo"};         /* in the order of llm_dpo_kind */
    llm_dpo o = {.beta = number(f, "beta"), .flip = number(f, "flip"), .sft = number(f, "sft")};
    sums s;
    int k = 0;
    while (k < 4 && !is(f, "kind", kind[k])) k++;
    CHECK(k < 4, "an unknown kind of DPO");
    o.kind = (llm_dpo_kind)k;
    take_sums(f, &s, true);
    compare_value(f, llm_loss_dpo(s.dsum, s.sum, s.ref_sum, s.count, f->b.B / 2, o, number(f, "total"), NULL));
    compare_spread(f, &s);
}
static void kto_case(const fixture *f) {
    double wrong[2 * MOST], wrong_ref[2 * MOST], label[2 * MOST];
    bool good[8];
    sums s;
    int n = doubles(f, "good", label);
    for (int i = 0; i < n; i++) good[i] = label[i] != 0;
    take_sums(f, &s, true);
    doubles(f, "wrong", wrong), doubles(f, "wrong_ref", wrong_ref);
    double z0 = llm_kto_z0(wrong, wrong_ref, n);
    compare(f, "z0", &z0, 1);
    llm_kto o = {number(f, "beta"), z0, number(f, "w_good"), number(f, "w_bad")};
    compare_value(f, llm_loss_kto(s.dsum, s.sum, s.ref_sum, good, n, o, number(f, "total")));
    compare_spread(f, &s);
}
static void rrhf_case(const fixture *f) {
    double reward[2 * MOST];
    sums s;
    int n = doubles(f, "reward", reward);
    take_sums(f, &s, false);
    compare_value(f, llm_loss_rrhf(s.dsum, s.sum, s.count, reward, n, number(f, "sft"), number(f, "total")));
    compare_spread(f, &s);
}

/* ---- all of them ---- */

static family *family_of(const char *name) {
    family *x = families;
    while (x->name[0] && strcmp(x->name, name)) x++;
    snprintf(x->name, sizeof x->name, "%s", name);
    return x;
}
static void run_case(const llm_json *json) {
    static const struct { const char *name; void (*run)(const fixture *); } known[] = {
        {"pair", pair_case}, {"kwise", ranking_case}, {"plackett-luce", ranking_case}, {"ppo", ppo_case},
        {"value", value_case}, {"entropy", entropy_case}, {"rollout", rollout_case}, {"kl", kl_case},
        {"advantages", advantages_case}, {"grpo", grpo_case}, {"dpo", dpo_case}, {"kto", kto_case},
        {"rrhf", rrhf_case}};
    const char *name = llm_json_text(json, "loss", "(none)");
    fixture f = {.json = json, .family = family_of(name)};
    int kind = 0, count = sizeof known / sizeof *known;
    while (kind < count && strcmp(known[kind].name, name)) kind++;
    CHECK(kind < count, "no test for the loss \"%s\"", name);
    if (kind == count) return;
    f.family->trl += is(&f, "oracle", "trl");
    f.family->torch += is(&f, "oracle", "torch");
    if (llm_json_get(json, "weight")) {
        f.b = (llm_batch){.B = (int)number(&f, "B"), .T = (int)number(&f, "T")};
        f.n = f.b.B * f.b.T;
        CHECK(f.n <= MOST, "%s: %d places", name, f.n);
        reals(&f, "weight", f.weight);
    }
    f.b.weight = f.weight;
    known[kind].run(&f);
}
int main(void) {
    static const char *const file[] = {"scores", "policy", "preferences"};
    for (int i = 0; i < 3; i++) {
        char *path = llm_format("test/data/losses/%s.json", file[i]);
        llm_json *root = llm_json_file(path);
        for (const llm_json *c = root->child; c; c = c->next) run_case(c);
        llm_json_free(root);
        llm_release(path);
    }
    for (const family *x = families; x->name[0]; x++)
        printf("%-14s %2d cases by trl, %2d by torch: largest error %.1e\n", x->name, x->trl, x->torch, x->worst);
    return checks_done();
}
