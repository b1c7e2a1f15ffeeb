/* fleet.h: what a pretraining run on many GPUs takes, from the lectures' slides on cost and infrastructure: GPU hours,
   money, broken cards, the best distance between checkpoints. Included after llm.h. */
#ifndef FLEET_H
#define FLEET_H

#include <math.h>

/* A pretraining run on many GPUs. Give two of gpus, mfu and days; the third is 0 and follows. price: dollars per GPU
   hour; failure_rate: the chance that a GPU breaks within a day. */
typedef struct { double gpus, tflops, tokens, price, mfu, days, failure_rate, checkpoint_seconds; } llm_fleet;
typedef struct {
    double flops, gpu_hours, gpus, days, mfu, dollars;
    double broken_in_a_month, broken_in_a_year;     /* fraction of cards; 30 and 365 days */
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
   within a day, each has the constant hazard h = -ln(1 - f) a day. One broken card stops the whole run, so with G cards
   the mean time between failures M is 1 / (G h). A save takes S seconds; every t seconds one is made. Lost are S/t for
   saving and, per failure, half an interval to do again, t/2M; the sum is smallest at t = sqrt(2 S M)
   (Young 1974, Daly 2006). */

/* What breaks, and the time that it costs, of e->gpus cards. */
static inline void fleet_failures(llm_fleet_estimate *e, const llm_fleet *f) {
    const double hazard = -log1p(-f->failure_rate), saves = f->checkpoint_seconds;
    e->broken_in_a_month = -expm1(-30 * hazard);
    e->broken_in_a_year = -expm1(-365 * hazard);
    e->failures_a_day = e->gpus * hazard;
    e->any_failure_a_day = -expm1(-e->failures_a_day);
    e->mean_time_between = hazard > 0 ? 86400 / e->failures_a_day : INFINITY;
    e->checkpoint_every = sqrt(2 * saves * e->mean_time_between);
    e->time_lost = e->checkpoint_every > 0 && isfinite(e->checkpoint_every)
                 ? saves / e->checkpoint_every + e->checkpoint_every / (2 * e->mean_time_between) : 0;
}
/* So many cards that the deadline is kept although some break: the more there are, the more often that happens. */
static inline void fleet_size(llm_fleet_estimate *e, const llm_fleet *f) {
    for (double more = 1, last = 0; more > last;) {
        last = more;
        e->gpus = more;
        fleet_failures(e, f);
        more = ceil(e->gpu_hours / (24 * f->days * (1 - e->time_lost)) * (1 - 1e-12));
        if (!(e->time_lost < 1) || !(more < 1e9))
            llm_die("a longer --days, or a shorter --checkpoint-time",
                    "no number of GPUs ends within %g days: so often does one of them break", f->days);
    }
}
static inline llm_fleet_estimate llm_fleet_make(const llm_config *c, const llm_fleet *f) {
    if (!(f->gpus > 0 || (f->mfu > 0 && f->days > 0)) || !(f->tflops > 0) || !(f->tokens > 0))
        llm_die("--gpus, --gpu-tflops and --tokens above 0", "a fleet needs cards, their speed and tokens");
    if ((f->gpus > 0) + (f->mfu > 0) + (f->days > 0) != 2)
        llm_die("two of --gpus, --mfu and --days", "a fleet wants its MFU or its days, not both: one follows");
    if (!(f->mfu <= 1)) llm_die("0.4 is usual", "an MFU of %g is above 1", f->mfu);
    if (!(f->failure_rate >= 0 && f->failure_rate < 1))
        llm_die("0.00278 is the lecture's", "a failure rate of %g per day is not in [0, 1)", f->failure_rate);
    llm_fleet_estimate e = {.flops = 6.0 * llm_parameters(c) * f->tokens, .gpus = f->gpus};
    e.gpu_hours = f->mfu > 0 ? e.flops / (f->tflops * 1e12 * f->mfu) / 3600 : f->gpus * f->days * 24;
    if (!(f->gpus > 0)) fleet_size(&e, f);
    fleet_failures(&e, f);
    e.days = e.gpu_hours / e.gpus / 24;
    e.mfu = e.flops / (e.gpu_hours * 3600 * f->tflops * 1e12);
    if (!(e.mfu <= 1))
        llm_die("more --gpus, or a longer --days", "%g GPUs need %.1f days at their peak, and --days is %g", f->gpus,
                e.mfu * f->days, f->days);
    e.dollars = e.gpu_hours * f->price;
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
