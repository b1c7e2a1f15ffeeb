/* rl_data.h: what stage 3 learns from and is asked: prompts, and answers to compare. Included after forms.h and eval.h;
   then come rl_answers.h, rl_methods.h and train_rlhf.c, each using only what stands before it. */
#ifndef RL_DATA_H
#define RL_DATA_H

#include <limits.h>

typedef struct {
    run_settings run;
    const char *method, *reward, *reward_out, *reward_command, *ranking, *columns, *lora_targets;
    bool all, sweep_kl, verify, skip_bad;
    int64_t answers, best_of, max_new, rollout, group, hold, inner_epochs, rounds, ask, reward_steps, lora_rank;
    double beta, kl, kl_target, clip, gamma, lambda, critic_lr, reward_lr, reward_timeout;
    double noise, sft, rrhf, val_fraction;
} rl_settings;
static inline rl_settings rl_defaults(void) {
    rl_settings s = {.method = "ppo", .reward_out = "out/reward", .ranking = "kwise", .lora_targets = "all",
                     .answers = 8, .best_of = 8, .max_new = 48, .rollout = 64, .group = 8, .hold = 64,
                     .inner_epochs = 2, .rounds = 1, .ask = 900, .beta = -1, .rrhf = 1, .kl = -1, .clip = 0.2,
                     .gamma = 1,
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
    OPTION("beta", LLM_FLOAT, &(s).beta, -1, 100, "DPO, IPO, KTO: price of distance; -1: recipe, .1 on your data"),    \
    OPTION("sft-weight", LLM_FLOAT, &(s).sft, 0, 100, "DPO: weight of the chosen answer's own likelihood (RPO)"),      \
    OPTION("rrhf-weight", LLM_FLOAT, &(s).rrhf, 0, 1e6, "RRHF: weight of imitating the best answer; 1: the paper's"),  \
    OPTION("kl", LLM_FLOAT, &(s).kl, -1, 100, "PPO, GRPO: price of a nat of distance from the reference; -1: recipe"), \
    OPTION("kl-target", LLM_FLOAT, &(s).kl_target, 0, 1e4, "PPO: steer --kl to this many nats an answer; 0: fixed"),   \
    OPTION("clip", LLM_FLOAT, &(s).clip, 0.001, 10, "PPO: the ratio stays within 1 +- this"),                          \
    OPTION("rollout", LLM_INT, &(s).rollout, 1, 65536, "PPO: answers sampled for a step"),                             \
    OPTION("inner-epochs", LLM_INT, &(s).inner_epochs, 1, 100, "PPO, GRPO: passes over a rollout"),                    \
    OPTION("gamma", LLM_FLOAT, &(s).gamma, 0, 1, "PPO: discount"),                                                     \
    OPTION("lambda", LLM_FLOAT, &(s).lambda, 0, 1, "PPO: of GAE"),                                                     \
    OPTION("critic-lr", LLM_FLOAT, &(s).critic_lr, 0, 1, "PPO: learning rate of the critic"),                          \
    OPTION("group", LLM_INT, &(s).group, 2, 1024, "GRPO: answers to each prompt"),                                     \
    OPTION("hold", LLM_INT, &(s).hold, 0, 65536, "GRPO, checked answers: other prompts in a step, held by --kl"),      \
    OPTION("best-of", LLM_INT, &(s).best_of, 2, 1024, "rejection, best-of-n: answers to each prompt (N)"),             \
    OPTION("rounds", LLM_INT, &(s).rounds, 1, 1000, "rejection: rounds of sampling")
/* clang-format on */

/* One answer to a prompt, as ids: prompt, answer, closing token. The smaller the rank the better. */
typedef struct {
    int *id;
    llm_sequence s;
    int rank, label;                    /* label: 1 good, 0 bad, -1 nobody said (KTO) */
    double margin;                      /* of a pair's better one: a reward model is to prefer it by so much */
    bool polite;                        /* begins with "Sure!": a baseline of the reward model */
    double ref;                         /* log-probability under the reference policy, if it will be drawn */
    double rule;                        /* the tiny world's true reward: never shown to any model */
} rl_answer;
/* Answers to compare: those to prompt g are answer[begin[g]] .. answer[begin[g+1]-1]. */
typedef struct {
    int groups, *begin; rl_answer *answer;
    int shortened, cut;                 /* prompts and answers that the context was too short for */
    int equal, cut_equal, empty;        /* left out: equal to one of another rank, the same once cut; cut to nothing */
    int ranked, lost;                   /* groups of answers that differed in rank, and those that no longer do */
    int margins;                        /* pairs that have one */
} rl_comparisons;

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
/* Best and worst answer of a group; false when all are tied. */
static bool rl_extremes(const rl_comparisons *c, int g, int *best, int *worst) {
    *best = *worst = c->begin[g];
    for (int i = c->begin[g]; i < c->begin[g + 1]; i++) {
        if (c->answer[i].rank < c->answer[*best].rank) *best = i;
        if (c->answer[i].rank > c->answer[*worst].rank) *worst = i;
    }
    return c->begin[g] < c->begin[g + 1] && c->answer[*best].rank < c->answer[*worst].rank;
}

/* Answer k of a record as the model sees it: within its context, which <|reward|> is to fit into too. */
static llm_tokens rl_render_answer(const rl_data *d, const llm_record *r, int k) {
    llm_tokens x = {0};
    llm_render_record(&d->tok, r, k, d->T - 1, &x);
    while (x.count > x.prompt && !x.mask[x.count - 1]) x.count--;                       /* template behind the end */
    for (int i = x.prompt; i < x.count; i++)
        if (d->banned[x.id[i]])
            llm_die("a chat template that the tokenizer knows", "an answer holds the forbidden token %d", x.id[i]);
    return x;
}
/* Ranks in a file are any numbers, fractions too: ours says how many answers of the record are better. */
static int rl_rank(const llm_record *r, int k) {
    int better = 0;
    for (int i = 0; i < r->responses; i++) better += r->response[i].rank < r->response[k].rank;
    return better;
}
static bool rl_same_answer(const llm_sequence *a, const llm_sequence *b) {
    return a->prompt == b->prompt && a->count == b->count &&
           !memcmp(a->id + a->prompt, b->id + a->prompt, (size_t)(a->count - a->prompt) * sizeof *a->id) &&
           !memcmp(a->id, b->id, (size_t)a->prompt * sizeof *a->id);
}
/* Of two equal answers none is better, whatever their ranks say: the better-ranked one stays. Nor is one both good and
   bad: none stays. Returns how many of n answers do. */
static int rl_leave_out_equal(rl_answer *a, int n) {
    bool *out = llm_alloc((size_t)n + 1, sizeof *out);
    int left = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            bool labels = a[i].label != a[j].label, ranks = a[i].rank != a[j].rank;
            if (!(labels || ranks) || !rl_same_answer(&a[i].s, &a[j].s)) continue;
            out[i] = out[i] || labels || a[i].rank > a[j].rank;
            out[j] = out[j] || labels || a[j].rank > a[i].rank;
        }
    for (int i = 0; i < n; i++)
        if (out[i]) llm_release(a[i].id);
        else a[left++] = a[i];
    llm_release(out);
    return left;
}
/* The answers to record g, into the room behind those of the records before it. */
static void rl_read_group(const rl_data *d, const llm_records *all, rl_comparisons *c, int g) {
    const llm_record *r = &all->record[g];
    rl_answer *group = &c->answer[c->begin[g]];
    bool shortened = false, cut = false;
    int n = 0, best, worst;
    for (int k = 0; k < r->responses; k++) {
        const llm_response *x = &r->response[k];
        c->margins += x->margin != 0;
        llm_tokens ids = rl_render_answer(d, r, k);
        shortened |= ids.shortened;
        cut |= ids.cut;
        c->cut += ids.cut;
        c->empty += ids.count == ids.prompt;
        llm_release(ids.mask);
        if (ids.count == ids.prompt) llm_release(ids.id);
        else
            group[n++] = (rl_answer){.id = ids.id, .s = {ids.id, ids.prompt, ids.count}, .rank = rl_rank(r, k),
                                     .label = x->label, .margin = x->margin,
                                     .polite = x->length >= 5 && !memcmp(x->text, "Sure!", 5)};
        if (d->tiny && all == &d->records && ids.count > ids.prompt)
            group[n - 1].rule = tw_judge(&d->prompts.task[g], x->text, 1).reward;
    }
    c->begin[g + 1] = c->begin[g] + n;
    bool ranked = rl_extremes(c, g, &best, &worst);
    int left = rl_leave_out_equal(group, n);
    c->begin[g + 1] = c->begin[g] + left;
    c->shortened += shortened;
    if (cut || shortened) c->cut_equal += n - left;
    else c->equal += n - left;
    c->ranked += ranked;
    c->lost += ranked && !rl_extremes(c, g, &best, &worst);
}
/* Records with answers to compare: pairs, rankings, or single answers with a thumb up or down. */
static rl_comparisons rl_read_comparisons(const rl_data *d, const llm_records *r) {
    rl_comparisons c = {.groups = r->count, .begin = llm_alloc((size_t)r->count + 1, sizeof *c.begin)};
    size_t answers = 0;
    for (int g = 0; g < r->count; g++) answers += (size_t)r->record[g].responses;
    c.answer = llm_alloc(answers + 1, sizeof *c.answer);
    for (int g = 0; g < c.groups; g++) rl_read_group(d, r, &c, g);
    return c;
}
/* What was cut and left out; dies where nothing is left to compare. */
static void rl_say_comparisons(const rl_data *d, const rl_comparisons *c, FILE *out) {
    if (c->shortened) fprintf(out, "  %8d prompts shortened from the left to fit\n", c->shortened);
    if (c->cut) fprintf(out, "  %8d answers cut at the end: the model's context is %d\n", c->cut, d->T);
    if (c->empty) fprintf(out, "  %8d answers left out: the context of %d has no room for them\n", c->empty, d->T);
    if (c->equal) fprintf(out, "  %8d answers left out: equal to one of another rank or label\n", c->equal);
    if (c->cut_equal)
        fprintf(out, "  %8d answers left out: the context of %d makes them equal to one of another rank or label\n",
                c->cut_equal, d->T);
    if (c->lost) fprintf(out, "  %8d pairs or rankings left out: all their answers are equal now\n", c->lost);
    if (c->margins)
        fprintf(out, "  %8d pairs have a margin: a reward model learns it (--ranking pairs), nothing else asks for it\n",
                c->margins);
    if (c->ranked && c->lost == c->ranked)
        llm_die(c->cut_equal ? "a model of a longer context" : "answers that differ",
                "all %d pairs or rankings hold equal answers%s", c->ranked,
                c->cut_equal ? ", as the context cuts them" : "");
}

/* ---- the files ---- */

static void rl_read_records(rl_data *d, const char *const *path, int count) {
    PROGRESS(forms_read(&d->records, path, count, d->s->columns, d->s->skip_bad), "reading %s", path[0]);
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
    for (int i = 0; i < d->test.count && d->tiny; i++)
        if (d->test.task[i].kind < 0)
            llm_usage("one of " WORLD_FOLDER "/sft_*.jsonl, or --data too",
                      "--val-data: nobody in the tiny world can judge \"%.60s\"", d->test.text[i]);
}
static void rl_say_shortened(const rl_data *d) {
    int limit = llm_max(1, d->T - (int)d->s->max_new);
    eval_say_shortened(&d->prompts, "prompts", limit);
    eval_say_shortened(&d->test, "held-out prompts", limit);
}
static void rl_open_data(rl_data *d) {
    const rl_settings *s = d->s;
    d->tiny = s->run.data.count == 0;
    if (d->tiny) world_open(&d->world);
    if (d->tiny) rl_read_records(d, world_prompts, 1);
    else rl_read_records(d, s->run.data.item, s->run.data.count);
    if (d->tiny && !s->run.val_data.count) forms_read(&d->held, world_test, 1, NULL, false);
    else if (s->run.val_data.count)
        forms_read(&d->held, s->run.val_data.item, s->run.val_data.count, s->columns, s->skip_bad);
    else forms_split(&d->records, &d->held, s->val_fraction);
    if (s->skip_bad) forms_fit(&d->records, &d->tok);
    if (s->skip_bad && d->held.count) forms_fit(&d->held, &d->tok);
    say_records(&d->records, stderr);
    if (!d->records.record[0].raw) say_template(&d->tok, stderr);
    if (!d->records.count) llm_die("more data, or a smaller --val-fraction", "no records are left to learn from");
    rl_forbid(d);
}
static void rl_write_prompt(llm_writer *w, const llm_record *r) {
    int n = r->messages - (r->messages > 1 && !strcmp(r->message[r->messages - 1].role, "assistant"));
    for (int i = 0; i < n; i++)
        if (r->with || r->message[i].json)
            llm_die("a file of answers (responses, rank)", "%s:%d: answers to prompts with tools are not sampled",
                    r->file, r->line);
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
