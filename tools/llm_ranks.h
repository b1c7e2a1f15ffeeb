/* llm_ranks.h: what a rank of a team holds, brings and sums (llm.h's chapter 10 tells why), and the engine between
   processes on CPUs, MPI.

   Included by llm.h, inside its chapter 5, where -DLLM_MPI (mpicc) or -DLLM_NCCL (llm_cuda.cuh) is told. What is made
   here is called there at a dozen places, which alone are nothing. From the top: the ranges and units of an arena; the
   weights; the gradients; the step; the doors through which tensors come and go; the team; MPI. */
#ifndef LLM_RANKS_H
#define LLM_RANKS_H

#include <signal.h>
#ifdef LLM_MPI
#include <mpi.h>
#endif

/* ---- ranges and units ----

   The arena is a row of units: embeddings, block 1, ..., block L, last norm and head. A unit's gradient is formed in a
   slot and then joins the sums; with ZeRO 3 its weights, too, are brought into a slot before they are used. Odd and
   even blocks have a slot each: one is on its way while the other is computed.

   A forward and a backward pass go through the arena unit by unit: embeddings, block 1, ..., block L, last norm and
   head. Only the unit that is computed must be whole, so it lies in a slot. ZeRO 3, block l, rank 0:

       call              before                               after
       unit_ask(l)       w0: this rank's half of the arena    slot: block l on its way from its owners
       unit_use(l)       slot: on its way                     slot: block l whole, at all ranks
       unit_open(l)      gradient slot: free                  gradient slot: block l's, of this micro-batch alone
       unit_close(l)     gradient slot: written               s0: plus all ranks' part of it that lies in our half
       llm_adamw_step    w0, s0, m0                           w0, m0 moved; what the slots hold of weights is old

   The embeddings and the last unit have slots of their own, for they are needed at both ends of a pass; odd and even
   blocks have one each, so that one is sent while the next is computed. ZeRO 0 to 2 need these slots for the gradients
   alone. For P numbers in all, U in the slots (embeddings, head and two blocks), R ranks and r rounds a step, a rank

                 holds, in numbers                               sends in a step, in numbers
       ZeRO 0    weights P    sums P + U     moments 2 P         2 r P (R-1)/R          the sum, to all
            1    weights P    sums P + U     moments 2 P/R       (r + 1) P (R-1)/R      the sum, to owners; weights
            2    weights P    sums P/R + U   moments 2 P/R       (r + 1) P (R-1)/R
            3    P/R + U      sums P/R + U   moments 2 P/R       nearly 3 r P (R-1)/R   weights twice a round

   to which come bf16 copies of the weights, or of their slots. In one round ZeRO 1 and 2 cost no word more than ZeRO 0,
   and 3 half as many again. Llama-2 70B on 64 cards: each holds 1250, 707, 436 or, with ZeRO 3, 40 GB.

   Who learns adapters (LoRA) splits their sums and moments, in one unit, and with ZeRO 3 the frozen weights below; what
   lies in fewer bits is whole at every rank. A tensor is asked for, or written, by all ranks together (param_read,
   param_upload), so a checkpoint has no trace of its ranks, and goes on with any number of them and any ZeRO. Where
   weights are split, speaking brings them once for every token: slow, but right. */

typedef struct llm_range { size_t begin, end, each; } llm_range;        /* numbers of an arena; each: of every rank */
typedef struct { size_t begin, end, at; int first, last, slot; } llm_unit;      /* numbers, place in `slots`; rows */
typedef struct llm_shares {
    int zero, units, tensors;
    llm_res *zeros; size_t zeros_N;     /* a residual stream of nothing, for ranks that share a layer */
    llm_range own;                      /* this rank's part of the arena */
    llm_unit *unit;
    size_t slots;                       /* numbers of the four slots: unit 0, the last unit, even, odd blocks */
    llm_real *grad, *data;              /* slots of gradients; of weights: ZeRO 3, else NULL */
    llm_real *sum; size_t sum_first;    /* the sums of gradients, from this number of the arena on */
    int held[4]; bool fresh[4], coming; /* the unit whose weights a slot holds, -1: none; new ones; on their way */
} llm_shares;

/* first[u]: the row of the table with which unit u begins. The arena grows until every rank has as many numbers, whole
   cache lines of 16. */
static llm_shares *shares_new(const llm_param *param, const int *first, int units, size_t *size, int zero) {
    const size_t line = 16 * (size_t)llm_team->datas, each = (*size + line - 1) / line * 16;
    *size = each * llm_team->datas;
    llm_shares *s = llm_alloc(1, sizeof *s);
    size_t room[4] = {0}, at[4] = {0};
    *s = (llm_shares){.zero = zero, .units = units, .tensors = llm_team->tensors, .held = {-1, -1, -1, -1}};
    s->own = (llm_range){llm_team->data * each, (llm_team->data + 1) * each, each};
    s->unit = llm_alloc(units, sizeof *s->unit);
    for (int u = 0; u < units; u++) {
        const size_t begin = param[first[u]].offset, end = u + 1 < units ? param[first[u + 1]].offset : *size;
        const int slot = u == 0 ? 0 : u == units - 1 ? 1 : 2 + u % 2;
        s->unit[u] = (llm_unit){begin, end, 0, first[u], first[u + 1], slot};
        room[slot] = size_max(room[slot], end - begin);
    }
    for (int i = 0; i < 4; s->slots += room[i++]) at[i] = s->slots;
    for (int u = 0; u < units; u++) s->unit[u].at = at[s->unit[u].slot];
    return s;
}
static void team_free(llm_shares *s, const llm_ops *op) {
    if (!s) return;
    device_release(op, s->grad);
    device_release(op, s->data);
    device_release(op, s->zeros);
    llm_release_all(s->unit, s);
}
static size_t own_numbers(const llm_shares *s) { return s->own.end - s->own.begin; }
/* Row i's place in the slots. */
static size_t slot_place(const llm_shares *s, const llm_param *param, int i) {
    const llm_unit *k = s->unit;
    while (i >= k->last) k++;
    return k->at + param[i].offset - k->begin;
}
/* [*from, *to) cut to data rank r's range: is anything left? */
static bool cut_to_rank(size_t each, int r, size_t *from, size_t *to) {
    *from = size_max(*from, r * each);
    *to = size_min(*to, (r + 1) * each);
    return *from < *to;
}
static bool in_slots(const llm_model *m) { return m->shares && m->shares->data; }
/* Only what walks unit by unit, layer by layer may run. */
static bool weights_split(const llm_model *m) { return in_slots(m) || (m->shares && m->shares->tensors > 1); }

/* ---- the weights ---- */

/* Units and arenas of a model; with ZeRO 3 the rank's own range and the slots. False: alone. */
static bool team_place(llm_model *m) {
    if (!llm_team) return false;
    int *first = llm_alloc(m->c.L + 3, sizeof *first);
    for (int l = 0; l < m->c.L; l++) first[l + 1] = m->layer[l].norm1.w - m->param;
    first[m->c.L + 1] = m->normf.w - m->param;
    first[m->c.L + 2] = m->params;
    llm_shares *s = m->shares = shares_new(m->param, first, m->c.L + 2, &m->size, llm_team->zero);
    llm_release(first);
    const bool split = s->zero == 3;
    const size_t numbers = split ? s->slots : m->size;
    llm_real *data = m->data = device_alloc(m->ops, split ? own_numbers(s) : m->size, sizeof *m->data, "weights");
    if (split) data = s->data = device_alloc(m->ops, numbers, sizeof *s->data, "the weights of other ranks");
    if (m->ops->precision == LLM_BF16) m->work = device_alloc(m->ops, numbers, sizeof(uint16_t), "bf16 weights");
    uint16_t *work = m->work;
    for (int i = 0; i < m->params; i++) {
        llm_param *p = &m->param[i];
        const size_t at = split ? slot_place(s, m->param, i) : p->offset;
        p->data = data + at;
        p->w = (llm_weight){p->data, LLM_TYPE_REAL, NULL, p->data};
        if (work) p->w = (llm_weight){work + at, LLM_TYPE_BF16, NULL, p->data};
        p->range = split ? &s->own : NULL;
        p->own = m->data;
        p->parts = p->cut == LLM_UNCUT ? 1 : llm_team->tensors;
    }
    return true;
}
/* Those in the slots are old. */
static bool team_weights_changed(llm_model *m) {
    if (!in_slots(m)) return false;
    for (int i = 0; i < 4; i++) m->shares->held[i] = -1;
    return true;
}
static void team_lora(llm_model *m) {   /* adapters are few: every rank has all their weights */
    llm_lora *x = m->lora;
    if (llm_team->tensors > 1) llm_usage("--tensor-parallel 1", "ranks that share a layer cannot learn adapters");
    x->shares = shares_new(x->param, (int[]){0, x->params}, 1, &x->size, llm_min(llm_team->zero, 2));
}

/* Ask for the weights of a unit, and wait for them. Between the two calls another unit is computed. */
static void unit_ask(llm_model *m, int u) {
    llm_shares *s = m->shares;
    if (!in_slots(m) || s->held[s->unit[u].slot] == u) return;
    const llm_unit *k = &s->unit[u];
    for (int r = 0; r < llm_team->datas; r++) {
        size_t from = k->begin, to = k->end;
        if (!cut_to_rank(s->own.each, r, &from, &to)) continue;
        const llm_real *own = r == llm_team->data ? m->data + (from - s->own.begin) : NULL;
        llm_team->spread(s->data + k->at + (from - k->begin), own, to - from, r);
    }
    s->held[k->slot] = u;
    s->fresh[k->slot] = s->coming = true;
}
static void unit_use(llm_model *m, int u) {
    llm_shares *s = m->shares;
    if (!in_slots(m)) return;
    const llm_unit *k = &s->unit[u];
    if (s->coming) llm_team->wait();
    if (s->fresh[k->slot] && m->work)
        m->ops->store_weights((uint16_t *)m->work + k->at, s->data + k->at, k->end - k->begin);
    s->fresh[k->slot] = s->coming = false;
}

/* ---- ranks that share a layer (tensor parallel, Shoeybi et al. 2019) ---- */

/* What one of them computes: some of the heads and feed-forward columns. */
static llm_config team_layer(llm_config c, int *parts) {
    const int n = *parts = llm_team ? llm_team->tensors : 1;
    if (c.H % n || c.KV % n || c.F % n)
        llm_usage("a number that divides all three",
                  "--tensor-parallel %d: %d heads, %d key/value heads, %d feed-forward columns", n, c.H, c.KV, c.F);
    if (n > 1 && (c.qk_norm || c.post_norm))
        llm_usage("--tensor-parallel 1", "ranks share no layers with norms on q and k, or behind the branches");
    if (n > 1 && c.family == LLM_PHI3 && c.KV != c.H)           /* q, k and v of one tensor would be groups alike */
        llm_usage("--tensor-parallel 1", "ranks share no fused q, k and v with fewer keys (%d) than heads (%d)", c.KV,
                  c.H);
    c.H /= n;
    c.KV /= n;
    c.F /= n;
    return c;
}
static bool shares_layer(const llm_model *m) { return m->shares && m->shares->tensors > 1; }
static void team_reserve(llm_model *m, size_t N) {
    llm_shares *s = m->shares;
    if (!shares_layer(m) || N <= s->zeros_N) return;
    device_release(m->ops, s->zeros);
    s->zeros = device_alloc(m->ops, N * m->c.C, m->ops->res_size, "zeros");
    s->zeros_N = N;
}
/* A layer's first rank adds residual stream and bias to its products, the others zeros; all_sum gives the total to
   all. */
static const llm_res *team_residual(const llm_model *m, const llm_res *res) {
    return shares_layer(m) && llm_team->tensor ? m->shares->zeros : res;
}
static const llm_param *team_bias(const llm_model *m, const llm_param *bias) {
    return shares_layer(m) && llm_team->tensor ? NULL : bias;
}
static void team_add(const llm_model *m, void *x, size_t N, size_t each) {
    if (!shares_layer(m)) return;
    llm_team->all_sum(x, N * m->c.C, each);
    llm_team->wait();
}

/* ---- the gradients ---- */

/* The arena of sums, and the slots. */
static llm_real *team_train(learner x, const llm_ops *op) {
    llm_shares *s = x.shares;
    const bool split = s->zero >= 2;
    s->grad = device_alloc(op, s->slots, sizeof *s->grad, "gradients on their way");
    s->sum = device_alloc(op, split ? own_numbers(s) : x.size, sizeof *s->sum, "gradients");
    s->sum_first = split ? s->own.begin : 0;
    for (int i = 0; i < x.params; i++) x.param[i].grad = s->grad + slot_place(s, x.param, i);
    return s->sum;
}
/* What the backward pass of a unit writes is its gradient of this micro-batch alone; closed, it joins the
   sums, in the order of the ranks, at its owners or (ZeRO 0) everywhere. Adapters are one unit, the first: it is open
   until the end. The wait is for what was asked before the unit was computed. */
static void unit_open(llm_model *m, int u) {
    const learner x = model_learner(m);
    if (!x.shares || (m->lora && u)) return;
    if (u == 0) llm_team->wait();       /* a backward pass begins: all slots are free again */
    for (int i = x.shares->unit[u].first; i < x.shares->unit[u].last; i++) x.param[i].used = false;
}
static void shares_sum(const llm_shares *s, const llm_unit *k, size_t from, size_t to, bool add) {
    const llm_real *part = s->grad + k->at;
    if (s->zero == 0) llm_team->sum(s->sum + from, part + (from - k->begin), to - from, -1, add);
    for (int r = 0; s->zero && r < llm_team->datas; r++) {
        size_t a = from, b = to;
        if (!cut_to_rank(s->own.each, r, &a, &b)) continue;
        llm_team->sum(r == llm_team->data ? s->sum + (a - s->sum_first) : NULL, part + (a - k->begin), b - a, r, add);
    }
}
static void unit_close(llm_model *m, int u) {
    const learner x = model_learner(m);
    if (!x.shares || (m->lora && u)) return;
    const llm_unit *k = &x.shares->unit[u];
    llm_team->wait();
    if (m->shares) m->shares->coming = false;
    for (int i = k->first, next; i < k->last; i = next) {       /* rows that were written, as long as they go alike */
        const llm_param *p = &x.param[i], *q = p;
        while (q + 1 < x.param + k->last && q[1].used == p->used && q[1].summed == p->summed) q++;
        next = q + 1 - x.param;
        if (p->used) shares_sum(x.shares, k, p->offset, q->offset + q->size, p->summed);
    }
    for (int i = k->first; i < k->last; i++) x.param[i].used = x.param[i].summed |= x.param[i].used;
}

/* ---- the step ---- */

/* Numbers of a moment's arena, and the first of them. */
static size_t team_moments(const learner *x, size_t *first) {
    *first = x->shares->zero ? x->shares->own.begin : 0;
    return x->shares->zero ? own_numbers(x->shares) : x->size;
}
static inline const llm_range *team_range(const llm_shares *s) { return s->zero ? &s->own : NULL; }
/* The table's rows as far as this rank moves them, cut to its range, or with ZeRO 0 all. */
static learner team_own_rows(const llm_model *m, learner x) {
    const llm_shares *s = x.shares;
    llm_param *own = llm_alloc(x.params, sizeof *own);
    int count = 0;
    llm_team->wait();
    for (const llm_param *p = x.param; p < x.param + x.params; p++) {
        size_t from = p->offset, to = from + p->size;
        if (s->zero && !cut_to_rank(s->own.each, llm_team->data, &from, &to)) continue;
        llm_param *q = &own[count++];
        *q = *p;
        q->offset = from;
        q->size = q->cols = to - from;
        q->rows = 1;
        q->grad = s->sum + (from - s->sum_first);
        q->data = s->data ? m->data + (from - s->own.begin) : p->data + (from - p->offset);
        if (s->data) q->w = (llm_weight){q->data, LLM_TYPE_REAL, NULL, q->data};        /* no copy but in the slots */
        else if (q->w.type == LLM_TYPE_BF16) q->w.data = (const uint16_t *)p->w.data + (from - p->offset);
    }
    x.param = own;
    x.params = count;
    return x;
}
/* Each rank knows the squares of its rows, of what is cut in layers (0) and of what is not (1). Of ZeRO 0's data ranks
   one counts, and once counts what ranks that share a layer have alike. */
static double squares(llm_adamw *o, const llm_ops *op, learner own, bool uncut) {
    int n = 0;
    llm_param *row = llm_alloc(own.params, sizeof *row);
    for (int i = 0; i < own.params; i++)
        if ((own.param[i].cut == LLM_UNCUT || own.param[i].parts == 1) == uncut) row[n++] = own.param[i];
    op->grad_norm(o->device, row, n);
    op->download(&o->state, o->device, sizeof o->state);
    llm_release(row);
    return n ? o->state.sumsq : 0;
}
static void team_norm(llm_adamw *o, const llm_ops *op, learner own) {
    if (!own.shares->zero && llm_team->tensors == 1) return;
    const int R = llm_team->size;
    double *sum = llm_alloc(2 * (size_t)R, sizeof *sum), *mine = sum + 2 * llm_team->rank, total = 0;
    if (llm_team->tensors > 1) mine[0] = squares(o, op, own, false), mine[1] = squares(o, op, own, true);
    else op->download(&o->state, o->device, sizeof o->state), mine[1] = o->state.sumsq;
    llm_team->gather(sum, 2 * sizeof *sum);
    for (int r = 0; r < (own.shares->zero ? R : llm_team->tensors); r++)
        total += sum[2 * r] + (r % llm_team->tensors ? 0 : sum[2 * r + 1]);
    o->state.sumsq = total;
    op->upload(o->device, &o->state, sizeof o->state);
    llm_release(sum);
}
/* Each has moved its range: to all, or the slots are old. */
static void team_spread(llm_model *m, const llm_shares *s) {
    llm_real *data = m->lora ? m->lora->data : m->data;
    for (int r = 0; s->zero && !s->data && r < llm_team->datas; r++)
        llm_team->spread(data + r * s->own.each, data + r * s->own.each, s->own.each, r);
    llm_team->wait();
    if (s->zero && !m->lora) llm_weights_changed(m);
}

/* ---- the doors: numbers of a row that is split, from the host and to it ---- */

/* Numbers `first` ... of this rank's row: those that lie in its range. */
static void range_upload(const llm_ops *op, const llm_param *p, void *to, const void *host, size_t first, size_t count,
                         size_t each) {
    if (!p->range) {
        op->upload((char *)to + first * each, host, count * each);
        return;
    }
    const size_t begin = p->offset + first, from = size_max(begin, p->range->begin);
    const size_t end = size_min(begin + count, p->range->end);
    if (from < end)
        op->upload((char *)p->own + (from - p->range->begin) * each, (const char *)host + (from - begin) * each,
                   (end - from) * each);
}
/* The row of part `tensor` of a layer's tensor, as its data ranks have it. */
static void range_download(const llm_ops *op, const llm_param *p, void *host, const void *from, size_t each,
                           int tensor) {
    for (int r = 0; r < (p->range ? llm_team->datas : 1); r++) {
        size_t begin = p->offset, end = begin + p->size;
        if (p->range && !cut_to_rank(p->range->each, r, &begin, &end)) continue;
        char *part = (char *)host + (begin - p->offset) * each;
        if (r == llm_team->data && tensor == llm_team->tensor) {
            const char *at = p->range ? (char *)p->own + (begin - p->range->begin) * each : from;
            op->download(part, at, (end - begin) * each);
        }
        llm_team->share(part, (end - begin) * each, r * llm_team->tensors + tensor);
    }
}
/* Walk the stretches of part `tensor` of a whole tensor: the next begins at number *full of it and *own of the part. */
static size_t stretch(const llm_param *p, int tensor, size_t i, size_t *full, size_t *own) {
    const bool rows = p->cut == LLM_CUT_ROWS;           /* rows: of every group so many; else of every row's groups */
    const size_t n = (rows ? p->size : p->cols) / p->groups, all = full_size(p) / p->groups;
    if (i * n >= p->size) return 0;
    *own = i * n;
    *full = rows ? i * all + tensor * n : i * n * p->parts + tensor * n;
    return n;
}
static void team_upload(const llm_ops *op, const llm_param *p, void *to, const void *host, size_t first, size_t count,
                        size_t each) {
    size_t full, own, n;
    if (p->parts <= 1) range_upload(op, p, to, host, first, count, each);
    for (size_t i = 0; p->parts > 1 && (n = stretch(p, llm_team->tensor, i, &full, &own)); i++) {
        const size_t from = size_max(full, first), end = size_min(full + n, first + count);
        if (from < end)
            range_upload(op, p, to, (const char *)host + (from - first) * each, own + (from - full), end - from, each);
    }
}
static void team_download(const llm_ops *op, const llm_param *p, void *host, const void *from, size_t each) {
    size_t full, own, n;
    if (p->parts <= 1) {
        range_download(op, p, host, from, each, 0);
        return;
    }
    char *part = llm_alloc(p->size, each);
    for (int t = 0; t < llm_team->tensors; t++) {
        range_download(op, p, part, from, each, t);
        for (size_t i = 0; (n = stretch(p, t, i, &full, &own)); i++)
            memcpy((char *)host + full * each, part + own * each, n * each);
    }
    llm_release(part);
}

/* ---- the team ---- */

static FILE *team_voice = NULL;         /* the true stderr of a rank that is not to be heard */
static const char *team_waits_for = NULL;               /* what it waits for the others in */

static FILE *team_stderr(void) { return team_voice ? team_voice : stderr; }

/* SIGALRM: nothing but write and _exit is allowed here. */
static void team_too_late(int signal) {
    char text[160];
    int n = snprintf(text, sizeof text, "error: rank %d of %d: the others gave no answer in %d s (%s)\n",
                     llm_team->rank, llm_team->size, llm_team->timeout, team_waits_for ? team_waits_for : "?");
    if (write(fileno(team_stderr()), text, llm_min(n, sizeof text - 1)) < 0) n = 0;
    _exit(signal ? 1 : n);
}
void llm_team_watch(const char *what) {
    team_waits_for = what;
    alarm(what ? llm_max(1, llm_team->timeout) : 0);
}
void llm_team_join(llm_ranks *r) {
    llm_team = r;
    if (r->timeout < 1) r->timeout = 600;
    signal(SIGALRM, team_too_late);
    if (r->rank == 0) return;
    const int voice = dup(STDERR_FILENO);
    team_voice = voice < 0 ? NULL : fdopen(voice, "w");
    if (!team_voice || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)) r->stop(1);
}
void llm_team_set(int zero, int tensors) {
    llm_ranks *r = llm_team;
    if (!r) return;
    if (zero < 0 || zero > 3) llm_usage("0, 1, 2 or 3", "there is no ZeRO %d", zero);
    if (tensors < 1 || r->size % tensors)
        llm_usage("a number that divides the ranks", "--tensor-parallel %d with %d ranks", tensors, r->size);
    r->zero = zero;
    r->tensors = tensors;
    r->datas = r->size / tensors;
    r->data = r->rank / tensors;
    r->tensor = r->rank % tensors;
    r->split(tensors);
}

#ifdef LLM_MPI
/* ---- the engine between processes on CPUs: MPI (mpicc, mpirun), whose memory is the device's ----

   MPI adds in an order of its own, another one for other numbers of ranks. We add ourselves, from rank 0 on: the parts
   are brought together piece by piece (scratch: one piece of every rank). For a sum that all shall have, rank r adds
   the r-th slice of a piece and gives it to all: each sends n (R-1)/R numbers twice, as the best algorithms do. */

static llm_ranks mpi_team;
static MPI_Comm mpi_data = MPI_COMM_NULL, mpi_layer = MPI_COMM_NULL;    /* rows of data ranks; who share a layer */
static char *mpi_scratch;
enum { MPI_PIECE = 1 << 20 };           /* bytes of a piece, a multiple of every number's */

static llm_real mpi_number(const void *x, size_t i, bool bf16) {
    return bf16 ? bf16_to_real(((const uint16_t *)x)[i]) : ((const llm_real *)x)[i];
}
/* out = first (NULL: nothing) + part 0 + part 1 + ..., which lie n numbers apart. */
static void mpi_add(void *out, const void *first, const void *part, int ranks, size_t n, bool bf16) {
    for (size_t i = 0; i < n; i++) {
        llm_real s = first ? mpi_number(first, i, bf16) : mpi_number(part, i, bf16);
        for (int r = first ? 0 : 1; r < ranks; r++) s += mpi_number(part, r * n + i, bf16);
        if (bf16) ((uint16_t *)out)[i] = real_to_bf16(s);
        else ((llm_real *)out)[i] = s;
    }
}
static char *mpi_room(void) {
    if (!mpi_scratch) mpi_scratch = llm_alloc(mpi_team.size, MPI_PIECE);
    return mpi_scratch;
}
static void mpi_sum_at(MPI_Comm comm, llm_real *acc, const llm_real *part, size_t n, int root, bool add) {
    int ranks, me;
    char *all = mpi_room();
    MPI_Comm_size(comm, &ranks);
    MPI_Comm_rank(comm, &me);
    for (size_t at = 0, k; at < n; at += k) {
        k = size_min(n - at, MPI_PIECE / sizeof *part);
        const int bytes = k * sizeof *part;
        MPI_Gather(part + at, bytes, MPI_BYTE, all, bytes, MPI_BYTE, root, comm);
        if (me == root) mpi_add(acc + at, add ? acc + at : NULL, all, ranks, k, false);
        else mpi_team.sent += bytes;
    }
}
static void mpi_sum_all(MPI_Comm comm, void *acc, const void *part, size_t n, bool add, size_t each) {
    int ranks, me;
    char *all = mpi_room();
    MPI_Comm_size(comm, &ranks);
    MPI_Comm_rank(comm, &me);
    int *count = llm_alloc(4 * (size_t)ranks, sizeof *count), *at = count + ranks, *mine = at + ranks,
        *there = mine + ranks;
    for (size_t done = 0, k; done < n; done += k) {
        k = size_min(n - done, size_min(MPI_PIECE / each * ranks, INT_MAX / each));
        for (int r = 0; r < ranks; r++) {               /* slice r is [k r / R, k (r+1) / R) */
            at[r] = k * r / ranks * each;
            count[r] = k * (r + 1) / ranks * each - at[r];
        }
        for (int r = 0; r < ranks; r++) mine[r] = count[me], there[r] = r * count[me];
        char *to = (char *)acc + done * each, *slice = to + at[me];
        MPI_Alltoallv((const char *)part + done * each, count, at, MPI_BYTE, all, mine, there, MPI_BYTE, comm);
        mpi_add(slice, add ? slice : NULL, all, ranks, count[me] / each, each < sizeof(llm_real));
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, to, count, at, MPI_BYTE, comm);
        mpi_team.sent += k * each - count[me] + (ranks - 1.0) * count[me];
    }
    llm_release(count);
}
static void mpi_sum(llm_real *acc, const llm_real *part, size_t n, int root, bool add) {
    llm_team_watch("a sum over the data ranks");
    if (root < 0) mpi_sum_all(mpi_data, acc, part, n, add, sizeof *part);
    else mpi_sum_at(mpi_data, acc, part, n, root, add);
    llm_team_watch(NULL);
}
static void mpi_all_sum(void *x, size_t n, size_t bytes_each) {
    llm_team_watch("a sum over the ranks of a layer");
    mpi_sum_all(mpi_layer, x, x, n, false, bytes_each);
    llm_team_watch(NULL);
}
static void mpi_bytes(MPI_Comm comm, void *x, size_t bytes, int root) {
    int ranks, me;
    MPI_Comm_size(comm, &ranks);
    MPI_Comm_rank(comm, &me);
    llm_team_watch("numbers of another rank");
    for (size_t at = 0, k; at < bytes; at += k) {
        k = size_min(bytes - at, 1 << 30);
        MPI_Bcast((char *)x + at, k, MPI_BYTE, root, comm);
    }
    if (me == root) mpi_team.sent += (ranks - 1.0) * bytes;
    llm_team_watch(NULL);
}
static void mpi_spread(llm_real *x, const llm_real *own, size_t n, int root) {
    if (mpi_team.data == root && own != x) memcpy(x, own, n * sizeof *x);
    mpi_bytes(mpi_data, x, n * sizeof *x, root);
}
static void mpi_share(void *x, size_t bytes, int root) { mpi_bytes(MPI_COMM_WORLD, x, bytes, root); }
static void mpi_gather(void *all, size_t bytes_each) {
    if (bytes_each > INT_MAX) llm_die(NULL, "%zu bytes of each rank to be gathered", bytes_each);
    llm_team_watch("a word of every rank");
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_BYTE, all, bytes_each, MPI_BYTE, MPI_COMM_WORLD);
    mpi_team.sent += (mpi_team.size - 1.0) * bytes_each;
    llm_team_watch(NULL);
}
static void mpi_wait(void) {}
static void mpi_stop(int code) {
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}
static void mpi_close(void) {
    int over;
    MPI_Finalized(&over);
    if (over) return;
    llm_team_watch("the end of the others");
    MPI_Finalize();
    llm_team_watch(NULL);
}
static void mpi_split(int tensors) {
    llm_team_watch("llm_team_set");
    if (mpi_data != MPI_COMM_NULL) MPI_Comm_free(&mpi_data), MPI_Comm_free(&mpi_layer);
    MPI_Comm_split(MPI_COMM_WORLD, mpi_team.rank % tensors, mpi_team.rank, &mpi_data);
    MPI_Comm_split(MPI_COMM_WORLD, mpi_team.rank / tensors, mpi_team.rank, &mpi_layer);
    llm_team_watch(NULL);
}
llm_ranks *llm_mpi(int *argc, char ***argv) {
    int given;
    MPI_Comm machine;
    mpi_team = (llm_ranks){.engine = "MPI", .sum = mpi_sum, .spread = mpi_spread, .all_sum = mpi_all_sum,
                           .wait = mpi_wait, .gather = mpi_gather, .share = mpi_share, .split = mpi_split,
                           .stop = mpi_stop, .close = mpi_close};
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &given);
    MPI_Comm_rank(MPI_COMM_WORLD, &mpi_team.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &mpi_team.size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, mpi_team.rank, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &mpi_team.local);
    MPI_Comm_free(&machine);
    atexit(mpi_close);                  /* also after --help */
    llm_team_join(&mpi_team);
    llm_team_set(0, 1);
    return &mpi_team;
}
#endif

#endif /* LLM_RANKS_H */
