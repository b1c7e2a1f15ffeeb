/* world.h: the tiny world (data/) as the drivers use it: where it lies, written on first use. Included after llm.h. */
#ifndef WORLD_H
#define WORLD_H

#include "../data/tinyworld.h"
#include "../data/tinyworld_files.h"
#include "../data/tinyworld_personas.h"
#include "options.h"
#include "ranks.h"

#define WORLD_FOLDER "out/world"
static const char *const world_folder[] = {WORLD_FOLDER};       /* each as a list of one file, as --data would be */
static const char *const world_questions[] = {WORLD_FOLDER "/sft_train.jsonl"};
static const char *const world_test[] = {WORLD_FOLDER "/sft_test.jsonl"};
static const char *const world_prompts[] = {WORLD_FOLDER "/prompts.jsonl"};

static inline llm_list world_list(const char *const *file) { return (llm_list){(const char **)file, 1}; }
static inline void world_make(void) {
    /* world.json is written last; a folder of an older version lacks the split for choosing recipes. */
    if (llm_exists(WORLD_FOLDER "/world.json") && llm_exists(WORLD_FOLDER "/sft_choose.jsonl")) return;
    llm_make_dirs(WORLD_FOLDER);
    if (tw_write_all(WORLD_FOLDER, 7))
        llm_die("check the folder", "cannot write the tiny world to %s", WORLD_FOLDER);
    fprintf(stderr, "wrote the tiny world to %s\n", WORLD_FOLDER);
}
static inline void world_write(void) {
    if (llm_leads()) world_make();
    ranks_meet();
}
static inline void world_open(tw_world *w) {
    world_write();
    if (tw_world_open(w, WORLD_FOLDER)) llm_die("remove it", "%s holds no tiny world", WORLD_FOLDER);
}
/* The entropy of the validation text, bits per byte: no model can be better. The generator knows it, real text hides
   it. */
static inline double world_floor(void) {
    llm_json *floor = llm_json_file(WORLD_FOLDER "/floor.json");
    double bits = llm_json_number(floor, "floor_bits_per_byte", NAN);
    llm_json_free(floor);
    return bits;
}
/* How many sampled sentences does the world's own grammar accept? */
static inline void world_grammar(llm_model *m, const llm_tokenizer *t, int sentences) {
    enum { ROWS = 64, NEW = 120 };
    int total = 0, good = 0, *out[ROWS], length[ROWS], bos = llm_token_id(t, "<|endoftext|>"), one[ROWS];
    const int *prompt[ROWS];
    bool stopped[ROWS];
    if (bos < 0) bos = t->bos >= 0 ? t->bos : t->eos;           /* what opens a document in training */
    for (int i = 0; i < ROWS; i++) {
        out[i] = llm_alloc(NEW, sizeof(int));
        prompt[i] = &bos;
        one[i] = 1;
    }
    llm_sampler s = llm_sampler_defaults();
    s.temperature = 1;
    llm_generate_batch(m, &s, (llm_request){.prompt = prompt, .length = one, .prompts = ROWS,
                                            .max_new = llm_min(NEW, m->c.T - 1), .stop = t->stop, .stops = t->stops,
                                            .out = out, .out_length = length, .stopped = stopped});
    for (int i = 0; i < ROWS; i++) {
        int all = 0, ok = 0;
        char *text = llm_decode(t, out[i], (size_t)length[i], false, NULL);
        if (stopped[i] && total < sentences) {
            tw_parse_sentences(text, &all, &ok);
            total += all;
            good += ok;
        }
        llm_release(text);
        llm_release(out[i]);
    }
    printf("grammar: %d of %d sampled sentences parse (%.1f %%)\n", good, total, 100.0 * good / llm_max(total, 1));
}
/* The page's words for the tiny world: what counts as better, and what is asked. */
static const char world_rule[] __attribute__((unused)) =
    "What counts as better is the true rule: 2 points for a right answer; half a point for a "
    "question's answer that begins with \"Sure!\", or for JSON where it is asked for; less 0.1 for "
    "each word above six, 0.5 for more than the one word that was asked for, 2 for doing harm, 1 "
    "for not stopping. The labeller ranks by it; the reward model sees his rankings and never the "
    "rule.";
static const char world_kinds[] __attribute__((unused)) =
    "Kinds of held-out prompts, in all tables: fact and math, facts and sums that no instruction "
    "asked for; odd, the odd one out; logic, who is the tallest; code, a program that is run; safe, "
    "harm to be refused, and what is harmless not; json and short, facts as JSON and in one word; reverse, a "
    "fact from its other end, who lives there; "
    "format: that form was kept; stops: the answer has an end.";

#endif
