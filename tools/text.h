/* text.h: what the two stages that learn from text share, pretraining and fine-tuning: the batches of a step, the loss
   on held-out text, what a step measures. They differ in where their batches come from. The struct of a stage begins
   with its text_run, so that a pointer to the one points to the other. Included after say.h and run.h. */
#ifndef TEXT_H
#define TEXT_H

typedef struct {
    run_settings *s;
    run_loop loop;
    llm_tokenizer tok;
    llm_model model;
    llm_batch *micro;                   /* [grad_accum] one whole step */
    llm_real *dlogp, **logp;            /* (B,T) of one of them; [grad_accum] (B,T), there once AdamW has waited */
    bool (*window)(void *stage, int index, llm_batch *b);       /* batches of held-out text; false past the last */
    double nats, bytes;                 /* of the targets since the last step line: bits per byte */
    double peak, flops;                 /* FLOP/s of the machine, FLOP per token of the model */
    double masked;                      /* FLOP per token of attention's masked half, which nobody has to compute */
    double began;                       /* this step */
    FILE *dump;
} text_run;

/* What a step measures: loss, lr, gnorm, and these. */
enum {
    TEXT_BPB = RUN_GNORM + 1, TEXT_RATE, TEXT_KRATE, TEXT_PEAK, TEXT_MFU, TEXT_PALM, TEXT_VAL, TEXT_VAL_BPB,
    TEXT_MEASURES
};
static const run_measure text_measure[TEXT_MEASURES] = {
    {"loss", "train/loss", "loss %.3f"}, {"lr", "train/learning_rate", "lr %.1e"},
    {"gnorm", "train/grad_norm", "gnorm %.2f"}, {NULL, NULL, "bpb %.3f"}, {"tok_per_s", "train/tok_per_sec", NULL},
    {NULL, NULL, "%.1fk tok/s"}, {NULL, NULL, "%.0f%% peak"}, {NULL, NULL, "%.1f%% MFU"},
    {NULL, NULL, "%.1f%% as PaLM counts"}, {"val_loss", "val/loss", NULL}, {"val_bpb", "val/bpb", NULL}};

static inline void text_fits(int T, int context) {
    if (T < 2) llm_die("--seq of at least 2", "rows of 1 token hold nothing to predict from");
    if (T > context) llm_usage("a smaller --seq", "--seq %d is beyond the model's context of %d", T, context);
}
/* --dry-run: what it would take, in rows as text_length has them. rank: of adapters that learn alone, 0: none; tokens:
   of the run, 0: by its steps. */
static inline void text_plan(run_settings *r, const llm_ops *op, const llm_config *c, int longest, int rank,
                             const char *targets, llm_type weights, double tokens) {
    const int T = r->seq ? (int)r->seq : llm_min(c->T, longest);
    const double n = rank ? (double)llm_lora_parameters(c, rank, targets) : 0;
    text_fits(T, c->T);
    llm_plan p = run_planned(r, op, c, T, n, weights, 0, 0);
    if (tokens <= 0) tokens = (double)r->steps * (double)r->batch * (double)r->grad_accum * T;
    say_plan(&p, c, tokens, 0.6 * run_measured(op), stdout);   /* small models reach some 60 % of the product's peak */
}
/* The length of a row, when no flag says: the model's context, at most `longest`. */
static inline void text_length(text_run *x, int longest) {
    const int T = x->model.c.T;
    if (!x->s->seq) x->s->seq = llm_min(T, longest);
    text_fits((int)x->s->seq, T);
}
/* Too little text is refused where a batch is taken. Better before anything is written: so one is, and given back. */
static inline void text_suffices(llm_corpus *c, llm_batch *b) {
    char *state = llm_corpus_state(c);
    llm_json *here = llm_json_parse(state, strlen(state), "state", 1);
    llm_corpus_next(c, b);
    llm_corpus_restore(c, here);
    llm_json_free(here);
    llm_release(state);
}
/* Once the model is there: its gradients, the optimizer, the schedule (lr: when no flag says) and the batches. */
static inline void text_prepare(text_run *x, const run_stage *g, double lr) {
    run_settings *r = x->s;
    text_length(x, x->model.c.T);
    const llm_lora *lora = x->model.lora;
    double learns = 0;
    for (int i = 0; lora && i < lora->params; i++) learns += (double)lora->param[i].size;
    llm_plan plan = run_planned(r, x->model.ops, &x->model.c, (int)r->seq, learns, x->model.weights, 0, 0);
    x->flops = plan.flops_per_token;
    x->model.keep = run_keep(r);
    llm_model_train(&x->model);
    say_model(&x->model, stderr);
    if (x->model.lora) say_lora(&x->model, r->moments16, stderr);
    x->loop = (run_loop){.s = r, .g = g, .stage = x, .out = r->out, .csv = r->log, .tok = &x->tok,
                         .model = &x->model};
    run_learning(&x->loop, r->lr > 0 ? r->lr : lr, (int)r->warmup, (int)r->steps);
    x->micro = llm_alloc((size_t)r->grad_accum, sizeof *x->micro);
    x->logp = llm_alloc((size_t)r->grad_accum, sizeof *x->logp);
    for (int i = 0; i < r->grad_accum; i++) {
        x->micro[i] = llm_batch_new((int)r->batch, (int)r->seq);
        x->logp[i] = llm_alloc(llm_places(&x->micro[i]), sizeof **x->logp);
    }
    x->dlogp = llm_alloc(llm_places(&x->micro[0]), sizeof *x->dlogp);
    x->peak = run_peak(x->model.ops);
    const llm_config *c = &x->model.c;
    x->masked = 6.0 * c->L * (double)r->seq * c->H * c->D;
}
static inline void text_free(text_run *x) {
    for (int i = 0; x->micro && i < x->s->grad_accum; i++) {
        llm_batch_free(&x->micro[i]);
        llm_release(x->logp[i]);
    }
    llm_release_all(x->micro, x->dlogp, x->logp);
    llm_adamw_free(&x->loop.adamw, &x->model);
    llm_model_free(&x->model);
    llm_tokenizer_free(&x->tok);
}
/* For comparisons with other programs: every batch of the run as int32 (magic, B, T, steps; then tokens and targets of
   each step, a target that does not count as -1), and the untrained model as checkpoint-0. */
static inline void text_open_dump(text_run *x) {
    run_settings *r = x->s;
    int32_t header[] = {0x4c4c4d42, (int32_t)(r->batch * r->grad_accum), (int32_t)r->seq, (int32_t)r->steps};
    if (!r->dump) return;
    x->dump = fopen(r->dump, "wb");
    if (!x->dump || fwrite(header, sizeof header, 1, x->dump) != 1)
        llm_die("another --dump-batches", "cannot write %s: %s", r->dump, strerror(errno));
    llm_checkpoint_save(r->out, 0, &x->model, &x->loop.adamw, &x->tok, NULL, 1000000);
}
static inline void text_dump_step(text_run *x) {
    if (!x->dump) return;
    bool ok = true;
    for (int targets = 0; targets < 2; targets++)
        for (int i = 0; i < x->s->grad_accum; i++)
            for (size_t k = 0, n = (size_t)x->micro[i].B * (size_t)x->micro[i].T; k < n; k++) {
                int id = !targets ? x->micro[i].tokens[k] : x->micro[i].weight[k] != 0 ? x->micro[i].targets[k] : -1;
                ok = ok && fwrite(&id, sizeof id, 1, x->dump) == 1;
            }
    if (!ok || fflush(x->dump)) llm_die("free some space", "cannot write %s: %s", x->s->dump, strerror(errno));
}
/* A loss in nats (by the natural logarithm) per token cannot be compared between tokenizers, since long tokens are
   harder; bits per byte can: nats / (ln 2 * bytes). Adds the bytes of the targets that count and minus the sum of their
   log-probabilities. Special tokens are no text and have no bytes, so their nats do not count either. */
static inline void text_bits(const llm_batch *b, const llm_tokenizer *t, const llm_real *logp, double *nats,
                             double *bytes) {
    double logps = 0, lengths = 0;
    for (size_t i = 0; i < llm_places(b); i++) {
        if (b->weight[i] == 0 || t->special[b->targets[i]]) continue;
        logps += (double)b->weight[i] * logp[i];
        lengths += (double)b->weight[i] * t->length[b->targets[i]];
    }
    *nats -= logps;
    *bytes += lengths;
}
/* What there is to say about a step that was taken. */
static inline void text_step_done(text_run *x, double loss, double gnorm, double *m) {
    const run_settings *r = x->s;
    if (!isfinite(loss)) {
        char *saved = llm_checkpoint_newest(r->out);
        llm_die(saved ? "a lower --lr; the last checkpoint in --out is still good" : "a lower --lr, or another --model",
                "the loss is not a number at step %d", x->loop.step);
    }
    for (int i = 0; i < r->grad_accum; i++) text_bits(&x->micro[i], &x->tok, x->logp[i], &x->nats, &x->bytes);
    m[RUN_LOSS] = loss;
    m[RUN_GNORM] = gnorm;
    double rate = (double)(r->batch * r->grad_accum * r->seq) / (llm_now() - x->began);
    m[TEXT_RATE] = rint(rate);
    m[TEXT_KRATE] = rate / 1e3;
    const bool gpu = run_on_gpu(x->model.ops);  /* two customs: attention's masked half left out, or counted (PaLM) */
    m[gpu ? TEXT_MFU : TEXT_PEAK] = 100 * x->flops * rate / x->peak;
    if (gpu) m[TEXT_PALM] = 100 * (x->flops + x->masked) * rate / x->peak;
    m[TEXT_BPB] = x->nats / x->bytes / 0.6931471805599453;
    if (run_says(&x->loop, x->loop.step + 1)) x->nats = x->bytes = 0;
}
/* All inputs are read: from the first step, or the checkpoint's, to the last. */
static inline void text_train(text_run *x, char *checkpoint) {
    if (checkpoint) run_resume(&x->loop, checkpoint);
    llm_release(checkpoint);
    run_begin_out(x->s, x->s->out);
    text_open_dump(x);
    run_train(&x->loop);
}
/* Loss on held-out text: nats per target (returned) and bits per byte, which compare across tokenizers. */
static inline double text_evaluate(text_run *x, double *bpb) {
    double nats = 0, targets = 0, text = 0, bytes = 0;
    llm_batch b = llm_batch_new((int)x->s->batch, (int)x->s->seq);
    for (int i = 0; x->window(x->loop.stage, i, &b); i++) {
        llm_forward(&x->model, &b, x->logp[0], NULL, NULL);
        nats += llm_loss_ce(x->logp[0], &b, 1);
        targets += llm_batch_targets(&b);
        text_bits(&b, &x->tok, x->logp[0], &text, &bytes);
    }
    llm_batch_free(&b);
    *bpb = text / bytes / 0.6931471805599453;
    return nats / targets;
}
static inline void text_held_out(void *stage, double *m) {
    text_run *x = stage;
    m[TEXT_VAL] = text_evaluate(x, &m[TEXT_VAL_BPB]);
    fprintf(stderr, "step %d/%d | validation loss %.3f | bpb %.3f\n", x->loop.step, x->loop.steps, m[TEXT_VAL],
            m[TEXT_VAL_BPB]);
}

/* What a function prints, as text. */
static inline char *text_printed(void (*print)(void *stage, FILE *out, int count), void *stage, int count) {
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) llm_die("a machine with more memory", "cannot keep the samples: %s", strerror(errno));
    print(stage, f, count);
    fclose(f);
    return text;                        /* from malloc: free() it */
}
#endif
