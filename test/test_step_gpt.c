/* test_step_gpt.c: train_gpt's step on a device that is slow to answer (step_waits.h). The driver itself is
   included. */
#define main train_gpt_main
#include "../train_gpt.c"
#undef main
#include "step_waits.h"

static void steps_of(const char *folder, bool fake, double *x) {
    char *text = llm_format("%s/text.txt", folder);
    const char *data[] = {text};
    gpt_settings s = gpt_defaults();
    s.run = step_settings(data);
    s.run.seq = 32;
    s.preset = "nano";
    s.vocab = 300;
    s.paragraphs = true;
    trainer t = {.s = &s, .run = {.s = &s.run, .window = window}};
    prepare_tokenizer(&t, NULL);
    prepare_model(&t, counting(fake), NULL);
    prepare_corpus(&t);
    take_steps("train_gpt", &t, &t.run, x);
    check_validation("train_gpt", &t, &t.run);
    llm_corpus_free(&t.corpus);
    text_free(&t.run);
    llm_release(text);
}
/* An evaluation reads as many tokens as it is told to, in whole rows, evenly spread over the held-out text, however they
   are batched; and the next step learns from what it would have learned from without it. */
static void test_eval_tokens(const char *folder) {
    char *text = llm_format("%s/text.txt", folder), *before, *after;
    const char *data[] = {text};
    gpt_settings s = gpt_defaults();
    s.run = step_settings(data);
    s.run.seq = 16;
    s.run.eval_tokens = 4 * 16 + 1;
    s.preset = "nano";
    s.vocab = 300;
    s.paragraphs = true;
    s.val_fraction = 0.5;
    trainer t = {.s = &s, .run = {.s = &s.run, .window = window}};
    text_run *x = &t.run;
    prepare_tokenizer(&t, NULL);
    prepare_model(&t, llm_cpu(LLM_FP32), NULL);
    prepare_corpus(&t);
    CHECK(x->read == 5 && x->held > 2 * x->read, "65 tokens are 5 rows of %zu: %zu", x->held, x->read);
    CHECK(x->held == (t.corpus.validation.count - 2) / 16 + 1, "rows of %zu held-out tokens: %zu",
          t.corpus.validation.count, x->held);
    double bpb, nats = 0, targets = 0;
    before = llm_corpus_state(&t.corpus);
    const double val = text_evaluate(x, &bpb), told = x->evaluated;
    after = llm_corpus_state(&t.corpus);
    CHECK(!strcmp(before, after), "the corpus stands elsewhere: %s, %s", before, after);
    llm_batch b = llm_batch_new(1, 16);
    for (size_t i = 0; i < x->read; i++) {
        llm_corpus_validation(&t.corpus, i * x->held / 5, &b);
        llm_forward(&x->model, &b, x->dlogp, NULL, NULL);
        for (int k = 0; k < 16; k++) nats -= b.weight[k] != 0 ? (double)x->dlogp[k] : 0;
        targets += llm_batch_targets(&b);
    }
    CHECK(told == targets && targets >= 65, "on %g targets, not %g", told, targets);
    CHECK_SMALL(fabs(val - nats / targets), 1e-6, "validation %g, of those rows %g", val, nats / targets);
    s.run.eval_tokens = 0;
    text_hold(x, x->held, false);
    text_evaluate(x, &bpb);
    CHECK(x->read == x->held && x->evaluated == (double)t.corpus.validation.count - 1, "0: all: %g", x->evaluated);
    s.run.eval_tokens = -1, s.run.steps = 1000, s.run.eval_every = 100, s.run.batch = 64, s.run.grad_accum = 2;
    text_hold(x, 100000, false);
    CHECK(x->read == 1920, "15 %% of 100 steps of 128 rows: %zu", x->read);
    s.run.eval_every = 1;
    text_hold(x, 100000, false);
    CHECK(x->read == 512, "at least 8192 tokens: %zu", x->read);
    text_hold(x, 100000, true);
    CHECK(x->read == 100000, "all of the tiny world: %zu", x->read);
    x->peak = 1;                        /* measured while the machine was busy */
    CHECK_SMALL(text_share(x, 2), 100, "no step does more than the machine can");
    CHECK(x->peak > 1e6, "it is measured again: %g", x->peak);
    const double peak = x->peak;
    CHECK(text_share(x, 2 * peak) <= 100 && x->peak >= 2 * peak, "and what was done can be done");
    llm_batch_free(&b);
    llm_corpus_free(&t.corpus);
    text_free(x);
    llm_release_all(text, before, after);
}
/* The optimizer and the schedule are what the flags say. */
static void test_settings(void) {
    CHECK(fabs(rate_for_width(96) / 3e-3 - 1) < 1e-12 && fabs(rate_for_width(768) / 6e-4 - 1) < 1e-3,
          "3e-3 at 96 channels, GPT-3's 6e-4 at 768: %g, %g", rate_for_width(96), rate_for_width(768));
    CHECK(gpt_defaults().run.weight_decay == 0.1, "GPT-3's weight decay by default");
    gpt_settings own = gpt_defaults(), table = own, folder = own;
    table.preset = folder.preset = "llama-7b";
    folder.run.model = "out/base";      /* has another size, and whatever rate suits it */
    CHECK(usual_rate(&own, 96) == rate_for_width(96) && usual_rate(&folder, 96) == rate_for_width(96), "by the width");
    CHECK(usual_rate(&table, 4096) == 3e-4, "LLaMA's table, by the lecture: %g", usual_rate(&table, 4096));
    run_settings r = gpt_defaults().run;
    run_loop x = {.s = &r};
    r.schedule = "wsd";
    r.lr_final = 0;
    r.weight_decay = 0.25, r.clip = 3, r.skip_sigma = 7, r.moments16 = true;
    run_learning(&x, 2, 10, 100);
    CHECK(x.adamw.weight_decay == 0.25 && x.adamw.clip == 3 && x.adamw.skip_sigma == 7 && x.adamw.moments16,
          "decay %g, clip %g, sigma %g", x.adamw.weight_decay, x.adamw.clip, x.adamw.skip_sigma);
    CHECK(llm_schedule_lr(&x.schedule, 79) == 2, "wsd: stable until the last fifth: %g",
          llm_schedule_lr(&x.schedule, 79));
    CHECK(fabs(llm_schedule_lr(&x.schedule, 90) - 1) < 0.11, "half of it is half the way down: %g",
          llm_schedule_lr(&x.schedule, 90));
}
int main(void) {
    double x[2][3 * STEPS], whole[3 * STEPS];
    char *folder = make_folder();
    test_settings();
    test_eval_tokens(folder);
    for (int fake = 0; fake < 2; fake++) steps_of(folder, fake, x[fake]);
    compare_steps("train_gpt", x[0], x[1]);
    micros = 1;                         /* the same rows in one piece: the same step */
    steps_of(folder, 0, whole);
    for (int i = 0; i < 3; i++)
        CHECK(fabs(whole[i] / x[0][i] - 1) < 1e-4, "train_gpt: in one piece %g, in %d %g", whole[i], MICROS, x[0][i]);
    remove_tree(folder);
    llm_release(folder);
    return checks_done();
}
