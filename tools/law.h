/* law.h: a scaling law, fitted. The loss of a model of N parameters that has read D tokens, as Chinchilla's authors
   write it (Hoffmann et al. 2022):

       L(N,D) = E + A / N^a + B / D^b

   E is the entropy of the text, which no model gets below; A / N^a is missed for want of parameters, B / D^b for want
   of tokens. Of real text nobody knows E: it is fitted like the others. The tiny world's is known, so both can be
   tried.

   The fit makes the sum over the points of ((L - L(N,D)) / L)^2 smallest. Whoever knows a and b has three numbers left,
   E, A, B >= 0, in which the law is linear: least squares. So only the plane of (a,b) is searched, by a grid that is
   laid anew, finer, around its best place. Included after llm.h. */
#ifndef LAW_H
#define LAW_H

#include <math.h>
#include <stdlib.h>

typedef struct { double N, D, loss; } law_point;
typedef struct {
    double E, A, a, B, b;
    double miss;                        /* root of the mean square of (L - L(N,D)) / L over its points */
} law;
enum { LAW_POINTS = 64 };               /* at most so many */

static inline double law_loss(const law *l, double N, double D) {
    return l->E + l->A * pow(N, -l->a) + l->B * pow(D, -l->b);
}
/* Of all N and D with C = 6 N D the best: there dL/dN = 0, so a A / N^a = b B / D^b, and with D = C / (6 N)

       N = (a A / (b B))^(1/(a+b)) (C / 6)^(b/(a+b)) */
static inline void law_optimum(const law *l, double C, double *N, double *D) {
    *N = pow(l->a * l->A / (l->b * l->B), 1 / (l->a + l->b)) * pow(C / 6, l->b / (l->a + l->b));
    *D = C / 6 / *N;
}

/* Least squares: x (k) with M x = v (k,k), by Gauss' elimination; false: the columns say the same. */
static inline bool law_solve(double M[3][3], double v[3], double x[3], int k) {
    for (int i = 0; i < k; i++) {
        if (!(M[i][i] > 1e-12)) return false;
        for (int r = i + 1; r < k; r++) {
            const double f = M[r][i] / M[i][i];
            for (int c = i; c < k; c++) M[r][c] -= f * M[i][c];
            v[r] -= f * v[i];
        }
    }
    for (int i = k; i-- > 0;) {
        x[i] = v[i];
        for (int c = i + 1; c < k; c++) x[i] -= M[i][c] * x[c];
        x[i] /= M[i][i];
    }
    return true;
}
/* E, A and B for given a and b: columns u[i] = (1, N^-a, D^-b) / L, to become 1. None may be negative: of all choices
   of columns whose least squares have no negative number, the best. known: E is not asked for. Returns the sum of
   squares. */
static inline double law_linear(const law_point *p, int n, law *l, bool known, double N0, double D0) {
    double u[LAW_POINTS][3], left[LAW_POINTS], best = HUGE_VAL;
    for (int i = 0; i < n; i++) {
        u[i][0] = 1 / p[i].loss;
        u[i][1] = pow(p[i].N / N0, -l->a) / p[i].loss;
        u[i][2] = pow(p[i].D / D0, -l->b) / p[i].loss;
        left[i] = 1 - (known ? l->E * u[i][0] : 0);
    }
    const double E = l->E;
    for (int mask = 7; mask > 0; mask--) {              /* all three first: mostly that is it */
        double M[3][3] = {{0}}, v[3] = {0}, x[3], whole[3] = {0}, sum = 0;
        int column[3], k = 0;
        if (known && (mask & 1)) continue;
        for (int c = 0; c < 3; c++) if (mask >> c & 1) column[k++] = c;
        for (int i = 0; i < n; i++)
            for (int r = 0; r < k; r++) {
                v[r] += u[i][column[r]] * left[i];
                for (int c = 0; c < k; c++) M[r][c] += u[i][column[r]] * u[i][column[c]];
            }
        if (!law_solve(M, v, x, k)) continue;
        bool good = true;
        for (int c = 0; c < k; c++) whole[column[c]] = x[c], good = good && x[c] >= 0;
        if (!good) continue;
        for (int i = 0; i < n; i++) {
            const double miss = left[i] - whole[0] * u[i][0] - whole[1] * u[i][1] - whole[2] * u[i][2];
            sum += miss * miss;
        }
        if (!(sum < best)) continue;
        best = sum;
        l->E = known ? E : whole[0];
        l->A = whole[1] * pow(N0, l->a);
        l->B = whole[2] * pow(D0, l->b);
        if (mask == (known ? 6 : 7)) break;
    }
    return best;
}
/* The law of n points. floor: E where it is known, NAN: it is to be found. */
static inline law law_fit(const law_point *p, int n, double floor) {
    enum { HALF = 6 };
    const bool known = !isnan(floor);
    double N0 = 0, D0 = 0, best = HUGE_VAL, wide = 1;
    law found = {.a = 1, .b = 1};
    for (int i = 0; i < n; i++) N0 += log(p[i].N) / n, D0 += log(p[i].D) / n;
    for (int round = 0; round < 14; round++, wide *= 0.5) {
        const law centre = found;
        for (int i = -HALF; i <= HALF; i++)
            for (int j = -HALF; j <= HALF; j++) {
                law l = {.E = known ? floor : 0, .a = centre.a + wide * i / HALF, .b = centre.b + wide * j / HALF};
                if (!(l.a >= 0.01 && l.b >= 0.01)) continue;
                const double sum = law_linear(p, n, &l, known, exp(N0), exp(D0));
                if (sum < best) best = sum, found = l;
            }
    }
    found.miss = sqrt(best / n);
    return found;
}
/* How well the law foretells: each point from the law of all others; root of the mean square of its relative error. */
static inline double law_left_out(const law_point *p, int n, double floor) {
    law_point rest[LAW_POINTS];
    double sum = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0, to = 0; k < n; k++) if (k != i) rest[to++] = p[k];
        const law l = law_fit(rest, n - 1, floor);
        const double miss = log(p[i].loss / law_loss(&l, p[i].N, p[i].D));
        sum += miss * miss;
    }
    return sqrt(sum / n);
}
static inline int law_by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
/* Where a new point of N and D will lie, 19 times of 20, if it misses the law as the old ones do: the bootstrap. Losses
   are drawn from the law times an old point's miss, the law is fitted to them, and says the new one's, which misses as
   well. A law of k free numbers comes closer to its n points than to others: the misses grow by sqrt(n / (n - k)). */
static inline void law_interval(const law_point *p, int n, double floor, double N, double D, uint64_t seed, double *low,
                                double *high) {
    enum { TIMES = 200 };
    const law l = law_fit(p, n, floor);
    const int k = isnan(floor) ? 5 : 4;
    double miss[LAW_POINTS], said[TIMES];
    law_point drawn[LAW_POINTS];
    llm_rng rng = llm_rng_seed(seed, 0);
    for (int i = 0; i < n; i++)
        miss[i] = sqrt(n / fmax(n - k, 1)) * log(p[i].loss / law_loss(&l, p[i].N, p[i].D));
    for (int t = 0; t < TIMES; t++) {
        for (int i = 0; i < n; i++) {
            drawn[i] = p[i];
            drawn[i].loss = law_loss(&l, p[i].N, p[i].D) * exp(miss[llm_rng_below(&rng, n)]);
        }
        const law again = law_fit(drawn, n, floor);
        said[t] = law_loss(&again, N, D) * exp(miss[llm_rng_below(&rng, n)]);
    }
    qsort(said, TIMES, sizeof *said, law_by_size);
    *low = said[TIMES / 40];
    *high = said[TIMES - 1 - TIMES / 40];
}
#endif
