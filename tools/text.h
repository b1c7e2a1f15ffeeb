/* text.h: what the two stages that learn from text share, pretraining and fine-tuning: the batches of a step, the loss
   on held-out text, what a step measures. They differ in where their batches come from. The struct of a stage begins
   with its text_run, so that a pointer to the one points to the other. Included after say.h and run.h. */
#ifndef TEXT_H
#define TEXT_H

/* A step's rows, cut into micro-batches, which the data ranks are dealt in turn: micro i is rank i % R's. Every rank
   reads all of them, and so knows what it does not compute. In the last round some ranks may get none: behind the
   `micros` there are empty ones, dealt as well, whose gradient is 0. */
typedef struct { llm_batch *micro; int micros, dealt; } text_deal;

typedef struct {
    run_settings *s;
    run_loop loop;
    llm_tokenizer tok;
    llm_model model;
    int rank, ranks;                    /* of the data ranks: this one and their number; alone: 0 and 1 */
    text_deal step;                     /* one whole step */
    llm_real *dlogp, **logp;            /* (B,T) of one of its micro-batches; [dealt] (B,T), there after text_logp */
    llm_real *logps;                    /* where those lie: first all of rank 0, then all of rank 1, ... */
    bool (*window)(void *stage, int index, llm_batch *b);       /* batches of held-out text; false past the last */
    size_t held, read;                  /* rows of held-out text, and how many of them an evaluation reads */
    double evaluated;                   /* targets of the last evaluation */
    double nats, bytes;                 /* of the targets since the last step line: bits per byte */
    double peak, flops;                 /* FLOP/s of the machines, FLOP per token of the model */
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
   of the run, 0: by its steps; wire: of the GPUs that are planned, or NULL. */
static inline void text_plan(run_settings *r, const llm_ops *op, const llm_config *c, int longest, int rank,
                             const char *targets, llm_type weights, double tokens, const team_wire *wire) {
    const int T = r->seq ? (int)r->seq : llm_min(c->T, longest), datas = run_data_ranks(r);
    const llm_config one = team_config(c, (int)r->tensors);
    const double n = rank ? (double)llm_lora_parameters(c, rank, targets) : 0;
    const double step = (double)r->batch * (double)r->grad_accum * T;
    text_fits(T, c->T);
    if (datas) r->rows = run_rows((int)r->batch, (int)r->grad_accum, datas);
    llm_plan p = run_planned(r, op, &one, T, n, weights, 0, 0);
    if (r->tensors > 1) {               /* the memory is one rank's, the work that of all who share the layers */
        const llm_plan whole = run_plan(r, op, c, T, false);
        p.parameters = whole.parameters;
        p.flops_per_token = whole.flops_per_token;
        p.flops_executed = whole.flops_executed;
    }
    if (tokens <= 0) tokens = (double)r->steps * step;
    /* small models reach some 60 % of the product's peak */
    say_plan(&p, c, tokens, datas ? 0 : 0.6 * run_measured(op), stdout);
    if (datas) say_team(&one, op, run_team(r), (double)r->rows * T, step * p.flops_executed,
                        r->recompute ? one.L - 1 : 0, wire, stdout);
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
/* `times` batches, each one micro-batch, or cut into equal ones where that makes fewer than `parts`, or than ranks. */
static inline text_deal text_deal_new(int batch, int times, int parts, int T) {
    const int ranks = llm_team ? llm_team->datas : 1, rows = run_rows(batch, times, llm_max(parts, ranks));
    text_deal d = {.micros = batch / rows * times};
    d.dealt = (d.micros + ranks - 1) / ranks * ranks;
    d.micro = llm_alloc((size_t)d.dealt, sizeof *d.micro);
    for (int i = 0; i < d.dealt; i++) d.micro[i] = llm_batch_new(rows, T);
    return d;
}
static inline void text_deal_free(text_deal *d) {
    for (int i = 0; i < d->dealt; i++) llm_batch_free(&d->micro[i]);
    llm_release(d->micro);
}
/* The step's micro-batches, and room for what the model says of them. */
static inline void text_cut(text_run *x) {
    const run_settings *r = x->s;
    const int size = ranks_size();
    x->rank = llm_team ? llm_team->data : 0;
    x->ranks = llm_team ? llm_team->datas : 1;
    if (r->batch * r->grad_accum < x->ranks)
        llm_usage("a larger --batch or --grad-accum, or fewer ranks",
                  "%lld sequences a step for %d ranks that share them",
                  (long long)(r->batch * r->grad_accum), x->ranks);
    x->step = text_deal_new((int)r->batch, (int)r->grad_accum, 1, (int)r->seq);
    if (x->step.micro[0].B < r->batch)
        fprintf(stderr, "ranks: micro-batches of %d sequences, %d in a step, so that every rank has one\n",
                x->step.micro[0].B, x->step.micros);
    const size_t n = llm_places(&x->step.micro[0]), rounds = (size_t)(x->step.dealt / x->ranks);
    x->logp = llm_alloc((size_t)x->step.dealt, sizeof *x->logp);
    x->logps = llm_alloc(llm_mul((size_t)size * rounds, n), sizeof *x->logps);
    x->dlogp = llm_alloc(n, sizeof *x->dlogp);
    for (int i = 0; i < x->step.dealt; i++) {           /* ranks that share every layer say the same: this one's word */
        const int tensors = llm_team ? llm_team->tensors : 1, tensor = llm_team ? llm_team->tensor : 0;
        const size_t rank = (size_t)(i % x->ranks * tensors + tensor);
        x->logp[i] = x->logps + (rank * rounds + (size_t)(i / x->ranks)) * n;
    }
}
/* What the ranks computed, each for its own, is everywhere from here on. After AdamW, which waits for the device. */
static inline void text_logp(text_run *x) {
    const size_t rounds = (size_t)(x->step.dealt / x->ranks);
    if (llm_team) llm_team->gather(x->logps, rounds * llm_places(&x->step.micro[0]) * sizeof *x->logps);
}
/* Once the model is there: its gradients, the optimizer, the schedule (lr: when no flag says) and the batches. */
static inline void text_prepare(text_run *x, const run_stage *g, double lr) {
    run_settings *r = x->s;
    text_length(x, x->model.c.T);
    const llm_lora *lora = x->model.lora;
    double learns = 0;
    for (int i = 0; lora && i < lora->params; i++) learns += (double)lora->param[i].size;
    if (llm_team) r->rows = run_rows((int)r->batch, (int)r->grad_accum, llm_team->datas);
    llm_plan plan = run_planned(r, x->model.ops, &x->model.c, (int)r->seq, learns, x->model.weights, 0, 0);
    x->flops = plan.flops_per_token;
    x->model.keep = run_keep(r);
    llm_model_train(&x->model);
    say_model(&x->model, stderr);
    if (x->model.lora) say_lora(&x->model, r->moments16, stderr);
    x->loop = (run_loop){.s = r, .g = g, .stage = x, .out = r->out, .csv = r->log, .tok = &x->tok,
                         .model = &x->model};
    run_learning(&x->loop, r->lr > 0 ? r->lr : lr, (int)r->warmup, (int)r->steps);
    text_cut(x);
    x->peak = run_peak(x->model.ops) * (llm_team ? llm_team->datas : 1);
    const llm_config *c = &x->model.c;
    x->masked = 6.0 * c->L * (double)r->seq * c->H * c->D;
}
static inline void text_free(text_run *x) {
    text_deal_free(&x->step);
    llm_release_all(x->dlogp, x->logp, x->logps);
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
    x->dump = fopen(llm_leads() ? r->dump : "/dev/null", "wb");
    if (!x->dump || fwrite(header, sizeof header, 1, x->dump) != 1)
        llm_die("another --dump-batches", "cannot write %s: %s", r->dump, strerror(errno));
    llm_checkpoint_save(r->out, 0, &x->model, &x->loop.adamw, &x->tok, NULL, 1000000);
}
static inline void text_dump_step(text_run *x) {
    if (!x->dump) return;
    bool ok = true;
    for (int targets = 0; targets < 2; targets++)
        for (int i = 0; i < x->step.micros; i++)
            for (size_t k = 0; k < llm_places(&x->step.micro[i]); k++) {
                const llm_batch *b = &x->step.micro[i];
                int id = !targets ? b->tokens[k] : b->weight[k] != 0 ? b->targets[k] : -1;
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
/* Per cent of the peak. The machine may have been busy when it was measured: what no machine can do measures it again,
   and what a step has done it can do. */
static inline double text_share(text_run *x, double flops) {
    if (flops > x->peak && !run_on_gpu(x->model.ops))
        x->peak = fmax(flops, run_peak(x->model.ops) * (llm_team ? llm_team->datas : 1));
    return 100 * flops / x->peak;
}
/* What there is to say about a step that was taken. */
static inline void text_step_done(text_run *x, double loss, double gnorm, double *m) {
    const run_settings *r = x->s;
    if (!isfinite(loss)) {
        char *saved = llm_checkpoint_newest(r->out);
        llm_die(saved ? "a lower --lr; the last checkpoint in --out is still good" : "a lower --lr, or another --model",
                "the loss is not a number at step %d", x->loop.step);
    }
    for (int i = 0; i < x->step.micros; i++)
        text_bits(&x->step.micro[i], &x->tok, x->logp[i], &x->nats, &x->bytes);
    m[RUN_LOSS] = loss;
    m[RUN_GNORM] = gnorm;
    double rate = (double)(r->batch * r->grad_accum * r->seq) / (llm_now() - x->began);
    m[TEXT_RATE] = rint(rate);
    m[TEXT_KRATE] = rate / 1e3;
    const bool gpu = run_on_gpu(x->model.ops);  /* two customs: attention's masked half left out, or counted (PaLM) */
    m[gpu ? TEXT_MFU : TEXT_PEAK] = text_share(x, x->flops * rate);
    if (gpu) m[TEXT_PALM] = 100 * (x->flops + x->masked) * rate / x->peak;
    m[TEXT_BPB] = x->nats / x->bytes / 0.6931471805599453;
    if (run_says(&x->loop, x->loop.step + 1)) x->nats = x->bytes = 0;
}
/* Ranks that train on different things would never notice. */
static inline void text_agree(text_run *x) {
    char *data = x->loop.g->state(x->loop.stage, x->s->out);
    char *all = llm_format("%s %s %016llx %s", x->s->device, x->s->precision, (unsigned long long)x->tok.hash, data);
    ranks_agree("device, precision, tokenizer or data", all);
    llm_release_all(data, all);
}
/* All inputs are read: from the first step, or the checkpoint's, to the last. */
static inline void text_train(text_run *x, char *checkpoint) {
    if (checkpoint) run_resume(&x->loop, checkpoint);
    llm_release(checkpoint);
    if (llm_team) text_agree(x);
    run_begin_out(x->s, x->s->out);
    text_open_dump(x);
    run_train(&x->loop);
}
/* How much of the held-out text (so many rows) an evaluation reads. Only forward, it costs a third of training: 15 % of
   what is trained in between are 5 % of the time. */
static inline void text_hold(text_run *x, size_t rows, bool all) {
    const run_settings *r = x->s;
    const int64_t between = r->eval_every && r->eval_every < r->steps ? r->eval_every : r->steps;
    const double trained = (double)between * (double)(r->batch * r->grad_accum * r->seq);
    const double most = r->eval_tokens < 0 ? fmax(8192, 0.15 * trained) : (double)r->eval_tokens;
    x->held = x->read = rows;
    if ((all && r->eval_tokens < 0) || !(most > 0) || !(most < (double)rows * (double)r->seq)) return;
    x->read = (size_t)ceil(most / (double)r->seq);
    fprintf(stderr, "an evaluation reads %zu of %zu held-out rows, evenly spread: %.0f tokens (--eval-tokens 0: all)\n",
            x->read, x->held, (double)x->read * (double)r->seq);
}
/* Window `index` of what an evaluation reads, row by row. */
static inline bool text_window(text_run *x, size_t index, llm_batch *b) {
    const size_t B = (size_t)b->B, T = (size_t)b->T;
    if (index * B >= x->read) return false;
    for (size_t i = 0; i < B; i++) {
        const size_t k = index * B + i, o = i * T;
        llm_batch row = {1, b->T, b->tokens + o, b->targets + o, b->positions + o, b->start + o, b->weight + o};
        if (k < x->read && x->window(x->loop.stage, (int)(k * x->held / x->read), &row)) continue;
        for (int t = 0; t < b->T; t++) {                /* no row: places that see themselves and predict nothing */
            row.tokens[t] = row.targets[t] = row.positions[t] = 0;
            row.start[t] = t;
            row.weight[t] = 0;
        }
    }
    return true;
}
/* Loss on held-out text: nats per target (returned) and bits per byte, which compare across tokenizers. Its windows
   are dealt as micro-batches are, and added in their order. */
static inline double text_evaluate(text_run *x, double *bpb) {
    typedef struct { double nats, targets, text, bytes; } sums;
    sums all = {0}, *of = llm_alloc((size_t)ranks_size(), sizeof *of);
    llm_batch b = llm_batch_new(x->step.micro[0].B, (int)x->s->seq);
    progress_begin("validation", 0, (double)x->read * (double)x->s->seq, "tokens");
    for (size_t i = 0; text_window(x, i, &b); i += (size_t)x->ranks) {
        sums *my = &of[llm_rank()];
        const bool mine = text_window(x, i + (size_t)x->rank, &b);      /* else: the first once more, for nothing */
        *my = (sums){0};
        llm_forward(&x->model, &b, x->dlogp, NULL, NULL);
        if (mine) {
            *my = (sums){llm_loss_ce(x->dlogp, &b, 1), llm_batch_targets(&b), 0, 0};
            text_bits(&b, &x->tok, x->dlogp, &my->text, &my->bytes);
        }
        if (llm_team) llm_team->gather(of, sizeof *of);
        for (int r = 0; r < ranks_size(); r += ranks_size() / x->ranks) {
            all.nats += of[r].nats;
            all.targets += of[r].targets;
            all.text += of[r].text;
            all.bytes += of[r].bytes;
        }
        progress_at((double)((i + (size_t)x->ranks) * llm_places(&b)));
    }
    progress_end();
    x->evaluated = all.targets;
    llm_batch_free(&b);
    llm_release(of);
    *bpb = all.text / all.bytes / 0.6931471805599453;
    return all.nats / all.targets;
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
/* New tokens begin alike (build/convert --add-tokens): whoever learns adapters alone would never tell them apart. */
static inline bool text_never_learned(llm_model *m, const llm_tokenizer *tok) {
    llm_real logp[2];
    if (tok->im_start < 0 || tok->im_end < 0) return false;
    llm_batch b = llm_batch_new(2, 1);
    b.tokens[0] = tok->im_start, b.tokens[1] = tok->im_end;
    llm_forward(m, &b, logp, NULL, NULL);
    llm_batch_free(&b);
    return logp[0] == logp[1];          /* what follows on either is the same, to the bit */
}
#endif
