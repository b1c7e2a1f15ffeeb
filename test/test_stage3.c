/* test_stage3.c: what stage 3 learns from and how it counts. Losses on given answers read the plain softmax; the
   reference is asked about what will be drawn; what the context makes equal is left out; ranks are any numbers;
   intervals of win-rates; errors of table.csv. The driver itself is included. */
#define main train_rlhf_main
#include "../train_rlhf.c"
#undef main
#include "check.h"

enum { CONTEXT = 64, PAIRS = 42 };
static char folder[] = "/tmp/llm_stage3_XXXXXX";

static char *in_folder(const char *name) { return llm_format("%s/%s", folder, name); }
static void make_model(void) {
    llm_tokenizer tok;
    llm_model m;
    char *text = NULL;
    size_t size;
    llm_writer w = {.file = open_memstream(&text, &size)};
    for (int i = 0; i < 200; i++)
        llm_write_text(&w, "The cat number %d sat on mat %d and saw %d birds.\n\n", i, i * 7 % 13, i * 3 % 17);
    fclose(w.file);
    llm_tokenizer_train(&tok, text, size, 300, true);
    llm_config c = llm_preset("nano");
    c.V = tok.vocab_size;
    c.T = CONTEXT;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    llm_result_save(folder, &m, &tok);
    llm_model_free(&m);
    llm_tokenizer_free(&tok);
    free(text);
}
/* Stage 3 with a file of records, none held out from what is read. */
typedef struct { rl_settings s; rl_data d; rl_judge judge; rl_run t; char *file; const char *files[1]; } stage3;
static void open_stage(stage3 *x, const char *method, const char *lines) {
    *x = (stage3){.s = rl_defaults(), .file = in_folder("records.jsonl")};
    llm_writer w = llm_write_begin(x->file);
    llm_write_text(&w, "%s", lines);
    llm_write_done(&w);
    x->files[0] = x->file;
    x->s.run.model = folder;
    x->s.run.out = in_folder("out");
    x->s.run.data = x->s.run.val_data = (llm_list){x->files, 1};
    x->s.run.steps = 1;
    x->s.method = method;
    x->d = (rl_data){.s = &x->s, .op = llm_cpu(LLM_FP32), .micro = 8};
    x->t = (rl_run){.s = &x->s, .d = &x->d, .judge = &x->judge};
    hf_tokenizer_load(&x->d.tok, folder);
    rl_open_policy(&x->t, &x->t.policy, folder, true);
    x->d.V = x->t.policy.c.V;
    x->d.T = x->t.policy.c.T;
    rl_open_data(&x->d);
    x->t.policy.head_options.banned = x->d.banned_device;
    x->d.compared = rl_read_comparisons(&x->d, &x->d.records);
}
static void close_stage(stage3 *x) {
    llm_model_free(&x->t.policy);
    llm_release(x->t.order);
    rl_data_free(&x->d);
    llm_release_all(x->file, (char *)x->s.run.out);
}
static char *pairs(void) {
    char *text = NULL;
    size_t size;
    llm_writer w = {.file = open_memstream(&text, &size)};
    for (int i = 0; i < PAIRS; i++)
        llm_write_text(&w, "{\"prompt\": \"cat %d\", \"chosen\": \"saw %d birds\", \"rejected\": \"sat on mat %d\"}\n",
                       i, i * 5 % 11, i * 3 % 7);
    fclose(w.file);
    return text;
}

/* ---- the plain softmax, and what the reference is asked ---- */

/* What DPO's first step measures, by llm_forward alone: a policy that is its own reference. */
static double first_norm(stage3 *x, const uint8_t *banned) {
    rl_run *t = &x->t;
    llm_model m = {0};
    llm_adamw a = llm_adamw_defaults();
    rl_open_policy(t, &m, folder, true);
    m.head_options.banned = banned;
    a.clip = x->s.run.clip;
    rl_pass p = rl_pass_new(2 * t->per_step, false);
    for (int k = 0; k < p.n; k++)
        p.s[k] = x->d.compared.answer[2 * rl_drawn(t, t->units, k / 2) + k % 2].s;
    rl_forward(&x->d, &m, &p);
    memcpy(p.ref, p.sum, (size_t)p.n * sizeof *p.ref);
    llm_pair_stats stats = {0};
    llm_loss_dpo(p.dsum, p.sum, p.ref, p.count, p.n / 2, (llm_dpo){.kind = LLM_DPO, .beta = rl_beta(t)}, t->per_step,
                 &stats);
    rl_backward(&m, &p);
    double norm = llm_adamw_step(&a, &m, 1e-4);
    llm_adamw_free(&a, &m);
    llm_model_free(&m);
    return norm;
}
static double logged(const stage3 *x, int column) {
    char *path = llm_format("%s/log.csv", x->s.run.out), *text = llm_read_file(path, NULL);
    const char *cell = strchr(text, '\n') + 1;
    for (int i = 0; i < column; i++) cell = strchr(cell, ',') + 1;
    double found = strtod(cell, NULL);
    llm_release_all(path, text);
    return found;
}
static void test_plain_softmax(void) {
    static const char *const draws[] = {"ppo", "grpo"};
    stage3 x;
    char *text = pairs();
    for (int i = 0, n; i < RL_METHODS; i++) {
        for (n = 0; n < 2 && strcmp(rl_methods[i].name, draws[n]);) n++;
        CHECK(rl_draws(&rl_methods[i]) == (n < 2), "%s", rl_methods[i].name);
    }
    open_stage(&x, "dpo", text);
    rl_learn(&x.t, rl_find_method("dpo"), &x.t.policy, x.s.run.out);
    x.t.units = PAIRS;
    double norm = logged(&x, 3), plain = first_norm(&x, NULL), banned = first_norm(&x, x.d.banned_device);
    CHECK_SMALL(fabs(logged(&x, 1) - log(2)), 1e-6, "the first loss is log 2");
    CHECK_SMALL(fabs(norm / plain - 1), 1e-6, "dpo's first gradient norm %g, of the plain softmax %g", norm, plain);
    CHECK(fabs(banned / plain - 1) > 1e-4, "with tokens forbidden it would be another: %g and %g", banned, plain);
    CHECK(x.t.policy.head_options.banned == x.d.banned_device, "the trained policy is measured as all are");

    /* one step of 16 pairs: 32 of 84 answers */
    int asked = 0;
    double sum;
    llm_model m = {0};
    rl_open_policy(&x.t, &m, folder, false);
    m.head_options.banned = NULL;
    for (int i = 0; i < 2 * PAIRS; i++) {
        const rl_answer *a = &x.d.compared.answer[i];
        if (isnan(a->ref)) continue;
        asked++;
        rl_row_sums(&x.d, &m, &a->s, 1, false, &sum, NULL);
        CHECK_SMALL(fabs(sum - a->ref), 1e-4, "reference of answer %d: %g, not %g", i, a->ref, sum);
    }
    CHECK(asked == 32, "the reference was asked about %d answers", asked);
    llm_model_free(&m);
    close_stage(&x);
    free(text);
}
static void test_kto_reference(void) {
    stage3 x;
    char *text = pairs();
    open_stage(&x, "kto", text);
    x.t.method = rl_find_method("kto");
    x.t.rows = 10;
    x.t.loop.steps = 2;
    rl_kto_prepare(&x.t);
    rl_kto_refer(&x.t);
    const rl_kto *k = x.t.own;
    int asked = 0, wrong = 0;
    for (int i = 0; i < 2 * PAIRS; i++) asked += !isnan(x.d.compared.answer[i].ref);
    for (int i = 0; i < x.t.units; i++) wrong += !isnan(k->wrong_ref[i]);
    CHECK(x.t.units == 2 * PAIRS, "%d units", x.t.units);
    CHECK(asked == 20 && wrong == 20, "two steps of ten: %d answers, %d behind another prompt", asked, wrong);
    bool right = true;
    for (int step = 0; step < 2; step++)
        for (int i = 0; i < 10; i++) right = right && !isnan(k->wrong_ref[rl_drawn(&x.t, x.t.units, step * 10 + i)]);
    CHECK(right, "of those that the steps draw");
    x.t.loop.steps = 1000;
    rl_kto_refer(&x.t);
    for (int i = asked = 0; i < 2 * PAIRS; i++) asked += !isnan(x.d.compared.answer[i].ref);
    CHECK(asked == 2 * PAIRS, "many steps: %d", asked);
    rl_kto_finish(&x.t);
    llm_release(x.t.unit);
    close_stage(&x);
    free(text);
}

/* ---- KTO's other prompts ---- */

/* units with the prompts kind[i]; prompts of equal length, or not. */
static rl_run kto_units(rl_data *d, const int *kind, int n, int length) {
    rl_run t = {.d = d, .units = n, .unit = llm_alloc((size_t)n, sizeof(int))};
    d->compared.answer = llm_alloc((size_t)n, sizeof(rl_answer));
    for (int i = 0; i < n; i++) {
        int *id = llm_alloc((size_t)length, sizeof *id);
        id[length - 1] = kind[i];
        t.unit[i] = i;
        d->compared.answer[i] = (rl_answer){.id = id, .s = {id, length, length}};
    }
    return t;
}
static void kto_free(rl_run *t) {
    for (int i = 0; i < t->units; i++) llm_release(t->d->compared.answer[i].id);
    llm_release_all(t->d->compared.answer, t->unit);
}
static void test_kto_others(void) {
    llm_rng rng = llm_rng_seed(3, 0);
    for (int n = 2; n < 40; n++) {
        int kind[40], wrong = 0;
        rl_data d = {0};
        for (int i = 0; i < n; i++) kind[i] = llm_rng_below(&rng, n % 3 + 1);
        rl_run t = kto_units(&d, kind, n, 3);
        int *other = rl_kto_others(&t);
        for (int i = 0; i < n; i++) {
            int j = (i + 1) % n;
            while (j != i && kind[j] == kind[i]) j = (j + 1) % n;
            wrong += other[i] != (j == i ? (i + 1) % n : j);
        }
        CHECK(!wrong, "%d units: %d have another other", n, wrong);
        llm_release(other);
        kto_free(&t);
    }
    enum { MANY = 200000 };                             /* of one prompt, but for the last: not n^2 comparisons */
    int *kind = llm_alloc(MANY, sizeof *kind);
    rl_data d = {0};
    kind[MANY - 1] = 1;
    rl_run t = kto_units(&d, kind, MANY, 20);
    double began = llm_now();
    int *other = rl_kto_others(&t);
    CHECK(other[0] == MANY - 1 && other[MANY - 1] == 0, "others %d %d", other[0], other[MANY - 1]);
    CHECK(llm_now() - began < 10, "%d records of one prompt: %.1f s", MANY, llm_now() - began);
    llm_release_all(other, kind);
    kto_free(&t);
}

/* ---- answers to compare ---- */

#define LONG "a long long long long long long long long long long long long long long long long long long long answer, "
static void test_equal_answers(void) {
    stage3 x;
    open_stage(&x, "dpo",
        "{\"instruction\": \"q 0\", \"chosen\": \"good\", \"rejected\": \"bad\"}\n"
        "{\"instruction\": \"q 1\", \"chosen\": \"" LONG "good\", \"rejected\": \"" LONG "bad\"}\n"
        "{\"instruction\": \"q 2\", \"chosen\": \"same\", \"rejected\": \"same\"}\n"
        "{\"prompt\": \"q 3\", \"responses\": [\"a\", \"b\", \"a\"], \"rank\": [2, 1, 3]}\n"         /* a, b stay */
        "{\"prompt\": \"q 4\", \"responses\": [\"a\", \"b\", \"a\"], \"rank\": [1, 2, 1]}\n"         /* all do */
        "{\"prompt\": \"q 5\", \"responses\": [\"a\", \"b\", \"b\"], \"label\": [1, 1, 0]}\n");      /* a stays */
    const rl_comparisons *c = &x.d.compared;
    static const int left[] = {2, 1, 1, 2, 3, 1};
    for (int g = 0, n; g < 6; g++) {
        n = c->begin[g + 1] - c->begin[g];
        CHECK(n == left[g], "record %d: %d answers", g, n);
    }
    CHECK(c->cut == 2 && c->shortened == 1, "%d cut, %d shortened", c->cut, c->shortened);
    CHECK(c->answer[c->begin[1]].s.count == CONTEXT - 1, "what is cut leaves room for the score: %d", c->answer[c->begin[1]].s.count);
    CHECK(c->cut_equal == 1 && c->equal == 4, "left out %d by the context, %d", c->cut_equal, c->equal);
    CHECK(c->ranked == 5 && c->lost == 2, "%d of %d pairs or rankings lost", c->lost, c->ranked);
    CHECK(c->answer[c->begin[3]].rank == 1 && c->answer[c->begin[3] + 1].rank == 0, "the ranks of those that stay");
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    rl_say_comparisons(&x.d, c, f);
    fclose(f);
    CHECK(strstr(text, " 2 answers cut at the end: the model's context is 64\n"), "said: %s", text);
    CHECK(strstr(text, " 1 answers left out: the context of 64 makes them equal"), "said: %s", text);
    CHECK(strstr(text, " 2 pairs or rankings left out"), "said: %s", text);
    free(text);
    rl_pairs_prepare(&x.t);
    CHECK(x.t.units == 3, "%d pairs to learn from", x.t.units);
    llm_release(x.t.unit);
    close_stage(&x);
    open_stage(&x, "dpo", "{\"instruction\": \"q 1\", \"chosen\": \"" LONG "good\", \"rejected\": \"" LONG "bad\"}\n"
                          "{\"instruction\": \"q 2\", \"chosen\": \"" LONG "good\", \"rejected\": \"" LONG "bad\"}\n");
    CHECK_DIES(rl_say_comparisons(&x.d, &x.d.compared, stderr), "all 2 pairs or rankings hold equal answers, as");
    CHECK_DIES(rl_pairs_prepare(&x.t), "no two answers differ");
    close_stage(&x);
}
static void test_ranks(void) {
    stage3 x;
    open_stage(&x, "dpo",
        "{\"prompt\": \"q 0\", \"responses\": [\"good\", \"bad\"], \"rank\": [0.1, 0.9]}\n"
        "{\"prompt\": \"q 1\", \"responses\": [\"a\", \"b\", \"c\", \"d\"], \"rank\": [0.75, -0.5, 0.75, 1e300]}\n"
        "{\"prompt\": \"q 2\", \"responses\": [\"a\", \"b\", \"c\"], \"rank\": [-1e12, 4e9, -1e13]}\n");
    static const int want[] = {0, 1, 1, 0, 1, 3, 1, 2, 0};
    const rl_answer *a = x.d.compared.answer;
    for (int i = 0; i < 9; i++) CHECK(a[i].rank == want[i], "rank %d: %d", i, a[i].rank);
    CHECK(x.d.compared.ranked == 3, "%d groups differ in rank", x.d.compared.ranked);
    close_stage(&x);
    static const char *const rank[] = {"1e999", "-1e999", "null", "\"1\""};
    for (int i = 0; i < 4; i++) {
        char *line = llm_format("{\"prompt\": \"q\", \"responses\": [\"a\", \"b\"], \"rank\": [%s, 1]}\n", rank[i]);
        CHECK_DIES(open_stage(&x, "dpo", line), "records.jsonl:1: ");
        llm_release(line);
    }
}

/* ---- sampling and judging ---- */

static void test_draws(void) {
    rl_settings s = rl_defaults(), other = s;
    other.run.seed++;
    CHECK(rl_stream(&s, 1, 2) != rl_stream(&s, 1, 3) && rl_stream(&s, 1, 2) != rl_stream(&s, 2, 2) &&
          rl_stream(&s, 1, 2) != rl_stream(&other, 1, 2), "step, purpose and seed each draw anew");
    rl_run t = {.s = &s};
    int first[20], seen[20] = {0}, same = 0;
    for (int i = 0; i < 20; i++) seen[first[i] = rl_drawn(&t, 20, i)]++;
    for (int i = 0; i < 20; i++) same += rl_drawn(&t, 20, 20 + i) == first[i];
    for (int i = 0; i < 20; i++) CHECK(seen[i] == 1, "unit %d is drawn once an epoch", i);
    CHECK(same < 10, "the next epoch has another order: %d of 20 stayed", same);
    llm_release(t.order);
    CHECK(rl_last_number("3 - 15 is -12.") == -12 && isnan(rl_last_number("none")), "the last number");
    CHECK(rl_right_answer(" YES\n", "yes") && !rl_right_answer("yes, sir", "yes") && rl_right_answer("so 4", "4"), "right answers");
    t.d = &(rl_data){.compared = {.groups = 20}};
    CHECK(rl_reward_groups(&t) == 17, "the last 15 %% are held out: %d of 20 learned", rl_reward_groups(&t));
}
/* Eight prompts; the right answer of every second one (every: 2), or of all (1), is known. */
static char *some_known(int every) {
    char *text = NULL;
    size_t size;
    llm_writer w = {.file = open_memstream(&text, &size)};
    for (int i = 0; i < 8; i++)
        llm_write_text(&w, i % every ? "{\"prompt\": \"cat %d\"}\n" : "{\"prompt\": \"cat %d\", \"answer\": \"%d\"}\n", i, i);
    fclose(w.file);
    return text;
}
static char *prompts(void) { return some_known(1); }
static void test_judges(void) {
    stage3 x;
    char *text = prompts();
    open_stage(&x, "ppo", text);
    x.s.max_new = 6;
    rl_make_prompts(&x.d);
    rl_samples y = rl_sample(&x.d, &x.t.policy, &x.d.prompts, NULL, 8, 4, 1);
    int wrong = 0;
    for (int i = 0; i < y.n; i++) {
        const llm_sequence *s = &y.s[i];
        wrong += s->count != s->prompt + y.a.length[i] + y.a.stopped[i];
        wrong += y.a.stopped[i] && s->id[s->count - 1] != x.d.closing;
    }
    CHECK(!wrong, "a closing token where one was said, and nowhere else: %d wrong", wrong);
    const char *say[] = {"one", "bad", "four", "4"};
    for (int i = 0; i < 4; i++) {
        llm_release(y.a.text[i]);
        y.a.text[i] = llm_format("%s", say[i]);
        y.a.stopped[i] = i != 2;
    }
    int n = y.n;
    y.n = 4;                            /* the answers to the first prompt */
    llm_release(y.prompts.gold[0]);
    x.d.prompts.gold[0] = y.prompts.gold[0] = llm_format("4");
    x.judge.kind = JUDGE_GOLD;
    rl_judge_answers(&x.judge, &x.d, &y);
    CHECK(y.score[0] == 0 && y.score[2] == -1 && y.score[3] == 1, "no end costs 1: %g %g %g", y.score[0], y.score[2], y.score[3]);
    x.judge.kind = JUDGE_COMMAND;
    x.judge.program = (rl_program){.seconds = 20, .command =
        "while read -r l; do case $l in *'\"bad'*) echo none ;; *'\"one'*) echo 1 ;; *) echo 4 ;; esac; done"};
    rl_judge_answers(&x.judge, &x.d, &y);
    rl_program_stop(&x.judge.program);
    CHECK(y.score[0] == 1 && y.score[1] == 3 && y.score[2] == 3 && y.score[3] == 4, "who was not judged gets the mean of 1, 4, 4: %g",
          y.score[1]);
    x.judge.kind = JUDGE_MODEL;
    hf_model_load(&x.judge.reward, folder, x.d.op);
    llm_model_add_score(&x.judge.reward, 3);
    double plain[4];
    for (int k = 0; k < 2; k++) {
        x.judge.mean = 5 * k;
        rl_judge_answers(&x.judge, &x.d, &y);
        for (int i = 0; i < 4 && !k; i++) plain[i] = y.score[i];
    }
    for (int i = 0; i < 4; i++) CHECK(fabs(y.score[i] - plain[i] + 5) < 1e-9, "scores are measured from their mean");
    llm_model_free(&x.judge.reward);
    y.n = n;
    /* the policy has not moved: no nats between it and itself */
    double kl = rl_measure_kl(&x.t, &y, 8);
    CHECK_SMALL(fabs(kl), 1e-6, "KL of the model from itself");
    CHECK_DIES(rl_rejection_sample(&(rl_run){.s = &x.s, .d = &x.d, .judge = &x.judge, .policy = x.t.policy,
               .method = rl_find_method("random")}, in_folder("round"), 0), "none of the chosen answers has an end");
    for (int i = 0; i < y.n; i++) y.a.length[i] = i < 8 ? 3 : 100;
    x.d.test = x.d.prompts;             /* best-of-n: the chosen ones stand first, one to a prompt */
    CHECK(rl_measured(&x.t, "best-of-n", &y, NULL, 4).length == 3,
          "of 4 answers to each of 8 prompts the first 8 count");
    x.d.test = (eval_prompts){0};
    y.a.count = y.n;
    rl_samples_free(&y);
    close_stage(&x);
    free(text);
}
/* Every round of rejection sampling draws answers of its own. */
static void test_rounds(void) {
    stage3 x;
    char *text = prompts(), *path = in_folder("round"), *got[3];
    open_stage(&x, "rejection", text);
    x.s.max_new = 30;
    x.s.best_of = 32;                   /* of so many some come to an end, and those are liked best */
    x.judge.kind = JUDGE_GOLD;
    rl_make_prompts(&x.d);
    x.t.method = rl_find_method("rejection");
    for (int i = 0; i < 3; i++) {
        CHECK(rl_rejection_sample(&x.t, path, i / 2), "a round");
        got[i] = llm_read_file(path, NULL);
    }
    CHECK(!strcmp(got[0], got[1]), "a round once more is the same");
    CHECK(strcmp(got[1], got[2]), "another round, other answers");
    for (int i = 0; i < 3; i++) llm_release(got[i]);
    llm_release(path);
    close_stage(&x);
    free(text);
}

/* ---- one step of a method ---- */

static void begin_method(stage3 *x, const char *method, int rows) {
    rl_run *t = &x->t;
    t->method = rl_find_method(method);
    t->rows = rows;
    t->loop = (run_loop){.s = &x->s.run, .out = x->s.run.out, .model = &t->policy};
    t->kl = x->s.kl >= 0 ? x->s.kl : t->method->kl;
    llm_make_dirs(x->s.run.out);
    if (!rl_draws(t->method)) t->policy.head_options.banned = NULL;
    t->method->prepare(t);
    rl_schedule(t, true);
    t->loop.steps = 100;
    if (t->method->refer) t->method->refer(t);
}
static void end_method(stage3 *x) {
    if (x->t.method->finish) x->t.method->finish(&x->t);
    llm_adamw_free(&x->t.loop.adamw, &x->t.policy);
    llm_release(x->t.unit);
    x->t.unit = NULL;
    close_stage(x);
}
/* The gradient's norm of a first step of PPO or GRPO on these prompts; m: all that it measured. */
static double step_norm_on(char *text, const char *method, const rl_settings *s, double lr, double *m) {
    stage3 x;
    open_stage(&x, method, text);
    const run_settings run = x.s.run;
    x.s = *s;
    x.s.run = run;
    x.judge.kind = JUDGE_GOLD;
    rl_make_prompts(&x.d);
    begin_method(&x, method, 8);
    double kl = x.t.kl;
    llm_real *head = NULL;
    size_t C = (size_t)x.t.policy.c.C;
    if (x.t.critic.ops) head = memcpy(llm_alloc(C, sizeof *head), x.t.critic.score->data, C * sizeof *head);
    x.t.method->step(&x.t, lr, m);
    if (head) {                         /* AdamW's first step moves a weight by its rate */
        double most = 0;
        for (size_t i = 0; i < C; i++) most = fmax(most, fabs((double)x.t.critic.score->data[i] - (double)head[i]));
        double rate = x.s.critic_lr * lr / x.t.loop.schedule.lr;
        CHECK(s->inner_epochs > 1 || (most <= 1.01 * rate && most >= 0.9 * rate), "the critic's rate %g, moved by %g", rate, most);
        if (s->kl_target > 0) {
            llm_kl_control want = {kl, s->kl_target, 10000};
            llm_kl_adapt(&want, m[RL_KL], 8);
            CHECK(x.t.kl == want.beta && want.beta != kl, "the price of KL %.9g, not %.9g", x.t.kl, want.beta);
        }
    }
    llm_release(head);
    double norm = m[RUN_GNORM];
    end_method(&x);
    free(text);
    return norm;
}
static double step_norm(const char *method, const rl_settings *s, double lr, double *m) {
    return step_norm_on(prompts(), method, s, lr, m);
}
/* GRPO by a checker: prompts whose answer nobody knows gain nothing, so that they change nothing while the policy is
   the reference, and pull it back once it has moved. */
static void test_hold(void) {
    rl_settings s = rl_defaults();
    double m[RL_MEASURES], free_norm[2], held_norm[2], kl[2];
    s.max_new = 6;
    s.group = 4;
    s.kl = 1;
    for (int hold = 0; hold < 2; hold++)
        for (int far = 0; far < 2; far++) {
            s.hold = 4 * hold;
            s.inner_epochs = far ? 6 : 1;
            (hold ? held_norm : free_norm)[far] = step_norm_on(some_known(2), "grpo", &s, 0.02, m);
            kl[hold] = m[RL_KL];
        }
    CHECK(kl[0] == kl[1], "the checked answers are the same ones: KL %g, %g", kl[0], kl[1]);
    CHECK_SMALL(fabs(held_norm[0] / free_norm[0] - 1), 1e-5, "at the reference holding costs nothing");
    CHECK(fabs(held_norm[1] / free_norm[1] - 1) > 1e-3, "away from it others pull: gradient %g, %g", held_norm[1], free_norm[1]);
    s.hold = 100;
    step_norm_on(some_known(2), "grpo", &s, 0.02, m);     /* more than there are: all */
}
static void test_rollouts(void) {
    rl_settings s = rl_defaults(), other;
    double m[RL_MEASURES], norm, lr = rl_find_method("ppo")->lr;
    s.max_new = 6;
    s.rollout = 8;
    s.inner_epochs = 1;
    s.kl = 1;                           /* rewards of every token, so that lambda has something to weigh */
    norm = step_norm("ppo", &s, lr / 2, m);
    CHECK_SMALL(fabs(m[RUN_LOSS]), 1e-5, "whitened advantages: the first loss is 0");
    other = s, other.lambda = 0;
    CHECK(fabs(step_norm("ppo", &other, lr / 2, m) / norm - 1) > 1e-3, "--lambda acts");
    other = s, other.gamma = 0.5;
    CHECK(fabs(step_norm("ppo", &other, lr / 2, m) / norm - 1) > 1e-3, "--gamma acts");
    other = s, other.kl_target = 3;
    step_norm("ppo", &other, lr / 2, m);
    other = s, other.inner_epochs = 4;
    step_norm("ppo", &other, 0.05, m);
    CHECK(m[RL_CLIPPED] > 0 && m[RL_CLIPPED] <= 1, "a policy that has moved far is clipped: %g", m[RL_CLIPPED]);
    s.group = 8;
    s.max_new = 30;                     /* some come to an end */
    s.inner_epochs = 2;
    s.kl = 0;
    norm = step_norm("grpo", &s, 1e-3, m);
    CHECK(m[RL_SILENT] == 0 && norm > 0.1, "scores that differ: a gradient of %g", norm);
    s.kl = 10;
    double paid = step_norm("grpo", &s, 1e-3, m);
    CHECK(fabs(paid / norm - 1) > 1e-3, "--kl acts once the policy has moved: %g, without %g", paid, norm);
    s.group = 2;
    s.max_new = 1;                      /* nobody gets to an end, and nobody is right */
    s.inner_epochs = 1;
    norm = step_norm("grpo", &s, 1e-3, m);
    CHECK(m[RL_SILENT] == 1 && norm < 1e-6, "equal scores: %g of the groups are silent, a gradient of %g", m[RL_SILENT], norm);
    stage3 x;
    char *text = prompts();
    open_stage(&x, "grpo", text);
    x.s.group = 4;
    x.judge.kind = JUDGE_GOLD;
    rl_make_prompts(&x.d);
    begin_method(&x, "grpo", 12);
    CHECK(x.t.per_step == 3, "12 answers are 3 groups of 4: %d", x.t.per_step);
    end_method(&x);
    free(text);
}
static void test_compared(void) {
    double m[RL_MEASURES], norm[2];
    char *text = pairs();
    for (int k = 0; k < 2; k++) {       /* a share e of wrong labels: the gradient of undecided pairs is (1 - 2e) as long */
        stage3 x;
        open_stage(&x, "cdpo", text);
        x.s.noise = 0.3 * k;
        begin_method(&x, "cdpo", 16);
        x.t.method->step(&x.t, 1e-3, m);
        norm[k] = m[RUN_GNORM];
        x.t.loop.step++;
        x.t.method->step(&x.t, 1e-3, m);
        CHECK(m[RL_MARGIN] != 0 && fabs(m[RL_MARGIN] - m[RL_CHOSEN] + m[RL_REJECTED]) < 1e-9, "means of the pairs: %g = %g - %g",
              m[RL_MARGIN], m[RL_CHOSEN], m[RL_REJECTED]);
        end_method(&x);
    }
    CHECK(fabs(norm[1] / norm[0] - 0.4) < 1e-3, "--noise 0.3: a gradient of %g, without %g", norm[1], norm[0]);
    free(text);
    static const char ranked[] =
        "{\"prompt\": \"q 0\", \"responses\": [\"same\", \"alike\"], \"rank\": [1, 1]}\n"
        "{\"prompt\": \"q 1\", \"responses\": [\"good\", \"so so\", \"bad\"], \"rank\": [0, 1, 2]}\n"
        "{\"prompt\": \"q 2\", \"responses\": [\"bad words\", \"worse\", \"best\"], \"rank\": [1, 2, 0]}\n"
        "{\"prompt\": \"q 3\", \"responses\": [\"x\", \"y\"], \"rank\": [1, 0]}\n";
    stage3 x;
    open_stage(&x, "rrhf", ranked);
    x.s.rrhf = 0;
    begin_method(&x, "rrhf", 8);
    CHECK(x.t.units == 3, "three rankings say something: %d", x.t.units);
    double want = 0;
    for (int g = 1; g < 4; g++) {       /* each worse answer that is likelier, by how much */
        rl_answer *a = x.d.compared.answer + x.d.compared.begin[g];
        int K = x.d.compared.begin[g + 1] - x.d.compared.begin[g];
        double p[3];
        for (int i = 0; i < K; i++) {
            rl_row_sums(&x.d, &x.t.policy, &a[i].s, 1, false, &p[i], NULL);
            p[i] /= a[i].s.count - a[i].s.prompt;
        }
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                if (a[i].rank > a[j].rank) want += fmax(0, p[i] - p[j]) / x.t.per_step;
    }
    CHECK(x.t.per_step == 3, "all of them in a step: %d", x.t.per_step);
    x.t.method->step(&x.t, 1e-3, m);
    CHECK_SMALL(fabs(m[RUN_LOSS] - want), 1e-5, "rrhf %g, not %g", m[RUN_LOSS], want);
    end_method(&x);
    open_stage(&x, "ppo", ranked);
    x.t.rows = 8;
    rl_reward_prepare(&x.t);            /* of four the last is held out, the first says nothing */
    CHECK(x.t.units == 2 && x.t.unit[0] == 1 && x.t.unit[1] == 2, "rankings to learn from: %d", x.t.units);
    llm_model_free(&x.judge.reward);
    llm_release(x.t.unit);
    close_stage(&x);
}
static void test_adapters(void) {
    stage3 x;
    char *text = prompts();
    open_stage(&x, "ppo", text);
    x.s.lora_rank = 2;
    rl_open_policy(&x.t, &x.t.policy, folder, true);
    CHECK(x.t.policy.lora && x.t.policy.lora->rank == 2 && x.t.policy.lora->alpha == 4, "alpha is twice the rank");
    llm_batch b = llm_batch_new(1, 4);
    llm_real logp[4];
    rl_reference_logp(&x.t, &b, logp);
    CHECK(!x.t.policy.lora_off, "the adapters are on again");
    llm_batch_free(&b);
    close_stage(&x);
    free(text);
}
/* Rejection sampling learns winners as stage 2 learns demonstrations: nats per token of theirs. */
static void test_winners(void) {
    stage3 x;
    char *text = prompts();
    open_stage(&x, "rejection", text);
    x.s.rounds = 1;
    rl_make_prompts(&x.d);
    begin_method(&x, "rejection", 4);
    char *path = llm_format("%s/round-0.jsonl", x.s.run.out);
    llm_writer w = llm_write_begin(path);
    for (int i = 0; i < 4; i++) {
        rl_write_prompt(&w, &x.d.records.record[i]);
        llm_write_text(&w, ", \"completion\": \"saw %d birds\", \"label\": true}\n", i);
    }
    llm_write_done(&w);
    const char *file[] = {path};
    llm_records r;
    forms_read(&r, file, 1, NULL, false);
    rl_comparisons c = rl_read_comparisons(&x.d, &r);
    double sum = 0, tokens = 0, m[RL_MEASURES];
    for (int i = 0; i < 4; i++) {
        double one;
        rl_row_sums(&x.d, &x.t.policy, &c.answer[i].s, 1, false, &one, NULL);
        sum -= one;
        tokens += c.answer[i].s.count - c.answer[i].s.prompt;
        CHECK(c.answer[i].s.id[c.answer[i].s.count - 1] == x.d.closing, "an answer ends with its closing token");
    }
    x.t.loop.step = 4;                  /* not the first of a round: the winners are there; a whole epoch of them */
    x.t.method->step(&x.t, 1e-3, m);
    CHECK_SMALL(fabs(m[RUN_LOSS] - sum / tokens), 1e-5, "loss %g, not %g", m[RUN_LOSS], sum / tokens);
    rl_comparisons_free(&c);
    forms_free(&r);
    llm_release(path);
    end_method(&x);
    free(text);
}

/* ---- intervals, table.csv, progress ---- */

static void test_wins(void) {
    eval_interval x = eval_wins(19, 0, 20);             /* w = 20/22, l = 1/22 */
    CHECK_SMALL(fabs(x.mean - 0.975), 1e-12, "mean %g", x.mean);
    CHECK_SMALL(fabs(x.low - 0.8363736), 1e-6, "low %.7f", x.low);
    CHECK(x.high == 1, "high %g", x.high);
    x = eval_wins(1, 0, 1);
    CHECK_SMALL(fabs(x.low - 0.1332223), 1e-6, "one game: low %.7f", x.low);
    CHECK(x.high == 1, "one game: high %g", x.high);
    x = eval_wins(0, 0, 800);                           /* all ties */
    CHECK_SMALL(fabs(x.high - 0.5 - 0.98 * sqrt(2) / 802), 1e-12, "ties: high %g", x.high);
    x = eval_wins(520, 200, 800);                       /* many games: mean +- 1.96 deviations */
    double wald = 1.96 / 2 * sqrt((0.65 + 0.25 - 0.4 * 0.4) / 800);
    CHECK_SMALL(fabs((x.high - x.low) / 2 - wald), 2e-4, "half width %g, not %g", (x.high - x.low) / 2, wald);
    int wrong = 0;
    for (int n = 1; n < 40; n++)
        for (int won = 0; won <= n; won++)
            for (int lost = 0; won + lost <= n; lost++) {
                x = eval_wins(won, lost, n);
                wrong += !(0 <= x.low && x.low <= x.mean && x.mean <= x.high && x.high <= 1 && x.low < x.high);
            }
    CHECK(!wrong, "%d intervals leave [0, 1], are empty or miss their mean", wrong);
    double one = 3;
    x = eval_mean(&one, 1);
    CHECK(x.mean == 3 && isnan(x.low) && isnan(x.high), "one number has a mean, no interval");
    double reward[] = {1, 2, 3, 4}, before[] = {1, 3, 2, 2};
    eval_answers a = {.count = 4, .reward = reward}, b = {.count = 4, .reward = before};
    CHECK(eval_win_rate(&a, &b).mean == 0.625, "two won, one lost, one tie: %g", eval_win_rate(&a, &b).mean);
}
static void test_table_errors(void) {
    FILE *full = fopen("/dev/full", "w"), *null = fopen("/dev/null", "w");
    rl_line l = {.name = "dpo"};
    if (!full) printf("SKIP: no /dev/full\n");
    else CHECK_DIES(rl_print_line(&l, null, full), "cannot write table.csv: ");
    if (full) fclose(full);
    fclose(null);
}
static void test_progress(void) {
    stage3 x;
    char *text = pairs(), *path = in_folder("said");
    open_stage(&x, "dpo", text);
    llm_sequence s[20];
    double sum[20];
    for (int i = 0; i < 20; i++) s[i] = x.d.compared.answer[i].s;
    int old = dup(2), to = open(path, O_WRONLY | O_CREAT, 0600);
    dup2(to, 2);
    rl_row_sums(&x.d, &x.t.policy, s, 20, false, sum, "quick");
    progress_seconds = 0;
    rl_row_sums(&x.d, &x.t.policy, s, 20, false, sum, "sums");
    rl_row_sums(&x.d, &x.t.policy, s, 20, false, sum, NULL);
    x.s.max_new = 4;
    rl_make_prompts(&x.d);
    rl_samples y = rl_sample(&x.d, &x.t.policy, &x.d.prompts, NULL, PAIRS, 2, 1);
    progress_seconds = 10;
    dup2(old, 2);
    close(old);
    close(to);
    char *said = llm_read_file(path, NULL);
    CHECK(!strncmp(said, "sums 8/20 | eta ", 16), "said: %s", said);
    CHECK(strstr(said, "\nsums 16/20 | eta "), "said: %s", said);
    CHECK(strstr(said, "\nanswers ") && strstr(said, "/84 | ") && strstr(said, " tokens/s | eta "), "said: %s", said);
    CHECK(!strstr(said, "84/84") && !strstr(said, "20/20") && !strstr(said, "quick"), "said: %s", said);
    llm_release_all(said, path);
    rl_samples_free(&y);
    free(text);
    close_stage(&x);
}

int main(void) {
    if (!mkdtemp(folder)) llm_die("a /tmp to write to", "no temporary folder");
    llm_threads(1);                     /* tiny models: more threads would only wait for each other */
    make_model();
    test_plain_softmax();
    test_kto_reference();
    test_kto_others();
    test_equal_answers();
    test_ranks();
    test_draws();
    test_judges();
    test_rounds();
    test_rollouts();
    test_hold();
    test_compared();
    test_adapters();
    test_winners();
    test_wins();
    test_table_errors();
    test_progress();
    remove_tree(folder);
    return checks_done();
}
