/* ranks.h: a driver as one of many ranks (llm.h, chapter 10): it joins the team, and what one rank alone can see (a file,
   Ctrl-C, a full disk) becomes what all have seen, so that all do the same next. Alone all of it returns at once.
   Included by out.h and world.h, after llm.h. */
#ifndef RANKS_H
#define RANKS_H

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many processes a launcher says that it started; 1: nobody says so. */
static inline int ranks_started(void) {
    static const char *const says[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "WORLD_SIZE"};   /* mpirun; srun; torchrun */
    int most = 1;
    for (int i = 0; i < 3; i++) most = llm_max(most, getenv(says[i]) ? atoi(getenv(says[i])) : 1);
    return most;
}
/* One of many that knows nothing of the others would write where they write. */
static inline void ranks_alone(const char *program) {
    char *remedy = llm_format("make %s MPI=1, with NVIDIA's GPUs make %s MULTI_GPU=1", program, program);
    if (ranks_started() > 1)
        llm_usage(remedy, "started as one of %d ranks, but %s was built for one process", ranks_started(), program);
    llm_release(remedy);
}
/* First of all in main (but behind run_patience: a program that has joined must not start itself again). */
static inline void ranks_open(const char *program, int *argc, char ***argv) {
    (void)argc;
    (void)argv;
#ifdef LLM_NCCL
    char gpu[400];
    const bool many = ranks_started() > 1;              /* else: one process, on any device */
    if (many && llm_cuda_devices(gpu, sizeof gpu) > 0) llm_nccl();
#else
    const bool many = true;             /* MPI's team may be of one: it adds up as many do, to the same bits */
#endif
#ifdef LLM_MPI
    if (many && !llm_team) llm_mpi(argc, argv);
#endif
    (void)many;
    if (!llm_team) ranks_alone(program);
}
static inline int ranks_size(void) { return llm_team ? llm_team->size : 1; }

/* The largest of the numbers that the ranks say. Nobody goes on before all have spoken. */
static inline int ranks_most(int x) {
    if (!llm_team) return x;
    int *all = llm_alloc((size_t)llm_team->size, sizeof *all);
    all[llm_team->rank] = x;
    llm_team->gather(all, sizeof *all);
    for (int r = 0; r < llm_team->size; r++) x = llm_max(x, all[r]);
    llm_release(all);
    return x;
}
/* What rank 0 has done is done. */
static inline void ranks_meet(void) { ranks_most(0); }
/* Rank 0's text (or NULL), for all; takes the others' and gives fresh memory. */
static inline char *ranks_text(char *text) {
    if (!llm_team) return text;
    size_t bytes = text ? strlen(text) + 1 : 0;
    llm_team->share(&bytes, sizeof bytes, 0);
    if (!llm_leads()) {
        llm_release(text);
        text = bytes ? llm_alloc(bytes, 1) : NULL;
    }
    if (bytes) llm_team->share(text, bytes, 0);
    return text;
}
/* text: what all ranks must have alike. */
static inline void ranks_agree(const char *what, const char *text) {
    if (!llm_team) return;
    uint64_t *all = llm_alloc((size_t)llm_team->size, sizeof *all), mine = llm_hash(text, strlen(text), 1);
    all[llm_team->rank] = mine;
    llm_team->gather(all, sizeof *all);
    if (all[0] != mine)
        llm_die("the same program, flags and files on every machine", "its %s are not those of rank 0", what);
    llm_release(all);
    ranks_meet();                       /* whoever differs ends all */
}
/* A rank's share of its machine's cores: of those that the launcher gave to it, and to whom else. */
static inline int ranks_threads(int cores) {
#ifdef __linux__
    typedef struct { char machine[256]; cpu_set_t cores; } place;
    if (!llm_team) return cores;
    place *all = llm_alloc((size_t)llm_team->size, sizeof *all), *mine = &all[llm_team->rank];
    gethostname(mine->machine, sizeof mine->machine - 1);
    if (sched_getaffinity(0, sizeof mine->cores, &mine->cores)) memset(&mine->cores, 255, sizeof mine->cores);
    llm_team->gather(all, sizeof *all);
    int here = 0;
    for (int r = 0; r < llm_team->size; r++) {
        cpu_set_t both;
        CPU_AND(&both, &mine->cores, &all[r].cores);
        here += !strcmp(mine->machine, all[r].machine) && CPU_COUNT(&both) > 0;
    }
    llm_release(all);
    cores = llm_max(1, cores / llm_max(1, here));
#endif
    return cores;
}
#endif
