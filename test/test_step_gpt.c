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
