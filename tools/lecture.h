/* lecture.h: the tables of the two lectures, as they stand there: sizes, batches, learning rates and tokens of GPT-3,
   LLaMA and Llama 2, what LLaMA was trained on, what it cost. ./train_gpt --presets prints them, each row beside what
   our preset of it takes. Included after llm.h, with say.h. */
#ifndef LECTURE_H
#define LECTURE_H

#include "say.h"

/* batch: tokens in a step. gpu_hours: what the lecture says it took on A100s, 0: nothing. */
typedef struct {
    const char *preset, *size;
    int layers, channels, heads, head;
    double batch, rate, tokens, gpu_hours;
} lecture_row;
typedef struct { const char *title; int rows; lecture_row row[8]; } lecture_table;

/* Two rows of the first do not multiply out (say_preset_note). Llama 2's batches and rates are not in the lecture, but
   in its paper's table 1 (Touvron et al. 2023b). LLaMA 65B: 2,048 cards for 21 days. */
static const lecture_table lecture_tables[] = {
    {"GPT-3: 300B tokens, context 2048, vocabulary 50257 (lecture 1, table 2.1)", 8, {
        {"gpt3-small", "125M", 12, 768, 12, 64, .5e6, 6e-4, 300e9, 0},
        {"gpt3-medium", "350M", 24, 1024, 16, 64, .5e6, 3e-4, 300e9, 0},
        {"gpt3-large", "760M", 24, 1536, 16, 96, .5e6, 2.5e-4, 300e9, 0},
        {"gpt3-xl", "1.3B", 24, 2048, 24, 128, 1e6, 2e-4, 300e9, 0},
        {"gpt3-2.7b", "2.7B", 32, 2560, 32, 80, 1e6, 1.6e-4, 300e9, 0},
        {"gpt3-6.7b", "6.7B", 32, 4096, 32, 128, 2e6, 1.2e-4, 300e9, 0},
        {"gpt3-13b", "13.0B", 40, 5140, 40, 128, 2e6, 1e-4, 300e9, 0},
        {"gpt3-175b", "175.0B", 96, 12288, 96, 128, 3.2e6, .6e-4, 300e9, 0}}},
    {"LLaMA: context 2048, vocabulary 32000 (lecture 1, table 2.2)", 4, {
        {"llama-7b", "6.7B", 32, 4096, 32, 128, 4e6, 3e-4, 1e12, 0},
        {"llama-13b", "13.0B", 40, 5120, 40, 128, 4e6, 3e-4, 1e12, 0},
        {"llama-33b", "32.5B", 60, 6656, 52, 128, 4e6, 1.5e-4, 1.4e12, 0},
        {"llama-65b", "65.2B", 80, 8192, 64, 128, 4e6, 1.5e-4, 1.4e12, 2048 * 21 * 24}}},
    {"Llama 2: context 4096, GPU hours of lecture 2", 4, {
        {"llama2-7b", "7B", 32, 4096, 32, 128, 4e6, 3e-4, 2e12, 184320},
        {"llama2-13b", "13B", 40, 5120, 40, 128, 4e6, 3e-4, 2e12, 368640},
        {"llama2-34b", "34B", 48, 8192, 64, 128, 4e6, 1.5e-4, 2e12, 1038336},
        {"llama2-70b", "70B", 80, 8192, 64, 128, 4e6, 1.5e-4, 2e12, 1720320}}}};
enum { LECTURE_TABLES = sizeof lecture_tables / sizeof *lecture_tables };

/* Lecture 1, table 1: what LLaMA read, percent, times, GB on a disk. */
static const struct { const char *name; double percent, epochs, gigabytes; } lecture_data[] = {
    {"CommonCrawl", 67, 1.10, 3300}, {"C4", 15, 1.06, 783}, {"Github", 4.5, .64, 328}, {"Wikipedia", 4.5, 2.45, 83},
    {"Books", 4.5, 2.23, 85}, {"ArXiv", 2.5, 1.06, 92}, {"StackExchange", 2, 1.03, 78}};

/* An A100 in bf16; the share of it that is used, where no hours are told; 8 % break in a month: so many in a day. */
static const double lecture_tflops = 312, lecture_mfu = .4, lecture_failures = .00278;

/* The row that a preset is of, or NULL. */
static inline const lecture_row *lecture_find(const char *preset) {
    for (int t = 0; t < LECTURE_TABLES; t++)
        for (int i = 0; i < lecture_tables[t].rows; i++)
            if (!strcmp(lecture_tables[t].row[i].preset, preset)) return &lecture_tables[t].row[i];
    return NULL;
}
/* 0.5M, 300B, 1.4T: as the tables write them. */
static inline const char *lecture_number(char text[32], double x) {
    const double unit = x >= 1e12 ? 1e12 : x >= 1e9 ? 1e9 : 1e6;
    snprintf(text, 32, "%g%c", x / unit, x >= 1e12 ? 'T' : x >= 1e9 ? 'B' : 'M');
    return text;
}
/* What a row takes: its own hours on one card, or those of the usual MFU. */
static inline llm_fleet_estimate lecture_cost(const lecture_row *r, const llm_config *c) {
    llm_fleet f = {.gpus = 1, .tflops = lecture_tflops, .tokens = r->tokens, .days = r->gpu_hours / 24};
    if (!(f.days > 0)) f.mfu = lecture_mfu;
    return llm_fleet_make(c, &f);
}
static inline void lecture_say_row(const lecture_row *r, FILE *out) {
    const llm_config c = llm_preset(r->preset);
    const llm_fleet_estimate e = lecture_cost(r, &c);
    char batch[32], tokens[32], own[32], bytes[32];
    fprintf(out, "  %-11s %8s %8d %7d %7d %6d %6s %7.1e %6s | %10s %7s %9.0f%s %2.0f%%\n", r->preset, r->size,
            r->layers, r->channels, r->heads, r->head, lecture_number(batch, r->batch), r->rate,
            lecture_number(tokens, r->tokens), say_number(own, llm_parameters(&c)),
            say_bytes(bytes, 4.0 * llm_parameters(&c)), e.gpu_hours, r->gpu_hours > 0 ? " " : "*", 100 * e.mfu);
}
static inline void lecture_say_data(FILE *out) {
    char drawn[32], held[32], size[32];
    fprintf(out, "\nLLaMA's data, 1.4T tokens drawn (lecture 1, table 1)\n  %-14s %10s %7s %9s %9s %9s\n", "dataset",
            "proportion", "epochs", "disk", "drawn", "held");
    for (size_t i = 0; i < sizeof lecture_data / sizeof *lecture_data; i++) {
        const double tokens = 1.4e12 * lecture_data[i].percent / 100;
        fprintf(out, "  %-14s %8.1f %% %7.2f %9s %9s %9s\n", lecture_data[i].name, lecture_data[i].percent,
                lecture_data[i].epochs, say_bytes(size, 1e9 * lecture_data[i].gigabytes), say_number(drawn, tokens),
                say_number(held, tokens / lecture_data[i].epochs));
    }
}
/* The slides on cost and on what breaks. */
static inline void lecture_say_cost(FILE *out) {
    const lecture_row *one = lecture_find("llama-65b"), *two = lecture_find("llama2-70b");
    const llm_config c = llm_preset(two->preset);
    llm_fleet f = {.gpus = 2000, .tflops = lecture_tflops, .tokens = two->tokens, .failure_rate = lecture_failures,
                   .days = two->gpu_hours / 24 / 2000};
    const llm_fleet_estimate e = llm_fleet_make(&c, &f);
    double all = 0;
    for (int i = 0; i < 4; i++) all += lecture_tables[2].row[i].gpu_hours;
    char years[32], every[32];
    fprintf(out, "\ncost\n  LLaMA 65B      2048 A100s for 21 days are %.0f GPU hours; $5M are $%.2f for each\n",
            one->gpu_hours, 5e6 / one->gpu_hours);
    fprintf(out, "  Llama 2 70B    %s on one A100, %.1f days on 2000; all four sizes %.0f GPU hours\n",
            say_time(years, two->gpu_hours * 3600), e.days, all);
    fprintf(out, "  failures       %.3g%% of the A100s break in a day, %.1f%% in a month, %.0f%% in a year (the slide: "
            "8%%, 2/3);\n                 of 2000 one every %s, at least one a day with %.1f%% (the slide: 95%%, as "
            "of %.0f)\n", 100 * f.failure_rate, 100 * e.broken_in_a_month, 100 * e.broken_in_a_year,
            say_time(every, e.mean_time_between), 100 * e.any_failure_a_day,
            ceil(log(.05) / log1p(-f.failure_rate)));
}
/* All of it. */
static inline void lecture_say(FILE *out) {
    for (int t = 0; t < LECTURE_TABLES; t++) {
        const lecture_table *x = &lecture_tables[t];
        fprintf(out, "%s%s\n  %-11s %8s %8s %7s %7s %6s %6s %7s %6s | %10s %7s %10s %s\n", t ? "\n" : "", x->title,
                "--preset", "n_params", "n_layers", "d_model", "n_heads", "d_head", "batch", "rate", "tokens",
                "parameters", "fp32", "GPU hours", "MFU");
        for (int i = 0; i < x->rows; i++) lecture_say_row(&x->row[i], out);
        for (int i = 0; i < x->rows; i++) say_preset_note(x->row[i].preset, out);
    }
    fprintf(out, "Left of the bar the tables, right of it these presets. GPU hours of an A100 (%.0f TFLOP/s); *: not "
            "told, at %.0f%% of its peak.\n", lecture_tflops, 100 * lecture_mfu);
    lecture_say_data(out);
    lecture_say_cost(out);
}
/* The batch and the rate of the table that a preset is of, and which flags they are. here: tokens of a step as the
   flags have it, of rows of T tokens. */
static inline void lecture_say_learning(const lecture_row *r, double here, double batch, double T, FILE *out) {
    char table[32], own[32];
    fprintf(out, "  its table's    learning rate %.2g, %s tokens a step: --lr %.2g --batch %.0f --grad-accum %.0f "
            "(these flags: %s)\n", r->rate, lecture_number(table, r->batch), r->rate, batch,
            fmax(1, round(r->batch / (batch * T))), say_number(own, here));
}
#endif
