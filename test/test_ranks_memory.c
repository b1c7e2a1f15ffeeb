/* test_ranks_memory.c: what a rank's process takes at its peak, beside what the plan says (tools/team_plan.h), GPT-2 124M;
   started by test_mpi.sh:

       mpirun -np R build/mpi/test_ranks_memory ZERO        fails when they differ by more than 10 % */
#define LLM_IMPLEMENTATION
#include <sys/resource.h>
#include "../llm.h"
#include "../tools/checkpoint.h"
#include "../tools/options.h"
#include "../tools/team_plan.h"

enum { T = 64 };

int main(int argc, char **argv) {
    llm_ranks *team = llm_mpi(&argc, &argv);
    const int zero = argc > 1 ? atoi(argv[1]) : 0;
    llm_team_set(zero, 1);
    llm_threads(1);
    llm_config c = llm_preset("gpt2-124m");
    const llm_ops *ops = llm_cpu(LLM_FP32);
    llm_model m;
    llm_model_init(&m, &c, ops, 1);
    llm_model_train(&m);
    llm_adamw o = llm_adamw_defaults();
    llm_batch b = llm_batch_new(1, T);
    llm_real dlogp[T];
    for (int i = 0; i < T; i++) {
        b.tokens[i] = (i * 7919 + team->rank) % c.V;
        b.targets[i] = (i * 104729) % c.V;
        b.weight[i] = 1;
        dlogp[i] = -1 / (llm_real)(T * team->size);
    }
    llm_forward_backward(&m, &b, dlogp, NULL);
    llm_adamw_step(&o, &m, 1e-4);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double *peak = llm_alloc((size_t)team->size, sizeof *peak), most = 0;
    peak[team->rank] = 1024.0 * (double)used.ru_maxrss;
    team->gather(peak, sizeof *peak);
    for (int r = 0; r < team->size; r++) most = fmax(most, peak[r]);
    llm_plan p = llm_plan_make(&c, ops, 1, T, true, m.keep, false);
    team_share(&p, &c, (team_shape){team->size, 1, zero, 1}, 0);
    printf("%d ranks, ZeRO %d: planned %.0f MB, taken %.0f MB (%+.1f %%)\n", team->size, zero, p.total / 1e6, most / 1e6,
           100 * (most / p.total - 1));
    llm_batch_free(&b);
    llm_adamw_free(&o, &m);
    llm_model_free(&m);
    llm_release(peak);
    return !(fabs(most / p.total - 1) <= 0.1);
}
