/* rl_answers.h: answers laid into rows, sampled, and judged: by a reward model, by a program of the user's, or by a
   known right answer. All end in one number for each answer. Included after rl_data.h. */
#ifndef RL_ANSWERS_H
#define RL_ANSWERS_H

#include "rl_program.h"
#include "scores.h"

/* ---- many ranks ----

   All ranks of a team have the same prompts, draw the same units and know all answers and scores. Dealt are the forward
   and backward passes: pass i is data rank i % R's, whose sums are then everybody's. In the last round a rank may have
   none: it repeats another's, with a gradient of 0, so that all make the same calls. */

static int rl_ranks(void) { return llm_team ? llm_team->datas : 1; }
static int rl_self(void) { return llm_team ? llm_team->data : 0; }
static bool rl_mine(int pass) { return pass % rl_ranks() == rl_self(); }
/* bytes that the data rank of a pass knows, to all */
static void rl_tell(void *x, size_t bytes, int pass) {
    if (llm_team) llm_team->share(x, bytes, pass % rl_ranks() * llm_team->tensors);
}
/* What each data rank has measured of its passes, added up in the order of the ranks. */
static void rl_add_up(double *x, int n) {
    if (!llm_team) return;
    double *all = llm_alloc(llm_mul((size_t)llm_team->size, (size_t)n), sizeof *all);
    memcpy(all + llm_team->rank * n, x, (size_t)n * sizeof *x);
    llm_team->gather(all, (size_t)n * sizeof *x);
    for (int i = 0; i < n; i++) x[i] = 0;
    for (int r = 0; r < llm_team->size; r += llm_team->tensors)
        for (int i = 0; i < n; i++) x[i] += all[r * n + i];
    llm_release(all);
}

/* ---- rows ---- */

/* scored: for a reward model, which reads a score at the <|reward|> token behind each row. */
static llm_batch rl_lay(const rl_data *d, const llm_sequence *s, int n, bool scored) {
    int T = 1, pad = llm_max(d->tok.pad, 0);
    for (int i = 0; i < n; i++) T = llm_max(T, s[i].count + (scored && d->tok.reward >= 0));
    llm_batch b = llm_batch_new(n, T);
    if (scored) batch_scored(&b, s, n, d->tok.reward, pad);
    else llm_batch_rows(&b, s, n, pad);
    return b;
}
/* The way there and back for n rows: fill s (and what the loss wants to know), forward gives sum and count, the loss
   fills dsum, backward adds to the gradients and frees. scored: sum is the reward model's score of a row. */
typedef struct {
    int n;
    bool scored;
    llm_sequence *s;
    double *ref, *sum, *count, *dsum;   /* [n] */
    llm_batch b;
    llm_real *x;                        /* (B,T) logp or value, then its gradient */
    int groups, *begin, *rank;          /* of pass_groups: rows of prompt g are begin[g] .. begin[g+1]-1 */
} rl_pass;
static rl_pass rl_pass_new(int n, bool scored) {
    size_t m = (size_t)n;
    return (rl_pass){.n = n, .scored = scored, .s = llm_alloc(m, sizeof(llm_sequence)),
                  .ref = llm_alloc(m, sizeof(double)), .sum = llm_alloc(m, sizeof(double)),
                  .count = llm_alloc(m, sizeof(double)), .dsum = llm_alloc(m, sizeof(double))};
}
static void rl_pass_free(rl_pass *p) {
    void *all[] = {p->s, p->ref, p->sum, p->count, p->dsum, p->x, p->begin, p->rank};
    for (int i = 0; i < 8; i++) llm_release(all[i]);
    llm_batch_free(&p->b);
}
static void rl_forward(const rl_data *d, llm_model *m, rl_pass *p) {
    p->b = rl_lay(d, p->s, p->n, p->scored);
    p->x = llm_alloc(llm_places(&p->b), sizeof *p->x);
    llm_forward(m, &p->b, p->scored ? NULL : p->x, NULL, p->scored ? p->x : NULL);
    llm_row_sums(p->sum, p->count, p->x, &p->b);
    for (int i = 0; i < p->n; i++)
        if (!isfinite(p->sum[i]))
            llm_die("another checkpoint", "the model's log-probabilities or scores are no numbers");
}
static void rl_backward(llm_model *m, rl_pass *p) {
    llm_row_spread(p->x, p->dsum, &p->b);
    llm_backward(m, &p->b, p->scored ? NULL : p->x, NULL, p->scored ? p->x : NULL);
    rl_pass_free(p);
}
/* Behind the passes of a step. any: a row for those who had none in the last round. */
static void rl_last_round(const rl_data *d, llm_model *m, int passes, const llm_sequence *any, bool scored) {
    if (passes % rl_ranks() == 0 || rl_self() < passes % rl_ranks()) return;
    rl_pass p = rl_pass_new(1, scored);
    p.s[0] = *any;
    rl_forward(d, m, &p);
    rl_backward(m, &p);                 /* dsum is 0 */
}
/* Only the sums: log-probabilities of n answers under a model, or their scores. what: these, in lines of progress. */
static void rl_row_sums(const rl_data *d, llm_model *m, const llm_sequence *s, int n, bool scored, double *sum,
                        const char *what) {
    progress_begin(what, 0, n, NULL);
    for (int first = 0; first < n; first += d->micro * rl_ranks()) {
        int i = first + d->micro * rl_self();
        if (i >= n) i = first;          /* the round's first once more */
        rl_pass p = rl_pass_new(llm_min(d->micro, n - i), scored);
        memcpy(p.s, s + i, (size_t)p.n * sizeof *s);
        rl_forward(d, m, &p);
        memcpy(sum + i, p.sum, (size_t)p.n * sizeof *sum);
        progress_at(i + p.n);
        rl_pass_free(&p);
    }
    progress_end();
    for (int i = 0, pass = 0; i < n; i += d->micro, pass++)
        rl_tell(sum + i, (size_t)llm_min(d->micro, n - i) * sizeof *sum, pass);
}

/* ---- answers of a policy ---- */

typedef struct {
    eval_prompts prompts;               /* borrowed rows: only the arrays are ours */
    int each, n;
    eval_answers a;                     /* [n] answers of one prompt are neighbours */
    int **id;
    llm_sequence *s;                    /* [n] with the closing token, if the model said it: else none would learn it */
    double *score;                      /* [n] once judged */
} rl_samples;
static void rl_samples_free(rl_samples *x) {
    for (int i = 0; i < x->n; i++) llm_release(x->id[i]);
    void *all[] = {x->prompts.prompt, x->prompts.text, x->prompts.gold, x->prompts.task, x->id, x->s, x->score};
    for (int i = 0; i < 7; i++) llm_release(all[i]);
    eval_answers_free(&x->a);
}
static void rl_samples_add(rl_data *d, rl_samples *x) {       /* ids and sequences of what was answered */
    for (int i = 0; i < x->n; i++) {
        const llm_tokens *prompt = &x->prompts.prompt[i / x->each];
        int n = prompt->count + x->a.length[i], *id = llm_alloc((size_t)n + 1, sizeof *id);
        memcpy(id, prompt->id, (size_t)prompt->count * sizeof *id);
        memcpy(id + prompt->count, x->a.id + (size_t)i * (size_t)x->a.max_new, (size_t)x->a.length[i] * sizeof *id);
        if (x->a.stopped[i]) id[n++] = d->closing;
        x->id[i] = id;
        x->s[i] = (llm_sequence){id, prompt->count, n};
    }
}
/* Let a model answer prompts which[0..count-1] (NULL: the first ones), each `each` times, with the policy's own
   probabilities: temperature 1, no filter. The objectives are about this policy, not about a sharpened one. */
static rl_samples rl_sample(rl_data *d, llm_model *m, const eval_prompts *from, const int *which, int count,
                              int each, uint64_t seed) {
    size_t n = (size_t)count * (size_t)each;
    rl_samples x = {.each = each, .n = (int)n, .id = llm_alloc(n, sizeof *x.id), .s = llm_alloc(n, sizeof *x.s),
                 .score = llm_alloc(n, sizeof *x.score)};
    eval_prompts *p = &x.prompts;
    *p = (eval_prompts){.count = count, .prompt = llm_alloc((size_t)count, sizeof *p->prompt),
                        .text = llm_alloc((size_t)count, sizeof *p->text),
                        .gold = llm_alloc((size_t)count, sizeof *p->gold),
                        .task = llm_alloc((size_t)count, sizeof *p->task)};
    for (int i = 0; i < count; i++) {
        int k = which ? which[i] : i;
        p->prompt[i] = from->prompt[k];
        p->text[i] = from->text[k];
        p->gold[i] = from->gold[k];
        p->task[i] = from->task[k];
    }
    llm_sampler plain = llm_sampler_defaults();
    llm_tokenizer one_stop = d->tok;
    one_stop.stop[0] = d->closing;
    one_stop.stops = 1;
    plain.temperature = 1;
    plain.seed = seed;
    x.a = eval_answer(m, &one_stop, p, each, &plain, (int)d->s->max_new, d->banned);
    rl_samples_add(d, &x);
    return x;
}
/* Streams of chance: the same seed, purpose and step always draw the same, so a run that goes on after a kill needs no
   generator's state. */
static uint64_t rl_stream(const rl_settings *s, int purpose, int step) {
    llm_rng r = llm_rng_seed((uint64_t)s->run.seed, (uint64_t)purpose << 32 | (uint32_t)step);
    return llm_rng_u64(&r) >> 1;
}

/* ---- a known right answer ---- */

/* The last number in a text, or NAN: "so 3 times 4 makes 12." is 12. */
static double rl_last_number(const char *text) {
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
static bool rl_right_answer(const char *text, const char *gold) {
    double want = rl_last_number(gold);
    if (!isnan(want)) return rl_last_number(text) == want;
    size_t n = strlen(text), m = strlen(gold);
    text = path_trim(text, &n);
    gold = path_trim(gold, &m);
    return n == m && !strncasecmp(text, gold, n);
}
/* A machine can tell: a sum is worked out, a program is executed. (That Mia lives in Oslo nobody can work out.) Of
   other data: whatever comes with its answer. */
static bool rl_checkable(const eval_prompts *p, int i) {
    const int kind = p->task[i].kind;
    return kind >= 0 ? kind == TW_K_MATH || kind == TW_K_CODE : p->gold[i] != NULL;
}

/* ---- the judge ---- */

enum { JUDGE_MODEL, JUDGE_COMMAND, JUDGE_GOLD };        /* reward model, the user's program, a known right answer */
typedef struct {
    int kind;
    llm_model reward;                   /* ops NULL: none */
    double mean;                        /* its scores are measured from here */
    rl_program program;
} rl_judge;

/* What a finished folder needs for its scores to be ours. */
static void rl_open_reward(rl_judge *j, const rl_data *d, const char *dir) {
    char *path = llm_format("%s/reward.json", dir);
    PROGRESS(hf_model_load(&j->reward, dir, d->op), "loading %s", dir);
    if (!j->reward.score)
        llm_die("a folder that train_rlhf wrote, or another ForSequenceClassification", "%s is no reward model", dir);
    if (j->reward.c.V != d->V)
        llm_die("one that was trained from the same base", "the reward model %s has %d tokens, the policy %d", dir,
                j->reward.c.V, d->V);
    j->mean = 0;
    if (llm_exists(path)) {
        llm_json *scale = llm_json_file(path);
        j->mean = llm_json_number(scale, "subtract", 0);
        fprintf(stderr, "reward model %s: %s\n", dir, llm_json_text(scale, "against", "?"));
        llm_json_free(scale);
    } else fprintf(stderr, "reward model %s: not normalised (no reward.json)\n", dir);
    llm_release(path);
}
static void rl_judge_by_program(rl_program *p, rl_samples *x) {
    double sum = 0, count = 0;
    bool *failed = llm_alloc((size_t)x->n, sizeof *failed);
    progress_begin("scores of the reward program", 0, x->n, NULL);
    for (int i = 0; i <= x->n && p->failures < 3; i++) {
        if (rl_program_says_more(p, i == 0 ? 0 : i < x->n ? 2 : 50) && i > 0 && !failed[i - 1]) {
            failed[i - 1] = true;
            sum -= x->score[i - 1];
            count--;
        }
        if (i == x->n || p->failures >= 3) break;
        progress_at(i);
        failed[i] = !rl_program_score(p, x->prompts.text[i / x->each], x->a.text[i], &x->score[i]);
        if (failed[i]) continue;
        sum += x->score[i];
        count++;
    }
    progress_end();
    for (int i = 0; i < x->n; i++)
        if (failed[i]) x->score[i] = count > 0 ? sum / count : 0;
    llm_release(failed);
}
static void rl_judge_answers(rl_judge *j, const rl_data *d, rl_samples *x) {
    if (j->kind == JUDGE_COMMAND) {     /* one program, rank 0's */
        if (llm_leads()) rl_judge_by_program(&j->program, x);
        rl_tell(x->score, (size_t)x->n * sizeof *x->score, 0);
        rl_tell(&j->program.failures, sizeof j->program.failures, 0);
    } else if (j->kind == JUDGE_MODEL) {
        rl_row_sums(d, &j->reward, x->s, x->n, true, x->score, "scores");
        for (int i = 0; i < x->n; i++) x->score[i] -= j->mean;
    } else
        for (int i = 0; i < x->n; i++) {
            const char *gold = x->prompts.gold[i / x->each];
            bool known = x->prompts.task[i / x->each].kind >= 0;
            x->score[i] = known ? x->a.correct[i] : gold && rl_right_answer(x->a.text[i], gold);
        }
    for (int i = 0; i < x->n; i++)
        if (!x->a.stopped[i]) x->score[i] -= 1;         /* an answer without an end */
}

/* ---- answers to compare, where the data have none ---- */

/* Sample K answers to each prompt and let the labeller rank them: in the tiny world its true rule, upside down now and
   then; elsewhere the judge. Written as JSON lines, read again like anybody's data: what is trained on can be looked
   at, and a run that goes on after a kill finds it. */
static void rl_write_preferences(rl_data *d, rl_judge *j, llm_model *policy, const char *path) {
    int K = (int)d->s->answers;
    rl_samples x = rl_sample(d, policy, &d->prompts, NULL, d->prompts.count, K, rl_stream(d->s, 6, 0));
    tw_rng labeller = tw_seed((uint64_t)d->s->run.seed, 77);
    int *rank = llm_alloc((size_t)K, sizeof *rank);
    if (!d->tiny) rl_judge_answers(j, d, &x);
    if (j->program.failures >= 3)
        llm_die("a program that answers each line with a number", "the reward program failed");
    llm_writer w = llm_write_begin(path);
    for (int g = 0; g < d->prompts.count; g++) {
        double *rule = d->tiny ? x.a.reward + g * K : x.score + g * K;
        int n = 0;
        for (int k = 0; k < K; k++) n += *x.a.text[g * K + k] != '\0';
        if (n < 2) continue;
        tw_rank(rule, K, d->tiny ? d->s->noise : 0, &labeller, rank);
        rl_write_prompt(&w, &d->records.record[g]);
        const char *between = ", \"responses\": [";
        for (int k = 0; k < K; k++) {
            char *text = x.a.text[g * K + k];
            if (!*text) continue;
            llm_write_text(&w, "%s", between);
            llm_write_json_string(&w, text, strlen(text));
            between = ", ";
        }
        between = "], \"rank\": [";
        for (int k = 0; k < K; k++) {
            if (!*x.a.text[g * K + k]) continue;
            llm_write_text(&w, "%s%d", between, rank[k]);
            between = ", ";
        }
        if (d->prompts.gold[g]) {
            llm_write_text(&w, "], \"answer\": ");
            llm_write_json_string(&w, d->prompts.gold[g], strlen(d->prompts.gold[g]));
        }
        llm_write_text(&w, d->prompts.gold[g] ? "}\n" : "]}\n");
    }
    llm_write_done(&w);
    llm_release(rank);
    rl_samples_free(&x);
}
static void rl_get_preferences(rl_data *d, rl_judge *j, llm_model *policy) {
    char *path = llm_format("%s/preferences.jsonl", d->s->run.out);
    const char *file[] = {path};
    bool compared = d->records.record[0].responses > 0;
    if (!compared) {
        if (!ranks_most(llm_exists(path))) rl_write_preferences(d, j, policy, path);
        ranks_meet();
        d->source = d->records;
        rl_read_records(d, file, 1);
        rl_make_prompts(d);
        fprintf(stderr, "%d prompts with %d answers each, ranked: %s\n", d->records.count, (int)d->s->answers, path);
    }
    d->compared = rl_read_comparisons(d, &d->records);
    rl_say_comparisons(d, &d->compared, stderr);
    llm_release(path);
}
#endif
