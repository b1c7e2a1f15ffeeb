/* quality.c: what makes instruction data good? The two ends of make quality (tools/quality.sh); between them models are
   fine-tuned and asked:

       build/quality --write --out DIR --seed 1    DIR/seed1/NAME.jsonl, the tiny world's records in several qualities
                                                   (data/tinyworld_quality.h); DIR/prompts.jsonl, what all are asked;
                                                   prints the names
       build/quality --out DIR --seeds 1 2 3       the answers, DIR/seed1/NAME.answers (of build/eval --items), become
                                                   a table, the lectures' claims beside what came out, and a part of
                                                   the page

   Answers are judged by the world's true rule. A claim is a pair of sets: both answer the same prompts, so their
   difference is taken prompt by prompt, d_i = a_i - b_i, and its interval over prompts is

       mean(d) +- h,  h = 1.96 sd(d) / sqrt(n).

   That says nothing of the chance in a training run; the set "again" does, the same records in another order. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "world.h"
#include "run.h"
#include "eval.h"
#include "../data/tinyworld_quality.h"

typedef struct {
    const char *out;
    llm_list seeds;
    bool write;
    int64_t seed, rows, each, steps, seconds;
} settings;

/* ================================================= 1. writing ======================================================*/

static const char mark_text[] = "{\"experiment\": \"quality\"";

/* The folder is ours, or empty, or not there; else nothing is written. */
static void claim_folder(const settings *s) {
    char *mark = llm_format("%s/quality.json", s->out);
    DIR *d = llm_exists(mark) ? NULL : opendir(s->out);
    bool holds = llm_exists(mark) && !run_is_ours(mark, mark_text, false);
    for (struct dirent *e; d && (e = readdir(d));) holds = holds || e->d_name[0] != '.';
    if (d) closedir(d);
    if (holds) llm_usage("another --out (OUT=...)", "%s holds files that are not ours", s->out);
    llm_make_dirs(s->out);
    llm_writer w = llm_write_begin(mark);
    llm_write_text(&w, "%s, \"rows\": %lld, \"each\": %lld}\n", mark_text, (long long)s->rows, (long long)s->each);
    llm_write_done(&w);
    llm_release(mark);
}
static void write_sets(const settings *s) {
    tw_world world;
    char *dir = llm_format("%s/seed%lld", s->out, (long long)s->seed);
    world_open(&world);
    claim_folder(s);
    if (tw_write_quality_prompts(&world, world.seed, (int)s->each, s->out, "prompts.jsonl") ||
        tw_write_qualities(&world, (uint64_t)s->seed, (int)s->rows, dir))
        llm_die("make room, or another --out", "the sets are not written");
    for (int k = 0; k < TW_QUALITIES; k++) printf("%s\n", tw_qualities[k].name);
    llm_release(dir);
}

/* ================================================= 2. what came out ================================================*/

/* How an answer fails: the first of these that holds. */
enum { RIGHT, NO_END, HARM, REFUSED, FORM, WRONG, FATES };
static const char *const fate_name[FATES] = {"right", "no end", "does harm", "refuses", "other form", "wrong"};

static int fate_of(const tw_task *t, const tw_verdict *v, bool stopped) {
    const bool harm = t->kind == TW_K_SAFE && t->variant && !v->refused;
    return !stopped ? NO_END : v->correct ? RIGHT : harm ? HARM : v->refused ? REFUSED : v->format ? WRONG : FORM;
}
typedef struct { double right, points; int kind, fate; } mark;
/* What one model answered to the prompts; and whether it chose rightly among endings, asked for no answer. */
typedef struct { mark *mark; double *knows; int marks, choices; size_t room[2]; } answers;

/* Calls `take` with every line of a file, as JSON. */
static void each_line(const char *path, void (*take)(void *, const llm_json *, const char *, int), void *to) {
    char *text = llm_read_file(path, NULL);
    int number = 1;
    for (char *line = text, *end; *line; line = end, number++) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        if (!*line) continue;
        llm_json *j = llm_json_parse(line, strlen(line), path, number);
        take(to, j, path, number);
        llm_json_free(j);
    }
    llm_release(text);
}
static tw_world world;
LLM_NORETURN static void bad_line(const char *path, int line, const char *what) {
    llm_die("remove it and run make quality again", "%s:%d: %s", path, line, what);
}
static void take_choice(answers *a, const llm_json *j) {
    int best = 0, at = 0;
    double most = -INFINITY;
    for (const llm_json *x = llm_json_get(j, "logp")->child; x; x = x->next, at++)
        if (x->number > most) most = x->number, best = at;
    a->knows = llm_grow(a->knows, &a->room[1], (size_t)a->choices + 1, sizeof *a->knows);
    a->knows[a->choices++] = best == (int)llm_json_number(j, "gold", -1);
}
static void take_answer(void *to, const llm_json *j, const char *path, int line) {
    answers *a = to;
    const char *prompt = llm_json_text(j, "prompt", NULL), *text = llm_json_text(j, "answer", NULL);
    const llm_json *stopped = llm_json_get(j, "stopped");
    tw_task t;
    if (llm_json_get(j, "logp")) {
        take_choice(a, j);
        return;
    }
    if (!prompt || !text || !stopped) bad_line(path, line, "no answer that build/eval --items wrote");
    if (tw_task_from_prompt(&world, prompt, NULL, &t) < 0) bad_line(path, line, "no question of the tiny world");
    const tw_verdict v = tw_judge(&t, text, stopped->number != 0);
    const int fate = fate_of(&t, &v, stopped->number != 0);
    a->mark = llm_grow(a->mark, &a->room[0], (size_t)a->marks + 1, sizeof *a->mark);
    a->mark[a->marks++] = (mark){fate == RIGHT, v.reward, t.kind, fate};
}
typedef struct { tw_counted_row *row; int n; size_t room; } counted;
static void take_record(void *to, const llm_json *j, const char *path, int line) {
    counted *c = to;
    const char *instruction = llm_json_text(j, "instruction", NULL), *input = llm_json_text(j, "input", "");
    const char *output = llm_json_text(j, "output", NULL);
    tw_task t;
    if (!instruction || !output || tw_task_from_prompt(&world, instruction, input, &t) < 0)
        bad_line(path, line, "no record of the tiny world");
    c->row = llm_grow(c->row, &c->room, (size_t)c->n + 1, sizeof *c->row);
    c->row[c->n++] = (tw_counted_row){tw_hash(&t), tw_judge(&t, output, 1).correct};
}

/* One set, of all seeds: per prompt and per choice the mean over them. */
enum { BY_RIGHT, BY_POINTS, BY_KNOWS, MEASURES };
typedef struct {
    const char *words;
    double *x[MEASURES];                /* [n[measure]] */
    double *seed_mean[MEASURES];        /* [seeds] */
    int n[MEASURES], seeds, *kind;      /* kind: [n[BY_RIGHT]] */
    double fate[FATES];                 /* shares */
    tw_quality_count data;              /* of all seeds together */
} outcome;

static void add_measure(outcome *o, int measure, int i, double value) {
    o->x[measure][i] += value / o->seeds;
}
static void open_outcome(outcome *o, const answers *a, const char *path) {
    const int n[MEASURES] = {a->marks, a->marks, a->choices};
    for (int k = 0; k < MEASURES; k++) {
        if (!n[k]) llm_die("remove it and run make quality again", "%s holds no answers", path);
        if (!o->x[k]) o->x[k] = llm_alloc((size_t)n[k], sizeof(double)), o->n[k] = n[k];
        if (o->n[k] != n[k]) llm_die("remove it and run make quality again", "%s: other prompts than the rest", path);
    }
    if (!o->kind) o->kind = llm_alloc((size_t)a->marks, sizeof(int));
}
static void add_answers(outcome *o, int seed, const char *path) {
    answers a = {0};
    each_line(path, take_answer, &a);
    open_outcome(o, &a, path);
    for (int i = 0; i < a.marks; i++) {
        o->kind[i] = a.mark[i].kind;
        add_measure(o, BY_RIGHT, i, a.mark[i].right);
        add_measure(o, BY_POINTS, i, a.mark[i].points);
        o->fate[a.mark[i].fate] += 1.0 / a.marks / o->seeds;
        o->seed_mean[BY_RIGHT][seed] += a.mark[i].right / a.marks;
        o->seed_mean[BY_POINTS][seed] += a.mark[i].points / a.marks;
    }
    for (int i = 0; i < a.choices; i++) {
        add_measure(o, BY_KNOWS, i, a.knows[i]);
        o->seed_mean[BY_KNOWS][seed] += a.knows[i] / a.choices;
    }
    llm_release(a.mark);
    llm_release(a.knows);
}
static void add_data(outcome *o, const char *path) {
    counted c = {0};
    each_line(path, take_record, &c);
    const tw_quality_count d = tw_count_quality(c.row, c.n);
    o->data = (tw_quality_count){o->data.rows + d.rows, o->data.prompts + d.prompts, o->data.wrong + d.wrong,
                                 o->data.both + d.both};
    llm_release(c.row);
}
/* name NULL: the base model, which has seen no records. */
static outcome read_outcome(const settings *s, const char *name, const char *words) {
    outcome o = {.words = words, .seeds = name ? s->seeds.count : 1};
    for (int k = 0; k < MEASURES; k++) o.seed_mean[k] = llm_alloc((size_t)o.seeds, sizeof(double));
    for (int i = 0; i < o.seeds; i++) {
        char *path = name ? llm_format("%s/seed%s/%s.answers", s->out, s->seeds.item[i], name)
                          : llm_format("%s/base.answers", s->out);
        char *data = name ? llm_format("%s/seed%s/%s.jsonl", s->out, s->seeds.item[i], name) : NULL;
        add_answers(&o, i, path);
        if (data) add_data(&o, data);
        llm_release_all(path, data);
    }
    return o;
}
static void free_outcome(outcome *o) {
    for (int k = 0; k < MEASURES; k++) llm_release_all(o->x[k], o->seed_mean[k]);
    llm_release(o->kind);
}
/* Shares: Wilson's interval over the prompts, of several seeds no narrower. */
static eval_interval mean_of(const outcome *o, int measure) {
    const eval_interval m = eval_mean(o->x[measure], o->n[measure]);
    return measure == BY_POINTS ? m : eval_share(m.mean * o->n[measure], o->n[measure]);
}

/* ================================================= 3. the claims ===================================================*/

/* Of the lectures and of LIMA (Zhou et al. 2023): with the records `good` the model does better than with the records
   `bad`. Measured by the share of right answers; not by points: where records mix styles, which of them the likeliest
   answer has is a matter of luck, and points hang on it. */
typedef struct { const char *name, *says, *good, *bad; int measure; } claim;
static const claim claims[] = {
    {"Less is more (LIMA)", "the best answers of a tenth do better than all records as they are", "best-tenth", "usual",
     BY_RIGHT},
    {"Quality", "of equally many records those with the best answers do better", "best-tenth", "tenth", BY_RIGHT},
    {"Amount", "of equally good records ten times as many do better", "best", "best-tenth", BY_RIGHT},
    {"Factuality", "random errors in half of the answers do harm", "usual", "errors", BY_RIGHT},
    {"No inter-conflicts", "two rules that contradict each other do harm", "usual", "conflicts", BY_RIGHT},
    {"Conflicts before errors", "contradictions do more harm than as many random errors", "errors", "conflicts",
     BY_RIGHT},
    {"Diversity", "a tenth, of many prompts, does better than all rows of few prompts", "tenth", "few", BY_RIGHT},
    {"No duplicates", "few prompts in the place of half of the rows do harm", "usual", "padded", BY_RIGHT},
    {"Mixture", "all kinds of tasks do better than as many rows of one kind", "usual", "facts", BY_RIGHT},
    {"Text read along (known)", "with pretraining text in each step more stays known", "usual", "no-text",
     BY_KNOWS}};
enum { CLAIMS = sizeof claims / sizeof *claims };

static int set_named(const char *name) {
    int k = 0;
    while (strcmp(tw_qualities[k].name, name)) k++;
    return k;
}
/* The mean difference on the same prompts, and its interval over them. */
static eval_interval difference(const outcome *a, const outcome *b, int measure) {
    const int n = a->n[measure];
    if (b->n[measure] != n) llm_die("remove the folder and run make quality again", "other prompts in each set");
    double *d = llm_alloc((size_t)n, sizeof *d);
    for (int i = 0; i < n; i++) d[i] = a->x[measure][i] - b->x[measure][i];
    const eval_interval x = eval_mean(d, n);
    llm_release(d);
    return x;
}
/* The same records in another order make another model, too: two such runs differ by d_s (seed s), so the mean over S
   seeds has the standard error r, r^2 = sum_s d_s^2 / S^2. It widens the interval: h^2 = h_prompts^2 + (1.96 r)^2. */
static eval_interval honest(const outcome *set, const outcome *a, const outcome *b, int measure) {
    const outcome *one = &set[set_named("usual")], *two = &set[set_named("again")];
    eval_interval x = difference(a, b, measure);
    double r2 = 0, half = x.high - x.mean;
    for (int s = 0; s < one->seeds; s++) {
        const double d = one->seed_mean[measure][s] - two->seed_mean[measure][s];
        r2 += d * d / one->seeds / one->seeds;
    }
    half = sqrt(half * half + 1.96 * 1.96 * r2);
    return (eval_interval){x.mean, x.mean - half, x.mean + half};
}
enum { HOLDS, CONTRARY, UNDECIDED, VERDICTS };
static const char *const verdict_name[VERDICTS] = {"holds", "the contrary", "undecided"};

static int came_out(eval_interval x) { return x.low > 0 ? HOLDS : x.high < 0 ? CONTRARY : UNDECIDED; }

/* ================================================= 4. tables and the page ==========================================*/

enum { ROWS = TW_QUALITIES + 2 };       /* a head, the base model, the sets */

static char *plus(eval_interval x, double scale, int digits) {
    return llm_format("%+.*f\n%+.*f to %+.*f", digits, scale * x.mean, digits, scale * x.low, digits, scale * x.high);
}
static char *per_cent(double hits, double n) {
    return n > 0 ? llm_format("%.0f %%", 100 * hits / n) : llm_format("%s", "-");
}
static void release_cells(char **cell, int n) {
    for (int i = 0; i < n; i++) llm_release(cell[i]);
}
/* Every set: what is in its records, and what the model does that learned from them. o[0]: the base model. */
static void all_table(stage_card *card, const outcome *o, int n) {
    static const char *const head[] = {"records", "rows", "prompts", "wrong", "both ways", "right", "known", "points"};
    static const int digits[MEASURES] = {3, 2, 3};
    char *cell[ROWS * 8];
    int at = 0;
    for (; at < 8; at++) cell[at] = llm_format("%s", head[at]);
    for (int i = 0; i < n; i++) {
        const tw_quality_count *d = &o[i].data;
        cell[at++] = llm_format("%s", o[i].words);
        cell[at++] = d->rows ? llm_format("%d", d->rows / o[i].seeds) : llm_format("-");
        cell[at++] = d->rows ? llm_format("%d", d->prompts / o[i].seeds) : llm_format("-");
        cell[at++] = per_cent(d->wrong, d->rows);
        cell[at++] = per_cent(d->both, d->rows);
        for (int k = 0; k < MEASURES; k++) {
            static const int order[MEASURES] = {BY_RIGHT, BY_KNOWS, BY_POINTS};
            const eval_interval x = mean_of(&o[i], order[k]);
            const int f = digits[order[k]];
            cell[at++] = llm_format("%.*f\n%.*f to %.*f", f, x.mean, f, x.low, f, x.high);
        }
    }
    stage_table(card, "table.csv", "The records, and the models that learned from them", NULL,
                (const char *const *)cell, 8, n + 1);
    release_cells(cell, at);
}
/* Why answers are not right: a row sums up to 1, up to rounding. */
static void fates_table(stage_card *card, const outcome *o, int n) {
    char *cell[ROWS * (FATES + 1)] = {llm_format("records")};
    int at = 1;
    for (int f = 0; f < FATES; f++) cell[at++] = llm_format("%s", fate_name[f]);
    for (int i = 0; i < n; i++) {
        cell[at++] = llm_format("%s", o[i].words);
        for (int f = 0; f < FATES; f++) cell[at++] = llm_format("%.1f %%", 100 * o[i].fate[f]);
    }
    stage_table(card, "faults.csv", "Answers by kind of fault", NULL, (const char *const *)cell, FATES + 1, n + 1);
    release_cells(cell, at);
}
/* One measure of all sets: a drawing. */
static void measure_chart(stage_card *card, const outcome *o, int n, int measure, const char *file, const char *what) {
    char *cell[ROWS * 2] = {llm_format("records"), llm_format("share")};
    for (int i = 0; i < n; i++) {
        cell[2 * i + 2] = llm_format("%s", o[i].words);
        cell[2 * i + 3] = eval_cell(mean_of(&o[i], measure));
    }
    stage_table(card, file, what, what, (const char *const *)cell, 2, n + 1);
    release_cells(cell, 2 * n + 2);
}
static void kinds_table(stage_card *card, const outcome *o, int n) {
    char *cell[ROWS * (TW_KINDS + 1)] = {llm_format("records")};
    int at = 1;
    for (int k = 0; k < TW_KINDS; k++) cell[at++] = llm_format("%s", tw_kind_name[k]);
    for (int i = 0; i < n; i++) {
        cell[at++] = llm_format("%s", o[i].words);
        for (int k = 0; k < TW_KINDS; k++) {
            double hits = 0, all = 0;
            for (int p = 0; p < o[i].n[BY_RIGHT]; p++)
                if (o[i].kind[p] == k) all++, hits += o[i].x[BY_RIGHT][p];
            cell[at++] = per_cent(hits, all);
        }
    }
    stage_table(card, "kinds.csv", "Right, by kind of task", NULL, (const char *const *)cell, TW_KINDS + 1, n + 1);
    release_cells(cell, at);
}
/* A list of names, longer by one. */
static void add_name(char **list, const char *name) {
    char *longer = llm_format("%s%s%s", *list, **list ? ", " : "", name);
    llm_release(*list);
    *list = longer;
}
/* Every claim beside what came out; the names by verdict. The last row is no claim: what chance alone does. */
static void claims_table(stage_card *card, const outcome *set, char *names[VERDICTS]) {
    static const char *const head[] = {"claim", "this", "against that", "right, %", "points", "came out"};
    static const claim chance = {"(chance)", "the same records in another order", "usual", "again", BY_RIGHT};
    char *cell[(CLAIMS + 2) * 6];
    int at = 0;
    for (; at < 6; at++) cell[at] = llm_format("%s", head[at]);
    for (int i = 0; i <= CLAIMS; i++) {
        const claim *c = i < CLAIMS ? &claims[i] : &chance;
        const outcome *a = &set[set_named(c->good)], *b = &set[set_named(c->bad)];
        const bool alone = c == &chance;
        const eval_interval x = alone ? difference(a, b, c->measure) : honest(set, a, b, c->measure);
        const eval_interval points = alone ? difference(a, b, BY_POINTS) : honest(set, a, b, BY_POINTS);
        const char *verdict = alone ? "" : verdict_name[came_out(x)];
        const char *const text[] = {c->name, a->words, b->words};
        for (int k = 0; k < 3; k++) cell[at++] = llm_format("%s", text[k]);
        cell[at++] = plus(x, 100, 1);
        cell[at++] = plus(points, 1, 2);
        cell[at++] = llm_format("%s", verdict);
        if (!alone) add_name(&names[came_out(x)], c->name);
        printf("%-24s %-68s %+5.1f %% [%+5.1f %+5.1f] %s\n", c->name, c->says, 100 * x.mean, 100 * x.low, 100 * x.high,
               verdict);
    }
    stage_table(card, "claims.csv", "What the lectures claim, and what came out here", NULL,
                (const char *const *)cell, 6, CLAIMS + 2);
    release_cells(cell, at);
}
static void note_claims(stage_card *card) {
    char *text = llm_format("%s", "");
    for (int i = 0; i < CLAIMS; i++) {
        char *longer = llm_format("%s%s: %s\n", text, claims[i].name, claims[i].says);
        llm_release(text);
        text = longer;
    }
    stage_note(card, "The claims", text);
    llm_release(text);
}
static void print_outcomes(const outcome *o, int n) {
    printf("%-26s %6s %7s %6s %5s  %-19s  %-22s %s\n", "records", "rows", "prompts", "wrong", "both", "right",
           "points", "known");
    for (int i = 0; i < n; i++) {
        const tw_quality_count *d = &o[i].data;
        const double rows = fmax(d->rows, 1);
        printf("%-26s %6d %7d %4.0f %% %3.0f %%", o[i].words, d->rows / o[i].seeds, d->prompts / o[i].seeds,
               100 * d->wrong / rows, 100 * d->both / rows);
        for (int k = 0; k < MEASURES; k++) eval_print_interval(stdout, mean_of(&o[i], k));
        printf("\n");
    }
}
static char *all_seeds(const settings *s) {
    char *text = llm_format("%s", s->seeds.item[0]);
    for (int i = 1; i < s->seeds.count; i++) {
        char *longer = llm_format("%s %s", text, s->seeds.item[i]);
        llm_release(text);
        text = longer;
    }
    return text;
}
static void say_how(stage_card *card, const settings *s, const outcome *base, const char *seeds) {
    stage_text(card, "What makes data good? The lectures say: diversity, quality (factuality), no inter-conflicts. So "
               "one base model is fine-tuned on the tiny world's records in %d qualities, each time for %lld steps: "
               "the number of tokens is the same, a tenth of the rows is read ten times as often. Then all answer the "
               "same %d prompts, which no training asks, and choose among four endings %d times. Seed%s %s; %lld s.",
               TW_QUALITIES, (long long)s->steps, base->n[BY_RIGHT], base->n[BY_KNOWS], s->seeds.count > 1 ? "s" : "",
               seeds, (long long)s->seconds);
    stage_text(card, "Of the records: wrong, rows whose answer the true rule calls wrong (the usual ones have some); "
               "both ways, rows whose prompt has right and wrong answers. \"Half random errors\": each wrong in its "
               "own way. \"Half by another rule\": as many wrong answers, by an annotator with rules of his own, for "
               "whom facts about people are private, counting begins at one and plus means times.");
    stage_text(card, "Of the answers: right, or why not: no end; does harm; refuses what is harmless; other form than "
               "asked for; wrong. Known: of four endings the right one is the likeliest. A difference's interval holds "
               "two kinds of chance, that of the prompts and that of a second run on the same records. %s", world_rule);
}
static void draw(const settings *s, const outcome *o, int n) {
    const outcome *set = o + 1;
    char *seeds = all_seeds(s), *flag[] = {llm_format("STEPS=%lld", (long long)s->steps),
                                           llm_format("SEEDS=\"%s\"", seeds)};
    char *argv[] = {"make", "quality", flag[0], flag[1]};
    stage_card card = stage_begin(s->out, NULL, 7, "What makes data good?", 4, argv);
    char *names[VERDICTS];
    for (int v = 0; v < VERDICTS; v++) names[v] = llm_format("%s", "");
    print_outcomes(o, n);
    say_how(&card, s, o, seeds);
    measure_chart(&card, o, n, BY_RIGHT, "right.csv", "Right, share of the prompts");
    claims_table(&card, set, names);
    all_table(&card, o, n);
    fates_table(&card, o, n);
    kinds_table(&card, o, n);
    measure_chart(&card, o, n, BY_KNOWS, "known.csv", "Known, share of the choices");
    note_claims(&card);
    for (int v = 0; v < VERDICTS; v++) if (!*names[v]) add_name(&names[v], "none");
    const double lima = mean_of(&set[set_named("best-tenth")], BY_RIGHT).mean;
    const double usual = mean_of(&set[set_named("usual")], BY_RIGHT).mean;
    char *said = llm_format("Claims that hold: %s; the contrary came out of: %s; undecided: %s. Right after a tenth "
                            "with the best answers %.1f %%, after all as they are %.1f %%", names[HOLDS],
                            names[CONTRARY], names[UNDECIDED], 100 * lima, 100 * usual);
    printf("%s\n", said);
    stage_end(&card, "%s", said);
    for (int v = 0; v < VERDICTS; v++) llm_release(names[v]);
    llm_release_all(seeds, flag[0], flag[1], said);
}

/* ================================================= 5. the program ==================================================*/

static void show(const settings *s) {
    outcome o[TW_QUALITIES + 1];
    world_open(&world);
    o[0] = read_outcome(s, NULL, "none: the base model");
    for (int k = 0; k < TW_QUALITIES; k++) o[k + 1] = read_outcome(s, tw_qualities[k].name, tw_qualities[k].words);
    draw(s, o, TW_QUALITIES + 1);
    for (int k = 0; k <= TW_QUALITIES; k++) free_outcome(&o[k]);
}
int main(int argc, char **argv) {
    static settings s = {.seed = 1, .rows = 3000, .each = 100, .steps = 0};
    llm_option options[] = {
        {"out", LLM_TEXT, &s.out, 0, 0, "the experiment's folder", NULL, "o"},
        OPTION("write", LLM_BOOL, &s.write, 0, 0, "write the records of --seed and the prompts, and print the names"),
        OPTION("seed", LLM_INT, &s.seed, 0, 1e15, "of the records"),
        OPTION("rows", LLM_INT, &s.rows, 10, 1e6, "records of a set"),
        OPTION("each", LLM_INT, &s.each, 1, 1e4, "prompts of each kind, as far as there are so many"),
        OPTION("seeds", LLM_LIST, &s.seeds, 0, 0, "whose answers become the table"),
        OPTION("steps", LLM_INT, &s.steps, 0, 1e9, "that the models were trained, for the page"),
        OPTION("seconds", LLM_INT, &s.seconds, 0, 1e9, "that it took, for the page"),
    };
    llm_options_parse(options, sizeof options / sizeof options[0], "what makes data good? (tools/quality.sh)", argc,
                      argv);
    if (!s.out) llm_usage("--out out/quality", "which folder?");
    if (!s.write && !s.seeds.count) llm_usage("--write, or --seeds 1", "nothing to do");
    llm_options_idle("seed|rows|each", !s.write, "without --write nothing is written");
    llm_options_idle("seeds|steps|seconds", s.write, "--write makes no table");
    if (s.write) write_sets(&s);
    else show(&s);
    return 0;
}
