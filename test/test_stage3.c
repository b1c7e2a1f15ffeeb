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
    llm_loss_dpo(p.dsum, p.sum, p.ref, p.count, p.n / 2, (llm_dpo){.kind = LLM_DPO, .beta = x->s.beta}, t->per_step,
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
    run_progress_seconds = 0;
    rl_row_sums(&x.d, &x.t.policy, s, 20, false, sum, "sums");
    rl_row_sums(&x.d, &x.t.policy, s, 20, false, sum, NULL);
    x.s.max_new = 4;
    rl_make_prompts(&x.d);
    rl_samples y = rl_sample(&x.d, &x.t.policy, &x.d.prompts, NULL, PAIRS, 2, 1);
    run_progress_seconds = 10;
    dup2(old, 2);
    close(old);
    close(to);
    char *said = llm_read_file(path, NULL);
    CHECK(!strncmp(said, "sums 8/20 | eta ", 16), "said: %s", said);
    CHECK(strstr(said, "\nsums 16/20 | eta "), "said: %s", said);
    CHECK(strstr(said, "\nanswers ") && strstr(said, "/84 | eta "), "said: %s", said);
    CHECK(!strstr(said, "84/84") && !strstr(said, "20/20") && !strstr(said, "quick"), "said: %s", said);
    llm_release_all(said, path);
    rl_samples_free(&y);
    free(text);
    close_stage(&x);
}

int main(void) {
    if (!mkdtemp(folder)) llm_die("a /tmp to write to", "no temporary folder");
    make_model();
    test_plain_softmax();
    test_kto_reference();
    test_kto_others();
    test_equal_answers();
    test_ranks();
    test_wins();
    test_table_errors();
    test_progress();
    remove_tree(folder);
    return checks_done();
}
