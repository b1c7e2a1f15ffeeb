/* report.h: the report card. Every stage leaves its own part in OUT/report.part (curves, tables, samples, the lecture's
   token picture), and writes the page report.html beside OUT again from the parts of all stages there. The page is one
   file that loads nothing: the drawings are SVG written here, no script runs in it, light and dark follow the reader's
   system. Text of models and data is escaped: it stays text. Included after llm.h.

       report_card r;  report_open(&r, out, NULL, 2, "Supervised fine-tuning", argc, argv);
       report_chart(&r, "loss", "step", line, 2, true);
       report_table(&r, "before and after", head, 3, cell, rows);
       report_close(&r, "48 % exactly right");                                                                    */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include <dirent.h>
#include <time.h>

typedef struct {
    FILE *body;                         /* in memory; NULL: no report is wanted */
    char *text, *out, *page, *title;
    size_t size;
    int stage;
    bool grid;                          /* inside a row of drawings */
} report_card;

/* ---- text ---- */

/* HTML's five signs are escaped, bytes that are no UTF-8 and control signs become U+FFFD. */
static inline void report_escape(FILE *f, const char *text, size_t n) {
    for (size_t i = 0, step; i < n; i += step) {
        uint32_t code;
        step = (size_t)llm_utf8_get(text + i, n - i, &code);
        if (code == UINT32_MAX || (code < 32 && code != '\n' && code != '\t') || code == 127) fputs("\xEF\xBF\xBD", f);
        else if (code == '&') fputs("&amp;", f);
        else if (code == '<') fputs("&lt;", f);
        else if (code == '>') fputs("&gt;", f);
        else if (code == '"') fputs("&quot;", f);
        else if (code == '\'') fputs("&#39;", f);
        else fwrite(text + i, 1, step, f);
    }
}
static inline void report_put(report_card *r, const char *text) { report_escape(r->body, text, strlen(text)); }

/* Drawings stand side by side in a grid until something else comes. */
static inline void report_grid(report_card *r, bool on) {
    if (r->grid != on) fputs(on ? "<div class=\"grid\">\n" : "</div>\n", r->body);
    r->grid = on;
}
/* The page: --report's own, or report.html in the folder that OUT is in. "off": none. */
static inline void report_open(report_card *r, const char *out, const char *page, int stage, const char *title,
                               int argc, char **argv) {
    *r = (report_card){.stage = stage};
    if (page && !strcmp(page, "off")) return;
    r->out = llm_format("%s", out);
    for (size_t n = strlen(r->out); n > 1 && r->out[n - 1] == '/';) r->out[--n] = 0;
    const char *slash = strrchr(r->out, '/');
    r->page = page ? llm_format("%s", page)
            : slash ? llm_format("%.*s/report.html", (int)(slash - r->out), r->out) : llm_format("report.html");
    r->title = llm_format("%s", title);
    r->body = open_memstream(&r->text, &r->size);       /* keeps these two addresses: *r must not move */
    if (!r->body) llm_die("a machine with more memory", "cannot begin the report: %s", strerror(errno));
    fputs("<p class=\"cmd\"><code>", r->body);
    for (int i = 0; i < argc; i++) {
        if (i) fputc(' ', r->body);
        report_put(r, argv[i]);
    }
    fputs("</code></p>\n", r->body);
}
/* A paragraph. */
LLM_PRINTF(2, 3) static inline void report_text(report_card *r, const char *format, ...) {
    if (!r->body) return;
    va_list a;
    char text[2048];
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    report_grid(r, false);
    fputs("<p>", r->body);
    report_put(r, text);
    fputs("</p>\n", r->body);
}
/* Text as it was printed: continuations of a base model. */
static inline void report_lines(report_card *r, const char *title, const char *text) {
    if (!r->body) return;
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

static inline double report_at(const report_axis *a, double v, double from, double to) {
    double low = a->log ? log(a->low) : a->low, high = a->log ? log(a->high) : a->high, x = a->log ? log(v) : v;
    return from + (to - from) * (x - low) / (high - low);
}
static inline report_axis report_range(const report_line *line, int lines, bool of_y, bool log) {
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
static inline int report_ticks(const report_axis *a, double tick[16]) {
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
static inline void report_number(FILE *f, double v) {
    if (fabs(v) >= 1e4 && fabs(v) < 1e6 && fmod(v, 1000) == 0) fprintf(f, "%gk", v / 1e3);
    else fprintf(f, "%.4g", v);
}
static inline void report_axes(FILE *f, const report_axis *x, const report_axis *y, const char *x_label) {
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
static inline void report_path(FILE *f, const report_line *l, const report_axis *x, const report_axis *y, int window,
                               const char *style, int color) {
    char move = 'M';
    fprintf(f, "<path class=\"%s c%d\" d=\"", style, color % 8);
    for (int i = 0; i < l->n; i += window) {
        double sx = 0, sy = 0, n = 0;
        for (int j = i; j < int_min(i + window, l->n); j++)
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
static inline void report_dots(FILE *f, const report_line *l, const report_axis *x, const report_axis *y, int color) {
    for (int i = 0; i < l->n; i++)
        if (isfinite(l->x[i]) && isfinite(l->y[i]))
            fprintf(f, "<circle class=\"d c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%.4g, %.4g</title></circle>\n",
                    color % 8, report_at(x, l->x[i], REPORT_LEFT, REPORT_RIGHT),
                    report_at(y, l->y[i], REPORT_BOTTOM, REPORT_TOP), l->x[i], l->y[i]);
}
static inline void report_legend(report_card *r, const char *const *name, int n) {
    fputs("<p class=\"key\">", r->body);
    for (int i = 0; i < n; i++) {
        fprintf(r->body, "<span class=\"k%d\">&#9632;</span> ", i % 8);
        report_put(r, name[i]);
        fputs(i < n - 1 ? " &ensp;" : "</p>\n", r->body);
    }
}
/* A drawing of several lines over one x; log_y: the y axis is logarithmic where all values are positive. Without a
   single point there is nothing to draw. */
static inline void report_chart(report_card *r, const char *title, const char *x_label, const report_line *line,
                                int lines, bool log_y) {
    if (!r->body) return;
    const char *name[16];
    FILE *f = r->body;
    report_axis x = report_range(line, lines, false, false), y = report_range(line, lines, true, log_y);
    if (!isfinite(x.low)) return;
    report_grid(r, true);
    fputs("<figure><figcaption>", f);
    report_put(r, title);
    fputs("</figcaption>\n", f);
    for (int i = 0; i < int_min(lines, 16); i++) name[i] = line[i].name;
    if (lines > 1) report_legend(r, name, int_min(lines, 16));
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
static inline double *report_column(const char *path, const char *column, const char *key, const char *value, int *n) {
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
static inline void report_log(report_card *r, const char *title, const char *path, const char *columns, const char *key,
                              const char *value, bool log_y) {
    if (!r->body) return;
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
static inline void report_table(report_card *r, const char *title, const char *const *head, int columns,
                                const char *const *cell, int rows) {
    if (!r->body) return;
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
static inline void report_intervals(report_card *r, const char *title, const char *const *row, int rows,
                                    const char *const *model, int models, const double *x, double low, double high) {
    if (!r->body) return;
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
static inline void report_samples(report_card *r, const char *title, const char *const *model, int models,
                                  const char *const *prompt, int prompts, const char *const *answer, const int *mark) {
    if (!r->body) return;
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
static inline void report_token_text(report_card *r, const llm_tokenizer *t, int id) {
    char *text = llm_decode(t, &id, 1, true, NULL);
    for (const char *s = text; *s; s++)
        if (*s == ' ') fputs("&middot;", r->body);
        else if (*s == '\n') fputs("&crarr;", r->body);
        else {
            uint32_t code;
            size_t n = (size_t)llm_utf8_get(s, strlen(s), &code);
            report_escape(r->body, s, n);
            s += n - 1;
        }
    llm_release(text);
}
/* Rows of a real batch of PPO or GRPO. b: targets and weight as the loss saw them; (B,T) arrays: advantage (what the
   gradient is multiplied by), and, where not NULL, old and ref log-probabilities, shown when a finger rests on a token;
   score [B]: what the reward model said at the end of the row. */
static inline void report_tokens(report_card *r, const char *title, const llm_tokenizer *t, const llm_batch *b,
                                 int rows, const llm_real *advantage, const llm_real *old, const llm_real *ref,
                                 const double *score) {
    if (!r->body) return;
    FILE *f = r->body;
    double most = 1e-9;
    rows = int_min(rows, b->B);
    for (int i = 0; i < rows * b->T; i++)
        if (b->weight[i] != 0) most = fmax(most, fabs((double)advantage[i]));
    report_grid(r, false);
    fputs("<h3>", f);
    report_put(r, title);
    fputs("</h3>\n<p class=\"key\"><span class=\"t p\">prompt</span> read, not trained &ensp;<span class=\"t\" "
          "style=\"background:rgba(var(--good),.5)\">answer</span> sampled by the policy: its own tokens become the "
          "labels, weighted by the advantage under them (green: more of this, red: less) &ensp;<span class=\"t rw\">"
          "reward</span> where the reward model reads its score</p>\n", f);
    for (int i = 0; i < rows; i++) {
        const int *target = b->targets + i * b->T, *token = b->tokens + i * b->T;
        int last = b->T - 1;
        while (last > 0 && b->weight[i * b->T + last] == 0) last--;
        fputs("<p class=\"row\">", f);
        for (int j = -1; j <= last; j++) {
            int at = i * b->T + j, id = j < 0 ? token[0] : target[j];
            bool answer = j >= 0 && b->weight[at] != 0;
            double a = answer ? (double)advantage[at] : 0;
            if (!answer && j >= 0) id = j + 1 < b->T ? token[j + 1] : target[j];
            if (!answer) fputs("<span class=\"t p\">", f);
            else {
                fprintf(f, "<span class=\"t\" style=\"background:rgba(var(--%s),%.2f)\"", a < 0 ? "bad" : "good",
                        0.06 + 0.74 * fabs(a) / most);
                if (old) fprintf(f, " title=\"log p %.3f", (double)old[at]);
                if (old && ref) fprintf(f, ", reference %.3f", (double)ref[at]);
                fputs(old ? "\">" : ">", f);
            }
            report_token_text(r, t, id);
            if (answer) fprintf(f, "<i>%+.2f</i>", a);
            fputs("</span>", f);
        }
        if (score) {
            fputs("<span class=\"t rw\">", f);
            if (t->reward >= 0) report_token_text(r, t, t->reward);
            else fputs("reward", f);
            fprintf(f, "<i>%+.2f</i></span>", score[i]);
        }
        fputs("</p>\n", f);
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

/* A part: three lines (stage and time; title; the result in a sentence), then HTML. */
typedef struct { long stage, time; char *title, *result, *folder, *text; const char *html; } report_part;

static inline int report_by_stage(const void *a, const void *b) {
    const report_part *x = a, *y = b;
    long d = x->stage != y->stage ? x->stage - y->stage : x->time - y->time;
    return d ? (d < 0 ? -1 : 1) : strcmp(x->folder, y->folder);
}
/* Is a tag one that we write, with attributes that we write? What others put beside OUT must not reach the page. */
static inline bool report_tag(const char *tag, const char *end) {
    static const char tags[] =
        " p code h3 pre div figure figcaption svg path text circle title span b i small table tr th td ";
    static const char attributes[] = " class d x y cx cy r viewBox role aria-label text-anchor style title ";
    char word[24];
    bool closing = *tag == '/', first = true;
    for (const char *s = tag + closing; s < end && !(*s == '/' && s + 1 == end);) {
        size_t n = strcspn(s, " =/>\"");
        if (n == 0 || n > 20 || s + n > end) return false;
        snprintf(word, sizeof word, " %.*s ", (int)n, s);
        if (!strstr(first ? tags : attributes, word)) return false;
        s += n;
        if (!first) {                   /* ="value", without a way to load anything */
            const char *close = s[0] == '=' && s[1] == '"' ? strchr(s + 2, '"') : NULL;
            if (!close || close >= end) return false;
            for (const char *v = s; v < close; v++) if (!strncasecmp(v, "url", 3)) return false;
            s = close + 1;
        }
        first = false;
        if (s < end && *s == ' ') s++;
        else if (s < end && *s != '/') return false;
    }
    return !first;
}
static inline bool report_harmless(const char *html) {
    int depth = 0;
    for (const char *s = html; (s = strpbrk(s, "<>"));) {
        const char *end = *s == '<' ? s + 1 : NULL;
        for (bool quoted = false; end && *end && (quoted || *end != '>'); end++) quoted ^= *end == '"';
        if (!end || !*end || !report_tag(s + 1, end)) return false;
        if (end[-1] != '/') depth += s[1] == '/' ? -1 : 1;
        if (depth < 0) return false;
        s = end + 1;
    }
    return depth == 0;
}
/* The text of a file of ours: a plain file (a pipe would make us wait for ever) of sensible size, without zeros. */
static inline char *report_text_of(const char *path) {
    struct stat s;
    size_t size;
    if (lstat(path, &s) || !S_ISREG(s.st_mode) || s.st_size > 64 << 20 || access(path, R_OK)) return NULL;
    char *text = llm_read_file(path, &size);
    if (strlen(text) == size) return text;
    llm_release(text);
    return NULL;
}
static inline bool report_read(const char *folder, const char *name, report_part *p) {
    char *path = llm_format("%s/%s/report.part", folder, name), *rest = NULL;
    *p = (report_part){.text = report_text_of(path)};
    char *line[4] = {p->text};
    for (int i = 1; i < 4 && line[i - 1]; i++)
        if ((line[i] = strchr(line[i - 1], '\n'))) *line[i]++ = 0;
    bool ours = line[3] && !strncmp(line[0], "report ", 7) && isdigit((unsigned char)line[0][7]);
    if (ours) {
        p->stage = strtol(line[0] + 7, &rest, 10);
        ours = *rest == ' ' && isdigit((unsigned char)rest[1]);
        if (ours) p->time = strtol(rest, &rest, 10);
        ours = ours && !*rest && p->stage < 1000 && p->time < 100000000000 && report_harmless(line[3]);
    }
    if (!ours) {
        if (llm_exists(path)) fprintf(stderr, "note: %s is not ours; the report does without it\n", path);
        llm_release(p->text);
        llm_release(path);
        return false;
    }
    p->title = line[1];
    p->result = line[2];
    p->html = line[3];
    p->folder = llm_format("%s", name);
    llm_release(path);
    return true;
}
static const char report_title[] = "<title>From text to an aligned model</title>";
static inline void report_page_begin(FILE *f) {
    fprintf(f, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            "<meta name=\"color-scheme\" content=\"light dark\">\n%s\n"
            "<style>%s</style></head>\n<body>\n<h1>From text to an aligned model</h1>\n", report_title,
            report_style_sheet);
}
static inline void report_page(FILE *f, const report_part *p, int parts) {
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
static inline void report_file(const char *path, const char *head, const char *text, size_t size) {
    llm_writer w = llm_write_begin(path);
    llm_write_bytes(&w, head, strlen(head));
    llm_write_bytes(&w, text, size);
    llm_write_done(&w);
}
/* Write the page of all parts that lie in the folders beside OUT. */
static inline bool report_write_page(const char *out, const char *page) {
    char *try = llm_format("%s.tmp", page), *old = llm_exists(page) ? report_text_of(page) : NULL;
    struct stat there;
    bool free_to_write = !llm_exists(page) || (old && strstr(old, report_title));       /* somebody's own page stays */
    if (!lstat(try, &there) && !S_ISREG(there.st_mode)) free_to_write = false;
    FILE *probe = free_to_write ? fopen(try, "wb") : NULL;      /* no page is no reason to fail: the model is saved */
    llm_release(old);
    llm_release(try);
    if (!probe) return false;
    fclose(probe);
    const char *slash = strrchr(out, '/');
    char *folder = slash ? llm_format("%.*s", (int)int_max(1, (int)(slash - out)), out) : llm_format(".");
    report_part part[64];
    int parts = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && parts < 64 && (e = readdir(d));)
        if (e->d_name[0] != '.') parts += report_read(folder, e->d_name, &part[parts]);
    if (d) closedir(d);
    qsort(part, (size_t)parts, sizeof *part, report_by_stage);
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) llm_die("a machine with more memory", "cannot write %s: %s", page, strerror(errno));
    report_page(f, part, parts);
    fclose(f);
    report_file(page, "", text, size);
    free(text);
    for (int i = 0; i < parts; i++) {
        llm_release(part[i].text);
        llm_release(part[i].folder);
    }
    llm_release(folder);
    return true;
}
/* Save this stage's part and write the page again; result: the stage in a sentence. Says where the page is. */
LLM_PRINTF(2, 3) static inline void report_close(report_card *r, const char *result, ...) {
    if (!r->body) return;
    char line[512];
    va_list a;
    va_start(a, result);
    vsnprintf(line, sizeof line, result, a);
    va_end(a);
    for (char *s = line; *s; s++) if (*s == '\n') *s = ' ';
    report_grid(r, false);
    fclose(r->body);
    char *path = llm_format("%s/report.part", r->out), *head = llm_format("report %d %lld\n%s\n%s\n", r->stage,
                                                                      (long long)time(NULL), r->title, line);
    struct stat there;
    if (lstat(path, &there) || S_ISREG(there.st_mode)) report_file(path, head, r->text, r->size);
    if (report_write_page(r->out, r->page)) printf("report: %s\n", r->page);
    else fprintf(stderr, "no report: cannot write %s, or it is not ours\n", r->page);
    free(r->text);
    char *all[] = {path, head, r->out, r->page, r->title};
    for (int i = 0; i < 5; i++) llm_release(all[i]);
    *r = (report_card){0};
}

#endif
