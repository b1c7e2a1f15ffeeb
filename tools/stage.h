/* stage.h: what a stage leaves in OUT for the page of all stages, which build/report draws: stage.json (what it was,
   its result in a sentence, what else there is), tables as CSV, samples.jsonl, and tokens.jsonl, the lecture's picture
   of tokens. At the end build/report is run, if it lies beside this program: so the page is there without a further
   command. Included after run.h. */
#ifndef STAGE_H
#define STAGE_H

#include <stdarg.h>
#include <sys/wait.h>
#include "told.h"

typedef struct {
    const char *out, *page;             /* out NULL: nothing is kept; page NULL: report.html beside OUT; "off": none */
    char **argv;
    int argc, stage;                    /* the page is in the order of the stages */
    int told;                           /* conversations with a system prompt (told.h), or -1 */
    const char *title;
    char *parts;                        /* of stage.json, as they come */
} stage_card;

static inline stage_card stage_begin(const char *out, const char *page, int stage, const char *title, int argc,
                                     char **argv) {
    return (stage_card){llm_leads() ? out : NULL, page, argv, argc, stage, -1, title, llm_format("%s", "")};
}
/* The same of a driver: its --report, and the command line that its flags came from. */
static inline stage_card stage_of(const run_settings *r, const char *out, int stage, const char *title) {
    return stage_begin(out, r->report, stage, title, options_given.argc, options_given.argv);
}
/* A string as JSON, in fresh memory. */
static inline char *stage_quoted(const char *text) {
    char *json = NULL, *copy;
    size_t size;
    llm_writer w = {.file = open_memstream(&json, &size)};
    if (!w.file) llm_die("a machine with more memory", "no memory for the report");
    llm_write_json_string(&w, text, strlen(text));
    fclose(w.file);
    copy = llm_format("%s", json);
    free(json);
    return copy;
}
/* May a file of OUT be written? It is not there yet, or a stage.json of ours lies beside it: somebody's own stays. */
static inline bool stage_may_write(const char *out, const char *file) {
    char *path = llm_format("%s/%s", out, file), *ours = llm_format("%s/stage.json", out);
    bool may = !llm_exists(path) || (llm_exists(ours) && run_is_ours(ours, "{\"stage\": ", false));
    if (!may) fprintf(stderr, "note: %s is not ours and stays; the report does without it\n", path);
    llm_release_all(path, ours);
    return may;
}
/* Adds a part, an object of JSON, and releases it. */
static inline void stage_add(stage_card *c, char *json) {
    char *longer = llm_format("%s%s%s", c->parts, *c->parts ? ",\n" : "", json);
    llm_release_all(c->parts, json);
    c->parts = longer;
}
/* A paragraph; with a title: text as it was printed, continuations of a base model. */
static inline void stage_note(stage_card *c, const char *title, const char *text) {
    char *n = title ? stage_quoted(title) : llm_format("null"), *t = stage_quoted(text);
    stage_add(c, llm_format("{\"kind\": \"text\", \"title\": %s, \"text\": %s}", n, t));
    llm_release_all(n, t);
}
LLM_PRINTF(2, 3) static inline void stage_text(stage_card *c, const char *format, ...) {
    char text[4096];
    va_list a;
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    stage_note(c, NULL, text);
}
/* The log as a file of OUT, which the page reads: --log may be elsewhere, then a copy of it is OUT/log.csv. */
static inline char *stage_bring(const char *out, const char *log) {
    char *there = llm_format("%s/log.csv", out), *real = realpath(log, NULL), *folder = realpath(out, NULL);
    char *name = llm_format("log.csv");
    if (real && folder && path_within(out, log)) {
        llm_release(name);
        name = llm_format("%s", real + strlen(folder) + 1);
    } else if (real && run_is_log(there)) {
        size_t size;
        char *text = llm_read_file(log, &size);
        llm_writer w = llm_write_begin(there);
        llm_write_bytes(&w, text, size);
        llm_write_done(&w);
        llm_release(text);
    }
    free(real);
    free(folder);
    llm_release(there);
    return name;
}
/* A log whose curves are shown, NULL: OUT/log.csv; and a level that bits per byte can be compared with, NAN: none. */
static inline void stage_log(stage_card *c, const char *name, const char *file, double level) {
    char *in = file && c->out ? stage_bring(c->out, file) : llm_format("log.csv");
    char *n = stage_quoted(name), *f = stage_quoted(in);
    char *floor = isnan(level) ? llm_format("null") : llm_format("%.17g", level);
    stage_add(c, llm_format("{\"kind\": \"log\", \"name\": %s, \"file\": %s, \"floor\": %s}", n, f, floor));
    llm_release_all(in, n, f, floor);
}
/* The title of a part that lies in a file of its own: samples.jsonl, tokens.jsonl, table.csv of stage 3's methods. */
static inline void stage_file(stage_card *c, const char *kind, const char *title, const char *detail) {
    char *t = stage_quoted(title), *d = detail ? stage_quoted(detail) : llm_format("null");
    stage_add(c, llm_format("{\"kind\": \"%s\", \"title\": %s, \"detail\": %s}", kind, t, d));
    llm_release_all(t, d);
}

/* ---- tables: OUT/FILE, a row a line, a model a column; a share is "mean low high" ---- */

static inline void stage_cell(llm_writer *w, const char *text, bool last) {
    llm_write_text(w, "\"");
    for (const char *s = text; *s; s++) llm_write_text(w, *s == '"' ? "\"\"" : "%c", *s);
    llm_write_text(w, last ? "\"\n" : "\",");
}
/* picture: also drawn, under this title; NULL: not. */
static inline void stage_table(stage_card *c, const char *file, const char *title, const char *picture,
                               const char *const *cell, int columns, int rows) {
    if (!c->out) return;
    char *path = llm_format("%s/%s", c->out, file), *f = stage_quoted(file), *t = stage_quoted(title);
    char *p = picture ? stage_quoted(picture) : llm_format("null");
    bool may = stage_may_write(c->out, file);
    llm_writer w = may ? llm_write_begin(path) : (llm_writer){0};
    for (int i = 0; i < rows * columns && may; i++)
        stage_cell(&w, cell[i] ? cell[i] : "", i % columns == columns - 1);
    if (may) llm_write_done(&w);
    if (may)
        stage_add(c, llm_format("{\"kind\": \"table\", \"file\": %s, \"title\": %s, \"picture\": %s}", f, t, p));
    llm_release_all(path, f, t, p);
}

/* ---- charts: OUT/FILE, a point a line ---- */

/* A line of a drawing, style: "line", "dashed" (a level to compare with), "dots" or "joined" (dots and a line through
   them). Lines of one name have one colour. */
typedef struct { const char *name, *style; const double *x, *y; int n; } stage_line;

/* log: which axes are logarithmic, "", "x", "y" or "xy"; look: a sentence that says what to look for. */
static inline void stage_chart(stage_card *c, const char *file, const char *title, const char *x_label, const char *log,
                               const char *look, const stage_line *line, int lines) {
    if (!c->out || !stage_may_write(c->out, file)) return;
    char *path = llm_format("%s/%s", c->out, file), *f = stage_quoted(file), *t = stage_quoted(title);
    char *x = stage_quoted(x_label), *l = stage_quoted(look);
    llm_writer w = llm_write_begin(path);
    llm_write_text(&w, "name,style,x,y\n");
    for (int i = 0; i < lines; i++)
        for (int k = 0; k < line[i].n; k++) {
            stage_cell(&w, line[i].name, false);
            llm_write_text(&w, "%s,%.9g,%.9g\n", line[i].style, line[i].x[k], line[i].y[k]);
        }
    llm_write_done(&w);
    stage_add(c, llm_format("{\"kind\": \"chart\", \"file\": %s, \"title\": %s, \"x\": %s, \"log\": \"%s\", "
                            "\"look\": %s}", f, t, x, log, l));
    llm_release_all(path, f, t, x, l);
}

/* ---- samples: the same prompts, answered by several models ---- */

/* right: 1, 0, or -1: nobody knows; points by the true rule, NAN: there are none. */
typedef struct { int right; double points; } stage_verdict;

/* answer: (models, prompts); verdict: the same, or NULL. */
static inline void stage_samples(stage_card *c, const char *title, const char *const *model, int models,
                                 const char *const *prompt, int prompts, const char *const *answer,
                                 const stage_verdict *verdict) {
    if (!c->out || !stage_may_write(c->out, "samples.jsonl")) return;
    char *path = llm_format("%s/samples.jsonl", c->out);
    llm_writer w = llm_write_begin(path);
    for (int i = 0; i < prompts; i++) {
        llm_write_text(&w, "{\"prompt\": ");
        llm_write_json_string(&w, prompt[i], strlen(prompt[i]));
        llm_write_text(&w, ", \"answers\": [");
        for (int m = 0; m < models; m++) {
            const stage_verdict v = verdict ? verdict[m * prompts + i] : (stage_verdict){-1, NAN};
            llm_write_text(&w, m ? ", {\"model\": " : "{\"model\": ");
            llm_write_json_string(&w, model[m], strlen(model[m]));
            llm_write_text(&w, ", \"text\": ");
            llm_write_json_string(&w, answer[m * prompts + i], strlen(answer[m * prompts + i]));
            llm_write_text(&w, ", \"right\": %s", v.right < 0 ? "null" : v.right ? "true" : "false");
            if (!isnan(v.points)) llm_write_text(&w, ", \"points\": %.9g", v.points);
            llm_write_text(&w, "}");
        }
        llm_write_text(&w, "]}\n");
    }
    llm_write_done(&w);
    stage_file(c, "samples", title, NULL);
    llm_release(path);
}

/* ---- the token picture ---- */

/* What the picture shows of a batch, as its loss saw it. (B,T) arrays: what stands under each token that counts (NULL:
   its log-probability), the log-probabilities of the policy and of the reference (NULL: none). [B]: a name before each
   row and a number at its end (NULL: none), read: what that is (NULL: the token where a reward model reads it). most:
   tokens of a row, 0: all. */
typedef struct {
    const llm_real *value, *logp, *ref;
    const char *const *name, *read;
    const double *score;
    int most;
} stage_numbers;

static inline void stage_token(llm_writer *w, const llm_tokenizer *t, int id, const stage_numbers *x, size_t at) {
    char *text = llm_decode(t, &id, 1, true, NULL);
    llm_write_text(w, "{\"text\": ");
    llm_write_json_string(w, text, strlen(text));
    if (at != SIZE_MAX && x->value) llm_write_text(w, ", \"value\": %.9g", (double)x->value[at]);
    if (at != SIZE_MAX) llm_write_text(w, ", \"logp\": %.9g", (double)x->logp[at]);
    if (at != SIZE_MAX && x->ref) llm_write_text(w, ", \"reference\": %.9g", (double)x->ref[at]);
    llm_write_text(w, "}");
    llm_release(text);
}
/* Rows of a real batch: every token, and those numbers under the ones whose loss counts. */
static inline void stage_tokens(const char *out, const llm_tokenizer *t, const llm_batch *b, int rows,
                                stage_numbers x) {
    char *path = llm_format("%s/tokens.jsonl", out);
    const bool may = run_is_ours(path, "{\"tokens\": [", false);
    if (llm_leads() && !may) fprintf(stderr, "note: %s is not ours and stays; the report does without it\n", path);
    llm_writer w = llm_leads() && may ? llm_write_begin(path) : (llm_writer){0};
    for (int i = 0; i < llm_min(rows, b->B) && w.file; i++) {
        const int *target = b->targets + i * b->T, *token = b->tokens + i * b->T;
        int last = b->T - 1;
        while (last > 0 && b->weight[i * b->T + last] == 0) last--;
        if (x.most) last = llm_min(last, x.most - 1);
        llm_write_text(&w, "{\"tokens\": [");
        for (int j = 0; j <= last; j++) {
            const size_t at = (size_t)i * (size_t)b->T + (size_t)j;
            const char *comma = j ? ", " : "";
            if (b->positions[at] == 0) {                    /* a document begins: nothing predicts its first token */
                llm_write_text(&w, "%s", comma);
                stage_token(&w, t, token[j], &x, SIZE_MAX);
                comma = ", ";
            }
            if (b->weight[at] == 0 && (j + 1 == b->T || b->positions[at + 1] == 0)) continue;
            llm_write_text(&w, "%s", comma);
            stage_token(&w, t, b->weight[at] != 0 ? target[j] : token[j + 1], &x, b->weight[at] != 0 ? at : SIZE_MAX);
        }
        char *sign = x.read || t->reward < 0 ? llm_format("%s", x.read ? x.read : "reward")
                                             : llm_decode(t, &t->reward, 1, true, NULL);
        llm_write_text(&w, "], \"name\": ");
        llm_write_json_string(&w, x.name ? x.name[i] : "", x.name ? strlen(x.name[i]) : 0);
        llm_write_text(&w, ", \"read\": ");
        llm_write_json_string(&w, sign, strlen(sign));
        if (x.score) llm_write_text(&w, ", \"score\": %.9g", x.score[i]);
        llm_write_text(&w, "}\n");
        llm_release(sign);
    }
    if (w.file) llm_write_done(&w);
    llm_release(path);
}

/* ---- the page ---- */

/* The program that draws, beside this one or in build/ there. */
static inline char *stage_program(const char *self) {
    static const char *const where[] = {"%.*s/build/report", "%.*s/report"};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) exe[n] = 0;
    if (n > 0) self = exe;
    const char *slash = strrchr(self, '/');
    for (int i = 0; i < 2; i++) {
        char *path = slash ? llm_format(where[i], (int)(slash - self), self) : llm_format(where[i], 1, ".");
        if (!access(path, X_OK)) return path;
        llm_release(path);
    }
    return NULL;
}
static inline void stage_not_drawn(void) { _exit(1); }
/* No page is no reason to fail, the model is saved; unless somebody named the page: then the program ends with 1. */
static inline void stage_draw(const stage_card *c) {
    static bool missed;
    char *program = stage_program(c->argv[0]);
    int status = 1;
    if (!program) fprintf(stderr, "no report: make build/report, then build/report --out %s\n", c->out);
    fflush(stdout);
    pid_t child = program ? fork() : -1;
    if (child == 0) {
        execl(program, program, "--out", c->out, c->page ? "--page" : (char *)NULL, c->page, (char *)NULL);
        _exit(127);
    }
    const bool drawn = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    if (!drawn && c->page && !missed) {
        fprintf(stderr, "error: --report %s could not be written; all else is saved\n  try: build/report --out %s\n",
                c->page, c->out);
        missed = true;
        atexit(stage_not_drawn);
    }
    llm_release(program);
}
/* Write stage.json, whose result is the stage in a sentence, and draw the page. */
LLM_PRINTF(2, 3) static inline void stage_end(stage_card *c, const char *result, ...) {
    char line[512], *path = c->out ? llm_format("%s/stage.json", c->out) : NULL;
    va_list a;
    va_start(a, result);
    vsnprintf(line, sizeof line, result, a);
    va_end(a);
    if (c->out && stage_may_write(c->out, "stage.json")) {
        llm_writer w = llm_write_begin(path);
        llm_write_text(&w, "{\"stage\": %d, \"time\": %lld, \"title\": ", c->stage, (long long)time(NULL));
        llm_write_json_string(&w, c->title, strlen(c->title));
        if (c->told >= 0) llm_write_text(&w, ", \"system\": %d", c->told);
        llm_write_text(&w, ",\n\"command\": [");
        for (int i = 0; i < c->argc; i++) {
            llm_write_text(&w, i ? ", " : "");
            llm_write_json_string(&w, c->argv[i], strlen(c->argv[i]));
        }
        llm_write_text(&w, "],\n\"result\": ");
        llm_write_json_string(&w, line, strlen(line));
        llm_write_text(&w, ",\n\"parts\": [\n%s]}\n", c->parts);
        llm_write_done(&w);
    }
    llm_release_all(path, c->parts);
    if (c->out && (!c->page || strcmp(c->page, "off"))) PROGRESS(stage_draw(c), "drawing the page");
    *c = (stage_card){0};
}
#endif
