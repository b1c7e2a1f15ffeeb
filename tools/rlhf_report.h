/* rlhf_report.h: what stage 3 says about itself. On the screen and in table.csv: a line for each method. In the report:
   the reward model's accuracy, the curves of a method, reward against distance, the table. Drawings are report.h's. */
#ifndef RLHF_REPORT_H
#define RLHF_REPORT_H

/* A line of the table: a method on the held-out prompts. */
typedef struct {
    char name[32];
    double mean, score, kl, length, stops, exact, fact, sums, code, seconds, memory;
    eval_interval win;
} line;

static void print_head(const trainer *t, FILE *out) {
    const char *by = t->tiny ? "the true rule" : "the judge";
    fprintf(out, "%d held-out prompts, one sampled answer each; win-rate against the SFT model on the same prompts by "
            "%s, 95 %% interval\n", t->test.count, by);
    fprintf(out, "%-14s %6s  %-19s  %6s  %6s  %5s  %5s  %5s  %5s  %5s  %5s  %6s  %6s\n", "",
            t->tiny ? "true R" : "judge", "win-rate", "RM", "KL", "len", "stop", "exact", "fact", "sums", "code", "sec",
            "MB");
}
static void print_number(FILE *out, int width, int digits, double x) {         /* what nobody measured is a dash */
    if (isnan(x)) fprintf(out, "  %*s", width, "-");
    else fprintf(out, "  %*.*f", width, digits, x);
}
static void print_line(const line *l, FILE *out, FILE *csv) {
    const double x[] = {l->score, l->kl,   l->length, l->stops,   l->exact,
                        l->fact,  l->sums, l->code,   l->seconds, l->memory};
    const int width[] = {6, 6, 5, 5, 5, 5, 5, 5, 6, 6}, digits[] = {3, 2, 1, 3, 3, 3, 3, 3, 1, 0};
    fprintf(out, "%-13s", l->name);
    print_number(out, 6, 3, l->mean);
    if (isnan(l->win.mean)) fprintf(out, "  %19s", "-");
    else fprintf(out, "  %5.3f [%5.3f %5.3f]", l->win.mean, l->win.low, l->win.high);
    for (int i = 0; i < 10; i++) print_number(out, width[i], digits[i], x[i]);
    fprintf(out, "\n");
    fprintf(csv, "%s,%.6g,%.6g,%.6g,%.6g", l->name, l->mean, l->win.mean, l->win.low, l->win.high);
    for (int i = 0; i < 8; i++) fprintf(csv, ",%.6g", x[i]);
    fprintf(csv, "\n");
    fflush(out);
    fflush(csv);
}

static void report_curves(report_card *r, const char *name, const char *log) {
    static const char *const chart[][2] = {{"loss", "loss"}, {"reward", "reward|true_reward"},
        {"KL, nats an answer", "kl"}, {"pair accuracy", "accuracy"}, {"implicit reward", "chosen|rejected|margin"},
        {"value loss", "value_loss"}, {"share of clipped tokens", "clipped"},
        {"groups without a signal", "silent_groups"}, {"tokens an answer", "length"}};
    for (size_t i = 0; r->body && i < sizeof chart / sizeof *chart; i++) {
        char *title = llm_format("%s: %s", name, chart[i][0]);
        report_log(r, title, log, chart[i][1], NULL, NULL, false);
        llm_release(title);
    }
}
/* Goodhart's picture: what the judge says and what the true rule says, over the distance from the SFT model. */
static void report_distance(report_card *r, const char *name, const char *log) {
    int n, m, k;
    double *kl = report_column(log, "kl", NULL, NULL, &n), *reward = report_column(log, "reward", NULL, NULL, &m);
    double *truth = report_column(log, "true_reward", NULL, NULL, &k);
    report_line points[] = {{"judge", kl, reward, n, REPORT_DOTS}, {"true rule", kl, truth, n, REPORT_DOTS}};
    bool known = false;
    for (int i = 0; truth && i < k; i++) known = known || isfinite(truth[i]);
    char *title = llm_format("%s: reward against distance", name);
    if (r->body && kl && reward && n && n == m)
        report_chart(r, title, "KL, nats an answer", points, known ? 2 : 1, false);
    void *all[] = {kl, reward, truth, title};
    for (int i = 0; i < 4; i++) llm_release(all[i]);
}
static void report_reward(trainer *t, const char *accuracy) {
    report_card r;
    char *log = llm_format("%s/log.csv", t->out);
    report_open(&r, t->out, t->s->run.report, 3, "Reward model", t->argc, t->argv);
    report_curves(&r, "reward model", log);
    report_lines(&r, "accuracy on held-out pairs", accuracy);
    if (r.body) report_close(&r, "%.*s", (int)strcspn(accuracy, "("), accuracy);
    llm_release(log);
}
static void report_methods(report_card *r, const line *l, int n, bool tiny) {
    enum { COLUMNS = 9, MOST = 16 };
    const char *head[COLUMNS] = {"", "win-rate", tiny ? "true reward" : "judge", "reward model", "KL", "tokens",
                                 "stops", "exact", "facts"};
    const char *name[MOST], *model[] = {"against the SFT model"};
    char *cell[MOST * COLUMNS];
    double x[MOST * 3];
    n = int_min(n, MOST);
    for (int i = 0; i < n; i++) {
        const double number[] = {l[i].mean, l[i].score, l[i].kl, l[i].length, l[i].stops, l[i].exact, l[i].fact};
        name[i] = l[i].name;
        memcpy(x + 3 * i, (double[]){l[i].win.mean, l[i].win.low, l[i].win.high}, 3 * sizeof *x);
        cell[i * COLUMNS] = llm_format("%s", l[i].name);
        cell[i * COLUMNS + 1] = llm_format("%.3f\n%.3f to %.3f", l[i].win.mean, l[i].win.low, l[i].win.high);
        for (int c = 0; c < 7; c++)
            cell[i * COLUMNS + c + 2] = isnan(number[c]) ? llm_format("-") : llm_format("%.2f", number[c]);
    }
    report_intervals(r, "win-rate on held-out prompts", name, n, model, 1, x, 0, 1);
    report_table(r, "methods on the same held-out prompts", head, COLUMNS, (const char *const *)cell, n);
    for (int i = 0; i < n * COLUMNS; i++) llm_release(cell[i]);
}
#endif
