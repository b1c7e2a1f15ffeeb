/* beam.h: beam search. A part of chapter 7, "speaking", of llm.h; included after it. The functions stand where
   LLM_IMPLEMENTATION is defined.

   Greedy speech takes the likeliest token, and may miss the likeliest text: a good beginning may have no good end. Beam
   search keeps the b best beginnings. Each is continued by every token; of these b V texts, and of those that are over,
   the b best go on:

       score = (log p(y_1) + log p(y_2 | y_1) + ... + log p(y_n | y_1 .. y_(n-1))) / n^alpha

   Every factor is below 1, so with alpha = 0 short texts win; alpha near 1 compares the means of their tokens. */
#ifndef BEAM_H
#define BEAM_H

typedef struct llm_beam_options {
    int beams;                          /* texts that are kept alive, 1 to 64 */
    int max_new;                        /* as in llm_request, as are: */
    const int *stop; int stops;
    const uint8_t *banned;
    double alpha;                       /* score = sum of log-probabilities / length^alpha; 0: the sum */
    bool (*enough)(void);               /* asked before each step: true ends it (a clock, Ctrl-C); NULL: never */
} llm_beam_options;
/* The likeliest continuations of one prompt that beam search finds, best first: out[i] (room for max_new, a stop id is
   the last), its length, its score. Returns how many, at most `beams`. */
int llm_beam_search(llm_model *m, const int *prompt, int length, llm_beam_options o, int **out, int *out_length,
                    double *score);

#ifdef LLM_IMPLEMENTATION
/* The last token of a text, and where the text goes on towards its beginning: a table of these, a line of b for each
   length, holds all of them. */
typedef struct {
    double score, logp;                 /* of the text; -infinity: there is none */
    int from, id, length;               /* text `from` of the line before, plus id; -1: that text, already over */
    bool over;
} beam;

static void log_softmax(llm_real *z, size_t V) {
    require_logits(z, V);
    const llm_real top = z[likeliest(z, V)];
    double sum = 0;
    for (size_t v = 0; v < V; v++) sum += exp(z[v] - top);
    const llm_real lse = top + (llm_real)log(sum);
    for (size_t v = 0; v < V; v++) z[v] -= lse;
}
/* x takes its place among the best, if it has one there. */
static void offer(beam *best, int beams, beam x) {
    int i = beams - 1;
    if (!(x.score > best[i].score)) return;
    for (; i > 0 && best[i - 1].score < x.score; i--) best[i] = best[i - 1];
    best[i] = x;
}
/* The next line: the best of all texts that are one token longer, and of those that are over. logits: a row for each
   of `now` that is not. */
static void extend_beams(const llm_beam_options *o, const beam *now, beam *next, llm_real *logits, size_t V) {
    for (int b = 0; b < o->beams; b++) next[b] = (beam){.score = -INFINITY, .id = -1, .over = true};
    for (int b = 0; b < o->beams; b++) {
        if (now[b].over) {
            offer(next, o->beams, (beam){now[b].score, now[b].logp, b, -1, now[b].length, true});
            continue;
        }
        const int length = now[b].length + 1;
        const double norm = pow(length, o->alpha);
        ban_ids(logits, V, o->banned);
        log_softmax(logits, V);
        for (size_t v = 0; v < V; v++) {
            const double logp = now[b].logp + logits[v];
            offer(next, o->beams, (beam){logp / norm, logp, b, v, length, false});
        }
        logits += V;
    }
    for (int b = 0; b < o->beams; b++)
        next[b].over |= llm_is_stop(next[b].id, o->stop, o->stops) || next[b].length >= o->max_new;
}
/* The next tokens of texts that are not over. Lines 1, 3, 5 ... have the second half of the cache's rows, the others
   the first: each heir copies its text from the other half, where nobody has overwritten it. */
static void follow_beams(llm_model *m, llm_cache *cache, cache_tokens *step, int line, const beam *now, int beams,
                         int length) {
    const int half = line % 2 * beams, before = beams - half;
    for (int b = 0; b < beams; b++) {
        if (now[b].over) continue;
        const int position = length + now[b].length - 1;
        llm_cache_copy(m, cache, half + b, before + now[b].from, position);
        cache_tokens_add(step, now[b].id, half + b, position, true);
    }
}
int llm_beam_search(llm_model *m, const int *prompt, int length, llm_beam_options o, int **out, int *out_length,
                    double *score) {
    check_prompt(m, prompt, length);
    if (o.beams < 1 || o.beams > 64) llm_die("1 to 64 beams", "%d beams", o.beams);
    o.max_new = llm_max(0, llm_min(o.max_new, m->c.T - length + 1));
    const size_t V = m->c.V;
    int line = 0, found = 0;
    llm_cache cache = llm_cache_new(m, 2 * o.beams, llm_min(m->c.T, length + o.max_new));
    cache_tokens step = cache_tokens_new(o.beams);
    llm_real *logits = llm_alloc(llm_mul(o.beams, V), sizeof *logits);
    beam *all = llm_alloc(llm_mul(o.max_new + 1, o.beams), sizeof *all), *now = all;
    for (int b = 1; b < o.beams; b++) now[b] = (beam){.score = -INFINITY, .over = true};
    start_row(m, &cache, 0, prompt, length, logits);        /* line 0: one text, with no words yet */
    for (bool going = o.max_new > 0; going && !(o.enough && o.enough()); line++) {
        extend_beams(&o, now, now + o.beams, logits, V);
        now += o.beams;
        follow_beams(m, &cache, &step, line + 1, now, o.beams, length);
        going = step.count > 0;
        if (going) cache_tokens_run(&step, m, &cache, logits);
    }
    for (; found < o.beams && now[found].score > -INFINITY; found++) {
        int n = out_length[found] = now[found].length;
        score[found] = now[found].score;
        for (int l = line, b = found; l > 0; l--) {         /* read from its end to its beginning */
            const beam *x = &all[l * o.beams + b];
            if (x->id >= 0) out[found][--n] = x->id;
            b = x->from;
        }
    }
    cache_tokens_free(&step);
    llm_cache_free(&cache, m);
    llm_release_all(logits, all);
    return found;
}

#endif /* LLM_IMPLEMENTATION */
#endif
