/* eval.h: judging answers. Prompts of the tiny world are answered by a model, in batches, and scored by the world's
   true rule; means come with 95 % intervals, and two models are compared on the same prompts, pair by pair. Included
   after run.h and world.h; used by train_sft, train_rlhf and tools/eval. */
#ifndef EVAL_H
#define EVAL_H

#include "stage.h"

/* ---- prompts ---- */

typedef struct {
    int count;
    llm_tokens *prompt; /* [count] rendered in the tokenizer's chat template, the assistant's turn opened */
    char **text;                        /* [count] the user's words */
    char **gold;                        /* [count] the column "answer" or "gold" of the file, or NULL */
    tw_task *task;                      /* [count] kind -1: no task of the tiny world, nothing to judge */
} eval_prompts;

static inline void eval_prompts_free(eval_prompts *p) {
    for (int i = 0; i < p->count; i++) {
        llm_tokens_free(&p->prompt[i]);
        llm_release(p->text[i]);
        llm_release(p->gold[i]);
    }
    llm_release(p->prompt);
    llm_release(p->text);
    llm_release(p->gold);
    llm_release(p->task);
    *p = (eval_prompts){0};
}
/* The prompts of records (the last user turn is what the world judges), at most `most` of them, each at most `limit`
 * tokens. */
static inline eval_prompts eval_prompts_from(const llm_records *r, const llm_tokenizer *t, const tw_world *world,
                                             int most, int limit) {
    int n = llm_min(r->count, most);
    eval_prompts p = {.count = n,
                      .prompt = llm_alloc((size_t)n, sizeof *p.prompt),
                      .text = llm_alloc((size_t)n, sizeof *p.text),
                      .gold = llm_alloc((size_t)n, sizeof *p.gold),
                      .task = llm_alloc((size_t)n, sizeof *p.task)};
    for (int i = 0; i < n; i++) {
        const llm_record *x = &r->record[i];
        const llm_message *user = NULL;
        for (int j = 0; j < x->messages; j++)
            if (!strcmp(x->message[j].role, "user")) user = &x->message[j];
        llm_render_record(t, x, LLM_PROMPT, limit, &p.prompt[i]);
        p.text[i] = user ? llm_format("%.*s", (int)user->length, user->text) : llm_format("%s", "");
        p.gold[i] = x->answer ? llm_format("%s", x->answer) : NULL;
        p.task[i].kind = -1;
        if (world && tw_task_from_prompt(world, p.text[i], NULL, &p.task[i]) < 0) p.task[i].kind = -1;
    }
    return p;
}

/* Not the whole of these prompts is asked. */
static inline void eval_say_shortened(const eval_prompts *p, const char *what, int limit) {
    int n = 0;
    for (int i = 0; i < p->count; i++) n += p->prompt[i].shortened || p->prompt[i].cut;
    if (n) fprintf(stderr, "  %8d %s shortened to %d tokens: the context is to hold the answer too\n", n, what, limit);
}

/* ---- answers ---- */

/* The token that closes an answer in this template. */
static inline int eval_closing_token(const llm_tokenizer *tok) { return hf_closing_token(tok); }
typedef struct {
    int count, max_new;
    int *id;                            /* (count,max_new) */
    int *length;                        /* [count] ids of each answer, without the closing token */
    bool *stopped;
    char **text;
    double *reward;                     /* [count] the true rule's; 0 where there is no task */
    bool *correct, *format;
    llm_real *logp;                     /* (count,max_new) of each token as it was drawn, the closing one included */
} eval_answers;

static inline void eval_answers_free(eval_answers *a) {
    for (int i = 0; i < a->count; i++) llm_release(a->text[i]);
    void *all[] = {a->id, a->length, a->stopped, a->text, a->reward, a->correct, a->format, a->logp};
    for (int i = 0; i < 8; i++) llm_release(all[i]);
    *a = (eval_answers){0};
}
static const eval_answers *eval_now;    /* being made */
static inline void eval_over(int answers, int all) {
    double tokens = 0;
    for (int i = 0; i < eval_now->count; i++) tokens += eval_now->length[i];
    progress_tokens((double)answers * eval_now->count / all, tokens);
}

/* Of n answers those that data rank r makes. Ranks that share layers or weights have to say every token together: then
   all make all. */
typedef struct { int from, to; } eval_part;
static inline bool eval_dealt(void) { return llm_team && llm_team->tensors == 1 && llm_team->zero < 3; }
static inline eval_part eval_part_of(int n, int r) {
    const int64_t R = eval_dealt() ? llm_team->datas : 1;
    return R == 1 ? (eval_part){0, n} : (eval_part){(int)(n * (int64_t)r / R), (int)(n * (r + (int64_t)1) / R)};
}
static inline void eval_tell(eval_answers *a) {
    for (int r = 0; eval_dealt() && r < llm_team->datas; r++) {
        const eval_part p = eval_part_of(a->count, r);
        const size_t n = (size_t)(p.to - p.from), from = (size_t)p.from, width = (size_t)a->max_new;
        llm_team->share(a->id + from * width, n * width * sizeof *a->id, r);
        llm_team->share(a->logp + from * width, n * width * sizeof *a->logp, r);
        llm_team->share(a->length + from, n * sizeof *a->length, r);
        llm_team->share(a->stopped + from, n * sizeof *a->stopped, r);
    }
}
/* Answer every prompt `each` times (answers of one prompt are neighbours) and judge. */
static inline eval_answers eval_answer(llm_model *m, const llm_tokenizer *t, const eval_prompts *p, int each,
                                       const llm_sampler *s, int max_new, const uint8_t *banned) {
    int n = p->count * each;
    eval_answers a = {.count = n, .max_new = max_new, .id = llm_alloc(llm_mul((size_t)n, (size_t)max_new), sizeof(int)),
                      .length = llm_alloc((size_t)n, sizeof(int)), .stopped = llm_alloc((size_t)n, sizeof(bool)),
                      .text = llm_alloc((size_t)n, sizeof(char *)), .reward = llm_alloc((size_t)n, sizeof(double)),
                      .correct = llm_alloc((size_t)n, sizeof(bool)), .format = llm_alloc((size_t)n, sizeof(bool)),
                      .logp = llm_alloc(llm_mul((size_t)n, (size_t)max_new), sizeof(llm_real))};
    const int **prompt = llm_alloc((size_t)n, sizeof *prompt);
    int *length = llm_alloc((size_t)n, sizeof *length), **out = llm_alloc((size_t)n, sizeof *out);
    for (int i = 0; i < n; i++) {
        prompt[i] = p->prompt[i / each].id;
        length[i] = p->prompt[i / each].count;
        out[i] = a.id + (size_t)i * (size_t)max_new;
    }
    progress_begin("answers", 0, n, NULL);
    eval_now = &a;
    const eval_part my = eval_part_of(n, llm_team ? llm_team->data : 0);
    llm_generate_batch(m, s, (llm_request){.prompt = prompt + my.from, .length = length + my.from, .first = my.from,
                                           .prompts = my.to - my.from, .max_new = max_new, .stop = t->stop,
                                           .stops = t->stops, .banned = banned, .out = out + my.from,
                                           .out_length = a.length + my.from, .stopped = a.stopped + my.from,
                                           .logp = a.logp + (size_t)my.from * (size_t)max_new, .over = eval_over});
    progress_end();
    eval_tell(&a);
    for (int i = 0; i < n; i++) {
        a.text[i] = llm_decode(t, out[i], (size_t)a.length[i], false, NULL);
        const tw_task *task = &p->task[i / each];
        if (task->kind < 0) continue;
        tw_verdict v = tw_judge(task, a.text[i], a.stopped[i]);
        a.reward[i] = v.reward;
        a.correct[i] = v.correct && a.stopped[i];
        a.format[i] = v.format;
    }
    llm_release(prompt);
    llm_release(length);
    llm_release(out);
    return a;
}

/* The same; in a chat only the token that closes a turn counts as stopping, but what a base model writes behind its end
   of a document is cut off, and not held against it. */
static inline eval_answers eval_answer_turns(llm_model *m, const llm_tokenizer *t, const eval_prompts *p, bool chat,
                                             int each, const llm_sampler *s, int max_new) {
    llm_tokenizer closing = *t;
    if (chat) closing.stop[0] = eval_closing_token(t);
    if (chat) closing.stops = 1;
    eval_answers a = eval_answer(m, &closing, p, each, s, max_new, NULL);
    for (int i = 0; i < a.count; i++) {
        const int *id = a.id + (size_t)i * (size_t)max_new;
        const tw_task *task = &p->task[i / each];
        int n = 0;
        while (n < a.length[i] && !llm_is_stop(id[n], t->stop, t->stops)) n++;
        llm_release(a.text[i]);
        a.text[i] = llm_decode(t, id, (size_t)n, false, NULL);
        if (task->kind < 0) continue;
        tw_verdict v = tw_judge(task, a.text[i], a.stopped[i]);
        a.correct[i] = v.correct;
        a.format[i] = v.format;
        a.reward[i] = v.reward;
    }
    return a;
}

/* ---- statistics ---- */

typedef struct { double mean, low, high; } eval_interval;

/* Wilson's 95 % interval of a proportion: honest near 0 and 1, where mean +- 2 deviations is not. */
static inline eval_interval eval_share(double hits, double n) {
    if (n <= 0) return (eval_interval){NAN, NAN, NAN};
    double z = 1.96, p = hits / n, mid = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    return (eval_interval){p, fmax(0, mid - half), fmin(1, mid + half)};
}
/* Mean and its normal 95 % interval; of one number there is none. */
static inline eval_interval eval_mean(const double *x, int n) {
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    for (int i = 0; i < n; i++) square += (x[i] - sum / n) * (x[i] - sum / n);
    double half = n > 1 ? 1.96 * sqrt(square / (n - 1) / n) : NAN;
    return (eval_interval){sum / n, sum / n - half, sum / n + half};
}
/* How often one of two wins, ties half, with a 95 % interval within 0 and 1. w, l: shares that are won and lost, each
   with one game more than was played, so that it holds for few games too (Bonett and Price 2012):

       rate = 1/2 + (w - l)/2 +- 1.96/2 sqrt((w + l - (w - l)^2) / (n + 2)) */
static inline eval_interval eval_wins(double won, double lost, double n) {
    if (n <= 0) return (eval_interval){NAN, NAN, NAN};
    double w = (won + 1) / (n + 2), l = (lost + 1) / (n + 2), mid = 0.5 + (w - l) / 2;
    double half = 1.96 / 2 * sqrt((w + l - (w - l) * (w - l)) / (n + 2));
    return (eval_interval){0.5 + (won - lost) / (2 * n), fmax(0, mid - half), fmin(1, mid + half)};
}
/* How often a beats b on the same prompt by the true rule. */
static inline eval_interval eval_win_rate(const eval_answers *a, const eval_answers *b) {
    double won = 0, lost = 0;
    for (int i = 0; i < a->count; i++) {
        won += a->reward[i] > b->reward[i] + 1e-9;
        lost += a->reward[i] < b->reward[i] - 1e-9;
    }
    return eval_wins(won, lost, a->count);
}
static inline eval_interval eval_flags(const bool *flag, int n) {
    double hits = 0;
    for (int i = 0; i < n; i++) hits += flag[i];
    return eval_share(hits, n);
}
/* Exact match of one kind of task (kind -1: of all). */
static inline eval_interval eval_correct(const eval_prompts *p, const eval_answers *a, int kind) {
    double hits = 0, n = 0;
    int each = a->count / llm_max(p->count, 1);
    for (int i = 0; i < a->count; i++) {
        int k = p->task[i / each].kind;
        if (k < 0 || (kind >= 0 && k != kind)) continue;
        n++;
        hits += a->correct[i];
    }
    return eval_share(hits, n);
}
static inline double eval_mean_length(const eval_answers *a) {
    double sum = 0;
    for (int i = 0; i < a->count; i++) sum += a->length[i];
    return sum / llm_max(a->count, 1);
}
static inline void eval_print_interval(FILE *out, eval_interval x) {         /* what was not measured is a dash */
    if (isnan(x.mean)) fprintf(out, " %19s", "-");
    else if (isnan(x.low)) fprintf(out, " %5.3f %13s", x.mean, "");
    else fprintf(out, " %5.3f [%5.3f %5.3f]", x.mean, x.low, x.high);
}

/* The before/after table: exact match by task, all, stop rate, format rate. One column a model. */
static inline void eval_print_table(FILE *out, const eval_prompts *p, const eval_answers *const *column,
                                    const char *const *name, int columns) {
    fprintf(out, "%-12s", "");
    for (int c = 0; c < columns; c++) fprintf(out, " %-19s", name[c]);
    fprintf(out, "\n");
    for (int kind = 0; kind <= TW_KINDS; kind++) {
        fprintf(out, "%-12s", kind < TW_KINDS ? tw_kind_name[kind] : "all");
        for (int c = 0; c < columns; c++)
            eval_print_interval(out, eval_correct(p, column[c], kind < TW_KINDS ? kind : -1));
        fprintf(out, "\n");
    }
    fprintf(out, "%-12s", "stops");
    for (int c = 0; c < columns; c++) eval_print_interval(out, eval_flags(column[c]->stopped, column[c]->count));
    fprintf(out, "\n%-12s", "format");
    for (int c = 0; c < columns; c++) eval_print_interval(out, eval_flags(column[c]->format, column[c]->count));
    fprintf(out, "\n%-12s", "true reward");
    for (int c = 0; c < columns; c++) eval_print_interval(out, eval_mean(column[c]->reward, column[c]->count));
    fprintf(out, "\n");
}
/* Where no rule says what is right. */
static inline void eval_print_stops(FILE *out, const eval_answers *const *column, const char *const *name,
                                    int columns) {
    for (int c = 0; c < columns; c++) {
        fprintf(out, "%-24s stops", name[c]);
        eval_print_interval(out, eval_flags(column[c]->stopped, column[c]->count));
        fprintf(out, ", %.1f tokens an answer\n", eval_mean_length(column[c]));
    }
}

/* ---- for the page ---- */

/* A share as a cell of stage.h's tables, and a mean. */
static inline char *eval_cell(eval_interval x) {
    return isnan(x.mean) ? llm_format("-") : llm_format("%.9g %.9g %.9g", x.mean, x.low, x.high);
}
static inline char *eval_mean_cell(eval_interval x) {
    return isnan(x.low) ? llm_format("%.3f", x.mean) : llm_format("%.3f\n%.3f to %.3f", x.mean, x.low, x.high);
}
/* The before/after table. judged: the prompts are tasks of the tiny world; how: "greedy" or "sampled" answers. */
static inline void eval_table(stage_card *card, const eval_prompts *p, const eval_answers *const *column,
                              const char *const *name, int columns, bool judged, const char *how) {
    enum { ROWS = TW_KINDS + 6, MOST = 9 };
    char *cell[ROWS * MOST];
    int rows = 1, at = columns + 1;
    columns = llm_min(columns, MOST - 1);
    cell[0] = llm_format("%s", "");
    for (int c = 0; c < columns; c++) cell[c + 1] = llm_format("%s", name[c]);
    for (int kind = judged ? 0 : TW_KINDS + 1; kind < TW_KINDS + 5; kind++) {
        static const char *const more[] = {"all", "stops", "format", "true reward", "tokens"};
        if (!judged && (kind == TW_KINDS + 2 || kind == TW_KINDS + 3)) continue;
        cell[at++] = llm_format("%s", kind < TW_KINDS ? tw_kind_name[kind] : more[kind - TW_KINDS]);
        for (int c = 0; c < columns; c++) {
            const eval_answers *a = column[c];
            cell[at++] = kind <= TW_KINDS      ? eval_cell(eval_correct(p, a, kind < TW_KINDS ? kind : -1))
                       : kind == TW_KINDS + 1 ? eval_cell(eval_flags(a->stopped, a->count))
                       : kind == TW_KINDS + 2 ? eval_cell(eval_flags(a->format, a->count))
                       : kind == TW_KINDS + 3 ? eval_mean_cell(eval_mean(a->reward, a->count))
                                              : llm_format("%.1f", eval_mean_length(a));
        }
        rows++;
    }
    char *title = llm_format("%d held-out prompts, %s answers: before and after", p->count, how);
    char *picture = llm_format("share that is right, %s, before and after", how);
    stage_table(card, "answers.csv", title, picture, (const char *const *)cell, columns + 1, rows);
    for (int i = 0; i < at; i++) llm_release(cell[i]);
    llm_release_all(title, picture);
}
/* The first prompts, one of each kind of task where that is known, with everyone's answer. */
static inline void eval_samples(stage_card *card, const eval_prompts *p, const eval_answers *const *column,
                                const char *const *name, int columns, int count) {
    enum { MOST = 64 };
    const char *prompt[MOST], *answer[MOST * 8];
    stage_verdict verdict[MOST * 8];
    int at[MOST], n = 0;
    count = llm_min(count, MOST);
    columns = llm_min(columns, 8);
    for (int i = 0; i < p->count && n < count; i++) {
        bool seen = false;
        for (int j = 0; j < n; j++) seen |= p->task[i].kind >= 0 && p->task[at[j]].kind == p->task[i].kind;
        if (!seen || p->task[i].kind < 0) at[n++] = i;
    }
    for (int i = 0; i < n; i++) {
        prompt[i] = p->text[at[i]];
        for (int c = 0; c < columns; c++) {
            answer[c * n + i] = column[c]->text[at[i]];
            const bool known = p->task[at[i]].kind >= 0;
            verdict[c * n + i] = known ? (stage_verdict){column[c]->correct[at[i]], column[c]->reward[at[i]]}
                                       : (stage_verdict){-1, NAN};
        }
    }
    stage_samples(card, "answers side by side", name, columns, prompt, n, answer, verdict);
}
/* A card's end: what two models, before and after, answered greedily to the same prompts, and what became better. */
static inline void eval_before_after(stage_card *card, const eval_prompts *p, const eval_answers *const *column,
                                     const char *const *name, bool judged) {
    double stop[2], right[2];
    eval_table(card, p, column, name, 2, judged, "greedy");
    eval_samples(card, p, column, name, 2, 8);
    for (int i = 0; i < 2; i++) {
        stop[i] = 100 * eval_flags(column[i]->stopped, column[i]->count).mean;
        right[i] = 100 * eval_correct(p, column[i], -1).mean;
    }
    if (judged)
        stage_end(card, "right: %.1f %%, before %.1f %%; stops: %.1f %%, before %.1f %%; %d prompts, greedy answers",
                  right[1], right[0], stop[1], stop[0], p->count);
    else
        stage_end(card, "answers that stop: %.1f %%, before %.1f %%; %d prompts, greedy answers", stop[1], stop[0],
                  p->count);
}
#endif
