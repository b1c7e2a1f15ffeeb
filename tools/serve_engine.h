/* serve_engine.h: many answers at once, from one thread. Nothing here knows of HTTP. Included after hf.h,
   beam.h (log_softmax) and serve_request.h.

   One thread owns all models and takes turns. In a turn every answer under way gets one more token: all of them
   together are one step through the model, which reads each weight once (llm.h, chapter 7). Then a piece of one prompt
   is read, so that a long prompt holds nobody up. An answer's row of the cache is free for the next as soon as it is
   over, is called off, or its client has gone.

       turn          1     2     3     4     5     6        R reads a piece of its prompt, s says a token
       row 0         R     s     s     s     R     s        (two answers, one after the other)
       row 1               R     s     s     s     s
       row 2                     R     R     s     s

   An answer depends on its request alone, not on its neighbours nor on what was asked before, to the bit: prompts are
   read in the same pieces whoever speaks beside, and what lies in a cache is used again only in whole pieces. */
#ifndef SERVE_ENGINE_H
#define SERVE_ENGINE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

enum {
    ENGINE_PIECE = 128,                 /* ids of a prompt that are read in one step, as build/chat reads them */
    ENGINE_WAITING = 256,               /* answers that may wait or be under way */
    ENGINE_NUMBERS = 1 << 20            /* ids, and likeliest ids beside them, that a request may ask for */
};

typedef struct { int id; llm_real logp; } engine_likely;

typedef struct {
    int *id, prompt, count;             /* the prompt's ids, then what was said; closed: the last one ends answers */
    int left, read;                     /* ids that it may still say; ids that lie in the cache */
    bool closed;
    llm_rng rng;
    llm_real *logp;                     /* of each id given those before it, by its place; NULL: not wanted */
    engine_likely *likely;              /* [place * top] */
    char *text; size_t length, room;    /* what was said */
    size_t *end;                        /* of said id i: the text's bytes up to here */
    size_t safe;                        /* bytes that stay whatever comes: no half character, no beginning of a stop */
    const char *finish;                 /* "stop", "length"; NULL: under way */
    int told; size_t told_bytes;        /* whoever tells the client: how far it is */
} engine_answer;

typedef struct engine_model engine_model;
typedef struct engine_job {
    engine_model *on;
    serve_request ask;
    engine_answer *answer; int answers; /* answer i: choice i % n of prompt i / n */
    int next, over;                     /* the first without a row yet; how many are over */
    serve_refusal why;                  /* status 0: nothing against it */
    atomic_bool gone;                   /* nobody waits for it any more */
    void (*begins)(struct engine_job *job);                     /* its prompts are read as ids: it is accepted */
    void (*said)(struct engine_job *job, engine_answer *a);     /* one id more, or a->finish */
    void (*done)(struct engine_job *job);       /* all is over, or why.status says why not: the engine lets go of it */
    struct engine_job *later;
} engine_job;

typedef struct {
    engine_job *job; engine_answer *answer;     /* NULL: free */
    int *id, whole;                     /* ids of whole pieces that lie there */
    uint64_t since;                     /* when it was given out */
} engine_row;

struct engine_model {
    const char *id, *dir;
    llm_model model;
    llm_tokenizer tok;
    llm_cache cache;
    cache_tokens step;
    engine_row *row; int rows;
    int context;
    int told;                           /* system prompts that it was trained with; -1: nobody knows */
    uint64_t given;                     /* rows given out so far */
    uint8_t *banned;                    /* [V] never said: special tokens that end nothing, ids without text */
    llm_real *logits, *look;            /* of a step; [V] one of them as log-probabilities */
};

typedef struct {
    engine_model *model; int models, threads;
    pthread_t thread;
    pthread_mutex_t lock;               /* of what follows: */
    pthread_cond_t work;
    engine_job *inbox;                  /* newest first */
    int waiting;                        /* answers in it and under way */
    bool ending;
    engine_job *active;                 /* the thread's own, oldest first */
} engine;

static inline void engine_start(engine *e);
/* false: too many wait, or the engine ends. true: job->done will be called. */
static inline bool engine_submit(engine *e, engine_job *job);
static inline int engine_waiting(engine *e);   /* answers that wait or are under way */
static inline void engine_end(engine *e);      /* refuses what is under way, and returns when that is done */
static inline void engine_job_free(engine_job *job);

/* ---- a request never ends the program ---- */

/* llm_die jumps back to whoever tries; elsewhere it ends the program, as ever. */
static _Thread_local jmp_buf *serve_escape;
static _Thread_local char serve_cause[600];
static inline void serve_on_death(const char *message) {
    if (!serve_escape) return;
    snprintf(serve_cause, sizeof serve_cause, "%s", message);
    longjmp(*serve_escape, 1);
}
/* false: it died, and serve_cause says of what. */
static inline bool serve_try(void (*act)(void *with), void *with) {
    jmp_buf here;
    serve_escape = &here;
    const bool well = !setjmp(here);
    if (well) act(with);
    serve_escape = NULL;
    return well;
}

/* ---- an answer's text ---- */

/* The bytes that an id adds to a text, as build/chat says them: SentencePiece's space before a text belongs to a
   continuation, not to an answer. */
static inline const char *engine_piece(const llm_tokenizer *t, int id, bool first, size_t *bytes) {
    const char *piece = t->token[id];
    *bytes = t->special[id] ? 0 : (size_t)t->length[id];
    const bool strip = first && t->tables->prefix && *bytes && *piece == ' ';
    *bytes -= strip;
    return piece + strip;
}
/* Cut the text where the first stop text in it begins; `fresh` bytes of it are new. */
static inline bool engine_cut(engine_answer *a, const serve_request *ask, size_t fresh) {
    const char *first = NULL;
    for (int i = 0; i < ask->stops; i++) {
        const size_t n = strlen(ask->stop[i]), back = size_min(a->length, fresh + n - 1);
        const char *found = memmem(a->text + a->length - back, back, ask->stop[i], n);
        if (found && (!first || found < first)) first = found;
    }
    if (first) a->length = (size_t)(first - a->text);
    return first != NULL;
}
/* How much of the text stays whatever comes. */
static inline size_t engine_safe(const engine_answer *a, const serve_request *ask) {
    size_t safe = a->length;
    for (int i = 0; i < ask->stops; i++)
        for (size_t n = size_min(strlen(ask->stop[i]) - 1, a->length); n; n--)
            if (!memcmp(a->text + a->length - n, ask->stop[i], n)) {
                safe = size_min(safe, a->length - n);
                break;
            }
    for (size_t back = 1; back <= 3 && back <= safe; back++) {
        const unsigned char byte = (unsigned char)a->text[safe - back];
        if ((byte & 0xC0) == 0x80) continue;
        return shown_length(byte) > (int)back ? safe - back : safe;
    }
    return safe;
}
static inline void engine_hear(const engine_model *m, const serve_request *ask, engine_answer *a, int id) {
    size_t bytes = 0;
    a->closed = llm_is_stop(id, m->tok.stop, m->tok.stops);
    const char *piece = engine_piece(&m->tok, id, ask->chat && !a->length, &bytes);
    if (a->closed) bytes = 0;
    a->text = llm_grow(a->text, &a->room, a->length + bytes + 1, 1);
    memcpy(a->text + a->length, piece, bytes);
    a->length += bytes;
    a->end[a->count - a->prompt] = a->length;
    a->id[a->count++] = id;
    a->left--;
    if (a->closed || engine_cut(a, ask, bytes)) a->finish = "stop";
    else if (!a->left) a->finish = "length";
    a->safe = a->finish ? a->length : engine_safe(a, ask);
}

/* ---- log-probabilities ---- */

/* z (V): log-probabilities. Those of the id at this place, and of the likeliest, best first. */
static inline void engine_look(engine_answer *a, int place, int id, int top, const llm_real *z, size_t V) {
    engine_likely *best = a->likely + (size_t)place * (size_t)top;
    int n = 0;
    a->logp[place] = z[id];
    for (size_t v = 0; v < V && top; v++) {
        if (n == top && !(z[v] > best[n - 1].logp)) continue;
        int i = n < top ? n++ : n - 1;
        for (; i > 0 && best[i - 1].logp < z[v]; i--) best[i] = best[i - 1];
        best[i] = (engine_likely){(int)v, z[v]};
    }
}

/* ---- a turn ---- */

static inline void engine_free_row(engine_row *r) {
    r->job = NULL;
    r->answer = NULL;
}
static inline void engine_over(engine_row *r) {
    engine_job *job = r->job;
    job->over++;
    job->said(job, r->answer);
    engine_free_row(r);
}
/* The row says what follows from its logits z (V), which become probabilities. */
static inline void engine_draw(engine_model *m, engine_row *r, llm_real *z) {
    const size_t V = (size_t)m->model.c.V;
    engine_answer *a = r->answer;
    const serve_request *ask = &r->job->ask;
    if (ask->logprobs) {
        memcpy(m->look, z, V * sizeof *z);
        log_softmax(m->look, V);
    }
    const size_t said = (size_t)(a->count - a->prompt);
    const int id = llm_sample(z, V, &ask->sampler, &a->rng, a->id + a->prompt, said, m->banned);
    if (ask->logprobs) engine_look(a, a->count, id, ask->top, m->look, V);
    engine_hear(m, ask, a, id);
    if (a->finish) engine_over(r);
    else r->job->said(r->job, a);
}
static inline bool engine_reads(const engine_row *r) { return r->answer && r->answer->read < r->answer->prompt; }
/* All whose prompt is read say one more. */
static inline void engine_speak(engine_model *m) {
    engine_row *speaks[ENGINE_WAITING];
    int n = 0;
    for (engine_row *r = m->row; r < m->row + m->rows; r++) {
        if (!r->answer || engine_reads(r)) continue;
        engine_answer *a = r->answer;
        cache_tokens_add(&m->step, a->id[a->count - 1], (int)(r - m->row), a->count - 1, true);
        a->read = a->count;
        speaks[n++] = r;
    }
    if (!n) return;
    cache_tokens_run(&m->step, &m->model, &m->cache, m->logits);
    for (int i = 0; i < n; i++) engine_draw(m, speaks[i], m->logits + (size_t)i * (size_t)m->model.c.V);
}
/* The next piece of the prompt of a row. Where the prompt itself is scored each of its places has logits. */
static inline void engine_read(engine_model *m, engine_row *r) {
    engine_answer *a = r->answer;
    const size_t V = (size_t)m->model.c.V;
    const serve_request *ask = &r->job->ask;
    const bool scored = ask->echo && ask->logprobs;
    const int from = a->read, n = llm_min(ENGINE_PIECE, a->prompt - from);
    for (int i = 0; i < n; i++)
        cache_tokens_add(&m->step, a->id[from + i], (int)(r - m->row), from + i, scored || from + i + 1 == a->prompt);
    cache_tokens_run(&m->step, &m->model, &m->cache, m->logits);
    if (n == ENGINE_PIECE) {
        memcpy(r->id + from, a->id + from, (size_t)n * sizeof *a->id);
        r->whole = from + n;
    }
    a->read = from + n;
    for (int i = 0; i < n && scored && from + i + 1 < a->prompt; i++) {
        log_softmax(m->logits + (size_t)i * V, V);
        engine_look(a, from + i + 1, a->id[from + i + 1], ask->top, m->logits + (size_t)i * V, V);
    }
    if (a->read < a->prompt) return;
    if (a->left) engine_draw(m, r, m->logits + (scored ? (size_t)(n - 1) * V : 0));
    else {                              /* nothing was to be said: the prompt was to be scored */
        a->finish = "length";
        engine_over(r);
    }
}
static inline void engine_turn(void *with) {
    engine_model *m = with;
    engine_row *next = NULL;
    engine_speak(m);
    for (engine_row *r = m->row; r < m->row + m->rows; r++)
        if (engine_reads(r) && (!next || r->since < next->since)) next = r;
    if (next) engine_read(m, next);
}

/* ---- who gets a row ---- */

/* Ids of whole pieces with which the prompt and what lies in a row begin alike; never the whole prompt: its last id
   tells what follows. */
static inline int engine_alike(const engine_row *r, const engine_answer *a) {
    int same = 0;
    while (same < r->whole && same < a->prompt - 1 && r->id[same] == a->id[same]) same++;
    return same / ENGINE_PIECE * ENGINE_PIECE;
}
static inline void engine_give(engine_model *m, engine_row *r, engine_job *job) {
    engine_answer *a = &job->answer[job->next++];
    engine_row *from = r;
    for (engine_row *one = m->row; one < m->row + m->rows; one++)
        if (engine_alike(one, a) > engine_alike(from, a)) from = one;
    const int same = job->ask.echo && job->ask.logprobs ? 0 : engine_alike(from, a);
    const size_t to = (size_t)(r - m->row), other = (size_t)(from - m->row);
    if (same && from != r) llm_cache_copy(&m->model, &m->cache, to, other, (size_t)same);
    memcpy(r->id, a->id, (size_t)same * sizeof *a->id);
    r->whole = a->read = same;
    r->job = job;
    r->answer = a;
    r->since = m->given++;
}
/* The next answer to begin: of the request that has the fewest rows, the oldest of these. */
static inline engine_job *engine_next(const engine *e, const engine_model *m) {
    engine_job *best = NULL;
    int fewest = INT_MAX;
    for (engine_job *job = e->active; job; job = job->later) {
        if (job->on != m || job->next == job->answers || job->why.status) continue;
        const int has = job->next - job->over;
        if (has < fewest) best = job;
        fewest = llm_min(fewest, has);
    }
    return best;
}
/* A free row: the one that was given out longest ago. */
static inline engine_row *engine_free(engine_model *m) {
    engine_row *best = NULL;
    for (engine_row *r = m->row; r < m->row + m->rows; r++)
        if (!r->answer && (!best || r->since < best->since)) best = r;
    return best;
}

/* ---- a request's prompts as ids ---- */

static inline bool engine_too_long(engine_job *job, const engine_model *m, const char *param, int ids) {
    return serve_refuse(&job->why, 400, param, "context_length_exceeded",
                        "the prompt has %d tokens: the context of %s is %d; shorten it", ids, m->id, m->context);
}
/* A token has some bytes: what could never fit is not written down first. */
static inline bool engine_could_fit(engine_job *job, const engine_model *m) {
    size_t bytes = 0;
    for (int i = 0; i < job->ask.messages; i++) bytes += job->ask.message[i].length;
    if (bytes <= (size_t)m->context * 32) return true;
    return serve_refuse(&job->why, 400, "messages", "context_length_exceeded",
                        "the messages have %zu bytes: a context of %d tokens does not hold them; shorten them", bytes,
                        m->context);
}
static inline int *engine_chat_ids(engine_job *job, const engine_model *m, int *count) {
    const llm_tokenizer *t = &m->tok;
    const serve_request *q = &job->ask;
    llm_tokens out = {0};
    const char *why = NULL;
    if (t->chat == &hf_plain_text) {
        serve_refuse(&job->why, 400, "model", NULL, "%s has no chat template: ask it at /v1/completions", m->id);
        return NULL;
    }
    if (!engine_could_fit(job, m)) return NULL;
    if (!t->chat->render) llm_render(t, q->message, q->messages, true, &out);
    else why = t->chat->render(t, q->message, q->messages, true, NULL, &out);
    if (why) serve_refuse(&job->why, 400, "messages", NULL, "the chat template of %s refuses: %s", m->id, why);
    int *ids = llm_alloc((size_t)out.count + 1, sizeof *ids);
    if (out.count) memcpy(ids, out.id, (size_t)out.count * sizeof *ids);
    *count = out.count;
    llm_tokens_free(&out);
    return ids;
}
/* A text as transformers' tokenizer reads it, for clients who write templates down themselves: special tokens that it
   spells are such, and what opens a text stands there once. */
static inline int *engine_text_ids(const llm_tokenizer *t, const serve_prompt *p, int *count) {
    if (!p->length) return llm_prompt_ids(t, p->text, count);
    int *ids = llm_alloc(llm_add(t->room(p->text, p->length), 1), sizeof *ids);
    const size_t n = hf_encode(t, p->text, p->length, LLM_TEXT_BEGINS, true, NULL, ids + 1, NULL);
    const bool opens = t->opens >= 0 && !(n && ids[1] == t->opens);
    if (opens) ids[0] = t->opens;
    else memmove(ids, ids + 1, n * sizeof *ids);
    *count = (int)n + opens;
    return ids;
}
static inline int *engine_prompt_ids(engine_job *job, const engine_model *m, const serve_prompt *p, int *count) {
    if (p->text) return engine_text_ids(&m->tok, p, count);
    int *ids = llm_alloc((size_t)p->ids + 1, sizeof *ids);
    memcpy(ids, p->id, (size_t)p->ids * sizeof *ids);
    *count = p->ids;
    for (int i = 0; i < p->ids; i++)
        if (ids[i] >= llm_min(m->tok.vocab_size, m->model.c.V))
            serve_refuse(&job->why, 400, "prompt", NULL, "token %d of the prompt is %d: %s has 0 to %d", i + 1, ids[i],
                         m->id, llm_min(m->tok.vocab_size, m->model.c.V) - 1);
    return ids;
}
/* Room for prompt i and its answers. numbers: what the request asks for so far. */
static inline void engine_lay(engine_job *job, const engine_model *m, int i, size_t *numbers) {
    const serve_request *q = &job->ask;
    int count = 0;
    int *ids = q->chat ? engine_chat_ids(job, m, &count) : engine_prompt_ids(job, m, &q->prompt[i], &count);
    const int most = q->max_new < 0 ? m->context : q->max_new, left = llm_min(most, m->context - count + 1);
    const char *param = q->chat ? "messages" : "prompt";
    const size_t room = (size_t)(llm_max(left, 0) + count), top = (size_t)q->top;
    *numbers += (size_t)q->n * room * (1 + top);
    if (!job->why.status && count < 1) serve_refuse(&job->why, 400, param, NULL, "an empty prompt: say something");
    if (!job->why.status && count > m->context) engine_too_long(job, m, param, count);
    if (!job->why.status && *numbers > ENGINE_NUMBERS)
        serve_refuse(&job->why, 400, param, NULL, "too much in one request: more than %d tokens and log-probabilities; "
                     "ask in smaller parts", ENGINE_NUMBERS);
    for (int c = 0; c < q->n && !job->why.status; c++) {
        engine_answer *a = &job->answer[i * q->n + c];
        *a = (engine_answer){.id = llm_alloc(room, sizeof *a->id), .prompt = count, .count = count, .left = left,
                             .rng = llm_rng_seed(q->sampler.seed, (uint64_t)c),
                             .end = llm_alloc((size_t)left + 1, sizeof *a->end)};
        memcpy(a->id, ids, (size_t)count * sizeof *ids);
        if (q->logprobs) a->logp = llm_alloc(room, sizeof *a->logp);
        if (q->logprobs) a->likely = llm_alloc(llm_mul(room, top), sizeof *a->likely);
    }
    llm_release(ids);
}
static inline void engine_begin(void *with) {
    engine_job *job = with;
    const int prompts = job->ask.chat ? 1 : job->ask.prompts;
    size_t numbers = 0;
    job->answer = llm_alloc((size_t)(prompts * job->ask.n), sizeof *job->answer);
    job->answers = prompts * job->ask.n;
    for (int i = 0; i < prompts && !job->why.status; i++) engine_lay(job, job->on, i, &numbers);
    hf_say_unspelled(&job->on->tok);
    if (!job->why.status) job->begins(job);
}
static inline void engine_job_free(engine_job *job) {
    for (int i = 0; i < job->answers; i++) {
        engine_answer *a = &job->answer[i];
        llm_release_all(a->id, a->logp, a->likely, a->text, a->end);
    }
    llm_release(job->answer);
    serve_request_free(&job->ask);
}

/* ---- the thread ---- */

static inline int engine_count(const engine_job *job) { return (job->ask.chat ? 1 : job->ask.prompts) * job->ask.n; }
static inline void engine_fail(engine_job *job, int status, const char *message) {
    if (!job->why.status) serve_refuse(&job->why, status, NULL, NULL, "%s", message);
}
/* Let go of the requests that are over, refused, or nobody's any more. */
static inline void engine_sweep(engine *e) {
    for (engine_job **at = &e->active; *at;) {
        engine_job *job = *at;
        if (!job->why.status && !atomic_load(&job->gone) && job->over < job->answers) {
            at = &job->later;
            continue;
        }
        engine_model *m = job->on;
        for (engine_row *r = m->row; r < m->row + m->rows; r++)
            if (r->job == job) engine_free_row(r);
        *at = job->later;
        pthread_mutex_lock(&e->lock);
        e->waiting -= engine_count(job);
        pthread_mutex_unlock(&e->lock);
        job->done(job);
    }
}
/* Take what has come in, the oldest first; false: the engine ends. Waits where there is nothing to do. */
static inline bool engine_take(engine *e) {
    engine_job *fresh = NULL, **end = &e->active;
    pthread_mutex_lock(&e->lock);
    while (!e->ending && !e->inbox && !e->active) pthread_cond_wait(&e->work, &e->lock);
    for (engine_job *job; (job = e->inbox);) {
        e->inbox = job->later;
        job->later = fresh;
        fresh = job;
    }
    const bool ending = e->ending;
    pthread_mutex_unlock(&e->lock);
    while (*end) end = &(*end)->later;
    *end = fresh;
    for (engine_job *job = fresh; job; job = job->later)
        if (!ending && !serve_try(engine_begin, job)) engine_fail(job, 500, serve_cause);
    return !ending;
}
static inline void engine_run_model(engine *e, engine_model *m) {
    for (engine_row *r; (r = engine_free(m));) {
        engine_job *job = engine_next(e, m);
        if (!job) break;
        engine_give(m, r, job);
    }
    if (serve_try(engine_turn, m)) return;
    m->step.count = 0;                  /* the model itself is broken: nothing that it says means anything */
    for (engine_row *r = m->row; r < m->row + m->rows; r++) {
        r->whole = 0;
        if (r->job) engine_fail(r->job, 500, serve_cause);
    }
}
static inline void *engine_thread(void *with) {
    engine *e = with;
    llm_threads(e->threads);
    while (engine_take(e)) {
        engine_sweep(e);
        for (int i = 0; i < e->models; i++) engine_run_model(e, &e->model[i]);
        engine_sweep(e);
    }
    for (engine_job *job = e->active; job; job = job->later) engine_fail(job, 503, "the server is ending");
    engine_sweep(e);
    return NULL;
}
static inline bool engine_submit(engine *e, engine_job *job) {
    pthread_mutex_lock(&e->lock);
    const bool room = !e->ending && e->waiting + engine_count(job) <= ENGINE_WAITING;
    if (room) {
        e->waiting += engine_count(job);
        job->later = e->inbox;
        e->inbox = job;
        pthread_cond_signal(&e->work);
    }
    pthread_mutex_unlock(&e->lock);
    return room;
}
static inline int engine_waiting(engine *e) {
    pthread_mutex_lock(&e->lock);
    const int n = e->waiting;
    pthread_mutex_unlock(&e->lock);
    return n;
}
static inline void engine_start(engine *e) {
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    if (pthread_create(&e->thread, NULL, engine_thread, e)) llm_die("ulimit -u", "no thread to compute in");
}
static inline void engine_end(engine *e) {
    pthread_mutex_lock(&e->lock);
    e->ending = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
}

/* ---- models ---- */

static inline void engine_open(engine_model *m, const char *dir, const llm_ops *op, llm_type weights, int rows,
                               int context) {
    char *own = llm_format("%s/tokenizer.json", dir), *adapter = llm_format("%s/adapter_config.json", dir);
    const bool adapted = llm_exists(adapter);           /* adapters are merged before anything is rounded */
    m->dir = dir;
    hf_model_load_as(&m->model, dir, op, adapted ? LLM_TYPE_REAL : weights);
    hf_tokenizer_load(&m->tok, m->model.lora && !llm_exists(own) ? m->model.lora->base : dir);
    llm_lora_merge(&m->model);
    if (adapted && weights != LLM_TYPE_REAL) llm_quantise(&m->model, weights);
    llm_release_all(own, adapter);
    const llm_config *c = &m->model.c;
    if (c->score) llm_die("the model that it judges", "%s is a reward model: it gives scores, not words", dir);
    hf_fit(&m->tok, c->V);
    m->rows = rows;
    m->context = llm_min(c->T, context);
    m->cache = llm_cache_new(&m->model, (size_t)rows, (size_t)m->context);
    const size_t most = (size_t)llm_max(ENGINE_PIECE, rows), V = (size_t)c->V;
    m->step = cache_tokens_new(most);
    m->row = llm_alloc((size_t)rows, sizeof *m->row);
    for (int i = 0; i < rows; i++) m->row[i].id = llm_alloc((size_t)m->context, sizeof(int));
    m->logits = llm_alloc(llm_mul(most, V), sizeof *m->logits);
    m->look = llm_alloc(V, sizeof *m->look);
    m->banned = llm_alloc(V, 1);
    for (int i = 0; i < c->V; i++)
        m->banned[i] = i >= m->tok.vocab_size || (m->tok.special[i] && !llm_is_stop(i, m->tok.stop, m->tok.stops));
}
static inline void engine_close(engine_model *m) {
    for (int i = 0; i < m->rows; i++) llm_release(m->row[i].id);
    cache_tokens_free(&m->step);
    llm_cache_free(&m->cache, &m->model);
    llm_release_all(m->row, m->logits, m->look, m->banned);
    llm_tokenizer_free(&m->tok);
    llm_model_free(&m->model);
}
#endif
