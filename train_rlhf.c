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
   log-probabilities into their gradients, llm_backward takes it from there. What differs is in tools/rl_methods.h, a
   page each. Before it stand tools/rl_data.h, the prompts and the answers to compare, and tools/rl_answers.h, sampling
   and judging. */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "tools/hf.h"
#include "tools/world.h"
#include "tools/say.h"
#include "tools/run.h"
#include "tools/forms.h"
#include "tools/eval.h"
#include "tools/rl_data.h"
#include "tools/rl_answers.h"
#include "tools/rl_methods.h"
#include "tools/rl_table.h"
#include "tools/rl_out.h"
#include "tools/rl_plan.h"

typedef struct {
    rl_settings *s;
    rl_data d;
    rl_judge judge;
    rl_run run;
    FILE *csv;                          /* OUT/table.csv */
    stage_card card;
    rl_line before;                     /* the SFT model */
} program;

/* ---- the reward model ---- */

static void get_reward(program *p) {
    const rl_settings *s = p->s;
    if (!s->run.resume || !run_result_exists(s->reward_out)) {
        const rl_method *ranking = !strcmp(s->ranking, "pairs") ? &rl_reward_pairs : &rl_reward_kwise;
        rl_peak_memory(true);
        double began = llm_now();
        rl_learn(&p->run, ranking, &p->judge.reward, s->reward_out);
        PROGRESS(llm_result_save(s->reward_out, &p->judge.reward, &p->d.tok), "saving %s", s->reward_out);
        run_end_out(s->reward_out, false);
        printf("  %.1f s, peak memory %.0f MB, saved %s\n", llm_now() - began, rl_peak_memory(false), s->reward_out);
        stage_card card = stage_of(&s->run, s->reward_out, 3, "Reward model");
        if (p->d.tiny)
            stage_text(&card, "%s", world_rule);
        stage_log(&card, "reward model", NULL, NAN);
        stage_note(&card, "accuracy on held-out pairs", p->run.said);
        double right = NAN;
        const char *number = strstr(p->run.said, "reward model ");
        if (number) right = atof(number + strlen("reward model "));
        stage_end(&card, "puts %.1f %% of held-out pairs in the labeller's order; a coin: 50 %%", 100 * right);
        free(p->run.said);
        llm_model_free(&p->judge.reward);       /* with its gradients; what follows only asks it */
    }
    rl_open_reward(&p->judge, &p->d, s->reward_out);
}
/* Flags that would do nothing, as far as the data tell. checked: prompts with a known right answer. */
static void check_judged(const rl_settings *s, const rl_data *d, int checked, bool offline, bool train) {
    const bool compared = d->records.record[0].responses > 0;
    llm_options_idle("reward-out|reward-lr|reward-steps|ranking", !train, "no reward model is trained");
    llm_options_idle("hold", !s->verify || checked == d->prompts.count, "every prompt is judged");
    llm_options_idle("answers", compared, "the data bring answers to compare");
    llm_options_idle("answers", !offline && !train, "none are compared");
    llm_options_idle("noise", !rl_runs(s, "cdpo") && !(d->tiny && (offline || train)),
                     "it is of cdpo and of the tiny world's labeller");
    llm_options_idle("grad-accum|schedule|lr-final|warmup|weight-decay|grad-clip|skip-sigma|recompute|keep-all|"
                     "moments16|offload|save-every|keep|tensorboard",
                     !train && !s->all && !s->sweep_kl && !strcmp(s->method, "best-of-n"),
                     "nothing is trained");
}
/* Who judges, and what has to be there before the first method begins: prompts, answers to compare, a reward model. */
static void prepare(program *p) {
    rl_settings *s = p->s;
    rl_data *d = &p->d;
    rl_judge *j = &p->judge;
    int checked = 0;
    bool offline = s->all || (!s->sweep_kl && rl_find_method(s->method)->compared);
    rl_make_prompts(d);
    rl_say_shortened(d);
    for (int i = 0; i < d->prompts.count; i++) checked += rl_checkable(&d->prompts, i);
    if (s->verify && llm_option_given("verify") && (s->reward || s->reward_command))
        llm_usage("one of them", "--verify and %s: two judges", s->reward ? "--reward" : "--reward-command");
    if (s->reward && s->reward_command) llm_usage("one of them", "--reward and --reward-command: two judges");
    if (!llm_option_given("verify")) s->verify = checked && !s->reward && !s->reward_command;
    bool gold = rl_gold_judges(s, checked > 0), model = rl_model_judges(s, gold), train = model && !s->reward;
    j->kind = gold ? JUDGE_GOLD : s->reward_command ? JUDGE_COMMAND : JUDGE_MODEL;
    j->program = (rl_program){.command = s->reward_command, .seconds = s->reward_timeout};
    if (model && s->reward) rl_open_reward(j, d, s->reward);
    if (!d->tiny && j->kind == JUDGE_MODEL && !s->reward && !d->records.record[0].responses)
        llm_usage("--reward DIR, --reward-command PROG, --verify with a column \"answer\", or records with answers to "
                  "compare", "the data hold prompts only, and nothing says which answer is better");
    check_judged(s, d, checked, offline, train);
    rl_open_out(s, train);
    if (offline || train) rl_get_preferences(d, j, &p->run.policy);
    if (train) get_reward(p);
}

/* ---- one method, from the SFT model to its line in the table ---- */

static void train(program *p, const rl_method *m, const char *out) {
    rl_run *t = &p->run;
    rl_open_policy(t, &t->policy, p->s->run.model, true);
    rl_learn(t, m, &t->policy, out);
    if (t->policy.lora) {
        char *adapter = llm_format("%s/adapter", out);
        hf_lora_save(&t->policy, adapter);
        llm_lora_merge(&t->policy);
        llm_release(adapter);
    }
}
/* What the page shows of a method: its curves; of one alone also the token picture, if it leaves one, and its answers
   beside those of the model before. */
static void show(program *p, const char *name, const char *out, const rl_samples *sft, const rl_samples *x) {
    const rl_settings *s = p->s;
    const eval_answers *column[] = {&sft->a, &x->a};
    const char *model[] = {"sft", name};
    char *tokens = llm_format("%s/tokens.jsonl", out);
    char *log = llm_format("%s/log.csv", out);
    stage_log(&p->card, name, s->run.log ? s->run.log : s->all || s->sweep_kl ? log : NULL, NAN);
    if (!s->all && !s->sweep_kl) {
        if (!strcmp(name, "ppo") && llm_exists(tokens))
            stage_file(&p->card, "tokens", "rows of PPO's last step", "ppo");
        if (rl_find_method(name)->finish == rl_pairs_finish && llm_exists(tokens))
            stage_file(&p->card, "tokens", "two pairs after the last step", "pairs");
        eval_table(&p->card, &p->d.test, column, model, 2, p->d.tiny, "sampled");
        eval_samples(&p->card, &p->d.test, column, model, 2, 8);
    }
    llm_release_all(log, tokens);
}
static rl_line align(program *p, const char *method, const char *name, const char *out, const rl_samples *sft) {
    rl_run *t = &p->run;
    const rl_method *m = rl_find_method(method);
    int judge = p->judge.kind, N = (int)p->s->best_of;
    if (!strcmp(method, "grpo") && p->s->verify) p->judge.kind = JUDGE_GOLD;
    double began = llm_now();
    rl_peak_memory(true);
    if (m->step && p->s->run.resume && run_result_exists(out))          /* done before */
        rl_open_policy(t, &t->policy, out, false);
    else if (m->step) {
        train(p, m, out);
        began = llm_now() - began;
        PROGRESS(llm_result_save(out, &t->policy, &p->d.tok), "saving %s", out);
        run_end_out(out, p->s->lora_rank > 0);
    } else rl_open_policy(t, &t->policy, p->s->run.model, false);
    double memory = rl_peak_memory(false);
    p->judge.kind = judge;
    rl_samples x = rl_answer_test(t, m->step ? 1 : N);
    int all = x.a.count;
    rl_line l = rl_measured(t, name, &x, sft, m->step ? 1 : N);
    l.seconds = m->step ? began : llm_now() - began;
    l.memory = memory;
    rl_print_line(&l, stdout, p->csv);
    if (p->d.tiny) rl_print_tasks(&l, &p->before, stdout);
    show(p, name, out, sft, &x);
    x.a.count = all;
    rl_samples_free(&x);
    return l;
}
/* The methods that the flags name, in turn; returns the last one's line. */
static rl_line align_all(program *p, const rl_samples *sft) {
    rl_settings *s = p->s;
    rl_line last = {.mean = NAN};
    const double kl = s->kl;
    for (int i = 0; i < RL_PRICES && s->sweep_kl; i++) {
        char *name = llm_format("ppo kl %g", rl_price[i]), *out = llm_format("%s/ppo-kl-%g", s->run.out, rl_price[i]);
        s->kl = rl_price[i];
        last = align(p, "ppo", name, out, sft);
        llm_release_all(name, out);
    }
    s->kl = kl;
    for (int i = 0; i < RL_METHODS && s->all; i++) {
        const char *name = rl_methods[i].name;
        char *out = llm_format("%s/%s", s->run.out, name);
        last = align(p, name, name, out, sft);
        llm_release(out);
    }
    return s->all || s->sweep_kl ? last : align(p, s->method, s->method, s->run.out, sft);
}
static void run(program *p) {
    rl_settings *s = p->s;
    char *path = llm_format("%s/table.csv", s->run.out);
    prepare(p);
    hf_say_unspelled(&p->d.tok);
    rl_samples sft = rl_answer_test(&p->run, 1);
    p->before = rl_measured(&p->run, "sft", &sft, NULL, 1);
    p->csv = fopen(llm_leads() ? path : "/dev/null", "w");
    if (!p->csv) llm_die("another --out", "cannot write %s: %s", path, strerror(errno));
    rl_table_begin(p->csv);
    rl_print_head(&p->run, stdout);
    rl_print_line(&p->before, stdout, p->csv);
    const char *what = s->all ? "every method" : s->sweep_kl ? "PPO, by price of KL" : s->method;
    char *title = llm_format("Alignment: %s", what);
    p->card = stage_of(&s->run, s->run.out, 4, title);
    p->card.told = told_by(s->run.model, &p->d.records);
    rl_line last = align_all(p, &sft);
    if (fclose(p->csv)) llm_die("free space on the disk, then --resume", "cannot write %s: %s", path, strerror(errno));
    stage_file(&p->card, "methods", "the same held-out prompts, sampled answers", p->d.tiny ? "true reward" : "judge");
    if (isnan(last.win.mean)) stage_end(&p->card, "%s: KL %.2f nats; nobody judges its answers", last.name, last.kl);
    else
        stage_end(&p->card, "%s wins %.1f %% against the SFT model by %s (%.1f to %.1f), KL %.2f nats; %d prompts, "
                  "sampled answers", last.name, 100 * last.win.mean, p->d.tiny ? "the true rule" : "the judge",
                  100 * last.win.low, 100 * last.win.high, last.kl, p->d.test.count);
    rl_samples_free(&sft);
    llm_release_all(path, title);
}

/* ---- the program ---- */

int main(int argc, char **argv) {
    run_patience(argv);
    ranks_open("train_rlhf", &argc, &argv);
    rl_settings s = rl_defaults();
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        RL_OPTIONS(s),
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "alignment: reward model, then one method", argc, argv);
    rl_check(&s);
    const llm_ops *op = run_device(&s.run);
    if (!llm_is_dir(s.run.model) && !llm_option_given("model"))
        llm_usage("./train_sft first, or --model DIR", "there is no fine-tuned model in %s", s.run.model);
    if (s.run.dry_run)
        run_plan_flags(&s.run, "method|all|sweep-kl|data|reward|reward-command|verify|lora-rank|lora-targets|rollout|"
                               "inner-epochs");
    rl_plan(&s, op);
    if (s.run.dry_run) return 0;
    program p = {.s = &s, .d = {.s = &s, .op = op, .micro = (int)s.run.batch}};
    p.run = (rl_run){.s = &s, .d = &p.d, .judge = &p.judge};
    hf_tokenizer_load(&p.d.tok, s.run.model);
    PROGRESS(hf_model_load(&p.run.policy, s.run.model, op), "loading %s", s.run.model);
    hf_fit(&p.d.tok, p.run.policy.c.V);
    p.d.V = p.run.policy.c.V;
    p.d.T = p.run.policy.c.T;
    rl_open_data(&p.d);
    p.run.policy.head_options.banned = p.d.banned_device;
    llm_options_print(options, count, stderr);
    run(&p);
    rl_program_stop(&p.judge.program);
    if (p.run.policy.ops) llm_model_free(&p.run.policy);
    if (p.judge.reward.ops) llm_model_free(&p.judge.reward);
    llm_release(p.run.order);
    rl_data_free(&p.d);
    return 0;
}
