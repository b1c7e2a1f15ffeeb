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
    llm_corpus_free(&t.corpus);
    text_free(&t.run);
    llm_release(text);
}
int main(void) {
    double x[2][3 * STEPS], whole[3 * STEPS];
    char *folder = make_folder();
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
