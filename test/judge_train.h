/* judge_train.h: the stages of the book in miniature. A tiny model learns LICENSE by heart, a byte a token, for 50
   steps with a student's function in the place of llm.h's: comparisons, rewards and preferences are made of it too. */
#ifndef JUDGE_TRAIN_H
#define JUDGE_TRAIN_H

#include "../tools/beam.h"
#include "loss_cases.h"

/* What is judged: the book with one function replaced. */
typedef struct { llm_ops ops; loss_table losses; } pupil;

enum { ROWS = 8, LENGTH = 32, STEPS = 50, LETTERS = 128 };
typedef struct {
    pupil *with;
    llm_model m;
    llm_adamw adamw;
    llm_batch b;
    llm_real logp[ROWS * LENGTH], entropy[ROWS * LENGTH], value[ROWS * LENGTH];
    llm_real dlogp[ROWS * LENGTH], dentropy[ROWS * LENGTH], dvalue[ROWS * LENGTH];
    double merit[ROWS]; /* of a row: its share of small letters; what a "judge of answers" likes here */
    int rank[ROWS];     /* 0: the best */
    llm_real first_logp[ROWS * LENGTH], first_value[ROWS * LENGTH]; /* before the first step */
} school;

static const char *text_to_learn(size_t *size) {
    static char text[4000];
    static size_t length;
    FILE *file = length ? NULL : fopen("LICENSE", "rb");
    if (file) {
        length = fread(text, 1, sizeof text, file);
        fclose(file);
    }
    if (!length) llm_die("start from the top of the repository", "no LICENSE to read from");
    *size = length;
    return text;
}
/* Batch `step` of the text. whole: every place is a target; else rows are answers, and the first half is the prompt. */
static void fill(school *s, int step, bool whole) {
    size_t size;
    const char *text = text_to_learn(&size);
    for (int i = 0; i < ROWS * LENGTH; i++) {
        const size_t row = (size_t)(step * ROWS + i / LENGTH), at = (row * LENGTH + (size_t)(i % LENGTH)) % (size - 1);
        s->b.tokens[i] = text[at] & (LETTERS - 1);
        s->b.targets[i] = text[at + 1] & (LETTERS - 1);
        s->b.positions[i] = i % LENGTH;
        s->b.start[i] = 0;
        s->b.weight[i] = whole || i % LENGTH >= LENGTH / 2;
        if (i % LENGTH == 0) s->merit[i / LENGTH] = 0;
        s->merit[i / LENGTH] += text[at + 1] >= 'a' && text[at + 1] <= 'z' ? 1.0 / LENGTH : 0;
    }
    for (int i = 0; i < ROWS; i++) {
        s->rank[i] = 0;
        for (int k = 0; k < ROWS; k++)
            s->rank[i] += s->merit[k] > s->merit[i];
    }
}
/* A stage: the loss of a batch, which also fills in the gradients; and the model that it wants. */
typedef struct {
    const char *name;
    double (*step)(school *s);
    bool gpt, score, lora;              /* the model: GPT-2's parts or Llama's; a scalar head; adapters */
    bool answers;                       /* rows are answers, always the same; the policy at first is the reference */
    bool speak;                         /* what counts is what it says, not its loss */
} stage;

static void enrol(school *s, pupil *with, const stage *g) {
    llm_config c = llm_preset(g->gpt ? "gpt-tiny" : "nano");
    c.V = LETTERS, c.T = LENGTH + 16, c.L = 2, c.C = 32, c.H = 4, c.KV = g->gpt ? 4 : 2, c.D = 8, c.F = 64;
    c.score = g->score;
    memset(s, 0, sizeof *s);
    s->with = with;
    llm_model_init(&s->m, &c, &with->ops, 1);
    if (g->lora) llm_lora_attach(&s->m, 4, 8, "all", NULL, 1);
    llm_model_train(&s->m);
    s->adamw = llm_adamw_defaults();
    s->b = llm_batch_new(ROWS, LENGTH);
}
/* The log-probability of the best of three beams behind the first letters of the text: cache and logits at work. */
static double say(school *s) {
    enum { PROMPT = 8, NEW = 16, BEAMS = 3 };
    int room[BEAMS][NEW + 1], *out[BEAMS] = {room[0], room[1], room[2]}, length[BEAMS];
    double score[BEAMS] = {0};
    llm_beam_search(&s->m, s->b.tokens, PROMPT, (llm_beam_options){.beams = BEAMS, .max_new = NEW}, out, length, score);
    return score[0];
}
/* result: the loss of batch 0 before the training and after it (speak: what `say` returns). */
static void study(pupil *with, const stage *g, double result[2]) {
    static school s;
    enrol(&s, with, g);
    for (int i = 0; i <= STEPS; i++) {
        fill(&s, g->answers || i == STEPS ? 0 : i, !g->answers);
        memset(s.dlogp, 0, sizeof s.dlogp);
        memset(s.dentropy, 0, sizeof s.dentropy);
        memset(s.dvalue, 0, sizeof s.dvalue);
        llm_forward(&s.m, &s.b, s.logp, s.entropy, g->score ? s.value : NULL);
        if (i == 0) memcpy(s.first_logp, s.logp, sizeof s.logp);
        if (i == 0) memcpy(s.first_value, s.value, sizeof s.value);
        const double l = g->step(&s);
        if (i % STEPS == 0) result[i / STEPS] = g->speak ? say(&s) : l;
        if (i == STEPS) break;
        llm_backward(&s.m, &s.b, s.dlogp, s.dentropy, g->score ? s.dvalue : NULL);
        llm_adamw_step(&s.adamw, &s.m, 3e-3);
    }
    llm_adamw_free(&s.adamw, &s.m);
    llm_model_free(&s.m);
    llm_batch_free(&s.b);
}

/* pretraining */
static double read_on(school *s) {
    const double M = llm_batch_targets(&s->b);
    s->with->losses.llm_loss_ce_weights(s->dlogp, &s->b, M);
    return s->with->losses.llm_loss_ce(s->logp, &s->b, M);
}
/* reward models: which of two rows, of all rows, has more letters? The score stands at the last place. */
static void last_place_only(school *s) {
    for (int i = 0; i < ROWS * LENGTH; i++)
        s->b.weight[i] = i % LENGTH == LENGTH - 1;
}
static double compare_pairs(school *s) {
    double r[ROWS], dr[ROWS], d[ROWS], pairs[ROWS];
    last_place_only(s);
    s->with->losses.llm_row_sums(r, NULL, s->value, &s->b);
    for (int i = 0; i < ROWS; i++)
        pairs[i] = r[i ^ (s->rank[i & ~1] > s->rank[i | 1])]; /* the better one first */
    const double l = s->with->losses.llm_loss_pair(d, pairs, NULL, ROWS / 2, 0.01, ROWS / 2, NULL);
    for (int i = 0; i < ROWS; i++)
        dr[i ^ (s->rank[i & ~1] > s->rank[i | 1])] = d[i];
    s->with->losses.llm_row_spread(s->dvalue, dr, &s->b);
    return l;
}
static double compare_all(school *s) {
    double r[ROWS], dr[ROWS], other[ROWS];
    last_place_only(s);
    s->with->losses.llm_row_sums(r, NULL, s->value, &s->b);
    double l = s->with->losses.llm_loss_kwise(dr, r, s->rank, ROWS, 1, NULL);
    l += s->with->losses.llm_loss_plackett_luce(other, r, s->rank, ROWS, 1);
    for (int i = 0; i < ROWS; i++)
        dr[i] += other[i];
    s->with->losses.llm_row_spread(s->dvalue, dr, &s->b);
    return l;
}
/* PPO and GRPO on rows that are there already: more letters, more reward */
static double ppo_step(school *s) {
    const loss_table *t = &s->with->losses;
    llm_real reward[ROWS * LENGTH], advantage[ROWS * LENGTH], ret[ROWS * LENGTH];
    const double M = llm_batch_targets(&s->b);
    llm_kl_control control = {.beta = 0.1, .target = 6, .horizon = 1000};
    t->llm_kl_adapt(&control, 3, ROWS);
    t->llm_ppo_rewards(reward, s->first_logp, s->first_logp, s->merit, &s->b, control.beta);
    t->llm_gae(advantage, ret, reward, s->first_value, &s->b, 1, 0.95);
    t->llm_whiten(advantage, &s->b, true);
    double l = t->llm_loss_ppo(s->dlogp, s->logp, s->first_logp, advantage, &s->b, M, 0.2, NULL);
    l += t->llm_loss_value(s->dvalue, s->value, s->first_value, ret, &s->b, M, 0.5, 0.2);
    return l + t->llm_loss_entropy(s->dentropy, s->entropy, &s->b, M, 0.001);
}
static double grpo_step(school *s) {
    double advantage[ROWS];
    llm_grpo o = llm_grpo_defaults();
    o.tokens = llm_batch_targets(&s->b), o.rows = ROWS, o.longest = LENGTH, o.beta = 0.01;
    s->with->losses.llm_group_advantages(advantage, s->merit, ROWS, 4, LLM_GROUP_NORM);
    return s->with->losses.llm_loss_grpo(s->dlogp, s->logp, s->first_logp, s->first_logp, advantage, &s->b, &o, NULL);
}
/* preferences on sums: rows 2i were preferred to rows 2i+1 */
static double preference(school *s, int method) {
    const loss_table *t = &s->with->losses;
    double sum[ROWS], count[ROWS], ref[ROWS], d[ROWS], good, bad, l;
    bool liked[ROWS];
    t->llm_row_sums(sum, count, s->logp, &s->b);
    t->llm_row_sums(ref, NULL, s->first_logp, &s->b);
    for (int i = 0; i < ROWS; i++)
        liked[i] = i % 4 == 0;
    if (method == 0)
        l = t->llm_loss_dpo(d, sum, ref, count, ROWS / 2, (llm_dpo){.beta = 0.1}, ROWS / 2, NULL);
    else if (method == 1) {
        t->llm_kto_balance(&good, &bad, 2, 6);
        const llm_kto o = {.beta = 0.1, .z0 = t->llm_kto_z0(sum, ref, ROWS), .weight_good = good, .weight_bad = bad};
        l = t->llm_loss_kto(d, sum, ref, liked, ROWS, o, ROWS);
    } else
        l = t->llm_loss_rrhf(d, sum, count, s->merit, ROWS, 1, 1);
    t->llm_row_spread(s->dlogp, d, &s->b);
    return l;
}
static double dpo_step(school *s) { return preference(s, 0); }
static double kto_step(school *s) { return preference(s, 1); }
static double rrhf_step(school *s) { return preference(s, 2); }

static const stage pretrain = {"pretraining", read_on, .gpt = false};
static const stage pretrain_gpt = {"pretraining", read_on, .gpt = true};
static const stage pretrain_lora = {"LoRA", read_on, .lora = true};
static const stage speak = {"pretraining, then speaking", read_on, .speak = true};
static const stage reward_model = {"a reward model", compare_pairs, .score = true};
static const stage reward_model_ranked = {"a reward model", compare_all, .score = true};
static const stage train_ppo = {"PPO", ppo_step, .score = true, .answers = true};
static const stage train_grpo = {"GRPO", grpo_step, .answers = true};
static const stage train_dpo = {"DPO", dpo_step, .answers = true};
static const stage train_kto = {"KTO", kto_step, .answers = true};
static const stage train_rrhf = {"RRHF", rrhf_step, .answers = true};
#endif
