/* rl_plan.h: who judges, as far as the flags tell, and what stage 3 takes for it: the models that are in memory at
   once. Included after rl_methods.h and rl_out.h. */
#ifndef RL_PLAN_H
#define RL_PLAN_H

/* Do known right answers judge? known: there are some. */
static bool rl_gold_judges(const rl_settings *s, bool known) {
    bool given = llm_option_given("verify"), verify = given ? s->verify : known && !s->reward && !s->reward_command;
    return verify && !s->all && !s->sweep_kl && (given || !strcmp(s->method, "grpo"));
}
/* Does a reward model? Methods that learn from answers compared beforehand need none. */
static bool rl_model_judges(const rl_settings *s, bool gold) {
    bool compared = !s->all && !s->sweep_kl && rl_find_method(s->method)->compared;
    return !gold && !s->reward_command && (!compared || s->reward);
}
/* Which models are in memory at once, what each takes, and what the steps cost that are known beforehand. The time of
   sampling and judging is not in it, nor of passes over data that have not been read. Chooses --keep-all; --dry-run
   prints all of it. */
static void rl_plan(rl_settings *s, const llm_ops *op) {
    llm_config c = hf_config_load(s->run.model);
    const char *name = s->all || s->sweep_kl ? "ppo" : s->method;       /* the one that takes most */
    const rl_method *g = rl_find_method(name);
    bool ppo = !strcmp(name, "ppo"), samples = ppo || !strcmp(name, "grpo");
    int micro = (int)s->run.batch;
    bool given = llm_option_given("batch") || llm_option_given("grad-accum");
    int rows = given ? (int)(s->run.batch * s->run.grad_accum) : g->step ? g->rows : micro;
    double steps = !g->step ? 0 : s->run.steps ? (double)s->run.steps : g->steps;
    const bool known = !s->run.data.count;              /* in the tiny world; other data have not been read */
    const double held = known && s->kl != 0 && !strcmp(name, "grpo") ? (double)s->hold : 0;
    double passes = samples ? (double)s->inner_epochs : 1, answers = ppo ? (double)s->rollout : rows + held;
    double tokens = steps * passes * answers * c.T;
    double n = s->lora_rank ? (double)llm_lora_parameters(&c, (int)s->lora_rank, s->lora_targets) : 0, others = 0;
    llm_plan asked = llm_plan_make(&c, op, micro, c.T, false, LLM_KEEP_MOST, false), learns = asked;
    llm_plan critic = run_plan(&s->run, op, &c, c.T, false);
    const double frozen = asked.weights + asked.work, more = run_plan(&s->run, op, &c, c.T, true).total - critic.total;
    const double cache = 2.0 * c.L * (double)op->speakers * ((c.T + 63) / 64 * 64) * c.KV * c.D * (double)op->act_size;
    struct { const char *what; bool there; double bytes; } beside[] = {
        {"reference policy, frozen", samples && !s->lora_rank, frozen},
        {"reward model, frozen", rl_model_judges(s, rl_gold_judges(s, known)), frozen},
        {"keys and values, speaking", true, cache},
        {"critic, which learns too", ppo, critic.total}};
    for (int i = 0; i < 4; i++) others += beside[i].there ? beside[i].bytes : 0;
    const double most = n > 0 ? fmax(others, critic.total) : others;    /* a reward model learns in all its weights */
    if (g->step) learns = run_planned(&s->run, op, &c, c.T, n, LLM_TYPE_REAL, most, ppo);
    if (!s->run.dry_run) return;
    if (ppo && run_keep(&s->run) == LLM_KEEP_ALL) others += more, beside[3].bytes += more;
    printf("method %s: rows of at most %d tokens, %d in a forward pass, %d in a step\n", name, c.T, micro, rows);
    say_plan(&learns, &c, tokens, 0.6 * run_measured(op), stdout);
    for (int i = 0; i < 4; i++)
        if (beside[i].there) printf("  %-28s %.2f MB\n", beside[i].what, beside[i].bytes / 1e6);
    printf("  all models                   %.2f MB\n", (learns.total + others) / 1e6);
    if (learns.host > 0)
        printf("  all that is offloaded        %.2f MB\n", (learns.host + (ppo ? critic.host : 0)) / 1e6);
}
#endif
