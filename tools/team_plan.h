/* team_plan.h: what each rank of a team holds, and what it sends in a step (llm.h, chapter 10): arithmetic, for a team
   that need not be there. Included after llm.h, whose interface is all it uses. */
#ifndef TEAM_PLAN_H
#define TEAM_PLAN_H

#include <math.h>

/* ranks: of all; tensors: of those that share every layer; rounds: micro-batches that a rank computes in a step. */
typedef struct { int ranks, tensors, zero; double rounds; } team_shape;

/* What a card works at, FLOP/s, and sends, bytes a second: to the data ranks, to those that share its layers. */
typedef struct { double speed, wire, layer_wire; } team_wire;

/* The model as a rank has it whose layers are shared by `tensors`: so many heads, and columns of the feed-forward. */
static inline llm_config team_config(const llm_config *c, int tensors) {
    llm_config one = *c;
    if (c->H % tensors || c->KV % tensors || c->F % tensors)
        llm_usage("a number that divides all three",
                  "--tensor-parallel %d does not divide %d heads, %d key/value heads and %d columns of the feed-forward",
                  tensors, c->H, c->KV, c->F);
    if (tensors > 1 && (c->qk_norm || c->post_norm))
        llm_usage("--tensor-parallel 1", "ranks share no layers with norms on q and k, or behind the branches");
    one.H /= tensors;
    one.KV /= tensors;
    one.F /= tensors;
    return one;
}
/* The units of chapter 10, in numbers: the embeddings, a block, the last norm with the head; and an owner's part. */
typedef struct { double all, first, block, last, each; int blocks; } team_units;
static inline team_units team_cut(const llm_config *c, int datas) {
    llm_config more = *c;
    more.L++;
    team_units u = {.all = llm_parameters(c), .blocks = c->L};
    u.block = llm_parameters(&more) - u.all;
    u.first = (double)c->C * (c->V + (c->position == LLM_LEARNED ? c->T : 0));
    u.last = u.all - u.first - c->L * u.block;
    u.each = 16 * ceil(u.all / (16.0 * datas));
    return u;
}
/* A unit of the gradients waits in a slot until it has been sent, and with ZeRO 3 a unit of the weights until it has
   been used: the embeddings and the head have a slot each, odd and even blocks one. */
static inline double team_slots(const team_units *u) { return u->first + u->last + llm_min(u->blocks, 2) * u->block; }

/* p: one rank's plan if it held all (of c: team_config's). What is split lies at its owners; n: numbers of adapters
   that learn alone, else 0: they are one unit. */
static inline void team_share(llm_plan *p, const llm_config *c, team_shape t, double n) {
    const int datas = t.ranks / t.tensors;
    const team_units u = team_cut(c, datas);
    const double real = sizeof(llm_real), slots = team_slots(&u);
    const double learns = n > 0 ? n : u.all, own = n > 0 ? n / datas : u.each;
    const double before = p->weights + p->work + p->gradients + p->moments;
    if (t.zero == 3 && p->work > 0) p->work = 2 * slots;
    if (t.zero == 3) p->weights = real * (u.each + slots);
    if (t.zero >= 1) p->moments *= own / learns, p->host *= own / learns;
    p->gradients = real * ((t.zero >= 2 ? own : learns) + (n > 0 ? n : slots));
    p->total += p->weights + p->work + p->gradients + p->moments - before;
}

/* What a rank sends in a step, in numbers. R ranks hold the same, P numbers; owner 0's part is [0, each).

       gradients of a round   ZeRO 0: 2 P (R-1)/R, the sum everywhere;  1, 2, 3: P less its own part, to the owners
       weights                ZeRO 1, 2: its own part to R-1 others, once a step
                              3: the same on each way through the model; but what a slot still holds is not sent again:
                              embeddings, head and the two blocks at the turn */
static inline double team_overlap(double begin, double end, double each) { return fmin(end, each) - fmin(begin, each); }
static inline double team_sent(const llm_config *c, team_shape t) {
    const int datas = t.ranks / t.tensors;
    const team_units u = team_cut(c, datas);
    const double R = datas, body = u.first + u.blocks * u.block, two = llm_min(u.blocks, 2) * u.block;
    const double own = fmin(u.each, u.all);
    const double up = team_overlap(u.first + two, body, u.each), down = team_overlap(u.first, body - two, u.each);
    if (t.zero == 0) return t.rounds * 2 * u.all * (R - 1) / R;
    const double weights = t.zero < 3 ? u.each : own + t.rounds * down + (t.rounds - 1) * up;
    return t.rounds * (u.all - own) + (R - 1) * weights;
}
/* The same inside a layer: two sums of (N,C) on the way forward, two on the way back, each 2 n (t-1)/t numbers. Bytes.
   again: layers whose forward pass runs twice. */
static inline double team_sent_in_layers(const llm_config *c, team_shape t, const llm_ops *op, double N, double again) {
    const double sums = 2.0 * (c->L + again) * (double)op->res_size + 2.0 * c->L * (double)op->act_size;
    return t.rounds * sums * N * c->C * 2 * (t.tensors - 1) / t.tensors;
}

/* How much faster than one: the work of a step, seconds, shared by all, and what each sends meanwhile: behind it, or
   beside it (overlapped: the longer of the two). */
static inline double team_speedup(double alone, double ranks, double sending, bool overlapped) {
    const double work = alone / ranks;
    return alone / (overlapped ? fmax(work, sending) : work + sending);
}
#endif
