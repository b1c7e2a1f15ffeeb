/* step_waits.h: a driver's own step, on the fake device: it waits once, whatever the number of micro-batches, and what
   it measures is what the CPU's table gives, to the bit. (What is read before the wait is NaN there.) Included after a
   driver, by test_step_gpt.c and test_step_sft.c. */
#ifndef STEP_WAITS_H
#define STEP_WAITS_H

#include "check.h"
#include "fake_device.h"

enum { STEPS = 3, MICROS = 4 };
static int waits, micros = MICROS;       /* micro-batches of a step, of 2 * MICROS rows in all */
static const llm_ops *counted;          /* the table behind the one that counts */

static void count_wait(void) {
    waits++;
    counted->wait();
}
static void count_download(void *host, const void *device, size_t bytes) {
    waits++;                            /* a download waits, too */
    counted->download(host, device, bytes);
}
static const llm_ops *counting(bool fake) {
    static llm_ops op;
    counted = fake ? fake_device(LLM_FP32) : llm_cpu(LLM_FP32);
    op = *counted;
    op.wait = count_wait;
    op.download = count_download;
    return &op;
}
/* A folder with text.txt in it. */
static char *make_folder(void) {
    char name[] = "/tmp/llm_step_XXXXXX";
    if (!mkdtemp(name)) llm_die("a /tmp to write to", "no temporary folder");
    char *path = llm_format("%s/text.txt", name);
    llm_writer w = llm_write_begin(path);
    for (int i = 0; i < 200; i++)
        llm_write_text(&w, "The cat number %d sat on mat %d and saw %d birds.\n\n", i, i * 7 % 13, i * 3 % 17);
    llm_write_done(&w);
    llm_release(path);
    return llm_format("%s", name);
}
/* The settings that both drivers have in common. */
static run_settings step_settings(const char **data) {
    run_settings r = run_defaults();
    r.data = (llm_list){data, 1};
    r.steps = STEPS;
    r.batch = 2 * MICROS / micros;
    r.grad_accum = micros;
    return r;
}
/* Steps of a trainer that is ready; what they measured goes to x (STEPS,3): loss, norm, bits per byte. */
static void take_steps(const char *what, void *trainer, text_run *run, double *x) {
    run->peak = INFINITY;               /* else a step that beats what a busy machine showed measures it again */
    for (int step = 0; step < STEPS; step++) {
        double m[RUN_MEASURES];
        waits = 0;
        CHECK(!train_step(trainer, 1e-2, m), "%s: step %d was not taken", what, step);
        CHECK(waits == 1, "%s: step %d of %d micro-batches waited %d times", what, step, MICROS, waits);
        double nats = 0, bytes = 0;     /* each of so few steps has a line: bits per byte are this step's alone */
        for (int i = 0; i < run->step.micros; i++)
            text_bits(&run->step.micro[i], &run->tok, run->logp[i], &nats, &bytes);
        CHECK_SMALL(fabs(m[TEXT_BPB] - nats / bytes / log(2)), 1e-9, "%s: step %d: bits per byte %g", what, step,
                    m[TEXT_BPB]);
        run->loop.step++;
        const int measured[] = {RUN_LOSS, RUN_GNORM, TEXT_BPB};
        for (int i = 0; i < 3; i++) x[3 * step + i] = m[measured[i]];
    }
}
/* Validation: nats per target, of all windows. */
static void check_validation(const char *what, void *trainer, text_run *run) {
    double nats = 0, targets = 0, bpb, val = text_evaluate(run, &bpb);
    llm_batch b = llm_batch_new(run->step.micro[0].B, (int)run->s->seq);
    for (int i = 0; run->window(trainer, i, &b); i++) {
        llm_forward(&run->model, &b, run->dlogp, NULL, NULL);
        run->model.ops->wait();
        for (size_t k = 0; k < llm_places(&b); k++) {
            if (b.weight[k] == 0) continue;
            nats -= (double)run->dlogp[k];
            targets++;
        }
    }
    CHECK(targets > 0 && fabs(val / (nats / targets) - 1) < 1e-6, "%s: validation %g, not %g", what, val,
          nats / targets);
    llm_batch_free(&b);
}
static void compare_steps(const char *what, const double *cpu, const double *fake) {
    for (int i = 0; i < 3 * STEPS; i++)
        CHECK(cpu[i] == fake[i] && isfinite(cpu[i]), "%s: step %d measured %g on the CPU, %g on the device", what,
              i / 3, cpu[i], fake[i]);
    CHECK(cpu[3 * STEPS - 3] < cpu[0], "%s: the loss does not fall", what);
}
#endif
