/* grad_check.h: is a gradient that was written by hand right? Nudge one number, run the forward pass twice, and see
   whether the loss moves as the gradient promised. Included after llm.h. */
#ifndef GRAD_CHECK_H
#define GRAD_CHECK_H

#include <math.h>
#include <string.h>

/* Compare a hand-written gradient with finite differences (fourth-order stencil) of loss() on `count` random elements
   of x (all of them when count >= n) and along one random direction: returns max |fd - g| / max |g| over the tensor;
   |fd| itself where grad is zero everywhere; INFINITY when anything is not finite. x is host memory and is restored.
   Meant for LLM_REAL=double, where 1e-7 is a fair limit; float reaches about 1e-3. Stay away from kinks by more than
   1% of x. */
static inline double llm_grad_check(double (*loss)(void *user), void *user, llm_real *x, const llm_real *grad, size_t n,
                                    int count, llm_rng *rng);

/* ---- the gradient checker ----

   The derivative of the loss along a direction d, from four values of the loss (fourth-order central differences):

       L'(0) = (L(-2h) - 8 L(-h) + 8 L(h) - L(2h)) / 12h + O(h^4)

   Two points would leave O(h^2), which drowns an error of 1e-7. The step is a compromise: too wide and the loss is
   curved, too narrow and rounding takes over. How curved is not known beforehand, so three widths are tried and the
   best one counts: a wrong gradient agrees with none of them. */

typedef struct {
    double (*loss)(void *user);
    void *user;
    llm_real *x, *saved;                /* (n) the tensor, and what it held */
    double *sign;                       /* (n) the random direction: +1 or -1 for every element */
    size_t n;
} grad_probe;

/* The loss with element i (or all elements along the direction, when i = n) moved by s. */
static inline double grad_loss_at(const grad_probe *p, size_t i, double s) {
    if (i < p->n) p->x[i] = p->saved[i] + s;
    else for (size_t j = 0; j < p->n; j++) p->x[j] = p->saved[j] + s * p->sign[j];
    double loss = p->loss(p->user);
    if (i < p->n) p->x[i] = p->saved[i];
    else memcpy(p->x, p->saved, p->n * sizeof(llm_real));
    return loss;
}

/* The smallest distance between `slope`, the derivative by hand, and the differences. NaN never counts as small. */
static inline double grad_probe_error(const grad_probe *p, size_t i, double slope, double step, double enough) {
    double best = INFINITY;
    for (int width = 0; width < 3 && best > enough; width++, step /= 10) {
        double far = grad_loss_at(p, i, 2 * step) - grad_loss_at(p, i, -2 * step);
        double near = grad_loss_at(p, i, step) - grad_loss_at(p, i, -step);
        double error = fabs((8 * near - far) / (12 * step) - slope);
        if (error < best) best = error;
    }
    return best;
}

static inline double llm_grad_check(double (*loss)(void *user), void *user, llm_real *x, const llm_real *grad, size_t n,
                                    int count, llm_rng *rng) {
    if (n == 0) return 0;
    double largest = 0, square = 0, slope = 0, worst = 0;
    grad_probe p = {loss, user, x, llm_alloc(n, sizeof(llm_real)), llm_alloc(n, sizeof(double)), n};
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        p.saved[i] = x[i];
        p.sign[i] = llm_rng_u64(rng) & 1 ? 1 : -1;
        slope += grad[i] * p.sign[i];
        square += (double)x[i] * x[i];
        largest = fmax(largest, fabs(grad[i]));
        finite = finite && isfinite(grad[i]) && isfinite(x[i]);
    }
    /* The step follows the size of the numbers: 0.3% of their root mean square (float needs a wider one). */
    double step = fmin(1, fmax(0.05, sqrt(square / n))) * (sizeof(llm_real) == 8 ? 3e-3 : 5e-2);
    double unit = largest > 0 ? largest : 1;        /* a gradient that is zero everywhere: the error itself */
    size_t elements = count < 0 ? 0 : size_min(count, n);
    for (size_t k = 0; finite && k < elements; k++) {
        size_t i = elements == n ? k : llm_rng_u64(rng) % n;
        worst = fmax(worst, grad_probe_error(&p, i, grad[i], step, 1e-9 * unit));
    }
    if (finite) worst = fmax(worst, grad_probe_error(&p, n, slope, step, 1e-9 * unit));
    llm_release(p.saved);
    llm_release(p.sign);
    return finite ? worst / unit : INFINITY;
}

#endif
