/* train_rlhf.c: stage 3 of the lecture, alignment. A reward model learns from ranked answers what people want, and a
   policy learns to give it.

       ./train_rlhf                            the tiny world: samples answers of out/sft, ranks them by its true rule
                                               (one ranking in ten upside down), trains out/reward, aligns with PPO
       ./train_rlhf --method dpo               or cdpo, ipo, kto, rrhf, rejection, grpo, best-of-n
       ./train_rlhf --all                      every method, one table
       ./train_rlhf --data prefs.jsonl         your own preferences: pairs, rankings, thumbs up and down
       ./train_rlhf --data prompts.jsonl --reward out/reward     your own prompts and a reward model ...
       ./train_rlhf --data prompts.jsonl --reward-command ./judge          ... or a program that judges

   Every method is the same loop: prompt and answer go through llm_forward as one row, a loss of chapter 9 turns
   log-probabilities into their gradients, llm_backward takes it from there. What differs is in tools/align.h, a page
   each. tools/preferences.h has the prompts and the answers to compare, tools/reward.h those who judge an answer,
   tools/rlhf.h the loop itself. */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "tools/hf.h"
#include "tools/world.h"
#include "tools/run.h"
#include "tools/forms.h"
#include "tools/eval.h"
#include "tools/rlhf.h"
#include "tools/rlhf_report.h"
#include "tools/reward.h"
#include "tools/preferences.h"
#include "tools/align.h"

/* ---- evaluation ---- */

/* Answers to the held-out prompts, one each; best-of-n: the one of n that the judge likes best, no training at all. */
static samples answer_test(trainer *t, int N) {
    samples x = sample_answers(t, &t->policy, &t->test, NULL, t->test.count, N, 4242);
    if (t->judge != JUDGE_MODEL || t->reward.ops) judge(t, &x);
    for (int g = 0; g < t->test.count && N > 1; g++) {
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
    for (int i = 0; i < x.n && !t->tiny; i++) x.a.reward[i] = x.score[i];
    return x;
}
/* How far the policy is from the SFT model, measured on its own answers: log pi - log ref, nats an answer. */
static double measure_kl(trainer *t, const samples *x, int n) {
    double *now = llm_alloc((size_t)n, sizeof *now), *ref = llm_alloc((size_t)n, sizeof *ref), kl;
    llm_model sft = {0};
    row_sums(t, &t->policy, x->s, n, false, now);
    open_policy(t, &sft, t->s->run.model, false);
    row_sums(t, &sft, x->s, n, false, ref);
    for (int i = 0; i < n; i++) now[i] -= ref[i];
    kl = eval_mean(now, n).mean;
    llm_model_free(&sft);
    llm_release(now);
    llm_release(ref);
    return kl;
}
/* x: the answers, `N` to a prompt of which the first count. sft: those of the model before, NULL: this is it. */
static line measure(trainer *t, const char *name, samples *x, const samples *sft, int N) {
    int n = t->test.count;
    x->a.count = n;
    line l = {.mean = eval_mean(x->a.reward, n).mean, .score = t->reward.ops ? eval_mean(x->score, n).mean : NAN,
              .length = eval_mean_length(&x->a), .stops = eval_flags(x->a.stopped, n).mean,
              .exact = eval_correct(&t->test, &x->a, -1).mean, .fact = eval_correct(&t->test, &x->a, TW_K_FACT).mean,
              .sums = eval_correct(&t->test, &x->a, TW_K_MATH).mean,
              .code = eval_correct(&t->test, &x->a, TW_K_CODE).mean, .win = eval_win_rate(&x->a, sft ? &sft->a : &x->a),
              .kl = !sft ? 0 : N > 1 ? llm_best_of_kl(N) : measure_kl(t, x, n)};
    snprintf(l.name, sizeof l.name, "%s", name);
    if (!t->tiny && t->judge == JUDGE_MODEL && !t->reward.ops) l.mean = l.win.mean = NAN;       /* nobody judged */
    return l;
}

/* ---- one method, from the SFT model to its line in the table ---- */

static line align(trainer *t, const char *method, const char *name, const char *out, const samples *sft, FILE *csv) {
    const stage *g = NULL;
    char *log = t->s->run.log ? llm_format("%s", t->s->run.log) : llm_format("%s/log.csv", out);
    int judge = t->judge, N = (int)t->s->best_of;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(method, methods[i].name)) g = &methods[i];
    if (!strcmp(method, "grpo") && t->s->verify) t->judge = JUDGE_GOLD;
    double began = llm_now();
    peak_memory(true);
    if (g && t->s->run.resume && run_result_exists(out)) open_policy(t, &t->policy, out, false);      /* done before */
    else if (g) {
        open_policy(t, &t->policy, t->s->run.model, true);
        learn(t, g, &t->policy, out);
        began = llm_now() - began;
        if (t->policy.lora) {
            char *adapter = llm_format("%s/adapter", out);
            llm_lora_save(&t->policy, adapter);
            llm_lora_merge(&t->policy);
            llm_release(adapter);
        }
        llm_result_save(out, &t->policy, &t->tok);
        run_end_out(out, t->s->lora_rank > 0);
    } else open_policy(t, &t->policy, t->s->run.model, false);
    double memory = peak_memory(false);
    t->judge = judge;
    samples x = answer_test(t, g ? 1 : N);
    int all = x.a.count;
    line l = measure(t, name, &x, sft, g ? 1 : N);
    l.seconds = g ? began : llm_now() - began;
    l.memory = memory;
    print_line(&l, stdout, csv);
    const eval_answers *column[] = {&sft->a, &x.a};
    report_curves(&t->report, name, log);
    report_distance(&t->report, name, log);
    if (!t->s->all && !t->s->sweep_kl) {
        eval_report(&t->report, &t->test, column, (const char *const[]){"sft", name}, 2, t->tiny);
        eval_report_samples(&t->report, &t->test, column, (const char *const[]){"sft", name}, 2, 8);
    }
    x.a.count = all;
    samples_free(&x);
    llm_release(log);
    return l;
}
enum { PRICES = 4 };
static const double price[PRICES] = {0, 0.05, 0.2, 0.5};

static int sweep(trainer *t, line *l, const samples *sft, FILE *csv) {
    for (int i = 0; i < PRICES; i++) {
        char *name = llm_format("ppo kl %g", price[i]), *out = llm_format("%s/ppo-kl-%g", t->s->run.out, price[i]);
        t->s->kl = price[i];
        l[i] = align(t, "ppo", name, out, sft, csv);
        llm_release(name);
        llm_release(out);
    }
    return PRICES;
}

/* ---- the program ---- */

/* Begin with empty folders, or go on as the flags say. method.json tells a resumed run what it is part of; what it was
   begun with is ours, preferences.jsonl too. */
static void begin_below(const settings *s, char *out) {
    if (llm_is_dir(out)) run_check_out(&s->run, out);
    if (llm_is_dir(out)) run_begin_out(&s->run, out);
    llm_release(out);
}
static void check_out(const settings *s, bool reward, bool begun) {
    const char *method = s->all ? "all" : s->sweep_kl ? "sweep-kl" : s->method, *folder[] = {s->run.out, s->reward_out};
    char *path = llm_format("%s/method.json", s->run.out), *data = llm_format("%s/preferences.jsonl", s->run.out);
    char *a = realpath(s->run.out, NULL), *b = reward ? realpath(s->reward_out, NULL) : NULL;
    if (reward && (!strcmp(s->run.out, s->reward_out) || (a && b && !strcmp(a, b))))
        llm_usage("another --reward-out", "--out and --reward-out are the same folder, %s", s->run.out);
    for (int i = 0; i < 1 + reward; i++) {
        run_guard(&s->run, folder[i], s->run.model);
        run_guard(&s->run, folder[i], s->reward);
        run_guard_list(&s->run, folder[i], s->run.data);
        run_guard_list(&s->run, folder[i], s->run.val_data);
        run_check_out(&s->run, folder[i]);
    }
    if (s->run.resume) {
        llm_json *j = begun ? llm_json_file(path) : NULL;
        if (!begun) llm_usage("start without --resume", "%s holds nothing to go on from", s->run.out);
        if (strcmp(llm_json_text(j, "method", ""), method))
            llm_usage("that method, or another --out", "%s was begun with --method %s", s->run.out,
                      llm_json_text(j, "method", "?"));
        llm_json_free(j);
    } else if (llm_exists(data) && !s->run.overwrite)
        llm_usage("--resume to continue it, --overwrite to replace it, or another --out", "%s holds a result already",
                  s->run.out);
    else if (llm_exists(data) && !begun)
        llm_usage("another --out", "%s is not of a run of ours: it will not be replaced", data);
    free(a);
    free(b);
    llm_release(path);
    llm_release(data);
}
static void open_out(const settings *s, bool reward) {
    const char *method = s->all ? "all" : s->sweep_kl ? "sweep-kl" : s->method;
    char *path = llm_format("%s/method.json", s->run.out), *data = llm_format("%s/preferences.jsonl", s->run.out);
    check_out(s, reward, llm_exists(path));
    if (!s->run.resume) {
        run_begin_out(&s->run, s->run.out);
        if (reward) run_begin_out(&s->run, s->reward_out);
        for (size_t i = 0; i < sizeof methods / sizeof *methods && s->all; i++)
            begin_below(s, llm_format("%s/%s", s->run.out, methods[i].name));
        for (int i = 0; i < PRICES && s->sweep_kl; i++)
            begin_below(s, llm_format("%s/ppo-kl-%g", s->run.out, price[i]));
        unlink(data);
        llm_writer w = llm_write_begin(path);
        llm_write_text(&w, "{\"method\": \"%s\", \"seed\": %lld}\n", method, (long long)s->run.seed);
        llm_write_done(&w);
    }
    llm_release(path);
    llm_release(data);
}
static void get_reward(trainer *t) {
    settings *s = t->s;
    if (!s->run.resume || !run_result_exists(s->reward_out)) {
        peak_memory(true);
        double began = llm_now();
        learn(t, !strcmp(s->ranking, "pairs") ? &reward_pairs : &reward_kwise, &t->reward, s->reward_out);
        llm_result_save(s->reward_out, &t->reward, &t->tok);
        run_end_out(s->reward_out, false);
        printf("  %.1f s, peak memory %.0f MB, saved %s\n", llm_now() - began, peak_memory(false), s->reward_out);
        llm_model_free(&t->reward);     /* with its gradients; what follows only asks it */
    }
    open_reward(t, s->reward_out);
}
/* Who judges, and what has to be there before the first method begins: prompts, answers to compare, a reward model. */
static void prepare(trainer *t) {
    settings *s = t->s;
    static const char on_data[] = "|dpo|cdpo|ipo|kto|rrhf|";
    char *key = llm_format("|%s|", s->method);
    bool several = s->all || s->sweep_kl, offline = s->all || (!s->sweep_kl && strstr(on_data, key)), known = false;
    llm_release(key);
    make_prompts(t);
    for (int i = 0; i < t->prompts.count; i++) known = known || checkable(&t->prompts, i);
    if (!llm_option_given("verify")) s->verify = known;
    bool gold = s->verify && !several && (!strcmp(s->method, "grpo") || llm_option_given("verify"));
    bool model = !s->reward_command && !gold && (several || !offline || s->reward), train = model && !s->reward;
    t->judge = gold ? JUDGE_GOLD : s->reward_command ? JUDGE_COMMAND : JUDGE_MODEL;
    if (model && s->reward) open_reward(t, s->reward);
    if (!t->tiny && t->judge == JUDGE_MODEL && !s->reward && !t->records.record[0].responses)
        llm_usage("--reward DIR, --reward-command PROG, --verify with a column \"answer\", or records with answers to "
                  "compare", "the data hold prompts only, and nothing says which answer is better");
    open_out(s, train);
    if (offline || train) get_preferences(t);
    if (train) get_reward(t);
}
static void run(trainer *t) {
    settings *s = t->s;
    static const char *every[] = {"best-of-n", "rejection", "random", "dpo",  "cdpo",
                                  "ipo",       "kto",       "rrhf",   "grpo", "ppo"};
    char *path = llm_format("%s/table.csv", s->run.out);
    prepare(t);
    samples sft = answer_test(t, 1);
    line l[16] = {measure(t, "sft", &sft, NULL, 1)};
    int lines = 1;
    if (!run_is_ours(path, "method,", false)) llm_die("another --out", "%s is no table of ours", path);
    FILE *csv = fopen(path, "w");
    if (!csv) llm_die("another --out", "cannot write %s: %s", path, strerror(errno));
    fprintf(csv, "method,true_reward,win,win_low,win_high,reward,kl,length,stops,exact,fact,sums,code\n");
    print_head(t, stdout);
    print_line(&l[0], stdout, csv);
    report_open(&t->report, s->run.out, s->run.report, 4, "Alignment", t->argc, t->argv);
    if (s->sweep_kl) lines += sweep(t, l + 1, &sft, csv);
    for (int i = 0; i < 10 && s->all; i++) {
        char *out = llm_format("%s/%s", s->run.out, every[i]);
        l[lines++] = align(t, every[i], every[i], out, &sft, csv);
        llm_release(out);
    }
    if (!s->all && !s->sweep_kl) l[lines++] = align(t, s->method, s->method, s->run.out, &sft, csv);
    report_methods(&t->report, l, lines, t->tiny);
    const line *last = &l[lines - 1];
    if (t->report.body)
        report_close(&t->report, "%s wins %.1f %% against the SFT model (%.1f to %.1f), KL %.2f nats", last->name,
                     100 * last->win.mean, 100 * last->win.low, 100 * last->win.high, last->kl);
    fclose(csv);
    samples_free(&sft);
    llm_release(path);
}
static void close_all(trainer *t) {
    program_stop(&t->program);
    comparisons_free(&t->data);
    eval_prompts_free(&t->prompts);
    eval_prompts_free(&t->test);
    llm_records_free(&t->held);
    llm_records_free(&t->records);
    llm_records_free(&t->source);
    if (t->policy.ops) llm_model_free(&t->policy);
    if (t->reward.ops) llm_model_free(&t->reward);
    t->op->release(t->banned_device);
    llm_release(t->banned);
    llm_release(t->order);
    llm_tokenizer_free(&t->tok);
}

/* --dry-run: which models are in memory at once, what each takes, and what the steps cost that are known beforehand.
   Sampling and judging are not in it, nor are passes over data that have not been read. */
static void print_plan(trainer *t) {
    settings *s = t->s;
    llm_config c = hf_config_load(s->run.model);
    const stage *g = NULL;
    const char *name = s->all || s->sweep_kl ? "ppo" : s->method;       /* the one that takes most */
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) if (!strcmp(name, methods[i].name)) g = &methods[i];
    bool ppo = !strcmp(name, "ppo"), samples = ppo || !strcmp(name, "grpo");
    bool given = llm_option_given("batch") || llm_option_given("grad-accum");
    int rows = given ? (int)(s->run.batch * s->run.grad_accum) : g ? g->rows : t->micro;
    double steps = !g ? 0 : s->run.steps ? (double)s->run.steps : g->steps;
    double passes = samples ? (double)s->inner_epochs : 1, answers = ppo ? (double)s->rollout : rows;
    double tokens = steps * passes * answers * c.T;
    llm_plan learns = llm_plan_make(&c, t->op, t->micro, c.T, g != NULL, s->run.recompute, s->run.moments16);
    llm_plan asked = llm_plan_make(&c, t->op, t->micro, c.T, false, false, false);
    double others = 0, critic = learns.total;
    if (g && s->lora_rank) run_plan_lora(&learns, &c, (int)s->lora_rank, s->lora_targets);
    const struct { const char *what; bool there; double bytes; } model[] = {
        {"reference policy, frozen", samples && !s->lora_rank, asked.weights + asked.work},
        {"reward model, frozen", !s->reward_command && !s->verify, asked.weights + asked.work},
        {"critic, which learns too", ppo, critic}};
    printf("method %s: rows of at most %d tokens, %d in a forward pass, %d in a step\n", name, c.T, t->micro, rows);
    llm_plan_print(&learns, &c, tokens, 0.6 * run_peak(t->op), stdout);
    for (int i = 0; i < 3; i++) {
        if (!model[i].there) continue;
        printf("  %-28s %.2f MB\n", model[i].what, model[i].bytes / 1e6);
        others += model[i].bytes;
    }
    printf("  all models                   %.2f MB\n", (learns.total + others) / 1e6);
}

int main(int argc, char **argv) {
    run_patience(argv);
    static settings s = {.method = "ppo", .reward_out = "out/reward", .ranking = "kwise", .lora_targets = "all",
                         .answers = 8, .best_of = 8, .max_new = 48, .rollout = 64, .group = 8, .inner_epochs = 2,
                         .rounds = 2, .ask = 800, .beta = 0.1, .rrhf = 100, .kl = -1, .clip = 0.2, .gamma = 1,
                         .lambda = 0.95,
                         .critic_lr = 5e-4, .reward_timeout = 10, .noise = 0.1, .val_fraction = 0.05};
    s.run = run_defaults();
    s.run.model = "out/sft";
    s.run.out = "out/rlhf";
    s.run.batch = 64;
    s.run.schedule = "linear";
    s.run.weight_decay = 0;
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        {"alignment", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"method", LLM_TEXT, &s.method, 0, 0, "how to align",
         "ppo|grpo|dpo|cdpo|ipo|kto|rrhf|rejection|random|best-of-n", NULL},
        {"all", LLM_BOOL, &s.all, 0, 0, "run every method, print one table", NULL, NULL},
        {"sweep-kl", LLM_BOOL, &s.sweep_kl, 0, 0, "PPO at four KL coefficients, 0 among them", NULL, NULL},
        {"columns", LLM_TEXT, &s.columns, 0, 0, "other names of keys: prompt=question,chosen=good", NULL, NULL},
        {"skip-bad", LLM_BOOL, &s.skip_bad, 0, 0, "leave broken records out instead of stopping", NULL, NULL},
        {"val-fraction", LLM_FLOAT, &s.val_fraction, 0.0001, 0.9, "part of the prompts held out", NULL, NULL},
        {"ask", LLM_INT, &s.ask, 1, 1e6, "held-out prompts to answer for the table", NULL, NULL},
        {"max-new", LLM_INT, &s.max_new, 1, 4096, "longest answer, tokens", NULL, NULL},
        {"answers", LLM_INT, &s.answers, 2, 64, "answers sampled to each prompt for comparison (K)", NULL, NULL},
        {"noise", LLM_FLOAT, &s.noise, 0, 0.49, "share of wrong labels: the tiny world's labeller, cDPO", NULL, NULL},
        {"lora-rank", LLM_INT, &s.lora_rank, 0, 65536, "train adapters of this rank only; 0: the whole policy", NULL,
         NULL},
        {"lora-targets", LLM_TEXT, &s.lora_targets, 0, 0, "matrices that get one: q_proj,v_proj ... or all", NULL,
         NULL},
        {"reward", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"reward", LLM_TEXT, &s.reward, 0, 0, "use this reward model instead of training one", NULL, NULL},
        {"reward-out", LLM_TEXT, &s.reward_out, 0, 0, "folder of the reward model that is trained", NULL, NULL},
        {"reward-command", LLM_TEXT, &s.reward_command, 0, 0,
         "a program that reads {\"prompt\", \"answer\"} lines and writes a number for each", NULL, NULL},
        {"reward-timeout", LLM_FLOAT, &s.reward_timeout, 0.01, 1e6, "seconds it may take for an answer", NULL, NULL},
        {"verify", LLM_BOOL, &s.verify, 0, 0, "reward 1 for a right answer, 0 for a wrong one; GRPO's way", NULL, NULL},
        {"ranking", LLM_TEXT, &s.ranking, 0, 0, "how the reward model learns", "kwise|pairs|plackett-luce", NULL},
        {"reward-lr", LLM_FLOAT, &s.reward_lr, 0, 1, "its learning rate; 0: the recipe's", NULL, NULL},
        {"reward-steps", LLM_INT, &s.reward_steps, 0, 1e9, "its steps; 0: one epoch", NULL, NULL},
        {"methods", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"beta", LLM_FLOAT, &s.beta, 1e-6, 100, "DPO, IPO, KTO: how strongly to stay with the reference", NULL, NULL},
        {"sft-weight", LLM_FLOAT, &s.sft, 0, 100, "DPO: weight of the chosen answer's own likelihood (RPO)", NULL,
         NULL},
        {"rrhf-weight", LLM_FLOAT, &s.rrhf, 0, 1e6, "RRHF: weight of imitating the best answer", NULL, NULL},
        {"kl", LLM_FLOAT, &s.kl, -1, 100, "PPO, GRPO: price of a nat of distance from the reference; -1: recipe", NULL,
         NULL},
        {"kl-target", LLM_FLOAT, &s.kl_target, 0, 1e4, "PPO: steer --kl to this many nats an answer; 0: fixed", NULL,
         NULL},
        {"clip", LLM_FLOAT, &s.clip, 0.001, 10, "PPO: the ratio stays within 1 +- this", NULL, NULL},
        {"rollout", LLM_INT, &s.rollout, 1, 65536, "PPO: answers sampled for a step", NULL, NULL},
        {"inner-epochs", LLM_INT, &s.inner_epochs, 1, 100, "PPO, GRPO: passes over a rollout", NULL, NULL},
        {"gamma", LLM_FLOAT, &s.gamma, 0, 1, "PPO: discount", NULL, NULL},
        {"lambda", LLM_FLOAT, &s.lambda, 0, 1, "PPO: of GAE", NULL, NULL},
        {"critic-lr", LLM_FLOAT, &s.critic_lr, 0, 1, "PPO: learning rate of the critic", NULL, NULL},
        {"group", LLM_INT, &s.group, 2, 1024, "GRPO: answers to each prompt", NULL, NULL},
        {"best-of", LLM_INT, &s.best_of, 2, 1024, "rejection, best-of-n: answers to each prompt (N)", NULL, NULL},
        {"rounds", LLM_INT, &s.rounds, 1, 1000, "rejection: rounds of sampling", NULL, NULL},
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "alignment: reward model, then one method", argc, argv);
    if (s.run.log && (s.all || s.sweep_kl))
        llm_usage("OUT/METHOD/log.csv, which is written anyway", "--log is one file, and there are several runs");
    if (s.run.val_data.count && !s.run.data.count)
        llm_usage("--data too", "--val-data with the tiny world's own data");
    trainer t = {.s = &s, .op = run_device(&s.run), .micro = (int)s.run.batch, .argc = argc, .argv = argv};
    if (!llm_is_dir(s.run.model) && !llm_option_given("model"))
        llm_usage("./train_sft first, or --model DIR", "there is no fine-tuned model in %s", s.run.model);
    if (s.run.dry_run) {
        print_plan(&t);
        return 0;
    }
    hf_tokenizer_load(&t.tok, s.run.model);
    hf_model_load(&t.policy, s.run.model, t.op);
    open_data(&t);
    llm_options_print(options, count, stderr);
    run(&t);
    close_all(&t);
    return 0;
}
