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
    close_all(&t);
    llm_release(text);
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
    remove_tree(folder);
    llm_release_all(folder, records);
    return checks_done();
}
