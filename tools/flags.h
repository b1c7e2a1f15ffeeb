/* flags.h: the flags that the drivers have in common. Included by run.h. */
#ifndef FLAGS_H
#define FLAGS_H

#include "options.h"

typedef struct {
    llm_list data, val_data;
    const char *model, *out, *device, *precision, *log, *tensorboard, *report, *dump;
    int64_t steps, batch, seq, grad_accum, warmup, seed, threads, eval_every, sample_every, save_every, keep;
    double lr, lr_final, weight_decay, clip, skip_sigma;
    const char *schedule;
    bool recompute, moments16, resume, overwrite, overfit, dry_run;
} run_settings;

/* The rows of the option table that every driver begins with. */
/* clang-format off */
#define RUN_OPTIONS(r)                                                                                                \
    {"the run", LLM_HEADING, NULL, 0, 0, NULL, NULL, NULL},                                                           \
    {"data", LLM_LIST, &(r).data, 0, 0, "files or folders to train on; none: the tiny world", NULL, NULL},            \
    {"val-data", LLM_LIST, &(r).val_data, 0, 0,                                                                       \
     "files or folders to evaluate on; none: a part of --data", NULL, NULL},                                          \
    {"model", LLM_TEXT, &(r).model, 0, 0, "start from this Hugging Face folder", NULL, "m"},                          \
    {"out", LLM_TEXT, &(r).out, 0, 0, "folder of the result", NULL, "o"},                                             \
    {"resume", LLM_BOOL, &(r).resume, 0, 0, "continue from the newest checkpoint in --out", NULL, NULL},              \
    {"overwrite", LLM_BOOL, &(r).overwrite, 0, 0, "replace what --out holds", NULL, NULL},                            \
    {"dry-run", LLM_BOOL, &(r).dry_run, 0, 0,                                                                         \
     "print the plan (parameters, memory, FLOPs, time) and stop", NULL, NULL},                                        \
    {"seed", LLM_INT, &(r).seed, 0, 1e15, "of weights, shuffles and samples", NULL, NULL},                            \
    {"device", LLM_TEXT, &(r).device, 0, 0, "where to compute", "auto|cpu|plain|cuda", NULL},                         \
    {"precision", LLM_TEXT, &(r).precision, 0, 0,                                                                     \
     "of the matrix products; auto: the fastest with fp32's losses", "auto|fp32|bf16x3|bf16", "dtype"},               \
    {"threads", LLM_INT, &(r).threads, 0, 4096, "0: all cores", NULL, NULL},                                          \
    {"log", LLM_TEXT, &(r).log, 0, 0, "CSV of all steps; none: OUT/log.csv", NULL, NULL},                             \
    {"tensorboard", LLM_TEXT, &(r).tensorboard, 0, 0, "write events for TensorBoard into this folder", NULL, NULL},   \
    {"report", LLM_TEXT, &(r).report, 0, 0, "page of all stages; none: report.html beside --out; off", NULL, NULL},   \
    {"save-every", LLM_INT, &(r).save_every, 0, 1e9,                                                                  \
     "steps between checkpoints; 0: when interrupted only", NULL, NULL},                                              \
    {"keep", LLM_INT, &(r).keep, 1, 1000, "newest checkpoints to keep", NULL, NULL},                                  \
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
    {"moments16", LLM_BOOL, &(r).moments16, 0, 0, "AdamW's moments as bf16 (less memory)", NULL, NULL}

/* For the stages that learn from text. */
#define RUN_TEXT_OPTIONS(r)                                                                                           \
    {"seq", LLM_INT, &(r).seq, 0, 1 << 20, "tokens in a sequence (T); 0: the model's context", NULL, "seq-len"},      \
    {"eval-every", LLM_INT, &(r).eval_every, 0, 1e9, "steps between evaluations; 0: at the end only", NULL, NULL},    \
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
                          .grad_accum = 1,
                          .keep = 2,
                          .seed = 1,
                          .lr_final = 0.1,
                          .weight_decay = 0.1,
                          .clip = 1};
}
#endif
