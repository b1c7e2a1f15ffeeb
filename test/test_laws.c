/* test_laws.c: the fit of tools/law.h. A law that is known makes the losses; is it found again? */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/law.h"
#include "check.h"

static const law truth = {.E = 0.25, .A = 60, .a = 0.6, .B = 900, .b = 0.7};

/* Five sizes with three amounts; noise: deviation of log L. */
static int make_points(law_point *p, double noise, uint64_t seed) {
    llm_rng rng = llm_rng_seed(seed, 0);
    int n = 0;
    for (double N = 2e4; n < 15; N *= 2.1)
        for (double D = 5e5; D < 4e6; D *= 2, n++)
            p[n] = (law_point){N, D, law_loss(&truth, N, D) * exp(noise * llm_rng_normal(&rng))};
    return n;
}
static double off(double x, double right) { return fabs(x / right - 1); }

static void test_found(void) {
    law_point p[LAW_POINTS];
    const int n = make_points(p, 0, 1);
    for (int known = 0; known < 2; known++) {
        const law l = law_fit(p, n, known ? truth.E : NAN);
        CHECK_SMALL(off(l.E, truth.E), 2e-3, "E %g, known %d", l.E, known);
        CHECK_SMALL(fabs(l.a - truth.a), 5e-3, "a %g", l.a);
        CHECK_SMALL(fabs(l.b - truth.b), 5e-3, "b %g", l.b);
        CHECK_SMALL(off(law_loss(&l, 1e7, 1e8), law_loss(&truth, 1e7, 1e8)), 2e-3, "far ahead");
        CHECK_SMALL(l.miss, 1e-4, "misses %g", l.miss);
        CHECK_SMALL(law_left_out(p, n, known ? truth.E : NAN), 5e-4, "one left out");
    }
    p[0].loss *= 1.1;                   /* one that is off by a tenth: by all of it where the law has not seen it */
    CHECK(law_left_out(p, n, truth.E) > log(1.1) / sqrt(n), "one left out misses %g", law_left_out(p, n, truth.E));
    make_points(p, 0, 1);
    const law wrong = law_fit(p, n, 0.1);
    CHECK(wrong.miss > 5e-3, "a wrong entropy does not fit: misses %g", wrong.miss);
}
/* Of all N that a budget allows, no other has less loss. */
static void test_best(void) {
    for (double C = 1e10; C < 1e16; C *= 100) {
        double N, D;
        law_optimum(&truth, C, &N, &D);
        CHECK_SMALL(off(6 * N * D, C), 1e-12, "6 N D");
        for (double f = 0.9; f < 1.2; f += 0.2)
            CHECK(law_loss(&truth, N * f, D / f) > law_loss(&truth, N, D), "C %g: %g times the N is better", C, f);
    }
}
/* Real points miss the law: what it foretells lies in the interval about 19 times of 20, and twice the noise makes it
   twice as wide. */
static void test_interval(void) {
    enum { WORLDS = 12 };
    law_point p[LAW_POINTS];
    double wide[2] = {0};
    int within = 0;
    for (int i = 0; i < WORLDS; i++) {
        double low, high;
        const double noise = i % 2 ? 0.01 : 0.005;
        llm_rng rng = llm_rng_seed(7, (uint64_t)i);
        const int n = make_points(p, noise, (uint64_t)i + 1);
        const double real = law_loss(&truth, 1e6, 2e6) * exp(noise * llm_rng_normal(&rng));
        law_interval(p, n, truth.E, 1e6, 2e6, 1, &low, &high);
        wide[i % 2] += log(high / low);
        within += low <= real && real <= high;
        CHECK(law_left_out(p, n, truth.E) > noise / 3, "one left out is missed");
    }
    CHECK(within >= WORLDS - 3, "%d of %d inside the interval", within, WORLDS);
    CHECK(wide[1] / wide[0] > 1.5 && wide[1] / wide[0] < 2.7, "twice the noise: %g times as wide", wide[1] / wide[0]);
}
/* Losses that no such law has: nothing becomes negative, or no number. */
static void test_no_law(void) {
    law_point p[LAW_POINTS];
    const int n = make_points(p, 0, 1);
    for (int i = 0; i < n; i++) p[i].loss = 1 + 0.1 * log(p[i].N) + 3e5 / p[i].D;       /* larger models are worse */
    const law l = law_fit(p, n, NAN);
    CHECK(l.A == 0 && l.B > 0 && l.E > 0 && isfinite(l.miss), "E %g, A %g, B %g, misses %g", l.E, l.A, l.B, l.miss);
    for (int i = 0; i < n; i++) p[i].loss = 2;
    const law flat = law_fit(p, n, NAN);
    CHECK_SMALL(off(law_loss(&flat, 1e6, 1e6), 2), 1e-9, "all losses are equal");
}
int main(void) {
    test_found();
    test_best();
    test_interval();
    test_no_law();
    return checks_done();
}
