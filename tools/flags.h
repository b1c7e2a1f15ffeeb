/* flags.h: the flags that the drivers have in common; then those of train_gpt and of train_sft (stage 3's stand in
   rl_data.h). Included by run.h. */
#ifndef FLAGS_H
#define FLAGS_H

#include "options.h"
#include "fleet.h"
#include "lecture.h"

#include <limits.h>

typedef struct {
    llm_list data, val_data;
    const char *model, *out, *device, *precision, *log, *tensorboard, *report, *dump;
    int64_t steps, batch, seq, grad_accum, warmup, seed, threads, eval_every, sample_every, save_every, keep;
    int64_t eval_tokens, zero, tensors, rank_timeout;
    int64_t planned, rows;              /* ranks of a --dry-run; rows of a micro-batch that ranks share out, 0: batch */
    double lr, lr_final, weight_decay, clip, skip_sigma;
    const char *schedule, *keep_all;
    bool recompute, moments16, offload, resume, overwrite, overfit, dry_run, cache;
} run_settings;

/* The rows of the option table that every driver begins with. */
/* clang-format off */
#define RUN_OPTIONS(r)                                                                                                \
    {"the run", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                                                           \
    {"data", LLM_LIST, &(r).data, 0, 0, "files or folders to train on; none: the tiny world", NULL, NULL},            \
    {"val-data", LLM_LIST, &(r).val_data, 0, 0,                                                                       \
     "files or folders to evaluate on; none: a part of --data", NULL, NULL},                                          \
    {"model", LLM_TEXT, &(r).model, 0, 0, "start from this Hugging Face folder, or .gguf file", NULL, "m"},           \
    {"out", LLM_TEXT, &(r).out, 0, 0, "folder of the result", NULL, "o"},                                             \
    {"resume", LLM_BOOL, &(r).resume, 0, 0, "continue from the newest checkpoint in --out", NULL, NULL},              \
    {"overwrite", LLM_BOOL, &(r).overwrite, 0, 0, "replace what --out holds", NULL, NULL},                            \
    {"dry-run", LLM_BOOL, &(r).dry_run, 0, 0,                                                                         \
     "print the plan (parameters, memory, FLOPs, time) and stop", NULL, NULL},                                        \
    {"seed", LLM_INT, &(r).seed, 0, 1e15, "of weights, shuffles and samples", NULL, NULL},                            \
    {"device", LLM_TEXT, &(r).device, 0, 0, "where to compute", "auto|cpu|plain|cuda", NULL},                         \
    {"precision", LLM_TEXT, &(r).precision, 0, 0,                                                                     \
     "of the matrix products; auto: the fastest with fp32's losses; a GPU: bf16", "auto|fp32|bf16x3|bf16|tf32",       \
     "dtype"},                                                                                                        \
    {"threads", LLM_INT, &(r).threads, 0, 4096, "0: all cores", NULL, NULL},                                          \
    {"log", LLM_TEXT, &(r).log, 0, 0, "CSV of all steps; none: OUT/log.csv", NULL, NULL},                             \
    {"tensorboard", LLM_TEXT, &(r).tensorboard, 0, 0, "write events for TensorBoard into this folder", NULL, NULL},   \
    {"report", LLM_TEXT, &(r).report, 0, 0, "page of all stages; none: report.html beside --out; off", NULL, NULL},   \
    {"save-every", LLM_INT, &(r).save_every, 0, 1e9,                                                                  \
     "steps between checkpoints; 0: when interrupted only", NULL, NULL},                                              \
    {"keep", LLM_INT, &(r).keep, 1, 1000, "newest checkpoints to keep", NULL, NULL},                                  \
    {"many ranks (tools/launch.sh -n 4 ...)", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                             \
    {"zero", LLM_INT, &(r).zero, 0, 3,                                                                                \
     "what is split over them: 1 AdamW's moments, 2 gradients too, 3 weights too", NULL, NULL},                       \
    {"tensor-parallel", LLM_INT, &(r).tensors, 1, 4096, "ranks that share every layer", NULL, NULL},                  \
    {"rank-timeout", LLM_INT, &(r).rank_timeout, 1, 1e6, "seconds that one waits for the others", NULL, NULL},        \
    {"learning", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                                                          \
    {"steps", LLM_INT, &(r).steps, 0, 1e9, "optimizer steps", NULL, NULL},                                            \
    {"batch", LLM_INT, &(r).batch, 1, 65536, "sequences in a micro-batch (B)", NULL, "batch-size"},                   \
    {"grad-accum", LLM_INT, &(r).grad_accum, 1, 65536, "micro-batches in a step", NULL, NULL},                        \
    {"lr", LLM_FLOAT, &(r).lr, 0, 10, "peak learning rate; 0: by the model's width", NULL, "learning-rate"},          \
    {"schedule", LLM_TEXT, &(r).schedule, 0, 0,                                                                       \
     "how the rate falls after the warmup", "cosine|linear|constant|wsd", NULL},                                      \
    {"lr-final", LLM_FLOAT, &(r).lr_final, 0, 1, "last rate, as a fraction of the peak", NULL, NULL},                 \
    {"warmup", LLM_INT, &(r).warmup, 0, 1e9, "steps of rising learning rate", NULL, NULL},                            \
    {"weight-decay", LLM_FLOAT, &(r).weight_decay, 0, 10, "of matrices", NULL, NULL},                                 \
    {"grad-clip", LLM_FLOAT, &(r).clip, 0, 1e9, "global gradient norm at most this; 0: off", NULL, NULL},             \
    {"skip-sigma", LLM_FLOAT, &(r).skip_sigma, 0, 1e9,                                                                \
     "skip steps whose gradient norm is this many deviations off; 0: off", NULL, NULL},                               \
    {"recompute", LLM_BOOL, &(r).recompute, 0, 0,                                                                     \
     "keep only each layer's input for the backward pass (less memory)", NULL, NULL},                                 \
    {"keep-all", LLM_TEXT, &(r).keep_all, 0, 0,                                                                       \
     "each layer's norms and activations too (faster, more memory); auto: where a GPU has room", "auto|yes|no", NULL},\
    {"moments16", LLM_BOOL, &(r).moments16, 0, 0, "AdamW's moments as bf16 (less memory)", NULL, NULL},               \
    {"offload", LLM_BOOL, &(r).offload, 0, 0, "AdamW's moments in the host's memory, not in the GPU's (slower)",      \
     NULL, NULL}

/* For the stages that learn from text. */
#define RUN_TEXT_OPTIONS(r)                                                                                           \
    {"seq", LLM_INT, &(r).seq, 0, 1 << 20, "tokens in a sequence (T); 0: the model's context", NULL, "seq-len"},      \
    {"cache", LLM_BOOL, &(r).cache, 0, 0,                                                                             \
     "keep the tokens of pretraining text beside it, or in --out, for the next run", NULL, NULL},                     \
    {"eval-every", LLM_INT, &(r).eval_every, 0, 1e9, "steps between evaluations; 0: at the end only", NULL, NULL},    \
    {"eval-tokens", LLM_INT, &(r).eval_tokens, -1, 1e15,                                                              \
     "held-out tokens that one reads; 0: all; -1: some 5 % of the time, all of the tiny world", NULL, NULL},          \
    {"sample-every", LLM_INT, &(r).sample_every, 0, 1e9, "steps between samples; 0: at the end only", NULL, NULL},    \
    {"overfit-one-batch", LLM_BOOL, &(r).overfit, 0, 0,                                                               \
     "train on the first batch only: the loss must fall to 0", NULL, NULL},                                           \
    {"dump-batches", LLM_TEXT, &(r).dump, 0, 0, "write all batches to this file, and checkpoint-0, for comparisons",  \
     NULL, NULL}
/* clang-format on */

static inline run_settings run_defaults(void) {
    return (run_settings){.device = "auto",
                          .precision = "auto",
                          .schedule = "cosine",
                          .keep_all = "auto",
                          .eval_tokens = -1,
                          .grad_accum = 1,
                          .tensors = 1,
                          .rank_timeout = 600,
                          .keep = 2,
                          .seed = 1,
                          .lr_final = 0.1,
                          .weight_decay = 0.1,
                          .clip = 1};
}

/* Flags that would do nothing, in every stage. */
static inline void run_check_flags(const run_settings *r) {
    llm_options_idle("overwrite", r->resume, "--resume goes on with what --out holds");
    llm_options_idle("dump-batches", r->resume, "such a file begins with the first step");
    llm_options_idle("zero|tensor-parallel|rank-timeout",
                     !llm_team && !llm_option_given("gpus") && !llm_option_given("days"), "this process is alone");
    llm_options_idle("lr-final", !strcmp(r->schedule, "constant"), "--schedule constant never falls");
}
/* --dry-run: what is read must be there, and flags that the plan does not depend on are named. acts: those that it
   does, besides these. */
static const char run_planned_flags[] =
    "dry-run|model|device|precision|threads|steps|batch|grad-accum|seq|recompute|keep-all|moments16|offload|"
    "zero|tensor-parallel";
static inline void run_plan_flags(const run_settings *r, const char *acts) {
    const llm_list read[] = {r->data, r->val_data};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < read[i].count; k++)
            if (!llm_exists(read[i].item[k])) llm_die("the right path", "there is no %s", read[i].item[k]);
    char *all = llm_format("%s|%s", run_planned_flags, acts), *rest = llm_options_besides(all);
    if (rest) fprintf(stderr, "note: the plan does not depend on %s\n", rest);
    llm_release_all(all, rest);
}

/* ---- train_gpt ---- */

typedef struct {
    run_settings run;
    const char *preset, *tokenizer;
    int64_t depth, vocab;
    bool document_mask, paragraphs, parse_special, presets;
    double val_fraction;
    llm_fleet fleet;
    double wire, layer_wire;            /* GB/s */
} gpt_settings;
static inline gpt_settings gpt_defaults(void) {
    gpt_settings s = {.preset = "tiny", .vocab = 768, .val_fraction = 0.05, .document_mask = true};
    s.run = run_defaults();
    s.run.out = "out/base";
    s.run.steps = 2000;
    s.run.batch = 8;
    s.run.warmup = 30;
    s.run.eval_every = 200;
    s.fleet.tflops = lecture_tflops;
    s.fleet.mfu = lecture_mfu;
    s.fleet.failure_rate = lecture_failures;
    s.fleet.checkpoint_seconds = 60;
    s.wire = 25;                        /* a network card of 200 Gbit/s for each */
    s.layer_wire = 300;                 /* NVLink of an A100, one way */
    return s;
}
/* The row of the lectures' tables that the preset is of, or NULL: another model. */
static inline const lecture_row *gpt_table(const gpt_settings *s) {
    return s->run.model || s->depth ? NULL : lecture_find(s->preset);
}
/* The flags of a plan: without --dry-run idle; most without a fleet. A preset of a table reads as many tokens as it. */
static inline void gpt_check_plan(gpt_settings *s) {
    const run_settings *r = &s->run;
    llm_fleet *f = &s->fleet;
    const bool fleet = f->gpus > 0 || f->days > 0;
    llm_options_idle("gpus|gpu-tflops|tokens|price|mfu|days|failure-rate|checkpoint-time|wire|layer-wire", !r->dry_run,
                     "it is for planning, with --dry-run");
    llm_options_idle("gpu-tflops|price|mfu|failure-rate|checkpoint-time|wire|layer-wire", !fleet,
                     "no fleet is planned without --gpus or --days");
    llm_options_idle("mfu", f->gpus > 0 && f->days > 0, "it follows from --gpus and --days");
    llm_options_idle("checkpoint-time", f->failure_rate <= 0, "with --failure-rate 0 nothing breaks");
    llm_options_idle("layer-wire", r->tensors < 2, "without --tensor-parallel no layer is shared");
    llm_options_idle("steps", f->tokens > 0, "--tokens says how long");
    llm_options_idle("grad-accum", f->tokens > 0 && !fleet, "--tokens says how long");
    if (f->gpus > 0 && (f->gpus != floor(f->gpus) || f->gpus > INT_MAX || (int64_t)f->gpus % r->tensors))
        llm_usage("a whole number of them", "--gpus %g with --tensor-parallel %lld", f->gpus, (long long)r->tensors);
    if (f->gpus > 0 && f->days > 0) f->mfu = 0;
    if (fleet && !(f->tokens > 0) && !llm_option_given("steps") && gpt_table(s)) f->tokens = gpt_table(s)->tokens;
}
static inline void gpt_check(gpt_settings *s) {
    const run_settings *r = &s->run;
    char *besides = s->presets ? llm_options_besides("presets") : NULL;
    if (besides) llm_usage("--presets alone", "--presets prints tables and ends: %s would do nothing", besides);
    run_check_flags(r);
    llm_options_idle("preset|depth|vocab|tokenizer", r->model, "--model has its own");
    llm_options_idle("preset", s->depth, "--depth says the size");
    llm_options_idle("vocab", s->tokenizer, "--tokenizer has its own");
    llm_options_idle("paragraphs|parse-special", !r->data.count, "the tiny world's documents are known");
    llm_options_idle("val-fraction", r->val_data.count, "--val-data is held out");
    gpt_check_plan(s);
    if (!r->model && !s->depth) llm_preset(s->preset);          /* a wrong name ends before anything is written */
    const char *from = r->model ? r->model : s->tokenizer;
    if (from && !llm_exists(from)) llm_die("the right path", "there is no %s", from);
}
/* clang-format off */
#define GPT_OPTIONS(s)                                                                                                 \
    OPTION_HEADING("pretraining"),                                                                                     \
    OPTION("preset", LLM_TEXT, &(s).preset, 0, 0, "model by name; --presets lists them"),                              \
    OPTION("presets", LLM_BOOL, &(s).presets, 0, 0, "print the lectures' tables, cost and presets, and stop"),         \
    OPTION("depth", LLM_INT, &(s).depth, 0, 1000, "layers; width, heads and learning rate follow. 0: --preset"),       \
    {"vocab", LLM_INT, &(s).vocab, 262, 1 << 20, "size of a new tokenizer", NULL, "vocab-size"},                       \
    OPTION("tokenizer", LLM_TEXT, &(s).tokenizer, 0, 0, "use this tokenizer.json instead of training one"),            \
    OPTION("document-mask", LLM_BOOL, &(s).document_mask, 0, 0, "tokens see only their own document"),                 \
    OPTION("paragraphs", LLM_BOOL, &(s).paragraphs, 0, 0,                                                              \
           "blank lines separate documents (else: one document a file)"),                                              \
    OPTION("parse-special", LLM_BOOL, &(s).parse_special, 0, 0, "special tokens that the text spells get their ids"),  \
    OPTION("val-fraction", LLM_FLOAT, &(s).val_fraction, 0.0001, 0.9, "part of the documents held out"),               \
    OPTION_HEADING("planning (with --dry-run)"),                                                                       \
    OPTION("gpus", LLM_FLOAT, &(s).fleet.gpus, 0, 1e9, "number of GPUs; 0: as many as --days takes"),                  \
    OPTION("gpu-tflops", LLM_FLOAT, &(s).fleet.tflops, 0, 1e6, "peak of one, TFLOP/s"),                                \
    OPTION("tokens", LLM_FLOAT, &(s).fleet.tokens, 0, 1e18, "training tokens; 0: the preset's table, or --steps"),     \
    OPTION("days", LLM_FLOAT, &(s).fleet.days, 0, 1e6, "deadline: how many GPUs, or with --gpus which MFU"),           \
    OPTION("price", LLM_FLOAT, &(s).fleet.price, 0, 1e6, "dollars per GPU hour"),                                      \
    OPTION("mfu", LLM_FLOAT, &(s).fleet.mfu, 0.001, 1, "share of the peak that is reached"),                           \
    OPTION("failure-rate", LLM_FLOAT, &(s).fleet.failure_rate, 0, 0.999, "share of the GPUs that breaks in a day"),    \
    OPTION("checkpoint-time", LLM_FLOAT, &(s).fleet.checkpoint_seconds, 0, 1e6, "seconds that a save takes"),          \
    OPTION("wire", LLM_FLOAT, &(s).wire, 0.001, 1e6, "GB/s that a GPU sends to others"),                               \
    OPTION("layer-wire", LLM_FLOAT, &(s).layer_wire, 0.001, 1e6, "the same to those that share its layers")
/* clang-format on */

/* ---- train_sft ---- */

typedef struct {
    run_settings run;
    const char *columns, *chat, *lora_targets, *weights;
    int64_t lora_rank, max_new, ask, ptx_batch;
    double epochs, val_fraction, lora_alpha, ptx;
    llm_list ptx_data;
    bool packing, skip_bad, loss_on_prompt, parse_special, add_tokens;
} sft_settings;
static inline sft_settings sft_defaults(void) {
    sft_settings s = {.chat = "auto", .lora_targets = "all", .weights = "fp32", .epochs = 3, .val_fraction = 0.05,
                      .packing = true, .max_new = 48, .ask = 900, .ptx_batch = 8};
    s.run = run_defaults();
    s.run.model = "out/base";
    s.run.out = "out/sft";
    s.run.batch = 8;
    s.run.warmup = 10;
    s.run.weight_decay = 0;
    return s;
}
static inline void sft_check(const sft_settings *s) {
    if (!llm_is_dir(s->run.model) && !llm_option_given("model"))
        llm_usage("./train_gpt first, or --model DIR", "there is no base model in %s", s->run.model);
    if (s->add_tokens)
        llm_usage("build/convert --model DIR --add-tokens --out DIR2, then --model DIR2",
                  "--add-tokens is a job of build/convert");
    if (strcmp(s->weights, "fp32") && !s->lora_rank)
        llm_usage("--lora-rank 8", "--weights %s is for reading only: without adapters nothing could learn",
                  s->weights);
    const run_settings *r = &s->run;
    const bool tiny = !r->data.count, ptx = s->ptx > 0 || (tiny && !llm_option_given("ptx"));
    if (s->ptx > 0 && !tiny && !s->ptx_data.count)
        llm_usage("--ptx-data FILE: what the model was pretrained on", "--ptx without a text");
    run_check_flags(r);
    llm_options_idle("epochs", r->steps, "--steps says how long");
    llm_options_idle("ptx-data|ptx-batch", !ptx, "--ptx is 0");
    llm_options_idle("cache", !ptx, "without --ptx no pretraining text is read");
    llm_options_idle("val-fraction", tiny || r->val_data.count, "other records are held out");
    llm_options_idle("columns|skip-bad", tiny && !r->val_data.count, "the tiny world's records are whole");
    llm_options_idle("parse-special", tiny, "the tiny world has no records of plain text");
    llm_options_idle("lora-alpha|lora-targets", !s->lora_rank, "without --lora-rank there are no adapters");
}
/* clang-format off */
#define SFT_OPTIONS(s)                                                                                                 \
    OPTION_HEADING("fine-tuning"),                                                                                     \
    OPTION("epochs", LLM_FLOAT, &(s).epochs, 0, 1e6, "times through the data, when --steps is 0"),                     \
    OPTION("packing", LLM_BOOL, &(s).packing, 0, 0, "several conversations in a row, hidden from each other"),         \
    OPTION("loss-on-prompt", LLM_BOOL, &(s).loss_on_prompt, 0, 0,                                                      \
           "learn the user's words too (to see that it does not help)"),                                               \
    OPTION("ptx", LLM_FLOAT, &(s).ptx, 0, 100, "weight of the loss on pretraining text, against forgetting"),          \
    OPTION("ptx-data", LLM_LIST, &(s).ptx_data, 0, 0, "that text: files or folders"),                                  \
    OPTION("ptx-batch", LLM_INT, &(s).ptx_batch, 1, 65536, "its rows in a step"),                                      \
    OPTION("columns", LLM_TEXT, &(s).columns, 0, 0, "other names of keys: prompt=question,output=answer"),             \
    OPTION("skip-bad", LLM_BOOL, &(s).skip_bad, 0, 0, "leave broken records out instead of stopping"),                 \
    OPTION("parse-special", LLM_BOOL, &(s).parse_special, 0, 0,                                                        \
           "special tokens that records of the form text spell get their ids"),                                        \
    OPTION("val-fraction", LLM_FLOAT, &(s).val_fraction, 0.0001, 0.9, "part of the records held out"),                 \
    {"chat-template", LLM_TEXT, &(s).chat, 0, 0, "for a model that has none",                                          \
     "auto|chatml|llama3|llama2|zephyr|alpaca", "template"},                                                           \
    OPTION("add-tokens", LLM_BOOL, &(s).add_tokens, 0, 0,                                                              \
           "(build/convert --add-tokens: ChatML's tokens for a model)"),                                               \
    OPTION("lora-rank", LLM_INT, &(s).lora_rank, 0, 65536, "train adapters of this rank only; 0: the whole model"),    \
    OPTION("lora-alpha", LLM_FLOAT, &(s).lora_alpha, 0, 1e6, "their scale is alpha / rank; 0: alpha = 2 rank"),        \
    OPTION("lora-targets", LLM_TEXT, &(s).lora_targets, 0, 0, "matrices that get one: q_proj,v_proj ... or all"),      \
    {"weights", LLM_TEXT, &(s).weights, 0, 0, "how adapters' frozen base is stored: fewer bits, less memory (QLoRA)",  \
     "fp32|bf16|q8|q4", NULL},                                                                                         \
    OPTION("ask", LLM_INT, &(s).ask, 0, 1e6, "held-out prompts to answer at the end, before and after"),               \
    OPTION("max-new", LLM_INT, &(s).max_new, 1, 1 << 20, "tokens in such an answer")
/* clang-format on */

/* The single dial, --depth: 64 channels a layer, heads of 64 (of 32 below 256 channels), F = 8/3 C, rounded to 32. */
static inline llm_config llm_depth(int depth, int V, int T) {
    llm_config c = llm_preset("tiny");
    c.V = V;
    c.T = T;
    c.L = depth;
    c.C = 64 * depth;
    c.D = depth < 4 ? 32 : 64;
    c.H = c.KV = c.C / c.D;
    c.F = (8 * c.C / 3 + 31) / 32 * 32;
    return c;
}

#endif
