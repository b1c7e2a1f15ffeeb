/* llmc_bench.c: llm.c's CPU trainer as a contender of tools/bench.c, which compiles this file with -I its checkout.
   Usage: llmc_bench B T L C H V wall|cpu. Random weights and tokens; a step is what its main() times: forward, zeroing,
   backward, update. Nothing of it is changed or copied. */
#define TESTING
#include "train_gpt2.c"

static double seconds(int cpu) {
    struct timespec t;
    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static float uniform(void) {                            /* -1 to 1 */
    static unsigned long long state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(state >> 40) / 8388608.0f - 1;
}
/* Its model comes from a file only, so a file is written: header, then all weights. */
static void write_checkpoint(const char *path, const int *n) {
    int header[256] = {20240326, 3, n[1] > 1024 ? n[1] : 1024, n[5], n[2], n[4], n[3], (n[5] + 127) / 128 * 128};
    GPT2Config config = {header[2], header[3], header[7], header[4], header[5], header[6]};
    size_t size[NUM_PARAMETER_TENSORS];
    fill_in_parameter_sizes(size, config);
    FILE *f = fopen(path, "wb");
    if (!f) exit(1);
    fwrite(header, sizeof header, 1, f);
    for (int i = 0; i < NUM_PARAMETER_TENSORS; i++)
        for (size_t j = 0; j < size[i]; j++) {
            float w = uniform() * 0.03f;
            fwrite(&w, sizeof w, 1, f);
        }
    fclose(f);
}
int main(int argc, char **argv) {
    static const char path[] = "build/llmc_random.bin";
    int n[6], step = 0, count;
    if (argc != 8) return 2;
    for (int i = 0; i < 6; i++) n[i] = atoi(argv[i + 1]);
    int cpu = strcmp(argv[7], "cpu") == 0;
    write_checkpoint(path, n);
    GPT2 model;
    gpt2_build_from_checkpoint(&model, path);
    remove(path);
    int N = n[0] * n[1], *tokens = malloc(sizeof(int) * N), *targets = malloc(sizeof(int) * N);
    for (int i = 0; i < N; i++) tokens[i] = rand() % n[5], targets[i] = rand() % n[5];
    for (count = 1; step == 0 || (scanf("%d", &count) == 1 && count > 0);) {
        double best = 1e9;
        for (int i = 0; i < count; i++) {
            double t = seconds(cpu);
            gpt2_forward(&model, tokens, targets, n[0], n[1]);
            gpt2_zero_grad(&model);
            gpt2_backward(&model);
            gpt2_update(&model, 1e-4f, 0.9f, 0.999f, 1e-8f, 0.0f, ++step);
            t = seconds(cpu) - t;
            if (t < best) best = t;
        }
        if (step == 1) printf("ready llm.c\n");
        else printf("%.9g %.6f\n", best, model.mean_loss);
        fflush(stdout);
    }
    return 0;
}
