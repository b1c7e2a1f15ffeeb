/* train_sft.c: stage 2 of the lecture, supervised fine-tuning. The base model continues texts; shown some thousand
   questions with their answers, it learns to answer, to keep to a format, and to stop.

       ./train_sft                                 tiny world: its instructions on out/base -> out/sft; before and after
       ./train_sft --model DIR --data alpaca.json  any model, any data: Alpaca, ShareGPT, messages, ...
       ./train_sft --lora-rank 8                   adapters only; the result is merged, OUT/adapter has them alone
       ./train_sft --ptx 0.5 --ptx-data book.txt   read pretraining text along, so that less is forgotten
       build/convert --model DIR --add-tokens --out DIR2      first: ChatML's tokens for a model that has none

   It is pretraining on conversations with one difference: the loss counts only where the assistant speaks, its closing
   token included. What the user says is read, not learned. */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "tools/hf.h"
#include "tools/world.h"
#include "tools/say.h"
#include "tools/run.h"
#include "tools/text.h"
#include "tools/eval.h"
#include "tools/forms.h"
#include "tools/mixture.h"

enum { LONGEST = 1024 };                /* a row, when no --seq says: conversations are shorter than most contexts */

typedef struct {
    text_run run;                       /* tokenizer, model, optimizer, the batches of a step */
    sft_settings *s;
    bool tiny;                          /* the world whose answers we can judge */
    tw_world world;
    llm_records records, held;
    llm_sft data, validation;
    double M;                           /* answer tokens of the step's micro-batches; 0: none were taken yet */
    llm_corpus text;                    /* --ptx: what the base model has read, so that it is not forgotten */
    text_deal old;                      /* its rows in a step */
    llm_real *old_dlogp;
    eval_prompts prompts;               /* held out */
} trainer;

/* ---- preparing ---- */

static void choose_data(trainer *t) {
    run_settings *r = &t->s->run;
    t->tiny = r->data.count == 0;
    if (!t->tiny) return;
    world_open(&t->world);
    r->data = world_list(world_questions);
    /* A small model wants a high rate, and then forgets what it was not asked about: so it goes on reading, a row of
       old text for a row of questions, of the same weight. */
    if (!llm_option_given("epochs")) t->s->epochs = 2;
    if (!llm_option_given("lr")) r->lr = 3e-3;
    if (!r->val_data.count) r->val_data = world_list(world_test);
    if (!llm_option_given("ptx")) t->s->ptx = 1;
    if (!t->s->ptx_data.count) t->s->ptx_data = world_list(world_folder);
}
static void prepare_data(trainer *t) {
    sft_settings *s = t->s;
    run_settings *r = &s->run;
    PROGRESS(forms_read(&t->records, r->data.item, r->data.count, s->columns, s->skip_bad), "reading %s",
             r->data.item[0]);
    if (r->val_data.count) forms_read(&t->held, r->val_data.item, r->val_data.count, s->columns, s->skip_bad);
    else forms_split(&t->records, &t->held, s->val_fraction);
    if (s->skip_bad) forms_fit(&t->records, &t->run.tok);
    if (s->skip_bad && t->held.count) forms_fit(&t->held, &t->run.tok);
    say_records(&t->records, stderr);
    if (s->parse_special) hf_parse_special(&t->run.tok);
    mixture_check_records(&t->records, &t->run.tok);
    say_template(&t->run.tok, stderr);
    PROGRESS(llm_sft_open(&t->data, &t->run.tok, &t->records, (int)r->seq, s->packing, (uint64_t)r->seed),
             "packing %d conversations", t->records.count);
    llm_sft_open(&t->validation, &t->run.tok, &t->held, (int)r->seq, s->packing, 1);
    say_sft(&t->data, stderr);
    hf_say_unspelled(&t->run.tok);
    /* A control. In an earlier tiny world, with the questions learned too, fewer held-out facts were right, 59 % (73 to
       88 % in four runs without), and no more of all kinds. */
    if (s->loss_on_prompt) memset(t->data.mask, 1, t->data.begin[t->data.count]);
    const int limit = llm_max(1, t->run.model.c.T - (int)s->max_new);
    t->prompts = eval_prompts_from(&t->held, &t->run.tok, t->tiny ? &t->world : NULL, (int)s->ask, limit);
    eval_say_shortened(&t->prompts, "held-out prompts", limit);
}
/* InstructGPT's answer to forgetting, there for PPO (PPO-ptx): every step also reads some rows of pretraining text,
       L = L_sft + gamma L_ptx,   both means over their own targets. */
static void prepare_ptx(trainer *t) {
    sft_settings *s = t->s;
    if (s->ptx <= 0) return;
    llm_corpus_options o = {.paths = s->ptx_data.item, .count = s->ptx_data.count, .document_gap = true,
                            .document_mask = true, .seed = (uint64_t)s->run.seed + 1000};
    mixture_open_cached(&t->text, &t->run.tok, o, s->run.cache, s->run.out);
    t->old = text_deal_new((int)s->ptx_batch, 1, llm_team ? (int)s->run.grad_accum : 1, (int)s->run.seq);
    t->old_dlogp = llm_alloc(llm_places(&t->old.micro[0]), sizeof *t->old_dlogp);
    text_suffices(&t->text, &t->old.micro[0]);
}
/* A peak learning rate for the width, when none is given: 1e-3 at our 96 channels, 2e-5 at Llama's 4096; adapters take
   three times as much: few numbers have to do the work of many. */
static double rate_for_width(int C, bool lora) { return 1e-3 * pow(96.0 / C, 1.04) * (lora ? 3 : 1); }

static const run_stage fine_tuning;
static void prepare_model(trainer *t, const llm_ops *op, const char *from) {
    sft_settings *s = t->s;
    run_settings *r = &s->run;
    llm_model *m = &t->run.model;
    hf_tokenizer_load(&t->run.tok, from);
    PROGRESS(hf_model_load_as(m, from, op, llm_type_named(s->weights)), "loading %s", from);
    hf_fit(&t->run.tok, m->c.V);
    hf_chat_template(&t->run.tok, s->chat);
    if (s->lora_rank && text_never_learned(m, &t->run.tok))
        llm_usage("train the whole model first", "--lora-rank leaves the embedding as it is, and in %s a frozen "
                  "embedding of <|im_start|> and <|im_end|> has never learned to tell them apart", from);
    if (s->lora_rank && !m->lora)       /* a checkpoint brings its adapters along */
        llm_lora_attach(m, (int)s->lora_rank, s->lora_alpha > 0 ? s->lora_alpha : 2.0 * (double)s->lora_rank,
                        s->lora_targets, r->model, (uint64_t)r->seed);
    text_length(&t->run, LONGEST);
    prepare_data(t);
    double rows = (double)t->data.rows * s->epochs, step = (double)(r->batch * r->grad_accum);
    if (!r->steps) r->steps = (int64_t)fmax(1, ceil(rows / step));
    prepare_ptx(t);
    text_prepare(&t->run, &fine_tuning, rate_for_width(m->c.C, m->lora != NULL));
    text_hold(&t->run, (size_t)t->validation.rows, t->tiny);
}

/* ---- the loop ---- */

static void ptx_backward(trainer *t) {
    text_run *x = &t->run;
    double M = 0;
    if (t->s->ptx <= 0) return;
    for (int i = 0; i < t->old.micros; i++) {
        llm_corpus_next(&t->text, &t->old.micro[i]);
        M += llm_batch_targets(&t->old.micro[i]);
    }
    for (int i = x->rank; i < t->old.dealt; i += x->ranks) {
        llm_loss_ce_weights(t->old_dlogp, &t->old.micro[i], M / t->s->ptx);
        llm_forward_backward(&x->model, &t->old.micro[i], t->old_dlogp, NULL);
    }
}
/* One optimizer step. M counts the assistant's tokens in all micro-batches of the step: how it is cut, and how the
   conversations are packed, changes nothing. As in pretraining the one wait is AdamW's, and many ranks share the
   micro-batches. */
static const char *train_step(void *stage, double lr, double *measure) {
    trainer *t = stage;
    text_run *x = &t->run;
    llm_batch *micro = x->step.micro;
    double loss = 0;
    x->began = llm_now();
    if (!t->s->run.overfit || t->M == 0) t->M = llm_sft_next(&t->data, micro, x->step.micros);
    text_dump_step(x);
    for (int i = x->rank; i < x->step.dealt; i += x->ranks) {
        llm_loss_ce_weights(x->dlogp, &micro[i], t->M);
        llm_forward_backward(&x->model, &micro[i], x->dlogp, x->logp[i]);
    }
    ptx_backward(t);
    const double gnorm = llm_adamw_step(&x->loop.adamw, &x->model, lr);
    text_logp(x);
    for (int i = 0; i < x->step.micros; i++) loss += llm_loss_ce(x->logp[i], &micro[i], t->M);
    text_step_done(x, loss, gnorm, measure);
    return NULL;
}
static bool window(void *stage, int index, llm_batch *b) {
    return llm_sft_window(&((trainer *)stage)->validation, index, b);
}
static char *state(void *stage, const char *dir) {
    trainer *t = stage;
    char *sft = llm_sft_state(&t->data), *ptx = t->s->ptx > 0 ? llm_corpus_state(&t->text) : llm_format("null");
    char *member = llm_format("\"data\": {\"sft\": %s, \"ptx\": %s}", sft, ptx);
    (void)dir;
    llm_release_all(sft, ptx);
    return member;
}
static void restore(void *stage, const char *dir, const llm_json *saved) {
    trainer *t = stage;
    const llm_json *data = llm_json_get(saved, "data");
    (void)dir;
    if (!t->s->run.overfit) llm_sft_restore(&t->data, llm_json_get(data, "sft"));       /* else: the first again */
    if (t->s->ptx > 0) llm_corpus_restore(&t->text, llm_json_get(data, "ptx"));
}

/* ---- answers ---- */

/* Answer the held-out prompts greedily. */
static eval_answers answer(trainer *t, llm_model *m, const eval_prompts *p) {
    llm_sampler greedy = llm_sampler_defaults();
    greedy.temperature = 0;
    return eval_answer_turns(m, &t->run.tok, p, true, 1, &greedy, llm_min((int)t->s->max_new, m->c.T - 1));
}
static void speak(void *stage, FILE *out, int count) {
    trainer *t = stage;
    eval_prompts few = t->prompts;
    few.count = llm_min(few.count, count);
    eval_answers a = answer(t, &t->run.model, &few);
    for (int i = 0; i < few.count; i++)
        fprintf(out, "  > %.*s\n  < %.300s%s\n", (int)strcspn(few.text[i], "\n"), few.text[i], a.text[i],
                a.stopped[i] ? "" : " ...");
    eval_answers_free(&a);
}
static const run_stage fine_tuning = {"step", train_step, text_held_out, speak, state, restore, text_measure,
                                      TEXT_MEASURES};

/* ---- the end ---- */

/* The stage's part of out/report.html; column: the answers before and after, NULL with --ask 0. */
static void write_report(trainer *t, const eval_answers *const *column, const char *const *name, double bpb) {
    run_settings *r = &t->s->run;
    stage_card card = stage_of(r, r->out, 2, "Supervised fine-tuning");
    card.told = told_by(r->model, &t->records);
    stage_text(&card, "%d conversations, %lld steps, learning rate %.1e, seed %lld%s.", t->data.count,
               (long long)r->steps, t->run.loop.schedule.lr, (long long)r->seed,
               t->s->lora_rank ? ", adapters only" : "");
    if (t->tiny)
        stage_text(&card, "%s", world_kinds);
    stage_log(&card, "", r->log, NAN);
    char *tokens = llm_format("%s/tokens.jsonl", r->out);
    if (t->M > 0)                       /* else: --resume behind the last step, which has left it */
        stage_tokens(r->out, &t->run.tok, t->run.step.micro, 2, (stage_numbers){.logp = t->run.logp[0], .most = 128});
    if (llm_exists(tokens)) stage_file(&card, "tokens", "rows of the last step, and what their loss counts", "mask");
    llm_release(tokens);
    if (column) eval_before_after(&card, &t->prompts, column, name, t->tiny);
    else stage_end(&card, "%.4f bits per byte of held-out answers", bpb);
}
/* Before and after, on the same held-out prompts. The model before is loaded again: so it is there
   after --resume too. */
static void compare(trainer *t, double bpb) {
    llm_model base;
    PROGRESS(hf_model_load(&base, t->s->run.model, t->run.model.ops), "loading %s", t->s->run.model);
    eval_answers before = answer(t, &base, &t->prompts), after = answer(t, &t->run.model, &t->prompts);
    llm_model_free(&base);
    const eval_answers *column[] = {&before, &after};
    const char *name[] = {t->s->run.model, t->s->run.out};
    printf("%d held-out prompts, greedy answers of at most %d tokens; shares with 95 %% intervals\n", before.count,
           before.max_new);
    if (t->tiny) eval_print_table(stdout, &t->prompts, column, name, 2);
    else eval_print_stops(stdout, column, name, 2);
    write_report(t, column, name, bpb);
    eval_answers_free(&before);
    eval_answers_free(&after);
}
static void finish(trainer *t) {
    const char *out = t->s->run.out;
    double bpb, val = text_evaluate(&t->run, &bpb);
    printf("validation: %.4f nats per answer token, %.4f bits per byte, on %.0f tokens\n", val, bpb,
           t->run.evaluated);
    if (t->run.model.lora) {
        char *adapter = llm_format("%s/adapter", out);
        hf_lora_save(&t->run.model, adapter);
        llm_tokenizer_save(&t->run.tok, adapter);
        printf("saved the adapters in %s\n", adapter);
        llm_release(adapter);
        llm_lora_merge(&t->run.model);
    }
    PROGRESS(llm_result_save(out, &t->run.model, &t->run.tok), "saving %s", out);
    run_end_out(out, t->s->lora_rank > 0);
    printf("saved %s\nanswers\n", out);
    speak(t, stdout, 8);
    if (t->s->ask) compare(t, bpb);
    else write_report(t, NULL, NULL, bpb);
}
static void close_all(trainer *t) {
    eval_prompts_free(&t->prompts);
    llm_corpus_free(&t->text);
    text_deal_free(&t->old);
    llm_release(t->old_dlogp);
    llm_sft_free(&t->data);
    llm_sft_free(&t->validation);
    forms_free(&t->held);
    forms_free(&t->records);
    text_free(&t->run);
}
int main(int argc, char **argv) {
    run_patience(argv);
    ranks_open("train_sft", &argc, &argv);
    sft_settings s = sft_defaults();
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        RUN_TEXT_OPTIONS(s.run),
        SFT_OPTIONS(s),
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "supervised fine-tuning: from a model that speaks to one that answers", argc,
                      argv);
    trainer t = {.s = &s, .run = {.s = &s.run, .window = window}};
    const llm_ops *op = run_device(&s.run);
    sft_check(&s);
    if (s.run.dry_run) {
        llm_config c = hf_config_load(s.run.model);
        run_plan_flags(&s.run, "lora-rank|lora-targets|weights");
        text_plan(&s.run, op, &c, LONGEST, (int)s.lora_rank, s.lora_targets, llm_type_named(s.weights), 0, NULL);
        return 0;
    }
    choose_data(&t);
    run_guard_list(&s.run, s.run.out, s.ptx_data);
    char *checkpoint = run_open_out(&s.run);
    prepare_model(&t, op, checkpoint ? checkpoint : s.run.model);
    llm_options_print(options, count, stderr);
    text_train(&t.run, checkpoint);
    finish(&t);
    close_all(&t);
    return 0;
}
