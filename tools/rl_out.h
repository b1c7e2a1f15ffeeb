/* rl_out.h: the folders of stage 3's results: --out, --reward-out, and below --out one for each method of --all and
   each price of --sweep-kl. What is refused before anything is written; how a run begins or goes on. Included after
   rl_methods.h. */
#ifndef RL_OUT_H
#define RL_OUT_H

enum { RL_PRICES = 4 };
static const double rl_price[RL_PRICES] = {0, 0.05, 0.2, 0.5};  /* --sweep-kl */

/* Begin with empty folders, or go on as the flags say. method.json tells a resumed run what it is part of; what it was
   begun with is ours, preferences.jsonl too. */
static void rl_begin_below(const rl_settings *s, char *out) {
    if (llm_is_dir(out)) run_check_out(&s->run, out);
    if (llm_is_dir(out)) run_begin_out(&s->run, out);
    llm_release(out);
}
static void rl_check_out(const rl_settings *s, bool reward, bool begun) {
    const char *method = s->all ? "all" : s->sweep_kl ? "sweep-kl" : s->method, *folder[] = {s->run.out, s->reward_out};
    char *path = llm_format("%s/method.json", s->run.out), *data = llm_format("%s/preferences.jsonl", s->run.out);
    char *table = llm_format("%s/table.csv", s->run.out);
    if (!run_is_ours(table, "method,", false)) llm_die("another --out", "%s is no table of ours", table);
    for (int i = 0; i < 1 + reward; i++) run_check_place(folder[i], i ? "--reward-out" : "--out", true);
    for (int i = 0; i < 1 + reward; i++) run_lock(folder[i], i ? "--reward-out" : "--out");
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
        run_same_flags(llm_json_get(j, "flags"), "");
        llm_json_free(j);
    } else if (llm_exists(data) && !s->run.overwrite)
        llm_usage("--resume to continue it, --overwrite to replace it, or another --out", "%s holds a result already",
                  s->run.out);
    else if (llm_exists(data) && !begun)
        llm_usage("another --out", "%s is not of a run of ours: it will not be replaced", data);
    free(a);
    free(b);
    llm_release_all(path, data, table);
}
static void rl_open_out(const rl_settings *s, bool reward) {
    const char *method = s->all ? "all" : s->sweep_kl ? "sweep-kl" : s->method;
    char *path = llm_format("%s/method.json", s->run.out), *data = llm_format("%s/preferences.jsonl", s->run.out);
    rl_check_out(s, reward, llm_exists(path));
    if (!s->run.resume) {
        run_begin_out(&s->run, s->run.out);
        if (reward) run_begin_out(&s->run, s->reward_out);
        for (int i = 0; i < RL_METHODS && s->all; i++)
            rl_begin_below(s, llm_format("%s/%s", s->run.out, rl_methods[i].name));
        for (int i = 0; i < RL_PRICES && s->sweep_kl; i++)
            rl_begin_below(s, llm_format("%s/ppo-kl-%g", s->run.out, rl_price[i]));
        if (llm_leads()) unlink(data);
        llm_writer w = llm_write_begin(path);
        char *flags = llm_options_json();
        llm_write_text(&w, "{\"method\": \"%s\", \"seed\": %lld,\n\"flags\": %s}\n", method, (long long)s->run.seed,
                       flags);
        llm_write_done(&w);
        llm_release(flags);
    } else {
        run_enter(&s->run, s->run.out);
        if (reward) run_enter(&s->run, s->reward_out);
    }
    llm_release_all(path, data);
}
#endif
