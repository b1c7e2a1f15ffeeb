/* reward.h: who judges an answer. A reward model that learned from rankings what people prefer (lecture 1: "Reward
   Model Training"), a program of the user's, or a known right answer. All end in one number for each answer. */
#ifndef REWARD_H
#define REWARD_H

#include <poll.h>
#include <sys/wait.h>

/* ---- the reward model ----

   The SFT model with a scalar head: prompt, answer and <|reward|> go in, the number at that last token comes out. It
   learns from comparisons only: -log sigmoid(r_better - r_worse), chapter 9. */

/* All answers to a prompt go into one step (units: prompts). */
static void kwise_step(trainer *t, double lr, double *x) {
    bool race = !strcmp(t->s->ranking, "plackett-luce");
    llm_pair_stats stats = {0};
    double loss = 0;
    for (int i = 0; i < t->per_step;) {
        pass p = pass_groups(t, i, true);
        pass_forward(t, &t->reward, &p);
        for (int g = 0; g < p.groups; g++) {
            int at = p.begin[g], K = p.begin[g + 1] - at;
            loss += race ? llm_loss_plackett_luce(p.dsum + at, p.sum + at, p.rank + at, K, t->per_step)
                         : llm_loss_kwise(p.dsum + at, p.sum + at, p.rank + at, K, t->per_step, &stats);
        }
        i += p.groups;
        pass_backward(&t->reward, &p);
    }
    x[LOSS] = loss;
    x[GNORM] = llm_adamw_step(&t->adamw, &t->reward, lr);
    if (stats.pairs > 0) {
        x[ACCURACY] = stats.right / stats.pairs;
        x[MARGIN] = stats.margin / stats.pairs;
    }
}
/* Every pair by itself (units: pairs), as for data that come in pairs. */
static void pair_step(trainer *t, double lr, double *x) {
    llm_pair_stats stats = {0};
    double loss = 0;
    for (int i = 0; i < t->per_step;) {
        pass p = pass_new(2 * int_min(int_max(t->micro / 2, 1), t->per_step - i), true);
        for (int k = 0; k < p.n; k++) {
            int pair = drawn(t, t->units, t->step * t->per_step + i + k / 2);
            p.s[k] = t->data.answer[t->unit[2 * pair + k % 2]].s;
        }
        pass_forward(t, &t->reward, &p);
        loss += llm_loss_pair(p.dsum, p.sum, NULL, p.n / 2, 0, t->per_step, &stats);
        i += p.n / 2;
        pass_backward(&t->reward, &p);
    }
    x[LOSS] = loss;
    x[GNORM] = llm_adamw_step(&t->adamw, &t->reward, lr);
    x[ACCURACY] = stats.right / stats.pairs;
    x[MARGIN] = stats.margin / stats.pairs;
}
/* Groups held out from the reward model: the last 15 %. */
static int reward_groups(const trainer *t) { return int_max(1, (int)((double)t->data.groups * 0.85)); }

static void reward_prepare(trainer *t) {
    const comparisons *c = &t->data;
    bool pairs = !strcmp(t->s->ranking, "pairs");
    int groups = reward_groups(t), best, worst, answers = 0, used = 0;
    size_t room = 0;
    open_policy(t, &t->reward, t->s->run.model, false);
    llm_model_add_score(&t->reward, stream(t, 1, 0));
    llm_model_train(&t->reward);
    t->units = 0;
    for (int g = 0; g < groups; g++) {
        if (!extremes(c, g, &best, &worst)) continue;   /* all alike: nothing to learn */
        used++;
        answers += c->begin[g + 1] - c->begin[g];
        if (!pairs) {
            t->unit = llm_grow(t->unit, &room, (size_t)t->units + 1, sizeof *t->unit);
            t->unit[t->units++] = g;
        }
        for (int i = c->begin[g]; pairs && i < c->begin[g + 1]; i++)
            for (int j = c->begin[g]; j < c->begin[g + 1]; j++) {
                if (c->answer[i].rank >= c->answer[j].rank) continue;
                t->unit = llm_grow(t->unit, &room, 2 * (size_t)t->units + 2, sizeof *t->unit);
                t->unit[2 * t->units] = i;
                t->unit[2 * t->units++ + 1] = j;
            }
    }
    if (!t->units)
        llm_die("pairs (prompt, chosen, rejected) or rankings (responses, rank); or --reward DIR, --reward-command",
                "a reward model learns from answers that differ in rank, and there are none");
    t->per_step = pairs ? int_max(1, t->rows / 2) : int_max(1, t->rows * used / answers);
    t->per_step = int_min(t->per_step, t->units);
}

/* Share of the pairs of groups from .. to-1 that a score puts in the right order: the labeller's, or (rule) that of the
   tiny world, without his mistakes. kind: of one kind of task, or -1. */
static double pair_accuracy(const trainer *t, int from, int to, const double *score, int kind, bool rule) {
    const comparisons *c = &t->data;
    double right = 0, pairs = 0;
    for (int g = from; g < to; g++) {
        if (kind >= 0 && t->prompts.task[g].kind != kind) continue;
        for (int i = c->begin[g]; i < c->begin[g + 1]; i++)
            for (int j = c->begin[g]; j < c->begin[g + 1]; j++) {
                const answer *a = &c->answer[i], *b = &c->answer[j];
                if (rule ? a->rule < b->rule + 1e-9 : a->rank >= b->rank) continue;
                pairs++;
                right += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
    }
    return pairs > 0 ? right / pairs : NAN;
}
/* What a judge reaches that looks at one thing only; whether more of it is better is learned on the training part. */
static void print_baseline(const trainer *t, const char *more, const char *less, double *what, FILE *f) {
    int groups = reward_groups(t), n = t->data.begin[t->data.groups];
    bool turn = pair_accuracy(t, 0, groups, what, -1, false) < 0.5;
    for (int i = 0; i < n && turn; i++) what[i] = -what[i];
    fprintf(f, "  %-28s %.3f\n", turn ? less : more, pair_accuracy(t, groups, t->data.groups, what, -1, false));
}
static void print_accuracy(const trainer *t, double *score, FILE *f) {
    const comparisons *c = &t->data;
    int n = c->begin[c->groups], groups = reward_groups(t), polite = 0;
    double *what = llm_alloc((size_t)n, sizeof *what);
    fprintf(f, "pairs of %d held-out prompts in the right order\n", c->groups - groups);
    fprintf(f, "  %-28s %.3f   (of those it learned from %.3f)\n", "reward model",
           pair_accuracy(t, groups, c->groups, score, -1, false), pair_accuracy(t, 0, groups, score, -1, false));
    for (int i = 0; i < n; i++) what[i] = c->answer[i].rule;
    if (t->tiny)
        fprintf(f, "  %-28s %.3f   (the labeller turns %.0f %% of the rankings over)\n", "ceiling: the true rule",
                pair_accuracy(t, groups, c->groups, what, -1, false), 100 * t->s->noise);
    if (t->tiny)
        fprintf(f, "  %-28s %.3f   (by kind of task, below)\n", "reward model, true order",
                pair_accuracy(t, groups, c->groups, score, -1, true));
    for (int i = 0; i < n; i++) what[i] = c->answer[i].s.count - c->answer[i].s.prompt;
    print_baseline(t, "the longer answer wins", "the shorter answer wins", what, f);
    for (int i = 0; i < n; i++) polite += (what[i] = c->answer[i].polite) > 0;
    if (polite) print_baseline(t, "the polite answer wins", "the impolite answer wins", what, f);
    for (int k = 0; k < TW_KINDS && t->tiny; k++)
        fprintf(f, "  %s %.2f%s", tw_kind_name[k], pair_accuracy(t, groups, c->groups, score, k, true),
               k < TW_KINDS - 1 ? "" : "\n");
    llm_release(what);
}
/* The head's scale is saved with its weights, the shift (there is no bias in such a folder) in reward.json. */
static void reward_finish(trainer *t) {
    const comparisons *c = &t->data;
    int n = c->begin[c->groups];
    llm_sequence *s = llm_alloc((size_t)n, sizeof *s);
    double *score = llm_alloc((size_t)n, sizeof *score);
    for (int i = 0; i < n; i++) s[i] = c->answer[i].s;
    row_sums(t, &t->reward, s, n, true, score);
    t->reward_mean = llm_score_normalise(&t->reward, score, n);
    char *text;
    FILE *f = open_memstream(&text, &(size_t){0});
    if (!f) llm_die("more memory", "no memory for the table");
    print_accuracy(t, score, f);
    fprintf(f, "  normalised: mean 0, deviation 1 over the %d answers compared\n", n);
    fclose(f);
    printf("%s", text);
    report_reward(t, text);
    free(text);
    char *path = llm_format("%s/reward.json", t->out);
    llm_writer w = llm_write_begin(path);
    llm_write_text(&w, "{\"subtract\": %.17g, \"against\": \"mean 0, deviation 1 over the %d answers compared\"}\n",
                   t->reward_mean, n);
    llm_write_done(&w);
    llm_release(path);
    llm_release(s);
    llm_release(score);
}
/* What a finished folder needs for its scores to be ours. */
static void open_reward(trainer *t, const char *dir) {
    char *path = llm_format("%s/reward.json", dir);
    hf_model_load(&t->reward, dir, t->op);
    if (!t->reward.score)
        llm_die("a folder that train_rlhf wrote, or another ForSequenceClassification", "%s is no reward model", dir);
    if (t->reward.c.V != t->policy.c.V)
        llm_die("one that was trained from the same base", "the reward model %s has %d tokens, the policy %d", dir,
                t->reward.c.V, t->policy.c.V);
    t->reward_mean = 0;
    if (llm_exists(path)) {
        llm_json *j = llm_json_file(path);
        t->reward_mean = llm_json_number(j, "subtract", 0);
        fprintf(stderr, "reward model %s: %s\n", dir, llm_json_text(j, "against", "?"));
        llm_json_free(j);
    } else fprintf(stderr, "reward model %s: not normalised (no reward.json)\n", dir);
    llm_release(path);
}

/* ---- a reward program ----

   --reward-command PROG is started once by the shell. For each answer it reads one line {"prompt": ..., "answer": ...}
   and writes one line with a number, within --reward-timeout seconds. When it is late, dies or writes something else it
   is started again, and that answer gets the mean of the others in its batch: it then teaches nothing. After three
   failures in a row training stops with a checkpoint. */

static void program_start(reward_program *p, const char *command) {
    int in[2], out[2];
    if (pipe(in) || pipe(out)) llm_die("fewer open files", "no pipe to the reward program: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    p->pid = fork();
    if (p->pid < 0) llm_die("more memory", "cannot start the reward program: %s", strerror(errno));
    if (!p->pid) {
        setpgid(0, 0);                  /* so that what the shell starts ends with it */
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    setpgid(p->pid, p->pid);
    close(in[0]);
    close(out[1]);
    p->to = in[1];
    p->from = out[0];
    fcntl(p->to, F_SETFL, O_NONBLOCK);
    fcntl(p->to, F_SETFD, FD_CLOEXEC);
    fcntl(p->from, F_SETFD, FD_CLOEXEC);
}
static void program_stop(reward_program *p) {
    if (p->pid <= 0) return;
    close(p->to);
    close(p->from);
    kill(-p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
}
/* Write the question, read the line that answers it. Returns NULL, or what went wrong. */
static const char *program_ask(reward_program *p, const char *line, size_t size, double seconds, double *score) {
    char reply[256];
    size_t sent = 0, got = 0;
    double end = llm_now() + seconds;
    while (!got || reply[got - 1] != '\n') {
        struct pollfd f[2] = {{p->from, POLLIN, 0}, {p->to, POLLOUT, 0}};
        double left = end - llm_now();
        if (left <= 0) return "it took too long";
        if (poll(f, sent < size ? 2 : 1, (int)ceil(left * 1000)) < 0 && errno != EINTR) return strerror(errno);
        if (sent < size && (f[1].revents & (POLLOUT | POLLERR))) {
            ssize_t n = write(p->to, line + sent, size - sent);
            if (n < 0 && errno != EAGAIN && errno != EINTR) return "it ended";
            sent += n > 0 ? (size_t)n : 0;
        }
        if (!(f[0].revents & (POLLIN | POLLHUP))) continue;
        ssize_t n = read(p->from, reply + got, sizeof reply - 1 - got);
        if (n == 0) return "it ended";
        got += n > 0 ? (size_t)n : 0;
        if (got == sizeof reply - 1) return "its line is too long";
    }
    char *rest;
    reply[got] = '\0';
    *score = strtod(reply, &rest);
    bool number = rest != reply && strspn(rest, " \t\r\n") == strlen(rest) && isfinite(*score);
    return number ? NULL : "its line is no number";
}
static char *program_question(const char *prompt, const char *text, size_t *size) {
    char *line = NULL;                  /* JSON, by way of memory instead of a file */
    llm_writer w = {.file = open_memstream(&line, size)};
    if (!w.file) llm_die("more memory", "no memory for a question to the reward program");
    llm_write_text(&w, "{\"prompt\": ");
    llm_write_json_string(&w, prompt, strlen(prompt));
    llm_write_text(&w, ", \"answer\": ");
    llm_write_json_string(&w, text, strlen(text));
    llm_write_text(&w, "}\n");
    fclose(w.file);
    return line;
}
static void judge_by_program(trainer *t, samples *x) {
    reward_program *p = &t->program;
    double sum = 0, count = 0;
    bool *failed = llm_alloc((size_t)x->n, sizeof *failed);
    for (int i = 0; i < x->n && p->failures < 3; i++) {
        size_t size;
        char *line = program_question(x->prompts.text[i / x->each], x->a.text[i], &size);
        if (p->pid <= 0) program_start(p, t->s->reward_command);
        const char *wrong = program_ask(p, line, size, t->s->reward_timeout, &x->score[i]);
        free(line);
        p->failures = wrong ? p->failures + 1 : 0;
        failed[i] = wrong != NULL;
        if (!wrong) {
            sum += x->score[i];
            count++;
            continue;
        }
        fprintf(stderr, "warning: the reward program failed on an answer (%s); the answer gets the mean of its batch\n",
                wrong);
        program_stop(p);
    }
    for (int i = 0; i < x->n; i++)
        if (failed[i]) x->score[i] = count > 0 ? sum / count : 0;
    llm_release(failed);
}

/* ---- a known right answer ---- */

/* The last number in a text, or NAN: "so 3 times 4 makes 12." is 12. */
static double last_number(const char *text) {
    double found = NAN;
    for (const char *s = text; *s;) {
        char *end = NULL;
        bool starts = isdigit((unsigned char)*s) || (*s == '-' && isdigit((unsigned char)s[1]));
        if (starts) found = strtod(s, &end);
        s = starts ? end : s + 1;
    }
    return found;
}
/* A gold answer that is a number: the last number counts. Else the same words, up to case and outer space. */
static bool right_answer(const char *text, const char *gold) {
    double want = last_number(gold);
    if (!isnan(want)) return last_number(text) == want;
    size_t n = strlen(text), m = strlen(gold);
    text = llm_trim(text, &n);
    gold = llm_trim(gold, &m);
    return n == m && !strncasecmp(text, gold, n);
}
/* A machine can tell: a program is executed, a sum or a fact has its gold answer, JSON is parsed. */
static bool checkable(const eval_prompts *p, int i) { return p->task[i].kind >= 0 || p->gold[i]; }

/* ---- the judge ---- */

static void judge(trainer *t, samples *x) {
    if (t->judge == JUDGE_COMMAND) judge_by_program(t, x);
    else if (t->judge == JUDGE_MODEL) {
        row_sums(t, &t->reward, x->s, x->n, true, x->score);
        for (int i = 0; i < x->n; i++) x->score[i] -= t->reward_mean;
    } else
        for (int i = 0; i < x->n; i++) {
            const char *gold = x->prompts.gold[i / x->each];
            bool known = x->prompts.task[i / x->each].kind >= 0;
            x->score[i] = known ? x->a.correct[i] : gold && right_answer(x->a.text[i], gold);
        }
    for (int i = 0; i < x->n; i++)
        if (!x->a.stopped[i]) x->score[i] -= 1;         /* an answer without an end */
}
#endif
