/* The planner (chapter 11) against the lectures: parameter counts of their tables, memory, GPU hours, money, failures
   and ZeRO. Every expected number is worked out here by hand or printed on a slide; none comes from the code under
   test. */
#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "../tools/say.h"
#include "../tools/lecture.h"
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef __APPLE__
#define RSS_UNIT 1                      /* ru_maxrss in bytes there, in kilobytes elsewhere */
#else
#define RSS_UNIT 1024
#endif

/* got within a fraction `tolerance` of want */
static void near(const char *what, double got, double want, double tolerance) {
    CHECK(fabs(got - want) <= tolerance * fabs(want), "%s: got %.9g, want %.9g", what, got, want);
}

/* GPT-2: the released checkpoints. GPT-3: table 2.1 (lecture 1), V (50257) C + T (2048) C + L (12 C^2 + 13 C) + 2 C by
   hand; XL has 2048 channels and 13B has 5120. LLaMA: table 2.2 (lecture 1); it, Llama-2 (lecture 2) and the others:
   the released checkpoints. */
static void test_parameters(void) {
    static const struct { const char *name; size_t count; const char *said; } row[] = {
        {"gpt2-124m", 124439808, "124M"}, {"gpt2-355m", 354823168, "355M"}, {"gpt2-774m", 774030080, "774M"},
        {"gpt2-1.5b", 1557611200, "1.5B"},
        {"gpt3-small", 125226240, "125M"}, {"gpt3-medium", 355871744, "350M"}, {"gpt3-large", 760300032, "760M"},
        {"gpt3-xl", 1315723264, "1.3B"}, {"gpt3-2.7b", 2651553280, "2.7B"}, {"gpt3-6.7b", 6658404352, "6.7B"},
        {"gpt3-13b", 12853386240, "13.0B"}, {"gpt3-175b", 174604259328, "175.0B"},
        {"llama-7b", 6738415616, "6.7B"}, {"llama-13b", 13015864320, "13.0B"}, {"llama-33b", 32528943616, "32.5B"},
        {"llama-65b", 65285660672, "65.2B"},
        {"llama2-7b", 6738415616, "7B"}, {"llama2-13b", 13015864320, "13B"}, {"llama2-34b", 33743970304, "34B"},
        {"llama2-70b", 68976648192, "70B"},
        {"smollm2-135m", 134515008, "135M"}, {"tinyllama-1.1b", 1100048384, "1.1B"}, {"llama3.2-1b", 1235814400, "1B"},
        {"qwen2-0.5b", 494032768, "0.5B"},
        {"nano", 149824, ".15M"}, {"tiny", 516960, ".52M"}, {"small", 889984, ".89M"}, {"med", 2853312, "2.85M"},
        {"big", 6852864, "6.9M"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        llm_config c = llm_preset(row[i].name);
        size_t n = llm_parameters(&c);
        CHECK(n == row[i].count, "%s (%s): %zu parameters, want %zu", row[i].name, row[i].said, n, row[i].count);
    }
}

/* FLOPs a token of the tiny world's presets, by hand: 6 x matrix elements + 6 L T H D. */
static void test_flops(void) {
    static const struct { const char *name; double matrix, L, T, HD, said; } row[] = {
        {"nano", 149824 - 5 * 64, 2, 96, 64, .97e6}, {"tiny", 516960 - 9 * 96, 4, 128, 96, 3.4e6},
        {"small", 889984 - 9 * 128, 4, 128, 128, 5.7e6}, {"med", 2853312 - 13 * 192, 6, 160, 192, 18e6},
        {"big", 6852864 - 17 * 256, 8, 256, 256, 44e6}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        llm_config c = llm_preset(row[i].name);
        int T = (int)row[i].T;
        double want = 6 * row[i].matrix + 6 * row[i].L * T * row[i].HD, layers = want - 6.0 * c.V * c.C;
        llm_plan train = llm_plan_make(&c, llm_cpu(LLM_FP32), 2, T, true, LLM_KEEP_MOST, false);
        llm_plan again = llm_plan_make(&c, llm_cpu(LLM_FP32), 2, T, true, LLM_KEEP_INPUTS, false);
        llm_plan speak = llm_plan_make(&c, llm_cpu(LLM_FP32), 2, T, false, LLM_KEEP_MOST, false);
        near(row[i].name, train.flops_per_token, want, 1e-12);
        near("the table's", train.flops_per_token, row[i].said, .02);
        near("forward is a third", speak.flops_per_token, want / 3, 1e-12);
        near("executed without recomputation", train.flops_executed, want, 1e-12);
        near("recomputation leaves the model's FLOPs", again.flops_per_token, want, 1e-12);
        double repeated = layers / 3 * (row[i].L - 1) / row[i].L;       /* every layer but the last */
        near("and runs the forward pass again", again.flops_executed, want + repeated, 1e-12);
    }
    /* GPT-2 124M at T = 1024: 123.53M matrix elements (12 x 12 C^2 + V C); a step of 4 x 1024 tokens is 3268 GFLOP */
    llm_config g = llm_preset("gpt2-124m");
    llm_plan p = llm_plan_make(&g, llm_cpu(LLM_FP32), 4, 1024, true, LLM_KEEP_MOST, false);
    near("gpt2-124m, a step of 4 x 1024", p.flops_per_token * 4096, 3268e9, .001);
}

static void test_memory(void) {
    llm_config c = llm_preset("gpt3-175b"), l = llm_preset("llama-65b"), t = llm_preset("tiny");
    const llm_ops *fp32 = llm_cpu(LLM_FP32);
    llm_plan p = llm_plan_make(&c, fp32, 1, 2048, true, LLM_KEEP_MOST, false);
    near("lecture 1: 4 GB per 1B parameters", p.weights / p.parameters, 4, 1e-12);
    near("lecture 1: 175B occupy 700 GB", p.weights, 700e9, .003);
    near("lecture 1: 65B occupy 260 GB", llm_plan_make(&l, fp32, 1, 1, false, LLM_KEEP_MOST, false).weights, 260e9,
         .005);
    near("fp32 AdamW: 16 bytes a parameter", (p.weights + p.gradients + p.moments) / p.parameters, 16, 1e-12);
    p = llm_plan_make(&t, fp32, 4, 128, true, LLM_KEEP_MOST, true);
    near("moments as bf16: 12 bytes", (p.weights + p.gradients + p.moments) / p.parameters, 12, 1e-12);
    llm_plan half = llm_plan_make(&t, llm_cpu(LLM_BF16), 4, 128, true, LLM_KEEP_MOST, true);
    near("bf16 working copy: 2 more", half.work / p.parameters, 2, 1e-12);
    CHECK(llm_plan_make(&t, llm_cpu(LLM_BF16X3), 4, 128, true, LLM_KEEP_MOST, true).work == 0, "bf16x3 needs no copy");
    near("logits of 512 rows", p.logits, 512 * 768 * 4, 1e-12);
    llm_plan wide = llm_plan_make(&t, fp32, 64, 128, true, LLM_KEEP_MOST, true);
    near("and of 512 rows at most", wide.logits, 512 * 768 * 4, 1e-12);
    near("513 rows are two chunks of 257", llm_plan_make(&t, fp32, 19, 27, true, LLM_KEEP_MOST, false).logits, 257 * 768 * 4, 1e-12);
    llm_config broad = t;               /* heads that do not fill the channels: attention's FLOPs are those of the heads */
    broad.D = 2 * t.D;
    const double q = (double)broad.H * broad.D, kv = (double)broad.KV * broad.D, C = broad.C;
    near("heads wider than C", llm_plan_make(&broad, fp32, 1, 128, true, LLM_KEEP_MOST, false).flops_per_token,
         6 * (broad.L * (C * (q + 2 * kv) + q * C + 3 * C * broad.F) + (double)broad.V * C) + 6. * broad.L * 128 * q, 1e-12);
    double sum = half.weights + half.work + half.gradients + half.moments;
    sum += half.activations + half.logits + half.packing;
    near("total is the sum", half.total, sum, 1e-12);
    llm_config g = llm_preset("gpt2-124m");     /* what it takes on a machine of 4 GB, 3 GB */
    const double most = llm_plan_make(&g, fp32, 4, 1024, true, LLM_KEEP_MOST, false).total;
    CHECK(most <= 3.8e9, "GPT-2 124M, 4 x 1024, in 3.8 GB");
    CHECK(llm_plan_make(&g, fp32, 4, 1024, true, LLM_KEEP_INPUTS, false).total <= 2.7e9, "with recomputation: 2.7 GB");
    CHECK(llm_plan_make(&g, llm_cpu(LLM_BF16), 4, 1024, true, LLM_KEEP_INPUTS, true).total <= 2.5e9, "and bf16: 2.5 GB");
    near("keeping all: norms' outputs and gelu's, 2 C + F numbers a token and layer",
         llm_plan_make(&g, fp32, 4, 1024, true, LLM_KEEP_ALL, false).total - most, 4096.0 * 12 * 6 * 768 * 4, 1e-12);
    llm_ops elsewhere = *fp32;
    elsewhere.scratch_bytes = NULL;
    CHECK(llm_plan_make(&t, &elsewhere, 4, 128, true, LLM_KEEP_MOST, true).packing == 0 && p.packing > 0,
          "a table that takes nothing for itself");
    llm_plan frozen = llm_plan_make(&t, fp32, 4, 128, false, LLM_KEEP_MOST, false);
    CHECK(frozen.gradients == 0 && frozen.moments == 0, "a frozen model keeps its weights only");
    CHECK(frozen.activations < p.activations / 2, "and one layer's activations");
}

/* The planner's activations are the bytes the model takes: exactly, where 128 tokens fill every cache line. */
static void test_memory_is_what_is_taken(void) {
    static const char *const name[] = {"nano", "tiny", "gpt-tiny"};
    for (int i = 0; i < 3; i++)
        for (int keep = LLM_KEEP_MOST; keep <= LLM_KEEP_ALL; keep++) {
            llm_config c = llm_preset(name[i]);
            llm_model m;
            llm_model_init(&m, &c, llm_cpu(LLM_FP32), 1);
            llm_model_train(&m);
            m.keep = (llm_keep)keep;
            llm_batch b = llm_batch_new(4, 32);
            llm_real dlogp[128] = {0};
            llm_forward_backward(&m, &b, dlogp, NULL);
            llm_plan p = llm_plan_make(&c, llm_cpu(LLM_FP32), 4, 32, true, (llm_keep)keep, false);
            near("activations", (double)m.pool_bytes, p.activations, 1e-12);
            near("weights", (double)m.size * sizeof(llm_real), p.weights, .001);
            llm_model frozen;
            llm_model_copy(&frozen, &m, true);
            llm_forward(&frozen, &b, dlogp, NULL, NULL);
            p = llm_plan_make(&c, llm_cpu(LLM_FP32), 4, 32, false, (llm_keep)keep, false);
            near("activations of a frozen model", (double)frozen.pool_bytes, p.activations, 1e-12);
            llm_batch_free(&b);
            llm_model_free(&m);
            llm_model_free(&frozen);
        }
}

#ifdef __SANITIZE_ADDRESS__             /* gcc says so, clang is asked */
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

/* The whole prediction against what the system says a process took: a model of some 8M parameters, two steps. Each
   variant in a process of its own, as the peak is the process's; before any threads are started. */
#ifndef SANITIZED
static void test_peak(llm_precision p, llm_keep keep, bool moments16) {
    int ends[2];
    double measured = 0;
    if (pipe(ends)) llm_die(NULL, "no pipe");
    llm_config c = llm_preset("gpt-tiny");
    c.V = 16384; c.T = 256; c.L = 4; c.C = 256; c.H = c.KV = 4; c.D = 64; c.F = 1024;
    pid_t child = fork();
    if (!child) {
        llm_model m;
        llm_adamw o = llm_adamw_defaults();
        llm_batch b = llm_batch_new(4, 256);
        llm_real *dlogp = llm_alloc(1024, sizeof *dlogp);
        for (int i = 0; i < 1024; i++) {
            b.tokens[i] = b.targets[i] = i;
            b.positions[i] = i % 256;
            dlogp[i] = -1 / (llm_real)1024;
        }
        llm_model_init(&m, &c, llm_cpu(p), 1);
        llm_model_train(&m);
        m.keep = keep;
        o.moments16 = moments16;
        for (int step = 0; step < 2; step++) {
            llm_forward_backward(&m, &b, dlogp, NULL);
            llm_adamw_step(&o, &m, 1e-3);
        }
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        measured = (double)u.ru_maxrss * RSS_UNIT;
        if (write(ends[1], &measured, sizeof measured) != sizeof measured) _exit(1);
        _exit(0);
    }
    if (read(ends[0], &measured, sizeof measured) != sizeof measured) measured = 0;
    waitpid(child, NULL, 0);
    double planned = llm_plan_make(&c, llm_cpu(p), 4, 256, true, keep, moments16).total;
    CHECK(fabs(measured - planned) <= .05 * measured,
          "precision %d keep %d moments16 %d: planned %.1f MB, took %.1f", p, keep, moments16, planned / 1e6,
          measured / 1e6);
    close(ends[0]);
    close(ends[1]);
}
#endif

static void test_fleet(void) {
    /* Lecture 2: GPU hours of Llama 2 on 2T tokens, A100 at 312 TFLOP/s; MFU = 6 P D / (hours 3600 312e12), by hand */
    static const struct { const char *name; double hours, mfu; } row[] = {
        {"llama2-7b", 184320, .3906}, {"llama2-13b", 368640, .3772}, {"llama2-34b", 1038336, .3472},
        {"llama2-70b", 1720320, .4284}};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        llm_config c = llm_preset(row[i].name);
        llm_fleet f = {.gpus = 1, .tflops = 312, .tokens = 2e12, .days = row[i].hours / 24};
        llm_fleet_estimate e = llm_fleet_make(&c, &f);
        near(row[i].name, e.mfu, row[i].mfu, .002);
        near("GPU hours", e.gpu_hours, row[i].hours, 1e-12);
        sum += e.gpu_hours;
        if (i == 3) near("lecture 2: 196 years on one A100", e.days / 365, 196, .005);
        /* and back: the same MFU on 2000 cards gives the same hours, and within the lecture's three months */
        llm_fleet back = {.gpus = 2000, .tflops = 312, .tokens = 2e12, .mfu = e.mfu};
        llm_fleet_estimate w = llm_fleet_make(&c, &back);
        near("hours from the MFU", w.gpu_hours, row[i].hours, 1e-12);
        CHECK(w.days < 90, "2000 A100s train %s in %.0f days, within 3 months", row[i].name, w.days);
        if (i == 3) near("1720320 hours / 2000 cards / 24", w.days, 35.84, 1e-9);
    }
    near("lecture 2: total GPU hours", sum, 3311616, 1e-12);
    near("all four on one A100, years", sum / 8760, 378, .001);
    near("all four on 2000, days", sum / 24 / 2000, 69, .001);

    /* Lecture 1: LLaMA 65B, 2048 A100, 21 days, 1.4T tokens, $5M: 1,032,192 GPU hours, so $4.84 each */
    llm_config c = llm_preset("llama-65b");
    llm_fleet f = {.gpus = 2048, .tflops = 312, .tokens = 1.4e12, .price = 4.844, .days = 21, .checkpoint_seconds = 60,
                   .failure_rate = 1 - pow(.92, 1 / 30.0)};
    llm_fleet_estimate e = llm_fleet_make(&c, &f);
    near("MFU of LLaMA 65B", e.mfu, .473, .002);
    near("its GPU hours", e.gpu_hours, 1032192, 1e-12);
    near("lecture 1: $5M", e.dollars, 5e6, .001);

    /* Lecture 2: 8% of the cards break in a month. 1 - .92^(365/30) = .6374; 2000 (-ln .92) / 30 = 5.559 a day;
       1 - e^-5.559 = .99615 */
    f.gpus = 2000;
    e = llm_fleet_make(&c, &f);
    near("lecture 2: about 2/3 of the A100s break within a year", e.broken_in_a_year, .6374, .001);
    near("8% in a month", e.broken_in_a_month, .08, 1e-9);
    near("failures a day", e.failures_a_day, 5.559, .001);
    near("P(at least one a day); the slide says 95%", e.any_failure_a_day, .99615, 1e-4);
    near("mean time between failures", e.mean_time_between, 86400 / 5.559, .001);
    near("Young: sqrt(2 60 15543)", e.checkpoint_every, 1365.7, .001);
    near("time lost at the optimum: sqrt(2 S / M)", e.time_lost, sqrt(2 * 60 / e.mean_time_between), 1e-12);
    f.failure_rate = .0014968;          /* 1 - e^(-ln 20 / 2000): the rate at which the slide's 95% holds */
    near("95% a day", llm_fleet_make(&c, &f).any_failure_a_day, .95, 1e-5);
    f.failure_rate = 0;
    e = llm_fleet_make(&c, &f);
    CHECK(e.failures_a_day == 0 && e.any_failure_a_day == 0 && e.time_lost == 0, "cards that never break lose no time");

    /* A deadline: at this MFU 2,000 cards that never break keep the 21 days. Of those that do more are needed, and one
       card less is too late. */
    llm_fleet by = {.tflops = 312, .tokens = 1.4e12, .mfu = e.mfu, .days = e.days};
    near("a deadline of cards that never break", llm_fleet_make(&c, &by).gpus, 2000, 1e-12);
    by.failure_rate = 1 - pow(.92, 1 / 30.0), by.checkpoint_seconds = 60, by.days = 21;
    e = llm_fleet_make(&c, &by);
    const double before = e.gpus - 1;
    CHECK(e.days / (1 - e.time_lost) <= 21, "%g cards take %g days", e.gpus, e.days / (1 - e.time_lost));
    by.gpus = before, by.days = 0;
    e = llm_fleet_make(&c, &by);
    CHECK(e.days / (1 - e.time_lost) > 21, "and so do %g: %g days", before, e.days / (1 - e.time_lost));
}

/* Every row of the lectures' tables is our preset of that name, but for the two that do not multiply out. */
static void test_lecture(void) {
    int rows = 0, other = 0;
    for (int t = 0; t < LECTURE_TABLES; t++)
        for (int i = 0; i < lecture_tables[t].rows; i++, rows++) {
            const lecture_row *r = &lecture_tables[t].row[i];
            const llm_config c = llm_preset(r->preset);
            const bool same = c.L == r->layers && c.C == r->channels && c.H == r->heads && c.D == r->head;
            other += !same;
            CHECK(same || !strcmp(r->preset, "gpt3-xl") || !strcmp(r->preset, "gpt3-13b"), "%s: sizes", r->preset);
            CHECK(r->rate > 0 && r->batch > 0 && r->tokens > 0 && lecture_find(r->preset) == r, "%s", r->preset);
            /* the table's own rounding: "760M", "13.0B" */
            near(r->preset, llm_parameters(&c), atof(r->size) * (strchr(r->size, 'M') ? 1e6 : 1e9), .041);
        }
    CHECK(rows == 16 && other == 2, "%d rows, %d other", rows, other);
    CHECK(!lecture_find("tiny") && !lecture_find("gpt3"), "no such row");
    double all = 0;
    for (size_t i = 0; i < sizeof lecture_data / sizeof *lecture_data; i++) all += lecture_data[i].percent;
    near("LLaMA's data: all of it", all, 100, 1e-12);
}

/* ZeRO: 4 + 12/N, 2 + 14/N, 16/N. The paper's figure 1 has 7.5B parameters on 64 GPUs: 120, 31.4, 16.6 and 1.9 GB. */
static void test_zero(void) {
    static const double gb[] = {120, 31.4, 16.6, 1.88};
    for (int stage = 0; stage < 4; stage++) near("ZeRO, figure 1", 7.5 * llm_zero_bytes(stage, 64), gb[stage], .005);
    for (int stage = 0; stage < 4; stage++) near("ZeRO on one rank", llm_zero_bytes(stage, 1), 16, 1e-12);
}

/* Chapter 10 played through by hand: data rank 0 of a team walks the units and counts the numbers it sends. */
static double walk(const llm_config *c, team_shape t) {
    const int R = t.ranks / t.tensors, L = c->L;
    const team_units u = team_cut(c, R);
    double begin[100], sent = 0;
    int held[4] = {-1, -1, -1, -1};
    for (int k = 0; k <= L + 2; k++) begin[k] = !k ? 0 : k == L + 2 ? u.all : u.first + (k - 1) * u.block;
    for (int round = 0; round < (int)t.rounds; round++)
        for (int i = 0; i < 2 * (L + 2); i++) {
            const bool back = i >= L + 2;
            const int k = back ? 2 * (L + 2) - 1 - i : i, slot = !k ? 0 : k == L + 1 ? 1 : 2 + k % 2;
            double own = 0, all = begin[k + 1] - begin[k];
            for (double x = begin[k]; x < begin[k + 1]; x++) own += x < u.each;
            if (t.zero == 3 && held[slot] != k) sent += (R - 1) * own;
            held[slot] = k;
            if (back) sent += t.zero ? all - own : 2 * all * (R - 1) / R;
        }
    return sent + (t.zero == 1 || t.zero == 2 ? (R - 1) * u.each : 0);
}
static void test_team(void) {
    const llm_config tied = llm_preset("tiny"), gpt = llm_preset("gpt-tiny");
    llm_config untied = tied, flat = tied;
    untied.tied = false;
    flat.L = 1;
    const llm_config *each[] = {&tied, &gpt, &untied, &flat};
    for (int i = 0; i < 4; i++)
        for (int zero = 0; zero < 4; zero++)
            for (int R = 1; R <= 4; R++)
                for (int rounds = 1; rounds < 4; rounds += 2) {
                    const team_shape t = {R, 1, zero, rounds};
                    near("numbers sent a step", team_sent(each[i], t), walk(each[i], t), 1e-12);
                }
    const llm_plan alone = llm_plan_make(&tied, &llm_plain, 1, 8, true, LLM_KEEP_MOST, false);
    const team_units u = team_cut(&tied, 4);
    const double P = llm_parameters(&tied), slots = 768 * 96 + 96 + 2 * u.block;
    near("a block", u.block, 2 * 96 + 4 * 96 * 96 + 3 * 96 * 256, 1e-12);
    near("its slots", team_slots(&u), slots, 1e-12);
    const double weights[] = {P, P, P, u.each + slots}, gradients[] = {P, P, u.each, u.each};
    for (int zero = 0; zero < 4; zero++) {
        llm_plan p = alone;
        team_share(&p, &tied, (team_shape){4, 1, zero, 1}, 0);
        near("weights of a rank", p.weights, 4 * weights[zero], 1e-12);
        near("gradients of a rank", p.gradients, 4 * (gradients[zero] + slots), 1e-12);
        near("moments of a rank", p.moments, 8 * (zero ? u.each : P), 1e-12);
        near("all of it", p.total - p.activations - p.logits - p.packing, p.weights + p.gradients + p.moments, 1e-12);
    }
    /* adapters alone learn, and lie in a slot of their own while they leave */
    llm_plan lora = alone;
    lora.gradients = 4000, lora.moments = 8000;
    team_share(&lora, &tied, (team_shape){4, 1, 2, 1}, 1000);
    near("gradients of adapters", lora.gradients, 4 * 250 + 4000, 1e-12);
    CHECK_DIES(team_config(&tied, 2), "--tensor-parallel 2 does not divide 3 heads");
    const llm_config qwen3 = llm_preset("qwen3-0.6b");
    CHECK_DIES(team_config(&qwen3, 2), "no layers with norms on q and k");
}
/* Lecture 2: 2,000 A100s train Llama-2 70B, and "1000 times is really good". Eight cards share a layer, 250 such groups
   four rows each of 4,096 tokens; a card alone reaches half its 312 TFLOP/s. With ZeRO 1 a rank's 8.9e9 numbers go over
   the wire as gradients in each of four rounds and once as weights: 177 GB, 7.1 s at 25 GB/s. The work, 4.1 M tokens x
   569 GFLOP / 2000 / 156 TFLOP/s, takes 7.5 s, the layers' own sums 1.5 s. */
static void test_thousand_times(void) {
    const llm_config c = llm_preset("llama2-70b"), one = team_config(&c, 8);
    const team_shape t = {2000, 8, 1, 4};
    const double P = llm_parameters(&one), flop = 1000 * 4096 * llm_plan_make(&c, &llm_plain, 1, 4096, true,
                                                                              LLM_KEEP_INPUTS, false).flops_executed;
    near("numbers of a rank", P, (llm_parameters(&c) - 2 * 32000.0 * 8192 - 161 * 8192) / 8 + 2 * 32000.0 * 8192 +
         161 * 8192, 1e-12);
    const double sent = 4 * team_sent(&one, t), layers = team_sent_in_layers(&one, t, &llm_plain, 4096, 79);
    near("bytes over the wire", sent, 4 * P * (4 * 249 / 250.0 + 249 / 250.0), 1e-6);
    near("bytes within the layers", layers, 4 * 4096.0 * 8192 * 4 * (2 * 159 + 2 * 80) * 2 * 7 / 8, 1e-12);
    const double sending = sent / 25e9 + layers / 300e9, alone = flop / 156e12;
    near("work of a step", alone / 2000, 7.47, .01);
    near("2000 cards, sending afterwards", team_speedup(alone, 2000, sending, false), 929, .02);
    near("2000 cards, sending meanwhile", team_speedup(alone, 2000, sending, true), 1730, .02);
}

/* What is printed: the figures a student looks for. */
static char printed[8192];
static void read_back(FILE *f) {
    rewind(f);
    printed[fread(printed, 1, sizeof printed - 1, f)] = '\0';
    fclose(f);
}
static void has(const char *text) { CHECK(strstr(printed, text) != NULL, "\"%s\" is missing in:\n%s", text, printed); }
static void test_print(void) {
    llm_config c = llm_preset("llama2-70b"), g = llm_preset("gpt2-124m");
    llm_fleet f = {2000, 312, 2e12, 4.84, 0, 1720320 / 24.0 / 2000, .00278, 60};
    FILE *out = tmpfile();
    if (!out) { CHECK(false, "no temporary file"); return; }
    say_fleet(&c, &f, out);
    read_back(out);
    has("69.0B parameters on 2.0T tokens with 2000 GPUs");
    has("43% of the peak");
    has("1720320: 35.8 days here, 196.4 years on one GPU");
    has("$8.3M");
    has("0.278% a day is 8% a month and 64% of the cards within a year; here 5.6 a day, P(at least one a day) 99.6%");
    has("every 22m 44s");
    has("276 GB in fp32");
    has("data parallel     1.1 TB   138.0B");
    has("ZeRO-1            276 GB   138.0B");
    has("ZeRO-2            138 GB   138.0B");
    has("ZeRO-3            552 MB   206.9B");
    out = tmpfile();
    if (!out) { CHECK(false, "no temporary file"); return; }
    llm_plan p = llm_plan_make(&g, llm_cpu(LLM_FP32), 4, 1024, true, LLM_KEEP_MOST, false);
    say_plan(&p, &g, 1e9, 400e9, out);
    read_back(out);
    has("124.4M parameters = 12 layers x 768 channels");
    has("weights         498 MB");
    has("moments         996 MB");
    has("logits          103 MB");
    has("797.8M FLOP a token");
    has("7.98e+17 FLOP");
    has("23.1 days at the measured 400.0B FLOP/s (501 tokens/s)");
    out = tmpfile();
    if (!out) { CHECK(false, "no temporary file"); return; }
    say_preset_note("gpt3-13b", out);
    say_preset_note("gpt3-6.7b", out);          /* as the table has it: nothing to say */
    read_back(out);
    has("note: gpt3-13b: the table's own row, d_model 5140 with 40 heads of 128, does not multiply out");
    CHECK(!strstr(printed, "6.7b"), "a note on a preset as it was published: %s", printed);
    /* 100 FLOP a token at 1 kFLOP/s: seconds = tokens / 10 */
    static const struct { double tokens; const char *said; } time[] = {
        {2, "200 ms at"}, {420, "42 s at"}, {7500, "12m 30s at"}, {107400, "2h 59m at"}, {2592000, "3.0 days at"},
        {630720000, "2.0 years at"}};
    for (size_t i = 0; i < sizeof time / sizeof *time; i++) {
        out = tmpfile();
        if (!out) { CHECK(false, "no temporary file"); return; }
        p.flops_per_token = p.flops_executed = 100;
        say_plan(&p, &g, time[i].tokens, 1000, out);
        read_back(out);
        has(time[i].said);
    }
}

/* Refusals name the remedy. */
static void test_refusals(void) {
    llm_config c = llm_preset("llama-7b");
    llm_fleet none = {.gpus = 0, .tflops = 312, .tokens = 1e12, .mfu = .4};
    llm_fleet ask = {.gpus = 8, .tflops = 312, .tokens = 1e12}, both = ask, above = ask, nan = ask, all = ask;
    both.mfu = .4, both.days = 3;
    above.mfu = 40;
    nan.mfu = .4, nan.tokens = NAN;
    all.mfu = .4, all.failure_rate = 1;
    CHECK_DIES(llm_fleet_make(&c, &none), "--gpus");
    CHECK_DIES(llm_fleet_make(&c, &ask), "MFU or its days");
    CHECK_DIES(llm_fleet_make(&c, &both), "not both");
    CHECK_DIES(llm_fleet_make(&c, &above), "above 1");
    CHECK_DIES(llm_fleet_make(&c, &nan), "--tokens");
    CHECK_DIES(llm_fleet_make(&c, &all), "failure rate");
    llm_fleet late = {.gpus = 2, .tflops = 312, .tokens = 1e12, .days = 3};
    llm_fleet never = {.tflops = 312, .tokens = 1e12, .mfu = .4, .days = .01, .failure_rate = .1,
                       .checkpoint_seconds = 60};
    CHECK_DIES(llm_fleet_make(&c, &late), "at their peak, and --days is 3");
    CHECK_DIES(llm_fleet_make(&c, &never), "so often does one of them break");
    CHECK_DIES(llm_plan_make(&c, llm_cpu(LLM_FP32), 0, 96, true, LLM_KEEP_MOST, false), "--batch");
    CHECK_DIES(llm_zero_bytes(4, 8), "ZeRO stage 4");
    c.KV = 5;
    CHECK_DIES(llm_plan_make(&c, llm_cpu(LLM_FP32), 1, 96, true, LLM_KEEP_MOST, false), "key/value heads");
}

int main(void) {
#ifdef SANITIZED
    printf("skipped: AddressSanitizer's own memory would be counted too\n");
#else
    test_peak(LLM_FP32, LLM_KEEP_MOST, false);
    test_peak(LLM_FP32, LLM_KEEP_INPUTS, false);
    test_peak(LLM_BF16X3, LLM_KEEP_ALL, false);
    test_peak(LLM_BF16, LLM_KEEP_INPUTS, true);
#endif
    test_parameters();
    test_flops();
    test_memory();
    test_fleet();
    test_lecture();
    test_zero();
    test_team();
    test_thousand_times();
    test_print();
    test_refusals();
    test_memory_is_what_is_taken();
    return checks_done();
}
