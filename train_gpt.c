/* train_gpt.c: stage 1 of the lecture, pretraining. Text becomes tokens, and a model learns to predict the next one.

       ./train_gpt                             the tiny world: writes it, trains tokenizer and model in a minute ->
   out/base
       ./train_gpt --data book.txt             your own text: files and folders
       ./train_gpt --preset gpt3-xl --dry-run  what it would take: parameters, memory, FLOPs, time
       ./train_gpt --presets                   the lectures' tables, and what they cost

   The loop is the whole lecture on one line: logp = log p(next token), loss = -mean(logp), dlogp = -1/M, step downhill.
 */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "tools/hf.h"
#include "tools/world.h"
#include "tools/say.h"
#include "tools/run.h"
#include "tools/text.h"
#include "tools/stage.h"
#include "tools/forms.h"
#include "tools/mixture.h"

typedef struct {
    text_run run;                       /* tokenizer, model, optimizer, the batches of a step */
    gpt_settings *s;
    llm_corpus corpus;
    double M;                           /* targets of the step's micro-batches; 0: none were taken yet */
    bool tiny;                          /* the world whose floor we know */
    double floor_bpb;
} trainer;

/* ---- preparing ---- */

/* Where the text is: the tiny world, written on first use, or the user's own. */
static void choose_data(trainer *t) {
    run_settings *r = &t->s->run;
    t->tiny = r->data.count == 0;
    if (!t->tiny) return;
    world_write();
    r->data = world_list(world_folder);
}
/* From --model or the checkpoint its own; else --tokenizer; else a new one, trained on the text. */
static void prepare_tokenizer(trainer *t, const char *from) {
    run_settings *r = &t->s->run;
    if (from || t->s->tokenizer) {
        hf_tokenizer_load(&t->run.tok, from ? from : t->s->tokenizer);
        return;
    }
    size_t size;
    double began = llm_now();
    char *text = mixture_text(r->data.item, r->data.count, (size_t)64 << 20, &size);
    if (t->tiny) text = mixture_add_records(text, &size, world_questions, 1);
    PROGRESS(llm_tokenizer_train(&t->run.tok, text, size, (int)t->s->vocab, true), "training the tokenizer");
    fprintf(stderr, "tokenizer: %d tokens from %.2f MB of text in %.1f s", t->run.tok.vocab_size, (double)size / 1e6,
            llm_now() - began);
    if (t->run.tok.vocab_size < t->s->vocab)
        fprintf(stderr, ", fewer than --vocab %lld: no pair of neighbours is left that occurs twice",
                (long long)t->s->vocab);
    fprintf(stderr, "\n");
    llm_release(text);
}
static llm_config choose_config(trainer *t) {
    gpt_settings *s = t->s;
    if (s->run.model) return hf_config_load(s->run.model);     /* a dry run of a folder's own */
    llm_config c = s->depth ? llm_depth((int)s->depth, (int)s->vocab, 128) : llm_preset(s->preset);
    if (!s->depth) say_preset_note(s->preset, stderr);
    if (s->run.seq) c.T = (int)s->run.seq;
    if (llm_option_given("vocab")) c.V = (int)s->vocab;
    if (t->run.tok.vocab_size) {            /* a dry run may know the asked or the preset's vocabulary only */
        c.V = t->run.tok.vocab_size;
        c.bos = t->run.tok.bos;
        c.eos = t->run.tok.eos;
        c.pad = t->run.tok.pad;
    }
    return c;
}
/* A peak learning rate for the width, when none is given: 3e-3 at our 96 channels, GPT-3's 6e-4 at its 768. */
static double rate_for_width(int C) { return 3e-3 * pow(96.0 / C, 0.774); }
/* A preset of the lectures' tables learns with its row's. */
static double usual_rate(const gpt_settings *s, int C) {
    return gpt_table(s) ? gpt_table(s)->rate : rate_for_width(C);
}
/* Its batch is not taken over: half a million tokens a step are for many GPUs. */
static void say_table(const gpt_settings *s, int T, FILE *out) {
    const run_settings *r = &s->run;
    const double tokens = (double)r->batch * (double)r->grad_accum * T;
    if (gpt_table(s)) lecture_say_learning(gpt_table(s), tokens, (double)r->batch, T, out);
}

static const run_stage pretraining;
static void prepare_model(trainer *t, const llm_ops *op, const char *from) {
    if (from) {
        PROGRESS(hf_model_load(&t->run.model, from, op), "loading %s", from);
        hf_fit(&t->run.tok, t->run.model.c.V);
    } else {
        llm_config c = choose_config(t);
        PROGRESS(llm_model_init(&t->run.model, &c, op, (uint64_t)t->s->run.seed), "drawing the weights");
    }
    text_prepare(&t->run, &pretraining, usual_rate(t->s, t->run.model.c.C));
    say_table(t->s, (int)t->s->run.seq, stderr);
}
static void prepare_corpus(trainer *t) {
    run_settings *r = &t->s->run;
    llm_corpus_options o = {.paths = r->data.item, .count = r->data.count, .val_paths = r->val_data.item,
                            .val_count = r->val_data.count, .val_fraction = t->s->val_fraction,
                            .document_gap = t->s->paragraphs || t->tiny, .document_mask = t->s->document_mask,
                            .seed = (uint64_t)r->seed};
    if (t->s->parse_special) hf_parse_special(&t->run.tok);
    mixture_open_cached(&t->corpus, &t->run.tok, o, r->cache, r->out);
    text_suffices(&t->corpus, &t->run.step.micro[0]);
    double tokens = (double)r->steps * (double)(r->batch * r->grad_accum * r->seq);
    say_corpus(&t->corpus, tokens, stderr);
    const size_t held = t->corpus.validation.count, T = (size_t)r->seq;
    text_hold(&t->run, held > 1 ? (held - 2) / T + 1 : 0, t->tiny);
}

/* ---- the loop ---- */

static void take_batches(trainer *t) {
    t->M = 0;
    for (int i = 0; i < t->run.step.micros; i++) {
        llm_corpus_next(&t->corpus, &t->run.step.micro[i]);
        t->M += llm_batch_targets(&t->run.step.micro[i]);
    }
}
/* One optimizer step. The loader delivers all micro-batches first: the denominator M is the number of targets of the
   whole step, so that the loss, in nats, does not depend on how the step is split. The one wait of a step is AdamW's: a
   GPU works on one micro-batch while the next is on its way; then all log-probabilities are there. Of many ranks each
   computes every ranks-th micro-batch (alone: rank 0 of 1). */
static const char *train_step(void *stage, double lr, double *measure) {
    trainer *t = stage;
    text_run *x = &t->run;
    llm_batch *micro = x->step.micro;
    double loss = 0;
    x->began = llm_now();
    if (!t->s->run.overfit || t->M == 0) take_batches(t);
    text_dump_step(x);
    for (int i = x->rank; i < x->step.dealt; i += x->ranks) {
        llm_loss_ce_weights(x->dlogp, &micro[i], t->M);
        llm_forward_backward(&x->model, &micro[i], x->dlogp, x->logp[i]);
    }
    const double gnorm = llm_adamw_step(&x->loop.adamw, &x->model, lr);
    text_logp(x);
    for (int i = 0; i < x->step.micros; i++) loss += llm_loss_ce(x->logp[i], &micro[i], t->M);
    text_step_done(x, loss, gnorm, measure);
    return NULL;
}
static bool window(void *stage, int index, llm_batch *b) {
    return llm_corpus_validation(&((trainer *)stage)->corpus, (size_t)index, b);
}
static char *state(void *stage, const char *dir) {
    char *position = llm_corpus_state(&((trainer *)stage)->corpus), *member = llm_format("\"data\": %s", position);
    (void)dir;
    llm_release(position);
    return member;
}
static void restore(void *stage, const char *dir, const llm_json *saved) {
    trainer *t = stage;
    (void)dir;
    if (t->s->run.overfit) return;      /* the first batch again */
    llm_corpus_restore(&t->corpus, llm_json_get(saved, "data"));
}
/* A few continuations, so that one sees the model learn. */
static void speak(void *stage, FILE *out, int count) {
    trainer *t = stage;
    for (int i = 0; i < count; i++) {
        llm_sampler s = llm_sampler_defaults();
        s.seed = (uint64_t)i;
        char *text = llm_generate(&t->run.model, &t->run.tok, "", llm_min((int)t->s->run.seq - 1, 100), s);
        fprintf(out, "  > %s\n", text);
        llm_release(text);
    }
}
static const run_stage pretraining = {"step", train_step, text_held_out, speak, state, restore, text_measure,
                                      TEXT_MEASURES};

/* ---- the end ---- */

/* The stage's part of out/report.html. */
static void write_report(trainer *t, double val, double bpb) {
    run_settings *r = &t->s->run;
    const llm_config *c = &t->run.model.c;
    stage_card card = stage_of(r, r->out, 1, "Pretraining");
    card.told = told_by(r->model, NULL);
    stage_text(&card, "%.2f M parameters: %d layers, %d channels, %d heads, vocabulary %d, context %d. %lld steps of "
                      "%lld tokens, seed %lld.", (double)llm_parameters(c) / 1e6, c->L, c->C, c->H, c->V, c->T,
               (long long)r->steps, (long long)(r->batch * r->grad_accum * r->seq), (long long)r->seed);
    stage_log(&card, "", r->log, t->tiny ? t->floor_bpb : NAN);
    char *text = text_printed(speak, t, 4);
    stage_note(&card, "what it writes", text);
    free(text);
    if (t->tiny)
        stage_end(&card, "%.4f bits per byte on held-out text, %.4f above its entropy", bpb, bpb - t->floor_bpb);
    else stage_end(&card, "%.4f bits per byte, %.4f nats per token on held-out text", bpb, val);
}
static void finish(trainer *t) {
    double bpb, val = text_evaluate(&t->run, &bpb);
    printf("samples\n");
    speak(t, stdout, 4);
    printf("validation: %.4f nats per token, %.4f bits per byte, on %.0f tokens\n", val, bpb, t->run.evaluated);
    if (t->tiny) {
        printf("floor %.4f, val %.4f, excess %.4f bits per byte\n", t->floor_bpb, bpb, bpb - t->floor_bpb);
        world_grammar(&t->run.model, &t->run.tok, 200);
    }
    PROGRESS(llm_result_save(t->s->run.out, &t->run.model, &t->run.tok), "saving %s", t->s->run.out);
    run_end_out(t->s->run.out, false);
    printf("saved %s\n", t->s->run.out);
    write_report(t, val, bpb);
}
/* --presets: the lectures' tables, and our other models. */
static void say_presets(void) {
    char text[32];
    lecture_say(stdout);
    printf("\nother presets\n  %-14s %10s %8s %8s %7s %7s %10s %7s %8s\n", "--preset", "parameters", "layers",
           "channels", "heads", "of keys", "vocabulary", "context", "rate");
    for (int i = 0; llm_preset_name(i); i++) {
        const llm_config c = llm_preset(llm_preset_name(i));
        if (lecture_find(llm_preset_name(i))) continue;
        printf("  %-14s %10s %8d %8d %7d %7d %10d %7d %8.1e\n", llm_preset_name(i),
               say_number(text, llm_parameters(&c)), c.L, c.C, c.H, c.KV, c.V, c.T, rate_for_width(c.C));
    }
}
/* --dry-run. */
static void plan(trainer *t, const llm_ops *op) {
    gpt_settings *s = t->s;
    llm_fleet *f = &s->fleet;
    if (s->tokenizer) hf_tokenizer_load(&t->run.tok, s->tokenizer);
    const llm_config c = choose_config(t);
    run_plan_flags(&s->run, "preset|depth|vocab|tokenizer|gpus|gpu-tflops|tokens|price|mfu|days|failure-rate|"
                            "checkpoint-time|wire|layer-wire");
    const bool fleet = f->gpus > 0 || f->days > 0;
    const double T = s->run.seq ? (double)s->run.seq : c.T;
    if (fleet && !(f->tokens > 0) && llm_option_given("steps"))
        f->tokens = (double)s->run.steps * (double)(s->run.batch * s->run.grad_accum) * T;
    const llm_fleet_estimate e = fleet ? llm_fleet_make(&c, f) : (llm_fleet_estimate){0};
    if (fleet && !(f->gpus > 0)) {      /* the deadline says how many; ranks that share a layer are whole groups */
        f->gpus = ceil(e.gpus / (double)s->run.tensors) * (double)s->run.tensors;
        printf("deadline: %g days are kept by %.0f GPUs\n", f->days, f->gpus);
        f->days = 0;
    }
    const team_wire wire = {f->tflops * e.mfu * 1e12, s->wire * 1e9, s->layer_wire * 1e9};
    s->run.planned = (int64_t)f->gpus;
    text_plan(&s->run, op, &c, c.T, 0, NULL, LLM_TYPE_REAL, f->tokens, fleet ? &wire : NULL);
    say_table(s, (int)T, stdout);
    if (fleet) say_fleet(&c, f, stdout);
    llm_tokenizer_free(&t->run.tok);
}
int main(int argc, char **argv) {
    run_patience(argv);
    ranks_open("train_gpt", &argc, &argv);
    gpt_settings s = gpt_defaults();
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        RUN_TEXT_OPTIONS(s.run),
        GPT_OPTIONS(s),
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "pretraining: from plain text to a model that speaks", argc, argv);
    gpt_check(&s);
    trainer t = {.s = &s, .run = {.s = &s.run, .window = window}};
    if (s.presets) {
        say_presets();
        return 0;
    }
    const llm_ops *op = run_device(&s.run);
    if (s.run.dry_run) {
        plan(&t, op);
        return 0;
    }
    choose_data(&t);
    run_guard(&s.run, s.run.out, s.tokenizer);
    char *checkpoint = run_open_out(&s.run);
    const char *from = checkpoint ? checkpoint : s.run.model;
    prepare_tokenizer(&t, from);
    prepare_model(&t, op, from);
    prepare_corpus(&t);
    if (t.tiny) t.floor_bpb = world_floor();
    llm_options_print(options, count, stderr);
    text_train(&t.run, checkpoint);
    finish(&t);
    llm_corpus_free(&t.corpus);
    text_free(&t.run);
    return 0;
}
