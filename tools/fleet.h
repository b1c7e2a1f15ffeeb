/* fleet.h: what a pretraining run on many GPUs takes, from the lectures' slides on cost and infrastructure: GPU hours,
   money, broken cards, the best distance between checkpoints. Included after llm.h. */
#ifndef FLEET_H
#define FLEET_H

#include <math.h>

/* A pretraining run on many GPUs. Give mfu or days; the other is 0 and follows. price: dollars per GPU hour. */
typedef struct { double gpus, tflops, tokens, price, mfu, days, failure_rate_month, checkpoint_seconds; } llm_fleet;
typedef struct {
    double flops, gpu_hours, days, mfu, dollars;
    double broken_in_a_year;            /* fraction of cards */
    double failures_a_day, any_failure_a_day;       /* expected; probability of at least one */
    double mean_time_between, checkpoint_every;     /* seconds */
    double time_lost;                   /* fraction, for saving and redoing */
} llm_fleet_estimate;
static inline llm_fleet_estimate llm_fleet_make(const llm_config *c, const llm_fleet *f);
static inline double llm_zero_bytes(int stage, double ranks);  /* per parameter and GPU: ZeRO 0 (none), 1, 2, 3 */

/* ---- a fleet of GPUs (the lectures' slides on cost and infrastructure) ----

   Time and money are arithmetic, for two thousand GPUs as for a laptop (chapter 11 of llm.h). It explains the numbers
   of the lectures: 196 years on one A100 for Llama-2 70B, and a broken card every few hours.

       GPU hours = 6 P D / (peak FLOP/s x MFU) / 3600         MFU: model FLOPs utilisation, what is left of the peak

   6 P D, parameters times tokens, is the rule of thumb of Kaplan et al. 2020 and of the lectures; it forgets attention
   and counts the embedding, which nearly cancel in large models. Cards break independently: when a fraction f breaks
   in a month of 30 days, each has the constant hazard h = -ln(1 - f) a month. One broken card stops the whole run, so
   with G cards the mean time between failures M is 1 / (G h). A save takes S seconds; every t seconds one is made.
   Lost are S/t for saving and, per failure, half an interval to do again, t/2M; the sum is smallest at t = sqrt(2 S M)
   (Young 1974, Daly 2006). */

static inline llm_fleet_estimate llm_fleet_make(const llm_config *c, const llm_fleet *f) {
    const double month = 30 * 86400.0;
    if (!(f->gpus > 0) || !(f->tflops > 0) || !(f->tokens > 0))
        llm_die("--gpus, --gpu-tflops and --tokens above 0", "a fleet needs cards, their speed and tokens");
    if (!(f->mfu > 0) == !(f->days > 0))
        llm_die("one of the two above 0", "a fleet wants its MFU or its days, not both");
    if (!(f->mfu <= 1)) llm_die("0.4 is usual", "an MFU of %g is above 1", f->mfu);
    if (!(f->failure_rate_month >= 0 && f->failure_rate_month < 1))
        llm_die("0.08 is the lecture's", "a failure rate of %g per month is not in [0, 1)", f->failure_rate_month);
    llm_fleet_estimate e = {.flops = 6.0 * llm_parameters(c) * f->tokens};
    e.gpu_hours = f->days > 0 ? f->gpus * f->days * 24 : e.flops / (f->tflops * 1e12 * f->mfu) / 3600;
    e.days = e.gpu_hours / f->gpus / 24;
    e.mfu = e.flops / (e.gpu_hours * 3600 * f->tflops * 1e12);
    e.dollars = e.gpu_hours * f->price;
    double hazard = -log1p(-f->failure_rate_month) / month;
    e.broken_in_a_year = 1 - pow(1 - f->failure_rate_month, 12);
    e.failures_a_day = f->gpus * hazard * 86400;
    e.any_failure_a_day = -expm1(-e.failures_a_day);
    e.mean_time_between = hazard > 0 ? 1 / (f->gpus * hazard) : INFINITY;
    e.checkpoint_every = sqrt(2 * f->checkpoint_seconds * e.mean_time_between);
    e.time_lost = e.checkpoint_every > 0 && isfinite(e.checkpoint_every)
                ? f->checkpoint_seconds / e.checkpoint_every + e.checkpoint_every / (2 * e.mean_time_between) : 0;
    return e;
}

/* Mixed precision keeps 16 bytes a parameter: weight and gradient in bf16, 2 + 2, master weight and two moments in
   fp32, 12. ZeRO (Rajbhandari et al. 2020) cuts them over the ranks: stage 1 the twelve, 2 the gradients too, 3 all. */
static inline double llm_zero_bytes(int stage, double ranks) {
    if (stage < 0 || stage > 3 || !(ranks >= 1))
        llm_die("stage 0 to 3, at least one rank", "ZeRO stage %d on %g ranks", stage, ranks);
    double weight = stage >= 3 ? 2 / ranks : 2, gradient = stage >= 2 ? 2 / ranks : 2;
    return weight + gradient + (stage >= 1 ? 12 / ranks : 12);
}

#endif
