/* train_gpt.c: stage 1 of the lecture, pretraining. Text becomes tokens, and a model learns to predict the next one.

       ./train_gpt                             the tiny world: writes it, trains tokenizer and model in two minutes -> out/base
       ./train_gpt --data book.txt             your own text: files and folders
       ./train_gpt --preset gpt3-xl --dry-run  what it would take: parameters, memory, FLOPs, time

   The loop is the whole lecture on one line: logp = log p(next token), loss = -mean(logp), dlogp = -1/M, step downhill. */

#define LLM_IMPLEMENTATION
#include "llm.h"
#include "data/tinyworld.h"
#include "tools/run.h"

typedef struct {
    run_settings run;
    const char *preset, *tokenizer, *dump;
    int64_t depth, vocab;
    bool document_mask, paragraphs;
    double val_fraction;
    llm_fleet fleet;
} settings;

typedef struct {
    settings *s;
    bool tiny;                          /* the world whose floor we know */
    llm_tokenizer tok;
    llm_corpus corpus;
    llm_model model;
    llm_adamw adamw;
    llm_schedule schedule;
    llm_batch *micro;                   /* [grad_accum] one whole step */
    llm_real *dlogp, *logp;             /* (B,T) */
    int step;
    double peak, floor_bpb;
    FILE *log, *dump;
} trainer;

static const char world_folder[] = "out/world";

/* ---- preparing ---- */

/* Where the text is: the tiny world, written on first use, or the user's own. */
static void choose_data(trainer *t) {
    run_settings *r = &t->s->run;
    t->tiny = r->data.count == 0;
    if (!t->tiny) return;
    static const char *world[] = {world_folder};
    if (!llm_exists("out/world/world.json")) {
        llm_make_dirs(world_folder);
        if (tw_write_all(world_folder, 7)) llm_die("check the folder", "cannot write the tiny world to %s", world_folder);
        fprintf(stderr, "wrote the tiny world to %s\n", world_folder);
    }
    r->data = (llm_list){world, 1};
}
/* The tokenizer should also know the words of stage 2: a question then takes 29 tokens instead of 50. */
static char *add_instructions(char *text, size_t *size) {
    static const char *path[] = {"out/world/sft_train.jsonl"};
    size_t capacity = *size;
    llm_records r;
    llm_records_read(&r, path, 1, NULL, false);
    for (int i = 0; i < r.count; i++)
        for (int j = 0; j < r.record[i].messages; j++) {
            const llm_message *m = &r.record[i].message[j];
            text = llm_grow(text, &capacity, *size + m->length + 2, 1);
            memcpy(text + *size, m->text, m->length);
            text[*size + m->length] = '\n';
            *size += m->length + 1;
        }
    llm_records_free(&r);
    return text;
}
/* From --model or the checkpoint its own; else --tokenizer; else a new one, trained on the text. */
static void prepare_tokenizer(trainer *t, const char *from) {
    run_settings *r = &t->s->run;
    if (from || t->s->tokenizer) {
        llm_tokenizer_load(&t->tok, from ? from : t->s->tokenizer);
        return;
    }
    size_t size;
    double began = llm_now();
    char *text = llm_corpus_text(r->data.item, r->data.count, (size_t)64 << 20, &size);
    if (t->tiny) text = add_instructions(text, &size);
    llm_tokenizer_train(&t->tok, text, size, (int)t->s->vocab, true);
    fprintf(stderr, "tokenizer: %d tokens from %.2f MB of text in %.1f s\n", t->tok.vocab_size, (double)size / 1e6, llm_now() - began);
    llm_release(text);
}
static llm_config choose_config(trainer *t) {
    settings *s = t->s;
    llm_config c = s->depth ? llm_depth((int)s->depth, t->tok.vocab_size, 128) : llm_preset(s->preset);
    const char *note = s->depth ? NULL : llm_preset_note(s->preset);
    if (note) fprintf(stderr, "note: %s: %s\n", s->preset, note);
    if (s->run.seq) c.T = (int)s->run.seq;
    if (t->tok.vocab_size) {            /* a dry run may know the preset's vocabulary only */
        c.V = t->tok.vocab_size;
        c.bos = t->tok.bos;
        c.eos = t->tok.eos;
        c.pad = t->tok.pad;
    }
    return c;
}
/* A peak learning rate for the width, when none is given: 3e-3 at our 96 channels, GPT-3's 6e-4 at its 768. */
static double rate_for_width(int C) { return 3e-3 * pow(96.0 / C, 0.774); }

static void print_plan(trainer *t, const llm_ops *op, const llm_config *c) {
    run_settings *r = &t->s->run;
    int T = r->seq ? (int)r->seq : c->T;
    llm_plan plan = llm_plan_make(c, op, (int)r->batch, T, true, r->recompute, r->moments16);
    double tokens = (double)r->steps * (double)r->batch * (double)r->grad_accum * T;
    if (t->s->fleet.tokens > 0) tokens = t->s->fleet.tokens;
    llm_plan_print(&plan, c, tokens, 0.6 * run_peak(op), stdout);      /* small models reach some 60 % of the product's peak */
    if (t->s->fleet.gpus > 0) llm_fleet_print(c, &t->s->fleet, stdout);
}
static void prepare_model(trainer *t, const llm_ops *op, const char *from) {
    run_settings *r = &t->s->run;
    if (from) {
        llm_model_load(&t->model, from, op);
        if (t->model.c.V < t->tok.vocab_size)
            llm_die("the folder's own tokenizer", "the tokenizer has %d tokens, the model %d", t->tok.vocab_size, t->model.c.V);
    } else {
        llm_config c = choose_config(t);
        llm_model_init(&t->model, &c, op, (uint64_t)r->seed);
    }
    if (!r->seq) r->seq = t->model.c.T;
    if (r->seq > t->model.c.T) llm_usage("a smaller --seq", "--seq %d is beyond the model's context of %d", (int)r->seq, t->model.c.T);
    t->model.recompute = r->recompute;
    llm_model_train(&t->model);
    llm_model_print(&t->model, stderr);
    t->adamw = llm_adamw_defaults();
    t->adamw.weight_decay = r->weight_decay;
    t->adamw.clip = r->clip;
    t->adamw.skip_sigma = r->skip_sigma;
    t->adamw.moments16 = r->moments16;
    static const char *decays[] = {"cosine", "linear", "constant", "wsd"};
    t->schedule = (llm_schedule){LLM_COSINE, r->lr > 0 ? r->lr : rate_for_width(t->model.c.C), r->lr_final, (int)r->warmup,
                                 (int)r->steps, (int)r->steps / 5};
    for (int i = 0; i < 4; i++)
        if (!strcmp(r->schedule, decays[i])) t->schedule.decay = (llm_decay)i;
}
static void prepare_corpus(trainer *t) {
    run_settings *r = &t->s->run;
    llm_corpus_open(&t->corpus, &t->tok, r->data.item, NULL, r->data.count, r->val_data.item, r->val_data.count, t->s->val_fraction,
                    t->s->paragraphs || t->tiny, t->s->document_mask, (uint64_t)r->seed);
    double tokens = (double)r->steps * (double)(r->batch * r->grad_accum * r->seq);
    llm_corpus_print(&t->corpus, tokens, stderr);
    t->micro = llm_alloc((size_t)r->grad_accum, sizeof *t->micro);
    for (int i = 0; i < r->grad_accum; i++) t->micro[i] = llm_batch_new((int)r->batch, (int)r->seq);
    t->dlogp = llm_alloc((size_t)(r->batch * r->seq), sizeof *t->dlogp);
    t->logp = llm_alloc((size_t)(r->batch * r->seq), sizeof *t->logp);
}

/* The entropy of the validation text, bits per byte: no model can be better. The generator knows it, real text hides it. */
static double read_floor(void) {
    llm_json *floor = llm_json_file("out/world/floor.json");
    double bits = llm_json_number(floor, "floor_bits_per_byte", NAN);
    llm_json_free(floor);
    return bits;
}

/* For comparisons with other programs: every batch of the run as int32 (magic, B, T, steps; then tokens and targets of each step),
   and the untrained model as checkpoint-0. */
static void open_dump(trainer *t) {
    run_settings *r = &t->s->run;
    int32_t header[] = {0x4c4c4d42, (int32_t)(r->batch * r->grad_accum), (int32_t)r->seq, (int32_t)r->steps};
    t->dump = fopen(t->s->dump, "wb");
    if (!t->dump || fwrite(header, sizeof header, 1, t->dump) != 1)
        llm_die("another --dump-batches", "cannot write %s: %s", t->s->dump, strerror(errno));
    llm_checkpoint_save(r->out, 0, &t->model, &t->adamw, &t->tok, NULL, 1000000);
}
static void dump_step(trainer *t) {
    size_t N = (size_t)t->micro[0].B * (size_t)t->micro[0].T;
    bool ok = true;
    for (int i = 0; i < t->s->run.grad_accum; i++) ok = ok && fwrite(t->micro[i].tokens, sizeof(int), N, t->dump) == N;
    for (int i = 0; i < t->s->run.grad_accum; i++) ok = ok && fwrite(t->micro[i].targets, sizeof(int), N, t->dump) == N;
    if (!ok || fflush(t->dump)) llm_die("free some space", "cannot write %s: %s", t->s->dump, strerror(errno));
}

/* ---- the loop ---- */

/* One optimizer step; returns the mean loss in nats. The loader delivers all micro-batches first: the denominator M is the number
   of targets of the whole step, so that the loss does not depend on how the step is split. */
static double train_step(trainer *t, double lr, double *norm) {
    run_settings *r = &t->s->run;
    double M = 0, loss = 0;
    for (int i = 0; i < r->grad_accum; i++) {
        if (!r->overfit || t->step == 0) llm_corpus_next(&t->corpus, &t->micro[i]);
        M += llm_batch_targets(&t->micro[i]);
    }
    if (t->dump) dump_step(t);
    for (int i = 0; i < r->grad_accum; i++) {
        llm_loss_ce_weights(t->dlogp, &t->micro[i], M);
        llm_forward_backward(&t->model, &t->micro[i], t->dlogp, t->logp);
        loss += llm_loss_ce(t->logp, &t->micro[i], M);
    }
    if (!isfinite(loss)) llm_die("a lower --lr; the last checkpoint in --out is still good", "the loss is not a number at step %d", t->step);
    *norm = llm_adamw_step(&t->adamw, &t->model, lr);
    return loss;
}
/* Loss on held-out documents: nats per token (returned) and bits per byte, which compare across tokenizers. */
static double evaluate(trainer *t, double *bpb) {
    double nats = 0, targets = 0, bits = 0, bytes = 0;
    llm_batch b = llm_batch_new((int)t->s->run.batch, (int)t->s->run.seq);
    for (size_t i = 0; llm_corpus_validation(&t->corpus, i, &b); i++) {
        llm_forward(&t->model, &b, t->logp, NULL, NULL);
        for (size_t n = 0; n < (size_t)b.B * (size_t)b.T; n++) {
            if (b.weight[n] == 0) continue;
            nats -= (double)t->logp[n];
            targets++;
            if (t->tok.special[b.targets[n]]) continue;
            bits -= (double)t->logp[n] / 0.6931471805599453;
            bytes += t->tok.length[b.targets[n]];
        }
    }
    llm_batch_free(&b);
    *bpb = bits / bytes;
    return nats / targets;
}
/* A few continuations, so that one sees the model learn. */
static void speak(trainer *t, FILE *out, int count) {
    for (int i = 0; i < count; i++) {
        llm_sampler s = llm_sampler_defaults();
        s.seed = (uint64_t)i;
        char *text = llm_generate(&t->model, &t->tok, "", int_min((int)t->s->run.seq - 1, 100), s, NULL, NULL);
        fprintf(out, "  > %s\n", text);
        llm_release(text);
    }
}
static void save_checkpoint(trainer *t) {
    char *state = llm_corpus_state(&t->corpus), *member = llm_format("\"data\": %s", state);
    llm_checkpoint_save(t->s->run.out, t->step, &t->model, &t->adamw, &t->tok, member, (int)t->s->run.keep);
    llm_release(state);
    llm_release(member);
}
static void report_step(trainer *t, double loss, double norm, double lr, double seconds, double done, double val, double bpb) {
    run_settings *r = &t->s->run;
    double tokens = (double)(r->batch * r->grad_accum * r->seq), rate = tokens / seconds;
    double nats_per_byte = 0, bytes = 0, share = llm_plan_make(&t->model.c, t->model.ops, (int)r->batch, (int)r->seq, true,
                                                                r->recompute, r->moments16).flops_per_token * rate / t->peak;
    for (int i = 0; i < r->grad_accum; i++) bytes += llm_batch_bytes(&t->micro[i], &t->tok);
    nats_per_byte = bytes > 0 ? loss * tokens / bytes : NAN;
    char eta[32];
    int every = int_max(1, (int)r->steps / 40);
    if (t->step % every == 0 || t->step == (int)r->steps)
        fprintf(stderr, "step %d/%d | loss %.3f | bpb %.3f | lr %.1e | gnorm %.2f | %.1fk tok/s | %.0f%% peak | eta %s\n", t->step,
                (int)r->steps, loss, nats_per_byte / 0.6931471805599453, lr, norm, rate / 1e3, 100 * share,
                run_time(done * ((double)r->steps - t->step), eta));
    fprintf(t->log, "%d,%.9g,%.9g,%.9g,%.0f,", t->step, loss, lr, norm, rate);
    if (!isnan(val)) fprintf(t->log, "%.9g,%.9g\n", val, bpb);
    else fprintf(t->log, ",\n");
    fflush(t->log);
}
static void train(trainer *t) {
    run_settings *r = &t->s->run;
    t->log = run_open_log(r, "step,loss,lr,gnorm,tok_per_s,val_loss,val_bpb", t->step + 1);
    t->peak = run_peak(t->model.ops);
    run_catch_signals();
    double began = llm_now();
    int first = t->step;
    while (t->step < r->steps && !run_stopping) {
        double from = llm_now(), norm, lr = llm_schedule_lr(&t->schedule, t->step);
        double loss = train_step(t, lr, &norm), seconds = llm_now() - from, val = NAN, bpb = NAN;
        t->step++;
        if (r->eval_every && t->step % r->eval_every == 0) {
            val = evaluate(t, &bpb);
            fprintf(stderr, "step %d/%d | validation loss %.3f | bpb %.3f\n", t->step, (int)r->steps, val, bpb);
        }
        report_step(t, loss, norm, lr, seconds, (llm_now() - began) / (t->step - first), val, bpb);
        if (r->sample_every && t->step % r->sample_every == 0) speak(t, stderr, 2);
        if (r->save_every && t->step % r->save_every == 0 && t->step < r->steps) save_checkpoint(t);
    }
    fclose(t->log);
    if (!run_stopping) return;
    save_checkpoint(t);
    fprintf(stderr, "interrupted at step %d, saved. To go on: the same command with --resume\n", t->step);
    exit(128 + run_stopping);
}

/* ---- the end ---- */

/* How many sampled sentences does the world's own grammar accept? */
static void grammar_report(trainer *t, int sentences) {
    enum { ROWS = 64, NEW = 120 };
    int total = 0, good = 0, *out[ROWS], length[ROWS], bos = t->tok.bos, one[ROWS];
    const int *prompt[ROWS];
    bool stopped[ROWS];
    for (int i = 0; i < ROWS; i++) {
        out[i] = llm_alloc(NEW, sizeof(int));
        prompt[i] = &bos;
        one[i] = 1;
    }
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 1;
    llm_generate_batch(&t->model, &s, prompt, one, ROWS, int_min(NEW, t->model.c.T - 1), t->tok.stop, t->tok.stops, NULL, out, length, stopped, NULL);
    for (int i = 0; i < ROWS; i++) {
        int all = 0, ok = 0;
        char *text = llm_decode(&t->tok, out[i], (size_t)length[i], false, NULL);
        if (stopped[i] && total < sentences) {
            tw_parse_sentences(text, &all, &ok);
            total += all;
            good += ok;
        }
        llm_release(text);
        llm_release(out[i]);
    }
    printf("grammar: %d of %d sampled sentences parse (%.1f %%)\n", good, total, 100.0 * good / int_max(total, 1));
}
static void finish(trainer *t) {
    double bpb, val = evaluate(t, &bpb);
    printf("samples\n");
    speak(t, stdout, 4);
    printf("validation: %.4f nats per token, %.4f bits per byte\n", val, bpb);
    if (t->tiny) {
        printf("floor %.4f, val %.4f, excess %.4f bits per byte\n", t->floor_bpb, bpb, bpb - t->floor_bpb);
        grammar_report(t, 200);
    }
    llm_result_save(t->s->run.out, &t->model, &t->tok);
    printf("saved %s\n", t->s->run.out);
}
static void free_all(trainer *t) {
    for (int i = 0; i < t->s->run.grad_accum; i++) llm_batch_free(&t->micro[i]);
    llm_release(t->micro);
    llm_release(t->dlogp);
    llm_release(t->logp);
    llm_corpus_free(&t->corpus);
    llm_adamw_free(&t->adamw, &t->model);
    llm_model_free(&t->model);
    llm_tokenizer_free(&t->tok);
}

int main(int argc, char **argv) {
    static settings s = {.preset = "tiny", .vocab = 768, .val_fraction = 0.05, .document_mask = true, .fleet = {.mfu = 0}};
    s.run = run_defaults();
    s.run.out = "out/base";
    s.run.steps = 600;
    s.run.batch = 16;
    s.run.warmup = 30;
    s.run.eval_every = 200;
    llm_option options[] = {
        RUN_OPTIONS(s.run),
        {"pretraining", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"preset", LLM_TEXT, &s.preset, 0, 0, "model by name; a wrong name lists them", NULL, NULL},
        {"depth", LLM_INT, &s.depth, 0, 1000, "layers; width, heads and learning rate follow. 0: --preset", NULL, NULL},
        {"vocab", LLM_INT, &s.vocab, 262, 1 << 20, "size of a new tokenizer", NULL, "vocab-size"},
        {"tokenizer", LLM_TEXT, &s.tokenizer, 0, 0, "use this tokenizer.json instead of training one", NULL, NULL},
        {"document-mask", LLM_BOOL, &s.document_mask, 0, 0, "tokens see only their own document", NULL, NULL},
        {"paragraphs", LLM_BOOL, &s.paragraphs, 0, 0, "blank lines separate documents (else: one document a file)", NULL, NULL},
        {"val-fraction", LLM_FLOAT, &s.val_fraction, 0.0001, 0.9, "part of the documents held out", NULL, NULL},
        {"dump-batches", LLM_TEXT, &s.dump, 0, 0, "write all batches to this file, and checkpoint-0, for comparisons", NULL, NULL},
        {"planning (with --dry-run)", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},
        {"gpus", LLM_FLOAT, &s.fleet.gpus, 0, 1e9, "number of GPUs", NULL, NULL},
        {"gpu-tflops", LLM_FLOAT, &s.fleet.tflops, 0, 1e6, "peak of one, TFLOP/s", NULL, NULL},
        {"tokens", LLM_FLOAT, &s.fleet.tokens, 0, 1e18, "training tokens", NULL, NULL},
        {"price", LLM_FLOAT, &s.fleet.price, 0, 1e6, "dollars per GPU hour", NULL, NULL},
        {"mfu", LLM_FLOAT, &s.fleet.mfu, 0, 1, "share of the peak that is reached; 0: 0.4", NULL, NULL},
    };
    int count = sizeof options / sizeof options[0];
    llm_options_parse(options, count, "pretraining: from plain text to a model that speaks", argc, argv);
    trainer t = {.s = &s};
    const llm_ops *op = run_device(&s.run);
    if (s.run.dry_run) {
        llm_config c = choose_config(&t);
        print_plan(&t, op, &c);
        return 0;
    }
    choose_data(&t);
    char *checkpoint = run_open_out(&s.run);
    const char *from = checkpoint ? checkpoint : s.run.model;
    prepare_tokenizer(&t, from);
    prepare_model(&t, op, from);
    prepare_corpus(&t);
    if (t.tiny) t.floor_bpb = read_floor();
    llm_options_print(options, count, stderr);
    if (checkpoint) {
        llm_json *state = llm_checkpoint_resume(checkpoint, &t.model, &t.adamw, &t.tok);
        t.step = (int)llm_json_number(state, "step", 0);
        llm_corpus_restore(&t.corpus, llm_json_get(state, "data"));
        llm_json_free(state);
        fprintf(stderr, "resumed %s at step %d\n", checkpoint, t.step);
    }
    llm_release(checkpoint);
    if (s.dump) open_dump(&t);
    train(&t);
    if (t.dump) fclose(t.dump);
    finish(&t);
    free_all(&t);
    return 0;
}
