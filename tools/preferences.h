/* preferences.h: the prompts that stage 3 learns from and is asked, and answers to compare. They come from a file, or
   the model answers each prompt K times and a labeller ranks the answers ("D > C > A = B" in the lecture's picture). */
#ifndef PREFERENCES_H
#define PREFERENCES_H

static void read_records(trainer *t, const char *const *path, int count) {
    forms_read(&t->records, path, count, t->s->columns, t->s->skip_bad);
}
/* Everything that special tokens are for is forbidden in answers, but for the one that ends them. */
static void forbid(trainer *t) {
    bool raw = t->records.record[0].raw;
    t->closing = raw ? t->tok.eos : eval_closing_token(&t->tok);
    for (int i = 1; i < t->records.count; i++)
        if (t->records.record[i].raw != raw)
            llm_die("files of one kind", "--data mixes prompts with and without a chat template");
    size_t V = (size_t)t->policy.c.V;
    t->banned = llm_alloc(V, 1);
    for (int i = 0; i < t->policy.c.V; i++) t->banned[i] = i >= t->tok.vocab_size || t->tok.special[i];
    t->banned[t->closing] = 0;
    t->banned_device = t->op->alloc(V);
    t->op->upload(t->banned_device, t->banned, V);
    t->policy.head_options.banned = t->banned_device;
}
static void open_data(trainer *t) {
    settings *s = t->s;
    t->tiny = s->run.data.count == 0;
    if (t->tiny) world_open(&t->world);
    if (t->tiny) read_records(t, world_prompts, 1);
    else read_records(t, s->run.data.item, s->run.data.count);
    if (t->tiny) forms_read(&t->held, world_test, 1, NULL, false);
    else if (s->run.val_data.count)
        forms_read(&t->held, s->run.val_data.item, s->run.val_data.count, s->columns, s->skip_bad);
    else llm_records_split(&t->records, &t->held, s->val_fraction);
    llm_records_print(&t->records, stderr);
    if (!t->records.count) llm_die("more data, or a smaller --val-fraction", "no records are left to learn from");
    forbid(t);
}
static void make_prompts(trainer *t) {
    int limit = int_max(1, t->policy.c.T - (int)t->s->max_new);
    const tw_world *world = t->tiny ? &t->world : NULL;
    eval_prompts_free(&t->prompts);
    eval_prompts_free(&t->test);
    t->prompts = eval_prompts_from(&t->records, &t->tok, world, INT_MAX, limit);
    t->test = eval_prompts_from(&t->held, &t->tok, world, (int)t->s->ask, limit);
}
static void write_prompt(llm_writer *w, const llm_record *r) {
    int n = r->messages - (r->messages > 1 && !strcmp(r->message[r->messages - 1].role, "assistant"));
    llm_write_text(w, "{\"prompt\": ");
    if (r->raw) llm_write_json_string(w, r->message[0].text, r->message[0].length);
    for (int i = 0; i < n && !r->raw; i++) {
        llm_write_text(w, "%s{\"role\": \"%s\", \"content\": ", i ? ", " : "[", r->message[i].role);
        llm_write_json_string(w, r->message[i].text, r->message[i].length);
        llm_write_text(w, "}%s", i < n - 1 ? "" : "]");
    }
}
/* Sample K answers to each prompt and let the labeller rank them: in the tiny world its true rule, upside down now and
   then; elsewhere the judge. Written as JSON lines, read again like anybody's data: what is trained on can be looked
   at, and a run that goes on after a kill finds it. */
static void write_preferences(trainer *t, const char *path) {
    int K = (int)t->s->answers;
    samples x = sample_answers(t, &t->policy, &t->prompts, NULL, t->prompts.count, K, stream(t, 6, 0));
    tw_rng labeller = tw_seed((uint64_t)t->s->run.seed, 77);
    int *rank = llm_alloc((size_t)K, sizeof *rank);
    if (!t->tiny) judge(t, &x);
    if (t->program.failures >= 3)
        llm_die("a program that answers each line with a number", "the reward program failed");
    llm_writer w = llm_write_begin(path);
    for (int g = 0; g < t->prompts.count; g++) {
        double *rule = t->tiny ? x.a.reward + g * K : x.score + g * K;
        int n = 0;
        for (int k = 0; k < K; k++) n += *x.a.text[g * K + k] != '\0';
        if (n < 2) continue;
        tw_rank(rule, K, t->tiny ? t->s->noise : 0, &labeller, rank);
        write_prompt(&w, &t->records.record[g]);
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
        if (t->prompts.gold[g]) {
            llm_write_text(&w, "], \"answer\": ");
            llm_write_json_string(&w, t->prompts.gold[g], strlen(t->prompts.gold[g]));
        }
        llm_write_text(&w, t->prompts.gold[g] ? "}\n" : "]}\n");
    }
    llm_write_done(&w);
    llm_release(rank);
    samples_free(&x);
}
static void get_preferences(trainer *t) {
    char *path = llm_format("%s/preferences.jsonl", t->s->run.out);
    const char *file[] = {path};
    bool compared = t->records.record[0].responses > 0;
    if (!compared) {
        if (!llm_exists(path)) write_preferences(t, path);
        t->source = t->records;
        read_records(t, file, 1);
        make_prompts(t);
        fprintf(stderr, "%d prompts with %d answers each, ranked: %s\n", t->records.count, (int)t->s->answers, path);
    }
    t->data = read_comparisons(t, &t->records);
    llm_release(path);
}
#endif
