/* llama2c_bench.c: llama2.c's run.c or runq.c (SOURCE) as a contender of tools/bench_decode.c, which compiles this file
   with -I its checkout. Usage: llama2c_bench MODEL TOKENS. A step speaks so many tokens greedily, from token 1 on, and
   answers with the last. Nothing of it is changed or copied. */
#define TESTING
#include SOURCE

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
int main(int argc, char **argv) {
    Transformer model;
    int ready = 0, count = 1;
    if (argc != 3) return 2;
    build_transformer(&model, argv[1]);
    while (!ready || (scanf("%d", &count) == 1 && count > 0)) {
        double best = 1e9;
        int token = 1;
        for (int i = 0; i < count; i++) {
            double t = seconds();
            token = 1;
            for (int pos = 0; pos < atoi(argv[2]); pos++)
                token = sample_argmax(forward(&model, token, pos), model.config.vocab_size);
            t = seconds() - t;
            if (t < best) best = t;
        }
        if (!ready++) printf("ready llama2.c\n");
        else printf("%.9g %d\n", best, token);
        fflush(stdout);
    }
    return 0;
}
