/* rl_table.h: what a method has reached: its answers to the held-out prompts, a line on the screen and in table.csv.
   Included after rl_methods.h. */
#ifndef RL_TABLE_H
#define RL_TABLE_H

#include <sys/resource.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* The largest memory of the process since the last call with start true, in MB: Linux forgets older peaks on demand. */
static double rl_peak_memory(bool start) {
    double kb = 0;
#ifdef __GLIBC__
    if (start) malloc_trim(0);          /* what an earlier method has freed is not this one's */
#endif
    FILE *f = fopen(start ? "/proc/self/clear_refs" : "/proc/self/status", start ? "w" : "r");
    if (f && start) fputs("5", f);
    for (char line[128]; f && !start && fgets(line, sizeof line, f);) sscanf(line, "VmHWM: %lf", &kb);
    if (f) fclose(f);
    struct rusage u;
    if (!start && kb == 0 && !getrusage(RUSAGE_SELF, &u)) kb = (double)u.ru_maxrss;
    return kb / 1024;
}

/* Answers to the held-out prompts, one each; best-of-n: the one of n that the judge likes best, no training at all. */
static rl_samples rl_answer_test(rl_run *t, int N) {
    rl_samples x = rl_sample(t->d, &t->policy, &t->d->test, NULL, t->d->test.count, N, 4242);
    if (t->judge->kind != JUDGE_MODEL || t->judge->reward.ops) rl_judge_answers(t->judge, t->d, &x);
    for (int g = 0; g < t->d->test.count && N > 1; g++) {
        int best = g * N + llm_best_of(x.score + g * N, N);
        x.a.reward[g] = x.a.reward[best];
        x.a.correct[g] = x.a.correct[best];
        x.a.stopped[g] = x.a.stopped[best];
        x.a.length[g] = x.a.length[best];
        x.score[g] = x.score[best];
        char *text = x.a.text[g];
        x.a.text[g] = x.a.text[best];
        x.a.text[best] = text;
        int *id = x.id[g];
        x.id[g] = x.id[best];
        x.id[best] = id;
        x.s[g] = x.s[best];
    }
    /* Where no true rule is known, the judge has to do: it then marks its own homework. */
    for (int i = 0; i < x.n && !t->d->tiny; i++) x.a.reward[i] = x.score[i];
    return x;
}
/* How far the policy is from the SFT model, measured on its own answers: log pi - log ref, nats an answer. */
static double rl_measure_kl(rl_run *t, const rl_samples *x, int n) {
    double *now = llm_alloc((size_t)n, sizeof *now), *ref = llm_alloc((size_t)n, sizeof *ref), kl;
    llm_model sft = {0};
    rl_row_sums(t->d, &t->policy, x->s, n, false, now, "log-probabilities for the KL");
    rl_open_policy(t, &sft, t->s->run.model, false);
    rl_row_sums(t->d, &sft, x->s, n, false, ref, "reference log-probabilities for the KL");
    for (int i = 0; i < n; i++) now[i] -= ref[i];
    kl = eval_mean(now, n).mean;
    llm_model_free(&sft);
    llm_release(now);
    llm_release(ref);
    return kl;
}
/* A line of the table: a method on the held-out prompts. */
typedef struct {
    char name[32];
    double mean, score, kl, length, stops, exact, seconds, memory;
    double task[TW_KINDS];              /* right, by kind of task */
    eval_interval win;
} rl_line;

/* x: the answers, `N` to a prompt of which the first count. sft: those of the model before, NULL: this is it. */
static rl_line rl_measured(rl_run *t, const char *name, rl_samples *x, const rl_samples *sft, int N) {
    const eval_prompts *p = &t->d->test;
    const eval_answers *a = &x->a, *before = sft ? &sft->a : a;
    int n = p->count;
    x->a.count = n;
    rl_line l = {.mean = eval_mean(a->reward, n).mean,
                 .score = t->judge->reward.ops ? eval_mean(x->score, n).mean : NAN,
                 .length = eval_mean_length(a),
                 .stops = eval_flags(a->stopped, n).mean,
                 .exact = eval_correct(p, a, -1).mean,
                 .win = eval_win_rate(a, before),
                 .kl = !sft ? 0 : N > 1 ? llm_best_of_kl(N) : rl_measure_kl(t, x, n)};
    snprintf(l.name, sizeof l.name, "%s", name);
    for (int kind = 0; kind < TW_KINDS; kind++) l.task[kind] = eval_correct(p, a, kind).mean;
    bool judged = t->d->tiny || t->judge->kind != JUDGE_MODEL || t->judge->reward.ops;
    if (!judged) l.mean = l.win.mean = NAN;
    return l;
}

/* ---- on the screen and in table.csv ---- */

static void rl_print_head(const rl_run *t, FILE *out) {
    const char *by = t->d->tiny ? "the true rule" : "the judge";
    fprintf(out, "%d held-out prompts, one sampled answer each; win-rate against the SFT model on the same prompts by "
            "%s, 95 %% interval\n", t->d->test.count, by);
    fprintf(out, "%-14s %6s  %-19s  %6s  %6s  %5s  %5s  %5s  %5s  %5s  %5s  %6s  %6s\n", "",
            t->d->tiny ? "true R" : "judge", "win-rate", "RM", "KL", "len", "stop", "exact", "fact", "sums", "code",
            "sec", "MB");
}
/* What stands in table.csv stands on the disk. */
static void rl_table_written(FILE *csv) {
    if (fflush(csv) || ferror(csv))
        llm_die("free space on the disk; the methods that are done are saved, --resume goes on behind them",
                "cannot write table.csv: %s", strerror(errno));
}
static void rl_table_begin(FILE *csv) {
    fprintf(csv, "method,true_reward,win,win_low,win_high,reward,kl,length,stops,exact,fact,sums,code,seconds,memory");
    for (int kind = 0; kind < TW_KINDS; kind++) fprintf(csv, ",task_%s", tw_kind_name[kind]);
    fprintf(csv, "\n");
    rl_table_written(csv);
}
/* What a method gave and took, task by task, against the model before. */
static void rl_print_tasks(const rl_line *l, const rl_line *before, FILE *out) {
    fprintf(out, "%-13s", "");
    for (int kind = 0; kind < TW_KINDS; kind++)
        if (!isnan(l->task[kind]))
            fprintf(out, "  %s %.2f (%+.2f)", tw_kind_name[kind], l->task[kind], l->task[kind] - before->task[kind]);
    fprintf(out, "\n");
}
static void rl_print_number(FILE *out, int width, int digits, double x) {         /* what nobody measured is a dash */
    if (isnan(x)) fprintf(out, "  %*s", width, "-");
    else fprintf(out, "  %*.*f", width, digits, x);
}
static void rl_print_line(const rl_line *l, FILE *out, FILE *csv) {
    const double x[] = {l->score, l->kl, l->length, l->stops, l->exact, l->task[TW_K_FACT], l->task[TW_K_MATH],
                        l->task[TW_K_CODE], l->seconds, l->memory};
    const int width[] = {6, 6, 5, 5, 5, 5, 5, 5, 6, 6}, digits[] = {3, 2, 1, 3, 3, 3, 3, 3, 1, 0};
    fprintf(out, "%-13s", l->name);
    rl_print_number(out, 6, 3, l->mean);
    if (isnan(l->win.mean)) fprintf(out, "  %19s", "-");
    else fprintf(out, "  %5.3f [%5.3f %5.3f]", l->win.mean, l->win.low, l->win.high);
    for (int i = 0; i < 10; i++) rl_print_number(out, width[i], digits[i], x[i]);
    fprintf(out, "\n");
    fprintf(csv, "%s,%.6g,%.6g,%.6g,%.6g", l->name, l->mean, l->win.mean, l->win.low, l->win.high);
    for (int i = 0; i < 10; i++) fprintf(csv, ",%.6g", x[i]);
    for (int kind = 0; kind < TW_KINDS; kind++) fprintf(csv, ",%.6g", l->task[kind]);
    fprintf(csv, "\n");
    fflush(out);
    rl_table_written(csv);
}
#endif
