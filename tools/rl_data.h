/* rl_data.h: what stage 3 learns from and is asked: prompts, and answers to compare. Included after forms.h and eval.h;
   then come rl_answers.h, rl_methods.h and train_rlhf.c, each using only what stands before it. */
#ifndef RL_DATA_H
#define RL_DATA_H

#include <limits.h>

typedef struct {
    run_settings run;
    const char *method, *reward, *reward_out, *reward_command, *ranking, *columns, *lora_targets;
    bool all, sweep_kl, verify, skip_bad;
    int64_t answers, best_of, max_new, rollout, group, inner_epochs, rounds, ask, reward_steps, lora_rank;
    double beta, kl, kl_target, clip, gamma, lambda, critic_lr, reward_lr, reward_timeout;
    double noise, sft, rrhf, val_fraction;
} rl_settings;
static inline rl_settings rl_defaults(void) {
    rl_settings s = {.method = "ppo", .reward_out = "out/reward", .ranking = "kwise", .lora_targets = "all",
                     .answers = 8, .best_of = 8, .max_new = 48, .rollout = 64, .group = 8, .inner_epochs = 2,
                     .rounds = 2, .ask = 800, .beta = 0.1, .rrhf = 100, .kl = -1, .clip = 0.2, .gamma = 1,
                     .lambda = 0.95, .critic_lr = 5e-4, .reward_timeout = 10, .noise = 0.1,
                     .val_fraction = 0.05};
    s.run = run_defaults();
    s.run.model = "out/sft";
    s.run.out = "out/rlhf";
    s.run.batch = 64;
    s.run.schedule = "linear";
    s.run.weight_decay = 0;
    return s;
}
/* clang-format off */
#define RL_OPTIONS(s)                                                                                                  \
    OPTION_HEADING("alignment"),                                                                                       \
    {"method", LLM_TEXT, &(s).method, 0, 0, "how to align", rl_method_names(), NULL},                                  \
    OPTION("all", LLM_BOOL, &(s).all, 0, 0, "run every method, print one table"),                                      \
    OPTION("sweep-kl", LLM_BOOL, &(s).sweep_kl, 0, 0, "PPO at four KL coefficients, 0 among them"),                    \
    OPTION("columns", LLM_TEXT, &(s).columns, 0, 0, "other names of keys: prompt=question,chosen=good"),               \
    OPTION("skip-bad", LLM_BOOL, &(s).skip_bad, 0, 0, "leave broken records out instead of stopping"),                 \
    OPTION("val-fraction", LLM_FLOAT, &(s).val_fraction, 0.0001, 0.9, "part of the prompts held out"),                 \
    OPTION("ask", LLM_INT, &(s).ask, 1, 1e6, "held-out prompts to answer for the table"),                              \
    OPTION("max-new", LLM_INT, &(s).max_new, 1, 4096, "longest answer, tokens"),                                       \
    OPTION("answers", LLM_INT, &(s).answers, 2, 64, "answers sampled to each prompt for comparison (K)"),              \
    OPTION("noise", LLM_FLOAT, &(s).noise, 0, 0.49, "share of wrong labels: the tiny world's labeller, cDPO"),         \
    OPTION("lora-rank", LLM_INT, &(s).lora_rank, 0, 65536, "train adapters of this rank only; 0: the whole policy"),   \
    OPTION("lora-targets", LLM_TEXT, &(s).lora_targets, 0, 0, "matrices that get one: q_proj,v_proj ... or all"),      \
    OPTION_HEADING("reward"),                                                                                          \
    OPTION("reward", LLM_TEXT, &(s).reward, 0, 0, "use this reward model instead of training one"),                    \
    OPTION("reward-out", LLM_TEXT, &(s).reward_out, 0, 0, "folder of the reward model that is trained"),               \
    OPTION("reward-command", LLM_TEXT, &(s).reward_command, 0, 0,                                                      \
           "a program that reads {\"prompt\", \"answer\"} lines and writes a number for each"),                        \
    OPTION("reward-timeout", LLM_FLOAT, &(s).reward_timeout, 0.01, 1e6, "seconds it may take for an answer"),          \
    OPTION("verify", LLM_BOOL, &(s).verify, 0, 0, "reward 1 for a right answer, 0 for a wrong one; GRPO's way"),       \
    {"ranking", LLM_TEXT, &(s).ranking, 0, 0, "how the reward model learns", "kwise|pairs|plackett-luce", NULL},       \
    OPTION("reward-lr", LLM_FLOAT, &(s).reward_lr, 0, 1, "its learning rate; 0: the recipe's"),                        \
    OPTION("reward-steps", LLM_INT, &(s).reward_steps, 0, 1e9, "its steps; 0: one epoch"),                             \
    OPTION_HEADING("methods"),                                                                                         \
    OPTION("beta", LLM_FLOAT, &(s).beta, 1e-6, 100, "DPO, IPO, KTO: how strongly to stay with the reference"),         \
    OPTION("sft-weight", LLM_FLOAT, &(s).sft, 0, 100, "DPO: weight of the chosen answer's own likelihood (RPO)"),      \
    OPTION("rrhf-weight", LLM_FLOAT, &(s).rrhf, 0, 1e6, "RRHF: weight of imitating the best answer"),                  \
    OPTION("kl", LLM_FLOAT, &(s).kl, -1, 100, "PPO, GRPO: price of a nat of distance from the reference; -1: recipe"), \
    OPTION("kl-target", LLM_FLOAT, &(s).kl_target, 0, 1e4, "PPO: steer --kl to this many nats an answer; 0: fixed"),   \
    OPTION("clip", LLM_FLOAT, &(s).clip, 0.001, 10, "PPO: the ratio stays within 1 +- this"),                          \
    OPTION("rollout", LLM_INT, &(s).rollout, 1, 65536, "PPO: answers sampled for a step"),                             \
    OPTION("inner-epochs", LLM_INT, &(s).inner_epochs, 1, 100, "PPO, GRPO: passes over a rollout"),                    \
    OPTION("gamma", LLM_FLOAT, &(s).gamma, 0, 1, "PPO: discount"),                                                     \
    OPTION("lambda", LLM_FLOAT, &(s).lambda, 0, 1, "PPO: of GAE"),                                                     \
    OPTION("critic-lr", LLM_FLOAT, &(s).critic_lr, 0, 1, "PPO: learning rate of the critic"),                          \
    OPTION("group", LLM_INT, &(s).group, 2, 1024, "GRPO: answers to each prompt"),                                     \
    OPTION("best-of", LLM_INT, &(s).best_of, 2, 1024, "rejection, best-of-n: answers to each prompt (N)"),             \
    OPTION("rounds", LLM_INT, &(s).rounds, 1, 1000, "rejection: rounds of sampling")
/* clang-format on */

/* One answer to a prompt, as ids: prompt, answer, closing token. The smaller the rank the better. */
typedef struct {
    int *id;
    llm_sequence s;
    int rank, label;                    /* label: 1 good, 0 bad, -1 nobody said (KTO) */
    bool polite;                        /* begins with "Sure!": a baseline of the reward model */
    double ref;                         /* log-probability under the reference policy, computed once */
    double rule;                        /* the tiny world's true reward: never shown to any model */
} rl_answer;
/* Answers to compare: those to prompt g are answer[begin[g]] .. answer[begin[g+1]-1]. */
typedef struct { int groups, *begin; rl_answer *answer; } rl_comparisons;

typedef struct {
    const rl_settings *s;
    const llm_ops *op;
    bool tiny;                          /* the world whose true rule we know */
    tw_world world;
    llm_tokenizer tok;
    int V, T, micro;                    /* the policy's vocabulary and context; answers in a forward pass */
    int closing;                        /* the token that ends an answer */
    uint8_t *banned, *banned_device;    /* [V] what may not be said: pad, role tokens, <|reward|> ... */
    llm_records records, source, held;  /* source: the file of prompts, once answers to them have been sampled */
    eval_prompts prompts, test;         /* to learn from; held out */
    rl_comparisons compared;
} rl_data;

static void rl_comparisons_free(rl_comparisons *c) {
    for (int i = 0; c->answer && i < c->begin[c->groups]; i++) llm_release(c->answer[i].id);
    llm_release(c->answer);
    llm_release(c->begin);
    *c = (rl_comparisons){0};
}
/* Records with answers to compare: pairs, rankings, or single answers with a thumb up or down. */
static rl_comparisons rl_read_comparisons(const rl_data *d, const llm_records *r) {
    rl_comparisons c = {.groups = r->count, .begin = llm_alloc((size_t)r->count + 1, sizeof *c.begin)};
    for (int g = 0; g < r->count; g++) c.begin[g + 1] = c.begin[g] + r->record[g].responses;
    c.answer = llm_alloc((size_t)c.begin[c.groups] + 1, sizeof *c.answer);
    for (int g = 0; g < c.groups; g++)
        for (int k = 0; k < r->record[g].responses; k++) {
            rl_answer *a = &c.answer[c.begin[g] + k];
            const llm_response *x = &r->record[g].response[k];
            llm_tokens ids = {0};
            llm_render_record(&d->tok, &r->record[g], k, d->T - 1, &ids);
            while (ids.count > ids.prompt && !ids.mask[ids.count - 1]) ids.count--;     /* template behind the end */
            for (int i = ids.prompt; i < ids.count; i++)
                if (d->banned[ids.id[i]])
                    llm_die("a chat template that the tokenizer knows", "an answer holds the forbidden token %d",
                            ids.id[i]);
            a->id = ids.id;
            a->s = (llm_sequence){ids.id, ids.prompt, ids.count};
            a->rank = (int)x->rank;
            a->label = x->label;
            a->polite = x->length >= 5 && !memcmp(x->text, "Sure!", 5);
            if (d->tiny && r == &d->records) a->rule = tw_judge(&d->prompts.task[g], x->text, 1).reward;
            llm_release(ids.mask);
        }
    return c;
}
/* Best and worst answer of a group; false when all are tied. */
static bool rl_extremes(const rl_comparisons *c, int g, int *best, int *worst) {
    *best = *worst = c->begin[g];
    for (int i = c->begin[g]; i < c->begin[g + 1]; i++) {
        if (c->answer[i].rank < c->answer[*best].rank) *best = i;
        if (c->answer[i].rank > c->answer[*worst].rank) *worst = i;
    }
    return c->begin[g] < c->begin[g + 1] && c->answer[*best].rank < c->answer[*worst].rank;
}

/* ---- the files ---- */

static void rl_read_records(rl_data *d, const char *const *path, int count) {
    forms_read(&d->records, path, count, d->s->columns, d->s->skip_bad);
}
/* Everything that special tokens are for is forbidden in answers, but for the one that ends them. */
static void rl_forbid(rl_data *d) {
    bool raw = d->records.record[0].raw;
    d->closing = raw ? d->tok.eos : eval_closing_token(&d->tok);
    for (int i = 1; i < d->records.count; i++)
        if (d->records.record[i].raw != raw)
            llm_die("files of one kind", "--data mixes prompts with and without a chat template");
    size_t V = (size_t)d->V;
    d->banned = llm_alloc(V, 1);
    for (int i = 0; i < d->V; i++) d->banned[i] = i >= d->tok.vocab_size || d->tok.special[i];
    d->banned[d->closing] = 0;
    d->banned_device = d->op->alloc(V);
    d->op->upload(d->banned_device, d->banned, V);
}
static void rl_make_prompts(rl_data *d) {
    int limit = llm_max(1, d->T - (int)d->s->max_new);
    const tw_world *world = d->tiny ? &d->world : NULL;
    eval_prompts_free(&d->prompts);
    eval_prompts_free(&d->test);
    d->prompts = eval_prompts_from(&d->records, &d->tok, world, INT_MAX, limit);
    d->test = eval_prompts_from(&d->held, &d->tok, world, (int)d->s->ask, limit);
}
static void rl_open_data(rl_data *d) {
    const rl_settings *s = d->s;
    d->tiny = s->run.data.count == 0;
    if (d->tiny) world_open(&d->world);
    if (d->tiny) rl_read_records(d, world_prompts, 1);
    else rl_read_records(d, s->run.data.item, s->run.data.count);
    if (d->tiny) forms_read(&d->held, world_test, 1, NULL, false);
    else if (s->run.val_data.count)
        forms_read(&d->held, s->run.val_data.item, s->run.val_data.count, s->columns, s->skip_bad);
    else forms_split(&d->records, &d->held, s->val_fraction);
    say_records(&d->records, stderr);
    if (!d->records.count) llm_die("more data, or a smaller --val-fraction", "no records are left to learn from");
    rl_forbid(d);
}
static void rl_write_prompt(llm_writer *w, const llm_record *r) {
    int n = r->messages - (r->messages > 1 && !strcmp(r->message[r->messages - 1].role, "assistant"));
    llm_write_text(w, "{\"prompt\": ");
    if (r->raw) llm_write_json_string(w, r->message[0].text, r->message[0].length);
    for (int i = 0; i < n && !r->raw; i++) {
        llm_write_text(w, "%s{\"role\": \"%s\", \"content\": ", i ? ", " : "[", r->message[i].role);
        llm_write_json_string(w, r->message[i].text, r->message[i].length);
        llm_write_text(w, "}%s", i < n - 1 ? "" : "]");
    }
}
static void rl_data_free(rl_data *d) {
    rl_comparisons_free(&d->compared);
    eval_prompts_free(&d->prompts);
    eval_prompts_free(&d->test);
    forms_free(&d->held);
    forms_free(&d->records);
    forms_free(&d->source);
    d->op->release(d->banned_device);
    llm_release(d->banned);
    llm_tokenizer_free(&d->tok);
}
#endif
