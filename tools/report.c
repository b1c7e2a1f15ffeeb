/* report.c: the report card. Every stage leaves OUT/stage.json and beside it tables, samples and its log.csv (stage.h);
   this program draws the page of all stages that lie beside OUT. Drivers run it at their end.

       build/report --out out/sft                     out/report.html: curves, tables, samples, the token picture

   The page is one file that loads nothing: the drawings are SVG written here, no script runs in it, light and dark
   follow the reader's system. Text of models and data is escaped: it stays text. What is not ours, or broken, does no
   harm: each stage is read and drawn by a process of its own, and where that fails the page does without it. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "options.h"
#include "path.h"
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <fcntl.h>
#include <time.h>

/* ================================================= 1. drawing ======================================================*/

typedef struct {
    FILE *body, *found;                 /* found: lines for the page's own part, report_found */
    int stage;
    bool grid, several;                 /* inside a row of drawings; several runs in one stage: their curves unfold */
} report_card;

/* ---- text ---- */

/* HTML's five signs are escaped, bytes that are no UTF-8 and control signs become U+FFFD. */
static void report_escape(FILE *f, const char *text, size_t n) {
    for (size_t i = 0, step; i < n; i += step) {
        uint32_t code;
        step = (size_t)llm_utf8_get(text + i, n - i, &code);
        if (code == UINT32_MAX || shown_commands(code)) fputs("\xEF\xBF\xBD", f);
        else if (code == '&') fputs("&amp;", f);
        else if (code == '<') fputs("&lt;", f);
        else if (code == '>') fputs("&gt;", f);
        else if (code == '"') fputs("&quot;", f);
        else if (code == '\'') fputs("&#39;", f);
        else fwrite(text + i, 1, step, f);
    }
}
/* A member that is a list: its first element; NULL: there is none. */
static const llm_json *report_list(const llm_json *object, const char *key) {
    const llm_json *list = llm_json_get(object, key);
    return list && list->type == LLM_JSON_ARRAY ? list->child : NULL;
}
/* A file of OUT. Where it leads out of it, the stage is a stranger's. */
static char *report_path_in(const char *out, const char *file) {
    if (!path_stays(out, file)) llm_die("leave it out", "%s is not in %s", file, out);
    return llm_format("%s/%s", out, file);
}
static void report_one_line(FILE *f, const char *text) {        /* raw: it is escaped when the page is written */
    for (; *text; text++) fputc(*text == '\n' ? ' ' : *text, f);
    fputc('\n', f);
}
static void report_put(report_card *r, const char *text) { report_escape(r->body, text, strlen(text)); }
/* <h3>text</h3> and the like; tag: "h3", with attributes where it has some. */
static void report_tag(report_card *r, const char *tag, const char *text) {
    fprintf(r->body, "<%s>", tag);
    report_put(r, text);
    fprintf(r->body, "</%.*s>", (int)strcspn(tag, " "), tag);
}

/* Drawings stand side by side in a grid until something else comes. */
static void report_grid(report_card *r, bool on) {
    if (r->grid != on) fputs(on ? "<div class=\"grid\">\n" : "</div>\n", r->body);
    r->grid = on;
}
/* A paragraph. */
static void report_text(report_card *r, const char *text) {
    report_grid(r, false);
    report_tag(r, "p", text);
}
/* Text as it was printed: continuations of a base model. */
static void report_lines(report_card *r, const char *title, const char *text) {
    report_grid(r, false);
    report_tag(r, "h3", title);
    report_tag(r, "pre", text);
}

/* ---- curves ---- */

/* A line of a drawing. Points that are not finite are left out. A dashed line is a level to compare with, dots are
   single measurements, joined: with a line through them. */
typedef enum { REPORT_LINE, REPORT_DASHED, REPORT_DOTS, REPORT_JOINED } report_style;
typedef struct { const char *name; const double *x, *y; int n; report_style style; } report_line;

enum { REPORT_W = 360, REPORT_H = 216, REPORT_LEFT = 46, REPORT_RIGHT = 350, REPORT_TOP = 10, REPORT_BOTTOM = 182 };
typedef struct { double low, high; bool log; } report_axis;

static double report_at(const report_axis *a, double v, double from, double to) {
    double low = a->log ? log(a->low) : a->low, high = a->log ? log(a->high) : a->high, x = a->log ? log(v) : v;
    return from + (to - from) * (x - low) / (high - low);
}
static report_axis report_range(const report_line *line, int lines, bool of_y, bool log) {
    report_axis a = {INFINITY, -INFINITY, log};
    for (int i = 0; i < lines; i++)
        for (int j = 0; j < line[i].n; j++) {
            double v = of_y ? line[i].y[j] : line[i].x[j];
            if (!isfinite(line[i].x[j]) || !isfinite(line[i].y[j])) continue;
            a.low = fmin(a.low, v);
            a.high = fmax(a.high, v);
        }
    if (!(a.low > 0)) a.log = false;
    double room = fmax(a.high - a.low, 1e-9 * fabs(a.high));
    if (room <= 0) room = 1;
    if (a.log) a.low /= 1.05, a.high *= 1.05;
    else if (of_y || a.low == a.high) a.low -= 0.04 * room, a.high += 0.04 * room;
    return a;
}
/* Round numbers inside an axis, some five of them. */
static int report_ticks(const report_axis *a, double tick[16]) {
    int n = 0;
    if (a->log) {
        static const double in_decade[] = {1, 2, 5};
        for (int e = (int)floor(log10(a->low)); e <= (int)ceil(log10(a->high)); e++)
            for (int i = 0; i < 3 && n < 16; i++) {
                double v = in_decade[i] * pow(10, e);
                if (v >= a->low && v <= a->high && (i == 0 || a->high / a->low < 200)) tick[n++] = v;
            }
        if (n >= 2) return n;
        n = 0;
    }
    double raw = (a->high - a->low) / 4.5, unit = pow(10, floor(log10(raw))), step = raw / unit;
    step = (step < 1.5 ? 1 : step < 3.5 ? 2 : step < 7.5 ? 5 : 10) * unit;
    for (double v = ceil(a->low / step) * step; v <= a->high + 1e-9 * step && n < 16; v += step)
        tick[n++] = fabs(v) < 1e-9 * step ? 0 : v;
    return n;
}
static void report_number(FILE *f, double v) {
    if (fabs(v) >= 1e4 && fabs(v) < 1e6 && fmod(v, 1000) == 0) fprintf(f, "%gk", v / 1e3);
    else fprintf(f, "%.4g", v);
}
static void report_axes(FILE *f, const report_axis *x, const report_axis *y, const char *x_label) {
    double tick[16];
    int n = report_ticks(y, tick);
    for (int i = 0; i < n; i++) {
        double at = report_at(y, tick[i], REPORT_BOTTOM, REPORT_TOP);
        fprintf(f, "<path class=\"g\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", REPORT_LEFT,
                at, REPORT_RIGHT, REPORT_LEFT - 5, at + 4);
        report_number(f, tick[i]);
        fputs("</text>", f);
    }
    n = report_ticks(x, tick);
    for (int i = 0; i < n; i++) {
        double at = report_at(x, tick[i], REPORT_LEFT, REPORT_RIGHT);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", at, REPORT_BOTTOM + 15,
                at > REPORT_RIGHT - 12 ? "end" : "middle");
        report_number(f, tick[i]);
        fputs("</text>", f);
    }
    fprintf(f, "<path class=\"ax\" d=\"M%d %dV%dH%d\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", REPORT_LEFT,
            REPORT_TOP, REPORT_BOTTOM, REPORT_RIGHT, (REPORT_LEFT + REPORT_RIGHT) / 2, REPORT_H - 4);
    report_escape(f, x_label, strlen(x_label));
    fputs("</text>\n", f);
}
/* One polyline; each point is the mean of `window` neighbours, so that a noisy curve shows where it goes. */
static void report_path(FILE *f, const report_line *l, const report_axis *x, const report_axis *y, int window,
                               const char *style, int color) {
    char move = 'M';
    fprintf(f, "<path class=\"%s c%d\" d=\"", style, color % 8);
    for (int i = 0; i < l->n; i += window) {
        double sx = 0, sy = 0, n = 0;
        for (int j = i; j < llm_min(i + window, l->n); j++)
            if (isfinite(l->x[j]) && isfinite(l->y[j])) {
                sx += l->x[j];
                sy += l->y[j];
                n++;
            }
        if (n == 0) continue;
        fprintf(f, "%c%.1f %.1f", move, report_at(x, sx / n, REPORT_LEFT, REPORT_RIGHT),
                report_at(y, sy / n, REPORT_BOTTOM, REPORT_TOP));
        move = 'L';
    }
    fputs("\"/>\n", f);
}
static void report_dots(FILE *f, const report_line *l, const report_axis *x, const report_axis *y, int color) {
    for (int i = 0; i < l->n; i++)
        if (isfinite(l->x[i]) && isfinite(l->y[i]))
            fprintf(f, "<circle class=\"d c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%.4g, %.4g</title></circle>\n",
                    color % 8, report_at(x, l->x[i], REPORT_LEFT, REPORT_RIGHT),
                    report_at(y, l->y[i], REPORT_BOTTOM, REPORT_TOP), l->x[i], l->y[i]);
}
/* A drawing begins: title, legend, room. name NULL: one line without a name. */
static void report_figure(report_card *r, const char *title, const char *const *name, int n, int height) {
    FILE *f = r->body;
    report_grid(r, true);
    fputs("<figure>", f);
    report_tag(r, "figcaption", title);
    for (int i = 0; i < n; i++) {
        fprintf(f, "%s<span class=\"k%d\">&#9632;</span> ", i ? " &ensp;" : "<p class=\"key\">", i % 8);
        report_put(r, name[i]);
        if (i == n - 1) fputs("</p>\n", f);
    }
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", REPORT_W, height);
    report_put(r, title);
    fputs("\">\n", f);
}
/* It ends, with a sentence that says what to look for. */
static void report_figure_end(report_card *r, const char *look) {
    fputs("</svg>\n", r->body);
    report_tag(r, "p class=\"look\"", look);
    fputs("</figure>\n", r->body);
}
/* Each point is the mean of so many neighbours: a noisy curve then shows where it goes. */
static int report_window(const report_line *l) {
    return l->style != REPORT_LINE || l->n < 24 ? 1 : llm_max(l->n / 60, llm_min(l->n / 12, 6));
}

/* Where a line begins and ends, for the legend. */
static char *report_ends(const report_line *l) {
    const int window = report_window(l);
    double end[2] = {NAN, NAN};
    for (int i = 0; i < l->n; i += window) {
        double sum = 0, n = 0;
        for (int j = i; j < llm_min(i + window, l->n); j++)
            if (isfinite(l->x[j]) && isfinite(l->y[j])) sum += l->y[j], n++;
        if (n > 0) end[1] = sum / n;
        if (isnan(end[0])) end[0] = end[1];
    }
    for (int i = 0; i < 2; i++) if (fabs(end[i]) >= 1000) end[i] = rint(end[i]);
    return end[0] == end[1] ? llm_format("%s %.*g", l->name, fabs(end[1]) < 1000 ? 3 : 9, end[1])
                            : llm_format("%s %.*g \xE2\x86\x92 %.*g", l->name, fabs(end[0]) < 1000 ? 3 : 9, end[0],
                                         fabs(end[1]) < 1000 ? 3 : 9, end[1]);
}
/* A drawing of several lines over one x; log_x, log_y: that axis is logarithmic where all values are positive. Lines of
   one name have one colour, and the first of them the word in the legend. Without a single point there is nothing to
   draw. */
static void report_chart(report_card *r, const char *title, const char *x_label, const report_line *line, int lines,
                         bool log_x, bool log_y, const char *look) {
    enum { MOST = 24 };
    char *name[MOST] = {NULL};
    int color[MOST], names = 0;
    FILE *f = r->body;
    lines = llm_min(lines, MOST);
    report_axis x = report_range(line, lines, false, log_x), y = report_range(line, lines, true, log_y);
    if (!isfinite(x.low)) return;
    for (int i = 0; i < lines; i++) {
        int same = 0;
        while (strcmp(line[same].name, line[i].name)) same++;
        color[i] = same < i ? color[same] : names;
        if (same == i) name[names++] = report_ends(&line[i]);
    }
    report_figure(r, title, (const char *const *)name, names, REPORT_H);
    report_axes(f, &x, &y, x_label);
    for (int i = 0; i < lines; i++) {
        const report_line *l = &line[i];
        int window = report_window(l), thin = l->n > 600 ? l->n / 300 : 1, c = color[i];
        if (window > 1) report_path(f, l, &x, &y, thin, "raw", c);
        if (l->style != REPORT_DOTS) report_path(f, l, &x, &y, window, l->style == REPORT_DASHED ? "l dash" : "l", c);
        if (l->style >= REPORT_DOTS) report_dots(f, l, &x, &y, c);
        if (i < names) llm_release(name[i]);
    }
    report_figure_end(r, look);
}
/* A column of a CSV with a header: the log has all steps, those before --resume too. Empty cells are NaN. The caller
   releases it; NULL: no such column. */
static double *report_column(const char *path, const char *column, int *n) {
    *n = 0;
    if (!llm_exists(path)) return NULL;
    char *text = llm_read_file(path, NULL);
    int wanted = -1;
    size_t capacity = 0;
    double *x = NULL;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        double v = NAN;
        int at = 0;
        for (char *cell = line, *stop; cell; cell = stop, at++) {
            stop = strchr(cell, ',');
            if (stop) *stop++ = 0;
            if (line == text && !strcmp(cell, column)) wanted = at;
            if (line != text && at == wanted && *cell) v = atof(cell);
        }
        if (line == text || wanted < 0) continue;
        x = llm_grow(x, &capacity, (size_t)*n + 1, sizeof *x);
        x[(*n)++] = v;
    }
    llm_release(text);
    return x;
}
/* Columns of a CSV over its column "step": "loss|val_loss". False: it has none of them. */
static bool report_log(report_card *r, const char *title, const char *path, const char *columns, bool log_y,
                       const char *look) {
    report_line line[8];
    char names[8][32];
    double *x, *y[8];
    int n, steps, lines = 0;
    x = report_column(path, "step", &steps);
    for (const char *c = columns; *c && lines < 8; c += strcspn(c, "|"), c += *c == '|') {
        snprintf(names[lines], sizeof names[0], "%.*s", (int)strcspn(c, "|"), c);
        y[lines] = report_column(path, names[lines], &n);
        int points = 0;
        for (int i = 0; i < n; i++) points += isfinite(y[lines][i]);
        if (!x || n != steps || points == 0) { llm_release(y[lines]); continue; }
        line[lines] = (report_line){names[lines], x, y[lines], n, points < n / 4 ? REPORT_DOTS : REPORT_LINE};
        lines++;
    }
    if (lines) report_chart(r, title, "step", line, lines, false, log_y, look);
    for (int i = 0; i < lines; i++) llm_release(y[i]);
    llm_release(x);
    return lines > 0;
}

/* ---- tables ---- */

/* cell: rows x columns, the first column names the row. In a cell, what follows a line end is smaller print. folded:
   the numbers of a drawing above it. On a narrow page each row becomes a list (data-h: what a cell is of). */
static void report_table(report_card *r, const char *title, const char *const *head, int columns,
                         const char *const *cell, int rows, bool folded) {
    FILE *f = r->body;
    report_grid(r, false);
    if (folded) fputs("<details>", f);
    report_tag(r, folded ? "summary" : "h3", title);
    fputs("<table><tr>", f);
    for (int c = 0; c < columns; c++) report_tag(r, "th", head[c]);
    fputs("</tr>\n", f);
    for (int i = 0; i < rows * columns; i++) {
        const char *text = cell[i] ? cell[i] : "";
        size_t n = strcspn(text, "\n");
        fputs(i % columns ? "<td data-h=\"" : "<tr><th", f);
        if (i % columns) report_put(r, head[i % columns]);
        fputs(i % columns ? "\">" : ">", f);
        report_escape(f, text, n);
        if (text[n]) report_tag(r, "small", text + n + 1);
        fputs(i % columns ? "</td>" : "</th>", f);
        if (i % columns == columns - 1) fputs("</tr>\n", f);
    }
    fputs(folded ? "</table></details>\n" : "</table>\n", f);
}
/* Measurements as a picture: for each row and model a dot with its interval. x: (rows, models, 3): mean, low, high;
   what is not finite is left out. */
typedef struct {
    const char *const *row, *const *model;
    int rows, models;
    const double *x;
    double low, high, level;            /* level: to compare with, a dashed line */
} report_dot;

static void report_intervals(report_card *r, const char *title, report_dot d, const char *look) {
    FILE *f = r->body;
    int step = d.models > 2 ? 7 : 9, each = step * d.models + 9, height = d.rows * each + 26, left = 60;
    report_axis a = {d.low, d.high, false};
    double tick[16];
    for (int i = 0; i < d.rows; i++) left = llm_max(left, llm_min(200, 12 + 6 * (int)strlen(d.row[i])));
    report_figure(r, title, d.model, d.models > 1 ? d.models : 0, height);
    for (int i = 0, n = report_ticks(&a, tick); i < n; i++) {
        double at = report_at(&a, tick[i], left, REPORT_RIGHT);
        fprintf(f, "<path class=\"g\" d=\"M%.1f 4V%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%.4g</text>\n",
                at, height - 18, at, height - 4, at > REPORT_RIGHT - 12 ? "end" : "middle", tick[i]);
    }
    if (d.level > 0) {
        const double at = report_at(&a, d.level, left, REPORT_RIGHT);
        fprintf(f, "<path class=\"ax dash\" d=\"M%.1f 4V%d\"/>", at, height - 18);
    }
    for (int i = 0; i < d.rows; i++) {
        fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", left - 6, i * each + each / 2 + 4);
        report_put(r, d.row[i]);
        fputs("</text>", f);
        for (int m = 0; m < d.models; m++) {
            const double *v = d.x + (i * d.models + m) * 3;
            if (!isfinite(v[0])) continue;
            double at[3];
            int y = i * each + step * m + 9;
            for (int k = 0; k < 3; k++) at[k] = report_at(&a, fmin(fmax(v[k], d.low), d.high), left, REPORT_RIGHT);
            fprintf(f, "<path class=\"ci c%d\" d=\"M%.1f %dH%.1f\"/><circle class=\"d c%d\" cx=\"%.1f\" cy=\"%d\" "
                    "r=\"3\"><title>%.4g [%.4g %.4g]</title></circle>\n", m % 8, at[1], y, at[2], m % 8, at[0], y,
                    v[0], v[1], v[2]);
        }
    }
    report_figure_end(r, look);
}

/* ---- samples ---- */

enum { REPORT_SHOWN = 8 };              /* the others unfold */

/* The same prompts, answered by several models. answer: (models, prompts); right: the same, 1, 0, or -1: not judged;
   points by the true rule, NAN: none. */
typedef struct { const char *text; int right; double points; } report_answer;

static void report_samples(report_card *r, const char *title, const char *const *model, int models,
                           const char *const *prompt, int prompts, const report_answer *answer) {
    FILE *f = r->body;
    bool known = false, counted = false;
    for (int i = 0; i < models * prompts; i++) {
        known = known || answer[i].right >= 0;
        counted = counted || !isnan(answer[i].points);
    }
    report_grid(r, false);
    report_tag(r, "h3", title);
    if (known)
        fprintf(f, "<p class=\"key\"><i class=\"yes\">&#10003;</i> right <i class=\"no\">&#10007;</i> wrong%s</p>\n",
                counted ? "; the number: points by the true rule, by which the better answer wins" : "");
    for (int i = 0; i < prompts; i++) {
        if (i == REPORT_SHOWN) fprintf(f, "<details><summary>%d more</summary>\n", prompts - i);
        fputs("<div class=\"qa\"><p class=\"q\">", f);
        report_put(r, prompt[i]);
        fputs("</p><div class=\"as\">", f);
        for (int m = 0; m < models; m++) {
            const report_answer *a = &answer[m * prompts + i];
            fprintf(f, "<div><b class=\"k%d\">", m % 8);
            report_put(r, model[m]);
            fputs("</b> ", f);
            if (a->right >= 0) fputs(a->right ? "<i class=\"yes\">&#10003;" : "<i class=\"no\">&#10007;", f);
            if (!isnan(a->points)) fprintf(f, " %.3g", a->points);
            fputs(a->right < 0 ? "" : "</i> ", f);
            report_put(r, a->text);
            fputs("</div>", f);
        }
        fputs("</div></div>\n", f);
    }
    if (prompts > REPORT_SHOWN) fputs("</details>\n", f);
}

/* ---- the lecture's token picture ---- */

/* A token as people can see it: its blanks and line ends made visible. */
static void report_token_text(report_card *r, const char *text) {
    for (const char *s = text; *s; s++)
        if (*s == ' ') fputs("&middot;", r->body);
        else if (*s == '\n') fputs("&crarr;", r->body);
        else {
            uint32_t code;
            size_t n = (size_t)llm_utf8_get(s, strlen(s), &code);
            report_escape(r->body, s, n);
            s += n - 1;
        }
}
/* What the numbers under the tokens are, and their colours. "mask" has none but the log-probability. */
static const struct { const char *kind, *answer, *says, *end; } report_picture[] = {
    {"mask", "answer", "the labels: only here the loss counts; the number is -log p of the token when the step was "
     "taken, dark where the model is surprised", NULL},
    {"pairs", "answer", "chosen or rejected, as it was ranked: under each token beta (log p - log p of the SFT model), "
     "its part of the implicit reward: green: likelier than before, red: less likely. Where a chosen answer lost more, "
     "other pairs spoke against it: a labeller errs", "their sum, the implicit reward: DPO's loss wants that of the "
     "chosen above that of the rejected"},
    {"ppo", "answer", "sampled by the policy: its own tokens become the labels, weighted by the advantage under them "
     "(green: more of this, red: less)", "where the reward model reads its score"}};

/* The number under a token; NaN: nothing is trained there. */
static double report_value(const llm_json *token) {
    double a = llm_json_number(token, "value", llm_json_number(token, "advantage", NAN));
    return isnan(a) ? -llm_json_number(token, "logp", NAN) : a;
}
static void report_token(report_card *r, const llm_json *token, double most, bool mask) {
    FILE *f = r->body;
    double a = report_value(token), p = llm_json_number(token, "logp", NAN);
    if (isnan(a)) fputs("<span class=\"t p\">", f);
    else {
        fprintf(f, "<span class=\"t\" style=\"background:rgba(var(--%s),%.2f)\" title=\"log p %.3f", mask ? "mask" :
                a < 0 ? "bad" : "good", 0.06 + 0.74 * fabs(a) / most, p);
        if (!mask) fprintf(f, ", reference %.3f", llm_json_number(token, "reference", p));
        fputs("\">", f);
    }
    report_token_text(r, llm_json_text(token, "text", ""));
    if (!isnan(a)) fprintf(f, "<i>%s%.2f</i>", mask || a < 0 ? "" : "+", a);
    fputs("</span>", f);
}
/* Rows of a real batch: prompt, answer with a number under each token, and what stands at the end of the row. */
static void report_tokens(report_card *r, const char *title, const char *kind, const llm_json *const *row, int rows) {
    FILE *f = r->body;
    double most = 1e-9;
    int k = 0;
    while (k < 2 && strcmp(report_picture[k].kind, kind)) k++;
    for (int i = 0; i < rows; i++)
        for (const llm_json *t = report_list(row[i], "tokens"); t; t = t->next)
            most = fmax(most, fabs(report_value(t)));
    report_grid(r, false);
    fputs("<h3>", f);
    report_put(r, title);
    fprintf(f, "</h3>\n<p class=\"key\"><span class=\"t p\">prompt</span> read, not trained &ensp;<span class=\"t\" "
            "style=\"background:rgba(var(--%s),.5)\">%s</span> %s", k ? "good" : "mask", report_picture[k].answer,
            report_picture[k].says);
    if (report_picture[k].end) fprintf(f, " &ensp;<span class=\"t rw\">%s</span> %s", k == 1 ? "sum" : "reward",
                                       report_picture[k].end);
    fputs("</p>\n", f);
    for (int i = 0; i < rows; i++) {
        const double score = llm_json_number(row[i], "score", NAN);
        const char *name = llm_json_text(row[i], "name", "");
        fputs("<p class=\"row\">", f);
        if (*name) fputs("<b>", f), report_put(r, name), fputs("</b> ", f);
        for (const llm_json *t = report_list(row[i], "tokens"); t; t = t->next) report_token(r, t, most, k == 0);
        if (isfinite(score)) {
            fputs("<span class=\"t rw\">", f);
            report_token_text(r, llm_json_text(row[i], "read", "reward"));
            fprintf(f, "<i>%+.2f</i></span>", score);
        }
        fputs("</p>\n", f);
    }
}

/* ---- the page ---- */

static const char report_style_sheet[] =
    ":root{--fg:#1b1f24;--bg:#fff;--soft:#f3f4f6;--line:#d5d9df;--dim:#5c6570;--good:34,139,60;--bad:214,51,51;"
    "--mask:37,99,235;"
    "--s0:#2563eb;--s1:#d9480f;--s2:#2b8a3e;--s3:#9c36b5;--s4:#0b7285;--s5:#c2255c;--s6:#846800;--s7:#495057}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#15181c;--soft:#1f242a;--line:#3a424c;--dim:#9aa4b0;"
    "--good:64,192,98;--bad:250,92,92;--mask:116,169,255;--s0:#74a9ff;--s1:#ff9f5a;--s2:#69db7c;"
    "--s3:#da9ef0;--s4:#4dd0e1;--s5:#ff8fb5;"
    "--s6:#e6c34a;--s7:#adb5bd}}"
    "*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:1120px;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.6rem;line-height:1.2;margin:.4em 0}h2{font-size:1.3rem;margin:2em 0 .3em;padding-top:.6em;"
    "border-top:2px solid var(--line)}h3{font-size:1rem;margin:1.4em 0 .4em}p{margin:.5em 0}"
    "a{color:var(--s0)}code,pre{font:13px/1.5 ui-monospace,Menlo,Consolas,monospace}"
    "pre{white-space:pre-wrap;background:var(--soft);padding:.7em;border-radius:6px;margin:.4em 0}"
    ".cmd{color:var(--dim)}.key{font-size:.85rem;color:var(--dim);margin:.2em 0}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(320px,100%),1fr));gap:1rem 1.4rem;"
    "margin:.8em 0;align-items:start}figure{margin:0;min-width:0}figcaption{font-weight:600;font-size:.95rem}"
    "svg{display:block;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}"
    ".g{stroke:var(--line);stroke-width:.6}.ax{stroke:var(--dim);fill:none}.l{fill:none;stroke-width:1.8;"
    "stroke-linejoin:round}.raw{fill:none;stroke-width:.7;opacity:.35}.dash{stroke-dasharray:5 4}.ci{stroke-width:2}"
    ".look{font-size:.85rem;margin:.2em 0 0;color:var(--fg)}.result{font-weight:600}"
    "summary{cursor:pointer;color:var(--s0);"
    "font-size:.9rem;padding:.3em 0}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "td,th{padding:.3em .7em;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;"
    "white-space:nowrap}th:first-child{text-align:left;position:sticky;left:0;background:var(--bg)}"
    "small{display:block;color:var(--dim);font-size:.78rem}"
    "@media(min-width:700px){small{display:inline;margin-left:.6em}}"
    "@media(max-width:699px){tr,td{display:block;text-align:left}tr:first-child{display:none}"
    "td{border:0;padding:.1em 0 .1em 1em}tr{border-bottom:1px solid var(--line);padding:.4em 0}"
    "th:first-child{border:0;padding:0}td small{"
    "display:inline;margin-left:.6em}td::before{content:attr(data-h) ': ';color:var(--dim)}}"
    ".qa{border:1px solid var(--line);border-radius:6px;margin:.6em 0;overflow:hidden}.q{background:var(--soft);"
    "margin:0;padding:.4em .7em;white-space:pre-wrap}.as{display:grid;grid-template-columns:repeat(auto-fit,"
    "minmax(min(230px,100%),1fr))}.as div{padding:.4em .7em}.as b{font-size:.8rem}i{font-style:normal}"
    ".yes{color:rgb(var(--good))}.no{color:rgb(var(--bad))}"
    ".row{line-height:1;margin:.7em 0;padding-bottom:.5em;border-bottom:1px dashed var(--line)}"
    ".t{display:inline-block;padding:3px 4px;margin:1px;border-radius:4px;font:12px/1.25 ui-monospace,Menlo,monospace;"
    "text-align:center;vertical-align:top;white-space:pre}.t i{display:block;font-size:10px;opacity:.8}"
    ".p{background:var(--soft);color:var(--dim)}.rw{border:1.5px solid var(--s3);font-weight:600}"
    ".sum li{margin:.5em 0}.sum small{display:inline}.d{stroke:none!important}section{scroll-margin-top:1em}"
    ".up{position:fixed;right:.8rem;bottom:.8rem;padding:.3em .7em;background:var(--soft);border:1px solid var(--line);"
    "border-radius:1em;font-size:.85rem;text-decoration:none}@media print{.up{display:none}}"
    "footer{margin-top:3em;color:var(--dim);font-size:.85rem}";

/* ================================================= 2. a stage, from its files ======================================*/

/* A file of OUT as text; must: dies where it is no plain file of sensible size without zeros (we would wait for a
   pipe); else NULL. */
static char *report_read_text(const char *path, bool must) {
    struct stat s;
    size_t size;
    bool plain = !stat(path, &s) && S_ISREG(s.st_mode) && s.st_size <= 64 << 20;
    char *text = plain ? llm_read_file(path, &size) : NULL;
    if (text && strlen(text) == size) return text;
    if (must) llm_die("leave it out", "%s is no file of ours", path);
    llm_release(text);
    return NULL;
}
/* Lines of JSON, at most `most` of them; roots are never released: the process ends with the drawing. */
static int report_read_lines(const char *path, const llm_json **row, int most) {
    char *text = report_read_text(path, true);
    int n = 0;
    for (char *line = text, *end; *line && n < most; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        if (*line) row[n] = llm_json_parse(line, strlen(line), path, n + 1), n++;
    }
    return n;
}
/* A table of quoted cells: the next one, unquoted in place; *last: it ends its line. NULL at the end. */
static char *report_next_cell(char **at, bool *last) {
    char *s = *at, *out = s, *cell = s;
    if (!*s) return NULL;
    bool quoted = *s == '"';
    for (s += quoted; *s && (quoted || (*s != ',' && *s != '\n')); s++) {
        if (quoted && *s == '"' && s[1] != '"') break;
        if (quoted && *s == '"') s++;
        *out++ = *s;
    }
    if (*s == '"') s++;
    *last = *s != ',';
    if (*s) s++;
    *at = s;
    *out = 0;
    return cell;
}
enum { CELLS = 4096, COLUMNS = 32, MOST_METHODS = 32 };
static char *const *report_read_table(const char *path, int *columns, int *rows) {
    static char *cell[CELLS];
    char *at = report_read_text(path, true), *c;
    int n = 0;
    bool last = false;
    *columns = 0;
    while (n < CELLS && (c = report_next_cell(&at, &last))) {
        cell[n++] = c;
        if (last && !*columns) *columns = n;
        if (last && n % *columns) llm_die("leave it out", "%s: rows of different length", path);
    }
    if (!*columns || *columns > COLUMNS) llm_die("leave it out", "%s is no table of ours", path);
    *rows = n / *columns;
    return cell;
}
/* "mean low high" becomes a cell with its interval in smaller print; false: it is something else. */
static bool report_share(char **cell, double *x) {
    char *end = *cell;
    for (int k = 0; k < 3; k++) {
        char *from = end;
        x[k] = strtod(from, &end);
        if (end == from) return false;
    }
    if (*end) return false;
    *cell = llm_format("%.3f\n%.3f to %.3f", x[0], x[1], x[2]);
    return true;
}
/* The last part of a path, which names a model; the whole, where another of n ends in the same. */
static const char *report_short(const char *const *path, int n, int i) {
    const char *slash = strrchr(path[i], '/'), *name = slash && slash[1] ? slash + 1 : path[i];
    for (int j = 0; j < n; j++) {
        const char *other = strrchr(path[j], '/');
        if (j != i && !strcmp(name, other && other[1] ? other + 1 : path[j])) return path[i];
    }
    return name;
}
/* A line for the page's own part: what a stage found of a model, in FOUND_CHANGE in words. */
enum { FOUND_GREEDY, FOUND_SAMPLED, FOUND_LIST, FOUND_WIN, FOUND_SWEEP, FOUND_CHANGE };
static void report_found(report_card *r, int what, const double *x, const char *model) {
    fprintf(r->found, "%d %.9g %.9g %.9g ", what, x[0], x[1], x[2]);
    report_one_line(r->found, model);
}
/* Two models in a table of shares: in which rows did the second gain most (sign 1), or lose (-1)? At most three, and 2
   points at least; "" where there are none. */
static char *report_most(const char *const *row, int rows, const double *x, int sign) {
    char *text = llm_format("%s", ""), *more;
    bool used[CELLS] = {false};
    for (int k = 0; k < 3; k++) {
        int most = -1;
        double best = 0.02;
        for (int i = 0; i < rows; i++)
            if (!used[i] && sign * (x[6 * i + 3] - x[6 * i]) > best) best = sign * (x[6 * i + 3] - x[6 * i]), most = i;
        if (most < 0) break;
        used[most] = true;
        const char *between = *text ? ", " : sign > 0 ? "Gained most: " : " Lost: ";
        more = llm_format("%s%s%s %.2f \xE2\x86\x92 %.2f", text, between, row[most], x[6 * most], x[6 * most + 3]);
        llm_release(text);
        text = more;
    }
    more = llm_format("%s%s", text, *text ? "." : "");
    llm_release(text);
    return more;
}
/* The rows of a table in which all are shares, one column a model, as a picture. False: there are none. */
static bool draw_shares(report_card *r, const char *title, char **cell, int columns, int rows) {
    const int models = columns - 1, what = r->stage == 2 ? FOUND_GREEDY : r->stage == 4 ? FOUND_SAMPLED : FOUND_LIST;
    const char *name[CELLS], *model[COLUMNS];
    double *x = llm_alloc(CELLS, 3 * sizeof *x);
    int n = 0;
    for (int m = 0; m < models; m++) model[m] = report_short((const char *const *)cell + 1, models, m);
    for (int i = 1; i < rows; i++) {
        char **row = cell + i * columns;
        double *share = x + 3 * n * models;
        bool all = models > 0;
        for (int m = 0; m < models; m++) all = report_share(&row[m + 1], share + 3 * m) && all;
        if (all && !strstr(row[0], ", per token") && !strstr(row[0], ", per byte")) name[n++] = row[0];
        for (int m = 0; m < models && all && !strcmp(row[0], "all"); m++)
            report_found(r, what, share + 3 * m, model[m]);
    }
    char *more = llm_format("%s", ""), *less = llm_format("%s", ""), *points = llm_format("%s", "");
    for (int i = 1; i < rows && models == 2; i++)
        if (!strcmp(cell[i * columns], "true reward"))
            points = llm_format("%.2f \xE2\x86\x92 %.2f points by the true rule. ", atof(cell[i * columns + 1]),
                                atof(cell[i * columns + 2]));
    if (models == 2) more = report_most(name, n, x, 1), less = report_most(name, n, x, -1);
    char *look = llm_format("Dots: shares; bars: 95 %% intervals; where two bars do not overlap, the difference is "
                            "hardly chance. %s%s", more, less);
    char *change = llm_format("%s: %s%s%s", models > 1 ? model[1] : "", points, more, less);
    if (what == FOUND_SAMPLED && models == 2) report_found(r, FOUND_CHANGE, (double[3]){0}, change);
    for (int i = 0; i < n; i += 12)
        report_intervals(r, i ? llm_format("%s (%d)", title, i / 12 + 1) : title, (report_dot){name + i, model,
                         llm_min(12, n - i), models, x + 3 * i * models, 0, 1, 0},
                         i ? "The same, further rows." : look);
    llm_release_all(x, more, less, points, look, change);
    return n > 0;
}
/* The arena's last column, "mean" and, smaller, "low to high". */
static bool draw_ratings(report_card *r, char *const *cell, int columns, int rows) {
    const char *name[CELLS];
    double *x = llm_alloc(CELLS, 3 * sizeof *x), low = INFINITY, high = -INFINITY;
    int n = 0;
    for (int i = 1; i < rows; i++, n++) {
        double *v = x + 3 * n;
        name[n] = cell[i * columns];
        if (sscanf(cell[(i + 1) * columns - 1], "%lf\n%lf to %lf", v, v + 1, v + 2) != 3) break;
        low = fmin(low, v[1]);
        high = fmax(high, v[2]);
    }
    for (int i = 0; i < n; i++) name[i] = report_short(name, n, i);
    const bool drawn = n && n == rows - 1;
    if (drawn)
        report_intervals(r, "ratings, and their 95 % intervals",
                         (report_dot){name, NULL, n, 1, x, low - 20, high + 20, 1000},
                         "Further right is better; the first model has 1000 by definition (dashed). 100 points more "
                         "mean that 64 of 100 games are won, 200 points 76.");
    llm_release(x);
    return drawn;
}
static void draw_table(report_card *r, const char *out, const llm_json *part) {
    int columns, rows;
    const char *title = llm_json_text(part, "title", ""), *picture = llm_json_text(part, "picture", title);
    char *path = report_path_in(out, llm_json_text(part, "file", ""));
    char **cell = (char **)report_read_table(path, &columns, &rows);
    const bool rated = !strcmp(cell[columns - 1], "Bradley-Terry");
    const bool drawn = rated ? draw_ratings(r, cell, columns, rows) : draw_shares(r, picture, cell, columns, rows);
    report_table(r, title, (const char *const *)cell, columns, (const char *const *)cell + columns, rows - 1, drawn);
}
/* A drawing whose points are a table: name, style, x, y, a point a row; a line's points stand together. */
static void draw_chart(report_card *r, const char *out, const llm_json *part) {
    static const char *const style[] = {"line", "dashed", "dots", "joined"};
    const char *log = llm_json_text(part, "log", "");
    int columns, rows, lines = 0;
    char *path = report_path_in(out, llm_json_text(part, "file", ""));
    char *const *cell = report_read_table(path, &columns, &rows);
    if (columns != 4) llm_die("leave it out", "%s is no chart of ours", path);
    double *x = llm_alloc(CELLS, sizeof *x), *y = llm_alloc(CELLS, sizeof *y);
    report_line *line = llm_alloc(CELLS, sizeof *line);
    for (int i = 1; i < rows; i++) {
        char *const *point = cell + 4 * i;
        x[i] = atof(point[2]);
        y[i] = atof(point[3]);
        if (i == 1 || strcmp(point[0], point[-4]) || strcmp(point[1], point[-3]))
            line[lines++] = (report_line){point[0], x + i, y + i, 0, REPORT_LINE};
        for (int k = 0; k < 4; k++)
            if (!strcmp(style[k], point[1])) line[lines - 1].style = (report_style)k;
        line[lines - 1].n++;
    }
    report_chart(r, llm_json_text(part, "title", ""), llm_json_text(part, "x", ""), line, lines, strchr(log, 'x') != 0,
                 strchr(log, 'y') != 0, llm_json_text(part, "look", ""));
    llm_release_all(x, y, line);
}
/* Goodhart's picture: what the judge says and what the true rule says, over the distance from the SFT model, each
   measured from the first row, the SFT model itself. */
static void draw_goodhart(report_card *r, const double *kl, const double *judge, const double *truth, int n) {
    double x[MOST_METHODS], y[2][MOST_METHODS];
    int order[MOST_METHODS];
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && kl[order[at - 1]] > kl[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 0; i < n; i++) {
        x[i] = kl[order[i]];
        y[0][i] = judge[order[i]] - judge[0];
        y[1][i] = truth[order[i]] - truth[0];
    }
    const report_line line[] = {{"reward model's score", x, y[0], n, REPORT_JOINED},
                                {"true rule", x, y[1], n, REPORT_JOINED}};
    report_chart(r, "Goodhart's law: gain over the SFT model", "KL, nats an answer", line, 2, false, false,
                 "The cheaper distance is (from left to right), the further the policy goes. Where the reward model's "
                 "score still climbs and the true rule turns down, the policy pleases its judge and nobody else: the "
                 "price of KL is there to stop it before.");
    report_found(r, FOUND_SWEEP, (double[3]){0}, "");
}
/* Stage 3's methods: table.csv as train_rlhf writes it, a method a line; the first is the SFT model. */
static void draw_methods(report_card *r, const char *out, const llm_json *part) {
    static const char *const column[] = {"win", "win_low", "win_high", "true_reward", "reward", "kl", "length", "stops",
                                         "exact", "fact"};
    enum { WIN, TRUTH = 3, JUDGE, KL, MEASURES = 10, SHOWN = 9 };
    int columns, rows, at[MEASURES] = {0};
    const char *head[SHOWN] = {"", "win-rate", llm_json_text(part, "detail", "judge"),
        "reward model", "KL", "tokens", "stops", "right", "facts"}, *text[SHOWN * MOST_METHODS];
    char *path = report_path_in(out, "table.csv"), *const *cell = report_read_table(path, &columns, &rows);
    double x[MEASURES][MOST_METHODS], win[MOST_METHODS * 3];
    bool sweep = false;
    for (int c = 0; c < columns; c++)
        for (int k = 0; k < MEASURES; k++) if (!strcmp(cell[c], column[k])) at[k] = c;
    rows = llm_min(rows - 1, MOST_METHODS);
    for (int i = 0; i < rows; i++) {
        char *const *line = cell + (i + 1) * columns;
        for (int k = 0; k < MEASURES; k++) x[k][i] = atof(line[at[k]]);
        for (int k = 0; k < 3; k++) win[3 * i + k] = x[WIN + k][i];
        sweep = sweep || !strncmp(line[0], "ppo kl ", 7);
        if (i) report_found(r, FOUND_WIN, win + 3 * i, line[0]);
        text[i * SHOWN] = line[0];
        text[i * SHOWN + 1] = llm_format("%.3f\n%.3f to %.3f", win[3 * i], win[3 * i + 1], win[3 * i + 2]);
        for (int k = TRUTH; k < MEASURES; k++)
            text[i * SHOWN + k - 1] = isnan(x[k][i]) ? "-" : llm_format("%.2f", x[k][i]);
    }
    if (sweep) draw_goodhart(r, x[KL], x[JUDGE], x[TRUTH], rows);
    report_table(r, llm_json_text(part, "title", ""), head, SHOWN, text, rows, rows <= 2);
}
static void draw_samples(report_card *r, const char *out, const llm_json *part) {
    enum { MOST = 64, MODELS = 8 };
    const llm_json *row[MOST];
    const char *prompt[MOST], *model[MODELS], *path[MODELS];
    report_answer answer[MOST * MODELS];
    int n = report_read_lines(report_path_in(out, "samples.jsonl"), row, MOST), models = 0;
    for (const llm_json *a = n ? report_list(row[0], "answers") : NULL; a && models < MODELS; a = a->next)
        path[models++] = llm_json_text(a, "model", "?");
    for (int m = 0; m < models; m++) model[m] = report_short(path, models, m);
    for (int i = 0; i < n; i++) {
        const llm_json *a = report_list(row[i], "answers");
        prompt[i] = llm_json_text(row[i], "prompt", "");
        for (int m = 0; m < models; m++, a = a ? a->next : NULL) {
            const llm_json *right = llm_json_get(a, "right");
            answer[m * n + i] = (report_answer){llm_json_text(a, "text", ""), right && right->type == LLM_JSON_BOOL ?
                                                (int)right->number : -1, llm_json_number(a, "points", NAN)};
        }
    }
    report_samples(r, llm_json_text(part, "title", ""), model, models, prompt, n, answer);
}
static void draw_tokens(report_card *r, const char *out, const llm_json *part) {
    const llm_json *row[16];
    int n = report_read_lines(report_path_in(out, "tokens.jsonl"), row, 16);
    report_tokens(r, llm_json_text(part, "title", ""), llm_json_text(part, "detail", "ppo"), row, n);
}
/* Every curve of a log: its title, its columns ("a|b"), and what to look for. Drawn where the log has one of them, and
   values in the column `with`; of several with one title the first. From REPORT_HEALTH on they unfold. */
enum { REPORT_HEALTH = 11 };
static const struct { const char *with, *title, *columns; bool log_y; const char *look; } report_curve[] = {
    {"tok_per_s", "loss", "loss|val_loss", true, "Nats per token: falls steeply, then slowly. The dots, text that is "
     "never trained on, should follow the line: where they rise while it falls, the model learns by heart."},
    {"clipped", "loss", "loss", false, "Says little: advantages are counted from their mean, so it hovers about 0 even "
     "while the policy learns. Look at the reward."},
    {"chosen", "loss", "loss", false, "Falls as the policy comes to prefer the chosen answer more than the SFT model "
     "does (DPO begins at log 2 = 0.69, a coin's)."},
    {"accuracy", "loss", "loss", false, "Begins near log 2 = 0.69, a coin's, and falls as better answers get higher "
     "scores."},
    {"loss", "loss", "loss", false, "Should fall."},
    {"reward", "reward of its own answers", "reward|true_reward", false, "reward: what the judge says, all that the "
     "policy learns from. true_reward: the rule that it never sees. Both should rise; where only the first does, the "
     "policy pleases its judge alone."},
    {"kl", "KL, nats an answer", "kl", false, "How far the policy has moved from the SFT model. It should grow and "
     "level off: then further steps cost more than they earn."},
    {"accuracy", "pair accuracy", "accuracy", false, "Share of pairs in the labeller's order: 0.5 is a coin's. He errs "
     "too, so 1 is out of reach."},
    {"chosen", "implicit reward", "chosen|rejected", false, "How much likelier the policy has each answer than the "
     "SFT model has it. What counts is the gap: often both fall, the rejected one faster."},
    {"margin", "margin", "margin", false, "How far the better answer lies above the other: grows as the model gets "
     "sure."},
    {"reward", "tokens an answer", "length", false, "A steady climb is the classic way to please a judge: many words "
     "for nothing."},
    {"value_loss", "value loss", "value_loss", false, "The critic's error in foretelling the reward. It falls, never "
     "to 0: the answer is not written yet."},
    {"clipped", "share of clipped tokens", "clipped", false, "Tokens that moved as far as one update may move them. A "
     "few per cent are healthy; many: the steps are too large."},
    {"silent_groups", "groups without a signal", "silent_groups", false, "Groups whose answers all got one score teach "
     "nothing; the share grows as prompts get easy."},
    {"lr", "learning rate", "lr", false, "Rises for a moment, then falls: large steps first, small ones to end on."},
    {"gnorm", "gradient norm", "gnorm", true, "Settles after the first steps. A peak is an odd batch; a climb that "
     "goes on is a run that falls apart."},
    {"tok_per_s", "tokens per second", "tok_per_s", false, "Level, unless something else ran on this machine."}};

/* Bits per byte beside the entropy of the text. */
static void draw_bits(report_card *r, const char *name, const char *path, double level) {
    int n;
    double *step = report_column(path, "step", &n), *y = report_column(path, "val_bpb", &n);
    if (n <= 0) return;
    const double ends[] = {step[0], step[n - 1]}, levels[] = {level, level};
    report_line line[] = {{"validation", step, y, n, REPORT_DOTS},
                          {"entropy of the text", ends, levels, 2, REPORT_DASHED}};
    report_chart(r, llm_format("%sbits per byte", name), "step", line, isnan(level) ? 1 : 2, false, false,
                 isnan(level) ?
                 "The loss in a unit that does not depend on the tokenizer: two models can be compared by it." :
                 "The loss in a unit that does not depend on the tokenizer. The dashed line is the text's own "
                 "uncertainty: no model gets below it, a good one comes close.");
}
/* The curves of a log, rows from .. to - 1 of report_curve: those that say what happened, or whether it was healthy. */
static void draw_curves(report_card *r, const char *path, const char *name, size_t from, size_t to) {
    const char *before = "";
    for (size_t i = from; i < to; i++) {
        int n, points = 0;
        double *x = report_column(path, report_curve[i].with, &n);
        for (int k = 0; k < n; k++) points += isfinite(x[k]) != 0;
        llm_release(x);
        if (!points || !strcmp(before, report_curve[i].title)) continue;
        if (report_log(r, llm_format("%s%s", name, report_curve[i].title), path, report_curve[i].columns,
                       report_curve[i].log_y, report_curve[i].look)) before = report_curve[i].title;
    }
}
/* A part's log and name; NULL: there is none to draw (best-of-n trains nothing). */
static char *report_part_log(report_card *r, const char *out, const llm_json *part, const char **name) {
    const char *file = llm_json_text(part, "file", ""), *given = llm_json_text(part, "name", "");
    if (!path_stays(out, file)) return NULL;
    *name = *given ? given : r->stage == 1 ? "pretraining" : r->stage == 2 ? "fine-tuning" : "";
    *name = **name ? llm_format("%s: ", *name) : "";
    char *path = report_path_in(out, file);
    return report_read_text(path, false) ? path : NULL;
}
static void draw_log(report_card *r, const char *out, const llm_json *part) {
    const char *name, *file = llm_json_text(part, "file", "");
    char *path = report_part_log(r, out, part, &name);
    if (!path_stays(out, file)) report_text(r, llm_format("(a log that lies elsewhere is not drawn: %s)", file));
    if (!path || r->several) return;
    draw_curves(r, path, name, 0, REPORT_HEALTH);
    draw_bits(r, name, path, llm_json_number(part, "floor", NAN));
}
static void draw_health(report_card *r, const char *out, const llm_json *part) {
    const char *name;
    char *path = report_part_log(r, out, part, &name);
    if (!path) return;
    report_grid(r, false);
    fprintf(r->body, "<details><summary>");
    report_put(r, name);
    fputs(r->several ? "curves</summary>\n" : "is the run healthy? more curves</summary>\n", r->body);
    draw_curves(r, path, name, r->several ? 0 : REPORT_HEALTH, sizeof report_curve / sizeof *report_curve);
    report_grid(r, false);
    fputs("</details>\n", r->body);
}
static void draw_text(report_card *r, const char *out, const llm_json *part) {
    (void)out;
    if (!llm_json_text(part, "title", NULL)) report_text(r, llm_json_text(part, "text", ""));
}
static void draw_lines(report_card *r, const char *out, const llm_json *part) {
    const char *title = llm_json_text(part, "title", NULL);
    (void)out;
    if (title) report_lines(r, title, llm_json_text(part, "text", ""));
}
/* What happens in a stage, or in stage 4 with a method, for a reader who meets it for the first time. */
static const struct { const char *what, *text; } report_about[] = {
    {"1", "The model reads text and learns one thing: which token comes next. It can then continue texts, and knows "
     "what they told; it does not answer questions, for nobody ever showed it what an answer is."},
    {"2", "The same loss on conversations, counted only where the assistant speaks, its closing token included: so the "
     "model learns to answer, to keep to a format, and to stop. It imitates its demonstrations, good and bad ones "
     "alike."},
    {"3", "The fine-tuned model answered each prompt several times, and a labeller ranked the answers. The reward "
     "model, the same network with one number at its end, learns from these rankings alone to give better answers "
     "higher scores."},
    {"4", "From a model that imitates to one that knows better from worse: several ways to learn from ranked answers, "
     "or from a reward model, compared on the same prompts."},
    {"ppo", "The policy, at first the SFT model, answers by itself; the reward model scores the answer; the tokens of "
     "answers that score above expectation become likelier, the others less likely. Each nat away from the SFT model "
     "costs (KL), so that it does not learn to please the reward model alone."},
    {"dpo", "No sampling, no reward model: of each ranked pair the chosen answer becomes likelier than the SFT model "
     "has it, the rejected one less likely. The SFT model holds it back, as KL does in PPO."},
    {"sweep", "PPO several times, each with another price of distance from the SFT model: where it costs nothing, the "
     "policy learns to please the reward model alone."},
    {"5", "All models answer the same questions, greedily: each time the likeliest token. Rows that begin with "
     "\"choose\" ask for no answer: of several continuations the likeliest counts, so that a base model can take part. "
     "What it chooses rightly and never answers, it knows and cannot say."},
    {"6", "Two models answer the same prompt, sampled; the voter is not told whose answer is whose and takes the "
     "better one. From all votes come ratings like those of chess."}};

/* A stage as three lines (stage and time; title; result) and HTML; and what it found. */
static void draw_stage(FILE *f, FILE *found, const char *out) {
    static const struct { const char *kind; void (*draw)(report_card *, const char *, const llm_json *); } all[] = {
        {"text", draw_text}, {"log", draw_log}, {"chart", draw_chart}, {"table", draw_table}, {"methods", draw_methods},
        {"tokens", draw_tokens}, {"text", draw_lines}, {"samples", draw_samples}, {"log", draw_health}};
    char *path = report_path_in(out, "stage.json"), *text = report_read_text(path, true);
    const llm_json *j = llm_json_parse(text, strlen(text), path, 1);
    double stage = llm_json_number(j, "stage", NAN), when = llm_json_number(j, "time", NAN);
    if (!(stage >= 0 && stage < 1000 && when >= 0 && when < 1e11)) llm_die("leave it out", "%s is not ours", path);
    report_card r = {.body = f, .stage = (int)stage, .found = found};
    fprintf(f, "%.0f %.0f\n", stage, when);
    report_one_line(f, llm_json_text(j, "title", "?"));
    report_one_line(f, llm_json_text(j, "result", "?"));
    const char *method = NULL, *what = llm_format("%d", r.stage);
    for (const llm_json *p = report_list(j, "parts"); p && r.stage == 4; p = p->next)
        if (!strcmp(llm_json_text(p, "kind", ""), "log")) method = method ? what : llm_json_text(p, "name", "");
    r.several = method == what;
    if (r.several && strstr(llm_json_text(j, "title", ""), "price of KL")) method = "sweep";
    for (size_t i = 0; i < sizeof report_about / sizeof *report_about; i++)
        if (!strcmp(report_about[i].what, method ? method : what)) report_text(&r, report_about[i].text);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)       /* drawings of one kind stand together */
        for (const llm_json *p = report_list(j, "parts"); p; p = p->next)
            if (!strcmp(llm_json_text(p, "kind", ""), all[i].kind)) all[i].draw(&r, out, p);
    report_grid(&r, false);
    fputs("<details class=\"cmd\"><summary>the command</summary><code>", f);
    for (const llm_json *c = report_list(j, "command"); c; c = c->next) {
        report_put(&r, c->type == LLM_JSON_STRING ? c->string : "?");
        if (c->next) fputc(' ', f);
    }
    fputs("</code></details>\n", f);
}

/* ================================================= 3. the page =====================================================*/

typedef struct { long stage, time; char *title, *result, *folder, *text, *found; const char *html; } report_part;

static int report_by_stage(const void *a, const void *b) {
    const report_part *x = a, *y = b;
    long d = x->stage != y->stage ? x->stage - y->stage : x->time - y->time;
    return d ? (d < 0 ? -1 : 1) : strcmp(x->folder, y->folder);
}
/* Draw a stage in a process of its own: what is broken in its files ends that, not the page. */
static bool report_read(const char *folder, const char *name, report_part *p) {
    char *out = llm_format("%s/%s", folder, name), *path = llm_format("%s/stage.json", out);
    bool there = llm_exists(path), drawn = false;
    FILE *f = there ? tmpfile() : NULL;
    if (there && !f) llm_die("room in /tmp", "cannot draw %s: %s", out, strerror(errno));
    pid_t child = f ? fork() : -1;
    if (child == 0) {
        if (dup2(open("/dev/null", O_WRONLY), 2) < 0) _exit(1);
        alarm(60);
        char *lines;                    /* what it found goes behind a form feed, which HTML never has */
        FILE *found = open_memstream(&lines, &(size_t){0});
        if (!found) _exit(1);
        draw_stage(f, found, out);
        _exit(fclose(found) || fprintf(f, "\f%s", lines) < 0 || fflush(f));
    }
    int status = 1;
    if (child > 0) drawn = waitpid(child, &status, 0) == child && status == 0;
    if (there && !drawn)
        fprintf(stderr, "note: %s or a file that it names is not ours; the report does without it\n", path);
    if (drawn) {
        size_t size = (size_t)lseek(fileno(f), 0, SEEK_END);
        *p = (report_part){.text = llm_alloc(size + 1, 1), .folder = llm_format("%s", name)};
        rewind(f);
        drawn = fread(p->text, 1, size, f) == size;
        char *line[4] = {p->text};
        for (int i = 1; i < 4 && drawn; i++) {
            line[i] = strchr(line[i - 1], '\n');
            drawn = line[i] != NULL;
            if (drawn) *line[i]++ = 0;
        }
        if (drawn) drawn = sscanf(line[0], "%ld %ld", &p->stage, &p->time) == 2;
        p->title = line[1];
        p->result = line[2];
        p->html = line[3];
        p->found = drawn ? strchr(p->html, '\f') : NULL;
        drawn = p->found != NULL;
        if (drawn) *p->found++ = 0;
    }
    if (f) fclose(f);
    llm_release_all(out, path);
    return drawn;
}
static const char report_title[] = "<title>From text to an aligned model</title>";
static void report_page_begin(FILE *f) {
    fprintf(f, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            "<meta name=\"color-scheme\" content=\"light dark\">\n%s\n"
            "<style>%s", report_title, report_style_sheet);
    for (int i = 0; i < 8; i++)
        fprintf(f, ".c%d{stroke:var(--s%d)}.k%d{color:var(--s%d)}.d.c%d{fill:var(--s%d)}", i, i, i, i, i, i);
    fputs("</style></head>\n<body id=\"top\">\n<h1>From text to an aligned model</h1>\n", f);
}
/* What the stages found (report_found). The same model, asked in the same way twice, has the same number: one line. */
typedef struct { int what; double x[3]; const char *model; } report_fact;
typedef struct { report_fact fact[256]; int n; } report_facts;

static report_facts report_read_facts(const report_part *p, int parts) {
    report_facts f = {.n = 0};
    for (int i = 0; i < parts; i++)
        for (char *line = p[i].found, *end; *line && f.n < 256; line = end) {
            report_fact *x = &f.fact[f.n];
            int at = 0, same = 0;
            end = line + strcspn(line, "\n");
            if (*end) *end++ = 0;
            sscanf(line, "%d %lf %lf %lf%n", &x->what, x->x, x->x + 1, x->x + 2, &at);
            if (!at || line[at] != ' ') continue;
            x->model = line + at + 1;
            while (f.fact[same].what != x->what || strcmp(f.fact[same].model, x->model)) same++;
            f.n += same == f.n;
        }
    return f;
}
/* One kind of facts as a picture of a row each. */
static int report_rows(const report_facts *f, int what, const char **row, double *x, int most) {
    int n = 0;
    for (int i = 0; i < f->n && n < most; i++)
        if (f->fact[i].what == what) memcpy(x + 3 * n, f->fact[i].x, sizeof f->fact[i].x), row[n++] = f->fact[i].model;
    return n;
}
/* One model has several scores: which is which, and why they differ. */
enum { REPORT_ASKED = 3, REPORT_MODELS = 8 };
static void report_page_scores(report_card *r, const report_facts *f) {
    static const char *const asked[REPORT_ASKED] = {"greedy", "sampled", "the list"};
    static const char *const head[] = {"", "greedy", "sampled", "the list, greedy"};
    const char *row[REPORT_ASKED], *model[REPORT_MODELS], *name[REPORT_MODELS];
    char *cell[REPORT_MODELS * (REPORT_ASKED + 1)] = {NULL};
    double x[REPORT_ASKED * REPORT_MODELS * 3], v[REPORT_MODELS * 3];
    int n = 0, models = 0;
    for (int i = 0; i < f->n; i++) {
        int m = 0;
        while (m < models && strcmp(model[m], f->fact[i].model)) m++;
        if (f->fact[i].what <= FOUND_LIST && m == models && m < REPORT_MODELS) model[models++] = f->fact[i].model;
    }
    for (int i = 0; i < REPORT_ASKED; i++) {
        const int known = report_rows(f, i, name, v, REPORT_MODELS);
        for (int m = 0; m < models; m++) {
            double *to = x + (n * models + m) * 3;
            to[0] = NAN;
            cell[m * (REPORT_ASKED + 1)] = llm_format("%s", model[m]);
            for (int k = 0; k < known; k++)
                if (!strcmp(name[k], model[m])) memcpy(to, v + 3 * k, 3 * sizeof *v);
            cell[m * (REPORT_ASKED + 1) + i + 1] = isnan(to[0]) ? llm_format("-") :
                llm_format("%.1f %%\n%.1f to %.1f", 100 * to[0], 100 * to[1], 100 * to[2]);
        }
        if (known) row[n++] = asked[i];
    }
    if (n < 2) return;
    report_intervals(r, "share of right answers", (report_dot){row, model, n, models, x, 0, 1, 0},
                     "Compare models within a row, never across rows: the rows are asked in different ways.");
    report_table(r, "How often each model is right, and why one model has several numbers", head, REPORT_ASKED + 1,
                 (const char *const *)cell, models, false);
    fputs("<ul class=\"key\"><li><b>greedy</b>: at each place the likeliest token, the model&#39;s best guess, on "
          "held-out prompts.</li>\n<li><b>sampled</b>: each token drawn by its probability (temperature 1), on the "
          "same prompts. The model then also says what it thinks less likely, so it is right less often. Alignment "
          "learns from sampled answers and is measured on them.</li>\n<li><b>the list, greedy</b>: the questions of "
          "the evaluation, each asked once, some of a kind that no training has asked.</li></ul>\n", r->body);
}
/* A folder of the page as a word of a command to be typed: nothing that a shell would read otherwise. */
static const char *report_typed(const char *folder) {
    static const char plain[] = "/._-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    return folder[strspn(folder, plain)] || *folder == '-' ? "DIR" : folder;
}
/* The stages of the page: a title that another stage has too gets its folder's name. */
static void report_page_title(report_card *r, const report_part *p, int parts, int i) {
    int same = 0;
    for (int k = 0; k < parts; k++) same += !strcmp(p[k].title, p[i].title);
    report_put(r, p[i].title);
    if (same > 1) fputs(" (", r->body), report_put(r, p[i].folder), fputs(")", r->body);
}
static const report_part *report_of_stage(const report_part *p, int parts, int stage) {
    for (int i = 0; i < parts; i++) if (p[i].stage == stage) return &p[i];
    return NULL;
}
/* The top: what there is, each stage in a sentence. */
static void report_page_top(report_card *r, const report_part *p, int parts) {
    fputs("<p>A language model is made in stages, each of which begins with the model of the one before. This page "
          "shows what every stage did, from what it wrote down itself.</p>\n<ol class=\"sum\">\n", r->body);
    for (int i = 0; i < parts; i++) {
        fprintf(r->body, "<li><a href=\"#s%d\">", i);
        report_page_title(r, p, parts, i);
        fputs("</a> <small>", r->body);
        report_put(r, p[i].folder);
        fputs("</small>", r->body);
        report_tag(r, "div", p[i].result);
        fputs("</li>\n", r->body);
    }
    fputs("</ol>\n", r->body);
}
/* Why the aligned model is better, where there are both. */
static void report_page_why(report_card *r, const report_part *p, int parts, const report_facts *f) {
    const report_part *aligned = report_of_stage(p, parts, 4);
    if (!aligned || !report_of_stage(p, parts, 2)) return;
    report_text(r, "Fine-tuning (SFT) copies its demonstrations, the careless ones too, and its loss counts every "
                   "token alike: nothing in it says that one answer is better than another. It is easier to judge an "
                   "answer than to write it: so answers of the fine-tuned model are ranked, the reward model learns "
                   "the taste behind the ranking, and PPO makes likelier what scores above expectation (DPO learns "
                   "from the ranked pairs directly). The model had the good answers in it, among others; now it gives "
                   "them more often. It need not know more: its greedy answers may be right as often as before while "
                   "it wins; and what the judge cannot tell apart, alignment cannot teach, and may lose.");
    fputs("<p>What changed against the SFT model, in sampled answers to the same held-out prompts (shares that are "
          "right):</p>\n<ul>", r->body);
    for (int i = 0; i < f->n; i++)
        if (f->fact[i].what == FOUND_CHANGE) report_tag(r, "li", f->fact[i].model);
    const report_part *judge = report_of_stage(p, parts, 3);
    if (judge)
        fprintf(r->body, "<li>What counts as better: <a href=\"#s%d\">the labeller&#39;s rule</a></li>\n",
                (int)(judge - p));
    fprintf(r->body, "<li>See the answers side by side and the tokens that were made likelier: <a href=\"#s%d\">",
            (int)(aligned - p));
    report_page_title(r, p, parts, (int)(aligned - p));
    fputs("</a></li></ul>\n", r->body);
}
/* All models beside each other: win-rates, right answers, and why. */
static void report_page_better(report_card *r, const report_part *p, int parts, const report_facts *f) {
    const char *row[16];
    double x[16 * 3];
    const int n = report_rows(f, FOUND_WIN, row, x, 16);
    fputs("<section id=\"better\"><h2>Which model is better, and why?</h2>\n", r->body);
    report_page_why(r, p, parts, f);
    if (n)
        report_intervals(r, "win-rate against the SFT model, sampled answers",
                         (report_dot){row, NULL, n, 1, x, 0, 1, 0.5},
                         "How often the answer beats the SFT model's to the same prompt, ties half; the dashed line is "
                         "a draw. Where the whole bar lies right of it the model is better, and not by chance.");
    report_page_scores(r, f);
    report_grid(r, false);
    fputs("</section>\n", r->body);
}
/* The one experiment that warns: how to make it, where nobody has. */
static void report_page_goodhart(report_card *r, const report_part *p, int parts, const char *folder) {
    const report_part *sft = report_of_stage(p, parts, 2), *judge = report_of_stage(p, parts, 3);
    if (!report_of_stage(p, parts, 4) || !sft || !judge) return;
    fputs("<section id=\"goodhart\"><h2>Goodhart&#39;s law: what if distance costs nothing?</h2>\n", r->body);
    report_text(r, "A policy that is paid for the reward model's score alone learns to please it, and by the true rule "
                   "gets worse: a measure that becomes a target is no good measure any more. No run on this page tried "
                   "several prices of KL. This one does, in four runs of PPO, and its chart comes here:");
    fputs("<p class=\"cmd\"><code>", r->body);
    report_put(r, llm_format("./train_rlhf --sweep-kl --steps 100 --model %s/%s --reward %s/%s --out %s/sweep", folder,
                             report_typed(sft->folder), folder, report_typed(judge->folder), folder));
    fputs("</code></p>\n</section>\n", r->body);
}
static void report_page(FILE *f, const report_part *p, int parts, const char *folder) {
    report_card r = {.body = f};
    const report_facts facts = report_read_facts(p, parts);
    bool sweep = false;
    for (int i = 0; i < facts.n; i++) sweep = sweep || facts.fact[i].what == FOUND_SWEEP;
    report_page_begin(f);
    report_page_top(&r, p, parts);
    if (facts.n) report_page_better(&r, p, parts, &facts);
    for (int i = 0; i < parts; i++) {
        char when[32];
        time_t at = (time_t)p[i].time;
        struct tm *day = localtime(&at);
        if (!day || !strftime(when, sizeof when, "%Y-%m-%d %H:%M", day)) strcpy(when, "?");
        fprintf(f, "<section id=\"s%d\"><h2>%d. ", i, i + 1);
        report_page_title(&r, p, parts, i);
        fputs("</h2>\n<p class=\"key\">", f);
        report_put(&r, p[i].folder);
        fprintf(f, ", %s</p>\n", when);
        report_tag(&r, "p class=\"result\"", p[i].result);
        fprintf(f, "%s</section>\n", p[i].html);
        const bool last = p[i].stage == 4 && (i + 1 == parts || p[i + 1].stage > 4);
        if (last && !sweep) report_page_goodhart(&r, p, parts, folder);
    }
    fputs("<a class=\"up\" href=\"#top\">&uarr; top</a>\n<footer>Intervals are 95 %. This page is one file and loads "
          "nothing.</footer>\n</body></html>\n", f);
}
/* Write the page of all stages that lie in the folders beside OUT. */
static bool report_write_page(const char *out, const char *page) {
    char *try = llm_format("%s.tmp", page), *old = llm_exists(page) ? report_read_text(page, false) : NULL;
    struct stat there;
    bool free_to_write = !llm_exists(page) || (old && strstr(old, report_title));       /* somebody's own page stays */
    if (!lstat(try, &there) && !S_ISREG(there.st_mode)) free_to_write = false;
    FILE *probe = free_to_write ? fopen(try, "wb") : NULL;
    llm_release_all(old, try);
    if (!probe) return false;
    fclose(probe);
    const char *slash = strrchr(out, '/');
    char *folder = slash ? llm_format("%.*s", llm_max(1, (int)(slash - out)), out) : llm_format(".");
    report_part part[64];
    int parts = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && parts < 64 && (e = readdir(d));)
        if (e->d_name[0] != '.') parts += report_read(folder, e->d_name, &part[parts]);
    if (d) closedir(d);
    qsort(part, (size_t)parts, sizeof *part, report_by_stage);
    llm_writer w = llm_write_begin(page);
    report_page(w.file, part, parts, report_typed(folder));
    llm_write_done(&w);
    for (int i = 0; i < parts; i++) llm_release_all(part[i].text, part[i].folder);
    llm_release(folder);
    return true;
}
int main(int argc, char **argv) {
    const char *out = NULL, *page = NULL;
    llm_option table[] = {
        {"out", LLM_TEXT, &out, 0, 0, "folder of a stage: all that lie beside it are on the page", NULL, "o"},
        {"page", LLM_TEXT, &page, 0, 0, "the page; none: report.html beside --out", NULL, NULL}};
    llm_options_parse(table, sizeof table / sizeof *table, "the page of all stages", argc, argv);
    if (!out) llm_usage("--out out/sft", "of which stage?");
    char *folder = llm_format("%s", out);
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) folder[--n] = 0;
    const char *slash = strrchr(folder, '/');
    char *path = page ? llm_format("%s", page)
               : slash ? llm_format("%.*s/report.html", (int)(slash - folder), folder) : llm_format("report.html");
    if (!report_write_page(folder, path)) {
        fprintf(stderr, "no report: cannot write %s, or it is not ours\n", path);
        return 1;
    }
    printf("report: %s\n", path);
    llm_release_all(folder, path);
    return 0;
}
