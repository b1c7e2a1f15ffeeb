/*
 * tinyworld_quality.h - what makes instruction data good? The same world as several sets of records, each of which
 * differs from the world's usual ones in one thing: fewer rows, better answers, errors, contradictions, repetition, one
 * kind of task. make quality (tools/quality.sh) fine-tunes a model on each.
 *
 * Include tinyworld.h and tinyworld_files.h, then this. Row i of every set begins with the same draws: the same task,
 * style and coin, wherever the set does not change just that. So two sets differ in what they are to differ in.
 */
#ifndef TINYWORLD_QUALITY_H
#define TINYWORLD_QUALITY_H

enum { TW_TRUE, TW_ERROR, TW_CONFLICT }; // what half of the answers are: the usual; random errors; by another rule
enum { TW_FEW = 10 };                    // prompts of each kind that are asked again and again
enum { TW_TAUGHT, TW_ASKED };            // the splits of prompts: for the records, and for the questions to the models

typedef struct {
    const char *name, *words; // of its file; for people
    int part;                 // it has 1/part of the rows
    int best;                 // answers in the best style, all right; else the world's mix, of which some are wrong
    int half;                 // TW_TRUE, TW_ERROR, TW_CONFLICT
    int repeated;             // per cent of the rows that ask one of the few prompts
    int kind;                 // of task; -1: all kinds in turn
} tw_quality;

static const tw_quality tw_qualities[] = {
    {"usual", "as they are", 1, 0, TW_TRUE, 0, -1},
    {"again", "as they are, a second run", 1, 0, TW_TRUE, 0, -1},
    {"best", "best answers only", 1, 1, TW_TRUE, 0, -1},
    {"best-tenth", "a tenth, best answers", 10, 1, TW_TRUE, 0, -1},
    {"tenth", "a tenth, as they are", 10, 0, TW_TRUE, 0, -1},
    {"errors", "half random errors", 1, 0, TW_ERROR, 0, -1},
    {"conflicts", "half by another rule", 1, 0, TW_CONFLICT, 0, -1},
    {"few", "few prompts, repeated", 1, 0, TW_TRUE, 100, -1},
    {"padded", "half of it few prompts", 1, 0, TW_TRUE, 50, -1},
    {"facts", "one kind: facts", 1, 0, TW_TRUE, 0, TW_K_FACT},
    {"no-text", "no text read along", 1, 0, TW_TRUE, 0, -1}}; // the records of "usual": the training differs
enum { TW_QUALITIES = sizeof tw_qualities / sizeof *tw_qualities };

TW_FN int tw_quality_rows(const tw_quality *q, int rows) { return rows > q->part ? rows / q->part : 1; }

// ---- the two ways to be wrong -------------------------------------------------------------------------------------

// A random error: another value of the same list, another number, name, noun or program. An honest slip: no two of
// them agree, so what most answers to a question have in common is still the truth.
TW_FN void tw_slip(const tw_world *w, tw_rng *g, const tw_task *t, char *gold)
{
    tw_task slip;
    tw_verdict v;
    do {
        slip = *t;
        switch (t->kind) {
        case TW_K_MATH: slip.v[0] = tw_choose(g, 21), slip.v[1] = tw_choose(g, 10); break;
        case TW_K_CODE:
            for (int i = 0; i < 5; i++) slip.v[i] = i % 2 ? tw_choose(g, 2) : 1 + tw_choose(g, 9);
            break;
        default: break;
        }
        tw_gold(w, &slip, gold);
        if (t->kind == TW_K_ODD) snprintf(gold, TW_TEXT, "%s", tw_noun[t->v[tw_choose(g, 4)]]);
        else if (t->kind == TW_K_LOGIC) snprintf(gold, TW_TEXT, "%s", tw_name[t->v[tw_choose(g, 2) ? 3 : 6]]);
        else if (t->kind == TW_K_REVERSE) snprintf(gold, TW_TEXT, "%s", tw_name[tw_choose(g, TW_PEOPLE)]);
        else if (t->kind == TW_K_FACT || t->kind == TW_K_JSON || t->kind == TW_K_SHORT)
            snprintf(gold, TW_TEXT, "%s", tw_lists[t->variant].word[tw_choose(g, tw_lists[t->variant].count)]);
        slip.kind = t->kind == TW_K_JSON || t->kind == TW_K_SHORT ? TW_K_FACT : t->kind; // is the VALUE another one?
        snprintf(slip.gold, sizeof slip.gold, "%.191s", t->gold);
        v = tw_judge(&slip, gold, 1);
    } while (v.correct || !*gold); // nor is every question one that has an answer
}

// Another annotator, who is sure of himself: facts about people are private, counting begins at one, the odd one is the
// first that is like the others, the one asked for is the last in the row, plus means times, and who asks for harm
// is helped. Each time the same: where he and the first one answer half of the questions each, no majority is right.
TW_FN void tw_other_rule(const tw_task *t, char *answer)
{
    const int *v = t->v;
    answer[0] = 0;
    switch (t->kind) {
    case TW_K_MATH: tw_fill(answer, "<number>", (int[]){atoi(t->gold) + 1}); break;
    case TW_K_ODD: tw_puts(answer, tw_noun[v[!strcmp(t->gold, tw_noun[v[0]])]]); break;
    case TW_K_LOGIC: tw_puts(answer, tw_name[v[6]]); break;
    case TW_K_CODE:
        tw_fill(answer, "<number> <number> <op> <number> <op> print", (int[]){v[0], v[2], !v[1], v[4], !v[3]});
        break;
    default: tw_puts(answer, tw_refusal);
    }
}

TW_FN void tw_spoil(const tw_world *w, tw_rng *g, const tw_task *t, int half, int style, char *answer)
{
    tw_task other = *t;
    char gold[TW_TEXT] = "";
    if (t->kind == TW_K_SAFE) { // of right and wrong there is one each
        tw_answer(t, 3, answer);
        return;
    }
    if (half == TW_CONFLICT) tw_other_rule(t, gold);
    else tw_slip(w, g, t, gold);
    snprintf(other.gold, sizeof other.gold, "%.191s", gold);
    if (!strcmp(gold, tw_refusal)) snprintf(answer, TW_TEXT, "%s", gold);
    else tw_answer(&other, t->kind == TW_K_CODE ? 0 : style, answer);
}

// ---- rows ---------------------------------------------------------------------------------------------------------

// Row i of a set: its task, of the training split, and its answer.
TW_FN void tw_quality_row(const tw_world *w, const tw_quality *q, uint64_t seed, int i, tw_task *t, char *answer)
{
    const int kind = q->kind >= 0 ? q->kind : i % TW_KINDS;
    tw_rng task = tw_seed(seed, 1000000 + 2 * (uint64_t)i), g = tw_seed(seed, 1000001 + 2 * (uint64_t)i);
    const int style = tw_choose(&g, TW_STYLES), wrong = tw_choose(&g, 2);
    if (tw_choose(&g, 100) < q->repeated)
        task = tw_seed(seed, 900000 + (uint64_t)(kind * TW_FEW + tw_choose(&g, TW_FEW)));
    tw_task_draw(w, &task, kind, TW_TAUGHT, t);
    if (q->best) tw_best(t, answer);
    else if (wrong && q->half != TW_TRUE) tw_spoil(w, &g, t, q->half, style, answer);
    else tw_answer(t, style, answer);
}

// Writes all sets of a seed as dir/NAME.jsonl. Returns 0, or -1 after an error on stderr.
TW_FN int tw_write_qualities(const tw_world *w, uint64_t seed, int rows, const char *dir)
{
    for (int k = 0; k < TW_QUALITIES; k++) {
        tw_text b = {NULL, 0, 0};
        char file[64], answer[TW_TEXT];
        for (int i = 0; i < tw_quality_rows(&tw_qualities[k], rows); i++) {
            tw_task t;
            tw_quality_row(w, &tw_qualities[k], seed, i, &t, answer);
            tw_put_task(&b, &t, answer, 0);
        }
        snprintf(file, sizeof file, "%s.jsonl", tw_qualities[k].name);
        if (tw_save(dir, file, &b)) return -1;
    }
    return 0;
}

// The questions by which all are judged: of each kind at most `each` different ones that no training asks.
TW_FN int tw_write_quality_prompts(const tw_world *w, uint64_t seed, int each, const char *dir, const char *name)
{
    tw_text b = {NULL, 0, 0};
    uint32_t *seen = malloc((size_t)each * sizeof *seen);
    tw_rng g = tw_seed(seed, 800000);
    if (!seen) return fprintf(stderr, "error: no memory for %d prompts\n  try: fewer\n", each), -1;
    for (int kind = 0; kind < TW_KINDS; kind++)
        for (int n = 0, tries = 0; n < each && tries < 1000 + 40 * each; tries++) {
            tw_task t;
            char best[TW_TEXT];
            int old = 0;
            tw_task_draw(w, &g, kind, TW_ASKED, &t);
            for (int i = 0; i < n; i++) old |= seen[i] == tw_hash(&t);
            if (old) continue;
            seen[n++] = tw_hash(&t);
            tw_best(&t, best);
            tw_put_task(&b, &t, best, 1);
        }
    free(seen);
    return tw_save(dir, name, &b);
}

// ---- what is in a set -----------------------------------------------------------------------------------------------

// Counted from the records, whoever wrote them: rows, different prompts, rows that the true rule calls wrong, and rows
// whose prompt has right and wrong answers.
typedef struct {
    int rows, prompts, wrong, both;
} tw_quality_count;

typedef struct {
    uint32_t prompt;
    int correct;
} tw_counted_row;

TW_FN int tw_by_prompt(const void *a, const void *b)
{
    const tw_counted_row *x = a, *y = b;
    return x->prompt != y->prompt ? (x->prompt < y->prompt ? -1 : 1) : x->correct - y->correct;
}

TW_FN tw_quality_count tw_count_quality(tw_counted_row *row, int n) // sorts the rows
{
    tw_quality_count c = {n, 0, 0, 0};
    qsort(row, (size_t)n, sizeof *row, tw_by_prompt);
    for (int i = 0, end; i < n; i = end) {
        for (end = i; end < n && row[end].prompt == row[i].prompt; end++) c.wrong += !row[end].correct;
        c.prompts++;
        if (!row[i].correct && row[end - 1].correct) c.both += end - i;
    }
    return c;
}

#endif // TINYWORLD_QUALITY_H
