/* say.h: what the programs say of data, models and plans. What is computed stands in llm.h; here it becomes lines.
   Included after llm.h, whose interface is all it uses, with fleet.h. */
#ifndef SAY_H
#define SAY_H

#include "fleet.h"
#include "team_plan.h"
#include "options.h"
#include "path.h"

/* Numbers for people: 124.4M, 1.3B, 700 GB (decimal, as memory is sold), 2h 59m. Each fills `text` and returns it. */
static inline const char *say_number(char text[32], double x) {
    static const char *const unit[] = {"", "k", "M", "B", "T"};
    int u = 0;
    for (; u < 4 && x >= 999.95; u++) x /= 1000;
    snprintf(text, 32, u ? "%.1f%s" : "%.3g%s", x, unit[u]);
    return text;
}
static inline const char *say_bytes(char text[32], double x) {
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int u = 0;
    for (; u < 5 && x >= 999.5; u++) x /= 1000;
    snprintf(text, 32, "%.3g %s", x, unit[u]);
    return text;
}
static inline const char *say_time(char text[32], double seconds) {
    double minutes = floor(seconds / 60), hours = floor(seconds / 3600);
    if (seconds < 1) snprintf(text, 32, "%.0f ms", seconds * 1000);
    else if (seconds < 100) snprintf(text, 32, "%.0f s", seconds);
    else if (hours < 1) snprintf(text, 32, "%.0fm %02.0fs", minutes, floor(seconds - 60 * minutes));
    else if (hours < 48) snprintf(text, 32, "%.0fh %02.0fm", hours, minutes - 60 * hours);
    else if (hours < 2 * 8760) snprintf(text, 32, "%.1f days", seconds / 86400);
    else snprintf(text, 32, "%.1f years", seconds / 86400 / 365);
    return text;
}

static inline void say_source(const llm_source *s, double tokens, FILE *out) {
    fprintf(out, "  %-24s ", path_name(s->name));
    if (tokens > 0) fprintf(out, "%9.1f %% %8.2f", 100 * s->proportion, s->proportion * tokens / s->count);
    else fprintf(out, "%11s %8s", "-", "-");
    fprintf(out, " %11zu %12zu %9.2f MB\n", s->documents, s->count, s->bytes / 1e6);
}
/* LLaMA's Table 1: proportion, epochs, documents, tokens, size of every source; tokens: how many will be drawn. */
static inline void say_corpus(const llm_corpus *c, double tokens, FILE *out) {
    fprintf(out, "  %-24s %11s %8s %11s %12s %12s\n", "source", "proportion", "epochs", "documents", "tokens", "size");
    size_t count = 0, bytes = 0;
    for (int i = 0; i < c->sources; i++) {
        say_source(&c->source[i], tokens, out);
        count += c->source[i].count;
        bytes += c->source[i].bytes;
    }
    if (c->validation.count) say_source(&c->validation, 0, out);
    fprintf(out, "  %.2f bytes a token; %.3g tokens to be drawn\n", (double)bytes / count, tokens);
}

/* How many of each form, in the order in which they are met. (A form is a literal of forms.h; there are 13.) */
static inline void say_records(const llm_records *r, FILE *out) {
    struct { const char *form; int count; } seen[16] = {{NULL, 0}};
    for (int i = 0; i < r->count; i++) {
        int k = 0;
        while (seen[k].form && strcmp(seen[k].form, r->record[i].form)) k++;
        seen[k].form = r->record[i].form;
        seen[k].count++;
    }
    for (int k = 0; seen[k].form; k++) fprintf(out, "  %8d records of the form \"%s\"\n", seen[k].count, seen[k].form);
    if (r->skipped) fprintf(out, "  %8d broken records left out\n", r->skipped);
}

/* How conversations are written down. */
static inline void say_template(const llm_tokenizer *t, FILE *out) {
    fprintf(out, "  chat template: %s\n", t->chat ? t->chat->name : "none");
}
/* Conversations, targets, how full the rows are, what was cut. */
static inline void say_sft(const llm_sft *s, FILE *out) {
    size_t ids = s->begin[s->count], targets = 0;
    for (size_t i = 0; i < ids; i++) targets += s->mask[i];
    double places = (double)s->rows * s->T;
    fprintf(out, "  %d conversations, %zu tokens, %.1f %% of them targets\n", s->count, ids,
            100.0 * targets / ids);
    fprintf(out, "  %d rows of %d, %.1f %% full\n", s->rows, s->T, 100.0 * (ids - s->count) / places);
    if (s->shortened) fprintf(out, "  %d prompts shortened from the left to fit\n", s->shortened);
    if (s->cut) fprintf(out, "  %d answers cut at the end: longer than a row (try a larger --seq)\n", s->cut);
    if (s->skipped) fprintf(out, "  %d records left out: nothing to learn in them\n", s->skipped);
}

/* What was normalised against the lecture's table, or is the model's own. */
static inline void say_preset_note(const char *name, FILE *out) {
    static const struct { const char *name, *note; } all[] = {
        {"gpt3-xl", "the table's own row, 24 heads of 128 in 2048 channels, does not multiply out (24 x 128 = 3072): "
         "16 heads here"},
        {"gpt3-13b", "the table's own row, d_model 5140 with 40 heads of 128, does not multiply out (40 x 128 = 5120): "
         "5120 channels here"},
        {"llama3.2-1b", "with llama3 rope scaling, factor 32"},
        {"qwen2-0.5b", "with a bias on q, k and v"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) fprintf(out, "note: %s: %s\n", name, all[i].note);
}
static inline void say_model(const llm_model *m, FILE *out) {
    static const char *const family[] = {"GPT-2", "Llama", "Qwen2", "Mistral", "Qwen3", "SmolLM3", "OLMo-2", "Phi-3"};
    const llm_config whole = llm_config_whole(m), *c = &whole;
    const double numbers = llm_parameters(c), full = numbers * sizeof(llm_real), now = llm_weight_bytes(m);
    fprintf(out, "model: %s family, %.2fM parameters: %d layers, %d channels, %d heads of %d",
            family[c->family], numbers / 1e6, c->L, c->C, c->H, c->D);
    if (c->KV != c->H) fprintf(out, " (%d for keys and values)", c->KV);
    fprintf(out, ", feed-forward %d, vocabulary %d%s, context %d\n", c->F, c->V, c->tied ? " (tied)" : "", c->T);
    if (m->weights != LLM_TYPE_REAL)
        fprintf(out, "weights: %s, %.2f MB instead of %.2f MB: %.2f MB saved\n", llm_type_name(m->weights), now / 1e6,
                full / 1e6, (full - now) / 1e6);
}

/* What learns, and the memory that gradients and moments take, and would take without adapters. */
static inline void say_lora(const llm_model *m, bool moments16, FILE *out) {
    const llm_lora *x = m->lora;
    const llm_config whole = llm_config_whole(m);
    const double all = llm_parameters(&whole), real = sizeof(llm_real), each = real + 2 * (moments16 ? 2 : real);
    double numbers = 0;
    for (int i = 0; i < x->params; i++) numbers += x->param[i].size;
    char *names = llm_lora_modules(m, true, ", ");
    fprintf(out, "lora: rank %d, alpha %g on %s: %.0f of %.0f parameters learn (%.2f %%)\n", x->rank, x->alpha, names,
            numbers, all, 100 * numbers / all);
    fprintf(out, "      gradients and moments take %.2f MB instead of %.2f MB; with the adapters' own %.2f MB, "
            "%.2f MB are saved\n", numbers * each / 1e6, all * each / 1e6, numbers * real / 1e6,
            ((all - numbers) * each - numbers * real) / 1e6);
    llm_release(names);
}

/* tokens of the run and the measured speed of this machine; 0: unknown. */
static inline void say_plan(const llm_plan *p, const llm_config *c, double tokens, double flops_per_second, FILE *out) {
    char a[32], b[32], d[32];
    const struct { const char *name, *what; double bytes; } row[] = {
        {"weights", "what the model knows", p->weights},
        {"bf16 copy", "of the weights, read by the products", p->work},
        {"gradients", "one number per parameter", p->gradients},
        {"moments", "AdamW's two averages per parameter", p->moments},
        {"activations", "kept for the backward pass, and scratch", p->activations},
        {"logits", "one chunk of rows x vocabulary", p->logits},
        {"packing", "blocks and sums of products and attention", p->packing},
        {"total", "", p->total},
        {"offloaded", "the moments, in the host's memory: not in the total", p->host}};
    fprintf(out, "plan: %s parameters = %d layers x %d channels, %d heads of %d (%d for keys), feed-forward %d, "
            "vocabulary %d\n", say_number(a, p->parameters), c->L, c->C, c->H, c->D, c->KV, c->F, c->V);
    fprintf(out, "  memory\n");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].bytes > 0)
            fprintf(out, "    %-12s %9s   %s\n", row[i].name, say_bytes(a, row[i].bytes), row[i].what);
    fprintf(out, "  compute        %s FLOP a token", say_number(a, p->flops_per_token));
    if (p->flops_executed > p->flops_per_token)
        fprintf(out, " (%s with recomputation)", say_number(b, p->flops_executed));
    if (tokens > 0)
        fprintf(out, " x %s tokens = %.3g FLOP", say_number(d, tokens), p->flops_per_token * tokens);
    fprintf(out, "\n");
    if (tokens > 0 && flops_per_second > 0)
        fprintf(out, "  time           %s at the measured %s FLOP/s (%s tokens/s)\n",
                say_time(a, p->flops_executed * tokens / flops_per_second), say_number(b, flops_per_second),
                say_number(d, flops_per_second / p->flops_executed));
}

/* What the ranks of a team send in a step, c: the model as one of them has it; with a wire how much faster than one
   they are, which works `flop` in a step. */
static inline void say_team(const llm_config *c, const llm_ops *op, team_shape t, double rows, double flop,
                            double again, const team_wire *wire, FILE *out) {
    const double sent = team_sent(c, t) * (double)sizeof(llm_real);
    const double inside = team_sent_in_layers(c, t, op, rows, again);
    char a[32], b[32];
    fprintf(out, "ranks: %d, ZeRO %d, in a step each computes %.0f micro-batch%s", t.ranks, t.zero, t.rounds,
            t.rounds > 1 ? "es" : "");
    if (t.tensors > 1) fprintf(out, "; %d share every layer", t.tensors);
    fprintf(out, "\n");
    fprintf(out, "  sent a step    %s by each", say_bytes(a, sent));
    if (wire) fprintf(out, ", %s at %.4g GB/s", say_time(a, sent / wire->wire), wire->wire / 1e9);
    if (inside > 0) fprintf(out, "; within the layers %s", say_bytes(a, inside));
    if (inside > 0 && wire)
        fprintf(out, ", %s at %.4g GB/s", say_time(a, inside / wire->layer_wire), wire->layer_wire / 1e9);
    fprintf(out, "\n");
    if (!wire) return;
    const double alone = flop / wire->speed, sending = sent / wire->wire + inside / wire->layer_wire;
    fprintf(out, "  work a step    %s of each, %s on one\n", say_time(a, alone / t.ranks), say_time(b, alone));
    fprintf(out, "  speed          of one times %.4g where sending waits for the work, %.4g where it goes on "
            "meanwhile\n",
            team_speedup(alone, t.ranks, sending, false), team_speedup(alone, t.ranks, sending, true));
}

/* All of the estimate, and ZeRO's table. */
static inline void say_fleet(const llm_config *c, const llm_fleet *f, FILE *out) {
    static const char *const name[] = {"data parallel", "ZeRO-1", "ZeRO-2", "ZeRO-3"};
    llm_fleet_estimate e = llm_fleet_make(c, f);
    double P = llm_parameters(c);
    char a[32], b[32], d[32];
    fprintf(out, "fleet: %s parameters on %s tokens with %.0f GPUs of %.0f TFLOP/s\n", say_number(a, P),
            say_number(b, f->tokens), e.gpus, f->tflops);
    fprintf(out, "  compute        6 P D = %.3g FLOP, %.0f%% of the peak used (MFU)\n", e.flops, 100 * e.mfu);
    fprintf(out, "  GPU hours      %.0f: %.1f days here, %s on one GPU\n", e.gpu_hours, e.days,
            say_time(a, e.gpu_hours * 3600));
    if (f->price > 0) fprintf(out, "  cost           $%s at $%.2f per GPU hour\n", say_number(a, e.dollars), f->price);
    if (f->failure_rate > 0)
        fprintf(out, "  failures       %.3g%% a day is %.0f%% a month and %.0f%% of the cards within a year; here "
                "%.1f a day, P(at least one a day) %.1f%%\n                 (95%% with %.0f cards); mean time between "
                "failures %s\n", 100 * f->failure_rate, 100 * e.broken_in_a_month, 100 * e.broken_in_a_year,
                e.failures_a_day, 100 * e.any_failure_a_day, ceil(log(.05) / log1p(-f->failure_rate)),
                say_time(a, e.mean_time_between));
    if (e.time_lost >= 1)
        fprintf(out, "  checkpoint     a save takes %s: so often do cards break that the run never ends\n",
                say_time(a, f->checkpoint_seconds));
    else if (e.time_lost > 0) {
        fprintf(out, "  checkpoint     every %s (Young/Daly, a save takes %s): %.1f%% of the time is lost",
                say_time(a, e.checkpoint_every), say_time(b, f->checkpoint_seconds), 100 * e.time_lost);
        if (f->mfu > 0) fprintf(out, ", %.1f days with it", e.days / (1 - e.time_lost));
        fprintf(out, "\n");
    }
    fprintf(out, "  weights        %s in fp32, %s in bf16\n", say_bytes(a, 4 * P), say_bytes(b, 2 * P));
    fprintf(out, "  bytes per GPU  16 a parameter cut over %.0f ranks, without activations; numbers exchanged a step\n",
            e.gpus);
    for (int stage = 0; stage < 4; stage++)
        fprintf(out, "    %-14s %9s   %s\n", name[stage], say_bytes(a, P * llm_zero_bytes(stage, e.gpus)),
                say_number(d, (stage == 3 ? 3 : 2) * P));
}

#endif
