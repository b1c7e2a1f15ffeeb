/* test_step_sft.c: train_sft's step on a device that is slow to answer (step_waits.h): alone, with pretraining text
   read along, with adapters. The driver itself is included. */
#define main train_sft_main
#include "../train_sft.c"
#undef main
#include "step_waits.h"

static char *records;                   /* a file of conversations */

static void make_base(const char *folder) {
    llm_tokenizer tok;
    llm_model m;
    size_t size;
    char *path = llm_format("%s/text.txt", folder), *text = llm_read_file(path, &size);
    llm_tokenizer_train(&tok, text, size, 300, true);
    llm_config c = llm_preset("nano");
    c.V = tok.vocab_size;
    llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
    llm_result_save(folder, &m, &tok);
    llm_model_free(&m);
    llm_tokenizer_free(&tok);
    llm_release_all(path, text);
    records = llm_format("%s/records.jsonl", folder);
    llm_writer w = llm_write_begin(records);
    for (int i = 0; i < 200; i++)
        llm_write_text(&w, "{\"instruction\": \"count to %d\", \"output\": \"%.*s\"}\n", i % 7, 2 * (i % 7) + 1,
                       "1 2 3 4 5 6 7");
    llm_write_done(&w);
}
static void steps_of(const char *what, char *folder, bool ptx, bool lora, bool fake, double *x) {
    char *text = llm_format("%s/text.txt", folder);
    const char *data[] = {records}, *read[] = {text};
    sft_settings s = sft_defaults();
    s.run = step_settings(data);
    s.run.model = folder;
    s.ptx = ptx ? 0.5 : 0;
    s.ptx_data = (llm_list){read, ptx};
    s.ptx_batch = 2;
    s.lora_rank = lora ? 2 : 0;
    trainer t = {.s = &s, .run = {.s = &s.run, .window = window}};
    prepare_model(&t, counting(fake), folder);
    take_steps(what, &t, &t.run, x);
    check_validation(what, &t, &t.run);
    close_all(&t);
    llm_release(text);
}
/* A trainer on the CPU that has taken `steps` steps; returns the first one's gradient norm. */
static double open_trainer(trainer *t, sft_settings *s, char *folder, int steps) {
    static const char *data[1], *read[1];
    double m[RUN_MEASURES], norm = 0;
    const bool overfit = s->run.overfit;
    data[0] = records;
    read[0] = llm_format("%s/text.txt", folder);
    s->run = step_settings(data);
    s->run.model = folder;
    s->run.overfit = overfit;
    s->ptx_data = (llm_list){read, s->ptx > 0};
    s->ptx_batch = 2;
    *t = (trainer){.s = s, .run = {.s = &s->run, .window = window}};
    prepare_model(t, llm_cpu(LLM_FP32), folder);
    llm_release((char *)read[0]);
    for (int i = 0; i < steps; i++) {
        train_step(t, 1e-3, m);
        t->run.loop.step++;
        if (!i) norm = m[RUN_GNORM];
    }
    return norm;
}
/* L = L_sft + gamma L_ptx: the gradient is a + gamma b, the square of its norm A + gamma B + gamma^2 C. */
static void test_ptx(char *folder) {
    static const double gamma[] = {0, 0.5, 1, 2};
    double f[4];
    for (int i = 0; i < 4; i++) {
        trainer t = {0};
        sft_settings s = sft_defaults();
        s.ptx = gamma[i];
        f[i] = open_trainer(&t, &s, folder, 1);
        f[i] *= f[i];
        if (i == 3) {                   /* what is read along goes on where a checkpoint was */
            char *member = state(&t, NULL), *text = llm_format("{%s}", member);
            llm_json *saved = llm_json_parse(text, strlen(text), "state", 1);
            llm_batch *b = &t.old.micro[0];
            int next[2 * LONGEST];
            const size_t n = llm_places(b);
            llm_corpus_next(&t.text, b);
            memcpy(next, b->tokens, n * sizeof *next);
            llm_corpus_next(&t.text, b);
            CHECK(memcmp(next, b->tokens, n * sizeof *next), "other rows follow");
            restore(&t, NULL, saved);
            llm_corpus_next(&t.text, b);
            CHECK(!memcmp(next, b->tokens, n * sizeof *next), "--ptx-data after a checkpoint: the rows that came next");
            llm_json_free(saved);
            llm_release_all(member, text);
        }
        close_all(&t);
    }
    const double C = 2 * (f[2] - f[0]) - 4 * (f[1] - f[0]), B = f[2] - f[0] - C, want = f[0] + 2 * B + 4 * C;
    CHECK(fabs(f[2] - f[0]) > 0.1 * f[0] && fabs(f[3] / want - 1) < 1e-3, "--ptx 0, 0.5, 1, 2: %g %g %g %g, not %g",
          f[0], f[1], f[2], f[3], want);
}
static void test_flags(char *folder) {
    trainer t = {0};
    sft_settings s = sft_defaults();
    CHECK(s.run.weight_decay == 0, "no weight decay by default");
    open_trainer(&t, &s, folder, 0);
    size_t learned = 0, all = t.data.begin[t.data.count];
    for (size_t i = 0; i < all; i++) learned += t.data.mask[i];
    CHECK(learned > 0 && learned < all, "the answers count: %zu of %zu", learned, all);
    CHECK(!text_never_learned(&t.run.model, &t.run.tok), "tokens that were drawn differ");
    llm_model *m = &t.run.model;
    const size_t C = (size_t)m->c.C;
    memcpy(m->wte->data + (size_t)t.run.tok.im_end * C,
           m->wte->data + (size_t)t.run.tok.im_start * C, C * sizeof(llm_real));
    llm_weights_changed(m);
    CHECK(text_never_learned(m, &t.run.tok), "equal rows have never learned");
    close_all(&t);
    s = sft_defaults();
    s.loss_on_prompt = true;
    open_trainer(&t, &s, folder, 0);
    for (size_t i = learned = 0; i < all; i++) learned += t.data.mask[i];
    CHECK(learned == all, "--loss-on-prompt: all count: %zu of %zu", learned, all);
    close_all(&t);
    for (int one = 0; one < 2; one++) {
        s = sft_defaults();
        s.run.overfit = one;
        open_trainer(&t, &s, folder, 1);
        llm_batch *b = &t.run.step.micro[0];
        const size_t bytes = llm_places(b) * sizeof(int);
        int *first = llm_alloc(llm_places(b), sizeof *first);
        double measure[RUN_MEASURES];
        memcpy(first, b->tokens, bytes);
        train_step(&t, 1e-3, measure);
        CHECK((memcmp(first, b->tokens, bytes) == 0) == one, "--overfit-one-batch %d: the second step's rows", one);
        llm_release(first);
        close_all(&t);
    }
}
int main(void) {
    static const char *const what[] = {"train_sft", "train_sft --ptx", "train_sft --lora-rank"};
    double x[2][3 * STEPS];
    char *folder = make_folder();
    make_base(folder);
    for (int i = 0; i < 3; i++) {
        for (int fake = 0; fake < 2; fake++) steps_of(what[i], folder, i == 1, i == 2, fake, x[fake]);
        compare_steps(what[i], x[0], x[1]);
    }
    test_ptx(folder);
    test_flags(folder);
    remove_tree(folder);
    llm_release_all(folder, records);
    return checks_done();
}
