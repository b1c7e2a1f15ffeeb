/* loss_cases.h: every loss of chapter 9 as a case, as op_cases.h has the operations: inputs, results, shapes. The
   losses stand in a table of their own, so that judge.c can put one of a student's in the place of llm.h's. */
#ifndef LOSS_CASES_H
#define LOSS_CASES_H

#include "op_cases.h"

#define LOSSES(X)                                                                                                      \
    X(llm_row_sums) X(llm_row_spread) X(llm_loss_ce_weights) X(llm_loss_ce) X(llm_loss_pair) X(llm_loss_kwise)         \
    X(llm_loss_plackett_luce) X(llm_best_of) X(llm_best_of_kl) X(llm_kl) X(llm_kl_adapt) X(llm_ppo_rewards) X(llm_gae) \
    X(llm_whiten) X(llm_loss_ppo) X(llm_loss_value) X(llm_loss_entropy) X(llm_group_advantages) X(llm_loss_grpo)       \
    X(llm_loss_dpo) X(llm_kto_z0) X(llm_kto_balance) X(llm_loss_kto) X(llm_loss_rrhf)
#define MEMBER_OF(f) __typeof__(f) *f;
#define BOOK_S(f) .f = f,
typedef struct {
    LOSSES(MEMBER_OF)
} loss_table;
static const loss_table book_losses = {LOSSES(BOOK_S)};
static const loss_table *tested_losses = &book_losses;
static const loss_table *losses(void) { return ops == &llm_plain ? &book_losses : tested_losses; }

/* ---- places and rows ---- */

static llm_batch places;                  /* of the running case: whose weight says which places count */
static llm_real *R(void *x) { return x; } /* in this build a double is an llm_real */

/* Rows of T places; some count, the last row (of more than two) has none, `none`: no place does. */
static void new_places(size_t B, size_t T, bool none) {
    llm_batch_free(&places);
    places = llm_batch_new((int)B, (int)T);
    for (size_t i = 0; i < B * T; i++) {
        const bool empty = B > 2 && i / T == B - 1;
        places.weight[i] = none || empty ? 0 : i % T > 0 && llm_rng_below(&rng, 3) ? 1 : T == 1;
    }
    if (T > 1 && !none) places.weight[T - 1] = 1;
}
static void by_place(op_case *c, const char *name) { add_in(c, name, llm_places(&places), REAL, NONE, false); }
/* What has no weight is not read: NaN stands there in input i. */
static void unread(op_case *c, int i) {
    for (size_t k = 0; k < c->in[i].n; k++)
        if (places.weight[k] == 0) c->in[i].x[k] = NAN;
}
enum { SHAPES = 5 };
static op_case place_case(const char *name, int s, void (*forward)(op_case *)) {
    static const size_t size[SHAPES][2] = {{2, 3}, {1, 1}, {3, 7}, {2, 2}, {4, 6}};
    const size_t B = size[s][0], T = size[s][1];
    const bool none = s == 3; /* a step without a single target */
    new_places(B, T, none);
    op_case c = {.B = B, .T = T, .forward = forward, .scale = none ? 0 : llm_batch_targets(&places) + 3};
    snprintf(c.name, sizeof c.name, "%s B=%zu T=%zu M=%g", name, B, T, c.scale);
    return c;
}
static void row_sums(op_case *c) { losses()->llm_row_sums(out(c, 0), out(c, 1), in(c, 0), &places); }
static void row_spread(op_case *c) { losses()->llm_row_spread(out(c, 0), in(c, 0), &places); }
static void cases_row_sums(void) {
    for (int counted = 0; counted < 2; counted++)
        for (int s = 0; s < SHAPES; s++) {
            op_case c = place_case(counted ? "llm_row_sums" : "llm_row_sums (count NULL)", s, row_sums);
            by_place(&c, "x (B,T)");
            unread(&c, 0);
            add_out(&c, "sum (B)", c.B, REAL, false);
            if (counted) add_out(&c, "count (B)", c.B, REAL, false);
            run_case(&c);
        }
}
static void cases_row_spread(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_row_spread", s, row_spread);
        add_in(&c, "dsum (B)", c.B, REAL, NONE, false);
        add_out(&c, "dx (B,T)", c.B * c.T, REAL, false);
        run_case(&c);
    }
}

/* ---- losses by token ---- */

static void ce_weights(op_case *c) { losses()->llm_loss_ce_weights(out(c, 0), &places, c->scale); }
static void ce(op_case *c) { R(out(c, 0))[0] = losses()->llm_loss_ce(in(c, 0), &places, c->scale); }
static void cases_ce_weights(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_loss_ce_weights", s, ce_weights);
        add_out(&c, "dlogp (B,T)", c.B * c.T, REAL, false);
        run_case(&c);
    }
}
static void cases_ce(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_loss_ce", s, ce);
        by_place(&c, "logp (B,T)");
        unread(&c, 0);
        add_out(&c, "loss (1)", 1, REAL, false);
        run_case(&c);
    }
}
/* Sums that a loss adds to: they begin at 1, 2, 3 ... Where the case has none: NULL. */
static void *sums(op_case *c, int k) {
    llm_real *s = out(c, k);
    for (size_t i = 0; s && i < c->out[k].n; i++)
        s[i] = (llm_real)(i + 1);
    return s;
}
static void add_loss(op_case *c, const char *gradient, size_t n) {
    add_out(c, "loss (1)", 1, REAL, false);
    add_out(c, gradient, n, REAL, false);
    c->slope = 1;
}
static void ppo(op_case *c) {
    R(out(c, 0))
    [0] = losses()->llm_loss_ppo(out(c, 1), in(c, 0), in(c, 1), in(c, 2), &places, c->scale, 0.2, sums(c, 2));
}
static void cases_ppo(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_loss_ppo", s, ppo);
        by_place(&c, "logp (B,T)"), by_place(&c, "old (B,T)"), by_place(&c, "advantage (B,T)");
        for (size_t i = 0; i < c.in[0].n; i++)
            c.in[1].x[i] = c.in[0].x[i] + (llm_real)0.3 * c.in[1].x[i];
        unread(&c, 1), unread(&c, 2);
        add_loss(&c, "dlogp (B,T)", c.B * c.T);
        if (s != 4) add_out(&c, "stats (4)", 4, REAL, false);
        run_case(&c);
    }
}
static void value_loss(op_case *c) {
    R(out(c, 0))[0] = losses()->llm_loss_value(out(c, 1), in(c, 0), in(c, 1), in(c, 2), &places, c->scale, 0.7, c->eps);
}
static void cases_value_loss(void) {
    for (int clip = 0; clip < 2; clip++)
        for (int s = 0; s < SHAPES; s++) {
            op_case c = place_case(clip ? "llm_loss_value clip=0.2" : "llm_loss_value clip=0", s, value_loss);
            c.eps = clip ? 0.2 : 0;
            by_place(&c, "value (B,T)"), by_place(&c, "old (B,T)"), by_place(&c, "ret (B,T)");
            for (size_t i = 0; i < c.in[0].n; i++)
                c.in[1].x[i] = c.in[0].x[i] + (llm_real)0.3 * c.in[1].x[i];
            unread(&c, 1), unread(&c, 2);
            add_loss(&c, "dvalue (B,T)", c.B * c.T);
            run_case(&c);
        }
}
static void entropy_loss(op_case *c) {
    R(out(c, 0))[0] = losses()->llm_loss_entropy(out(c, 1), in(c, 0), &places, c->scale, 0.3);
}
static void cases_entropy(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_loss_entropy", s, entropy_loss);
        by_place(&c, "entropy (B,T)");
        add_loss(&c, "dentropy (B,T)", c.B * c.T);
        run_case(&c);
    }
}
static void grpo(op_case *c) {
    llm_grpo o = {.clip_low = 0.2,
                  .clip_high = 0.3,
                  .beta = c->eps,
                  .kl = c->flag ? 2 : 3,
                  .norm = (llm_grpo_norm)c->O,
                  .rows = c->scale > 0 ? (double)c->B : 0,
                  .tokens = c->scale,
                  .longest = c->scale > 0 ? 9 : 0};
    R(out(c, 0))
    [0] = losses()->llm_loss_grpo(out(c, 1), in(c, 0), in(c, 1), o.beta == 0 ? NULL : in(c, 2), in(c, 3), &places, &o,
                                  sums(c, 2));
}
static void cases_grpo(void) {
    for (int norm = 0; norm < 3; norm++)
        for (int s = 0; s < SHAPES; s++) {
            op_case c = place_case("llm_loss_grpo", s, grpo);
            c.O = (size_t)norm, c.flag = s == 2, c.eps = s == 4 ? 0 : 0.1;
            snprintf(c.name + strlen(c.name), 60, " norm=%d beta=%g kl=%d", norm, c.eps, c.flag ? 2 : 3);
            by_place(&c, "logp (B,T)"), by_place(&c, "old (B,T)"), by_place(&c, "ref (B,T)");
            for (int k = 1; k < 3; k++)
                for (size_t i = 0; i < c.in[0].n; i++)
                    c.in[k].x[i] = c.in[0].x[i] + (llm_real)0.3 * c.in[k].x[i];
            unread(&c, 1), unread(&c, 2);
            add_in(&c, "advantage (B)", c.B, REAL, NONE, false);
            add_loss(&c, "dlogp (B,T)", c.B * c.T);
            if (s != 4) add_out(&c, "stats (4)", 4, REAL, false);
            run_case(&c);
        }
}

/* ---- the steps of PPO and GRPO before the loss ---- */

static void rewards(op_case *c) {
    R(out(c, 1))[0] = losses()->llm_ppo_rewards(out(c, 0), in(c, 0), in(c, 1), in(c, 2), &places, 0.15);
}
static void cases_rewards(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_ppo_rewards", s, rewards);
        by_place(&c, "old (B,T)"), by_place(&c, "ref (B,T)");
        unread(&c, 0), unread(&c, 1);
        add_in(&c, "score (B)", c.B, REAL, NONE, false);
        add_out(&c, "reward (B,T)", c.B * c.T, REAL, false);
        add_out(&c, "kl (1)", 1, REAL, false);
        run_case(&c);
    }
}
static void gae(op_case *c) { losses()->llm_gae(out(c, 0), out(c, 1), in(c, 0), in(c, 1), &places, c->eps, 0.9); }
static void cases_gae(void) {
    for (int s = 0; s < SHAPES; s++) {
        op_case c = place_case("llm_gae", s, gae);
        c.eps = s == 0 ? 1 : 0.8;
        snprintf(c.name + strlen(c.name), 60, " gamma=%g lambda=0.9", c.eps);
        by_place(&c, "reward (B,T)"), by_place(&c, "value (B,T)");
        unread(&c, 0), unread(&c, 1);
        add_out(&c, "advantage (B,T)", c.B * c.T, REAL, false);
        add_out(&c, "ret (B,T)", c.B * c.T, REAL, false);
        run_case(&c);
    }
}
static void whiten(op_case *c) {
    copy(&c->out[0], &c->in[0]);
    losses()->llm_whiten(out(c, 0), &places, c->flag);
}
static void cases_whiten(void) {
    for (int shift = 0; shift < 2; shift++)
        for (int s = 0; s < SHAPES; s++) {
            op_case c = place_case(shift ? "llm_whiten shift=1" : "llm_whiten shift=0", s, whiten);
            c.flag = shift;
            by_place(&c, "x (B,T)");
            add_out(&c, "x (B,T)", c.B * c.T, REAL, false);
            run_case(&c);
        }
}
static void group_advantages(op_case *c) {
    R(out(c, 1))[0] = losses()->llm_group_advantages(out(c, 0), in(c, 0), (int)c->N, (int)c->C, (llm_group)c->O);
}
static void cases_group(void) {
    for (size_t kind = 0; kind < 3; kind++)
        for (size_t group = 2; group < 5; group++) {
            op_case c = {.N = 3 * group, .C = group, .O = kind, .forward = group_advantages};
            snprintf(c.name, sizeof c.name, "llm_group_advantages rows=%zu group=%zu kind=%zu", c.N, group, kind);
            add_in(&c, "reward (N)", c.N, REAL, NONE, false);
            for (size_t i = 0; i < group; i++)
                c.in[0].x[group + i] = 1; /* a group that agrees */
            add_out(&c, "advantage (N)", c.N, REAL, false);
            add_out(&c, "silent (1)", 1, REAL, false);
            run_case(&c);
        }
}
static void kl(op_case *c) {
    double slope = R(out(c, 1))[0];
    R(out(c, 0))[0] = losses()->llm_kl((int)c->O, R(in(c, 0))[0], &slope);
    R(out(c, 1))[0] = slope;
}
static void cases_kl(void) {
    for (size_t k = 1; k < 4; k++)
        for (int i = 0; i < 3; i++) {
            op_case c = {.O = k, .forward = kl};
            add_in(&c, "d (1)", 1, REAL, NONE, false);
            if (i == 2) c.in[0].x[0] = 0;
            snprintf(c.name, sizeof c.name, "llm_kl k%zu d=%g", k, (double)c.in[0].x[0]);
            add_loss(&c, "slope (1)", 1);
            run_case(&c);
        }
}
static void kl_adapt(op_case *c) {
    llm_kl_control k = {R(in(c, 0))[0], R(in(c, 0))[1], R(in(c, 0))[2]};
    losses()->llm_kl_adapt(&k, R(in(c, 0))[3], R(in(c, 0))[4]);
    R(out(c, 0))[0] = k.beta, R(out(c, 0))[1] = k.target, R(out(c, 0))[2] = k.horizon;
}
static void cases_kl_adapt(void) {
    static const double in[3][5] = {{0.1, 6, 1000, 6.5, 64}, {0.2, 6, 1000, 60, 128}, {0.3, 6, 1000, 0, 100}};
    for (int i = 0; i < 3; i++) {
        op_case c = {.forward = kl_adapt};
        snprintf(c.name, sizeof c.name, "llm_kl_adapt beta=%g target=%g horizon=%g kl=%g rows=%g", in[i][0], in[i][1],
                 in[i][2], in[i][3], in[i][4]);
        add_in(&c, "in (5)", 5, REAL, NONE, false);
        for (int k = 0; k < 5; k++)
            c.in[0].x[k] = (llm_real)in[i][k];
        add_out(&c, "control (3)", 3, REAL, false);
        run_case(&c);
    }
}

/* ---- losses by answer ---- */

static void pair(op_case *c) {
    R(out(c, 0))
    [0] = losses()->llm_loss_pair(out(c, 1), in(c, 0), in(c, 1), (int)c->N / 2, c->eps, c->scale, sums(c, 2));
}
static void cases_pair(void) {
    for (int i = 0; i < 4; i++) {
        op_case c = {.N = i == 1 ? 2 : 6,
                     .eps = i < 2 ? 0 : 0.01,
                     .scale = i == 3   ? 0
                              : i == 1 ? 1
                                       : 5,
                     .forward = pair};
        snprintf(c.name, sizeof c.name, "llm_loss_pair pairs=%zu margin=%s centre=%g total=%g", c.N / 2,
                 i < 2 ? "NULL" : "given", c.eps, c.scale);
        add_in(&c, "r (N)", c.N, REAL, NONE, false);
        if (i >= 2) add_in(&c, "margin (N)", c.N / 2, REAL, NONE, false);
        add_loss(&c, "dr (N)", c.N);
        if (i != 1) add_out(&c, "stats (5)", 5, REAL, false);
        run_case(&c);
    }
}
/* K answers to one prompt with ranks, some equal. */
static op_case ranked(const char *name, size_t K, void (*forward)(op_case *)) {
    op_case c = {.N = K, .scale = 3, .forward = forward};
    int *rank = llm_alloc(K, sizeof *rank);
    for (size_t i = 0; i < K; i++)
        rank[i] = (int)((K - i) * 2 / 3);
    snprintf(c.name, sizeof c.name, "%s K=%zu total=3", name, K);
    add_in(&c, "r (N)", K, REAL, NONE, false);
    add_ids(&c, 0, rank, K);
    add_loss(&c, "dr (N)", K);
    return c;
}
static void kwise(op_case *c) {
    R(out(c, 0))[0] = losses()->llm_loss_kwise(out(c, 1), in(c, 0), ids(c, 0), (int)c->N, c->scale, sums(c, 2));
}
static void plackett_luce(op_case *c) {
    R(out(c, 0))[0] = losses()->llm_loss_plackett_luce(out(c, 1), in(c, 0), ids(c, 0), (int)c->N, c->scale);
}
static void cases_kwise(void) {
    for (size_t K = 1; K < 7; K++) {
        op_case c = ranked("llm_loss_kwise", K, kwise);
        if (K % 2) add_out(&c, "stats (5)", 5, REAL, false);
        run_case(&c);
    }
}
static void cases_plackett_luce(void) {
    for (size_t K = 1; K < 7; K++) {
        op_case c = ranked("llm_loss_plackett_luce", K, plackett_luce);
        run_case(&c);
    }
}
static void best_of(op_case *c) { R(out(c, 0))[0] = losses()->llm_best_of(in(c, 0), (int)c->N); }
static void best_of_kl(op_case *c) { R(out(c, 0))[0] = losses()->llm_best_of_kl((int)c->N); }
static void cases_best_of(void) {
    for (size_t n = 1; n < 8; n++) {
        op_case c = {.N = n, .forward = best_of};
        snprintf(c.name, sizeof c.name, "llm_best_of n=%zu%s", n, n == 7 ? ", two are equal" : "");
        add_in(&c, "score (N)", n, REAL, NONE, false);
        if (n == 7) c.in[0].x[2] = c.in[0].x[5] = 9;
        if (n == 2) c.in[0].x[1] = c.in[0].x[0] + 1;
        add_out(&c, "best (1)", 1, REAL, false);
        run_case(&c);
    }
}
static void cases_best_of_kl(void) {
    static const size_t n[3] = {8, 1, 2};
    for (int i = 0; i < 3; i++) {
        op_case c = {.N = n[i], .forward = best_of_kl};
        snprintf(c.name, sizeof c.name, "llm_best_of_kl n=%zu", n[i]);
        add_out(&c, "kl (1)", 1, REAL, false);
        run_case(&c);
    }
}
static void dpo(op_case *c) {
    llm_dpo o = {.kind = (llm_dpo_kind)c->O, .beta = 0.3, .flip = 0.1, .sft = c->eps};
    R(out(c, 0))
    [0] = losses()->llm_loss_dpo(out(c, 1), in(c, 0), in(c, 1), in(c, 2), (int)c->N / 2, o, c->scale, sums(c, 2));
}
static void cases_dpo(void) {
    static const char *const name[] = {"DPO", "CDPO", "ROBUST", "IPO"};
    for (int i = 0; i < 12; i++) {
        op_case c = {
            .N = i < 4 ? 6 : 2, .O = (size_t)i % 4, .eps = i < 8 ? 0 : 0.2, .scale = i < 4 ? 5 : 1, .forward = dpo};
        snprintf(c.name, sizeof c.name, "llm_loss_dpo %s pairs=%zu beta=0.3 flip=0.1 sft=%g total=%g", name[c.O],
                 c.N / 2, c.eps, c.scale);
        add_in(&c, "sum (N)", c.N, REAL, NONE, false);
        add_in(&c, "ref (N)", c.N, REAL, NONE, false);
        add_in(&c, "count (N)", c.N, REAL, NONE, false);
        for (size_t k = 0; k < c.N; k++)
            c.in[2].x[k] = (llm_real)(k % 5); /* an empty answer too */
        add_loss(&c, "dsum (N)", c.N);
        if (i < 4) add_out(&c, "stats (5)", 5, REAL, false);
        run_case(&c);
    }
}
static void kto_z0(op_case *c) { R(out(c, 0))[0] = losses()->llm_kto_z0(in(c, 0), in(c, 1), (int)c->N); }
static void cases_kto_z0(void) {
    for (int i = 0; i < 4; i++) {
        op_case c = {.N = i ? 5 : 2, .forward = kto_z0};
        snprintf(c.name, sizeof c.name, "llm_kto_z0 rows=%zu, %s", c.N, i % 2 ? "below 0" : "above 0");
        add_in(&c, "mismatched (N)", c.N, REAL, NONE, false);
        add_in(&c, "ref (N)", c.N, REAL, NONE, false);
        for (size_t k = 0; k < c.N; k++)
            c.in[1].x[k] = c.in[0].x[k] + (llm_real)((i % 2 ? 1 : -1) * fabs((double)c.in[1].x[k]));
        add_out(&c, "z0 (1)", 1, REAL, false);
        run_case(&c);
    }
}
static void kto_balance(op_case *c) {
    losses()->llm_kto_balance((double *)out(c, 0), (double *)out(c, 1), R(in(c, 0))[0], R(in(c, 0))[1]);
}
static void cases_kto_balance(void) {
    static const double count[3][2] = {{10, 40}, {30, 20}, {7, 7}};
    for (int i = 0; i < 3; i++) {
        op_case c = {.forward = kto_balance};
        snprintf(c.name, sizeof c.name, "llm_kto_balance good=%g bad=%g", count[i][0], count[i][1]);
        add_in(&c, "counts (2)", 2, REAL, NONE, false);
        for (int k = 0; k < 2; k++)
            c.in[0].x[k] = (llm_real)count[i][k];
        add_out(&c, "weight_good (1)", 1, REAL, false);
        add_out(&c, "weight_bad (1)", 1, REAL, false);
        run_case(&c);
    }
}
static void kto(op_case *c) {
    bool good[16];
    for (size_t i = 0; i < c->N; i++)
        good[i] = ids(c, 0)[i];
    const llm_kto o = {.beta = 0.4, .z0 = 0.3, .weight_good = 1.25, .weight_bad = 0.8};
    R(out(c, 0))[0] = losses()->llm_loss_kto(out(c, 1), in(c, 0), in(c, 1), good, (int)c->N, o, c->scale);
}
static void cases_kto(void) {
    for (int i = 0; i < 4; i++) {
        op_case c = {.N = i < 2 ? 1 : 6, .scale = i == 3 ? 0 : 4, .forward = kto};
        snprintf(c.name, sizeof c.name, "llm_loss_kto rows=%zu total=%g", c.N, c.scale);
        add_in(&c, "sum (N)", c.N, REAL, NONE, false);
        add_in(&c, "ref (N)", c.N, REAL, NONE, false);
        int *good = llm_alloc(c.N, sizeof *good);
        for (size_t k = 0; k < c.N; k++)
            good[k] = (k + (size_t)i) % 2;
        add_ids(&c, 0, good, c.N);
        add_loss(&c, "dsum (N)", c.N);
        run_case(&c);
    }
}
static void rrhf(op_case *c) {
    R(out(c, 0))[0] = losses()->llm_loss_rrhf(out(c, 1), in(c, 0), in(c, 1), in(c, 2), (int)c->N, c->eps, c->scale);
}
static void cases_rrhf(void) {
    for (size_t K = 1; K < 7; K++) {
        op_case c = {.N = K, .eps = K == 3 ? 0 : 0.7, .scale = 3, .forward = rrhf};
        snprintf(c.name, sizeof c.name, "llm_loss_rrhf K=%zu sft=%g total=3", K, c.eps);
        add_in(&c, "sum (N)", K, REAL, NONE, false);
        add_in(&c, "count (N)", K, REAL, NONE, false);
        add_in(&c, "reward (N)", K, REAL, NONE, false);
        for (size_t i = 0; i < K; i++)
            c.in[1].x[i] = (llm_real)(i * 2 % 5), c.in[2].x[i] = (llm_real)(i * 5 % 4);
        add_loss(&c, "dsum (N)", K);
        run_case(&c);
    }
}

/* ---- learning: a small table of tensors, one a vector, one frozen, one unused ---- */

/* variant 0: plain; 1: clipped; 2: moments in 16 bits; 3: with a copy of the weights in bf16 */
static int learning_variant;

static void learning_params(op_case *c, llm_param p[5], llm_real *w, uint16_t *half) {
    const size_t size[5] = {c->N, 3, 5, 4, c->N};
    for (size_t i = 0, at = 0; i < 5; at += size[i++]) {
        p[i] = (llm_param){.offset = at,
                           .size = size[i],
                           .rows = 1,
                           .cols = (int)size[i],
                           .vector = i == 1,
                           .used = i != 3,
                           .data = w + at,
                           .grad = i == 2 ? NULL : R(in(c, 1)) + at};
        p[i].w = (llm_weight){p[i].data, LLM_TYPE_REAL, NULL, p[i].data};
        if (learning_variant == 3 && i != 1) p[i].w = (llm_weight){half + at, LLM_TYPE_BF16, NULL, p[i].data};
    }
}
static void norm_of_gradient(op_case *c) {
    llm_param p[5];
    llm_adamw_state state = {.sumsq = 77, .step = 3};
    learning_params(c, p, in(c, 0), NULL);
    ops->grad_norm(&state, p, 5);
    R(out(c, 0))[0] = (llm_real)state.sumsq;
}
/* out: the weights (variant 3: what the bf16 copy says), m, v, after two steps. */
static void adamw_steps(op_case *c) {
    const size_t n = c->in[0].n;
    const bool m16 = learning_variant == 2;
    llm_param p[5];
    llm_adamw_state state = {.step = 3};
    llm_adamw_rule rule = {.lr = 0.02,
                           .beta1 = 0.9,
                           .beta2 = 0.99,
                           .eps = 1e-6,
                           .weight_decay = 0.1,
                           .clip = learning_variant == 1 ? 1 : 0,
                           .moments16 = m16};
    llm_real *w = out(c, 0), *moment[2] = {out(c, 1), out(c, 2)};
    uint16_t *half = llm_alloc(3 * n, sizeof *half);
    memcpy(w, in(c, 0), n * sizeof *w);
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) {
            moment[k][i] = (llm_real)0.5 * R(in(c, 2 + k))[i];
            if (k) moment[k][i] *= moment[k][i];
            half[(size_t)k * n + i] = real_to_bf16(moment[k][i]);
        }
        half[2 * n + i] = real_to_bf16(w[i]);
    }
    learning_params(c, p, w, half + 2 * n);
    for (int step = 0; step < 2; step++) {
        llm_plain.grad_norm(&state, p, 5);
        ops->adamw(p, 5, m16 ? (void *)half : moment[0], m16 ? (void *)(half + n) : moment[1], rule, &state);
    }
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 2 && m16; k++)
            moment[k][i] = bf16_to_real(half[(size_t)k * n + i]);
        if (learning_variant == 3) w[i] = bf16_to_real(half[2 * n + i]);
    }
    llm_release(half);
}
static void test_learning(size_t n, int variant, bool norm) {
    static const char *const name[] = {"", ", clipped", ", moments in 16 bits", ", the bf16 copy of w"};
    op_case c = {.N = n, .forward = norm ? norm_of_gradient : adamw_steps};
    const size_t all = 2 * n + 12;
    learning_variant = variant;
    snprintf(c.name, sizeof c.name, "%s: tensors of %zu, 3 (a vector), 5 (frozen), 4 (unused), %zu numbers%s",
             norm ? "grad_norm" : "adamw, two steps", n, n, name[variant]);
    add_in(&c, "w (n)", all, REAL, NONE, false);
    add_in(&c, "g (n)", all, REAL, NONE, false);
    if (norm)
        add_out(&c, "sumsq (1)", 1, REAL, false);
    else {
        add_in(&c, "m (n)", all, REAL, NONE, false);
        add_in(&c, "v (n)", all, REAL, NONE, false);
        add_out(&c, "w (n)", all, REAL, false);
        add_out(&c, "m (n)", all, REAL, false);
        add_out(&c, "v (n)", all, REAL, false);
    }
    run_case(&c);
}
#endif
