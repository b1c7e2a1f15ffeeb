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
    FILE *body;
    bool grid;                          /* inside a row of drawings */
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

/* Drawings stand side by side in a grid until something else comes. */
static void report_grid(report_card *r, bool on) {
    if (r->grid != on) fputs(on ? "<div class=\"grid\">\n" : "</div>\n", r->body);
    r->grid = on;
}
/* A paragraph. */
static void report_text(report_card *r, const char *text) {
    report_grid(r, false);
    fputs("<p>", r->body);
    report_put(r, text);
    fputs("</p>\n", r->body);
}
/* Text as it was printed: continuations of a base model. */
static void report_lines(report_card *r, const char *title, const char *text) {
    report_grid(r, false);
    fputs("<h3>", r->body);
    report_put(r, title);
    fputs("</h3>\n<pre>", r->body);
    report_put(r, text);
    fputs("</pre>\n", r->body);
}

/* ---- curves ---- */

/* A line of a drawing. Points that are not finite are left out. A dashed line is a level to compare with, dots are
   single measurements. */
typedef enum { REPORT_LINE, REPORT_DASHED, REPORT_DOTS } report_style;
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
static void report_legend(report_card *r, const char *const *name, int n) {
    fputs("<p class=\"key\">", r->body);
    for (int i = 0; i < n; i++) {
        fprintf(r->body, "<span class=\"k%d\">&#9632;</span> ", i % 8);
        report_put(r, name[i]);
        fputs(i < n - 1 ? " &ensp;" : "</p>\n", r->body);
    }
}
/* A drawing of several lines over one x; log_y: the y axis is logarithmic where all values are positive. Without a
   single point there is nothing to draw. */
static void report_chart(report_card *r, const char *title, const char *x_label, const report_line *line,
                                int lines, bool log_y) {
    const char *name[16];
    FILE *f = r->body;
    report_axis x = report_range(line, lines, false, false), y = report_range(line, lines, true, log_y);
    if (!isfinite(x.low)) return;
    report_grid(r, true);
    fputs("<figure><figcaption>", f);
    report_put(r, title);
    fputs("</figcaption>\n", f);
    for (int i = 0; i < llm_min(lines, 16); i++) name[i] = line[i].name;
    if (lines > 1) report_legend(r, name, llm_min(lines, 16));
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", REPORT_W, REPORT_H);
    report_put(r, title);
    fputs("\">\n", f);
    report_axes(f, &x, &y, x_label);
    for (int i = 0; i < lines; i++) {
        const report_line *l = &line[i];
        int window = l->n > 90 ? l->n / 60 : 1, thin = l->n > 600 ? l->n / 300 : 1;
        if (l->style == REPORT_DOTS) report_dots(f, l, &x, &y, i);
        else if (l->style == REPORT_DASHED) report_path(f, l, &x, &y, 1, "l dash", i);
        else {
            if (window > 1) report_path(f, l, &x, &y, thin, "raw", i);
            report_path(f, l, &x, &y, window, "l", i);
        }
    }
    fputs("</svg></figure>\n", f);
}
/* A column of a CSV with a header, for curves that must survive --resume: the log has all steps. key: take the lines
   whose column `key` is `value` only (NULL: all). Empty cells are NaN. The caller releases it; NULL: no such column. */
static double *report_column(const char *path, const char *column, const char *key, const char *value, int *n) {
    *n = 0;
    if (!llm_exists(path)) return NULL;
    char *text = llm_read_file(path, NULL);
    int wanted = -1, filter = -1, at = 0;
    size_t capacity = 0;
    double *x = NULL;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        bool keep = line != text && !key;
        double v = NAN;
        at = 0;
        for (char *cell = line, *stop; cell; cell = stop, at++) {
            stop = strchr(cell, ',');
            if (stop) *stop++ = 0;
            if (line == text && !strcmp(cell, column)) wanted = at;
            if (line == text && key && !strcmp(cell, key)) filter = at;
            if (line != text && at == filter && key && !strcmp(cell, value)) keep = true;
            if (line != text && at == wanted && *cell) v = atof(cell);
        }
        if (!keep || wanted < 0) continue;
        x = llm_grow(x, &capacity, (size_t)*n + 1, sizeof *x);
        x[(*n)++] = v;
    }
    llm_release(text);
    return x;
}
/* Columns of a CSV over its column "step": "loss|val_loss". */
static void report_log(report_card *r, const char *title, const char *path, const char *columns, const char *key,
                              const char *value, bool log_y) {
    report_line line[8];
    char names[8][32];
    double *x, *y[8];
    int n, steps, lines = 0;
    x = report_column(path, "step", key, value, &steps);
    for (const char *c = columns; *c && lines < 8; c += strcspn(c, "|"), c += *c == '|') {
        snprintf(names[lines], sizeof names[0], "%.*s", (int)strcspn(c, "|"), c);
        y[lines] = report_column(path, names[lines], key, value, &n);
        int points = 0;
        for (int i = 0; i < n; i++) points += isfinite(y[lines][i]);
        if (!x || n != steps || points == 0) { llm_release(y[lines]); continue; }
        line[lines] = (report_line){names[lines], x, y[lines], n, points < n / 4 ? REPORT_DOTS : REPORT_LINE};
        lines++;
    }
    if (lines) report_chart(r, title, "step", line, lines, log_y);
    for (int i = 0; i < lines; i++) llm_release(y[i]);
    llm_release(x);
}

/* ---- tables ---- */

/* cell: rows x columns, the first column names the row. In a cell, what follows a line end is smaller print. */
static void report_table(report_card *r, const char *title, const char *const *head, int columns,
                                const char *const *cell, int rows) {
    FILE *f = r->body;
    report_grid(r, false);
    fputs("<h3>", f);
    report_put(r, title);
    fputs("</h3>\n<div class=\"wide\"><table><tr>", f);
    for (int c = 0; c < columns; c++) {
        fputs("<th>", f);
        report_put(r, head[c]);
        fputs("</th>", f);
    }
    fputs("</tr>\n", f);
    for (int i = 0; i < rows * columns; i++) {
        const char *text = cell[i] ? cell[i] : "", *tag = i % columns ? "td" : "th";
        size_t n = strcspn(text, "\n");
        fprintf(f, "%s<%s>", i % columns ? "" : "<tr>", tag);
        report_escape(f, text, n);
        if (text[n]) {
            fputs("<small>", f);
            report_put(r, text + n + 1);
            fputs("</small>", f);
        }
        fprintf(f, "</%s>%s", tag, i % columns == columns - 1 ? "</tr>\n" : "");
    }
    fputs("</table></div>\n", f);
}
/* Measured shares as a picture: for each row and model a dot with its interval. x: (rows, models, 3): mean, low,
   high. */
static void report_intervals(report_card *r, const char *title, const char *const *row, int rows,
                                    const char *const *model, int models, const double *x, double low, double high) {
    FILE *f = r->body;
    int each = 9 * models + 9, height = rows * each + 26, left = 84;
    report_axis a = {low, high, false};
    double tick[16];
    report_grid(r, true);
    fputs("<figure><figcaption>", f);
    report_put(r, title);
    fputs("</figcaption>\n", f);
    report_legend(r, model, models);
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", REPORT_W, height);
    report_put(r, title);
    fputs("\">\n", f);
    for (int i = 0, n = report_ticks(&a, tick); i < n; i++) {
        double at = report_at(&a, tick[i], left, REPORT_RIGHT);
        fprintf(f, "<path class=\"g\" d=\"M%.1f 4V%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n",
                at, height - 18, at, height - 4, tick[i]);
    }
    for (int i = 0; i < rows; i++) {
        fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", left - 6, i * each + each / 2 + 4);
        report_put(r, row[i]);
        fputs("</text>", f);
        for (int m = 0; m < models; m++) {
            const double *v = x + (i * models + m) * 3;
            if (!isfinite(v[0])) continue;
            double at[3];
            int y = i * each + 9 * m + 9;
            for (int k = 0; k < 3; k++) at[k] = report_at(&a, fmin(fmax(v[k], low), high), left, REPORT_RIGHT);
            fprintf(f, "<path class=\"ci c%d\" d=\"M%.1f %dH%.1f\"/><circle class=\"d c%d\" cx=\"%.1f\" cy=\"%d\" "
                    "r=\"3\"><title>%.3f [%.3f %.3f]</title></circle>\n", m % 8, at[1], y, at[2], m % 8, at[0], y, v[0],
                    v[1], v[2]);
        }
    }
    fputs("</svg></figure>\n", f);
}

/* ---- samples ---- */

/* The same prompts, answered by several models. answer: (models, prompts); mark: the same, 1 right, 0 wrong, -1 not
   judged, or NULL. */
static void report_samples(report_card *r, const char *title, const char *const *model, int models,
                                  const char *const *prompt, int prompts, const char *const *answer, const int *mark) {
    FILE *f = r->body;
    report_grid(r, false);
    fputs("<h3>", f);
    report_put(r, title);
    fputs("</h3>\n", f);
    for (int i = 0; i < prompts; i++) {
        fputs("<div class=\"qa\"><p class=\"q\">", f);
        report_put(r, prompt[i]);
        fputs("</p><div class=\"as\">", f);
        for (int m = 0; m < models; m++) {
            int at = m * prompts + i, verdict = mark ? mark[at] : -1;
            fprintf(f, "<div><b class=\"k%d\">", m % 8);
            report_put(r, model[m]);
            fprintf(f, "</b>%s ", verdict < 0 ? "" : verdict ? " <i class=\"yes\">&#10003;</i>"
                                                           : " <i class=\"no\">&#10007;</i>");
            report_put(r, answer[at]);
            fputs("</div>", f);
        }
        fputs("</div></div>\n", f);
    }
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
static void report_token(report_card *r, const llm_json *token, double most) {
    FILE *f = r->body;
    double a = llm_json_number(token, "advantage", NAN), old = llm_json_number(token, "logp", NAN);
    if (isnan(a)) fputs("<span class=\"t p\">", f);
    else {
        fprintf(f, "<span class=\"t\" style=\"background:rgba(var(--%s),%.2f)\" title=\"log p %.3f, reference %.3f\">",
                a < 0 ? "bad" : "good", 0.06 + 0.74 * fabs(a) / most, old, llm_json_number(token, "reference", NAN));
    }
    report_token_text(r, llm_json_text(token, "text", ""));
    if (!isnan(a)) fprintf(f, "<i>%+.2f</i>", a);
    fputs("</span>", f);
}
/* Rows of a real batch of PPO: prompt, answer with the advantage under each token, and the score at the end. */
static void report_tokens(report_card *r, const char *title, const llm_json *const *row, int rows) {
    FILE *f = r->body;
    double most = 1e-9;
    for (int i = 0; i < rows; i++)
        for (const llm_json *t = report_list(row[i], "tokens"); t; t = t->next)
            most = fmax(most, fabs(llm_json_number(t, "advantage", 0)));
    report_grid(r, false);
    fputs("<h3>", f);
    report_put(r, title);
    fputs("</h3>\n<p class=\"key\"><span class=\"t p\">prompt</span> read, not trained &ensp;<span class=\"t\" "
          "style=\"background:rgba(var(--good),.5)\">answer</span> sampled by the policy: its own tokens become the "
          "labels, weighted by the advantage under them (green: more of this, red: less) &ensp;<span class=\"t rw\">"
          "reward</span> where the reward model reads its score</p>\n", f);
    for (int i = 0; i < rows; i++) {
        fputs("<p class=\"row\">", f);
        for (const llm_json *t = report_list(row[i], "tokens"); t; t = t->next) report_token(r, t, most);
        fputs("<span class=\"t rw\">", f);
        report_token_text(r, llm_json_text(row[i], "read", "reward"));
        fprintf(f, "<i>%+.2f</i></span></p>\n", llm_json_number(row[i], "score", NAN));
    }
}

/* ---- the page ---- */

static const char report_style_sheet[] =
    ":root{--fg:#1b1f24;--bg:#fff;--soft:#f3f4f6;--line:#d5d9df;--dim:#5c6570;--good:34,139,60;--bad:214,51,51;"
    "--s0:#2563eb;--s1:#d9480f;--s2:#2b8a3e;--s3:#9c36b5;--s4:#0b7285;--s5:#c2255c;--s6:#846800;--s7:#495057}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#15181c;--soft:#1f242a;--line:#3a424c;--dim:#9aa4b0;"
    "--good:64,192,98;--bad:250,92,92;--s0:#74a9ff;--s1:#ff9f5a;--s2:#69db7c;--s3:#da9ef0;--s4:#4dd0e1;--s5:#ff8fb5;"
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
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "td,th{padding:.3em .7em;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;"
    "white-space:nowrap}th:first-child{text-align:left;position:sticky;left:0;background:var(--bg)}"
    "small{display:block;color:var(--dim);font-size:.78rem}"
    "@media(min-width:700px){small{display:inline;margin-left:.6em}}"
    ".qa{border:1px solid var(--line);border-radius:6px;margin:.6em 0;overflow:hidden}.q{background:var(--soft);"
    "margin:0;padding:.4em .7em;white-space:pre-wrap}.as{display:grid;grid-template-columns:repeat(auto-fit,"
    "minmax(min(230px,100%),1fr))}.as div{padding:.4em .7em}.as b{font-size:.8rem}i{font-style:normal}"
    ".yes{color:rgb(var(--good))}.no{color:rgb(var(--bad))}"
    ".row{line-height:1;margin:.7em 0;padding-bottom:.5em;border-bottom:1px dashed var(--line)}"
    ".t{display:inline-block;padding:3px 4px;margin:1px;border-radius:4px;font:12px/1.25 ui-monospace,Menlo,monospace;"
    "text-align:center;vertical-align:top;white-space:pre}.t i{display:block;font-size:10px;opacity:.8}"
    ".p{background:var(--soft);color:var(--dim)}.rw{border:1.5px solid var(--s3);font-weight:600}"
    ".c0{stroke:var(--s0)}.k0{color:var(--s0)}.d.c0{fill:var(--s0)}.c1{stroke:var(--s1)}.k1{color:var(--s1)}"
    ".d.c1{fill:var(--s1)}.c2{stroke:var(--s2)}.k2{color:var(--s2)}.d.c2{fill:var(--s2)}.c3{stroke:var(--s3)}"
    ".k3{color:var(--s3)}.d.c3{fill:var(--s3)}.c4{stroke:var(--s4)}.k4{color:var(--s4)}.d.c4{fill:var(--s4)}"
    ".c5{stroke:var(--s5)}.k5{color:var(--s5)}.d.c5{fill:var(--s5)}.c6{stroke:var(--s6)}.k6{color:var(--s6)}"
    ".d.c6{fill:var(--s6)}.c7{stroke:var(--s7)}.k7{color:var(--s7)}.d.c7{fill:var(--s7)}"
    ".sum td,.sum th{white-space:normal;text-align:left;overflow-wrap:normal}"
    ".sum small{display:block;margin:0}.d{stroke:none!important}"
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
enum { CELLS = 4096, COLUMNS = 16 };
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
/* A table of shares, one column a model, and the same as a picture. */
static void draw_table(report_card *r, const char *out, const llm_json *part) {
    int columns, rows, shares = 0;
    const char *picture = llm_json_text(part, "picture", NULL), *name[CELLS];
    const char *file = llm_json_text(part, "file", "");
    char *path = report_path_in(out, file), **cell = (char **)report_read_table(path, &columns, &rows);
    double *x = llm_alloc(CELLS, 3 * sizeof *x);
    for (int i = 1; i < rows; i++) {
        bool all = true;
        for (int c = 1; c < columns; c++)
            all = report_share(&cell[i * columns + c], x + 3 * (shares * (columns - 1) + c - 1)) && all;
        if (all) name[shares++] = cell[i * columns];
    }
    if (picture)
        report_intervals(r, picture, name, shares, (const char *const *)cell + 1, columns - 1, x, 0, 1);
    report_table(r, llm_json_text(part, "title", ""), (const char *const *)cell, columns,
                 (const char *const *)cell + columns, rows - 1);
}
/* Stage 3's methods: table.csv as train_rlhf writes it, a method a line. */
static void draw_methods(report_card *r, const char *out, const llm_json *part) {
    static const char *const column[] = {"true_reward", "reward", "kl", "length", "stops", "exact", "fact"};
    enum { SHOWN = 9, MOST = 32 };
    int columns, rows, at[SHOWN] = {0}, win[3] = {0};
    const char *name[MOST], *model[] = {"against the SFT model"};
    const char *head[SHOWN] = {"", "win-rate", llm_json_text(part, "detail", "judge"), "reward model", "KL", "tokens",
                               "stops", "exact", "facts"}, *text[SHOWN * MOST];
    char *path = report_path_in(out, "table.csv"), *const *cell = report_read_table(path, &columns, &rows);
    double x[MOST * 3];
    for (int c = 0; c < columns; c++) {
        for (int k = 0; k < 7; k++) if (!strcmp(cell[c], column[k])) at[k] = c;
        if (!strcmp(cell[c], "win")) win[0] = c;
        if (!strcmp(cell[c], "win_low")) win[1] = c;
        if (!strcmp(cell[c], "win_high")) win[2] = c;
    }
    rows = llm_min(rows - 1, MOST);
    for (int i = 0; i < rows; i++) {
        char *const *line = cell + (i + 1) * columns;
        for (int k = 0; k < 3; k++) x[3 * i + k] = atof(line[win[k]]);
        text[i * SHOWN] = name[i] = line[0];
        text[i * SHOWN + 1] = llm_format("%.3f\n%.3f to %.3f", x[3 * i], x[3 * i + 1], x[3 * i + 2]);
        for (int k = 0; k < 7; k++) {
            double v = atof(line[at[k]]);
            text[i * SHOWN + k + 2] = isnan(v) ? "-" : llm_format("%.2f", v);
        }
    }
    report_intervals(r, "win-rate on held-out prompts", name, rows, model, 1, x, 0, 1);
    report_table(r, llm_json_text(part, "title", ""), head, SHOWN, text, rows);
}
static void draw_samples(report_card *r, const char *out, const llm_json *part) {
    enum { MOST = 64, MODELS = 8 };
    const llm_json *row[MOST];
    const char *prompt[MOST], *answer[MOST * MODELS], *model[MODELS];
    int mark[MOST * MODELS], n = report_read_lines(report_path_in(out, "samples.jsonl"), row, MOST), models = 0;
    for (const llm_json *a = n ? report_list(row[0], "answers") : NULL; a && models < MODELS; a = a->next)
        model[models++] = llm_json_text(a, "model", "?");
    for (int i = 0; i < n; i++) {
        const llm_json *a = report_list(row[i], "answers");
        prompt[i] = llm_json_text(row[i], "prompt", "");
        for (int m = 0; m < models; m++, a = a ? a->next : NULL) {
            const llm_json *right = llm_json_get(a, "right");
            answer[m * n + i] = llm_json_text(a, "text", "");
            mark[m * n + i] = right && right->type == LLM_JSON_BOOL ? (int)right->number : -1;
        }
    }
    report_samples(r, llm_json_text(part, "title", ""), model, models, prompt, n, answer, mark);
}
static void draw_tokens(report_card *r, const char *out, const llm_json *part) {
    const llm_json *row[16];
    int n = report_read_lines(report_path_in(out, "tokens.jsonl"), row, 16);
    report_tokens(r, llm_json_text(part, "title", ""), row, n);
}
/* Pretraining and fine-tuning: the curves of log.csv, and bits per byte beside the entropy of the text. */
static void draw_text_log(report_card *r, const char *path, double level) {
    int n;
    report_log(r, "loss, nats per token", path, "loss|val_loss", NULL, NULL, true);
    report_log(r, "learning rate", path, "lr", NULL, NULL, false);
    report_log(r, "gradient norm", path, "gnorm", NULL, NULL, true);
    report_log(r, "tokens per second", path, "tok_per_s", NULL, NULL, false);
    double *step = report_column(path, "step", NULL, NULL, &n), *y = report_column(path, "val_bpb", NULL, NULL, &n);
    if (n <= 0) return;
    const double ends[] = {step[0], step[n - 1]}, levels[] = {level, level};
    report_line line[] = {{"validation", step, y, n, REPORT_DOTS},
                          {"entropy of the text", ends, levels, 2, REPORT_DASHED}};
    report_chart(r, "bits per byte", "step", line, isnan(level) ? 1 : 2, false);
}
/* Stage 3: its curves, and Goodhart's picture: what the judge says and what the true rule says, over the distance from
   the SFT model. */
static void draw_rl_log(report_card *r, const char *name, const char *path) {
    static const char *const chart[][2] = {{"loss", "loss"}, {"reward", "reward|true_reward"},
        {"KL, nats an answer", "kl"}, {"pair accuracy", "accuracy"}, {"implicit reward", "chosen|rejected|margin"},
        {"value loss", "value_loss"}, {"share of clipped tokens", "clipped"},
        {"groups without a signal", "silent_groups"}, {"tokens an answer", "length"}};
    for (size_t i = 0; i < sizeof chart / sizeof *chart; i++)
        report_log(r, llm_format("%s: %s", name, chart[i][0]), path, chart[i][1], NULL, NULL, false);
    int n, m, k;
    double *kl = report_column(path, "kl", NULL, NULL, &n), *reward = report_column(path, "reward", NULL, NULL, &m);
    double *truth = report_column(path, "true_reward", NULL, NULL, &k);
    report_line points[] = {{"judge", kl, reward, n, REPORT_DOTS}, {"true rule", kl, truth, n, REPORT_DOTS}};
    bool known = false;
    for (int i = 0; truth && i < k; i++) known = known || isfinite(truth[i]);
    if (kl && reward && n && n == m)
        report_chart(r, llm_format("%s: reward against distance", name), "KL, nats an answer", points, known ? 2 : 1,
                     false);
}
static void draw_log(report_card *r, const char *out, const llm_json *part) {
    int n;
    const char *file = llm_json_text(part, "file", "");
    if (!path_stays(out, file)) {
        report_text(r, llm_format("(a log that lies elsewhere is not drawn: %s)", file));
        return;
    }
    char *path = report_path_in(out, file);
    if (!report_read_text(path, false)) return;         /* best-of-n trains nothing: no log */
    bool text = report_column(path, "tok_per_s", NULL, NULL, &n) != NULL;
    if (text) draw_text_log(r, path, llm_json_number(part, "floor", NAN));
    else draw_rl_log(r, llm_json_text(part, "name", ""), path);
}
static void draw_text(report_card *r, const char *out, const llm_json *part) {
    const char *title = llm_json_text(part, "title", NULL), *text = llm_json_text(part, "text", "");
    (void)out;
    if (title) report_lines(r, title, text);
    else report_text(r, text);
}
/* A stage as three lines (stage and time; title; result) and HTML. */
static void draw_stage(FILE *f, const char *out) {
    static const struct { const char *kind; void (*draw)(report_card *, const char *, const llm_json *); } all[] = {
        {"text", draw_text}, {"log", draw_log}, {"table", draw_table}, {"methods", draw_methods},
        {"samples", draw_samples}, {"tokens", draw_tokens}};
    char *path = report_path_in(out, "stage.json"), *text = report_read_text(path, true);
    const llm_json *j = llm_json_parse(text, strlen(text), path, 1);
    double stage = llm_json_number(j, "stage", NAN), when = llm_json_number(j, "time", NAN);
    if (!(stage >= 0 && stage < 1000 && when >= 0 && when < 1e11)) llm_die("leave it out", "%s is not ours", path);
    report_card r = {.body = f};
    fprintf(f, "%.0f %.0f\n", stage, when);
    report_one_line(f, llm_json_text(j, "title", "?"));
    report_one_line(f, llm_json_text(j, "result", "?"));
    fputs("<p class=\"cmd\"><code>", f);
    for (const llm_json *c = report_list(j, "command"); c; c = c->next) {
        report_put(&r, c->type == LLM_JSON_STRING ? c->string : "?");
        if (c->next) fputc(' ', f);
    }
    fputs("</code></p>\n", f);
    for (const llm_json *p = report_list(j, "parts"); p; p = p->next)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (!strcmp(llm_json_text(p, "kind", ""), all[i].kind)) all[i].draw(&r, out, p);
    report_grid(&r, false);
}

/* ================================================= 3. the page =====================================================*/

typedef struct { long stage, time; char *title, *result, *folder, *text; const char *html; } report_part;

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
        draw_stage(f, out);
        _exit(fflush(f) != 0);
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
            "<style>%s</style></head>\n<body>\n<h1>From text to an aligned model</h1>\n", report_title,
            report_style_sheet);
}
static void report_page(FILE *f, const report_part *p, int parts) {
    report_page_begin(f);
    fputs("<div class=\"wide\"><table class=\"sum\">\n", f);
    for (int i = 0; i < parts; i++) {
        fprintf(f, "<tr><th><a href=\"#s%d\">", i);
        report_escape(f, p[i].title, strlen(p[i].title));
        fputs("</a><small>", f);
        report_escape(f, p[i].folder, strlen(p[i].folder));
        fputs("</small></th><td>", f);
        report_escape(f, p[i].result, strlen(p[i].result));
        fputs("</td></tr>\n", f);
    }
    fputs("</table></div>\n", f);
    for (int i = 0; i < parts; i++) {
        char when[32];
        time_t at = (time_t)p[i].time;
        struct tm *day = localtime(&at);
        if (!day || !strftime(when, sizeof when, "%Y-%m-%d %H:%M", day)) strcpy(when, "?");
        fprintf(f, "<section id=\"s%d\"><h2>", i);
        report_escape(f, p[i].title, strlen(p[i].title));
        fputs("</h2>\n<p class=\"key\">", f);
        report_escape(f, p[i].folder, strlen(p[i].folder));
        fprintf(f, ", %s</p>\n%s</section>\n", when, p[i].html);
    }
    fputs("<footer>Shaded intervals are 95 %. This page is one file and loads nothing.</footer>\n</body></html>\n", f);
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
    report_page(w.file, part, parts);
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
