/* arena.h: ratings from games between models. Included after llm.h; used by tools/eval. */
#ifndef ARENA_H
#define ARENA_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Arena: ratings from games; outcome of a: 1 won, 0.5 tie, 0 lost. Elo goes through the games in order; Bradley-Terry
   fits them all at once, ratings[anchor] = 1000, with 95% intervals [low, high] from resampling whole prompts
   (resamples 0: none, may be NULL). */
typedef struct { int a, b; double outcome; int prompt; } llm_game;
static inline void llm_elo(double *rating, const llm_game *game, int games, double k);
static inline void llm_bradley_terry(double *rating, double *low, double *high, int players, int anchor,
                                     const llm_game *game, int games, int resamples, llm_rng *rng);

/* ---- the arena (lecture 2: "Chat arena, ELO rating. Blind!") ----

   The reward model's formula once more, between models: P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400)). */

static inline void llm_elo(double *rating, const llm_game *game, int games, double k) {
    for (int i = 0; i < games; i++) {
        double *a = &rating[game[i].a], *b = &rating[game[i].b];
        double change = k * (game[i].outcome - 1 / (1 + pow(10, (*b - *a) / 400)));
        *a += change;
        *b -= change;
    }
}

/* Elo depends on the order of the games, the likeliest ratings do not. Hunter 2004: with p = 10^(R/400), repeat

       p_i = (wins of i) / (sum over j of games_ij / (p_i + p_j))

   until nothing moves; it never overshoots. A hundredth of a tie between any two keeps who always wins finite. */
static inline void bradley_terry_fit(double *rating, const double *wins, int n, int anchor, double *p) {
    for (int i = 0; i < n; i++) p[i] = 1;
    double moved = 1;
    for (int round = 0; round < 20000 && moved > 1e-10; round++) {
        moved = 0;
        for (int i = 0; i < n; i++) {
            double won = 0, expected = 0;
            for (int j = 0; j < n; j++) {
                if (j == i) continue;
                won += wins[i * n + j] + 0.005;
                expected += (wins[i * n + j] + wins[j * n + i] + 0.01) / (p[i] + p[j]);
            }
            double fresh = expected > 0 ? won / expected : 1;
            moved = fmax(moved, fabs(log(fresh / p[i])));
            p[i] = fresh;
        }
    }
    for (int i = 0; i < n; i++) rating[i] = 1000 + 400 * log10(p[i] / p[anchor]);
}
static inline int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
/* Intervals: play again with prompts drawn with replacement. Prompts, not games: the games of one prompt are alike. */
static inline void llm_bradley_terry(double *rating, double *low, double *high, int players, int anchor,
                                     const llm_game *game, int games, int resamples, llm_rng *rng) {
    if (anchor < 0 || anchor >= players) llm_die("a player's number", "anchor %d of %d players", anchor, players);
    size_t n = (size_t)players, draws = (size_t)llm_max(resamples, 0);
    int prompts = 1;
    for (int i = 0; i < games; i++) prompts = llm_max(prompts, game[i].prompt + 1);
    double *wins = llm_alloc(llm_mul(n, n), sizeof *wins), *p = llm_alloc(n, sizeof *p);
    double *drawn = llm_alloc(llm_mul(n, draws), sizeof *drawn), *fit = llm_alloc(n, sizeof *fit);
    int *times = llm_alloc((size_t)prompts, sizeof *times);
    for (size_t s = 0; s <= draws; s++) {               /* the last round is the real tournament */
        for (int i = 0; i < prompts; i++) times[i] = s == draws;
        for (int i = 0; i < prompts && s < draws; i++) times[llm_rng_below(rng, prompts)]++;
        memset(wins, 0, n * n * sizeof *wins);
        for (int i = 0; i < games; i++) {
            wins[(size_t)game[i].a * n + (size_t)game[i].b] += times[game[i].prompt] * game[i].outcome;
            wins[(size_t)game[i].b * n + (size_t)game[i].a] += times[game[i].prompt] * (1 - game[i].outcome);
        }
        bradley_terry_fit(s < draws ? fit : rating, wins, players, anchor, p);
        for (size_t i = 0; i < n && s < draws; i++) drawn[i * draws + s] = fit[i];
    }
    for (size_t i = 0; i < n && draws > 0; i++) {
        qsort(drawn + i * draws, draws, sizeof *drawn, by_size);
        low[i] = drawn[i * draws + (size_t)(0.025 * (double)(draws - 1) + 0.5)];
        high[i] = drawn[i * draws + (size_t)(0.975 * (double)(draws - 1) + 0.5)];
    }
    llm_release(wins);
    llm_release(p);
    llm_release(drawn);
    llm_release(fit);
    llm_release(times);
}
#endif
